/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads that wait on one context: one drives and wakes the others, and another one drives when it
 * leaves. Time limits, signals and calls that must not block.
 */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

#define A     0	 /* waits */
#define B     1	 /* is driven by hand */
#define OTHER 4U /* a second channel */

static int setup(void **state)
{
	struct pair *pair = pair_new(4);
	struct driver *driver = &pair->sides[A].ctx->driver;

	pair_events(pair);
	pair->sides[A].sock->nonblock = false;
	driver->one_thread = false;
	driver->spin_us = 0;
	*state = pair;
	pair_take(&pair->sides[B]);
	pair_take(&pair->sides[A]);
	return 0;
}

static void say(struct pair_side *side, uint32_t number)
{
	struct channel *channel = channel_find(&side->link->channels, number);

	must(channel && msg_send(channel->sock, "x", 1, 0) == 1);
}

/* ---- threads ---------------------------------------------------------------------------- */

struct waiter {
	pthread_t thread;
	struct msg_sock *sock;
	ssize_t (*call)(struct msg_sock *sock);
	ssize_t result;
	int error;
	_Atomic bool done;
};

static void *waiter_run(void *arg)
{
	struct waiter *waiter = arg;

	waiter->result = waiter->call(waiter->sock);
	waiter->error = errno;
	atomic_store(&waiter->done, true);
	return NULL;
}

static void waiter_start(
	struct waiter *waiter, struct msg_sock *sock, ssize_t (*call)(struct msg_sock *sock))
{
	*waiter = (struct waiter){.sock = sock, .call = call};
	must(pthread_create(&waiter->thread, NULL, waiter_run, waiter) == 0);
}

static ssize_t waiter_join(struct waiter *waiter)
{
	must(pthread_join(waiter->thread, NULL) == 0);
	return waiter->result;
}

/* Until a thread sleeps in poll (or none), and so many others sleep for it. */
static void await_sleepers(struct msg_ctx *ctx, bool asleep, unsigned n_waiting)
{
	struct driver *driver = &ctx->driver;
	bool there;

	do {
		(void)sched_yield();
		driver_lock(driver);
		there = driver->asleep == asleep && driver->n_waiting == n_waiting;
		driver_unlock(driver);
	} while (!there);
}

static ssize_t receive(struct msg_sock *sock)
{
	char bytes[16];

	return msg_recv(sock, bytes, sizeof(bytes), 0);
}

static char long_message[60000];

static ssize_t send_long(struct msg_sock *sock)
{
	return msg_send(sock, long_message, sizeof(long_message), 0);
}

static ssize_t close_it(struct msg_sock *sock)
{
	return msg_close(sock);
}

/* The channels of two threads, of which the first drives and the second waits for it. */
static void two_waiters(void **state, struct waiter waiters[2])
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct msg_sock *other = pair_channel(a, OTHER, true);

	(void)pair_channel(b, OTHER, false);
	driver_pass(&a->ctx->driver);
	pair_take(b);
	other->nonblock = false;
	waiter_start(&waiters[0], a->sock, receive);
	await_sleepers(a->ctx, true, 0);
	waiter_start(&waiters[1], other, receive);
	await_sleepers(a->ctx, true, 1);
}

static void test_driver_wakes_waiter(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct waiter waiters[2];

	two_waiters(state, waiters);
	say(b, OTHER);
	assert_int_equal(waiter_join(&waiters[1]), 1);
	await_sleepers(a->ctx, true, 0);
	assert_false(atomic_load(&waiters[0].done));
	say(b, PAIR_CHANNEL);
	assert_int_equal(waiter_join(&waiters[0]), 1);
	assert_false(a->ctx->driver.driving);
}

static void test_waiter_drives_after_driver(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct waiter waiters[2];

	two_waiters(state, waiters);
	say(b, PAIR_CHANNEL);
	assert_int_equal(waiter_join(&waiters[0]), 1);
	await_sleepers(a->ctx, true, 0); /* the other one sleeps in poll now */
	assert_false(atomic_load(&waiters[1].done));
	say(b, OTHER);
	assert_int_equal(waiter_join(&waiters[1]), 1);
}

/* A link that ends is told to both, each by its own channel. */
static void test_end_wakes_both(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct waiter waiters[2];

	two_waiters(state, waiters);
	driver_lock(&a->ctx->driver);
	link_end(a->link, LINK_LEFT, "test");
	driver_unlock(&a->ctx->driver);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(waiter_join(&waiters[i]), -1);
		assert_int_equal(waiters[i].error, ECONNRESET);
	}
}

static ssize_t accept_one(struct msg_sock *listener)
{
	return msg_accept(listener, 0) ? 0 : -1;
}

static struct msg_sock *listener_new(struct pair_side *side)
{
	struct msg_sock *listener =
		sock_new(&side->ctx->socks, SOCK_LISTENER, SOCK_OPEN, CHANNEL_SEQPACKET);

	assert_int_equal(sock_set_name(listener, "name", 1), 0);
	return listener;
}

