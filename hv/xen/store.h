/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The store, for the files of the backend: directly through libxenstore where the process may, else
 * through msg-agent. store.c has the way there and this handle's own records, records.c the
 * broker's watch over everybody's, agent.c the agent's socket.
 */
#ifndef MSGD_HV_XEN_STORE_H
#define MSGD_HV_XEN_STORE_H

#include <sys/queue.h>

#include <xenstore.h>

#include "hv/xen/agent-protocol.h"
#include "hv/xen/backend.h"

struct records;
struct store_agent;

/* A record that this handle published. */
struct own_record {
	LIST_ENTRY(own_record) entry;
	char key[HV_STORE_KEY_MAX];
	bool check; /* the store said that something happened to it */
	bool gone;  /* somebody else removed it: to be told */
};

/* A node that each domain may have, and whose changes matter as those of domains do. */
struct store_node {
	const char *name;     /* below the domain's */
	struct xs_handle *xs; /* borrowed: has the watches; NULL until domains are watched */
	uint64_t watched[HV_DOMID_FIRST_RESERVED / 64 + 1]; /* domids, as bits */
};

struct store {
	struct xs_handle *xs;	    /* owned; NULL: through the agent */
	struct xs_handle *watch_xs; /* owned; NULL until store_watch: store.c says why */
	struct store_agent *agent;  /* owned; NULL: directly */
	struct records *records;    /* owned; NULL until store_watch */
	LIST_HEAD(, own_record) own;
	bool polled;	       /* xs' descriptor is among the handle's */
	bool watches_specials; /* @introduceDomain, @releaseDomain */
	bool watches_domains;  /* HV_EVENT_DOMAINS is wanted */
	bool watches_own;
	struct store_node names, tags;
};

#define STORE_PATH_MAX 96

/* Writes the path of a domain's record, or of the directory of them (key NULL). */
void store_path(char ret_path[STORE_PATH_MAX], uint16_t domid, const char *key);

/* Finds the way to the store, and sets h->domid. EACCES: neither way is open. */
int store_open(struct xen_hv *h, const char **ret_reason);
void store_close(struct xen_hv *h);
/* Takes in what the watches say; sets store_due and domains_due. */
void store_poll(struct xen_hv *h);

/*
 * nodes.c. A domain's name, "" where it cannot be read. If domains are watched, so is the name,
 * from now.
 */
void store_domain_name(struct xen_hv *h, uint16_t domid, char ret_name[HV_DOMAIN_NAME_MAX]);
/* As hv.h says of domain_tags. */
int store_domain_tags(struct xen_hv *h, uint16_t domid, char ret_tags[HV_TAGS_MAX]);
/* These are all the domains that there are: the nodes of others are watched no more. */
void store_nodes_keep(struct xen_hv *h, const struct hv_domain *domains, size_t n);

int op_store_publish(struct hv *hv, const char *key, const void *value, size_t len);
int op_store_remove(struct hv *hv, uint16_t domid, const char *key);
int op_parcel_ask(struct hv *hv, struct hv_parcel *ret_parcel);
int op_store_watch(struct hv *hv);
int op_store_watch_own(struct hv *hv);
int op_store_next(struct hv *hv, struct hv_record *ret_record);
int op_domain_watch(struct hv *hv);

/* records.c */
struct records *records_new(struct xs_handle *xs, struct xs_handle *watch_xs);
void records_free(struct records *records);
/* A domain came or went: the next records_next looks. */
void records_scan(struct records *records);
/* A watch fired on this path. Returns whether records_next has something to do. */
bool records_event(struct records *records, const char *path);
/* The caller has polled: records_next may read again. */
void records_turn(struct records *records);
/* Whether there is something to read, in this turn or the next. */
bool records_due(const struct records *records);
/*
 * 1 and the next change, -errno, or 0: no change, or none before the next records_turn. Blocks for
 * a round trip to the store, or several, all calls between two turns for a bounded number.
 */
int records_next(struct records *records, struct hv_record *ret_record);

/* agent.c */
struct store_agent *store_agent_new(void);
void store_agent_free(struct store_agent *agent);
/*
 * Sends a request. 0, or -errno: the agent's refusal; EACCES: no agent; EHOSTDOWN: it does not
 * answer. Blocks until the agent answers, some seconds at most. Connects where needed.
 */
int store_agent_request(struct store_agent *agent, enum agent_op op, const char *key,
	const void *value, size_t len, struct agent_reply *ret_reply);
/* The descriptors that came with the answer to the latest request; -1: none. Now the caller's. */
void store_agent_fds(struct store_agent *agent, int ret_fds[HV_PARCEL_FDS]);
/* The socket, or -1: not connected. */
int store_agent_fd(const struct store_agent *agent);
/* 1 and the key of a record that is gone, 0: none for now, -ENOTCONN: the agent ended. */
int store_agent_gone(struct store_agent *agent, char ret_key[HV_STORE_KEY_MAX]);

#endif
