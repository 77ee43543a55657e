/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See connect.h. */
#include "hv/sim/wire/connect.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "hv/sim/memory/segment.h"
#include "hv/sim/wire/packet.h"

/*
 * Another program that listens there is not waited for any longer than this. xen-sim itself may
 * take seconds where many processes share few processors.
 */
#define HELLO_TIMEOUT_S 10

static int connect_errno(const char *path, int error, const char **ret_reason)
{
	struct stat st;

	if (error == ENOENT || error == ENOTDIR)
		return refuse(
			ret_reason, -ENOENT, "no emulator there: start xen-sim with this path");
	if (stat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return refuse(ret_reason, -ENOENT,
			"nothing listens there: the path is taken by something that is not a "
			"socket");
	if (error == ECONNREFUSED)
		return refuse(ret_reason, -ENOENT,
			"a socket is there, but no emulator behind it: start xen-sim again");
	if (error == EPROTOTYPE || error == EAGAIN)
		return refuse(ret_reason, -EPROTO, "another program than xen-sim listens there");
	if (error == EACCES)
		return refuse(ret_reason, -EACCES,
			"permission denied: the emulator's socket is for the user that started it");
	return refuse(ret_reason, -error, "the emulator's socket cannot be reached");
}

static int hello(int fd, const char **ret_reason)
{
	struct sim_message message = {
		.header = {.type = SIM_HELLO},
		.hello = {.layout = SIM_LAYOUT, .pid_namespace = segment_pid_namespace()},
	};
	struct sim_message reply;
	int fds[SIM_FDS_MAX] = {-1, -1, -1};
	ssize_t n;

	n = packet_send(fd, &message, SIM_MESSAGE_LEN(hello), NULL, 0, 0);
	if (n == 0)
		n = packet_recv(fd, &reply, fds, 0);
	if (n == -EAGAIN)
		return refuse(
			ret_reason, -EPROTO, "what listens there does not answer as xen-sim does");
	packet_close_fds(fds);
	if (n == 0 || n == -ECONNRESET || n == -EPIPE)
		return refuse(ret_reason, -EPROTO,
			"what listens there closed the connection: another program, or an "
			"emulator without a descriptor for one more");
	if (n < (ssize_t)SIM_MESSAGE_LEN(hello) || reply.header.type != SIM_HELLO)
		return refuse(ret_reason, -EPROTO, "another program than xen-sim listens there");
	if (reply.header.version != SIM_PROTOCOL_VERSION || reply.hello.layout != SIM_LAYOUT)
		return refuse(ret_reason, -EPROTONOSUPPORT,
			"the emulator there is of another version: use the same build of xen-sim");
	if (reply.hello.pid_namespace != segment_pid_namespace())
		return refuse(ret_reason, -EXDEV,
			"the emulator there runs in another PID namespace: its death checks need "
			"one");
	return 0;
}

int sim_connect(const char *path, int *ret_fd, const char **ret_reason)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval timeout = {.tv_sec = HELLO_TIMEOUT_S}, none = {0};
	int r;

	if (!*path || strlen(path) >= sizeof(addr.sun_path))
		return refuse(ret_reason, -EINVAL, "the emulator's path is empty or too long");
	strcpy(addr.sun_path, path); /* its length was checked */
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return refuse(ret_reason, -errno, "no socket can be made");
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return connect_errno(path, errno, ret_reason);
	r = hello(fd, ret_reason);
	if (r < 0)
		return r;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
	*ret_fd = steal_fd(&fd);
	return 0;
}

int sim_request(
	int fd, struct sim_message *message, size_t len, int send_fd, struct sim_message *ret_reply)
{
	int fds[SIM_FDS_MAX];
	ssize_t n;

	if (packet_send(fd, message, len, &send_fd, send_fd >= 0, 0) < 0)
		return -ENODEV;
	n = packet_recv(fd, ret_reply, fds, 0);
	packet_close_fds(fds);
	if (n <= 0)
		return n == -EPROTO ? -EPROTO : -ENODEV;
	if (ret_reply->header.type != message->header.type)
		return -EPROTO;
	return ret_reply->header.status;
}
