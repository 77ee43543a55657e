/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msgd.conf: every key, and every way to get it wrong, each with file and line. */
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

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
		{"\n\n[limits]\nlinks = many\n", "f:4: links is 0 to 65536, not 'many'"},
		{"[limits]\nlinks = -1\n", "f:2: links is 0 to 65536, not '-1'"},
		{"[limits]\nlinks = 99999999999999999999\n",
			"f:2: links is 0 to 65536, not '99999999999999999999'"},
		{"[limits]\nlinks = 70000\n", "f:2: links is 0 to 65536, not '70000'"},
		{"[limits]\nring-pages = 3\n", "f:2: not a power of two: '3'"},
		{"[limits]\nargo-ring-pages = 0\n", "f:2: argo-ring-pages is 1 to 4096, not '0'"},
		{"[limits]\nargo-ring-pages = 4097\n",
			"f:2: argo-ring-pages is 1 to 4096, not '4097'"},
		{"[limits]\nmemory = 63\n", "f:2: memory is 64 to 1048576, not '63'"},
		{"[broker]\nlog = loud\n", "f:2: unknown log level 'loud'"},
		{"[broker]\nhv =\n", "f:2: no value after '='"},
		{"[broker]\nx = 1\nlog = loud\n", "f:2: unknown key 'x'"},
		{"[broker]\nhv = " FIFTY FIFTY FIFTY FIFTY "\nx = 1\n",
			"f:2: the line is too long ''"},
		{"nonsense\n", "f:1: not KEY = VALUE nor [SECTION] ''"},
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

/* The text's result; *ret_limits is then as it says, and everything else at its default. */
static int parse_limit(const char *key, uint64_t value, struct broker_limits *ret_limits)
{
	char text[64], error[CONFIG_ERROR_SIZE] = "";
	struct config config;
	int r;

	(void)snprintf(text, sizeof(text), "[limits]\n%s = %llu\n", key, (unsigned long long)value);
	config_init(&config);
	r = config_parse(&config, "f", text, error);
	*ret_limits = config.limits;
	config_fini(&config);
	return r;
}

