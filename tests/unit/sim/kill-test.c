/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kill -9 at any instant: processes that do nothing but hypercalls are killed, again and again,
 * while two others exchange checked messages over the same emulator, which must never stop or err.
 * After each kill every invariant of the segment is looked at.
 *
 * Half of the victims are killed by a timer at a random moment, and then hardly ever in a lock,
 * where they are for 0.1 us at a time. The other half is killed there: with all locks, and with a
 * domain's alone, in turn; each second of them at a step of its transaction, the others at any
 * instruction a little later. A victim that runs dies at once, and this test waits for no
 * processor that the next victim could use.
 *
 * Goes on until enough kills are done, and an eighth of the dead had each of the two. Time is no
 * measure: it only ends a test in which nobody dies any more.
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
#include "hv/sim/process/backend.h"
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

#define N_KILLS	   (SANITIZED ? 400U : 2000U) /* divided by the argument, if there is one */
#define N_VICTIMS  6
#define N_DOMAINS  3U
#define MORE	   20U	 /* times as many kills at most, if chance will have it */
#define N_MESSAGES 1000U /* at least: the survivors do not stand still */
#define HANG_S	   60U	 /* without a death */
#define STALL_MS   60000 /* nobody may wait that long for anything */

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

enum inside { ANYWHERE, WITH_ALL, WITH_DOMAIN };

/* When and where a victim dies. */
struct doom {
	struct xen *xen;
	enum inside inside;
	uint32_t n_steps; /* so many more in such a lock are survived */
	uint32_t then_us; /* 0: it dies at that step; else in less than this time after it */
};

/* By the kernel, while it computes: where a signal that another process sends is late. */
static void die_in_ns(uint32_t ns)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
	struct itimerspec when = {.it_value = {.tv_nsec = ns + 1}};
	timer_t timer;

	require(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 &&
			timer_settime(timer, 0, &when, NULL) == 0,
		"timer");
}

static bool has_lock(const struct xen *xen, enum inside inside)
{
	uint32_t first = inside == WITH_ALL ? SIM_GUARD_ALL : SIM_GUARD_DOMAIN(0);
	uint32_t n = inside == WITH_ALL ? 1 : N_DOMAINS;

	for (uint32_t i = first; i < first + n; i++)
		if ((atomic_load(&xen->seg->guards[i].word) & ~LOCK_SLEEPERS) == xen->lock_word)
			return true;
	return false;
}

static void doom_step(void *arg)
{
	struct doom *doom = arg;

	if (doom->n_steps == 0 || !has_lock(doom->xen, doom->inside) || --doom->n_steps > 0)
		return;
	if (doom->then_us == 0)
		(void)kill(getpid(), SIGKILL);
	die_in_ns(random_below(doom->then_us * 1000));
}

static _Noreturn void victim(uint64_t seed, enum inside inside)
{
	struct doom doom = {.inside = inside};
	bool early;
	struct hv *hv;

	rng ^= seed * 0x9e3779b97f4a7c15ULL;
	early = inside == ANYWHERE && random_below(8) == 0; /* perhaps before it has attached */
	if (early)
		die_in_ns(random_below(1000000));
	hv = open_in(seed % 2 ? "a" : "b");
	/* A process that has asynchronous requests dies slowly, in 10 ms and more. So do some. */
	if (random_below(8) != 0)
		hangup_unwatch(&((struct sim_hv *)hv)->hangup);
	if (inside == ANYWHERE && !early) {
		die_in_ns(random_below(1000000));
	} else if (inside != ANYWHERE) {
		doom.xen = sim_hv_xen(hv);
		doom.n_steps = 1 + random_below(300);
		doom.then_us = random_below(2) * 5;
		doom.xen->step_arg = &doom;
		doom.xen->step = doom_step;
	}
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
	static const enum inside where[] = {ANYWHERE, WITH_ALL, ANYWHERE, WITH_DOMAIN};
	pid_t pid = fork_child();

	if (pid == 0)
		victim(seed, where[seed / 2 % ARRAY_SIZE(where)]); /* of either domain */
	require(pid > 0, "fork");
	return pid;
}

/* ---- the test ---------------------------------------------------------------------------- */

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

/* A sentence on the kills of which there were too few; NULL: there were enough of each. */
static const char *lacking(const struct sim_recovered *recovered)
{
	if (atomic_load(&recovered->n_recovered) < inside_least)
		return "too few of them inside a lock";
	if (atomic_load(&recovered->n_undone) < inside_least / 10)
		return "too few of them in a change";
	if (atomic_load(&recovered->n_redone) < inside_least / 50)
		return "too few of them in publishing";
	return NULL;
}

static bool enough(const struct sim_segment *seg, uint32_t n_kills)
{
	return n_kills >= kills_least && atomic_load(&shared->n_messages) >= N_MESSAGES &&
	       !lacking(&seg->recovered_all) && !lacking(&seg->recovered_domain);
}

static void hangs(int sig)
{
	require(false, "nobody dies any more");
}

/* The place of the next that dies. A survivor has none, and xen-sim is no child. */
static uint32_t death_await(const pid_t victims[N_VICTIMS])
{
	uint32_t i = 0;
	int status;
	pid_t pid;

	(void)alarm(HANG_S);
	pid = waitpid(-1, &status, 0);
	while (i < N_VICTIMS && victims[i] != pid)
		i++;
	require(i < N_VICTIMS, "a survivor ended");
	require(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "a victim ended by itself");
	return i;
}

static uint32_t kill_all(struct hv *hv)
{
	struct sim_segment *seg = sim_hv_xen(hv)->seg;
	uint64_t seed = (uint64_t)getpid();
	pid_t victims[N_VICTIMS];
	uint32_t n_kills, i;

	(void)signal(SIGALRM, hangs);
	for (i = 0; i < N_VICTIMS; i++)
		victims[i] = victim_start(seed++);
	for (n_kills = 0; !enough(seg, n_kills) && n_kills < MORE * kills_least; n_kills++) {
		i = death_await(victims);
		require(segment_check(sim_hv_xen(hv), stderr) == 0, "invariants");
		victims[i] = victim_start(seed++);
	}
	for (i = 0; i < N_VICTIMS; i++) {
		(void)kill(victims[i], SIGKILL);
		(void)waitpid(victims[i], NULL, 0);
	}
	(void)alarm(0);
	return n_kills;
}

static void print_and_check(const char *name, const struct sim_recovered *recovered)
{
	const char *lack = lacking(recovered);

	(void)printf("%u with %s (%u undone, %u redone)\n", atomic_load(&recovered->n_recovered),
		name, atomic_load(&recovered->n_undone), atomic_load(&recovered->n_redone));
	require(!lack, lack);
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
	n_kills = kill_all(hv);
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
	require(atomic_load(&shared->n_messages) >= N_MESSAGES, "the survivors stood still");
	hv_close(hv);
	emulator_stop(&emulator);
	return 0;
}
