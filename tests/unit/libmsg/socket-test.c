/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sockets as objects: kinds and states, backlogs, the list of the ready list, options. */
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/support/aborts.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/failing-malloc.h"
#include "tests/support/link-pair.h"

#define A 0 /* connected */
#define B 1 /* has the listener */

static struct msg_sock *listener_new(struct pair_side *side, int backlog)
{
	struct msg_sock *listener =
		sock_new(&side->ctx->socks, SOCK_LISTENER, SOCK_OPEN, CHANNEL_SEQPACKET);

	assert_int_equal(sock_set_name(listener, "name", backlog), 0);
	listener->nonblock = true;
	return listener;
}

/* msgd grants a channel to a listener. */
static struct channel *grant(struct pair_side *side, uint32_t handle, uint32_t number)
{
	struct control_message message = {.type = CONTROL_CHANNEL,
		.channel = {.listener = handle,
			.end = PAIR_END,
			.channel = number,
			.peer = {.domid = 4}}};

	strcpy(message.channel.name, "name");
	pair_say(side, &message);
	return channel_find(&side->link->channels, number);
}

/* ---- states ----------------------------------------------------------------------------- */

static void move_sock(void *arg)
{
	enum sock_state *move = arg;
	struct socks socks;
	struct pool pool;
	struct msg_sock sock = {.socks = &socks, .state = move[0]};

	pool_init(&pool);
	socks_init(&socks, NULL, &pool);
	sock_set_state(&sock, move[1]);
	must(sock.state == move[1] && sock.ready && TAILQ_FIRST(&socks.ready[LOOP_OWN]) == &sock);
}

static void test_moves(void **state)
{
	static const char legal[SOCK_FAILED][SOCK_FAILED + 1] = {
		/* to: PENDING OPEN FAILED */
		[SOCK_PENDING - 1] = ".of",
		[SOCK_OPEN - 1] = "..f",
		[SOCK_FAILED - 1] = "...",
	};

	for (int from = SOCK_PENDING; from <= SOCK_FAILED; from++) {
		for (int to = SOCK_PENDING; to <= SOCK_FAILED; to++) {
			enum sock_state move[2] = {(enum sock_state)from, (enum sock_state)to};

			if (legal[from - 1][to - 1] != '.')
				move_sock(move);
			else
				assert_true(aborts(move_sock, move));
		}
	}
}

static void free_sock(void *sock)
{
	sock_free(sock);
}

/* A socket with a channel or a request is none that may be freed. */
static void test_free_too_early(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct msg_sock *asking = msg_connect(a->ctx, "a/b", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, -1);

	assert_true(aborts(free_sock, a->sock));
	assert_true(aborts(free_sock, asking));
}

static void test_first_failure_counts(void **state)
{
	struct msg_sock *listener = listener_new(pair_side_of(state, B), 1);

	sock_fail(listener, EACCES, "the first");
	sock_fail(listener, EIO, "the second");
	assert_int_equal(listener->error, EACCES);
	assert_string_equal(listener->reason, "the first");
}

