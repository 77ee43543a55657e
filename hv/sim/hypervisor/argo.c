/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Argo's rings: registering, finding, removing, notify (xen/common/argo.c). Sending is in
 * argo-send.c. The memory of a ring belongs to a guest: whatever is read from it (rx_ptr) may be
 * anything, and is bounded before it is used.
 */
#include "hv/sim/hypervisor/argo.h"

#include <errno.h>

#include "base/macro.h"
#include "hv/sim/hypervisor/fault.h"
#include "hv/sim/hypervisor/virq.h"
#include "hv/sim/memory/journal.h"
#include "hv/sim/memory/page.h"

#define FRAMES_PER_PAGE (HV_PAGE_SIZE / 4U)

static struct sim_domain *ring_domain(const struct xen *xen, const struct sim_ring *ring)
{
	size_t offset = (size_t)((const char *)ring - (const char *)xen->seg->domains);

	return &xen->seg->domains[offset / sizeof(struct sim_domain)];
}

static uint32_t bucket_of(uint32_t aport)
{
	return (aport ^ aport >> 8 ^ aport >> 16) % SIM_RING_BUCKETS;
}

/* find_ring_info */
struct sim_ring *argo_find(
	struct xen *xen, uint32_t domain, uint32_t aport, uint16_t partner, uint32_t *ret_index)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t n = 0;

	for (uint32_t i = d->ring_bucket[bucket_of(aport)]; i; i = d->rings[i - 1].next) {
		struct sim_ring *ring;

		if (i > SIM_MAX_RINGS || n++ == SIM_MAX_RINGS) {
			segment_is_corrupt(xen);
			return NULL;
		}
		ring = &d->rings[i - 1];
		if (ring->aport != aport || ring->partner != partner)
			continue;
		if (ret_index)
			*ret_index = i - 1;
		return ring;
	}
	return NULL;
}

/* find_ring_info_by_match: the partner's own ring first, then a wildcard one. */
struct sim_ring *argo_match(
	struct xen *xen, uint32_t domain, uint32_t aport, uint16_t sender, uint32_t *ret_index)
{
	struct sim_ring *ring = argo_find(xen, domain, aport, sender, ret_index);

	if (!ring && xen->seg->argo_mac_permissive)
		ring = argo_find(xen, domain, aport, XEN_ARGO_DOMID_ANY, ret_index);
	return ring;
}

/* The address of byte `offset` of the ring, header included, and how many bytes follow. */
uint8_t *argo_ring_at(
	struct xen *xen, const struct sim_ring *ring, uint32_t offset, uint32_t *ret_contiguous)
{
	uint32_t frame;

	if (ring->first_page) {
		*ret_contiguous = ring->n_pages * HV_PAGE_SIZE - offset;
		return (uint8_t *)page_address(xen, ring->first_page) + offset;
	}
	frame = ((const uint32_t *)page_address(xen, ring->frame_list))[offset / HV_PAGE_SIZE];
	*ret_contiguous = HV_PAGE_SIZE - offset % HV_PAGE_SIZE;
	return (uint8_t *)page_address(xen, frame) + offset % HV_PAGE_SIZE;
}

static _Atomic uint32_t *ring_header(struct xen *xen, const struct sim_ring *ring)
{
	uint32_t contiguous;

	return (_Atomic uint32_t *)argo_ring_at(xen, ring, 0, &contiguous);
}

/* get_sanitized_ring */
uint32_t argo_sanitized_rx(struct xen *xen, const struct sim_ring *ring)
{
	uint32_t rx = atomic_load_explicit(ring_header(xen, ring), memory_order_acquire);

	rx = round_up16(rx);
	return rx >= ring->len ? 0 : rx;
}

/* ringbuf_payload_space */
uint32_t argo_payload_space(struct xen *xen, const struct sim_ring *ring)
{
	int32_t space;

	if (!ring->len)
		return 0;
	space = (int32_t)argo_sanitized_rx(xen, ring) - (int32_t)peek(&ring->tx_ptr);
	if (space <= 0)
		space += (int32_t)ring->len;
	space -= 16 + 16;
	return space < 0 ? 0 : (uint32_t)space;
}

static void waiter_remove(struct xen *xen, struct sim_ring *ring, uint32_t i)
{
	struct sim_waiter *last = &ring->waiters[ring->n_waiters - 1];
	struct sim_domain *d = ring_domain(xen, ring);

	txn_set(xen, &ring->waiters[i].domid, last->domid);
	txn_set(xen, &ring->waiters[i].len, last->len);
	txn_set(xen, &ring->n_waiters, ring->n_waiters - 1);
	txn_set(xen, &d->n_waiting, d->n_waiting - 1);
}

/* pending_cancel */
void argo_waiter_cancel_locked(struct xen *xen, struct sim_ring *ring, uint16_t domid)
{
	for (uint32_t i = ring->n_waiters; i-- > 0;)
		if (ring->waiters[i].domid == domid)
			waiter_remove(xen, ring, i);
}

