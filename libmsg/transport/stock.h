/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory of links, which this end grants to the other end's domain, and the stock of it that is
 * kept between links. A domain that does not unmap what a link had keeps page and reference busy
 * for as long as it likes (hv.h, grant_unshare), and no granter can see it. Therefore the memory of
 * a link that ended is not withdrawn: it stays granted to that domain, and is the memory of the
 * next link to that domain, and to no other. Each domain has a cap; past it no link is made.
 *
 * Included by: libmsg/transport, libmsg/link, tests.
 */
#ifndef LIBMSG_TRANSPORT_STOCK_H
#define LIBMSG_TRANSPORT_STOCK_H

#include <sys/queue.h>

#include "base/hash.h"
#include "hv/hv.h"
#include "proto/doorbell.h"

struct link_memory {
	TAILQ_ENTRY(link_memory) entry; /* in peer->idle, peer->held */
	struct stock_peer *peer;	/* borrowed: charged for it */
	uint32_t ring_pages;		/* of each direction; 0: a doorbell page and nothing else */
	struct doorbell_page *page;	/* borrowed from page_share, which has no notification */
	struct hv_share *page_share;	/* owned */
	uint32_t page_ref;
	uint8_t *rest;		     /* borrowed: the page of references, and both rings */
	struct hv_share *rest_share; /* owned; NULL: there are none */
	uint32_t rest_refs[];	     /* 1 + 2 * ring_pages */
};

TAILQ_HEAD(link_memory_list, link_memory);

/* The memory that one domain is granted. */
struct stock_peer {
	UT_hash_handle hh;
	uint16_t domid;
	uint32_t n_pages;	      /* of links, idle and held: LINK_PEER_PAGES_MAX at most */
	uint32_t n_held;	      /* in held */
	uint32_t n_withdrawn;	      /* so many were withdrawn because it said that it unmapped */
	struct link_memory_list idle; /* owned: for the next link */
	struct link_memory_list held; /* owned: of ended links, which the other end has mapped */
};

struct stock {
	struct hv *hv;		  /* borrowed */
	struct stock_peer *peers; /* hash by domid; owned */
};

void stock_init(struct stock *stock, struct hv *hv);
/*
 * Memory for a link with that domain, all zero. -ENOBUFS: the domain's cap, with *ret_reason, which
 * has REASON_SIZE bytes; else errors of grant_share and -ENOMEM.
 */
int stock_take(struct stock *stock, uint16_t domid, uint32_t ring_pages, char *ret_reason,
	struct link_memory **ret_memory);
/* Takes back the memory of a link that ended. Its page has no notification any more. */
void stock_give(struct stock *stock, struct link_memory *memory);
/* Withdraws all that no link has. */
void stock_clear(struct stock *stock);

#endif
