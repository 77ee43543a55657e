/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sending. */
#include <limits.h>

#include "base/probe.h"
#include "libmsg/api/ctx.h"

#define SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL | MSG_EOR | MSG_MORE)

static int send_state(struct channel *channel)
{
	if (channel->error)
		return channel_failure(channel);
	if (channel->tx_shut)
		return failure(EPIPE, channel_is_one_way(channel)
					      ? "policy lets this end receive alone"
					      : "this end was shut down for sending");
	if (channel->rx_closed) {
		channel->end_taken |= END_CLOSED;
		return failure(EPIPE, "the peer closed the channel");
	}
	return 0;
}

static bool send_is_pointless(const struct channel *channel)
{
	return channel->error || channel->tx_shut || channel->rx_closed;
}

/* A call sends so much of a stream at most, as Linux has it (MAX_RW_COUNT). */
#define STREAM_SEND_MAX 0x7ffff000U

static int send_length_check(const struct msg_sock *sock, size_t len)
{
	const struct channel *channel = sock->channel;
	uint32_t most = channel->set ? channel_max_datagram(channel->set) : FRAME_PAYLOAD_MAX;

	if (sock->type == CHANNEL_STREAM)
		return 0;
	if (len > sock->sndbuf)
		return failure(EMSGSIZE, "%zu bytes: LIBMSG_SNDBUF is %u", len, sock->sndbuf);
	if (len > channel->tx_maxmsg)
		return failure(EMSGSIZE, "%zu bytes: the peer takes %u", len, channel->tx_maxmsg);
	if (sock->type == CHANNEL_DGRAM && len > most)
		return failure(EMSGSIZE, "%zu bytes: a datagram has %u at most", len, most);
	return 0;
}

/* ---- frames that MSG_MORE kept back ------------------------------------------------------ */

static bool push_is_over(void *arg, struct focus *ret_focus)
{
	const struct channel *channel = arg;
	struct link *link = channel_link(channel);

	if (!link || channel->tx_shut)
		return true;
	if (!link_push(link) || !link_is_up(link))
		return true;
	*ret_focus = (struct focus){.link = link, .want = 1};
	return false;
}

/*
 * Frames that MSG_MORE kept back may have taken this message with them and then lack room: it waits
 * as the message alone would have. When time is over nothing is lost: later calls send it.
 */
static void send_pushed(struct msg_sock *sock, uint64_t deadline_ns)
{
	(void)sock_wait(sock, "msg_send", push_is_over, sock->channel, deadline_ns);
}

/* A sender joins those that wait for room. Without its turn it need not look for any. */
static void sleep_for_turn(struct channel *channel, uint32_t want, struct focus *ret_focus)
{
	channel_queue(channel);
	link_await_turn(channel);
	if (channel_has_turn(channel))
		*ret_focus = (struct focus){.link = channel_link(channel), .want = want};
	ret_focus->bits = channel_bit(channel);
}

/* ---- the rest of a message -------------------------------------------------------------- */

struct rest {
	struct channel *channel;
	struct iov_cursor *cursor;
	uint32_t len, done;
	int r; /* of the last channel_send */
};

static bool rest_is_over(void *arg, struct focus *ret_focus)
{
	struct rest *rest = arg;
	struct channel *channel = rest->channel;
	struct link *link = channel_link(channel);
	uint32_t least;

	if (!link || channel->rx_closed || channel->tx_shut)
		return true;
	rest->r = channel_send(channel, rest->cursor, rest->len, &rest->done, false);
	if (rest->r == 0)
		return true;
	(void)link_push(link); /* the other side must see it to make room */
	link_check(link, rest->r);
	if (rest->r != -EAGAIN)
		return true;
	least = channel_min_fragment(channel, rest->len - rest->done);
	if (channel->tx_credit < least + FRAME_CHARGE) {
		channel_unqueue_sender(channel);
		ret_focus->link = link; /* for a CREDIT frame */
	} else {
		sleep_for_turn(channel, least, ret_focus);
	}
	return false;
}

/*
 * Sends the rest of a message whose first fragments are out: there is no way back. Or of a stream,
 * as far as it gets. Returns how much was sent in all.
 */
