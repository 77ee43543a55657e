/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which of command line, msgd.conf, environment and defaults counts. The files in /etc are this
 * program's: the linker names access, config_load and policy_load to it (--wrap).
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"
#include "base/report.h"
#include "daemon/options.h"
#include "tests/support/failing-malloc.h"
#include "tests/unit/daemon/cmocka-all.h"

static bool etc_is_there;
static const char *loaded_config, *loaded_policy; /* the last path; NULL: none */
static size_t n_loaded_policies;

int __wrap_access(const char *path, int mode);
int __wrap_access(const char *path, int mode)
{
	assert_true(strncmp(path, "/etc/msgd/", 10) == 0);
	assert_int_equal(mode, F_OK);
	return etc_is_there ? 0 : -1;
}

int __real_config_load(struct config *config, const char *path, struct report *report);
int __wrap_config_load(struct config *config, const char *path, struct report *report);
int __wrap_config_load(struct config *config, const char *path, struct report *report)
{
	loaded_config = path;
	return strcmp(path, "/etc/msgd/msgd.conf") == 0
		       ? config_parse(config, path, "[limits]\nnames = 77\n", report)
		       : __real_config_load(config, path, report);
}

int __real_policy_load(const char *const *paths, size_t n_paths, struct policy **ret_policy,
	struct report *report);
int __wrap_policy_load(const char *const *paths, size_t n_paths, struct policy **ret_policy,
	struct report *report);
int __wrap_policy_load(
	const char *const *paths, size_t n_paths, struct policy **ret_policy, struct report *report)
{
	loaded_policy = n_paths ? paths[n_paths - 1] : NULL;
	n_loaded_policies = n_paths;
	return n_paths && strcmp(paths[0], "/etc/msgd/policy.d") == 0
		       ? policy_new(ret_policy)
		       : __real_policy_load(paths, n_paths, ret_policy, report);
}

static char directory[] = "/tmp/msgd-options-XXXXXX", conf[64], policy[64], policy2[64];

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	(void)fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static int group_setup(void **state)
{
	(void)unsetenv("MSG_HV");
	if (!mkdtemp(directory))
		return -1;
	(void)snprintf(conf, sizeof(conf), "%s/conf", directory);
	(void)snprintf(policy, sizeof(policy), "%s/a", directory);
	(void)snprintf(policy2, sizeof(policy2), "%s/b", directory);
	write_file(policy, "allow listen a on any\n");
	write_file(policy2, "allow listen b on any\nallow listen c on any\n");
	return 0;
}

static int group_teardown(void **state)
{
	(void)unlink(conf);
	(void)unlink(policy);
	(void)unlink(policy2);
	return rmdir(directory);
}

static struct settings load(const struct options *options)
{
	struct report report = {.n = 0};
	struct settings settings;

	loaded_config = loaded_policy = NULL;
	if (settings_load(options, &settings, &report) != 0)
		fail_msg("%s", report.lines[0]);
	assert_int_equal(report.n, 0);
	assert_non_null(settings.policy);
	return settings;
}

/* The sentence; the settings stay untouched. */
static void refused(const struct options *options, int want, const char *text)
{
	struct report report = {.n = 0};
	struct settings settings, untouched;

	memset(&settings, 0xa5, sizeof(settings));
	untouched = settings;
	assert_int_equal(settings_load(options, &settings, &report), want);
	assert_int_equal(report.n, 1);
	assert_string_equal(report.lines[0], text);
	assert_memory_equal(&settings, &untouched, sizeof(settings));
}

static void test_sim_path(void **state)
{
	char path[4] = "old";

	assert_true(hv_spec_sim_path("sim:/ab", path, sizeof(path)));
	assert_string_equal(path, "/ab");
	assert_true(hv_spec_sim_path("sim:/c#domain", path, sizeof(path)));
	assert_string_equal(path, "/c");
	assert_false(hv_spec_sim_path("sim:/abc", path, sizeof(path)));
	assert_false(hv_spec_sim_path("sim:", path, sizeof(path)));
	assert_false(hv_spec_sim_path("sim:#d", path, sizeof(path)));
	assert_false(hv_spec_sim_path("sin:/a", path, sizeof(path)));
	assert_false(hv_spec_sim_path("xen", path, sizeof(path)));
	assert_string_equal(path, "/c");
}

