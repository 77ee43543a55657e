/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The doorbell page of a link. Why no wake-up is lost over it is argued in proto/doorbell.h and
 * checked in tests/model.
 */
#include "libmsg/transport/page.h"

#include <endian.h>
#include <string.h>

#include "base/macro.h"

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

/* The head says which link a page belongs to: two domains may share the pages of several. */
static struct doorbell_head page_head(uint64_t uid, uint32_t port)
{
	struct doorbell_head head = {.magic = LINK_PAGE_MAGIC, .port = port};

	uid = htole64(uid);
	memcpy(head.nonce, &uid, sizeof(uid));
	return head;
}

int paged_share(struct paged *paged, uint64_t uid, struct control_link_offer *ret_offer)
{
	struct transport *t = &paged->base;
	struct hv_unmap_notify notify = {.offset = DOORBELL_ALIVE_OFFSET(0)};
	void *page;
	int r;

	r = t->hv->ops->evtchn_alloc_unbound(t->hv, t->peer_domid, &t->port);
	if (r < 0)
		return paged_used_up(r);
	notify.port = t->port;
	r = t->hv->ops->grant_share(
		t->hv, t->peer_domid, 1, &notify, &ret_offer->doorbell_ref, &page, &paged->share);
	if (r < 0)
		return paged_used_up(r);
	ret_offer->port = t->port;
	paged_set_page(paged, page);
	paged->page->head = page_head(uid, t->port);
	t->event = t->port;
	atomic_store(&paged->me->alive, 1);
	return 0;
}

/*
 * An offer may be old: its creator is dead, and its port and references belong to another process
 * by now. That process's port must not be bound, for its own peer could not bind it any more.
 */
static int verify_offer(struct transport *t, const struct control_link_bind *request,
	const struct doorbell_head *head)
{
	struct hv_map *map;
	void *page;
	bool same;
	int r;

	r = t->hv->ops->grant_map(
		t->hv, t->peer_domid, &request->doorbell_ref, 1, false, NULL, &page, &map);
	if (r < 0)
		return r;
	same = doorbell_head_is(page, head);
	t->hv->ops->grant_unmap(t->hv, map);
	return same ? 0 : -ECONNRESET;
}

int paged_map(struct paged *paged, const struct control_link_bind *request)
{
	struct transport *t = &paged->base;
	struct hv_unmap_notify notify = {.offset = DOORBELL_ALIVE_OFFSET(1)};
	struct doorbell_head head = page_head(request->uid, request->port);
	void *page;
	int r;

	r = verify_offer(t, request, &head);
	if (r < 0)
		return paged_used_up(r);
	r = t->hv->ops->evtchn_bind_interdomain(t->hv, t->peer_domid, request->port, &t->port);
	if (r < 0)
		return paged_used_up(r);
	notify.port = t->port;
	r = t->hv->ops->grant_map(
		t->hv, t->peer_domid, &request->doorbell_ref, 1, true, &notify, &page, &paged->map);
	if (r < 0)
		return paged_used_up(r);
	paged_set_page(paged, page);
	t->event = t->port;
	return doorbell_head_is(page, &head) ? 0 : -ECONNRESET;
}

void paged_bound(struct paged *paged)
{
	atomic_store(&paged->me->alive, 1);
}

void paged_release(struct paged *paged)
{
	struct hv *hv = paged->base.hv;

	if (paged->map)
		hv->ops->grant_unmap(hv, paged->map);
	if (paged->share)
		hv->ops->grant_unshare(hv, paged->share);
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
	if (doorbell_take(flag))
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
