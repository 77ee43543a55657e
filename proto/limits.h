/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every limit on what another domain may ask for or send, each with its reason. */
#ifndef MSGD_PROTO_LIMITS_H
#define MSGD_PROTO_LIMITS_H

/* A name, with its final NUL: 63 characters, as a DNS label, fits tables and log lines. */
#define NAME_SIZE 64U
/* Domain ids from here on are reserved by Xen (DOMID_FIRST_RESERVED); no domain has one. */
#define DOMID_LIMIT 0x7ff0U
/* A domain's name with its final NUL, as hv.h has it. */
#define DOMAIN_NAME_SIZE 128U
/* "uuid:" or a domain's name, a slash, a name: the largest address, with its final NUL. */
#define ADDRESS_SIZE (DOMAIN_NAME_SIZE + NAME_SIZE)
/* A sentence that tells a caller why; longer ones are cut. */
#define REASON_SIZE 128U

/* What a process calls itself, with its final NUL: as long as Linux's comm. */
#define COMM_SIZE 16U
/* An error on the wire: Linux numbers, of which the kernel reserves 4095. */
#define ERROR_LIMIT 4096U

/* Control messages: the largest of version 1 is CHANNEL, 232 bytes; the rest is for later types. */
#define CONTROL_MESSAGE_MAX 1024U
/* Two pages a direction: twenty requests in flight; more wait in the application. */
#define CONTROL_RING_PAGES 2U
#define CONTROL_PAGES	   (1U + 2U * CONTROL_RING_PAGES)

/* A grant ring's pages in one direction: 1 MiB is as much as one cache holds. Power of two. */
#define LINK_RING_PAGES_MAX 256U
#define LINK_RING_PAGES_MIN 1U
/*
 * 128 KiB a direction by default, as the Argo rings: a message of 64 KiB fits whole, with its
 * headers. A stock guest's kernel shares 1024 pages in all, which is enough for fifteen such links;
 * units/ has a module option that raises it.
 */
#define LINK_RING_PAGES_DEFAULT 32U
/* The grant references of both rings: they fill half of the page that LINK_OFFER names. */
#define LINK_REFS_MAX (2U * LINK_RING_PAGES_MAX)
/*
 * An Argo ring of 128 KiB and a little, which with its header fills 33 pages: two batches of
 * sixteen messages of 4 KiB fit. The hypervisor pins it, the guest pays for it from its own memory.
 */
#define LINK_ARGO_RING_LEN 0x20fc0U
/* What Xen lets a domain register (hv.h, argo_register): for those who read why a link has none. */
#define ARGO_RINGS_MAX 128U
/* What Xen accepts as a ring's length (hv.h, argo_register). */
#define LINK_ARGO_RING_LEN_MIN 48U
#define LINK_ARGO_RING_LEN_MAX 0xffffc0U

/* A frame's payload: an eighth of the default ring, so that copying in and out overlap. */
#define FRAME_PAYLOAD_MAX 16384U
/* What each frame costs of a channel's credit beside its payload: bounds floods of empty ones. */
#define FRAME_CHARGE 32U

/* A message: what one send may carry; bounded so that a receiver's budget can hold it. */
#define MESSAGE_MAX_DEFAULT (1U << 20)
#define MESSAGE_MAX	    (64U << 20)
/* A new channel's credit: a page of small messages. */
#define CREDIT_INITIAL 8192U
/* What credit may grow to while the reader consumes: keeps a link's ring full, and no more. */
#define CREDIT_MAX (4U << 20)
/* What one CREDIT frame may give: a whole window at once, with slack for what it has in flight. */
#define CREDIT_GRANT_MAX (2U * CREDIT_MAX)

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

/* Lines that one domain can make msgd log: at once, and after that one in so many nanoseconds. */
#define DOMAIN_LOG_BURST   100U
#define DOMAIN_LOG_LINE_NS 100000000ULL

#endif
