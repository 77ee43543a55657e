/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An application's wish to be told of names: PROTOCOL.md 5.6. Its process owns it, until it ends.
 * Only the broker and its tests include this header.
 */
#ifndef MSGD_DAEMON_BROKER_WATCH_H
#define MSGD_DAEMON_BROKER_WATCH_H

#include "daemon/broker/domain.h"

struct listener;
struct process;
struct watch;

enum watch_state {
	WATCH_BEHIND,  /* it has something to look at, or to tell */
	WATCH_BLOCKED, /* likewise, but the application's ring has no room */
	WATCH_IDLE,    /* all was told, or will be when recovery is over */
	WATCH_ENDING,  /* it is the process's no more, and is freed by and by */
	WATCH_STATES,
};

TAILQ_HEAD(watch_list, watch);

/* A name that the application was told of, by its address of then. */
struct watch_told {
	UT_hash_handle hh;		    /* watch->told, by listener: while there is one */
	LIST_ENTRY(watch_told) entry;	    /* listener->told: likewise */
	TAILQ_ENTRY(watch_told) gone_entry; /* watch->gone: after that */
	struct watch *watch;		    /* borrowed: the owner */
	struct listener *listener;	    /* borrowed; NULL: the name is gone */
	uint32_t bytes;			    /* that the watcher's domain pays for it */
	char address[];
};

struct watch {
	UT_hash_handle hh;	  /* process->watches, by handle: until ENDING */
	TAILQ_ENTRY(watch) entry; /* broker->watches[state] */
	struct broker *broker;	  /* borrowed */
	struct process *process;  /* borrowed: the owner; NULL: ENDING */
	struct domain *domain;	  /* borrowed: the process's, which pays */
	struct charge charge;
	uint32_t handle;
	uint32_t bytes; /* that the domain pays beside the charge */
	enum watch_state state;
	struct listener *next; /* borrowed: the next name to look at; NULL: none */
	struct watch_told *told;
	TAILQ_HEAD(, watch_told) gone; /* to be told of; the rest of those told of */
	bool done;		       /* NAMES_DONE was sent */
	int error;		       /* not 0: it is to end, and why */
	const char *why;	       /* static */
	char pattern[ADDRESS_SIZE];
	char domain_glob[DOMAIN_NAME_SIZE], name_glob[NAME_SIZE];
};

int watch_message(struct process *process, const struct control_message *message);
/* The process wants none of its watches any more. */
void watch_end_all(struct process *process);
/* The process's ring has room again. */
void watch_unblock(struct process *process);
/* A name has come: it is in its tables. It goes: it is still there. */
void watch_name_came(struct listener *listener);
void watch_name_gone(struct listener *listener);
/* A fact of policy has changed: all names are to be looked at again. */
void watch_all_again(struct broker *broker);
/* The applications that were there at the start have announced. */
void watch_recovered(struct broker *broker);
/* Looks at one name for one watch, or tells of one. False: there is nothing to do. */
bool watch_work(struct broker *broker);
/* Frees one object of watches that have ended. False: there is none. */
bool watch_end_work(struct broker *broker);
bool watch_work_left(const struct broker *broker);

#endif
