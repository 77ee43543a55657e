/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a record in the store to an attached application (PROTOCOL.md 2), and back. The order
 * matters: grant references and ports of a dead application are used again at once, perhaps by a
 * disk's front end, so nothing is written, and no event sent, before the mapped page has shown the
 * record's nonce.
 */
#include "daemon/shell/attach.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/log.h"

/* A bind that is refused because the port's last holder is still dying: PROTOCOL.md 2. */
#define BIND_DELAY_FIRST_MS 5U
#define BIND_DELAY_MAX_MS   320U
#define BIND_LIMIT_NS	    UINT64_C(5000000000)

/* Messages of one application in one turn of the loop. */
#define MESSAGES_A_TURN 16

#define BIT(n) (1U << (n))

static void attach_set_state(struct attach *attach, enum attach_state state)
{
	static const unsigned moves[] = {
		[ATTACH_BINDING] = BIT(ATTACH_UP) | BIT(ATTACH_DEAD),
		[ATTACH_UP] = BIT(ATTACH_PARKED) | BIT(ATTACH_DEAD),
		[ATTACH_PARKED] = BIT(ATTACH_DEAD),
		[ATTACH_DEAD] = 0,
	};

	assert(moves[attach->state] & BIT(state));
	attach->state = state;
}

static struct attach *attach_find(struct server *server, uint16_t domid, const char *key)
{
	struct attach *attach;
	struct attach_key id;

	memset(&id, 0, sizeof(id));
	id.domid = domid;
	(void)snprintf(id.key, sizeof(id.key), "%s", key);
	HASH_FIND(hh, server->by_key, &id, sizeof(id), attach);
	return attach;
}

void attach_make_ready(struct attach *attach)
{
	if (attach->ready || attach->state != ATTACH_UP)
		return;
	attach->ready = true;
	TAILQ_INSERT_TAIL(&attach->server->ready, attach, entry);
}

void attach_make_dirty(struct attach *attach)
{
	if (attach->dirty || attach->state != ATTACH_UP)
		return;
	attach->dirty = true;
	TAILQ_INSERT_TAIL(&attach->server->dirty, attach, dirty_entry);
}

/* Unmaps before it closes the port: the application's event must find it (hv.h). */
static void attach_release(struct attach *attach)
{
	struct hv *hv = attach->server->hv;

	if (attach->rings_map)
		hv->ops->grant_unmap(hv, attach->rings_map);
	if (attach->page_map)
		hv->ops->grant_unmap(hv, attach->page_map);
	attach->rings_map = attach->page_map = NULL;
	if (attach->port) {
		HASH_DELETE(hh_port, attach->server->by_port, attach);
		(void)hv->ops->evtchn_close(hv, attach->port);
		attach->port = 0;
	}
}

static void record_delete(struct server *server, uint16_t domid, const char *key)
{
	int r = server->hv->ops->store_remove(server->hv, domid, key);

	char what[80];

	if (r >= 0 || r == -ENOENT)
		return;
	(void)snprintf(what, sizeof(what), "deleting record %s of domain %u", key, domid);
	server_error(server, what, r);
}

/* Lets go of all but the record. */
static void attach_strip(struct attach *attach)
{
	struct server *server = attach->server;

	if (attach->state == ATTACH_UP)
		server->n_attached--;
	if (attach->ready)
		TAILQ_REMOVE(&server->ready, attach, entry);
	if (attach->dirty)
		TAILQ_REMOVE(&server->dirty, attach, dirty_entry);
	attach->ready = attach->dirty = false;
	if (attach->retry)
		event_free(attach->retry);
	attach->retry = NULL;
	control_ring_clear(&attach->ring);
	attach_release(attach);
}

void attach_close(struct attach *attach, bool delete_record)
{
	struct server *server = attach->server;

	attach_strip(attach);
	attach_set_state(attach, ATTACH_DEAD);
	HASH_DELETE(hh, server->by_key, attach);
	if (delete_record)
		record_delete(server, attach->id.domid, attach->id.key);
	TAILQ_INSERT_TAIL(&server->dead, attach, entry);
}

void attach_free(struct attach *attach)
{
	free(attach);
}

void attach_reap(struct server *server)
{
	struct attach *attach;

	while ((attach = TAILQ_FIRST(&server->dead))) {
		TAILQ_REMOVE(&server->dead, attach, entry);
		attach_free(attach);
	}
}

