/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The level checker, over a libmsg of this test's own, which has one context with a few sockets and
 * tells whatever lies it is to tell. Each lie ends the program; the truth, and a lie that another
 * thread's call may excuse, do not.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/support/aborts.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/level-checker.h"

/* The first is a listener, whose messages are channels that wait. */
enum { LISTENER, CHANNEL, OTHER, N_SOCKS };

struct msg_sock {
	int n_messages;
	bool no_room, ended;
	bool owed;	  /* POLLOUT, once there is room */
	bool arrives;	  /* a message, after the next dispatch */
	bool brings_room; /* to the channel, then */
	short interest;
	/* Lies: what a call says, instead of the truth. */
	short poll_says;
	bool poll_lies, dispatch_hides, dispatch_invents;
};

struct msg_ctx {
	int pipe[2];
	bool fd_lies; /* it is not readable when it should be, or the other way round */
	bool fd_is_readable;
};

static struct msg_sock socks[N_SOCKS], accepted;
static struct msg_ctx world;

/* ---- the library --------------------------------------------------------------------- */

static short true_events(const struct msg_sock *sock)
{
	return (short)((sock->n_messages || sock->ended ? POLLIN : 0) |
		       (sock == &socks[LISTENER] || sock->no_room ? 0 : POLLOUT));
}

static void fd_update(void)
{
	bool readable = false;
	char byte;

	for (int i = 0; i < N_SOCKS; i++)
		readable |= socks[i].n_messages && socks[i].interest;
	readable ^= world.fd_lies;
	if (readable && !world.fd_is_readable)
		must(write(world.pipe[1], "x", 1) == 1);
	if (!readable && world.fd_is_readable)
		must(read(world.pipe[0], &byte, 1) == 1);
	world.fd_is_readable = readable;
}

static ssize_t again(void)
{
	errno = EAGAIN;
	return -1;
}

int __real_msg_ctx_fd(struct msg_ctx *c)
{
	fd_update();
	return c->pipe[0];
}

void __real_msg_ctx_close(struct msg_ctx *c)
{
}

int __real_msg_poll(struct msg_pollfd *fds, size_t n, int timeout_ms)
{
	int count = 0;

	for (size_t i = 0; i < n; i++) {
		const struct msg_sock *sock = fds[i].sock;

		fds[i].revents = (short)(fds[i].events &
					 (sock->poll_lies ? sock->poll_says : true_events(sock)));
		count += fds[i].revents != 0;
	}
	return count;
}

int __real_msg_ctx_dispatch(struct msg_ctx *c, struct msg_event *events, int n)
{
	int count = 0;

	for (int i = 0; i < N_SOCKS && count < n; i++) {
		struct msg_sock *sock = &socks[i];
		bool readable = (sock->n_messages && sock->interest) || sock->dispatch_invents;

		bool room = sock->owed && !sock->no_room;

		if ((readable || room) && !sock->dispatch_hides)
			events[count++] = (struct msg_event){.sock = sock,
				.revents = (short)((readable ? POLLIN : 0) | (room ? POLLOUT : 0))};
		sock->owed &= !room;
	}
	fd_update();
	return count;
}

struct msg_sock *__real_msg_listen(
	struct msg_ctx *c, const char *name, int type, int backlog, unsigned flags)
{
	return &socks[LISTENER];
}

struct msg_sock *__real_msg_connect(
	struct msg_ctx *c, const char *address, int type, unsigned flags, int timeout_ms)
{
	return &socks[type];
}

struct msg_sock *__real_msg_watch(struct msg_ctx *c, const char *glob)
{
	return NULL;
}

struct msg_sock *__real_msg_accept(struct msg_sock *sock, unsigned flags)
{
	if (sock->n_messages == 0) {
		errno = EAGAIN;
		return NULL;
	}
	sock->n_messages--;
	(void)msg_close(&accepted); /* the former one */
	return &accepted;
}

int __real_msg_shutdown(struct msg_sock *sock, int how)
{
	return 0;
}

int __real_msg_close(struct msg_sock *sock)
{
	return 0;
}

int __real_msg_sock_fd(struct msg_sock *sock)
{
	return 0;
}

int __real_msg_sock_serve(struct msg_sock *sock, int fd)
{
	return 0;
}

ssize_t __real_msg_send(struct msg_sock *sock, const void *data, size_t len, int flags)
{
	sock->owed |= sock->no_room;
	return sock->no_room ? again() : (ssize_t)len;
}

ssize_t __real_msg_sendmsg(struct msg_sock *sock, const struct msghdr *message, int flags)
{
	return sock->no_room ? again() : 1;
}

int __real_msg_sendmmsg(struct msg_sock *sock, struct mmsghdr *messages, unsigned n, int flags)
{
	return (int)n;
}

ssize_t __real_msg_recvmsg(struct msg_sock *sock, struct msghdr *message, int flags)
{
	if (sock->n_messages == 0)
		return sock->ended ? 0 : again();
	if (!(flags & MSG_PEEK))
		sock->n_messages--;
	message->msg_flags = MSG_EOR;
	fd_update();
	return 1;
}

