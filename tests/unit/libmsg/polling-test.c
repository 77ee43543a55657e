/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msg_poll: the events that it reports, the link that it looks at, when it returns. */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

#define A     0 /* polls */
#define B     1
#define OTHER 4U /* a second channel */

static int setup(void **state)
{
	(void)pair_setup(state);
	pair_events(*state);
	pair_side_of(state, A)->ctx->driver.spin_us = 0;
	return 0;
}

static void say(void **state)
{
	assert_int_equal(msg_send(pair_side_of(state, B)->sock, "x", 1, 0), 1);
}

static void fill_ring(struct pair_side *side)
{
	while (transport_put_bare(side->link->transport, PAIR_CHANNEL, FRAME_LIMIT, 1) == 0)
		;
	assert_int_equal(transport_push(side->link->transport), 0);
}

static void empty_ring(struct pair_side *side)
{
	struct transport *in = side->link->transport;

	while (in->ops->peek(in) > 0)
		in->ops->next(in);
	transport_give_back(in, true);
}

static void assert_events(struct msg_sock *sock, short asked, short expected)
{
	struct msg_pollfd fd = {.sock = sock, .events = asked, .revents = -1};

	assert_int_equal(msg_poll(&fd, 1, 0), expected != 0);
	assert_int_equal(fd.revents, expected);
}

/* ---- events ----------------------------------------------------------------------------- */

/* Events that are asked for are reported, and those that nobody need ask for. */
static void test_masks(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct msg_sock *other = pair_channel(a, OTHER, true);
	char byte;

	(void)pair_channel(b, OTHER, false);
	driver_pass(&a->ctx->driver);
	assert_events(a->sock, POLLIN, 0);
	assert_events(a->sock, POLLIN | POLLOUT, POLLOUT);
	say(state);
	assert_events(a->sock, POLLOUT, POLLOUT);
	assert_events(a->sock, POLLIN, POLLIN);
	assert_events(a->sock, 0, 0);
	assert_int_equal(msg_shutdown(b->sock, SHUT_WR), 0);
	pair_take(a);
	assert_events(a->sock, POLLIN, POLLIN | POLLRDHUP);
	assert_events(a->sock, POLLOUT, POLLOUT);
	assert_events(a->sock, 0, 0);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 1);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 0);
	assert_events(a->sock, POLLIN, POLLIN | POLLRDHUP); /* as long as it is asked for */
	assert_int_equal(msg_close(b->sock), 0);
	pair_take(a);
	assert_events(a->sock, 0, POLLHUP);
	assert_events(a->sock, POLLIN, POLLIN | POLLRDHUP | POLLHUP);
	channel_reset(other->channel, ECONNRESET, "test");
	assert_events(other, 0, POLLHUP | POLLERR);
	assert_events(other, POLLIN, POLLIN | POLLRDHUP | POLLHUP | POLLERR);
}

/* Each socket has its own result; the sum is of those that have one. */
static void test_several(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct msg_sock *other = pair_channel(a, OTHER, true);
	struct msg_sock *listener =
		sock_new(&a->ctx->socks, SOCK_LISTENER, SOCK_OPEN, CHANNEL_SEQPACKET);
	struct msg_pollfd fds[] = {{.revents = -1},
		{.sock = other, .events = POLLIN, .revents = -1},
		{.sock = a->sock, .events = POLLIN, .revents = -1},
		{.sock = listener, .events = POLLIN, .revents = -1},
		{.sock = other, .events = POLLIN | POLLOUT, .revents = -1}};

	(void)pair_channel(pair_side_of(state, B), OTHER, false);
	driver_pass(&a->ctx->driver);
	say(state);
	pair_take(a);
	assert_int_equal(msg_poll(fds, ARRAY_SIZE(fds), -1), 2);
	assert_int_equal(fds[0].revents, 0);
	assert_int_equal(fds[1].revents, 0);
	assert_int_equal(fds[2].revents, POLLIN);
	assert_int_equal(fds[3].revents, 0);
	assert_int_equal(fds[4].revents, POLLOUT);
}

