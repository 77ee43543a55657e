/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Questions to msgd: their numbers, the next msgd that gets them again, answers that come late, and
 * names that a returned msgd refuses.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/failing-malloc.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

#define LATE 9U /* a channel that msgd grants */
#define UUID                                                                                       \
	{                                                                                          \
		'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'     \
	}

static int setup(void **state)
{
	struct pair *pair = pair_new(4);
	struct pair_side *side = &pair->sides[0];

	*state = pair;
	pair_attached(side);
	return 0;
}

static struct pair_side *side_of(void **state)
{
	return &((struct pair *)*state)->sides[0];
}

static void assert_silent(struct pair_side *side)
{
	struct control_message message;

	assert_false(pair_control(side, &message));
}

static struct control_message status(uint32_t request, uint32_t error, const char *reason)
{
	struct control_message message = {
		.type = CONTROL_STATUS, .request = request, .status = {.error = error}};

	strcpy(message.status.reason, reason);
	return message;
}

static struct msg_sock *connecting(struct pair_side *side)
{
	struct msg_sock *sock = msg_connect(
		side->ctx, "domain/name", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK | LIBMSG_WAIT_NAME, -1);

	assert_non_null(sock);
	return sock;
}

/* ---- numbers ---------------------------------------------------------------------------- */

static void test_numbers(void **state)
{
	struct pair_side *side = side_of(state);
	struct control *control = &side->ctx->control;
	struct control_message sync = {.type = CONTROL_SYNC};
	struct request *first, *r;

	control->last_request = REQUEST_HELLO - 2;
	first = request_new(control, NULL, &sync);
	assert_int_equal(first->id, REQUEST_HELLO - 1);
	r = request_new(control, NULL, &sync);
	assert_int_equal(r->id, 1); /* neither HELLO's, nor 0 */
	assert_ptr_equal(request_find(control, 1), r);
	control->last_request = REQUEST_HELLO - 2;
	assert_int_equal(
		request_new(control, NULL, &sync)->id, 2); /* the numbers before 2 are in use */
	assert_int_equal(pair_next(side).request, REQUEST_HELLO - 1);
	assert_int_equal(pair_next(side).request, 1);
	assert_int_equal(pair_next(side).request, 2);
	request_done(control, r, 0, "");
	assert_null(request_find(control, 1));
}

/* ---- the next msgd ---------------------------------------------------------------------- */

static void test_sent_again_under_its_number(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock = connecting(side);
	struct control_message message = pair_next(side);
	uint32_t id = message.request;

	assert_int_equal(message.type, CONTROL_CONNECT);
	control_take(&side->ctx->control);
	assert_silent(side); /* not twice to one msgd */
	for (int i = 0; i < 2; i++) {
		pair_next_msgd_told(side, 0);
		message = pair_next(side);
		assert_int_equal(message.type, CONTROL_CONNECT);
		assert_int_equal(message.request, id);
		assert_int_equal(message.connect.flags, CONNECT_WAIT_NAME);
		assert_string_equal(message.connect.address, "domain/name");
		assert_silent(side);
	}
	message = status(id, ENOENT, "nobody");
	pair_say(side, &message);
	pair_next_msgd_told(side, 0);
	assert_silent(side);
	assert_int_equal(sock->state, SOCK_FAILED);
	assert_int_equal(msg_close(sock), 0);
	assert_silent(side);
}

/* A SYNC is asked again, too: frames wait for its answer. */
static void test_sync_is_sent_again(void **state)
{
	struct pair_side *side = side_of(state);
	struct control_message message, sync = {.type = CONTROL_SYNC};
	uint32_t id;

	pair_inject_frame(
		side->pair, 1, &(struct frame){.channel = 77, .type = FRAME_CREDIT, .arg = 1});
	pair_take(side);
	id = pair_next(side).request;
	assert_int_equal(side->link->state, LINK_SYNCING);
	pair_next_msgd_told(side, 0);
	message = pair_next(side);
	assert_int_equal(message.type, CONTROL_SYNC);
	assert_int_equal(message.request, id);
	/* An answer to no request, and the answer to another link's SYNC. */
	message = status(id + 1, 0, "");
	for (int i = 0; i < 2; i++) {
		pair_say(side, &message);
		assert_int_equal(side->link->state, LINK_SYNCING);
		(void)request_new(&side->ctx->control, NULL, &sync);
	}
	message = status(id, 0, "");
	pair_say(side, &message);
	/* The link is older than this msgd: the frame is dropped. */
	assert_int_equal(side->link->state, LINK_UP);
	assert_null(request_find(&side->ctx->control, id));
}

/* ---- connecting ------------------------------------------------------------------------- */

