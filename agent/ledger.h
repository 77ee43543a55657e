/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The agent's core (hv/xen/agent-protocol.h): the ledger knows which connection holds which record
 * of the store, and decides what each connection may do. It owns no descriptor; msg-agent and msgd
 * run it, and tests run it on a store of their own. The ledger must never touch a record for a
 * connection that does not hold it, never publish one that names a port or pages which were not
 * made for that connection, and never keep more than its limits for one user.
 */
#ifndef MSGD_AGENT_LEDGER_H
#define MSGD_AGENT_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "hv/xen/agent-protocol.h"

/*
 * All limits are here, or follow from the places that msgd gives the domain: [limits] processes,
 * which is DOMAIN_PROCESSES_MAX (proto/limits.h) where nobody says otherwise.
 *
 * The agent admits as many connections, and records, as four domains may have applications: msgd
 * refuses more of one domain anyway, and by default 256 descriptors are far from a service's 1024.
 */
#define LEDGER_PLACES	     64U
#define LEDGER_TOTAL(places) (4U * (places))
/* libmsg publishes one record for a context, over a connection of its own. The rest is spare. */
#define LEDGER_RECORDS_PER_HOLDER 4U
/*
 * A record is a place at msgd, and one of the domain's 1000 nodes in xenstored, whose directory
 * takes some sixty: one user has three of four places, and the others have the rest. root is a user
 * as others are; it may write the store itself.
 */
#define LEDGER_SHARE(places) ((places) - (places) / 4U)
/* Sizes are those of the store: HV_STORE_KEY_MAX, HV_STORE_VALUE_MAX. */
/*
 * Lines of log that clients can cause: those of one user, at once and then one in so many
 * nanoseconds, and those of all. The latter are 350 in 30 seconds, of journald's 10,000.
 */
#define LEDGER_LOG_USER_BURST	20U
#define LEDGER_LOG_USER_LINE_NS UINT64_C(1000000000)
#define LEDGER_LOG_BURST	200U
#define LEDGER_LOG_LINE_NS	UINT64_C(200000000)
/* Users share allowances by their number modulo this: nothing is kept for each. */
#define LEDGER_LOG_SOURCES 64U

struct ledger;
struct holder; /* a connection */

/* Store and parcels, as hv.h has them; all may block for a round trip to the store. */
struct ledger_store {
	int (*publish)(void *arg, const char *key, const void *value, size_t len);
	int (*remove)(void *arg, const char *key);
	uint16_t (*domid)(void *arg);
	int (*make)(void *arg, struct hv_parcel *ret_parcel);
	void (*drop)(void *arg, struct hv_parcel *parcel);
};

/* store and arg are borrowed. -ENOMEM. */
int ledger_new(const struct ledger_store *store, void *arg, struct ledger **ret_ledger);

/* Says how many places there are. Connections and records that are there stay. */
void ledger_set_places(struct ledger *ledger, unsigned places);

/* Forgets all holders; the records stay in the store: their applications live on. */
void ledger_free(struct ledger *ledger);

/* client: borrowed, for ledger_gone. -EUSERS: over a limit. -ENOMEM. */
int ledger_admit(struct ledger *ledger, uid_t uid, void *client, struct holder **ret_holder);

/* The connection is closed: its records are removed from the store. Frees the holder. */
void ledger_leave(struct holder *holder);

/*
 * One packet, a private copy. Fills in the reply to be sent, with the descriptors that go with it
 * (-1: none), which are the caller's to close. False: the connection is to be closed after it.
 */
bool ledger_request(struct holder *holder, const void *packet, size_t len,
	struct agent_reply *ret_reply, int ret_fds[HV_PARCEL_FDS]);

/*
 * The store says that this record is gone. Returns the client that held the record, with the
 * message for that client; or NULL: nobody held it, or its holder removed it.
 */
void *ledger_gone(struct ledger *ledger, const char *key, struct agent_reply *ret_reply);

/* For tests. */
unsigned ledger_holders(const struct ledger *ledger);

#endif
