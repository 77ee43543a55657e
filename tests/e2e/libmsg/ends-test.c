/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The end of a channel: the table of libmsg(3), each event for each type, seen in each way in which
 * an end may meet it (roles), over the ring that $TESTBED_TRANSPORT names.
 *
 *	ends-test                     makes all of it
 *	ends-test --manual=LIBMSG_3   the page has this table, row by row, and no other rows
 */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <string.h>

#include "base/macro.h"
#include "tests/e2e/libmsg/ends-peer.h"
#include "tests/support/pattern.h"
#include "tests/support/testbed.h"

#define N_SAID	   3U	   /* messages that lie there when the event comes */
#define TOTAL_LEN  300000U /* of many messages: more than lies unread anywhere */
#define UNTIL_TOLD (-1)	   /* instead of an errno: no end; a receive waits, a send goes on */
#define TYPES	   (LIBMSG_DGRAM + 1)

/* ---- the table ------------------------------------------------------------------------------- */

/* No event tells of it before msgd is back. */
enum late {
	LATE_STRICT = 1, /* over argo-strict, but a send sees it */
	LATE_ALWAYS,
};

struct row {
	const char *event; /* as in libmsg(3) */
	void (*make)(void);
	bool cut;      /* of a message under way the rest does not come */
	int receive;   /* once all is read: 0: the end; an errno; or UNTIL_TOLD */
	int send;      /* an errno; or UNTIL_TOLD */
	short events;  /* beside POLLIN and POLLOUT, which say that receive and send do not wait */
	bool ignores;  /* the peer throws away what it is sent */
	bool own;      /* this end does it */
	bool lethal;   /* the peer, the link or msgd is another one afterwards */
	bool all_read; /* the peer has read all: no sender waits */
	bool unread;   /* the peer has not, which is no event of a datagram's */
	enum late late;
};

static void make_peer_shut_read(void);
static void make_peer_shut_write(void);
static void make_peer_shut_both(void);
static void make_peer_close(void);
static void make_peer_close_unread(void);
static void make_peer_killed(void);
static void make_domain_destroyed(void);
static void make_link_reset(void);
static void make_msgd_away(void);
static void make_msgd_away_killed(void);
static void make_msgd_away_destroyed(void);
static void make_shut_read(void);
static void make_shut_write(void);
static void make_shut_both(void);

#define HUP  (POLLRDHUP | POLLHUP)
#define LOST .receive = ECONNRESET, .send = ECONNRESET, .events = HUP | POLLERR

#define PEER_CLOSE 3 /* of datagrams "unread", too */

static const struct row rows[] = {
	{"peer SHUT_RD", make_peer_shut_read, .receive = UNTIL_TOLD, .send = UNTIL_TOLD,
		.ignores = true},
	{"peer SHUT_WR", make_peer_shut_write, .receive = 0, .send = UNTIL_TOLD,
		.events = POLLRDHUP},
	{"peer SHUT_RDWR", make_peer_shut_both, .receive = 0, .send = UNTIL_TOLD,
		.events = POLLRDHUP, .ignores = true},
	[PEER_CLOSE] = {"peer close", make_peer_close, .receive = 0, .send = EPIPE, .events = HUP,
		.all_read = true},
	{"peer close, unread", make_peer_close_unread, LOST, .unread = true},
	{"peer killed", make_peer_killed, LOST, .cut = true, .lethal = true},
	{"domain destroyed", make_domain_destroyed, LOST, .cut = true, .lethal = true},
	{"link reset", make_link_reset, LOST, .cut = true, .lethal = true},
	{"msgd away", make_msgd_away, .receive = UNTIL_TOLD, .send = UNTIL_TOLD, .lethal = true},
	{"msgd away, killed", make_msgd_away_killed, LOST, .cut = true, .lethal = true,
		.late = LATE_STRICT},
	{"msgd away, destroyed", make_msgd_away_destroyed, LOST, .cut = true, .lethal = true,
		.late = LATE_ALWAYS},
	{"own SHUT_RD", make_shut_read, .cut = true, .receive = 0, .send = UNTIL_TOLD, .own = true},
	{"own SHUT_WR", make_shut_write, .receive = UNTIL_TOLD, .send = EPIPE, .own = true},
	{"own SHUT_RDWR", make_shut_both, .cut = true, .receive = 0, .send = EPIPE, .own = true},
};

