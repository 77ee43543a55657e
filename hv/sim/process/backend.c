/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hv.h over the emulated guest kernel. hv/sim/guest/ has the semantics; here is the glue. */
#include "hv/sim/process/backend.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "hv/argo-ring.h"
#include "hv/sim/guest/grant.h"
#include "hv/sim/guest/port.h"
#include "hv/sim/guest/ring.h"
#include "hv/sim/hypervisor/domain.h"
#include "hv/sim/hypervisor/machine.h"
#include "hv/sim/memory/slot.h"

struct hv_map {
	LIST_ENTRY(hv_map) entries;
	uint32_t index;
	void *address;
	size_t len;
};

static struct sim_hv *sim_hv_of(struct hv *hv)
{
	return container_of(hv, struct sim_hv, hv);
}

/* Looked up each time: it changes when the domain is restored. */
static uint16_t own_domid(struct sim_hv *h)
{
	return domain_at(&h->xen, slot_domain(&h->xen, h->xen.slot))->domid;
}

static uint16_t op_domid(struct hv *hv)
{
	return own_domid(sim_hv_of(hv));
}

static uint64_t op_now_ns(struct hv *hv)
{
	return machine_now_ns(&sim_hv_of(hv)->xen);
}

static int op_cpu(struct hv *hv)
{
	int cpu = sched_getcpu();

	return cpu < 0 ? -1 : cpu;
}

static int op_fd(struct hv *hv)
{
	return sim_hv_of(hv)->event_fd;
}

/* ---- events ---------------------------------------------------------------------------- */

static size_t take_flags(struct sim_hv *h, struct hv_event *ret, size_t n)
{
	struct sim_slot *s = slot_at(&h->xen, h->xen.slot);
	size_t got = 0;

	if (atomic_load_explicit(&s->flags, memory_order_relaxed) == 0)
		return 0;
	if (got < n && (atomic_fetch_and(&s->flags, ~SIM_SLOT_STORE) & SIM_SLOT_STORE))
		ret[got++] = (struct hv_event){.type = HV_EVENT_STORE};
	if (got < n && (atomic_fetch_and(&s->flags, ~SIM_SLOT_DOMAINS) & SIM_SLOT_DOMAINS))
		ret[got++] = (struct hv_event){.type = HV_EVENT_DOMAINS};
	return got;
}

static size_t take_rings(struct sim_hv *h, struct hv_event *ret, size_t n)
{
	struct sim_slot *s = slot_at(&h->xen, h->xen.slot);
	size_t got = 0;

	for (uint32_t word = 0; word < 2; word++) {
		uint64_t bits = atomic_load_explicit(&s->rings[word], memory_order_relaxed);

		for (; bits && got < n; bits &= bits - 1) {
			uint32_t i = word * 64 + (uint32_t)__builtin_ctzll(bits);

			atomic_fetch_and(&s->rings[word], ~(bits & -bits));
			if (h->rings[i])
				ret[got++] = (struct hv_event){
					.type = HV_EVENT_RING, .ring = &h->rings[i]->pub};
		}
	}
	return got;
}

static size_t take_port_word(struct sim_hv *h, uint32_t word, struct hv_event *ret, size_t n)
{
	struct sim_slot *s = slot_at(&h->xen, h->xen.slot);
	uint64_t bits = atomic_exchange(&s->ports[word], 0);
	size_t got = 0;

	for (; bits && got < n; bits &= bits - 1) {
		uint32_t port = word * 64 + (uint32_t)__builtin_ctzll(bits);

		/* Closed meanwhile? */
		if (guest_port_is_mine(&h->xen, h->xen.slot, port))
			ret[got++] = (struct hv_event){.type = HV_EVENT_PORT, .port = port};
	}
	if (bits) {
		atomic_fetch_or(&s->ports[word], bits);
		atomic_fetch_or(&s->port_words, 1ULL << word % 64);
	}
	return got;
}

/*
 * Every 64th word, up to the last that the domain has ports for. Their bit before the words: who
 * raises sets them the other way round.
 */
