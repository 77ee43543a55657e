/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The answers of msgd's server to an admin client, at once or later. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "base/report.h"
#include "daemon/admin/answer.h"
#include "daemon/admin/rights.h"
#include "daemon/admin/view.h"
#include "daemon/broker/domain.h"
#include "daemon/config-line.h"
#include "tests/support/failing-malloc.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/shell.h"

static struct admin_subject subject;
static struct admin *admin;
static int listening_fd; /* the admin socket's */
static char said[8192];	 /* the last answer */
static const char *reload_error;
static struct policy *reload_policy; /* owned: what a reload brings into force, or NULL */
static unsigned n_try_errors;
static uid_t fake_uid; /* of who connects; 0: the true one */

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	int r = __real_getsockopt(fd, level, name, value, len);

	if (fake_uid && name == SO_PEERCRED)
		*(struct ucred *)value = (struct ucred){.uid = fake_uid, .gid = fake_uid};
	return r;
}

static int on_reload(void *arg, char ret_error[ADMIN_ERROR_SIZE])
{
	assert_ptr_equal(arg, &subject);
	if (reload_policy)
		server_set_policy(shell.server, steal_ptr(reload_policy));
	if (!reload_error)
		return 0;
	(void)snprintf(ret_error, ADMIN_ERROR_SIZE, "%s", reload_error);
	return -EINVAL;
}

static struct policy *policy_of(const char *rules)
{
	struct report report = {.n = 0};
	struct policy *policy;

	assert_int_equal(policy_new(&policy), 0);
	assert_int_equal(policy_parse(policy, "p", rules, strlen(rules), &report), 0);
	return policy;
}

static int on_try_reload(void *arg, struct policy **ret_policy, struct report *report)
{
	assert_ptr_equal(arg, &subject);
	for (unsigned i = 0; i < n_try_errors; i++)
		report_add(report, "p:%u: \xff", i + 1);
	if (n_try_errors)
		return -EINVAL;
	*ret_policy = policy_of("deny listen x on any\n");
	return 0;
}

static void on_noted(void)
{
	if (admin)
		admin_look(admin);
	quiesce_look(subject.quiesce);
}

static void on_quiesced(void)
{
	quiesce_look(subject.quiesce);
}

static void begin(void)
{
	struct sockaddr_storage any = {.ss_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	fake_uid = 0;
	reload_error = NULL;
	shell_begin();
	shell.quiesced = on_quiesced;
	shell.noted = on_noted;
	assert_int_equal(quiesce_new(shell.base, shell.server, &subject.quiesce), 0);
	subject.server = shell.server;
	subject.version = "1.2";
	subject.hv_spec = "sim:/x";
	subject.domid = 7;
	subject.start_ns = 1000000000;
	subject.operators = ADMIN_NO_GROUP;
	subject.reload = on_reload;
	subject.try_reload = on_try_reload;
	n_try_errors = 0;
	subject.arg = &subject;
	subject.limit = config_line_limit;
	subject.log_level = config_line_log_level;
	/* An address that the kernel chooses. */
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any.ss_family)), 0);
	assert_int_equal(listen(fd, 64), 0);
	listening_fd = fd;
	assert_int_equal(admin_new(shell.base, fd, &admin_answers, &subject, &admin), 0);
}

static void end(void)
{
	admin_free(admin);
	admin = NULL;
	quiesce_free(subject.quiesce);
	shell_fini();
}

static int client_open(void)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(getsockname(listening_fd, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, len), 0);
	for (int i = 0; i < 3; i++)
		shell_run();
	return fd;
}

static void run(void)
{
	for (int i = 0; i < 5; i++)
		shell_run();
}

static void say(int fd, const char *line)
{
	assert_int_equal(write(fd, line, strlen(line)), strlen(line));
	assert_int_equal(write(fd, "\n", 1), 1);
	run();
}

/* False: no answer has come. */
static bool hears(int fd)
{
	ssize_t n = read(fd, said, sizeof(said) - 1);

	said[n > 0 ? n : 0] = '\0';
	said[strcspn(said, "\n")] = '\0';
	return n > 0;
}

