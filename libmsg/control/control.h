/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control link to msgd (PROTOCOL.md, sections 2 and 5): attaching and attaching again,
 * requests, and the messages from msgd. It directs links and sockets. It never waits: whoever waits
 * for an answer does so in libmsg/wait, on the state that a message changes.
 *
 * Included by: libmsg/control, libmsg/wait.
 */
#ifndef LIBMSG_CONTROL_CONTROL_H
#define LIBMSG_CONTROL_CONTROL_H

#include "libmsg/libmsg.h"
#include "libmsg/link/link.h"
#include "libmsg/socket/sock.h"
#include "proto/control-ring.h"
#include "proto/record.h"

enum control_state {
	CONTROL_ATTACHING = 1, /* no WELCOME from the msgd of this epoch yet */
	CONTROL_ATTACHED,
	CONTROL_QUIESCING, /* QUIESCE was read: the pass gives everything back */
	CONTROL_PARKED,	   /* it did; the record in the store says so, and its removal is watched */
	CONTROL_DROPPED,   /* msgd let go of a living process: the pass gives everything back */
	CONTROL_WAITING,   /* it did: attaches again at again_ns */
	CONTROL_BROKEN,	   /* for good: error and reason say why */
};

struct control {
	struct hv *hv;	     /* borrowed */
	struct pool *pool;   /* borrowed */
	struct links *links; /* borrowed */
	struct socks *socks; /* borrowed */
	msg_log_fn *log;     /* NULL: nothing is logged */
	void *log_arg;

	const char *lacking;	  /* static: what an ENOSPC of control_open is about */
	enum control_state state; /* changed by control_set_state alone */
	struct hv_share *page_share, *ring_share; /* owned; NULL while PARKED, WAITING */
	struct doorbell_page *page;		  /* borrowed from page_share */
	void *rings;				  /* borrowed from ring_share */
	struct control_ring ring;
	uint32_t port;
	uint32_t epoch; /* that HELLO was sent for; 0: none yet */
	bool armed;	/* an event comes with the next message, or is on its way */
	bool announces; /* HELLO said so: announcements follow WELCOME */
	bool watching;	/* the store tells of the end of the record */
	char key[HV_STORE_KEY_MAX];
	uint8_t nonce[NONCE_SIZE];
	uint8_t record[RECORD_SIZE]; /* under that key, unless it is parked */
	uint64_t features;	     /* FEATURE_*: what Argo is to this process */
	uint64_t broker_features;    /* FEATURE_*: of the last WELCOME */
	int error;		     /* while BROKEN: a positive errno */
	char reason[REASON_SIZE];    /* while BROKEN, QUIESCING, PARKED, DROPPED, WAITING */
	uint64_t again_ns;	     /* when control_again has something to do; UINT64_MAX: never */
	uint64_t again_delay_ns;     /* of the next wait */
	uint64_t attached_ns;	     /* when the last WELCOME came */
	unsigned n_drops;	     /* one after the other */
	struct control_terms terms;  /* of the next channel; its number is 0: it has none */
	struct control_capture capture; /* likewise */
	struct control_ahead ahead;	/* likewise */
	bool urgent;			/* msgd is to be woken for what was sent */
	bool unheard;			/* it was not, for messages that it may not have read */
	struct request *requests;	/* hash; owned */
	uint32_t last_request;
};

/* ---- control.c: the link ---------------------------------------------------------------- */

void control_init(struct control *control, struct hv *hv, struct pool *pool, struct links *links,
	struct socks *socks);
