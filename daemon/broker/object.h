/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The broker's objects and who owns whom. Private to this folder, admin/view.c and their tests.
 *
 *   broker -> domain -> process -> listener, request, link_end
 *   broker -> link   -> channel
 *
 * A link is freed with the first of its two processes. Each object's state changes in its
 * *_set_state only, by a table of legal moves; each quota charge lies in the object it pays for.
 */
#ifndef MSGD_DAEMON_BROKER_OBJECT_H
#define MSGD_DAEMON_BROKER_OBJECT_H

#include <sys/queue.h>

#include "daemon/broker/broker.h"

#include "daemon/broker/hash.h"

/* How long lookups wait for the applications found at start. PROTOCOL.md 5.1. */
#define RECOVERY_NS UINT64_C(2000000000)

/* ---- domains and their quotas: domain.c ------------------------------------------- */

enum quota {
	QUOTA_PROCESSES,
	QUOTA_NAMES,
	QUOTA_CHANNELS,
	QUOTA_LINKS,
	QUOTA_REQUESTS,
	QUOTA_ENDS,
	QUOTA_ANNOUNCED,
	QUOTA_COUNT,
};

struct domain;

/* A unit taken from a domain; zero: nothing. Lies in the object that it pays for. */
struct charge {
	struct domain *domain; /* borrowed: a domain outlives its charges (asserted) */
	enum quota quota;
};

/* An application that has let go since its domain was quiesced: for the report. */
struct quiesced {
	TAILQ_ENTRY(quiesced) entry; /* domain->parted */
	bool confirmed;		     /* else it ended without */
	uint32_t pid;
	char comm[COMM_SIZE];
};

struct domain {
	UT_hash_handle hh;     /* broker->domains, by domid */
	struct broker *broker; /* borrowed */
	struct broker_domain_info info;
	uint32_t used[QUOTA_COUNT];
	struct listener *listeners;	 /* owned by their processes; by name */
	TAILQ_HEAD(, process) processes; /* owned */
	bool seen;			 /* by the broker_domains under way */
	bool quiesced;			 /* PROTOCOL.md 5.5 */
	bool suspended;			 /* and seen suspended since */
	TAILQ_HEAD(, quiesced) parted;	 /* owned */
	uint32_t n_parted;
	uint64_t log_due_ns; /* when the lines logged about it are paid for; see domain_log */
	uint32_t log_left_out;
};

int charge_take(struct charge *charge, struct domain *domain, enum quota quota);
void charge_return(struct charge *charge);
const char *quota_name(enum quota quota);
uint32_t quota_limit(const struct broker *broker, enum quota quota);

struct domain *domain_find(struct broker *broker, uint16_t domid);
void domain_free(struct domain *domain);
bool domain_is_dead(const struct broker_domain_info *info);
/* quiesce.c: its state may have moved on. */
void domain_state_changed(struct domain *domain);
void domain_forget_quiesced(struct domain *domain);
/* A line about what its applications do: they can make us write so many and no more. */
__attribute__((format(printf, 3, 4))) void domain_log(
	struct domain *domain, int priority, const char *format, ...);
struct policy_subject domain_subject(const struct domain *domain);
void domain_peer(const struct domain *domain, struct control_peer *ret_peer);

/*
 * How many channels one domain has to one name of another: for policy's max-channels. Lives while
 * such channels do.
 */
struct tally_key {
	uint16_t caller, target;
	char name[NAME_SIZE];
};

struct tally {
	UT_hash_handle hh;     /* broker->tallies */
	struct broker *broker; /* borrowed */
	struct tally_key key;
	uint32_t count;
};

/* Counts one more, or says -EDQUOT (max 0: no limit) or -ENOMEM. */
int tally_take(
	struct broker *broker, const struct tally_key *key, uint32_t max, struct tally **ret_tally);
void tally_return(struct tally *tally);

/* ---- processes: process.c ---------------------------------------------------------- */

enum process_state {
	PROCESS_NEW,	    /* until HELLO with this epoch, everything is discarded */
	PROCESS_ANNOUNCING, /* between HELLO with reattach and ANNOUNCE_DONE */
	PROCESS_READY,
	PROCESS_QUIESCING, /* QUIESCE was sent: everything is discarded */
	PROCESS_PARKED,	   /* confirmed; about to be freed */
	PROCESS_GONE,
};

