/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TESTS_SIMULATE_BROKER_CLOCK_H
#define TESTS_SIMULATE_BROKER_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct broker;

/* The time of the event that the broker handled last. */
uint64_t broker_clock_ns(const struct broker *broker);

/* The applications that the broker believes to be attached. */
uint32_t broker_n_attached(const struct broker *broker);

/* Whether anything of an application's is left, charges of its domain included: a sentence. */
bool broker_left(const struct broker *broker, char *ret_text, size_t size);

#endif
