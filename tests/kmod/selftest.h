/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The driver xen-argo from user space: every request, every error, on real Xen, in whatever
 * domain it runs. Rings are for the own domain, from one file of the device to another.
 */
#ifndef MSGD_TESTS_KMOD_SELFTEST_H
#define MSGD_TESTS_KMOD_SELFTEST_H

#include <stdbool.h>
#include <stdint.h>

#include "kmod/include/uapi/xen/argodev.h"

#define MISSING 32000 /* a domain that is not there */

extern uint16_t self; /* own domid */

/* Ends the program, saying where. */
#define EXPECT(got, want) expect(__FILE__, __LINE__, #got, got, want)
void expect(const char *file, int line, const char *what, long got, long want);

/* These return what the kernel does: a result or a negative errno. */
int ring_open(void);
int ring_open_as(int flags);
long ring_register(int fd, uint32_t aport, uint16_t partner, uint32_t len);
long ring_peer(int fd, uint32_t aport);
long ring_send(int fd, const void *data, uint32_t len);
long ring_sendv(int fd, const struct argodev_segment *segments, uint32_t n);
long call(int fd, unsigned long request, const void *arg);
struct argodev_info ring_info(int fd);
/* NULL: not mapped, errno says why. */
uint32_t *ring_map(int fd, uint32_t len);
#define LONG_MS 20000 /* for what must come, and be told */
/* revents, 0 after so long, or a negative errno; ETIME: it is there, but nobody was woken. */
int ring_poll(int fd, int events, int timeout_ms);

/* Two rings of that length for each other. */
struct pair {
	int a, b;
	uint32_t len;
	uint32_t *map_a, *map_b;
};
void pair_make(struct pair *pair, uint32_t len);
void pair_end(struct pair *pair);
/* Takes the next message: returns the length of its payload, copied; or -1. */
long ring_take(uint32_t *map, uint32_t ring_len, void *to, uint32_t size);

/* Sets a limit of the module's (limit and user_limit, in pages; user_rings), and returns what it
 * was. */
unsigned long limit_set(const char *name, unsigned long value);
/* All 128 rings can be had, no more, and the module's memory is what it was. */
void expect_no_leak(uint64_t pages);

/* A number in the environment, of the other side. */
uint32_t told(const char *name);
/* The page with reference $GREF of domain $FROM, mapped. */
char *page_granted(void);

void fuzz(void);

struct test {
	const char *name;
	void (*run)(void);
	bool named; /* only where it is asked for by name */
};
extern const struct test ring_tests[], send_tests[], wait_tests[], life_tests[], partner_tests[];

#endif
