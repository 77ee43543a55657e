/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd's main program, run in this one: on an emulator in this process, with a service manager, a
 * stop signal and failures of this program's making. The linker names the functions to it (--wrap);
 * each run's loop is the test's.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/listen.h"
#include "base/log.h"
#include "base/macro.h"
#include "daemon/admin/answer.h"
#include "daemon/options.h"
#include "daemon/shell/server.h"
#include "hv/sim/testing/sim.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/timers.h"

int msgd_main(int argc, char **argv);

enum broken {
	NOTHING,
	BASE_NEW,
	ADMIN_NEW,
	AGENT_NEW,
	SERVER_NEW,
	QUIESCE_NEW,
	STOP_OPEN,
	EVENT_NEW, /* the n-th of main.c */
	EVENT_ADD,
};

static struct {
	struct sim *sim;
	struct event_base *base;
	struct server *server;
	void (*scenario)(void); /* in the place of the loop; or NULL */
	char log[8192], notified[2048];
	int log_level;
	int hv_errors[3]; /* of hv_open, one after another */
	const char *hv_reason;
	unsigned n_hv_opens;
	char hv_spec[256], started[256]; /* the last; what sim_start was given */
	int start_error;
	int stop_fds[2];
	unsigned n_stop_done;
	int notify_error;
	int sockets[3], n_sockets; /* systemd's, from descriptor 3 on: their types */
	unsigned n_unset;	   /* sd_listen_fds(1) */
	uint64_t watchdog_us;
	int watchdog_enabled;
	enum broken broken;
	unsigned nth;
	int dispatched;
	bool lost;
	unsigned places;
	char gone[64];
	unsigned n_looks;
	void (*on_libevent)(int severity, const char *text);
	const char *lock; /* in the place of the true one; or NULL */
	char made[64];	  /* the last directory */
	mode_t made_mode;
	event_callback_fn last_fn;
	void *last_arg;
} fix;

static char directory[] = "/tmp/msgd-main-XXXXXX", path[32];

/* ---- wrapped -------------------------------------------------------------------------------- */

static bool breaks(enum broken what)
{
	if (fix.broken != what)
		return false;
	return fix.nth == 0 || --fix.nth == 0;
}

void __wrap_log_record(int priority, bool always, const struct log_field *fields, size_t n_fields,
	const char *text);
void __wrap_log_record(int priority, bool always, const struct log_field *fields, size_t n_fields,
	const char *text)
{
	size_t len = strlen(fix.log);

	if (len + 600 <= sizeof(fix.log))
		(void)sprintf(fix.log + len, "<%d> %.550s\n", priority, text);
}

void __wrap_log_write(int priority, const char *format, ...);
void __wrap_log_write(int priority, const char *format, ...)
{
	char text[600];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	__wrap_log_record(priority, false, NULL, 0, text);
}

void __wrap_log_open(const char *name, int level);
void __wrap_log_open(const char *name, int level)
{
	assert_string_equal(name, "msgd");
	fix.log_level = level;
}

int __wrap_notify_send(const char *text);
int __wrap_notify_send(const char *text)
{
	size_t len = strlen(fix.notified);

	if (fix.notify_error)
		return fix.notify_error;
	(void)snprintf(fix.notified + len, sizeof(fix.notified) - len, "%s|", text);
	return 0;
}

int __wrap_hv_open(const char *spec, struct hv **ret_hv, const char **ret_reason);
int __wrap_hv_open(const char *spec, struct hv **ret_hv, const char **ret_reason)
{
	int r = fix.hv_errors[fix.n_hv_opens++];

	(void)snprintf(fix.hv_spec, sizeof(fix.hv_spec), "%s", spec);
	if (r < 0 && fix.hv_reason)
		*ret_reason = fix.hv_reason;
	return r < 0 ? r : sim_hv_open(fix.sim, 0, ret_hv);
}

int __wrap_sim_start(const char *sim_path);
int __wrap_sim_start(const char *sim_path)
{
	(void)snprintf(fix.started, sizeof(fix.started), "%s", sim_path);
	return fix.start_error;
}

int __wrap_stop_open(int *ret_fd);
int __wrap_stop_open(int *ret_fd)
{
	*ret_fd = fix.stop_fds[0];
	return breaks(STOP_OPEN) ? -EMFILE : 0;
}

int __wrap_stop_signal(void);
int __wrap_stop_signal(void)
{
	return SIGTERM;
}

void __wrap_stop_done(void);
void __wrap_stop_done(void)
{
	fix.n_stop_done++;
}

int __wrap_sd_listen_fds(int unset);
int __wrap_sd_listen_fds(int unset)
{
	fix.n_unset += unset == 1;
	return fix.n_sockets;
}

int __wrap_sd_is_socket_unix(int fd, int type, int listening, const char *at, size_t len);
int __wrap_sd_is_socket_unix(int fd, int type, int listening, const char *at, size_t len)
{
	assert_true(fd >= 3 && fd < 3 + fix.n_sockets);
	assert_true(listening == 1 && !at && len == 0);
	return fix.sockets[fd - 3] == type;
}

int __wrap_sd_watchdog_enabled(int unset, uint64_t *ret_us);
int __wrap_sd_watchdog_enabled(int unset, uint64_t *ret_us)
{
	assert_int_equal(unset, 0);
	*ret_us = fix.watchdog_us;
	return fix.watchdog_enabled;
}

