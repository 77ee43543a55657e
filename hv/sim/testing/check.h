/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks at the whole segment and says what cannot be. For tests. */
#ifndef MSGD_HV_SIM_TESTING_CHECK_H
#define MSGD_HV_SIM_TESTING_CHECK_H

#include <stdio.h>

#include "hv/sim/memory/xen.h"

/*
 * Returns the number of broken invariants, each of which is a line on `out` (NULL: silent). Needs
 * no emulator in this process.
 */
int segment_check(struct xen *xen, FILE *out);

#endif
