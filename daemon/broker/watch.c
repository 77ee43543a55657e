/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Telling applications of names that come and go: PROTOCOL.md 5.6.
 *
 * All names are on one list, the newest last. A watch walks along it, one name in each portion of
 * work, and compares each with what the application was told. So the names that were there at
 * first, those that come, and all of them after a change of policy, are told by one loop. A name
 * that goes moves the objects by which watches were told of it to the watches' lists of what is
 * gone.
 *
 * Nothing is told that does not fit the application's ring at once, and nothing waits in its
 * outbox: a watch that finds no room stands still, and keeps no more than the names that were told.
 * An application that does not read, or names that flap, cost neither memory nor work.
 *
 * A watcher must never be told of a name that a connect of its would be refused.
 */
#include "daemon/broker/watch.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

#include "base/macro.h"
#include "daemon/broker/listener.h"
#include "daemon/broker/lookup.h"
#include "daemon/broker/process.h"
#include "daemon/broker/state.h"

static void watch_set_state(struct watch *watch, enum watch_state state)
{
	static const unsigned moves[WATCH_STATES] = {
		[WATCH_BEHIND] =
			ENUM_BIT(WATCH_BLOCKED) | ENUM_BIT(WATCH_IDLE) | ENUM_BIT(WATCH_ENDING),
		[WATCH_BLOCKED] = ENUM_BIT(WATCH_BEHIND) | ENUM_BIT(WATCH_ENDING),
		[WATCH_IDLE] = ENUM_BIT(WATCH_BEHIND) | ENUM_BIT(WATCH_ENDING),
		[WATCH_ENDING] = 0,
	};
	struct broker *broker = watch->broker;

	assert(moves[watch->state] & ENUM_BIT(state));
	TAILQ_REMOVE(&broker->watches[watch->state], watch, entry);
	watch->state = state;
	TAILQ_INSERT_TAIL(&broker->watches[state], watch, entry);
}

static void watch_awake(struct watch *watch)
{
	if (watch->state == WATCH_IDLE)
		watch_set_state(watch, WATCH_BEHIND);
}

static void watch_pay(struct watch *watch, uint32_t bytes)
{
	watch->bytes += bytes;
	domain_pay_bytes(watch->domain, bytes);
}

static void watch_repay(struct watch *watch, uint32_t bytes)
{
	watch->bytes -= bytes;
	domain_repay_bytes(watch->domain, bytes);
}

/* ---- names that were told ---------------------------------------------------------------- */

static struct watch_told *told_find(const struct watch *watch, const struct listener *listener)
{
	struct watch_told *told;

	HASH_FIND_PTR(watch->told, &listener, told);
	return told;
}

/* The name is gone, for this watch at least, of which the application is to be told. */
static void told_gone(struct watch_told *told)
{
	LIST_REMOVE(told, entry);
	HASH_DELETE(hh, told->watch->told, told);
	told->listener = NULL;
	TAILQ_INSERT_TAIL(&told->watch->gone, told, gone_entry);
	watch_awake(told->watch);
}

/* It is gone. */
static void told_free(struct watch_told *told)
{
	struct watch *watch = told->watch;

	watch->broker->cost += COST_OBJECT;
	TAILQ_REMOVE(&watch->gone, told, gone_entry);
	watch_repay(watch, told->bytes);
	free(told);
}

static void watch_fail(struct watch *watch, int error, const char *why)
{
	watch->error = error;
	watch->why = why;
	domain_log(watch->domain, LOG_NOTICE, "%s(%u): the watch for %s ends: %s",
		watch->domain->info.name, watch->domain->info.domid, watch->pattern, why);
}

/* NULL: there must not be another one, or there is no memory. The watch fails then. */
static struct watch_told *told_new(
	struct watch *watch, struct listener *listener, const char *address)
{
	struct domain *domain = watch->domain;
	uint32_t size = (uint32_t)(sizeof(struct watch_told) + strlen(address) + 1);
	uint32_t bytes = size + 2 * OBJECT_OVERHEAD;
	struct watch_told *told;

