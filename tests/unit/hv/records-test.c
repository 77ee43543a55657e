/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The broker's watch over records (hv/xen/records.c) and what it takes of libxenstore's events
 * (hv/xen/store.c), over a store made of an array.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "hv/xen/store.h"
#include "tests/support/failing-malloc.h"

/* ---- libxenstore, as far as store.c and records.c call it ---------------------------------- */

#define NODES_MAX 3000

static struct node {
	char path[STORE_PATH_MAX];
	struct xs_permissions permissions[3]; /* all zero: domain 0's, for nobody else */
	uint8_t value[HV_STORE_VALUE_MAX + 8];
	unsigned len;
	bool used;
} nodes[NODES_MAX];

static unsigned n_reads, n_watches;
static bool fail_reads;
static const char *unreadable_path;

static struct node *node_find(const char *path)
{
	for (size_t i = 0; i < NODES_MAX; i++)
		if (nodes[i].used && strcmp(nodes[i].path, path) == 0)
			return &nodes[i];
	return NULL;
}

static void node_set(const char *path, const void *value, unsigned len)
{
	struct node *node = node_find(path);

	for (size_t i = 0; i < NODES_MAX && !node; i++)
		if (!nodes[i].used)
			node = &nodes[i];
	assert_non_null(node);
	node->used = true;
	snprintf(node->path, sizeof(node->path), "%s", path);
	memcpy(node->value, value, len);
	node->len = len;
}

static void node_remove(const char *path)
{
	struct node *node = node_find(path);

	assert_non_null(node);
	node->used = false;
}

void *xs_read(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *len)
{
	struct node *node = node_find(path);
	uint8_t *copy;

	n_reads++;
	if (fail_reads) {
		errno = EIO;
		return NULL;
	}
	if (unreadable_path && strcmp(path, unreadable_path) == 0) {
		errno = EACCES;
		return NULL;
	}
	if (!node && !len) {
		errno = ENOENT;
		return NULL;
	}
	if (!node) {
		*len = sizeof("ENOENT"); /* as the library does: the error's own text */
		errno = ENOENT;
		return NULL;
	}
	copy = malloc(node->len + 1);
	if (!copy)
		return NULL;
	memcpy(copy, node->value, node->len);
	copy[node->len] = 0;
	if (len)
		*len = node->len;
	return copy;
}

struct xs_permissions *xs_get_permissions(
	struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *num)
{
	struct node *node = node_find(path);
	struct xs_permissions *copy = malloc(sizeof(node->permissions));

	assert_non_null(copy);
	if (!node) {
		free(copy);
		errno = ENOENT;
		return NULL;
	}
	memcpy(copy, node->permissions, sizeof(node->permissions));
	*num = 3;
	return copy;
}

/* The distinct names right below path. */
char **xs_directory(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *num)
{
	char **names = malloc(NODES_MAX * (sizeof(char *) + HV_STORE_KEY_MAX));
	char *text;
	size_t len = strlen(path);
	unsigned n = 0;

	if (!names)
		return NULL;
	if (unreadable_path && strcmp(path, unreadable_path) == 0) {
		free(names);
		errno = E2BIG;
		return NULL;
	}
	text = (char *)(names + NODES_MAX);
	for (size_t i = 0; i < NODES_MAX; i++) {
		const char *name = nodes[i].path + len + 1;
		size_t name_len = strcspn(name, "/");
		bool known = false;

		if (!nodes[i].used || strncmp(nodes[i].path, path, len) != 0 ||
			nodes[i].path[len] != '/')
			continue;
		for (unsigned k = 0; k < n; k++)
			known |= strlen(names[k]) == name_len &&
				 strncmp(names[k], name, name_len) == 0;
		if (known)
			continue;
		names[n++] = text;
		memcpy(text, name, name_len);
		text[name_len] = 0;
		text += name_len + 1;
	}
	if (n == 0) {
		free(names);
		errno = ENOENT;
		return NULL;
	}
	*num = n;
	return names;
}

