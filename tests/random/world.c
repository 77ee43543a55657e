/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Domains that come and go, what their guests do without hypercalls, and the comparison. */
#include "tests/random/random.h"

#include <errno.h>
#include <string.h>

#define N_LIVE_MIN    38U /* more than a wildcard ring has room for waiters */
#define N_LIVE_MAX    44U
#define N_ZOMBIES_MAX 12U
#define N_DOMIDS      70U /* few: they are soon used again */
#define N_ARGS	      24U
#define REF_FIRST     8U
#define N_REFS	      24U

/* ---- the comparison ----------------------------------------------------------------------- */

static struct sim_domain *sim_of(struct run *run, uint32_t index)
{
	return domain_at(run->xen, sim_domain_find(run->xen, run->m->domains[index].domid));
}

static void compare_info(struct run *run, uint32_t index)
{
	const struct m_domain *d = &run->m->domains[index];
	const struct sim_shared_info *info = &sim_of(run, index)->info;

	for (uint32_t i = 0; i < d->n_valid / 64 && i < MODEL_2L_PORTS / 64; i++) {
		if (info->pending[i] != d->pending[i])
			fail(run, "d%u: pending[%u] is %lx, not %lx", d->domid, i,
				(unsigned long)info->pending[i], (unsigned long)d->pending[i]);
		if (info->mask[i] != d->mask[i])
			fail(run, "d%u: mask[%u] is %lx, not %lx", d->domid, i,
				(unsigned long)info->mask[i], (unsigned long)d->mask[i]);
	}
	for (uint32_t i = 0; i < MODEL_VCPUS; i++)
		if (info->vcpu[i].selector != d->selector[i] ||
			info->vcpu[i].upcall_pending != d->upcall[i])
			fail(run, "d%u, vcpu %u: selector %lx, upcall %u, not %lx, %u", d->domid, i,
				(unsigned long)info->vcpu[i].selector, info->vcpu[i].upcall_pending,
				(unsigned long)d->selector[i], d->upcall[i]);
}

static void compare_page(struct run *run, uint32_t gfn)
{
	const uint8_t *is = sim_page(run->xen, gfn), *want = run->m->memory[gfn];
	uint32_t i = 0;

	if (!want || memcmp(is, want, MODEL_PAGE_SIZE) == 0)
		return;
	while (is[i] == want[i])
		i++;
	fail(run, "page %u of d%u: byte %u is %02x, not %02x", gfn,
		run->m->domains[run->m->owner[gfn] - 1].domid, i, is[i], want[i]);
}

static void compare_grant(struct run *run, uint32_t index, uint32_t ref)
{
	const struct m_domain *d = &run->m->domains[index];
	const struct sim_domain *sim = sim_of(run, index);

	for (uint32_t i = ref * d->version; i < (ref + 1) * d->version; i++)
		if (sim->grants[i] != d->grants[i])
			fail(run, "d%u: grant %u is %lx, not %lx", d->domid, ref,
				(unsigned long)sim->grants[i], (unsigned long)d->grants[i]);
	if (d->version == 2 && sim->grant_status[ref] != d->status[ref])
		fail(run, "d%u: grant %u is in use by %x, not %x", d->domid, ref,
			sim->grant_status[ref], d->status[ref]);
}

void world_compare(struct run *run)
{
	struct model *m = run->m;

	for (uint64_t bits = m->touched_domains; bits; bits &= bits - 1) {
		uint32_t index = (uint32_t)__builtin_ctzll(bits);

		if (m->domains[index].life == M_ALIVE)
			compare_info(run, index);
	}
	for (uint32_t i = 0; i < m->n_touched_pages; i++)
		compare_page(run, m->touched_pages[i]);
	for (uint32_t i = 0; i < m->n_touched_grants; i++)
		if (m->domains[m->touched_grants[i].granter].life != M_GONE)
			compare_grant(run, m->touched_grants[i].granter, m->touched_grants[i].ref);
}

/*
 * Compares which domains exist, everything that their guests see, and the segment's own invariants.
 */
