/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Channels that msgd ended (CHANNEL_GONE) while the other end did not know yet. The frames that
 * were under way are dropped, as many as that end had credit for, and are no violation: other
 * channels share the link.
 */
#include "libmsg/channel/channel.h"

#include <stdlib.h>

/* So many of a link are remembered, in 80 KiB; the oldest ones' frames arrived long ago. */
#define GONE_MAX 1024U

/* SHUTDOWN and CLOSE. */
#define END_FRAMES 2U

struct gone {
	uint32_t number; /* key in set->gone */
	uint64_t credit; /* bytes of frames that may still come */
	UT_hash_handle hh;
};

static struct gone *gone_find(const struct channel_set *set, uint32_t number)
{
	struct gone *gone;

	HASH_FIND(hh, set->gone, &number, sizeof(number), gone);
	return gone;
}

static void gone_free(struct channel_set *set, struct gone *gone)
{
	HASH_DEL(set->gone, gone);
	free(gone);
}

/* NULL: out of memory. */
static struct gone *gone_new(struct channel_set *set, uint32_t number)
{
	struct gone *gone = calloc(1, sizeof(*gone));

	if (!gone)
		return NULL;
	gone->number = number;
	if (HASH_COUNT(set->gone) >= GONE_MAX)
		gone_free(set, set->gone); /* the table is in the order of adding */
	HASH_ADD(hh, set->gone, number, sizeof(gone->number), gone);
	if (hash_added(&gone->hh))
		return gone;
	free(gone);
	return NULL;
}

void channel_note_gone(const struct channel *channel)
{
	struct gone *gone = gone_find(channel->set, channel->number);

	if (!gone)
		gone = gone_new(channel->set, channel->number);
	if (gone)
		gone->credit = channel->rx_window +
			       FRAME_CHARGE * ((uint64_t)channel->rx_free + END_FRAMES);
}

bool channel_set_is_gone(struct channel_set *set, const struct frame *frame)
{
	struct gone *gone = gone_find(set, frame->channel);

	if (!gone || gone->credit < frame->len + FRAME_CHARGE)
		return false;
	gone->credit -= frame->len + FRAME_CHARGE;
	return true;
}

void channel_set_forget_gone(struct channel_set *set)
{
	while (set->gone)
		gone_free(set, set->gone);
}
