/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In the place of the Xen backend where its libraries were not there at build time. */
#include <errno.h>

#include "hv/xen/xen.h"

int hv_open_xen(struct hv **ret_hv, const char **ret_reason)
{
	*ret_reason = "built without the Xen backend (libxen-dev): name an emulator, as sim:PATH";
	return -ENODEV;
}
