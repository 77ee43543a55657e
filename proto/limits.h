/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every limit on what another domain may ask for or send, each with its reason. */
#ifndef MSGD_PROTO_LIMITS_H
#define MSGD_PROTO_LIMITS_H

/* A name, with its final NUL: 63 characters, as a DNS label, fits tables and log lines. */
#define NAME_SIZE 64U
/* A domain's name with its final NUL, as hv.h has it. */
#define DOMAIN_NAME_SIZE 128U
/* "uuid:" or a domain's name, a slash, a name: the largest address, with its final NUL. */
#define ADDRESS_SIZE (DOMAIN_NAME_SIZE + NAME_SIZE)
/* A sentence that tells a caller why; longer ones are cut. */
#define REASON_SIZE 128U

/* Control messages: the largest is LINK_OFFER with its grant references; one fits a ring often. */
#define CONTROL_MESSAGE_MAX 1024U
/* Two pages a direction: twenty requests in flight; more wait in the application. */
#define CONTROL_RING_PAGES 2U
#define CONTROL_PAGES      (1U + 2U * CONTROL_RING_PAGES)

/* A grant ring's pages in one direction: 1 MiB is as much as one cache holds. Power of two. */
#define LINK_RING_PAGES_MAX 256U
#define LINK_RING_PAGES_MIN 1U
/*
 * 64 KiB a direction by default: a guest's kernel shares 1024 pages in all, so this leaves room
 * for some thirty links.
 */
#define LINK_RING_PAGES_DEFAULT 16U
/* What LINK_OFFER can carry: doorbell, and the grant references of both rings by a list page. */
#define LINK_REFS_MAX (2U * LINK_RING_PAGES_MAX)
/* An Argo ring of 128 KiB; the hypervisor pins it, the guest pays for it from its own memory. */
#define LINK_ARGO_RING_LEN 0x20000U

/* A frame's payload: a quarter of the default ring, so that copying in and out overlap. */
#define FRAME_PAYLOAD_MAX 16384U
/* What each frame costs of a channel's credit beside its payload: bounds floods of empty ones. */
#define FRAME_CHARGE 32U

/* A message: what one send may carry; bounded so that a receiver's budget can hold it. */
#define MESSAGE_MAX_DEFAULT (1U << 20)
#define MESSAGE_MAX         (64U << 20)
/* A new channel's credit: a page of small messages. */
#define CREDIT_INITIAL 8192U
/* What credit may grow to while the reader consumes: keeps a link's ring full, and no more. */
#define CREDIT_MAX (4U << 20)

/* Channel numbers of one link in use at once. */
#define LINK_CHANNELS_MAX 65536U
/* A listener's backlog: offers that nobody accepted; each takes a place in msgd's queue. */
#define BACKLOG_MAX 4096U

/* Per domain, in msgd: what a guest can make msgd remember. Defaults; msgd.conf changes them. */
#define DOMAIN_PROCESSES_MAX 64U
#define DOMAIN_NAMES_MAX     1024U
#define DOMAIN_CHANNELS_MAX  65536U
#define DOMAIN_LINKS_MAX     256U
#define DOMAIN_REQUESTS_MAX  1024U

#endif
