/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The driver's parts, one by one and without another thread: events by the batch, whether and how
 * long it spins, the timer of the descriptor for event loops.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

#define A 0 /* is driven */
#define B 1

static struct hv_ops ops; /* A's, of which a test replaces some */

static int setup(void **state)
{
	(void)pair_setup(state);
	pair_events(*state);
	ops = *pair_side_of(state, A)->hv.ops;
	pair_side_of(state, A)->hv.ops = &ops;
	return 0;
}

static struct driver *driver_of(void **state)
{
	return &pair_side_of(state, A)->ctx->driver;
}

static bool has_lock(struct driver *driver)
{
	return pthread_mutex_trylock(&driver->lock) == EBUSY;
}

static void drive(void **state)
{
	driver_drive(driver_of(state), &(struct focus){0});
}

/* ---- events ----------------------------------------------------------------------------- */

static struct {
	unsigned n_polls, n_unmasked, endless;
	struct hv_event next[2]; /* once */
	int error;
	unsigned n_store;
} events;

static int poll_events(struct hv *hv, struct hv_event *ret_events, size_t n)
{
	events.n_polls++;
	if (events.error)
		return events.error;
	if (events.n_polls <= events.endless) {
		for (size_t i = 0; i < n; i++)
			ret_events[i] = (struct hv_event){.type = HV_EVENT_PORT, .port = 99};
		return (int)n;
	}
	memcpy(ret_events, events.next, sizeof(events.next));
	memset(events.next, 0, sizeof(events.next));
	return (ret_events[0].type != 0) + (ret_events[1].type != 0);
}

static int unmask(struct hv *hv, const uint32_t *ports, size_t n)
{
	must(n > 0);
	events.n_unmasked += (unsigned)n;
	return 0;
}

static int store_next(struct hv *hv, struct hv_record *ret_record)
{
	events.n_store++;
	return 0;
}

static void take_events(unsigned endless)
{
	memset(&events, 0, sizeof(events));
	events.endless = endless;
	ops.poll_events = poll_events;
	ops.evtchn_unmask = unmask;
	ops.store_next = store_next;
}

/* As many as come are taken, up to a bound: peers can send them as fast as they are taken. */
static void test_events_without_end(void **state)
{
	static const unsigned cases[][2] = {{0, 1}, {1, 2}, {7, 8}, {8, 8}, {1000, 8}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		take_events(cases[i][0]);
		drive(state);
		assert_int_equal(events.n_polls, cases[i][1]);
		assert_int_equal(events.n_unmasked, 64 * min_u32(cases[i][0], 8));
	}
}

/* An event makes the driver look at its own link, and at no other. */
static void test_event_of_a_link(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct hv_event found[] = {{.type = HV_EVENT_PORT, .port = PAIR_PORT_LINK},
		{.type = HV_EVENT_PORT, .port = 99},
		{.type = HV_EVENT_RING, .ring = (struct hv_ring *)(uintptr_t)PAIR_PORT_LINK},
		{.type = HV_EVENT_RING, .ring = (struct hv_ring *)(uintptr_t)99},
		{.type = HV_EVENT_STORE}};

	for (size_t i = 0; i < ARRAY_SIZE(found); i++) {
		assert_false(driver_arm(&a->ctx->driver));
		assert_true(a->link->armed);
		take_events(0);
		events.next[0] = found[i];
		a->ctx->control.watching = true;
		drive(state);
		assert_int_equal(a->link->armed, i != 0 && i != 2);
		assert_int_equal(events.n_unmasked, i < 2);
		assert_int_equal(events.n_store, i == 4);
	}
}

/* The control link's event: what msgd wrote is taken in, and the next event is asked for. */
static void test_event_of_msgd(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct control_message up = {.type = CONTROL_STATUS, .request = 4711};

	a->ctx->control.armed = true;
	take_events(0);
	/* Behind another one. */
	events.next[0] = (struct hv_event){.type = HV_EVENT_PORT, .port = PAIR_PORT_LINK};
	events.next[1] = (struct hv_event){.type = HV_EVENT_PORT, .port = PAIR_PORT_CONTROL};
	pair_write(a, &up);
	drive(state);
	assert_int_equal(events.n_unmasked, 2);
	assert_false(a->ctx->control.armed);
	assert_int_equal(atomic_load(&a->ctx->control.ring.me->consumed),
		atomic_load(&a->msgd.me->produced));
	assert_false(driver_arm(&a->ctx->driver));
	assert_true(a->ctx->control.armed);
}

static int cannot_arm(struct transport *transport, bool held)
{
	return -ENOENT;
}

/* An end that cannot be told of anything any more is lost, and msgd is told so. */
static void test_cannot_be_armed(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct transport_ops broken = transport_grant;
	struct control_message message;
	char byte;

	broken.arm = cannot_arm;
	a->link->transport->ops = &broken;
	link_set_armed(a->link, false);
	assert_true(driver_arm(&a->ctx->driver));
	assert_int_equal(a->link->state, LINK_ENDING);
	a->link->transport->ops = &transport_grant;
	driver_pass(&a->ctx->driver);
	while (pair_control(a, &message) && message.type != CONTROL_LINK_FAILED)
		;
	assert_int_equal(message.link_failed.error, ECONNRESET);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), -1);
	assert_string_equal(msg_reason(), "the other domain is gone, or this one's ring");
}

