/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory of links, over the emulator: the binder writes into no page but those of the link, and
 * a domain that does not unmap what it was granted costs a bounded number of pages and references.
 * The other domain is played on raw mappings, without libmsg.
 */
#include <errno.h>
#include <string.h>

#include "hv/sim/memory/xen.h"
#include "hv/sim/testing/sim.h"
#include "libmsg/api/ctx.h"
#include "libmsg/transport/page.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/failing-malloc.h"

#define RING_PAGES    4U
#define DEFAULT_PAGES (2 + 2 * LINK_RING_PAGES_DEFAULT) /* of a link with default rings */
#define LINK_PAGES    (2 + 2 * RING_PAGES)
#define UID	      0x1122334455667788ULL
#define END	      50U
/* Past the longest wait of a domain whose links fail. */
#define LONG_NS (2 * LINK_BACKOFF_MAX_NS)

static struct world {
	struct sim *sim;
	uint16_t us, them;
	struct hv *hv, *their_hv;
	struct pool pool;
	struct links links;
	uint64_t uid;
	/* The other end: of each reference of ours, the page where it was mapped. */
	uint8_t *mapped[SIM_MAX_GREFS];
	struct control_link_offer offer; /* the last one that we made */
} w;

static int setup(void **state)
{
	memset(&w, 0, sizeof(w));
	assert_int_equal(sim_create(&w.sim), 0);
	sim_clock_virtual(w.sim, 1);
	assert_int_equal(
		sim_domain_create(w.sim, &(struct sim_domain_config){.name = "us"}, &w.us), 0);
	assert_int_equal(
		sim_domain_create(w.sim, &(struct sim_domain_config){.name = "them"}, &w.them), 0);
	assert_int_equal(sim_hv_open(w.sim, w.us, &w.hv), 0);
	assert_int_equal(sim_hv_open(w.sim, w.them, &w.their_hv), 0);
	pool_init(&w.pool);
	links_init(&w.links, w.hv, &w.pool);
	return 0;
}

static const struct sim_domain *domain_of(uint16_t domid)
{
	const struct xen *xen = sim_xen(w.sim);

	return domain_at(xen, sim_domain_find(xen, domid));
}

/* References of our domain that are in its grant table. */
static unsigned n_refs(void)
{
	const struct sim_domain *d = domain_of(w.us);
	unsigned n = 0;

	for (uint32_t ref = GNTTAB_NR_RESERVED_ENTRIES; ref < SIM_MAX_GREFS; ref++)
		n += d->grants[ref] != 0;
	return n;
}

/* Ports of our domain, but for those that it has without a link. */
static unsigned n_ports(void)
{
	return domain_of(w.us)->n_ports;
}

/* ---- links that we create ----------------------------------------------------------------- */

/* As msgd: LINK_CREATE. The errno of LINK_FAILED, or 0 and LINK_OFFER. */
static int create_with(uint16_t domid, uint32_t end, uint32_t ring_pages, char *ret_reason)
{
	struct control_link_create request = {.end = end,
		.peer_domid = domid,
		.uid = ++w.uid,
		.transport = TRANSPORT_GRANT,
		.ring_pages = ring_pages};
	struct control_message answer;

	link_create(&w.links, 1, &request, &answer);
	if (answer.type == CONTROL_LINK_FAILED) {
		memcpy(ret_reason, answer.link_failed.reason, REASON_SIZE);
		return (int)answer.link_failed.error;
	}
	assert_int_equal(answer.type, CONTROL_LINK_OFFER);
	w.offer = answer.link_offer;
	return 0;
}

static int create(uint32_t end, char *ret_reason)
{
	return create_with(w.them, end, RING_PAGES, ret_reason);
}

/* As msgd and the pass: LINK_DOWN, and the link is freed. */
static void end_link(uint32_t end)
{
	struct link *link = link_find(&w.links, end);

	link_end(link, LINK_ENDED_BY_MSGD, "the other process is gone");
	link_bury(link);
	links_free_dead(&w.links);
}

/* A page of ours, which the other domain maps once and for all. */
static uint8_t *their_view(uint32_t ref)
{
	struct hv_map *map;
	void *page;

	if (!w.mapped[ref]) {
		assert_int_equal(w.their_hv->ops->grant_map(
					 w.their_hv, w.us, &ref, 1, true, NULL, &page, &map),
			0);
		w.mapped[ref] = page;
	}
	return w.mapped[ref];
}

static struct doorbell_page *their_doorbell(void)
{
	return (struct doorbell_page *)their_view(w.offer.doorbell_ref);
}

/* The other domain maps all pages of the last offer, which are what PROTOCOL.md says. */
static void they_map(void)
{
	static const uint8_t zeros[HV_PAGE_SIZE];
	uint32_t refs[2 * RING_PAGES];
	struct doorbell_head head = link_page_head(w.uid, w.offer.port, LINK_PAGE_DOORBELL);

	assert_memory_equal(their_doorbell(), &head, sizeof(head));
	assert_int_equal(atomic_exchange(&their_doorbell()->end[0].alive, 0), 1);
	assert_memory_equal(
		(uint8_t *)their_doorbell() + sizeof(head), zeros, HV_PAGE_SIZE - sizeof(head));
	atomic_store(&their_doorbell()->end[0].alive, 1);
	head = link_page_head(w.uid, w.offer.port, LINK_PAGE_REFS);
	assert_memory_equal(their_view(w.offer.refs_ref), &head, sizeof(head));
	memcpy(refs, their_view(w.offer.refs_ref) + LINK_REFS_OFFSET, sizeof(refs));
	for (uint32_t i = 0; i < 2 * RING_PAGES; i++) {
		const uint8_t *page = their_view(refs[i]);

		head = link_page_head(w.uid, w.offer.port, LINK_PAGE_RING + i);
		assert_memory_equal(page, &head, sizeof(head));
		/* Nothing of a former link's. */
		assert_memory_equal(page + sizeof(head), zeros, HV_PAGE_SIZE - sizeof(head));
	}
}

static uint32_t they_bind(void)
{
	uint32_t port;

	assert_int_equal(
		w.their_hv->ops->evtchn_bind_interdomain(w.their_hv, w.us, w.offer.port, &port), 0);
	return port;
}

static void they_are_ready(uint32_t end)
{
	they_map();
	atomic_store(&their_doorbell()->end[1].alive, 1);
	link_up(link_find(&w.links, end), 0);
}

