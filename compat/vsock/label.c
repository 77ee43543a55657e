/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names in the abstract namespace: see label.h. */
#include "compat/vsock/label.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/un.h>

#include "compat/vsock/real.h"

/* CID and port of the program's end, then of its peer; and what makes the name the only one. */
#define FORMAT	   "msgd-vsock/%08" PRIx32 ":%08" PRIx32 "/%08" PRIx32 ":%08" PRIx32 "/"
#define FORMAT_LEN 47
#define LABEL_LEN  (FORMAT_LEN + 16)

int label_set(int fd, const struct vsock_address *local, const struct vsock_address *remote)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	uint64_t unique;

	if (getrandom(&unique, sizeof(unique), 0) != (ssize_t)sizeof(unique))
		return -errno;
	(void)snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, FORMAT "%016" PRIx64,
		local->cid, local->port, remote->cid, remote->port, unique);
	if (real()->bind(fd, (struct sockaddr *)&name,
		    offsetof(struct sockaddr_un, sun_path) + 1 + LABEL_LEN) < 0)
		return -errno;
	return 0;
}

bool label_of(int fd, struct vsock_address *ret_local, struct vsock_address *ret_remote)
{
	struct sockaddr_un name;
	socklen_t len = sizeof(name);
	char text[LABEL_LEN + 1];

	if (real()->getpeername(fd, (struct sockaddr *)&name, &len) < 0 ||
		name.sun_family != AF_UNIX ||
		len != offsetof(struct sockaddr_un, sun_path) + 1 + LABEL_LEN || name.sun_path[0])
		return false;
	memcpy(text, name.sun_path + 1, LABEL_LEN);
	text[LABEL_LEN] = '\0';
	return sscanf(text, FORMAT, &ret_local->cid, &ret_local->port, &ret_remote->cid,
		       &ret_remote->port) == 4;
}