static void test_connected(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock = connecting(side);
	struct control_message connected = {.type = CONTROL_CONNECTED,
		.request = pair_next(side).request,
		.connected = {.end = PAIR_END,
			.channel = LATE,
			.transport = TRANSPORT_GRANT,
			.peer = {.domid = 3, .uuid = UUID, .domain = "domain"},
			.name = "name"}};
	struct msg_peer peer = {.size = sizeof(peer)};
	struct msg_event event;

	assert_int_equal(msg_getpeer(sock, &peer), -1);
	assert_int_equal(errno, ENOTCONN);
	pair_say(side, &connected);
	assert_int_equal(sock->state, SOCK_OPEN);
	assert_null(sock->request);
	assert_int_equal(sock->channel->number, LATE);
	assert_true(sock->channel->tx_open);
	assert_int_equal(msg_getpeer(sock, &peer), 0);
	assert_int_equal(peer.domid, 3);
	assert_int_equal(peer.transport, LIBMSG_TRANSPORT_GRANT);
	assert_string_equal(peer.domain, "domain");
	assert_string_equal(peer.name, "name");
	assert_memory_equal(peer.uuid, "0123456789abcdef", sizeof(peer.uuid));
	/* POLLOUT says that the connect is done, once. */
	assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 1);
	assert_ptr_equal(event.sock, sock);
	assert_int_equal(event.revents, POLLOUT);
	assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 0);
}

/* The context's demand goes with each connect from then on. */
static void test_demanded_transport(void **state)
{
	struct pair_side *side = side_of(state);

	for (int transport = -1; transport <= LIBMSG_TRANSPORT_GRANT + 1; transport++) {
		bool legal =
			transport >= LIBMSG_TRANSPORT_ANY && transport <= LIBMSG_TRANSPORT_GRANT;
		int expected = legal ? transport : LIBMSG_TRANSPORT_GRANT;
		struct control_message message;
		struct msg_sock *sock;

		if (transport < 0)
			side->ctx->transport = TRANSPORT_GRANT;
		errno = 0;
		assert_int_equal(msg_ctx_set_transport(side->ctx, transport), legal ? 0 : -1);
		assert_int_equal(errno, legal ? 0 : EINVAL);
		sock = connecting(side);
		message = pair_next(side);
		assert_int_equal(message.connect.transport, expected);
		assert_int_equal(msg_close(sock), 0);
		assert_int_equal(pair_next(side).type, CONTROL_CANCEL);
	}
}

static struct control_message awaited; /* msgd's answer to the request that is under way */

static void answer(struct pair_side *side)
{
	must(side->n_sleeps == 1);
	awaited.request = pair_next(side).request;
	pair_write(side, &awaited);
}

/* A connect that blocks says by its return that it is done: no event says so again. */
static void test_blocking_connect(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_event event;
	struct msg_sock *sock;

	pair_events(side->pair);
	side->on_sleep = answer;
	side->ctx->driver.spin_us = 0;
	awaited = (struct control_message){.type = CONTROL_CONNECTED,
		.connected = {.end = PAIR_END,
			.channel = LATE,
			.transport = TRANSPORT_GRANT,
			.name = "name"}};
	sock = msg_connect(side->ctx, "domain/name", LIBMSG_SEQPACKET, 0, -1);
	assert_non_null(sock);
	assert_int_equal(sock->channel->number, LATE);
	assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 0);
	awaited = status(0, EACCES, "policy");
	side->n_sleeps = 0;
	assert_null(msg_connect(side->ctx, "domain/name", LIBMSG_SEQPACKET, 0, -1));
	assert_int_equal(errno, EACCES);
	assert_string_equal(msg_reason(), "connect to domain/name: policy");
	side->n_sleeps = 0;
	assert_null(msg_listen(side->ctx, "name", LIBMSG_SEQPACKET, 1, 0));
	assert_int_equal(errno, EACCES);
	assert_string_equal(msg_reason(), "listen on name: policy");
	assert_null(side->ctx->socks.listeners);
	assert_null(side->ctx->control.requests);
	side->on_sleep = NULL;
}

/* Whichever allocation fails, the call says so, and nothing of it is left. */
static void test_no_memory_to_ask(void **state)
{
	struct pair_side *side = side_of(state);

	pair_events(side->pair);
	side->on_sleep = answer;
	side->ctx->driver.spin_us = 0;
	awaited = status(0, 0, "");
	for (unsigned n = 1;; n++) {
		struct msg_sock *sock;

		side->n_sleeps = 0;
		failing_malloc_set(n);
		sock = msg_listen(side->ctx, "name", LIBMSG_SEQPACKET, 1, 0);
		if (!failing_malloc_end()) {
			assert_non_null(sock);
			assert_true(n > 4);
			break;
		}
		assert_null(sock);
		assert_int_equal(errno, ENOMEM);
		assert_string_equal(msg_reason(), "out of memory");
		assert_null(side->ctx->socks.listeners);
		assert_null(side->ctx->control.requests);
		assert_ptr_equal(TAILQ_LAST(&side->ctx->socks.all, sock_list), side->sock);
		assert_silent(side);
	}
	side->on_sleep = NULL;
	for (unsigned n = 1;; n++) {
		struct msg_sock *sock;

		failing_malloc_set(n);
		sock = msg_connect(side->ctx, "a/b", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, 0);
		if (!failing_malloc_end()) {
			assert_non_null(sock);
			assert_true(n > 2);
			assert_true(sock->nonblock);
			break;
		}
		assert_null(sock);
		assert_int_equal(errno, ENOMEM);
		assert_string_equal(msg_reason(), "out of memory");
		assert_null(side->ctx->control.requests);
		assert_silent(side);
	}
}

