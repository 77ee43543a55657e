/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Eight links of one context get equal shares of it, in bytes, and no call keeps the others of its
 * context out for longer than a step. The other ends are played here: each fills its ring whenever
 * there is room and credit, within the receiver's own call, so that no scheduler has a part in it.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

#define LINKS	8U
#define NUMBER	100U
#define LEN_MAX 65536U
#define LARGE	(16U << 20)
#define TOTAL	(64U << 20)

struct peer {
	struct doorbell_page *page;
	uint8_t *rings[2];
	struct grant_ring tx, rx;
	uint32_t len, rest; /* of each message; of the one under way */
	uint32_t left;	    /* messages to be sent */
	uint32_t credit;
	struct link *link;
	struct msg_sock *sock;
	_Atomic uint64_t got;
};

static struct peer peers[LINKS];
static struct transport_ops ops;
static struct pair *pair;
static struct pair_side *side; /* receives */
static _Atomic uint64_t sum;
static enum channel_type type;
static uint64_t n_bulk, n_asked, n_taken, n_told; /* bytes of bulk when ... */

/* ---- the other ends ------------------------------------------------------------------ */

static struct peer *peer_of(struct transport *transport)
{
	for (unsigned i = 0; i < LINKS; i++) {
		if (peers[i].link && peers[i].link->transport == transport)
			return &peers[i];
	}
	return NULL;
}

static void take_credit(struct peer *peer)
{
	uint8_t head[FRAME_HEADER_SIZE];
	struct frame frame;

	while (grant_ring_avail(&peer->rx, FRAME_HEADER_SIZE) > 0) {
		memcpy(head, grant_ring_slot(&peer->rx), sizeof(head));
		must(frame_decode(head, &frame) == 0);
		if (frame.type == FRAME_CREDIT)
			peer->credit += frame.arg;
		peer->rx.own += FRAME_HEADER_SIZE + round_up16(frame.len);
	}
	grant_ring_release(&peer->rx);
}

/* One more frame. False: for want of room or credit. */
static bool put_frame(struct peer *peer)
{
	struct frame frame = {.channel = NUMBER, .type = FRAME_DATA};
	int64_t space = grant_ring_space(&peer->tx, peer->tx.len) - FRAME_HEADER_SIZE;
	uint32_t want = peer->rest ? peer->rest : peer->len, least = min_u32(want, FRAGMENT_MIN);

	if (!peer->left || space < (int64_t)least || peer->credit < least + FRAME_CHARGE)
		return false;
	frame.len = min_u32(min_u32(want, FRAME_PAYLOAD_GRANT),
		min_u32((uint32_t)space, peer->credit - FRAME_CHARGE));
	if (type == CHANNEL_STREAM) {
		frame.arg = frame.len;
		frame.flags = FRAME_FIRST | FRAME_LAST;
	} else {
		peer->rest = want - frame.len;
		frame.arg = want == peer->len ? want : 0;
		frame.flags = want == peer->len ? FRAME_FIRST : 0;
		if (!peer->rest)
			frame.flags |= FRAME_LAST;
	}
	peer->left -= !peer->rest;
	frame_encode(&frame, grant_ring_slot(&peer->tx));
	peer->tx.own += FRAME_HEADER_SIZE + round_up16(frame.len);
	peer->credit -= frame.len + FRAME_CHARGE;
	return true;
}

static void fill(struct peer *peer)
{
	if (!peer)
		return;
	take_credit(peer);
	while (put_frame(peer))
		;
	grant_ring_publish(&peer->tx);
	if (doorbell_take(&peer->page->end[1].sleeping))
		pair_raise(side, peer->link->transport->port);
}

static void filling_release(struct transport *transport)
{
	transport_grant.release(transport);
	fill(peer_of(transport));
}

static int filling_put(struct transport *transport, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	int r = transport_grant.put(transport, frame, least, payload, more);

	if (frame->type == FRAME_DATA)
		n_taken = n_bulk; /* the lock's next owner has got it */
	fill(peer_of(transport));
	return r;
}

static void peer_new(struct peer *peer, unsigned index)
{
	uint32_t ring_len = LINK_RING_PAGES_DEFAULT * HV_PAGE_SIZE;
	struct transport *transport =
		transport_new(&ops, &side->hv, (uint16_t)(1 + index), 1, ring_len);
	struct grant_end *end = container_of(transport, struct grant_end, paged.base);

	peer->page = aligned_alloc(HV_PAGE_SIZE, HV_PAGE_SIZE);
	must(peer->page);
	memset(peer->page, 0, HV_PAGE_SIZE);
	for (unsigned i = 0; i < 2; i++) {
		peer->rings[i] = calloc(1, ring_len);
		must(peer->rings[i]);
		atomic_store(&peer->page->end[i].alive, 1);
	}
	end->paged.page = peer->page;
	end->paged.me = &peer->page->end[1];
	end->paged.them = &peer->page->end[0];
	transport->port = transport->event = 10 + index;
	grant_rings_init(end, peer->rings[0], peer->rings[1]);
	/* The same rings, from the other side. */
	peer->tx = end->rx;
	peer->rx = end->tx;
	peer->link = link_new(&side->ctx->links, transport, 10 + index, 0, 0, LINK_UP);
	must(peer->link);
}

