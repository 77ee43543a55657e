/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one pass that acts on the marks that all layers leave, outside of every loop of theirs. */
#include <stdio.h>
#include <syslog.h>

#include "base/cancel.h"
#include "libmsg/wait/driver.h"

static void flush_due(struct driver *driver)
{
	struct channel_set *set;

	/* Each link once: a flush leaves none of its channels due. */
	while ((set = TAILQ_FIRST(&driver->pool->due)))
		link_flush(container_of(set, struct link, channels));
}

/*
 * Takes in the frames that an ending link still has in its ring, a turn of them. Nothing is sent on
 * it any more. False: there are more.
 */
static bool drain(struct driver *driver, struct link *link)
{
	enum link_outcome outcome;

	link->turn = LINK_TURN;
	/* A frame that is skipped costs a part of the turn, too. */
	do {
		outcome = link_receive(link, NULL);
		if (outcome == LINK_UNKNOWN &&
			!control_ahead_came(driver->control, link, link->transport->frame.channel))
			link_skip(link);
	} while (outcome == LINK_DUE || outcome == LINK_UNKNOWN);
	/* Messages that had arrived are lost here: the application needs that reason. */
	if (outcome == LINK_OUT_OF_MEMORY || outcome == LINK_OVER_BUDGET)
		(void)snprintf(link->reason, sizeof(link->reason), "%s", link->channels.breach);
	link->drain--;
	return outcome != LINK_TURN_OVER || !link->drain;
}

static void tell_failed(struct driver *driver, const struct link *link)
{
	struct control_message message = {.type = CONTROL_LINK_FAILED,
		.link_failed = {.end = link->end, .error = (uint32_t)link_told_error(link)}};

	(void)snprintf(message.link_failed.reason, REASON_SIZE, "%s", link->reason);
	control_send(driver->control, &message);
}

/* msgd and the log hear of a link's end once. */
static void tell_end(struct driver *driver, struct link *link)
{
	if (link->told)
		return;
	link->told = true;
	if (link_told_error(link))
		tell_failed(driver, link);
	control_log(driver->control, link->cause == LINK_VIOLATED ? LOG_WARNING : LOG_INFO,
		"link %u to domain %u %s: %s", link->end, link->transport->peer_domid,
		link->cause == LINK_VIOLATED ? "is reset" : "ends", link->reason);
}

/*
 * A part of the way to each ending link's end. True: there is more to do, before which the calls
 * that wait look at their time limits.
 */
static bool reap(struct driver *driver)
{
	struct control *control = driver->control;
	struct link *link, *next;

	/*
	 * A channel of which msgd has told already is reset with its link, not forgotten; and msgd
	 * may have said why the other process is gone.
	 */
	if (!TAILQ_EMPTY(&driver->links->ending))
		control_take(control);
	for (link = TAILQ_FIRST(&driver->links->ending); link; link = next) {
		next = TAILQ_NEXT(link, entry);
		if (control_leaves(control))
			link_end(link, LINK_ENDED_BY_MSGD, control->reason);
		if (link->drain && !drain(driver, link))
			continue;
		link->drain = 0;
		tell_end(driver, link);
		(void)link_bury(link);
	}
	return !TAILQ_EMPTY(&driver->links->ending);
}

/*
 * Both ends of a channel have said CLOSE: its number is free here. An application that has its end
 * still reads what is left.
 */
static void finish(struct driver *driver, struct channel *channel)
{
	control_channel_done(driver->control, channel);
	if (channel->state == CHANNEL_FINISHED)
		channel_free(channel);
	else
		channel_reset(channel, 0, "");
}

static void tell_changed(struct driver *driver)
{
	struct pool *pool = driver->pool;
	struct channel *channel;

	/* Each channel once: as many as the frames of a turn, and this process's calls, changed. */
	while ((channel = TAILQ_FIRST(&pool->changed))) {
		TAILQ_REMOVE(&pool->changed, channel, entry_changed);
		channel->changed = false;
		if (channel->state == CHANNEL_FINISHED || channel_is_over(channel))
			finish(driver, channel);
		else if (channel->sock)
			sock_changed(channel->sock);
	}
}

/*
 * Each round of this leaves less undone: a link ends once, a channel finishes once. Links that end
 * step by step are left to the next pass, after a round that did nothing else.
 */
static void act_on_marks(struct driver *driver)
{
	const struct pool *pool = driver->pool;
	bool ending;

	do {
		flush_due(driver);
		ending = reap(driver);
		tell_changed(driver);
	} while (!TAILQ_EMPTY(&pool->due) || (!ending && !TAILQ_EMPTY(&driver->links->ending)));
}

/* msgd may have a link made meanwhile. */
void driver_end_links(struct driver *driver, const char *reason)
{
	struct link *link;

	while (driver->links->by_end) {
		for (link = driver->links->by_end; link; link = link->hh.next)
			link_end(link, LINK_LEFT, reason);
		act_on_marks(driver);
	}
}

void driver_pass(struct driver *driver)
{
	WITHOUT_CANCEL;
	struct links *links = driver->links;

	act_on_marks(driver);
	/* Credit whose time has come goes out at once: an event loop is not to wake for it. */
	if (!TAILQ_EMPTY(&driver->pool->paced)) {
		pool_pace(driver->pool, driver->hv->ops->now_ns(driver->hv));
		act_on_marks(driver);
	}
	if (!TAILQ_EMPTY(&links->ending))
		pool_rearm(driver->pool); /* nobody sleeps over it */
	if (control_leaves(driver->control))
		driver_end_links(driver, driver->control->reason);
	control_publish(driver->control);
	/* The thread that spins looks at a link's memory; it comes by here when it is done. */
	if (!driver->spinning)
		links_free_dead(links);
	if (TAILQ_EMPTY(&links->grave)) {
		if (driver->control->state == CONTROL_QUIESCING) {
			links_clear(links); /* no grant outlives it */
			control_park(driver->control);
		} else if (driver->control->state == CONTROL_DROPPED) {
			control_leave(driver->control);
		}
	}
	if (driver->has_loop)
		driver_update_fds(driver);
	driver->pool->marked = !TAILQ_EMPTY(&links->ending);
}
