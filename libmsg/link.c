/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of a link: made as msgd directs (PROTOCOL.md, section 5.3), ended by the other process's
 * death, by msgd or by a violation (5.4). What travels on it is in link-io.c.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "hv/argo-ring.h"
#include "libmsg/private.h"

struct link *link_find(struct msg_ctx *ctx, uint32_t end)
{
	struct link *link;

	HASH_FIND(hh, ctx->links, &end, sizeof(end), link);
	return link;
}

struct link *link_find_port(struct msg_ctx *ctx, uint32_t port)
{
	struct link *link;

	HASH_FIND(hh_port, ctx->links_by_port, &port, sizeof(port), link);
	return link;
}

struct link *link_find_ring(struct msg_ctx *ctx, const struct hv_ring *ring)
{
	struct link *link;

	HASH_FIND(hh_port, ctx->links_by_ring, &ring, sizeof(ring), link);
	return link;
}

void link_set_armed(struct link *link, bool armed)
{
	struct msg_ctx *ctx = link->ctx;

	if (link->armed == armed)
		return;
	link->armed = armed;
	if (armed) {
		TAILQ_REMOVE(&ctx->unarmed, link, unarmed);
		return;
	}
	TAILQ_INSERT_TAIL(&ctx->unarmed, link, unarmed);
	/* A driver that sleeps believes in armed doorbells only. */
	if (ctx->driver_asleep)
		ctx->kick = true;
}

/* Gives back what the link holds, in the order that hv.h demands of a closing handle. */
static void link_release_resources(struct link *link)
{
	struct hv *hv = link->ctx->hv;

	if (link->ops)
		link->ops->free(link);
	if (link->refs_share)
		hv->ops->grant_unshare(hv, link->refs_share);
	if (link->door_map)
		hv->ops->grant_unmap(hv, link->door_map);
	if (link->door_share)
		hv->ops->grant_unshare(hv, link->door_share);
	if (link->port)
		(void)hv->ops->evtchn_close(hv, link->port);
}

/* Frees a link that was never published. */
static void link_discard(struct link *link)
{
	link_release_resources(link);
	free(link);
}
DEFINE_CLEANUP(struct link *, link_discard)

static struct link *link_new(struct msg_ctx *ctx, uint32_t end, uint64_t uid, uint16_t peer_domid,
	uint32_t transport, uint8_t role)
{
	struct link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	link->ctx = ctx;
	link->end = end;
	link->uid = uid;
	link->epoch = ctx->control.epoch;
	link->peer_domid = peer_domid;
	link->role = role;
	link->transport = (enum transport)transport;
	link->state = LINK_MAKING;
	TAILQ_INIT(&link->blocked);
	return link;
}

static void link_publish(struct link *link)
{
	struct msg_ctx *ctx = link->ctx;

	HASH_ADD(hh, ctx->links, end, sizeof(link->end), link);
	if (link->port)
		HASH_ADD(hh_port, ctx->links_by_port, port, sizeof(link->port), link);
	else
		HASH_ADD(hh_port, ctx->links_by_ring, argo.ring, sizeof(link->argo.ring), link);
	TAILQ_INSERT_TAIL(&ctx->unarmed, link, unarmed);
	if (ctx->driver_asleep)
		ctx->kick = true;
}

static void link_failed(struct msg_ctx *ctx, uint32_t end, int error, const char *reason)
{
	struct control_message message = {
		.type = CONTROL_LINK_FAILED, .link_failed = {.end = end, .error = (uint32_t)error}};

	(void)snprintf(message.link_failed.reason, REASON_SIZE, "%s", reason);
	control_send(ctx, &message);
}

/* In LINK_FAILED ENOSPC means Argo's rings (PROTOCOL.md 5); these were ports or grants. */
static int used_up(int r)
{
	return r == -ENOSPC ? -ENOBUFS : r;
}

static void link_set_page(struct link *link, void *page)
{
	link->page = page;
	link->me = &link->page->end[link->role];
	link->them = &link->page->end[1 - link->role];
}

