/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishing what a transaction has committed. For transaction.c alone, which holds the locks. */
#ifndef MSGD_HV_SIM_HYPERVISOR_PUBLISH_H
#define MSGD_HV_SIM_HYPERVISOR_PUBLISH_H

#include "hv/sim/memory/slot.h"

/* May note in the record how far it got. Adds the slots that are to be kicked to *kicks. */
void redo_run(struct xen *xen, struct sim_redo *redo, struct kick_set *kicks);

#endif
