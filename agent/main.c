/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msg-agent: a guest's small root process between applications and the store. systemd starts it on
 * the first connection, and it ends when it has had no client for a while.
 */
#include <argp.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/cleanup.h"
#include "base/event.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/stop.h"
#include "hv/xen/agent-protocol.h"

/*
 * An agent that systemd started and nobody needs ends: one root process less. The time is long
 * enough for a service that restarts.
 */
#define IDLE_EXIT_S 30

#define EVENTS_A_TURN 16

enum { EXIT_USAGE = 2 };

struct daemon {
	const char *hv_spec, *path;					/* borrowed, or NULL */
	struct event_base *base;					/* owned */
	struct hv *hv;							/* owned */
	struct agent *agent;						/* owned */
	struct event *hv_event, *idle_event, *ready_event, *stop_event; /* owned */
	bool activated; /* the socket is systemd's */
	bool listens;	/* it is ours */
	int result;
};

static int fail(const char *what, const char *why)
{
	log_error("%s: %s", what, why);
	return -1;
}

static void on_log(void *arg, int priority, const char *text)
{
	log_write(priority, "%s", text);
}

static void on_idle(void *arg, bool idle)
{
	struct daemon *daemon = arg;
	struct timeval delay = {.tv_sec = IDLE_EXIT_S};

	if (!daemon->activated)
		return;
	(void)evtimer_del(daemon->idle_event);
	if (idle)
		(void)evtimer_add(daemon->idle_event, &delay);
}

static const struct agent_ops agent_ops = {.log = on_log, .idle = on_idle};

/* systemd keeps the socket: the next connection starts the next agent. */
static void on_idle_over(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *daemon = arg;

	(void)event_base_loopbreak(daemon->base);
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *daemon = arg;

	(void)event_base_loopbreak(daemon->base);
}

/* The service manager's socket may be full. */
static void notify_ready(struct daemon *daemon)
{
	static const struct timeval delay = {.tv_sec = 1};

	if (notify_send("READY=1") == -EAGAIN)
		(void)evtimer_add(daemon->ready_event, &delay);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	notify_ready(arg);
}

static void store_changed(struct daemon *daemon)
{
	struct hv_record record;

	while (daemon->hv->ops->store_next(daemon->hv, &record) == 1) {
		if (record.len == 0)
			agent_record_gone(daemon->agent, record.key);
	}
}

static void on_hv(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *daemon = arg;
	struct hv_event events[EVENTS_A_TURN];
	int n = daemon->hv->ops->poll_events(daemon->hv, events, EVENTS_A_TURN);

	for (int i = 0; i < n; i++) {
		if (events[i].type == HV_EVENT_STORE)
			store_changed(daemon);
	}
	if (n >= 0)
		return;
	(void)fail("the hypervisor", strerror(-n));
	daemon->result = EXIT_FAILURE;
	(void)event_base_loopbreak(daemon->base);
}

static int daemon_socket(struct daemon *daemon, int *ret_fd)
{
	int n = sd_listen_fds(1), fd, r;

	if (n > 0) {
		fd = SD_LISTEN_FDS_START;
		if (n > 1 || sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0) <= 0)
			return fail("socket activation",
				"one listening Unix SOCK_SEQPACKET socket expected");
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		daemon->activated = true;
		*ret_fd = fd;
		return 0;
	}
	r = unix_listen(daemon->path, SOCK_SEQPACKET, 0660, SOMAXCONN, ret_fd);
	if (r == -EADDRINUSE)
		return fail(daemon->path, "another agent answers there");
	daemon->listens = r == 0;
	return r < 0 ? fail(daemon->path, strerror(-r)) : 0;
}

static int daemon_start(struct daemon *daemon)
{
	_cleanup_close_ int fd = -1;
	const char *reason = NULL;
	char name[HV_NAME_SIZE];
	int stop_fd, r;

	r = hv_open(daemon->hv_spec, &daemon->hv, &reason);
	if (r < 0) {
		log_error("hypervisor %s: %s%s%s", hv_name(daemon->hv_spec, name),
			reason ? reason : "", reason ? ": " : "", strerror(-r));
		return -1;
	}
	r = daemon->hv->ops->store_watch_own(daemon->hv);
	if (r < 0)
		return fail("the store", strerror(-r));
	daemon->base = event_base_new();
	if (!daemon->base)
		return fail("start", "out of memory");
	daemon->hv_event =
		event_watch(daemon->base, daemon->hv->ops->fd(daemon->hv), on_hv, daemon);
	daemon->idle_event = evtimer_new(daemon->base, on_idle_over, daemon);
	daemon->ready_event = evtimer_new(daemon->base, on_ready, daemon);
	r = stop_open(&stop_fd);
	if (r < 0)
		return fail("signals", strerror(-r));
	daemon->stop_event = event_watch(daemon->base, stop_fd, on_stop, daemon);
	if (!daemon->hv_event || !daemon->idle_event || !daemon->ready_event || !daemon->stop_event)
		return fail("start", "out of memory");
	/* Last: a client that finds the socket finds an agent that can serve. */
	if (daemon_socket(daemon, &fd) < 0)
		return -1;
	if (agent_new(daemon->base, fd, daemon->hv, &agent_ops, daemon, &daemon->agent) < 0)
		return fail("start", "out of memory");
	(void)steal_fd(&fd);
	on_idle(daemon, true);
	return 0;
}

static void daemon_fini(struct daemon *daemon)
{
	struct event *const events[] = {
		daemon->hv_event, daemon->idle_event, daemon->ready_event, daemon->stop_event};

	agent_free(daemon->agent);
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		event_drop(events[i]);
	if (daemon->base)
		event_base_free(daemon->base);
	hv_close(daemon->hv);
	if (daemon->listens)
		(void)unlink(daemon->path);
	stop_done();
}

enum { OPTION_HV = 256, OPTION_SOCKET };

static const struct argp_option options[] = {
	{"hv", OPTION_HV, "SPEC", 0, "xen, or sim:PATH#DOMAIN for the emulator"},
	{"socket", OPTION_SOCKET, "PATH", 0,
		"where applications connect (default " AGENT_SOCKET ")"},
	{0},
};

static error_t on_option(int key, char *arg, struct argp_state *state)
{
	struct daemon *daemon = state->input;

	switch (key) {
	case OPTION_HV:
		daemon->hv_spec = arg;
		return 0;
	case OPTION_SOCKET:
		daemon->path = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Its warnings are not bounded in number. After an error it ends the program. */
static void on_libevent_log(int severity, const char *text)
{
	if (severity == EVENT_LOG_ERR)
		log_error("libevent: %s", text);
}

int main(int argc, char **argv)
{
	static const struct argp argp = {options, on_option, .doc = "See msg-agent(8)."};
	struct daemon daemon = {.path = AGENT_SOCKET};

	argp_program_version = "msg-agent " MSGD_VERSION;
	argp_err_exit_status = EXIT_USAGE;
	(void)argp_parse(&argp, argc, argv, 0, NULL, &daemon);
	log_open("msg-agent", LOG_INFO);
	event_set_log_callback(on_libevent_log);
	(void)signal(SIGPIPE, SIG_IGN);
	daemon.result = daemon_start(&daemon) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	if (daemon.result == EXIT_SUCCESS) {
		notify_ready(&daemon);
		(void)event_base_dispatch(daemon.base);
		(void)notify_send("STOPPING=1");
	}
	daemon_fini(&daemon);
	return daemon.result;
}
