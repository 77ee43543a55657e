/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of a link: made as msgd directs (PROTOCOL.md, section 5.3), ended by the other process's
 * death, by msgd or by a violation (5.4).
 */
#include "libmsg/link/link.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void links_init(struct links *links, struct hv *hv, struct pool *pool)
{
	*links = (struct links){.hv = hv, .pool = pool};
	links->backoff.hv = hv;
	stock_init(&links->stock, hv);
	TAILQ_INIT(&links->unarmed);
	TAILQ_INIT(&links->ending);
	TAILQ_INIT(&links->grave);
	TAILQ_INIT(&links->retrying);
}

struct link *link_find(const struct links *links, uint32_t end)
{
	struct link *link;

	HASH_FIND(hh, links->by_end, &end, sizeof(end), link);
	return link;
}

struct link *link_find_event(const struct links *links, uint64_t event)
{
	struct link *link;

	HASH_FIND(hh_event, links->by_event, &event, sizeof(event), link);
	return link;
}

/* The one place where the state changes. */
void link_set_state(struct link *link, enum link_state state)
{
	static const uint8_t legal[] = {
		[LINK_MAKING] = 1U << LINK_UP | 1U << LINK_ENDING,
		[LINK_UP] = 1U << LINK_SYNCING | 1U << LINK_ENDING,
		[LINK_SYNCING] = 1U << LINK_SYNCED | 1U << LINK_ENDING,
		[LINK_SYNCED] = 1U << LINK_UP | 1U << LINK_ENDING,
		[LINK_ENDING] = 1U << LINK_DEAD,
		[LINK_DEAD] = 0,
	};

	assert(legal[link->state] & 1U << state);
	link->state = state;
	link->channels.up = link_is_up(link);
}

void link_set_armed(struct link *link, bool armed)
{
	if (link->armed == armed)
		return;
	link->armed = armed;
	if (armed) {
		TAILQ_REMOVE(&link->links->unarmed, link, entry_unarmed);
		return;
	}
	TAILQ_INSERT_TAIL(&link->links->unarmed, link, entry_unarmed);
	pool_rearm(link->links->pool);
}

void link_look(struct link *link)
{
	link->look = true;
	link_set_armed(link, false);
}

void link_sync(struct link *link, uint32_t request)
{
	link_set_state(link, LINK_SYNCING);
	link->sync = request;
}

void link_synced(struct link *link)
{
	link_set_state(link, LINK_SYNCED);
	link_look(link);
}

/* ---- making ----------------------------------------------------------------------------- */

static void fail_answer(
	struct control_message *ret_answer, uint32_t end, int error, const char *reason)
{
	*ret_answer = (struct control_message){
		.type = CONTROL_LINK_FAILED, .link_failed = {.end = end, .error = (uint32_t)error}};
	(void)snprintf(ret_answer->link_failed.reason, REASON_SIZE, "%s", reason);
}

/* Says what was missing, and for what. On Xen, an Argo ring is an open file. */
static const char *making_reason(int r)
{
	return r == -EMFILE || r == -ENFILE ? "no descriptor for a link's ring"
	       : r == -ENOMEM		    ? "no memory for a link"
					    : strerrordesc_np(-r);
}

/* An end for that request, which holds nothing yet. NULL: *ret_answer says why not. */
static struct transport *transport_for(struct links *links, uint32_t end, uint32_t kind,
	uint16_t peer_domid, uint8_t role, uint32_t ring_len, struct control_message *ret_answer)
{
	const struct transport_ops *ops = transport_find(kind);
	struct transport *transport = NULL;
	char reason[REASON_SIZE];
	int error = backoff_check(&links->backoff, peer_domid, kind, reason);

	/* A returned msgd may ask again for a link that stands, or for one number twice. */
	if (link_find(links, end))
		fail_answer(ret_answer, end, EEXIST, "the end number is in use");
	else if (error)
		fail_answer(ret_answer, end, error, reason);
	else if (!ops)
		fail_answer(ret_answer, end, EOPNOTSUPP, "an unknown transport");
	else if (!(transport = transport_new(ops, links->hv, peer_domid, role, ring_len)))
		fail_answer(ret_answer, end, ENOMEM, "out of memory");
	else
		transport->stock = &links->stock;
	return transport;
}

