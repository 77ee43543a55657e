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
#include <stdio.h>

#include "proto/limits.h"

/*
 * The most rules of a policy and bytes of a file. An administrator writes them, but a slip must not
 * eat dom0's memory: a rule takes some 350 bytes with its texts, a policy 6 MiB, and two of them
 * are there during a reload. 100 domains with 100 rules each fit.
 */
#define POLICY_RULES_MAX 16384U
#define POLICY_TEXT_MAX	 (1U << 20)
/* Different conditions: each is looked at for each domain whenever one comes or goes. */
#define POLICY_CONDITIONS_MAX 256U
/* Tags of a domain: a word for each of the groups that it belongs to. 2 KiB. */
#define POLICY_TAGS_MAX 32U
/* A domain starts in seconds, and a program that asks a person waits for as long as people do. */
#define POLICY_ASK_TIMEOUT_S	   10U
#define POLICY_ASK_TIMEOUT_MAX_S   300U
#define POLICY_START_TIMEOUT_S	   60U
#define POLICY_START_TIMEOUT_MAX_S 600U
/* More connects than msgd serves in an hour, and more bytes than a memory has. */
#define POLICY_CONNECTS_MAX 1000000U
#define POLICY_BYTES_MAX    (UINT64_C(1) << 40)

struct policy;
struct policy_who;
struct report;

/* In this order, the lesser of two is the match of both. MAYBE: a fact is unknown. */
enum match { MATCH_NO, MATCH_MAYBE, MATCH_YES };

/* A domain's tags. Begins as zeros: none is known. */
struct policy_tags {
	bool all_known; /* it has no others */
	unsigned n;
	char names[POLICY_TAGS_MAX][NAME_SIZE];
};

/*
 * A domain as policy sees it. Unknown facts are marked as unknown: a domain that is not there has
 * no uuid.
 */
