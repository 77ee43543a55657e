/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's half of event delivery: finding what is pending as a kernel's upcall does, and the
 * emulated kernel's interrupt handler. Runs after the commit, and again after a crash: the owner's
 * slot has the event before the port shows that it was taken.
 */
#include "hv/sim/guest.h"

#include "hv/sim/journal.h"

/* The two-level scan: the selector's words, then their bits that are pending and not masked. */
static void scan_2l(
	struct xen *xen, uint32_t domain, uint32_t vcpu, upcall_handler handle, void *arg)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint64_t words = atomic_exchange(&d->info.vcpu[vcpu].selector, 0);

	for (; words; words &= words - 1) {
		uint32_t word = (uint32_t)__builtin_ctzll(words);
		uint64_t bits =
			atomic_load(&d->info.pending[word]) & ~atomic_load(&d->info.mask[word]);

		for (; bits; bits &= bits - 1)
			handle(xen, domain, word * 64 + (uint32_t)__builtin_ctzll(bits), arg);
	}
}

void guest_upcall(struct xen *xen, uint32_t domain, uint32_t vcpu, upcall_handler handle, void *arg)
{
	struct sim_vcpu_info *v = &domain_at(xen, domain)->info.vcpu[vcpu];

	while (atomic_exchange(&v->upcall_pending, 0))
		scan_2l(xen, domain, vcpu, handle, arg);
}

static void port_clear_pending(struct sim_domain *d, uint32_t port)
{
	atomic_fetch_and(&d->info.pending[port / 64], ~(1ULL << port % 64));
}

static void port_mask(struct sim_domain *d, uint32_t port)
{
	atomic_fetch_or(&d->info.mask[port / 64], 1ULL << port % 64);
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
		guest_virq_argo(xen, domain, arg);
	} else if (owner <= SIM_MAX_SLOTS) {
		slot_set_port(xen, owner - 1U, port);
		kick_later(arg, owner - 1U);
		port_mask(d, port);
	}
	port_clear_pending(d, port);
}

/* Whatever the flag says: a test may poll the same words. */
void guest_interrupt(struct xen *xen, uint32_t domain, uint32_t vcpu, struct kick_set *kicks)
{
	atomic_store(&domain_at(xen, domain)->info.vcpu[vcpu].upcall_pending, 1);
	guest_upcall(xen, domain, vcpu, handle_port, kicks);
}