static size_t take_port_words(struct sim_hv *h, uint32_t first, struct hv_event *ret, size_t n)
{
	struct sim_slot *s = slot_at(&h->xen, h->xen.slot);
	uint32_t n_ports = domain_at(&h->xen, slot_domain(&h->xen, h->xen.slot))->n_valid_ports;
	size_t got = 0;

	atomic_fetch_and(&s->port_words, ~(1ULL << first));
	for (uint32_t word = first; word * 64 < n_ports; word += 64)
		if (atomic_load(&s->ports[word]))
			got += take_port_word(h, word, ret + got, n - got);
	return got;
}

static size_t take_ports(struct sim_hv *h, struct hv_event *ret, size_t n)
{
	struct sim_slot *s = slot_at(&h->xen, h->xen.slot);
	uint64_t words = atomic_load_explicit(&s->port_words, memory_order_relaxed);
	size_t got = 0;

	for (; words && got < n; words &= words - 1)
		got += take_port_words(h, (uint32_t)__builtin_ctzll(words), ret + got, n - got);
	return got;
}

static int op_poll_events(struct hv *hv, struct hv_event *ret_events, size_t n)
{
	struct sim_hv *h = sim_hv_of(hv);
	uint64_t count;
	size_t got;

	/* xen-sim took the slot back at its end, and said so by the last kick. Or it was killed. */
	if (atomic_load_explicit(&slot_at(&h->xen, h->xen.slot)->state, memory_order_acquire) !=
			SIM_SLOT_LIVE ||
		hangup_seen(&h->hangup)) {
		(void)!read(h->event_fd, &count, sizeof(count));
		return -ENODEV;
	}
	got = take_flags(h, ret_events, n);
	got += take_rings(h, ret_events + got, n - got);
	got += take_ports(h, ret_events + got, n - got);
	slot_quiesce(&h->xen, h->event_fd);
	return (int)got;
}

/* ---- event channels ---------------------------------------------------------------------- */

static int op_evtchn_alloc_unbound(struct hv *hv, uint16_t remote, uint32_t *ret_port)
{
	return guest_port_alloc(&sim_hv_of(hv)->xen, remote, ret_port);
}

/* The two processes are introduced before they are bound: no event waits for a descriptor. */
static int op_evtchn_bind_interdomain(
	struct hv *hv, uint16_t remote, uint32_t remote_port, uint32_t *ret_port)
{
	struct sim_hv *h = sim_hv_of(hv);
	uint32_t generation, slot = guest_port_peer(&h->xen, remote, remote_port, &generation);

	if (slot != 0 && slot != h->xen.slot)
		h->toolstack->introduce(h, slot, generation);
	return guest_port_bind(&h->xen, remote, remote_port, ret_port);
}

static int op_evtchn_close(struct hv *hv, uint32_t port)
{
	return guest_port_close(&sim_hv_of(hv)->xen, port);
}

static int op_evtchn_send(struct hv *hv, uint32_t port)
{
	return guest_port_send(&sim_hv_of(hv)->xen, port);
}

static int op_evtchn_unmask(struct hv *hv, const uint32_t *ports, size_t n)
{
	return guest_port_unmask(&sim_hv_of(hv)->xen, ports, n);
}

/* ---- Argo ------------------------------------------------------------------------------- */

static struct sim_hv_ring *ring_of(struct hv_ring *ring)
{
	return container_of(ring, struct sim_hv_ring, pub);
}

static int op_argo_register(struct hv *hv, uint32_t aport, uint16_t partner, uint32_t ring_len,
	struct hv_ring **ret_ring)
{
	struct sim_hv *h = sim_hv_of(hv);
	_cleanup_free_ struct sim_hv_ring *ring = calloc(1, sizeof(*ring));
	struct sim_slot *s = slot_at(&h->xen, h->xen.slot);
	int r;

	if (!ring)
		return -ENOMEM;
	r = guest_ring_register(&h->xen, aport, partner, ring_len, &ring->index, &ring->pub.aport,
		&ring->first_page);
	if (r < 0)
		return r;
	ring->n_pages = (ring_len + ARGO_RING_HEADER_LEN + HV_PAGE_SIZE - 1) / HV_PAGE_SIZE;
	ring->pub.mem = page_address(&h->xen, ring->first_page);
	ring->pub.ring_len = ring_len;
	ring->pub.partner = partner;
	ring->addr.src.aport = ring->pub.aport;
	ring->addr.src.domain_id = own_domid(h);
	ring->addr.dst.domain_id = partner;
#ifdef MADV_POPULATE_WRITE
	(void)madvise(ring->pub.mem, (size_t)ring->n_pages * HV_PAGE_SIZE, MADV_POPULATE_WRITE);
#endif
	/* Of an earlier ring with this index. */
	atomic_fetch_and(&s->rings[ring->index / 64], ~(1ULL << ring->index % 64));
	h->rings[ring->index] = ring;
	*ret_ring = &steal_ptr(ring)->pub;
	return 0;
}

