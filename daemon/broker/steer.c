/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The administrator's steps on single objects. Each ends with broker_settle, as every entry point.
 * Blocks are kept by the domain's uuid, which a guest that reboots itself does not change.
 */
#include "daemon/broker/steer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/lookup.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

static const char by_administrator[] = "by the administrator";

/* ---- ending what stands ---------------------------------------------------------------------- */

int broker_close(struct broker *broker, const struct broker_target *target)
{
	struct broker_link *link = broker_link_by_uid(broker, target->link);
	struct broker_channel *channel = NULL;

	if (!link)
		return -ENOLINK;
	HASH_FIND(hh, link->channels, &target->channel, sizeof(target->channel), channel);
	if (!channel || channel->ahead)
		return -ECHRNG;
	/* Each end is to say first what it knows of it. */
	if (link->state != BROKER_LINK_UP)
		return -EBUSY;
	broker_channel_gone(channel, 3, by_administrator, NULL);
	broker_settle(broker);
	return 0;
}

int broker_kick_link(struct broker *broker, const struct broker_target *target)
{
	struct broker_link *link = broker_link_by_uid(broker, target->link);

	if (!link)
		return -ENOLINK;
	broker_link_down(link, NULL, NULL, ECONNRESET, by_administrator);
	broker_settle(broker);
	return 0;
}

/* The pid is the application's own word: several may say the same. */
int broker_kick_application(struct broker *broker, const struct broker_target *target)
{
	struct domain *domain = domain_find(broker, target->domid);
	struct process *process, *next;
	int n = 0;

	if (!domain)
		return -ESRCH;
	for (process = TAILQ_FIRST(&domain->processes); process; process = next) {
		next = TAILQ_NEXT(process, entry);
		if (process->pid != target->pid || process->state == PROCESS_NEW)
			continue;
		process_drop(process, PROCESS_DROP_KICK, by_administrator);
		n++;
	}
	broker_settle(broker);
	return n ? 0 : -ENOENT;
}

int broker_kick_domain(struct broker *broker, const struct broker_target *target)
{
	struct domain *domain = domain_find(broker, target->domid);

	if (!domain)
		return -ESRCH;
	/* A dead domain is dropped whole, whatever comes. */
	if (!domain_is_dead(&domain->info))
		domain_drop_all(domain, broker->next_serial, PROCESS_DROP_KICK, by_administrator);
	broker_settle(broker);
	return 0;
}

static int listener_by_name(
	struct broker *broker, const struct broker_target *target, struct listener **ret_listener)
{
	struct domain *domain = domain_find(broker, target->domid);

	if (!domain)
		return -ESRCH;
	*ret_listener = listener_find(domain, target->name);
	return *ret_listener ? 0 : -EADDRNOTAVAIL;
}

/* A name cannot be taken from an application: it would not know. */
int broker_kick_name(struct broker *broker, const struct broker_target *target)
{
	struct listener *listener;
	int r = listener_by_name(broker, target, &listener);

	if (r < 0)
		return r;
	process_drop(listener->process, PROCESS_DROP_KICK, by_administrator);
	broker_settle(broker);
	return 0;
}

/* ---- draining -------------------------------------------------------------------------------- */

static int name_set_drained(struct broker *broker, const struct broker_target *target, bool drained)
{
	struct listener *listener;
	int r = listener_by_name(broker, target, &listener);

	if (r < 0)
		return r;
	listener->drained = drained;
	ahead_end_all(broker);
	return 0;
}

int broker_drain(struct broker *broker, const struct broker_target *target)
{
	return name_set_drained(broker, target, true);
}

int broker_undrain(struct broker *broker, const struct broker_target *target)
{
	return name_set_drained(broker, target, false);
}

/* ---- blocking -------------------------------------------------------------------------------- */

/* name: "" is the whole domain. */
static struct block *block_find(
	const struct broker *broker, const struct domain *domain, const char *name)
{
	struct block *block;

	LIST_FOREACH (block, &broker->blocks, entry) {
		if (memcmp(block->uuid, domain->info.uuid, sizeof(block->uuid)) == 0 &&
			strcmp(block->name, name) == 0)
			return block;
	}
	return NULL;
}

bool domain_is_blocked(const struct domain *domain)
{
	domain->broker->cost += domain->broker->n_blocks;
	return block_find(domain->broker, domain, "");
}