struct event_base *__real_event_base_new(void);
struct event_base *__wrap_event_base_new(void);
struct event_base *__wrap_event_base_new(void)
{
	fix.base = breaks(BASE_NEW) ? NULL : __real_event_base_new();
	return fix.base;
}

struct event *__real_event_new(
	struct event_base *base, evutil_socket_t fd, short events, event_callback_fn fn, void *arg);
struct event *__wrap_event_new(
	struct event_base *base, evutil_socket_t fd, short events, event_callback_fn fn, void *arg);
struct event *__wrap_event_new(
	struct event_base *base, evutil_socket_t fd, short events, event_callback_fn fn, void *arg)
{
	fix.last_fn = fn;
	fix.last_arg = arg;
	return breaks(EVENT_NEW) ? NULL : __real_event_new(base, fd, events, fn, arg);
}

bool timers_break(void)
{
	assert_true(n_timers < 4);
	return breaks(EVENT_ADD);
}

int __wrap_event_base_dispatch(struct event_base *base);
int __wrap_event_base_dispatch(struct event_base *base)
{
	assert_ptr_equal(base, fix.base);
	if (fix.scenario)
		fix.scenario();
	return fix.dispatched;
}

void __wrap_event_set_log_callback(void (*fn)(int severity, const char *text));
void __wrap_event_set_log_callback(void (*fn)(int severity, const char *text))
{
	fix.on_libevent = fn;
}

int __real_admin_new(struct event_base *base, int fd, const struct admin_ops *ops, void *arg,
	struct admin **ret_admin);
int __wrap_admin_new(struct event_base *base, int fd, const struct admin_ops *ops, void *arg,
	struct admin **ret_admin);
int __wrap_admin_new(struct event_base *base, int fd, const struct admin_ops *ops, void *arg,
	struct admin **ret_admin)
{
	return breaks(ADMIN_NEW) ? -ENOMEM : __real_admin_new(base, fd, ops, arg, ret_admin);
}

struct agent;
struct agent_ops;
int __real_agent_new(struct event_base *base, int fd, struct hv *hv, const struct agent_ops *ops,
	void *arg, struct agent **ret_agent);
int __wrap_agent_new(struct event_base *base, int fd, struct hv *hv, const struct agent_ops *ops,
	void *arg, struct agent **ret_agent);
int __wrap_agent_new(struct event_base *base, int fd, struct hv *hv, const struct agent_ops *ops,
	void *arg, struct agent **ret_agent)
{
	return breaks(AGENT_NEW) ? -ENOMEM : __real_agent_new(base, fd, hv, ops, arg, ret_agent);
}

void __wrap_agent_set_places(struct agent *agent, unsigned places);
void __wrap_agent_set_places(struct agent *agent, unsigned places)
{
	fix.places = places;
}

void __wrap_agent_record_gone(struct agent *agent, const char *key);
void __wrap_agent_record_gone(struct agent *agent, const char *key)
{
	(void)snprintf(fix.gone, sizeof(fix.gone), "%s", key);
}

int __real_server_new(struct event_base *base, struct hv *hv, const struct broker_limits *limits,
	struct policy *policy, const struct server_ops *ops, void *arg, struct server **ret_server,
	const char **ret_reason);
int __wrap_server_new(struct event_base *base, struct hv *hv, const struct broker_limits *limits,
	struct policy *policy, const struct server_ops *ops, void *arg, struct server **ret_server,
	const char **ret_reason);
int __wrap_server_new(struct event_base *base, struct hv *hv, const struct broker_limits *limits,
	struct policy *policy, const struct server_ops *ops, void *arg, struct server **ret_server,
	const char **ret_reason)
{
	int r;

	if (breaks(SERVER_NEW)) {
		*ret_reason = "the store";
		return -EIO;
	}
	r = __real_server_new(base, hv, limits, policy, ops, arg, ret_server, ret_reason);
	fix.server = *ret_server;
	return r;
}

bool __real_server_lost(const struct server *server);
bool __wrap_server_lost(const struct server *server);
bool __wrap_server_lost(const struct server *server)
{
	return fix.lost || __real_server_lost(server);
}

int __real_quiesce_new(
	struct event_base *base, struct server *server, struct quiesce **ret_quiesce);
int __wrap_quiesce_new(
	struct event_base *base, struct server *server, struct quiesce **ret_quiesce);
int __wrap_quiesce_new(struct event_base *base, struct server *server, struct quiesce **ret_quiesce)
{
	return breaks(QUIESCE_NEW) ? -ENOMEM : __real_quiesce_new(base, server, ret_quiesce);
}

void __wrap_quiesce_look(struct quiesce *quiesce);
void __wrap_quiesce_look(struct quiesce *quiesce)
{
	fix.n_looks++;
}

int __real_settings_load(
	const struct options *options, struct settings *ret_settings, struct report *report);
int __wrap_settings_load(
	const struct options *options, struct settings *ret_settings, struct report *report);
int __wrap_settings_load(
	const struct options *options, struct settings *ret_settings, struct report *report)
{
	int r = __real_settings_load(options, ret_settings, report);

	if (r >= 0 && fix.lock)
		strcpy(ret_settings->lock, fix.lock);
	return r;
}

int __wrap_mkdir(const char *name, mode_t mode);
int __wrap_mkdir(const char *name, mode_t mode)
{
	(void)snprintf(fix.made, sizeof(fix.made), "%s", name);
	fix.made_mode = mode;
	return 0;
}

/* ---- the fixture ---------------------------------------------------------------------------- */

