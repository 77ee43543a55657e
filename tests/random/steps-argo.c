/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One Argo hypercall. */
#include "tests/random/random.h"

#include <errno.h>
#include <string.h>

#define BAD	    ((void *)16)
#define N_APORTS    6U
#define MESSAGE_MAX ((16U << 20) - 32U)
#define WIDE	    (1UL << 32)

/* ---- register, unregister ----------------------------------------------------------------- */

/* The arguments: NULL and arguments that do not fit are the caller's to spoil. */
struct reg_call {
	uint32_t self;
	xen_argo_register_ring_t reg;
	bool no_reg, no_gfns;
	uint64_t n, flags;
	xen_argo_gfn_t gfns[MODEL_RING_PAGES];
};

static void register_call(struct run *run, const struct reg_call *c)
{
	xen_argo_register_ring_t *reg = (xen_argo_register_ring_t *)(void *)run->arg1;
	long predicted;

	*reg = c->reg;
	memcpy(run->arg2, c->gfns, sizeof(c->gfns));
	CALL(run, OP_REGISTER, c->self, c->no_reg ? 0 : reg->aport, reg->partner_id, reg->len, c->n,
		c->flags, c->no_gfns ? 0 : c->gfns[0]);
	predicted = model_register(run->m, c->self, c->no_reg ? NULL : reg,
		c->no_gfns ? NULL : c->gfns, c->n, c->flags);
	call_end(run, predicted,
		argo_op(run->xen, run->m->domains[c->self].domid, XEN_ARGO_OP_register_ring,
			c->no_reg ? BAD : reg, c->no_gfns ? BAD : run->arg2, c->n, c->flags));
}

void do_register(struct run *run, uint32_t self, uint32_t aport, uint16_t partner, uint32_t len,
	const xen_argo_gfn_t *gfns, uint32_t n, uint32_t flags)
{
	struct reg_call c = {.self = self,
		.reg = {.aport = aport, .partner_id = partner, .len = len},
		.n = n,
		.flags = flags};

	memcpy(c.gfns, gfns, n * sizeof(gfns[0]));
	register_call(run, &c);
}

void do_unregister(struct run *run, uint32_t self, uint32_t aport, uint16_t partner)
{
	xen_argo_unregister_ring_t *u = (xen_argo_unregister_ring_t *)(void *)run->arg1;
	long predicted;

	*u = (xen_argo_unregister_ring_t){.aport = aport, .partner_id = partner};
	CALL(run, OP_UNREGISTER, self, aport, partner);
	predicted = model_unregister(run->m, self, u, NULL, 0, 0);
	call_end(run, predicted,
		argo_op(run->xen, run->m->domains[self].domid, XEN_ARGO_OP_unregister_ring, u, NULL,
			0, 0));
}

static bool frame_is_a_rings(const struct m_domain *d, uint32_t gfn)
{
	for (uint32_t i = 0; i < MODEL_RINGS; i++)
		for (uint32_t k = 0; d->rings[i].used && k < d->rings[i].n_pages; k++)
			if (d->rings[i].gfns[k] == gfn)
				return true;
	return false;
}

/* Pages of its own that no ring has; any, where it has none left. */
static bool frames_pick(struct run *run, uint32_t self, xen_argo_gfn_t *gfns, uint32_t n)
{
	const struct m_domain *d = &run->m->domains[self];
	uint32_t from = pick(run, d->n_pages), found = 0;

	for (uint32_t i = 0; i < d->n_pages && found < n; i++)
		if (!frame_is_a_rings(d, d->pages[(from + i) % d->n_pages]))
			gfns[found++] = d->pages[(from + i) % d->n_pages];
	if (found < n && chance(run, 900))
		return false;
	while (found < n)
		gfns[found++] = d->pages[pick(run, d->n_pages)];
	return true;
}

