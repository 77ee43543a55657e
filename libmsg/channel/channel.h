/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A channel's end: messages in and out, credit, and the end of the channel (PROTOCOL.md, section
 * 4), over the transport of its link. A channel knows no link and no msgd, and of its socket
 * nothing but the pointer. A frame that arrives changes the channel and leaves marks: nothing is
 * sent, and nothing ends, from inside. All that a channel has to send goes out in channel_flush,
 * which its link calls.
 *
 * Included by: libmsg/channel, libmsg/link, libmsg/socket, libmsg/api.
 */
#ifndef LIBMSG_CHANNEL_CHANNEL_H
#define LIBMSG_CHANNEL_CHANNEL_H

#include "base/hash.h"
#include "base/macro.h"
#include "libmsg/channel/pool.h"
#include "libmsg/transport/transport.h"
#include "proto/control.h"

/*
 * Memory that all peers of an application may make it hold, in bytes: past it, the domain that
 * holds most loses the link that holds most.
 */
#define CHANNEL_BUDGET (256U << 20)
/* One domain's share of it: others have room, whatever one domain does. */
#define ACCOUNT_BUDGET (CHANNEL_BUDGET / 2)
/*
 * The memory that an object takes beside its own size: glibc's malloc puts 8 bytes before an object
 * and rounds up to 16, which is 23 bytes at most. A message of one byte counts 49.
 */
#define MALLOC_COST 24U
/* The least memory for a piece of a stream: small frames share it. */
#define STREAM_PIECE_MIN 2048U
/* A balance past this is a violation (PROTOCOL.md, section 4). */
#define CREDIT_BALANCE_MAX (1U << 31)
/* Channels that are tried at once when room appears. */
#define ROOM_BATCH 64U
/* A fragment below this is not worth a frame while more of its message is to come. */
#define FRAGMENT_MIN 4096U

/* A message, or a piece of a stream, in private memory. */
struct msg_buf {
	STAILQ_ENTRY(msg_buf) entry;
	uint32_t size; /* bytes of data[] */
	uint32_t len;  /* bytes of the message; of a stream's piece: that have come */
	uint32_t done; /* bytes received, or sent, so far; of a stream's piece: that were read */
	uint32_t cost; /* credit that it holds */
	uint8_t data[];
};

/* One of so many bytes takes so much of the budget. */
static inline uint32_t msg_buf_charge(uint32_t size)
{
	return (uint32_t)sizeof(struct msg_buf) + size + MALLOC_COST;
}

STAILQ_HEAD(buf_queue, msg_buf);

/* The terms on which policy permits a channel, where there are any. */
struct terms {
	TAILQ_ENTRY(terms) entry;   /* while `waits`: pool->paced */
	struct channel *channel;    /* borrowed: the owner */
	struct control_terms said;  /* by msgd */
	bool waits;		    /* its credit is due, and its time has not come */
	uint64_t since_ns, next_ns; /* when credit might be given last; when it may be next */
};

/* A thread in a receive: where the next message may go without a copy in between. */
struct reader {
	struct channel *channel;  /* borrowed */
	struct iov_cursor cursor; /* where it may go */
	size_t size;		  /* bytes of room */
	uint32_t len;		  /* the message's length, or the stream's bytes, when done */
	bool direct;		  /* it may go there; else the reader only waits for the queue */
	bool done;
};