void world_compare_all(struct run *run)
{
	struct model *m = run->m;

	for (uint32_t domid = 0; domid < N_DOMIDS; domid++)
		if ((model_find(m, (uint16_t)domid) == MODEL_NONE) !=
			(sim_domain_find(run->xen, (uint16_t)domid) == DOMAIN_NONE))
			fail(run, "d%u: one of both knows nothing of it", domid);
	for (uint32_t i = 0; i < MODEL_DOMAINS; i++) {
		if (m->domains[i].life == M_GONE)
			continue;
		if (m->domains[i].life == M_ALIVE)
			compare_info(run, i);
		for (uint32_t k = 0; k < m->domains[i].n_pages; k++)
			compare_page(run, m->domains[i].pages[k]);
		for (uint32_t k = 0; k < m->domains[i].n_fifo_pages; k++)
			compare_page(run, m->domains[i].fifo_pages[k]);
		if (m->domains[i].life == M_ALIVE && guest_is_honest(run, i))
			check_queues(run, i);
		for (uint32_t ref = 0; ref < MODEL_GREFS / m->domains[i].version; ref++)
			compare_grant(run, i, ref);
	}
	run->counts->n_checks++;
	if (sim_check(run->sim, stderr) != 0)
		fail(run, "the segment is broken");
}

/* ---- choosing a domain -------------------------------------------------------------------- */

uint32_t some_live(struct run *run)
{
	return run->live[pick(run, run->n_live)];
}

uint16_t some_domid(struct run *run)
{
	return run->m->domains[some_live(run)].domid;
}

uint32_t some_zombie(struct run *run)
{
	uint32_t from = pick(run, MODEL_DOMAINS);

	for (uint32_t i = 0; i < MODEL_DOMAINS; i++)
		if (run->m->domains[(from + i) % MODEL_DOMAINS].life == M_DYING)
			return (from + i) % MODEL_DOMAINS;
	return MODEL_NONE;
}

uint16_t some_bad_domid(struct run *run)
{
	static const uint16_t reserved[] = {
		0x7ff1, 0x7ff2, 0x7ff3, 0x7ff4, 0x7fff, 0x8000, 0x8001, 0xffff};
	uint16_t domid;

	if (chance(run, 200))
		return reserved[pick(run, sizeof(reserved) / sizeof(reserved[0]))];
	do
		domid = (uint16_t)(1 + pick(run, 2 * N_DOMIDS));
	while (model_find(run->m, domid) != MODEL_NONE);
	return domid;
}

uint32_t some_argo(struct run *run, bool on)
{
	uint32_t from = pick(run, run->n_live);

	for (uint32_t i = 0; i < run->n_live; i++) {
		uint32_t index = run->live[(from + i) % run->n_live];

		if (run->m->domains[index].argo == on)
			return index;
	}
	return MODEL_NONE;
}

uint32_t some_fifo(struct run *run, bool on)
{
	uint32_t from = pick(run, run->n_live);

	for (uint32_t i = 0; i < run->n_live; i++) {
		uint32_t index = run->live[(from + i) % run->n_live];

		if (index != 0 && run->m->domains[index].fifo == on)
			return index;
	}
	return MODEL_NONE;
}

struct m_ring *some_ring(struct run *run, uint32_t *ret_domain)
{
	for (uint32_t tries = 0; tries < 64; tries++) {
		uint32_t domain = some_live(run), from = pick(run, 24);

		for (uint32_t i = 0; i < 8; i++) {
			struct m_ring *ring = &run->m->domains[domain].rings[(from + i) % 24];

			if (!ring->used)
				continue;
			*ret_domain = domain;
			return ring;
		}
	}
	return NULL;
}

/* ---- domains come and go ------------------------------------------------------------------ */

bool domain_make(
	struct run *run, bool argo, uint32_t n_pages, uint32_t max_port, uint32_t *ret_index)
{
	uint16_t domid =
		chance(run, 50) ? some_domid(run) : (uint16_t)(1 + pick(run, N_DOMIDS - 1));
	uint32_t index = 0, n_vcpus = 1 + pick(run, MODEL_VCPUS);
	bool may_v2 = chance(run, 800);
	uint16_t ret_domid;
	uint64_t gfn;
	long predicted;
	int r;

