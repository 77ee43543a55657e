/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `conformance --guest TERMINAL`: the far end of the lanes, in a guest. Every channel is an agent,
 * a process that runs this very program again; cases in dom0 come and go, the guest stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/conformance/agent.h"
#include "tests/conformance/lane.h"

struct guest {
	struct lane lane;
	struct {
		pid_t pid; /* 0: no such channel */
		int fd;
	} agents[LANE_CHANNELS];
};

static void agent_spawn(struct guest *guest, uint16_t channel)
{
	int fds[2];
	pid_t pid;

	if (guest->agents[channel].pid ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		if (dup2(fds[1], 0) >= 0)
			execl("/proc/self/exe", "conformance", "--agent", "xen", NULL);
		_exit(127);
	}
	(void)close(fds[1]);
	guest->agents[channel].pid = pid;
	guest->agents[channel].fd = fds[0];
}

/* Its descriptor has ended, so it has, or is about to. */
static int agent_wait(struct guest *guest, uint16_t channel)
{
	int status = -1;

	while (waitpid(guest->agents[channel].pid, &status, 0) < 0)
		if (errno != EINTR)
			break;
	(void)close(guest->agents[channel].fd);
	guest->agents[channel].pid = 0;
	return status;
}

static void guest_reset(struct guest *guest)
{
	for (uint16_t i = 0; i < LANE_CHANNELS; i++) {
		if (!guest->agents[i].pid)
			continue;
		(void)kill(guest->agents[i].pid, SIGKILL);
		(void)agent_wait(guest, i);
	}
}

static void on_frame(void *arg, const struct lane_frame *frame)
{
	struct guest *guest = arg;
	uint16_t channel = frame->channel % LANE_CHANNELS;
	int sig;

	if (frame->type == LANE_RESET) {
		guest_reset(guest);
		(void)lane_send(&guest->lane, LANE_READY, 0, frame->payload, frame->len);
	} else if (frame->type == LANE_SPAWN) {
		agent_spawn(guest, channel);
	} else if (!guest->agents[channel].pid) {
		return;
	} else if (frame->type == LANE_DATA) {
		(void)agent_write_all(guest->agents[channel].fd, frame->payload, frame->len);
	} else if (frame->type == LANE_END) {
		(void)shutdown(guest->agents[channel].fd, SHUT_WR);
	} else if (frame->type == LANE_SIGNAL && frame->len == sizeof(sig)) {
		memcpy(&sig, frame->payload, sizeof(sig));
		(void)kill(guest->agents[channel].pid, sig);
		if (sig != SIGKILL) /* that one is answered by its end */
			(void)lane_send(&guest->lane, LANE_SIGNAL, channel, &sig, sizeof(sig));
	}
}

static void on_agent(struct guest *guest, uint16_t channel)
{
	uint8_t buf[LANE_PAYLOAD_MAX];
	ssize_t n = read(guest->agents[channel].fd, buf, sizeof(buf));
	int status;

	if (n > 0) {
		(void)lane_send(&guest->lane, LANE_DATA, channel, buf, (uint32_t)n);
	} else if (n == 0 || errno != EINTR) {
		status = agent_wait(guest, channel);
		(void)lane_send(&guest->lane, LANE_END, channel, &status, sizeof(status));
	}
}

int guest_main(const char *device)
{
	static struct guest guest;
	struct pollfd fds[1 + LANE_CHANNELS];
	uint16_t channels[1 + LANE_CHANNELS];
	nfds_t n;

	(void)signal(SIGPIPE, SIG_IGN);
	guest.lane.fd = open(device, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (guest.lane.fd < 0 || lane_make_raw(guest.lane.fd) < 0) {
		perror(device);
		return 1;
	}
	for (;;) {
		fds[0] = (struct pollfd){.fd = guest.lane.fd, .events = POLLIN};
		n = 1;
		for (uint16_t i = 0; i < LANE_CHANNELS; i++) {
			if (!guest.agents[i].pid)
				continue;
			channels[n] = i;
			fds[n++] = (struct pollfd){.fd = guest.agents[i].fd, .events = POLLIN};
		}
		if (poll(fds, n, -1) < 0)
			continue;
		for (nfds_t i = 1; i < n; i++)
			if (fds[i].revents && guest.agents[channels[i]].pid)
				on_agent(&guest, channels[i]);
		if (fds[0].revents && lane_receive(&guest.lane, on_frame, &guest) < 0)
			return 1;
	}
}
