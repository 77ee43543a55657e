/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /dev/xen/evtchn, and the unmap-notify of both grant drivers. For handles and release.c. */
#ifndef MSGD_HV_SIM_GUEST_PORT_H
#define MSGD_HV_SIM_GUEST_PORT_H

#include "hv/sim/memory/xen.h"

int guest_port_alloc(struct xen *xen, uint16_t remote, uint32_t *ret_port);
int guest_port_bind(struct xen *xen, uint16_t remote, uint32_t remote_port, uint32_t *ret_port);
int guest_port_close(struct xen *xen, uint32_t port);
int guest_port_send(struct xen *xen, uint32_t port);
int guest_port_unmask(struct xen *xen, const uint32_t *ports, size_t n);
bool guest_port_is_mine(struct xen *xen, uint32_t slot, uint32_t port);
/* The slot that holds the other end, or that allocated the port; 0: unknown. */
uint32_t guest_port_peer(struct xen *xen, uint16_t remote, uint32_t port, uint32_t *ret_generation);
void guest_ports_release(struct xen *xen, uint32_t slot);

/* EINVAL: the byte is outside the page, or the port is not the slot's (evtchn_get in Linux). */
int notify_arm_locked(struct xen *xen, uint32_t domain, uint32_t slot, struct sim_notify *dst,
	const struct hv_unmap_notify *notify, uint32_t page);
/* It does not fire any more; its port is let go of. */
void notify_disarm_locked(struct xen *xen, uint32_t domain, struct sim_notify *notify);
void notify_fire_locked(struct xen *xen, uint32_t domain, struct sim_notify *notify);

#endif
