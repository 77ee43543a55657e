/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading a configuration file whole. */
#ifndef MSGD_BASE_TEXT_H
#define MSGD_BASE_TEXT_H

#include <stddef.h>

/* Why a file was not read. */
#define TEXT_ERROR_SIZE 256U

/*
 * Reads a regular file of fewer than `max` bytes; the caller frees *ret_text, which a NUL follows.
 * A FIFO, a directory, a socket or a device is -EINVAL, and never waited for. -EFBIG; -ENOMEM; an
 * errno of open and read. ret_error has the path and the reason.
 */
int text_read(const char *path, size_t max, char **ret_text, size_t *ret_len,
	char ret_error[TEXT_ERROR_SIZE]);

#endif
