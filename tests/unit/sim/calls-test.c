/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sending to a process that is awake is library calls on shared memory: no system call (a seccomp
 * filter turns each into a SIGSYS, which is counted), no allocation (the linker puts counters
 * before malloc and its kin). "Awake" is what the emulator can know of: the receiver spins on its
 * ring, or has not emptied its eventfd since it was last written. To one that may sleep it is one
 * write.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/macro.h"
#include "hv/argo-ring.h"
#include "hv/sim/testing/sim.h"
#include "tests/support/tsan.h"
#include "tests/unit/sim/process.h"

#define ROUNDS	   2000U
#define WINDOW	   8U /* messages: the ring is never full */
#define LEN	   1000U
#define PATIENCE_S 60
#define SKIPPED	   77

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void __wrap_free(void *p);

static atomic_uint n_allocations, n_calls;
static atomic_int last_call;

void *__wrap_malloc(size_t size)
{
	(void)atomic_fetch_add(&n_allocations, 1);
	return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	(void)atomic_fetch_add(&n_allocations, 1);
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	(void)atomic_fetch_add(&n_allocations, 1);
	return __real_realloc(p, size);
}

void __wrap_free(void *p)
{
	(void)atomic_fetch_add(&n_allocations, 1);
	__real_free(p);
}

/* Between the two processes. */
struct shared {
	atomic_uint n_sent, n_taken;
	atomic_uint n_calls[4], n_allocations[4];
	atomic_int last_call;
	uint32_t port, backlog; /* the receiver's, for the sender to bind */
};

static struct shared *shared;
static struct emulator emulator;

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	(void)fprintf(stderr, "calls-test: %s\n", what);
	emulator_stop(&emulator);
	_exit(1);
}

static void wait_until(atomic_uint *p, uint32_t least)
{
	while (atomic_load(p) < least)
		(void)sched_yield(); /* the filter lets it pass: it is the test's */
}

static struct hv *open_in(const char *domain)
{
	const char *reason = "";
	struct hv *hv = NULL;
	char spec[160];

	(void)snprintf(spec, sizeof(spec), "sim:%s#%s", emulator.path, domain);
	require(hv_open(spec, &hv, &reason) == 0, reason);
	return hv;
}

/* ---- the sender ------------------------------------------------------------------------------ */

static void on_sigsys(int sig, siginfo_t *info, void *context)
{
	(void)atomic_fetch_add(&n_calls, 1);
	atomic_store(&last_call, info->si_syscall);
}

static bool filter_on(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_yield, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
		/* The address sanitizer's, before a function that does not return. */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sigaltstack, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};
	struct sigaction action = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};

	return sigaction(SIGSYS, &action, NULL) == 0 &&
	       prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void note(int what)
{
	atomic_store(&shared->n_calls[what], atomic_exchange(&n_calls, 0));
	atomic_store(&shared->n_allocations[what], atomic_exchange(&n_allocations, 0));
	atomic_store(&shared->last_call, atomic_load(&last_call));
}

static _Noreturn void sender(void)
{
	static uint8_t payload[LEN];
	struct iovec iov = {.iov_base = payload, .iov_len = LEN};
	struct hv *hv = open_in("a");
	struct hv_ring *ring;
	uint32_t n = 1, port, backlog;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	require(hv->ops->argo_register(hv, 1, 2, 4096, &ring) == 0, "register");
	require(hv->ops->argo_peer(hv, ring, 2) == 0, "peer");
	require(hv->ops->evtchn_bind_interdomain(hv, 2, shared->port, &port) == 0, "bind");
	require(hv->ops->evtchn_bind_interdomain(hv, 2, shared->backlog, &backlog) == 0, "bind");
	require(hv->ops->evtchn_send(hv, port) == 0, "first send"); /* it writes the eventfd */
	require(hv->ops->evtchn_send(hv, backlog) == 0, "backlog");
	require(atomic_exchange(&n_allocations, 0) > 0, "allocations are not counted");
	if (!filter_on()) {
		puts("no seccomp filter here");
		(void)fflush(stdout);
		_exit(SKIPPED);
	}
	for (uint32_t i = 0; i < ROUNDS; i++) {
		wait_until(&shared->n_taken, i < WINDOW ? 0 : i - WINDOW);
		if (hv->ops->argo_sendv(hv, ring, &iov, 1, i) != LEN)
			_exit(2);
		atomic_store(&shared->n_sent, i + 1);
	}
	note(0);
	/* The port is still masked: as to a receiver that has its hands full. */
	for (uint32_t i = 0; i < ROUNDS; i++)
		if (hv->ops->evtchn_send(hv, port) < 0)
			_exit(3);
	note(1);
	/* Taken and unmasked each time, while the other port waits. */
	for (; n <= ROUNDS; n++) {
		atomic_store(&shared->n_sent, ROUNDS + n);
		wait_until(&shared->n_taken, ROUNDS + n);
		if (hv->ops->evtchn_send(hv, port) < 0)
			_exit(4);
	}
	note(2);
	/* Nothing was left: it may sleep now. */
	atomic_store(&shared->n_sent, ROUNDS + n);
	wait_until(&shared->n_taken, ROUNDS + n);
	if (hv->ops->evtchn_send(hv, port) < 0)
		_exit(5);
	note(3);
	_exit(0);
}