/* On the emulator nothing in /etc counts; elsewhere it does, if it is there. */
static void test_defaults(void **state)
{
	struct settings settings;

	etc_is_there = true;
	settings = load(&(struct options){.hv = "sim:/x/y#web"});
	assert_string_equal(settings.hv, "sim:/x/y#web");
	assert_string_equal(settings.admin, "/x/y.msgd");
	assert_string_equal(settings.attach, "/x/y.attach");
	assert_string_equal(settings.lock, "/x/y.msgd.lock");
	assert_true(settings.operators == (gid_t)-1);
	assert_true(settings.policy_missing);
	assert_null(loaded_config);
	assert_int_equal(n_loaded_policies, 0);
	assert_int_equal(settings.config.limits.quota[QUOTA_NAMES], DOMAIN_NAMES_MAX);
	settings_fini(&settings);
	assert_null(settings.policy);
	for (int given = 0; given < 2; given++) {
		settings = load(&(struct options){.hv = given ? "xen" : NULL});
		assert_string_equal(settings.hv, "xen");
		assert_string_equal(settings.admin, "/run/msgd/admin");
		assert_string_equal(settings.attach, "/run/msgd/attach");
		assert_string_equal(settings.lock, "/run/msgd/lock");
		assert_false(settings.policy_missing);
		assert_string_equal(loaded_config, "/etc/msgd/msgd.conf");
		assert_int_equal(n_loaded_policies, 1);
		assert_int_equal(settings.config.limits.quota[QUOTA_NAMES], 77);
		settings_fini(&settings);
	}
	etc_is_there = false;
	settings = load(&(struct options){.hv = "xen"});
	assert_true(settings.policy_missing);
	assert_null(loaded_config);
	assert_int_equal(n_loaded_policies, 0);
	settings_fini(&settings);
}

/* The command line over msgd.conf over the environment. */
static void test_order(void **state)
{
	const struct options given = {.hv = "sim:/o",
		.config = conf,
		.admin = "/o/admin",
		.attach = "/o/attach",
		.policy = {policy},
		.n_policy = 1};
	struct settings settings;
	char text[256];

	etc_is_there = true;
	(void)snprintf(text, sizeof(text),
		"[broker]\nhv = sim:/c\nadmin = /c/admin\nattach = /c/attach\n"
		"policy = %s\npolicy = %s\noperators = 4294967294\n",
		policy, policy2);
	write_file(conf, text);
	assert_int_equal(setenv("MSG_HV", "sim:/e", 1), 0);
	settings = load(&given);
	assert_string_equal(loaded_config, conf);
	assert_string_equal(settings.hv, "sim:/o");
	assert_string_equal(settings.admin, "/o/admin");
	assert_string_equal(settings.attach, "/o/attach");
	assert_string_equal(settings.lock, "/o.msgd.lock");
	assert_int_equal(policy_rules(settings.policy), 1);
	assert_false(settings.policy_missing);
	assert_true(settings.operators == 4294967294U);
	settings_fini(&settings);
	settings = load(&(struct options){.config = conf});
	assert_string_equal(settings.hv, "sim:/c");
	assert_string_equal(settings.admin, "/c/admin");
	assert_string_equal(settings.attach, "/c/attach");
	assert_string_equal(loaded_config, conf);
	assert_int_equal(policy_rules(settings.policy), 3);
	assert_string_equal(loaded_policy, policy2);
	assert_false(settings.policy_missing);
	settings_fini(&settings);
	write_file(conf, "");
	settings = load(&(struct options){.config = conf});
	assert_string_equal(settings.hv, "sim:/e");
	assert_true(settings.policy_missing);
	settings_fini(&settings);
	assert_int_equal(setenv("MSG_HV", "", 1), 0);
	settings = load(&(struct options){.config = conf});
	assert_string_equal(settings.hv, "xen");
	settings_fini(&settings);
	assert_int_equal(unsetenv("MSG_HV"), 0);
}

static void test_operators(void **state)
{
	const struct options options = {.hv = "sim:/x", .config = conf};
	const struct group *group;
	struct settings settings;
	char text[256];

	setgrent();
	while ((group = getgrent()) && group->gr_gid == 0)
		;
	if (group) {
		gid_t gid = group->gr_gid;

		(void)snprintf(text, sizeof(text), "[broker]\noperators = %s\n", group->gr_name);
		write_file(conf, text);
		settings = load(&options);
		assert_int_equal(settings.operators, gid);
		settings_fini(&settings);
	}
	endgrent();
	write_file(conf, "[broker]\noperators = 0\n");
	settings = load(&options);
	assert_int_equal(settings.operators, 0);
	settings_fini(&settings);
	/* The number that stands for none. */
	write_file(conf, "[broker]\noperators = 4294967295\n");
	(void)snprintf(text, sizeof(text), "%s: operators: there is no group '4294967295'", conf);
	refused(&options, -EINVAL, text);
}

static void test_refused(void **state)
{
	char spec[410], want[256];
	struct options options = {.hv = spec, .config = conf};
	struct settings settings;

	write_file(conf, "[broker]\nx = 1\n");
	strcpy(spec, "sim:/x");
	(void)snprintf(want, sizeof(want), "%s:2: unknown key 'x'", conf);
	refused(&options, -EINVAL, want);
	options.config = "/nonexistent/conf";
	refused(&options, -ENOENT, "/nonexistent/conf: No such file or directory");
	options.config = NULL;
	options.policy[0] = "/nonexistent/p";
	options.n_policy = 1;
	refused(&options, -ENOENT, "/nonexistent/p: No such file or directory");
	options.n_policy = 0;
	strcpy(spec, "sim:#x");
	refused(&options, -EINVAL, "'sim:#x': a bad path");
	memset(spec, 0, sizeof(spec));
	strcpy(spec, "sim:");
	memset(spec + 4, 'a', 399);
	settings = load(&options);
	assert_int_equal(strlen(settings.admin), 399 + 5);
	settings_fini(&settings);
	spec[4 + 399] = 'a';
	(void)snprintf(want, sizeof(want), "'%.100s': a bad path", spec);
	refused(&options, -EINVAL, want);
}

