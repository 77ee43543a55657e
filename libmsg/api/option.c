/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Socket options, the peer's identity, userdata. */
#include <poll.h>
#include <string.h>

#include "libmsg/api/ctx.h"

/* A receive window below a new channel's credit could not be kept. */
#define RCVBUF_MIN CREDIT_INITIAL
#define SNDBUF_MIN 4096

/* Names the option; -1, EINVAL. */
static int out_of_range(int option, int64_t value, int64_t min, int64_t max)
{
	return failure(EINVAL, "%s: %lld is not %lld to %lld", option_name(option),
		(long long)value, (long long)min, (long long)max);
}

static int set_timeout(int option, int64_t *field, int64_t value)
{
	if (value < -1 || value > INT32_MAX)
		return out_of_range(option, value, -1, INT32_MAX);
	*field = value;
	return 0;
}

static int set_size(int option, uint32_t *field, int64_t value, int64_t min, int64_t max)
{
	if (value < min || value > max)
		return out_of_range(option, value, min, max);
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
	if (set_size(LIBMSG_MAXMSG, &sock->maxmsg, value, 1, sock->rcvbuf) < 0)
		return -1;
	channel_set_maxmsg(sock->channel, sock->maxmsg);
	return 0;
}

static int set_rcvbuf(struct msg_sock *sock, int64_t value)
{
	if (set_size(LIBMSG_RCVBUF, &sock->rcvbuf, value, RCVBUF_MIN, MESSAGE_MAX) < 0)
		return -1;
	/* As the kernel has it: what is too much is cut. */
	sock->rcvbuf = channel_cut_buffer(sock->channel, sock->rcvbuf);
	channel_set_window(sock->channel, sock->rcvbuf);
	if (sock_maxmsg(sock) != sock->channel->maxmsg)
		channel_set_maxmsg(sock->channel, sock_maxmsg(sock));
	return 0;
}

static int set_flag(int option, bool *field, int64_t value)
{
	if (value != 0 && value != 1)
		return out_of_range(option, value, 0, 1);
	*field = value;
	return 0;
}

static int set_cork(struct msg_sock *sock, int64_t value)
{
	int r = set_flag(LIBMSG_CORK, &sock->cork, value);

	if (r == 0 && !sock->cork)
		sock_push(sock);
	return r;
}

static int set_interest(struct msg_sock *sock, int64_t value)
{
	if (value & ~(int64_t)(POLLIN | POLLOUT))
		return failure(EINVAL, "LIBMSG_EVENTS: %lld is more than POLLIN and POLLOUT",
			(long long)value);
	sock->interest = (short)value;
	sock->end_told = false;
	sock_changed(sock); /* it may have what it did not ask for before */
	return 0;
}

static void capture_agrees(struct msg_sock *sock, struct channel *channel)
{
	channel->agrees = sock->capture;
	control_capture_agrees(&sock_ctx(sock)->control, channel);
}

static int set_capture(struct msg_sock *sock, int64_t value)
{
	bool before = sock->capture;
	struct channel *channel;

	if (set_flag(LIBMSG_CAPTURE, &sock->capture, value) < 0)
		return -1;
	if (sock->capture == before)
		return 0;
	if (sock->channel)
		capture_agrees(sock, sock->channel);
	TAILQ_FOREACH (channel, &sock->pending, entry_backlog)
		capture_agrees(sock, channel);
	return 0;
}

