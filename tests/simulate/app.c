/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An application: a task that opens a context and talks over channels, as a server that accepts or
 * as a client that connects, by an event loop or by blocking calls. Each message says which it is;
 * each end holds what it sees against what the other has done (struct talk).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libmsg/api/ctx.h"
#include "tests/simulate/simulate.h"

#define MESSAGE_MAGIC 0x4d534721U
#define SENDS_A_TURN  4
#define RECVS_A_TURN  8
#define EVENTS_A_TURN 8
#define CONNS_AT_ONCE 4U
#define BACKLOG_SHORT 6
#define BACKLOG_LONG  16 /* there are numbers ahead */
#define OPEN_MS	      1000
#define CONNECT_MS    2000
#define LINGER_MS     600000
#define ABORT_ONE_IN  6U
#define RETRY_NS      3000000U

struct head {
	uint32_t magic, channel, side, number, len, total;
};

struct conn {
	LIST_ENTRY(conn) entry;
	struct app *app;       /* borrowed */
	struct msg_sock *sock; /* owned */
	struct talk *talk;     /* borrowed; NULL: a server's, before the first message */
	uint32_t side;	       /* 0: client */
	uint32_t abort_after;  /* messages received; 0: never */
	bool connecting;
	bool hostile; /* its other end: whatever comes is dropped */
	bool more;    /* to be driven again without an event */
};

static const char *const call_names[N_CALLS] = {"msg_ctx_open", "msg_listen", "msg_connect",
	"msg_accept", "msg_send", "msg_recv", "msg_close"};

/* ---- failures that may be, and their causes ------------------------------------------------- */

/* The errors that libmsg.h names for each call; not what is the caller's own mistake. */
static const int documented[N_CALLS][12] = {
	[CALL_OPEN] = {EHOSTDOWN, ENOBUFS, ENOMEM},
	[CALL_LISTEN] = {EADDRINUSE, EHOSTDOWN, EDQUOT},
	[CALL_CONNECT] = {EHOSTUNREACH, ENOENT, ECONNREFUSED, EDQUOT, ENOBUFS, ETIMEDOUT, EHOSTDOWN,
		ECONNRESET, ENOMEM},
	[CALL_ACCEPT] = {EAGAIN},
	[CALL_SEND] = {EAGAIN, EPIPE, ECONNRESET},
	[CALL_RECV] = {EAGAIN, ECONNRESET},
	[CALL_CLOSE] = {ETIMEDOUT, ECONNRESET},
};

/* A channel whose two processes live has no reason to break. */
static bool talk_may_break(const struct talk *talk)
{
	const struct app *client = talk->client;
	const struct world *w = client->world;

	return talk->aborted || !app_is_alive(client) ||
	       (talk->server && !app_is_alive(talk->server)) ||
	       talk->server_deaths != w->domains[1].server_deaths ||
	       /* Its server had died already, and msgd did not know yet. */
	       (!talk->server && (w->plan.n_killed || w->plan.n_destroyed)) ||
	       /* Something failed for want of memory or the like, or came too late, for time goes
		  on without a domain that is paused: the last frames of a side that msg_ctx_close,
		  or a close that has lingered, does not wait for; an announcement, or the
		  attaching. */
	       ((w->plan.faults || w->plan.n_paused) &&
		       (talk->closed[0] || talk->closed[1] || w->plan.n_restarts));
}

static bool is_justified(const struct world *w, enum call call, int error, const struct talk *talk)
{
	if (error == EAGAIN)
		return call >= CALL_ACCEPT;
	if (call == CALL_CONNECT && (error == ENOENT || error == ECONNREFUSED))
		return true; /* the server is not there yet, or its backlog is full */
	if (w->plan.n_paused && (error == ETIMEDOUT || (call == CALL_OPEN && error == EHOSTDOWN)))
		return true; /* time goes on without a domain that is paused */
	if (call >= CALL_SEND)
		return talk && talk_may_break(talk);
	return !w->calm;
}