	while (index < MODEL_DOMAINS && run->m->domains[index].life != M_GONE)
		index++;
	if (domid == 0)
		domid = 1;
	if (!max_port) /* libxl's, mostly; more than 2-level has */
		max_port = chance(run, 900) ? 1023 : MODEL_PORTS - 200 + pick(run, 200);
	CALL(run, OP_CREATE, 0, domid, argo, n_vcpus, max_port);
	predicted = index == MODEL_DOMAINS		      ? -ENOSPC
		    : model_find(run->m, domid) != MODEL_NONE ? -EADDRINUSE
							      : 0;
	r = sim_domain_create(run->sim,
		&(struct sim_domain_config){.domid = domid,
			.no_argo = !argo,
			.no_guest_kernel = true,
			.grant_v1 = !may_v2,
			.n_vcpus = n_vcpus,
			.max_port = max_port},
		&ret_domid);
	if (predicted == 0 && r == 0) {
		model_domain_create(run->m, index, domid, argo, n_vcpus, max_port);
		run->m->domains[index].may_v2 = may_v2;
		run->live[run->n_live++] = index;
	}
	call_end(run, predicted, r);
	for (uint32_t i = 0; r == 0 && i < n_pages; i++) {
		if (sim_pages_alloc(run->xen, domid, 1, &gfn) < 0)
			fail(run, "no page for d%u", domid);
		model_page_add(run->m, index, (uint32_t)gfn);
	}
	for (uint32_t i = 0; r == 0 && n_pages && i < MODEL_FIFO_PAGES; i++) {
		if (sim_pages_alloc(run->xen, domid, 1, &gfn) < 0)
			fail(run, "no page for d%u", domid);
		model_fifo_page_add(run->m, index, (uint32_t)gfn);
	}
	*ret_index = index;
	return r == 0;
}

void domain_end(struct run *run, uint32_t index)
{
	uint16_t domid = run->m->domains[index].domid;

	CALL(run, OP_DESTROY, 0, domid);
	for (uint32_t i = 0; i < run->n_live; i++)
		if (run->live[i] == index)
			run->live[i] = run->live[--run->n_live];
	model_domain_destroy(run->m, index);
	call_end(run, 0, sim_domain_destroy(run->sim, domid));
	if ((model_find(run->m, domid) == MODEL_NONE) !=
		(sim_domain_find(run->xen, domid) == DOMAIN_NONE))
		fail(run, "d%u: one of both has it still", domid);
}

static uint32_t n_without_argo(const struct run *run)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < run->n_live; i++)
		n += !run->m->domains[run->live[i]].argo;
	return n;
}

static uint32_t n_zombies(const struct run *run)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < MODEL_DOMAINS; i++)
		n += run->m->domains[i].life == M_DYING;
	return n;
}

/* A domain that maps a page of a dying one lets go of it; the last one sees it off. */
static void zombie_release(struct run *run, uint32_t index)
{
	for (uint32_t handle = 0; handle < MODEL_HANDLES; handle++)
		if (run->m->handles[handle].mapper != MODEL_NONE &&
			run->m->handles[handle].granter == index)
			do_unmap(run, run->m->handles[handle].mapper, handle);
}

/* Shut down, to be run again or destroyed; Xen judges the hypercalls that it makes meanwhile. */
static void domain_stop(struct run *run, uint32_t index)
{
	uint16_t domid = run->m->domains[index].domid;

	CALL(run, OP_SHUTDOWN, 0, domid);
	if (chance(run, 300)) {
		call_end(run, 0, sim_domain_resume(run->sim, domid));
		return;
	}
	model_domain_shutdown(run->m);
	call_end(run, 0, sim_domain_shutdown(run->sim, domid, (uint8_t)pick(run, 5)));
}

void step_domain(struct run *run)
{
	uint32_t index;

	if (chance(run, 200))
		domain_stop(run, run->live[1 + pick(run, run->n_live - 1)]);
	else if (n_zombies(run) > N_ZOMBIES_MAX)
		zombie_release(run, some_zombie(run));
	else if (run->n_live < N_LIVE_MIN || (run->n_live < N_LIVE_MAX && chance(run, 500)))
		(void)domain_make(run, n_without_argo(run) >= 3, MODEL_PAGES, 0, &index);
	else
		domain_end(run, run->live[1 + pick(run, run->n_live - 1)]);
}

