/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SENDV: what it refuses, and from which memory it can send. */
#include "tests/kmod/selftest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/macro.h"

#define PAGE 4096U
#define RING (64 * PAGE - 64)

static void send_arguments(void)
{
	struct argodev_segment nine[9], padded = {.addr = (uintptr_t)nine, .len = 1, .pad = 1};
	struct argodev_sendv sendv = {.segments = 8, .n_segments = 1}, flags = {.flags = 1},
			     pad = {.pad = 1};
	struct pair pair;

	for (size_t i = 0; i < 9; i++)
		nine[i] = (struct argodev_segment){.addr = (uintptr_t)nine, .len = 1};
	pair_make(&pair, 4032);
	EXPECT(call(pair.a, ARGODEV_SENDV, (void *)8), -EFAULT);
	EXPECT(call(pair.a, ARGODEV_SENDV, &sendv), -EFAULT);
	EXPECT(ring_sendv(pair.a, nine, 9), -EINVAL);
	EXPECT(ring_sendv(pair.a, nine, UINT32_MAX), -EINVAL);
	EXPECT(ring_sendv(pair.a, &padded, 1), -EINVAL);
	EXPECT(call(pair.a, ARGODEV_SENDV, &flags), -EINVAL);
	EXPECT(call(pair.a, ARGODEV_SENDV, &pad), -EINVAL);
	EXPECT(ring_take(pair.map_b, 4032, NULL, 0), -1);
	EXPECT(ring_sendv(pair.a, nine, 8), 8);
	EXPECT(ring_take(pair.map_b, 4032, NULL, 0), 8);
	EXPECT((long)ring_info(pair.a).n_sent, 1);
	EXPECT((long)ring_info(pair.a).n_hypercalls, 1);
	EXPECT((long)ring_info(pair.a).n_sent_bytes, 8);
}

/* Addresses that are not the process's: Xen would read them, with the kernel's rights. */
static void send_foreign_memory(void)
{
	static const uint64_t bad[] = {8, 0x800000000000, 0xffff800000000000, 0xffff888000000000,
		0xffffffff81000000, 0xffffffffffffff00, UINT64_MAX};
	char *hole =
		mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct argodev_segment segments[2] = {{.addr = (uintptr_t)bad, .len = 8}};
	struct pair pair;

	pair_make(&pair, RING);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		segments[1] = (struct argodev_segment){.addr = bad[i], .len = 64};
		EXPECT(ring_sendv(pair.a, segments, 2), -EFAULT);
	}
	/* over the end of user memory */
	segments[1] = (struct argodev_segment){.addr = 0x7fffffffe000, .len = 4 * PAGE};
	EXPECT(ring_sendv(pair.a, segments, 2), -EFAULT);
	memset(hole, 'x', 3 * PAGE);
	EXPECT(munmap(hole + PAGE, PAGE), 0);
	EXPECT(ring_send(pair.a, hole + PAGE - 8, 16), -EFAULT);
	EXPECT(mprotect(hole, PAGE, PROT_NONE), 0);
	EXPECT(ring_send(pair.a, hole, 16), -EFAULT);
	EXPECT(ring_take(pair.map_b, RING, NULL, 0), -1); /* nothing of any */
	EXPECT(ring_send(pair.a, hole + 2 * PAGE, 16), 16);
}

/* Pages that are not there yet, or not any more, are brought in. */
static void send_absent_memory(void)
{
	char *fresh =
		mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char *text = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, file, 0), got[32 * PAGE];
	struct argodev_segment segments[8];
	struct pair pair;

	pair_make(&pair, RING);
	memset(got, 1, sizeof(got));
	EXPECT(ring_send(pair.a, fresh, 32 * PAGE), 32 * PAGE);
	EXPECT(ring_take(pair.map_b, RING, got, sizeof(got)), 32 * PAGE);
	for (size_t i = 0; i < sizeof(got); i++)
		EXPECT(got[i], 0);
	EXPECT(ring_send(pair.a, text, 2 * PAGE), 2 * PAGE);
	EXPECT(ring_take(pair.map_b, RING, got, sizeof(got)), 2 * PAGE);
	EXPECT(memcmp(got, text, 2 * PAGE), 0);
	/* each of the eight absent */
	for (size_t i = 0; i < 8; i++) {
		fresh[i * 4 * PAGE] = (char)('a' + i);
		EXPECT(madvise(fresh + i * 4 * PAGE + PAGE, PAGE, MADV_DONTNEED), 0);
		segments[i] = (struct argodev_segment){
			.addr = (uintptr_t)fresh + i * 4 * PAGE, .len = PAGE + 1};
	}
	EXPECT(ring_sendv(pair.a, segments, 8), 8 * (PAGE + 1));
	EXPECT(ring_take(pair.map_b, RING, got, sizeof(got)), 8 * (PAGE + 1));
	for (size_t i = 0; i < 8; i++)
		EXPECT(got[i * (PAGE + 1)], (char)('a' + i));
	EXPECT((long)ring_info(pair.a).n_bounced, 0);
}

