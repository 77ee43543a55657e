/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two versions of a grant table: see model.h. */
#include "tests/random/model.h"

#include <errno.h>
#include <string.h>

#define RESERVED 8U /* entries that a switch leaves alone */

uint32_t model_n_entries(const struct m_domain *d)
{
	return d->n_frames * MODEL_GREFS_FRAME / d->version;
}

struct m_entry model_entry(const struct m_domain *d, uint32_t ref)
{
	const uint64_t *words = &d->grants[d->version == 2 ? 2 * ref : ref];
	struct m_entry e = {.flags = (uint16_t)words[0], .domid = (uint16_t)(words[0] >> 16)};

	if (d->version == 1) {
		e.frame = words[0] >> 32;
		return e;
	}
	e.offset = e.trans_domid = (uint16_t)(words[0] >> 32);
	e.len = (uint16_t)(words[0] >> 48);
	e.frame = words[1];
	e.trans_ref = (uint32_t)words[1];
	return e;
}

void model_status_set(struct model *m, uint32_t domain, uint32_t ref, uint16_t bits)
{
	struct m_domain *d = &m->domains[domain];

	if (d->version == 2)
		d->status[ref] |= bits;
	else
		d->grants[ref] |= bits;
}

void model_status_clear(struct model *m, uint32_t domain, uint32_t ref, uint16_t bits)
{
	struct m_domain *d = &m->domains[domain];

	if (d->version == 2)
		d->status[ref] &= (uint16_t)~bits;
	else
		d->grants[ref] &= ~(uint64_t)bits;
}

static bool is_pinned(const struct m_active *a)
{
	return a->pins[M_HOST_READ] || a->pins[M_HOST_WRITE] || a->pins[M_DEVICE_READ] ||
	       a->pins[M_DEVICE_WRITE];
}

/* One reserved entry, as the other version has it. */
static void entry_carry(struct m_domain *d, uint32_t ref, const struct m_entry *e, uint16_t status,
	uint32_t version)
{
	uint16_t in_use = GTF_reading | GTF_writing;

	if (version == 2) {
		d->grants[2 * ref] = (uint64_t)(e->flags & ~in_use) | (uint64_t)e->domid << 16;
		d->grants[2 * ref + 1] = e->frame;
		d->status[ref] = e->flags & in_use;
	} else if ((e->flags & GTF_type_mask) == GTF_permit_access) {
		d->grants[ref] =
			(uint64_t)(e->flags | status) | (uint64_t)e->domid << 16 | e->frame << 32;
	}
}

int model_set_version(struct model *m, uint32_t self, uint32_t version)
{
	struct m_domain *d = &m->domains[self];
	struct m_entry kept[RESERVED];
	uint16_t status[RESERVED];

	if (version != 1 && version != 2)
		return -EINVAL;
	if (version == 2 && !d->may_v2)
		return -ENOSYS;
	if (version == d->version)
		return 0;
	for (uint32_t ref = RESERVED; ref < model_n_entries(d); ref++)
		if (is_pinned(&d->active[ref]))
			return -EBUSY;
	for (uint32_t ref = 0; ref < RESERVED; ref++) {
		kept[ref] = model_entry(d, ref);
		status[ref] = d->status[ref] & (GTF_reading | GTF_writing);
		if (version == 1 &&
			((kept[ref].flags & GTF_type_mask) == GTF_transitive ||
				((kept[ref].flags & GTF_type_mask) == GTF_permit_access &&
					kept[ref].frame >> 32)))
			return -ERANGE;
	}
	memset(d->grants, 0, sizeof(d->grants));
	memset(d->status, 0, sizeof(d->status));
	d->version = version;
	for (uint32_t ref = 0; ref < RESERVED; ref++) {
		entry_carry(d, ref, &kept[ref], status[ref], version);
		model_grant_touch(m, self, ref);
	}
	return 0;
}
