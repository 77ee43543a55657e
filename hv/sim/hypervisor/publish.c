/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * After the commit: what guests see. Everything here is idempotent, but for a spurious event; and
 * it changes what the guest changes as well, without a lock: bit by bit, never whole words.
 */
#include "hv/sim/hypervisor/publish.h"

#include "hv/sim/hypervisor/argo.h"
#include "hv/sim/hypervisor/event.h"
#include "hv/sim/hypervisor/evtchn.h"
#include "hv/sim/hypervisor/fault.h"
#include "hv/sim/hypervisor/fifo.h"
#include "hv/sim/hypervisor/upcall.h"

static void bit_set(_Atomic uint64_t *words, uint32_t bit)
{
	atomic_fetch_or(&words[bit / 64], 1ULL << bit % 64);
}

static void bit_clear(_Atomic uint64_t *words, uint32_t bit)
{
	atomic_fetch_and(&words[bit / 64], ~(1ULL << bit % 64));
}

/*
 * evtchn_2l_set_pending and vcpu_mark_events_pending; a guest kernel's upcall runs here and now.
 * Once its handler has masked the port, the owner's slot has the event. A process that runs this
 * again, after a crash, finds the port masked, and only has to kick.
 */
static void deliver(struct xen *xen, uint32_t domain, uint32_t port, struct kick_set *kicks)
{
	struct sim_domain *d = domain_at(xen, domain);
	const struct sim_port *p = port_entry(xen, d, port);
	struct sim_vcpu_info *v = &d->info.vcpu[p->vcpu];
	uint64_t selected = 1ULL << port / 64;

	bit_set(d->info.pending, port);
	if (bit_test(d->info.mask, port))
		return;
	/*
	 * Only a selector bit that was clear brings the upcall. The flag is set before the bit as
	 * well, for a crash between the two. A guest that sees the flag sees the bit; nothing is
	 * read here after the flag that would have to wait for it.
	 */
	if (!(atomic_load(&v->selector) & selected)) {
		atomic_store_explicit(&v->upcall_pending, 1, memory_order_release);
		atomic_fetch_or(&v->selector, selected);
		atomic_store_explicit(&v->upcall_pending, 1, memory_order_release);
	}
	if (p->owner != SIM_PORT_NO_OWNER)
		upcall_interrupt(xen, domain, p->vcpu, kicks);
}

static void kick_owner(struct xen *xen, uint32_t domain, uint32_t port, struct kick_set *kicks)
{
	const struct sim_port *p = port_entry(xen, domain_at(xen, domain), port);
	uint16_t owner = p->owner;

	if (xen->choices && xen->choices->held(xen, domain, p->vcpu))
		return;
	if (owner != SIM_PORT_NO_OWNER && owner <= SIM_MAX_SLOTS)
		kick_later(kicks, owner - 1U);
}

/* A guest that polls may have cleared what was pending; an owner's handler is the only one to. */
static void unmask(struct xen *xen, const struct sim_redo *redo, struct kick_set *kicks)
{
	struct sim_domain *d = domain_at(xen, redo->domain);
	bool owned = port_entry(xen, d, redo->a)->owner != SIM_PORT_NO_OWNER;

	if (d->fifo) {
		atomic_fetch_and(fifo_word(xen, d, redo->a), ~(1U << EVTCHN_FIFO_MASKED));
		return;
	}
	bit_clear(d->info.mask, redo->a);
	if (!redo->b || (!owned && !bit_test(d->info.pending, redo->a)))
		return;
	deliver(xen, redo->domain, redo->a, kicks);
	kick_owner(xen, redo->domain, redo->a, kicks);
}

/* Linked once more, after a crash that came behind this, it would be told of once more. */
static void link_event(struct xen *xen, struct sim_redo *redo, struct kick_set *kicks)
{
	struct sim_domain *d = domain_at(xen, redo->domain);
	const struct sim_port *p = port_entry(xen, d, redo->a);

	fifo_link(xen, redo);
	if (p->owner != SIM_PORT_NO_OWNER)
		upcall_interrupt(xen, redo->domain, p->vcpu, kicks);
	redo->kind = SIM_REDO_KICK;
	kick_owner(xen, redo->domain, redo->a, kicks);
}

static void closed(struct xen *xen, const struct sim_redo *redo)
{
	struct sim_domain *d = domain_at(xen, redo->domain);
	_Atomic uint32_t *word;

	if (d->fifo) {
		word = fifo_word(xen, d, redo->a);
		if (word)
			atomic_fetch_and(word, ~(1U << EVTCHN_FIFO_PENDING |
						       (redo->b ? 1U << EVTCHN_FIFO_MASKED : 0U)));
	} else if (redo->a < SIM_2L_PORTS) {
		bit_clear(d->info.pending, redo->a);
		if (redo->b)
			bit_clear(d->info.mask, redo->a);
	}
}

void redo_run(struct xen *xen, struct sim_redo *redo, struct kick_set *kicks)
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
		kick_owner(xen, redo->domain, redo->a, kicks);
		break;
	case SIM_REDO_PEND:
		/* or not masked any more: such a guest looks at what is pending after that only */
		if (d->fifo)
			atomic_fetch_or(fifo_word(xen, d, redo->a), 1U << EVTCHN_FIFO_PENDING);
		else
			deliver(xen, redo->domain, redo->a, kicks);
		break;
	case SIM_REDO_UNMASK:
		unmask(xen, redo, kicks);
		break;
	case SIM_REDO_CLOSED:
		closed(xen, redo);
		break;
	case SIM_REDO_FIFO_LINK:
		link_event(xen, redo, kicks);
		break;
	case SIM_REDO_KICK:
		kick_owner(xen, redo->domain, redo->a, kicks);
		break;
	case SIM_REDO_VIRQ_ARGO:
		upcall_virq_argo(xen, redo->domain, kicks);
		break;
	case SIM_REDO_CLEAR_BYTE:
		atomic_store((_Atomic uint8_t *)page_address(xen, redo->a) + redo->b, 0);
		break;
	case SIM_REDO_AUTHORITY:
		slot_set_flags(xen, 0, redo->a);
		kick_later(kicks, 0);
		break;
	}
}
