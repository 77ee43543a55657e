/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The admin socket's clients. One request of a client is served at a time: while its answer is not
 * written out, nothing more is read from that client. A client's one timer is for its next request,
 * or for its reading of the answer.
 */
#include "daemon/admin/socket.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/accept.h"
#include "base/event.h"
#include "daemon/admin/rights.h"
#include "daemon/admin/view.h"

struct admin_client {
	LIST_ENTRY(admin_client) entry;
	TAILQ_ENTRY(admin_client) turn_entry; /* admin->waiting */
	bool waits;			      /* for its turn */
	struct admin *admin;		      /* borrowed: the owner */
	struct bufferevent *stream;	      /* owned */
	uid_t uid;
	bool later; /* admin_answer will give its answer */
	/* Rows of the answer to its request are still to come: some are made a turn. */
	bool viewing;
	bool monitors; /* it follows what happens, until it goes */
	struct admin_request request;
};

struct admin {
	struct event_base *base;	   /* borrowed */
	const struct admin_ops *ops;	   /* borrowed */
	void *arg;			   /* borrowed */
	int fd;				   /* owned */
	struct acceptor *acceptor;	   /* owned */
	LIST_HEAD(, admin_client) clients; /* owned */
	/*
	 * They have something to be done, and one of them is served in a turn of the loop: the
	 * applications wait for one client, and not for all that there are.
	 */
	TAILQ_HEAD(, admin_client) waiting; /* borrowed */
	struct event *turn;		    /* owned: there are such clients */
};

__attribute__((format(printf, 2, 3))) static void admin_log(
	const struct admin *admin, const char *format, ...)
{
	char text[160];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	admin->ops->log(admin->arg, text);
}

int admin_client_fd(const struct admin_client *client)
{
	return bufferevent_getfd(client->stream);
}

static void admin_client_free(struct admin_client *client)
{
	struct admin *admin = client->admin;

	if (client->later || client->viewing)
		admin->ops->gone(admin->arg, client);
	if (client->waits)
		TAILQ_REMOVE(&admin->waiting, client, turn_entry);
	LIST_REMOVE(client, entry);
	bufferevent_free(client->stream);
	free(client);
}

/*
 * A client that waits for admin_answer may do so for as long as it said in its request. One that
 * follows what happens costs no more if it does not read: the history is its queue.
 */
static void admin_client_limit(struct admin_client *client)
{
	static const struct timeval idle = {.tv_sec = ADMIN_IDLE_S};

	(void)bufferevent_set_timeouts(client->stream,
		client->later || client->monitors ? NULL : &idle, client->monitors ? NULL : &idle);
}

static void admin_client_wait(struct admin_client *client)
{
	struct admin *admin = client->admin;

	if (client->waits)
		return;
	if (TAILQ_EMPTY(&admin->waiting))
		event_turn_later(admin->turn);
	client->waits = true;
	TAILQ_INSERT_TAIL(&admin->waiting, client, turn_entry);
}

/* The end of an answer with rows, and the members that follow them: an object, or NULL. */
static int view_end(struct evbuffer *output, const json_t *members)
{
	char *text;
	int r;

	if (json_object_size(members) == 0)
		return evbuffer_add_printf(output, "]}\n");
	text = json_dumps(members, JSON_COMPACT);
	r = text ? evbuffer_add_printf(output, "],%s\n", text + 1) : -1;
	free(text);
	return r;
}

/* Without the brackets around them. */
static int view_put_rows(struct evbuffer *output, const json_t *rows, bool first)
{
	char *text = json_dumps(rows, JSON_COMPACT);
	int r = text ? 0 : -1;

	if (r == 0 && !first)
		r = evbuffer_add(output, ",", 1);
	if (r == 0)
		r = evbuffer_add(output, text + 1, strlen(text) - 2);
	free(text);
	return r;
}

/*
 * Some rows of a view. The next ones follow when the client has read these: so they are of another
 * moment, and one that came or went in between may be missing, or be there twice.
 */
