/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The broker's entry points. Each takes one event, lets the object concerned handle it, and then
 * runs the work that the event left. Only here is a process dropped for its own message, so that no
 * handler continues with a freed object.
 */
#include "daemon/broker/announce.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/message-id.h"
#include "daemon/broker/note.h"
#include "daemon/broker/process.h"
#include "daemon/broker/quiesce.h"
#include "daemon/broker/rejudge.h"
#include "daemon/broker/request.h"
#include "daemon/broker/state.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

void broker_limits_default(struct broker_limits *ret_limits)
{
	*ret_limits = (struct broker_limits){
		.quota[QUOTA_PROCESSES] = DOMAIN_PROCESSES_MAX,
		.quota[QUOTA_NAMES] = DOMAIN_NAMES_MAX,
		.quota[QUOTA_CHANNELS] = DOMAIN_CHANNELS_MAX,
		.quota[QUOTA_LINKS] = DOMAIN_LINKS_MAX,
		.quota[QUOTA_REQUESTS] = DOMAIN_REQUESTS_MAX,
		/*
		 * A service domain binds links that others create, as many as 32 domains may
		 * create; it pays for them after a restart, until their creators are back.
		 */
		.quota[QUOTA_ENDS] = 32 * DOMAIN_LINKS_MAX,
		.quota[QUOTA_ANNOUNCED] = DOMAIN_CHANNELS_MAX,
		.quota[QUOTA_WATCHES] = DOMAIN_WATCHES_MAX,
		.bytes = DOMAIN_BYTES_MAX,
		.backlog = BACKLOG_MAX,
		.ring_pages = LINK_RING_PAGES_DEFAULT,
		.argo_ring_pages = LINK_ARGO_RING_PAGES_DEFAULT,
	};
}

static void broker_put_line(
	void *arg, int priority, const void *about, bool about_lines, const char *text)
{
	struct broker *broker = arg;
	const struct broker_line *line = about;
	struct history_event source = {.kind = HISTORY_KINDS};
	struct broker_line lines = {.id = MESSAGE_ID_LEFT_OUT, .audit = line->audit};

	broker->cost += COST_LINE;
	if (!broker->ops)
		return;
	if (about_lines && line->event && !line->event->by_client) {
		source.who = line->event->who;
		source.who.attached = false;
		lines.event = &source;
	}
	broker->ops->log(broker->arg, priority, about_lines ? &lines : line, text);
}

int broker_new(const struct broker_ops *ops, void *arg, const struct broker_limits *limits,
	struct policy *policy, uint64_t uid_seed, struct broker **ret_broker)
{
	struct broker *broker = calloc(1, sizeof(*broker));

	if (!broker)
		return -ENOMEM;
	broker->ops = ops;
	broker->arg = arg;
	broker->limits = *limits;
	broker->policy = policy;
	broker->next_uid = uid_seed;
	broker->log = (struct log_limiter){
		.all = {.each_ns = LOG_LINE_NS, .burst = LOG_BURST},
		.each = {.each_ns = DOMAIN_LOG_LINE_NS, .burst = DOMAIN_LOG_BURST},
		.put_line = broker_put_line,
		.arg = broker,
	};
	history_init(&broker->history);
	broker->audit = BROKER_AUDIT_REFUSED;
	broker->generation = 1;
	TAILQ_INIT(&broker->unsettled);
	TAILQ_INIT(&broker->due);
	TAILQ_INIT(&broker->working);
	TAILQ_INIT(&broker->domains_by_known);
	TAILQ_INIT(&broker->links_by_judgement);
	TAILQ_INIT(&broker->names_by_judgement);
	TAILQ_INIT(&broker->ending);
	TAILQ_INIT(&broker->dying);
	TAILQ_INIT(&broker->buried);
	TAILQ_INIT(&broker->names);
	TAILQ_INIT(&broker->pinged);
	TAILQ_INIT(&broker->aheads);
	errands_init(&broker->errands);
	captures_init(&broker->captures);
	for (unsigned i = 0; i < WATCH_STATES; i++)
		TAILQ_INIT(&broker->watches[i]);
	*ret_broker = broker;
	return 0;
}

/* Frees an object of each kind that has ended, so that neither kind waits for the other. */
static bool end_work(struct broker *broker)
{
	bool buried = broker_link_bury(broker);
	bool ended = process_end_work(broker);
	bool unwatched = watch_end_work(broker);

	return domain_end_work(broker) || ended || buried || unwatched;
}

