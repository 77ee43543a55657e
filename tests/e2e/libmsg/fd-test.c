/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msg_sock_fd: descriptors that stand for channels, over the ring that $TESTBED_TRANSPORT names.
 * The near end is libmsg's, the far end a descriptor.
 */
#include "tests/support/cmocka-all.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"
#include "tests/support/testbed.h"

#define TOTAL  (4U << 20)
#define N_MANY 200

static struct msg_ctx *near_ctx, *far_ctx;
static struct msg_sock *near;
static int fd;
static uint8_t sent[TOTAL], got[TOTAL], got_by_fd[TOTAL];

static int setup(void **state)
{
	testbed_watchdog(60);
	near_ctx = testbed_ctx("near", 0);
	far_ctx = testbed_ctx("far", 0);
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
	fd = -1;
	return 0;
}

static int teardown(void **state)
{
	if (fd >= 0)
		(void)close(fd);
	msg_ctx_close(near_ctx);
	msg_ctx_close(far_ctx);
	testbed_watchdog(0);
	return 0;
}

/* By msg_sock_fd, or where $TESTBED_SERVE is set by msg_sock_serve. */
static int fd_of(struct msg_sock *sock)
{
	const int size = 212992;
	int64_t type;
	int fds[2];

	if (!getenv("TESTBED_SERVE"))
		return msg_sock_fd(sock);
	must(msg_getopt(sock, LIBMSG_TYPE, &type) == 0);
	must(socketpair(AF_UNIX,
		     (type == LIBMSG_STREAM ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC, 0,
		     fds) == 0);
	must(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
	must(send(fds[0], "", 1, 0) == 1);
	must(msg_sock_serve(sock, fds[1]) == 0);
	must(fcntl(fds[1], F_GETFD) == -1);
	return fds[0];
}

static void open_channel(int type)
{
	struct msg_sock *ends[2];

	testbed_channel_of(type, near_ctx, far_ctx, "far", ends);
	near = ends[0];
	fd = fd_of(ends[1]);
	must(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && !(fcntl(fd, F_GETFL) & O_NONBLOCK));
}

static void close_fd(void)
{
	must(close(fd) == 0);
	fd = -1;
}

static void send_near(const void *data, size_t len)
{
	must(msg_send(near, data, len, 0) == (ssize_t)len);
}

/* The near end reads these, then the end. */
static void ends_with(const char *text)
{
	must(msg_recv(near, got, sizeof(got), MSG_WAITALL) == (ssize_t)strlen(text));
	must(memcmp(got, text, strlen(text)) == 0);
	must(msg_recv(near, got, 1, 0) == 0);
}

static void read_text(const char *text)
{
	must(recv(fd, got, strlen(text), MSG_WAITALL) == (ssize_t)strlen(text));
	must(memcmp(got, text, strlen(text)) == 0);
}

/* All that came before the cut is read; of messages the kernel says so before that, once. */
static void is_cut_after(const char *text, int type)
{
	ssize_t n = type == LIBMSG_SEQPACKET ? recv(fd, got, sizeof(got), 0) : 0;

	if (n < 0) {
		must(errno == ECONNRESET);
		read_text(text);
		return;
	}
	if (n > 0)
		must(n == (ssize_t)strlen(text) && memcmp(got, text, strlen(text)) == 0);
	else
		read_text(text);
	must(recv(fd, got, 1, 0) == -1 && errno == ECONNRESET);
}

static void await_readable(void)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};

	must(poll(&pollfd, 1, TESTBED_WAIT_MS) == 1);
}

static void send_fd(int to, int passed)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec iov = {.iov_base = (char[]){0}, .iov_len = 1};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &passed, sizeof(int));
	must(sendmsg(to, &message, 0) == 1);
}

/* ---- bytes and messages -------------------------------------------------------------------- */

static void send_all(void *arg)
{
	send_near(sent, TOTAL);
	must(msg_shutdown(near, SHUT_WR) == 0);
}

static void read_all(void *arg)
{
	must(recv(fd, got_by_fd, TOTAL, MSG_WAITALL) == TOTAL);
	must(recv(fd, got_by_fd, 1, 0) == 0);
}

static void write_all(void *arg)
{
	for (size_t done = 0, n; done < TOTAL; done += n) {
		n = min_u64(TOTAL - done, 1 + done % 70001);
		must(send(fd, sent + done, n, MSG_NOSIGNAL) == (ssize_t)n);
	}
	must(shutdown(fd, SHUT_WR) == 0);
}