static void grant_rings_init(struct link *link, uint8_t *creator_ring, uint8_t *binder_ring)
{
	bool creator = link->role == 0;

	link->ops = &ring_grant_ops;
	link->grant.tx = (struct grant_ring){.data = creator ? creator_ring : binder_ring,
		.len = link->ring_len,
		.produced = &link->me->produced,
		.consumed = &link->them->consumed};
	link->grant.rx = (struct grant_ring){.data = creator ? binder_ring : creator_ring,
		.len = link->ring_len,
		.produced = &link->them->produced,
		.consumed = &link->me->consumed};
}

static int share_grant_rings(struct link *link, uint32_t pages, uint32_t *ret_refs_ref)
{
	struct hv *hv = link->ctx->hv;
	uint32_t *refs;
	void *addr, *rings;
	int r;

	if (pages < LINK_RING_PAGES_MIN || pages > LINK_RING_PAGES_MAX || (pages & (pages - 1)))
		return -EINVAL;
	r = hv->ops->grant_share(
		hv, link->peer_domid, 1, NULL, ret_refs_ref, &addr, &link->refs_share);
	if (r < 0)
		return r;
	refs = addr; /* LINK_REFS_MAX words fit a page */
	link->ring_len = pages * HV_PAGE_SIZE;
	r = hv->ops->grant_share(
		hv, link->peer_domid, 2 * (size_t)pages, NULL, refs, &rings, &link->grant.share);
	if (r < 0)
		return r;
	grant_rings_init(link, rings, (uint8_t *)rings + link->ring_len);
	return 0;
}

_Static_assert(LINK_REFS_MAX * sizeof(uint32_t) <= HV_PAGE_SIZE, "one page lists the references");

static int register_argo_ring(struct link *link, uint32_t ring_len)
{
	struct hv *hv = link->ctx->hv;
	int r;

	r = hv->ops->argo_register(hv, 0, link->peer_domid, ring_len, &link->argo.ring);
	if (r < 0)
		return r;
	link->ops = &ring_argo_ops;
	link->ring_len = ring_len;
	link->argo.peer_len = ring_len;
	return 0;
}

/* Whose page it is: the link's, not that of another between the same two domains. */
static struct doorbell_head page_head(uint64_t uid, uint32_t port)
{
	struct doorbell_head head = {.magic = LINK_PAGE_MAGIC, .port = port};

	uid = htole64(uid);
	memcpy(head.nonce, &uid, sizeof(uid));
	return head;
}

static int share_doorbell(struct link *link, struct control_link_offer *ret)
{
	struct hv *hv = link->ctx->hv;
	struct hv_unmap_notify notify = {.offset = DOORBELL_ALIVE_OFFSET(0)};
	void *page;
	int r;

	r = hv->ops->evtchn_alloc_unbound(hv, link->peer_domid, &link->port);
	if (r < 0)
		return r;
	notify.port = ret->port = link->port;
	r = hv->ops->grant_share(
		hv, link->peer_domid, 1, &notify, &ret->doorbell_ref, &page, &link->door_share);
	if (r < 0)
		return r;
	link_set_page(link, page);
	link->page->head = page_head(link->uid, link->port);
	atomic_store(&link->me->alive, 1);
	return 0;
}

static int create_resources(struct link *link, const struct control_link_create *request,
	struct control_link_offer *ret)
{
	int r = link->transport == TRANSPORT_ARGO_STRICT ? 0 : share_doorbell(link, ret);

	if (r < 0)
		return used_up(r);
	if (link->transport == TRANSPORT_GRANT)
		return used_up(share_grant_rings(link, request->ring_pages, &ret->refs_ref));
	r = register_argo_ring(link, request->ring_len);
	if (r < 0)
		return r;
	ret->aport = link->argo.ring->aport;
	return 0;
}

/* A link without resources yet, or NULL: msgd was told why. */
static struct link *link_begin(struct msg_ctx *ctx, uint32_t end, uint64_t uid, uint16_t peer_domid,
	uint32_t transport, uint8_t role)
{
	struct link *link = NULL;

	/* A returned msgd may ask again for a link that stands, or for one number twice. */
	if (link_find(ctx, end))
		link_failed(ctx, end, EEXIST, "the end number is in use");
	else if (transport == TRANSPORT_ANY || transport >= TRANSPORT_LIMIT)
		link_failed(ctx, end, EOPNOTSUPP, "an unknown transport");
	else if (!(link = link_new(ctx, end, uid, peer_domid, transport, role)))
		link_failed(ctx, end, ENOMEM, "out of memory");
	return link;
}

