/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of the admin socket, kept for the next msgd: the client's socket, and in a file of
 * memory the bytes that were read from it and not answered, and those that are to be written. The
 * service manager keeps both under one name (systemd's FDSTORE) while msgd is away. It is trusted;
 * the file's lengths are checked all the same.
 */
#ifndef MSGD_DAEMON_ADMIN_KEPT_H
#define MSGD_DAEMON_ADMIN_KEPT_H

#include <event2/buffer.h>
#include <stdint.h>

/* Of the names: "admin-0" and so on, a number for each place that clients have. */
#define KEPT_NAME_SIZE	 24U
#define KEPT_NAME_PREFIX "admin-"
/* A portion of a list, or an answer without rows, and requests that wait: else it is not kept. */
#define KEPT_BYTES_MAX (1U << 20)

/* An empty file. Negative errno. */
int kept_new(int *ret_fd);

/*
 * The file's new content. begun_ms: when the first line of the input was served at first, in
 * milliseconds since the machine's start, and 0 if it was not. output may be NULL: it will have
 * been written; and so may line, which comes before the rest of the input, and has no newline.
 * -EFBIG; or another negative errno.
 */
int kept_write(int fd, uint64_t begun_ms, struct evbuffer *output, const char *line,
	struct evbuffer *input);

/* Appends to output, and puts before what is in input. -EPROTO: it is not of such a file. */
int kept_read(int fd, uint64_t *ret_begun_ms, struct evbuffer *output, struct evbuffer *input);

/*
 * The service manager has both from now on, by the name of this number. -ENOTCONN: there is none;
 * -EAGAIN: it does not read; or another negative errno.
 */
int kept_hand_over(unsigned number, int socket_fd, int fd);
/* It has them no more. The same errors. */
int kept_take_back(unsigned number);
/* The number of a name that is one of ours; or -1. */
int kept_number(const char *name);

#endif
