/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Links that share no memory (argo-strict, PROTOCOL.md 3.4), over the emulator: what they hold, how
 * each end wakes the other, how they end, and what a peer can do to them.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "hv/argo-ring.h"
#include "hv/sim/memory/segment.h"
#include "hv/sim/testing/sim.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/link-pair.h"

#define A	 0
#define B	 1
#define RING_LEN 4096U /* less than a new channel's credit */

static int setup(void **state)
{
	*state = pair_new_strict(RING_LEN);
	return 0;
}

static int setup_default(void **state)
{
	*state = pair_new_strict(LINK_ARGO_RING_LEN(LINK_ARGO_RING_PAGES_DEFAULT));
	return 0;
}

static int teardown(void **state)
{
	struct pair *pair = *state;

	assert_int_equal(sim_check(pair->sim, stderr), 0);
	pair_free(pair);
	return 0;
}

static const struct sim_domain *domain_of(struct pair *pair, unsigned side)
{
	const struct xen *xen = sim_xen(pair->sim);

	return domain_at(xen, sim_domain_find(xen, pair->sides[side].domid));
}

static bool readable(struct pair_side *side)
{
	struct pollfd fd = {.fd = side->sim_hv->ops->fd(side->sim_hv), .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

static void drive(struct pair_side *side)
{
	side->ctx->pool.round++;
	driver_drive(&side->ctx->driver, &(struct focus){0});
}

static struct argo_end *argo(struct pair_side *side)
{
	return argo_of(side->link->transport);
}

static int put_limit(struct pair_side *side, uint32_t bytes)
{
	int r = transport_put_bare(side->link->transport, PAIR_CHANNEL, FRAME_LIMIT, bytes);

	link_check(side->link, r);
	return r;
}

/* As whoever is about to sleep: everything is looked at, and events are asked for. */
static void fall_asleep(struct pair_side *side)
{
	for (int i = 0; i < 10; i++) {
		drive(side);
		if (!driver_arm(&side->ctx->driver))
			return;
	}
	fail_msg("there is always more to do");
}

static ssize_t say(struct pair_side *side, size_t len)
{
	static char bytes[65536];

	return msg_send(side->sock, bytes, len, 0);
}

static ssize_t hear(struct pair_side *side)
{
	static char bytes[65536];

	return msg_recv(side->sock, bytes, sizeof(bytes), 0);
}

/* Sends until there is no room over there. Returns how many messages went out. */
static int fill_ring(struct pair_side *side, size_t len)
{
	int n = 0;

	while (say(side, len) == (ssize_t)len)
		n++;
	assert_int_equal(errno, EAGAIN);
	assert_true(argo(side)->full);
	return n;
}

/* ---- its parts ------------------------------------------------------------------------------- */

static void test_shares_nothing(void **state)
{
	struct pair *pair = *state;

	for (unsigned i = 0; i < 2; i++) {
		const struct sim_domain *d = domain_of(pair, i);
		const struct link *link = pair->sides[i].link;

		assert_int_equal(d->n_ports, 2); /* port 0, and VIRQ_ARGO's */
		assert_int_equal(d->n_shared, 0);
		assert_int_equal(d->n_pinned, 0);
		assert_int_equal(d->n_argo, 1);
		assert_int_equal(link->transport->port, 0);
		assert_null(argo_of(link->transport)->paged.page);
	}
	pair_end(&pair->sides[A], LINK_LEFT, "test");
	assert_int_equal(domain_of(pair, A)->n_argo, 0);
}

static void test_sizes(void **state)
{
	static const size_t sizes[] = {0, 1, 15, 16, 17, 4000, 4096, 16384, 60000};
	struct pair *pair = *state;

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		struct pair_side *from = &pair->sides[i & 1], *to = &pair->sides[1 - (i & 1)];
		size_t len = sizes[i / 2];
		ssize_t r = -1;

		drive(from);
		assert_int_equal(say(from, len), len);
		for (int k = 0; r < 0; k++) {
			assert_in_range(k, 0, 1000);
			r = hear(to);
			if (r < 0)
				assert_int_equal(errno, EAGAIN);
			drive(from);
		}
		assert_int_equal(r, len);
	}
}

/* The feature bits of HELLO about Argo. */
static void test_features(void **state)
{
	struct pair *pair = *state;
	struct hv *hv = pair->sides[A].sim_hv;
	struct hv_ring *ring[ARGO_RINGS_MAX];
	struct sim_domain *d = (struct sim_domain *)(uintptr_t)domain_of(pair, A);
	uint64_t has = FEATURE_ARGO | FEATURE_ARGO_STRICT;
	uint8_t flags = d->flags;
	unsigned n = 0;

	assert_int_equal(control_argo_features(hv), has);
	while (hv->ops->argo_register(hv, 0, pair->sides[B].domid, 64, &ring[n]) == 0)
		n++;
	assert_int_equal(n, ARGO_RINGS_MAX - 1); /* the link has one */
	assert_int_equal(control_argo_features(hv), has);
	while (n)
		assert_int_equal(hv->ops->argo_unregister(hv, ring[--n]), 0);
	d->flags = flags | SIM_DOMAIN_NO_DRIVER;
	assert_int_equal(control_argo_features(hv), FEATURE_NO_ARGO_DRIVER);
	d->flags = flags & (uint8_t)~SIM_DOMAIN_ARGO;
	assert_int_equal(control_argo_features(hv), 0);
	d->flags = flags;
	sim_xen(pair->sim)->seg->argo_off = 1;
	assert_int_equal(control_argo_features(hv), FEATURE_NO_HYPERVISOR_ARGO);
	sim_xen(pair->sim)->seg->argo_off = 0;
	assert_int_equal(control_argo_features(hv), has);
}

static uint32_t create_error(struct pair_side *side, const struct control_link_create *create)
{
	struct control_message answer;

	link_create(&side->ctx->links, 0, create, &answer);
	assert_int_equal(answer.type, CONTROL_LINK_FAILED);
	return answer.link_failed.error;
}

static uint32_t bind_error(struct pair_side *side, const struct control_link_bind *bind)
{
	struct control_message answer;

	link_bind(&side->ctx->links, 0, bind, &answer);
	assert_int_equal(answer.type, CONTROL_LINK_FAILED);
	return answer.link_failed.error;
}

static uint32_t failed_error(struct pair_side *side)
{
	struct control_message m = {0};

	assert_true(pair_control(side, &m));
	assert_int_equal(m.type, CONTROL_LINK_FAILED);
	return m.link_failed.error;
}

/* ENOSPC is said of Argo's rings alone: msgd shows it as that. */
static void test_rings_in_use(void **state)
{
	struct pair *pair = *state;
	struct pair_side *side = &pair->sides[A];
	struct hv *hv = side->sim_hv;
	struct control_link_create create = {.end = 50,
		.uid = 2,
		.peer_domid = pair->sides[B].domid,
		.transport = TRANSPORT_ARGO_STRICT,
		.ring_len = RING_LEN};
	struct control_link_bind bind = {.end = 51,
		.uid = 3,
		.peer_domid = pair->sides[B].domid,
		.transport = TRANSPORT_ARGO_STRICT,
		.ring_len = RING_LEN,
		.aport = 77};
	struct hv_ring *ring;
	uint32_t port;

	while (hv->ops->argo_register(hv, 0, pair->sides[B].domid, 64, &ring) == 0)
		;
	assert_int_equal(create_error(side, &create), ENOSPC);
	assert_int_equal(bind_error(side, &bind), ENOSPC);
	create.transport = TRANSPORT_ARGO;
	assert_int_equal(create_error(side, &create), ENOSPC);
	while (hv->ops->evtchn_alloc_unbound(hv, 0, &port) == 0)
		;
	assert_int_equal(create_error(side, &create), ENOBUFS);
	assert_null(link_find(&side->ctx->links, 50));
	assert_null(link_find(&side->ctx->links, 51));
}

/* ---- how many hypercalls ----------------------------------------------------------------- */

static struct {
	struct hv_ops ops;
	const struct hv_ops *real;
	unsigned n_sendv;
} counter;

static int count_sendv(
	struct hv *hv, struct hv_ring *ring, const struct iovec *iov, size_t n, uint32_t type)
{
	counter.n_sendv++;
	return counter.real->argo_sendv(hv, ring, iov, n, type);
}

static void counter_begin(struct pair_side *side)
{
	counter.real = side->sim_hv->ops;
	counter.ops = *counter.real;
	counter.ops.argo_sendv = count_sendv;
	counter.n_sendv = 0;
	side->sim_hv->ops = &counter.ops;
}

static unsigned counter_end(struct pair_side *side)
{
	side->sim_hv->ops = counter.real;
	return counter.n_sendv;
}

/* A new channel's credit is less than what is measured: reading makes it grow. */
static void warm_up(struct pair *pair)
{
	for (int i = 0; i < 100; i++) {
		while (say(&pair->sides[A], 65536) < 0)
			drive(&pair->sides[A]);
		while (hear(&pair->sides[B]) < 0)
			drive(&pair->sides[A]);
	}
	while (hear(&pair->sides[B]) > 0)
		;
}

/* The sender looks for credit itself: none of these messages is cut for want of it. */
static void test_message_is_a_hypercall(void **state)
{
	static const size_t sizes[] = {0, 64, 4096, 65536};
	struct pair *pair = *state;

	warm_up(pair);
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		counter_begin(&pair->sides[A]);
		for (int i = 0; i < 100; i++) {
			assert_int_equal(say(&pair->sides[A], sizes[s]), sizes[s]);
			assert_int_equal(hear(&pair->sides[B]), sizes[s]);
		}
		assert_int_equal(counter_end(&pair->sides[A]), 100);
	}
}

