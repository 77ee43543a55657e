/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every limit of msg-exporter on what clients, guests or msgd cause, each with its reason. */
#ifndef MSGD_EXPORTER_LIMITS_H
#define MSGD_EXPORTER_LIMITS_H

/*
 * Connections: a few scrapers with one each, and twenty browsers with six. A thousand more wait in
 * the kernel's queue.
 */
#define CLIENTS_MAX    128U
#define CLIENTS_QUEUED 1024
/* As many of them may wait for lists, or read them: half of all places are for others. */
#define CLIENTS_OF_LISTS (CLIENTS_MAX / 2)
/*
 * While all places are taken a client may keep us waiting for so long, for its request or for
 * reading the answer: a request comes with its connection. A queue that is full of clients that say
 * nothing is through in CLIENTS_QUEUED / CLIENTS_MAX times that: long before Prometheus gives up
 * (10 s).
 */
#define CROWDED_MS 250U
/*
 * From the connection or the last answer on, for the answer to be read and the next request to
 * come: the longest list takes seconds by way of ssh, and the page asks every two.
 */
#define EXCHANGE_S     30U
#define EXCHANGE_MAX_S 3600U
/* Ended connections are counted for so long: where no place is wanted, and where one is. */
#define SWEEP_MS	 1000U
#define SWEEP_CROWDED_MS 50U
/* A browser sends some 1,000 bytes, and the longest query of ours is 1,500. */
#define REQUEST_BYTES 8192U
/* A browser sends some 20. Each takes 100 bytes, and a long one its length. */
#define HEADERS_MAX 100U

/* Parameters of one query: a list takes eight filters at most. */
#define PARAMETERS_MAX 8U
/* A parameter's value: msgd takes none that is longer than a domain's name (127 bytes). */
#define PARAMETER_SIZE 256U

/* An answer serves for so long: many scrapers cost msgd what one does. */
#define FRESH_MS 1000U
/*
 * Different lists at a time: thirteen, and more than as many again that are narrowed. A wider mix
 * of questions finds no place. The two formats of metrics always have theirs.
 */
#define LISTS_MAX 32U
/*
 * Answers are kept while they are fresh, and all of them together no larger than that: the longest,
 * of 16385 channels with 900 bytes each, is 15 MB.
 */
#define KEPT_BYTES (16U << 20)
/*
 * All answers that live, kept or read by some connection: three of the longest lists; and of the
 * metrics, which have 3 MB by default, five, or one in each format that is longer because the
 * options ask for more. With the 100 MiB that it takes to parse the longest list, that is what
 * MemoryHigh= of units/msg-exporter.service.in has room for.
 */
#define LISTS_BYTES   (48U << 20)
#define METRICS_BYTES (16U << 20)
/*
 * A turn of msgd's loop takes milliseconds: one that has not answered by then stands still. Twice
 * that, for the list before it and its own, is less than Prometheus waits by default (10 s).
 */
#define ASK_MS 4000U

/* Names, links or channels that the options may ask for: each has some 20 lines, or 2 KiB. */
#define SERIES_LIMIT 10000U
/* Xen hosts have tens of domains. Names are what services are known by. */
#define SERIES_DOMAINS 500U
#define SERIES_RULES   500U
#define SERIES_NAMES   500U
#endif