/* A connection: what was watched on it, and the queue that the library has for it. */
struct xs_handle {
	int fd;
	struct {
		char path[STORE_PATH_MAX], token[16];
	} watches[16];
	size_t n_watches;
	char (*queue)[2][STORE_PATH_MAX]; /* path and token */
	size_t first, end;
};

#define QUEUE_MAX 200000U

static struct xs_handle *connections[2];
static size_t n_connections;

/* In loops write, before each event that is taken: two events for one. */
static void (*attacker)(void);
static size_t n_taken;

static void queue_put(struct xs_handle *h, const char *path, const char *token)
{
	if (h->end == QUEUE_MAX)
		return; /* the attacker has had its say */
	snprintf(h->queue[h->end][0], STORE_PATH_MAX, "%s", path);
	snprintf(h->queue[h->end++][1], STORE_PATH_MAX, "%s", token);
}

/* xenstored fires the watches on the path, or on one above it. */
static void fire(const char *path)
{
	for (size_t i = 0; i < n_connections; i++) {
		struct xs_handle *h = connections[i];

		for (size_t k = 0; k < h->n_watches; k++) {
			size_t len = strlen(h->watches[k].path);

			if (strncmp(path, h->watches[k].path, len) == 0 &&
				(path[len] == 0 || path[len] == '/'))
				queue_put(h, path, h->watches[k].token);
		}
	}
}

struct xs_handle *xs_open(unsigned long flags)
{
	struct xs_handle *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	assert_true(n_connections < 2);
	h->fd = eventfd(0, EFD_CLOEXEC);
	h->queue = calloc(QUEUE_MAX, sizeof(*h->queue));
	assert_non_null(h->queue);
	connections[n_connections++] = h;
	return h;
}

void xs_close(struct xs_handle *h)
{
	close(h->fd);
	free(h->queue);
	free(h);
}

int xs_fileno(struct xs_handle *h)
{
	return h->fd;
}

bool xs_watch(struct xs_handle *h, const char *path, const char *token)
{
	n_watches++;
	if (!h)
		return true;
	assert_true(h->n_watches < sizeof(h->watches) / sizeof(*h->watches));
	snprintf(h->watches[h->n_watches].path, STORE_PATH_MAX, "%s", path);
	snprintf(h->watches[h->n_watches++].token, sizeof(h->watches->token), "%s", token);
	queue_put(h, path, token);
	return true;
}

bool xs_unwatch(struct xs_handle *h, const char *path, const char *token)
{
	n_watches--;
	for (size_t i = 0; h && i < h->n_watches; i++)
		if (strcmp(h->watches[i].path, path) == 0)
			h->watches[i] = h->watches[--h->n_watches];
	return true;
}

char **xs_check_watch(struct xs_handle *h)
{
	char **event;

	if (attacker)
		attacker();
	if (h->first == h->end)
		return NULL;
	n_taken++;
	event = malloc(2 * sizeof(*event) + sizeof(*h->queue));
	assert_non_null(event);
	memcpy(event + 2, h->queue[h->first++], sizeof(*h->queue));
	event[XS_WATCH_PATH] = (char *)(event + 2);
	event[XS_WATCH_TOKEN] = event[XS_WATCH_PATH] + STORE_PATH_MAX;
	return event;
}

/* ---- the cases ----------------------------------------------------------------------------- */

static struct records *records;
static struct hv_record record;

#define D5 "/local/domain/5"
#define M5 D5 "/data/msgd"

static int setup(void **state)
{
	memset(nodes, 0, sizeof(nodes));
	n_watches = n_reads = 0;
	fail_reads = false;
	node_set("/local/domain/0/name", "Domain-0", 8);
	node_set(D5 "/name", "web", 3);
	records = records_new(NULL, NULL);
	return records ? 0 : -1;
}

static int teardown(void **state)
{
	records_free(records);
	return 0;
}

