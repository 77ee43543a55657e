/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One seed's world: what it plans, the domains and applications, what is done to them at which
 * step, and what must be true at the end.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "libmsg/api/ctx.h"
#include "tests/simulate/simulate.h"

#define SLICE	       16U     /* steps between two looks at the world */
#define STEPS_IDLE_MAX 400000U /* without any progress */
#define STEPS_SETTLE   200000U
/* In a calm world, from an honest client's first try to its channel. */
#define STEPS_CONNECT_MAX 100000U
#define SETTLE_NS	  10000000000U
#define MEND_ONE_IN	  20U /* looks, until what was taken away comes back */

/* ---- the plan ------------------------------------------------------------------------------- */

uint32_t plan_pick(struct world *w, uint32_t n)
{
	uint64_t z = w->rng += 0x9e3779b97f4a7c15U;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
	z = (z ^ z >> 27) * 0x94d049bb133111ebU;
	return n ? (uint32_t)((z ^ z >> 31) >> 33) % n : 0;
}

static uint32_t plan_one_of(struct world *w, const uint32_t *values, uint32_t n)
{
	return values[plan_pick(w, n)];
}
#define ONE_OF(w, ...)                                                                             \
	plan_one_of(w, (const uint32_t[]){__VA_ARGS__},                                            \
		sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* A third of all worlds is calm: there every failure of a call is one of ours. */
/* By draws of its own: a world without hostile processes is what it would be. */
static void plan_hostile(struct world *w, uint32_t one_in)
{
	uint64_t rng = w->rng;

	w->rng = w->seed * 0xd1342543de82ef95U + 1;
	if (one_in && plan_pick(w, one_in) == 0) {
		w->plan.n_raw = plan_pick(w, 3);
		w->plan.n_liars = w->plan.n_raw ? plan_pick(w, 3) : 1 + plan_pick(w, 2);
		w->plan.hostile_destroyed = plan_pick(w, 3) == 0;
		w->plan.n_channels += 4; /* the others are to be at work meanwhile */
		if (!w->calm)
			w->plan.n_restarts += plan_pick(w, 2); /* some lies are about it */
	}
	w->rng = rng;
}

static void plan_make(struct world *w, struct sim_choices *ret_choices)
{
	struct plan *plan = &w->plan;
	bool calm = plan_pick(w, 3) == 0;

	*ret_choices = (struct sim_choices){
		.seed = w->seed,
		.step_ns = ONE_OF(w, 100, 1000, 20000, 1000000),
		.late_one_in = ONE_OF(w, 0, 2, 5, 20),
		.late_ns = ONE_OF(w, 1000, 50000, 5000000),
		.spurious_one_in = ONE_OF(w, 0, 10, 200),
		.preempt_one_in = ONE_OF(w, 0, 1, 3, 20),
	};
	plan->n_clients = 1 + plan_pick(w, 4);
	plan->n_channels = 1 + plan_pick(w, 6);
	plan->n_messages = ONE_OF(w, 2, 10, 60, 200);
	plan->long_messages = plan_pick(w, 4) == 0;
	plan->aborts = plan_pick(w, 4) == 0;
	plan->n_paused = plan_pick(w, 4) == 0 ? 1 + plan_pick(w, 3) : 0;
	w->calm = calm;
	if (calm)
		return;
	plan->faults = plan_pick(w, 3) != 0;
	plan->n_destroyed = plan_pick(w, 3) == 0 ? 1 + plan_pick(w, 3) : 0;
	plan->n_killed = plan_pick(w, 3) == 0 ? 1 + plan_pick(w, 4) : 0;
	plan->n_restarts = plan_pick(w, 3) == 0 ? 1 + plan_pick(w, 3) : 0;
	for (uint32_t i = 0; plan->faults && i < SIM_N_FAULTS; i++)
		ret_choices->fault_one_in[i] = ONE_OF(w, 0, 4, 10, 50);
}

/* ---- the verdict ---------------------------------------------------------------------------- */

void fail(struct world *w, const char *format, ...)
{
	struct sim_stats stats;
	va_list args;

	sim_get_stats(w->sim, &stats);
	(void)fflush(stdout);
	(void)fprintf(stderr, "seed %" PRIu64 ", step %" PRIu64 ": ", w->seed, stats.steps);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
	for (uint32_t i = 0; i < w->n_apps; i++)
		if (app_is_alive(w->apps[i]))
			app_describe(w->apps[i], stderr);
	(void)fprintf(stderr, "again: simulate --seed=%" PRIu64 " --trace\n", w->seed);
	_exit(1);
}

static void print_line(void *arg, const char *line)
{
	(void)puts(line);
}

/* Counts what the domain still holds of the hypervisor, when nobody in it runs any more. */
static void domain_check(struct world *w, uint16_t domid)
{
	const struct xen *xen = sim_xen(w->sim);
	const struct sim_domain *d = domain_at(xen, sim_domain_find(xen, domid));

	/* Port 0, and the guest kernel's VIRQ_ARGO. */
	if (d->n_ports != 1U + (d->flags & SIM_DOMAIN_ARGO ? 1U : 0U))
		fail(w, "domain %u has %u ports left", domid, d->n_ports);
	if (d->n_argo || d->n_shared || d->n_pinned)
		fail(w, "domain %u has left %u rings, %u shared pages, %u mappings of its pages",
			domid, d->n_argo, d->n_shared, d->n_pinned);
}

/* ---- domains and processes ------------------------------------------------------------------ */

static void domain_start(struct world *w, uint32_t i)
{
	struct domain *d = &w->domains[i];
	struct sim_domain_config config = {.name = d->name, .no_argo = d->no_argo, .fifo = d->fifo};

	if (sim_domain_create(w->sim, &config, &d->domid) < 0)
		fail(w, "domain %s cannot be made", d->name);
	d->there = true;
}

static void domains_plan(struct world *w)
{
	w->n_domains = 3 + plan_pick(w, 3);
	(void)strcpy(w->domains[0].name, "Domain-0");
	w->domains[0].there = true;
	for (uint32_t i = 1; i < w->n_domains; i++) {
		if (i == 1)
			(void)strcpy(w->domains[i].name, "web");
		else
			(void)snprintf(w->domains[i].name, sizeof(w->domains[i].name), "shop%u", i);
		w->domains[i].no_argo = plan_pick(w, 5) == 0;
		w->domains[i].fifo = plan_pick(w, 3) == 0;
		domain_start(w, i);
	}
}

/* One of those that run, or NULL. */
static struct app *app_any(struct world *w)
{
	struct app *alive[APPS_MAX];
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->n_apps; i++)
		if (app_is_alive(w->apps[i]))
			alive[n++] = w->apps[i];
	return n ? alive[plan_pick(w, n)] : NULL;
}

