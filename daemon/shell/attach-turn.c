/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An attached application's work in a turn: reads its ring, a bounded amount, and publishes the
 * messages to it. No application may take another one's turn.
 */
#include "daemon/shell/attach-object.h"

#include <string.h>

/* Messages of one application in one turn of the loop. */
#define MESSAGES_A_TURN 16

/* While more bytes than this wait in an application's outbox, its requests are not read. */
#define CONTROL_READ_STOP (64U << 10)
/*
 * While more than this wait, no other application may add to them. The CHANNEL messages of the
 * largest backlog fit, so a listener that is merely quiet is not taken for one that does not read.
 */
#define CONTROL_CONGESTED (2U << 20)

/* True: there may be more. */
static bool attach_read(struct attach *attach)
{
	struct control_message message;
	const char *reason;
	int decoded, r;

	for (int i = 0; i < MESSAGES_A_TURN; i++) {
		/*
		 * An application that does not read its answers gets no more of them: its requests
		 * wait.
		 */
		if (attach->ring.outbox_bytes > CONTROL_READ_STOP)
			return false;
		memset(&message, 0, sizeof(message));
		r = control_ring_receive(&attach->ring, &message, &decoded, &reason);
		if (r == 0)
			return control_ring_sleep(&attach->ring);
		if (r < 0) {
			broker_violation(attach->process, reason);
			return false;
		}
		attach_make_dirty(attach);
		if (broker_message(attach->process, &message, decoded) < 0)
			return false;
	}
	return true;
}

/* True: there is more to do. */
static bool attach_run(struct attach *attach)
{
	if (attach->state == ATTACH_BINDING) {
		attach_try(attach);
		return false;
	}
	if (!atomic_load_explicit(&attach->ring.them->alive, memory_order_acquire)) {
		if (broker_is_quiescing(attach->process))
			attach_park(attach);
		else
			attach_gone(attach, "its process ended", true);
		return false;
	}
	if (attach->ring.broken) {
		broker_violation(attach->process, attach->ring.broken);
		return false;
	}
	control_ring_flush(&attach->ring);
	attach_make_dirty(attach);
	return attach_read(attach);
}

void attach_port_event(struct attach_table *table, uint32_t port)
{
	struct attach *attach;

	HASH_FIND(hh_port, table->by_port, &port, sizeof(port), attach);
	if (!attach)
		return;
	attach->masked = true;
	attach_make_ready(attach);
}

/* Applications with more to do queue up behind the others. */
void attach_turn(struct attach_table *table)
{
	struct hv *hv = table->hv;
	struct attach *attach;
	unsigned n = 0;

	TAILQ_FOREACH (attach, &table->ready, entry)
		n++;
	while (n-- > 0 && (attach = TAILQ_FIRST(&table->ready))) {
		TAILQ_REMOVE(&table->ready, attach, entry);
		attach->ready = false;
		if (attach_run(attach)) {
			attach_make_ready(attach);
		} else if (attach->state == ATTACH_UP && attach->masked) {
			attach->masked = false;
			(void)hv->ops->evtchn_unmask(hv, &attach->port, 1);
		}
	}
}

bool attach_publish(struct attach_table *table)
{
	struct attach *attach;

	/*
	 * Everything is said before any application is woken: an application that sees the other
	 * end of its link let go of it has been told why.
	 */
	TAILQ_FOREACH (attach, &table->dirty, dirty_entry) {
		control_ring_flush(&attach->ring);
		attach->event_due = control_ring_publish(&attach->ring);
	}
	while ((attach = TAILQ_FIRST(&table->dirty))) {
		TAILQ_REMOVE(&table->dirty, attach, dirty_entry);
		attach->dirty = false;
		if (attach->event_due)
			(void)table->hv->ops->evtchn_send(table->hv, attach->port);
	}
	attach_reap(table);
	return !TAILQ_EMPTY(&table->ready);
}

void attach_send(void *arg, void *peer, const struct control_message *message)
{
	struct attach *attach = peer;

	control_ring_send(&attach->ring, message);
	if (attach->ring.broken)
		attach_make_ready(attach); /* dropped in a turn, not in the middle of an event */
	attach_make_dirty(attach);
}

bool attach_congested(void *arg, void *peer)
{
	const struct attach *attach = peer;

	return attach->ring.outbox_bytes > CONTROL_CONGESTED;
}
