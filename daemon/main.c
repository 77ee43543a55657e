/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd: starts the parts, serves signals, systemd and the admin socket. An idle msgd must not wake
 * up: every timer here has a request behind it.
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
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/event.h"
#include "base/listen.h"
#include "base/notify.h"
#include "base/report.h"
#include "base/stop.h"
#include "daemon/admin/answer.h"
#include "daemon/admin/kept.h"
#include "base/log.h"
#include "daemon/broker/message-id.h"
#include "daemon/config-line.h"
#include "daemon/options.h"
#include "daemon/shell/server.h"
#include "daemon/sim-start.h"

#define EXIT_IN_USE 3 /* exit status: another msgd is there */

/* Connections that wait for the next turn of the loop. */
#define SOCKET_BACKLOG 64

struct msgd {
	struct options options;
	struct settings settings;
	struct event_base *base;     /* owned */
	struct server *server;	     /* owned */
	struct admin *admin;	     /* owned */
	struct event *stop, *hangup; /* owned */
	struct event *watchdog;	     /* owned, or NULL */
	struct event *notify_again;  /* owned: the service manager has not been told yet */
	char notify_text[ADMIN_ERROR_SIZE + 64];
	int lock_fd;			  /* owned */
	struct quiesce *quiesce;	  /* owned */
	struct agent *agent;		  /* owned: applications of our own domain */
	bool unlink_admin, unlink_attach; /* the socket is ours, not systemd's */
	struct admin_subject subject;	  /* of the admin socket's answers */
};

/* ---- the service manager -------------------------------------------------------------------- */

/*
 * The state that the service manager must learn, sooner or later: a later one takes the place of
 * one that found no room. The manager's socket is never waited for.
 */
static void msgd_notify_now(struct msgd *msgd)
{
	static const struct timeval delay = {.tv_sec = 1};

	if (notify_send(msgd->notify_text) == -EAGAIN)
		(void)evtimer_add(msgd->notify_again, &delay);
	else
		(void)evtimer_del(msgd->notify_again);
}

__attribute__((format(printf, 2, 3))) static void msgd_notify(
	struct msgd *msgd, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(msgd->notify_text, sizeof(msgd->notify_text), format, args);
	va_end(args);
	msgd_notify_now(msgd);
}

static void on_notify_again(evutil_socket_t fd, short what, void *arg)
{
	msgd_notify_now(arg);
}

/* ---- policy ---------------------------------------------------------------------------------- */

/* Rules that can never match. */
static void msgd_warn(struct msgd *msgd, const struct policy *policy)
{
	const struct report *warnings = policy_warnings(policy);

	for (unsigned i = 0; i < warnings->n; i++)
		server_log(msgd->server, BROKER_LOG_CLIENTS, LOG_WARNING, "policy: %s",
			warnings->lines[i]);
	if (warnings->left_out)
		server_log(msgd->server, BROKER_LOG_CLIENTS, LOG_WARNING,
			"policy: and %u more such warnings", warnings->left_out);
}

/* ---- reload ---------------------------------------------------------------------------------- */

static void msgd_reload_failed(
	struct msgd *msgd, const struct report *report, char ret_error[ADMIN_ERROR_SIZE])
{
	unsigned more = report->n + report->left_out - 1;

	for (unsigned i = 0; i < report->n; i++)
		server_log_id(msgd->server, MESSAGE_ID_RELOAD_FAILED, LOG_ERR, "reload: %s%s",
			report->lines[i], i + 1 == report->n ? "; what was in force stays" : "");
	if (report->left_out)
		server_log(msgd->server, BROKER_LOG_CLIENTS, LOG_ERR, "reload: and %u more errors",
			report->left_out);
	(void)snprintf(ret_error, ADMIN_ERROR_SIZE, "%s", report->lines[0]);
	if (more)
		(void)snprintf(ret_error, ADMIN_ERROR_SIZE, "%s (and %u more: see the log)",
			report->lines[0], more);
	msgd_notify(msgd, "READY=1\nSTATUS=Reload failed: %s", ret_error);
}

