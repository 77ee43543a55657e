/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Argo at the level of the hypercall: the order of its checks, hostile rings, waiters, notify. */
#include "tests/unit/sim/support.h"

#include <string.h>
#include <sys/mman.h>

#include "hv/sim/hypervisor/argo.h"

#define RING_LEN 4032U /* one page with its header */

struct ring {
	uint64_t gfn;
	xen_argo_gfn_t gfns[4];
	_Atomic uint32_t *header;
	uint8_t *data;
};

static void ring_memory(struct world *w, uint16_t domid, uint32_t n, struct ring *ret)
{
	assert_int_equal(sim_pages_alloc(w->xen, domid, n, &ret->gfn), 0);
	for (uint32_t i = 0; i < n; i++)
		ret->gfns[i] = ret->gfn + i;
	ret->header = sim_page(w->xen, ret->gfn);
	ret->data = (uint8_t *)ret->header + 64;
}

static long reg(struct world *w, uint16_t domid, uint32_t aport, uint16_t partner, uint32_t len,
	const xen_argo_gfn_t *gfns, unsigned long n)
{
	xen_argo_register_ring_t r = {.aport = aport, .partner_id = partner, .len = len};

	return argo_op(w->xen, domid, XEN_ARGO_OP_register_ring, &r, (void *)(uintptr_t)gfns, n,
		XEN_ARGO_REGISTER_FLAG_FAIL_EXIST);
}

static long unreg(struct world *w, uint16_t domid, uint32_t aport, uint16_t partner)
{
	xen_argo_unregister_ring_t u = {.aport = aport, .partner_id = partner};

	return argo_op(w->xen, domid, XEN_ARGO_OP_unregister_ring, &u, NULL, 0, 0);
}

static long sendv(
	struct world *w, uint16_t from, uint16_t to, uint32_t aport, const void *data, uint32_t len)
{
	xen_argo_send_addr_t addr = {
		.src = {.aport = 1, .domain_id = from}, .dst = {.aport = aport, .domain_id = to}};
	xen_argo_iov_t iov = {.iov_hnd = (uint8_t *)(uintptr_t)data, .iov_len = len};

	return (int)argo_op(w->xen, from, XEN_ARGO_OP_sendv, &addr, &iov, 1, 7);
}

