/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain that makes msgd remember as much as msgd will: applications, names, connects that wait,
 * links and channels within itself until it is refused, and answers that it does not read. Prints
 * "full: REASON", and stays until it is killed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/macro.h"
#include "tests/support/raw-app.h"

#define APPS	 14   /* the emulator's domain 0 has 1023 ports, for 64 such domains */
#define FLOOD	 300  /* questions of one application */
#define PIPELINE 16   /* connects under way */
#define BACKLOG	 1024 /* channels to one name: it accepts none */

static struct raw_app apps[APPS];
static unsigned n_answers; /* of connects */
static char refusal[REASON_SIZE];

static void answer(struct raw_app *app, const struct control_message *got)
{
	struct control_message message;

	memset(&message, 0, sizeof(message));
	if (got->type == CONTROL_LINK_CREATE) {
		message.type = CONTROL_LINK_OFFER;
		message.link_offer.end = got->link_create.end;
		message.link_offer.port = message.link_offer.doorbell_ref = 7;
		message.link_offer.refs_ref = 8;
	} else if (got->type == CONTROL_LINK_BIND) {
		message.type = CONTROL_LINK_READY;
		message.link_ready.end = got->link_bind.end;
	}
	if (message.type)
		raw_app_send(app, &message);
	n_answers += got->type == CONTROL_CONNECTED || got->type == CONTROL_STATUS;
	if (got->type == CONTROL_STATUS && got->status.error)
		memcpy(refusal, got->status.reason, sizeof(refusal));
}

/* All that has come for the first two applications; waits for something if nothing has. */
static void read_both(void)
{
	bool any = false;

	while (!any) {
		for (struct raw_app *app = apps; app < apps + 2; app++) {
			struct control_message message;
			const char *reason;
			int decoded;

			while (control_ring_receive(&app->ring, &message, &decoded, &reason) > 0) {
				answer(app, &message);
				any = true;
			}
			raw_app_flush(app);
		}
		if (!any && !control_ring_sleep(&apps[0].ring) &&
			!control_ring_sleep(&apps[1].ring))
			raw_app_wait(&apps[0]);
	}
}

static void listen_as(struct raw_app *app, uint32_t n)
{
	struct control_message message = {.type = CONTROL_LISTEN}, status;

	message.listen.listener = n;
	message.listen.type = CHANNEL_SEQPACKET;
	message.listen.backlog = BACKLOG;
	(void)snprintf(message.listen.name, sizeof(message.listen.name), "name-%u", n);
	raw_app_ask(app, &message, &status);
	must(status.type == CONTROL_STATUS && status.status.error == 0);
}

static void connect_to(struct raw_app *app, uint32_t flags, const char *address)
{
	struct control_message message = {.type = CONTROL_CONNECT};

	message.request = app->next_request++;
	message.connect.type = CHANNEL_SEQPACKET;
	message.connect.flags = flags;
	(void)snprintf(message.connect.address, sizeof(message.connect.address), "%s", address);
	raw_app_send(app, &message);
}

/* Connects that wait; there is no answer to any. */
static void wait_for_names(struct raw_app *app)
{
	for (uint32_t n = 0; n < 256; n++)
		connect_to(app, CONNECT_WAIT_NAME, "nowhere/at-all");
	while (!control_ring_is_idle(&app->ring)) {
		raw_app_wait(app);
		raw_app_flush(app);
	}
}

/* From the second application to names of the first, until no more are had. */
static void connect_all(const char *own)
{
	char address[ADDRESS_SIZE];

	for (unsigned n = 0; !refusal[0];) {
		n_answers = 0;
		for (unsigned i = 0; i < PIPELINE; i++, n++) {
			(void)snprintf(
				address, sizeof(address), "%s/name-%u", own, 1 + n / (BACKLOG / 2));
			connect_to(&apps[1], 0, address);
		}
		while (n_answers < PIPELINE)
			read_both();
	}
}

/* Questions whose answers nobody reads. */
static void ask_and_ask(struct raw_app *app)
{
	struct control_message sync = {.type = CONTROL_SYNC};

	for (unsigned i = 0; i < FLOOD; i++) {
		sync.request = app->next_request++;
		raw_app_send(app, &sync);
	}
}

int main(int argc, char **argv)
{
	struct hv *hv = raw_hv_open(NULL);

	must(argc == 2);
	for (unsigned i = 0; i < APPS; i++)
		raw_app_attach(&apps[i], hv, false);
	for (uint32_t n = 1; n <= 256; n++)
		listen_as(&apps[0], n);
	wait_for_names(&apps[2]);
	connect_all(argv[1]);
	for (unsigned i = 3; i < APPS; i++)
		ask_and_ask(&apps[i]);
	printf("full: %s\n", refusal);
	fflush(stdout);
	for (;;)
		pause();
}