static void test_bytes(void **state)
{
	struct worker workers[3];

	open_channel(LIBMSG_STREAM);
	worker_start(&workers[0], send_all, NULL);
	worker_start(&workers[1], read_all, NULL);
	worker_start(&workers[2], write_all, NULL);
	must(msg_recv(near, got, TOTAL, MSG_WAITALL) == TOTAL);
	must(msg_recv(near, got, 1, 0) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(workers); i++)
		worker_join(&workers[i]);
	must(memcmp(got, sent, TOTAL) == 0 && memcmp(got_by_fd, sent, TOTAL) == 0);
}

static void test_half_closed(void **state)
{
	struct msg_sock *ends[2];

	/* Messages that a corked socket has kept back go out; it is corked no more. */
	testbed_channel_of(LIBMSG_STREAM, near_ctx, far_ctx, "far", ends);
	near = ends[0];
	must(msg_setopt(ends[1], LIBMSG_CORK, 1) == 0 && msg_send(ends[1], "kept", 4, 0) == 4);
	fd = fd_of(ends[1]);
	must(fd >= 0 && msg_recv(near, got, 4, MSG_WAITALL) == 4);
	must(send(fd, "x", 1, 0) == 1 && msg_recv(near, got, 1, 0) == 1);
	close_fd();
	open_channel(LIBMSG_STREAM);
	must(send(fd, "there", 5, 0) == 5 && shutdown(fd, SHUT_WR) == 0);
	ends_with("there");
	send_near("back", 4);
	read_text("back");
	must(msg_shutdown(near, SHUT_WR) == 0);
	must(recv(fd, got, 1, 0) == 0);
	open_channel(LIBMSG_STREAM);
	send_near("there", 5);
	must(msg_shutdown(near, SHUT_WR) == 0);
	read_text("there");
	must(recv(fd, got, 1, 0) == 0);
	must(send(fd, "back", 4, 0) == 4 && shutdown(fd, SHUT_WR) == 0);
	ends_with("back");
}

/* Lengths, empty ones too, in an order that each end checks. */
static size_t length(unsigned i)
{
	static const size_t lengths[] = {0, 1, 0, 0, 60000, 2, 65536, 31, 0, 4096};

	return lengths[i % ARRAY_SIZE(lengths)];
}

#define N_MESSAGES 400

static void write_messages(void *arg)
{
	for (unsigned i = 0; i < N_MESSAGES; i++)
		must(send(fd, sent + i, length(i), 0) == (ssize_t)length(i));
	must(shutdown(fd, SHUT_WR) == 0);
}

static void read_messages(void *arg)
{
	for (unsigned i = 0; i < N_MESSAGES; i++) {
		must(recv(fd, got_by_fd, sizeof(got_by_fd), 0) == (ssize_t)length(i));
		must(memcmp(got_by_fd, sent + i, length(i)) == 0);
	}
	must(recv(fd, got_by_fd, 1, 0) == 0);
}

static void recv_messages(void *arg)
{
	for (unsigned i = 0; i <= N_MESSAGES; i++) {
		struct iovec iov = {.iov_base = got, .iov_len = sizeof(got)};
		struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t n = msg_recvmsg(near, &message, 0);

		must(n == (i < N_MESSAGES ? (ssize_t)length(i) : 0));
		must(message.msg_flags == (i < N_MESSAGES ? MSG_EOR : 0));
		must(memcmp(got, sent + i, (size_t)n) == 0);
	}
}

static void test_messages(void **state)
{
	struct worker workers[3];

	open_channel(LIBMSG_SEQPACKET);
	worker_start(&workers[0], write_messages, NULL);
	worker_start(&workers[1], read_messages, NULL);
	worker_start(&workers[2], recv_messages, NULL);
	for (unsigned i = 0; i < N_MESSAGES; i++)
		send_near(sent + i, length(i));
	must(msg_shutdown(near, SHUT_WR) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(workers); i++)
		worker_join(&workers[i]);
}