/* The emulator has ended: so have all links, and msgd. */
static void test_no_hypervisor_any_more(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	char byte;

	take_events(0);
	events.error = -EINTR; /* none of that */
	drive(state);
	assert_int_equal(a->link->state, LINK_UP);
	events.error = -ENODEV;
	assert_int_equal(msg_send(pair_side_of(state, B)->sock, "x", 1, 0), 1);
	drive(state);
	assert_null(a->ctx->links.by_end);
	assert_int_equal(a->ctx->control.state, CONTROL_BROKEN);
	assert_int_equal(a->ctx->control.error, ENODEV);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 1); /* it had arrived */
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	assert_string_equal(msg_reason(), "the hypervisor is gone");
}

/* The room of frames before a question to msgd is given back, though the rest has to wait. */
static void test_room_goes_back_before_the_answer(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	assert_int_equal(msg_send(pair_side_of(state, B)->sock, "x", 1, 0), 1);
	pair_inject_frame(
		*state, B, &(struct frame){.channel = 77, .type = FRAME_CREDIT, .arg = 1});
	driver_take(&a->ctx->driver, a->link, NULL);
	assert_int_equal(a->link->state, LINK_SYNCING);
	assert_int_equal(a->link->transport->unreleased, 0);
	link_end(a->link, LINK_LEFT, "the test is over");
}

/* msgd has told of the channel already: its frames are taken in, in the same turn. */
static void test_channel_that_msgd_has_told_of(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct control_message granted = {.type = CONTROL_CHANNEL,
		.channel = {.listener = 4711, /* which is closed */
			.end = PAIR_END,
			.channel = 100,
			.type = CHANNEL_SEQPACKET,
			.transport = TRANSPORT_GRANT,
			.name = "name"}};

	control_ring_send(&a->msgd, &granted);
	(void)control_ring_publish(&a->msgd);
	pair_inject_frame(
		*state, B, &(struct frame){.channel = 100, .type = FRAME_CREDIT, .arg = 1});
	driver_take(&a->ctx->driver, a->link, NULL);
	assert_int_equal(a->link->state, LINK_UP);
	assert_non_null(channel_find(&a->link->channels, 100));
	assert_false(a->link->transport->ops->pending(a->link->transport));
}

static int none_there(struct transport *transport)
{
	return 0;
}

static void nothing(struct transport *transport)
{
}

static bool is_alive(const struct transport *transport)
{
	return true;
}

static unsigned n_unlooked(struct pair_side *side)
{
	unsigned n = 0;

	for (struct link *link = side->ctx->links.by_end; link; link = link->hh.next)
		n += link->look;
	return n;
}

/* A round is so much work; links that had no turn in it come first in the next one. */
static void test_links_by_the_round(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct transport_ops idle = transport_grant;

	idle.peek = none_there;
	idle.not_armed = nothing;
	idle.peer_alive = is_alive;
	for (uint32_t i = 0; i < 1100; i++) {
		struct transport *transport = transport_new(&idle, &a->hv, 7, 0, HV_PAGE_SIZE);

		transport->event = 1000 + i;
		assert_non_null(link_new(&a->ctx->links, transport, 1000 + i, 0, 0, LINK_UP));
	}
	for (struct link *link = a->ctx->links.by_end; link; link = link->hh.next)
		link->look = true;
	drive(state);
	assert_int_equal(n_unlooked(a), 1101 - LINK_ROUND / TURN_COST_DATA);
	drive(state);
	/* The others' turn is over, too: the rest of them is marked instead. */
	assert_int_equal(n_unlooked(a), 1101 - LINK_ROUND / TURN_COST_DATA);
	assert_false(link_find(&a->ctx->links, 1000 + 1099)->look);
	driver_end_links(&a->ctx->driver, "the test is over");
	driver_pass(&a->ctx->driver);
}

/* Frames for channels that msgd's death left unsaid are skipped, but not for ever. */
static void test_too_many_are_skipped(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct frame frame = {.channel = 77, .type = FRAME_CREDIT, .arg = 1};
	struct control_message message;
	char byte;

	a->ctx->control.epoch = a->link->epoch + 1;
	a->link->n_skipped = LINK_SKIPS_MAX - 1;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(a->link->state, LINK_UP);
		pair_inject_frame(*state, B, &frame);
		pair_take(a);
		assert_int_equal(a->link->state, LINK_SYNCING);
		link_synced(a->link);
		pair_take(a);
	}
	assert_null(link_find(&a->ctx->links, PAIR_END));
	while (pair_control(a, &message) && message.type != CONTROL_LINK_FAILED)
		;
	assert_int_equal(message.type, CONTROL_LINK_FAILED);
	assert_int_equal(message.link_failed.error, EPROTO);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), -1);
	assert_string_equal(msg_reason(), "too many frames for channels that are not known");
}

