/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lines on stderr: a service's stderr is the journal, which takes the priority from a leading <N>
 * (sd-daemon(3)). One write a line, so that lines of two processes do not mix.
 *
 * No line waits for its reader: a program that serves others must not stand still since the
 * journal, a pipe's other end or a terminal does. Standard error is shared with other processes, so
 * its own flags stay: a socket is written by a send that does not block, and a pipe or a terminal
 * is opened once more.
 */
#include "base/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *log_name = "";
static int log_level = LOG_INFO;
static bool log_to_journal, log_to_socket;
static int log_fd = STDERR_FILENO;
static unsigned log_lost; /* lines, since the last that was written */

/* $JOURNAL_STREAM names the device and inode of the journal's stream (systemd.exec(5)). */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

/* Where /proc is not there, the line's write is the one that standard error has. */
static void log_open_fd(void)
{
	struct stat st;
	int fd;

	if (log_fd != STDERR_FILENO || fstat(STDERR_FILENO, &st) < 0)
		return;
	log_to_socket = S_ISSOCK(st.st_mode);
	if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
		return;
	fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		log_fd = fd;
}

void log_open(const char *name, int level)
{
	log_name = name;
	log_level = level;
	log_to_journal = stderr_is_journal();
	log_open_fd();
}

static bool log_put(const char *line, size_t len)
{
	ssize_t n = log_to_socket ? send(log_fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL)
				  : write(log_fd, line, len);

	return n >= 0;
}

/* In the form that the reader wants; returns its length. */
static size_t log_prefix(char *line, size_t size, int priority)
{
	return (size_t)(log_to_journal ? snprintf(line, size, "<%d>", priority)
				       : snprintf(line, size, "%s: ", log_name));
}

/* The lines that found no room, once there is room again. */
static bool log_say_lost(void)
{
	char line[128];
	size_t n;

	if (log_lost == 0)
		return true;
	n = log_prefix(line, sizeof(line), LOG_WARNING);
	n += (size_t)snprintf(
		line + n, sizeof(line) - n, "%u lines are lost: the log was not read\n", log_lost);
	if (!log_put(line, n))
		return false;
	log_lost = 0;
	return true;
}

void log_write(int priority, const char *format, ...)
{
	char line[1024];
	size_t len, n;
	va_list args;

	if (priority > log_level)
		return;
	n = log_prefix(line, sizeof(line), priority);
	va_start(args, format);
	(void)vsnprintf(line + n, sizeof(line) - n - 1, format, args);
	va_end(args);
	len = strlen(line);
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	}
	line[len++] = '\n';
	if (!log_say_lost() || !log_put(line, len))
		log_lost++;
}