/* Counts it, and fails where it is none that could be. */
static void call_failed(struct app *app, enum call call, int error, const struct talk *talk)
{
	struct world *w = app->world;
	bool known = false;

	if (error > 0 && error < (int)N_ERRNOS)
		w->counts->errors[call][error]++;
	for (int i = 0; i < 12 && documented[call][i]; i++)
		known |= documented[call][i] == error;
	if (error != EAGAIN)
		sim_trace(w->sim, "%s: %s (%s)", call_names[call], strerrorname_np(error),
			msg_reason());
	if (!known || !is_justified(w, call, error, talk))
		fail(w, "%s: %s gives %s (%s), %s", app->name, call_names[call],
			strerrorname_np(error), msg_reason(),
			known ? "which nothing accounts for" : "which is not documented");
}

/* ---- messages ------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t z)
{
	z += 0x9e3779b97f4a7c15U;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
	z = (z ^ z >> 27) * 0x94d049bb133111ebU;
	return z ^ z >> 31;
}

static uint32_t message_len(const struct world *w, const struct head *head)
{
	uint64_t z = mix((uint64_t)head->channel << 33 ^ (uint64_t)head->side << 32 ^ head->number);
	uint32_t limit = z % 8 ? 200 : z % 64 && !w->plan.long_messages ? 5000 : MESSAGE_LEN;

	return (uint32_t)sizeof(*head) + (uint32_t)(z >> 32) % (limit - (uint32_t)sizeof(*head));
}

static void message_fill(struct world *w, const struct head *head, uint8_t *data)
{
	uint64_t z =
		w->seed ^ (uint64_t)head->channel << 40 ^ (uint64_t)head->side << 32 ^ head->number;

	memcpy(data, head, sizeof(*head));
	for (uint32_t i = sizeof(*head); i < head->len; i++) {
		if (i % 8 == 0)
			z = mix(z);
		data[i] = (uint8_t)(z >> i % 8 * 8);
	}
}

static struct talk *talk_by_id(struct world *w, uint32_t id)
{
	struct talk *talk;

	LIST_FOREACH (talk, &w->talks, entry)
		if (talk->id == id)
			return talk;
	return NULL;
}

/* The first message tells a server which channel this is. */
static void conn_identify(struct conn *conn, const struct head *head)
{
	struct app *app = conn->app;

	if (conn->talk)
		return;
	conn->talk = talk_by_id(app->world, head->channel);
	if (!conn->talk || conn->talk->server)
		fail(app->world, "%s: a message of channel %u, which %s", app->name, head->channel,
			conn->talk ? "is another's" : "there is not");
	conn->talk->server = app;
}

static void message_compare(struct conn *conn, const uint8_t *data, size_t len)
{
	struct app *app = conn->app;
	struct world *w = app->world;
	uint8_t *want = app->buffer + MESSAGE_LEN;
	struct talk *talk;
	struct head head, expected;

	if (len < sizeof(head))
		fail(w, "%s: a message of %zu bytes", app->name, len);
	memcpy(&head, data, sizeof(head));
	if (head.magic != MESSAGE_MAGIC)
		fail(w, "%s: a message that nobody sent", app->name);
	conn_identify(conn, &head);
	talk = conn->talk;
	expected = (struct head){.magic = MESSAGE_MAGIC,
		.channel = talk->id,
		.side = 1 - conn->side,
		.number = talk->received[conn->side],
		.total = talk->total[1 - conn->side]};
	expected.len = message_len(w, &expected);
	if (memcmp(&head, &expected, sizeof(head)) != 0)
		fail(w, "%s: message %u of channel %u side %u instead of %u of %u side %u",
			app->name, head.number, head.channel, head.side, expected.number,
			expected.channel, expected.side);
	message_fill(w, &expected, want);
	if (len != expected.len || memcmp(want, data, len) != 0)
		fail(w, "%s: message %u of channel %u has been altered", app->name, head.number,
			head.channel);
	if (talk->received[conn->side] >= talk->sent[1 - conn->side])
		fail(w, "%s: a message before it was sent", app->name);
	talk->received[conn->side]++;
	w->counts->messages++;
	w->counts->bytes += len;
	w->progress++;
}

/* ---- a channel's end ------------------------------------------------------------------------ */

