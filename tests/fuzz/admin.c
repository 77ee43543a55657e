/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A line of an admin client: an op or a sentence, never both. */
#include "daemon/admin.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum admin_op op = ADMIN_OP_COUNT;
	const char *error = NULL;
	int r = admin_request_parse((const char *)data, size, &op, &error);

	FUZZ_CHECK(r == 0 ? op < ADMIN_OP_COUNT : op == ADMIN_OP_COUNT && error);
	return 0;
}