struct process {
	TAILQ_ENTRY(process) entry; /* domain->processes */
	struct broker *broker;	    /* borrowed */
	struct domain *domain;	    /* borrowed: the owner */
	void *peer;		    /* borrowed: the shell's */
	enum process_state state;
	struct charge charge;
	uint64_t serial; /* never used again */
	uint32_t epoch;
	bool awaited; /* found at start, has not announced yet */
	uint64_t features;
	uint64_t since_ns;
	uint32_t pid;
	char comm[16];
	uint32_t last_end;
	bool ends_wrapped;
	struct link_end *ends;		 /* borrowed: in their links; by number */
	struct listener *listeners;	 /* owned; by handle */
	struct broker_request *requests; /* owned; by id */
};

void process_set_state(struct process *process, enum process_state state);
/* Takes requests, names and links away; peers are told, but for `except`. */
void process_strip(struct process *process, const struct process *except, const char *reason);
/* quiesce.c: strips it and sends QUIESCE. */
void process_quiesce(struct process *process);
/* quiesce.c: it ended, or was dropped, without having confirmed. */
void quiesce_process_gone(struct process *process);
/* Tells peers, frees; ops->drop is the caller's affair. */
void process_free(struct process *process, const char *reason);
/* The same with ops->drop: for what is not the process's own message. */
void process_drop(struct process *process, const char *reason);
/* It has announced, or never will. */
void process_not_awaited(struct process *process);
uint32_t process_next_end(struct process *process);
/* NULL with 0: a number that was given once and is gone; NULL with -EPROTO: never given. */
int process_end(struct process *process, uint32_t number, struct link_end **ret_end);
void process_send(struct process *process, const struct control_message *message);
void process_status(struct process *process, uint32_t request, int error, const char *reason);
int process_hello(struct process *process, const struct control_message *message);

/* ---- listeners: listener.c --------------------------------------------------------- */

struct listener {
	UT_hash_handle hh;	 /* process->listeners, by handle */
	UT_hash_handle hh_name;	 /* domain->listeners, by name */
	struct process *process; /* borrowed: the owner */
	struct charge charge;
	uint32_t handle;
	uint32_t type;
	uint32_t backlog;
	uint32_t n_offered;
	uint64_t since_ns;
	LIST_HEAD(, broker_channel) offered; /* borrowed: channels in state OFFERED */
	char name[NAME_SIZE];
};

int listener_message(struct process *process, const struct control_message *message);
int listener_new(struct process *process, uint32_t request, const struct control_listen *listen);
int listener_unlisten(struct process *process, uint32_t request, uint32_t handle);
void listener_free(struct listener *listener);
struct listener *listener_find(struct domain *domain, const char *name);
bool listener_permitted(const struct listener *listener);

/* ---- requests that wait: request.c ------------------------------------------------- */

enum broker_request_state {
	BROKER_REQUEST_NEW,
	BROKER_REQUEST_HELD,  /* for the end of recovery */
	BROKER_REQUEST_NAME,  /* for its name */
	BROKER_REQUEST_LINK,  /* for a link being made */
	BROKER_REQUEST_RETRY, /* for the end of this event */
	BROKER_REQUEST_DONE,
};

struct broker_link;

TAILQ_HEAD(broker_request_list, broker_request);

struct broker_request {
	UT_hash_handle hh;		   /* process->requests, by id */
	TAILQ_ENTRY(broker_request) entry; /* *list */
	struct broker_request_list *list;  /* borrowed: where its state put it, or NULL */
	struct process *process;	   /* borrowed: the owner */
	struct charge charge;
	uint32_t id;
	enum broker_request_state state;
	bool is_listen;	       /* a first LISTEN, held during recovery */
	bool demanded;	       /* by it or by policy: the transport of the link it waits for */
	bool no_argo;	       /* the Argo link could not be made: fall back */
	char why[REASON_SIZE]; /* then, why */
	union {
		struct control_connect connect;
		struct control_listen listen;
	};
	char domain[DOMAIN_NAME_SIZE]; /* connect: "" or DOMAIN */
	char name[NAME_SIZE];
};

