/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Telling a process that it has events, at the price of a system call only if it may sleep.
 *
 * A slot has bits (ports, rings, flags) and a word, `kick`. The flag WRITTEN in `kick` says that
 * the slot's eventfd was written since its last drain; WRITING says that this may be so; the bits
 * above the flags count the drains. A raiser does
 *
 *	set the bit; k = kick;
 *	if (!(k & WRITTEN)) {
 *		kick |= WRITING; write(eventfd);
 *		cas(kick, k | WRITING, k | WRITING | WRITTEN) or else kick |= WRITING;
 *	}
 *
 * and the owner, once it has taken all bits,
 *
 *	if (kick & (WRITING | WRITTEN)) {
 *		read(eventfd); kick = next drain, neither;
 *		if (a bit is set) { write(eventfd); kick |= WRITTEN; }
 *	}
 *
 * all of it sequentially consistent. So while a bit is set, the eventfd is readable or a raiser is
 * about to write it:
 *  - The raiser saw WRITTEN: the owner cleared WRITTEN later, so its last look sees the raiser's
 *    bit.
 *  - The raiser writes before the owner's read: the owner's last look sees the bit, or the owner
 *    had taken it.
 *  - The raiser writes after the owner's read: the eventfd is readable.
 *
 * The owner reads the eventfd before it counts the drain. So WRITTEN means that somebody wrote
 * since this count began, and the one read of a count is at its end, before a look at the bits. The
 * other way round, a raiser whose bit was taken already could write between the two, and set
 * WRITTEN after the read: the eventfd would be empty, and every later raiser silent.
 *
 * The eventfd is not readable for long without a bit. WRITING is set before the write, so that an
 * owner that was woken by the write drains the eventfd, even if it has preempted the raiser. If a
 * drain came between the two, the failed cas sets WRITING again. And an owner that finds nothing
 * time and again looks at the eventfd all the same.
 *
 * Two raisers may both write, which costs one of them a system call. For a raiser that dies before
 * its write, slots_kick_unseen writes. A raiser that is stopped before its write delays only its
 * own event, for the next raiser sees WRITTEN clear. The slot may change hands while a raiser is
 * stopped there, and get another generation, then another count: that raiser must not set WRITTEN
 * for the next owner's eventfd. Either it sees the other generation; or its `kick |= WRITING` came
 * before that, and its cas fails by the count.
 */
#include "hv/sim/memory/slot.h"

#include <errno.h>
#include <unistd.h>

#include "hv/sim/memory/lock.h"

#define WRITTEN	    1U
#define WRITING	    2U
#define DRAIN	    4U
#define EMPTY_LOOKS 16U

bool slot_is_live(struct xen *xen)
{
	struct sim_slot *s = slot_at(xen, xen->slot);

	return atomic_load_explicit(&s->state, memory_order_relaxed) == SIM_SLOT_LIVE &&
	       lock_word_of(xen->slot, atomic_load_explicit(&s->generation,
					       memory_order_relaxed)) == xen->lock_word;
}

void slot_set_port(struct xen *xen, uint32_t slot, uint32_t port)
{
	struct sim_slot *s = slot_at(xen, slot);

	atomic_fetch_or(&s->ports[port / 64], 1ULL << port % 64);
	atomic_fetch_or(&s->port_words, 1ULL << port / 64 % 64);
}

void slot_set_ring(struct xen *xen, uint32_t slot, uint32_t ring)
{
	atomic_fetch_or(&slot_at(xen, slot)->rings[ring / 64], 1ULL << ring % 64);
}

void slot_set_flags(struct xen *xen, uint32_t slot, uint32_t flags)
{
	atomic_fetch_or(&slot_at(xen, slot)->flags, flags);
}

void kick_slot(struct xen *xen, uint32_t slot)
{
	struct sim_slot *s = slot_at(xen, slot);
	uint32_t generation = atomic_load(&s->generation);
	uint32_t k = atomic_load(&s->kick);

	if ((k & WRITTEN) || !xen->ops || !xen->ops->kick)
		return;
	k = atomic_fetch_or(&s->kick, WRITING) | WRITING;
	if (atomic_load(&s->generation) != generation)
		return;
	xen->ops->kick(xen, slot, generation);
	if ((k & WRITTEN) || !atomic_compare_exchange_strong(&s->kick, &k, k | WRITTEN))
		atomic_fetch_or(&s->kick, WRITING);
}

void kick_all(struct xen *xen, const struct kick_set *kicks)
{
	for (uint32_t i = 0; kicks->any && i < SIM_MAX_SLOTS / 64; i++)
		for (uint64_t word = kicks->slots[i]; word; word &= word - 1)
			kick_slot(xen, i * 64 + (uint32_t)__builtin_ctzll(word));
}

void slot_kick_reset(struct sim_slot *s)
{
	atomic_store(&s->kick, (atomic_load(&s->kick) + DRAIN) & ~(WRITTEN | WRITING));
}

static bool slot_has_events(struct xen *xen, uint32_t slot)
{
	struct sim_slot *s = slot_at(xen, slot);

	return atomic_load(&s->port_words) || atomic_load(&s->rings[0]) ||
	       atomic_load(&s->rings[1]) || atomic_load(&s->flags);
}

void slot_quiesce(struct xen *xen, int event_fd)
{
	struct sim_slot *s = slot_at(xen, xen->slot);
	uint32_t k = atomic_load(&s->kick);
	uint64_t count;

	if (slot_has_events(xen, xen->slot))
		return;
	if (!(k & (WRITTEN | WRITING)) && ++xen->n_empty % EMPTY_LOOKS)
		return;
	if (read(event_fd, &count, sizeof(count)) < 0)
		count = 0; /* the write is still to come */
	while (!atomic_compare_exchange_weak(&s->kick, &k, (k + DRAIN) & ~(WRITTEN | WRITING)))
		;
	if (slot_has_events(xen, xen->slot)) {
		count = 1;
		if (write(event_fd, &count, sizeof(count)) == sizeof(count))
			atomic_fetch_or(&s->kick, WRITTEN);
	}
}

void slots_kick_unseen(struct xen *xen)
{
	for (uint32_t i = 0; i < SIM_MAX_SLOTS; i++)
		if (atomic_load(&slot_at(xen, i)->state) == SIM_SLOT_LIVE &&
			slot_has_events(xen, i))
			kick_slot(xen, i);
}
