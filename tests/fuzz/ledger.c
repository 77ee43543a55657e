/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msg-agent's core: connections that come and go and send packets, sensible or not. No record of
 * the store is touched but by the connection that holds it, what a connection published goes with
 * it, and no record names a port that was not made for its connection.
 */
#include <errno.h>

#include "agent/ledger.h"
#include "proto/record.h"
#include "tests/fuzz/fuzz.h"

#define N_HOLDERS 4
#define N_KEYS	  8
#define N_PORTS	  32
#define NOBODY	  (-1)

/* A store of N_KEYS records, and who is served now. */
struct world {
	struct ledger *ledger;
	struct holder *holders[N_HOLDERS];
	char keys[N_KEYS][HV_STORE_KEY_MAX];
	int owners[N_KEYS];
	int asker;
	bool full;	     /* the store refuses what is new */
	int makers[N_PORTS]; /* by port: the holder that asked for its parcel, or NOBODY */
};

static int key_find(const struct world *w, const char *key)
{
	for (int i = 0; i < N_KEYS; i++)
		if (w->owners[i] != NOBODY && strcmp(w->keys[i], key) == 0)
			return i;
	return -1;
}

static void value_check(const struct world *w, const void *value, size_t len)
{
	struct record record;

	if (record_parked_decode(value, len, &record) == 0)
		return;
	FUZZ_CHECK(record_decode(value, len, &record) == 0);
	FUZZ_CHECK(record.port < N_PORTS && w->makers[record.port] == w->asker);
	for (uint32_t i = 0; i < CONTROL_PAGES; i++)
		FUZZ_CHECK(record.refs[i] == 8 * record.port + i);
}

static int store_make(void *arg, struct hv_parcel *ret_parcel)
{
	struct world *w = arg;
	struct hv_parcel parcel = {.port = 1, .fds = {-1, -1}};

	while (parcel.port < N_PORTS && w->makers[parcel.port] != NOBODY)
		parcel.port++;
	if (parcel.port == N_PORTS)
		return -ENOSPC;
	for (uint32_t i = 0; i < HV_PARCEL_PAGES; i++)
		parcel.refs[i] = 8 * parcel.port + i;
	w->makers[parcel.port] = w->asker;
	*ret_parcel = parcel;
	return 0;
}

static void store_drop(void *arg, struct hv_parcel *parcel)
{
	struct world *w = arg;

	FUZZ_CHECK(parcel->port < N_PORTS && w->makers[parcel->port] != NOBODY);
	w->makers[parcel->port] = NOBODY;
}

static int store_publish(void *arg, const char *key, const void *value, size_t len)
{
	struct world *w = arg;
	int i = key_find(w, key);

	FUZZ_CHECK(value && len >= 1 && len <= HV_STORE_VALUE_MAX);
	FUZZ_CHECK(*key && strlen(key) < HV_STORE_KEY_MAX && !strpbrk(key, "/ \n"));
	FUZZ_CHECK(w->asker != NOBODY && (i < 0 || w->owners[i] == w->asker));
	value_check(w, value, len);
	if (i >= 0)
		return 0;
	for (i = 0; i < N_KEYS && w->owners[i] != NOBODY; i++)
		continue;
	if (w->full || i == N_KEYS)
		return -ENOSPC;
	strcpy(w->keys[i], key);
	w->owners[i] = w->asker;
	return 0;
}

static int store_remove(void *arg, const char *key)
{
	struct world *w = arg;
	int i = key_find(w, key);

	if (i < 0)
		return -ENOENT;
	FUZZ_CHECK(w->owners[i] == w->asker);
	w->owners[i] = NOBODY;
	return 0;
}

static uint16_t store_domid(void *arg)
{
	(void)arg;
	return 7;
}

