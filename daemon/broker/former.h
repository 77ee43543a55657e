/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The counts of names that nobody holds, for their next holders. Only the broker and its tests
 * include this header.
 */
#ifndef MSGD_DAEMON_BROKER_FORMER_H
#define MSGD_DAEMON_BROKER_FORMER_H

#include "daemon/broker/domain.h"

struct listener;

#define FORMER_BYTES ((uint32_t)sizeof(struct former) + 2 * OBJECT_OVERHEAD)

struct former {
	UT_hash_handle hh;	   /* domain->formers, by name */
	TAILQ_ENTRY(former) entry; /* domain->formers_by_age */
	struct traffic traffic;
	uint64_t counted_us; /* as the listener's */
	char name[NAME_SIZE];
};

/* The listener begins: with the counts of the former holders. */
void former_take(struct listener *listener);
/* The listener ends: its counts are kept, if there are any, and room for them. */
void former_keep(const struct listener *listener);
/* All of the domain's. */
void formers_forget(struct domain *domain);

#endif
