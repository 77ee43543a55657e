/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The agent's connections, on libevent: a listening SOCK_SEQPACKET socket, its clients, and the
 * store behind an hv handle. msg-agent runs the agent in a guest; msgd runs it in its own domain.
 * The agent must never wait for a client.
 */
#ifndef MSGD_AGENT_AGENT_H
#define MSGD_AGENT_AGENT_H

#include <event2/event.h>

#include "hv/hv.h"

struct agent;

struct agent_ops {
	/*
	 * One line for the log; priority as in <syslog.h>. Clients cause them, and the agent has
	 * bounded how many (LEDGER_LOG_BURST).
	 */
	void (*log)(void *arg, int priority, const char *text);
	/* The last client has left, or the first has come; may be NULL. */
	void (*idle)(void *arg, bool idle);
};

/* Takes fd over on success; base, hv, ops and arg are borrowed. -ENOMEM. */
int agent_new(struct event_base *base, int fd, struct hv *hv, const struct agent_ops *ops,
	void *arg, struct agent **ret_agent);

/* How many applications msgd lets the domain have, if not LEDGER_PLACES. */
void agent_set_places(struct agent *agent, unsigned places);

/* Closes all connections; the records stay in the store. NULL is accepted. */
void agent_free(struct agent *agent);

/* A record of the agent's own domain is gone from the store (hv.h, store_watch_own). */
void agent_record_gone(struct agent *agent, const char *key);

#endif
