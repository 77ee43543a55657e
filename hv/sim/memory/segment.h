/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The layout of the emulator's one shared memory segment: the emulated hypervisor's state, what the
 * emulated guest kernels keep, and the pages of every domain. Every participant maps it, at an
 * address of its own: nothing in here may be a pointer, and nothing may be trusted to be unchanged
 * between two reads unless a lock is held. A change of any struct changes SIM_LAYOUT; attaching
 * refuses another one.
 *
 * Locks guard everything, and their journals (journal.h) record every change, but for fields that
 * are marked "any time": such a field is _Atomic, and its comment names its writer. A field that is
 * marked "domain's" changes under its domain's lock alone. Any other field changes only while every
 * lock is held, so that holding any one of them is enough to read it.
 */
#ifndef MSGD_HV_SIM_MEMORY_SEGMENT_H
#define MSGD_HV_SIM_MEMORY_SEGMENT_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/argo.h>
#include <xen/grant_table.h>

#include "hv/hv.h"

#define SIM_MAGIC   0x6d69736e65785fd7ULL
#define SIM_VERSION 4U

#define SIM_MAX_DOMAINS	 80U
#define SIM_MAX_SLOTS	 256U	 /* slot 0 is the authority's */
#define SIM_MAX_PORTS	 131072U /* FIFO */
#define SIM_2L_PORTS	 4096U	 /* 2-level */
#define SIM_PORTS_PAGE	 128U	 /* struct sim_port in a page, for those beyond */
#define SIM_WORDS_PAGE	 1024U	 /* event words in a page of a FIFO event array */
#define SIM_PORT_LIMIT	 1023U	 /* libxl's default of max_event_channels: the highest port */
#define SIM_PORT_BUCKET	 64U	 /* EVTCHNS_PER_BUCKET: ports become valid in such steps */
#define SIM_MAX_VCPUS	 8U
#define SIM_MAX_PIRQS	 64U  /* nr_pirqs of every domain */
#define SIM_MAX_RINGS	 128U /* MAX_RINGS_PER_DOMAIN */
#define SIM_RING_BUCKETS 64U
#define SIM_MAX_WAITERS	 32U   /* MAX_PENDING_PER_RING */
#define SIM_MAX_GREFS	 4096U /* 8 frames of version 1 entries */
#define SIM_GREFS_FRAME	 512U  /* in one of them; of version 2: half */
#define SIM_TABLE_FRAMES (SIM_MAX_GREFS / SIM_GREFS_FRAME)
#define SIM_MAX_GREFS_V2 (SIM_MAX_GREFS / 2U) /* whose status fits in one page */
#define SIM_SHARE_LIMIT	 1024U		      /* gntalloc's default limit: pages a domain */
#define SIM_MAX_SHARES	 8192U
#define SIM_MAX_MAPS	 8192U
#define SIM_MAX_TRACKS	 65536U
#define SIM_POOL_PAGES	 65536U		/* 256 MiB, sparse; page 0 is never given out */
#define SIM_TABLE_FRAME	 SIM_POOL_PAGES /* the grant tables', as setup_table tells them */
#define SIM_STATUS_FRAME (SIM_TABLE_FRAME + SIM_MAX_DOMAINS * SIM_TABLE_FRAMES)

#define SIM_JOURNAL_UNDO 16384U
#define SIM_JOURNAL_REDO 1152U /* a page of events that become deliverable at once, and more */

static_assert(SIM_2L_PORTS == EVTCHN_2L_NR_CHANNELS, "2-level ports");
static_assert(SIM_MAX_PORTS == EVTCHN_FIFO_NR_CHANNELS, "FIFO ports");
static_assert(sizeof(xen_argo_ring_t) == 64, "hv/argo-ring.h reads rings with this header");
static_assert(sizeof(struct xen_argo_ring_message_header) == 16, "and messages with this one");

/* ---- the locks and their journals ------------------------------------------------------ */

struct sim_undo {
	uint32_t offset; /* of the first byte, in the segment */
	uint32_t size;	 /* 1, 2, 4, 8; or the number of uint64_t in a fill, times 16 */
	uint64_t old;
};

