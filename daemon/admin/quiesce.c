/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See quiesce.h. Each client that waits has a timer; there are few clients (ADMIN_CLIENTS_MAX). */
#include "daemon/admin/quiesce.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/event.h"
#include "base/report.h"
#include "daemon/admin/rows.h"
#include "daemon/admin/steer.h"
#include "daemon/admin/view.h"
#include "daemon/shell/server.h"

struct quiesce_wait {
	LIST_ENTRY(quiesce_wait) entry;
	struct quiesce *quiesce;     /* borrowed: the owner */
	struct admin_client *client; /* borrowed */
	struct event *timer;	     /* owned */
	/* For this domain to quiesce, or this ping; or for a name, counts or judgement: by the
	 * request's op. */
	uint16_t domid;
	struct broker_ping ping;
	struct admin_request request;
};

struct quiesce {
	struct event_base *base;	 /* borrowed */
	struct server *server;		 /* borrowed */
	struct event *look_event;	 /* owned */
	LIST_HEAD(, quiesce_wait) waits; /* owned */
};

static void quiesce_wait_free(struct quiesce_wait *wait)
{
	LIST_REMOVE(wait, entry);
	event_free(wait->timer);
	free(wait);
}

static json_t *domain_report(const struct quiesce *quiesce, uint16_t domid)
{
	json_t *answer;

	/* A paused domain cannot confirm, and real Xen tells nobody that a domain was paused. */
	(void)server_refresh_domains(quiesce->server);
	answer = admin_view_quiesced(server_broker(quiesce->server), domid);
	if (!answer)
		answer = json_pack(
			"{s:s}", "error", "the domain was resumed, or is gone, while this waited");
	return answer;
}

/* The domain need not be there yet. */
static bool name_is_there(const struct quiesce *quiesce, const struct admin_request *request)
{
	struct broker *broker = server_broker(quiesce->server);
	uint16_t domid;

	return broker_find_domain(broker, request->domain, &domid) == 0 &&
	       broker_has_name(broker, domid, request->name);
}

static json_t *name_report(const struct quiesce *quiesce, const struct admin_request *request)
{
	return json_pack("{s:s, s:s, s:s, s:b}", "op", admin_op_name(request->op), "domain",
		request->domain, "name", request->name, "found", name_is_there(quiesce, request));
}

static json_t *counts_report(const struct quiesce *quiesce)
{
	const struct broker *broker = server_broker(quiesce->server);

	return json_pack("{s:s, s:I, s:I}", "op", admin_op_name(ADMIN_REFRESH), "unanswered",
		(json_int_t)broker_counts_pending(broker), "asked_us",
		(json_int_t)(broker_counts_asked_ns(broker) / 1000));
}

static json_t *judged_report(const struct quiesce *quiesce)
{
	const struct broker *broker = server_broker(quiesce->server);
	const struct policy *policy = broker_policy(broker);
	const struct report *warnings = policy_warnings(policy);
	struct broker_judged counts;
	bool judged = broker_judged(broker, &counts);

	return json_pack("{s:s, s:b, s:I, s:o, s:I, s:b, s:I, s:I}", "op",
		admin_op_name(ADMIN_RELOAD), "reloaded", 1, "rules",
		(json_int_t)policy_rules(policy), "warnings", report_json(warnings),
		"warnings_left_out", (json_int_t)warnings->left_out, "judged", judged, "names",
		(json_int_t)counts.names, "channels", (json_int_t)counts.channels);
}

static json_t *ping_report(const struct quiesce *quiesce, const struct broker_ping *ping)
{
	struct broker *broker = server_broker(quiesce->server);
	struct broker_pong pong = {0};
	int r = broker_ping_look(broker, ping, &pong);

	if (r < 0)
		return json_pack(
			"{s:s}", "error", "the application has ended, or was dropped, unanswering");
	return json_pack("{s:s, s:i, s:I, s:o, s:b, s:I, s:I}", "op", admin_op_name(ADMIN_PING),
		"domid", (int)ping->domid, "pid", (json_int_t)ping->pid, "comm",
		text_json(ping->comm), "answered", r, "queue_us",
		(json_int_t)(pong.queue_ns / 1000), "answer_us",
		(json_int_t)(pong.answer_ns / 1000));
}

