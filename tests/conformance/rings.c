/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See rings.h. */
#include <stdlib.h>

#include "tests/conformance/rings.h"

uint32_t ring_aport(struct actor *actor, uint32_t ring)
{
	struct actor_ring_state state;

	CHECK_OK(actor_ring_state(actor, ring, &state));
	return state.aport;
}

void rings_connect(struct actor *a, uint32_t len_a, struct actor *b, uint32_t len_b,
	uint32_t *ret_a, uint32_t *ret_b)
{
	CHECK_OK(actor_ring_register(a, 0, b->domid, len_a, ret_a));
	CHECK_OK(actor_ring_register(b, 0, a->domid, len_b, ret_b));
	CHECK_OK(actor_ring_peer(a, *ret_a, ring_aport(b, *ret_b)));
	CHECK_OK(actor_ring_peer(b, *ret_b, ring_aport(a, *ret_a)));
}

uint64_t message_sum(uint64_t seed, uint32_t len)
{
	uint8_t *buf = malloc((size_t)len + 1);
	uint64_t sum;

	if (!buf)
		abort();
	pattern_fill(seed, buf, len);
	sum = pattern_sum(buf, len);
	free(buf);
	return sum;
}

void check_sent(
	const char *file, int line, struct actor *from, uint32_t ring, uint64_t seed, uint32_t len)
{
	check_int(file, line, "send", actor_ring_send(from, ring, seed, len, (uint32_t)seed), len);
}

void check_received(
	const char *file, int line, struct actor *to, uint32_t ring, uint64_t seed, uint32_t len)
{
	struct actor_message m = {0};

	check_int(file, line, "messages", actor_ring_recv(to, ring, &m), 1);
	check_int(file, line, "length", m.len, len);
	check_int(file, line, "type", m.type, (uint32_t)seed);
	check_int(file, line, "contents", (int64_t)m.sum, (int64_t)message_sum(seed, len));
}
