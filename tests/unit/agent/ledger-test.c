/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which connection may write which record through the agent, and which records stay: on a store of
 * the test's own.
 */
#include "tests/support/cmocka-all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger.h"
#include "proto/record.h"

#define STORE_MAX 1000

#define HOLDERS_MAX	LEDGER_TOTAL(LEDGER_PLACES)
#define HOLDERS_PER_UID LEDGER_PLACES
#define RECORDS_MAX	LEDGER_TOTAL(LEDGER_PLACES)
#define RECORDS_PER_UID LEDGER_SHARE(LEDGER_PLACES)

struct store {
	struct {
		char key[HV_STORE_KEY_MAX];
		uint8_t value[HV_STORE_VALUE_MAX];
		size_t len;
	} records[STORE_MAX];
	unsigned n_publish, n_remove;
	int fail;	/* every call returns it instead, if it is not 0 */
	uint32_t ports; /* the last that was made */
	unsigned n_parcels;
};

static int store_index(const struct store *store, const char *key)
{
	for (int i = 0; i < STORE_MAX; i++) {
		if (store->records[i].len && strcmp(store->records[i].key, key) == 0)
			return i;
	}
	return -1;
}

static int fake_publish(void *arg, const char *key, const void *value, size_t len)
{
	struct store *store = arg;
	int i = store_index(store, key);

	store->n_publish++;
	assert_true(len > 0 && len <= HV_STORE_VALUE_MAX);
	if (store->fail)
		return store->fail;
	for (int free = 0; i < 0; free++) {
		assert_true(free < STORE_MAX);
		if (!store->records[free].len)
			i = free;
	}
	strcpy(store->records[i].key, key);
	memcpy(store->records[i].value, value, len);
	store->records[i].len = len;
	return 0;
}

static int fake_remove(void *arg, const char *key)
{
	struct store *store = arg;
	int i = store_index(store, key);

	store->n_remove++;
	if (store->fail)
		return store->fail;
	if (i < 0)
		return -ENOENT;
	store->records[i].len = 0;
	return 0;
}

static uint16_t fake_domid(void *arg)
{
	return 7;
}

/* Its numbers follow from the port's, so that no two parcels have a reference in common. */
static int fake_make(void *arg, struct hv_parcel *ret_parcel)
{
	struct store *store = arg;
	struct hv_parcel parcel = {.fds = {-1, -1}, .hold = store};

	if (store->fail)
		return store->fail;
	parcel.port = ++store->ports;
	for (uint32_t i = 0; i < HV_PARCEL_PAGES; i++)
		parcel.refs[i] = 10 * parcel.port + i;
	parcel.where[1] = parcel.port;
	store->n_parcels++;
	*ret_parcel = parcel;
	return 0;
}

static void fake_drop(void *arg, struct hv_parcel *parcel)
{
	struct store *store = arg;

	assert_ptr_equal(parcel->hold, store);
	assert_true(store->n_parcels > 0);
	store->n_parcels--;
}

static const struct ledger_store fake_store = {
	fake_publish, fake_remove, fake_domid, fake_make, fake_drop};

struct world {
	struct store store;
	struct ledger *ledger;
};

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	*state = world;
	return ledger_new(&fake_store, &world->store, &world->ledger);
}

static int teardown(void **state)
{
	struct world *world = *state;

	ledger_free(world->ledger);
	assert_int_equal(world->store.n_parcels, 0);
	free(world);
	return 0;
}

static struct holder *admit(struct world *world, uid_t uid)
{
	struct holder *holder;

	assert_int_equal(ledger_admit(world->ledger, uid, world, &holder), 0);
	return holder;
}

struct packet {
	struct agent_request request;
	uint8_t value[HV_STORE_VALUE_MAX + 100];
};

static struct packet packet_of(enum agent_op op, const char *key, size_t len)
{
	struct packet packet = {.request = {.magic = AGENT_MAGIC,
					.version = AGENT_VERSION,
					.op = (uint16_t)op,
					.len = (uint32_t)len}};

	memcpy(packet.request.key, key, strlen(key));
	memset(packet.value, 'v', sizeof(packet.value));
	return packet;
}

static void request(struct holder *holder, const struct packet *packet, size_t len,
	struct agent_reply *ret_reply)
{
	int fds[HV_PARCEL_FDS];

	assert_true(ledger_request(holder, packet, sizeof(packet->request) + len, ret_reply, fds));
	assert_int_equal(ret_reply->magic, AGENT_MAGIC);
	assert_int_equal(ret_reply->version, AGENT_VERSION);
	assert_int_equal(ret_reply->op, packet->request.op);
}