/* A channel that is closed has no socket to be told: its thread wakes for the mark on the link. */
static void test_end_wakes_close(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct waiter driving, closing;
	struct msg_sock *listener = listener_new(a);

	/* No room for CLOSE: it lingers. */
	while (transport_put_bare(a->link->transport, PAIR_CHANNEL, FRAME_LIMIT, 1) == 0)
		;
	a->sock->linger_ms = 3600 * 1000;
	waiter_start(&driving, listener, accept_one);
	await_sleepers(a->ctx, true, 0);
	waiter_start(&closing, a->sock, close_it);
	await_sleepers(a->ctx, true, 1);
	driver_lock(&a->ctx->driver);
	link_end(a->link, LINK_LEFT, "test");
	driver_unlock(&a->ctx->driver);
	assert_int_equal(waiter_join(&closing), 0);
	driver_lock(&a->ctx->driver);
	sock_fail(listener, EACCES, "the test is over");
	driver_unlock(&a->ctx->driver);
	assert_int_equal(waiter_join(&driving), -1);
	assert_int_equal(driving.error, EACCES);
}

/* The sleeping driver wakes and looks again when another thread has changed something. */
static void test_change_by_another_thread_wakes_driver(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct waiter waiter;

	waiter_start(&waiter, a->sock, receive);
	await_sleepers(a->ctx, true, 0);
	assert_int_equal(msg_shutdown(a->sock, SHUT_RD), 0);
	assert_int_equal(waiter_join(&waiter), 0);
}

/* A thread that spins does not have the lock, and sees that another one has taken in its frame. */
static void test_spinner_sees_what_another_took(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct driver *driver = &a->ctx->driver;
	struct waiter waiter;
	bool spinning = false;

	driver->spin_us = 1000000000;
	driver->n_cpus = 2;
	waiter_start(&waiter, a->sock, receive);
	while (!spinning) {
		driver_lock(driver);
		spinning = driver->spinning;
		driver_unlock(driver);
	}
	say(b, PAIR_CHANNEL);
	assert_int_equal(waiter_join(&waiter), 1);
	assert_false(driver->spinning);
	assert_true(driver->spin_score > 0);
}

/* A change that is no frame comes while a thread spins: the thread must not fall asleep over it. */
static void test_spinner_sees_a_change(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;
	struct waiter waiter;
	bool spinning = false;

	driver->spin_us = 50000;
	driver->n_cpus = 2;
	waiter_start(&waiter, a->sock, receive);
	while (!spinning) {
		driver_lock(driver);
		spinning = driver->spinning;
		if (spinning) {
			channel_ignore(a->channel);
			channel_changed(a->channel);
		}
		driver_unlock(driver);
	}
	assert_int_equal(waiter_join(&waiter), 0);
}

/* A thread that always finds what it spins for, though it is not what it waits for, hears msgd. */
static void test_spinner_hears_msgd(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct driver *driver = &a->ctx->driver;
	struct control_message down = {.type = CONTROL_LINK_DOWN,
		.link_down = {.end = PAIR_END, .error = ECONNRESET, .reason = "over"}};
	struct waiter waiter;

	(void)pair_channel(a, OTHER, true);
	(void)pair_channel(b, OTHER, false);
	driver_pass(&a->ctx->driver);
	pair_take(b);
	driver->spin_us = 1000000000;
	driver->n_cpus = 2;
	waiter_start(&waiter, a->sock, receive);
	pair_write(a, &down);
	/* The link ends long before all of OTHER's credit is used up. */
	for (int i = 0; i < 200 && !atomic_load(&waiter.done); i++) {
		say(b, OTHER);
		(void)usleep(2000);
	}
	assert_true(atomic_load(&waiter.done));
	assert_int_equal(waiter_join(&waiter), -1);
	assert_int_equal(waiter.error, ECONNRESET);
}

/* Frames that wait for msgd's answer are not spun for, nor is what a link that ended will bring. */
static void test_spins_for_links_that_take_frames(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;
	struct focus focus = {.link = a->link}, none = {0};

	driver->n_cpus = 2;
	assert_false(driver_may_spin(driver, &focus)); /* the option says 0 */
	driver->spin_us = -1;
	assert_false(driver_may_spin(driver, &none));
	assert_true(driver_may_spin(driver, &focus));
	link_sync(a->link, 1);
	assert_false(driver_may_spin(driver, &focus));
	link_synced(a->link);
	assert_true(driver_may_spin(driver, &focus));
	link_end(a->link, LINK_LEFT, "");
	assert_false(driver_may_spin(driver, &focus));
}

