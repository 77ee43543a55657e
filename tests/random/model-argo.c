/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Argo: see model.h. The memory of rings is the model's copy of their pages, by frame: rings that
 * share frames, or that have one twice, are as strange here as they are in Xen.
 */
#include "tests/random/model.h"

#include <errno.h>
#include <string.h>

#define HEADER	    64U /* of a ring */
#define SLOT	    16U /* and the header of a message */
#define RING_MIN    48U
#define RING_MAX    (16U << 20)
#define MESSAGE_MAX (RING_MAX - 32U)
#define NOTIFY_MAX  256U
#define PAGES_MAX   4096U

static uint32_t round16(uint32_t n)
{
	return (n + 15U) & ~15U;
}

/* ---- a ring's memory ---------------------------------------------------------------------- */

/* `offset` counts from the ring's first byte of data. */
void model_ring_read(
	const struct model *m, const struct m_ring *ring, uint32_t offset, void *dst, uint32_t len)
{
	uint8_t *to = dst;

	for (uint32_t at = offset + HEADER; len > 0;) {
		uint32_t n = MODEL_PAGE_SIZE - at % MODEL_PAGE_SIZE;

		n = n < len ? n : len;
		memcpy(to, m->memory[ring->gfns[at / MODEL_PAGE_SIZE]] + at % MODEL_PAGE_SIZE, n);
		to += n;
		at += n;
		len -= n;
	}
}

void model_ring_write(
	struct model *m, const struct m_ring *ring, uint32_t offset, const void *src, uint32_t len)
{
	const uint8_t *from = src;

	for (uint32_t at = offset + HEADER; len > 0;) {
		uint32_t n = MODEL_PAGE_SIZE - at % MODEL_PAGE_SIZE;

		n = n < len ? n : len;
		memcpy(model_page_touch(m, ring->gfns[at / MODEL_PAGE_SIZE]) + at % MODEL_PAGE_SIZE,
			from, n);
		from += n;
		at += n;
		len -= n;
	}
}

static uint32_t header_word(const struct model *m, uint32_t gfn, uint32_t word)
{
	uint32_t value;

	memcpy(&value, m->memory[gfn] + word * 4, sizeof(value));
	return value;
}

static void tx_publish(struct model *m, const struct m_ring *ring)
{
	memcpy(model_page_touch(m, ring->gfns[0]) + 4, &ring->tx, sizeof(ring->tx));
}

uint32_t model_ring_rx(const struct model *m, const struct m_ring *ring)
{
	uint32_t rx = round16(header_word(m, ring->gfns[0], 0));

	return rx < ring->len ? rx : 0;
}

/* Bytes from tx to rx; an empty ring is all free. */
static uint32_t ring_free(const struct model *m, const struct m_ring *ring)
{
	uint32_t rx = model_ring_rx(m, ring);

	return rx > ring->tx ? rx - ring->tx : ring->len - ring->tx + rx;
}

/* For a payload: a header and one slot stay. */
uint32_t model_ring_space(const struct model *m, const struct m_ring *ring)
{
	uint32_t space = ring_free(m, ring);

	return space > 2 * SLOT ? space - 2 * SLOT : 0;
}

/* ---- rings and waiters -------------------------------------------------------------------- */

static struct m_ring *ring_find(struct m_domain *d, uint32_t aport, uint16_t partner)
{
	for (uint32_t i = 0; i < MODEL_RINGS; i++)
		if (d->rings[i].used && d->rings[i].aport == aport &&
			d->rings[i].partner == partner)
			return &d->rings[i];
	return NULL;
}

static struct m_ring *ring_match(struct m_domain *d, uint32_t aport, uint16_t sender)
{
	struct m_ring *ring = ring_find(d, aport, sender);

	return ring ? ring : ring_find(d, aport, XEN_ARGO_DOMID_ANY);
}

static void waiter_drop(struct m_ring *ring, uint32_t i)
{
	ring->n_waiters--;
	for (; i < ring->n_waiters; i++)
		ring->waiters[i] = ring->waiters[i + 1];
}

static void waiters_drop_of(struct m_ring *ring, uint16_t domid)
{
	for (uint32_t i = ring->n_waiters; i-- > 0;)
		if (ring->waiters[i].domid == domid)
			waiter_drop(ring, i);
}

