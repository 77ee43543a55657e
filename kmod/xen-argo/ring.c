// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file's ring: its memory, its life in Xen, its mapping. The one rule that nothing here may
 * break: a page that Xen has in a ring is that ring's and nothing else's. A ring is unregistered
 * before its pages are freed; where Xen does not say that it let go of the ring, they are never
 * freed.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <xen/page.h>

#include "compat.h"
#include "xen-argo.h"

/* Given out for aport 0, so that chosen ones stay clear. */
#define ANY_APORT_FIRST 0x80000000U
/* A domain has 128 rings: so many of them at most are in the way. */
#define ANY_APORT_TRIES 129

/* Xen has 128 at most; some may have vanished with their partners. All can be asked for at once. */
#define MAX_RINGS ARGO_MAX_NOTIFY

static DEFINE_MUTEX(rings_lock);
/* Under rings_lock. */
static LIST_HEAD(rings);
static unsigned int n_rings;
static u32 next_aport;
static bool ended;

static void ring_free(struct argo_ring *ring)
{
	if (ring->leaked) {
		/* The charges stay as well. */
		pr_err("%u pages of ring %u for domain %u are lost: Xen did not let go of them\n",
		       ring->n_pages, ring->aport, ring->partner);
		return;
	}
	for (unsigned int i = 0; ring->pages && i < ring->n_pages; i++)
		if (ring->pages[i])
			put_page(ring->pages[i]);
	argo_pages_uncharge(ring->file->user, ring->n_pages);
	argo_ring_uncharge(ring->file->user);
	kvfree(ring->pages);
	kfree(ring);
}

static int ring_fill(struct argo_ring *ring, unsigned int n)
{
	int err = argo_pages_charge(ring->file->user, n);

	if (err)
		return err;
	ring->n_pages = n;
	ring->pages = kvcalloc(n, sizeof(*ring->pages), GFP_KERNEL_ACCOUNT);
	for (unsigned int i = 0; ring->pages && i < n; i++) {
		/* Rather none than another process's end. */
		ring->pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN |
					    __GFP_RETRY_MAYFAIL);
		if (!ring->pages[i])
			return -ENOMEM;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return ring->pages ? 0 : -ENOMEM;
}

static struct argo_ring *ring_new(struct argo_file *file, u32 len, u16 partner)
{
	struct argo_ring *ring;
	int err = argo_ring_charge(file->user);

	if (err)
		return ERR_PTR(err);
	ring = kzalloc(sizeof(*ring), GFP_KERNEL_ACCOUNT);
	if (!ring) {
		argo_ring_uncharge(file->user);
		return ERR_PTR(-ENOMEM);
	}
	ring->file = file;
	ring->len = len;
	ring->partner = partner;
	err = ring_fill(ring, DIV_ROUND_UP(len + sizeof(struct argo_ring_header), PAGE_SIZE));
	if (err) {
		ring_free(ring);
		return ERR_PTR(err);
	}
	ring->header = page_address(ring->pages[0]);
	return ring;
}

/* Xen's frames are of 4 KiB, whatever the kernel's pages are. */
static u64 *ring_gfns(const struct argo_ring *ring, unsigned int *ret_n)
{
	unsigned int n = DIV_ROUND_UP(ring->len + sizeof(struct argo_ring_header), XEN_PAGE_SIZE);
	u64 *gfns = kvmalloc_array(n, sizeof(*gfns), GFP_KERNEL);

	for (unsigned int i = 0; gfns && i < n; i++)
		gfns[i] = pfn_to_gfn(page_to_xen_pfn(ring->pages[i / XEN_PFN_PER_PAGE]) +
				     i % XEN_PFN_PER_PAGE);
	*ret_n = n;
	return gfns;
}

/* Tells Xen. An aport is chosen if none was asked for. */
static int ring_announce(struct argo_ring *ring, u32 aport, const u64 *gfns, unsigned int n_gfns)
{
	struct argo_register reg = {
		.aport = aport,
		.partner = ring->partner,
		.len = ring->len,
	};
	int err = -EEXIST;

	lockdep_assert_held(&rings_lock);
	for (unsigned int i = 0; err == -EEXIST && i < (aport ? 1 : ANY_APORT_TRIES); i++) {
		if (!aport)
			reg.aport = ANY_APORT_FIRST | next_aport++;
		err = argo_register_ring(&reg, gfns, n_gfns);
	}
	ring->aport = reg.aport;
	return err;
}

/*
 * Xen's log of dirty pages does not have the pages that Xen wrote to: a domain that migrates while
 * it runs would take along their old contents. So the driver writes to each page, without a change,
 * when Xen writes there no more and before the last round of copying.
 */