static int admin_client_put_rows(struct admin_client *client, const json_t *answer)
{
	struct evbuffer *output = bufferevent_get_output(client->stream);
	struct admin_request *request = &client->request;
	const char *name = admin_op_name(request->op);
	const json_t *rows = json_object_get(answer, name);
	size_t next = (size_t)json_integer_value(json_object_get(answer, "next"));
	size_t all = (size_t)json_integer_value(json_object_get(answer, "all"));
	json_t *end = json_object_get(answer, "end");
	size_t n = json_array_size(rows);
	int r = 0;

	if (request->from == 0)
		r = evbuffer_add_printf(output, "{\"op\":\"%s\",\"%s\":[", name, name);
	if (r >= 0 && n)
		r = view_put_rows(output, rows, request->n_rows == 0);
	client->viewing = admin_view_goes_on(answer, request);
	request->from = next;
	request->n_rows += n;
	request->of = (uint64_t)json_integer_value(json_object_get(answer, "of"));
	if (r >= 0 && !client->viewing && all > next) /* the rest was not looked at */
		r = evbuffer_add_printf(output, "],\"left_out\":%zu}\n", all - next);
	else if (r >= 0 && !client->viewing)
		r = view_end(output, end);
	/* Where a filter has passed all by, nothing is written that would be waited for. */
	if (r >= 0 && n == 0 && client->viewing)
		admin_client_wait(client);
	return r;
}

/* The next events, one a line; it then waits for admin_look, or until it has read these. */
static int admin_client_put_events(struct admin_client *client, const json_t *answer)
{
	struct evbuffer *output = bufferevent_get_output(client->stream);
	const json_t *events = json_object_get(answer, admin_op_name(client->request.op));
	uint64_t next = (uint64_t)json_integer_value(json_object_get(answer, "next"));
	uint64_t all = (uint64_t)json_integer_value(json_object_get(answer, "all"));
	const json_t *event;
	size_t i;
	int r = 0;

	json_array_foreach(events, i, event)
	{
		char *text = json_dumps(event, JSON_COMPACT);

		if (r >= 0)
			r = text ? evbuffer_add_printf(output, "%s\n", text) : -1;
		free(text);
	}
	client->request.from = next;
	if (r >= 0 && next < all && json_array_size(events) == 0)
		admin_client_wait(client);
	return r;
}

/*
 * Takes the answer over. No request is read until it is written: then on_written goes on. The last
 * step of its callers: without memory the client is freed.
 */
static void admin_client_send(struct admin_client *client, json_t *answer)
{
	struct evbuffer *output = bufferevent_get_output(client->stream);
	bool rows = json_object_get(answer, "all");
	char *text = answer && !rows ? json_dumps(answer, JSON_COMPACT) : NULL;
	int r;

	(void)bufferevent_disable(client->stream, EV_READ);
	if (rows && client->monitors)
		r = admin_client_put_events(client, answer);
	else if (rows)
		r = admin_client_put_rows(client, answer);
	else if (client->viewing) { /* an error, after some rows */
		client->viewing = false;
		r = view_end(output, answer);
	} else
		r = evbuffer_add_printf(
			output, "%s\n", text ? text : "{\"error\":\"out of memory\"}");
	json_decref(answer);
	free(text);
	if (r < 0)
		admin_client_free(client);
	else if (client->monitors)
		(void)bufferevent_enable(client->stream, EV_READ); /* its end is to be seen */
}

static bool admin_client_has_read(const struct admin_client *client)
{
	return evbuffer_get_length(bufferevent_get_output(client->stream)) == 0;
}

/* Serves one line, if there is one, and if no former request or answer is under way. */
static void admin_client_serve(struct admin_client *client)
{
	struct evbuffer *input = bufferevent_get_input(client->stream);
	struct admin *admin = client->admin;
	const char *error;
	json_t *answer;
	size_t len;
	char *line;

	if (client->later || client->viewing || client->monitors ||
		!admin_client_has_read(client)) {
		/* The input is bounded, by what libevent reads at once. */
		if (evbuffer_get_length(input) > ADMIN_LINE_MAX)
			(void)bufferevent_disable(client->stream, EV_READ);
		return;
	}
	line = evbuffer_readln(input, &len, EVBUFFER_EOL_LF);
	if (!line) {
		if (evbuffer_get_length(input) <= ADMIN_LINE_MAX)
			return;
		admin_log(
			admin, "a client of user %u is dropped: its line is too long", client->uid);
		admin_client_free(client);
		return;
	}
	if (admin_request_parse(line, len, &client->request, &error) < 0)
		answer = json_pack("{s:s}", "error", error);
	else
		answer = admin->ops->answer(admin->arg, &client->request, client, &client->later);
	client->monitors = client->request.op == ADMIN_MONITOR && json_object_get(answer, "all");
	if (client->monitors)
		admin_client_limit(client);
	free(line);
	if (client->later)
		admin_client_limit(client);
	else
		admin_client_send(client, answer);
}

