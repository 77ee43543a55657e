/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See ledger.h. There are four times as many records as places at most, so lists are searched. */
#include "agent/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/cleanup.h"

struct ledger_record {
	LIST_ENTRY(ledger_record) entry; /* ledger->records */
	struct holder *holder;		 /* borrowed */
	char key[HV_STORE_KEY_MAX];
};

struct holder {
	LIST_ENTRY(holder) entry; /* ledger->holders */
	struct ledger *ledger;	  /* borrowed */
	uid_t uid;
	void *client; /* borrowed */
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

static void ledger_record_free(struct ledger_record *record)
{
	LIST_REMOVE(record, entry);
	free(record);
}

void ledger_free(struct ledger *ledger)
{
	struct ledger_record *record;
	struct holder *holder;

	if (!ledger)
		return;
	while ((record = LIST_FIRST(&ledger->records)))
		ledger_record_free(record);
	while ((holder = LIST_FIRST(&ledger->holders))) {
		LIST_REMOVE(holder, entry);
		free(holder);
	}
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
		ledger_record_free(record);
	}
	LIST_REMOVE(holder, entry);
	free(holder);
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

static int holder_publish(struct holder *holder, const char *key, const void *value, size_t len)
{
	struct ledger *ledger = holder->ledger;
	struct ledger_record *record = ledger_record_find(ledger, key);
	_cleanup_free_ struct ledger_record *fresh = NULL;
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
		r = ledger->store->publish(ledger->arg, key, value, len);
	if (r < 0 || record)
		return r;
	fresh->holder = holder;
	strcpy(fresh->key, key); /* key_is_valid bounds it */
	LIST_INSERT_HEAD(&ledger->records, fresh, entry);
	(void)steal_ptr(fresh);
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
	ledger_record_free(record);
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
	struct agent_reply *reply)
{
	struct ledger *ledger = holder->ledger;

	if (request->op == AGENT_DOMID) {
		reply->domid = ledger->store->domid(ledger->arg);
		return 0;
	}
	if (!key_is_valid(request->key))
		return -EINVAL;
	if (request->op == AGENT_REMOVE)
		return holder_remove(holder, request->key);
	if (request->len == 0)
		return -EINVAL;
	return holder_publish(holder, request->key, value, request->len);
}

bool ledger_request(
	struct holder *holder, const void *packet, size_t len, struct agent_reply *ret_reply)
{
	struct agent_request request;
	int r;

	reply_init(ret_reply, 0);
	if (len < sizeof(request))
		return refuse(ret_reply, EBADMSG);
	memcpy(&request, packet, sizeof(request));
	if (request.magic != AGENT_MAGIC)
		return refuse(ret_reply, EBADMSG);
	if (request.version != AGENT_VERSION)
		return refuse(ret_reply, EPROTONOSUPPORT);
	if (request.op < AGENT_PUBLISH || request.op > AGENT_DOMID ||
		request.len != len - sizeof(request) || request.len > HV_STORE_VALUE_MAX ||
		(request.op != AGENT_PUBLISH && request.len != 0))
		return refuse(ret_reply, EBADMSG);
	ret_reply->op = request.op;
	r = holder_act(holder, &request, (const uint8_t *)packet + sizeof(request), ret_reply);
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
	ledger_record_free(record);
	return client;
}
