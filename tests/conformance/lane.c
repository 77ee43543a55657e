/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames over a console; see lane.h. */
#include <errno.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "tests/conformance/agent.h"
#include "tests/conformance/lane.h"

static const uint8_t magic[8] = {0xf5, 'M', 'S', 'G', 'D', 0xfa, 0x0d, 0xc1};

int lane_make_raw(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &t) < 0)
		return -errno;
	cfmakeraw(&t);
	return tcsetattr(fd, TCSANOW, &t) < 0 ? -errno : 0;
}

/*
 * A byte 0x0f on the console that the kernel speaks on is the beginning of a magic SysRq (Linux,
 * hvc_console.c: __hvc_poll), and never arrives.
 */
#define SYSRQ  0x0f
#define ESCAPE 0x10
#define MASK   0x40

int lane_send(
	struct lane *lane, enum lane_type type, uint16_t channel, const void *payload, uint32_t len)
{
	struct lane_frame frame = {.type = (uint16_t)type, .channel = channel, .len = len};
	uint8_t out[2 * sizeof(frame)];
	const uint8_t *in = (const uint8_t *)&frame;
	size_t n = 0;

	memcpy(frame.magic, magic, sizeof(magic));
	memcpy(frame.payload, payload, len);
	for (size_t i = 0; i < LANE_HEADER + len; i++) {
		bool escape = in[i] == SYSRQ || in[i] == ESCAPE;

		if (escape)
			out[n++] = ESCAPE;
		out[n++] = escape ? in[i] ^ MASK : in[i];
	}
	return agent_write_all(lane->fd, out, n);
}

/* In place; returns how many bytes there are then. */
static size_t lane_unescape(struct lane *lane, uint8_t *buf, size_t n)
{
	size_t out = 0;

	for (size_t i = 0; i < n; i++) {
		if (!lane->escaped && buf[i] == ESCAPE) {
			lane->escaped = true;
			continue;
		}
		buf[out++] = lane->escaped ? buf[i] ^ MASK : buf[i];
		lane->escaped = false;
	}
	return out;
}

int lane_resync(struct lane *lane)
{
	static const uint8_t zeros[sizeof(struct lane_frame)];

	return agent_write_all(lane->fd, zeros, sizeof(zeros));
}

/* Drops bytes until what is there may be the beginning of a frame. */
static void lane_skip(struct lane *lane)
{
	uint8_t *bytes = (uint8_t *)&lane->frame;
	size_t off = 0;

	while (off < lane->got) {
		size_t n = lane->got - off < sizeof(magic) ? lane->got - off : sizeof(magic);

		if (memcmp(bytes + off, magic, n) == 0 &&
			(lane->got - off < LANE_HEADER || off > 0 ||
				lane->frame.len <= LANE_PAYLOAD_MAX))
			break;
		off++;
	}
	lane->got -= off;
	memmove(bytes, bytes + off, lane->got);
}

/* How many bytes the frame that is being received still lacks, as far as that is known. */
static size_t lane_lacks(const struct lane *lane)
{
	return lane->got < LANE_HEADER ? LANE_HEADER - lane->got
				       : LANE_HEADER + lane->frame.len - lane->got;
}

int lane_receive(
	struct lane *lane, void (*fn)(void *arg, const struct lane_frame *frame), void *arg)
{
	uint8_t buf[4096];
	ssize_t n;

	do
		n = read(lane->fd, buf, sizeof(buf));
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	n = (ssize_t)lane_unescape(lane, buf, (size_t)n);
	for (size_t off = 0; off < (size_t)n;) {
		size_t part = lane_lacks(lane);

		if (part > (size_t)n - off)
			part = (size_t)n - off;
		memcpy((uint8_t *)&lane->frame + lane->got, buf + off, part);
		lane->got += part;
		off += part;
		if (lane->got <= LANE_HEADER)
			lane_skip(lane);
		if (lane->got >= LANE_HEADER && lane_lacks(lane) == 0) {
			fn(arg, &lane->frame);
			lane->got = 0;
		}
	}
	return 0;
}
