/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The shell around the broker: hypervisor events and timers in, rings and records out. It decides
 * nothing about names, policy or channels. Per loop turn each application gets a bounded amount of
 * work, so that none starves the others. The admin socket and main.c include this header; the
 * server calls them only by struct server_ops.
 */
#ifndef MSGD_DAEMON_SHELL_SERVER_H
#define MSGD_DAEMON_SHELL_SERVER_H

#include <event2/event.h>

#include "daemon/broker/broker.h"
#include "hv/hv.h"

struct capture;
struct server;

/* Called in the middle of a turn: the callee must not call the server. */
struct server_ops {
	/* An application of a quiesced domain confirmed or is gone, or a domain was resumed. */
	void (*quiesced)(void *arg);
	/* The history has new events, or a capture has something new. */
	void (*noted)(void *arg);
	/* A record of msgd's own domain is gone from the store. */
	void (*own_record_gone)(void *arg, const char *key);
};

/*
 * Takes hv over on success, and policy; base, ops and arg are borrowed. Lists domains, finds the
 * records that are there, starts the broker's recovery. ret_reason, if set, is a sentence in static
 * storage.
 */
int server_new(struct event_base *base, struct hv *hv, const struct broker_limits *limits,
	struct policy *policy, const struct server_ops *ops, void *arg, struct server **ret_server,
	const char **ret_reason);
/* Lets go of everything; applications see it and wait for the next msgd. */
void server_free(struct server *server);
/* Takes policy over; judges anew. */
void server_set_policy(struct server *server, struct policy *policy);
/* Takes assignments over, which may be NULL. */
void server_set_limits(
	struct server *server, const struct broker_limits *limits, struct assignments *assignments);
/* The program that starts domains; NULL: there is none. -ENOMEM: the former one stays. */
int server_set_start_helper(struct server *server, const char *path);
/* As the broker's; messages to applications are published before they return. */
int server_quiesce(struct server *server, uint16_t domid);
void server_ask_counts(struct server *server);
int server_ping(
	struct server *server, const struct broker_target *target, struct broker_ping *ret_ping);
int server_resume(struct server *server, uint16_t domid);
/* One of the broker's steps on a target. */
int server_steer(struct server *server,
	int (*step)(struct broker *broker, const struct broker_target *target),
	const struct broker_target *target);
/* As capture_new and capture_free (daemon/broker/capture.h). */
int server_capture(struct server *server, const struct broker_target *target, bool payload,
	uint32_t snaplen, struct capture **ret_capture);
void server_end_capture(struct server *server, struct capture *capture);
/* Asks the hypervisor for its domains and tells the broker. Not from within server_ops. */
int server_refresh_domains(struct server *server);

/* As broker_log_about, at any time. */
__attribute__((format(printf, 4, 5))) void server_log(
	struct server *server, uint16_t domid, int priority, const char *format, ...);

/* The same of what a client caused, with an id of message-id.h. */
__attribute__((format(printf, 4, 5))) void server_log_id(
	struct server *server, const char *id, int priority, const char *format, ...);
void server_set_audit(struct server *server, enum broker_audit audit);

/* As broker_note_client, at any time. */
void server_note(struct server *server, enum history_kind kind, uint32_t uid, uint32_t pid,
	int error, const char *text, const char *reason);

/* For looking at. */
struct server_turns {
	uint64_t n;
	uint64_t cpu_ns;	 /* the processor's time of all of them */
	uint64_t longest_cpu_ns; /* of one */
};

void server_turns(const struct server *server, struct server_turns *ret_turns);
struct broker *server_broker(const struct server *server);
uint64_t server_clock_ns(const struct server *server);
/* The hypervisor is gone: the server has left the loop, and nothing can be served. */
bool server_lost(const struct server *server);

#endif