static int teardown(void **state)
{
	struct link *link, *next;

	for (link = w.links.by_end; link; link = next) {
		next = link->hh.next;
		link_end(link, LINK_LEFT, "the test is over");
		link_bury(link);
	}
	links_free_dead(&w.links);
	links_clear(&w.links);
	assert_null(w.links.stock.peers);
	assert_null(w.links.backoff.peers);
	hv_close(w.their_hv);
	/* All of it came back. */
	assert_int_equal(n_refs(), 0);
	assert_int_equal(domain_of(w.us)->n_shared, 0);
	assert_int_equal(sim_check(w.sim, stderr), 0);
	hv_close(w.hv);
	sim_free(w.sim);
	return 0;
}

/*
 * The attack: a peer that keeps what it mapped, and its port, and whose link ends over and over. It
 * says so, for its `alive` byte stays: it is refused, with the reason.
 */
static void test_never_unmaps(void **state)
{
	unsigned refused = 0, ports = n_ports();
	char reason[REASON_SIZE];

	for (unsigned i = 0; i < 10000; i++) {
		int error = create(END, reason);

		sim_clock_advance(w.sim, LONG_NS);
		if (error) {
			refused++;
			assert_int_equal(error, ENOBUFS);
			assert_non_null(strstr(reason, "has not let go of the memory of 8 links"));
			continue;
		}
		(void)they_bind();
		they_are_ready(END);
		end_link(END);
	}
	assert_int_equal(refused, 10000 - LINK_HELD_MAX);
	assert_int_equal(n_refs(), LINK_HELD_MAX * LINK_PAGES);
	assert_int_equal(n_ports(), ports);
	/* Other domains have their links. */
	assert_int_equal(create_with(HV_BROKER_DOMID, END, RING_PAGES, reason), 0);
	assert_int_equal(n_refs(), (LINK_HELD_MAX + 1) * LINK_PAGES);
}

/* The same peer lies: the byte is 0, and all pages stay mapped. It gets the same ones again. */
static void test_claims_to_unmap(void **state)
{
	unsigned ports = n_ports();
	char reason[REASON_SIZE];

	for (unsigned i = 0; i < 10000; i++) {
		assert_int_equal(create(END, reason), 0);
		if (i % 64 == 0)
			(void)they_bind();
		they_are_ready(END);
		/* Whatever it writes there. */
		memset(their_doorbell(), 0xff, HV_PAGE_SIZE);
		for (uint32_t ref = 0; ref < SIM_MAX_GREFS; ref++) {
			if (w.mapped[ref])
				memset(w.mapped[ref] + HV_PAGE_SIZE / 2, 0xff, HV_PAGE_SIZE / 2);
		}
		atomic_store(&their_doorbell()->end[1].alive, 0);
		end_link(END);
	}
	assert_int_equal(n_refs(), LINK_PAGES);
	assert_int_equal(n_ports(), ports);
}

/* Several links at once, which all end at once: as many pages as at the busiest, and no more. */
static void test_claims_to_unmap_many(void **state)
{
	struct doorbell_page *doorbells[5];
	char reason[REASON_SIZE];

	for (unsigned i = 0; i < 1000; i++) {
		for (uint32_t k = 0; k < 5; k++) {
			assert_int_equal(create(END + k, reason), 0);
			they_are_ready(END + k);
			doorbells[k] = their_doorbell();
		}
		for (uint32_t k = 0; k < 5; k++) {
			atomic_store(&doorbells[k]->end[1].alive, 0);
			end_link(END + k);
		}
	}
	assert_int_equal(n_refs(), (5 + LINK_WITHDRAWN_MAX) * LINK_PAGES);
	assert_in_range(domain_of(w.us)->n_shared, LINK_PAGES, 5 * LINK_PAGES);
}

/* Links that the other end never binds, or refuses. */
static void test_never_binds(void **state)
{
	char reason[REASON_SIZE];

	for (unsigned i = 0; i < 10000; i++) {
		sim_clock_advance(w.sim, LONG_NS);
		assert_int_equal(create(END, reason), 0);
		they_map();
		end_link(END);
	}
	assert_int_equal(n_refs(), LINK_PAGES);
}

/* Memory that a slow process has mapped still is in no other link; once unmapped it is. */
static void test_slow_to_unmap(void **state)
{
	struct doorbell_page *page;
	uint32_t first, second;
	char reason[REASON_SIZE];

	assert_int_equal(create(END, reason), 0);
	they_are_ready(END);
	first = w.offer.doorbell_ref;
	page = their_doorbell();
	end_link(END);
	assert_int_equal(create(END, reason), 0);
	second = w.offer.doorbell_ref;
	assert_int_not_equal(second, first);
	atomic_store(&page->end[1].alive, 0);
	assert_int_equal(create(END + 1, reason), 0);
	assert_int_equal(w.offer.doorbell_ref, first);
	assert_int_equal(n_refs(), 2 * LINK_PAGES);
}

/* A domain that lets go late has its links again; what it has let go of does not count. */
static void test_lets_go_late(void **state)
{
	struct doorbell_page *doorbells[LINK_HELD_MAX];
	char reason[REASON_SIZE];

	for (unsigned round = 0; round < 3; round++) {
		sim_clock_advance(w.sim, LONG_NS);
		for (uint32_t k = 0; k < LINK_HELD_MAX; k++) {
			assert_int_equal(create(END, reason), 0);
			they_are_ready(END);
			doorbells[k] = their_doorbell();
			end_link(END);
			assert_int_equal(w.links.stock.peers->n_held, k + 1);
		}
		assert_int_equal(create(END, reason), ENOBUFS);
		for (uint32_t k = 0; k < LINK_HELD_MAX; k++)
			atomic_store(&doorbells[k]->end[1].alive, 0);
	}
	/* The pages of a link that stands remain when all others are withdrawn. */
	assert_int_equal(create(END, reason), 0);
	they_are_ready(END);
	links_clear(&w.links);
	assert_int_equal(w.links.stock.peers->n_pages, LINK_PAGES);
	assert_int_equal(w.links.stock.peers->n_held, 0);
}

/* Memory that was granted to one domain is in no other's link. */
static void test_same_domain_only(void **state)
{
	uint32_t theirs;
	char reason[REASON_SIZE];

	assert_int_equal(create(END, reason), 0);
	theirs = w.offer.doorbell_ref;
	end_link(END);
	assert_int_equal(create_with(HV_BROKER_DOMID, END, RING_PAGES, reason), 0);
	assert_int_not_equal(w.offer.doorbell_ref, theirs);
	assert_int_equal(create(END + 1, reason), 0);
	assert_int_equal(w.offer.doorbell_ref, theirs);
}

