/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains as the broker knows them, and their charges. A domain is identified by domid, generation
 * and uuid: a domid used again is another domain. A domain must never be freed before its charges
 * came back.
 */
#include "daemon/broker/domain.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

#include "daemon/broker/announce.h"
#include "daemon/broker/assign.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/connects.h"
#include "daemon/broker/former.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/message-id.h"
#include "daemon/broker/outbox.h"
#include "daemon/broker/process.h"
#include "daemon/broker/quiesce.h"
#include "daemon/broker/rejudge.h"
#include "daemon/broker/request.h"
#include "daemon/broker/state.h"

const char *quota_name(enum quota quota)
{
	static const char *const names[QUOTA_COUNT] = {
		[QUOTA_PROCESSES] = "processes",
		[QUOTA_NAMES] = "names",
		[QUOTA_CHANNELS] = "channels",
		[QUOTA_LINKS] = "links",
		[QUOTA_REQUESTS] = "requests",
		[QUOTA_ENDS] = "ends",
		[QUOTA_ANNOUNCED] = "announced",
		[QUOTA_WATCHES] = "watches",
	};

	return names[quota];
}

/* An attach of the shell's, with its libevent timer and its places in tables. */
#define ATTACH_BYTES 1024U

uint32_t quota_bytes(enum quota quota)
{
	/*
	 * A channel may be the only one of its tally, and a request of its waiters. Each end pays
	 * for all of its link.
	 */
	static const uint32_t bytes[QUOTA_COUNT] = {
		[QUOTA_PROCESSES] = sizeof(struct process) + ATTACH_BYTES,
		[QUOTA_NAMES] = sizeof(struct listener) + 2 * OBJECT_OVERHEAD,
		[QUOTA_CHANNELS] =
			sizeof(struct broker_channel) + sizeof(struct tally) + 2 * OBJECT_OVERHEAD,
		[QUOTA_REQUESTS] = sizeof(struct broker_request) + sizeof(struct waiters) +
				   ADDRESS_SIZE + 2 * OBJECT_OVERHEAD,
		[QUOTA_ENDS] = sizeof(struct broker_link) + 2 * OBJECT_OVERHEAD,
		[QUOTA_ANNOUNCED] =
			sizeof(struct broker_channel) + sizeof(struct tally) + 2 * OBJECT_OVERHEAD,
		[QUOTA_WATCHES] = sizeof(struct watch) + 2 * OBJECT_OVERHEAD,
	};

	return bytes[quota];
}

uint64_t broker_bytes(const struct broker *broker)
{
	return broker->bytes;
}

void domain_pay_bytes(struct domain *domain, uint32_t bytes)
{
	domain->bytes += bytes;
	domain->broker->bytes += bytes;
}

void domain_repay_bytes(struct domain *domain, uint32_t bytes)
{
	assert(domain->bytes >= bytes);
	domain->bytes -= bytes;
	domain->broker->bytes -= bytes;
}

static const struct broker_line plain_line, limit_line = {.id = MESSAGE_ID_LIMIT};

void domain_party(const struct domain *domain, struct history_party *ret_party)
{
	*ret_party =
		(struct history_party){.there = true, .known = true, .domid = domain->info.domid};
	memcpy(ret_party->uuid, domain->info.uuid, sizeof(ret_party->uuid));
	memcpy(ret_party->domain, domain->info.name, sizeof(ret_party->domain));
}

__attribute__((format(printf, 4, 0))) static void domain_vlog(struct domain *domain, int priority,
	const struct broker_line *line, const char *format, va_list args)
{
	struct history_event event = {.kind = HISTORY_KINDS};
	struct broker_line about = *line;
	char subject[DOMAIN_NAME_SIZE + 8];

	if (!about.event) {
		domain_party(domain, &event.who);
		about.event = &event;
	}
	(void)snprintf(subject, sizeof(subject), "%s(%u)", domain->info.name, domain->info.domid);
	log_limited(&domain->broker->log, &domain->log, domain->broker->now_ns, subject, priority,
		&about, format, args);
}

void domain_log(struct domain *domain, int priority, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	domain_vlog(domain, priority, &plain_line, format, args);
	va_end(args);
}

void domain_log_line(struct domain *domain, int priority, const struct broker_line *line,
	const char *format, ...)
{
	va_list args;

	va_start(args, format);
	domain_vlog(domain, priority, line, format, args);
	va_end(args);
}

