/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See capture.h. */
#include "daemon/broker/capture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/outbox.h"
#include "daemon/broker/process.h"
#include "daemon/broker/rejudge.h"
#include "daemon/broker/state.h"

static const struct rate rate_each = {.each_ns = CAPTURE_FRAME_NS / 2, .burst = 2 * CAPTURE_BURST};
static const struct rate rate_all = {
	.each_ns = CAPTURE_FRAME_NS / CAPTURE_ALL, .burst = CAPTURE_BURST * CAPTURE_ALL};

/* Of channels that are gone: what their ends say of them is under way for milliseconds. */
#define GONE_MAX 64U

struct capture {
	LIST_ENTRY(capture) entry; /* broker->captures.all */
	struct broker *broker;	   /* borrowed */
	unsigned bit;		   /* of captured->wanted */
	uint16_t domid;		   /* of a domain, or of a name's holder */
	uint64_t link;		   /* its uid; 0: it is about a domain */
	uint32_t channel;	   /* 0: all of the link */
	char name[NAME_SIZE];	   /* "": all of the domain */
	bool payload;
	uint32_t snaplen;
	uint64_t since_ns; /* of the time of day */
	STAILQ_HEAD(, capture_item) items;
	uint32_t bytes;	   /* of them */
	uint64_t n_missed; /* behind them */
	bool over;
};

void captures_init(struct broker_captures *captures)
{
	LIST_INIT(&captures->all);
	TAILQ_INIT(&captures->channels);
	TAILQ_INIT(&captures->gone);
}

static uint64_t wall_ns(const struct broker *broker)
{
	return broker->wall_us * 1000;
}

/* ---- the reader's queue ---------------------------------------------------------------------- */

static void capture_miss(struct capture *capture, uint64_t n)
{
	capture->n_missed += n;
	capture->broker->captures.serial++;
}

static struct capture_item *item_new(enum capture_kind kind, uint32_t n_data)
{
	struct capture_item *item = calloc(1, sizeof(*item) + n_data);

	if (!item)
		return NULL;
	item->kind = kind;
	item->bytes = (uint32_t)sizeof(*item) + n_data + OBJECT_OVERHEAD;
	item->n_data = n_data;
	return item;
}

/* Behind what was missed before it. */
static void capture_add(struct capture *capture, struct capture_item *item)
{
	STAILQ_INSERT_TAIL(&capture->items, item, entry);
	capture->bytes += item->bytes;
	capture->broker->captures.serial++;
}

/* False: what was missed cannot be said yet. */
static bool capture_add_missed(struct capture *capture)
{
	struct capture_item *item;

	if (!capture->n_missed)
		return true;
	item = item_new(CAPTURE_MISSED, 0);
	if (!item)
		return false;
	item->n_missed = capture->n_missed;
	capture->n_missed = 0;
	capture_add(capture, item);
	return true;
}

/* Takes it over. An item that finds no room is missed. NULL: no memory, likewise. */
static void capture_put(struct capture *capture, struct capture_item *item)
{
	if (capture->over || !item || capture->bytes + item->bytes > CAPTURE_WAITING_MAX ||
		!capture_add_missed(capture)) {
		if (!capture->over)
			capture_miss(capture, 1);
		free(item);
		return;
	}
	capture_add(capture, item);
}

struct capture_item *capture_take(struct capture *capture)
{
	struct capture_item *item;

	if (STAILQ_EMPTY(&capture->items))
		(void)capture_add_missed(capture);
	item = STAILQ_FIRST(&capture->items);
	if (!item)
		return NULL;
	STAILQ_REMOVE_HEAD(&capture->items, entry);
	capture->bytes -= item->bytes;
	return item;
}

uint64_t broker_captured(const struct broker *broker)
{
	return broker->captures.serial;
}

bool capture_has(const struct capture *capture)
{
	return !STAILQ_EMPTY(&capture->items) || capture->n_missed;
}

/* The last item has room: it is one. */
static void capture_is_over(struct capture *capture, const char *why)
{
	struct capture_item *item = capture->over ? NULL : item_new(CAPTURE_ENDED, 0);

	if (!item)
		return;
	(void)capture_add_missed(capture);
	reason_set(item->text, "%s", why);
	capture_add(capture, item);
	capture->over = true;
}

/* ---- the captured channels ------------------------------------------------------------------- */

