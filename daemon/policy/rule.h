/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules as the parser builds them and the matcher reads them. Only policy/ includes this
 * header.
 */
#ifndef MSGD_DAEMON_POLICY_RULE_H
#define MSGD_DAEMON_POLICY_RULE_H

#include "base/macro.h"
#include "base/report.h"
#include "daemon/policy/policy.h"

enum who_kind {
	WHO_ANY,
	WHO_SAME,    /* the two domains of the rule are one */
	WHO_DEFAULT, /* in `to`: the caller named none */
	WHO_NAME,    /* a glob on the domain's name */
	WHO_DOMID,
	WHO_UUID,
	WHO_TAG,
};

struct who {
	enum who_kind kind;
	uint32_t domid;
	uint8_t uuid[16];
	const char *text; /* borrowed: the glob, or the tag */
};

/* A text that the policy keeps once, whoever borrows it: equal texts have one address. */
struct policy_text {
	struct policy_text *next; /* owned: in the bucket */
	char text[];		  /* NUL-terminated */
};

/* A WHO after `while`, which rules share. */
struct policy_condition {
	struct who who;
	enum match holds;
	enum match found; /* of the look that is under way */
};

struct policy_rule {
	bool connect;
	uint32_t next_hits; /* policy_take_hits: the next rule in the bucket; 0: none */
	uint32_t successor; /* its number in the policy that took its hits; 0: none */
	const char *name;   /* borrowed: a glob */
	struct who from;    /* connect: the caller */
	struct who to;	    /* connect: the target; listen: the holder */
	unsigned condition; /* its number, from 1 on; 0: none */
	struct policy_verdict verdict;
	uint64_t hits; /* how often it decided */
};

/* Rules that have one glob: bits of the word of this number. */
struct policy_mark {
	uint64_t bits;
	uint32_t word;
	uint32_t next; /* of the glob */
};

/*
 * A glob on names, and the rules that have it. A name is looked up by each of its beginnings and
 * ends, so that only globs are tried whose text before the first wildcard fits or, where that is
 * empty, whose text after the last one. Globs and marks are named by their index + 1; 0 is none.
 */
struct policy_glob {
	const char *text; /* borrowed */
	bool connect;
	unsigned fixed_len;		/* of the text by which it is found */
	uint32_t next_text, next_end;	/* in the bucket */
	uint32_t first_mark, last_mark; /* in the order of the rules */
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
	struct policy_text *texts[POLICY_BUCKETS]; /* owned */
	struct policy_glob *globs;		   /* owned, array */
	struct policy_mark *marks;		   /* owned, array */
	size_t n_globs, n_marks;
	uint32_t by_text[POLICY_BUCKETS];
	struct policy_ends prefixes, suffixes;
	struct policy_condition *conditions; /* owned, array */
	unsigned n_conditions;
	struct policy_verdict otherwise; /* of what no rule matches */
	struct report errors;		 /* of the files from which it was loaded */
	struct report warnings;		 /* the same */
	bool lenient;			 /* for warnings alone: has what is left of bad files */
	bool tagged;			 /* a WHO is a tag */
	bool redirecting;		 /* a rule has a target */
	/* A bit a rule. */
	uint64_t same[POLICY_WORDS_MAX];      /* a WHO is `same` */
	uint64_t defaults[POLICY_WORDS_MAX];  /* `to default` */
	uint64_t off[POLICY_WORDS_MAX];	      /* its condition does not hold */
	uint64_t redirects[POLICY_WORDS_MAX]; /* it has a target */
};

/* Kinds that name domains by a fact of theirs. */
#define KINDS_NAMING                                                                               \
	(ENUM_BIT(WHO_NAME) | ENUM_BIT(WHO_DOMID) | ENUM_BIT(WHO_UUID) | ENUM_BIT(WHO_TAG))

/* In who.c. The WHO of a text that outlives it: one of `kinds` (ENUM_BIT). False: it is none. */
bool who_from_text(const char *text, unsigned kinds, struct who *ret_who);
/* NAME or NAME+ARG, or a glob on them. */
bool glob_is_on_names(const char *glob);
/* Whether the glob matches every text: it is of stars alone. */
bool glob_is_any(const char *glob);
/* Whether the first glob matches whatever the second one does. It may say no though it does. */
bool glob_covers(const char *glob, const char *other);
/* other: the other domain of a connect, for `same`. */
enum match who_match(const struct who *who, const struct policy_subject *subject,
	const struct policy_subject *other);
/* As in a rule. WHO_TEXT_SIZE bytes. */
#define WHO_TEXT_SIZE (DOMAIN_NAME_SIZE + 8U)
void who_to_text(const struct who *who, char ret_text[WHO_TEXT_SIZE]);

/*
 * judge.c. Whether a rule whose match is undecided counts: see enum policy_mode. The caller's facts
 * are judged by other rules than the target's, so that its match is MATCH_MAYBE for `same` alone.
 */
bool match_counts(enum match match, bool allow, enum policy_mode mode);
enum match from_match(const struct policy_rule *rule, const struct policy_subject *caller,
	const struct policy_subject *target);

/* The rules of the word of this number that speak of the name. */
static inline uint64_t named_word(const struct policy_named *named, size_t i)
{
	return named->words[i / 64] >> i % 64 & 1 ? named->bits[i] : 0;
}

/* index.c. FNV-1a. */
uint32_t text_hash(const char *text, size_t len);
/* Of the text after the last wildcard; of all, if there is none. */
unsigned glob_suffix_len(const char *glob);
/* NULL: out of memory. */
const char *policy_text_keep(struct policy *policy, const char *text);
/* As policy_find, with another relation of a glob to the text, which covers policy_glob's. */
unsigned policy_find_globs(const struct policy *policy, const char *text, bool connect,
	bool (*matches)(const char *glob, const char *text), struct policy_named *ret_named);
/* The arrays have room; the rule is the last one. */
void policy_index_add(struct policy *policy, const struct policy_rule *rule);

#endif