__attribute__((format(printf, 5, 0))) static void broker_vlog(struct broker *broker, uint16_t domid,
	int priority, const struct broker_line *line, const char *format, va_list args)
{
	struct domain *domain = domain_find(broker, domid);

	if (domain)
		domain_vlog(domain, priority, line, format, args);
	else if (domid == BROKER_LOG_CLIENTS)
		log_limited(&broker->log, &broker->log_clients, broker->now_ns, "admin clients",
			priority, line, format, args);
	else
		log_limited(&broker->log, &broker->log_others, broker->now_ns,
			"domains that are not listed", priority, line, format, args);
}

void broker_log_about(struct broker *broker, uint16_t domid, int priority, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	broker_vlog(broker, domid, priority, &plain_line, format, args);
	va_end(args);
}

void broker_log_line(struct broker *broker, uint16_t domid, int priority,
	const struct broker_line *line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	broker_vlog(broker, domid, priority, line, format, args);
	va_end(args);
}

static void charge_to(struct charge *charge, struct domain *domain, enum quota quota)
{
	assert(!charge->domain);
	domain->used[quota]++;
	domain_pay_bytes(domain, quota_bytes(quota));
	*charge = (struct charge){.domain = domain, .quota = quota};
}

int domain_out_of_bytes(struct domain *domain, char ret_reason[REASON_SIZE])
{
	uint32_t limit = domain->limits.bytes >> 10;

	domain_log_line(domain, LOG_NOTICE, &limit_line, "%s(%u): limit memory=%u is reached",
		domain->info.name, domain->info.domid, limit);
	if (ret_reason)
		reason_set(ret_reason, "limit memory=%u (KiB) of domain %.70s", limit,
			domain->info.name);
	return -EDQUOT;
}

int charge_take(struct charge *charge, struct domain *domain, enum quota quota,
	char ret_reason[REASON_SIZE])
{
	uint32_t limit = domain->limits.quota[quota];

	assert(!charge->domain);
	if (domain->used[quota] >= limit) {
		domain_log_line(domain, LOG_NOTICE, &limit_line, "%s(%u): limit %s=%u is reached",
			domain->info.name, domain->info.domid, quota_name(quota), limit);
		if (ret_reason)
			reason_set(ret_reason, "limit %s=%u of domain %.70s", quota_name(quota),
				limit, domain->info.name);
		return -EDQUOT;
	}
	if (domain->bytes + quota_bytes(quota) > domain->limits.bytes)
		return domain_out_of_bytes(domain, ret_reason);
	charge_to(charge, domain, quota);
	return 0;
}

int charge_take_rest(struct charge *charge, struct domain *domain, enum quota quota)
{
	const struct broker_limits *limits = &domain->limits;

	if (domain->used[quota] >= limits->quota[quota] ||
		domain->bytes + quota_bytes(quota) > limits->bytes / 2)
		return -EDQUOT;
	charge_to(charge, domain, quota);
	return 0;
}

void charge_return(struct charge *charge)
{
	if (!charge->domain)
		return;
	assert(charge->domain->used[charge->quota] > 0);
	charge->domain->used[charge->quota]--;
	domain_repay_bytes(charge->domain, quota_bytes(charge->quota) + charge->extra);
	charge->domain = NULL;
}

int charge_more(struct charge *charge, uint32_t bytes)
{
	struct domain *domain = charge->domain;

	if (!domain || domain->bytes + bytes > domain->limits.bytes)
		return -EDQUOT;
	domain_pay_bytes(domain, bytes);
	charge->extra += bytes;
	return 0;
}

void charge_less(struct charge *charge, uint32_t bytes)
{
	assert(charge->extra >= bytes);
	domain_repay_bytes(charge->domain, bytes);
	charge->extra -= bytes;
}

void charge_replace(struct charge *charge, struct charge *with)
{
	/* It is a small part of the object, and was not too much for the other domain. */
	domain_pay_bytes(with->domain, charge->extra);
	with->extra += charge->extra;
	charge_return(charge);
	*charge = *with;
}

int tally_take(
	struct broker *broker, const struct tally_key *key, uint32_t max, struct tally **ret_tally)
{
	struct tally *tally;
	unsigned hash;

	HASH_VALUE(key, sizeof(*key), hash); /* once: the key is long */
	HASH_FIND_BYHASHVALUE(hh, broker->tallies, key, sizeof(*key), hash, tally);
	if (max && tally && tally->count >= max)
		return -EDQUOT;
	if (!tally) {
		tally = calloc(1, sizeof(*tally));
		if (!tally)
			return -ENOMEM;
		tally->broker = broker;
		tally->key = *key;
		HASH_ADD_BYHASHVALUE(hh, broker->tallies, key, sizeof(tally->key), hash, tally);
		if (!hash_added(&tally->hh)) {
			free(tally);
			return -ENOMEM;
		}
	}
	tally->count++;
	*ret_tally = tally;
	return 0;
}

