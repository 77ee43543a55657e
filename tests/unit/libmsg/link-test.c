/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A link's two ends against each other and against hostile peers, in plain memory. */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/link-pair.h"
#include "tests/support/pattern.h"

#define A 0
#define B 1

static int setup(void **state)
{
	*state = pair_new(4);
	return 0;
}

static struct msg_sock *sock(void **state, unsigned side)
{
	return ((struct pair *)*state)->sides[side].sock;
}

/* Moves a message of len bytes from one side to the other, driving both by hand. */
static void transfer(void **state, unsigned from, size_t len, unsigned seed)
{
	uint8_t *out = malloc(len + 1), *in = malloc(len + 1);
	ssize_t r;

	pattern_fill(out, len, seed);
	assert_int_equal(msg_send(sock(state, from), out, len, 0), len);
	/* Reading gives room and credit, which the sender's next call uses. */
	for (int i = 0; i < 10000; i++) {
		r = msg_recv(sock(state, !from), in, len + 1, 0);
		if (r >= 0)
			break;
		assert_int_equal(errno, EAGAIN);
		(void)msg_recv(sock(state, from), NULL, 0, MSG_PEEK);
		pair_drive(&((struct pair *)*state)->sides[from]);
	}
	assert_int_equal(r, len);
	assert_true(pattern_is(in, len, seed));
	free(in);
	free(out);
}

static void test_sizes(void **state)
{
	static const size_t sizes[] = {
		0, 1, 15, 16, 17, 64, 4095, 4096, 8000, 16384, 16385, 65536, 1 << 20};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		transfer(state, A, sizes[i], (unsigned)i);
		transfer(state, B, sizes[i], (unsigned)i + 100);
	}
}

static void test_many(void **state)
{
	for (unsigned i = 0; i < 20000; i++)
		transfer(state, i & 1, i % 300, i);
}

/*
 * A message that no reader waits for counts as held, so the window gives nothing: whatever is left
 * of it when the last fragments' turn has come, they can come.
 */
static void test_credit_for_the_last_fragment(void **state)
{
	uint8_t *bytes = calloc(1, 42000);
	struct pair *pair = pair_new(16);

	pair_free(*state);
	*state = pair;
	pair->sides[B].channel->rx_max = 40000;
	for (unsigned i = 0; i < 20; i++) /* the window grows up to that */
		transfer(state, A, 8000, i);
	for (size_t used = 0; used < 9900; used += 330) {
		for (size_t len = 30000; len < 42000; len += 50) {
			transfer(state, A, used, 0);
			assert_int_equal(msg_send(sock(state, A), bytes, len, 0), len);
			for (int i = 0; msg_recv(sock(state, B), bytes, 1, MSG_PEEK) != 1; i++) {
				if (i == 1000)
					fail_msg("stuck: %zu bytes after %zu", len, used);
				pair_drive(&pair->sides[A]);
			}
			assert_int_equal(msg_recv(sock(state, B), bytes, len, 0), len);
			pair_take(&pair->sides[A]);
		}
	}
	free(bytes);
}

static void test_listening_end_is_silent_first(void **state)
{
	struct pair *pair = *state;
	char byte;

	/* B has not looked at the ring: it does not know that A knows the number. */
	assert_false(pair->sides[B].channel->tx_open);
	assert_int_equal(msg_recv(sock(state, B), &byte, 1, 0), -1);
	assert_true(pair->sides[B].channel->tx_open);
	assert_int_equal(msg_send(sock(state, B), "x", 1, 0), 1);
	assert_int_equal(msg_recv(sock(state, A), &byte, 1, 0), 1);
}

static void test_credit_bounds_unread(void **state)
{
	struct pair *pair = *state;
	uint8_t bytes[64] = {0};
	uint64_t before = pair->sides[B].ctx->pool.held;
	int n = 0;

	/* Nobody reads at B, but B's context takes frames in: the ring stays free for others. */
	while (msg_send(sock(state, A), bytes, sizeof(bytes), 0) > 0) {
		pair_take(&pair->sides[B]);
		n++;
		assert_in_range(n, 1, 100000);
	}
	assert_int_equal(errno, EAGAIN);
	assert_in_range(n, 2, 2 * CREDIT_INITIAL / 96 + 1);
	assert_int_equal(pair->sides[B].ctx->pool.held,
		before + (uint64_t)n * msg_buf_charge(sizeof(bytes)));
	for (int i = 0; i < n; i++)
		assert_int_equal(msg_recv(sock(state, B), bytes, sizeof(bytes), 0), 64);
	assert_int_equal(pair->sides[B].ctx->pool.held, before);
	assert_int_equal(msg_send(sock(state, A), bytes, sizeof(bytes), 0), 64);
}

