/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A name that a process holds in its domain. The process owns it. A name has one holder in a
 * domain, ever. Only the broker, the views of admin/ and their tests include this header.
 */
#ifndef MSGD_DAEMON_BROKER_LISTENER_H
#define MSGD_DAEMON_BROKER_LISTENER_H

#include "daemon/broker/domain.h"

struct broker_channel;
struct watch_told;

struct listener {
	UT_hash_handle hh;	 /* process->listeners, by handle */
	UT_hash_handle hh_name;	 /* domain->listeners, by name */
	struct process *process; /* borrowed: the owner */
	struct charge charge;
	uint32_t handle;
	uint32_t type;
	uint32_t backlog;
	uint32_t n_offered;
	uint32_t n_beside; /* that are or were ahead; half of the backlog at most */
	uint64_t since_ns;
	TAILQ_ENTRY(listener) age_entry;       /* broker->names */
	LIST_HEAD(, watch_told) told;	       /* borrowed: by whom others were told of it */
	TAILQ_ENTRY(listener) judgement_entry; /* broker->names_by_judgement */
	uint64_t generation;		       /* of the facts by which it was judged last */
	bool permitted;			       /* by those */
	struct traffic traffic; /* of the ends here of its channels, and of former holders' */
	uint64_t counted_us;	/* since then, as a time of day */
	bool drained;		/* it takes no connect */
	LIST_HEAD(, broker_channel) offered; /* borrowed: those of n_offered and n_beside */
	char name[NAME_SIZE];
};

int listener_message(struct process *process, const struct control_message *message);
int listener_new(struct process *process, uint32_t request, const struct control_listen *listen);
void listener_free(struct listener *listener);
/* Exactly of this name. NULL: nobody. */
struct listener *listener_find(struct domain *domain, const char *name);

/* A name as its listeners are found by: hashed once for many domains. */
struct name_key {
	const char *name; /* borrowed */
	size_t len;	  /* 0: none */
	unsigned hash;
};

/* The whole name and, if it has an argument, its base. */
void name_keys(const char *name, struct name_key ret_keys[2]);
/* The listener of a name: on the whole of it, else on its base. NULL: nobody. */
struct listener *listener_by_keys(struct domain *domain, const struct name_key keys[2]);

static inline struct listener *listener_for(struct domain *domain, const char *name)
{
	struct name_key keys[2];

	name_keys(name, keys);
	return listener_by_keys(domain, keys);
}

bool listener_permitted(const struct listener *listener);
/* The same by a policy that is not in force. */
bool listener_would_be_permitted(const struct listener *listener, const struct policy *policy,
	struct policy_verdict *ret_verdict);
/* Judges the name anew, and says so if it is not permitted any more. */
void listener_judge(struct listener *listener);

#endif