/* pending_requeue: one entry a domain, the largest length kept. EBUSY: the table is full. */
int argo_requeue_locked(struct xen *xen, struct sim_ring *ring, uint16_t domid, uint32_t len)
{
	struct sim_domain *d = ring_domain(xen, ring);

	for (uint32_t i = 0; i < ring->n_waiters; i++) {
		if (ring->waiters[i].domid != domid)
			continue;
		if (ring->waiters[i].len < len)
			txn_set(xen, &ring->waiters[i].len, len);
		return 0;
	}
	if (ring->n_waiters >= SIM_MAX_WAITERS)
		return -EBUSY;
	txn_set(xen, &ring->waiters[ring->n_waiters].domid, domid);
	txn_set(xen, &ring->waiters[ring->n_waiters].len, len);
	txn_set(xen, &ring->n_waiters, ring->n_waiters + 1);
	txn_set(xen, &d->n_waiting, d->n_waiting + 1);
	return 0;
}

/*
 * notify_check_pending: whoever waits for room that is there now is signalled, once. Each domain
 * gets one interrupt here where Xen may give it several, which coalesce.
 */
void argo_check_waiters_locked(struct xen *xen, uint32_t domain)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint64_t signal = 0;

	for (uint32_t i = 0; d->n_waiting && i < SIM_MAX_RINGS; i++) {
		struct sim_ring *ring = &d->rings[i];
		uint32_t space;

		if (!ring->used || !ring->n_waiters)
			continue;
		space = argo_payload_space(xen, ring);
		for (uint32_t w = ring->n_waiters; space && w-- > 0;) {
			uint32_t waiter = sim_domain_find(xen, ring->waiters[w].domid);

			if (space < ring->waiters[w].len)
				continue;
			waiter_remove(xen, ring, w);
			if (waiter != DOMAIN_NONE)
				signal |= 1ULL << waiter;
		}
	}
	for (; signal; signal &= signal - 1)
		virq_argo_locked(xen, (uint32_t)__builtin_ctzll(signal));
}

static void frames_drop(struct xen *xen, struct sim_ring *ring)
{
	if (ring->frame_list)
		pages_free_locked(xen, ring->frame_list,
			(ring->n_pages + FRAMES_PER_PAGE - 1) / FRAMES_PER_PAGE);
	txn_set(xen, &ring->frame_list, 0);
}

/* The link of its hash chain that points to the ring; NULL: none does. */
static uint8_t *chain_link(struct sim_domain *d, uint32_t index)
{
	uint8_t *link = &d->ring_bucket[bucket_of(d->rings[index].aport)];

	for (uint32_t n = 0; n<SIM_MAX_RINGS && * link> 0 && *link <= SIM_MAX_RINGS; n++) {
		if (*link == index + 1)
			return link;
		link = &d->rings[*link - 1].next;
	}
	return NULL;
}

/* ring_remove_info: waiters are dropped without a signal. ring_count is the caller's. */
void argo_remove_locked(struct xen *xen, uint32_t domain, uint32_t index)
{
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_ring *ring = &d->rings[index];
	uint8_t *link = chain_link(d, index);

	if (link)
		txn_set(xen, link, ring->next);
	else
		segment_is_corrupt(xen);
	frames_drop(xen, ring);
	txn_set(xen, &ring->used, 0);
	txn_set(xen, &ring->len, 0);
	txn_set(xen, &d->n_waiting, d->n_waiting - ring->n_waiters);
	txn_set(xen, &ring->n_waiters, 0);
	txn_set(xen, &ring->owner, 0);
	txn_set(xen, &d->ring_watch[index / 64], d->ring_watch[index / 64] & ~(1ULL << index % 64));
}

static bool frames_are_valid(struct xen *xen, uint32_t domain, const struct ring_request *req)
{
	for (uint32_t i = 0; i < req->n_pages; i++)
		if (!page_is_owned(xen, req->gfns ? req->gfns[i] : req->first_page + i, domain))
			return false;
	return true;
}

/* find_ring_mfns. A list that is contiguous, as the guest kernel's are, needs no table. */
static int frames_set(
	struct xen *xen, uint32_t domain, struct sim_ring *ring, const struct ring_request *req)
{
	bool contiguous = true;
	uint32_t list, *frames;
	int r;

	if (!frames_are_valid(xen, domain, req))
		return -EINVAL;
	for (uint32_t i = 1; req->gfns && i < req->n_pages; i++)
		contiguous = contiguous && req->gfns[i] == req->gfns[0] + i;
	frames_drop(xen, ring); /* of a ring that is registered again */
	txn_set(xen, &ring->n_pages, req->n_pages);
	if (contiguous) {
		txn_set(xen, &ring->first_page, req->gfns ? req->gfns[0] : req->first_page);
		return 0;
	}
	r = pages_alloc_locked(xen, domain, SIM_PAGE_XEN, 0,
		(req->n_pages + FRAMES_PER_PAGE - 1) / FRAMES_PER_PAGE, &list);
	if (r < 0)
		return r;
	frames = page_address(xen, list);
	for (uint32_t i = 0; i < req->n_pages; i++)
		frames[i] = (uint32_t)req->gfns[i];
	txn_set(xen, &ring->first_page, 0);
	txn_set(xen, &ring->frame_list, list);
	return 0;
}