void tally_return(struct tally *tally)
{
	if (!tally || --tally->count > 0)
		return;
	HASH_DELETE(hh, tally->broker->tallies, tally);
	free(tally);
}

struct domain *domain_find(struct broker *broker, uint16_t domid)
{
	struct domain *domain;

	HASH_FIND(hh, broker->domains, &domid, sizeof(domid), domain);
	return domain;
}

bool domain_is_dead(const struct broker_domain_info *info)
{
	return info->state == BROKER_DOMAIN_CRASHED || info->state == BROKER_DOMAIN_DYING;
}

const char *broker_domain_name(struct broker *broker, uint16_t domid)
{
	const struct domain *domain = domain_find(broker, domid);

	return domain && domain->info.name[0] ? domain->info.name : "domain";
}

bool broker_has_domain(struct broker *broker, uint16_t domid)
{
	const struct domain *domain = domain_find(broker, domid);

	return domain && !domain_is_dead(&domain->info);
}

struct policy_subject domain_subject(const struct domain *domain)
{
	return (struct policy_subject){
		.name = domain->name_known ? domain->info.name : NULL,
		.uuid = domain->info.uuid,
		.domid = domain->info.domid,
		.known = domain->known,
		.tags = &domain->tags,
	};
}

void domain_peer(const struct domain *domain, struct control_peer *ret_peer)
{
	*ret_peer = (struct control_peer){.domid = domain->info.domid};
	memcpy(ret_peer->uuid, domain->info.uuid, sizeof(ret_peer->uuid));
	memcpy(ret_peer->domain, domain->info.name, sizeof(ret_peer->domain));
}

/* Of the store, written by domain 0: slips of its administrator. */
static void domain_add_tags(struct domain *domain, struct policy_tags *tags)
{
	char words[sizeof(domain->info.tags)], *rest = NULL;

	memcpy(words, domain->info.tags, sizeof(words));
	for (char *word = strtok_r(words, " \t\n", &rest); word;
		word = strtok_r(NULL, " \t\n", &rest)) {
		int r = policy_tags_add(tags, word);

		if (r == -E2BIG)
			tags->all_known = false;
		if (r < 0)
			domain_log(domain, LOG_WARNING, "%s(%u): tag '%.64s' is ignored: %s",
				domain->info.name, domain->info.domid, word,
				r == -E2BIG ? "the domain has too many" : "it is not spelt as one");
	}
	if (domain->info.tags_unknown)
		tags->all_known = false;
}

static bool tags_are(const struct policy_tags *tags, const struct policy_tags *others)
{
	if (tags->n != others->n || tags->all_known != others->all_known)
		return false;
	for (unsigned i = 0; i < tags->n; i++)
		if (strcmp(tags->names[i], others->names[i]) != 0)
			return false;
	return true;
}

/* Tags and limits, by the facts of now. Whether the tags are others than before. */
static bool domain_assign(struct domain *domain)
{
	const struct broker *broker = domain->broker;
	struct policy_subject subject = domain_subject(domain);
	struct policy_tags tags = {.all_known = true};
	bool changed;

	if (broker->assignments)
		assignments_tags(broker->assignments, &subject, &tags);
	domain_add_tags(domain, &tags);
	changed = !tags_are(&tags, &domain->tags);
	domain->tags = tags;
	if (domain->limits_own)
		return changed;
	domain->limits = broker->limits;
	if (broker->assignments)
		assignments_limits(broker->assignments, &subject, &broker->limits, &domain->limits);
	return changed;
}

static void domain_free(struct domain *domain)
{
	if (!domain)
		return;
	free(domain->known);
	free(domain);
}

static struct domain *domain_alloc(struct broker *broker, const struct broker_domain_info *info)
{
	struct domain *domain = calloc(1, sizeof(*domain));

