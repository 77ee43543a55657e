/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A look into the broker, apart: its headers and the emulator's have types of one name. */
#include "tests/simulate/broker-clock.h"

#include "daemon/broker/domain.h"
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
