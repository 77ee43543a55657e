/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's half of event delivery: finding what is pending as a kernel's upcall does, and the
 * emulated kernel's interrupt handler. Runs after the commit, and again after a crash: the owner's
 * slot has the event before the port shows that it was taken.
 */
#include "hv/sim/guest/guest.h"

#include "hv/sim/memory/journal.h"

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
static void walk_fifo(
	struct xen *xen, uint32_t domain, uint32_t vcpu, upcall_handler handle, void *arg)
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
			handle(xen, domain, port, arg);
	}
}

void guest_upcall(struct xen *xen, uint32_t domain, uint32_t vcpu, upcall_handler handle, void *arg)
{
	struct sim_vcpu_info *v = &domain_at(xen, domain)->info.vcpu[vcpu];

	while (atomic_load(&v->upcall_pending) && atomic_exchange(&v->upcall_pending, 0))
		if (domain_at(xen, domain)->fifo)
			walk_fifo(xen, domain, vcpu, handle, arg);
		else
			scan_2l(xen, domain, vcpu, handle, arg);
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
		port_mask(xen, d, port);
	}
	port_clear_pending(xen, d, port);
}

/* Whatever the flag says: a test may poll the same words. */
void guest_interrupt(struct xen *xen, uint32_t domain, uint32_t vcpu, struct kick_set *kicks)
{
	atomic_store_explicit(
		&domain_at(xen, domain)->info.vcpu[vcpu].upcall_pending, 1, memory_order_release);
	if (xen->choices && xen->choices->hold(xen, domain, vcpu))
		return;
	guest_upcall(xen, domain, vcpu, handle_port, kicks);
}

/* A zeroed page of the domain's own: no port is masked. Nobody sees it before the commit. */
static int kernel_page(struct xen *xen, uint32_t domain, uint32_t *ret_page)
{
	int r = pages_alloc_locked(xen, domain, SIM_PAGE_RAM, 0, 1, ret_page);

	if (r == 0)
		pages_zero(xen, *ret_page, 1);
	return r;
}

int guest_array_expand_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t page;
	int r = 0;

	while (r == 0 && d->fifo && port >= d->n_words) {
		r = kernel_page(xen, domain, &page);
		if (r == 0)
			r = fifo_expand_array_locked(xen, domain, page);
	}
	return r;
}

static int fifo_init_locked(struct xen *xen, uint32_t domain)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t page;
	int r = 0;

	for (uint32_t vcpu = 0; vcpu < d->n_vcpus && r == 0; vcpu++) {
		evtchn_init_control_t init = {.vcpu = vcpu};

		r = kernel_page(xen, domain, &page);
		init.control_gfn = page;
		if (r == 0)
			r = fifo_init_control_locked(xen, domain, &init);
	}
	return r < 0 ? r : guest_array_expand_locked(xen, domain, 0);
}

static int virq_argo_bind_locked(struct xen *xen, uint32_t domain)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t port;
	int r;

	if (!domain_has_argo(d))
		return 0;
	r = evtchn_bind_virq_locked(xen, domain, VIRQ_ARGO, 0, &port);
	if (r == 0)
		txn_set(xen, &port_entry(xen, d, port)->owner, SIM_PORT_KERNEL_OWNER);
	return r;
}

int guest_kernel_start_locked(struct xen *xen, uint32_t domain)
{
	int r = 0;

	if (domain_at(xen, domain)->flags & SIM_DOMAIN_FIFO)
		r = fifo_init_locked(xen, domain);
	return r < 0 ? r : virq_argo_bind_locked(xen, domain);
}

/*
 * evtchn_fifo_resume in drivers/xen/events/events_fifo.c. The pages were accepted before, and ports
 * are free: nothing can fail. That they are zeroed before the commit harms nobody: no port is left.
 */
void guest_kernel_restart_locked(struct xen *xen, uint32_t domain)
{
	uint32_t pages[SIM_MAX_PORTS / SIM_WORDS_PAGE], n = 0;
	evtchn_init_control_t init[SIM_MAX_VCPUS] = {0};
	struct sim_domain *d = domain_at(xen, domain);

	if (d->fifo && (d->flags & SIM_DOMAIN_FIFO)) {
		for (uint32_t vcpu = 0; vcpu < d->n_vcpus; vcpu++) {
			init[vcpu].vcpu = vcpu;
			init[vcpu].control_gfn = d->vcpus[vcpu].control_page;
			pages_zero(xen, d->vcpus[vcpu].control_page, 1);
		}
		for (; n < d->n_words / SIM_WORDS_PAGE; n++) {
			pages[n] = d->array_page[n];
			pages_zero(xen, pages[n], 1);
		}
		fifo_destroy_locked(xen, domain);
		for (uint32_t vcpu = 0; vcpu < d->n_vcpus; vcpu++)
			(void)fifo_init_control_locked(xen, domain, &init[vcpu]);
		for (uint32_t i = 0; i < n; i++)
			(void)fifo_expand_array_locked(xen, domain, pages[i]);
	}
	(void)virq_argo_bind_locked(xen, domain);
}