	if (domain)
		domain->known = calloc(1, sizeof(*domain->known));
	if (!domain || !domain->known) {
		domain_free(domain);
		return NULL;
	}
	domain->broker = broker;
	domain->serial = ++broker->next_serial;
	domain->info = *info;
	domain->since_us = broker->wall_us;
	domain->name_known = info->name[0];
	domain->seen = true;
	domain->own = (struct domain_pair){.domain = domain, .target = domain->serial};
	(void)domain_assign(domain);
	LIST_INIT(&domain->paid);
	TAILQ_INIT(&domain->connects_by_age);
	TAILQ_INIT(&domain->formers_by_age);
	TAILQ_INIT(&domain->expected);
	TAILQ_INIT(&domain->processes);
	TAILQ_INIT(&domain->parted);
	TAILQ_INIT(&domain->unheard);
	TAILQ_INIT(&domain->awake);
	TAILQ_INIT(&domain->retry);
	TAILQ_INIT(&domain->errands.kept);
	history_source_init(&domain->history);
	return domain;
}

static int domain_new(struct broker *broker, const struct broker_domain_info *info)
{
	struct domain *domain = domain_alloc(broker, info);

	if (!domain)
		return -ENOMEM;
	HASH_ADD(hh, broker->domains, info.domid, sizeof(domain->info.domid), domain);
	if (!hash_added(&domain->hh)) {
		domain_free(domain);
		return -ENOMEM;
	}
	TAILQ_INSERT_HEAD(&broker->domains_by_known, domain, known_entry);
	broker->domains_changed = true;
	return 0;
}

void domain_drop_all(
	struct domain *domain, uint64_t last_serial, enum process_drop cause, const char *reason)
{
	if (!domain->ending)
		TAILQ_INSERT_TAIL(&domain->broker->ending, domain, ending_entry);
	domain->ending = reason;
	domain->ending_cause = cause;
	domain->ending_serial = last_serial;
}

void domain_end(struct domain *domain)
{
	HASH_DELETE(hh, domain->broker->domains, domain);
	TAILQ_REMOVE(&domain->broker->domains_by_known, domain, known_entry);
	domain->ended = true;
	domain->broker->domains_changed = true;
	domain_drop_all(domain, UINT64_MAX, PROCESS_DROP_DOMAIN, "its domain is gone");
	announce_domain_gone(domain);
	capture_domain_gone(domain);
	if (domain_is_quiesced(domain))
		domain_report_changed(domain);
}

/* Channels of links that are gone may still be charged to it: broker_link_bury. */
static bool domain_is_charged(const struct domain *domain)
{
	for (int i = 0; i < QUOTA_COUNT; i++) {
		if (domain->used[i])
			return true;
	}
	return domain->bytes > 0;
}

/* Nothing waits for an application of this domain any more, nor is paid for by it. */
static void domain_forget_pairs(struct domain *gone)
{
	struct domain *domain, *next_domain;
	struct domain_pair *pair, *next;

	/* As many as there are domains, and were. */
	HASH_ITER (hh, gone->pairs, pair, next) {
		HASH_DELETE(hh, gone->pairs, pair);
		free(pair);
	}
	gone->broker->cost += HASH_COUNT(gone->broker->domains);
	HASH_ITER (hh, gone->broker->domains, domain, next_domain) {
		pair = domain_pair_find(domain, gone);
		if (!pair)
			continue;
		assert(pair->outbox_bytes == 0);
		HASH_DELETE(hh, domain->pairs, pair);
		free(pair);
	}
}

/* It has no process, and pays for nothing. */
static void domain_ended(struct domain *domain)
{
	domain_forget_pairs(domain);
	assert(!domain->listeners && TAILQ_EMPTY(&domain->expected) && !domain->n_dying);
	domain_forget_quiesced(domain);
	domain_forget_work(domain);
	domain->broker->cost += history_source_end(&domain->broker->history, &domain->history);
	if (domain->log.left_out)
		broker_log_line(domain->broker, domain->info.domid, LOG_WARNING,
			&(struct broker_line){.id = MESSAGE_ID_LEFT_OUT},
			"%s(%u): %u lines about it were left out", domain->info.name,
			domain->info.domid, domain->log.left_out);
	domain_free(domain);
}

