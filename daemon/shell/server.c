/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The loop's turn. First it notes the hypervisor's events, then it works on them in bounded
 * portions, then it publishes all that the broker sent, with one event for each application that
 * sleeps. If work is left, the next turn runs at once; if none is left, msgd sleeps without any
 * timer.
 */
#include "daemon/shell/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <syslog.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/event.h"
#include "base/log.h"
#include "daemon/broker/assign.h"
#include "daemon/broker/capture.h"
#include "daemon/broker/hash.h"
#include "daemon/shell/attach.h"
#include "daemon/shell/fields.h"
#include "daemon/shell/programs.h"
#include "proto/record.h"

#define EVENTS_A_PORTION 64
/* 8192 ports, as 64 domains have at twice their quota. The rest keeps the descriptor readable. */
#define PORTIONS_A_TURN 128
/* In the broker's cost: a record of the store, which is read from another process. */
#define COST_RECORD 2000U

#define RESCAN_S 1

DEFINE_CLEANUP(struct server *, server_free)

struct server {
	struct hv *hv;			 /* owned */
	struct event_base *base;	 /* borrowed */
	const struct server_ops *ops;	 /* borrowed */
	void *arg;			 /* borrowed: main's */
	struct broker *broker;		 /* owned */
	struct attach_table *attaches;	 /* owned */
	struct programs *programs;	 /* owned */
	struct policy *policy;		 /* owned */
	struct assignments *assignments; /* owned, or NULL */
	struct event *hv_event;		 /* owned: the hypervisor's descriptor */
	struct event *turn_event;	 /* owned: work is left for the next turn */
	struct event *timer_event;	 /* owned: the broker's timer */
	struct event *rescan_event;	 /* owned: looks whether a suspended domain goes on, and
					  * again at what failed */
	bool store_due, domains_due;
	bool store_failed; /* records wait that could not be taken in */
	bool lost;
	struct server_turns turns;
	uint64_t turn_start_ns; /* of the processor's time */
	uint64_t told_serial;	/* ops->noted knows of this event ... */
	uint32_t told_pending;	/* ... of so many answers that are to come ... */
	uint64_t told_pings;	/* ... of so many pings that are over ... */
	uint64_t told_captured; /* ... and of what was captured until then */
};

/* ---- the broker's effects ------------------------------------------------------------------- */

static void on_resumed(void *arg, uint16_t domid)
{
	struct server *server = arg;

	attach_unpark(server->attaches, domid);
}

static void on_quiesced(void *arg, uint16_t domid)
{
	struct server *server = arg;

	server->ops->quiesced(server->arg);
}

static int on_run(void *arg, uint64_t id, const struct broker_program *program)
{
	struct server *server = arg;

	return programs_run(server->programs, id, program);
}

static void on_stop(void *arg, uint64_t id)
{
	struct server *server = arg;

	programs_stop(server->programs, id);
}

static void on_timer(void *arg, uint64_t at_ns)
{
	struct server *server = arg;
	uint64_t now = server->hv->ops->now_ns(server->hv);
	uint64_t wait = at_ns > now ? at_ns - now : 0;
	struct timeval delay = {.tv_sec = (time_t)(wait / 1000000000),
		.tv_usec = (suseconds_t)(wait / 1000 % 1000000)};

	(void)evtimer_del(server->timer_event);
	if (at_ns && evtimer_add(server->timer_event, &delay) < 0)
		broker_log_about(server->broker, HV_DOMID_SELF, LOG_ERR, "no timer: out of memory");
}

static void on_log(void *arg, int priority, const struct broker_line *line, const char *text)
{
	struct line_fields fields;

	line_fields(line, &fields);
	log_record(priority, line->audit, fields.fields, fields.n, text);
}

static const struct broker_ops server_broker_ops = {
	.send = attach_send,
	.unsent = attach_unsent,
	.look = attach_look,
	.drop = attach_dropped,
	.resumed = on_resumed,
	.quiesced = on_quiesced,
	.run = on_run,
	.stop = on_stop,
	.timer = on_timer,
	.log = on_log,
};

/* ---- the turn ------------------------------------------------------------------------------- */

static uint64_t cpu_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void server_now(struct server *server)
{
	broker_set_now(server->broker, server->hv->ops->now_ns(server->hv));
	broker_set_wall(server->broker, clock_us(CLOCK_REALTIME));
}