enum sim_redo_kind {
	SIM_REDO_TX_PTR = 1, /* domain, a: ring index */
	SIM_REDO_DELIVER,    /* domain, a: port: it is pending, and not masked: the upcall */
	SIM_REDO_PEND,	     /* domain, a: port: it is pending; it was masked */
	SIM_REDO_UNMASK,     /* domain, a: port, b: it was pending */
	SIM_REDO_CLOSED,     /* domain, a: port, b: it is not masked any more */
	SIM_REDO_FIFO_LINK,  /* domain, a: port, b: where to: fifo.c */
	SIM_REDO_KICK,	     /* domain, a: port: wake its owner */
	SIM_REDO_VIRQ_ARGO,  /* domain: look at the watched rings */
	SIM_REDO_CLEAR_BYTE, /* a: pool page, b: offset */
	SIM_REDO_AUTHORITY,  /* a: SIM_SLOT_*: what it has to look at */
};

struct sim_redo {
	uint16_t kind;
	uint16_t domain;
	uint32_t a;
	uint32_t b;
};

/*
 * A lock, and the journal of what its owner changes: lock.h, journal.h. The journal's head and its
 * first redo records share the lock's cache line, which is all that sending an event needs.
 */
struct sim_guard {
	/* 0: free; else who: lock_word_of */
	_Alignas(64) _Atomic uint32_t word;
	_Atomic uint32_t n_taken; /* how often; the owner writes: lock_count */
	_Atomic uint32_t n_undo;
	_Atomic uint32_t n_redo;
	_Atomic uint32_t committed;
	struct sim_redo redo[SIM_JOURNAL_REDO];
	_Alignas(64) struct sim_undo undo[SIM_JOURNAL_UNDO];
};

#define SIM_GUARD_ALL		0U /* of seg->guards: with it, its owner takes every other one */
#define SIM_GUARD_DOMAIN(index) (1U + (index))
#define SIM_GUARDS		SIM_GUARD_DOMAIN(SIM_MAX_DOMAINS)

/* A count for each kind of guard; written under every lock. */
struct sim_recovered {
	_Atomic uint32_t n_recovered; /* owners that died inside */
	_Atomic uint32_t n_undone;    /* of those: had not committed, and had changed something */
	_Atomic uint32_t n_redone;    /* of those: had committed, but not finished publishing */
};

/* ---- the hypervisor's own state ------------------------------------------------------- */

enum sim_port_state { /* ECS_* of xen/include/xen/sched.h */
	SIM_PORT_FREE = 0,
	SIM_PORT_RESERVED,
	SIM_PORT_UNBOUND,
	SIM_PORT_INTERDOMAIN,
	SIM_PORT_PIRQ,
	SIM_PORT_VIRQ,
	SIM_PORT_IPI,
};

/* Port owners (guest kernel's) that are not a slot + 1. */
#define SIM_PORT_NO_OWNER     0U      /* allocated by a hypercall: the guest polls */
#define SIM_PORT_KERNEL_OWNER 0xffffU /* VIRQ_ARGO of the guest kernel */
#define SIM_PORT_ORPHAN	      0xfffeU /* closed, but kept for an armed unmap-notify */

struct sim_port {
	uint8_t state;
	uint8_t virq;
	uint16_t remote_domid;	/* unbound: who may bind; interdomain: who has */
	uint16_t remote_domain; /* interdomain: its index */
	_Atomic uint16_t owner; /* guest kernel's; read any time */
	uint32_t remote_port;	/* interdomain: the other end; pirq: its number */
	uint32_t n_notify;	/* guest kernel's: armed unmap-notifies that name this port */
	uint8_t vcpu;		/* notify_vcpu_id */
	uint8_t xen_consumer;	/* the hypervisor's own end: not the guest's to touch */
	uint8_t priority;	/* FIFO: of its next event */
	uint8_t last_priority;	/* domain's. FIFO: the queue that it was on last */
	uint8_t last_vcpu;	/* domain's. FIFO: of that queue */
	uint8_t pending;	/* domain's. FIFO: it was raised while its event word was missing */
	uint16_t pad;
};

static_assert(SIM_PORTS_PAGE * sizeof(struct sim_port) <= HV_PAGE_SIZE, "ports in a page");

struct sim_waiter {
	uint16_t domid;
	uint16_t pad;
	uint32_t len;
};

