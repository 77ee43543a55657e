/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* REGISTER, PEER, INFO and mmap: what they refuse, and in which state. */
#include "tests/kmod/selftest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"

#define BAD ((void *)8)

static void unknown_requests(void)
{
	int fd = ring_open();

	EXPECT(call(fd, _IO('A', 0xc5), NULL), -ENOTTY);
	EXPECT(call(fd, _IOR('A', 0xc1, struct argodev_peer), NULL), -ENOTTY);
	EXPECT(call(fd, _IOWR('A', 0xc0, uint32_t), BAD), -ENOTTY);
	EXPECT(call(fd, _IOC(_IOC_READ, 'A', 0xc4, 103), BAD), -ENOTTY);
	EXPECT(call(fd, _IOC(_IOC_READ | _IOC_WRITE, 'A', 0xc4, 104), BAD), -ENOTTY);
	EXPECT(call(fd, 0, NULL), -ENOTTY);
}

static void without_ring(void)
{
	struct argodev_info info;
	int fd = ring_open();
	char byte;

	EXPECT(ring_peer(fd, 5), -ENOTCONN);
	EXPECT(ring_send(fd, "x", 1), -ENOTCONN);
	EXPECT(call(fd, ARGODEV_CONSUMED, NULL), 0);
	EXPECT(ring_map(fd, 4096 - 64) == NULL && errno == ENOTCONN, true);
	info = ring_info(fd);
	EXPECT(info.flags, 0);
	EXPECT(info.aport | info.len | info.partner | info.peer_aport, 0);
	EXPECT(call(fd, ARGODEV_INFO, BAD), -EFAULT);
	EXPECT(read(fd, &byte, 1) < 0 && errno == EINVAL, true);
	EXPECT(write(fd, &byte, 1) < 0 && errno == EINVAL, true);
}

static void register_arguments(void)
{
	static const uint32_t bad[] = {0, 16, 32, 47, 49, 56, 63, 0xffffc1, 0xffffd0, 0x1000000,
		0x80000000U, 0xfffffff0U, UINT32_MAX};
	struct argodev_register reg = {.partner = self, .len = 4032};
	int fd = ring_open();

	EXPECT(call(fd, ARGODEV_REGISTER, BAD), -EFAULT);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT(ring_register(fd, 5, self, bad[i]), -EINVAL);
	reg.flags = 1;
	EXPECT(call(fd, ARGODEV_REGISTER, &reg), -EINVAL);
	reg.flags = 0;
	reg.pad = 1;
	EXPECT(call(fd, ARGODEV_REGISTER, &reg), -EINVAL);
	EXPECT(ring_register(fd, 5, 0x7ff4, 4032), -EPERM);
	EXPECT(ring_register(fd, 5, 0x7ff4, 4031), -EINVAL);
	EXPECT(ring_register(fd, 5, 0x7ff0, 4032), -ESRCH);
	EXPECT(ring_register(fd, 5, MISSING, 4032), -ESRCH);
	EXPECT(ring_register(fd, 5, self, 4032), 0); /* the failures left nothing behind */
	EXPECT(ring_register(fd, 6, self, 4032), -EBUSY);
	EXPECT(call(fd, ARGODEV_REGISTER, BAD), -EFAULT);
}

static void register_sizes(void)
{
	static const uint32_t good[] = {48, 64, 4032, 4048, 65536, ARGODEV_RING_LEN_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint64_t pages = (good[i] + 64 + 4095) / 4096, before;
		int fd = ring_open();
		uint32_t *map, sum = 0;

		before = ring_info(fd).n_pages;
		EXPECT(ring_register(fd, 5, self, good[i]), 0);
		EXPECT((long)(ring_info(fd).n_pages - before), (long)pages);
		map = ring_map(fd, good[i]);
		EXPECT(map != NULL, true);
		for (uint32_t k = 0; k < (good[i] + 64) / 4; k++)
			sum |= map[k];
		EXPECT(sum, 0);
		EXPECT(munmap(map, good[i] + 64), 0);
		EXPECT(close(fd), 0);
		fd = ring_open();
		EXPECT((long)ring_info(fd).n_pages, (long)before);
		EXPECT(close(fd), 0);
	}
}

