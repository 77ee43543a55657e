/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds worlds by name, and the operations that every world shares. */
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/case.h"

static const struct world_ops *const worlds[] = {
	&world_inprocess_ops, &world_sim_ops, &world_xen_ops, &world_xen_argo_ops};

static const char *const can_names[WORLD_N_CAN] = {
	"two guest domains",
	"actors that run at the same time",
	"killing a process",
	"creating and destroying domains",
	"choosing a domid",
	"pausing a domain",
	"suspending a domain",
	"crashing a domain",
	"Argo",
	"a domain without Argo",
	"domains that nobody else uses",
	"hv_open specs to get wrong",
	"zombie domains",
	"processes of their own for actors",
	"running out of handles",
	"parcels whose maker keeps the port's number",
};

const struct world_ops *world_ops_find(const char *hv)
{
	for (size_t i = 0; i < ARRAY_SIZE(worlds); i++) {
		size_t len = worlds[i] ? strlen(worlds[i]->name) : 0;

		if (len && strncmp(hv, worlds[i]->name, len) == 0 &&
			(hv[len] == 0 || hv[len] == ':'))
			return worlds[i];
	}
	return NULL;
}

const char *world_why_not(const struct world_ops *ops, unsigned int needs)
{
	for (size_t i = 0; i < WORLD_N_CAN; i++)
		if (needs & ~ops->can & 1U << i)
			return ops->why_not[i] ? ops->why_not[i] : can_names[i];
	return NULL;
}

uint16_t world_create(const char *domain, uint16_t domid, bool argo)
{
	uint16_t got = 0;

	CHECK_OK(the_world->ops->create(the_world, domain, domid, argo, &got));
	if (domid)
		CHECK_INT(got, domid);
	return got;
}

void world_manage(const char *verb, const char *domain)
{
	CHECK_OK(the_world->ops->manage(the_world, verb, domain));
}

void world_tag(const char *domain, const char *tags, bool by_guest)
{
	CHECK_OK(the_world->ops->tag(the_world, domain, tags, by_guest));
}

bool world_has(enum world_can can)
{
	return (the_world->ops->can & can) == can;
}

int world_rounds(int n)
{
	return the_world->ops->slowness ? n / the_world->ops->slowness : n;
}

uint16_t world_missing_domid(void)
{
	return 0x7fe0; /* the last but a few that a domain can have; no world counts up to it */
}