/* Where spins do not pay off, every 32nd wait spins all the same, to see whether they do again. */
static void test_spins_now_and_then(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct driver *driver = &a->ctx->driver;
	struct focus focus = {.link = a->link, .channel = a->channel};

	a->clock_step_ns = 1; /* however busy the machine is */
	driver->spin_us = -1;
	driver->spin_ns = 1;
	driver->spin_score = -1;
	driver_lock(driver);
	for (int score = -2; score > -32; score--) {
		assert_false(driver_spin(driver, &focus, 0, DEADLINE_NEVER));
		assert_int_equal(driver->spin_score, score); /* it did not spin */
	}
	assert_false(driver_spin(driver, &focus, 0, DEADLINE_NEVER));
	assert_int_equal(driver->spin_score, -2); /* it did, in vain */
	driver_unlock(driver);
	say(b, PAIR_CHANNEL);
	driver_lock(driver);
	for (int i = 0; i < 29; i++)
		assert_false(driver_spin(driver, &focus, 0, DEADLINE_NEVER));
	assert_true(driver_spin(driver, &focus, 0, DEADLINE_NEVER));
	assert_int_equal(driver->spin_score, 0);
	assert_true(driver_spin(driver, &focus, 0, DEADLINE_NEVER)); /* the next one at once */
	driver_unlock(driver);
}

/*
 * A thread that has said that it waits, and does not sleep yet, must find another number than the
 * one that it read.
 */
static void test_number_moves_for_those_who_wait(void **state)
{
	struct driver *driver = &pair_side_of(state, A)->ctx->driver;
	uint32_t seq = atomic_load(&driver->wait_seq);

	driver_lock(driver);
	driver->pool->wake = true;
	driver_unlock(driver);
	assert_int_equal(atomic_load(&driver->wait_seq), seq);
	driver_lock(driver);
	driver->n_waiting = 1;
	driver_unlock(driver);
	assert_int_equal(atomic_load(&driver->wait_seq), seq);
	driver_lock(driver);
	driver->pool->wake = true;
	driver_unlock(driver);
	assert_int_equal(atomic_load(&driver->wait_seq), seq + 1);
	/* A thread that begins to wait is no change that others wait for. */
	driver_lock(driver);
	assert_int_equal(driver_unlock_to_wait(driver), seq + 1);
	assert_int_equal(atomic_load(&driver->wait_seq), seq + 1);
	driver_lock(driver);
	driver->n_waiting = 0;
	driver->pool->wake = true;
	assert_int_equal(driver_unlock_to_wait(driver), seq + 1);
	/* One that spins without the lock finds another number. */
	driver_lock(driver);
	driver->pool->wake = driver->spinning = driver->driving = true;
	driver_unlock(driver);
	assert_int_equal(atomic_load(&driver->wait_seq), seq + 2);
	driver->spinning = driver->driving = false;
}

/* Each change wakes the sleeping driver once. */
static void test_kicks_are_read(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct driver *driver = &a->ctx->driver;
	struct waiter waiter;

	waiter_start(&waiter, a->sock, receive);
	for (unsigned n = 1; n <= 20; n++) {
		bool asleep = false;

		while (!asleep) {
			(void)sched_yield();
			driver_lock(driver);
			asleep = driver->asleep && a->n_sleeps == n;
			must(a->n_sleeps <= n);
			driver->pool->wake = asleep;
			driver_unlock(driver);
		}
	}
	assert_int_equal(msg_shutdown(a->sock, SHUT_RD), 0);
	assert_int_equal(waiter_join(&waiter), 0);
}

static void *set_userdata(void *arg)
{
	for (uintptr_t i = 0; i < 1000; i++)
		msg_set_userdata(arg, (void *)i);
	return NULL;
}

/* Userdata has the lock: the thread sanitizer says if not. */
static void test_userdata_of_two_threads(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	pthread_t thread;

	assert_null(msg_userdata(a->sock));
	must(pthread_create(&thread, NULL, set_userdata, a->sock) == 0);
	while (msg_userdata(a->sock) != (void *)999)
		(void)sched_yield();
	must(pthread_join(thread, NULL) == 0);
}

/* ---- signals ---------------------------------------------------------------------------- */

static _Atomic unsigned n_signals;

static void count_signal(int signal)
{
	atomic_fetch_add(&n_signals, 1);
}

static void handle_signals(void)
{
	struct sigaction action = {.sa_handler = count_signal};

	must(sigaction(SIGUSR1, &action, NULL) == 0);
	atomic_store(&n_signals, 0);
}

/* A signal between the lock's end and the sleep is none that interrupts: again, until it does. */
static void signal_until_done(struct waiter *waiter)
{
	while (!atomic_load(&waiter->done)) {
		must(pthread_kill(waiter->thread, SIGUSR1) == 0);
		(void)sched_yield();
	}
}

static void test_signal_interrupts(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct waiter waiters[2];

	handle_signals();
	two_waiters(state, waiters);
	for (int i = 1; i >= 0; i--) { /* the one that waits, then the one that drives */
		signal_until_done(&waiters[i]);
		assert_int_equal(waiter_join(&waiters[i]), -1);
		assert_int_equal(waiters[i].error, EINTR);
	}
	/* Nothing was received, and nothing is lost. */
	say(b, PAIR_CHANNEL);
	assert_int_equal(receive(a->sock), 1);
}

/* A driver that leaves empty-handed leaves the driving to another thread. */
static void test_waiter_drives_after_signal(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct waiter waiters[2];

	handle_signals();
	two_waiters(state, waiters);
	signal_until_done(&waiters[0]);
	assert_int_equal(waiter_join(&waiters[0]), -1);
	await_sleepers(a->ctx, true, 0);
	say(b, OTHER);
	assert_int_equal(waiter_join(&waiters[1]), 1);
}

