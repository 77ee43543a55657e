/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Grants, what keeps no pin: copying, giving pages away, swapping, flushing. See model.h. */
#include "tests/random/model.h"

#include <errno.h>
#include <string.h>

static uint32_t n_writers(const struct m_active *a)
{
	return a->pins[M_HOST_WRITE] + a->pins[M_DEVICE_WRITE];
}

static uint32_t n_pins(const struct m_active *a)
{
	return n_writers(a) + a->pins[M_HOST_READ] + a->pins[M_DEVICE_READ];
}

/* ---- copying ------------------------------------------------------------------------------ */

struct end {
	uint32_t frame, from, to; /* bytes of it */
};

static int grant_use(struct model *m, uint16_t domid, uint32_t granter, uint32_t ref, bool write,
	bool transitive, struct end *end);

/* In the name of the domain in between; nothing of it is pinned, or the two would not agree. */
static int grant_use_behind(struct model *m, uint32_t granter, const struct m_entry *e, bool pinned,
	bool write, struct end *end)
{
	uint32_t next = model_find(m, e->trans_domid);

	if (e->trans_domid == m->domains[granter].domid || next == MODEL_NONE || pinned)
		return GNTST_general_error;
	return grant_use(m, m->domains[granter].domid, next, e->trans_ref, write, false, end);
}

/* The rights that the end's grant gives: GNTST_*, and the frame. */
static int grant_use(struct model *m, uint16_t domid, uint32_t granter, uint32_t ref, bool write,
	bool transitive, struct end *end)
{
	struct m_domain *rd = &m->domains[granter];
	bool pinned, behind;
	struct m_active *a;
	struct m_entry e;
	int r = GNTST_okay;

	if (ref >= model_n_entries(rd))
		return GNTST_bad_gntref;
	a = &rd->active[ref];
	e = model_entry(rd, ref);
	pinned = n_pins(a);
	behind = rd->version == 2 && (e.flags & GTF_type_mask) == GTF_transitive;
	if (pinned &&
		(a->domid != domid || a->pins[write ? M_HOST_WRITE : M_HOST_READ] >= MODEL_PINS))
		return GNTST_general_error;
	end->frame = pinned ? a->frame : (uint32_t)e.frame;
	/* Pinned for this already: the entry is not asked. */
	if (n_writers(a) || (pinned && !write))
		return rd->life == M_DYING ? GNTST_bad_domain : GNTST_okay;
	if (!pinned &&
		(((e.flags & GTF_type_mask) != GTF_permit_access && !behind) || e.domid != domid))
		return GNTST_general_error;
	if (write && (e.flags & GTF_readonly))
		return GNTST_general_error;
	if (behind)
		r = transitive ? grant_use_behind(m, granter, &e, pinned, write, end)
			       : GNTST_general_error;
	else if (rd->life == M_DYING || !model_page_is(m, granter, e.frame))
		r = GNTST_bad_page;
	if (!pinned && !behind && rd->version == 2 && (e.flags & GTF_sub_page)) {
		end->from = e.offset;
		end->to = (uint32_t)e.offset + e.len;
	}
	/* In use for the time of the call. */
	model_status_set(m, granter, ref, GTF_reading);
	if (write)
		model_status_clear(m, granter, ref, GTF_writing);
	if (!pinned)
		model_status_clear(m, granter, ref, GTF_reading);
	model_grant_touch(m, granter, ref);
	return r;
}

static int end_find(
	const struct model *m, uint32_t self, uint16_t dom, bool by_ref, uint32_t *ret_domain)
{
	*ret_domain = dom == DOMID_SELF ? self : model_find(m, dom);
	if (*ret_domain == MODEL_NONE)
		return GNTST_bad_domain;
	return dom == DOMID_SELF || by_ref ? GNTST_okay : GNTST_permission_denied;
}

static int end_use(struct model *m, uint32_t self, uint32_t domain, bool by_ref, uint64_t what,
	bool write, struct end *end)
{
	*end = (struct end){.frame = (uint32_t)what, .to = MODEL_PAGE_SIZE};
	if (by_ref)
		return grant_use(
			m, m->domains[self].domid, domain, (uint32_t)what, write, true, end);
	return model_page_is(m, domain, what) ? GNTST_okay : GNTST_bad_page;
}

int model_copy(struct model *m, uint32_t self, const gnttab_copy_t *op)
{
	bool from_ref = op->flags & GNTCOPY_source_gref, to_ref = op->flags & GNTCOPY_dest_gref;
	struct end source, dest;
	uint32_t from, to;
	int r;

	r = end_find(m, self, op->source.domid, from_ref, &from);
	if (r == GNTST_okay)
		r = end_find(m, self, op->dest.domid, to_ref, &to);
	if (r == GNTST_okay)
		r = end_use(m, self, from, from_ref,
			from_ref ? op->source.u.ref : op->source.u.gmfn, false, &source);
	if (r == GNTST_okay)
		r = end_use(m, self, to, to_ref, to_ref ? op->dest.u.ref : op->dest.u.gmfn, true,
			&dest);
	if (r != GNTST_okay)
		return r;
	if (op->source.offset + op->len > MODEL_PAGE_SIZE ||
		op->dest.offset + op->len > MODEL_PAGE_SIZE)
		return GNTST_bad_copy_arg;
	if (op->source.offset < source.from || op->source.offset + op->len > source.to ||
		op->dest.offset < dest.from || op->dest.offset + op->len > dest.to)
		return GNTST_general_error;
	memmove(model_page_touch(m, dest.frame) + op->dest.offset,
		m->memory[source.frame] + op->source.offset, op->len);
	return GNTST_okay;
}

