/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Grant rings and doorbells: bytes survive each wrap, counters wrap at 2^32, and no counter that a
 * hostile peer writes gets through.
 */
#include "tests/support/cmocka-all.h"

#include <string.h>

#include "base/macro.h"
#include "proto/doorbell.h"
#include "proto/grant-ring.h"

#define RING_LEN 256U

struct pair {
	uint8_t guard_before[64], data[RING_LEN], guard_after[64];
	_Atomic uint32_t produced, consumed;
	struct grant_ring tx, rx;
};

/* Both ends at count `start`, as after a long life. */
static void pair_init(struct pair *pair, uint32_t start)
{
	memset(pair, 0xee, sizeof(*pair));
	pair->produced = pair->consumed = start;
	pair->tx = (struct grant_ring){.data = pair->data,
		.len = RING_LEN,
		.produced = &pair->produced,
		.consumed = &pair->consumed,
		.own = start,
		.peer = start};
	pair->rx = pair->tx;
}

static void pair_check_guards(const struct pair *pair)
{
	for (size_t i = 0; i < sizeof(pair->guard_before); i++) {
		assert_int_equal(pair->guard_before[i], 0xee);
		assert_int_equal(pair->guard_after[i], 0xee);
	}
}

static void pair_transfer(struct pair *pair, uint32_t len)
{
	uint32_t padded = round_up16(len);
	uint8_t in[RING_LEN], out[RING_LEN + 1];

	for (uint32_t i = 0; i < len; i++)
		in[i] = (uint8_t)(i * 7 + len);
	memset(out, 0x33, sizeof(out));
	assert_int_equal(grant_ring_space(&pair->tx, RING_LEN), RING_LEN);
	/* in two pieces, so that an offset is used */
	grant_ring_write(&pair->tx, 0, in, len / 3);
	grant_ring_write(&pair->tx, len / 3, in + len / 3, len - len / 3);
	pair->tx.own += padded;
	assert_int_equal(grant_ring_avail(&pair->rx, 1), 0); /* not published yet */
	grant_ring_publish(&pair->tx);
	assert_int_equal(grant_ring_avail(&pair->rx, 1), padded);
	grant_ring_read(&pair->rx, 0, out, len / 2);
	grant_ring_read(&pair->rx, len / 2, out + len / 2, len - len / 2);
	assert_memory_equal(in, out, len);
	assert_int_equal(out[len], 0x33);
	pair->rx.own += padded;
	grant_ring_release(&pair->rx);
}

static void test_wrap(void **state)
{
	static const uint32_t bases[] = {0, UINT32_MAX - RING_LEN + 1, 0x7fffff00};

	for (size_t b = 0; b < ARRAY_SIZE(bases); b++) {
		for (uint32_t start = 0; start < 2 * RING_LEN; start += 16) {
			for (uint32_t len = 1; len <= RING_LEN; len++) {
				struct pair pair;

				pair_init(&pair, bases[b] + start);
				pair_transfer(&pair, len);
				pair_transfer(&pair, len);
				pair_check_guards(&pair);
			}
		}
	}
}

/* The peer's counter is read when too little is known of, and only then. */
static void test_refresh(void **state)
{
	struct pair pair;

	pair_init(&pair, 0xfffffff0);
	pair.tx.own += 192;
	grant_ring_publish(&pair.tx);
	assert_int_equal(grant_ring_space(&pair.tx, 64), 64);
	assert_int_equal(grant_ring_space(&pair.tx, 80), 64);
	assert_int_equal(grant_ring_avail(&pair.rx, 16), 192);
	pair.rx.own += 96;
	grant_ring_release(&pair.rx);
	assert_int_equal(grant_ring_space(&pair.tx, 64), 64); /* enough known: not read */
	assert_int_equal(grant_ring_space(&pair.tx, 80), 160);
	pair.tx.own += 160;
	grant_ring_publish(&pair.tx);
	assert_int_equal(grant_ring_space(&pair.tx, 16), 0); /* full */
	assert_int_equal(grant_ring_avail(&pair.rx, 96), 96);
	assert_int_equal(grant_ring_avail(&pair.rx, 97), RING_LEN);
}