/* Nor does the memory for a destroyed domain stay, which cannot have cleared a byte. */
static void test_destroyed_domain(void **state)
{
	char reason[REASON_SIZE];

	for (uint32_t k = 0; k < 3; k++) {
		assert_int_equal(create(END + k, reason), 0);
		they_are_ready(END + k);
		if (k)
			atomic_store(&their_doorbell()->end[1].alive, 0);
	}
	for (uint32_t k = 0; k < 3; k++)
		end_link(END + k);
	sim_hv_kill(w.sim, w.their_hv);
	w.their_hv = NULL;
	assert_int_equal(sim_domain_destroy(w.sim, w.them), 0);
	assert_int_equal(create_with(HV_BROKER_DOMID, END, RING_PAGES, reason), 0);
	assert_int_equal(n_refs(), LINK_PAGES);
}

/* Idle memory for many domains makes room when this domain's pages are used up. */
static void test_idle_memory_makes_room(void **state)
{
	uint16_t domids[SIM_SHARE_LIMIT / DEFAULT_PAGES + 5];
	char reason[REASON_SIZE];

	for (unsigned i = 0; i < ARRAY_SIZE(domids); i++) {
		struct sim_domain_config config = {0};

		assert_int_equal(sim_domain_create(w.sim, &config, &domids[i]), 0);
		assert_int_equal(create_with(domids[i], END, LINK_RING_PAGES_DEFAULT, reason), 0);
		end_link(END);
	}
	assert_true(n_refs() <= SIM_SHARE_LIMIT);
}

/* The cap of one domain, with pages from malloc: the emulator's domains have not so many. */
static int plenty(struct hv *hv, uint16_t remote, size_t n, const struct hv_unmap_notify *notify,
	uint32_t *ret_refs, void **ret_addr, struct hv_share **ret_share)
{
	void *pages = aligned_alloc(HV_PAGE_SIZE, n * HV_PAGE_SIZE);

	assert_non_null(pages);
	memset(pages, 0, n * HV_PAGE_SIZE);
	memset(ret_refs, 0, n * sizeof(*ret_refs));
	*ret_addr = pages;
	*ret_share = pages;
	return 0;
}

static void plenty_free(struct hv *hv, struct hv_share *share)
{
	free(share);
}

static int plenty_notify(
	struct hv *hv, struct hv_share *share, const struct hv_unmap_notify *notify)
{
	return 0;
}

static void test_cap(void **state)
{
	struct hv_ops ops = *w.hv->ops;
	const struct hv_ops *true_ops = w.hv->ops;
	char reason[REASON_SIZE] = "";
	unsigned n = 0;

	ops.grant_share = plenty;
	ops.grant_unshare = plenty_free;
	ops.grant_notify = plenty_notify;
	w.hv->ops = &ops;
	while (create_with(w.them, END + n, LINK_RING_PAGES_DEFAULT, reason) == 0)
		n++;
	assert_int_equal(n, LINK_PEER_PAGES_MAX / DEFAULT_PAGES);
	assert_non_null(strstr(reason, "have 2046 pages of this process's, of 2056"));
	assert_int_equal(create_with(w.us, END + n, LINK_RING_PAGES_MAX, reason), 0);
	for (unsigned i = 0; i <= n; i++)
		end_link(END + i);
	/* Idle pages count as well: those that fit are used again, larger ones are refused. */
	sim_clock_advance(w.sim, LONG_NS);
	assert_int_equal(create_with(w.them, END, LINK_RING_PAGES_DEFAULT, reason), 0);
	assert_int_equal(create_with(w.them, END + 1, LINK_RING_PAGES_MAX, reason), 0);
	assert_int_equal(create_with(w.them, END + 2, LINK_RING_PAGES_MAX, reason), ENOBUFS);
	links_clear(&w.links);
	end_link(END);
	end_link(END + 1);
	links_clear(&w.links);
	/* To the last page. */
	for (n = 0; n < 4; n++)
		assert_int_equal(create_with(w.them, END + n, LINK_RING_PAGES_MAX, reason), 0);
	assert_int_equal(w.links.stock.peers->n_pages, LINK_PEER_PAGES_MAX);
	assert_int_equal(create_with(w.them, END + n, LINK_RING_PAGES_MIN, reason), ENOBUFS);
	assert_non_null(strstr(reason, "have 2056 pages of this process's, of 2056"));
	while (n--)
		end_link(END + n);
	links_clear(&w.links);
	w.hv->ops = true_ops;
}

/* ---- links whose making fails --------------------------------------------------------------- */

static void test_backoff(void **state)
{
	char reason[REASON_SIZE];
	uint64_t wait_ns = LINK_BACKOFF_FIRST_NS;

	for (unsigned i = 0; i < LINK_FAILURES_FREE; i++) {
		assert_int_equal(create(END, reason), 0);
		end_link(END);
	}
	for (unsigned i = 0; i < 12; i++) {
		assert_int_equal(create(END, reason), ECONNRESET);
		assert_non_null(strstr(reason, "failed: the other process is gone"));
		/* It is this domain's, and this transport's. */
		assert_int_equal(create_with(HV_BROKER_DOMID, END, RING_PAGES, reason), 0);
		link_up(link_find(&w.links, END), 0);
		end_link(END);
		assert_int_equal(
			backoff_check(&w.links.backoff, w.them, TRANSPORT_ARGO, reason), 0);
		sim_clock_advance(w.sim, wait_ns - 1);
		assert_int_equal(create(END, reason), ECONNRESET);
		sim_clock_advance(w.sim, 1);
		assert_int_equal(create(END, reason), 0);
		end_link(END);
		wait_ns = min_u64(2 * wait_ns, LINK_BACKOFF_MAX_NS);
	}
	assert_int_equal(wait_ns, LINK_BACKOFF_MAX_NS);
	/* One that is made ends it. */
	sim_clock_advance(w.sim, wait_ns);
	assert_int_equal(create(END, reason), 0);
	link_up(link_find(&w.links, END), 0);
	end_link(END);
	assert_int_equal(create(END, reason), 0);
}

/* ---- links that we bind --------------------------------------------------------------------- */