/* ---- whether to spin -------------------------------------------------------------------- */

static int own_cpu;

static int cpu_of(struct hv *hv)
{
	return own_cpu;
}

static uint16_t domid_of(struct hv *hv)
{
	return 5;
}

/* On a CPU that the peer may need, nobody spins. */
static void test_spins_beside_the_peer(void **state)
{
	static const struct {
		int n_cpus, cpu;
		uint32_t peer_cpu; /* + 1; 0: not known */
		uint16_t peer_domid;
		bool may;
	} cases[] = {
		/* Physical CPUs are known: it must be another one than the peer's. */
		{2, 3, 4, 7, false},
		{2, 3, 3, 7, true},
		{2, 3, 5, 7, true},
		{2, 3, 0, 7, true},
		{2, 0, 1, 7, false},
		{2, 0, 0, 7, true},
		{1, 3, 5, 7, false},
		{1, 0, 5, 7, false},
		/* They are not: a peer in this domain may need its only CPU. */
		{2, -1, 0, 5, true},
		{2, -1, 0, 7, true},
		{1, -1, 0, 5, false},
		{1, -1, 0, 7, true},
	};
	struct pair_side *a = pair_side_of(state, A);
	struct focus focus = {.link = a->link};

	ops.cpu = cpu_of;
	ops.domid = domid_of;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		own_cpu = cases[i].cpu;
		a->ctx->driver.n_cpus = cases[i].n_cpus;
		a->link->transport->peer_domid = cases[i].peer_domid;
		atomic_store(&a->pair->page->end[A].cpu, 99);
		atomic_store(&a->pair->page->end[B].cpu, cases[i].peer_cpu);
		assert_int_equal(driver_may_spin(&a->ctx->driver, &focus), cases[i].may);
		/* The peer is told this one's CPU. */
		assert_int_equal(atomic_load(&a->pair->page->end[A].cpu), cases[i].cpu + 1);
	}
	a->link->transport->peer_domid = 0;
}

/* A spin lasts as long as recent sleeps did, on average, and has a bound. */
static void test_spins_as_long_as_sleeps(void **state)
{
	struct driver *driver = driver_of(state);

	driver->spin_ns = 0;
	driver_slept(driver, 80000);
	assert_int_equal(driver->spin_ns, 10000);
	driver_slept(driver, 500000);
	assert_int_equal(driver->spin_ns, (7 * 10000 + 500000) / 8);
	driver->spin_ns = 0;
	driver_slept(driver, UINT64_MAX);
	assert_int_equal(driver->spin_ns, 500000 / 8);
}

/* Each look at the clock moves it by step ns. The time that the spin took, by that clock. */
static uint64_t spin_for(void **state, const struct focus *focus, uint64_t deadline_ns)
{
	struct pair_side *a = pair_side_of(state, A);

	a->clock_ns = 1000000;
	a->clock_step_ns = 100;
	assert_false(driver_spin(&a->ctx->driver, focus, a->clock_ns, deadline_ns));
	assert_false(a->ctx->driver.spinning);
	a->clock_step_ns = 0;
	return a->clock_ns - 1000000;
}

static void test_length_of_a_spin(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;
	struct focus focus = {.link = a->link};

	driver->spin_us = 3;
	assert_int_equal(spin_for(state, &focus, DEADLINE_NEVER), 3000);
	assert_int_equal(spin_for(state, &focus, 1002000), 2000);
	driver->spin_us = -1;
	driver->spin_ns = 5000;
	driver->spin_score = 0;
	assert_int_equal(spin_for(state, &focus, DEADLINE_NEVER), 5000);
	assert_int_equal(driver->spin_score, -1);
	assert_int_equal(spin_for(state, &focus, DEADLINE_NEVER), 0);
	driver->spin_score = 0;
	driver->spin_ns = 0; /* no sleep so far */
	assert_int_equal(spin_for(state, &focus, DEADLINE_NEVER), 0);
	assert_int_equal(driver->spin_score, 0);
}

/* How long it leaves the CPU to others, once a look at the clock came so late, at that time. */
static uint64_t pause_after(void **state, uint64_t now_ns, uint64_t late_ns)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;
	struct focus focus = {.link = a->link};

	a->clock_ns = now_ns;
	a->clock_step_ns = late_ns;
	driver->spin_score = 0;
	driver->spin_ns = 5000;
	assert_false(driver_spin(driver, &focus, now_ns, DEADLINE_NEVER));
	a->clock_step_ns = 0;
	return driver->spin_from_ns > a->clock_ns ? driver->spin_from_ns - a->clock_ns : 0;
}