/* ---- a channel and what was seen ------------------------------------------------------------- */

static struct {
	const struct row *row;
	const struct role *role;
	int type;
	struct msg_ctx *ctx;
	struct msg_sock *sock;
	struct peer peer;
	uint32_t n_said, n_heard; /* messages, or as many bytes */
	bool msgd_away;
	/* of a thread that sleeps in a call */
	struct worker worker;
	uint32_t len;	/* of its receive or send */
	ssize_t result; /* bytes, or a negative errno */
	short events;
	_Atomic bool done;
} here;

static uint8_t data[BIG_LEN], got[BIG_LEN];

static bool is_stream(void)
{
	return here.type == LIBMSG_STREAM;
}

static bool is_strict(void)
{
	return strcmp(testbed_transport(), "argo-strict") == 0;
}

/* One message of the peer's, or as many bytes of a stream. */
static void say(void)
{
	must(peer_do(&here.peer, ORDER_SAY, here.n_said++) == SAID_LEN);
}

static void check_heard(ssize_t len)
{
	must(len == SAID_LEN && pattern_is(got, SAID_LEN, here.n_heard++));
}

static void hear(void)
{
	check_heard(msg_recv(here.sock, got, SAID_LEN, is_stream() ? MSG_WAITALL : 0));
}

static ssize_t send_now(uint32_t len)
{
	return msg_send(here.sock, data, len, MSG_DONTWAIT);
}