/* A message that the channel cannot carry is not left out: the channel is cut. */
static void test_too_long(void **state)
{
	for (int i = 0; i < 3; i++) {
		open_channel(LIBMSG_SEQPACKET);
		if (i == 2)
			must(msg_setopt(near, LIBMSG_MAXMSG, 1000) == 0);
		send_near("told", 4);
		read_text("told"); /* the limits came before that */
		must(send(fd, "told", 4, 0) == 4 && msg_recv(near, got, 4, 0) == 4);
		if (i == 0) {
			must(send(fd, sent, 65537, 0) == 65537);
		} else if (i == 1) {
			must_fail(msg_send(near, sent, 65537, 0), EMSGSIZE);
			send_near(sent, 65536);
			must(recv(fd, got, sizeof(got), 0) == 65536);
			continue;
		} else {
			must(send(fd, sent, 1001, 0) == 1001);
		}
		must_fail(msg_recv(near, got, sizeof(got), 0), ECONNRESET);
		must(recv(fd, got, 1, 0) == -1 && errno == ECONNRESET);
		close_fd();
	}
}

/* A reader that stands still stops the writer, at either side; nothing is lost by it. */
static void test_full(void **state)
{
	size_t by_near = 0, by_fd = 0;
	ssize_t n;

	open_channel(LIBMSG_STREAM);
	for (unsigned quiet = 0; quiet < 20; quiet++) {
		while ((n = msg_send(near, sent, 65536, MSG_DONTWAIT)) > 0) {
			by_near += (size_t)n;
			quiet = 0;
		}
		must(errno == EAGAIN);
		while ((n = send(fd, sent, 65536, MSG_DONTWAIT)) > 0) {
			by_fd += (size_t)n;
			quiet = 0;
		}
		must(errno == EAGAIN);
		(void)poll(NULL, 0, 5);
	}
	must(by_near < TOTAL && by_fd < TOTAL);
	must(msg_shutdown(near, SHUT_WR) == 0 && shutdown(fd, SHUT_WR) == 0);
	must(recv(fd, got, by_near, MSG_WAITALL) == (ssize_t)by_near);
	must(recv(fd, got, 1, 0) == 0);
	must(msg_recv(near, got, by_fd, MSG_WAITALL) == (ssize_t)by_fd);
	must(msg_recv(near, got, 1, 0) == 0);
}

static void receive_slowly(void *arg)
{
	for (unsigned i = 0; i < 400; i++)
		must(msg_recv(near, got + i * 1000, 1000, MSG_WAITALL) == 1000);
}