static void test_batch_is_a_hypercall(void **state)
{
	static const struct {
		size_t len;
		unsigned n, n_sendv;
	} cases[] = {{64, 32, 1}, {4096, 32, 1}, {4096, 64, 2}, {65536, 2, 1}, {65536, 4, 2}};
	struct pair *pair = *state;
	static char bytes[65536];

	warm_up(pair);
	for (size_t c = 0; c < 20 * ARRAY_SIZE(cases); c++) {
		size_t len = cases[c / 20].len;
		unsigned n = cases[c / 20].n;

		counter_begin(&pair->sides[A]);
		for (unsigned i = 1; i <= n; i++)
			assert_int_equal(
				msg_send(pair->sides[A].sock, bytes, len, i < n ? MSG_MORE : 0),
				len);
		assert_int_equal(counter_end(&pair->sides[A]), cases[c / 20].n_sendv);
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(hear(&pair->sides[B]), len);
		assert_int_equal(hear(&pair->sides[B]), -1); /* all room is given back */
	}
}

/* More pieces than a hypercall takes: gathered first. */
static void test_scattered_message_is_a_hypercall(void **state)
{
	struct pair *pair = *state;
	static char bytes[65536];
	struct iovec iov[64];
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = ARRAY_SIZE(iov)};

	warm_up(pair);
	for (size_t i = 0; i < ARRAY_SIZE(iov); i++)
		iov[i] = (struct iovec){.iov_base = bytes + 1024 * i, .iov_len = 1024};
	counter_begin(&pair->sides[A]);
	assert_int_equal(msg_sendmsg(pair->sides[A].sock, &message, 0), 65536);
	assert_int_equal(counter_end(&pair->sides[A]), 1);
	assert_int_equal(hear(&pair->sides[B]), 65536);
}