static void test_events(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *listener = listener_new(b, 1);
	struct msg_sock *pending =
		sock_new(&b->ctx->socks, SOCK_CHANNEL, SOCK_PENDING, CHANNEL_SEQPACKET);

	assert_int_equal(sock_events(listener, POLLIN | POLLOUT), POLLOUT); /* it has its name */
	assert_int_equal(sock_events(listener, POLLIN), 0);
	assert_int_equal(sock_events(pending, POLLIN | POLLOUT), 0);
	(void)grant(b, listener->handle, 100);
	assert_int_equal(sock_events(listener, POLLIN | POLLOUT), POLLIN | POLLOUT);
	sock_fail(listener, EACCES, "test");
	assert_int_equal(sock_events(listener, 0), POLLIN | POLLERR);
	sock_fail(pending, ENOENT, "test");
	assert_int_equal(sock_events(pending, 0), POLLIN | POLLOUT | POLLERR | POLLHUP);
	/* A channel's: POLLOUT only where it is asked for. */
	assert_int_equal(sock_events(b->sock, POLLIN), 0);
	assert_int_equal(sock_events(b->sock, POLLIN | POLLOUT), POLLOUT);
	assert_int_equal(msg_send(pair_side_of(state, A)->sock, "x", 1, 0), 1);
	pair_take(b);
	assert_int_equal(sock_events(b->sock, 0), POLLIN);
	assert_int_equal(msg_shutdown(pair_side_of(state, A)->sock, SHUT_WR), 0);
	pair_take(b);
	assert_int_equal(sock_events(b->sock, 0), POLLIN | POLLRDHUP);
	assert_int_equal(msg_close(pair_side_of(state, A)->sock), 0);
	pair_take(b);
	assert_int_equal(sock_events(b->sock, POLLOUT), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
}

/* ---- listeners -------------------------------------------------------------------------- */

static void test_handles(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *first, *last, *third;

	b->ctx->socks.last_handle = UINT32_MAX - 1;
	last = listener_new(b, 1);
	first = listener_new(b, 1);
	assert_int_equal(last->handle, UINT32_MAX);
	assert_int_equal(first->handle, 1); /* 0 is no handle */
	b->ctx->socks.last_handle = UINT32_MAX - 1;
	third = listener_new(b, 1);
	assert_int_equal(third->handle, 2); /* the handles before 2 are in use */
	assert_ptr_equal(sock_find_listener(&b->ctx->socks, 2), third);
	assert_int_equal(msg_close(third), 0);
	assert_null(sock_find_listener(&b->ctx->socks, 2));
}

/* As many as the backlog wait, in the order in which they came; an accept makes a place. */
static void test_backlog(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *listener = listener_new(b, 2), *sock;
	struct control_message message;

	for (uint32_t number = 100; number < 103; number++) {
		struct channel *channel = grant(b, listener->handle, number);

		assert_int_equal(channel->listener_handle, listener->handle);
		assert_string_equal(channel->name, "name");
		assert_false(channel->tx_open); /* until it hears the caller */
		assert_int_equal(channel->peer.domid, 4);
		assert_int_equal(channel->state, number < 102 ? CHANNEL_OPEN : CHANNEL_CLOSING);
		assert_ptr_equal(channel->listener, number < 102 ? listener : NULL);
		assert_int_equal(channel->close_reason, number < 102 ? 0 : CLOSE_RESET);
	}
	assert_int_equal(listener->n_pending, 2);
	assert_false(pair_control(b, &message));
	sock = msg_accept(listener, LIBMSG_NONBLOCK);
	assert_int_equal(sock->channel->number, 100);
	assert_true(sock->nonblock);
	assert_int_equal(sock->state, SOCK_OPEN);
	/* msgd counts as well, and is told. */
	assert_true(pair_control(b, &message));
	assert_int_equal(message.type, CONTROL_ACCEPTED);
	assert_int_equal(message.accepted.end, PAIR_END);
	assert_int_equal(message.accepted.channel, 100);
	assert_int_equal(grant(b, listener->handle, 103)->state, CHANNEL_OPEN);
	sock = msg_accept(listener, 0);
	assert_int_equal(sock->channel->number, 101);
	assert_false(sock->nonblock);
	assert_int_equal(msg_accept(listener, 0)->channel->number, 103);
	assert_null(msg_accept(listener, 0));
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(listener->n_pending, 0);
	/* No such listener (any more). */
	assert_int_equal(grant(b, 4711, 104)->state, CHANNEL_CLOSING);
}

static struct channel *grant_from(
	struct pair_side *side, struct msg_sock *listener, uint16_t domid, uint32_t number)
{
	struct channel *channel = grant(side, listener->handle, number);

	channel->peer.domid = domid;
	return channel;
}

/*
 * Processes of one domain connect and die, over and over: the living have their place, and so has
 * the last word of another domain's process.
 */
static void test_backlog_of_the_dead(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *listener = listener_new(b, 3);

	channel_reset(grant_from(b, listener, 6, 100), ECONNRESET, "it died");
	for (uint32_t number = 101; number < 120; number++)
		channel_reset(grant_from(b, listener, 7, number), ECONNRESET, "it died");
	assert_int_equal(listener->n_pending, 3);
	assert_int_equal(grant_from(b, listener, 8, 200)->state, CHANNEL_OPEN);
	assert_int_equal(listener->n_pending, 3);
	assert_int_equal(msg_accept(listener, 0)->channel->number, 100);
	assert_int_equal(msg_accept(listener, 0)->channel->number, 119);
	assert_int_equal(msg_accept(listener, 0)->channel->number, 200);
}

/* A link of the test's own, with a channel in the listener's backlog. */
static struct link *link_waiting(struct pair_side *side, struct msg_sock *listener, uint32_t end)
{
	struct transport *transport =
		transport_new(&transport_grant, &side->hv, 9, 0, HV_PAGE_SIZE);
	struct channel *channel;
	struct link *link;

	transport->port = transport->event = end;
	link = link_new(&side->ctx->links, transport, end, 0, 0, LINK_UP);
	assert_non_null(link);
	link_set_armed(link, true);
	channel = channel_new(&link->channels, 1, CHANNEL_SEQPACKET, true);
	backlog_add(listener, channel);
	return link;
}

/* A channel whose link is about to end is one of the dead, though it has its link still. */
static void test_backlog_of_an_ending_link(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *listener = listener_new(b, 2);
	struct control_message message = {.type = CONTROL_CHANNEL,
		.channel = {.listener = listener->handle, .end = PAIR_END, .channel = 100}};
	struct link *first = link_waiting(b, listener, 20), *second = link_waiting(b, listener, 21);

	link_end(second, LINK_LEFT, "test");
	control_handle(&b->ctx->control, &message);
	assert_int_equal(channel_find(&b->link->channels, 100)->state, CHANNEL_OPEN);
	assert_int_equal(listener->n_pending, 2);
	assert_non_null(channel_find(&first->channels, 1)->listener);
	message.channel.channel = 101;
	control_handle(&b->ctx->control, &message);
	assert_int_equal(channel_find(&b->link->channels, 101)->state, CHANNEL_CLOSING);
	link_end(first, LINK_LEFT, "test");
	driver_pass(&b->ctx->driver);
}

/* No more than so many of the oldest are looked at, to find whose channel gives way. */
static void test_backlog_of_many_dead_domains(void **state)
{
	struct pair_side *b = pair_side_of(state, B);

	for (uint32_t n_before = 14; n_before <= 17; n_before++) {
		struct msg_sock *listener = listener_new(b, (int)n_before + 2);
		uint32_t first = 1000 * n_before, number = first;

		for (uint32_t i = 0; i < n_before; i++)
			channel_reset(grant_from(b, listener, (uint16_t)(100 + i), number++),
				ECONNRESET, "it died");
		for (int i = 0; i < 2; i++)
			channel_reset(grant_from(b, listener, 50, number++), ECONNRESET, "it died");
		(void)grant_from(b, listener, 60, number);
		assert_int_equal(listener->n_pending, n_before + 2);
		for (uint32_t i = 0; i < n_before + 2; i++) {
			struct msg_sock *sock = msg_accept(listener, 0);

			assert_non_null(sock);
			if (i == 0)
				assert_int_equal(
					sock->channel->number, n_before < 16 ? first : first + 1);
		}
	}
}

/* Channels that nobody has accepted are reset with their listener. */
static void test_close_with_a_backlog(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *listener = listener_new(b, 2);
	struct channel *channel = grant(b, listener->handle, 100);

	assert_int_equal(msg_close(listener), 0);
	assert_int_equal(channel->state, CHANNEL_CLOSING);
	assert_int_equal(channel->close_reason, CLOSE_RESET);
	assert_null(channel->listener);
}

/* A channel whose link ended while it waited is accepted with what it had received. */
static void test_accept_after_the_end(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *listener = listener_new(b, 2), *sock;
	char bytes[8];

	(void)grant(b, listener->handle, 100);
	pair_inject_frame(*state, A,
		&(struct frame){.channel = 100,
			.type = FRAME_DATA,
			.flags = FRAME_FIRST | FRAME_LAST,
			.len = 3,
			.arg = 3});
	pair_take(b);
	pair_end(b, LINK_PEER_GONE, "the reason");
	sock = msg_accept(listener, LIBMSG_NONBLOCK);
	assert_non_null(sock);
	assert_true(sock->ready);
	assert_int_equal(msg_recv(sock, bytes, sizeof(bytes), 0), 3);
	assert_int_equal(msg_recv(sock, bytes, sizeof(bytes), 0), -1);
	assert_string_equal(msg_reason(), "the reason");
}

/* An application that detaches leaves by what it has read: frames in the ring are unread, too. */
static void test_detach(void **state)
{
	for (int unread = 0; unread < 2; unread++) {
		struct pair *pair = pair_new(4);
		struct pair_side *a = &pair->sides[A], *b = &pair->sides[B];
		char byte;

		pair_take(b);
		pair_take(a);
		if (unread)
			assert_int_equal(msg_send(a->sock, "x", 1, 0), 1);
		assert_int_equal(msg_send(b->sock, "last", 4, MSG_MORE), 4);
		ctx_clear(b->ctx);
		assert_null(b->ctx->links.by_end);
		assert_true(TAILQ_EMPTY(&b->ctx->socks.all));
		pair_take(a);
		assert_int_equal(msg_recv(a->sock, &byte, 1, MSG_TRUNC), 4);
		assert_int_equal(msg_recv(a->sock, &byte, 1, 0), unread ? -1 : 0);
		if (unread)
			assert_int_equal(errno, ECONNRESET);
		pair_free(pair);
	}
}

/* There is no memory to accept it: it waits on. */
static void test_accept_without_memory(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *listener = listener_new(b, 2), *sock;

	(void)grant(b, listener->handle, 100);
	failing_malloc_set(1);
	errno = 0;
	assert_null(msg_accept(listener, 0));
	assert_true(failing_malloc_end());
	assert_int_equal(errno, ENOMEM);
	assert_string_equal(msg_reason(), "out of memory");
	assert_int_equal(listener->n_pending, 1);
	sock = msg_accept(listener, 0);
	assert_non_null(sock);
	assert_false(sock->ready); /* it has nothing to tell yet */
	assert_null(msg_accept(listener, 0));
	assert_string_equal(msg_reason(), "no channel waits to be accepted");
}

/* Each direction by itself, and what each end sees of it. */
static void test_shutdown(void **state)
{
	static const int ways[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
		char byte;

		assert_int_equal(msg_send(b->sock, "x", 1, 0), 1);
		assert_int_equal(msg_shutdown(a->sock, ways[i]), 0);
		assert_int_equal(a->channel->tx_shut, ways[i] != SHUT_RD);
		assert_int_equal(a->channel->rx_ignore, ways[i] != SHUT_WR);
		assert_true(a->sock->ready);
		assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 1); /* it had arrived */
		assert_int_equal(msg_recv(a->sock, &byte, 1, 0), ways[i] == SHUT_WR ? -1 : 0);
		assert_int_equal(msg_recv(b->sock, &byte, 1, 0), ways[i] == SHUT_RD ? -1 : 0);
		must(pair_teardown(state) == 0 && pair_setup(state) == 0);
	}
}

