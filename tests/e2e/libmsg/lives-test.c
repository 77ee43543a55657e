/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lives of processes that have contexts: they fork, execute programs, exit without a word, end
 * their main thread, load the library as they run, are killed. The other end sees what libmsg.h
 * promises, and so does who lives on.
 */
#include "tests/support/cmocka-all.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"
#include "tests/support/testbed.h"

extern char **environ;

static struct msg_ctx *far_ctx;
static struct msg_sock *listener;
static char got[100000];

static int setup(void **state)
{
	testbed_watchdog(60);
	far_ctx = testbed_ctx("far", 0);
	listener = msg_listen(far_ctx, "lives", LIBMSG_SEQPACKET, 3, 0);
	return listener ? 0 : -1;
}

static int teardown(void **state)
{
	must(msg_close(listener) == 0);
	msg_ctx_close(far_ctx);
	testbed_watchdog(0);
	return 0;
}

/* ---- processes at the near end ------------------------------------------------------------- */

static struct msg_ctx *near_ctx;

static struct msg_sock *near_connect(void)
{
	struct msg_sock *sock =
		msg_connect(near_ctx, "far/lives", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);

	must(sock);
	return sock;
}

/* Starts a process that is connected, and does that. *ret_sock: this end. */
static pid_t life_start(void (*life)(struct msg_sock *sock), struct msg_sock **ret_sock)
{
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
		testbed_watchdog(50);
		near_ctx = testbed_ctx("near", 0);
		life(near_connect());
		_exit(9); /* it has not ended as it was to */
	}
	*ret_sock = msg_accept(listener, 0);
	must(*ret_sock);
	return pid;
}

static int life_end(pid_t pid)
{
	int status;

	must(waitpid(pid, &status, 0) == pid);
	return status;
}

static void life_kill(pid_t pid)
{
	must(kill(pid, SIGKILL) == 0);
	must(life_end(pid) == SIGKILL);
}

static void send_ten(struct msg_sock *sock)
{
	for (int i = 0; i < 10; i++)
		must(msg_send(sock, "whole", 5, 0) == 5);
}

static void receive_ten_and_reset(struct msg_sock *sock)
{
	for (int i = 0; i < 10; i++)
		must(msg_recv(sock, got, sizeof(got), 0) == 5);
	must_fail(msg_recv(sock, got, 1, 0), ECONNRESET);
	must(msg_close(sock) == 0);
}

/* ---- exit ---------------------------------------------------------------------------------- */

static void life_exit(struct msg_sock *sock)
{
	send_ten(sock);
	exit(0);
}

static void life_quick_exit(struct msg_sock *sock)
{
	send_ten(sock);
	_exit(0);
}

/* A part of the last message is in the ring. */
static void life_exit_inside(struct msg_sock *sock)
{
	static char much[600000];

	send_ten(sock);
	must(msg_send(sock, much, sizeof(much), MSG_DONTWAIT) == sizeof(much));
	exit(0);
}

/* Nothing was closed: that is no end of the data. */
static void test_exit(void **state)
{
	void (*const lives[])(struct msg_sock *) = {life_exit, life_quick_exit, life_exit_inside};
	struct msg_sock *sock;
	pid_t pid;

	for (size_t i = 0; i < ARRAY_SIZE(lives); i++) {
		pid = life_start(lives[i], &sock);
		must(life_end(pid) == 0);
		receive_ten_and_reset(sock);
	}
}

static void *answer(void *arg)
{
	ssize_t n;

	while ((n = msg_recv(arg, got, sizeof(got), 0)) > 0)
		must(msg_send(arg, got, (size_t)n, 0) == n);
	must(n == 0 && msg_close(arg) == 0);
	near_connect(); /* links and names, too */
	msg_ctx_close(near_ctx);
	_exit(0);
}

static void life_main_thread_ends(struct msg_sock *sock)
{
	pthread_t thread;

	must(pthread_create(&thread, NULL, answer, sock) == 0);
	pthread_exit(NULL);
}

