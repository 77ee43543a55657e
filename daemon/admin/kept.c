/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See kept.h. The file's head is a line of text, so that another version of it is none that is
 * known. */
#include "daemon/admin/kept.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/notify.h"
#include "base/number.h"

#define HEAD_FORMAT "msgd-kept-1 %" PRIu64 " %zu %zu\n"
#define HEAD_SIZE   80U

int kept_new(int *ret_fd)
{
	int fd = memfd_create("msgd-admin-client", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int write_all(int fd, const void *bytes, size_t len)
{
	ssize_t n = write(fd, bytes, len);

	return n == (ssize_t)len ? 0 : n < 0 ? -errno : -EIO;
}

/* Without taking anything away: a stream's buffers are frozen at that end. */
static int write_buffer(int fd, struct evbuffer *buffer)
{
	int n = evbuffer_peek(buffer, -1, NULL, NULL, 0), r = 0;
	_cleanup_free_ struct evbuffer_iovec *parts = calloc((size_t)n + 1, sizeof(*parts));

	if (!parts)
		return -ENOMEM;
	n = evbuffer_peek(buffer, -1, NULL, parts, n);
	for (int i = 0; i < n && r == 0; i++)
		r = write_all(fd, parts[i].iov_base, parts[i].iov_len);
	return r;
}

int kept_write(int fd, uint64_t begun_ms, struct evbuffer *output, const char *line,
	struct evbuffer *input)
{
	size_t output_len = output ? evbuffer_get_length(output) : 0;
	size_t line_len = line ? strlen(line) + 1 : 0;
	size_t input_len = line_len + evbuffer_get_length(input);
	char head[HEAD_SIZE];
	int n, r;

	if (output_len + input_len > KEPT_BYTES_MAX)
		return -EFBIG;
	n = snprintf(head, sizeof(head), HEAD_FORMAT, begun_ms, output_len, input_len);
	if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	r = write_all(fd, head, (size_t)n);
	if (r == 0 && output)
		r = write_buffer(fd, output);
	if (r == 0 && line)
		r = write_all(fd, line, line_len - 1);
	if (r == 0 && line)
		r = write_all(fd, "\n", 1);
	return r == 0 ? write_buffer(fd, input) : r;
}

int kept_read(int fd, uint64_t *ret_begun_ms, struct evbuffer *output, struct evbuffer *input)
{
	_cleanup_free_ char *text = NULL;
	size_t len, head_len, output_len, input_len;
	uint64_t begun_ms;
	struct stat st;
	const char *rest;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < 1 || st.st_size > HEAD_SIZE + KEPT_BYTES_MAX)
		return -EPROTO;
	len = (size_t)st.st_size;
	text = malloc(len + 1);
	if (!text)
		return -ENOMEM;
	if (pread(fd, text, len, 0) != (ssize_t)len)
		return -EIO;
	text[len] = '\0';
	rest = strchr(text, '\n');
	if (!rest || sscanf(text, HEAD_FORMAT, &begun_ms, &output_len, &input_len) != 3)
		return -EPROTO;
	head_len = (size_t)(++rest - text);
	if (output_len > KEPT_BYTES_MAX || input_len > KEPT_BYTES_MAX ||
		head_len + output_len + input_len != len)
		return -EPROTO;
	if (evbuffer_add(output, rest, output_len) < 0 ||
		evbuffer_prepend(input, rest + output_len, input_len) < 0)
		return -ENOMEM;
	*ret_begun_ms = begun_ms;
	return 0;
}

int kept_hand_over(unsigned number, int socket_fd, int fd)
{
	char text[KEPT_NAME_SIZE + 32];

	(void)snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=" KEPT_NAME_PREFIX "%u", number);
	return notify_send_fds(text, (const int[]){socket_fd, fd}, 2);
}

int kept_take_back(unsigned number)
{
	char text[KEPT_NAME_SIZE + 32];

	(void)snprintf(
		text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=" KEPT_NAME_PREFIX "%u", number);
	return notify_send_fds(text, NULL, 0);
}

int kept_number(const char *name)
{
	size_t len = strlen(KEPT_NAME_PREFIX);
	uint32_t number;

	return strncmp(name, KEPT_NAME_PREFIX, len) == 0 &&
			       number_from_text(name + len, INT_MAX, &number)
		       ? (int)number
		       : -1;
}