static void register_names(void)
{
	struct argodev_info info;
	int a = ring_open(), b = ring_open();

	EXPECT(ring_register(a, 77, self, 4032), 0);
	EXPECT(ring_register(b, 77, self, 4032), -EEXIST);
	EXPECT(ring_register(b, 77, self, 64), -EEXIST);
	EXPECT(ring_register(b, 0, self, 64), 0);
	info = ring_info(b);
	EXPECT(info.aport != 0 && info.aport != 77, true);
	EXPECT(info.flags, ARGODEV_INFO_REGISTERED);
	EXPECT(info.len, 64);
	EXPECT(info.partner, self);
	EXPECT(close(a), 0);
	a = ring_open();
	EXPECT(ring_register(a, 77, self, 64), 0); /* free again */
	EXPECT(ring_info(a).aport, 77);
}

/* Two threads' or processes' open files have nothing to do with each other but Xen's limit. */
static void register_limit(void)
{
	int fds[128], fd = ring_open();

	for (int i = 0; i < 128; i++) {
		fds[i] = ring_open();
		EXPECT(ring_register(fds[i], 0, self, 48), 0);
	}
	EXPECT(ring_register(fd, 0, self, 48), -ENOSPC);
	EXPECT(ring_register(fd, 5, self, 48), -ENOSPC);
	EXPECT(close(fds[77]), 0);
	EXPECT(ring_register(fd, 5, self, 48), 0);
}

/* The module's limit is on all memory together. */
static void register_memory(void)
{
	int fd = ring_open();
	unsigned long before = limit_set("limit", ring_info(fd).n_pages + 2);

	EXPECT(ring_register(fd, 0, self, 4 * 4096), -ENOMEM);
	EXPECT(ring_register(fd, 0, self, 2 * 4096 - 64), 0);
	EXPECT((long)limit_set("limit", before) > 0, true);
}

