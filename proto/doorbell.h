/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The doorbell page and the grant ring's counters: PROTOCOL.md, section 3. Both sides write to this
 * page, so whatever is read here is a hint: read once, checked, never trusted again.
 *
 * The sleep/wake protocol (tests/model has it for spin):
 *
 *   receiver, before it sleeps          sender, after it published
 *   R1 sleeping = 1                     S1 produced = n (or the hypervisor's tx_ptr)
 *   R2 full fence                       S2 full fence
 *   R3 look at the ring again           S3 if (sleeping) and exchange(sleeping, 0): send event
 *
 * If R3 does not see S1's store, then in the total order of the fences R2 precedes S2, so S3 sees
 * R1's store and sends: no wake-up is lost. The exchange makes it one event per sleep. want_space
 * is the same protocol the other way, with `consumed` in the place of `produced`.
 */
#ifndef MSGD_PROTO_DOORBELL_H
#define MSGD_PROTO_DOORBELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/limits.h"

#define DOORBELL_LINE 64

/* One end's half. Every field has a cache line of its own, by who writes it. */
struct doorbell_end {
	/* Written by this end as receiver; taken by the other end, which then sends an event. */
	_Alignas(DOORBELL_LINE) _Atomic uint32_t sleeping;
	/* Written by this end as sender that lacks room; taken by the other end likewise. */
	_Alignas(DOORBELL_LINE) _Atomic uint32_t want_space;
	/* Bytes that this end has consumed from its receive ring, modulo 2^32. */
	_Alignas(DOORBELL_LINE) _Atomic uint32_t consumed;
	/* Bytes that this end has produced into the other end's receive ring (grant rings). */
	_Alignas(DOORBELL_LINE) _Atomic uint32_t produced;
	/* This end's physical CPU + 1, or 0: unknown. */
	_Alignas(DOORBELL_LINE) _Atomic uint32_t cpu;
	/* 1 while this end holds the page; unmap-notify makes it 0. */
	_Alignas(DOORBELL_LINE) _Atomic uint8_t alive;
	_Alignas(DOORBELL_LINE) uint8_t reserved[2 * DOORBELL_LINE];
};

#define CONTROL_PAGE_MAGIC 0x4347534dU /* "MSGC" */
#define LINK_PAGE_MAGIC	   0x4c47534dU /* "MSGL" */

/*
 * Whose page it is. Written by the creator before it tells of the page: of a link, into every page
 * that it grants.
 */
struct doorbell_head {
	uint32_t magic;
	uint16_t version_min, version_max; /* on links 0 */
	uint8_t nonce[16];		   /* on links: link_page_head */
	uint32_t port;
};

struct doorbell_page {
	struct doorbell_head head;
	/* Control pages only; written by msgd: one more at each attach of a msgd. */
	_Alignas(DOORBELL_LINE) _Atomic uint32_t epoch;
	/* Likewise, before msgd lets go of an application for good: the epoch that ends; why. */
	_Atomic uint32_t dropped;
	_Alignas(DOORBELL_LINE) char drop_reason[REASON_SIZE];
	_Alignas(512) struct doorbell_end end[2]; /* 0: creator (application), 1: binder (msgd) */
};

_Static_assert(sizeof(struct doorbell_head) == 28, "PROTOCOL.md 3.1; no padding");
_Static_assert(sizeof(struct doorbell_end) == 512, "PROTOCOL.md 3.1");
_Static_assert(offsetof(struct doorbell_page, epoch) == 64, "PROTOCOL.md 3.1");
_Static_assert(offsetof(struct doorbell_page, dropped) == 68, "PROTOCOL.md 3.1");
_Static_assert(offsetof(struct doorbell_page, drop_reason) == 128, "PROTOCOL.md 3.1");
_Static_assert(offsetof(struct doorbell_page, end) == 512, "PROTOCOL.md 3.1");
_Static_assert(sizeof(struct doorbell_page) <= 4096, "it is one page");

/* The pages of a link (PROTOCOL.md 3.5). */
#define LINK_PAGE_DOORBELL 0U
#define LINK_PAGE_REFS	   1U
#define LINK_PAGE_RING	   2U /* the first ring page; the others follow */
/* Where the page of references has them, in bytes; its head is before. */
#define LINK_REFS_OFFSET 64U

/* The head of a link's page of that index: its uid and the index, little-endian, then 0. */
static inline struct doorbell_head link_page_head(uint64_t uid, uint32_t port, uint32_t index)
{
	struct doorbell_head head = {.magic = LINK_PAGE_MAGIC, .port = port};

	for (unsigned i = 0; i < 8; i++)
		head.nonce[i] = (uint8_t)(uid >> 8 * i);
	for (unsigned i = 0; i < 4; i++)
		head.nonce[8 + i] = (uint8_t)(index >> 8 * i);
	return head;
}

#define DOORBELL_ALIVE_OFFSET(e)                                                                   \
	((uint32_t)(offsetof(struct doorbell_page, end) + (e) * sizeof(struct doorbell_end) +      \
		    offsetof(struct doorbell_end, alive)))

/* The head of the page is copied once: the page's creator can write it at any time. */
static inline bool doorbell_head_is(const void *page, const struct doorbell_head *want)
{
	struct doorbell_head head;

	memcpy(&head, page, sizeof(head));
	return memcmp(&head, want, sizeof(head)) == 0;
}

/* R1 and R2: look at the ring again before sleeping. */
static inline void doorbell_arm(_Atomic uint32_t *flag)
{
	atomic_store_explicit(flag, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

static inline void doorbell_disarm(_Atomic uint32_t *flag)
{
	atomic_store_explicit(flag, 0, memory_order_relaxed);
}

/* S2 and S3. True: the caller sends the event. */
static inline bool doorbell_take(_Atomic uint32_t *flag)
{
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(flag, memory_order_relaxed) &&
	       atomic_exchange_explicit(flag, 0, memory_order_relaxed);
}

#endif