static void test_register_order(void **state)
{
	struct world *w = *state;
	xen_argo_register_ring_t r = {.aport = 5, .partner_id = w->b, .len = RING_LEN};
	struct ring ring;
	uint16_t off;

	ring_memory(w, w->a, 2, &ring);
	/* Arguments that are valid but for bits that a 32-bit argument does not have. */
	assert_int_equal(argo_op(w->xen, w->a, 1, &r, ring.gfns, (1UL << 32) + 1, 0), -EINVAL);
	assert_int_equal(argo_op(w->xen, w->a, 1, &r, ring.gfns, 1, 1UL << 32), -EINVAL);
	assert_int_equal(argo_op(w->xen, w->a, 9, &r, ring.gfns, 1, 0), -EOPNOTSUPP);
	assert_int_equal(argo_op(w->xen, w->a, 1, &r, ring.gfns, 4097, 0), -EINVAL);
	assert_int_equal(argo_op(w->xen, w->a, 1, NULL, NULL, 1, 8), -EFAULT); /* frames first */
	assert_int_equal(argo_op(w->xen, w->a, 1, NULL, ring.gfns, 1, 8), -EINVAL); /* then flags */
	assert_int_equal(argo_op(w->xen, w->a, 1, NULL, ring.gfns, 1, 0), -EFAULT);
	assert_int_equal(reg(w, w->a, 5, 99, 40, ring.gfns, 1), -EINVAL);   /* size, then partner */
	assert_int_equal(reg(w, w->a, 5, 99, 32, ring.gfns, 1), -EINVAL);   /* below the least */
	assert_int_equal(reg(w, w->a, 5, 99, 4040, ring.gfns, 1), -EINVAL); /* not of 16 */
	assert_int_equal(reg(w, w->a, 5, 99, RING_LEN, ring.gfns, 2), -EINVAL);
	assert_int_equal(reg(w, w->a, 5, 99, 16U << 20, ring.gfns, 4097), -EINVAL);
	r.pad = 1;
	assert_int_equal(argo_op(w->xen, w->a, 1, &r, ring.gfns, 1, 0), -EINVAL);
	assert_int_equal(reg(w, w->a, 5, XEN_ARGO_DOMID_ANY, RING_LEN, ring.gfns, 1), -EPERM);
	assert_int_equal(reg(w, w->a, 5, 99, RING_LEN, ring.gfns, 1), -ESRCH);
	assert_int_equal(reg(w, w->a, 5, DOMID_SELF, RING_LEN, ring.gfns, 1), -ESRCH);
	assert_int_equal(sim_domain_create(w->sim,
				 &(struct sim_domain_config){.name = "off", .no_argo = true}, &off),
		0);
	assert_int_equal(reg(w, off, 5, w->a, RING_LEN, ring.gfns, 1), -ENODEV);
	assert_int_equal(reg(w, w->a, 5, off, RING_LEN, ring.gfns, 1), -ECONNREFUSED);
	assert_int_equal(reg(w, w->b, 5, w->a, RING_LEN, ring.gfns, 1), -EINVAL); /* not its page */
	assert_int_equal(reg(w, w->a, 5, w->b, RING_LEN, ring.gfns, 1), 0);
	assert_int_equal(reg(w, w->a, 5, w->b, RING_LEN, ring.gfns, 1), -EEXIST);
	assert_int_equal(
		reg(w, w->a, 5, w->a, RING_LEN, ring.gfns + 1, 1), 0); /* another partner */
	assert_int_equal(unreg(w, w->a, 5, w->a), 0);
	assert_int_equal(unreg(w, w->a, 5, w->b), 0);
	assert_int_equal(unreg(w, w->a, 5, w->b), -ENOENT);
	assert_int_equal(unreg(w, off, 5, w->b), -ENODEV);
	assert_int_equal(argo_op(w->xen, w->a, 2, NULL, &r, 0, 0), -EINVAL); /* before EFAULT */
	assert_int_equal(argo_op(w->xen, w->a, 2, NULL, NULL, 0, 0), -EFAULT);
}

static void test_rings_run_out(void **state)
{
	struct world *w = *state;
	struct ring ring;

	ring_memory(w, w->a, 1, &ring);
	for (uint32_t i = 0; i < 128; i++)
		assert_int_equal(reg(w, w->a, i * 64, w->b, RING_LEN, ring.gfns, 1), 0);
	/* Before existence is looked at. */
	assert_int_equal(reg(w, w->a, 0, w->b, RING_LEN, ring.gfns, 1), -ENOSPC);
	for (uint32_t i = 128; i-- > 0;)
		assert_int_equal(unreg(w, w->a, (i * 37 % 128) * 64, w->b), 0);
}

/* Registered again after a resume: tx_ptr is kept if it makes sense. Upstream counts it twice. */
static void test_register_again(void **state)
{
	struct world *w = *state;
	xen_argo_register_ring_t r = {.aport = 5, .partner_id = w->b, .len = RING_LEN};
	struct sim_domain *d = domain_at(w->xen, sim_domain_find(w->xen, w->a));
	xen_argo_gfn_t bad = 60000;
	struct ring ring;

	ring_memory(w, w->a, 1, &ring);
	ring.header[0] = 33;
	ring.header[1] = 17; /* not aligned: taken from rx_ptr, rounded up */
	assert_int_equal(argo_op(w->xen, w->a, 1, &r, ring.gfns, 1, 0), 0);
	assert_int_equal(ring.header[1], 48);
	ring.header[1] = 64;
	assert_int_equal(argo_op(w->xen, w->a, 1, &r, ring.gfns, 1, 0), 0);
	assert_int_equal(ring.header[1], 64);
	assert_int_equal(d->n_argo, 2);
	r.len = RING_LEN - 16;
	assert_int_equal(argo_op(w->xen, w->a, 1, &r, ring.gfns, 1, 0), -EEXIST);
	r.len = RING_LEN;
	/* It fails, and the ring is gone, and its count is not. */
	assert_int_equal(argo_op(w->xen, w->a, 1, &r, &bad, 1, 0), -EINVAL);
	assert_int_equal(unreg(w, w->a, 5, w->b), -ENOENT);
	assert_int_equal(d->n_argo, 2);
}

