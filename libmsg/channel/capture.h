/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The frames that msgd is told of while channels are captured (PROTOCOL.md, section 5.9): a queue
 * of messages, of bounded length and rate, which never waits for msgd and never makes a frame wait.
 *
 * Included by: libmsg/channel, libmsg/link, libmsg/control, tests.
 */
#ifndef LIBMSG_CHANNEL_CAPTURE_H
#define LIBMSG_CHANNEL_CAPTURE_H

#include "base/allowance.h"
#include "libmsg/channel/channel.h"

/* Of one application, while a channel is captured, or messages about one wait. */
struct capture {
	uint32_t n_channels;
	struct allowance spent;
	uint32_t n_lost;   /* frames that were not told of */
	unsigned first, n; /* in the queue */
	struct control_message queue[CAPTURE_BURST];
};

/* As msgd says: the channel's frames are told of from now on, or no more. -ENOMEM. */
int channel_capture(struct channel *channel, const struct control_capture *said);
/* Its frames are not told of any more. */
void channel_capture_end(struct channel *channel);
/* Whether msgd asks if its application agrees to give payload out. */
static inline bool channel_capture_asks(const struct channel *channel)
{
	return channel->capture && (channel->capture->wants & CAPTURE_PAYLOAD);
}

/* Of a captured channel: transport_put, and tells of the frame. For channel/ alone. */
__attribute__((cold)) int channel_put_captured(struct channel *channel, struct frame *frame,
	uint32_t least, struct iov_cursor *payload, bool more);
/* Likewise: a frame without payload was put. */
__attribute__((cold)) void channel_note_bare(
	struct channel *channel, enum frame_type type, uint32_t arg);
/* The frame that lies in the ring still was taken in. */
__attribute__((cold)) void channel_note_received(
	struct channel *channel, const struct frame *frame);

/* The next message for msgd; NULL: there is none. */
struct control_message *capture_first(const struct pool *pool);
void capture_sent(struct pool *pool);
/* If nothing waits: frames that were lost last are told of, if it is time. True: that waits. */
bool capture_settle(struct pool *pool, uint64_t now_ns);
/* No more is told: returns the number of frames that wait, or were lost. */
uint32_t capture_give_up(struct pool *pool);
/* There is nobody to be told. */
void capture_drop(struct pool *pool);

#endif