void broker_free(struct broker *broker)
{
	struct domain *domain, *next;

	if (!broker)
		return;
	/* Nobody is told: the rings keep their messages, and the next msgd goes on from there. */
	broker->ops = NULL;
	HASH_ITER (hh, broker->domains, domain, next)
		domain_end(domain);
	while (end_work(broker))
		;
	errands_free(broker);
	refusals_forget(broker);
	blocks_forget(broker);
	assert(!broker->links && !broker->announced && !broker->pairs && !broker->tallies);
	assert(broker->bytes == 0);
	assert(TAILQ_EMPTY(&broker->working));
	free(broker);
}

void broker_set_now(struct broker *broker, uint64_t now_ns)
{
	broker->now_ns = now_ns;
}

void broker_set_wall(struct broker *broker, uint64_t wall_us)
{
	broker->wall_us = wall_us;
	if (!broker->since_us)
		broker->since_us = wall_us;
}

void broker_set_audit(struct broker *broker, enum broker_audit audit)
{
	broker->audit = audit;
}

const struct history *broker_history(const struct broker *broker)
{
	return &broker->history;
}

void broker_log(struct broker *broker, int priority, const char *format, ...)
{
	char text[768];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	broker_put_line(broker, priority, &(struct broker_line){.id = NULL}, false, text);
}

void reason_set(char ret_reason[REASON_SIZE], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(ret_reason, REASON_SIZE, format, args);
	va_end(args);
}

bool broker_work_left(const struct broker *broker)
{
	return !TAILQ_EMPTY(&broker->due) || broker_request_work_left(broker) ||
	       rejudge_work_left(broker) || watch_work_left(broker) ||
	       !TAILQ_EMPTY(&broker->errands.due) || !TAILQ_EMPTY(&broker->buried) ||
	       !TAILQ_EMPTY(&broker->dying) || !TAILQ_EMPTY(&broker->ending) || broker->quiesce_due;
}

bool broker_work(struct broker *broker, uint64_t cost)
{
	uint64_t end = broker->cost + cost;

	while (broker_work_left(broker) && broker->cost < end) {
		if (rejudge_known(broker))
			continue;
		(void)announce_work(broker);
		(void)errand_work(broker);
		(void)broker_request_work(broker);
		(void)rejudge_work(broker);
		(void)watch_work(broker);
		quiesce_work(broker);
		(void)end_work(broker);
		broker->cost++;
	}
	announce_timer(broker); /* the last application that is waited for may have ended */
	return broker_work_left(broker);
}

void broker_settle(struct broker *broker)
{
	if (broker->work_later) {
		announce_timer(broker);
		return;
	}
	/* Settling links can release requests; requests never release links. */
	while (announce_work(broker) || rejudge_work(broker))
		;
	(void)broker_work(broker, UINT64_MAX - broker->cost);
}

void broker_set_work_later(struct broker *broker)
{
	broker->work_later = true;
}

uint64_t broker_cost(const struct broker *broker)
{
	return broker->cost;
}

void broker_spend(struct broker *broker, uint64_t cost)
{
	broker->cost += cost;
}

void broker_set_policy(struct broker *broker, struct policy *policy)
{
	policy_take_hits(policy, broker->policy);
	refusals_move(broker, policy);
	broker->policy = policy;
	errands_forget_answers(broker);
	(void)rejudge_conditions(broker, policy);
	broker->judged = (struct broker_judged){.names = 0};
	rejudge_all(broker);
	broker_settle(broker);
}

bool broker_judged(const struct broker *broker, struct broker_judged *ret_judged)
{
	*ret_judged = broker->judged;
	return !rejudge_work_left(broker);
}

const struct policy *broker_policy(const struct broker *broker)
{
	return broker->policy;
}

void broker_set_limits(struct broker *broker, const struct broker_limits *limits,
	const struct assignments *assignments)
{
	struct domain *domain;

	broker->limits = *limits;
	broker->assignments = assignments;
	for (domain = broker->domains; domain; domain = domain->hh.next)
		domain->limits_own = false;
	domains_assign(broker);
	broker_settle(broker);
}

uint32_t broker_limit(struct broker *broker, uint16_t domid, enum quota quota)
{
	const struct domain *domain = domain_find(broker, domid);

	return domain ? domain->limits.quota[quota] : broker->limits.quota[quota];
}