void link_create(struct msg_ctx *ctx, const struct control_link_create *request)
{
	struct control_message offer = {
		.type = CONTROL_LINK_OFFER, .link_offer = {.end = request->end}};
	_cleanup_(link_discard_p) struct link *link = NULL;
	int r;

	link = link_begin(
		ctx, request->end, request->uid, request->peer_domid, request->transport, 0);
	if (!link)
		return;
	r = create_resources(link, request, &offer.link_offer);
	if (r < 0) {
		link_failed(ctx, request->end, -r, strerrordesc_np(-r));
		return;
	}
	link_publish(link);
	steal_ptr(link);
	control_send(ctx, &offer);
}

static int map_grant_rings(struct link *link, const struct control_link_bind *request)
{
	struct hv *hv = link->ctx->hv;
	uint32_t refs[LINK_REFS_MAX], pages = request->ring_pages;
	struct hv_map *list;
	void *addr;
	int r;

	if (pages < LINK_RING_PAGES_MIN || pages > LINK_RING_PAGES_MAX || (pages & (pages - 1)))
		return -EINVAL;
	r = hv->ops->grant_map(
		hv, link->peer_domid, &request->refs_ref, 1, false, NULL, &addr, &list);
	if (r < 0)
		return r;
	memcpy(refs, addr, 2 * pages * sizeof(refs[0])); /* the creator can write them: once */
	hv->ops->grant_unmap(hv, list);
	r = hv->ops->grant_map(
		hv, link->peer_domid, refs, 2 * (size_t)pages, true, NULL, &addr, &link->grant.map);
	if (r < 0)
		return r;
	link->ring_len = pages * HV_PAGE_SIZE;
	grant_rings_init(link, addr, (uint8_t *)addr + link->ring_len);
	return 0;
}

/*
 * The offer may be old: its creator dead, and its port and references another process's. That one's
 * port must not be bound, for its own peer could not any more.
 */
static int verify_offer(struct link *link, const struct control_link_bind *request,
	const struct doorbell_head *head)
{
	struct hv *hv = link->ctx->hv;
	struct hv_map *map;
	void *page;
	bool same;
	int r;

	r = hv->ops->grant_map(
		hv, link->peer_domid, &request->doorbell_ref, 1, false, NULL, &page, &map);
	if (r < 0)
		return r;
	same = doorbell_head_is(page, head);
	hv->ops->grant_unmap(hv, map);
	return same ? 0 : -ECONNRESET;
}

static int map_doorbell(struct link *link, const struct control_link_bind *request)
{
	struct hv *hv = link->ctx->hv;
	struct hv_unmap_notify notify = {.offset = DOORBELL_ALIVE_OFFSET(1)};
	struct doorbell_head head = page_head(request->uid, request->port);
	void *page;
	int r;

	r = verify_offer(link, request, &head);
	if (r < 0)
		return r;
	r = hv->ops->evtchn_bind_interdomain(hv, link->peer_domid, request->port, &link->port);
	if (r < 0)
		return r;
	notify.port = link->port;
	r = hv->ops->grant_map(hv, link->peer_domid, &request->doorbell_ref, 1, true, &notify,
		&page, &link->door_map);
	if (r < 0)
		return r;
	link_set_page(link, page);
	return doorbell_head_is(page, &head) ? 0 : -ECONNRESET;
}

/*
 * Of argo-strict nothing is looked at before it is used: the creator's aport is not given to
 * another ring while somebody may still send to it (hv.h), so an old offer meets no ring.
 */
static int bind_resources(
	struct link *link, const struct control_link_bind *request, struct control_link_ready *ret)
{
	struct hv *hv = link->ctx->hv;
	int r = link->transport == TRANSPORT_ARGO_STRICT ? 0 : map_doorbell(link, request);

	if (r < 0)
		return used_up(r);
	if (link->transport == TRANSPORT_GRANT)
		return used_up(map_grant_rings(link, request));
	r = register_argo_ring(link, request->ring_len);
	if (r < 0)
		return r;
	link->argo.peer_aport = request->aport;
	r = hv->ops->argo_peer(hv, link->argo.ring, request->aport);
	if (r < 0)
		return r;
	ret->aport = link->argo.ring->aport;
	return 0;
}