static void ask(int fd, const char *line)
{
	say(fd, line);
	assert_true(hears(fd));
}

static void asks(int fd, const char *line, const char *want)
{
	ask(fd, line);
	assert_string_equal(said, want);
}

static json_t *status(int fd)
{
	json_t *answer;

	ask(fd, "{\"op\":\"status\"}");
	answer = json_loads(said, 0, NULL);
	assert_non_null(answer);
	return answer;
}

static json_int_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	assert_true(json_is_integer(value));
	return json_integer_value(value);
}

static void test_status(void **state)
{
	struct server_turns turns;
	json_t *answer, *object;
	int fd;

	begin();
	fd = client_open();
	sim_clock_advance(shell.sim, 5999999999);
	server_turns(shell.server, &turns);
	answer = status(fd);
	assert_string_equal(json_string_value(json_object_get(answer, "op")), "status");
	assert_string_equal(json_string_value(json_object_get(answer, "version")), "1.2");
	assert_string_equal(json_string_value(json_object_get(answer, "hv")), "sim:/x");
	assert_int_equal(number(answer, "pid"), getpid());
	assert_int_equal(number(answer, "domid"), 7);
	assert_int_equal(number(answer, "uptime_s"), 5);
	object = json_object_get(answer, "turns");
	assert_int_equal(number(object, "count"), turns.n);
	assert_int_equal(number(object, "cpu_us"), turns.cpu_ns / 1000);
	assert_int_equal(number(object, "longest_cpu_us"), turns.longest_cpu_ns / 1000);
	assert_int_equal(json_object_size(object), 3);
	json_decref(answer);
	asks(fd, "{\"op\":\"names\"}", "{\"op\":\"names\",\"names\":[]}");
	asks(fd, "{\"op\":\"links\"}", "{\"op\":\"links\",\"links\":[]}");
	asks(fd, "{\"op\":\"channels\"}", "{\"op\":\"channels\",\"channels\":[]}");
	(void)close(fd);
	end();
}

/* Only for the list of domains the hypervisor is asked. */
static void test_domains(void **state)
{
	int fd;

	begin();
	fd = client_open();
	shell_fail(SHELL_DOMAIN_LIST, -EIO, 0, 1);
	ask(fd, "{\"op\":\"names\"}");
	ask(fd, "{\"op\":\"status\"}");
	assert_int_equal(shell.fails, SHELL_DOMAIN_LIST);
	ask(fd, "{\"op\":\"domains\"}");
	assert_int_equal(shell.fails, SHELL_NONE);
	assert_non_null(strstr(said, "\"name\":\"web\""));
	(void)close(fd);
	end();
}

#define RELOAD "{\"op\":\"reload\"}"
#define RELOADED(rules, judged)                                                                    \
	"{\"op\":\"reload\",\"reloaded\":true,\"rules\":" rules                                    \
	",\"warnings\":[],\"warnings_left_out\":0,\"judged\":" judged                              \
	",\"names\":0,\"channels\":0}"

static void test_reload(void **state)
{
	char *rules = NULL, name[8];
	uint16_t domid;
	size_t size;
	FILE *out = open_memstream(&rules, &size);
	int fd;

	for (unsigned i = 0; i < POLICY_RULES_MAX; i++)
		(void)fprintf(out, "allow listen n%u on x%u\n", i, i);
	assert_int_equal(fclose(out), 0);
	begin();
	fd = client_open();
	asks(fd, RELOAD, RELOADED("0", "true"));
	/* All is judged by the new policy before the answer, in as many turns as it takes. */
	for (unsigned i = 0; i < 10; i++) {
		(void)snprintf(name, sizeof(name), "d%u", i);
		assert_int_equal(sim_domain_create(shell.sim,
					 &(struct sim_domain_config){.name = name}, &domid),
			0);
	}
	run();
	reload_policy = policy_of(rules);
	asks(fd, RELOAD, RELOADED("16384", "true"));
	assert_int_equal(shell_timer_us(), 0);
	free(rules);
	/* Without memory to wait with, it is said that it is not over. */
	reload_policy = policy_of("");
	shell.new_fails = true;
	shell.n_events_failing = 1;
	asks(fd, RELOAD, RELOADED("0", "false"));
	reload_error = "p:3: wrong";
	asks(fd, "{\"op\":\"reload\"}", "{\"error\":\"p:3: wrong\",\"file\":true}");
	reload_error = "\xc3\xa4:3: w\xc3\xb6";
	asks(fd, "{\"op\":\"reload\"}", "{\"error\":\"\xc3\xa4:3: w\xc3\xb6\",\"file\":true}");
	/* A text that is not UTF-8 is not one for which memory is missing. */
	reload_error = "p:3: \xff\xc3";
	asks(fd, "{\"op\":\"reload\"}", "{\"error\":\"p:3: ??\",\"file\":true}");
	(void)close(fd);
	end();
}

