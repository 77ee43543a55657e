/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grants: see model.h. The entry is the granter's to write at any time, pinned or not: while it is
 * pinned, Xen goes by what it saw when it pinned it.
 */
#include "tests/random/model.h"

#define FLAGS(e) ((uint32_t)((e)&0xffffU))
#define DOMID(e) ((uint16_t)((e) >> 16))
#define FRAME(e) ((uint32_t)((e) >> 32))

static void entry_clear(struct model *m, uint32_t granter, uint32_t ref, bool readonly)
{
	struct m_domain *rd = &m->domains[granter];
	const struct m_active *a = &rd->active[ref];

	if (!a->n_readers && !a->n_writers)
		rd->grants[ref] &= ~(uint64_t)GTF_reading;
	if (!readonly && !a->n_writers)
		rd->grants[ref] &= ~(uint64_t)GTF_writing;
	m->touched_granter = granter;
	m->touched_ref = ref;
}

/* The first pin, or the first writer's. */
static int entry_pin(
	struct model *m, uint32_t granter, uint32_t ref, uint16_t mapper, bool readonly)
{
	struct m_domain *rd = &m->domains[granter];
	struct m_active *a = &rd->active[ref];
	uint64_t *e = &rd->grants[ref];
	bool pinned = a->n_readers || a->n_writers;

	if (!pinned && ((FLAGS(*e) & (GTF_type_mask | GTF_sub_page)) != GTF_permit_access ||
			       DOMID(*e) != mapper))
		return GNTST_general_error;
	if (!readonly && (FLAGS(*e) & GTF_readonly))
		return GNTST_general_error;
	*e |= GTF_reading | (readonly ? 0U : GTF_writing);
	m->touched_granter = granter;
	m->touched_ref = ref;
	if (pinned)
		return GNTST_okay;
	/* A dying domain's memory is being given back; what is not its own cannot be granted. */
	if (rd->life == M_DYING || FRAME(*e) >= MODEL_GFNS || m->owner[FRAME(*e)] != granter + 1) {
		entry_clear(m, granter, ref, readonly);
		return GNTST_bad_page;
	}
	a->frame = FRAME(*e);
	a->domid = mapper;
	return GNTST_okay;
}

int model_map(struct model *m, uint32_t self, uint16_t dom, uint32_t ref, uint32_t flags,
	uint32_t *ret_granter, uint32_t *ret_frame)
{
	uint16_t domid = m->domains[self].domid;
	bool readonly = flags & GNTMAP_readonly;
	uint32_t granter = model_find(m, dom);
	struct m_active *a;
	int status;

	if (!(flags & (GNTMAP_host_map | GNTMAP_device_map)))
		return GNTST_bad_gntref;
	if (granter == MODEL_NONE)
		return GNTST_bad_domain;
	if (m->n_handles == MODEL_HANDLES)
		return GNTST_no_space;
	if (ref >= MODEL_GREFS)
		return GNTST_bad_gntref;
	a = &m->domains[granter].active[ref];
	if ((a->n_readers || a->n_writers) &&
		(a->domid != domid || (readonly ? a->n_readers : a->n_writers) >= MODEL_PINS))
		return GNTST_general_error;
	if (!(a->n_readers || a->n_writers) || (!readonly && !a->n_writers)) {
		status = entry_pin(m, granter, ref, domid, readonly);
		if (status != GNTST_okay)
			return status;
	}
	if (readonly)
		a->n_readers++;
	else
		a->n_writers++;
	m->domains[granter].n_pinned++;
	*ret_granter = granter;
	*ret_frame = a->frame;
	return GNTST_okay;
}

bool model_map_handle(struct model *m, uint32_t self, uint32_t granter, uint32_t ref,
	uint32_t flags, uint32_t handle)
{
	if (handle >= MODEL_HANDLES || m->handles[handle].mapper != MODEL_NONE)
		return false;
	m->handles[handle] = (struct m_handle){.mapper = self,
		.granter = granter,
		.ref = ref,
		.readonly = flags & GNTMAP_readonly};
	m->n_handles++;
	return true;
}

int model_unmap(struct model *m, uint32_t self, uint32_t handle)
{
	struct m_active *a;
	struct m_handle h;

	if (handle >= MODEL_HANDLES || m->handles[handle].mapper != self)
		return GNTST_bad_handle;
	h = m->handles[handle];
	m->handles[handle].mapper = MODEL_NONE;
	m->n_handles--;
	a = &m->domains[h.granter].active[h.ref];
	if (h.readonly)
		a->n_readers--;
	else
		a->n_writers--;
	m->domains[h.granter].n_pinned--;
	entry_clear(m, h.granter, h.ref, h.readonly);
	model_reap(m, h.granter);
	return GNTST_okay;
}

int model_query_size(struct model *m, uint32_t self, uint16_t dom)
{
	uint32_t target = dom == DOMID_SELF ? self : model_find(m, dom);

	if (target == MODEL_NONE)
		return GNTST_bad_domain;
	return target == self || m->domains[self].domid == 0 ? GNTST_okay : GNTST_permission_denied;
}

/* gnttab_release_mappings */
void model_mappings_release(struct model *m, uint32_t index)
{
	for (uint32_t handle = 0; handle < MODEL_HANDLES; handle++)
		if (m->handles[handle].mapper == index)
			(void)model_unmap(m, index, handle);
}