static uint32_t len_of_pages(struct run *run, uint32_t n)
{
	uint32_t max = n * MODEL_PAGE_SIZE - 64;
	uint32_t min = n == 1 ? 48 : max - MODEL_PAGE_SIZE + 16;

	if (chance(run, 400))
		return max;
	if (n == 1 && chance(run, 500))
		max = 512;
	return (min + pick(run, max - min + 1)) & ~15U;
}

static void register_spoil_request(struct run *run, struct reg_call *c)
{
	switch (pick(run, 9)) {
	case 0:
		c->reg.len = chance(run, 500) ? 32 : c->reg.len + 8;
		break;
	case 1:
		c->reg.len = chance(run, 500) ? (16U << 20) + 16 : (uint32_t)draw(run);
		break;
	case 2:
		c->n = chance(run, 500) ? 4097 : chance(run, 500) ? 16 : 0;
		break;
	case 3:
		c->reg.pad = (uint16_t)(1 + pick(run, 65535));
		break;
	case 4:
		c->n += chance(run, 500) ? WIDE : 1;
		break;
	case 5:
		c->flags |= chance(run, 500) ? WIDE : 2U << pick(run, 31);
		break;
	case 6:
		c->no_gfns = true;
		break;
	case 7:
		c->no_reg = true;
		break;
	default:
		c->no_gfns = c->no_reg = true;
		c->flags |= 2;
	}
}

static void register_spoil_world(struct run *run, struct reg_call *c)
{
	uint32_t off = some_argo(run, false), other = some_live(run), zombie = some_zombie(run);

	switch (pick(run, 8)) {
	case 0:
		c->reg.partner_id = chance(run, 500) ? DOMID_SELF : some_bad_domid(run);
		break;
	case 1:
		c->self = off == MODEL_NONE ? c->self : off;
		break;
	case 2:
		if (off != MODEL_NONE)
			c->reg.partner_id = run->m->domains[off].domid;
		break;
	case 3:
		if (zombie != MODEL_NONE)
			c->reg.partner_id = run->m->domains[zombie].domid;
		break;
	case 4: /* somebody else's, no page, none of this machine */
		c->gfns[pick(run, (uint32_t)c->n)] = chance(run, 500)
							     ? run->m->domains[other].pages[0]
						     : chance(run, 500) ? 0
									: 65536 + draw(run);
		break;
	case 5:
	case 6:
		c->reg.partner_id = XEN_ARGO_DOMID_ANY;
		run->m->mac_permissive = false;
		break;
	default:
		run->m->no_argo = true;
	}
}

/* One that is there: again, with another length, with frames that are not its own. */
static void register_again(struct run *run, struct reg_call *c)
{
	const struct m_ring *ring = some_ring(run, &c->self);

	if (!ring)
		return;
	c->reg = (xen_argo_register_ring_t){
		.aport = ring->aport, .partner_id = ring->partner, .len = ring->len};
	c->n = ring->n_pages;
	c->flags = chance(run, 500) ? 0 : XEN_ARGO_REGISTER_FLAG_FAIL_EXIST;
	for (uint32_t i = 0; i < ring->n_pages; i++)
		c->gfns[i] = ring->gfns[i];
	if (chance(run, 300) && ring->len > 64 && ring->len % 4096 != 4048)
		c->reg.len -= 16;
	else if (chance(run, 100))
		c->gfns[0] = 0;
}

static void switches_set(struct run *run, bool on)
{
	if (!on) {
		run->xen->seg->argo_mac_permissive = run->m->mac_permissive;
		run->xen->seg->argo_off = run->m->no_argo;
		return;
	}
	run->m->mac_permissive = true;
	run->m->no_argo = false;
	run->xen->seg->argo_mac_permissive = 1;
	run->xen->seg->argo_off = 0;
}

static void unregister_some(struct run *run)
{
	uint32_t self;
	const struct m_ring *ring = some_ring(run, &self);

	if (ring)
		do_unregister(run, self, ring->aport, ring->partner);
	else
		do_unregister(run, some_live(run), 1, some_domid(run));
}

