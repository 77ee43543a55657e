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
#include "base/report.h"
#include "daemon/policy/policy.h"
#include "proto/control.h"
#include "tests/support/failing-malloc.h"
#include "tests/unit/daemon/cmocka-all.h"

static bool asprintf_fails;

static int asprintf_may_fail(char **ret_text, const char *format, va_list args)
{
	return asprintf_fails ? -1 : vasprintf(ret_text, format, args);
}

/* The linker names load.c's to these (--wrap). With _FORTIFY_SOURCE load.c calls the second. */
int __wrap_asprintf(char **ret_text, const char *format, ...);
int __wrap_asprintf(char **ret_text, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = asprintf_may_fail(ret_text, format, args);
	va_end(args);
	return n;
}

int __wrap___asprintf_chk(char **ret_text, int flag, const char *format, ...);
int __wrap___asprintf_chk(char **ret_text, int flag, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = asprintf_may_fail(ret_text, format, args);
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
	struct report report = {.n = 0};
	struct policy *policy;

	assert_int_equal(policy_new(&policy), 0);
	if (policy_parse(policy, "p", text, strlen(text), &report) < 0)
		fail_msg("%s", report.n ? report.lines[0] : "out of memory");
	assert_int_equal(report.n, 0);
	return policy;
}

#define CONNECT	 "allow connect a from any to any "
#define WHO_ON	 "any, dom0, a domain's name or pattern, domid:N, uuid:U or tag:T"
#define WHO_TO	 "any, dom0, same, default, a domain's name or pattern, domid:N, uuid:U or tag:T"
#define UUID	 "uuid: and 8-4-4-4-12 hexadecimal digits"
#define BYTES	 "1 to 1024G bytes, as a number and perhaps K, M or G"
#define CONNECTS "N/s, N/m or N/h, and perhaps :BURST, each 1 to 1000000"
#define END	 "the end of the line"