/* A program that sets SO_SNDBUF is not in the way of itself. */
static void test_small_sndbuf(void **state)
{
	for (int size = 1; size <= 16384; size = size * 16) {
		struct worker worker;

		open_channel(LIBMSG_STREAM);
		must(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
		worker_start(&worker, receive_slowly, NULL);
		for (unsigned i = 0; i < 10; i++)
			must(send(fd, sent, 40000, 0) == 40000);
		worker_join(&worker);
		for (unsigned i = 0; i < 10; i++)
			must(memcmp(got + i * 40000, sent, 40000) == 0);
		must(shutdown(fd, SHUT_WR) == 0);
		must(msg_recv(near, got, 1, 0) == 0);
		must(msg_close(near) == 0);
		must(recv(fd, got, 1, 0) == 0);
		close_fd();
	}
}

/* The same of messages; and of one that waits for POLLOUT, as a program with an event loop. */
static void test_small_sndbuf_of_messages(void **state)
{
	const int size = 150000;

	open_channel(LIBMSG_SEQPACKET);
	must(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
	for (unsigned i = 0; i < 5; i++) {
		struct pollfd pollfd = {.fd = fd, .events = POLLOUT};

		must(poll(&pollfd, 1, TESTBED_WAIT_MS) == 1 && pollfd.revents == POLLOUT);
		must(send(fd, sent, 65536, MSG_DONTWAIT) == 65536);
		must(msg_recv(near, got, sizeof(got), 0) == 65536);
	}
}

/* No descriptors cross, and nothing is urgent; but no byte is lost by it. */
static void test_descriptors_and_urgent_bytes(void **state)
{
	open_channel(LIBMSG_STREAM);
	must(send(fd, "a", 1, 0) == 1);
	send_fd(fd, STDIN_FILENO); /* with a byte 0 */
	must(send(fd, "b", 1, 0) == 1);
	send_fd(fd, STDIN_FILENO);
	must(send(fd, "c", 1, 0) == 1);
	must(msg_recv(near, got, 5, MSG_WAITALL) == 5 && memcmp(got, "a\0b\0c", 5) == 0);
	if (send(fd, "u", 1, MSG_OOB) == 1)
		must(send(fd, "d", 1, 0) == 1 && shutdown(fd, SHUT_WR) == 0);
	else
		must(send(fd, "ud", 2, 0) == 2 && shutdown(fd, SHUT_WR) == 0);
	ends_with("ud");
}

/* ---- ends ---------------------------------------------------------------------------------- */

static void test_program_closes(void **state)
{
	open_channel(LIBMSG_STREAM);
	must(send(fd, "last", 4, 0) == 4);
	close_fd();
	ends_with("last");
	/* The peer's answer to a program that is gone: refused, or lost, and never in silence. */
	while (msg_send(near, sent, 1000, 0) > 0)
		;
	must(errno == EPIPE || errno == ECONNRESET);

	open_channel(LIBMSG_STREAM);
	send_near("unread", 6);
	await_readable();
	close_fd();
	must_fail(msg_recv(near, got, 1, 0), ECONNRESET);
}

/* A program that does not read on throws away what comes: for the peer it is no loss. */
static void test_program_stops_reading(void **state)
{
	open_channel(LIBMSG_STREAM);
	must(shutdown(fd, SHUT_RD) == 0);
	send_near("unread", 6);
	for (unsigned i = 0; i < 10; i++)
		must(send(fd, sent, 1000, 0) == 1000);
	must(msg_recv(near, got, 10000, MSG_WAITALL) == 10000);
	send_near("unread", 6);
	must(send(fd, "last", 4, 0) == 4);
	close_fd();
	ends_with("last");
}

/* A forked child that lives on is in nobody's way; one that has the descriptor may use it. */
static void test_forked_children(void **state)
{
	int ways[2];
	pid_t idle, serves;
	char byte;

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ways) == 0);
	open_channel(LIBMSG_STREAM);
	idle = fork();
	if (idle == 0) {
		(void)close(fd);
		for (;;)
			(void)pause();
	}
	serves = fork();
	if (serves == 0) {
		read_text("in");
		must(send(ways[1], "r", 1, 0) == 1);
		must(recv(fd, got, 1, 0) == -1 && errno == ECONNRESET);
		_exit(0);
	}
	send_near("in", 2);
	must(recv(ways[0], &byte, 1, 0) == 1);
	close_fd();
	msg_ctx_close(far_ctx);
	far_ctx = NULL;
	must(waitpid(serves, NULL, 0) == serves);
	must(kill(idle, SIGKILL) == 0 && waitpid(idle, NULL, 0) == idle);
	must(close(ways[0]) == 0 && close(ways[1]) == 0);
}

