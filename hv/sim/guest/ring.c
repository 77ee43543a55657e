/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The emulated guest kernel's Argo driver: rings that belong to a handle, and VIRQ_ARGO, which is
 * bound once per domain and off (nobody pays for it) while no ring is watched. A ring's memory is
 * freed only after the ring is unregistered.
 */
#include "hv/sim/guest/ring.h"

#include "hv/argo-ring.h"
#include "hv/sim/guest/call.h"
#include "hv/sim/hypervisor/argo.h"
#include "hv/sim/hypervisor/upcall.h"
#include "hv/sim/memory/page.h"

#define ANY_APORT_FIRST 0x80000000U /* given out for aport 0, so that chosen ones stay clear */
#define WATCH_BIT(i)	(1ULL << (i) % 64)

/*
 * The number was not given lately: a sender to a ring that is gone is refused then, instead of
 * being taken for the peer of a new ring with the same number.
 */
static uint32_t aport_free(struct xen *xen, uint32_t domain, uint16_t partner)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t aport;

	do { /* 128 rings: it ends */
		aport = ANY_APORT_FIRST | d->next_aport;
		txn_set(xen, &d->next_aport, (d->next_aport + 1) & (ANY_APORT_FIRST - 1));
	} while (argo_find(xen, domain, aport, partner, NULL));
	return aport;
}

int guest_ring_register(struct xen *xen, uint32_t aport, uint16_t partner, uint32_t len,
	uint32_t *ret_index, uint32_t *ret_aport, uint32_t *ret_first_page)
{
	uint32_t domain = slot_domain(xen, xen->slot);
	struct ring_request req = {.aport = aport,
		.partner = partner,
		.len = len,
		.flags = XEN_ARGO_REGISTER_FLAG_FAIL_EXIST};
	bool commit;
	int r;

	if (domain_at(xen, domain)->flags & SIM_DOMAIN_NO_DRIVER)
		return -ENXIO;
	if (xen->seg->argo_off)
		return -EOPNOTSUPP;
	if (len < ARGO_RING_LEN_MIN || len > ARGO_RING_LEN_MAX || (len & 15))
		return -EINVAL;
	req.n_pages = (len + (uint32_t)sizeof(xen_argo_ring_t) + HV_PAGE_SIZE - 1) / HV_PAGE_SIZE;
	r = guest_pages_get(xen, req.n_pages, &req.first_page);
	if (r < 0)
		return r;
	if (guest_begin(xen) < 0)
		return -ENODEV;
	if (aport == 0)
		req.aport = aport_free(xen, domain, partner);
	r = argo_register_locked(xen, domain, &req, ret_index, &commit);
	if (r < 0) {
		txn_abort(xen);
		guest_pages_put(xen, req.first_page, req.n_pages);
		return r;
	}
	txn_set(xen, &domain_at(xen, domain)->rings[*ret_index].owner, xen->slot + 1);
	txn_commit(xen);
	*ret_aport = req.aport;
	*ret_first_page = req.first_page;
	return 0;
}

/* A ring that is there, by its name. */
static void unregister_locked(struct xen *xen, uint32_t domain, const struct sim_ring *ring)
{
	if (argo_unregister_locked(xen, domain, ring->aport, ring->partner) == -ENOENT)
		segment_is_corrupt(xen);
}

/*
 * Unregisters and gives the pages back. The ring may be gone already, by the partner's death: the
 * pages are still the caller's then, and nobody writes to them.
 */
int guest_ring_unregister(struct xen *xen, uint32_t index, uint32_t first_page, uint32_t n_pages)
{
	uint32_t domain = slot_domain(xen, xen->slot);
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_ring *ring = &d->rings[index];

	if (guest_begin(xen) < 0)
		return -ENODEV;
	if (ring->used && ring->owner == xen->slot + 1 && ring->first_page == first_page)
		unregister_locked(xen, domain, ring);
	pages_free_locked(xen, first_page, n_pages);
	txn_commit(xen);
	return 0;
}

