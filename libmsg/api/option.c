/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Socket options, the peer's identity, userdata. */
#include <string.h>

#include "libmsg/api/ctx.h"

/* A receive window below a new channel's credit could not be kept. */
#define RCVBUF_MIN CREDIT_INITIAL
#define SNDBUF_MIN 4096

static int set_timeout(int64_t *field, int64_t value)
{
	if (value < -1 || value > INT32_MAX)
		return failure(EINVAL, "%lld ms is out of range", (long long)value);
	*field = value;
	return 0;
}

static int set_size(uint32_t *field, int64_t value, int64_t min, int64_t max)
{
	if (value < min || value > max)
		return failure(EINVAL, "%lld bytes: %lld to %lld", (long long)value, (long long)min,
			(long long)max);
	*field = (uint32_t)value;
	return 0;
}

/* A longer one would not fit what may lie unread. */
static uint32_t sock_maxmsg(const struct msg_sock *sock)
{
	return min_u32(sock->maxmsg, sock->rcvbuf);
}

static int set_maxmsg(struct msg_sock *sock, int64_t value)
{
	if (!sock->channel)
		return failure(ENOPROTOOPT, "only a connected socket has it");
	if (set_size(&sock->maxmsg, value, 1, sock->rcvbuf) < 0)
		return -1;
	channel_set_maxmsg(sock->channel, sock->maxmsg);
	return 0;
}

static int set_rcvbuf(struct msg_sock *sock, int64_t value)
{
	if (!sock->channel)
		return failure(ENOPROTOOPT, "only a connected socket has it");
	if (set_size(&sock->rcvbuf, value, RCVBUF_MIN, MESSAGE_MAX) < 0)
		return -1;
	sock->channel->rx_max = min_u32(sock->rcvbuf, CREDIT_MAX);
	if (sock_maxmsg(sock) != sock->channel->maxmsg)
		channel_set_maxmsg(sock->channel, sock_maxmsg(sock));
	return 0;
}

static int set_cork(struct msg_sock *sock, int64_t value)
{
	sock->cork = value != 0;
	if (!sock->cork)
		sock_push(sock);
	return 0;
}

static int setopt_locked(struct msg_sock *sock, int option, int64_t value)
{
	int64_t linger = sock->linger_ms;

	switch (option) {
	case LIBMSG_RCVTIMEO:
		return set_timeout(&sock->rcvtimeo_ms, value);
	case LIBMSG_SNDTIMEO:
		return set_timeout(&sock->sndtimeo_ms, value);
	case LIBMSG_LINGER:
		if (set_timeout(&linger, value) < 0)
			return -1;
		sock->linger_ms = (int)linger;
		return 0;
	case LIBMSG_RCVBUF:
		return set_rcvbuf(sock, value);
	case LIBMSG_MAXMSG:
		return set_maxmsg(sock, value);
	case LIBMSG_SNDBUF:
		return set_size(&sock->sndbuf, value, SNDBUF_MIN, MESSAGE_MAX);
	case LIBMSG_NONBLOCK_OPT:
		sock->nonblock = value != 0;
		return 0;
	case LIBMSG_CORK:
		return set_cork(sock, value);
	case LIBMSG_SPIN:
		if (value < -1 || value > 1000000)
			return failure(EINVAL, "%lld us is out of range", (long long)value);
		sock_ctx(sock)->driver.spin_us = (int)value;
		return 0;
	case LIBMSG_TRANSPORT:
	case LIBMSG_ERROR:
	case LIBMSG_TYPE:
		return failure(ENOPROTOOPT, "option %d can only be read", option);
	default:
		return failure(EINVAL, "unknown option %d", option);
	}
}

PUBLIC int msg_setopt(struct msg_sock *sock, int option, int64_t value)
{
	int r;

	if (ctx_enter(sock_ctx(sock)) < 0)
		return -1;
	r = setopt_locked(sock, option, value);
	ctx_leave(sock_ctx(sock));
	return r;
}