bool name_is_blocked(const struct domain *domain, const char *name)
{
	domain->broker->cost += domain->broker->n_blocks;
	return block_find(domain->broker, domain, name);
}

bool absent_is_blocked(struct broker *broker, const char *domain, const char *name)
{
	const struct block *block;

	broker->cost += broker->n_blocks;
	LIST_FOREACH (block, &broker->blocks, entry) {
		if (strcmp(block->domain, domain) == 0 &&
			(!block->name[0] || strcmp(block->name, name) == 0))
			return true;
	}
	return false;
}

int broker_block(struct broker *broker, const struct broker_target *target)
{
	const struct domain *domain = domain_find(broker, target->domid);
	struct block *block;

	if (!domain)
		return -ESRCH;
	if (block_find(broker, domain, target->name))
		return 0;
	if (broker->n_blocks >= BLOCKS_MAX)
		return -ENOSPC;
	block = calloc(1, sizeof(*block));
	if (!block)
		return -ENOMEM;
	memcpy(block->uuid, domain->info.uuid, sizeof(block->uuid));
	memcpy(block->domain, domain->info.name, sizeof(block->domain));
	block->domid = domain->info.domid;
	(void)snprintf(block->name, sizeof(block->name), "%s", target->name);
	LIST_INSERT_HEAD(&broker->blocks, block, entry);
	broker->n_blocks++;
	ahead_end_all(broker);
	return 0;
}

static void block_free(struct broker *broker, struct block *block)
{
	LIST_REMOVE(block, entry);
	broker->n_blocks--;
	free(block);
}

/* A domain that is gone is found by what it was called, or by its uuid. */
int broker_unblock(struct broker *broker, const struct broker_target *target)
{
	struct domain_address address;
	struct block *block, *next;
	uint16_t domid;
	int r = domain_address_parse(target->domain, &address);

	if (r < 0)
		return r;
	r = broker_find_domain(broker, target->domain, &domid);
	for (block = LIST_FIRST(&broker->blocks); block; block = next) {
		next = LIST_NEXT(block, entry);
		if (strcmp(block->name, target->name) != 0 ||
			!domain_address_is(&address, block->domain, block->uuid, block->domid))
			continue;
		block_free(broker, block);
		r = 0;
	}
	return r;
}

void blocks_forget(struct broker *broker)
{
	while (!LIST_EMPTY(&broker->blocks))
		block_free(broker, LIST_FIRST(&broker->blocks));
}

/* ---- the end of both ------------------------------------------------------------------------- */

void broker_log_steps(struct broker *broker)
{
	const struct listener *listener;
	const struct block *block;

	/* BLOCKS_MAX at most. */
	LIST_FOREACH (block, &broker->blocks, entry)
		broker_log_about(broker, BROKER_LOG_CLIENTS, LOG_NOTICE,
			"%s(%u)%s%s is blocked no more, as msgd ends", block->domain, block->domid,
			*block->name ? "/" : "", block->name);
	/* As many as the administrator has drained. */
	TAILQ_FOREACH (listener, &broker->names, age_entry) {
		const struct broker_domain_info *info = &listener->process->domain->info;

		if (listener->drained)
			broker_log_about(broker, BROKER_LOG_CLIENTS, LOG_NOTICE,
				"%s(%u)/%s is drained no more, as msgd ends", info->name,
				info->domid, listener->name);
	}
}

/* ---- limits of one domain -------------------------------------------------------------------- */

int broker_set_domain_limits(
	struct broker *broker, uint16_t domid, const struct broker_limits *limits)
{
	struct domain *domain = domain_find(broker, domid);

	if (!domain)
		return -ESRCH;
	domain->limits = *limits;
	domain->limits_own = true;
	return 0;
}

int broker_domain_limits(struct broker *broker, uint16_t domid, struct broker_limits *ret_limits)
{
	const struct domain *domain = domain_find(broker, domid);

	if (!domain)
		return -ESRCH;
	*ret_limits = domain->limits;
	return 0;
}

bool broker_has_name(struct broker *broker, uint16_t domid, const char *name)
{
	struct domain *domain = domain_find(broker, domid);
	const struct listener *listener = domain ? listener_find(domain, name) : NULL;

	return listener && listener_permitted(listener);
}