/* A connect that does not block and fails: POLLOUT once, and the end until the socket is closed. */
static void test_failed_connect(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock = connecting(side);
	struct control_message message = status(pair_next(side).request, ENOENT, "nobody listens");
	struct msg_event event;

	pair_say(side, &message);
	assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 1);
	assert_ptr_equal(event.sock, sock);
	assert_int_equal(event.revents, POLLIN | POLLOUT | POLLERR | POLLHUP);
	assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 1);
	assert_int_equal(event.revents, POLLIN | POLLERR | POLLHUP);
}

/* Time is over: msgd is told, and its being away is said. */
static void test_connect_in_time(void **state)
{
	struct pair_side *side = side_of(state);

	for (int there = 2; there >= 0; there--) {
		unsigned flags = there == 2 ? LIBMSG_WAIT_NAME : 0;
		struct control_message message;

		atomic_store(&side->msgd.me->alive, (uint8_t)(there > 0));
		assert_null(msg_connect(side->ctx, "domain/name", LIBMSG_SEQPACKET, flags, 0));
		assert_int_equal(errno, there ? ETIMEDOUT : EHOSTDOWN);
		assert_string_equal(msg_reason(),
			there == 2 ? "connect to domain/name: nobody was there in time, or did "
				     "not answer"
			: there ? "connect to domain/name: the listener, or msgd, did not answer "
				  "in time"
				: "connect to domain/name: msgd is away");
		message = pair_next(side);
		assert_int_equal(message.type, CONTROL_CONNECT);
		assert_int_equal(message.connect.flags, flags ? CONNECT_WAIT_NAME : 0);
		message.request = pair_next(side).request;
		assert_silent(side);
		assert_null(side->ctx->control.requests);
	}
}

/* The application has given up: msgd is told, and a channel that comes all the same is closed. */
static void test_abandoned_connect(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock = connecting(side);
	uint32_t id = pair_next(side).request;
	struct control_message message, connected = {.type = CONTROL_CONNECTED,
						.request = id,
						.connected = {.end = PAIR_END, .channel = LATE}};
	struct transport *in = side->pair->sides[1].link->transport;
	struct channel *channel;

	assert_int_equal(msg_close(sock), 0);
	message = pair_next(side);
	assert_int_equal(message.type, CONTROL_CANCEL);
	assert_int_equal(message.request, id);
	assert_null(request_find(&side->ctx->control, id));
	pair_take(&side->pair->sides[1]);
	pair_say(side, &connected);
	channel = channel_find(&side->link->channels, LATE);
	assert_non_null(channel);
	assert_int_equal(channel->state, CHANNEL_CLOSING);
	assert_null(channel->sock);
	assert_int_equal(in->ops->peek(in), 1);
	assert_int_equal(in->frame.channel, LATE);
	assert_int_equal(in->frame.type, FRAME_CLOSE);
	assert_int_equal(in->frame.arg, CLOSE_NORMAL);
	/* The other end closes, too: the number is free. */
	pair_inject_frame(side->pair, 1, &(struct frame){.channel = LATE, .type = FRAME_CLOSE});
	pair_take(side);
	message = pair_next(side);
	assert_int_equal(message.type, CONTROL_CHANNEL_CLOSED);
	assert_int_equal(message.channel_closed.channel, LATE);
	assert_null(channel_find(&side->link->channels, LATE));
	in->ops->next(in);
	assert_silent(side);
	/* The next msgd does not get this request. */
	pair_next_msgd_told(side, 0);
	assert_silent(side);
}

/* CONNECTED names a channel number that is in use, or a link that ends: the connect fails. */
static void test_connected_to_nothing(void **state)
{
	struct pair_side *side = side_of(state);

	for (int i = 0; i < 2; i++) {
		struct msg_sock *sock = connecting(side);
		struct control_message connected = {.type = CONTROL_CONNECTED,
			.request = pair_next(side).request,
			.connected = {.end = PAIR_END, .channel = i ? LATE : PAIR_CHANNEL}};

		if (i)
			link_end(side->link, LINK_PEER_GONE, "it has ended");
		control_handle(&side->ctx->control, &connected);
		assert_int_equal(sock->state, SOCK_FAILED);
		assert_int_equal(sock->error, ECONNRESET);
		assert_string_equal(
			sock->reason, i ? "it has ended" : "the other process went away");
		assert_null(sock->channel);
		assert_int_equal(msg_close(sock), 0);
	}
	assert_ptr_equal(side->sock->channel, side->channel);
}