/* ---- deeds ---------------------------------------------------------------------------------- */

static void on_destroyed(void *arg, uint16_t domid)
{
	struct world *w = arg;

	for (uint32_t i = 1; i <= HOSTILE_DOMAIN; i++)
		if (w->domains[i].there && w->domains[i].domid == domid)
			w->domains[i].there = w->domains[i].paused = false;
	for (uint32_t i = 0; i < w->n_hostiles && !w->domains[HOSTILE_DOMAIN].there; i++)
		hostile_died(w->hostiles[i]);
	for (uint32_t i = 0; i < w->n_apps; i++)
		if (app_is_alive(w->apps[i]) && !w->domains[w->apps[i]->domain].there)
			app_die(w->apps[i], false);
	w->counts->domains_destroyed++;
}

static void deed_kill(struct world *w)
{
	struct app *app = app_any(w);

	if (!app)
		return;
	app_die(app, true);
	w->counts->processes_killed++;
}

static void deed_restart(struct world *w)
{
	if (!w->msgd)
		return;
	msgd_end(w, plan_pick(w, 2));
	w->counts->msgd_ended++;
}

static void deed_pause(struct world *w)
{
	uint32_t i = 1 + plan_pick(w, w->n_domains - 1);

	if (!w->domains[i].there)
		return;
	w->domains[i].paused = true;
	(void)sim_domain_pause(w->sim, w->domains[i].domid, true);
	w->counts->paused++;
}

static bool world_is_whole(const struct world *w)
{
	bool whole = w->msgd != NULL;

	for (uint32_t i = 0; i < w->n_apps; i++)
		whole &= w->apps[i]->state != APP_DIED;
	for (uint32_t i = 1; i < w->n_domains; i++)
		whole &= w->domains[i].there && !w->domains[i].paused;
	return whole;
}