/* Settings of which no part is broken. */
static int msgd_settings(
	const struct msgd *msgd, struct settings *ret_settings, struct report *report)
{
	struct settings settings;
	int r = settings_load(&msgd->options, &settings, report);

	if (r == POLICY_BROKEN) {
		settings_fini(&settings);
		return -EINVAL;
	}
	if (r == 0)
		*ret_settings = settings;
	return r;
}

/* The attach socket's users are processes of this domain. */
static void msgd_set_places(struct msgd *msgd)
{
	agent_set_places(msgd->agent,
		broker_limit(server_broker(msgd->server), msgd->subject.domid, QUOTA_PROCESSES));
}

/* The last good configuration and policy stay in force on error. */
static int msgd_reload(void *arg, char ret_error[ADMIN_ERROR_SIZE])
{
	struct msgd *msgd = arg;
	struct report report = {.n = 0};
	struct settings settings;
	size_t rules;
	int r;

	msgd_notify(msgd, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)monotonic_us());
	r = msgd_settings(msgd, &settings, &report);
	if (r < 0) {
		msgd_reload_failed(msgd, &report, ret_error);
		server_note(msgd->server, HISTORY_RELOAD, 0, 0, -r, ret_error, NULL);
		return r;
	}
	if (strcmp(settings.hv, msgd->settings.hv) != 0 ||
		strcmp(settings.admin, msgd->settings.admin) != 0 ||
		strcmp(settings.attach, msgd->settings.attach) != 0)
		server_log(msgd->server, BROKER_LOG_CLIENTS, LOG_WARNING,
			"reload: hv, admin and attach change with a restart only");
	log_open("msgd", settings.config.log_level);
	server_set_audit(msgd->server, settings.config.audit);
	msgd->subject.operators = settings.operators;
	server_set_limits(
		msgd->server, &settings.config.limits, steal_ptr(settings.config.assignments));
	if (server_set_start_helper(msgd->server, settings.config.start_helper) < 0)
		server_log(msgd->server, BROKER_LOG_CLIENTS, LOG_ERR,
			"reload: start-helper: out of memory; the former one stays");
	msgd_set_places(msgd);
	rules = policy_rules(settings.policy);
	server_log_id(msgd->server, MESSAGE_ID_RELOADED, rules ? LOG_NOTICE : LOG_WARNING,
		"reloaded: %zu policy rules%s", rules,
		rules ? "" : ": every listen and connect is refused");
	msgd_notify(msgd, "READY=1\nSTATUS=%zu policy rules in force", rules);
	msgd_warn(msgd, settings.policy);
	server_set_policy(msgd->server, steal_ptr(settings.policy));
	server_note(msgd->server, HISTORY_RELOAD, 0, 0, 0, NULL, NULL);
	settings_fini(&settings);
	return 0;
}

/* The configuration is looked at for errors. */
static int msgd_try_reload(void *arg, struct policy **ret_policy, struct report *report)
{
	const struct msgd *msgd = arg;
	struct settings settings;
	int r = msgd_settings(msgd, &settings, report);

	if (r < 0)
		return r;
	*ret_policy = steal_ptr(settings.policy);
	settings_fini(&settings);
	return 0;
}

/* ---- sockets -------------------------------------------------------------------------------- */

/* The socket of this type that systemd gave us, or -1. */
static int socket_given(int type)
{
	int n = sd_listen_fds(0);

	for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
		if (sd_is_socket_unix(fd, type, 1, NULL, 0) <= 0)
			continue;
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
		return fd;
	}
	return -1;
}

/* A client of the former msgd is two descriptors of one name. */
static void client_take(struct admin *admin, int n, char **names, int first)
{
	int fds[2] = {-1, -1}; /* its socket, and what was kept of it */

	for (int i = n - 1; i >= first; i--) {
		int fd = SD_LISTEN_FDS_START + i, *place;

		if (strcmp(names[i], names[first]) != 0)
			continue;
		place = &fds[sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 0) <= 0];
		close_p(place);
		*place = fd;
		if (i > first)
			names[i][0] = '\0'; /* taken */
	}
	admin_take(admin, (unsigned)kept_number(names[first]), fds[0], fds[1]);
}

/* How many descriptors are of clients that the service manager kept. NULL: they are not taken. */
static int clients_take(struct admin *admin)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(0, &names), n_kept = 0;

	for (int i = 0; i < n; i++) {
		if (kept_number(names[i]) < 0)
			continue;
		n_kept++;
		if (admin)
			client_take(admin, n, names, i);
	}
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
	return n_kept;
}

