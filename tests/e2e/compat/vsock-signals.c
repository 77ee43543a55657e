/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls that POSIX permits in a signal handler, and in a child that was forked in the middle of
 * another thread's call, on sockets that are none of libmsg-vsock.so's, with which this program is
 * linked: before the program has a socket of AF_VSOCK, and after. A lock that they took would hang
 * it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/must.h"
#include "tests/support/tsan.h"

#define N_SIGNALS 1000U
#define N_FORKS	  100U
/* Until a hang is one, also on a busy machine. */
#define PATIENCE_S 100U

static int pair[2], listener, vsock;
static atomic_uint n_handled;
static atomic_bool ends;

static int option(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	must(getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0);
	return value;
}

/* Each call that looks whether a socket is the library's. */
static void touch(void)
{
	struct sockaddr_un name;
	socklen_t len = sizeof(name);
	const int size = 20000;
	struct msghdr message = {0};

	must(option(pair[0], SO_ERROR) == 0 && option(pair[0], SO_DOMAIN) == AF_UNIX &&
		option(pair[0], SO_ACCEPTCONN) == 0 && option(listener, SO_ACCEPTCONN) == 1);
	must(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
	must(getsockname(pair[0], (struct sockaddr *)&name, &len) == 0);
	len = sizeof(name);
	must(getpeername(pair[0], (struct sockaddr *)&name, &len) == 0);
	must(listen(listener, 2) == 0);
	must(accept(listener, NULL, NULL) < 0 && errno == EAGAIN);
	must(accept4(listener, NULL, NULL, 0) < 0 && errno == EAGAIN);
	must(recvmsg(pair[0], &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

/* The same of a socket that is the library's, if there is one. */
static void touch_ours(void)
{
	struct sockaddr name;
	socklen_t len = sizeof(name);

	if (vsock < 0) {
		touch();
		return;
	}
	must(option(vsock, SO_ERROR) == 0 && option(vsock, SO_DOMAIN) == AF_VSOCK);
	must(getsockname(vsock, &name, &len) == 0 && name.sa_family == AF_VSOCK);
}

static void on_signal(int number)
{
	int before = errno;

	(void)number;
	touch();
	n_handled++;
	errno = before;
}

static void *send_signals(void *arg)
{
	const pthread_t *to = arg;

	for (unsigned i = 0; i < N_SIGNALS; i++) {
		must(pthread_kill(*to, SIGUSR1) == 0);
		while (n_handled <= i)
			(void)sched_yield();
	}
	ends = true;
	return NULL;
}

static void in_handlers(void)
{
	pthread_t self = pthread_self(), thread;

	n_handled = 0;
	ends = false;
	must(pthread_create(&thread, NULL, send_signals, &self) == 0);
	while (!ends)
		touch_ours();
	must(pthread_join(thread, NULL) == 0);
}

static void *touch_always(void *arg)
{
	while (!ends)
		touch_ours();
	return arg;
}

/* Of _Fork, which calls no handlers: they are what a lock could be freed by. */
static void in_children(void)
{
	pthread_t thread;

	ends = false;
	must(pthread_create(&thread, NULL, touch_always, NULL) == 0);
	for (unsigned i = 0; i < N_FORKS; i++) {
		int status = -1;
		pid_t pid = _Fork();

		must(pid >= 0);
		if (pid == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			touch();
			_exit(0);
		}
		must(waitpid(pid, &status, 0) == pid && status == 0);
	}
	ends = true;
	must(pthread_join(thread, NULL) == 0);
}

static void both(const char *when)
{
	(void)printf("%s: in signal handlers\n", when);
	in_handlers();
	if (TSAN) /* which knows nothing of such children */
		return;
	(void)printf("%s: in children\n", when);
	in_children();
}

int main(void)
{
	struct sockaddr_un autobind = {.sun_family = AF_UNIX};
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	(void)alarm(PATIENCE_S);
	must(sigaction(SIGUSR1, &action, NULL) == 0);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	must(bind(listener, (struct sockaddr *)&autobind, sizeof(sa_family_t)) == 0);
	must(listen(listener, 1) == 0);
	vsock = -1;
	both("without a socket of AF_VSOCK");
	vsock = socket(AF_VSOCK, SOCK_STREAM, 0);
	must(vsock >= 0);
	both("with one");
	return 0;
}
