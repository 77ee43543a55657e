/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Logging and notifying where nobody reads: neither waits, and the lost lines are counted. */
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/notify.h"
#include "base/stop.h"
#include "tests/support/cmocka-all.h"

#define LIMIT_S 10 /* a test that waits is ended */

static unsigned read_all(int fd, const char *what)
{
	char text[1 << 16];
	unsigned n_found = 0;
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0) {
		len += (size_t)n;
		text[len] = '\0';
		for (const char *found = text; (found = strstr(found, what)); found++)
			n_found++;
		memmove(text, text + len - (len < 128 ? len : 128), len < 128 ? len : 128);
		len = len < 128 ? len : 128;
		if (n_found)
			break;
	}
	return n_found;
}

/* A child with its standard error there writes until some lines must be lost. */
static void log_unread(int fd, int reader)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)alarm(LIMIT_S);
		(void)dup2(fd, STDERR_FILENO);
		log_open("test", LOG_INFO);
		for (unsigned i = 0; i < 100000; i++)
			log_notice("line %u", i);
		_exit(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK ? 1 : 0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));		  /* else it waited */
	assert_int_equal(WEXITSTATUS(status), 0); /* the flags of a description that is shared */
	/* Read, and there is room: the next line says how many were lost. */
	(void)fcntl(reader, F_SETFL, O_NONBLOCK);
	assert_true(read_all(reader, "line 0\n") > 0);
}

static void test_log_to_pipe(void **state)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	log_unread(fds[1], fds[0]);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void test_log_to_socket(void **state)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	log_unread(fds[1], fds[0]);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void test_lost_lines_are_told(void **state)
{
	int fds[2], saved = dup(STDERR_FILENO);
	char text[1 << 12];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	(void)alarm(LIMIT_S);
	log_open("test", LOG_INFO);
	for (unsigned i = 0; i < 10000; i++)
		log_notice("line %u", i);
	(void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
	while (read(fds[0], text, sizeof(text)) > 0)
		;
	log_notice("the next");
	(void)alarm(0);
	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	memset(text, 0, sizeof(text));
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, " lines are lost: the log was not read\n"));
	assert_non_null(strstr(text, "test: the next\n"));
	(void)close(fds[0]);
	(void)close(fds[1]);
	(void)close(saved);
}

static void test_notify(void **state)
{
	char directory[] = "/tmp/msgd-notify-XXXXXX", text[64] = "";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0), r = 0;

	assert_non_null(mkdtemp(directory));
	(void)unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify_send("READY=1"), 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", directory);
	assert_int_equal(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
	assert_int_equal(notify_send("READY=1"), -ENOENT);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(notify_send("READY=1"), 0);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 7);
	assert_string_equal(text, "READY=1");
	(void)alarm(LIMIT_S);
	while (r == 0)
		r = notify_send("WATCHDOG=1");
	(void)alarm(0);
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(unlink(address.sun_path), 0);
	assert_int_equal(rmdir(directory), 0);
	(void)close(fd);
}

static void test_notify_abstract(void **state)
{
	static const char name[] = "\0msgd-notify-test";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	char text[64] = "", path[64];

	(void)snprintf(path, sizeof(path), "@%s-%d", name + 1, (int)getpid());
	memcpy(address.sun_path, path, strlen(path));
	address.sun_path[0] = '\0';
	assert_int_equal(setenv("NOTIFY_SOCKET", path, 1), 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address,
				 (socklen_t)(sizeof(sa_family_t) + strlen(path))),
		0);
	assert_int_equal(notify_send("READY=1"), 0);
	assert_int_equal(recv(fd, text, sizeof(text), 0), 7);
	(void)close(fd);
}

/* A program that stands in a call ends all the same. */
static void test_stop(void **state)
{
	int status, fd = -1, fds[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		if (stop_open(&fd) < 0 || write(fds[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause(); /* never looks at fd */
	}
	assert_true(pid > 0);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_to_pipe),
		cmocka_unit_test(test_log_to_socket),
		cmocka_unit_test(test_lost_lines_are_told),
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_notify_abstract),
		cmocka_unit_test(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
