/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process' end of agent-protocol.h. The connection stays open: the agent removes what was
 * published through it when it closes. The agent is trusted (it is the system's), but it may hang:
 * nothing waits for it longer than a few seconds, and a late answer finds its connection closed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "hv/xen/store.h"

#define AGENT_TIMEOUT_S 10

/* GONE that came while a reply was waited for. */
struct gone {
	STAILQ_ENTRY(gone) entry;
	char key[HV_STORE_KEY_MAX];
};

struct store_agent {
	int fd;
	int fds[HV_PARCEL_FDS]; /* that came with the latest message; owned, -1 */
	STAILQ_HEAD(, gone) gone;
};

struct store_agent *store_agent_new(void)
{
	struct store_agent *agent = calloc(1, sizeof(*agent));

	if (!agent)
		return NULL;
	agent->fd = agent->fds[0] = agent->fds[1] = -1;
	STAILQ_INIT(&agent->gone);
	return agent;
}

static void fds_close(struct store_agent *agent)
{
	for (size_t i = 0; i < HV_PARCEL_FDS; i++) {
		close_p(&agent->fds[i]);
		agent->fds[i] = -1;
	}
}

static void agent_disconnect(struct store_agent *agent)
{
	fds_close(agent);
	close_p(&agent->fd);
	agent->fd = -1;
}

void store_agent_free(struct store_agent *agent)
{
	struct gone *gone;

	if (!agent)
		return;
	agent_disconnect(agent);
	while ((gone = STAILQ_FIRST(&agent->gone))) {
		STAILQ_REMOVE_HEAD(&agent->gone, entry);
		free(gone);
	}
	free(agent);
}

int store_agent_fd(const struct store_agent *agent)
{
	return agent->fd;
}

static int connect_to(const char *path, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval timeout = {.tv_sec = AGENT_TIMEOUT_S};

	if (strlen(path) >= sizeof(addr.sun_path))
		return -EACCES;
	strcpy(addr.sun_path, path); /* its length was checked */
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return errno == EAGAIN || errno == ENOMEM || errno == ENOBUFS ? -EHOSTDOWN
									      : -EACCES;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int agent_connect(struct store_agent *agent)
{
	const char *path = secure_getenv("MSG_AGENT");

	if (agent->fd >= 0)
		return 0;
	if (!path || !*path)
		path = access(AGENT_SOCKET_MSGD, F_OK) == 0 ? AGENT_SOCKET_MSGD : AGENT_SOCKET;
	return connect_to(path, &agent->fd);
}

/* The descriptors of a message, in place of those of the one before it. */
static void fds_take(struct store_agent *agent, struct msghdr *message)
{
	fds_close(agent);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			memcpy(agent->fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	}
}

/* 1, 0: nothing (with MSG_DONTWAIT), or -errno: the connection is of no use any more. */
static int receive(struct store_agent *agent, int flags, struct agent_reply *ret_reply)
{
	/* No more descriptors fit: the kernel closes others. */
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(agent->fds))];
	struct iovec iov = {ret_reply, sizeof(*ret_reply)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	int n_resets = 0;
	ssize_t n;

	do {
		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		n = recvmsg(agent->fd, &message, flags | MSG_TRUNC | MSG_CMSG_CLOEXEC);
		/* ECONNRESET comes once, before a reply that an agent left when it closed. */
	} while (n < 0 && (errno == EINTR || (errno == ECONNRESET && !n_resets++)));
	if (n < 0 && errno == EAGAIN && (flags & MSG_DONTWAIT))
		return 0;
	if (n < 0)
		return -EHOSTDOWN;
	if (n == 0)
		return -EACCES; /* over a limit, of an agent of before, or it ended */
	fds_take(agent, &message);
	if (message.msg_flags & MSG_CTRUNC)
		return -EMFILE;
	if (n != sizeof(*ret_reply) || ret_reply->magic != AGENT_MAGIC)
		return -EPROTO;
	return 1;
}

static void gone_add(struct store_agent *agent, const struct agent_reply *reply)
{
	struct gone *gone = calloc(1, sizeof(*gone));

	if (!gone)
		return; /* the application learns it from its silent control link, later */
	memcpy(gone->key, reply->key, sizeof(gone->key));
	gone->key[sizeof(gone->key) - 1] = 0;
	STAILQ_INSERT_TAIL(&agent->gone, gone, entry);
}

static int exchange(struct store_agent *agent, const void *packet, size_t len, uint16_t op,
	struct agent_reply *ret_reply)
{
	int r = agent_connect(agent);

	if (r < 0)
		return r;
	if (send(agent->fd, packet, len, MSG_NOSIGNAL) < 0) {
		if (errno != EPIPE && errno != ECONNRESET)
			return -EHOSTDOWN;
		/* It is closed, perhaps with a word about it. */
		r = receive(agent, MSG_DONTWAIT, ret_reply);
		return r > 0 && ret_reply->op == 0 && ret_reply->error ? 0 : -EPIPE;
	}
	while ((r = receive(agent, 0, ret_reply)) > 0) {
		if (ret_reply->op != AGENT_GONE)
			return ret_reply->op == op || ret_reply->error ? 0 : -EPROTO;
		gone_add(agent, ret_reply);
	}
	return r;
}

int store_agent_request(struct store_agent *agent, enum agent_op op, const char *key,
	const void *value, size_t len, struct agent_reply *ret_reply)
{
	union {
		struct agent_request request;
		uint8_t bytes[AGENT_PACKET_MAX];
	} packet;
	bool again = agent->fd >= 0;
	int r;

	if (len > HV_STORE_VALUE_MAX)
		return -EINVAL;
	memset(&packet.request, 0, sizeof(packet.request));
	packet.request.magic = AGENT_MAGIC;
	packet.request.version = AGENT_VERSION;
	packet.request.op = (uint16_t)op;
	packet.request.len = (uint32_t)len;
	if (key)
		strncpy(packet.request.key, key, sizeof(packet.request.key) - 1);
	if (len)
		memcpy(packet.bytes + sizeof(packet.request), value, len);
	r = exchange(agent, &packet, sizeof(packet.request) + len, (uint16_t)op, ret_reply);
	if (r == -EPIPE && again) { /* it was started again since */
		agent_disconnect(agent);
		r = exchange(agent, &packet, sizeof(packet.request) + len, (uint16_t)op, ret_reply);
	}
	if (r < 0) {
		agent_disconnect(agent);
		return r == -EPIPE ? -EHOSTDOWN : r;
	}
	if (ret_reply->op == 0)
		agent_disconnect(agent); /* the agent closes it, too */
	return ret_reply->error < 4096 ? -(int)ret_reply->error : -EPROTO;
}

void store_agent_fds(struct store_agent *agent, int ret_fds[HV_PARCEL_FDS])
{
	memcpy(ret_fds, agent->fds, sizeof(agent->fds));
	agent->fds[0] = agent->fds[1] = -1;
}

int store_agent_gone(struct store_agent *agent, char ret_key[HV_STORE_KEY_MAX])
{
	struct gone *gone = STAILQ_FIRST(&agent->gone);
	struct agent_reply reply;
	int r;

	if (gone) {
		STAILQ_REMOVE_HEAD(&agent->gone, entry);
		memcpy(ret_key, gone->key, HV_STORE_KEY_MAX);
		free(gone);
		return 1;
	}
	if (agent->fd < 0)
		return -ENOTCONN;
	r = receive(agent, MSG_DONTWAIT, &reply);
	if (r == 0)
		return 0;
	if (r < 0 || reply.op != AGENT_GONE) {
		agent_disconnect(agent);
		return -ENOTCONN;
	}
	memcpy(ret_key, reply.key, HV_STORE_KEY_MAX);
	ret_key[HV_STORE_KEY_MAX - 1] = 0;
	return 1;
}