static void test_send_order(void **state)
{
	struct world *w = *state;
	xen_argo_send_addr_t addr = {
		.src = {.aport = 1, .domain_id = w->b}, .dst = {.aport = 5, .domain_id = w->a}};
	uint8_t data[64] = "x";
	xen_argo_iov_t iov[9] = {{.iov_hnd = data, .iov_len = 64}};
	struct ring ring;
	uint16_t off;

	ring_memory(w, w->a, 1, &ring);
	assert_int_equal(reg(w, w->a, 5, w->b, RING_LEN, ring.gfns, 1), 0);
	assert_int_equal(argo_op(w->xen, w->b, 3, NULL, iov, 9, 0), -EFAULT);
	assert_int_equal(argo_op(w->xen, w->b, 3, &addr, NULL, 9, 0), -EINVAL);
	assert_int_equal(argo_op(w->xen, w->b, 3, &addr, NULL, 1, 0), -EFAULT);
	addr.dst.pad = 1;
	addr.src.domain_id = w->a;
	assert_int_equal(argo_op(w->xen, w->b, 3, &addr, iov, 1, 0), -EINVAL);
	addr.dst.pad = 0;
	addr.dst.domain_id = 99;
	assert_int_equal(argo_op(w->xen, w->b, 3, &addr, iov, 1, 0), -EPERM);
	addr.src.domain_id = XEN_ARGO_DOMID_ANY; /* means the caller */
	assert_int_equal(argo_op(w->xen, w->b, 3, &addr, iov, 1, 0), -ESRCH);
	addr.dst.domain_id = w->a;
	addr.dst.aport = 6;
	iov[0].pad = 1;
	/* From here on Xen returns an unsigned int. */
	assert_int_equal(argo_op(w->xen, w->b, 3, &addr, iov, 1, 0), (uint32_t)-ECONNREFUSED);
	addr.dst.aport = 5;
	assert_int_equal(argo_op(w->xen, w->b, 3, &addr, iov, 1, 0), (uint32_t)-EINVAL);
	iov[0].pad = 0;
	iov[0].iov_len = (16U << 20) - 31;
	assert_int_equal(argo_op(w->xen, w->b, 3, &addr, iov, 1, 0), (uint32_t)-EINVAL);
	iov[0].iov_len = (16U << 20) - 32;
	iov[1] = (xen_argo_iov_t){.iov_hnd = data, .iov_len = 1};
	assert_int_equal(argo_op(w->xen, w->b, 3, &addr, iov, 2, 0), (uint32_t)-EMSGSIZE);
	iov[0].iov_len = RING_LEN - 16;
	assert_int_equal(argo_op(w->xen, w->b, 3, &addr, iov, 1, 0), (uint32_t)-EMSGSIZE);
	iov[0].iov_len = 0;
	assert_int_equal(argo_op(w->xen, w->b, 3, &addr, iov, 1, 0), 0);
	assert_int_equal(ring.header[1], 16);
	assert_int_equal(argo_op(w->xen, w->b, 3, &addr, iov, 0, 0), 0);
	assert_int_equal(ring.header[1], 32);
	/* The destination is looked for before the caller's own Argo, and that before its ring. */
	assert_int_equal(sim_domain_create(w->sim,
				 &(struct sim_domain_config){.name = "off", .no_argo = true}, &off),
		0);
	assert_int_equal(sendv(w, off, 99, 5, data, 4), -ESRCH);
	assert_int_equal(sendv(w, off, w->a, 5, data, 4), -ENODEV);
	assert_int_equal(sendv(w, w->b, off, 5, data, 4), -ECONNREFUSED);
	/* Another domain's messages are not for this ring. */
	assert_int_equal(sendv(w, 0, w->a, 5, data, 4), -ECONNREFUSED);
}

/* A copy fault leaves nothing visible. */
static void test_send_fault(void **state)
{
	struct world *w = *state;
	uint8_t *hole =
		mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ring ring;

	assert_int_equal(munmap(hole + 4096, 4096), 0);
	ring_memory(w, w->a, 1, &ring);
	assert_int_equal(reg(w, w->a, 5, w->b, RING_LEN, ring.gfns, 1), 0);
	assert_int_equal(sendv(w, w->b, w->a, 5, hole + 4000, 200), -EFAULT);
	assert_int_equal(ring.header[1], 0);
	assert_int_equal(sendv(w, w->b, w->a, 5, NULL, 4), -EFAULT);
	assert_int_equal(sendv(w, w->b, w->a, 5, (void *)-4096, 100), -EFAULT);
	assert_int_equal(sendv(w, w->b, w->a, 5, hole + 4000, 96), 96);
	assert_int_equal(ring.header[1], 112);
	(void)munmap(hole, 4096);
}

