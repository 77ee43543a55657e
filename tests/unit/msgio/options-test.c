/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line: what it makes of good words, and that it ends the program at bad ones. */
#include "msgio/options/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"
#include "libmsg/libmsg.h"
#include "tests/support/cmocka-all.h"

#define WORDS_MAX 12

/* Words that a blank divides; they are kept, for options points to them. */
static char line[256], *words[WORDS_MAX];

static int split(const char *text)
{
	int n = 1;

	words[0] = "msgio";
	(void)snprintf(line, sizeof(line), "%s", text);
	for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
		words[n++] = word;
	words[n] = NULL;
	return n;
}

static struct io_options parsed(const char *text)
{
	struct io_options options;
	int n = split(text);

	io_options_parse(n, words, &options);
	return options;
}

static void test_defaults(void **state)
{
	struct io_options options = parsed("connect web/echo");

	assert_int_equal(options.command, COMMAND_CONNECT);
	assert_string_equal(options.to.channel, "web/echo");
	assert_null(options.hv);
	assert_int_equal(options.type, LIBMSG_STREAM);
	assert_int_equal(options.transport, LIBMSG_TRANSPORT_ANY);
	assert_false(options.wait);
	assert_int_equal(options.wait_ms, 10000);
	options = parsed("forward listen:a unix-connect:/b");
	assert_int_equal(options.command, COMMAND_FORWARD);
	assert_int_equal(options.max_connections, 1024);
	assert_int_equal(options.mode, 0600);
	assert_string_equal(options.from.channel, "a");
	assert_string_equal(address_path(&options.to), "/b");
}

static void test_options(void **state)
{
	struct io_options options = parsed(
		"--hv=sim:x#y --type=seqpacket --wait --transport=argo-strict connect web/echo");

	assert_string_equal(options.hv, "sim:x#y");
	assert_int_equal(options.type, LIBMSG_SEQPACKET);
	assert_int_equal(options.transport, LIBMSG_TRANSPORT_ARGO_STRICT);
	assert_true(options.wait);
	assert_int_equal(options.wait_ms, -1);
	options = parsed("--wait=3 --type=dgram listen echo");
	assert_int_equal(options.command, COMMAND_LISTEN);
	assert_int_equal(options.wait_ms, 3000);
	assert_int_equal(options.type, LIBMSG_DGRAM);
	assert_string_equal(options.from.channel, "echo");
	options = parsed("--mode=0660 --max-connections=9 serve /a");
	assert_int_equal(options.command, COMMAND_SERVE);
	assert_string_equal(address_path(&options.from), "/a");
	assert_int_equal(options.mode, 0660);
	assert_int_equal(options.max_connections, 9);
	assert_int_equal(parsed("serve a").max_connections, 1024);
	options = parsed("--max-connections=65536 --mode=0666 forward unix-listen:/a connect:b");
	assert_int_equal(options.max_connections, 65536);
	assert_int_equal(options.mode, 0666);
}

/* The program's own options are its own, with and without the dashes before it. */
static void test_exec(void **state)
{
	static const char *const lines[] = {
		"--max=4 --time-limit=60 exec sort -- sort --type=x -n",
		"--max=4 --time-limit=60 exec sort sort --type=x -n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct io_options options = parsed(lines[i]);

		assert_int_equal(options.command, COMMAND_EXEC);
		assert_int_equal(options.max_connections, 4);
		assert_int_equal(options.time_limit_s, 60);
		assert_string_equal(options.from.channel, "sort");
		assert_string_equal(options.program[0], "sort");
		assert_string_equal(options.program[1], "--type=x");
		assert_string_equal(options.program[2], "-n");
		assert_null(options.program[3]);
	}
	assert_int_equal(parsed("exec a b").max_connections, 64);
}

static void test_activate(void **state)
{
	struct io_options options =
		parsed("--idle=30 --start-limit=5 activate web -- serve --idle=x");

	assert_int_equal(options.command, COMMAND_ACTIVATE);
	assert_string_equal(options.from.channel, "web");
	assert_int_equal(options.idle_s, 30);
	assert_int_equal(options.start_limit_s, 5);
	assert_int_equal(options.max_connections, 1024);
	assert_string_equal(options.program[0], "serve");
	assert_string_equal(options.program[1], "--idle=x");
	assert_null(options.program[2]);
	options = parsed("activate web serve");
	assert_int_equal(options.idle_s, 0);
	assert_int_equal(options.start_limit_s, 10);
}

