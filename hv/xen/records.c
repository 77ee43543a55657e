/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The broker's view of everybody's records: /local/domain/N/data/msgd/KEY.
 *
 * One watch a domain, not one on /local/domain: that one would fire for every write of every back
 * end and guest on the machine. A watch event names a path; the path becomes a dirty key, once,
 * however often it is written, and is read when the caller asks (store_next). So a guest that
 * writes without pause costs one key, and one read a turn of the caller's loop.
 *
 * A guest chooses how many keys it touches, but not how many are remembered: beyond KEYS_MAX of a
 * domain its directory is read again instead, after what is remembered was read. Domains have their
 * keys read in turn, one at a time, and READS_A_TURN bounds all reads between two polls. So a guest
 * that touches many keys delays its own records. A domain that is gone comes before all others.
 *
 * A watch fires once when it is made (docs/misc/xenstore.txt). The directory is read at once, so
 * that "those present first" holds, and that first event, the only one which names the watched path
 * itself before anything happened, is dropped.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "hv/xen/store.h"

/* xenstored gives a guest 1000 nodes. Remembered, they take some 160 KiB. */
#define KEYS_MAX 1024U

/*
 * Round trips to the store between two polls, for all domains together: so many records are told in
 * one turn of msgd's loop. Each takes some tens of microseconds, so a turn some milliseconds.
 */
#define READS_A_TURN 64U

struct record_key {
	struct record_domain *domain; /* borrowed */
	char key[HV_STORE_KEY_MAX];
	bool known; /* the caller was told of it */
	bool dirty;
	TAILQ_ENTRY(record_key) entry;
	UT_hash_handle hh;
};

struct record_domain {
	uint16_t domid;
	bool first_event_due;
	bool seen; /* in the scan that runs */
	bool gone; /* not watched; waits for its keys to be told as gone */
	bool rescan;
	bool doubtful; /* its directory was removed: perhaps it is gone */
	bool due;
	TAILQ_ENTRY(record_domain) entry; /* of those that are due */
	TAILQ_HEAD(, record_key) dirty;
	struct record_key *keys; /* owned */
	UT_hash_handle hh;
};

struct records {
	struct xs_handle *xs;	       /* borrowed: for requests */
	struct xs_handle *watch_xs;    /* borrowed: for the watches */
	struct record_domain *domains; /* owned */
	TAILQ_HEAD(, record_domain) due;
	bool scan;
	bool complete; /* the records that were present at first have been told */
	unsigned n_reads;
};

struct records *records_new(struct xs_handle *xs, struct xs_handle *watch_xs)
{
	struct records *records = calloc(1, sizeof(*records));

	if (!records)
		return NULL;
	records->xs = xs;
	records->watch_xs = watch_xs;
	records->scan = true;
	TAILQ_INIT(&records->due);
	return records;
}

static void key_free(struct record_key *key)
{
	if (key->dirty)
		TAILQ_REMOVE(&key->domain->dirty, key, entry);
	HASH_DEL(key->domain->keys, key);
	free(key);
}

static void domain_free(struct records *records, struct record_domain *domain)
{
	struct record_key *key, *next;

	HASH_ITER (hh, domain->keys, key, next)
		key_free(key);
	if (domain->due)
		TAILQ_REMOVE(&records->due, domain, entry);
	HASH_DEL(records->domains, domain);
	free(domain);
}

void records_free(struct records *records)
{
	struct record_domain *domain, *next;

	if (!records)
		return;
	HASH_ITER (hh, records->domains, domain, next)
		domain_free(records, domain);
	free(records);
}

void records_scan(struct records *records)
{
	records->scan = true;
}

void records_turn(struct records *records)
{
	records->n_reads = 0;
}

bool records_due(const struct records *records)
{
	return records->scan || !TAILQ_EMPTY(&records->due);
}

static void domain_make_due(struct records *records, struct record_domain *domain)
{
	if (domain->due)
		return;
	domain->due = true;
	if (domain->gone)
		TAILQ_INSERT_HEAD(&records->due, domain, entry);
	else
		TAILQ_INSERT_TAIL(&records->due, domain, entry);
}

static void domain_not_due(struct records *records, struct record_domain *domain)
{
	if (domain->due)
		TAILQ_REMOVE(&records->due, domain, entry);
	domain->due = false;
}

static void domain_rescan(struct records *records, struct record_domain *domain)
{
	domain->rescan = true;
	domain_make_due(records, domain);
}

