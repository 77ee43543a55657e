/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See steer.h. Limits and levels are those of msgd.conf, judged by the subject. */
#include "daemon/admin/steer.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/macro.h"
#include "daemon/admin/answer.h"
#include "daemon/shell/server.h"

static int (*const steps[ADMIN_OP_COUNT])(
	struct broker *broker, const struct broker_target *target) = {
	[ADMIN_CLOSE] = broker_close,
	[ADMIN_KICK_APPLICATION] = broker_kick_application,
	[ADMIN_KICK_NAME] = broker_kick_name,
	[ADMIN_KICK_DOMAIN] = broker_kick_domain,
	[ADMIN_KICK_LINK] = broker_kick_link,
	[ADMIN_DRAIN] = broker_drain,
	[ADMIN_UNDRAIN] = broker_undrain,
	[ADMIN_BLOCK] = broker_block,
	[ADMIN_UNBLOCK] = broker_unblock,
};

bool steer_has(enum admin_op op)
{
	return steps[op] || op == ADMIN_SET_LIMIT || op == ADMIN_LOG_LEVEL;
}

static const struct {
	int error;
	const char *text;
} refusals[] = {
	{-ESRCH, "no such domain"},
	{-ENOTUNIQ, "several domains have that name: say domid:N or uuid:U"},
	{-EINVAL, "a domain is a name, domid:N or uuid:U"},
	{-EPERM, "domain 0 is not saved or migrated"},
	{-ENOLINK, "no such link"},
	{-ECHRNG, "no such channel on this link"},
	{-EBUSY, "its link has not come back since msgd's start: kick the link"},
	{-EAGAIN, "the application is coming back after msgd's restart, or quiesces: try "
		  "again"},
	{-EOPNOTSUPP, "the application's libmsg is too old to be asked (it lacks the "
		      "feature 'counts')"},
	{-ENOENT, "no application of this domain says that it is this process"},
	{-EADDRNOTAVAIL, "nobody listens on this name in this domain"},
	{-EUSERS, "8 captures are under way: no more"},
	{-ENOSPC, "64 domains and names are blocked: a rule of policy can deny more"},
	{-ENOMEM, "msgd is out of memory"},
};

json_t *steer_refusal(int error)
{
	size_t i = 0;

	while (i + 1 < ARRAY_SIZE(refusals) && refusals[i].error != error)
		i++;
	return json_pack("{s:s, s:s}", "error", refusals[i].text, "errno",
		strerrorname_np(-refusals[i].error));
}

int steer_error(const json_t *answer)
{
	const char *text = json_string_value(json_object_get(answer, "error"));

	if (!text)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		if (strcmp(refusals[i].text, text) == 0)
			return -refusals[i].error;
	}
	return EINVAL;
}

static json_t *done(const struct admin_request *request, int r)
{
	return r < 0 ? steer_refusal(r)
		     : json_pack("{s:s, s:b}", "op", admin_op_name(request->op), "done", 1);
}

/* r: of the subject's judge of settings, which gives the sentence. */
static json_t *setting_refusal(int r, const char *error)
{
	return r == -EINVAL ? json_pack("{s:s}", "error", error) : steer_refusal(r);
}

static json_t *set_limit(
	const struct admin_subject *subject, const struct admin_request *request, uint16_t domid)
{
	struct broker *broker = server_broker(subject->server);
	struct broker_limits limits;
	char error[ADMIN_ERROR_SIZE] = "";
	int r = broker_domain_limits(broker, domid, &limits);

	if (r == 0) {
		r = subject->limit(&limits, request->limit, request->value, error);
		if (r < 0)
			return setting_refusal(r, error);
		r = broker_set_domain_limits(broker, domid, &limits);
	}
	return done(request, r);
}

static json_t *set_log_level(
	const struct admin_subject *subject, const struct admin_request *request)
{
	char error[ADMIN_ERROR_SIZE] = "";
	int level, r = subject->log_level(request->level, &level, error);

	if (r < 0)
		return setting_refusal(r, error);
	log_open("msgd", level);
	return done(request, 0);
}

json_t *steer_answer(const struct admin_subject *subject, const struct admin_request *request)
{
	struct server *server = subject->server;
	struct broker_target target = {.pid = request->pid,
		.channel = request->channel,
		.link = request->link,
		.name = request->name,
		.domain = request->domain};
	int r = 0;

	if (request->op == ADMIN_LOG_LEVEL)
		return set_log_level(subject, request);
	/* The others need one that is there. */
	if (admin_request_has(request, ADMIN_KEY_DOMAIN) && request->op != ADMIN_UNBLOCK)
		r = broker_find_domain(server_broker(server), request->domain, &target.domid);
	if (r < 0)
		return steer_refusal(r);
	if (request->op == ADMIN_SET_LIMIT)
		return set_limit(subject, request, target.domid);
	return done(request, server_steer(server, steps[request->op], &target));
}