/* The channels of one link. It is part of the link, and has its life. */
struct channel_set {
	struct transport *transport;	    /* borrowed from the link */
	struct pool *pool;		    /* borrowed from the application */
	struct account *account;	    /* ref: of the domain at the other end */
	uint32_t n_closing;		    /* of account->n_closing */
	struct channel *by_number;	    /* hash; owned */
	struct gone *gone;		    /* hash; owned: channels that msgd ended (gone.c) */
	struct channel *last;		    /* the channel of the last frame; borrowed */
	struct channel_list due;	    /* channels that have something to send now; borrowed */
	struct channel_list blocked;	    /* channels that wait for room in the ring; borrowed */
	struct channel *first_served;	    /* in blocked: it and all behind it are; borrowed */
	struct channel_list waiting;	    /* for their turn (turn.c), by tx_sent; borrowed */
	uint64_t clock;			    /* tx_sent of the last one in turn, when it began */
	TAILQ_ENTRY(channel_set) entry_due; /* in pool->due, while due is not empty */
	uint32_t fragment_min; /* the least payload that is worth a frame, where more is to come */
	bool up;	       /* the link carries frames */
	const char *breach;    /* static: why the last frame was not taken in */
};

enum channel_state {
	CHANNEL_OPEN = 1,
	CHANNEL_CLOSING,  /* no socket any more: sends what is left, then CLOSE; waits for CLOSE */
	CHANNEL_FINISHED, /* both ends have said CLOSE: msgd is to be told, then it is freed */
	CHANNEL_DEAD,	  /* it is in no set any more: its link is gone, or both have said CLOSE */
};

/*
 * Owner: the set, until the link ends; then the socket, or the listener whose backlog it waits in.
 * The pass frees a channel that is FINISHED; one that has neither set nor socket nor listener is
 * freed at once.
 */
struct channel {
	struct channel_set *set;   /* borrowed; NULL when DEAD */
	struct pool *pool;	   /* borrowed */
	struct account *account;   /* ref */
	uint64_t held;		   /* of account->held: this object and its private messages */
	struct msg_sock *sock;	   /* borrowed: the socket, or NULL: not accepted, or closed */
	struct msg_sock *listener; /* borrowed: in its backlog; NULL otherwise */
	uint32_t number;	   /* key in set->by_number */
	uint32_t listener_handle;  /* of the listener that it came by, or 0: this end connected */
	enum channel_type type;
	enum channel_state state; /* changed by channel_set_state alone */
	bool due, blocked;	  /* in set->due, set->blocked */
	bool changed;		  /* in pool->changed */
	bool ahead;		  /* msgd gave its number ahead, and need not hear of it at once */
	char name[NAME_SIZE];
	struct control_peer peer;
	enum transport_kind transport;	 /* its link's, also when the link is gone */
	int error;			 /* positive errno, sticky: ECONNRESET */
	char *why;			 /* owned: a sentence about it; or NULL */
	struct terms *terms;		 /* owned; NULL: it has none */
	struct control_capture *capture; /* owned: as msgd said last; NULL: it is not captured */
	bool agrees; /* its application does, to give payload out: LIBMSG_CAPTURE */

	/* receiving */
	struct buf_queue in;	 /* whole messages, or pieces of a stream */
	struct msg_buf *in_last; /* of a stream: the last one there; borrowed */
	struct msg_buf *partial; /* owned: a message of which frames are missing */
	struct reader *reader;	 /* borrowed: the thread that takes the next message */
	uint32_t direct_len;	 /* a message goes straight to the reader: its length ... */
	uint32_t direct_done;	 /* ... and what of it is there; direct says that one does */
	struct iov_cursor direct_cursor;
	uint32_t direct_cost;
	bool direct;
	uint32_t rx_window;   /* credit that the other end still has */
	uint32_t rx_quiet;    /* of that: given without waking it, so that it may not know */
	uint32_t rx_held;     /* credit in messages that nobody has read */
	uint32_t rx_limit;    /* the most that both may add up to; grows */
	uint32_t rx_max;      /* RCVBUF: the most that rx_limit may grow to */
	uint32_t maxmsg;      /* longest message asked for */
	uint32_t maxmsg_told; /* the highest limit that the other end was ever told */
	bool limit_due;	      /* a LIMIT frame is to be sent */
	bool credit_due;      /* a CREDIT frame is to be sent ... */
	bool credit_late;     /* ... for which there was no room: the other end may sleep for it */
	uint32_t rx_free;     /* frames without credit that the other end may still send */
	bool rx_closed;	      /* CLOSE came */
	bool rx_shut;	      /* SHUTDOWN came: no more data */
	bool rx_ignore;	      /* SHUT_RD here */
	uint8_t end_taken;    /* of channel_end: calls have told the application */
	bool drop_oldest;     /* DGRAM: what finds no room pushes out what came before it */
	uint64_t n_drops;     /* datagrams that are lost, either way, as far as this end knows */
	uint32_t drops_due;   /* of these: dropped here, and not told to the other end yet */

