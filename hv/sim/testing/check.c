/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looks at the whole segment and says what cannot be. Used after every test, and after every kill;
 * must never change anything.
 */
#include <stdarg.h>
#include <sys/mman.h>

#include "base/macro.h"
#include "hv/sim/hypervisor/argo.h"
#include "hv/sim/hypervisor/evtchn.h"
#include "hv/sim/hypervisor/fifo.h"
#include "hv/sim/hypervisor/transaction.h"
#include "hv/sim/hypervisor/virq.h"
#include "hv/sim/memory/page.h"
#include "hv/sim/memory/slot.h"
#include "hv/sim/testing/sim.h"

struct check {
	struct xen *xen;
	FILE *out;
	int n_bad;
	/* Armed notifies, and mappings, that were found. */
	uint16_t n_notify[SIM_MAX_DOMAINS][SIM_MAX_PORTS];
	uint16_t readers[SIM_MAX_DOMAINS][SIM_MAX_GREFS]; /* by reference */
	uint16_t writers[SIM_MAX_DOMAINS][SIM_MAX_GREFS];
};

__attribute__((format(printf, 2, 3))) static void bad(struct check *c, const char *format, ...)
{
	va_list args;

	c->n_bad++;
	if (!c->out)
		return;
	va_start(args, format);
	(void)fputs("sim_check: ", c->out);
	(void)vfprintf(c->out, format, args);
	(void)fputc('\n', c->out);
	va_end(args);
}

static bool domain_exists(struct check *c, uint32_t index)
{
	return index < SIM_MAX_DOMAINS && domain_at(c->xen, index)->state != SIM_DOMAIN_FREE;
}

static bool slot_owns(struct check *c, uint32_t owner, uint32_t domain)
{
	return owner > 0 && owner <= SIM_MAX_SLOTS &&
	       atomic_load(&slot_at(c->xen, owner - 1)->state) != SIM_SLOT_FREE &&
	       slot_domain(c->xen, owner - 1) == domain;
}

/* ---- event channels ---------------------------------------------------------------------- */

static void check_interdomain(struct check *c, uint32_t domain, uint32_t port)
{
	struct sim_domain *d = domain_at(c->xen, domain), *rd;
	const struct sim_port *p = port_entry(c->xen, d, port), *r;

	rd = domain_exists(c, p->remote_domain) ? domain_at(c->xen, p->remote_domain) : NULL;
	r = rd ? port_at(c->xen, rd, p->remote_port) : NULL;
	if (!r) {
		bad(c, "d%u port %u: bound to nowhere", d->domid, port);
		return;
	}
	if (r->state != SIM_PORT_INTERDOMAIN || r->remote_domain != domain ||
		r->remote_port != port || p->remote_domid != rd->domid)
		bad(c, "d%u port %u: d%u port %u is not bound back", d->domid, port, rd->domid,
			p->remote_port);
}

/* The virq, the pirq or the remote port that a port is bound to names the port in return. */
static void check_binding(struct check *c, uint32_t domain, uint32_t port)
{
	struct sim_domain *d = domain_at(c->xen, domain);
	const struct sim_port *p = port_entry(c->xen, d, port);
	const struct sim_vcpu *v;

	if (p->state == SIM_PORT_INTERDOMAIN) {
		check_interdomain(c, domain, port);
	} else if (p->state == SIM_PORT_PIRQ) {
		if (p->remote_port >= SIM_MAX_PIRQS || d->pirqs[p->remote_port].port != port ||
			!(d->pirqs[p->remote_port].flags & SIM_PIRQ_ASSIGNED))
			bad(c, "d%u port %u: pirq %u is not there", d->domid, port, p->remote_port);
	} else if (p->state == SIM_PORT_VIRQ) {
		v = &d->vcpus[virq_is_global(p->virq) ? 0 : p->vcpu];
		if (p->virq >= NR_VIRQS || v->virq_port[p->virq] != port)
			bad(c, "d%u port %u: virq %u is not there", d->domid, port, p->virq);
	} else if (p->state > SIM_PORT_IPI) {
		bad(c, "d%u port %u: state %u", d->domid, port, p->state);
	}
}