static ssize_t send_rest(struct msg_sock *sock, struct iov_cursor *cursor, uint32_t len,
	uint32_t done, uint64_t deadline_ns)
{
	struct channel *channel = sock->channel;
	struct rest rest = {
		.channel = channel, .cursor = cursor, .len = len, .done = done, .r = -EAGAIN};

	channel->tx_partial = true;
	(void)sock_wait(sock, "msg_send", rest_is_over, &rest, deadline_ns);
	channel_unqueue_sender(channel);
	channel->tx_partial = false;
	channel_changed(channel); /* other senders may go on */
	if (channel->set)
		channel_mark_due(channel); /* a SHUTDOWN may wait behind this message */
	driver_pass(&sock_ctx(sock)->driver);
	if (channel->type == CHANNEL_STREAM) {
		PROBE(libmsg, send, channel, channel->number, rest.done);
		if (rest.r == 0)
			send_pushed(sock, deadline_ns);
		return rest.done;
	}
	/* A SHUT_WR that another thread has asked for meanwhile comes behind this message. */
	if (channel->error || channel->rx_closed)
		return send_state(channel);
	if (rest.r == -EAGAIN && channel_keep(channel, cursor, len, rest.done) < 0) {
		channel_fail(channel, ENOMEM,
			"out of memory in the middle of a message: the channel is lost");
		return channel_failure(channel);
	}
	PROBE(libmsg, send, channel, channel->number, len);
	send_pushed(sock, rest.r == 0 ? deadline_ns : DEADLINE_NOW);
	return len;
}

/* ---- a message -------------------------------------------------------------------------- */

struct sending {
	struct msg_sock *sock;
	uint32_t len;
	bool blocks;
};

/* EAGAIN is about to be said: an event loop is owed POLLOUT. */
static void owe_pollout(struct msg_sock *sock, uint32_t len)
{
	uint32_t want;

	sock->out_edge = true;
	if (!sock->socks->refused && sock->channel->sent_round != sock->socks->pool->round)
		sock->socks->refused = sock;
	link_ask_room(sock->channel, len);
	if (channel_can_send(sock->channel, len, &want))
		sock_changed(sock);
}

static bool send_is_over(void *arg, struct focus *ret_focus)
{
	const struct sending *sending = arg;
	struct channel *channel = sending->sock->channel;
	uint32_t want;

	if (send_is_pointless(channel) || channel_can_send(channel, sending->len, &want))
		return true;
	if (want && sending->blocks) {
		sleep_for_turn(channel, want, ret_focus);
		return false;
	}
	if (sending->blocks && channel_may_send(channel))
		channel_unqueue_sender(channel); /* for want of credit */
	*ret_focus = (struct focus){.link = channel_link(channel), .want = want};
	return false;
}

/* Lacks room or credit: waits, or says EAGAIN. 0: try again. */
static int send_wait(struct msg_sock *sock, uint32_t len, uint64_t deadline_ns)
{
	struct sending sending = {.sock = sock, .len = len, .blocks = deadline_ns != DEADLINE_NOW};
	bool owed = sock->out_edge;
	int r;

	if (deadline_ns == DEADLINE_NOW && !send_is_pointless(sock->channel))
		owe_pollout(sock, len);
	r = sock_wait(sock, "msg_send", send_is_over, &sending, deadline_ns);
	if (r == 0 && deadline_ns == DEADLINE_NOW && !send_is_pointless(sock->channel))
		sock->out_edge = owed; /* there is room now */
	if (sending.blocks && (r < 0 || send_is_pointless(sock->channel)))
		channel_give_up(sock->channel);
	if (r == -EINTR)
		return failure(EINTR, "interrupted by a signal");
	if (r < 0 && deadline_ns != DEADLINE_NOW)
		owe_pollout(sock, len);
	return r < 0 ? failure(EAGAIN, "no room at the receiver") : 0;
}

/*
 * Whether credit would cut this message, or the batch that `more` gathers from here on, into more
 * frames and hypercalls than it takes. CREDIT frames wake nobody who has enough: some may lie
 * unread.
 */
