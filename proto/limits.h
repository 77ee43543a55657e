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
/* A sentence that tells a caller the reason; a longer one is cut. */
#define REASON_SIZE 128U

/* The name of a process, with its final NUL: as long as Linux's comm. */
#define COMM_SIZE 16U
/* An error on the wire: Linux numbers, of which the kernel reserves 4095. */
#define ERROR_LIMIT 4096U

/* Control messages: the largest of version 1 is CHANNEL, 232 bytes; the rest is for later types. */
#define CONTROL_MESSAGE_MAX 1024U
/*
 * Two pages a direction: 4 KiB of messages, and a head in each page. That is ten requests in
 * flight; more wait in the application.
 */
#define CONTROL_RING_PAGES 2U
#define CONTROL_PAGES	   (1U + 2U * CONTROL_RING_PAGES)

/* A grant ring's pages in one direction: 1 MiB is as much as one cache holds. Power of two. */
#define LINK_RING_PAGES_MAX 256U
#define LINK_RING_PAGES_MIN 1U
/*
 * 128 KiB a direction by default: a message of 64 KiB fits whole, with its headers. A stock guest's
 * kernel shares 1024 pages in all, which is enough for fifteen such links; units/ has a module
 * option that raises it.
 */
#define LINK_RING_PAGES_DEFAULT 32U
/* The grant references of both rings: they fill half of the page that LINK_OFFER names. */
#define LINK_REFS_MAX (2U * LINK_RING_PAGES_MAX)
/*
 * The pages of links that one process grants to one domain: four links with the largest rings, or
 * thirty-one with the default ones. A sixteenth of the 32,768 references that a guest's grant table
 * has by default, and that its disks and network cards use as well.
 */
#define LINK_PEER_PAGES_MAX 2056U
/*
 * Ended links whose memory a domain may hold on to before it gets no further link: with the default
 * rings half of what a stock guest's kernel shares. A process lets go when it is told of the end,
 * and several of a domain may be told at once.
 */
#define LINK_HELD_MAX 8U
/* How often in a process's life a domain is believed that it has unmapped what it was granted. */
#define LINK_WITHDRAWN_MAX 8U
/*
 * Links with a domain that fail in a row before it has to wait: a restart of its processes, or of
 * msgd, fails a few. Then the wait doubles from the time of a few round trips up to one second.
 */
#define LINK_FAILURES_FREE    8U
#define LINK_BACKOFF_FIRST_NS 10000000ULL
#define LINK_BACKOFF_MAX_NS   1000000000ULL
/*
 * An Argo ring's pages: 256 KiB and one page for headers. Two batches of 32 messages of 4 KiB fit,
 * or four messages of 64 KiB, each batch and message by one hypercall. The hypervisor pins them,
 * the guest pays for them from its own memory: 128 rings take half of what the driver allows.
 */
#define LINK_ARGO_RING_PAGES_DEFAULT 65U
#define LINK_ARGO_RING_PAGES_MIN     1U
#define LINK_ARGO_RING_PAGES_MAX     4096U /* Xen's XEN_ARGO_MAX_RING_SIZE */
/* The bytes that a ring of so many pages has behind its header of 64. */
#define LINK_ARGO_RING_LEN(pages) ((pages)*4096U - 64U)
/* Xen lets a domain register so many (hv.h, argo_register): msgctl shows it as a link's reason. */
#define ARGO_RINGS_MAX 128U
/* Xen accepts these lengths of a ring (hv.h, argo_register). */
#define LINK_ARGO_RING_LEN_MIN 48U
#define LINK_ARGO_RING_LEN_MAX 0xffffc0U

/*
 * A frame's payload. Over Argo a frame alone is a hypercall: so a message of 64 KiB is one; a
 * default ring has room for four, so that copying in and out overlap.
 */
#define FRAME_PAYLOAD_MAX 65536U
/* One put into a grant ring: an eighth of the default ring, for the same overlap. */
#define FRAME_PAYLOAD_GRANT 16384U
/* A frame's cost in credit beside its payload: bounds floods of empty frames. */
#define FRAME_CHARGE 32U

/* A message: what one send may carry; bounded so that a receiver's budget can hold it. */
#define MESSAGE_MAX_DEFAULT (1U << 20)
#define MESSAGE_MAX	    (64U << 20)
/* A new channel's credit: a page of small messages. */
#define CREDIT_INITIAL 8192U
/* The same of DGRAM, where nobody waits for credit: two of the longest datagrams. */
#define CREDIT_INITIAL_DGRAM (2 * (FRAME_PAYLOAD_MAX + FRAME_CHARGE))
/*
 * Credit may grow to this while the reader consumes, if RCVBUF allows: a batch of 32 messages of
 * 64 KiB on its way, a batch being read, and as much that was read and not given back.
 */