/* A thread that did not run while it spun does not spin for a while, longer and longer. */
static void test_spins_on_no_crowded_cpu(void **state)
{
	struct driver *driver = driver_of(state);
	uint64_t now_ns = 1000000000, pause_ns = 100000000;

	driver->spin_us = -1;
	assert_int_equal(pause_after(state, now_ns, 99999), 0);
	assert_int_equal(pause_after(state, now_ns, 100000), pause_ns);
	/* Meanwhile the clock is not looked at, nor does the score fall. */
	assert_int_equal(pause_after(state, now_ns + pause_ns / 2, 100000), pause_ns / 2 + 100000);
	assert_int_equal(driver->spin_score, 0);
	for (int i = 0; i < 8; i++) {
		now_ns = driver->spin_from_ns + pause_ns / 2;
		pause_ns = min_u64(2 * pause_ns, 800000000);
		assert_int_equal(pause_after(state, now_ns, 1000000), pause_ns);
	}
	/* It is forgotten after as much time again. */
	now_ns = driver->spin_from_ns + pause_ns;
	assert_int_equal(pause_after(state, now_ns, 1000000), 100000000);
	/* An application that asks for spins gets them. */
	driver->spin_us = 3;
	assert_int_equal(spin_for(state, &(struct focus){.link = pair_side_of(state, A)->link},
				 DEADLINE_NEVER),
		3000);
}

/* Spins that pay off count up to a bound. */
static void test_score(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;
	struct focus focus = {.link = a->link};

	driver->spin_us = 1000;
	driver->spin_score = 0;
	assert_int_equal(msg_send(pair_side_of(state, B)->sock, "x", 1, 0), 1);
	for (int i = 1; i <= 20; i++) {
		assert_true(driver_spin(driver, &focus, 0, DEADLINE_NEVER));
		assert_int_equal(driver->spin_score, i < 8 ? i : 8);
	}
}

static unsigned n_clock_reads;
static struct pair_side *speaker;
static struct pair *pair_of_driver;

/* The frame comes while this thread does not run: the clock is past the spin's end by then. */
static uint64_t speak_late(struct hv *hv)
{
	struct driver *driver = &pair_of_driver->sides[A].ctx->driver;

	must(!has_lock(driver)); /* other threads may have it meanwhile */
	must(pthread_mutex_unlock(&driver->lock) == 0 && driver->spinning);
	if (n_clock_reads++ == 0) {
		must(msg_send(speaker->sock, "x", 1, 0) == 1);
		return 0;
	}
	return 1000; /* the spin's end, sharp */
}

/* A frame that came later than the spin may last was not found by spinning. */
static void test_found_too_late(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;
	struct focus focus = {.link = a->link};

	speaker = pair_side_of(state, B);
	pair_of_driver = *state;
	n_clock_reads = 0;
	ops.now_ns = speak_late;
	driver->one_thread = false;
	driver_lock(driver);
	driver->spin_us = 1;
	driver->spin_score = 0;
	assert_false(driver_spin(driver, &focus, 0, DEADLINE_NEVER));
	assert_int_equal(n_clock_reads, 2);
	assert_int_equal(driver->spin_score, -1);
	/* It counts if it is there at the first look, whatever time that took. */
	assert_true(driver_spin(driver, &focus, 0, DEADLINE_NEVER));
	assert_int_equal(n_clock_reads, 2);
	assert_int_equal(driver->spin_score, 0);
	assert_true(has_lock(driver));
	assert_false(driver->spinning);
	driver_unlock(driver);
}

static bool ends_link, marks;

/* Another thread's work, while this one spins without the lock. */
static uint64_t end_meanwhile(struct hv *hv)
{
	struct msg_ctx *ctx = pair_of_driver->sides[A].ctx;
	struct link *other = link_find(&ctx->links, 50);

	if (other && ends_link) {
		link_end(other, LINK_LEFT, "test");
		driver_pass(&ctx->driver);
		must(!TAILQ_EMPTY(&ctx->links.grave) && !ctx->pool.marked);
	}
	ctx->pool.marked |= marks;
	return UINT64_C(1) << 40;
}

/* Memory that was kept for the thread that spins is freed by the pass after it. */
static void test_spin_leaves_graves(void **state)
{
	for (int i = 0; i < 4; i++) {
		struct pair_side *a = pair_side_of(state, A);
		struct driver *driver = &a->ctx->driver;
		struct focus focus = {.link = a->link};
		struct transport *transport =
			transport_new(&transport_grant, &a->hv, 7, 0, HV_PAGE_SIZE);

		transport->event = 9;
		assert_non_null(link_new(&a->ctx->links, transport, 50, 0, 0, LINK_UP));
		driver_pass(driver);
		pair_of_driver = *state;
		ends_link = i & 1;
		marks = i & 2;
		ops.now_ns = end_meanwhile;
		driver->spin_us = 1;
		a->ctx->pool.marked = false;
		assert_false(driver_spin(driver, &focus, 0, DEADLINE_NEVER));
		assert_int_equal(a->ctx->pool.marked, ends_link || marks);
		driver_unlock(driver);
		assert_true(TAILQ_EMPTY(&a->ctx->links.grave));
		driver_end_links(driver, "the test is over");
		driver_pass(driver);
		must(pair_teardown(state) == 0 && setup(state) == 0);
	}
}