/* A broken policy: all else is there, and the policy refuses. */
static void test_broken(void **state)
{
	struct options options = {.hv = "sim:/x", .policy = {policy2, conf}, .n_policy = 2};
	struct report report = {.n = 0};
	struct settings settings;
	char want[128];

	write_file(conf, "allow\ndeny\n");
	assert_int_equal(settings_load(&options, &settings, &report), POLICY_BROKEN);
	(void)snprintf(want, sizeof(want),
		"%s:1:6: expected listen or connect, found the end of the line", conf);
	assert_int_equal(report.n, 2);
	assert_string_equal(report.lines[0], want);
	assert_string_equal(settings.hv, "sim:/x");
	assert_true(policy_is_broken(settings.policy));
	assert_int_equal(policy_rules(settings.policy), 2);
	settings_fini(&settings);
}

/* Whichever allocation fails: a sentence, and no settings. */
static void test_memory(void **state)
{
	const struct options options = {
		.hv = "sim:/x", .config = conf, .policy = {policy}, .n_policy = 1};
	struct settings settings;
	bool hit;
	int r;

	write_file(conf, "[broker]\nadmin = /a\n");
	for (unsigned n = 1;; n++) {
		struct report report = {.n = 0};

		failing_malloc_set(n);
		r = settings_load(&options, &settings, &report);
		hit = failing_malloc_end();
		/* The search for rules that never match does without memory. */
		assert_int_equal(r, hit && report.n ? -ENOMEM : 0);
		assert_true((r < 0) == !!strstr(report.lines[0], "Cannot allocate memory"));
		if (r == 0) {
			assert_int_equal(policy_rules(settings.policy), 1);
			assert_string_equal(settings.admin, "/a");
			settings_fini(&settings);
		}
		if (!hit)
			break;
	}
}

static struct options parse(char **argv)
{
	struct options options;
	int argc = 0;

	while (argv[argc])
		argc++;
	memset(&options, 0xa5, sizeof(options));
	options_parse(argc, argv, &options);
	return options;
}

/* The status with which the program ends, and whether it said so. */
static int ends_with(char **argv, const char *text)
{
	char said[4096] = "";
	int pipes[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)dup2(pipes[1], STDOUT_FILENO);
		(void)dup2(pipes[1], STDERR_FILENO);
		(void)parse(argv);
		_exit(99);
	}
	(void)close(pipes[1]);
	while ((n = read(pipes[0], said + len, sizeof(said) - 1 - len)) > 0)
		len += (size_t)n;
	(void)close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!strstr(said, text))
		fail_msg("'%s' is not in: %s", text, said);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_parse(void **state)
{
	char *all[] = {"msgd", "--hv=sim:/x", "--config=/c", "--admin=/a", "--attach=/b",
		"--policy=/1", "--policy=/2", "--policy=/3", "--policy=/4", "--policy=/5",
		"--policy=/6", "--policy=/7", "--policy=/8", NULL, NULL};
	char *none[] = {"msgd", NULL}, *argument[] = {"msgd", "x", NULL};
	char *no_value[] = {"msgd", NULL, NULL};
	static const char *const names[] = {"--hv", "--config", "--policy", "--admin", "--attach"};
	char *unknown[] = {"msgd", "--frobnicate", NULL}, *version[] = {"msgd", "--version", NULL};
	struct options options = parse(all);

	assert_string_equal(options.hv, "sim:/x");
	assert_string_equal(options.config, "/c");
	assert_string_equal(options.admin, "/a");
	assert_string_equal(options.attach, "/b");
	assert_int_equal(options.n_policy, 8);
	assert_string_equal(options.policy[0], "/1");
	assert_string_equal(options.policy[7], "/8");
	options = parse(none);
	assert_true(!options.hv && !options.config && !options.admin && !options.attach);
	assert_int_equal(options.n_policy, 0);
	all[13] = "--policy=/9";
	assert_int_equal(ends_with(all, "too many --policy"), EXIT_USAGE);
	assert_int_equal(ends_with(argument, "unexpected argument 'x'"), EXIT_USAGE);
	assert_int_equal(ends_with(unknown, "--frobnicate"), EXIT_USAGE);
	assert_int_equal(ends_with(version, "msgd "), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		no_value[1] = (char *)names[i];
		assert_int_equal(ends_with(no_value, "requires an argument"), EXIT_USAGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sim_path),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_operators),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_parse),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
