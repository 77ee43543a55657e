/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The line by which a program asks `msgio serve` for a channel: one object of JSON, see msgio(1).
 * Pure, and fuzzed: tests/fuzz/ask.c.
 */
#ifndef MSGD_MSGIO_OPTIONS_ASK_H
#define MSGD_MSGIO_OPTIONS_ASK_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/limits.h"

/*
 * Bytes of a line, without its end: an address has 191, and all other fields, as wide as they are
 * written by hand, as many again. It also bounds how deep JSON is nested before it is refused: each
 * level is two bytes, and jansson, which calls itself for each, stops at 2048.
 */
#define ASK_LINE_MAX 1024U
/* For a line to come, in seconds: a program has it ready. Else the place is another one's. */
#define ASK_TIME_S 10
/* Channels that may wait, if the line does not say: as for forward. */
#define ASK_BACKLOG 64
/* A sentence; a longer one is cut. */
#define ASK_ERROR_SIZE 128U

struct ask {
	bool listens;		    /* else it connects */
	char address[ADDRESS_SIZE]; /* [DOMAIN/]NAME, or NAME */
	int type;		    /* LIBMSG_STREAM or LIBMSG_SEQPACKET */
	int transport;		    /* enum libmsg_transport */
	bool wait;		    /* for a name that is not there yet */
	int wait_ms;		    /* -1: for ever */
	int backlog;
};

/* 0; or -EINVAL, with a sentence, and *ret_ask untouched. len: without the end of the line. */
int ask_parse(const char *line, size_t len, struct ask *ret_ask, char ret_error[ASK_ERROR_SIZE]);

#endif
