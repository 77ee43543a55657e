/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msgd.conf: a configuration that is accepted is within its limits. */
#include "base/report.h"
#include "daemon/config.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {.data = data, .left = size};
	struct report report = {.n = 0};
	char *text = fuzz_string(&input);
	struct config config;

	config_init(&config);
	if (config_parse(&config, "f", text, &report) == 0) {
		uint32_t pages = config.limits.ring_pages;

		FUZZ_CHECK(pages >= 1 && pages <= LINK_RING_PAGES_MAX && !(pages & (pages - 1)));
		pages = config.limits.argo_ring_pages;
		FUZZ_CHECK(pages >= 1 && LINK_ARGO_RING_LEN(pages) <= LINK_ARGO_RING_LEN_MAX);
		FUZZ_CHECK(config.limits.backlog >= 1 && config.limits.backlog <= BACKLOG_MAX);
		FUZZ_CHECK(config.limits.quota[QUOTA_PROCESSES] >= 1 &&
			   config.limits.quota[QUOTA_REQUESTS] >= 1);
	} else {
		FUZZ_CHECK(report.n && strncmp(report.lines[0], "f:", 2) == 0);
	}
	config_fini(&config);
	free(text);
	return 0;
}