static const _Atomic uint32_t *no_word(struct transport *transport, uint32_t *ret_seen)
{
	return NULL;
}

/* Room is spun for where memory tells of it; it may be there by then. */
static void test_spins_for_room(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;
	struct transport_ops without = transport_grant;
	struct focus focus = {.link = a->link, .want = 64};
	struct transport *in = pair_side_of(state, B)->link->transport;

	driver->spin_us = 3;
	driver->spin_score = 0;
	assert_true(driver_spin(driver, &focus, 0, DEADLINE_NEVER));
	assert_int_equal(driver->spin_score, 0); /* it did not spin */
	while (transport_put_bare(a->link->transport, PAIR_CHANNEL, FRAME_LIMIT, 1) == 0)
		;
	assert_int_equal(spin_for(state, &focus, DEADLINE_NEVER), 3000);
	assert_int_equal(driver->spin_score, -1);
	while (in->ops->peek(in) > 0)
		in->ops->next(in);
	transport_give_back(in, true);
	focus.want = (uint32_t)a->link->transport->ops->room(a->link->transport, UINT32_MAX);
	assert_true(driver_spin(driver, &focus, 0, DEADLINE_NEVER));
	focus.want++;
	assert_int_equal(spin_for(state, &focus, DEADLINE_NEVER), 3000);
	without.watch_room = no_word;
	a->link->transport->ops = &without;
	assert_int_equal(spin_for(state, &focus, DEADLINE_NEVER), 0);
	a->link->transport->ops = &transport_grant;
}

static void must_not_sleep(struct pair_side *side)
{
	fail_msg("it sleeps in poll");
}

/* ---- waiting ---------------------------------------------------------------------------- */

struct waiting {
	unsigned n_looks, over_at;
	struct focus focus;
	struct driver *locked; /* its lock is this thread's at each look */
};

static bool is_over(void *arg, struct focus *ret_focus)
{
	struct waiting *waiting = arg;

	must(++waiting->n_looks < 1000);
	must(!waiting->locked || (has_lock(waiting->locked) && !waiting->locked->asleep));
	*ret_focus = waiting->focus;
	return waiting->n_looks >= waiting->over_at;
}

/* A wait that may not block looks again after it has done what waits. */
static void test_wait_now(void **state)
{
	struct driver *driver = driver_of(state);

	for (unsigned over_at = 1; over_at <= 3; over_at++) {
		struct waiting waiting = {.over_at = over_at};

		take_events(0);
		assert_int_equal(driver_wait(driver, is_over, &waiting, DEADLINE_NOW),
			over_at <= 2 ? 0 : -ETIMEDOUT);
		assert_int_equal(waiting.n_looks, min_u32(over_at, 2));
		assert_int_equal(events.n_polls, over_at > 1);
	}
}

static uint64_t clock_ns, clock_step_ns;

static uint64_t clock_now(struct hv *hv)
{
	return clock_ns;
}

static void move_clock(struct pair_side *side)
{
	clock_ns += clock_step_ns;
}

/* The limit is over when it is reached, however often the thread wakes before. */
static void test_wait_until(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;
	eventfd_t count;

	/* The descriptor tells of something, so that no sleep lasts. */
	assert_int_equal(eventfd_write(a->event_fd, 1), 0);
	take_events(0);
	ops.now_ns = clock_now;
	a->on_sleep = move_clock;
	driver->one_thread = false;
	driver_lock(driver);
	for (unsigned n = 1; n <= 4; n++) {
		struct waiting waiting = {.over_at = UINT32_MAX, .locked = driver};
		uint64_t deadline_ns = UINT64_C(1700000000);

		a->n_sleeps = 0;
		clock_ns = 0;
		clock_step_ns = deadline_ns / n;
		assert_int_equal(driver_wait(driver, is_over, &waiting, deadline_ns), -ETIMEDOUT);
		assert_int_equal(a->n_sleeps, n + (deadline_ns % n != 0));
		/* It is over in time's last moment: that counts. */
		waiting = (struct waiting){.over_at = n + 2 + (deadline_ns % n != 0)};
		clock_ns = 0;
		assert_int_equal(driver_wait(driver, is_over, &waiting, deadline_ns), 0);
	}
	driver_unlock(driver);
	a->on_sleep = NULL;
	assert_int_equal(eventfd_read(a->event_fd, &count), 0);
}

/* Room that is there when the event for it is asked for: no sleep, whoever drives. */
static void test_wait_for_room_that_is_there(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;

	driver->spin_us = 0;
	for (int driving = 0; driving < 2; driving++) {
		struct waiting waiting = {.over_at = 6, .focus = {.link = a->link, .want = 1}};

		doorbell_disarm(&a->pair->page->end[A].want_space);
		driver->driving = driving;
		assert_int_equal(driver_wait(driver, is_over, &waiting, DEADLINE_NEVER), 0);
		assert_int_equal(atomic_load(&a->pair->page->end[A].want_space), 1);
		assert_int_equal(a->n_sleeps, 0);
	}
	driver->driving = false;
}

