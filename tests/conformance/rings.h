/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the Argo cases: a pair of rings, and messages that are checked byte by byte. */
#ifndef CONFORMANCE_RINGS_H
#define CONFORMANCE_RINGS_H

#include "tests/conformance/case.h"

/* A ring of a for b and one of b for a, each the other's peer. */
void rings_connect(struct actor *a, uint32_t len_a, struct actor *b, uint32_t len_b,
	uint32_t *ret_a, uint32_t *ret_b);

uint32_t ring_aport(struct actor *actor, uint32_t ring);

/* Sends pattern(seed) of len bytes; its checksum is what must arrive. */
void check_sent(
	const char *file, int line, struct actor *from, uint32_t ring, uint64_t seed, uint32_t len);
void check_received(
	const char *file, int line, struct actor *to, uint32_t ring, uint64_t seed, uint32_t len);
uint64_t message_sum(uint64_t seed, uint32_t len);

#define CHECK_SENT(from, ring, seed, len)   check_sent(__FILE__, __LINE__, from, ring, seed, len)
#define CHECK_RECEIVED(to, ring, seed, len) check_received(__FILE__, __LINE__, to, ring, seed, len)
#define CHECK_EMPTY(to, ring)                                                                      \
	do {                                                                                       \
		struct actor_message _m;                                                           \
		CHECK_INT(actor_ring_recv(to, ring, &_m), 0);                                      \
	} while (0)

#endif
