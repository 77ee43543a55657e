/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The doorbell page and the event channel, by which the two ends of a link wake each other where
 * their domains share memory (PROTOCOL.md 3.1, proto/doorbell.h). The grant and the argo transport
 * are built on it. It never looks at frames.
 *
 * Included by: libmsg/transport, tests.
 */
#ifndef LIBMSG_TRANSPORT_PAGE_H
#define LIBMSG_TRANSPORT_PAGE_H

#include "libmsg/transport/transport.h"
#include "proto/doorbell.h"

struct paged {
	struct transport base;
	struct doorbell_page *page;	/* borrowed from share or map */
	struct doorbell_end *me, *them; /* its halves */
	struct hv_share *share;		/* owned, creator's */
	struct hv_map *map;		/* owned, binder's */
};

/* The creator's: shares a page, makes a port, tells both in *ret_offer. */
int paged_share(struct paged *paged, uint64_t uid, struct control_link_offer *ret_offer);
/* The binder's: maps that page and binds that port, if they are still those of this link. */
int paged_map(struct paged *paged, const struct control_link_bind *request);
/* The binder has all that it needs: its death is the creator's business from here on. */
void paged_bound(struct paged *paged);
/* Gives page and port back. */
void paged_release(struct paged *paged);

/* The operations of struct transport_ops that need nothing but the page. */
int paged_arm(struct transport *transport, bool held);
void paged_arm_room(struct transport *transport);
void paged_not_armed(struct transport *transport);
void paged_wake(struct transport *transport);
void paged_wake_for_room(struct transport *transport);
const _Atomic uint32_t *paged_watch_room(struct transport *transport, uint32_t *ret_seen);
bool paged_peer_alive(const struct transport *transport);
uint32_t paged_exchange_cpu(struct transport *transport, uint32_t cpu);

/* These functions as rows of a transport's table. */
#define PAGED_OPS                                                                                  \
	.arm = paged_arm, .arm_room = paged_arm_room, .not_armed = paged_not_armed,                \
	.wake = paged_wake, .wake_for_room = paged_wake_for_room, .watch_room = paged_watch_room,  \
	.peer_alive = paged_peer_alive, .exchange_cpu = paged_exchange_cpu

/* In LINK_FAILED ENOSPC stands for Argo's rings (PROTOCOL.md 5); ports and grants say ENOBUFS. */
static inline int paged_used_up(int r)
{
	return r == -ENOSPC ? -ENOBUFS : r;
}

#endif