int guest_ring_watch(struct xen *xen, uint32_t index, bool on)
{
	uint32_t domain = slot_domain(xen, xen->slot);
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_ring *ring = &d->rings[index];
	uint64_t watch;
	struct xen txn;

	if (guest_begin_own(xen, &txn) < 0)
		return -ENODEV;
	watch = d->ring_watch[index / 64] & ~WATCH_BIT(index);
	if (!ring->used || ring->owner != xen->slot + 1) {
		txn_abort(&txn);
		return on ? -ESTALE : 0; /* it vanished with its partner */
	}
	txn_set(&txn, &d->ring_watch[index / 64], on ? watch | WATCH_BIT(index) : watch);
	/* The handler finds data or room that is there already, as if the interrupt came now. */
	if (on && (ring_has_data(&txn, ring) || ring_has_room(&txn, domain, ring)))
		txn_redo(&txn, SIM_REDO_VIRQ_ARGO, domain, 0, 0);
	txn_commit(&txn);
	return 0;
}

/* Under every lock: what to wait for is noted in the own ring, and in the destination's. */
static int ring_send_all(struct xen *xen, struct sim_ring *ring, uint32_t domain,
	const xen_argo_send_addr_t *addr, const xen_argo_iov_t *iov, uint32_t n_iov, uint32_t type)
{
	uint32_t len = 0;
	int r;

	if (guest_begin(xen) < 0)
		return -ENODEV;
	r = argo_sendv_locked(xen, domain, addr, iov, n_iov, type, true);
	if (r == -EAGAIN && ring->used && ring->owner == xen->slot + 1) {
		for (uint32_t i = 0; i < n_iov; i++)
			len += iov[i].iov_len;
		if (ring->want < len + 1)
			txn_set(xen, &ring->want, len + 1);
		txn_set(xen, &ring->has_peer, 1);
		txn_set(xen, &ring->peer_aport, addr->dst.aport);
	} else if (r >= 0 && ring->want && ring->owner == xen->slot + 1) {
		txn_set(xen, &ring->want, 0);
	}
	txn_commit(xen);
	return r;
}

/* addr's source is stamped by whoever registered the ring: one process cannot speak as another. */
int guest_ring_send(struct xen *xen, uint32_t index, const xen_argo_send_addr_t *addr,
	const xen_argo_iov_t *iov, uint32_t n_iov, uint32_t type)
{
	uint32_t domain = slot_domain(xen, xen->slot);
	struct sim_ring *ring = &domain_at(xen, domain)->rings[index];
	int r = -EAGAIN;
	struct xen txn;

	if (!peek(&ring->want) && argo_begin_sendv(xen, addr->dst.domain_id, &txn)) {
		r = -ENODEV;
		if (slot_is_live(&txn))
			r = argo_sendv_now_locked(&txn, domain, addr, iov, n_iov, type, true);
		txn_commit(&txn);
	}
	if (r == -EAGAIN)
		r = ring_send_all(xen, ring, domain, addr, iov, n_iov, type);
	return r;
}

int guest_ring_consumed(struct xen *xen)
{
	uint32_t domain = slot_domain(xen, xen->slot);
	struct sim_domain *d = domain_at(xen, domain);

	/* Pairs with argo_sendv_locked: nobody waits, or whoever is about to sees the room. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&d->n_waiting, memory_order_relaxed) == 0)
		return domain_has_argo(d) ? 0 : -ENODEV;
	if (guest_begin(xen) < 0)
		return -ENODEV;
	argo_check_waiters_locked(xen, domain);
	txn_commit(xen);
	return 0;
}

/*
 * The pages that no ring has any more: of rings that vanished with their partner, or of a process
 * killed between taking pages and registering them.
 */
static void ring_pages_release(struct xen *xen, uint32_t slot)
{
	uint64_t info = SIM_PAGE(slot_domain(xen, slot), SIM_PAGE_RING, 0, slot + 1);
	uint32_t first = 0;

	txn_begin(xen);
	for (uint32_t page = 1; page <= SIM_POOL_PAGES; page++) {
		bool mine = page < SIM_POOL_PAGES && xen->seg->pages[page] == info;

		if (mine && !first)
			first = page;
		if (!mine && first) {
			pages_free_locked(xen, first, page - first);
			first = 0;
		}
	}
	txn_commit(xen);
}

void guest_rings_release(struct xen *xen, uint32_t slot)
{
	uint32_t domain = slot_domain(xen, slot);
	struct sim_domain *d = domain_at(xen, domain);

	for (uint32_t i = 0; i < SIM_MAX_RINGS; i++) {
		struct sim_ring *ring = &d->rings[i];

		if (ring->owner != slot + 1)
			continue;
		txn_begin(xen);
		if (ring->used && ring->owner == slot + 1)
			unregister_locked(xen, domain, ring);
		txn_commit(xen);
	}
	ring_pages_release(xen, slot);
}