static struct conn *conn_new(struct app *app, struct msg_sock *sock, struct talk *talk)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	struct world *w = app->world;

	if (!conn)
		abort();
	*conn = (struct conn){.app = app, .sock = sock, .talk = talk, .side = !talk};
	if (w->plan.aborts && sim_choose(w->sim, "abort", ABORT_ONE_IN) == 0)
		conn->abort_after = 1 + sim_choose(w->sim, "abort after", w->plan.n_messages + 1);
	msg_set_userdata(sock, conn);
	LIST_INSERT_HEAD(&app->conns, conn, entry);
	app->n_conns++;
	w->counts->ahead += talk && sock->channel && sock->channel->ahead;
	return conn;
}

static void conn_close(struct conn *conn)
{
	struct app *app = conn->app;

	LIST_REMOVE(conn, entry);
	app->n_conns--;
	/* A client may leave right after: then what it has sent must be out. */
	(void)msg_setopt(conn->sock, LIBMSG_NONBLOCK_OPT, app->is_server);
	(void)msg_setopt(conn->sock, LIBMSG_LINGER, LINGER_MS);
	if (msg_close(conn->sock) < 0)
		call_failed(app, CALL_CLOSE, errno, conn->talk);
	free(conn);
}

static void talk_cut(struct conn *conn)
{
	conn->app->world->counts->cut++;
	conn_close(conn);
}

/* This side has said all and heard all. */
static void talk_whole(struct conn *conn)
{
	struct talk *talk = conn->talk;
	struct app *app = conn->app;
	int64_t transport = 0;

	if (talk->aborted && talk->received[conn->side] != talk->total[1 - conn->side]) {
		talk_cut(conn);
		return;
	}
	if (talk->received[conn->side] != talk->total[1 - conn->side])
		fail(app->world, "%s: channel %u ended after %u of %u messages", app->name,
			talk->id, talk->received[conn->side], talk->total[1 - conn->side]);
	if (conn->side == 0) {
		(void)msg_getopt(conn->sock, LIBMSG_TRANSPORT, &transport);
		app->world->counts->channels[transport & 3]++;
		app->n_left--;
	}
	app->world->progress++;
	talk->closed[conn->side] = true;
	conn_close(conn);
}

/* Sees 0. It may be only because the other side has sent all, or left before its time. */
static void conn_at_end(struct conn *conn)
{
	struct talk *talk = conn->talk;
	struct app *app = conn->app;
	uint32_t other = 1 - conn->side;

	if (!talk) { /* the client left before its first message */
		talk_cut(conn);
		return;
	}
	if (!talk->shut[other] && !talk->aborted)
		fail(app->world, "%s: channel %u ended, and nobody ended it", app->name, talk->id);
	if (talk->received[conn->side] != talk->sent[other])
		fail(app->world, "%s: channel %u ended after %u of %u messages that were sent",
			app->name, talk->id, talk->received[conn->side], talk->sent[other]);
	talk->ended[conn->side] = true;
}

/* A call on the channel failed. False: the conn is gone. */
static bool conn_failed(struct conn *conn, enum call call, int error)
{
	if (!conn->talk && error != EAGAIN) {
		/* A server's that heard nothing: its client has died, or left. */
		conn->app->world->counts->errors[call][error]++;
		if ((error != ECONNRESET && error != EPIPE) ||
			(conn->app->world->calm && !conn->app->world->plan.aborts))
			fail(conn->app->world, "%s: %s gives %s (%s)", conn->app->name,
				call_names[call], strerrorname_np(error), msg_reason());
		talk_cut(conn);
		return false;
	}
	call_failed(conn->app, call, error, conn->talk);
	if (error == EAGAIN)
		return true;
	talk_cut(conn);
	return false;
}

/* 1: there may be more; 0: nothing now, or the end; -1: the conn is gone. */
static int conn_receive(struct conn *conn, int flags)
{
	struct talk *talk;
	ssize_t n;

	if (conn->talk && conn->talk->ended[conn->side])
		return 0;
	n = msg_recv(conn->sock, conn->app->buffer, MESSAGE_LEN, flags);
	if (n < 0)
		return conn_failed(conn, CALL_RECV, errno) ? 0 : -1;
	talk = conn->talk;
	if (n == 0) {
		conn_at_end(conn);
		return talk ? 0 : -1;
	}
	message_compare(conn, conn->app->buffer, (size_t)n);
	talk = conn->talk;
	if (talk->received[conn->side] == conn->abort_after) {
		talk->aborted = true;
		talk_cut(conn);
		return -1;
	}
	return 1;
}