static bool send_lacks_credit(const struct channel *channel, size_t len, bool more)
{
	const struct transport *transport = channel->set->transport;
	uint32_t whole = min_u32((uint32_t)len, transport->ops->frame_max);

	/* Taking frames in lets out what is kept back: better before anything is. */
	if (more && !transport->unpushed)
		whole = max_u32(whole, transport->ring_len / 2);
	return channel->tx_credit < whole + FRAME_CHARGE;
}

/*
 * One try. 0: it went, whole; 1: so it did, but is kept back for want of room; -EAGAIN: *ret_done
 * bytes of it went. Or the link ends.
 */
static inline __attribute__((always_inline)) int send_now(struct msg_sock *sock,
	struct iov_cursor *cursor, uint32_t len, bool more, uint32_t *ret_done)
{
	struct channel *channel = sock->channel;
	struct link *link;
	int r;

	if (!channel_may_send(channel))
		return -EAGAIN;
	if (send_lacks_credit(channel, len, more)) {
		driver_take(&sock_ctx(sock)->driver, channel_link(channel), NULL);
		if (!channel_may_send(channel) || send_is_pointless(channel))
			return -EAGAIN;
	}
	link = channel_link(channel);
	r = channel_send(channel, cursor, len, ret_done, more);
	if (r == 0) {
		PROBE(libmsg, send, channel, channel->number, len);
		return more ? 0 : link_push(link);
	}
	(void)link_push(link);
	link_check(link, r);
	return r;
}

/* Has a part of a stream gone, and the call is not to block: the rest is the caller's. */
static ssize_t send_partly(struct msg_sock *sock, uint32_t done)
{
	PROBE(libmsg, send, sock->channel, sock->channel->number, done);
	owe_pollout(sock, FRAGMENT_MIN);
	return done;
}

static inline __attribute__((always_inline)) ssize_t send_message(
	struct msg_sock *sock, struct iov_cursor *cursor, size_t len, bool more, bool blocks)
{
	uint64_t deadline_ns = DEADLINE_NOW;
	bool tried = false;

	for (;; tried = true) {
		uint32_t done = 0;
		int r;

		if (send_state(sock->channel) < 0)
			return -1;
		r = send_now(sock, cursor, (uint32_t)len, more, &done);
		if (r == 0)
			return (ssize_t)len;
		if (!tried && blocks)
			deadline_ns = driver_deadline(&sock_ctx(sock)->driver, sock->sndtimeo_ms);
		if (r > 0) {
			send_pushed(sock, deadline_ns);
			return (ssize_t)len;
		}
		if (done && !blocks && sock->type == CHANNEL_STREAM)
			return send_partly(sock, done);
		if (done)
			return send_rest(sock, cursor, (uint32_t)len, done, deadline_ns);
		if (tried && deadline_ns == DEADLINE_NOW && r == -EAGAIN &&
			!send_is_pointless(sock->channel)) {
			/* Refused once more, although there was room. */
			owe_pollout(sock, (uint32_t)len);
			return failure(EAGAIN, "no room at the receiver");
		}
		if (send_wait(sock, (uint32_t)len, deadline_ns) < 0)
			return -1;
	}
}

/*
 * A datagram that found no room. Before the first frame of the other end none may go at all: those
 * that have credit wait for it. After that the newest one waits if the application wishes so.
 */
static void keep_or_drop(struct channel *channel, struct iov_cursor *cursor, uint32_t len)
{
	bool early = !channel->tx_open &&
		     channel->tx_credit >= channel->out_cost + (uint64_t)len + FRAME_CHARGE;

	if (!early && channel->drop_oldest && channel_drop_first(channel))
		channel_count_drops(channel, 1);
	if ((!early && !channel->drop_oldest) || channel_keep(channel, cursor, len, 0) < 0)
		channel_count_drops(channel, 1);
	else
		PROBE(libmsg, send, channel, channel->number, len);
}

/* Never blocks. */
static ssize_t send_datagram(
	struct msg_sock *sock, struct iov_cursor *cursor, uint32_t len, bool more)
{
	struct driver *driver = &sock_ctx(sock)->driver;
	struct channel *channel = sock->channel;
	uint32_t done = 0;