/* A record of the form that the fake parcels have, one byte of which the input may change. */
static uint32_t record_make(struct fuzz_input *input, uint8_t *ret_bytes)
{
	struct record record = {.version_min = CONTROL_VERSION,
		.version_max = CONTROL_VERSION,
		.port = fuzz_u8(input) % N_PORTS};
	uint8_t at = fuzz_u8(input);

	for (uint32_t i = 0; i < CONTROL_PAGES; i++)
		record.refs[i] = 8 * record.port + i;
	record_encode(&record, ret_bytes);
	if (at < RECORD_SIZE)
		ret_bytes[at] ^= fuzz_u8(input);
	return RECORD_SIZE;
}

/* Half of the packets are requests but for what the input says. */
static void request(struct world *w, struct fuzz_input *input, int who)
{
	uint8_t packet[AGENT_PACKET_MAX + 8];
	struct agent_request head = {.magic = AGENT_MAGIC, .version = AGENT_VERSION};
	struct agent_reply reply;
	uint8_t shape = fuzz_u8(input);
	size_t len = fuzz_u16(input) % sizeof(packet);
	int fds[HV_PARCEL_FDS];
	bool stays;

	memset(packet, 0, sizeof(packet));
	if (shape & 1) {
		fuzz_bytes(input, packet, len);
	} else {
		head.op = fuzz_u8(input) % 6;
		head.len = (uint32_t)(len % (HV_STORE_VALUE_MAX + 2));
		head.key[0] = (char)fuzz_u8(input);
		head.key[1] = shape & 2 ? (char)fuzz_u8(input) : '\0';
		if (shape & 4)
			head.len = record_make(input, packet + sizeof(head));
		len = sizeof(head) + head.len;
		memcpy(packet, &head, sizeof(head));
	}
	w->asker = who;
	stays = ledger_request(w->holders[who], packet, len, &reply, fds);
	FUZZ_CHECK(reply.magic == AGENT_MAGIC && reply.version == AGENT_VERSION);
	FUZZ_CHECK(reply.error < 4096);
	if (!stays) {
		FUZZ_CHECK(reply.error);
		ledger_leave(w->holders[who]);
		w->holders[who] = NULL;
	}
	w->asker = NOBODY;
}

static void leave(struct world *w, int who)
{
	w->asker = who;
	ledger_leave(w->holders[who]);
	w->holders[who] = NULL;
	w->asker = NOBODY;
	for (int i = 0; i < N_KEYS; i++)
		FUZZ_CHECK(w->owners[i] != who);
	for (int i = 0; i < N_PORTS; i++)
		FUZZ_CHECK(w->makers[i] != who);
}

/* Somebody else removed a record. */
static void gone(struct world *w, int key)
{
	struct agent_reply reply;
	int owner = w->owners[key];
	void *client;

	if (owner == NOBODY)
		return;
	w->owners[key] = NOBODY;
	client = ledger_gone(w->ledger, w->keys[key], &reply);
	FUZZ_CHECK(client == &w->holders[owner]);
	FUZZ_CHECK(reply.op == AGENT_GONE && strcmp(reply.key, w->keys[key]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ledger_store store = {.publish = store_publish,
		.remove = store_remove,
		.domid = store_domid,
		.make = store_make,
		.drop = store_drop};
	struct fuzz_input input = {.data = data, .left = size};
	struct world w = {.asker = NOBODY};

	for (int i = 0; i < N_KEYS; i++)
		w.owners[i] = NOBODY;
	for (int i = 0; i < N_PORTS; i++)
		w.makers[i] = NOBODY;
	FUZZ_CHECK(ledger_new(&store, &w, &w.ledger) == 0);
	while (input.left) {
		uint8_t choice = fuzz_u8(&input);
		int who = choice % N_HOLDERS;

		w.full = choice & 0x80;
		if (!w.holders[who])
			(void)ledger_admit(
				w.ledger, 1000U + (choice & 1), &w.holders[who], &w.holders[who]);
		else if ((choice & 0x70) == 0x70)
			leave(&w, who);
		else if ((choice & 0x70) == 0x60)
			gone(&w, fuzz_u8(&input) % N_KEYS);
		else
			request(&w, &input, who);
	}
	ledger_free(w.ledger);
	for (int i = 0; i < N_PORTS; i++)
		FUZZ_CHECK(w.makers[i] == NOBODY);
	return 0;
}
