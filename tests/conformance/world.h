/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The suite's needs besides hv.h: domains to put handles in, processes to put handles in, and
 * somebody who kills and destroys them. A world provides that for one backend and says which of it
 * it can do; a case whose needs it cannot meet is skipped with the reason printed. Cases never
 * touch a struct hv themselves: they command actors (actor.h), so that an actor may as well live in
 * another guest of a real Xen.
 */
#ifndef CONFORMANCE_WORLD_H
#define CONFORMANCE_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/conformance/agent.h"

/* The abilities of a world; a case names what it needs. */
enum world_can {
	WORLD_GUESTS = 1 << 0,	   /* two guest domains, A and B, besides the broker's */
	WORLD_CONCURRENT = 1 << 1, /* actors run at the same time */
	WORLD_KILL = 1 << 2,	   /* an actor can be ended as by kill -9 */
	WORLD_LIFE = 1 << 3,	   /* domains can be created and destroyed */
	WORLD_REUSE = 1 << 4,	   /* ... with a chosen domid */
	WORLD_PAUSE = 1 << 5,
	WORLD_SUSPEND = 1 << 6,
	WORLD_CRASH = 1 << 7,
	WORLD_ARGO = 1 << 8,
	WORLD_NO_ARGO = 1 << 9,	   /* a domain can be created with Argo off */
	WORLD_QUIET = 1 << 10,	   /* nobody else takes ports, rings or pages in these domains */
	WORLD_OPEN = 1 << 11,	   /* hv_open can be tried with wrong specs ("sim:...") */
	WORLD_DYING = 1 << 12,	   /* a dying domain stays in the list while its pages are mapped */
	WORLD_PROCESSES = 1 << 13, /* each actor is a process: stop it, kill it at work */
	WORLD_SLOTS = 1 << 14,	   /* so few handles can be open that EUSERS is in reach */
	WORLD_HOLDS = 1 << 15,	   /* a parcel's port keeps its number until its maker drops it */
	WORLD_N_CAN = 16,
};

enum world_who {
	WORLD_BROKER, /* the domain of msgd */
	WORLD_A,
	WORLD_B,
	WORLD_N_WHO,
};

struct world;
struct actor;

struct world_ops {
	const char *name; /* --hv= has it before the colon */
	unsigned int can;
	const char *why_not[WORLD_N_CAN]; /* for each bit that is missing: the reason, or NULL */
	int settle_ms; /* how long to wait for what must not come; 0 where nothing is late */
	int limit_s;   /* of a case; 0: as everywhere */
	int slowness;  /* by how much to divide long loops; 0: not at all */

	/* Brings up hypervisor and the domains of enum world_who; fills world->names. */
	int (*start)(struct world *world);

	/* Ends what start began. Also called after a case that crashed, by another process. */
	void (*stop)(struct world *world);

	/* Makes a process, or what the world has instead, in the domain of that name. */
	int (*join)(struct world *world, const char *domain, struct agent_link *ret_link);

	/*
	 * Ends an actor's process as kill -9 would, and waits for its end; or takes note that it
	 * has already ended, with its domain. The link is void then, but not freed.
	 */
	void (*kill)(struct world *world, struct agent_link *link, bool ended);

	/* Of an actor without a pid: waits for the end that it was asked for; its exit status. */
	int (*end)(struct world *world, struct agent_link *link);
	int (*signal)(struct world *world, struct agent_link *link, int sig);

	/* The spec for hv_open, of a process of that domain; NULL without WORLD_OPEN. */
	void (*spec)(struct world *world, const char *domain, char *buf, size_t len);

	/* domid 0: any. Fills *ret_domid. */
	int (*create)(struct world *world, const char *domain, uint16_t domid, bool argo,
		uint16_t *ret_domid);

	/* verb: "pause", "unpause", "suspend", "resume", "crash", "destroy". */
	int (*manage)(struct world *world, const char *verb, const char *domain);

	/* by_guest: the guest may write them, too. */
	int (*tag)(struct world *world, const char *domain, const char *tags, bool by_guest);
};

struct world {
	const struct world_ops *ops;
	const char *spec; /* the part of --hv= after the colon */
	char dir[64];	  /* a temporary directory of this world's own */
	char names[WORLD_N_WHO][32];
	int wait_ms;   /* how long something that must come may take */
	int settle_ms; /* how long to wait for something that must not come */
	void *private;
};

extern const struct world_ops world_inprocess_ops, world_sim_ops;
/* Where Xen's libraries were there at build time. */
extern const struct world_ops world_xen_ops __attribute__((weak));
extern const struct world_ops world_xen_argo_ops __attribute__((weak));

/* NULL: no such world. */
const struct world_ops *world_ops_find(const char *hv);

/* Why a case with these needs cannot run, or NULL. */
const char *world_why_not(const struct world_ops *ops, unsigned int needs);

/* ---- for cases; they end the case where they fail -------------------------------------- */

/* The world of the running case. */
extern struct world *the_world;

struct actor *world_actor(enum world_who who);
struct actor *world_actor_in(const char *domain);
uint16_t world_create(const char *domain, uint16_t domid, bool argo);
void world_manage(const char *verb, const char *domain);
void world_tag(const char *domain, const char *tags, bool by_guest);
/* For what a case can leave out. */
bool world_has(enum world_can can);
/* How often to repeat what is repeated n times where nothing is slow. */
int world_rounds(int n);
/* A domid that no domain has. */
uint16_t world_missing_domid(void);

#endif
