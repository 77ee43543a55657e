/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The answer to each request of an admin client: see the header. */
#include "daemon/admin/answer.h"

#include <errno.h>
#include <stdio.h>
#include <syslog.h>
#include <unistd.h>

#include "base/report.h"
#include "daemon/admin/rights.h"
#include "daemon/admin/steer.h"
#include "daemon/admin/view.h"
#include "daemon/shell/server.h"

/* The name or the words of a file need not be UTF-8, as JSON is. */
static json_t *file_error_json(char *text)
{
	json_t *json = json_string(text);

	if (json)
		return json;
	for (char *c = text; *c; c++) {
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	}
	return json_string(text);
}

static json_t *answer_reload(const struct admin_subject *subject,
	const struct admin_request *request, struct admin_client *client, bool *ret_later)
{
	char error[ADMIN_ERROR_SIZE] = "";

	if (subject->reload(subject->arg, error) < 0)
		return json_pack("{s:o, s:b}", "error", file_error_json(error), "file", 1);
	return quiesce_wait_for_judgement(subject->quiesce, request, client, ret_later);
}

/* ---- a reload that is only tried ------------------------------------------------------------- */

static json_t *dry_run_errors(struct report *report)
{
	const char *name = admin_op_name(ADMIN_RELOAD_DRY_RUN);
	json_t *errors = json_array();

	for (unsigned i = 0; i < report->n; i++)
		(void)json_array_append_new(errors, file_error_json(report->lines[i]));
	return json_pack("{s:s, s:[], s:o, s:I}", "op", name, name, "errors", errors,
		"errors_left_out", (json_int_t)report->left_out);
}

static void dry_run_end(struct dry_run *run, const struct admin_client *client)
{
	if (run->client != client)
		return;
	policy_free(run->policy);
	*run = (struct dry_run){.client = NULL};
}

/* NULL: it is in subject->dry_run. */
static json_t *dry_run_begin(struct admin_subject *subject, const struct admin_client *client)
{
	struct report report = {.n = 0};
	struct policy *policy;

	if (subject->dry_run.client)
		return json_pack("{s:s}", "error",
			"another client's dry run is under way: try again in a moment");
	if (subject->try_reload(subject->arg, &policy, &report) < 0)
		return dry_run_errors(&report);
	admin_trial_begin(server_broker(subject->server), policy);
	subject->dry_run = (struct dry_run){.client = client, .policy = policy};
	return NULL;
}

static json_t *answer_dry_run(struct admin_subject *subject, const struct admin_request *request,
	const struct admin_client *client)
{
	json_t *answer = request->from == 0 ? dry_run_begin(subject, client) : NULL;

	if (answer)
		return answer;
	answer = admin_view_trial(server_broker(subject->server), request, subject->dry_run.policy);
	if (!admin_view_goes_on(answer, request))
		dry_run_end(&subject->dry_run, client);
	return answer;
}

static json_t *turns_json(const struct server *server)
{
	struct server_turns turns;

	server_turns(server, &turns);
	return json_pack("{s:I, s:I, s:I}", "count", (json_int_t)turns.n, "cpu_us",
		(json_int_t)(turns.cpu_ns / 1000), "longest_cpu_us",
		(json_int_t)(turns.longest_cpu_ns / 1000));
}

static json_t *answer_view(const struct admin_subject *subject, const struct admin_request *request)
{
	/* Real Xen tells nobody that a domain was paused or goes on. */
	if (request->op == ADMIN_DOMAINS && request->from == 0)
		(void)server_refresh_domains(subject->server);
	return admin_view(
		server_broker(subject->server), request, server_clock_ns(subject->server));
}