	if (HASH_COUNT(watch->told) >= WATCH_NAMES_MAX) {
		watch_fail(watch, EDQUOT, "more names fit it than one watch can hold");
		return NULL;
	}
	/* Other domains make the names: they must leave this one half of its memory. */
	if (domain->bytes + bytes > domain->limits.bytes / 2) {
		watch_fail(watch, EDQUOT, "its names take a half of the memory of this domain");
		return NULL;
	}
	told = calloc(1, size);
	if (told) {
		told->watch = watch;
		told->listener = listener;
		told->bytes = bytes;
		strcpy(told->address, address);
		HASH_ADD_PTR(watch->told, listener, told);
	}
	if (!told || !hash_added(&told->hh)) {
		free(told);
		watch_fail(watch, ENOBUFS, "msgd is out of memory");
		return NULL;
	}
	LIST_INSERT_HEAD(&listener->told, told, entry);
	watch_pay(watch, bytes);
	return told;
}

/* ---- telling ----------------------------------------------------------------------------- */

/* False: there is no room. */
static bool tell_name(struct watch *watch, bool come, const char *address)
{
	struct control_message message = {.type = CONTROL_NAME};

	message.name.watch = watch->handle;
	message.name.come = come;
	strcpy(message.name.address, address);
	return outbox_offer(watch->process, &message);
}

static bool tell_done(struct watch *watch)
{
	struct control_message message = {.type = CONTROL_NAMES_DONE};

	message.names_done.watch = watch->handle;
	message.names_done.error = (uint32_t)watch->error;
	if (watch->error)
		reason_set(message.names_done.reason, "%s", watch->why);
	return outbox_offer(watch->process, &message);
}

/*
 * The domain as a connect can name it. A name that would be read as a number or a uuid names
 * another domain.
 */
static void domain_text(const struct domain *domain, char ret_text[DOMAIN_NAME_SIZE])
{
	char address[ADDRESS_SIZE], text[DOMAIN_NAME_SIZE], name[NAME_SIZE];
	const char *called = domain->info.name;

	(void)snprintf(address, sizeof(address), "%s/x", called);
	if (strncmp(called, "domid:", 6) == 0 || strncmp(called, "uuid:", 5) == 0 ||
		address_split(address, text, name) < 0)
		lookup_canonical_domid(domain->info.domid, text);
	(void)snprintf(ret_text, DOMAIN_NAME_SIZE, "%s", text);
}

/* Its cost grows with both lengths, which guests chose. */
static bool fits(struct broker *broker, const char *glob, const char *text)
{
	broker->cost += 3 + strlen(glob) * strlen(text) / 16;
	return policy_glob(glob, text);
}

static bool domain_fits(const struct watch *watch, const struct domain *domain, const char *text)
{
	const char *glob = watch->domain_glob;
	char form[DOMAIN_NAME_SIZE];

	if (strncmp(glob, "domid:", 6) == 0)
		lookup_canonical_domid(domain->info.domid, form);
	else if (strncmp(glob, "uuid:", 5) == 0)
		lookup_canonical_uuid(domain->info.uuid, form);
	else
		(void)snprintf(form, sizeof(form), "%s", text);
	return !glob[0] || fits(watch->broker, glob, form);
}

static bool name_wanted(
	const struct watch *watch, const struct listener *listener, const char *domain)
{
	/* An older libmsg would take a name with an argument for nonsense. */
	if (name_has_argument(listener->name) && !(watch->process->features & FEATURE_TERMS))
		return false;
	return fits(watch->broker, watch->name_glob, listener->name) &&
	       domain_fits(watch, listener->process->domain, domain) &&
	       lookup_permits(watch->process, listener);
}

