/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of processes and of the domain's time on a host. */
#include "tests/kmod/selftest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"

#include <xen/xen.h> /* for the next one */

#include <xen/sys/evtchn.h>

/* The work of a process that is to be killed. */
enum { AT_NOTHING, AT_SENDING, AT_RECEIVING };
static uint32_t *at; /* shared */

static void at_set(uint32_t what)
{
	__atomic_store_n(at, what, __ATOMIC_RELEASE);
}

/* As busy as can be, until it is killed: rings that come and go, messages both ways, waiting. */
static void busy(int ready)
{
	static char data[16000], got[2000];
	const uint32_t len = 16384;

	for (uint32_t i = 0;; i++) {
		struct pair pair;

		pair_make(&pair, len);
		if (i == 0)
			EXPECT(write(ready, "", 1), 1);
		for (uint32_t k = 0; k < 32 + i % 64; k++) {
			at_set(AT_SENDING);
			(void)ring_send(pair.a, data, (i * 977 + k * 3001) % sizeof(data));
			(void)ring_poll(pair.a, POLLOUT, 0);
			at_set(AT_RECEIVING);
			(void)ring_poll(pair.b, POLLIN, 1);
			if (k % 4) /* else more and more is there */
				(void)ring_take(pair.map_b, len, got, sizeof(got));
			(void)call(pair.b, ARGODEV_CONSUMED, NULL);
			at_set(AT_NOTHING);
		}
		if (i % 3)
			pair_end(&pair);
	}
}

/* Returns when it is at it. */
static pid_t busy_start(void)
{
	int ready[2];
	pid_t pid;
	char byte;

	at_set(AT_NOTHING);
	EXPECT(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0)
		busy(ready[1]);
	EXPECT(pid > 0, true);
	EXPECT(close(ready[1]), 0);
	EXPECT(read(ready[0], &byte, 1), 1);
	EXPECT(close(ready[0]), 0);
	return pid;
}

static long memory_available_kib(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[128];
	long kib = -1;

	EXPECT(file != NULL, true);
	while (kib < 0 && fgets(line, sizeof(line), file))
		(void)sscanf(line, "MemAvailable: %ld", &kib);
	EXPECT(fclose(file), 0);
	return kib;
}

/*
 * Rings, aports and memory are as before, however many processes are killed: SELFTEST_KILLS, half
 * of them while they send, half while they receive. (The lab counts the domain's event channels.)
 */
static void kills(void)
{
	const char *wanted = getenv("SELFTEST_KILLS");
	unsigned int seed = (unsigned int)getpid(),
		     half = (wanted ? (unsigned int)atoi(wanted) : 100) / 2;
	unsigned int n[3] = {0};
	long kib = memory_available_kib();
	int fd = ring_open();
	uint64_t pages = ring_info(fd).n_pages;

	at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EXPECT(at != MAP_FAILED, true);
	alarm(600);
	while (n[AT_SENDING] < half || n[AT_RECEIVING] < half) {
		pid_t pid = busy_start();
		struct timespec ts = {.tv_nsec = rand_r(&seed) % 2000000};

		(void)nanosleep(&ts, NULL);
		EXPECT(kill(pid, SIGKILL), 0);
		EXPECT(waitpid(pid, NULL, 0), pid);
		n[*at]++; /* whom it was killed at: it did not go on */
	}
	expect_no_leak(pages);
	kib -= memory_available_kib();
	printf("     killed: %u sending, %u receiving, %u between; %ld KiB less memory\n",
		n[AT_SENDING], n[AT_RECEIVING], n[AT_NOTHING], kib);
	/* Of a thousand: a page lost at each second one would be seen. */
	EXPECT(kib < 2 * (long)(half + half) + 1024, true);
}

static void unload_refused(void)
{
	int fd = ring_open();

	EXPECT(syscall(SYS_delete_module, "xen_argo", O_NONBLOCK) < 0 && errno == EWOULDBLOCK,
		true);
	EXPECT(ring_register(fd, 0, self, 48), 0);
	EXPECT(syscall(SYS_delete_module, "xen_argo", O_NONBLOCK) < 0 && errno == EWOULDBLOCK,
		true);
}

/*
 * The domain is suspended meanwhile, and goes on; what had arrived is still there. Its aport is
 * free for a ring from that partner.
 */
static void suspended_and(uint16_t partner)
{
	struct pair pair;
	struct argodev_info info;
	int fd = ring_open();

	pair_make(&pair, 4032);
	EXPECT(ring_send(pair.a, "before", 7), 7);
	printf("ready\n");
	fflush(stdout);
	alarm(0);
	EXPECT(ring_poll(pair.a, POLLIN, 300000), POLLHUP | POLLERR);
	EXPECT(ring_poll(pair.b, POLLIN | POLLOUT, 0), POLLIN | POLLHUP | POLLERR);
	EXPECT(ring_send(pair.a, "x", 1), -ESTALE);
	EXPECT(ring_peer(pair.a, 1), -ESTALE);
	EXPECT(call(pair.a, ARGODEV_CONSUMED, NULL), 0);
	EXPECT(ring_map(pair.a, 4032) == NULL && errno == ESTALE, true);
	EXPECT(ring_register(pair.a, 5, self, 4032), -EBUSY);
	info = ring_info(pair.a);
	EXPECT(info.flags, ARGODEV_INFO_REGISTERED | ARGODEV_INFO_PEER | ARGODEV_INFO_DEAD);
	EXPECT(ring_take(pair.map_b, 4032, NULL, 0), 7);
	EXPECT(ring_register(fd, info.aport, partner, 4032), 0);
	EXPECT(ring_poll(fd, POLLIN | POLLOUT, 0), POLLOUT);
	pair_end(&pair);
	EXPECT(ring_info(fd).flags, ARGODEV_INFO_REGISTERED);
}

