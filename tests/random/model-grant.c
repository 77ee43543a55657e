/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grants: see model.h. The entry is the granter's to write at any time, pinned or not: while it is
 * pinned, Xen goes by what it saw when it pinned it.
 */
#include "tests/random/model.h"

#include <errno.h>

static bool is_written(const struct m_active *a)
{
	return a->pins[M_HOST_WRITE] || a->pins[M_DEVICE_WRITE];
}

static bool is_pinned(const struct m_active *a)
{
	return is_written(a) || a->pins[M_HOST_READ] || a->pins[M_DEVICE_READ];
}

static enum m_pin kind_of(uint32_t part, uint32_t flags)
{
	bool readonly = flags & GNTMAP_readonly;

	if (part == GNTMAP_host_map)
		return readonly ? M_HOST_READ : M_HOST_WRITE;
	return readonly ? M_DEVICE_READ : M_DEVICE_WRITE;
}

static bool is_full(const struct m_active *a, uint32_t flags)
{
	return ((flags & GNTMAP_host_map) &&
		       a->pins[kind_of(GNTMAP_host_map, flags)] >= MODEL_PINS) ||
	       ((flags & GNTMAP_device_map) &&
		       a->pins[kind_of(GNTMAP_device_map, flags)] >= MODEL_PINS);
}

static void entry_clear(struct model *m, uint32_t granter, uint32_t ref, bool readonly)
{
	const struct m_active *a = &m->domains[granter].active[ref];

	if (!is_pinned(a))
		model_status_clear(m, granter, ref, GTF_reading);
	if (!readonly && !is_written(a))
		model_status_clear(m, granter, ref, GTF_writing);
	model_grant_touch(m, granter, ref);
}

/* The first pin, or the first writer's. */
static int entry_pin(
	struct model *m, uint32_t granter, uint32_t ref, uint16_t mapper, bool readonly)
{
	struct m_domain *rd = &m->domains[granter];
	struct m_entry e = model_entry(rd, ref);
	struct m_active *a = &rd->active[ref];
	bool pinned = is_pinned(a);

	if (!pinned && ((e.flags & (GTF_type_mask | GTF_sub_page)) != GTF_permit_access ||
			       e.domid != mapper))
		return GNTST_general_error;
	if (!readonly && (e.flags & GTF_readonly))
		return GNTST_general_error;
	model_status_set(m, granter, ref, GTF_reading | (readonly ? 0U : GTF_writing));
	model_grant_touch(m, granter, ref);
	if (pinned)
		return GNTST_okay;
	/* A dying domain's memory is being given back; what is not its own cannot be granted. */
	if (rd->life == M_DYING || !model_page_is(m, granter, e.frame)) {
		entry_clear(m, granter, ref, readonly);
		return GNTST_bad_page;
	}
	a->frame = (uint32_t)e.frame;
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
	if (ref >= model_n_entries(&m->domains[granter]))
		return GNTST_bad_gntref;
	a = &m->domains[granter].active[ref];
	if (is_pinned(a) && (a->domid != domid || is_full(a, flags)))
		return GNTST_general_error;
	if (!is_pinned(a) || (!readonly && !is_written(a))) {
		status = entry_pin(m, granter, ref, domid, readonly);
		if (status != GNTST_okay)
			return status;
	}
	if (flags & GNTMAP_host_map)
		a->pins[kind_of(GNTMAP_host_map, flags)]++;
	if (flags & GNTMAP_device_map)
		a->pins[kind_of(GNTMAP_device_map, flags)]++;
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
	m->handles[handle] =
		(struct m_handle){.mapper = self, .granter = granter, .ref = ref, .flags = flags};
	m->n_handles++;
	return true;
}

/* The addresses that a page table can have: not NULL, nor anything that is not the guest's. */
static bool address_is_guest(uint64_t address)
{
	return address && address < 1ULL << 47;
}

/* By address: 0 leaves that part mapped, and the last part gives the handle back. */
int model_unmap(
	struct model *m, uint32_t self, uint32_t handle, uint64_t host_addr, uint64_t dev_bus_addr)
{
	struct m_active *a;
	struct m_handle *h;
	uint32_t done = 0;

