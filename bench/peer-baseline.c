/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The best that two processes can do without any data: wake each other by futex, or see each
 * other's word in shared memory while both are awake. These are lower bounds for round trips. Of
 * what goes one way, copying it into a ring and out is one.
 */
#include <err.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/bench.h"

/* One word a direction, on cache lines of their own; `len` says whether it is the last. */
struct word {
	_Alignas(128) _Atomic uint32_t turn;
	size_t len;
};

static void pair_prepare(struct pair *pair)
{
	pair->shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (pair->shared == MAP_FAILED)
		err(1, "mmap");
}

static void end_open(struct end *end)
{
	end->turn = 0;
}

static struct word *word_of(struct end *end, int role)
{
	return (struct word *)end->pair->shared + role;
}

/* Both words end in the same turn: a side sends its turn, then waits for the other's. */
static void line_send(struct end *end, const void *data, size_t len, bool more)
{
	struct word *word = word_of(end, end->role);

	word->len = len;
	(void)atomic_fetch_add_explicit(&word->turn, 1, memory_order_release);
}

static size_t last_len(struct end *end, void *data, const struct word *word)
{
	end->turn++;
	*(uint64_t *)data = UINT64_MAX; /* work_round_trip expects it of the last */
	return word->len;
}

static size_t line_recv(struct end *end, void *data, size_t size)
{
	struct word *word = word_of(end, !end->role);

	for (uint32_t spins = 0;
		atomic_load_explicit(&word->turn, memory_order_acquire) == end->turn; spins++) {
		if (spins > 20000)
			(void)sched_yield(); /* the other has no CPU */
	}
	return last_len(end, data, word);
}

static void futex_send(struct end *end, const void *data, size_t len, bool more)
{
	line_send(end, data, len, more);
	(void)syscall(SYS_futex, &word_of(end, end->role)->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static size_t futex_recv(struct end *end, void *data, size_t size)
{
	struct word *word = word_of(end, !end->role);

	while (atomic_load_explicit(&word->turn, memory_order_acquire) == end->turn)
		(void)syscall(SYS_futex, &word->turn, FUTEX_WAIT, end->turn, NULL, NULL, 0);
	return last_len(end, data, word);
}

static void end_close(struct end *end)
{
	(void)munmap(end->pair->shared, 4096);
}

const struct peer peer_futex = {
	.name = "futex",
	.flags = PEER_BASELINE,
	.prepare = pair_prepare,
	.open = end_open,
	.send = futex_send,
	.recv = futex_recv,
	.close = end_close,
};

const struct peer peer_cache_line = {
	.name = "cache line",
	.flags = PEER_BASELINE,
	.prepare = pair_prepare,
	.open = end_open,
	.send = line_send,
	.recv = line_recv,
	.close = end_close,
};

/* Measured by work_memcpy in one process. */
const struct peer peer_memcpy = {.name = "memcpy", .flags = PEER_BASELINE};
