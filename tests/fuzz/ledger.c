/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msg-agent's core: connections that come and go and send packets, sensible or not. No record of
 * the store is touched but by the connection that holds it, and what a connection published goes
 * with it.
 */
#include <errno.h>

#include "agent/ledger.h"
#include "tests/fuzz/fuzz.h"

#define N_HOLDERS 4
#define N_KEYS	  8
#define NOBODY	  (-1)

/* A store of N_KEYS records, and who is served now. */
struct world {
	struct ledger *ledger;
	struct holder *holders[N_HOLDERS];
	char keys[N_KEYS][HV_STORE_KEY_MAX];
	int owners[N_KEYS];
	int asker;
	bool full; /* the store refuses what is new */
};

static int key_find(const struct world *w, const char *key)
{
	for (int i = 0; i < N_KEYS; i++)
		if (w->owners[i] != NOBODY && strcmp(w->keys[i], key) == 0)
			return i;
	return -1;
}

static int store_publish(void *arg, const char *key, const void *value, size_t len)
{
	struct world *w = arg;
	int i = key_find(w, key);

	FUZZ_CHECK(value && len >= 1 && len <= HV_STORE_VALUE_MAX);
	FUZZ_CHECK(*key && strlen(key) < HV_STORE_KEY_MAX && !strpbrk(key, "/ \n"));
	FUZZ_CHECK(w->asker != NOBODY && (i < 0 || w->owners[i] == w->asker));
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

/* Half of the packets are requests but for what the input says. */
static void request(struct world *w, struct fuzz_input *input, int who)
{
	uint8_t packet[AGENT_PACKET_MAX + 8];
	struct agent_request head = {.magic = AGENT_MAGIC, .version = AGENT_VERSION};
	struct agent_reply reply;
	uint8_t shape = fuzz_u8(input);
	size_t len = fuzz_u16(input) % sizeof(packet);
	bool stays;

	memset(packet, 0, sizeof(packet));
	if (shape & 1) {
		fuzz_bytes(input, packet, len);
	} else {
		head.op = fuzz_u8(input) % 5;
		head.len = (uint32_t)(len % (HV_STORE_VALUE_MAX + 2));
		head.key[0] = (char)fuzz_u8(input);
		head.key[1] = shape & 2 ? (char)fuzz_u8(input) : '\0';
		len = sizeof(head) + head.len;
		memcpy(packet, &head, sizeof(head));
	}
	w->asker = who;
	stays = ledger_request(w->holders[who], packet, len, &reply);
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
	static const struct ledger_store store = {
		.publish = store_publish, .remove = store_remove, .domid = store_domid};
	struct fuzz_input input = {.data = data, .left = size};
	struct world w = {.asker = NOBODY};

	for (int i = 0; i < N_KEYS; i++)
		w.owners[i] = NOBODY;
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
	return 0;
}