/* Looks at the next name. False: there was no room to tell of it. */
static bool watch_look(struct watch *watch)
{
	struct listener *listener = watch->next;
	struct watch_told *told = told_find(watch, listener);
	char domain[DOMAIN_NAME_SIZE], address[ADDRESS_SIZE];
	bool wanted;

	domain_text(listener->process->domain, domain);
	(void)snprintf(address, sizeof(address), "%s/%s", domain, listener->name);
	wanted = name_wanted(watch, listener, domain);
	if (told && (!wanted || strcmp(told->address, address) != 0)) {
		told_gone(told); /* which is told first; then this is looked at again */
		return true;
	}
	if (!told && wanted) {
		told = told_new(watch, listener, address);
		if (!told)
			return true; /* the watch ends */
		if (!tell_name(watch, true, address)) {
			told_gone(told);
			told_free(told);
			return false;
		}
	}
	watch->next = TAILQ_NEXT(listener, age_entry);
	return true;
}

/* ---- its life ---------------------------------------------------------------------------- */

static struct watch *watch_find(const struct process *process, uint32_t handle)
{
	struct watch *watch;

	HASH_FIND(hh, process->watches, &handle, sizeof(handle), watch);
	return watch;
}

/* Its place in the quota is free at once; its memory is paid for until it is freed. */
static void watch_end(struct watch *watch)
{
	HASH_DELETE(hh, watch->process->watches, watch);
	watch->process = NULL;
	watch_pay(watch, quota_bytes(QUOTA_WATCHES));
	charge_return(&watch->charge);
	watch_set_state(watch, WATCH_ENDING);
}

void watch_end_all(struct process *process)
{
	/* As many as its domain may have. */
	while (process->watches)
		watch_end(process->watches);
}

bool watch_end_work(struct broker *broker)
{
	struct watch *watch = TAILQ_FIRST(&broker->watches[WATCH_ENDING]);

	if (!watch)
		return false;
	if (watch->told)
		told_gone(watch->told);
	if (!TAILQ_EMPTY(&watch->gone)) {
		told_free(TAILQ_FIRST(&watch->gone));
		return true;
	}
	broker->cost += COST_OBJECT;
	TAILQ_REMOVE(&broker->watches[WATCH_ENDING], watch, entry);
	watch_repay(watch, watch->bytes);
	free(watch);
	return true;
}

/* -ENOMEM, -EDQUOT with a reason. */
static int watch_new(
	struct process *process, const struct control_watch *asked, char ret_reason[REASON_SIZE])
{
	struct broker *broker = process->broker;
	struct watch *watch = calloc(1, sizeof(*watch));
	int r = -ENOMEM;

	if (watch)
		r = charge_take(&watch->charge, process->domain, QUOTA_WATCHES, ret_reason);
	if (r < 0) {
		free(watch);
		return r;
	}
	watch->broker = broker;
	watch->process = process;
	watch->domain = process->domain;
	watch->handle = asked->watch;
	memcpy(watch->pattern, asked->pattern, sizeof(watch->pattern));
	(void)pattern_split(asked->pattern, watch->domain_glob, watch->name_glob);
	TAILQ_INIT(&watch->gone);
	HASH_ADD(hh, process->watches, handle, sizeof(watch->handle), watch);
	if (!hash_added(&watch->hh)) {
		charge_return(&watch->charge);
		free(watch);
		return -ENOMEM;
	}
	watch->next = TAILQ_FIRST(&broker->names);
	TAILQ_INSERT_TAIL(&broker->watches[WATCH_BEHIND], watch, entry);
	return 0;
}

int watch_message(struct process *process, const struct control_message *message)
{
	bool ends = message->type == CONTROL_UNWATCH;
	struct watch *watch =
		watch_find(process, ends ? message->unwatch.watch : message->watch.watch);
	char reason[REASON_SIZE] = "";
	int r;

	if (process->state != PROCESS_READY)
		return -EPROTO;
	if (ends) {
		if (watch)
			watch_end(watch);
		return 0;
	}
	if (watch)
		return -EPROTO;
	r = watch_new(process, &message->watch, reason);
	process_status(process, message->request, -r, reason);
	return 0;
}

/* ---- changes ----------------------------------------------------------------------------- */

