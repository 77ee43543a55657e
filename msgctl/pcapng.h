/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes blocks of pcapng, the format of Wireshark's files (draft-ietf-opsawg-pcapng): one section,
 * little-endian, times in nanoseconds. Each call writes one whole block. The owner of the stream
 * looks for its errors.
 */
#ifndef MSGD_MSGCTL_PCAPNG_H
#define MSGD_MSGCTL_PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The link type of all interfaces: the first of those that are nobody's (LINKTYPE_USER0). */
#define PCAPNG_LINKTYPE 147
/* Bytes of a packet that are written. */
#define PCAPNG_PACKET_MAX 8192U

struct pcapng_packet {
	uint32_t interface; /* in the order in which they were written, from 0 on */
	uint64_t time_ns;   /* since 1970 */
	bool sent;	    /* by the interface, else received */
	const void *bytes;
	size_t len;	     /* of bytes */
	size_t whole_len;    /* of the packet, which may be longer */
	uint64_t n_dropped;  /* between the packet before and this one; 0: it is not said */
	const char *comment; /* NULL: none */
};

struct pcapng_counts {
	uint32_t interface;
	uint64_t begin_ns, end_ns;
	uint64_t n_packets, n_dropped;
};

void pcapng_section(FILE *out, const char *application);
/* snaplen: of a packet's bytes; 0: no limit. */
void pcapng_interface(FILE *out, const char *name, const char *description, uint32_t snaplen);
void pcapng_packet(FILE *out, const struct pcapng_packet *packet);
void pcapng_counts(FILE *out, const struct pcapng_counts *counts);

#endif
