/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared by the driver's files.
 *
 * Locks: a mutex in ring.c orders registering, unregistering and ending rings; within it, one in
 * wait.c orders those that wait and the looks after an interrupt; within that, one in virq.c is for
 * the interrupt's binding. A file's ring is published once, and freed by release alone, when no
 * call on the file is left: so sending takes no lock at all, unless there is no room.
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
#include <linux/uidgid.h>
#include <linux/wait.h>

#include <xen/argodev.h>

#include "hypercall.h"

struct argo_file;
struct argo_user; /* limit.c */

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
	struct argo_user *user; /* of the process that opened it; a reference */
	struct argo_ring *ring; /* NULL before ARGODEV_REGISTER; published with release */
	unsigned long registering; /* bit 0: ARGODEV_REGISTER was begun */
	atomic64_t peer; /* ARGO_PEER_SET and the aport, or 0 */

	/* wait.c */
	wait_queue_head_t queue;
	struct list_head armed; /* empty: the interrupt does not look at this file */
	__poll_t wanted; /* armed waits for these events */
	atomic_t blocked; /* 1 + length of the message that found no room, or 0 */
	bool promised; /* Xen said that there is room, and nothing was sent since */

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

/* limit.c */
void argo_limits_init(void);
struct argo_user *argo_user_get(kuid_t uid); /* NULL: no memory */
void argo_user_put(struct argo_user *user);
int argo_ring_charge(struct argo_user *user);
void argo_ring_uncharge(struct argo_user *user);
int argo_pages_charge(struct argo_user *user, unsigned long n);
void argo_pages_uncharge(struct argo_user *user, unsigned long n);
void argo_limits_tell(const struct argo_user *user, struct argodev_info *info);

/* ring.c */
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
void argo_wait_suspend(void);
void argo_wait_look(void); /* soon; from the interrupt */
void argo_wait_file(struct argo_file *file);
__poll_t argo_wait_poll(struct argo_file *file, struct file *filp, poll_table *table);
void argo_wait_release(struct argo_file *file);
void argo_wait_changed(struct argo_file *file);
void argo_wait_sent(struct argo_file *file);
void argo_wait_blocked(struct argo_file *file, unsigned int len);

/* virq.c */
int argo_virq_bind(void); /* also where it is bound already */
void argo_virq_unbind(void);
bool argo_virq_came(void);
bool argo_virq_masked(void);
void argo_virq_forget(void);
void argo_virq_unmask(void);
u64 argo_virq_count(void);

#endif /* XEN_ARGO_H */
