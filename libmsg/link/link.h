/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A link: a transport to one other process, and the channels that share it (PROTOCOL.md, sections 3
 * to 5). A link is made as msgd directs and ended by marking it, once, with a cause and a reason;
 * the pass (libmsg/wait/pass.c) then resets its channels and frees it. Taking frames in returns
 * what stopped it, and never sends, asks msgd or ends anything. A link knows no socket, thread or
 * msgd.
 *
 * Included by: libmsg/link, libmsg/control.
 */
#ifndef LIBMSG_LINK_LINK_H
#define LIBMSG_LINK_LINK_H

#include "libmsg/channel/channel.h"
#include "libmsg/link/backoff.h"

/*
 * A turn: the work that one link may cause before others are served and time limits are looked at.
 * It is counted in bytes of payload, and all other work as so many bytes as take as long to copy,
 * about. So a turn is four frames of 64 KiB, 250 small messages, or 32 frames that bring nothing to
 * a reader (CREDIT and the like, messages of strangers), which a peer with no work for this process
 * has the most of. It takes some 100 microseconds at worst.
 */
#define LINK_TURN (256 * 1024)
/*
 * A part of a turn, after which a thread that waits for the lock of the context gets it: the
 * longest frame, so that bulk delays another channel by one frame. Shorter ones would cost bulk two
 * switches of threads for each few microseconds of copying.
 */
#define LINK_STEP ((int32_t)FRAME_PAYLOAD_MAX)
/* A frame of data: to find its channel, and memory for it. */
#define TURN_COST_DATA 1024
/* Memory for a message that is larger than its first frame: a part of its length. */
#define TURN_COST_LEN(len) ((int32_t)((len) / 16))
/* A frame that brings nothing; frames that are sent in answer, perhaps with an event. */
#define TURN_COST_BARE	8192
#define TURN_COST_FLUSH 8192
/* Links that were looked at get so much in all before anything else is done. */
#define LINK_ROUND (4 * LINK_TURN)

/* How often room is looked for, and given to those that wait for it, before others are served. */
#define ROOM_ROUNDS 8U
/* Channels that are reset, and messages that are freed, before others are served. */
#define BURY_BATCH 2048U
/*
 * Frames that are skipped on a link that is older than this msgd (PROTOCOL.md 5.1): the first ones
 * of a backlog of channels.
 */
#define LINK_SKIPS_MAX BACKLOG_MAX

enum link_state {
	LINK_MAKING = 1, /* offered; waits for the other end */
	LINK_UP,
	LINK_SYNCING, /* up; what lies in the ring waits for msgd's answer to a SYNC */
	LINK_SYNCED,  /* up; the answer came: an unknown channel number is a violation now */
	LINK_ENDING,  /* marked with its cause: the pass ends it */
	LINK_DEAD,    /* in no table any more; freed when no thread looks at its memory */
};

enum link_cause {
	LINK_ENDED_BY_MSGD, /* LINK_DOWN */
	LINK_PEER_GONE,	    /* the other process or its ring is gone */
	LINK_LOST,	    /* this end's ring or the other domain is gone: msgd is told */
	LINK_VIOLATED,	    /* the other end broke the protocol: msgd is told */
	LINK_NO_MEMORY,	    /* this end cannot go on: msgd is told */
	LINK_LEFT,	    /* this application detaches or quiesces */
};

struct link;
TAILQ_HEAD(link_list, link);

/* The CONNECTs for which numbers ahead are. */
struct ahead_key {
	uint32_t type, transport;
	char address[ADDRESS_SIZE];
};

/*
 * Numbers that msgd has given ahead (PROTOCOL.md 5.10), and all that their channels will have in
 * common. A link has some as the end that connects, and some as the end that listens.
 */
struct link_ahead {
	struct link *link;	  /* borrowed: the owner */
	struct link_ahead **slot; /* link->given or link->taken */
	uint32_t first;
	uint64_t left; /* bit i: first + i is not used */
	enum channel_type type;
	uint32_t listener; /* its handle; 0: this end connects */
	char name[NAME_SIZE];
	struct control_peer peer;
	struct ahead_key key; /* while this end connects */
	UT_hash_handle hh;    /* likewise: links->given */
};

