/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs of policy's, by real ones: what they are told, what they may do, and how they end. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macro.h"
#include "daemon/shell/programs.h"
#include "tests/support/cmocka-all.h"

/* A machine may be busy; a test that hangs is one that fails. */
#define PATIENCE_S 60

struct scene {
	struct event_base *base;
	struct programs *programs;
	char directory[32];
	unsigned n_answers, n_ended, n_lines;
	uint64_t id; /* of the last answer */
	struct broker_answer answer;
	char lines[8192];
	int n_fds;
};

static struct scene s;

static void on_answered(void *arg, uint64_t id, const struct broker_answer *answer)
{
	assert_ptr_equal(arg, &s);
	s.n_answers++;
	s.id = id;
	s.answer = *answer;
}

static void on_ended(void *arg, uint64_t id)
{
	s.n_ended++;
	(void)event_base_loopbreak(s.base);
}

static void on_line(void *arg, uint16_t domid, const char *text)
{
	size_t len = strlen(s.lines);

	assert_int_equal(domid, 3);
	s.n_lines++;
	(void)snprintf(s.lines + len, sizeof(s.lines) - len, "%s|", text);
}

static const struct programs_ops ops = {
	.answered = on_answered, .ended = on_ended, .line = on_line};

static int count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(directory);
	while (readdir(directory))
		n++;
	(void)closedir(directory);
	return n;
}

static int setup(void **state)
{
	memset(&s, 0, sizeof(s));
	strcpy(s.directory, "/tmp/msgd-programs-XXXXXX");
	assert_non_null(mkdtemp(s.directory));
	s.base = event_base_new();
	assert_non_null(s.base);
	assert_int_equal(programs_new(s.base, &ops, &s, &s.programs), 0);
	s.n_fds = count_fds();
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	assert_int_equal(count_fds(), s.n_fds);
	programs_free(s.programs);
	event_base_free(s.base);
	(void)snprintf(command, sizeof(command), "rm -r %s", s.directory);
	return system(command);
}

static const char *path_of(const char *name)
{
	static char path[64];

	(void)snprintf(path, sizeof(path), "%s/%s", s.directory, name);
	return path;
}

/* A script that runs in the directory. */
static const char *script(const char *text)
{
	const char *path = path_of("program");
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fprintf(file, "#!/bin/sh\ncd %s || exit 99\n%s\n", s.directory, text) > 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0700), 0);
	return path;
}

static const uint8_t uuid[16] = {
	0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8};

static int start(const char *path, uint32_t timeout_s)
{
	const struct broker_program program = {
		.path = path,
		.timeout_s = timeout_s,
		.name = "gpg+key1",
		.from = {.name = "work", .domid = 3, .uuid = uuid},
		.to = {.name = "vault", .domid = POLICY_DOMID_UNKNOWN},
		.rule = "/etc/msgd/policy.d/10.policy:7",
	};

	return programs_run(s.programs, 42, &program);
}

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
	fail_msg("the program has not ended");
}

/* Until one has ended. */
static void wait_ended(void)
{
	struct event *patience = evtimer_new(s.base, on_patience, NULL);
	const struct timeval limit = {.tv_sec = PATIENCE_S};

	assert_int_equal(evtimer_add(patience, &limit), 0);
	(void)event_base_dispatch(s.base);
	event_free(patience);
}

static void run(const char *text, uint32_t timeout_s)
{
	assert_int_equal(start(script(text), timeout_s), 0);
	wait_ended();
	assert_int_equal(s.n_answers, 1);
	assert_int_equal(s.n_ended, 1);
	assert_int_equal(s.id, 42);
}

static void expect(enum broker_answer_result result, const char *reason)
{
	if (s.answer.result != result)
		fail_msg("result %d: %s", s.answer.result, s.answer.reason);
	assert_string_equal(s.answer.reason, reason);
}