static void none(void)
{
	assert_int_equal(records_next(records, &record), 0);
}

static void expect(uint16_t domid, const char *key, const char *value)
{
	assert_int_equal(records_next(records, &record), 1);
	assert_int_equal(record.domid, domid);
	assert_string_equal(record.key, key);
	assert_int_equal(record.len, strlen(value));
	assert_memory_equal(record.value, value, strlen(value));
}

/* Present ones first; the watches' first events are not news. */
static void present(void **state)
{
	node_set(M5 "/k", "one", 3);
	expect(5, "k", "one");
	none();
	assert_int_equal(n_watches, 2);
	assert_false(records_event(records, M5));
	assert_false(records_event(records, "/local/domain/0/data/msgd"));
	none();
}

static void change(void **state)
{
	none();
	(void)records_event(records, M5);
	node_set(M5 "/k", "one", 3);
	assert_true(records_event(records, M5 "/k"));
	assert_true(records_event(records, M5 "/k"));
	node_set(M5 "/k", "two", 3);
	assert_true(records_event(records, M5 "/k"));
	expect(5, "k", "two");
	none(); /* three events, one read */
	assert_int_equal(n_reads, 1);
	node_remove(M5 "/k");
	assert_true(records_event(records, M5 "/k"));
	expect(5, "k", "");
	none();
}

/* Written and removed before anybody looked: never told, so not told as gone. */
static void unseen(void **state)
{
	none();
	assert_true(records_event(records, M5 "/k"));
	none();
	node_set(M5 "/k", "", 0); /* an empty node is no record */
	assert_true(records_event(records, M5 "/k"));
	none();
}

static void nonsense(void **state)
{
	static const char *const paths[] = {"", "/", M5 "x", M5 "/", M5 "/a.b", M5 "/a b",
		"/local/domain/6/data/msgd/k", "/local/domain/99999/data/msgd/k",
		"/local/domain/32752/data/msgd/k", "/local/domain/-1/data/msgd/k",
		"/local/domain/5/data/msg", "/local/domain//data/msgd/k", "@releaseDomain",
		M5 "/0123456789012345678901234567890123456789"};

	none();
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		assert_false(records_event(records, paths[i]));
	none();
	assert_int_equal(n_reads, 0);
}

static void too_long(void **state)
{
	uint8_t value[HV_STORE_VALUE_MAX + 8] = {1};

	none();
	node_set(M5 "/k", value, sizeof(value));
	assert_true(records_event(records, M5 "/k/below"));
	assert_int_equal(records_next(records, &record), 1);
	assert_int_equal(record.len, HV_STORE_VALUE_MAX);
}

/* The directory goes at once (the toolstack destroys the domain): each record is gone. */
static void domain_goes(void **state)
{
	node_set(M5 "/k", "one", 3);
	node_set(M5 "/l", "two", 3);
	assert_int_equal(records_next(records, &record), 1);
	assert_int_equal(records_next(records, &record), 1);
	none();
	(void)records_event(records, M5);
	node_remove(M5 "/k");
	node_remove(M5 "/l");
	node_remove(D5 "/name");
	assert_true(records_event(records, M5));
	expect(5, "k", "");
	expect(5, "l", "");
	none();
	assert_int_equal(n_watches, 1);
	assert_false(records_event(records, M5 "/k"));
	/* ... and another one takes its number. */
	node_set(D5 "/name", "shop", 4);
	node_set(M5 "/k", "new", 3);
	records_scan(records);
	expect(5, "k", "new");
	none();
	assert_int_equal(n_watches, 2);
}

/* It came back before its end was told. */
static void domain_comes_back(void **state)
{
	node_set(M5 "/k", "one", 3);
	expect(5, "k", "one");
	(void)records_event(records, M5);
	node_remove(M5 "/k");
	node_remove(D5 "/name");
	records_scan(records);
	fail_reads = true;
	assert_int_equal(records_next(records, &record), -EIO);
	fail_reads = false;
	node_set(D5 "/name", "shop", 4);
	node_set(M5 "/l", "new", 3);
	records_scan(records);
	assert_int_equal(records_next(records, &record), 1);
	assert_string_equal(record.key, "k");
	assert_int_equal(record.len, 0);
	expect(5, "l", "new");
	none();
}