ssize_t __real_msg_recv(struct msg_sock *sock, void *data, size_t len, int flags)
{
	struct msghdr message = {0};

	return __real_msg_recvmsg(sock, &message, flags);
}

int __real_msg_recvmmsg(
	struct msg_sock *sock, struct mmsghdr *messages, unsigned n, int flags, int timeout_ms)
{
	return 0;
}

ssize_t __real_msg_recv_take(
	struct msg_sock *sock, int flags, const void **ret_data, struct msg_buf **ret_buf)
{
	return 0;
}

int msg_getpeer(struct msg_sock *sock, struct msg_peer *ret_peer)
{
	return 0;
}

int msg_getopt(struct msg_sock *sock, int option, int64_t *ret_value)
{
	if (option == LIBMSG_EVENTS && sock->arrives) {
		sock->arrives = false;
		sock->n_messages++;
		if (sock->brings_room)
			socks[CHANNEL].no_room = false;
		fd_update();
	}
	*ret_value = option == LIBMSG_EVENTS ? sock->interest : LIBMSG_TRANSPORT_ARGO;
	return 0;
}

/* The program's calls go to the checker. */
#define CHECKED(type, name, parameters, arguments)                                                 \
	type name parameters                                                                       \
	{                                                                                          \
		return __wrap_##name arguments;                                                    \
	}

LEVEL_CHECKER_FUNCTIONS(CHECKED)

/* ---- the program --------------------------------------------------------------------- */

static int setup(void **state)
{
	world = (struct msg_ctx){0};
	must(pipe2(world.pipe, O_CLOEXEC) == 0);
	for (int i = 0; i < N_SOCKS; i++)
		socks[i] = (struct msg_sock){.interest = POLLIN};
	must(msg_listen(&world, "name", 0, 0, 0) == &socks[LISTENER]);
	must(msg_connect(&world, "name", CHANNEL, 0, 0) == &socks[CHANNEL]);
	must(msg_connect(&world, "name", OTHER, 0, 0) == &socks[OTHER]);
	must(msg_ctx_fd(&world) == world.pipe[0]);
	return 0;
}

static int teardown(void **state)
{
	msg_ctx_close(&world);
	(void)close(world.pipe[0]);
	(void)close(world.pipe[1]);
	return 0;
}

/* All that a program calls; it acts on what it is told. */
static void work(void *arg)
{
	struct msg_pollfd fds[N_SOCKS];
	struct msg_event events[4];
	char byte;

	for (int i = 0; i < N_SOCKS; i++)
		fds[i] = (struct msg_pollfd){.sock = &socks[i], .events = POLLIN | POLLOUT};
	must(msg_poll(fds, N_SOCKS, 0) >= 0);
	if (fds[CHANNEL].revents & POLLOUT)
		(void)msg_send(&socks[CHANNEL], "x", 1, MSG_DONTWAIT);
	must(msg_ctx_dispatch(&world, events, 4) >= 0);
	if (fds[LISTENER].revents & POLLIN)
		(void)msg_accept(&socks[LISTENER], LIBMSG_NONBLOCK);
	while (msg_recv(&socks[CHANNEL], &byte, 1, MSG_DONTWAIT) > 0)
		;
	must(msg_ctx_dispatch(&world, events, 4) >= 0);
}

static void test_truth(void **state)
{
	for (int round = 0; round < 1000; round++) {
		socks[LISTENER].n_messages = round % 3;
		socks[CHANNEL].n_messages = round % 2;
		socks[OTHER].n_messages = round % 5;
		socks[CHANNEL].no_room = round % 7 == 0;
		work(NULL);
	}
	socks[OTHER] = (struct msg_sock){.ended = true, .interest = POLLIN};
	work(NULL);
	socks[OTHER] = (struct msg_sock){.n_messages = 1}; /* and the program does not ask */
	work(NULL);
}