static void test_errors(void **state)
{
	/* The text; where, what is expected, what is found: a word, or END. */
	static const struct {
		const char *text, *where, *expected, *found;
	} cases[] = {
		{"permit listen a on any", "1:1", "allow or deny", "'permit'"},
		{"# c\n\n allow", "3:7", "listen or connect", END},
		{"allow speak a on any", "1:7", "listen or connect", "'speak'"},
		{"allow listen", "1:13", "a name or a pattern on names, of 63 characters at most",
			END},
		{"allow listen a", "1:15", "'on'", END},
		{"allow listen a # on any", "1:16", "'on'", END},
		{"allow  listen a\tat any", "1:17", "'on'", "'at'"},
		{"allow listen a/b on any", "1:14",
			"a name or a pattern on names, of 63 characters at most", "'a/b'"},
		{"allow listen +b on any", "1:14",
			"a name or a pattern on names, of 63 characters at most", "'+b'"},
		{"allow listen a+ on any", "1:14",
			"a name or a pattern on names, of 63 characters at most", "'a+'"},
		{"allow listen a+b+c on any", "1:14",
			"a name or a pattern on names, of 63 characters at most", "'a+b+c'"},
		{"allow listen a+b/c on any", "1:14",
			"a name or a pattern on names, of 63 characters at most", "'a+b/c'"},
		{"allow listen a\x7f on any", "1:14",
			"a name or a pattern on names, of 63 characters at most", "'a?'"},
		{"allow listen a on", "1:18", WHO_ON, END},
		{"allow listen a on same", "1:19", WHO_ON, "'same'"},
		{"allow listen a on default", "1:19", WHO_ON, "'default'"},
		{"allow listen a on x:1", "1:19", WHO_ON, "'x:1'"},
		{"allow listen a on a/b", "1:19", WHO_ON, "'a/b'"},
		{"allow listen a on w\x1f", "1:19", WHO_ON, "'w?'"},
		{"allow listen a on w\x7f", "1:19", WHO_ON, "'w?'"},
		{"allow listen a on w\x80", "1:19", WHO_ON, "'w?'"},
		{"allow listen a on tag:", "1:19", "tag: and a tag, which is spelt as a name",
			"'tag:'"},
		{"allow listen a on tag:.x", "1:19", "tag: and a tag, which is spelt as a name",
			"'tag:.x'"},
		{"allow listen a on tag:-x", "1:19", "tag: and a tag, which is spelt as a name",
			"'tag:-x'"},
		{"allow listen a on tag:x*", "1:19", "tag: and a tag, which is spelt as a name",
			"'tag:x*'"},
		{"allow listen a on domid:", "1:19", "domid:0 to domid:32751", "'domid:'"},
		{"allow listen a on domid:32752", "1:19", "domid:0 to domid:32751",
			"'domid:32752'"},
		{"allow listen a on domid:4294967297", "1:19", "domid:0 to domid:32751",
			"'domid:4294967297'"},
		{"allow listen a on uuid:12", "1:19", UUID, "'uuid:12'"},
		{"allow listen a on uuid:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaag", "1:19", UUID,
			"'uuid:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaag'"},
		{"allow listen a on uuid:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaaa", "1:19", UUID,
			"'uuid:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaaa'"},
		{"allow listen a on uuid:aaaaaaa-aaaaa-aaaa-aaaa-aaaaaaaaaaaa", "1:19", UUID,
			"'uuid:aaaaaaa-aaaaa-aaaa-aaaa-aaaaaaaaaaaa'"},
		{"allow listen a on uuid:aaaaaaaa-aaaaa-aaa-aaaa-aaaaaaaaaaaa", "1:19", UUID,
			"'uuid:aaaaaaaa-aaaaa-aaa-aaaa-aaaaaaaaaaaa'"},
		{"allow listen a on uuid:aaaaaaaa-aaaa-aaaaa-aaa-aaaaaaaaaaaa", "1:19", UUID,
			"'uuid:aaaaaaaa-aaaa-aaaaa-aaa-aaaaaaaaaaaa'"},
		{"allow listen a on uuid:aaaaaaaa-aaaa-aaaa-aaaaa-aaaaaaaaaaa", "1:19", UUID,
			"'uuid:aaaaaaaa-aaaa-aaaa-aaaaa-aaaaaaaaaaa'"},
		{"allow connect a on any to any", "1:17", "'from'", "'on'"},
		{"allow connect a to any from any", "1:17", "'from'", "'to'"},
		{"allow connect a from any", "1:25", "'to'", END},
		{"allow connect a from any on any", "1:26", "'to'", "'on'"},
		{"allow connect a from any to", "1:28", WHO_TO, END},
		{"allow connect a from any to x=1", "1:29", WHO_TO, "'x=1'"},
		{"deny connect a from default to any", "1:21",
			"any, dom0, same, a domain's name or pattern, domid:N, uuid:U or tag:T",
			"'default'"},
		{"allow connect a from any to default", "1:36",
			"target= of a rule that allows to 'default'", END},
		{"deny connect a from same to default", "1:36",
			"another domain than 'same' before 'default'", END},
		{CONNECT "while", "1:38",
			"dom0, a domain's name or pattern, domid:N, uuid:U or tag:T", END},
		{CONNECT "while any", "1:39",
			"dom0, a domain's name or pattern, domid:N, uuid:U or tag:T", "'any'"},
		{CONNECT "while uuid:1", "1:39", UUID, "'uuid:1'"},
		{CONNECT "log=yes while x", "1:41", "KEY=VALUE", "'while'"},
		{CONNECT "colour=red", "1:33",
			"a key (ask, ask-timeout, capture, direction, log, max-buffer, "
			"max-channels, "
			"max-connects, max-rate, start, start-timeout, target, transport)",
			"'colour'"},
		{CONNECT "log=yes max-channels=3 log=no", "1:56", "each key once", "'log'"},
		{CONNECT "log=yes log=yes", "1:41", "each key once", "'log'"},
		{CONNECT "loud", "1:33", "KEY=VALUE", "'loud'"},
		{CONNECT "log=maybe", "1:37", "yes or no", "'maybe'"},
		{CONNECT "log=", "1:37", "yes or no", END},
		{CONNECT "max-channels=0", "1:46", "1 to 65536", "'0'"},
		{CONNECT "max-channels=65537", "1:46", "1 to 65536", "'65537'"},
		{CONNECT "max-channels=", "1:46", "1 to 65536", END},
		{CONNECT "transport=tcp", "1:43", "a transport (argo, argo-strict, grant or any)",
			"'tcp'"},
		{CONNECT "transport=?", "1:43", "a transport (argo, argo-strict, grant or any)",
			"'?'"},
		{CONNECT "target=w*", "1:40",
			"a domain's name, which is no pattern, dom0, domid:N or uuid:U", "'w*'"},
		{CONNECT "target=w?b", "1:40",
			"a domain's name, which is no pattern, dom0, domid:N or uuid:U", "'w?b'"},
		{CONNECT "target=tag:x", "1:40",
			"a domain's name, which is no pattern, dom0, domid:N or uuid:U", "'tag:x'"},
		{CONNECT "target=any", "1:40",
			"a domain's name, which is no pattern, dom0, domid:N or uuid:U", "'any'"},
		{CONNECT "direction=both", "1:43", "out or in", "'both'"},
		{CONNECT "max-connects=5", "1:46", CONNECTS, "'5'"},
		{CONNECT "max-connects=0/s", "1:46", CONNECTS, "'0/s'"},
		{CONNECT "max-connects=5/d", "1:46", CONNECTS, "'5/d'"},
		{CONNECT "max-connects=5/", "1:46", CONNECTS, "'5/'"},
		{CONNECT "max-connects=5/sx", "1:46", CONNECTS, "'5/sx'"},
		{CONNECT "max-connects=5/s:", "1:46", CONNECTS, "'5/s:'"},
		{CONNECT "max-connects=5/s:0", "1:46", CONNECTS, "'5/s:0'"},
		{CONNECT "max-connects=1000001/s", "1:46", CONNECTS, "'1000001/s'"},
		{CONNECT "max-connects=5/s:1000001", "1:46", CONNECTS, "'5/s:1000001'"},
		{CONNECT "max-connects=000000000000000000000000000001/s", "1:46", CONNECTS,
			"'000000000000000000000000000001/s'"},
		{CONNECT "max-rate=0", "1:42", BYTES, "'0'"},
		{CONNECT "max-rate=K", "1:42", BYTES, "'K'"},
		{CONNECT "max-rate=5T", "1:42", BYTES, "'5T'"},
		{CONNECT "max-rate=5KK", "1:42", BYTES, "'5KK'"},
		{CONNECT "max-rate=-5", "1:42", BYTES, "'-5'"},
		{CONNECT "max-rate=1025G", "1:42", BYTES, "'1025G'"},
		{CONNECT "max-rate=1099511627777", "1:42", BYTES, "'1099511627777'"},
		{CONNECT "max-rate=18446744073709551617", "1:42", BYTES, "'18446744073709551617'"},
		{CONNECT "max-buffer=", "1:44", BYTES, END},
		{CONNECT "max-buffer=8191", "1:44", "8K to 64M bytes", "'8191'"},
		{CONNECT "max-buffer=65M", "1:44", "8K to 64M bytes", "'65M'"},
		{CONNECT "ask=", "1:37", "a program's absolute path", END},
		{CONNECT "ask=/", "1:37", "a program's absolute path", "'/'"},
		{CONNECT "ask=bin/x", "1:37", "a program's absolute path", "'bin/x'"},
		{CONNECT "ask=/\xe4", "1:37", "a path of printable characters", "'/?'"},
		{CONNECT "ask-timeout=5", "1:46", "ask= beside ask-timeout=", END},
		{CONNECT "ask=/x ask-timeout=301", "1:52", "1 to 300 seconds", "'301'"},
		{CONNECT "ask=/x ask-timeout=0", "1:52", "1 to 300 seconds", "'0'"},
		{CONNECT "start=1", "1:39", "yes or no", "'1'"},
		{CONNECT "start-timeout=5", "1:48", "start=yes beside start-timeout=", END},
		{CONNECT "start=no start-timeout=5", "1:57",
			"start=yes beside start-timeout=", END},
		{CONNECT "start=yes start-timeout=601", "1:57", "1 to 600 seconds", "'601'"},
		{CONNECT "start=yes target=dom0", "1:54", "a target= by name to start", END},
		{"allow connect a from any to domid:3 start=yes", "1:46",
			"a domain's name to start", END},
		{"deny connect a from any to any max-channels=3", "1:32",
			"log, the only key of a rule that is not 'allow connect'",
			"'max-channels'"},
		{"deny connect a from any to any transport=argo", "1:32",
			"log, the only key of a rule that is not 'allow connect'", "'transport'"},
		{"allow listen a on any max-channels=3", "1:23",
			"log, the only key of a rule that is not 'allow connect'",
			"'max-channels'"},
		{"allow listen a on any a a a a a a a a a a a a", "1:23", "KEY=VALUE", "'a'"},
	};
	struct policy *policy;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct report report = {.n = 0};
		char want[REPORT_LINE_SIZE];

		assert_int_equal(policy_new(&policy), 0);
		assert_int_equal(
			policy_parse(policy, "p", cases[i].text, strlen(cases[i].text), &report),
			-EINVAL);
		assert_int_equal(report.n, 1);
		(void)snprintf(want, sizeof(want), "p:%s: expected %s, found %s", cases[i].where,
			cases[i].expected, cases[i].found);
		assert_string_equal(report.lines[0], want);
		assert_true(policy_is_broken(policy));
		assert_int_equal(policy_rules(policy), 0);
		policy_free(policy);
	}
}

