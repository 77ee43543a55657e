/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See admin-exchange.h. */
#include "msgctl/admin-exchange.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"

/* msgd's largest: ADMIN_ROWS_MAX rows of channels, with room to spare. */
#define ANSWER_MAX (64U << 20)

int admin_connect(const char *path, uint32_t limit_ms, int *ret_fd)
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

/* The socket takes the text whole. */
int admin_send(int fd, const json_t *request)
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
	uint64_t now = monotonic_ms();
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

json_t *admin_exchange(const char *path, const json_t *request, uint32_t limit_ms, int *ret_error)
{
	_cleanup_close_ int fd = -1;
	struct reader reader = {
		.until_ms = monotonic_ms() + limit_ms, .error = admin_connect(path, limit_ms, &fd)};
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

bool admin_trouble(const char *socket_path, const char *from, const json_t *answer, int r,
	uint32_t limit_ms, char ret_text[ADMIN_TROUBLE_SIZE])
{
	const char *error = json_string_value(json_object_get(answer, "error"));

	if (r == -ENOENT || r == -ECONNREFUSED)
		(void)snprintf(
			ret_text, ADMIN_TROUBLE_SIZE, "no msgd on %s (%s)", socket_path, from);
	else if (r == -EAGAIN)
		(void)snprintf(ret_text, ADMIN_TROUBLE_SIZE, "%s: no answer within %u seconds",
			socket_path, limit_ms / 1000);
	else if (r == -EACCES || r == -EPERM)
		(void)snprintf(ret_text, ADMIN_TROUBLE_SIZE,
			"%s: permission denied (root, or the group that owns it)", socket_path);
	else if (r < 0)
		(void)snprintf(ret_text, ADMIN_TROUBLE_SIZE, "%s: %s", socket_path, strerror(-r));
	else if (!json_is_object(answer))
		(void)snprintf(ret_text, ADMIN_TROUBLE_SIZE, "%s: not msgd's answer", socket_path);
	else if (error && !json_object_get(answer, "serial"))
		(void)snprintf(ret_text, ADMIN_TROUBLE_SIZE, "msgd: %s", error);
	else
		return false;
	return true;
}

bool admin_socket_of_hv(const char *hv, char ret_path[ADMIN_PATH_SIZE])
{
	bool xen = strcmp(hv, "xen") == 0;

	if (!xen && (strncmp(hv, "sim:", 4) != 0 || !hv[4] || hv[4] == '#'))
		return false;
	if (xen)
		strcpy(ret_path, ADMIN_DEFAULT_SOCKET);
	else
		(void)snprintf(
			ret_path, ADMIN_PATH_SIZE, "%.*s.msgd", (int)strcspn(hv + 4, "#"), hv + 4);
	return true;
}

const char *admin_socket_of_environment(char ret_path[ADMIN_PATH_SIZE])
{
	const char *path = secure_getenv("MSGD_SOCKET"), *hv = secure_getenv("MSG_HV");

	strcpy(ret_path, ADMIN_DEFAULT_SOCKET);
	if (path && *path) {
		(void)snprintf(ret_path, ADMIN_PATH_SIZE, "%s", path);
		return "of MSGD_SOCKET";
	}
	return hv && *hv && admin_socket_of_hv(hv, ret_path) ? "of MSG_HV" : "the default";
}