	/* sending */
	uint32_t tx_credit;
	uint32_t tx_maxmsg;   /* the other end's */
	uint32_t tx_free;     /* LIMIT and DROPS frames that this end may still send */
	struct buf_queue out; /* messages accepted and not, or not wholly, sent */
	uint32_t out_cost;    /* credit that they cost in all, each in one frame */
	bool tx_open;	      /* false: a listener's end that has heard nothing yet may not send */
	bool tx_shut;	      /* SHUT_WR here */
	bool tx_shut_sent;    /* SHUTDOWN went out */
	bool tx_closed;	      /* CLOSE went out */
	bool tx_partial;      /* a blocking sender is between the frames of one message */
	bool tx_inside;	      /* the last frame was not the last of its message */
	bool waiting;	      /* in set->waiting */
	bool served;	      /* it has sent a frame since it was last told of room */
	bool told;	      /* while waiting: its application was told of room ... */
	uint32_t sent_round;  /* pool->round when it last sent a frame */
	uint32_t told_round;  /* ... in this pool->round */
	bool room_asked;      /* while blocked: its application is to be told of room */
	bool fresh;	      /* while waiting: it has sent next to nothing for a while */
	uint64_t tx_sent;     /* bytes that count for its turns */
	enum close_reason close_reason;

	/* counts, for which msgd may ask */
	uint64_t tx_messages, tx_bytes, rx_messages, rx_bytes; /* of a stream: frames */
	uint32_t no_credit, no_room;			       /* times that a send found none */
	uint64_t counts_told; /* of channel_counted, when msgd was told last */

	TAILQ_ENTRY(channel) entry_due;
	TAILQ_ENTRY(channel) entry_blocked;
	TAILQ_ENTRY(channel) entry_waiting;
	TAILQ_ENTRY(channel) entry_changed;
	TAILQ_ENTRY(channel) entry_backlog;
	TAILQ_ENTRY(channel) entry_dead; /* in account->dead, while it has no set */
	UT_hash_handle hh;
};

/* ---- channel.c: birth and end ----------------------------------------------------------- */

/* -ENOMEM. */
int channel_set_init(
	struct channel_set *set, struct transport *transport, struct pool *pool, bool up);
/* The set has no channel any more. */
void channel_set_fini(struct channel_set *set);

/* NULL: out of memory. listener_end: this end did not connect. */
struct channel *channel_new(
	struct channel_set *set, uint32_t number, enum channel_type type, bool listener_end);
/* Takes it out of its set as well. It has no socket and waits in no backlog. */
void channel_free(struct channel *channel);
struct channel *channel_find(const struct channel_set *set, uint32_t number);
/* Its application leaves. Frees a channel whose link is gone. */
void channel_close(struct channel *channel, enum close_reason reason);
/*
 * Its link is gone, or msgd ended it: the application reads whole messages that had arrived, then
 * the error, for which `why` is the sentence. Frees it if it was closing.
 */
void channel_reset(struct channel *channel, int error, const char *why);
/* This end cannot go on: nothing more is received, and its application sees the error. */
void channel_fail(struct channel *channel, int error, const char *why);
/* Both ends have said CLOSE: the pass is to tell msgd. For channel/ alone. */
void channel_finish(struct channel *channel);
/*
 * Both ends have said CLOSE, while an application has this end still, which is in no backlog: its
 * number is free, and there is nothing but unread messages to it.
 */