void attach_dropped(struct attach *attach, const char *reason)
{
	attach->process = NULL;
	attach_close(attach, true);
}

/* The application went by itself: the broker is told. */
static void attach_gone(struct attach *attach, const char *reason, bool delete_record)
{
	struct process *process = attach->process;

	if (process) {
		char text[PROCESS_TEXT_SIZE];

		process_describe(process, text, sizeof(text));
		broker_log_about(attach->server->broker, attach->id.domid, LOG_INFO,
			"%s is gone: %s", text, reason);
		attach->process = NULL;
		broker_gone(process, reason);
	} else if (attach->found) {
		broker_record_lost(attach->server->broker);
	}
	attach_close(attach, delete_record);
}

/*
 * It was told to quiesce and has let go; or it died, which looks the same from here: its record
 * stays until its agent, or the end of quiescing, removes it.
 */
static void attach_park(struct attach *attach)
{
	struct server *server = attach->server;
	struct process *process = attach->process;

	attach->process = NULL;
	attach->found = false; /* nobody waits for it any more */
	attach_strip(attach);
	attach_set_state(attach, ATTACH_PARKED);
	broker_parked(process);
	if (!broker_is_quiesced(server->broker, attach->id.domid))
		attach_close(attach, true);
}

void attach_unpark(struct server *server, uint16_t domid)
{
	struct attach *attach, *next;

	HASH_ITER (hh, server->by_key, attach, next) {
		if (attach->state == ATTACH_PARKED && attach->id.domid == domid)
			attach_close(attach, true);
	}
}

static void log_deleted(
	const struct server *server, uint16_t domid, const char *key, const char *reason)
{
	broker_log_about(server->broker, domid, LOG_WARNING,
		"record %s of domain %u is deleted: %s", key, domid, reason);
}

/* The record was not true, or cannot be served. */
static void attach_refuse(struct attach *attach, const char *reason)
{
	log_deleted(attach->server, attach->id.domid, attach->id.key, reason);
	attach_gone(attach, reason, true);
}

static bool page_matches(const struct doorbell_page *page, const struct record *record)
{
	struct doorbell_head want = {.magic = CONTROL_PAGE_MAGIC,
		.version_min = record->version_min,
		.version_max = record->version_max,
		.port = record->port};

	memcpy(want.nonce, record->nonce, sizeof(want.nonce));
	return doorbell_head_is(page, &want);
}

/* 0, or a sentence in ret_reason. Writes nothing anywhere. */
static int attach_verify(struct attach *attach, const char **ret_reason)
{
	struct hv *hv = attach->server->hv;
	struct hv_map *map;
	void *page;
	bool matches;
	int r = hv->ops->grant_map(
		hv, attach->id.domid, attach->record.refs, 1, false, NULL, &page, &map);

	if (r < 0) {
		*ret_reason = "its control page cannot be mapped";
		return r;
	}
	matches = page_matches(page, &attach->record);
	hv->ops->grant_unmap(hv, map);
	if (!matches) {
		*ret_reason = "its control page says otherwise";
		return -EPROTO;
	}
	return 0;
}

/* The port is bound. Maps for writing; the page must still be the one that was looked at. */
static int attach_map(struct attach *attach, struct doorbell_page **ret_page, void **ret_rings,
	const char **ret_reason)
{
	struct hv *hv = attach->server->hv;
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
	if (!page_matches(page, &attach->record)) {
		*ret_reason = "its control page has changed";
		return -EPROTO;
	}
	*ret_page = page;
	*ret_rings = rings;
	return 0;
}

static int attach_introduce(struct attach *attach, uint32_t epoch, const char **ret_reason)
{
	struct server *server = attach->server;
	int r = broker_attach(
		server->broker, attach->id.domid, epoch, attach, attach->found, &attach->process);

	if (r == -ESRCH) {
		/* The store may speak of a domain before the list of domains was read again. */
		(void)server_list_domains(server);
		r = broker_attach(server->broker, attach->id.domid, epoch, attach, attach->found,
			&attach->process);
	}
	*ret_reason = r == -ESRCH ? "there is no such domain" : "msgd is out of memory";
	return r;
}

