/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kill -9 at any instant: processes that do nothing but hypercalls are killed, again and again,
 * while two others exchange checked messages over the same emulator, which must never stop or err.
 * After each kill every invariant of the segment is looked at. Half of the kills are at random, and
 * then hardly ever meet a victim in a lock, where it is for 0.1 us at a time; the other half
 * waits for one that is seen there: with all locks, and with a domain's alone, in turn. Goes on
 * until enough kills are done, and an eighth of the dead had each of the two.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/macro.h"
#include "hv/argo-ring.h"
#include "hv/sim/memory/lock.h"
#include "hv/sim/testing/sim.h"
#include "tests/unit/sim/process.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define N_KILLS	  (SANITIZED ? 400U : 2000U) /* divided by the argument, if there is one */
#define SECONDS	  100.0			     /* it must be done by then */
#define N_VICTIMS 3
#define N_DOMAINS 3U
#define STALL_MS  10000 /* nobody may wait that long for anything */

struct shared {
	atomic_ulong n_messages;
	atomic_uint stop;
};

static struct emulator emulator;
static struct shared *shared;
static pid_t main_pid;
static uint32_t kills_least = N_KILLS, inside_least = N_KILLS / 8; /* of each kind of lock */
static int stop_fds[2]; /* a pipe, whose end is the survivors' */
static uint64_t rng = 88172645463325252ULL;

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	(void)fprintf(stderr, "kill-test: %d: %s\n", getpid(), what);
	/* The others are this one's children, and die with it; xen-sim is not. */
	if (getpid() == main_pid && emulator.path[0])
		emulator_stop(&emulator);
	_exit(1);
}

static pid_t fork_child(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)close(stop_fds[1]);
	}
	return pid;
}

static uint32_t random_below(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 16) % n;
}

static double now_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
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

/* ---- the survivors ----------------------------------------------------------------------- */

static void wait_for_event(struct hv *hv, struct hv_ring *ring)
{
	struct pollfd p[2] = {
		{.fd = hv->ops->fd(hv), .events = POLLIN}, {.fd = stop_fds[0], .events = POLLIN}};
	struct hv_event events[4];

	require(hv->ops->argo_watch(hv, ring, true) == 0, "watch");
	require(poll(p, 2, STALL_MS) > 0, "stalled");
	(void)hv->ops->poll_events(hv, events, 4);
}

static uint32_t fill(uint8_t *buf, uint32_t sequence)
{
	uint32_t len = 4 + sequence * 7919U % 3000U;

	memcpy(buf, &sequence, 4);
	for (uint32_t i = 4; i < len; i++)
		buf[i] = (uint8_t)(sequence * 31U + i);
	return len;
}

static void survivor_send(struct hv *hv, struct hv_ring *ring)
{
	uint8_t buf[4096];

	for (uint32_t sequence = 0; !atomic_load(&shared->stop); sequence++) {
		struct iovec iov = {.iov_base = buf, .iov_len = fill(buf, sequence)};
		int r;

		while ((r = hv->ops->argo_sendv(hv, ring, &iov, 1, sequence)) == -EAGAIN &&
			!atomic_load(&shared->stop))
			wait_for_event(hv, ring);
		require(r == (int)iov.iov_len || atomic_load(&shared->stop), "sendv");
	}
}

static void survivor_recv(struct hv *hv, struct hv_ring *ring)
{
	uint8_t want[4096], got[4096];
	uint32_t rx = 0;

	for (uint32_t sequence = 0; !atomic_load(&shared->stop); sequence++) {
		struct argo_message m = {0};
		int r;

		while ((r = argo_ring_peek(ring, rx, &m)) == 0 && !atomic_load(&shared->stop))
			wait_for_event(hv, ring);
		if (r == 0)
			break;
		require(r == 1 && m.len == fill(want, sequence) && m.type == sequence, "message");
		argo_ring_copy(ring, m.data_off, got, m.len);
		require(memcmp(got, want, m.len) == 0, "content");
		rx = argo_ring_advance(ring, rx, round_up16(m.len + ARGO_MESSAGE_HEADER_LEN));
		argo_ring_release(ring, rx);
		require(hv->ops->argo_consumed(hv) == 0, "consumed");
		(void)atomic_fetch_add(&shared->n_messages, 1);
	}
}

