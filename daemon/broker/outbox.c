/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages that wait for room in a control ring: see the header. A message that must be sent is
 * never refused here, however much its payer has: it is about an object that was paid for and is
 * gone (LINK_DOWN, CHANNEL_GONE, answers), and that object was larger. New wishes of
 * a domain are refused before: by its quotas, by outbox_congested, or because its requests are not
 * read.
 */
#include "daemon/broker/outbox.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/broker/link.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

/* The bytes of the message that matter: most types fill it, these two come in large numbers. */
static uint32_t message_size(const struct control_message *message)
{
	if (message->type == CONTROL_CHANNEL_GONE)
		return offsetof(struct control_message, channel_gone) +
		       sizeof(message->channel_gone);
	if (message->type == CONTROL_LINK_BIND)
		return offsetof(struct control_message, link_bind) + sizeof(message->link_bind);
	return sizeof(*message);
}

static void outbox_pay(struct outbox_message *out, struct domain_pair *pair)
{
	struct domain *domain = pair->domain;

	out->pair = pair;
	pair->outbox_bytes += out->bytes;
	domain_pay_bytes(domain, out->bytes);
	if (domain == out->process->domain)
		out->process->own_bytes += out->bytes;
	LIST_INSERT_HEAD(&domain->paid, out, paid);
}

static void outbox_repay(struct outbox_message *out)
{
	struct domain *domain = out->pair->domain;

	assert(out->pair->outbox_bytes >= out->bytes);
	out->pair->outbox_bytes -= out->bytes;
	domain_repay_bytes(domain, out->bytes);
	if (domain == out->process->domain)
		out->process->own_bytes -= out->bytes;
	LIST_REMOVE(out, paid);
}

static void outbox_message_free(struct outbox_message *out)
{
	outbox_repay(out);
	out->process->broker->cost += COST_OBJECT;
	if (out->end)
		out->end->unsent = NULL;
	TAILQ_REMOVE(&out->process->outbox, out, entry);
	free(out);
}

static bool outbox_try(struct process *process, const struct control_message *message)
{
	struct broker *broker = process->broker;

	return broker->ops->send(broker->arg, process->peer, message);
}

bool outbox_offer(struct process *process, const struct control_message *message)
{
	process->broker->cost += COST_MESSAGE;
	return TAILQ_EMPTY(&process->outbox) && outbox_try(process, message);
}

/* -ENOMEM */
static int outbox_add(struct process *process, struct domain *payer,
	const struct control_message *message, struct link_end *first)
{
	uint32_t size = message_size(message);
	struct domain_pair *pair =
		domain_pair_get(payer ? payer : process->domain, process->domain);
	struct outbox_message *out =
		pair ? malloc(offsetof(struct outbox_message, message) + size) : NULL;

	if (!out)
		return -ENOMEM;
	out->process = process;
	out->size = size;
	out->bytes = (uint32_t)(offsetof(struct outbox_message, message) + size + OBJECT_OVERHEAD);
	out->end = first;
	memcpy(&out->message, message, size);
	if (first)
		first->unsent = out;
	TAILQ_INSERT_TAIL(&process->outbox, out, entry);
	outbox_pay(out, pair);
	return 0;
}

void outbox_send(struct process *process, struct domain *payer,
	const struct control_message *message, struct link_end *first)
{
	struct broker *broker = process->broker;

	if (process->state == PROCESS_GONE || !broker->ops)
		return;
	broker->cost += COST_MESSAGE;
	if (TAILQ_EMPTY(&process->outbox) && outbox_try(process, message))
		return;
	if (outbox_add(process, payer, message, first) < 0)
		broker->ops->unsent(
			broker->arg, process->peer, "out of memory for a control message");
}

void broker_flush(struct process *process)
{
	struct outbox_message *out;

	/* As many as its ring has room for: some twenty. */
	while ((out = TAILQ_FIRST(&process->outbox))) {
		struct control_message message;

		memset(&message, 0, sizeof(message));
		memcpy(&message, &out->message, out->size);
		if (!outbox_try(process, &message))
			return;
		process->broker->cost += COST_MESSAGE;
		outbox_message_free(out);
	}
	watch_unblock(process);
	ping_unblock(process);
}

void outbox_clear(struct process *process)
{
	/* As many as the domains that caused them could pay for (outbox_congested). */
	while (!TAILQ_EMPTY(&process->outbox))
		outbox_message_free(TAILQ_FIRST(&process->outbox));
}

bool outbox_unsend(struct link_end *end)
{
	if (!end->unsent)
		return false;
	outbox_message_free(end->unsent);
	return true;
}

bool outbox_hand_over(struct domain *domain)
{
	struct outbox_message *out = LIST_FIRST(&domain->paid);

	if (!out)
		return false;
	assert(out->process->domain != domain);
	outbox_repay(out);
	outbox_pay(out, &out->process->domain->own);
	return true;
}

/*
 * A third of what the domain has left, as this limit falls with each pair that uses it: however
 * many applications do not read, a domain keeps room for those that do.
 */
bool outbox_congested(const struct process *process, struct domain *by)
{
	const struct domain_pair *pair = domain_pair_find(by, process->domain);
	uint32_t limit = by->limits.bytes;
	uint32_t left = limit > by->bytes ? limit - by->bytes : 0;

	return pair && pair->outbox_bytes > left / 2;
}

bool broker_is_behind(const struct process *process)
{
	const struct domain *domain = process->domain;

	if (process->own_bytes == 0)
		return false;
	return process->own_bytes > OUTBOX_OWN_MAX ||
	       domain->own.outbox_bytes > DOMAIN_OUTBOX_OWN_MAX ||
	       domain->bytes >= domain->limits.bytes;
}