/* A process of that user, which has opened n files and is about to register them. */
static void user_become(uid_t uid, int *fds, int n)
{
	/* The file is opened by the real user, with root's right to open it. */
	EXPECT(setresuid(uid, 0, 0), 0);
	for (int i = 0; i < n; i++)
		fds[i] = ring_open();
	EXPECT(setresuid(uid, uid, uid), 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* which a change of the user takes back */
}

/* How many rings such a user gets, while others have theirs; the rest ends in that error. */
static void user_registers(uid_t uid, int n, long err)
{
	int fds[129];

	user_become(uid, fds, 129);
	for (int i = 0; i < n; i++)
		EXPECT(ring_register(fds[i], 0, self, 64), 0);
	EXPECT(ring_register(fds[n], 0, self, 64), err);
	EXPECT(ring_info(fds[n]).user_rings, n);
	EXPECT((long)ring_info(fds[n]).user_pages, n);
	EXPECT(close(fds[0]), 0);
	EXPECT(ring_info(fds[n]).user_rings, n - 1);
	EXPECT(ring_register(fds[n], 0, self, 64), 0);
	EXPECT((long)ring_info(fds[n]).n_pages, 0); /* not his to know */
	EXPECT((long)ring_info(fds[n]).n_virqs, 0);
}

/* Runs in a process of its own, which holds what it has until user_end or the end of the test. */
static pid_t user_start(uid_t uid, int n, long err)
{
	int done[2], status;
	char byte;
	pid_t pid;

	EXPECT(pipe(done), 0);
	pid = fork();
	if (pid == 0) {
		user_registers(uid, n, err);
		EXPECT(write(done[1], "", 1), 1);
		(void)pause();
	}
	EXPECT(close(done[1]), 0);
	if (read(done[0], &byte, 1) == 1)
		return pid;
	EXPECT(waitpid(pid, &status, 0), pid);
	EXPECT(status, 0);
	_exit(1);
}

/* Its rings are free when this returns: for the next test. */
static void user_end(pid_t pid)
{
	EXPECT(kill(pid, SIGKILL), 0);
	EXPECT(waitpid(pid, NULL, 0), pid);
}

/* No user takes the rings of all: two have their shares, and a third finds Xen's limit. */
static void user_rings(void)
{
	int fd = ring_open();
	pid_t users[2];

	EXPECT(ring_info(fd).user_rings_max, 64);
	users[0] = user_start(1001, 64, -EDQUOT);
	EXPECT((long)limit_set("user_rings", 63), 64); /* at any time */
	users[1] = user_start(1002, 63, -EDQUOT);
	EXPECT((long)limit_set("user_rings", 64), 63);
	EXPECT(ring_register(fd, 0, self, 64), 0); /* root's, the last */
	EXPECT(ring_register(ring_open(), 0, self, 64), -ENOSPC);
	user_end(users[0]);
	user_end(users[1]);
}

/* Nor the memory; root is not limited by a user's share. */
static void user_memory(void)
{
	unsigned long pages = limit_set("user_limit", 4);
	int fds[3], fd = ring_open(), status;
	pid_t pid = fork();

	if (pid == 0) {
		user_become(1001, fds, 3);
		EXPECT(ring_register(fds[0], 0, self, 3 * 4096 - 64), 0);
		EXPECT(ring_register(fds[1], 0, self, 2 * 4096 - 64), -EDQUOT);
		EXPECT(ring_info(fds[1]).user_rings, 1);
		EXPECT((long)ring_info(fds[1]).user_pages, 3);
		EXPECT((long)ring_info(fds[1]).user_pages_max, 4);
		EXPECT(ring_register(fds[1], 0, self, 4096 - 64), 0);
		EXPECT(ring_register(fds[2], 0, self, 4096 - 64), -EDQUOT);
		_exit(0);
	}
	EXPECT(waitpid(pid, &status, 0), pid);
	EXPECT(ring_register(fd, 0, self, 6 * 4096 - 64), 0);
	EXPECT((long)limit_set("user_limit", pages), 4);
	EXPECT(status, 0);
}

/* A caller of yesterday, and one of tomorrow. */
static void info_sizes(void)
{
	struct {
		struct argodev_info info;
		uint8_t more[32];
	} larger;
	uint8_t guarded[sizeof(struct argodev_info) + 1];
	int fd = ring_open();

	EXPECT(ring_register(fd, 5, self, 64), 0);
	memset(&larger, 1, sizeof(larger));
	EXPECT(call(fd, _IOC(_IOC_READ, 'A', 0xc4, sizeof(larger)), &larger), 0);
	EXPECT(larger.info.size, sizeof(struct argodev_info));
	EXPECT(larger.info.len, 64);
	for (size_t i = 0; i < sizeof(larger.more); i++)
		EXPECT(larger.more[i], 0);
	memset(guarded, 1, sizeof(guarded));
	EXPECT(call(fd, _IOC(_IOC_READ, 'A', 0xc4, 104), guarded), 0);
	EXPECT(guarded[104], 1);
	EXPECT(call(fd, _IOC(_IOC_READ, 'A', 0xc4, 16383), BAD), -EFAULT);
}

static void peer_once(void)
{
	struct argodev_peer peer = {.aport = 6, .flags = 1};
	int fd = ring_open();

	EXPECT(ring_register(fd, 5, self, 64), 0);
	EXPECT(call(fd, ARGODEV_PEER, BAD), -EFAULT);
	EXPECT(call(fd, ARGODEV_PEER, &peer), -EINVAL);
	EXPECT(ring_send(fd, "x", 1), -ENOTCONN); /* neither set it */
	EXPECT(ring_peer(fd, 0), 0);		  /* 0 is an aport as good as any */
	EXPECT(ring_peer(fd, 0), -EISCONN);
	EXPECT(ring_peer(fd, 6), -EISCONN);
	EXPECT(ring_info(fd).flags, ARGODEV_INFO_REGISTERED | ARGODEV_INFO_PEER);
	EXPECT(ring_info(fd).peer_aport, 0);
}

static void map_arguments(void)
{
	int fd = ring_open();
	void *at;

	EXPECT(ring_register(fd, 0, self, 3 * 4096 - 64), 0);
	at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	EXPECT(at == MAP_FAILED && errno == EINVAL, true);
	at = mmap(NULL, 4 * 4096, PROT_READ, MAP_SHARED, fd, 0);
	EXPECT(at == MAP_FAILED && errno == ENXIO, true);
	at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 3 * 4096);
	EXPECT(at == MAP_FAILED && errno == ENXIO, true);
	at = mmap(NULL, 2 * 4096, PROT_READ, MAP_SHARED, fd, 4096); /* a part, read-only */
	EXPECT(at != MAP_FAILED, true);
	EXPECT(munmap(at, 2 * 4096), 0);
}

