/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The policy's grammar, line by line, and its matcher. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macro.h"
#include "daemon/policy/policy.h"
#include "proto/control.h"
#include "tests/support/failing-malloc.h"
#include "tests/unit/daemon/cmocka-all.h"

static bool asprintf_fails;

/* The linker names load.c's to it (--wrap). */
int __wrap_asprintf(char **ret_text, const char *format, ...);
int __wrap_asprintf(char **ret_text, const char *format, ...)
{
	va_list args;
	int n;

	if (asprintf_fails)
		return -1;
	va_start(args, format);
	n = vasprintf(ret_text, format, args);
	va_end(args);
	return n;
}

static const uint8_t uuid_a[16] = {0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa,
	0xaa, 0xaa, 0xaa, 0xaa, 0xaa};
static const uint8_t uuid_b[16] = {0xbb};

static const struct policy_subject dom0 = {"Domain-0", uuid_b, 0};
static const struct policy_subject web = {"web", uuid_a, 1};
static const struct policy_subject web2 = {"web-2", uuid_b, 2};

static struct policy *parse(const char *text)
{
	char error[POLICY_ERROR_SIZE] = "";
	struct policy *policy;

	assert_int_equal(policy_new(&policy), 0);
	if (policy_parse(policy, "p", text, strlen(text), error) < 0)
		fail_msg("%s", error);
	return policy;
}

static void test_errors(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"permit listen a on any", "p:1: a rule starts with allow or deny, not 'permit'"},
		{"# c\n\n allow", "p:3: 'allow listen NAME' or 'allow connect NAME' expected"},
		{"allow speak a on any",
			"p:1: 'allow listen NAME' or 'allow connect NAME' expected"},
		{"allow listen a", "p:1: 'on WHO' expected after 'a'"},
		{"allow listen a at any", "p:1: 'on WHO' expected after 'a'"},
		{"allow listen a/b on any", "p:1: 'a/b' is not a name or a glob on names"},
		{"allow connect a from any", "p:1: 'from WHO to WHO' expected after 'a'"},
		{"allow connect a to any from any", "p:1: 'from WHO to WHO' expected after 'a'"},
		{"allow listen a on same", "p:1: 'same' has no meaning here"},
		{"allow listen a on tag:x", "p:1: 'tag:x': tags are not supported yet"},
		{"allow listen a on domid:", "p:1: bad domid in 'domid:'"},
		{"allow listen a on domid:32752", "p:1: bad domid in 'domid:32752'"},
		{"allow listen a on domid:4294967297", "p:1: bad domid in 'domid:4294967297'"},
		{"allow listen a on uuid:12", "p:1: bad uuid in 'uuid:12'"},
		{"allow listen a on uuid:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaag",
			"p:1: bad uuid in 'uuid:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaag'"},
		{"allow listen a on x:1", "p:1: 'x:1' does not name domains"},
		{"allow connect a from any to any target=web",
			"p:1: 'target=' is not supported yet"},
		{"allow connect a from any to any colour=red", "p:1: unknown key 'colour'"},
		{"allow connect a from any to any log=yes max-channels=3 log=no",
			"p:1: 'log=' twice"},
		{"allow connect a from any to any loud", "p:1: 'loud' is not KEY=VALUE"},
		{"allow connect a from any to any log=maybe", "p:1: log is yes or no, not 'maybe'"},
		{"allow connect a from any to any max-channels=0",
			"p:1: max-channels is 1 to 65536"},
		{"allow connect a from any to any max-channels=65537",
			"p:1: max-channels is 1 to 65536"},
		{"allow connect a from any to any transport=tcp", "p:1: unknown transport 'tcp'"},
		{"allow connect a from any to any transport=?", "p:1: unknown transport '?'"},
		{"deny connect a from any to any max-channels=3",
			"p:1: 'max-channels=' is for 'allow connect' only"},
		{"allow listen a on any max-channels=3",
			"p:1: 'max-channels=' is for 'allow connect' only"},
		{"allow listen a on any a a a a a a a a a a a a", "p:1: too many words"},
		{"allow listen a on any a a a a a a a a a a a", "p:1: 'a' is not KEY=VALUE"},
		{"allow", "p:1: 'allow listen NAME' or 'allow connect NAME' expected"},
		{"deny listen", "p:1: 'deny listen NAME' or 'deny connect NAME' expected"},
		{"allow connect a from any to", "p:1: 'from WHO to WHO' expected after 'a'"},
		{"allow connect a on any to any", "p:1: 'from WHO to WHO' expected after 'a'"},
		{"allow connect a from any on any", "p:1: 'from WHO to WHO' expected after 'a'"},
		{"allow connect a from x:1 to any", "p:1: 'x:1' does not name domains"},
		{"allow connect a from any to x=1", "p:1: 'x=1' does not name domains"},
		{"allow listen a on a/b", "p:1: 'a/b' does not name domains"},
		{"allow listen a on w\x1f", "p:1: 'w\x1f' does not name domains"},
		{"allow listen a on w\x7f", "p:1: 'w\x7f' does not name domains"},
		{"allow listen a on w\x80", "p:1: 'w\x80' does not name domains"},
		{"allow listen a\x7f on any", "p:1: 'a\x7f' is not a name or a glob on names"},
		{"allow listen a on uuid:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaaa",
			"p:1: bad uuid in 'uuid:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaaa'"},
		{"allow listen a on uuid:aaaaaaa-aaaaa-aaaa-aaaa-aaaaaaaaaaaa",
			"p:1: bad uuid in 'uuid:aaaaaaa-aaaaa-aaaa-aaaa-aaaaaaaaaaaa'"},
		{"allow listen a on uuid:aaaaaaaa-aaaaa-aaa-aaaa-aaaaaaaaaaaa",
			"p:1: bad uuid in 'uuid:aaaaaaaa-aaaaa-aaa-aaaa-aaaaaaaaaaaa'"},
		{"allow listen a on uuid:aaaaaaaa-aaaa-aaaaa-aaa-aaaaaaaaaaaa",
			"p:1: bad uuid in 'uuid:aaaaaaaa-aaaa-aaaaa-aaa-aaaaaaaaaaaa'"},
		{"allow listen a on uuid:aaaaaaaa-aaaa-aaaa-aaaaa-aaaaaaaaaaa",
			"p:1: bad uuid in 'uuid:aaaaaaaa-aaaa-aaaa-aaaaa-aaaaaaaaaaa'"},
		{"allow connect a from any to any max-channels=",
			"p:1: max-channels is 1 to 65536"},
		{"allow connect a from any to any log=yes log=yes", "p:1: 'log=' twice"},
		{"deny connect a from any to any transport=argo",
			"p:1: 'transport=' is for 'allow connect' only"},
	};
	static const char nul[] = "allow listen\0 a on any";
	char error[POLICY_ERROR_SIZE], *line;
	struct policy *policy;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(policy_new(&policy), 0);
		assert_int_equal(
			policy_parse(policy, "p", cases[i].text, strlen(cases[i].text), error),
			-EINVAL);
		assert_string_equal(error, cases[i].error);
		policy_free(policy);
	}
	assert_int_equal(policy_new(&policy), 0);
	assert_int_equal(policy_parse(policy, "p", nul, sizeof(nul) - 1, error), -EINVAL);
	assert_string_equal(error, "p:1: a NUL byte");
	line = malloc(600);
	memset(line, ' ', 600);
	assert_int_equal(policy_parse(policy, "p", line, 511, error), 0);
	for (size_t len = 512; len <= 600; len += 88) {
		assert_int_equal(policy_parse(policy, "p", line, len, error), -EINVAL);
		assert_string_equal(error, "p:1: the line is too long");
	}
	free(line);
	policy_free(policy);
	assert_int_equal(policy_new(&policy), 0);
	for (unsigned i = 0; i < POLICY_RULES_MAX; i++)
		assert_int_equal(policy_parse(policy, "p", "deny listen * on any", 20, error), 0);
	assert_int_equal(policy_parse(policy, "p", "deny listen * on any", 20, error), -E2BIG);
	assert_string_equal(error, "p:1: more than 16384 rules");
	policy_free(policy);
}

