/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The server: connections and their limits, which requests are for whom, and the form of answers.
 * HTTP itself is libevent's evhttp. It knows nothing of msgd: store.h makes the documents.
 */
#ifndef MSGD_EXPORTER_HTTP_H
#define MSGD_EXPORTER_HTTP_H

#include <stdbool.h>
#include <stdint.h>

struct body_sums;
struct event_base;
struct http;
struct store;

/* The fates of requests, since the start. */
struct http_counts {
	uint64_t requests, refused_host, busy, late, crowded;
	unsigned clients; /* now */
};

/* exchange_s: how long a client may take, see limits.h. sums: of the store's answers. -ENOMEM. */
int http_new(struct event_base *base, struct store *store, const struct body_sums *sums,
	uint32_t exchange_s, struct http **ret_http);
/*
 * A listening socket is served from now on, and owned on success. tcp: browsers can reach it, and
 * their requests must name the loopback. -ENOMEM.
 */
int http_serve(struct http *http, int fd, bool tcp);
/* Accepts NULL. After store_free, which answers those that wait. */
void http_free(struct http *http);

#endif
