/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The doorbell page of a link. Why no wake-up is lost over it is argued in proto/doorbell.h and
 * checked in tests/model.
 */
#include "libmsg/transport/page.h"

#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "base/probe.h"

static struct paged *paged_of(struct transport *transport)
{
	return container_of(transport, struct paged, base);
}

static void paged_set_page(struct paged *paged, void *page)
{
	paged->page = page;
	paged->me = &paged->page->end[paged->base.role];
	paged->them = &paged->page->end[1 - paged->base.role];
}

int paged_used_up(struct transport *transport, int r, const char *what)
{
	if (r != -ENOSPC)
		return r;
	(void)snprintf(transport->refusal, sizeof(transport->refusal), "%s", what);
	return -ENOBUFS;
}

/* ---- the creator's end -------------------------------------------------------------------- */

/* Each page says which link it belongs to: two domains may share the pages of several. */
static void memory_prove(struct link_memory *memory, uint64_t uid, uint32_t port)
{
	memory->page->head = link_page_head(uid, port, LINK_PAGE_DOORBELL);
	for (uint32_t i = 0; memory->rest && i < 1 + 2 * memory->ring_pages; i++) {
		struct doorbell_head head = link_page_head(uid, port, LINK_PAGE_REFS + i);

		memcpy(memory->rest + i * HV_PAGE_SIZE, &head, sizeof(head));
	}
}

int paged_share(struct paged *paged, uint64_t uid, uint32_t ring_pages,
	struct control_link_offer *ret_offer)
{
	struct transport *t = &paged->base;
	struct hv_unmap_notify notify = {.offset = DOORBELL_ALIVE_OFFSET(0)};
	struct link_memory *memory;
	int r;

	r = stock_take(t->stock, t->peer_domid, ring_pages, t->refusal, &paged->memory);
	if (r < 0)
		return paged_used_up(t, r, NO_GRANT);
	memory = paged->memory;
	r = t->hv->ops->evtchn_alloc_unbound(t->hv, t->peer_domid, &t->port);
	if (r < 0)
		return paged_used_up(t, r, NO_EVENT_CHANNEL);
	notify.port = t->port;
	r = t->hv->ops->grant_notify(t->hv, memory->page_share, &notify);
	if (r < 0)
		return r;
	paged_set_page(paged, memory->page);
	memory_prove(memory, uid, t->port);
	ret_offer->port = t->port;
	ret_offer->doorbell_ref = memory->page_ref;
	t->event = t->port;
	atomic_store(&paged->me->alive, 1);
	return 0;
}

/*
 * As the unmap-notify of a process that dies: the byte, then the event. The memory stays granted,
 * without a notification: the port goes now, whatever the other end has done with its own.
 */
static void paged_leave(struct paged *paged)
{
	struct hv *hv = paged->base.hv;

	if (paged->page) {
		atomic_store(&paged->me->alive, 0);
		(void)hv->ops->evtchn_send(hv, paged->base.port);
	}
	(void)hv->ops->grant_notify(hv, paged->memory->page_share, NULL);
	stock_give(paged->base.stock, paged->memory);
}

/* ---- the binder's end --------------------------------------------------------------------- */

static int refuse_page(struct transport *t, uint32_t index)
{
	static const char not_ours[] = "is not of this link";

	if (index == LINK_PAGE_DOORBELL)
		(void)snprintf(t->refusal, REASON_SIZE, "the doorbell page %s", not_ours);
	else if (index == LINK_PAGE_REFS)
		(void)snprintf(t->refusal, REASON_SIZE, "the page of references %s", not_ours);
	else
		(void)snprintf(t->refusal, REASON_SIZE, "the page %u of the rings %s",
			index - LINK_PAGE_RING, not_ours);
	return -ECONNRESET;
}

/*
 * The references and the port are the other end's word. They may name what its kernel has granted
 * to this domain for a disk or a network card, or what belongs to another process by now, since an
 * offer may be older than its creator's death. Therefore each page is read first, and all of them
 * are read before any is mapped for writing.
 *
 * Nothing changes between the look and the use. The read-only mapping stays until paged_bound, and
 * the hypervisor fixes the frame of a reference as long as it is mapped: a second mapping is of the
 * same frame, whatever the granter writes into its table (xen/common/grant_table.c, map_grant_ref).
 * The granter's kernel gives a page to nobody else as long as it is mapped
 * (gnttab_end_foreign_access). The creator itself can write the page, of course: it is its own.
 */