/* Whether it may want channels of the link. */
static bool link_is_wanted(const struct capture *capture, const struct broker_link *link)
{
	return capture->link ? capture->link == link->id.uid
			     : link->ends[0].domid == capture->domid ||
				       link->ends[1].domid == capture->domid;
}

static bool capture_wants(const struct capture *capture, const struct broker_channel *channel)
{
	const struct broker_link *link = channel->link;

	if (capture->over || !link_is_wanted(capture, link))
		return false;
	if (capture->link)
		return !capture->channel || capture->channel == channel->number;
	if (!capture->name[0])
		return true;
	return link->ends[!channel->caller].domid == capture->domid &&
	       (strcmp(channel->tally->key.name, capture->name) == 0 ||
		       strcmp(broker_channel_name(channel), capture->name) == 0);
}

/* All that does not change while the channel stands. */
static void captured_describe(struct captured *captured)
{
	const struct broker_channel *channel = captured->channel;
	struct capture_about *about = &captured->about;

	about->link = channel->link->id.uid;
	about->channel = channel->number;
	about->type = channel->type;
	about->transport = (uint8_t)channel->link->id.transport;
	(void)snprintf(about->name, sizeof(about->name), "%s", broker_channel_name(channel));
	for (unsigned i = 0; i < 2; i++) {
		const struct link_end *end = &channel->link->ends[i];
		struct capture_party *party = &about->parties[i];

		party->domid = end->domid;
		party->pid = end->process->pid;
		memcpy(party->comm, end->process->comm, sizeof(party->comm));
		memcpy(party->domain, end->process->domain->info.name, sizeof(party->domain));
		captured->serials[i] = end->process->serial;
		captured->told[i].end = end->number;
	}
}

static bool may_have_payload(const struct capture_about *about)
{
	return about->permits == POLICY_CAPTURE_PAYLOAD &&
	       about->parties[0].consent == CONSENT_YES && about->parties[1].consent == CONSENT_YES;
}

/* Whether an end that was asked is still to say if it agrees. */
static bool is_undecided(const struct captured *captured)
{
	for (unsigned i = 0; i < 2; i++) {
		if ((captured->told[i].wants & CAPTURE_PAYLOAD) &&
			captured->about.parties[i].consent == CONSENT_UNKNOWN)
			return true;
	}
	return captured->held;
}

/* There is nothing to be had of the channel. */
static void capture_is_refused(struct capture *capture, const struct capture_about *about)
{
	char why[REASON_SIZE];

	if (about->permits != POLICY_CAPTURE_NO || !capture->channel)
		return;
	reason_set(why, "policy does not permit it: capture=no (%s)", about->rule);
	capture_is_over(capture, why);
}

static void capture_note(struct capture *capture, const struct capture_about *about)
{
	struct capture_item *item = item_new(CAPTURE_CHANNEL, 0);

	if (item) {
		item->about = *about;
		item->payload = capture->payload && may_have_payload(about);
	}
	capture_put(capture, item);
	capture_is_refused(capture, about);
}

/* The readers of the channel are told how it is with it, if that is news. */
static void captured_note(struct captured *captured)
{
	struct capture *capture;

	if (is_undecided(captured) ||
		memcmp(&captured->noted, &captured->about, sizeof(captured->noted)) == 0)
		return;
	captured->noted = captured->about;
	LIST_FOREACH (capture, &captured->channel->link->broker->captures.all, entry) {
		if (captured->wanted & capture->bit)
			capture_note(capture, &captured->about);
	}
}

/* ---- telling the ends ------------------------------------------------------------------------ */

/* NULL: this end cannot be told, or need not. */
static struct process *captured_process(const struct captured *captured, unsigned index)
{
	const struct broker_channel *channel = captured->channel;
	struct process *process = channel->link->ends[index].process;

	if (!process || process->state != PROCESS_READY || channel->confirmed[index] ||
		(captured->held & ENUM_BIT(index)) || !(process->features & FEATURE_CAPTURE))
		return NULL;
	if (!process->capture)
		process->capture = calloc(1, sizeof(*process->capture));
	return process->capture ? process : NULL;
}

static void captured_tell(
	struct captured *captured, unsigned index, uint32_t wants, uint32_t snaplen)
{
	struct control_message message = {.type = CONTROL_CAPTURE};
	struct capture_party *party = &captured->about.parties[index];
	struct control_capture *told = &captured->told[index];
	struct process *process;

