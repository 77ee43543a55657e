/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In the place of the emulator where the build leaves it out (-Dsim=disabled). */
#include <errno.h>

#include "hv/sim/open.h"

int hv_open_sim(const char *spec, struct hv **ret_hv, const char **ret_reason)
{
	*ret_reason = "this build has no such backend, only Xen's: say xen";
	return -ENODEV;
}