static int take_error(struct msg_sock *sock, int64_t *ret_value)
{
	*ret_value = sock->error;
	if (sock->error) {
		int error = sock->error;

		/* The reason belongs to the call that reports it, though this one succeeds. */
		sock->error = sock->kind == SOCK_LISTENER ? error : 0;
		(void)failure(kept_errno, "%s", sock->reason);
	}
	return 0;
}

static int getopt_locked(struct msg_sock *sock, int option, int64_t *ret_value)
{
	switch (option) {
	case LIBMSG_RCVTIMEO:
		*ret_value = sock->rcvtimeo_ms;
		return 0;
	case LIBMSG_SNDTIMEO:
		*ret_value = sock->sndtimeo_ms;
		return 0;
	case LIBMSG_LINGER:
		*ret_value = sock->linger_ms;
		return 0;
	case LIBMSG_RCVBUF:
		*ret_value = sock->rcvbuf;
		return 0;
	case LIBMSG_SNDBUF:
		*ret_value = sock->sndbuf;
		return 0;
	case LIBMSG_MAXMSG:
		*ret_value = sock_maxmsg(sock);
		return 0;
	case LIBMSG_NONBLOCK_OPT:
		*ret_value = sock->nonblock;
		return 0;
	case LIBMSG_CORK:
		*ret_value = sock->cork;
		return 0;
	case LIBMSG_SPIN:
		*ret_value = sock_ctx(sock)->driver.spin_us;
		return 0;
	case LIBMSG_TRANSPORT:
		if (!sock->channel || !sock->channel->transport)
			return failure(ENOTCONN, "no channel stands");
		*ret_value = sock->channel->transport;
		return 0;
	case LIBMSG_ERROR:
		return take_error(sock, ret_value);
	case LIBMSG_TYPE:
		*ret_value = LIBMSG_SEQPACKET;
		return 0;
	default:
		return failure(EINVAL, "unknown option %d", option);
	}
}

PUBLIC int msg_getopt(struct msg_sock *sock, int option, int64_t *ret_value)
{
	int r;

	if (ctx_enter(sock_ctx(sock)) < 0)
		return -1;
	r = getopt_locked(sock, option, ret_value);
	ctx_leave(sock_ctx(sock));
	return r;
}

static int getpeer_locked(const struct msg_sock *sock, struct msg_peer *ret_peer)
{
	struct msg_peer peer = {.size = ret_peer->size};
	const struct channel *channel = sock->channel;

	if (peer.size < sizeof(uint32_t) || peer.size > sizeof(peer))
		return failure(EINVAL, "msg_peer.size is %u: set it to sizeof(struct msg_peer)",
			peer.size);
	if (!channel)
		return failure(ENOTCONN, "no channel stands");
	peer.domid = channel->peer.domid;
	peer.transport = channel->transport;
	memcpy(peer.uuid, channel->peer.uuid, sizeof(peer.uuid));
	memcpy(peer.domain, channel->peer.domain, sizeof(peer.domain));
	memcpy(peer.name, channel->name, sizeof(peer.name));
	memcpy(ret_peer, &peer, peer.size);
	return 0;
}

PUBLIC int msg_getpeer(struct msg_sock *sock, struct msg_peer *ret_peer)
{
	int r;

	if (ctx_enter(sock_ctx(sock)) < 0)
		return -1;
	r = getpeer_locked(sock, ret_peer);
	ctx_leave(sock_ctx(sock));
	return r;
}

_Static_assert(sizeof(((struct msg_peer *)0)->domain) == DOMAIN_NAME_SIZE, "they are copied");
_Static_assert(sizeof(((struct msg_peer *)0)->name) == NAME_SIZE, "they are copied");

PUBLIC void msg_set_userdata(struct msg_sock *sock, void *userdata)
{
	if (ctx_enter(sock_ctx(sock)) < 0)
		return;
	sock->userdata = userdata;
	ctx_leave(sock_ctx(sock));
}

PUBLIC void *msg_userdata(struct msg_sock *sock)
{
	void *userdata;

	if (ctx_enter(sock_ctx(sock)) < 0)
		return NULL;
	userdata = sock->userdata;
	ctx_leave(sock_ctx(sock));
	return userdata;
}
