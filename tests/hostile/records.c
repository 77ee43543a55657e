/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes its domain's directory in the store in loops, as fast as the store lets it: records by the
 * dozen that are none, or whose references and ports are invented, and takes them back. Prints
 * "writing" once it has begun, and then works until it is killed. The lab runs it, too.
 *
 *	hostile-records [SPEC]
 */
#include <stdio.h>
#include <string.h>

#include "tests/support/raw-app.h"

#define N_KEYS	  40U
#define N_AT_ONCE 1000U

/* Of the right form, and untrue: msgd has to look at its page. */
static size_t invent(uint32_t n, uint8_t ret_bytes[RECORD_SIZE])
{
	struct record record = {
		.version_min = CONTROL_VERSION, .version_max = CONTROL_VERSION, .port = 1 + n % 64};

	for (uint32_t i = 0; i < CONTROL_PAGES; i++)
		record.refs[i] = 8 + n % 500 + i;
	memcpy(record.nonce, &n, sizeof(n));
	record_encode(&record, ret_bytes);
	return RECORD_SIZE;
}

static void write_one(struct hv *hv, uint32_t n)
{
	uint8_t bytes[RECORD_SIZE] = {0};
	size_t len = 1;
	char key[HV_STORE_KEY_MAX];
	int r;

	(void)snprintf(key, sizeof(key), "k%u", n % N_KEYS);
	if (n % 7 == 0) {
		r = hv->ops->store_remove(hv, HV_DOMID_SELF, key);
	} else {
		if (n % 2)
			len = invent(n, bytes);
		r = hv->ops->store_publish(hv, key, bytes, len);
	}
	must(r == 0 || r == -ENOENT || r == -ENOSPC);
}

int main(int argc, char **argv)
{
	struct hv *hv = raw_hv_open(argc > 1 ? argv[1] : NULL);

	for (uint32_t n = 0;; n++) {
		if (n == N_AT_ONCE) {
			puts("writing");
			(void)fflush(stdout);
		}
		write_one(hv, n);
	}
}