static void peer_open(struct peer *peer, bool blocks, uint32_t len, uint32_t n)
{
	struct pair_side other = {.ctx = side->ctx, .link = peer->link};

	peer->sock = pair_channel_of(&other, NUMBER, type, false);
	peer->sock->nonblock = !blocks;
	msg_set_userdata(peer->sock, peer);
	peer->sock->channel->tx_open = true;
	peer->sock->channel->maxmsg_told = LARGE;
	peer->credit = peer->sock->channel->rx_window;
	peer->len = len;
	peer->left = n;
	fill(peer);
}

static void links_begin(enum channel_type of_type, bool threads)
{
	type = of_type;
	sum = 0;
	pair = pair_new(LINK_RING_PAGES_MIN);
	pair_events(pair);
	side = &pair->sides[1];
	side->ctx->driver.one_thread = !threads;
	ops = transport_grant;
	ops.release = filling_release;
	ops.put = filling_put;
	memset(peers, 0, sizeof(peers));
	for (unsigned i = 0; i < LINKS; i++)
		peer_new(&peers[i], i);
}

static void assert_equal_shares(void)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (unsigned i = 0; i < LINKS; i++) {
		least = min_u64(least, peers[i].got);
		most = max_u64(most, peers[i].got);
	}
	if (least * 10 < most * 8) {
		for (unsigned i = 0; i < LINKS; i++)
			print_error("link %u: %llu bytes\n", i, (unsigned long long)peers[i].got);
		fail();
	}
}

static void links_end(void)
{
	for (unsigned i = 0; i < LINKS; i++)
		peers[i].link = NULL;
	pair_free(pair);
	for (unsigned i = 0; i < LINKS; i++) {
		free(peers[i].page);
		free(peers[i].rings[0]);
		free(peers[i].rings[1]);
	}
}

/* ---- shares -------------------------------------------------------------------------- */

static void receive(struct peer *peer, char *bytes)
{
	ssize_t n = msg_recv(peer->sock, bytes, LEN_MAX, 0);

	if (n < 0) {
		must(errno == EAGAIN);
		return;
	}
	peer->got += (uint64_t)n;
	sum += (uint64_t)n;
}

static void run_loop(void)
{
	static char bytes[LEN_MAX];
	struct msg_event events[LINKS];

	must(msg_ctx_fd(side->ctx) >= 0);
	while (sum < TOTAL) {
		int n = msg_ctx_dispatch(side->ctx, events, (int)LINKS);

		must(n > 0);
		for (int i = 0; i < n; i++)
			receive(msg_userdata(events[i].sock), bytes);
	}
}

static void run_poll(void)
{
	static char bytes[LEN_MAX];
	struct msg_pollfd fds[LINKS];

	for (unsigned i = 0; i < LINKS; i++)
		fds[i] = (struct msg_pollfd){.sock = peers[i].sock, .events = POLLIN};
	while (sum < TOTAL) {
		must(msg_poll(fds, LINKS, -1) > 0);
		for (unsigned i = 0; i < LINKS; i++) {
			if (fds[i].revents & POLLIN)
				receive(&peers[i], bytes);
		}
	}
}

static void each_kind(void (*run)(void))
{
	static const uint32_t lens[] = {64, 4096, 65536};

	for (unsigned t = CHANNEL_SEQPACKET; t <= CHANNEL_STREAM; t++) {
		for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
			links_begin((enum channel_type)t, false);
			for (unsigned k = 0; k < LINKS; k++)
				peer_open(&peers[k], false, lens[i], UINT32_MAX);
			run();
			assert_equal_shares();
			links_end();
		}
	}
}

static void test_event_loop(void **state)
{
	each_kind(run_loop);
}

static void test_poll(void **state)
{
	each_kind(run_poll);
}

/* ---- bulk on the first link, a small message on the second ------------------------------ */

#define BEFORE (1U << 20) /* bulk has its pace by then */
/* A step, of which the last frame may be the largest. */
#define BOUND ((uint32_t)LINK_STEP + FRAME_PAYLOAD_GRANT)

enum small { NOT_YET, ASKED, TAKEN, TOLD };

static char large[LARGE];
static _Atomic enum small small;
static sem_t ask;
static bool waits; /* the small message is received by a thread that waits for it */

