/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ZeroMQ, where this was built without it. */
#include "bench/bench.h"

static const char *missing(void)
{
	return "built without libzmq3-dev";
}

const struct peer peer_zeromq = {.name = "ZeroMQ", .missing = missing};