static void fill(void)
{
	while (send_now(SAID_LEN) > 0)
		;
	must(errno == EAGAIN);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void make_peer_shut_read(void)
{
	must(peer_do(&here.peer, ORDER_SHUTDOWN, SHUT_RD) == 0);
}

static void make_peer_shut_write(void)
{
	must(peer_do(&here.peer, ORDER_SHUTDOWN, SHUT_WR) == 0);
}

static void make_peer_shut_both(void)
{
	must(peer_do(&here.peer, ORDER_SHUTDOWN, SHUT_RDWR) == 0);
}

static void make_peer_close(void)
{
	must(peer_do(&here.peer, ORDER_CLOSE, 0) == 0);
}

/* Something lies there unread, or it waits for room behind other things that do. */
static void make_peer_close_unread(void)
{
	must(send_now(SAID_LEN) > 0 || errno == EAGAIN);
	make_peer_close();
}

static void make_peer_killed(void)
{
	peer_end(&here.peer);
}

static void make_domain_destroyed(void)
{
	must(testbed_sim("destroy", PEER_DOMAIN));
	peer_end(&here.peer);
}

static void make_link_reset(void)
{
	must(peer_do(&here.peer, ORDER_BREAK, 0) == 0);
}

static void make_msgd_away(void)
{
	testbed_msgd_kill();
	here.msgd_away = true;
}

static void msgd_back(void)
{
	if (here.msgd_away)
		testbed_msgd_start();
	here.msgd_away = false;
}

static bool is_late(void)
{
	return here.row->late == LATE_ALWAYS || (here.row->late == LATE_STRICT && is_strict());
}

static void make_msgd_away_killed(void)
{
	make_msgd_away();
	make_peer_killed();
}

static void make_msgd_away_destroyed(void)
{
	make_msgd_away();
	make_domain_destroyed();
}

static void make_shut_read(void)
{
	must(msg_shutdown(here.sock, SHUT_RD) == 0);
}

static void make_shut_write(void)
{
	must(msg_shutdown(here.sock, SHUT_WR) == 0);
}

static void make_shut_both(void)
{
	must(msg_shutdown(here.sock, SHUT_RDWR) == 0);
}

/* And until something tells of it. */
static void make_event(void)
{
	here.row->make();
	if (is_late())
		msgd_back();
}

/* ---- calls after the event ------------------------------------------------------------------- */

/* A message that is there, an end or an error: as often as it is asked for. */
static void expect_receive(void)
{
	struct iovec iov = {.iov_base = got, .iov_len = sizeof(got)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	for (int i = 0; i < 2; i++) {
		if (here.row->receive == UNTIL_TOLD) {
			must_fail(msg_recv(here.sock, got, 1, MSG_DONTWAIT), EAGAIN);
			say();
			hear();
		} else if (here.row->receive) {
			must_fail(msg_recvmsg(here.sock, &message, 0), here.row->receive);
		} else {
			must(msg_recvmsg(here.sock, &message, 0) == 0 && message.msg_flags == 0);
		}
	}
}

static void expect_send(void)
{
	for (int i = 0; i < 2; i++) {
		if (here.row->send == UNTIL_TOLD)
			must(msg_send(here.sock, data, 100, 0) == 100);
		else
			must_fail(msg_send(here.sock, data, 100, 0), here.row->send);
	}
}

static short in_events(void)
{
	return here.row->receive == UNTIL_TOLD ? 0 : (short)(POLLIN | here.row->events);
}

static short out_events(void)
{
	return here.row->send == UNTIL_TOLD ? 0
					    : (short)(POLLOUT | (here.row->events & ~POLLRDHUP));
}

static void expect_poll(void)
{
	struct msg_pollfd fd = {.sock = here.sock, .events = POLLIN | POLLOUT};

	must(msg_poll(&fd, 1, 0) == 1);
	must(fd.revents == (in_events() | POLLOUT));
}

/* A lost channel cannot be shut down; any other one can, also when there is nothing left to do. */
static void expect_shutdown(void)
{
	if (here.row->receive == ECONNRESET)
		must_fail(msg_shutdown(here.sock, SHUT_RDWR), ENOTCONN);
	else
		must(msg_shutdown(here.sock, SHUT_RDWR) == 0);
}

/* ---- roles: an end that is in no call -------------------------------------------------------- */

static void see_later(bool peeked)
{
	for (unsigned i = 0; i < N_SAID; i++)
		say();
	if (peeked) /* no longer in the ring */
		must(msg_recv(here.sock, got, 1, MSG_PEEK) == 1);
	if (here.row->late == LATE_STRICT && is_strict()) {
		here.row->make();
		/* xen-sim, when it answers, has seen the death, and taken the ring back. */
		must(testbed_sim("list", NULL));
		expect_send();
	} else {
		make_event();
	}
	for (unsigned i = 0; i < N_SAID; i++)
		hear();
	expect_receive();
	expect_poll();
	expect_send();
	expect_poll();
	expect_receive();
	/* The end that broke the rule has lost the channel, too. */
	if (here.row->make == make_link_reset)
		must(peer_do(&here.peer, ORDER_HEAR, 0) == -ECONNRESET);
	expect_shutdown();
}

static void role_later(void)
{
	see_later(false);
}

static void role_later_peeked(void)
{
	see_later(true);
}

/* ---- roles: a thread sleeps ------------------------------------------------------------------ */

static void finish(ssize_t r)
{
	here.result = r < 0 ? -errno : r;
	here.done = true;
}

static void sleep_in(void (*call)(void *arg))
{
	here.done = false;
	worker_start(&here.worker, call, NULL);
	worker_await_sleep(&here.worker);
	must(!here.done);
}

/* It sleeps on: the event is none for it. */
static void still_sleeps(void)
{
	worker_await_sleep(&here.worker);
	must(!here.done);
}

static void receive_one(void *arg)
{
	finish(msg_recv(here.sock, got, here.len, is_stream() ? MSG_WAITALL : 0));
}

static void role_receiver(void)
{
	here.len = SAID_LEN;
	sleep_in(receive_one);
	make_event();
	if (here.row->receive == UNTIL_TOLD) {
		still_sleeps();
		say();
		worker_join(&here.worker);
		check_heard(here.result);
	} else {
		worker_join(&here.worker);
		must(here.result == -here.row->receive);
	}
	expect_receive();
}

/* A message of which a part came, to private memory; or bytes of a stream. */
static void role_inside(void)
{
	ssize_t begun = peer_do(&here.peer, ORDER_BEGIN, 0);

	if (is_stream())
		must(msg_recv(here.sock, got, 1, MSG_PEEK) == 1);
	else
		must_fail(msg_recv(here.sock, got, 1, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
	make_event();
	if (is_stream()) {
		must(msg_recv(here.sock, got, (size_t)begun, MSG_WAITALL) == begun);
		must(pattern_is(got, (size_t)begun, BIG_SEED));
	}
	expect_receive();
}

/* The bytes of a stream that was cut come, and then the error; a message that was cut is none. */
static void role_receiver_inside(void)
{
	ssize_t begun, want;

	here.len = BIG_LEN;
	sleep_in(receive_one);
	begun = peer_do(&here.peer, ORDER_BEGIN, 0);
	must(is_stream() ? begun > 0 && begun < BIG_LEN : begun == BIG_LEN);
	still_sleeps();
	make_event();
	if (here.row->receive == UNTIL_TOLD) /* the rest comes */
		must(peer_do(&here.peer, ORDER_GO_ON, 0) == 0);
	worker_join(&here.worker);
	want = here.row->cut && !is_stream() ? -here.row->receive : begun;
	must(here.result == want);
	must(want <= 0 || pattern_is(got, (size_t)want, BIG_SEED));
	expect_receive();
}

static void poll_once(void *arg)
{
	struct msg_pollfd fd = {.sock = here.sock, .events = here.events};

	must(msg_poll(&fd, 1, -1) == 1);
	here.events = fd.revents;
	finish(0);
}

static void role_poller(void)
{
	here.events = POLLIN;
	sleep_in(poll_once);
	make_event();
	if (!in_events()) {
		still_sleeps();
		say();
	}
	worker_join(&here.worker);
	must(here.events == (in_events() ? in_events() : POLLIN));
}

/* As one that has no room. */
static void role_poller_for_room(void)
{
	fill();
	here.events = POLLOUT;
	sleep_in(poll_once);
	make_event();
	if (!out_events() && !here.row->ignores) {
		still_sleeps();
		must(peer_do(&here.peer, ORDER_READ, 0) == 0);
	}
	worker_join(&here.worker);
	must(here.events == (out_events() ? out_events() : POLLOUT));
}

static void send_all(void *arg)
{
	uint32_t done = 0;
	ssize_t r = 0;

	while (done < TOTAL_LEN) {
		r = msg_send(here.sock, data, min_u32(here.len, TOTAL_LEN - done), 0);
		if (r < 0)
			break;
		done += (uint32_t)r;
	}
	finish(r < 0 ? r : (ssize_t)done);
}

/* The peer gets all that was sent, whole. */
static void expect_read(ssize_t len)
{
	if (!here.row->ignores)
		must(peer_do(&here.peer, ORDER_AWAIT, (uint32_t)len) == len);
}

/* Nothing of a message is sent when the sender sleeps. */
static void role_sender(void)
{
	here.len = SAID_LEN;
	sleep_in(send_all);
	make_event();
	if (here.row->send == UNTIL_TOLD && !here.row->ignores) {
		still_sleeps();
		must(peer_do(&here.peer, ORDER_READ, 0) == 0);
	}
	worker_join(&here.worker);
	if (here.row->send == UNTIL_TOLD) {
		must(here.result == TOTAL_LEN);
		expect_read(TOTAL_LEN);
	} else {
		must(here.result == -here.row->send);
	}
	expect_send();
}

static void send_one(void *arg)
{
	finish(msg_send(here.sock, data, BIG_LEN, 0));
}

/* An end that is shut down here while a thread sends: later calls send the whole message. */
static ssize_t inside_want(void)
{
	if (is_stream() && here.row->send != UNTIL_TOLD)
		return 0; /* a part */
	return here.row->send == UNTIL_TOLD || here.row->own ? (ssize_t)BIG_LEN : -here.row->send;
}

static void role_sender_inside(void)
{
	bool goes_on = here.row->send == UNTIL_TOLD;
	ssize_t want = inside_want();
	struct pump pump;

	must(msg_setopt(here.sock, LIBMSG_LINGER, 0) == 0);
	must(peer_do(&here.peer, ORDER_LEAVE, 0) == 0);
	sleep_in(send_one);
	make_event();
	if (goes_on) {
		still_sleeps();
		must(peer_do(&here.peer, here.row->ignores ? ORDER_GO_ON : ORDER_READ, 0) == 0);
	}
	worker_join(&here.worker);
	must(want ? here.result == want : here.result > 0 && here.result < BIG_LEN);
	if (here.row->own && !goes_on) {
		pump_start(&pump, here.ctx);
		must(peer_do(&here.peer, ORDER_READ, 0) == 0);
		expect_read(here.result);
		pump_stop(&pump);
	} else if (goes_on) {
		expect_read(here.result);
	}
	expect_send();
}

/* ---- roles: an event loop -------------------------------------------------------------------- */

static bool readable(int timeout_ms)
{
	struct pollfd fd = {.fd = msg_ctx_fd(here.ctx), .events = POLLIN};

	return poll(&fd, 1, timeout_ms) == 1;
}

/* Nothing is told, until there is nothing to do. */
static void expect_no_event(void)
{
	struct msg_event event;

	do
		must(msg_ctx_dispatch(here.ctx, &event, 1) == 0);
	while (readable(0));
}

static short next_events(void)
{
	struct msg_event event;
	int n;

	do {
		must(readable(TESTBED_WAIT_MS));
		n = msg_ctx_dispatch(here.ctx, &event, 1);
		must(n >= 0);
	} while (n == 0);
	must(event.sock == here.sock);
	return event.revents;
}

static void expect_event(short events)
{
	must(next_events() == events);
}

/* Told until a call has taken it, and then no more, whatever is called. */
static void expect_end(short events)
{
	for (int i = 0; i < 2; i++)
		expect_event(events);
	expect_receive();
	expect_no_event();
	expect_send();
	expect_receive();
	expect_no_event();
}

static void role_loop(void)
{
	expect_no_event();
	make_event();
	if (in_events()) {
		expect_end(in_events());
		return;
	}
	expect_no_event();
	say();
	expect_event(POLLIN);
	hear();
	expect_no_event();
}

/* Messages that came before are told with the end, and are none. */
static void role_loop_unread(void)
{
	expect_no_event();
	for (unsigned i = 0; i < N_SAID; i++)
		say();
	expect_event(POLLIN);
	make_event();
	for (unsigned i = 0; i < N_SAID; i++) {
		must(next_events() & POLLIN);
		hear();
	}
	if (in_events())
		expect_end(in_events());
	else
		expect_no_event();
}

/* A send found no room: the loop is owed POLLOUT, which an error is, too. */
static void role_loop_for_room(void)
{
	fill();
	expect_no_event();
	make_event();
	if (out_events()) {
		expect_event(in_events() | POLLOUT);
		return;
	}
	if (in_events()) {
		short events = next_events();

		must((events & ~POLLOUT) == in_events());
		expect_receive();
		if (events & POLLOUT)
			return; /* the peer has made room by then */
	}
	if (!here.row->ignores) {
		expect_no_event();
		must(peer_do(&here.peer, ORDER_READ, 0) == 0);
	}
	expect_event(POLLOUT);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static const struct role {
	const char *name;
	void (*see)(void);
	bool sends;  /* it waits for room, which a datagram does not */
	bool inside; /* of a message, or of a stream's bytes */
	bool loops;
} roles[] = {
	{"no call", role_later},
	{"no call, but a look", role_later_peeked},
	{"inside a message", role_inside, .inside = true},
	{"receiver", role_receiver},
	{"receiver inside a message", role_receiver_inside, .inside = true},
	{"sender", role_sender, .sends = true},
	{"sender inside a message", role_sender_inside, .sends = true, .inside = true},
	{"poll", role_poller},
	{"poll for room", role_poller_for_room, .sends = true},
	{"loop", role_loop, .loops = true},
	{"loop with messages", role_loop_unread, .loops = true},
	{"loop for room", role_loop_for_room, .sends = true, .loops = true},
};

static bool is_a_case(const struct role *role)
{
	if (here.type == LIBMSG_DGRAM && (role->sends || role->inside))
		return false;
	if (role->see == role_inside && !here.row->cut)
		return false; /* the rest comes */
	if (here.type == LIBMSG_STREAM && role->see == role_receiver_inside &&
		here.row->receive == UNTIL_TOLD)
		return false; /* it waits for bytes that nobody sends */
	return !role->sends || !here.row->all_read;
}

static void channel_open(bool accepts)
{
	struct msg_sock *listener;

	peer_tell(&here.peer, accepts ? ORDER_CONNECT : ORDER_ACCEPT, (uint32_t)here.type);
	if (accepts) {
		listener = msg_listen(here.ctx, PEER_NAME, here.type, 1, 0);
		must(listener);
		here.sock = msg_accept(listener, 0);
		must(msg_close(listener) == 0);
	} else {
		here.sock = msg_connect(here.ctx, PEER_DOMAIN "/" PEER_NAME, here.type,
			LIBMSG_WAIT_NAME, TESTBED_WAIT_MS);
	}
	must(here.sock && peer_answer(&here.peer) == 0);
	/* Both ends have heard of each other. */
	say();
	hear();
}

static void world_open(void)
{
	testbed_watchdog(90);
	if (!here.ctx)
		here.ctx = testbed_ctx("near", 0);
	if (!here.peer.pid)
		peer_start(&here.peer);
	here.n_said = here.n_heard = 0;
}

static void world_close(void)
{
	peer_end(&here.peer);
	msg_ctx_close(here.ctx);
	here.ctx = NULL;
	msgd_back();
}

static void see(const struct row *row, const struct role *role, int type, bool accepts)
{
	static const char *const names[TYPES] = {[LIBMSG_SEQPACKET] = "SEQPACKET",
		[LIBMSG_STREAM] = "STREAM",
		[LIBMSG_DGRAM] = "DGRAM"};

	here.row = row;
	here.type = type;
	if (!is_a_case(role))
		return;
	printf("%s: %s, %s, %s\n", row->event, role->name, names[type],
		accepts ? "accepted" : "connected");
	(void)fflush(stdout);
	world_open();
	channel_open(accepts);
	if (row->unread && type == LIBMSG_DGRAM) {
		static struct row of_datagrams;

		of_datagrams = rows[PEER_CLOSE];
		of_datagrams.make = make_peer_close_unread;
		here.row = &of_datagrams;
	}
	role->see();
	must(msg_close(here.sock) == 0);
	if (row->lethal || role->loops || role->inside)
		world_close();
	else
		(void)peer_do(&here.peer, ORDER_CLOSE, 0);
}

static void test_row(void **state)
{
	static bool accepts; /* this end; each second time */
	const struct row *row = *state;

	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		for (int type = LIBMSG_SEQPACKET; type < TYPES; type++)
			see(row, &roles[i], type, accepts = !accepts);
	}
	world_close();
	testbed_watchdog(0);
}

/* ---- the manual page ------------------------------------------------------------------------- */

static const char *outcome_text(int outcome, const char *until_told)
{
	if (outcome == UNTIL_TOLD)
		return until_told;
	return outcome ? strerrorname_np(outcome) : "0";
}

static void row_print(const struct row *row, char *text, size_t size)
{
	static const char *const notes[] = {
		[0] = "", [LATE_STRICT] = " [2]", [LATE_ALWAYS] = " [3]"};
	short events = row->events;

	(void)snprintf(text, size, "%s%s\t%s\t%s\t%s\t%s%s%s\n", row->event,
		row->unread ? " [1]" : notes[row->late], row->cut ? "arrived" : "all",
		outcome_text(row->receive, "waits"), outcome_text(row->send, "goes on"),
		events & POLLRDHUP ? "RDHUP" : "", events & POLLHUP ? " HUP" : "",
		events & POLLERR ? " ERR" : "");
}

/* From the table's first row on, each line is one, up to the table's end. */
static int check_manual(const char *path)
{
	char line[200], want[200] = "\\fBevent\\fR\t\\fBreads\\fR\t\\fBreceive\\fR\t\\fBsend\\fR"
				    "\t\\fBpoll\\fR\n";
	FILE *file = fopen(path, "r");
	size_t n = 0;
	bool found = false;

	must(file);
	while (fgets(line, sizeof(line), file) && !(found && strcmp(line, ".TE\n") == 0)) {
		if (!found) {
			found = strcmp(line, want) == 0;
			continue;
		}
		if (n < ARRAY_SIZE(rows))
			row_print(&rows[n], want, sizeof(want));
		if (n++ >= ARRAY_SIZE(rows) || strcmp(line, want) != 0) {
			(void)fprintf(
				stderr, "%s says\n%swhere the test has\n%s", path, line, want);
			return 1;
		}
	}
	(void)fclose(file);
	if (n == ARRAY_SIZE(rows))
		return 0;
	(void)fprintf(stderr, "%s has %zu rows of %zu\n", path, n, ARRAY_SIZE(rows));
	return 1;
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[ARRAY_SIZE(rows)];

	if (argc == 2 && strncmp(argv[1], "--manual=", 9) == 0)
		return check_manual(argv[1] + 9);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		tests[i] = (struct CMUnitTest){.name = rows[i].event,
			.test_func = test_row,
			.initial_state = (void *)(uintptr_t)&rows[i]};
	return cmocka_run_group_tests_name("ends", tests, testbed_setup, testbed_teardown);
}
