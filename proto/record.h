/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rendezvous record that an application publishes in the store: PROTOCOL.md, section 2. */
#ifndef MSGD_PROTO_RECORD_H
#define MSGD_PROTO_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/limits.h"

#define RECORD_MAGIC	    0x4447534dU /* "MSGD", little-endian */
#define RECORD_SIZE	    (32U + 4U * CONTROL_PAGES)
#define RECORD_PARKED_MAGIC 0x5147534dU /* "MSGQ" */
#define RECORD_PARKED_SIZE  24U
#define NONCE_SIZE	    16U
#define CONTROL_VERSION	    1U
#define CONTROL_VERSION_MIN 1U

struct record {
	uint16_t version_min;
	uint16_t version_max;
	uint8_t nonce[NONCE_SIZE];
	uint32_t port; /* unbound for the broker's domain */
	uint32_t refs[CONTROL_PAGES];
};

/* Writes exactly RECORD_SIZE bytes. */
void record_encode(const struct record *record, uint8_t ret_bytes[RECORD_SIZE]);

/*
 * -EBADMSG: wrong magic, length, reserved bytes, a port of 0, or a reference twice;
 * -EPROTONOSUPPORT: no version in common (or an empty range).
 */
int record_decode(const void *bytes, size_t len, struct record *ret_record);

/*
 * The parked record, which a quiesced application leaves in the place of its record: only versions
 * and nonce count. Writes exactly RECORD_PARKED_SIZE bytes.
 */
void record_parked_encode(const struct record *record, uint8_t ret_bytes[RECORD_PARKED_SIZE]);

/* -EBADMSG, -EPROTONOSUPPORT as above. Sets versions and nonce, and nothing else. */
int record_parked_decode(const void *bytes, size_t len, struct record *ret_record);

#endif