/* The other domain's pages, as the creator of a link has them. */
struct made {
	uint32_t refs[LINK_PAGES]; /* doorbell, references, rings */
	uint8_t *pages;
	struct hv_share *share;
	uint32_t port;
	uint32_t *listed; /* in the page of references */
};

static uint8_t *made_page(const struct made *made, uint32_t i)
{
	return made->pages + i * HV_PAGE_SIZE;
}

/* An honest offer. The rest of each page is what its kernel has there. */
static void they_make(struct made *made)
{
	void *pages;

	assert_int_equal(w.their_hv->ops->grant_share(w.their_hv, w.us, LINK_PAGES, NULL,
				 made->refs, &pages, &made->share),
		0);
	assert_int_equal(w.their_hv->ops->evtchn_alloc_unbound(w.their_hv, w.us, &made->port), 0);
	made->pages = pages;
	memset(pages, 0x5a, LINK_PAGES * HV_PAGE_SIZE);
	for (uint32_t i = 0; i < LINK_PAGES; i++) {
		struct doorbell_head head = link_page_head(UID, made->port, i);

		memcpy(made_page(made, i), &head, sizeof(head));
	}
	made->listed = (uint32_t *)(made_page(made, LINK_PAGE_REFS) + LINK_REFS_OFFSET);
	memcpy(made->listed, made->refs + LINK_PAGE_RING, 2 * RING_PAGES * sizeof(uint32_t));
}

static void they_withdraw(struct made *made)
{
	w.their_hv->ops->grant_unshare(w.their_hv, made->share);
	assert_int_equal(w.their_hv->ops->evtchn_close(w.their_hv, made->port), 0);
}

static const struct hv_ops *sim_ops;
static unsigned n_writable;

/* Before anything is mapped for writing, every page of the link is mapped and was read. */
static int map_watched(struct hv *hv, uint16_t remote, const uint32_t *refs, size_t n,
	bool writable, const struct hv_unmap_notify *notify, void **ret_addr,
	struct hv_map **ret_map)
{
	if (writable) {
		unsigned n_readers = 0;

		for (uint32_t ref = 0; ref < SIM_MAX_GREFS; ref++)
			n_readers += domain_of(w.them)->active[ref].n_readers;
		assert_int_equal(n_readers, LINK_PAGES);
		n_writable++;
	}
	return sim_ops->grant_map(hv, remote, refs, n, writable, notify, ret_addr, ret_map);
}

/* As msgd: LINK_BIND. The error, 0 for LINK_READY. */
static int bind_offer(const struct made *made, struct control_message *ret_answer)
{
	struct control_link_bind request = {.end = END,
		.peer_domid = w.them,
		.uid = UID,
		.transport = TRANSPORT_GRANT,
		.ring_pages = RING_PAGES,
		.port = made->port,
		.doorbell_ref = made->refs[LINK_PAGE_DOORBELL],
		.refs_ref = made->refs[LINK_PAGE_REFS]};
	struct hv_ops ops = *w.hv->ops;

	sim_ops = w.hv->ops;
	n_writable = 0;
	ops.grant_map = map_watched;
	w.hv->ops = &ops;
	link_bind(&w.links, 1, &request, ret_answer);
	w.hv->ops = sim_ops;
	return ret_answer->type == CONTROL_LINK_READY ? 0 : (int)ret_answer->link_failed.error;
}

static void test_bind_honest(void **state)
{
	struct control_message answer;
	struct made made;

	they_make(&made);
	assert_int_equal(bind_offer(&made, &answer), 0);
	assert_int_equal(n_writable, 2);
	/* The mappings to look are gone. */
	for (uint32_t i = 0; i < LINK_PAGES; i++) {
		assert_int_equal(domain_of(w.them)->active[made.refs[i]].n_readers, 0);
		assert_int_equal(domain_of(w.them)->active[made.refs[i]].n_writers,
			i == LINK_PAGE_REFS ? 0 : 1);
	}
	end_link(END);
	they_withdraw(&made);
}

/* Refused with that reason; nothing was mapped for writing, no port bound, no byte changed. */
static void assert_refused(struct made *made, const char *reason)
{
	static uint8_t before[LINK_PAGES * HV_PAGE_SIZE];
	struct control_message answer;
	unsigned ports = n_ports();

	sim_clock_advance(w.sim, LONG_NS); /* it is refused for what it is */
	memcpy(before, made->pages, sizeof(before));
	assert_int_equal(bind_offer(made, &answer), ECONNRESET);
	assert_string_equal(answer.link_failed.reason, reason);
	assert_int_equal(n_writable, 0);
	assert_int_equal(n_ports(), ports);
	assert_memory_equal(before, made->pages, sizeof(before));
	for (uint32_t i = 0; i < LINK_PAGES; i++)
		assert_int_equal(domain_of(w.them)->active[made->refs[i]].n_readers, 0);
}

static const char *not_of_this_link(uint32_t page)
{
	static char reason[REASON_SIZE];

	if (page == LINK_PAGE_DOORBELL)
		return "the doorbell page is not of this link";
	if (page == LINK_PAGE_REFS)
		return "the page of references is not of this link";
	(void)snprintf(reason, sizeof(reason), "the page %u of the rings is not of this link",
		page - LINK_PAGE_RING);
	return reason;
}

/*
 * The attack: the offer is honest but for one page, which is one that the creator's kernel has
 * granted to our domain for something else. Each page of the link is tried, each byte of its head.
 */
static void test_bind_foreign_page(void **state)
{
	for (uint32_t page = 0; page < LINK_PAGES; page++) {
		struct made made;

		they_make(&made);
		for (unsigned i = 0; i < sizeof(struct doorbell_head); i++) {
			made_page(&made, page)[i] ^= 1;
			assert_refused(&made, not_of_this_link(page));
			made_page(&made, page)[i] ^= 1;
		}
		memset(made_page(&made, page), 0x5a, sizeof(struct doorbell_head));
		assert_refused(&made, not_of_this_link(page));
		they_withdraw(&made);
	}
}

/* Pages of the link, but elsewhere; a page twice; references to nothing. */
static void test_bind_wrong_place(void **state)
{
	struct made made;
	uint32_t first;

	they_make(&made);
	first = made.listed[0];
	made.listed[0] = made.listed[1];
	assert_refused(&made, not_of_this_link(LINK_PAGE_RING));
	made.listed[1] = first;
	assert_refused(&made, not_of_this_link(LINK_PAGE_RING));
	made.listed[0] = made.refs[LINK_PAGE_DOORBELL];
	assert_refused(&made, not_of_this_link(LINK_PAGE_RING));
	made.listed[0] = SIM_MAX_GREFS - 1;
	assert_refused(&made, "Connection reset by peer");
	they_withdraw(&made);
}