static const char *bind_reason(struct link *link, int r)
{
	struct hv *hv = link->ctx->hv;

	if (r == -EOPNOTSUPP && link->peer_domid == hv->ops->domid(hv)) /* grant_map's */
		return "Xen cannot link a PVH or HVM domain to itself";
	return strerrordesc_np(-r);
}

void link_bind(struct msg_ctx *ctx, const struct control_link_bind *request)
{
	struct control_message ready = {
		.type = CONTROL_LINK_READY, .link_ready = {.end = request->end}};
	_cleanup_(link_discard_p) struct link *link = NULL;
	int r;

	link = link_begin(
		ctx, request->end, request->uid, request->peer_domid, request->transport, 1);
	if (!link)
		return;
	r = bind_resources(link, request, &ready.link_ready);
	if (r == -EINVAL || r == -ESRCH)
		r = -ECONNRESET; /* what was offered is gone, and whoever did so */
	if (r < 0) {
		link_failed(ctx, request->end, -r, bind_reason(link, r));
		return;
	}
	if (link->page)
		atomic_store(&link->me->alive, 1);
	link->state = LINK_UP;
	link_publish(link);
	steal_ptr(link);
	control_send(ctx, &ready);
}

void link_up(struct link *link, uint32_t peer_aport)
{
	struct hv *hv = link->ctx->hv;

	if (link->transport != TRANSPORT_GRANT) {
		link->argo.peer_aport = peer_aport;
		if (hv->ops->argo_peer(hv, link->argo.ring, peer_aport) < 0) {
			link_violation(link, "the peer's ring cannot be named");
			return;
		}
	}
	if (link->refs_share) {
		hv->ops->grant_unshare(hv, link->refs_share);
		link->refs_share = NULL;
	}
	link->state = LINK_UP;
	if (link->ctx->driver_asleep)
		link->ctx->kick = true; /* it has armed none but those that were up */
}

void link_kill(struct link *link, bool drain, const char *reason)
{
	struct msg_ctx *ctx = link->ctx;
	struct channel *channel, *next;

	if (link->state == LINK_DEAD)
		return;
	if (link->busy) {
		link->dying = true;
		return;
	}
	if (drain && link->state == LINK_UP) {
		link_take(link, NULL);
		if (link->state == LINK_DEAD)
			return;
	}
	ctx_log(ctx, LOG_INFO, "link %u to domain %u ends: %s", link->end, link->peer_domid,
		reason);
	link->state = LINK_DEAD;
	link_set_armed(link, true); /* out of the list of the unarmed */
	HASH_DELETE(hh, ctx->links, link);
	if (link->port)
		HASH_DELETE(hh_port, ctx->links_by_port, link);
	else
		HASH_DELETE(hh_port, ctx->links_by_ring, link);
	HASH_ITER (hh, link->channels, channel, next) {
		if (!channel->error && !channel->why)
			channel->why = strdup(reason);
		channel_reset(channel, ECONNRESET);
	}
	TAILQ_INSERT_TAIL(&ctx->graveyard, link, grave);
}

void link_lost(struct link *link)
{
	static const char reason[] = "the other domain is gone, or this one's ring";

	link_failed(link->ctx, link->end, ECONNRESET, reason);
	link_kill(link, true, reason);
}

void link_bury(struct msg_ctx *ctx)
{
	struct link *link;

	if (ctx->spinning)
		return;
	while ((link = TAILQ_FIRST(&ctx->graveyard))) {
		TAILQ_REMOVE(&ctx->graveyard, link, grave);
		link_discard(link);
	}
}

void link_violation(struct link *link, const char *reason)
{
	if (link->state == LINK_DEAD || link->broken)
		return;
	ctx_log(link->ctx, LOG_WARNING, "link %u to domain %u is reset: %s", link->end,
		link->peer_domid, reason);
	link_failed(link->ctx, link->end, EPROTO, reason);
	/* Found while frames are taken in: link_take kills it, when nobody holds a channel of it.
	 */
	link->broken = true;
	link_kill(link, false, reason);
}
