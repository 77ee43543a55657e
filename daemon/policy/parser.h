/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the two halves of the parser: parse.c reads a rule's words, keys.c its keys. */
#ifndef MSGD_DAEMON_POLICY_PARSER_H
#define MSGD_DAEMON_POLICY_PARSER_H

#include "base/report.h"
#include "daemon/policy/rule.h"

struct parser {
	struct policy *policy; /* borrowed */
	struct report *report; /* borrowed */
	const char *file;      /* borrowed from the policy */
	unsigned line;
	unsigned first_error;	     /* its line; 0: none */
	size_t n_new;		     /* rules of the file, after the policy's */
	char text[POLICY_LINE_SIZE]; /* the line; words end in NUL once they were read */
	char *rest;		     /* borrowed: in text */
};

/* In parser->text; at the line's end "". */
struct word {
	char *text; /* borrowed */
	unsigned column;
};

/*
 * Adds an error at the word: "expected WHAT, found 'WORD'", and returns -EINVAL. The word may have
 * any bytes.
 */
__attribute__((format(printf, 3, 4))) int parser_expected(
	struct parser *parser, const struct word *found, const char *format, ...);

/* keys.c. KEY=VALUE. *seen: a bit for each key that the rule has. */
int key_parse(struct parser *parser, struct word *word, struct policy_rule *rule, unsigned *seen);

#endif