static void check_port(struct check *c, uint32_t domain, uint32_t port)
{
	struct sim_domain *d = domain_at(c->xen, domain);
	const struct sim_port *p = port_entry(c->xen, d, port);

	if (p->n_notify != c->n_notify[domain][port])
		bad(c, "d%u port %u: counts %u armed notifies, has %u", d->domid, port, p->n_notify,
			c->n_notify[domain][port]);
	if (p->state == SIM_PORT_FREE) {
		if (p->owner)
			bad(c, "d%u port %u: free, but owned", d->domid, port);
		if (p->vcpu || p->xen_consumer)
			bad(c, "d%u port %u: free, but bound to vcpu %u", d->domid, port, p->vcpu);
		return;
	}
	if (p->owner && p->owner != SIM_PORT_KERNEL_OWNER && p->owner != SIM_PORT_ORPHAN &&
		!slot_owns(c, p->owner, domain))
		bad(c, "d%u port %u: owned by slot %u, which is not there", d->domid, port,
			p->owner - 1U);
	if (p->owner == SIM_PORT_ORPHAN && !p->n_notify)
		bad(c, "d%u port %u: an orphan without a notify", d->domid, port);
	if (p->vcpu >= d->n_vcpus) {
		bad(c, "d%u port %u: bound to vcpu %u", d->domid, port, p->vcpu);
		return;
	}
	if (p->xen_consumer && p->owner)
		bad(c, "d%u port %u: both Xen's and a guest's", d->domid, port);
	check_binding(c, domain, port);
}

static bool port_is(struct check *c, struct sim_domain *d, uint32_t port, enum sim_port_state state)
{
	const struct sim_port *p = port_at(c->xen, d, port);

	return p && p->state == state;
}

static bool page_is(struct check *c, uint32_t page, uint32_t domain, enum sim_page_type type)
{
	uint64_t info = page > 0 && page < SIM_POOL_PAGES ? c->xen->seg->pages[page] : 0;

	return info && SIM_PAGE_DOMAIN(info) == domain && SIM_PAGE_TYPE(info) == type;
}

/* False: the pages of the ports are not there, so nothing else of the ports can be looked at. */
static bool check_port_pages(struct check *c, uint32_t domain)
{
	const struct sim_domain *d = domain_at(c->xen, domain);

	for (uint32_t port = SIM_2L_PORTS; port < d->n_valid_ports; port += SIM_PORTS_PAGE)
		if (!page_is(c, d->port_page[(port - SIM_2L_PORTS) / SIM_PORTS_PAGE], domain,
			    SIM_PAGE_XEN)) {
			bad(c, "d%u port %u: its page is not Xen's", d->domid, port);
			return false;
		}
	return true;
}

/* ---- FIFO -------------------------------------------------------------------------------- */

static bool check_fifo_pages(struct check *c, uint32_t domain)
{
	const struct sim_domain *d = domain_at(c->xen, domain);
	int before = c->n_bad;

	if (d->n_words > SIM_MAX_PORTS || d->n_words % SIM_WORDS_PAGE || (d->n_words && !d->fifo)) {
		bad(c, "d%u: %u event words", d->domid, d->n_words);
		return false;
	}
	for (uint32_t i = 0; i < d->n_words / SIM_WORDS_PAGE; i++)
		if (!page_is(c, d->array_page[i], domain, SIM_PAGE_RAM))
			bad(c, "d%u: page %u of the event array is not its own", d->domid, i);
	for (uint32_t i = 0; i < SIM_MAX_VCPUS; i++) {
		const struct sim_vcpu *v = &d->vcpus[i];

		if (v->control_page &&
			(!d->fifo || i >= d->n_vcpus ||
				!page_is(c, v->control_page, domain, SIM_PAGE_RAM) ||
				v->control_offset >
					HV_PAGE_SIZE - sizeof(evtchn_fifo_control_block_t)))
			bad(c, "d%u vcpu %u: its control block makes no sense", d->domid, i);
		for (uint32_t q = 0; q < EVTCHN_FIFO_MAX_QUEUES; q++)
			if (v->tail[q] && (!v->control_page || v->tail[q] >= d->n_words))
				bad(c, "d%u vcpu %u: queue %u ends in port %u", d->domid, i, q,
					v->tail[q]);
	}
	return c->n_bad == before;
}