/* A reload that is tried: one at a time, whose policy goes with its list or with its client. */
static void test_dry_run(void **state)
{
	static const char done[] = "{\"op\":\"reload-dry-run\",\"reload-dry-run\":[],"
				   "\"rules\":1,\"errors\":[],\"warnings\":[],"
				   "\"warnings_left_out\":0}";
	static const char dry_run[] = "{\"op\":\"reload-dry-run\"}";
	const struct admin_client *other = (const struct admin_client *)&subject;
	int fd;

	begin();
	fd = client_open();
	asks(fd, dry_run, done);
	assert_null(subject.dry_run.client);
	n_try_errors = 2;
	asks(fd, dry_run,
		"{\"op\":\"reload-dry-run\",\"reload-dry-run\":[],\"errors\":[\"p:1: ?\","
		"\"p:2: ?\"],\"errors_left_out\":0}");
	n_try_errors = REPORT_LINES_MAX + 3;
	ask(fd, dry_run);
	assert_non_null(strstr(said, "\"errors_left_out\":3"));
	n_try_errors = 0;
	subject.dry_run = (struct dry_run){.client = other, .policy = policy_of("")};
	asks(fd, dry_run,
		"{\"error\":\"another client's dry run is under way: try again in a moment\"}");
	(void)close(fd);
	run();
	assert_ptr_equal(subject.dry_run.client, other);
	admin_answers.gone(&subject, other);
	assert_null(subject.dry_run.client);
	fd = client_open();
	asks(fd, dry_run, done);
	assert_true(shell_logged("reload-dry-run"));
	(void)close(fd);
	end();
}

/* An application with so many names. */
static void attach_with_names(struct raw_app *app, unsigned n)
{
	struct control_message message = {
		.type = CONTROL_LISTEN, .listen = {.type = CHANNEL_SEQPACKET, .backlog = 1}};

	server_set_policy(shell.server, policy_of("allow listen * on any\n"));
	shell_attach(app, shell.guest);
	for (unsigned i = 1; i <= n; i++) {
		message.request = message.listen.listener = i;
		(void)snprintf(message.listen.name, NAME_SIZE, "n%u", i);
		raw_app_send(app, &message);
		shell_run();
		raw_app_drain(app);
		raw_app_flush(app);
	}
}

/* A list in several portions, by one policy; it is noted once. */
static void test_dry_run_portions(void **state)
{
	static const char line[] = "{\"op\":\"reload-dry-run\"}";
	static char text[65536];
	struct raw_app app;
	json_t *answer;
	int fd;

	begin();
	attach_with_names(&app, 300);
	fd = client_open();
	say(fd, line);
	text[read(fd, text, sizeof(text) - 1)] = '\0';
	answer = json_loads(text, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(answer, "reload-dry-run")), 300);
	assert_int_equal(number(answer, "rules"), 1);
	json_decref(answer);
	assert_null(subject.dry_run.client);
	assert_non_null(strstr(shell.log, "reload-dry-run"));
	assert_null(strstr(strstr(shell.log, "reload-dry-run") + 1, "reload-dry-run"));
	(void)close(fd);
	end();
}