void world_begin(struct run *run)
{
	struct model *m = run->m = model_new();
	uint64_t gfn;
	uint32_t index;

	if (sim_create(&run->sim) < 0)
		fail(run, "no emulator");
	run->xen = sim_xen(run->sim);
	run->xen->seg->argo_mac_permissive = 1;
	sim_clock_virtual(run->sim, 1);
	/* Domain-0 has a guest kernel, which has bound VIRQ_ARGO. */
	model_domain_create(m, 0, 0, true, 1, 1023);
	m->now_ns = 1;
	m->domains[0].kernel_virq = true;
	m->domains[0].n_frames = MODEL_FRAMES;
	m->domains[0].ports[1] = (struct m_port){.state = EVTCHNSTAT_virq, .virq = VIRQ_ARGO};
	m->domains[0].virq_port[0][VIRQ_ARGO] = 1;
	run->live[run->n_live++] = 0;
	if (sim_pages_alloc(run->xen, 0, N_ARGS, &gfn) < 0)
		fail(run, "no pages");
	run->arg1 = sim_page(run->xen, gfn);
	run->arg2 = sim_page(run->xen, gfn + 4);
	run->data = sim_page(run->xen, gfn + 8);
	for (uint32_t i = 0; i < DATA_LEN; i++)
		run->data[i] = (uint8_t)draw(run);
	for (uint32_t i = 0; i < MODEL_PAGES; i++) {
		if (sim_pages_alloc(run->xen, 0, 1, &gfn) < 0)
			fail(run, "no pages");
		model_page_add(m, 0, (uint32_t)gfn);
	}
	while (run->n_live < N_LIVE_MAX)
		(void)domain_make(run, run->n_live > 3, MODEL_PAGES, 0, &index);
}

void world_end(struct run *run)
{
	world_compare_all(run);
	while (run->n_live > 1)
		domain_end(run, run->live[1]);
	world_compare_all(run);
	sim_free(run->sim);
	model_free(run->m);
}

/* ---- steps of guests by themselves ---------------------------------------------------------- */

void guest_word(struct run *run, uint32_t gfn, uint32_t offset, uint32_t value)
{
	memcpy((uint8_t *)sim_page(run->xen, gfn) + offset, &value, sizeof(value));
	memcpy(run->m->memory[gfn] + offset, &value, sizeof(value));
}

void guest_page_zero(struct run *run, uint32_t gfn)
{
	memset(sim_page(run->xen, gfn), 0, MODEL_PAGE_SIZE);
	memset(run->m->memory[gfn], 0, MODEL_PAGE_SIZE);
}

uint64_t grant_entry(uint32_t flags, uint16_t domid, uint32_t frame)
{
	return (uint64_t)(uint16_t)flags | (uint64_t)domid << 16 | (uint64_t)frame << 32;
}

static void grant_words(struct run *run, uint32_t domain, uint32_t ref, uint64_t a, uint64_t b)
{
	struct m_domain *d = &run->m->domains[domain];
	uint64_t *sim = sim_of(run, domain)->grants;

	sim[ref * d->version] = d->grants[ref * d->version] = a;
	if (d->version == 2)
		sim[ref * 2 + 1] = d->grants[ref * 2 + 1] = b;
}

/* As grant_entry makes it; of version 2 a whole page. */
void guest_grants(struct run *run, uint32_t domain, uint32_t ref, uint64_t entry)
{
	if (run->m->domains[domain].version == 1)
		grant_words(run, domain, ref, entry, 0);
	else
		grant_words(run, domain, ref, entry & UINT32_MAX, entry >> 32);
}

/* Version 2: a part of a page, or what another domain has granted; and what it writes as in use. */
static void guest_grants_more(struct run *run, uint32_t domain, uint32_t ref, uint64_t entry)
{
	uint64_t header = entry & UINT32_MAX, frame = entry >> 32;
	uint16_t status = (uint16_t)(draw(run) & (GTF_reading | GTF_writing));
	uint32_t other = some_live(run), behind = REF_FIRST + pick(run, N_REFS);

	if (chance(run, 500)) {
		header |= GTF_sub_page | (uint64_t)pick(run, 2048) << 32 |
			  (uint64_t)pick(run, 4096) << 48;
		grant_words(run, domain, ref, header, frame);
	} else {
		header = (header & ~(uint64_t)GTF_type_mask) | GTF_transitive |
			 (uint64_t)run->m->domains[other].domid << 32;
		if (chance(run, 900)) /* which that has done */
			guest_grants(run, other, behind,
				grant_entry(GTF_permit_access, run->m->domains[domain].domid,
					run->m->domains[other].pages[0]));
		grant_words(run, domain, ref, header, behind);
	}
	if (chance(run, 100))
		grant_words(run, domain, ref, header, draw(run));
	if (chance(run, 50))
		run->m->domains[domain].status[ref] = sim_of(run, domain)->grant_status[ref] =
			status;
}