/* A thing that was taken away comes back after a while. */
static void world_mend(struct world *w)
{
	if (!w->msgd && plan_pick(w, MEND_ONE_IN) == 0)
		msgd_start(w);
	for (uint32_t i = 1; i < w->n_domains; i++) {
		struct domain *d = &w->domains[i];

		if (!d->there && plan_pick(w, MEND_ONE_IN) == 0)
			domain_start(w, i);
		if (d->paused && plan_pick(w, MEND_ONE_IN) == 0) {
			d->paused = false;
			(void)sim_domain_pause(w->sim, d->domid, false);
		}
	}
	for (uint32_t i = 0, n = w->n_apps; i < n; i++)
		if (w->apps[i]->state == APP_DIED && w->domains[w->apps[i]->domain].there &&
			plan_pick(w, MEND_ONE_IN) == 0)
			app_replace(w->apps[i]);
}

/* ---- the run -------------------------------------------------------------------------------- */

struct deed {
	uint64_t step;
	void (*fn)(struct world *w);
};

#define DEEDS_MAX 16U

/* Early, where attaching is, or later. A world without preemption has some hundred steps. */
static uint64_t deed_step(struct world *w)
{
	return plan_pick(w, ONE_OF(w, 50, 300, 2000, 10000));
}

static uint32_t deeds_plan(struct world *w, struct deed deeds[DEEDS_MAX])
{
	const struct plan *plan = &w->plan;
	uint32_t n = 0;

	for (uint32_t i = 0; i < plan->n_killed; i++)
		deeds[n++] = (struct deed){deed_step(w), deed_kill};
	for (uint32_t i = 0; i < plan->n_restarts; i++)
		deeds[n++] = (struct deed){deed_step(w), deed_restart};
	for (uint32_t i = 0; i < plan->n_paused; i++)
		deeds[n++] = (struct deed){deed_step(w), deed_pause};
	for (uint32_t i = 0; i < plan->n_destroyed; i++)
		(void)sim_destroy_at(
			w->sim, w->domains[1 + plan_pick(w, w->n_domains - 1)].domid, deed_step(w));
	return n;
}

uint64_t world_steps(const struct world *w)
{
	struct sim_stats stats;

	sim_get_stats(w->sim, &stats);
	return stats.steps;
}

/* Nobody keeps an honest client from its channel, but by what was planned. */
static void connects_check(struct world *w, uint64_t step)
{
	for (uint32_t i = 0; w->calm && i < w->n_apps; i++) {
		const struct app *app = w->apps[i];

		if (app_is_alive(app) && app->waits_since &&
			step > app->waits_since + STEPS_CONNECT_MAX)
			fail(w, "%s has got no channel since step %" PRIu64, app->name,
				app->waits_since);
	}
}

/* False: the number of steps was reached. */
static bool world_play(struct world *w, uint64_t n_steps)
{
	struct deed deeds[DEEDS_MAX];
	uint32_t n_deeds = deeds_plan(w, deeds);
	uint64_t progress = 0, progress_step = 0, step = 0;
	bool whole;
	int r = -ETIME;

	while (r == -ETIME) {
		if (n_steps && step >= n_steps)
			return false;
		r = sim_run(w->sim, SLICE);
		step = world_steps(w);
		for (uint32_t i = 0; i < n_deeds; i++) {
			if (!deeds[i].fn || deeds[i].step > step)
				continue;
			deeds[i].fn(w);
			deeds[i].fn = NULL;
		}
		whole = world_is_whole(w);
		world_mend(w);
		if (!whole && (r == 0 || r == -EDEADLK))
			r = -ETIME;
		if (w->progress != progress) {
			progress = w->progress;
			progress_step = step;
		}
		if (step - progress_step > STEPS_IDLE_MAX)
			fail(w, "no progress since step %" PRIu64, progress_step);
		connects_check(w, step);
	}
	if (r < 0)
		fail(w, "everybody waits, and nothing will ever come");
	return true;
}

static void settle_main(void *arg)
{
	struct world *w = arg;

	(void)sim_task_poll(
		w->sim, NULL, 0, atomic_load(&sim_xen(w->sim)->seg->now_ns) + SETTLE_NS);
}

