/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The loads that channels and links have carried, by the words of their ends (PROTOCOL.md 5.8). An
 * application's words are believed for itself and its domain, and no sum goes back, whatever it
 * says. Only the broker, admin/ and their tests include this header.
 */
#ifndef MSGD_DAEMON_BROKER_COUNTS_H
#define MSGD_DAEMON_BROKER_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/control.h"

struct broker;
struct broker_channel;
struct process;

/* No application is asked more often. One answer of a process with 10,000 channels is 800 KB. */
#define COUNTS_ASK_NS UINT64_C(1000000000)

/* Sums over channels, of their ends in one place. */
struct traffic {
	uint64_t tx_messages, tx_bytes, rx_messages, rx_bytes, drops, no_credit, no_room;
};

/* The last words of an end about a channel. */
struct channel_counts {
	bool known; /* they count from the last ones on */
	struct control_counts last;
};

/* An end's new words about the channel; is_over: its last ones. */
void counts_note(struct broker_channel *channel, unsigned end, const struct control_counts *counts,
	bool is_over);
/* For an ASK: not 0. */
uint32_t counts_next_token(struct broker *broker);
/* The process ends, or has answered. */
void counts_not_asked(struct process *process);
/* LINK_COUNTS, ANSWER. -EPROTO. */
int counts_message(struct process *process, const struct control_message *message);

#endif
