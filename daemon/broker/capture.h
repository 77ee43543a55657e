/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Captures: the frames of channels, as their ends tell them, for an administrator who asks
 * (PROTOCOL.md 5.9). The broker sees no frame itself. It asks the ends, checks and bounds what they
 * say, and keeps it until the reader takes it, up to a limit. Payload is kept only where policy and
 * both ends agree. Only the broker, the views of admin/ and their tests include this header.
 */
#ifndef MSGD_DAEMON_BROKER_CAPTURE_H
#define MSGD_DAEMON_BROKER_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/allowance.h"
#include "proto/control.h"

struct broker;
struct broker_channel;
struct broker_link;
struct broker_target;
struct capture;
struct domain;
struct policy_verdict;
struct process;

enum capture_kind {
	CAPTURE_FRAME,
	CAPTURE_CHANNEL, /* a channel is captured, or something has changed about that */
	CAPTURE_MISSED,	 /* frames that were not told of, or found no room */
	CAPTURE_ENDED,	 /* the last one */
};

/* Whether an application gives payload out. */
enum capture_consent {
	CONSENT_UNKNOWN, /* it was not asked, or has not answered */
	CONSENT_NO,
	CONSENT_YES,
};

/* An application at an end of a link. */
struct capture_party {
	uint16_t domid;
	uint32_t pid;
	char comm[COMM_SIZE], domain[DOMAIN_NAME_SIZE];
	bool told; /* it was asked for its frames: an older libmsg is not */
	enum capture_consent consent;
};

/* A channel, also when it is gone. */
struct capture_about {
	uint64_t link;
	uint32_t channel;
	uint8_t type, transport;
	uint8_t permits;	/* enum policy_capture */
	char rule[REASON_SIZE]; /* that says so */
	char name[NAME_SIZE];
	struct capture_party parties[2]; /* by the end of the link */
};

/* The reader gets these in their order. Of a kind, the members that are named so count. */
struct capture_item {
	STAILQ_ENTRY(capture_item) entry;
	uint32_t bytes; /* of capture->bytes */
	enum capture_kind kind;
	struct capture_about about;    /* FRAME, CHANNEL */
	bool payload;		       /* CHANNEL: the reader gets it as well */
	uint8_t end;		       /* FRAME: whose word it is, */
	uint64_t time_ns;	       /* since 1970, by msgd's clock, */
	struct control_captured frame; /* and the word itself */
	uint64_t n_missed;	       /* MISSED */
	char text[REASON_SIZE];	       /* ENDED: why */
	uint32_t n_data;	       /* FRAME: bytes of payload */
	uint8_t data[];
};

/* The words of an application about frames, from its first CAPTURE on. */
struct capture_source {
	struct allowance spent, said; /* for frames; for those that are lost */
	uint64_t n_lost;	      /* and were not said yet */
	bool clock_known;
	int64_t clock_ns; /* the least difference of msgd's clock and its own that was seen */
	struct control_captured frame; /* under way ... */
	bool drop;		       /* ... and not wanted */
	uint32_t n_data, n_left;       /* bytes of its payload */
	uint8_t data[CAPTURE_SNAPLEN_MAX];
};

/*
 * A channel that somebody captures. The channel owns it; when the channel is gone, the ends may
 * have more to say about it, so the last of those that are gone are kept.
 */
struct captured {
	TAILQ_ENTRY(captured) entry;	/* broker->captures.channels or .gone */
	struct broker_channel *channel; /* borrowed; NULL: it is gone */
	struct capture_about about;
	unsigned wanted;     /* by these captures, as bits */
	unsigned held;	     /* ends that are to be told later, as bits */
	uint64_t serials[2]; /* of the processes at the ends */
	struct control_capture told[2];
	uint8_t n_changes[2];	    /* how often it has said whether it agrees */
	struct capture_about noted; /* the last that readers were told */
};

TAILQ_HEAD(captured_list, captured);

struct broker_captures {
	LIST_HEAD(, capture) all;      /* owned by their readers */
	struct captured_list channels; /* owned by their channels */
	struct captured_list gone;     /* owned: the oldest first */
	unsigned n, n_channels, n_gone;
	unsigned bits;	 /* of the captures that there are */
	uint64_t serial; /* another one when there is something new to read */
	struct allowance spent;
};

/*
 * Begins to capture what the target names: a domain, a name of it, a link or a channel, now and
 * when it comes. -ESRCH, -ENOLINK, -ECHRNG, -EBUSY: as broker_close; -EUSERS: CAPTURES_MAX are
 * there; -ENOMEM. The caller ends it with capture_free.
 */
int capture_new(struct broker *broker, const struct broker_target *target, bool payload,
	uint32_t snaplen, struct capture **ret_capture);
void capture_free(struct capture *capture);
/* Takes the next one, which the caller frees. NULL: there is none now. */
struct capture_item *capture_take(struct capture *capture);
/* Whether it has one. */
bool capture_has(const struct capture *capture);

void captures_init(struct broker_captures *captures);

/* A new channel: its listener's end is told now, and its caller's by capture_connected. */
void capture_channel(struct broker_channel *channel, const struct policy_verdict *verdict);
void capture_connected(struct broker_channel *channel);
/* Policy has permitted it again. */
void capture_judged(struct broker_channel *channel, const struct policy_verdict *verdict);
void capture_channel_gone(struct broker_channel *channel);
void capture_link_gone(const struct broker_link *link);
void capture_domain_gone(const struct domain *domain);
/* CAPTURING, CAPTURED, CAPTURED_BYTES, CAPTURE_LOST. -EPROTO. */
int capture_message(struct process *process, const struct control_message *message);

#endif
