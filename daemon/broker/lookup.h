/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From an address to a listener, by policy. A refused caller must never get a different answer for
 * what is there and what is not. Only the broker includes this header.
 */
#ifndef MSGD_DAEMON_BROKER_LOOKUP_H
#define MSGD_DAEMON_BROKER_LOOKUP_H

#include "daemon/policy/policy.h"
#include "proto/limits.h"

struct domain;
struct listener;
struct process;

/* A DOMAIN of an address: one fact about it is known. It points into itself and into its text. */
struct domain_address {
	struct policy_subject fact;
	uint8_t uuid[16]; /* fact.uuid, if that is it */
};

/* text is borrowed. -EINVAL. */
int domain_address_parse(const char *text, struct domain_address *ret_address);
bool domain_address_is(const struct domain_address *address, const char *name,
	const uint8_t uuid[16], uint32_t domid);

/* A connect on the way from its address to its listener. */
struct lookup {
	const struct process *caller; /* borrowed */
	const char *domain, *name;    /* borrowed: of the address */
	struct listener *listener;    /* borrowed: found, or NULL */
	struct policy_verdict verdict;
	const char *goes_to;	  /* borrowed: DOMAIN, as an address has it, by policy; "": any */
	char reason[REASON_SIZE]; /* why not */
};

/*
 * Finds the listener of a connect: policy, domain, name, in the order of PROTOCOL.md 5.3. The first
 * two lines of the structure are given, the rest is zero. 0 and a listener with its verdict; or
 * -EACCES, -EHOSTUNREACH, -ENOENT, -ENOTUNIQ, with a reason. The verdict is set also with -EACCES,
 * where one rule refused.
 */
int lookup_address(struct lookup *lookup);
/* The administrator forbids it: -EACCES, with a reason. */
int lookup_blocked(struct lookup *lookup);

/*
 * Whether a connect of the caller's to this very listener, by the address of its domain, would be
 * permitted now, without asking a program, and not be redirected elsewhere.
 */
bool lookup_permits(const struct process *caller, const struct listener *listener);
/* Whether what the verdict permits of this domain comes to it, and to no other. */
bool lookup_stays(const struct policy_verdict *verdict, const struct domain *domain);

/*
 * A DOMAIN of an address in the one form of its kind, which two texts have if they name a domain by
 * the same fact. -EINVAL: it is none.
 */
int lookup_canonical(const char *domain, char ret_domain[DOMAIN_NAME_SIZE]);
void lookup_canonical_uuid(const uint8_t uuid[16], char ret_domain[DOMAIN_NAME_SIZE]);
void lookup_canonical_domid(uint32_t domid, char ret_domain[DOMAIN_NAME_SIZE]);

#endif