/* Each key sets its own limit, between its bounds, and no other one. */
static void test_limits(void **state)
{
	struct broker_limits want, got;
	const struct {
		const char *key;
		uint32_t *field; /* of want */
		uint32_t min, max, unit;
	} keys[] = {
		{"processes", &want.quota[QUOTA_PROCESSES], 1, 4096, 1},
		{"names", &want.quota[QUOTA_NAMES], 0, 65536, 1},
		{"channels", &want.quota[QUOTA_CHANNELS], 0, 1048576, 1},
		{"links", &want.quota[QUOTA_LINKS], 0, 65536, 1},
		{"requests", &want.quota[QUOTA_REQUESTS], 1, 65536, 1},
		{"ends", &want.quota[QUOTA_ENDS], 0, 1048576, 1},
		{"announced", &want.quota[QUOTA_ANNOUNCED], 0, 4194304, 1},
		{"watches", &want.quota[QUOTA_WATCHES], 0, 4096, 1},
		{"memory", &want.bytes, 64, 1048576, 1024},
		{"backlog", &want.backlog, 1, 4096, 1},
		{"ring-pages", &want.ring_pages, 1, 256, 1},
		{"argo-ring-pages", &want.argo_ring_pages, 1, 4096, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		for (int max = 0; max < 2; max++) {
			uint32_t value = max ? keys[i].max : keys[i].min;

			broker_limits_default(&want);
			*keys[i].field = value * keys[i].unit;
			assert_int_equal(parse_limit(keys[i].key, value, &got), 0);
			assert_memory_equal(&got, &want, sizeof(got));
		}
		assert_int_equal(parse_limit(keys[i].key, keys[i].max + 1ULL, &got), -EINVAL);
		if (keys[i].min)
			assert_int_equal(
				parse_limit(keys[i].key, keys[i].min - 1ULL, &got), -EINVAL);
	}
}

/* Every key of [broker]; nothing else is said by default. */
static void test_broker(void **state)
{
	static const struct {
		const char *word;
		int level;
	} levels[] = {{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
		{"info", LOG_INFO}, {"debug", LOG_DEBUG}};
	struct config config, empty = {0};
	char text[256], error[CONFIG_ERROR_SIZE] = "";

	config_init(&config);
	broker_limits_default(&empty.limits);
	empty.log_level = LOG_INFO;
	assert_memory_equal(&config, &empty, sizeof(config));
	assert_int_equal(config_parse(&config, "f", "# nothing\n", error), 0);
	assert_memory_equal(&config, &empty, sizeof(config));
	assert_int_equal(config_parse(&config, "f",
				 "[broker]\nhv = xen\nadmin = /a\nattach = /b\noperators = adm\n"
				 "policy = /p\n[limits]\n[broker]\npolicy = /q\n",
				 error),
		0);
	assert_string_equal(config.hv, "xen");
	assert_string_equal(config.admin, "/a");
	assert_string_equal(config.attach, "/b");
	assert_string_equal(config.operators, "adm");
	assert_string_equal(config.policy[0], "/p");
	config_fini(&config);
	memset(&empty, 0, sizeof(empty));
	assert_memory_equal(&config, &empty, sizeof(config));
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		config_init(&config);
		(void)snprintf(text, sizeof(text), "[broker]\nlog = %s\n", levels[i].word);
		assert_int_equal(config_parse(&config, "f", text, error), 0);
		assert_int_equal(config.log_level, levels[i].level);
		config_fini(&config);
	}
}

static void test_policies(void **state)
{
	char text[256] = "[broker]\n", error[CONFIG_ERROR_SIZE] = "";
	struct config config;

	for (unsigned i = 0; i < CONFIG_POLICY_MAX; i++)
		strcat(text, "policy = /p\n");
	config_init(&config);
	assert_int_equal(config_parse(&config, "f", text, error), 0);
	assert_int_equal(config.n_policy, CONFIG_POLICY_MAX);
	assert_string_equal(config.policy[CONFIG_POLICY_MAX - 1], "/p");
	config_fini(&config);
	strcat(text, "policy = /q\n");
	config_init(&config);
	assert_int_equal(config_parse(&config, "f", text, error), -EINVAL);
	assert_string_equal(error, "f:10: too many policies: '/q'");
	config_fini(&config);
}

/* The result for a file of this content. */
static int load_bytes(const char *bytes, size_t len, char ret_error[CONFIG_ERROR_SIZE])
{
	char path[] = "/tmp/msgd-config-XXXXXX";
	struct config config;
	FILE *file = fdopen(mkstemp(path), "w");
	char *at;
	int r;

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	config_init(&config);
	r = config_load(&config, path, ret_error);
	config_fini(&config);
	assert_int_equal(unlink(path), 0);
	at = strstr(ret_error, path);
	if (at) /* each run has another path */
		memmove(at, at + sizeof(path) - 1, strlen(at + sizeof(path) - 1) + 1);
	return r;
}

static void test_load(void **state)
{
	static const char nul[] = "[broker]\nhv = x\0y\n";
	char error[CONFIG_ERROR_SIZE] = "", *text;
	struct config config;

	config_init(&config);
	assert_int_equal(config_load(&config, "/nonexistent/f", error), -ENOENT);
	assert_string_equal(error, "/nonexistent/f: No such file or directory");
	config_fini(&config);
	assert_int_equal(load_bytes("[broker]\nhv = x\n", 16, error), 0);
	assert_int_equal(load_bytes("", 0, error), 0);
	assert_int_equal(load_bytes(nul, sizeof(nul) - 1, error), -EIO);
	assert_string_equal(error, ": has NUL bytes");
	assert_int_equal(load_bytes("[x]\na = b\n", 10, error), -EINVAL);
	assert_string_equal(error, ":2: unknown section 'x'");
	text = malloc(65536);
	assert_non_null(text);
	memset(text, '\n', 65536);
	assert_int_equal(load_bytes(text, 65535, error), 0);
	assert_int_equal(load_bytes(text, 65536, error), -EFBIG);
	free(text);
}

/* As long as inih takes them: a line, of which a byte is for its end, and one more is an error. */
static void test_line_length(void **state)
{
	char text[256], error[CONFIG_ERROR_SIZE];
	struct config config;

	for (int over = 0; over < 2; over++) {
		(void)snprintf(text, sizeof(text), "[broker]\nhv = %0*d\nlog = info\n",
			INI_MAX_LINE - 7 + over, 0);
		config_init(&config);
		error[0] = '\0';
		assert_int_equal(config_parse(&config, "f", text, error), over ? -EINVAL : 0);
		assert_string_equal(error, over ? "f:2: the line is too long ''" : "");
		config_fini(&config);
	}
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
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_broker),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_line_length),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
