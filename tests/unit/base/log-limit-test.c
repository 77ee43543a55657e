/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The limiter of lines that others cause: its bounds hold whatever the sources do. */
#include "base/log-limit.h"

#include <string.h>

#include "tests/support/cmocka-all.h"

#define SECOND UINT64_C(1000000000)

/* As in msgd. */
static const struct log_limiter fresh = {
	.all = {.each_ns = SECOND / 20, .burst = 2000},
	.each = {.each_ns = SECOND / 10, .burst = 100},
};

/* The lines that come of one attempt: of the source, and about lines that were left out. */
static unsigned lines_of(struct log_limiter *limiter, struct log_source *source, uint64_t now_ns)
{
	uint32_t left_out;
	enum log_verdict verdict = log_judge(limiter, source, now_ns, &left_out);

	return (verdict != LOG_LEAVE_OUT) + (left_out > 0);
}

static void test_one_source(void **state)
{
	struct log_limiter limiter = fresh;
	struct log_source source = {.left_out = 0};
	unsigned lines = 0;
	uint32_t left_out;

	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(log_judge(&limiter, &source, 5, &left_out), LOG_WRITE);
	assert_int_equal(log_judge(&limiter, &source, 5, &left_out), LOG_SAY_LEFT_OUT);
	for (unsigned i = 0; i < 99; i++)
		assert_int_equal(log_judge(&limiter, &source, 5, &left_out), LOG_LEAVE_OUT);
	assert_int_equal(log_judge(&limiter, &source, 5 + SECOND, &left_out), LOG_WRITE);
	assert_int_equal(left_out, 100);
	assert_int_equal(limiter.left_out, 100);
	/* In the long run one line in its time, with those about lines. */
	for (uint64_t now = 2 * SECOND; now < 102 * SECOND; now += SECOND / 1000)
		lines += lines_of(&limiter, &source, now);
	assert_in_range(lines, 990, 1020);
}

/* In any 30 seconds no more than journald's 10,000, by far, though each attacker has its own. */
static void test_all_sources(void **state)
{
	static struct log_source sources[20000];
	struct log_limiter limiter = fresh;
	unsigned lines = 0;

	memset(sources, 0, sizeof(sources));
	for (uint64_t now = 0; now < 30 * SECOND; now += 30 * SECOND / 100) {
		for (unsigned i = 0; i < 20000; i++) {
			lines += lines_of(&limiter, &sources[i], now);
			lines += lines_of(&limiter, &sources[i], now);
		}
	}
	assert_in_range(lines, 2000, 2000 + 30 * 20 + 1);
}

/* As many noisy domains as there may be do not keep a quiet one out of the log. */
static void test_quiet_source(void **state)
{
	struct log_source noisy[64], quiet = {.left_out = 0};
	struct log_limiter limiter = fresh;
	uint32_t left_out;

	memset(noisy, 0, sizeof(noisy));
	for (uint64_t now = 0; now < 120 * SECOND; now += SECOND / 20) {
		for (unsigned i = 0; i < 64 * 200; i++)
			(void)lines_of(&limiter, &noisy[i % 64], now);
		/* Three lines when something happens, and one now and then. */
		if (now == 0 || now % (5 * SECOND))
			continue;
		for (unsigned i = 0; i < (now == 5 * SECOND ? 3 : 1); i++)
			assert_int_equal(log_judge(&limiter, &quiet, now, &left_out), LOG_WRITE);
		assert_int_equal(left_out, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_source),
		cmocka_unit_test(test_all_sources),
		cmocka_unit_test(test_quiet_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
