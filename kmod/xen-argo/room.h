/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which files may go on, of those that wait for room, by Xen's answer to ARGO_OP_NOTIFY. Xen has
 * one wake-up for a domain and a ring. It queues it for a length that does not fit, and takes it
 * back when it says of another length that it fits. So waiters of one ring are asked for in
 * ascending order of their lengths, which makes one question enough: a wake-up is never taken back
 * after it was queued for somebody who waits on. (Nothing of the kernel is needed here: tests/kmod
 * compiles it as it is.)
 */
#ifndef XEN_ARGO_ROOM_H
#define XEN_ARGO_ROOM_H

#include <linux/types.h>

/* XEN_ARGO_RING_* in Xen's public header */
#define ARGO_RING_EXISTS	0x1
#define ARGO_RING_SUFFICIENT	0x8
#define ARGO_RING_EMSGSIZE	0x10
#define ARGO_RING_EBUSY		0x20
/* The driver's own, put there before the call: Xen did not get so far. */
#define ARGO_RING_UNANSWERED	0x8000

struct argo_want {
	__u64 ring;	/* the destination's domid and aport: equal for one ring */
	__u32 len;	/* bytes that must fit */
	__u16 flags;	/* Xen's answer */
	__u16 verdict;	/* enum argo_verdict */
	void *whose;	/* borrowed */
};

enum argo_verdict {
	ARGO_WAIT,	/* Xen will interrupt */
	ARGO_GO,	/* there is room, or sending will say what is wrong */
	ARGO_AGAIN,	/* there is no room, and Xen will not interrupt: ask again later */
};

static inline int argo_want_compare(const void *one, const void *other)
{
	const struct argo_want *a = one, *b = other;

	if (a->ring != b->ring)
		return a->ring < b->ring ? -1 : 1;
	return a->len < b->len ? -1 : a->len > b->len;
}

static inline enum argo_verdict argo_room_answer(__u16 flags)
{
	if (flags & ARGO_RING_UNANSWERED)
		return ARGO_AGAIN;
	if (!(flags & ARGO_RING_EXISTS) || (flags & (ARGO_RING_SUFFICIENT | ARGO_RING_EMSGSIZE)))
		return ARGO_GO;
	/* 32 domains wait there already: the table is full. */
	return flags & ARGO_RING_EBUSY ? ARGO_AGAIN : ARGO_WAIT;
}

/*
 * wants are in the order of argo_want_compare. refused: the call ended at the first that is
 * unanswered, for a reason that sending will show as well; else it may have been for lack of
 * memory.
 */
static inline void argo_room_judge(struct argo_want *wants, unsigned int n, bool refused)
{
	bool fits = false;

	for (unsigned int i = 0; i < n && refused; i++) {
		if (wants[i].flags & ARGO_RING_UNANSWERED) {
			wants[i].flags = 0;
			refused = false;
		}
	}
	/* From the longest of each ring: room for one is room for all that are shorter. */
	for (unsigned int i = n; i-- > 0;) {
		if (i + 1 < n && wants[i].ring != wants[i + 1].ring)
			fits = false;
		if (!(wants[i].flags & ARGO_RING_UNANSWERED))
			fits |= wants[i].flags & ARGO_RING_SUFFICIENT;
		wants[i].verdict = fits ? ARGO_GO : argo_room_answer(wants[i].flags);
	}
}

#endif /* XEN_ARGO_ROOM_H */
