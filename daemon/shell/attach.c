/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a record in the store to an attached application (PROTOCOL.md 2), and back. The order
 * matters: grant references and ports of a dead application are used again at once, perhaps by a
 * disk's front end, so nothing is written, and no event sent, before the mapped page has shown the
 * record's nonce.
 */
#include "daemon/shell/attach-object.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/event.h"
#include "base/macro.h"
#include "daemon/broker/message-id.h"

/* A bind that is refused because the port's last holder is still dying: PROTOCOL.md 2. */
#define BIND_DELAY_FIRST_MS 5U
#define BIND_DELAY_MAX_MS   320U
#define BIND_LIMIT_NS	    UINT64_C(5000000000)

/*
 * Ports and mappings of one domain at once: twice its quota, for applications that are dying count,
 * and so do those that HELLO will refuse, with a reason. As many records may name a port that
 * cannot be bound yet. Further applications wait for a place: as many as one directory of the store
 * has records; xenstored's has some sixty, xen-sim's 256.
 */
#define BOUND_PER_PROCESS    2U
#define ATTACHES_WAITING_MAX 256U
/* In the broker's cost: asks the hypervisor several times. */
#define COST_ATTACH_BIND 5000U

static void attach_set_state(struct attach *attach, enum attach_state state)
{
	static const unsigned moves[] = {
		[ATTACH_BINDING] = ENUM_BIT(ATTACH_UP) | ENUM_BIT(ATTACH_DEAD),
		[ATTACH_UP] = ENUM_BIT(ATTACH_PARKED) | ENUM_BIT(ATTACH_DEAD),
		[ATTACH_PARKED] = ENUM_BIT(ATTACH_DEAD),
		[ATTACH_DEAD] = 0,
	};

	assert(moves[attach->state] & ENUM_BIT(state));
	attach->state = state;
}

static struct attach *attach_find(struct attach_table *table, uint16_t domid, const char *key)
{
	struct attach *attach;
	struct attach_key id;

	memset(&id, 0, sizeof(id));
	id.domid = domid;
	(void)snprintf(id.key, sizeof(id.key), "%s", key);
	HASH_FIND(hh, table->by_key, &id, sizeof(id), attach);
	return attach;
}

void attach_make_ready(struct attach *attach)
{
	if (attach->ready || (attach->state != ATTACH_UP && attach->state != ATTACH_BINDING))
		return;
	attach->ready = true;
	TAILQ_INSERT_TAIL(&attach->domain->ready, attach, entry);
	attach_domain_enqueue(attach->table, attach->domain);
}

void attach_make_dirty(struct attach *attach)
{
	if (attach->dirty || attach->state != ATTACH_UP)
		return;
	attach->dirty = true;
	TAILQ_INSERT_TAIL(&attach->table->dirty, attach, dirty_entry);
}

/* Unmaps before it closes the port: the notification of the unmapping needs the port (hv.h). */
static void attach_release(struct attach *attach)
{
	struct hv *hv = attach->table->hv;

	if (attach->rings_map)
		hv->ops->grant_unmap(hv, attach->rings_map);
	if (attach->page_map)
		hv->ops->grant_unmap(hv, attach->page_map);
	attach->rings_map = attach->page_map = NULL;
	attach->page = NULL;
	if (attach->port) {
		HASH_DELETE(hh_port, attach->table->by_port, attach);
		(void)hv->ops->evtchn_close(hv, attach->port);
		attach->port = 0;
		attach->domain->n_bound--;
	}
}

static void attach_set_waits(struct attach *attach, bool waits)
{
	if (attach->waits == waits)
		return;
	attach->waits = waits;
	attach->domain->n_waiting += waits ? 1U : -1U;
}

static uint32_t bound_max(const struct attach_table *table, uint16_t domid)
{
	return BOUND_PER_PROCESS * broker_limit(table->broker, domid, QUOTA_PROCESSES);
}