static struct {
	bool limited;
	struct timespec timeout; /* of the last call, if limited */
} sleeping;

/* In the place of the C library's. */
int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct timespec left = timeout ? *timeout : (struct timespec){0};

	sleeping.limited = timeout;
	sleeping.timeout = left;
	return (int)syscall(SYS_ppoll, fds, n, timeout ? &left : NULL, mask, _NSIG / 8);
}

static void assert_sleeps(void **state, uint64_t deadline_ns, long sec, long nsec)
{
	struct waiting waiting = {.over_at = 3};
	struct pair_side *a = pair_side_of(state, A);

	clock_ns = 1000;
	a->n_sleeps = 0;
	(void)driver_wait(&a->ctx->driver, is_over, &waiting, deadline_ns);
	assert_int_equal(a->n_sleeps, 1);
	assert_int_equal(sleeping.limited, sec >= 0);
	assert_int_equal(sleeping.timeout.tv_sec, sec < 0 ? 0 : sec);
	assert_int_equal(sleeping.timeout.tv_nsec, nsec);
}

/* A thread sleeps until its time is over, or until a refused link is to be tried again. */
static void test_sleeps_so_long(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	eventfd_t count;

	assert_int_equal(eventfd_write(a->event_fd, 1), 0); /* it wakes at once */
	take_events(0);
	ops.now_ns = clock_now;
	a->ctx->driver.spin_us = 0;
	assert_sleeps(state, DEADLINE_NEVER, -1, 0);
	a->link->transport->retry_ns = UINT64_C(500250001000);
	link_check(a->link, -EAGAIN);
	assert_sleeps(state, DEADLINE_NEVER, 500, 250000000);
	assert_sleeps(state, UINT64_C(301700001000), 301, 700000000);
	assert_int_equal(eventfd_read(a->event_fd, &count), 0);
}

/* A spin may take as long as sleeps took. */
static void test_sleep_is_measured(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;
	struct waiting waiting = {.over_at = 4, .focus.link = a->link};
	eventfd_t count;

	assert_int_equal(eventfd_write(a->event_fd, 1), 0); /* it wakes at once */
	take_events(0);
	ops.now_ns = clock_now;
	clock_ns = 1000000000;
	clock_step_ns = 4000;
	a->on_sleep = move_clock;
	driver->n_cpus = 2;
	driver->spin_us = -1;
	driver->spin_ns = 0;
	driver->spin_score = -5; /* it does not spin first */
	a->n_sleeps = 0;
	assert_int_equal(driver_wait(driver, is_over, &waiting, DEADLINE_NEVER), 0);
	assert_int_equal(a->n_sleeps, 1);
	assert_int_equal(driver->spin_ns, 4000 / 8);
	assert_int_equal(driver->looked_ns, 1000000000);
	a->on_sleep = NULL;
	assert_int_equal(eventfd_read(a->event_fd, &count), 0);
}

/* A thread that waits for the driver has its time limit, and is not interrupted by that. */
static void test_limit_while_another_drives(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	char byte;

	a->ctx->driver.driving = true;
	a->on_sleep = must_not_sleep;
	a->sock->nonblock = false;
	a->sock->rcvtimeo_ms = 5;
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_string_equal(msg_reason(), "no message");
	assert_int_equal(a->ctx->driver.n_waiting, 0);
	a->ctx->driver.driving = false;
	a->on_sleep = NULL;
	a->sock->nonblock = true;
}

static unsigned n_watched;

/* The peer writes just when this thread begins to spin. */
static const _Atomic uint32_t *speak_meanwhile(struct transport *transport, uint32_t *ret_seen)
{
	const _Atomic uint32_t *word = transport_grant.watch(transport, ret_seen);

	n_watched++;
	pair_inject_frame(speaker->pair, B,
		&(struct frame){.channel = PAIR_CHANNEL, .type = FRAME_CREDIT, .arg = 1});
	return word;
}

/* A thread that finds what it spins for looks at all events once in a millisecond. */
static void test_looks_at_all_now_and_then(void **state)
{
	static const uint64_t since_ns[] = {0, 999999, 1000000, 5000000};
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;
	struct transport_ops watched = transport_grant;

	watched.watch = speak_meanwhile;
	a->link->transport->ops = &watched;
	speaker = a;
	ops.now_ns = clock_now;
	driver->spin_us = 1000;
	driver->n_cpus = 2;
	clock_ns = 9000000;
	for (size_t i = 0; i < ARRAY_SIZE(since_ns); i++) {
		struct waiting waiting = {.over_at = 6, .focus.link = a->link};
		uint32_t credit = a->channel->tx_credit;
		bool all = since_ns[i] >= 1000000;

		n_watched = 0;
		driver->looked_ns = clock_ns - since_ns[i];
		take_events(0);
		assert_int_equal(driver_wait(driver, is_over, &waiting, DEADLINE_NEVER), 0);
		assert_int_equal(n_watched, 2);
		assert_int_equal(a->n_sleeps, 0);
		assert_int_equal(events.n_polls, all);
		assert_int_equal(driver->looked_ns, clock_ns - (all ? 0 : since_ns[i]));
		assert_int_equal(a->channel->tx_credit, credit + 2);
	}
	a->link->transport->ops = &transport_grant;
}