	if (handle >= MODEL_HANDLES || m->handles[handle].mapper != self)
		return GNTST_bad_handle;
	h = &m->handles[handle];
	a = &m->domains[h->granter].active[h->ref];
	done |= host_addr ? h->flags & GNTMAP_host_map : 0;
	done |= dev_bus_addr ? h->flags & GNTMAP_device_map : 0;
	if ((done & GNTMAP_device_map) && dev_bus_addr != (uint64_t)a->frame * MODEL_PAGE_SIZE)
		return GNTST_bad_dev_addr;
	if (!done)
		return GNTST_okay;
	if (done & GNTMAP_host_map)
		a->pins[kind_of(GNTMAP_host_map, h->flags)]--;
	if (done & GNTMAP_device_map)
		a->pins[kind_of(GNTMAP_device_map, h->flags)]--;
	entry_clear(m, h->granter, h->ref, h->flags & GNTMAP_readonly);
	h->flags &= ~done;
	if (h->flags & (GNTMAP_host_map | GNTMAP_device_map))
		return GNTST_okay;
	h->mapper = MODEL_NONE;
	m->n_handles--;
	m->domains[h->granter].n_pinned--;
	model_reap(m, h->granter);
	return GNTST_okay;
}

int model_unmap_replace(
	struct model *m, uint32_t self, uint32_t handle, uint64_t host_addr, uint64_t new_addr)
{
	if (handle < MODEL_HANDLES && m->handles[handle].mapper == self && host_addr &&
		(m->handles[handle].flags & GNTMAP_host_map) && new_addr &&
		!address_is_guest(new_addr))
		return GNTST_general_error;
	return model_unmap(m, self, handle, host_addr, 0);
}

/* The domain whose table is asked about: only the control domain may ask for another one's. */
static int table_of(const struct model *m, uint32_t self, uint16_t dom, uint32_t *ret_target)
{
	*ret_target = dom == DOMID_SELF ? self : model_find(m, dom);
	if (*ret_target == MODEL_NONE)
		return GNTST_bad_domain;
	return *ret_target == self || m->domains[self].domid == 0 ? GNTST_okay
								  : GNTST_permission_denied;
}

int model_query_size(
	struct model *m, uint32_t self, uint16_t dom, uint32_t *ret_n, uint32_t *ret_max)
{
	uint32_t target;
	int r = table_of(m, self, dom, &target);

	if (r != GNTST_okay)
		return r;
	*ret_n = m->domains[target].n_frames;
	*ret_max = MODEL_FRAMES;
	return GNTST_okay;
}

/* Grown before the list of frames turns out not to be there. */
int model_setup_table(struct model *m, uint32_t self, uint16_t dom, uint32_t n, bool readable,
	uint32_t *ret_domain)
{
	int r = table_of(m, self, dom, ret_domain);

	if (r != GNTST_okay)
		return r;
	if (n > MODEL_FRAMES)
		return GNTST_general_error;
	if (n > m->domains[*ret_domain].n_frames)
		m->domains[*ret_domain].n_frames = n;
	return readable || n == 0 ? GNTST_okay : GNTST_bad_virt_addr;
}

/* Version 1 has none, and all of version 2 are in one. */
int model_status_frames(
	const struct model *m, uint32_t self, uint16_t dom, uint32_t n, uint32_t *ret_domain)
{
	int r = table_of(m, self, dom, ret_domain);

	if (r != GNTST_okay)
		return r;
	return n < m->domains[*ret_domain].version ? GNTST_okay : GNTST_general_error;
}

int model_get_version(const struct model *m, uint32_t self, uint16_t dom, uint32_t *ret_version)
{
	uint32_t target;
	int r = table_of(m, self, dom, &target);

	if (r != GNTST_okay)
		return r == GNTST_bad_domain ? -ESRCH : -EPERM;
	*ret_version = m->domains[target].version;
	return 0;
}

/* gnttab_release_mappings */
void model_mappings_release(struct model *m, uint32_t index)
{
	for (uint32_t handle = 0; handle < MODEL_HANDLES; handle++)
		if (m->handles[handle].mapper == index)
			(void)model_unmap(m, index, handle, 1,
				(uint64_t)m->domains[m->handles[handle].granter]
						.active[m->handles[handle].ref]
						.frame *
					MODEL_PAGE_SIZE);
}
