/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Errands: see the header. An answer counts for exactly the facts that its program was told, and
 * for no request that is judged by another rule or by other facts; it must never permit what the
 * rules do not. How many programs run, and how often, is bounded for each domain that causes them,
 * and for all: there is no queue, more are refused.
 */
#include "daemon/broker/errand.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/macro.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/lookup.h"
#include "daemon/broker/process.h"
#include "daemon/broker/request.h"
#include "daemon/broker/state.h"
#include "daemon/broker/steer.h"

enum errand_kind { ERRAND_ASK, ERRAND_START };

enum errand_result {
	ERRAND_PENDING,
	ERRAND_ALLOWED,
	ERRAND_DENIED,
	ERRAND_FAILED, /* with a reason */
	ERRAND_LATE,   /* start: the domain or the name has not come */
	ERRAND_VOID,   /* a new policy, or nobody waits */
};

/* All that the program is told. Compared byte by byte: it begins as zeros and has no gaps. */
struct errand_key {
	uint32_t kind;
	uint32_t rule;
	uint64_t epoch;
	uint64_t caller, target; /* serials; 0: not there */
	char name[NAME_SIZE];
	char caller_name[DOMAIN_NAME_SIZE]; /* "": unknown, as of the target */
	char address[DOMAIN_NAME_SIZE];	    /* of the target, in one form; "": none was named */
	char target_name[DOMAIN_NAME_SIZE];
};

TAILQ_HEAD(errand_parts, errand_part);

struct errand {
	UT_hash_handle hh;	   /* broker->errands.by_key, while listed */
	TAILQ_ENTRY(errand) entry; /* *list */
	struct errand_list *list;  /* borrowed: active, or kept, or NULL: its requests own it */
	TAILQ_ENTRY(errand) due_entry;
	struct broker *broker; /* borrowed */
	struct domain *domain; /* borrowed: it pays; NULL: it is gone */
	uint64_t id;
	bool listed; /* others may join it */
	bool runs;   /* the program */
	bool due;
	enum errand_result result;
	uint64_t end_ns;  /* pending start: of the wait; with a result: of its being kept */
	uint32_t seconds; /* start: to wait for the domain */
	struct errand_parts waiting, told; /* borrowed: of requests */
	char rule[128];			   /* for the log */
	char reason[REASON_SIZE];
	struct errand_key key;
};

#define ERRAND_BYTES (sizeof(struct errand) + 2 * OBJECT_OVERHEAD)

void errands_init(struct broker_errands *errands)
{
	TAILQ_INIT(&errands->active);
	TAILQ_INIT(&errands->due);
	TAILQ_INIT(&errands->kept);
}

/* ---- where an errand is --------------------------------------------------------------------- */

static bool errand_is_active(const struct errand *errand)
{
	return errand->result == ERRAND_PENDING || errand->runs;
}

static unsigned *errand_count(struct errand *errand, const struct errand_list *list)
{
	if (list == &errand->broker->errands.active)
		return &errand->broker->errands.n_active;
	return list == &errand->broker->errands.kept ? &errand->broker->errands.n_kept
						     : &errand->domain->errands.n_kept;
}

static void errand_move(struct errand *errand, struct errand_list *list)
{
	struct errand_list *active = &errand->broker->errands.active;

	if (errand->list == list)
		return;
	if (errand->list) {
		TAILQ_REMOVE(errand->list, errand, entry);
		--*errand_count(errand, errand->list);
	}
	if (errand->domain && (errand->list == active) != (list == active))
		errand->domain->errands.n_active += list == active ? 1U : -1U;
	errand->list = list;
	if (list) {
		TAILQ_INSERT_TAIL(list, errand, entry);
		++*errand_count(errand, list);
	}
}

static void errand_unlist(struct errand *errand)
{
	if (errand->listed)
		HASH_DELETE(hh, errand->broker->errands.by_key, errand);
	errand->listed = false;
}

static void errand_disown(struct errand *errand)
{
	if (!errand->domain)
		return;
	if (errand->list == &errand->broker->errands.active)
		errand->domain->errands.n_active--;
	domain_repay_bytes(errand->domain, ERRAND_BYTES);
	errand->domain->errands.bytes -= ERRAND_BYTES;
	errand->domain = NULL;
}

