/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The FIFO event ABI (event_fifo.c). An event word is the guest's as much as Xen's: every change
 * of one is a single atomic operation, never undone. So a raise sets PENDING before it decides, as
 * Xen does, which is harmless if it is never committed; the queue's tail goes through the journal;
 * and the link, the head and the upcall are published after the commit. The emulated guest kernel
 * changes them under its lock only, and for it everything is published after the commit.
 */
#include "hv/sim/hypervisor/fifo.h"

#include <errno.h>

#include "hv/sim/hypervisor/evtchn.h"
#include "hv/sim/memory/journal.h"
#include "hv/sim/memory/page.h"

#define PENDING (1U << EVTCHN_FIFO_PENDING)
#define MASKED	(1U << EVTCHN_FIFO_MASKED)
#define LINKED	(1U << EVTCHN_FIFO_LINKED)
#define BUSY	(1U << EVTCHN_FIFO_BUSY)
#define LINK	((uint32_t)EVTCHN_FIFO_LINK_MASK)

/* The record's b: the tail that the port is linked behind (0: none), the queue, its vcpu. */
#define TO(tail, priority, vcpu)                                                                   \
	((tail) | (uint32_t)(priority) << EVTCHN_FIFO_LINK_BITS |                                  \
		(uint32_t)(vcpu) << (EVTCHN_FIFO_LINK_BITS + 4))
#define TO_TAIL(b)     ((b)&LINK)
#define TO_PRIORITY(b) ((b) >> EVTCHN_FIFO_LINK_BITS & 15U)
#define TO_VCPU(b)     ((b) >> (EVTCHN_FIFO_LINK_BITS + 4))

_Atomic uint32_t *fifo_word(const struct xen *xen, const struct sim_domain *d, uint32_t port)
{
	if (port >= d->n_words)
		return NULL;
	return (_Atomic uint32_t *)page_address(xen, d->array_page[port / SIM_WORDS_PAGE]) +
	       port % SIM_WORDS_PAGE;
}

struct evtchn_fifo_control_block *fifo_control(
	const struct xen *xen, const struct sim_domain *d, uint32_t vcpu)
{
	const struct sim_vcpu *v = &d->vcpus[vcpu];

	if (!v->control_page)
		return NULL;
	return (void *)((uint8_t *)page_address(xen, v->control_page) + v->control_offset);
}

static bool under_lock(const struct sim_domain *d)
{
	return d->flags & SIM_DOMAIN_GUEST_KERNEL;
}

/* Linked by this very transaction, which its word does not show yet. */
static bool is_being_linked(const struct xen *xen, uint32_t domain, uint32_t port)
{
	const struct sim_guard *j = xen->guard;

	for (uint32_t i = 0; i < j->n_redo; i++)
		if (j->redo[i].kind == SIM_REDO_FIFO_LINK && j->redo[i].domain == domain &&
			j->redo[i].a == port)
			return true;
	return false;
}

/* A tail that is this port would be linked to itself: its queue is empty. */
static void link_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_port *p = port_entry(xen, d, port);
	uint32_t *old = &d->vcpus[p->last_vcpu].tail[p->last_priority];
	uint32_t *tail = &d->vcpus[p->vcpu].tail[p->priority];

	if (*old == port)
		txn_set(xen, old, 0);
	if (old != tail) {
		txn_set(xen, &p->last_vcpu, p->vcpu);
		txn_set(xen, &p->last_priority, p->priority);
	}
	txn_redo(xen, SIM_REDO_FIFO_LINK, domain, port, TO(*tail, p->priority, p->vcpu));
	txn_set(xen, tail, port);
}

/* evtchn_fifo_set_pending */
void fifo_raise_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_port *p = port_entry(xen, d, port);
	_Atomic uint32_t *word = fifo_word(xen, d, port);
	uint32_t old;

	if (!word) {
		txn_set(xen, &p->pending, 1); /* for when its page is there */
		return;
	}
	if (!d->vcpus[p->vcpu].control_page)
		return; /* dropped */
	old = under_lock(d) ? atomic_load(word) : atomic_fetch_or(word, PENDING);
	if ((old & (MASKED | LINKED)) == 0) {
		if (!is_being_linked(xen, domain, port))
			link_locked(xen, domain, port);
	} else if (under_lock(d) && !(old & PENDING)) {
		txn_redo(xen, SIM_REDO_PEND, domain, port, 0);
	}
}

/* evtchn_fifo_unmask */
void fifo_unmask_locked(struct xen *xen, uint32_t domain, uint32_t port)
{
	struct sim_domain *d = domain_at(xen, domain);
	_Atomic uint32_t *word = fifo_word(xen, d, port);

	if (word && under_lock(d)) {
		txn_redo(xen, SIM_REDO_UNMASK, domain, port, 0);
		if ((atomic_load(word) & (PENDING | LINKED)) == PENDING &&
			!is_being_linked(xen, domain, port))
			link_locked(xen, domain, port);
	} else if (word && (atomic_fetch_and(word, ~MASKED) & PENDING)) {
		fifo_raise_locked(xen, domain, port);
	}
}

/*
 * evtchn_fifo_set_link: sets the tail's link if it is still on its queue. BUSY keeps the guest from
 * unmasking while the word changes; a crash may have left it.
 */