static void test_too_long(void **state)
{
	uint8_t *bytes = calloc(1, MESSAGE_MAX_DEFAULT + 1);
	char byte;

	assert_int_equal(msg_send(sock(state, A), bytes, MESSAGE_MAX_DEFAULT + 1, 0), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_non_null(strstr(msg_reason(), "SNDBUF"));
	assert_int_equal(msg_setopt(sock(state, B), LIBMSG_MAXMSG, 100), 0);
	(void)msg_recv(sock(state, B), &byte, 1, 0); /* B may speak from here on */
	(void)msg_recv(sock(state, A), &byte, 1, 0);
	assert_int_equal(msg_send(sock(state, A), bytes, 101, 0), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_non_null(strstr(msg_reason(), "peer"));
	assert_int_equal(msg_send(sock(state, A), bytes, 100, 0), 100);
	free(bytes);
}

static void test_truncation_and_peek(void **state)
{
	char bytes[16];
	struct iovec iov = {.iov_base = bytes, .iov_len = 4};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	assert_int_equal(msg_send(sock(state, A), "0123456789", 10, 0), 10);
	assert_int_equal(msg_recv(sock(state, B), bytes, 4, MSG_PEEK | MSG_TRUNC), 10);
	assert_int_equal(msg_recvmsg(sock(state, B), &message, 0), 4);
	assert_int_equal(message.msg_flags, MSG_EOR | MSG_TRUNC);
	assert_int_equal(msg_recv(sock(state, B), bytes, 16, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static void test_close_reads_as_end(void **state)
{
	struct pair *pair = *state;
	struct control_message message;
	char bytes[8];

	assert_int_equal(msg_send(sock(state, A), "last", 4, 0), 4);
	assert_int_equal(msg_close(sock(state, A)), 0);
	assert_int_equal(msg_recv(sock(state, B), bytes, sizeof(bytes), 0), 4);
	assert_int_equal(msg_recv(sock(state, B), bytes, sizeof(bytes), 0), 0);
	assert_int_equal(msg_send(sock(state, B), "x", 1, 0), -1);
	assert_int_equal(errno, EPIPE);
	/* Only when both have closed is the number free, and msgd told by both. */
	assert_false(pair_control(&pair->sides[A], &message));
	assert_int_equal(msg_close(sock(state, B)), 0);
	pair_take(&pair->sides[A]);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(pair_control(&pair->sides[i], &message));
		assert_int_equal(message.type, CONTROL_CHANNEL_CLOSED);
		assert_int_equal(message.channel_closed.channel, PAIR_CHANNEL);
		assert_null(pair->sides[i].link->channels.by_number);
	}
}

static void test_close_with_unread_data_resets(void **state)
{
	char bytes[8];

	assert_int_equal(msg_send(sock(state, A), "lost", 4, 0), 4);
	assert_int_equal(msg_recv(sock(state, B), bytes, 8, MSG_PEEK), 4);
	assert_int_equal(msg_close(sock(state, B)), 0);
	assert_int_equal(msg_recv(sock(state, A), bytes, 8, 0), -1);
	assert_int_equal(errno, ECONNRESET);
}

static void test_shutdown(void **state)
{
	char bytes[8];

	assert_int_equal(msg_send(sock(state, A), "ask", 3, 0), 3);
	assert_int_equal(msg_shutdown(sock(state, A), SHUT_WR), 0);
	assert_int_equal(msg_send(sock(state, A), "x", 1, 0), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(msg_recv(sock(state, B), bytes, 8, 0), 3);
	assert_int_equal(msg_recv(sock(state, B), bytes, 8, 0), 0);
	assert_int_equal(msg_send(sock(state, B), "answer", 6, 0), 6);
	assert_int_equal(msg_recv(sock(state, A), bytes, 8, 0), 6);
}

/* The sockets that msg_ctx_dispatch reports for a side, which has one: its events. */
static short dispatch(void **state, unsigned side)
{
	struct msg_event event = {0};

	(void)msg_ctx_dispatch(((struct pair *)*state)->sides[side].ctx, &event, 1);
	return event.revents;
}

/* An end that has read the end of its channel and goes on sending wakes for room only. */
static void test_end_is_reported_until_read(void **state)
{
	char bytes[8];

	assert_int_equal(msg_shutdown(sock(state, A), SHUT_WR), 0);
	assert_int_equal(dispatch(state, B), POLLIN | POLLRDHUP);
	assert_int_equal(dispatch(state, B), POLLIN | POLLRDHUP);
	assert_int_equal(msg_recv(sock(state, B), bytes, 8, 0), 0);
	assert_int_equal(dispatch(state, B), 0);
	assert_int_equal(msg_close(sock(state, A)), 0);
	assert_true(dispatch(state, B) & POLLHUP);
}

/* An event for another reason does not make POLLOUT forgotten. */
static void test_pollout_survives_other_events(void **state)
{
	struct pair *pair = *state;
	uint8_t bytes[2000] = {0};
	ssize_t n;

	transfer(state, A, 1, 0); /* so that B may send, and A has credit for more than the ring */
	for (unsigned i = 0; i < 40; i++)
		transfer(state, B, 8000, i);
	while ((n = msg_send(sock(state, B), bytes, sizeof(bytes), 0)) > 0)
		;
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(dispatch(state, B), 0);
	assert_int_equal(msg_send(sock(state, A), "x", 1, 0), 1);
	pair_drive(&pair->sides[B]);
	assert_int_equal(dispatch(state, B), POLLIN);
	assert_int_equal(msg_recv(sock(state, B), bytes, 1, 0), 1);
	assert_int_equal(dispatch(state, B), 0);
	while (msg_recv(sock(state, A), bytes, sizeof(bytes), 0) > 0)
		;
	pair_drive(&pair->sides[B]);
	assert_int_equal(dispatch(state, B), POLLOUT);
}

/* Closed in the middle of what the other side sends: neither may take the other for a violator. */
static void test_close_in_the_middle(void **state)
{
	static uint8_t bytes[60000];
	struct pair *pair = *state;
	struct link *a = pair->sides[A].link, *b = pair->sides[B].link;
	struct transport *in = b->transport;

	assert_int_equal(msg_send(sock(state, A), bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_int_equal(msg_recv(sock(state, B), bytes, 1, 0), -1);
	assert_non_null(pair->sides[B].channel->partial);
	pair_drive(&pair->sides[A]); /* more of it is in the ring */
	assert_int_equal(msg_close(sock(state, B)), 0);
	pair_take(&pair->sides[A]);
	assert_int_equal(msg_send(sock(state, A), "x", 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(msg_close(sock(state, A)), 0);
	/* A message that cannot be finished is cut by RESET. */
	while (in->ops->peek(in) > 0 && in->frame.type == FRAME_DATA)
		in->ops->next(in);
	assert_int_equal(in->frame.type, FRAME_CLOSE);
	assert_int_equal(in->frame.arg, CLOSE_RESET);
	pair_take(&pair->sides[B]);
	assert_int_equal(a->state, LINK_UP);
	assert_int_equal(b->state, LINK_UP);
	assert_null(a->channels.by_number);
	assert_null(b->channels.by_number);
}

/* An older sender's, whose CLOSE does not say so; and the end of one that could still finish. */
static void test_closed_end_judges_nothing(void **state)
{
	struct pair *pair = *state;
	struct link *b = pair->sides[B].link;
	uint8_t raw[3 * FRAME_HEADER_SIZE + 16] = {0};

	frame_encode(&(struct frame){.channel = PAIR_CHANNEL,
			     .type = FRAME_DATA,
			     .flags = FRAME_FIRST,
			     .len = 16,
			     .arg = 40},
		raw);
	pair_inject(pair, A, raw, FRAME_HEADER_SIZE + 16);
	pair_take(&pair->sides[B]);
	assert_non_null(pair->sides[B].channel->partial);
	assert_int_equal(msg_close(sock(state, B)), 0);
	frame_encode(&(struct frame){.channel = PAIR_CHANNEL, .type = FRAME_SHUTDOWN}, raw);
	frame_encode(&(struct frame){.channel = PAIR_CHANNEL, .type = FRAME_CLOSE},
		raw + FRAME_HEADER_SIZE);
	pair_inject(pair, A, raw, 2 * FRAME_HEADER_SIZE);
	pair_take(&pair->sides[B]);
	assert_int_equal(b->state, LINK_UP);
	assert_null(b->channels.by_number);
}

/* The ring is full when CONNECTED comes: the first credit waits for room, and then goes. */
static void test_first_credit_waits_for_room(void **state)
{
	struct pair *pair = *state;
	struct pair_side *side = &pair->sides[A];
	struct control_message connect = {.type = CONTROL_CONNECT};
	struct control_message connected = {
		.type = CONTROL_CONNECTED, .connected = {.end = PAIR_END, .channel = 9}};
	struct msg_sock *late =
		sock_new(&side->ctx->socks, SOCK_CHANNEL, SOCK_PENDING, CHANNEL_SEQPACKET);
	struct channel *channel;

	while (transport_put_bare(
		       side->link->transport, PAIR_CHANNEL, FRAME_LIMIT, MESSAGE_MAX_DEFAULT) == 0)
		;
	connect.connect.type = CHANNEL_SEQPACKET;
	strcpy(connect.connect.address, "a/b");
	connected.request = request_new(&side->ctx->control, late, &connect)->id;
	pair_say(side, &connected);
	channel = channel_find(&side->link->channels, 9);
	assert_non_null(channel);
	assert_true(channel->blocked);
	pair->sides[B].channel->rx_free = 1U << 20;
	for (int i = 0; i < 100; i++)
		pair_take(&pair->sides[B]);
	pair_drive(side);
	assert_false(channel->blocked);
	assert_false(channel->credit_due);
	late->channel = NULL;
	channel->sock = NULL;
	channel_free(channel);
	sock_free(late);
}

/* ---- refusals of the hypervisor ------------------------------------------------------------ */

static int refuse_sendv(
	struct hv *hv, struct hv_ring *ring, const struct iovec *iov, size_t n, uint32_t type)
{
	return -EAGAIN;
}

/* A sender that finds room by looking: senders that were refused and wait are not forgotten. */
static void test_refused_is_tried_again(void **state)
{
	struct pair_side *side = &((struct pair *)*state)->sides[A];
	struct link *link = side->link;
	struct transport *grant = link->transport;
	struct argo_end *argo =
		argo_of(transport_new(&transport_argo, &side->hv, 0, 0, grant->ring_len));
	static struct hv_ops ops;

	ops = *side->hv.ops;
	ops.argo_sendv = refuse_sendv;
	side->hv.ops = &ops;
	argo->paged = container_of(grant, struct grant_end, paged.base)->paged;
	argo->paged.base.ops = &transport_argo;
	link->transport = link->channels.transport = &argo->paged.base;
	link_sync(link, 1); /* it has no ring to read */
	assert_int_equal(
		transport_put_bare(link->transport, PAIR_CHANNEL, FRAME_LIMIT, 1), -EAGAIN);
	link_check(link, -EAGAIN);
	assert_int_equal(link->transport->ops->room(link->transport, 0), -EAGAIN);
	link->transport->retry_ns = 1; /* it is time */
	assert_true(link->transport->ops->room(link->transport, 0) > 0);
	assert_int_equal(links_retry_time(&side->ctx->links), 1);
	driver_drive(&side->ctx->driver, &(struct focus){0});
	/* Nobody was blocked. */
	assert_int_equal(links_retry_time(&side->ctx->links), DEADLINE_NEVER);
	link->transport = link->channels.transport = grant;
	free(argo->stage);
	free(argo);
}

static struct {
	struct doorbell_page page;
	unsigned n_bound;
} offered;

static int map_offered(struct hv *hv, uint16_t remote, const uint32_t *refs, size_t n,
	bool writable, const struct hv_unmap_notify *notify, void **ret_addr,
	struct hv_map **ret_map)
{
	*ret_addr = &offered.page;
	return 0;
}

static void unmap_offered(struct hv *hv, struct hv_map *map)
{
}

static int bind_offered(struct hv *hv, uint16_t remote, uint32_t port, uint32_t *ret_port)
{
	offered.n_bound++;
	return -ENOSPC;
}

static uint32_t bind_error(struct pair_side *side, const struct control_link_bind *request)
{
	struct control_message message = {0};

	link_bind(&side->ctx->links, 0, request, &message);
	assert_int_equal(message.type, CONTROL_LINK_FAILED);
	return message.link_failed.error;
}

/* The creator has died, and its page and port are another link's by now: that is not touched. */
static void test_offer_of_the_dead(void **state)
{
	struct pair_side *side = &((struct pair *)*state)->sides[B];
	struct control_link_bind request = {
		.end = 50, .transport = TRANSPORT_ARGO, .port = 5, .ring_len = 4096};
	static struct hv_ops ops;
	uint64_t uid = htole64(0x1122334455667788);

	ops = *side->hv.ops;
	ops.grant_map = map_offered;
	ops.grant_unmap = unmap_offered;
	ops.evtchn_bind_interdomain = bind_offered;
	side->hv.ops = &ops;
	offered.page.head.magic = LINK_PAGE_MAGIC;
	offered.page.head.port = 5;
	memcpy(offered.page.head.nonce, &uid, sizeof(uid));
	request.uid = 0x1122334455667789;
	assert_int_equal(bind_error(side, &request), ECONNRESET);
	request.uid--;
	request.port = 6;
	assert_int_equal(bind_error(side, &request), ECONNRESET);
	assert_int_equal(offered.n_bound, 0);
	request.port = 5;
	assert_int_equal(bind_error(side, &request), ENOBUFS);
	assert_int_equal(offered.n_bound, 1);
}

static void test_death_after_whole_messages(void **state)
{
	struct pair *pair = *state;
	char bytes[8];

	assert_int_equal(msg_send(sock(state, A), "whole", 5, 0), 5);
	pair_end(&pair->sides[B], LINK_PEER_GONE, "test");
	assert_int_equal(msg_recv(sock(state, B), bytes, 8, 0), 5);
	assert_int_equal(msg_recv(sock(state, B), bytes, 8, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(msg_send(sock(state, B), "x", 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
}

static void test_events_only_for_sleepers(void **state)
{
	struct pair *pair = *state;
	unsigned before;

	for (int i = 0; i < 10; i++)
		transfer(state, A, 64, 1);
	before = pair->sides[A].n_events;
	doorbell_arm(&pair->page->end[B].sleeping);
	for (int i = 0; i < 10; i++)
		assert_int_equal(msg_send(sock(state, A), "x", 1, 0), 1);
	assert_int_equal(pair->sides[A].n_events, before + 1);
}

/* A sender that sleeps for other reasons has credit enough: it is not woken for more. */
static void test_credit_wakes_when_low(void **state)
{
	struct pair *pair = *state;
	unsigned before;
	char bytes[64] = {0};

	for (int i = 0; i < 100; i++)
		transfer(state, A, 4096, 1); /* the window grows */
	pair_take(&pair->sides[A]);
	before = pair->sides[B].n_events;
	doorbell_arm(&pair->page->end[A].sleeping);
	for (int i = 0; i < 100; i++)
		transfer(state, A, 64, 1);
	assert_int_equal(pair->sides[B].n_events, before);
	for (int i = 0; pair->sides[B].n_events == before; i++) {
		assert_in_range(i, 0, 100000);
		assert_true(pair->sides[A].channel->tx_credit >= FRAGMENT_MIN);
		assert_int_equal(msg_send(sock(state, A), bytes, sizeof(bytes), 0), sizeof(bytes));
		assert_int_equal(msg_recv(sock(state, B), bytes, sizeof(bytes), 0), sizeof(bytes));
	}
	assert_in_range(pair->sides[A].channel->tx_credit, 0, 2 * FRAGMENT_MIN);
}

static void test_more_is_held_back(void **state)
{
	char bytes[8];

	assert_int_equal(msg_send(sock(state, A), "a", 1, MSG_MORE), 1);
	(void)msg_recv(sock(state, B), bytes, 8, 0); /* the first credit, at most */
	assert_int_equal(msg_recv(sock(state, B), bytes, 8, 0), -1);
	assert_int_equal(msg_send(sock(state, A), "b", 1, 0), 1);
	assert_int_equal(msg_recv(sock(state, B), bytes, 8, 0), 1);
	assert_int_equal(msg_recv(sock(state, B), bytes, 8, 0), 1);
	assert_int_equal(bytes[0], 'b');
}

static void test_take(void **state)
{
	const void *data;
	struct msg_buf *buf;

	assert_int_equal(msg_send(sock(state, A), "taken", 5, 0), 5);
	assert_int_equal(msg_recv_take(sock(state, B), 0, &data, &buf), 5);
	assert_memory_equal(data, "taken", 5);
	msg_buf_free(buf);
}

/* As with sockets, a message need not have a segment. */
static void test_no_segments(void **state)
{
	struct msghdr none = {0};

	assert_int_equal(msg_sendmsg(sock(state, A), &none, 0), 0);
	assert_int_equal(msg_recvmsg(sock(state, B), &none, 0), 0);
	assert_int_equal(none.msg_flags, MSG_EOR);
	assert_int_equal(msg_send(sock(state, A), "abc", 3, 0), 3);
	assert_int_equal(msg_recvmsg(sock(state, B), &none, MSG_TRUNC), 3);
	assert_int_equal(none.msg_flags, MSG_EOR | MSG_TRUNC);
}

static void test_rcvbuf_bounds_maxmsg(void **state)
{
	uint8_t bytes[10001] = {0};
	int64_t value;

	assert_int_equal(msg_setopt(sock(state, B), LIBMSG_RCVBUF, 10000), 0);
	assert_int_equal(msg_getopt(sock(state, B), LIBMSG_MAXMSG, &value), 0);
	assert_int_equal(value, 10000);
	transfer(state, A, 1, 1);
	transfer(state, B, 1, 1);
	assert_int_equal(msg_send(sock(state, A), bytes, 10001, 0), -1);
	assert_int_equal(errno, EMSGSIZE);
	transfer(state, A, 10000, 1);
	assert_int_equal(msg_setopt(sock(state, B), LIBMSG_RCVBUF, 2 << 20), 0);
	assert_int_equal(msg_getopt(sock(state, B), LIBMSG_MAXMSG, &value), 0);
	assert_int_equal(value, MESSAGE_MAX_DEFAULT); /* nobody asked to change it */
}

static void test_leaving_with_unread_data(void **state)
{
	struct pair *pair = *state;
	char byte;

	pair_take(&pair->sides[B]);
	assert_int_equal(sock_close_reason(sock(state, B)), CLOSE_NORMAL);
	assert_int_equal(msg_send(sock(state, A), "x", 1, 0), 1);
	pair_take(&pair->sides[B]);
	assert_int_equal(sock_close_reason(sock(state, B)), CLOSE_RESET);
	assert_int_equal(msg_recv(sock(state, B), &byte, 1, 0), 1);
	assert_int_equal(sock_close_reason(sock(state, B)), CLOSE_NORMAL);
}

/* Channels whose process is gone count no more at msgd: the listener's own count bounds them. */
static void test_backlog_is_bounded(void **state)
{
	struct pair_side *side = &((struct pair *)*state)->sides[B];
	struct msg_sock *listener = sock_new(
				&side->ctx->socks, SOCK_LISTENER, SOCK_OPEN, CHANNEL_SEQPACKET),
			*taken;

	side->ctx->socks.last_handle = 4;
	assert_int_equal(sock_set_name(listener, "name", 2), 0);
	for (uint32_t i = 0; i < 5; i++) {
		struct control_message grant = {.type = CONTROL_CHANNEL,
			.channel = {.listener = 5, .end = PAIR_END, .channel = 100 + i}};

		pair_say(side, &grant);
		assert_int_equal(channel_find(&side->link->channels, 100 + i)->state,
			i < 2 ? CHANNEL_OPEN : CHANNEL_CLOSING);
	}
	assert_int_equal(listener->n_pending, 2);
	taken = msg_accept(listener, 0);
	assert_non_null(taken);
	assert_int_equal(taken->channel->number, 100);
	assert_int_equal(listener->n_pending, 1);
	pair_end(side, LINK_LEFT, "test");
	assert_int_equal(listener->n_pending, 1);
}

/* The listener's process dies as msgd answers: the link is gone when CONNECTED is read. */
static void test_connected_too_late(void **state)
{
	struct pair_side *side = &((struct pair *)*state)->sides[A];
	struct control_message connect = {.type = CONTROL_CONNECT};
	struct control_message connected = {
		.type = CONTROL_CONNECTED, .connected = {.end = 55, .channel = 9}};
	struct msg_sock *late =
		sock_new(&side->ctx->socks, SOCK_CHANNEL, SOCK_PENDING, CHANNEL_SEQPACKET);
	int64_t error;

	connect.connect.type = CHANNEL_SEQPACKET;
	strcpy(connect.connect.address, "a/b");
	connected.request = request_new(&side->ctx->control, late, &connect)->id;
	pair_say(side, &connected);
	assert_int_equal(msg_getopt(late, LIBMSG_ERROR, &error), 0);
	assert_int_equal(error, ECONNRESET);
	assert_string_equal(msg_reason(), "the other process went away");
	assert_int_equal(msg_close(late), 0);
}

/* ---- hostile peers -------------------------------------------------------------------------- */

struct hostile {
	const char *reason; /* the reason that msgd is told */
	size_t n;
	struct frame frames[3];
	uint32_t payload[3]; /* bytes that really follow */
};

static const struct hostile hostiles[] = {
	{"a frame that makes no sense", 1, {{.channel = PAIR_CHANNEL, .type = 99}}, {0}},
	{"a frame that makes no sense", 1,
		{{.channel = PAIR_CHANNEL, .type = FRAME_DATA, .len = 0xffffffff}}, {0}},
	{"a frame that makes no sense", 1,
		{{.channel = PAIR_CHANNEL,
			.type = FRAME_DATA,
			.len = 4096,
			.arg = 4096,
			.flags = 3}},
		{0}}, /* published without its payload */
	{"a message without a start", 1,
		{{.channel = PAIR_CHANNEL, .type = FRAME_DATA, .flags = 2}}, {0}},
	{"a message inside a message", 2,
		{{.channel = PAIR_CHANNEL, .type = FRAME_DATA, .flags = 1, .arg = 64},
			{.channel = PAIR_CHANNEL, .type = FRAME_DATA, .flags = 1, .arg = 64}},
		{0}},
	{"fragments that do not add up to the message", 2,
		{{.channel = PAIR_CHANNEL, .type = FRAME_DATA, .flags = 1, .arg = 64},
			{.channel = PAIR_CHANNEL, .type = FRAME_DATA, .flags = 2, .len = 16}},
		{0, 16}},
	{"fragments that do not add up to the message", 2,
		{{.channel = PAIR_CHANNEL, .type = FRAME_DATA, .flags = 1, .arg = 8},
			{.channel = PAIR_CHANNEL, .type = FRAME_DATA, .flags = 2, .len = 16}},
		{0, 16}},
	{"a message longer than this end takes", 1,
		{{.channel = PAIR_CHANNEL,
			.type = FRAME_DATA,
			.flags = 1,
			.arg = MESSAGE_MAX_DEFAULT + 1}},
		{0}},
	{"more data than the credit given", 2,
		{{.channel = PAIR_CHANNEL,
			 .type = FRAME_DATA,
			 .flags = 3,
			 .len = 8192,
			 .arg = 8192},
			{.channel = PAIR_CHANNEL, .type = FRAME_DATA, .flags = 3}},
		{8192, 0}},
	{"a shutdown inside a message or after the end", 2,
		{{.channel = PAIR_CHANNEL, .type = FRAME_SHUTDOWN},
			{.channel = PAIR_CHANNEL, .type = FRAME_SHUTDOWN}},
		{0}},
	{"data after the channel's end", 2,
		{{.channel = PAIR_CHANNEL, .type = FRAME_SHUTDOWN},
			{.channel = PAIR_CHANNEL, .type = FRAME_DATA, .flags = 3}},
		{0}},
	{"a close inside a message", 2,
		{{.channel = PAIR_CHANNEL, .type = FRAME_DATA, .flags = 1, .arg = 64},
			{.channel = PAIR_CHANNEL, .type = FRAME_CLOSE}},
		{0}},
	{"a frame after the channel's close", 2,
		{{.channel = PAIR_CHANNEL, .type = FRAME_CLOSE},
			{.channel = PAIR_CHANNEL, .type = FRAME_CLOSE}},
		{0}},
};

/* The last LINK_FAILED that a side told msgd, or "". */
static void failed_reason(struct pair_side *side, char ret_reason[REASON_SIZE])
{
	struct control_message message;

	ret_reason[0] = '\0';
	while (pair_control(side, &message)) {
		if (message.type != CONTROL_LINK_FAILED)
			continue;
		assert_int_equal(message.link_failed.end, PAIR_END);
		assert_int_equal(message.link_failed.error, EPROTO);
		memcpy(ret_reason, message.link_failed.reason, REASON_SIZE);
	}
}

static void expect_reset(struct pair *pair, const char *expected)
{
	char reason[REASON_SIZE], byte;

	failed_reason(&pair->sides[B], reason);
	assert_string_equal(reason, expected);
	assert_null(pair->sides[B].ctx->links.by_end);
	while (msg_recv(pair->sides[B].sock, &byte, 1, 0) >= 0 &&
		!pair->sides[B].channel->rx_closed)
		;
	assert_int_equal(pair->sides[B].channel->state, CHANNEL_DEAD);
}

static void test_hostile_frames(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(hostiles); i++) {
		const struct hostile *h = &hostiles[i];
		struct pair *pair = pair_new(4);

		/* A is the hostile one: what it says honestly at first is taken in. */
		pair_take(&pair->sides[B]);
		for (size_t k = 0; k < h->n; k++) {
			uint8_t bytes[FRAME_HEADER_SIZE + 8192] = {0};

			frame_encode(&h->frames[k], bytes);
			pair_inject(pair, A, bytes, FRAME_HEADER_SIZE + round_up16(h->payload[k]));
		}
		pair_take(&pair->sides[B]);
		expect_reset(pair, h->reason);
		pair_free(pair);
	}
}

/* msgd has told of a channel, unread as yet, when its link breaks: it is accepted, and is reset. */
static void test_told_before_the_violation(void **state)
{
	struct pair *pair = *state;
	struct pair_side *side = &pair->sides[B];
	struct msg_sock *listener = sock_new(
				&side->ctx->socks, SOCK_LISTENER, SOCK_OPEN, CHANNEL_SEQPACKET),
			*taken;
	struct control_message grant = {.type = CONTROL_CHANNEL,
		.channel = {.end = PAIR_END,
			.channel = 77,
			.type = CHANNEL_SEQPACKET,
			.transport = TRANSPORT_GRANT,
			.name = "name",
			.peer = {.domid = 1, .domain = "liar"}}};
	struct control_message down = {.type = CONTROL_LINK_DOWN,
		.link_down = {.end = PAIR_END, .error = ECONNRESET, .reason = "its process ended"}};
	struct frame frame = {.channel = PAIR_CHANNEL, .type = 99};
	uint8_t bytes[FRAME_HEADER_SIZE];
	char byte;

	listener->nonblock = true;
	assert_int_equal(sock_set_name(listener, "name", 2), 0);
	grant.channel.listener = listener->handle;
	control_ring_send(&side->msgd, &grant);
	control_ring_send(&side->msgd, &down);
	(void)control_ring_publish(&side->msgd);
	frame_encode(&frame, bytes);
	pair_inject(pair, A, bytes, sizeof(bytes));
	pair_take(side);
	taken = msg_accept(listener, LIBMSG_NONBLOCK);
	assert_non_null(taken);
	assert_int_equal(msg_recv(taken, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	/* The violation was first: msgd hears of it, and its own word about the link is late. */
	assert_string_equal(msg_reason(), "a frame that makes no sense");
	expect_reset(pair, "a frame that makes no sense");
}

static void test_credit_past_reason(void **state)
{
	struct frame frame = {
		.channel = PAIR_CHANNEL, .type = FRAME_CREDIT, .arg = CREDIT_GRANT_MAX};
	struct pair *pair = *state;
	uint8_t bytes[FRAME_HEADER_SIZE];

	pair_take(&pair->sides[B]);
	frame_encode(&frame, bytes);
	for (int i = 0; i < 255; i++) {
		pair_inject(pair, A, bytes, sizeof(bytes));
		pair_take(&pair->sides[B]);
	}
	/* One page and 255 times 8 MiB; 2^31 is the limit. */
	assert_non_null(pair->sides[B].ctx->links.by_end);
	pair_inject(pair, A, bytes, sizeof(bytes));
	pair_take(&pair->sides[B]);
	expect_reset(pair, "credit beyond reason");
}

/* A link of a peer in that domain, which has announced a message of len bytes. */
static struct link *hoard(struct pair_side *side, uint32_t end, uint16_t domid, uint32_t len)
{
	struct transport *transport =
		transport_new(&transport_grant, &side->hv, domid, 0, HV_PAGE_SIZE);
	struct channel *channel;
	struct link *link;

	transport->port = transport->event = end;
	link = link_new(&side->ctx->links, transport, end, 0, 0, LINK_UP);
	channel = channel_new(&link->channels, 1, CHANNEL_SEQPACKET, true);
	channel_close(channel, CLOSE_NORMAL); /* it has no socket */
	channel_unqueue(channel);
	channel->partial = calloc(1, sizeof(*channel->partial));
	channel->partial->len = len;
	channel_charge(channel, msg_buf_charge(len));
	return link;
}

static void test_who_hoards_pays(void **state)
{
	struct pair *pair = *state;
	struct msg_ctx *ctx = pair->sides[B].ctx;
	struct control_message message;
	uint8_t bytes[64] = {0};
	uint64_t before = ctx->pool.held;
	struct link *link = hoard(&pair->sides[B], 99, 0, 0);
	struct channel *channel = channel_find(&link->channels, 1);

	/* One more message of 64 bytes has room, in the share of its domain. */
	channel->partial->len = ACCOUNT_BUDGET - (uint32_t)ctx->pool.held - msg_buf_charge(64);
	channel_charge(channel, channel->partial->len);
	assert_int_equal(msg_send(sock(state, A), bytes, 64, 0), 64);
	pair_take(&pair->sides[B]);
	assert_int_equal(ctx->pool.held, ACCOUNT_BUDGET);
	assert_non_null(link_find(&ctx->links, 99));
	assert_int_equal(msg_send(sock(state, A), bytes, 64, 0), 64);
	pair_take(&pair->sides[B]);
	/* Not the one that asked for the last bytes, but the one that had taken the others. */
	assert_null(link_find(&ctx->links, 99));
	assert_true(pair_control(&pair->sides[B], &message));
	assert_int_equal(message.type, CONTROL_LINK_FAILED);
	assert_int_equal(message.link_failed.end, 99);
	assert_int_equal(msg_recv(sock(state, B), bytes, 64, 0), 64);
	assert_int_equal(msg_recv(sock(state, B), bytes, 64, 0), 64);
	assert_int_equal(ctx->pool.held, before);
}

static void test_channel_never_granted(void **state)
{
	struct pair *pair = *state;
	struct frame frame = {.channel = 77, .type = FRAME_CREDIT, .arg = 1};
	struct control_message message, answer = {.type = CONTROL_STATUS};
	uint8_t bytes[FRAME_HEADER_SIZE];

	frame_encode(&frame, bytes);
	pair_inject(pair, A, bytes, sizeof(bytes));
	pair_take(&pair->sides[B]);
	/* It asks msgd first: CHANNEL may be on its way. */
	assert_true(pair_control(&pair->sides[B], &message));
	assert_int_equal(message.type, CONTROL_SYNC);
	assert_non_null(pair->sides[B].ctx->links.by_end);
	answer.request = message.request;
	pair_say(&pair->sides[B], &answer);
	expect_reset(pair, "a frame for a channel that was never granted");
}

static void test_channel_granted_late(void **state)
{
	struct pair *pair = *state;
	struct frame frame = {.channel = 77, .type = FRAME_CREDIT, .arg = 1};
	struct control_message message, answer = {.type = CONTROL_STATUS};
	struct control_message grant = {.type = CONTROL_CHANNEL,
		.channel = {.listener = 5, .end = PAIR_END, .channel = 77}};
	uint8_t bytes[FRAME_HEADER_SIZE];

	frame_encode(&frame, bytes);
	pair_inject(pair, A, bytes, sizeof(bytes));
	pair_take(&pair->sides[B]);
	assert_true(pair_control(&pair->sides[B], &message));
	answer.request = message.request;
	pair_say(&pair->sides[B], &grant);
	pair_say(&pair->sides[B], &answer);
	assert_non_null(pair->sides[B].ctx->links.by_end);
	assert_non_null(channel_find(&pair->sides[B].link->channels, 77));
}

static void test_unknown_after_msgds_return(void **state)
{
	struct pair *pair = *state;
	struct frame frame = {.channel = 77, .type = FRAME_CREDIT, .arg = 1};
	struct control_message message, answer = {.type = CONTROL_STATUS};
	uint8_t bytes[FRAME_HEADER_SIZE];

	/* The former msgd may have died before it said CHANNEL: dropped, and the link stands. */
	pair->sides[B].ctx->control.epoch++;
	frame_encode(&frame, bytes);
	pair_inject(pair, A, bytes, sizeof(bytes));
	pair_take(&pair->sides[B]);
	assert_true(pair_control(&pair->sides[B], &message));
	answer.request = message.request;
	pair_say(&pair->sides[B], &answer);
	assert_non_null(pair->sides[B].ctx->links.by_end);
	transfer(state, A, 64, 1);
}

/*
 * msgd has granted a name, was replaced, and only then does the listener look: the next msgd must
 * hear of the name. One that was refused is nobody's.
 */
static void granted_before_msgds_return(void **state, int error)
{
	struct pair_side *side = &((struct pair *)*state)->sides[A];
	struct msg_ctx *ctx = side->ctx;
	struct control_message listen = {.type = CONTROL_LISTEN,
		.listen = {.listener = 5, .type = CHANNEL_SEQPACKET, .backlog = 1}};
	struct control_message answer = {.type = CONTROL_STATUS}, message = {0};
	struct msg_sock *listener =
		sock_new(&ctx->socks, SOCK_LISTENER, SOCK_PENDING, CHANNEL_SEQPACKET);
	bool announced = false;

	strcpy(side->channel->name, "other"); /* which is announced, too */
	strcpy(listen.listen.name, "name");
	ctx->socks.last_handle = 4;
	assert_int_equal(sock_set_name(listener, "name", 1), 0);
	ctx->control.epoch = 1;
	answer.request = request_new(&ctx->control, listener, &listen)->id;
	answer.status.error = (uint32_t)error;
	pair_say(side, &answer);
	while (pair_control(side, &message))
		;
	atomic_store(&side->control_page->epoch, 1);
	pair_next_msgd(side, 0);
	while (pair_control(side, &message))
		announced |= message.type == CONTROL_LISTEN && message.listen.listener == 5;
	assert_int_equal(announced, error == 0);
	sock_free(listener);
}

static void test_granted_before_msgds_return(void **state)
{
	granted_before_msgds_return(state, 0);
}

static void test_refused_before_msgds_return(void **state)
{
	granted_before_msgds_return(state, EACCES);
}

static void test_hostile_counters(void **state)
{
	static const uint32_t produced[] = {8, 4 * 4096 + 16, 0x80000000U, 0xfffffff0U};

	for (size_t i = 0; i < ARRAY_SIZE(produced); i++) {
		struct pair *pair = pair_new(4);

		pair_take(&pair->sides[B]);
		atomic_fetch_add(&pair->page->end[A].produced, produced[i]);
		pair_take(&pair->sides[B]);
		expect_reset(pair, "a frame that makes no sense");
		pair_free(pair);
	}
}

static void test_garbage_doorbell(void **state)
{
	struct pair *pair = *state;
	uint8_t bytes[4096] = {0};

	/* Hints may say anything: A loses its own link at worst, B only the link to A. */
	memset(&pair->page->end[A], 0xa5, sizeof(pair->page->end[A]));
	pair_take(&pair->sides[B]);
	while (msg_send(sock(state, B), bytes, sizeof(bytes), 0) > 0)
		;
	assert_int_not_equal(errno, 0);
	assert_null(pair->sides[B].ctx->links.by_end);
	assert_int_equal(pair->sides[B].channel->error, ECONNRESET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sizes, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_credit_for_the_last_fragment, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_listening_end_is_silent_first, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_credit_bounds_unread, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_too_long, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_truncation_and_peek, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_close_reads_as_end, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_close_with_unread_data_resets, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_shutdown, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_end_is_reported_until_read, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_pollout_survives_other_events, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_close_in_the_middle, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_closed_end_judges_nothing, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_first_credit_waits_for_room, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_refused_is_tried_again, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_offer_of_the_dead, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_death_after_whole_messages, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_events_only_for_sleepers, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_credit_wakes_when_low, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_more_is_held_back, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_take, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_no_segments, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_rcvbuf_bounds_maxmsg, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_leaving_with_unread_data, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_backlog_is_bounded, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_connected_too_late, setup, pair_teardown),
		cmocka_unit_test(test_hostile_frames),
		cmocka_unit_test_setup_teardown(
			test_told_before_the_violation, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_credit_past_reason, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_who_hoards_pays, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_channel_never_granted, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_channel_granted_late, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_unknown_after_msgds_return, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_granted_before_msgds_return, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_refused_before_msgds_return, setup, pair_teardown),
		cmocka_unit_test(test_hostile_counters),
		cmocka_unit_test_setup_teardown(test_garbage_doorbell, setup, pair_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