	for (int tries = 0; tries < 2; tries++) {
		if (send_state(channel) < 0)
			return -1;
		if (send_now(sock, cursor, len, more, &done) >= 0)
			return len;
		/* Credit may lie in the ring, or the other end's first frame. */
		if (channel->set)
			driver_take(driver, channel_link(channel), NULL);
	}
	if (driver->pool->marked)
		driver_pass(driver); /* the ring may have been refused for good */
	if (send_state(channel) < 0)
		return -1;
	/* Of room an event tells, and of credit a frame: then the other end hears of drops. */
	link_ask_room(channel, len);
	keep_or_drop(channel, cursor, len);
	return len;
}

/* No bytes of a stream; without MSG_MORE those before them are held back no longer. */
static ssize_t send_nothing(struct msg_sock *sock, bool more)
{
	if (send_state(sock->channel) < 0)
		return -1;
	if (!more)
		sock_push(sock);
	return 0;
}

static ssize_t send_locked(
	struct msg_sock *sock, const struct iovec *iov, size_t n_iov, size_t len, int flags)
{
	bool more = sock->cork || (flags & MSG_MORE);
	struct iov_cursor cursor;

	if (message_flags_check(flags, SEND_FLAGS) < 0 || channel_check(sock) < 0 ||
		send_length_check(sock, len) < 0)
		return -1;
	cursor_init(&cursor, iov, n_iov);
	if (sock->type == CHANNEL_DGRAM)
		return send_datagram(sock, &cursor, (uint32_t)len, more);
	if (sock->type == CHANNEL_STREAM && len == 0)
		return send_nothing(sock, more);
	len = min_u64(len, sock->type == CHANNEL_STREAM ? STREAM_SEND_MAX : MESSAGE_MAX);
	return send_message(sock, &cursor, len, more, !sock->nonblock && !(flags & MSG_DONTWAIT));
}

PUBLIC ssize_t msg_send(struct msg_sock *sock, const void *data, size_t len, int flags)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};

	return CTX_CALL(sock_ctx(sock), -1, send_locked(sock, &iov, 1, len, flags));
}

static ssize_t sendmsg_locked(struct msg_sock *sock, const struct msghdr *message, int flags)
{
	size_t len;

	if (message_check(message, &len) < 0)
		return -1;
	return send_locked(sock, message->msg_iov, message->msg_iovlen, len, flags);
}

PUBLIC ssize_t msg_sendmsg(struct msg_sock *sock, const struct msghdr *message, int flags)
{
	return CTX_CALL(sock_ctx(sock), -1, sendmsg_locked(sock, message, flags));
}

static int sendmmsg_locked(struct msg_sock *sock, struct mmsghdr *messages, unsigned n, int flags)
{
	int before = kept_errno;
	unsigned done;
	size_t len;

	n = min_u32(n, IOV_MAX);
	for (done = 0; done < n; done++) {
		const struct msghdr *message = &messages[done].msg_hdr;
		bool last = done == n - 1;
		ssize_t r = message_check(message, &len);

		if (r == 0)
			r = send_locked(sock, message->msg_iov, message->msg_iovlen, len,
				last ? flags : flags | MSG_MORE);
		if (r < 0)
			break;
		messages[done].msg_len = (unsigned)r;
		if ((size_t)r < len) {
			done++; /* a part of it: what follows must not come before the rest */
			break;
		}
	}
	if (done < n && !(flags & MSG_MORE) && !sock->cork)
		sock_push(sock);
	if (done)
		kept_errno = before; /* the next call says why no more went */
	return done || !n ? (int)done : -1;
}

PUBLIC int msg_sendmmsg(struct msg_sock *sock, struct mmsghdr *messages, unsigned n, int flags)
{
	return CTX_CALL(sock_ctx(sock), -1, sendmmsg_locked(sock, messages, n, flags));
}

static int flush_locked(struct msg_sock *sock)
{
	if (channel_check(sock) < 0)
		return -1;
	if (sock->channel->error)
		return channel_failure(sock->channel);
	sock_push(sock);
	return 0;
}

PUBLIC int msg_flush(struct msg_sock *sock)
{
	return CTX_CALL(sock_ctx(sock), -1, flush_locked(sock));
}