/* A child that clone(2) made has no handler of forks, and holds the local sockets for a while. */
static void test_cloned_child(void **state)
{
	char byte;
	pid_t pid;

	open_channel(LIBMSG_STREAM);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)pause();
	}
	send_near("last", 4);
	must(msg_close(near) == 0);
	read_text("last");
	must(recv(fd, &byte, 1, 0) == 0);
	/* Words of a program for a channel that has ended are nobody's any more. */
	while (send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
		;
	must(shutdown(fd, SHUT_RDWR) == 0);
	open_channel(LIBMSG_STREAM);
	send_near("next", 4);
	read_text("next");
	must(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

static void test_peer_closes(void **state)
{
	open_channel(LIBMSG_STREAM);
	must(send(fd, "taken", 5, 0) == 5);
	must(msg_recv(near, got, 5, MSG_WAITALL) == 5);
	send_near("last", 4);
	must(msg_close(near) == 0);
	read_text("last");
	must(recv(fd, got, 1, 0) == 0);
	while (send(fd, "x", 1, MSG_NOSIGNAL) == 1)
		;
	must(errno == EPIPE || errno == ECONNRESET); /* the latter if one of them was lost */
	close_fd();

	open_channel(LIBMSG_STREAM);
	send_near("last", 4);
	must(send(fd, "unread", 6, 0) == 6);
	must(msg_recv(near, got, 1, MSG_PEEK) == 1);
	must(msg_close(near) == 0);
	is_cut_after("last", LIBMSG_STREAM);
}

static void test_peer_dies(void **state)
{
	static const int types[] = {LIBMSG_STREAM, LIBMSG_SEQPACKET};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct msg_sock *listener = msg_listen(far_ctx, "mortal", types[i], 4, 0), *sock;
		pid_t pid = fork();

		if (pid == 0) {
			struct msg_ctx *ctx = testbed_ctx("mortal", 0);

			near = msg_connect(ctx, "far/mortal", types[i], 0, TESTBED_WAIT_MS);
			must(near);
			send_near("mortal", 6);
			for (;;)
				(void)pause();
		}
		sock = msg_accept(listener, 0);
		must(sock && msg_close(listener) == 0);
		fd = fd_of(sock);
		must(fd >= 0);
		await_readable();
		if (i == 0)
			must(send(fd, "to it", 5, 0) == 5);
		must(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
		is_cut_after("mortal", types[i]);
		close_fd();
	}
}

static int receive_fd(int from)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	int passed;

	must(recvmsg(from, &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message));
	memcpy(&passed, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	return passed;
}

/* Serves one channel by a descriptor that another process gets, until it is killed. */
static void serve_fd(const char *name, int type, int to)
{
	struct msg_ctx *ctx = testbed_ctx("server", 0);
	struct msg_sock *listener = msg_listen(ctx, name, type, 4, 0);
	int passed;

	must(listener);
	passed = fd_of(msg_accept(listener, 0));
	must(passed >= 0);
	send_fd(to, passed);
	must(close(passed) == 0);
	for (;;)
		(void)pause();
}

/* The process that moves the bytes is killed: neither side takes that for an end. */
static void test_server_dies(void **state)
{
	static const int types[] = {LIBMSG_STREAM, LIBMSG_SEQPACKET};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(types); i++) {
		int type = types[i / 2], ways[2];
		char address[32]; /* a name that no former process holds */
		pid_t pid;

		(void)snprintf(address, sizeof(address), "server/served%zu", i);

		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ways) == 0);
		pid = fork();
		if (pid == 0)
			serve_fd(strchr(address, '/') + 1, type, ways[1]);
		must(close(ways[1]) == 0);
		near = msg_connect(near_ctx, address, type, LIBMSG_WAIT_NAME, TESTBED_WAIT_MS);
		must(near);
		fd = receive_fd(ways[0]);
		if (i % 2) {
			must(send(fd, "there", 5, 0) == 5);
			must(msg_recv(near, got, 5, MSG_WAITALL) == 5);
		}
		send_near("back", 4);
		await_readable();
		must(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
		is_cut_after("back", type);
		must_fail(msg_recv(near, got, 1, 0), ECONNRESET);
		must(msg_close(near) == 0 && close(ways[0]) == 0);
		close_fd();
	}
}

static void test_context_closes(void **state)
{
	open_channel(LIBMSG_STREAM);
	send_near("before", 6);
	await_readable();
	msg_ctx_close(far_ctx);
	far_ctx = NULL;
	is_cut_after("before", LIBMSG_STREAM);
	must_fail(msg_recv(near, got, 1, 0), ECONNRESET);
}

/* ---- programs ------------------------------------------------------------------------------ */

/* A program that never heard of libmsg has it as its standard input and output. */
static void test_unmodified_program(void **state)
{
	struct worker worker;
	int status;
	pid_t pid;

	open_channel(LIBMSG_STREAM);
	pid = fork();
	if (pid == 0) {
		must(dup2(fd, STDIN_FILENO) == 0 && dup2(fd, STDOUT_FILENO) == 1);
		(void)execlp("cat", "cat", (char *)NULL);
		_exit(127);
	}
	close_fd();
	worker_start(&worker, send_all, NULL);
	must(msg_recv(near, got, TOTAL, MSG_WAITALL) == TOTAL && memcmp(got, sent, TOTAL) == 0);
	must(msg_recv(near, got, 1, 0) == 0);
	worker_join(&worker);
	must(waitpid(pid, &status, 0) == pid && status == 0);
}