/* Nothing more is read, nor its end seen, before its turn. */
static void on_readable(struct bufferevent *stream, void *arg)
{
	(void)bufferevent_disable(stream, EV_READ);
	admin_client_wait(arg);
}

/* No memory for the next rows: an answer that stops is one that nobody takes for whole. */
static void admin_client_view_more(struct admin_client *client)
{
	const struct admin *admin = client->admin;
	json_t *answer = admin->ops->answer(admin->arg, &client->request, client, &client->later);

	if (answer)
		admin_client_send(client, answer);
	else
		admin_client_free(client);
}

static void on_written(struct bufferevent *stream, void *arg)
{
	admin_client_wait(arg);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct admin *admin = arg;
	struct admin_client *client = TAILQ_FIRST(&admin->waiting);

	if (!client) /* it has gone */
		return;
	TAILQ_REMOVE(&admin->waiting, client, turn_entry);
	client->waits = false;
	if (!TAILQ_EMPTY(&admin->waiting))
		event_turn_later(admin->turn);
	if (client->viewing || (client->monitors && admin_client_has_read(client))) {
		admin_client_view_more(client);
		return;
	}
	(void)bufferevent_enable(client->stream, EV_READ);
	admin_client_serve(client);
}

/* The client has gone, or its socket failed, or its time is over. */
static void on_end(struct bufferevent *stream, short what, void *arg)
{
	admin_client_free(arg);
}

/* Root's share is never used by others. */
static bool admin_has_place(const struct admin *admin, uid_t uid)
{
	const struct admin_client *client;
	unsigned n = 0, n_uid = 0;

	LIST_FOREACH (client, &admin->clients, entry) {
		n += client->uid != 0;
		n_uid += client->uid == uid;
	}
	return n_uid < ADMIN_CLIENTS_PER_UID &&
	       (uid == 0 || n < ADMIN_CLIENTS_MAX - ADMIN_CLIENTS_PER_UID);
}

/* A new socket has room for the sentence. */
static void admin_refuse(const struct admin *admin, int fd, uid_t uid)
{
	char line[100];
	int n = snprintf(line, sizeof(line),
		"{\"error\":\"too many connections to the admin socket (user %u)\"}\n", uid);

	(void)send(fd, line, (size_t)n, MSG_NOSIGNAL);
	admin_log(admin, "user %u: too many connections to the admin socket", uid);
}

static int admin_client_new(struct admin *admin, int fd, uid_t uid)
{
	struct admin_client *client = calloc(1, sizeof(*client));

	if (client)
		client->stream = bufferevent_socket_new(admin->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!client || !client->stream) {
		free(client);
		return -ENOMEM;
	}
	client->admin = admin;
	client->uid = uid;
	LIST_INSERT_HEAD(&admin->clients, client, entry);
	bufferevent_setcb(client->stream, on_readable, on_written, on_end, client);
	admin_client_limit(client);
	(void)bufferevent_enable(client->stream, EV_READ);
	return 0;
}

static void on_accepted(void *arg, int fd)
{
	struct admin *admin = arg;
	uid_t uid;

	if (fd < 0) {
		admin_log(admin, "admin socket: connections are refused: %s", strerror(-fd));
		return;
	}
	uid = admin_uid(fd);
	if (!admin_has_place(admin, uid))
		admin_refuse(admin, fd, uid);
	else if (admin_client_new(admin, fd, uid) == 0)
		return;
	(void)close(fd);
}

void admin_look(struct admin *admin)
{
	struct admin_client *client;

	LIST_FOREACH (client, &admin->clients, entry) {
		if (client->monitors && admin_client_has_read(client))
			admin_client_wait(client);
	}
}

void admin_answer(struct admin_client *client, json_t *answer)
{
	client->later = false;
	admin_client_limit(client);
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
	TAILQ_INIT(&admin->waiting);
	admin->turn = evtimer_new(base, on_turn, admin);
	admin->acceptor = admin->turn ? acceptor_new(base, fd, on_accepted, admin) : NULL;
	if (!admin->acceptor) {
		event_drop(admin->turn);
		free(admin);
		return -ENOMEM;
	}
	admin->fd = fd;
	*ret_admin = admin;
	return 0;
}

void admin_free(struct admin *admin)
{
	if (!admin)
		return;
	while (!LIST_EMPTY(&admin->clients))
		admin_client_free(LIST_FIRST(&admin->clients));
	acceptor_free(admin->acceptor);
	event_drop(admin->turn);
	(void)close(admin->fd);
	free(admin);
}
