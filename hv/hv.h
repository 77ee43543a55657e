/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv: the one contract with the hypervisor.
 *
 * Everything above this header (libmsg, msgd) reaches Xen through it and through nothing else.
 * A backend fills struct hv_ops; tests/conformance runs one suite over every backend.
 *
 * Conventions, for every slot:
 *  - 0 or a count on success, a negative errno on failure. The errno is Xen's own where Xen
 *    refuses (xen/include/public/errno.h), the backend's where it refuses before Xen is asked.
 *  - ret_* outputs are untouched on failure.
 *  - Nothing blocks, except where "may block" is said.
 *  - One handle is used by one thread at a time, except for the slots marked "any thread".
 *  - A handle must not be used in a forked child; its mappings are not inherited
 *    (MADV_DONTFORK), its descriptors are close-on-exec.
 *  - Whatever a handle still holds when it is closed, or when its process dies, goes back in this
 *    order: Argo rings are unregistered, grant mappings are unmapped (firing their
 *    unmap-notify), shared pages are withdrawn (firing theirs), event channels are closed.
 *    A notification always reaches its port before that port is closed.
 */
#ifndef MSGD_HV_H
#define MSGD_HV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#define HV_PAGE_SIZE 4096U

/* DOMID_SELF and the first reserved domid (xen/include/public/xen.h). */
#define HV_DOMID_SELF		0x7ff0U
#define HV_DOMID_FIRST_RESERVED 0x7ff0U

#define HV_UUID_LEN	   16
#define HV_DOMAIN_NAME_MAX 128 /* with the final NUL; libxl's own names are shorter */

struct hv;	 /* an open backend handle */
struct hv_share; /* pages shared with another domain; see grant_share */
struct hv_map;	 /* another domain's pages, mapped; see grant_map */

enum hv_event_type {
	HV_EVENT_PORT = 1, /* .port is pending; it is masked until unmask */
	HV_EVENT_RING,	   /* .ring has data, or room where it had none; see argo_watch */
	HV_EVENT_STORE,	   /* records changed: call store_next until it returns 0 */
	HV_EVENT_DOMAINS,  /* domains changed: call domain_list */
};

struct hv_ring;

struct hv_event {
	enum hv_event_type type;
	uint32_t port;
	struct hv_ring *ring; /* borrowed */
};

/*
 * A registered Argo ring, receive side. The memory is laid out as xen_argo_ring_t: rx_ptr u32,
 * tx_ptr u32, 56 bytes reserved, then ring_len bytes. Xen writes tx_ptr and the data; the owner
 * reads them in place (tx_ptr with acquire) and advances rx_ptr (with release). hv/argo-ring.h
 * has the reader.
 */
struct hv_ring {
	void *mem;	   /* owned by the backend; mapped until argo_unregister */
	uint32_t ring_len; /* bytes, multiple of 16, without the 64 bytes of header */
	uint32_t aport;
	uint16_t partner; /* the only domain that may send to it */
};

enum hv_domain_state {
	HV_DOMAIN_RUNNING = 1, /* paused counts as running: it will go on by itself */
	HV_DOMAIN_SUSPENDED,   /* shut down with reason suspend: not dead */
	HV_DOMAIN_CRASHED,     /* shut down with any other reason; memory still there */
	HV_DOMAIN_DYING,       /* being destroyed, or a zombie whose pages somebody maps */
};

struct hv_domain {
	uint16_t domid;
	enum hv_domain_state state;
	bool paused;	     /* and running otherwise */
	uint64_t generation; /* changes when a domid is used again; 0 where Xen cannot tell */
	uint8_t uuid[HV_UUID_LEN];
	/* NUL-terminated; not unique by Xen's rules. Empty: it cannot be read, or is longer. */
	char name[HV_DOMAIN_NAME_MAX];
};

/* Of a domain, in the store: words that are separated by blanks, with the final NUL. */
#define HV_TAGS_MAX 1024