/* get_sanitized_ring and ringbuf_insert, said once more. */
static bool has_room(uint32_t rx, uint32_t tx, uint32_t len)
{
	uint64_t rounded = ((uint64_t)rx + 15) / 16 * 16;
	uint32_t clean = (uint32_t)rounded >= RING_LEN ? 0 : (uint32_t)rounded;
	uint32_t space = clean > tx ? clean - tx : RING_LEN - tx + clean;

	return 16 + (len + 15) / 16 * 16 < space;
}

/* rx_ptr is the guest's: whatever stands there, Xen stays inside the ring, and has room or not. */
static void test_hostile_rx(void **state)
{
	static const uint32_t values[] = {0, 1, 15, 16, 17, RING_LEN - 16, RING_LEN - 1, RING_LEN,
		RING_LEN + 16, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff};
	struct world *w = *state;
	uint8_t data[512], *guard;
	struct sim_ring *xen_ring;
	struct ring ring;

	memset(data, 0xaa, sizeof(data));
	ring_memory(w, w->a, 2, &ring); /* the second page is a guard */
	guard = sim_page(w->xen, ring.gfn + 1);
	assert_int_equal(reg(w, w->a, 5, w->b, RING_LEN, ring.gfns, 1), 0);
	xen_ring = argo_find(w->xen, sim_domain_find(w->xen, w->a), 5, w->b, NULL);
	for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
		for (uint32_t len = 0; len < sizeof(data); len += 31) {
			uint32_t tx = xen_ring->tx_ptr;
			long want = has_room(values[v], tx, len) ? (long)len : -EAGAIN;

			ring.header[0] = values[v];
			ring.header[1] = values[v] ^ len; /* Xen keeps its own */
			assert_int_equal(sendv(w, w->b, w->a, 5, data, len), want);
			assert_true(xen_ring->tx_ptr < RING_LEN && !(xen_ring->tx_ptr & 15));
			assert_true(want < 0 || ring.header[1] == xen_ring->tx_ptr);
			for (int i = 0; i < 4096; i += 64)
				assert_int_equal(guard[i], 0);
		}
	}
}

/* One slot stays free: what would fill the ring to the last byte does not fit. */
static void test_exact_fit(void **state)
{
	struct world *w = *state;
	uint8_t data[1000] = {0};
	struct ring ring;

	ring_memory(w, w->a, 1, &ring);
	assert_int_equal(reg(w, w->a, 5, w->b, 256, ring.gfns, 1), 0);
	assert_int_equal(sendv(w, w->b, w->a, 5, data, 240), -EMSGSIZE);
	assert_int_equal(sendv(w, w->b, w->a, 5, data, 225), -EMSGSIZE);
	assert_int_equal(sendv(w, w->b, w->a, 5, data, 224), 224);
	ring.header[0] = 240;
	assert_int_equal(sendv(w, w->b, w->a, 5, data, 112), 112);     /* 128 of 256; at 112 now */
	assert_int_equal(sendv(w, w->b, w->a, 5, data, 112), -EAGAIN); /* exactly the rest */
	assert_int_equal(sendv(w, w->b, w->a, 5, data, 96), 96);
	assert_int_equal(sendv(w, w->b, w->a, 5, data, 0), -EAGAIN); /* the last slot */
}

