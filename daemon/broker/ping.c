/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See ping.h. An ASK is sent when the one before it is answered, PING_NS are over and the ring has
 * room. */
#include "daemon/broker/ping.h"

#include <errno.h>

#include "daemon/broker/counts.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

/* When it may be asked again; 0: now. */
static uint64_t ping_due_ns(const struct ping *ping)
{
	return ping->n_sent ? ping->sent_ns + PING_NS : 0;
}

static void ping_try(struct process *process)
{
	struct control_message ask = {.type = CONTROL_ASK};
	struct broker *broker = process->broker;
	struct ping *ping = &process->ping;

	if (!ping->wanted || ping->blocked || ping->token || broker->now_ns < ping_due_ns(ping))
		return;
	ask.ask.token = counts_next_token(broker);
	ping->blocked = !outbox_offer(process, &ask);
	if (ping->blocked)
		return;
	ping->token = ask.ask.token;
	ping->sent_ns = broker->now_ns;
	ping->n_sent++;
	ping->wanted = false;
	TAILQ_REMOVE(&broker->pinged, process, ping.entry);
}

bool ping_answered(struct process *process, uint32_t token)
{
	struct ping *ping = &process->ping;

	if (token != ping->token)
		return false;
	ping->token = 0;
	ping->n_answered = ping->n_sent;
	ping->asked_ns = ping->sent_ns;
	ping->answered_ns = process->broker->now_ns;
	process->broker->n_pings_over++;
	ping_try(process);
	return true;
}

void ping_unblock(struct process *process)
{
	process->ping.blocked = false;
	ping_try(process);
}

void ping_end(struct process *process)
{
	struct ping *ping = &process->ping;

	if (ping->wanted)
		TAILQ_REMOVE(&process->broker->pinged, process, ping.entry);
	if (ping->wanted || ping->token)
		process->broker->n_pings_over++;
	ping->wanted = false;
	ping->token = 0;
}

/* As many as clients of the admin socket, at most. */
void pings_tick(struct broker *broker)
{
	struct process *process, *next;

	for (process = TAILQ_FIRST(&broker->pinged); process; process = next) {
		next = TAILQ_NEXT(process, ping.entry);
		broker->cost += COST_OBJECT;
		ping_try(process);
	}
}

uint64_t pings_next_ns(const struct broker *broker)
{
	const struct process *process;
	uint64_t next = 0;

	TAILQ_FOREACH (process, &broker->pinged, ping.entry) {
		const struct ping *ping = &process->ping;

		if (!ping->blocked && !ping->token && (!next || ping_due_ns(ping) < next))
			next = ping_due_ns(ping);
	}
	return next;
}

/* ---- for the clients ------------------------------------------------------------------------- */

static int target_process(
	struct broker *broker, const struct broker_target *target, struct process **ret_process)
{
	struct domain *domain = domain_find(broker, target->domid);
	const struct listener *listener;
	struct process *process;

	if (!domain)
		return -ESRCH;
	if (*target->name) {
		listener = listener_find(domain, target->name);
		if (!listener)
			return -EADDRNOTAVAIL;
		*ret_process = listener->process;
		return 0;
	}
	TAILQ_FOREACH (process, &domain->processes, entry) {
		broker->cost += COST_OBJECT;
		if (process->pid != target->pid || process->state == PROCESS_NEW)
			continue;
		*ret_process = process;
		return 0;
	}
	return -ENOENT;
}

int broker_ping(
	struct broker *broker, const struct broker_target *target, struct broker_ping *ret_ping)
{
	struct process *process;
	struct ping *ping;
	int r = target_process(broker, target, &process);

	if (r < 0)
		return r;
	if (process->state != PROCESS_READY)
		return -EAGAIN;
	if (!(process->features & FEATURE_COUNTS))
		return -EOPNOTSUPP;
	ping = &process->ping;
	*ret_ping = (struct broker_ping){.domid = target->domid,
		.pid = process->pid,
		.process = process->serial,
		.ask = ping->n_sent + 1,
		.since_ns = broker->now_ns};
	memcpy(ret_ping->comm, process->comm, sizeof(ret_ping->comm));
	if (!ping->wanted) {
		ping->wanted = true;
		TAILQ_INSERT_TAIL(&broker->pinged, process, ping.entry);
		ping_try(process);
	}
	broker_settle(broker);
	return 0;
}

int broker_ping_look(
	struct broker *broker, const struct broker_ping *ping, struct broker_pong *ret_pong)
{
	const struct domain *domain = domain_find(broker, ping->domid);
	const struct process *process = domain ? TAILQ_FIRST(&domain->processes) : NULL;

	while (process && process->serial != ping->process)
		process = TAILQ_NEXT(process, entry);
	if (!process)
		return -ENOENT;
	if (process->ping.n_answered < ping->ask)
		return 0;
	*ret_pong = (struct broker_pong){.queue_ns = process->ping.asked_ns - ping->since_ns,
		.answer_ns = process->ping.answered_ns - process->ping.asked_ns};
	return 1;
}

uint64_t broker_pings_over(const struct broker *broker)
{
	return broker->n_pings_over;
}