/* ---- the ready list --------------------------------------------------------------- */

/* Each is in the list once, and is reported until it has nothing more to say. */
static void test_ready_list(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *listener = listener_new(b, 4);
	struct msg_event events[4];
	char byte;

	assert_int_equal(msg_ctx_dispatch(b->ctx, events, 4), 0);
	(void)grant(b, listener->handle, 100);
	assert_true(listener->ready);
	sock_changed(listener);
	assert_int_equal(msg_send(pair_side_of(state, A)->sock, "x", 1, 0), 1);
	assert_int_equal(msg_ctx_dispatch(b->ctx, events, 4), 2);
	assert_ptr_equal(events[0].sock, listener);
	assert_int_equal(events[0].revents, POLLIN);
	assert_ptr_equal(events[1].sock, b->sock);
	assert_int_equal(events[1].revents, POLLIN);
	/* Sockets that were reported come last in the next call: all have their turn. */
	assert_int_equal(msg_ctx_dispatch(b->ctx, events, 1), 1);
	assert_ptr_equal(events[0].sock, listener);
	assert_int_equal(msg_ctx_dispatch(b->ctx, events, 1), 1);
	assert_ptr_equal(events[0].sock, b->sock);
	assert_int_equal(msg_recv(b->sock, &byte, 1, 0), 1);
	assert_int_equal(msg_ctx_dispatch(b->ctx, events, 4), 1);
	assert_ptr_equal(events[0].sock, listener);
	assert_false(b->sock->ready);
	assert_int_equal(msg_close(listener), 0);
	assert_true(TAILQ_EMPTY(&b->ctx->socks.ready[LOOP_OWN]));
	assert_int_equal(msg_ctx_dispatch(b->ctx, events, 4), 0);
	assert_int_equal(msg_ctx_dispatch(b->ctx, events, 0), -1);
	assert_int_equal(errno, EINVAL);
}

