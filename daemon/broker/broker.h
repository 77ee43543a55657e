/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The broker decides which processes may talk to each other, and introduces them. It is a pure
 * state machine: events come in by the functions below, and effects go out through struct
 * broker_ops. It owns no descriptor, clock, libevent or hypervisor type, so that unit tests and
 * fuzzers run it unchanged. A guest's words must never make it block, fail an assertion, or
 * allocate without bound. The shell, admin/ and tests include this header.
 *
 * One thread. An effect must not call back into the broker.
 */
#ifndef MSGD_DAEMON_BROKER_BROKER_H
#define MSGD_DAEMON_BROKER_BROKER_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/broker/history.h"
#include "daemon/policy/policy.h"
#include "proto/control.h"

struct assignments;
struct broker;
struct process; /* one attached application; see broker_attach */

/* A domain's tags in the store with the final NUL, as hv.h has it. */
#define BROKER_TAGS_SIZE 1024U

enum broker_domain_state {
	BROKER_DOMAIN_RUNNING = 1,
	BROKER_DOMAIN_SUSPENDED, /* not dead: it may go on */
	BROKER_DOMAIN_CRASHED,
	BROKER_DOMAIN_DYING,
};

struct broker_domain_info {
	uint16_t domid;
	enum broker_domain_state state;
	bool paused;
	uint64_t generation;
	uint8_t uuid[16];
	char name[DOMAIN_NAME_SIZE]; /* empty: it could not be read */
	bool tags_unknown;	     /* they could not be read; `tags` is empty */
	char tags[BROKER_TAGS_SIZE]; /* that the store has, separated by blanks */
};

/* The things that a domain may have so many of. */
enum quota {
	QUOTA_PROCESSES,
	QUOTA_NAMES,
	QUOTA_CHANNELS,	 /* charged to the caller's domain */
	QUOTA_LINKS,	 /* charged to the creator's domain */
	QUOTA_REQUESTS,	 /* CONNECTs that wait, and LISTENs after a restart */
	QUOTA_ENDS,	 /* of links: both charged to the creator's domain, once it is known */
	QUOTA_ANNOUNCED, /* channels that the listener's end alone knows: charged to its domain */
	QUOTA_WATCHES,
	QUOTA_COUNT,
};

/*
 * The limits on what msgd remembers for one domain. proto/limits.h has the reasons; msgd.conf
 * changes the values.
 */
struct broker_limits {
	uint32_t quota[QUOTA_COUNT];
	uint32_t bytes;		  /* of all objects and waiting messages that the domain pays for */
	uint32_t backlog;	  /* of one listener */
	uint32_t ring_pages;	  /* grant links: pages a direction, a power of two */
	uint32_t argo_ring_pages; /* Argo links: pages of each end's ring */
};

/* A program to be run, and what it is to be told. All is borrowed, for the call. */
struct broker_program {
	const char *path; /* NULL: the helper that starts domains: `to` has a name */
	uint32_t timeout_s;
	const char *name; /* that the caller connects to */
	struct policy_subject from, to;
	const char *rule; /* "FILE:LINE" */
};

enum broker_answer_result {
	BROKER_ANSWER_ALLOW, /* a helper: the domain is started */
	BROKER_ANSWER_DENY,
	BROKER_ANSWER_NONE, /* it failed, or there was no answer in time: the reason says why */
};

struct broker_answer {
	enum broker_answer_result result;
	uint32_t cache_s;
	char reason[REASON_SIZE]; /* printable, or "" */
};

/* A line of the log is about: all is borrowed, for the call. */
struct broker_line {
	const char *id; /* of message-id.h; NULL: of no kind that has one */
	bool audit;	/* an audit record: it is written at any level of the log */
	const struct history_event *event; /* or NULL */
	const char *rule;		   /* of the policy, "FILE:LINE", or NULL */
	const char *transport;		   /* or NULL */
	const char *reason;		   /* beside the event's; or NULL */
};

/* Of the decisions about which no rule says log=. */
enum broker_audit {
	BROKER_AUDIT_NONE,
	BROKER_AUDIT_REFUSED,
	BROKER_AUDIT_ALL,
};

