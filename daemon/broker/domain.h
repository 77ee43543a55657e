/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains as the broker knows them, and their quotas. A domain owns its processes, and is freed
 * after the last charge on it came back. When it ends, its processes are dropped one by one, by
 * broker_work: they and their objects are as many as the guest liked. A charge lies in the object
 * that it pays for. Only the broker, the views of admin/ and their tests include this header.
 */
#ifndef MSGD_DAEMON_BROKER_DOMAIN_H
#define MSGD_DAEMON_BROKER_DOMAIN_H

#include <sys/queue.h>

#include "base/log-limit.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/counts.h"
#include "daemon/broker/errand.h"
#include "daemon/broker/hash.h"
#include "daemon/broker/history.h"

struct broker_link;
struct broker_request;
struct connects;
struct domain;
struct former;
struct outbox_message;
struct waiters;

TAILQ_HEAD(broker_link_list, broker_link);
TAILQ_HEAD(broker_request_list, broker_request);

/* malloc's head, and an object's part of its hash table's buckets. */
#define OBJECT_OVERHEAD 32U

/* One unit of a domain's quota; all zero: none is taken. It lies in the object that it pays for. */
struct charge {
	struct domain *domain; /* borrowed: a domain outlives its charges (asserted) */
	enum quota quota;
	uint32_t extra; /* bytes beside those of the quota's unit */
};

/* An application that has let go since its domain was quiesced: for the report. */
struct quiesced {
	TAILQ_ENTRY(quiesced) entry; /* domain->parted */
	bool confirmed;		     /* else it ended without */
	uint32_t pid;
	char comm[COMM_SIZE];
};

/* Whether the domain is to be saved: PROTOCOL.md 5.5. */
enum domain_quiesce {
	DOMAIN_SERVED,	  /* not quiesced */
	DOMAIN_QUIESCED,  /* its applications are told to let go */
	DOMAIN_SUSPENDED, /* the same, and it was seen suspended since */
};

/*
 * The dealings of one domain with another (or with itself), counted where it is the one that asks.
 * The asking domain owns the pair.
 */
struct domain_pair {
	UT_hash_handle hh;     /* domain->pairs, by target */
	struct domain *domain; /* borrowed: the owner */
	uint64_t target;       /* its serial: its domid may be another domain's by now */
	uint32_t outbox_bytes; /* of messages that it caused and that wait for applications there */
	struct allowance links_made; /* see domain_pair_may_link */
	uint32_t n_failed;	     /* links whose making failed, since the last that was made */
};

/* A verdict on what this domain connected to, while the facts by which it was judged hold. */
struct domain_verdict {
	uint64_t generation; /* of those facts; 0: none */
	uint64_t target;     /* the serial of the other domain; 0: any */
	char name[NAME_SIZE];
	struct policy_verdict verdict;
};

/* Names that a domain connects to again and again: a program has a few. */
#define VERDICTS_KEPT 8U

/* Why msgd lets go of an application that has not ended itself. */
enum process_drop {
	PROCESS_DROP_VIOLATION,
	PROCESS_DROP_KICK,
	PROCESS_DROP_DOMAIN, /* it ends */
};

struct domain {
	UT_hash_handle hh;		/* broker->domains, by domid */
	struct broker *broker;		/* borrowed */
	uint64_t serial;		/* never used again */
	struct broker_domain_info info; /* with the last name that could be read */
	bool name_known;		/* it is that now */
	struct policy_tags tags;	/* by the configuration and the store */
	struct broker_limits limits;	/* by the configuration, or: */
	bool limits_own;		/* by msgctl, until the next configuration */
	uint32_t used[QUOTA_COUNT];
	uint32_t bytes;			  /* of what it pays for: charges, and messages that wait */
	LIST_HEAD(, outbox_message) paid; /* borrowed: those messages; their receivers own them */
	struct domain_pair own;		  /* with itself */
	struct domain_pair *pairs;	  /* owned; by target */
	struct connects *connects;	  /* owned: of late, by rule */
	TAILQ_HEAD(, connects) connects_by_age; /* borrowed: the same, the oldest first */
	struct broker_link_list expected; /* borrowed: announced, but for an end in this domain */
	struct former *formers;		  /* owned: counts of names that nobody holds; by name */
	TAILQ_HEAD(, former) formers_by_age; /* borrowed: the same, the oldest first */
	uint32_t n_awaited;	    /* its applications found at start that have not announced */
	struct listener *listeners; /* owned by their processes; by name */
	TAILQ_HEAD(, process) processes; /* owned */
	uint32_t n_dying;		 /* processes that are gone, but for their links */
	bool seen;			 /* by the broker_domains under way */
	enum domain_quiesce quiesce;
	TAILQ_HEAD(, quiesced) parted; /* owned */
	uint32_t n_parted;
	uint64_t since_us;		    /* the time of day when it came: its counts begin */
	struct traffic traffic;		    /* of its ends, as they say */
	uint64_t notifications, hypercalls; /* likewise */
	struct log_source log;
	struct history_source history;
	struct broker_stats stats; /* of its applications, since it is there */
	struct domain_errands errands;
	struct domain_verdict verdicts[VERDICTS_KEPT];
	unsigned n_verdicts;		  /* kept so far: the next one takes the oldest's place */
	struct policy_known *known;	  /* owned */
	TAILQ_ENTRY(domain) known_entry;  /* broker->domains_by_known, until it has ended */
	uint64_t known_generation;	  /* in which the memo was looked at last */
	TAILQ_ENTRY(domain) ending_entry; /* broker->ending */
	const char *ending;		  /* static: why its processes are dropped; or NULL */
	enum process_drop ending_cause;
	uint64_t ending_serial; /* of the last of them: later ones may stay */
	bool ended;		/* it is in no table, and freed after its processes */
	/* The rest is request.c's: what its processes wait for, and what is to be tried again. */
	struct waiters *waiting;	      /* owned; by address */
	TAILQ_HEAD(, waiters) unheard, awake; /* borrowed: of waiting; owned: of names that came */
	struct broker_request_list retry;     /* borrowed: HELD or RETRY */
	TAILQ_ENTRY(domain) work_entry;	      /* broker->working */
	bool working;
	int64_t credit; /* of work, in cost: see broker_request_work */
};