static void record_delete(struct attach_table *table, uint16_t domid, const char *key)
{
	int r = table->hv->ops->store_remove(table->hv, domid, key);

	if (r >= 0 || r == -ENOENT)
		return;
	broker_log_about(table->broker, domid, LOG_ERR, "%s(%u): deleting record %s: %s",
		broker_domain_name(table->broker, domid), domid, key, strerror(-r));
	if (r == -ENODEV)
		table->lost = true;
}

/* Lets go of everything but the record. */
static void attach_strip(struct attach *attach)
{
	struct attach_table *table = attach->table;

	if (attach->ready)
		TAILQ_REMOVE(&attach->domain->ready, attach, entry);
	if (attach->dirty)
		TAILQ_REMOVE(&table->dirty, attach, dirty_entry);
	attach->ready = attach->dirty = false;
	event_drop(attach->retry);
	attach->retry = NULL;
	attach_release(attach);
	attach_set_waits(attach, false);
}

/*
 * If its application lives, it is to learn from its page that nobody serves it any more, and to
 * attach again (PROTOCOL.md 2). The unmapping that follows sends the event.
 */
static void attach_say_dropped(struct attach *attach, const char *reason)
{
	struct doorbell_page *page = attach->page;
	char text[REASON_SIZE] = "";

	if (!page)
		return;
	(void)snprintf(text, sizeof(text), "%s", reason);
	memcpy(page->drop_reason, text, sizeof(text));
	atomic_store_explicit(&page->dropped, attach->epoch, memory_order_release);
}

static void attach_close(struct attach *attach, const char *reason, bool delete_record)
{
	struct attach_table *table = attach->table;

	attach_say_dropped(attach, reason);
	broker_spend(table->broker, COST_ATTACH_BIND); /* as much as to bind */
	attach_strip(attach);
	attach_set_state(attach, ATTACH_DEAD);
	HASH_DELETE(hh, table->by_key, attach);
	if (delete_record)
		record_delete(table, attach->id.domid, attach->id.key);
	TAILQ_INSERT_TAIL(&table->dead, attach, entry);
}

/* The domain of one attach more; NULL: out of memory. attach_domain_leave undoes it. */
static struct attach_domain *attach_domain_enter(struct attach_table *table, uint16_t domid)
{
	struct attach_domain *domain;

	HASH_FIND(hh, table->domains, &domid, sizeof(domid), domain);
	if (!domain) {
		domain = calloc(1, sizeof(*domain));
		if (!domain)
			return NULL;
		domain->domid = domid;
		TAILQ_INIT(&domain->ready);
		HASH_ADD(hh, table->domains, domid, sizeof(domain->domid), domain);
		if (!hash_added(&domain->hh)) {
			free(domain);
			return NULL;
		}
	}
	domain->n_attaches++;
	return domain;
}

static bool attach_too_many(const struct attach_table *table, uint16_t domid)
{
	const struct attach_domain *domain;

	HASH_FIND(hh, table->domains, &domid, sizeof(domid), domain);
	return domain && (domain->n_waiting >= ATTACHES_WAITING_MAX ||
				 domain->n_attaches - domain->n_bound - domain->n_waiting >=
					 bound_max(table, domid));
}

static void attach_domain_leave(struct attach_table *table, struct attach_domain *domain)
{
	if (--domain->n_attaches == 0)
		attach_domain_dequeue(table, domain);
}

static void attach_domain_free(struct attach_table *table, struct attach_domain *domain)
{
	HASH_DELETE(hh, table->domains, domain);
	free(domain);
}

/*
 * The cost of a domain is kept while it counts. Otherwise a domain that leaves and comes again
 * would have saved up anew, and two that do so in turn would be served before all others.
 */
static void attach_domains_forget(struct attach_table *table)
{
	struct attach_domain *domain, *next;

	/* Few: those of domains that are there. */
	HASH_ITER (hh, table->domains, domain, next) {
		bool counts = domain->spent + TURN_COST_SAVED > table->spent &&
			      broker_has_domain(table->broker, domain->domid);

		if (domain->n_attaches == 0 && !counts)
			attach_domain_free(table, domain);
	}
}