static int parse_into(struct policy *policy, const char *text, size_t len, char *ret_error)
{
	struct report report = {.n = 0};
	int r = policy_parse(policy, "p", text, len, &report);

	assert_int_equal(report.n, r < 0);
	(void)snprintf(ret_error, REPORT_LINE_SIZE, "%s", report.lines[0]);
	return r;
}

/* Errors that no word makes. */
static void test_limits(void **state)
{
	static const char nul[] = "allow listen\0 a on any";
	char error[REPORT_LINE_SIZE], *line;
	struct policy *policy;

	assert_int_equal(policy_new(&policy), 0);
	assert_int_equal(parse_into(policy, nul, sizeof(nul) - 1, error), -EINVAL);
	assert_string_equal(error, "p:1:13: expected text, found a NUL byte");
	line = malloc(600);
	memset(line, ' ', 600);
	assert_int_equal(parse_into(policy, line, 511, error), 0);
	for (size_t len = 512; len <= 600; len += 88) {
		assert_int_equal(parse_into(policy, line, len, error), -EINVAL);
		assert_string_equal(error, "p:1:512: expected a line of 511 bytes, found more");
	}
	free(line);
	policy_free(policy);
	assert_int_equal(policy_new(&policy), 0);
	for (unsigned i = 0; i < POLICY_RULES_MAX; i++)
		assert_int_equal(parse_into(policy, "deny listen * on any", 20, error), 0);
	assert_false(policy_is_broken(policy));
	assert_int_equal(parse_into(policy, "deny listen * on any", 20, error), -EINVAL);
	assert_string_equal(error, "p:1:1: expected at most 16384 rules, found more");
	assert_int_equal(policy_rules(policy), POLICY_RULES_MAX);
	policy_free(policy);
}

/* So many conditions as there may be; one that is there already is no other one. */
static void test_conditions_limit(void **state)
{
	char text[96], error[REPORT_LINE_SIZE];
	struct policy *policy;

	assert_int_equal(policy_new(&policy), 0);
	for (unsigned i = 0; i <= POLICY_CONDITIONS_MAX; i++) {
		bool over = i == POLICY_CONDITIONS_MAX;
		int n = snprintf(text, sizeof(text), "allow listen a on any while tag:t%u\n%s", i,
			over ? "" : "deny listen a on any while tag:t0\n");

		assert_int_equal(parse_into(policy, text, (size_t)n, error), over ? -EINVAL : 0);
	}
	assert_string_equal(
		error, "p:1:23: expected at most 256 different conditions, found 'while'");
	policy_free(policy);
}

