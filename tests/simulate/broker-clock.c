/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A look into the broker, apart: its headers and the emulator's have types of one name. */
#include "tests/simulate/broker-clock.h"

#include <stdio.h>

#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

uint64_t broker_clock_ns(const struct broker *broker)
{
	return broker->now_ns;
}

uint32_t broker_n_attached(const struct broker *broker)
{
	const struct domain *domain;
	const struct process *process;
	uint32_t n = 0;

	for (domain = broker->domains; domain; domain = domain->hh.next) {
		TAILQ_FOREACH (process, &domain->processes, entry)
			n++;
	}
	return n;
}

bool broker_left(const struct broker *broker, char *ret_text, size_t size)
{
	const struct domain *domain;

	for (domain = broker->domains; domain; domain = domain->hh.next)
		for (uint32_t i = 0; i < QUOTA_COUNT; i++) {
			if (!domain->used[i])
				continue;
			(void)snprintf(ret_text, size, "%s has %u %s left", domain->info.name,
				domain->used[i], quota_name(i));
			return true;
		}
	(void)snprintf(ret_text, size, "%u links and %u channels are left",
		HASH_COUNT(broker->links), broker->n_channels);
	return HASH_COUNT(broker->links) || broker->n_channels;
}