static struct msg_sock *interrupted_listener;

static ssize_t accept_none(struct msg_sock *sock)
{
	return msg_accept(interrupted_listener, 0) ? 0 : -1;
}

static ssize_t connect_none(struct msg_sock *sock)
{
	return msg_connect(sock->socks->ctx, "a/b", LIBMSG_SEQPACKET, 0, -1) ? 0 : -1;
}

static ssize_t poll_none(struct msg_sock *sock)
{
	struct msg_pollfd fd = {.sock = sock, .events = POLLIN};

	return msg_poll(&fd, 1, -1);
}

static ssize_t take_none(struct msg_sock *sock)
{
	const void *data;
	struct msg_buf *buf;

	return msg_recv_take(sock, 0, &data, &buf);
}

static ssize_t send_none(struct msg_sock *sock)
{
	return msg_send(sock, "x", 1, 0);
}

/* The timer strikes again until it strikes a sleep. */
static void test_signal_interrupts_each_call(void **state)
{
	static const struct {
		ssize_t (*call)(struct msg_sock *sock);
		const char *reason;
	} calls[] = {
		{receive, "interrupted by a signal"},
		{take_none, "interrupted by a signal"},
		{send_none, "interrupted by a signal"},
		{poll_none, "interrupted by a signal"},
		{accept_none, "interrupted by a signal"},
		{connect_none, "connect to a/b: interrupted by a signal"},
	};
	const struct itimerval often = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
	const struct sigaction action = {.sa_handler = count_signal};
	struct pair_side *a = pair_side_of(state, A);

	interrupted_listener = listener_new(a);
	while (transport_put_bare(a->link->transport, PAIR_CHANNEL, FRAME_LIMIT, 1) == 0)
		;
	must(sigaction(SIGALRM, &action, NULL) == 0);
	must(setitimer(ITIMER_REAL, &often, NULL) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		errno = 0;
		assert_int_equal(calls[i].call(a->sock), -1);
		assert_int_equal(errno, EINTR);
		assert_string_equal(msg_reason(), calls[i].reason);
	}
	must(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

static void test_signal_does_not_interrupt_close(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	static char bytes[60000];
	struct waiter waiter;

	handle_signals();
	assert_int_equal(msg_send(a->sock, bytes, sizeof(bytes), MSG_DONTWAIT), sizeof(bytes));
	a->sock->linger_ms = 3600 * 1000;
	waiter_start(&waiter, a->sock, close_it);
	await_sleepers(a->ctx, true, 0);
	for (unsigned n = 0; n < 10; n++) {
		must(pthread_kill(waiter.thread, SIGUSR1) == 0);
		while (atomic_load(&n_signals) <= n)
			(void)sched_yield();
	}
	assert_false(atomic_load(&waiter.done));
	while (!atomic_load(&waiter.done)) {
		(void)msg_recv(b->sock, bytes, sizeof(bytes), 0);
		(void)sched_yield();
	}
	assert_int_equal(waiter_join(&waiter), 0);
}

/* ---- time ------------------------------------------------------------------------------- */

static void test_deadlines(void **state)
{
	struct driver *driver = &pair_side_of(state, A)->ctx->driver;
	struct pair_side *a = pair_side_of(state, A);

	a->clock_step_ns = 1;
	a->clock_ns = 5000000;
	assert_int_equal(driver_deadline(driver, -1), DEADLINE_NEVER);
	assert_int_equal(driver_deadline(driver, 0), DEADLINE_NOW);
	assert_int_equal(driver_deadline(driver, 3), 5000001 + 3000000);
	assert_int_equal(
		driver_deadline(driver, INT32_MAX), 5000002 + (uint64_t)INT32_MAX * 1000000);
}

static void must_not_sleep(struct pair_side *side)
{
	fail_msg("a call that must not block sleeps");
}

/* A call that must not block takes in the frames that are there, and does not sleep. */
static void test_not_at_all(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct msg_pollfd fd = {.sock = a->sock, .events = POLLIN};
	char byte;

	a->on_sleep = must_not_sleep;
	assert_int_equal(msg_recv(a->sock, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(msg_poll(&fd, 1, 0), 0);
	say(b, PAIR_CHANNEL);
	assert_int_equal(msg_poll(&fd, 1, 0), 1);
	assert_int_equal(msg_recv(a->sock, &byte, 1, MSG_DONTWAIT), 1);
	say(b, PAIR_CHANNEL);
	assert_int_equal(msg_recv(a->sock, &byte, 1, MSG_DONTWAIT), 1);
	a->on_sleep = NULL;
}

/* Each time that the thread is about to sleep, a frame comes that it does not wait for. */
static void publish_credit(struct pair_side *side)
{
	must(side->n_sleeps < 1000);
	pair_inject_frame(side->pair, B,
		&(struct frame){.channel = PAIR_CHANNEL, .type = FRAME_CREDIT, .arg = 1});
	pair_raise(side, PAIR_PORT_LINK);
}

static void test_limit_holds_while_credit_comes(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct msg_pollfd fd = {.sock = a->sock, .events = POLLIN};
	struct msg_sock *listener = listener_new(a);
	uint32_t credit = a->channel->tx_credit;
	unsigned before;

	a->clock_step_ns = 1000000;
	a->on_sleep = publish_credit;
	a->sock->rcvtimeo_ms = listener->rcvtimeo_ms = 100;
	assert_int_equal(receive(a->sock), -1);
	assert_int_equal(errno, EAGAIN);
	assert_in_range(a->n_sleeps, 2, 100);
	assert_int_equal(a->channel->tx_credit, credit + a->n_sleeps);
	before = a->n_sleeps;
	assert_int_equal(msg_poll(&fd, 1, 100), 0);
	assert_in_range(a->n_sleeps, before + 2, before + 100);
	before = a->n_sleeps;
	assert_null(msg_accept(listener, 0));
	assert_int_equal(errno, EAGAIN);
	assert_in_range(a->n_sleeps, before + 2, before + 100);
	assert_int_equal(msg_close(listener), 0);
	a->on_sleep = NULL;
	a->sock->nonblock = true;
}

/* A listener's end that has heard nothing may not say CLOSE yet, and does not wait for it. */
static void test_close_of_a_silent_end(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	a->channel->tx_open = false;
	a->sock->linger_ms = 3600 * 1000;
	a->on_sleep = must_not_sleep;
	assert_int_equal(msg_close(a->sock), 0);
	assert_int_equal(a->channel->state, CHANNEL_CLOSING);
	assert_false(a->channel->tx_closed);
	a->on_sleep = NULL;
}

/* Nothing waited to be sent: the channel's end is no failure of the close. */
static void test_close_after_the_end(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	a->sock->linger_ms = 3600 * 1000;
	a->on_sleep = must_not_sleep;
	link_end(a->link, LINK_PEER_GONE, "the peer was killed");
	driver_pass(&a->ctx->driver);
	assert_int_equal(a->channel->error, ECONNRESET);
	assert_int_equal(msg_close(a->sock), 0);
	a->on_sleep = NULL;
}

static void close_other_end(struct pair_side *side)
{
	must(side->n_sleeps == 1);
	pair_inject_frame(
		side->pair, B, &(struct frame){.channel = PAIR_CHANNEL, .type = FRAME_CLOSE});
	pair_raise(side, PAIR_PORT_LINK);
}

/* A shutdown that has no room waits for nothing more, once the peer has closed. */
static void test_shutdown_of_a_closed_channel(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	while (transport_put_bare(a->link->transport, PAIR_CHANNEL, FRAME_LIMIT, 1) == 0)
		;
	a->sock->linger_ms = 3600 * 1000;
	a->n_sleeps = 0;
	a->on_sleep = close_other_end;
	assert_int_equal(msg_shutdown(a->sock, SHUT_WR), 0);
	assert_int_equal(a->n_sleeps, 1);
	assert_false(a->channel->tx_shut_sent);
	a->on_sleep = NULL;
	a->sock->nonblock = true;
}

/* The peer's ring is full again before each look: the time limit holds all the same. */
static void keep_full(struct pair_side *side)
{
	must(side->n_sleeps < 1000);
	pair_raise(side, PAIR_PORT_LINK);
}

static void test_limit_holds_without_room(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct msg_buf *buf = calloc(1, sizeof(*buf) + 64);
	static char bytes[60000];

	assert_non_null(buf);
	buf->size = buf->len = 64; /* there may be room for less */
	a->channel->tx_credit = 1U << 20;
	while (msg_send(a->sock, bytes, 64, MSG_DONTWAIT) == 64)
		;
	a->clock_step_ns = 1000000;
	a->on_sleep = keep_full;
	a->sock->sndtimeo_ms = 100;
	a->n_sleeps = 0;
	assert_int_equal(msg_send(a->sock, bytes, 64, 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_in_range(a->n_sleeps, 2, 100);
	/* A close has a time limit too: the queued rest is lost, and msg_close says so. */
	assert_false(a->channel->tx_partial);
	STAILQ_INSERT_TAIL(&a->channel->out, buf, entry);
	a->sock->linger_ms = 100;
	a->n_sleeps = 0;
	assert_int_equal(msg_close(a->sock), -1);
	assert_int_equal(errno, ETIMEDOUT);
	assert_string_equal(msg_reason(), "the peer did not take all that was sent");
	assert_in_range(a->n_sleeps, 2, 100);
	assert_int_equal(a->channel->close_reason, CLOSE_RESET); /* the peer hears of the loss */
	a->on_sleep = NULL;
}

static unsigned n_endless;

/* The peer writes one more frame for each that is moved past. */
static void endless_next(struct transport *transport)
{
	transport_grant.next(transport);
	must(++n_endless < 1000000);
	pair_inject_frame(container_of(transport->hv, struct pair_side, hv)->pair, B,
		&(struct frame){.channel = PAIR_CHANNEL, .type = FRAME_CREDIT, .arg = 1});
}

/* A ring that is never empty: the link is never armed, and time goes on. */
static void test_limit_holds_in_an_endless_ring(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct transport_ops ops = transport_grant;

	ops.next = endless_next;
	a->link->transport->ops = &ops;
	a->clock_step_ns = 1000000;
	a->sock->rcvtimeo_ms = 100;
	a->on_sleep = must_not_sleep;
	a->channel->rx_free = UINT32_MAX; /* it is not about the frames' number */
	publish_credit(a);
	n_endless = 0;
	assert_int_equal(receive(a->sock), -1);
	assert_int_equal(errno, EAGAIN);
	assert_true(n_endless > 2 * LINK_TURN / TURN_COST_BARE);
	assert_false(a->link->armed);
	a->link->transport->ops = &transport_grant;
	a->on_sleep = NULL;
}

/* ---- room ------------------------------------------------------------------------------- */

/* Moves past all frames, and says nothing but that there is room. */
static void move_past_all(struct pair_side *side)
{
	struct transport *transport = side->link->transport;

	while (transport->ops->peek(transport) > 0)
		transport->ops->next(transport);
	transport_give_back(transport, true);
}

static void make_room(struct pair_side *side)
{
	must(side->n_sleeps < 100);
	move_past_all(&side->pair->sides[B]);
}

/* A sender that waits, or a poller, has asked for an event when room appears. */
static void test_room_ends_the_wait(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct msg_pollfd fd = {.sock = a->sock, .events = POLLOUT};
	static char bytes[64];

	a->on_sleep = make_room;
	a->channel->tx_credit = 1U << 20;
	for (int i = 0; i < 2; i++) {
		while (msg_send(a->sock, bytes, 64, MSG_DONTWAIT) == 64)
			;
		assert_int_equal(errno, EAGAIN);
		channel_unqueue(a->channel); /* only the call itself asks for room */
		doorbell_disarm(&a->pair->page->end[A].want_space);
		a->n_sleeps = 0;
		if (i == 0)
			assert_int_equal(msg_send(a->sock, bytes, 64, 0), 64);
		else
			assert_int_equal(msg_poll(&fd, 1, -1), 1);
		assert_true(a->n_sleeps > 0);
	}
	a->on_sleep = NULL;
}

static ssize_t send_one(struct msg_sock *sock)
{
	static char bytes[64];

	return msg_send(sock, bytes, sizeof(bytes), 0);
}

/* The thread that drives wakes the one that waits for room. */
static void test_room_wakes_a_waiter(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct msg_sock *listener = listener_new(a);
	struct waiter driving, sending;

	a->channel->tx_credit = 1U << 20;
	while (transport_put_bare(a->link->transport, PAIR_CHANNEL, FRAME_LIMIT, 1) == 0)
		;
	waiter_start(&driving, listener, accept_one);
	await_sleepers(a->ctx, true, 0);
	waiter_start(&sending, a->sock, send_one);
	await_sleepers(a->ctx, true, 1);
	move_past_all(pair_side_of(state, B));
	assert_int_equal(waiter_join(&sending), 64);
	driver_lock(&a->ctx->driver);
	sock_fail(listener, EACCES, "the test is over");
	driver_unlock(&a->ctx->driver);
	assert_int_equal(waiter_join(&driving), -1);
}

/* A call that must not block takes the event of room for which another thread sleeps. */
static void test_room_that_another_thread_hears_of(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct transport *in = pair_side_of(state, B)->link->transport;
	struct waiter sending;

	a->channel->tx_credit = 1U << 20;
	while (transport_put_bare(a->link->transport, PAIR_CHANNEL, FRAME_LIMIT, 1) == 0)
		;
	waiter_start(&sending, a->sock, send_one);
	await_sleepers(a->ctx, true, 0);
	while (in->ops->peek(in) > 0)
		in->ops->next(in);
	in->ops->release(in);
	/* The event, as if this thread had been the first to read it. */
	atomic_fetch_or(&a->pending, 1U << PAIR_PORT_LINK);
	driver_lock(&a->ctx->driver);
	driver_look(&a->ctx->driver);
	driver_unlock(&a->ctx->driver);
	assert_int_equal(waiter_join(&sending), 64);
}

/* EAGAIN owes an event loop POLLOUT, and so an event when there is room. */
static void test_room_is_told_after_eagain(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct msg_event event;
	static char bytes[64];

	a->sock->nonblock = true;
	a->channel->tx_credit = 1U << 20;
	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	while (msg_send(a->sock, bytes, 64, 0) == 64)
		;
	assert_int_equal(atomic_load(&a->pending), 0);
	make_room(a);
	assert_int_equal(atomic_load(&a->pending), 1U << PAIR_PORT_LINK);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 1);
	assert_int_equal(event.revents, POLLOUT);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0); /* once */
}

/* The peer makes room, and falls asleep: the next fragments must wake it. */
static void make_room_and_sleep(struct pair_side *side)
{
	must(side->channel->tx_partial); /* others may not send now */
	must(atomic_load(&side->pair->page->end[B].sleeping) == 0);
	make_room(side);
	doorbell_arm(&side->pair->page->end[B].sleeping);
}

static void test_rest_of_a_message(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	static char bytes[100000];

	a->channel->tx_credit = 1U << 20;
	a->on_sleep = make_room_and_sleep;
	assert_int_equal(msg_send(a->sock, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_true(a->n_sleeps > 3);
	assert_false(a->channel->tx_partial);
	assert_int_equal(atomic_load(&a->pair->page->end[B].sleeping), 0);
	a->on_sleep = NULL;
}

static unsigned n_refusals;

/* As Argo does it: a frame is kept back if the hypervisor refuses it. */
static int put_and_keep(struct transport *transport, struct frame *frame, uint32_t least,
	struct iov_cursor *payload, bool more)
{
	int r = transport_grant.put(transport, frame, least, payload, true);

	return r < 0 ? r : 1;
}

static int refuse_at_first(struct transport *transport)
{
	if (n_refusals) {
		n_refusals--;
		return -EAGAIN;
	}
	return transport_grant.push(transport);
}

/* A send returns when the peer can see the message, or its time is over; then nothing is lost. */
static void test_send_is_pushed(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct transport_ops ops = transport_grant;
	char byte;

	ops.put = put_and_keep;
	ops.push = refuse_at_first;
	a->link->transport->ops = &ops;
	n_refusals = 5;
	assert_int_equal(msg_send(a->sock, "x", 1, 0), 1);
	assert_int_equal(n_refusals, 0);
	assert_false(a->link->transport->unpushed);
	assert_int_equal(msg_recv(b->sock, &byte, 1, 0), 1);
	n_refusals = 1000000;
	a->clock_step_ns = 1000000;
	a->sock->sndtimeo_ms = 100;
	assert_int_equal(msg_send(a->sock, "x", 1, 0), 1);
	assert_true(a->link->transport->unpushed);
	n_refusals = 0;
	assert_int_equal(msg_flush(a->sock), 0);
	assert_int_equal(msg_recv(b->sock, &byte, 1, 0), 1);
	a->link->transport->ops = &transport_grant;
}

/* No event tells of it: the time to try again has come at once. */
static int refuse_for_a_time(struct transport *transport)
{
	int r = refuse_at_first(transport);

	transport->retry_ns = r < 0;
	return r;
}

/* So do a shutdown and a close: nobody may call again. */
static void test_end_is_pushed(void **state)
{
	for (int closes = 0; closes < 2; closes++) {
		struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
		struct transport_ops ops = transport_grant;
		char byte;

		ops.put = put_and_keep;
		ops.push = refuse_for_a_time;
		a->link->transport->ops = &ops;
		a->sock->linger_ms = 3600 * 1000;
		n_refusals = 0;
		assert_int_equal(msg_send(a->sock, "x", 1, MSG_MORE), 1);
		n_refusals = 5;
		if (closes)
			assert_int_equal(msg_close(a->sock), 0);
		else
			assert_int_equal(msg_shutdown(a->sock, SHUT_WR), 0);
		assert_int_equal(n_refusals, 0);
		assert_false(a->link->transport->unpushed);
		b->sock->nonblock = true;
		assert_int_equal(msg_recv(b->sock, &byte, 1, 0), 1);
		assert_int_equal(msg_recv(b->sock, &byte, 1, 0), 0);
		a->link->transport->ops = &transport_grant;
		must(pair_teardown(state) == 0 && setup(state) == 0);
	}
}

/* The descriptor for event loops is readable while there is something to do. */
static void test_descriptor(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct pollfd fd = {.fd = msg_ctx_fd(a->ctx), .events = POLLIN};
	struct msg_event event;
	char byte;

	a->sock->nonblock = true;
	assert_true(fd.fd >= 0);
	assert_int_equal(msg_ctx_fd(a->ctx), fd.fd);
	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	assert_int_equal(poll(&fd, 1, 0), 0);
	say(b, PAIR_CHANNEL);
	assert_int_equal(poll(&fd, 1, 0), 1);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 1);
	assert_ptr_equal(event.sock, a->sock);
	assert_int_equal(poll(&fd, 1, 0), 1); /* it was not read yet */
	assert_int_equal(msg_recv(a->sock, &byte, 1, 0), 1);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
	assert_int_equal(poll(&fd, 1, 0), 0);
	/* A socket that another thread's call has changed. */
	driver_lock(&a->ctx->driver);
	sock_changed(a->sock);
	driver_unlock(&a->ctx->driver);
	assert_int_equal(poll(&fd, 1, 0), 1);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
	assert_int_equal(poll(&fd, 1, 0), 0);
	/* A link that is not armed any more, since that call has looked at it. */
	assert_true(a->link->armed);
	driver_lock(&a->ctx->driver);
	link_set_armed(a->link, false);
	a->ctx->pool.marked = true;
	driver_unlock(&a->ctx->driver);
	assert_true(a->link->armed);
}

/*
 * A thread sleeps inside a message when another one shuts the channel down for sending. The call
 * ends; the message was begun before, and comes whole by later calls; then the end.
 */
static void test_shutdown_inside_a_message(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct driver *driver = &a->ctx->driver;
	struct focus none = {0};
	struct waiter waiter;
	ssize_t n;

	a->sock->linger_ms = 0;
	waiter_start(&waiter, a->sock, send_long);
	await_sleepers(a->ctx, true, 0);
	assert_int_equal(msg_shutdown(a->sock, SHUT_WR), 0);
	assert_int_equal(waiter_join(&waiter), sizeof(long_message));
	b->sock->nonblock = true;
	while ((n = msg_recv(b->sock, long_message, sizeof(long_message), 0)) < 0) {
		assert_int_equal(errno, EAGAIN);
		driver_lock(driver);
		driver_drive(driver, &none);
		driver_unlock(driver);
	}
	assert_int_equal(n, sizeof(long_message));
	driver_lock(driver);
	driver_drive(driver, &none);
	driver_unlock(driver);
	assert_int_equal(msg_recv(b->sock, long_message, 1, 0), 0);
}

/* The descriptor tells when a link that was refused is to be tried again, and not before. */
static void test_descriptor_of_a_refused_link(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct pollfd fd = {.fd = msg_ctx_fd(a->ctx), .events = POLLIN};
	struct hv *hv = a->ctx->hv;
	struct msg_event event;

	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	driver_lock(&a->ctx->driver);
	a->link->transport->retry_ns = hv->ops->now_ns(hv) + UINT64_C(60000000000);
	link_check(a->link, -EAGAIN);
	driver_unlock(&a->ctx->driver);
	assert_int_equal(poll(&fd, 1, 0), 0);
	a->link->transport->retry_ns = 1; /* long ago */
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
	assert_false(a->link->retrying);
	driver_lock(&a->ctx->driver);
	a->link->transport->retry_ns = hv->ops->now_ns(hv) + 1;
	link_check(a->link, -EAGAIN);
	driver_unlock(&a->ctx->driver);
	assert_int_equal(poll(&fd, 1, 60000), 1);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
	assert_false(a->link->retrying);
	assert_int_equal(poll(&fd, 1, 0), 0);
}

static void say_twice(struct pair_side *side)
{
	must(side->n_sleeps < 100);
	for (int i = 0; i < 2; i++)
		say(&side->pair->sides[B], PAIR_CHANNEL);
}

/* A call that blocks has taken the event of a message that it left in the ring. */
static void test_descriptor_after_a_call_that_blocked(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct pollfd fd = {.fd = msg_ctx_fd(a->ctx), .events = POLLIN};
	struct msg_event event;

	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	a->on_sleep = say_twice;
	assert_int_equal(receive(a->sock), 1);
	a->on_sleep = NULL;
	assert_int_equal(poll(&fd, 1, 0), 1);
	assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 1);
	assert_int_equal(receive(a->sock), 1);
}

/* A peer that goes on writing does not keep msg_ctx_dispatch: the rest is for its next call. */
static void test_dispatch_of_an_endless_ring(void **state)
{
	struct pair_side *a = pair_side_of(state, A);
	struct transport_ops ops = transport_grant;
	struct pollfd fd = {.fd = msg_ctx_fd(a->ctx), .events = POLLIN};
	struct msg_event event;

	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	ops.next = endless_next;
	a->link->transport->ops = &ops;
	a->channel->rx_free = UINT32_MAX; /* it is not about the frames' number */
	publish_credit(a);
	n_endless = 0;
	(void)msg_ctx_dispatch(a->ctx, &event, 1);
	assert_in_range(n_endless, 1, 10 * 4 * 4096 / FRAME_HEADER_SIZE);
	/* The socket has nothing to tell, but there is more to take in. */
	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0)
		;
	assert_true(TAILQ_EMPTY(&a->ctx->socks.ready[LOOP_OWN]));
	assert_int_equal(poll(&fd, 1, 0), 1);
	a->link->transport->ops = &transport_grant;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_driver_wakes_waiter, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_waiter_drives_after_driver, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_end_wakes_both, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_end_wakes_close, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_change_by_another_thread_wakes_driver, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_spinner_sees_what_another_took, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_spinner_sees_a_change, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_spinner_hears_msgd, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_spins_for_links_that_take_frames, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_spins_now_and_then, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_number_moves_for_those_who_wait, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_kicks_are_read, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_userdata_of_two_threads, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_signal_interrupts, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_waiter_drives_after_signal, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_signal_interrupts_each_call, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_signal_does_not_interrupt_close, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_deadlines, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_not_at_all, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_limit_holds_while_credit_comes, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_close_of_a_silent_end, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_close_after_the_end, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_shutdown_of_a_closed_channel, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_limit_holds_without_room, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_limit_holds_in_an_endless_ring, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_room_ends_the_wait, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_room_wakes_a_waiter, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_room_that_another_thread_hears_of, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_room_is_told_after_eagain, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_rest_of_a_message, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_send_is_pushed, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_end_is_pushed, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_shutdown_inside_a_message, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(test_descriptor, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_descriptor_of_a_refused_link, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_descriptor_after_a_call_that_blocked, setup, pair_teardown),
		cmocka_unit_test_setup_teardown(
			test_dispatch_of_an_endless_ring, setup, pair_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
