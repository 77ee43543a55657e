/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A control link's endpoint over two grant rings: see the header. */
#include "proto/control-ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"

#define PAGE_BYTES 4096U
#define HEAD_ROOM  64U

_Static_assert((CONTROL_RING_LEN & (CONTROL_RING_LEN - 1)) == 0, "a grant ring's length");
_Static_assert(CONTROL_RING_PAGES == 2 &&
		       CONTROL_RING_LEN + 2 * HEAD_ROOM <= CONTROL_RING_PAGES * PAGE_BYTES,
	"a ring and its two heads");

/* ---- the pages -------------------------------------------------------------------------- */

/* The bytes that the end of this role sends. */
static uint8_t *ring_data(void *rings, unsigned role)
{
	return (uint8_t *)rings + role * CONTROL_RING_PAGES * PAGE_BYTES + HEAD_ROOM;
}

/* Where the i-th page has its head: where its ring has no bytes. */
static size_t head_offset(unsigned i)
{
	return i * PAGE_BYTES + (i % 2 ? PAGE_BYTES - HEAD_ROOM : 0);
}

static struct doorbell_head ring_head(const struct doorbell_head *page, unsigned i)
{
	struct doorbell_head head = *page;

	head.magic = CONTROL_RINGS_MAGIC;
	head.version_min = (uint16_t)(i + 1);
	head.version_max = 0;
	return head;
}

void control_rings_prove(void *rings, const struct doorbell_head *head)
{
	for (unsigned i = 0; i < CONTROL_PAGES - 1; i++) {
		struct doorbell_head own = ring_head(head, i);

		memcpy((uint8_t *)rings + head_offset(i), &own, sizeof(own));
	}
}

bool control_rings_are_proven(const void *rings, const struct doorbell_head *head)
{
	for (unsigned i = 0; i < CONTROL_PAGES - 1; i++) {
		struct doorbell_head want = ring_head(head, i), found;

		memcpy(&found, (const uint8_t *)rings + head_offset(i), sizeof(found));
		if (memcmp(&found, &want, sizeof(found)) != 0)
			return false;
	}
	return true;
}

/* ---- life ------------------------------------------------------------------------------- */

void control_ring_init(struct control_ring *ring, struct doorbell_page *page,
	enum control_ring_role role, void *rings)
{
	struct doorbell_end *me = &page->end[role], *them = &page->end[!role];

	*ring = (struct control_ring){
		.me = me,
		.them = them,
		.tx = {.data = ring_data(rings, role),
			.len = CONTROL_RING_LEN,
			.produced = &me->produced,
			.consumed = &them->consumed},
		.rx = {.data = ring_data(rings, !role),
			.len = CONTROL_RING_LEN,
			.produced = &them->produced,
			.consumed = &me->consumed},
	};
	STAILQ_INIT(&ring->outbox);
	doorbell_arm(&me->sleeping);
}

int control_ring_adopt(struct control_ring *ring, struct doorbell_page *page,
	enum control_ring_role role, void *rings, const char **ret_reason)
{
	struct doorbell_end *me = &page->end[role], *them = &page->end[!role];
	uint32_t rx_produced = atomic_load_explicit(&them->produced, memory_order_acquire);
	uint32_t rx_consumed = atomic_load_explicit(&me->consumed, memory_order_acquire);
	uint32_t tx_produced = atomic_load_explicit(&me->produced, memory_order_acquire);
	uint32_t tx_consumed = atomic_load_explicit(&them->consumed, memory_order_acquire);

	if (rx_produced - rx_consumed > CONTROL_RING_LEN ||
		tx_produced - tx_consumed > CONTROL_RING_LEN ||
		((rx_produced | rx_consumed | tx_produced | tx_consumed) & 15)) {
		*ret_reason = "the counters of its control page make no sense";
		return -EBADMSG;
	}
	control_ring_init(ring, page, role, rings);
	ring->rx.own = ring->rx.peer = rx_produced;
	ring->tx.own = tx_produced;
	ring->tx.peer = tx_consumed;
	grant_ring_release(&ring->rx);
	doorbell_disarm(&me->want_space);
	return 0;
}

void control_ring_clear(struct control_ring *ring)
{
	struct control_out *out;

	while ((out = STAILQ_FIRST(&ring->outbox))) {
		STAILQ_REMOVE_HEAD(&ring->outbox, entry);
		free(out);
	}
	ring->outbox_bytes = 0;
}

static void ring_break(struct control_ring *ring, int error, const char *reason)
{
	ring->error = error;
	ring->broken = reason;
}

/* False: the ring has no room, or is broken. */
static bool ring_put(struct control_ring *ring, const uint8_t *bytes, uint32_t len)
{
	int64_t space = grant_ring_space(&ring->tx, len);

	if (space < 0) {
		ring_break(ring, EBADMSG, "a counter that moved where it cannot");
		return false;
	}
	if (space < len)
		return false;
	grant_ring_write(&ring->tx, 0, bytes, len);
	ring->tx.own += len;
	ring->wrote = true;
	return true;
}

/* ret_bytes: zeros, for the padding: the other side must not read this stack. */
static uint32_t message_encode(const struct control_message *message,
	uint8_t ret_bytes[FRAME_HEADER_SIZE + CONTROL_MESSAGE_MAX])
{
	struct frame frame = {.type = message->type, .arg = message->request};

	frame.len = (uint32_t)control_encode(message, ret_bytes + FRAME_HEADER_SIZE);
	frame_encode(&frame, ret_bytes);
	return FRAME_HEADER_SIZE + round_up16(frame.len);
}

