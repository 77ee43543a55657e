/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The broker's watch over records (hv/xen/records.c), over a store made of an array. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/xen/store.h"
#include "tests/support/failing-malloc.h"

/* ---- libxenstore, as far as records.c calls it -------------------------------------------- */

#define NODES_MAX 3000

static struct node {
	char path[STORE_PATH_MAX];
	uint8_t value[HV_STORE_VALUE_MAX + 8];
	unsigned len;
	bool used;
} nodes[NODES_MAX];

static unsigned n_reads, n_watches;
static bool fail_reads;

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
	*len = node->len;
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

bool xs_watch(struct xs_handle *h, const char *path, const char *token)
{
	n_watches++;
	return true;
}

bool xs_unwatch(struct xs_handle *h, const char *path, const char *token)
{
	n_watches--;
	return true;
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
	records = records_new(NULL);
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
	while (records_next(records, &record) == 1)
		told += record.len == 1;
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

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

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
		cmocka_unit_test(memory_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
