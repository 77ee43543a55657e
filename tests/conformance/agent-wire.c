/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by both ends of an agent's line: the bytes that messages are made of, and whole reads. */
#include <errno.h>
#include <unistd.h>

#include "tests/conformance/agent.h"

uint8_t pattern_byte(uint64_t seed, uint64_t i)
{
	uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15U + (i >> 3) * 0xbf58476d1ce4e5b9U;

	x ^= x >> 29;
	x *= 0x94d049bb133111ebU;
	x ^= x >> 32;
	return (uint8_t)(x >> ((i & 7) * 8));
}

void pattern_fill(uint64_t seed, void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = pattern_byte(seed, i);
}

uint64_t pattern_sum(const void *buf, size_t len)
{
	uint64_t h = 0xcbf29ce484222325U; /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ ((const uint8_t *)buf)[i]) * 0x100000001b3U;
	return h;
}

int agent_read_all(int fd, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, (uint8_t *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		done += (size_t)n;
	}
	return 0;
}

int agent_write_all(int fd, const void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, (const uint8_t *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}