static const char *in_directory(const char *name)
{
	static char text[4][128];
	static unsigned n;

	(void)snprintf(text[++n % 4], sizeof(text[0]), "%s/%s", directory, name);
	return text[n % 4];
}

static void write_file(const char *name, const char *text)
{
	FILE *file = fopen(in_directory(name), "w");

	assert_non_null(file);
	(void)fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static bool exists(const char *name)
{
	return access(in_directory(name), F_OK) == 0;
}

static int setup(void **state)
{
	(void)unsetenv("MSG_HV");
	memset(&fix, 0, sizeof(fix));
	n_timers = 0;
	fix.log_level = -1;
	strcpy(directory, "/tmp/msgd-main-XXXXXX");
	assert_non_null(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/xen", directory);
	assert_int_equal(sim_create(&fix.sim), 0);
	assert_int_equal(pipe(fix.stop_fds), 0);
	write_file("conf", "");
	write_file("policy", "allow listen a on any\n");
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"conf", "policy", "xen.msgd.lock", "taken"};

	(void)close(fix.stop_fds[0]);
	(void)close(fix.stop_fds[1]);
	assert_int_equal(sim_check(fix.sim, stderr), 0);
	sim_free(fix.sim);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)unlink(in_directory(names[i]));
	return rmdir(directory); /* msgd left nothing else */
}

/* The program's status. more: another option, or NULL. */
static int run(const char *more)
{
	char hv[128], conf[128], policy[128];
	char *argv[] = {"msgd", hv, conf, policy, (char *)more, NULL};

	(void)snprintf(hv, sizeof(hv), "--hv=sim:%s#Domain-0", path);
	(void)snprintf(conf, sizeof(conf), "--config=%s", in_directory("conf"));
	(void)snprintf(policy, sizeof(policy), "--policy=%s", in_directory("policy"));
	return msgd_main(more ? 5 : 4, argv);
}

/* The program's status; it said all of this, before its loop began or instead of it. */
static void run_says(int status, const char *text)
{
	int r = run(NULL);

	if (!strstr(fix.log, text))
		fail_msg("no '%s' in:\n%s", text, fix.log);
	assert_int_equal(r, status);
	assert_int_equal(fix.n_stop_done, 1);
	assert_false(exists("xen.msgd") || exists("xen.attach"));
}

static void forget(void)
{
	memset(fix.log, 0, sizeof(fix.log));
	memset(fix.notified, 0, sizeof(fix.notified));
}

static void loop(void)
{
	for (int i = 0; i < 5; i++)
		assert_true(event_base_loop(fix.base, EVLOOP_NONBLOCK) >= 0);
}

static void logged(const char *text)
{
	if (!strstr(fix.log, text))
		fail_msg("no '%s' in:\n%s", text, fix.log);
}

static json_t *ask(const char *line)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	char text[4096];
	json_t *answer;
	ssize_t n;

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s.msgd", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(write(fd, line, strlen(line)), strlen(line));
	loop();
	n = read(fd, text, sizeof(text));
	(void)close(fd);
	assert_true(n > 0);
	answer = json_loadb(text, (size_t)n - 1, 0, NULL);
	assert_non_null(answer);
	return answer;
}

static json_int_t number_of(json_t *object, const char *key)
{
	json_int_t number = json_integer_value(json_object_get(object, key));

	json_decref(object);
	return number;
}

/* The lines behind the one that says who asked for it. */
static const char *log_of_action(const char *action)
{
	char want[64];

	(void)snprintf(
		want, sizeof(want), "<5> user %u (pid %d): %s\n", getuid(), (int)getpid(), action);
	assert_int_equal(strncmp(fix.log, want, strlen(want)), 0);
	return fix.log + strlen(want);
}

static void reload(void)
{
	json_t *answer = ask("{\"op\":\"reload\"}\n");

	assert_true(json_is_true(json_object_get(answer, "reloaded")));
	json_decref(answer);
}

/* ---- good starts ---------------------------------------------------------------------------- */

/* No program that msgd starts has the lock. */
static bool lock_is_private(void)
{
	char link[64], target[128];

	for (int fd = 3; fd < 1000; fd++) {
		ssize_t n;

		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		if (strcmp(target, in_directory("xen.msgd.lock")) == 0)
			return fcntl(fd, F_GETFD) == FD_CLOEXEC;
	}
	return false;
}