#define HV_STORE_KEY_MAX 40 /* with the final NUL; [A-Za-z0-9-]+ */
/* Bytes. xenstored refuses a guest a node of 2048, counting permissions and children's names. */
#define HV_STORE_VALUE_MAX 1024

/* Whether store_publish takes the key. Reads HV_STORE_KEY_MAX bytes at most. */
static inline bool hv_store_key_is_valid(const char *key)
{
	size_t n = strnlen(key, HV_STORE_KEY_MAX);

	return n > 0 && n < HV_STORE_KEY_MAX &&
	       strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

struct hv_record {
	uint16_t domid;		    /* whose record it is: the store vouches for it */
	char key[HV_STORE_KEY_MAX]; /* NUL-terminated */
	size_t len;		    /* bytes of value; 0: the record is gone */
	uint8_t value[HV_STORE_VALUE_MAX];
};

#define HV_NO_NOTIFY UINT32_MAX

/* The page changes when this side lets go of it: by unmapping, closing or dying. */
struct hv_unmap_notify {
	uint32_t offset; /* this byte of the page becomes 0; HV_NO_NOTIFY: nothing is armed */
	uint32_t port;	 /* then this local port is sent an event; it must be bound by then */
};

#define HV_PARCEL_PAGES 5U /* the first, and others that are contiguous */
#define HV_PARCEL_FDS	2U
#define HV_PARCEL_WHERE 3U

/*
 * A port that the broker's domain may bind, and pages shared with it, which one process (an agent)
 * makes for another of its domain. The agent tells all of it but hold to the other process, and
 * hands the descriptors over.
 */
struct hv_parcel {
	uint32_t port; /* 0: there is no parcel here */
	uint32_t refs[HV_PARCEL_PAGES];
	uint64_t where[HV_PARCEL_WHERE]; /* the backend's: where the pages are to be found */
	int fds[HV_PARCEL_FDS];		 /* owned; -1: none */
	void *hold;			 /* the maker's */
};

/* A parcel's pages, in the process that has adopted it. Its port is then as any of the handle. */
struct hv_adopted {
	void *page, *others;
	struct hv_share *page_share, *others_share; /* grant_unshare */
};

struct hv_ops {
	const char *name; /* "sim", "xen" */

	/* Releases everything as said above, then frees the handle. NULL is not accepted. */
	void (*close)(struct hv *hv);

	/*
	 * The caller's own domid: never HV_DOMID_SELF, which Argo does not take. Another one
	 * after the domain was saved and restored, or migrated. Any thread.
	 */
	uint16_t (*domid)(struct hv *hv);

	/* Nanoseconds of a monotonic clock; virtual in deterministic tests. Any thread. */
	uint64_t (*now_ns)(struct hv *hv);

	/*
	 * The physical CPU that the calling thread runs on, or -1 where it cannot be known (every
	 * real Xen: virtual CPU numbers of two guests mean nothing to each other). Any thread.
	 */
	int (*cpu)(struct hv *hv);

	/*
	 * A descriptor, owned by the backend, that poll(2) shows readable while poll_events has
	 * something to return; it is never read or written by the caller. Any thread.
	 */
	int (*fd)(struct hv *hv);

	/*
	 * Moves up to n events into ret_events and returns how many (0: nothing). A port that was
	 * returned is masked: more events on it coalesce, silently, until unmask. Every local port
	 * has one event waiting right after evtchn_bind_interdomain (Xen's rule), and
	 * possibly spurious ones at any time. ENODEV: the emulator has ended.
	 */
	int (*poll_events)(struct hv *hv, struct hv_event *ret_events, size_t n);

	/* ---- event channels ------------------------------------------------------------ */

	/*
	 * Allocates a port that domain `remote` (HV_DOMID_SELF: the caller's) may bind. The
	 * remote need not exist. ENOSPC: no free port. ENOMEM.
	 */
	int (*evtchn_alloc_unbound)(struct hv *hv, uint16_t remote, uint32_t *ret_port);

	/*
	 * Binds to `remote_port`, which domain `remote` allocated for the caller's domain. The
	 * new local port starts pending. ESRCH: no such domain. ENOSPC: no free local port (looked
	 * at before the remote one). EINVAL: the remote port is not unbound for the caller: never
	 * allocated, somebody else's, or still held by a process that is dying (try again later).
	 */
	int (*evtchn_bind_interdomain)(
		struct hv *hv, uint16_t remote, uint32_t remote_port, uint32_t *ret_port);

	/*
	 * Closes a port of this handle. The other end silently returns to unbound for the
	 * caller's domain: it gets no event and can be bound again. ENOTCONN: not a port of this
	 * handle. A port named in an armed unmap-notify stays open until that has fired.
	 */
	int (*evtchn_close)(struct hv *hv, uint32_t port);

	/*
	 * Sends an event. Events coalesce. A port whose other end is unbound swallows it (0).
	 * ENOTCONN: not a port of this handle. Any thread.
	 */
	int (*evtchn_send)(struct hv *hv, uint32_t port);

	/*
	 * Lets n ports raise events again; one that became pending meanwhile raises at once.
	 * Ports that are not this handle's are ignored. Any thread.
	 */
	int (*evtchn_unmask)(struct hv *hv, const uint32_t *ports, size_t n);

	/* ---- Argo ---------------------------------------------------------------------- */

	/*
	 * Registers a receive ring for one partner domain, with zeroed memory. aport 0 takes a
	 * free one, and none that was taken so lately that somebody may still send to it. ring_len:
	 * 48 bytes to 0xffffc0, multiple of 16. EINVAL: size. ESRCH: no such partner. ENODEV: Argo
	 * is off for this domain; ECONNREFUSED: off for the partner. EPERM: any partner (Xen's
	 * wildcard) without mac-permissive. ENOSPC: the domain's 128 rings are in use; EDQUOT: the
	 * share of this process's user. EEXIST: {aport, partner} is registered. ENOMEM. EOPNOTSUPP
	 * or ENOSYS: no Argo in this hypervisor. ENXIO: this domain's kernel has no driver for it.
	 * EACCES: the driver's device is not for this process, or Xen's security module refuses.
	 */
	int (*argo_register)(struct hv *hv, uint32_t aport, uint16_t partner, uint32_t ring_len,
		struct hv_ring **ret_ring);

	/* Sets, once, the aport at the partner's that this ring sends to. EISCONN: already set. */
	int (*argo_peer)(struct hv *hv, struct hv_ring *ring, uint32_t aport);

	/*
	 * Sends one message from `ring` to its peer aport: 1 to 8 segments, up to 16 MiB - 32 in
	 * all; whole or not at all, in order per destination ring, copied before it returns.
	 * Returns the payload's length. Empty segments are dropped before Xen sees them.
	 * ENOTCONN: argo_peer was not called. EINVAL: too many segments. EMSGSIZE: cannot ever
	 * fit the destination ring. EAGAIN: does not fit now; a wake-up is queued, and comes as
	 * HV_EVENT_RING if the ring is watched. EBUSY, ENOMEM: does not fit now and no wake-up
	 * will come: use a timer. ENOBUFS: memory has been short for too long to go on trying.
	 * EACCES: Xen's security module refuses. ECONNREFUSED: no such ring there, or Argo is off
	 * there. ESRCH: no such domain. ESTALE: the own domain was suspended since the ring was
	 * registered; it is dead, and shows no events but one. Any thread.
	 */
	int (*argo_sendv)(struct hv *hv, struct hv_ring *ring, const struct iovec *iov,
		size_t n_iov, uint32_t message_type);

	/*
	 * Says that rx_ptr of the caller's rings was advanced, which alone wakes nobody: senders
	 * that got EAGAIN and now have room are woken. Any thread.
	 */
	int (*argo_consumed)(struct hv *hv);

	/*
	 * on: HV_EVENT_RING is returned once when messages arrive or room appears, and again
	 * only after the next argo_watch(on); immediately if messages are waiting now. off: none,
	 * and arrivals cost nobody a wake-up. Off at first. ESTALE: the ring is dead, or vanished
	 * with its partner; there is no event but one.
	 */
	int (*argo_watch)(struct hv *hv, struct hv_ring *ring, bool on);

	/*
	 * Unregisters, then frees the memory and the object, in this order: Xen never writes to
	 * memory that is not a ring any more. Succeeds also where the partner's death already
	 * removed the ring.
	 */
	int (*argo_unregister)(struct hv *hv, struct hv_ring *ring);

	/* ---- grants -------------------------------------------------------------------- */

	/*
	 * Shares n zeroed pages, contiguous in the caller's memory, with domain `remote` for
	 * reading and writing. ret_refs gets n grant references; ret_addr the pages. notify (NULL
	 * for none) is armed on this side; EINVAL with n != 1, an offset outside the page, or a
	 * port that is not this handle's. EINVAL: n is 0. ENOSPC: the domain's pages for sharing
	 * are used up (gntalloc's limit, or the grant table). ENODEV, EACCES: no gntalloc. The
	 * remote need not exist.
	 */
	int (*grant_share)(struct hv *hv, uint16_t remote, size_t n,
		const struct hv_unmap_notify *notify, uint32_t *ret_refs, void **ret_addr,
		struct hv_share **ret_share);

	/*
	 * Withdraws and frees the object. Pages that the remote still maps stay its until it unmaps
	 * them, and it may map them again until then, and a little longer: the granter's kernel
	 * looks every second. Withdrawn pages do not count against the limit any more, so a remote
	 * that never unmaps costs the granter's domain memory without bound: pool pages by peer.
	 */
	void (*grant_unshare)(struct hv *hv, struct hv_share *share);

	/*
	 * Arms a notification on a share of one page that was made without one, in the place of the
	 * one that this function armed before, which does not fire and lets go of its port. NULL:
	 * none. EINVAL: another kind of share; notify as in grant_share. On Linux such a
	 * notification, like the ports of the handle, outlives the process for as long as a forked
	 * child holds the handle's descriptors.
	 */
	int (*grant_notify)(
		struct hv *hv, struct hv_share *share, const struct hv_unmap_notify *notify);

	/*
	 * Maps n pages that domain `remote` (HV_DOMID_SELF: the caller's) granted to the caller's
	 * domain, contiguously. notify as in grant_share, and EINVAL without writable. EINVAL: n is
	 * 0, a bad reference, one granted to somebody else, no such domain; on Linux also a table
	 * of mappings that is full. EOPNOTSUPP: pages of the caller's own domain, where mapping
	 * them would take them from its kernel (x86, PVH and HVM). ENOMEM, ENOSPC: limits.
	 */
	int (*grant_map)(struct hv *hv, uint16_t remote, const uint32_t *refs, size_t n,
		bool writable, const struct hv_unmap_notify *notify, void **ret_addr,
		struct hv_map **ret_map);

	/* Unmaps (the notification fires) and frees the object. */
	void (*grant_unmap)(struct hv *hv, struct hv_map *map);

	/* ---- parcels --------------------------------------------------------------------- */

	/*
	 * For an agent. Makes a parcel. As far as the backend can, the parcel's port keeps its
	 * number until parcel_drop, whatever the process does that has adopted it (/dev/xen: yes;
	 * the emulator: no, there its maker has it until it is adopted). ENOSPC, ENOMEM, ENODEV,
	 * EACCES: as evtchn_alloc_unbound and grant_share. EMFILE.
	 */
	int (*parcel_make)(struct hv *hv, struct hv_parcel *ret_parcel);

	/*
	 * For its maker. Closes the descriptors, and lets go of port and pages: they go with the
	 * process that has adopted them, or now if none has. The port's other end may get an event.
	 */
	void (*parcel_drop)(struct hv *hv, struct hv_parcel *parcel);

	/*
	 * 1: the way to the store is an agent's, which has made a parcel for this process: to be
	 * adopted. It publishes no record that names another port or other pages. 0: this process
	 * may write the store itself. Errors as of store_publish, and EMFILE. May block.
	 */
	int (*parcel_ask)(struct hv *hv, struct hv_parcel *ret_parcel);

	/*
	 * Takes a parcel over that another process of this domain made. A notification is armed on
	 * the first page: its byte at notify_offset, and the parcel's port. EBUSY: the handle has
	 * one, whose port is not closed yet (/dev/xen). EINVAL: it is no parcel, or was adopted
	 * before. ENOMEM. The descriptors are closed, or the handle's, whatever is returned.
	 */
	int (*parcel_adopt)(struct hv *hv, struct hv_parcel *parcel, uint32_t notify_offset,
		struct hv_adopted *ret_adopted);

	/* ---- the rendezvous store ------------------------------------------------------- */

	/*
	 * Writes, or replaces, a record under the caller's own domain. May block for one round
	 * trip to the store. EINVAL: key or length. ENOSPC: the domain's quota in the store;
	 * xenstored lets a guest's directory have some 2000 bytes of names: sixty records whose
	 * keys are 32 characters. EDQUOT: the agent's limits for this user. EACCES: no way to the
	 * store, and no agent. EPERM: an agent that did not make what the record names, for it was
	 * started again since.
	 */
	int (*store_publish)(struct hv *hv, const char *key, const void *value, size_t len);

	/*
	 * Removes a record of the caller's domain or, for the broker's, of any. ENOENT. EACCES:
	 * another domain's, outside the broker's. EINVAL: key. May block.
	 */
	int (*store_remove)(struct hv *hv, uint16_t domid, const char *key);

	/*
	 * Broker's domain only (else EACCES): from now on HV_EVENT_STORE tells of records, those
	 * present first. A record's changes coalesce; the last one is never lost, and may be told
	 * twice. May block.
	 */
	int (*store_watch)(struct hv *hv);

	/*
	 * In any domain: from now on HV_EVENT_STORE tells of records that this handle published,
	 * earlier or later, when somebody else removed them, or when they did not come along as
	 * the domain was saved and restored; store_next returns each with len 0. May block.
	 */
	int (*store_watch_own)(struct hv *hv);

	/*
	 * Fills ret_record with the next change and returns 1, or returns 0: none for now. May
	 * block for round trips to the store, a bounded number between two calls of poll_events:
	 * where more is to be looked at, HV_EVENT_STORE comes again.
	 */
	int (*store_next)(struct hv *hv, struct hv_record *ret_record);

	/* ---- domains -------------------------------------------------------------------- */

	/*
	 * Broker's domain only (else EACCES): from now on HV_EVENT_DOMAINS tells of changes. Real
	 * Xen says nothing of pausing and unpausing, of a suspended domain that goes on, and of
	 * the end of a zombie: such a change comes with the next one that it does tell. May block.
	 */
	int (*domain_watch)(struct hv *hv);

	/*
	 * Writes up to n domains, the caller's own included, and returns how many there are.
	 * EACCES outside the broker's domain. May block: the names are in the store.
	 */
	int (*domain_list)(struct hv *hv, struct hv_domain *ret_domains, size_t n);

	/*
	 * Broker's domain only (else EACCES): the tags of a domain, NUL-terminated: the text of the
	 * store's node /local/domain/DOMID/msgd/tags, "" where there is none. If domains are
	 * watched, HV_EVENT_DOMAINS tells of its changes from now on, but not after EPERM: others
	 * than domain 0 may write the node. E2BIG: HV_TAGS_MAX. EINVAL: it has NUL bytes. ESRCH: no
	 * such domain (the emulator). May block.
	 */
	int (*domain_tags)(struct hv *hv, uint16_t domid, char ret_tags[HV_TAGS_MAX]);
};

/* A backend's operations, where its functions are named PREFIX_OPERATION. */
#define HV_OPS(text, prefix)                                                                       \
	{                                                                                          \
		.name = (text), .close = prefix##_close, .domid = prefix##_domid,                  \
		.now_ns = prefix##_now_ns, .cpu = prefix##_cpu, .fd = prefix##_fd,                 \
		.poll_events = prefix##_poll_events,                                               \
		.evtchn_alloc_unbound = prefix##_evtchn_alloc_unbound,                             \
		.evtchn_bind_interdomain = prefix##_evtchn_bind_interdomain,                       \
		.evtchn_close = prefix##_evtchn_close, .evtchn_send = prefix##_evtchn_send,        \
		.evtchn_unmask = prefix##_evtchn_unmask, .argo_register = prefix##_argo_register,  \
		.argo_peer = prefix##_argo_peer, .argo_sendv = prefix##_argo_sendv,                \
		.argo_consumed = prefix##_argo_consumed, .argo_watch = prefix##_argo_watch,        \
		.argo_unregister = prefix##_argo_unregister, .grant_share = prefix##_grant_share,  \
		.grant_unshare = prefix##_grant_unshare, .grant_notify = prefix##_grant_notify,    \
		.grant_map = prefix##_grant_map, .grant_unmap = prefix##_grant_unmap,              \
		.parcel_make = prefix##_parcel_make, .parcel_drop = prefix##_parcel_drop,          \
		.parcel_ask = prefix##_parcel_ask, .parcel_adopt = prefix##_parcel_adopt,          \
		.store_publish = prefix##_store_publish, .store_remove = prefix##_store_remove,    \
		.store_watch = prefix##_store_watch, .store_watch_own = prefix##_store_watch_own,  \
		.store_next = prefix##_store_next, .domain_watch = prefix##_domain_watch,          \
		.domain_list = prefix##_domain_list, .domain_tags = prefix##_domain_tags,          \
	}

/* Every backend's handle starts with this. */
struct hv {
	const struct hv_ops *ops;
};

/*
 * Opens a backend. spec:
 *   "sim:PATH"         the emulator whose authority (xen-sim) listens on the socket PATH, as a
 *                      process of the domain named by $XEN_SIM_DOMAIN, or of Domain-0
 *   "sim:PATH#DOMAIN"  the same, of the domain named here
 *   "xen"              /dev/xen
 *   NULL or ""         $MSG_HV (secure_getenv) if set, else xen
 * ret_reason, if not NULL, gets a sentence (static storage) on failure.
 * May block for a round trip to the authority. ENODEV: no Xen, or this backend is not built.
 * ENOENT: nothing listens on PATH. EPROTONOSUPPORT: an emulator of another version or layout.
 * EPROTO: something else listens there. EINVAL: spec. EHOSTUNREACH: no such domain. EXDEV: another
 * PID namespace. EUSERS: the emulator has no room for one more process: slots, its descriptors.
 * EMFILE: this process has no room for its descriptors. ENOMEM.
 */
int hv_open(const char *spec, struct hv **ret_hv, const char **ret_reason);

/*
 * Names the hypervisor that hv_open would open, and by whose word, for messages: "sim:/x (of
 * MSG_HV)", "xen (the default)", or the spec alone. Returns the buffer.
 */
#define HV_NAME_SIZE 160U
const char *hv_name(const char *spec, char buffer[HV_NAME_SIZE]);

/* The domain in which msgd runs: where applications publish to and share their pages with. */
#define HV_BROKER_DOMID 0U

static inline void hv_close(struct hv *hv)
{
	if (hv)
		hv->ops->close(hv);
}

#endif