static void errand_free(struct errand *errand)
{
	assert(TAILQ_EMPTY(&errand->waiting) && TAILQ_EMPTY(&errand->told) && !errand->due);
	errand_unlist(errand);
	errand_move(errand, NULL);
	errand_disown(errand);
	free(errand);
}

/* Nobody may join it any more: it is its requests', and ends with the last one. */
static void errand_let_go(struct errand *errand)
{
	errand_unlist(errand);
	errand_move(errand, NULL);
	if (TAILQ_EMPTY(&errand->waiting) && TAILQ_EMPTY(&errand->told))
		errand_free(errand);
}

/* Its result is that of others, too. The oldest such errand goes where there are too many. */
static void errand_keep(struct errand *errand)
{
	struct errand_list *kept = &errand->broker->errands.kept;
	unsigned max = ERRANDS_MAX;

	if (errand->key.kind == ERRAND_ASK) {
		kept = &errand->domain->errands.kept;
		max = DOMAIN_ANSWERS_MAX;
	} else {
		errand_disown(errand); /* it is there for all */
	}
	errand_move(errand, kept);
	if (*errand_count(errand, kept) > max)
		errand_let_go(TAILQ_FIRST(kept));
}

/* Puts it where it belongs by now. */
static void errand_settle(struct errand *errand)
{
	if (errand_is_active(errand))
		return;
	if (errand->listed)
		errand_keep(errand);
	else
		errand_let_go(errand);
}

static void errand_set_due(struct errand *errand)
{
	bool due = errand->result != ERRAND_PENDING && !TAILQ_EMPTY(&errand->waiting);

	if (due && !errand->due)
		TAILQ_INSERT_TAIL(&errand->broker->errands.due, errand, due_entry);
	else if (!due && errand->due)
		TAILQ_REMOVE(&errand->broker->errands.due, errand, due_entry);
	errand->due = due;
}

/* keep_ns: for so long the result is that of all who would join. */
static void errand_over(struct errand *errand, enum errand_result result, uint64_t keep_ns)
{
	assert(errand->result == ERRAND_PENDING);
	errand->result = result;
	errand->end_ns = errand->broker->now_ns + keep_ns;
	if (keep_ns == 0 || !errand->domain)
		errand_unlist(errand);
	errand_set_due(errand);
	errand_settle(errand);
}

static void errand_void(struct errand *errand)
{
	struct broker *broker = errand->broker;

	if (errand->runs && broker->ops && errand->key.kind == ERRAND_ASK)
		broker->ops->stop(broker->arg, errand->id);
	errand_over(errand, ERRAND_VOID, 0);
}

/* ---- the requests --------------------------------------------------------------------------- */

static void errand_join(
	struct errand *errand, struct broker_request *request, struct errand_part *part)
{
	part->errand = errand;
	part->request = request;
	part->told = errand->result != ERRAND_PENDING;
	TAILQ_INSERT_TAIL(part->told ? &errand->told : &errand->waiting, part, entry);
}

static void errand_leave(struct errand_part *part)
{
	struct errand *errand = part->errand;

	if (!errand)
		return;
	TAILQ_REMOVE(part->told ? &errand->told : &errand->waiting, part, entry);
	part->errand = NULL;
	errand_set_due(errand);
	/* A start goes on without them: the domain is half made. */
	if (errand->result == ERRAND_PENDING && TAILQ_EMPTY(&errand->waiting) &&
		(errand->key.kind == ERRAND_ASK || !errand->runs))
		errand_void(errand);
	else
		errand_settle(errand);
}

void errand_leave_all(struct broker_request *request)
{
	errand_leave(&request->asked);
	errand_leave(&request->start);
}

bool errand_work(struct broker *broker)
{
	struct errand *errand = TAILQ_FIRST(&broker->errands.due);
	struct errand_part *part;
	struct broker_request *request;

	if (!errand)
		return false;
	broker->cost += COST_OBJECT;
	part = TAILQ_FIRST(&errand->waiting);
	request = part->request;
	TAILQ_REMOVE(&errand->waiting, part, entry);
	TAILQ_INSERT_TAIL(&errand->told, part, entry);
	part->told = true;
	errand_set_due(errand);
	/* A name may have come meanwhile, and then it is to be tried already. */
	if (request->state == BROKER_REQUEST_ASKED || request->state == BROKER_REQUEST_STARTING)
		broker_request_set_state(request, BROKER_REQUEST_RETRY, NULL);
	return true;
}