static void test_no_memory_for_the_channel(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock = connecting(side);
	struct control_message message, connected = {.type = CONTROL_CONNECTED,
						.request = pair_next(side).request,
						.connected = {.end = PAIR_END, .channel = LATE}};
	char byte;

	failing_malloc_set(1);
	pair_say(side, &connected);
	assert_true(failing_malloc_end());
	assert_int_equal(sock->state, SOCK_FAILED);
	assert_int_equal(sock->error, ENOMEM);
	/* The other end has the channel: that link cannot go on. */
	message = pair_next(side);
	assert_int_equal(message.type, CONTROL_LINK_FAILED);
	assert_int_equal(message.link_failed.error, ENOMEM);
	assert_int_equal(msg_recv(side->sock, &byte, 1, 0), -1);
	assert_string_equal(msg_reason(), "out of memory for a channel");
	assert_int_equal(msg_close(sock), 0);
}

static void assert_no_sock(struct msg_sock *sock, int error, const char *reason)
{
	assert_null(sock);
	assert_int_equal(errno, error);
	assert_string_equal(msg_reason(), reason);
	errno = 0;
}

/* A call that makes no sense is refused before anybody is asked. */
static void test_wrong_arguments(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_ctx *ctx = side->ctx;

	for (int type = 0; type <= 4; type += 4) {
		char reason[128];

		(void)snprintf(reason, sizeof(reason),
			"channel type %d is none of LIBMSG_SEQPACKET, LIBMSG_STREAM and "
			"LIBMSG_DGRAM",
			type);
		assert_no_sock(msg_listen(ctx, "n", type, 1, 0), EPROTONOSUPPORT, reason);
		assert_no_sock(msg_connect(ctx, "n", type, 0, 0), EPROTONOSUPPORT, reason);
	}
	/* A msgd without FEATURE_TYPES would drop the application. */
	for (int type = LIBMSG_STREAM; type <= LIBMSG_DGRAM; type++)
		assert_no_sock(msg_listen(ctx, "n", type, 1, 0), EPROTONOSUPPORT,
			"this msgd is older than channel types but SEQPACKET");
	assert_no_sock(msg_listen(ctx, "a/b", LIBMSG_SEQPACKET, 1, 0), EINVAL,
		"\"a/b\" is no name: [A-Za-z0-9_][A-Za-z0-9._+-]{0,62}");
	assert_no_sock(msg_connect(ctx, "a/b/c", LIBMSG_SEQPACKET, 0, 0), EINVAL,
		"\"a/b/c\" is no address: [DOMAIN/]NAME");
	assert_no_sock(
		msg_listen(ctx, "n", LIBMSG_SEQPACKET, 0, 0), EINVAL, "a backlog of 0: 1 to 4096");
	assert_no_sock(msg_listen(ctx, "n", LIBMSG_SEQPACKET, 4097, 0), EINVAL,
		"a backlog of 4097: 1 to 4096");
	assert_no_sock(msg_accept(side->sock, 0), EINVAL, "not a listener");
	assert_null(ctx->control.requests);
	assert_silent(side);
}

static struct control_message asked; /* the last request of a call that blocked */

static void grant(struct pair_side *side)
{
	asked = pair_next(side);
	awaited = status(asked.request, 0, "");
	pair_write(side, &awaited);
}

/* The words in which msgd is asked. */
static void test_listen(void **state)
{
	struct pair_side *side = side_of(state);

	pair_events(side->pair);
	side->on_sleep = grant;
	side->ctx->driver.spin_us = 0;
	for (unsigned flags = 0; flags <= LIBMSG_NONBLOCK; flags += LIBMSG_NONBLOCK) {
		int backlog = flags ? 4096 : 1;
		struct msg_sock *listener =
			msg_listen(side->ctx, "name", LIBMSG_SEQPACKET, backlog, flags);

		assert_non_null(listener);
		assert_int_equal(listener->nonblock, flags != 0);
		assert_int_equal(listener->state, SOCK_OPEN);
		assert_int_equal(asked.type, CONTROL_LISTEN);
		assert_int_equal(asked.listen.listener, listener->handle);
		assert_int_equal(asked.listen.type, CHANNEL_SEQPACKET);
		assert_int_equal(asked.listen.backlog, backlog);
		assert_string_equal(asked.listen.name, "name");
		assert_int_equal(msg_setopt(listener, LIBMSG_LINGER, 0), 0);
		assert_int_equal(msg_close(listener), 0);
		assert_int_equal(pair_next(side).type, CONTROL_UNLISTEN);
	}
	side->on_sleep = NULL;
}

