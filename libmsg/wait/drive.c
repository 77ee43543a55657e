/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The work that events bring: frames are taken in, and each outcome of that is acted on here,
 * outside of the loop that takes them in.
 */
#include <errno.h>
#include <stdio.h>

#include "libmsg/control/request.h"
#include "libmsg/wait/driver.h"

/* Events taken from the hypervisor at once. */
#define EVENT_BATCH 64
/* And how often, before links are looked at: peers can send events as fast as they are taken. */
#define EVENT_BATCHES 8

/*
 * A frame's channel number is not known. msgd wrote of the channel before the other end could know
 * its number, or is about to: its answer to a SYNC comes after that (PROTOCOL.md 4). True: look
 * again.
 */
static bool resolve_unknown(struct driver *driver, struct link *link)
{
	struct control_message sync = {.type = CONTROL_SYNC};
	const struct frame *frame = &link->transport->frame;
	struct request *request;

	if (control_ahead_came(driver->control, link, frame->channel))
		return link_is_up(link);
	control_take(driver->control);
	if (!link_is_up(link))
		return false;
	if (control_ahead_came(driver->control, link, frame->channel))
		return link_is_up(link);
	if (channel_find(&link->channels, frame->channel))
		return true;
	if (channel_set_is_gone(&link->channels, frame)) {
		link_skip(link);
		link->n_skipped--; /* its credit counts it */
		return true;
	}
	if (driver->control->state == CONTROL_BROKEN) {
		/* The channel's two ends would wait for msgd's word for ever. */
		link_end(link, LINK_LOST, driver->control->reason);
		return false;
	}
	if (link->state == LINK_UP) {
		request = request_new(driver->control, NULL, &sync);
		if (request)
			link_sync(link, request->id);
		else
			link_end(link, LINK_NO_MEMORY, "out of memory for a question to msgd");
		return false;
	}
	if (link->n_skipped >= LINK_SKIPS_MAX) {
		link_end(link, LINK_VIOLATED, "too many frames for channels that are not known");
		return false;
	}
	if (link->epoch == driver->control->epoch) {
		link_end(link, LINK_VIOLATED, "a frame for a channel that was never granted");
		return false;
	}
	/* Older than this msgd: the former may have died with CHANNEL unsaid (PROTOCOL.md 5.1). */
	link_skip(link);
	return true;
}

/* The account that holds most, or the link's own, if that is what has no more room. */
static struct account *largest_account(struct driver *driver, const struct link *link)
{
	struct account *account, *most = link->channels.account;
	/* At most: of a message its length, of a stream a piece. */
	uint32_t size = max_u32(link->transport->frame.arg, STREAM_PIECE_MIN);

	if (most->held + msg_buf_charge(size) > ACCOUNT_BUDGET)
		return most;
	/* As many as domains have a link to this process. */
	TAILQ_FOREACH (account, &driver->pool->accounts, entry) {
		if (account->held > most->held)
			most = account;
	}
	return most;
}

/* The link that holds most of an account. NULL: channels without a link hold more. */
static struct link *largest_link(struct driver *driver, const struct account *account)
{
	uint64_t most_held = 0, dead = account->held;
	struct link *most = NULL;

	/* As many as processes have a link to this one. */
	for (struct link *l = driver->links->by_end; l; l = l->hh.next) {
		uint64_t held;

		if (l->channels.account != account)
			continue;
		held = channel_set_held(&l->channels);
		dead -= held;
		if (!most || held > most_held) {
			most = l;
			most_held = held;
		}
	}
	return most_held >= dead ? most : NULL;
}

/* Throws away what a channel without a link holds: the one that has been without for longest. */
static void discard_dead(struct account *account, const char *why)
{
	struct channel *channel;
	uint32_t n;

	/* As many as the application has sockets that it does not close. */
	TAILQ_FOREACH (channel, &account->dead, entry_dead) {
		if (STAILQ_EMPTY(&channel->in))
			continue;
		(void)channel_discard(channel, BURY_BATCH, &n);
		if (!channel->error)
			channel_fail(channel, ECONNRESET, why);
		return;
	}
}

/*
 * The application holds as much as it may: the domain that holds most pays for it, by its link that
 * holds most, so that no domain costs others their links. All that the link holds is thrown away;
 * the frame stays in its ring until the pass has done that.
 */
