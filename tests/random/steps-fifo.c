/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The FIFO event ABI: its hypercalls, what a guest does with its queues, and what must be true of
 * the queues of a guest that keeps to the rules.
 */
#include "tests/random/random.h"

#include <errno.h>
#include <string.h>

#define PENDING (1U << EVTCHN_FIFO_PENDING)
#define MASKED	(1U << EVTCHN_FIFO_MASKED)
#define LINKED	(1U << EVTCHN_FIFO_LINKED)
#define BUSY	(1U << EVTCHN_FIFO_BUSY)
#define LINK	((1U << EVTCHN_FIFO_LINK_BITS) - 1)
#define HEADS	2U
#define WALK	(2 * MODEL_PORTS) /* a queue that a guest has spoilt may be endless */

bool guest_is_honest(const struct run *run, uint32_t domain)
{
	return run->m->domains[domain].domid % 2 == 0;
}

/* ---- hypercalls ---------------------------------------------------------------------------- */

void do_init_control(struct run *run, uint32_t self, uint32_t vcpu, uint64_t gfn, uint32_t offset)
{
	evtchn_init_control_t *a = (evtchn_init_control_t *)(void *)run->arg1;
	long predicted, actual;

	*a = (evtchn_init_control_t){.control_gfn = gfn, .offset = offset, .vcpu = vcpu};
	CALL(run, OP_INIT_CONTROL, self, gfn, offset, vcpu);
	predicted = model_init_control(run->m, self, a);
	actual = evtchn_op(run->xen, run->m->domains[self].domid, EVTCHNOP_init_control, a);
	if (actual == 0 && a->link_bits != EVTCHN_FIFO_LINK_BITS)
		fail(run, "%u link bits", a->link_bits);
	call_end(run, predicted, actual);
}

void do_expand_array(struct run *run, uint32_t self, uint64_t gfn)
{
	evtchn_expand_array_t *a = (evtchn_expand_array_t *)(void *)run->arg1;
	long predicted;

	a->array_gfn = gfn;
	CALL(run, OP_EXPAND_ARRAY, self, gfn);
	predicted = model_expand_array(run->m, self, gfn);
	call_end(run, predicted,
		evtchn_op(run->xen, run->m->domains[self].domid, EVTCHNOP_expand_array, a));
}

/* No page of its own: somebody else's, none at all, none of this machine. */
static uint64_t some_bad_gfn(struct run *run, uint32_t self)
{
	uint32_t other = some_live(run);

	if (other != self && chance(run, 500))
		return run->m->domains[other].pages[0];
	return chance(run, 500) ? 0 : MODEL_GFNS + draw(run) % (1ULL << 40);
}

/* The first fifo_pages are for control blocks, the rest for the array. */
static void step_init_control(struct run *run)
{
	uint32_t self = chance(run, 700) ? some_fifo(run, false) : some_fifo(run, true), vcpu;
	uint32_t offset = 8 * pick(run, (MODEL_PAGE_SIZE - (HEADS + MODEL_QUEUES) * 4) / 8 + 1);
	struct m_domain *d;

	if (self == MODEL_NONE)
		return;
	d = &run->m->domains[self];
	vcpu = pick(run, d->n_vcpus);
	if (chance(run, 100))
		vcpu = d->n_vcpus + pick(run, 100);
	else if (chance(run, 100))
		offset = (uint32_t)draw(run) >> pick(run, 32);
	if (chance(run, 100) || vcpu >= d->n_vcpus || d->n_fifo_pages < MODEL_FIFO_PAGES) {
		do_init_control(run, self, vcpu, some_bad_gfn(run, self), offset);
		return;
	}
	if (guest_is_honest(run, self) && !d->fifo) {
		/* All of them, before anything is bound to a vcpu that has none. */
		for (vcpu = 0; vcpu < d->n_vcpus; vcpu++) {
			guest_page_zero(run, d->fifo_pages[vcpu]);
			do_init_control(run, self, vcpu, d->fifo_pages[vcpu],
				offset % (MODEL_PAGE_SIZE / 2) & ~7U);
		}
		return;
	}
	do_init_control(run, self, vcpu, d->fifo_pages[vcpu], offset);
}

static void step_expand_array(struct run *run)
{
	uint32_t self = some_fifo(run, chance(run, 900)), next;
	const struct m_domain *d;

	if (self == MODEL_NONE)
		return;
	d = &run->m->domains[self];
	next = MODEL_VCPUS + d->n_arrays;
	if (chance(run, 100) || next >= d->n_fifo_pages) {
		do_expand_array(run, self, some_bad_gfn(run, self));
		return;
	}
	if (guest_is_honest(run, self) && d->fifo)
		guest_page_zero(run, d->fifo_pages[next]);
	do_expand_array(run, self, d->fifo_pages[next]);
}

void step_fifo(struct run *run)
{
	if (chance(run, 500))
		step_init_control(run);
	else
		step_expand_array(run);
}

/* ---- steps of guests by themselves ---------------------------------------------------------- */

static void word_set(struct run *run, const struct m_domain *d, uint32_t port, uint32_t value)
{
	uint32_t offset, gfn = model_word_at(d, port, &offset);

	guest_word(run, gfn, offset, value);
}