/* 1: there may be more; 0: no room, or all is sent; -1: the conn is gone. */
static int conn_send(struct conn *conn, int flags)
{
	struct talk *talk = conn->talk;
	struct world *w = conn->app->world;
	uint32_t side = conn->side;
	struct head head;
	ssize_t n;

	if (!talk || talk->shut[side])
		return 0;
	if (talk->sent[side] == talk->total[side]) {
		talk->shut[side] = true;
		if (msg_shutdown(conn->sock, SHUT_WR) < 0 && !talk_may_break(talk))
			fail(w, "%s: msg_shutdown gives %s", conn->app->name,
				strerrorname_np(errno));
		return 0;
	}
	head = (struct head){.magic = MESSAGE_MAGIC,
		.channel = talk->id,
		.side = side,
		.number = talk->sent[side],
		.total = talk->total[side]};
	head.len = message_len(w, &head);
	message_fill(w, &head, conn->app->buffer);
	if (mix(head.len) % 4 == 0)
		flags |= MSG_MORE;
	/* It may arrive before the call returns: others run within it. */
	talk->sent[side]++;
	n = msg_send(conn->sock, conn->app->buffer, head.len, flags);
	if (n == (ssize_t)head.len)
		return 1;
	if (talk->received[1 - side] == talk->sent[side])
		fail(w, "%s: msg_send failed, and the message arrived", conn->app->name);
	talk->sent[side]--;
	if (n >= 0)
		fail(w, "%s: msg_send gives %zd of %u", conn->app->name, n, head.len);
	return conn_failed(conn, CALL_SEND, errno) ? 0 : -1;
}

/* The end with a hostile peer: nothing that comes is held against anybody. */
static void conn_hostile(struct conn *conn)
{
	struct app *app = conn->app;
	ssize_t n = 1;

	for (int i = 0; n > 0 && i < RECVS_A_TURN; i++)
		n = msg_recv(conn->sock, app->buffer, MESSAGE_LEN, MSG_DONTWAIT);
	conn->more = n > 0;
	if (n > 0 || (n < 0 && errno == EAGAIN)) {
		(void)msg_send(conn->sock, "answer", 6, MSG_DONTWAIT);
		return;
	}
	LIST_REMOVE(conn, entry);
	app->n_conns--;
	(void)msg_setopt(conn->sock, LIBMSG_NONBLOCK_OPT, 1);
	(void)msg_close(conn->sock);
	free(conn);
}

static bool conn_is_done(const struct conn *conn)
{
	const struct talk *talk = conn->talk;

	return talk && talk->shut[conn->side] && talk->ended[conn->side];
}

/* Work that needs no waiting, a bounded amount; conn->more: and then again. */
static void conn_drive(struct conn *conn)
{
	int received = 1, sent = 1;

	if (conn->hostile) {
		conn_hostile(conn);
		return;
	}
	for (int i = 0; received > 0 && i < RECVS_A_TURN; i++)
		received = conn_receive(conn, MSG_DONTWAIT);
	if (received < 0)
		return;
	for (int i = 0; sent > 0 && i < SENDS_A_TURN; i++)
		sent = conn_send(conn, MSG_DONTWAIT);
	if (sent < 0)
		return;
	conn->more = received > 0 || sent > 0;
	if (conn_is_done(conn))
		talk_whole(conn);
}

/* ---- the context ---------------------------------------------------------------------------- */

static uint64_t now_ns(const struct world *w)
{
	return atomic_load(&sim_xen(w->sim)->seg->now_ns);
}

static void nap(struct app *app)
{
	uint64_t ms = 1 + sim_choose(app->world->sim, "nap, ms", 20);

	(void)sim_task_poll(app->world->sim, NULL, 0, now_ns(app->world) + ms * 1000000U);
}

