// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sending: Xen reads the segments where they are, in user memory, with the kernel's rights. So the
 * driver checks that each segment is user memory. Xen takes no page faults: the driver brings
 * absent pages in and asks Xen again. Pages that stay absent for Xen (another domain's, or pages
 * that are taken away as fast as they come) are copied into the kernel's memory first.
 *
 * The copy is not preemptible; Xen bounds it: 16 MiB.
 */
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "xen-argo.h"

/* How often pages are brought in before they are copied. */
#define FAULT_TRIES 2

struct message {
	struct argo_send_addr addr;
	struct argo_iov iov[ARGO_MAX_IOV]; /* for Xen: addresses without tags */
	const void __user *at[ARGO_MAX_IOV]; /* for the kernel: as the process named them */
	unsigned int n_iov;
	u32 type;
};

static int message_read(struct message *message, const struct argodev_sendv *sendv)
{
	struct argodev_segment segments[ARGODEV_MAX_SEGMENTS];

	BUILD_BUG_ON(ARGODEV_MAX_SEGMENTS != ARGO_MAX_IOV);
	if (sendv->n_segments > ARRAY_SIZE(segments))
		return -EINVAL;
	if (copy_from_user(segments, u64_to_user_ptr(sendv->segments),
			   sendv->n_segments * sizeof(segments[0])))
		return -EFAULT;
	message->n_iov = 0;
	message->type = sendv->message_type;
	for (unsigned int i = 0; i < sendv->n_segments; i++) {
		const struct argodev_segment *segment = &segments[i];

		if (segment->pad)
			return -EINVAL;
		if (!segment->len) /* Xen would log it */
			continue;
		/* A tag (arm64) counts as part of the address unless the process asked for it. */
		if (!access_ok(u64_to_user_ptr(segment->addr), segment->len))
			return -EFAULT;
		message->at[message->n_iov] = u64_to_user_ptr(segment->addr);
		message->iov[message->n_iov++] = (struct argo_iov){
			.addr = untagged_addr(segment->addr),
			.len = segment->len,
		};
	}
	return 0;
}

/* The ring may have ended since it was looked at: pages that are brought in take their time. */
static int message_send(struct argo_file *file, const struct message *message)
{
	struct argo_ring *ring = argo_ring_alive(file);

	if (IS_ERR(ring))
		return PTR_ERR(ring);
	atomic64_inc(&file->n_hypercalls);
	return argo_sendv(&message->addr, message->iov, message->n_iov, message->type);
}

static int message_fault_in(const struct message *message)
{
	for (unsigned int i = 0; i < message->n_iov; i++) {
		if (fault_in_readable(message->at[i], message->iov[i].len))
			return -EFAULT;
		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

/* Xen has added up the lengths before it said EFAULT; that is not relied upon. */
static int message_len(const struct message *message, size_t *ret_len)
{
	size_t len = 0;

	for (unsigned int i = 0; i < message->n_iov; i++)
		len += message->iov[i].len;
	*ret_len = len;
	return len > ARGO_MAX_MESSAGE ? -EMSGSIZE : 0;
}

static int message_gather(const struct message *message, u8 *to)
{
	for (unsigned int i = 0; i < message->n_iov; i++) {
		if (copy_from_user(to, message->at[i], message->iov[i].len))
			return -EFAULT;
		to += message->iov[i].len;
		cond_resched();
	}
	return 0;
}

static int message_bounce(struct argo_file *file, const struct message *message)
{
	struct message copy = {
		.addr = message->addr,
		.n_iov = 1,
		.type = message->type,
	};
	unsigned long n_pages;
	size_t len;
	void *buffer;
	int r = message_len(message, &len);

	if (r)
		return r;
	n_pages = DIV_ROUND_UP(len, PAGE_SIZE);
	r = argo_pages_charge(file->user, n_pages);
	if (r)
		return r == -ENOMEM ? -ENOBUFS : r;
	buffer = kvmalloc(len, GFP_KERNEL_ACCOUNT | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
	if (!buffer) {
		r = -ENOBUFS;
		goto out;
	}
	r = message_gather(message, buffer);
	if (!r) {
		copy.iov[0] = (struct argo_iov){
			.addr = (unsigned long)buffer,
			.len = len,
		};
		atomic64_inc(&file->n_bounced);
		r = message_send(file, &copy);
	}
	kvfree(buffer);
out:
	argo_pages_uncharge(file->user, n_pages);
	return r;
}

/* poll is to wait for room for the longest that found none. */
static void send_blocked(struct argo_file *file, const struct message *message)
{
	size_t len;

	atomic64_inc(&file->n_full);
	if (!message_len(message, &len))
		argo_wait_blocked(file, len);
}

int argo_send(struct argo_file *file, const struct argodev_sendv *sendv)
{
	struct argo_ring *ring = argo_ring_alive(file);
	struct message message;
	u64 peer;
	int r;

	if (IS_ERR(ring))
		return PTR_ERR(ring);
	peer = atomic64_read(&file->peer);
	if (!(peer & ARGO_PEER_SET))
		return -ENOTCONN;
	r = message_read(&message, sendv);
	if (r)
		return r;
	message.addr = (struct argo_send_addr){
		.src = { .aport = ring->aport, .domid = ARGO_DOMID_ANY }, /* Xen puts our own */
		.dst = { .aport = lower_32_bits(peer), .domid = ring->partner },
	};
	r = message_send(file, &message);
	for (int i = 0; r == -EFAULT && i < FAULT_TRIES; i++) {
		r = message_fault_in(&message);
		if (r)
			return r;
		r = message_send(file, &message);
	}
	if (r == -EFAULT)
		r = message_bounce(file, &message);
	if (r >= 0) {
		atomic64_inc(&file->n_sent);
		atomic64_add(r, &file->n_sent_bytes);
		if (atomic_read(&file->blocked) || READ_ONCE(file->promised))
			argo_wait_sent(file);
	} else if (r == -EAGAIN) {
		send_blocked(file, &message);
	}
	return r;
}
