/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A request that cannot be answered yet. Its process owns it. A request is never answered twice,
 * and never stands on two lists: its state says on which list it is. Only the broker and its tests
 * include this header.
 */
#ifndef MSGD_DAEMON_BROKER_REQUEST_H
#define MSGD_DAEMON_BROKER_REQUEST_H

#include "daemon/broker/domain.h"

enum broker_request_state {
	BROKER_REQUEST_NEW,
	BROKER_REQUEST_HELD,	 /* for the end of recovery */
	BROKER_REQUEST_NAME,	 /* for its name */
	BROKER_REQUEST_ASKED,	 /* for a program of policy to answer */
	BROKER_REQUEST_STARTING, /* for its domain to be started, and for its name */
	BROKER_REQUEST_LINK,	 /* for a link being made */
	BROKER_REQUEST_RETRY,	 /* for its domain's turn: broker_request_work */
	BROKER_REQUEST_DONE,
};

struct broker_link;

/* The CONNECTs of one domain that wait for one address. */
struct waiters {
	UT_hash_handle hh;		     /* domain->waiting, by key; not when awake */
	TAILQ_ENTRY(waiters) entry;	     /* domain->unheard or ->awake */
	struct domain *domain;		     /* borrowed: the owner, the callers' domain */
	bool awake;			     /* its requests are to be tried again */
	uint64_t generation;		     /* of the facts by which they wait */
	struct broker_request_list requests; /* borrowed: NAME or STARTING */
	char key[];			     /* the address in one form: see waiters_key */
};

struct broker_request {
	UT_hash_handle hh;		   /* process->requests, by id */
	UT_hash_handle hh_listen;	   /* process->held_listens, by handle: while is_listen */
	TAILQ_ENTRY(broker_request) entry; /* *list */
	struct broker_request_list *list;  /* borrowed: where its state put it, or NULL */
	struct waiters *waiters;	   /* borrowed: while NAME or STARTING */
	struct process *process;	   /* borrowed: the owner */
	struct charge charge;
	struct errand_part asked, start;
	uint32_t id;
	enum broker_request_state state;
	uint64_t state_ns; /* when it came to it */
	uint64_t spent_ns[CONNECT_STAGES];
	bool is_listen;	       /* a first LISTEN, held during recovery */
	bool demanded;	       /* by it or by policy: the transport of the link it waits for */
	bool no_argo;	       /* the Argo link could not be made: fall back */
	bool prepaid;	       /* then: what that link cost pays for the next one */
	uint64_t counted;      /* as a connect by the rule with this id; 0: by none */
	char why[REASON_SIZE]; /* then, why */
	union {
		struct control_connect connect;
		struct control_listen listen;
	};
	char domain[DOMAIN_NAME_SIZE]; /* connect: "" or DOMAIN */
	char name[NAME_SIZE];
};

/* Counts the time since it came to its state, as that of the state's stage. */
void broker_request_spent(struct broker_request *request);
int broker_request_connect(struct process *process, const struct control_message *message);
int broker_request_cancel(struct process *process, uint32_t id, int error);
/* Keeps a LISTEN for after recovery. */
int broker_request_hold_listen(
	struct process *process, uint32_t id, const struct control_listen *listen);
void broker_request_set_state(
	struct broker_request *request, enum broker_request_state state, struct broker_link *link);
void broker_request_finish(struct broker_request *request, int error, const char *reason);
void broker_request_free(struct broker_request *request);
/* UNLISTEN of a LISTEN that is held: it is answered and gone. False: there is none. */
bool broker_request_unhold_listen(struct process *process, uint32_t handle);
/* All that wait for this name of this domain are to be tried again, each in its domain's turn. */
void broker_request_name_appeared(struct domain *domain, const char *name);
/* A fact of policy has changed: likewise all that wait for any name. */
void broker_request_all_awake(struct broker *broker);
/* Tries one of those that are to be tried, of the domain whose turn it is. False: there is none. */
bool broker_request_work(struct broker *broker);
bool broker_request_work_left(const struct broker *broker);
/* The domain ends, and has no request any more. */
void domain_forget_work(struct domain *domain);

#endif
