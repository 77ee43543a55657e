/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd in a task: daemon/shell/ and the broker as they are, on a libevent of this file: a loop on
 * the virtual clock, with as much of libevent's interface as they use. main.c, the admin and attach
 * sockets and systemd are not here.
 */
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/report.h"
#include "daemon/shell/server.h"
#include "tests/simulate/broker-clock.h"
#include "tests/simulate/simulate.h"

struct event {
	TAILQ_ENTRY(event) entry; /* in base->active, while active */
	LIST_ENTRY(event) all;
	struct event_base *base; /* borrowed */
	evutil_socket_t fd;	 /* -1: none */
	short events;
	event_callback_fn fn;
	void *arg;
	bool active, added;
	uint64_t due_ns; /* 0: no timer */
};

struct event_base {
	struct world *world; /* borrowed */
	LIST_HEAD(, event) events;
	TAILQ_HEAD(, event) active;
	bool inside;	 /* a callback runs */
	uint64_t ran_ns; /* when the last callback began */
	bool stop;
};

struct msgd {
	struct world *world; /* borrowed */
	struct sim_task *task;
	struct event_base base;
	struct hv *hv;
	struct server *server; /* owned */
	bool up;
	struct msgd *next_dead;
};

static const char policy_text[] = "allow listen * on any\n"
				  "allow connect * from any to any\n";

/* ---- libevent ------------------------------------------------------------------------------- */

static uint64_t now_ns(const struct world *w)
{
	return atomic_load(&sim_xen(w->sim)->seg->now_ns);
}

struct event *event_new(
	struct event_base *base, evutil_socket_t fd, short events, event_callback_fn fn, void *arg)
{
	struct event *event = calloc(1, sizeof(*event));

	if (!event)
		return NULL;
	*event = (struct event){.base = base, .fd = fd, .events = events, .fn = fn, .arg = arg};
	LIST_INSERT_HEAD(&base->events, event, all);
	return event;
}

int event_add(struct event *event, const struct timeval *timeout)
{
	event->added = true;
	if (timeout)
		event->due_ns = now_ns(event->base->world) + 1 +
				(uint64_t)timeout->tv_sec * 1000000000U +
				(uint64_t)timeout->tv_usec * 1000U;
	return 0;
}

int event_del(struct event *event)
{
	event->added = false;
	event->due_ns = 0;
	if (event->active)
		TAILQ_REMOVE(&event->base->active, event, entry);
	event->active = false;
	return 0;
}

void event_free(struct event *event)
{
	(void)event_del(event);
	LIST_REMOVE(event, all);
	free(event);
}

void event_active(struct event *event, int what, short n_calls)
{
	if (!event->active)
		TAILQ_INSERT_TAIL(&event->base->active, event, entry);
	event->active = true;
}

int event_pending(const struct event *event, short events, struct timeval *timeout)
{
	return event->added && event->due_ns;
}

int event_base_loopbreak(struct event_base *base)
{
	base->stop = true;
	return 0;
}

/* The timer that is due first, or NULL. */
static struct event *timer_first(struct event_base *base)
{
	struct event *event, *first = NULL;

	LIST_FOREACH (event, &base->events, all)
		if (event->due_ns && (!first || event->due_ns < first->due_ns))
			first = event;
	return first;
}

static void event_run(struct event *event, short what)
{
	struct event_base *base = event->base;

	if (!(event->events & EV_PERSIST))
		(void)event_del(event);
	base->inside = true;
	base->ran_ns = now_ns(base->world);
	event->fn(event->fd, what, event->arg); /* may free the event */
	base->inside = false;
}

/* Before the loop sleeps: the broker worked with the time of its last turn, of no earlier one. */
static void clock_check(const struct event_base *base)
{
	const struct msgd *msgd = base->world->msgd;

	if (broker_clock_ns(server_broker(msgd->server)) < base->ran_ns)
		fail(base->world, "the broker's clock stands still");
}

