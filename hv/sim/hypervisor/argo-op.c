/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The Argo hypercall (xen/common/argo.c). A send takes the lock of the destination's domain, and
 * every lock only where the sender has to wait for room; the other operations take every lock.
 */
#include <errno.h>

#include "hv/sim/hypervisor/access.h"
#include "hv/sim/hypervisor/argo.h"
#include "hv/sim/hypervisor/fault.h"
#include "hv/sim/hypervisor/hypercall.h"
#include "hv/sim/hypervisor/transaction.h"

#define MAX_NOTIFY 256U /* MAX_NOTIFY_COUNT */

bool argo_begin_sendv(struct xen *xen, uint16_t destination, struct xen *ret_txn)
{
	uint32_t target = sim_domain_find(xen, destination);

	/* In deterministic mode a refusal makes a waiter, for which every lock is needed. */
	if (target == DOMAIN_NONE || xen->choices)
		return false;
	txn_begin_domain(xen, target, ret_txn);
	if (sim_domain_find(ret_txn, destination) == target)
		return true;
	txn_abort(ret_txn); /* it is gone */
	return false;
}

/* fill_ring_data */
static void ring_data_fill(struct xen *xen, uint32_t domain, xen_argo_ring_data_ent_t *ent)
{
	uint32_t target = sim_domain_find(xen, ent->ring.domain_id), space;
	uint16_t self = domain_at(xen, domain)->domid;
	struct sim_ring *ring;

	ent->flags = 0;
	if (target == DOMAIN_NONE || !domain_has_argo(domain_at(xen, target)))
		return;
	ring = argo_match(xen, target, ent->ring.aport, self, NULL);
	if (!ring)
		return;
	ent->flags |= XEN_ARGO_RING_EXISTS;
	ent->max_message_size = ring->len - 16 - 16;
	if (ring->partner == XEN_ARGO_DOMID_ANY)
		ent->flags |= XEN_ARGO_RING_SHARED;
	space = argo_payload_space(xen, ring);
	if (ent->space_required > ent->max_message_size) {
		ent->flags |= XEN_ARGO_RING_EMSGSIZE;
	} else if (space >= ent->space_required) {
		argo_waiter_cancel_locked(xen, ring, self);
		ent->flags |= XEN_ARGO_RING_SUFFICIENT;
	} else if (argo_requeue_locked(xen, ring, self, ent->space_required) == -EBUSY) {
		ent->flags |= XEN_ARGO_RING_EBUSY;
	}
	if (space == ent->max_message_size)
		ent->flags |= XEN_ARGO_RING_EMPTY;
}

/* notify: the caller's own rings first, then answers, entry by entry. */
static long notify(struct xen *xen, uint32_t domain, xen_argo_ring_data_t *data)
{
	xen_argo_ring_data_ent_t ent;
	xen_argo_ring_data_t head;

	if (!domain_has_argo(domain_at(xen, domain)))
		return -ENODEV;
	argo_check_waiters_locked(xen, domain);
	if (!data)
		return 0;
	if (guest_read(xen, &head, data, sizeof(head), false) < 0)
		return -EFAULT;
	if (head.nent > MAX_NOTIFY)
		return -EACCES;
	for (uint32_t i = 0; i < head.nent; i++) {
		if (guest_read(xen, &ent, &data->data[i], sizeof(ent), false) < 0)
			return -EFAULT;
		ring_data_fill(xen, domain, &ent);
		if (guest_write(xen, &data->data[i].flags, &ent.flags, sizeof(ent.flags)) < 0 ||
			guest_write(xen, &data->data[i].max_message_size, &ent.max_message_size,
				sizeof(ent.max_message_size)) < 0)
			return -EFAULT;
	}
	return 0;
}

static long op_register(struct xen *xen, uint32_t domain, const void *arg1, const void *arg2,
	uint32_t n_pages, uint32_t flags, bool *ret_commit)
{
	/* Not the thread's: programs could not load libmsg by dlopen, for it would be too large. */
	xen_argo_gfn_t gfns[SIM_RING_LEN_MAX / HV_PAGE_SIZE];
	xen_argo_register_ring_t reg;
	struct ring_request req;

	if (n_pages > SIM_RING_LEN_MAX / HV_PAGE_SIZE)
		return -EINVAL;
	if (guest_read(xen, gfns, arg2, n_pages * sizeof(gfns[0]), false) < 0)
		return -EFAULT;
	if (flags & ~XEN_ARGO_REGISTER_FLAG_FAIL_EXIST)
		return -EINVAL;
	if (guest_read(xen, &reg, arg1, sizeof(reg), false) < 0)
		return -EFAULT;
	if (reg.pad)
		return -EINVAL;
	req = (struct ring_request){.aport = reg.aport,
		.partner = reg.partner_id,
		.len = reg.len,
		.n_pages = n_pages,
		.gfns = gfns,
		.flags = flags};
	return argo_register_locked(xen, domain, &req, NULL, ret_commit);
}

