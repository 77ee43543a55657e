/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Terms: see the header. */
#include "daemon/broker/terms.h"

#include <errno.h>

#include "base/macro.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/outbox.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

static bool verdict_has_terms(const struct policy_verdict *verdict)
{
	return verdict->direction != POLICY_BOTH_WAYS || verdict->max_buffer || verdict->max_rate;
}

int terms_check(const struct process *process, const struct policy_verdict *verdict,
	const char *name, char ret_reason[REASON_SIZE])
{
	if (process->features & FEATURE_TERMS)
		return 0;
	if (!verdict_has_terms(verdict) && !name_has_argument(name))
		return 0;
	reason_set(ret_reason, "an older libmsg in %.70s: it has no %s", process->domain->info.name,
		name_has_argument(name) ? "names with an argument" : "terms of policy");
	return -EOPNOTSUPP;
}

enum terms_direction terms_direction(enum policy_direction direction, bool caller)
{
	if (direction == POLICY_BOTH_WAYS)
		return TERMS_BOTH;
	return (direction == POLICY_OUT) == caller ? TERMS_SENDS : TERMS_RECEIVES;
}

enum policy_direction terms_direction_of(enum terms_direction said, bool caller)
{
	if (said == TERMS_BOTH)
		return POLICY_BOTH_WAYS;
	return (said == TERMS_SENDS) == caller ? POLICY_OUT : POLICY_IN;
}

void terms_send(const struct broker_channel *channel, const struct policy_verdict *verdict,
	unsigned end_index)
{
	const struct broker_link *link = channel->link;
	const struct link_end *end = &link->ends[end_index];
	struct control_message message = {.type = CONTROL_TERMS};

	if (!verdict_has_terms(verdict))
		return;
	message.terms = (struct control_terms){
		.end = end->number,
		.channel = channel->number,
		.direction = terms_direction(channel->direction, end_index == channel->caller),
		.max_buffer = (uint32_t)min_u64(verdict->max_buffer, MESSAGE_MAX),
		.max_rate = verdict->max_rate,
	};
	outbox_send(end->process, link->ends[channel->caller].process->domain, &message, NULL);
}
