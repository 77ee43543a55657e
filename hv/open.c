/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Chooses the backend. A backend is a file that is built or not; nothing else knows which are. */
#include "hv/hv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hv/sim/open.h"
#include "hv/xen/xen.h"

int hv_open(const char *spec, struct hv **ret_hv, const char **ret_reason)
{
	const char *reason = NULL;
	int r;

	if (!spec || !*spec)
		spec = secure_getenv("MSG_HV");
	if (!spec || !*spec)
		spec = "xen";
	if (strcmp(spec, "xen") == 0)
		r = hv_open_xen(ret_hv, &reason);
	else
		r = hv_open_sim(spec, ret_hv, &reason);
	if (r < 0 && ret_reason)
		*ret_reason = reason ? reason : "the hypervisor cannot be reached";
	return r;
}
