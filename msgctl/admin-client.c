/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgctl's side of the admin socket: one request, one answer. An answer is bounded: another program
 * than msgd may listen there.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "msgctl/command.h"

/* msgd's largest: ADMIN_ROWS_MAX rows of channels, with room to spare. */
#define ANSWER_MAX (64U << 20)

static int admin_connect(const char *path, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

struct reader {
	int fd;
	size_t len;
	int error; /* negative errno */
};

static size_t on_read(void *bytes, size_t size, void *arg)
{
	struct reader *reader = arg;
	ssize_t n = TEMP_FAILURE_RETRY(recv(reader->fd, bytes, size, 0));

	if (n <= 0)
		reader->error = n < 0 ? -errno : -ECONNRESET;
	else if ((reader->len += (size_t)n) > ANSWER_MAX)
		reader->error = -ENOMEM;
	return reader->error ? (size_t)-1 : (size_t)n;
}

/* NULL: no JSON came; *ret_error is 0 if something else did. */
static json_t *admin_exchange(const char *path, const json_t *request, int *ret_error)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *line = json_dumps(request, JSON_COMPACT);
	struct reader reader = {.error = line ? admin_connect(path, &fd) : -ENOMEM};
	json_t *answer = NULL;

	reader.fd = fd;
	/* The socket blocks, and takes either text whole. */
	if (reader.error == 0 && (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 ||
					 send(fd, "\n", 1, MSG_NOSIGNAL) < 0))
		reader.error = -errno;
	if (reader.error == 0)
		answer = json_load_callback(
			on_read, &reader, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, NULL);
	*ret_error = reader.error;
	return answer;
}

json_t *admin_ask(const char *socket_path, const json_t *request)
{
	int r;
	json_t *answer = admin_exchange(socket_path, request, &r);
	const char *error = json_string_value(json_object_get(answer, "error"));

	if (r == -ENOENT || r == -ECONNREFUSED)
		(void)fprintf(stderr, "msgctl: no msgd on %s\n", socket_path);
	else if (r == -EACCES || r == -EPERM)
		(void)fprintf(stderr,
			"msgctl: %s: permission denied (root, or the group that owns it)\n",
			socket_path);
	else if (r < 0)
		(void)fprintf(stderr, "msgctl: %s: %s\n", socket_path, strerror(-r));
	else if (!json_is_object(answer))
		(void)fprintf(stderr, "msgctl: %s: not msgd's answer\n", socket_path);
	else if (error)
		(void)fprintf(stderr, "msgctl: msgd: %s\n", error);
	else
		return answer;
	json_decref(answer);
	return NULL;
}