/* Of rx_ptr and tx_ptr: what is no offset in the ring, is not aligned, or wraps when rounded up. */
uint32_t hostile_index(struct run *run, uint32_t len, uint32_t near)
{
	const uint32_t odd[] = {0, 1, 15, 16, len - 16, len - 15, len - 1, len, len + 1, len + 16,
		near, near + 1, near + 15, near + 16, near - 1, near - 16, 1U << 31, UINT32_MAX,
		UINT32_MAX - 14, UINT32_MAX - 15, UINT32_MAX - 16};
	uint32_t i = pick(run, sizeof(odd) / sizeof(odd[0]) + 2);

	return i < sizeof(odd) / sizeof(odd[0]) ? odd[i] : (uint32_t)draw(run);
}

static void step_register(struct run *run)
{
	uint32_t n = chance(run, 700) ? 1 : 2 + pick(run, 2);
	struct reg_call c = {.self = some_argo(run, true), .n = n};

	c.reg = (xen_argo_register_ring_t){.aport = 1 + pick(run, N_APORTS),
		.partner_id = run->m->domains[some_argo(run, true)].domid,
		.len = len_of_pages(run, n)};
	c.flags = chance(run, 500) ? XEN_ARGO_REGISTER_FLAG_FAIL_EXIST : 0;
	if (chance(run, 60))
		c.reg.partner_id = XEN_ARGO_DOMID_ANY;
	if (!frames_pick(run, c.self, c.gfns, n)) {
		unregister_some(run);
		return;
	}
	if (chance(run, 100))
		register_again(run, &c);
	else if (chance(run, 120))
		register_spoil_request(run, &c);
	else if (chance(run, 120))
		register_spoil_world(run, &c);
	if (chance(run, 150) && model_page_is(run->m, c.self, c.gfns[0])) /* from an older life */
		for (uint32_t word = 0; word < 2; word++)
			guest_word(run, (uint32_t)c.gfns[0], 4 * word,
				hostile_index(run, c.reg.len, pick(run, c.reg.len)));
	switches_set(run, false);
	register_call(run, &c);
	switches_set(run, true);
}

static void step_unregister_odd(struct run *run)
{
	xen_argo_unregister_ring_t *u = (xen_argo_unregister_ring_t *)(void *)run->arg1;
	uint32_t self = some_live(run), off = some_argo(run, false), what = pick(run, 7);
	uint64_t arg3 = what == 0 ? 1 : 0, arg4 = what == 1 ? chance(run, 500) ? WIDE : 7 : 0;
	void *arg2 = what == 2 ? run->arg2 : NULL;
	bool none = what == 3;
	long predicted;

	*u = (xen_argo_unregister_ring_t){
		.aport = 1000 + pick(run, 10), .partner_id = some_domid(run), .pad = what == 4};
	if (what == 5 && off != MODEL_NONE)
		self = off;
	CALL(run, OP_UNREGISTER, self, none ? 16 : u->aport, u->partner_id, arg3, arg4);
	predicted = model_unregister(run->m, self, none ? NULL : u, arg2, arg3, arg4);
	call_end(run, predicted,
		argo_op(run->xen, run->m->domains[self].domid, XEN_ARGO_OP_unregister_ring,
			none ? BAD : u, arg2, arg3, arg4));
}

/* ---- sendv -------------------------------------------------------------------------------- */

struct send_call {
	uint32_t self;
	xen_argo_send_addr_t addr;
	bool no_addr, no_iov;
	uint64_t n, type;
	struct m_iov iov[XEN_ARGO_MAXIOV + 1];
};

/* An error that Xen returns as an unsigned int: all that it finds once it knows both domains. */
static bool send_is_late(const struct send_call *c, long error)
{
	return error < 0 && !c->no_addr && (!c->no_iov || c->n == 0) && c->n <= XEN_ARGO_MAXIOV &&
	       c->type <= UINT32_MAX && !c->addr.src.pad && !c->addr.dst.pad && error != -EPERM &&
	       error != -ESRCH && error != -EOPNOTSUPP;
}

