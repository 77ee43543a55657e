/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A kernel's work when a process ends. For the authority, and for a handle without one. */
#ifndef MSGD_HV_SIM_GUEST_RELEASE_H
#define MSGD_HV_SIM_GUEST_RELEASE_H

#include "hv/sim/memory/xen.h"

/* Gives back everything that the slot holds, in hv.h's order. May be run again. */
void guest_release(struct xen *xen, uint32_t slot);

#endif