/* reason: what the errno says, if the transport said nothing. */
static void fail_making(struct links *links, uint32_t end, struct transport *transport, int r,
	const char *reason, struct control_message *ret_answer)
{
	if (transport->refusal[0])
		reason = transport->refusal;
	backoff_failed(&links->backoff, transport->peer_domid, transport->ops->kind, -r, reason);
	fail_answer(ret_answer, end, -r, reason);
	transport_free(transport);
}

struct link *link_new(struct links *links, struct transport *transport, uint32_t end, uint64_t uid,
	uint32_t epoch, enum link_state state)
{
	struct link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	*link = (struct link){.links = links,
		.end = end,
		.epoch = epoch,
		.uid = uid,
		.state = state,
		.transport = transport};
	if (channel_set_init(&link->channels, transport, links->pool, link_is_up(link)) < 0) {
		free(link);
		return NULL;
	}
	HASH_ADD(hh, links->by_end, end, sizeof(link->end), link);
	if (hash_added(&link->hh))
		HASH_ADD_KEYPTR(hh_event, links->by_event, &transport->event,
			sizeof(transport->event), link);
	if (!hash_added(&link->hh_event)) {
		if (hash_added(&link->hh))
			HASH_DELETE(hh, links->by_end, link);
		channel_set_fini(&link->channels);
		free(link);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&links->unarmed, link, entry_unarmed);
	pool_rearm(links->pool);
	return link;
}

void link_create(struct links *links, uint32_t epoch, const struct control_link_create *request,
	struct control_message *ret_answer)
{
	struct control_message offer = {
		.type = CONTROL_LINK_OFFER, .link_offer = {.end = request->end}};
	struct transport *transport =
		transport_for(links, request->end, request->transport, request->peer_domid, 0,
			request->ring_len + request->ring_pages * HV_PAGE_SIZE, ret_answer);
	int r;

	if (!transport)
		return;
	r = transport->ops->make(transport, request, &offer.link_offer);
	if (r == 0 && !link_new(links, transport, request->end, request->uid, epoch, LINK_MAKING))
		r = -ENOMEM;
	if (r == 0) {
		*ret_answer = offer;
		return;
	}
	fail_making(links, request->end, transport, r, making_reason(r), ret_answer);
}

static const char *bind_reason(const struct links *links, uint16_t peer_domid, int r)
{
	if (r == -EOPNOTSUPP && peer_domid == links->hv->ops->domid(links->hv)) /* grant_map's */
		return "Xen cannot link a PVH or HVM domain to itself";
	return making_reason(r);
}

void link_bind(struct links *links, uint32_t epoch, const struct control_link_bind *request,
	struct control_message *ret_answer)
{
	struct control_message ready = {
		.type = CONTROL_LINK_READY, .link_ready = {.end = request->end}};
	struct transport *transport =
		transport_for(links, request->end, request->transport, request->peer_domid, 1,
			request->ring_len + request->ring_pages * HV_PAGE_SIZE, ret_answer);
	int r;

	if (!transport)
		return;
	r = transport->ops->bind(transport, request, &ready.link_ready);
	if (r == 0 && !link_new(links, transport, request->end, request->uid, epoch, LINK_UP))
		r = -ENOMEM;
	if (r == 0) {
		backoff_made(&links->backoff, request->peer_domid, request->transport);
		*ret_answer = ready;
		return;
	}
	if (r == -EINVAL || r == -ESRCH)
		r = -ECONNRESET; /* the offer is not true any more: its process or domain is gone */
	fail_making(links, request->end, transport, r, bind_reason(links, request->peer_domid, r),
		ret_answer);
}