/* Without a msgd a call that does not block returns a listener that hears the answer later. */
static void test_listen_without_msgd(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_event event;

	for (int error = 0; error <= EACCES; error += EACCES) {
		struct control_message message;
		struct msg_sock *listener;
		int64_t value;

		atomic_store(&side->msgd.me->alive, 0);
		listener = msg_listen(side->ctx, "name", LIBMSG_SEQPACKET, 1, LIBMSG_NONBLOCK);
		assert_non_null(listener);
		assert_int_equal(listener->state, SOCK_PENDING);
		assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 0);
		assert_null(msg_accept(listener, 0));
		assert_int_equal(errno, EAGAIN);
		atomic_store(&side->msgd.me->alive, 1);
		message = pair_next(side);
		assert_int_equal(message.type, CONTROL_LISTEN);
		message = status(message.request, (uint32_t)error, "policy");
		pair_say(side, &message);
		assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 1);
		assert_ptr_equal(event.sock, listener);
		assert_int_equal(event.revents, error ? POLLIN | POLLERR : POLLOUT);
		assert_int_equal(msg_getopt(listener, LIBMSG_ERROR, &value), 0);
		assert_int_equal(value, error);
		assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 0); /* it was told */
		assert_int_equal(msg_close(listener), 0);
		if (!error)
			assert_int_equal(pair_next(side).type, CONTROL_UNLISTEN);
	}
}

/* A connect that does not block has its time limit; msgd says for what it waited. */
static void test_connect_in_the_background_in_time(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_event event;
	int64_t value;

	for (int way = 0; way < 3; way++) { /* msgd answers; stands still; is away */
		struct msg_sock *sock =
			msg_connect(side->ctx, "domain/name", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, 1);
		struct control_message message = pair_next(side);

		assert_non_null(sock);
		if (way == 2)
			atomic_store(&side->msgd.me->alive, 0);
		while (socks_deadline(&side->ctx->socks) > side->hv.ops->now_ns(&side->hv))
			;
		assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), way == 2);
		assert_int_equal(pair_next(side).type, CONTROL_CANCEL);
		if (way == 0) {
			message = status(message.request, ECANCELED, "nobody listens as name");
			pair_say(side, &message);
		}
		while (way == 1 &&
			socks_deadline(&side->ctx->socks) > side->hv.ops->now_ns(&side->hv))
			;
		if (way < 2)
			assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 1);
		assert_int_equal(event.revents, POLLIN | POLLOUT | POLLERR | POLLHUP);
		assert_int_equal(msg_getopt(sock, LIBMSG_ERROR, &value), 0);
		assert_int_equal(value, way == 2 ? EHOSTDOWN : ETIMEDOUT);
		assert_string_equal(msg_reason(), way == 0 ? "nobody listens as name"
						  : way == 1
							  ? "msgd does not answer: it stands still"
							  : "msgd is away");
		assert_int_equal(msg_close(sock), 0);
		assert_silent(side);
		atomic_store(&side->msgd.me->alive, 1);
	}
}

/* A connect that is given up just when msgd returns: the new one is told of both. */
static void test_given_up_before_the_next_msgd(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock =
		msg_connect(side->ctx, "domain/name", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, -1);
	struct control_message message = pair_next(side);
	uint32_t id = message.request;

	request_give_up(&side->ctx->control, sock->request);
	assert_int_equal(pair_next(side).type, CONTROL_CANCEL);
	pair_next_msgd_told(side, 0);
	message = pair_next(side);
	assert_int_equal(message.type, CONTROL_CONNECT);
	assert_int_equal(message.request, id);
	message = pair_next(side);
	assert_int_equal(message.type, CONTROL_CANCEL);
	assert_int_equal(message.request, id);
	assert_silent(side);
	pair_next_msgd_told(side, FEATURE_EXPIRED);
	assert_int_equal(pair_next(side).type, CONTROL_CONNECT);
	message = pair_next(side);
	assert_int_equal(message.type, CONTROL_EXPIRED);
	assert_int_equal(message.request, id);
	message = status(id, ETIMEDOUT, "nobody listens as name");
	pair_say(side, &message);
	assert_int_equal(sock->error, ETIMEDOUT);
	assert_int_equal(msg_close(sock), 0);
	assert_silent(side);
}

/* msgd is told by which of the two a connect ended: its time limit, or the application. */
static void test_told_why_it_is_given_up(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *sock;

	pair_next_msgd_told(side, FEATURE_EXPIRED);
	sock = msg_connect(side->ctx, "domain/name", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, -1);
	assert_int_equal(pair_next(side).type, CONTROL_CONNECT);
	assert_int_equal(msg_close(sock), 0);
	assert_int_equal(pair_next(side).type, CONTROL_CANCEL);
	assert_null(msg_connect(side->ctx, "domain/name", LIBMSG_SEQPACKET, 0, 0));
	assert_int_equal(errno, ETIMEDOUT);
	assert_int_equal(pair_next(side).type, CONTROL_CONNECT);
	assert_int_equal(pair_next(side).type, CONTROL_EXPIRED);
	assert_silent(side);
}

