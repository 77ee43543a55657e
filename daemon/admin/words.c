/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See words.h. A state that needs several facts is named here once, for rows and for filters. */
#include "daemon/admin/words.h"

#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/quiesce.h"
#include "daemon/broker/steer.h"

static const char *const domain_states[] = {
	[BROKER_DOMAIN_RUNNING] = "running",
	[BROKER_DOMAIN_SUSPENDED] = "suspended",
	[BROKER_DOMAIN_CRASHED] = "crashed",
	[BROKER_DOMAIN_DYING] = "dying",
	"quiesced",
	"paused",
};

static const char *const process_states[] = {
	[PROCESS_NEW] = "new",
	[PROCESS_ANNOUNCING] = "announcing",
	[PROCESS_READY] = "ready",
	[PROCESS_QUIESCING] = "quiescing",
	[PROCESS_PARKED] = "parked",
	[PROCESS_GONE] = "gone",
};

enum listener_state {
	LISTENER_FORBIDDEN,
	LISTENER_BLOCKED,
	LISTENER_DRAINED,
	LISTENER_FULL,
	LISTENER_OPEN,
};

static const char *const listener_states[] = {
	[LISTENER_FORBIDDEN] = "forbidden",
	[LISTENER_BLOCKED] = "blocked",
	[LISTENER_DRAINED] = "drained",
	[LISTENER_FULL] = "full",
	[LISTENER_OPEN] = "open",
};

static const char *const link_states[] = {
	[BROKER_LINK_CREATING] = "creating",
	[BROKER_LINK_BINDING] = "binding",
	[BROKER_LINK_UP] = "up",
	[BROKER_LINK_ANNOUNCED] = "announced",
	[BROKER_LINK_GONE] = "gone",
};

static const char *const channel_states[] = {
	[BROKER_CHANNEL_ANNOUNCED] = "announced",
	[BROKER_CHANNEL_OFFERED] = "offered",
	[BROKER_CHANNEL_OPEN] = "open",
	[BROKER_CHANNEL_CLOSING] = "closing",
	[BROKER_CHANNEL_DONE] = "done",
};

const char *domain_state_word(const struct domain *domain)
{
	const struct broker_domain_info *info = &domain->info;

	if (info->state == BROKER_DOMAIN_RUNNING && domain_is_quiesced(domain))
		return "quiesced";
	if (info->state == BROKER_DOMAIN_RUNNING && info->paused)
		return "paused";
	return domain_states[info->state];
}

const char *process_state_word(const struct process *process)
{
	return process_states[process->state];
}

const char *listener_state_word(const struct listener *listener)
{
	if (!listener_permitted(listener))
		return listener_states[LISTENER_FORBIDDEN];
	if (domain_is_blocked(listener->process->domain) ||
		name_is_blocked(listener->process->domain, listener->name))
		return listener_states[LISTENER_BLOCKED];
	if (listener->drained)
		return listener_states[LISTENER_DRAINED];
	return listener_states[listener->n_offered >= listener->backlog ? LISTENER_FULL
									: LISTENER_OPEN];
}

const char *link_state_word(const struct broker_link *link)
{
	return link_states[link->state];
}

const char *channel_state_word(const struct broker_channel *channel)
{
	return channel_states[channel->state];
}

const char *channel_direction_word(const struct broker_channel *channel)
{
	static const char *const names[] = {
		[POLICY_BOTH_WAYS] = "both",
		[POLICY_OUT] = "out",
		[POLICY_IN] = "in",
	};

	return names[channel->direction];
}

const char *channel_type_word(uint32_t type)
{
	static const char *const names[CHANNEL_TYPE_LIMIT] = {
		[CHANNEL_SEQPACKET] = "seqpacket",
		[CHANNEL_STREAM] = "stream",
		[CHANNEL_DGRAM] = "dgram",
	};

	return names[type];
}

static const struct {
	const char *const *words;
	size_t n;
} states[ADMIN_OP_COUNT] = {
	[ADMIN_DOMAINS] = {domain_states, ARRAY_SIZE(domain_states)},
	[ADMIN_APPLICATIONS] = {process_states, ARRAY_SIZE(process_states)},
	[ADMIN_NAMES] = {listener_states, ARRAY_SIZE(listener_states)},
	[ADMIN_LINKS] = {link_states, ARRAY_SIZE(link_states)},
	[ADMIN_CHANNELS] = {channel_states, ARRAY_SIZE(channel_states)},
};

bool state_word_known(enum admin_op op, const char *word)
{
	for (size_t i = 0; i < states[op].n; i++) {
		if (states[op].words[i] && strcmp(states[op].words[i], word) == 0)
			return true;
	}
	return false;
}

/* The words after the beginning of the sentence, in static storage. wrong: or "", if it is long. */
static const char *words_error(
	const char *begin, const char *const *words, size_t n, const char *wrong)
{
	static char text[320];
	const char *between = "";
	size_t len = (size_t)snprintf(text, sizeof(text), "%s ", begin);

	for (size_t i = 0; i < n && len < sizeof(text); i++) {
		if (!words[i])
			continue;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", between, words[i]);
		between = ", ";
	}
	if (*wrong && len < sizeof(text))
		(void)snprintf(text + len, sizeof(text) - len, ", not '%s'", wrong);
	return text;
}

const char *state_words_error(enum admin_op op, const char *wrong)
{
	char begin[40];

	(void)snprintf(begin, sizeof(begin), "a state of %s is", admin_op_name(op));
	return words_error(begin, states[op].words, states[op].n, wrong);
}

static const char *const history_kinds[HISTORY_KINDS] = {
	[HISTORY_ATTACHED] = "attached",
	[HISTORY_DETACHED] = "detached",
	[HISTORY_DROPPED] = "dropped",
	[HISTORY_LISTENING] = "listening",
	[HISTORY_UNLISTENED] = "unlistened",
	[HISTORY_CONNECTED] = "connected",
	[HISTORY_ACCEPTED] = "accepted",
	[HISTORY_REFUSED] = "refused",
	[HISTORY_FAILED] = "failed",
	[HISTORY_LINK_MADE] = "link-made",
	[HISTORY_LINK_DOWN] = "link-down",
	[HISTORY_CHANNEL_RESET] = "channel-reset",
	[HISTORY_QUIESCED] = "quiesced",
	[HISTORY_RESUMED] = "resumed",
	[HISTORY_RELOAD] = "reload",
	[HISTORY_ADMIN] = "admin",
};

const char *history_kind_word(enum history_kind kind)
{
	return history_kinds[kind];
}

const char *history_kinds_error(const char *wrong)
{
	return words_error("a kind is", history_kinds, HISTORY_KINDS, wrong);
}

const char *connect_stage_word(enum connect_stage stage)
{
	static const char *const words[CONNECT_STAGES] = {
		[CONNECT_QUEUE] = "queue",
		[CONNECT_NAME] = "name",
		[CONNECT_LOOKUP] = "lookup",
		[CONNECT_LINK] = "link",
		[CONNECT_ACCEPT] = "accept",
	};

	return words[stage];
}