/* The emulated kernel leaves no event of a process behind that is not masked. */
static void check_fifo(struct check *c, uint32_t domain)
{
	struct sim_domain *d = domain_at(c->xen, domain);

	if (!check_fifo_pages(c, domain))
		return;
	for (uint32_t port = 0; port < d->n_words && port < d->n_valid_ports; port++) {
		const struct sim_port *p = port_entry(c->xen, d, port);
		uint32_t word = atomic_load(fifo_word(c->xen, d, port));

		if (word & 1U << EVTCHN_FIFO_BUSY)
			bad(c, "d%u port %u: busy for ever", d->domid, port);
		if (p->priority > EVTCHN_FIFO_PRIORITY_MIN ||
			p->last_priority > EVTCHN_FIFO_PRIORITY_MIN || p->last_vcpu >= d->n_vcpus)
			bad(c, "d%u port %u: no such queue", d->domid, port);
		if (p->owner && ((word & 1U << EVTCHN_FIFO_LINKED) ||
					((word & 1U << EVTCHN_FIFO_PENDING) &&
						!(word & 1U << EVTCHN_FIFO_MASKED))))
			bad(c, "d%u port %u: its event is lost: %x", d->domid, port, word);
	}
}

/* The other way round. */
static void check_irqs(struct check *c, struct sim_domain *d)
{
	for (uint32_t vcpu = 0; vcpu < SIM_MAX_VCPUS; vcpu++)
		for (uint32_t virq = 0; virq < NR_VIRQS; virq++) {
			uint32_t port = d->vcpus[vcpu].virq_port[virq];

			if (port && !port_is(c, d, port, SIM_PORT_VIRQ))
				bad(c, "d%u: virq %u of vcpu %u has no port", d->domid, virq, vcpu);
			if (port && vcpu && (vcpu >= d->n_vcpus || virq_is_global(virq)))
				bad(c, "d%u: virq %u is bound to vcpu %u", d->domid, virq, vcpu);
		}
	for (uint32_t pirq = 0; pirq < SIM_MAX_PIRQS; pirq++)
		if (d->pirqs[pirq].port && !port_is(c, d, d->pirqs[pirq].port, SIM_PORT_PIRQ))
			bad(c, "d%u: pirq %u has no port", d->domid, pirq);
}

static void check_ports(struct check *c, uint32_t domain)
{
	struct sim_domain *d = domain_at(c->xen, domain);
	uint32_t n = 0, n_xen = 0;

	if (d->n_vcpus == 0 || d->n_vcpus > SIM_MAX_VCPUS || d->n_valid_ports > SIM_MAX_PORTS) {
		bad(c, "d%u: %u vcpus, %u valid ports", d->domid, d->n_vcpus, d->n_valid_ports);
		return;
	}
	if (!check_port_pages(c, domain))
		return;
	for (uint32_t port = 0; port < d->n_valid_ports; port++) {
		n += port_entry(c->xen, d, port)->state != SIM_PORT_FREE;
		n_xen += port_entry(c->xen, d, port)->xen_consumer != 0;
		check_port(c, domain, port);
	}
	for (uint32_t port = d->n_valid_ports; port < SIM_2L_PORTS; port++)
		if (d->ports[port].state != SIM_PORT_FREE)
			bad(c, "d%u port %u: beyond the valid ones", d->domid, port);
	if (n != d->n_ports || n_xen != d->n_xen_ports)
		bad(c, "d%u: counts %u ports (%u of Xen), has %u (%u)", d->domid, d->n_ports,
			d->n_xen_ports, n, n_xen);
	for (uint32_t port = 0; port < d->next_port && port < d->n_valid_ports; port++)
		if (port_entry(c->xen, d, port)->state == SIM_PORT_FREE)
			bad(c, "d%u port %u: free, and not looked for", d->domid, port);
	check_irqs(c, d);
}

/* ---- Argo -------------------------------------------------------------------------------- */

