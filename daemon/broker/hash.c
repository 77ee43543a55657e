/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hash function of msgd's tables: see the header. */
#include "daemon/broker/hash.h"

#include <sodium/crypto_shorthash.h>
#include <string.h>

_Static_assert(KEYED_HASH_KEY_SIZE == crypto_shorthash_KEYBYTES, "SipHash's key");

static uint8_t secret[KEYED_HASH_KEY_SIZE];

void keyed_hash_set_key(const uint8_t key[KEYED_HASH_KEY_SIZE])
{
	memcpy(secret, key, sizeof(secret));
}

unsigned keyed_hash(const void *bytes, size_t len)
{
	uint8_t hash[crypto_shorthash_BYTES];
	unsigned value;

	(void)crypto_shorthash(hash, bytes, len, secret);
	memcpy(&value, hash, sizeof(value));
	return value;
}
