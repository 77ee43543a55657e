/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raising events: what is decided under the journal, and what is published after the commit. The
 * published part must be idempotent, but for a spurious event.
 */
#include "hv/sim/guest.h"
#include "hv/sim/journal.h"

static bool bit_test(const _Atomic uint64_t *words, uint32_t bit)
{
	return atomic_load_explicit(&words[bit / 64], memory_order_relaxed) >> bit % 64 & 1;
}

static void bit_set(_Atomic uint64_t *words, uint32_t bit)
{
	atomic_fetch_or_explicit(&words[bit / 64], 1ULL << bit % 64, memory_order_relaxed);
}

/*
 * evtchn_port_set_pending. Whether the port is masked is decided here and carried in the record:
 * judged again after a crash, the answer could differ, and the event be lost.
 */
void port_raise_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	struct sim_domain *d = domain_at(xen, domain);

	if (bit_test(d->info.pending, port))
		return; /* guest_test_and_set_bit in event_2l.c: it coalesces */
	txn_redo(xen, bit_test(d->info.mask, port) ? SIM_REDO_PEND : SIM_REDO_DELIVER, domain, port,
		0);
}

/* send_guest_global_virq(d, VIRQ_ARGO) */
void virq_argo_locked(struct xen *xen, uint32_t domain)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t port = d->virq_port[VIRQ_ARGO];

	if (!port)
		return;
	if (d->ports[port].owner != SIM_PORT_KERNEL_OWNER)
		port_raise_locked(xen, domain, port);
	else if (d->ring_watch[0] | d->ring_watch[1])
		txn_redo(xen, SIM_REDO_VIRQ_ARGO, domain, 0, 0);
	/* else the driver has its interrupt off, for nobody polls */
}

static void kick_later(struct kick_set *kicks, uint32_t slot)
{
	kicks->slots[slot / 64] |= 1ULL << slot % 64;
}

/*
 * With a guest kernel, its handler runs here and now: it masks the port, takes the pending bit,
 * and marks the port in the owner's slot (evtchn_interrupt in drivers/xen/evtchn.c). Without one,
 * the guest sees what Xen writes (evtchn_2l_set_pending, vcpu_mark_events_pending).
 */
static void deliver(struct xen *xen, uint32_t domain, uint32_t port, struct kick_set *kicks)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint16_t owner = d->ports[port].owner;

	if (owner == SIM_PORT_NO_OWNER) {
		bit_set(d->info.pending, port);
		atomic_fetch_or(&d->info.selector, 1ULL << port / 64);
		atomic_store(&d->info.upcall_pending, 1);
		return;
	}
	if (owner > SIM_MAX_SLOTS)
		return; /* an orphan's events go nowhere */
	bit_set(d->info.mask, port);
	slot_set_port(xen, owner - 1U, port);
	kick_later(kicks, owner - 1U);
}

void redo_run(struct xen *xen, const struct sim_redo *redo, struct kick_set *kicks)
{
	struct sim_domain *d = domain_at(xen, redo->domain);
	uint32_t contiguous;

	switch ((enum sim_redo_kind)redo->kind) {
	case SIM_REDO_TX_PTR:
		atomic_store_explicit(
			(_Atomic uint32_t *)argo_ring_at(xen, &d->rings[redo->a], 0, &contiguous) +
				1,
			d->rings[redo->a].tx_ptr, memory_order_release);
		break;
	case SIM_REDO_DELIVER:
		deliver(xen, redo->domain, redo->a, kicks);
		break;
	case SIM_REDO_PEND:
		bit_set(d->info.pending, redo->a);
		break;
	case SIM_REDO_VIRQ_ARGO:
		guest_virq_argo(xen, redo->domain, kicks);
		break;
	case SIM_REDO_CLEAR_BYTE:
		atomic_store((_Atomic uint8_t *)page_address(xen, redo->a) + redo->b, 0);
		break;
	case SIM_REDO_ZOMBIE:
		slot_set_flags(xen, 0, SIM_SLOT_DOMAINS);
		kick_later(kicks, 0);
		break;
	}
}

void kick_all(struct xen *xen, const struct kick_set *kicks)
{
	for (uint32_t i = 0; i < SIM_MAX_SLOTS / 64; i++)
		for (uint64_t word = kicks->slots[i]; word; word &= word - 1)
			kick_slot(xen, i * 64 + (uint32_t)__builtin_ctzll(word));
}