/* All lines of a bad file are looked at, and none of its rules counts; nor does a later file's. */
static void test_all_errors(void **state)
{
	struct report report = {.n = 0};
	struct policy_verdict verdict;
	char text[1024] = "";
	struct policy *policy = parse("allow listen a on any\n");

	assert_int_equal(
		policy_parse(policy, "q", "allow listen b on any\n\nallow\ndeny x\n", 36, &report),
		-EINVAL);
	assert_int_equal(report.n, 2);
	assert_string_equal(report.lines[1], "q:4:6: expected listen or connect, found 'x'");
	assert_int_equal(policy_parse(policy, "r", "allow listen c on any\n", 22, &report), 0);
	assert_int_equal(report.n, 2);
	for (int i = 0; i < 21; i++)
		(void)strcat(text, "wrong\n");
	assert_int_equal(policy_parse(policy, "s", text, strlen(text), &report), -EINVAL);
	assert_int_equal(report.n, REPORT_LINES_MAX);
	assert_int_equal(report.left_out, 3);
	assert_string_equal(report.lines[19], "s:18:1: expected allow or deny, found 'wrong'");
	assert_int_equal(policy_rules(policy), 1);
	policy_judge(policy, "a", NULL, &web, POLICY_EXACT, &verdict);
	assert_true(verdict.allow);
	for (int i = 0; i < 2; i++) {
		policy_judge(policy, i ? "b" : "c", NULL, &web, POLICY_EXACT, &verdict);
		assert_false(verdict.allow);
		assert_string_equal(verdict.file, "q");
		assert_int_equal(verdict.line, 3);
		assert_int_equal(verdict.rule, 0);
	}
	policy_judge(policy, "b", &web, NULL, POLICY_EXACT, &verdict);
	assert_string_equal(verdict.file, "q");
	policy_free(policy);
}

static void verdict_of(const char *rule, struct policy_verdict *ret_verdict, char *ret_text)
{
	struct policy *policy = parse(rule);

	policy_judge(policy, "a", &web, &dom0, POLICY_EXACT, ret_verdict);
	assert_true(ret_verdict->allow);
	(void)snprintf(ret_text, 64, "%s|%s", ret_verdict->target ? ret_verdict->target : "-",
		ret_verdict->ask ? ret_verdict->ask : "-");
	policy_free(policy);
}