/* An act that was refused, or failed, is told as such, after it. */
static void test_failed_acts(void **state)
{
	static const struct {
		const char *line, *action, *reason;
		int error;
	} cases[] = {
		{"{'op':'set-limit','domain':'web','limit':'x','value':0}", "set-limit",
			"unknown key 'x'", EINVAL},
		{"{'op':'kick-link','link':'0000000000000001'}", "kick-link", "no such link",
			ENOLINK},
		{"{'op':'resume','domain':'nobody'}", "resume", "no such domain", ESRCH},
		{"{'op':'quiesce','domain':'domid:0'}", "quiesce",
			"domain 0 is not saved or migrated", EPERM},
		{"{'op':'log-level','level':'loud'}", "log-level", "unknown log level 'loud'",
			EINVAL},
		{"{'op':'log-level','level':'info'}", "log-level", NULL, 0},
	};
	char line[128];
	int fd;

	begin();
	fd = client_open();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct history_event *event;
		const char *reason;

		(void)snprintf(line, sizeof(line), "%s", cases[i].line);
		for (char *c = line; *c; c++)
			*c = *c == '\'' ? '"' : *c;
		ask(fd, line);
		event = TAILQ_LAST(
			&broker_history(server_broker(shell.server))->events, history_events);
		assert_int_equal(event->kind, HISTORY_ADMIN);
		assert_int_equal(event->error, cases[i].error);
		assert_memory_equal(event->text, cases[i].action, strlen(cases[i].action));
		reason = strstr(event->text, ": ");
		assert_int_equal(!reason, !cases[i].reason);
		if (reason)
			assert_string_equal(reason + 2, cases[i].reason);
	}
	(void)close(fd);
	end();
}

static void test_not_permitted(void **state)
{
	static const char *const ops[] = {"reload", "reload-dry-run", "quiesce", "resume"};
	char line[128], want[256];
	int fd;

	begin();
	fake_uid = geteuid() + 4711;
	fd = client_open();
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		(void)snprintf(line, sizeof(line), "{\"op\":\"%s\"%s}", ops[i],
			i > 1 ? ",\"domain\":\"web\"" : "");
		(void)snprintf(want, sizeof(want),
			"{\"error\":\"not permitted: %s is for root, and for the group of "
			"msgd.conf's 'operators'\",\"errno\":\"EPERM\"}",
			ops[i]);
		asks(fd, line, want);
	}
	(void)snprintf(want, sizeof(want), "refused: user %u (pid 0): resume domain=web", fake_uid);
	assert_true(shell_logged(want));
	ask(fd, "{\"op\":\"links\"}");
	assert_non_null(strstr(said, "\"links\":[]"));
	subject.operators = fake_uid;
	asks(fd, RELOAD, RELOADED("0", "true"));
	(void)close(fd);
	end();
}

/* ---- quiesce -------------------------------------------------------------------------------- */

#define QUIESCE "{\"op\":\"quiesce\",\"domain\":\"web\"}"
#define RESUME	"{\"op\":\"resume\",\"domain\":\"web\"}"

static void test_refusals(void **state)
{
	static const struct {
		const char *op, *domain, *error, *more;
	} cases[] = {
		{"quiesce", "nobody", "no such domain", "\"errno\":\"ESRCH\""},
		{"quiesce", "domid:x", "a domain is a name, domid:N or uuid:U", "\"usage\":true"},
		{"quiesce", "domid:0", "domain 0 is not saved or migrated", "\"errno\":\"EPERM\""},
		{"resume", "nobody", "no such domain", "\"errno\":\"ESRCH\""},
	};
	char line[128], want[128];
	uint16_t domid;
	int fd;

	begin();
	fd = client_open();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)snprintf(line, sizeof(line), "{\"op\":\"%s\",\"domain\":\"%s\"}", cases[i].op,
			cases[i].domain);
		(void)snprintf(
			want, sizeof(want), "{\"error\":\"%s\",%s}", cases[i].error, cases[i].more);
		asks(fd, line, want);
	}
	assert_false(broker_is_quiesced(server_broker(shell.server), shell.domid));
	/* Xen lets several domains have a name. */
	assert_int_equal(
		sim_domain_create(shell.sim, &(struct sim_domain_config){.name = "db"}, &domid), 0);
	run();
	strcpy(domain_find(server_broker(shell.server), domid)->info.name, "web");
	asks(fd, QUIESCE,
		"{\"error\":\"several domains have that name: say domid:N or uuid:U\","
		"\"errno\":\"ENOTUNIQ\"}");
	(void)close(fd);
	end();
}

