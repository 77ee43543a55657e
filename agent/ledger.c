/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See ledger.h. There are four times as many records as places at most, so lists are searched.
 *
 * A parcel belongs to the holder that asked for it, and then to the record that names it. While it
 * does, its port stays open (hv.h, parcel_make), so that msgd binds no other port of that number.
 */
#include "agent/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/cleanup.h"
#include "proto/record.h"

_Static_assert(CONTROL_PAGES == HV_PARCEL_PAGES, "a parcel is what a record names");

struct ledger_record {
	LIST_ENTRY(ledger_record) entry; /* ledger->records */
	struct holder *holder;		 /* borrowed */
	char key[HV_STORE_KEY_MAX];
	struct hv_parcel parcel; /* that the record names; or none: it is parked */
};

struct holder {
	LIST_ENTRY(holder) entry; /* ledger->holders */
	struct ledger *ledger;	  /* borrowed */
	uid_t uid;
	void *client;		 /* borrowed */
	struct hv_parcel parcel; /* that no record names yet; or none */
};

struct ledger {
	const struct ledger_store *store;   /* borrowed */
	void *arg;			    /* borrowed */
	unsigned places;		    /* at msgd, of this domain */
	LIST_HEAD(, holder) holders;	    /* owned */
	LIST_HEAD(, ledger_record) records; /* owned */
};

int ledger_new(const struct ledger_store *store, void *arg, struct ledger **ret_ledger)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));

	if (!ledger)
		return -ENOMEM;
	ledger->store = store;
	ledger->arg = arg;
	ledger->places = LEDGER_PLACES;
	LIST_INIT(&ledger->holders);
	LIST_INIT(&ledger->records);
	*ret_ledger = ledger;
	return 0;
}

void ledger_set_places(struct ledger *ledger, unsigned places)
{
	ledger->places = places;
}

/* ---- parcels ----------------------------------------------------------------------------- */

static const struct hv_parcel no_parcel = {.fds = {-1, -1}};

static void parcel_let_go(struct ledger *ledger, struct hv_parcel *parcel)
{
	if (parcel->port)
		ledger->store->drop(ledger->arg, parcel);
	*parcel = no_parcel;
}

static void parcel_forget(struct hv_parcel *parcel, uint32_t port)
{
	if (parcel->port == port)
		*parcel = no_parcel;
}

/*
 * Where the number of a port is used again although a parcel has it, that parcel is its adopter's
 * alone, and was given back: there is nothing to drop.
 */
static void ledger_forget_port(struct ledger *ledger, uint32_t port)
{
	struct ledger_record *record;
	struct holder *holder;

	LIST_FOREACH (record, &ledger->records, entry)
		parcel_forget(&record->parcel, port);
	LIST_FOREACH (holder, &ledger->holders, entry)
		parcel_forget(&holder->parcel, port);
}

static bool parcel_is_named(const struct hv_parcel *parcel, const struct record *record)
{
	return parcel->port && parcel->port == record->port &&
	       memcmp(parcel->refs, record->refs, sizeof(parcel->refs)) == 0;
}

/* ---- life -------------------------------------------------------------------------------- */

static void ledger_record_free(struct ledger *ledger, struct ledger_record *record)
{
	parcel_let_go(ledger, &record->parcel);
	LIST_REMOVE(record, entry);
	free(record);
}

static void holder_free(struct holder *holder)
{
	parcel_let_go(holder->ledger, &holder->parcel);
	LIST_REMOVE(holder, entry);
	free(holder);
}

void ledger_free(struct ledger *ledger)
{
	struct ledger_record *record;
	struct holder *holder;

	if (!ledger)
		return;
	while ((record = LIST_FIRST(&ledger->records)))
		ledger_record_free(ledger, record);
	while ((holder = LIST_FIRST(&ledger->holders)))
		holder_free(holder);
	free(ledger);
}

unsigned ledger_holders(const struct ledger *ledger)
{
	const struct holder *holder;
	unsigned n = 0;

	LIST_FOREACH (holder, &ledger->holders, entry)
		n++;
	return n;
}