/* Each key sets its own field, and no other one. */
static void test_keys(void **state)
{
	static const struct {
		const char *key;
		struct policy_verdict want; /* but for texts */
		const char *texts;	    /* target and ask */
	} cases[] = {
		{"", {0}, "-|-"},
		{"direction=out", {.direction = POLICY_OUT}, "-|-"},
		{"direction=in", {.direction = POLICY_IN}, "-|-"},
		{"max-connects=5/s", {.max_connects = {5, 1, 5}}, "-|-"},
		{"max-connects=1/m:1", {.max_connects = {1, 60, 1}}, "-|-"},
		{"max-connects=1000000/h:7", {.max_connects = {1000000, 3600, 7}}, "-|-"},
		{"max-rate=1", {.max_rate = 1}, "-|-"},
		{"max-rate=3K", {.max_rate = 3072}, "-|-"},
		{"max-buffer=2M", {.max_buffer = 2U << 20}, "-|-"},
		{"max-buffer=8192", {.max_buffer = 8192}, "-|-"},
		{"max-buffer=64M", {.max_buffer = 64U << 20}, "-|-"},
		{"target=web", {0}, "web|-"},
		{"target=dom0", {0}, "domid:0|-"},
		{"target=domid:7", {0}, "domid:7|-"},
		{"ask=/usr/bin/x", {.ask_timeout_s = 10}, "-|/usr/bin/x"},
		{"ask-timeout=300 ask=/x", {.ask_timeout_s = 300}, "-|/x"},
		{"start=no", {0}, "-|-"},
		{"start=yes", {.start = true, .start_timeout_s = 60}, "-|-"},
		{"start=yes start-timeout=1 target=db", {.start = true, .start_timeout_s = 1},
			"db|-"},
		{"log=no", {.log = POLICY_LOG_NO}, "-|-"},
	};
	char rule[128], texts[64];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct policy_verdict got, want = cases[i].want;

		(void)snprintf(rule, sizeof(rule), CONNECT "%s", cases[i].key);
		verdict_of(rule, &got, texts);
		assert_string_equal(texts, cases[i].texts);
		assert_int_equal(got.start, want.start);
		assert_int_equal(got.log, want.log);
		assert_int_equal(got.direction, want.direction);
		assert_int_equal(got.transport, want.transport);
		assert_int_equal(got.max_channels, want.max_channels);
		assert_memory_equal(
			&got.max_connects, &want.max_connects, sizeof(want.max_connects));
		assert_true(got.max_rate == want.max_rate && got.max_buffer == want.max_buffer);
		assert_int_equal(got.ask_timeout_s, want.ask_timeout_s);
		assert_int_equal(got.start_timeout_s, want.start_timeout_s);
		assert_int_equal(got.rule, 1);
	}
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
	char name[NAME_SIZE + 1], domain[DOMAIN_NAME_SIZE + 1], text[512], error[REPORT_LINE_SIZE];
	struct policy *policy;

	for (unsigned over = 0; over < 4; over++) {
		size_t n = NAME_SIZE - 1 + (over & 1), d = DOMAIN_NAME_SIZE - 1 + (over >> 1);

		memset(memset(name, 0, sizeof(name)), 'n', n);
		memset(memset(domain, 0, sizeof(domain)), 'd', d);
		(void)snprintf(text, sizeof(text), "allow listen %s on %s", name, domain);
		assert_int_equal(policy_new(&policy), 0);
		assert_int_equal(parse_into(policy, text, strlen(text), error), over ? -EINVAL : 0);
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

/* policy_load's result, and the first line of its report, or "". */
static int load(const char *const *paths, size_t n, struct policy **ret_policy, char *ret_error)
{
	struct report report = {.n = 0};
	int r = policy_load(paths, n, ret_policy, &report);

	assert_int_equal(report.n > 0, r != 0);
	(void)snprintf(ret_error, REPORT_LINE_SIZE, "%s", report.lines[0]);
	return r;
}

/* A file breaks the policy, which refuses what no earlier file allows, by a rule in that file. */
static void load_broken(const char *const *paths, size_t n, const char *file, char *ret_error)
{
	struct policy *policy = NULL;
	struct policy_verdict verdict;

	assert_int_equal(load(paths, n, &policy, ret_error), POLICY_BROKEN);
	assert_true(policy_is_broken(policy));
	assert_string_equal(policy_errors(policy)->lines[0], ret_error);
	policy_judge(policy, "unheard-of", NULL, &web, POLICY_EXACT, &verdict);
	assert_false(verdict.allow);
	assert_string_equal(verdict.file, file);
	policy_free(policy);
}

static void remove_file(const char *directory, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	assert_int_equal(unlink(path), 0);
}

static void test_load(void **state)
{
	char directory[] = "/tmp/msgd-policy-XXXXXX", error[REPORT_LINE_SIZE], want[300];
	const char *paths[2] = {directory, "/nonexistent/p"};
	struct policy *policy = NULL;
	struct policy_verdict verdict;

	assert_non_null(mkdtemp(directory));
	/* Name order, not creation order; other names are not policy. */
	write_file(directory, "20-b.policy", "allow listen x on any\n");
	write_file(directory, "10-a.policy", "deny listen secret on any\n");
	write_file(directory, "00.policy.bak", "garbage\n");
	assert_int_equal(load(paths, 1, &policy, error), 0);
	assert_int_equal(policy_rules(policy), 2);
	policy_judge(policy, "secret", NULL, &web, POLICY_EXACT, &verdict);
	assert_false(verdict.allow);
	assert_true(strstr(verdict.file, "10-a.policy") != NULL);
	assert_true(listens(policy, "x", &web));
	policy_free(policy);
	policy = NULL;
	write_file(directory, "30.policy", "\nallow\n");
	write_file(directory, "40.policy", "allow listen y on any\nnonsense\n");
	assert_int_equal(load(paths, 1, &policy, error), POLICY_BROKEN);
	snprintf(want, sizeof(want), "%s/30.policy:2:6: ", directory);
	assert_memory_equal(error, want, strlen(want));
	assert_int_equal(policy_errors(policy)->n, 2);
	assert_int_equal(policy_rules(policy), 2);
	assert_true(listens(policy, "x", &web));
	policy_judge(policy, "y", NULL, &web, POLICY_EXACT, &verdict);
	assert_false(verdict.allow);
	assert_true(strstr(verdict.file, "30.policy") != NULL);
	assert_int_equal(verdict.line, 2);
	policy_free(policy);
	policy = NULL;
	assert_int_equal(load(paths + 1, 1, &policy, error), -ENOENT);
	assert_string_equal(error, "/nonexistent/p: No such file or directory");
	remove_file(directory, "20-b.policy");
	remove_file(directory, "10-a.policy");
	remove_file(directory, "00.policy.bak");
	remove_file(directory, "30.policy");
	remove_file(directory, "40.policy");
	assert_int_equal(rmdir(directory), 0);
}

/* Each path in its turn; the first bad file is the one from which on all is refused. */
static void test_load_paths(void **state)
{
	char directory[] = "/tmp/msgd-policy-XXXXXX", file[64], error[REPORT_LINE_SIZE], want[128];
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
	assert_int_equal(load(paths, 2, &policy, error), 0);
	assert_int_equal(policy_rules(policy), 3);
	policy_judge(policy, "a", NULL, &web, POLICY_EXACT, &verdict);
	assert_string_equal(verdict.file, file);
	assert_true(listens(policy, "b", &web));
	policy_free(policy);
	assert_int_equal(load(paths, 0, &policy, error), 0);
	assert_int_equal(policy_rules(policy), 0);
	policy_free(policy);
	policy = NULL;
	write_file(directory, "2.policy", "bad\n");
	write_file(directory, "3.policy", "worse\n");
	(void)snprintf(want, sizeof(want), "%s/2.policy", directory);
	load_broken(paths, 2, want, error);
	strcat(want, ":1:1: ");
	assert_memory_equal(error, want, strlen(want));
	memset(text, '\n', 1 << 20);
	text[(1 << 20) - 1] = '\0';
	write_file(directory, "other", text);
	assert_int_equal(load(paths, 1, &policy, error), 0);
	policy_free(policy);
	policy = NULL;
	strcpy(text + (1 << 20) - 1, "\n");
	write_file(directory, "other", text);
	load_broken(paths, 1, file, error);
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
	char directory[] = "/tmp/msgd-policy-XXXXXX", error[REPORT_LINE_SIZE] = "", want[128];
	const char *paths[1] = {directory};
	struct policy *policy = NULL;
	struct rlimit none, limit;

	assert_non_null(mkdtemp(directory));
	assert_int_equal(load(paths, 1, &policy, error), 0);
	assert_int_equal(policy_rules(policy), 0);
	policy_free(policy);
	policy = NULL;
	write_file(directory, "a.policy", "allow listen a on any\n");
	assert_int_equal(load(paths, 1, &policy, error), 0);
	assert_string_equal(error, "");
	policy_free(policy);
	policy = NULL;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(load(paths, 1, &policy, error), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	(void)snprintf(want, sizeof(want), "%s: Too many open files", directory);
	assert_string_equal(error, want);
	asprintf_fails = true;
	assert_int_equal(load(paths, 1, &policy, error), -ENOMEM);
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
	char directory[] = "/tmp/msgd-policy-XXXXXX", error[REPORT_LINE_SIZE], text[4096] = "";
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
		if (load(paths, 1, &policy, error) < 0)
			assert_non_null(strstr(error, "Cannot allocate memory"));
		else
			assert_int_equal(policy_rules(policy), 40);
		hit = failing_malloc_end();
		/* The search for rules that never match does without memory. */
		assert_true(hit || policy);
		if (policy)
			assert_int_equal(policy_warnings(policy)->n, REPORT_LINES_MAX);
		policy_free(policy);
		if (!hit)
			break;
	}
	remove_file(directory, "a.policy");
	assert_int_equal(rmdir(directory), 0);
}

/* The same of each word that is kept, and of the search for rules that never match. */
static void test_memory_of_words(void **state)
{
	static const char text[] =
		"allow connect a+b from tag:t to w* while tag:u ask=/x target=db\n"
		"allow connect * from any to any\n"
		"deny connect a from long-name-of-a-domain to any while x\n";
	struct policy *policy;
	bool hit;
	int r;

	for (unsigned n = 1;; n++) {
		struct report report = {.n = 0};

		assert_int_equal(policy_new(&policy), 0);
		failing_malloc_set(n);
		r = policy_parse(policy, "p", text, sizeof(text) - 1, &report);
		hit = failing_malloc_end();
		assert_int_equal(r, hit ? -ENOMEM : 0);
		assert_int_equal(report.n, 0);
		if (!hit)
			break;
		policy_free(policy);
	}
	for (unsigned n = 0; n < 2; n++) {
		struct report report = {.n = 0};

		if (n)
			failing_malloc_set(n);
		policy_warn(policy, &report);
		assert_true(!n || failing_malloc_end());
		assert_int_equal(report.n, 1);
		assert_string_equal(report.lines[0],
			"p:3: warning: this rule never matches: p:2 decides first");
	}
	policy_free(policy);
}

/* A path that is no file is an error that names it, and is not waited for. */
static void test_load_other_kinds(void **state)
{
	char directory[] = "/tmp/msgd-policy-XXXXXX", path[64], error[REPORT_LINE_SIZE], want[128];
	const char *paths[1] = {directory};

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/a.policy", directory);
	(void)alarm(10);
	assert_int_equal(mkfifo(path, 0600), 0);
	load_broken(paths, 1, path, error);
	snprintf(want, sizeof(want), "%s: is a FIFO, not a file", path);
	assert_string_equal(error, want);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	load_broken(paths, 1, path, error);
	snprintf(want, sizeof(want), "%s: is a directory, not a file", path);
	assert_string_equal(error, want);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("/dev/zero", path), 0);
	load_broken(paths, 1, path, error);
	snprintf(want, sizeof(want), "%s: is a device, not a file", path);
	assert_string_equal(error, want);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("nothing", path), 0);
	load_broken(paths, 1, path, error);
	assert_int_equal(unlink(path), 0);
	/* One that stands alone, too. */
	assert_int_equal(mkfifo(path, 0600), 0);
	paths[0] = path;
	load_broken(paths, 1, path, error);
	assert_int_equal(unlink(path), 0);
	(void)alarm(0);
	assert_int_equal(rmdir(directory), 0);
}

