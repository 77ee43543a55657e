/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The FIFO event ABI: its hypercalls, its event words and queues, and the guest kernel's on it. */
#include "tests/unit/sim/support.h"

#include <string.h>

#include "base/macro.h"

#include "hv/sim/guest/grant.h"
#include "hv/sim/guest/ring.h"
#include "hv/sim/hypervisor/evtchn.h"
#include "hv/sim/hypervisor/fifo.h"
#include "hv/sim/hypervisor/upcall.h"

#define PENDING (1U << EVTCHN_FIFO_PENDING)
#define MASKED	(1U << EVTCHN_FIFO_MASKED)
#define LINKED	(1U << EVTCHN_FIFO_LINKED)
#define BUSY	(1U << EVTCHN_FIFO_BUSY)

struct fifo {
	struct world *w;
	uint16_t domid;
	uint32_t domain;
	struct sim_domain *d;
};

static uint64_t page_of(struct world *w, uint16_t domid)
{
	uint64_t gfn;

	assert_int_equal(sim_pages_alloc(w->xen, domid, 1, &gfn), 0);
	return gfn;
}

static int init_control(struct fifo *f, uint32_t vcpu, uint64_t gfn, uint32_t offset)
{
	evtchn_init_control_t op = {.vcpu = vcpu, .control_gfn = gfn, .offset = offset};
	int r = evtchn_op(f->w->xen, f->domid, EVTCHNOP_init_control, &op);

	if (r == 0)
		assert_int_equal(op.link_bits, EVTCHN_FIFO_LINK_BITS);
	return r;
}

static int expand(struct fifo *f, uint64_t gfn)
{
	evtchn_expand_array_t op = {.array_gfn = gfn};

	return evtchn_op(f->w->xen, f->domid, EVTCHNOP_expand_array, &op);
}

/* A domain of two vcpus that is still on 2-level. */
static struct fifo fifo_bare(struct world *w, uint32_t max_port)
{
	struct sim_domain_config config = {
		.name = "bare", .no_guest_kernel = true, .n_vcpus = 2, .max_port = max_port};
	struct fifo f = {.w = w};

	assert_int_equal(sim_domain_create(w->sim, &config, &f.domid), 0);
	f.domain = sim_domain_find(w->xen, f.domid);
	f.d = domain_at(w->xen, f.domain);
	return f;
}

static struct fifo fifo_domain(struct world *w, uint32_t max_port)
{
	struct fifo f = fifo_bare(w, max_port);

	assert_int_equal(init_control(&f, 0, page_of(w, f.domid), 64), 0);
	assert_int_equal(init_control(&f, 1, page_of(w, f.domid), 4096 - 72), 0);
	assert_int_equal(expand(&f, page_of(w, f.domid)), 0);
	return f;
}

static uint32_t bind_ipi(struct fifo *f, uint32_t vcpu)
{
	evtchn_bind_ipi_t op = {.vcpu = vcpu};

	assert_int_equal(evtchn_op(f->w->xen, f->domid, EVTCHNOP_bind_ipi, &op), 0);
	return op.port;
}

static int send_port(struct fifo *f, uint32_t port)
{
	return evtchn_op(f->w->xen, f->domid, EVTCHNOP_send, &(evtchn_send_t){.port = port});
}

static int unmask_port(struct fifo *f, uint32_t port)
{
	return evtchn_op(f->w->xen, f->domid, EVTCHNOP_unmask, &(evtchn_unmask_t){.port = port});
}

static int close_port(struct fifo *f, uint32_t port)
{
	return evtchn_op(f->w->xen, f->domid, EVTCHNOP_close, &(evtchn_close_t){.port = port});
}

static int set_priority(struct fifo *f, uint32_t port, uint32_t priority)
{
	evtchn_set_priority_t op = {.port = port, .priority = priority};

	return evtchn_op(f->w->xen, f->domid, EVTCHNOP_set_priority, &op);
}

static uint32_t word(struct fifo *f, uint32_t port)
{
	return *fifo_word(f->w->xen, f->d, port);
}

struct seen {
	uint32_t n;
	uint32_t ports[64];
};