static bool listens(const struct policy *policy, const char *name, const struct policy_subject *who)
{
	struct policy_verdict verdict;

	policy_judge(policy, name, NULL, who, POLICY_EXACT, &verdict);
	return verdict.allow;
}

static bool connects(const struct policy *policy, const char *name,
	const struct policy_subject *from, const struct policy_subject *to)
{
	struct policy_verdict verdict;

	policy_judge(policy, name, from, to, POLICY_EXACT, &verdict);
	return verdict.allow;
}

static void test_who(void **state)
{
	struct policy *policy =
		parse("allow listen any on any\n"
		      "allow listen zero on dom0 # a comment\n"
		      "allow\tlisten  glob on web*\r\n"
		      "allow listen one on web\n"
		      "allow listen q on we?\n"
		      "allow listen id on domid:2\n"
		      "allow listen u on uuid:AAAAAAAA-aaaa-aaaa-aaaa-aaaaaaaaaaaa\n"
		      "deny listen v on uuid:AAAAAAAA-aaaa-aaaa-aaaa-aaaaaaaaaaaa\n"
		      "allow listen v on any");

	assert_int_equal(policy_rules(policy), 9);
	assert_true(listens(policy, "any", &dom0) && listens(policy, "any", &web2));
	assert_true(listens(policy, "zero", &dom0) && !listens(policy, "zero", &web));
	assert_true(listens(policy, "glob", &web) && listens(policy, "glob", &web2));
	assert_false(listens(policy, "glob", &dom0));
	assert_true(listens(policy, "one", &web) && !listens(policy, "one", &web2));
	assert_true(listens(policy, "q", &web) && !listens(policy, "q", &web2));
	assert_true(listens(policy, "id", &web2) && !listens(policy, "id", &web));
	assert_true(listens(policy, "u", &web) && !listens(policy, "u", &web2));
	assert_true(listens(policy, "v", &web2) && !listens(policy, "v", &web));
	assert_false(listens(policy, "other", &dom0)); /* default deny */
	assert_false(
		connects(policy, "any", &web, &dom0)); /* a listen rule is not a connect rule */
	policy_free(policy);
}

