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

/*
 * CID and port of the program's end, then of its peer; the cookie of the program's end; and a
 * number that nobody knows before, so that nobody has the name already.
 */
#define FORMAT                                                                                     \
	"msgd-vsock/%08" PRIx32 ":%08" PRIx32 "/%08" PRIx32 ":%08" PRIx32 "/%016" PRIx64           \
	"/%016" PRIx64
#define LABEL_LEN (47 + 16 + 1 + 16)
/* Of an address that has no name. */
#define NO_NAME_LEN offsetof(struct sockaddr_un, sun_path)
#define NAME_LEN    (NO_NAME_LEN + 1 + LABEL_LEN)

int label_set(int fd, uint64_t cookie, const struct vsock_address *local,
	const struct vsock_address *remote)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	uint64_t unique;

	if (getrandom(&unique, sizeof(unique), 0) != (ssize_t)sizeof(unique))
		return -errno;
	(void)snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, FORMAT, local->cid,
		local->port, remote->cid, remote->port, cookie, unique);
	return real()->bind(fd, (struct sockaddr *)&name, NAME_LEN) < 0 ? -errno : 0;
}

static bool has_no_name(int fd)
{
	struct sockaddr_un name;
	socklen_t len = sizeof(name);

	return real()->getsockname(fd, (struct sockaddr *)&name, &len) == 0 && len == NO_NAME_LEN;
}

bool label_of(int fd, struct vsock_address *ret_local, struct vsock_address *ret_remote)
{
	struct sockaddr_un name;
	socklen_t len = sizeof(name);
	char text[LABEL_LEN + 1];
	uint64_t cookie, unique;

	if (real()->getpeername(fd, (struct sockaddr *)&name, &len) < 0 ||
		name.sun_family != AF_UNIX || len != NAME_LEN || name.sun_path[0])
		return false;
	memcpy(text, name.sun_path + 1, LABEL_LEN);
	text[LABEL_LEN] = '\0';
	return sscanf(text, FORMAT, &ret_local->cid, &ret_local->port, &ret_remote->cid,
		       &ret_remote->port, &cookie, &unique) == 6 &&
	       cookie == real_cookie(fd) && has_no_name(fd);
}
