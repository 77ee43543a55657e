/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Policy says which domain may listen under which name, and which may connect to which. Parser and
 * matcher are pure: they open no file and know no broker, so that unit tests and fuzzers run them
 * as they are. A policy never changes once built; a reload builds another one.
 */
#ifndef MSGD_DAEMON_POLICY_POLICY_H
#define MSGD_DAEMON_POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/limits.h"

/*
 * The most rules of a policy and bytes of a file. An administrator writes them, but a slip must not
 * eat dom0's memory: a rule takes some 450 bytes, a policy 8 MiB, and two of them are there during
 * a reload. 100 domains with 100 rules each fit.
 */
#define POLICY_RULES_MAX 16384U
#define POLICY_TEXT_MAX	 (1U << 20)

struct policy;

/*
 * A domain as policy sees it. Unknown facts are marked as unknown: a domain that is not there has
 * no uuid.
 */
struct policy_subject {
	const char *name;	    /* borrowed; NULL: unknown, which "" is not */
	const uint8_t *uuid;	    /* borrowed, 16 bytes; NULL: unknown */
	uint32_t domid;		    /* POLICY_DOMID_UNKNOWN: unknown */
	struct policy_known *known; /* borrowed: the memo of this domain; NULL: it has none */
};

#define POLICY_WORDS_MAX (POLICY_RULES_MAX / 64U)

/*
 * A domain's memo of the rules whose WHO is this domain, so that each is compared once and not for
 * each connect: a bit a rule. It begins as zeros. Its owner forgets it when the domain's facts
 * change, and makes it anew; until then the domain is judged rule by rule.
 */
struct policy_known {
	uint64_t serial; /* of the policy; 0: of none */
	uint64_t from[POLICY_WORDS_MAX];
	uint64_t to[POLICY_WORDS_MAX]; /* or on */
};

static inline void policy_known_forget(struct policy_known *known)
{
	known->serial = 0;
}

/*
 * The rules of one kind that speak of one name: a bit a rule, of which there are few, in those
 * words that have a bit in `words`. The other words are not written. On the caller's stack: 2 KiB.
 */
struct policy_named {
	bool connect;
	uint64_t words[POLICY_WORDS_MAX / 64];
	uint64_t bits[POLICY_WORDS_MAX];
};

#define POLICY_DOMID_UNKNOWN UINT32_MAX

/* How to judge a rule whose WHO cannot be decided, because a fact is unknown. */
enum policy_mode {
	/*
	 * The domains are there. All is known of them, but perhaps a name that could not be read: a
	 * deny that might match counts, an allow that might does not.
	 */
	POLICY_EXACT,
	/*
	 * The target is not there. A deny that might have matched counts, an allow that might
	 * have does not: a refused caller cannot tell an absent domain from a forbidden one.
	 */
	POLICY_ABSENT,
	/* Could any domain be permitted? An allow that might match counts, such a deny does not. */
	POLICY_ANY,
};

enum policy_log {
	POLICY_LOG_DEFAULT, /* refusals are logged, permissions are not */
	POLICY_LOG_YES,
	POLICY_LOG_NO,
};

struct policy_verdict {
	bool allow;
	enum policy_log log;
	uint32_t max_channels; /* 0: no limit by this rule */
	uint32_t transport;    /* enum transport_kind: a demand, or ANY */
	const char *file;      /* borrowed from the policy; NULL: no rule matched */
	unsigned line;
};

#define POLICY_ERROR_SIZE 256U

int policy_new(struct policy **ret_policy);
void policy_free(struct policy *policy);

/*
 * Adds the rules of one file's text. `file` is copied, for messages. -EINVAL: syntax, with
 * "FILE:LINE: what" in ret_error; -E2BIG: too many rules; -ENOMEM. After a failure the policy is
 * only good for policy_free.
 */
int policy_parse(struct policy *policy, const char *file, const char *text, size_t len,
	char ret_error[POLICY_ERROR_SIZE]);

/*
 * The verdict of the first rule that matches; default deny. Never fails. caller: of a connect; NULL
 * for a listen, of which target is the holder.
 */
unsigned policy_judge(const struct policy *policy, const char *name,
	const struct policy_subject *caller, const struct policy_subject *target,
	enum policy_mode mode, struct policy_verdict *ret_verdict);

/* Makes the subject's memo, if it has none for this policy. Returns the cost. */
unsigned policy_known_make(const struct policy *policy, const struct policy_subject *subject);

/*
 * The same in two steps, for one name and many domains. As policy_judge, each returns its cost: how
 * many rules and globs it looked at.
 */
unsigned policy_find(const struct policy *policy, const char *name, bool connect,
	struct policy_named *ret_named);
unsigned policy_judge_named(const struct policy *policy, const struct policy_named *named,
	const struct policy_subject *caller, const struct policy_subject *target,
	enum policy_mode mode, struct policy_verdict *ret_verdict);

/* The rule that decided, for logs: "FILE:LINE", or "no rule". */
void policy_verdict_rule(const struct policy_verdict *verdict, char *ret_text, size_t size);

size_t policy_rules(const struct policy *policy);

/* '*' and '?' only; linear in practice, never recursive. In this header for tests. */
bool policy_glob(const char *glob, const char *text);

/* "8-4-4-4-12" hexadecimal digits. -EINVAL. */
int uuid_parse(const char *text, uint8_t ret_uuid[16]);

/*
 * Reads DIR's *.policy files in name order, or one file. Not pure; in load.c. *ret_policy
 * untouched on failure; ret_error names file and line.
 */
int policy_load(const char *const *paths, size_t n_paths, struct policy **ret_policy,
	char ret_error[POLICY_ERROR_SIZE]);

#endif
