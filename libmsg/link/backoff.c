/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Back-off of links whose making fails. There are no timers: the next request asks for the time. */
#include "libmsg/link/backoff.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/macro.h"

static uint32_t key_of(uint16_t domid, uint32_t transport)
{
	return (uint32_t)domid << 16 | transport;
}

static struct backoff_peer *peer_find(
	const struct backoff *backoff, uint16_t domid, uint32_t transport)
{
	uint32_t key = key_of(domid, transport);
	struct backoff_peer *peer;

	HASH_FIND(hh, backoff->peers, &key, sizeof(key), peer);
	return peer;
}

int backoff_check(const struct backoff *backoff, uint16_t domid, uint32_t transport,
	char ret_reason[REASON_SIZE])
{
	const struct backoff_peer *peer = peer_find(backoff, domid, transport);

	if (!peer || backoff->hv->ops->now_ns(backoff->hv) >= peer->until_ns)
		return 0;
	(void)snprintf(ret_reason, REASON_SIZE, "%u links with domain %u failed: %.80s",
		peer->n_failed, domid, peer->reason);
	return peer->error;
}

/* NULL: out of memory; then nobody waits. One for each domain and transport at most. */
static struct backoff_peer *peer_new(struct backoff *backoff, uint16_t domid, uint32_t transport)
{
	struct backoff_peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	peer->key = key_of(domid, transport);
	HASH_ADD(hh, backoff->peers, key, sizeof(peer->key), peer);
	if (hash_added(&peer->hh))
		return peer;
	free(peer);
	return NULL;
}

void backoff_failed(
	struct backoff *backoff, uint16_t domid, uint32_t transport, int error, const char *reason)
{
	struct backoff_peer *peer = peer_find(backoff, domid, transport);
	uint32_t n_doubled;

	if (!peer)
		peer = peer_new(backoff, domid, transport);
	if (!peer)
		return;
	peer->error = error;
	(void)snprintf(peer->reason, sizeof(peer->reason), "%s", reason);
	if (++peer->n_failed < LINK_FAILURES_FREE)
		return;
	n_doubled = min_u32(peer->n_failed - LINK_FAILURES_FREE, 16);
	peer->until_ns = backoff->hv->ops->now_ns(backoff->hv) +
			 min_u64(LINK_BACKOFF_FIRST_NS << n_doubled, LINK_BACKOFF_MAX_NS);
}

static void peer_free(struct backoff *backoff, struct backoff_peer *peer)
{
	HASH_DELETE(hh, backoff->peers, peer);
	free(peer);
}

void backoff_made(struct backoff *backoff, uint16_t domid, uint32_t transport)
{
	struct backoff_peer *peer = peer_find(backoff, domid, transport);

	if (peer)
		peer_free(backoff, peer);
}

void backoff_clear(struct backoff *backoff)
{
	struct backoff_peer *peer, *next;

	HASH_ITER (hh, backoff->peers, peer, next)
		peer_free(backoff, peer);
}
