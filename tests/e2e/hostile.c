/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An application that connects as any other, then lies to its peer over the link: it writes frames
 * and doorbells that libmsg would never write, through libmsg's own insides. Prints "told" after
 * the lie and stays until it is killed. `run` looks at what the peer made of it.
 *
 *	hostile ADDRESS argo|argo-strict|grant LIE
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libmsg/api/ctx.h"
#include "libmsg/transport/argo.h"

static struct channel *channel;
static struct transport *transport; /* of the link to the victim */
static uint8_t payload[FRAME_PAYLOAD_MAX];

static _Noreturn void fail(const char *what)
{
	printf("error: %s: %s\n", what, msg_reason());
	exit(1);
}

static void ring(void)
{
	(void)transport->ops->push(transport);
	(void)transport->hv->ops->evtchn_send(transport->hv, transport->port);
}

/* False: the ring is full. */
static bool tell(struct frame *frame)
{
	struct iovec iov = {.iov_base = payload, .iov_len = frame->len};
	struct iov_cursor cursor;

	cursor_init(&cursor, &iov, 1);
	if (transport->ops->put(transport, frame, frame->len, &cursor, false) < 0)
		return false;
	ring();
	return true;
}

static void tell_data(uint32_t number, uint32_t len, unsigned flags, uint32_t arg)
{
	(void)tell(&(struct frame){.channel = number,
		.len = len,
		.type = FRAME_DATA,
		.flags = (uint8_t)flags,
		.arg = arg});
}

static void lie_unknown_channel(void)
{
	tell_data(channel->number + 12345, 16, FRAME_FIRST | FRAME_LAST, 16);
}

static void lie_unknown_type(void)
{
	(void)tell(&(struct frame){.channel = channel->number, .type = 77});
}

static void lie_no_start(void)
{
	tell_data(channel->number, 16, FRAME_LAST, 0);
}

static void lie_inside(void)
{
	tell_data(channel->number, 16, FRAME_FIRST, 100);
	tell_data(channel->number, 16, FRAME_FIRST, 100);
}

static void lie_short(void)
{
	tell_data(channel->number, 16, FRAME_FIRST, 100);
	tell_data(channel->number, 16, FRAME_LAST, 0);
}

static void lie_too_long(void)
{
	tell_data(channel->number, 16, FRAME_FIRST, 2 * MESSAGE_MAX_DEFAULT);
}

/* A message that the peer takes, sent on without asking for credit. */
static void lie_overdraw(void)
{
	uint32_t len = MESSAGE_MAX_DEFAULT;

	tell_data(channel->number, 8192, FRAME_FIRST, len);
	for (int i = 0; i < 8; i++)
		tell_data(channel->number, 8192, 0, 0);
}

static void lie_credit(void)
{
	struct frame frame = {
		.channel = channel->number, .type = FRAME_CREDIT, .arg = CREDIT_GRANT_MAX};

	for (uint32_t i = 0; i <= CREDIT_BALANCE_MAX / CREDIT_GRANT_MAX; i++)
		(void)tell(&frame);
}

/* An Argo message as no libmsg makes one. */
static void tell_raw(const void *bytes, size_t len)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
	struct hv *hv = transport->hv;

	if (hv->ops->argo_sendv(hv, argo_of(transport)->ring, &iov, 1, FRAME_MESSAGE_TYPE) < 0)
		fail("raw message");
	ring();
}

/* Argo: a frame that is longer than the message that it came in. */
static void lie_cut(void)
{
	struct frame frame = {.channel = channel->number,
		.len = 4096,
		.type = FRAME_DATA,
		.flags = FRAME_FIRST,
		.arg = 8192};

	frame_encode(&frame, payload);
	tell_raw(payload, 64);
}

/* Argo: half of a header. */
static void lie_runt(void)
{
	tell_raw(payload, FRAME_HEADER_SIZE / 2);
}

/* Both halves of the page, over and over, while the peer is awake and while it sleeps. */
static void lie_doorbell(void)
{
	_Atomic uint32_t *words =
		(_Atomic uint32_t *)container_of(transport, struct paged, base)->page->end;
	unsigned seed = 1;

	for (int i = 0; i < 200000; i++) {
		seed = seed * 1103515245U + 12345U;
		atomic_store(&words[(seed >> 8) % (2 * sizeof(struct doorbell_end) / 4)], seed);
		if (i % 1000 == 0)
			ring();
	}
}

static const struct lie {
	const char *name;
	void (*fn)(void);
} lies[] = {
	{"unknown-channel", lie_unknown_channel},
	{"unknown-type", lie_unknown_type},
	{"no-start", lie_no_start},
	{"inside", lie_inside},
	{"short", lie_short},
	{"too-long", lie_too_long},
	{"overdraw", lie_overdraw},
	{"credit", lie_credit},
	{"cut", lie_cut},
	{"runt", lie_runt},
	{"doorbell", lie_doorbell},
};

int main(int argc, char **argv)
{
	struct msg_ctx *ctx = msg_ctx_open(NULL, 0, 15000);
	static const char *const transports[] = {[LIBMSG_TRANSPORT_ARGO] = "argo",
		[LIBMSG_TRANSPORT_ARGO_STRICT] = "argo-strict",
		[LIBMSG_TRANSPORT_GRANT] = "grant"};
	int kind = LIBMSG_TRANSPORT_GRANT;
	struct msg_sock *sock;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 4 || !ctx)
		fail("context");
	while (kind && strcmp(argv[2], transports[kind]) != 0)
		kind--;
	if (!kind || msg_ctx_set_transport(ctx, kind) < 0)
		fail("transport");
	sock = msg_connect(ctx, argv[1], LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, 15000);
	if (!sock)
		fail("connect");
	channel = sock->channel;
	transport = channel->set->transport;
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		if (strcmp(lies[i].name, argv[3]) == 0) {
			lies[i].fn();
			printf("told\n");
			(void)pause();
		}
	}
	fail("no such lie");
}
