/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An attached application: its domain owns it, and it owns its names and requests. Its ends of
 * links lie in the links. A handler never frees the process whose message it handles: it returns
 * an error, and broker_message drops the process. Only the broker, the views of admin/ and
 * their tests include this header.
 */
#ifndef MSGD_DAEMON_BROKER_PROCESS_H
#define MSGD_DAEMON_BROKER_PROCESS_H

#include "daemon/broker/domain.h"
#include "daemon/broker/outbox.h"
#include "daemon/broker/ping.h"

struct broker_request;
struct link_end;
struct listener;
struct watch;

enum process_state {
	PROCESS_NEW,	    /* until HELLO with this epoch, everything is discarded */
	PROCESS_ANNOUNCING, /* between HELLO with reattach and ANNOUNCE_DONE */
	PROCESS_READY,
	PROCESS_QUIESCING, /* QUIESCE was sent: everything is discarded */
	PROCESS_PARKED,	   /* it has confirmed; about to be freed */
	PROCESS_GONE, /* it has no message, no request, no name; perhaps links, which end by and by
		       */
};

struct process {
	TAILQ_ENTRY(process) entry; /* domain->processes, or broker->dying */
	struct broker *broker;	    /* borrowed */
	struct domain *domain;	    /* borrowed: the owner */
	void *peer;		    /* borrowed: the shell's */
	enum process_state state;
	struct charge charge;
	uint64_t serial; /* never used again */
	uint64_t since_ns;
	uint32_t epoch;
	bool awaited;  /* found at start, has not announced yet: it alone may announce */
	bool detaches; /* it has said so, in its last message */
	uint64_t features;
	uint32_t pid;
	char comm[COMM_SIZE];
	char gone_reason[REASON_SIZE]; /* for its links, once it is GONE */
	uint32_t asked_token;	       /* of an ASK that it has not answered; 0: there is none */
	struct ping ping;
	struct control_answer sums;	/* its last words about all that it has carried */
	bool sums_known;		/* they count from these on */
	struct capture_source *capture; /* owned; NULL: it was never asked for frames */
	uint32_t last_end;
	bool ends_wrapped;
	struct outbox outbox;		     /* owned: messages that its ring has no room for */
	uint32_t own_bytes;		     /* of those, paid for by its own domain */
	struct link_end *ends;		     /* borrowed: in their links; by number */
	struct listener *listeners;	     /* owned; by handle */
	struct broker_request *requests;     /* owned; by id */
	struct watch *watches;		     /* owned; by handle */
	struct broker_request *held_listens; /* borrowed: the held LISTENs of them; by handle */
};

void process_set_state(struct process *process, enum process_state state);
/* Takes requests, watches, names and some links away. Their peers are told, but for `except`. */
void process_strip(struct process *process, const struct process *except, const char *reason);
/*
 * Tells its peers and frees it; or, where it has many links, has process_end_work do the rest. The
 * caller sees to ops->drop.
 */
void process_free(struct process *process, const char *reason);
/* Ends a link of a process that is gone, or frees the process after its last one. False: none. */
bool process_end_work(struct broker *broker);
/* The same with ops->drop. */
void process_drop(struct process *process, enum process_drop cause, const char *reason);
/* The process has announced, or never will. */
void process_not_awaited(struct process *process);
uint32_t process_next_end(struct process *process);
/*
 * Finds an end by its number. 0 with NULL: the number was given once, and its link is gone.
 * -EPROTO: it was never given.
 */
int process_end(struct process *process, uint32_t number, struct link_end **ret_end);
/* About what the application asked for itself. */
void process_send(struct process *process, const struct control_message *message);
/* ENOMEM becomes ENOBUFS, with a reason of its own. */
void process_status(struct process *process, uint32_t request, int error, const char *reason);
/* payer: the domain that asked for the link or channel; NULL: the receiver's. */
void process_link_down(
	struct process *process, struct domain *payer, uint32_t end, int error, const char *reason);
void process_channel_gone(
	struct process *process, struct domain *payer, uint32_t end, uint32_t channel);
int process_hello(struct process *process, const struct control_message *message);

#endif
