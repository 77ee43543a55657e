/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names and addresses, at the edges of their rules. */
#include "tests/support/cmocka-all.h"

#include <errno.h>
#include <string.h>

#include "base/macro.h"
#include "proto/control.h"

static void test_names(void **state)
{
	static const char *const good[] = {
		"a", "_", "0", "A.b-c_9", "a-", "a.", "Z", "org.qubes.gui"};
	static const char *const bad[] = {"", ".", "-", ".a", "-a", "a b", "a/b", "a\n", "a:b",
		"a*", "\xc3\xa4", "a\x80", "a@", "a[", "a`", "a{"};
	char name[NAME_SIZE + 1];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(name_check(good[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(name_check(bad[i]), -EINVAL);
	memset(name, 'x', sizeof(name));
	name[NAME_SIZE - 1] = '\0';
	assert_int_equal(name_check(name), 0);
	name[NAME_SIZE - 1] = 'x';
	name[NAME_SIZE] = '\0';
	assert_int_equal(name_check(name), -EINVAL);
}

static void test_patterns(void **state)
{
	static const char *const good[] = {
		"*", "?", "a*", "*.b", "_?-", "*/*", "w?b/e*", "uuid:1*/e", "[a]/e", "********"};
	static const char *const bad[] = {
		"", "/", "/*", "*/", "-*", ".*", "a[b]", "a/b/*", "a*/-", "a\n/*", "a b", "*\\"};
	char domain[DOMAIN_NAME_SIZE], name[NAME_SIZE], pattern[ADDRESS_SIZE + 1];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(pattern_split(good[i], domain, name), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(pattern_split(bad[i], domain, name), -EINVAL);
	assert_int_equal(pattern_split("w?b/e*", domain, name), 0);
	assert_string_equal(domain, "w?b");
	assert_string_equal(name, "e*");
	memset(pattern, '*', sizeof(pattern));
	pattern[NAME_SIZE - 1] = '\0';
	assert_int_equal(pattern_split(pattern, domain, name), 0);
	pattern[NAME_SIZE - 1] = '*';
	pattern[NAME_SIZE] = '\0';
	assert_int_equal(pattern_split(pattern, domain, name), -EINVAL);
}

static void test_addresses(void **state)
{
	static const struct {
		const char *address, *domain, *name;
	} cases[] = {
		{"echo", "", "echo"},
		{"guest/echo", "guest", "echo"},
		{"domid:3/echo", "domid:3", "echo"},
		{"uuid:10111213-1415-1617-1819-1a1b1c1d1e1f/echo",
			"uuid:10111213-1415-1617-1819-1a1b1c1d1e1f", "echo"},
		{"a domain ~!/e", "a domain ~!", "e"},
		{"", NULL, NULL},
		{"/", NULL, NULL},
		{"/echo", NULL, NULL},
		{"guest/", NULL, NULL},
		{"guest//echo", NULL, NULL},
		{"a/b/c", NULL, NULL},
		{"gu\nest/echo", NULL, NULL},
		{"gu\x7f"
		 "est/echo",
			NULL, NULL},
		{"gu\xc3\xa4st/echo", NULL, NULL},
		{"guest/.echo", NULL, NULL},
		{".echo", NULL, NULL},
		{"domid:3", NULL, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char domain[DOMAIN_NAME_SIZE] = "untouched", name[NAME_SIZE] = "untouched";
		int r = address_split(cases[i].address, domain, name);

		assert_int_equal(r, cases[i].domain ? 0 : -EINVAL);
		assert_string_equal(domain, r ? "untouched" : cases[i].domain);
		assert_string_equal(name, r ? "untouched" : cases[i].name);
	}
}

/* The longest domain and name fill ADDRESS_SIZE exactly; one more of either is refused. */
static void test_longest(void **state)
{
	char address[ADDRESS_SIZE + 2], domain[DOMAIN_NAME_SIZE], name[NAME_SIZE];

	for (size_t domain_len = DOMAIN_NAME_SIZE - 1; domain_len <= DOMAIN_NAME_SIZE;
		domain_len++) {
		for (size_t name_len = NAME_SIZE - 1; name_len <= NAME_SIZE; name_len++) {
			int want =
				domain_len < DOMAIN_NAME_SIZE && name_len < NAME_SIZE ? 0 : -EINVAL;

			memset(address, 'd', domain_len);
			address[domain_len] = '/';
			memset(address + domain_len + 1, 'n', name_len);
			address[domain_len + 1 + name_len] = '\0';
			assert_int_equal(address_split(address, domain, name), want);
			if (want == 0)
				assert_int_equal(strlen(address), ADDRESS_SIZE - 1);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
