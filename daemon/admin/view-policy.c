/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Policy for people: how a verdict comes about, the rules in force, and names and channels that
 * another policy would not permit. A verdict must be that of the broker: lookup.c and listener.c.
 */
#include <stdio.h>
#include <string.h>

#include "base/report.h"
#include "daemon/admin/rows.h"
#include "daemon/admin/view.h"
#include "daemon/broker/channel.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/process.h"
#include "daemon/broker/rejudge.h"
#include "daemon/broker/state.h"
#include "daemon/broker/steer.h"

json_t *rule_json(const char *file, unsigned line)
{
	const struct policy_verdict verdict = {.file = file, .line = line};
	char rule[REASON_SIZE];

	policy_verdict_rule(&verdict, rule, sizeof(rule));
	return text_json(rule);
}

/* ---- a question ------------------------------------------------------------------------------ */

/* A domain of the question: that which is there, or what is known of it by its address. */
struct asked_domain {
	struct policy_subject subject;
	const char *name;      /* borrowed: of the one that is there, or NULL */
	struct domain *domain; /* the same */
};

/* -ENOTUNIQ as a sentence, or NULL. */
static const char *find_domain(const struct broker *broker, const struct domain_address *address,
	struct asked_domain *ret_asked)
{
	struct asked_domain asked = {.subject = address->fact};
	struct domain *domain;

	for (domain = broker->domains; domain; domain = domain->hh.next) {
		const struct broker_domain_info *info = &domain->info;

		if (domain_is_dead(info) ||
			!domain_address_is(address, info->name, info->uuid, info->domid))
			continue;
		if (asked.name)
			return "several domains have that name: say domid:N or uuid:U";
		asked.subject = domain_subject(domain);
		asked.name = info->name;
		asked.domain = domain;
	}
	*ret_asked = asked;
	return NULL;
}

/*
 * No domain is named, and no rule `to default` decides: the holder to which the connect would come,
 * else one that is refused, else whichever.
 */
static void find_holder(const struct broker *broker, struct policy_question *question,
	struct asked_domain *ret_holder)
{
	struct asked_domain found = {.subject = {.domid = POLICY_DOMID_UNKNOWN}};
	struct policy_verdict verdict;
	struct policy_named named;
	struct name_key keys[2];
	struct domain *domain;
	bool comes;

	name_keys(question->name, keys);
	(void)policy_find(broker->policy, question->name, true, &named);
	for (domain = broker->domains; domain; domain = domain->hh.next) {
		const struct listener *listener = listener_by_keys(domain, keys);
		struct policy_subject subject = domain_subject(domain);

		if (!listener || !listener_permitted(listener))
			continue;
		(void)policy_judge_named(
			broker->policy, &named, question->caller, &subject, POLICY_EXACT, &verdict);
		comes = verdict.allow && lookup_stays(&verdict, domain);
		if (found.name && !comes)
			continue;
		found = (struct asked_domain){
			.subject = subject, .name = domain->info.name, .domain = domain};
		if (comes)
			break;
	}
	*ret_holder = found;
	question->target = &ret_holder->subject;
	question->mode = found.name ? POLICY_EXACT : POLICY_ANY;
}

static void find_default(
	const struct broker *broker, struct policy_question *question, struct asked_domain *ret_to)
{
	struct policy_verdict verdict;

	(void)policy_judge(
		broker->policy, question->name, question->caller, NULL, POLICY_EXACT, &verdict);
	if (!verdict.file)
		find_holder(broker, question, ret_to);
}

static json_t *step_json(const struct policy_step *step)
{
	return json_pack("{s:o, s:s, s:b, s:b}", "rule", rule_json(step->file, step->line),
		"reason", step->reason, "decides", step->decides, "allow", step->allow);
}