/* Nobody is there to confirm: the answer comes at once. */
static void test_at_once(void **state)
{
	int fd;

	begin();
	fd = client_open();
	asks(fd, QUIESCE,
		"{\"op\":\"quiesce\",\"domain\":\"web\",\"domid\":1,\"quiesced\":true,"
		"\"applications\":[]}");
	assert_int_equal(shell_timer_us(), 0);
	assert_true(broker_is_quiesced(server_broker(shell.server), shell.domid));
	asks(fd, RESUME,
		"{\"op\":\"resume\",\"domain\":\"web\",\"domid\":1,\"was_quiesced\":true}");
	assert_false(broker_is_quiesced(server_broker(shell.server), shell.domid));
	(void)close(fd);
	end();
}

/* The answer waits for the application, or for the time limit. */
static void test_waits(void **state)
{
	struct raw_app app;
	int fd, other;

	begin();
	shell_attach(&app, shell.guest);
	fd = client_open();
	other = client_open();
	say(fd, "{\"op\":\"quiesce\",\"domain\":\"web\",\"timeout_ms\":1500}");
	assert_false(hears(fd));
	assert_int_equal(shell_timer_us(), 1500000);
	shell_fire();
	run();
	assert_true(hears(fd));
	assert_non_null(strstr(said, "\"quiesced\":false"));
	assert_non_null(strstr(said, "\"reason\":\"it has not answered"));
	assert_int_equal(shell_timer_us(), 0);
	/* Its domain does not run: the reason is that of now. */
	say(fd, QUIESCE);
	assert_int_equal(shell_timer_us(), 10000000);
	assert_int_equal(sim_domain_pause(shell.sim, shell.domid, true), 0);
	shell_fail(SHELL_DOMAIN_LIST, -EIO, 0, 1);
	shell_run();
	shell_fire();
	run();
	assert_true(hears(fd));
	assert_non_null(strstr(said, "\"reason\":\"its domain does not run\""));
	assert_int_equal(sim_domain_pause(shell.sim, shell.domid, false), 0);
	/* Others are served meanwhile; a client that goes does not wait any more. */
	say(fd, QUIESCE);
	ask(other, "{\"op\":\"links\"}");
	assert_int_equal(shell_timer_us(), 10000000);
	(void)close(fd);
	run();
	assert_int_equal(shell_timer_us(), 0);
	/* It confirms. */
	say(other, QUIESCE);
	assert_false(hears(other));
	shell.guest->ops->grant_unshare(shell.guest, app.page_share);
	run();
	assert_true(hears(other));
	assert_non_null(strstr(said, "\"quiesced\":true"));
	assert_non_null(strstr(said, "\"confirmed\":true"));
	assert_int_equal(shell_timer_us(), 0);
	(void)close(other);
	end();
}

/* Two clients wait for two domains: each gets its own answer. */
static void test_two_wait(void **state)
{
	struct raw_app app, second;
	uint16_t domid;
	struct hv *guest;
	int fd, other;

	begin();
	assert_int_equal(
		sim_domain_create(shell.sim, &(struct sim_domain_config){.name = "db"}, &domid), 0);
	assert_int_equal(sim_hv_open(shell.sim, domid, &guest), 0);
	shell_run();
	shell_attach(&app, shell.guest);
	shell_attach(&second, guest);
	fd = client_open();
	other = client_open();
	say(fd, QUIESCE);
	say(other, "{\"op\":\"quiesce\",\"domain\":\"db\"}");
	guest->ops->grant_unshare(guest, second.page_share);
	run();
	assert_false(hears(fd));
	assert_true(hears(other));
	assert_non_null(strstr(said, "\"domain\":\"db\""));
	/* A third client says that the domain goes on. */
	asks(other, RESUME,
		"{\"op\":\"resume\",\"domain\":\"web\",\"domid\":1,\"was_quiesced\":true}");
	assert_true(hears(fd));
	assert_string_equal(
		said, "{\"error\":\"the domain was resumed, or is gone, while this waited\"}");
	assert_int_equal(shell_timer_us(), 0);
	/* One that still waits when msgd ends is let go of. */
	say(fd, QUIESCE);
	say(other, QUIESCE);
	assert_false(hears(fd) || hears(other));
	(void)close(fd);
	run();
	assert_int_equal(shell_timer_us(), 10000000);
	end();
	assert_false(hears(other));
	(void)close(other);
	hv_close(guest);
}