/* The error that an acceptable request is answered with. */
static uint32_t ask(struct holder *holder, enum agent_op op, const char *key, size_t len)
{
	struct packet packet = packet_of(op, key, len);
	struct agent_reply reply;

	request(holder, &packet, len, &reply);
	return reply.error;
}

/* A record that is true, but for what the caller changes. */
static struct record record_of(uint32_t port)
{
	struct record record = {
		.version_min = CONTROL_VERSION, .version_max = CONTROL_VERSION, .port = port};

	for (uint32_t i = 0; i < CONTROL_PAGES; i++)
		record.refs[i] = 10 * port + i;
	return record;
}

static uint32_t publish_record(struct holder *holder, const char *key, const struct record *record)
{
	struct packet packet = packet_of(AGENT_PUBLISH, key, RECORD_SIZE);
	struct agent_reply reply;

	record_encode(record, packet.value);
	request(holder, &packet, RECORD_SIZE, &reply);
	return reply.error;
}

static uint32_t publish_parked(struct holder *holder, const char *key)
{
	struct packet packet = packet_of(AGENT_PUBLISH, key, RECORD_PARKED_SIZE);
	struct record record = record_of(1);
	struct agent_reply reply;

	record_parked_encode(&record, packet.value);
	request(holder, &packet, RECORD_PARKED_SIZE, &reply);
	return reply.error;
}

/* The port of a new parcel. */
static uint32_t parcel(struct holder *holder)
{
	struct packet packet = packet_of(AGENT_PARCEL, "", 0);
	struct agent_reply reply;

	request(holder, &packet, 0, &reply);
	assert_int_equal(reply.error, 0);
	assert_int_equal(reply.refs[4], 10 * reply.port + 4);
	assert_int_equal(reply.where[1], reply.port);
	return reply.port;
}

/* As an honest application does. The error of the request that failed. */
static uint32_t publish(struct holder *holder, const char *key)
{
	struct packet packet = packet_of(AGENT_PARCEL, "", 0);
	struct agent_reply reply;
	struct record record;

	request(holder, &packet, 0, &reply);
	if (reply.error)
		return reply.error;
	record = record_of(reply.port);
	return publish_record(holder, key, &record);
}

static void publish_replace_remove(void **state)
{
	struct world *world = *state;
	struct holder *a = admit(world, 1);

	assert_int_equal(publish(a, "k-1"), 0);
	assert_int_equal(world->store.records[0].len, RECORD_SIZE);
	assert_memory_equal(world->store.records[0].value, "MSGD", 4);
	assert_int_equal(world->store.records[0].value[24], 1); /* the port */
	assert_int_equal(publish(a, "k-1"), 0);
	assert_int_equal(world->store.records[0].value[24], 2);
	assert_int_equal(world->store.n_parcels, 1); /* the first one is let go */
	assert_int_equal(ask(a, AGENT_REMOVE, "k-1", 0), 0);
	assert_int_equal(world->store.n_parcels, 0);
	assert_int_equal(store_index(&world->store, "k-1"), -1);
	assert_int_equal(ask(a, AGENT_REMOVE, "k-1", 0), ENOENT);
}

/* Each connection has its own; nobody replaces, removes, or takes along another's. */
static void strangers(void **state)
{
	struct world *world = *state;
	struct holder *a = admit(world, 1), *b = admit(world, 1);

	assert_int_equal(publish(a, "a"), 0);
	assert_int_equal(ask(b, AGENT_PUBLISH, "a", 2), EEXIST);
	assert_int_equal(ask(b, AGENT_REMOVE, "a", 0), ENOENT);
	assert_int_equal(world->store.n_publish, 1);
	assert_int_equal(publish(b, "b"), 0);
	ledger_leave(b);
	assert_true(store_index(&world->store, "a") >= 0);
	assert_int_equal(store_index(&world->store, "b"), -1);
	/* The key of one that left is free. */
	assert_int_equal(publish(a, "b"), 0);
	ledger_leave(a);
	assert_int_equal(store_index(&world->store, "a"), -1);
	assert_int_equal(store_index(&world->store, "b"), -1);
	assert_int_equal(ledger_holders(world->ledger), 0);
}