static json_t *answer_status(const struct admin_subject *subject)
{
	uint64_t now = server_clock_ns(subject->server);
	json_t *answer = admin_view_status(server_broker(subject->server));

	if (answer) {
		(void)json_object_set_new(answer, "version", json_string(subject->version));
		(void)json_object_set_new(answer, "pid", json_integer(getpid()));
		(void)json_object_set_new(answer, "hv", json_string(subject->hv_spec));
		(void)json_object_set_new(answer, "domid", json_integer(subject->domid));
		(void)json_object_set_new(answer, "turns", turns_json(subject->server));
		(void)json_object_set_new(answer, "uptime_s",
			json_integer((json_int_t)((now - subject->start_ns) / 1000000000)));
	}
	return answer;
}

/* For the log and the history: who did what, or could not (with a reason), or may not. */
static void note_action(const struct admin_subject *subject, const struct admin_request *request,
	const struct admin_client *client, int error, const char *reason)
{
	int fd = admin_client_fd(client);
	char text[REASON_SIZE];

	admin_request_describe(request, text, sizeof(text));
	server_note(subject->server, HISTORY_ADMIN, admin_uid(fd), (uint32_t)admin_pid(fd), error,
		text, reason);
}

static json_t *answer_not_permitted(enum admin_op op)
{
	char text[100];

	(void)snprintf(text, sizeof(text),
		"not permitted: %s is for root, and for the group of msgd.conf's 'operators'",
		admin_op_name(op));
	return json_pack("{s:s, s:s}", "error", text, "errno", strerrorname_np(EPERM));
}

static json_t *answer_request(struct admin_subject *subject, const struct admin_request *request,
	struct admin_client *client, bool *ret_later)
{
	if (steer_has(request->op))
		return steer_answer(subject, request);
	if (admin_op_lists(request->op))
		return answer_view(subject, request);
	switch (request->op) {
	case ADMIN_STATUS:
		return answer_status(subject);
	case ADMIN_LATENCY:
		return admin_view_latency(server_broker(subject->server));
	case ADMIN_RELOAD:
		return answer_reload(subject, request, client, ret_later);
	case ADMIN_RELOAD_DRY_RUN:
		return answer_dry_run(subject, request, client);
	case ADMIN_CAPTURE:
		return capture_answer(&subject->captures, subject->server, request, client);
	case ADMIN_WAIT:
		return quiesce_wait_for_name(subject->quiesce, request, client, ret_later);
	case ADMIN_REFRESH:
		return quiesce_wait_for_counts(subject->quiesce, request, client, ret_later);
	case ADMIN_PING:
		return quiesce_wait_for_ping(subject->quiesce, request, client, ret_later);
	case ADMIN_QUIESCE:
		return quiesce_begin(subject->quiesce, request, client, ret_later);
	case ADMIN_RESUME:
		return quiesce_resume(subject->quiesce, request);
	default:
		return NULL; /* there is no other */
	}
}

static json_t *on_request(void *arg, const struct admin_request *request,
	struct admin_client *client, bool *ret_later)
{
	struct admin_subject *subject = arg;
	/* A list of which some rows were given is under way. */
	bool act = admin_op_steers(request->op) && request->from == 0;
	/* An event of its own tells what came of a reload, which may end the audit. */
	bool before = request->op == ADMIN_RELOAD;
	json_t *answer;

	if (act && !admin_may_steer(admin_client_fd(client), subject->operators)) {
		note_action(subject, request, client, EPERM, NULL);
		return answer_not_permitted(request->op);
	}
	if (act && before)
		note_action(subject, request, client, 0, NULL);
	answer = answer_request(subject, request, client, ret_later);
	if (act && !before)
		note_action(subject, request, client, steer_error(answer),
			json_string_value(json_object_get(answer, "error")));
	return answer;
}

static void on_gone(void *arg, const struct admin_client *client)
{
	struct admin_subject *subject = arg;

	quiesce_cancel(subject->quiesce, client);
	dry_run_end(&subject->dry_run, client);
	capture_gone(&subject->captures, subject->server, client);
}

static void on_log(void *arg, const char *text)
{
	const struct admin_subject *subject = arg;

	server_log(subject->server, BROKER_LOG_CLIENTS, LOG_NOTICE, "%s", text);
}

const struct admin_ops admin_answers = {.answer = on_request, .gone = on_gone, .log = on_log};
