/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A line of an admin client: an op or a sentence, never both. */
#include "daemon/admin/socket.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct admin_request request = {.op = ADMIN_OP_COUNT};
	const char *error = NULL;
	int r = admin_request_parse((const char *)data, size, &request, &error);

	FUZZ_CHECK(r == 0 ? request.op < ADMIN_OP_COUNT : request.op == ADMIN_OP_COUNT && error);
	if (r == 0) {
		FUZZ_CHECK(memchr(request.domain, '\0', sizeof(request.domain)));
		FUZZ_CHECK(request.timeout_ms <= ADMIN_TIMEOUT_MAX_MS);
	}
	return 0;
}