/*
 * The two sockets differ in their type: a stream for admin, packets for attach. All else are
 * clients.
 */
static int sockets_check(void)
{
	int n = sd_listen_fds(0), known = clients_take(NULL);

	known += socket_given(SOCK_STREAM) >= 0;
	known += socket_given(SOCK_SEQPACKET) >= 0;
	if (n <= known)
		return 0;
	log_error("socket activation: at most one listening Unix stream socket and one "
		  "SOCK_SEQPACKET socket expected");
	return -EINVAL;
}

/* Systemd's socket if it gave one, else our own. */
static int socket_get(
	const char *what, const char *path, int type, mode_t mode, int *ret_fd, bool *ret_ours)
{
	int fd = socket_given(type), r;

	if (fd >= 0) {
		*ret_fd = fd;
		return 0;
	}
	r = unix_listen(path, type, mode, SOCKET_BACKLOG, ret_fd);
	if (r < 0) {
		log_error("%s socket %s: %s", what, path,
			r == -EADDRINUSE ? "another msgd answers there"
			: r == -EEXIST	 ? "there is something that is not a socket"
					 : strerror(-r));
		return r;
	}
	*ret_ours = true;
	return 0;
}

static int msgd_admin(struct msgd *msgd)
{
	int fd, r = socket_get(
			"admin", msgd->settings.admin, SOCK_STREAM, 0600, &fd, &msgd->unlink_admin);

	if (r < 0)
		return r;
	r = admin_new(msgd->base, fd, &admin_answers, &msgd->subject, &msgd->admin);
	if (r < 0)
		(void)close(fd);
	return r;
}

/* ---- applications of our own domain ------------------------------------------------------ */

static void on_agent_log(void *arg, int priority, const char *text)
{
	struct msgd *msgd = arg;

	server_log(msgd->server, msgd->subject.domid, priority, "attach socket: %s", text);
}

static const struct agent_ops attach_ops = {.log = on_agent_log};

/*
 * Records of local applications go into the store under this domain. msgd finds them there as it
 * finds all records, and so does the next msgd.
 */
static int msgd_agent(struct msgd *msgd, struct hv *hv)
{
	int fd, r = socket_get("attach", msgd->settings.attach, SOCK_SEQPACKET, 0660, &fd,
			&msgd->unlink_attach);

	if (r < 0)
		return r;
	r = agent_new(msgd->base, fd, hv, &attach_ops, msgd, &msgd->agent);
	if (r < 0)
		(void)close(fd);
	else
		msgd_set_places(msgd);
	return r;
}

/* ---- signals and systemd ----------------------------------------------------------------- */

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
	struct msgd *msgd = arg;

	log_notice("stopping: %s", strsignal(stop_signal()));
	broker_log_steps(server_broker(msgd->server));
	(void)notify_send("STOPPING=1");
	(void)event_base_loopbreak(msgd->base);
}

static void on_reload(evutil_socket_t signal, short what, void *arg)
{
	char error[ADMIN_ERROR_SIZE];

	(void)msgd_reload(arg, error);
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	(void)notify_send("WATCHDOG=1");
}

static int msgd_signals(struct msgd *msgd)
{
	uint64_t watchdog_us = 0;
	int fd, r = stop_open(&fd);

	if (r < 0)
		return r;
	msgd->stop = event_watch(msgd->base, fd, on_stop, msgd);
	msgd->hangup = evsignal_new(msgd->base, SIGHUP, on_reload, msgd);
	if (!msgd->stop || !msgd->hangup || event_add(msgd->hangup, NULL) < 0)
		return -ENOMEM;
	(void)signal(SIGPIPE, SIG_IGN);
	if (sd_watchdog_enabled(0, &watchdog_us) > 0) {
		struct timeval half = {.tv_sec = (time_t)(watchdog_us / 2000000),
			.tv_usec = (suseconds_t)(watchdog_us / 2 % 1000000)};

		msgd->watchdog = event_new(msgd->base, -1, EV_PERSIST, on_watchdog, msgd);
		if (!msgd->watchdog || event_add(msgd->watchdog, &half) < 0)
			return -ENOMEM;
	}
	return 0;
}