/* The first and last of each kind of value that a rule may have. */
static void test_bounds(void **state)
{
	uint8_t uuid[16];
	static const struct policy_subject last = {"!~", uuid_a, 32751};
	struct policy *policy =
		parse("allow listen a on domid:32751\n"
		      "allow listen b on !~\n"
		      "allow connect c from any to any max-channels=1\n"
		      "allow connect d from any to any max-channels=65536\n"
		      "allow connect e from any to any transport=any\n"
		      "allow connect f from any to any transport=argo-strict log=no\n"
		      "allow connect g from any to any transport=grant log=yes\n"
		      "deny connect h from any to any log=no\n");
	struct policy_verdict verdict;
	char text[32];

	assert_int_equal(uuid_parse("AAAAAAAA-aaaa-aaaa-aaaa-aaaaaaaaaaaa", uuid), 0);
	assert_memory_equal(uuid, uuid_a, sizeof(uuid));
	assert_int_equal(uuid_parse("", uuid), -EINVAL);
	assert_true(listens(policy, "a", &last) && !listens(policy, "a", &web));
	assert_true(listens(policy, "b", &last) && !listens(policy, "b", &web));
	policy_judge(policy, "c", &web, &dom0, POLICY_EXACT, &verdict);
	assert_int_equal(verdict.max_channels, 1);
	policy_judge(policy, "d", &web, &dom0, POLICY_EXACT, &verdict);
	assert_int_equal(verdict.max_channels, 65536);
	assert_int_equal(verdict.transport, TRANSPORT_ANY);
	assert_int_equal(verdict.log, POLICY_LOG_DEFAULT);
	policy_judge(policy, "e", &web, &dom0, POLICY_EXACT, &verdict);
	assert_int_equal(verdict.transport, TRANSPORT_ANY);
	assert_int_equal(verdict.max_channels, 0);
	policy_judge(policy, "f", &web, &dom0, POLICY_EXACT, &verdict);
	assert_int_equal(verdict.transport, TRANSPORT_ARGO_STRICT);
	assert_int_equal(verdict.log, POLICY_LOG_NO);
	policy_judge(policy, "g", &web, &dom0, POLICY_EXACT, &verdict);
	assert_int_equal(verdict.transport, TRANSPORT_GRANT);
	policy_verdict_rule(&verdict, text, sizeof(text));
	assert_string_equal(text, "p:7");
	policy_judge(policy, "h", &web, &dom0, POLICY_EXACT, &verdict);
	assert_false(verdict.allow);
	assert_int_equal(verdict.line, 8);
	policy_judge(policy, "i", &web, &dom0, POLICY_EXACT, &verdict);
	policy_verdict_rule(&verdict, text, sizeof(text));
	assert_string_equal(text, "no rule");
	policy_free(policy);
}

static void test_connect(void **state)
{
	struct policy *policy = parse("deny connect db from web-2 to any log=no\n"
				      "allow connect db from web* to dom0 max-channels=7 "
				      "transport=argo log=yes\n"
				      "allow connect own from any to same\n");
	struct policy_verdict verdict;

	policy_judge(policy, "db", &web, &dom0, POLICY_EXACT, &verdict);
	assert_true(verdict.allow);
	assert_int_equal(verdict.max_channels, 7);
	assert_int_equal(verdict.transport, TRANSPORT_ARGO);
	assert_int_equal(verdict.log, POLICY_LOG_YES);
	assert_string_equal(verdict.file, "p");
	assert_int_equal(verdict.line, 2);
	policy_judge(policy, "db", &web2, &dom0, POLICY_EXACT, &verdict);
	assert_false(verdict.allow);
	assert_int_equal(verdict.line, 1);
	assert_int_equal(verdict.log, POLICY_LOG_NO);
	policy_judge(policy, "x", &web2, &dom0, POLICY_EXACT, &verdict);
	assert_false(verdict.allow);
	assert_null(verdict.file);
	assert_true(connects(policy, "own", &web, &web));
	assert_false(connects(policy, "own", &web, &web2));
	policy_free(policy);
}