/* ---- the receiver ---------------------------------------------------------------------------- */

static void take_messages(struct hv *hv, struct hv_ring *ring)
{
	uint32_t rx = 0;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct argo_message m;

		wait_until(&shared->n_sent, i + 1);
		require(argo_ring_peek(ring, rx, &m) == 1 && m.len == LEN && m.type == i,
			"message");
		rx = argo_ring_advance(ring, rx, round_up16(m.len + ARGO_MESSAGE_HEADER_LEN));
		argo_ring_release(ring, rx);
		require(hv->ops->argo_consumed(hv) == 0, "consumed");
		atomic_store(&shared->n_taken, i + 1);
	}
}

/* Lower ports come first: the backlog stays. */
static void take_event(struct hv *hv, uint32_t port)
{
	struct hv_event event;

	require(hv->ops->poll_events(hv, &event, 1) == 1 && event.type == HV_EVENT_PORT &&
			event.port == port,
		"event");
	require(hv->ops->evtchn_unmask(hv, &port, 1) == 0, "unmask");
}

static int receive(pid_t pid, struct hv *hv, struct hv_ring *ring)
{
	struct hv_event event;
	int status;

	/* It may have no seccomp: then it ends before it sends. */
	while (atomic_load(&shared->n_sent) == 0) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		(void)sched_yield();
	}
	take_messages(hv, ring);
	for (uint32_t n = 1; n <= ROUNDS; n++) {
		wait_until(&shared->n_sent, ROUNDS + n);
		take_event(hv, shared->port);
		if (n == 1) /* events sent while it was masked: once more, coalesced */
			take_event(hv, shared->port);
		atomic_store(&shared->n_taken, ROUNDS + n);
	}
	wait_until(&shared->n_sent, 2 * ROUNDS + 1);
	take_event(hv, shared->port);
	take_event(hv, shared->backlog);
	require(hv->ops->poll_events(hv, &event, 1) == 0, "nothing is left");
	atomic_store(&shared->n_taken, 2 * ROUNDS + 1);
	require(waitpid(pid, &status, 0) == pid && status == 0, "the sender failed");
	return 0;
}

int main(void)
{
	static const char *const names[] = {
		"sendv", "event, masked", "event, taken each time", "event, asleep"};
	struct hv_ring *ring;
	struct hv *hv;
	pid_t pid;
	int r;

	if (TSAN) {
		puts("TSan makes system calls of its own");
		return SKIPPED;
	}
	(void)alarm(PATIENCE_S);
	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	require(shared != MAP_FAILED && emulator_start(&emulator), "set-up");
	require(emulator_run(&emulator, "create", "a", NULL, NULL) == 0, "create a");
	require(emulator_run(&emulator, "create", "b", NULL, NULL) == 0, "create b");
	hv = open_in("b");
	require(hv->ops->argo_register(hv, 2, 1, 65536, &ring) == 0, "register");
	require(hv->ops->evtchn_alloc_unbound(hv, 1, &shared->port) == 0, "alloc");
	require(hv->ops->evtchn_alloc_unbound(hv, 1, &shared->backlog) == 0, "alloc");
	require(shared->port < shared->backlog, "the order of ports");
	pid = fork();
	if (pid == 0)
		sender();
	r = receive(pid, hv, ring);
	hv_close(hv); /* a process of b's would be killed with it */
	for (int i = 0; r == 0 && i < 4; i++) {
		uint32_t n = atomic_load(&shared->n_calls[i]);

		(void)printf("%-24s %u system calls, %u allocations in %u\n", names[i], n,
			atomic_load(&shared->n_allocations[i]), i < 3 ? ROUNDS : 1);
		require(n == (i == 3), "not as many system calls");
		require(atomic_load(&shared->n_allocations[i]) == 0, "it allocates");
	}
	require(r != 0 || atomic_load(&shared->last_call) == SYS_write, "another system call");
	emulator_stop(&emulator);
	return r;
}