/* All applications have gone: nothing of theirs may be left anywhere. */
static void world_check_end(struct world *w)
{
	int r;

	if (sim_task_start(w->sim, 0, "settle", settle_main, w, NULL) < 0)
		abort();
	r = sim_run(w->sim, STEPS_SETTLE);
	if (r < 0)
		fail(w, "it does not come to rest: %s", strerror(-r));
	msgd_stopped(w);
	for (uint32_t i = 0; i <= HOSTILE_DOMAIN; i++)
		if (w->domains[i].there)
			domain_check(w, w->domains[i].domid);
	for (uint32_t i = 0; i < SIM_MAX_DOMAINS; i++)
		if (domain_at(sim_xen(w->sim), i)->state == SIM_DOMAIN_DYING)
			fail(w, "a domain that was destroyed stays: its pages are mapped");
}

static void world_count(struct world *w)
{
	struct counts *c = w->counts;
	struct sim_stats stats;

	sim_get_stats(w->sim, &stats);
	c->seeds++;
	c->hostile += w->n_hostiles != 0;
	c->steps += stats.steps;
	c->calls += stats.calls;
	c->preempted += stats.preempted;
	c->interrupts += stats.interrupts;
	c->late += stats.late;
	c->coalesced += stats.coalesced;
	c->spurious += stats.spurious;
	for (uint32_t i = 0; i < SIM_N_FAULTS; i++)
		c->faults[i] += stats.faults[i];
}

/* Last of all: the others have the numbers that they have without it. */
static void hostiles_start(struct world *w)
{
	const struct plan *plan = &w->plan;

	if (!plan->n_raw && !plan->n_liars)
		return;
	(void)strcpy(w->domains[HOSTILE_DOMAIN].name, "hostile");
	domain_start(w, HOSTILE_DOMAIN);
	for (uint32_t i = 0; i < plan->n_raw; i++)
		hostile_start(w, false);
	for (uint32_t i = 0; i < plan->n_liars; i++)
		hostile_start(w, true);
	if (plan->hostile_destroyed)
		(void)sim_destroy_at(
			w->sim, w->domains[HOSTILE_DOMAIN].domid, 100 + w->seed % 3000);
}

static void world_begin(struct world *w, const struct run *run)
{
	struct sim_choices choices;

	LIST_INIT(&w->talks);
	w->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->rng = w->seed;
	plan_make(w, &choices);
	plan_hostile(w, run->hostile_one_in);
	choices.trace = run->trace ? print_line : NULL;
	choices.destroyed = on_destroyed;
	choices.destroyed_arg = w;
	seams_open(w);
	if (sim_create(&w->sim) < 0 || sim_deterministic(w->sim, &choices) < 0 ||
		sim_task_local(w->sim, &kept_errno, sizeof(kept_errno)) < 0 ||
		sim_task_local(w->sim, (void *)(uintptr_t)msg_reason(), REASON_SIZE) < 0)
		abort();
	seams_start(w);
	domains_plan(w);
	msgd_start(w);
	app_start(w, 1, true, 0);
	for (uint32_t i = 0; i < w->plan.n_clients; i++)
		app_start(w, plan_pick(w, w->n_domains), false, w->plan.n_channels);
	hostiles_start(w);
}

static void world_end(struct world *w)
{
	struct talk *talk;

	while ((talk = LIST_FIRST(&w->talks))) {
		LIST_REMOVE(talk, entry);
		free(talk);
	}
	for (uint32_t i = 0; i < w->n_apps; i++) {
		free(w->apps[i]->buffer);
		free(w->apps[i]);
	}
	for (uint32_t i = 0; i < w->n_hostiles; i++)
		free(w->hostiles[i]);
	(void)close(w->stop_fd);
	sim_free(w->sim);
}

void world_run(const struct run *run, struct counts *counts)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w)
		abort();
	w->seed = run->seed;
	w->log = run->log;
	w->counts = counts;
	world_begin(w, run);
	if (world_play(w, run->n_steps))
		world_check_end(w);
	if (sim_check(w->sim, stderr) != 0)
		fail(w, "the emulator's invariants do not hold");
	world_count(w);
	world_end(w);
	free(w);
}
