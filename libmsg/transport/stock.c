/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stock of granted memory. The one word about unmapping is the `alive` byte of the other end,
 * which that end's kernel clears as it unmaps (unmap-notify; rings are unmapped before the page).
 *
 * While the byte is set the memory is held: an honest process that is slow still writes frames into
 * it, which must not show in another link. It is idle once the byte is 0. A domain can clear the
 * byte and keep its mapping. It gains nothing by that: the memory is used again for links with that
 * very domain, each of whose processes can map any page that is granted to the domain. So a liar
 * damages the links of its own domain, which is the unit of trust, and leaves no page behind.
 */
#include "libmsg/transport/stock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

void stock_init(struct stock *stock, struct hv *hv)
{
	*stock = (struct stock){.hv = hv};
}

static uint32_t pages_of(uint32_t ring_pages)
{
	return ring_pages ? 2 + 2 * ring_pages : 1;
}

/* ---- one link's memory -------------------------------------------------------------------- */

/* -ENOSPC: the domain's grants are used up. */
static int memory_share(struct hv *hv, struct link_memory *memory)
{
	uint16_t domid = memory->peer->domid;
	void *page, *rest;
	int r;

	r = hv->ops->grant_share(hv, domid, 1, NULL, &memory->page_ref, &page, &memory->page_share);
	if (r < 0)
		return r;
	memory->page = page;
	if (!memory->ring_pages)
		return 0;
	r = hv->ops->grant_share(hv, domid, 1 + 2 * memory->ring_pages, NULL, memory->rest_refs,
		&rest, &memory->rest_share);
	if (r < 0)
		hv->ops->grant_unshare(hv, memory->page_share);
	else
		memory->rest = rest;
	return r;
}

static int memory_new(struct hv *hv, struct stock_peer *peer, uint32_t ring_pages,
	struct link_memory **ret_memory)
{
	size_t refs_len = (1 + 2 * (size_t)ring_pages) * sizeof(uint32_t);
	struct link_memory *memory = calloc(1, sizeof(*memory) + refs_len);
	int r;

	if (!memory)
		return -ENOMEM;
	memory->peer = peer;
	memory->ring_pages = ring_pages;
	r = memory_share(hv, memory);
	if (r < 0) {
		free(memory);
		return r;
	}
	peer->n_pages += pages_of(ring_pages);
	*ret_memory = memory;
	return 0;
}

static void memory_withdraw(struct hv *hv, struct link_memory *memory)
{
	if (memory->rest_share)
		hv->ops->grant_unshare(hv, memory->rest_share);
	hv->ops->grant_unshare(hv, memory->page_share);
	memory->peer->n_pages -= pages_of(memory->ring_pages);
	free(memory);
}

static void memory_clear(struct link_memory *memory)
{
	memset(memory->page, 0, HV_PAGE_SIZE);
	if (memory->rest)
		memset(memory->rest, 0, (1 + 2 * (size_t)memory->ring_pages) * HV_PAGE_SIZE);
}

static bool memory_is_held(const struct link_memory *memory)
{
	return atomic_load_explicit(&memory->page->end[1].alive, memory_order_acquire) != 0;
}

/* ---- one domain's ------------------------------------------------------------------------- */

static struct stock_peer *peer_get(struct stock *stock, uint16_t domid)
{
	struct stock_peer *peer;

	HASH_FIND(hh, stock->peers, &domid, sizeof(domid), peer);
	if (peer)
		return peer;
	peer = calloc(1, sizeof(*peer));
	if (!peer)
		return NULL;
	peer->domid = domid;
	TAILQ_INIT(&peer->idle);
	TAILQ_INIT(&peer->held);
	HASH_ADD(hh, stock->peers, domid, sizeof(peer->domid), peer);
	if (hash_added(&peer->hh))
		return peer;
	free(peer);
	return NULL;
}

static struct link_memory *peer_idle(struct stock_peer *peer, uint32_t ring_pages)
{
	struct link_memory *memory;

	TAILQ_FOREACH (memory, &peer->idle, entry) {
		if (memory->ring_pages == ring_pages)
			break;
	}
	return memory;
}

/*
 * An honest domain gets back memory that it does not need any more, but not without end: it is
 * believed LINK_WITHDRAWN_MAX times. After that memory stays idle, as much as its links had at
 * their busiest.
 */
static bool peer_is_believed(const struct stock_peer *peer)
{
	return peer->n_withdrawn < LINK_WITHDRAWN_MAX;
}

static void peer_withdraw(struct stock *stock, struct link_memory *memory)
{
	memory->peer->n_withdrawn++;
	memory_withdraw(stock->hv, memory);
}

/* One link's worth stays for the next. */
static void peer_put_idle(struct stock *stock, struct link_memory *memory)
{
	struct stock_peer *peer = memory->peer;

	if (peer_idle(peer, memory->ring_pages) && peer_is_believed(peer))
		peer_withdraw(stock, memory);
	else
		TAILQ_INSERT_TAIL(&peer->idle, memory, entry);
}

