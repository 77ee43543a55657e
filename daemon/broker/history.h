/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The last events, for msgctl: a fixed number, in fixed memory. Each event has a source, the domain
 * that caused it. A new event takes the place of the oldest one of the source that has most: so a
 * source that has no more than its share, of all sources equally, never loses one to others. A ring
 * is never allocated in parts, and knows nothing of the broker's objects. Pure.
 */
#ifndef MSGD_DAEMON_BROKER_HISTORY_H
#define MSGD_DAEMON_BROKER_HISTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proto/limits.h"

/*
 * A day of a quiet host, or the last second of a busy one; as many as fit a screen of search. They
 * take some 700 bytes each. Thirty domains then have a share of thirty events each.
 */
#define HISTORY_EVENTS 1000U

enum history_kind {
	HISTORY_ATTACHED,
	HISTORY_DETACHED,
	HISTORY_DROPPED,
	HISTORY_LISTENING,
	HISTORY_UNLISTENED,
	HISTORY_CONNECTED,
	HISTORY_ACCEPTED,
	HISTORY_REFUSED,
	HISTORY_FAILED,
	HISTORY_LINK_MADE,
	HISTORY_LINK_DOWN,
	HISTORY_CHANNEL_RESET,
	HISTORY_QUIESCED,
	HISTORY_RESUMED,
	HISTORY_RELOAD,
	HISTORY_ADMIN,
	HISTORY_KINDS,
};

/* The stages of a connect. */
enum connect_stage {
	CONNECT_QUEUE,	/* held after msgd's start, or for its domain's turn */
	CONNECT_NAME,	/* it waited for the name, or for the domain to be started */
	CONNECT_LOOKUP, /* policy and lookup: counted, as all work is, not measured; and the
			 * time that a program took to answer */
	CONNECT_LINK,	/* the link was being made */
	CONNECT_ACCEPT, /* it was in the listener's backlog */
	CONNECT_STAGES,
};

/* As it was called then. */
struct history_party {
	bool there;    /* else it has no part in the event */
	bool known;    /* its domain is; else domain is what an address said, or empty */
	bool attached; /* it is an application: pid and comm */
	uint16_t domid;
	uint8_t uuid[16];
	char domain[DOMAIN_NAME_SIZE];
	uint32_t pid;
	char comm[COMM_SIZE];
};

struct history_event {
	TAILQ_ENTRY(history_event) entry;	 /* history->events */
	TAILQ_ENTRY(history_event) source_entry; /* source->events */
	struct history_source *source;		 /* borrowed */
	uint64_t serial;			 /* of all events since the start */
	uint64_t at_ns, wall_us;		 /* monotonic; since 1970 */
	enum history_kind kind;
	int error;	/* an errno, or 0 */
	bool by_client; /* uid and client_pid are of who asked by the admin socket */
	uint32_t uid, client_pid;
	uint64_t link;	  /* a uid, or 0 */
	uint32_t channel; /* a number, or 0 */
	uint32_t us[CONNECT_STAGES];
	struct history_party who, peer;
	char name[NAME_SIZE]; /* or empty */
	char text[REASON_SIZE];
	char rule[128]; /* of the policy, which decided; or empty */
};

TAILQ_HEAD(history_events, history_event);

struct history_source {
	LIST_ENTRY(history_source) entry; /* history->by_count[n]: while it has events */
	struct history_events events;	  /* the oldest first */
	unsigned n;
};

struct history {
	struct history_events events; /* the oldest first */
	uint64_t last_serial;
	/* Sources of events that no domain that is there has caused. */
	struct history_source clients; /* msgd's own administration */
	struct history_source gone;    /* domains that are gone */
	LIST_HEAD(, history_source) by_count[HISTORY_EVENTS + 1];
	unsigned most;	 /* no source has more */
	unsigned n_used; /* places that were ever used */
	struct history_event places[HISTORY_EVENTS];
};

void history_init(struct history *history);
void history_source_init(struct history_source *source);
/* A new event, all zero but its serial and source. */
struct history_event *history_add(struct history *history, struct history_source *source);
/* The source ends: history->gone has its events. Returns how many those are. */
unsigned history_source_end(struct history *history, struct history_source *source);
/* The first event from this serial on. NULL: there is none. */
const struct history_event *history_from(const struct history *history, uint64_t serial);

#endif
