/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The admin socket's clients. One request of a client is served at a time: while its answer is not
 * written out, nothing more is read from that client. There are no timers: a client that sleeps
 * costs nothing.
 */
#include "daemon/admin/socket.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/log.h"

struct admin_client {
	LIST_ENTRY(admin_client) entry;
	struct admin *admin;	    /* borrowed: the owner */
	struct bufferevent *stream; /* owned */
	bool later;		    /* admin_answer will give its answer */
};

struct admin {
	struct event_base *base;	   /* borrowed */
	const struct admin_ops *ops;	   /* borrowed */
	void *arg;			   /* borrowed */
	struct evconnlistener *listener;   /* owned */
	LIST_HEAD(, admin_client) clients; /* owned */
	unsigned n_clients;
};

static void admin_client_free(struct admin_client *client)
{
	struct admin *admin = client->admin;

	if (client->later)
		admin->ops->gone(admin->arg, client);
	LIST_REMOVE(client, entry);
	/* There is room again for a client that waits in the socket's backlog. */
	if (admin->n_clients-- == ADMIN_CLIENTS_MAX)
		(void)evconnlistener_enable(admin->listener);
	bufferevent_free(client->stream);
	free(client);
}

/*
 * Takes the answer over. No request is read until it is written: then on_written goes on. The last
 * step of its callers: without memory the client is freed.
 */
static void admin_client_send(struct admin_client *client, json_t *answer)
{
	struct evbuffer *output = bufferevent_get_output(client->stream);
	char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	int r;

	json_decref(answer);
	(void)bufferevent_disable(client->stream, EV_READ);
	r = evbuffer_add_printf(output, "%s\n", text ? text : "{\"error\":\"out of memory\"}");
	free(text);
	if (r < 0)
		admin_client_free(client);
}

/* Serves one line, if there is one, and if no former request or answer is under way. */
static void admin_client_serve(struct admin_client *client)
{
	struct evbuffer *input = bufferevent_get_input(client->stream);
	struct admin *admin = client->admin;
	struct admin_request request;
	const char *error;
	json_t *answer;
	size_t len;
	char *line;

	if (client->later || evbuffer_get_length(bufferevent_get_output(client->stream)) > 0)
		return;
	line = evbuffer_readln(input, &len, EVBUFFER_EOL_LF);
	if (!line) {
		if (evbuffer_get_length(input) <= ADMIN_LINE_MAX)
			return;
		log_notice("admin client dropped: its line is too long");
		admin_client_free(client);
		return;
	}
	if (admin_request_parse(line, len, &request, &error) < 0)
		answer = json_pack("{s:s}", "error", error);
	else
		answer = admin->ops->answer(admin->arg, &request, client, &client->later);
	free(line);
	if (!client->later)
		admin_client_send(client, answer);
}

static void on_readable(struct bufferevent *stream, void *arg)
{
	admin_client_serve(arg);
}

static void on_written(struct bufferevent *stream, void *arg)
{
	(void)bufferevent_enable(stream, EV_READ);
	admin_client_serve(arg);
}

/* The client has gone, or its socket failed. */
static void on_end(struct bufferevent *stream, short what, void *arg)
{
	admin_client_free(arg);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
	int len, void *arg)
{
	struct admin *admin = arg;
	struct admin_client *client = calloc(1, sizeof(*client));
	struct bufferevent *stream = bufferevent_socket_new(admin->base, fd, BEV_OPT_CLOSE_ON_FREE);

	if (!client || !stream) {
		free(client);
		if (stream)
			bufferevent_free(stream);
		else
			(void)close(fd);
		return;
	}
	client->admin = admin;
	client->stream = stream;
	LIST_INSERT_HEAD(&admin->clients, client, entry);
	if (++admin->n_clients == ADMIN_CLIENTS_MAX)
		(void)evconnlistener_disable(listener);
	bufferevent_setcb(stream, on_readable, on_written, on_end, client);
	bufferevent_setwatermark(stream, EV_READ, 0, ADMIN_LINE_MAX + 1);
	(void)bufferevent_enable(stream, EV_READ);
}

void admin_answer(struct admin_client *client, json_t *answer)
{
	client->later = false;
	admin_client_send(client, answer);
}

int admin_new(struct event_base *base, int fd, const struct admin_ops *ops, void *arg,
	struct admin **ret_admin)
{
	struct admin *admin = calloc(1, sizeof(*admin));

	if (!admin)
		return -ENOMEM;
	admin->base = base;
	admin->ops = ops;
	admin->arg = arg;
	LIST_INIT(&admin->clients);
	/* The socket listens already. */
	admin->listener = evconnlistener_new(
		base, on_accept, admin, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!admin->listener) {
		free(admin);
		return -ENOMEM;
	}
	*ret_admin = admin;
	return 0;
}

void admin_free(struct admin *admin)
{
	if (!admin)
		return;
	while (!LIST_EMPTY(&admin->clients))
		admin_client_free(LIST_FIRST(&admin->clients));
	evconnlistener_free(admin->listener);
	free(admin);
}