static void on_log(void *arg, int priority, const char *line)
{
	const struct app *app = arg;

	(void)fprintf(stderr, "%s: %s\n", app->name, line);
}

static void app_open(struct app *app)
{
	char spec[16];

	(void)snprintf(spec, sizeof(spec), "%u", app->index);
	for (;;) {
		app->hv = NULL;
		app->ctx = msg_ctx_open(spec, LIBMSG_ONE_THREAD, OPEN_MS);
		if (app->ctx)
			break;
		app->hv = NULL;
		call_failed(app, CALL_OPEN, errno, NULL);
		nap(app);
	}
	app->world->progress++;
	if (app->world->log)
		msg_ctx_set_log(app->ctx, on_log, app);
	(void)msg_ctx_set_transport(app->ctx, app->transport);
}

static void app_close(struct app *app)
{
	msg_ctx_close(app->ctx);
	app->ctx = NULL;
	app->hv = NULL;
}

/* Sleeps until something is to be done. */
static void app_sleep(struct app *app, uint64_t until_ns)
{
	struct pollfd fds[2] = {{.fd = msg_ctx_fd(app->ctx), .events = POLLIN},
		{.fd = app->world->stop_fd, .events = POLLIN}};

	(void)sim_task_poll(app->world->sim, fds, app->is_server ? 2 : 1, until_ns);
}

/* ---- servers -------------------------------------------------------------------------------- */

static void server_listen(struct app *app)
{
	while (!app->listener) {
		app->listener = msg_listen(app->ctx, "echo", LIBMSG_SEQPACKET,
			app->world->plan.n_channels % 2 ? BACKLOG_LONG : BACKLOG_SHORT,
			LIBMSG_NONBLOCK);
		if (app->listener)
			break;
		call_failed(app, CALL_LISTEN, errno, NULL);
		nap(app);
	}
}

/* Spins end by the clock, which stands still, and look at the machine's CPUs. */
static void no_spin(struct msg_sock *sock)
{
	(void)msg_setopt(sock, LIBMSG_SPIN, 0);
}

static bool is_peer_hostile(struct app *app, struct msg_sock *sock)
{
	struct msg_peer peer = {.size = sizeof(peer)};
	struct world *w = app->world;

	return w->n_hostiles && msg_getpeer(sock, &peer) == 0 &&
	       peer.domid == w->domains[HOSTILE_DOMAIN].domid;
}

static void server_accept(struct app *app)
{
	struct msg_sock *sock = msg_accept(app->listener, LIBMSG_NONBLOCK);
	int error = errno;
	struct conn *conn;

	if (sock) {
		conn = conn_new(app, sock, NULL);
		conn->hostile = is_peer_hostile(app, sock);
		conn_drive(conn);
		return;
	}
	if (error == EAGAIN) {
		call_failed(app, CALL_ACCEPT, error, NULL);
		return;
	}
	/* The returned msgd would not have the name back. */
	if (!app->world->msgd_ended)
		fail(app->world, "%s: the name is lost: %s", app->name, msg_reason());
	(void)msg_close(app->listener);
	app->listener = NULL;
	server_listen(app);
}

static void client_connected(struct conn *conn);

static void app_dispatch(struct app *app)
{
	struct msg_event events[EVENTS_A_TURN];
	int n = msg_ctx_dispatch(app->ctx, events, EVENTS_A_TURN);

	if (n < 0)
		fail(app->world, "%s: msg_ctx_dispatch: %s", app->name, msg_reason());
	for (int i = 0; i < n; i++) {
		struct conn *conn;

		if (events[i].sock == app->listener)
			server_accept(app);
		else if ((conn = msg_userdata(events[i].sock)) && conn->connecting)
			client_connected(conn);
		else if (conn)
			conn_drive(conn);
	}
}

/* Only channels that would not get an event: the others are to have theirs. */
static bool drive_more(struct app *app)
{
	struct conn *conn, *next;
	bool any = false;

	for (conn = LIST_FIRST(&app->conns); conn; conn = next) {
		next = LIST_NEXT(conn, entry);
		if (!conn->more)
			continue;
		conn->more = false;
		any = true;
		conn_drive(conn);
	}
	return any;
}