/* The other thread is in its call, without the lock. */
static void await_entering(void)
{
	while (!side->ctx->driver.n_entering)
		(void)sched_yield();
}

/* Of each frame that is taken in, under the lock. */
static void watching_next(struct transport *transport)
{
	struct peer *peer = peer_of(transport);
	uint32_t n = transport->frame.len;

	transport_grant.next(transport);
	if (peer == &peers[1] && small == ASKED) {
		n_taken = n_bulk;
		small = TAKEN;
	}
	if (peer != &peers[0])
		return;
	if (small == TAKEN && (!side->ctx->pool.wake || !side->ctx->driver.n_waiting)) {
		n_told = n_bulk;
		small = TOLD;
	}
	n_bulk += n;
	if (n_bulk < BEFORE || small != NOT_YET)
		return;
	n_asked = n_bulk;
	small = ASKED;
	(void)sem_post(&ask);
	if (!waits)
		await_entering();
	else
		fill(&peers[1]);
}

/* Sends a small message when the bulk is under way. */
static void *small_sender(void *arg)
{
	(void)sem_wait(&ask);
	must(msg_send(peers[1].sock, "x", 1, 0) == 1);
	return NULL;
}

static void *small_receiver(void *arg)
{
	/* Of several links: it takes none of them in by itself when it is woken. */
	struct msg_pollfd fds[] = {{.sock = peers[1].sock, .events = POLLIN},
		{.sock = peers[2].sock, .events = POLLIN}};

	must(msg_poll(fds, 2, -1) == 1);
	return NULL;
}

static void *bulk_receiver(void *arg)
{
	for (uint32_t done = 0; done < LARGE; done += peers[0].len)
		must(msg_recv(peers[0].sock, large, LARGE, 0) == (ssize_t)peers[0].len);
	return NULL;
}

static void bulk_begin(uint32_t len, bool receiver_waits)
{
	links_begin(CHANNEL_SEQPACKET, true);
	peer_open(&peers[0], true, len, 0);
	peer_open(&peers[1], true, 1, 0);
	peer_open(&peers[2], true, 1, 0);
	ops.next = watching_next;
	small = NOT_YET;
	n_bulk = n_asked = n_taken = n_told = 0;
	waits = receiver_waits;
	must(sem_init(&ask, 0, 0) == 0);
}

static void bulk_end(void)
{
	(void)sem_destroy(&ask);
	links_end();
}

/* A thread that wants to send gets the lock after a step of one call, or a turn of many. */
static void test_bulk_and_sender(void **state)
{
	static const uint32_t lens[] = {LARGE, 65536, 1024};
	pthread_t sender;

	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		bulk_begin(lens[i], false);
		peers[0].left = LARGE / lens[i];
		fill(&peers[0]);
		must(pthread_create(&sender, NULL, small_sender, NULL) == 0);
		(void)bulk_receiver(NULL);
		must(pthread_join(sender, NULL) == 0);
		assert_in_range(n_taken - n_asked, 0, lens[i] == LARGE ? BOUND : LINK_TURN + BOUND);
		bulk_end();
	}
}

/* Until so many threads sleep in a call; one of them in poll. */
static void await_sleepers(unsigned n)
{
	struct driver *driver = &side->ctx->driver;
	bool asleep;

	do {
		(void)sched_yield();
		driver_lock(driver);
		asleep = driver->asleep && driver->n_waiting == n;
		driver_unlock(driver);
	} while (!asleep);
}

/*
 * A message for a thread that waits, on a link that the driver does not hope for: it is taken in
 * after a few turns of the other link, and the thread is woken after a few more.
 */
static void test_bulk_and_receiver(void **state)
{
	pthread_t bulk, receiver;

	bulk_begin(LARGE, true);
	side->ctx->driver.spin_us = 1; /* it finds what it spins for, again and again ... */
	side->clock_step_ns = 1;       /* ... and in no time */
	must(pthread_create(&bulk, NULL, bulk_receiver, NULL) == 0);
	await_sleepers(0);
	must(pthread_create(&receiver, NULL, small_receiver, NULL) == 0);
	await_sleepers(1);
	driver_lock(&side->ctx->driver);
	peers[0].left = peers[1].left = 1;
	fill(&peers[0]);
	driver_unlock(&side->ctx->driver);
	must(pthread_join(bulk, NULL) == 0);
	must(pthread_join(receiver, NULL) == 0);
	assert_int_equal(small, TOLD);
	assert_in_range(n_taken - n_asked, 0, 4 * (uint32_t)LINK_TURN);
	assert_in_range(n_told - n_taken, 0, 4 * (uint32_t)LINK_TURN);
	bulk_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_event_loop),
		cmocka_unit_test(test_poll),
		cmocka_unit_test(test_bulk_and_sender),
		cmocka_unit_test(test_bulk_and_receiver),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