struct sim_ring {
	uint32_t aport;
	uint16_t partner;
	uint8_t used;
	uint8_t next;	 /* in its hash chain: index + 1 */
	uint32_t len;	 /* 0 while not registered */
	uint32_t tx_ptr; /* domain's */
	uint32_t n_pages;
	uint32_t first_page; /* of the pool, if contiguous; else 0 */
	uint32_t frame_list; /* first of the pages that list the frames, if not */
	uint32_t n_waiters;
	/* The guest kernel's: */
	uint16_t owner; /* slot + 1; 0: registered by a hypercall */
	uint8_t has_peer;
	uint8_t pad;
	uint32_t peer_aport;
	uint32_t want; /* domain's. Payload bytes that got EAGAIN last, plus one; 0: none */
	struct sim_waiter waiters[SIM_MAX_WAITERS];
};

/* Xen's private half of a grant (struct active_grant_entry); the rest is valid while pinned. */
struct sim_active_grant {
	uint16_t n_readers; /* a mapping for the host and for a device is two */
	uint16_t n_writers;
	uint8_t n_device_readers; /* of these */
	uint8_t n_device_writers;
	uint16_t domid;
	uint16_t frame;
	uint16_t pad;
};

/* A mapping by grant handle: Xen's maptrack. */
struct sim_track {
	uint16_t mapper;  /* domain index + 1; 0: free */
	uint16_t granter; /* domain index */
	uint32_t ref;
	uint32_t flags;	    /* GNTMAP_*: what of it is still mapped */
	uint32_t next;	    /* of the free list, or of the same gntdev object: index + 1 */
	uint64_t host_addr; /* as the hypercall gave it; 0: the guest kernel's */
};

enum sim_domain_state {
	SIM_DOMAIN_FREE = 0,
	SIM_DOMAIN_RUNNING,
	SIM_DOMAIN_SHUTDOWN, /* with .shutdown_reason */
	SIM_DOMAIN_DYING,
};

#define SIM_DOMAIN_ARGO		1U  /* Argo is on for it */
#define SIM_DOMAIN_GUEST_KERNEL 2U  /* has the emulated guest kernel */
#define SIM_DOMAIN_FIFO		4U  /* which takes its events by FIFO */
#define SIM_DOMAIN_GRANT_V2	8U  /* may switch its grant table to version 2 */
#define SIM_DOMAIN_NO_DRIVER	16U /* its guest kernel has no driver for Argo */

/* struct vcpu_info (xen/include/public/xen.h), as far as events need it. */
struct sim_vcpu_info {
	_Atomic uint64_t selector;
	_Atomic uint8_t upcall_pending;
	_Atomic uint8_t upcall_mask;
};

/* Xen's shared info page, likewise. Xen and the guest change single bits of it, any time. */
struct sim_shared_info {
	_Atomic uint64_t pending[64];
	_Atomic uint64_t mask[64];
	union {
		struct sim_vcpu_info vcpu[SIM_MAX_VCPUS];
		struct { /* of vcpu 0 */
			_Atomic uint64_t selector;
			_Atomic uint8_t upcall_pending;
			_Atomic uint8_t upcall_mask;
		};
	};
};

/* Xen's own part of a vcpu. */
struct sim_vcpu {
	uint32_t virq_port[NR_VIRQS]; /* virq_to_evtchn; the global ones are vcpu 0's */
	uint64_t timer_ns;	      /* the singleshot timer's deadline; 0: it is off */
	uint32_t control_page;	      /* FIFO: of the control block; 0: there is none */
	uint32_t control_offset;      /* in that page, bytes */
	/* domain's. FIFO: the port queued last; 0: none */
	uint32_t tail[EVTCHN_FIFO_MAX_QUEUES];
};

/* Of one physical interrupt, in a domain. */
#define SIM_PIRQ_ASSIGNED 1U /* the domain may bind it, and it is mapped */
#define SIM_PIRQ_SHARED	  2U /* bound with BIND_PIRQ__WILL_SHARE */

struct sim_pirq {
	uint32_t port; /* 0: not bound */
	uint32_t flags;
};

struct sim_domain {
	uint16_t domid;
	uint8_t state;
	uint8_t shutdown_reason; /* SHUTDOWN_* of <xen/sched.h> */
	uint8_t paused;
	uint8_t flags;
	uint16_t n_argo; /* ring_count: what Xen counts, upstream's bugs included */
	uint64_t generation;
	uint8_t uuid[HV_UUID_LEN];
	char name[HV_DOMAIN_NAME_MAX];