/* Another page of the same two domains, of another link: its uid is another. */
static void test_bind_other_link(void **state)
{
	struct made made, other;

	they_make(&made);
	they_make(&other);
	for (uint32_t i = 0; i < LINK_PAGES; i++) {
		struct doorbell_head head = link_page_head(UID + 1, made.port, i);

		memcpy(made_page(&other, i), &head, sizeof(head));
	}
	made.listed[2 * RING_PAGES - 1] = other.listed[2 * RING_PAGES - 1];
	assert_refused(&made, not_of_this_link(LINK_PAGES - 1));
	they_withdraw(&other);
	they_withdraw(&made);
}

/* Over argo there is the doorbell page alone. */
static void test_bind_foreign_page_argo(void **state)
{
	struct control_link_bind request = {.end = END,
		.peer_domid = w.them,
		.uid = UID,
		.transport = TRANSPORT_ARGO,
		.ring_len = HV_PAGE_SIZE,
		.aport = 5};
	struct control_message answer;
	unsigned ports = n_ports();
	struct made made;

	they_make(&made);
	request.port = made.port;
	request.doorbell_ref = made.refs[LINK_PAGE_RING];
	link_bind(&w.links, 1, &request, &answer);
	assert_int_equal(answer.type, CONTROL_LINK_FAILED);
	assert_string_equal(answer.link_failed.reason, "the doorbell page is not of this link");
	assert_int_equal(n_ports(), ports);
	request.doorbell_ref = made.refs[LINK_PAGE_DOORBELL];
	link_bind(&w.links, 1, &request, &answer);
	assert_int_equal(answer.type, CONTROL_LINK_READY);
	end_link(END);
	they_withdraw(&made);
}

/* ---- links that cannot be made -------------------------------------------------------------- */

/* Each way to make an end. */
static const struct making {
	uint32_t transport;
	bool bind;
} makings[] = {
	{TRANSPORT_GRANT, false},
	{TRANSPORT_GRANT, true},
	{TRANSPORT_ARGO, false},
	{TRANSPORT_ARGO, true},
	{TRANSPORT_ARGO_STRICT, false},
	{TRANSPORT_ARGO_STRICT, true},
};

/* As msgd: LINK_CREATE, or LINK_BIND of what they have made. */
static void make(const struct making *making, const struct made *made, uint16_t domid,
	struct control_message *ret_answer)
{
	bool grant = making->transport == TRANSPORT_GRANT;
	struct control_link_create request = {.end = END,
		.peer_domid = domid,
		.uid = UID,
		.transport = making->transport,
		.ring_pages = grant ? RING_PAGES : 0,
		.ring_len = grant ? 0 : HV_PAGE_SIZE};
	struct control_link_bind bind = {.end = END,
		.peer_domid = domid,
		.uid = UID,
		.transport = making->transport,
		.ring_pages = request.ring_pages,
		.ring_len = request.ring_len,
		.port = made->port,
		.aport = 5,
		.doorbell_ref = made->refs[LINK_PAGE_DOORBELL],
		.refs_ref = made->refs[LINK_PAGE_REFS]};

	if (making->bind)
		link_bind(&w.links, 1, &bind, ret_answer);
	else
		link_create(&w.links, 1, &request, ret_answer);
}

static void assert_made(const struct making *making, const struct control_message *answer)
{
	assert_int_equal(answer->type, making->bind ? CONTROL_LINK_READY : CONTROL_LINK_OFFER);
	assert_int_equal(making->bind ? answer->link_ready.end : answer->link_offer.end, END);
}

/* Nothing is left of it, but for what is kept for the next link. */
static void assert_not_made(const struct made *made, const struct control_message *answer,
	int error, const char *reason, unsigned ports)
{
	assert_int_equal(answer->type, CONTROL_LINK_FAILED);
	assert_int_equal(answer->link_failed.end, END);
	assert_int_equal(answer->link_failed.error, error);
	if (reason)
		assert_string_equal(answer->link_failed.reason, reason);
	assert_null(w.links.by_end);
	assert_null(w.links.by_event);
	assert_true(TAILQ_EMPTY(&w.links.unarmed));
	assert_true(TAILQ_EMPTY(&w.pool.accounts));
	assert_int_equal(n_ports(), ports);
	assert_int_equal(domain_of(w.us)->n_argo, 0);
	for (uint32_t i = 0; i < LINK_PAGES; i++) {
		assert_int_equal(domain_of(w.them)->active[made->refs[i]].n_readers, 0);
		assert_int_equal(domain_of(w.them)->active[made->refs[i]].n_writers, 0);
	}
	links_clear(&w.links);
	assert_null(w.links.stock.peers);
	assert_null(w.links.backoff.peers);
	assert_int_equal(n_refs(), 0);
}

/* Each allocation fails once. */
static void test_no_memory(void **state)
{
	struct control_message answer;
	struct made made;
	unsigned ports;

	they_make(&made);
	ports = n_ports();
	for (size_t i = 0; i < ARRAY_SIZE(makings); i++) {
		unsigned n = 0;

		for (;;) {
			failing_malloc_set(++n);
			make(&makings[i], &made, w.them, &answer);
			if (!failing_malloc_end())
				break;
			assert_not_made(&made, &answer, ENOMEM,
				n == 1 ? "out of memory" : "no memory for a link", ports);
		}
		assert_in_range(n, 4, 50);
		assert_made(&makings[i], &answer);
		end_link(END);
		links_clear(&w.links);
	}
	they_withdraw(&made);
}