struct policy_subject {
	const char *name;		/* borrowed; NULL: unknown, which "" is not */
	const uint8_t *uuid;		/* borrowed, 16 bytes; NULL: unknown */
	uint32_t domid;			/* POLICY_DOMID_UNKNOWN: unknown */
	struct policy_known *known;	/* borrowed: the memo of this domain; NULL: it has none */
	const struct policy_tags *tags; /* borrowed; NULL: unknown */
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

enum policy_direction {
	POLICY_BOTH_WAYS,
	POLICY_OUT, /* the caller alone sends */
	POLICY_IN,
};

enum policy_capture {
	POLICY_CAPTURE_HEADERS, /* of frames, for the administrator who asks */
	POLICY_CAPTURE_NO,
	POLICY_CAPTURE_PAYLOAD, /* as well, where both ends agree */
};

/* A bucket of `burst` that n fill up in so many seconds. */
struct policy_rate {
	uint32_t n; /* 0: no limit */
	uint32_t seconds;
	uint32_t burst;
};

/* The rule that decided, by what it says. Texts are borrowed from the policy. */
struct policy_verdict {
	bool allow;
	bool start; /* the domain, if it is not there */
	enum policy_log log;
	enum policy_direction direction;
	enum policy_capture capture;
	uint32_t transport;    /* enum transport_kind: a demand, or ANY */
	uint32_t max_channels; /* 0: no limit by this rule, as for those that follow */
	struct policy_rate max_connects;
	uint64_t max_rate;   /* bytes a second, each way */
	uint64_t max_buffer; /* bytes */
	/* NULL: the domain that the caller named; else as in an address: "domid:0" for dom0. */
	const char *target;
	const char *ask; /* a program's path; NULL: nobody is asked */
	uint32_t ask_timeout_s;
	uint32_t start_timeout_s;
	const char *file; /* NULL: no rule matched */
	unsigned line;	  /* 0: of the file as a whole */
	uint32_t rule;	  /* its number, from 1 on; 0: it is none of the list */
	uint64_t id;	  /* of the rule's words, wherever it stands */
};

/* "headers", "no", "payload". */
const char *policy_capture_word(enum policy_capture capture);

int policy_new(struct policy **ret_policy);
void policy_free(struct policy *policy);

/*
 * Adds the rules of one file's text. `file` is copied, for messages. -EINVAL: errors, which are
 * added to the report. The policy is then broken: it has the rules of the files before this one,
 * and refuses everything else; texts of later files are looked at for errors, and not added.
 * -ENOMEM: the policy is good for policy_free only.
 */
int policy_parse(struct policy *policy, const char *file, const char *text, size_t len,
	struct report *report);

/* A file that could not be read breaks the policy as one with errors does. */
void policy_break(struct policy *policy, const char *file);

bool policy_is_broken(const struct policy *policy);
/* By policy_load: what broke it; and what policy_warn says of all rules that could be read. */
const struct report *policy_errors(const struct policy *policy);
const struct report *policy_warnings(const struct policy *policy);

/*
 * The verdict of the first rule that matches; default deny. Never fails. caller: of a connect; NULL
 * for a listen, of which target is the holder. target: NULL for a connect that names no domain; the
 * rules `to default` are then looked at alone, and a verdict without a file is none of theirs.
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

/* Counts a verdict of this policy that was acted upon. */
void policy_hit(struct policy *policy, const struct policy_verdict *verdict);
/*
 * Moves the counts of `former` to the rules of `policy` that have the same words in the same file.
 * Of rules that are alike in both, the first one gets the count of the first.
 */
void policy_take_hits(struct policy *policy, struct policy *former);
/*
 * After that, on the former one: the number in the new policy of its rule of this number, or 0:
 * the rule is gone.
 */
uint32_t policy_successor(const struct policy *former, uint32_t number);
/* Where the rule of this number stands. The file is borrowed. */
void policy_rule_place(
	const struct policy *policy, uint32_t number, const char **ret_file, unsigned *ret_line);

/*
 * Which `while` hold. Between begin and end each domain that is there and runs is told; before
 * that, none does. end: whether a condition changed, and with it the verdicts.
 */
void policy_conditions_begin(struct policy *policy);
unsigned policy_conditions_domain(struct policy *policy, const struct policy_subject *subject);
bool policy_conditions_end(struct policy *policy);

bool policy_has_redirects(const struct policy *policy);

/* A channel whose address is not known any more. All is borrowed. */
struct policy_redirection {
	const struct policy_named *named;
	const struct policy_subject *caller, *holder;
	const struct policy_subject *domains; /* that are there */
	size_t n_domains;
	/* Whether an allow would make it as it is. */
	bool (*fits)(const struct policy_verdict *verdict, const void *arg);
	const void *arg;
};

/*
 * Whether an address of the caller's is redirected to the holder under the name, by a verdict that
 * fits. Adds its cost.
 */
bool policy_redirects(const struct policy *policy, const struct policy_redirection *redirection,
	uint64_t *cost, struct policy_verdict *ret_verdict);

/*
 * Adds a line for each rule that can never match, because an earlier one without a condition and
 * without `ask` decides whatever it could, if all facts are known.
 */
void policy_warn(const struct policy *policy, struct report *report);

/* As for policy_judge. */
struct policy_question {
	const char *name;
	const struct policy_subject *caller, *target;
	enum policy_mode mode;
};

/* A rule that was looked at. */
struct policy_step {
	const char *file; /* borrowed from the policy; NULL: no rule decides */
	unsigned line;
	uint32_t rule; /* its number; 0: it is none of the list */
	bool decides;
	bool allow;	  /* and permits */
	bool redirects;	  /* to its target */
	char reason[320]; /* why not; or, of one that decides, the fact that is not known, or "" */
};

/*
 * The next of the rules that policy_judge would look at, in their order, if it looked at all; the
 * last one decides. *pos begins as 0. False: there are no more.
 */
bool policy_explain(const struct policy *policy, const struct policy_question *question,
	size_t *pos, struct policy_step *ret_step);

/* A rule in the canonical form is not longer than the longest line. */
#define POLICY_LINE_SIZE 512U

struct policy_listed {
	const char *file; /* borrowed from the policy */
	unsigned line;
	uint64_t hits; /* how often it decided */
	char text[POLICY_LINE_SIZE];
};

/* The rule of this number, from 1 on. False: there is none. */
bool policy_list(const struct policy *policy, size_t number, struct policy_listed *ret_listed);

/* Writes the rules in Graphviz's language. The caller looks for the stream's errors. */
void policy_graph(const struct policy *policy, FILE *stream);

/* The rule that decided, for logs: "FILE:LINE", or "no rule". */
void policy_verdict_rule(const struct policy_verdict *verdict, char *ret_text, size_t size);

size_t policy_rules(const struct policy *policy);
/* No two policies of a process have the same. Never 0. */
uint64_t policy_serial(const struct policy *policy);

/* Whether the text is spelt as a tag. */
bool policy_tag_valid(const char *text);
/* -EINVAL: it is not. -E2BIG: the domain has too many; then they are not all known. */
int policy_tags_add(struct policy_tags *tags, const char *tag);

/*
 * A WHO outside of rules: dom0, a pattern on names, domid:N, uuid:U and, if said, tag:T. -EINVAL;
 * -ENOMEM. To be freed with free().
 */
int policy_who_new(const char *text, bool tags, struct policy_who **ret_who);
enum match policy_who_match(const struct policy_who *who, const struct policy_subject *subject);

/* '*' and '?' only; linear in practice, never recursive. In this header for tests. */
bool policy_glob(const char *glob, const char *text);

/* "8-4-4-4-12" hexadecimal digits. -EINVAL. */
int uuid_parse(const char *text, uint8_t ret_uuid[16]);

/*
 * Reads directories' *.policy files in name order, and files. Not pure; in load.c. 0, or
 * POLICY_BROKEN with a policy that refuses everything from the first bad file's place on; the
 * report then has the errors of all files. A negative errno, with a line in the report, if a path
 * cannot be looked at or memory lacks: *ret_policy is then untouched.
 */
#define POLICY_BROKEN 1
int policy_load(const char *const *paths, size_t n_paths, struct policy **ret_policy,
	struct report *report);

#endif