/* A file that a script has written. */
static const char *read_back(const char *name)
{
	static char text[4096];
	FILE *file = fopen(path_of(name), "re");
	size_t n;

	assert_non_null(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = '\0';
	(void)fclose(file);
	return text;
}

/* ---- questions ------------------------------------------------------------------------------ */

static void test_question(void **state)
{
	run("env | grep ^MSG_ | LC_ALL=C sort >env; cat >input; echo $# >arguments; echo allow",
		30);
	expect(BROKER_ANSWER_ALLOW, "");
	assert_string_equal(read_back("env"), "MSG_ARG=key1\n"
					      "MSG_FROM_DOMAIN=work\n"
					      "MSG_FROM_DOMID=3\n"
					      "MSG_FROM_UUID=12345678-9abc-def0-0102-030405060708\n"
					      "MSG_NAME=gpg+key1\n"
					      "MSG_RULE=/etc/msgd/policy.d/10.policy:7\n"
					      "MSG_TO_DOMAIN=vault\n"
					      "MSG_TO_DOMID=\n"
					      "MSG_TO_UUID=\n");
	assert_string_equal(read_back("input"),
		"{\"name\":\"gpg+key1\",\"arg\":\"key1\",\"from\":{\"domain\":\"work\",\"domid\":3,"
		"\"uuid\":\"12345678-9abc-def0-0102-030405060708\"},\"to\":{\"domain\":\"vault\","
		"\"domid\":null,\"uuid\":null},\"rule\":\"/etc/msgd/policy.d/10.policy:7\"}\n");
	assert_string_equal(read_back("arguments"), "0\n");
}

/*
 * Nothing of msgd's: no descriptor, no variable, no ignored or blocked signal, but two that glibc's
 * posix_spawn ignores, its own.
 */
static void test_clean(void **state)
{
	int fd = dup2(STDERR_FILENO, 77);

	assert_int_equal(fd, 77);
	assert_int_equal(setenv("MSGD_SECRET", "1", 1), 0);
	(void)signal(SIGPIPE, SIG_IGN);
	run("[ ! -e /proc/$$/fd/77 ] || echo descriptor\n"
	    "[ -z \"$MSGD_SECRET\" ] || echo variable\n"
	    "grep -q '^SigIgn:.0*\\(180000000\\)\\{0,1\\}$' /proc/self/status || echo ignored\n"
	    "[ \"$(sed 's/.*) . [0-9]* //; s/ .*//' /proc/$$/stat)\" = $$ ] || echo group\n"
	    "[ \"$(cat /proc/$$/oom_score_adj)\" = 1000 ] || sleep 1\n"
	    "[ \"$(cat /proc/$$/oom_score_adj)\" = 1000 ] || echo memory\n"
	    "echo allow",
		30);
	expect(BROKER_ANSWER_ALLOW, "");
	(void)signal(SIGPIPE, SIG_DFL);
	(void)unsetenv("MSGD_SECRET");
	(void)close(fd);
}

/* A shell would have reset it. */
static void test_mask(void **state)
{
	const char *path = path_of("program");
	FILE *file = fopen(path, "we");
	sigset_t set;

	assert_non_null(file);
	assert_true(fputs("#!/usr/bin/awk -f\n"
			  "BEGIN { while ((getline line < \"/proc/self/status\") > 0)"
			  " if (line ~ /^SigBlk/) print \"deny\", line }\n",
			    file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0700), 0);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0);
	assert_int_equal(start(path, 30), 0);
	wait_ended();
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	expect(BROKER_ANSWER_DENY, "SigBlk: 0000000000000000");
}

/* ---- how it ends ---------------------------------------------------------------------------- */

static void test_deny(void **state)
{
	run("echo 'deny not at night cache=60'", 30);
	expect(BROKER_ANSWER_DENY, "not at night");
	assert_int_equal(s.answer.cache_s, 60);
}

static void test_hangs(void **state)
{
	run("exec sleep 1000", 1);
	expect(BROKER_ANSWER_NONE, "no answer in 1 s");
}