static long op_unregister(struct xen *xen, uint32_t domain, const void *arg1, const void *arg2,
	uint32_t arg3, uint32_t arg4)
{
	xen_argo_unregister_ring_t unreg;

	if (arg2 || arg3 || arg4)
		return -EINVAL;
	if (guest_read(xen, &unreg, arg1, sizeof(unreg), false) < 0)
		return -EFAULT;
	if (unreg.pad)
		return -EINVAL;
	return argo_unregister_locked(xen, domain, unreg.aport, unreg.partner_id);
}

/* A transaction of its own; under every lock only where the sender has to wait for room. */
static long op_sendv(struct xen *xen, uint16_t domid, const void *arg1, const void *arg2,
	uint32_t n_iov, uint32_t type)
{
	xen_argo_iov_t iov[XEN_ARGO_MAXIOV];
	xen_argo_send_addr_t addr;
	uint32_t domain = sim_domain_find(xen, domid);
	struct xen txn;
	int r = -EAGAIN;

	if (domain == DOMAIN_NONE)
		return -ESRCH;
	if (guest_read(xen, &addr, arg1, sizeof(addr), false) < 0)
		return -EFAULT;
	if (n_iov > XEN_ARGO_MAXIOV)
		return -EINVAL;
	if (guest_read(xen, iov, arg2, n_iov * sizeof(iov[0]), false) < 0)
		return -EFAULT;
	if (argo_begin_sendv(xen, addr.dst.domain_id, &txn)) {
		r = -ESRCH;
		if (sim_domain_find(&txn, domid) == domain)
			r = argo_sendv_now_locked(&txn, domain, &addr, iov, n_iov, type, false);
		txn_commit(&txn);
	}
	if (r == -EAGAIN) {
		txn_begin(xen);
		r = -ESRCH;
		if (sim_domain_find(xen, domid) == domain)
			r = argo_sendv_locked(xen, domain, &addr, iov, n_iov, type, false);
		txn_commit(xen);
	}
	/*
	 * Xen's sendv ends with `ret < 0 ? ret : len`, whose type is that of len: what fails once
	 * both domains are known reaches its caller as a large positive number.
	 */
	if (r < 0 && !addr.src.pad && !addr.dst.pad && r != -EPERM && r != -ESRCH)
		return (long)(uint32_t)r;
	return r;
}

/*
 * do_argo_op. The arguments are read under the locks, which is no loss for what tests call; the
 * guest kernel goes to the *_locked functions with what it has read itself.
 */
static long argo_do(struct xen *xen, uint16_t domid, unsigned int cmd, void *arg1, void *arg2,
	unsigned long arg3, unsigned long arg4)
{
	uint32_t domain;
	bool commit = true;
	long r;

	if (arg3 > UINT32_MAX || arg4 > UINT32_MAX)
		return -EINVAL;
	if (xen->seg->argo_off)
		return -EOPNOTSUPP;
	if (cmd == XEN_ARGO_OP_sendv)
		return op_sendv(xen, domid, arg1, arg2, (uint32_t)arg3, (uint32_t)arg4);
	txn_begin(xen);
	domain = sim_domain_find(xen, domid);
	if (domain == DOMAIN_NONE)
		r = -ESRCH;
	else if (cmd == XEN_ARGO_OP_register_ring)
		r = op_register(xen, domain, arg1, arg2, (uint32_t)arg3, (uint32_t)arg4, &commit);
	else if (cmd == XEN_ARGO_OP_unregister_ring)
		r = op_unregister(xen, domain, arg1, arg2, (uint32_t)arg3, (uint32_t)arg4);
	else if (cmd == XEN_ARGO_OP_notify)
		r = arg2 || arg3 || arg4 ? -EINVAL : notify(xen, domain, arg1);
	else
		r = -EOPNOTSUPP;
	if (r < 0 && !commit)
		txn_abort(xen);
	else
		txn_commit(xen);
	return r;
}

long argo_op(struct xen *xen, uint16_t domid, unsigned int cmd, void *arg1, void *arg2,
	unsigned long arg3, unsigned long arg4)
{
	hypercall_enter(xen);
	return hypercall_leave(
		xen, domid, "argo_op", cmd, argo_do(xen, domid, cmd, arg1, arg2, arg3, arg4));
}
