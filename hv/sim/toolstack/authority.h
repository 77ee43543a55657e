/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The authority knows the domains and their processes, gives back what a dead one held, and has the
 * store. xen-sim (server.c drives it) and the emulator within a process (testing/sim.c) share this
 * code. Every function takes the authority's mutex. None waits for a participant, but for a lock
 * that one holds, which authority.c ends.
 */
#ifndef MSGD_HV_SIM_TOOLSTACK_AUTHORITY_H
#define MSGD_HV_SIM_TOOLSTACK_AUTHORITY_H

#include <pthread.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "hv/sim/toolstack/store.h"
#include "hv/sim/hypervisor/domain.h"
#include "hv/sim/memory/xen.h"
#include "hv/sim/wire/protocol.h"

/* A domain's node in the store, which no guest can write here: by_guest says that one could. */
struct authority_tags {
	bool by_guest;
	char text[HV_TAGS_MAX];
};

struct authority {
	struct xen xen; /* as slot 0 */
	int memfd;
	pthread_mutex_t mutex; /* recursive: a kick of slot 0 may come from within */
	struct sim_store store;
	struct authority_tags tags[SIM_MAX_DOMAINS]; /* by the domain's index */
	int event_fds[SIM_MAX_SLOTS];		     /* owned; -1: none */
	uint32_t stopped_limit_ms;		     /* see lock.h; 0: never killed */
	uint16_t next_domid;
	uint8_t domain_flags; /* SIM_DOMAIN_*, of every domain: from the environment */
};

static inline void mutex_unlock_p(pthread_mutex_t **mutex)
{
	(void)pthread_mutex_unlock(*mutex);
}

/* Holds the mutex, which is recursive, until the end of the block. */
#define LOCKED(a)                                                                                  \
	_cleanup_(mutex_unlock_p) pthread_mutex_t *_mutex = &(a)->mutex;                           \
	(void)pthread_mutex_lock(_mutex)

int authority_init(struct authority *a);
void authority_fini(struct authority *a);

struct domain_config {
	const char *name;
	const uint8_t *uuid;
	uint16_t domid;
	uint8_t flags; /* SIM_DOMAIN_* */
	struct domain_limits limits;
};

/* EEXIST: the name is taken; EADDRINUSE: the domid is. ENOSPC, EINVAL */
int authority_domain_create(
	struct authority *a, const struct domain_config *config, uint32_t *ret_index);
/* The caller has killed its processes, or detaches their slots; see authority_domains_reap. */
void authority_domain_kill(struct authority *a, uint32_t index);
/* Frees dying domains without processes that nobody maps. */
void authority_domains_reap(struct authority *a);
void authority_domain_set_paused(struct authority *a, uint32_t index, bool paused);
/* domain_restore under the next free domid; its records in the store do not come along. */
int authority_domain_restore(struct authority *a, uint32_t index);
void authority_domain_set_state(struct authority *a, uint32_t index, uint8_t state, uint8_t reason);
/* By name, or by domid in decimal, or "uuid:U"; DOMAIN_NONE. */
uint32_t authority_domain_find(struct authority *a, const char *name);

/* By the administrator: tags, and whether the guest may write them as well. EINVAL: no text. */
int authority_domain_tag(
	struct authority *a, uint32_t index, const char tags[HV_TAGS_MAX], bool by_guest);

/* A slot for a process of a domain. EUSERS: none free. EHOSTUNREACH: the domain is dying. */
int authority_attach(struct authority *a, uint32_t domain, int32_t pid, uint32_t *ret_slot);
/* The process is gone: does what its kernel would, and frees the slot. */
void authority_detach(struct authority *a, uint32_t slot);

/*
 * SIM_PUBLISH and SIM_REMOVE of the record, whose key is NUL-terminated; SIM_WATCH, SIM_WATCH_OWN;
 * SIM_NEXT: 1 and the record, or 0; SIM_READ_TAGS. As in hv.h. EACCES: SIM_WATCH, SIM_READ_TAGS, or
 * another domain's record, outside the broker's domain.
 */
int authority_store(
	struct authority *a, uint32_t slot, enum sim_message_type type, struct hv_record *record);

/* xen_ops of the authority's own view */
void authority_kick(struct xen *xen, uint32_t slot, uint32_t generation);

#endif
