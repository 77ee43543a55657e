/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A context of libmsg for each benchmark, and how one ends that fails. */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"
#include "libmsg/libmsg.h"

_Noreturn void bench_fail(const char *what)
{
	err(1, "%s: %s", what, msg_reason());
}

struct msg_ctx *bench_context(
	const char *hv, const char *domain, unsigned flags, int transport, int timeout_ms)
{
	struct msg_ctx *ctx;
	char name[256];

	/* The emulator must be told the domain of this process. */
	(void)snprintf(
		name, sizeof(name), strncmp(hv, "sim:", 4) == 0 ? "%s#%s" : "%s", hv, domain);
	ctx = msg_ctx_open(name, flags, timeout_ms);
	if (!ctx || msg_ctx_set_transport(ctx, transport) < 0)
		bench_fail(name);
	return ctx;
}

uint64_t thread_cpu_ns(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}
