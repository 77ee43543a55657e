/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Static probes for bpftrace, perf, SystemTap and gdb: each is one nop, and a note of the ELF file
 * says where its arguments lie (libmsg-probes(7)). On the way of a message arguments are what the
 * code around has at hand: none is computed or loaded for a probe. An option of the build leaves
 * the probes out.
 */
#ifndef MSGD_BASE_PROBE_H
#define MSGD_BASE_PROBE_H

#ifdef HAVE_SDT
#include <sys/sdt.h>

/*
 * Up to twelve arguments: numbers or pointers. Of 8 or 16 bits only those that lie in memory: gdb
 * 13 does not know all registers by the names that such numbers have in them.
 */
#define PROBE(provider, name, ...) STAP_PROBEV(provider, name, __VA_ARGS__)
#else
static inline void probe_nothing(int unused, ...)
{
}

/* Names and types are checked all the same. */
#define PROBE(provider, name, ...)                                                                 \
	do {                                                                                       \
		if (0)                                                                             \
			probe_nothing(0, __VA_ARGS__);                                             \
	} while (0)
#endif

#endif
