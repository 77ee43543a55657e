/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The Xen backend's handle, for the files that it is made of. A handle has a file of its own of
 * each device: a port belongs to the file that bound it, so a handle cannot take another one's.
 */
#ifndef MSGD_HV_XEN_BACKEND_H
#define MSGD_HV_XEN_BACKEND_H

#include <stdatomic.h>
#include <sys/queue.h>

#include <xenevtchn.h>
#include <xengnttab.h>
#include <xentoollog.h>

#include <xen/event_channel.h>

#include "hv/hv.h"

struct store;
struct domains;

/* No domain has more ports. */
#define PORT_WORDS ((uint32_t)EVTCHN_FIFO_NR_CHANNELS / 64)

/* Sets of ports, as bits. */
struct port_sets {
	uint64_t own[PORT_WORDS];     /* bound or allocated by this handle */
	uint64_t waiting[PORT_WORDS]; /* read from the kernel, not yet returned; a subset of own */
	uint32_t n_waiting;
};

struct xen_hv {
	struct hv hv;
	_Atomic uint16_t domid;
	int epoll_fd; /* owned, as is all that follows */
	int wake_fd;  /* readable while there is an event that no other descriptor shows */
	bool awake;   /* wake_fd is readable */
	bool store_due, domains_due; /* HV_EVENT_STORE, HV_EVENT_DOMAINS: not yet returned */
	xenevtchn_handle *evtchn;
	xenevtchn_handle *adopted;     /* the file of adopted_port alone; or NULL */
	_Atomic uint32_t adopted_port; /* of a parcel; 0: none */
	xengnttab_handle *gnttab;
	xengntshr_handle *gntshr; /* NULL until the first grant_share */
	bool grants_move;	  /* own pages cannot be mapped: grant.c says why */
	struct port_sets ports;
	int argo_fd;  /* -1 until the first argo_register */
	int rings_fd; /* likewise: readable while a watched ring has an event */
	LIST_HEAD(, ring) rings;
	LIST_HEAD(, hv_share) shares;
	LIST_HEAD(, hv_map) maps;
	struct store *store;
	struct domains *domains; /* NULL until the first domain_list */
};

static inline struct xen_hv *xen_hv_of(struct hv *hv)
{
	return (struct xen_hv *)hv; /* hv is its first member */
}

/* HV_DOMID_SELF is resolved here: Xen does not take it in every place. */
static inline uint16_t xen_hv_resolve(struct xen_hv *h, uint16_t domid)
{
	return domid == HV_DOMID_SELF ? atomic_load_explicit(&h->domid, memory_order_relaxed)
				      : domid;
}

/* A logger that drops everything: a library never logs, and Xen's do unless they are given one. */
extern struct xentoollog_logger xen_silence;

/* Adds a descriptor to those that make hv->fd readable. */
int xen_hv_watch_fd(struct xen_hv *h, int fd);
/* Makes wake_fd readable, or not, as store_due, domains_due and waiting ports demand. */
void xen_hv_update_wake(struct xen_hv *h);

/* port.c */
int ports_open(struct xen_hv *h, const char **ret_reason);
void ports_close(struct xen_hv *h);
bool port_is_own(const struct xen_hv *h, uint32_t port);
/* Writes up to n pending ports, or -errno. */
int ports_take(struct xen_hv *h, struct hv_event *ret_events, size_t n);
/* Takes the descriptor, whatever it returns. EBUSY: there is one. */
int port_adopt(struct xen_hv *h, int fd, uint32_t port);
int op_evtchn_alloc_unbound(struct hv *hv, uint16_t remote, uint32_t *ret_port);
int op_evtchn_bind_interdomain(
	struct hv *hv, uint16_t remote, uint32_t remote_port, uint32_t *ret_port);
int op_evtchn_close(struct hv *hv, uint32_t port);
int op_evtchn_send(struct hv *hv, uint32_t port);
int op_evtchn_unmask(struct hv *hv, const uint32_t *ports, size_t n);

/* grant.c */
int grants_open(struct xen_hv *h, const char **ret_reason);
void grants_close(struct xen_hv *h);
int op_grant_share(struct hv *hv, uint16_t remote, size_t n, const struct hv_unmap_notify *notify,
	uint32_t *ret_refs, void **ret_addr, struct hv_share **ret_share);
void op_grant_unshare(struct hv *hv, struct hv_share *share);
int op_grant_notify(struct hv *hv, struct hv_share *share, const struct hv_unmap_notify *notify);
/* Maps pages that gntalloc's file has at that place, and makes the file forget them. */
int share_adopt(struct xen_hv *h, int fd, uint64_t index, uint32_t n,
	const struct hv_unmap_notify *notify, void **ret_addr, struct hv_share **ret_share);
int op_grant_map(struct hv *hv, uint16_t remote, const uint32_t *refs, size_t n, bool writable,
	const struct hv_unmap_notify *notify, void **ret_addr, struct hv_map **ret_map);
void op_grant_unmap(struct hv *hv, struct hv_map *map);

/* parcel.c */
int op_parcel_make(struct hv *hv, struct hv_parcel *ret_parcel);
void op_parcel_drop(struct hv *hv, struct hv_parcel *parcel);
int op_parcel_adopt(struct hv *hv, struct hv_parcel *parcel, uint32_t notify_offset,
	struct hv_adopted *ret_adopted);

/* argo.c */
void rings_close(struct xen_hv *h);
/* Writes up to n events of watched rings, or -errno. */
int rings_take(struct xen_hv *h, struct hv_event *ret_events, size_t n);
int op_argo_register(struct hv *hv, uint32_t aport, uint16_t partner, uint32_t ring_len,
	struct hv_ring **ret_ring);
int op_argo_peer(struct hv *hv, struct hv_ring *ring, uint32_t aport);
int op_argo_sendv(struct hv *hv, struct hv_ring *ring, const struct iovec *iov, size_t n_iov,
	uint32_t message_type);
int op_argo_consumed(struct hv *hv);
int op_argo_watch(struct hv *hv, struct hv_ring *ring, bool on);
int op_argo_unregister(struct hv *hv, struct hv_ring *ring);

/* domain.c, where libxenctrl is linked as well; nowhere else. NULL there. */
struct domain_ops {
	int (*list)(struct xen_hv *h, struct hv_domain *ret_domains, size_t n);
	void (*free)(struct domains *domains);
};
extern const struct domain_ops xen_domain_ops __attribute__((weak, visibility("hidden")));

#endif
