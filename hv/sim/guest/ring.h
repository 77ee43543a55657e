/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The Argo driver of the emulated guest kernel. For handles and release.c. */
#ifndef MSGD_HV_SIM_GUEST_RING_H
#define MSGD_HV_SIM_GUEST_RING_H

#include "hv/sim/memory/xen.h"

int guest_ring_register(struct xen *xen, uint32_t aport, uint16_t partner, uint32_t len,
	uint32_t *ret_index, uint32_t *ret_aport, uint32_t *ret_first_page);
int guest_ring_unregister(struct xen *xen, uint32_t index, uint32_t first_page, uint32_t n_pages);
int guest_ring_watch(struct xen *xen, uint32_t index, bool on);
int guest_ring_send(struct xen *xen, uint32_t index, const xen_argo_send_addr_t *addr,
	const xen_argo_iov_t *iov, uint32_t n_iov, uint32_t type);
int guest_ring_consumed(struct xen *xen);
void guest_rings_release(struct xen *xen, uint32_t slot);

#endif