/* ---- waking ---------------------------------------------------------------------------------- */

static void test_frames_wake(void **state)
{
	struct pair *pair = *state;
	struct pair_side *a = &pair->sides[A], *b = &pair->sides[B];

	fall_asleep(b);
	assert_true(b->link->armed);
	assert_false(readable(b));
	assert_int_equal(say(a, 10), 10);
	assert_true(readable(b));
	drive(b);
	assert_false(b->link->armed);
	assert_int_equal(hear(b), 10);
	/* And what came before it fell asleep is found while it does. */
	assert_int_equal(say(a, 11), 11);
	assert_true(driver_arm(&b->ctx->driver));
	drive(b);
	assert_int_equal(hear(b), 11);
	fall_asleep(b);
	assert_int_equal(say(a, 12), 12);
	assert_true(readable(b));
}

static void test_room_wakes(void **state)
{
	struct pair *pair = *state;
	struct pair_side *a = &pair->sides[A], *b = &pair->sides[B];

	assert_in_range(fill_ring(a, 1000), 2, 4);
	fall_asleep(a);
	assert_int_equal(say(a, 1000), -1);
	assert_true(argo(a)->full);
	assert_false(readable(a));
	/* Nobody reads there, so no credit comes back: it is the room that wakes. */
	pair_take(b);
	assert_false(argo_pending(a->link->transport));
	assert_true(readable(a));
	drive(a);
	assert_false(argo(a)->full);
	assert_int_equal(say(a, 1000), 1000);
}

