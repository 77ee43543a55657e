/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every limit of msg-exporter on what clients, guests or msgd cause, each with its reason. */
#ifndef MSGD_EXPORTER_LIMITS_H
#define MSGD_EXPORTER_LIMITS_H

/*
 * Connections that are served: a few scrapers with one each, and ten browsers with six. As many
 * again are told that there are too many. More wait in the kernel's queue until one of them ends.
 */
#define CLIENTS_SERVED 64U
#define CLIENTS_MAX    (2U * CLIENTS_SERVED)
#define CLIENTS_QUEUED 128
/*
 * From the connection or the last request on, for the answer to be read and the next request to
 * come: more than Prometheus waits by default (10 s), and than msgd may take (ASK_MS).
 */
#define EXCHANGE_S     30U
#define EXCHANGE_MAX_S 3600U
/* Ended connections are counted for so long, where no place is wanted. */
#define SWEEP_S 1
/* A browser sends some 1,000 bytes, and the longest query of ours is 1,500. */
#define REQUEST_BYTES 8192

/* Parameters of one query: a list takes eight filters at most. */
#define PARAMETERS_MAX 8U
/* A parameter's value: msgd takes none that is longer than a domain's name (127 bytes). */
#define PARAMETER_SIZE 256U

/* An answer serves for so long: many scrapers cost msgd what one does. */
#define FRESH_MS 1000U
/*
 * Different answers at a time: two formats of metrics, thirteen lists, and as many again that are
 * narrowed. A wider mix of questions waits for places, and finds none after that.
 */
#define DOCUMENTS_MAX 32U
/*
 * Answers are kept while they are fresh, and all of them together no larger than that: the longest,
 * of 16385 channels with 900 bytes each, is 15 MB.
 */
#define KEPT_BYTES (16U << 20)
/* A turn of msgd's loop takes milliseconds: one that has not answered by then stands still. */
#define ASK_MS 5000U

/* Names, links or channels that the options may ask for: each has some 20 lines, or 2 KiB. */
#define SERIES_LIMIT 10000U
/* Xen hosts have tens of domains. Names are what services are known by. */
#define SERIES_DOMAINS 500U
#define SERIES_RULES   500U
#define SERIES_NAMES   500U
#endif
