/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a record in the store to an attached application (PROTOCOL.md 2), and back. A record is a
 * claim by a domain: whatever about it is not true deletes the record, and nothing that it names is
 * touched.
 */
#ifndef MSGD_DAEMON_SHELL_ATTACH_H
#define MSGD_DAEMON_SHELL_ATTACH_H

#include "proto/control-ring.h"
#include "daemon/shell/server.h"
#include "proto/record.h"

#include <uthash.h>

/* While more bytes than this wait in an application's outbox, its requests are not read. */
#define CONTROL_READ_STOP (64U << 10)
/*
 * While more than this wait, no other application may add to them. The CHANNEL messages of the
 * largest backlog fit, so a listener that is merely quiet is not taken for one that does not read.
 */
#define CONTROL_CONGESTED (2U << 20)

enum attach_state {
	ATTACH_BINDING, /* the port is still held by a process that is dying, perhaps */
	ATTACH_UP,
	ATTACH_PARKED, /* of a quiesced domain: nothing is held but the record's name */
	ATTACH_DEAD,   /* on server->dead */
};

struct attach_key {
	uint16_t domid;
	char key[HV_STORE_KEY_MAX]; /* NUL-padded */
};

struct attach {
	UT_hash_handle hh;	/* server->by_key */
	UT_hash_handle hh_port; /* server->by_port, once bound */
	struct server *server;	/* borrowed */
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
	struct control_ring ring;
	struct process *process;   /* borrowed: the broker's; NULL: not attached */
	TAILQ_ENTRY(attach) entry; /* server->ready or ->dead */
	TAILQ_ENTRY(attach) dirty_entry;
	bool ready, dirty, masked;
	bool event_due; /* while dirty: it sleeps, and has been told something */
};

/* What the store says has changed: a new record, another one under the key, or one gone. */
void attach_record(struct server *server, const struct hv_record *record, bool found);

/* Lets go of it all; deletes the record if asked to. The broker must have forgotten it. */
void attach_close(struct attach *attach, bool delete_record);

/* Whether the bytes are those of a quiesced application's record (PROTOCOL.md 2). */
bool attach_is_parked_record(const struct hv_record *record);

/* The domain is quiesced no more: deletes its parked records, which tells their applications. */
void attach_unpark(struct server *server, uint16_t domid);

/* The broker dropped it: the record goes, its memory at the end of the turn. */
void attach_dropped(struct attach *attach, const char *reason);

/* Reads and writes its rings, a bounded amount. True: there is more to do. */
bool attach_run(struct attach *attach);

void attach_make_ready(struct attach *attach);
void attach_make_dirty(struct attach *attach);

/* Frees those that died during the turn. */
void attach_reap(struct server *server);
void attach_free(struct attach *attach);

#endif