static int op_argo_peer(struct hv *hv, struct hv_ring *pub, uint32_t aport)
{
	struct sim_hv_ring *ring = ring_of(pub);

	if (ring->has_peer)
		return -EISCONN;
	ring->addr.dst.aport = aport;
	ring->has_peer = true;
	return 0;
}

static int op_argo_sendv(struct hv *hv, struct hv_ring *pub, const struct iovec *iov, size_t n_iov,
	uint32_t message_type)
{
	struct sim_hv_ring *ring = ring_of(pub);
	xen_argo_iov_t xen_iov[ARGO_MAX_IOV];
	uint32_t n = 0;

	if (!ring->has_peer)
		return -ENOTCONN;
	if (n_iov == 0 || n_iov > ARGO_MAX_IOV)
		return -EINVAL;
	for (size_t i = 0; i < n_iov; i++) {
		if (iov[i].iov_len == 0)
			continue;
		if (iov[i].iov_len > UINT32_MAX)
			return -EMSGSIZE;
		xen_iov[n].iov_hnd = iov[i].iov_base;
		xen_iov[n].iov_len = (uint32_t)iov[i].iov_len;
		xen_iov[n++].pad = 0;
	}
	return guest_ring_send(
		&sim_hv_of(hv)->xen, ring->index, &ring->addr, xen_iov, n, message_type);
}

static int op_argo_consumed(struct hv *hv)
{
	return guest_ring_consumed(&sim_hv_of(hv)->xen);
}

static int op_argo_watch(struct hv *hv, struct hv_ring *pub, bool on)
{
	return guest_ring_watch(&sim_hv_of(hv)->xen, ring_of(pub)->index, on);
}

static int op_argo_unregister(struct hv *hv, struct hv_ring *pub)
{
	struct sim_hv *h = sim_hv_of(hv);
	struct sim_hv_ring *ring = ring_of(pub);
	int r = guest_ring_unregister(&h->xen, ring->index, ring->first_page, ring->n_pages);

	if (h->rings[ring->index] == ring)
		h->rings[ring->index] = NULL;
	free(ring);
	return r;
}

/* ---- grants ------------------------------------------------------------------------------ */

/* A share is the segment's own object, under a name that tells nothing. */
static int op_grant_share(struct hv *hv, uint16_t remote, size_t n,
	const struct hv_unmap_notify *notify, uint32_t *ret_refs, void **ret_addr,
	struct hv_share **ret_share)
{
	struct sim_hv *h = sim_hv_of(hv);
	uint32_t refs[SIM_SHARE_LIMIT], first, index;
	int r;

	if (n > SIM_SHARE_LIMIT)
		return -ENOSPC;
	r = guest_share(&h->xen, remote, (uint32_t)n, notify, refs, &first, &index);
	if (r < 0)
		return r;
	memcpy(ret_refs, refs, n * sizeof(*refs));
	*ret_addr = page_address(&h->xen, first);
	*ret_share = (struct hv_share *)&h->xen.seg->shares[index];
	return 0;
}

static void op_grant_unshare(struct hv *hv, struct hv_share *share)
{
	struct xen *xen = &sim_hv_of(hv)->xen;

	guest_unshare(xen, (uint32_t)((struct sim_share *)share - xen->seg->shares));
}

static int op_grant_notify(
	struct hv *hv, struct hv_share *share, const struct hv_unmap_notify *notify)
{
	struct xen *xen = &sim_hv_of(hv)->xen;

	return guest_share_notify(
		xen, (uint32_t)((struct sim_share *)share - xen->seg->shares), notify);
}

