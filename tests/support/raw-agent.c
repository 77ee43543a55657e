/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client of an agent: see the header. */
#include "tests/support/raw-agent.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/support/must.h"

int raw_agent_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	must(fd >= 0 && strlen(path) < sizeof(address.sun_path));
	strcpy(address.sun_path, path);
	must(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

static void request_send(int fd, enum agent_op op, const char *key, const void *value, size_t len)
{
	struct agent_request request = {.magic = AGENT_MAGIC,
		.version = AGENT_VERSION,
		.op = (uint16_t)op,
		.len = (uint32_t)len};
	struct iovec iov[] = {{&request, sizeof(request)}, {(void *)value, len}};
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};

	must(strlen(key) < sizeof(request.key));
	strcpy(request.key, key);
	must(sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)(sizeof(request) + len));
}

/* ret_fds stay where none came. */
static void reply_receive(
	int fd, enum agent_op op, struct agent_reply *ret_reply, int ret_fds[HV_PARCEL_FDS])
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(HV_PARCEL_FDS * sizeof(int))];
	struct iovec iov = {ret_reply, sizeof(*ret_reply)};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *header;

	must(recvmsg(fd, &message, MSG_CMSG_CLOEXEC) == sizeof(*ret_reply));
	must(ret_reply->op == op);
	header = CMSG_FIRSTHDR(&message);
	if (header)
		memcpy(ret_fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
}

uint32_t raw_agent_parcel(int fd, struct hv_parcel *ret_parcel)
{
	struct hv_parcel parcel = {.fds = {-1, -1}};
	struct agent_reply reply;

	request_send(fd, AGENT_PARCEL, "", NULL, 0);
	reply_receive(fd, AGENT_PARCEL, &reply, parcel.fds);
	parcel.port = reply.port;
	memcpy(parcel.refs, reply.refs, sizeof(parcel.refs));
	memcpy(parcel.where, reply.where, sizeof(parcel.where));
	if (!reply.error)
		*ret_parcel = parcel;
	return reply.error;
}

uint32_t raw_agent_publish(int fd, const char *key, const void *value, size_t len)
{
	struct agent_reply reply;
	int fds[HV_PARCEL_FDS];

	request_send(fd, AGENT_PUBLISH, key, value, len);
	reply_receive(fd, AGENT_PUBLISH, &reply, fds);
	return reply.error;
}
