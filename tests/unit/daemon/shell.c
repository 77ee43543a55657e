/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See shell.h. */
#include "tests/unit/daemon/shell.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "base/log.h"
#include "base/macro.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/timers.h"

struct shell shell;

static const struct hv_ops *real;
static struct hv_ops seam;

/* ---- the hypervisor ------------------------------------------------------------------------- */

static void trace(char letter)
{
	size_t len = strlen(shell.trace);

	if (len + 1 < sizeof(shell.trace))
		shell.trace[len] = letter;
}

/* 0: this call is not to fail. */
static int failure(enum shell_op op)
{
	if (shell.fails != op)
		return 0;
	if (shell.fails_after > 0) {
		shell.fails_after--;
		return 0;
	}
	if (--shell.fails_times == 0)
		shell.fails = SHELL_NONE;
	return shell.error;
}

static int seam_poll_events(struct hv *hv, struct hv_event *ret_events, size_t n)
{
	int r = failure(SHELL_POLL);

	if (r < 0)
		return r;
	if (shell.endless) {
		shell.n_polls++;
		memset(ret_events, 0, n * sizeof(*ret_events));
		return (int)n;
	}
	if (shell.n_events == 0)
		return real->poll_events(hv, ret_events, n);
	assert_true(n >= shell.n_events);
	memcpy(ret_events, shell.events, shell.n_events * sizeof(*ret_events));
	r = (int)shell.n_events;
	shell.n_events = 0;
	return r;
}

static int seam_bind(struct hv *hv, uint16_t remote, uint32_t remote_port, uint32_t *ret_port)
{
	int r = failure(SHELL_BIND);

	trace('b');
	if (r == 0)
		r = real->evtchn_bind_interdomain(hv, remote, remote_port, ret_port);
	if (r == 0)
		shell.port = *ret_port;
	return r;
}

static int seam_evtchn_close(struct hv *hv, uint32_t port)
{
	trace('c');
	return real->evtchn_close(hv, port);
}

static int seam_evtchn_send(struct hv *hv, uint32_t port)
{
	trace('s');
	return real->evtchn_send(hv, port);
}

static int seam_evtchn_unmask(struct hv *hv, const uint32_t *ports, size_t n)
{
	trace('k');
	if (shell.n_unmasked < ARRAY_SIZE(shell.unmasked))
		shell.unmasked[shell.n_unmasked++] = ports[0];
	return real->evtchn_unmask(hv, ports, n);
}

static int seam_grant_map(struct hv *hv, uint16_t remote, const uint32_t *refs, size_t n,
	bool writable, const struct hv_unmap_notify *notify, void **ret_addr,
	struct hv_map **ret_map)
{
	int r = failure(SHELL_MAP);

	trace(notify ? 'N' : writable ? 'M' : 'm');
	return r < 0 ? r
		     : real->grant_map(hv, remote, refs, n, writable, notify, ret_addr, ret_map);
}

static void seam_grant_unmap(struct hv *hv, struct hv_map *map)
{
	trace('u');
	real->grant_unmap(hv, map);
}

static int seam_store_remove(struct hv *hv, uint16_t domid, const char *key)
{
	int r = failure(SHELL_REMOVE);

	trace('r');
	shell.removed_domid = domid;
	(void)snprintf(shell.removed, sizeof(shell.removed), "%s", key);
	return r < 0 ? r : real->store_remove(hv, domid, key);
}

static int seam_store_watch(struct hv *hv)
{
	int r = failure(SHELL_STORE_WATCH);

	return r < 0 ? r : real->store_watch(hv);
}

static int seam_store_next(struct hv *hv, struct hv_record *ret_record)
{
	int r = failure(SHELL_STORE_NEXT);

	if (r < 0 || shell.n_records == 0)
		return r < 0 ? r : real->store_next(hv, ret_record);
	*ret_record = *shell.records++;
	shell.n_records--;
	return 1;
}

static int seam_domain_watch(struct hv *hv)
{
	int r = failure(SHELL_DOMAIN_WATCH);

	return r < 0 ? r : real->domain_watch(hv);
}

static int seam_domain_list(struct hv *hv, struct hv_domain *ret_domains, size_t n)
{
	int r = failure(SHELL_DOMAIN_LIST);

	if (r == 0)
		r = real->domain_list(hv, ret_domains, n);
	for (size_t i = 0; i < n && (int)i < r; i++)
		if (shell.dying && ret_domains[i].domid == shell.domid)
			ret_domains[i].state = HV_DOMAIN_DYING;
	return r;
}