/* ENOSPC: the domain has KEYS_MAX. ENOMEM. */
static int key_mark(struct records *records, struct record_domain *domain, const char *name)
{
	struct record_key *key;

	HASH_FIND_STR(domain->keys, name, key);
	if (!key) {
		if (HASH_COUNT(domain->keys) >= KEYS_MAX)
			return -ENOSPC;
		key = calloc(1, sizeof(*key));
		if (!key)
			return -ENOMEM;
		key->domain = domain;
		strcpy(key->key, name); /* hv_store_key_is_valid has looked at its length */
		HASH_ADD_STR(domain->keys, key, key);
		if (!hash_added(&key->hh)) {
			free(key);
			return -ENOMEM;
		}
	}
	if (!key->dirty) {
		key->dirty = true;
		TAILQ_INSERT_TAIL(&domain->dirty, key, entry);
	}
	domain_make_due(records, domain);
	return 0;
}

/* ---- events ------------------------------------------------------------------------------ */

/* "/local/domain/5/data/msgd[/KEY[/more]]". False: another path, or a key that is none. */
static bool path_parse(const char *path, unsigned *ret_domid, char ret_key[HV_STORE_KEY_MAX])
{
	const char *key;
	size_t len;
	int end = 0;

	if (sscanf(path, "/local/domain/%5u/data/msgd%n", ret_domid, &end) != 1 || end == 0 ||
		*ret_domid >= HV_DOMID_FIRST_RESERVED)
		return false;
	ret_key[0] = 0;
	if (path[end] == 0)
		return true;
	key = path + end + 1;
	len = strcspn(key, "/");
	if (path[end] != '/' || len >= HV_STORE_KEY_MAX)
		return false;
	memcpy(ret_key, key, len);
	ret_key[len] = 0;
	return hv_store_key_is_valid(ret_key);
}

bool records_event(struct records *records, const char *path)
{
	struct record_domain *domain;
	char key[HV_STORE_KEY_MAX];
	unsigned number;
	uint16_t domid;

	if (!path_parse(path, &number, key))
		return false;
	domid = (uint16_t)number;
	HASH_FIND(hh, records->domains, &domid, sizeof(domid), domain);
	if (!domain || domain->gone)
		return false;
	if (key[0]) {
		if (key_mark(records, domain, key) < 0)
			domain_rescan(records, domain);
		return true;
	}
	if (domain->first_event_due) {
		domain->first_event_due = false;
		return false;
	}
	/* All of them at once: perhaps the domain itself. */
	domain->doubtful = true;
	domain_rescan(records, domain);
	return true;
}

/* ---- reading ----------------------------------------------------------------------------- */

static void domain_remove(struct records *records, struct record_domain *domain)
{
	struct record_key *key, *next;
	char path[STORE_PATH_MAX];

	if (!domain->gone) {
		store_path(path, domain->domid, NULL);
		(void)xs_unwatch(records->watch_xs, path, "records");
		domain->gone = true;
	}
	domain->rescan = false;
	domain_not_due(records, domain);
	HASH_ITER (hh, domain->keys, key, next) {
		if (key->known)
			(void)key_mark(records, domain, key->key);
		else
			key_free(key);
	}
	if (!domain->keys)
		domain_free(records, domain);
}

/* Its directory is not there: it, too, may not be. */
static void domain_doubt(struct records *records, struct record_domain *domain)
{
	_cleanup_free_ char **names = NULL;
	char path[STORE_PATH_MAX];
	unsigned n = 0;

	records->n_reads++;
	(void)snprintf(path, sizeof(path), "/local/domain/%u", domain->domid);
	names = xs_directory(records->xs, XBT_NULL, path, &n);
	if (!names && errno == ENOENT)
		domain_remove(records, domain);
}

/*
 * Marks what is in a domain's directory, and what was and may not be any more. May free a domain
 * that is gone.
 */
static int domain_read(struct records *records, struct record_domain *domain)
{
	char path[STORE_PATH_MAX];
	struct record_key *key, *next;
	_cleanup_free_ char **names = NULL;
	bool doubtful;
	unsigned n = 0;
	int r = 0;

	store_path(path, domain->domid, NULL);
	/* A guest that writes more names than can be listed, or forbids it, hides its own alone. */
	names = xs_directory(records->xs, XBT_NULL, path, &n);
	if (!names && errno != ENOENT && errno != E2BIG && errno != EACCES)
		return -errno;
	HASH_ITER (hh, domain->keys, key, next)
		if (key->known)
			(void)key_mark(records, domain, key->key);
	for (unsigned i = 0; i < n && r != -ENOMEM; i++)
		if (hv_store_key_is_valid(names[i]))
			r = key_mark(records, domain, names[i]);
	if (r == -ENOMEM)
		return r;
	doubtful = domain->doubtful;
	domain->rescan = domain->doubtful = false;
	if (!names && doubtful)
		domain_doubt(records, domain);
	return 0;
}

