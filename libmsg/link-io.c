/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames in and out of a link's rings, and the doorbell (PROTOCOL.md, sections 3 and 4). Nothing
 * here blocks; what another domain wrote leads to a reset link at worst.
 */
#include <errno.h>

#include "libmsg/private.h"

void link_push(struct link *link)
{
	if (link->state != LINK_UP)
		return;
	if (link->unpushed && link->ops->push(link) == -EAGAIN)
		return; /* argo: staged; retry_links tries again */
	link->unpushed = false;
	if (!link->bell_due)
		return;
	link->bell_due = false;
	link_bell_frames(link);
}

/*
 * Room shows as soon as a fifth of the ring is free; a sleeping sender is woken for two. (One and
 * two messages of 64 KiB in a default Argo ring, which has room for four: it would be two and all
 * of them, if it were a quarter and a half.)
 */
void link_release(struct link *link, bool all)
{
	if (link->unreleased >= link->ring_len / 5 || (all && link->unreleased)) {
		link->ops->release(link);
		link->untold += link->unreleased;
		link->unreleased = 0;
	}
	if (link->untold >= 2 * (link->ring_len / 5) || (all && link->untold)) {
		link->untold = 0;
		link_bell_room(link);
	}
}

bool link_want_room(struct link *link, uint32_t want)
{
	if (link->state != LINK_UP)
		return true;
	link_arm_room(link);
	if (link->ops->room(link, want) < (int64_t)want)
		return false;
	if (link->page)
		doorbell_disarm(&link->me->want_space);
	return true;
}

void link_put_failed(struct link *link, int error)
{
	if (error == -EBADMSG)
		link_violation(link, "a counter that makes no sense");
	else
		link_kill(link, true, "the other process's ring is gone");
}

int link_put_bare(struct link *link, uint32_t channel, enum frame_type type, uint32_t arg)
{
	struct frame frame = {.channel = channel, .type = (uint8_t)type, .arg = arg};
	struct iovec none = {0};
	struct iov_cursor cursor;
	int r;

	cursor_init(&cursor, &none, 1);
	r = link->ops->put(link, &frame, 0, &cursor, false);
	if (r < 0) {
		if (r != -EAGAIN)
			link_put_failed(link, r);
		return r;
	}
	link->unpushed = r > 0;
	link->bell_due = true;
	return 0;
}

void link_flush(struct link *link)
{
	struct channel *channel;
	struct channel_list again;

	/* Whoever waits for room in a blocking call looks again. */
	link->ctx->kick = true;
	do {
		TAILQ_INIT(&again);
		TAILQ_CONCAT(&again, &link->blocked, entry_blocked);
		while ((channel = TAILQ_FIRST(&again))) {
			TAILQ_REMOVE(&again, channel, entry_blocked);
			channel->blocked = false;
			channel_changed(channel);
			if (channel_flush(channel) == -EAGAIN)
				channel_block(channel);
			if (link->state != LINK_UP)
				return;
		}
		link_push(link);
		/* Every pass with room sends something: this ends. */
	} while (!TAILQ_EMPTY(&link->blocked) &&
		 link_want_room(link, link_min_fragment(link, FRAGMENT_MIN)));
}

/* The frame's channel, which was not the last frame's; NULL: not known (yet, if link->sync). */
static struct channel *frame_find_channel(struct link *link)
{
	struct control_message sync = {.type = CONTROL_SYNC};
	struct channel *channel = channel_find(link, link->frame.channel);
	struct request *request;

	if (!channel) {
		/* msgd wrote of it before the other end could know its number. */
		control_take(link->ctx);
		channel = channel_find(link, link->frame.channel);
	}
	link->last = channel;
	if (channel || link->synced || link->state != LINK_UP)
		return channel;
	/* Or is about to: its answer to this comes after that (PROTOCOL.md 4). */
	request = request_new(link->ctx, NULL, &sync);
	link->sync = request ? request->id : 0;
	return NULL;
}

void link_synced(struct msg_ctx *ctx, uint32_t request)
{
	struct link *link, *next;

	HASH_ITER (hh, ctx->links, link, next) {
		if (link->sync != request)
			continue;
		link->sync = 0;
		link->synced = true;
		if (!link->page)
			link_set_armed(link, false); /* it was not watched: see link_arm */
		link_take(link, NULL);
		return;
	}
}

/* Takes in one frame. 1; 0: none, or the link is dead or waits. */
static int link_take_one(struct link *link)
{
	const char *reason = "a frame that makes no sense";
	struct channel *channel;
	int r;

	r = link->ops->peek(link, &link->frame);
	if (r == 0)
		return 0;
	if (r < 0) {
		link_violation(link, reason);
		return 0;
	}
	channel = link->last;
	if (!channel || channel->number != link->frame.channel)
		channel = frame_find_channel(link);
	if (link->state != LINK_UP || (!channel && link->sync))
		return 0;
	if (!channel && link->epoch == link->ctx->control.epoch) {
		link_violation(link, "a frame for a channel that was never granted");
		return 0;
	}
	link->synced = false;
	/* Older than this msgd: the former may have died with CHANNEL unsaid (PROTOCOL.md 5.1). */
	r = channel ? channel_frame(channel, &link->frame, &reason) : 0;
	if (r < 0) {
		link_violation(link, reason);
		return 0;
	}
	if (link->state != LINK_UP || link->violated)
		return 0;
	link->ops->next(link);
	if (link->unreleased >= link->ring_len / 5)
		link_release(link, false);
	return 1;
}

void link_take(struct link *link, struct channel *until)
{
	bool served = false, read = until && until->reader;

	if (link->busy || link->sync || link->state != LINK_UP)
		return;
	link->busy = true;
	while (!served && !link->broken && link_take_one(link)) {
		if (until && !link->dying)
			served = !STAILQ_EMPTY(&until->in) || (read && !until->reader);
	}
	link->busy = false;
	if (link->state != LINK_UP)
		return;
	if (link->violated) {
		link_violation(link, link->violated);
		return;
	}
	if (!served)
		link_release(link, true);
	if (link->unpushed || link->bell_due)
		link_push(link); /* credit that was given meanwhile */
	if (link->dying) {
		link->dying = false;
		link_kill(link, false, "the other process is gone");
	}
}