int broker_request_connect(struct process *process, const struct control_message *message);
int broker_request_cancel(struct process *process, uint32_t id);
/* Keeps a LISTEN for after recovery. */
int broker_request_hold_listen(
	struct process *process, uint32_t id, const struct control_listen *listen);
void broker_request_set_state(
	struct broker_request *request, enum broker_request_state state, struct broker_link *link);
void broker_request_finish(struct broker_request *request, int error, const char *reason);
void broker_request_free(struct broker_request *request);
/* Tries again all that wait for this name. */
void broker_request_name_appeared(struct broker *broker, const char *name);
/* Runs those in BROKER_REQUEST_RETRY: once at the end of every event. */
void broker_request_settle(struct broker *broker);

/* ---- address and policy: lookup.c --------------------------------------------------- */

/*
 * Who is meant by a connect: policy, domain, name, in the order of PROTOCOL.md 5.3. 0 and a
 * listener with its verdict; or -EACCES, -EHOSTUNREACH, -ENOENT, -ENOTUNIQ, with a
 * reason. *ret_verdict is set also with -EACCES, where one rule refused.
 */
int lookup_address(struct broker *broker, const struct process *caller, const char *domain,
	const char *name, struct listener **ret_listener, struct policy_verdict *ret_verdict,
	char ret_reason[REASON_SIZE]);

/* ---- links: link.c ------------------------------------------------------------------ */

enum broker_link_state {
	BROKER_LINK_CREATING, /* LINK_CREATE was sent */
	BROKER_LINK_BINDING,  /* LINK_BIND was sent */
	BROKER_LINK_UP,
	BROKER_LINK_ANNOUNCED, /* after a restart: one end, or both, not settled yet */
	BROKER_LINK_GONE,
};

struct link_end {
	UT_hash_handle hh;	  /* process->ends, by number */
	struct broker_link *link; /* borrowed: it is part of it */
	struct process *process;  /* borrowed; NULL: not announced yet */
	struct charge charge;
	uint32_t number;
	uint16_t domid; /* of the process, or of the one that is to announce it */
	bool told;	/* the application was told of this end */
	uint32_t announced_state;
};

struct link_pair {
	uint64_t low, high; /* the two processes' serials */
	uint64_t transport;
};

struct link_id {
	uint64_t uid;
	uint16_t creator, binder; /* domids */
	uint32_t transport;
};

struct broker_link {
	UT_hash_handle hh;	/* broker->links, by id */
	UT_hash_handle hh_pair; /* broker->pairs, once both processes are known */
	bool paired;
	struct broker *broker; /* borrowed */
	enum broker_link_state state;
	struct link_id id;
	struct link_pair pair;
	struct charge charge;	 /* the creator's domain */
	struct link_end ends[2]; /* 0: creator, 1: binder */
	struct control_link_offer offer;
	/* Of each ring, as it was when it was made: both ends must be told the same. */
	uint32_t ring_pages;
	uint64_t since_ns;
	uint32_t last_channel;
	bool channels_wrapped;
	struct broker_channel *channels;    /* owned; by number */
	struct broker_request_list waiting; /* borrowed: requests in BROKER_REQUEST_LINK */
	char why[REASON_SIZE];		    /* why this transport */
};

struct broker_link *broker_link_find(struct process *a, struct process *b, uint32_t transport);
int broker_link_new(struct process *creator, struct process *binder, uint32_t transport,
	const char *why, struct broker_link **ret_link);
void broker_link_set_state(struct broker_link *link, enum broker_link_state state);
/*
 * Ends a link: LINK_DOWN to each told end but `except`, waiting requests are tried again, its
 * channels are freed.
 */
void broker_link_down(
	struct broker_link *link, const struct process *except, int error, const char *reason);
void broker_link_pair_add(struct broker_link *link);
int broker_link_end_attach(
	struct broker_link *link, unsigned index, struct process *process, uint32_t number);
struct link_end *link_other(struct link_end *end);
int broker_link_message(struct process *process, const struct control_message *message);
const char *transport_name(uint32_t transport);
/* 0; -EOPNOTSUPP: Argo does not work for this process, and why. */
int broker_link_argo_missing(const struct process *process, char ret_reason[REASON_SIZE]);