/* Makes pages and port, and publishes them to msgd. control_close gives them back. */
int control_open(struct control *control);
/* The meaning of a failure of it. */
const char *control_open_error(const struct control *control, int r);
/* Gives back what it holds and removes the record. */
void control_close(struct control *control);
/* Gives pages and port back; the record stays. */
void control_release(struct control *control);
/* Reads what msgd wrote, notices that msgd came or went. Called outside of other loops only. */
void control_take(struct control *control);
/* Queues a message; control_publish sends. Until WELCOME nothing is sent: control_announce. */
void control_send(struct control *control, const struct control_message *message);
/* The same of what msgd need not hear at once, if it has given numbers ahead. */
void control_send_quietly(struct control *control, const struct control_message *message);
/* Shows msgd what was sent and read since, with one event at most. */
void control_publish(struct control *control);
bool control_broker_there(const struct control *control);
/* WELCOME came: says what this process has, and asks what no msgd has answered yet. */
void control_announce(struct control *control);
/* Asks for an event. True: there is something to take first. */
bool control_arm(struct control *control);
/* Its event came: it is to be armed again. */
void control_disarmed(struct control *control);
void control_set_state(struct control *control, enum control_state state);
/* Nothing more can be had from msgd. error: a positive errno. Listeners and watches are told. */
void control_break(struct control *control, int error, const char *reason);
void control_log(struct control *control, int priority, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The msgd that said WELCOME last knows channels of that type. To others they must not be named. */
static inline bool control_knows_type(const struct control *control, uint32_t type)
{
	return type == CHANNEL_SEQPACKET || (control->broker_features & FEATURE_TYPES);
}

/* Likewise of a name, or an address; any msgd knows those without an argument. */
static inline bool control_knows_name(const struct control *control, const char *address)
{
	const char *slash = strrchr(address, '/');

	return (control->broker_features & FEATURE_TERMS) ||
	       !name_has_argument(slash ? slash + 1 : address);
}

/* Why neither LISTEN nor CONNECT may name both to this msgd; NULL: they may. */
static inline const char *control_too_old(
	const struct control *control, uint32_t type, const char *address)
{
	if (!control_knows_type(control, type))
		return "this msgd is older than channel types but SEQPACKET";
	if (!control_knows_name(control, address))
		return "this msgd is older than names with an argument";
	return NULL;
}

/* FEATURE_*: whether this process may use Argo, or why not. */
uint64_t control_argo_features(struct hv *hv);

/* ---- counts.c --------------------------------------------------------------------------- */

/* msgd asks: all that it wants to know is said, and the answer. */
void control_answer(struct control *control, const struct control_ask *ask);
/* This process leaves: as much is told as the ring has room for. */
void control_tell_last(struct control *control);
/* Both ends of the channel have said CLOSE: its number is free here. */
void control_channel_done(struct control *control, struct channel *channel);

/* ---- capture.c -------------------------------------------------------------------------- */

/* CAPTURE, of a channel that is there, or of the next one. */
void control_capture(struct control *control, const struct control_capture *said);
/* The next channel is there, and knows whether its application agrees. */
void control_capture_granted(struct control *control, struct channel *channel);
/* msgd is told whether the channel's application agrees, if msgd asks. */
void control_capture_agrees(struct control *control, const struct channel *channel);
/* Puts what is captured into the ring, as far as that has room to spare. */
void control_capture_publish(struct control *control);
/* This process leaves: as much is told as the ring has room for, and how much is not. */
void control_capture_leave(struct control *control);
/* The msgd that asked for it is gone. */
void control_capture_forget(struct control *control);

/* ---- ahead.c ---------------------------------------------------------------------------- */

/*
 * The channel that the last AHEAD was about, if it was, is there: keeps the numbers. connect: NULL:
 * nobody waits for it any more.
 */
void control_ahead_given(struct control *control, struct link *link,
	const struct control_connect *connect, const struct control_connected *connected);
void control_ahead_taken(
	struct control *control, struct link *link, const struct control_channel *channel);
/* AHEAD_END and AHEAD_GONE. */
void control_ahead_end(struct control *control, const struct control_ahead_end *message);
void control_ahead_gone(struct control *control, const struct control_ahead_rest *message);
/* A channel for this CONNECT, which msgd need not see. NULL: it must. */
struct channel *control_connect_ahead(
	struct control *control, const struct control_connect *connect);
/* A number is no channel, and will be none. */
void control_ahead_lost(struct link *link, uint32_t number);
/* A first frame has come. True: its number was ahead; the channel is there, or the link ends. */
bool control_ahead_came(struct control *control, struct link *link, uint32_t number);
/* The msgd that gave them is gone. */
void control_ahead_forget(struct control *control);

/* ---- quiesce.c -------------------------------------------------------------------------- */

/* QUIESCE was read: noted, for the pass. */
void control_quiesce(struct control *control, const char *reason);
/* No link is left: gives pages and port back, and leaves a parked record. */
void control_park(struct control *control);
/* HV_EVENT_STORE */
void control_store_changed(struct control *control);

/* ---- again.c ---------------------------------------------------------------------------- */

/* WELCOME came. */
void control_welcomed(struct control *control, uint64_t features);
/* msgd's half of the page is dead: notes, for the pass, if msgd said that it let go for good. */
void control_look_dropped(struct control *control);
/* No link is left: gives pages and port back. */
void control_leave(struct control *control);
/* No msgd is there: the store is asked in a while whether the record is (control_again). */
void control_look_later(struct control *control);
/* The record is gone from the store. Notes, for the pass, if no msgd is there to say so. */
void control_look_refused(struct control *control);
/* If it is time, attaches again, or has the store tell of the record's end. */
void control_again(struct control *control);
/* All links end: of quiescing, or since msgd let go. */
static inline bool control_leaves(const struct control *control)
{
	return control->state == CONTROL_QUIESCING || control->state == CONTROL_DROPPED;
}

/* ---- watch.c ---------------------------------------------------------------------------- */

#define CONTROL_TOO_OLD_TO_WATCH "this msgd is older than msg_watch"

/* The msgd that is there takes WATCH. */
bool control_can_watch(const struct control *control);
/* WATCH, for a socket with its pattern. */
struct control_message control_watch_message(const struct msg_sock *sock);
/* The application wants no more names of this watch. */
void control_unwatch(struct control *control, uint32_t handle);
/* WELCOME came: this msgd is asked for the names of all watches, or they fail. */
void control_watches_again(struct control *control);
/* A msgd would not have a watch that the former one had. */
void control_watch_refused(
	struct control *control, uint32_t handle, const struct control_status *status);
/* NAME and NAMES_DONE. */
void control_name(struct control *control, const struct control_name *message);
void control_names_done(struct control *control, const struct control_names_done *message);

/* ---- handle.c --------------------------------------------------------------------------- */

/* Puts a new channel into its listener's backlog; or closes it. */
void control_offer(struct control *control, struct channel *channel);
/* Acts on a message from msgd. */
void control_handle(struct control *control, const struct control_message *message);

#endif