/* Maps the pages of the memfd into one area, a run at a time, as gntdev's mmap does. */
static int map_pages(
	struct sim_hv *h, const uint32_t *pages, size_t n, bool writable, void **ret_addr)
{
	int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;
	size_t len = n * HV_PAGE_SIZE, run;
	uint8_t *area = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		return -ENOMEM;
	for (size_t i = 0; i < n; i += run) {
		off_t offset = (off_t)(h->xen.seg->pool_offset + (uint64_t)pages[i] * HV_PAGE_SIZE);

		for (run = 1; i + run < n && pages[i + run] == pages[i] + run;)
			run++;
		if (mmap(area + i * HV_PAGE_SIZE, run * HV_PAGE_SIZE, prot,
			    MAP_SHARED | MAP_FIXED | MAP_POPULATE, h->memfd,
			    offset) == MAP_FAILED) {
			(void)munmap(area, len);
			return -ENOMEM;
		}
	}
	(void)madvise(area, len, MADV_DONTFORK);
	*ret_addr = area;
	return 0;
}

static int op_grant_map(struct hv *hv, uint16_t remote, const uint32_t *refs, size_t n,
	bool writable, const struct hv_unmap_notify *notify, void **ret_addr,
	struct hv_map **ret_map)
{
	struct sim_hv *h = sim_hv_of(hv);
	_cleanup_free_ struct hv_map *map = calloc(1, sizeof(*map));
	uint32_t pages[SIM_SHARE_LIMIT];
	int r;

	if (n > SIM_SHARE_LIMIT)
		return -ENOSPC;
	if (!map)
		return -ENOMEM;
	r = guest_map(&h->xen, remote, refs, (uint32_t)n, writable, notify, pages, &map->index);
	if (r < 0)
		return r;
	map->len = n * HV_PAGE_SIZE;
	r = map_pages(h, pages, n, writable, &map->address);
	if (r < 0) {
		guest_unmap(&h->xen, map->index);
		return r;
	}
	LIST_INSERT_HEAD(&h->maps, map, entries);
	*ret_addr = map->address;
	*ret_map = steal_ptr(map);
	return 0;
}

static void op_grant_unmap(struct hv *hv, struct hv_map *map)
{
	guest_unmap(&sim_hv_of(hv)->xen, map->index);
	(void)munmap(map->address, map->len);
	LIST_REMOVE(map, entries);
	free(map);
}

/* ---- parcels --------------------------------------------------------------------------- */

/* The pages, as the segment's own objects; and the slot of the process that made them. */
enum { WHERE_PAGE, WHERE_OTHERS, WHERE_SLOT };

/* Port and pages that were adopted are another slot's: nothing is done to them. */
static void op_parcel_drop(struct hv *hv, struct hv_parcel *parcel)
{
	struct xen *xen = &sim_hv_of(hv)->xen;

	guest_unshare(xen, (uint32_t)parcel->where[WHERE_PAGE]);
	guest_unshare(xen, (uint32_t)parcel->where[WHERE_OTHERS]);
	(void)guest_port_close(xen, parcel->port);
}

static int op_parcel_make(struct hv *hv, struct hv_parcel *ret_parcel)
{
	struct xen *xen = &sim_hv_of(hv)->xen;
	struct hv_parcel parcel = {.where = {[WHERE_SLOT] = xen->slot}, .fds = {-1, -1}};
	uint32_t page, others, first;
	int r;

	r = guest_port_alloc(xen, HV_BROKER_DOMID, &parcel.port);
	if (r < 0)
		return r;
	r = guest_share(xen, HV_BROKER_DOMID, 1, NULL, parcel.refs, &first, &page);
	if (r < 0) {
		(void)guest_port_close(xen, parcel.port);
		return r;
	}
	r = guest_share(
		xen, HV_BROKER_DOMID, HV_PARCEL_PAGES - 1, NULL, parcel.refs + 1, &first, &others);
	if (r < 0) {
		guest_unshare(xen, page);
		(void)guest_port_close(xen, parcel.port);
		return r;
	}
	parcel.where[WHERE_PAGE] = page;
	parcel.where[WHERE_OTHERS] = others;
	*ret_parcel = parcel;
	return 0;
}

/* Every process may write the emulated store. */
static int op_parcel_ask(struct hv *hv, struct hv_parcel *ret_parcel)
{
	return 0;
}

static int op_parcel_adopt(struct hv *hv, struct hv_parcel *parcel, uint32_t notify_offset,
	struct hv_adopted *ret_adopted)
{
	struct sim_hv *h = sim_hv_of(hv);
	struct hv_unmap_notify notify = {.offset = notify_offset, .port = parcel->port};
	struct sim_share *shares = h->xen.seg->shares;
	uint64_t page = parcel->where[WHERE_PAGE], others = parcel->where[WHERE_OTHERS];
	int r = -EINVAL;

