/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lines on stderr; of a service whose stderr is the journal, records to the journal's own socket.
 * One write a line, so that lines of two processes do not mix.
 *
 * Records are of the Journal Native Protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL). Each value goes
 * with its length: whatever a guest has put into it, it is no other field. libsystemd would write
 * the same, but waits for a journald that does not read.
 *
 * No line waits for its reader: a program that serves others must not stand still since the
 * journal, a pipe's other end or a terminal does. Standard error is shared with other processes, so
 * its own flags stay: a socket is written by a send that does not block, and a pipe or a terminal
 * is opened once more.
 */
#include "base/log.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_SIZE 1024U

static const char *log_name = "";
static int log_level = LOG_INFO;
static bool log_to_journal, log_to_socket;
static int log_fd = STDERR_FILENO;
static int log_journal_fd = -1; /* its address goes with each record: journald may be restarted */
static unsigned log_lost;	/* lines, since the last that was written */

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
	if (log_to_journal && log_journal_fd < 0)
		log_journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	log_open_fd();
}

/* ---- records -------------------------------------------------------------------------------- */

/* MESSAGE, PRIORITY and SYSLOG_IDENTIFIER are fields too. */
#define FIELDS_MAX (LOG_FIELDS_MAX + 3U)

/* NAME, newline, the value's length, the value, newline. */
#define PARTS 5U

static bool log_send(const struct log_field *fields, size_t n)
{
	static const struct sockaddr_un address = {
		.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
	struct iovec parts[PARTS * FIELDS_MAX];
	uint64_t lengths[FIELDS_MAX];
	struct msghdr datagram = {.msg_name = (void *)&address,
		.msg_namelen = sizeof(address),
		.msg_iov = parts,
		.msg_iovlen = PARTS * n};

	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(fields[i].value);
		struct iovec *part = &parts[PARTS * i];

		lengths[i] = htole64(len);
		part[0] = (struct iovec){(void *)fields[i].name, strlen(fields[i].name)};
		part[1] = (struct iovec){(void *)"\n", 1};
		part[2] = (struct iovec){&lengths[i], sizeof(lengths[i])};
		part[3] = (struct iovec){(void *)fields[i].value, len};
		part[4] = (struct iovec){(void *)"\n", 1};
	}
	return sendmsg(log_journal_fd, &datagram, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static bool log_put_record(
	int priority, const struct log_field *fields, size_t n_fields, const char *text)
{
	char digit[2] = {(char)('0' + priority), '\0'};
	struct log_field all[FIELDS_MAX] = {
		{"MESSAGE", text}, {"PRIORITY", digit}, {"SYSLOG_IDENTIFIER", log_name}};

	assert(n_fields <= LOG_FIELDS_MAX);
	if (n_fields)
		memcpy(&all[3], fields, n_fields * sizeof(*fields));
	return log_send(all, n_fields + 3);
}

/* ---- lines ---------------------------------------------------------------------------------- */

static bool log_put_text(const char *line, size_t len)
{
	ssize_t n = log_to_socket ? send(log_fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL)
				  : write(log_fd, line, len);

	return n >= 0;
}

/* The journal takes the priority of a line from a leading <N>: sd-daemon(3). */
static bool log_put_line(int priority, const char *text)
{
	char line[LINE_SIZE + 64];
	int n = log_to_journal ? snprintf(line, sizeof(line), "<%d>%s\n", priority, text)
			       : snprintf(line, sizeof(line), "%s: %s\n", log_name, text);

	return log_put_text(line, (size_t)n);
}

/* Without the journal's socket, as in another root directory, its stream has the text at least. */
static bool log_put(int priority, const struct log_field *fields, size_t n_fields, const char *text)
{
	if (log_to_journal && log_journal_fd >= 0) {
		if (log_put_record(priority, fields, n_fields, text))
			return true;
		if (errno == EAGAIN || errno == ENOBUFS)
			return false;
	}
	return log_put_line(priority, text);
}

/* The lines that found no room, once there is room again. */
static bool log_say_lost(void)
{
	char text[64];

	if (log_lost == 0)
		return true;
	(void)snprintf(text, sizeof(text), "%u lines are lost: the log was not read", log_lost);
	if (!log_put(LOG_WARNING, NULL, 0, text))
		return false;
	log_lost = 0;
	return true;
}

void log_record(int priority, bool always, const struct log_field *fields, size_t n_fields,
	const char *text)
{
	char line[LINE_SIZE];

	if (priority > log_level && !always)
		return;
	(void)snprintf(line, sizeof(line), "%s", text);
	for (char *c = line; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	}
	if (!log_say_lost() || !log_put(priority, fields, n_fields, line))
		log_lost++;
}

void log_write(int priority, const char *format, ...)
{
	char text[LINE_SIZE];
	va_list args;

	if (priority > log_level)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_record(priority, false, NULL, 0, text);
}