static void attach_free_dead(struct attach_table *table)
{
	struct attach *attach;

	while ((attach = TAILQ_FIRST(&table->dead))) {
		TAILQ_REMOVE(&table->dead, attach, entry);
		attach_domain_leave(table, attach->domain);
		free(attach);
	}
}

void attach_reap(struct attach_table *table)
{
	if (TAILQ_EMPTY(&table->dead))
		return;
	attach_free_dead(table);
	attach_domains_forget(table);
}

void attach_dropped(void *arg, void *peer, const char *reason)
{
	struct attach *attach = peer;

	attach->process = NULL;
	attach_close(attach, reason, true);
}

/* The application went by itself. Tells the broker. */
void attach_gone(struct attach *attach, const char *reason, bool delete_record)
{
	struct process *process;

	if (attach->process && attach->state == ATTACH_UP) {
		attach_read_last(attach);
		if (!attach->process)
			return; /* it has been dropped */
	}
	process = attach->process;
	if (process) {
		attach->process = NULL;
		broker_gone(process, reason);
	} else if (attach->found) {
		broker_record_lost(attach->table->broker);
	}
	attach_close(attach, reason, delete_record);
}

/*
 * The application was told to quiesce and has let go. If it died instead, that looks the same from
 * here. Its record stays until its agent, or the end of quiescing, removes it.
 */
void attach_park(struct attach *attach)
{
	struct attach_table *table = attach->table;
	struct process *process = attach->process;

	attach->process = NULL;
	attach->found = false; /* nobody waits for it any more */
	attach_strip(attach);
	attach_set_state(attach, ATTACH_PARKED);
	broker_parked(process);
	if (!broker_is_quiesced(table->broker, attach->id.domid))
		attach_close(attach, "", true);
}

void attach_unpark(struct attach_table *table, uint16_t domid)
{
	struct attach *attach, *next;

	HASH_ITER (hh, table->by_key, attach, next) {
		if (attach->state == ATTACH_PARKED && attach->id.domid == domid)
			attach_close(attach, "", true);
	}
}

static void log_deleted(
	const struct attach_table *table, uint16_t domid, const char *key, const char *reason)
{
	const struct broker_line line = {.id = MESSAGE_ID_RECORD_REFUSED};

	broker_log_line(table->broker, domid, LOG_WARNING, &line,
		"%s(%u): record %s is deleted: %s", broker_domain_name(table->broker, domid), domid,
		key, reason);
}

/* The record was not true, or cannot be served. */
static void attach_refuse(struct attach *attach, const char *reason)
{
	log_deleted(attach->table, attach->id.domid, attach->id.key, reason);
	attach_gone(attach, reason, true);
}

static struct doorbell_head page_head(const struct record *record)
{
	struct doorbell_head head = {.magic = CONTROL_PAGE_MAGIC,
		.version_min = record->version_min,
		.version_max = record->version_max,
		.port = record->port};

	memcpy(head.nonce, record->nonce, sizeof(head.nonce));
	return head;
}

/*
 * 0, or a sentence in ret_reason. Writes nothing anywhere. A reference that is mapped cannot be
 * used for another page: so what was verified stays true until the caller unmaps ret_map, after it
 * has mapped for writing.
 */
static int attach_verify(struct attach *attach, struct hv_map **ret_map, const char **ret_reason)
{
	struct hv *hv = attach->table->hv;
	struct doorbell_head head = page_head(&attach->record);
	void *pages;
	int r = hv->ops->grant_map(hv, attach->id.domid, attach->record.refs, CONTROL_PAGES, false,
		NULL, &pages, ret_map);

	*ret_reason = "its control pages cannot be mapped";
	if (r < 0)
		return r;
	*ret_reason = "its control page says otherwise";
	if (doorbell_head_is(pages, &head)) {
		*ret_reason = "it names pages that are not of its rings";
		if (control_rings_are_proven((const uint8_t *)pages + HV_PAGE_SIZE, &head))
			return 0;
	}
	hv->ops->grant_unmap(hv, *ret_map);
	return -EPROTO;
}

