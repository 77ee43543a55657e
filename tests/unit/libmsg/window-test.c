/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * LIBMSG_RCVBUF and LIBMSG_SNDBUF do exactly what libmsg.h says: how much is accepted while nobody
 * reads, of messages of all sizes and types, on a fresh channel and on one that was read.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka-all.h"
#include "tests/support/link-pair.h"
#include "tests/support/must.h"

#define A 0 /* connected */
#define B 1

static char bytes[4U << 20];

static struct pair *fresh(enum channel_type type, struct msg_sock *ret_socks[2])
{
	struct pair *pair = pair_new(256); /* so that the ring is not what lacks */

	for (unsigned i = 0; i < 2; i++)
		ret_socks[i] = pair_channel_of(&pair->sides[i], 50, type, i == A);
	for (unsigned i = 0; i < 3; i++) {
		pair_take(&pair->sides[B]);
		pair_take(&pair->sides[A]);
	}
	return pair;
}

/* The bytes, or messages, that are accepted while the receiver takes in, and its application does
 * not read. */
static uint64_t accepted(struct pair *pair, struct msg_sock *from, size_t len, uint64_t *ret_n)
{
	uint64_t sum = 0;
	ssize_t n;

	*ret_n = 0;
	for (unsigned idle = 0; idle < 3; idle++) {
		while ((n = msg_send(from, bytes, len, 0)) > 0) {
			sum += (uint64_t)n;
			++*ret_n;
			idle = 0;
		}
		assert_int_equal(errno, EAGAIN);
		for (unsigned i = 0; i < 2; i++) {
			pair_drive(&pair->sides[A]);
			pair_drive(&pair->sides[B]);
		}
	}
	return sum;
}

/* As libmsg.h has it: each costs 32 bytes; the last may be longer than what is left, if that is 4
 * KiB. */
static uint64_t expected(uint32_t window, uint32_t len)
{
	uint64_t n = window / (len + 32), left = window % (len + 32);

	return n + (len > 4096 && left >= 4096 + 32);
}

static void test_fresh_seqpacket(void **state)
{
	static const uint32_t lens[] = {1, 10, 100, 1000, 4000, 4096, 4097, 5000, 8160, 8161, 10000,
		20000, 100000, 1000000};

	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		for (unsigned from = A; from <= B; from++) {
			struct msg_sock *socks[2];
			struct pair *pair = fresh(CHANNEL_SEQPACKET, socks);
			uint64_t n;

			(void)accepted(pair, socks[from], lens[i], &n);
			/* The end that connected has twice as much from the start. */
			if (n != expected(from == A ? 8192 : 16384, lens[i]))
				print_error("%u bytes from %u: %u\n", lens[i], from, (unsigned)n);
			assert_int_equal(n, expected(from == A ? 8192 : 16384, lens[i]));
			pair_free(pair);
		}
	}
}

static void test_fresh_stream(void **state)
{
	static const uint32_t lens[] = {1, 10, 100, 1000, 4096, 10000, 100000};

	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		struct msg_sock *socks[2];
		struct pair *pair = fresh(CHANNEL_STREAM, socks);
		uint64_t n, sum = accepted(pair, socks[A], lens[i], &n);

		assert_in_range(sum + 32 * n, 8192 - 4096 - 64, 8192);
		pair_free(pair);
	}
}

/* Once it was read, RCVBUF is what may lie unread, to 8 MiB. */
static void grown(uint32_t rcvbuf, uint32_t len)
{
	struct msg_sock *socks[2];
	struct pair *pair = fresh(CHANNEL_SEQPACKET, socks);
	uint64_t n, most = rcvbuf < (8U << 20) ? rcvbuf : 8U << 20, sent = 0, got = 0, unread;

	must(msg_setopt(socks[B], LIBMSG_RCVBUF, rcvbuf) == 0);
	while (got * len < 5 * most) {
		while (msg_send(socks[A], bytes, len, 0) > 0)
			sent++;
		pair_drive(&pair->sides[B]);
		while (msg_recv(socks[B], bytes, sizeof(bytes), 0) > 0)
			got++;
		pair_drive(&pair->sides[B]);
		pair_drive(&pair->sides[A]);
	}
	(void)accepted(pair, socks[A], len, &n);
	unread = (sent + n - got) * (len + 32);
	assert_true(unread <= most + len && unread + len + 32 >= most - most / 4);
	pair_free(pair);
}

static void test_grown(void **state)
{
	static const uint32_t lens[] = {10, 1000, 4096, 60000};

	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		grown(64U << 10, lens[i]);
		grown(1U << 20, lens[i]);
		grown(16U << 20, lens[i] < 1000 ? 1000 : lens[i]);
	}
}

/* SNDBUF is the longest message, and nothing of a stream. */
static void test_sndbuf(void **state)
{
	static const uint32_t sizes[] = {4096, 5000, 65536, 1U << 20};

	for (unsigned type = CHANNEL_SEQPACKET; type <= CHANNEL_DGRAM; type++) {
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			uint32_t most = type == CHANNEL_DGRAM ? min_u32(sizes[i], 65536) : sizes[i];
			struct msg_sock *socks[2];
			struct pair *pair = fresh((enum channel_type)type, socks);
			ssize_t r;

			must(msg_setopt(socks[A], LIBMSG_SNDBUF, sizes[i]) == 0);
			r = msg_send(socks[A], bytes, most + 1, 0);
			if (type == CHANNEL_STREAM)
				assert_true(r > 0);
			else
				assert_true(r == -1 && errno == EMSGSIZE);
			if (type != CHANNEL_STREAM)
				assert_int_equal(msg_send(socks[A], bytes, most, 0), most);
			pair_free(pair);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fresh_seqpacket),
		cmocka_unit_test(test_fresh_stream),
		cmocka_unit_test(test_grown),
		cmocka_unit_test(test_sndbuf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