static void send_call(struct run *run, const struct send_call *c)
{
	xen_argo_send_addr_t *addr = (xen_argo_send_addr_t *)(void *)run->arg1;
	xen_argo_iov_t *iov = (xen_argo_iov_t *)(void *)run->arg2;
	uint32_t len = 0;
	long predicted, actual;

	*addr = c->addr;
	for (uint64_t i = 0; i < c->n && i <= XEN_ARGO_MAXIOV; i++) {
		iov[i] = (xen_argo_iov_t){.iov_len = c->iov[i].len, .pad = c->iov[i].pad};
		set_xen_guest_handle(iov[i].iov_hnd,
			c->iov[i].data ? (uint8_t *)(uintptr_t)c->iov[i].data : (uint8_t *)BAD);
		len += c->iov[i].len;
	}
	CALL(run, OP_SENDV, c->self, c->addr.dst.domain_id, c->addr.dst.aport, c->n, len, c->type,
		c->addr.src.domain_id);
	predicted = model_sendv(run->m, c->self, c->no_addr ? NULL : addr,
		c->no_iov ? NULL : c->iov, c->n, c->type);
	actual = argo_op(run->xen, run->m->domains[c->self].domid, XEN_ARGO_OP_sendv,
		c->no_addr ? BAD : addr, c->no_iov ? BAD : iov, c->n, c->type);
	call_end(run, predicted,
		send_is_late(c, predicted) && actual == (uint32_t)predicted ? predicted : actual);
}

static struct m_iov some_data(struct run *run, uint32_t len)
{
	return (struct m_iov){.data = run->data + pick(run, DATA_LEN - len + 1), .len = len};
}

void do_send(struct run *run, uint32_t self, uint16_t to, uint32_t aport, uint32_t len)
{
	struct send_call c = {.self = self, .n = 1, .type = draw(run) & UINT32_MAX};

	c.addr.src.aport = pick(run, 100);
	c.addr.src.domain_id = run->m->domains[self].domid;
	c.addr.dst.aport = aport;
	c.addr.dst.domain_id = to;
	c.iov[0] = some_data(run, len);
	send_call(run, &c);
}

static void send_spoil_request(struct run *run, struct send_call *c)
{
	uint32_t i = c->n ? pick(run, (uint32_t)c->n) : 0;

	switch (pick(run, 12)) {
	case 0:
		c->no_addr = true;
		break;
	case 1:
		c->n = chance(run, 500) ? 9 : 1000;
		c->no_iov = chance(run, 500); /* the number comes first */
		break;
	case 2:
		c->no_iov = true;
		break;
	case 3:
		c->addr.src.pad = 1;
		break;
	case 4:
		c->addr.dst.pad = (uint16_t)draw(run);
		break;
	case 5:
		c->addr.src.domain_id = some_domid(run);
		break;
	case 6:
		c->iov[i].pad = 1;
		break;
	case 7:
		c->iov[i].len = MESSAGE_MAX + 1;
		break;
	case 8:
		c->n = 2;
		c->iov[0] = c->iov[1] = some_data(run, 16);
		c->iov[0].len = MESSAGE_MAX;
		break;
	case 9:
	case 10:
		c->iov[i].data = NULL;
		break;
	default:
		if (chance(run, 500))
			c->n += WIDE;
		else
			c->type += WIDE;
	}
}

