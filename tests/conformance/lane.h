/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many agents' byte streams over one console of a guest: how a case in dom0 commands agents there
 * without the help of anything that the suite tests. Frames of at most a KiB; whoever reads skips
 * what is no frame, such as a kernel's messages or the rest of a frame whose sender was killed.
 */
#ifndef CONFORMANCE_LANE_H
#define CONFORMANCE_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lane_type {
	LANE_RESET = 1, /* to the guest: end every agent; payload: a number */
	LANE_READY,	/* the answer, with the number */
	LANE_SPAWN,	/* to the guest: an agent for this channel */
	LANE_DATA,	/* between the agent's descriptor 0 and its commander */
	LANE_END,	/* to the guest: no more data; from it: the agent ended, payload: status */
	LANE_SIGNAL,	/* to the guest, payload: which; anything but SIGKILL is answered alike */
};

#define LANE_PAYLOAD_MAX 1024U
#define LANE_CHANNELS	 256U

struct lane_frame {
	uint8_t magic[8];
	uint16_t type;
	uint16_t channel;
	uint32_t len;
	uint8_t payload[LANE_PAYLOAD_MAX];
};

#define LANE_HEADER offsetof(struct lane_frame, payload)

/* One end of a console. */
struct lane {
	int fd;	      /* borrowed */
	bool escaped; /* the last byte was the escape */
	size_t got;
	struct lane_frame frame; /* being received */
};

/* Makes a terminal pass bytes on as they are. */
int lane_make_raw(int fd);

/* Sends a frame, blocking. */
int lane_send(struct lane *lane, enum lane_type type, uint16_t channel, const void *payload,
	uint32_t len);

/* These bytes put the far reader at a frame's beginning, wherever it is. */
int lane_resync(struct lane *lane);

/*
 * Reads once (blocking where nothing is there) and calls back for each whole frame. 0, or -errno;
 * -EPIPE at the end.
 */
int lane_receive(
	struct lane *lane, void (*fn)(void *arg, const struct lane_frame *frame), void *arg);

/* In a guest: serves agents for a case in dom0 over this terminal, for ever. */
int guest_main(const char *device);

/* In dom0, a process beside the case: see switch.c. */
struct switch_request {
	enum { SWITCH_JOIN = 1, SWITCH_END, SWITCH_SIGNAL } op;
	uint16_t channel; /* END, SIGNAL */
	int sig;
};

/* Starts it for a console; ret_fd takes switch_call. Waits until the guest is ready. */
int switch_start(const char *tty, int *ret_fd);
/* JOIN takes the descriptor to serve (it stays the caller's) and returns a channel. */
int switch_call(int fd, const struct switch_request *request, int join_fd);

#endif
