/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The broker: who may talk to whom, and the introductions between them, as a pure state machine.
 * Events come in by the functions below; effects go out through struct broker_ops. It owns no
 * descriptor, clock, libevent or hypervisor type, so that unit tests and fuzzers run it unchanged.
 * It must never block on, assert on, or allocate without bound for, what a guest says.
 *
 * One thread. An effect must not call back into the broker, but for broker_process_peer.
 */
#ifndef MSGD_DAEMON_BROKER_BROKER_H
#define MSGD_DAEMON_BROKER_BROKER_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/policy/policy.h"
#include "proto/control.h"

struct broker;
struct process; /* one attached application; see broker_attach */

enum broker_domain_state {
	BROKER_DOMAIN_RUNNING = 1,
	BROKER_DOMAIN_SUSPENDED, /* not dead: it will come back */
	BROKER_DOMAIN_CRASHED,
	BROKER_DOMAIN_DYING,
};

struct broker_domain_info {
	uint16_t domid;
	enum broker_domain_state state;
	bool paused;
	uint64_t generation;
	uint8_t uuid[16];
	char name[DOMAIN_NAME_SIZE];
};

/* What one domain may make msgd remember: proto/limits.h has the reasons, msgd.conf changes them.
 */
struct broker_limits {
	uint32_t processes;
	uint32_t names;
	uint32_t channels;	  /* charged to the caller's domain */
	uint32_t links;		  /* charged to the creator's domain */
	uint32_t requests;	  /* CONNECTs that wait, and LISTENs after a restart */
	uint32_t ends;		  /* of links, made by either side */
	uint32_t announced;	  /* channels that one end announced and the other has not yet */
	uint32_t backlog;	  /* of one listener */
	uint32_t ring_pages;	  /* grant links: pages a direction, a power of two */
	uint32_t argo_ring_pages; /* Argo links: pages of each end's ring */
};

struct broker_ops {
	/* Queues a message to the application. Never fails: the shell bounds what it keeps. */
	void (*send)(void *arg, void *peer, const struct control_message *message);
	/*
	 * The application is to be dropped: its record deleted, its port closed. `process` is
	 * gone when this returns to the broker's caller; peer is not named again.
	 */
	void (*drop)(void *arg, void *peer, const char *reason);
	/* Whether so much waits for this application that nobody else may add to it. */
	bool (*congested)(void *arg, void *peer);
	/* A quiesced domain goes on: its applications' parked records are to be deleted. */
	void (*resumed)(void *arg, uint16_t domid);
	/* Of a quiesced domain an application has confirmed or gone; or it is quiesced no more. */
	void (*quiesced)(void *arg, uint16_t domid);
	/* Calls broker_tick at this time, instead of any time said before; 0: never. */
	void (*timer)(void *arg, uint64_t at_ns);
	/* One line for the log; priority as in <syslog.h>. */
	void (*log)(void *arg, int priority, const char *text);
};

struct broker_stats {
	uint64_t attached, connected, refused, failed, reset, dropped, links_made;
};

void broker_limits_default(struct broker_limits *ret_limits);

/*
 * ops and policy are borrowed and outlive the broker (policy: until the next broker_set_policy).
 * uid_seed: random, so that the uids of two lives of msgd do not meet. -ENOMEM.
 */
int broker_new(const struct broker_ops *ops, void *arg, const struct broker_limits *limits,
	const struct policy *policy, uint64_t uid_seed, struct broker **ret_broker);

/* Forgets everything without telling anybody (msgd ends: applications wait for its return). */
void broker_free(struct broker *broker);

/* The time of the events that follow, in nanoseconds, monotonic. */
void broker_set_now(struct broker *broker, uint64_t now_ns);

/* What stands is judged again: waiting requests, channels, links. */
void broker_set_policy(struct broker *broker, const struct policy *policy);
/* New limits count for new charges; nothing that stands is taken away. */
void broker_set_limits(struct broker *broker, const struct broker_limits *limits);

/* Whether the domain was in the last list of domains, and was alive. */
bool broker_has_domain(struct broker *broker, uint16_t domid);

/* All domains that there are now. Applications of domains gone, crashed or dying are dropped. */
void broker_domains(struct broker *broker, const struct broker_domain_info *infos, size_t n);

/* A line about a domain: of those that are there, each has only so many in a time (limits.h). */
__attribute__((format(printf, 4, 5))) void broker_log_about(
	struct broker *broker, uint16_t domid, int priority, const char *format, ...);

/*
 * msgd has just started and found n records of applications that were there before it: lookups
 * and first LISTENs wait for each of them to announce, be gone, or be lost; 2 s at most.
 */
void broker_recover(struct broker *broker, uint32_t n_records);
/* One of them will never attach. */
void broker_record_lost(struct broker *broker);

/*
 * An application's control pages are mapped. epoch is what its HELLO must say. found: it is one of
 * those counted by broker_recover. Quotas are a matter of its HELLO. -ESRCH: no such domain;
 * -ENOMEM.
 */
int broker_attach(struct broker *broker, uint16_t domid, uint32_t epoch, void *peer, bool found,
	struct process **ret_process);

/* The application died or left. Frees process; ops->drop is not called. */
void broker_gone(struct process *process, const char *reason);

/*
 * A control message, and what control_decode said of it (0, -EOPNOTSUPP or -EBADMSG). 0, or
 * -ECONNRESET: it broke the protocol, ops->drop was called, process is freed.
 */
int broker_message(struct process *process, const struct control_message *message, int decoded);

/* Something else than a message arrived (a bad frame, counters out of range). Always drops. */
void broker_violation(struct process *process, const char *reason);

/*
 * PROTOCOL.md 5.5. Every application of the domain is told to give everything back, now and when
 * it attaches later, until broker_resume or until the domain is seen running after it was seen
 * suspended. -ESRCH; -EPERM: domain 0.
 */
int broker_quiesce(struct broker *broker, uint16_t domid);
/* -ESRCH; -EALREADY: it is not quiesced. */
int broker_resume(struct broker *broker, uint16_t domid);
bool broker_is_quiesced(struct broker *broker, uint16_t domid);
/* It is, and an application of it has not confirmed yet. */
bool broker_quiesce_pending(struct broker *broker, uint16_t domid);
/*
 * A quiesced domain is suspended: that it goes on, where it was, is told by no event of real Xen.
 */
bool broker_resume_expected(const struct broker *broker);
/* Whether this application was told to: then its letting go is broker_parked, not broker_gone. */
bool broker_is_quiescing(const struct process *process);
/* It has given everything back. Frees process; ops->drop is not called. */
void broker_parked(struct process *process);
/* At start: a parked record. Its domain is taken for quiesced. */
void broker_parked_found(struct broker *broker, uint16_t domid);

/*
 * The domain that a person names, as in addresses (PROTOCOL.md). -EINVAL: no such form; -ESRCH;
 * -ENOTUNIQ: several have that name.
 */
int broker_find_domain(struct broker *broker, const char *text, uint16_t *ret_domid);

/* The time asked for by ops->timer has come. */
void broker_tick(struct broker *broker);

/* For logs: "web(3) pid 17 (echo)", as the application calls itself. */
void process_describe(const struct process *process, char *ret_text, size_t size);

#define PROCESS_TEXT_SIZE 224U

#endif