bool domain_end_work(struct broker *broker)
{
	struct domain *domain = TAILQ_FIRST(&broker->ending);
	struct process *process = domain ? TAILQ_FIRST(&domain->processes) : NULL;

	if (!domain)
		return false;
	if (process && process->serial <= domain->ending_serial) {
		broker->cost += COST_PROCESS;
		process_drop(process, domain->ending_cause, domain->ending);
		return true;
	}
	if (domain->ended && outbox_hand_over(domain)) {
		broker->cost += COST_OBJECT;
		return true;
	}
	TAILQ_REMOVE(&broker->ending, domain, ending_entry);
	if (!domain->ended) {
		domain->ending = NULL;
		return true;
	}
	errands_domain_gone(domain);
	connects_forget(domain);
	formers_forget(domain);
	if (domain_is_charged(domain) || domain->n_dying) {
		assert(!TAILQ_EMPTY(&broker->buried) || !TAILQ_EMPTY(&broker->dying) ||
			!TAILQ_EMPTY(&broker->watches[WATCH_ENDING]));
		TAILQ_INSERT_TAIL(&broker->ending, domain, ending_entry);
	} else {
		domain_ended(domain);
	}
	return true;
}

static bool domain_is(const struct domain *domain, const struct broker_domain_info *info)
{
	return domain->info.generation == info->generation &&
	       memcmp(domain->info.uuid, info->uuid, sizeof(info->uuid)) == 0;
}

/* Rules may name it that did not. rejudge_known makes its memo anew. */
static void domain_forget_known(struct domain *domain)
{
	struct broker *broker = domain->broker;

	policy_known_forget(domain->known);
	domain->known_generation = 0;
	TAILQ_REMOVE(&broker->domains_by_known, domain, known_entry);
	TAILQ_INSERT_HEAD(&broker->domains_by_known, domain, known_entry);
}

/*
 * A name that cannot be read any more, as while a domain is destroyed, ends nothing that stands;
 * for what is asked anew it is unknown, and so are the tags by it. The last name stays for people
 * to see. Tags that are lost with a domain's end stay, too.
 */
static void domain_set_info(struct domain *domain, const struct broker_domain_info *info)
{
	struct broker_domain_info old = domain->info;
	bool was_known = domain->name_known, renamed, changed;

	domain->info = *info;
	domain->name_known = info->name[0];
	renamed = domain->name_known && strcmp(old.name, info->name) != 0;
	if (!domain->name_known)
		memcpy(domain->info.name, old.name, sizeof(old.name));
	if (domain_is_dead(info)) {
		domain->info.tags_unknown = old.tags_unknown;
		memcpy(domain->info.tags, old.tags, sizeof(old.tags));
	}
	if (renamed)
		domain_log(domain, LOG_NOTICE, "%s(%u) is called %s(%u) now", old.name, info->domid,
			info->name, info->domid);
	changed = renamed || (domain->name_known && !was_known) ||
		  domain->info.tags_unknown != old.tags_unknown ||
		  strcmp(domain->info.tags, old.tags) != 0;
	if (changed || domain->name_known != was_known) {
		(void)domain_assign(domain);
		domain_forget_known(domain);
	}
	if (changed)
		rejudge_all(domain->broker);
	if (changed || info->state != old.state)
		domain->broker->domains_changed = true;
}

void domains_assign(struct broker *broker)
{
	struct domain *domain, *next;
	bool changed = false;

	HASH_ITER (hh, broker->domains, domain, next) {
		if (!domain_assign(domain))
			continue;
		domain_forget_known(domain);
		changed = true;
	}
	if (!changed)
		return;
	(void)rejudge_conditions(broker, broker->policy);
	rejudge_all(broker);
}

static void domain_update(struct broker *broker, const struct broker_domain_info *info)
{
	struct domain *domain = domain_find(broker, info->domid);

	if (domain && !domain_is(domain, info)) {
		domain_end(domain);
		domain = NULL;
	}
	if (!domain) {
		if (domain_new(broker, info) < 0)
			broker_log_about(broker, info->domid, LOG_ERR, "%s(%u): out of memory",
				info->name, info->domid);
		return;
	}
	domain_set_info(domain, info);
	domain->seen = true;
	domain_state_changed(domain);
	if (domain_is_dead(info))
		domain_drop_all(domain, UINT64_MAX, PROCESS_DROP_DOMAIN,
			info->state == BROKER_DOMAIN_CRASHED ? "its domain shut down or crashed"
							     : "its domain is being destroyed");
}

void broker_domains(struct broker *broker, const struct broker_domain_info *infos, size_t n)
{
	struct domain *domain, *next;

	HASH_ITER (hh, broker->domains, domain, next)
		domain->seen = false;
	for (size_t i = 0; i < n; i++)
		domain_update(broker, &infos[i]);
	HASH_ITER (hh, broker->domains, domain, next) {
		if (!domain->seen)
			domain_end(domain);
	}
	if (broker->domains_changed)
		rejudge_domains_changed(broker);
	broker->domains_changed = false;
	broker_settle(broker);
}