static void serve(void)
{
	char text[64], want[64];
	struct stat st;
	json_t *answer;
	FILE *file;

	assert_int_equal(stat(in_directory("xen.msgd"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(in_directory("xen.attach"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	file = fopen(in_directory("xen.msgd.lock"), "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	(void)snprintf(want, sizeof(want), "%d\n", (int)getpid());
	assert_string_equal(text, want);
	assert_null(fgets(text, sizeof(text), file)); /* of an earlier one's pid nothing is left */
	(void)fclose(file);
	assert_true(lock_is_private());
	assert_true(signal(SIGPIPE, SIG_IGN) == SIG_IGN);
	answer = ask("{\"op\":\"status\"}\n");
	(void)snprintf(text, sizeof(text), "sim:%s#Domain-0", path);
	assert_string_equal(json_string_value(json_object_get(answer, "hv")), text);
	assert_non_null(json_string_value(json_object_get(answer, "version")));
	assert_int_equal(json_integer_value(json_object_get(answer, "domid")), 0);
	assert_true(json_integer_value(json_object_get(answer, "uptime_s")) < 1000);
	assert_int_equal(number_of(answer, "rules"), 1);
	assert_int_equal(fix.places, DOMAIN_PROCESSES_MAX);
	assert_int_equal(n_timers, 0); /* an idle msgd does not wake up */
	/* The stop. */
	forget();
	assert_int_equal(write(fix.stop_fds[1], "x", 1), 1);
	assert_int_equal(event_base_loop(fix.base, 0), 0);
	assert_string_equal(fix.log, "<5> stopping: Terminated\n");
	assert_string_equal(fix.notified, "STOPPING=1|");
}

static void test_serves(void **state)
{
	char want[256];

	write_file("xen.msgd.lock", "12345678901234\n");
	fix.scenario = serve;
	assert_int_equal(run(NULL), EXIT_SUCCESS);
	assert_int_equal(fix.n_stop_done, 1);
	assert_int_equal(fix.n_unset, 1);
	assert_string_equal(fix.started, "");
	(void)snprintf(want, sizeof(want), "sim:%s#Domain-0", path);
	assert_string_equal(fix.hv_spec, want);
	assert_false(exists("xen.msgd") || exists("xen.attach"));
	/* The next msgd may start. */
	forget();
	fix.scenario = NULL;
	fix.n_hv_opens = 0;
	fix.n_stop_done = 0;
	(void)snprintf(
		want, sizeof(want), " serves sim:%s#Domain-0, admin socket %s.msgd\n", path, path);
	run_says(EXIT_SUCCESS, want);
	assert_null(strstr(fix.log, "no policy"));
	assert_null(strstr(fix.log, "<3>"));
	(void)snprintf(want, sizeof(want), "READY=1\nSTATUS=Serving sim:%s#Domain-0|", path);
	assert_string_equal(fix.notified, want);
	assert_int_equal(fix.log_level, LOG_INFO);
}

static void test_no_policy(void **state)
{
	char hv[128], *argv[] = {"msgd", hv, NULL};
	struct stat st;

	(void)snprintf(hv, sizeof(hv), "--hv=sim:%s", path);
	assert_int_equal(msgd_main(2, argv), EXIT_SUCCESS);
	assert_int_equal(stat(in_directory("xen.msgd.lock"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	logged("<4> no policy (see --policy): every listen and connect is refused\n");
}

/* As when no file of the directory is called *.policy. */
static void test_no_rules(void **state)
{
	write_file("policy", "# nothing yet\n");
	run_says(EXIT_SUCCESS, "<4> no policy rules: every listen and connect is refused\n");
}

/* The errors that msgd's answer to "status" has. */
static void status_errors(const char *const *want, size_t n)
{
	json_t *answer = ask("{\"op\":\"status\"}\n");
	const json_t *errors = json_object_get(answer, "policy_errors");

	assert_true(json_is_array(errors));
	assert_int_equal(json_array_size(errors), n);
	for (size_t i = 0; i < n; i++)
		assert_non_null(strstr(json_string_value(json_array_get(errors, i)), want[i]));
	json_decref(answer);
}

static const char *const broken_errors[] = {
	"policy:2:6: expected listen or connect, found the end of the line",
	"policy:3:1: expected allow or deny, found 'refuse'"};

/* msgd serves, by what it could read; a reload that is no better changes nothing. */
static void serve_broken(void)
{
	json_t *answer;
	char text[400];

	status_errors(broken_errors, 2);
	forget();
	write_file("policy", "allow listen a on any\nallow\nno\n");
	answer = ask("{\"op\":\"reload\"}\n");
	(void)snprintf(text, sizeof(text),
		"%s:2:6: expected listen or connect, found the end of the line (and 1 more: see "
		"the log)",
		in_directory("policy"));
	assert_string_equal(json_string_value(json_object_get(answer, "error")), text);
	json_decref(answer);
	logged(":3:1: expected allow or deny, found 'no'; what was in force stays\n");
	forget();
	write_file("policy",
		"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n"
		"21\n22\n");
	json_decref(ask("{\"op\":\"reload\"}\n"));
	logged("<3> reload: and 2 more errors\n");
	status_errors(broken_errors, 2);
	assert_int_equal(number_of(ask("{\"op\":\"status\"}\n"), "rules"), 0);
	write_file("policy", "allow listen a on any\n");
	reload();
	status_errors(NULL, 0);
}

static void test_broken_policy(void **state)
{
	write_file("policy", "allow listen a on any\nallow\nrefuse\n");
	fix.scenario = serve_broken;
	assert_int_equal(run(NULL), EXIT_SUCCESS);
}

static void test_many_errors(void **state)
{
	write_file("policy",
		"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n"
		"21\n");
	run_says(EXIT_SUCCESS, "<3> and 1 more errors\n");
}

static void test_broken_policy_log(void **state)
{
	write_file("policy", "allow listen a on any\nallow\nrefuse\n");
	assert_int_equal(run(NULL), EXIT_SUCCESS);
	for (size_t i = 0; i < ARRAY_SIZE(broken_errors); i++)
		logged(broken_errors[i]);
	logged("<3> the policy is broken: 0 rules of the files before count, all else is "
	       "refused\n");
}

/* Rules that never match are told at the start and at each reload. */
static void serve_warned(void)
{
	forget();
	reload();
	logged("policy:2: warning: this rule never matches: ");
	forget();
	write_file("policy", "allow listen b on any\nallow listen a on any\n");
	reload();
	assert_null(strstr(fix.log, "warning"));
}

static void test_warned(void **state)
{
	write_file("policy", "allow listen * on any\nallow listen a on any\n");
	run_says(EXIT_SUCCESS, "policy:1 decides first\n");
}

static void test_warned_again(void **state)
{
	write_file("policy", "allow listen * on any\nallow listen a on any\n");
	fix.scenario = serve_warned;
	run_says(EXIT_SUCCESS, "");
}

/* ---- wrong starts --------------------------------------------------------------------------- */

static void test_settings(void **state)
{
	write_file("conf", "[broker]\nlog = loud\n");
	assert_int_equal(run(NULL), EXIT_USAGE);
	logged("conf:2: unknown log level 'loud'\n");
	assert_int_equal(strncmp(fix.log, "<3> ", 4), 0);
	assert_false(exists("xen.msgd.lock"));
}

static void test_locked(void **state)
{
	static const char *const pids[] = {"", "7", "78\n", "123456789012345678"};
	static const char *const want[] = {"", " (pid 7)", " (pid 78)", " (pid 123456789012345)"};
	char text[256];
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		write_file("xen.msgd.lock", pids[i]);
		fd = open(in_directory("xen.msgd.lock"), O_RDWR);
		assert_int_equal(flock(fd, LOCK_EX), 0);
		forget();
		fix.n_stop_done = 0;
		(void)snprintf(text, sizeof(text), "<3> another msgd%s serves sim:%s#Domain-0\n",
			want[i], path);
		run_says(3, text);
		assert_int_equal(fix.n_hv_opens, 0);
		(void)close(fd);
	}
	/* Links are not followed. */
	(void)unlink(in_directory("xen.msgd.lock"));
	assert_int_equal(symlink("taken", in_directory("xen.msgd.lock")), 0);
	forget();
	fix.n_stop_done = 0;
	run_says(EXIT_FAILURE, ".msgd.lock: Too many levels of symbolic links\n");
	assert_string_equal(fix.made, "");
}

/* The directory of the lock is made where systemd has not. */
static void test_run_directory(void **state)
{
	fix.lock = "/run/msgd/nonexistent/lock";
	run_says(EXIT_FAILURE, "<3> lock /run/msgd/nonexistent/lock: ");
	assert_string_equal(fix.made, "/run/msgd");
	assert_int_equal(fix.made_mode, 0755);
	memset(fix.made, 0, sizeof(fix.made));
	fix.n_stop_done = 0;
	fix.lock = "/run/msge/nonexistent/lock";
	run_says(EXIT_FAILURE, "<3> lock /run/msge/nonexistent/lock: ");
	assert_string_equal(fix.made, "");
}

/* A path is taken, by a file or by a program; or too long. */
static void test_paths(void **state)
{
	static const char *const names[] = {"admin", "attach"};
	char option[512], want[512];
	int fd, r;

	for (int i = 0; i < 2; i++) {
		(void)snprintf(option, sizeof(option), "--%s=%s", names[i], in_directory("taken"));
		write_file("taken", "");
		forget();
		fix.n_hv_opens = 0;
		assert_int_equal(run(option), EXIT_FAILURE);
		(void)snprintf(want, sizeof(want),
			"<3> %s socket %s: there is something that is not a socket\n", names[i],
			in_directory("taken"));
		logged(want);
		assert_true(exists("taken"));
		(void)unlink(in_directory("taken"));
		r = unix_listen(
			in_directory("taken"), i ? SOCK_SEQPACKET : SOCK_STREAM, 0600, 5, &fd);
		assert_int_equal(r, 0);
		fix.n_hv_opens = 0;
		assert_int_equal(run(option), 3);
		logged(": another msgd answers there\n");
		assert_true(exists("taken"));
		(void)close(fd);
		(void)unlink(in_directory("taken"));
		(void)snprintf(option, sizeof(option), "--%s=/%0200d", names[i], 0);
		fix.n_hv_opens = 0;
		assert_int_equal(run(option), EXIT_FAILURE);
		logged(": File name too long\n");
		assert_false(exists("xen.msgd") || exists("xen.attach"));
	}
}

/* An emulator is started where none answers, and only there. */
static void test_emulator(void **state)
{
	static const int absent[] = {-ENOENT, -ECONNREFUSED};
	char want[256];

	for (int i = 0; i < 2; i++) {
		fix.hv_errors[0] = absent[i];
		fix.n_hv_opens = fix.n_stop_done = 0;
		(void)snprintf(
			want, sizeof(want), "<5> no emulator on %s: starting xen-sim\n", path);
		run_says(EXIT_SUCCESS, want);
		assert_string_equal(fix.started, path);
		assert_int_equal(fix.n_hv_opens, 2);
		fix.n_hv_opens = fix.n_stop_done = 0;
		fix.start_error = -EIO;
		run_says(EXIT_FAILURE, "<3> xen-sim: it failed\n");
		assert_int_equal(fix.n_hv_opens, 1);
		fix.n_hv_opens = fix.n_stop_done = 0;
		fix.start_error = -ENOENT;
		run_says(EXIT_FAILURE, "<3> xen-sim: No such file or directory\n");
		fix.start_error = 0;
		forget();
	}
	fix.hv_errors[1] = -EUSERS;
	fix.n_hv_opens = fix.n_stop_done = 0;
	run_says(EXIT_FAILURE, "#Domain-0 (--hv): Too many users\n");
	fix.hv_reason = "it is odd";
	fix.hv_errors[0] = -EXDEV;
	fix.n_hv_opens = fix.n_stop_done = 0;
	memset(fix.started, 0, sizeof(fix.started));
	(void)snprintf(want, sizeof(want),
		"<3> hypervisor sim:%s#Domain-0 (--hv): it is odd: Invalid cross-device link\n",
		path);
	run_says(EXIT_FAILURE, want);
	assert_string_equal(fix.started, "");
	assert_int_equal(fix.n_hv_opens, 1);
}

/* Of real Xen there is none to start. */
static void test_no_xen(void **state)
{
	char conf[128], admin[128], *argv[] = {"msgd", "--hv=xen", conf, admin, NULL};
	char text[256];

	(void)snprintf(conf, sizeof(conf), "--config=%s", in_directory("conf"));
	(void)snprintf(admin, sizeof(admin), "--admin=%s", in_directory("xen.msgd"));
	fix.lock = in_directory("xen.msgd.lock");
	fix.hv_errors[0] = -ENOENT;
	(void)snprintf(text, sizeof(text), "[broker]\npolicy = %s\n", in_directory("policy"));
	write_file("conf", text);
	assert_int_equal(msgd_main(4, argv), EXIT_FAILURE);
	logged("<3> hypervisor xen (--hv): No such file or directory\n");
	assert_string_equal(fix.started, "");
	assert_int_equal(fix.n_hv_opens, 1);
}

/* Whatever fails at the start: it ends, says so where nobody else did, and leaves nothing. */
static void test_failures(void **state)
{
	static const struct {
		enum broken what;
		unsigned nth;
		const char *text;
	} cases[] = {
		{BASE_NEW, 0, ""},
		{EVENT_NEW, 1, ""}, /* notify_again */
		{ADMIN_NEW, 0, ""},
		{SERVER_NEW, 0, "<3> start: the store: Input/output error\n"},
		{QUIESCE_NEW, 0, ""},
		{AGENT_NEW, 0, ""},
		{STOP_OPEN, 0, "<3> signals: Too many open files\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		forget();
		fix.n_hv_opens = fix.n_stop_done = 0;
		fix.broken = cases[i].what;
		fix.nth = cases[i].nth;
		run_says(EXIT_FAILURE, cases[i].text);
		assert_null(strstr(fix.log, " serves sim:"));
		assert_string_equal(fix.notified, "");
		fix.broken = NOTHING;
	}
	/* All is given back. */
	fix.n_hv_opens = fix.n_stop_done = 0;
	run_says(EXIT_SUCCESS, " serves sim:");
}

/* Events of signals and of the watchdog, one after another. */
static void test_event_failures(void **state)
{
	unsigned n_failed = 0, n_said = 0;

	fix.watchdog_enabled = 1;
	fix.watchdog_us = 2000000;
	for (int add = 0; add < 2; add++) {
		for (unsigned nth = 1; nth < 30; nth++) {
			int r;

			forget();
			fix.n_hv_opens = fix.n_stop_done = 0;
			fix.broken = add ? EVENT_ADD : EVENT_NEW;
			fix.nth = nth;
			r = run(NULL);
			if (fix.nth > 0)
				assert_int_equal(r, EXIT_SUCCESS);
			n_failed += r == EXIT_FAILURE;
			n_said += strstr(fix.log, "<3> signals: Cannot allocate memory\n") != NULL;
			if (r == EXIT_FAILURE)
				assert_null(strstr(fix.log, " serves sim:"));
			assert_int_equal(fix.n_stop_done, 1);
			assert_false(exists("xen.msgd") || exists("xen.attach"));
		}
	}
	assert_in_range(n_failed, 10, 40);
	assert_int_equal(
		n_said, 6); /* each of the stop, the hangup and the watchdog, made and added */
}

/* The end of the hypervisor, or of the loop, is a failure. */
static void test_lost(void **state)
{
	fix.lost = true;
	run_says(EXIT_FAILURE, " serves sim:");
	fix.lost = false;
	fix.dispatched = -1;
	fix.n_hv_opens = fix.n_stop_done = 0;
	run_says(EXIT_FAILURE, " serves sim:");
	fix.dispatched = 1; /* no event is left */
	fix.n_hv_opens = fix.n_stop_done = 0;
	run_says(EXIT_SUCCESS, " serves sim:");
}

/* ---- the service manager -------------------------------------------------------------------- */

/* Systemd's sockets stand from 3 on; what is there is moved away meanwhile. */
static int saved[3];

static void sockets_give(int n, const int *types)
{
	for (int i = 0; i < n; i++) {
		int fd;

		saved[i] = fcntl(3 + i, F_DUPFD_CLOEXEC, 100);
		fd = socket(AF_UNIX, types[i] == SOCK_DGRAM ? SOCK_STREAM : types[i], 0);
		assert_int_equal(
			bind(fd, (struct sockaddr *)&(struct sockaddr){.sa_family = AF_UNIX},
				sizeof(sa_family_t)),
			0);
		assert_int_equal(listen(fd, 5), 0);
		if (fd != 3 + i) {
			assert_int_equal(dup2(fd, 3 + i), 3 + i);
			(void)close(fd);
		}
		fix.sockets[i] = types[i];
	}
	fix.n_sockets = n;
}

static void sockets_take(void)
{
	for (int i = 0; i < fix.n_sockets; i++) {
		(void)close(3 + i);
		if (saved[i] >= 0) {
			assert_int_equal(dup2(saved[i], 3 + i), 3 + i);
			(void)close(saved[i]);
		}
	}
	fix.n_sockets = 0;
}

static void serve_activated(void)
{
	for (int i = 0; i < fix.n_sockets; i++) {
		assert_true(fcntl(3 + i, F_GETFL) & O_NONBLOCK);
		assert_int_equal(fcntl(3 + i, F_GETFD), FD_CLOEXEC);
		assert_false(exists(fix.sockets[i] == SOCK_STREAM ? "xen.msgd" : "xen.attach"));
	}
	assert_int_equal(exists("xen.msgd") + exists("xen.attach"), 2 - fix.n_sockets);
	/* Somebody puts files there: they are not msgd's to remove. */
	if (fix.n_sockets == 2) {
		write_file("xen.msgd", "");
		write_file("xen.attach", "");
	}
}

static void test_activation(void **state)
{
	static const int both[] = {SOCK_STREAM, SOCK_SEQPACKET},
			 other[] = {SOCK_SEQPACKET, SOCK_STREAM},
			 more[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM}, wrong[] = {SOCK_DGRAM};

	fix.scenario = serve_activated;
	for (int n = 1; n <= 2; n++) {
		for (int i = 0; i < 2; i++) {
			fix.n_hv_opens = fix.n_unset = 0;
			sockets_give(n, i ? other : both);
			assert_int_equal(run(NULL), EXIT_SUCCESS);
			sockets_take();
			assert_int_equal(fix.n_unset, 1);
			assert_int_equal(exists("xen.msgd"), n == 2);
			assert_int_equal(exists("xen.attach"), n == 2);
			(void)unlink(in_directory("xen.msgd"));
			(void)unlink(in_directory("xen.attach"));
		}
	}
	for (int i = 0; i < 2; i++) {
		sockets_give(i ? 3 : 1, i ? more : wrong);
		forget();
		assert_int_equal(run(NULL), EXIT_FAILURE);
		sockets_take();
		logged("<3> socket activation: at most one listening Unix stream socket and one "
		       "SOCK_SEQPACKET socket expected\n");
	}
}

static void fire(unsigned i)
{
	struct event *event = timers[i].event;

	if (!(timers[i].events & EV_PERSIST))
		timer_forget(event);
	event_active(event, EV_TIMEOUT, 1);
	loop();
}

/* A service manager that does not read is told later, and then the last state alone. */
static void serve_unread(void)
{
	assert_int_equal(n_timers, 1);
	assert_int_equal(timers[0].delay.tv_sec, 1);
	assert_int_equal(timers[0].delay.tv_usec, 0);
	fire(0);
	assert_int_equal(n_timers, 1);
	fix.notify_error = 0;
	fire(0);
	assert_int_equal(n_timers, 0);
	assert_int_equal(strncmp(fix.notified, "READY=1\nSTATUS=Serving", 22), 0);
	/* A state that could be told takes the place of the one that waits. */
	fix.notify_error = -EAGAIN;
	reload();
	assert_int_equal(n_timers, 1);
	fix.notify_error = 0;
	forget();
	reload();
	assert_int_equal(n_timers, 0);
}

static void test_unread(void **state)
{
	fix.notify_error = -EAGAIN;
	fix.scenario = serve_unread;
	run_says(EXIT_SUCCESS, "");
	fix.notify_error = -ECONNREFUSED; /* and another error is not waited for */
	fix.scenario = NULL;
	fix.n_hv_opens = fix.n_stop_done = 0;
	run_says(EXIT_SUCCESS, " serves sim:");
}

static void serve_watched(void)
{
	uint64_t half = fix.watchdog_us / 2;

	assert_int_equal(n_timers, 1);
	assert_int_equal(timers[0].delay.tv_sec, half / 1000000);
	assert_int_equal(timers[0].delay.tv_usec, half % 1000000);
	forget();
	fire(0);
	fire(0);
	assert_string_equal(fix.notified, "WATCHDOG=1|WATCHDOG=1|");
}

static void serve_unwatched(void)
{
	assert_int_equal(n_timers, 0);
}

static void test_watchdog(void **state)
{
	static const uint64_t times[] = {400000, 3000000, 61000004};

	fix.scenario = serve_watched;
	fix.watchdog_enabled = 1;
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		fix.watchdog_us = times[i];
		fix.n_hv_opens = fix.n_stop_done = 0;
		run_says(EXIT_SUCCESS, "");
	}
	fix.scenario = serve_unwatched;
	for (int r = 0; r >= -1; r--) {
		fix.watchdog_enabled = r;
		fix.n_hv_opens = fix.n_stop_done = 0;
		run_says(EXIT_SUCCESS, " serves sim:");
	}
}

/* ---- reload --------------------------------------------------------------------------------- */

static uint64_t now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void serve_reload(void)
{
	uint64_t before = now_us(), us;
	json_t *answer;
	char text[256];

	forget();
	write_file("policy", "allow listen a on any\nallow listen b on any\n");
	write_file("conf", "[limits]\nprocesses = 8\n[limits tag:t]\nprocesses = 7\n"
			   "[tags]\nt = dom0\n[broker]\nlog = debug\n");
	assert_int_equal(raise(SIGHUP), 0);
	loop();
	assert_string_equal(fix.log, "<5> reloaded: 2 policy rules\n");
	assert_int_equal(fix.log_level, LOG_DEBUG);
	assert_int_equal(fix.places, 7);
	assert_int_equal(broker_limit(server_broker(fix.server), 0, QUOTA_PROCESSES), 7);
	assert_int_equal(broker_limit(server_broker(fix.server), 1, QUOTA_PROCESSES), 8);
	assert_int_equal(strncmp(fix.notified, "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
	assert_non_null(strstr(fix.notified, "|READY=1\nSTATUS=2 policy rules in force|"));
	assert_int_equal(number_of(ask("{\"op\":\"status\"}\n"), "rules"), 2);
	us = strtoull(fix.notified + 27, NULL, 10);
	assert_true(us >= before && us <= now_us());
	/* A bad one changes nothing. */
	forget();
	write_file("conf", "[limits]\nprocesses = 9\nx = 1\n");
	answer = ask("{\"op\":\"reload\"}\n");
	(void)snprintf(text, sizeof(text), "%s:3: unknown key 'x'", in_directory("conf"));
	assert_string_equal(json_string_value(json_object_get(answer, "error")), text);
	json_decref(answer);
	(void)snprintf(text, sizeof(text),
		"<3> reload: %s:3: unknown key 'x'; what was in force stays\n",
		in_directory("conf"));
	assert_string_equal(log_of_action("reload"), text);
	(void)snprintf(text, sizeof(text), "|READY=1\nSTATUS=Reload failed: %s:3: unknown key 'x'|",
		in_directory("conf"));
	assert_non_null(strstr(fix.notified, text));
	assert_int_equal(fix.places, 7);
	assert_int_equal(number_of(ask("{\"op\":\"status\"}\n"), "rules"), 2);
	/* One without rules is in force, and refuses all. */
	forget();
	write_file("conf", "");
	write_file("policy", "");
	reload();
	assert_string_equal(log_of_action("reload"),
		"<4> reloaded: 0 policy rules: every listen and connect is refused\n");
}

static void test_reload(void **state)
{
	fix.scenario = serve_reload;
	run_says(EXIT_SUCCESS, "");
}

/* Each of the three that cannot change is told of, and alone. */
static void serve_fixed(void)
{
	static const char *const keys[] = {"admin", "attach"};
	char text[128];

	for (int i = 0; i < 2; i++) {
		forget();
		(void)snprintf(text, sizeof(text), "[broker]\n%s = /x\n", keys[i]);
		write_file("conf", text);
		reload();
		assert_string_equal(log_of_action("reload"),
			"<4> reload: hv, admin and attach change with a restart only\n"
			"<5> reloaded: 1 policy rules\n");
	}
	forget();
	write_file("conf", "");
	reload();
	assert_string_equal(log_of_action("reload"), "<5> reloaded: 1 policy rules\n");
}

static void serve_other_hv(void)
{
	char text[256];

	forget();
	(void)snprintf(text, sizeof(text), "[broker]\nhv = sim:%s#X\npolicy = %s\n", path,
		in_directory("policy"));
	write_file("conf", text);
	reload();
	logged("<4> reload: hv, admin and attach change with a restart only\n");
}

static void test_fixed(void **state)
{
	char conf[128], text[256], *argv[] = {"msgd", conf, NULL};

	fix.scenario = serve_fixed;
	run_says(EXIT_SUCCESS, "");
	fix.scenario = serve_other_hv;
	fix.n_hv_opens = 0;
	(void)snprintf(conf, sizeof(conf), "--config=%s", in_directory("conf"));
	(void)snprintf(text, sizeof(text), "[broker]\nhv = sim:%s\npolicy = %s\n", path,
		in_directory("policy"));
	write_file("conf", text);
	assert_int_equal(msgd_main(2, argv), EXIT_SUCCESS);
}

/* ---- words between the parts ----------------------------------------------------------------- */

static void serve_parts(void)
{
	struct hv *dom0;
	uint16_t domid;

	assert_int_equal(sim_hv_open(fix.sim, 0, &dom0), 0);
	assert_int_equal(dom0->ops->store_publish(dom0, "mine", "x", 1), 0);
	loop();
	assert_string_equal(fix.gone, "mine");
	hv_close(dom0);
	assert_int_equal(
		sim_domain_create(fix.sim, &(struct sim_domain_config){.name = "web"}, &domid), 0);
	loop();
	assert_int_equal(server_quiesce(fix.server, domid), 0);
	fix.n_looks = 0;
	assert_int_equal(server_resume(fix.server, domid), 0);
	assert_true(fix.n_looks >= 1);
	forget();
	fix.on_libevent(EVENT_LOG_MSG, "message");
	fix.on_libevent(EVENT_LOG_DEBUG, "debug");
	assert_string_equal(fix.log, "");
	fix.on_libevent(EVENT_LOG_WARN, "warning");
	fix.on_libevent(EVENT_LOG_ERR, "error");
	assert_string_equal(fix.log, "<4> libevent: warning\n<3> libevent: error\n");
}

static void test_parts(void **state)
{
	fix.scenario = serve_parts;
	run_says(EXIT_SUCCESS, "");
	/* There is no server any more, nor is there one before. */
	forget();
	fix.on_libevent(EVENT_LOG_WARN, "warning");
	fix.on_libevent(EVENT_LOG_ERR, "error");
	assert_string_equal(fix.log, "<3> libevent: error\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_serves),
		TEST(test_no_policy),
		TEST(test_no_rules),
		TEST(test_broken_policy),
		TEST(test_broken_policy_log),
		TEST(test_many_errors),
		TEST(test_warned),
		TEST(test_warned_again),
		TEST(test_settings),
		TEST(test_locked),
		TEST(test_run_directory),
		TEST(test_paths),
		TEST(test_emulator),
		TEST(test_no_xen),
		TEST(test_failures),
		TEST(test_event_failures),
		TEST(test_lost),
		TEST(test_activation),
		TEST(test_unread),
		TEST(test_watchdog),
		TEST(test_reload),
		TEST(test_fixed),
		TEST(test_parts),
	};

	(void)alarm(100);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