/* An event that came for frames: the driver looks for room as well, and asks for it again. */
static void test_room_wakes_after_frames(void **state)
{
	struct pair *pair = *state;
	struct pair_side *a = &pair->sides[A], *b = &pair->sides[B];

	(void)hear(b); /* it may speak from here on */
	fill_ring(a, 1000);
	fall_asleep(a);
	assert_int_equal(say(b, 10), 10);
	assert_true(readable(a));
	fall_asleep(a);
	assert_int_equal(hear(a), 10);
	assert_int_equal(say(a, 1000), -1);
	fall_asleep(a);
	assert_int_equal(say(a, 1000), -1);
	assert_false(readable(a));
	while (hear(b) == 1000)
		;
	assert_true(readable(a));
}

/* A sender that never sleeps has no event: it looks. */
static void test_room_is_found_without_events(void **state)
{
	struct pair *pair = *state;
	struct pair_side *a = &pair->sides[A], *b = &pair->sides[B];

	fill_ring(a, 1000);
	while (hear(b) == 1000)
		;
	assert_false(a->link->armed);
	assert_true(argo(a)->full);
	assert_int_equal(say(a, 1000), 1000);
}

/* An accepted message that waits for room goes out with the event, without another send. */
static void test_blocked_goes_out(void **state)
{
	struct pair *pair = *state;
	struct pair_side *a = &pair->sides[A], *b = &pair->sides[B];
	struct msg_sock *closed = a->sock;
	int n = fill_ring(a, 1000), got = 0;
	ssize_t r;

	/* To the last slot: CLOSE waits for room. */
	a->link->transport->ops->not_armed(a->link->transport);
	while (put_limit(a, MESSAGE_MAX_DEFAULT) == 0)
		;
	a->sock = NULL;
	assert_int_equal(msg_close(closed), 0);
	assert_false(TAILQ_EMPTY(&a->link->channels.blocked));
	fall_asleep(a);
	assert_false(TAILQ_EMPTY(&a->link->channels.blocked));
	while ((r = hear(b)) == 1000)
		got++;
	assert_int_equal(got, n);
	assert_int_equal(r, -1);
	assert_true(readable(a));
	drive(a);
	assert_true(TAILQ_EMPTY(&a->link->channels.blocked));
	assert_int_equal(hear(b), 0);
}

/* Another process of A's domain, with a ring of its own, which sends to B's. */
struct stranger {
	struct hv *hv;
	struct hv_ring *ring;
};

static void stranger_open(struct stranger *s, struct pair *pair)
{
	assert_int_equal(sim_hv_open(pair->sim, pair->sides[A].domid, &s->hv), 0);
	assert_int_equal(
		s->hv->ops->argo_register(s->hv, 0, pair->sides[B].domid, RING_LEN, &s->ring), 0);
	assert_int_equal(
		s->hv->ops->argo_peer(s->hv, s->ring, argo(&pair->sides[B])->ring->aport), 0);
}

static int raw_send(
	struct hv *hv, struct hv_ring *ring, const void *bytes, size_t len, uint32_t type)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};

	return hv->ops->argo_sendv(hv, ring, &iov, 1, type);
}

/* Its messages are dropped, and whoever lacks the room that they took is told. */
static void test_strangers_room(void **state)
{
	struct pair *pair = *state;
	struct pair_side *a = &pair->sides[A], *b = &pair->sides[B];
	static const char junk[1000];
	struct stranger s;

	stranger_open(&s, pair);
	(void)hear(b);
	while (raw_send(s.hv, s.ring, junk, sizeof(junk), FRAME_MESSAGE_TYPE) > 0)
		;
	assert_int_equal(fill_ring(a, 1000), 0);
	fall_asleep(a);
	assert_false(readable(a));
	assert_int_equal(hear(b), -1);
	assert_int_equal(errno, EAGAIN);
	assert_true(readable(a));
	drive(a);
	assert_int_equal(say(a, 1000), 1000);
	assert_int_equal(hear(b), 1000);
	hv_close(s.hv);
}

static int no_memory(
	struct hv *hv, struct hv_ring *ring, const struct iovec *iov, size_t n, uint32_t type)
{
	return -ENOMEM;
}

/* ENOMEM queues no wake-up: a timer is set. */
static void test_no_wakeup_queued(void **state)
{
	struct pair_side *a = &((struct pair *)*state)->sides[A];
	const struct hv_ops *before = a->sim_hv->ops;
	struct hv_ops ops = *before;

	ops.argo_sendv = no_memory;
	a->sim_hv->ops = &ops;
	assert_int_equal(put_limit(a, 1), -EAGAIN);
	assert_false(argo(a)->full);
	assert_true(links_retry_time(&a->ctx->links) != DEADLINE_NEVER);
	a->sim_hv->ops = before;
	a->link->transport->retry_ns = 1;
	drive(a);
	assert_true(links_retry_time(&a->ctx->links) == DEADLINE_NEVER);
	assert_int_equal(put_limit(a, 1), 0);
}