/* It has another domid then, and may register rings for domain 0, say. */
static void suspended(void)
{
	suspended_and(0);
}

/* It has the same: Xen would still have rings that were not unregistered. */
static void checkpointed(void)
{
	suspended_and(self);
}

#define MIGRATED_LEN 2000

static void migrated_take(struct pair *pair, uint32_t *received)
{
	uint32_t got[MIGRATED_LEN / 4];

	EXPECT(ring_take(pair->map_b, pair->len, got, sizeof(got)), MIGRATED_LEN);
	for (uint32_t i = 0; i < MIGRATED_LEN / 4; i++)
		EXPECT(got[i], *received);
	(*received)++;
}

/*
 * The domain migrates while it runs, and messages arrive meanwhile: those that are in the ring when
 * it dies are as they arrived, though it is Xen that wrote them.
 */
static void migrated(void)
{
	uint32_t data[MIGRATED_LEN / 4], sent = 0, received = 0, left = 0;
	struct pair pair;
	long r;

	pair_make(&pair, 65536);
	printf("ready\n");
	fflush(stdout);
	alarm(0);
	for (;;) {
		for (uint32_t i = 0; i < MIGRATED_LEN / 4; i++)
			data[i] = sent;
		r = ring_send(pair.a, data, sizeof(data));
		if (r < 0)
			break;
		sent++;
		if (sent - received > 25)
			migrated_take(&pair, &received);
	}
	EXPECT(r, -ESTALE);
	for (; received < sent; left++)
		migrated_take(&pair, &received);
	EXPECT(ring_take(pair.map_b, pair.len, NULL, 0), -1);
	printf("     %u sent, %u were there after it\n", sent, left);
}

/* Whether it was refused as expected; else the domain has migrated, and is not `self` any more. */
static bool register_refused(void)
{
	long r;

	do {
		int fd = ring_open();

		r = ring_register(fd, 0, self, 512 << 10);
		if (r)
			EXPECT(ring_info(fd).flags, 0);
		EXPECT(close(fd), 0);
	} while (r == 0);
	EXPECT(r == -EAGAIN || r == -ECONNREFUSED || r == -ESRCH, true);
	return r == -EAGAIN;
}

/*
 * Xen refuses pages that it watches for writes to and that were not written to since it looked
 * last. So it is while the domain migrates, for who was interrupted between clearing pages and
 * showing them to Xen: Xen looks a few times only, and of several processes one is mostly there.
 */
static void register_migrating(void)
{
	pid_t pids[16];
	int n_refused = 0, status;

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(register_refused() ? 0 : 2);
		EXPECT(pids[i] > 0, true);
	}
	printf("ready\n");
	fflush(stdout);
	alarm(0);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		EXPECT(waitpid(pids[i], &status, 0), pids[i]);
		EXPECT(WIFEXITED(status) && WEXITSTATUS(status) != 1, true);
		n_refused += WEXITSTATUS(status) == 0;
	}
	printf("     %d of %zu were refused before it had migrated\n", n_refused, ARRAY_SIZE(pids));
	EXPECT(n_refused > 0, true);
}

/* $ERRNO is what Xen says to every call of Argo's: ENOSYS, EOPNOTSUPP. */
static void no_argo(void)
{
	long err =
		strcmp(getenv("ERRNO") ? getenv("ERRNO") : "", "ENOSYS") == 0 ? ENOSYS : EOPNOTSUPP;
	int fd = ring_open();

	EXPECT(ring_register(fd, 0, 0, 4032), -err);
	EXPECT(ring_register(fd, 0, 0, 4033), -EINVAL);
	EXPECT(call(fd, ARGODEV_CONSUMED, NULL), -err);
	EXPECT(ring_poll(fd, POLLIN, 0), 0);
}

/* Binds Argo's interrupt, as any process may that has the device, and waits to be killed. */
static void virq_take(void)
{
	struct ioctl_evtchn_bind_virq bind = {.virq = 11};
	int fd = open("/dev/xen/evtchn", O_RDWR | O_CLOEXEC);

	EXPECT(call(fd, IOCTL_EVTCHN_BIND_VIRQ, &bind) > 0, true);
	printf("taken\n");
	fflush(stdout);
	alarm(0);
	(void)pause();
}

const struct test life_tests[] = {
	{"kills", kills},
	{"unload_refused", unload_refused},
	{"fuzz", fuzz},
	{"suspended", suspended, true},
	{"checkpointed", checkpointed, true},
	{"migrated", migrated, true},
	{"register_migrating", register_migrating, true},
	{"no_argo", no_argo, true},
	{"virq_take", virq_take, true},
	{0},
};