static void ring_dirty(struct argo_ring *ring)
{
	for (unsigned int i = 0; i < ring->n_pages; i++)
		for (unsigned int at = 0; at < PAGE_SIZE; at += XEN_PAGE_SIZE)
			atomic_add(0, (atomic_t *)(page_address(ring->pages[i]) + at));
}

static void ring_end(struct argo_ring *ring)
{
	lockdep_assert_held(&rings_lock);
	WRITE_ONCE(ring->dead, true);
	list_del(&ring->link);
	n_rings--;
	argo_wait_changed(ring->file);
}

/* Xen lets go of the ring, or has already. */
static void ring_unregister(struct argo_ring *ring)
{
	struct argo_unregister unreg = {
		.aport = ring->aport,
		.partner = ring->partner,
	};
	int err = argo_unregister_ring(&unreg);

	/* ENOENT: the partner died, and Xen took its rings away. */
	if (err && err != -ENOENT)
		ring->leaked = true;
	ring_end(ring);
}

/*
 * Xen took the new ring, so it had none of that name any more: one that is in the list vanished
 * with an earlier domain of that domid. The old ring must not be unregistered any more, for that
 * would end the new one.
 */
static void ring_supersede(const struct argo_ring *new)
{
	struct argo_ring *ring, *next;

	list_for_each_entry_safe(ring, next, &rings, link) {
		if (ring->aport != new->aport || ring->partner != new->partner)
			continue;
		ring_dirty(ring); /* it is in the list no more when the domain is suspended */
		ring_end(ring);
	}
}

static int ring_register(struct argo_file *file, struct argo_ring *ring, u32 aport)
{
	unsigned int n_gfns;
	u64 *gfns = ring_gfns(ring, &n_gfns);
	int err;

	if (!gfns)
		return -ENOMEM;
	mutex_lock(&rings_lock);
	if (ended)
		err = -ESHUTDOWN;
	else if (n_rings == MAX_RINGS)
		err = -ENOSPC;
	else
		err = ring_announce(ring, aport, gfns, n_gfns);
	if (!err) {
		ring_supersede(ring);
		list_add(&ring->link, &rings);
		n_rings++;
		/* Pairs with argo_ring_get: who sees the ring sees all of it. */
		smp_store_release(&file->ring, ring);
		argo_wait_changed(file);
	}
	mutex_unlock(&rings_lock);
	kvfree(gfns);
	return err;
}

int argo_ring_register(struct argo_file *file, struct argodev_register *reg)
{
	struct argo_ring *ring;
	int err;

	if (reg->flags || reg->pad)
		return -EINVAL;
	if (reg->len < ARGODEV_RING_LEN_MIN || reg->len > ARGODEV_RING_LEN_MAX || reg->len % 16)
		return -EINVAL;
	/* Nor with mac-permissive: a ring has one partner, whose word its source is. */
	if (reg->partner == ARGO_DOMID_ANY)
		return -EPERM;
	/* It is bound, unless that failed when the domain went on after a suspend. */
	if (argo_virq_bind())
		return -EIO;
	if (test_and_set_bit_lock(0, &file->registering))
		return -EBUSY;
	ring = ring_new(file, reg->len, reg->partner);
	if (IS_ERR(ring)) {
		err = PTR_ERR(ring);
		goto fail;
	}
	err = ring_register(file, ring, reg->aport);
	if (err) {
		ring_free(ring);
		goto fail;
	}
	reg->aport = ring->aport;
	return 0;
fail:
	clear_bit_unlock(0, &file->registering);
	return err;
}

int argo_ring_mmap(struct argo_file *file, struct vm_area_struct *vma)
{
	struct argo_ring *ring = argo_ring_alive(file);

	if (IS_ERR(ring))
		return PTR_ERR(ring);
	/*
	 * A private mapping would show its own copies of pages that Xen writes. (Of a file that is
	 * open for reading only, a shared mapping is not VM_SHARED.)
	 */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	/* Another domain's data is nobody's program. */
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;
	argo_vm_flags_clear(vma, VM_MAYEXEC);
	/* Each mapping holds the file, and so the ring. */
	return vm_map_pages(vma, ring->pages, ring->n_pages);
}

void argo_ring_release(struct argo_file *file)
{
	struct argo_ring *ring = file->ring;

	if (!ring)
		return;
	mutex_lock(&rings_lock);
	if (!ring->dead)
		ring_unregister(ring);
	mutex_unlock(&rings_lock);
	ring_free(ring);
}

void argo_rings_end(bool final)
{
	struct argo_ring *ring, *next;

	mutex_lock(&rings_lock);
	if (final)
		ended = true;
	list_for_each_entry_safe(ring, next, &rings, link) {
		ring_unregister(ring);
		ring_dirty(ring);
	}
	mutex_unlock(&rings_lock);
}