static pid_t survivor_start(const char *domain, uint16_t partner, bool sends, int ready_fd)
{
	struct hv_ring *ring;
	struct hv *hv;
	pid_t pid = fork_child();

	if (pid != 0)
		return pid;
	hv = open_in(domain);
	require(hv->ops->argo_register(hv, sends ? 1 : 2, partner, 8192, &ring) == 0, "register");
	require(hv->ops->argo_peer(hv, ring, sends ? 2 : 1) == 0, "peer");
	require(write(ready_fd, "", 1) == 1, "ready");
	if (sends)
		survivor_send(hv, ring);
	else
		survivor_recv(hv, ring);
	hv_close(hv);
	_exit(0);
}

/* ---- the victims ------------------------------------------------------------------------- */

static void victim_events(struct hv *hv)
{
	struct hv_event events[16];
	uint32_t port[2];

	if (hv->ops->evtchn_alloc_unbound(hv, HV_DOMID_SELF, &port[0]) < 0)
		return;
	if (hv->ops->evtchn_bind_interdomain(hv, HV_DOMID_SELF, port[0], &port[1]) == 0) {
		for (int i = 0; i < 10; i++) {
			(void)hv->ops->evtchn_send(hv, port[i & 1]);
			(void)hv->ops->poll_events(hv, events, 16);
			(void)hv->ops->evtchn_unmask(hv, port, 2);
		}
		(void)hv->ops->evtchn_close(hv, port[1]);
	}
	(void)hv->ops->evtchn_close(hv, port[0]);
}

static void victim_ring(struct hv *hv)
{
	struct iovec iov = {.iov_base = &rng, .iov_len = sizeof(rng)};
	struct hv_ring *ring;

	if (hv->ops->argo_register(hv, 0, hv->ops->domid(hv), 256, &ring) < 0)
		return;
	(void)hv->ops->argo_peer(hv, ring, ring->aport);
	for (int i = 0; i < 30; i++) {
		(void)hv->ops->argo_watch(hv, ring, i & 1);
		if (hv->ops->argo_sendv(hv, ring, &iov, 1, 0) == -EAGAIN) {
			argo_ring_release(ring, atomic_load(argo_ring_tx(ring)));
			(void)hv->ops->argo_consumed(hv);
		}
	}
	(void)hv->ops->argo_unregister(hv, ring);
}

/* With unmap-notify on both sides. */
static void victim_grants(struct hv *hv)
{
	struct hv_unmap_notify notify = {0};
	struct hv_share *share;
	struct hv_map *map;
	uint32_t ref;
	void *p;

	if (hv->ops->evtchn_alloc_unbound(hv, HV_DOMID_SELF, &notify.port) < 0)
		return;
	if (hv->ops->grant_share(hv, HV_DOMID_SELF, 1, &notify, &ref, &p, &share) == 0) {
		if (hv->ops->grant_map(hv, HV_DOMID_SELF, &ref, 1, true, &notify, &p, &map) == 0) {
			if (random_below(2)) {
				hv->ops->grant_unshare(hv, share);
				share = NULL;
			}
			hv->ops->grant_unmap(hv, map);
		}
		if (share)
			hv->ops->grant_unshare(hv, share);
	}
	(void)hv->ops->evtchn_close(hv, notify.port);
}

/* Seldom, and for some microseconds, so that whoever sees it in the lock may kill it there. */
static void dawdle(void *arg)
{
	if (random_below(32) == 0)
		for (uint32_t n = random_below(2000); n > 0; n--)
			cpu_relax();
}

