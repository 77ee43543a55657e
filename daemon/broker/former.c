/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See former.h. A guest decides which names those are. It pays for the memory, and its last names
 * take the places of its first ones.
 */
#include "daemon/broker/former.h"

#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

static void former_free(struct domain *domain, struct former *former)
{
	HASH_DELETE(hh, domain->formers, former);
	TAILQ_REMOVE(&domain->formers_by_age, former, entry);
	domain_repay_bytes(domain, FORMER_BYTES);
	free(former);
}

void formers_forget(struct domain *domain)
{
	while (domain->formers)
		former_free(domain, domain->formers);
}

void former_take(struct listener *listener)
{
	struct domain *domain = listener->process->domain;
	struct former *former;

	listener->counted_us = domain->broker->wall_us;
	HASH_FIND(hh, domain->formers, listener->name, strlen(listener->name), former);
	if (!former)
		return;
	listener->traffic = former->traffic;
	listener->counted_us = former->counted_us;
	former_free(domain, former);
}

/* The oldest ones make room for one more. False: that is not enough. */
static bool formers_make_room(struct domain *domain)
{
	uint32_t most = domain->limits.bytes / DOMAIN_FORMER_SHARE / FORMER_BYTES;

	most = min_u32(most, domain->limits.quota[QUOTA_NAMES]);
	while (domain->formers && HASH_COUNT(domain->formers) >= most)
		former_free(domain, TAILQ_FIRST(&domain->formers_by_age));
	return most && domain->bytes + FORMER_BYTES <= domain->limits.bytes;
}

void former_keep(const struct listener *listener)
{
	static const struct traffic none;
	struct domain *domain = listener->process->domain;
	struct former *former;

	if (memcmp(&listener->traffic, &none, sizeof(none)) == 0 || domain->ended ||
		!formers_make_room(domain))
		return;
	former = calloc(1, sizeof(*former));
	if (!former)
		return;
	former->traffic = listener->traffic;
	former->counted_us = listener->counted_us;
	memcpy(former->name, listener->name, sizeof(former->name));
	HASH_ADD_KEYPTR(hh, domain->formers, former->name, strlen(former->name), former);
	if (!hash_added(&former->hh)) {
		free(former);
		return;
	}
	TAILQ_INSERT_TAIL(&domain->formers_by_age, former, entry);
	domain_pay_bytes(domain, FORMER_BYTES);
}