/* Frames that do not follow each other: the message is cut at page borders, and whole. */
static void test_scattered_frames(void **state)
{
	struct world *w = *state;
	xen_argo_gfn_t gfns[3];
	uint8_t data[6000];
	struct ring ring;

	ring_memory(w, w->a, 4, &ring);
	gfns[0] = ring.gfns[3];
	gfns[1] = ring.gfns[0];
	gfns[2] = ring.gfns[2];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	assert_int_equal(reg(w, w->a, 5, w->b, 3 * 4096 - 64, gfns, 3), 0);
	for (int round = 0; round < 10; round++) {
		_Atomic uint32_t *header = sim_page(w->xen, gfns[0]);
		uint32_t tx = header[1];

		assert_int_equal(sendv(w, w->b, w->a, 5, data, sizeof(data)), sizeof(data));
		for (uint32_t i = 0; i < sizeof(data); i++) {
			uint32_t at = (tx + 16 + i) % (3 * 4096 - 64) + 64;
			uint8_t *page = sim_page(w->xen, gfns[at / 4096]);

			assert_int_equal(page[at % 4096], data[i]);
		}
		header[0] = header[1];
	}
	assert_int_equal(unreg(w, w->a, 5, w->b), 0);
}

static uint16_t flags_of(struct world *w, uint16_t who, uint16_t domid, uint32_t aport,
	uint32_t space, uint32_t *ret_max)
{
	struct {
		uint32_t nent, pad;
		xen_argo_ring_data_ent_t ent;
	} data = {.nent = 1,
		.ent = {.ring = {.aport = aport, .domain_id = domid}, .space_required = space}};

	assert_int_equal(argo_op(w->xen, who, XEN_ARGO_OP_notify, &data, NULL, 0, 0), 0);
	if (ret_max)
		*ret_max = data.ent.max_message_size;
	return data.ent.flags;
}

static void test_notify(void **state)
{
	struct world *w = *state;
	struct sim_ring *xen_ring;
	xen_argo_ring_data_t many = {.nent = 257};
	uint8_t data[3000] = {0};
	struct ring ring;
	uint32_t max;

	ring_memory(w, w->a, 1, &ring);
	assert_int_equal(flags_of(w, w->b, w->a, 5, 1, NULL), 0);
	assert_int_equal(flags_of(w, w->b, 99, 5, 1, NULL), 0);
	assert_int_equal(reg(w, w->a, 5, w->b, RING_LEN, ring.gfns, 1), 0);
	assert_int_equal(flags_of(w, w->b, w->a, 5, 1, &max),
		XEN_ARGO_RING_EXISTS | XEN_ARGO_RING_SUFFICIENT | XEN_ARGO_RING_EMPTY);
	assert_int_equal(max, RING_LEN - 32);
	assert_int_equal(flags_of(w, w->b, w->a, 5, RING_LEN - 32, NULL),
		XEN_ARGO_RING_EXISTS | XEN_ARGO_RING_SUFFICIENT | XEN_ARGO_RING_EMPTY);
	assert_int_equal(flags_of(w, w->b, w->a, 5, RING_LEN - 31, NULL),
		XEN_ARGO_RING_EXISTS | XEN_ARGO_RING_EMSGSIZE | XEN_ARGO_RING_EMPTY);
	assert_int_equal(sendv(w, w->b, w->a, 5, data, 3000), 3000);
	assert_int_equal(sendv(w, w->b, w->a, 5, data, 3000), -EAGAIN);
	xen_ring = argo_find(w->xen, sim_domain_find(w->xen, w->a), 5, w->b, NULL);
	assert_int_equal(xen_ring->n_waiters, 1);
	assert_int_equal(xen_ring->waiters[0].len, 3000);
	/* One entry a domain, and the largest length. */
	assert_int_equal(sendv(w, w->b, w->a, 5, data, 2000), -EAGAIN);
	assert_int_equal(xen_ring->n_waiters, 1);
	assert_int_equal(xen_ring->waiters[0].len, 3000);
	assert_int_equal(flags_of(w, w->b, w->a, 5, 3500, NULL), XEN_ARGO_RING_EXISTS);
	assert_int_equal(xen_ring->waiters[0].len, 3500);
	/* Enough for this much: what was queued is cancelled. */
	assert_int_equal(flags_of(w, w->b, w->a, 5, 10, NULL),
		XEN_ARGO_RING_EXISTS | XEN_ARGO_RING_SUFFICIENT);
	assert_int_equal(xen_ring->n_waiters, 0);
	/* Advancing rx_ptr wakes nobody; notify does, once. */
	assert_int_equal(sendv(w, w->b, w->a, 5, data, 3000), -EAGAIN);
	ring.header[0] = ring.header[1];
	assert_int_equal(xen_ring->n_waiters, 1);
	assert_int_equal(argo_op(w->xen, w->a, XEN_ARGO_OP_notify, NULL, NULL, 0, 0), 0);
	assert_int_equal(xen_ring->n_waiters, 0);
	assert_int_equal(argo_op(w->xen, w->a, XEN_ARGO_OP_notify, &many, NULL, 0, 0), -EACCES);
	assert_int_equal(argo_op(w->xen, w->a, XEN_ARGO_OP_notify, NULL, &many, 0, 0), -EINVAL);
	assert_int_equal(
		argo_op(w->xen, w->a, XEN_ARGO_OP_notify, (void *)16, NULL, 0, 0), -EFAULT);
}