static int attach_go_up(struct attach *attach, const char **ret_reason)
{
	struct server *server = attach->server;
	struct doorbell_page *page;
	uint32_t epoch;
	void *rings;
	int r = attach_map(attach, &page, &rings, ret_reason);

	if (r < 0)
		return r;
	if (!atomic_load_explicit(&page->end[0].alive, memory_order_acquire)) {
		*ret_reason = "its application is gone";
		return -ECONNRESET;
	}
	r = control_ring_adopt(&attach->ring, page, CONTROL_RING_MSGD,
		(uint8_t *)rings + CONTROL_RING_LEN, rings, ret_reason);
	if (r < 0)
		return r;
	epoch = atomic_load_explicit(&page->epoch, memory_order_relaxed) + 1;
	if (epoch == 0)
		epoch = 1;
	r = attach_introduce(attach, epoch, ret_reason);
	if (r < 0)
		return r;
	attach_set_state(attach, ATTACH_UP);
	server->n_attached++;
	atomic_store_explicit(&page->end[1].alive, 1, memory_order_release);
	atomic_store_explicit(&page->epoch, epoch, memory_order_release);
	/* After a rebind events sent meanwhile are lost: both sides look at their rings. */
	(void)server->hv->ops->evtchn_send(server->hv, attach->port);
	broker_log_about(server->broker, attach->id.domid, LOG_INFO,
		"domain %u: application attached (record %s, epoch %u)", attach->id.domid,
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

/* What passes: ports, mappings or memory that others hold now. */
static bool is_shortage(int error)
{
	return error == -ENOSPC || error == -ENOMEM;
}

/*
 * For as long as the record is there: whoever published it knows how long it wants to wait, and
 * one that was attached to an earlier msgd would have no other way back.
 */
static void attach_wait_for_room(struct attach *attach, const char *reason)
{
	if (attach->delay_ms == BIND_DELAY_FIRST_MS)
		broker_log_about(attach->server->broker, attach->id.domid, LOG_WARNING,
			"record %s of domain %u waits: %s", attach->id.key, attach->id.domid,
			reason);
	control_ring_clear(&attach->ring);
	attach_release(attach);
	attach_retry_later(attach);
}

/* The port is bound, or -EINVAL: perhaps its last holder is still dying. */
static int attach_bind(struct attach *attach, const char **ret_reason)
{
	struct server *server = attach->server;
	struct hv *hv = server->hv;
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
	HASH_ADD(hh_port, server->by_port, port, sizeof(attach->port), attach);
	return 0;
}

/* Each try verifies first: during the wait the pages may have become somebody else's. */
static void attach_try(struct attach *attach)
{
	struct hv *hv = attach->server->hv;
	const char *reason;
	int r = attach_verify(attach, &reason);

	if (r == 0) {
		r = attach_bind(attach, &reason);
		if (r == -EINVAL && hv->ops->now_ns(hv) < attach->until_ns) {
			attach_retry_later(attach);
			return;
		}
	}
	if (r == 0)
		r = attach_go_up(attach, &reason);
	if (is_shortage(r))
		attach_wait_for_room(attach, reason);
	else if (r < 0)
		attach_refuse(attach, reason);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct attach *attach = arg;
	struct server *server = attach->server;

	broker_set_now(server->broker, server->hv->ops->now_ns(server->hv));
	attach_try(attach);
	server_finish(server);
}

static unsigned attach_count(const struct server *server, uint16_t domid)
{
	const struct attach *attach;
	unsigned n = 0;

	for (attach = server->by_key; attach; attach = attach->hh.next)
		n += attach->id.domid == domid;
	return n;
}

bool attach_is_parked_record(const struct hv_record *record)
{
	struct record parked;

	return record_parked_decode(record->value, record->len, &parked) == 0;
}

static const char *refusal_text(int error)
{
	switch (error) {
	case -EBADMSG:
		return "it is malformed";
	case -EPROTONOSUPPORT:
		return "it is of another version";
	case -EDQUOT:
		return "its domain has too many records";
	case -EALREADY:
		return "its domain is not quiesced";
	default:
		return "msgd is out of memory";
	}
}

/* A record that cannot be looked at any further. */
static void record_refuse(
	struct server *server, const struct hv_record *record, bool found, int error)
{
	log_deleted(server, record->domid, record->key, refusal_text(error));
	record_delete(server, record->domid, record->key);
	if (found)
		broker_record_lost(server->broker);
}

/* Into the table; its bytes are those of the record. */
static struct attach *attach_add(
	struct server *server, const struct hv_record *record, const struct record *decoded)
{
	struct attach *attach = calloc(1, sizeof(*attach));

	if (!attach)
		return NULL;
	attach->server = server;
	attach->id.domid = record->domid;
	(void)snprintf(attach->id.key, sizeof(attach->id.key), "%s", record->key);
	attach->record = *decoded;
	attach->len = record->len;
	memcpy(attach->bytes, record->value, record->len); /* decoded, so it fits */
	HASH_ADD(hh, server->by_key, id, sizeof(attach->id), attach);
	return attach;
}

/* Twice the default quota: those that are still dying, or told at HELLO that they are too many,
 * count too. */
static bool attach_too_many(const struct server *server, uint16_t domid)
{
	return attach_count(server, domid) >= 2 * DOMAIN_PROCESSES_MAX;
}

/* A quiesced application's, of an earlier msgd; or it let go after its domain had been resumed. */
static void attach_new_parked(
	struct server *server, const struct hv_record *record, const struct record *decoded)
{
	struct attach *attach = NULL;
	int r = attach_too_many(server, record->domid)		    ? -EDQUOT
		: broker_is_quiesced(server->broker, record->domid) ? 0
								    : -EALREADY;

	if (r == 0) {
		attach = attach_add(server, record, decoded);
		r = attach ? 0 : -ENOMEM;
	}
	if (r < 0)
		record_refuse(server, record, false, r);
	else
		attach->state = ATTACH_PARKED;
}

static void attach_new(struct server *server, const struct hv_record *record, bool found)
{
	struct attach *attach = NULL;
	struct record decoded;
	int r;

	if (record_parked_decode(record->value, record->len, &decoded) == 0) {
		attach_new_parked(server, record, &decoded);
		return;
	}
	r = record_decode(record->value, record->len, &decoded);
	if (r == 0 && attach_too_many(server, record->domid))
		r = -EDQUOT;
	if (r == 0) {
		attach = attach_add(server, record, &decoded);
		r = attach ? 0 : -ENOMEM;
	}
	if (r < 0) {
		record_refuse(server, record, found, r);
		return;
	}
	attach->state = ATTACH_BINDING;
	attach->found = found;
	attach->delay_ms = BIND_DELAY_FIRST_MS;
	attach->until_ns = server->hv->ops->now_ns(server->hv) + BIND_LIMIT_NS;
	attach->retry = evtimer_new(server->base, on_retry, attach);
	if (attach->retry)
		attach_try(attach);
	else
		attach_refuse(attach, "msgd is out of memory");
}

/* True: it was dealt with. */
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

void attach_record(struct server *server, const struct hv_record *record, bool found)
{
	struct attach *attach = attach_find(server, record->domid, record->key);

	if (attach) {
		if (record->len == attach->len &&
			memcmp(record->value, attach->bytes, record->len) == 0)
			return;
		if (attach_record_parked(attach, record))
			return;
		/* libxl removes a domain's part of the store first, then the domain. */
		attach_gone(attach,
			record->len ? "its record was replaced"
				    : "its record is gone, as when its domain is destroyed",
			false);
	}
	if (record->len)
		attach_new(server, record, found);
}

/* True: there may be more. */
static bool attach_read(struct attach *attach)
{
	struct control_message message;
	const char *reason;
	int decoded, r;

	for (int i = 0; i < MESSAGES_A_TURN; i++) {
		/* Who does not read its answers asks no more questions. */
		if (attach->ring.outbox_bytes > CONTROL_READ_STOP)
			return false;
		memset(&message, 0, sizeof(message));
		r = control_ring_receive(&attach->ring, &message, &decoded, &reason);
		if (r == 0)
			return control_ring_sleep(&attach->ring);
		if (r < 0) {
			broker_violation(attach->process, reason);
			return false;
		}
		attach_make_dirty(attach);
		if (broker_message(attach->process, &message, decoded) < 0)
			return false;
	}
	return true;
}

bool attach_run(struct attach *attach)
{
	if (!atomic_load_explicit(&attach->ring.them->alive, memory_order_acquire)) {
		if (broker_is_quiescing(attach->process))
			attach_park(attach);
		else
			attach_gone(attach, "its process ended", true);
		return false;
	}
	if (attach->ring.broken) {
		broker_violation(attach->process, attach->ring.broken);
		return false;
	}
	control_ring_flush(&attach->ring);
	attach_make_dirty(attach);
	return attach_read(attach);
}