/* ---- the descriptor for event loops ----------------------------------------------------- */

static uint64_t timer_left_ns(const struct driver *driver)
{
	struct itimerspec spec;

	assert_int_equal(timerfd_gettime(driver->loops[LOOP_OWN].timer_fd, &spec), 0);
	assert_int_equal(spec.it_interval.tv_sec | spec.it_interval.tv_nsec, 0);
	return (uint64_t)spec.it_value.tv_sec * 1000000000U + (uint64_t)spec.it_value.tv_nsec;
}

static void retry_at(void **state, uint64_t when_ns)
{
	struct pair_side *a = pair_side_of(state, A);

	a->link->transport->retry_ns = when_ns;
	link_check(a->link, -EAGAIN);
	driver_unlock(&a->ctx->driver);
}

/* A refused link's time is the timer's. The machine may be slow: hours are looked at. */
static void test_timer(void **state)
{
	const uint64_t hours_ns = UINT64_C(10001700000000);
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;
	struct pollfd fd = {.fd = msg_ctx_fd(a->ctx), .events = POLLIN};
	struct msg_event event;

	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	assert_int_equal(timer_left_ns(driver), 0);
	retry_at(state, ops.now_ns(&a->hv) + hours_ns);
	assert_in_range(timer_left_ns(driver), hours_ns - 1000000000000, hours_ns);
	/* It is tried again: nothing more to wait for. */
	a->link->transport->retry_ns = 1;
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
	assert_int_equal(timer_left_ns(driver), 0);
	assert_int_equal(poll(&fd, 1, 0), 0);
	/* Long ago: it strikes at once. */
	retry_at(state, 1);
	assert_int_equal(poll(&fd, 1, 60000), 1);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
	assert_int_equal(poll(&fd, 1, 0), 0);
}

static unsigned n_settings;

static uint64_t count_reads(struct hv *hv)
{
	n_settings++;
	return 1000;
}

/* It is set where the time has changed, and only there. */
static void test_timer_is_set_once(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	(void)msg_ctx_fd(a->ctx);
	ops.now_ns = count_reads;
	retry_at(state, UINT64_C(1) << 50);
	assert_int_equal(n_settings, 1);
	driver_update_fds(&a->ctx->driver);
	assert_int_equal(n_settings, 1);
	a->link->transport->retry_ns = UINT64_C(1) << 51;
	driver_update_fds(&a->ctx->driver);
	assert_int_equal(n_settings, 2);
}

/* An application may have closed its standard input: 0 is a descriptor as any other. */
static void test_descriptor_0(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct pollfd fd = {.fd = 0, .events = POLLIN};
	int kept = dup(0);
	struct msg_event event;
	char byte;

	assert_true(kept > 0);
	(void)close(0);
	sock_changed(a->sock);
	driver_pass(&a->ctx->driver);
	link_set_armed(a->link, false);
	a->ctx->pool.marked = false;
	assert_int_equal(msg_ctx_fd(a->ctx), 0);
	/* From now on events are asked for, and the descriptor tells of what is there. */
	assert_true(a->link->armed);
	assert_int_equal(poll(&fd, 1, 0), 1);
	assert_int_equal(msg_ctx_fd(a->ctx), 0);
	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	assert_true(a->link->armed); /* a call without an event loop does not ask for events */
	assert_int_equal(poll(&fd, 1, 0), 0);
	assert_int_equal(msg_send(b->sock, "xx", 2, 0), 2);
	assert_int_equal(poll(&fd, 1, 0), 1);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 1);
	assert_int_equal(poll(&fd, 1, 0), 1);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 1);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
	assert_int_equal(poll(&fd, 1, 0), 0);
	driver_lock(&a->ctx->driver);
	sock_changed(a->sock);
	driver_unlock(&a->ctx->driver);
	assert_int_equal(poll(&fd, 1, 0), 1);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
	/* A call that blocks asks for events again, when it is done. */
	assert_int_equal(msg_send(b->sock, "x", 1, 0), 1);
	a->sock->nonblock = false;
	assert_int_equal(msg_recv(a->sock, &byte, 1, MSG_PEEK), 1);
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 1);
	a->sock->rcvtimeo_ms = 1;
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), -1);
	assert_true(a->link->armed);
	driver_fini(&a->ctx->driver);
	assert_int_equal(close(0), -1);
	a->ctx->driver.loops[LOOP_OWN].epoll_fd = a->ctx->driver.kick_fd = -1;
	assert_int_equal(dup2(kept, 0), 0);
	(void)close(kept);
}

static int never_arms(struct transport *transport, bool held)
{
	return 1;
}