/* The beginning of every event. */
static void server_begin(struct server *server)
{
	server->turn_start_ns = cpu_ns();
	server_now(server);
}

/* -ENODEV: the emulator ended. This handle is dead; a new msgd can serve a new emulator. */
static void server_error(struct server *server, const char *what, int error)
{
	if (server->lost)
		return;
	/* A guest may cause the store's errors; which guest is not known. */
	broker_log_about(server->broker, HV_DOMID_SELF, LOG_ERR, "%s: %s", what, strerror(-error));
	if (error != -ENODEV)
		return;
	log_error("the hypervisor is gone");
	server->lost = true;
	(void)event_base_loopbreak(server->base);
}

/* True: there may be more. */
static bool server_poll_some(struct server *server)
{
	struct hv_event events[EVENTS_A_PORTION];
	int n = server->hv->ops->poll_events(server->hv, events, EVENTS_A_PORTION);

	if (n < 0)
		server_error(server, "the hypervisor's events", n);
	/* HV_EVENT_RING does not come: msgd has no Argo ring. */
	for (int i = 0; i < n; i++) {
		if (events[i].type == HV_EVENT_PORT)
			attach_port_event(server->attaches, events[i].port);
		server->store_due |= events[i].type == HV_EVENT_STORE;
		server->domains_due |= events[i].type == HV_EVENT_DOMAINS;
	}
	return n == EVENTS_A_PORTION;
}

/*
 * Takes all events, so that none stands behind those of a domain with many ports. A port that was
 * taken is masked until its application was served, so they come to an end.
 */
static void server_poll(struct server *server)
{
	for (unsigned i = 0; i < PORTIONS_A_TURN && server_poll_some(server); i++)
		;
}

_Static_assert(BROKER_TAGS_SIZE == HV_TAGS_MAX && DOMAIN_NAME_SIZE == HV_DOMAIN_NAME_MAX,
	"what the hypervisor says of a domain fits");

/* Of what is wrong with a domain's node its administrator is to hear. False: try again later. */
static bool domain_tags(struct server *server, struct broker_domain_info *info)
{
	int r = server->hv->ops->domain_tags(server->hv, info->domid, info->tags);

	if (r == 0 || r == -ESRCH || r == -ENODEV) /* the last: msgd is about to end */
		return true;
	/* Where the guest may write, it could give itself any tag: it has none of these. */
	info->tags_unknown = r != -EPERM;
	broker_log_about(server->broker, info->domid, LOG_WARNING,
		"%s(%u): msgd/tags in the store%s: %s", info->name, info->domid,
		r == -EPERM ? " is ignored" : "",
		r == -EPERM ? "others than domain 0 may write it" : strerror(-r));
	return r == -EPERM || r == -E2BIG || r == -EINVAL;
}

static void domain_info(const struct hv_domain *domain, struct broker_domain_info *ret_info)
{
	static const enum broker_domain_state states[] = {
		[HV_DOMAIN_RUNNING] = BROKER_DOMAIN_RUNNING,
		[HV_DOMAIN_SUSPENDED] = BROKER_DOMAIN_SUSPENDED,
		[HV_DOMAIN_CRASHED] = BROKER_DOMAIN_CRASHED,
		[HV_DOMAIN_DYING] = BROKER_DOMAIN_DYING,
	};

	*ret_info = (struct broker_domain_info){
		.domid = domain->domid,
		.state = states[domain->state],
		.paused = domain->paused,
		.generation = domain->generation,
	};
	memcpy(ret_info->uuid, domain->uuid, sizeof(ret_info->uuid));
	memcpy(ret_info->name, domain->name, sizeof(ret_info->name) - 1);
}

/*
 * On real Xen nothing tells of a domain that goes on where it was suspended (a checkpoint, a
 * migration that failed), nor of what msgd could not take in for lack of memory. So msgd polls,
 * while a quiesced domain is suspended or something failed, and at no other time.
 */
static void server_rescan_later(struct server *server, bool wanted)
{
	struct timeval delay = {.tv_sec = RESCAN_S};

	if (wanted && !evtimer_pending(server->rescan_event, NULL))
		(void)evtimer_add(server->rescan_event, &delay);
}

static void on_rescan(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;

	server->domains_due = true;
	server->store_due |= server->store_failed;
	server->store_failed = false;
	event_turn_later(server->turn_event);
}

