/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See admin-client.h. */
#include "msgctl/admin-client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "msgctl/admin-exchange.h"
#include "msgctl/command.h"
#include "proto/limits.h"

/* The longest line of an answer that goes on, an event. */
#define LINE_MAX_BYTES 8192U
#define CONNECT_MS     5000U

/* Says on stderr why there is no such answer; false: it is one. r: 0, or a negative errno. */
static bool admin_complain(
	const char *socket_path, const char *from, const json_t *answer, int r, uint32_t limit_ms)
{
	char text[ADMIN_TROUBLE_SIZE];
	bool trouble = admin_trouble(socket_path, from, answer, r, limit_ms, text);

	/* FILE:LINE: of what msgd has read stands first, as that of what msgctl reads. */
	if (trouble && json_is_true(json_object_get(answer, "file")))
		(void)fprintf(stderr, "%s\n", json_string_value(json_object_get(answer, "error")));
	else if (trouble)
		(void)fprintf(stderr, "msgctl: %s\n", text);
	return trouble;
}

static int admin_status(const json_t *answer)
{
	return json_is_true(json_object_get(answer, "usage")) ? EXIT_USAGE : EXIT_FAILURE;
}

json_t *admin_ask(const char *socket_path, const char *from, const json_t *request,
	uint32_t limit_ms, int *ret_status)
{
	int r;
	json_t *answer = admin_exchange(socket_path, request, limit_ms, &r);

	if (!admin_complain(socket_path, from, answer, r, limit_ms))
		return answer;
	*ret_status = admin_status(answer);
	json_decref(answer);
	return NULL;
}

bool admin_tell(const char *socket_path, const char *from, const json_t *request, uint32_t limit_ms)
{
	int r;
	json_t *answer = admin_exchange(socket_path, request, limit_ms, &r);
	bool told =
		json_is_object(answer) || !admin_complain(socket_path, from, answer, r, limit_ms);

	json_decref(answer);
	return told;
}

/* ---- an answer that goes on ----------------------------------------------------------------- */

/* True: the line is an object, and was handed on. */
static bool follow_line(const char *socket_path, const char *from, const char *line,
	void (*on_object)(const json_t *object), int *ret_status)
{
	json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	bool good = !admin_complain(socket_path, from, object, 0, 0);

	if (good)
		on_object(object);
	else
		*ret_status = admin_status(object);
	json_decref(object);
	return good;
}

int admin_follow(const char *socket_path, const char *from, const json_t *request,
	void (*on_object)(const json_t *object))
{
	_cleanup_close_ int fd = -1;
	int r = admin_connect(socket_path, CONNECT_MS, &fd);
	char line[LINE_MAX_BYTES];
	int status = EXIT_FAILURE;
	FILE *stream;

	if (r == 0)
		r = admin_send(fd, request);
	stream = r == 0 ? fdopen(fd, "r") : NULL;
	if (!stream) {
		(void)admin_complain(socket_path, from, NULL, r < 0 ? r : -errno, CONNECT_MS);
		return status;
	}
	fd = -1; /* the stream's */
	while (fgets(line, sizeof(line), stream) &&
		follow_line(socket_path, from, line, on_object, &status))
		;
	if (feof(stream))
		(void)fprintf(stderr, "msgctl: %s: msgd has closed the connection\n", socket_path);
	(void)fclose(stream);
	return status;
}

/* ---- the same with an end ------------------------------------------------------------------- */

/* A frame with the longest payload, in hexadecimal, and its fields. */
#define STREAM_LINE_MAX (2 * CAPTURE_SNAPLEN_MAX + LINE_MAX_BYTES)

struct stream {
	int fd, signals;
	uint64_t until_ms; /* UINT64_MAX: for ever */
	size_t len;	   /* of the beginning of a line */
	char line[STREAM_LINE_MAX];
};

/* Until something can be read: false, if the time or the user ends it before. */
static bool stream_wait(const struct stream *stream)
{
	struct pollfd fds[2] = {
		{.fd = stream->fd, .events = POLLIN}, {.fd = stream->signals, .events = POLLIN}};
	uint64_t now = monotonic_ms();
	int left_ms = stream->until_ms == UINT64_MAX	   ? -1
		      : stream->until_ms <= now		   ? 0
		      : stream->until_ms - now > INT32_MAX ? INT32_MAX
							   : (int)(stream->until_ms - now);

	return TEMP_FAILURE_RETRY(poll(fds, 2, left_ms)) > 0 && !fds[1].revents;
}

/* Hands whole lines on. 1: there may be more; 0: it was enough; -EBADMSG: refused, and said so. */
static int stream_lines(struct stream *stream, const char *socket_path, const char *from,
	bool (*on_object)(void *arg, const json_t *object), void *arg)
{
	char *line = stream->line, *end;
	int r = 1;

	while (r > 0 && (end = memchr(line, '\n', stream->len))) {
		json_t *object =
			json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, NULL);

		if (admin_complain(socket_path, from, object, 0, 0))
			r = -EBADMSG;
		else
			r = on_object(arg, object);
		json_decref(object);
		stream->len -= (size_t)(end + 1 - line);
		line = end + 1;
	}
	memmove(stream->line, line, stream->len);
	return r;
}

static enum admin_end stream_read(struct stream *stream, const char *socket_path, const char *from,
	bool (*on_object)(void *arg, const json_t *object), void *arg)
{
	int r = 1;

	while (r > 0) {
		ssize_t n;

		if (!stream_wait(stream))
			return ADMIN_END_ENOUGH;
		n = TEMP_FAILURE_RETRY(recv(stream->fd, stream->line + stream->len,
			sizeof(stream->line) - stream->len, MSG_DONTWAIT));
		if (n <= 0) {
			(void)fprintf(stderr, "msgctl: %s: msgd has closed the connection\n",
				socket_path);
			return ADMIN_END_FAILED;
		}
		stream->len += (size_t)n;
		r = stream_lines(stream, socket_path, from, on_object, arg);
		if (r > 0 && stream->len == sizeof(stream->line)) {
			(void)admin_complain(socket_path, from, NULL, 0, 0);
			r = -EBADMSG;
		}
	}
	return r == 0 ? ADMIN_END_ENOUGH : ADMIN_END_FAILED;
}

enum admin_end admin_stream(const char *socket_path, const char *from, const json_t *request,
	uint32_t seconds, bool (*on_object)(void *arg, const json_t *object), void *arg)
{
	_cleanup_close_ int fd = -1, signals = -1;
	int r = admin_connect(socket_path, CONNECT_MS, &fd);
	struct stream stream;
	sigset_t mask;

	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGINT);
	(void)sigaddset(&mask, SIGTERM);
	if (r == 0)
		r = admin_send(fd, request);
	if (r == 0 && sigprocmask(SIG_BLOCK, &mask, NULL) == 0)
		signals = signalfd(-1, &mask, SFD_CLOEXEC);
	if (r < 0 || signals < 0) {
		(void)admin_complain(socket_path, from, NULL, r < 0 ? r : -errno, CONNECT_MS);
		return ADMIN_END_FAILED;
	}
	stream.fd = fd;
	stream.signals = signals;
	stream.until_ms = seconds ? monotonic_ms() + (uint64_t)seconds * 1000 : UINT64_MAX;
	stream.len = 0;
	return stream_read(&stream, socket_path, from, on_object, arg);
}
