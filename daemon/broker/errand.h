/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An errand: a program that a rule of policy has run, and the requests that wait for its result. A
 * rule with `ask` asks whether a connect is permitted, one with `start` has a domain started. Equal
 * errands are one. Only the broker includes this header.
 */
#ifndef MSGD_DAEMON_BROKER_ERRAND_H
#define MSGD_DAEMON_BROKER_ERRAND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/allowance.h"

struct broker;
struct broker_request;
struct domain;
struct errand;
struct lookup;

TAILQ_HEAD(errand_list, errand);

/* A request's part in an errand, from its joining to its end. */
struct errand_part {
	TAILQ_ENTRY(errand_part) entry; /* errand->waiting or ->told */
	struct errand *errand;		/* ref; NULL: none */
	struct broker_request *request; /* borrowed: the owner */
	bool told;			/* that there is a result */
};

/* The errands of one domain. */
struct domain_errands {
	struct errand_list kept; /* owned: answers that count for a while, the oldest first */
	unsigned n_kept;
	unsigned n_active;
	uint32_t bytes; /* of all that it pays for */
	struct allowance made;
};

struct broker_errands {
	struct errand *by_key; /* borrowed: those that others may join */
	/* owned: a program runs, or a domain is awaited. ERRANDS_MAX at most */
	struct errand_list active;
	unsigned n_active;
	struct errand_list due;	 /* borrowed: requests wait that are to be told the result */
	struct errand_list kept; /* owned: starts that failed a moment ago, the oldest first */
	unsigned n_kept;
	uint64_t epoch; /* answers of former policies do not count */
	uint64_t last_id;
};

void errands_init(struct broker_errands *errands);
void errands_free(struct broker *broker);

/* Results of errand_try. */
#define ERRAND_ASKED	1
#define ERRAND_STARTING 2

/*
 * Does what the verdict of a lookup demands beside: found is that lookup's result. Returns what is
 * to be answered in its place; or ERRAND_ASKED or ERRAND_STARTING: the request is to wait, and is
 * tried again when there is a result.
 */
int errand_try(struct broker_request *request, struct lookup *lookup, int found);
/* The request ends. */
void errand_leave_all(struct broker_request *request);
/* Tells one request that a result is there. False: there is none to be told. */
bool errand_work(struct broker *broker);
/* A new policy: the programs of the former one are asked in vain. */
void errands_forget_answers(struct broker *broker);
/* The domain has no request any more, and ends. */
void errands_domain_gone(struct domain *domain);
/* When errands_tick is due; 0: never. */
uint64_t errands_next_ns(const struct broker *broker);
void errands_tick(struct broker *broker);

#endif
