/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Work on one socket looks at none of those that are idle, whose number is 10,000. Each idle socket
 * and channel has a page of its own, which is taken away while the work is done: so every look at
 * one is counted.
 */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

#define A 0
#define B 1

#define N_IDLE	   10000U
#define N_LINKS	   200U
#define FIRST_IDLE 100U /* channel numbers */
#define FIRST_END  100U /* end numbers, and events, of idle links */
/* Neighbours in a list or a hash bucket: however many there are in all. */
#define FEW 32U

static struct {
	uint8_t *pages;
	size_t n, max;
	bool on; /* all that is allocated now is idle later */
	volatile sig_atomic_t n_looks;
} idle;

/* ---- memory that is taken away ------------------------------------------------------- */

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void __real_free(void *memory);
void __wrap_free(void *memory);

static bool is_idle(const void *memory)
{
	const uint8_t *at = memory;

	return idle.pages && at >= idle.pages && at < idle.pages + idle.max * HV_PAGE_SIZE;
}

void *__wrap_calloc(size_t n, size_t size)
{
	uint8_t *memory = idle.pages + idle.n * HV_PAGE_SIZE;

	if (!idle.on)
		return __real_calloc(n, size);
	idle.n += (n * size + HV_PAGE_SIZE - 1) / HV_PAGE_SIZE;
	must(idle.n <= idle.max);
	return memory;
}

void __wrap_free(void *memory)
{
	if (!is_idle(memory))
		__real_free(memory);
}

static void on_look(int sig, siginfo_t *info, void *context)
{
	uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)(HV_PAGE_SIZE - 1);

	if (!is_idle(info->si_addr) ||
		mprotect((void *)page, HV_PAGE_SIZE, PROT_READ | PROT_WRITE) < 0) {
		(void)signal(SIGSEGV, SIG_DFL); /* it comes again */
		return;
	}
	idle.n_looks++;
}

/* cmocka has a handler of its own for each test. */
static void looks_begin(void)
{
	struct sigaction action = {.sa_sigaction = on_look, .sa_flags = SA_SIGINFO};

	must(sigaction(SIGSEGV, &action, NULL) == 0);
	must(mprotect(idle.pages, idle.n * HV_PAGE_SIZE, PROT_NONE) == 0);
	idle.n_looks = 0;
}

static void looks_end(void)
{
	must(mprotect(idle.pages, idle.n * HV_PAGE_SIZE, PROT_READ | PROT_WRITE) == 0);
	assert_in_range(idle.n_looks, 0, FEW);
}

/* ---- two ends with many channels ----------------------------------------------------- */

static struct msg_sock *sockets[2][N_IDLE];

static void open_idle(struct pair_side *a, struct pair_side *b)
{
	idle.on = true;
	for (uint32_t i = 0; i < N_IDLE; i++) {
		sockets[A][i] = pair_channel(a, FIRST_IDLE + i, false);
		sockets[B][i] = pair_channel(b, FIRST_IDLE + i, true);
		if (i % 16 == 15) { /* each channel says something at first */
			pair_drive(b);
			pair_drive(a);
		}
	}
	for (uint32_t i = 0; i < N_LINKS; i++) {
		struct transport *transport =
			transport_new(&transport_grant, &a->hv, 7, 0, HV_PAGE_SIZE);
		struct link *link;

		must(transport);
		transport->port = transport->event = FIRST_END + i;
		link = link_new(&a->ctx->links, transport, FIRST_END + i, 0, 0, LINK_UP);
		must(link);
		link_set_armed(link, true);
	}
	idle.on = false;
}

/* Until neither end has anything to say. */
static void settle(struct pair_side *a, struct pair_side *b)
{
	struct msg_event event;

	for (int i = 0; i < 4; i++) {
		pair_drive(a);
		pair_drive(b);
	}
	while (msg_ctx_dispatch(a->ctx, &event, 1) > 0 || msg_ctx_dispatch(b->ctx, &event, 1) > 0)
		;
}

static int setup(void **state)
{
	struct pair_side *a, *b;

	(void)pair_setup(state);
	a = pair_side_of(state, A);
	b = pair_side_of(state, B);
	pair_events(*state);
	a->ctx->driver.spin_us = b->ctx->driver.spin_us = 0;
	idle.n = 0;
	idle.max = 5 * N_IDLE;
	idle.pages = mmap(NULL, idle.max * HV_PAGE_SIZE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(idle.pages != MAP_FAILED);
	open_idle(a, b);
	settle(a, b);
	pair_attached(a);
	return 0;
}

static int teardown(void **state)
{
	struct pair_side *a = pair_side_of(state, A);

	for (uint32_t i = 0; i < N_LINKS; i++)
		link_end(link_find(&a->ctx->links, FIRST_END + i), LINK_LEFT, "the test is over");
	driver_pass(&a->ctx->driver);
	(void)pair_teardown(state);
	(void)munmap(idle.pages, idle.max * HV_PAGE_SIZE);
	idle.pages = NULL;
	return 0;
}

static void say(struct msg_sock *sock)
{
	must(msg_send(sock, "x", 1, 0) == 1);
}

static void hear(struct msg_sock *sock)
{
	char byte = 0;

	must(msg_recv(sock, &byte, 1, 0) == 1 && byte == 'x');
}

/* ---- event loops --------------------------------------------------------------------- */

static void expect_event(struct pair_side *side, struct msg_sock *sock, short revents)
{
	struct msg_event event;

	assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 1);
	assert_ptr_equal(event.sock, sock);
	assert_int_equal(event.revents, revents);
}

