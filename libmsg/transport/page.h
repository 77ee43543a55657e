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
	struct doorbell_page *page;	/* borrowed from memory or map */
	struct doorbell_end *me, *them; /* its halves */
	struct link_memory *memory;	/* owned, creator's */
	struct hv_map *map;		/* owned, binder's */
	/* Owned, binder's, while it binds: all pages of the link, read-only. */
	struct hv_map *checked[3];
	unsigned n_checked;
};

/*
 * The creator's: takes memory with rings of so many pages, makes a port, tells both in *ret_offer,
 * and writes into each page whose page it is.
 */
int paged_share(struct paged *paged, uint64_t uid, uint32_t ring_pages,
	struct control_link_offer *ret_offer);
/*
 * The binder's: maps n pages, which must be those of this link from that index on, read-only until
 * paged_bound. -ECONNRESET: they are not, and transport->refusal says which.
 */
int paged_check(struct paged *paged, const struct control_link_bind *request, const uint32_t *refs,
	uint32_t n, uint32_t index, const uint8_t **ret_pages);
/* Maps the doorbell page for writing and binds the port. All pages were checked before. */
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

/*
 * In LINK_FAILED ENOSPC stands for Argo's rings (PROTOCOL.md 5); ports and grants say ENOBUFS, and
 * the refusal says which it is.
 */
int paged_used_up(struct transport *transport, int r, const char *what);

#define NO_EVENT_CHANNEL "no event channel is left in this domain"
#define NO_GRANT	 "no page is left that this domain may share (the limit of xen-gntalloc)"
#define NO_MAPPING	 "no grant more can be mapped in this domain"

#endif
