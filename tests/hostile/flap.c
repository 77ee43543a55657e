/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain whose names come and go as fast as msgd takes them, and that watches for all names as
 * often as it may: half of its watches belong to an application that never reads.
 *
 *	flap N   has N names come and go, prints "done", and waits to be killed
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/limits.h"
#include "tests/support/raw-app.h"

/* Waits for room; meanwhile one that reads does. */
static void await_room(struct raw_app *app, struct raw_app *reads)
{
	raw_app_flush(app);
	while (!raw_app_has_room(app)) {
		raw_app_drain(reads);
		raw_app_flush(reads);
	}
}

static void watch_all(struct raw_app *app, unsigned n, struct raw_app *reads)
{
	for (uint32_t i = 1; i <= n; i++) {
		struct control_message message = {
			.type = CONTROL_WATCH, .request = app->next_request++};

		message.watch.watch = i;
		message.watch.pattern[0] = '*';
		await_room(app, reads);
		control_ring_send(&app->ring, &message);
	}
	raw_app_flush(app);
}

static void send_listen(struct raw_app *app, uint32_t handle, unsigned n, struct raw_app *reads)
{
	struct control_message message = {.type = CONTROL_LISTEN, .request = app->next_request++};

	message.listen.listener = handle;
	message.listen.type = CHANNEL_SEQPACKET;
	message.listen.backlog = 1;
	(void)snprintf(message.listen.name, sizeof(message.listen.name), "name-%u", n);
	await_room(app, app);
	raw_app_drain(reads);
	raw_app_flush(reads);
	control_ring_send(&app->ring, &message);
}

static void send_unlisten(struct raw_app *app, uint32_t handle)
{
	struct control_message message = {.type = CONTROL_UNLISTEN, .request = app->next_request++};

	message.unlisten.listener = handle;
	await_room(app, app);
	control_ring_send(&app->ring, &message);
}

int main(int argc, char **argv)
{
	static struct raw_app reads, never, flaps;
	struct hv *hv = raw_hv_open(NULL);
	unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;

	setvbuf(stdout, NULL, _IOLBF, 0);
	raw_app_attach(&reads, hv, false);
	raw_app_attach(&never, hv, false);
	raw_app_attach(&flaps, hv, false);
	watch_all(&reads, DOMAIN_WATCHES_MAX / 2, &reads);
	watch_all(&never, DOMAIN_WATCHES_MAX / 2, &reads);
	for (uint32_t i = 1; i < DOMAIN_NAMES_MAX; i++)
		send_listen(&flaps, i, i, &reads);
	for (unsigned i = 0; i < n; i++) {
		send_listen(&flaps, DOMAIN_NAMES_MAX, DOMAIN_NAMES_MAX + i, &reads);
		send_unlisten(&flaps, DOMAIN_NAMES_MAX);
	}
	raw_app_flush(&flaps);
	printf("done\n");
	for (;;)
		(void)pause();
}