/* While it waits for msgd's word about a number, the ring is left alone, and wakes nobody. */
static void test_unknown_number_waits(void **state)
{
	struct pair *pair = *state;
	struct pair_side *a = &pair->sides[A], *b = &pair->sides[B];
	struct control_message m = {.type = CONTROL_STATUS};
	uint8_t bytes[FRAME_HEADER_SIZE];
	struct frame frame = {.channel = 99, .type = FRAME_SHUTDOWN};

	(void)hear(b);
	frame_encode(&frame, bytes);
	assert_true(
		raw_send(a->sim_hv, argo(a)->ring, bytes, sizeof(bytes), FRAME_MESSAGE_TYPE) > 0);
	drive(b);
	assert_true(pair_control(b, &m));
	assert_int_equal(m.type, CONTROL_SYNC);
	fall_asleep(b);
	assert_true(b->link->armed);
	assert_false(readable(b));
	/* It was another channel's, of which msgd had told. */
	assert_non_null(channel_new(&b->link->channels, 99, CHANNEL_SEQPACKET, true));
	m = (struct control_message){.type = CONTROL_STATUS, .request = m.request};
	pair_say(b, &m);
	assert_int_equal(b->link->state, LINK_UP);
	assert_false(b->link->armed);
	fall_asleep(b);
	assert_int_equal(say(a, 10), 10);
	assert_true(readable(b));
	drive(b);
	assert_int_equal(hear(b), 10);
	channel_free(channel_find(&b->link->channels, 99));
}