/* The links of one application. */
struct links {
	struct hv *hv;		/* borrowed */
	struct pool *pool;	/* borrowed */
	struct stock stock;	/* the memory of links that this end creates */
	struct backoff backoff; /* of links that could not be made */
	/* Hash; owned: all but the dead. Within msgd's quotas of links of the peers' domains. */
	struct link *by_end;
	struct link *by_event;	   /* hash by transport->event; borrowed: the same */
	struct link_list unarmed;  /* no event is asked for; borrowed */
	struct link_list ending;   /* in state ENDING; borrowed */
	struct link_list grave;	   /* in state DEAD; owned */
	struct link_list retrying; /* refused by the hypervisor for now; borrowed */
	struct link_ahead *given;  /* hash by key; borrowed: those of links */
	uint32_t n_ahead;	   /* of both kinds */
};

struct link {
	struct links *links; /* borrowed */
	uint32_t end;	     /* key in links->by_end */
	uint32_t epoch;	     /* of the msgd that made it */
	uint64_t uid;
	enum link_state state;	     /* changed by link_set_state alone */
	struct transport *transport; /* owned */
	struct channel_set channels; /* owned */
	int32_t turn;		     /* the rest of LINK_TURN; 0 and below: it is over */
	int32_t pause;		     /* the turn's rest with which this step is over */
	uint32_t n_skipped;	     /* frames that were skipped */
	uint32_t sync;		     /* while SYNCING: the request whose answer is awaited */
	bool armed;		     /* an event comes with the next frame, or is on its way */
	bool retrying;		     /* in links->retrying */
	bool look;		     /* something happened to it at which the driver is to look */
	bool told;		     /* while ENDING: msgd and the log were told */
	bool discard;		     /* while ENDING: what its channels hold is thrown away */
	uint32_t drain; /* while ENDING: turns in which what lies in the ring is taken in first */
	struct link_ahead *given, *taken; /* owned; NULL: there are none */
	enum link_cause cause;		  /* since ENDING */
	char reason[REASON_SIZE];	  /* since ENDING: a sentence */
	TAILQ_ENTRY(link) entry_unarmed;
	TAILQ_ENTRY(link) entry_retrying;
	TAILQ_ENTRY(link) entry; /* in links->ending, links->grave */
	UT_hash_handle hh, hh_event;
};

static inline bool link_is_up(const struct link *link)
{
	return link->state >= LINK_UP && link->state <= LINK_SYNCED;
}

/* The link of a channel; NULL: it is gone. */
static inline struct link *channel_link(const struct channel *channel)
{
	return channel->set ? container_of(channel->set, struct link, channels) : NULL;
}

/* ---- link.c: life ----------------------------------------------------------------------- */

void links_init(struct links *links, struct hv *hv, struct pool *pool);
struct link *link_find(const struct links *links, uint32_t end);
struct link *link_find_event(const struct links *links, uint64_t event);

/* Takes the transport over. NULL: out of memory; the transport stays the caller's. For tests. */
struct link *link_new(struct links *links, struct transport *transport, uint32_t end, uint64_t uid,
	uint32_t epoch, enum link_state state);
/*
 * Makes this end of a link. epoch: of the msgd that asks. ret_answer gets the message for msgd:
 * LINK_OFFER, LINK_READY or LINK_FAILED.
 */
void link_create(struct links *links, uint32_t epoch, const struct control_link_create *request,
	struct control_message *ret_answer);
void link_bind(struct links *links, uint32_t epoch, const struct control_link_bind *request,
	struct control_message *ret_answer);
/* The creator hears that the other end is ready. */
void link_up(struct link *link, uint32_t peer_aport);
/*
 * Marks its end; the first mark counts, but msgd's reason replaces that of LINK_PEER_GONE. reason
 * is copied.
 */
void link_end(struct link *link, enum link_cause cause, const char *reason);
/*
 * Out of the tables and into the grave: its channels are reset with the reason, BURY_BATCH of them
 * at a time. False: some are left.
 */
bool link_bury(struct link *link);
/* Frees the dead. No thread looks at any link's memory. */
void links_free_dead(struct links *links);
/* Gives back all that is kept between links. */
void links_clear(struct links *links);
/* Whether msgd is to be told that it ended; then with which error. */
int link_told_error(const struct link *link);