static uint64_t cpu_ns(void)
{
	struct timespec time;

	must(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0);
	return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

/* Many of them; those that nothing happens to take no time, whatever state they are in. */
static void test_many(void **state)
{
	struct msg_sock *nears[N_MANY];
	int fds[N_MANY];
	uint64_t began;

	for (unsigned i = 0; i < N_MANY; i++) {
		open_channel(i % 2 ? LIBMSG_SEQPACKET : LIBMSG_STREAM);
		nears[i] = near;
		fds[i] = fd;
		fd = -1;
	}
	for (unsigned i = 0; i < N_MANY; i++)
		must(msg_send(nears[i], &i, sizeof(i), 0) == sizeof(i));
	for (unsigned i = 0; i < N_MANY; i++) {
		unsigned value;

		must(recv(fds[i], &value, sizeof(value), 0) == sizeof(value) && value == i);
		must(send(fds[i], &value, sizeof(value), 0) == sizeof(value));
		must(msg_recv(nears[i], &value, sizeof(value), 0) == sizeof(value) && value == i);
		if (i % 5 == 1)
			must(shutdown(fds[i], SHUT_WR) == 0);
		else if (i % 5 == 2)
			must(msg_shutdown(nears[i], SHUT_WR) == 0);
		else if (i % 5 == 3)
			while (msg_send(nears[i], sent, 4096, MSG_DONTWAIT) > 0)
				(void)poll(NULL, 0, 1);
		else if (i % 5 == 4)
			must(close(fds[i]) == 0);
	}
	(void)poll(NULL, 0, 50); /* in which all of that is noticed */
	began = cpu_ns();
	(void)poll(NULL, 0, 500);
	must(cpu_ns() - began < 100000000U);
	for (unsigned i = 0; i < N_MANY; i++) {
		must(msg_close(nears[i]) == 0);
		if (i % 5 != 4)
			must(close(fds[i]) == 0);
	}
}

/* The application's own event loop hears of its own sockets alone. */
static void test_beside_own_loop(void **state)
{
	struct msg_sock *ends[2];
	struct msg_event events[4];
	struct pollfd pollfd;

	open_channel(LIBMSG_STREAM);
	testbed_channel(near_ctx, far_ctx, "far", ends);
	pollfd = (struct pollfd){.fd = msg_ctx_fd(far_ctx), .events = POLLIN};
	while (msg_ctx_dispatch(far_ctx, events, 4) > 0)
		;
	send_near("theirs", 6);
	await_readable();
	must(msg_ctx_dispatch(far_ctx, events, 4) == 0);
	must(msg_send(ends[0], "own", 3, 0) == 3);
	must(poll(&pollfd, 1, TESTBED_WAIT_MS) == 1);
	must(msg_ctx_dispatch(far_ctx, events, 4) == 1 && events[0].sock == ends[1]);
	must(msg_recv(ends[1], got, 3, 0) == 3);
	read_text("theirs");
}

static void test_refused(void **state)
{
	struct msg_ctx *alone = testbed_ctx("far", LIBMSG_ONE_THREAD);
	struct msg_sock *listener = msg_listen(far_ctx, "listener", LIBMSG_STREAM, 4, 0);
	struct msg_sock *ends[2];

	must_fail(msg_sock_fd(listener), EINVAL);
	testbed_channel_of(LIBMSG_DGRAM, near_ctx, far_ctx, "far", ends);
	must_fail(msg_sock_fd(ends[1]), EOPNOTSUPP);
	must(msg_send(ends[1], "as before", 9, 0) == 9 && msg_recv(ends[0], got, 9, 0) == 9);
	ends[0] = msg_connect(alone, "far/listener", LIBMSG_STREAM, LIBMSG_NONBLOCK, 0);
	must_fail(msg_sock_fd(ends[0]), EINVAL);
	msg_ctx_close(alone);
	ends[0] = msg_connect(far_ctx, "far/nobody", LIBMSG_STREAM, LIBMSG_NONBLOCK, 0);
	must_fail(msg_sock_fd(ends[0]), ENOTCONN);
}

/* A program that writes, closes and exits at once, far ahead of its peer. */
static void drain_and_exit(void)
{
	struct msg_ctx *ctx = testbed_ctx("writer", 0);
	struct msg_sock *sock = msg_connect(ctx, "far/reader", LIBMSG_STREAM, 0, TESTBED_WAIT_MS);
	int two[2];

	must(sock);
	two[0] = fd_of(sock);
	must(send(two[0], sent, TOTAL, 0) == TOTAL);
	must(msg_ctx_drain(ctx, -1) == 0); /* of one that is open the bytes */
	sock = msg_connect(ctx, "far/reader", LIBMSG_STREAM, 0, TESTBED_WAIT_MS);
	two[1] = fd_of(sock);
	must(send(two[1], sent, TOTAL, 0) == TOTAL);
	must(close(two[0]) == 0 && close(two[1]) == 0);
	must(msg_ctx_drain(ctx, -1) == 0);
	_exit(0);
}

static void test_drained(void **state)
{
	struct msg_sock *listener = msg_listen(near_ctx, "reader", LIBMSG_STREAM, 4, 0);
	pid_t pid;
	int status;

	must(listener && msg_ctx_drain(near_ctx, -1) == 0);
	(void)msg_close(listener);
	listener = msg_listen(far_ctx, "reader", LIBMSG_STREAM, 4, 0);
	pid = fork();
	if (pid == 0)
		drain_and_exit();
	for (int i = 0; i < 2; i++) {
		struct msg_sock *sock = msg_accept(listener, 0);

		must(sock && msg_recv(sock, got, TOTAL, MSG_WAITALL) == TOTAL);
		must(memcmp(got, sent, TOTAL) == 0);
		if (i == 1)
			must(msg_recv(sock, got, 1, 0) == 0);
	}
	must(waitpid(pid, &status, 0) == pid && status == 0);
	/* A peer takes nothing: the far end gives up, whatever its thread looks at. */
	open_channel(LIBMSG_STREAM);
	must(msg_send(near, "more", 4, MSG_MORE) == 4); /* kept back, and no reason to wait */
	must(msg_ctx_drain(near_ctx, 5000) == 0);
	must(msg_setopt(near, LIBMSG_RCVBUF, 8192) == 0);
	must(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	while (send(fd, sent, TOTAL, 0) > 0)
		;
	must_fail(msg_ctx_drain(far_ctx, 50), ETIMEDOUT);
	must_fail(msg_ctx_drain(far_ctx, 1500), ETIMEDOUT);
}

/* The thread may be amid a round when the program closes its descriptor, and drains. */
static void test_drained_at_once(void **state)
{
	for (int i = 0; i < 1000; i++) {
		open_channel(LIBMSG_STREAM);
		must(send(fd, "x", 1, 0) == 1);
		for (volatile int j = 0; j < 100 * i; j++)
			; /* the thread is at something else each time */
		must(close(fd) == 0 && msg_ctx_drain(far_ctx, -1) == 0);
		must(msg_recv(near, got, 1, MSG_DONTWAIT) == 1);
		must(msg_recv(near, got, 1, MSG_DONTWAIT) == 0);
		must(msg_close(near) == 0);
	}
	fd = -1;
	near = NULL;
}

/* A descriptor that cannot be served stays the caller's, and so does the channel. */
static void test_refused_to_serve(void **state)
{
	struct msg_sock *ends[2];
	int streams[2], packets[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, streams) == 0);
	must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets) == 0);
	testbed_channel_of(LIBMSG_STREAM, near_ctx, far_ctx, "far", ends);
	must_fail(msg_sock_serve(ends[1], -1), EINVAL);
	must_fail(msg_sock_serve(ends[1], STDIN_FILENO), EINVAL);
	must(strstr(msg_reason(), "0 is no end of a pair"));
	must_fail(msg_sock_serve(ends[1], streams[1]), EINVAL); /* without a beginning */
	must(send(packets[0], "", 1, 0) == 1);
	must_fail(msg_sock_serve(ends[1], packets[1]), EINVAL);
	must(msg_send(ends[0], "as before", 9, 0) == 9 && msg_recv(ends[1], got, 9, 0) == 9);
	must(send(streams[0], "", 1, 0) == 1);
	must(msg_sock_serve(ends[1], streams[1]) == 0);
	must(send(streams[0], "goes", 4, 0) == 4 && msg_recv(ends[0], got, 9, 0) == 4);
	for (int i = 0; i < 2; i++)
		must(close(packets[i]) == 0);
	must(close(streams[0]) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_small_sndbuf, setup, teardown),
		cmocka_unit_test_setup_teardown(test_small_sndbuf_of_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors_and_urgent_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_program_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_program_stops_reading, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forked_children, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cloned_child, setup, teardown),
		cmocka_unit_test_setup_teardown(test_peer_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_peer_dies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_dies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_context_closes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unmodified_program, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_beside_own_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drained, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drained_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_to_serve, setup, teardown),
	};

	return cmocka_run_group_tests(tests, testbed_setup, testbed_teardown);
}
