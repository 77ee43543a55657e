/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The agent's report on its own process: descriptors, mappings, what a child inherits. */
#ifndef CONFORMANCE_AGENT_PROBE_H
#define CONFORMANCE_AGENT_PROBE_H

#include <stdbool.h>
#include <stdint.h>

struct object;

/* Open descriptors; inheritable: only those without close-on-exec, standard ones not counted. */
int probe_count_fds(bool inheritable);
/* The descriptors that the program was given without close-on-exec when it began; main sets it. */
extern int probe_base_inherited;
int probe_count_mappings(void);
/* 1 or 0; writes what it has read. */
int probe_writable(void *addr);
/* 1: a forked child has the object's memory mapped. */
int probe_fork_touch(const struct object *object);
/* hv_open with $MSG_HV set to this, or unset if empty; closed again. */
int probe_hv_open(const char *spec, const char *env, uint64_t *ret_has_reason);

#endif