/* ---- options ---------------------------------------------------------------------------- */

/* The error of a connect is read once; a name that was lost stays lost. */
static void test_error_option(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *pending =
		sock_new(&b->ctx->socks, SOCK_CHANNEL, SOCK_PENDING, CHANNEL_SEQPACKET);
	struct msg_sock *listener = listener_new(b, 1);
	int64_t value;

	errno = 4711;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(msg_getopt(pending, LIBMSG_ERROR, &value), 0);
		assert_int_equal(value, 0);
	}
	sock_fail(pending, ENOENT, "nobody listens");
	sock_fail(listener, EACCES, "policy");
	assert_int_equal(msg_getopt(pending, LIBMSG_ERROR, &value), 0);
	assert_int_equal(value, ENOENT);
	assert_string_equal(msg_reason(), "nobody listens");
	assert_int_equal(msg_getopt(pending, LIBMSG_ERROR, &value), 0);
	assert_int_equal(value, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(msg_getopt(listener, LIBMSG_ERROR, &value), 0);
		assert_int_equal(value, EACCES);
		assert_string_equal(msg_reason(), "policy");
	}
	assert_int_equal(errno, 4711); /* these calls have succeeded */
	/* It stays failed, though its error was read. */
	assert_int_equal(msg_send(pending, "x", 1, 0), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_string_equal(msg_reason(), "not connected: nobody listens");
}