/* One entry a domain, with the largest length that it asked for. */
static int waiter_queue(const struct model *m, struct m_ring *ring, uint16_t domid, uint32_t len)
{
	for (uint32_t i = 0; i < ring->n_waiters; i++) {
		if (ring->waiters[i].domid != domid)
			continue;
		if (ring->waiters[i].len < len)
			ring->waiters[i].len = len;
		return 0;
	}
	if (ring->n_waiters == MODEL_WAITERS)
		return -EBUSY;
	ring->waiters[ring->n_waiters++] = (struct m_waiter){.domid = domid, .len = len};
	return 0;
}

static void signal_argo(struct model *m, uint32_t domain)
{
	struct m_domain *d = &m->domains[domain];

	if (d->virq_port[0][VIRQ_ARGO] && !d->kernel_virq)
		model_raise(m, domain, d->virq_port[0][VIRQ_ARGO]);
}

static void waiters_wake(struct model *m, struct m_ring *ring)
{
	uint32_t space = model_ring_space(m, ring), domain;

	for (uint32_t i = ring->n_waiters; space && i-- > 0;) {
		if (ring->waiters[i].len > space)
			continue;
		domain = model_find(m, ring->waiters[i].domid);
		waiter_drop(ring, i);
		if (domain != MODEL_NONE)
			signal_argo(m, domain);
	}
}

/* ---- the operations ----------------------------------------------------------------------- */

static bool too_wide(uint64_t arg3, uint64_t arg4)
{
	return arg3 > UINT32_MAX || arg4 > UINT32_MAX;
}

/* The check of both domains of a registration: 0, or what Xen says. */
static int partner_judge(const struct model *m, uint32_t self, uint16_t partner)
{
	uint32_t index = model_find(m, partner);

	if (partner == XEN_ARGO_DOMID_ANY && !m->mac_permissive)
		return -EPERM;
	if (partner != XEN_ARGO_DOMID_ANY && index == MODEL_NONE)
		return -ESRCH;
	if (!m->domains[self].argo)
		return -ENODEV;
	return index != MODEL_NONE && !m->domains[index].argo ? -ECONNREFUSED : 0;
}

static int frames_judge(
	const struct model *m, uint32_t self, const xen_argo_gfn_t *gfns, uint32_t n)
{
	bool contiguous = true;

	for (uint32_t i = 0; i < n; i++) {
		if (gfns[i] >= MODEL_GFNS || m->owner[gfns[i]] != self + 1)
			return -EINVAL;
		contiguous = contiguous && gfns[i] == gfns[0] + i;
	}
	/* Where memory is short: a list of frames is what must be allocated. */
	return m->no_memory && !contiguous ? -ENOMEM : 0;
}

static void ring_begin(struct model *m, struct m_ring *ring, const xen_argo_register_ring_t *reg,
	const xen_argo_gfn_t *gfns, uint32_t n)
{
	uint32_t tx = header_word(m, (uint32_t)gfns[0], 1), rx;

	ring->used = true;
	ring->aport = reg->aport;
	ring->partner = reg->partner_id;
	ring->len = reg->len;
	ring->n_pages = n;
	for (uint32_t i = 0; i < n; i++)
		ring->gfns[i] = (uint32_t)gfns[i];
	ring->tx = tx;
	if (tx < reg->len && tx % 16 == 0)
		return;
	rx = round16(header_word(m, ring->gfns[0], 0));
	ring->tx = rx < reg->len ? rx : 0;
	tx_publish(m, ring);
}

static bool reg_is_valid(const xen_argo_register_ring_t *reg, uint64_t n)
{
	return reg->len >= RING_MIN && reg->len <= RING_MAX && reg->len % 16 == 0 && !reg->pad &&
	       (reg->len + HEADER + MODEL_PAGE_SIZE - 1) / MODEL_PAGE_SIZE == n;
}

