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
 * For the next request, and for the whole answer to be read: more than Prometheus waits by default
 * (10 s), and than msgd may take (ASK_MS).
 */
#define EXCHANGE_S 30
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
 * One answer of msgd: 16385 rows of channels, of 900 bytes each, are 15 MB. The ones that are
 * finished are kept while they are fresh and all of them together are no larger than KEPT_BYTES.
 */
#define ANSWER_BYTES (32U << 20)
#define KEPT_BYTES   (16U << 20)
/* A turn of msgd's loop takes milliseconds: one that has not answered by then stands still. */
#define ASK_MS 5000U

/* Series that the options may ask for: ten of each are a hundred thousand lines, or 10 MB. */
#define SERIES_LIMIT 10000U
/* Xen hosts have tens of domains. Names are what services are known by. */
#define SERIES_DOMAINS 500U
#define SERIES_RULES   500U
#define SERIES_NAMES   500U
/*
 * Things that are remembered to tell by what the others grew: as many as msgd's longest list has.
 */
#define REMEMBERED_MAX 16385U

#endif