/* A guest that names more keys than are remembered loses none that it has. */
static void flood(void **state)
{
	char path[STORE_PATH_MAX];
	unsigned told = 0;

	none();
	(void)records_event(records, M5);
	for (int i = 0; i < 5000; i++) {
		snprintf(path, sizeof(path), M5 "/key%d", i);
		assert_true(records_event(records, path));
	}
	for (int i = 0; i < 900; i++) {
		snprintf(path, sizeof(path), M5 "/key%d", 4000 + i);
		node_set(path, "x", 1);
	}
	while (records_due(records)) {
		unsigned before = n_reads;

		records_turn(records);
		while (records_next(records, &record) == 1)
			told += record.len == 1;
		assert_true(n_reads - before <= 64);
	}
	assert_int_equal(told, 900);
	assert_true(n_reads < 2000);
}

/* Each allocation fails once: records_next gives an error, and every record comes after it. */
static void memory_fails(void **state)
{
	bool hit = true;
	int r;

	for (unsigned n = 1; hit; n++) {
		unsigned told = 0;

		assert_int_equal(setup(state), 0);
		node_set(M5 "/k", "one", 3);
		node_set(M5 "/l", "two", 3);
		failing_malloc_set(n);
		while ((r = records_next(records, &record)) > 0)
			told |= record.key[0] == 'k' ? 1U : 2U;
		hit = failing_malloc_end();
		assert_int_equal(r, hit ? -ENOMEM : 0);
		while ((r = records_next(records, &record)) > 0)
			told |= record.key[0] == 'k' ? 1U : 2U;
		assert_int_equal(r, 0);
		assert_int_equal(told, 3);
		records_free(records);
	}
	records = NULL;
}

static void store_fails(void **state)
{
	node_set(M5 "/k", "one", 3);
	fail_reads = true;
	assert_int_equal(records_next(records, &record), -EIO);
	fail_reads = false;
	expect(5, "k", "one");
	none();
}

/* A key that cannot be read is none, and hides no other. */
static void unreadable(void **state)
{
	none();
	node_set(M5 "/bad", "x", 1);
	node_set(M5 "/k", "one", 3);
	unreadable_path = M5 "/bad";
	assert_true(records_event(records, M5 "/bad"));
	assert_true(records_event(records, M5 "/k"));
	expect(5, "k", "one");
	none();
	unreadable_path = NULL;
}

/* So is a directory that cannot be listed: its domain's new records alone are not found. */
static void unlisted(void **state)
{
	none();
	(void)records_event(records, M5); /* the watches' first events */
	(void)records_event(records, "/local/domain/0/data/msgd");
	node_set(M5 "/hidden", "one", 3);
	node_set("/local/domain/0/data/msgd/own", "three", 5);
	unreadable_path = M5;
	assert_true(records_event(records, M5));
	assert_true(records_event(records, "/local/domain/0/data/msgd"));
	expect(0, "own", "three");
	none();
	unreadable_path = NULL;
	assert_true(records_event(records, M5));
	expect(5, "hidden", "one");
	none();
}

/* ---- guests that write in loops -------------------------------------------------------------- */

#define D(n) "/local/domain/" #n
#define M(n) D(n) "/data/msgd"

static struct xen_hv xen_hv;

static unsigned n_written;

/* Two guests write, faster than anybody reads, names without end. */
static void write_two(void)
{
	char path[STORE_PATH_MAX];

	for (unsigned domid = 5; domid <= 6; domid++) {
		snprintf(path, sizeof(path), "/local/domain/%u/data/msgd/key%u", domid, n_written);
		fire(path);
	}
	n_written++;
}