static void test_memory(void **state)
{
	struct quiesce *none = NULL;
	struct raw_app app;
	int fd;

	begin();
	failing_malloc_set(1);
	assert_int_equal(quiesce_new(shell.base, shell.server, &none), -ENOMEM);
	assert_true(failing_malloc_end());
	shell.new_fails = true;
	shell.n_events_failing = 1;
	assert_int_equal(quiesce_new(shell.base, shell.server, &none), -ENOMEM);
	assert_null(none);
	shell_attach(&app, shell.guest);
	fd = client_open();
	shell.n_events_failing = 1;
	asks(fd, QUIESCE, "{\"error\":\"msgd is out of memory\",\"errno\":\"ENOMEM\"}");
	shell.new_fails = false;
	say(fd, QUIESCE);
	assert_false(hears(fd));
	(void)close(fd);
	run();
	end();
	quiesce_free(NULL);
}

/* ---- steering ------------------------------------------------------------------------------- */

/* The broker's own tests have what each step does; here each has its request and its errors. */
static void test_steer(void **state)
{
	static const struct {
		const char *request, *answer;
	} cases[] = {
		{"{'op':'close','link':'1','channel':1}",
			"{'error':'no such link','errno':'ENOLINK'}"},
		{"{'op':'kick-link','link':'0000000000000001'}",
			"{'error':'no such link','errno':'ENOLINK'}"},
		{"{'op':'kick-application','domain':'web','pid':0}",
			"{'error':'no application of this domain says that it is this "
			"process','errno':'ENOENT'}"},
		{"{'op':'kick-application','domain':'none','pid':0}",
			"{'error':'no such domain','errno':'ESRCH'}"},
		{"{'op':'kick-name','domain':'web','name':'x'}",
			"{'error':'nobody listens on this name in this "
			"domain','errno':'EADDRNOTAVAIL'}"},
		{"{'op':'drain','domain':'web','name':'x'}",
			"{'error':'nobody listens on this name in this "
			"domain','errno':'EADDRNOTAVAIL'}"},
		{"{'op':'undrain','domain':'web','name':'x'}",
			"{'error':'nobody listens on this name in this "
			"domain','errno':'EADDRNOTAVAIL'}"},
		{"{'op':'kick-domain','domain':'web'}", "{'op':'kick-domain','done':true}"},
		{"{'op':'block','domain':'web','name':'x'}", "{'op':'block','done':true}"},
		{"{'op':'block','domain':'web','name':'a/b'}",
			"{'error':'not a valid name','usage':true}"},
		{"{'op':'block','domain':'web'}", "{'op':'block','done':true}"},
		{"{'op':'unblock','domain':'web','name':'x'}", "{'op':'unblock','done':true}"},
		{"{'op':'set-limit','domain':'web','limit':'names','value':3}",
			"{'op':'set-limit','done':true}"},
		{"{'op':'set-limit','domain':'web','limit':'processes','value':0}",
			"{'error':'processes is 1 to 4096, not '0''}"},
		{"{'op':'set-limit','domain':'web','limit':'x','value':0}",
			"{'error':'unknown key 'x''}"},
		{"{'op':'set-limit','domain':'web','limit':'x = 1','value':0}",
			"{'error':'a limit is a key of [limits] in msgd.conf','usage':true}"},
		{"{'op':'set-limit','domain':'none','limit':'names','value':3}",
			"{'error':'no such domain','errno':'ESRCH'}"},
		{"{'op':'log-level','level':'loud'}", "{'error':'unknown log level 'loud''}"},
		{"{'op':'log-level','level':'info'}", "{'op':'log-level','done':true}"},
	};
	struct broker_limits limits;
	int fd;

	begin();
	fd = client_open();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char line[160];

		(void)snprintf(line, sizeof(line), "%s", cases[i].request);
		for (char *at = line; (at = strchr(at, '\'')); at++)
			*at = '"';
		ask(fd, line);
		for (char *at = said; (at = strchr(at, '"')); at++)
			*at = '\'';
		assert_string_equal(said, cases[i].answer);
	}
	assert_int_equal(
		broker_domain_limits(server_broker(shell.server), shell.domid, &limits), 0);
	assert_int_equal(limits.quota[QUOTA_NAMES], 3);
	ask(fd, "{\"op\":\"limits\",\"domain\":\"web\"}");
	assert_non_null(strstr(said, "\"own\":true"));
	assert_non_null(strstr(said, "\"names\":3"));
	ask(fd, "{\"op\":\"domains\",\"domain\":\"web\"}");
	assert_non_null(strstr(said, "\"blocked\":true"));
	ask(fd, "{\"op\":\"latency\"}");
	assert_non_null(strstr(said, "\"accept\":{\"n\":0,\"p50\":0"));
	/* Each is in the history, whatever came of it. */
	ask(fd, "{\"op\":\"history\",\"kind\":\"admin\",\"n\":1}");
	assert_non_null(strstr(said, "\"reason\":\"log-level level=info\""));
	(void)close(fd);
	end();
}