static int server_list_domains(struct server *server)
{
	struct hv *hv = server->hv;
	_cleanup_free_ struct hv_domain *domains = NULL;
	_cleanup_free_ struct broker_domain_info *infos = NULL;
	bool again = false;
	size_t n = 16;
	int r;

	/* Domains may appear between two calls: ask until all fit. */
	for (;;) {
		struct hv_domain *more = reallocarray(domains, n, sizeof(*domains));

		if (!more)
			return -ENOMEM;
		domains = more;
		r = hv->ops->domain_list(hv, domains, n);
		if (r < 0)
			return r;
		if ((size_t)r <= n)
			break;
		n = (size_t)r + 8;
	}
	n = (size_t)r;
	infos = calloc(n ? n : 1, sizeof(*infos));
	if (!infos)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		domain_info(&domains[i], &infos[i]);
		again |= !domain_tags(server, &infos[i]);
	}
	broker_domains(server->broker, infos, n);
	server_rescan_later(server, again || broker_resume_expected(server->broker));
	return 0;
}

static void server_domains(struct server *server)
{
	int r;

	if (!server->domains_due)
		return;
	server->domains_due = false;
	r = server_list_domains(server);
	if (r < 0)
		server_error(server, "the list of domains", r);
	/* Memory that is missing now; no event will tell again of what was not looked at. */
	server_rescan_later(server, r < 0);
}

static void server_record(struct server *server, const struct hv_record *record, bool found)
{
	/* The store may speak of a domain before the list of domains was read again. */
	if (record->len && !broker_has_domain(server->broker, record->domid))
		server->domains_due |= server_list_domains(server) < 0;
	attach_record(server->attaches, record, found);
	if (record->len == 0 && record->domid == server->hv->ops->domid(server->hv))
		server->ops->own_record_gone(server->arg, record->key);
}

static void server_store(struct server *server)
{
	uint64_t end = broker_cost(server->broker) + TURN_COST;
	struct hv_record record;

	while (server->store_due && broker_cost(server->broker) < end) {
		int r = server->hv->ops->store_next(server->hv, &record);

		broker_spend(server->broker, COST_RECORD);
		if (r < 0) {
			server_error(server, "the store", r);
			server->store_failed = true;
			server_rescan_later(server, true);
		}
		if (r <= 0)
			server->store_due = false;
		else
			server_record(server, &record, false);
	}
}

static void server_count_turn(struct server *server)
{
	uint64_t took_ns = cpu_ns() - server->turn_start_ns;

	server->turns.n++;
	server->turns.cpu_ns += took_ns;
	if (took_ns > server->turns.longest_cpu_ns)
		server->turns.longest_cpu_ns = took_ns;
}

static void server_tell(struct server *server)
{
	uint64_t last = broker_history(server->broker)->last_serial;
	uint32_t n_pending = broker_counts_pending(server->broker);
	uint64_t n_pings = broker_pings_over(server->broker);
	uint64_t captured = broker_captured(server->broker);

	if (last == server->told_serial && n_pending == server->told_pending &&
		n_pings == server->told_pings && captured == server->told_captured)
		return;
	server->told_serial = last;
	server->told_pending = n_pending;
	server->told_pings = n_pings;
	server->told_captured = captured;
	server->ops->noted(server->arg);
}

/* The end of every event: publishes all that the broker sent. */
static void server_finish(struct server *server)
{
	bool more = attach_publish(server->attaches);

	if (attach_lost(server->attaches))
		server_error(server, "the store", -ENODEV);
	if (more || server->store_due || server->domains_due || broker_work_left(server->broker))
		event_turn_later(server->turn_event);
	server_tell(server);
	server_count_turn(server);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;

	server_begin(server);
	server_poll(server);
	server_domains(server);
	server_store(server);
	attach_turn(server->attaches);
	(void)broker_work(server->broker, TURN_COST / 2);
	server_finish(server);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;

	server_begin(server);
	broker_tick(server->broker);
	server_finish(server);
}

/* ---- programs ------------------------------------------------------------------------------- */

static void on_answered(void *arg, uint64_t id, const struct broker_answer *answer)
{
	struct server *server = arg;

	server_begin(server);
	broker_answered(server->broker, id, answer);
	server_finish(server);
}

static void on_program_ended(void *arg, uint64_t id)
{
	struct server *server = arg;

	server_begin(server);
	broker_program_ended(server->broker, id);
	server_finish(server);
}