/* An unknown fact never permits, unless the question is whether anything could be permitted. */
static void test_modes(void **state)
{
	struct policy *policy =
		parse("deny connect a from any to uuid:bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb\n"
		      "allow connect a from web to w*\n"
		      "allow connect b from any to same\n");
	struct policy_subject named = {"w9", NULL, POLICY_DOMID_UNKNOWN};
	struct policy_subject nobody = {NULL, NULL, POLICY_DOMID_UNKNOWN};
	struct policy_verdict verdict;

	/* The deny might have matched: refused, as the domain would be. */
	policy_judge(policy, "a", &web, &named, POLICY_ABSENT, &verdict);
	assert_false(verdict.allow);
	policy_judge(policy, "a", &web, &nobody, POLICY_ANY, &verdict);
	assert_true(verdict.allow);
	policy_judge(policy, "a", &web2, &nobody, POLICY_ANY, &verdict);
	assert_false(verdict.allow);
	policy_judge(policy, "b", &web, &nobody, POLICY_ABSENT, &verdict);
	assert_false(verdict.allow);
	policy_judge(policy, "b", &web, &nobody, POLICY_ANY, &verdict);
	assert_true(verdict.allow);
	policy_free(policy);
}

/* Each kind of fact that is not known, in each mode. */
static void test_unknown_facts(void **state)
{
	static const char *const whos[] = {
		"domid:3", "uuid:bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb", "db", "same"};
	struct policy_subject nobody = {NULL, NULL, POLICY_DOMID_UNKNOWN};
	char text[256];

	for (size_t i = 0; i < ARRAY_SIZE(whos); i++) {
		struct policy_verdict verdict;
		struct policy *policy;

		(void)snprintf(text, sizeof(text),
			"allow connect a from any to %s\ndeny connect b from any to %s\n"
			"allow connect b from any to any\n",
			whos[i], whos[i]);
		policy = parse(text);
		policy_judge(policy, "a", &web, &nobody, POLICY_ABSENT, &verdict);
		assert_false(verdict.allow);
		policy_judge(policy, "a", &web, &nobody, POLICY_ANY, &verdict);
		assert_true(verdict.allow);
		policy_judge(policy, "b", &web, &nobody, POLICY_ABSENT, &verdict);
		assert_false(verdict.allow);
		policy_judge(policy, "b", &web, &nobody, POLICY_ANY, &verdict);
		assert_true(verdict.allow);
		policy_free(policy);
	}
}

/* The longest names fit, and one character more is refused. */
static void test_lengths(void **state)
{
	char name[NAME_SIZE + 1], domain[DOMAIN_NAME_SIZE + 1], text[512], error[POLICY_ERROR_SIZE];
	struct policy *policy;

	for (unsigned over = 0; over < 4; over++) {
		size_t n = NAME_SIZE - 1 + (over & 1), d = DOMAIN_NAME_SIZE - 1 + (over >> 1);

		memset(memset(name, 0, sizeof(name)), 'n', n);
		memset(memset(domain, 0, sizeof(domain)), 'd', d);
		(void)snprintf(text, sizeof(text), "allow listen %s on %s", name, domain);
		assert_int_equal(policy_new(&policy), 0);
		assert_int_equal(
			policy_parse(policy, "p", text, strlen(text), error), over ? -EINVAL : 0);
		assert_int_equal(
			listens(policy, name, &(struct policy_subject){domain, uuid_a, 1}), !over);
		policy_free(policy);
	}
}

/* A domain whose name cannot be read may be any: no allow by a name is for it, each deny is. */
static void test_unknown_name(void **state)
{
	static const enum policy_mode modes[] = {POLICY_EXACT, POLICY_ABSENT, POLICY_ANY};
	struct policy_subject unknown = {NULL, uuid_a, 5};
	struct policy_subject nobody = {NULL, NULL, POLICY_DOMID_UNKNOWN};
	struct policy *policy = parse("deny connect a from vault to any\n"
				      "deny connect b from any to v?ult\n"
				      "allow connect c from web to any\n"
				      "allow connect d from any to web*\n"
				      "allow listen e on web\n"
				      "deny listen f on web\n"
				      "allow connect g from domid:5 to any\n"
				      "allow connect h from ** to *\n"
				      "deny connect i from any to same\n"
				      "allow connect a from any to any\n"
				      "allow connect b from any to any\n"
				      "allow connect i from any to any\n"
				      "allow listen f on any\n");
	struct policy_verdict verdict;

	assert_false(connects(policy, "a", &unknown, &web));
	assert_true(connects(policy, "a", &web, &unknown));
	assert_false(connects(policy, "b", &web, &unknown));
	assert_true(connects(policy, "b", &unknown, &web));
	assert_false(connects(policy, "c", &unknown, &web));
	assert_false(connects(policy, "d", &web, &unknown));
	assert_false(listens(policy, "e", &unknown));
	assert_false(listens(policy, "f", &unknown));
	assert_true(connects(policy, "g", &unknown, &web));
	assert_true(connects(policy, "h", &unknown, &unknown)); /* any name matches */
	assert_false(connects(policy, "i", &unknown, &unknown));
	assert_true(connects(policy, "i", &unknown, &web));
	/* Whatever is asked of the target. */
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		policy_judge(policy, "a", &unknown, &nobody, modes[i], &verdict);
		assert_false(verdict.allow);
		policy_judge(policy, "c", &unknown, &nobody, modes[i], &verdict);
		assert_false(verdict.allow);
	}
	policy_free(policy);
}