#define CREDIT_MAX (8U << 20)
/* One CREDIT frame may give a whole window. */
#define CREDIT_GRANT_MAX CREDIT_MAX

/*
 * CREDIT and LIMIT cost no credit, so they are counted: an end may send so many on a channel, and
 * one more for each frame of DATA or CREDIT that the other end has sent. libmsg's ends send a
 * handful: a CREDIT at first, and a few for each window of data that they have read.
 */
#define FREE_FRAMES 512U
/* An end's LIMIT and DROPS frames ahead of what it hears: CREDIT never lacks a place for them. */
#define LIMIT_FRAMES 64U
/*
 * A fragment that is not its message's last carries FRAGMENT_MIN bytes, or a quarter of a small
 * ring; so many more fragments than that makes are for senders of another mind.
 */
#define FRAGMENTS_SPARE 16U

/*
 * Channels with one domain that an application has connected and closed, and that the other end has
 * not closed. They are charged to this domain: all processes that it may have can leave so many
 * without using up its quota. msgd counts by itself, for each link, those that the application's
 * end has done with, and for which the other domain cannot pay.
 */
#define CLOSES_UNANSWERED (DOMAIN_CHANNELS_MAX / DOMAIN_PROCESSES_MAX)
/* For so long they may be too many: the other end's process may have been busy. */
#define CLOSES_UNANSWERED_NS 500000000ULL
/*
 * More than these are too many at once: DOMAIN_BYTES_MAX lets the caller's domain have some 5,000
 * channels, and its other processes need theirs.
 */
#define CLOSES_UNANSWERED_MAX (4U * CLOSES_UNANSWERED)

/* Channel numbers of one link in use at once. */
#define LINK_CHANNELS_MAX 65536U
/* A listener's backlog: offers that nobody accepted; each takes a place in msgd's queue. */
#define BACKLOG_MAX 4096U

/*
 * Counts of names that nobody holds may take this part of a domain's memory: of a default one, more
 * than the names that it may hold would take.
 */
#define DOMAIN_FORMER_SHARE 8U
/* Per domain, in msgd: what a guest can make msgd remember. Defaults; msgd.conf changes them. */
#define DOMAIN_PROCESSES_MAX 64U
#define DOMAIN_NAMES_MAX     1024U
#define DOMAIN_CHANNELS_MAX  65536U
#define DOMAIN_LINKS_MAX     256U
#define DOMAIN_REQUESTS_MAX  1024U
/* Watches: one for each application that a domain may have. Each looks at each name that comes. */
#define DOMAIN_WATCHES_MAX 64U

/*
 * Names that one watch can hold: the names of eight domains, each of which has as many as it may.
 * msgd and the application remember each, in some 200 bytes: all of them take 1.6 MiB in either,
 * and in msgd a watch ends before, where that is more than a half of its domain's memory.
 */
#define WATCH_NAMES_MAX (8U * DOMAIN_NAMES_MAX)

/*
 * The memory that msgd spends on one domain: its objects, and the messages that it caused and that
 * the receivers have not read. Beside this a domain has the pages of its control links (5 for each
 * of its applications, which are its own, but mapped) and what msgd's attaches take, so that msgd
 * stays below 4 MiB for each domain (tests/hostile/memory.sh measures it): units/ has the sum.
 * A channel takes some 410 bytes: so a domain may have 5,000.
 */
#define DOMAIN_BYTES_MAX (2U << 20)
/*
 * Answers that wait for one application, and for all of a domain, before requests are not read any
 * more: twenty of them are in the ring already, and a domain needs the rest for other domains.
 */
#define OUTBOX_OWN_MAX	      (64U << 10)
#define DOMAIN_OUTBOX_OWN_MAX (256U << 10)
/*
 * Links that one domain may have made with another: so many at once, as several applications and
 * transports start, and after that one in so many nanoseconds: a shell starts a program no faster.
 * Each eight that fail in a row double the price of the next, to one in a second: the first fifty
 * are free, for an application short of descriptors is not hostile.
 */
#define LINK_MAKE_BURST	      1024U
#define LINK_MAKE_NS	      2000000ULL
#define LINK_MAKE_FAILURES    8U
#define LINK_MAKE_DOUBLED_MAX 9U