/* Standard error of a child that parses; *ret_status: how it exits. */
static const char *refusal(const char *text, int *ret_status)
{
	static char said[4096];
	struct io_options options;
	int fds[2], n = split(text);
	ssize_t len;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		(void)dup2(fds[1], STDERR_FILENO);
		io_options_parse(n, words, &options);
		_exit(0);
	}
	(void)close(fds[1]);
	assert_int_equal(waitpid(pid, ret_status, 0), pid);
	len = read(fds[0], said, sizeof(said) - 1);
	(void)close(fds[0]);
	said[len > 0 ? len : 0] = '\0';
	return said;
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *cause;
	} cases[] = {
		{"", "Usage"},
		{"connect", "an argument is missing: connect [DOMAIN/]NAME"},
		{"listen", "an argument is missing: listen NAME"},
		{"exec", "an argument is missing: exec NAME -- PROGRAM"},
		{"forward listen:a", "an argument is missing: forward FROM TO"},
		{"serve", "an argument is missing: serve PATH"},
		{"serve @a", "'@a': an abstract socket has no permissions"},
		{"serve a b", "'b' is one argument too many"},
		{"--type=seqpacket serve a", "programs that ask at the socket say type"},
		{"--transport=argo serve a", "programs that ask at the socket say type"},
		{"nothing at-all", "unknown command 'nothing'"},
		{"connect a b", "'b' is one argument too many"},
		{"forward listen:a connect:b c", "'c' is one argument too many"},
		{"exec name", "an argument is missing: exec NAME -- PROGRAM"},
		{"activate name", "an argument is missing: activate NAME -- PROGRAM"},
		{"--idle=5 exec name p", "--start-limit and --idle are for activate"},
		{"--start-limit=5 connect a", "--start-limit and --idle are for activate"},
		{"--time-limit=5 activate name p", "--time-limit is for exec"},
		{"--idle=0 activate name p", "--idle is 1 to"},
		{"connect web/", "is no [DOMAIN/]NAME"},
		{"listen web/a", "in this domain"},
		{"forward connect:a connect:b", "'connect:a' connects: a forward goes from"},
		{"forward listen:a listen:b", "'listen:b' listens: a forward goes from"},
		{"forward tcp-listen:1.2.3.4:5 connect:b", "1.2.3.4 is not this machine's own"},
		{"--type=packet connect a", "--type is stream, seqpacket or dgram, not 'packet'"},
		{"--transport=tcp connect a", "not 'tcp'"},
		{"--transport=argo listen a", "--transport is for channels that msgio connects"},
		{"--transport=argo forward listen:a unix-connect:/b", "policy says the transport"},
		{"--wait=0 connect a", "--wait is 1 to 2147483, not '0'"},
		{"--wait=x connect a", "not 'x'"},
		{"--max-connections=0 exec a b", "--max-connections is 1 to 65536, not '0'"},
		{"--max-connections=65537 exec a b", "not '65537'"},
		{"--max-connections=1 connect a",
			"--max-connections is for exec, activate, forward and serve"},
		{"--time-limit=1 forward listen:a connect:b", "--time-limit is for exec"},
		{"--mode=8 forward unix-listen:/a connect:b",
			"--mode is octal, 0 to 0777, not '8'"},
		{"--mode=1000 forward unix-listen:/a connect:b", "not '1000'"},
		{"--mode=600 forward unix-listen:@a connect:b", "--mode is for the socket file"},
		{"--mode=600 forward listen:a unix-connect:/b", "--mode is for the socket file"},
		{"--type=dgram forward tcp-listen:localhost:1 connect:b", "carry streams alone"},
		{"--type=seqpacket forward listen:a vsock-connect:1", "carry streams alone"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int status;
		const char *said = refusal(cases[i].text, &status);

		if (!WIFEXITED(status) || WEXITSTATUS(status) != STATUS_USAGE ||
			!strstr(said, cases[i].cause))
			fail_msg("%s: %d, %s", cases[i].text, status, said);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_activate),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