static void check_ring(struct check *c, uint32_t domain, uint32_t i)
{
	const struct sim_domain *d = domain_at(c->xen, domain);
	const struct sim_ring *ring = &d->rings[i];
	uint32_t rest, partner = sim_domain_find(c->xen, ring->partner), found = SIM_MAX_RINGS;

	if ((ring->len & 15) ||
		ring->len + sizeof(xen_argo_ring_t) > (uint64_t)ring->n_pages * HV_PAGE_SIZE)
		bad(c, "d%u ring %u: %u bytes in %u pages", d->domid, i, ring->len, ring->n_pages);
	if (ring->tx_ptr >= ring->len || (ring->tx_ptr & 15))
		bad(c, "d%u ring %u: tx_ptr %u of %u", d->domid, i, ring->tx_ptr, ring->len);
	if (!argo_find(c->xen, domain, ring->aport, ring->partner, &found) || found != i)
		bad(c, "d%u ring %u: not in its hash chain", d->domid, i);
	if (ring->owner && !slot_owns(c, ring->owner, domain))
		bad(c, "d%u ring %u: owned by slot %u, which is not there", d->domid, i,
			ring->owner - 1U);
	if (ring->partner != XEN_ARGO_DOMID_ANY &&
		(partner == DOMAIN_NONE || !domain_has_argo(domain_at(c->xen, partner))))
		bad(c, "d%u ring %u: its partner d%u is gone", d->domid, i, ring->partner);
	if (ring->n_waiters > SIM_MAX_WAITERS)
		bad(c, "d%u ring %u: %u waiters", d->domid, i, ring->n_waiters);
	for (uint32_t w = 0; w < ring->n_waiters && w < SIM_MAX_WAITERS; w++)
		for (uint32_t v = 0; v < w; v++)
			if (ring->waiters[v].domid == ring->waiters[w].domid)
				bad(c, "d%u ring %u: d%u waits twice", d->domid, i,
					ring->waiters[v].domid);
	for (uint32_t page = 0; page < ring->n_pages; page++) {
		const uint8_t *p = argo_ring_at(c->xen, ring, page * HV_PAGE_SIZE, &rest);
		uint64_t gfn = (uint64_t)(p - c->xen->pool) / HV_PAGE_SIZE;

		if (!page_is_owned(c->xen, gfn, domain))
			bad(c, "d%u ring %u: page %u is not its own", d->domid, i, (uint32_t)gfn);
	}
}

static void check_rings(struct check *c, uint32_t domain)
{
	const struct sim_domain *d = domain_at(c->xen, domain);
	uint32_t n = 0, n_waiting = 0, in_chains = 0;

	for (uint32_t i = 0; i < SIM_MAX_RINGS; i++) {
		if (!d->rings[i].used) {
			if (d->rings[i].owner || d->rings[i].len || d->rings[i].n_waiters)
				bad(c, "d%u ring %u: free, but not empty", d->domid, i);
			continue;
		}
		n++;
		n_waiting += d->rings[i].n_waiters;
		check_ring(c, domain, i);
	}
	for (uint32_t b = 0; b < SIM_RING_BUCKETS; b++)
		for (uint32_t i = d->ring_bucket[b]; i && i <= SIM_MAX_RINGS && in_chains <= n;
			i = d->rings[i - 1].next)
			in_chains++;
	if (in_chains != n)
		bad(c, "d%u: %u rings, but %u in the hash", d->domid, n, in_chains);
	/* More is upstream's leak (argo_register_locked); fewer cannot be. */
	if (d->n_argo < n)
		bad(c, "d%u: counts %u rings, has %u", d->domid, d->n_argo, n);
	if (d->n_waiting != n_waiting)
		bad(c, "d%u: counts %u waiters, has %u", d->domid, d->n_waiting, n_waiting);
	for (uint32_t i = 0; i < SIM_MAX_RINGS; i++)
		if ((d->ring_watch[i / 64] >> i % 64 & 1) && !d->rings[i].owner)
			bad(c, "d%u ring %u: watched by nobody", d->domid, i);
}

/* ---- grants and pages ----------------------------------------------------------------------- */

static void check_notify(struct check *c, uint32_t domain, const struct sim_notify *notify)
{
	if (!notify->page)
		return;
	if (notify->page >= SIM_POOL_PAGES || notify->offset >= HV_PAGE_SIZE ||
		notify->port >= SIM_MAX_PORTS || domain >= SIM_MAX_DOMAINS)
		bad(c, "an armed notify makes no sense");
	else if (domain_at(c->xen, domain)->state != SIM_DOMAIN_DYING)
		c->n_notify[domain][notify->port]++;
}

static void check_share(struct check *c, uint32_t i)
{
	struct sim_segment *seg = c->xen->seg;
	const struct sim_share *share = &seg->shares[i];

	for (uint32_t n = 0; n < share->n_pages; n++) {
		uint64_t page = (uint64_t)share->first_page + n;

		if (page >= SIM_POOL_PAGES || SIM_PAGE_TYPE(seg->pages[page]) != SIM_PAGE_SHARE ||
			SIM_PAGE_DOMAIN(seg->pages[page]) != share->domain ||
			(SIM_PAGE_FLAGS(seg->pages[page]) & SIM_PAGE_WITHDRAWN)) {
			bad(c, "share %u: page %lu is not its own", i, (unsigned long)page);
			return;
		}
	}
}