void broker_record_lost(struct broker *broker)
{
	recovery_one_less(broker);
	broker_settle(broker);
}

void broker_tick(struct broker *broker)
{
	announce_tick(broker);
	errands_tick(broker);
	pings_tick(broker);
	ahead_tick(broker);
	broker_settle(broker);
}

void broker_gone(struct process *process, const char *reason)
{
	struct broker *broker = process->broker;
	struct broker_line line = {.id = MESSAGE_ID_GONE};
	char text[PROCESS_TEXT_SIZE];

	if (process->charge.domain)
		line.event = note_process(process, HISTORY_DETACHED, reason);
	process_describe(process, text, sizeof(text));
	domain_log_line(process->domain, LOG_INFO, &line, "%s is gone: %s", text, reason);
	process_free(process, reason);
	broker_settle(broker);
}

void broker_violation(struct process *process, const char *reason)
{
	struct broker *broker = process->broker;

	process_drop(process, PROCESS_DROP_VIOLATION, reason);
	broker_settle(broker);
}

static int process_message(struct process *process, const struct control_message *message)
{
	switch (message->type) {
	case CONTROL_HELLO:
		return process_hello(process, message);
	case CONTROL_LISTEN:
	case CONTROL_UNLISTEN:
		return listener_message(process, message);
	case CONTROL_CONNECT:
		return broker_request_connect(process, message);
	case CONTROL_CANCEL:
		return broker_request_cancel(process, message->request, ECANCELED);
	case CONTROL_EXPIRED:
		return broker_request_cancel(process, message->request, ETIMEDOUT);
	case CONTROL_SYNC:
		/*
		 * The answer comes after all messages that were sent before: ring and outbox keep
		 * the order.
		 */
		process_status(process, message->request, 0, NULL);
		return 0;
	case CONTROL_WATCH:
	case CONTROL_UNWATCH:
		return watch_message(process, message);
	case CONTROL_ACCEPTED:
	case CONTROL_CHANNEL_CLOSED:
	case CONTROL_CHANNEL_DONE:
	case CONTROL_CHANNEL_COUNTS:
		return broker_channel_message(process, message);
	case CONTROL_LINK_COUNTS:
	case CONTROL_ANSWER:
		return counts_message(process, message);
	case CONTROL_CAPTURING:
	case CONTROL_CAPTURED:
	case CONTROL_CAPTURED_BYTES:
	case CONTROL_CAPTURE_LOST:
		return capture_message(process, message);
	case CONTROL_AHEAD_REST:
		return ahead_message(process, message);
	case CONTROL_LINK_OFFER:
	case CONTROL_LINK_READY:
	case CONTROL_LINK_FAILED:
		return broker_link_message(process, message);
	case CONTROL_ANNOUNCE_LINK:
	case CONTROL_ANNOUNCE_CHANNEL:
	case CONTROL_ANNOUNCE_TERMS:
	case CONTROL_ANNOUNCE_DONE:
		return announce_message(process, message);
	default:
		return -EPROTO; /* ours to send */
	}
}

int broker_message(struct process *process, const struct control_message *message, int decoded)
{
	struct broker *broker = process->broker;
	char reason[REASON_SIZE];
	int r;

	broker->cost += COST_MESSAGE;
	/* Until HELLO, messages were meant for an earlier msgd: PROTOCOL.md 5.1. */
	if (process->state == PROCESS_NEW && (decoded < 0 || message->type != CONTROL_HELLO ||
						     message->hello.epoch != process->epoch))
		return 0;
	/* The application sent this before it read QUIESCE, and will send it again afterwards. */
	if (process->state == PROCESS_QUIESCING || quiesce_is_due(process))
		return 0;
	if (decoded == -EOPNOTSUPP) {
		process_status(process, message->request, EOPNOTSUPP, "unknown message type");
		return 0;
	}
	r = decoded < 0 ? decoded : process_message(process, message);
	if (r < 0) {
		reason_set(reason, r == -EBADMSG ? "malformed %s" : "%s not allowed now (%s)",
			control_type_name(message->type), strerrorname_np(-r));
		process_drop(process, PROCESS_DROP_VIOLATION, reason);
		r = -ECONNRESET;
	}
	broker_settle(broker);
	return r;
}