/* One event, or sleep. There is one descriptor: the hypervisor's. */
static void loop_once(struct event_base *base)
{
	struct event *event = TAILQ_FIRST(&base->active), *timer = timer_first(base);
	struct pollfd pollfd = {.fd = -1, .events = POLLIN};

	if (event) {
		TAILQ_REMOVE(&base->active, event, entry);
		event->active = false;
		event_run(event, EV_TIMEOUT);
		return;
	}
	if (timer && timer->due_ns <= now_ns(base->world)) {
		event_run(timer, EV_TIMEOUT);
		return;
	}
	LIST_FOREACH (event, &base->events, all) {
		if (event->fd < 0 || !event->added)
			continue;
		clock_check(base);
		pollfd.fd = event->fd;
		if (sim_task_poll(
			    base->world->sim, &pollfd, 1, timer ? timer->due_ns : UINT64_MAX) > 0)
			event_run(event, EV_READ);
		return;
	}
}

/* ---- other functions that the server calls -------------------------------------------------- */

static struct world *log_world;

/* Libmsg breaks no rule, and reads what it is sent: an honest process goes with its domain only. */
static void log_look(const char *line)
{
	if (strstr(line, " is dropped: ") && !strstr(line, " is dropped: its domain ") &&
		strncmp(line, "hostile(", 8) != 0)
		fail(log_world, "%s", line);
}

void log_record(int priority, bool always, const struct log_field *fields, size_t n_fields,
	const char *text)
{
	if (log_world->log)
		(void)fprintf(stderr, "msgd: %s\n", text);
	log_look(text);
}

void log_write(int priority, const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	log_record(priority, false, NULL, 0, line);
}

/* Nobody waits for a confirmation here, and no agent serves msgd's own domain. */
static void on_quiesced(void *arg)
{
}

static void on_noted(void *arg)
{
}

static void on_own_record_gone(void *arg, const char *key)
{
}

static const struct server_ops server_ops = {
	.quiesced = on_quiesced, .noted = on_noted, .own_record_gone = on_own_record_gone};

/* ---- life ----------------------------------------------------------------------------------- */

static void msgd_main(void *arg)
{
	struct msgd *msgd = arg;
	struct world *w = msgd->world;
	struct report report = {.n = 0};
	struct broker_limits limits;
	struct policy *policy;
	const char *reason;
	int r;

	if (sim_hv_open(w->sim, 0, &msgd->hv) < 0 || policy_new(&policy) < 0 ||
		policy_parse(policy, "policy", policy_text, strlen(policy_text), &report) < 0)
		fail(w, "msgd cannot begin");
	broker_limits_default(&limits);
	r = server_new(
		&msgd->base, msgd->hv, &limits, policy, &server_ops, msgd, &msgd->server, &reason);
	if (r < 0)
		fail(w, "msgd cannot start: %s: %s", reason, strerror(-r));
	msgd->up = true;
	while (!msgd->base.stop)
		loop_once(&msgd->base);
	fail(w, "msgd has left its loop");
}

void msgd_start(struct world *w)
{
	struct msgd *msgd = calloc(1, sizeof(*msgd));

	log_world = w;
	if (!msgd)
		abort();
	msgd->world = w;
	msgd->base.world = w;
	LIST_INIT(&msgd->base.events);
	TAILQ_INIT(&msgd->base.active);
	w->msgd = msgd;
	if (sim_task_start(w->sim, 0, "msgd", msgd_main, msgd, &msgd->task) < 0)
		abort();
	sim_task_set_background(msgd->task);
}

/* A process that was killed frees nothing: its memory stays as it is, and nobody uses it. */
void msgd_end(struct world *w, bool kill)
{
	struct msgd *msgd = w->msgd;

	w->msgd = NULL;
	w->msgd_ended = true;
	sim_task_kill(w->sim, msgd->task);
	/* Only between two callbacks is there a server that can be asked to stop. */
	if (kill || !msgd->up || msgd->base.inside) {
		if (msgd->hv)
			sim_hv_kill(w->sim, msgd->hv);
		msgd->next_dead = w->dead_msgds;
		w->dead_msgds = msgd;
		return;
	}
	server_free(msgd->server);
	free(msgd);
}

void msgd_stopped(struct world *w)
{
	const struct broker *broker = server_broker(w->msgd->server);
	uint32_t n = broker_n_attached(broker);
	char text[128];

	if (n)
		fail(w, "msgd believes that %u applications are there", n);
	if (broker_left(broker, text, sizeof(text)))
		fail(w, "%s", text);
	msgd_end(w, false);
}