/* -EDQUOT; ret_reason, which may be NULL, then has a sentence. */
int charge_take(struct charge *charge, struct domain *domain, enum quota quota,
	char ret_reason[REASON_SIZE]);
/*
 * The same for the rest of an object for which another domain has paid: of a half of the domain's
 * bytes, so that callers cannot leave it without any. No line, no reason.
 */
int charge_take_rest(struct charge *charge, struct domain *domain, enum quota quota);
void charge_return(struct charge *charge);
/* The object has come to be so much larger. -EDQUOT: the domain has no memory left for that. */
int charge_more(struct charge *charge, uint32_t bytes);
void charge_less(struct charge *charge, uint32_t bytes);
/* `with` takes the place of the charge, with what is extra. */
void charge_replace(struct charge *charge, struct charge *with);
/* Its bytes are used up: logs it. -EDQUOT; ret_reason, which may be NULL, has a sentence. */
int domain_out_of_bytes(struct domain *domain, char ret_reason[REASON_SIZE]);
/* For what no quota counts: messages that wait. */
void domain_pay_bytes(struct domain *domain, uint32_t bytes);
void domain_repay_bytes(struct domain *domain, uint32_t bytes);
const char *quota_name(enum quota quota);
/* The memory that one unit of the quota stands for, in bytes. For charges, and for tests. */
uint32_t quota_bytes(enum quota quota);

/* NULL: they have had no dealings. */
struct domain_pair *domain_pair_find(struct domain *domain, const struct domain *target);
/* NULL: out of memory. */
struct domain_pair *domain_pair_get(struct domain *domain, const struct domain *target);
/*
 * Whether the domain may have one more link to the target made now; if so, counts it. -EDQUOT with
 * a reason. n_failed slows the next ones down.
 */
int domain_pair_may_link(struct domain_pair *pair, char ret_reason[REASON_SIZE]);
/* A link could not be made, or was made. */
void domain_pair_link_failed(struct domain_pair *pair);
void domain_pair_link_made(struct domain_pair *pair);

struct domain *domain_find(struct broker *broker, uint16_t domid);
/* The domain is not found any more. domain_end_work frees it. */
void domain_end(struct domain *domain);
/*
 * The processes that it has are dropped by domain_end_work, up to this serial. reason: static.
 */
void domain_drop_all(
	struct domain *domain, uint64_t last_serial, enum process_drop cause, const char *reason);
/* Drops a process of a domain that ends, or frees one that has ended. False: no domain ends. */
bool domain_end_work(struct broker *broker);
bool domain_is_dead(const struct broker_domain_info *info);
/*
 * Logs a line that a domain's applications caused: all such lines go through here or through
 * broker_log_about, and through one limiter. base/log-limit.h.
 */
__attribute__((format(printf, 3, 4))) void domain_log(
	struct domain *domain, int priority, const char *format, ...);
/* The same, as broker_log_line. */
__attribute__((format(printf, 4, 5))) void domain_log_line(struct domain *domain, int priority,
	const struct broker_line *line, const char *format, ...);
/* The domain as it is called now. */
void domain_party(const struct domain *domain, struct history_party *ret_party);
struct policy_subject domain_subject(const struct domain *domain);
/* Tags and limits of all domains, anew. */
void domains_assign(struct broker *broker);
void domain_peer(const struct domain *domain, struct control_peer *ret_peer);

/*
 * The number of channels from one domain to one name of another, for policy's max-channels. A tally
 * lives while it counts a channel.
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

/* Counts one channel more. -EDQUOT: max is reached (0: no limit); -ENOMEM. */
int tally_take(
	struct broker *broker, const struct tally_key *key, uint32_t max, struct tally **ret_tally);
void tally_return(struct tally *tally);

#endif
