/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A case of two programs in two domains, as functions in processes of their own. Each may say a
 * letter, for which the other waits.
 */
#ifndef TESTS_E2E_COMPAT_BOTH_H
#define TESTS_E2E_COMPAT_BOTH_H

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/testbed.h"

/* The domains are made in this order. */
#define SERVER_DOMAIN "web"
#define SERVER_DOMID  1
#define CLIENT_DOMAIN "shop"
#define CLIENT_DOMID  2

static int other; /* a socket to the other process */

static inline void say(char letter)
{
	must(write(other, &letter, 1) == 1);
}

static inline void hear(char letter)
{
	char got = 0;
	ssize_t n;

	do {
		n = read(other, &got, 1);
	} while (n < 0 && errno == EINTR);
	must(n == 1 && got == letter);
}

/* Sleeps until the descriptor is readable. */
static inline void await_fd(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	while (poll(&p, 1, -1) < 0)
		must(errno == EINTR);
}

static inline pid_t in_domain(const char *domain, const int fds[2], int mine, void (*fn)(void))
{
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	must(pid >= 0);
	if (pid)
		return pid;
	must_last_words = NULL; /* the world is the parent's */
	other = fds[mine];
	(void)close(fds[!mine]); /* the other's death ends what it is to be heard from */
	must(setenv("MSG_HV", testbed_hv(domain), 1) == 0);
	testbed_watchdog(50);
	fn();
	exit(0);
}

static inline bool ended_by(int status, int signal)
{
	bool as_told = signal ? WIFSIGNALED(status) && WTERMSIG(status) == signal
			      : WIFEXITED(status) && WEXITSTATUS(status) == 0;

	if (!as_told)
		(void)fprintf(stderr, "a process ended with status %#x\n", (unsigned)status);
	return as_told;
}

static inline void must_end(pid_t pid, int signal)
{
	int status;

	must(waitpid(pid, &status, 0) == pid && ended_by(status, signal));
}

/* Each ends by a signal, or with success. */
static inline void both_end(
	void (*server)(void), int server_signal, void (*client)(void), int client_signal)
{
	int fds[2];
	pid_t pids[2];

	testbed_watchdog(60);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	pids[0] = in_domain(SERVER_DOMAIN, fds, 0, server);
	pids[1] = in_domain(CLIENT_DOMAIN, fds, 1, client);
	(void)close(fds[0]);
	(void)close(fds[1]);
	/* The first to fail ends the test, and leaves the other one to its watchdog. */
	for (int i = 0; i < 2; i++) {
		int status;
		pid_t pid = wait(&status);

		must(pid == pids[0] ? ended_by(status, server_signal)
				    : pid == pids[1] && ended_by(status, client_signal));
	}
	testbed_watchdog(0);
}

static inline void both(void (*server)(void), void (*client)(void))
{
	both_end(server, 0, client, 0);
}

/* The file of names, for this process. */
static inline void conf_write(const char *text)
{
	static char path[64];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/tmp/msgd-xenvchan.%d", (int)getpid());
	file = fopen(path, "w");
	must(file && fputs(text, file) >= 0 && fclose(file) == 0);
	must(setenv("MSG_XENVCHAN_CONF", path, 1) == 0);
}

static inline void conf_end(void)
{
	must(unlink(getenv("MSG_XENVCHAN_CONF")) == 0);
}

static inline int both_teardown(void **state)
{
	conf_end();
	return testbed_teardown(state);
}

static inline int both_setup(void **state)
{
	testbed_start(NULL, NULL);
	conf_write("wait * forever\n"); /* no time limit decides a test that is not about one */
	testbed_domain(SERVER_DOMAIN, true);
	testbed_domain(CLIENT_DOMAIN, true);
	return 0;
}

#endif
