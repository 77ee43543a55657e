/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains as the broker knows them, and their quotas. A domain owns its processes, and is freed
 * after the last charge on it came back. A charge lies in the object that it pays for. Only the
 * broker, admin/view.c and their tests include this header.
 */
#ifndef MSGD_DAEMON_BROKER_DOMAIN_H
#define MSGD_DAEMON_BROKER_DOMAIN_H

#include <sys/queue.h>

#include "base/log-limit.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/hash.h"

struct domain;

/* One unit of a domain's quota; all zero: none is taken. It lies in the object that it pays for. */
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

/* Whether the domain is to be saved: PROTOCOL.md 5.5. */
enum domain_quiesce {
	DOMAIN_SERVED,	  /* not quiesced */
	DOMAIN_QUIESCED,  /* its applications are told to let go */
	DOMAIN_SUSPENDED, /* the same, and it was seen suspended since */
};

struct domain {
	UT_hash_handle hh;		/* broker->domains, by domid */
	struct broker *broker;		/* borrowed */
	struct broker_domain_info info; /* with the last name that could be read */
	bool name_known;		/* it is that now */
	uint32_t used[QUOTA_COUNT];
	struct listener *listeners;	 /* owned by their processes; by name */
	TAILQ_HEAD(, process) processes; /* owned */
	bool seen;			 /* by the broker_domains under way */
	enum domain_quiesce quiesce;
	TAILQ_HEAD(, quiesced) parted; /* owned */
	uint32_t n_parted;
	struct log_source log;
};

/* -EDQUOT; ret_reason, which may be NULL, then has a sentence. */
int charge_take(struct charge *charge, struct domain *domain, enum quota quota,
	char ret_reason[REASON_SIZE]);
void charge_return(struct charge *charge);
const char *quota_name(enum quota quota);

struct domain *domain_find(struct broker *broker, uint16_t domid);
void domain_free(struct domain *domain);
bool domain_is_dead(const struct broker_domain_info *info);
/*
 * Logs a line that a domain's applications caused: all such lines go through here or through
 * broker_log_about, and through one limiter. base/log-limit.h.
 */
__attribute__((format(printf, 3, 4))) void domain_log(
	struct domain *domain, int priority, const char *format, ...);
struct policy_subject domain_subject(const struct domain *domain);
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