/* A sentence about a long address and a long reason is cut, not lost. */
static void test_long_reason(void **state)
{
	struct pair_side *side = side_of(state);
	char address[DOMAIN_NAME_SIZE + NAME_SIZE], expected[512];

	memset(address, 'a', sizeof(address));
	address[DOMAIN_NAME_SIZE - 1] = '/';
	address[sizeof(address) - 1] = '\0';
	pair_events(side->pair);
	side->on_sleep = answer;
	side->ctx->driver.spin_us = 0;
	awaited = status(0, EACCES, "");
	memset(awaited.status.reason, 'r', REASON_SIZE - 1);
	(void)snprintf(
		expected, sizeof(expected), "connect to %s: %s", address, awaited.status.reason);
	side->n_sleeps = 0;
	assert_null(msg_connect(side->ctx, address, LIBMSG_SEQPACKET, 0, -1));
	assert_int_equal(errno, EACCES);
	assert_int_equal(strlen(msg_reason()), 255);
	assert_memory_equal(msg_reason(), expected, 255);
	side->on_sleep = NULL;
}

/* ---- listening -------------------------------------------------------------------------- */

static struct msg_sock *listening(struct pair_side *side, bool granted)
{
	struct control_message message = {.type = CONTROL_LISTEN};
	struct msg_sock *listener =
		sock_new(&side->ctx->socks, SOCK_LISTENER, SOCK_PENDING, CHANNEL_SEQPACKET);

	listener->nonblock = true;
	assert_int_equal(sock_set_name(listener, "name", 3), 0);
	message.listen = (struct control_listen){
		.listener = listener->handle, .type = CHANNEL_SEQPACKET, .backlog = 3};
	strcpy(message.listen.name, "name");
	assert_non_null(request_new(&side->ctx->control, listener, &message));
	message = pair_next(side);
	assert_int_equal(message.type, CONTROL_LISTEN);
	message = status(message.request, 0, "");
	if (granted)
		pair_say(side, &message);
	return listener;
}

/* A name that the application gives up goes back to msgd, whether msgd has granted it or not. */
static void test_abandoned_listen(void **state)
{
	struct pair_side *side = side_of(state);

	for (int granted = 0; granted < 2; granted++) {
		struct msg_sock *listener = listening(side, granted);
		uint32_t handle = listener->handle, id = granted ? 0 : listener->request->id;
		struct control_message message;

		assert_int_equal(msg_setopt(listener, LIBMSG_LINGER, 0), 0);
		assert_int_equal(msg_close(listener), 0);
		message = pair_next(side);
		assert_int_equal(message.type, CONTROL_UNLISTEN);
		assert_int_equal(message.unlisten.listener, handle);
		assert_non_null(request_find(&side->ctx->control, message.request));
		message = status(message.request, 0, "");
		pair_say(side, &message);
		assert_null(side->ctx->control.requests);
		if (!granted) {
			message = status(id, 0, "");
			pair_say(side, &message); /* too late: the answer is ignored */
		}
		assert_silent(side);
	}
	pair_next_msgd_told(side, 0);
	assert_silent(side);
}

static char logged[256];

static void keep_line(void *arg, int priority, const char *line)
{
	(void)snprintf(logged, sizeof(logged), "%s", line);
}

/* A LISTEN without an answer is sent again as a request; its name is not announced as well. */
static void test_pending_listen_is_no_announcement(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *listener = listening(side, false);
	struct control_message message;
	uint32_t id = listener->request->id;

	logged[0] = '\0';
	msg_ctx_set_log(side->ctx, keep_line, NULL);
	pair_next_msgd_told(side, 0);
	message = pair_next(side);
	assert_int_equal(message.type, CONTROL_LISTEN);
	assert_int_equal(message.request, id);
	assert_silent(side);
	message = status(id, EADDRINUSE, "the name is taken");
	pair_say(side, &message);
	assert_int_equal(listener->state, SOCK_FAILED);
	assert_int_equal(listener->error, EADDRINUSE);
	assert_string_equal(logged, ""); /* it was not lost: it never was there */
	assert_int_equal(msg_close(listener), 0);
	assert_silent(side); /* it has no name to give back */
}

/* The announcement of a name is answered, and the answer may be no. */
static void test_announced_name_is_refused(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *listener = listening(side, true);
	struct msg_pollfd fd = {.sock = listener, .events = POLLIN};
	struct control_message message;
	uint32_t id = 0;

	msg_ctx_set_log(side->ctx, keep_line, NULL);
	for (int i = 0; i < 2; i++) {
		pair_next_msgd(side, 0);
		do {
			message = pair_next(side);
			id = message.type == CONTROL_LISTEN ? message.request : id;
		} while (message.type != CONTROL_ANNOUNCE_DONE);
		assert_silent(side);
		assert_non_null(request_find(&side->ctx->control, id));
		/* The first of these msgds does not answer any more. */
		assert_null(request_find(&side->ctx->control, id)->hh.next);
	}
	message = status(id, EACCES, "policy has changed");
	pair_say(side, &message);
	assert_null(side->ctx->control.requests);
	assert_int_equal(msg_poll(&fd, 1, 0), 1);
	assert_int_equal(fd.revents, POLLIN | POLLERR);
	assert_null(msg_accept(listener, 0));
	assert_int_equal(errno, EACCES);
	assert_string_equal(msg_reason(), "the name is lost: policy has changed");
	assert_string_equal(logged, "listener name is lost: policy has changed");
	assert_int_equal(msg_close(listener), 0);
	assert_silent(side);
}

