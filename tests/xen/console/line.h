/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lines that the lab's dom0 (tell) and a guest (obey) exchange over a console:
 *
 *	ID VERB ARGUMENT... TEXT	from tell; verbs: see obey.c
 *	@lab ID STATUS TEXT		the answer to it
 *
 * The text ends the line, and is anything: what is no printable character, and a backslash, is a
 * backslash and three octal digits. Consoles carry other lines, too.
 */
#ifndef LAB_LINE_H
#define LAB_LINE_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ANSWER "@lab "

/* Where obey leaves what a command says: with its id. */
#define OUTPUT_OF "/run/lab/%s.out"

/* Appends text, with escapes. */
void text_put(FILE *out, const char *text, size_t len);
/* Takes the escapes out, in place; the length then, without the 0 at the end. */
size_t text_unescape(char *text);

/* All of it, or -errno. */
int write_all(int fd, const char *buf, size_t len);

/* CLOCK_MONOTONIC. */
int64_t now_ms(void);

/* The lines of a file that somebody else appends to. */
struct tail {
	const char *path; /* borrowed; it may not be there yet */
	int64_t offset;	  /* of the line that comes next */
	FILE *file;
	bool reading; /* the file is at the offset */
	char *line;   /* the last one, without what ends it */
	size_t size;
};

/*
 * The next line: its length, or -EAGAIN where it is not there (whole, or with `partial`, at all).
 * A partial line comes again when there is more of it.
 */
int tail_next(struct tail *tail, bool partial);
void tail_close(struct tail *tail);

/*
 * Waits until the file has such a line; 0, -ETIMEDOUT, or what `goes_on`, asked twice a second, has
 * said to end it. `wanted` is a basic regular expression.
 */
int tail_await(struct tail *tail, const regex_t *wanted, bool partial, int timeout_ms,
	int (*goes_on)(void *arg), void *arg);

/* The file's last bytes, for a person. */
void tail_show(FILE *out, const char *path, size_t len);

#endif
