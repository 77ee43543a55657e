/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The machine: interrupts and timers. For tests that play it, and xen-sim's event loop. */
#ifndef MSGD_HV_SIM_HYPERVISOR_MACHINE_H
#define MSGD_HV_SIM_HYPERVISOR_MACHINE_H

#include "hv/sim/memory/xen.h"

/*
 * Raises VIRQ_TIMER for every timer whose deadline the clock has passed. Returns how long it is to
 * the next deadline, in ns; 0: there is none. A timer that is set meanwhile comes with a kick of
 * slot 0.
 */
uint64_t timers_expire(struct xen *xen);
/* CLOCK_MONOTONIC; or the virtual clock, where that is on. */
uint64_t machine_now_ns(const struct xen *xen);

/* ESRCH: no such domain. ENOENT: no such vcpu. EINVAL: virq, pirq. */
/* VIRQ_DEBUG, VIRQ_CONSOLE, ... as Xen raises them; the global ones go to vcpu 0's binding. */
int sim_virq_raise(struct xen *xen, uint16_t domid, uint32_t virq, uint32_t vcpu);
/*
 * The singleshot timer of a vcpu (set_timer_op): VIRQ_TIMER at that time, at once if it has passed;
 * 0: off. Of a virtual clock that is when sim_clock_advance gets there. The clock that runs by
 * itself is CLOCK_MONOTONIC: xen-sim waits for the deadline; the emulator within one process has
 * nobody who could, EOPNOTSUPP.
 */
int sim_timer_set(struct xen *xen, uint16_t domid, uint32_t vcpu, uint64_t deadline_ns);
/* Lets a domain bind a physical interrupt, as libxl does for a device that it passes through. */
int sim_pirq_assign(struct xen *xen, uint16_t domid, uint32_t pirq);
/* The device interrupts. Returns how many domains have bound it. */
int sim_pirq_raise(struct xen *xen, uint32_t pirq);
/* A port that `remote` may bind, and whose near end is the hypervisor's, as a device model's. */
int sim_xen_port_alloc(struct xen *xen, uint16_t domid, uint16_t remote, uint32_t *ret_port);

#endif