	/* One that is not asked says nothing, and is asked anew the next time. */
	if (!(wants & CAPTURE_PAYLOAD))
		party->consent = CONSENT_UNKNOWN;
	if (told->wants == wants && told->snaplen == snaplen)
		return;
	process = captured_process(captured, index);
	if (!process)
		return;
	told->channel = captured->about.channel;
	told->wants = wants;
	told->snaplen = snaplen;
	party->told = wants != 0;
	message.capture = *told;
	outbox_send(process, NULL, &message, NULL);
}

/* Sums up the wishes of all captures. */
static uint32_t captured_wants(struct captured *captured, uint32_t *ret_snaplen)
{
	const struct broker_captures *captures = &captured->channel->link->broker->captures;
	const struct capture *capture;
	bool payload = false;
	uint32_t snaplen = 0;

	captured->wanted = 0;
	LIST_FOREACH (capture, &captures->all, entry) {
		if (!capture_wants(capture, captured->channel))
			continue;
		captured->wanted |= capture->bit;
		payload |= capture->payload;
		snaplen = max_u32(snaplen, capture->payload ? capture->snaplen : 0);
	}
	*ret_snaplen = 0;
	if (!captured->wanted || captured->about.permits == POLICY_CAPTURE_NO)
		return 0;
	if (!payload || captured->about.permits != POLICY_CAPTURE_PAYLOAD)
		return CAPTURE_HEADERS;
	if (!may_have_payload(&captured->about))
		return CAPTURE_HEADERS | CAPTURE_PAYLOAD;
	*ret_snaplen = snaplen;
	return CAPTURE_HEADERS | CAPTURE_PAYLOAD | CAPTURE_AGREED;
}

/* Off its channel. */
static void captured_leave(struct captured *captured)
{
	struct broker_captures *captures = &captured->channel->link->broker->captures;

	captures->n_channels--;
	TAILQ_REMOVE(&captures->channels, captured, entry);
	captured->channel->captured = NULL;
	captured->channel = NULL;
}

/* Tells the ends what is wanted now. Frees it if nothing is. */
static void captured_update(struct captured *captured)
{
	uint32_t snaplen, wants = captured_wants(captured, &snaplen);

	for (unsigned i = 0; i < 2; i++)
		captured_tell(captured, i, wants, snaplen);
	captured_note(captured);
	if (wants)
		return;
	captured_leave(captured);
	free(captured);
}

static void captured_judge(struct captured *captured, const struct policy_verdict *verdict)
{
	captured->about.permits = (uint8_t)verdict->capture;
	policy_verdict_rule(verdict, captured->about.rule, sizeof(captured->about.rule));
}

static bool is_wanted(const struct broker_channel *channel)
{
	const struct capture *capture;

	LIST_FOREACH (capture, &channel->link->broker->captures.all, entry) {
		if (capture_wants(capture, channel))
			return true;
	}
	return false;
}

/* Nobody knows how many frames a channel has that is one too many: it counts as one. */
static void captured_too_many(const struct broker_channel *channel)
{
	struct capture *capture;

	LIST_FOREACH (capture, &channel->link->broker->captures.all, entry) {
		if (capture_wants(capture, channel))
			capture_miss(capture, 1);
	}
}

static void captured_new(
	struct broker_channel *channel, const struct policy_verdict *verdict, unsigned held)
{
	struct broker_captures *captures = &channel->link->broker->captures;
	struct captured *captured =
		captures->n_channels < CAPTURE_CHANNELS_MAX ? calloc(1, sizeof(*captured)) : NULL;

	if (!captured) {
		captured_too_many(channel);
		return;
	}
	captured->channel = channel;
	captured_describe(captured);
	captured_judge(captured, verdict);
	captured->held = captured->about.permits == POLICY_CAPTURE_NO ? 0 : held;
	TAILQ_INSERT_TAIL(&captures->channels, captured, entry);
	captures->n_channels++;
	channel->captured = captured;
	captured_update(captured);
}

/* ---- channels that come and go --------------------------------------------------------------- */

void capture_channel(struct broker_channel *channel, const struct policy_verdict *verdict)
{
	if (channel->link->broker->captures.n && is_wanted(channel))
		captured_new(channel, verdict, ENUM_BIT(channel->caller));
}

