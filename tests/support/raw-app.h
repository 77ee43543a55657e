/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An application on raw memory: it speaks PROTOCOL.md to msgd through hv.h, without libmsg, and so
 * can say what libmsg never would. For programs that attack msgd; each call ends the program if it
 * cannot do its work.
 */
#ifndef TESTS_SUPPORT_RAW_APP_H
#define TESTS_SUPPORT_RAW_APP_H

#include "hv/hv.h"
#include "proto/control-ring.h"
#include "proto/record.h"
#include "tests/support/must.h"

struct raw_app {
	struct hv *hv; /* borrowed: several applications of a process may share it */
	uint32_t port;
	struct doorbell_page *page;
	void *rings;
	struct hv_share *page_share, *rings_share;
	struct control_ring ring;
	struct record record;
	char key[HV_STORE_KEY_MAX];
	uint32_t next_request;
};

/* Opens SPEC; prints the reason and ends the program if that fails. */
struct hv *raw_hv_open(const char *spec);
/* Shares pages and a port with msgd, and fills page and record with what is true. */
void raw_app_init(struct raw_app *app, struct hv *hv);
/* The same with pages and a port that an agent has made. */
void raw_app_init_parcel(struct raw_app *app, struct hv *hv, struct hv_parcel *parcel);
/* Publishes the record as it is now. */
void raw_app_publish(struct raw_app *app);
/*
 * After the record was published: waits for msgd, says HELLO and waits for the answer, which is
 * left in the ring.
 */
void raw_app_greet(struct raw_app *app, bool reattach);
/* init, publish, greet, and takes WELCOME. */
void raw_app_attach(struct raw_app *app, struct hv *hv, bool reattach);
/* Sleeps until an event of any port of the handle, ten seconds at most. */
void raw_app_wait(struct raw_app *app);
/* Sends the message and rings the doorbell. */
void raw_app_send(struct raw_app *app, const struct control_message *message);
/* Bytes that are no message, past the endpoint. */
void raw_app_put(struct raw_app *app, const void *bytes, uint32_t len);
/* Publishes what was written or read; an event, if msgd sleeps. */
void raw_app_flush(struct raw_app *app);
/* Takes all messages of msgd's that are there, and drops them. */
void raw_app_drain(struct raw_app *app);
/* Whether any message that an application sends, a CONNECT included, would go into the ring now. */
bool raw_app_has_room(struct raw_app *app);
/* Takes the next message of msgd's, waiting for it. */
void raw_app_receive(struct raw_app *app, struct control_message *ret_message);
/* Sends with a request number of its own, and takes messages up to the answer to it. */
void raw_app_ask(
	struct raw_app *app, struct control_message *message, struct control_message *ret_answer);

#endif