struct broker_ops {
	/*
	 * Writes a message into the application's ring. False: the ring has no room now, and
	 * broker_flush is to be called when it has.
	 */
	bool (*send)(void *arg, void *peer, const struct control_message *message);
	/*
	 * A message to the application is lost: broker_violation is to be called, not from here,
	 * with this reason, which is in static storage.
	 */
	void (*unsent)(void *arg, void *peer, const char *reason);
	/*
	 * The application is to be dropped: its record deleted, its port closed. When the broker's
	 * entry point returns, the process is freed; peer is not named again.
	 */
	void (*drop)(void *arg, void *peer, const char *reason);
	/* A quiesced domain goes on: its applications' parked records are to be deleted. */
	void (*resumed)(void *arg, uint16_t domid);
	/*
	 * An application of a quiesced domain has confirmed or is gone, or the domain is quiesced
	 * no more.
	 */
	void (*quiesced)(void *arg, uint16_t domid);
	/*
	 * Runs a program: broker_answered is to be called at most once for this id, and then, in
	 * any case, broker_program_ended. Neither from here. Or a negative errno, and neither:
	 * -EDESTADDRREQ: there is no helper that starts domains.
	 */
	int (*run)(void *arg, uint64_t id, const struct broker_program *program);
	/* Nobody waits for its answer any more: it is to be ended. */
	void (*stop)(void *arg, uint64_t id);
	/* Reads the application's ring in a next turn, though no event has come. */
	void (*look)(void *arg, void *peer);
	/* Calls broker_tick at this time, instead of any time said before; 0: never. */
	void (*timer)(void *arg, uint64_t at_ns);
	/* One line for the log; priority as in <syslog.h>. */
	void (*log)(void *arg, int priority, const struct broker_line *line, const char *text);
};

struct broker_stats {
	uint64_t attached, connected, refused, failed, reset, dropped, links_made;
};

void broker_limits_default(struct broker_limits *ret_limits);

/*
 * ops and policy are borrowed and outlive the broker (policy: until the next broker_set_policy).
 * The broker says to the policy which conditions hold, and counts its rules' hits. uid_seed:
 * random, so that the uids of two lives of msgd do not meet. -ENOMEM.
 */
int broker_new(const struct broker_ops *ops, void *arg, const struct broker_limits *limits,
	struct policy *policy, uint64_t uid_seed, struct broker **ret_broker);

/* The bytes that all domains pay for. */
uint64_t broker_bytes(const struct broker *broker);

/* The administrator's blocks and drains end with msgd: says which, before broker_free. */
void broker_log_steps(struct broker *broker);

/*
 * Asks the applications what their links and channels have carried, at most once a second: the
 * answers come when they next are in a call of libmsg.
 */
void broker_ask_counts(struct broker *broker);
/* So many of them have not answered yet. */
uint32_t broker_counts_pending(const struct broker *broker);
/* When they were last asked; 0: never. */
uint64_t broker_counts_asked_ns(const struct broker *broker);

/* An application that a client waits for, and its ASK from which an answer counts. */
struct broker_ping {
	uint16_t domid;
	uint32_t pid;
	char comm[COMM_SIZE];
	uint64_t process, ask; /* serials */
	uint64_t since_ns;
};

/* An answer: how long it took to ask, and to answer. */
struct broker_pong {
	uint64_t queue_ns, answer_ns;
};

struct broker_target;
/*
 * Asks the application that holds the name, or that says that it is the process: of several, the
 * one that attached first. -ESRCH, -ENOENT and -EADDRNOTAVAIL as the steps below; -EAGAIN: it is
 * not served now; -EOPNOTSUPP: its libmsg knows no ASK.
 */
int broker_ping(
	struct broker *broker, const struct broker_target *target, struct broker_ping *ret_ping);
/* 1: it has answered. 0: not yet. -ENOENT: it is gone. */
int broker_ping_look(
	struct broker *broker, const struct broker_ping *ping, struct broker_pong *ret_pong);
/* Answers so far, and applications that ended instead: when it changes, look. */
uint64_t broker_pings_over(const struct broker *broker);

/* Another number when a capture has something new to be read (capture.h). */
uint64_t broker_captured(const struct broker *broker);

/* Forgets everything and tells nobody: msgd ends, and applications wait for its return. */
void broker_free(struct broker *broker);

/* The time of the events that follow, in nanoseconds, monotonic. */
void broker_set_now(struct broker *broker, uint64_t now_ns);
/* The time of day, in microseconds since 1970: people find events by it. */
void broker_set_wall(struct broker *broker, uint64_t wall_us);

