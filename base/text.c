/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See text.h. The kind is looked at before the file is opened, since opening a device can have
 * effects; and again afterwards, since the path may have become another file's.
 */
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static const char *kind_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFIFO:
		return "is a FIFO, not a file";
	case S_IFDIR:
		return "is a directory, not a file";
	case S_IFSOCK:
		return "is a socket, not a file";
	default:
		return "is a device, not a file";
	}
}

static int text_fail(
	int error, const char *path, const char *reason, char ret_error[TEXT_ERROR_SIZE])
{
	(void)snprintf(
		ret_error, TEXT_ERROR_SIZE, "%.180s: %s", path, reason ? reason : strerror(-error));
	return error;
}

static int text_open(const char *path, int *ret_fd, char ret_error[TEXT_ERROR_SIZE])
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (stat(path, &st) < 0)
		return text_fail(-errno, path, NULL, ret_error);
	if (!S_ISREG(st.st_mode))
		return text_fail(-EINVAL, path, kind_name(st.st_mode), ret_error);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return text_fail(-errno, path, NULL, ret_error);
	if (!S_ISREG(st.st_mode))
		return text_fail(-EINVAL, path, kind_name(st.st_mode), ret_error);
	*ret_fd = steal_fd(&fd);
	return 0;
}

int text_read(const char *path, size_t max, char **ret_text, size_t *ret_len,
	char ret_error[TEXT_ERROR_SIZE])
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	ssize_t n;
	int r = text_open(path, &fd, ret_error);

	if (r < 0)
		return r;
	text = malloc(max);
	if (!text)
		return text_fail(-ENOMEM, path, NULL, ret_error);
	while ((n = TEMP_FAILURE_RETRY(read(fd, text + len, max - len))) > 0)
		len += (size_t)n;
	if (n < 0)
		return text_fail(-errno, path, NULL, ret_error);
	if (len == max) {
		(void)snprintf(
			ret_error, TEXT_ERROR_SIZE, "%.180s: has %zu bytes or more", path, max);
		return -EFBIG;
	}
	text[len] = '\0';
	*ret_text = steal_ptr(text);
	*ret_len = len;
	return 0;
}
