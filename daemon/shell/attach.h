/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a record in the store to an attached application (PROTOCOL.md 2), and back. A record is a
 * claim by a domain: a claim that is not true deletes the record, and nothing that it names is
 * touched.
 *
 * The table owns the attached applications; only the server includes this header. An attach calls
 * the hypervisor and the broker, and never the server: it does its work in attach_turn and tells
 * the loop, by the server's turn event, that a turn is due.
 */
#ifndef MSGD_DAEMON_SHELL_ATTACH_H
#define MSGD_DAEMON_SHELL_ATTACH_H

#include <event2/event.h>

#include "daemon/broker/broker.h"
#include "hv/hv.h"

struct attach;
struct attach_table;

/* Everything is borrowed and outlives the table. -ENOMEM. */
int attach_table_new(struct event_base *base, struct hv *hv, struct broker *broker,
	struct event *turn_event, struct attach_table **ret_table);
/* Lets go of every application. The records stay. The broker must be freed before. */
void attach_table_free(struct attach_table *table);

/* The store says so: a new record, another one under the key, or (len 0) one that is gone. */
void attach_record(struct attach_table *table, const struct hv_record *record, bool found);
/* The domain is quiesced no more: deletes its parked records, which tells their applications. */
void attach_unpark(struct attach_table *table, uint16_t domid);
/* An event arrived on this local port, which is now masked. */
void attach_port_event(struct attach_table *table, uint32_t port);

/* Gives each application that has something to do a bounded turn, once. */
void attach_turn(struct attach_table *table);
/*
 * Publishes all that was sent, sends events to the sleepers, then frees those that are gone. True:
 * an application has something to do, and a turn is due.
 */
bool attach_publish(struct attach_table *table);

/* The hypervisor is gone: a call said -ENODEV. */
bool attach_lost(const struct attach_table *table);

/*
 * The broker's effects on one application, in the form of struct broker_ops: peer is an attach. A
 * dropped application's record goes at once, its memory with the next attach_publish.
 */
void attach_look(void *arg, void *peer);
bool attach_send(void *arg, void *peer, const struct control_message *message);
void attach_unsent(void *arg, void *peer, const char *reason);
void attach_dropped(void *arg, void *peer, const char *reason);

#endif