static inline bool channel_is_over(const struct channel *channel)
{
	return channel->state == CHANNEL_OPEN && channel->set && channel->rx_closed &&
	       channel->tx_closed && !channel->listener;
}
/* Drops a message of which frames are missing; all that waits to be sent. For channel/ alone. */
void channel_drop_partial(struct channel *channel);
void channel_drop_out(struct channel *channel);
/* The first one of what waits to be sent. False: nothing waits. */
bool channel_drop_first(struct channel *channel);
/* A receive, a send or a poll may find something else than before. */
void channel_changed(struct channel *channel);
/*
 * Throws messages away that nobody has read, `most` of them at most. True: none is left. Returns
 * their number in *ret_n.
 */
bool channel_discard(struct channel *channel, uint32_t most, uint32_t *ret_n);
/* The memory that the set's channels hold: LINK_CHANNELS_MAX of them are looked at, at most. */
uint64_t channel_set_held(const struct channel_set *set);
/* One whose application has left has not sent its CLOSE yet: likewise. */
bool channel_set_is_closing(const struct channel_set *set);

/* Charges memory to the peer's domain. */
static inline void channel_charge(struct channel *channel, uint64_t bytes)
{
	channel->held += bytes;
	channel->account->held += bytes;
	channel->pool->held += bytes;
}

/* Memory that was charged is free again. */
static inline void channel_uncharge(struct channel *channel, uint64_t bytes)
{
	channel->held -= bytes;
	channel->account->held -= bytes;
	channel->pool->held -= bytes;
}

/* The message at the head of the queue, taken out of it and no longer charged. */
static inline struct msg_buf *channel_take_first(struct channel *channel)
{
	struct msg_buf *buf = STAILQ_FIRST(&channel->in);

	STAILQ_REMOVE_HEAD(&channel->in, entry);
	if (channel->in_last == buf)
		channel->in_last = NULL;
	channel_uncharge(channel, msg_buf_charge(buf->size));
	return buf;
}

/* Whether nothing more will come: the end, but for what was received before. */
static inline bool channel_at_end(const struct channel *channel)
{
	return channel->rx_closed || channel->rx_shut || channel->rx_ignore;
}

/* All that there is to know of the channel's end; it only grows. */
#define END_OF_DATA 1U
#define END_CLOSED  2U
#define END_ERROR   4U

static inline uint8_t channel_end(const struct channel *channel)
{
	return (channel_at_end(channel) ? END_OF_DATA : 0) | (channel->rx_closed ? END_CLOSED : 0) |
	       (channel->error ? END_ERROR : 0);
}

/* Another value whenever a count has changed: those that may shrink have a weight of their own. */
static inline uint64_t channel_counted(const struct channel *channel)
{
	return channel->tx_bytes + channel->tx_messages + channel->rx_bytes + channel->rx_messages +
	       channel->n_drops + channel->no_credit + channel->no_room +
	       ((uint64_t)channel->rx_held << 40) + ((uint64_t)channel->out_cost << 52);
}

void channel_counts(const struct channel *channel, struct control_counts *ret_counts);
/* Adds what it has carried. */
void channel_add_counts(const struct channel *channel, struct control_answer *sums);

/* POLLIN and so on; POLLOUT, which costs a look at the ring, only if it is asked for. */
short channel_events(const struct channel *channel, short asked);

/* ---- receive.c -------------------------------------------------------------------------- */

enum channel_outcome {
	CHANNEL_TAKEN,	     /* the frame was taken in */
	CHANNEL_OVER_BUDGET, /* the application holds CHANNEL_BUDGET: the frame was not taken in */
	CHANNEL_VIOLATION,   /* the peer may not send that: set->breach says why */
	CHANNEL_NO_MEMORY,   /* no memory for a message; set->breach says so */
};

/* Takes in the frame that the set's transport has peeked at. */
enum channel_outcome channel_frame(struct channel *channel, const struct frame *frame);
/*
 * The same for a whole message that may come now and goes to the memory of a reader that nobody has
 * to be told of: channel->reader is NULL. False: the frame is no such message, and is left.
 */