void capture_connected(struct broker_channel *channel)
{
	if (!channel->captured)
		return;
	channel->captured->held = 0;
	captured_update(channel->captured);
}

void capture_judged(struct broker_channel *channel, const struct policy_verdict *verdict)
{
	if (!channel->link->broker->captures.n)
		return;
	if (channel->captured) {
		captured_judge(channel->captured, verdict);
		captured_update(channel->captured);
	} else if (is_wanted(channel)) {
		captured_new(channel, verdict, 0);
	}
}

static void gone_free(struct broker_captures *captures, struct captured *captured)
{
	TAILQ_REMOVE(&captures->gone, captured, entry);
	captures->n_gone--;
	free(captured);
}

/* Its ends may say more. */
static void captured_gone(struct broker_captures *captures, struct captured *captured)
{
	captured_leave(captured);
	TAILQ_INSERT_TAIL(&captures->gone, captured, entry);
	if (captures->n_gone++ >= GONE_MAX)
		gone_free(captures, TAILQ_FIRST(&captures->gone));
}

void capture_channel_gone(struct broker_channel *channel)
{
	struct broker_captures *captures = &channel->link->broker->captures;
	struct capture *capture;

	if (channel->captured)
		captured_gone(captures, channel->captured);
	LIST_FOREACH (capture, &captures->all, entry) {
		if (capture->channel && capture_wants(capture, channel))
			capture_is_over(capture, "the channel has ended");
	}
}

void capture_link_gone(const struct broker_link *link)
{
	struct broker_captures *captures = &link->broker->captures;
	struct captured *captured, *next;
	struct capture *capture;

	for (captured = TAILQ_FIRST(&captures->channels); captured; captured = next) {
		next = TAILQ_NEXT(captured, entry);
		if (captured->channel->link == link)
			captured_gone(captures, captured);
	}
	LIST_FOREACH (capture, &captures->all, entry) {
		if (capture->link == link->id.uid)
			capture_is_over(capture, "the link has ended");
	}
}

void capture_domain_gone(const struct domain *domain)
{
	struct capture *capture;

	LIST_FOREACH (capture, &domain->broker->captures.all, entry) {
		if (!capture->link && capture->domid == domain->info.domid)
			capture_is_over(capture, "the domain is gone");
	}
}

/* ---- birth and end --------------------------------------------------------------------------- */

/* Looks at each channel of the links concerned, once: an operator asked for it. */
static void capture_link(struct capture *capture, struct broker_link *link)
{
	struct broker_channel *channel, *next;
	struct policy_verdict verdict;

	HASH_ITER (hh, link->channels, channel, next) {
		link->broker->cost += COST_OBJECT;
		if (channel->ahead || !capture_wants(capture, channel))
			continue;
		if (channel->captured) {
			captured_update(channel->captured);
			if (channel->captured && !is_undecided(channel->captured))
				capture_note(capture, &channel->captured->about);
		} else if (rejudge_would_permit(channel, link->broker->policy, &verdict)) {
			captured_new(channel, &verdict, 0);
		}
	}
}

static int target_check(struct broker *broker, const struct broker_target *target)
{
	struct broker_channel *channel = NULL;
	const struct broker_link *link;

	if (!target->link)
		return domain_find(broker, target->domid) ? 0 : -ESRCH;
	link = broker_link_by_uid(broker, target->link);
	if (!link)
		return -ENOLINK;
	if (link->state != BROKER_LINK_UP)
		return -EBUSY;
	if (!target->channel)
		return 0;
	HASH_FIND(hh, link->channels, &target->channel, sizeof(target->channel), channel);
	return channel && !channel->ahead ? 0 : -ECHRNG;
}

int capture_new(struct broker *broker, const struct broker_target *target, bool payload,
	uint32_t snaplen, struct capture **ret_capture)
{
	struct broker_link *link, *next;
	struct capture *capture;
	int r = target_check(broker, target);

	if (r < 0)
		return r;
	if (broker->captures.n >= CAPTURES_MAX)
		return -EUSERS;
	capture = calloc(1, sizeof(*capture));
	if (!capture)
		return -ENOMEM;
	capture->broker = broker;
	capture->bit = ~broker->captures.bits & (broker->captures.bits + 1);
	broker->captures.bits |= capture->bit;
	capture->domid = target->domid;
	capture->link = target->link;
	capture->channel = target->channel;
	(void)snprintf(capture->name, sizeof(capture->name), "%s", target->name);
	capture->payload = payload;
	capture->snaplen = snaplen;
	capture->since_ns = wall_ns(broker);
	STAILQ_INIT(&capture->items);
	LIST_INSERT_HEAD(&broker->captures.all, capture, entry);
	broker->captures.n++;
	ahead_end_all(broker);
	HASH_ITER (hh, broker->links, link, next) {
		broker->cost++;
		if (link->state == BROKER_LINK_UP && link_is_wanted(capture, link))
			capture_link(capture, link);
	}
	broker_settle(broker);
	*ret_capture = capture;
	return 0;
}

