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
	m->touched_granter = MODEL_NONE;
}

/* rcu_lock_domain_by_id: no reserved domid is found, a dying domain is. */
uint32_t model_find(const struct model *m, uint16_t domid)
{
	return domid < 0x8000 && m->by_domid[domid] ? m->by_domid[domid] - 1U : MODEL_NONE;
}

void model_domain_create(
	struct model *m, uint32_t index, uint16_t domid, bool argo, uint32_t n_vcpus)
{
	struct m_domain *d = &m->domains[index];

	memset(d, 0, sizeof(*d));
	d->life = M_ALIVE;
	d->domid = domid;
	d->argo = argo;
	d->n_vcpus = n_vcpus;
	d->n_valid = MODEL_BUCKET; /* port 0 is reserved, which makes its bucket */
	m->by_domid[domid] = (uint16_t)(index + 1);
	m->touched_domains |= 1ULL << index;
}

/* The control domain is told of each death twice: when it begins to be dead, when it is gone. */
static void tell_of_death(struct model *m)
{
	uint32_t port = m->domains[0].virq_port[0][VIRQ_DOM_EXC];

	if (port)
		model_raise(m, 0, port);
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
	for (uint32_t i = 0; i < d->n_pages; i++) {
		free(m->memory[d->pages[i]]);
		m->memory[d->pages[i]] = NULL;
		m->owner[d->pages[i]] = 0;
	}
	d->n_pages = 0;
	d->life = M_GONE;
	m->by_domid[d->domid] = 0;
	tell_of_death(m);
}

void model_page_add(struct model *m, uint32_t index, uint32_t gfn)
{
	struct m_domain *d = &m->domains[index];

	m->memory[gfn] = calloc(1, MODEL_PAGE_SIZE);
	if (!m->memory[gfn])
		abort();
	m->owner[gfn] = (uint8_t)(index + 1);
	d->pages[d->n_pages++] = gfn;
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