/*
 * From now on, work without a bound that an event leaves waits for broker_work: requests that can
 * go on, channels to be judged again or freed, processes of a domain that ended. Without this call
 * each event does it all before it returns, as tests like it.
 */
void broker_set_work_later(struct broker *broker);
/* Does work up to this cost and the last portion's. Domains take turns. True: there is more. */
bool broker_work(struct broker *broker, uint64_t cost);
bool broker_work_left(const struct broker *broker);
/*
 * The cost of all that the broker has done so far, in units of some ten nanoseconds. It is counted,
 * not measured, so it is the same in each run. broker_spend adds what the caller did.
 */
uint64_t broker_cost(const struct broker *broker);
void broker_spend(struct broker *broker, uint64_t cost);

/* Judges waiting requests, channels, links and names again. The former policy is not used again. */
void broker_set_policy(struct broker *broker, struct policy *policy);
/* Names and channels that were found to be not permitted any more since broker_set_policy. */
struct broker_judged {
	uint64_t names, channels;
};

/* Whether all were judged again. */
bool broker_judged(const struct broker *broker, struct broker_judged *ret_judged);
/* The policy in force. */
const struct policy *broker_policy(const struct broker *broker);
/*
 * New limits count for new charges; nothing is taken away. No domain has its own any more.
 * assignments: some domains get tags, and other limits than all have. Borrowed until the next call;
 * NULL: none do. Where tags change, everything is judged again.
 */
void broker_set_limits(struct broker *broker, const struct broker_limits *limits,
	const struct assignments *assignments);
/* Of a domain that is not known: what all have. */
uint32_t broker_limit(struct broker *broker, uint16_t domid, enum quota quota);

/* As lines of the log name it; "domain", if it is not known. Until the next list of domains. */
const char *broker_domain_name(struct broker *broker, uint16_t domid);

/* Whether the domain was in the last list of domains, and was alive. */
bool broker_has_domain(struct broker *broker, uint16_t domid);

/* All domains that there are now. Applications of domains gone, crashed or dying are dropped. */
void broker_domains(struct broker *broker, const struct broker_domain_info *infos, size_t n);

/* In the place of a domid, of broker_log_about: clients of the admin socket. No domain has it. */
#define BROKER_LOG_CLIENTS 0xffffU
/*
 * Logs a line that a domain caused, or an admin client. Each domain has only so many lines in a
 * time, so have the clients together, domains that are not listed together, and all of them
 * (limits.h). An effect may call it.
 */
__attribute__((format(printf, 4, 5))) void broker_log_about(
	struct broker *broker, uint16_t domid, int priority, const char *format, ...);
/* The same of a line that has an id. Without an event it is about the domain. */
__attribute__((format(printf, 5, 6))) void broker_log_line(struct broker *broker, uint16_t domid,
	int priority, const struct broker_line *line, const char *format, ...);

/* The events so far, for looking at. */
const struct history *broker_history(const struct broker *broker);
/* Which decisions are recorded. BROKER_AUDIT_REFUSED until it is said. */
void broker_set_audit(struct broker *broker, enum broker_audit audit);
/*
 * Notes what a client of the admin socket has caused; pid 0: a signal. error: an errno, or 0. An
 * act of a client (HISTORY_ADMIN) is recorded. reason: why the act failed; NULL: it has not, or the
 * client may not do it.
 */
void broker_note_client(struct broker *broker, enum history_kind kind, uint32_t uid, uint32_t pid,
	int error, const char *text, const char *reason);

/*
 * msgd has just started and found n records of applications that were there before it: lookups
 * and first LISTENs wait for each of them to announce, be gone, or be lost; RECOVERY_NS at most.
 * These applications, and no others, may announce; until ANNOUNCE_NS are over.
 */
void broker_recover(struct broker *broker, uint32_t n_records);
/* One of those applications will never attach. */
void broker_record_lost(struct broker *broker);

/*
 * An application's control pages are mapped. epoch is the value that its HELLO must carry. found:
 * it is one of those counted by broker_recover. Quotas are checked at its HELLO. -ESRCH: no such
 * domain; -ENOMEM.
 */
int broker_attach(struct broker *broker, uint16_t domid, uint32_t epoch, void *peer, bool found,
	struct process **ret_process);

/* The application died or left. Frees process; ops->drop is not called. */
void broker_gone(struct process *process, const char *reason);

