/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgd's server on an emulator in this process, one event after another, for tests of
 * daemon/shell/. The fixture sees each call of the hypervisor and can make it fail; it keeps the
 * log, and the timers of libevent, which run when the test says so. The emulator's clock is
 * virtual. meson.build names the wrapped functions to the linker (--wrap).
 */
#ifndef TESTS_UNIT_DAEMON_SHELL_H
#define TESTS_UNIT_DAEMON_SHELL_H

#include <event2/event.h>

#include "daemon/shell/server.h"
#include "hv/sim/testing/sim.h"
#include "tests/support/raw-app.h"

enum shell_op {
	SHELL_NONE,
	SHELL_POLL,
	SHELL_BIND,
	SHELL_MAP,
	SHELL_REMOVE,
	SHELL_STORE_WATCH,
	SHELL_STORE_NEXT,
	SHELL_DOMAIN_WATCH,
	SHELL_DOMAIN_LIST,
};

struct shell {
	struct sim *sim;
	struct hv *hv; /* the server's */
	struct event_base *base;
	struct server *server; /* NULL: not started yet */
	struct broker_limits limits;
	uint16_t domid;	  /* of "web" */
	struct hv *guest; /* a process of it */
	/*
	 * A letter for each call: m and M map, read-only or not, N with a notification, u unmaps, b
	 * binds, c closes, s sends, k unmasks, r removes a record.
	 */
	char trace[256];
	char log[16384]; /* "<priority> text" lines */
	enum shell_op fails;
	unsigned fails_after, fails_times;
	int error;
	unsigned n_events_failing;    /* so many event_add with a time, or event_new, are to fail */
	bool add_fails, new_fails;    /* which of them */
	unsigned n_quiesced, n_trims; /* calls of server_ops, of malloc_trim */
	bool dying;		      /* see shell_dying */
	bool endless;		      /* there are always more events, of no kind */
	unsigned n_polls;	      /* of these */
	void (*quiesced)(void);	      /* called as well; or NULL */
	void (*noted)(void);
	char own_gone[HV_STORE_KEY_MAX]; /* the last of server_ops' */
	char removed[HV_STORE_KEY_MAX];	 /* the last record that the server removed */
	uint16_t removed_domid;
	uint64_t bytes;	       /* for broker_bytes; 0: the broker's own */
	uint32_t port;	       /* the last one that the server bound */
	uint32_t unmasked[16]; /* ports, since the trace began */
	unsigned n_unmasked;
	struct hv_event events[4]; /* come before the hypervisor's */
	unsigned n_events;
	const struct hv_record *records; /* likewise; borrowed */
	unsigned n_records;
};

extern struct shell shell;

/* An emulator with Domain-0 and "web"; no server yet. limits: the default ones. */
void shell_init(void);
void shell_fini(void);
/* server_new's result. */
int shell_start(const char **ret_reason);
/* Both, with success, and the trace is empty. */
void shell_begin(void);
/* The server ends; a new one starts, with a handle of its own, and the log begins anew. */
void shell_detach(void);
void shell_reattach(void);
/* Events until no work is left. */
void shell_run(void);
/* From now on "web" counts as dying, as while somebody maps its pages. */
void shell_dying(void);
/* One round of the loop. */
void shell_run_once(void);
/* The next calls of the operation fail, but for the first few. */
void shell_fail(enum shell_op op, int error, unsigned after, unsigned times);
/* Compares the calls since the last time. */
void shell_expect(const char *trace);
void shell_forget(void); /* the calls so far */
bool shell_logged(const char *text);
unsigned shell_count(const char *text); /* lines with it */
/* The delay of the timer that waits; 0: none; fails if there are several. */
uint64_t shell_timer_us(void);
/* All that wait run now, then everything that they cause. */
void shell_fire(void);

/* An application of the process; its record is not published. */
void shell_app(struct raw_app *app, struct hv *hv);
/* Published, attached, and greeted. */
void shell_attach(struct raw_app *app, struct hv *hv);
void shell_hello(struct raw_app *app, bool reattach);
/* The type of the next message to it; 0: none. */
uint32_t shell_take(struct raw_app *app);
/* Whether an event came for the process; takes it. */
bool shell_event(struct hv *hv);
#endif