static void test_glob(void **state)
{
	static const struct {
		const char *glob, *text;
		bool matches;
	} cases[] = {
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "abc", true},
		{"a*c", "abbc", true},
		{"a*c", "abcd", false},
		{"?", "", false},
		{"?", "a", true},
		{"a*b*c", "axbxbxc", true},
		{"a*b*c", "axc", false},
		{"*a*a*a*b", "aaaaaaaaaaaaaaaac", false},
		{"**", "x", true},
		{"a?", "a", false},
		{"*a", "ba", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (policy_glob(cases[i].glob, cases[i].text) != cases[i].matches)
			fail_msg("'%s' on '%s'", cases[i].glob, cases[i].text);
	}
}

static void write_file(const char *directory, const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void remove_file(const char *directory, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	assert_int_equal(unlink(path), 0);
}

static void test_load(void **state)
{
	char directory[] = "/tmp/msgd-policy-XXXXXX", error[POLICY_ERROR_SIZE], want[300];
	const char *paths[2] = {directory, "/nonexistent/p"};
	struct policy *policy = NULL;
	struct policy_verdict verdict;

	assert_non_null(mkdtemp(directory));
	/* Name order, not creation order; other names are not policy. */
	write_file(directory, "20-b.policy", "allow listen * on any\n");
	write_file(directory, "10-a.policy", "deny listen secret on any\n");
	write_file(directory, "00.policy.bak", "garbage\n");
	assert_int_equal(policy_load(paths, 1, &policy, error), 0);
	assert_int_equal(policy_rules(policy), 2);
	policy_judge(policy, "secret", NULL, &web, POLICY_EXACT, &verdict);
	assert_false(verdict.allow);
	assert_true(strstr(verdict.file, "10-a.policy") != NULL);
	assert_true(listens(policy, "x", &web));
	policy_free(policy);
	policy = NULL;
	write_file(directory, "30.policy", "\nallow\n");
	assert_int_equal(policy_load(paths, 1, &policy, error), -EINVAL);
	assert_null(policy);
	snprintf(want, sizeof(want), "%s/30.policy:2: ", directory);
	assert_memory_equal(error, want, strlen(want));
	assert_int_equal(policy_load(paths + 1, 1, &policy, error), -ENOENT);
	assert_string_equal(error, "/nonexistent/p: No such file or directory");
	remove_file(directory, "20-b.policy");
	remove_file(directory, "10-a.policy");
	remove_file(directory, "00.policy.bak");
	remove_file(directory, "30.policy");
	assert_int_equal(rmdir(directory), 0);
}

/* Each path in its turn, and within a directory no further file than the first bad one. */
static void test_load_paths(void **state)
{
	char directory[] = "/tmp/msgd-policy-XXXXXX", file[64], error[POLICY_ERROR_SIZE], want[128];
	const char *paths[2] = {file, directory};
	struct policy *policy = NULL;
	struct policy_verdict verdict;
	char *text = malloc((1 << 20) + 1);

	assert_non_null(text);
	assert_non_null(mkdtemp(directory));
	(void)snprintf(file, sizeof(file), "%s/other", directory);
	write_file(directory, "other", "deny listen a on any\n");
	write_file(directory, "1.policy", "allow listen a on any\nallow listen b on any\n");
	write_file(directory, ".2.policy", "nonsense\n");
	assert_int_equal(policy_load(paths, 2, &policy, error), 0);
	assert_int_equal(policy_rules(policy), 3);
	policy_judge(policy, "a", NULL, &web, POLICY_EXACT, &verdict);
	assert_string_equal(verdict.file, file);
	assert_true(listens(policy, "b", &web));
	policy_free(policy);
	assert_int_equal(policy_load(paths, 0, &policy, error), 0);
	assert_int_equal(policy_rules(policy), 0);
	policy_free(policy);
	policy = NULL;
	write_file(directory, "2.policy", "bad\n");
	write_file(directory, "3.policy", "worse\n");
	assert_int_equal(policy_load(paths, 2, &policy, error), -EINVAL);
	(void)snprintf(want, sizeof(want), "%s/2.policy:1: ", directory);
	assert_memory_equal(error, want, strlen(want));
	memset(text, '\n', 1 << 20);
	text[(1 << 20) - 1] = '\0';
	write_file(directory, "other", text);
	assert_int_equal(policy_load(paths, 1, &policy, error), 0);
	policy_free(policy);
	policy = NULL;
	strcpy(text + (1 << 20) - 1, "\n");
	write_file(directory, "other", text);
	assert_int_equal(policy_load(paths, 1, &policy, error), -EFBIG);
	(void)snprintf(want, sizeof(want), "%s: has 1048576 bytes or more", file);
	assert_string_equal(error, want);
	assert_null(policy);
	free(text);
	remove_file(directory, "other");
	remove_file(directory, "1.policy");
	remove_file(directory, ".2.policy");
	remove_file(directory, "2.policy");
	remove_file(directory, "3.policy");
	assert_int_equal(rmdir(directory), 0);
}

/* A directory that is empty, and one that cannot be read. */
static void test_load_directory(void **state)
{
	char directory[] = "/tmp/msgd-policy-XXXXXX", error[POLICY_ERROR_SIZE] = "", want[128];
	const char *paths[1] = {directory};
	struct policy *policy = NULL;
	struct rlimit none, limit;

	assert_non_null(mkdtemp(directory));
	assert_int_equal(policy_load(paths, 1, &policy, error), 0);
	assert_int_equal(policy_rules(policy), 0);
	policy_free(policy);
	policy = NULL;
	write_file(directory, "a.policy", "allow listen a on any\n");
	assert_int_equal(policy_load(paths, 1, &policy, error), 0);
	assert_string_equal(error, "");
	policy_free(policy);
	policy = NULL;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(policy_load(paths, 1, &policy, error), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	(void)snprintf(want, sizeof(want), "%s: Too many open files", directory);
	assert_string_equal(error, want);
	asprintf_fails = true;
	assert_int_equal(policy_load(paths, 1, &policy, error), -ENOMEM);
	asprintf_fails = false;
	(void)snprintf(want, sizeof(want), "%s: Cannot allocate memory", directory);
	assert_string_equal(error, want);
	assert_null(policy);
	remove_file(directory, "a.policy");
	assert_int_equal(rmdir(directory), 0);
}

/* Whichever allocation fails: an error that says so, and no policy with rules left out. */
static void test_memory(void **state)
{
	char directory[] = "/tmp/msgd-policy-XXXXXX", error[POLICY_ERROR_SIZE], text[4096] = "";
	const char *paths[1] = {directory};
	struct policy *policy;
	bool hit;

	/* More rules than the first array of them holds. */
	for (int i = 0; i < 40; i++)
		strcat(text,
			i % 2 ? "allow listen a on web\n" : "deny connect b from web to any\n");
	assert_non_null(mkdtemp(directory));
	write_file(directory, "a.policy", text);
	for (unsigned n = 1;; n++) {
		policy = NULL;
		error[0] = '\0';
		failing_malloc_set(n);
		if (policy_load(paths, 1, &policy, error) < 0)
			assert_non_null(strstr(error, "Cannot allocate memory"));
		else
			assert_int_equal(policy_rules(policy), 40);
		hit = failing_malloc_end();
		assert_true(hit == !policy);
		policy_free(policy);
		if (!hit)
			break;
	}
	remove_file(directory, "a.policy");
	assert_int_equal(rmdir(directory), 0);
}

/* A path that is no file is an error that names it, and is not waited for. */
static void test_load_other_kinds(void **state)
{
	char directory[] = "/tmp/msgd-policy-XXXXXX", path[64], error[POLICY_ERROR_SIZE], want[128];
	const char *paths[1] = {directory};
	struct policy *policy = NULL;

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/a.policy", directory);
	(void)alarm(10);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(policy_load(paths, 1, &policy, error), -EINVAL);
	snprintf(want, sizeof(want), "%s: is a FIFO, not a file", path);
	assert_string_equal(error, want);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(policy_load(paths, 1, &policy, error), -EINVAL);
	snprintf(want, sizeof(want), "%s: is a directory, not a file", path);
	assert_string_equal(error, want);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("/dev/zero", path), 0);
	assert_int_equal(policy_load(paths, 1, &policy, error), -EINVAL);
	snprintf(want, sizeof(want), "%s: is a device, not a file", path);
	assert_string_equal(error, want);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("nothing", path), 0);
	assert_int_equal(policy_load(paths, 1, &policy, error), -ENOENT);
	assert_int_equal(unlink(path), 0);
	/* One that stands alone, too. */
	assert_int_equal(mkfifo(path, 0600), 0);
	paths[0] = path;
	assert_int_equal(policy_load(paths, 1, &policy, error), -EINVAL);
	assert_int_equal(unlink(path), 0);
	(void)alarm(0);
	assert_int_equal(rmdir(directory), 0);
	assert_null(policy);
}

