/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps of a link's harness that do not depend on the link's transport. */
#include "tests/fuzz/link-steps.h"

static void inject_frame(struct pair *pair, struct fuzz_input *input)
{
	static const uint32_t channels[] = {PAIR_CHANNEL, PAIR_CHANNEL, PAIR_CHANNEL, 77};
	uint8_t bytes[FRAME_HEADER_SIZE + 8192] = {0};
	struct frame frame = {.channel = channels[fuzz_u8(input) & 3],
		.type = fuzz_u8(input) % (FRAME_TYPE_LIMIT + 1),
		.flags = fuzz_u8(input) & 3};

	if (frame.type == FRAME_DATA) {
		frame.len = fuzz_u16(input) & 8191;
		frame.arg = frame.flags & FRAME_FIRST ? frame.len : 0;
		if (!(frame.flags & FRAME_LAST))
			frame.arg += frame.arg ? fuzz_u16(input) : 0;
	} else {
		frame.arg = fuzz_u32(input);
	}
	frame_encode(&frame, bytes);
	pair_inject(pair, THEIR, bytes, FRAME_HEADER_SIZE + round_up16(frame.len));
}

static void inject_raw(struct pair *pair, struct fuzz_input *input)
{
	uint8_t bytes[256];
	uint32_t len = 16U * (1 + fuzz_u8(input) % 16);

	fuzz_bytes(input, bytes, len);
	pair_inject(pair, THEIR, bytes, len);
}

static void answer(struct pair *pair)
{
	struct control_message message, status = {.type = CONTROL_STATUS};

	while (pair_control(&pair->sides[MINE], &message)) {
		if (message.type != CONTROL_SYNC)
			continue;
		status.request = message.request;
		pair_say(&pair->sides[MINE], &status);
	}
}

static void grant(struct pair *pair)
{
	struct control_message message = {.type = CONTROL_CHANNEL,
		.channel = {.listener = 5, .end = PAIR_END, .channel = 77, .type = CHANNEL_STREAM}};

	pair_say(&pair->sides[MINE], &message);
}

static void use(struct pair *pair, enum link_step step, struct fuzz_input *input)
{
	struct msg_sock *sock = pair->sides[MINE].sock;
	uint8_t bytes[20000] = {0};
	struct msg_buf *buf = NULL;
	const void *data;

	if (!sock)
		return;
	if (step == STEP_RECV) {
		(void)msg_recv(sock, bytes, fuzz_u16(input) % sizeof(bytes), MSG_DONTWAIT);
	} else if (step == STEP_TAKE) {
		if (msg_recv_take(sock, MSG_DONTWAIT, &data, &buf) >= 0)
			msg_buf_free(buf);
	} else if (step == STEP_SEND) {
		(void)msg_send(sock, bytes, fuzz_u16(input) % sizeof(bytes), MSG_DONTWAIT);
	} else if (step == STEP_SHUTDOWN) {
		(void)msg_shutdown(sock, fuzz_u8(input) % 3);
	} else {
		(void)msg_close(sock);
		pair->sides[MINE].sock = NULL;
	}
}

void link_begin(struct pair *pair, struct fuzz_input *input)
{
	enum channel_type type = CHANNEL_SEQPACKET + fuzz_u8(input) % 3;

	for (int i = 0; i < 2; i++) {
		pair->sides[i].channel->type = type;
		pair->sides[i].sock->type = type;
	}
}

void link_step(struct pair *pair, enum link_step step, struct fuzz_input *input)
{
	if (step == STEP_FRAME)
		inject_frame(pair, input);
	else if (step == STEP_RAW)
		inject_raw(pair, input);
	else if (step == STEP_CHANNEL)
		grant(pair);
	else if (step == STEP_ANSWER)
		answer(pair);
	else
		use(pair, step, input);
}

void link_settle(struct pair *pair)
{
	struct msg_ctx *ctx = pair->sides[MINE].ctx;

	if (ctx->links.by_end)
		pair_drive(&pair->sides[MINE]);
	/* Two channels' windows, and one message under way in each. */
	FUZZ_CHECK(ctx->pool.held <= 2 * (4 * CREDIT_MAX + MESSAGE_MAX_DEFAULT));
}