/* A message and its answer, with and without the descriptor for event loops. */
static void test_dispatch(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	struct msg_event event;

	for (int round = 0; round < 20; round++) {
		if (round == 10)
			must(msg_ctx_fd(a->ctx) >= 0 && msg_ctx_fd(b->ctx) >= 0);
		looks_begin();
		say(b->sock);
		expect_event(a, a->sock, POLLIN);
		hear(a->sock);
		say(a->sock);
		assert_int_equal(msg_ctx_dispatch(a->ctx, &event, 1), 0);
		expect_event(b, b->sock, POLLIN);
		hear(b->sock);
		assert_int_equal(msg_ctx_dispatch(b->ctx, &event, 1), 0);
		looks_end();
	}
}

/* Credit is used up, and comes back. */
static void test_room(void **state)
{
	struct pair_side *a = pair_side_of(state, A), *b = pair_side_of(state, B);
	static char bytes[1000];

	must(msg_ctx_fd(a->ctx) >= 0);
	for (int round = 0; round < 20; round++) {
		looks_begin();
		while (msg_send(a->sock, bytes, sizeof(bytes), 0) > 0)
			;
		assert_int_equal(errno, EAGAIN);
		while (msg_recv(b->sock, bytes, sizeof(bytes), 0) > 0)
			;
		expect_event(a, a->sock, POLLOUT);
		looks_end();
	}
}

/* Time is over for connects that do not block: each is looked at once or twice. */
static void test_deadlines(void **state)
{
	struct pair_side *side = pair_side_of(state, A);
	struct msg_event event;
	struct control_message message;
	struct msg_sock *sock;

	for (int round = 0; round < 3; round++) {
		looks_begin();
		sock = msg_connect(side->ctx, "domain/name", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, 1);
		must(sock);
		while (socks_deadline(&side->ctx->socks) > side->hv.ops->now_ns(&side->hv))
			;
		assert_int_equal(msg_ctx_dispatch(side->ctx, &event, 1), 0); /* CANCEL is sent */
		must(msg_close(sock) == 0);
		assert_int_equal(socks_deadline(&side->ctx->socks), UINT64_MAX);
		looks_end();
		while (pair_control(side, &message))
			;
	}
}

/* The first deadline is the first to come, whatever the order in which they were set. */
static void test_deadlines_in_order(void **state)
{
	static const uint64_t deadlines[] = {50, 70, 60, 10, 70, 55};
	static const uint64_t first[] = {10, 50, 55, 60, 70, 70, UINT64_MAX};
	struct socks *socks = &pair_side_of(state, A)->ctx->socks;

	for (size_t i = 0; i < ARRAY_SIZE(deadlines); i++)
		sock_set_deadline(sockets[A][i], deadlines[i]);
	for (size_t i = 0; i < ARRAY_SIZE(first); i++) {
		assert_int_equal(socks_deadline(socks), first[i]);
		if (i < ARRAY_SIZE(deadlines))
			sock_set_deadline(TAILQ_FIRST(&socks->timed), UINT64_MAX);
	}
	sock_set_deadline(sockets[A][0], 5);
	sock_set_deadline(sockets[A][0], 7); /* it moves */
	assert_int_equal(socks_deadline(socks), 7);
	sock_set_deadline(sockets[A][0], UINT64_MAX);
}

/* ---- msg_poll ------------------------------------------------------------------------ */

static struct pair *sleeping; /* the pair whose side A polls */
static unsigned n_sleeps;

/*
 * While A sleeps in msg_poll for all the idle ones, something comes for another socket, time and
 * again; then credit for one of those; at last a message.
 */
static void on_sleep(struct pair_side *a)
{
	struct pair_side *b = &sleeping->sides[B];

	if (n_sleeps)
		looks_end();
	looks_begin();
	if (++n_sleeps < 10)
		say(b->sock);
	else if (n_sleeps == 10)
		assert_true(pair_inject_frame(sleeping, B,
			&(struct frame){
				.channel = FIRST_IDLE + 7, .type = FRAME_CREDIT, .arg = 1000}));
	else
		looks_end();
	if (n_sleeps == 10)
		pair_raise(a, PAIR_PORT_LINK);
	if (n_sleeps > 10)
		say(sockets[B][N_IDLE / 2]);
}

static void test_poll(void **state)
{
	static struct msg_pollfd fds[N_IDLE];
	struct pair_side *a = pair_side_of(state, A);

	for (uint32_t i = 0; i < N_IDLE; i++)
		fds[i] = (struct msg_pollfd){.sock = sockets[A][i], .events = POLLIN};
	sleeping = *state;
	n_sleeps = 0;
	a->on_sleep = on_sleep;
	assert_int_equal(msg_poll(fds, N_IDLE, -1), 1);
	a->on_sleep = NULL;
	assert_int_equal(n_sleeps, 11);
	assert_int_equal(fds[N_IDLE / 2].revents, POLLIN);
	hear(sockets[A][N_IDLE / 2]);
	for (int i = 1; i < 10; i++)
		hear(a->sock);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_dispatch),
		TEST(test_room),
		TEST(test_deadlines),
		TEST(test_deadlines_in_order),
		TEST(test_poll),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
