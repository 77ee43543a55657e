/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The interrupt half of an emulated guest kernel: finding what is pending as a kernel's upcall
 * does, and telling the processes that own it. An emulated vcpu has no thread of its own, so that
 * the process that raised the event runs this, after its commit, and once more after a crash: the
 * owner's slot has the event before the port shows that it was taken.
 */
#include "hv/sim/hypervisor/upcall.h"

#include "hv/sim/hypervisor/argo.h"
#include "hv/sim/hypervisor/evtchn.h"
#include "hv/sim/hypervisor/fault.h"
#include "hv/sim/hypervisor/fifo.h"
#include "hv/sim/memory/journal.h"

/* The two-level scan: the selector's words, then their bits that are pending and not masked. */
static void scan_2l(struct xen *xen, uint32_t domain, uint32_t vcpu, upcall_handler fn, void *arg)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint64_t words = atomic_exchange(&d->info.vcpu[vcpu].selector, 0);

	for (; words; words &= words - 1) {
		uint32_t word = (uint32_t)__builtin_ctzll(words);
		uint64_t bits =
			atomic_load(&d->info.pending[word]) & ~atomic_load(&d->info.mask[word]);

		for (; bits; bits &= bits - 1)
			fn(xen, domain, word * 64 + (uint32_t)__builtin_ctzll(bits), arg);
	}
}

/* Unlinks a port, and returns the one behind it. */
static uint32_t word_unlink(_Atomic uint32_t *word)
{
	uint32_t old = atomic_load(word);

	while (!atomic_compare_exchange_weak(
		word, &old, old & ~(1U << EVTCHN_FIFO_LINKED | EVTCHN_FIFO_LINK_MASK)))
		;
	return old & EVTCHN_FIFO_LINK_MASK;
}

static bool word_is_deliverable(_Atomic uint32_t *word)
{
	uint32_t bits = atomic_load(word);

	return (bits & 1U << EVTCHN_FIFO_PENDING) && !(bits & 1U << EVTCHN_FIFO_MASKED);
}

/*
 * The walk: the highest priority that is ready, one event of it, and again. The head of a queue is
 * the guest's own until the queue is empty; then the control block has the next one.
 */
static void walk_fifo(struct xen *xen, uint32_t domain, uint32_t vcpu, upcall_handler fn, void *arg)
{
	struct sim_domain *d = domain_at(xen, domain);
	struct evtchn_fifo_control_block *control = fifo_control(xen, d, vcpu);
	uint32_t heads[EVTCHN_FIFO_MAX_QUEUES] = {0}, ready = 0;

	if (!control)
		return;
	while ((ready |= atomic_exchange((_Atomic uint32_t *)&control->ready, 0))) {
		uint32_t q = (uint32_t)__builtin_ctz(ready), port = heads[q];
		_Atomic uint32_t *word;

		if (q >= EVTCHN_FIFO_MAX_QUEUES)
			return; /* the guest's own doing */
		if (!port)
			port = atomic_load((_Atomic uint32_t *)&control->head[q]);
		word = fifo_word(xen, d, port);
		heads[q] = word ? word_unlink(word) : 0;
		if (!heads[q])
			ready &= ~(1U << q);
		if (word && word_is_deliverable(word))
			fn(xen, domain, port, arg);
	}
}

void guest_upcall(struct xen *xen, uint32_t domain, uint32_t vcpu, upcall_handler fn, void *arg)
{
	struct sim_vcpu_info *v = &domain_at(xen, domain)->info.vcpu[vcpu];

	while (atomic_load(&v->upcall_pending) && atomic_exchange(&v->upcall_pending, 0))
		if (domain_at(xen, domain)->fifo)
			walk_fifo(xen, domain, vcpu, fn, arg);
		else
			scan_2l(xen, domain, vcpu, fn, arg);
}

static void port_clear_pending(struct xen *xen, struct sim_domain *d, uint32_t port)
{
	if (d->fifo)
		atomic_fetch_and(fifo_word(xen, d, port), ~(1U << EVTCHN_FIFO_PENDING));
	else
		atomic_fetch_and(&d->info.pending[port / 64], ~(1ULL << port % 64));
}