static void end_largest(struct driver *driver, struct link *link)
{
	struct account *account = largest_account(driver, link);
	struct link *most = largest_link(driver, account);

	if (!most) {
		discard_dead(account, link->channels.breach);
		return;
	}
	if (most->state == LINK_ENDING)
		return; /* the pass frees what it holds, or has its channels counted as dead */
	link_end(most, LINK_VIOLATED, link->channels.breach);
	most->discard = true;
}

/* True: go on taking in. */
static bool act_on(struct driver *driver, struct link *link, enum link_outcome outcome)
{
	switch (outcome) {
	case LINK_DUE:
		link->turn -= TURN_COST_FLUSH;
		link_flush(link);
		return true;
	case LINK_UNKNOWN:
		return resolve_unknown(driver, link);
	case LINK_OVER_BUDGET:
		end_largest(driver, link);
		return false;
	case LINK_VIOLATION:
		link_end(link, LINK_VIOLATED, link->channels.breach);
		return false;
	case LINK_OUT_OF_MEMORY:
		link_end(link, LINK_NO_MEMORY, link->channels.breach);
		return false;
	case LINK_STEP_OVER:
		link->pause = link->turn > LINK_STEP ? link->turn - LINK_STEP : 0;
		return !driver_is_wanted(driver);
	case LINK_EMPTY:
	case LINK_SERVED:
	case LINK_TURN_OVER:
	default:
		return false;
	}
}

static bool takes_frames(const struct link *link)
{
	return link->state == LINK_UP || link->state == LINK_SYNCED;
}

/* False: no more is taken in now. */
static bool take_turn(struct driver *driver, struct link *link, struct channel *until,
	enum link_outcome *ret_outcome)
{
	bool takes;

	link->turn = LINK_TURN;
	link->pause = LINK_TURN - LINK_STEP;
	/* Each round takes a part of the turn, or changes the link's state. */
	do {
		takes = takes_frames(link);
		if (takes)
			*ret_outcome = link_receive(link, until);
	} while (takes && *ret_outcome != LINK_EMPTY && *ret_outcome != LINK_SERVED &&
		 act_on(driver, link, *ret_outcome));
	link->pause = 0; /* the pass takes turns, not steps */
	driver->spent += LINK_TURN - link->turn;
	driver->unlooked += LINK_TURN - link->turn;
	return takes;
}

/* Sends what the frames that were taken in ask for. */
static inline __attribute__((always_inline)) void answer(struct link *link)
{
	struct transport *transport = link->transport;

	if (!TAILQ_EMPTY(&link->channels.due))
		link_flush(link);
	else if (transport->unpushed || transport->bell_due)
		(void)link_push(link);
}

bool driver_read_whole(struct driver *driver, struct reader *reader)
{
	struct link *link = channel_link(reader->channel);
	int32_t cost;

	if (driver->pool->marked || !link_read_whole(link, reader, &cost))
		return false;
	driver->spent += cost;
	driver->unlooked += cost;
	answer(link);
	return true;
}

void driver_take(struct driver *driver, struct link *link, struct channel *until)
{
	struct transport *transport = link->transport;
	enum link_outcome outcome;

	if (!take_turn(driver, link, until, &outcome))
		return;
	if (outcome != LINK_SERVED) {
		bool over = outcome == LINK_TURN_OVER || outcome == LINK_STEP_OVER;

		if (!link_is_up(link))
			return;
		/* If frames are left, the next turn goes on to give back: nobody sleeps before. */
		transport_give_back(transport, !over || !transport->ops->pending(transport));
	}
	answer(link);
}

/* An event of a link: frames, room, or the peer's death. driver_drive looks for all of them. */
static void drive_event(struct driver *driver, uint64_t event)
{
	struct link *link = link_find_event(driver->links, event);

	if (link)
		link_look(link);
}

static void drive_port(struct driver *driver, uint32_t port)
{
	if (port != driver->control->port) {
		drive_event(driver, port);
		return;
	}
	control_disarmed(driver->control);
	control_take(driver->control);
}

/* The emulator has ended, or has ended this process's part in it: no event will come. */
static void drive_lost(struct driver *driver)
{
	char why[REASON_SIZE];

	(void)snprintf(why, sizeof(why), "the hypervisor is gone%s%.100s",
		*driver->hv_name ? ": " : "", driver->hv_name);
	control_break(driver->control, ENODEV, why);
	for (struct link *link = driver->links->by_end; link; link = link->hh.next)
		link_end(link, LINK_LOST, why);
}