bool channel_read_whole(struct channel *channel, const struct frame *frame, struct reader *reader);
/*
 * The reader leaves: what is being written straight into its memory moves to private memory.
 * -ENOMEM: it stays.
 */
int channel_leave_reader(struct channel *channel);
/* SHUT_RD: a message under way is thrown away, and so is all that comes. */
void channel_ignore(struct channel *channel);
/* Copies up to `size` bytes of a stream, takes them out of it unless `peek`; returns how many. */
size_t channel_read_stream(struct channel *channel, struct iov_cursor *to, size_t size, bool peek);
/* Datagrams were dropped here: the other end is told when it is told something else. */
void channel_count_drops(struct channel *channel, uint32_t n);

/* ---- gone.c ----------------------------------------------------------------------------- */

/* msgd has ended it, and the other end may not know yet: its set remembers the number. */
void channel_note_gone(const struct channel *channel);
/* Whether the frame is of such a channel, and within the credit that its sender had. */
bool channel_set_is_gone(struct channel_set *set, const struct frame *frame);
/* Frees all that is remembered. For channel/ alone. */
void channel_set_forget_gone(struct channel_set *set);

/* ---- credit.c --------------------------------------------------------------------------- */

/* The credit that is due to the other end. 0: not worth a frame. */
uint32_t channel_credit(const struct channel *channel);
/* Whether the other end may be asleep for want of credit. */
bool channel_credit_is_low(const struct channel *channel);
/* Marks credit that is due, if it is worth a frame. With a rate, when its time has come. */
void channel_give(struct channel *channel);
void channel_give_now(struct channel *channel);
/* `read` bytes of credit were used up by what was read: they go back, and the window grows. */
void channel_give_back(struct channel *channel, uint32_t read);
/* A message was taken from the queue: the credit that it held goes back. */
void channel_read_done(struct channel *channel, uint32_t cost);

/* ---- terms.c ---------------------------------------------------------------------------- */

/* Policy's terms, for a new channel. -ENOMEM. */
int channel_set_terms(struct channel *channel, const struct control_terms *said);
void channel_free_terms(struct channel *channel);
/* Of so many bytes of a receive buffer, those that the terms allow. */
uint32_t channel_cut_buffer(const struct channel *channel, uint32_t bytes);
/* The application wants so many bytes unread at most; CREDIT_MAX and the terms bound them. */
void channel_set_window(struct channel *channel, uint32_t bytes);
/* Its application may not send. */
static inline bool channel_is_one_way(const struct channel *channel)
{
	return channel->terms && channel->terms->said.direction == TERMS_RECEIVES;
}
/* Of a channel with terms: whether its credit waits for its time. For channel/ alone. */
bool channel_pace(struct channel *channel);
/* So much credit went out, of a channel with terms. For channel/ alone. */
void channel_gave(struct channel *channel, uint32_t bytes);
/* Credit is given whose time has come. */
void pool_pace(struct pool *pool, uint64_t now_ns);

/* ---- turn.c ----------------------------------------------------------------------------- */

enum room_outcome {
	ROOM_UNUSED, /* nobody waits for it whose turn it is */
	ROOM_TRIED,  /* channels are due, which may leave some of it */
	ROOM_TOLD,   /* sockets are: their applications come first */
};