/* The port is bound, the pages are verified. */
static int attach_map(struct attach *attach, struct doorbell_page **ret_page, void **ret_rings,
	const char **ret_reason)
{
	struct hv *hv = attach->table->hv;
	struct hv_unmap_notify notify = {.offset = DOORBELL_ALIVE_OFFSET(1), .port = attach->port};
	void *page, *rings;
	int r;

	*ret_reason = "its control pages cannot be mapped";
	r = hv->ops->grant_map(hv, attach->id.domid, attach->record.refs + 1, CONTROL_PAGES - 1,
		true, NULL, &rings, &attach->rings_map);
	if (r < 0)
		return r;
	r = hv->ops->grant_map(hv, attach->id.domid, attach->record.refs, 1, true, &notify, &page,
		&attach->page_map);
	if (r < 0)
		return r;
	*ret_page = page;
	*ret_rings = rings;
	return 0;
}

static int attach_go_up(struct attach *attach, const char **ret_reason)
{
	struct attach_table *table = attach->table;
	struct doorbell_page *page;
	const struct broker_line line = {.id = MESSAGE_ID_ATTACHED};
	uint32_t epoch;
	void *rings;
	int r = attach_map(attach, &page, &rings, ret_reason);

	if (r < 0)
		return r;
	if (!atomic_load_explicit(&page->end[0].alive, memory_order_acquire)) {
		*ret_reason = "its application is gone";
		return -ECONNRESET;
	}
	r = control_ring_adopt(&attach->ring, page, CONTROL_RING_MSGD, rings, ret_reason);
	if (r < 0)
		return r;
	epoch = atomic_load_explicit(&page->epoch, memory_order_relaxed) + 1;
	if (epoch == 0)
		epoch = 1;
	r = broker_attach(
		table->broker, attach->id.domid, epoch, attach, attach->found, &attach->process);
	*ret_reason = r == -ESRCH ? "there is no such domain" : "msgd is out of memory";
	if (r < 0)
		return r;
	attach_set_state(attach, ATTACH_UP);
	attach->page = page;
	attach->epoch = epoch;
	atomic_store_explicit(&page->end[1].alive, 1, memory_order_release);
	atomic_store_explicit(&page->epoch, epoch, memory_order_release);
	/* Events sent before a rebind are lost, so both sides look at their rings. */
	(void)table->hv->ops->evtchn_send(table->hv, attach->port);
	broker_log_line(table->broker, attach->id.domid, LOG_INFO, &line,
		"%s(%u): application attached (record %s, epoch %u)",
		broker_domain_name(table->broker, attach->id.domid), attach->id.domid,
		attach->id.key, epoch);
	attach_make_ready(attach);
	return 0;
}

static void attach_retry_later(struct attach *attach)
{
	struct timeval delay = {.tv_usec = attach->delay_ms * 1000};

	attach->delay_ms *= 2;
	if (attach->delay_ms > BIND_DELAY_MAX_MS)
		attach->delay_ms = BIND_DELAY_MAX_MS;
	if (evtimer_add(attach->retry, &delay) < 0)
		attach_refuse(attach, "msgd is out of memory");
}

/* Shortages that pass: others hold the ports, mappings or memory now. */
static bool is_shortage(int error)
{
	return error == -ENOSPC || error == -ENOMEM;
}

/*
 * Tries again for as long as the record is there. Its application has its own time limit, and an
 * application that was attached to an earlier msgd would have no other way back.
 */
static void attach_wait_for_room(struct attach *attach, const char *reason)
{
	if (attach->delay_ms == BIND_DELAY_FIRST_MS)
		broker_log_about(attach->table->broker, attach->id.domid, LOG_WARNING,
			"%s(%u): record %s waits: %s",
			broker_domain_name(attach->table->broker, attach->id.domid),
			attach->id.domid, attach->id.key, reason);
	attach_release(attach);
	attach_retry_later(attach);
}

