/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two sides: a socketpair, and a channel between two contexts of this process. */
#include "tests/differential/differential.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/macro.h"
#include "libmsg/api/ctx.h"
#include "libmsg/transport/page.h"
#include "tests/support/pattern.h"
#include "tests/support/testbed.h"

/* ---- a socketpair ---------------------------------------------------------------------------- */

static int fds[2];

static ssize_t unix_send(int end, const void *data, size_t len, int flags)
{
	return send(fds[end], data, len, flags);
}

static ssize_t unix_recv(int end, void *data, size_t len, int flags)
{
	return recv(fds[end], data, len, flags);
}

static ssize_t unix_sendmsg(int end, const struct msghdr *message, int flags)
{
	return sendmsg(fds[end], message, flags);
}

static ssize_t unix_recvmsg(int end, struct msghdr *message, int flags)
{
	return recvmsg(fds[end], message, flags);
}

static int unix_sendmmsg(int end, struct mmsghdr *messages, unsigned n, int flags)
{
	return sendmmsg(fds[end], messages, n, flags);
}

static int unix_recvmmsg(int end, struct mmsghdr *messages, unsigned n, int flags)
{
	return recvmmsg(fds[end], messages, n, flags, NULL);
}

/* libmsg reports POLLRDHUP with POLLIN. */
static int unix_poll(int end, short events, int ms, short *ret_revents)
{
	struct pollfd fd = {
		.fd = fds[end], .events = (short)(events & POLLIN ? events | POLLRDHUP : events)};
	int r = poll(&fd, 1, ms);

	*ret_revents = fd.revents;
	return r;
}

static int unix_shutdown(int end, int how)
{
	return shutdown(fds[end], how);
}

static int unix_close(int end)
{
	return close(fds[end]);
}

int unix_take_error(int end)
{
	int error = 0;
	socklen_t len = sizeof(error);

	must(getsockopt(fds[end], SOL_SOCKET, SO_ERROR, &error, &len) == 0);
	return error;
}

const struct side unix_side = {"AF_UNIX", unix_send, unix_recv, unix_sendmsg, unix_recvmsg,
	unix_sendmmsg, unix_recvmmsg, unix_poll, unix_shutdown, unix_close};

/* ---- a channel ------------------------------------------------------------------------------- */

static struct msg_ctx *ctxs[2];
/* One for each type at the end that accepts; one to poll on at the other end, without a channel. */
static struct msg_sock *listeners[LIBMSG_DGRAM + 1], *idle;
static struct msg_sock *socks[2];
static int patience_ms = TESTBED_WAIT_MS;

static ssize_t side_send(int end, const void *data, size_t len, int flags)
{
	return msg_send(socks[end], data, len, flags);
}

static ssize_t side_recv(int end, void *data, size_t len, int flags)
{
	return msg_recv(socks[end], data, len, flags);
}

static ssize_t side_sendmsg(int end, const struct msghdr *message, int flags)
{
	return msg_sendmsg(socks[end], message, flags);
}

static ssize_t side_recvmsg(int end, struct msghdr *message, int flags)
{
	return msg_recvmsg(socks[end], message, flags);
}

static int side_sendmmsg(int end, struct mmsghdr *messages, unsigned n, int flags)
{
	return msg_sendmmsg(socks[end], messages, n, flags);
}

static int side_recvmmsg(int end, struct mmsghdr *messages, unsigned n, int flags)
{
	return msg_recvmmsg(socks[end], messages, n, flags, patience_ms);
}

static int side_poll(int end, short events, int ms, short *ret_revents)
{
	struct msg_pollfd fd = {.sock = socks[end], .events = events};
	int r = msg_poll(&fd, 1, ms < 0 ? patience_ms : ms);

	*ret_revents = fd.revents;
	return r;
}

static int side_shutdown(int end, int how)
{
	return msg_shutdown(socks[end], how);
}

static int side_close(int end)
{
	return msg_close(socks[end]);
}

const struct side msg_side = {"libmsg", side_send, side_recv, side_sendmsg, side_recvmsg,
	side_sendmmsg, side_recvmmsg, side_poll, side_shutdown, side_close};

int64_t msg_drops(int end)
{
	int64_t n = 0;

	must(msg_getopt(socks[end], LIBMSG_DROPS, &n) == 0);
	return n;
}

/* ---- both ------------------------------------------------------------------------------------ */

void sides_set_patience(int ms)
{
	patience_ms = ms;
}

