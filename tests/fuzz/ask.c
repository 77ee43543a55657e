/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The line of `msgio serve`: an answer is within its bounds, or there is a sentence. */
#include <string.h>

#include "libmsg/libmsg.h"
#include "msgio/options/ask.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[ASK_ERROR_SIZE] = "";
	struct ask ask = {.type = -1};

	if (ask_parse((const char *)data, size, &ask, error) < 0) {
		FUZZ_CHECK(ask.type == -1 && *error && memchr(error, '\0', sizeof(error)));
		return 0;
	}
	FUZZ_CHECK(size <= ASK_LINE_MAX && !*error);
	FUZZ_CHECK(*ask.address && memchr(ask.address, '\0', sizeof(ask.address)));
	FUZZ_CHECK(ask.type == LIBMSG_STREAM || ask.type == LIBMSG_SEQPACKET);
	FUZZ_CHECK(
		ask.transport >= LIBMSG_TRANSPORT_ANY && ask.transport <= LIBMSG_TRANSPORT_GRANT);
	FUZZ_CHECK(ask.wait_ms == -1 || ask.wait_ms >= 1000);
	FUZZ_CHECK(ask.backlog >= 1 && ask.backlog <= (int)BACKLOG_MAX);
	return 0;
}