/* The domain by its name or, if it is not there, by its address. */
static json_t *asked_json(const struct asked_domain *asked, const char *address)
{
	if (!asked->name && !*address)
		return json_null();
	return json_pack("{s:o, s:b}", "name", text_json(asked->name ? asked->name : address),
		"there", asked->name != NULL);
}

/* The block, "DOMAIN" or "DOMAIN/NAME", that keeps a listen or a connect from the domain. */
static json_t *block_json(const struct asked_domain *asked, const char *name)
{
	struct domain *domain = asked->domain;
	const struct listener *listener;
	char text[DOMAIN_NAME_SIZE + NAME_SIZE];
	struct name_key keys[2];

	if (!domain)
		return NULL;
	if (domain_is_blocked(domain))
		return text_json(asked->name);
	/* A holder may have the name without its argument. */
	name_keys(name, keys);
	listener = listener_by_keys(domain, keys);
	if (listener)
		name = listener->name;
	if (!name_is_blocked(domain, name))
		return NULL;
	(void)snprintf(text, sizeof(text), "%s/%s", asked->name, name);
	return text_json(text);
}

static json_t *blocked_json(const struct rows *rows, const struct policy_step *step,
	const struct asked_domain *from, const struct asked_domain *to)
{
	const struct admin_request *request = rows->request;

	if (request->listen)
		return block_json(from, request->name);
	if (from->domain && domain_is_blocked(from->domain))
		return text_json(from->name);
	return step->redirects ? NULL : block_json(to, request->name);
}

static json_t *verdict_json(const struct rows *rows, const struct policy_step *step,
	const struct asked_domain *from, const struct asked_domain *to)
{
	const struct policy *policy = rows->broker->policy;
	json_t *json = json_pack("{s:b, s:o, s:o, s:o, s:o*}", "allowed", step->allow, "rule",
		rule_json(step->file, step->line), "domain",
		asked_json(from, rows->request->domain), "to", asked_json(to, rows->request->to),
		"blocked", blocked_json(rows, step, from, to));
	struct policy_listed listed;

	if (policy_list(policy, step->rule, &listed))
		(void)json_object_set_new(json, "text", text_json(listed.text));
	return json;
}

/* A row is a rule; its place in the list is that in the policy. */
void policy_test_view(struct rows *rows)
{
	const struct admin_request *request = rows->request;
	const struct broker *broker = rows->broker;
	struct asked_domain from, to = {.name = NULL};
	struct policy_question question = {.name = request->name};
	struct domain_address address;
	struct policy_step step;
	size_t pos = request->from;

	rows->of = broker->generation;
	if (pos && request->of != rows->of)
		rows->error = "policy or domains have changed meanwhile: ask again";
	else
		rows->error = find_domain(broker, &rows->domain, &from);
	if (!rows->error && admin_request_has(request, ADMIN_KEY_TO)) {
		(void)domain_address_parse(request->to, &address); /* the request was checked */
		rows->error = find_domain(broker, &address, &to);
		question.target = &to.subject;
		question.mode = to.name ? POLICY_EXACT : POLICY_ABSENT;
	}
	if (rows->error)
		return;
	if (request->listen) {
		question.target = &from.subject;
	} else {
		question.caller = &from.subject;
		if (!question.target)
			find_default(broker, &question, &to);
	}
	while (!rows->full && policy_explain(broker->policy, &question, &pos, &step)) {
		(void)json_array_append_new(rows->rows, step_json(&step));
		rows->full = json_array_size(rows->rows) == ADMIN_ROWS_A_TURN && !step.decides;
	}
	rows->next = pos;
	rows->n = policy_rules(broker->policy) + 1;
	if (!rows->full)
		rows->end = verdict_json(rows, &step, &from, &to);
}

/* ---- the rules ------------------------------------------------------------------------------- */