static void port_mask(struct xen *xen, struct sim_domain *d, uint32_t port)
{
	if (d->fifo)
		atomic_fetch_or(fifo_word(xen, d, port), 1U << EVTCHN_FIFO_MASKED);
	else
		atomic_fetch_or(&d->info.mask[port / 64], 1ULL << port % 64);
}

bool ring_has_data(struct xen *xen, const struct sim_ring *ring)
{
	uint32_t contiguous;
	_Atomic uint32_t *header = (_Atomic uint32_t *)argo_ring_at(xen, ring, 0, &contiguous);

	return atomic_load_explicit(header, memory_order_acquire) != ring->tx_ptr;
}

/*
 * Room for what got EAGAIN last; also when the destination is gone, which sending will tell. Others
 * may be sending there meanwhile, under another lock: that takes room away only.
 */
bool ring_has_room(struct xen *xen, uint32_t domain, const struct sim_ring *ring)
{
	uint32_t target = sim_domain_find(xen, ring->partner);
	struct sim_ring *dst;

	if (!ring->want || !ring->has_peer)
		return false;
	if (target == DOMAIN_NONE)
		return true;
	dst = argo_match(xen, target, ring->peer_aport, domain_at(xen, domain)->domid, NULL);
	return !dst || argo_payload_space(xen, dst) >= ring->want - 1;
}

/*
 * Runs after the commit, and again after a crash: hence the bit in the slot first, then the watch,
 * and no more than stores, which nobody else makes without the domain's lock.
 */
void upcall_virq_argo(struct xen *xen, uint32_t domain, struct kick_set *kicks)
{
	struct sim_domain *d = domain_at(xen, domain);

	for (uint32_t word = 0; word < 2; word++) {
		for (uint64_t bits = d->ring_watch[word]; bits; bits &= bits - 1) {
			uint32_t i = word * 64 + (uint32_t)__builtin_ctzll(bits);
			struct sim_ring *ring = &d->rings[i];

			if (ring->owner == 0 || ring->owner > SIM_MAX_SLOTS ||
				(!ring_has_data(xen, ring) && !ring_has_room(xen, domain, ring)))
				continue;
			slot_set_ring(xen, ring->owner - 1U, i);
			kick_later(kicks, ring->owner - 1U);
			txn_store(&ring->want, sizeof(ring->want), 0);
			d->ring_watch[word] &= ~(1ULL << i % 64);
		}
	}
}

/*
 * evtchn_interrupt in drivers/xen/evtchn.c: the port is masked until its owner writes it back. An
 * orphan's events go nowhere; what no handler is there for stays pending.
 */
static void handle_port(struct xen *xen, uint32_t domain, uint32_t port, void *arg)
{
	struct sim_domain *d = domain_at(xen, domain);
	const struct sim_port *p = port_at(xen, d, port);
	uint16_t owner = p ? p->owner : SIM_PORT_NO_OWNER;

	if (owner == SIM_PORT_NO_OWNER)
		return;
	if (owner == SIM_PORT_KERNEL_OWNER) {
		upcall_virq_argo(xen, domain, arg);
	} else if (owner <= SIM_MAX_SLOTS) {
		slot_set_port(xen, owner - 1U, port);
		kick_later(arg, owner - 1U);
		port_mask(xen, d, port);
	}
	port_clear_pending(xen, d, port);
}

/* Sets the flag whatever it says: a test may poll the same words. */
void upcall_interrupt(struct xen *xen, uint32_t domain, uint32_t vcpu, struct kick_set *kicks)
{
	atomic_store_explicit(
		&domain_at(xen, domain)->info.vcpu[vcpu].upcall_pending, 1, memory_order_release);
	if (xen->choices && xen->choices->hold(xen, domain, vcpu))
		return;
	guest_upcall(xen, domain, vcpu, handle_port, kicks);
}