int ledger_admit(struct ledger *ledger, uid_t uid, void *client, struct holder **ret_holder)
{
	struct holder *holder;
	unsigned n = 0, n_uid = 0;

	LIST_FOREACH (holder, &ledger->holders, entry) {
		n++;
		n_uid += holder->uid == uid;
	}
	if (n >= LEDGER_TOTAL(ledger->places) || n_uid >= ledger->places)
		return -EUSERS;
	holder = calloc(1, sizeof(*holder));
	if (!holder)
		return -ENOMEM;
	holder->ledger = ledger;
	holder->uid = uid;
	holder->client = client;
	holder->parcel = no_parcel;
	LIST_INSERT_HEAD(&ledger->holders, holder, entry);
	*ret_holder = holder;
	return 0;
}

void ledger_leave(struct holder *holder)
{
	struct ledger *ledger = holder->ledger;
	struct ledger_record *record, *next;

	for (record = LIST_FIRST(&ledger->records); record; record = next) {
		next = LIST_NEXT(record, entry);
		if (record->holder != holder)
			continue;
		/*
		 * msgd deletes a record that cannot be removed now: it sees that the application is
		 * gone.
		 */
		(void)ledger->store->remove(ledger->arg, record->key);
		ledger_record_free(ledger, record);
	}
	holder_free(holder);
}

static struct ledger_record *ledger_record_find(struct ledger *ledger, const char *key)
{
	struct ledger_record *record;

	LIST_FOREACH (record, &ledger->records, entry) {
		if (strcmp(record->key, key) == 0)
			return record;
	}
	return NULL;
}

/* NULs up to the end. */
static bool key_is_valid(const char key[HV_STORE_KEY_MAX])
{
	if (!hv_store_key_is_valid(key))
		return false;
	for (size_t i = strlen(key); i < HV_STORE_KEY_MAX; i++) {
		if (key[i])
			return false;
	}
	return true;
}

static int quota_check(const struct holder *holder)
{
	const struct ledger_record *record;
	unsigned n = 0, n_holder = 0, n_uid = 0;

	LIST_FOREACH (record, &holder->ledger->records, entry) {
		n++;
		n_holder += record->holder == holder;
		n_uid += record->holder->uid == holder->uid;
	}
	return n >= LEDGER_TOTAL(holder->ledger->places) || n_holder >= LEDGER_RECORDS_PER_HOLDER ||
			       n_uid >= LEDGER_SHARE(holder->ledger->places)
		       ? -EDQUOT
		       : 0;
}

/* The holder's parcel that the value names; none with a parked record. -EPERM: another one. */
static int parcel_of_value(struct holder *holder, struct ledger_record *record, const void *value,
	size_t len, struct hv_parcel **ret_parcel)
{
	struct record decoded;
	int r;

	*ret_parcel = NULL;
	if (record_parked_decode(value, len, &decoded) == 0)
		return 0;
	r = record_decode(value, len, &decoded);
	if (r < 0)
		return r == -EBADMSG ? -EINVAL : r;
	if (parcel_is_named(&holder->parcel, &decoded))
		*ret_parcel = &holder->parcel;
	else if (record && parcel_is_named(&record->parcel, &decoded))
		*ret_parcel = &record->parcel;
	return *ret_parcel ? 0 : -EPERM;
}

/* The record's parcel is now this one, or none. */
static void record_take_parcel(
	struct ledger *ledger, struct ledger_record *record, struct hv_parcel *parcel)
{
	if (parcel == &record->parcel)
		return;
	parcel_let_go(ledger, &record->parcel);
	if (!parcel)
		return;
	record->parcel = *parcel;
	*parcel = no_parcel;
}

static int holder_publish(struct holder *holder, const char *key, const void *value, size_t len)
{
	struct ledger *ledger = holder->ledger;
	struct ledger_record *record = ledger_record_find(ledger, key);
	_cleanup_free_ struct ledger_record *fresh = NULL;
	struct hv_parcel *parcel = NULL;
	int r = 0;

	if (record && record->holder != holder)
		return -EEXIST;
	if (!record) {
		r = quota_check(holder);
		fresh = calloc(1, sizeof(*fresh));
		if (r == 0 && !fresh)
			r = -ENOMEM;
	}
	if (r == 0)
		r = parcel_of_value(holder, record, value, len, &parcel);
	if (r == 0)
		r = ledger->store->publish(ledger->arg, key, value, len);
	if (r < 0)
		return r;
	if (!record) {
		record = steal_ptr(fresh);
		record->holder = holder;
		strcpy(record->key, key); /* key_is_valid bounds it */
		LIST_INSERT_HEAD(&ledger->records, record, entry);
	}
	record_take_parcel(ledger, record, parcel);
	return 0;
}