static void on_program_line(void *arg, uint16_t domid, const char *text)
{
	server_log(arg, domid, LOG_NOTICE, "a program of policy says: %s", text);
}

static const struct programs_ops programs_ops = {
	.answered = on_answered, .ended = on_program_ended, .line = on_program_line};

/* ---- start and end -------------------------------------------------------------------------- */

struct found {
	STAILQ_ENTRY(found) entry;
	struct hv_record record;
};

/* The records that an earlier msgd left behind are counted before the first of them is used. */
static int server_recover(struct server *server)
{
	STAILQ_HEAD(, found) list = STAILQ_HEAD_INITIALIZER(list);
	struct hv_record record;
	struct record parked;
	struct found *found;
	uint32_t n = 0;
	int r;

	/* Once, and a bounded number for each domain (hv.h, store_next). */
	while ((r = server->hv->ops->store_next(server->hv, &record)) > 0) {
		if (record.len == 0)
			continue;
		found = malloc(sizeof(*found));
		if (!found) {
			r = -ENOMEM;
			break;
		}
		found->record = record;
		if (record_parked_decode(record.value, record.len, &parked) == 0) {
			/*
			 * Parked records come first: the other applications of the domain are told
			 * QUIESCE.
			 */
			broker_parked_found(server->broker, record.domid);
			STAILQ_INSERT_HEAD(&list, found, entry);
		} else {
			STAILQ_INSERT_TAIL(&list, found, entry);
			n++;
		}
	}
	if (r == 0)
		broker_recover(server->broker, n);
	while ((found = STAILQ_FIRST(&list))) {
		STAILQ_REMOVE_HEAD(&list, entry);
		if (r == 0)
			server_record(server, &found->record, true);
		free(found);
	}
	return r;
}

static int server_start(struct server *server, const char **ret_reason)
{
	struct hv *hv = server->hv;
	int r;

	*ret_reason = "the list of domains";
	r = hv->ops->domain_watch(hv);
	if (r == 0)
		r = server_list_domains(server);
	if (r < 0)
		return r;
	*ret_reason = "the store";
	r = hv->ops->store_watch(hv);
	if (r == 0)
		r = server_recover(server);
	if (r < 0)
		return r;
	*ret_reason = "out of memory";
	if (event_add(server->hv_event, NULL) < 0)
		return -ENOMEM;
	/* Events may have become pending before the loop began. */
	event_turn_later(server->turn_event);
	return 0;
}

int server_new(struct event_base *base, struct hv *hv, const struct broker_limits *limits,
	struct policy *policy, const struct server_ops *ops, void *arg, struct server **ret_server,
	const char **ret_reason)
{
	_cleanup_(server_free_p) struct server *server = calloc(1, sizeof(*server));
	struct {
		uint8_t hash_key[KEYED_HASH_KEY_SIZE];
		uint64_t uid_seed;
	} secret;
	int r;

	*ret_reason = "out of memory";
	if (!server)
		return -ENOMEM;
	server->base = base;
	server->ops = ops;
	server->arg = arg;
	server->hv_event = event_new(base, hv->ops->fd(hv), EV_READ | EV_PERSIST, on_turn, server);
	server->turn_event = event_new(base, -1, 0, on_turn, server);
	server->timer_event = evtimer_new(base, on_tick, server);
	server->rescan_event = evtimer_new(base, on_rescan, server);
	if (!server->hv_event || !server->turn_event || !server->timer_event ||
		!server->rescan_event)
		return -ENOMEM;
	r = programs_new(base, &programs_ops, server, &server->programs);
	if (r < 0)
		return r;
	if (getrandom(&secret, sizeof(secret), 0) != sizeof(secret))
		return -EIO;
	keyed_hash_set_key(secret.hash_key);
	r = broker_new(
		&server_broker_ops, server, limits, policy, secret.uid_seed, &server->broker);
	if (r == 0)
		r = attach_table_new(
			base, hv, server->broker, server->turn_event, &server->attaches);
	if (r < 0)
		return r;
	broker_set_work_later(server->broker);
	server->hv = hv;
	server_begin(server);
	r = server_start(server, ret_reason);
	if (r < 0) {
		server->hv = NULL; /* stays the caller's */
		return r;
	}
	server->policy = policy;
	*ret_server = steal_ptr(server);
	return 0;
}

