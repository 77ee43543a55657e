/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where HTTP is served: Unix sockets, and the loopback alone. */
#ifndef MSGD_EXPORTER_ADDRESS_H
#define MSGD_EXPORTER_ADDRESS_H

#include <stdbool.h>

#define ADDRESS_ERROR_SIZE 300U

/*
 * unix:PATH or HOST:PORT. -EINVAL: no such form, or not of the loopback; or why it cannot listen
 * there; with a sentence. *ret_unix: the path in text, or NULL.
 */
int address_listen(
	const char *text, int *ret_fd, const char **ret_unix, char ret_error[ADDRESS_ERROR_SIZE]);
/*
 * A listening socket that was passed: *ret_tcp says what it is. -EINVAL with a sentence: neither a
 * Unix socket nor one of the loopback.
 */
int address_check(int fd, bool *ret_tcp, char ret_error[ADDRESS_ERROR_SIZE]);
/* The address, with the port that was found where it says 0. */
void address_describe(int fd, const char *text, char ret_text[ADDRESS_ERROR_SIZE]);
/* The Host of a request, without a port; NULL: it has none. */
bool host_is_loopback(const char *host);

#endif
