/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A link between two processes, as msgd introduced them. The broker owns it, it owns its channels,
 * and it is freed with the first of its two processes. It carries no payload and owns nothing of
 * the hypervisor. Only the broker, the views of admin/ and their tests include this header.
 */
#ifndef MSGD_DAEMON_BROKER_LINK_H
#define MSGD_DAEMON_BROKER_LINK_H

#include "daemon/broker/ahead.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/request.h"

enum broker_link_state {
	BROKER_LINK_CREATING, /* LINK_CREATE was sent */
	BROKER_LINK_BINDING,  /* LINK_BIND was sent */
	BROKER_LINK_UP,
	BROKER_LINK_ANNOUNCED, /* after a restart: one end, or both, not settled yet */
	BROKER_LINK_GONE,
};

struct link_end {
	UT_hash_handle hh;	  /* process->ends, by number */
	struct broker_link *link; /* borrowed: it is part of it */
	struct process *process;  /* borrowed; NULL: not announced yet */
	struct charge charge;
	uint32_t number;
	uint16_t domid; /* of the process, or of the one that is to announce it */
	bool told;	/* the application was told of this end */
	struct outbox_message
		*unsent; /* borrowed: the message that tells of it still waits, or NULL */
	uint32_t announced_state;
	uint32_t last_channel; /* the highest number that this end has announced */
	/* As it says itself: of all its channels, also of those that are gone; of the link. */
	struct traffic traffic;
	uint64_t notifications, hypercalls;
};

struct link_pair {
	uint64_t low, high; /* the two processes' serials */
	uint64_t transport;
};

struct link_id {
	uint64_t uid;
	uint16_t creator, binder; /* domids */
	uint32_t transport;
};

struct broker_link {
	UT_hash_handle hh; /* broker->links or, until it is settled, broker->announced; by id */
	struct broker_link **table;	/* borrowed: which of the two, or NULL */
	TAILQ_ENTRY(broker_link) entry; /* *list */
	struct broker_link_list *list;	/* borrowed: until it is settled; or NULL */
	UT_hash_handle hh_pair;		/* broker->pairs, once both processes are known */
	bool paired;
	struct broker *broker; /* borrowed */
	enum broker_link_state state;
	struct link_id id;
	struct link_pair pair;
	struct charge
		charge; /* the creator's domain; so are those of both ends, once it is known */
	struct link_end ends[2]; /* 0: creator, 1: binder */
	struct control_link_offer offer;
	/* The size of each ring when the link was made: both ends must be told the same. */
	uint32_t ring_pages;
	uint64_t since_ns;
	uint32_t last_channel;
	bool channels_wrapped;
	struct broker_channel *channels; /* owned; by number */
	uint32_t n_standing;		 /* of them: no end has closed it for good */
	uint32_t n_ahead;		 /* of them: those are no channels yet */
	/* Closed by their callers' ends alone, in no backlog, paid for by the callers' domain. */
	uint32_t n_unpaid;
	TAILQ_HEAD(, broker_channel) by_judgement;
	TAILQ_ENTRY(broker_link) judgement_entry; /* broker->links_by_judgement */
	uint64_t generation;			  /* as listener->generation; see rejudge.c */
	bool denied;				  /* a channel was, since then */
	/* Borrowed: requests in BROKER_REQUEST_LINK, within the quotas of the two ends' domains. */
	struct broker_request_list waiting;
	struct ahead ahead[2]; /* by the end that connects */
	char why[REASON_SIZE]; /* why this transport */
};

/*
 * Makes an object with no ends yet, in no table. NULL: out of memory. broker_link_add puts it into
 * the broker's table under its id (-ENOMEM). broker_link_free takes it out of every table that it
 * is in, and tells nobody. Its channels, of which there may be many, are freed by broker_work.
 */
struct broker_link *broker_link_alloc(
	struct broker *broker, enum broker_link_state state, const char *why);
int broker_link_add(struct broker_link *link, struct broker_link **table);
/* From the announced ones to those that stand. -ENOMEM: it is in no table. */
int broker_link_settled(struct broker_link *link);
/* Takes it off the list on which it waits to be settled, and puts it on another, or on none. */
void broker_link_wait(struct broker_link *link, struct broker_link_list *list);
void broker_link_free(struct broker_link *link);
/* Frees a channel of a link that is gone, or the link after its last one. False: there is none. */
bool broker_link_bury(struct broker *broker);
struct broker_link *broker_link_find(struct process *a, struct process *b, uint32_t transport);
/* Looks at each link, also at those that are announced. NULL: there is none. */
struct broker_link *broker_link_by_uid(struct broker *broker, uint64_t uid);
/*
 * prepaid: it is not one more of the links that the two domains may make. -EDQUOT with a reason;
 * -ENOMEM.
 */
int broker_link_new(struct process *creator, struct process *binder, uint32_t transport,
	const char *why, bool prepaid, struct broker_link **ret_link, char ret_reason[REASON_SIZE]);
void broker_link_set_state(struct broker_link *link, enum broker_link_state state);
/*
 * Ends a link: each end that was told of it gets LINK_DOWN, but for `except`; waiting requests are
 * tried again; its channels and the link are freed. by: the domain that caused it, or NULL.
 */
void broker_link_down(struct broker_link *link, const struct process *except, struct domain *by,
	int error, const char *reason);
/* Makes the link known by its two processes. -ENOMEM. */
int broker_link_pair_add(struct broker_link *link);
/* payer: whose charge the end is. -EDQUOT, with a reason if that is not NULL; -ENOMEM. */
int broker_link_end_attach(struct broker_link *link, unsigned index, struct process *process,
	uint32_t number, struct domain *payer, char ret_reason[REASON_SIZE]);
int broker_link_message(struct process *process, const struct control_message *message);
/* 0; -EOPNOTSUPP: Argo does not work for this process, and why. */
int broker_link_argo_missing(const struct process *process, char ret_reason[REASON_SIZE]);

#endif
