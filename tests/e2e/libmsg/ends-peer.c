/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/e2e/libmsg/ends-peer.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libmsg/api/ctx.h"
#include "tests/support/pattern.h"
#include "tests/support/testbed.h"

struct child {
	int fd;
	struct msg_ctx *ctx;
	struct msg_sock *sock;
	bool outside; /* of libmsg, until it is told to go on */
	bool reading;
	uint64_t n_read, awaited; /* bytes; awaited: 0: none */
};

struct command {
	enum order order;
	uint32_t arg;
};

static uint8_t data[BIG_LEN];

static void answer(struct child *child, ssize_t r)
{
	must(send(child->fd, &r, sizeof(r), MSG_NOSIGNAL) == sizeof(r));
}

/* ---- orders ---------------------------------------------------------------------------------- */

static struct msg_sock *accept_one(struct child *child, int type)
{
	struct msg_sock *listener = msg_listen(child->ctx, PEER_NAME, type, 1, 0), *sock;

	must(listener);
	sock = msg_accept(listener, 0);
	must(msg_close(listener) == 0);
	return sock;
}

/* A channel whose messages wake nobody here, and whose close waits for as long as it takes. */
static void open_channel(struct child *child, bool accepts, int type)
{
	child->sock = accepts ? accept_one(child, type)
			      : msg_connect(child->ctx, "near/" PEER_NAME, type, LIBMSG_WAIT_NAME,
					TESTBED_WAIT_MS);
	must(child->sock && msg_setopt(child->sock, LIBMSG_EVENTS, 0) == 0);
	must(msg_setopt(child->sock, LIBMSG_LINGER, TESTBED_WAIT_MS) == 0);
	child->outside = child->reading = false;
	child->n_read = child->awaited = 0;
}

static ssize_t say(struct child *child, uint32_t number)
{
	pattern_fill(data, SAID_LEN, number);
	return msg_send(child->sock, data, SAID_LEN, 0);
}

static ssize_t begin(struct child *child)
{
	child->outside = true;
	pattern_fill(data, BIG_LEN, BIG_SEED);
	return msg_send(child->sock, data, BIG_LEN, MSG_DONTWAIT);
}

static ssize_t close_channel(struct child *child)
{
	struct msg_sock *sock = child->sock;

	child->sock = NULL;
	return msg_close(sock);
}

/* A frame of a type that there is not, as soon as the ring has room for it; and nothing else. */
static ssize_t break_rule(struct child *child)
{
	struct channel *channel = child->sock->channel;
	int r;

	do {
		(void)sched_yield();
		must(ctx_enter(child->ctx) == 0 && channel->set);
		r = transport_put_bare(
			channel->set->transport, channel->number, (enum frame_type)77, 0);
		(void)link_push(channel_link(channel));
		ctx_leave(child->ctx);
	} while (r == -EAGAIN);
	return r;
}

static ssize_t obey(struct child *child, const struct command *command)
{
	switch (command->order) {
	case ORDER_ACCEPT:
	case ORDER_CONNECT:
		open_channel(child, command->order == ORDER_ACCEPT, (int)command->arg);
		return 0;
	case ORDER_SAY:
		return say(child, command->arg);
	case ORDER_BEGIN:
		return begin(child);
	case ORDER_READ:
		must(msg_setopt(child->sock, LIBMSG_EVENTS, POLLIN) == 0);
		child->reading = true;
		break;
	case ORDER_AWAIT:
		child->awaited = command->arg;
		break;
	case ORDER_HEAR:
		return msg_recv(child->sock, data, sizeof(data), 0);
	case ORDER_SHUTDOWN:
		return msg_shutdown(child->sock, (int)command->arg);
	case ORDER_CLOSE:
		return close_channel(child);
	case ORDER_BREAK:
		return break_rule(child);
	case ORDER_LEAVE:
	case ORDER_GO_ON:
	default:
		break;
	}
	child->outside = command->order == ORDER_LEAVE;
	return 0;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void look(struct child *child)
{
	struct msg_event event;
	ssize_t n;

	(void)msg_ctx_dispatch(child->ctx, &event, 1);
	while (child->reading && child->sock &&
		(n = msg_recv(child->sock, data, sizeof(data), MSG_DONTWAIT)) > 0)
		child->n_read += (uint64_t)n;
	if (child->awaited && child->n_read >= child->awaited) {
		answer(child, (ssize_t)child->n_read);
		child->awaited = 0;
	}
}

static void take_order(struct child *child)
{
	struct command command;
	ssize_t r = recv(child->fd, &command, sizeof(command), 0);

	if (r != sizeof(command))
		_exit(0); /* the test is over */
	r = obey(child, &command);
	if (!child->awaited)
		answer(child, r < 0 && command.order != ORDER_BREAK ? -errno : r);
}

static _Noreturn void child_run(int fd)
{
	struct child child = {.fd = fd};

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	testbed_watchdog(100);
	child.ctx = testbed_ctx(PEER_DOMAIN, 0);
	for (;;) {
		struct pollfd fds[2] = {{.fd = fd, .events = POLLIN},
			{.fd = child.outside ? -1 : msg_ctx_fd(child.ctx), .events = POLLIN}};

		must(poll(fds, 2, -1) > 0);
		if (fds[0].revents)
			take_order(&child);
		if (!child.outside)
			look(&child);
	}
}

/* ---- the test's side ------------------------------------------------------------------------- */

void peer_start(struct peer *peer)
{
	int fds[2];

	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
	(void)fflush(NULL);
	peer->pid = fork();
	must(peer->pid >= 0);
	if (peer->pid == 0) {
		(void)close(fds[0]);
		child_run(fds[1]);
	}
	(void)close(fds[1]);
	peer->fd = fds[0];
}

void peer_end(struct peer *peer)
{
	if (!peer->pid)
		return;
	(void)kill(peer->pid, SIGKILL);
	must(waitpid(peer->pid, NULL, 0) == peer->pid);
	(void)close(peer->fd);
	peer->pid = 0;
}

void peer_tell(struct peer *peer, enum order order, uint32_t arg)
{
	struct command command = {.order = order, .arg = arg};

	must(send(peer->fd, &command, sizeof(command), MSG_NOSIGNAL) == sizeof(command));
}

ssize_t peer_answer(struct peer *peer)
{
	ssize_t r;

	must(recv(peer->fd, &r, sizeof(r), 0) == sizeof(r));
	return r;
}

ssize_t peer_do(struct peer *peer, enum order order, uint32_t arg)
{
	peer_tell(peer, order, arg);
	return peer_answer(peer);
}
