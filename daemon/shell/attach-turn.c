/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An attached application's work in a turn: reads its ring, a bounded amount, and publishes the
 * messages to it. No application may take another one's turn.
 */
#include "daemon/shell/attach-object.h"

#include <malloc.h>
#include <string.h>

/* Messages of one application in one turn of the loop. */
#define MESSAGES_A_TURN 16
/* Less memory than this is not worth giving back: msgd starts with about as much. */
#define TRIM_FROM (4U << 20)

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
		if (broker_is_behind(attach->process))
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
	broker_flush(attach->process);
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

/*
 * The heap after domains have gone: malloc would keep the pages between objects that stay. Memory
 * is given back when half of it has become free, so that each byte is looked at a bounded number of
 * times.
 */
static void attach_trim(struct attach_table *table)
{
	uint64_t bytes = broker_bytes(table->broker);

	if (bytes >= table->most_bytes)
		table->most_bytes = bytes;
	if (table->most_bytes < TRIM_FROM || bytes > table->most_bytes / 2)
		return;
	(void)malloc_trim(0);
	table->most_bytes = bytes;
}

bool attach_publish(struct attach_table *table)
{
	struct attach *attach;

	/*
	 * Everything is said before any application is woken: an application that sees the other
	 * end of its link let go of it has been told why.
	 */
	TAILQ_FOREACH (attach, &table->dirty, dirty_entry) {
		attach->event_due = control_ring_publish(&attach->ring);
	}
	while ((attach = TAILQ_FIRST(&table->dirty))) {
		TAILQ_REMOVE(&table->dirty, attach, dirty_entry);
		attach->dirty = false;
		if (attach->event_due)
			(void)table->hv->ops->evtchn_send(table->hv, attach->port);
	}
	attach_reap(table);
	attach_trim(table);
	return !TAILQ_EMPTY(&table->ready);
}

bool attach_send(void *arg, void *peer, const struct control_message *message)
{
	struct attach *attach = peer;
	bool sent = control_ring_try(&attach->ring, message);

	if (attach->ring.broken)
		attach_make_ready(attach); /* dropped in a turn, not in the middle of an event */
	attach_make_dirty(attach);
	return sent;
}

void attach_unsent(void *arg, void *peer, const char *reason)
{
	struct attach *attach = peer;

	if (!attach->ring.broken)
		attach->ring.broken = reason;
	attach_make_ready(attach);
}
