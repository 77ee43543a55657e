/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The admin socket's answers: views of the broker, and the commands. Only main.c includes this
 * header. An answer never ends msgd, and never waits: quiesce.h answers later.
 */
#ifndef MSGD_DAEMON_ADMIN_ANSWER_H
#define MSGD_DAEMON_ADMIN_ANSWER_H

#include <sys/types.h>

#include "daemon/admin/capture.h"
#include "daemon/admin/quiesce.h"
#include "daemon/admin/socket.h"

struct broker_limits;
struct policy;
struct report;

#define ADMIN_ERROR_SIZE 512U

/* A reload that is only tried, while its list goes out: one at a time, for it takes memory. */
struct dry_run {
	const struct admin_client *client; /* borrowed; NULL: there is none */
	struct policy *policy;		   /* owned */
};

/* The things that the answers are about: the argument of admin_answers. */
struct admin_subject {
	struct server *server;	 /* borrowed */
	struct quiesce *quiesce; /* borrowed */
	struct dry_run dry_run;
	struct admin_captures captures;
	const char *version, *hv_spec;
	uint16_t domid; /* msgd's own */
	uint64_t start_ns;
	gid_t operators; /* may steer; ADMIN_NO_GROUP: root alone may */
	/* Reads configuration and policy again; a negative errno with a sentence. */
	int (*reload)(void *arg, char ret_error[ADMIN_ERROR_SIZE]);
	/*
	 * The same without an effect: the policy that would come into force, which the caller owns.
	 * A negative errno with lines.
	 */
	int (*try_reload)(void *arg, struct policy **ret_policy, struct report *report);
	void *arg; /* borrowed */
	/* Judge what msgd.conf would say so. -EINVAL with a sentence; -ENOMEM. */
	int (*limit)(
		struct broker_limits *limits, const char *key, uint32_t value, char ret_error[]);
	int (*log_level)(const char *word, int *ret_level, char ret_error[]);
};

extern const struct admin_ops admin_answers;

#endif
