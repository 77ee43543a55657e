/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which domain and name an address of VSOCK stands for: libmsg-vsock(7) has the rule and the file
 * that overrides it. Reads one file, each time; keeps nothing.
 */
#ifndef COMPAT_VSOCK_ADDRESS_H
#define COMPAT_VSOCK_ADDRESS_H

#include <stdint.h>

/* "DOMAIN/NAME" with its final NUL: a domain's name has 127 bytes, a name 63. */
#define ADDRESS_SIZE 192

struct address_file {
	const char *path; /* one that is not there has no lines */
	unsigned line;	  /* of the error that was found, or 0 */
	const char *why;
};

/*
 * Of all: 0, or a negative errno: EINVAL: the file has a wrong line, of which `line` and `why`
 * tell; another one: why the file could not be read. own: the domid of this domain.
 */

/* For msg_connect(3). ENODEV: the CID is that of no domain. */
int address_target(
	struct address_file *file, uint32_t cid, uint32_t port, int own, char ret[ADDRESS_SIZE]);
/* For msg_listen(3). */
int address_name(struct address_file *file, uint32_t port, char ret[ADDRESS_SIZE]);
int address_own_cid(struct address_file *file, int own, uint32_t *ret_cid);
/* domain: its name. */
int address_peer_cid(
	struct address_file *file, uint32_t domid, const char *domain, uint32_t *ret_cid);

#endif