/* The port is bound, or -EINVAL: perhaps its last holder is still dying. */
static int attach_bind(struct attach *attach, const char **ret_reason)
{
	struct attach_table *table = attach->table;
	struct hv *hv = table->hv;
	uint32_t port;
	int r = hv->ops->evtchn_bind_interdomain(hv, attach->id.domid, attach->record.port, &port);

	if (r < 0) {
		*ret_reason = r == -EINVAL   ? "its port is not for us to bind"
			      : r == -ENOSPC ? "msgd is out of event channels"
					     : "its port cannot be bound";
		return r;
	}
	attach->port = port;
	attach->masked = false;
	HASH_ADD(hh_port, table->by_port, port, sizeof(attach->port), attach);
	if (hash_added(&attach->hh_port)) {
		attach->domain->n_bound++;
		return 0;
	}
	(void)hv->ops->evtchn_close(hv, port);
	attach->port = 0;
	*ret_reason = "msgd is out of memory";
	return -ENOMEM;
}

/* Each try verifies first: during the wait the pages may have become another process's. */
void attach_try(struct attach *attach)
{
	struct hv *hv = attach->table->hv;
	const char *reason;
	struct hv_map *map = NULL;
	bool busy = false, unlisted;
	int r;

	attach_set_waits(
		attach, attach->domain->n_bound >= bound_max(attach->table, attach->id.domid));
	if (attach->waits) {
		attach_wait_for_room(attach, "its domain has twice [limits] processes");
		return;
	}
	broker_spend(attach->table->broker, COST_ATTACH_BIND);
	r = attach_verify(attach, &map, &reason);
	if (r == 0) {
		r = attach_bind(attach, &reason);
		busy = r == -EINVAL && hv->ops->now_ns(hv) < attach->until_ns;
		if (r == 0)
			r = attach_go_up(attach, &reason);
		hv->ops->grant_unmap(hv, map);
	}
	/* The domain may be missing where msgd had no memory for the list of domains. */
	unlisted = r == -ESRCH && hv->ops->now_ns(hv) < attach->until_ns;
	if (busy)
		attach_retry_later(attach);
	else if (is_shortage(r) || unlisted)
		attach_wait_for_room(attach, reason);
	else if (r < 0)
		attach_refuse(attach, reason);
}

/* attach_run does the work, in the next turn. */
static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct attach *attach = arg;

	attach_make_ready(attach);
	event_active(attach->table->turn_event, EV_TIMEOUT, 1);
}

/* Into the table; its bytes are those of the record. NULL: out of memory. */
static struct attach *attach_add(struct attach_table *table, const struct hv_record *record,
	const struct record *decoded, enum attach_state state)
{
	struct attach *attach = calloc(1, sizeof(*attach));

	if (!attach)
		return NULL;
	attach->table = table;
	attach->state = state;
	attach->domain = attach_domain_enter(table, record->domid);
	if (!attach->domain) {
		free(attach);
		return NULL;
	}
	attach->id.domid = record->domid;
	(void)snprintf(attach->id.key, sizeof(attach->id.key), "%s", record->key);
	attach->record = *decoded;
	attach->len = record->len;
	memcpy(attach->bytes, record->value, record->len); /* decoded, so it fits */
	HASH_ADD(hh, table->by_key, id, sizeof(attach->id), attach);
	if (hash_added(&attach->hh))
		return attach;
	attach_domain_leave(table, attach->domain);
	free(attach);
	return NULL;
}

