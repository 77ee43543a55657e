/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See line.h. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "tests/xen/console/line.h"

void text_put(FILE *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < ' ' || c > '~' || c == '\\')
			fprintf(out, "\\%03o", c);
		else
			fputc(c, out);
	}
}

static bool octal(const char *digits)
{
	for (int i = 0; i < 3; i++)
		if (digits[i] < '0' || digits[i] > '7')
			return false;
	return true;
}

size_t text_unescape(char *text)
{
	size_t len = 0;

	for (const char *p = text; *p; p++) {
		if (*p == '\\' && octal(p + 1)) {
			text[len++] = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
			p += 3;
		} else {
			text[len++] = *p;
		}
	}
	text[len] = 0;
	return len;
}

int write_all(int fd, const char *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			buf += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int tail_next(struct tail *tail, bool partial)
{
	ssize_t n;

	if (!tail->file)
		tail->file = fopen(tail->path, "re");
	if (!tail->file || (!tail->reading && fseeko(tail->file, tail->offset, SEEK_SET) < 0))
		return -EAGAIN;
	n = getline(&tail->line, &tail->size, tail->file);
	tail->reading = n > 0 && tail->line[n - 1] == '\n';
	if (!tail->reading)
		return n > 0 && partial ? (int)n : -EAGAIN;
	tail->offset += n;
	while (n > 0 && strchr("\r\n", tail->line[n - 1]))
		tail->line[--n] = 0;
	return (int)n;
}

void tail_close(struct tail *tail)
{
	if (tail->file)
		fclose(tail->file);
	free(tail->line);
}

/* Its next line that is wanted. */
static bool tail_has(struct tail *tail, const regex_t *wanted, bool partial)
{
	int64_t before;

	do {
		before = tail->offset;
		if (tail_next(tail, partial) < 0)
			return false;
		if (regexec(wanted, tail->line, 0, NULL, 0) == 0)
			return true;
	} while (tail->offset != before);
	return false;
}

int tail_await(struct tail *tail, const regex_t *wanted, bool partial, int timeout_ms,
	int (*goes_on)(void *arg), void *arg)
{
	int64_t end = now_ms() + timeout_ms;
	struct pollfd changes = {.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), .events = POLLIN};
	bool watched = false;
	char events[4096];
	int r = 0;

	for (;;) {
		/* Watched before it is read: what is appended afterwards is an event. */
		watched = watched || inotify_add_watch(changes.fd, tail->path, IN_MODIFY) >= 0;
		while (read(changes.fd, events, sizeof(events)) > 0)
			;
		if (tail_has(tail, wanted, partial))
			break;
		if (now_ms() >= end)
			r = -ETIMEDOUT;
		else if (goes_on)
			r = goes_on(arg);
		if (r < 0)
			break;
		(void)poll(&changes, 1, watched ? 500 : 20);
	}
	(void)close(changes.fd);
	return r;
}

void tail_show(FILE *out, const char *path, size_t len)
{
	FILE *file = fopen(path, "re");
	int c;

	if (!file)
		return;
	if (fseek(file, -(long)len, SEEK_END) < 0)
		rewind(file);
	while ((c = fgetc(file)) != EOF)
		fputc(c, out);
	fclose(file);
}
