/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the driver's files.
 *
 * Locks: a mutex in ring.c orders registering, unregistering and ending rings; within it, a
 * spinlock in wait.c orders waiters and the interrupt. A file's ring is published once, and freed
 * by release alone, when no call on the file is left: so sending takes no lock at all.
 */
#ifndef XEN_ARGO_H
#define XEN_ARGO_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/poll.h>
#include <linux/types.h>
#include <linux/wait.h>

#include <xen/argodev.h>

#include "hypercall.h"

struct argo_file;

/* Owned by its file. */
struct argo_ring {
	struct argo_file *file;
	struct list_head link; /* of all that are alive; under the lock in ring.c */
	u32 aport;
	u32 len;
	u16 partner;
	bool dead; /* set once, under that lock: Xen does not have the ring any more */
	bool leaked; /* Xen may still have it: its pages must never be anything else */
	unsigned int n_pages;
	struct page **pages;
	struct argo_ring_header *header; /* in the first page */
};

#define ARGO_PEER_SET BIT_ULL(32)

struct argo_file {
	struct argo_ring *ring; /* NULL before ARGODEV_REGISTER; published with release */
	unsigned long registering; /* bit 0: ARGODEV_REGISTER was begun */
	atomic64_t peer; /* ARGO_PEER_SET and the aport, or 0 */

	/* wait.c */
	wait_queue_head_t queue;
	struct list_head armed; /* empty: the interrupt does not look at this file */
	__poll_t wanted; /* armed waits for these events */
	atomic_t blocked; /* 1 + length of the message that found no room, or 0 */

	atomic64_t n_sent, n_sent_bytes, n_hypercalls, n_full, n_bounced;
};

static inline struct argo_ring *argo_ring_get(struct argo_file *file)
{
	/* Pairs with ring_register: what is in the ring is seen as well. */
	return smp_load_acquire(&file->ring);
}

/* The ring, if there is one and it is alive; else an ERR_PTR. */
static inline struct argo_ring *argo_ring_alive(struct argo_file *file)
{
	struct argo_ring *ring = argo_ring_get(file);

	if (!ring)
		return ERR_PTR(-ENOTCONN);
	return READ_ONCE(ring->dead) ? ERR_PTR(-ESTALE) : ring;
}

/* ring.c */
void argo_rings_init(void);
int argo_pages_charge(unsigned long n);
void argo_pages_uncharge(unsigned long n);
unsigned long argo_pages_charged(void);
int argo_ring_register(struct argo_file *file, struct argodev_register *reg);
int argo_ring_mmap(struct argo_file *file, struct vm_area_struct *vma);
void argo_ring_release(struct argo_file *file);
/* Ends all rings; final: there will be no others. */
void argo_rings_end(bool final);

/* send.c */
int argo_send(struct argo_file *file, const struct argodev_sendv *sendv);

/* wait.c */
int argo_wait_init(void);
void argo_wait_exit(void);
void argo_wait_file(struct argo_file *file);
__poll_t argo_wait_poll(struct argo_file *file, struct file *filp, poll_table *table);
void argo_wait_release(struct argo_file *file);
void argo_wait_died(struct argo_file *file);
void argo_wait_sent(struct argo_file *file);
u64 argo_wait_n_virqs(void);

#endif /* XEN_ARGO_H */
