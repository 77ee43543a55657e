/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains and their memory: see model.h. */
#include "tests/random/model.h"

#include <stdlib.h>
#include <string.h>

struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	m->mac_permissive = true;
	for (uint32_t i = 0; i < MODEL_HANDLES; i++)
		m->handles[i].mapper = MODEL_NONE;
	model_untouch(m);
	return m;
}

void model_free(struct model *m)
{
	for (uint32_t gfn = 0; gfn < MODEL_GFNS; gfn++)
		free(m->memory[gfn]);
	free(m);
}

void model_untouch(struct model *m)
{
	m->touched_domains = 0;
	m->n_touched_pages = 0;
	m->n_touched_grants = 0;
}

void model_grant_touch(struct model *m, uint32_t granter, uint32_t ref)
{
	if (m->n_touched_grants == MODEL_TOUCHED_MAX)
		return; /* of many it is enough to look at some */
	m->touched_grants[m->n_touched_grants].granter = granter;
	m->touched_grants[m->n_touched_grants++].ref = ref;
}

bool model_page_is(const struct model *m, uint32_t index, uint64_t gfn)
{
	return gfn < MODEL_GFNS && m->owner[gfn] == index + 1;
}

/* rcu_lock_domain_by_id: no reserved domid is found, a dying domain is. */
uint32_t model_find(const struct model *m, uint16_t domid)
{
	return domid < 0x8000 && m->by_domid[domid] ? m->by_domid[domid] - 1U : MODEL_NONE;
}

void model_domain_create(struct model *m, uint32_t index, uint16_t domid, bool argo,
	uint32_t n_vcpus, uint32_t max_port)
{
	struct m_domain *d = &m->domains[index];

	memset(d, 0, sizeof(*d));
	d->life = M_ALIVE;
	d->domid = domid;
	d->argo = argo;
	d->n_vcpus = n_vcpus;
	d->max_port = max_port;
	d->n_frames = d->version = 1;
	d->n_valid = MODEL_BUCKET; /* port 0 is reserved, which makes its bucket */
	m->by_domid[domid] = (uint16_t)(index + 1);
	m->touched_domains |= 1ULL << index;
}

/*
 * The control domain is told when a domain shuts down; and of each death twice: when it begins to
 * be dead, when it is gone.
 */
static void tell_of_death(struct model *m)
{
	uint32_t port = m->domains[0].virq_port[0][VIRQ_DOM_EXC];

	if (port)
		model_raise(m, 0, port);
}

void model_domain_shutdown(struct model *m)
{
	tell_of_death(m);
}

/* domain_kill: Argo, then event channels, then its mappings of others' pages. */
void model_domain_destroy(struct model *m, uint32_t index)
{
	m->domains[index].life = M_DYING;
	model_argo_destroy(m, index);
	model_ports_destroy(m, index);
	model_mappings_release(m, index);
	tell_of_death(m);
	model_reap(m, index);
}

/* Once nobody maps its pages, it is gone. */
void model_reap(struct model *m, uint32_t index)
{
	struct m_domain *d = &m->domains[index];

	if (d->life != M_DYING || d->n_pinned)
		return;
	for (uint32_t i = 0; i < d->n_pages; i++)
		model_page_free(m, d->pages[i]);
	for (uint32_t i = 0; i < d->n_fifo_pages; i++)
		model_page_free(m, d->fifo_pages[i]);
	d->n_pages = d->n_fifo_pages = 0;
	d->life = M_GONE;
	m->by_domid[d->domid] = 0;
	tell_of_death(m);
}

static void page_begin(struct model *m, uint32_t index, uint32_t gfn)
{
	m->memory[gfn] = calloc(1, MODEL_PAGE_SIZE);
	if (!m->memory[gfn])
		abort();
	m->owner[gfn] = (uint8_t)(index + 1);
}

void model_page_add(struct model *m, uint32_t index, uint32_t gfn)
{
	page_begin(m, index, gfn);
	m->domains[index].pages[m->domains[index].n_pages++] = gfn;
}

void model_fifo_page_add(struct model *m, uint32_t index, uint32_t gfn)
{
	page_begin(m, index, gfn);
	m->domains[index].fifo_pages[m->domains[index].n_fifo_pages++] = gfn;
}

void model_page_free(struct model *m, uint32_t gfn)
{
	free(m->memory[gfn]);
	m->memory[gfn] = NULL;
	m->owner[gfn] = 0;
}

uint8_t *model_page_touch(struct model *m, uint32_t gfn)
{
	for (uint32_t i = 0; i < m->n_touched_pages; i++)
		if (m->touched_pages[i] == gfn)
			return m->memory[gfn];
	if (m->n_touched_pages < MODEL_TOUCHED_MAX)
		m->touched_pages[m->n_touched_pages++] = gfn;
	return m->memory[gfn];
}
