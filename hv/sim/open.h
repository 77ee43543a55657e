/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The door to the sim backend, for hv/open.c alone: process/client.c, or no-sim.c. */
#ifndef MSGD_HV_SIM_OPEN_H
#define MSGD_HV_SIM_OPEN_H

#include "hv/hv.h"

/*
 * spec: whatever is not "xen", as hv_open takes it. *ret_reason is set on failure. ENODEV: the
 * build has no emulator. Other errors as in hv_open.
 */
int hv_open_sim(const char *spec, struct hv **ret_hv, const char **ret_reason);

#endif