static void test_refused(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct msg_pollfd fds[] = {{.events = POLLIN}, {.sock = a->sock}, {.sock = b->sock}};

	errno = 0;
	assert_int_equal(msg_poll(fds, 0, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_string_equal(msg_reason(), "no socket to poll");
	assert_int_equal(msg_poll(fds, 1, 0), -1);
	assert_string_equal(msg_reason(), "no socket to poll");
	assert_int_equal(msg_poll(fds, 2, 0), 0);
	errno = 0;
	assert_int_equal(msg_poll(fds, 3, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_string_equal(msg_reason(), "sockets of several contexts");
}

/* ---- waiting ---------------------------------------------------------------------------- */

static void no_action(int signal)
{
}

/* The timer strikes again until it strikes a sleep. */
static void test_interrupted(void **state)
{
	const struct itimerval often = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
	const struct sigaction action = {.sa_handler = no_action};
	struct msg_pollfd fd = {.sock = pair_side_of(state, A)->sock, .events = POLLIN};

	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	errno = 0;
	assert_int_equal(msg_poll(&fd, 1, -1), -1);
	assert_int_equal(errno, EINTR);
	assert_string_equal(msg_reason(), "interrupted by a signal");
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
}

/* Room is waited for where room is what lacks, and an event for it is asked for. */
static void test_asks_for_room(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	_Atomic uint32_t *want_space = &a->pair->page->end[A].want_space;

	fill_ring(a);
	doorbell_disarm(want_space);
	assert_events(a->sock, POLLIN, 0);
	assert_int_equal(atomic_load(want_space), 0);
	assert_false(a->channel->blocked);
	assert_events(a->sock, POLLOUT, 0);
	assert_int_equal(atomic_load(want_space), 1);
	assert_true(a->channel->blocked);
	empty_ring(b);
	assert_events(a->sock, POLLOUT, POLLOUT);
	pair_drive(a);
	assert_false(a->channel->blocked);
	/* For credit nobody can ask. */
	doorbell_disarm(want_space);
	a->channel->tx_credit = 0;
	assert_events(a->sock, POLLOUT, 0);
	assert_int_equal(atomic_load(want_space), 0);
}

/* ---- the link to look at ---------------------------------------------------------------- */

/* Whether a poll with that time to wait has spun: the score tells. */
static bool spins(struct pair_side *side, struct msg_pollfd *fds, size_t n)
{
	struct driver *driver = &side->ctx->driver;

	driver->spin_us = 1;
	driver->n_cpus = 2;
	driver->spin_score = 5;
	side->clock_step_ns = 1000000;
	assert_int_equal(msg_poll(fds, n, 1), 0);
	side->clock_step_ns = 0;
	driver->spin_us = 0;
	return driver->spin_score != 5;
}

/* A thread spins on the link of all its sockets; if they have several, it sleeps. */
static void test_spins_on_one_link(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct transport *transport = transport_new(&transport_grant, &a->hv, 7, 0, HV_PAGE_SIZE);
	struct msg_sock *same = pair_channel(a, OTHER, true);
	struct msg_sock *other =
		sock_new(&a->ctx->socks, SOCK_CHANNEL, SOCK_OPEN, CHANNEL_SEQPACKET);
	struct msg_sock *listener =
		sock_new(&a->ctx->socks, SOCK_LISTENER, SOCK_OPEN, CHANNEL_SEQPACKET);
	struct msg_pollfd fds[] = {{.sock = a->sock, .events = POLLIN},
		{.sock = same, .events = POLLIN}, {.sock = listener, .events = POLLIN}, {0},
		{.sock = other, .events = POLLIN}};
	struct link *link;

	(void)pair_channel(pair_side_of(state, B), OTHER, false);
	driver_pass(&a->ctx->driver);
	transport->port = transport->event = 20;
	link = link_new(&a->ctx->links, transport, 20, 0, 0, LINK_UP);
	link_set_armed(link, true);
	sock_set_channel(other, channel_new(&link->channels, 1, CHANNEL_SEQPACKET, true));
	assert_true(spins(a, fds, 1));
	assert_true(spins(a, fds, 4));
	assert_false(spins(a, fds, 5));
	assert_false(spins(a, fds + 2, 2));
	link_end(link, LINK_LEFT, "the test is over");
	driver_pass(&a->ctx->driver);
}

static void must_not_drive(struct pair_side *side)
{
	fail_msg("it looks at more than the link of its sockets");
}

/* A frame that is there is taken in at once. */
static void test_looks_first(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct msg_pollfd fd = {.sock = a->sock, .events = POLLIN};

	say(state);
	a->on_sleep = must_not_drive;
	assert_int_equal(msg_poll(&fd, 1, -1), 1);
	assert_int_equal(fd.revents, POLLIN);
	a->on_sleep = NULL;
}

/* Room to send hides neither a message nor the end. */
static void test_room_hides_nothing(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct msg_pollfd fd = {.sock = a->sock, .events = POLLIN | POLLOUT};
	char byte;

	assert_int_equal(msg_poll(&fd, 1, 0), 1);
	assert_int_equal(fd.revents, POLLOUT);
	say(state);
	assert_int_equal(msg_poll(&fd, 1, 0), 1);
	assert_int_equal(fd.revents, POLLIN | POLLOUT);
	assert_int_equal(msg_shutdown(b->sock, SHUT_WR), 0);
	assert_int_equal(msg_poll(&fd, 1, -1), 1);
	assert_int_equal(fd.revents, POLLIN | POLLOUT);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 1);
	assert_int_equal(msg_poll(&fd, 1, 0), 1);
	assert_int_equal(fd.revents, POLLIN | POLLOUT | POLLRDHUP);
}

/* ---- event loops ------------------------------------------------------------------------ */

/* POLLOUT that is owed is told when there is room, though the event for it was served before. */
static void test_owed_room(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	static char bytes[64];
	struct msg_event event;

	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	a->channel->tx_credit = 1U << 20;
	while (msg_send(a->sock, bytes, sizeof(bytes), 0) == sizeof(bytes))
		;
	assert_true(a->sock->out_edge);
	sock_changed(a->sock);
	channel_unqueue(a->channel); /* a flush has taken it for served */
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
	assert_true(a->channel->blocked); /* it is asked for again */
	assert_true(a->sock->out_edge);
	empty_ring(b);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 1);
	assert_int_equal(event.revents, POLLOUT);
	assert_false(a->sock->out_edge);
	/* Where nothing is owed, nothing is asked for. */
	fill_ring(a);
	sock_changed(a->sock);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
	assert_false(a->channel->blocked);
}

/* The other end makes room right after the look of that number, counted from when this is set. */
static struct {
	const struct transport_ops *ops;
	struct pair_side *other;
	unsigned left;
} room_after;

static int64_t room_then_more(struct transport *transport, uint32_t want)
{
	int64_t room = room_after.ops->room(transport, want);

	if (room_after.left && !--room_after.left)
		empty_ring(room_after.other);
	return room;
}

static void make_room_after(struct pair_side *side, struct pair_side *other, unsigned n_looks)
{
	static struct transport_ops ops;

	fill_ring(side);
	room_after.ops = &transport_grant;
	room_after.other = other;
	room_after.left = n_looks;
	ops = transport_grant;
	ops.room = room_then_more;
	side->link->transport->ops = &ops;
}

static void must_be_woken(struct pair_side *side)
{
	if (!atomic_load(&side->pending))
		fail_msg("it sleeps, and nothing tells of the room");
}

/* Room that comes between two looks is not lost, whichever two: the descriptor stays readable. */
static void test_room_between_looks(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct pollfd fd = {.fd = msg_ctx_fd(a->ctx), .events = POLLIN};
	struct msg_event event;
	unsigned n_looks = 0;

	a->channel->tx_credit = 1U << 20;
	must(msg_setopt(a->sock, LIBMSG_EVENTS, POLLOUT) == 0);
	do {
		make_room_after(a, b, ++n_looks);
		sock_changed(a->sock);
		if (msg_ctx_dispatch(a->ctx, &event, 1) == 0 && !room_after.left) {
			pair_drive(a); /* an event, if one was asked for */
			assert_int_equal(poll(&fd, 1, 0), 1);
			assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 1);
		}
	} while (!room_after.left);
	assert_true(n_looks > 2);
}

static void test_room_between_looks_of_poll(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	unsigned n_looks = 0;

	a->channel->tx_credit = 1U << 20;
	a->on_sleep = must_be_woken;
	for (n_looks = 1; n_looks < 4; n_looks++) {
		struct msg_pollfd fd = {.sock = a->sock, .events = POLLOUT};

		make_room_after(a, b, n_looks);
		assert_int_equal(msg_poll(&fd, 1, -1), 1);
		assert_int_equal(room_after.left, 0);
	}
	a->on_sleep = NULL;
}

/* POLLOUT is owed, too, by a send that has waited in vain. */
static void test_owed_after_a_time_limit(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	static char bytes[1000];
	struct msg_event event;

	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	a->sock->nonblock = false;
	must(msg_setopt(a->sock, LIBMSG_SNDTIMEO, 1) == 0);
	while (msg_send(a->sock, bytes, sizeof(bytes), 0) > 0)
		;
	assert_int_equal(errno, EAGAIN);
	while (msg_recv(b->sock, bytes, sizeof(bytes), 0) > 0)
		;
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 1);
	assert_int_equal(event.revents, POLLOUT);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
}