static void test_hostile_consumed(void **state)
{
	static const struct {
		uint32_t value; /* of consumed, over start; produced is start + 128, 64 consumed */
		int64_t space;
	} cases[] = {
		{64, 192}, {80, 208}, {128, 256}, /* forward, up to all */
		{144, -EBADMSG}, {129, -EBADMSG}, /* past what was produced */
		{48, -EBADMSG}, {0, -EBADMSG},	  /* backwards */
		{UINT32_MAX, -EBADMSG}, {0x80000000, -EBADMSG}, {128 + RING_LEN, -EBADMSG},
		{72, -EBADMSG}, {127, -EBADMSG}, /* between slots */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pair pair;
		uint32_t peer;

		pair_init(&pair, 0xffffffc0);
		pair.tx.own += 128;
		pair.consumed = 0xffffffc0 + 64;
		assert_int_equal(grant_ring_space(&pair.tx, 192), 192);
		peer = pair.tx.peer;
		pair.consumed = 0xffffffc0 + cases[i].value;
		assert_int_equal(grant_ring_space(&pair.tx, RING_LEN), cases[i].space);
		if (cases[i].space < 0)
			assert_int_equal(pair.tx.peer, peer);
	}
}

static void test_hostile_produced(void **state)
{
	static const struct {
		uint32_t value; /* of produced, over start; 64 were known of, 32 consumed */
		int64_t avail;
	} cases[] = {
		{64, 32},
		{80, 48},
		{32 + RING_LEN, RING_LEN},
		{48 + RING_LEN, -EBADMSG},
		{33 + RING_LEN, -EBADMSG}, /* more than the ring holds */
		{48, -EBADMSG},
		{32, -EBADMSG},
		{0, -EBADMSG}, /* backwards */
		{72, -EBADMSG},
		{65, -EBADMSG}, /* between slots */
		{UINT32_MAX, -EBADMSG},
		{0x80000000, -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pair pair;
		uint32_t peer;

		pair_init(&pair, 0xffffffe0);
		pair.produced = 0xffffffe0 + 64;
		assert_int_equal(grant_ring_avail(&pair.rx, 1), 64);
		pair.rx.own += 32;
		peer = pair.rx.peer;
		pair.produced = 0xffffffe0 + cases[i].value;
		assert_int_equal(grant_ring_avail(&pair.rx, RING_LEN), cases[i].avail);
		if (cases[i].avail < 0)
			assert_int_equal(pair.rx.peer, peer);
	}
}

static void test_doorbell(void **state)
{
	_Atomic uint32_t flag = 0;

	assert_false(doorbell_take(&flag));
	doorbell_arm(&flag);
	assert_int_equal(flag, 1);
	assert_true(doorbell_take(&flag));
	assert_false(doorbell_take(&flag)); /* one event a sleep */
	doorbell_arm(&flag);
	doorbell_disarm(&flag);
	assert_false(doorbell_take(&flag));
	flag = 0xdeadbeef; /* garbage by a hostile peer: one event too many, no more */
	assert_true(doorbell_take(&flag));
	assert_int_equal(flag, 0);
}

/* The offsets of PROTOCOL.md 3.1 that doorbell.h does not assert itself. */
static void test_layout(void **state)
{
	assert_int_equal(offsetof(struct doorbell_page, head.magic), 0);
	assert_int_equal(offsetof(struct doorbell_page, head.version_min), 4);
	assert_int_equal(offsetof(struct doorbell_page, head.version_max), 6);
	assert_int_equal(offsetof(struct doorbell_page, head.nonce), 8);
	assert_int_equal(offsetof(struct doorbell_page, head.port), 24);
	assert_int_equal(offsetof(struct doorbell_page, epoch), 64);
	assert_int_equal(offsetof(struct doorbell_page, end[1]), 1024);
	assert_int_equal(sizeof(struct doorbell_page), 1536);
	assert_int_equal(offsetof(struct doorbell_end, sleeping), 0);
	assert_int_equal(offsetof(struct doorbell_end, want_space), 64);
	assert_int_equal(offsetof(struct doorbell_end, consumed), 128);
	assert_int_equal(offsetof(struct doorbell_end, produced), 192);
	assert_int_equal(offsetof(struct doorbell_end, cpu), 256);
	assert_int_equal(offsetof(struct doorbell_end, alive), 320);
	assert_int_equal(offsetof(struct doorbell_end, reserved), 384);
	assert_int_equal(DOORBELL_ALIVE_OFFSET(0), 832);
	assert_int_equal(DOORBELL_ALIVE_OFFSET(1), 1344);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_refresh),
		cmocka_unit_test(test_hostile_consumed),
		cmocka_unit_test(test_hostile_produced),
		cmocka_unit_test(test_doorbell),
		cmocka_unit_test(test_layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
