/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See store.h. A changed record moves to the end of the list with a new sequence number. A watcher
 * is the number of the last change that it has seen. So changes coalesce and none is lost.
 */
#include "hv/sim/toolstack/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void store_init(struct sim_store *store)
{
	*store = (struct sim_store){0};
	TAILQ_INIT(&store->records);
}

static void record_free(struct sim_store *store, struct store_record *r)
{
	TAILQ_REMOVE(&store->records, r, entries);
	free(r);
}

void store_clear(struct sim_store *store)
{
	struct store_record *r;

	while ((r = TAILQ_FIRST(&store->records)))
		record_free(store, r);
}

static struct store_record *record_find(struct sim_store *store, uint16_t domid, const char *key)
{
	struct store_record *r;

	TAILQ_FOREACH (r, &store->records, entries)
		if (r->record.domid == domid && strcmp(r->record.key, key) == 0)
			return r;
	return NULL;
}

static bool is_wanted(const struct sim_store *store, uint32_t slot, const struct store_record *r)
{
	const struct store_watcher *w = &store->watchers[slot];

	if (w->own && (r->record.len > 0 || r->publisher != slot))
		return false;
	return w->on && r->sequence > w->seen && (r->record.len > 0 || r->sequence > w->from);
}

static bool anybody_wants(const struct sim_store *store, const struct store_record *r)
{
	for (uint32_t i = 0; i < SIM_MAX_SLOTS; i++)
		if (is_wanted(store, i, r))
			return true;
	return false;
}

/* Forgets what was removed and told to everybody. */
static void store_sweep(struct sim_store *store)
{
	struct store_record *r, *next;

	for (r = TAILQ_FIRST(&store->records); r; r = next) {
		next = TAILQ_NEXT(r, entries);
		if (r->record.len == 0 && !anybody_wants(store, r))
			record_free(store, r);
	}
}

static uint32_t record_count(const struct sim_store *store, uint16_t domid)
{
	const struct store_record *r;
	uint32_t n = 0;

	TAILQ_FOREACH (r, &store->records, entries)
		n += r->record.domid == domid;
	return n;
}

static void record_touch(struct sim_store *store, struct store_record *r)
{
	r->sequence = ++store->sequence;
	TAILQ_REMOVE(&store->records, r, entries);
	TAILQ_INSERT_TAIL(&store->records, r, entries);
}

int store_publish(struct sim_store *store, uint32_t slot, uint16_t domid, const char *key,
	const void *value, size_t len)
{
	struct store_record *r;

	if (!hv_store_key_is_valid(key) || len == 0 || len > HV_STORE_VALUE_MAX)
		return -EINVAL;
	r = record_find(store, domid, key);
	if (!r) {
		store_sweep(store);
		if (record_count(store, domid) >= SIM_STORE_QUOTA)
			return -ENOSPC;
		r = calloc(1, sizeof(*r));
		if (!r)
			return -ENOMEM;
		r->record.domid = domid;
		strcpy(r->record.key, key); /* its length was checked */
		TAILQ_INSERT_TAIL(&store->records, r, entries);
	}
	memcpy(r->record.value, value, len);
	r->record.len = len;
	r->publisher = slot;
	record_touch(store, r);
	return 0;
}

int store_remove(struct sim_store *store, uint32_t slot, uint16_t domid, const char *key)
{
	struct store_record *r;

	if (!hv_store_key_is_valid(key))
		return -EINVAL;
	r = record_find(store, domid, key);
	if (!r || r->record.len == 0)
		return -ENOENT;
	r->record.len = 0;
	if (r->publisher == slot)
		r->publisher = 0;
	record_touch(store, r);
	store_sweep(store);
	return 0;
}

bool store_remove_domain(struct sim_store *store, uint16_t domid)
{
	uint64_t last = store->sequence;
	struct store_record *r, *next;
	bool any = false;

	/* A record that is touched goes behind those that were there, and is not met again. */
	for (r = TAILQ_FIRST(&store->records); r && r->sequence <= last; r = next) {
		next = TAILQ_NEXT(r, entries);
		if (r->record.domid != domid || r->record.len == 0)
			continue;
		r->record.len = 0;
		record_touch(store, r);
		any = true;
	}
	store_sweep(store);
	return any;
}

void store_watch(struct sim_store *store, uint32_t slot)
{
	store->watchers[slot] = (struct store_watcher){.on = true, .from = store->sequence};
}

void store_watch_own(struct sim_store *store, uint32_t slot)
{
	/* A watcher of everything sees its own records, too. */
	if (store->watchers[slot].on)
		return;
	store_watch(store, slot);
	store->watchers[slot].own = true;
}

void store_unwatch(struct sim_store *store, uint32_t slot)
{
	struct store_record *r;

	TAILQ_FOREACH (r, &store->records, entries)
		if (r->publisher == slot)
			r->publisher = 0;
	store->watchers[slot].on = false;
	store_sweep(store);
}

int store_next(struct sim_store *store, uint32_t slot, struct hv_record *ret_record)
{
	struct store_watcher *w = &store->watchers[slot];
	struct store_record *r;

	TAILQ_FOREACH (r, &store->records, entries) {
		if (!is_wanted(store, slot, r))
			continue;
		*ret_record = r->record;
		w->seen = r->sequence;
		if (r->record.len == 0)
			store_sweep(store);
		return 1;
	}
	return 0;
}