static bool is_over(const struct quiesce *quiesce, const struct quiesce_wait *wait)
{
	struct broker *broker = server_broker(quiesce->server);
	const struct admin_request *request = &wait->request;
	struct broker_judged counts;
	struct broker_pong pong;

	switch (request->op) {
	case ADMIN_PING:
		return broker_ping_look(broker, &wait->ping, &pong) != 0;
	case ADMIN_REFRESH:
		return broker_counts_pending(broker) == 0;
	case ADMIN_WAIT:
		return name_is_there(quiesce, request);
	case ADMIN_RELOAD:
		return broker_judged(broker, &counts);
	default:
		return !broker_quiesce_pending(broker, wait->domid);
	}
}

/* As it is now, complete or not. */
static json_t *report(const struct quiesce *quiesce, const struct quiesce_wait *wait)
{
	switch (wait->request.op) {
	case ADMIN_PING:
		return ping_report(quiesce, &wait->ping);
	case ADMIN_WAIT:
		return name_report(quiesce, &wait->request);
	case ADMIN_REFRESH:
		return counts_report(quiesce);
	case ADMIN_RELOAD:
		return judged_report(quiesce);
	default:
		return domain_report(quiesce, wait->domid);
	}
}

static void quiesce_wait_end(struct quiesce_wait *wait)
{
	struct admin_client *client = wait->client;
	json_t *answer = report(wait->quiesce, wait);

	quiesce_wait_free(wait);
	admin_answer(client, answer);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	quiesce_wait_end(arg);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct quiesce *quiesce = arg;
	struct quiesce_wait *wait, *next;
	bool judging = false;

	for (wait = LIST_FIRST(&quiesce->waits); wait; wait = next) {
		next = LIST_NEXT(wait, entry);
		if (is_over(quiesce, wait))
			quiesce_wait_end(wait);
		else
			judging |= wait->request.op == ADMIN_RELOAD;
	}
	/* A portion of that work is done a turn. */
	if (judging)
		event_turn_later(quiesce->look_event);
}

void quiesce_look(struct quiesce *quiesce)
{
	if (!LIST_EMPTY(&quiesce->waits))
		event_active(quiesce->look_event, EV_TIMEOUT, 1);
}

int quiesce_new(struct event_base *base, struct server *server, struct quiesce **ret_quiesce)
{
	struct quiesce *quiesce = calloc(1, sizeof(*quiesce));

	if (!quiesce)
		return -ENOMEM;
	quiesce->base = base;
	quiesce->server = server;
	LIST_INIT(&quiesce->waits);
	quiesce->look_event = event_new(base, -1, 0, on_look, quiesce);
	if (!quiesce->look_event) {
		free(quiesce);
		return -ENOMEM;
	}
	*ret_quiesce = quiesce;
	return 0;
}

void quiesce_free(struct quiesce *quiesce)
{
	if (!quiesce)
		return;
	assert(LIST_EMPTY(&quiesce->waits));
	event_free(quiesce->look_event);
	free(quiesce);
}

/* The things that it waits for are those of `what`. */
static int quiesce_wait_new(
	struct quiesce *quiesce, const struct quiesce_wait *what, struct admin_client *client)
{
	uint32_t timeout_ms = what->request.timeout_ms;
	struct timeval delay = {
		.tv_sec = timeout_ms / 1000, .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
	struct quiesce_wait *wait = calloc(1, sizeof(*wait));

