/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An attached application's work in a turn: reads its ring, a bounded amount, and publishes the
 * messages to it. No domain may take another one's turn, with however many applications, and
 * however much a message of its costs.
 */
#include "daemon/shell/attach-object.h"

#include <malloc.h>

/* Less memory than this is not worth giving back. */
#define TRIM_FROM (1U << 20)
/* In the broker's cost: to look at an application, and its event. */
#define COST_ATTACH_RUN 100U
/* Each has a header and a body, if only an empty one. */
#define RING_MESSAGES_MAX (CONTROL_RING_PAGES * HV_PAGE_SIZE / FRAME_HEADER_SIZE)

/* True: there may be more. */
static bool attach_read(struct attach *attach)
{
	struct broker *broker = attach->table->broker;
	uint64_t end = broker_cost(broker) + TURN_COST_DOMAIN;
	struct control_message message;
	const char *reason;
	int decoded, r;

	/* Each message costs something, so this ends: before another one of its domain is read. */
	while (broker_cost(broker) < end) {
		/*
		 * An application that does not read its answers gets no more of them: its requests
		 * wait.
		 */
		if (broker_is_behind(attach->process))
			return false;
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

static bool is_last_answer(const struct control_message *message)
{
	return message->type == CONTROL_ANSWER && message->answer.token == 0;
}

static bool is_captured(const struct control_message *message)
{
	return message->type >= CONTROL_CAPTURED && message->type <= CONTROL_CAPTURE_LOST;
}

void attach_read_last(struct attach *attach)
{
	struct control_message message;
	const char *reason;
	int decoded;

	for (unsigned n = 0; n < RING_MESSAGES_MAX && attach->process; n++) {
		if (control_ring_receive(&attach->ring, &message, &decoded, &reason) <= 0)
			return;
		/* Others may build on what was skipped before them. */
		if (decoded == 0 && (is_last_answer(&message) || is_captured(&message)))
			(void)broker_message(attach->process, &message, decoded);
	}
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

/* Behind those that have spent no more. */
static void queue_insert(struct attach_table *table, struct attach_domain *domain)
{
	struct attach_domain *other;

	TAILQ_FOREACH_REVERSE(other, &table->queue, attach_domain_list, entry)
	{
		if (other->spent <= domain->spent) {
			TAILQ_INSERT_AFTER(&table->queue, other, domain, entry);
			return;
		}
	}
	TAILQ_INSERT_HEAD(&table->queue, domain, entry);
}

void attach_domain_enqueue(struct attach_table *table, struct attach_domain *domain)
{
	if (domain->queued)
		return;
	domain->queued = true;
	/* It can have saved up a little of what it did not use, and no more. */
	if (domain->spent + TURN_COST_SAVED < table->spent)
		domain->spent = table->spent - TURN_COST_SAVED;
	queue_insert(table, domain);
	TAILQ_INSERT_TAIL(&table->longest, domain, entry_longest);
}

void attach_domain_dequeue(struct attach_table *table, struct attach_domain *domain)
{
	if (domain->queued) {
		TAILQ_REMOVE(&table->queue, domain, entry);
		TAILQ_REMOVE(&table->longest, domain, entry_longest);
	}
	domain->queued = false;
}

static void attach_serve(struct attach *attach)
{
	struct hv *hv = attach->table->hv;

	TAILQ_REMOVE(&attach->domain->ready, attach, entry);
	attach->ready = false;
	if (attach_run(attach)) {
		attach_make_ready(attach);
	} else if (attach->state == ATTACH_UP && attach->masked) {
		attach->masked = false;
		(void)hv->ops->evtchn_unmask(hv, &attach->port, 1);
	}
}

/* Its next application; those with more to do stand behind its others. */
static void attach_domain_serve(struct attach_table *table, struct attach_domain *domain)
{
	struct broker *broker = table->broker;
	uint64_t before = broker_cost(broker);
	struct attach *attach = TAILQ_FIRST(&domain->ready);

	broker_spend(broker, COST_ATTACH_RUN);
	if (attach)
		attach_serve(attach);
	/* If its last attach has died, the domain stays until that is reaped. */
	domain->spent += broker_cost(broker) - before;
	if (TAILQ_EMPTY(&domain->ready)) {
		attach_domain_dequeue(table, domain);
	} else {
		TAILQ_REMOVE(&table->queue, domain, entry);
		queue_insert(table, domain);
		TAILQ_REMOVE(&table->longest, domain, entry_longest);
		TAILQ_INSERT_TAIL(&table->longest, domain, entry_longest);
	}
}

/*
 * The domain for which the least work was done comes first, by start-time fair queueing (Goyal, Vin
 * and Cheng, 1996). Domains that always have something to do get equal shares, however many
 * applications they have and whatever their messages cost. A domain that asks now and then does not
 * wait for them. The first portion of a turn is for the domain that was served longest ago,
 * whatever it has spent: many domains that have saved, and ask at once, stop nobody.
 */
void attach_turn(struct attach_table *table)
{
	uint64_t end = broker_cost(table->broker) + TURN_COST;
	struct attach_domain *domain = TAILQ_FIRST(&table->longest);

	if (domain)
		attach_domain_serve(table, domain);
	while (broker_cost(table->broker) < end && (domain = TAILQ_FIRST(&table->queue))) {
		/* A domain that has saved is behind: no other one may save from there. */
		if (table->spent < domain->spent)
			table->spent = domain->spent;
		attach_domain_serve(table, domain);
	}
}

/*
 * The heap after domains have gone: malloc would keep the pages between objects that stay. Memory
 * is given back when half of it has become free, and once more after the objects that were still to
 * be freed then, so that each byte is looked at a bounded number of times.
 */
static void attach_trim(struct attach_table *table)
{
	uint64_t bytes = broker_bytes(table->broker);
	bool left = broker_work_left(table->broker), again = table->trim_again && !left;

	if (bytes >= table->most_bytes)
		table->most_bytes = bytes;
	if (!again && (table->most_bytes < TRIM_FROM || bytes > table->most_bytes / 2))
		return;
	(void)malloc_trim(0);
	table->most_bytes = bytes;
	table->trim_again = left;
}

bool attach_publish(struct attach_table *table)
{
	struct attach *attach;

	/*
	 * Everything is said before any application is woken: an application that sees the other
	 * end of its link let go of it has been told why. As many as the messages of a turn have
	 * caused one for.
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
	return !TAILQ_EMPTY(&table->queue);
}

void attach_look(void *arg, void *peer)
{
	attach_make_ready(peer);
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
