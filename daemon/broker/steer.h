/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains and names that the administrator has blocked: the broker asks for them before it serves.
 * Only the broker and admin/'s views include this header.
 */
#ifndef MSGD_DAEMON_BROKER_STEER_H
#define MSGD_DAEMON_BROKER_STEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proto/limits.h"

struct broker;
struct domain;

/* Each is looked at for each listen and connect. One who blocks more wants a policy. */
#define BLOCKS_MAX 64U

struct block {
	LIST_ENTRY(block) entry; /* broker->blocks */
	uint8_t uuid[16];	 /* of the domain */
	char name[NAME_SIZE];	 /* "": all of it */
	/* As the domain was called then, for people. */
	uint16_t domid;
	char domain[DOMAIN_NAME_SIZE];
};

bool domain_is_blocked(const struct domain *domain);
/* The name alone; its domain may be, too. */
bool name_is_blocked(const struct domain *domain, const char *name);
/* A domain that is not there has no uuid: by what it was called. */
bool absent_is_blocked(struct broker *broker, const char *domain, const char *name);
void blocks_forget(struct broker *broker);

#endif