/* Each entry is in use, as `used` says, or in the free list, once. */
#define CHECK_FREE_LIST(c, name, entries, used, head, max)                                         \
	do {                                                                                       \
		uint32_t n_used = 0, n_free = 0;                                                   \
                                                                                                   \
		for (uint32_t i = 0; i < (max); i++)                                               \
			n_used += (entries)[i].used != 0;                                          \
		for (uint32_t i = (head); i && i <= (max) && n_free <= (max);                      \
			i = (entries)[i - 1].next)                                                 \
			n_free++;                                                                  \
		if (n_used + n_free != (max))                                                      \
			bad((c), "%u %s in use, %u free", n_used, (name), n_free);                 \
	} while (0)

static void check_objects(struct check *c)
{
	struct sim_segment *seg = c->xen->seg;

	CHECK_FREE_LIST(c, "shares", seg->shares, owner, seg->free_share, SIM_MAX_SHARES);
	CHECK_FREE_LIST(c, "maps", seg->maps, owner, seg->free_map, SIM_MAX_MAPS);
	CHECK_FREE_LIST(c, "grant handles", seg->tracks, mapper, seg->free_track, SIM_MAX_TRACKS);
	for (uint32_t i = 0; i < SIM_MAX_SHARES; i++) {
		const struct sim_share *share = &seg->shares[i];

		if (!share->owner)
			continue;
		if (share->domain < SIM_MAX_DOMAINS &&
			domain_at(c->xen, share->domain)->state != SIM_DOMAIN_DYING)
			check_share(c, i);
		if (!slot_owns(c, share->owner, share->domain))
			bad(c, "share %u: owned by nobody", i);
		check_notify(c, share->domain, &share->notify);
	}
	for (uint32_t i = 0; i < SIM_MAX_MAPS; i++) {
		const struct sim_map *map = &seg->maps[i];
		uint32_t n = 0;

		if (!map->owner)
			continue;
		if (!slot_owns(c, map->owner, map->domain))
			bad(c, "map %u: owned by nobody", i);
		check_notify(c, map->domain, &map->notify);
		for (uint32_t t = map->first_track; t && t <= SIM_MAX_TRACKS && n <= map->n_pages;
			t = seg->tracks[t - 1].next)
			n += seg->tracks[t - 1].mapper == map->domain + 1U ? 1 : SIM_MAX_TRACKS;
		if (n != map->n_pages)
			bad(c, "map %u: %u pages, %u handles", i, map->n_pages, n);
	}
}

static void check_tracks(struct check *c)
{
	struct sim_segment *seg = c->xen->seg;
	uint32_t n_parts;

	for (uint32_t i = 0; i < SIM_MAX_TRACKS; i++) {
		const struct sim_track *t = &seg->tracks[i];

		if (!t->mapper)
			continue;
		if (!domain_exists(c, t->mapper - 1U) || !domain_exists(c, t->granter) ||
			t->ref >= SIM_MAX_GREFS) {
			bad(c, "grant handle %u makes no sense", i);
			continue;
		}
		n_parts = !!(t->flags & GNTMAP_host_map) + !!(t->flags & GNTMAP_device_map);
		if (t->flags & GNTMAP_readonly)
			c->readers[t->granter][t->ref] += n_parts;
		else
			c->writers[t->granter][t->ref] += n_parts;
	}
}

static void check_grants(struct check *c, uint32_t domain)
{
	const struct sim_domain *d = domain_at(c->xen, domain);
	uint32_t n_pinned = 0;

	for (uint32_t ref = 0; ref < SIM_MAX_GREFS; ref++) {
		const struct sim_active_grant *a = &d->active[ref];
		uint32_t readers = c->readers[domain][ref];
		uint32_t writers = c->writers[domain][ref];

		n_pinned += readers + writers;
		if (a->n_readers != readers || a->n_writers != writers)
			bad(c, "d%u gref %u: pinned %u+%u, mapped %u+%u", d->domid, ref,
				a->n_readers, a->n_writers, readers, writers);
		/* The entry may say anything: it is the guest's. */
		if ((readers || writers) && !page_is_owned(c->xen, a->frame, domain))
			bad(c, "d%u gref %u: mapped, but page %u is not its own", d->domid, ref,
				a->frame);
	}
	if (n_pinned != d->n_pinned)
		bad(c, "d%u: counts %u mappings, has %u", d->domid, d->n_pinned, n_pinned);
}

