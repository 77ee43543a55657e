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

int lane_send(
	struct lane *lane, enum lane_type type, uint16_t channel, const void *payload, uint32_t len)
{
	struct lane_frame frame = {.type = (uint16_t)type, .channel = channel, .len = len};

	memcpy(frame.magic, magic, sizeof(magic));
	memcpy(frame.payload, payload, len);
	return agent_write_all(lane->fd, &frame, LANE_HEADER + len);
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
