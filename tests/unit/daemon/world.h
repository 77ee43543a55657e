/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A broker with fake applications around it. The unit tests, the random test and the fuzz harness
 * share it. It keeps the broker's messages, and checks that none goes to a dead application.
 */
#ifndef TESTS_UNIT_DAEMON_WORLD_H
#define TESTS_UNIT_DAEMON_WORLD_H

#include "daemon/broker/broker.h"

#define WORLD_APPS  32
#define WORLD_QUEUE 512

struct world;

struct app {
	struct world *world;	 /* borrowed */
	struct process *process; /* borrowed: the broker's; NULL: not attached */
	uint16_t domid;
	uint32_t epoch;
	bool full;	  /* its ring has no room */
	bool unsent;	  /* the broker had no memory for a message that did not fit */
	unsigned n_looks; /* so often its ring was to be read, though it sent no event */
	bool dropped;
	char reason[REASON_SIZE]; /* of the drop */
	struct control_message queue[WORLD_QUEUE];
	unsigned head, tail; /* modulo WORLD_QUEUE; what is not taken is overwritten when full */
};

#define WORLD_PROGRAMS 64 /* at once, as ERRANDS_MAX */

/* A program that the broker has run. */
struct world_program {
	uint64_t id;
	bool runs, stopped;
	char path[32]; /* "": the helper */
	uint32_t timeout_s;
	char name[NAME_SIZE];
	char from[DOMAIN_NAME_SIZE], to[DOMAIN_NAME_SIZE]; /* "": unknown */
	uint32_t from_domid, to_domid;
	bool to_uuid; /* is known */
	char rule[128];
};

struct world {
	struct broker *broker;
	struct policy *policy;
	struct app *apps; /* WORLD_APPS */
	struct broker_domain_info domains[WORLD_APPS];
	size_t n_domains;
	uint64_t now_ns, timer_ns;
	char log[8192]; /* the last lines */
	void (*on_line)(
		int priority, const struct broker_line *line, const char *text); /* or NULL */
	unsigned long n_lines;
	unsigned long n_sent;
	uint32_t resumed;   /* domids whose parked records were to go, as bits */
	unsigned n_reports; /* how often ops->quiesced was called */
	struct world_program programs[WORLD_PROGRAMS];
	unsigned n_programs; /* run so far */
	unsigned last_program;
	int run_error; /* of the next ones */
};

/* Domains 0 "Domain-0", 1 "web", 2 "db", 3 "app", 4 "web" (again), 5 "vault". */
struct world *world_new(const char *rules, const struct broker_limits *limits);
/* Checks that every quota comes back. */
void world_free(struct world *world);
/* Starts a new broker, as after a restart of msgd; the applications' processes are forgotten. */
void world_restart(struct world *world, const char *rules, const struct broker_limits *limits);
/* So much time passes, and the broker knows it; its timer is left to the caller. */
void world_pass(struct world *world, uint64_t ns);
void world_policy(struct world *world, const char *rules);
void world_domains(struct world *world);
/* The list changes, and the broker is told: a name ("": it cannot be read); another domain. */
void world_rename(struct world *world, uint16_t domid, const char *name);
void world_rebirth(struct world *world, uint16_t domid);
void world_remove_domain(struct world *world, uint16_t domid);
bool world_logged(const struct world *world, const char *text);

/* Walks all objects: charges add up to what domains say, lists and states agree. Aborts if not. */
void world_check(const struct world *world);
/* Sum of everything that a domain holds. */
uint32_t world_used(const struct world *world, uint16_t domid);
/* The bytes of that, and of messages that wait; but not of counts of connects, which time ends. */
uint32_t world_bytes(const struct world *world, uint16_t domid);

/* The program that was run last; NULL: none. */
struct world_program *world_program(struct world *world);
/* It says so, and ends. It ends without a word. */
void program_answers(struct world *world, struct world_program *program,
	enum broker_answer_result result, uint32_t cache_s, const char *reason);
void program_ends(struct world *world, struct world_program *program);

/* Without HELLO. */
int app_attach(struct app *app, uint16_t domid, bool found);
/* With HELLO and WELCOME: ready. argo: the process says that Argo works for it. */
struct app *app_new(struct world *world, unsigned slot, uint16_t domid, bool argo);
int app_hello(struct app *app, bool argo, bool reattach);
/* The same, features: what HELLO says. */
struct app *app_new_with(struct world *world, unsigned slot, uint16_t domid, uint64_t features);
int app_hello_with(struct app *app, uint64_t features, bool reattach);
/* Its ring has room again. */
void app_read(struct app *app);
void app_die(struct app *app);
void app_park(struct app *app); /* it has given everything back */
int app_send(struct app *app, const struct control_message *message);
/* The next message to it; NULL: none. */
const struct control_message *app_take(struct app *app);
void app_forget(struct app *app); /* all of them */

/* Requests; app_listen and app_unlisten return the STATUS's error. */
int app_listen(struct app *app, uint32_t handle, const char *name, uint32_t backlog);
int app_unlisten(struct app *app, uint32_t handle);
void app_connect(
	struct app *app, uint32_t id, const char *address, uint32_t flags, uint32_t transport);
void app_offer(struct app *app, uint32_t end, uint32_t aport);
void app_offer_strict(struct app *app, uint32_t end, uint32_t aport);
void app_ready(struct app *app, uint32_t end, uint32_t aport);
void app_failed(struct app *app, uint32_t end, uint32_t error, const char *reason);
void app_accepted(struct app *app, uint32_t end, uint32_t channel);
void app_closed(struct app *app, uint32_t end, uint32_t channel);
void app_cancel(struct app *app, uint32_t id);
void app_expire(struct app *app, uint32_t id);
int app_announce_link(struct app *app, uint32_t end, uint64_t uid, uint16_t peer,
	uint32_t transport, uint32_t role, uint32_t state);
int app_announce_channel(struct app *app, uint32_t end, uint32_t channel, uint32_t listener,
	uint32_t accepted, const char *name);
int app_announce_done(struct app *app);

#endif