long model_register(struct model *m, uint32_t self, const xen_argo_register_ring_t *reg,
	const xen_argo_gfn_t *gfns, uint64_t n, uint64_t flags)
{
	struct m_domain *d = &m->domains[self];
	struct m_ring *ring;
	int r;

	if (too_wide(n, flags))
		return -EINVAL;
	if (m->no_argo)
		return -EOPNOTSUPP;
	if (n > PAGES_MAX)
		return -EINVAL;
	if (!gfns && n > 0)
		return -EFAULT;
	if (flags & ~(uint64_t)XEN_ARGO_REGISTER_FLAG_FAIL_EXIST)
		return -EINVAL;
	if (!reg)
		return -EFAULT;
	if (!reg_is_valid(reg, n))
		return -EINVAL;
	r = partner_judge(m, self, reg->partner_id);
	if (r < 0)
		return r;
	if (d->n_argo >= MODEL_RINGS)
		return -ENOSPC;
	ring = ring_find(d, reg->aport, reg->partner_id);
	if (ring && (flags || ring->len != reg->len))
		return -EEXIST;
	r = frames_judge(m, self, gfns, (uint32_t)n);
	if (r < 0) {
		if (ring) /* it is gone, and still counted */
			*ring = (struct m_ring){0};
		return r;
	}
	for (uint32_t i = 0; !ring; i++)
		if (!d->rings[i].used)
			ring = &d->rings[i];
	ring_begin(m, ring, reg, gfns, (uint32_t)n);
	d->n_argo++; /* once more for one that was there */
	return 0;
}

long model_unregister(struct model *m, uint32_t self, const xen_argo_unregister_ring_t *unreg,
	const void *arg2, uint64_t arg3, uint64_t arg4)
{
	struct m_domain *d = &m->domains[self];
	struct m_ring *ring;

	if (too_wide(arg3, arg4))
		return -EINVAL;
	if (m->no_argo)
		return -EOPNOTSUPP;
	if (arg2 || arg3 || arg4)
		return -EINVAL;
	if (!unreg)
		return -EFAULT;
	if (unreg->pad)
		return -EINVAL;
	if (!d->argo)
		return -ENODEV;
	ring = ring_find(d, unreg->aport, unreg->partner_id);
	if (!ring)
		return -ENOENT;
	*ring = (struct m_ring){0};
	d->n_argo--;
	return 0;
}

static int iov_judge(const struct m_iov *iov, uint64_t n, uint32_t *ret_len)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < n; i++) {
		if (iov[i].pad || iov[i].len > MESSAGE_MAX)
			return -EINVAL;
		sum += iov[i].len;
		if (sum > MESSAGE_MAX)
			return -EMSGSIZE;
	}
	*ret_len = (uint32_t)sum;
	return 0;
}

/* The message, byte by byte where Xen puts it; a source that is not there ends it. */
static int message_put(struct model *m, struct m_ring *ring,
	const struct xen_argo_ring_message_header *header, const struct m_iov *iov, uint64_t n)
{
	uint32_t at = ring->tx, tail;

	model_ring_write(m, ring, at, header, SLOT);
	at = (at + SLOT) % ring->len;
	for (uint64_t i = 0; i < n; i++) {
		if (!iov[i].len)
			continue;
		if (!iov[i].data)
			return -EFAULT;
		tail = ring->len - at;
		if (iov[i].len > tail) {
			model_ring_write(m, ring, at, iov[i].data, tail);
			model_ring_write(m, ring, 0, iov[i].data + tail, iov[i].len - tail);
		} else {
			model_ring_write(m, ring, at, iov[i].data, iov[i].len);
		}
		at = (at + iov[i].len) % ring->len;
	}
	ring->tx = round16(at) % ring->len;
	tx_publish(m, ring);
	return 0;
}

/* The destination, and whether it listens: 0 and the ring, or what Xen says. */
static int target_judge(struct model *m, uint32_t self, const xen_argo_send_addr_t *addr,
	uint32_t *ret_target, struct m_ring **ret_ring)
{
	uint32_t target;

	if (addr->src.pad || addr->dst.pad)
		return -EINVAL;
	if (addr->src.domain_id != XEN_ARGO_DOMID_ANY &&
		addr->src.domain_id != m->domains[self].domid)
		return -EPERM;
	target = model_find(m, addr->dst.domain_id);
	if (target == MODEL_NONE)
		return -ESRCH;
	if (!m->domains[self].argo)
		return -ENODEV;
	if (!m->domains[target].argo)
		return -ECONNREFUSED;
	*ret_ring = ring_match(&m->domains[target], addr->dst.aport, m->domains[self].domid);
	*ret_target = target;
	return *ret_ring ? 0 : -ECONNREFUSED;
}

