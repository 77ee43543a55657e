/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An application under capture that lies about its frames. It connects as any other, waits until
 * msgd asks for its channel's frames, and then writes to msgd what libmsg never would.
 *
 *	capture ADDRESS
 *
 * First what breaks the rules, each once: it prints "dropped KIND" when msgd has dropped it, and
 * connects again. Then what does not, over and over: it prints "did KIND" after each flood.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libmsg/api/ctx.h"
#include "libmsg/channel/capture.h"

/* Whole frames of payload: CAPTURED, and 18 pieces. */
#define FLOOD (1000U * 19)

static struct msg_ctx *ctx;
static struct msg_sock *sock;
static struct control_capture told; /* of the channel: which end and number msgd knows it by */

static _Noreturn void fail(const char *what)
{
	printf("error: %s: %s (%s)\n", what, msg_reason(), strerrordesc_np(errno));
	exit(1);
}

/* ---- words ---------------------------------------------------------------------------------- */

static struct control_message frame(uint32_t n_payload)
{
	return (struct control_message){.type = CONTROL_CAPTURED,
		.captured = {.end = told.end,
			.channel = told.channel,
			.len = CAPTURE_SNAPLEN_MAX,
			.arg = CAPTURE_SNAPLEN_MAX,
			.frame_type = FRAME_DATA,
			.flags = FRAME_FIRST | FRAME_LAST,
			.sent = 1,
			.n_payload = n_payload}};
}

static struct control_message piece(uint32_t n)
{
	return (struct control_message){.type = CONTROL_CAPTURED_BYTES, .captured_bytes = {.n = n}};
}

/* False: the link to msgd is not there, or its ring is full. */
static bool put(struct control_message message)
{
	return ctx->control.state == CONTROL_ATTACHED &&
	       control_ring_try(&ctx->control.ring, &message);
}

static void put_unannounced(void)
{
	(void)put(piece(CAPTURE_PIECE));
}

static void put_of_an_end_never_had(void)
{
	struct control_message message = frame(0);

	message.captured.end += 1000;
	(void)put(message);
}

/* The next frame comes before the payload of this one. */
static void put_cut(void)
{
	(void)put(frame(CAPTURE_PIECE + 1));
	(void)put(frame(0));
}

static void put_short(void)
{
	(void)put(frame(CAPTURE_PIECE));
	(void)put(piece(CAPTURE_PIECE - 1));
}

static void put_surplus(void)
{
	(void)put(frame(CAPTURE_PIECE));
	(void)put(piece(CAPTURE_PIECE));
	(void)put(piece(1));
}

static bool flood_frames(void)
{
	return put(frame(0));
}

/* Of a channel that nobody has. */
static bool flood_strange(void)
{
	struct control_message message = frame(0);

	message.captured.channel += 1000;
	return put(message);
}

/* Payload that nobody has agreed to: a piece a call. */
static bool flood_payload(void)
{
	static uint32_t left;
	uint32_t n = left < CAPTURE_PIECE ? left : CAPTURE_PIECE;

	if (!put(left ? piece(n) : frame(CAPTURE_SNAPLEN_MAX)))
		return false;
	left = left ? left - n : CAPTURE_SNAPLEN_MAX;
	return true;
}

static bool flood_lost(void)
{
	struct control_message message = {
		.type = CONTROL_CAPTURE_LOST, .capture_lost = {.n = UINT32_MAX}};

	return put(message);
}

static bool flood_agrees(void)
{
	static bool agrees;
	struct control_message message = {
		.type = CONTROL_CAPTURING, .capturing = {.end = told.end, .channel = told.channel}};

	agrees = !agrees;
	message.capturing.agrees = agrees;
	return put(message);
}

/* ---- the attack ----------------------------------------------------------------------------- */

/* libmsg does its work. False: the channel is over. */
static bool pump(int timeout_ms)
{
	struct msg_pollfd fd = {.sock = sock, .events = POLLIN};
	char byte;

	if (msg_poll(&fd, 1, timeout_ms) < 0)
		fail("poll");
	errno = 0;
	return msg_recv(sock, &byte, 1, MSG_DONTWAIT) > 0 || errno == EAGAIN;
}

static void connect_to(const char *address)
{
	for (;;) {
		sock = msg_connect(ctx, address, LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, 15000);
		while (sock && !sock->channel->capture && pump(100))
			;
		if (sock && sock->channel->capture)
			break;
		if (sock)
			(void)msg_close(sock);
	}
	told = *sock->channel->capture;
}

static void breach(const char *address, const char *name, void (*fn)(void))
{
	connect_to(address);
	fn();
	control_publish(&ctx->control);
	while (pump(1000))
		;
	(void)msg_close(sock);
	printf("dropped %s\n", name);
}

static void flood(const char *name, bool (*fn)(void))
{
	for (unsigned n = 0; n < FLOOD;) {
		while (n < FLOOD && fn())
			n++;
		control_publish(&ctx->control);
		if (!pump(1))
			fail(name);
	}
	printf("did %s\n", name);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} breaches[] = {
		{"unannounced", put_unannounced},
		{"never-had", put_of_an_end_never_had},
		{"cut", put_cut},
		{"short", put_short},
		{"surplus", put_surplus},
	};
	static const struct {
		const char *name;
		bool (*fn)(void);
	} floods[] = {
		{"frames", flood_frames},
		{"strange", flood_strange},
		{"payload", flood_payload},
		{"lost", flood_lost},
		{"agrees", flood_agrees},
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	ctx = msg_ctx_open(NULL, 0, 15000);
	if (argc != 2 || !ctx)
		fail("usage");
	for (size_t i = 0; i < ARRAY_SIZE(breaches); i++)
		breach(argv[1], breaches[i].name, breaches[i].fn);
	connect_to(argv[1]);
	for (;;) {
		for (size_t i = 0; i < ARRAY_SIZE(floods); i++)
			flood(floods[i].name, floods[i].fn);
	}
}
