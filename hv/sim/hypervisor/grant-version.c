/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two layouts of a grant table: gnttab_set_version of xen/common/grant_table.c. */
#include "hv/sim/hypervisor/grant-table.h"

#include <errno.h>

#include "hv/sim/memory/journal.h"

#define IN_USE ((uint16_t)(GTF_reading | GTF_writing))

static_assert(sizeof(grant_entry_v2_t) == 2 * sizeof(uint64_t), "two words");

struct grant_entry grant_entry_read(const struct sim_domain *d, uint32_t ref)
{
	uint64_t word = d->grants[ref * d->grant_version];
	struct grant_entry e = {.flags = (uint16_t)word, .domid = (uint16_t)(word >> 16)};

	if (d->grant_version == 1) {
		e.frame = word >> 32;
		return e;
	}
	e.frame = d->grants[ref * 2 + 1];
	e.page_off = e.trans_domid = (uint16_t)(word >> 32);
	e.length = (uint16_t)(word >> 48);
	e.trans_ref = (uint32_t)e.frame;
	return e;
}

static void word_set(struct xen *xen, uint64_t *word, uint64_t value)
{
	if (*word != value)
		txn_set(xen, word, value);
}

void grant_status_change_locked(
	struct xen *xen, struct sim_domain *d, uint32_t ref, uint16_t set, uint16_t clear)
{
	uint16_t status;

	if (d->grant_version == 1) {
		word_set(xen, &d->grants[ref], (d->grants[ref] & ~(uint64_t)clear) | set);
		return;
	}
	status = (uint16_t)((d->grant_status[ref] & ~clear) | set);
	if (status != d->grant_status[ref])
		txn_set(xen, &d->grant_status[ref], status);
}

void grant_entry_swap_locked(struct xen *xen, struct sim_domain *d, uint32_t a, uint32_t b)
{
	for (uint32_t i = 0; i < d->grant_version; i++) {
		uint64_t word = d->grants[a * d->grant_version + i];

		txn_set(xen, &d->grants[a * d->grant_version + i],
			d->grants[b * d->grant_version + i]);
		txn_set(xen, &d->grants[b * d->grant_version + i], word);
	}
	if (d->grant_version == 2) {
		uint16_t status = d->grant_status[a];

		txn_set(xen, &d->grant_status[a], d->grant_status[b]);
		txn_set(xen, &d->grant_status[b], status);
	}
}

void grant_entry_finish_locked(struct xen *xen, struct sim_domain *d, uint32_t ref, uint64_t frame)
{
	uint64_t *word = &d->grants[ref * d->grant_version];
	uint64_t header = *word | GTF_transfer_committed | GTF_transfer_completed;

	if (d->grant_version == 2)
		txn_set(xen, word + 1, frame);
	else
		header = (header & UINT32_MAX) | frame << 32;
	txn_set(xen, word, header);
}

/* Whether the first entries, which stay, can be said in version 1. */
static bool reserved_fit(const struct sim_domain *d)
{
	for (uint32_t ref = 0; ref < GNTTAB_NR_RESERVED_ENTRIES; ref++) {
		struct grant_entry e = grant_entry_read(d, ref);
		uint16_t type = e.flags & GTF_type_mask;

		if (type == GTF_transitive || (type == GTF_permit_access && e.frame >> 32))
			return false;
	}
	return true;
}

int grant_version_set_locked(struct xen *xen, struct sim_domain *d, uint32_t version)
{
	struct grant_entry reserved[GNTTAB_NR_RESERVED_ENTRIES];
	uint16_t status[GNTTAB_NR_RESERVED_ENTRIES];

	for (uint32_t ref = GNTTAB_NR_RESERVED_ENTRIES; ref < grant_n_entries(d); ref++)
		if (d->active[ref].n_readers || d->active[ref].n_writers)
			return -EBUSY;
	if (version == 1 && !reserved_fit(d))
		return -ERANGE;
	for (uint32_t ref = 0; ref < GNTTAB_NR_RESERVED_ENTRIES; ref++) {
		reserved[ref] = grant_entry_read(d, ref);
		status[ref] = (version == 1 ? d->grant_status[ref] : reserved[ref].flags) & IN_USE;
		/* Back to version 1 come those only that give access. */
		if (version == 1 && (reserved[ref].flags & GTF_type_mask) != GTF_permit_access)
			reserved[ref] = (struct grant_entry){.flags = status[ref] = 0};
	}
	for (uint32_t i = 0; i < d->n_grant_frames * SIM_GREFS_FRAME; i++)
		word_set(xen, &d->grants[i], 0);
	for (uint32_t ref = 0; ref < SIM_MAX_GREFS_V2; ref++)
		if (d->grant_status[ref])
			txn_set(xen, &d->grant_status[ref], 0);
	txn_set(xen, &d->grant_version, version);
	for (uint32_t ref = 0; ref < GNTTAB_NR_RESERVED_ENTRIES; ref++) {
		uint64_t header = (uint64_t)reserved[ref].domid << 16;

		if (version == 1) {
			word_set(xen, &d->grants[ref],
				header | reserved[ref].flags | status[ref] |
					reserved[ref].frame << 32);
			continue;
		}
		word_set(xen, &d->grants[ref * 2],
			header | (reserved[ref].flags & (uint16_t)~IN_USE));
		word_set(xen, &d->grants[ref * 2 + 1], reserved[ref].frame);
		grant_status_change_locked(xen, d, ref, status[ref], 0);
	}
	return 0;
}