/* Another domain's page. Xen does not read a PVH guest's mappings of grants: the kernel copies. */
static void send_granted_memory(void)
{
	FILE *file = fopen("/sys/hypervisor/guest_type", "r");
	char type[8] = "", got[PAGE], *page = page_granted();
	struct argodev_segment segments[2] = {
		{.addr = (uintptr_t) "abc", .len = 3}, {.addr = (uintptr_t)page, .len = PAGE}};
	unsigned long limit;
	struct pair pair;
	bool copied;

	EXPECT(file && fgets(type, sizeof(type), file), true);
	for (uint32_t i = 0; i < PAGE; i++)
		page[i] = (char)(i * 7);
	pair_make(&pair, RING);
	EXPECT(ring_sendv(pair.a, segments, 2), PAGE + 3);
	EXPECT(ring_take(pair.map_b, RING, got, sizeof(got)), PAGE + 3);
	EXPECT(memcmp(got, "abc", 3), 0);
	EXPECT(memcmp(got + 3, page, PAGE - 3), 0);
	copied = strncmp(type, "PVH", 3) == 0;
	EXPECT((long)ring_info(pair.a).n_bounced, copied);
	EXPECT((long)ring_info(pair.a).n_pages, 2 * 64);
	if (copied) { /* the copy is memory as well */
		limit = limit_set("limit", 2 * 64);
		EXPECT(ring_send(pair.a, page, PAGE), -ENOBUFS);
		(void)limit_set("limit", limit);
	}
	/* In the copy's way as well: no room, no ring. */
	EXPECT(ring_send(pair.a, page, PAGE), PAGE);
	while (ring_send(pair.a, page, PAGE) == PAGE)
		;
	EXPECT(ring_send(pair.a, page, PAGE), -EAGAIN);
	EXPECT(ring_poll(pair.a, POLLOUT, 0), 0);
	EXPECT(munmap(pair.map_b, RING + 64), 0);
	EXPECT(close(pair.b), 0);
	EXPECT(ring_send(pair.a, page, PAGE), -ECONNREFUSED);
}

static void send_empty(void)
{
	struct argodev_segment segments[3] = {
		{.addr = 8}, {.addr = (uintptr_t) "abc", .len = 3}, {0}};
	struct pair pair;
	char got[4];

	pair_make(&pair, 4032);
	EXPECT(ring_send(pair.a, NULL, 0), 0);
	EXPECT(ring_take(pair.map_b, 4032, got, 4), 0);
	EXPECT(ring_sendv(pair.a, NULL, 0), 0);
	EXPECT(ring_take(pair.map_b, 4032, got, 4), 0);
	EXPECT(ring_sendv(pair.a, segments, 3), 3);
	EXPECT(ring_take(pair.map_b, 4032, got, 4), 3);
	EXPECT(memcmp(got, "abc", 3), 0);
}

static void send_sizes(void)
{
	char *data = calloc(1, 0x1000010);
	struct argodev_segment two[2] = {
		{.addr = (uintptr_t)data, .len = 0xffffe0}, {.addr = (uintptr_t)data, .len = 1}};
	struct pair pair;
	int small, large;

	pair_make(&pair, 256);
	EXPECT(ring_send(pair.a, data, 0xffffe1), -EINVAL);
	EXPECT(ring_sendv(pair.a, two, 2), -EMSGSIZE);
	EXPECT(ring_send(pair.a, data, 225), -EMSGSIZE);
	EXPECT(ring_send(pair.a, data, 224), 224);
	EXPECT(ring_send(pair.a, data, 0), -EAGAIN);
	EXPECT((long)ring_info(pair.a).n_full, 1);
	EXPECT(ring_take(pair.map_b, 256, data, 256), 224);
	EXPECT(ring_send(pair.a, data, 0), 0);
	pair_end(&pair);
	small = ring_open();
	large = ring_open();
	EXPECT(ring_register(small, 5, self, 48), 0);
	EXPECT(ring_register(large, 6, self, ARGODEV_RING_LEN_MAX), 0);
	EXPECT(ring_peer(small, 6), 0);
	EXPECT(ring_send(small, data, ARGODEV_RING_LEN_MAX - 32), ARGODEV_RING_LEN_MAX - 32);
	free(data);
}

static void send_refused(void)
{
	int a = ring_open(), b = ring_open();

	EXPECT(ring_register(a, 5, self, 4032), 0);
	EXPECT(ring_peer(a, 6), 0);
	EXPECT(ring_send(a, "x", 1), -ECONNREFUSED);
	EXPECT(ring_register(b, 6, self, 4032), 0);
	EXPECT(ring_send(a, "x", 1), 1);
	EXPECT(close(b), 0);
	EXPECT(ring_send(a, "x", 1), -ECONNREFUSED);
}

/* The source is the ring's, whatever the sender says: it cannot say anything. */
static void send_source(void)
{
	struct pair pair;
	uint32_t head[4];

	pair_make(&pair, 4032);
	EXPECT(ring_send(pair.a, "x", 1), 1);
	memcpy(head, pair.map_b + 16, sizeof(head));
	EXPECT(head[0], 17);
	EXPECT(head[1], ring_info(pair.a).aport);
	EXPECT(head[2], self);
	EXPECT(head[3], 7);
}

const struct test send_tests[] = {
	{"send_arguments", send_arguments},
	{"send_foreign_memory", send_foreign_memory},
	{"send_absent_memory", send_absent_memory},
	{"send_granted_memory", send_granted_memory, true},
	{"send_empty", send_empty},
	{"send_sizes", send_sizes},
	{"send_refused", send_refused},
	{"send_source", send_source},
	{0},
};