static bool set_link(_Atomic uint32_t *word, uint32_t port)
{
	uint32_t old = atomic_load(word);

	for (uint32_t tries = 0; old & LINKED; tries++) {
		if (atomic_compare_exchange_strong(word, &old, (old & ~(BUSY | LINK)) | port))
			return true;
		if (tries == 0)
			old = atomic_fetch_or(word, BUSY) | BUSY;
	}
	if (old & BUSY)
		atomic_fetch_and(word, ~BUSY);
	return false;
}

void fifo_link(struct xen *xen, const struct sim_redo *redo)
{
	struct sim_domain *d = domain_at(xen, redo->domain);
	uint32_t tail = TO_TAIL(redo->b), q = TO_PRIORITY(redo->b), vcpu = TO_VCPU(redo->b);
	struct evtchn_fifo_control_block *control = fifo_control(xen, d, vcpu);
	_Atomic uint32_t *ready = (_Atomic uint32_t *)&control->ready;

	atomic_fetch_or(fifo_word(xen, d, redo->a), under_lock(d) ? PENDING | LINKED : LINKED);
	if (tail && set_link(fifo_word(xen, d, tail), redo->a))
		return;
	atomic_store((_Atomic uint32_t *)&control->head[q], redo->a);
	/* Only a bit that was clear brings the upcall: also before, for the redo. */
	if (atomic_load(ready) >> q & 1)
		return;
	atomic_store(&d->info.vcpu[vcpu].upcall_pending, 1);
	atomic_fetch_or(ready, 1U << q);
	atomic_store(&d->info.vcpu[vcpu].upcall_pending, 1);
}

/*
 * map_guest_page: the domain's own, and writable, which all of its memory is here. Only what stays
 * its own until it is gone: Xen holds a reference to any, but what the emulated kernel's drivers
 * free is given to others at once. Nor frames of its grant table, which Xen would take as well.
 */
static int page_check(const struct xen *xen, uint32_t domain, uint64_t gfn)
{
	if (!page_is_owned(xen, gfn, domain) || SIM_PAGE_TYPE(xen->seg->pages[gfn]) != SIM_PAGE_RAM)
		return -EINVAL;
	return 0;
}

/* setup_ports: what is pending by the 2-level bits is so when its word comes. */
static void ports_take_over(struct xen *xen, struct sim_domain *d)
{
	for (uint32_t port = 1; port < SIM_2L_PORTS && port < d->n_valid_ports; port++) {
		struct sim_port *p = port_entry(xen, d, port);

		if (atomic_load(&d->info.pending[port / 64]) >> port % 64 & 1)
			txn_set(xen, &p->pending, 1);
		if (p->priority != EVTCHN_FIFO_PRIORITY_DEFAULT)
			txn_set(xen, &p->priority, EVTCHN_FIFO_PRIORITY_DEFAULT);
	}
}

int fifo_init_control_locked(struct xen *xen, uint32_t domain, evtchn_init_control_t *init)
{
	struct sim_domain *d = domain_at(xen, domain);
	struct sim_vcpu *v;
	int r;

	init->link_bits = EVTCHN_FIFO_LINK_BITS;
	if (init->vcpu >= d->n_vcpus)
		return -ENOENT;
	if (init->offset > HV_PAGE_SIZE - sizeof(evtchn_fifo_control_block_t) || (init->offset & 7))
		return -EINVAL;
	v = &d->vcpus[init->vcpu];
	if (v->control_page)
		return -EINVAL;
	r = page_check(xen, domain, init->control_gfn);
	if (r < 0)
		return r;
	txn_set(xen, &v->control_offset, init->offset);
	txn_set(xen, &v->control_page, (uint32_t)init->control_gfn);
	if (!d->fifo) {
		txn_set(xen, &d->fifo, 1);
		ports_take_over(xen, d);
	}
	return 0;
}

int fifo_expand_array_locked(struct xen *xen, uint32_t domain, uint64_t gfn)
{
	struct sim_domain *d = domain_at(xen, domain);
	uint32_t port = d->n_words;
	int r;

	if (!d->fifo)
		return -EOPNOTSUPP;
	if (port >= SIM_MAX_PORTS)
		return -ENOSPC;
	r = page_check(xen, domain, gfn);
	if (r < 0)
		return r;
	txn_set(xen, &d->array_page[port / SIM_WORDS_PAGE], (uint32_t)gfn);
	txn_set(xen, &d->n_words, port + SIM_WORDS_PAGE);
	for (; port < d->n_words && port < d->n_valid_ports; port++)
		if (port_entry(xen, d, port)->pending)
			fifo_raise_locked(xen, domain, port);
	return 0;
}

bool fifo_has_page(const struct sim_domain *d, uint32_t page)
{
	for (uint32_t i = 0; i < d->n_vcpus; i++)
		if (d->vcpus[i].control_page == page)
			return true;
	for (uint32_t i = 0; i < d->n_words / SIM_WORDS_PAGE; i++)
		if (d->array_page[i] == page)
			return true;
	return false;
}

void fifo_destroy_locked(struct xen *xen, uint32_t domain)
{
	struct sim_domain *d = domain_at(xen, domain);

	txn_set(xen, &d->fifo, 0);
	for (uint32_t i = 0; i < d->n_words / SIM_WORDS_PAGE; i++)
		txn_set(xen, &d->array_page[i], 0);
	txn_set(xen, &d->n_words, 0);
	for (uint32_t i = 0; i < d->n_vcpus; i++) {
		txn_set(xen, &d->vcpus[i].control_page, 0);
		for (uint32_t q = 0; q < EVTCHN_FIFO_MAX_QUEUES; q++)
			txn_set(xen, &d->vcpus[i].tail[q], 0);
	}
}
