/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How many lines of log others may cause. Each source of lines has an allowance, and all sources
 * share one. Both are counted in time: a line costs so many nanoseconds, and time pays for it. The
 * number of lines in any span of time is bounded by this, whatever the sources do.
 *
 * While more than half of the shared allowance is spent, a line costs its source more, up to its
 * whole allowance: so each source gets its share of what time pays for, and noisy sources do not
 * silence a quiet one.
 */
#ifndef MSGD_BASE_LOG_LIMIT_H
#define MSGD_BASE_LOG_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct log_rate {
	uint64_t line_ns; /* a line costs so much */
	uint32_t burst;	  /* so many lines may be written at once */
};

/* All zero: nothing is spent. */
struct log_allowance {
	uint64_t due_ns; /* when all lines so far are paid for */
};

struct log_limiter {
	struct log_rate all, each;
	struct log_allowance spent;
	uint64_t left_out; /* lines, of all sources, ever */
};

struct log_source {
	struct log_allowance spent;
	uint32_t left_out; /* lines, since the last that was written */
};

enum log_verdict {
	LOG_LEAVE_OUT,
	LOG_WRITE,
	LOG_SAY_LEFT_OUT, /* in the place of the line: that lines are left out from here on */
};

/* In nanoseconds. */
static inline uint64_t log_spent(const struct log_allowance *allowance, uint64_t now_ns)
{
	return allowance->due_ns > now_ns ? allowance->due_ns - now_ns : 0;
}

static inline bool log_has_room(
	const struct log_allowance *allowance, const struct log_rate *rate, uint64_t now_ns)
{
	return log_spent(allowance, now_ns) <= (rate->burst - 1) * rate->line_ns;
}

static inline void log_pay(struct log_allowance *allowance, uint64_t cost_ns, uint64_t now_ns)
{
	allowance->due_ns = now_ns + log_spent(allowance, now_ns) + cost_ns;
}

/* The price of a line for its source. */
static inline uint64_t log_cost(const struct log_limiter *limiter, uint64_t now_ns)
{
	uint64_t half = limiter->all.burst * limiter->all.line_ns / 2;
	uint64_t spent = log_spent(&limiter->spent, now_ns);
	uint64_t line = limiter->each.line_ns, whole = limiter->each.burst * line;

	if (spent <= half)
		return line;
	/* In thousandths: no product overflows. */
	return line + (whole - line) / 1000 * ((spent - half) / (half / 1000));
}

static inline bool log_may_write(
	const struct log_limiter *limiter, const struct log_source *source, uint64_t now_ns)
{
	return log_has_room(&limiter->spent, &limiter->all, now_ns) &&
	       log_has_room(&source->spent, &limiter->each, now_ns);
}

static inline void log_write_one(
	struct log_limiter *limiter, struct log_source *source, uint64_t now_ns)
{
	log_pay(&source->spent, log_cost(limiter, now_ns), now_ns);
	log_pay(&limiter->spent, limiter->all.line_ns, now_ns);
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
	if (source->left_out > 1 || !log_has_room(&limiter->spent, &limiter->all, now_ns))
		return LOG_LEAVE_OUT;
	log_write_one(limiter, source, now_ns);
	return LOG_SAY_LEFT_OUT;
}

#endif
