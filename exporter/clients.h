/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connections of http.c: which of them wait for us and which keep us waiting, and the end of
 * those that do so for too long. It accepts none, and says nothing to them.
 */
#ifndef MSGD_EXPORTER_CLIENTS_H
#define MSGD_EXPORTER_CLIENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "exporter/fault.h"

struct bufferevent;

enum client_state {
	CLIENT_ASKS,  /* its next request has not come yet */
	CLIENT_WAITS, /* for our answer */
	CLIENT_READS, /* our answer */
};

enum client_wish {
	WISH_OTHER,
	WISH_LIST,
	WISH_METRICS,
};

struct client {
	LIST_ENTRY(client) entry;
	struct bufferevent *stream; /* ref */
	enum client_state state;
	enum client_wish wish; /* of its last request */
	struct head head;      /* that it sends */
	uint64_t since_ms;     /* in this state */
	uint64_t until_ms;     /* for the answer to be read, and the next request to come */
};

struct clients {
	LIST_HEAD(, client) list; /* owned */
	uint32_t exchange_s;	  /* see limits.h */
	unsigned n;
	uint64_t late, crowded; /* ended for either reason, since the start */
};

void clients_fini(struct clients *clients);
/* A reference of the stream is taken. NULL: out of memory. */
struct client *clients_add(struct clients *clients, struct bufferevent *stream);
/* NULL: there is none, or it was ended. */
struct client *clients_find(struct clients *clients, const struct bufferevent *stream);
bool clients_are_full(const struct clients *clients);
/* Forgets those that have gone, and ends those whose time is over. */
void clients_sweep(struct clients *clients);
/* How many wait for lists, or read them. */
unsigned clients_of_lists(const struct clients *clients);
/* Ends those that take long to read metrics, for the memory. */
void clients_end_metrics(struct clients *clients);

void client_set_state(struct clients *clients, struct client *client, enum client_state state);

#endif