static _Noreturn void victim(uint64_t seed)
{
	struct hv *hv = open_in(seed % 2 ? "a" : "b");

	rng ^= seed * 0x9e3779b97f4a7c15ULL;
	sim_hv_xen(hv)->step = dawdle;
	for (;;) {
		switch (random_below(4)) {
		case 0:
			victim_events(hv);
			break;
		case 1:
			victim_ring(hv);
			break;
		case 2:
			victim_grants(hv);
			break;
		default:
			if (random_below(50) == 0)
				(void)hv->ops->store_publish(hv, "victim", "x", 1);
		}
	}
}

static pid_t victim_start(uint64_t seed)
{
	pid_t pid = fork_child();

	if (pid == 0)
		victim(seed);
	require(pid > 0, "fork");
	return pid;
}

/* ---- the test ---------------------------------------------------------------------------- */

/* Any moment will do: this is the dice, not a synchronisation. */
static void pause_us(uint32_t us)
{
	struct timespec ts = {.tv_nsec = (long)us * 1000L};

	(void)nanosleep(&ts, NULL);
}

static void end(pid_t pid, const char *what)
{
	int status = -1;

	require(waitpid(pid, &status, 0) == pid && status == 0, what);
}

/* Each opening and closing is a round trip through xen-sim, which sees the deaths meanwhile. */
static uint32_t slots_left(struct hv *hv)
{
	uint32_t n = 0;

	for (int i = 0; i < 1000; i++) {
		struct sim_segment *seg = sim_hv_xen(hv)->seg;

		n = 0;
		for (uint32_t slot = 1; slot < SIM_MAX_SLOTS; slot++)
			n += atomic_load(&seg->slots[slot].state) != SIM_SLOT_FREE;
		if (n == 1)
			break;
		hv_close(open_in("Domain-0"));
	}
	return n;
}

enum inside { ANYWHERE, WITH_ALL, WITH_DOMAIN };

/* Which victim holds such a lock now; N_VICTIMS: none. */
static int owner(struct sim_segment *seg, const pid_t victims[N_VICTIMS], enum inside inside)
{
	uint32_t guard =
		inside == WITH_ALL ? SIM_GUARD_ALL : SIM_GUARD_DOMAIN(random_below(N_DOMAINS));
	uint32_t word = atomic_load(&seg->guards[guard].word);
	int i = 0;

	if ((word & LOCK_SLOT) == 0 || (word & LOCK_SLOT) > SIM_MAX_SLOTS || (word & LOCK_WITH_ALL))
		return N_VICTIMS;
	while (i < N_VICTIMS && victims[i] != atomic_load(&seg->slots[(word & LOCK_SLOT) - 1].pid))
		i++;
	return i;
}

/* Whom to kill, and when: on return. */
static int choose(struct sim_segment *seg, const pid_t victims[N_VICTIMS], enum inside inside)
{
	int i = N_VICTIMS;
	double until;

	pause_us(100 + random_below(1000));
	until = now_s() + 0.004;
	while (inside != ANYWHERE && i == N_VICTIMS && now_s() < until)
		for (int n = 0; n < 100 && i == N_VICTIMS; n++)
			i = owner(seg, victims, inside);
	return i < N_VICTIMS ? i : (int)random_below(N_VICTIMS);
}

static bool enough(const struct sim_segment *seg, uint32_t n_kills)
{
	return n_kills >= kills_least &&
	       atomic_load(&seg->recovered_all.n_recovered) >= inside_least &&
	       atomic_load(&seg->recovered_domain.n_recovered) >= inside_least;
}

