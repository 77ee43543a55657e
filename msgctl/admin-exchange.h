/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client's side of the admin socket, for msgctl and for msg-exporter. An answer is bounded, in
 * bytes and in time: another program than msgd may listen there, and msgd may stand still. Nothing
 * is printed here.
 */
#ifndef MSGD_MSGCTL_ADMIN_EXCHANGE_H
#define MSGD_MSGCTL_ADMIN_EXCHANGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define ADMIN_DEFAULT_SOCKET "/run/msgd/admin"
#define ADMIN_PATH_SIZE	     512U
#define ADMIN_TROUBLE_SIZE   1200U

/*
 * A queue of connections that nobody takes is waited for as well, and is -EAGAIN after the limit.
 */
int admin_connect(const char *path, uint32_t limit_ms, int *ret_fd);
/*
 * A line. msgd closes a connection for which it has no place at once: it has said so before, and
 * that is no error here.
 */
int admin_send(int fd, const json_t *request);
/*
 * One request and its answer, which the caller owns. NULL: no JSON came; *ret_error is 0 if
 * something else did.
 */
json_t *admin_exchange(const char *path, const json_t *request, uint32_t limit_ms, int *ret_error);
/*
 * Why there is no such answer; false: it is one. r: 0, or the error of the exchange. from: by whose
 * word it is that socket.
 */
bool admin_trouble(const char *socket_path, const char *from, const json_t *answer, int r,
	uint32_t limit_ms, char ret_text[ADMIN_TROUBLE_SIZE]);

/* "sim:PATH[#DOMAIN]" is PATH.msgd, as in msgd(8); "xen" the default. False: neither. */
bool admin_socket_of_hv(const char *hv, char ret_path[ADMIN_PATH_SIZE]);
/* By MSGD_SOCKET, else MSG_HV, else the default. Returns by which of them. */
const char *admin_socket_of_environment(char ret_path[ADMIN_PATH_SIZE]);

#endif
