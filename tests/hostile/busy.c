/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asks for nothing, as fast as msgd reads: its ring always holds more than one turn takes. Ends by
 * itself after a minute.
 */
#include <time.h>

#include "tests/support/raw-app.h"

int main(void)
{
	struct control_message cancel = {.type = CONTROL_CANCEL};
	time_t until = time(NULL) + 60;
	struct raw_app app;

	raw_app_attach(&app, raw_hv_open(NULL), false);
	printf("attached\n");
	(void)fflush(stdout);
	while (time(NULL) < until) {
		cancel.request = ++app.next_request;
		while (grant_ring_space(&app.ring.tx, 512) >= 512)
			control_ring_send(&app.ring, &cancel);
		raw_app_flush(&app);
	}
	return 0;
}
