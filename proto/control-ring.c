/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One control link's rings (PROTOCOL.md 3, 5). It knows neither broker nor hypervisor, so that
 * tests run it on plain memory. It must never trust a byte of the shared pages twice.
 */
#include "proto/control-ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"

#define RING_LEN (CONTROL_RING_PAGES * 4096U)

/* end[0] is the application's half of the page, end[1] msgd's. */
int control_ring_init(struct control_ring *link, struct doorbell_page *page, uint8_t *in,
	uint8_t *out, const char **ret_reason)
{
	uint32_t in_produced = atomic_load_explicit(&page->end[0].produced, memory_order_acquire);
	uint32_t in_consumed = atomic_load_explicit(&page->end[1].consumed, memory_order_acquire);
	uint32_t out_produced = atomic_load_explicit(&page->end[1].produced, memory_order_acquire);
	uint32_t out_consumed = atomic_load_explicit(&page->end[0].consumed, memory_order_acquire);

	if (in_produced - in_consumed > RING_LEN || out_produced - out_consumed > RING_LEN ||
		((in_produced | in_consumed | out_produced | out_consumed) & 15)) {
		*ret_reason = "the counters of its control page make no sense";
		return -EBADMSG;
	}
	*link = (struct control_ring){
		.page = page,
		.in =
			{
				.data = in,
				.len = RING_LEN,
				.produced = &page->end[0].produced,
				.consumed = &page->end[1].consumed,
				.own = in_produced,
				.peer = in_produced,
			},
		.out =
			{
				.data = out,
				.len = RING_LEN,
				.produced = &page->end[1].produced,
				.consumed = &page->end[0].consumed,
				.own = out_produced,
				.peer = out_consumed,
			},
	};
	STAILQ_INIT(&link->outbox);
	grant_ring_release(&link->in);
	doorbell_disarm(&page->end[1].want_space);
	doorbell_arm(&page->end[1].sleeping);
	return 0;
}

void control_ring_fini(struct control_ring *link)
{
	struct control_out *out;

	while ((out = STAILQ_FIRST(&link->outbox))) {
		STAILQ_REMOVE_HEAD(&link->outbox, entry);
		free(out);
	}
	link->outbox_bytes = 0;
}

/* 1: it is in the ring; 0: no room. */
static int ring_put(struct control_ring *link, const uint8_t *bytes, uint32_t len)
{
	int64_t space = grant_ring_space(&link->out, len);

	if (space < 0) {
		link->broken = "a counter that moved where it cannot";
		return 0;
	}
	if (space < len)
		return 0;
	grant_ring_write(&link->out, 0, bytes, len);
	link->out.own += len;
	link->event_due = true;
	return 1;
}

void control_ring_send(struct control_ring *link, const struct control_message *message)
{
	uint8_t bytes[FRAME_HEADER_SIZE + CONTROL_MESSAGE_MAX];
	struct frame frame = {.type = message->type, .arg = message->request};
	struct control_out *out;
	uint32_t len;

	if (link->broken)
		return;
	frame.len = (uint32_t)control_encode(message, bytes + FRAME_HEADER_SIZE);
	frame_encode(&frame, bytes);
	len = FRAME_HEADER_SIZE + round_up16(frame.len);
	/* Padding: msgd's stack is nobody's to read. */
	memset(bytes + FRAME_HEADER_SIZE + frame.len, 0, round_up16(frame.len) - frame.len);
	if (STAILQ_EMPTY(&link->outbox) && ring_put(link, bytes, len))
		return;
	out = malloc(sizeof(*out) + len);
	if (!out) {
		link->broken = "msgd is out of memory";
		return;
	}
	out->len = len;
	memcpy(out->bytes, bytes, len);
	STAILQ_INSERT_TAIL(&link->outbox, out, entry);
	link->outbox_bytes += len;
}

static void outbox_move(struct control_ring *link)
{
	struct control_out *out;

	while (!link->broken && (out = STAILQ_FIRST(&link->outbox))) {
		if (!ring_put(link, out->bytes, out->len))
			return;
		STAILQ_REMOVE_HEAD(&link->outbox, entry);
		link->outbox_bytes -= out->len;
		free(out);
	}
}

void control_ring_flush(struct control_ring *link)
{
	if (STAILQ_EMPTY(&link->outbox))
		return;
	outbox_move(link);
	if (link->broken)
		return;
	/* Asked for before looking again: room that appears in between is not missed. */
	if (!STAILQ_EMPTY(&link->outbox)) {
		doorbell_arm(&link->page->end[1].want_space);
		outbox_move(link);
	}
	if (STAILQ_EMPTY(&link->outbox))
		doorbell_disarm(&link->page->end[1].want_space);
}

int control_ring_receive(struct control_ring *link, struct control_message *ret_message,
	int *ret_decoded, const char **ret_reason)
{
	uint8_t header[FRAME_HEADER_SIZE], body[CONTROL_MESSAGE_MAX];
	struct frame frame;
	int64_t avail = grant_ring_avail(&link->in, FRAME_HEADER_SIZE);
	uint32_t len;

	if (avail == 0)
		return 0;
	*ret_reason = "a counter that moved where it cannot";
	if (avail < 0)
		return -EBADMSG;
	*ret_reason = "a frame that is no control message";
	if (avail < FRAME_HEADER_SIZE)
		return -EBADMSG;
	grant_ring_read(&link->in, 0, header, sizeof(header));
	if (control_frame_decode(header, &frame) < 0)
		return -EBADMSG;
	len = FRAME_HEADER_SIZE + round_up16(frame.len);
	avail = grant_ring_avail(&link->in, len);
	/* Whole frames are published: PROTOCOL.md 3.2. */
	*ret_reason = "a control message cut short";
	if (avail < len)
		return -EBADMSG;
	grant_ring_read(&link->in, FRAME_HEADER_SIZE, body, frame.len);
	link->in.own += len;
	link->event_due = true;
	*ret_decoded = control_decode(frame.type, frame.arg, body, frame.len, ret_message);
	if (*ret_decoded < 0) {
		/* Decoders publish last: what is logged is set here. */
		ret_message->type = frame.type;
		ret_message->request = frame.arg;
	}
	return 1;
}

bool control_ring_sleep(struct control_ring *link)
{
	doorbell_arm(&link->page->end[1].sleeping);
	if (grant_ring_avail(&link->in, 1) == 0)
		return false;
	doorbell_disarm(&link->page->end[1].sleeping);
	return true;
}

bool control_ring_publish(struct control_ring *link)
{
	bool event;

	if (!link->event_due)
		return false;
	link->event_due = false;
	grant_ring_publish(&link->out);
	grant_ring_release(&link->in);
	/* Both are taken, for one event answers both. */
	event = doorbell_take(&link->page->end[0].sleeping);
	if (doorbell_take(&link->page->end[0].want_space))
		event = true;
	return event;
}
