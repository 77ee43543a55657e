/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Makes a failing sequence smaller: leaves calls out, then makes their arguments simpler. */
#include "tests/differential/differential.h"

#include <string.h>

#include "base/macro.h"

static bool fails(const struct sequence *sequence)
{
	char why[256];

	return !sequence_run(sequence, NULL, why);
}

/* Keeps what fails, too. */
static bool take_if_fails(struct sequence *best, const struct sequence *other)
{
	if (!fails(other))
		return false;
	*best = *other;
	return true;
}

static bool drop_calls(struct sequence *best, uint32_t n)
{
	bool smaller = false;

	for (uint32_t i = 0; i + n <= best->n_calls;) {
		struct sequence other = *best;

		memmove(&other.calls[i], &other.calls[i + n],
			(other.n_calls - i - n) * sizeof(other.calls[0]));
		other.n_calls -= n;
		if (take_if_fails(best, &other))
			smaller = true;
		else
			i++;
	}
	return smaller;
}

static void without_flags(struct call *call, unsigned which)
{
	static const int flags[] = {MSG_MORE, MSG_EOR, MSG_NOSIGNAL, MSG_PEEK, MSG_TRUNC,
		MSG_WAITALL, MSG_WAITFORONE, MSG_DONTROUTE};

	call->flags &= ~flags[which % ARRAY_SIZE(flags)];
}

/* Calls that sequence_make never makes prove nothing. */
static void keep_legal(struct call *call)
{
	if (call->kind == CALL_RECVMMSG)
		call->size = max_u32(call->size, 1);
	else
		call->flags &= ~MSG_WAITFORONE;
}

/* The k-th way to make a call simpler; false: there are no more. */
static bool simplify(struct call *call, unsigned k)
{
	static const uint32_t sizes[] = {0, 1, 2, 3, 10, 100, 1000};

	if (k < ARRAY_SIZE(sizes)) {
		call->size = (uint32_t)min_u64(call->size, sizes[k]);
		return true;
	}
	k -= ARRAY_SIZE(sizes);
	if (k < 8) {
		without_flags(call, k);
		return true;
	}
	k -= 8;
	if (k < 3)
		call->n = (uint8_t)min_u64(call->n, k + 1);
	else if (k == 3)
		call->n_pieces = 1;
	else if (k == 4 && (call_sends(call) || call_receives(call)))
		call->kind = call_sends(call) ? CALL_SEND : CALL_RECV;
	return k <= 4;
}

static bool simplify_calls(struct sequence *best)
{
	bool simpler = false;

	for (uint32_t i = 0; i < best->n_calls; i++) {
		struct sequence other = *best;

		for (unsigned k = 0; simplify(&other.calls[i], k); k++) {
			keep_legal(&other.calls[i]);
			if (memcmp(&other, best, sizeof(other)) != 0)
				simpler |= take_if_fails(best, &other);
			other = *best;
		}
	}
	return simpler;
}

struct sequence sequence_minimise(const struct sequence *failing)
{
	struct sequence best = *failing;
	bool smaller = true;

	for (int rounds = 0; smaller && rounds < 5; rounds++) {
		smaller = drop_calls(&best, 4);
		smaller |= drop_calls(&best, 1);
		smaller |= simplify_calls(&best);
	}
	return best;
}