static bool is_zombie(pid_t pid)
{
	char path[64], state = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	must(file && fscanf(file, "%*d (%*[^)]) %c", &state) == 1);
	must(fclose(file) == 0);
	return state == 'Z';
}

/* The process goes on, though its first thread is dead. */
static void test_main_thread_ends(void **state)
{
	struct msg_sock *sock, *other;
	pid_t pid = life_start(life_main_thread_ends, &sock);

	while (!is_zombie(pid))
		(void)poll(NULL, 0, 1);
	for (int i = 0; i < 100; i++) {
		must(msg_send(sock, got, 1 + (size_t)i * 500, 0) == 1 + i * 500);
		must(msg_recv(sock, got, sizeof(got), 0) == 1 + i * 500);
	}
	must(msg_shutdown(sock, SHUT_WR) == 0 && msg_recv(sock, got, 1, 0) == 0);
	other = msg_accept(listener, 0);
	must(other && msg_recv(other, got, 1, 0) == 0);
	must(life_end(pid) == 0);
	must(msg_close(sock) == 0 && msg_close(other) == 0);
}

/* ---- fork ---------------------------------------------------------------------------------- */

static struct msg_sock *forkers[2];
static _Atomic bool stopped;

static void talk_on(void *arg)
{
	struct msg_sock **ends = arg;

	while (!stopped) {
		must(msg_send(ends[0], "talk", 4, 0) == 4);
		must(msg_recv(ends[1], got, sizeof(got), 0) == 4);
	}
}

static void receive_one(void *sock)
{
	char byte;

	must(msg_recv(sock, &byte, 1, 0) == 1);
}

/* No lock is waited for, whoever had it. */
static _Noreturn void child_of_threads(void)
{
	struct iovec iov = {.iov_base = got, .iov_len = 1};
	struct mmsghdr message = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};
	struct msg_pollfd fd = {.sock = forkers[0], .events = POLLIN};

	testbed_watchdog(20);
	must_fail(msg_send(forkers[0], "x", 1, 0), EBADFD);
	must_fail(msg_recv(forkers[1], got, 1, 0), EBADFD);
	must_fail(msg_sendmmsg(forkers[0], &message, 1, 0), EBADFD);
	must_fail(msg_recvmmsg(forkers[1], &message, 1, 0, -1), EBADFD);
	must_fail(msg_poll(&fd, 1, -1), EBADFD);
	must_fail_null(msg_accept(listener, 0), EBADFD);
	must_fail_null(msg_watch(far_ctx, "*"), EBADFD);
	must_fail_null(msg_connect(far_ctx, "far/lives", LIBMSG_SEQPACKET, 0, -1), EBADFD);
	must(!msg_userdata(forkers[0]));
	must_fail(msg_shutdown(forkers[0], SHUT_RDWR), EBADFD);
	must_fail(msg_close(forkers[0]), EBADFD);
	msg_ctx_close(far_ctx);
	_exit(0);
}

/* While threads are in calls: one drives, one waits beside it, others send and receive. */
static void test_fork_in_calls(void **state)
{
	struct msg_sock *talking[2], *asleep[2][2];
	struct worker talker, sleepers[2];

	testbed_channel(far_ctx, far_ctx, "far", forkers);
	testbed_channel(far_ctx, far_ctx, "far", talking);
	for (int i = 0; i < 2; i++) {
		testbed_channel(far_ctx, far_ctx, "far", asleep[i]);
		worker_start(&sleepers[i], receive_one, asleep[i][1]);
		worker_await_sleep(&sleepers[i]);
	}
	stopped = false;
	worker_start(&talker, talk_on, talking);
	for (int i = 0; i < 50; i++) {
		pid_t pid = fork();

		must(pid >= 0);
		if (pid == 0)
			child_of_threads();
		must(life_end(pid) == 0);
	}
	stopped = true;
	worker_join(&talker);
	for (int i = 0; i < 2; i++) {
		must(msg_send(asleep[i][0], "x", 1, 0) == 1);
		worker_join(&sleepers[i]);
		must(msg_close(asleep[i][0]) == 0 && msg_close(asleep[i][1]) == 0);
		must(msg_close(forkers[i]) == 0 && msg_close(talking[i]) == 0);
	}
}