/* A failure for which there is no memory is not noted, and refuses nothing. */
static void test_no_memory_for_backoff(void **state)
{
	struct backoff *backoff = &w.links.backoff;
	char reason[REASON_SIZE];

	for (unsigned n = 1;; n++) {
		failing_malloc_set(n);
		backoff_failed(backoff, w.them, TRANSPORT_ARGO, ECONNRESET, "the reason");
		if (!failing_malloc_end())
			break;
		assert_in_range(n, 1, 10);
		assert_null(backoff->peers);
		assert_int_equal(backoff_check(backoff, w.them, TRANSPORT_ARGO, reason), 0);
	}
	assert_int_equal(backoff->peers->n_failed, 1);
	for (unsigned n = 1; n < LINK_FAILURES_FREE; n++)
		backoff_failed(backoff, w.them, TRANSPORT_ARGO, ECONNRESET, "the reason");
	assert_int_equal(backoff_check(backoff, w.them, TRANSPORT_ARGO, reason), ECONNRESET);
	(void)snprintf(reason, sizeof(reason), "%s", "");
	assert_int_equal(backoff_check(backoff, w.them, TRANSPORT_ARGO, reason), ECONNRESET);
	assert_string_equal(reason, "8 links with domain 2 failed: the reason");
	backoff_made(backoff, w.them, TRANSPORT_ARGO);
	backoff_made(backoff, w.them, TRANSPORT_ARGO);
	assert_null(backoff->peers);
}

/* One operation of the hypervisor that fails, from its n-th call on. */
static struct {
	const struct hv_ops *real;
	int error;
	unsigned n, n_calls;
} op;

static bool op_fails(void)
{
	return ++op.n_calls >= op.n;
}

static int fail_share(struct hv *hv, uint16_t remote, size_t n,
	const struct hv_unmap_notify *notify, uint32_t *ret_refs, void **ret_addr,
	struct hv_share **ret_share)
{
	if (op_fails())
		return op.error;
	return op.real->grant_share(hv, remote, n, notify, ret_refs, ret_addr, ret_share);
}

static int fail_notify(struct hv *hv, struct hv_share *share, const struct hv_unmap_notify *notify)
{
	if (notify && op_fails())
		return op.error;
	return op.real->grant_notify(hv, share, notify);
}

static int fail_map(struct hv *hv, uint16_t remote, const uint32_t *refs, size_t n, bool writable,
	const struct hv_unmap_notify *notify, void **ret_addr, struct hv_map **ret_map)
{
	if (op_fails())
		return op.error;
	return op.real->grant_map(hv, remote, refs, n, writable, notify, ret_addr, ret_map);
}

static int fail_alloc(struct hv *hv, uint16_t remote, uint32_t *ret_port)
{
	return op_fails() ? op.error : op.real->evtchn_alloc_unbound(hv, remote, ret_port);
}

static int fail_bind(struct hv *hv, uint16_t remote, uint32_t port, uint32_t *ret_port)
{
	return op_fails() ? op.error : op.real->evtchn_bind_interdomain(hv, remote, port, ret_port);
}

static int fail_register(
	struct hv *hv, uint32_t aport, uint16_t partner, uint32_t len, struct hv_ring **ret_ring)
{
	return op_fails() ? op.error : op.real->argo_register(hv, aport, partner, len, ret_ring);
}

static int fail_peer(struct hv *hv, struct hv_ring *ring, uint32_t aport)
{
	return op_fails() ? op.error : op.real->argo_peer(hv, ring, aport);
}

enum op_kind { OP_SHARE, OP_NOTIFY, OP_MAP, OP_ALLOC, OP_BIND, OP_REGISTER, OP_PEER, OP_LIMIT };

static void op_set(enum op_kind kind, unsigned n, int error)
{
	static struct hv_ops ops;

	op.real = w.hv->ops;
	op.error = error;
	op.n = n;
	op.n_calls = 0;
	ops = *op.real;
	switch (kind) {
	case OP_SHARE:
		ops.grant_share = fail_share;
		break;
	case OP_NOTIFY:
		ops.grant_notify = fail_notify;
		break;
	case OP_MAP:
		ops.grant_map = fail_map;
		break;
	case OP_ALLOC:
		ops.evtchn_alloc_unbound = fail_alloc;
		break;
	case OP_BIND:
		ops.evtchn_bind_interdomain = fail_bind;
		break;
	case OP_REGISTER:
		ops.argo_register = fail_register;
		break;
	case OP_PEER:
		ops.argo_peer = fail_peer;
		break;
	case OP_LIMIT:
		break;
	}
	w.hv->ops = &ops;
}

/* True: a call of it has failed. */
static bool op_end(void)
{
	w.hv->ops = op.real;
	return op.n_calls >= op.n;
}

/* Ports and grants that are used up are ENOBUFS: ENOSPC is said of Argo's rings alone. */
static void test_used_up(void **state)
{
	static const int errors[OP_LIMIT] = {
		[OP_SHARE] = ENOBUFS,
		[OP_NOTIFY] = ENOSPC,
		[OP_MAP] = ENOBUFS,
		[OP_ALLOC] = ENOBUFS,
		[OP_BIND] = ENOBUFS,
		[OP_REGISTER] = ENOSPC,
		[OP_PEER] = ENOSPC,
	};
	static const unsigned n_calls[ARRAY_SIZE(makings)][OP_LIMIT] = {
		{[OP_SHARE] = 2, [OP_NOTIFY] = 1, [OP_ALLOC] = 1},
		{[OP_MAP] = 5, [OP_BIND] = 1},
		{[OP_SHARE] = 1, [OP_NOTIFY] = 1, [OP_ALLOC] = 1, [OP_REGISTER] = 1},
		{[OP_MAP] = 2, [OP_BIND] = 1, [OP_REGISTER] = 1, [OP_PEER] = 1},
		{[OP_REGISTER] = 1},
		{[OP_REGISTER] = 1, [OP_PEER] = 1},
	};
	struct control_message answer;
	struct made made;
	unsigned ports;

	they_make(&made);
	ports = n_ports();
	for (size_t i = 0; i < ARRAY_SIZE(makings); i++) {
		for (int kind = 0; kind < OP_LIMIT; kind++) {
			for (unsigned n = 1; n <= n_calls[i][kind] + 1; n++) {
				op_set((enum op_kind)kind, n, -ENOSPC);
				make(&makings[i], &made, w.them, &answer);
				if (op_end()) {
					assert_not_made(&made, &answer, errors[kind], NULL, ports);
					continue;
				}
				assert_int_equal(n, n_calls[i][kind] + 1);
				assert_made(&makings[i], &answer);
				end_link(END);
				links_clear(&w.links);
			}
		}
	}
	they_withdraw(&made);
}