static void seam_install(struct hv *hv)
{
	real = hv->ops;
	seam = *real;
	seam.poll_events = seam_poll_events;
	seam.evtchn_bind_interdomain = seam_bind;
	seam.evtchn_close = seam_evtchn_close;
	seam.evtchn_send = seam_evtchn_send;
	seam.evtchn_unmask = seam_evtchn_unmask;
	seam.grant_map = seam_grant_map;
	seam.grant_unmap = seam_grant_unmap;
	seam.store_remove = seam_store_remove;
	seam.store_watch = seam_store_watch;
	seam.store_next = seam_store_next;
	seam.domain_watch = seam_domain_watch;
	seam.domain_list = seam_domain_list;
	hv->ops = &seam;
}

/* ---- libevent, the log and the rest --------------------------------------------------------- */

bool timers_break(void)
{
	if (!shell.add_fails || shell.n_events_failing == 0)
		return false;
	shell.n_events_failing--;
	return true;
}

int __real_event_pending(const struct event *event, short events, struct timeval *ret_time);
int __wrap_event_pending(const struct event *event, short events, struct timeval *ret_time);
int __wrap_event_pending(const struct event *event, short events, struct timeval *ret_time)
{
	for (unsigned i = 0; i < n_timers; i++)
		if (timers[i].event == event)
			return EV_TIMEOUT;
	return __real_event_pending(event, events, ret_time);
}

struct event *__real_event_new(
	struct event_base *base, evutil_socket_t fd, short events, event_callback_fn fn, void *arg);
struct event *__wrap_event_new(
	struct event_base *base, evutil_socket_t fd, short events, event_callback_fn fn, void *arg);
struct event *__wrap_event_new(
	struct event_base *base, evutil_socket_t fd, short events, event_callback_fn fn, void *arg)
{
	if (shell.new_fails && shell.n_events_failing > 0 && --shell.n_events_failing == 0)
		return NULL;
	return __real_event_new(base, fd, events, fn, arg);
}

int __wrap_malloc_trim(size_t pad);
int __wrap_malloc_trim(size_t pad)
{
	assert_int_equal(pad, 0);
	shell.n_trims++;
	return 0;
}

uint64_t __real_broker_bytes(const struct broker *broker);
uint64_t __wrap_broker_bytes(const struct broker *broker);
uint64_t __wrap_broker_bytes(const struct broker *broker)
{
	return shell.bytes ? shell.bytes : __real_broker_bytes(broker);
}

void __wrap_log_record(int priority, bool always, const struct log_field *fields, size_t n_fields,
	const char *text);