static uint32_t kill_all(struct hv *hv, pid_t survivors[2])
{
	struct sim_segment *seg = sim_hv_xen(hv)->seg;
	pid_t victims[N_VICTIMS];
	double until = now_s() + SECONDS;
	uint64_t seed = (uint64_t)getpid();
	uint32_t n_kills = 0;
	int status;

	for (int i = 0; i < N_VICTIMS; i++)
		victims[i] = victim_start(seed++);
	while (!enough(seg, n_kills) && now_s() < until) {
		static const enum inside where[] = {ANYWHERE, WITH_ALL, ANYWHERE, WITH_DOMAIN};
		int i = choose(seg, victims, where[n_kills % ARRAY_SIZE(where)]);

		require(kill(victims[i], SIGKILL) == 0, "kill");
		require(waitpid(victims[i], &status, 0) == victims[i] && WIFSIGNALED(status) &&
				WTERMSIG(status) == SIGKILL,
			"a victim ended by itself");
		n_kills++;
		require(segment_check(sim_hv_xen(hv), stderr) == 0, "invariants");
		for (int s = 0; s < 2; s++)
			require(waitpid(survivors[s], &status, WNOHANG) == 0, "a survivor ended");
		victims[i] = victim_start(seed++);
	}
	for (int i = 0; i < N_VICTIMS; i++) {
		(void)kill(victims[i], SIGKILL);
		(void)waitpid(victims[i], &status, 0);
	}
	return n_kills;
}

static void print_and_check(const char *name, const struct sim_recovered *recovered)
{
	uint32_t n = atomic_load(&recovered->n_recovered),
		 undone = atomic_load(&recovered->n_undone),
		 redone = atomic_load(&recovered->n_redone);

	(void)printf("%u with %s (%u undone, %u redone)\n", n, name, undone, redone);
	require(n >= inside_least, "too few of them inside a lock");
	require(undone >= inside_least / 10, "too few of them in a change");
	require(redone >= inside_least / 50, "too few of them in publishing");
}

int main(int argc, char **argv)
{
	struct sim_segment *seg;
	pid_t survivors[2];
	uint32_t n_kills;
	struct hv *hv;
	double start;
	int ready[2];
	char byte;

	main_pid = getpid();
	if (argc > 1) {
		kills_least /= (uint32_t)atoi(argv[1]);
		inside_least /= (uint32_t)atoi(argv[1]);
	}
	rng ^= (uint64_t)main_pid * 0x9e3779b97f4a7c15ULL;
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	require(shared != MAP_FAILED && pipe2(ready, O_CLOEXEC) == 0 &&
			pipe2(stop_fds, O_CLOEXEC) == 0,
		"set-up");
	require(emulator_start(&emulator), "xen-sim");
	require(emulator_run(&emulator, "create", "a", NULL, NULL) == 0, "create a");
	require(emulator_run(&emulator, "create", "b", NULL, NULL) == 0, "create b");
	hv = open_in("Domain-0");
	seg = sim_hv_xen(hv)->seg;
	survivors[0] = survivor_start("b", 1, false, ready[1]);
	require(read(ready[0], &byte, 1) == 1, "receiver");
	survivors[1] = survivor_start("a", 2, true, ready[1]);
	require(read(ready[0], &byte, 1) == 1, "sender");

	start = now_s();
	n_kills = kill_all(hv, survivors);
	start = now_s() - start;
	atomic_store(&shared->stop, 1);
	(void)close(stop_fds[1]);
	end(survivors[0], "receiver");
	end(survivors[1], "sender");
	require(slots_left(hv) == 1, "slots left");
	require(segment_check(sim_hv_xen(hv), stderr) == 0, "invariants at the end");
	(void)printf("%u kills in %.1f s, %lu messages\n", n_kills, start,
		atomic_load(&shared->n_messages));
	require(n_kills >= kills_least, "too few kills");
	print_and_check("all locks", &seg->recovered_all);
	print_and_check("a domain's lock", &seg->recovered_domain);
	require(atomic_load(&shared->n_messages) > 1000, "the survivors stood still");
	hv_close(hv);
	emulator_stop(&emulator);
	return 0;
}
