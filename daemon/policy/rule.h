/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules as the parser builds them and the matcher reads them. Only policy/ includes this
 * header.
 */
#ifndef MSGD_DAEMON_POLICY_RULE_H
#define MSGD_DAEMON_POLICY_RULE_H

#include <sys/queue.h>

#include "daemon/policy/policy.h"

enum who_kind {
	WHO_ANY,
	WHO_SAME, /* the two domains of the rule are one */
	WHO_NAME, /* a glob on the domain's name */
	WHO_DOMID,
	WHO_UUID,
};

struct who {
	enum who_kind kind;
	uint32_t domid;
	uint8_t uuid[16];
	char glob[DOMAIN_NAME_SIZE];
};

struct policy_file {
	STAILQ_ENTRY(policy_file) entry;
	char name[]; /* NUL-terminated */
};

struct policy_rule {
	bool connect;
	char name[NAME_SIZE]; /* glob */
	struct who from;      /* connect: the caller */
	struct who to;	      /* connect: the target; listen: the holder */
	struct policy_verdict verdict;
};

/*
 * A glob on names, and the rules that have it. A name is looked up by each of its beginnings and
 * ends, so that only globs are tried whose text before the first wildcard fits or, where that is
 * empty, whose text after the last one. Rules and globs are named by their index + 1; 0 is none.
 */
struct policy_glob {
	char text[NAME_SIZE];
	bool connect;
	unsigned fixed_len;		/* of the text by which it is found */
	uint32_t next_text, next_end;	/* in the bucket */
	uint32_t first_rule, last_rule; /* in the order of the rules, by policy->next_rule */
};

#define POLICY_BUCKETS 4096U

/* Globs by one of their ends. */
struct policy_ends {
	uint64_t lens; /* a bit for each length that an end has */
	uint32_t buckets[POLICY_BUCKETS];
};

struct policy {
	uint64_t serial;	   /* no two policies of a process have the same */
	struct policy_rule *rules; /* owned, array */
	size_t n_rules, allocated;
	STAILQ_HEAD(, policy_file) files; /* owned */
	struct policy_glob *globs;	  /* owned, array */
	uint32_t *next_rule;		  /* owned, array: the next rule with the same glob */
	size_t n_globs;
	uint32_t by_text[POLICY_BUCKETS];
	struct policy_ends prefixes, suffixes;
	uint64_t same[POLICY_WORDS_MAX]; /* rules in which a WHO is `same` */
};

/* index.c. The arrays have room; the rule is the last one. */
void policy_index_add(struct policy *policy, const struct policy_rule *rule);

#endif
