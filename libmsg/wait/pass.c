/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one pass that acts on the marks that all layers leave, outside of every loop of theirs. */
#include <stdio.h>
#include <syslog.h>

#include "libmsg/wait/driver.h"

static void flush_due(struct driver *driver)
{
	struct channel_set *set;

	while ((set = TAILQ_FIRST(&driver->pool->due)))
		link_flush(container_of(set, struct link, channels));
}

/* Takes in the frames that an ending link still has in its ring. Nothing is sent on it any more. */
static void drain(struct driver *driver, struct link *link)
{
	enum link_outcome outcome;

	link->turn = link->transport->ring_len;
	do {
		outcome = link_receive(link, NULL);
		if (outcome == LINK_UNKNOWN)
			link_skip(link);
	} while (outcome == LINK_DUE || outcome == LINK_UNKNOWN);
	/* Messages that had arrived are lost here: the application needs that reason. */
	if (outcome == LINK_OUT_OF_MEMORY || outcome == LINK_OVER_BUDGET)
		(void)snprintf(link->reason, sizeof(link->reason), "%s", link->channels.breach);
}

static void tell_failed(struct driver *driver, const struct link *link)
{
	struct control_message message = {.type = CONTROL_LINK_FAILED,
		.link_failed = {.end = link->end, .error = (uint32_t)link_told_error(link)}};

	(void)snprintf(message.link_failed.reason, REASON_SIZE, "%s", link->reason);
	control_send(driver->control, &message);
}

static void reap(struct driver *driver)
{
	struct control *control = driver->control;
	struct link *link;

	/*
	 * A channel of which msgd has told already is reset with its link, not forgotten; and msgd
	 * may have said why the other process is gone.
	 */
	if (!TAILQ_EMPTY(&driver->links->ending))
		control_take(control);
	while ((link = TAILQ_FIRST(&driver->links->ending))) {
		if (control->state == CONTROL_QUIESCING)
			link_end(link, LINK_ENDED_BY_MSGD, control->reason);
		if (link->drain)
			drain(driver, link);
		if (link_told_error(link))
			tell_failed(driver, link);
		control_log(control, link->cause == LINK_VIOLATED ? LOG_WARNING : LOG_INFO,
			"link %u to domain %u %s: %s", link->end, link->transport->peer_domid,
			link->cause == LINK_VIOLATED ? "is reset" : "ends", link->reason);
		link_bury(link);
	}
}

/* Both ends of a channel have said CLOSE: its number is free here. */
static void finish(struct driver *driver, struct channel *channel)
{
	struct link *link = channel_link(channel);
	struct control_message message = {.type = CONTROL_CHANNEL_CLOSED,
		.channel_closed = {.end = link->end, .channel = channel->number}};

	control_send(driver->control, &message);
	channel_free(channel);
}

static void tell_changed(struct driver *driver)
{
	struct pool *pool = driver->pool;
	struct channel *channel;

	while ((channel = TAILQ_FIRST(&pool->changed))) {
		TAILQ_REMOVE(&pool->changed, channel, entry_changed);
		channel->changed = false;
		if (channel->state == CHANNEL_FINISHED)
			finish(driver, channel);
		else if (channel->sock)
			sock_changed(channel->sock);
	}
}

/* Each round of this leaves less undone: a link ends once, a channel finishes once. */
static void act_on_marks(struct driver *driver)
{
	const struct pool *pool = driver->pool;

	do {
		flush_due(driver);
		reap(driver);
		tell_changed(driver);
	} while (!TAILQ_EMPTY(&pool->due) || !TAILQ_EMPTY(&driver->links->ending));
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
	struct links *links = driver->links;

	act_on_marks(driver);
	if (driver->control->state == CONTROL_QUIESCING)
		driver_end_links(driver, driver->control->reason);
	control_publish(driver->control);
	/* The thread that spins looks at a link's memory; it comes by here when it is done. */
	if (!driver->spinning)
		links_free_dead(links);
	if (driver->control->state == CONTROL_QUIESCING && TAILQ_EMPTY(&links->grave))
		control_park(driver->control);
	if (driver->epoll_fd >= 0)
		driver_update_fd(driver);
	driver->pool->marked = false;
}