static void server_main(void *arg)
{
	struct app *app = arg;

	app_open(app);
	server_listen(app);
	no_spin(app->listener);
	for (;;) {
		app_dispatch(app);
		while (drive_more(app))
			;
		if (app->world->n_running == 0 && !app->n_conns)
			break;
		app_sleep(app, UINT64_MAX);
	}
	(void)msg_close(app->listener);
	app_close(app);
	app->state = APP_DONE;
}

/* ---- clients -------------------------------------------------------------------------------- */

static struct talk *talk_new(struct app *app)
{
	struct world *w = app->world;
	struct talk *talk = calloc(1, sizeof(*talk));

	if (!talk)
		abort();
	talk->id = ++w->last_talk;
	talk->client = app;
	talk->server_deaths = w->domains[1].server_deaths;
	/* The first message names the channel. */
	talk->total[0] = 1 + sim_choose(w->sim, "messages", w->plan.n_messages);
	talk->total[1] = sim_choose(w->sim, "answers", w->plan.n_messages + 1);
	LIST_INSERT_HEAD(&w->talks, talk, entry);
	return talk;
}

static const char *client_address(struct app *app)
{
	/* A hostile domain's "echo" would make it ambiguous. */
	if (app->world->n_hostiles || app->domain != 1)
		return "web/echo";
	return sim_choose(app->world->sim, "short address", 2) ? "echo" : "web/echo";
}

static unsigned int connect_flags(struct app *app)
{
	return sim_choose(app->world->sim, "wait for the name", 2) ? LIBMSG_WAIT_NAME : 0;
}

static void wait_begins(struct app *app)
{
	if (!app->waits_since)
		app->waits_since = world_steps(app->world);
}

static void client_connect(struct app *app)
{
	struct talk *talk = talk_new(app);
	struct msg_sock *sock = msg_connect(app->ctx, client_address(app), LIBMSG_SEQPACKET,
		connect_flags(app) | LIBMSG_NONBLOCK, 0);

	if (!sock)
		fail(app->world, "%s: msg_connect: %s", app->name, msg_reason());
	wait_begins(app);
	no_spin(sock);
	conn_new(app, sock, talk)->connecting = true;
}

/* Its connect is done, well or not. */
static void client_connected(struct conn *conn)
{
	struct app *app = conn->app;
	int64_t error = 0;

	conn->connecting = false;
	(void)msg_getopt(conn->sock, LIBMSG_ERROR, &error);
	if (error) {
		call_failed(app, CALL_CONNECT, (int)error, conn->talk);
		conn_close(conn);
		app->retry_ns = now_ns(app->world) + RETRY_NS;
		return;
	}
	app->waits_since = 0;
	app->world->progress++;
	conn_drive(conn);
}

static void client_events(struct app *app)
{
	while (app->n_left) {
		bool due = now_ns(app->world) >= app->retry_ns;

		while (due && app->n_conns < CONNS_AT_ONCE && app->n_conns < app->n_left)
			client_connect(app);
		app_dispatch(app);
		while (drive_more(app))
			;
		if (app->n_left)
			app_sleep(app, due && app->n_conns ? UINT64_MAX : app->retry_ns);
	}
}

/* One channel by calls that wait: what comes meanwhile is taken where a send would wait. */
static void client_talk(struct conn *conn)
{
	int r = 1;

	while (r > 0 && !conn->talk->shut[0]) {
		r = conn_send(conn, 0);
		if (r > 0)
			r = conn_receive(conn, MSG_DONTWAIT) < 0 ? -1 : 1;
	}
	while (r >= 0 && !conn->talk->ended[0])
		r = conn_receive(conn, 0);
	if (r >= 0)
		talk_whole(conn);
}

static void client_blocking(struct app *app)
{
	while (app->n_left) {
		struct talk *talk = talk_new(app);
		struct msg_sock *sock;

		wait_begins(app);
		sock = msg_connect(app->ctx, client_address(app), LIBMSG_SEQPACKET,
			connect_flags(app), CONNECT_MS);
		if (!sock) {
			call_failed(app, CALL_CONNECT, errno, talk);
			nap(app);
			continue;
		}
		no_spin(sock);
		app->waits_since = 0;
		app->world->progress++;
		client_talk(conn_new(app, sock, talk));
	}
}

