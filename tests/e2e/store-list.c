/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Prints the records of the emulator's store: domid, key, length.
 *
 *	store-list SPEC
 */
#include <stdio.h>

#include "hv/hv.h"

int main(int argc, char **argv)
{
	struct hv_record record;
	struct hv *hv;
	int r = 0;

	if (argc != 2 || hv_open(argv[1], &hv, NULL) < 0 || hv->ops->store_watch(hv) < 0)
		return 1;
	while ((r = hv->ops->store_next(hv, &record)) == 1)
		printf("%u %s %zu\n", record.domid, record.key, record.len);
	hv_close(hv);
	return r < 0;
}
