/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names and addresses: what splits can be put together again, and fits. */
#include "proto/control.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {.data = data, .left = size};
	char domain[DOMAIN_NAME_SIZE], name[NAME_SIZE], joined[ADDRESS_SIZE];
	char *address = fuzz_string(&input);

	if (address_split(address, domain, name) == 0) {
		FUZZ_CHECK(name_check(name) == 0);
		snprintf(joined, sizeof(joined), "%s%s%s", domain, *domain ? "/" : "", name);
		FUZZ_CHECK(strcmp(joined, address) == 0);
	} else {
		FUZZ_CHECK(name_check(address) < 0);
	}
	if (pattern_split(address, domain, name) == 0) {
		snprintf(joined, sizeof(joined), "%s%s%s", domain, *domain ? "/" : "", name);
		FUZZ_CHECK(strcmp(joined, address) == 0);
	} else {
		FUZZ_CHECK(address_split(address, domain, name) < 0);
	}
	free(address);
	return 0;
}
