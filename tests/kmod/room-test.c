/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which senders go on, of those that wait for room (kmod/xen-argo/room.h), by answers of Xen's of
 * which some come in no lab: for them it has to be very full.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kmod/xen-argo/room.h"

/* xen/include/public/argo.h; fill_ring_data in xen/common/argo.c */
#define EXISTS	   (1U << 0)
#define SHARED	   (1U << 1)
#define EMPTY	   (1U << 2)
#define SUFFICIENT (1U << 3)
#define EMSGSIZE   (1U << 4)
#define EBUSY	   (1U << 5)

static uint16_t verdict_of(uint16_t flags)
{
	struct argo_want want = {.ring = 1, .len = 100, .flags = flags};

	argo_room_judge(&want, 1, false);
	return want.verdict;
}

static void test_answers(void **state)
{
	assert_int_equal(verdict_of(EXISTS), ARGO_WAIT);
	assert_int_equal(verdict_of(EXISTS | SHARED), ARGO_WAIT);
	assert_int_equal(verdict_of(0), ARGO_GO); /* no such ring: sending says so */
	assert_int_equal(verdict_of(EXISTS | EMSGSIZE), ARGO_GO);
	assert_int_equal(verdict_of(EXISTS | SUFFICIENT), ARGO_GO);
	assert_int_equal(verdict_of(EXISTS | SUFFICIENT | EMPTY), ARGO_GO);
}

/* No wake-up is queued: to wait for one would be to wait for ever. */
static void test_table_full(void **state)
{
	assert_int_equal(verdict_of(EXISTS | EBUSY), ARGO_AGAIN);
	assert_int_equal(verdict_of(EXISTS | SHARED | EBUSY), ARGO_AGAIN);
}

/* The call ended in the middle: those before it are answered, it is told, the others ask again. */
static void test_call_refused(void **state)
{
	struct argo_want wants[4] = {{.ring = 1, .flags = EXISTS},
		{.ring = 2, .flags = ARGO_RING_UNANSWERED},
		{.ring = 3, .flags = ARGO_RING_UNANSWERED},
		{.ring = 4, .flags = ARGO_RING_UNANSWERED}};
	struct argo_want again[4];

	memcpy(again, wants, sizeof(wants));
	argo_room_judge(wants, 4, true);
	assert_int_equal(wants[0].verdict, ARGO_WAIT);
	assert_int_equal(wants[1].verdict, ARGO_GO);
	assert_int_equal(wants[2].verdict, ARGO_AGAIN);
	assert_int_equal(wants[3].verdict, ARGO_AGAIN);
	/* For lack of the hypervisor's memory: nobody learns anything by sending. */
	argo_room_judge(again, 4, false);
	assert_int_equal(again[0].verdict, ARGO_WAIT);
	for (int i = 1; i < 4; i++)
		assert_int_equal(again[i].verdict, ARGO_AGAIN);
}

/* Xen, as far as it is asked: one queued wake-up a ring, for the longest that does not fit. */
#define RINGS 3
static uint32_t room[RINGS], queued[RINGS];

static void xen_answer(struct argo_want *want)
{
	if (want->len <= room[want->ring]) {
		queued[want->ring] = 0;
		want->flags = EXISTS | SUFFICIENT;
	} else {
		if (queued[want->ring] < want->len)
			queued[want->ring] = want->len;
		want->flags = EXISTS;
	}
	room[want->ring] += (uint32_t)rand() % 3 * 8; /* the reader is at work meanwhile */
}

/* For each that is left waiting a wake-up is queued, and not for less than it wants. */
static void test_nobody_forgotten(void **state)
{
	struct argo_want wants[20];

	srand(1);
	for (int round = 0; round < 20000; round++) {
		size_t n = 1 + (size_t)rand() % 20;

		for (size_t i = 0; i < RINGS; i++) {
			room[i] = (uint32_t)rand() % 200;
			queued[i] = 0;
		}
		for (size_t i = 0; i < n; i++)
			wants[i] = (struct argo_want){
				.ring = (uint64_t)rand() % RINGS, .len = (uint32_t)rand() % 250};
		qsort(wants, n, sizeof(wants[0]), argo_want_compare);
		for (size_t i = 0; i < n; i++)
			xen_answer(&wants[i]);
		argo_room_judge(wants, (unsigned int)n, false);
		for (size_t i = 0; i < n; i++) {
			if (wants[i].verdict == ARGO_GO)
				assert_true(wants[i].len <= room[wants[i].ring]);
			else
				assert_true(queued[wants[i].ring] >= wants[i].len);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_table_full),
		cmocka_unit_test(test_call_refused),
		cmocka_unit_test(test_nobody_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