/* ---- the index and the memos; policy-random-test.c compares their verdicts ------------------ */

/* More names than the index has buckets: each finds its own rule, and no other. */
static void test_many_names(void **state)
{
	struct report report = {.n = 0};
	char rule[64], file[16];
	struct policy_named named;
	struct policy_verdict verdict;
	struct policy *policy;

	assert_int_equal(policy_new(&policy), 0);
	for (unsigned i = 0; i < 15000; i++) {
		(void)snprintf(rule, sizeof(rule), "allow listen %sn%u%s on any\n",
			i % 3 == 2 ? "*." : "", i / 3, i % 3 == 1 ? ".*" : "");
		(void)snprintf(file, sizeof(file), "%u", i + 1);
		assert_int_equal(policy_parse(policy, file, rule, strlen(rule), &report), 0);
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

static struct policy *many(unsigned n)
{
	static char text[3000 * 24];

	text[0] = '\0';
	for (char *at = text; n > 0; n--)
		at = stpcpy(at, "deny listen a on any\n");
	return parse(text);
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
	/* Sixteen times 64 rules of one glob are one more. */
	policy = many(64 * 33 + 1);
	assert_int_equal(policy_find(policy, "a", false, &named), 2 + 3 + 34 / 16);
	assert_int_equal(policy_judge(policy, "a", NULL, &web, POLICY_EXACT, &verdict),
		2 + 3 + 34 / 16 + 1 + 1 + 1);
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

/* ---- tags, conditions, and no domain -------------------------------------------------- */

static void test_tags(void **state)
{
	struct policy_tags tags = {.all_known = true};
	struct policy_subject tagged = {"web", uuid_a, 1, .tags = &tags};
	struct policy *policy = parse("deny listen b on tag:red\n"
				      "allow listen a on tag:red\n"
				      "allow listen b on any\n");
	static struct policy_known memo;

	assert_int_equal(policy_tags_add(&tags, "blue"), 0);
	for (int known = 0; known < 2; known++) {
		/* All are known, with and without a memo. */
		tagged.known = known ? &memo : NULL;
		if (known)
			assert_int_equal(policy_known_make(policy, &tagged), 7);
		assert_false(listens(policy, "a", &tagged));
		assert_true(listens(policy, "b", &tagged));
	}
	tagged.known = NULL;
	/* Not all, or none. */
	tags.all_known = false;
	assert_false(listens(policy, "a", &tagged));
	assert_false(listens(policy, "b", &tagged));
	assert_false(listens(policy, "a", &web));
	assert_false(listens(policy, "b", &web));
	/* One is enough to know. */
	assert_int_equal(policy_tags_add(&tags, "red"), 0);
	assert_true(listens(policy, "a", &tagged));
	assert_false(listens(policy, "b", &tagged));
	policy_free(policy);
}

static void test_tags_add(void **state)
{
	struct policy_tags tags = {.all_known = true};
	char tag[NAME_SIZE + 1];

	assert_int_equal(policy_tags_add(&tags, ""), -EINVAL);
	assert_int_equal(policy_tags_add(&tags, "a b"), -EINVAL);
	assert_int_equal(policy_tags_add(&tags, "a+b"), -EINVAL);
	memset(memset(tag, 0, sizeof(tag)), 't', NAME_SIZE);
	assert_int_equal(policy_tags_add(&tags, tag), -EINVAL);
	tag[NAME_SIZE - 1] = '\0';
	assert_int_equal(policy_tags_add(&tags, tag), 0);
	assert_string_equal(tags.names[0], tag);
	for (unsigned i = 1; i < POLICY_TAGS_MAX; i++) {
		(void)snprintf(tag, sizeof(tag), "%u", i);
		assert_int_equal(policy_tags_add(&tags, tag), 0);
	}
	assert_true(tags.all_known);
	assert_int_equal(policy_tags_add(&tags, "1"), 0);
	assert_int_equal(tags.n, POLICY_TAGS_MAX);
	assert_int_equal(policy_tags_add(&tags, "more"), -E2BIG);
	assert_false(tags.all_known);
}

/* A domain whose tags are not known has a memo while no rule asks for them. */
static void test_tags_memo(void **state)
{
	static struct policy_known memo;
	struct policy_subject known = {"web", uuid_a, 1, .known = &memo};
	struct policy *policy = parse("allow listen a on web\n");

	assert_int_equal(policy_known_make(policy, &known), 3);
	policy_free(policy);
	for (int from = 0; from < 2; from++) {
		policy = parse(from ? "allow connect a from tag:t to any\n"
				    : "allow connect a from any to tag:t\n");
		assert_int_equal(policy_known_make(policy, &known), 1);
		policy_free(policy);
	}
}

/* The rules `to default` are for no domain, and the others for every one. */
static void test_default(void **state)
{
	static struct policy_known memo;
	struct policy_subject known = {"web", uuid_a, 1, .known = &memo};
	struct policy *policy = parse("allow connect a from web to any\n"
				      "deny connect b from web to default\n"
				      "allow connect * from web to default target=db\n"
				      "allow connect c from any to any\n");
	struct policy_verdict verdict;

	for (int memos = 0; memos < 2; memos++) {
		if (memos)
			(void)policy_known_make(policy, &known);
		policy_judge(policy, "a", &known, NULL, POLICY_EXACT, &verdict);
		assert_int_equal(verdict.line, 3);
		assert_string_equal(verdict.target, "db");
		policy_judge(policy, "b", &known, NULL, POLICY_EXACT, &verdict);
		assert_int_equal(verdict.line, 2);
		policy_judge(policy, "c", &web2, NULL, POLICY_EXACT, &verdict);
		assert_null(verdict.file); /* as if there were no such rules */
		policy_judge(policy, "b", &known, &web2, POLICY_EXACT, &verdict);
		assert_null(verdict.file);
		assert_true(connects(policy, "c", &known, &known));
	}
	policy_free(policy);
}

static bool conditions(struct policy *policy, const struct policy_subject *runs)
{
	policy_conditions_begin(policy);
	if (runs)
		assert_int_equal(policy_conditions_domain(policy, runs), 4);
	return policy_conditions_end(policy);
}

static void test_while(void **state)
{
	static struct policy_known memo;
	struct policy_tags none = {.all_known = true}, red = none;
	struct policy_subject known = {"web", uuid_a, 1, .known = &memo, .tags = &none};
	struct policy_subject maker = {"maker", uuid_b, 2, .tags = &red};
	struct policy_subject unknown = {NULL, uuid_b, 3, .tags = &none};
	struct policy *policy = parse("allow listen a on any while tag:red\n"
				      "deny listen b on any while maker\n"
				      "allow listen b on any\n"
				      "allow listen c on any while maker\n"
				      "allow listen d on any while domid:2 log=yes\n");

	assert_int_equal(policy_tags_add(&red, "red"), 0);
	(void)policy_known_make(policy, &known);
	/* Nobody runs. */
	assert_false(listens(policy, "a", &known) || listens(policy, "c", &known));
	assert_true(listens(policy, "b", &known));
	assert_false(conditions(policy, NULL));
	/* One comes that makes them all true. */
	assert_true(conditions(policy, &maker));
	assert_true(listens(policy, "a", &known) && listens(policy, "c", &known));
	assert_true(listens(policy, "d", &known) && listens(policy, "d", &web));
	assert_false(listens(policy, "b", &known) || listens(policy, "b", &web));
	assert_false(conditions(policy, &maker));
	/* One whose name is not known might be any: for a deny, not for an allow. */
	assert_true(conditions(policy, &unknown));
	assert_false(listens(policy, "a", &known) || listens(policy, "c", &known));
	assert_false(listens(policy, "b", &known) || listens(policy, "d", &known));
	assert_true(conditions(policy, &known));
	assert_true(listens(policy, "b", &known));
	policy_free(policy);
}

static bool permits_all(const struct policy_verdict *verdict, const void *arg)
{
	return verdict->allow;
}

static bool permits_out(const struct policy_verdict *verdict, const void *arg)
{
	return verdict->direction == POLICY_OUT;
}

static bool redirects_to(const struct policy *policy, const struct policy_subject *holder,
	const struct policy_subject *domain,
	bool (*fits)(const struct policy_verdict *verdict, const void *arg))
{
	struct policy_verdict verdict = {.allow = false};
	struct policy_named named;
	uint64_t cost = 0;
	bool got;

	(void)policy_find(policy, "a", true, &named);
	got = policy_redirects(policy,
		&(struct policy_redirection){.named = &named,
			.caller = &web,
			.holder = holder,
			.domains = domain,
			.n_domains = domain ? 1 : 0,
			.fits = fits},
		&cost, &verdict);
	assert_true(cost > 0);
	assert_int_equal(verdict.allow, got);
	return got;
}

/* The one name that is left of a pattern, and none while a domain has that. */
static void test_redirects(void **state)
{
	const struct policy_subject w = {"w", uuid_b, 7}, db = {"db", uuid_a, 8};
	struct policy *policy = parse("deny connect a from any to w?*\n"
				      "deny connect a from any to domid:7\n"
				      "allow connect a from any to w* target=db\n");

	/* The deny of domid:7 might be for it. */
	assert_false(redirects_to(policy, &db, NULL, permits_all));
	policy_free(policy);
	policy = parse("deny connect a from any to w?*\n"
		       "allow connect a from any to w* target=db\n");
	assert_true(redirects_to(policy, &db, NULL, permits_all));
	assert_false(redirects_to(policy, &db, NULL, permits_out));
	assert_false(redirects_to(policy, &w, NULL, permits_all)); /* another holder */
	assert_true(redirects_to(policy, &db, &w, permits_all));
	policy_free(policy);
	policy = parse("deny connect a from any to domid:7\n"
		       "deny connect a from any to w?*\n"
		       "allow connect a from any to w* target=db\n");
	assert_false(redirects_to(policy, &db, &w, permits_all));
	policy_free(policy);
	policy = parse("allow connect a from any to v target=db\n"
		       "allow connect a from any to w target=db direction=out\n");
	assert_true(policy_has_redirects(policy));
	assert_true(redirects_to(policy, &db, &w, permits_out));
	assert_true(redirects_to(policy, &db, NULL, permits_out));
	policy_free(policy);
}

/* A rule is the same one wherever it stands, and however it is spaced. */
static void test_ids(void **state)
{
	struct policy *policy = parse("# first\nallow listen b on any\n"
				      "  allow\tlisten  a on any log=yes # of old\n");
	struct policy *other = parse("allow listen a on any log=yes\nallow listen b on dom0\n");
	struct policy_verdict a[2], b[2];

	for (int i = 0; i < 2; i++) {
		policy_judge(i ? other : policy, "a", NULL, &dom0, POLICY_EXACT, &a[i]);
		policy_judge(i ? other : policy, "b", NULL, &dom0, POLICY_EXACT, &b[i]);
	}
	assert_true(a[0].id && a[0].id == a[1].id);
	assert_true(b[0].id != a[0].id && b[0].id != b[1].id);
	policy_free(policy);
	policy_free(other);
}

static void test_hits(void **state)
{
	struct policy *policy = parse("allow listen a on any\ndeny listen b on any\n");
	struct policy_verdict verdict;
	struct policy_listed listed;

	for (int i = 0; i < 3; i++) {
		policy_judge(policy, i ? "b" : "c", NULL, &web, POLICY_EXACT, &verdict);
		policy_hit(policy, &verdict);
	}
	assert_true(policy_list(policy, 1, &listed) && listed.hits == 0);
	assert_true(policy_list(policy, 2, &listed) && listed.hits == 2);
	policy_free(policy);
}

/* A rule that was moved keeps its count; a new one has none, whatever stood in its place. */
static void test_take_hits(void **state)
{
	struct policy *former = parse("deny listen a on any\ndeny listen b on any\n"
				      "deny listen b on any\n");
	struct policy *policy = parse("deny listen c on any\n\ndeny  listen b on any # moved\n"
				      "deny listen b on any\n");
	struct policy *other = NULL;
	const char *text = "deny listen b on any\n";
	struct report report = {.n = 0};
	struct policy_verdict verdict;
	struct policy_listed listed;

	for (int i = 0; i < 3; i++) {
		policy_judge(former, i ? "b" : "a", NULL, &web, POLICY_EXACT, &verdict);
		policy_hit(former, &verdict);
	}
	policy_take_hits(policy, former);
	assert_true(policy_list(policy, 1, &listed) && listed.hits == 0);
	assert_true(policy_list(policy, 2, &listed) && listed.hits == 2);
	assert_true(policy_list(policy, 3, &listed) && listed.hits == 0);
	/* The same words in another file are another rule. */
	assert_int_equal(policy_new(&other), 0);
	assert_int_equal(policy_parse(other, "other", text, strlen(text), &report), 0);
	policy_take_hits(other, policy);
	assert_true(policy_list(other, 1, &listed) && listed.hits == 0);
	policy_free(former);
	policy_free(policy);
	policy_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_conditions_limit),
		cmocka_unit_test(test_all_errors),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_who),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_connect),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_unknown_facts),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_glob),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_tags_add),
		cmocka_unit_test(test_tags_memo),
		cmocka_unit_test(test_default),
		cmocka_unit_test(test_while),
		cmocka_unit_test(test_redirects),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_hits),
		cmocka_unit_test(test_take_hits),
		cmocka_unit_test(test_many_names),
		cmocka_unit_test(test_cost),
		cmocka_unit_test(test_smaller_policy),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_load_paths),
		cmocka_unit_test(test_load_directory),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_memory_of_words),
		cmocka_unit_test(test_unknown_name),
		cmocka_unit_test(test_load_other_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