/* ---- the index and the memos, against one rule at a time ----------------------------------- */

#define RANDOM_RULES 300U

static unsigned random_state;

static const char *one_of(const char *const *words, unsigned n)
{
	random_state = random_state * 1103515245U + 12345U;
	return words[(random_state >> 16) % n];
}

#define ONE_OF(words) one_of(words, sizeof(words) / sizeof((words)[0]))

static void random_rule(char *rule, size_t size)
{
	static const char *const actions[] = {"allow", "deny"};
	static const char *const names[] = {"a", "ab", "abc", "abd", "b", "ab*", "a*", "*c", "*",
		"a?c", "?", "??", "*b*", "abc*", "*d", "xyz", "a*c"};
	static const char *const whos[] = {"any", "web", "db", "w*", "*b", "domid:1", "domid:2",
		"uuid:11111111-1111-1111-1111-111111111111", "same", "nobody"};
	const char *action = ONE_OF(actions), *name = ONE_OF(names), *from = ONE_OF(whos);
	const char *to = ONE_OF(whos);

	if (strcmp(to, "same") == 0 && strcmp(from, "same") == 0)
		(void)snprintf(rule, size, "%s listen %s on any", action, name);
	else
		(void)snprintf(rule, size, "%s connect %s from %s to %s", action, name, from, to);
}