void watch_unblock(struct process *process)
{
	struct watch *watch;
	bool any = false;

	for (watch = process->watches; watch; watch = watch->hh.next) {
		if (watch->state != WATCH_BLOCKED)
			continue;
		watch_set_state(watch, WATCH_BEHIND);
		any = true;
	}
	if (any)
		broker_settle(process->broker);
}

void watch_name_came(struct listener *listener)
{
	struct broker *broker = listener->process->broker;
	struct watch *watch;

	LIST_INIT(&listener->told);
	TAILQ_INSERT_TAIL(&broker->names, listener, age_entry);
	while ((watch = TAILQ_FIRST(&broker->watches[WATCH_IDLE]))) {
		broker->cost++;
		watch_awake(watch);
	}
	/* The new name is the next one of watches that had looked at all others. */
	for (enum watch_state state = WATCH_BEHIND; state <= WATCH_BLOCKED; state++) {
		TAILQ_FOREACH (watch, &broker->watches[state], entry) {
			broker->cost++;
			if (!watch->next)
				watch->next = listener;
		}
	}
}

void watch_name_gone(struct listener *listener)
{
	struct broker *broker = listener->process->broker;
	struct listener *next = TAILQ_NEXT(listener, age_entry);
	struct watch *watch;

	/* An idle one has looked at all. */
	for (enum watch_state state = WATCH_BEHIND; state <= WATCH_BLOCKED; state++) {
		TAILQ_FOREACH (watch, &broker->watches[state], entry) {
			broker->cost++;
			if (watch->next == listener)
				watch->next = next;
		}
	}
	TAILQ_REMOVE(&broker->names, listener, age_entry);
	while (!LIST_EMPTY(&listener->told)) {
		broker->cost += COST_OBJECT;
		told_gone(LIST_FIRST(&listener->told));
	}
}

void watch_all_again(struct broker *broker)
{
	struct watch *watch;

	for (enum watch_state state = WATCH_BEHIND; state <= WATCH_BLOCKED; state++) {
		TAILQ_FOREACH (watch, &broker->watches[state], entry)
			watch->next = TAILQ_FIRST(&broker->names);
	}
	while ((watch = TAILQ_FIRST(&broker->watches[WATCH_IDLE]))) {
		watch->next = TAILQ_FIRST(&broker->names);
		watch_awake(watch);
	}
}

void watch_recovered(struct broker *broker)
{
	while (!TAILQ_EMPTY(&broker->watches[WATCH_IDLE]))
		watch_awake(TAILQ_FIRST(&broker->watches[WATCH_IDLE]));
}

/* ---- work -------------------------------------------------------------------------------- */

/* Names that are gone come first: so no more are remembered than there were at once. */
static void watch_step(struct watch *watch)
{
	struct watch_told *gone = TAILQ_FIRST(&watch->gone);
	bool room = true;

	if (watch->error) {
		room = tell_done(watch);
		if (room)
			watch_end(watch);
	} else if (gone) {
		room = tell_name(watch, false, gone->address);
		if (room)
			told_free(gone);
	} else if (watch->next) {
		room = watch_look(watch);
	} else if (!watch->done && !watch->broker->recovering) {
		room = watch->done = tell_done(watch);
	} else {
		watch_set_state(watch, WATCH_IDLE);
	}
	if (!room)
		watch_set_state(watch, WATCH_BLOCKED);
}

bool watch_work(struct broker *broker)
{
	struct watch *watch = TAILQ_FIRST(&broker->watches[WATCH_BEHIND]);

	if (!watch)
		return false;
	broker->cost += COST_OBJECT;
	/* The others take their turns. */
	TAILQ_REMOVE(&broker->watches[WATCH_BEHIND], watch, entry);
	TAILQ_INSERT_TAIL(&broker->watches[WATCH_BEHIND], watch, entry);
	watch_step(watch);
	return true;
}

bool watch_work_left(const struct broker *broker)
{
	return !TAILQ_EMPTY(&broker->watches[WATCH_BEHIND]) ||
	       !TAILQ_EMPTY(&broker->watches[WATCH_ENDING]);
}