static void test_announced_name_is_granted(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *listener = listening(side, true);
	struct control_message message;
	uint32_t id = 0;

	pair_next_msgd(side, 0);
	do {
		message = pair_next(side);
		id = message.type == CONTROL_LISTEN ? message.request : id;
	} while (message.type != CONTROL_ANNOUNCE_DONE);
	message = status(id, 0, "");
	pair_say(side, &message);
	assert_int_equal(listener->state, SOCK_OPEN);
	assert_null(side->ctx->control.requests);
}

/* There is no memory to wait for that answer: the listener fails at once. */
static void test_no_memory_to_announce(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *listener = listening(side, true);

	failing_malloc_set(1);
	pair_next_msgd(side, 0);
	assert_true(failing_malloc_end());
	assert_int_equal(listener->state, SOCK_FAILED);
	assert_int_equal(listener->error, ENOMEM);
	assert_int_equal(side->ctx->control.state, CONTROL_ATTACHED);
}

/* ---- other answers ---------------------------------------------------------------------- */

static void test_answers_to_nobody(void **state)
{
	struct pair_side *side = side_of(state);
	struct control_message message = status(4711, EACCES, "no");

	pair_say(side, &message);
	message = (struct control_message){.type = CONTROL_LINK_UP, .link_up = {.end = 4711}};
	pair_say(side, &message);
	message = (struct control_message){.type = CONTROL_LINK_DOWN, .link_down = {.end = 4711}};
	pair_say(side, &message);
	message = (struct control_message){
		.type = CONTROL_CHANNEL_GONE, .channel_gone = {.end = 4711, .channel = 1}};
	pair_say(side, &message);
	message.channel_gone.end = PAIR_END;
	message.channel_gone.channel = 4711;
	pair_say(side, &message);
	message = (struct control_message){
		.type = CONTROL_CHANNEL, .channel = {.end = 4711, .channel = 1}};
	pair_say(side, &message);
	/* A link that is up already. */
	message = (struct control_message){.type = CONTROL_LINK_UP, .link_up = {.end = PAIR_END}};
	pair_say(side, &message);
	assert_int_equal(side->link->state, LINK_UP);
	assert_silent(side);
}

/* A link with that number exists, or the transport does not: msgd is told why. */
static void test_links_that_cannot_be(void **state)
{
	struct pair_side *side = side_of(state);
	struct control_message message = {
		.type = CONTROL_LINK_CREATE, .link_create = {.end = PAIR_END}};

	message.link_create.transport = TRANSPORT_GRANT;
	message.link_create.ring_pages = 4;
	pair_say(side, &message);
	message = pair_next(side);
	assert_int_equal(message.type, CONTROL_LINK_FAILED);
	assert_int_equal(message.link_failed.error, EEXIST);
	message = (struct control_message){.type = CONTROL_LINK_BIND,
		.link_bind = {.end = 8, .transport = TRANSPORT_LIMIT, .ring_pages = 4}};
	pair_say(side, &message);
	message = pair_next(side);
	assert_int_equal(message.link_failed.end, 8);
	assert_int_equal(message.link_failed.error, EOPNOTSUPP);
	for (uint32_t pages = 0; pages <= 2 * LINK_RING_PAGES_MAX;
		pages = pages < 4 ? pages + 3 : 2 * pages) {
		if (pages >= LINK_RING_PAGES_MIN && pages <= LINK_RING_PAGES_MAX && pages != 3)
			continue;
		message = (struct control_message){.type = CONTROL_LINK_CREATE,
			.link_create = {
				.end = 8, .transport = TRANSPORT_GRANT, .ring_pages = pages}};
		pair_say(side, &message);
		message = pair_next(side);
		assert_int_equal(message.link_failed.error, EINVAL);
	}
	failing_malloc_set(1);
	message = (struct control_message){.type = CONTROL_LINK_BIND,
		.link_bind = {.end = 8, .transport = TRANSPORT_GRANT, .ring_pages = 4}};
	pair_say(side, &message);
	assert_true(failing_malloc_end());
	message = pair_next(side);
	assert_int_equal(message.link_failed.error, ENOMEM);
	assert_null(link_find(&side->ctx->links, 8));
}