static struct server *libevent_server; /* borrowed; for lines of libevent alone */

/* A client, or lack of descriptors, may cause its warnings. After an error it ends the program. */
static void on_libevent_log(int severity, const char *text)
{
	if (severity == EVENT_LOG_ERR)
		log_error("libevent: %s", text);
	else if (severity == EVENT_LOG_WARN && libevent_server)
		server_log(libevent_server, BROKER_LOG_CLIENTS, LOG_WARNING, "libevent: %s", text);
}

/* ---- start and end ----------------------------------------------------------------------- */

/* There is one msgd for a hypervisor: two would both answer every application. */
static int msgd_lock(struct msgd *msgd)
{
	const char *path = msgd->settings.lock;
	char text[16] = "";
	ssize_t n;

	if (strncmp(path, "/run/msgd/", 10) == 0)
		(void)mkdir("/run/msgd", 0755);
	msgd->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (msgd->lock_fd < 0) {
		log_error("lock %s: %s", path, strerror(errno));
		return -errno;
	}
	if (flock(msgd->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		n = read(msgd->lock_fd, text, sizeof(text) - 1);
		text[n > 0 ? n : 0] = '\0';
		text[strcspn(text, "\n")] = '\0';
		/* One that has just taken the lock has not said yet who it is. */
		log_error("another msgd%s%s%s serves %s", text[0] ? " (pid " : "", text,
			text[0] ? ")" : "", msgd->settings.hv);
		return -EADDRINUSE;
	}
	n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(msgd->lock_fd, 0) < 0 || write(msgd->lock_fd, text, (size_t)n) < 0)
		log_warning("lock %s: %s", path, strerror(errno));
	return 0;
}

static int msgd_open_hv(const struct settings *settings, struct hv **ret_hv)
{
	const char *reason = NULL;
	char path[400];
	int r = hv_open(settings->hv, ret_hv, &reason);

	/* ECONNREFUSED: an emulator left the socket behind, and xen-sim knows how to replace it. */
	if ((r == -ENOENT || r == -ECONNREFUSED) &&
		hv_spec_sim_path(settings->hv, path, sizeof(path))) {
		log_notice("no emulator on %s: starting xen-sim", path);
		r = sim_start(path);
		if (r < 0) {
			log_error("xen-sim: %s", r == -EIO ? "it failed" : strerror(-r));
			return r;
		}
		r = hv_open(settings->hv, ret_hv, &reason);
	}
	if (r < 0)
		log_error("hypervisor %s (%s): %s%s%s", settings->hv, settings->hv_from,
			reason ? reason : "", reason ? ": " : "", strerror(-r));
	return r;
}

static void on_quiesced(void *arg)
{
	struct msgd *msgd = arg;

	if (msgd->quiesce)
		quiesce_look(msgd->quiesce);
}

static void on_own_record_gone(void *arg, const char *key)
{
	struct msgd *msgd = arg;

	if (msgd->agent)
		agent_record_gone(msgd->agent, key);
}

static void on_noted(void *arg)
{
	struct msgd *msgd = arg;

	if (msgd->admin)
		admin_look(msgd->admin);
	if (msgd->quiesce)
		quiesce_look(msgd->quiesce);
}

static const struct server_ops server_ops = {
	.quiesced = on_quiesced, .noted = on_noted, .own_record_gone = on_own_record_gone};

_Static_assert(ADMIN_ERROR_SIZE >= REPORT_LINE_SIZE, "config_line_limit fills it");