/* Another domain's words are not to be executed. */
static void map_no_code(void)
{
	int fd = ring_open();
	void *at;

	EXPECT(ring_register(fd, 0, self, 4096 - 64), 0);
	at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	EXPECT(at == MAP_FAILED && errno == EPERM, true);
	at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	EXPECT(at != MAP_FAILED, true);
	EXPECT(mprotect(at, 4096, PROT_READ | PROT_EXEC) < 0 && errno == EACCES, true);
	EXPECT(mprotect(at, 4096, PROT_READ | PROT_WRITE), 0);
}

/* A file that is open for reading receives, and is mapped for reading, and that is all. */
static void read_only(void)
{
	int fd = ring_open_as(O_RDONLY), sender = ring_open();
	uint32_t *at;

	EXPECT(ring_register(fd, 5, self, 4096 - 64), 0);
	EXPECT(ring_peer(fd, 6), -EBADF);
	EXPECT(ring_send(fd, "x", 1), -EBADF);
	EXPECT(ring_map(fd, 4096 - 64) == NULL && errno == EACCES, true);
	at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	EXPECT(at != MAP_FAILED, true);
	EXPECT(mprotect(at, 4096, PROT_READ | PROT_WRITE) < 0 && errno == EACCES, true);
	EXPECT(ring_register(sender, 6, self, 64), 0);
	EXPECT(ring_peer(sender, 5), 0);
	EXPECT(ring_send(sender, "x", 1), 1);
	EXPECT(ring_poll(fd, POLLIN, 0), POLLIN);
	EXPECT(at[1], 32); /* it is the ring, not a copy */
	EXPECT(call(fd, ARGODEV_CONSUMED, NULL), 0);
	at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	EXPECT(at == MAP_FAILED && errno == EINVAL, true);
	fd = ring_open_as(O_WRONLY);
	EXPECT(ring_register(fd, 7, self, 4096 - 64), 0);
	at = mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT(at == MAP_FAILED && errno == EACCES, true);
}

/* A mapping keeps the ring, though the file is closed; the last of both ends it. */
static void map_keeps(void)
{
	struct pair pair;
	uint32_t aport;
	char got[8];
	int fd;

	pair_make(&pair, 4032);
	aport = ring_info(pair.b).aport;
	EXPECT(close(pair.b), 0);
	EXPECT(ring_send(pair.a, "kept", 5), 5);
	EXPECT(ring_take(pair.map_b, 4032, got, sizeof(got)), 5);
	EXPECT(strcmp(got, "kept"), 0);
	fd = ring_open();
	EXPECT(ring_register(fd, aport, self, 4032), -EEXIST);
	EXPECT(munmap(pair.map_b, 4096), 0);
	EXPECT(ring_send(pair.a, "lost", 5), -ECONNREFUSED);
	EXPECT(ring_register(fd, aport, self, 4032), 0);
}

/* For scenarios: what all processes here hold. */
static void pages_held(void)
{
	printf("pages %llu\n", (unsigned long long)ring_info(ring_open()).n_pages);
}

/* All that the domain may have, until it is killed. */
static void rings_held(void)
{
	long r;

	do {
		r = ring_register(ring_open(), 0, self, 64);
	} while (r == 0);
	EXPECT(r, -ENOSPC);
	printf("held\n");
	fflush(stdout);
	alarm(0);
	(void)pause();
}

const struct test ring_tests[] = {
	{"pages_held", pages_held, true},
	{"rings_held", rings_held, true},
	{"unknown_requests", unknown_requests},
	{"without_ring", without_ring},
	{"register_arguments", register_arguments},
	{"register_sizes", register_sizes},
	{"register_names", register_names},
	{"register_limit", register_limit},
	{"register_memory", register_memory},
	{"user_rings", user_rings},
	{"user_memory", user_memory},
	{"info_sizes", info_sizes},
	{"peer_once", peer_once},
	{"map_arguments", map_arguments},
	{"map_no_code", map_no_code},
	{"read_only", read_only},
	{"map_keeps", map_keeps},
	{0},
};