int paged_check(struct paged *paged, const struct control_link_bind *request, const uint32_t *refs,
	uint32_t n, uint32_t index, const uint8_t **ret_pages)
{
	struct transport *t = &paged->base;
	void *pages;
	int r;

	r = t->hv->ops->grant_map(t->hv, t->peer_domid, refs, n, false, NULL, &pages,
		&paged->checked[paged->n_checked]);
	if (r < 0)
		return paged_used_up(t, r, NO_MAPPING);
	paged->n_checked++;
	for (uint32_t i = 0; i < n; i++) {
		struct doorbell_head head = link_page_head(request->uid, request->port, index + i);

		if (!doorbell_head_is((uint8_t *)pages + i * HV_PAGE_SIZE, &head))
			return refuse_page(t, index + i);
	}
	*ret_pages = pages;
	return 0;
}

/* A port that is another link's by now must not be bound: the end that it is for could not. */
int paged_map(struct paged *paged, const struct control_link_bind *request)
{
	struct transport *t = &paged->base;
	struct hv_unmap_notify notify = {.offset = DOORBELL_ALIVE_OFFSET(1)};
	void *page;
	int r;

	r = t->hv->ops->evtchn_bind_interdomain(t->hv, t->peer_domid, request->port, &t->port);
	if (r < 0)
		return paged_used_up(t, r, NO_EVENT_CHANNEL);
	notify.port = t->port;
	r = t->hv->ops->grant_map(
		t->hv, t->peer_domid, &request->doorbell_ref, 1, true, &notify, &page, &paged->map);
	if (r < 0)
		return paged_used_up(t, r, NO_MAPPING);
	paged_set_page(paged, page);
	t->event = t->port;
	return 0;
}

static void paged_drop_checked(struct paged *paged)
{
	struct hv *hv = paged->base.hv;

	while (paged->n_checked)
		hv->ops->grant_unmap(hv, paged->checked[--paged->n_checked]);
}

void paged_bound(struct paged *paged)
{
	paged_drop_checked(paged);
	atomic_store(&paged->me->alive, 1);
}

/* ---- both --------------------------------------------------------------------------------- */

void paged_release(struct paged *paged)
{
	struct hv *hv = paged->base.hv;

	paged_drop_checked(paged);
	if (paged->map)
		hv->ops->grant_unmap(hv, paged->map);
	if (paged->memory)
		paged_leave(paged);
	if (paged->base.port)
		(void)hv->ops->evtchn_close(hv, paged->base.port);
}

int paged_arm(struct transport *transport, bool held)
{
	struct paged *paged = paged_of(transport);

	doorbell_arm(&paged->me->sleeping);
	if (held || !transport->ops->pending(transport))
		return 0;
	doorbell_disarm(&paged->me->sleeping);
	return 1;
}

void paged_arm_room(struct transport *transport)
{
	doorbell_arm(&paged_of(transport)->me->want_space);
}

/* Room is told by want_space, which is armed apart from `sleeping`. */
void paged_not_armed(struct transport *transport)
{
}

static void bell_ring(struct transport *transport, _Atomic uint32_t *flag)
{
	if (!doorbell_take(flag))
		return;
	transport->n_notifications++;
	PROBE(libmsg, notify, transport, transport->port);
	(void)transport->hv->ops->evtchn_send(transport->hv, transport->port);
}

void paged_wake(struct transport *transport)
{
	bell_ring(transport, &paged_of(transport)->them->sleeping);
}

void paged_wake_for_room(struct transport *transport)
{
	bell_ring(transport, &paged_of(transport)->them->want_space);
}

const _Atomic uint32_t *paged_watch_room(struct transport *transport, uint32_t *ret_seen)
{
	const _Atomic uint32_t *word = &paged_of(transport)->them->consumed;

	*ret_seen = atomic_load_explicit(word, memory_order_acquire);
	return word;
}

bool paged_peer_alive(const struct transport *transport)
{
	const struct paged *paged = container_of(transport, const struct paged, base);

	return atomic_load_explicit(&paged->them->alive, memory_order_acquire) != 0;
}

uint32_t paged_exchange_cpu(struct transport *transport, uint32_t cpu)
{
	struct paged *paged = paged_of(transport);

	atomic_store_explicit(&paged->me->cpu, cpu, memory_order_relaxed);
	return atomic_load_explicit(&paged->them->cpu, memory_order_relaxed);
}