void capture_free(struct capture *capture)
{
	struct broker *broker = capture->broker;
	struct broker_captures *captures = &broker->captures;
	struct captured *captured, *next;
	struct capture_item *item;

	LIST_REMOVE(capture, entry);
	captures->n--;
	captures->bits &= ~capture->bit;
	for (captured = TAILQ_FIRST(&captures->channels); captured; captured = next) {
		next = TAILQ_NEXT(captured, entry);
		captured_update(captured);
	}
	for (captured = TAILQ_FIRST(&captures->gone); captured; captured = next) {
		next = TAILQ_NEXT(captured, entry);
		captured->wanted &= ~capture->bit;
		if (!captured->wanted)
			gone_free(captures, captured);
	}
	while ((item = capture_take(capture)))
		free(item);
	free(capture);
	broker_settle(broker);
}

/* ---- the words of the ends ------------------------------------------------------------------- */

/* 0 with NULL: it is not captured, or not any more. */
static int captured_find(struct process *process, uint32_t number, uint32_t channel_number,
	unsigned *ret_index, struct captured **ret_captured)
{
	struct broker_channel *channel = NULL;
	struct captured *captured;
	struct link_end *end;
	int r = process_end(process, number, &end);

	*ret_captured = NULL;
	if (r < 0)
		return r;
	if (end)
		HASH_FIND(
			hh, end->link->channels, &channel_number, sizeof(channel_number), channel);
	if (channel) {
		*ret_index = end == &end->link->ends[1];
		*ret_captured = channel->captured;
		return 0;
	}
	TAILQ_FOREACH (captured, &process->broker->captures.gone, entry) {
		process->broker->cost++;
		for (unsigned i = 0; i < 2; i++) {
			if (captured->serials[i] != process->serial ||
				captured->told[i].end != number ||
				captured->about.channel != channel_number)
				continue;
			*ret_index = i;
			*ret_captured = captured;
			return 0;
		}
	}
	return 0;
}

static int source_agrees(struct process *process, const struct control_capturing *capturing)
{
	struct captured *captured;
	unsigned index;
	int r = captured_find(process, capturing->end, capturing->channel, &index, &captured);

	if (r < 0 || !captured || !captured->channel ||
		!(captured->told[index].wants & CAPTURE_PAYLOAD) ||
		captured->n_changes[index] > CAPTURE_CHANGES_MAX)
		return r;
	captured->n_changes[index]++;
	captured->about.parties[index].consent =
		capturing->agrees && captured->n_changes[index] <= CAPTURE_CHANGES_MAX ? CONSENT_YES
										       : CONSENT_NO;
	captured_update(captured);
	return 0;
}

/* The time of day of a frame; not before the capture, and not in the future. */
static uint64_t frame_time(struct capture_source *source, const struct capture *capture)
{
	const struct broker *broker = capture->broker;
	int64_t now = (int64_t)wall_ns(broker);
	uint64_t time = source->frame.time_ns + (uint64_t)source->clock_ns;

	if ((int64_t)time > now)
		return (uint64_t)now;
	return max_u64(time, capture->since_ns);
}

static void source_time(struct broker *broker, struct capture_source *source)
{
	int64_t clock_ns = (int64_t)(wall_ns(broker) - source->frame.told_ns);

	if (!source->clock_known || clock_ns < source->clock_ns)
		source->clock_ns = clock_ns;
	source->clock_known = true;
}

