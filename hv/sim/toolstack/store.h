/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rendezvous store: records of {domid, key, value}, and watchers that learn of each record's
 * last state. It is in the authority's memory; the caller holds the authority's mutex. A domain may
 * have SIM_STORE_QUOTA records, counting those that were removed but not yet seen.
 */
#ifndef MSGD_HV_SIM_TOOLSTACK_STORE_H
#define MSGD_HV_SIM_TOOLSTACK_STORE_H

#include <sys/queue.h>

#include "hv/hv.h"
#include "hv/sim/memory/segment.h"

/* xenstored's own limit is 1000 nodes a domain, which it shares with the guest's kernel. */
#define SIM_STORE_QUOTA 256U

struct store_record {
	TAILQ_ENTRY(store_record) entries;
	uint64_t sequence;  /* of its last change; the list is in this order */
	uint32_t publisher; /* the slot that wrote it; 0: gone, or the one that removed it */
	struct hv_record record;
};

struct store_watcher {
	bool on;
	bool own;      /* only of what this slot published and others removed */
	uint64_t from; /* removals up to here are of no interest: it began to watch later */
	uint64_t seen;
};

struct sim_store {
	TAILQ_HEAD(, store_record) records;
	uint64_t sequence;
	struct store_watcher watchers[SIM_MAX_SLOTS]; /* by slot */
};

void store_init(struct sim_store *store);
void store_clear(struct sim_store *store);
/* By slot. EINVAL, ENOSPC, ENOMEM */
int store_publish(struct sim_store *store, uint32_t slot, uint16_t domid, const char *key,
	const void *value, size_t len);
/* By slot. ENOENT */
int store_remove(struct sim_store *store, uint32_t slot, uint16_t domid, const char *key);
/* Returns whether there were any. */
bool store_remove_domain(struct sim_store *store, uint16_t domid);
void store_watch(struct sim_store *store, uint32_t slot);
void store_watch_own(struct sim_store *store, uint32_t slot);
/* The slot is free: what it published is nobody's. */
void store_unwatch(struct sim_store *store, uint32_t slot);
/* 1 and the next change, or 0. */
int store_next(struct sim_store *store, uint32_t slot, struct hv_record *ret_record);

#endif