static void see(struct xen *xen, uint32_t domain, uint32_t port, void *arg)
{
	struct seen *seen = arg;

	atomic_fetch_and(fifo_word(xen, domain_at(xen, domain), port), ~PENDING);
	assert_true(seen->n < ARRAY_SIZE(seen->ports));
	seen->ports[seen->n++] = port;
}

/* The guest's walk on that vcpu finds exactly these, in this order. */
#define EXPECT_WALK(fifo, on, ...)                                                                 \
	do {                                                                                       \
		const uint32_t want[] = {0, ##__VA_ARGS__};                                        \
		struct seen walk_seen = {0};                                                       \
		guest_upcall((fifo)->w->xen, (fifo)->domain, (on), see, &walk_seen);               \
		assert_int_equal(walk_seen.n, ARRAY_SIZE(want) - 1);                               \
		assert_memory_equal(walk_seen.ports, want + 1, sizeof(want) - sizeof(want[0]));    \
	} while (0)

static void test_init_control(void **state)
{
	struct world *w = *state;
	struct fifo f = fifo_bare(w, 0);
	uint64_t gfn = page_of(w, f.domid), foreign = page_of(w, w->a);

	assert_int_equal(init_control(&f, 2, gfn, 0), -ENOENT);
	assert_int_equal(init_control(&f, 2, gfn, 4096), -ENOENT); /* the vcpu first */
	assert_int_equal(init_control(&f, 0, gfn, 4096 - 64), -EINVAL);
	assert_int_equal(init_control(&f, 0, gfn, 4), -EINVAL);
	assert_int_equal(init_control(&f, 0, 0, 0), -EINVAL);
	assert_int_equal(init_control(&f, 0, foreign, 0), -EINVAL);
	assert_int_equal(init_control(&f, 0, UINT64_MAX, 0), -EINVAL);
	assert_int_equal(f.d->fifo, 0);
	assert_int_equal(expand(&f, gfn), -EOPNOTSUPP);
	assert_int_equal(init_control(&f, 1, gfn, 4096 - 72), 0);
	assert_int_equal(init_control(&f, 1, gfn, 0), -EINVAL); /* it has one */
	assert_int_equal(init_control(&f, 0, gfn, 0), 0);
	assert_int_equal(expand(&f, foreign), -EINVAL);
	assert_int_equal(f.d->n_words, 0);
	assert_int_equal(expand(&f, page_of(w, f.domid)), 0);
	assert_int_equal(f.d->n_words, 1024);
}

/*
 * map_guest_page: the domain's own, writable memory. A page that Xen has put there for itself is
 * neither; of a driver's pages, which its kernel would give to others, see page_check.
 */
static void test_pages(void **state)
{
	struct world *w = *state;
	struct fifo f = fifo_bare(w, 10000);
	struct fifo a = {.w = w, .domid = w->a, .domain = sim_domain_find(w->xen, w->a)};
	uint32_t refs[1], shared, share, xen_page, port = 0;
	gnttab_transfer_t gift = {.domid = 99};
	uint64_t gone;

	a.d = domain_at(w->xen, a.domain);
	assert_int_equal(init_control(&f, 0, page_of(w, f.domid), 0), 0);
	while (port < SIM_2L_PORTS)
		port = bind_ipi(&f, 0);
	xen_page = f.d->port_page[0];
	assert_int_not_equal(xen_page, 0);
	assert_int_equal(expand(&f, xen_page), -EINVAL);
	assert_int_equal(init_control(&f, 1, xen_page, 0), -EINVAL);
	gift.mfn = gone = page_of(w, f.domid);
	assert_int_equal(grant_table_op(w->xen, f.domid, GNTTABOP_transfer, &gift, 1), 0);
	assert_int_equal(expand(&f, gone), -EINVAL); /* nobody's */
	assert_int_equal(expand(&f, SIM_POOL_PAGES - 1), -EINVAL);
	assert_int_equal(expand(&f, SIM_POOL_PAGES), -EINVAL);
	assert_int_equal(f.d->n_words, 0);
	/* one page as often as the guest likes */
	gone = page_of(w, f.domid);
	assert_int_equal(expand(&f, gone), 0);
	assert_int_equal(expand(&f, gone), 0);

	assert_int_equal(guest_share(sim_hv_xen(w->hv_a), w->b, 1, NULL, refs, &shared, &share), 0);
	assert_int_equal(init_control(&a, 0, shared, 0), -EINVAL);
	guest_unshare(sim_hv_xen(w->hv_a), share);
}

/* A page that Xen writes events to is not given away. */
static void test_pages_stay(void **state)
{
	struct world *w = *state;
	struct fifo f = fifo_domain(w, 0);
	uint64_t pages[] = {f.d->vcpus[0].control_page, f.d->array_page[0], page_of(w, f.domid)};

	for (uint32_t i = 0; i < ARRAY_SIZE(pages); i++) {
		gnttab_transfer_t op = {.mfn = pages[i], .domid = 99};

		assert_int_equal(grant_table_op(w->xen, f.domid, GNTTABOP_transfer, &op, 1), 0);
		assert_int_equal(op.status, i < 2 ? GNTST_bad_page : GNTST_bad_domain);
	}
}

static void test_words(void **state)
{
	struct world *w = *state;
	struct fifo f = fifo_domain(w, 0);
	uint32_t port = bind_ipi(&f, 0);
	struct evtchn_fifo_control_block *control = fifo_control(w->xen, f.d, 0);

	assert_int_equal(send_port(&f, port), 0);
	assert_int_equal(word(&f, port), PENDING | LINKED);
	assert_int_equal(control->ready, 1U << EVTCHN_FIFO_PRIORITY_DEFAULT);
	assert_int_equal(control->head[EVTCHN_FIFO_PRIORITY_DEFAULT], port);
	assert_int_equal(f.d->info.upcall_pending, 1);
	assert_int_equal(send_port(&f, port), 0); /* coalesces */
	EXPECT_WALK(&f, 0, port);
	assert_int_equal(word(&f, port), 0);
	assert_int_equal(f.d->info.upcall_pending, 0);

	/* Masked: it waits. */
	atomic_fetch_or(fifo_word(w->xen, f.d, port), MASKED);
	assert_int_equal(send_port(&f, port), 0);
	assert_int_equal(word(&f, port), PENDING | MASKED);
	assert_int_equal(f.d->info.upcall_pending, 0);
	assert_int_equal(unmask_port(&f, port), 0);
	assert_int_equal(word(&f, port), PENDING | LINKED);
	EXPECT_WALK(&f, 0, port);
	assert_int_equal(unmask_port(&f, port), 0); /* nothing was */
	EXPECT_WALK(&f, 0);
	assert_int_equal(unmask_port(&f, 3000), -EINVAL);

	/* Masked behind Xen's back while it is linked: the walk passes over it. */
	assert_int_equal(send_port(&f, port), 0);
	atomic_fetch_or(fifo_word(w->xen, f.d, port), MASKED);
	EXPECT_WALK(&f, 0);
	assert_int_equal(word(&f, port), PENDING | MASKED);
	assert_int_equal(unmask_port(&f, port), 0);
	EXPECT_WALK(&f, 0, port);
}

static void test_queue(void **state)
{
	struct world *w = *state;
	struct fifo f = fifo_domain(w, 0);
	uint32_t p[6];

	for (uint32_t i = 0; i < 6; i++)
		p[i] = bind_ipi(&f, i == 5);
	/* In the order in which they were raised, each linked to the next. */
	assert_int_equal(send_port(&f, p[3]), 0);
	assert_int_equal(send_port(&f, p[0]), 0);
	assert_int_equal(send_port(&f, p[5]), 0);
	assert_int_equal(send_port(&f, p[2]), 0);
	assert_int_equal(word(&f, p[3]), PENDING | LINKED | p[0]);
	assert_int_equal(word(&f, p[0]), PENDING | LINKED | p[2]);
	assert_int_equal(word(&f, p[2]), PENDING | LINKED);
	EXPECT_WALK(&f, 0, p[3], p[0], p[2]);
	EXPECT_WALK(&f, 1, p[5]);
	/* The tail was taken: a queue begins anew, also with the port that was it. */
	assert_int_equal(send_port(&f, p[2]), 0);
	assert_int_equal(send_port(&f, p[1]), 0);
	EXPECT_WALK(&f, 0, p[2], p[1]);

	/* By priority, the highest first; and a change counts from the next event on. */
	assert_int_equal(set_priority(&f, p[0], 15), 0);
	assert_int_equal(set_priority(&f, p[1], 0), 0);
	assert_int_equal(set_priority(&f, p[2], 3), 0);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(send_port(&f, p[i]), 0);
	assert_int_equal(set_priority(&f, p[0], 0), 0);
	EXPECT_WALK(&f, 0, p[1], p[2], p[3], p[4], p[0]);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(send_port(&f, p[i]), 0);
	EXPECT_WALK(&f, 0, p[0], p[1], p[2], p[3], p[4]);

	/* A tail that moves to another queue is the old one's no more. */
	assert_int_equal(send_port(&f, p[3]), 0);
	EXPECT_WALK(&f, 0, p[3]);
	assert_int_equal(set_priority(&f, p[3], 1), 0);
	assert_int_equal(send_port(&f, p[3]), 0);
	assert_int_equal(send_port(&f, p[4]), 0);
	EXPECT_WALK(&f, 0, p[3], p[4]);
}

static void test_priority(void **state)
{
	struct world *w = *state;
	struct fifo f = fifo_domain(w, 0);
	uint32_t port = bind_ipi(&f, 0), xen_port;

	assert_int_equal(set_priority(&f, 3000, 16), -EINVAL);
	assert_int_equal(set_priority(&f, port + 1, 16), -EACCES); /* free */
	assert_int_equal(set_priority(&f, 0, 0), -EACCES);
	assert_int_equal(sim_xen_port_alloc(w->xen, f.domid, 0, &xen_port), 0);
	assert_int_equal(set_priority(&f, xen_port, 0), -EACCES);
	assert_int_equal(set_priority(&f, port, 16), -EINVAL);
	assert_int_equal(set_priority(&f, port, 15), 0);
	/* The next owner of the port starts in the middle. */
	assert_int_equal(close_port(&f, port), 0);
	assert_int_equal(bind_ipi(&f, 0), port);
	assert_int_equal(port_entry(w->xen, f.d, port)->priority, EVTCHN_FIFO_PRIORITY_DEFAULT);
}

/* A closed port that the guest still has on a queue is not given out. */
static void test_busy(void **state)
{
	struct world *w = *state;
	struct fifo f = fifo_domain(w, 0);
	uint32_t first = bind_ipi(&f, 0), second = bind_ipi(&f, 0);

	assert_int_equal(send_port(&f, first), 0);
	assert_int_equal(close_port(&f, first), 0);
	assert_int_equal(word(&f, first), LINKED);
	assert_int_equal(bind_ipi(&f, 0), second + 1);
	EXPECT_WALK(&f, 0); /* not pending any more */
	assert_int_equal(bind_ipi(&f, 0), first);
	assert_int_equal(bind_ipi(&f, 0), second + 2);
}

/*
 * An event that 2-level had pending comes when its page does, and so does one that was raised
 * before.
 */
static void test_late_page(void **state)
{
	struct world *w = *state;
	struct fifo f = fifo_bare(w, 3000);
	uint32_t old = bind_ipi(&f, 0), early, port;

	assert_int_equal(send_port(&f, old), 0);
	assert_int_equal(init_control(&f, 0, page_of(w, f.domid), 0), 0);
	early = bind_ipi(&f, 0);
	assert_int_equal(send_port(&f, early), 0);
	atomic_store(&f.d->info.upcall_pending, 0);
	assert_int_equal(unmask_port(&f, early), 0); /* no word, no mask */
	assert_int_equal(expand(&f, page_of(w, f.domid)), 0);
	assert_int_equal(f.d->info.upcall_pending, 1);
	EXPECT_WALK(&f, 0, old, early);
	for (port = 0; port < 2500;)
		port = bind_ipi(&f, 0);
	assert_int_equal(send_port(&f, 2200), 0);
	for (port = 1024; port < 2000; port++)
		assert_int_equal(send_port(&f, port), 0);
	assert_int_equal(f.d->info.upcall_pending, 0);
	assert_int_equal(expand(&f, page_of(w, f.domid)), 0); /* a thousand at once */
	for (port = 1024; port < 2000; port++)
		assert_true(word(&f, port) & LINKED);
	assert_int_equal(expand(&f, page_of(w, f.domid)), 0);
	assert_int_equal(word(&f, 2200), PENDING | LINKED);
	/* A vcpu without a control block: the event is dropped. */
	assert_int_equal(f.d->vcpus[1].control_page, 0);
	port = bind_ipi(&f, 1);
	assert_int_equal(send_port(&f, port), 0);
	assert_int_equal(word(&f, port), 0);
}

static void test_reset(void **state)
{
	struct world *w = *state;
	struct fifo f = fifo_domain(w, 0);
	uint32_t port = bind_ipi(&f, 0);
	evtchn_reset_t op = {.dom = DOMID_SELF};

	assert_int_equal(evtchn_op(w->xen, f.domid, EVTCHNOP_reset, &op), 0);
	assert_int_equal(f.d->fifo, 0);
	assert_int_equal(expand(&f, page_of(w, f.domid)), -EOPNOTSUPP);
	assert_int_equal(bind_ipi(&f, 0), port);
	assert_int_equal(set_priority(&f, port, 1), -ENOSYS);
	assert_int_equal(send_port(&f, port), 0);
	assert_int_equal(f.d->info.pending[0], 1ULL << port);
	/* and once more to FIFO */
	assert_int_equal(init_control(&f, 0, page_of(w, f.domid), 0), 0);
	assert_int_equal(expand(&f, page_of(w, f.domid)), 0);
	EXPECT_WALK(&f, 0, port);
}

/* With the emulated kernel: it boots again, in its old pages, and its processes start over. */
static void test_reset_kernel(void **state)
{
	struct world *w = *state;
	struct sim_domain_config config = {.name = "f", .fifo = true, .n_vcpus = 2};
	evtchn_reset_t op = {.dom = DOMID_SELF};
	uint32_t ports[3], mine, control, array;
	struct hv_event event;
	struct hv *f;
	struct sim_domain *d;
	struct hv_ring *ring;
	uint16_t domid;

	assert_int_equal(sim_domain_create(w->sim, &config, &domid), 0);
	assert_int_equal(sim_hv_open(w->sim, domid, &f), 0);
	d = domain_at(w->xen, sim_domain_find(w->xen, domid));
	control = d->vcpus[1].control_page;
	array = d->array_page[0];
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(f->ops->evtchn_alloc_unbound(f, w->b, &ports[i]), 0);
	assert_int_equal(w->hv_b->ops->evtchn_bind_interdomain(w->hv_b, domid, ports[0], &mine), 0);
	assert_int_equal(w->hv_b->ops->evtchn_send(w->hv_b, mine), 0);
	assert_int_equal(evtchn_op(w->xen, domid, EVTCHNOP_reset, &op), 0);
	assert_int_equal(d->fifo, 1);
	assert_int_equal(d->vcpus[1].control_page, control);
	assert_int_equal(d->array_page[0], array);
	assert_int_equal(d->n_words, SIM_WORDS_PAGE);
	assert_int_equal(d->n_ports, 2);
	assert_int_equal(*fifo_word(w->xen, d, ports[0]), 0);
	assert_int_equal(f->ops->evtchn_send(f, ports[0]), -ENOTCONN);
	hv_close(f);

	/* Events and rings as ever. */
	assert_int_equal(sim_hv_open(w->sim, domid, &f), 0);
	assert_int_equal(f->ops->evtchn_alloc_unbound(f, w->b, &ports[0]), 0);
	assert_int_equal(w->hv_b->ops->evtchn_bind_interdomain(w->hv_b, domid, ports[0], &mine), 0);
	assert_int_equal(w->hv_b->ops->evtchn_send(w->hv_b, mine), 0);
	assert_int_equal(f->ops->poll_events(f, &event, 1), 1);
	assert_int_equal(event.port, ports[0]);
	assert_int_equal(f->ops->argo_register(f, 5, w->b, 4096, &ring), 0);
	assert_int_equal(f->ops->argo_watch(f, ring, true), 0);
	assert_int_equal(
		guest_ring_register(sim_hv_xen(w->hv_b), 9, domid, 4096, &mine, &ports[1], &array),
		0);
	assert_int_equal(guest_ring_send(sim_hv_xen(w->hv_b), mine,
				 &(xen_argo_send_addr_t){.src = {.aport = 9, .domain_id = w->b},
					 .dst = {.aport = 5, .domain_id = domid}},
				 NULL, 0, 0),
		0);
	assert_int_equal(f->ops->poll_events(f, &event, 1), 1);
	assert_int_equal(event.type, HV_EVENT_RING);
	hv_close(f);
}

/* All ports that there can be; the last is as good as any. */
static void test_all_ports(void **state)
{
	struct world *w = *state;
	struct fifo f = fifo_domain(w, SIM_MAX_PORTS);
	evtchn_alloc_unbound_t op = {.dom = DOMID_SELF};
	uint32_t last = SIM_MAX_PORTS - 1;

	for (uint32_t port = 1; port < SIM_MAX_PORTS; port++)
		if (bind_ipi(&f, 0) != port)
			fail_msg("not port %u", port);
	assert_int_equal(evtchn_op(w->xen, f.domid, EVTCHNOP_alloc_unbound, &op), -ENOSPC);
	for (uint32_t i = 1; i < SIM_MAX_PORTS / SIM_WORDS_PAGE; i++)
		assert_int_equal(expand(&f, page_of(w, f.domid)), 0);
	assert_int_equal(expand(&f, page_of(w, f.domid)), -ENOSPC);
	assert_int_equal(send_port(&f, last), 0);
	assert_int_equal(send_port(&f, 70000), 0);
	assert_int_equal(send_port(&f, SIM_MAX_PORTS), -EINVAL);
	EXPECT_WALK(&f, 0, last, 70000);
	assert_int_equal(sim_check(w->sim, stderr), 0);
	assert_int_equal(close_port(&f, 5000), 0);
	assert_int_equal(bind_ipi(&f, 0), 5000);
}

/* A tail of which a crash left BUSY behind. */
static void test_left_busy(void **state)
{
	struct world *w = *state;
	struct fifo f = fifo_domain(w, 0);
	uint32_t first = bind_ipi(&f, 0), second = bind_ipi(&f, 0);

	assert_int_equal(send_port(&f, first), 0);
	EXPECT_WALK(&f, 0, first);
	atomic_fetch_or(fifo_word(w->xen, f.d, first), BUSY);
	assert_int_equal(send_port(&f, second), 0);
	assert_int_equal(word(&f, first), 0);
	EXPECT_WALK(&f, 0, second);
	/* or one that is on its queue still */
	assert_int_equal(send_port(&f, first), 0);
	atomic_fetch_or(fifo_word(w->xen, f.d, first), BUSY);
	assert_int_equal(send_port(&f, second), 0);
	assert_int_equal(word(&f, first), PENDING | LINKED | second);
	EXPECT_WALK(&f, 0, first, second);
}

/* ---- deaths ---------------------------------------------------------------------------------- */

/* As whoever makes the hypercalls for the bare domain, and dies at step n. True: it did. */
static bool run_cut(struct fifo *f, void (*run)(struct fifo *victim), int n)
{
	struct cut cut = {.left = n};
	struct world victim_world = *f->w;
	struct fifo victim = *f;
	volatile bool was_cut = true;
	struct hv *hv;

	assert_int_equal(sim_hv_open(f->w->sim, f->w->a, &hv), 0);
	victim_world.xen = sim_hv_xen(hv);
	victim.w = &victim_world;
	if (setjmp(cut.jump) == 0) {
		victim_world.xen->step = cut_step;
		victim_world.xen->step_arg = &cut;
		run(&victim);
		victim_world.xen->step = NULL;
		was_cut = false;
	}
	sim_hv_kill(f->w->sim, hv);
	assert_int_equal(sim_check(f->w->sim, stderr), 0);
	return was_cut;
}

#define FIRST  1U /* the ports of the cut domain */
#define SECOND 2U
#define THIRD  3U

static void run_send(struct fifo *f)
{
	(void)send_port(f, SECOND);
}

static bool saw(const struct seen *seen, uint32_t port)
{
	for (uint32_t i = 0; i < seen->n; i++)
		if (seen->ports[i] == port)
			return true;
	return false;
}

/* Whatever a sender leaves behind, the events on the queue are found, and the port works on. */
static void test_cut_send(void **state)
{
	struct world *w = *state;
	struct fifo f = fifo_domain(w, 0);
	bool was_cut = true;
	int redone = 0;

	for (uint32_t port = FIRST; port <= THIRD; port++)
		assert_int_equal(bind_ipi(&f, 0), port);
	for (int n = 1; was_cut; n++) {
		uint32_t before = n_redone(w);
		struct seen seen = {0};

		assert_int_equal(send_port(&f, FIRST), 0);
		was_cut = run_cut(&f, run_send, n);
		assert_int_equal(send_port(&f, THIRD), 0);
		guest_upcall(w->xen, f.domain, 0, see, &seen);
		assert_int_equal(seen.ports[0], FIRST);
		assert_true(saw(&seen, THIRD));
		if (!was_cut || n_redone(w) > before) {
			assert_true(saw(&seen, SECOND));
			redone++;
		}
		assert_int_equal(send_port(&f, SECOND), 0);
		EXPECT_WALK(&f, 0, SECOND);
		assert_true(n < 50);
	}
	assert_true(redone >= 2);
}

static uint64_t cut_pages[3]; /* of the domain that run_all makes a FIFO one, and resets */

static void run_all(struct fifo *f)
{
	evtchn_reset_t op = {.dom = DOMID_SELF};
	uint32_t port;

	(void)init_control(f, 0, cut_pages[0], 0);
	(void)init_control(f, 1, cut_pages[0], 128);
	port = bind_ipi(f, 1);
	(void)send_port(f, port);
	(void)expand(f, cut_pages[1]);
	(void)set_priority(f, port, 2);
	(void)send_port(f, port);
	(void)unmask_port(f, port);
	(void)expand(f, cut_pages[2]);
	(void)close_port(f, port);
	(void)evtchn_op(f->w->xen, f->domid, EVTCHNOP_reset, &op);
}

static void test_cut_all(void **state)
{
	struct world *w = *state;
	struct fifo f = fifo_bare(w, 0);
	evtchn_reset_t op = {.dom = DOMID_SELF};
	bool was_cut = true;
	int n;

	for (uint32_t i = 0; i < 3; i++)
		cut_pages[i] = page_of(w, f.domid);
	for (n = 1; was_cut; n++) {
		was_cut = run_cut(&f, run_all, n);
		/* Nobody resets any more, also if the dead did. */
		assert_int_equal(evtchn_op(w->xen, f.domid, EVTCHNOP_reset, &op), 0);
		assert_int_equal(f.d->fifo, 0);
		assert_int_equal(f.d->n_ports, 1);
		for (uint32_t i = 0; i < 3; i++)
			memset(sim_page(w->xen, cut_pages[i]), 0, HV_PAGE_SIZE);
		for (uint32_t port = 0; port < 64; port++)
			port_entry(w->xen, f.d, port)->pending = 0; /* Xen never forgets it */
		assert_true(n < 2000);
	}
	assert_true(n > 60);
}

/* ---- the guest kernel ---------------------------------------------------------------------- */

/* Two processes of FIFO domains with ports beyond what 2-level has. */
static void test_kernel(void **state)
{
	struct world *w = *state;
	struct sim_domain_config config = {.name = "f", .fifo = true, .max_port = 10000};
	uint32_t theirs = 0, mine, n = 0;
	struct hv_event events[64];
	struct hv *f, *b = w->hv_b;
	struct sim_domain *d;
	uint16_t domid;
	int got;

	assert_int_equal(sim_domain_create(w->sim, &config, &domid), 0);
	assert_int_equal(sim_hv_open(w->sim, domid, &f), 0);
	d = domain_at(w->xen, sim_domain_find(w->xen, domid));
	assert_int_equal(d->fifo, 1);
	while (theirs < 9000)
		assert_int_equal(f->ops->evtchn_alloc_unbound(f, w->b, &theirs), 0);
	assert_true(d->n_words > 9000);
	assert_int_equal(b->ops->evtchn_bind_interdomain(b, domid, theirs, &mine), 0);
	assert_int_equal(f->ops->poll_events(f, events, 64), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(b->ops->evtchn_send(b, mine), 0);
		assert_int_equal(*fifo_word(w->xen, d, theirs), MASKED); /* delivered */
		assert_int_equal(b->ops->evtchn_send(b, mine), 0);
		assert_int_equal(*fifo_word(w->xen, d, theirs), MASKED | PENDING);
		assert_int_equal(f->ops->poll_events(f, events, 64), 1);
		assert_int_equal(events[0].port, theirs);
		assert_int_equal(f->ops->poll_events(f, events, 64), 0);
		assert_int_equal(f->ops->evtchn_unmask(f, &theirs, 1), 0);
		assert_int_equal(f->ops->poll_events(f, events, 64), 1); /* it was raised again */
		assert_int_equal(f->ops->evtchn_unmask(f, &theirs, 1), 0);
		assert_int_equal(f->ops->poll_events(f, events, 64), 0);
		assert_int_equal(*fifo_word(w->xen, d, theirs), 0);
	}
	/* Many at once, all over. */
	for (uint32_t port = 10; port < 9000; port += 90) {
		assert_int_equal(b->ops->evtchn_bind_interdomain(b, domid, port, &mine), 0);
		assert_int_equal(b->ops->evtchn_send(b, mine), 0);
	}
	while ((got = f->ops->poll_events(f, events, 7)) > 0)
		for (int i = 0; i < got; i++, n++)
			assert_int_equal(events[i].port % 90, 10);
	assert_int_equal(n, 100);
	assert_int_equal(sim_check(w->sim, stderr), 0);
	hv_close(f);
	assert_int_equal(d->n_ports, 2); /* 0 and the driver's */
}

static void test_check(void **state)
{
	struct world *w = *state;
	struct fifo f = fifo_domain(w, 10000);
	uint32_t port = bind_ipi(&f, 0);

#define PLANT(p, wrong)                                                                            \
	do {                                                                                       \
		__typeof__(*(p) + 0) right = *(p);                                                 \
		*(p) = (wrong);                                                                    \
		if (sim_check(w->sim, NULL) == 0)                                                  \
			fail_msg("not found: %s = %s", #p, #wrong);                                \
		*(p) = right;                                                                      \
		assert_int_equal(sim_check(w->sim, stderr), 0);                                    \
	} while (0)
	while (bind_ipi(&f, 0) < 5000)
		;
	PLANT(&f.d->n_words, 1000);
	PLANT(&f.d->n_words, 2048);
	PLANT(&f.d->fifo, 0);
	PLANT(&f.d->array_page[0], 60000);
	PLANT(&f.d->port_page[3], 0);
	PLANT(&f.d->vcpus[0].control_page, 60000);
	PLANT(&f.d->vcpus[0].control_offset, 4090);
	PLANT(&f.d->vcpus[1].tail[3], 5000);
	PLANT(&f.d->ports[port].priority, 16);
	PLANT(&f.d->ports[port].last_vcpu, 2);
	PLANT(&f.d->next_port, 5010);
	PLANT(fifo_word(w->xen, f.d, port), BUSY);
#undef PLANT
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SIM_TEST(test_init_control),
		SIM_TEST(test_pages),
		SIM_TEST(test_pages_stay),
		SIM_TEST(test_words),
		SIM_TEST(test_queue),
		SIM_TEST(test_priority),
		SIM_TEST(test_busy),
		SIM_TEST(test_late_page),
		SIM_TEST(test_reset),
		SIM_TEST(test_reset_kernel),
		SIM_TEST(test_all_ports),
		SIM_TEST(test_left_busy),
		SIM_TEST(test_cut_send),
		SIM_TEST(test_cut_all),
		SIM_TEST(test_kernel),
		SIM_TEST(test_check),
	};

	return cmocka_run_group_tests_name("sim-fifo", tests, NULL, NULL);
}
