/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Announces links and channels without end: first as an application that has just come, then, when
 * msgd has been started anew, as one that was there before. Prints "newcomer" and "returned".
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/raw-app.h"

#define LINKS	 20000U
#define CHANNELS 20000U

/* Takes what there is, and goes on until all of its own is said. */
static void say_all(struct raw_app *app)
{
	struct control_message message;
	const char *reason;
	int decoded;

	for (;;) {
		while (control_ring_receive(&app->ring, &message, &decoded, &reason) > 0)
			;
		raw_app_flush(app);
		if (control_ring_is_idle(&app->ring))
			return;
		if (!control_ring_sleep(&app->ring))
			raw_app_wait(app);
	}
}

static void announce_link(struct raw_app *app, uint32_t n)
{
	struct control_message message = {.type = CONTROL_ANNOUNCE_LINK};

	message.announce_link.end = n;
	message.announce_link.uid = n;
	message.announce_link.peer_domid = (uint16_t)(n % 8);
	message.announce_link.transport = TRANSPORT_GRANT;
	message.announce_link.role = n % 2;
	message.announce_link.state = 1;
	raw_app_send(app, &message);
}

static void announce_channel(struct raw_app *app, uint32_t n)
{
	struct control_message message = {.type = CONTROL_ANNOUNCE_CHANNEL};

	message.announce_channel.end = 1 + n % 100;
	message.announce_channel.channel = 1 + n / 100;
	message.announce_channel.type = CHANNEL_SEQPACKET;
	message.announce_channel.listener = n % 2;
	(void)snprintf(
		message.announce_channel.name, sizeof(message.announce_channel.name), "n%u", n);
	raw_app_send(app, &message);
}

static void announce_all(struct raw_app *app, const char *what)
{
	for (uint32_t n = 1; n <= LINKS; n++) {
		announce_link(app, n);
		if (n % 16 == 0)
			say_all(app);
	}
	for (uint32_t n = 1; n <= CHANNELS; n++) {
		announce_channel(app, n);
		if (n % 16 == 0)
			say_all(app);
	}
	say_all(app);
	printf("%s\n", what);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct raw_app app;
	uint32_t epoch;

	raw_app_attach(&app, raw_hv_open(NULL), true);
	epoch = atomic_load(&app.page->epoch);
	announce_all(&app, "newcomer");
	while (atomic_load(&app.page->epoch) == epoch)
		raw_app_wait(&app);
	say_all(&app);
	raw_app_greet(&app, true);
	announce_all(&app, "returned");
	for (;;)
		pause();
}