/* Each call refuses the flags that only other calls know, and unknown flags. */
static void test_unknown_flags(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *listener = listener_new(b, 1);
	const void *data;
	struct msg_buf *buf;
	char byte;

	assert_int_not_equal(LIBMSG_ONE_THREAD, LIBMSG_NONBLOCK);
	assert_int_not_equal(LIBMSG_ONE_THREAD, LIBMSG_WAIT_NAME);
	assert_int_not_equal(LIBMSG_NONBLOCK, LIBMSG_WAIT_NAME);
	for (unsigned bit = 0; bit < 32; bit++) {
		unsigned flag = 1U << bit;

#define REFUSED(call)                                                                              \
	do {                                                                                       \
		errno = 0;                                                                         \
		assert_true(call);                                                                 \
		assert_int_equal(errno, EINVAL);                                                   \
		assert_non_null(strstr(msg_reason(), "flags: "));                                  \
	} while (0)
		if (flag != LIBMSG_ONE_THREAD)
			REFUSED(!msg_ctx_open("none:", flag, 0));
		if (flag != LIBMSG_NONBLOCK) {
			REFUSED(!msg_listen(b->ctx, "n", LIBMSG_SEQPACKET, 1, flag));
			REFUSED(!msg_accept(listener, flag));
		}
		if (flag != LIBMSG_NONBLOCK && flag != LIBMSG_WAIT_NAME)
			REFUSED(!msg_connect(b->ctx, "n", LIBMSG_SEQPACKET, flag, 0));
		if (!(flag & (MSG_DONTWAIT | MSG_NOSIGNAL | MSG_EOR | MSG_MORE))) {
			REFUSED(msg_send(b->sock, "x", 1, (int)flag) < 0);
			REFUSED(msg_sendmsg(b->sock, &(struct msghdr){0}, (int)flag) < 0);
		}
		if (!(flag & (MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC | MSG_WAITALL | MSG_NOSIGNAL |
				     MSG_CMSG_CLOEXEC))) {
			REFUSED(msg_recv(b->sock, &byte, 1, (int)flag) < 0);
			REFUSED(msg_recvmsg(b->sock, &(struct msghdr){0}, (int)flag) < 0);
		}
		if (flag != MSG_DONTWAIT)
			REFUSED(msg_recv_take(b->sock, (int)flag, &data, &buf) < 0);
	}
}

