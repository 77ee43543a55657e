/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An emulated Xen and a msgd of the test's own, on a temporary path, for tests that use libmsg from
 * inside: several contexts, each in a domain that it names, in one process or in forked ones. All
 * of it ends with the test program, however that ends.
 */
#ifndef TESTS_SUPPORT_TESTBED_H
#define TESTS_SUPPORT_TESTBED_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "libmsg/libmsg.h"
#include "tests/support/must.h"

/* A working call never takes so long, even under sanitizers on a busy machine. */
#define TESTBED_WAIT_MS 30000

/* The call fails, with this errno, and says a sentence about it. */
#define must_fail(call, error)                                                                     \
	do {                                                                                       \
		errno = 0;                                                                         \
		must((intptr_t)(call) == -1);                                                      \
		if (errno != (error))                                                              \
			testbed_die_errno(__FILE__, __LINE__, #call, #error);                      \
		must(testbed_said_why());                                                          \
	} while (0)

/* The same for calls that return a pointer. */
#define must_fail_null(call, error) must_fail((call) ? 0 : -1, error)

_Noreturn void testbed_die_errno(
	const char *file, int line, const char *call, const char *expected);
bool testbed_said_why(void);

/*
 * policy, config: the files' contents; NULL: everything is allowed, nothing is configured. Domains
 * are there by the names of their first use.
 */
void testbed_start(const char *policy, const char *config);
/* $TESTBED_TRANSPORT: what the policy by which everything is allowed demands of links, or "any". */
const char *testbed_transport(void);
void testbed_stop(void); /* both programs must end by themselves, with success */
/* For cmocka's groups: everything allowed. */
int testbed_setup(void **state);
int testbed_teardown(void **state);

/* "sim:PATH#DOMAIN". Static, per thread. */
const char *testbed_hv(const char *domain);
/* Runs a command of xen-sim. True: it succeeded. */
bool testbed_sim(const char *command, const char *argument);
void testbed_msgd_kill(void); /* SIGKILL */
void testbed_msgd_start(void);
/* msgd takes another policy, a little later. */
void testbed_policy(const char *policy);
void testbed_domain(const char *domain, bool argo); /* makes it, if it is not there */

/* Opens a context in a domain (which is made); never fails. */
struct msg_ctx *testbed_ctx(const char *domain, unsigned flags);
/* A channel: ret[0] connected, by `from`, to ret[1], accepted by `to`, in domain to_domain. */
void testbed_channel_of(int type, struct msg_ctx *from, struct msg_ctx *to, const char *to_domain,
	struct msg_sock *ret[2]);
/* The same of LIBMSG_SEQPACKET. */
void testbed_channel(
	struct msg_ctx *from, struct msg_ctx *to, const char *to_domain, struct msg_sock *ret[2]);

/* After so many seconds without another call of it, the program says so and ends. 0: no more. */
void testbed_watchdog(unsigned seconds);
uint64_t testbed_now_ms(void);

/* ---- threads ------------------------------------------------------------------------------- */

struct worker {
	pthread_t thread;
	void (*fn)(void *arg);
	void *arg;
	_Atomic pid_t tid;
};

void worker_start(struct worker *worker, void (*fn)(void *arg), void *arg);
void worker_join(struct worker *worker);
/* Returns once the thread sleeps in the kernel, that is, what it calls blocks, or has ended. */
void worker_await_sleep(struct worker *worker);

/* Keeps a context inside libmsg, where links are made and frames taken in. */
struct pump {
	struct msg_ctx *ctx;
	struct worker worker;
	_Atomic bool stopped;
};

void pump_start(struct pump *pump, struct msg_ctx *ctx);
void pump_stop(struct pump *pump);

/* ---- messages that say which they are, and of which the rest follows (pattern.h) ------------ */

struct stamp {
	uint32_t stream, number, len;
};

/* Fills len bytes, sizeof(struct stamp) at least. */
void stamp_make(void *data, uint32_t stream, uint32_t number, uint32_t len);
/* Dies unless the len bytes are what stamp_make made. */
struct stamp stamp_check(const void *data, ssize_t len);

#endif
