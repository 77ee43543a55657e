/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The broker's own state, and what every file of it uses. The objects are owned as follows:
 *
 *   broker -> domain -> process -> listener, broker_request, link_end, watch
 *   broker -> broker_link -> broker_channel
 *
 * Each object's state changes in its *_set_state only, by a table of legal moves. Only the broker,
 * the views of admin/ and their tests include this header; the shell sees broker.h.
 */
#ifndef MSGD_DAEMON_BROKER_STATE_H
#define MSGD_DAEMON_BROKER_STATE_H

#include "base/log-limit.h"
#include "daemon/broker/ahead.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/errand.h"
#include "daemon/broker/histogram.h"
#include "daemon/broker/history.h"
#include "daemon/broker/request.h"
#include "daemon/broker/capture.h"
#include "daemon/broker/steer.h"
#include "daemon/broker/watch.h"

struct domain;
struct broker_link;
struct refusals;
struct tally;

/* Lookups wait so long for the applications found at start. PROTOCOL.md 5.1. */
#define RECOVERY_NS UINT64_C(2000000000)
/*
 * And so long may one of them announce. An application that is busy or stopped when msgd returns
 * keeps its links if it comes to itself in a minute; a dead link is not kept for longer.
 */
#define ANNOUNCE_NS UINT64_C(60000000000)

struct broker {
	const struct broker_ops *ops; /* borrowed */
	void *arg;		      /* borrowed: the shell's */
	struct broker_limits limits;
	const struct assignments *assignments;	/* borrowed, or NULL */
	struct policy *policy;			/* borrowed */
	struct domain *domains;			/* owned; by domid */
	struct broker_link *links;		/* owned; by id */
	struct broker_link *announced;		/* owned: not settled yet; by id */
	struct broker_link_list unsettled, due; /* borrowed: of those, by what they wait for */
	struct broker_link *pairs;		/* borrowed: the same, by pair */
	struct tally *tallies;			/* owned by their channels; by key */
	TAILQ_HEAD(, domain) working;		/* borrowed: requests to be tried */
	/*
	 * A policy, or the name of a domain, counts from its generation on. Links and names, the
	 * longest not judged first, are judged again by broker_work.
	 */
	uint64_t generation;
	TAILQ_HEAD(, domain) domains_by_known;	      /* borrowed: likewise, by their memos */
	TAILQ_HEAD(, broker_link) links_by_judgement; /* borrowed */
	TAILQ_HEAD(, listener) names_by_judgement;    /* borrowed */
	TAILQ_HEAD(, listener) names;		      /* borrowed: by age, the newest last */
	struct watch_list watches[WATCH_STATES];      /* borrowed; owned: ENDING */
	TAILQ_HEAD(, domain) ending;		      /* owned, where ended */
	TAILQ_HEAD(, process) dying;		      /* owned: gone, but for their links */
	TAILQ_HEAD(, broker_link) buried;	      /* owned: gone, but for their channels */
	uint64_t cost;				      /* of all work so far: see broker_cost */
	uint64_t bytes;				      /* that all domains pay for: broker_bytes */
	uint64_t asked_ns;	      /* when all were last asked for their counts; 0: never */
	uint32_t last_token;	      /* of ASK */
	uint32_t n_asked;	      /* applications that have not answered it */
	TAILQ_HEAD(, process) pinged; /* borrowed: applications that are to be asked */
	uint64_t n_pings_over;	      /* broker_pings_over */
	bool work_later;
	bool domains_changed; /* in a way that conditions, or redirects, may be about */
	bool quiesce_due;     /* a process of a domain that is quiesced may not have been told */
	uint64_t next_uid, next_serial;
	uint64_t now_ns, wall_us;
	uint64_t since_us; /* the first wall_us: its counts begin */
	struct broker_errands errands;
	bool recovering; /* lookups wait */
	bool announcing; /* the applications found at start may announce */
	uint64_t hold_end_ns, announce_end_ns;
	uint64_t timer_ns;  /* the last one that ops->timer was asked for */
	uint32_t n_awaited; /* records found at start that have not announced */
	uint32_t n_channels;
	struct broker_stats stats;
	struct broker_judged judged;
	struct refusals *refusals; /* owned: by the rules of this policy; by key */
	uint64_t refusals_since_us;
	struct histogram latency[CONNECT_STAGES];
	enum broker_audit audit;
	struct log_limiter log; /* of all lines that others cause */
	struct log_source log_clients, log_others;
	struct broker_captures captures;
	TAILQ_HEAD(, ahead) aheads; /* borrowed: those that are there; parts of links */
	uint64_t ahead_look_ns;	    /* while there are any: their ends' rings are looked at */
	LIST_HEAD(, block) blocks;  /* owned */
	uint32_t n_blocks;
	struct history history; /* last: it is large */
};

/*
 * The units of work's cost: each is about what it takes to look at a rule, some ten nanoseconds.
 * They need not be exact. They must not leave out what grows with something that a guest chose.
 */
#define COST_UNIT_NS 10U    /* for people */
#define COST_MESSAGE 100U   /* to take one, and to send one */
#define COST_REQUEST 100U   /* to try one */
#define COST_OBJECT  10U    /* to find, move or free one */
#define COST_NOTE    10U    /* to note one */
#define COST_LINE    500U   /* to log one */
#define COST_PROCESS 5000U  /* to let go of one: its mappings, its port, its record */
#define COST_PROGRAM 50000U /* to start one, until it is on its own */

/* Logs a line that no guest and no client can cause. For the others: domain_log. */
__attribute__((format(printf, 3, 4))) void broker_log(
	struct broker *broker, int priority, const char *format, ...);
/* Writes a sentence for people, cut to its size. */
__attribute__((format(printf, 2, 3))) void reason_set(
	char ret_reason[REASON_SIZE], const char *format, ...);
/* Runs what events left to do, or leaves it for broker_work. Every entry point ends with it. */
void broker_settle(struct broker *broker);

#endif
