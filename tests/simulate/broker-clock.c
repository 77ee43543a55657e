/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A look into the broker, apart: its headers and the emulator's have types of one name. */
#include "tests/simulate/broker-clock.h"

#include "daemon/broker/state.h"

uint64_t broker_clock_ns(const struct broker *broker)
{
	return broker->now_ns;
}