void __wrap_log_record(int priority, bool always, const struct log_field *fields, size_t n_fields,
	const char *text)
{
	size_t len = strlen(shell.log);

	if (len + 600 <= sizeof(shell.log))
		(void)sprintf(shell.log + len, "<%d> %.550s\n", priority, text);
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

static void on_quiesced(void *arg)
{
	assert_ptr_equal(arg, &shell);
	shell.n_quiesced++;
	if (shell.quiesced)
		shell.quiesced();
}

static void on_noted(void *arg)
{
	if (shell.noted)
		shell.noted();
}

static void on_own_record_gone(void *arg, const char *key)
{
	assert_ptr_equal(arg, &shell);
	(void)snprintf(shell.own_gone, sizeof(shell.own_gone), "%s", key);
}

static const struct server_ops ops = {
	.quiesced = on_quiesced, .noted = on_noted, .own_record_gone = on_own_record_gone};

/* ---- the fixture ---------------------------------------------------------------------------- */

void shell_init(void)
{
	const struct sim_domain_config web = {.name = "web"};

	memset(&shell, 0, sizeof(shell));
	n_timers = 0;
	assert_int_equal(sim_create(&shell.sim), 0);
	sim_clock_virtual(shell.sim, 1000000000);
	assert_int_equal(sim_hv_open(shell.sim, 0, &shell.hv), 0);
	assert_int_equal(sim_domain_create(shell.sim, &web, &shell.domid), 0);
	assert_int_equal(sim_hv_open(shell.sim, shell.domid, &shell.guest), 0);
	shell.base = event_base_new();
	broker_limits_default(&shell.limits);
	seam_install(shell.hv);
}

int shell_start(const char **ret_reason)
{
	struct policy *policy;
	int r = policy_new(&policy);

	if (r < 0)
		return r;
	r = server_new(shell.base, shell.hv, &shell.limits, policy, &ops, &shell, &shell.server,
		ret_reason);
	if (r < 0)
		policy_free(policy);
	return r;
}

void shell_begin(void)
{
	const char *reason;

	shell_init();
	assert_int_equal(shell_start(&reason), 0);
	shell_run();
	shell_forget();
}

void shell_detach(void)
{
	server_free(shell.server);
	shell.server = NULL;
	assert_int_equal(sim_hv_open(shell.sim, 0, &shell.hv), 0);
	seam_install(shell.hv);
}

void shell_reattach(void)
{
	const char *reason;

	memset(shell.log, 0, sizeof(shell.log));
	assert_int_equal(shell_start(&reason), 0);
	shell_run();
}

void shell_fini(void)
{
	hv_close(shell.guest);
	if (shell.server)
		server_free(shell.server);
	else
		hv_close(shell.hv);
	event_base_free(shell.base);
	assert_int_equal(sim_check(shell.sim, stderr), 0);
	sim_free(shell.sim);
}

void shell_dying(void)
{
	shell.dying = true;
	assert_int_equal(server_refresh_domains(shell.server), 0);
}

void shell_run_once(void)
{
	assert_true(event_base_loop(shell.base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
}

void shell_run(void)
{
	struct server_turns before, after;

	for (unsigned i = 0; i < 10000; i++) {
		server_turns(shell.server, &before);
		assert_true(event_base_loop(shell.base, EVLOOP_NONBLOCK) >= 0);
		server_turns(shell.server, &after);
		if (after.n == before.n)
			return;
	}
	fail_msg("the server does not come to rest");
}

void shell_fail(enum shell_op op, int error, unsigned after, unsigned times)
{
	shell.fails = op;
	shell.error = error;
	shell.fails_after = after;
	shell.fails_times = times;
}

void shell_expect(const char *want)
{
	assert_string_equal(shell.trace, want);
	shell_forget();
}

void shell_forget(void)
{
	memset(shell.trace, 0, sizeof(shell.trace));
	shell.n_unmasked = 0;
}

bool shell_logged(const char *text)
{
	return strstr(shell.log, text) != NULL;
}

unsigned shell_count(const char *text)
{
	unsigned n = 0;

	for (const char *at = shell.log; (at = strstr(at, text)); at++)
		n++;
	return n;
}

uint64_t shell_timer_us(void)
{
	assert_true(n_timers <= 1);
	return n_timers == 0 ? 0
			     : (uint64_t)timers[0].delay.tv_sec * 1000000 +
				       (uint64_t)timers[0].delay.tv_usec;
}

void shell_fire(void)
{
	for (; n_timers > 0;) {
		struct event *event = timers[--n_timers].event;

		event_active(event, EV_TIMEOUT, 1);
	}
	shell_run();
}

void shell_app(struct raw_app *app, struct hv *hv)
{
	raw_app_init(app, hv);
}

void shell_hello(struct raw_app *app, bool reattach)
{
	struct control_message hello = {.type = CONTROL_HELLO, .request = 1};

	hello.hello.epoch = atomic_load(&app->page->epoch);
	hello.hello.version_min = hello.hello.version_max = CONTROL_VERSION;
	hello.hello.pid = 17;
	hello.hello.reattach = reattach;
	strcpy(hello.hello.comm, "app");
	raw_app_send(app, &hello);
	shell_run();
}

uint32_t shell_take(struct raw_app *app)
{
	struct control_message message;
	const char *reason;
	int decoded, r = control_ring_receive(&app->ring, &message, &decoded, &reason);

	assert_true(r >= 0);
	raw_app_flush(app);
	if (r == 0)
		(void)control_ring_sleep(&app->ring);
	return r == 1 ? message.type : 0;
}

void shell_attach(struct raw_app *app, struct hv *hv)
{
	shell_app(app, hv);
	raw_app_publish(app);
	shell_run();
	shell_hello(app, false);
	assert_int_equal(shell_take(app), CONTROL_WELCOME);
	assert_int_equal(shell_take(app), 0);
	(void)shell_event(hv);
	shell_run();
}

bool shell_event(struct hv *hv)
{
	struct hv_event event;
	bool came = false;

	while (hv->ops->poll_events(hv, &event, 1) == 1) {
		came |= event.type == HV_EVENT_PORT;
		if (event.type == HV_EVENT_PORT)
			(void)hv->ops->evtchn_unmask(hv, &event.port, 1);
	}
	return came;
}
