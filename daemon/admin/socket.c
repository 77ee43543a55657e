/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The admin socket's clients. One request of a client is served at a time: while its answer is not
 * written out, nothing more is read from that client. There are no timers: a client that sleeps
 * costs nothing.
 */
#include "daemon/admin/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/event.h"
#include "base/log.h"

struct admin_client {
	LIST_ENTRY(admin_client) entry;
	struct admin *admin;			/* borrowed: the owner */
	int fd;					/* owned */
	struct event *read_event, *write_event; /* owned */
	size_t n_input;
	char input[ADMIN_LINE_MAX + 1];
	char *output; /* owned: the answer being written, or NULL */
	size_t output_len, output_pos;
	bool later; /* admin_answer will give its answer */
};

struct admin {
	struct event_base *base;	   /* borrowed */
	const struct admin_ops *ops;	   /* borrowed */
	void *arg;			   /* borrowed */
	int fd;				   /* owned */
	struct event *event;		   /* owned */
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
		(void)event_add(admin->event, NULL);
	event_drop(client->read_event);
	event_drop(client->write_event);
	(void)close(client->fd);
	free(client->output);
	free(client);
}

/* False: the client is gone. */
static bool admin_client_write(struct admin_client *client)
{
	while (client->output_pos < client->output_len) {
		ssize_t n = send(client->fd, client->output + client->output_pos,
			client->output_len - client->output_pos, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			(void)event_del(client->read_event);
			(void)event_add(client->write_event, NULL);
			return true;
		}
		if (n <= 0) {
			admin_client_free(client);
			return false;
		}
		client->output_pos += (size_t)n;
	}
	free(client->output);
	client->output = NULL;
	(void)event_add(client->read_event, NULL);
	return true;
}

/* Takes the answer over. */
static void admin_client_set_output(struct admin_client *client, json_t *answer)
{
	client->output = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	json_decref(answer);
	if (!client->output)
		client->output = strdup("{\"error\":\"out of memory\"}");
	client->output_len = client->output_pos = 0;
	if (!client->output)
		return;
	client->output_len = strlen(client->output);
	client->output[client->output_len++] = '\n'; /* in the place of the NUL */
}

static void admin_client_answer(struct admin_client *client, const char *line, size_t len)
{
	struct admin *admin = client->admin;
	struct admin_request request;
	const char *error;
	json_t *answer;

	if (admin_request_parse(line, len, &request, &error) < 0)
		answer = json_pack("{s:s}", "error", error);
	else
		answer = admin->ops->answer(admin->arg, &request, client, &client->later);
	if (!client->later)
		admin_client_set_output(client, answer);
}

/* Serves the lines that are there; false: the client is gone. */
static bool admin_client_serve(struct admin_client *client)
{
	char *eol;

	while (!client->output && !client->later &&
		(eol = memchr(client->input, '\n', client->n_input))) {
		size_t len = (size_t)(eol - client->input);

		admin_client_answer(client, client->input, len);
		client->n_input -= len + 1;
		memmove(client->input, eol + 1, client->n_input);
		if (!client->later && !admin_client_write(client))
			return false;
	}
	if (!client->output && client->n_input > ADMIN_LINE_MAX) {
		log_notice("admin client dropped: its line is too long");
		admin_client_free(client);
		return false;
	}
	return true;
}

static void on_client_read(evutil_socket_t fd, short what, void *arg)
{
	struct admin_client *client = arg;
	ssize_t n = recv(fd, client->input + client->n_input,
		sizeof(client->input) - client->n_input, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		admin_client_free(client);
		return;
	}
	client->n_input += (size_t)n;
	(void)admin_client_serve(client);
}

static void on_client_write(evutil_socket_t fd, short what, void *arg)
{
	struct admin_client *client = arg;

	if (admin_client_write(client) && !client->output)
		(void)admin_client_serve(client);
}

static int admin_client_new(struct admin *admin, int fd)
{
	struct admin_client *client = calloc(1, sizeof(*client));

	if (!client)
		return -ENOMEM;
	client->admin = admin;
	client->fd = fd;
	client->read_event = event_watch(admin->base, fd, on_client_read, client);
	client->write_event = event_new(admin->base, fd, EV_WRITE, on_client_write, client);
	if (!client->read_event || !client->write_event) {
		event_drop(client->read_event);
		event_drop(client->write_event);
		free(client);
		return -ENOMEM;
	}
	LIST_INSERT_HEAD(&admin->clients, client, entry);
	admin->n_clients++;
	return 0;
}

static void on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
	struct admin *admin = arg;
	_cleanup_close_ int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 || admin_client_new(admin, fd) < 0)
		return;
	(void)steal_fd(&fd);
	if (admin->n_clients == ADMIN_CLIENTS_MAX)
		(void)event_del(admin->event);
}

void admin_answer(struct admin_client *client, json_t *answer)
{
	client->later = false;
	admin_client_set_output(client, answer);
	if (admin_client_write(client) && !client->output)
		(void)admin_client_serve(client);
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
	admin->fd = fd;
	LIST_INIT(&admin->clients);
	admin->event = event_watch(base, fd, on_accept, admin);
	if (!admin->event) {
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
	event_free(admin->event);
	(void)close(admin->fd);
	free(admin);
}
