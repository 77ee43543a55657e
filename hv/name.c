/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hypervisor's name in messages. It is apart from hv_open, which tests replace. */
#include <stdio.h>
#include <stdlib.h>

#include "hv/hv.h"

const char *hv_name(const char *spec, char buffer[HV_NAME_SIZE])
{
	const char *env = secure_getenv("MSG_HV");

	if (spec && *spec)
		(void)snprintf(buffer, HV_NAME_SIZE, "%s", spec);
	else if (env && *env)
		(void)snprintf(buffer, HV_NAME_SIZE, "%s (of MSG_HV)", env);
	else
		(void)snprintf(buffer, HV_NAME_SIZE, "xen (the default, for MSG_HV is not set)");
	return buffer;
}