/*
 * Frames that an application tells msgd of while its channels are captured (PROTOCOL.md 5.9), each
 * piece of payload counted as one more: so many at once, which is what lies in a default ring of
 * small messages twice, and after that one in so many nanoseconds. msgd spends some ten
 * microseconds on each, until its reader has it: two in a hundred of a processor for one
 * application. msgd takes twice as many from each, for the two clocks need not agree, and as many
 * as ten such applications send from all together.
 */
#define CAPTURE_BURST	 512U
#define CAPTURE_FRAME_NS 500000ULL
#define CAPTURE_ALL	 10U
/* Bytes of one frame's payload that are told of: a page holds the head of what people look for. */
#define CAPTURE_SNAPLEN_MAX 4096U
/* One piece of it: with it, a message is as long as CHANNEL, and no message is longer. */
#define CAPTURE_PIECE 228U
/* Channels that are captured at once: as many as msgctl can show; some 100 bytes of msgd each. */
#define CAPTURE_CHANNELS_MAX 1024U
/* Captures at once; each is a person who looks. */
#define CAPTURES_MAX 8U
/* Frames that one of them has not read yet, in msgd: half a second of ten such applications. */
#define CAPTURE_WAITING_MAX (4U << 20)
/* How often an application is heard that changes its mind about payload, for one channel. */
#define CAPTURE_CHANGES_MAX 16U

/*
 * msgd's work, in units of about ten nanoseconds (daemon/broker/state.h). In a turn of its loop it
 * reads applications' messages up to this cost, and does half as much of other work that was left,
 * which is 75 microseconds: an application whose event comes meanwhile waits no longer, a connect
 * takes two turns or three, and what a turn costs beside its work is a tenth of that. A domain is
 * served for a tenth of it before another one is looked at, which is a few messages, or one that
 * costs more.
 */
#define TURN_COST	 5000U
#define TURN_COST_DOMAIN 500U
/*
 * A domain that asks now and then is served before those that always have something to do, until it
 * has caused this much more work than its share: 10 ms of a processor, or a thousand connects one
 * after the other. Domains that have all saved so much get equal shares of msgd as ever.
 */
#define TURN_COST_SAVED 1000000U

/*
 * Numbers that an application has ahead (PROTOCOL.md 5.10), for connects to one name over one link:
 * msgd spends some 410 bytes on each, as on a channel, and it holds a place in the listener's
 * backlog. So many make msgd's part of a connect a sixtieth.
 */
#define AHEAD_MAX 64U
/* A shorter backlog is meant as it is said: there are no places beside it. */
#define AHEAD_BACKLOG_MIN 16U
/* The first are given with the connect that follows so many, each as soon after the one before. */
#define AHEAD_CONNECTS	 3U
#define AHEAD_CONNECT_NS 100000000ULL
/* Numbers that nobody has used for so long are asked back. */
#define AHEAD_IDLE_NS 1000000000ULL
/*
 * Of what the ends of such channels need not wake msgd for it reads as soon as this, and asks for
 * no more: fifty looks a second while such numbers are there.
 */
#define AHEAD_LOOK_NS 20000000ULL

/*
 * Programs that policy has run (ask=, start=): so many at once for one domain, which is as many
 * dialogs as a person can bear, and for eight such domains in all. And for one domain so many one
 * after the other, then one in so many nanoseconds: a shell starts and ends in five milliseconds,
 * so a domain takes a tenth of a processor at most.
 */
#define DOMAIN_ERRANDS_MAX 8U
#define ERRANDS_MAX	   64U
#define ERRAND_BURST	   32U
#define ERRAND_NS	   50000000ULL
/* Answers that are kept for one domain: some 20 KiB; and for how long at most. */
#define DOMAIN_ANSWERS_MAX 32U
#define ANSWER_CACHE_S_MAX 3600U
/* A domain that could not be started is not tried again so soon: whoever asks gets the reason. */
#define START_AGAIN_NS 5000000000ULL
/* Of a program's output so much is read, and of its errors so many lines are logged. */
#define PROGRAM_OUTPUT_MAX 4096U
#define PROGRAM_LINES_MAX  32U
/* A program that is told to end (SIGTERM) has so long until it is killed. */
#define PROGRAM_GRACE_S 2

/* Lines that one domain can make msgd log: at once, and after that one in so many nanoseconds. */
#define DOMAIN_LOG_BURST   100U
#define DOMAIN_LOG_LINE_NS 100000000ULL
/*
 * The same of all domains and all clients of msgd's sockets together: 2,600 lines in 30 seconds.
 * Past 10,000 in 30 seconds journald drops lines, whoever they are about (journald.conf(5)).
 */
#define LOG_BURST   2000U
#define LOG_LINE_NS 50000000ULL

#endif