void sides_start(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	testbed_start(NULL, NULL);
	ctxs[0] = testbed_ctx("near", 0);
	ctxs[1] = testbed_ctx("far", 0);
	idle = msg_listen(ctxs[0], "idle", LIBMSG_SEQPACKET, 1, 0);
	must(idle);
	for (int type = LIBMSG_SEQPACKET; type <= LIBMSG_DGRAM; type++) {
		listeners[type] = msg_listen(ctxs[1], type_name(type), type, 16, 0);
		must(listeners[type]);
		must(msg_setopt(listeners[type], LIBMSG_NONBLOCK_OPT, 1) == 0);
		/* A thread that sleeps is found to sleep. */
		must(msg_setopt(listeners[type], LIBMSG_SPIN, 0) == 0);
	}
	must(msg_setopt(idle, LIBMSG_SPIN, 0) == 0);
}

void sides_stop(void)
{
	msg_ctx_close(ctxs[0]);
	msg_ctx_close(ctxs[1]);
	testbed_stop();
}

static void look(struct msg_sock *sock)
{
	struct msg_pollfd fd = {.sock = sock};

	(void)msg_poll(&fd, 1, 0);
}

static void channel_open(int type)
{
	struct msg_pollfd fd = {.events = POLLOUT};
	char address[32];

	(void)snprintf(address, sizeof(address), "far/%s", type_name(type));
	socks[0] = msg_connect(ctxs[0], address, type, LIBMSG_NONBLOCK, TESTBED_WAIT_MS);
	must(socks[0]);
	fd.sock = socks[0];
	do {
		socks[1] = msg_accept(listeners[type], 0);
		if (!socks[1]) {
			struct msg_pollfd wait = {.sock = listeners[type], .events = POLLIN};

			look(idle); /* answers msgd, where the link is new */
			(void)msg_poll(&wait, 1, 1);
		}
	} while (!socks[1]);
	must(msg_poll(&fd, 1, TESTBED_WAIT_MS) == 1 && fd.revents == POLLOUT);
	for (int end = 0; end < 2; end++) {
		must(msg_setopt(socks[end], LIBMSG_NONBLOCK_OPT, 0) == 0);
		must(msg_setopt(socks[end], LIBMSG_RCVTIMEO, patience_ms) == 0);
		must(msg_setopt(socks[end], LIBMSG_SNDTIMEO, patience_ms) == 0);
	}
}

void sides_open(int type)
{
	static const int of[] = {[LIBMSG_STREAM] = SOCK_STREAM,
		[LIBMSG_SEQPACKET] = SOCK_SEQPACKET,
		[LIBMSG_DGRAM] = SOCK_DGRAM};
	static const bool open[2];

	must(socketpair(AF_UNIX, of[type] | SOCK_CLOEXEC, 0, fds) == 0);
	channel_open(type);
	sides_settle(open);
}

/* ---- quiet ----------------------------------------------------------------------------------- */

static bool is_strict(const struct link *link)
{
	return link->transport->ops == &transport_argo_strict;
}

/*
 * Credit that the end may do without for now rings no bell: an end that has asked for an event, and
 * was not rung, leaves it in the ring until it wakes for something else. (Over argo-strict the
 * hypervisor tells of each message.)
 */
static bool may_lie(const struct link *link)
{
	return link->armed && !is_strict(link) &&
	       atomic_load(&container_of(link->transport, struct paged, base)->me->sleeping);
}

/* There is room, and a channel that has waited for it does not know yet. */
static bool room_is_untold(const struct link *link)
{
	const struct channel_set *set = &link->channels;

	return !TAILQ_EMPTY(&set->blocked) && !is_strict(link) &&
	       set->transport->ops->room(set->transport, set->fragment_min) >=
		       (int64_t)set->fragment_min;
}

static bool link_is_quiet(const struct link *link)
{
	struct transport *transport = link->transport;

	return link->state != LINK_SYNCING && TAILQ_EMPTY(&link->channels.due) &&
	       !transport->unpushed && !room_is_untold(link) &&
	       (!transport->ops->pending(transport) || may_lie(link));
}

static bool ctx_is_quiet(struct msg_ctx *ctx)
{
	bool quiet = true;

	must(ctx_enter(ctx) == 0);
	for (struct link *link = ctx->links.by_end; link; link = link->hh.next)
		quiet = quiet && link_is_quiet(link);
	ctx_leave(ctx);
	return quiet;
}

