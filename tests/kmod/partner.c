/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two domains: grants between them, and the end of one with rings on both sides. The lab starts one
 * test in each, and tells what the other side has said in the environment.
 */
#include "tests/kmod/selftest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <xen/grant_table.h> /* for the next ones */
#include <xen/sys/gntalloc.h>
#include <xen/sys/gntdev.h>

#define PAGE	    4096U
#define GUEST_APORT 5

uint32_t told(const char *name)
{
	const char *text = getenv(name);

	EXPECT(text != NULL, true);
	return (uint32_t)strtoul(text, NULL, 10);
}

/* Grants a page to domain $TO and says its reference. */
static volatile char *page_grant(void)
{
	struct ioctl_gntalloc_alloc_gref alloc = {
		.domid = (uint16_t)told("TO"), .flags = GNTALLOC_FLAG_WRITABLE, .count = 1};
	int fd = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC);
	char *page;

	EXPECT(call(fd, IOCTL_GNTALLOC_ALLOC_GREF, &alloc), 0);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)alloc.index);
	EXPECT(page != MAP_FAILED, true);
	printf("gref %u\n", alloc.gref_ids[0]);
	fflush(stdout);
	return page;
}

char *page_granted(void)
{
	struct ioctl_gntdev_map_grant_ref grant = {
		.count = 1, .refs = {{.domid = told("FROM"), .ref = told("GREF")}}};
	int fd = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
	char *page;

	EXPECT(call(fd, IOCTL_GNTDEV_MAP_GRANT_REF, &grant), 0);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)grant.index);
	EXPECT(page != MAP_FAILED, true);
	EXPECT(close(fd), 0);
	return page;
}

/* Waits to be killed. */
static void grant_page(void)
{
	(void)page_grant();
	alarm(0);
	(void)pause();
}

/*
 * A ring for domain $TO, which this domain's end finds there. Once it has begun, no more can be
 * had; as nobody here could tell, it is written to a page that the other domain has.
 */
static void domain_ends(void)
{
	int fd = ring_open(), other = ring_open();
	volatile char *page;

	EXPECT(ring_register(fd, GUEST_APORT, (uint16_t)told("TO"), 16384), 0);
	page = page_grant();
	alarm(0);
	/* There is little time left then, so the question is one that is soon answered. */
	while (ring_register(other, 0, MISSING, 48) == -ESRCH)
		;
	*page = (char)(ring_register(other, 0, MISSING, 48) == -ESHUTDOWN);
	(void)pause();
}

/* Until sending to the domain ends in that error. Its ring is full meanwhile. */
static void refusal_await(int fd, long err)
{
	static char data[1000];
	long r;

	do {
		(void)usleep(1000);
		r = ring_send(fd, data, sizeof(data));
	} while (r == -EAGAIN || (r == -ECONNREFUSED && err != -ECONNREFUSED));
	EXPECT(r, err);
	/* poll tells a process that waits for room that waiting is of no use. */
	EXPECT(ring_poll(fd, POLLOUT, LONG_MS), POLLOUT);
}

/*
 * Domain $FROM, with a page of whose this one keeps it from vanishing, ends step by step: its
 * kernel, the domain for Xen, the rest of it. The lab goes on at each line.
 */
static void partner_dies(void)
{
	static char data[1000];
	char *page = page_granted();
	uint16_t partner = (uint16_t)told("FROM");
	int a = ring_open(), b = ring_open();
	uint64_t pages = ring_info(a).n_pages;
	long r;

	alarm(300);
	EXPECT(ring_register(a, 0, partner, 4032), 0);
	EXPECT(ring_peer(a, GUEST_APORT), 0);
	while (ring_send(a, data, sizeof(data)) == (long)sizeof(data))
		;
	EXPECT(ring_send(a, data, sizeof(data)), -EAGAIN);
	EXPECT(ring_poll(a, POLLOUT, 0), 0);
	printf("full\n");
	fflush(stdout);

	/* Its kernel took the rings out of Xen, though the domain is still there. */
	refusal_await(a, -ECONNREFUSED);
	printf("unregistered\n");
	fflush(stdout);

	/* Xen has no Argo for it any more, and takes no rings for it; but it is still known. */
	while ((r = ring_register(b, 0, partner, 64)) == 0) {
		EXPECT(close(b), 0);
		b = ring_open();
		(void)usleep(1000);
	}
	EXPECT(r, -ECONNREFUSED);
	EXPECT(ring_send(a, data, 1), -ECONNREFUSED);
	/* It is a matter of luck: both its processors must have been at work to the end. */
	if (*page)
		printf("answered REGISTER ESHUTDOWN\n");
	EXPECT(munmap(page, PAGE), 0);

	refusal_await(a, -ESRCH);
	EXPECT(ring_register(b, 0, partner, 64), -ESRCH);
	/* Our ring went with it; that is nothing that we could lose memory by. */
	EXPECT(ring_info(a).flags, ARGODEV_INFO_REGISTERED | ARGODEV_INFO_PEER);
	EXPECT(close(a), 0);
	EXPECT((long)ring_info(b).n_pages, (long)pages);
}

/*
 * Into another kernel, which would be a halt instruction: the toolstack does not let it get so far,
 * but this one's end is that of every kexec.
 */
static void kexec_begin(void)
{
	static const unsigned char halt[] = {0xfa, 0xf4, 0xeb, 0xfd};
	struct kexec_segment segment = {
		.buf = halt, .bufsz = sizeof(halt), .mem = (void *)0x1000000, .memsz = PAGE};

	if (syscall(SYS_kexec_load, 0x1000000UL, 1UL, &segment, KEXEC_ARCH_X86_64) < 0)
		EXPECT(-errno, 0);
	printf("loaded\n");
	fflush(stdout);
	(void)syscall(
		SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
	EXPECT(-errno, 0);
}

const struct test partner_tests[] = {
	{"grant_page", grant_page, true},
	{"domain_ends", domain_ends, true},
	{"partner_dies", partner_dies, true},
	{"kexec_begin", kexec_begin, true},
	{0},
};