/* ---- channels: channel.c ------------------------------------------------------------ */

enum broker_channel_state {
	BROKER_CHANNEL_ANNOUNCED, /* by one end only */
	BROKER_CHANNEL_OFFERED,	  /* in the listener's backlog */
	BROKER_CHANNEL_OPEN,
	BROKER_CHANNEL_CLOSING, /* one end has confirmed */
	BROKER_CHANNEL_DONE,
};

struct broker_channel {
	UT_hash_handle hh;	  /* link->channels, by number */
	struct broker_link *link; /* borrowed: the owner */
	uint32_t number;
	uint32_t type;
	enum broker_channel_state state;
	unsigned caller;   /* which end of the link asked for it */
	bool confirmed[2]; /* this end said CHANNEL_CLOSED */
	/* While ANNOUNCED: by which ends, whether they agree, and what the listener's end said. */
	bool announced[2], refused, accepted;
	uint32_t handle;
	struct charge charge;	   /* the caller's domain */
	struct tally *tally;	   /* ref, or NULL */
	struct listener *listener; /* borrowed: while it has a place in the backlog, or NULL */
	LIST_ENTRY(broker_channel) offered;
	uint64_t since_ns;
	char name[NAME_SIZE];
};

/* Gives a number, charges, puts CHANNEL into the listener's ring. -EDQUOT with a reason, -ENOMEM.
 */
int broker_channel_new(struct broker_link *link, unsigned caller, struct listener *listener,
	const struct policy_verdict *verdict, struct broker_channel **ret_channel,
	char ret_reason[REASON_SIZE]);
/* A channel object without number rules or messages: for announcements too. */
int broker_channel_add(struct broker_link *link, uint32_t number, unsigned caller, uint32_t type,
	const char *name, struct broker_channel **ret_channel);
void broker_channel_set_state(struct broker_channel *channel, enum broker_channel_state state);
void broker_channel_offer(struct broker_channel *channel, struct listener *listener);
void broker_channel_free(struct broker_channel *channel);
/* CHANNEL_GONE to the ends in the mask (bit 0: creator), then frees. */
void broker_channel_gone(struct broker_channel *channel, unsigned ends);
int broker_channel_message(struct process *process, const struct control_message *message);

/* ---- restart: announce.c ------------------------------------------------------------- */

int announce_message(struct process *process, const struct control_message *message);
/* Settles what can be: after a process has announced or is gone, and when time is over. */
void announce_settle(struct broker *broker);
/* Judges by the present policy what stands. */
void announce_judge(struct broker *broker);
void recovery_begin(struct broker *broker, uint32_t n);
void recovery_one_less(struct broker *broker);
void recovery_end(struct broker *broker);

/* ---- the broker itself: broker.c ------------------------------------------------------------ */

struct broker {
	const struct broker_ops *ops; /* borrowed */
	void *arg;		      /* borrowed: the shell's */
	struct broker_limits limits;
	const struct policy *policy;			 /* borrowed */
	struct domain *domains;				 /* owned; by domid */
	struct broker_link *links;			 /* owned; by id */
	struct broker_link *pairs;			 /* borrowed: the same, by pair */
	struct tally *tallies;				 /* owned by their channels; by key */
	struct broker_request_list held, waiting, retry; /* borrowed: by state */
	uint64_t next_uid, next_serial;
	uint64_t now_ns;
	bool recovering;
	bool settle;	      /* announce_settle has something to look at */
	uint32_t n_awaited;   /* records found at start that have not announced */
	uint32_t n_unsettled; /* links in BROKER_LINK_ANNOUNCED */
	uint32_t n_links, n_channels;
	struct broker_stats stats;
};

__attribute__((format(printf, 3, 4))) void broker_log(
	struct broker *broker, int priority, const char *format, ...);
/* Writes a sentence for people, cut to its size. */
__attribute__((format(printf, 2, 3))) void reason_set(
	char ret_reason[REASON_SIZE], const char *format, ...);
/* Runs what events left to do. Every entry point ends with it. */
void broker_settle(struct broker *broker);

#endif
