/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd's server and applications with libmsg, in several domains of an emulator in deterministic
 * mode (hv/sim/testing/sim.h): one thread, one seed, a virtual clock, faults. The code under test
 * is that of the binaries; what it takes from the machine comes from seams.c.
 *
 * The facts of a channel are written down once (struct talk), by both its ends, since they are in
 * one process here: so each end can be held to it.
 */
#ifndef MSGD_TESTS_SIMULATE_H
#define MSGD_TESTS_SIMULATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/queue.h>

#include "hv/sim/testing/sim.h"
#include "libmsg/libmsg.h"

#define APPS_MAX    64U
#define DOMAINS_MAX 5U
/* After the honest ones; there is one in some worlds. */
#define HOSTILE_DOMAIN DOMAINS_MAX
#define HOSTILES_MAX   4U
#define MESSAGE_LEN    70000U /* the longest; more than a small ring, and several frames */
#define N_ERRNOS       134U

/* Calls whose errors are counted, and held against what is documented. */
enum call {
	CALL_OPEN,
	CALL_LISTEN,
	CALL_CONNECT,
	CALL_ACCEPT,
	CALL_SEND,
	CALL_RECV,
	CALL_CLOSE,
	N_CALLS
};

struct counts {
	uint64_t seeds, steps, calls, preempted, interrupts, late, coalesced, spurious;
	uint64_t faults[SIM_N_FAULTS];
	uint64_t domains_destroyed, processes_killed, msgd_ended, paused;
	uint64_t channels[4]; /* whole, by enum libmsg_transport */
	uint64_t ahead;	      /* connects that msgd had no part in */
	uint64_t cut;	      /* whose end was that of a process or domain, or one end's wish */
	uint64_t messages, bytes;
	uint64_t hostile, attacks; /* seeds with hostile processes; their deeds */
	uint64_t errors[N_CALLS][N_ERRNOS];
};

/* The seed's decisions before the first step. */
struct plan {
	bool faults;
	uint32_t n_destroyed, n_killed, n_restarts, n_paused;
	bool aborts;			/* ends may close before they have read all */
	uint32_t n_clients, n_channels; /* channels: of each client */
	uint32_t n_messages;		/* up to, in each direction */
	bool long_messages;
	uint32_t n_raw, n_liars; /* hostile processes */
	bool hostile_destroyed;	 /* their domain, before the end */
};

struct talk {
	LIST_ENTRY(talk) entry;
	uint32_t id;
	struct app *client, *server; /* borrowed; server: NULL until it has heard of it */
	uint32_t server_deaths;	     /* of the domain's servers, when it was asked for */
	uint32_t total[2];	     /* messages from the client, from the server */
	uint32_t sent[2], received[2];
	bool shut[2];	/* that side has sent all, and said so */
	bool ended[2];	/* that side has seen the other's end */
	bool closed[2]; /* after that */
	bool aborted;	/* one side has closed before */
};

struct conn;

struct app {
	struct world *world; /* borrowed */
	uint32_t index;
	char name[16];
	uint32_t domain; /* index in world->domains */
	bool is_server, blocking;
	int transport;
	uint32_t n_left;       /* client: channels to go */
	struct sim_task *task; /* borrowed */
	struct hv *hv;	       /* borrowed; NULL: none is open */
	struct msg_ctx *ctx;
	struct msg_sock *listener;
	LIST_HEAD(, conn) conns;
	uint32_t n_conns;
	uint64_t retry_ns;    /* client: no connect before */
	uint64_t waits_since; /* client: the step since when no connect has succeeded; 0: none tried
			       */
	uint8_t *buffer;
	enum app_state { APP_RUNS = 1, APP_DIED, APP_DONE } state; /* died: to be replaced */
};

/* A process of the hostile domain. */
struct hostile {
	struct world *world; /* borrowed */
	uint32_t index, n_lives;
	char name[16];
	struct sim_task *task; /* borrowed */
	struct hv *hv;	       /* borrowed; NULL: none is open */
	enum hostile_state { HOSTILE_RUNS = 1, HOSTILE_DONE } state;
};

struct domain {
	char name[16];
	uint16_t domid;
	bool there, paused;
	bool no_argo, fifo;
	uint32_t server_deaths;
};

struct world {
	struct sim *sim;
	uint64_t seed, rng; /* of the plan; the emulator has its own */
	struct plan plan;
	bool log;
	struct counts *counts;
	struct domain domains[DOMAINS_MAX + 1]; /* 0: Domain-0 */
	uint32_t n_domains;			/* the honest ones */
	struct hostile *hostiles[HOSTILES_MAX]; /* owned */
	uint32_t n_hostiles;
	struct app *apps[APPS_MAX]; /* owned; those that died, too: a dead process frees nothing */
	uint32_t n_apps, n_running; /* n_running: clients that are not done */
	LIST_HEAD(, talk) talks;
	uint32_t last_talk;
	uint64_t progress;
	int stop_fd; /* readable when the clients are done */
	bool calm;   /* nothing is planned that may make a call fail */
	bool msgd_ended;
	struct msgd *msgd;	 /* owned; NULL: none runs */
	struct msgd *dead_msgds; /* killed: a dead process frees nothing */
};

/* world.c */
uint32_t plan_pick(struct world *w, uint32_t n);
/* Says what is wrong, with the seed, and ends the process. */
void fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
/* One seed; n_steps: no more than these, 0: to its end. world_run returns if all was well. */
struct run {
	uint64_t seed, n_steps;
	uint32_t hostile_one_in; /* 0: never */
	bool trace, log;
};
void world_run(const struct run *run, struct counts *counts);
uint64_t world_steps(const struct world *w);

/* app.c */
void app_start(struct world *w, uint32_t domain, bool is_server, uint32_t n_channels);
void app_describe(const struct app *app, FILE *out);
/* A process that died is started again. */
void app_replace(struct app *app);
/* Its process dies, wherever it is; task: it has one still. */
void app_die(struct app *app, bool task);
static inline bool app_is_alive(const struct app *app)
{
	return app->state == APP_RUNS;
}

/* hostile.c */
void hostile_start(struct world *w, bool liar);
/* Its domain is gone. */
void hostile_died(struct hostile *hostile);

/* msgd.c: the daemon's server on a loop of virtual time. */
void msgd_start(struct world *w);
/* kill -9, or as by SIGTERM. */
void msgd_end(struct world *w, bool kill);
void msgd_stopped(struct world *w); /* at the very end: must have forgotten everybody */
void seams_open(struct world *w);
void seams_start(struct world *w); /* once the emulator is there */

#endif
