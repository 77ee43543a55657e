/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The heads of requests, however they are cut: which of them must not be read. */
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "exporter/fault.h"
#include "exporter/limits.h"
#include "tests/support/cmocka-all.h"

#define FIRST "GET / HTTP/1.1\r\n"

static char text[4 * REQUEST_BYTES];

static void text_begin(void)
{
	text[0] = '\0';
}

static void text_add(const char *more, size_t n)
{
	size_t len = strlen(text);

	while (n-- > 0)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", more);
	assert_true(len < sizeof(text));
}

/* As one piece, and as pieces of one byte. */
static void assert_status(size_t len, int status)
{
	struct head whole = {0}, cut = {0};

	head_scan(&whole, text, len);
	for (size_t i = 0; i < len; i++)
		head_scan(&cut, text + i, 1);
	assert_int_equal(whole.status, status);
	assert_int_equal(cut.status, status);
	assert_int_equal(!whole.text, !status);
}

static void test_lengths(void **state)
{
	static const struct {
		const char *begin;
		int status;
	} cases[] = {{"GET /", 414}, {FIRST "X:", 431}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		text_begin();
		text_add(cases[i].begin, 1);
		text_add("x", REQUEST_BYTES - strlen(cases[i].begin));
		assert_status(REQUEST_BYTES, 0);
		text_add("x", 1);
		assert_status(REQUEST_BYTES + 1, cases[i].status);
	}
}

static void test_headers(void **state)
{
	text_begin();
	text_add(FIRST, 1);
	text_add(":\n", HEADERS_MAX);
	text_add("\r\n", 1);
	assert_status(strlen(text), 0);
	text_begin();
	text_add(FIRST, 1);
	text_add(":\n", HEADERS_MAX + 1);
	assert_status(strlen(text), 431);
}

/* Each request has its own limits, and one that is refused stays so. */
static void test_many(void **state)
{
	text_begin();
	text_add(FIRST "Host: localhost\r\n\r\nGET / HTTP/1.0\n\n", 3 * HEADERS_MAX);
	assert_status(strlen(text), 0);
	text_begin();
	text_add(FIRST ":\r\n\r\n", 2);
	text_add("x", REQUEST_BYTES + 1);
	text_add("\r\n\r\n" FIRST "\r\n", 1);
	assert_status(strlen(text), 414);
}

static void test_nul(void **state)
{
	text_begin();
	text_add(FIRST "Host: localhost\r\n\r\n", 1);
	assert_status(strlen(text) + 1, 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_nul),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