static void send_spoil_world(struct run *run, struct send_call *c)
{
	uint32_t off = some_argo(run, false), zombie = some_zombie(run);

	switch (pick(run, 6)) {
	case 0:
		c->addr.dst.domain_id = chance(run, 300) ? DOMID_SELF : some_bad_domid(run);
		break;
	case 1:
		if (off != MODEL_NONE) {
			c->self = off;
			c->addr.src.domain_id = run->m->domains[off].domid;
		}
		break;
	case 2:
		if (off != MODEL_NONE)
			c->addr.dst.domain_id = run->m->domains[off].domid;
		break;
	case 3:
		if (zombie != MODEL_NONE)
			c->addr.dst.domain_id = run->m->domains[zombie].domid;
		break;
	case 4:
		c->addr.dst.aport += 1000;
		break;
	default:
		run->m->no_argo = true;
	}
}

static uint32_t len_for(struct run *run, const struct m_ring *ring)
{
	uint32_t space = model_ring_space(run->m, ring);

	if (chance(run, 60))
		return 0;
	if (chance(run, 40)) /* around what fits just so */
		return space + 8 > 16 ? space - 8 + pick(run, 24) : space;
	if (chance(run, 30))
		return ring->len - 32 + pick(run, 64);
	if (chance(run, 30))
		return pick(run, ring->len);
	return pick(run, (chance(run, 700) && space > 256 ? 256 : space) + 1);
}

static void step_sendv(struct run *run)
{
	struct send_call c = {.self = some_argo(run, true), .type = draw(run) & UINT32_MAX};
	uint32_t target, len = 0, left;
	struct m_ring *ring = some_ring(run, &target);

	c.addr.dst.aport = 1;
	c.addr.dst.domain_id = some_domid(run);
	if (ring) {
		if (model_ring_space(run->m, ring) < 64 && chance(run, 800))
			guest_consumes(run, target, ring);
		if (ring->partner != XEN_ARGO_DOMID_ANY)
			c.self = model_find(run->m, ring->partner);
		c.addr.dst.aport = ring->aport;
		c.addr.dst.domain_id = run->m->domains[target].domid;
		len = len_for(run, ring);
	}
	c.addr.src.aport = pick(run, 1000);
	c.addr.src.domain_id =
		chance(run, 100) ? XEN_ARGO_DOMID_ANY : run->m->domains[c.self].domid;
	c.n = chance(run, 700) ? 1 : pick(run, XEN_ARGO_MAXIOV + 1);
	left = c.n ? len : 0;
	for (uint64_t i = 0; i < c.n; i++) {
		uint32_t part = i + 1 == c.n ? left : pick(run, left + 1);

		c.iov[i] = some_data(run, part);
		left -= part;
	}
	if (chance(run, 60))
		send_spoil_request(run, &c);
	else if (chance(run, 40))
		send_spoil_world(run, &c);
	switches_set(run, false);
	send_call(run, &c);
	switches_set(run, true);
}

/* ---- notify ------------------------------------------------------------------------------- */

struct notify_call {
	uint32_t self;
	bool no_data, bad_data;
	void *arg2;
	uint64_t arg3, arg4;
	uint32_t nent;
	xen_argo_ring_data_ent_t entries[8];
};

static void count_flags(struct run *run, uint16_t flags)
{
	uint64_t *by = run->counts->by[OP_NOTIFY_ENTRY];

	for (uint32_t i = 0; i < 6; i++)
		by[CODE_FLAG + i] += flags >> i & 1;
	by[0] += flags == 0;
	by[CODE_QUEUED] += flags && !(flags & (XEN_ARGO_RING_SUFFICIENT | XEN_ARGO_RING_EMSGSIZE |
						      XEN_ARGO_RING_EBUSY));
}

