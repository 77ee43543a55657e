/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* selftest DOMID [TEST...]: one line a test, each in a process of its own; DOMID is the own one. */
#include "tests/kmod/selftest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"

#define TEST_LIMIT_S 60

uint16_t self;

/* How each request was answered, by any process: ARGODEV_REGISTER and the next ones; errno. */
#define REQUESTS 5
#define ERRNOS	 134
static uint8_t (*answered)[ERRNOS];

void expect(const char *file, int line, const char *what, long got, long want)
{
	if (got == want)
		return;
	printf("%s:%d: %s is %ld (%s), not %ld (%s)\n", file, line, what, got,
		got < 0 ? strerrorname_np((int)-got) : "", want,
		want < 0 ? strerrorname_np((int)-want) : "");
	fflush(stdout);
	_exit(1);
}

static long milliseconds(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int ring_open_as(int flags)
{
	int fd = open("/dev/xen/argo", flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int ring_open(void)
{
	return ring_open_as(O_RDWR);
}

long call(int fd, unsigned long request, const void *arg)
{
	uint32_t i = (uint32_t)(request & 0xff) - (ARGODEV_REGISTER & 0xff);
	int r = ioctl(fd, request, arg);

	if (r >= 0)
		return r;
	if (i < REQUESTS && errno < ERRNOS)
		answered[i][errno] = 1;
	return -errno;
}

long ring_register(int fd, uint32_t aport, uint16_t partner, uint32_t len)
{
	struct argodev_register reg = {.aport = aport, .partner = partner, .len = len};

	return call(fd, ARGODEV_REGISTER, &reg);
}

long ring_peer(int fd, uint32_t aport)
{
	struct argodev_peer peer = {.aport = aport};

	return call(fd, ARGODEV_PEER, &peer);
}

long ring_sendv(int fd, const struct argodev_segment *segments, uint32_t n)
{
	struct argodev_sendv sendv = {
		.segments = (uintptr_t)segments, .n_segments = n, .message_type = 7};

	return call(fd, ARGODEV_SENDV, &sendv);
}

long ring_send(int fd, const void *data, uint32_t len)
{
	struct argodev_segment segment = {.addr = (uintptr_t)data, .len = len};

	return ring_sendv(fd, &segment, 1);
}

struct argodev_info ring_info(int fd)
{
	struct argodev_info info = {0};

	EXPECT(call(fd, ARGODEV_INFO, &info), 0);
	return info;
}

uint32_t *ring_map(int fd, uint32_t len)
{
	void *at = mmap(NULL, len + 64, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

int ring_poll(int fd, int events, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = (short)events};
	long start = milliseconds();
	int r = poll(&p, 1, timeout_ms);

	if (r > 0 && timeout_ms > 0 && milliseconds() - start >= timeout_ms)
		return -ETIME;
	return r < 0 ? -errno : p.revents;
}

void pair_make(struct pair *pair, uint32_t len)
{
	*pair = (struct pair){.a = ring_open(), .b = ring_open(), .len = len};
	EXPECT(ring_register(pair->a, 0, self, len), 0);
	EXPECT(ring_register(pair->b, 0, self, len), 0);
	EXPECT(ring_peer(pair->a, ring_info(pair->b).aport), 0);
	EXPECT(ring_peer(pair->b, ring_info(pair->a).aport), 0);
	pair->map_a = ring_map(pair->a, len);
	pair->map_b = ring_map(pair->b, len);
	EXPECT(pair->map_a && pair->map_b, true);
}

void pair_end(struct pair *pair)
{
	EXPECT(munmap(pair->map_a, pair->len + 64), 0);
	EXPECT(munmap(pair->map_b, pair->len + 64), 0);
	EXPECT(close(pair->a), 0);
	EXPECT(close(pair->b), 0);
}

long ring_take(uint32_t *map, uint32_t ring_len, void *to, uint32_t size)
{
	uint32_t rx = map[0], tx = __atomic_load_n(&map[1], __ATOMIC_ACQUIRE), len;
	const uint8_t *data = (const uint8_t *)map + 64;

	if (rx == tx)
		return -1;
	memcpy(&len, data + rx, 4);
	len -= 16;
	for (uint32_t i = 0; i < len && i < size; i++)
		((uint8_t *)to)[i] = data[(rx + 16 + i) % ring_len];
	__atomic_store_n(&map[0], (rx + 16 + (len + 15) / 16 * 16) % ring_len, __ATOMIC_RELEASE);
	return len;
}

unsigned long limit_set(const char *name, unsigned long value)
{
	char path[80];
	unsigned long before;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/module/xen_argo/parameters/%s", name);
	file = fopen(path, "r+");

	EXPECT(file != NULL, true);
	EXPECT(fscanf(file, "%lu", &before), 1);
	EXPECT(fseek(file, 0, SEEK_SET), 0);
	EXPECT(fprintf(file, "%lu", value) > 0, true);
	EXPECT(fclose(file), 0);
	return before;
}

void expect_no_leak(uint64_t pages)
{
	int fds[128], fd = ring_open();

	EXPECT((long)ring_info(fd).n_pages, (long)pages);
	for (int i = 0; i < 128; i++) {
		fds[i] = ring_open();
		EXPECT(ring_register(fds[i], 0, self, 48), 0);
	}
	EXPECT(ring_register(fd, 0, self, 48), -ENOSPC);
	for (int i = 0; i < 128; i++)
		EXPECT(close(fds[i]), 0);
	EXPECT(close(fd), 0);
}

static bool test_run(const struct test *test)
{
	long start = milliseconds();
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG,
			SIGKILL); /* a signal to this program ends the test, too */
		alarm(TEST_LIMIT_S);
		test->run();
		fflush(stdout);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return false;
	printf("%s %s (%ld ms)\n", status ? "FAIL" : "ok  ", test->name, milliseconds() - start);
	return status == 0;
}

static bool test_chosen(const struct test *test, char **names, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], test->name) == 0)
			return true;
	return n == 0 && !test->named;
}

/* A line a request: "answered SENDV EAGAIN EFAULT". */
static void answers_print(void)
{
	static const char *const names[REQUESTS] = {
		"REGISTER", "PEER", "SENDV", "CONSUMED", "INFO"};

	for (size_t i = 0; i < REQUESTS; i++) {
		printf("answered %s", names[i]);
		for (int k = 1; k < ERRNOS; k++)
			if (answered[i][k])
				printf(" %s", strerrorname_np(k));
		printf("\n");
	}
}

int main(int argc, char **argv)
{
	static const struct test *const groups[] = {
		ring_tests, send_tests, wait_tests, life_tests, partner_tests};
	int n_ok = 0, n_bad = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: selftest DOMID [TEST...]\n");
		return 2;
	}
	self = (uint16_t)atoi(argv[1]);
	answered = mmap(NULL, REQUESTS * sizeof(*answered), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (answered == MAP_FAILED)
		return 2;
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		for (const struct test *test = groups[i]; test->name; test++) {
			if (!test_chosen(test, argv + 2, argc - 2))
				continue;
			if (test_run(test))
				n_ok++;
			else
				n_bad++;
		}
	}
	answers_print();
	printf("%d passed, %d failed\n", n_ok, n_bad);
	return n_bad || !n_ok;
}