/* One writes its directory's node, and so does not say which record. */
static void write_directories(void)
{
	fire(M(5));
	fire(M(6));
	n_written++;
}

static int setup_store(void **state)
{
	const char *reason;

	memset(nodes, 0, sizeof(nodes));
	n_watches = n_reads = n_written = 0;
	n_taken = n_connections = 0;
	attacker = NULL;
	fail_reads = false;
	node_set("domid", "0", 1);
	node_set(D(0) "/name", "Domain-0", 8);
	node_set(M(5) "/k", "five", 4);
	node_set(M(6) "/k", "six", 3);
	node_set(M(7) "/k", "seven", 5);
	node_set(M(8) "/k", "eight", 5);
	memset(&xen_hv, 0, sizeof(xen_hv));
	xen_hv.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	xen_hv.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	unsetenv("MSG_AGENT");
	return store_open(&xen_hv, &reason) || op_domain_watch(&xen_hv.hv) ||
	       op_store_watch(&xen_hv.hv);
}

static int teardown_store(void **state)
{
	store_close(&xen_hv);
	close(xen_hv.epoll_fd);
	close(xen_hv.wake_fd);
	return 0;
}

static bool next(void)
{
	int r = op_store_next(&xen_hv.hv, &record);

	assert_true(r == 0 || r == 1);
	return r == 1;
}

/* As the caller's loop does: all that is there is told, and polls find nothing more. */
static void settle(void)
{
	do {
		xen_hv.store_due = xen_hv.domains_due = false;
		store_poll(&xen_hv);
		while (next())
			;
	} while (xen_hv.store_due);
}

/* So many events of theirs wait when a third guest dies. */
static void third_dies(void (*attack)(void))
{
	settle();
	while (n_written < 20000)
		attack();
	attacker = attack;
	node_remove(M(7) "/k");
	fire(M(7));
	fire("@releaseDomain");
	n_taken = n_reads = 0;
	store_poll(&xen_hv);
	assert_true(n_taken <= 20000); /* a poll ends, whatever they write */
	assert_true(xen_hv.domains_due);
	assert_true(xen_hv.store_due);
	assert_true(next());
	assert_int_equal(record.domid, 7);
	assert_int_equal(record.len, 0);
	attacker = NULL;
	settle();
}

#define TAGS D(5) "/msgd/tags"

static void expect_tags(int result, const char *tags)
{
	char text[HV_TAGS_MAX] = "as before";

	assert_int_equal(store_domain_tags(&xen_hv, 5, text), result);
	assert_string_equal(text, result == 0 ? tags : "as before");
}

/* Whether a change of the tags is told. */
static bool tags_told(void)
{
	settle();
	fire(TAGS);
	xen_hv.domains_due = false;
	store_poll(&xen_hv);
	return xen_hv.domains_due;
}

static void tags(void **state)
{
	char many[HV_TAGS_MAX];

	expect_tags(0, "");
	assert_true(tags_told());
	node_set(TAGS, "red green", 9);
	expect_tags(0, "red green");
	memset(many, 'a', sizeof(many));
	node_set(TAGS, many, sizeof(many));
	expect_tags(-E2BIG, NULL);
	node_set(TAGS, "a\0b", 3);
	expect_tags(-EINVAL, NULL);
	node_set(TAGS, "", 0);
	expect_tags(0, "");
	unreadable_path = TAGS;
	expect_tags(-EACCES, NULL);
	unreadable_path = NULL;
	assert_true(tags_told());
	store_nodes_keep(&xen_hv, &(struct hv_domain){.domid = 6}, 1);
	assert_false(tags_told());
}

/* One that watches domains need not watch records. */
static void tags_without_records(void **state)
{
	struct records *kept = xen_hv.store->records;

	expect_tags(0, "");
	settle();
	xen_hv.store->records = NULL;
	fire(TAGS);
	xen_hv.domains_due = false;
	store_poll(&xen_hv);
	xen_hv.store->records = kept;
	assert_true(xen_hv.domains_due);
}