static int domain_add(struct records *records, uint16_t domid)
{
	struct record_domain *domain;
	char path[STORE_PATH_MAX];

	HASH_FIND(hh, records->domains, &domid, sizeof(domid), domain);
	if (domain && !domain->gone) {
		domain->seen = true;
		return 0;
	}
	if (!domain) {
		domain = calloc(1, sizeof(*domain));
		if (!domain)
			return -ENOMEM;
		domain->domid = domid;
		TAILQ_INIT(&domain->dirty);
		HASH_ADD(hh, records->domains, domid, sizeof(domain->domid), domain);
		if (!hash_added(&domain->hh)) {
			free(domain);
			return -ENOMEM;
		}
	}
	domain->gone = true; /* until it is watched */
	domain->seen = true;
	store_path(path, domid, NULL);
	if (!xs_watch(records->watch_xs, path, "records"))
		return -errno;
	domain->gone = domain->doubtful = false;
	domain->first_event_due = true;
	domain_rescan(records, domain);
	return 0;
}

/* Looks which domains the store has. */
static int scan(struct records *records)
{
	_cleanup_free_ char **names = NULL;
	struct record_domain *domain, *next;
	unsigned n = 0;
	int r = 0;

	names = xs_directory(records->xs, XBT_NULL, "/local/domain", &n);
	if (!names)
		return -errno;
	HASH_ITER (hh, records->domains, domain, next)
		domain->seen = false;
	for (unsigned i = 0; i < n && r == 0; i++) {
		char *end;
		unsigned long domid = strtoul(names[i], &end, 10);

		if (!*end && domid < HV_DOMID_FIRST_RESERVED)
			r = domain_add(records, (uint16_t)domid);
	}
	if (r < 0)
		return r;
	HASH_ITER (hh, records->domains, domain, next)
		if (!domain->seen)
			domain_remove(records, domain);
	return 0;
}

/* Errors about this key alone: it is no record then, and hides no other. */
static bool is_unreadable(int error)
{
	return error == ENOENT || error == EACCES || error == EINVAL || error == E2BIG;
}

/* 1, or 0: nothing to tell of this key. */
static int key_read(struct records *records, struct record_key *key, struct hv_record *ret_record)
{
	_cleanup_free_ uint8_t *value = NULL;
	struct record_domain *domain = key->domain;
	char path[STORE_PATH_MAX];
	unsigned len = 0;
	bool known = key->known;

	/* Behind the domain's others, where it stays if it cannot be read now. */
	TAILQ_REMOVE(&domain->dirty, key, entry);
	TAILQ_INSERT_TAIL(&domain->dirty, key, entry);
	store_path(path, domain->domid, key->key);
	value = xs_read(records->xs, XBT_NULL, path, &len);
	if (!value && !is_unreadable(errno))
		return -errno;
	if (!value)
		len = 0; /* libxenstore leaves the length of the error's text there */
	/* An empty node, which a guest can write, is no record. */
	key->known = value && len > 0;
	if (known || key->known) {
		ret_record->domid = domain->domid;
		strcpy(ret_record->key, key->key);
		/* A value that is too long is cut: the broker refuses it. */
		ret_record->len = len < HV_STORE_VALUE_MAX ? len : HV_STORE_VALUE_MAX;
		if (value)
			memcpy(ret_record->value, value, ret_record->len);
		known = true;
	}
	TAILQ_REMOVE(&domain->dirty, key, entry);
	key->dirty = false;
	if (!key->known)
		key_free(key);
	return known;
}

/* One read for the domain whose turn it is, which then queues up behind the others. */
static int domain_turn(
	struct records *records, struct record_domain *domain, struct hv_record *ret_record)
{
	struct record_key *key = TAILQ_FIRST(&domain->dirty);
	int r = 0;

	records->n_reads++;
	domain_not_due(records, domain);
	if (key)
		r = key_read(records, key, ret_record);
	if (!TAILQ_EMPTY(&domain->dirty) || domain->rescan)
		domain_make_due(records, domain);
	else if (domain->gone && !domain->keys)
		domain_free(records, domain);
	return r;
}

/* A domain's directory, when all its keys have been read. */
static int domain_reread(struct records *records, struct record_domain *domain)
{
	int r;

	records->n_reads++;
	domain_not_due(records, domain);
	r = domain_read(records, domain);
	if (r < 0)
		domain_make_due(records, domain);
	return r;
}

/* The records that are present first are told whole: the caller counts them (server_recover). */
static bool may_read(const struct records *records)
{
	return !records->complete || records->n_reads < READS_A_TURN;
}

int records_next(struct records *records, struct hv_record *ret_record)
{
	struct record_domain *domain;
	int r = 0;

	if (records->scan) {
		r = scan(records);
		if (r < 0)
			return r;
		records->scan = false;
	}
	/* No more rounds than READS_A_TURN; at first, than there are keys and directories. */
	while (may_read(records) && (domain = TAILQ_FIRST(&records->due))) {
		if (TAILQ_EMPTY(&domain->dirty))
			r = domain_reread(records, domain);
		else
			r = domain_turn(records, domain, ret_record);
		if (r != 0)
			return r;
	}
	records->complete |= TAILQ_EMPTY(&records->due);
	return 0;
}