/* Takes the first message, or all of them; what is no message ends it. */
void guest_consumes(struct run *run, uint32_t domain, struct m_ring *ring)
{
	uint32_t rx = model_ring_rx(run->m, ring), len;

	if (rx == ring->tx || chance(run, 500)) {
		rx = ring->tx;
	} else {
		model_ring_read(run->m, ring, rx, &len, sizeof(len));
		rx = len < 16 || len > ring->len ? ring->tx
						 : (rx + ((len + 15) & ~15U)) % ring->len;
	}
	guest_word(run, ring->gfns[0], 0, rx);
}

static void guest_spoils(struct run *run, struct m_ring *ring)
{
	uint32_t gfn = ring->gfns[pick(run, ring->n_pages)];

	switch (pick(run, 8)) {
	case 0:
	case 1:
	case 2:
	case 3:
		guest_word(run, ring->gfns[0], 0, hostile_index(run, ring->len, ring->tx));
		break;
	case 4: /* in range, but nowhere in particular */
		guest_word(run, ring->gfns[0], 0, pick(run, ring->len + 32));
		break;
	case 5: /* Xen keeps its own */
		guest_word(run, ring->gfns[0], 4, hostile_index(run, ring->len, ring->tx));
		break;
	default:
		guest_word(run, gfn, pick(run, MODEL_PAGE_SIZE - 4), (uint32_t)draw(run));
		break;
	}
}

/* The interrupt handler in all its parts, some of which may be left out or be late. */
static void guest_takes_events(struct run *run, uint32_t domain)
{
	struct sim_shared_info *info = &sim_of(run, domain)->info;
	struct m_domain *d = &run->m->domains[domain];
	uint32_t word = pick(run, d->n_valid / 64) % (MODEL_2L_PORTS / 64);
	uint32_t vcpu = pick(run, d->n_vcpus);

	if (d->fifo) {
		guest_takes_fifo_events(run, domain);
		return;
	}
	if (chance(run, 800))
		info->vcpu[vcpu].upcall_pending = d->upcall[vcpu] = 0;
	if (chance(run, 800))
		info->vcpu[vcpu].selector = d->selector[vcpu] = 0;
	if (chance(run, 700))
		info->pending[word] = d->pending[word] = 0;
	if (chance(run, 500))
		info->mask[word] = d->mask[word] = chance(run, 500) ? 0 : draw(run);
}

static void guest_grants_something(struct run *run, uint32_t domain)
{
	struct m_domain *d = &run->m->domains[domain];
	uint32_t flags = GTF_permit_access, frame = d->pages[pick(run, d->n_pages)];
	uint32_t ref = REF_FIRST + pick(run, N_REFS);
	uint16_t domid = chance(run, 20) ? some_bad_domid(run) : some_domid(run);

	if (chance(run, 150))
		flags |= GTF_readonly;
	if (chance(run, 60))
		flags = (uint32_t)draw(run) & 0xffffU;
	else if (chance(run, 60)) /* waits for a page */
		flags = GTF_accept_transfer;
	if (chance(run, 60))
		frame = chance(run, 500) ? (uint32_t)draw(run)
					 : run->m->domains[some_live(run)].pages[0];
	if (frame > 0 && frame < MODEL_GFNS && run->m->owner[frame] == 0)
		frame = 0;   /* not to meet the emulator's own pages, or the arguments' */
	if (chance(run, 50)) /* of those that a switch of versions leaves */
		ref = pick(run, REF_FIRST);
	if (d->version == 2 && chance(run, 300))
		guest_grants_more(run, domain, ref, grant_entry(flags, domid, frame));
	else
		guest_grants(
			run, domain, ref, chance(run, 50) ? 0 : grant_entry(flags, domid, frame));
}

void guest_acts(struct run *run)
{
	uint32_t what = pick(run, 100), domain;
	struct m_ring *ring;

	if (what < 30 && (ring = some_ring(run, &domain)) != NULL)
		guest_consumes(run, domain, ring);
	else if (what < 34 && (ring = some_ring(run, &domain)) != NULL)
		guest_spoils(run, ring);
	else if (what < 60)
		guest_takes_events(run, some_live(run));
	else
		guest_grants_something(run, some_live(run));
}
