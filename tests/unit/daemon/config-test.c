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
#include "base/report.h"
#include "base/text.h"
#include "daemon/config.h"
#include "tests/support/failing-malloc.h"
#include "tests/unit/daemon/cmocka-all.h"

/* config_parse's result, and the first line of its report, or "". */
static int parse(struct config *config, const char *text, char ret_error[REPORT_LINE_SIZE])
{
	struct report report = {.n = 0};
	int r = config_parse(config, "f", text, &report);

	assert_int_equal(report.n > 0, r == -EINVAL);
	(void)snprintf(ret_error, REPORT_LINE_SIZE, "%s", report.lines[0]);
	return r;
}

static void test_good(void **state)
{
	struct config config;
	char error[REPORT_LINE_SIZE] = "";

	config_init(&config);
	assert_int_equal(config.limits.quota[QUOTA_CHANNELS], DOMAIN_CHANNELS_MAX);
	assert_int_equal(parse(&config,
				 "# comment\n[limits]\nchannels = 12\nring-pages=4 ; inline\n"
				 "argo-ring-pages = 4096\nnames = 0\nmemory = 64\n[broker]\nhv = "
				 "sim:/tmp/x\nlog = warning\n"
				 "policy = /a\npolicy = /b\nadmin=/d\nstart-helper = /h",
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
	assert_string_equal(config.start_helper, "/h");
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
		{"channels = 3\n", "f:1: expected a section, as [broker], before 'channels'"},
		{"\n\n[limits]\nlinks = many\n", "f:4: links is 0 to 65536, not 'many'"},
		{"[limits]\nlinks = -1\n", "f:2: links is 0 to 65536, not '-1'"},
		{"[limits]\nlinks = 99999999999999999999\n",
			"f:2: links is 0 to 65536, not '99999999999999999999'"},
		{"[limits]\nlinks = 70000\n", "f:2: links is 0 to 65536, not '70000'"},
		{"[limits]\nring-pages = 3\n",
			"f:2: ring-pages is a power of two, 1 to 256, not '3'"},
		{"[limits]\nargo-ring-pages = 0\n", "f:2: argo-ring-pages is 1 to 4096, not '0'"},
		{"[limits]\nargo-ring-pages = 4097\n",
			"f:2: argo-ring-pages is 1 to 4096, not '4097'"},
		{"[limits]\nmemory = 63\n", "f:2: memory is 64 to 1048576, not '63'"},
		{"[broker]\nlog = loud\n", "f:2: unknown log level 'loud'"},
		{"[broker]\naudit = some\n", "f:2: audit is none, refused or all, not 'some'"},
		{"[broker]\nhv =\n", "f:2: no value after '='"},
		{"[broker]\nx = 1\nlog = loud\n", "f:2: unknown key 'x'"},
		{"[broker]\nhv = " FIFTY FIFTY FIFTY FIFTY "\nx = 1\n",
			"f:2: the line is too long ''"},
		{"[tags]\n-x = web\n", "f:2: a tag is spelt as a name, not '-x'"},
		{"[tags]\nx =\n", "f:2: no value after '='"},
		{"[tags]\nx = web any\n", "f:2: expected dom0, a domain's name or pattern, "
					  "domid:N or uuid:U, not 'any'"},
		{"[tags]\nx = tag:y\n", "f:2: expected dom0, a domain's name or pattern, "
					"domid:N or uuid:U, not 'tag:y'"},
		{"[tags]\nx = " FIFTY FIFTY "1234567890123456789012345678\n",
			"f:2: expected dom0, a domain's name or pattern, domid:N or uuid:U, not "
			"'" FIFTY "1234567890'"},
		{"[limits any]\nnames = 3\n",
			"f:2: expected [limits dom0], a domain's name or pattern, domid:N, uuid:U "
			"or tag:T, not 'any'"},
		{"[limits web]\nx = 3\n", "f:2: unknown key 'x'"},
		{"[limits web]\nlinks = x\n", "f:2: links is 0 to 65536, not 'x'"},
		{"[limits]\nnames = 3\nlinks = 1\nnames = 4\n",
			"f:4: line 2 has set it before: 'names'"},
		{"[limits]\nnames = 3\n[broker]\n[limits]\nnames = 3\n",
			"f:5: line 2 has set it before: 'names'"},
		{"[broker]\nlog = info\nlog = debug\n", "f:3: line 2 has set it before: 'log'"},
		{"[broker]\nhv = x\nadmin = /a\nhv = y\n", "f:4: line 2 has set it before: 'hv'"},
		{"[limits web]\nnames = 3\nnames = 4\n", "f:3: said before of the domains 'web'"},
		{"[limits web]\nnames = 3\n[limits web]\nlinks = 3\nnames = 4\n",
			"f:5: said before of the domains 'web'"},
		{"[limits " FIFTY "]\nnames = 3\n",
			"f:1: a section's name is too long: 'limits " FIFTY "]\n'"},
		{"[broker]\nstart-helper = x\n",
			"f:2: start-helper is an absolute path without blanks, not 'x'"},
		{"[broker]\nstart-helper = /x y\n",
			"f:2: start-helper is an absolute path without blanks, not '/x y'"},
		{"nonsense\n", "f:1: not KEY = VALUE nor [SECTION] ''"},
		{"[broker]\nnonsense\n", "f:2: not KEY = VALUE nor [SECTION] ''"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char error[REPORT_LINE_SIZE] = "";
		struct config config;

		config_init(&config);
		assert_int_equal(parse(&config, cases[i].text, error), -EINVAL);
		assert_string_equal(error, cases[i].error);
		config_fini(&config);
	}
}

/* Every line is looked at. */
static void test_all_errors(void **state)
{
	struct report report = {.n = 0};
	struct config config;

	config_init(&config);
	assert_int_equal(
		config_parse(&config, "f",
			"names = 1\n[limits]\nnonsense\nnames = 2\nx = 1\n[x\n[y]\nz = 1\n",
			&report),
		-EINVAL);
	assert_int_equal(report.n, 5);
	assert_string_equal(
		report.lines[0], "f:1: expected a section, as [broker], before 'names'");
	assert_string_equal(report.lines[1], "f:3: not KEY = VALUE nor [SECTION] ''");
	assert_string_equal(report.lines[2], "f:5: unknown key 'x'");
	assert_string_equal(report.lines[3], "f:6: not KEY = VALUE nor [SECTION] ''");
	assert_string_equal(report.lines[4], "f:8: unknown section 'y'");
	config_fini(&config);
}

/* Blanks at a line's beginning mean nothing. */
static void test_blanks(void **state)
{
	char error[REPORT_LINE_SIZE];
	struct config config;

	config_init(&config);
	assert_int_equal(
		parse(&config, "  [limits]\n\tnames = 5\n  links = 6\n  # c\n  ; d\n \n", error),
		0);
	assert_int_equal(config.limits.quota[QUOTA_NAMES], 5);
	assert_int_equal(config.limits.quota[QUOTA_LINKS], 6);
	config_fini(&config);
}

static const uint8_t uuid[16] = {0xaa};

/* The domain's tags, in the order of the file. */
static const char *tags_of(const struct config *config, const struct policy_subject *subject)
{
	static char text[POLICY_TAGS_MAX * NAME_SIZE];
	struct policy_tags tags;

	assignments_tags(config->assignments, subject, &tags);
	text[0] = '\0';
	for (unsigned i = 0; i < tags.n; i++) {
		strcat(text, tags.names[i]);
		strcat(text, " ");
	}
	strcat(text, tags.all_known ? "all" : "...");
	return text;
}

static void test_tags(void **state)
{
	static const struct policy_subject web = {"web", uuid, 1}, dom0 = {"Domain-0", uuid, 0},
					   unknown = {NULL, uuid, 7};
	char text[2048] = "[tags]\n", error[REPORT_LINE_SIZE];
	struct config config;

	config_init(&config);
	assert_int_equal(parse(&config,
				 "[tags]\nred = w* \tdb\nblue = dom0 web-2\nblue = web\n"
				 "green = uuid:aa000000-0000-0000-0000-000000000000\n",
				 error),
		0);
	assert_string_equal(tags_of(&config, &web), "red blue green all");
	assert_string_equal(tags_of(&config, &dom0), "blue green all");
	/* It may be called db. */
	assert_string_equal(tags_of(&config, &unknown), "green ...");
	config_fini(&config);
	config_init(&config);
	for (unsigned i = 0; i <= POLICY_TAGS_MAX; i++)
		(void)snprintf(text + strlen(text), 32, "t%u = web\n", i);
	assert_int_equal(parse(&config, text, error), 0);
	assert_non_null(strstr(tags_of(&config, &web), "t31 ..."));
	config_fini(&config);
}

static void test_domain_limits(void **state)
{
	static const struct policy_tags red = {.all_known = true, .n = 1, .names = {"red"}};
	static const struct policy_tags none = {.all_known = true};
	const struct policy_subject web = {"web", uuid, 1, .tags = &none};
	const struct policy_subject tagged = {"db", uuid, 2, .tags = &red};
	const struct policy_subject unknown = {NULL, uuid, 1, .tags = &none};
	const struct policy_subject other = {"x", uuid, 3, .tags = &none};
	struct broker_limits limits, want;
	char error[REPORT_LINE_SIZE];
	struct config config;

	config_init(&config);
	assert_int_equal(parse(&config,
				 "[limits w*]\nnames = 5\nmemory = 64\n[limits tag:red]\n"
				 "names = 2000\n[limits domid:1]\nnames = 7\nlinks = 9\n"
				 "[limits]\nlinks = 1000\n",
				 error),
		0);
	want = config.limits;
	assert_int_equal(want.quota[QUOTA_LINKS], 1000);
	assignments_limits(config.assignments, &other, &config.limits, &limits);
	assert_memory_equal(&limits, &want, sizeof(want));
	/* The first section that says it, key by key. */
	assignments_limits(config.assignments, &web, &config.limits, &limits);
	want.quota[QUOTA_NAMES] = 5;
	want.bytes = 65536;
	want.quota[QUOTA_LINKS] = 9;
	assert_memory_equal(&limits, &want, sizeof(want));
	/* It may be called w*: that lowers a limit, but does not raise it. */
	assignments_limits(config.assignments, &unknown, &config.limits, &limits);
	assert_memory_equal(&limits, &want, sizeof(want));
	want = config.limits;
	want.quota[QUOTA_NAMES] = 2000;
	assignments_limits(config.assignments, &tagged, &config.limits, &limits);
	assert_memory_equal(&limits, &want, sizeof(want));
	/* Its tags are not known. */
	want.quota[QUOTA_NAMES] = DOMAIN_NAMES_MAX;
	assignments_limits(config.assignments, &(struct policy_subject){"x", uuid, 3},
		&config.limits, &limits);
	assert_memory_equal(&limits, &want, sizeof(want));
	config_fini(&config);
}

/* The text's result; *ret_limits is then as it says, and everything else at its default. */
static int parse_limit(const char *key, uint64_t value, struct broker_limits *ret_limits)
{
	char text[64], error[REPORT_LINE_SIZE] = "";
	struct config config;
	int r;

	(void)snprintf(text, sizeof(text), "[limits]\n%s = %llu\n", key, (unsigned long long)value);
	config_init(&config);
	r = parse(&config, text, error);
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
	static const struct {
		const char *word;
		enum broker_audit audit;
	} audits[] = {{"none", BROKER_AUDIT_NONE}, {"refused", BROKER_AUDIT_REFUSED},
		{"all", BROKER_AUDIT_ALL}};
	struct config config, empty = {0};
	char text[256], error[REPORT_LINE_SIZE] = "";

	config_init(&config);
	broker_limits_default(&empty.limits);
	empty.log_level = LOG_INFO;
	empty.audit = BROKER_AUDIT_REFUSED;
	assert_memory_equal(&config, &empty, sizeof(config));
	assert_int_equal(parse(&config, "# nothing\n", error), 0);
	assert_memory_equal(&config, &empty, sizeof(config));
	assert_int_equal(parse(&config,
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
		assert_int_equal(parse(&config, text, error), 0);
		assert_int_equal(config.log_level, levels[i].level);
		config_fini(&config);
	}
	for (size_t i = 0; i < ARRAY_SIZE(audits); i++) {
		config_init(&config);
		(void)snprintf(text, sizeof(text), "[broker]\naudit = %s\n", audits[i].word);
		assert_int_equal(parse(&config, text, error), 0);
		assert_int_equal(config.audit, audits[i].audit);
		config_fini(&config);
	}
}

static void test_policies(void **state)
{
	char text[256] = "[broker]\n", error[REPORT_LINE_SIZE] = "";
	struct config config;

	for (unsigned i = 0; i < CONFIG_POLICY_MAX; i++)
		strcat(text, "policy = /p\n");
	config_init(&config);
	assert_int_equal(parse(&config, text, error), 0);
	assert_int_equal(config.n_policy, CONFIG_POLICY_MAX);
	assert_string_equal(config.policy[CONFIG_POLICY_MAX - 1], "/p");
	config_fini(&config);
	strcat(text, "policy = /q\n");
	config_init(&config);
	assert_int_equal(parse(&config, text, error), -EINVAL);
	assert_string_equal(error, "f:10: too many policies: '/q'");
	config_fini(&config);
}

/* The result for a file of this content. */
static int load_bytes(const char *bytes, size_t len, char ret_error[REPORT_LINE_SIZE])
{
	char path[] = "/tmp/msgd-config-XXXXXX";
	struct config config;
	FILE *file = fdopen(mkstemp(path), "w");
	char *at;
	struct report report = {.n = 0};
	int r;

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	config_init(&config);
	r = config_load(&config, path, &report);
	assert_int_equal(report.n, r < 0);
	(void)snprintf(ret_error, REPORT_LINE_SIZE, "%s", report.lines[0]);
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
	char error[REPORT_LINE_SIZE] = "", *text;
	struct report report = {.n = 0};
	struct config config;

	config_init(&config);
	assert_int_equal(config_load(&config, "/nonexistent/f", &report), -ENOENT);
	assert_string_equal(report.lines[0], "/nonexistent/f: No such file or directory");
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

/* The installed file says the defaults, in comments: its limits count as if they were none. */
static void test_installed(void **state)
{
	struct broker_limits limits;
	struct config config;
	char *text, *at, error[REPORT_LINE_SIZE] = "";
	unsigned n = 0;
	size_t len;

	assert_int_equal(text_read(INSTALLED_CONF, 65536, &text, &len, error), 0);
	at = strstr(text, "[limits]");
	assert_non_null(at);
	for (at = strstr(at, "\n#"); at && at[2] != '['; at = strstr(at + 1, "\n#")) {
		if (at[2] == ' ')
			continue;
		at[1] = ' ';
		n++;
	}
	config_init(&config);
	memset(&config.limits, 0, sizeof(config.limits));
	assert_int_equal(parse(&config, text, error), 0);
	broker_limits_default(&limits);
	assert_int_equal(n, QUOTA_COUNT + 4);
	assert_memory_equal(&config.limits, &limits, sizeof(limits));
	config_fini(&config);
	free(text);
}

/* As long as inih takes them: a line, of which a byte is for its end, and one more is an error. */
static void test_line_length(void **state)
{
	char text[256], error[REPORT_LINE_SIZE];
	struct config config;

	for (int over = 0; over < 2; over++) {
		(void)snprintf(text, sizeof(text), "[broker]\nhv = %0*d\nlog = info\n",
			INI_MAX_LINE - 7 + over, 0);
		config_init(&config);
		error[0] = '\0';
		assert_int_equal(parse(&config, text, error), over ? -EINVAL : 0);
		assert_string_equal(error, over ? "f:2: the line is too long ''" : "");
		config_fini(&config);
	}
}

/* Whichever allocation fails: never half a configuration that counts as whole. */
static void test_memory(void **state)
{
	char error[REPORT_LINE_SIZE];
	struct config config;
	bool hit;
	int r;

	for (unsigned n = 1;; n++) {
		config_init(&config);
		failing_malloc_set(n);
		r = parse(&config, "[broker]\nhv = sim:/x\npolicy = /a\npolicy = /b\nadmin = /c\n",
			error);
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
		cmocka_unit_test(test_all_errors),
		cmocka_unit_test(test_blanks),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_domain_limits),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_broker),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_installed),
		cmocka_unit_test(test_line_length),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
