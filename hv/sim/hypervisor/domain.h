/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of domains in the hypervisor, for the authority alone: it calls these from one thread at
 * a time. Each takes the locks itself.
 */
#ifndef MSGD_HV_SIM_HYPERVISOR_DOMAIN_H
#define MSGD_HV_SIM_HYPERVISOR_DOMAIN_H

#include "hv/sim/memory/xen.h"

/* ENOSPC: 64 domains. EADDRINUSE: the domid is in use, a zombie's included. */
struct domain_limits {
	uint32_t n_vcpus;  /* 0: 1; at most SIM_MAX_VCPUS */
	uint32_t max_port; /* the highest; 0: SIM_PORT_LIMIT */
};
int domain_create(struct xen *xen, uint16_t domid, const char *name,
	const uint8_t uuid[HV_UUID_LEN], uint8_t flags, const struct domain_limits *limits,
	uint32_t *ret_index);
/* From now on nothing new begins in it; its Argo rings and ports are gone, silently. */
void domain_kill(struct xen *xen, uint32_t index);
/* After its processes: frees a dying domain that nobody maps. False: somebody does. */
bool domain_reap(struct xen *xen, uint32_t index);
void domain_set_state(struct xen *xen, uint32_t index, uint8_t state, uint8_t reason);
/*
 * A suspended domain goes on under another domid, as one that was saved and restored: what it had
 * of event channels and rings is gone. -EBUSY: a process of it still held a port; where a stock
 * Linux kernel would crash.
 */
int domain_restore(struct xen *xen, uint32_t index, uint16_t domid);
void domain_set_paused(struct xen *xen, uint32_t index, bool paused);
void domain_describe(struct xen *xen, uint32_t index, struct hv_domain *ret_domain);
/* Writes up to n and returns how many there are. */
uint32_t domain_list(struct xen *xen, struct hv_domain *ret_domains, size_t n);

#endif
