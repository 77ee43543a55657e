/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The shell around the broker: hypervisor events and timers in, rings and records out. It decides
 * nothing about names, policy or channels. Per loop turn each application gets a bounded amount of
 * work, so that none starves the others.
 */
#ifndef MSGD_DAEMON_SHELL_SERVER_H
#define MSGD_DAEMON_SHELL_SERVER_H

#include <event2/event.h>
#include <sys/queue.h>

#include "daemon/broker/broker.h"
#include "hv/hv.h"

struct agent;
struct attach;
struct quiesce;

TAILQ_HEAD(attach_list, attach);

struct server {
	struct hv *hv;		    /* owned */
	struct event_base *base;    /* borrowed */
	struct broker *broker;	    /* owned */
	struct policy *policy;	    /* owned */
	struct event *hv_event;	    /* owned: the hypervisor's descriptor */
	struct event *turn_event;   /* owned: work is left for the next turn */
	struct event *timer_event;  /* owned: the broker's timer */
	struct event *rescan_event; /* owned: looks whether a suspended domain goes on */
	struct attach *by_key;	    /* owned; by domid and key */
	struct attach *by_port;	    /* borrowed: the same; by local port */
	struct attach_list ready;   /* borrowed: have something to do */
	struct attach_list dirty;   /* borrowed: have something to publish */
	struct attach_list dead;    /* owned: freed at the end of the turn */
	struct agent *agent;	    /* borrowed, or NULL: told of own records that are gone */
	struct quiesce *quiesce;    /* borrowed, or NULL: told of every confirmation */
	bool store_due, domains_due;
	bool lost; /* the hypervisor is gone: the loop was left, and nothing can be served */
	uint32_t n_attached;
};

/*
 * Takes hv over on success, and policy. Lists domains, finds the records that are there, starts the
 * broker's recovery. ret_reason, if set, is a sentence in static storage.
 */
int server_new(struct event_base *base, struct hv *hv, const struct broker_limits *limits,
	struct policy *policy, struct server **ret_server, const char **ret_reason);
/* Lets go of everything; applications see it and wait for the next msgd. */
void server_free(struct server *server);
/* Takes policy over; judges anew. */
void server_set_policy(struct server *server, struct policy *policy);
void server_set_limits(struct server *server, const struct broker_limits *limits);
/* As the broker's: they send what is to be sent. */
int server_quiesce(struct server *server, uint16_t domid);
int server_resume(struct server *server, uint16_t domid);
/* Asks the hypervisor for its domains and tells the broker. */
int server_list_domains(struct server *server);
/* The same outside of a turn. */
int server_refresh_domains(struct server *server);
/* Logs that a call of the hypervisor failed; leaves the loop if there is none any more (ENODEV). */
void server_error(struct server *server, const char *what, int error);
/* After the broker was given an event outside of a turn: publishes what it sent. */
void server_finish(struct server *server);

#endif