void control_ring_send(struct control_ring *ring, const struct control_message *message)
{
	uint8_t bytes[FRAME_HEADER_SIZE + CONTROL_MESSAGE_MAX] = {0};
	struct control_out *out;
	uint32_t len;

	if (ring->broken)
		return;
	len = message_encode(message, bytes);
	if (STAILQ_EMPTY(&ring->outbox) && ring_put(ring, bytes, len))
		return;
	out = malloc(sizeof(*out) + len);
	if (!out) {
		ring_break(ring, ENOMEM, "out of memory for a control message");
		return;
	}
	out->len = len;
	memcpy(out->bytes, bytes, len);
	STAILQ_INSERT_TAIL(&ring->outbox, out, entry);
	ring->outbox_bytes += len;
}

bool control_ring_try(struct control_ring *ring, const struct control_message *message)
{
	uint8_t bytes[FRAME_HEADER_SIZE + CONTROL_MESSAGE_MAX] = {0};
	uint32_t len;

	if (ring->broken)
		return true;
	len = message_encode(message, bytes);
	if (!ring_put(ring, bytes, len) && !ring->broken) {
		/* Arms before it looks again: room that appears in between is not missed. */
		doorbell_arm(&ring->me->want_space);
		ring->wants_space = true;
		if (!ring_put(ring, bytes, len))
			return ring->broken != NULL;
	}
	if (ring->wants_space)
		doorbell_disarm(&ring->me->want_space);
	ring->wants_space = false;
	return true;
}

bool control_ring_try_spare(
	struct control_ring *ring, const struct control_message *message, uint32_t spare)
{
	uint8_t bytes[FRAME_HEADER_SIZE + CONTROL_MESSAGE_MAX] = {0};
	uint32_t len = message_encode(message, bytes);

	if (ring->broken || !STAILQ_EMPTY(&ring->outbox))
		return false;
	if (grant_ring_space(&ring->tx, len + spare) < (int64_t)len + spare) {
		/* Arms before it looks again: room that appears in between is not missed. */
		doorbell_arm(&ring->me->want_space);
		if (grant_ring_space(&ring->tx, len + spare) < (int64_t)len + spare)
			return false;
	}
	return ring_put(ring, bytes, len);
}

static void outbox_move(struct control_ring *ring)
{
	struct control_out *out;

	while (!ring->broken && (out = STAILQ_FIRST(&ring->outbox))) {
		if (!ring_put(ring, out->bytes, out->len))
			return;
		STAILQ_REMOVE_HEAD(&ring->outbox, entry);
		ring->outbox_bytes -= out->len;
		free(out);
	}
}

void control_ring_flush(struct control_ring *ring)
{
	if (STAILQ_EMPTY(&ring->outbox))
		return;
	outbox_move(ring);
	if (ring->broken)
		return;
	/* Arms before it looks again: room that appears in between is not missed. */
	if (!STAILQ_EMPTY(&ring->outbox)) {
		doorbell_arm(&ring->me->want_space);
		outbox_move(ring);
	}
	if (STAILQ_EMPTY(&ring->outbox))
		doorbell_disarm(&ring->me->want_space);
}

int control_ring_receive(struct control_ring *ring, struct control_message *ret_message,
	int *ret_decoded, const char **ret_reason)
{
	uint8_t header[FRAME_HEADER_SIZE], body[CONTROL_MESSAGE_MAX];
	struct frame frame;
	int64_t avail = grant_ring_avail(&ring->rx, FRAME_HEADER_SIZE);
	uint32_t len;

	if (avail == 0)
		return 0;
	*ret_reason = "a counter that moved where it cannot";
	if (avail < 0)
		return -EBADMSG;
	/* Counters are multiples of 16: a header is there. */
	*ret_reason = "a frame that is no control message";
	grant_ring_read(&ring->rx, 0, header, sizeof(header));
	if (control_frame_decode(header, &frame) < 0)
		return -EBADMSG;
	len = FRAME_HEADER_SIZE + round_up16(frame.len);
	avail = grant_ring_avail(&ring->rx, len);
	/* Whole frames are published: PROTOCOL.md 3.2. */
	*ret_reason = "a control message cut short";
	if (avail < len)
		return -EBADMSG;
	grant_ring_read(&ring->rx, FRAME_HEADER_SIZE, body, frame.len);
	ring->rx.own += len;
	ring->took = true;
	*ret_decoded = control_decode(frame.type, frame.arg, body, frame.len, ret_message);
	if (*ret_decoded < 0) {
		/* control_decode sets nothing then, and the caller logs these two. */
		ret_message->type = frame.type;
		ret_message->request = frame.arg;
	}
	return 1;
}

bool control_ring_sleep(struct control_ring *ring)
{
	doorbell_arm(&ring->me->sleeping);
	if (grant_ring_avail(&ring->rx, 1) == 0)
		return false;
	doorbell_disarm(&ring->me->sleeping);
	return true;
}

static bool ring_publish(struct control_ring *ring, bool quietly)
{
	bool event;

	if (!ring->wrote && !ring->took)
		return false;
	grant_ring_publish(&ring->tx);
	grant_ring_release(&ring->rx);
	/* A side that sleeps wants messages, and not to hear that its own were taken. */
	event = ring->wrote && !quietly && doorbell_take(&ring->them->sleeping);
	/* Both flags are taken: one event answers both. */
	if (doorbell_take(&ring->them->want_space))
		event = true;
	ring->wrote = ring->took = false;
	return event;
}

bool control_ring_publish(struct control_ring *ring)
{
	return ring_publish(ring, false);
}

bool control_ring_publish_quietly(struct control_ring *ring)
{
	return ring_publish(ring, true);
}