static int ring_new(
	struct xen *xen, struct sim_domain *d, const struct ring_request *req, uint32_t *ret_index)
{
	uint32_t bucket = bucket_of(req->aport), i = 0;
	struct sim_ring *ring;

	while (i < SIM_MAX_RINGS && d->rings[i].used)
		i++;
	if (i == SIM_MAX_RINGS)
		return -ENOSPC;
	ring = &d->rings[i];
	txn_set(xen, &ring->used, 1);
	txn_set(xen, &ring->aport, req->aport);
	txn_set(xen, &ring->partner, req->partner);
	txn_set(xen, &ring->next, d->ring_bucket[bucket]);
	txn_set(xen, &d->ring_bucket[bucket], i + 1);
	txn_set(xen, &ring->n_waiters, 0);
	txn_set(xen, &ring->frame_list, 0);
	txn_set(xen, &ring->owner, 0);
	txn_set(xen, &ring->has_peer, 0);
	txn_set(xen, &ring->want, 0);
	*ret_index = i;
	return 0;
}

/* register_ring, after its checks: tx_ptr is kept if it makes sense, so that a guest can resume. */
static void ring_start(struct xen *xen, uint32_t domain, uint32_t index, uint32_t len)
{
	struct sim_ring *ring = &domain_at(xen, domain)->rings[index];
	_Atomic uint32_t *header = ring_header(xen, ring);
	uint32_t tx = atomic_load(&header[1]);

	if (tx >= len || (tx & 15)) {
		tx = round_up16(atomic_load(&header[0]));
		if (tx >= len)
			tx = 0;
		txn_redo(xen, SIM_REDO_TX_PTR, domain, index, 0);
	}
	txn_set(xen, &ring->tx_ptr, tx);
	txn_set(xen, &ring->len, len);
}

static bool request_is_valid(const struct ring_request *req)
{
	return req->len >= SIM_RING_LEN_MIN && req->len <= SIM_RING_LEN_MAX && !(req->len & 15) &&
	       (req->len + (uint32_t)sizeof(xen_argo_ring_t) + HV_PAGE_SIZE - 1) / HV_PAGE_SIZE ==
		       req->n_pages;
}

/*
 * register_ring from its flags on. *ret_commit is set where Xen leaves something changed although
 * it fails: re-registering with bad frames removes the ring, and leaks its count.
 */
int argo_register_locked(struct xen *xen, uint32_t domain, const struct ring_request *req,
	uint32_t *ret_index, bool *ret_commit)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t partner = DOMAIN_NONE, index;
	struct sim_ring *ring;
	bool existed;
	int r;

	*ret_commit = false;
	if (!request_is_valid(req))
		return -EINVAL;
	if (req->partner == XEN_ARGO_DOMID_ANY) {
		if (!xen->seg->argo_mac_permissive)
			return -EPERM;
	} else {
		partner = sim_domain_find(xen, req->partner);
		if (partner == DOMAIN_NONE)
			return -ESRCH;
	}
	if (xen_fault(xen, SIM_FAULT_REGISTER_ENOMEM))
		return -ENOMEM;
	if (!domain_has_argo(d))
		return -ENODEV;
	if (partner != DOMAIN_NONE && !domain_has_argo(domain_at(xen, partner)))
		return -ECONNREFUSED;
	if (d->n_argo >= SIM_MAX_RINGS || xen_fault(xen, SIM_FAULT_REGISTER_ENOSPC))
		return -ENOSPC;
	ring = argo_find(xen, domain, req->aport, req->partner, &index);
	existed = ring != NULL;
	if (existed && ((req->flags & XEN_ARGO_REGISTER_FLAG_FAIL_EXIST) || ring->len != req->len))
		return -EEXIST;
	if (req->gfns && !existed && xen_fault(xen, SIM_FAULT_REGISTER_EAGAIN))
		return -EAGAIN;
	if (!existed) {
		r = ring_new(xen, d, req, &index);
		if (r < 0)
			return r;
		ring = &d->rings[index];
	}
	r = frames_set(xen, domain, ring, req);
	if (r < 0) {
		*ret_commit = existed;
		if (existed)
			argo_remove_locked(xen, domain, index);
		return r;
	}
	ring_start(xen, domain, index, req->len);
	txn_set(xen, &d->n_argo, d->n_argo + 1);
	if (ret_index)
		*ret_index = index;
	return 0;
}

int argo_unregister_locked(struct xen *xen, uint32_t domain, uint32_t aport, uint16_t partner)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t index;

	if (!domain_has_argo(d))
		return -ENODEV;
	if (!argo_find(xen, domain, aport, partner, &index))
		return -ENOENT;
	argo_remove_locked(xen, domain, index);
	txn_set(xen, &d->n_argo, d->n_argo - 1);
	return 0;
}