static void notify_call(struct run *run, struct notify_call *c)
{
	xen_argo_ring_data_t *data = (xen_argo_ring_data_t *)(void *)run->arg1;
	void *arg1 = c->no_data ? NULL : c->bad_data ? BAD : data;
	long predicted, actual;

	data->nent = c->nent;
	data->pad = 0;
	memcpy(data->data, c->entries, sizeof(c->entries));
	CALL(run, OP_NOTIFY, c->self, c->no_data ? 0 : c->nent, c->entries[0].ring.domain_id,
		c->entries[0].ring.aport, c->entries[0].space_required, c->arg3, c->arg4);
	predicted = model_notify(run->m, c->self, c->no_data, c->bad_data ? NULL : &c->nent,
		c->entries, c->arg2, c->arg3, c->arg4);
	actual = argo_op(run->xen, run->m->domains[c->self].domid, XEN_ARGO_OP_notify, arg1,
		c->arg2, c->arg3, c->arg4);
	if (predicted == 0 && actual == 0 && arg1)
		for (uint32_t i = 0; i < c->nent; i++) {
			if (memcmp(&data->data[i], &c->entries[i], sizeof(c->entries[i])) != 0)
				fail(run, "entry %u: flags %x, %u; not %x, %u", i,
					data->data[i].flags, data->data[i].max_message_size,
					c->entries[i].flags, c->entries[i].max_message_size);
			count_flags(run, c->entries[i].flags);
		}
	call_end(run, predicted, actual);
}

void do_notify_one(struct run *run, uint32_t self, uint16_t to, uint32_t aport, uint32_t space)
{
	struct notify_call c = {.self = self, .nent = 1};

	c.entries[0].ring.domain_id = to;
	c.entries[0].ring.aport = aport;
	c.entries[0].space_required = space;
	notify_call(run, &c);
}

static void notify_ask(struct run *run, struct notify_call *c)
{
	for (uint32_t i = 0; i < c->nent; i++) {
		xen_argo_ring_data_ent_t *e = &c->entries[i];
		uint32_t target;
		const struct m_ring *ring = some_ring(run, &target);

		*e = (xen_argo_ring_data_ent_t){
			.space_required = pick(run, 6000), .max_message_size = (uint32_t)draw(run)};
		e->ring.domain_id = chance(run, 500) ? some_bad_domid(run) : some_domid(run);
		e->ring.aport = 1 + pick(run, N_APORTS);
		if (!ring || chance(run, 80))
			continue;
		if (i == 0 && ring->partner != XEN_ARGO_DOMID_ANY)
			c->self = model_find(run->m, ring->partner);
		e->ring.domain_id = run->m->domains[target].domid;
		e->ring.aport = ring->aport;
		if (chance(run, 600))
			e->space_required = len_for(run, ring);
	}
}

static void step_notify(struct run *run)
{
	struct notify_call c = {.self = some_argo(run, true), .no_data = chance(run, 400)};
	uint32_t off = some_argo(run, false);

	c.nent = 1 + pick(run, chance(run, 800) ? 2 : 8);
	notify_ask(run, &c);
	if (chance(run, 100))
		switch (pick(run, 6)) {
		case 0:
			c.nent = 257 + pick(run, 10);
			break;
		case 1:
			c.bad_data = true;
			c.no_data = false;
			break;
		case 2:
			c.arg2 = run->arg2;
			break;
		case 3:
			c.arg3 = chance(run, 500) ? 1 : WIDE;
			break;
		case 4:
			c.self = off == MODEL_NONE ? c.self : off;
			break;
		default:
			run->m->no_argo = true;
		}
	switches_set(run, false);
	notify_call(run, &c);
	switches_set(run, true);
}

static void step_argo_odd(struct run *run)
{
	uint32_t self = some_live(run);
	uint32_t cmd = chance(run, 500) ? 0 : 5 + pick(run, 1000);

	CALL(run, OP_ARGO_OTHER, self, cmd);
	call_end(run, -EOPNOTSUPP,
		argo_op(run->xen, run->m->domains[self].domid, cmd, run->arg1, run->arg2, 0, 0));
}

void step_argo(struct run *run)
{
	uint32_t what = pick(run, 100);

	if (what < 16)
		step_register(run);
	else if (what < 26)
		unregister_some(run);
	else if (what < 28)
		step_unregister_odd(run);
	else if (what < 82)
		step_sendv(run);
	else if (what < 99)
		step_notify(run);
	else
		step_argo_odd(run);
}