/* ---- new ones ------------------------------------------------------------------------------- */

static struct errand *errand_find(struct broker *broker, const struct errand_key *key)
{
	struct errand *errand;

	HASH_FIND(hh, broker->errands.by_key, key, sizeof(*key), errand);
	if (!errand || errand->result == ERRAND_PENDING || broker->now_ns < errand->end_ns)
		return errand;
	errand_unlist(errand);
	errand_settle(errand);
	return NULL;
}

/* Whether one more may be run for the domain, which then pays. */
static int errand_may_run(struct domain *domain, char ret_reason[REASON_SIZE])
{
	static const struct rate rate = {.each_ns = ERRAND_NS, .burst = ERRAND_BURST};
	struct broker *broker = domain->broker;
	uint64_t wait = allowance_wait(&domain->errands.made, &rate, broker->now_ns);

	if (domain->errands.n_active >= DOMAIN_ERRANDS_MAX) {
		reason_set(ret_reason, "policy runs %u programs for %.70s, no more at once",
			DOMAIN_ERRANDS_MAX, domain->info.name);
		return -EDQUOT;
	}
	if (wait > 0) {
		reason_set(ret_reason,
			"policy's programs are run too often for %.50s: the next in %llu ms",
			domain->info.name, (unsigned long long)(wait / 1000000 + 1));
		return -EDQUOT;
	}
	if (domain->bytes + ERRAND_BYTES > domain->limits.bytes)
		return domain_out_of_bytes(domain, ret_reason);
	if (broker->errands.n_active >= ERRANDS_MAX) {
		reason_set(ret_reason, "policy runs %u programs, no more at once", ERRANDS_MAX);
		return -ENOBUFS;
	}
	allowance_pay(&domain->errands.made, ERRAND_NS, broker->now_ns);
	return 0;
}

/* The request, whose part it is, is the first to wait for it. */
static int errand_new(struct broker_request *request, struct errand_part *part,
	const struct errand_key *key, char ret_reason[REASON_SIZE])
{
	struct domain *domain = request->process->domain;
	struct broker *broker = domain->broker;
	struct errand *errand;
	int r = errand_may_run(domain, ret_reason);

	if (r < 0) {
		domain_log(domain, LOG_NOTICE, "%s(%u): %s", domain->info.name, domain->info.domid,
			ret_reason);
		return r;
	}
	errand = calloc(1, sizeof(*errand));
	if (!errand)
		return -ENOMEM;
	errand->broker = broker;
	errand->id = ++broker->errands.last_id;
	errand->key = *key;
	TAILQ_INIT(&errand->waiting);
	TAILQ_INIT(&errand->told);
	HASH_ADD(hh, broker->errands.by_key, key, sizeof(errand->key), errand);
	if (!hash_added(&errand->hh)) {
		free(errand);
		return -ENOMEM;
	}
	errand->listed = true;
	errand->domain = domain;
	domain_pay_bytes(domain, ERRAND_BYTES);
	domain->errands.bytes += ERRAND_BYTES;
	errand_move(errand, &broker->errands.active);
	errand_join(errand, request, part);
	return 0;
}

/* Ends a start that failed; for a while nobody tries again. */
static void errand_start_failed(struct errand *errand, const char *why)
{
	reason_set(errand->reason, "%.50s cannot be started: %s", errand->key.address, why);
	broker_log_about(errand->broker, errand->domain ? errand->domain->info.domid : DOMID_LIMIT,
		LOG_WARNING, "%s", errand->reason);
	errand_over(errand, ERRAND_FAILED, START_AGAIN_NS);
}

static void errand_ask_failed(struct errand *errand, const char *why)
{
	broker_log_about(errand->broker, errand->domain ? errand->domain->info.domid : DOMID_LIMIT,
		LOG_WARNING, "refused %s: the program of %s: %s", errand->key.name, errand->rule,
		why);
	reason_set(errand->reason, "denied by policy");
	errand_over(errand, ERRAND_FAILED, 0);
}