static int setopt_locked(struct msg_sock *sock, int option, int64_t value)
{
	if ((option == LIBMSG_RCVBUF || option == LIBMSG_MAXMSG || option == LIBMSG_DROP_OLDEST ||
		    option == LIBMSG_RESET) &&
		!sock->channel)
		return failure(
			ENOPROTOOPT, "%s: only a connected socket has it", option_name(option));
	if (option == LIBMSG_DROP_OLDEST && sock->type != CHANNEL_DGRAM)
		return failure(ENOPROTOOPT, "LIBMSG_DROP_OLDEST: only LIBMSG_DGRAM drops anything");
	switch (option) {
	case LIBMSG_RCVTIMEO:
		return set_timeout(option, &sock->rcvtimeo_ms, value);
	case LIBMSG_SNDTIMEO:
		return set_timeout(option, &sock->sndtimeo_ms, value);
	case LIBMSG_LINGER:
		return set_timeout(option, &sock->linger_ms, value);
	case LIBMSG_RCVBUF:
		return set_rcvbuf(sock, value);
	case LIBMSG_MAXMSG:
		return set_maxmsg(sock, value);
	case LIBMSG_SNDBUF:
		return set_size(option, &sock->sndbuf, value, SNDBUF_MIN, MESSAGE_MAX);
	case LIBMSG_NONBLOCK_OPT:
		return set_flag(option, &sock->nonblock, value);
	case LIBMSG_CORK:
		return set_cork(sock, value);
	case LIBMSG_EVENTS:
		return set_interest(sock, value);
	case LIBMSG_DROP_OLDEST:
		return set_flag(option, &sock->channel->drop_oldest, value);
	case LIBMSG_CAPTURE:
		return set_capture(sock, value);
	case LIBMSG_RESET:
		return set_flag(option, &sock->reset, value);
	case LIBMSG_SPIN:
		if (value < -1 || value > 1000000)
			return out_of_range(option, value, -1, 1000000);
		sock_ctx(sock)->driver.spin_us = (int)value;
		return 0;
	case LIBMSG_TRANSPORT:
	case LIBMSG_ERROR:
	case LIBMSG_TYPE:
	case LIBMSG_DROPS:
		return failure(ENOPROTOOPT, "%s can only be read", option_name(option));
	default:
		return failure(EINVAL, "unknown option %d", option);
	}
}

PUBLIC int msg_setopt(struct msg_sock *sock, int option, int64_t value)
{
	return CTX_CALL(sock_ctx(sock), -1, setopt_locked(sock, option, value));
}

/* The reason belongs to the call that reports the error, though that call succeeds. */
static void error_was_read(struct msg_sock *sock)
{
	if (!sock->error)
		return;
	sock->error_told = true;
	if (sock->kind == SOCK_CHANNEL)
		sock->error = 0;
	(void)failure(kept_errno, "%s", sock->reason);
}

static int getopt_locked(struct msg_sock *sock, int option, int64_t *ret_value)
{
	const int64_t values[] = {
		[LIBMSG_RCVTIMEO] = sock->rcvtimeo_ms,
		[LIBMSG_SNDTIMEO] = sock->sndtimeo_ms,
		[LIBMSG_LINGER] = sock->linger_ms,
		[LIBMSG_RCVBUF] = sock->rcvbuf,
		[LIBMSG_SNDBUF] = sock->sndbuf,
		[LIBMSG_MAXMSG] = sock_maxmsg(sock),
		[LIBMSG_NONBLOCK_OPT] = sock->nonblock,
		[LIBMSG_CORK] = sock->cork,
		[LIBMSG_SPIN] = sock_ctx(sock)->driver.spin_us,
		[LIBMSG_TRANSPORT] = sock->channel ? (int64_t)sock->channel->transport : 0,
		[LIBMSG_ERROR] = sock->error,
		[LIBMSG_TYPE] = sock->type,
		[LIBMSG_DROPS] = sock->channel ? (int64_t)sock->channel->n_drops : 0,
		[LIBMSG_DROP_OLDEST] = sock->channel && sock->channel->drop_oldest,
		[LIBMSG_EVENTS] = sock->interest,
		[LIBMSG_RESET] = sock->reset,
		[LIBMSG_CAPTURE] = sock->capture,
	};

	if (option < LIBMSG_RCVTIMEO || option >= (int)ARRAY_SIZE(values))
		return failure(EINVAL, "unknown option %d", option);
	if (option == LIBMSG_TRANSPORT && !sock->channel)
		return failure(ENOTCONN, "LIBMSG_TRANSPORT: no channel stands");
	*ret_value = values[option];
	if (option == LIBMSG_ERROR)
		error_was_read(sock);
	return 0;
}

PUBLIC int msg_getopt(struct msg_sock *sock, int option, int64_t *ret_value)
{
	return CTX_CALL(sock_ctx(sock), -1, getopt_locked(sock, option, ret_value));
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
	return CTX_CALL(sock_ctx(sock), -1, getpeer_locked(sock, ret_peer));
}

_Static_assert(sizeof(((struct msg_peer *)0)->domain) == DOMAIN_NAME_SIZE, "they are copied");
_Static_assert(sizeof(((struct msg_peer *)0)->name) == NAME_SIZE, "they are copied");

PUBLIC void msg_set_userdata(struct msg_sock *sock, void *userdata)
{
	(void)CTX_CALL(sock_ctx(sock), NULL, sock->userdata = userdata);
}

PUBLIC void *msg_userdata(struct msg_sock *sock)
{
	return CTX_CALL(sock_ctx(sock), NULL, sock->userdata);
}
