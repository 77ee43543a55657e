/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd's hash tables: uthash (base/hash.h) with SipHash-2-4. Guests choose many of the keys;
 * without a secret they could choose keys that meet in one bucket. daemon/ includes this header,
 * and never base/hash.h alone: a table must be used with one hash function.
 */
#ifndef MSGD_DAEMON_BROKER_HASH_H
#define MSGD_DAEMON_BROKER_HASH_H

#include <stddef.h>
#include <stdint.h>

#ifdef UTHASH_H
#error "another header has chosen the hash function"
#endif

#define KEYED_HASH_KEY_SIZE 16U

/*
 * Sets the key; no table may have an element then. Before the first call the key is zeros, as in
 * unit tests.
 */
void keyed_hash_set_key(const uint8_t key[KEYED_HASH_KEY_SIZE]);
unsigned keyed_hash(const void *bytes, size_t len);

#define HASH_FUNCTION(bytes, len, ret_hash) ((ret_hash) = keyed_hash((bytes), (len)))
#include "base/hash.h"

#endif