	if (notify_offset < HV_PAGE_SIZE && page < SIM_MAX_SHARES && others < SIM_MAX_SHARES &&
		parcel->where[WHERE_SLOT] < SIM_MAX_SLOTS)
		r = guest_adopt(&h->xen, (uint32_t)parcel->where[WHERE_SLOT], (uint32_t)page,
			(uint32_t)others, &notify);
	if (r < 0)
		return r;
	ret_adopted->page = page_address(&h->xen, shares[page].first_page);
	ret_adopted->others = page_address(&h->xen, shares[others].first_page);
	ret_adopted->page_share = (struct hv_share *)&shares[page];
	ret_adopted->others_share = (struct hv_share *)&shares[others];
	return 0;
}

/* ---- the store and the domains ------------------------------------------------------------- */

static int store_request(struct hv *hv, enum sim_message_type type, struct hv_record *record)
{
	struct sim_hv *h = sim_hv_of(hv);

	return h->toolstack->store(h, type, record);
}

/* Looks no further at the key than copying it demands: the store does. */
static bool key_copy(struct hv_record *record, const char *key)
{
	if (strnlen(key, HV_STORE_KEY_MAX) == HV_STORE_KEY_MAX)
		return false;
	strcpy(record->key, key);
	return true;
}

static int op_store_publish(struct hv *hv, const char *key, const void *value, size_t len)
{
	struct hv_record record = {.len = len};

	if (len == 0 || len > HV_STORE_VALUE_MAX || !key_copy(&record, key))
		return -EINVAL;
	memcpy(record.value, value, len);
	return store_request(hv, SIM_PUBLISH, &record);
}

static int op_store_remove(struct hv *hv, uint16_t domid, const char *key)
{
	struct hv_record record = {.domid = domid};

	return key_copy(&record, key) ? store_request(hv, SIM_REMOVE, &record) : -EINVAL;
}

static int op_store_watch(struct hv *hv)
{
	return store_request(hv, SIM_WATCH, NULL);
}

static int op_store_watch_own(struct hv *hv)
{
	return store_request(hv, SIM_WATCH_OWN, NULL);
}

static int op_store_next(struct hv *hv, struct hv_record *ret_record)
{
	return store_request(hv, SIM_NEXT, ret_record);
}

static int op_domain_watch(struct hv *hv)
{
	struct sim_hv *h = sim_hv_of(hv);

	if (own_domid(h) != HV_BROKER_DOMID)
		return -EACCES;
	atomic_store(&slot_at(&h->xen, h->xen.slot)->watches_domains, 1);
	return 0;
}

static int op_domain_list(struct hv *hv, struct hv_domain *ret_domains, size_t n)
{
	struct sim_hv *h = sim_hv_of(hv);

	if (own_domid(h) != HV_BROKER_DOMID)
		return -EACCES;
	return (int)domain_list(&h->xen, ret_domains, n);
}

static int op_domain_tags(struct hv *hv, uint16_t domid, char ret_tags[HV_TAGS_MAX])
{
	struct hv_record record = {.domid = domid};
	int r = store_request(hv, SIM_READ_TAGS, &record);

	if (r == 0)
		memcpy(ret_tags, record.value, HV_TAGS_MAX);
	return r;
}

/* ---- life -------------------------------------------------------------------------------- */

/* The toolstack gives back all that the slot holds; the objects are freed here. */
static void op_close(struct hv *hv)
{
	struct sim_hv *h = sim_hv_of(hv);
	struct hv_map *map;

	h->toolstack->detach(h);
	for (uint32_t i = 0; i < SIM_MAX_RINGS; i++)
		free(h->rings[i]);
	while ((map = LIST_FIRST(&h->maps))) {
		(void)munmap(map->address, map->len);
		LIST_REMOVE(map, entries);
		free(map);
	}
	h->toolstack->release(h);
	free(h);
}

const struct hv_ops sim_hv_ops = HV_OPS("sim", op);

void sim_hv_init(struct sim_hv *h)
{
	h->hv.ops = &sim_hv_ops;
	LIST_INIT(&h->maps);
}
