/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The sim backend's handle: a slot, the view that goes with it, and its way to the toolstack, which
 * is a socket (client.c) or a call (testing/sim.c).
 */
#ifndef MSGD_HV_SIM_PROCESS_BACKEND_H
#define MSGD_HV_SIM_PROCESS_BACKEND_H

#include <sys/queue.h>

#include "hv/hv.h"
#include "hv/sim/memory/xen.h"
#include "hv/sim/process/hangup.h"
#include "hv/sim/wire/protocol.h"

struct sim_hv;

struct toolstack_ops {
	/*
	 * SIM_PUBLISH and SIM_REMOVE of the record, SIM_WATCH, SIM_WATCH_OWN, or SIM_NEXT and, of
	 * the record's domain, SIM_READ_TAGS, which fill the record in.
	 */
	int (*store)(struct sim_hv *h, enum sim_message_type type, struct hv_record *record);
	/* Makes the two slots able to kick each other. Best effort: a kick finds another way. */
	void (*introduce)(struct sim_hv *h, uint32_t slot, uint32_t generation);
	/* Gives back what the slot holds, and the slot. The segment stays until `release`. */
	void (*detach)(struct sim_hv *h);
	/* Frees what xen.ops_arg is, and the segment's mapping. */
	void (*release)(struct sim_hv *h);
};

struct sim_hv_ring {
	struct hv_ring pub;
	uint32_t index;
	uint32_t first_page;
	uint32_t n_pages;
	bool has_peer;
	xen_argo_send_addr_t addr;
};

struct sim_hv {
	struct hv hv;
	struct xen xen;
	int memfd; /* owned by the toolstack's end, as are event_fd and the segment */
	int event_fd;
	struct hangup hangup; /* of xen-sim */
	const struct toolstack_ops *toolstack;
	struct sim_hv_ring *rings[SIM_MAX_RINGS]; /* by the ring's index */
	LIST_HEAD(, hv_map) maps;
};

extern const struct hv_ops sim_hv_ops;

/* The caller has filled in all but hv, rings, maps. */
void sim_hv_init(struct sim_hv *h);

#endif