static struct policy *policy_of(const char *rule)
{
	char error[POLICY_ERROR_SIZE];
	struct policy *policy;

	assert_int_equal(policy_new(&policy), 0);
	assert_int_equal(policy_parse(policy, "r", rule, strlen(rule), error), 0);
	return policy;
}

/* The line of the first rule that decides by itself; 0: none does. */
static unsigned decides(struct policy *const *rules, unsigned n, const char *name,
	const struct policy_subject *from, const struct policy_subject *to, enum policy_mode mode)
{
	struct policy_verdict verdict;

	for (unsigned i = 0; i < n; i++) {
		(void)policy_judge(rules[i], name, from, to, mode, &verdict);
		if (verdict.file)
			return i + 1;
	}
	return 0;
}

static void test_index(void **state)
{
	static const char *const names[] = {"a", "ab", "abc", "abcd", "abd", "b", "c", "xyz", "zc"};
	static const uint8_t uuids[2][16] = {{0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
						     0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11},
		{0x22}};
	static struct policy_known memos[2];
	const struct policy_subject subjects[] = {
		{.name = "web", .uuid = uuids[0], .domid = 1},
		{.name = "db", .uuid = uuids[1], .domid = 2},
		{.name = "web", .uuid = uuids[0], .domid = 1, .known = &memos[0]},
		{.name = "db", .uuid = uuids[1], .domid = 2, .known = &memos[1]},
		{.domid = POLICY_DOMID_UNKNOWN},
		{.name = "db", .domid = POLICY_DOMID_UNKNOWN},
	};
	struct policy *whole, *rules[RANDOM_RULES];
	char rule[128], error[POLICY_ERROR_SIZE];
	struct policy_verdict verdict;

	for (random_state = 1; random_state < 5; random_state += 1) {
		unsigned seed = random_state;

		assert_int_equal(policy_new(&whole), 0);
		for (unsigned i = 0; i < RANDOM_RULES; i++) {
			random_rule(rule, sizeof(rule) - 1);
			rules[i] = policy_of(rule);
			strcat(rule, "\n");
			(void)snprintf(error, sizeof(error), "%u", i + 1);
			assert_int_equal(policy_parse(whole, error, rule, strlen(rule), error), 0);
		}
		(void)policy_known_make(whole, &subjects[2]);
		(void)policy_known_make(whole, &subjects[3]);
		for (unsigned i = 0; i < 9U * 7 * 6 * 3; i++) {
			const char *name = names[i % 9];
			const struct policy_subject *from =
				i / 9 % 7 < 4 ? &subjects[i / 9 % 7] : NULL;
			const struct policy_subject *to = &subjects[i / 63 % 6];
			enum policy_mode mode = (enum policy_mode)(i / 378);
			unsigned line = decides(rules, RANDOM_RULES, name, from, to, mode);

			(void)policy_judge(whole, name, from, to, mode, &verdict);
			assert_int_equal(verdict.file ? atoi(verdict.file) : 0, line);
		}
		policy_free(whole);
		for (unsigned i = 0; i < RANDOM_RULES; i++)
			policy_free(rules[i]);
		random_state = seed;
	}
}

/* More names than the index has buckets: each finds its own rule, and no other. */
static void test_many_names(void **state)
{
	char rule[64], error[POLICY_ERROR_SIZE];
	struct policy_named named;
	struct policy_verdict verdict;
	struct policy *policy;

	assert_int_equal(policy_new(&policy), 0);
	for (unsigned i = 0; i < 15000; i++) {
		(void)snprintf(rule, sizeof(rule), "allow listen %sn%u%s on any\n",
			i % 3 == 2 ? "*." : "", i / 3, i % 3 == 1 ? ".*" : "");
		(void)snprintf(error, sizeof(error), "%u", i + 1);
		assert_int_equal(policy_parse(policy, error, rule, strlen(rule), error), 0);
	}
	for (unsigned i = 0; i < 15000; i++) {
		(void)snprintf(rule, sizeof(rule), "%sn%u%s", i % 3 == 2 ? "x." : "", i / 3,
			i % 3 == 1 ? ".x" : "");
		policy_judge(policy, rule, NULL, &web, POLICY_EXACT, &verdict);
		assert_true(verdict.file && atoi(verdict.file) == (int)i + 1);
	}
	assert_false(listens(policy, "n5000", &web));
	/* They are spread over the buckets. */
	assert_in_range(policy_find(policy, "n4999.x", false, &named), 1, 100);
	assert_in_range(policy_find(policy, "x.n4999", false, &named), 1, 100);
	policy_free(policy);
}