/* A process that names what its kernel, or another process, has shared with msgd's domain. */
static void names_of_others(void **state)
{
	struct world *world = *state;
	struct holder *a = admit(world, 1), *b = admit(world, 1);
	struct record mine = record_of(parcel(a)), theirs = record_of(parcel(b)), record;

	record = mine;
	record.port = 77;
	assert_int_equal(publish_record(a, "a", &record), EPERM);
	for (unsigned i = 0; i < CONTROL_PAGES; i++) {
		record = mine;
		record.refs[i] = 8;
		assert_int_equal(publish_record(a, "a", &record), EPERM);
	}
	record = mine; /* the right pages, each in the place of another */
	record.refs[1] = mine.refs[2];
	record.refs[2] = mine.refs[1];
	assert_int_equal(publish_record(a, "a", &record), EPERM);
	assert_int_equal(publish_record(a, "a", &theirs), EPERM);
	assert_int_equal(world->store.n_publish, 0);
	assert_int_equal(publish_record(a, "a", &mine), 0);
	/* The record's, and under that key alone. */
	assert_int_equal(publish_record(a, "a", &mine), 0);
	assert_int_equal(publish_record(a, "a2", &mine), EPERM);
	assert_int_equal(publish_record(b, "b", &theirs), 0);
	assert_int_equal(publish_record(a, "a", &theirs), EPERM);
	/* Not once the record is gone. */
	assert_int_equal(ask(a, AGENT_REMOVE, "a", 0), 0);
	assert_int_equal(publish_record(a, "a", &mine), EPERM);
	assert_int_equal(world->store.n_parcels, 1);
}

/* Nothing but records, and none that cannot be read. */
static void values(void **state)
{
	struct world *world = *state;
	struct holder *a = admit(world, 1);
	struct record record = record_of(parcel(a));

	assert_int_equal(ask(a, AGENT_PUBLISH, "a", RECORD_SIZE), EINVAL);
	assert_int_equal(ask(a, AGENT_PUBLISH, "a", HV_STORE_VALUE_MAX), EINVAL);
	record.version_min = record.version_max = CONTROL_VERSION + 1;
	assert_int_equal(publish_record(a, "a", &record), EPROTONOSUPPORT);
	assert_int_equal(world->store.n_publish, 0);
}

/* A domain that is to be saved must hold no port: a parked application's is let go. */
static void parked(void **state)
{
	struct world *world = *state;
	struct holder *a = admit(world, 1);

	assert_int_equal(publish(a, "a"), 0);
	assert_int_equal(world->store.n_parcels, 1);
	assert_int_equal(publish_parked(a, "a"), 0);
	assert_int_equal(world->store.n_parcels, 0);
	/* Also of an application that attached by way of an earlier agent. */
	assert_int_equal(publish_parked(a, "old"), 0);
	assert_int_equal(publish(a, "a"), 0);
	assert_int_equal(world->store.n_parcels, 1);
}

/* Asked for and not published: one for a connection, which goes with it. */
static void parcels_unused(void **state)
{
	struct world *world = *state;
	struct holder *a = admit(world, 1);
	struct record first = record_of(parcel(a)), second = record_of(parcel(a));

	assert_int_equal(world->store.n_parcels, 1);
	assert_int_equal(publish_record(a, "a", &first), EPERM);
	assert_int_equal(publish_record(a, "a", &second), 0);
	assert_true(parcel(a) != 0);
	ledger_leave(a);
	assert_int_equal(world->store.n_parcels, 0);
	world->store.fail = -ENOSPC;
	assert_int_equal(ask(admit(world, 1), AGENT_PARCEL, "", 0), ENOSPC);
	world->store.fail = 0;
}

/* An adopter gave its port back, and the number is used again: the old one's end must not end the
 * new. */
static void port_again(void **state)
{
	struct world *world = *state;
	struct holder *a = admit(world, 1), *b = admit(world, 1);
	struct record record;

	assert_int_equal(publish(a, "a"), 0);
	world->store.ports = 0;
	world->store.n_parcels = 0;
	record = record_of(parcel(b));
	assert_int_equal(record.port, 1);
	ledger_leave(a);
	assert_int_equal(world->store.n_parcels, 1);
	assert_int_equal(publish_record(b, "b", &record), 0);
}

/* The agent ends, its applications do not. */
static void agent_ends(void **state)
{
	struct world *world = *state;
	struct holder *a = admit(world, 1);

	assert_int_equal(publish(a, "a"), 0);
	ledger_free(world->ledger);
	assert_true(store_index(&world->store, "a") >= 0);
	assert_int_equal(ledger_new(&fake_store, &world->store, &world->ledger), 0);
}