/* A close does not say that all went while frames that MSG_MORE has gathered found no room. */
static void test_close_of_staged(void **state)
{
	struct pair_side *a = &((struct pair *)*state)->sides[A];

	while (put_limit(a, 1) == 0)
		;
	assert_int_equal(msg_send(a->sock, "x", 1, MSG_MORE), 1);
	assert_true(argo(a)->staged > 0);
	a->sock->nonblock = false;
	a->sock->linger_ms = 1;
	assert_int_equal(msg_close(a->sock), -1);
	assert_int_equal(errno, ETIMEDOUT);
	a->sock = NULL;
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void expect_reset(struct pair_side *side)
{
	assert_int_equal(hear(side), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(say(side, 1), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(side->channel->state, CHANNEL_DEAD);
	assert_null(side->ctx->links.by_end);
	assert_null(side->ctx->links.by_event);
}

static void msgd_says_down(struct pair_side *side)
{
	struct control_message down = {.type = CONTROL_LINK_DOWN,
		.link_down = {.end = PAIR_END, .error = ECONNRESET, .reason = "its process ended"}};

	pair_say(side, &down);
}

static void test_death_told_by_msgd(void **state)
{
	struct pair *pair = *state;
	struct pair_side *b = &pair->sides[B];

	assert_int_equal(say(&pair->sides[A], 100), 100);
	pair_kill(pair, A);
	assert_int_equal(hear(b), 100);
	/* Nobody else says so: it goes on waiting. */
	assert_int_equal(hear(b), -1);
	assert_int_equal(errno, EAGAIN);
	fall_asleep(b);
	assert_false(readable(b));
	msgd_says_down(b);
	expect_reset(b);
	assert_string_equal(msg_reason(), "its process ended");
}

/* Messages that had arrived whole are read first. */
static void test_death_after_whole_messages(void **state)
{
	struct pair *pair = *state;
	struct pair_side *b = &pair->sides[B];

	assert_int_equal(say(&pair->sides[A], 100), 100);
	assert_int_equal(say(&pair->sides[A], 200), 200);
	pair_kill(pair, A);
	msgd_says_down(b);
	assert_int_equal(hear(b), 100);
	assert_int_equal(hear(b), 200);
	expect_reset(b);
}

/* The hypervisor refuses a message: that is heard before msgd. */
static void test_death_found_by_sending(void **state)
{
	struct pair *pair = *state;
	struct pair_side *b = &pair->sides[B];

	assert_int_equal(say(&pair->sides[A], 100), 100);
	assert_int_equal(hear(b), 100);
	pair_kill(pair, A);
	assert_int_equal(say(b, 1), -1);
	assert_int_equal(errno, ECONNRESET);
	expect_reset(b);
}

/* By a datagram, too, which is lost with the channel, and not dropped. */
static void test_death_found_by_a_datagram(void **state)
{
	struct pair *pair = *state;
	struct msg_sock *sock = pair_channel_of(&pair->sides[B], 9, CHANNEL_DGRAM, true);

	pair_kill(pair, A);
	assert_int_equal(msg_send(sock, "x", 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	expect_reset(&pair->sides[B]);
}

/* The ring vanished with its partner's domain: it cannot be watched, and msgd is told as well. */
static void test_domain_destroyed(void **state)
{
	struct pair *pair = *state;
	struct pair_side *b = &pair->sides[B];

	assert_int_equal(say(&pair->sides[A], 100), 100);
	pair_kill(pair, A);
	assert_int_equal(sim_domain_destroy(pair->sim, pair->sides[A].domid), 0);
	assert_true(driver_arm(&b->ctx->driver)); /* there is a message in it still */
	drive(b);
	assert_true(driver_arm(&b->ctx->driver));
	drive(b);
	assert_int_equal(failed_error(b), ECONNRESET);
	assert_int_equal(hear(b), 100);
	expect_reset(b);
	assert_false(driver_arm(&b->ctx->driver));
}

/* ---- hostile peers ----------------------------------------------------------------------- */

static void test_hostile_messages(void **state)
{
	struct pair *pair = *state;
	struct pair_side *a = &pair->sides[A], *b = &pair->sides[B];
	struct frame frame = {.channel = PAIR_CHANNEL,
		.len = 64,
		.type = FRAME_DATA,
		.flags = FRAME_FIRST,
		.arg = 128};
	uint8_t bytes[128] = {0};
	struct stranger s;

	frame_encode(&frame, bytes);
	(void)hear(b);
	/* Not from the introduced ring, not of frames' type, of no bytes: dropped. */
	stranger_open(&s, pair);
	assert_true(raw_send(s.hv, s.ring, bytes, sizeof(bytes), FRAME_MESSAGE_TYPE) > 0);
	hv_close(s.hv);
	assert_true(raw_send(a->sim_hv, argo(a)->ring, bytes, sizeof(bytes), 1) > 0);
	assert_true(raw_send(a->sim_hv, argo(a)->ring, bytes, 0, FRAME_MESSAGE_TYPE) == 0);
	assert_int_equal(hear(b), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(b->link->state, LINK_UP);
	/* A frame that its message cuts. */
	assert_true(raw_send(a->sim_hv, argo(a)->ring, bytes, 32, FRAME_MESSAGE_TYPE) > 0);
	(void)hear(b);
	assert_int_equal(failed_error(b), EPROTO);
	expect_reset(b);
}

/* One that never reads holds up what is sent to it, and nobody else; what it gets is bounded. */
static void test_deaf_peer(void **state)
{
	struct pair *pair = *state;
	struct pair_side *a = &pair->sides[A];

	assert_in_range(fill_ring(a, 1000), 2, 4);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(say(a, 1000), -1);
		assert_int_equal(errno, EAGAIN);
	}
	fall_asleep(a);
	assert_false(readable(a));
	assert_true(STAILQ_EMPTY(&a->channel->out));
	assert_int_equal(a->link->state, LINK_UP);
}

#define TEST(fn)	 cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define TEST_DEFAULT(fn) cmocka_unit_test_setup_teardown(fn, setup_default, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_close_of_staged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_of_staged, setup, teardown),
		TEST(test_shares_nothing),
		TEST(test_sizes),
		TEST(test_features),
		TEST(test_rings_in_use),
		TEST_DEFAULT(test_message_is_a_hypercall),
		TEST_DEFAULT(test_batch_is_a_hypercall),
		TEST_DEFAULT(test_scattered_message_is_a_hypercall),
		TEST(test_frames_wake),
		TEST(test_room_wakes),
		TEST(test_room_wakes_after_frames),
		TEST(test_room_is_found_without_events),
		TEST(test_blocked_goes_out),
		TEST(test_strangers_room),
		TEST(test_no_wakeup_queued),
		TEST(test_unknown_number_waits),
		TEST(test_death_told_by_msgd),
		TEST(test_death_after_whole_messages),
		TEST(test_death_found_by_sending),
		TEST(test_death_found_by_a_datagram),
		TEST(test_domain_destroyed),
		TEST(test_hostile_messages),
		TEST(test_deaf_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
