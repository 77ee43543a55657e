/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See admin-client.h. */
#include "msgctl/admin-client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "msgctl/admin-exchange.h"
#include "msgctl/command.h"
#include "msgctl/complain.h"
#include "proto/limits.h"

/* The longest line of an answer that goes on, an event. */
#define LINE_MAX_BYTES 8192U
#define CONNECT_MS     5000U
/* Between two looks whether msgd is back: a restart takes tens of milliseconds. */
#define AWAY_MS 100

int admin_status(const json_t *answer)
{
	return json_is_true(json_object_get(answer, "usage")) ? EXIT_USAGE : EXIT_FAILURE;
}

const char *admin_error_name(const json_t *answer, int r)
{
	const char *name = json_string_value(json_object_get(answer, "errno"));

	if (r == 0 && !json_is_object(answer))
		r = -EBADMSG;
	else if (r == -EAGAIN)
		r = -ETIMEDOUT;
	else if (admin_status(answer) == EXIT_USAGE)
		r = -EINVAL;
	return name || r == 0 ? name : strerrorname_np(-r);
}

/* Says on stderr why there is no such answer; false: it is one. r: 0, or a negative errno. */
static bool admin_complain(
	const char *socket_path, const char *from, const json_t *answer, int r, uint32_t limit_ms)
{
	char text[ADMIN_TROUBLE_SIZE];
	/* FILE:LINE: of what msgd has read stands first, as that of what msgctl reads. */
	bool file = json_is_true(json_object_get(answer, "file"));

	if (!admin_trouble(socket_path, from, answer, r, limit_ms, text))
		return false;
	complain_text(admin_status(answer), admin_error_name(answer, r), file ? "" : "msgctl: ",
		file ? json_string_value(json_object_get(answer, "error")) : text);
	return true;
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

/* msgd does not run, or it ended before it answered. */
static bool is_away(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET;
}

json_t *admin_wait(const char *socket_path, const char *from, const json_t *request,
	uint32_t wait_ms, void (*on_away)(const char *socket_path), int *ret_status)
{
	static const struct timespec pause = {.tv_nsec = AWAY_MS * 1000000L};
	uint64_t now = monotonic_ms(), until = now + wait_ms;
	json_t *own = json_deep_copy(request), *answer;
	bool said = false;
	int r;

	for (;;) {
		uint32_t left_ms = until > now ? (uint32_t)(until - now) : 0;

		(void)json_object_set_new(own, "timeout_ms", json_integer(left_ms));
		answer = admin_exchange(socket_path, own, left_ms + ANSWER_MS, &r);
		now = monotonic_ms();
		if (answer || !is_away(r) || now >= until)
			break;
		if (!said && on_away)
			on_away(socket_path);
		said = true;
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	}
	json_decref(own);
	if (!admin_complain(socket_path, from, answer, r, wait_ms + ANSWER_MS))
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

/* A frame with the longest payload, in hexadecimal, and its fields. */
#define STREAM_LINE_MAX (2 * CAPTURE_SNAPLEN_MAX + LINE_MAX_BYTES)

struct stream {
	int fd, signals;   /* signals: that end it; -1: none are caught */
	uint64_t until_ms; /* UINT64_MAX: for ever */
	size_t len;	   /* of the beginning of a line */
	char line[STREAM_LINE_MAX];
};

/* ADMIN_END_NONE: something can be read. */
static enum admin_end stream_wait(const struct stream *stream)
{
	struct pollfd fds[2] = {
		{.fd = stream->fd, .events = POLLIN}, {.fd = stream->signals, .events = POLLIN}};
	uint64_t now = monotonic_ms();
	int left_ms = stream->until_ms == UINT64_MAX	   ? -1
		      : stream->until_ms <= now		   ? 0
		      : stream->until_ms - now > INT32_MAX ? INT32_MAX
							   : (int)(stream->until_ms - now);

	if (TEMP_FAILURE_RETRY(poll(fds, 2, left_ms)) <= 0)
		return ADMIN_END_TIME;
	return fds[1].revents ? ADMIN_END_USER : ADMIN_END_NONE;
}

/* Hands whole lines on. */
static enum admin_end stream_lines(struct stream *stream, const char *socket_path, const char *from,
	bool (*on_object)(void *arg, const json_t *object), void *arg, int *ret_status)
{
	enum admin_end end = ADMIN_END_NONE;
	char *line = stream->line, *line_end;

	while (end == ADMIN_END_NONE && (line_end = memchr(line, '\n', stream->len))) {
		json_t *object =
			json_loadb(line, (size_t)(line_end - line), JSON_REJECT_DUPLICATES, NULL);

		if (admin_complain(socket_path, from, object, 0, 0)) {
			*ret_status = admin_status(object);
			end = ADMIN_END_FAILED;
		} else if (!on_object(arg, object)) {
			end = ADMIN_END_ENOUGH;
		}
		json_decref(object);
		stream->len -= (size_t)(line_end + 1 - line);
		line = line_end + 1;
	}
	memmove(stream->line, line, stream->len);
	return end;
}

/* n: of a recv that brought nothing. */
static void complain_of_end(const char *socket_path, ssize_t n)
{
	if (n == 0 || errno == ECONNRESET)
		complain(EXIT_FAILURE, -ECONNRESET, "%s: msgd has closed the connection",
			socket_path);
	else
		complain(EXIT_FAILURE, -errno, "%s: %s", socket_path, strerror(errno));
}

static enum admin_end stream_read(struct stream *stream, const char *socket_path, const char *from,
	bool (*on_object)(void *arg, const json_t *object), void *arg, int *ret_status)
{
	enum admin_end end = stream_wait(stream);

	while (end == ADMIN_END_NONE) {
		ssize_t n = TEMP_FAILURE_RETRY(recv(stream->fd, stream->line + stream->len,
			sizeof(stream->line) - stream->len, MSG_DONTWAIT));

		if (n <= 0) {
			complain_of_end(socket_path, n);
			return ADMIN_END_FAILED;
		}
		stream->len += (size_t)n;
		end = stream_lines(stream, socket_path, from, on_object, arg, ret_status);
		if (end == ADMIN_END_NONE && stream->len == sizeof(stream->line)) {
			(void)admin_complain(socket_path, from, NULL, 0, 0);
			return ADMIN_END_FAILED;
		}
		if (end == ADMIN_END_NONE)
			end = stream_wait(stream);
	}
	return end;
}

static void end_signals(sigset_t *ret_mask)
{
	(void)sigemptyset(ret_mask);
	(void)sigaddset(ret_mask, SIGINT);
	(void)sigaddset(ret_mask, SIGTERM);
}

enum admin_end admin_stream(const char *socket_path, const char *from, const json_t *request,
	uint64_t limit_ms, bool (*on_object)(void *arg, const json_t *object), void *arg,
	int *ret_status)
{
	_cleanup_close_ int fd = -1, signals = -1;
	int r = admin_connect(socket_path, CONNECT_MS, &fd);
	struct stream stream;
	sigset_t mask;

	*ret_status = EXIT_FAILURE;
	end_signals(&mask);
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
	stream.until_ms = limit_ms ? monotonic_ms() + limit_ms : UINT64_MAX;
	stream.len = 0;
	return stream_read(&stream, socket_path, from, on_object, arg, ret_status);
}

bool admin_user_ends(uint64_t limit_us)
{
	struct timespec limit = {.tv_sec = (time_t)(limit_us / 1000000),
		.tv_nsec = (long)(limit_us % 1000000) * 1000};
	sigset_t mask;

	end_signals(&mask);
	return TEMP_FAILURE_RETRY(sigtimedwait(&mask, NULL, &limit)) > 0;
}

int admin_follow(const char *socket_path, const char *from, const json_t *request,
	bool (*on_object)(void *arg, const json_t *object), void *arg)
{
	_cleanup_close_ int fd = -1;
	struct stream stream = {.signals = -1, .until_ms = UINT64_MAX};
	int status = EXIT_FAILURE, r = admin_connect(socket_path, CONNECT_MS, &fd);

	if (r == 0)
		r = admin_send(fd, request);
	stream.fd = fd;
	if (r < 0)
		(void)admin_complain(socket_path, from, NULL, r, CONNECT_MS);
	else if (stream_read(&stream, socket_path, from, on_object, arg, &status) ==
		 ADMIN_END_ENOUGH)
		status = EXIT_SUCCESS;
	return status;
}