static void gone(void **state)
{
	struct world *world = *state;
	struct holder *a = admit(world, 1);
	struct agent_reply reply;

	assert_int_equal(publish(a, "a"), 0);
	assert_null(ledger_gone(world->ledger, "other", &reply));
	assert_ptr_equal(ledger_gone(world->ledger, "a", &reply), world);
	assert_int_equal(reply.op, AGENT_GONE);
	assert_int_equal(reply.error, 0);
	assert_string_equal(reply.key, "a");
	assert_null(ledger_gone(world->ledger, "a", &reply)); /* told once */
	assert_int_equal(ask(a, AGENT_REMOVE, "a", 0), ENOENT);
	/* One that its holder removed itself is no news. */
	assert_int_equal(publish(a, "b"), 0);
	assert_int_equal(ask(a, AGENT_REMOVE, "b", 0), 0);
	assert_null(ledger_gone(world->ledger, "b", &reply));
}

static void domid(void **state)
{
	struct packet packet = packet_of(AGENT_DOMID, "", 0);
	struct agent_reply reply;

	request(admit(*state, 1), &packet, 0, &reply);
	assert_int_equal(reply.error, 0);
	assert_int_equal(reply.domid, 7);
}

static void keys_and_lengths(void **state)
{
	static const char *const bad[] = {"", "a/b", "a.b", "a_b", "a b", "..", "k\xc3\xa4",
		"0123456789012345678901234567890123456789"};
	struct world *world = *state;
	struct holder *a = admit(world, 1);
	struct packet packet = packet_of(AGENT_PUBLISH, "ab", 1);
	struct agent_reply reply;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(ask(a, AGENT_PUBLISH, bad[i], 1), EINVAL);
		assert_int_equal(ask(a, AGENT_REMOVE, bad[i], 0), EINVAL);
	}
	assert_int_equal(ask(a, AGENT_PUBLISH, "a", 0), EINVAL);
	packet.request.key[5] = 'x'; /* behind the NUL */
	request(a, &packet, 1, &reply);
	assert_int_equal(reply.error, EINVAL);
	assert_int_equal(world->store.n_publish + world->store.n_remove, 0);
	assert_int_equal(publish(a, "Zz09-5678901234567890123456789012345678"), 0);
}

/* A packet that is no request is answered, and is the last one. */
static void garbage(void **state)
{
	struct world *world = *state;
	struct holder *a = admit(world, 1);
	struct packet packet = packet_of(AGENT_PUBLISH, "a", 10);
	struct packet bad;
	struct agent_reply reply;
	int fds[HV_PARCEL_FDS];
	size_t whole = sizeof(packet.request) + 10;

	for (size_t len = 0; len < whole + 3; len++) {
		if (len == whole)
			continue;
		assert_false(ledger_request(a, &packet, len, &reply, fds));
		assert_int_equal(reply.error, EBADMSG);
		assert_int_equal(reply.op, 0);
	}
	bad = packet;
	bad.request.magic ^= 1;
	assert_false(ledger_request(a, &bad, whole, &reply, fds));
	assert_int_equal(reply.error, EBADMSG);
	bad = packet;
	bad.request.version = 2;
	assert_false(ledger_request(a, &bad, whole, &reply, fds));
	assert_int_equal(reply.error, EPROTONOSUPPORT);
	assert_int_equal(reply.version, AGENT_VERSION);
	for (unsigned op = 0; op < 70000; op += op < 20 ? 1 : 9999) {
		bad = packet_of((enum agent_op)op, "a", 10);
		if (op == AGENT_PUBLISH)
			continue;
		assert_false(ledger_request(a, &bad, whole, &reply, fds));
		assert_int_equal(reply.error, EBADMSG);
	}
	bad = packet_of(AGENT_PUBLISH, "a", HV_STORE_VALUE_MAX + 1);
	assert_false(
		ledger_request(a, &bad, sizeof(bad.request) + HV_STORE_VALUE_MAX + 1, &reply, fds));
	assert_int_equal(reply.error, EBADMSG);
	assert_int_equal(world->store.n_publish, 0);
}

static unsigned fill(struct world *world, struct holder *holder, unsigned *serial)
{
	unsigned n = 0;
	char key[20];

	for (;;) {
		uint32_t error;

		snprintf(key, sizeof(key), "k%u", (*serial)++);
		error = publish(holder, key);
		if (error) {
			assert_int_equal(error, EDQUOT);
			return n;
		}
		n++;
	}
}