void sides_push(const bool closed[2])
{
	for (int end = 0; end < 2; end++) {
		if (!closed[end])
			(void)msg_flush(socks[end]);
	}
}

bool sides_are_quiet(void)
{
	return ctx_is_quiet(ctxs[0]) && ctx_is_quiet(ctxs[1]);
}

void sides_look(void)
{
	look(idle);
	look(listeners[LIBMSG_STREAM]);
	(void)sched_yield(); /* an event, or msgd's answer, may be in another process's hands */
}

void sides_settle(const bool closed[2])
{
	sides_push(closed);
	while (!sides_are_quiet())
		sides_look();
}

bool msg_waits(int end, long number, uintptr_t arg)
{
	return number == SYS_ppoll ||
	       (number == SYS_futex && arg == (uintptr_t)&ctxs[end]->driver.wait_seq);
}

/* ---- a call ---------------------------------------------------------------------------------- */

/* A message of `size` bytes in n pieces, of which one may be empty. */
static void cut(struct iovec *iov, uint8_t *data, size_t size, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		size_t len = i == n - 1 ? size : i == 1 && n > 2 ? 0 : size / n;

		iov[i] = (struct iovec){.iov_base = data, .iov_len = len};
		data += len;
		size -= len;
	}
}

struct buffers {
	struct iovec iov[MESSAGES_MAX][PIECES_MAX];
	struct mmsghdr messages[MESSAGES_MAX];
};

static void prepare(const struct call *call, struct outcome *outcome, struct buffers *buffers)
{
	unsigned n = call_messages(call);

	*outcome = (struct outcome){.size = (size_t)call->size * n};
	outcome->data = malloc(outcome->size + 1);
	must(outcome->data);
	if (call_sends(call))
		pattern_fill(outcome->data, outcome->size, call->id);
	else
		memset(outcome->data, 0xee, outcome->size);
	memset(buffers->messages, 0, sizeof(buffers->messages));
	for (unsigned i = 0; i < n; i++) {
		cut(buffers->iov[i], outcome->data + (size_t)call->size * i, call->size,
			call->n_pieces);
		buffers->messages[i].msg_hdr.msg_iov = buffers->iov[i];
		buffers->messages[i].msg_hdr.msg_iovlen = call->n_pieces;
	}
}

static long transfer(
	const struct side *side, const struct call *call, uint8_t *data, struct mmsghdr *messages)
{
	switch (call->kind) {
	case CALL_SEND:
		return side->send(call->end, data, call->size, call->flags);
	case CALL_SENDMSG:
		return side->sendmsg(call->end, &messages->msg_hdr, call->flags);
	case CALL_SENDMMSG:
		return side->sendmmsg(call->end, messages, call->n, call->flags);
	case CALL_RECV:
		return side->recv(call->end, data, call->size, call->flags);
	case CALL_RECVMSG:
		return side->recvmsg(call->end, &messages->msg_hdr, call->flags);
	default:
		return side->recvmmsg(call->end, messages, call->n, call->flags);
	}
}

static struct outcome transfer_make(const struct side *side, const struct call *call)
{
	struct buffers buffers;
	struct outcome outcome;
	bool many = call->kind == CALL_SENDMMSG || call->kind == CALL_RECVMMSG;

	prepare(call, &outcome, &buffers);
	outcome.r = transfer(side, call, outcome.data, buffers.messages);
	outcome.error = outcome.r < 0 ? errno : 0;
	for (long i = 0; i < (many ? outcome.r : outcome.r >= 0); i++) {
		outcome.messages[i].len = many ? buffers.messages[i].msg_len : 0;
		if (call_receives(call))
			outcome.messages[i].flags = buffers.messages[i].msg_hdr.msg_flags;
	}
	return outcome;
}

struct outcome call_make(const struct side *side, const struct call *call)
{
	struct outcome outcome = {0};

	switch (call->kind) {
	case CALL_POLL:
		outcome.r = side->poll(
			call->end, call->events, call->blocks ? -1 : 0, &outcome.revents);
		break;
	case CALL_SHUTDOWN:
		outcome.r = side->shutdown(call->end, call->how);
		break;
	case CALL_CLOSE:
		outcome.r = side->close(call->end);
		break;
	default:
		return transfer_make(side, call);
	}
	outcome.error = outcome.r < 0 ? errno : 0;
	return outcome;
}

void outcome_free(struct outcome *outcome)
{
	free(outcome->data);
	outcome->data = NULL;
}