long model_sendv(struct model *m, uint32_t self, const xen_argo_send_addr_t *addr,
	const struct m_iov *iov, uint64_t n, uint64_t type)
{
	struct xen_argo_ring_message_header header = {0};
	uint32_t target, len;
	struct m_ring *ring;
	int r;

	if (too_wide(n, type))
		return -EINVAL;
	if (m->no_argo)
		return -EOPNOTSUPP;
	if (!addr)
		return -EFAULT;
	if (n > XEN_ARGO_MAXIOV)
		return -EINVAL;
	if (!iov && n > 0)
		return -EFAULT;
	r = target_judge(m, self, addr, &target, &ring);
	if (r == 0)
		r = iov_judge(iov, n, &len);
	if (r < 0)
		return r;
	if (ring->len <= SLOT + round16(len))
		return -EMSGSIZE;
	if (SLOT + round16(len) >= ring_free(m, ring)) {
		r = waiter_queue(m, ring, m->domains[self].domid, len);
		return r < 0 ? r : -EAGAIN;
	}
	header.len = SLOT + len;
	header.source.aport = addr->src.aport;
	header.source.domain_id = m->domains[self].domid;
	header.message_type = (uint32_t)type;
	r = message_put(m, ring, &header, iov, n);
	if (r < 0)
		return r;
	signal_argo(m, target);
	return (long)len;
}

static void entry_answer(struct model *m, uint32_t self, xen_argo_ring_data_ent_t *e)
{
	uint32_t target = model_find(m, e->ring.domain_id), space;
	uint16_t domid = m->domains[self].domid;
	struct m_ring *ring = NULL;

	e->flags = 0;
	if (target != MODEL_NONE && m->domains[target].argo)
		ring = ring_match(&m->domains[target], e->ring.aport, domid);
	if (!ring)
		return;
	e->flags = XEN_ARGO_RING_EXISTS;
	e->max_message_size = ring->len - 2 * SLOT;
	if (ring->partner == XEN_ARGO_DOMID_ANY)
		e->flags |= XEN_ARGO_RING_SHARED;
	space = model_ring_space(m, ring);
	if (e->space_required > e->max_message_size) {
		e->flags |= XEN_ARGO_RING_EMSGSIZE;
	} else if (space >= e->space_required) {
		waiters_drop_of(ring, domid);
		e->flags |= XEN_ARGO_RING_SUFFICIENT;
	} else if (waiter_queue(m, ring, domid, e->space_required) < 0) {
		e->flags |= XEN_ARGO_RING_EBUSY;
	}
	if (space == e->max_message_size)
		e->flags |= XEN_ARGO_RING_EMPTY;
}

long model_notify(struct model *m, uint32_t self, bool no_data, const uint32_t *nent,
	xen_argo_ring_data_ent_t *entries, const void *arg2, uint64_t arg3, uint64_t arg4)
{
	if (too_wide(arg3, arg4))
		return -EINVAL;
	if (m->no_argo)
		return -EOPNOTSUPP;
	if (arg2 || arg3 || arg4)
		return -EINVAL;
	if (!m->domains[self].argo)
		return -ENODEV;
	for (uint32_t i = 0; i < MODEL_RINGS; i++)
		if (m->domains[self].rings[i].used)
			waiters_wake(m, &m->domains[self].rings[i]);
	if (no_data)
		return 0;
	if (!nent)
		return -EFAULT;
	if (*nent > NOTIFY_MAX)
		return -EACCES;
	for (uint32_t i = 0; i < *nent; i++)
		entry_answer(m, self, &entries[i]);
	return 0;
}

/* Its own rings; the rings that others had for it; its places in wildcard rings' queues. */
void model_argo_destroy(struct model *m, uint32_t index)
{
	struct m_domain *dead = &m->domains[index];

	memset(dead->rings, 0, sizeof(dead->rings));
	dead->n_argo = 0;
	dead->argo = false;
	for (uint32_t i = 0; i < MODEL_DOMAINS; i++) {
		struct m_domain *d = &m->domains[i];

		for (uint32_t k = 0; d->life == M_ALIVE && k < MODEL_RINGS; k++) {
			if (!d->rings[k].used)
				continue;
			if (d->rings[k].partner == dead->domid) {
				d->rings[k] = (struct m_ring){0};
				d->n_argo--;
			} else {
				waiters_drop_of(&d->rings[k], dead->domid);
			}
		}
	}
}