/* As many as records, so that who is over a limit is told before anything is made. */
static int holder_make(struct holder *holder, struct agent_reply *reply, int ret_fds[HV_PARCEL_FDS])
{
	struct ledger *ledger = holder->ledger;
	struct hv_parcel parcel;
	int r = quota_check(holder);

	if (r < 0)
		return r;
	parcel_let_go(ledger, &holder->parcel);
	r = ledger->store->make(ledger->arg, &parcel);
	if (r < 0)
		return r;
	ledger_forget_port(ledger, parcel.port);
	reply->port = parcel.port;
	memcpy(reply->refs, parcel.refs, sizeof(reply->refs));
	memcpy(reply->where, parcel.where, sizeof(reply->where));
	for (unsigned i = 0; i < HV_PARCEL_FDS; i++)
		ret_fds[i] = steal_fd(&parcel.fds[i]);
	holder->parcel = parcel;
	return 0;
}

static int holder_remove(struct holder *holder, const char *key)
{
	struct ledger *ledger = holder->ledger;
	struct ledger_record *record = ledger_record_find(ledger, key);
	int r;

	if (!record || record->holder != holder)
		return -ENOENT;
	r = ledger->store->remove(ledger->arg, key);
	if (r < 0 && r != -ENOENT)
		return r; /* the holder keeps the record; ledger_leave removes it */
	ledger_record_free(ledger, record);
	return r;
}

static void reply_init(struct agent_reply *ret_reply, uint16_t op)
{
	*ret_reply = (struct agent_reply){.magic = AGENT_MAGIC, .version = AGENT_VERSION, .op = op};
}

static bool refuse(struct agent_reply *reply, int error)
{
	reply->op = 0;
	reply->error = (uint32_t)error;
	return false;
}

static int holder_act(struct holder *holder, const struct agent_request *request, const void *value,
	struct agent_reply *reply, int ret_fds[HV_PARCEL_FDS])
{
	struct ledger *ledger = holder->ledger;

	if (request->op == AGENT_DOMID) {
		reply->domid = ledger->store->domid(ledger->arg);
		return 0;
	}
	if (request->op == AGENT_PARCEL)
		return holder_make(holder, reply, ret_fds);
	if (!key_is_valid(request->key))
		return -EINVAL;
	if (request->op == AGENT_REMOVE)
		return holder_remove(holder, request->key);
	if (request->len == 0)
		return -EINVAL;
	return holder_publish(holder, request->key, value, request->len);
}

static bool op_is_request(uint16_t op)
{
	return op == AGENT_PUBLISH || op == AGENT_REMOVE || op == AGENT_DOMID || op == AGENT_PARCEL;
}

bool ledger_request(struct holder *holder, const void *packet, size_t len,
	struct agent_reply *ret_reply, int ret_fds[HV_PARCEL_FDS])
{
	struct agent_request request;
	int r;

	reply_init(ret_reply, 0);
	for (unsigned i = 0; i < HV_PARCEL_FDS; i++)
		ret_fds[i] = -1;
	if (len < sizeof(request))
		return refuse(ret_reply, EBADMSG);
	memcpy(&request, packet, sizeof(request));
	if (request.magic != AGENT_MAGIC)
		return refuse(ret_reply, EBADMSG);
	if (request.version != AGENT_VERSION)
		return refuse(ret_reply, EPROTONOSUPPORT);
	if (!op_is_request(request.op) || request.len != len - sizeof(request) ||
		request.len > HV_STORE_VALUE_MAX ||
		(request.op != AGENT_PUBLISH && request.len != 0))
		return refuse(ret_reply, EBADMSG);
	ret_reply->op = request.op;
	r = holder_act(
		holder, &request, (const uint8_t *)packet + sizeof(request), ret_reply, ret_fds);
	ret_reply->error = r < 0 ? (uint32_t)-r : 0;
	return true;
}

void *ledger_gone(struct ledger *ledger, const char *key, struct agent_reply *ret_reply)
{
	struct ledger_record *record = ledger_record_find(ledger, key);
	void *client;

	if (!record)
		return NULL;
	client = record->holder->client;
	reply_init(ret_reply, AGENT_GONE);
	strcpy(ret_reply->key, record->key);
	ledger_record_free(ledger, record);
	return client;
}
