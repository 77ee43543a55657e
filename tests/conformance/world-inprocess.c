/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The emulator inside the case's own process (hv/sim/testing/sim.h). Actors are called directly and
 * their roles run in threads; a killed actor is a handle that died as its process would. When the
 * case is over the whole segment is checked for broken invariants.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xen/xen.h>
#include <xen/sched.h>

#include "hv/sim/testing/sim.h"
#include "tests/conformance/case.h"

static int inprocess_create(
	struct world *world, const char *domain, uint16_t domid, bool argo, uint16_t *ret_domid)
{
	struct sim_domain_config config = {.name = domain, .domid = domid, .no_argo = !argo};

	return sim_domain_create(world->private, &config, ret_domid);
}

static int inprocess_manage(struct world *world, const char *verb, const char *domain)
{
	struct sim *sim = world->private;
	uint16_t domid = sim_domain_by_name(sim, domain);

	if (strcmp(verb, "pause") == 0 || strcmp(verb, "unpause") == 0)
		return sim_domain_pause(sim, domid, verb[0] == 'p');
	if (strcmp(verb, "suspend") == 0)
		return sim_domain_shutdown(sim, domid, SHUTDOWN_suspend);
	if (strcmp(verb, "crash") == 0)
		return sim_domain_shutdown(sim, domid, SHUTDOWN_crash);
	if (strcmp(verb, "resume") == 0)
		return sim_domain_resume(sim, domid);
	if (strcmp(verb, "destroy") == 0)
		return sim_domain_destroy(sim, domid);
	return -EINVAL;
}

static int inprocess_tag(struct world *world, const char *domain, const char *tags, bool by_guest)
{
	struct sim *sim = world->private;

	return sim_domain_tag(sim, sim_domain_by_name(sim, domain), tags, by_guest);
}

static int inprocess_start(struct world *world)
{
	struct sim *sim = NULL;
	uint16_t domid;
	int r = sim_create(&sim);

	world->private = sim;
	strcpy(world->names[WORLD_BROKER], "Domain-0");
	strcpy(world->names[WORLD_A], "guest-a");
	strcpy(world->names[WORLD_B], "guest-b");
	if (r == 0)
		r = inprocess_create(world, world->names[WORLD_A], 0, true, &domid);
	if (r == 0)
		r = inprocess_create(world, world->names[WORLD_B], 0, true, &domid);
	return r;
}

/* After a crash this runs in the runner, where there is no emulator: its process had it. */
static void inprocess_stop(struct world *world)
{
	if (!world->private)
		return;
	CHECK_INT(sim_check(world->private, stdout), 0);
	sim_free(world->private);
}

struct inprocess_domain {
	struct sim *sim; /* borrowed */
	uint16_t domid;
};

static int inprocess_open(void *arg, struct hv **ret_hv)
{
	struct inprocess_domain *d = arg;

	return sim_hv_open(d->sim, d->domid, ret_hv);
}

static int inprocess_join(struct world *world, const char *domain, struct agent_link *ret_link)
{
	struct inprocess_domain *d = malloc(sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->sim = world->private;
	d->domid = sim_domain_by_name(d->sim, domain);
	*ret_link = (struct agent_link){.fd = -1, .direct = agent_new(inprocess_open, d)};
	return 0;
}

static void inprocess_drop(void *arg, struct hv *hv)
{
	sim_hv_kill(arg, hv);
}

static void inprocess_kill(struct world *world, struct agent_link *link, bool ended)
{
	/* also where its domain took it: the handle's object is there still */
	agent_drop(link->direct, inprocess_drop, world->private);
}

const struct world_ops world_inprocess_ops = {
	.name = "inprocess",
	.can = WORLD_GUESTS | WORLD_CONCURRENT | WORLD_KILL | WORLD_LIFE | WORLD_REUSE |
	       WORLD_PAUSE | WORLD_SUSPEND | WORLD_CRASH | WORLD_ARGO | WORLD_NO_ARGO |
	       WORLD_QUIET | WORLD_DYING | WORLD_SLOTS,
	.start = inprocess_start,
	.stop = inprocess_stop,
	.join = inprocess_join,
	.kill = inprocess_kill,
	.create = inprocess_create,
	.manage = inprocess_manage,
	.tag = inprocess_tag,
};
