/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Prints the records of the emulator's store: domid, key, length. With DOMID, removes that
 * domain's, behind the back of everybody.
 *
 *	store-list SPEC [DOMID]
 */
#include <stdio.h>
#include <stdlib.h>

#include "hv/hv.h"

int main(int argc, char **argv)
{
	struct hv_record record;
	struct hv *hv;
	int r = 0;

	if (argc < 2 || hv_open(argv[1], &hv, NULL) < 0 || hv->ops->store_watch(hv) < 0)
		return 1;
	while ((r = hv->ops->store_next(hv, &record)) == 1) {
		printf("%u %s %zu\n", record.domid, record.key, record.len);
		if (argc > 2 && record.len && record.domid == strtoul(argv[2], NULL, 10) &&
			hv->ops->store_remove(hv, record.domid, record.key) < 0)
			return 1;
	}
	hv_close(hv);
	return r < 0;
}