static int msgd_start(struct msgd *msgd)
{
	const char *reason = NULL;
	struct hv *hv;
	int r = msgd_lock(msgd);

	if (r < 0)
		return r;
	msgd->base = event_base_new();
	if (msgd->base)
		msgd->notify_again = evtimer_new(msgd->base, on_notify_again, msgd);
	if (!msgd->notify_again)
		return -ENOMEM;
	r = sockets_check();
	if (r == 0)
		r = msgd_admin(msgd);
	if (r < 0)
		return r;
	r = msgd_open_hv(&msgd->settings, &hv);
	if (r < 0)
		return r;
	if (policy_is_broken(msgd->settings.policy))
		log_error("the policy is broken: %zu rules of the files before count, all else is "
			  "refused",
			policy_rules(msgd->settings.policy));
	else if (policy_rules(msgd->settings.policy) == 0)
		log_warning("no policy%s: every listen and connect is refused",
			msgd->settings.policy_missing ? " (see --policy)" : " rules");
	r = server_new(msgd->base, hv, &msgd->settings.config.limits, msgd->settings.policy,
		&server_ops, msgd, &msgd->server, &reason);
	if (r < 0) {
		hv_close(hv);
		log_error("start: %s: %s", reason ? reason : "?", strerror(-r));
		return r;
	}
	msgd_warn(msgd, msgd->settings.policy);
	msgd->settings.policy = NULL;
	/* Before the loop begins: nothing was judged yet. */
	server_set_limits(msgd->server, &msgd->settings.config.limits,
		steal_ptr(msgd->settings.config.assignments));
	server_set_audit(msgd->server, msgd->settings.config.audit);
	libevent_server = msgd->server;
	r = server_set_start_helper(msgd->server, msgd->settings.config.start_helper);
	if (r == 0)
		r = quiesce_new(msgd->base, msgd->server, &msgd->quiesce);
	if (r < 0)
		return r;
	msgd->subject = (struct admin_subject){.server = msgd->server,
		.quiesce = msgd->quiesce,
		.version = MSGD_VERSION,
		.hv_spec = msgd->settings.hv,
		.domid = hv->ops->domid(hv),
		.start_ns = hv->ops->now_ns(hv),
		.operators = msgd->settings.operators,
		.reload = msgd_reload,
		.try_reload = msgd_try_reload,
		.limit = config_line_limit,
		.log_level = config_line_log_level,
		.arg = msgd};
	r = msgd_agent(msgd, hv);
	(void)clients_take(msgd->admin);
	(void)sd_listen_fds(
		1); /* a program that msgd starts must not take the sockets for its own */
	if (r < 0)
		return r;
	r = msgd_signals(msgd);
	if (r < 0)
		log_error("signals: %s", strerror(-r));
	return r;
}

static void msgd_fini(struct msgd *msgd)
{
	if (msgd->admin)
		admin_keep(msgd->admin);
	admin_free(msgd->admin);
	agent_free(msgd->agent);
	quiesce_free(msgd->quiesce);
	libevent_server = NULL;
	server_free(msgd->server);
	event_drop(msgd->stop);
	event_drop(msgd->hangup);
	event_drop(msgd->watchdog);
	event_drop(msgd->notify_again);
	if (msgd->base)
		event_base_free(msgd->base);
	if (msgd->unlink_admin)
		(void)unlink(msgd->settings.admin);
	if (msgd->unlink_attach)
		(void)unlink(msgd->settings.attach);
	settings_fini(&msgd->settings);
	stop_done();
	close_p(&msgd->lock_fd); /* last: then the next msgd may start */
}

static void log_report(const struct report *report)
{
	for (unsigned i = 0; i < report->n; i++)
		log_error("%s", report->lines[i]);
	if (report->left_out)
		log_error("and %u more errors", report->left_out);
}

int main(int argc, char **argv)
{
	struct msgd msgd = {.lock_fd = -1};
	struct report report = {.n = 0};
	int r;

	options_parse(argc, argv, &msgd.options);
	log_open("msgd", LOG_INFO);
	event_set_log_callback(on_libevent_log);
	r = settings_load(&msgd.options, &msgd.settings, &report);
	log_report(&report);
	if (r < 0)
		return EXIT_USAGE;
	log_open("msgd", msgd.settings.config.log_level);
	r = msgd_start(&msgd);
	if (r == 0) {
		log_notice("msgd " MSGD_VERSION " serves %s, admin socket %s", msgd.settings.hv,
			msgd.settings.admin);
		msgd_notify(&msgd, "READY=1\nSTATUS=Serving %s", msgd.settings.hv);
		r = event_base_dispatch(msgd.base) < 0 || server_lost(msgd.server) ? -EIO : 0;
	}
	msgd_fini(&msgd);
	return r == 0 ? EXIT_SUCCESS : r == -EADDRINUSE ? EXIT_IN_USE : EXIT_FAILURE;
}