static void drive_events(struct driver *driver)
{
	struct hv_event events[EVENT_BATCH];
	struct hv *hv = driver->hv;
	unsigned batches = 0;
	int n;

	do {
		uint32_t ports[EVENT_BATCH];
		size_t n_ports = 0;

		n = hv->ops->poll_events(hv, events, EVENT_BATCH);
		for (int i = 0; i < n; i++) {
			if (events[i].type == HV_EVENT_PORT)
				ports[n_ports++] = events[i].port;
			else if (events[i].type == HV_EVENT_RING)
				drive_event(driver, (uintptr_t)events[i].ring);
			else if (events[i].type == HV_EVENT_STORE)
				control_store_changed(driver->control);
		}
		/* First unmask, then look: an event that comes while we look raises again. */
		if (n_ports)
			(void)hv->ops->evtchn_unmask(hv, ports, n_ports);
		for (size_t i = 0; i < n_ports; i++)
			drive_port(driver, ports[i]);
	} while (n == EVENT_BATCH && ++batches < EVENT_BATCHES);
	if (n == -ENODEV)
		drive_lost(driver);
}

/* Looks at a link of which no event tells. */
static void drive_link(struct driver *driver, struct link *link, const struct focus *focus)
{
	struct transport *transport = link->transport;
	/* Looked at before: all that a dying peer had published is taken in. */
	bool alive = transport->ops->peer_alive(transport);

	link->look = false;
	driver_take(driver, link, focus->link == link ? focus->channel : NULL);
	transport->ops->not_armed(transport);
	link_room(link);
	if (!alive)
		link_end(link, LINK_PEER_GONE, "the other process is gone");
}

/*
 * Looks at the links of which no event tells, each once at most, and at no more than a round's
 * work, or a step's if others wait for the lock; those that had a turn come last in the next round.
 */
static void drive_links(struct driver *driver, const struct focus *focus)
{
	struct link_list *unarmed = &driver->links->unarmed;
	struct link *link, *next, *last = TAILQ_LAST(unarmed, link_list);
	int32_t left = LINK_ROUND;

	for (link = TAILQ_FIRST(unarmed); link && left > 0; link = next) {
		next = link == last ? NULL : TAILQ_NEXT(link, entry_unarmed);
		if (!link_is_up(link))
			continue;
		TAILQ_REMOVE(unarmed, link, entry_unarmed);
		TAILQ_INSERT_TAIL(unarmed, link, entry_unarmed);
		link->turn = LINK_TURN;
		drive_link(driver, link, focus);
		left -= LINK_TURN - link->turn + TURN_COST_DATA;
		if (driver_is_overdue(driver))
			left = 0;
	}
	/* The rest is looked at before anybody sleeps. */
	for (; link; link = link == last ? NULL : TAILQ_NEXT(link, entry_unarmed))
		link->look = true;
}

void driver_drive(struct driver *driver, const struct focus *focus)
{
	driver->unlooked = 0;
	drive_events(driver);
	drive_links(driver, focus);
	if (!driver->control->armed)
		control_take(driver->control);
	if (driver->control->again_ns != UINT64_MAX)
		control_again(driver->control);
	if (!TAILQ_EMPTY(&driver->socks->timed))
		requests_expire(driver->control);
	if (!TAILQ_EMPTY(&driver->links->retrying))
		links_retry(driver->links, driver->hv->ops->now_ns(driver->hv));
	driver_pass(driver);
}

bool driver_arm(struct driver *driver)
{
	struct link *link, *next;
	bool more = control_arm(driver->control) || !TAILQ_EMPTY(&driver->links->ending);

	for (link = TAILQ_FIRST(&driver->links->unarmed); link; link = next) {
		int r;

		next = TAILQ_NEXT(link, entry_unarmed);
		if (!link_is_up(link))
			continue;
		if (link->look) {
			more = true;
			continue;
		}
		r = link->transport->ops->arm(link->transport, link->state == LINK_SYNCING);
		if (r == 0) {
			link_set_armed(link, true);
			continue;
		}
		more = true;
		if (r < 0)
			link_end(link, LINK_LOST, "the other domain is gone, or this one's ring");
	}
	driver->pool->rearm = false;
	return more;
}
