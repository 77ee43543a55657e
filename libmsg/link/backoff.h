/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Links whose making fails, by the domain of the other end and by transport. Each costs both ends
 * memory, mappings and messages, and the other domain decides whether it fails: after some failures
 * in a row this end refuses at once, for a while, with the reason of the last one.
 *
 * Included by: libmsg/link, tests.
 */
#ifndef LIBMSG_LINK_BACKOFF_H
#define LIBMSG_LINK_BACKOFF_H

#include "base/hash.h"
#include "hv/hv.h"
#include "proto/limits.h"

struct backoff_peer {
	UT_hash_handle hh;
	uint32_t key;	   /* domain and transport */
	uint32_t n_failed; /* in a row */
	uint64_t until_ns; /* no link is made before */
	int error;	   /* of the last one: a positive errno */
	char reason[REASON_SIZE];
};

struct backoff {
	struct hv *hv;		    /* borrowed: its clock */
	struct backoff_peer *peers; /* hash by key; owned: of those whose last link failed */
};

/* A positive errno: no link is to be made now, and ret_reason says why. 0: one may be. */
int backoff_check(const struct backoff *backoff, uint16_t domid, uint32_t transport,
	char ret_reason[REASON_SIZE]);
/* The making of a link has failed, or succeeded. */
void backoff_failed(
	struct backoff *backoff, uint16_t domid, uint32_t transport, int error, const char *reason);
void backoff_made(struct backoff *backoff, uint16_t domid, uint32_t transport);
void backoff_clear(struct backoff *backoff);

#endif