static void quotas_of_records(void **state)
{
	struct world *world = *state;
	struct holder *a = admit(world, 1);
	unsigned serial = 0, n, total;

	assert_int_equal(fill(world, a, &serial), LEDGER_RECORDS_PER_HOLDER);
	assert_int_equal(publish_parked(a, "k0"), 0); /* replacing takes none */
	assert_int_equal(ask(a, AGENT_REMOVE, "k0", 0), 0);
	assert_int_equal(fill(world, a, &serial), 1);
	total = LEDGER_RECORDS_PER_HOLDER;
	for (n = 0; n < HOLDERS_PER_UID - 1; n++)
		total += fill(world, admit(world, 1), &serial);
	assert_int_equal(total, RECORDS_PER_UID);
	/* Others have theirs, up to the limit of all. */
	for (uid_t uid = 2; ledger_holders(world->ledger) < HOLDERS_MAX; uid++) {
		for (n = 0; n < RECORDS_PER_UID / LEDGER_RECORDS_PER_HOLDER &&
			    ledger_holders(world->ledger) < HOLDERS_MAX;
			n++)
			total += fill(world, admit(world, uid), &serial);
	}
	assert_int_equal(total, RECORDS_MAX);
}

/* However many connections one user has: other users find places in the domain. */
static void share_of_a_user(void **state)
{
	struct world *world = *state;
	unsigned serial = 0, n = 0, others = 0;
	struct holder *holder;

	while (ledger_admit(world->ledger, 1, world, &holder) == 0)
		n += fill(world, holder, &serial);
	for (uid_t uid = 2; uid < 10; uid++)
		others += fill(world, admit(world, uid), &serial);
	assert_int_equal(n, 48);
	assert_true(n + others >= LEDGER_PLACES);
	/* An administrator gives the domain more places. */
	ledger_set_places(world->ledger, 200);
	while (ledger_admit(world->ledger, 1, world, &holder) == 0)
		n += fill(world, holder, &serial);
	assert_int_equal(n, 150);
}

static void quotas_of_connections(void **state)
{
	struct world *world = *state;
	struct holder *holder = NULL;
	unsigned n = 0;

	while (ledger_admit(world->ledger, 1, NULL, &holder) == 0)
		n++;
	assert_int_equal(n, HOLDERS_PER_UID);
	for (uid_t uid = 2; uid < 100; uid++) {
		while (ledger_admit(world->ledger, uid, NULL, &holder) == 0)
			n++;
	}
	assert_int_equal(n, HOLDERS_MAX);
	ledger_leave(holder);
	assert_int_equal(ledger_admit(world->ledger, 100, NULL, &holder), 0);
	assert_int_equal(ledger_admit(world->ledger, 100, NULL, &holder), -EUSERS);
}

static void store_refuses(void **state)
{
	struct world *world = *state;
	struct holder *a = admit(world, 1);
	struct agent_reply reply;

	world->store.fail = -ENOSPC;
	assert_int_equal(publish(a, "a"), ENOSPC);
	assert_null(ledger_gone(world->ledger, "a", &reply)); /* not held */
	world->store.fail = 0;
	assert_int_equal(publish(a, "a"), 0);
	world->store.fail = -EHOSTDOWN;
	assert_int_equal(ask(a, AGENT_REMOVE, "a", 0), EHOSTDOWN);
	world->store.fail = 0;
	assert_int_equal(ask(a, AGENT_REMOVE, "a", 0), 0); /* still its own */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(publish_replace_remove, setup, teardown),
		cmocka_unit_test_setup_teardown(strangers, setup, teardown),
		cmocka_unit_test_setup_teardown(names_of_others, setup, teardown),
		cmocka_unit_test_setup_teardown(values, setup, teardown),
		cmocka_unit_test_setup_teardown(parked, setup, teardown),
		cmocka_unit_test_setup_teardown(parcels_unused, setup, teardown),
		cmocka_unit_test_setup_teardown(port_again, setup, teardown),
		cmocka_unit_test_setup_teardown(agent_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(gone, setup, teardown),
		cmocka_unit_test_setup_teardown(domid, setup, teardown),
		cmocka_unit_test_setup_teardown(keys_and_lengths, setup, teardown),
		cmocka_unit_test_setup_teardown(garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(quotas_of_records, setup, teardown),
		cmocka_unit_test_setup_teardown(share_of_a_user, setup, teardown),
		cmocka_unit_test_setup_teardown(quotas_of_connections, setup, teardown),
		cmocka_unit_test_setup_teardown(store_refuses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
