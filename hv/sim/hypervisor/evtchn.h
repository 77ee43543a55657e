/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Event channels: the ports of a domain. For hypercalls and drivers; knows no processes. */
#ifndef MSGD_HV_SIM_HYPERVISOR_EVTCHN_H
#define MSGD_HV_SIM_HYPERVISOR_EVTCHN_H

#include "hv/sim/memory/xen.h"

/* rcu_lock_domain_by_any_id: DOMID_SELF is the caller. */
static inline uint32_t domain_find_any(const struct xen *xen, uint32_t self, uint16_t domid)
{
	return domid == DOMID_SELF ? self : sim_domain_find(xen, domid);
}

/* evtchn_from_port: of a port that is valid. */
static inline struct sim_port *port_entry(
	const struct xen *xen, struct sim_domain *d, uint32_t port)
{
	uint32_t i = port - SIM_2L_PORTS;

	if (port < SIM_2L_PORTS)
		return &d->ports[port];
	return (struct sim_port *)page_address(xen, peek(&d->port_page[i / SIM_PORTS_PAGE])) +
	       i % SIM_PORTS_PAGE;
}

/* _evtchn_from_port: NULL: its bucket is not there. */
static inline struct sim_port *port_at(const struct xen *xen, struct sim_domain *d, uint32_t port)
{
	return port < d->n_valid_ports ? port_entry(xen, d, port) : NULL;
}

/* XSM_TARGET: only the control domain acts for another one. ESRCH, EPERM. */
int target_find(struct xen *xen, uint32_t domain, uint16_t dom, uint32_t *ret_target);

int evtchn_alloc_unbound_locked(
	struct xen *xen, uint32_t domain, uint16_t dom, uint16_t remote, uint32_t *ret_port);
int evtchn_bind_interdomain_locked(struct xen *xen, uint32_t domain, uint16_t remote,
	uint32_t remote_port, uint32_t *ret_port);
int evtchn_bind_virq_locked(
	struct xen *xen, uint32_t domain, uint32_t virq, uint32_t vcpu, uint32_t *ret_port);
int evtchn_bind_ipi_locked(struct xen *xen, uint32_t domain, evtchn_bind_ipi_t *bind);
int evtchn_bind_pirq_locked(struct xen *xen, uint32_t domain, evtchn_bind_pirq_t *bind);
int evtchn_bind_vcpu_locked(struct xen *xen, uint32_t domain, uint32_t port, uint32_t vcpu);
int evtchn_set_priority_locked(struct xen *xen, uint32_t domain, uint32_t port, uint32_t priority);
int evtchn_status_locked(struct xen *xen, uint32_t domain, evtchn_status_t *status);
int evtchn_close_locked(struct xen *xen, uint32_t domain, uint32_t port);
/* The same by the hypervisor, which may close its own ports as well. */
void evtchn_destroy_locked(struct xen *xen, uint32_t domain, uint32_t port);
/* alloc_unbound_xen_event_channel: an end of which Xen itself is the consumer. */
int evtchn_alloc_xen_locked(
	struct xen *xen, uint32_t domain, uint32_t vcpu, uint16_t remote, uint32_t *ret_port);
int evtchn_send_locked(struct xen *xen, uint32_t domain, uint32_t port);
int evtchn_unmask_locked(struct xen *xen, uint32_t domain, uint32_t port);

/* Begins a transaction under the lock of the domain that a port of `domain` sends to. */
void evtchn_begin_send(struct xen *xen, uint32_t domain, uint32_t port, struct xen *ret_txn);

#endif