/* For link/ alone. */
void link_set_state(struct link *link, enum link_state state);
void link_set_armed(struct link *link, bool armed);
/* An event came, or something is left undone: the driver looks at it before it is armed. */
void link_look(struct link *link);
/* Frames wait until link_synced, for the answer to this request. */
void link_sync(struct link *link, uint32_t request);
void link_synced(struct link *link);

/* ---- ahead.c: numbers of channels to come ----------------------------------------------- */

/* This end connects, by such CONNECTs. -ENOMEM. */
int link_ahead_give(struct link *link, const struct control_ahead *said,
	const struct control_connect *connect, const struct control_connected *connected);
/* This end listens. -ENOMEM. */
int link_ahead_take(
	struct link *link, const struct control_ahead *said, const struct control_channel *channel);
/* Numbers for a CONNECT. NULL: there are none. */
struct link_ahead *link_ahead_find(
	const struct links *links, const struct control_connect *connect);
/* Whether it has a number that is not used. ahead: or NULL. */
bool link_ahead_has(const struct link_ahead *ahead, uint32_t number);
/* Makes a number that it has a channel. NULL: out of memory. ahead is freed with the last one. */
struct channel *link_ahead_use(struct link_ahead *ahead, uint32_t number);
/* A number that it has is used, or gone. ahead is freed with the last one. */
void link_ahead_remove(struct link_ahead *ahead, uint32_t number);
/* ahead: or NULL. */
void link_ahead_free(struct link_ahead *ahead);

/* ---- frames.c: frames in and out -------------------------------------------------------- */

/* The reason why link_receive stopped. */
enum link_outcome {
	LINK_EMPTY,	  /* there is no further frame */
	LINK_SERVED,	  /* `until` has a message at its head, or its reader has one */
	LINK_DUE,	  /* a channel has something to send: link_flush, then go on */
	LINK_UNKNOWN,	  /* the next frame is for a channel that is not known (yet) */
	LINK_OVER_BUDGET, /* the application holds CHANNEL_BUDGET; channels.breach says so */
	LINK_STEP_OVER,	  /* link->pause is reached: it goes on unless somebody waits */
	LINK_TURN_OVER,	  /* the turn is used up; others are served before it goes on */
	LINK_VIOLATION,	  /* channels.breach says which */
	LINK_OUT_OF_MEMORY,
};

/*
 * Takes in frames while link->turn lasts. until: NULL, or the channel whose reader is not to
 * wait for later frames.
 */
enum link_outcome link_receive(struct link *link, struct channel *until);
/*
 * Takes in the next frame if it is a whole message for this reader, as channel_read_whole has it:
 * the way of nearly every message that is there when it is asked for. *ret_cost gets its part of a
 * turn. False: nothing was taken in, and link_receive judges what is there.
 */
bool link_read_whole(struct link *link, struct reader *reader, int32_t *ret_cost);
/* Drops the frame that was LINK_UNKNOWN. */
void link_skip(struct link *link);
/* Sends what its channels have marked as due, and wakes the other end if it sleeps. */
void link_flush(struct link *link);
/* Room may have appeared: flushes those that wait for it. Senders that wait look again. */
void link_room(struct link *link);
/* Ends a link whose transport failed. r: of transport_put, or of a function that calls it. */
void link_check(struct link *link, int r);
/* Shows the other end what was put, and wakes it if it sleeps. 1: some of it is kept back still. */
static inline int link_push(struct link *link)
{
	int r = transport_push(link->transport);

	if (r < 0 || link->transport->retry_ns)
		link_check(link, r);
	return r < 0;
}
/* Asks for an event when room for a frame of `want` bytes appears. True: it already has. */
bool link_want_room(struct link *link, uint32_t want);
/*
 * It waits for its turn. Nobody sleeps while that is the turn of an application which was told of
 * room, and need not come.
 */
void link_await_turn(const struct channel *channel);
/*
 * If room, or its turn, is all that lacks for a message of so many bytes: its application is told
 * of that. Room that came before is told of by nobody else: the caller looks again.
 */
void link_ask_room(struct channel *channel, uint32_t len);
/* When the first link that the hypervisor refused is to be tried again; UINT64_MAX: none is. */
uint64_t links_retry_time(const struct links *links);
/* Tries those whose time has come. */
void links_retry(struct links *links, uint64_t now_ns);

#endif