/* The answer comes with the name, or with the end of the time; the domain may come later, too. */
static void test_wait(void **state)
{
	static const char wish[] =
		"{\"op\":\"wait\",\"domain\":\"domid:%u\",\"name\":\"x\",\"timeout_ms\":2000}";
	struct control_message listen = {.type = CONTROL_LISTEN, .request = 9};
	struct raw_app app;
	struct policy *policy;
	struct report report = {.n = 0};
	char line[128];
	int fd;

	begin();
	assert_int_equal(policy_new(&policy), 0);
	assert_int_equal(policy_parse(policy, "p", "allow listen * on any\n", 22, &report), 0);
	server_set_policy(shell.server, policy);
	shell_attach(&app, shell.guest);
	fd = client_open();
	(void)snprintf(line, sizeof(line), wish, shell.domid);
	say(fd, line);
	assert_false(hears(fd));
	assert_int_equal(shell_timer_us(), 2000000);
	shell_fire();
	run();
	assert_true(hears(fd));
	assert_non_null(strstr(said, "\"found\":false"));
	say(fd, line);
	assert_false(hears(fd));
	listen.listen.listener = 1;
	listen.listen.type = CHANNEL_SEQPACKET;
	listen.listen.backlog = 1;
	strcpy(listen.listen.name, "x");
	raw_app_send(&app, &listen);
	run();
	assert_true(hears(fd));
	assert_non_null(strstr(said, "\"found\":true"));
	assert_int_equal(shell_timer_us(), 0);
	ask(fd, line);
	assert_non_null(strstr(said, "\"found\":true"));
	say(fd, "{\"op\":\"wait\",\"domain\":\"none\",\"name\":\"x\"}");
	assert_false(hears(fd));
	(void)close(fd);
	run();
	assert_int_equal(shell_timer_us(), 0);
	end();
}

/* ---- history and monitor -------------------------------------------------------------------- */

/* The lines that have come, and how many events they tell of or say were missed. */
static unsigned n_lines_heard, n_missed;

static void hear_events(int fd)
{
	static char text[4 << 20];
	size_t len = 0;
	ssize_t n;

	n_lines_heard = n_missed = 0;
	do {
		while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0) {
			len += (size_t)n;
			run();
		}
		run();
		n = read(fd, text + len, sizeof(text) - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	text[len] = '\0';
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		json_t *event = json_loads(line, 0, NULL);

		assert_non_null(event);
		if (json_object_get(event, "missed"))
			n_missed += (unsigned)number(event, "missed");
		else
			n_lines_heard++;
		json_decref(event);
	}
}

static void note(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		server_note(shell.server, HISTORY_RELOAD, 1, 2, 0, "a reason of some length", NULL);
}