/* A link that cannot be armed, for there is more in it: the next call of the loop goes on. */
static void test_looks_in_rounds(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;
	struct transport_ops busy = transport_grant;
	struct pollfd fd = {.events = POLLIN};
	struct msg_event event;
	char byte;

	busy.arm = never_arms;
	a->link->transport->ops = &busy;
	take_events(0);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
	assert_int_equal(events.n_polls, 1); /* no event loop: nothing is to be armed */
	assert_false(driver->unfinished);
	fd.fd = msg_ctx_fd(a->ctx);
	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	take_events(0);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
	assert_int_equal(events.n_polls, 4);
	assert_true(driver->unfinished);
	assert_int_equal(poll(&fd, 1, 0), 1);
	a->link->transport->ops = &transport_grant;
	take_events(0);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
	assert_int_equal(events.n_polls, 1);
	assert_false(driver->unfinished);
	assert_int_equal(poll(&fd, 1, 0), 0);
	/* Any other call that finds nothing tells the loop, too. */
	a->link->transport->ops = &busy;
	link_set_armed(a->link, false);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(msg_recv(a->sock, &byte, 1, MSG_DONTWAIT), -1);
		assert_int_equal(poll(&fd, 1, 0), 1);
	}
	a->link->transport->ops = &transport_grant;
}

/* No program that the application executes has them, and no read of them may block. */
static void test_descriptors_flags(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;

	int was[4];

	assert_true(msg_ctx_fd(a->ctx) >= 0);
	for (int i = 0; i < 4; i++) {
		const int fds[] = {driver->kick_fd, driver->loops[LOOP_OWN].ready_fd,
			driver->loops[LOOP_OWN].epoll_fd, driver->loops[LOOP_OWN].timer_fd};

		was[i] = fds[i];
		assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
		assert_true(i >= 2 || fcntl(fds[i], F_GETFL) & O_NONBLOCK);
	}
	driver_fini(driver);
	for (int i = 0; i < 4; i++) {
		int *fds[] = {&driver->kick_fd, &driver->loops[LOOP_OWN].ready_fd,
			&driver->loops[LOOP_OWN].epoll_fd, &driver->loops[LOOP_OWN].timer_fd};

		assert_int_equal(fcntl(was[i], F_GETFD), -1);
		*fds[i] = -1; /* so that nobody closes it again */
	}
}

/* Without descriptors there is none, nothing is left, and it may be asked for again. */
static void test_no_descriptor(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;
	struct rlimit limit, few;
	int next = dup(0);

	assert_true(next >= 0);
	(void)close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	few = limit;
	for (rlim_t n = 0; n < 3; n++) {
		few.rlim_cur = (rlim_t)next + n;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		errno = 0;
		assert_int_equal(msg_ctx_fd(a->ctx), -1);
		assert_int_equal(errno, EMFILE);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
		assert_string_equal(
			msg_reason(), "no descriptor for event loops: Too many open files");
		assert_int_equal(driver->loops[LOOP_OWN].epoll_fd &
					 driver->loops[LOOP_OWN].ready_fd &
					 driver->loops[LOOP_OWN].timer_fd,
			-1);
	}
	assert_true(msg_ctx_fd(a->ctx) >= 0);
}

static int no_fd(struct hv *hv)
{
	return -1;
}

/* A hypervisor whose descriptor cannot be waited for. */
static void test_no_descriptor_of_the_hypervisor(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;

	ops.fd = no_fd;
	assert_int_equal(msg_ctx_fd(a->ctx), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(driver->loops[LOOP_OWN].epoll_fd & driver->loops[LOOP_OWN].ready_fd &
				 driver->loops[LOOP_OWN].timer_fd,
		-1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pair_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_events_without_end),
		TEST(test_event_of_a_link),
		TEST(test_event_of_msgd),
		TEST(test_cannot_be_armed),
		TEST(test_no_hypervisor_any_more),
		TEST(test_spins_beside_the_peer),
		TEST(test_spins_as_long_as_sleeps),
		TEST(test_length_of_a_spin),
		TEST(test_spins_on_no_crowded_cpu),
		TEST(test_score),
		TEST(test_found_too_late),
		TEST(test_spin_leaves_graves),
		TEST(test_spins_for_room),
		TEST(test_wait_now),
		TEST(test_wait_until),
		TEST(test_wait_for_room_that_is_there),
		TEST(test_sleeps_so_long),
		TEST(test_sleep_is_measured),
		TEST(test_limit_while_another_drives),
		TEST(test_looks_at_all_now_and_then),
		TEST(test_descriptor_0),
		TEST(test_room_goes_back_before_the_answer),
		TEST(test_channel_that_msgd_has_told_of),
		TEST(test_links_by_the_round),
		TEST(test_too_many_are_skipped),
		TEST(test_looks_in_rounds),
		TEST(test_descriptors_flags),
		TEST(test_timer),
		TEST(test_timer_is_set_once),
		TEST(test_no_descriptor),
		TEST(test_no_descriptor_of_the_hypervisor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