static void check_pages(struct check *c)
{
	uint32_t shared[SIM_MAX_DOMAINS] = {0};
	struct sim_segment *seg = c->xen->seg;

	for (uint32_t page = 0; page < SIM_POOL_PAGES; page++) {
		uint64_t info = seg->pages[page];

		if (!info)
			continue;
		if (page == 0 || !domain_exists(c, SIM_PAGE_DOMAIN(info))) {
			bad(c, "page %u: owned by nobody", page);
			continue;
		}
		if (SIM_PAGE_TYPE(info) == SIM_PAGE_RING &&
			!slot_owns(c, SIM_PAGE_TAG(info), SIM_PAGE_DOMAIN(info)))
			bad(c, "page %u: a ring's, of a slot that is not there", page);
		if (SIM_PAGE_TYPE(info) != SIM_PAGE_SHARE)
			continue;
		shared[SIM_PAGE_DOMAIN(info)] += !(SIM_PAGE_FLAGS(info) & SIM_PAGE_WITHDRAWN);
		if (SIM_PAGE_TAG(info) >= SIM_MAX_GREFS ||
			domain_at(c->xen, SIM_PAGE_DOMAIN(info))->grants[SIM_PAGE_TAG(info)] >>
					32 !=
				page)
			bad(c, "page %u: shared, but not by its reference", page);
	}
	for (uint32_t i = 0; i < SIM_MAX_DOMAINS; i++)
		if (domain_exists(c, i) && shared[i] != domain_at(c->xen, i)->n_shared)
			bad(c, "d%u: counts %u shared pages, has %u", domain_at(c->xen, i)->domid,
				domain_at(c->xen, i)->n_shared, shared[i]);
}

/* Every lock is held by this check. */
static void check_guard(struct check *c, uint32_t i)
{
	const struct sim_guard *g = &c->xen->seg->guards[i];
	uint32_t n = atomic_load(&c->xen->seg->n_domains);

	if (atomic_load(&g->n_undo) || atomic_load(&g->n_redo) || atomic_load(&g->committed))
		bad(c, "journal %u is not empty", i);
	if (i != SIM_GUARD_ALL && (atomic_load(&g->word) != 0) != (i < SIM_GUARD_DOMAIN(n)))
		bad(c, "lock %u of %u domains' is %x", i, n, atomic_load(&g->word));
	if (i >= SIM_GUARD_DOMAIN(n) && domain_exists(c, i - SIM_GUARD_DOMAIN(0)))
		bad(c, "the lock of domain %u is not taken with all", i - SIM_GUARD_DOMAIN(0));
}

static void check_all(struct check *c)
{
	struct sim_segment *seg = c->xen->seg;

	for (uint32_t i = 0; i < SIM_GUARDS; i++)
		check_guard(c, i);
	if (atomic_load(&seg->corrupt))
		bad(c, "a list was found that does not end");
	for (uint32_t domid = 0; domid < ARRAY_SIZE(seg->domain_index); domid++)
		if (seg->domain_index[domid] &&
			(!domain_exists(c, seg->domain_index[domid] - 1U) ||
				domain_at(c->xen, seg->domain_index[domid] - 1U)->domid != domid))
			bad(c, "domid %u is found, but is not there", domid);
	check_objects(c);
	check_tracks(c);
	check_pages(c);
	for (uint32_t i = 0; i < SIM_MAX_DOMAINS; i++) {
		if (!domain_exists(c, i))
			continue;
		if (sim_domain_find(c->xen, domain_at(c->xen, i)->domid) != i)
			bad(c, "d%u is not found by its domid", domain_at(c->xen, i)->domid);
		check_ports(c, i);
		check_fifo(c, i);
		check_rings(c, i);
		check_grants(c, i);
	}
}

int segment_check(struct xen *xen, FILE *out)
{
	/* 17 MiB, mostly untouched: calloc would clear it all, from the second time on. */
	struct check *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int n_bad;

	if (c == MAP_FAILED) {
		if (out)
			(void)fputs("sim_check: no memory to look\n", out);
		return 1;
	}
	c->xen = xen;
	c->out = out;
	txn_begin(xen);
	check_all(c);
	txn_abort(xen);
	n_bad = c->n_bad;
	(void)munmap(c, sizeof(*c));
	return n_bad;
}