static void errand_run(struct errand *errand, const struct broker_program *program)
{
	struct broker *broker = errand->broker;
	int r = broker->ops->run(broker->arg, errand->id, program);

	broker->cost += COST_PROGRAM;
	errand->runs = r == 0;
	if (r == 0)
		return;
	if (errand->key.kind == ERRAND_ASK)
		errand_ask_failed(errand, strerror(-r));
	else
		errand_start_failed(errand,
			r == -EDESTADDRREQ ? "msgd.conf has no start-helper" : strerror(-r));
}

/* ---- ask ------------------------------------------------------------------------------------ */

static struct domain *target_find(const struct lookup *lookup, int found)
{
	struct broker *broker = lookup->caller->broker;
	const char *text = lookup->goes_to;
	uint16_t domid;

	if (found == 0)
		return lookup->listener->process->domain;
	broker->cost += HASH_COUNT(broker->domains);
	if (!text[0] || broker_find_domain(broker, text, &domid) < 0)
		return NULL;
	return domain_find(broker, domid);
}

static void name_set(char ret_name[DOMAIN_NAME_SIZE], const struct domain *domain)
{
	if (domain->name_known)
		(void)snprintf(ret_name, DOMAIN_NAME_SIZE, "%s", domain->info.name);
}

static void ask_key(const struct broker_request *request, const struct lookup *lookup,
	const struct domain *target, struct errand_key *ret_key)
{
	const struct domain *caller = request->process->domain;

	memset(ret_key, 0, sizeof(*ret_key));
	ret_key->kind = ERRAND_ASK;
	ret_key->rule = lookup->verdict.rule;
	ret_key->epoch = caller->broker->errands.epoch;
	ret_key->caller = caller->serial;
	(void)snprintf(ret_key->name, sizeof(ret_key->name), "%s", request->name);
	name_set(ret_key->caller_name, caller);
	if (lookup->goes_to[0])
		(void)lookup_canonical(lookup->goes_to, ret_key->address);
	if (!target)
		return;
	ret_key->target = target->serial;
	name_set(ret_key->target_name, target);
}

/* Whether a request that joined it has its answer, now that its question would be this one. */
static bool errand_answers(const struct errand *errand, const struct errand_key *key)
{
	struct errand_key absent = *key;

	if (memcmp(&errand->key, key, sizeof(*key)) == 0)
		return true;
	/* The domain that it named was not there then. */
	absent.target = 0;
	memset(absent.target_name, 0, sizeof(absent.target_name));
	return key->address[0] && memcmp(&errand->key, &absent, sizeof(absent)) == 0;
}

static int ask_new(struct broker_request *request, struct lookup *lookup,
	const struct errand_key *key, const struct domain *target)
{
	struct broker_program program = {.path = lookup->verdict.ask,
		.timeout_s = lookup->verdict.ask_timeout_s,
		.name = request->name,
		.from = domain_subject(request->process->domain)};
	int r = errand_new(request, &request->asked, key, lookup->reason);
	struct errand *errand = request->asked.errand;
	struct domain_address address = {.fact = {.domid = POLICY_DOMID_UNKNOWN}};

	if (r < 0)
		return r;
	/* One fact is known of a domain that is not there. */
	if (key->address[0])
		(void)domain_address_parse(key->address, &address);
	program.to = target ? domain_subject(target) : address.fact;
	policy_verdict_rule(&lookup->verdict, errand->rule, sizeof(errand->rule));
	program.rule = errand->rule;
	errand_run(errand, &program);
	return 0;
}

/* 0: permitted; ERRAND_ASKED; -EACCES and others with a reason. */
static int errand_ask(struct broker_request *request, struct lookup *lookup, int found)
{
	const struct domain *target = target_find(lookup, found);
	struct errand *errand = request->asked.errand;
	struct errand_key key;
	int r = 0;

	ask_key(request, lookup, target, &key);
	if (errand && (errand->result == ERRAND_VOID || !errand_answers(errand, &key)))
		errand_leave(&request->asked);
	if (!request->asked.errand) {
		errand = errand_find(request->process->broker, &key);
		if (errand)
			errand_join(errand, request, &request->asked);
		else
			r = ask_new(request, lookup, &key, target);
		if (r < 0)
			return r;
	}
	errand = request->asked.errand;
	if (errand->result == ERRAND_PENDING)
		return ERRAND_ASKED;
	if (errand->result == ERRAND_ALLOWED)
		return 0;
	lookup->verdict.allow = false;
	memcpy(lookup->reason, errand->reason, sizeof(lookup->reason));
	return -EACCES;
}