/* LINK_PEER_PAGES_MAX bounds the list. */
static void peer_review(struct stock *stock, struct stock_peer *peer)
{
	struct link_memory *memory, *next;

	for (memory = TAILQ_FIRST(&peer->held); memory; memory = next) {
		next = TAILQ_NEXT(memory, entry);
		if (memory_is_held(memory))
			continue;
		TAILQ_REMOVE(&peer->held, memory, entry);
		peer->n_held--;
		peer_put_idle(stock, memory);
	}
}

static void peer_clear(struct stock *stock, struct stock_peer *peer)
{
	struct link_memory *memory;

	TAILQ_CONCAT(&peer->idle, &peer->held, entry);
	peer->n_held = 0;
	while ((memory = TAILQ_FIRST(&peer->idle))) {
		TAILQ_REMOVE(&peer->idle, memory, entry);
		memory_withdraw(stock->hv, memory);
	}
	if (peer->n_pages)
		return; /* of links that stand */
	HASH_DELETE(hh, stock->peers, peer);
	free(peer);
}

/*
 * A destroyed domain has nothing mapped any more, and its kernel has cleared no byte. There is no
 * port of that number: binding it fails, and says whether there is such a domain.
 */
static bool peer_is_gone(struct stock *stock, const struct stock_peer *peer)
{
	uint32_t port;

	return stock->hv->ops->evtchn_bind_interdomain(stock->hv, peer->domid, UINT32_MAX, &port) ==
	       -ESRCH;
}

static bool peer_has_links_alone(const struct stock_peer *peer)
{
	return peer->n_pages && TAILQ_EMPTY(&peer->idle) && TAILQ_EMPTY(&peer->held);
}

/* One look for each domain that memory is kept for: no more of them than there are domains. */
static void stock_forget_dead(struct stock *stock, const struct stock_peer *except)
{
	struct stock_peer *peer, *next;

	for (peer = stock->peers; peer; peer = next) {
		next = peer->hh.next;
		if (peer != except && !peer_has_links_alone(peer) && peer_is_gone(stock, peer))
			peer_clear(stock, peer);
	}
}

/* This domain has no more pages to share: memory that no link has makes room. */
static void stock_shrink(struct stock *stock)
{
	struct link_memory *memory;

	for (struct stock_peer *peer = stock->peers; peer; peer = peer->hh.next) {
		while ((memory = TAILQ_FIRST(&peer->idle)) && peer_is_believed(peer)) {
			TAILQ_REMOVE(&peer->idle, memory, entry);
			peer_withdraw(stock, memory);
		}
	}
}

/* ---- taking and giving -------------------------------------------------------------------- */

static int peer_check_cap(
	const struct stock_peer *peer, uint32_t ring_pages, char reason[REASON_SIZE])
{
	if (peer->n_held >= LINK_HELD_MAX)
		(void)snprintf(reason, REASON_SIZE,
			"domain %u has not let go of the memory of %u links that ended",
			peer->domid, peer->n_held);
	else if (peer->n_pages + pages_of(ring_pages) > LINK_PEER_PAGES_MAX)
		(void)snprintf(reason, REASON_SIZE,
			"links with domain %u have %u pages of this process's, of %u", peer->domid,
			peer->n_pages, LINK_PEER_PAGES_MAX);
	else
		return 0;
	return -ENOBUFS;
}

int stock_take(struct stock *stock, uint16_t domid, uint32_t ring_pages, char *ret_reason,
	struct link_memory **ret_memory)
{
	struct stock_peer *peer = peer_get(stock, domid);
	struct link_memory *memory;
	int r;

	if (!peer)
		return -ENOMEM;
	stock_forget_dead(stock, peer);
	peer_review(stock, peer);
	memory = peer_idle(peer, ring_pages);
	if (memory) {
		TAILQ_REMOVE(&peer->idle, memory, entry);
		memory_clear(memory);
		*ret_memory = memory;
		return 0;
	}
	r = peer_check_cap(peer, ring_pages, ret_reason);
	if (r < 0)
		return r;
	r = memory_new(stock->hv, peer, ring_pages, ret_memory);
	if (r != -ENOSPC)
		return r;
	stock_shrink(stock);
	return memory_new(stock->hv, peer, ring_pages, ret_memory);
}

void stock_give(struct stock *stock, struct link_memory *memory)
{
	struct stock_peer *peer = memory->peer;

	if (!memory_is_held(memory)) {
		peer_put_idle(stock, memory);
		return;
	}
	TAILQ_INSERT_TAIL(&peer->held, memory, entry);
	peer->n_held++;
}

void stock_clear(struct stock *stock)
{
	struct stock_peer *peer, *next;

	for (peer = stock->peers; peer; peer = next) {
		next = peer->hh.next;
		peer_clear(stock, peer);
	}
}