static void queue_take(struct run *run, uint32_t domain, uint32_t vcpu, uint32_t q)
{
	const struct m_domain *d = &run->m->domains[domain];
	uint32_t port = model_control_word(run->m, d, vcpu, HEADS + q), offset, word, link;
	bool honest = guest_is_honest(run, domain);

	for (uint32_t i = 0; i < WALK && port && model_word_at(d, port, &offset); i++) {
		word = model_word(run->m, d, port);
		link = word & LINK;
		word &= ~(LINKED | LINK);
		if ((word & PENDING) && !(word & MASKED)) {
			if (honest || chance(run, 900))
				word &= ~PENDING;
			if (chance(run, 200))
				word |= MASKED;
		}
		word_set(run, d, port, word);
		port = link;
	}
}

/* The upcall: every queue that is ready, by priority, until none is. */
static void upcall(struct run *run, uint32_t domain, uint32_t vcpu)
{
	struct m_domain *d = &run->m->domains[domain];
	uint32_t ready;

	d->upcall[vcpu] = 0;
	domain_at(run->xen, sim_domain_find(run->xen, d->domid))->info.vcpu[vcpu].upcall_pending =
		0;
	if (!d->controls[vcpu].gfn)
		return;
	ready = model_control_word(run->m, d, vcpu, 0);
	guest_word(run, d->controls[vcpu].gfn, d->controls[vcpu].offset, 0);
	for (; ready & (LINK >> 1); ready &= ready - 1)
		queue_take(run, domain, vcpu, (uint32_t)__builtin_ctz(ready));
}

/* Masked, or no more: but what became pending meanwhile is Xen's to unmask. */
static void mask_change(struct run *run, uint32_t domain)
{
	const struct m_domain *d = &run->m->domains[domain];
	uint32_t port = pick(run, d->n_valid), offset, word;

	if (!model_word_at(d, port, &offset))
		return;
	word = model_word(run->m, d, port);
	if (!(word & MASKED))
		word_set(run, d, port, word | MASKED);
	else if (!(word & (PENDING | BUSY)) || !guest_is_honest(run, domain))
		word_set(run, d, port, word & ~MASKED);
}

/* But for BUSY, which is Xen's: the emulator takes it for what a crash has left, and clears it. */
static void spoil(struct run *run, uint32_t domain)
{
	const struct m_domain *d = &run->m->domains[domain];
	uint32_t vcpu = pick(run, d->n_vcpus), port = pick(run, d->n_valid), offset;
	uint32_t value = (uint32_t)draw(run) & ~BUSY;

	if (chance(run, 300) && d->controls[vcpu].gfn)
		guest_word(run, d->controls[vcpu].gfn,
			d->controls[vcpu].offset + 4 * pick(run, HEADS + MODEL_QUEUES),
			chance(run, 500) ? value : pick(run, d->n_valid));
	else if (model_word_at(d, port, &offset))
		word_set(run, d, port,
			chance(run, 300) ? value : (value & ~LINK) | pick(run, d->n_valid));
}

void guest_takes_fifo_events(struct run *run, uint32_t domain)
{
	uint32_t what = pick(run, 100), vcpu = pick(run, run->m->domains[domain].n_vcpus);

	if (what < 60)
		upcall(run, domain, vcpu);
	else if (what < 90 || guest_is_honest(run, domain))
		mask_change(run, domain);
	else
		spoil(run, domain);
}

/* ---- invariants ----------------------------------------------------------------------------- */

/* One queue, from its head to its tail, each event once: how many. */
static uint32_t queue_check(struct run *run, uint32_t domain, uint32_t vcpu, uint32_t q)
{
	const struct m_domain *d = &run->m->domains[domain];
	bool ready = model_control_word(run->m, d, vcpu, 0) >> q & 1;
	uint32_t port = model_control_word(run->m, d, vcpu, HEADS + q), last = 0, n = 0, word;

	for (; ready && port; port = word & LINK) {
		word = model_word(run->m, d, port);
		if (!(word & LINKED) || d->ports[port].last_vcpu != vcpu ||
			d->ports[port].last_priority != q || n++ > MODEL_PORTS)
			fail(run, "d%u: port %u is not on queue %u of vcpu %u", d->domid, port, q,
				vcpu);
		last = port;
	}
	if (ready && last != d->controls[vcpu].tail[q])
		fail(run, "d%u: queue %u of vcpu %u ends at %u, not %u", d->domid, q, vcpu, last,
			d->controls[vcpu].tail[q]);
	return n;
}

/* Every event that is linked is on a queue; every one that is deliverable is linked. */
void check_queues(struct run *run, uint32_t domain)
{
	const struct m_domain *d = &run->m->domains[domain];
	uint32_t n_queued = 0, n_linked = 0;

	for (uint32_t vcpu = 0; vcpu < d->n_vcpus; vcpu++)
		for (uint32_t q = 0; d->controls[vcpu].gfn && q < MODEL_QUEUES; q++)
			n_queued += queue_check(run, domain, vcpu, q);
	for (uint32_t port = 0; port < d->n_arrays * MODEL_WORDS_PAGE && port < d->n_valid;
		port++) {
		uint32_t word = model_word(run->m, d, port);

		n_linked += word >> EVTCHN_FIFO_LINKED & 1;
		if ((word & (PENDING | MASKED | LINKED)) == PENDING)
			fail(run, "d%u: port %u is pending, and on no queue", d->domid, port);
		if (word & BUSY)
			fail(run, "d%u: port %u is busy", d->domid, port);
	}
	if (n_queued != n_linked)
		fail(run, "d%u: %u events are linked, and %u queued", d->domid, n_linked, n_queued);
}