/* The sentence that msgd is told says what was missing. */
static void test_making_reasons(void **state)
{
	static const struct {
		int error, told, told_bind;
		const char *reason, *reason_bind;
	} cases[] = {
		{EMFILE, EMFILE, EMFILE, "no descriptor for a link's ring",
			"no descriptor for a link's ring"},
		{ENFILE, ENFILE, ENFILE, "no descriptor for a link's ring",
			"no descriptor for a link's ring"},
		{ENOMEM, ENOMEM, ENOMEM, "no memory for a link", "no memory for a link"},
		{EACCES, EACCES, EACCES, "Permission denied", "Permission denied"},
		{EINVAL, EINVAL, ECONNRESET, "Invalid argument", "Connection reset by peer"},
		{ESRCH, ESRCH, ECONNRESET, "No such process", "Connection reset by peer"},
		{EOPNOTSUPP, EOPNOTSUPP, EOPNOTSUPP, "Operation not supported",
			"Operation not supported"},
	};
	struct control_message answer;
	struct made made;
	unsigned ports;

	they_make(&made);
	ports = n_ports();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t k = 4; k < ARRAY_SIZE(makings); k++) { /* argo-strict */
			bool bind = makings[k].bind;

			op_set(OP_REGISTER, 1, -cases[i].error);
			make(&makings[k], &made, w.them, &answer);
			assert_true(op_end());
			assert_not_made(&made, &answer, bind ? cases[i].told_bind : cases[i].told,
				bind ? cases[i].reason_bind : cases[i].reason, ports);
		}
	}
	/* Of pages that a domain cannot map from itself. */
	op_set(OP_MAP, 1, -EOPNOTSUPP);
	make(&makings[1], &made, w.us, &answer);
	assert_true(op_end());
	assert_not_made(
		&made, &answer, EOPNOTSUPP, "Xen cannot link a PVH or HVM domain to itself", ports);
	they_withdraw(&made);
}

/* Requests that are refused before anything is tried. */
static void test_refused_at_once(void **state)
{
	struct making unknown[] = {{TRANSPORT_ANY, false}, {TRANSPORT_LIMIT, true}};
	struct control_message answer;
	struct link *link;
	struct made made;
	unsigned ports;

	they_make(&made);
	ports = n_ports();
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		make(&unknown[i], &made, w.them, &answer);
		assert_not_made(&made, &answer, EOPNOTSUPP, "an unknown transport", ports);
	}
	make(&makings[1], &made, w.them, &answer);
	assert_made(&makings[1], &answer);
	link = link_find(&w.links, END);
	assert_int_equal(link->state, LINK_UP);
	assert_int_equal(link->transport->role, 1);
	for (size_t i = 0; i < ARRAY_SIZE(makings); i++) {
		make(&makings[i], &made, w.them, &answer);
		assert_int_equal(answer.type, CONTROL_LINK_FAILED);
		assert_int_equal(answer.link_failed.error, EEXIST);
		assert_string_equal(answer.link_failed.reason, "the end number is in use");
	}
	assert_ptr_equal(link_find(&w.links, END), link);
	assert_ptr_equal(link_find_event(&w.links, link->transport->event), link);
	end_link(END);
	they_withdraw(&made);
}

/* Rings that no honest msgd asks for. */
static void test_ring_pages(void **state)
{
	static const uint32_t pages[] = {0, 3, LINK_RING_PAGES_MAX * 2, LINK_RING_PAGES_MAX + 1};
	struct control_message answer;
	char reason[REASON_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		struct control_link_bind bind = {.end = END,
			.peer_domid = w.them,
			.transport = TRANSPORT_GRANT,
			.ring_pages = pages[i]};

		assert_int_equal(create_with(w.them, END, pages[i], reason), EINVAL);
		op_set(OP_MAP, 1, -EFAULT);
		link_bind(&w.links, 1, &bind, &answer);
		assert_false(op_end()); /* nothing is looked at */
		assert_int_equal(answer.type, CONTROL_LINK_FAILED);
		links_clear(&w.links);
	}
	assert_int_equal(create_with(w.them, END, 1, reason), 0);
	assert_int_equal(create_with(w.them, END + 1, 2, reason), 0);
}

/* An argo link costs a page, a grant link its rings and the page of references too. */
static void test_pages_are_counted(void **state)
{
	struct control_message answer;
	struct made made = {.port = 0};

	make(&makings[2], &made, w.them, &answer);
	assert_made(&makings[2], &answer);
	assert_int_equal(w.links.stock.peers->n_pages, 1);
	assert_int_equal(n_refs(), 1);
	end_link(END);
	make(&makings[0], &made, w.them, &answer);
	assert_int_equal(w.links.stock.peers->n_pages, 1 + LINK_PAGES);
	end_link(END);
	/* Each has memory of its own kind again. */
	make(&makings[2], &made, w.them, &answer);
	assert_int_equal(w.links.stock.peers->n_pages, 1 + LINK_PAGES);
	assert_int_equal(n_refs(), 1 + LINK_PAGES);
}

/* The notifications by which each end's kernel tells of its death. */
static struct hv_unmap_notify notified;

static int note_notify(struct hv *hv, struct hv_share *share, const struct hv_unmap_notify *notify)
{
	if (notify)
		notified = *notify;
	return op.real->grant_notify(hv, share, notify);
}

static int note_map(struct hv *hv, uint16_t remote, const uint32_t *refs, size_t n, bool writable,
	const struct hv_unmap_notify *notify, void **ret_addr, struct hv_map **ret_map)
{
	if (notify)
		notified = *notify;
	return op.real->grant_map(hv, remote, refs, n, writable, notify, ret_addr, ret_map);
}

/* Each end says that it is there, tells of its death, and says so itself when it leaves. */
static void test_alive(void **state)
{
	struct hv_ops ops = *w.hv->ops;
	struct control_message answer;
	struct doorbell_page *page;
	struct hv_event event;
	struct made made;
	uint32_t port;

	op.real = w.hv->ops;
	ops.grant_notify = note_notify;
	ops.grant_map = note_map;
	w.hv->ops = &ops;
	they_make(&made);
	for (size_t i = 0; i < 4; i++) {
		bool bind = makings[i].bind;

		memset(&notified, 0, sizeof(notified));
		make(&makings[i], &made, w.them, &answer);
		assert_made(&makings[i], &answer);
		if (!bind)
			w.offer = answer.link_offer;
		page = bind ? (struct doorbell_page *)made_page(&made, LINK_PAGE_DOORBELL)
			    : their_doorbell();
		port = bind ? made.port : they_bind();
		assert_int_equal(atomic_load(&page->end[bind].alive), 1);
		assert_int_equal(notified.offset, DOORBELL_ALIVE_OFFSET(bind));
		assert_int_equal(notified.port, link_find(&w.links, END)->transport->port);
		if (!bind)
			atomic_store(&page->end[1].alive, 1);
		while (w.their_hv->ops->poll_events(w.their_hv, &event, 1) > 0)
			assert_int_equal(w.their_hv->ops->evtchn_unmask(w.their_hv, &port, 1), 0);
		end_link(END);
		assert_int_equal(atomic_load(&page->end[bind].alive), 0);
		assert_int_equal(w.their_hv->ops->poll_events(w.their_hv, &event, 1), 1);
		assert_int_equal(event.port, port);
		if (bind) { /* for the next one to bind */
			they_withdraw(&made);
			they_make(&made);
		}
	}
	they_withdraw(&made);
	w.hv->ops = op.real;
}