void link_up(struct link *link, uint32_t peer_aport)
{
	if (link->transport->ops->up(link->transport, peer_aport) < 0) {
		link_end(link, LINK_VIOLATED, "the peer's ring cannot be named");
		return;
	}
	link_set_state(link, LINK_UP);
	backoff_made(
		&link->links->backoff, link->transport->peer_domid, link->transport->ops->kind);
	pool_rearm(link->links->pool); /* a driver arms none but those that are up */
}

/* ---- ending ----------------------------------------------------------------------------- */

static const struct {
	int told;   /* the error that msgd is told; 0: it knows, or sees it */
	bool drain; /* the frames that the other end had sent are taken in */
} causes[] = {
	[LINK_ENDED_BY_MSGD] = {0, true},
	[LINK_PEER_GONE] = {0, true},
	[LINK_LOST] = {ECONNRESET, true},
	[LINK_VIOLATED] = {EPROTO, false},
	[LINK_NO_MEMORY] = {ENOMEM, false},
	[LINK_LEFT] = {0, false},
};

/* As many as a ring full of the smallest frames takes, even of those that bring nothing. */
static uint32_t drain_turns(const struct link *link)
{
	return 1 + link->transport->ring_len / FRAME_HEADER_SIZE / (LINK_TURN / TURN_COST_BARE);
}

void link_end(struct link *link, enum link_cause cause, const char *reason)
{
	/* This end only saw that the other is gone; msgd says why. */
	bool why = link->state == LINK_ENDING && link->cause == LINK_PEER_GONE &&
		   cause == LINK_ENDED_BY_MSGD;

	if (link->state >= LINK_ENDING && !why)
		return;
	/* The other end could not be made, or does not live long enough. */
	if (link->state == LINK_MAKING && cause == LINK_ENDED_BY_MSGD)
		backoff_failed(&link->links->backoff, link->transport->peer_domid,
			link->transport->ops->kind, ECONNRESET, reason);
	link->cause = cause;
	(void)snprintf(link->reason, sizeof(link->reason), "%s", reason);
	if (why)
		return;
	link->drain = causes[cause].drain && link_is_up(link) ? drain_turns(link) : 0;
	link_set_state(link, LINK_ENDING);
	TAILQ_INSERT_TAIL(&link->links->ending, link, entry);
	link->links->pool->marked = link->links->pool->wake = true;
}

int link_told_error(const struct link *link)
{
	return causes[link->cause].told;
}

/* Resets channels, and frees what nobody can read any more. False: there are more. */
static bool reset_channels(struct link *link)
{
	struct channel *channel;
	uint32_t left = BURY_BATCH;

	while ((channel = link->channels.by_number)) {
		bool unwanted = link->discard || channel->state != CHANNEL_OPEN;
		uint32_t n = 0;

		if (!left || (unwanted && !channel_discard(channel, left, &n)))
			return false;
		left -= 1 + min_u32(n, left - 1);
		channel_reset(channel, ECONNRESET, link->reason);
	}
	return true;
}

bool link_bury(struct link *link)
{
	struct links *links = link->links;

	if (!reset_channels(link))
		return false;
	link_ahead_free(link->given);
	link_ahead_free(link->taken);
	TAILQ_REMOVE(&links->ending, link, entry);
	link_set_state(link, LINK_DEAD);
	link_set_armed(link, true); /* out of the list of the unarmed */
	if (link->retrying)
		TAILQ_REMOVE(&links->retrying, link, entry_retrying);
	HASH_DELETE(hh, links->by_end, link);
	HASH_DELETE(hh_event, links->by_event, link);
	TAILQ_INSERT_TAIL(&links->grave, link, entry);
	return true;
}

void links_free_dead(struct links *links)
{
	struct link *link;

	/* As many as have ended since the last pass. */
	while ((link = TAILQ_FIRST(&links->grave))) {
		TAILQ_REMOVE(&links->grave, link, entry);
		link->channels.pool->carried.notifications += link->transport->n_notifications;
		link->channels.pool->carried.hypercalls += link->transport->n_hypercalls;
		transport_free(link->transport);
		channel_set_fini(&link->channels);
		free(link);
	}
}

void links_clear(struct links *links)
{
	stock_clear(&links->stock);
	backoff_clear(&links->backoff);
}