void policy_list_view(struct rows *rows)
{
	const struct policy *policy = rows->broker->policy;
	struct policy_listed listed;

	rows->of = policy_serial(policy);
	if (rows->request->from && rows->request->of != rows->of) {
		rows->error = "the policy has been reloaded meanwhile: ask again";
		return;
	}
	for (size_t number = 1; number <= policy_rules(policy); number++) {
		if (rows_skip(rows, 1))
			continue;
		(void)policy_list(policy, number, &listed);
		rows_add(rows,
			json_pack("{s:o, s:o, s:I}", "rule", rule_json(listed.file, listed.line),
				"text", text_json(listed.text), "hits", (json_int_t)listed.hits));
	}
	if (!rows->full)
		rows->end = json_pack("{s:o}", "policy_errors", report_json(policy_errors(policy)));
}

/* ---- a policy that is not in force ----------------------------------------------------------- */

/* The work of a judgement, which was counted by the broker. */
static void trial_spend(struct rows *rows, uint64_t cost_before)
{
	rows_spend(rows, rows->broker->cost - cost_before);
}

static void trial_name(
	struct rows *rows, const struct listener *listener, const struct policy *policy)
{
	const struct process *process = listener->process;
	uint64_t cost = rows->broker->cost;
	struct policy_verdict verdict;

	if (!listener_permitted(listener) ||
		listener_would_be_permitted(listener, policy, &verdict))
		rows_pass(rows, 1);
	else
		rows_add(rows, json_pack("{s:s, s:o, s:o}", "name", listener->name, "holder",
				       process_json(process, process->domain->info.domid, 0),
				       "rule", rule_json(verdict.file, verdict.line)));
	trial_spend(rows, cost);
}

static void trial_channel(
	struct rows *rows, const struct broker_channel *channel, const struct policy *policy)
{
	const struct broker_link *link = channel->link;
	uint64_t cost = rows->broker->cost;
	struct policy_verdict verdict;

	if (channel->ahead || rejudge_would_permit(channel, policy, &verdict))
		rows_pass(rows, 1);
	else
		rows_add(rows, json_pack("{s:s, s:o, s:I, s:o, s:o, s:o}", "name",
				       broker_channel_name(channel), "link", uid_json(link->id.uid),
				       "channel", (json_int_t)channel->number, "from",
				       end_json(&link->ends[channel->caller]), "to",
				       end_json(&link->ends[!channel->caller]), "rule",
				       rule_json(verdict.file, verdict.line)));
	trial_spend(rows, cost);
}

static void trial_link(
	struct rows *rows, const struct broker_link *link, const struct policy *policy)
{
	const struct broker_channel *channel;
	size_t n = HASH_COUNT(link->channels);

	if (rows_skip(rows, n))
		return;
	/* Until it is up it has no channels that policy could end. */
	if (link->state != BROKER_LINK_UP) {
		rows_pass(rows, n);
		return;
	}
	for (channel = link->channels; channel; channel = channel->hh.next) {
		if (!rows_skip(rows, 1))
			trial_channel(rows, channel, policy);
	}
}

json_t *admin_view_trial(
	struct broker *broker, const struct admin_request *request, const struct policy *policy)
{
	struct rows rows = {.broker = broker, .request = request, .rows = json_array()};
	const struct broker_link *link;
	const struct listener *listener;

	TAILQ_FOREACH (listener, &broker->names, age_entry) {
		if (!rows_skip(&rows, 1))
			trial_name(&rows, listener, policy);
	}
	for (link = broker->links; link; link = link->hh.next)
		trial_link(&rows, link, policy);
	if (!rows.full)
		rows.end = json_pack("{s:I, s:[], s:o, s:I}", "rules",
			(json_int_t)policy_rules(policy), "errors", "warnings",
			report_json(policy_warnings(policy)), "warnings_left_out",
			(json_int_t)policy_warnings(policy)->left_out);
	return rows_answer(&rows);
}

void admin_trial_begin(struct broker *broker, struct policy *policy)
{
	(void)rejudge_conditions(broker, policy);
}