/* A node that the guest owns, or may write by an entry of its own or of everybody's. */
static void tags_of_others(void **state)
{
	static const struct xs_permissions bad[][3] = {
		{{.id = 5}},
		{{.id = 0, .perms = XS_PERM_WRITE}},
		{{.id = 0}, {.id = 5, .perms = XS_PERM_READ | XS_PERM_WRITE}},
		{{.id = 0}, {.id = 5, .perms = XS_PERM_READ}, {.id = 9, .perms = XS_PERM_WRITE}},
	};
	static const struct xs_permissions good[3] = {
		{.id = 0, .perms = XS_PERM_READ}, {.id = 5, .perms = XS_PERM_READ}};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		node_set(TAGS, "red", 3);
		memcpy(node_find(TAGS)->permissions, good, sizeof(good));
		expect_tags(0, "red");
		assert_true(tags_told());
		memcpy(node_find(TAGS)->permissions, bad[i], sizeof(bad[i]));
		expect_tags(-EPERM, NULL);
		/* It could write as often as it likes. */
		assert_false(tags_told());
		node_remove(TAGS);
	}
}

static void death_among_keys(void **state)
{
	third_dies(write_two);
}

static void death_among_directories(void **state)
{
	third_dies(write_directories);
}

/* An honest guest's record is told after one of each other guest's. */
static void taken_in_turn(void **state)
{
	char path[STORE_PATH_MAX];
	unsigned told = 1;

	settle();
	for (unsigned i = 0; i < 600; i++) {
		snprintf(path, sizeof(path), M(5) "/key%u", i);
		node_set(path, "x", 1);
		fire(path);
		snprintf(path, sizeof(path), M(6) "/key%u", i);
		node_set(path, "x", 1);
		fire(path);
	}
	node_set(M(8) "/k", "new", 3);
	fire(M(8) "/k");
	store_poll(&xen_hv);
	for (; next() && record.domid != 8; told++)
		;
	assert_int_equal(record.domid, 8);
	assert_true(told <= 3);
}

/* Names of nothing, or of empty nodes: a turn reads a bounded number, and the rest later. */
static void turns_are_bounded(void **state)
{
	char path[STORE_PATH_MAX];
	unsigned turns = 0;

	settle();
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), M(5) "/key%u", i);
		node_set(path, "", 0);
		fire(path);
	}
	node_set(M(5) "/real", "x", 1);
	fire(M(5) "/real");
	do {
		n_reads = 0;
		xen_hv.store_due = false;
		store_poll(&xen_hv);
		while (next())
			assert_string_equal(record.key, "real");
		assert_true(n_reads <= 64);
		turns++;
	} while (xen_hv.store_due);
	assert_in_range(turns, 2, 100);
	assert_string_equal(record.key, "real");
}

/* Writes without end leave a bounded number of keys to be read. */
static void memory_is_bounded(void **state)
{
	unsigned n = 0;

	settle();
	attacker = write_two;
	for (int i = 0; i < 5; i++)
		store_poll(&xen_hv);
	attacker = NULL;
	for (size_t i = 0; i < n_connections; i++)
		connections[i]->first = connections[i]->end;
	n_reads = 0;
	settle();
	n = n_reads;
	assert_true(n <= 2 * 1024 + 10);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define S(fn) cmocka_unit_test_setup_teardown(fn, setup_store, teardown_store)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(present),
		T(change),
		T(unseen),
		T(nonsense),
		T(too_long),
		T(domain_goes),
		T(domain_comes_back),
		T(flood),
		T(store_fails),
		T(unreadable),
		T(unlisted),
		S(tags),
		S(tags_without_records),
		S(tags_of_others),
		S(death_among_keys),
		S(death_among_directories),
		S(taken_in_turn),
		S(turns_are_bounded),
		S(memory_is_bounded),
		cmocka_unit_test(memory_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