void server_free(struct server *server)
{
	if (!server)
		return;
	/* The broker goes first: it names attaches, and applications are told nothing. */
	broker_free(server->broker);
	attach_table_free(server->attaches);
	programs_free(server->programs);
	event_drop(server->hv_event);
	event_drop(server->turn_event);
	event_drop(server->timer_event);
	event_drop(server->rescan_event);
	/*
	 * hv_close unmaps, which tells every application, then closes the ports; the records stay
	 * (hv.h).
	 */
	hv_close(server->hv);
	policy_free(server->policy);
	assignments_free(server->assignments);
	free(server);
}

void server_set_policy(struct server *server, struct policy *policy)
{
	server_begin(server);
	broker_set_policy(server->broker, policy);
	policy_free(server->policy);
	server->policy = policy;
	server_finish(server);
}

int server_refresh_domains(struct server *server)
{
	int r;

	server_begin(server);
	r = server_list_domains(server);
	server_finish(server);
	return r;
}

static int server_run(struct server *server,
	int (*operation)(struct broker *broker, uint16_t domid), uint16_t domid)
{
	int r;

	server_begin(server);
	r = operation(server->broker, domid);
	server_finish(server);
	return r;
}

int server_steer(struct server *server,
	int (*step)(struct broker *broker, const struct broker_target *target),
	const struct broker_target *target)
{
	int r;

	server_begin(server);
	r = step(server->broker, target);
	server_finish(server);
	return r;
}

int server_capture(struct server *server, const struct broker_target *target, bool payload,
	uint32_t snaplen, struct capture **ret_capture)
{
	int r;

	server_begin(server);
	r = capture_new(server->broker, target, payload, snaplen, ret_capture);
	server_finish(server);
	return r;
}

void server_end_capture(struct server *server, struct capture *capture)
{
	server_begin(server);
	capture_free(capture);
	server_finish(server);
}

int server_quiesce(struct server *server, uint16_t domid)
{
	return server_run(server, broker_quiesce, domid);
}

int server_resume(struct server *server, uint16_t domid)
{
	return server_run(server, broker_resume, domid);
}

int server_set_start_helper(struct server *server, const char *path)
{
	return programs_set_helper(server->programs, path);
}

void server_ask_counts(struct server *server)
{
	server_begin(server);
	broker_ask_counts(server->broker);
	server_finish(server);
}

int server_ping(
	struct server *server, const struct broker_target *target, struct broker_ping *ret_ping)
{
	int r;

	server_begin(server);
	r = broker_ping(server->broker, target, ret_ping);
	server_finish(server);
	return r;
}

void server_set_limits(
	struct server *server, const struct broker_limits *limits, struct assignments *assignments)
{
	server_begin(server);
	broker_set_limits(server->broker, limits, assignments);
	assignments_free(server->assignments);
	server->assignments = assignments;
	server_finish(server);
}

/* id: of message-id.h, or NULL. */
__attribute__((format(printf, 5, 0))) static void server_vlog(struct server *server, uint16_t domid,
	int priority, const char *id, const char *format, va_list args)
{
	const struct broker_line line = {.id = id};
	char text[512];

	(void)vsnprintf(text, sizeof(text), format, args);
	server_now(server);
	broker_log_line(server->broker, domid, priority, &line, "%s", text);
}

void server_log(struct server *server, uint16_t domid, int priority, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	server_vlog(server, domid, priority, NULL, format, args);
	va_end(args);
}

void server_log_id(struct server *server, const char *id, int priority, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	server_vlog(server, BROKER_LOG_CLIENTS, priority, id, format, args);
	va_end(args);
}

void server_note(struct server *server, enum history_kind kind, uint32_t uid, uint32_t pid,
	int error, const char *text, const char *reason)
{
	server_now(server);
	broker_note_client(server->broker, kind, uid, pid, error, text, reason);
	server_tell(server);
}

void server_set_audit(struct server *server, enum broker_audit audit)
{
	broker_set_audit(server->broker, audit);
}

struct broker *server_broker(const struct server *server)
{
	return server->broker;
}

uint64_t server_clock_ns(const struct server *server)
{
	return server->hv->ops->now_ns(server->hv);
}

void server_turns(const struct server *server, struct server_turns *ret_turns)
{
	*ret_turns = server->turns;
}

bool server_lost(const struct server *server)
{
	return server->lost;
}