static int cannot_name(struct transport *transport, uint32_t peer_aport)
{
	return -EINVAL;
}

/* The creator hears that the other end is ready. */
static void test_up(void **state)
{
	struct transport_ops ops;
	char reason[REASON_SIZE];
	struct link *link;

	assert_int_equal(create(END, reason), 0);
	link = link_find(&w.links, END);
	assert_int_equal(link->state, LINK_MAKING);
	assert_int_equal(link->transport->role, 0);
	w.pool.rearm = w.pool.wake = false;
	link_up(link, 0);
	assert_int_equal(link->state, LINK_UP);
	assert_true(w.pool.rearm && w.pool.wake); /* a driver arms none but those that are up */
	end_link(END);
	/* A ring that cannot be named is the other end's fault. */
	assert_int_equal(create(END, reason), 0);
	link = link_find(&w.links, END);
	ops = *link->transport->ops;
	ops.up = cannot_name;
	link->transport->ops = &ops;
	w.pool.marked = w.pool.wake = false;
	link_up(link, 0);
	assert_int_equal(link->state, LINK_ENDING);
	assert_int_equal(link->cause, LINK_VIOLATED);
	assert_string_equal(link->reason, "the peer's ring cannot be named");
	assert_int_equal(link_told_error(link), EPROTO);
	assert_true(w.pool.marked && w.pool.wake);
	assert_int_equal(link->drain, 0);
	assert_true(link_bury(link));
	links_free_dead(&w.links);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- the resource that is used up ----------------------------------------------------------- */

static struct hv_ops used_up;
static const struct hv_ops *whole;
static unsigned works; /* calls of grant_map that succeed before one fails */

static int no_port(struct hv *hv, uint16_t remote, uint32_t *ret_port)
{
	return -ENOSPC;
}

static int no_bind(struct hv *hv, uint16_t remote, uint32_t remote_port, uint32_t *ret_port)
{
	return -ENOSPC;
}

static int no_share(struct hv *hv, uint16_t remote, size_t n, const struct hv_unmap_notify *notify,
	uint32_t *ret_refs, void **ret_pages, struct hv_share **ret_share)
{
	return -ENOSPC;
}

static int no_map(struct hv *hv, uint16_t remote, const uint32_t *refs, size_t n, bool writable,
	const struct hv_unmap_notify *notify, void **ret_pages, struct hv_map **ret_map)
{
	if (works-- == 0)
		return -ENOSPC;
	return whole->grant_map(hv, remote, refs, n, writable, notify, ret_pages, ret_map);
}

static void break_ops(struct hv *hv)
{
	whole = hv->ops;
	used_up = *whole;
	hv->ops = &used_up;
}

/* The other end binds what we have offered, with its own means. */
static void assert_bind_says(const char *reason)
{
	struct control_link_bind request = {.end = 5,
		.peer_domid = w.us,
		.uid = w.uid,
		.transport = TRANSPORT_GRANT,
		.ring_pages = RING_PAGES,
		.port = w.offer.port,
		.doorbell_ref = w.offer.doorbell_ref,
		.refs_ref = w.offer.refs_ref};
	struct control_message answer;
	struct pool pool;
	struct links links;

	pool_init(&pool);
	links_init(&links, w.their_hv, &pool);
	link_bind(&links, 1, &request, &answer);
	assert_int_equal(answer.type, CONTROL_LINK_FAILED);
	assert_int_equal(answer.link_failed.error, ENOBUFS);
	assert_string_equal(answer.link_failed.reason, reason);
	links_clear(&links);
}

/* ENOBUFS says which of its resources a domain lacks, at whichever step of making a link. */
static void test_used_up_is_named(void **state)
{
	char reason[REASON_SIZE];

	break_ops(w.hv);
	used_up.evtchn_alloc_unbound = no_port;
	assert_int_equal(create(1, reason), ENOBUFS);
	assert_string_equal(reason, "no event channel is left in this domain");
	links_clear(&w.links);
	used_up.grant_share = no_share;
	assert_int_equal(create(2, reason), ENOBUFS);
	assert_string_equal(
		reason, "no page is left that this domain may share (the limit of xen-gntalloc)");
	w.hv->ops = whole;
	assert_int_equal(create(3, reason), 0);
	break_ops(w.their_hv);
	used_up.evtchn_bind_interdomain = no_bind;
	assert_bind_says("no event channel is left in this domain");
	used_up.evtchn_bind_interdomain = whole->evtchn_bind_interdomain;
	used_up.grant_map = no_map;
	/* Three looks, the doorbell page, the rings. */
	for (unsigned n = 0; n < 5; n++) {
		works = n;
		assert_bind_says("no grant more can be mapped in this domain");
	}
	w.their_hv->ops = whole;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_never_unmaps),
		TEST(test_claims_to_unmap),
		TEST(test_claims_to_unmap_many),
		TEST(test_never_binds),
		TEST(test_slow_to_unmap),
		TEST(test_lets_go_late),
		TEST(test_same_domain_only),
		TEST(test_destroyed_domain),
		TEST(test_idle_memory_makes_room),
		TEST(test_cap),
		TEST(test_backoff),
		TEST(test_bind_honest),
		TEST(test_bind_foreign_page),
		TEST(test_bind_wrong_place),
		TEST(test_bind_other_link),
		TEST(test_bind_foreign_page_argo),
		TEST(test_no_memory),
		TEST(test_no_memory_for_backoff),
		TEST(test_used_up),
		TEST(test_making_reasons),
		TEST(test_refused_at_once),
		TEST(test_ring_pages),
		TEST(test_pages_are_counted),
		TEST(test_alive),
		TEST(test_up),
		TEST(test_used_up_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
