/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Slots: a slot is one handle of one process. This object tells a slot's owner that it has events.
 * For every layer above. A function here must never wait for the owner.
 */
#ifndef MSGD_HV_SIM_MEMORY_SLOT_H
#define MSGD_HV_SIM_MEMORY_SLOT_H

#include "hv/sim/memory/xen.h"

static inline struct sim_slot *slot_at(const struct xen *xen, uint32_t slot)
{
	return &xen->seg->slots[slot];
}

static inline uint32_t slot_domain(const struct xen *xen, uint32_t slot)
{
	return atomic_load_explicit(&slot_at(xen, slot)->domain, memory_order_relaxed);
}

/*
 * Whether the view's own slot is still this process's. Under any lock, and as long as the lock is
 * held: before the authority gives back what a dead process had, it takes every lock.
 */
bool slot_is_live(struct xen *xen);

/* The bits come first, then kick_slot: see slot.c. */
void slot_set_port(struct xen *xen, uint32_t slot, uint32_t port);
void slot_set_ring(struct xen *xen, uint32_t slot, uint32_t ring);
void slot_set_flags(struct xen *xen, uint32_t slot, uint32_t flags);
void kick_slot(struct xen *xen, uint32_t slot);

/* Slots that a commit has to kick once it has released its locks. */
struct kick_set {
	uint64_t slots[SIM_MAX_SLOTS / 64];
	bool any;
};
static inline void kick_later(struct kick_set *kicks, uint32_t slot)
{
	kicks->slots[slot / 64] |= 1ULL << slot % 64;
	kicks->any = true;
}
void kick_all(struct xen *xen, const struct kick_set *kicks);

/* For a slot's next owner, whose eventfd is new. Not while the slot is live. */
void slot_kick_reset(struct sim_slot *s);
/* The owner's: drains the eventfd if nothing is left, without losing a wake-up. */
void slot_quiesce(struct xen *xen, int event_fd);
/* After a death: kicks every slot that has events, for the dead process may have owed it a kick. */
void slots_kick_unseen(struct xen *xen);

#endif