static void test_errno_is_kept(void **state)
{
	struct msg_event events[4];
	char byte;

	errno = EXDEV;
	must(msg_ctx_dispatch(&world, events, 4) == 0);
	assert_int_equal(errno, EXDEV);
	assert_int_equal(msg_recv(&socks[OTHER], &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static void test_poll_readable(void **state)
{
	socks[CHANNEL].poll_lies = true;
	socks[CHANNEL].poll_says = POLLIN;
	assert_true(aborts(work, NULL));
}

static void test_poll_silent(void **state)
{
	socks[CHANNEL].n_messages = 1;
	socks[CHANNEL].poll_lies = true;
	assert_true(aborts(work, NULL));
	socks[CHANNEL].n_messages = 0;
	socks[CHANNEL].ended = true;
	assert_true(aborts(work, NULL));
}

static void test_poll_no_room(void **state)
{
	socks[CHANNEL].no_room = true;
	socks[CHANNEL].poll_lies = true;
	socks[CHANNEL].poll_says = POLLOUT;
	assert_true(aborts(work, NULL));
}

static void test_poll_no_channel(void **state)
{
	socks[LISTENER].poll_lies = true;
	socks[LISTENER].poll_says = POLLIN;
	assert_true(aborts(work, NULL));
}

static void test_dispatch_readable(void **state)
{
	socks[OTHER].dispatch_invents = true;
	assert_true(aborts(work, NULL));
}

static void test_dispatch_silent(void **state)
{
	socks[OTHER].n_messages = 1;
	socks[OTHER].dispatch_hides = true;
	assert_true(aborts(work, NULL));
}

static void test_fd_silent(void **state)
{
	world.fd_lies = true;
	socks[OTHER].n_messages = 1;
	assert_true(aborts(work, NULL));
	socks[OTHER].dispatch_hides = true;
	assert_true(aborts(work, NULL));
}

static void dispatch_on(void *arg)
{
	struct msg_event events[4];

	for (unsigned i = 0; i <= LEVEL_CHECKER_PATIENCE; i++)
		must(msg_ctx_dispatch(&world, events, 4) == 0);
}

static void dispatch_once(void *arg)
{
	struct msg_event events[4];

	(void)msg_ctx_dispatch(&world, events, 4);
}

/* A message that comes just after the call is an event of it still, if the descriptor tells. */
static void test_arrival(void **state)
{
	struct msg_event events[4];

	socks[OTHER].arrives = true;
	assert_int_equal(msg_ctx_dispatch(&world, events, 4), 1);
	assert_ptr_equal(events[0].sock, &socks[OTHER]);
	socks[OTHER].n_messages = 0;
	/* But for want of places. */
	socks[LISTENER].n_messages = 1;
	socks[OTHER].arrives = true;
	assert_int_equal(msg_ctx_dispatch(&world, events, 2), 1);
	assert_ptr_equal(events[0].sock, &socks[LISTENER]);
	socks[LISTENER].n_messages = socks[OTHER].n_messages = 0;
	socks[OTHER].arrives = true;
	world.fd_lies = true;
	assert_true(aborts(dispatch_once, NULL));
}

/* Room that comes with it is told with it, and is owed no more. */
static void test_arrival_with_room(void **state)
{
	struct msg_event events[2];

	socks[CHANNEL].no_room = true;
	assert_int_equal(msg_send(&socks[CHANNEL], "x", 1, MSG_DONTWAIT), -1);
	socks[OTHER].arrives = socks[OTHER].brings_room = true;
	assert_int_equal(msg_ctx_dispatch(&world, events, 2), 2);
	assert_ptr_equal(events[0].sock, &socks[CHANNEL]);
	assert_int_equal(events[0].revents, POLLOUT);
	socks[OTHER].n_messages = 0;
	assert_int_equal(msg_ctx_dispatch(&world, events, 2), 0);
}

/* POLLOUT comes once, after a send that has failed. */
static void test_owed_room(void **state)
{
	static char bytes[1000];
	struct msg_event events[4];

	socks[OTHER].no_room = true;
	assert_int_equal(msg_send(&socks[OTHER], "x", 1, MSG_DONTWAIT), -1);
	assert_int_equal(msg_ctx_dispatch(&world, events, 4), 0);
	socks[OTHER].no_room = false;
	assert_int_equal(msg_ctx_dispatch(&world, events, 4), 1);
	assert_int_equal(events[0].revents, POLLOUT);
	assert_int_equal(msg_ctx_dispatch(&world, events, 4), 0);
	assert_int_equal(msg_send(&socks[OTHER], bytes, sizeof(bytes), 0), sizeof(bytes));
	socks[OTHER].no_room = true;
	assert_int_equal(msg_send(&socks[OTHER], "x", 1, MSG_DONTWAIT), -1);
	socks[OTHER].no_room = false;
	socks[OTHER].dispatch_hides = true;
	assert_true(aborts(dispatch_once, NULL));
}

static void test_fd_readable_for_ever(void **state)
{
	world.fd_lies = true;
	work(NULL); /* for a while it may be */
	assert_true(aborts(dispatch_on, NULL));
	world.fd_lies = false;
	assert_false(aborts(dispatch_on, NULL));
}

/* Promises are over when anything else was sent or accepted. */
static void test_promises_end(void **state)
{
	struct msg_pollfd fds[] = {{.sock = &socks[CHANNEL], .events = POLLOUT},
		{.sock = &socks[LISTENER], .events = POLLIN}};
	static char bytes[1000];

	socks[LISTENER].n_messages = 1;
	assert_int_equal(msg_poll(fds, 2, 0), 2);
	assert_int_equal(msg_send(&socks[OTHER], bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_non_null(msg_accept(&socks[LISTENER], 0));
	socks[CHANNEL].no_room = true;
	assert_int_equal(msg_send(&socks[CHANNEL], "x", 1, 0), -1);
	assert_null(msg_accept(&socks[LISTENER], 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_truth),
		TEST(test_errno_is_kept),
		TEST(test_poll_readable),
		TEST(test_poll_silent),
		TEST(test_poll_no_room),
		TEST(test_poll_no_channel),
		TEST(test_dispatch_readable),
		TEST(test_dispatch_silent),
		TEST(test_fd_silent),
		TEST(test_arrival),
		TEST(test_arrival_with_room),
		TEST(test_owed_room),
		TEST(test_fd_readable_for_ever),
		TEST(test_promises_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