/* The bits of a policy's rules that speak of the name. */
static uint64_t named_bits(const struct policy *policy, const char *name, bool connect)
{
	struct policy_named named;

	memset(&named, 0xa5, sizeof(named));
	(void)policy_find(policy, name, connect, &named);
	assert_int_equal(named.connect, connect);
	return named.words[0] & 1 ? named.bits[0] : 0;
}

/* The work of judging is counted in rules and globs looked at; a guest pays for it. */
static void test_cost(void **state)
{
	static struct policy_known memo;
	const struct policy_subject known = {
		.name = "db", .uuid = uuid_b, .domid = 2, .known = &memo};
	struct policy_subject nameless = {.uuid = uuid_b, .domid = 2, .known = &memo};
	char text[4096] = "allow connect ab from web to any\n"
			  "deny connect a* from nobody to any\n"
			  "allow listen ab on any\n";
	struct policy_named named;
	struct policy_verdict verdict;
	struct policy *policy = parse(text);

	assert_int_equal(named_bits(policy, "ab", true), 3);
	assert_int_equal(named_bits(policy, "ab", false), 4);
	assert_int_equal(named_bits(policy, "a", true), 2);
	/* One, one for each length of a glob's fixed end, three for each glob that has it. */
	assert_int_equal(policy_find(policy, "ab", true, &named), 12);
	assert_int_equal(policy_find(policy, "xy", true, &named), 3);
	(void)policy_find(policy, "ab", true, &named);
	/* Without a memo: one, one for each word, and each rule up to the one that decides. */
	assert_int_equal(
		policy_judge_named(policy, &named, &web, &dom0, POLICY_EXACT, &verdict), 3);
	assert_int_equal(
		policy_judge_named(policy, &named, &dom0, &web, POLICY_EXACT, &verdict), 4);
	/* An unknown fact makes no memo. */
	assert_int_equal(policy_known_make(policy, &nameless), 1);
	nameless.name = "db";
	nameless.uuid = NULL;
	assert_int_equal(policy_known_make(policy, &nameless), 1);
	assert_int_equal(memo.serial, 0);
	assert_int_equal(policy_known_make(policy, &known), 7);
	assert_int_equal(policy_known_make(policy, &known), 1);
	assert_int_equal(memo.from[0], 0);
	assert_int_equal(memo.to[0], 7);
	/* With both, a look for each word in which a rule speaks of the name. */
	assert_int_equal(
		policy_judge_named(policy, &named, &known, &known, POLICY_EXACT, &verdict), 2);
	policy_known_forget(&memo);
	assert_int_equal(policy_known_make(policy, &known), 7);
	policy_free(policy);
	/* Sixteen rules of one glob are one more. */
	text[0] = '\0';
	for (int i = 0; i < 95; i++)
		strcat(text, "deny listen a on any\n");
	policy = parse(text);
	assert_int_equal(policy_find(policy, "a", false, &named), 2 + 3 + 95 / 16);
	assert_int_equal(policy_judge(policy, "a", NULL, &web, POLICY_EXACT, &verdict),
		2 + 3 + 95 / 16 + 1 + 1 + 1);
	policy_free(policy);
	policy = parse(""); /* another policy, perhaps in the same memory */
	assert_int_equal(policy_known_make(policy, &known), 1);
	assert_false(connects(policy, "ab", &known, &known));
	policy_free(policy);
}

/* Of a smaller policy only its own rules are looked at, though the memo was a larger one's. */
static void test_smaller_policy(void **state)
{
	static struct policy_known memo;
	static char text[1100 * 24];
	const struct policy_subject known = {
		.name = "db", .uuid = uuid_b, .domid = 2, .known = &memo};
	struct policy_named named;
	struct policy_verdict verdict;
	struct policy *policy;

	for (int i = 0; i < 1100; i++)
		strcat(text, "deny listen a on any\n");
	policy = parse(text);
	assert_int_equal(policy_known_make(policy, &known), 2201);
	(void)policy_find(policy, "b", false, &named); /* no rule, no word */
	assert_int_equal(
		policy_judge_named(policy, &named, NULL, &known, POLICY_EXACT, &verdict), 1);
	policy_free(policy);
	text[21 * 64] = '\0';
	policy = parse(text);
	assert_int_equal(policy_known_make(policy, &known), 129);
	memset(&named, 0xff, sizeof(named));
	(void)policy_find(policy, "b", false, &named);
	assert_int_equal(
		policy_judge_named(policy, &named, NULL, &known, POLICY_EXACT, &verdict), 1);
	assert_null(verdict.file);
	policy_free(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_who),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_unknown_facts),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_glob),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_many_names),
		cmocka_unit_test(test_cost),
		cmocka_unit_test(test_smaller_policy),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_load_paths),
		cmocka_unit_test(test_load_directory),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_unknown_name),
		cmocka_unit_test(test_load_other_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
