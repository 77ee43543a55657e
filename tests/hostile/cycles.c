/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Links to a listener that does not read now, made and failed over and over: CONNECT, LINK_OFFER,
 * LINK_FAILED. Prints how many were made, how many were refused, and the last refusal.
 *
 *	hostile-cycles ADDRESS [CYCLES]
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/raw-app.h"

#define CYCLES 12000U /* before this was limited, some 9400 were enough */

static void give_up(struct raw_app *app, uint32_t end)
{
	struct control_message offer = {.type = CONTROL_LINK_OFFER};
	struct control_message failed = {.type = CONTROL_LINK_FAILED};

	offer.link_offer.end = failed.link_failed.end = end;
	offer.link_offer.port = offer.link_offer.doorbell_ref = 7;
	offer.link_offer.refs_ref = 8;
	failed.link_failed.error = EIO;
	raw_app_send(app, &offer);
	raw_app_send(app, &failed);
}

/* True: it was made, and given up. */
static bool cycle(struct raw_app *app, const char *address, char ret_reason[REASON_SIZE])
{
	struct control_message message = {.type = CONTROL_CONNECT};
	uint32_t request = app->next_request++;
	bool made = false;

	message.request = request;
	message.connect.type = CHANNEL_SEQPACKET;
	(void)snprintf(message.connect.address, sizeof(message.connect.address), "%s", address);
	raw_app_send(app, &message);
	for (;;) {
		raw_app_receive(app, &message);
		if (message.type == CONTROL_LINK_CREATE) {
			made = true;
			give_up(app, message.link_create.end);
		}
		if (message.request == request)
			break;
	}
	must(message.type == CONTROL_STATUS && message.status.error);
	if (!made)
		memcpy(ret_reason, message.status.reason, REASON_SIZE);
	return made;
}

int main(int argc, char **argv)
{
	char reason[REASON_SIZE] = "";
	struct raw_app app;
	unsigned n_cycles = CYCLES, n_made = 0;

	must(argc == 2 || argc == 3);
	if (argc == 3)
		n_cycles = (unsigned)atoi(argv[2]);
	raw_app_attach(&app, raw_hv_open(NULL), false);
	for (unsigned i = 0; i < n_cycles; i++)
		n_made += cycle(&app, argv[1], reason);
	printf("done: %u made, %u refused: %s\n", n_made, n_cycles - n_made, reason);
	fflush(stdout);
	for (;;)
		pause();
}