/* The application's ring may have room again. */
void broker_flush(struct process *process);
/*
 * Whether so many answers wait for the application that its requests are not to be read until it
 * has read some of them. Only the application's own messages count, and its domain's to itself.
 */
bool broker_is_behind(const struct process *process);

/*
 * A control message, and control_decode's result for it (0, -EOPNOTSUPP or -EBADMSG). Returns 0; or
 * -ECONNRESET: the message broke the protocol, ops->drop was called, and process is freed.
 */
int broker_message(struct process *process, const struct control_message *message, int decoded);

/*
 * The application broke the protocol otherwise (a bad frame, counters out of range). Always drops
 * it.
 */
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
/* The domain is quiesced, and an application of it has not confirmed yet. */
bool broker_quiesce_pending(struct broker *broker, uint16_t domid);
/*
 * A quiesced domain is suspended. Real Xen has no event for a domain that goes on where it was
 * suspended, so the caller must look from time to time.
 */
bool broker_resume_expected(const struct broker *broker);
/*
 * Whether this application was told to quiesce. If so, its letting go is broker_parked, not
 * broker_gone.
 */
bool broker_is_quiescing(const struct process *process);
/* The application has given everything back. Frees process; ops->drop is not called. */
void broker_parked(struct process *process);
/* A parked record was found at start. Its domain counts as quiesced. */
void broker_parked_found(struct broker *broker, uint16_t domid);

/*
 * Finds the domain by a text as in addresses (PROTOCOL.md). -EINVAL: no such form; -ESRCH;
 * -ENOTUNIQ: several domains have that name.
 */
int broker_find_domain(struct broker *broker, const char *text, uint16_t *ret_domid);

/* An object that the administrator steers. */
struct broker_target {
	uint16_t domid;
	uint32_t pid, channel;
	uint64_t link;	    /* its uid */
	const char *name;   /* "": none */
	const char *domain; /* as a text: unblock alone, where it may be gone */
};

/*
 * Each of these: -ESRCH: no such domain; -ENOLINK: no such link; -ECHRNG: it has no such channel;
 * -ENOENT: no such application; -EADDRNOTAVAIL: no such name.
 */
/* Both ends of the channel are told that it is gone. -EBUSY: its link is only announced yet. */
int broker_close(struct broker *broker, const struct broker_target *target);
/* As after an error of the link. */
int broker_kick_link(struct broker *broker, const struct broker_target *target);
/* The applications are dropped as after a violation: they may attach again. */
int broker_kick_application(struct broker *broker, const struct broker_target *target);
int broker_kick_name(struct broker *broker, const struct broker_target *target); /* its holder */
int broker_kick_domain(struct broker *broker, const struct broker_target *target);
/* The name takes no connect until it is undrained, or held anew. */
int broker_drain(struct broker *broker, const struct broker_target *target);
int broker_undrain(struct broker *broker, const struct broker_target *target);
/*
 * No attach, listen or connect by the domain, or to it; with a name, no listen on it and no connect
 * to it. It holds until broker_unblock, also for the domain's next lives. -ENOSPC; -ENOMEM; unblock
 * also as broker_find_domain.
 */
int broker_block(struct broker *broker, const struct broker_target *target);
int broker_unblock(struct broker *broker, const struct broker_target *target);

/* The limits of one domain, until broker_set_limits or the domain's end. -ESRCH. */
int broker_set_domain_limits(
	struct broker *broker, uint16_t domid, const struct broker_limits *limits);
int broker_domain_limits(struct broker *broker, uint16_t domid, struct broker_limits *ret_limits);
/* Whether somebody listens on the name, and may. */
bool broker_has_name(struct broker *broker, uint16_t domid, const char *name);

/* Of a program that ops->run was asked for. Words of one that nobody waits for are ignored. */
void broker_answered(struct broker *broker, uint64_t id, const struct broker_answer *answer);
/* It is gone; the id is not used any more. */
void broker_program_ended(struct broker *broker, uint64_t id);

/* The time asked for by ops->timer has come. */
void broker_tick(struct broker *broker);

/* For logs: "web(3) pid 17 (echo)". pid and comm are as the application says. */
void process_describe(const struct process *process, char *ret_text, size_t size);

#define PROCESS_TEXT_SIZE 224U

/* Why all applications of its domain are about to be dropped; NULL: they are not. */
const char *process_ending(const struct process *process);

#endif