	uint32_t max_port;
	_Atomic uint32_t n_valid_ports; /* valid_evtchns; read any time */
	uint32_t n_ports;		/* active_evtchns, and port 0 */
	uint32_t n_xen_ports;		/* xen_evtchns: of n_ports, those of the hypervisor */
	uint32_t resetting;		/* the lock's word of who resets them; 0: nobody */
	uint32_t n_vcpus;
	uint32_t next_port; /* every one below is in use */
	uint32_t fifo;	    /* the event ABI: 0: 2-level, 1: FIFO */
	uint32_t n_words;   /* num_evtchns: event words that there are */
	uint32_t array_page[SIM_MAX_PORTS / SIM_WORDS_PAGE]; /* of the event words */
	/* of ports[] beyond SIM_2L_PORTS; they stay until the domain is gone */
	uint32_t port_page[(SIM_MAX_PORTS - SIM_2L_PORTS) / SIM_PORTS_PAGE];
	struct sim_pirq pirqs[SIM_MAX_PIRQS];

	uint32_t n_grant_frames; /* nr_grant_frames: the table grows, and never shrinks */
	uint32_t grant_version;	 /* 1, or 2 */
	uint32_t n_shared; /* pages that gntalloc counts: withdrawn ones are not, mapped or no */
	uint32_t n_pinned; /* mappings of this domain's pages by anybody: it stays until 0 */

	uint32_t next_aport;	    /* guest kernel's: to be given next, but for its high bit */
	_Atomic uint32_t n_waiting; /* waiters of all rings; looked at without a lock */
	uint64_t ring_watch[2];	    /* domain's. The guest kernel's: rings whose owner waits */
	uint8_t ring_bucket[SIM_RING_BUCKETS]; /* index + 1 */

	struct sim_shared_info info;
	struct sim_vcpu vcpus[SIM_MAX_VCPUS];
	struct sim_ring rings[SIM_MAX_RINGS];
	struct sim_port ports[SIM_2L_PORTS]; /* see port_entry */
	/* grant_entry_v1, written by one store; or grant_entry_v2, two words each */
	uint64_t grants[SIM_MAX_GREFS];
	uint16_t grant_status[SIM_MAX_GREFS_V2]; /* of version 2: GTF_reading, GTF_writing */
	struct sim_active_grant active[SIM_MAX_GREFS];
};

/* ---- pages --------------------------------------------------------------------------- */

enum sim_page_type {
	SIM_PAGE_RAM = 1, /* given to a domain by sim_pages_alloc */
	SIM_PAGE_RING,	  /* memory of an Argo ring of the guest kernel */
	SIM_PAGE_SHARE,	  /* gntalloc's */
	SIM_PAGE_XEN,	  /* the hypervisor's own */
};

#define SIM_PAGE_WITHDRAWN 1U /* gntalloc let go of it; freed with the last mapping */

/* A page is one uint64_t, so that a store (and an undo record) changes it as a whole; 0: free. */
#define SIM_PAGE(domain, type, flags, tag)                                                         \
	((uint64_t)((domain) + 1U) | (uint64_t)(type) << 16 | (uint64_t)(flags) << 24 |            \
		(uint64_t)(tag) << 32)
#define SIM_PAGE_DOMAIN(info) ((uint32_t)((info)&0xffffU) - 1U)
#define SIM_PAGE_TYPE(info)   ((uint32_t)((info) >> 16) & 0xffU)
#define SIM_PAGE_FLAGS(info)  ((uint32_t)((info) >> 24) & 0xffU)
/* The grant reference of a shared page; the slot + 1 of a ring's, for the guest kernel. */
#define SIM_PAGE_TAG(info) ((uint32_t)((info) >> 32))

/* ---- the guest kernels' tables ---------------------------------------------------------- */

enum sim_slot_state {
	SIM_SLOT_FREE = 0,
	SIM_SLOT_LIVE,
	SIM_SLOT_DEAD, /* its process is gone: the authority is giving back what it held */
};