/* A frame is there, with its payload. */
static void source_frame(struct process *process, struct captured *captured, unsigned index)
{
	struct broker *broker = process->broker;
	struct capture_source *source = process->capture;
	struct capture *capture;

	source_time(broker, source);
	LIST_FOREACH (capture, &broker->captures.all, entry) {
		struct capture_item *item;
		uint32_t n_data = 0;

		if (!(captured->wanted & capture->bit) || capture->over)
			continue;
		broker->cost += COST_MESSAGE;
		if (capture->payload && may_have_payload(&captured->about))
			n_data = min_u32(source->n_data, capture->snaplen);
		item = item_new(CAPTURE_FRAME, n_data);
		if (item) {
			item->about = captured->about;
			item->end = (uint8_t)index;
			item->frame = source->frame;
			item->time_ns = frame_time(source, capture);
			memcpy(item->data, source->data, n_data);
		}
		capture_put(capture, item);
	}
}

static int source_done(struct process *process)
{
	struct capture_source *source = process->capture;
	struct captured *captured;
	unsigned index;
	int r = captured_find(process, source->frame.end, source->frame.channel, &index, &captured);

	if (r == 0 && captured && !source->drop)
		source_frame(process, captured, index);
	return r;
}

static unsigned wanted_of(const struct captured_list *list, struct process *process)
{
	const struct captured *captured;
	unsigned wanted = 0;

	TAILQ_FOREACH (captured, list, entry) {
		process->broker->cost++;
		if (captured->serials[0] == process->serial ||
			captured->serials[1] == process->serial)
			wanted |= captured->wanted;
	}
	return wanted;
}

/* All who capture something of this application have missed what it has lost. */
static void source_say_lost(struct process *process)
{
	struct broker_captures *captures = &process->broker->captures;
	uint64_t n = process->capture->n_lost;
	unsigned wanted =
		wanted_of(&captures->channels, process) | wanted_of(&captures->gone, process);
	struct capture *capture;

	LIST_FOREACH (capture, &captures->all, entry) {
		if (!capture->over && (wanted & capture->bit))
			capture_miss(capture, n);
	}
	process->capture->n_lost = 0;
}

/*
 * Each is said at once, as long as there are no more of them than frames may come: then the sum
 * waits for the next that may. An end of libmsg loses no more often than it tells.
 */
static void source_lost(struct process *process, uint64_t n)
{
	struct capture_source *source = process->capture;
	uint64_t now_ns = process->broker->now_ns;

	source->n_lost += n;
	if (allowance_wait(&source->said, &rate_each, now_ns))
		return;
	allowance_pay(&source->said, rate_each.each_ns, now_ns);
	source_say_lost(process);
}

/* Whether one more message may come; all have a share, and the application its own. */
static bool source_admits(struct process *process)
{
	struct broker *broker = process->broker;
	struct capture_source *source = process->capture;

	if (allowance_wait(&source->spent, &rate_each, broker->now_ns) ||
		allowance_wait(&broker->captures.spent, &rate_all, broker->now_ns))
		return false;
	allowance_pay(&source->spent, rate_each.each_ns, broker->now_ns);
	allowance_pay(&broker->captures.spent, rate_all.each_ns, broker->now_ns);
	return true;
}

static int source_begin(struct process *process, const struct control_captured *frame)
{
	struct capture_source *source = process->capture;

	if (source->n_left)
		return -EPROTO;
	source->frame = *frame;
	source->n_data = 0;
	source->n_left = frame->n_payload;
	source->drop = !source_admits(process);
	if (source->drop)
		source_lost(process, 1);
	else if (source->n_lost)
		source_say_lost(process);
	return source->n_left ? 0 : source_done(process);
}

static int source_bytes(struct process *process, const struct control_captured_bytes *piece)
{
	struct capture_source *source = process->capture;

	if (!source->n_left || piece->n != min_u32(source->n_left, CAPTURE_PIECE))
		return -EPROTO;
	memcpy(source->data + source->n_data, piece->bytes, piece->n);
	source->n_data += piece->n;
	source->n_left -= piece->n;
	return source->n_left ? 0 : source_done(process);
}

int capture_message(struct process *process, const struct control_message *message)
{
	if (!process->capture)
		return -EPROTO;
	switch (message->type) {
	case CONTROL_CAPTURING:
		return source_agrees(process, &message->capturing);
	case CONTROL_CAPTURED:
		return source_begin(process, &message->captured);
	case CONTROL_CAPTURED_BYTES:
		return source_bytes(process, &message->captured_bytes);
	default:
		source_lost(process, message->capture_lost.n);
		return 0;
	}
}