/* ---- start ---------------------------------------------------------------------------------- */

/*
 * A guest says the name, and the helper makes a command of it: so it has the alphabet of names, and
 * is no option.
 */
static bool start_name_valid(const char *name)
{
	for (const char *c = name; *c; c++) {
		if (!isascii(*c) || (!isalnum(*c) && !strchr("._-+", *c)))
			return false;
	}
	return isascii(name[0]) && isalnum(name[0]);
}

static int start_new(
	struct broker_request *request, struct lookup *lookup, const struct errand_key *key)
{
	struct broker_program program = {.timeout_s = lookup->verdict.start_timeout_s,
		.name = request->name,
		.from = domain_subject(request->process->domain),
		.to = {.name = key->address, .domid = POLICY_DOMID_UNKNOWN}};
	int r = errand_new(request, &request->start, key, lookup->reason);
	struct errand *errand = request->start.errand;

	if (r < 0)
		return r;
	errand->seconds = program.timeout_s;
	errand->end_ns = errand->broker->now_ns + UINT64_C(1000000000) * program.timeout_s;
	policy_verdict_rule(&lookup->verdict, errand->rule, sizeof(errand->rule));
	program.rule = errand->rule;
	errand_run(errand, &program);
	return 0;
}

static int start_over(const struct errand *errand, struct lookup *lookup, int found)
{
	if (errand->result == ERRAND_FAILED)
		memcpy(lookup->reason, errand->reason, sizeof(lookup->reason));
	else if (found == -EHOSTUNREACH)
		reason_set(lookup->reason, "%.60s was started, and has not come in %u s",
			errand->key.address, errand->seconds);
	else
		reason_set(lookup->reason,
			"%.40s was started, and nobody listens as %.40s after %u s",
			errand->key.address, lookup->name, errand->seconds);
	return found;
}

/* The domain or its name is not there. */
static int errand_start(struct broker_request *request, struct lookup *lookup, int found)
{
	const char *text = lookup->goes_to;
	struct errand *errand = request->start.errand;
	struct errand_key key;
	int r;

	if (!text[0] || strncmp(text, "domid:", 6) == 0 || strncmp(text, "uuid:", 5) == 0)
		return found;
	if (found == -EHOSTUNREACH &&
		absent_is_blocked(request->process->broker, text, lookup->name))
		return lookup_blocked(lookup);
	if (!errand) {
		memset(&key, 0, sizeof(key));
		key.kind = ERRAND_START;
		(void)snprintf(key.address, sizeof(key.address), "%s", text);
		errand = errand_find(request->process->broker, &key);
		/* It is there. WAIT_NAME may wait longer than a start. */
		if (found == -ENOENT && (!errand || errand->result != ERRAND_PENDING ||
						request->connect.flags & CONNECT_WAIT_NAME))
			return found;
		if (!errand && !start_name_valid(text)) {
			reason_set(lookup->reason, "no such domain, nor a name to start one by");
			return found;
		}
		r = 0;
		if (errand)
			errand_join(errand, request, &request->start);
		else
			r = start_new(request, lookup, &key);
		if (r < 0)
			return r;
		errand = request->start.errand;
	}
	return errand->result == ERRAND_PENDING ? ERRAND_STARTING
						: start_over(errand, lookup, found);
}

int errand_try(struct broker_request *request, struct lookup *lookup, int found)
{
	int r = 0;

	if (!lookup->verdict.allow || found == -EACCES)
		return found;
	if (lookup->verdict.ask)
		r = errand_ask(request, lookup, found);
	if (r != 0)
		return r;
	if (lookup->verdict.start && (found == -EHOSTUNREACH || found == -ENOENT))
		return errand_start(request, lookup, found);
	errand_leave(&request->start);
	return found;
}

/* ---- events --------------------------------------------------------------------------------- */

static struct errand *errand_by_id(struct broker *broker, uint64_t id)
{
	struct errand *errand;

