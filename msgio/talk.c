/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See talk.h. A signal ends the program as any other: the process's death is a reset to the peer.
 */
#include "msgio/talk.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "msgio/channel-end.h"
#include "msgio/loop.h"
#include "msgio/relay/relay.h"
#include "msgio/stdio-end.h"

struct talk {
	struct loop *loop; /* borrowed */
	struct relay relay;
	bool over;
};

static void on_ready(void *arg)
{
	struct talk *talk = arg;

	if (talk->over || !relay_run(&talk->relay))
		return;
	talk->over = true;
	loop_end(talk->loop, STATUS_WHOLE);
}

static int failed(const char *what, int error)
{
	log_error("%s: %s", what, strerror(error));
	return STATUS_FAILURE;
}

static int broken(const struct relay *relay, int error)
{
	const char *reason = channel_end_reason(relay->b);

	log_error("the connection broke: %s", *reason ? reason : strerror(error));
	return STATUS_BROKEN;
}

/* there: from standard input; back: to standard output. */
static int status(const struct relay *relay)
{
	const struct pipe *in = &relay->there, *out = &relay->back;

	if (out->state == PIPE_BROKEN)
		return failed("standard output", out->error);
	if (in->state == PIPE_CUT)
		return failed("standard input", in->error);
	if (out->state == PIPE_CUT || (in->state == PIPE_BROKEN && in->error != EPIPE))
		return broken(relay, relay_error(relay));
	if (in->state != PIPE_BROKEN)
		return STATUS_WHOLE;
	log_error("the peer closed before the input had ended");
	return STATUS_CLOSED;
}

static int converse(struct loop *loop, struct msg_sock *sock, int type)
{
	struct talk talk = {.loop = loop};
	struct end *channel = channel_end_new(sock);
	struct end *stdio = channel ? stdio_end_new(loop, type) : NULL;
	int64_t drops;
	int r;

	if (!stdio) {
		log_error("out of memory");
		if (channel)
			(void)channel->ops->close(channel, true);
		return STATUS_FAILURE;
	}
	relay_init(&talk.relay, stdio, channel);
	stdio->ready = channel->ready = on_ready;
	stdio->arg = channel->arg = &talk;
	on_ready(&talk);
	loop_run(loop);
	r = status(&talk.relay);
	drops = channel_end_drops(channel);
	if (drops)
		loop_log(loop, "%" PRId64 " datagrams were dropped: they found no room", drops);
	if (r == STATUS_WHOLE)
		channel_end_linger(channel);
	if (relay_fini(&talk.relay) < 0 && r == STATUS_WHOLE) {
		log_error("the connection broke: the peer did not take all that was sent");
		r = STATUS_BROKEN;
	}
	return r;
}

static struct msg_sock *accept_one(struct msg_ctx *ctx, const struct io_options *options)
{
	struct msg_sock *sock = NULL, *listener;

	listener = msg_listen(ctx, options->from.channel, options->type, 1, 0);
	if (listener)
		sock = msg_accept(listener, LIBMSG_NONBLOCK);
	if (sock)
		(void)msg_close(listener);
	return sock;
}

static struct msg_sock *connect_one(struct msg_ctx *ctx, const struct io_options *options)
{
	struct msg_sock *sock;

	(void)msg_ctx_set_transport(ctx, options->transport);
	sock = msg_connect(ctx, options->to.channel, options->type,
		options->wait ? LIBMSG_WAIT_NAME : 0, options->wait_ms);
	if (sock)
		(void)msg_setopt(sock, LIBMSG_NONBLOCK_OPT, 1);
	return sock;
}

static int with_ctx(struct loop *loop, const struct io_options *options)
{
	bool connects = options->command == COMMAND_CONNECT;
	struct msg_sock *sock;
	int r = loop_open_ctx(loop, options->hv, LIBMSG_ONE_THREAD, options->wait_ms);

	if (r)
		return r;
	sock = connects ? connect_one(loop->ctx, options) : accept_one(loop->ctx, options);
	if (sock)
		return converse(loop, sock, options->type);
	log_error("%s (%s)", msg_reason(), strerror(errno)); /* libmsg says which name */
	return STATUS_NO_CONNECTION;
}

int talk_run(const struct io_options *options)
{
	struct loop loop;
	int r = loop_init(&loop, true);

	if (r == 0)
		r = with_ctx(&loop, options);
	loop_fini(&loop);
	return r;
}