/* Makes an attach of the record; or deletes the record, with the reason in the log. */
static void attach_new(struct attach_table *table, const struct hv_record *record, bool found)
{
	struct record decoded;
	/* Of an application that quiesced earlier, or let go after its domain was resumed. */
	bool parked = record_parked_decode(record->value, record->len, &decoded) == 0;
	int r = parked ? 0 : record_decode(record->value, record->len, &decoded);
	struct attach *attach = NULL;
	const char *refusal = "msgd is out of memory";

	if (r < 0)
		refusal = r == -EBADMSG ? "it is malformed" : "it is of another version";
	else if (attach_too_many(table, record->domid))
		refusal = "its domain has too many records";
	else if (parked && !broker_is_quiesced(table->broker, record->domid))
		refusal = "its domain is not quiesced";
	else
		attach = attach_add(
			table, record, &decoded, parked ? ATTACH_PARKED : ATTACH_BINDING);
	if (!attach) {
		log_deleted(table, record->domid, record->key, refusal);
		record_delete(table, record->domid, record->key);
		if (found && !parked)
			broker_record_lost(table->broker);
		return;
	}
	if (parked)
		return;
	attach->found = found;
	attach->delay_ms = BIND_DELAY_FIRST_MS;
	attach->until_ns = table->hv->ops->now_ns(table->hv) + BIND_LIMIT_NS;
	attach->retry = evtimer_new(table->base, on_retry, attach);
	if (attach->retry)
		attach_try(attach);
	else
		attach_refuse(attach, "msgd is out of memory");
}

/* True: the change is handled. */
static bool attach_record_parked(struct attach *attach, const struct hv_record *record)
{
	struct record parked;

	if (record_parked_decode(record->value, record->len, &parked) < 0 ||
		memcmp(parked.nonce, attach->record.nonce, NONCE_SIZE) != 0)
		return false;
	if (attach->state == ATTACH_UP && !broker_is_quiescing(attach->process))
		return false;
	if (attach->state != ATTACH_UP && attach->state != ATTACH_PARKED)
		return false;
	attach->len = record->len;
	memcpy(attach->bytes, record->value, record->len);
	if (attach->state == ATTACH_UP)
		attach_park(attach);
	return true;
}

/* libxl removes a domain's part of the store first: the end of the domain may not be known yet. */
static const char *record_lost(const struct attach *attach, const struct hv_record *record)
{
	const char *ending = attach->process ? process_ending(attach->process) : NULL;

	if (record->len)
		return "its record was replaced";
	if (attach->page &&
		!atomic_load_explicit(&attach->page->end[0].alive, memory_order_acquire))
		return "its process ended, or detached";
	return ending ? ending : "its record is gone, as when its domain is destroyed";
}

void attach_record(struct attach_table *table, const struct hv_record *record, bool found)
{
	struct attach *attach = attach_find(table, record->domid, record->key);

	if (attach) {
		if (record->len == attach->len &&
			memcmp(record->value, attach->bytes, record->len) == 0)
			return;
		if (attach_record_parked(attach, record))
			return;
		attach_gone(attach, record_lost(attach, record), false);
	}
	if (record->len)
		attach_new(table, record, found);
}

bool attach_lost(const struct attach_table *table)
{
	return table->lost;
}

int attach_table_new(struct event_base *base, struct hv *hv, struct broker *broker,
	struct event *turn_event, struct attach_table **ret_table)
{
	struct attach_table *table = calloc(1, sizeof(*table));

	if (!table)
		return -ENOMEM;
	table->base = base;
	table->hv = hv;
	table->broker = broker;
	table->turn_event = turn_event;
	TAILQ_INIT(&table->queue);
	TAILQ_INIT(&table->longest);
	TAILQ_INIT(&table->dirty);
	TAILQ_INIT(&table->dead);
	*ret_table = table;
	return 0;
}

void attach_table_free(struct attach_table *table)
{
	struct attach_domain *domain, *next_domain;
	struct attach *attach, *next;

	if (!table)
		return;
	HASH_ITER (hh, table->by_key, attach, next) {
		event_drop(attach->retry);
		HASH_DELETE(hh, table->by_key, attach);
		if (attach->port)
			HASH_DELETE(hh_port, table->by_port, attach);
		attach_domain_leave(table, attach->domain);
		free(attach);
	}
	attach_free_dead(table);
	HASH_ITER (hh, table->domains, domain, next_domain)
		attach_domain_free(table, domain);
	free(table);
}