	if (!wait)
		return -ENOMEM;
	*wait = *what;
	wait->quiesce = quiesce;
	wait->client = client;
	wait->timer = evtimer_new(quiesce->base, on_timeout, wait);
	if (!wait->timer || evtimer_add(wait->timer, &delay) < 0) {
		event_drop(wait->timer);
		free(wait);
		return -ENOMEM;
	}
	LIST_INSERT_HEAD(&quiesce->waits, wait, entry);
	return 0;
}

/* The report, if that which is waited for is so already, or a wait for it. */
static json_t *report_or_wait(struct quiesce *quiesce, const struct quiesce_wait *what,
	struct admin_client *client, bool *ret_later)
{
	int r;

	if (is_over(quiesce, what))
		return report(quiesce, what);
	r = quiesce_wait_new(quiesce, what, client);
	if (r < 0)
		return steer_refusal(r);
	*ret_later = true;
	return NULL;
}

json_t *quiesce_begin(struct quiesce *quiesce, const struct admin_request *request,
	struct admin_client *client, bool *ret_later)
{
	struct server *server = quiesce->server;
	struct quiesce_wait what = {.request = *request};
	int r = broker_find_domain(server_broker(server), request->domain, &what.domid);

	if (r == 0)
		r = server_quiesce(server, what.domid);
	if (r < 0)
		return steer_refusal(r);
	return report_or_wait(quiesce, &what, client, ret_later);
}

json_t *quiesce_wait_for_name(struct quiesce *quiesce, const struct admin_request *request,
	struct admin_client *client, bool *ret_later)
{
	struct quiesce_wait what = {.request = *request};

	return report_or_wait(quiesce, &what, client, ret_later);
}

json_t *quiesce_wait_for_counts(struct quiesce *quiesce, const struct admin_request *request,
	struct admin_client *client, bool *ret_later)
{
	struct quiesce_wait what = {.request = *request};

	what.request.timeout_ms = ADMIN_REFRESH_MS;
	server_ask_counts(quiesce->server);
	return report_or_wait(quiesce, &what, client, ret_later);
}

json_t *quiesce_wait_for_ping(struct quiesce *quiesce, const struct admin_request *request,
	struct admin_client *client, bool *ret_later)
{
	struct broker *broker = server_broker(quiesce->server);
	struct broker_target target = {.pid = request->pid, .name = request->name};
	struct quiesce_wait what = {.request = *request};
	int r;

	if (admin_request_has(request, ADMIN_KEY_NAME) == admin_request_has(request, ADMIN_KEY_PID))
		return json_pack("{s:s}", "error", "an application is said by a name or a pid");
	r = broker_find_domain(broker, request->domain, &target.domid);
	if (r == 0)
		r = server_ping(quiesce->server, &target, &what.ping);
	if (r < 0)
		return steer_refusal(r);
	return report_or_wait(quiesce, &what, client, ret_later);
}

json_t *quiesce_wait_for_judgement(struct quiesce *quiesce, const struct admin_request *request,
	struct admin_client *client, bool *ret_later)
{
	struct quiesce_wait what = {.request = *request};
	struct broker_judged counts;

	if (broker_judged(server_broker(quiesce->server), &counts) ||
		quiesce_wait_new(quiesce, &what, client) < 0)
		return judged_report(quiesce);
	event_turn_later(quiesce->look_event);
	*ret_later = true;
	return NULL;
}

json_t *quiesce_resume(struct quiesce *quiesce, const struct admin_request *request)
{
	struct server *server = quiesce->server;
	uint16_t domid;
	int r = broker_find_domain(server_broker(server), request->domain, &domid);

	if (r == 0)
		r = server_resume(server, domid);
	if (r < 0 && r != -EALREADY)
		return steer_refusal(r);
	return json_pack("{s:s, s:s, s:i, s:b}", "op", "resume", "domain", request->domain, "domid",
		(int)domid, "was_quiesced", r == 0);
}

void quiesce_cancel(struct quiesce *quiesce, const struct admin_client *client)
{
	struct quiesce_wait *wait;

	LIST_FOREACH (wait, &quiesce->waits, entry) {
		if (wait->client != client)
			continue;
		quiesce_wait_free(wait);
		return;
	}
}
