/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How many lines of log others may cause. Each source of lines has an allowance, and all sources
 * share one: the number of lines in any span of time is bounded, whatever the sources do.
 *
 * While more than half of the shared allowance is spent, a line costs its source more, up to its
 * whole allowance: so each source gets its share of what time pays for, and noisy sources do not
 * silence a quiet one.
 */
#ifndef MSGD_BASE_LOG_LIMIT_H
#define MSGD_BASE_LOG_LIMIT_H

#include <stdarg.h>
#include <stdbool.h>

#include "base/allowance.h"

struct log_limiter {
	struct rate all, each;
	/*
	 * Writes a line that is paid for. Only log_limited calls it. about: the caller's;
	 * about_lines: the line is about others of the same source.
	 */
	void (*put_line)(
		void *arg, int priority, const void *about, bool about_lines, const char *text);
	void *arg; /* borrowed */
	struct allowance spent;
	uint64_t left_out; /* lines, of all sources, ever */
};

struct log_source {
	struct allowance spent;
	uint32_t left_out; /* lines, since the last that was written */
};

enum log_verdict {
	LOG_LEAVE_OUT,
	LOG_WRITE,
	LOG_SAY_LEFT_OUT, /* in the place of the line: that lines are left out from here on */
};

/* The price of a line for its source. */
static inline uint64_t log_cost(const struct log_limiter *limiter, uint64_t now_ns)
{
	uint64_t half = limiter->all.burst * limiter->all.each_ns / 2;
	uint64_t spent = allowance_spent(&limiter->spent, now_ns);
	uint64_t line = limiter->each.each_ns, whole = limiter->each.burst * line;

	if (spent <= half)
		return line;
	/* In thousandths: no product overflows. */
	return line + (whole - line) / 1000 * ((spent - half) / (half / 1000));
}

static inline bool log_may_write(
	const struct log_limiter *limiter, const struct log_source *source, uint64_t now_ns)
{
	return allowance_wait(&limiter->spent, &limiter->all, now_ns) == 0 &&
	       allowance_wait(&source->spent, &limiter->each, now_ns) == 0;
}

static inline void log_write_one(
	struct log_limiter *limiter, struct log_source *source, uint64_t now_ns)
{
	allowance_pay(&source->spent, log_cost(limiter, now_ns), now_ns);
	allowance_pay(&limiter->spent, limiter->all.each_ns, now_ns);
}

/*
 * Whether a source's line is to be written, which is then paid for. ret_left_out: so many lines
 * were left out before it, and the caller says so in a line that is paid for as well.
 */
static inline enum log_verdict log_judge(struct log_limiter *limiter, struct log_source *source,
	uint64_t now_ns, uint32_t *ret_left_out)
{
	*ret_left_out = 0;
	if (log_may_write(limiter, source, now_ns)) {
		log_write_one(limiter, source, now_ns);
		if (source->left_out)
			log_write_one(limiter, source, now_ns);
		*ret_left_out = source->left_out;
		source->left_out = 0;
		return LOG_WRITE;
	}
	limiter->left_out++;
	if (source->left_out < UINT32_MAX)
		source->left_out++;
	if (source->left_out > 1 || allowance_wait(&limiter->spent, &limiter->all, now_ns) > 0)
		return LOG_LEAVE_OUT;
	log_write_one(limiter, source, now_ns);
	return LOG_SAY_LEFT_OUT;
}

/*
 * Writes the line, if there is room for it, and what is to be said of lines that were left out.
 * subject: the source, for the lines about lines. about: for put_line, may be NULL.
 */
__attribute__((format(printf, 7, 0))) void log_limited(struct log_limiter *limiter,
	struct log_source *source, uint64_t now_ns, const char *subject, int priority,
	const void *about, const char *format, va_list args);

#endif
