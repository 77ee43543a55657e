/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An attach and its table from within. Only attach.c (an attach's life) and attach-turn.c (its work
 * in a turn) include this header; attach.c alone changes an attach's state.
 */
#ifndef MSGD_DAEMON_SHELL_ATTACH_OBJECT_H
#define MSGD_DAEMON_SHELL_ATTACH_OBJECT_H

#include <sys/queue.h>

#include "daemon/broker/hash.h"
#include "daemon/shell/attach.h"
#include "proto/control-ring.h"
#include "proto/record.h"

enum attach_state {
	ATTACH_BINDING, /* its port may still be held by a process that is dying */
	ATTACH_UP,
	ATTACH_PARKED, /* of a quiesced domain: nothing is held but the record's name */
	ATTACH_DEAD,   /* on table->dead */
};

struct attach_key {
	uint16_t domid;
	char key[HV_STORE_KEY_MAX]; /* NUL-padded */
};

struct attach;

TAILQ_HEAD(attach_list, attach);

/* The attaches of one domain, which share its turns: see attach_turn. */
struct attach_domain {
	UT_hash_handle hh; /* table->domains */
	uint16_t domid;
	uint32_t n_attaches;	  /* 0: it is kept for what it has spent */
	uint32_t n_bound;	  /* of them, with a port */
	uint32_t n_waiting;	  /* of them, without a place */
	struct attach_list ready; /* borrowed: have something to do */
	/*
	 * The work done for it, in the broker's cost, as if it had always had something to do: see
	 * attach_turn.
	 */
	uint64_t spent;
	bool queued; /* in table->queue, and in table->longest */
	TAILQ_ENTRY(attach_domain) entry, entry_longest;
};

TAILQ_HEAD(attach_domain_list, attach_domain);

struct attach {
	UT_hash_handle hh;	      /* table->by_key */
	UT_hash_handle hh_port;	      /* table->by_port, once bound */
	struct attach_table *table;   /* borrowed: the owner */
	struct attach_domain *domain; /* borrowed */
	enum attach_state state;
	struct attach_key id;
	bool found; /* its record was there at start */
	struct record record;
	uint8_t bytes[RECORD_SIZE]; /* of the record, to know it again */
	size_t len;
	struct event *retry;		     /* owned: the next bind, while BINDING */
	uint32_t delay_ms;		     /* of that */
	uint64_t until_ns;		     /* when to give up */
	uint32_t port;			     /* local; 0: not bound */
	struct hv_map *page_map, *rings_map; /* owned, or NULL */
	struct doorbell_page *page;	     /* borrowed from page_map; while UP */
	uint32_t epoch;			     /* that it was told, while UP */
	struct control_ring ring;
	struct process *process;   /* borrowed: the broker's; NULL: not attached */
	TAILQ_ENTRY(attach) entry; /* domain->ready or table->dead */
	TAILQ_ENTRY(attach) dirty_entry;
	bool ready, dirty, masked;
	bool waits;	/* for a place among its domain's */
	bool event_due; /* while dirty: it sleeps, and has been told something */
};

struct attach_table {
	struct event_base *base;	   /* borrowed */
	struct hv *hv;			   /* borrowed */
	struct broker *broker;		   /* borrowed */
	struct event *turn_event;	   /* borrowed */
	struct attach *by_key;		   /* owned; by domid and key */
	struct attach *by_port;		   /* borrowed: the same; by local port */
	struct attach_domain *domains;	   /* owned; by domid */
	struct attach_domain_list queue;   /* borrowed: have something to do; by spent */
	struct attach_domain_list longest; /* borrowed: the same, by when they were served last */
	uint64_t spent;			   /* of the domain that was served last */
	struct attach_list dirty;	   /* borrowed: have something to publish */
	struct attach_list dead;	   /* owned: freed when the turn publishes */
	uint64_t most_bytes;		   /* of the broker's, since memory was last given back */
	bool trim_again;		   /* when no work is left, give back more */
	bool lost;
};

/* Queues the attach for a turn, or for publishing, where its state has such work. */
void attach_make_ready(struct attach *attach);
/* Queues the domain, which has something to do now. */
void attach_domain_enqueue(struct attach_table *table, struct attach_domain *domain);
void attach_domain_dequeue(struct attach_table *table, struct attach_domain *domain);
void attach_make_dirty(struct attach *attach);
/* Verifies, binds, maps and goes up; or waits; or refuses the record. */
void attach_try(struct attach *attach);
/* The application went by itself. Tells the broker. */
void attach_gone(struct attach *attach, const char *reason, bool delete_record);
/* The application has let go, as it was told to. */
void attach_park(struct attach *attach);
/* Frees the attaches that died during the turn. */
void attach_reap(struct attach_table *table);

/*
 * The application has left: takes the sums that it said last, a ring of messages at most. It may be
 * dropped for them.
 */
void attach_read_last(struct attach *attach);

#endif
