/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The grant transport's end: two byte rings in memory that both domains write (PROTOCOL.md 3.2).
 *
 * Included by: libmsg/transport, tests.
 */
#ifndef LIBMSG_TRANSPORT_GRANT_H
#define LIBMSG_TRANSPORT_GRANT_H

#include "libmsg/transport/page.h"
#include "proto/grant-ring.h"

struct grant_end {
	struct paged paged;
	struct grant_ring tx, rx;
	struct hv_map *map; /* owned, binder's: both rings */
};

/* For tests: points the rings at their memory and the page's counters; ring_len, role are set. */
void grant_rings_init(struct grant_end *end, uint8_t *creator_ring, uint8_t *binder_ring);

#endif