/* ---- other programs ------------------------------------------------------------------------ */

static void life_exec(struct msg_sock *sock)
{
	send_ten(sock);
	(void)execl("/bin/sleep", "sleep", "30", (char *)NULL);
}

static unsigned count_descriptors(pid_t pid)
{
	char path[64];
	unsigned n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	must(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		n += entry->d_name[0] != '.';
	must(closedir(dir) == 0);
	return n;
}

/* The descriptors without CLOEXEC: this process was started with them. */
static unsigned count_inherited(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFD);

		n += flags >= 0 && !(flags & FD_CLOEXEC);
	}
	return n;
}

/* By then the kernel has closed what was to be closed. */
static void await_name(pid_t pid, const char *name)
{
	char path[64], comm[32] = "";

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	while (strcmp(comm, name) != 0) {
		FILE *file = fopen(path, "re");

		must(file && fscanf(file, "%31s", comm) == 1);
		must(fclose(file) == 0);
		(void)poll(NULL, 0, 1);
	}
}

/* The program that comes has nothing of the context: it is gone at once. */
static void test_exec(void **state)
{
	struct msg_sock *sock;
	pid_t pid = life_start(life_exec, &sock);

	receive_ten_and_reset(sock);
	await_name(pid, "sleep");
	must(count_descriptors(pid) <= count_inherited());
	life_kill(pid);
}

static pid_t spawn_sleep(const char *seconds)
{
	char *argv[] = {(char *)(uintptr_t) "sleep", (char *)(uintptr_t)seconds, NULL};
	pid_t pid;

	must(posix_spawn(&pid, "/bin/sleep", NULL, NULL, argv, environ) == 0);
	return pid;
}

static pid_t vfork_and_leave(void)
{
	pid_t pid = vfork();

	if (pid == 0)
		_exit(0);
	must(pid > 0);
	return pid;
}

/* Programs that are started harm nobody. */
static void life_spawns(struct msg_sock *sock)
{
	struct msg_sock *ends[2];
	struct worker talker;

	testbed_channel(near_ctx, near_ctx, "near", ends);
	worker_start(&talker, talk_on, ends);
	for (int i = 0; i < 20; i++) {
		must(life_end(spawn_sleep("0")) == 0);
		must(life_end(vfork_and_leave()) == 0);
	}
	stopped = true;
	worker_join(&talker);
	must(msg_close(ends[0]) == 0 && msg_close(ends[1]) == 0);
	must(msg_send(sock, "done", 4, 0) == 4 && msg_close(sock) == 0);
	msg_ctx_close(near_ctx);
	_exit(0);
}

static void test_spawn(void **state)
{
	struct msg_sock *sock;
	pid_t pid;

	stopped = false;
	pid = life_start(life_spawns, &sock);
	must(msg_recv(sock, got, sizeof(got), 0) == 4 && msg_recv(sock, got, 1, 0) == 0);
	must(life_end(pid) == 0 && msg_close(sock) == 0);
}

/* Says whom it has started, and waits. */
static void life_parent_of_program(struct msg_sock *sock)
{
	pid_t pid = spawn_sleep("30");

	must(msg_send(sock, &pid, sizeof(pid), 0) == sizeof(pid));
	(void)pause();
}

static void life_parent_of_fork(struct msg_sock *sock)
{
	pid_t pid = fork();

	must(pid >= 0);
	if (pid == 0) {
		(void)alarm(30);
		(void)pause();
		_exit(0);
	}
	must(msg_send(sock, &pid, sizeof(pid), 0) == sizeof(pid));
	(void)pause();
}

