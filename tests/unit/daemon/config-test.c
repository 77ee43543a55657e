/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msgd.conf: every key, and every way to get it wrong, each with file and line. */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "base/macro.h"
#include "daemon/config.h"
#include "tests/support/failing-malloc.h"
#include "tests/unit/daemon/cmocka-all.h"

static void test_good(void **state)
{
	struct config config;
	char error[CONFIG_ERROR_SIZE] = "";

	config_init(&config);
	assert_int_equal(config.limits.quota[QUOTA_CHANNELS], DOMAIN_CHANNELS_MAX);
	assert_int_equal(config_parse(&config, "f",
				 "# comment\n[limits]\nchannels = 12\nring-pages=4 ; inline\n"
				 "argo-ring-pages = 4096\nnames = 0\nmemory = 64\n[broker]\nhv = "
				 "sim:/tmp/x\nlog = warning\n"
				 "policy = /a\npolicy = /b\nadmin=/c\nadmin=/d",
				 error),
		0);
	assert_int_equal(config.limits.quota[QUOTA_CHANNELS], 12);
	assert_int_equal(config.limits.ring_pages, 4);
	assert_int_equal(config.limits.bytes, 65536);
	assert_int_equal(config.limits.argo_ring_pages, 4096);
	assert_int_equal(LINK_ARGO_RING_LEN(4096), LINK_ARGO_RING_LEN_MAX);
	assert_int_equal(config.limits.quota[QUOTA_NAMES], 0);
	assert_int_equal(config.limits.quota[QUOTA_LINKS], DOMAIN_LINKS_MAX);
	assert_string_equal(config.hv, "sim:/tmp/x");
	assert_string_equal(config.admin, "/d");
	assert_int_equal(config.n_policy, 2);
	assert_string_equal(config.policy[1], "/b");
	assert_int_equal(config.log_level, LOG_WARNING);
	config_fini(&config);
}

#define FIFTY "12345678901234567890123456789012345678901234567890"

static void test_bad(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"[limits]\nchanels = 3\n", "f:2: unknown key 'chanels'"},
		{"[limit]\nchannels = 3\n", "f:2: unknown section 'limit'"},
		{"channels = 3\n", "f:1: unknown section ''"},
		{"\n\n[limits]\nlinks = many\n", "f:4: a bad number or out of range: 'many'"},
		{"[limits]\nlinks = -1\n", "f:2: a bad number or out of range: '-1'"},
		{"[limits]\nlinks = 99999999999999999999\n",
			"f:2: a bad number or out of range: '99999999999999999999'"},
		{"[limits]\nlinks = 70000\n", "f:2: a bad number or out of range: '70000'"},
		{"[limits]\nring-pages = 3\n", "f:2: not a power of two: '3'"},
		{"[limits]\nargo-ring-pages = 0\n", "f:2: a bad number or out of range: '0'"},
		{"[limits]\nargo-ring-pages = 4097\n", "f:2: a bad number or out of range: '4097'"},
		{"[broker]\nlog = loud\n", "f:2: unknown log level 'loud'"},
		{"[broker]\nhv =\n", "f:2: no value after '='"},
		{"[broker]\nx = 1\nlog = loud\n", "f:2: unknown key 'x'"},
		{"[broker]\nhv = " FIFTY FIFTY FIFTY FIFTY "\nx = 1\n",
			"f:2: the line is too long ''"},
		{"[broker]\nnonsense\n", "f:2: not KEY = VALUE nor [SECTION] ''"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char error[CONFIG_ERROR_SIZE] = "";
		struct config config;

		config_init(&config);
		assert_int_equal(config_parse(&config, "f", cases[i].text, error), -EINVAL);
		assert_string_equal(error, cases[i].error);
		config_fini(&config);
	}
}

static void test_load(void **state)
{
	char error[CONFIG_ERROR_SIZE];
	struct config config;

	config_init(&config);
	assert_int_equal(config_load(&config, "/nonexistent/f", error), -ENOENT);
	assert_string_equal(error, "/nonexistent/f: No such file or directory");
	config_fini(&config);
}

/* Whichever allocation fails: never half a configuration that counts as whole. */
static void test_memory(void **state)
{
	char error[CONFIG_ERROR_SIZE];
	struct config config;
	bool hit;
	int r;

	for (unsigned n = 1;; n++) {
		config_init(&config);
		failing_malloc_set(n);
		r = config_parse(&config, "f",
			"[broker]\nhv = sim:/x\npolicy = /a\npolicy = /b\nadmin = /c\n", error);
		hit = failing_malloc_end();
		assert_int_equal(r, hit ? -ENOMEM : 0);
		assert_true(hit || (config.n_policy == 2 && strcmp(config.admin, "/c") == 0));
		config_fini(&config);
		if (!hit)
			break;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
