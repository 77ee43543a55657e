/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See admin-client.h. */
#include "msgctl/admin-client.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "base/cleanup.h"

/* msgd's largest: ADMIN_ROWS_MAX rows of channels, with room to spare. */
#define ANSWER_MAX (64U << 20)
/* The same of a line of an answer that goes on, an event. */
#define LINE_MAX_BYTES 8192U
#define CONNECT_MS     5000U

static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* A queue of connections that nobody takes is waited for as well, and is EAGAIN after the limit. */
static int admin_connect(const char *path, uint32_t limit_ms, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = limit_ms / 1000};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

/*
 * The socket takes the text whole. msgd closes a connection for which it has no place at once: it
 * has said so before.
 */
static int admin_send(int fd, const json_t *request)
{
	_cleanup_free_ char *line = json_dumps(request, JSON_COMPACT);

	if (!line)
		return -ENOMEM;
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 || send(fd, "\n", 1, MSG_NOSIGNAL) < 0)
		return errno == EPIPE ? 0 : -errno;
	return 0;
}

struct reader {
	int fd;
	uint64_t until_ms;
	size_t len;
	int error; /* negative errno */
};

/* Until something can be read: false, with the reason, if that takes too long. */
static bool reader_wait(struct reader *reader)
{
	struct pollfd fd = {.fd = reader->fd, .events = POLLIN};
	uint64_t now = now_ms();
	int left_ms = now < reader->until_ms ? (int)(reader->until_ms - now) : 0;
	int n = TEMP_FAILURE_RETRY(poll(&fd, 1, left_ms));

	if (n <= 0)
		reader->error = n < 0 ? -errno : -EAGAIN;
	return n > 0;
}

static size_t on_read(void *bytes, size_t size, void *arg)
{
	struct reader *reader = arg;
	ssize_t n;

	if (!reader_wait(reader))
		return (size_t)-1;
	n = TEMP_FAILURE_RETRY(recv(reader->fd, bytes, size, MSG_DONTWAIT));
	if (n <= 0)
		reader->error = n < 0 ? -errno : -ECONNRESET;
	else if ((reader->len += (size_t)n) > ANSWER_MAX)
		reader->error = -ENOMEM;
	return reader->error ? (size_t)-1 : (size_t)n;
}

/* NULL: no JSON came; *ret_error is 0 if something else did. */
static json_t *admin_exchange(
	const char *path, const json_t *request, uint32_t limit_ms, int *ret_error)
{
	_cleanup_close_ int fd = -1;
	struct reader reader = {
		.until_ms = now_ms() + limit_ms, .error = admin_connect(path, limit_ms, &fd)};
	json_t *answer = NULL;

	reader.fd = fd;
	if (reader.error == 0)
		reader.error = admin_send(fd, request);
	if (reader.error == 0)
		answer = json_load_callback(
			on_read, &reader, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, NULL);
	*ret_error = reader.error;
	return answer;
}

/* Says on stderr why there is no such answer; false: it is one. r: 0, or a negative errno. */
static bool admin_complain(
	const char *socket_path, const char *from, const json_t *answer, int r, uint32_t limit_ms)
{
	const char *error = json_string_value(json_object_get(answer, "error"));

	if (r == -ENOENT || r == -ECONNREFUSED)
		(void)fprintf(stderr, "msgctl: no msgd on %s (%s)\n", socket_path, from);
	else if (r == -EAGAIN)
		(void)fprintf(stderr, "msgctl: %s: no answer within %u seconds\n", socket_path,
			limit_ms / 1000);
	else if (r == -EACCES || r == -EPERM)
		(void)fprintf(stderr,
			"msgctl: %s: permission denied (root, or the group that owns it)\n",
			socket_path);
	else if (r < 0)
		(void)fprintf(stderr, "msgctl: %s: %s\n", socket_path, strerror(-r));
	else if (!json_is_object(answer))
		(void)fprintf(stderr, "msgctl: %s: not msgd's answer\n", socket_path);
	else if (error && !json_object_get(answer, "serial"))
		(void)fprintf(stderr, "msgctl: msgd: %s\n", error);
	else
		return false;
	return true;
}

json_t *admin_ask(
	const char *socket_path, const char *from, const json_t *request, uint32_t limit_ms)
{
	int r;
	json_t *answer = admin_exchange(socket_path, request, limit_ms, &r);

	if (!admin_complain(socket_path, from, answer, r, limit_ms))
		return answer;
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
	void (*on_object)(const json_t *object))
{
	json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	bool good = !admin_complain(socket_path, from, object, 0, 0);

	if (good)
		on_object(object);
	json_decref(object);
	return good;
}

void admin_follow(const char *socket_path, const char *from, const json_t *request,
	void (*on_object)(const json_t *object))
{
	_cleanup_close_ int fd = -1;
	int r = admin_connect(socket_path, CONNECT_MS, &fd);
	char line[LINE_MAX_BYTES];
	FILE *stream;

	if (r == 0)
		r = admin_send(fd, request);
	stream = r == 0 ? fdopen(fd, "r") : NULL;
	if (!stream) {
		(void)admin_complain(socket_path, from, NULL, r < 0 ? r : -errno, CONNECT_MS);
		return;
	}
	fd = -1; /* the stream's */
	while (fgets(line, sizeof(line), stream) && follow_line(socket_path, from, line, on_object))
		;
	if (feof(stream))
		(void)fprintf(stderr, "msgctl: %s: msgd has closed the connection\n", socket_path);
	(void)fclose(stream);
}
