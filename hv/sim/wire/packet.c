/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sends and receives a packet with its descriptors, for both ends. Must never leak a descriptor. */
#include "hv/sim/wire/packet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

union packet_control {
	struct cmsghdr align;
	char data[CMSG_SPACE(sizeof(int) * SIM_FDS_MAX)];
};

int packet_send(int fd, struct sim_message *m, size_t len, const int *fds, size_t n_fds, int flags)
{
	union packet_control control = {0};
	struct iovec iov = {.iov_base = m, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	m->header.magic = SIM_PROTOCOL_MAGIC;
	m->header.version = SIM_PROTOCOL_VERSION;
	if (n_fds) {
		struct cmsghdr *c = &control.align;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	return sendmsg(fd, &msg, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static size_t take_fds(struct msghdr *msg, int ret_fds[SIM_FDS_MAX])
{
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n < SIM_FDS_MAX)
				ret_fds[n++] = fd;
			else
				(void)close(fd);
		}
	}
	return n;
}

ssize_t packet_recv(int fd, struct sim_message *ret_message, int ret_fds[SIM_FDS_MAX], int flags)
{
	union packet_control control;
	struct iovec iov = {.iov_base = ret_message, .iov_len = sizeof(*ret_message)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	for (size_t i = 0; i < SIM_FDS_MAX; i++)
		ret_fds[i] = -1;
	do
		n = recvmsg(fd, &msg, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	(void)take_fds(&msg, ret_fds);
	if (n == 0 || (!(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) &&
			      (size_t)n >= sizeof(ret_message->header) &&
			      ret_message->header.magic == SIM_PROTOCOL_MAGIC))
		return n;
	packet_close_fds(ret_fds);
	return msg.msg_flags & MSG_CTRUNC ? -EMFILE : -EPROTO;
}

void packet_close_fds(int fds[SIM_FDS_MAX])
{
	for (size_t i = 0; i < SIM_FDS_MAX; i++) {
		close_p(&fds[i]);
		fds[i] = -1;
	}
}