/* The death of a process is seen although its children, of any kind, live on. */
static void test_killed_parents(void **state)
{
	void (*const lives[])(struct msg_sock *) = {life_parent_of_program, life_parent_of_fork};
	struct msg_sock *sock;
	pid_t pid, child;

	for (size_t i = 0; i < ARRAY_SIZE(lives); i++) {
		pid = life_start(lives[i], &sock);
		must(msg_recv(sock, &child, sizeof(child), 0) == sizeof(child));
		life_kill(pid);
		must_fail(msg_recv(sock, got, 1, 0), ECONNRESET);
		must(kill(child, 0) == 0 && kill(child, SIGKILL) == 0);
		must(msg_close(sock) == 0);
	}
}

/* ---- a backlog of the dead ----------------------------------------------------------------- */

/* msgd hears a little later that a channel was accepted, or that a process is dead. */
static struct msg_sock *connect_to_full(struct msg_ctx *ctx)
{
	struct msg_sock *sock;

	do {
		sock = msg_connect(ctx, "far/lives", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);
		must(sock || errno == ECONNREFUSED);
	} while (!sock);
	return sock;
}

static void life_fill_backlog(struct msg_sock *sock)
{
	for (int i = 0; i < 3; i++)
		(void)connect_to_full(near_ctx);
	must_fail_null(msg_connect(near_ctx, "far/lives", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS),
		ECONNREFUSED);
	must(msg_send(sock, "full", 4, 0) == 4);
	(void)pause();
}

/* The places of a client that died are free, though the listener accepts nobody. */
static void test_backlog_of_the_dead(void **state)
{
	struct msg_ctx *ctx = testbed_ctx("near", 0);
	struct msg_sock *sock, *own[3];
	struct pump pump;
	pid_t pid;

	for (int round = 0; round < 3; round++) {
		pid = life_start(life_fill_backlog, &sock);
		must(msg_recv(sock, got, sizeof(got), 0) == 4);
		pump_start(&pump, far_ctx);
		life_kill(pid);
		for (int i = 0; i < 3; i++)
			own[i] = connect_to_full(ctx);
		must_fail_null(msg_connect(ctx, "far/lives", LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS),
			ECONNREFUSED);
		pump_stop(&pump);
		must_fail(msg_recv(sock, got, 1, 0), ECONNRESET);
		must(msg_close(sock) == 0);
		/* They alone are there to be accepted. */
		for (int i = 0; i < 3; i++) {
			must(msg_send(own[i], "alive", 5, 0) == 5);
			sock = msg_accept(listener, 0);
			must(sock && msg_recv(sock, got, sizeof(got), 0) == 5);
			must(msg_close(sock) == 0 && msg_close(own[i]) == 0);
		}
		must(msg_setopt(listener, LIBMSG_RCVTIMEO, 0) == 0);
		must_fail_null(msg_accept(listener, 0), EAGAIN);
		must(msg_setopt(listener, LIBMSG_RCVTIMEO, -1) == 0);
	}
	msg_ctx_close(ctx);
}

/* ---- a library that is loaded late --------------------------------------------------------- */

static void late(const char *what, bool speaks)
{
	char *argv[] = {getenv("LATE_EXE"), getenv("LIBMSG_SO"),
		(char *)(uintptr_t)testbed_hv("near"), (char *)(uintptr_t)what, NULL};
	struct msg_sock *sock;
	pid_t pid;

	must(argv[0] && argv[1]);
	must(posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) == 0);
	if (speaks) {
		sock = msg_accept(listener, 0);
		must(sock && msg_recv(sock, got, sizeof(got), 0) == 4);
		must(msg_send(sock, "x", 1, 0) == 1);
		must_fail(msg_recv(sock, got, 1, 0), ECONNRESET);
		must(msg_close(sock) == 0);
	}
	must(life_end(pid) == 0);
}

static void test_loaded_late(void **state)
{
	testbed_domain("near", true);
	late("often", false);
	late("threads", false);
	late("open", true);
	late("asleep", true);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_exit),
		CASE(test_main_thread_ends),
		CASE(test_fork_in_calls),
		CASE(test_exec),
		CASE(test_spawn),
		CASE(test_killed_parents),
		CASE(test_backlog_of_the_dead),
		CASE(test_loaded_late),
	};

	return cmocka_run_group_tests_name("lives", tests, testbed_setup, testbed_teardown);
}