/* The end of a channel is told until it is read, and then what follows. */
static void test_end_is_told_until_read(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct msg_event event;
	char byte;

	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	assert_int_equal(msg_shutdown(b->sock, SHUT_WR), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 1);
		assert_int_equal(event.revents, POLLIN | POLLRDHUP);
		assert_int_equal(msg_recv(a->sock, &byte, 1, MSG_PEEK), 0);
	}
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 0);
	sock_changed(a->sock);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
	assert_int_equal(msg_close(b->sock), 0);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 1);
	assert_int_equal(event.revents, POLLIN | POLLRDHUP | POLLHUP);
}

/* The same of an error. */
static void test_error_is_told_until_taken(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct msg_event event;
	char byte;

	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	pair_end(a, LINK_LOST, "the test's reason");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 1);
		assert_int_equal(event.revents, POLLIN | POLLRDHUP | POLLERR | POLLHUP);
		assert_int_equal(msg_recv(a->sock, &byte, 1, MSG_PEEK), -1);
		assert_int_equal(errno, ECONNRESET);
	}
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), -1);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
}

/* The same for an end that was taken over. */
static void test_end_that_was_taken(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	const void *data;
	struct msg_event event;
	struct msg_buf *buf;

	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	say(state);
	assert_int_equal(msg_shutdown(b->sock, SHUT_WR), 0);
	assert_int_equal(msg_recv_take(a->sock, 0, &data, &buf), 1);
	msg_buf_free(buf);
	assert_int_equal(a->channel->end_taken, 0);
	assert_int_equal(msg_recv_take(a->sock, 0, &data, &buf), 0);
	assert_null(buf);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
}