static void client_done(struct app *app)
{
	uint64_t one = 1;

	app->state = APP_DONE;
	if (--app->world->n_running == 0 &&
		write(app->world->stop_fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

static void client_main(void *arg)
{
	struct app *app = arg;

	app_open(app);
	if (app->blocking)
		client_blocking(app);
	else
		client_events(app);
	app_close(app);
	client_done(app);
}

void app_describe(const struct app *app, FILE *out)
{
	const struct conn *conn;

	(void)fprintf(out, "%s, domain %u%s, %u channels to go:\n", app->name,
		app->world->domains[app->domain].domid, app->blocking ? ", by blocking calls" : "",
		app->n_left);
	LIST_FOREACH (conn, &app->conns, entry) {
		const struct talk *talk = conn->talk;

		if (conn->hostile)
			(void)fprintf(out, "\ta hostile channel\n");
		else if (!talk)
			(void)fprintf(out, "\ta channel that has heard nothing\n");
		else
			(void)fprintf(out, "\tchannel %u: %ssent %u of %u%s, received %u of %u%s\n",
				talk->id, conn->connecting ? "connecting, " : "",
				talk->sent[conn->side], talk->total[conn->side],
				talk->shut[conn->side] ? ", and said so" : "",
				talk->received[conn->side], talk->total[1 - conn->side],
				talk->ended[conn->side] ? ", and heard so" : "");
	}
}

/* ---- life ----------------------------------------------------------------------------------- */

/* argo-strict is demanded only where it can be had: whoever demands it tries until it has it. */
static int transport_plan(const struct app *app)
{
	struct world *w = app->world;
	bool argo = !w->domains[1].no_argo && !w->domains[app->domain].no_argo;

	switch (plan_pick(w, 4)) {
	case 0:
		return LIBMSG_TRANSPORT_GRANT;
	case 1:
		return argo ? LIBMSG_TRANSPORT_ARGO_STRICT : LIBMSG_TRANSPORT_ANY;
	default:
		return LIBMSG_TRANSPORT_ANY;
	}
}

static void app_begin(struct app *app)
{
	struct world *w = app->world;

	app->blocking = !app->is_server && plan_pick(w, 3) == 0;
	app->transport = transport_plan(app);
	(void)snprintf(app->name, sizeof(app->name), "%s%u", app->is_server ? "server" : "client",
		app->index);
	if (sim_task_start(w->sim, w->domains[app->domain].domid, app->name,
		    app->is_server ? server_main : client_main, app, &app->task) < 0)
		abort();
}

static struct app *app_new(struct world *w, uint32_t domain, bool is_server, uint32_t n_channels)
{
	struct app *app = calloc(1, sizeof(*app));

	if (!app || w->n_apps == APPS_MAX)
		abort();
	app->buffer = malloc(2 * (size_t)MESSAGE_LEN);
	if (!app->buffer)
		abort();
	app->world = w;
	app->index = w->n_apps;
	app->domain = domain;
	app->is_server = is_server;
	app->n_left = n_channels;
	app->state = APP_RUNS;
	LIST_INIT(&app->conns);
	w->apps[w->n_apps++] = app;
	return app;
}

void app_start(struct world *w, uint32_t domain, bool is_server, uint32_t n_channels)
{
	w->n_running += !is_server;
	app_begin(app_new(w, domain, is_server, n_channels));
}

void app_replace(struct app *app)
{
	app->state = APP_DONE;
	app_begin(app_new(app->world, app->domain, app->is_server, app->n_left));
}

void app_die(struct app *app, bool task)
{
	struct world *w = app->world;

	if (task)
		sim_task_kill(w->sim, app->task);
	app->state = APP_DIED;
	if (app->hv)
		sim_hv_kill(w->sim, app->hv);
	app->hv = NULL;
	if (app->is_server) {
		w->domains[app->domain].server_deaths++;
		if (!w->n_running)
			app->state = APP_DONE;
	} else if (!app->n_left) {
		client_done(app);
	}
}