/* It is about to wait for its turn, or for room in the ring. It may send: only room lacks. */
void channel_queue(struct channel *channel);
/* It waits no longer. */
void channel_unqueue_sender(struct channel *channel);
/* One thread that sends on it does not any longer: it waits no longer, unless a rest does. */
void channel_give_up(struct channel *channel);
/* The sender whose turn it is looks again. */
void channel_wake_first(struct channel_set *set);
/* It has put a frame of so many bytes. */
static inline void channel_spend(struct channel *channel, uint32_t len)
{
	struct channel_set *set = channel->set;
	const struct channel *first = TAILQ_FIRST(&set->waiting);
	uint64_t start = max_u64(channel->tx_sent, set->clock);

	if (!first || first == channel)
		set->clock = start;
	channel->tx_sent = start + len + FRAME_CHARGE;
	channel->served = true;
	channel->sent_round = set->pool->round;
	if (channel->waiting)
		channel_unqueue_sender(channel);
}
/* Whether the first one that waits is a socket whose application was just told of room. */
bool channel_was_told(struct channel_set *set);
/* The same, and others wait for it. */
bool channel_waits_for_told(struct channel_set *set);
/* It waits for room: an event tells of it. */
void channel_block(struct channel *channel);
/* Its application waits for room: it is told of it. */
void channel_ask_room(struct channel *channel);
/* It does not wait. For channel/ alone. */
void channel_unblock(struct channel *channel);
/* Room appeared: of the first `most` channels that wait for it those are due whose turn it is. */
enum room_outcome channel_set_room(struct channel_set *set, unsigned most);

/* Sets of channels, of which some share a bit. The highest bit is nobody's: see wait.c. */
static inline uint32_t channel_bit(const struct channel *channel)
{
	return 1U << channel->number % 31;
}

/* For channel_has_turn, where others wait. */
bool channel_is_next(const struct channel *channel);

/* Whether it may put a frame, as far as those are concerned that wait for their turn. */
static inline bool channel_has_turn(const struct channel *channel)
{
	return TAILQ_EMPTY(&channel->set->waiting) || channel_is_next(channel);
}

/* ---- send.c ----------------------------------------------------------------------------- */

/* It has something to send: its link flushes it. */
void channel_mark_due(struct channel *channel);
/* It is on neither of its set's lists any more. */
void channel_unqueue(struct channel *channel);
/* The first channel that has something to send, taken off the list. NULL: none. */
struct channel *channel_next_due(struct channel_set *set);
/*
 * Sends what is due: queued messages, credit, SHUTDOWN, CLOSE. 0: nothing is left, but for want of
 * credit. -EAGAIN: room lacks. Else the transport failed, as ops->put says.
 */
int channel_flush(struct channel *channel);
/*
 * Sends frames of a message of `len` bytes, of which *done were sent; stops at its end (0) or for
 * lack of room or credit (-EAGAIN). Else the transport failed. more: see transport_ops.put.
 */
int channel_send(struct channel *channel, struct iov_cursor *cursor, uint32_t len, uint32_t *done,
	bool more);
/* Keeps a message to be sent later, of which `done` bytes were sent. -ENOMEM. */
int channel_keep(struct channel *channel, struct iov_cursor *cursor, uint32_t len, uint32_t done);
/* Whether a send of len bytes would be accepted now; ret_want: payload for which room lacks. */
bool channel_can_send(const struct channel *channel, uint32_t len, uint32_t *ret_want);
/* Tells the other end how long a message may be. */
void channel_set_maxmsg(struct channel *channel, uint32_t maxmsg);

/* The least payload that is worth a frame, of a message of which `rest` bytes are left. */
static inline uint32_t channel_min_fragment(const struct channel *channel, uint32_t rest)
{
	return channel->type == CHANNEL_DGRAM ? rest : min_u32(rest, channel->set->fragment_min);
}

/* The longest message that a frame alone carries over the set's transport. */
static inline uint32_t channel_max_datagram(const struct channel_set *set)
{
	/* Headers of a frame and of the message around it; one slot of the ring stays free. */
	return min_u32(FRAME_PAYLOAD_MAX, set->transport->ring_len - 4 * FRAME_HEADER_SIZE);
}

/* Whether a message may begin now, but for credit and room. */
static inline bool channel_may_send(const struct channel *channel)
{
	return channel->set && channel->set->up && channel->tx_open && !channel->tx_partial &&
	       STAILQ_EMPTY(&channel->out);
}

#endif