/* A struct msghdr has neither name nor control data, and so many bytes and segments at most. */
static void test_message_headers(void **state)
{
	static struct iovec many[IOV_MAX + 1];
	struct pair_side *b = pair_side_of(state, B);
	char byte;
	struct iovec large[] = {
		{.iov_base = &byte, .iov_len = 1}, {.iov_base = &byte, .iov_len = SSIZE_MAX - 1}};
	const struct msghdr wrong[] = {
		{.msg_name = &byte},
		{.msg_namelen = 1},
		{.msg_control = &byte},
		{.msg_controllen = 1},
		{.msg_iov = many, .msg_iovlen = IOV_MAX + 1},
	};
	struct msghdr message = {.msg_iov = large, .msg_iovlen = 2};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		message = wrong[i];
		errno = 0;
		assert_int_equal(msg_sendmsg(b->sock, &message, 0), -1);
		assert_int_equal(errno, EINVAL);
		errno = 0;
		assert_int_equal(msg_recvmsg(b->sock, &message, 0), -1);
		assert_int_equal(errno, EINVAL);
	}
	message = (struct msghdr){.msg_iov = large, .msg_iovlen = 2};
	assert_int_equal(msg_recvmsg(b->sock, &message, 0), -1);
	assert_int_equal(errno, EAGAIN);
	large[0].iov_len++;
	assert_int_equal(msg_recvmsg(b->sock, &message, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_string_equal(msg_reason(), "more bytes than ssize_t counts");
	message = (struct msghdr){.msg_iov = many, .msg_iovlen = IOV_MAX};
	assert_int_equal(msg_sendmsg(pair_side_of(state, A)->sock, &message, 0), 0);
	assert_int_equal(msg_recvmsg(b->sock, &message, 0), 0);
	assert_int_equal(message.msg_flags, MSG_EOR);
}

/* A listener carries no messages, and a channel accepts none. */
static void test_kinds(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_sock *listener = listener_new(b, 1);
	struct msg_peer peer = {.size = sizeof(peer)};
	int64_t value;
	char byte;

	assert_int_equal(msg_send(listener, "x", 1, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(msg_recv(listener, &byte, 1, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(msg_flush(listener), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(msg_shutdown(listener, SHUT_WR), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(msg_getpeer(listener, &peer), -1);
	assert_int_equal(errno, ENOTCONN);
	for (int option = LIBMSG_RCVTIMEO; option <= LIBMSG_SPIN; option++) {
		bool connected = option == LIBMSG_RCVBUF || option == LIBMSG_MAXMSG;

		errno = 0;
		value = option == LIBMSG_SNDBUF ? 65536 : 1;
		assert_int_equal(msg_setopt(listener, option, value), connected ? -1 : 0);
		assert_int_equal(errno, connected ? ENOPROTOOPT : 0);
	}
	assert_int_equal(msg_getopt(listener, LIBMSG_TRANSPORT, &value), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_null(msg_accept(b->sock, 0));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(msg_shutdown(b->sock, 77), -1);
	assert_int_equal(errno, EINVAL);
}

static void test_defaults(void **state)
{
	static const struct {
		int option;
		int64_t value;
	} defaults[] = {
		{LIBMSG_RCVTIMEO, -1},
		{LIBMSG_SNDTIMEO, -1},
		{LIBMSG_LINGER, 1000},
		{LIBMSG_RCVBUF, 1 << 20},
		{LIBMSG_SNDBUF, 1 << 20},
		{LIBMSG_MAXMSG, 1 << 20},
		{LIBMSG_NONBLOCK_OPT, 0},
		{LIBMSG_CORK, 0},
		{LIBMSG_SPIN, -1},
		{LIBMSG_ERROR, 0},
	};
	struct msg_sock *sock = sock_new(
		&pair_side_of(state, B)->ctx->socks, SOCK_CHANNEL, SOCK_PENDING, CHANNEL_SEQPACKET);

	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
		int64_t value = 4711;

		assert_int_equal(msg_getopt(sock, defaults[i].option, &value), 0);
		assert_true(value == defaults[i].value);
	}
}

/* A shorter receive buffer bounds the messages that are asked for, and a longer one does not. */
static void test_receive_buffer(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	static const struct {
		int option;
		uint32_t value, maxmsg, rx_max;
	} steps[] = {
		{LIBMSG_RCVBUF, 65536, 65536, 65536},
		{LIBMSG_MAXMSG, 30000, 30000, 65536},
		{LIBMSG_RCVBUF, 80000, 30000, 80000},
		{LIBMSG_RCVBUF, 20000, 20000, 20000},
		{LIBMSG_RCVBUF, MESSAGE_MAX, 30000, CREDIT_MAX},
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int64_t value;

		assert_int_equal(msg_setopt(b->sock, steps[i].option, steps[i].value), 0);
		assert_int_equal(b->channel->maxmsg, steps[i].maxmsg);
		assert_int_equal(b->channel->rx_max, steps[i].rx_max);
		assert_int_equal(msg_getopt(b->sock, LIBMSG_MAXMSG, &value), 0);
		assert_int_equal(value, steps[i].maxmsg);
	}
	assert_int_equal(msg_setopt(b->sock, LIBMSG_RCVBUF, 20000), 0);
	assert_int_equal(msg_setopt(b->sock, LIBMSG_MAXMSG, 20001), -1);
	assert_int_equal(errno, EINVAL);
	/* The peer need not be told what it was told before. */
	driver_pass(&b->ctx->driver);
	assert_int_equal(msg_setopt(b->sock, LIBMSG_RCVBUF, 25000), 0);
	assert_int_equal(msg_setopt(b->sock, LIBMSG_MAXMSG, 25000), 0);
	driver_pass(&b->ctx->driver);
	assert_int_equal(msg_setopt(b->sock, LIBMSG_RCVBUF, 25001), 0);
	assert_false(b->channel->limit_due);
}

/* Each option reads as it was set; what is out of range changes nothing. */
static void test_options(void **state)
{
	static const struct {
		int option;
		int64_t low, high; /* the range; both are legal */
		int64_t outside[2];
	} options[] = {
		{LIBMSG_RCVTIMEO, -1, INT32_MAX, {-2, (int64_t)INT32_MAX + 1}},
		{LIBMSG_SNDTIMEO, -1, INT32_MAX, {-2, (int64_t)INT32_MAX + 1}},
		{LIBMSG_LINGER, -1, INT32_MAX, {-2, (int64_t)INT32_MAX + 1}},
		{LIBMSG_SNDBUF, 4096, MESSAGE_MAX, {4095, MESSAGE_MAX + 1}},
		{LIBMSG_RCVBUF, CREDIT_INITIAL, MESSAGE_MAX, {CREDIT_INITIAL - 1, MESSAGE_MAX + 1}},
		{LIBMSG_MAXMSG, 1, MESSAGE_MAX, {0, MESSAGE_MAX + 1}},
		{LIBMSG_SPIN, -1, 1000000, {-2, 1000001}},
		{LIBMSG_NONBLOCK_OPT, 0, 1, {-1, 2}},
		{LIBMSG_CORK, 0, 1, {-1, 2}},
		{LIBMSG_RESET, 0, 1, {-1, 2}},
		{LIBMSG_CAPTURE, 0, 1, {-1, 2}},
	};
	struct pair_side *b = pair_side_of(state, B);
	int64_t value;

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		int option = options[i].option;

		assert_int_equal(msg_setopt(b->sock, option, options[i].low), 0);
		assert_int_equal(msg_getopt(b->sock, option, &value), 0);
		assert_true(value == options[i].low);
		assert_int_equal(msg_setopt(b->sock, option, options[i].high), 0);
		for (int k = 0; k < 2 && options[i].outside[1]; k++) {
			assert_int_equal(msg_setopt(b->sock, option, options[i].outside[k]), -1);
			assert_int_equal(errno, EINVAL);
		}
		assert_int_equal(msg_getopt(b->sock, option, &value), 0);
		assert_true(value == options[i].high);
	}
	assert_int_equal(msg_getopt(b->sock, LIBMSG_TYPE, &value), 0);
	assert_true(value == LIBMSG_SEQPACKET);
	assert_int_equal(msg_getopt(b->sock, LIBMSG_TRANSPORT, &value), 0);
	assert_true(value == LIBMSG_TRANSPORT_GRANT);
	for (int option = LIBMSG_TRANSPORT; option <= LIBMSG_DROP_OLDEST; option++) {
		assert_int_equal(msg_setopt(b->sock, option, 1), -1);
		assert_int_equal(errno, ENOPROTOOPT);
	}
	assert_int_equal(msg_setopt(b->sock, 4711, 1), -1);
	assert_int_equal(errno, EINVAL);
	for (int i = 0; i < 3; i++) {
		static const int unknown[] = {-1, 0, LIBMSG_CAPTURE + 1};

		assert_int_equal(msg_getopt(b->sock, unknown[i], &value), -1);
		assert_int_equal(errno, EINVAL);
	}
	assert_int_equal(msg_getopt(b->sock, 4711, &value), -1);
	assert_int_equal(errno, EINVAL);
}

/* The end of corking shows what was held back, and so does a flush. */
static void test_cork(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	char byte;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(msg_setopt(a->sock, LIBMSG_CORK, 1), 0);
		assert_int_equal(msg_send(a->sock, "x", 1, 0), 1);
		assert_int_equal(msg_recv(b->sock, &byte, 1, 0), -1);
		doorbell_arm(&b->pair->page->end[B].sleeping);
		if (i)
			assert_int_equal(msg_setopt(a->sock, LIBMSG_CORK, 0), 0);
		else
			assert_int_equal(msg_flush(a->sock), 0);
		assert_int_equal(atomic_load(&b->pair->page->end[B].sleeping), 0);
		assert_int_equal(msg_recv(b->sock, &byte, 1, 0), 1);
	}
}

/* The beginning of corking shows nothing, nor does a value that is refused. */
static void test_cork_shows_nothing(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	assert_int_equal(msg_send(a->sock, "x", 1, MSG_MORE), 1);
	assert_int_equal(msg_setopt(a->sock, LIBMSG_CORK, 2), -1);
	assert_true(a->link->transport->unpushed);
	assert_int_equal(msg_setopt(a->sock, LIBMSG_CORK, 1), 0);
	assert_true(a->link->transport->unpushed);
	assert_int_equal(msg_setopt(a->sock, LIBMSG_CORK, 0), 0);
	assert_false(a->link->transport->unpushed);
}

static void test_peer_of_an_earlier_version(void **state)
{
	struct pair_side *b = pair_side_of(state, B);
	struct msg_peer peer;

	memset(&peer, 0xee, sizeof(peer));
	peer.size = offsetof(struct msg_peer, name);
	assert_int_equal(msg_getpeer(b->sock, &peer), 0);
	assert_int_equal(peer.transport, LIBMSG_TRANSPORT_GRANT);
	assert_int_equal(peer.flags, 0);
	assert_int_equal((uint8_t)peer.name[0], 0xee);
	peer.size = sizeof(peer) + 1;
	assert_int_equal(msg_getpeer(b->sock, &peer), -1);
	assert_int_equal(errno, EINVAL);
	peer.size = 3;
	assert_int_equal(msg_getpeer(b->sock, &peer), -1);
	assert_int_equal(errno, EINVAL);
	memset(&peer, 0xee, sizeof(peer));
	peer.size = sizeof(uint32_t); /* of no use, but legal */
	assert_int_equal(msg_getpeer(b->sock, &peer), 0);
	assert_int_equal(*((uint8_t *)&peer + sizeof(uint32_t)), 0xee);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_moves),
		cmocka_unit_test_setup_teardown(test_free_too_early, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_first_failure_counts, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_events, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_handles, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_backlog, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_backlog_of_the_dead, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_backlog_of_an_ending_link, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_backlog_of_many_dead_domains, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_close_with_a_backlog, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_accept_after_the_end, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_accept_without_memory, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_shutdown, pair_setup, pair_teardown),
		cmocka_unit_test(test_detach),
		cmocka_unit_test_setup_teardown(test_ready_list, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_error_option, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_unknown_flags, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_kinds, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_message_headers, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_defaults, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_receive_buffer, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_options, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_cork, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_cork_shows_nothing, pair_setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_peer_of_an_earlier_version, pair_setup, pair_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