/* Only a ring that is open to all can have more waiting domains than a ring's table has places. */
static void test_waiters_run_out(void **state)
{
	struct world *w = *state;
	uint8_t data[3000] = {0};
	struct ring ring;
	char name[16];
	uint16_t domid;

	w->xen->seg->argo_mac_permissive = 1;
	ring_memory(w, w->a, 1, &ring);
	assert_int_equal(reg(w, w->a, 5, XEN_ARGO_DOMID_ANY, RING_LEN, ring.gfns, 1), 0);
	assert_int_equal(flags_of(w, w->b, w->a, 5, 1, NULL),
		XEN_ARGO_RING_EXISTS | XEN_ARGO_RING_SHARED | XEN_ARGO_RING_SUFFICIENT |
			XEN_ARGO_RING_EMPTY);
	assert_int_equal(sendv(w, w->b, w->a, 5, data, 3000), 3000);
	for (int i = 0; i < 33; i++) {
		(void)snprintf(name, sizeof(name), "waiter%d", i);
		assert_int_equal(sim_domain_create(
					 w->sim, &(struct sim_domain_config){.name = name}, &domid),
			0);
		assert_int_equal(sendv(w, domid, w->a, 5, data, 3000), i < 32 ? -EAGAIN : -EBUSY);
	}
	assert_int_equal(flags_of(w, domid, w->a, 5, 3000, NULL),
		XEN_ARGO_RING_EXISTS | XEN_ARGO_RING_SHARED | XEN_ARGO_RING_EBUSY);
}

/* A domain's death takes its rings, and those that others have for it; nobody is told. */
static void test_partner_dies(void **state)
{
	struct world *w = *state;
	struct ring ring;
	uint16_t c;

	ring_memory(w, w->a, 1, &ring);
	assert_int_equal(
		sim_domain_create(w->sim, &(struct sim_domain_config){.name = "c"}, &c), 0);
	assert_int_equal(reg(w, w->a, 5, c, RING_LEN, ring.gfns, 1), 0);
	assert_int_equal(sim_domain_destroy(w->sim, c), 0);
	assert_int_equal(unreg(w, w->a, 5, c), -ENOENT);
	assert_int_equal(sendv(w, c, w->a, 5, "x", 1), -ESRCH);
	assert_int_equal(reg(w, w->a, 5, c, RING_LEN, ring.gfns, 1), -ESRCH);
}

/* A sender to the ring that is gone must not reach the next one. */
static void test_aport_is_not_given_again(void **state)
{
	struct world *w = *state;
	const struct hv_ops *ops = w->hv_a->ops;
	struct hv_ring *ring;
	uint32_t aport;

	assert_int_equal(ops->argo_register(w->hv_a, 0, w->b, 4096, &ring), 0);
	aport = ring->aport;
	assert_int_equal(ops->argo_unregister(w->hv_a, ring), 0);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(ops->argo_register(w->hv_a, 0, w->b, 4096, &ring), 0);
		assert_int_not_equal(ring->aport, aport);
		assert_int_equal(ops->argo_unregister(w->hv_a, ring), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SIM_TEST(test_register_order),
		SIM_TEST(test_rings_run_out),
		SIM_TEST(test_register_again),
		SIM_TEST(test_send_order),
		SIM_TEST(test_send_fault),
		SIM_TEST(test_hostile_rx),
		SIM_TEST(test_exact_fit),
		SIM_TEST(test_scattered_frames),
		SIM_TEST(test_notify),
		SIM_TEST(test_waiters_run_out),
		SIM_TEST(test_partner_dies),
		SIM_TEST(test_aport_is_not_given_again),
	};

	return cmocka_run_group_tests_name("sim-argo", tests, NULL, NULL);
}
