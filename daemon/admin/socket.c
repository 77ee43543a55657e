/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The admin socket's clients. One request of a client is served at a time: while its answer is not
 * written out, nothing more is read from that client. A client's one timer is for its next request,
 * or for its reading of the answer.
 */
#include "daemon/admin/socket.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/accept.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/event.h"
#include "daemon/admin/kept.h"
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
	/* Of the request while it is to be answered later, or is followed: for the next msgd. */
	char *line; /* owned */
	/* When the request, or the next one of the input, was begun: milliseconds; or 0. */
	uint64_t begun_ms;
	int kept_fd;	 /* owned; -1: the service manager does not have this client */
	unsigned kept_n; /* else its place in admin->kept */
};

enum admin_place {
	PLACE_FREE,
	PLACE_USED,
	PLACE_STALE, /* the service manager may have a client that has gone: it was not told */
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
	/* By the numbers under which the service manager has clients. */
	enum admin_place kept[ADMIN_CLIENTS_MAX];
	struct event *retry; /* owned: the service manager did not read */
	bool left;	     /* to the next msgd */
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

/* ---- the next msgd --------------------------------------------------------------------------- */

/* Since the machine's start: of any msgd. */
static uint64_t now_ms(void)
{
	return clock_us(CLOCK_BOOTTIME) / 1000;
}

/* Without memory for the timer it is told at the end. */
static void admin_retry(struct admin *admin)
{
	static const struct timeval delay = {.tv_sec = 1};

	if (!evtimer_pending(admin->retry, NULL))
		(void)evtimer_add(admin->retry, &delay);
}

static void place_leave(struct admin *admin, unsigned n)
{
	admin->kept[n] = kept_take_back(n) == -EAGAIN ? PLACE_STALE : PLACE_FREE;
	if (admin->kept[n] == PLACE_STALE)
		admin_retry(admin);
}

/* There is one for each client. -EAGAIN: it cannot be used now. */
static int place_find(struct admin *admin, unsigned *ret_n)
{
	unsigned n = 0;

	while (n < ADMIN_CLIENTS_MAX && admin->kept[n] == PLACE_USED)
		n++;
	assert(n < ADMIN_CLIENTS_MAX);
	if (admin->kept[n] == PLACE_STALE)
		place_leave(admin, n);
	*ret_n = n;
	return admin->kept[n] == PLACE_FREE ? 0 : -EAGAIN;
}

static int admin_client_write(struct admin_client *client, int fd, struct evbuffer *output)
{
	return kept_write(
		fd, client->begun_ms, output, client->line, bufferevent_get_input(client->stream));
}

static int admin_client_hand_over(struct admin_client *client, struct evbuffer *output)
{
	struct admin *admin = client->admin;
	_cleanup_close_ int fd = -1;
	int r = kept_new(&fd);

	if (r == 0)
		r = admin_client_write(client, fd, output);
	if (r == 0)
		r = place_find(admin, &client->kept_n);
	if (r == 0)
		r = kept_hand_over(client->kept_n, admin_client_fd(client), fd);
	if (r == 0) {
		admin->kept[client->kept_n] = PLACE_USED;
		client->kept_fd = steal_fd(&fd);
	}
	return r;
}

/* However msgd ends: what is to be written now is written by then. */
static void admin_client_keep_begun(struct admin_client *client)
{
	if (client->line && client->kept_fd < 0 && admin_op_lasts(client->request.op) &&
		admin_client_hand_over(client, NULL) == -EAGAIN)
		admin_retry(client->admin);
}

/* As it is now: msgd ends. Negative errno. */
static int admin_client_keep(struct admin_client *client)
{
	struct evbuffer *output = bufferevent_get_output(client->stream);

	return client->kept_fd < 0 ? admin_client_hand_over(client, output)
				   : admin_client_write(client, client->kept_fd, output);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct admin *admin = arg;
	struct admin_client *client;

	for (unsigned n = 0; n < ADMIN_CLIENTS_MAX; n++) {
		if (admin->kept[n] == PLACE_STALE)
			place_leave(admin, n);
	}
	LIST_FOREACH (client, &admin->clients, entry)
		admin_client_keep_begun(client);
}

/* Its request is answered, or it goes. */
static void admin_client_forget(struct admin_client *client)
{
	client->begun_ms = 0;
	free(steal_ptr(client->line));
	if (client->kept_fd >= 0 && !client->admin->left)
		place_leave(client->admin, client->kept_n);
	close_p(&client->kept_fd);
	client->kept_fd = -1;
}

/* Its going ends something beside itself. */
static bool admin_client_captures(const struct admin_client *client)
{
	return client->monitors && client->request.op == ADMIN_CAPTURE;
}

static void admin_client_free(struct admin_client *client)
{
	struct admin *admin = client->admin;

	/* The service manager may have the socket still, if it does not read. */
	if (client->kept_fd < 0 || !admin->left)
		(void)shutdown(admin_client_fd(client), SHUT_RDWR);
	admin_client_forget(client);
	if (client->later || client->viewing || admin_client_captures(client))
		admin->ops->gone(admin->arg, client);
	if (client->waits)
		TAILQ_REMOVE(&admin->waiting, client, turn_entry);
	LIST_REMOVE(client, entry);
	bufferevent_free(client->stream);
	free(client);
}

/*
 * A client that waits for admin_answer may do so for as long as it said in its request. One that
 * follows what happens costs no more if it does not read: the history is its queue. A capture costs
 * the ends something, for nobody then.
 */
static void admin_client_limit(struct admin_client *client)
{
	static const struct timeval idle = {.tv_sec = ADMIN_IDLE_S};
	bool monitors = client->monitors && !admin_client_captures(client);

	(void)bufferevent_set_timeouts(client->stream,
		client->later || client->monitors ? NULL : &idle, monitors ? NULL : &idle);
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

/* A former msgd has begun with it. */
static void admin_client_again(struct admin_client *client)
{
	uint64_t now = now_ms();

	admin_request_again(&client->request, now > client->begun_ms ? now - client->begun_ms : 0);
	/* A monitor learns that there may be events that it was not told. */
	if (client->request.op == ADMIN_MONITOR)
		(void)evbuffer_add_printf(
			bufferevent_get_output(client->stream), "{\"restarted\":true}\n");
}

/* Takes the line over: its answer will come, or goes on. */
static void admin_client_begun(struct admin_client *client, char *line)
{
	client->line = line;
	if (!client->begun_ms)
		client->begun_ms = now_ms();
	admin_client_limit(client);
	admin_client_keep_begun(client);
}

/* Serves one line, if there is one, and if no former request or answer is under way. */
static void admin_client_serve(struct admin_client *client)
{
	struct evbuffer *input = bufferevent_get_input(client->stream);
	struct admin *admin = client->admin;
	_cleanup_free_ char *line = NULL;
	const char *error;
	json_t *answer;
	size_t len;

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
		answer = json_pack("{s:s, s:b}", "error", error, "usage", 1);
	else {
		if (client->begun_ms)
			admin_client_again(client);
		answer = admin->ops->answer(admin->arg, &client->request, client, &client->later);
	}
	client->monitors = admin_op_goes_on(client->request.op) && json_object_get(answer, "all");
	if (client->later || client->monitors)
		admin_client_begun(client, steal_ptr(line));
	else
		client->begun_ms = 0;
	if (!client->later)
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

/* Takes the descriptor over, on success. */
static int admin_client_new(
	struct admin *admin, int fd, uid_t uid, struct admin_client **ret_client)
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
	client->kept_fd = -1;
	LIST_INSERT_HEAD(&admin->clients, client, entry);
	bufferevent_setcb(client->stream, on_readable, on_written, on_end, client);
	admin_client_limit(client);
	(void)bufferevent_enable(client->stream, EV_READ);
	*ret_client = client;
	return 0;
}

static void on_accepted(void *arg, int fd)
{
	struct admin *admin = arg;
	struct admin_client *client;
	uid_t uid;

	if (fd < 0) {
		admin_log(admin, "admin socket: connections are refused: %s", strerror(-fd));
		return;
	}
	uid = admin_uid(fd);
	if (!admin_has_place(admin, uid))
		admin_refuse(admin, fd, uid);
	else if (admin_client_new(admin, fd, uid, &client) == 0)
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
	admin_client_forget(client);
	admin_client_limit(client);
	admin_client_send(client, answer);
}

/* A list has a moment, which is over: it ends with an error, as its reader would know others. */
static void admin_client_view_end(struct admin_client *client)
{
	json_t *error = json_pack("{s:s}", "error", "msgd was restarted: the list is not whole");

	client->admin->ops->gone(client->admin->arg, client);
	client->viewing = false;
	(void)view_end(bufferevent_get_output(client->stream), error);
	json_decref(error);
}

void admin_keep(struct admin *admin)
{
	const struct timespec nap = {.tv_nsec = 10000000};
	uint64_t end_ms = now_ms() + ADMIN_KEEP_MS;
	struct admin_client *client;

	LIST_FOREACH (client, &admin->clients, entry) {
		int r;

		if (client->viewing)
			admin_client_view_end(client);
		while ((r = admin_client_keep(client)) == -EAGAIN && now_ms() < end_ms)
			(void)nanosleep(&nap, NULL);
		if (r == -ENOTCONN)
			return;
		if (r < 0)
			admin_log(admin, "a client of user %u is not kept: %s", client->uid,
				strerror(-r));
	}
	admin->left = true;
}

/* Negative errno: the socket is still the caller's. */
static int admin_client_take(struct admin *admin, int fd, uid_t uid, int kept_fd)
{
	struct admin_client *client;
	int r = admin_client_new(admin, fd, uid, &client);

	if (r < 0)
		return r;
	r = kept_read(kept_fd, &client->begun_ms, bufferevent_get_output(client->stream),
		bufferevent_get_input(client->stream));
	if (r < 0) {
		admin_log(admin, "a client of user %u is dropped: what was kept of it: %s", uid,
			strerror(-r));
		(void)shutdown(fd, SHUT_RDWR); /* the service manager may have it still */
		admin_client_free(client);
	} else
		admin_client_wait(client);
	return 0;
}

void admin_take(struct admin *admin, unsigned number, int socket_fd, int kept_fd)
{
	uid_t uid = admin_uid(socket_fd);

	if (number < ADMIN_CLIENTS_MAX)
		place_leave(admin, number);
	if (socket_fd < 0 || kept_fd < 0)
		; /* it went while no msgd was there */
	else if (!admin_has_place(admin, uid))
		admin_refuse(admin, socket_fd, uid);
	else if (admin_client_take(admin, socket_fd, uid, kept_fd) == 0)
		socket_fd = -1;
	close_p(&socket_fd);
	close_p(&kept_fd);
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
	admin->retry = evtimer_new(base, on_retry, admin);
	if (admin->turn && admin->retry)
		admin->acceptor = acceptor_new(base, fd, on_accepted, admin);
	if (!admin->acceptor) {
		event_drop(admin->turn);
		event_drop(admin->retry);
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
	event_drop(admin->retry);
	(void)close(admin->fd);
	free(admin);
}