#define SIM_SLOT_STORE	 1U
#define SIM_SLOT_DOMAINS 2U /* slot 0: a dying one lost its last mapping */
#define SIM_SLOT_TIMERS	 4U /* slot 0: one was set */

/*
 * A slot is one handle of one process. Bits are set under a lock (flags: by the authority); the
 * owner takes them without one. See slot.c for the order in which bits and `kick` change.
 */
struct sim_slot {
	_Alignas(64) _Atomic uint32_t state; /* any time; the authority writes */
	_Atomic uint32_t generation;	     /* any time; the authority writes */
	_Atomic int32_t pid;
	_Atomic uint64_t start_time;	  /* of the process, from /proc: pids are reused */
	_Atomic uint16_t domain;	  /* index */
	_Atomic uint32_t watches_domains; /* any time; the owner writes */

	_Alignas(64) _Atomic uint32_t kick; /* whether the eventfd is written: slot.c */
	_Atomic uint32_t flags;
	_Atomic uint64_t rings[2];
	_Atomic uint64_t port_words; /* bit i: ports[i], [i + 64], [i + 128]... may be non-zero */
	_Atomic uint64_t ports[SIM_MAX_PORTS / 64];
};

/* An armed unmap-notify. */
struct sim_notify {
	uint32_t page; /* of the pool; 0: none */
	uint32_t offset;
	uint32_t port; /* of the owner's domain */
};

struct sim_share {
	uint16_t owner; /* slot + 1; 0: free */
	uint16_t domain;
	uint32_t first_page;
	uint32_t n_pages;
	uint32_t next;	    /* free list: index + 1 */
	uint32_t may_rearm; /* made without a notification: guest_share_notify may arm one */
	struct sim_notify notify;
};

struct sim_map {
	uint16_t owner;
	uint16_t domain;
	uint32_t first_track; /* index + 1; chained */
	uint32_t n_pages;
	uint32_t next;
	struct sim_notify notify;
};

/* ---- the whole ------------------------------------------------------------------------ */

struct sim_segment {
	uint64_t magic;
	uint64_t layout;
	uint64_t size;		/* of the memfd */
	uint64_t pid_namespace; /* inode of /proc/self/ns/pid of the authority */
	uint64_t pool_offset;
	uint32_t argo_mac_permissive;
	uint32_t argo_off;		/* as without argo=1 on Xen's command line */
	_Atomic uint64_t virtual_clock; /* non-zero: the clock stands still */
	_Atomic uint64_t now_ns;	/* then this is the time */
	uint32_t has_timers;		/* else the authority waits for deadlines */
	_Atomic uint32_t corrupt; /* any time: who set it has met what cannot be; xen-sim ends */

	/* Domains below this index are, or were, in use. Only grows; not through the journal. */
	_Atomic uint32_t n_domains;
	_Atomic uint32_t waits_for; /* the guard that the owner of all waits for; 0: none */
	struct sim_recovered recovered_all, recovered_domain;
	struct sim_guard guards[SIM_GUARDS];

	uint64_t next_generation;
	uint32_t free_track, free_share, free_map; /* index + 1 */
	uint32_t next_page;			   /* where to look for free pages first */
	uint8_t domain_index[0x8000];		   /* of a domid: index + 1 */

	struct sim_slot slots[SIM_MAX_SLOTS];
	struct sim_share shares[SIM_MAX_SHARES];
	struct sim_map maps[SIM_MAX_MAPS];
	struct sim_track tracks[SIM_MAX_TRACKS];
	uint64_t pages[SIM_POOL_PAGES];
	struct sim_domain domains[SIM_MAX_DOMAINS];
};

/* Refused when different: a cheap fingerprint, since every struct's size is in the sum. */
#define SIM_LAYOUT                                                                                 \
	((uint64_t)SIM_VERSION << 56 | (uint64_t)sizeof(struct sim_domain) << 28 |                 \
		(uint64_t)sizeof(struct sim_segment))

/* segment.c: the memfd and its mapping. *ret_fd is owned by the caller. */
int segment_create(int *ret_fd, struct sim_segment **ret_seg);
/* EPROTONOSUPPORT: not a segment of this layout. EXDEV: of another PID namespace. */
int segment_map(int fd, struct sim_segment **ret_seg);
void segment_unmap(struct sim_segment *seg);
uint64_t segment_pid_namespace(void);

#endif
