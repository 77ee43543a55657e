/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asks msgd. An answer is bounded: another program than msgd may listen there. */
#include "msgctl/admin-client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

/* msgd's largest: ADMIN_ROWS_MAX rows of channels, with room to spare. */
#define ANSWER_MAX (64U << 20)

static int admin_connect(const char *path, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = -ENAMETOOLONG;

	if (fd < 0)
		return -errno;
	if (strlen(path) < sizeof(address.sun_path)) {
		strcpy(address.sun_path, path);
		r = connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno
											: 0;
	}
	if (r == -ENOENT || r == -ECONNREFUSED)
		(void)fprintf(stderr, "msgctl: no msgd on %s\n", path);
	else if (r == -EACCES || r == -EPERM)
		(void)fprintf(stderr,
			"msgctl: %s: permission denied (root, or the group that owns it)\n", path);
	else if (r < 0)
		(void)fprintf(stderr, "msgctl: %s: %s\n", path, strerror(-r));
	if (r == 0)
		*ret_fd = steal_fd(&fd);
	return r;
}

static int admin_write(int fd, const char *text)
{
	size_t len = strlen(text);

	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* One line, without its newline. */
static int admin_read(int fd, char **ret_text, size_t *ret_len)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0, allocated = 0;

	for (;;) {
		ssize_t n;
		char *eol;

		if (len == allocated) {
			char *more;

			allocated = allocated ? 2 * allocated : 65536;
			more = allocated > ANSWER_MAX ? NULL : realloc(text, allocated);
			if (!more)
				return -ENOMEM;
			text = more;
		}
		n = recv(fd, text + len, allocated - len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		eol = memchr(text + len, '\n', (size_t)n);
		if (eol) {
			*ret_len = (size_t)(eol - text);
			*ret_text = steal_ptr(text);
			return 0;
		}
		len += (size_t)n;
	}
}

int admin_ask(const char *socket_path, const json_t *request, json_t **ret_answer)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL, *line = json_dumps(request, JSON_COMPACT);
	const char *error;
	json_t *answer;
	size_t len = 0;
	int r = admin_connect(socket_path, &fd);

	if (r < 0)
		return r;
	r = line ? admin_write(fd, line) : -ENOMEM;
	if (r == 0)
		r = admin_write(fd, "\n");
	if (r == 0)
		r = admin_read(fd, &text, &len);
	if (r < 0) {
		(void)fprintf(stderr, "msgctl: %s: %s\n", socket_path, strerror(-r));
		return r;
	}
	answer = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(answer)) {
		(void)fprintf(stderr, "msgctl: %s: not msgd's answer\n", socket_path);
		json_decref(answer);
		return -EPROTO;
	}
	error = json_string_value(json_object_get(answer, "error"));
	if (error) {
		(void)fprintf(stderr, "msgctl: msgd: %s\n", error);
		json_decref(answer);
		return -EREMOTEIO;
	}
	*ret_answer = answer;
	return 0;
}