/* msgd takes a channel away: the application reads why, unless the peer had closed it before. */
static void test_channel_gone(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *other = pair_channel(side, 4, true);
	struct control_message gone = {.type = CONTROL_CHANNEL_GONE,
		.channel_gone = {.end = PAIR_END, .channel = PAIR_CHANNEL}};
	char byte;

	pair_inject_frame(side->pair, 1, &(struct frame){.channel = 4, .type = FRAME_CLOSE});
	pair_take(side);
	pair_say(side, &gone);
	assert_int_equal(msg_recv(side->sock, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_string_equal(
		msg_reason(), "policy or the administrator permits the channel no more");
	gone.channel_gone.channel = 4;
	pair_say(side, &gone);
	assert_int_equal(msg_recv(other, &byte, 1, 0), 0);
	assert_int_equal(other->channel->state, CHANNEL_DEAD);
	assert_int_equal(other->channel->error, 0);
}

/*
 * Frames that were sent before msgd told the peer are dropped, as much as it had credit for. Others
 * go on, unless it goes on for ever.
 */
static void test_frames_of_a_channel_that_is_gone(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *other = pair_channel(side, 4, true);
	struct control_message gone = {.type = CONTROL_CHANNEL_GONE,
		.channel_gone = {.end = PAIR_END, .channel = PAIR_CHANNEL}};
	struct frame end = {.channel = PAIR_CHANNEL, .type = FRAME_CLOSE};
	uint32_t window = side->channel->rx_window;
	char bytes[1000];

	pair_say(side, &gone);
	for (uint32_t sent = 0; sent + 1000 + FRAME_CHARGE <= window; sent += 1000 + FRAME_CHARGE) {
		pair_inject_message(side->pair, 1, 1000);
		pair_take(side);
	}
	pair_inject_frame(side->pair, 1, &end);
	pair_inject_frame(side->pair, 1,
		&(struct frame){.channel = 4,
			.type = FRAME_DATA,
			.flags = FRAME_FIRST | FRAME_LAST,
			.len = 10,
			.arg = 10});
	pair_take(side);
	assert_int_equal(side->link->state, LINK_UP);
	assert_int_equal(msg_recv(other, bytes, sizeof(bytes), 0), 10);
	for (uint32_t i = 0; i < FREE_FRAMES + 40 && side->link->state == LINK_UP; i++) {
		pair_inject_frame(side->pair, 1, &end);
		pair_take(side);
	}
	assert_int_equal(side->link->state, LINK_SYNCING); /* msgd is asked, as of any number */
}

/* The peer has closed, and there is no room yet to answer: the channel ends by itself. */
static void test_channel_gone_before_its_answer(void **state)
{
	struct pair_side *side = side_of(state);
	struct control_message gone = {.type = CONTROL_CHANNEL_GONE,
		.channel_gone = {.end = PAIR_END, .channel = PAIR_CHANNEL}};
	char byte;

	while (transport_put_bare(side->link->transport, PAIR_CHANNEL, FRAME_LIMIT, 1) == 0)
		;
	pair_inject_frame(
		side->pair, 1, &(struct frame){.channel = PAIR_CHANNEL, .type = FRAME_CLOSE});
	pair_take(side);
	pair_say(side, &gone);
	assert_ptr_equal(side->channel->set, &side->link->channels);
	assert_false(side->channel->tx_closed);
	assert_int_equal(msg_recv(side->sock, &byte, 1, 0), 0);
	/* One that was closed here is not waited for. */
	assert_int_equal(msg_close(side->sock), 0);
	pair_say(side, &gone);
	assert_null(channel_find(&side->link->channels, PAIR_CHANNEL));
}

/* There is no memory for a channel that a listener's peer has already: their link ends. */
static void test_no_memory_to_be_called(void **state)
{
	struct pair_side *side = side_of(state);
	struct msg_sock *listener = listening(side, true);
	struct control_message channel = {.type = CONTROL_CHANNEL,
		.channel = {.listener = listener->handle, .end = PAIR_END, .channel = LATE}};
	struct control_message message;

	failing_malloc_set(1);
	pair_say(side, &channel);
	assert_true(failing_malloc_end());
	message = pair_next(side);
	assert_int_equal(message.type, CONTROL_LINK_FAILED);
	assert_int_equal(message.link_failed.error, ENOMEM);
	assert_string_equal(message.link_failed.reason, "out of memory for a channel");
	assert_null(msg_accept(listener, 0));
	assert_int_equal(errno, EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_numbers, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_sent_again_under_its_number, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_sync_is_sent_again, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_connected, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_blocking_connect, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_failed_connect, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_connect_in_time, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_abandoned_connect, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_connected_to_nothing, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_no_memory_for_the_channel, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_wrong_arguments, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_listen_without_msgd, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_connect_in_the_background_in_time, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_given_up_before_the_next_msgd, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_told_why_it_is_given_up, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_long_reason, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_listen, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_abandoned_listen, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_pending_listen_is_no_announcement, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_announced_name_is_refused, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_announced_name_is_granted, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_no_memory_to_announce, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_answers_to_nobody, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_links_that_cannot_be, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_channel_gone, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_frames_of_a_channel_that_is_gone, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_channel_gone_before_its_answer, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_no_memory_to_be_called, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_no_memory_to_ask, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_demanded_transport, setup, pair_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