	TAILQ_FOREACH (errand, &broker->errands.active, entry) {
		if (errand->id == id)
			return errand;
	}
	return NULL;
}

static void ask_answered(struct errand *errand, const struct broker_answer *answer)
{
	uint64_t keep_ns = UINT64_C(1000000000) * min_u32(answer->cache_s, ANSWER_CACHE_S_MAX);

	switch (answer->result) {
	case BROKER_ANSWER_ALLOW:
		errand_over(errand, ERRAND_ALLOWED, keep_ns);
		break;
	case BROKER_ANSWER_DENY:
		reason_set(errand->reason, "denied by policy%s%s", answer->reason[0] ? ": " : "",
			answer->reason);
		errand_over(errand, ERRAND_DENIED, keep_ns);
		break;
	default:
		errand_ask_failed(errand, answer->reason);
		break;
	}
}

void broker_answered(struct broker *broker, uint64_t id, const struct broker_answer *answer)
{
	struct errand *errand = errand_by_id(broker, id);

	broker->cost += COST_OBJECT;
	if (!errand || errand->result != ERRAND_PENDING)
		return;
	if (errand->key.kind == ERRAND_ASK)
		ask_answered(errand, answer);
	else if (answer->result != BROKER_ANSWER_ALLOW)
		errand_start_failed(errand, answer->reason);
	broker_settle(broker);
}

void broker_program_ended(struct broker *broker, uint64_t id)
{
	struct errand *errand = errand_by_id(broker, id);

	broker->cost += COST_OBJECT;
	assert(errand && errand->runs);
	errand->runs = false;
	if (errand->result != ERRAND_PENDING)
		errand_settle(errand);
	else if (errand->key.kind == ERRAND_ASK)
		errand_ask_failed(errand, "ended without an answer");
	else if (TAILQ_EMPTY(&errand->waiting))
		errand_void(errand);
	broker_settle(broker);
}

uint64_t errands_next_ns(const struct broker *broker)
{
	const struct errand *errand;
	uint64_t next = 0;

	TAILQ_FOREACH (errand, &broker->errands.active, entry) {
		if (errand->key.kind == ERRAND_START && errand->result == ERRAND_PENDING)
			next = next ? min_u64(next, errand->end_ns) : errand->end_ns;
	}
	return next;
}

void errands_tick(struct broker *broker)
{
	struct errand *errand, *next;

	for (errand = TAILQ_FIRST(&broker->errands.active); errand; errand = next) {
		next = TAILQ_NEXT(errand, entry);
		if (errand->key.kind == ERRAND_START && errand->result == ERRAND_PENDING &&
			errand->end_ns <= broker->now_ns)
			errand_over(errand, ERRAND_LATE, 0);
	}
}

/* ---- the ends ------------------------------------------------------------------------------- */

static void errands_drop(struct errand_list *kept)
{
	struct errand *errand;

	while ((errand = TAILQ_FIRST(kept)))
		errand_let_go(errand);
}

void errands_forget_answers(struct broker *broker)
{
	struct domain *domain, *next_domain;
	struct errand *errand, *next;

	broker->errands.epoch++;
	HASH_ITER (hh, broker->domains, domain, next_domain)
		errands_drop(&domain->errands.kept);
	for (errand = TAILQ_FIRST(&broker->errands.active); errand; errand = next) {
		next = TAILQ_NEXT(errand, entry);
		if (errand->key.kind == ERRAND_ASK && errand->result == ERRAND_PENDING)
			errand_void(errand);
	}
}

void errands_domain_gone(struct domain *domain)
{
	struct errand *errand, *next;

	errands_drop(&domain->errands.kept);
	for (errand = TAILQ_FIRST(&domain->broker->errands.active); errand; errand = next) {
		next = TAILQ_NEXT(errand, entry);
		if (errand->domain != domain)
			continue;
		if (errand->key.kind == ERRAND_ASK)
			errand_unlist(errand);
		errand_disown(errand);
	}
}

void errands_free(struct broker *broker)
{
	struct errand *errand;

	errands_drop(&broker->errands.kept);
	while ((errand = TAILQ_FIRST(&broker->errands.active)))
		errand_free(errand);
	assert(!broker->errands.by_key && TAILQ_EMPTY(&broker->errands.due));
}