/* ---- giving a page away -------------------------------------------------------------------- */

/* Somebody refers to the page: then it cannot be taken from its owner. */
static bool page_is_in_use(const struct m_domain *d, uint32_t gfn)
{
	for (uint32_t ref = 0; ref < MODEL_GREFS; ref++)
		if (n_pins(&d->active[ref]) && d->active[ref].frame == gfn)
			return true;
	for (uint32_t i = 0; i < MODEL_RINGS; i++)
		for (uint32_t k = 0; d->rings[i].used && k < d->rings[i].n_pages; k++)
			if (d->rings[i].gfns[k] == gfn)
				return true;
	for (uint32_t vcpu = 0; vcpu < MODEL_VCPUS; vcpu++)
		if (d->controls[vcpu].gfn == gfn)
			return true;
	for (uint32_t i = 0; i < d->n_arrays; i++)
		if (d->arrays[i] == gfn)
			return true;
	return false;
}

static bool list_remove(uint32_t *list, uint32_t *n, uint32_t gfn)
{
	for (uint32_t i = 0; i < *n; i++)
		if (list[i] == gfn) {
			list[i] = list[--*n];
			return true;
		}
	return false;
}

/* Once it has been taken, a failure loses it. Its bytes stay: the caller knows what was in it. */
int model_transfer(struct model *m, uint32_t self, uint64_t gfn, uint16_t dom, uint32_t ref)
{
	struct m_domain *d = &m->domains[self], *rd;
	struct m_entry e;
	uint32_t target;
	uint64_t *word;

	if (!model_page_is(m, self, gfn) || page_is_in_use(d, (uint32_t)gfn))
		return GNTST_bad_page;
	if (!list_remove(d->pages, &d->n_pages, (uint32_t)gfn))
		(void)list_remove(d->fifo_pages, &d->n_fifo_pages, (uint32_t)gfn);
	m->owner[gfn] = 0;
	target = model_find(m, dom);
	rd = target == MODEL_NONE ? NULL : &m->domains[target];
	if (rd && ref < model_n_entries(rd))
		e = model_entry(rd, ref);
	else
		e.flags = 0;
	if (!rd || rd->life == M_DYING || e.flags != GTF_accept_transfer || e.domid != d->domid) {
		model_page_free(m, (uint32_t)gfn);
		return rd ? GNTST_general_error : GNTST_bad_domain;
	}
	word = &rd->grants[rd->version == 2 ? 2 * ref : ref];
	*word |= GTF_transfer_committed | GTF_transfer_completed;
	if (rd->version == 2)
		word[1] = gfn;
	else
		*word = (*word & UINT32_MAX) | gfn << 32;
	model_grant_touch(m, target, ref);
	m->owner[gfn] = (uint8_t)(target + 1);
	rd->pages[rd->n_pages++] = (uint32_t)gfn;
	(void)model_page_touch(m, (uint32_t)gfn);
	return GNTST_okay;
}

/* ---- the rest ------------------------------------------------------------------------------ */

int model_swap(struct model *m, uint32_t self, uint32_t a, uint32_t b)
{
	struct m_domain *d = &m->domains[self];
	uint16_t status;

	if (a >= model_n_entries(d) || b >= model_n_entries(d))
		return GNTST_bad_gntref;
	if (a == b)
		return GNTST_okay;
	if (n_pins(&d->active[a]) || n_pins(&d->active[b]))
		return GNTST_eagain;
	for (uint32_t i = 0; i < d->version; i++) {
		uint64_t word = d->grants[d->version * a + i];

		d->grants[d->version * a + i] = d->grants[d->version * b + i];
		d->grants[d->version * b + i] = word;
	}
	if (d->version == 2) {
		status = d->status[a];
		d->status[a] = d->status[b];
		d->status[b] = status;
	}
	model_grant_touch(m, self, a);
	model_grant_touch(m, self, b);
	return GNTST_okay;
}

/* On x86: it only checks, and has no way to throw away what is not written back. */
int model_cache_flush(
	const struct model *m, uint32_t self, const gnttab_cache_flush_t *op, uint32_t ref)
{
	uint64_t gfn = op->a.dev_bus_addr / MODEL_PAGE_SIZE;
	const struct m_domain *d;
	bool found = false;

	if (op->offset >= MODEL_PAGE_SIZE || op->offset + op->length > MODEL_PAGE_SIZE ||
		(op->op & ~(uint32_t)(GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL)))
		return -EINVAL;
	if (op->length == 0 || op->op == 0)
		return ref ? -EILSEQ : 0;
	if (gfn >= MODEL_GFNS)
		return -EINVAL;
	if (m->owner[gfn] == 0)
		return -EPERM;
	d = &m->domains[m->owner[gfn] - 1];
	for (uint32_t i = ref; m->owner[gfn] != self + 1 && i < MODEL_GREFS && !found; i++)
		found = n_pins(&d->active[i]) && d->active[i].domid == m->domains[self].domid &&
			d->active[i].frame == gfn;
	if (m->owner[gfn] != self + 1 && !found)
		return -EINVAL;
	return op->op == GNTTAB_CACHE_INVAL ? -EOPNOTSUPP : 0;
}