/* Whatever the first frame of the other end is: from then on this end may send. */
static void test_may_send_now(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *other = pair_channel(b, OTHER, false);
	struct msg_event event;

	must(msg_setopt(other, LIBMSG_EVENTS, POLLIN | POLLOUT) == 0);
	while (msg_ctx_dispatch(b->ctx, &event, 1) > 0)
		;
	assert_true(pair_inject_frame(
		*state, A, &(struct frame){.channel = OTHER, .type = FRAME_LIMIT, .arg = 100000}));
	assert_int_equal(msg_ctx_dispatch(b->ctx, &event, 1), 1);
	assert_ptr_equal(event.sock, other);
	assert_int_equal(event.revents, POLLOUT);
}

static void must_be_told(struct pair_side *side)
{
	assert_true(side->sock->ready);
}

/* Other threads hear of a shutdown before its frame has found room. */
static void test_shutdown_is_told_at_once(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct msg_event event;
	unsigned before;

	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	fill_ring(a);
	a->sock->nonblock = false;
	must(msg_setopt(a->sock, LIBMSG_LINGER, 1) == 0);
	before = a->n_sleeps;
	a->on_sleep = must_be_told;
	assert_int_equal(msg_shutdown(a->sock, SHUT_RDWR), 0);
	a->on_sleep = NULL;
	assert_true(a->n_sleeps > before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_masks),
		TEST(test_several),
		TEST(test_refused),
		TEST(test_interrupted),
		TEST(test_asks_for_room),
		TEST(test_spins_on_one_link),
		TEST(test_looks_first),
		TEST(test_room_hides_nothing),
		TEST(test_owed_room),
		TEST(test_room_between_looks),
		TEST(test_room_between_looks_of_poll),
		TEST(test_owed_after_a_time_limit),
		TEST(test_end_is_told_until_read),
		TEST(test_error_is_told_until_taken),
		TEST(test_end_that_was_taken),
		TEST(test_may_send_now),
		TEST(test_shutdown_is_told_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
