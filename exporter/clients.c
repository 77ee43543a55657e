/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See clients.h. evhttp tells nobody of the end of a connection that has made no request. So each
 * connection's bufferevent has a reference of ours, and is known to have ended by its callbacks,
 * which evhttp takes away when it lets go of it.
 */
#include "exporter/clients.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "exporter/limits.h"

static bool client_is_gone(const struct client *client)
{
	bufferevent_event_cb on_event;

	bufferevent_getcb(client->stream, NULL, NULL, &on_event, NULL);
	return !on_event;
}

/* A head that must not be read is taken away before evhttp sees it, and one that can be in its
 * place, which http.c refuses. Of a head that is being read evhttp has all whole lines. */
static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
	struct client *client = arg;
	bool is_begun = client->state == CLIENT_ASKS && client->head.n_lines;
	struct evbuffer_ptr at;
	char bytes[1024];
	ssize_t n;

	(void)evbuffer_ptr_set(
		input, &at, evbuffer_get_length(input) - info->n_added, EVBUFFER_PTR_SET);
	while (info->n_added && (n = evbuffer_copyout_from(input, &at, bytes, sizeof(bytes))) > 0) {
		head_scan(&client->head, bytes, (size_t)n);
		if (evbuffer_ptr_set(input, &at, (size_t)n, EVBUFFER_PTR_ADD) < 0)
			break;
	}
	if (!client->head.status)
		return;
	(void)evbuffer_remove_cb(input, on_input, client);
	(void)evbuffer_drain(input, evbuffer_get_length(input));
	(void)evbuffer_add_printf(input, "%s\r\n", is_begun ? "" : "GET / HTTP/1.1\r\n");
}

static void client_free(struct clients *clients, struct client *client)
{
	(void)evbuffer_remove_cb(bufferevent_get_input(client->stream), on_input, client);
	LIST_REMOVE(client, entry);
	clients->n--;
	(void)bufferevent_decref(client->stream);
	free(client);
}

void client_set_state(struct clients *clients, struct client *client, enum client_state state)
{
	client->state = state;
	client->since_ms = monotonic_ms();
	if (state == CLIENT_READS)
		client->until_ms = client->since_ms + clients->exchange_s * UINT64_C(1000);
}

/* evhttp learns of it as of any other end, by that of the connection, and then frees all of it. */
static void client_end(struct clients *clients, struct client *client, uint64_t *count)
{
	(*count)++;
	(void)shutdown(bufferevent_getfd(client->stream), SHUT_RDWR);
	client_free(clients, client);
}

static bool client_holds_up(const struct client *client)
{
	return client->state != CLIENT_WAITS && monotonic_ms() - client->since_ms >= CROWDED_MS;
}

static bool client_is_late(const struct client *client)
{
	return client->state != CLIENT_WAITS && monotonic_ms() >= client->until_ms;
}

struct client *clients_add(struct clients *clients, struct bufferevent *stream)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	if (!evbuffer_add_cb(bufferevent_get_input(stream), on_input, client)) {
		free(client);
		return NULL;
	}
	client->stream = stream;
	client->until_ms = monotonic_ms() + clients->exchange_s * UINT64_C(1000);
	client_set_state(clients, client, CLIENT_ASKS);
	bufferevent_incref(stream);
	LIST_INSERT_HEAD(&clients->list, client, entry);
	clients->n++;
	return client;
}

struct client *clients_find(struct clients *clients, const struct bufferevent *stream)
{
	struct client *client;

	LIST_FOREACH (client, &clients->list, entry) {
		if (client->stream == stream)
			break;
	}
	return client;
}

bool clients_are_full(const struct clients *clients)
{
	return clients->n >= CLIENTS_MAX;
}

static void clients_forget(struct clients *clients)
{
	struct client *client, *next;

	for (client = LIST_FIRST(&clients->list); client; client = next) {
		next = LIST_NEXT(client, entry);
		if (client_is_gone(client))
			client_free(clients, client);
	}
}

void clients_sweep(struct clients *clients)
{
	struct client *client, *next;
	bool full;

	clients_forget(clients);
	full = clients_are_full(clients);
	for (client = LIST_FIRST(&clients->list); client; client = next) {
		next = LIST_NEXT(client, entry);
		if (client_is_late(client))
			client_end(clients, client, &clients->late);
		else if (full && client_holds_up(client))
			client_end(clients, client, &clients->crowded);
	}
}

unsigned clients_of_lists(const struct clients *clients)
{
	const struct client *client;
	unsigned n = 0;

	LIST_FOREACH (client, &clients->list, entry)
		n += client->wish == WISH_LIST &&
		     (client->state == CLIENT_WAITS || client->state == CLIENT_READS);
	return n;
}

void clients_end_metrics(struct clients *clients)
{
	struct client *client, *next;

	for (client = LIST_FIRST(&clients->list); client; client = next) {
		next = LIST_NEXT(client, entry);
		if (client->wish == WISH_METRICS && client->state == CLIENT_READS &&
			client_holds_up(client))
			client_end(clients, client, &clients->crowded);
	}
}

void clients_fini(struct clients *clients)
{
	struct client *client;

	while ((client = LIST_FIRST(&clients->list)))
		client_free(clients, client);
}
