/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Captures of channels, as msgd asks for them (PROTOCOL.md, section 5.9). */
#include <syslog.h>

#include "libmsg/channel/capture.h"
#include "libmsg/control/control.h"

/*
 * Other messages find so much of the ring free, however much is captured: the longest of them four
 * times.
 */
#define RING_SPARE (CONTROL_RING_LEN / 4)
/* Of an application that leaves: the room of the last CAPTURE_LOST. */
#define LOST_SPARE 64U

void control_capture_agrees(struct control *control, const struct channel *channel)
{
	struct control_message message = {.type = CONTROL_CAPTURING};

	if (!channel_capture_asks(channel))
		return;
	message.capturing = (struct control_capturing){.end = channel->capture->end,
		.channel = channel->number,
		.agrees = channel->agrees};
	control_send(control, &message);
}

static void capture(
	struct control *control, struct channel *channel, const struct control_capture *said)
{
	bool asked = channel_capture_asks(channel);

	if (channel_capture(channel, said) < 0)
		control_log(control, LOG_WARNING, "out of memory: channel %u is not captured",
			said->channel);
	else if (!asked)
		control_capture_agrees(control, channel);
}

void control_capture(struct control *control, const struct control_capture *said)
{
	struct link *link = link_find(control->links, said->end);
	struct channel *channel = link ? channel_find(&link->channels, said->channel) : NULL;

	if (channel)
		capture(control, channel, said);
	else
		control->capture = *said;
}

void control_capture_granted(struct control *control, struct channel *channel)
{
	const struct control_capture *said = &control->capture;
	const struct link *link = channel_link(channel);

	if (link && said->end == link->end && said->channel == channel->number)
		capture(control, channel, said);
}

static bool put(
	struct control *control, struct control_message *message, uint64_t now_ns, uint32_t spare)
{
	if (message->type == CONTROL_CAPTURED)
		message->captured.told_ns = now_ns;
	return control_ring_try_spare(&control->ring, message, spare);
}

static void publish(struct control *control, uint32_t spare)
{
	struct pool *pool = control->pool;
	struct control_message *message;
	uint64_t now_ns;

	if (!pool->capture)
		return;
	if (control->state != CONTROL_ATTACHED)
		capture_drop(pool);
	now_ns = control->hv->ops->now_ns(control->hv);
	do {
		while ((message = capture_first(pool)) && put(control, message, now_ns, spare))
			capture_sent(pool);
	} while (capture_settle(pool, now_ns));
}

void control_capture_publish(struct control *control)
{
	publish(control, RING_SPARE);
}

void control_capture_leave(struct control *control)
{
	struct control_message lost = {.type = CONTROL_CAPTURE_LOST};

	publish(control, LOST_SPARE);
	lost.capture_lost.n = capture_give_up(control->pool);
	if (lost.capture_lost.n)
		(void)control_ring_try_spare(&control->ring, &lost, 0);
}

void control_capture_forget(struct control *control)
{
	control->capture.channel = 0;
	if (!control->pool->capture)
		return;
	for (struct link *link = control->links->by_end; link; link = link->hh.next) {
		for (struct channel *c = link->channels.by_number; c; c = c->hh.next)
			channel_capture_end(c);
	}
	capture_drop(control->pool);
}