static void test_monitor(void **state)
{
	struct raw_app app;
	int fd;

	begin();
	note(3);
	fd = client_open();
	say(fd, "{\"op\":\"monitor\"}");
	assert_false(hears(fd));
	note(2);
	run();
	hear_events(fd);
	assert_int_equal(n_lines_heard, 2);
	/* The events of the broker's own turn are heard as well. */
	shell_attach(&app, shell.guest);
	run();
	assert_true(hears(fd));
	assert_non_null(strstr(said, "\"kind\":\"attached\""));
	/* It asks nothing more, and its end is seen. */
	say(fd, "{\"op\":\"status\"}");
	assert_false(hears(fd));
	(void)close(fd);
	run();
	note(1);
	run();
	/* A filter passes by what is not wanted, however much it is. */
	fd = client_open();
	say(fd, "{\"op\":\"monitor\",\"since\":0,\"kind\":\"attached\"}");
	hear_events(fd);
	assert_int_equal(n_lines_heard, 1);
	note(500);
	run();
	hear_events(fd);
	assert_int_equal(n_lines_heard, 0);
	(void)close(fd);
	end();
}

/* One that does not read costs a socket's buffers and a portion, and hears what it missed. */
static void test_monitor_unread(void **state)
{
	int fd, size = 4096;
	size_t before = 0;

	begin();
	fd = client_open();
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	say(fd, "{\"op\":\"monitor\"}");
	for (unsigned i = 0; i < 1000; i++) {
		note(100);
		shell_run();
		if (i == 0)
			before = mallinfo2().uordblks;
	}
	/* libevent's chains are twice as large as what they hold, at most. */
	assert_true(mallinfo2().uordblks <= before + 2 * ADMIN_EVENTS_A_TURN * 512U);
	hear_events(fd);
	assert_int_equal(n_lines_heard + n_missed, 100000);
	assert_true(n_missed > 90000);
	assert_true(n_lines_heard >= HISTORY_EVENTS);
	(void)close(fd);
	end();
}

/* A list of events: the last ones, those after one, in portions; and who did what. */
static void test_history(void **state)
{
	char want[64];
	int fd;

	begin();
	note(300);
	fd = client_open();
	ask(fd, "{\"op\":\"history\",\"n\":1}");
	assert_non_null(strstr(said, "\"serial\":300"));
	assert_null(strstr(said, "\"serial\":299"));
	ask(fd, "{\"op\":\"history\",\"since\":298}");
	assert_non_null(strstr(said, "\"serial\":299"));
	assert_null(strstr(said, "\"serial\":298"));
	asks(fd, "{\"op\":\"history\",\"kind\":\"dropped\"}",
		"{\"op\":\"history\",\"history\":[]}");
	asks(fd, "{\"op\":\"history\",\"n\":0}", "{\"op\":\"history\",\"history\":[]}");
	say(fd, "{\"op\":\"history\"}");
	for (unsigned n = 0; n < 300; n += ADMIN_ROWS_A_TURN)
		run();
	hear_events(fd);
	assert_int_equal(n_lines_heard, 1);
	ask(fd, RESUME);
	ask(fd, "{\"op\":\"history\",\"n\":1}");
	(void)snprintf(want, sizeof(want), "\"uid\":%u,\"pid\":%d", getuid(), (int)getpid());
	assert_non_null(strstr(said, want));
	assert_non_null(strstr(said, "\"reason\":\"resume domain=web\""));
	(void)snprintf(
		want, sizeof(want), "user %u (pid %d): resume domain=web", getuid(), (int)getpid());
	assert_true(shell_logged(want));
	(void)close(fd);
	end();
}

/* A client's fault is logged. */
static void test_log(void **state)
{
	char line[5000];
	int fd;

	begin();
	fd = client_open();
	memset(line, 'x', sizeof(line));
	assert_true(write(fd, line, sizeof(line)) > 0);
	run();
	assert_true(shell_logged("<5> a client of user "));
	assert_true(shell_logged(" is dropped: its line is too long\n"));
	(void)close(fd);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_dry_run),
		cmocka_unit_test(test_dry_run_portions),
		cmocka_unit_test(test_failed_acts),
		cmocka_unit_test(test_not_permitted),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_two_wait),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_steer),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_monitor),
		cmocka_unit_test(test_monitor_unread),
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