/* It is told SIGTERM, and does not care; nor does its child, which has its output. */
static void test_stubborn(void **state)
{
	int fd;

	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	fd = open(path_of("fifo"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	run("trap '' TERM; (while :; do sleep 1; done) 5>fifo & while :; do sleep 1; done", 1);
	expect(BROKER_ANSWER_NONE, "no answer in 1 s");
	/* The last writer is gone. */
	assert_int_equal(poll(&(struct pollfd){.fd = fd}, 1, PATIENCE_S * 1000), 1);
	(void)close(fd);
}

/* A child that it leaves in its group is ended with it. */
static void test_leaves_a_child(void **state)
{
	int fd;

	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	fd = open(path_of("fifo"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	run("exec 5>fifo; sleep 1000 & echo allow", 30);
	expect(BROKER_ANSWER_ALLOW, "");
	assert_int_equal(poll(&(struct pollfd){.fd = fd}, 1, PATIENCE_S * 1000), 1);
	(void)close(fd);
}

static void test_floods(void **state)
{
	run("exec yes allow", 1000);
	expect(BROKER_ANSWER_NONE, "more than 4096 bytes of output");
}

static void test_closes_and_hangs(void **state)
{
	run("echo allow; exec >&- 2>&-; exec sleep 1000", 1);
	expect(BROKER_ANSWER_NONE, "no answer in 1 s");
}

static void test_dies(void **state)
{
	run("echo allow; kill -9 $$", 30);
	expect(BROKER_ANSWER_NONE, "ended by signal 9");
}

static void test_fails(void **state)
{
	run("echo allow; exit 3", 30);
	expect(BROKER_ANSWER_NONE, "exit status 3");
}

static void test_garbage(void **state)
{
	run("printf 'may\\001be\\nallow\\n'", 30);
	expect(BROKER_ANSWER_NONE, "neither allow nor deny: may?be?allow?");
}

static void test_lines(void **state)
{
	run("printf 'one\\n\\n\\ttwo\\033[0m\\nthree' >&2; echo allow", 30);
	expect(BROKER_ANSWER_ALLOW, "");
	assert_string_equal(s.lines, "one| two?[0m|three|");
}

static void test_many_lines(void **state)
{
	run("i=0; while [ $i -lt 20000 ]; do echo line $i >&2; i=$((i + 1)); done; echo allow",
		PATIENCE_S);
	expect(BROKER_ANSWER_ALLOW, "");
	assert_int_equal(s.n_lines, PROGRAM_LINES_MAX + 1);
	assert_non_null(strstr(s.lines, "line 31|(more of it is not logged)|"));
}

static void on_stop_it(evutil_socket_t fd, short what, void *arg)
{
	programs_stop(s.programs, 41); /* another one */
	programs_stop(s.programs, 42);
	programs_stop(s.programs, 42);
}

static void test_stopped(void **state)
{
	struct event *timer = evtimer_new(s.base, on_stop_it, NULL);

	assert_int_equal(evtimer_add(timer, &(struct timeval){.tv_usec = 1000}), 0);
	run("exec sleep 1000", 1000);
	expect(BROKER_ANSWER_NONE, "ended by signal 15");
	event_free(timer);
}

static void test_absent(void **state)
{
	const char *path;

	assert_int_equal(start("/nonexistent/program", 30), -ENOENT);
	path = script("echo allow");
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(start(path, 30), -EACCES);
	assert_int_equal(s.n_ended, 0);
}

/* With no descriptor to be had there is an error, and nothing is left. */
static void test_no_descriptors(void **state)
{
	const char *path = script("echo allow");
	int fds[2000], n = 0;

	while (n < 2000 && (fds[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		n++;
	if (n < 2000) {
		assert_int_equal(errno, EMFILE);
		for (unsigned i = 0; i < 7; i++) {
			assert_int_equal(start(path, 30), -EMFILE);
			(void)close(fds[--n]);
		}
	}
	while (n > 0)
		(void)close(fds[--n]);
	assert_int_equal(s.n_ended, 0);
}

/* Of two, each has its own. */
static void test_two(void **state)
{
	const char *path = script("echo allow");

	assert_int_equal(start(path, 30), 0);
	assert_int_equal(start(path, 30), 0);
	while (s.n_ended < 2)
		wait_ended();
	assert_int_equal(s.n_answers, 2);
	expect(BROKER_ANSWER_ALLOW, "");
}

/* ---- the helper ----------------------------------------------------------------------------- */

static void helper(const char *text)
{
	assert_int_equal(programs_set_helper(s.programs, script(text)), 0);
	assert_int_equal(start(NULL, 30), 0);
	wait_ended();
	assert_int_equal(s.n_answers, 1);
}

static void test_helper(void **state)
{
	helper("echo \"$# $1 $MSG_FROM_DOMAIN\" >arguments; yes | head -n 5000");
	expect(BROKER_ANSWER_ALLOW, "");
	assert_string_equal(read_back("arguments"), "1 vault work\n");
}

/* The domain's processes, in the emulator. */
static void test_helper_leaves_a_child(void **state)
{
	char byte = 'x';
	int fd;

	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	fd = open(path_of("fifo"), O_RDWR | O_CLOEXEC);
	helper("(sleep 0.2; echo alive >fifo) &");
	expect(BROKER_ANSWER_ALLOW, "");
	assert_int_equal(
		poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, PATIENCE_S * 1000), 1);
	assert_int_equal(read(fd, &byte, 1), 1);
	assert_int_equal(byte, 'a');
	(void)close(fd);
}

static void test_helper_fails(void **state)
{
	helper("echo 'no memory'; echo more; exit 1");
	expect(BROKER_ANSWER_NONE, "no memory");
}

static void test_helper_fails_silently(void **state)
{
	helper("exit 1");
	expect(BROKER_ANSWER_NONE, "exit status 1");
	assert_int_equal(programs_set_helper(s.programs, NULL), 0);
	assert_int_equal(start(NULL, 30), -EDESTADDRREQ);
}

/* ---- msgd's end ----------------------------------------------------------------------------- */

/* A program that was asked is ended, a domain that is half made is not. */
static void test_end(void **state)
{
	char go = 'x';
	int asked, helped;

	assert_int_equal(mkfifo(path_of("asked"), 0600), 0);
	assert_int_equal(mkfifo(path_of("helped"), 0600), 0);
	assert_int_equal(mkfifo(path_of("go"), 0600), 0);
	assert_int_equal(start(script("exec 5>asked; echo >&5; sleep 1000"), 30), 0);
	asked = open(path_of("asked"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(asked, &go, 1), 1);
	assert_int_equal(
		programs_set_helper(s.programs, script("exec 5>helped; read x <go; echo done >&5")),
		0);
	assert_int_equal(start(NULL, 30), 0);
	helped = open(path_of("helped"), O_RDONLY | O_CLOEXEC);
	programs_free(s.programs);
	s.programs = NULL;
	assert_int_equal(read(asked, &go, 1), 0);
	(void)close(asked);
	asked = open(path_of("go"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(asked, "\n", 1), 1);
	(void)close(asked);
	assert_int_equal(read(helped, &go, 1), 1);
	assert_int_equal(go, 'd');
	(void)close(helped);
}

/* ---- answers -------------------------------------------------------------------------------- */

static void test_answers(void **state)
{
	static const struct {
		const char *output;
		enum broker_answer_result result;
		uint32_t cache_s;
		const char *reason;
	} cases[] = {
		{"allow", BROKER_ANSWER_ALLOW},
		{"allow\n", BROKER_ANSWER_ALLOW},
		{"allow cache=5\n", BROKER_ANSWER_ALLOW, 5},
		{"allow cache=4294967295", BROKER_ANSWER_ALLOW, UINT32_MAX},
		{"deny", BROKER_ANSWER_DENY},
		{"deny cache=5", BROKER_ANSWER_DENY, 5},
		{"deny no cache today", BROKER_ANSWER_DENY, 0, "no cache today"},
		{"deny no \x1b cache=1\n", BROKER_ANSWER_DENY, 1, "no ?"},
		{"", BROKER_ANSWER_NONE, 0, "neither allow nor deny: (nothing)"},
		{"\n", BROKER_ANSWER_NONE, 0, "neither allow nor deny: (nothing)"},
		{"allow cache=", BROKER_ANSWER_NONE, 0, "neither allow nor deny: allow cache="},
		{"allow cache=-1", BROKER_ANSWER_NONE, 0, "neither allow nor deny: allow cache=-1"},
		{"allow cache=4294967296", BROKER_ANSWER_NONE, 0,
			"neither allow nor deny: allow cache=4294967296"},
		{"allow yes", BROKER_ANSWER_NONE, 0, "neither allow nor deny: allow yes"},
		{" allow", BROKER_ANSWER_NONE, 0, "neither allow nor deny:  allow"},
		{"allow ", BROKER_ANSWER_NONE, 0, "neither allow nor deny: allow "},
		{"ALLOW", BROKER_ANSWER_NONE, 0, "neither allow nor deny: ALLOW"},
		{"allow\nallow\n", BROKER_ANSWER_NONE, 0, "neither allow nor deny: allow?allow?"},
		{"allow\n\n", BROKER_ANSWER_NONE, 0, "neither allow nor deny: allow??"},
		{"deny no\nmore", BROKER_ANSWER_NONE, 0, "neither allow nor deny: deny no?more"},
		{"denied", BROKER_ANSWER_NONE, 0, "neither allow nor deny: denied"},
	};
	struct broker_answer answer;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		programs_answer_parse(cases[i].output, strlen(cases[i].output), &answer);
		assert_int_equal(answer.result, cases[i].result);
		assert_int_equal(answer.cache_s, cases[i].cache_s);
		assert_string_equal(answer.reason, cases[i].reason ? cases[i].reason : "");
	}
	programs_answer_parse("allow\0", 6, &answer);
	assert_int_equal(answer.result, BROKER_ANSWER_NONE);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_question),
		TEST(test_clean),
		TEST(test_mask),
		TEST(test_deny),
		TEST(test_hangs),
		TEST(test_stubborn),
		TEST(test_leaves_a_child),
		TEST(test_floods),
		TEST(test_closes_and_hangs),
		TEST(test_dies),
		TEST(test_fails),
		TEST(test_garbage),
		TEST(test_lines),
		TEST(test_many_lines),
		TEST(test_stopped),
		TEST(test_absent),
		TEST(test_no_descriptors),
		TEST(test_two),
		TEST(test_helper),
		TEST(test_helper_leaves_a_child),
		TEST(test_helper_fails),
		TEST(test_helper_fails_silently),
		TEST(test_end),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
