/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nng, where this was built without it. */
#include "bench/bench.h"

static const char *missing(void)
{
	return "built without libnng-dev";
}

const struct peer peer_nng = {.name = "nng", .missing = missing};
