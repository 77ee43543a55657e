/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See notify.h. The protocol is systemd's: one datagram, whose sender the socket shows. */
#include "base/notify.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"

/* -ENOTCONN: there is no such socket. */
static int notify_address(struct sockaddr_un *ret_address, socklen_t *ret_len)
{
	const char *path = secure_getenv("NOTIFY_SOCKET");

	if (!path || !*path)
		return -ENOTCONN;
	if (strlen(path) >= sizeof(ret_address->sun_path))
		return -ENAMETOOLONG;
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	strcpy(ret_address->sun_path, path);
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (path[0] == '@')
		ret_address->sun_path[0] = '\0'; /* abstract: unix(7) */
	else
		++*ret_len;
	return 0;
}

int notify_send_fds(const char *text, const int *fds, unsigned n_fds)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(NOTIFY_FDS_MAX * sizeof(int))];
	} control = {.bytes = ""};
	struct sockaddr_un address;
	struct iovec part = {.iov_base = (void *)text, .iov_len = strlen(text)};
	struct msghdr message = {.msg_name = &address, .msg_iov = &part, .msg_iovlen = 1};
	_cleanup_close_ int fd = -1;
	int r = notify_address(&address, &message.msg_namelen);

	assert(n_fds <= NOTIFY_FDS_MAX);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (n_fds) {
		control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
			.cmsg_len = CMSG_LEN(n_fds * sizeof(int))};
		memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof(int));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int notify_send(const char *text)
{
	int r = notify_send_fds(text, NULL, 0);

	return r == -ENOTCONN ? 0 : r;
}
