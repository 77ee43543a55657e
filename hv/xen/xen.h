/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The door to the Xen backend; without the backend in the build, no-xen.c stands behind it. */
#ifndef MSGD_HV_XEN_XEN_H
#define MSGD_HV_XEN_XEN_H

#include "hv/hv.h"

/*
 * Opens /dev/xen. *ret_reason (static storage) is set on failure. ENODEV: not a Xen domain, a
 * module is not loaded, or the backend is not built. EACCES: a device may not be opened, or the own
 * domid cannot be learnt. May block for a round trip to the store or to the agent.
 */
int hv_open_xen(struct hv **ret_hv, const char **ret_reason);

#endif
