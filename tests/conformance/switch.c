/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between the case, which reads and writes an ordinary descriptor for each of its agents, and the
 * consoles of the guests that they live in. A process of its own, so that the case may block; it
 * ends with the case, and what it holds open in the guests is ended by the next one's RESET.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/conformance/agent.h"
#include "tests/conformance/lane.h"

#define GUESTS_MAX     4
#define RESET_LIMIT_MS 20000

struct console {
	struct lane lane;
	uint64_t nonce;
	bool ready;
	struct {
		bool used;
		int fd; /* -1: the case has closed its end */
	} channels[LANE_CHANNELS];
};

struct switchboard {
	int control;
	size_t n;
	struct console consoles[GUESTS_MAX];
	struct console *asked; /* whose answer the case waits for, of channel asked_channel */
	uint16_t asked_channel;
	enum lane_type asked_type;
};

static void answer(struct switchboard *board, int rc)
{
	(void)send(board->control, &rc, sizeof(rc), MSG_NOSIGNAL);
}

/* Its number may be used again: the guest has no such agent any more. */
static void channel_free(struct console *console, uint16_t channel)
{
	if (console->channels[channel].fd >= 0)
		(void)close(console->channels[channel].fd);
	console->channels[channel].used = false;
}

struct frame_arg {
	struct switchboard *board;
	struct console *console;
};

static void on_frame(void *arg, const struct lane_frame *frame)
{
	struct switchboard *board = ((struct frame_arg *)arg)->board;
	struct console *console = ((struct frame_arg *)arg)->console;
	uint16_t channel = frame->channel % LANE_CHANNELS;
	int status = -1;

	if (frame->type == LANE_READY && frame->len == sizeof(console->nonce)) {
		console->ready |= memcmp(frame->payload, &console->nonce, frame->len) == 0;
		return;
	}
	if (!console->ready || !console->channels[channel].used)
		return;
	if (frame->type == LANE_DATA && console->channels[channel].fd >= 0)
		(void)agent_write_all(console->channels[channel].fd, frame->payload, frame->len);
	if (frame->type != LANE_END && frame->type != LANE_SIGNAL)
		return;
	if (frame->type == LANE_END) {
		memcpy(&status, frame->payload, sizeof(status));
		channel_free(console, channel);
	}
	if (board->asked == console && board->asked_channel == channel &&
		board->asked_type == frame->type) {
		answer(board, frame->type == LANE_END ? status : 0);
		board->asked = NULL;
	}
}

static void on_join(struct switchboard *board, struct console *console, int fd)
{
	uint16_t channel = 0;

	while (channel < LANE_CHANNELS && console->channels[channel].used)
		channel++;
	if (channel == LANE_CHANNELS || fd < 0) {
		answer(board, -EUSERS);
		return;
	}
	console->channels[channel].used = true;
	console->channels[channel].fd = fd;
	(void)lane_send(&console->lane, LANE_SPAWN, channel, "", 0);
	answer(board, channel);
}

static int receive_request(struct switchboard *board, struct switch_request *ret, int *ret_fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} cmsg;
	struct iovec iov = {ret, sizeof(*ret)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &cmsg,
		.msg_controllen = sizeof(cmsg)};

	*ret_fd = -1;
	if (recvmsg(board->control, &msg, MSG_CMSG_CLOEXEC) != sizeof(*ret))
		return -EPIPE;
	if (msg.msg_controllen && cmsg.header.cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(&cmsg.header), sizeof(int));
	return 0;
}

/* False: the case has ended. */
static bool on_control(struct switchboard *board)
{
	struct switch_request request;
	struct console *console;
	int fd;

	if (receive_request(board, &request, &fd) < 0)
		return false;
	console = &board->consoles[(size_t)request.guest % board->n];
	if (request.op == SWITCH_JOIN) {
		on_join(board, console, fd);
		return true;
	}
	if (!console->channels[request.channel % LANE_CHANNELS].used) {
		answer(board, -ESRCH); /* it ended by itself */
		return true;
	}
	board->asked = console;
	board->asked_channel = request.channel;
	board->asked_type = LANE_END;
	if (request.op == SWITCH_SIGNAL) {
		if (request.sig != SIGKILL)
			board->asked_type = LANE_SIGNAL;
		(void)lane_send(&console->lane, LANE_SIGNAL, request.channel, &request.sig,
			sizeof(request.sig));
	} else {
		(void)lane_send(&console->lane, LANE_END, request.channel, "", 0);
	}
	return true;
}

static void on_channel(struct console *console, uint16_t channel)
{
	uint8_t buf[LANE_PAYLOAD_MAX];
	ssize_t n = read(console->channels[channel].fd, buf, sizeof(buf));

	if (n > 0) {
		(void)lane_send(&console->lane, LANE_DATA, channel, buf, (uint32_t)n);
	} else if (n == 0 || errno != EINTR) {
		(void)close(console->channels[channel].fd);
		console->channels[channel].fd = -1;
	}
}

struct source {
	struct console *console; /* NULL: the case */
	int channel;		 /* -1: the console itself */
};

static nfds_t sources(struct switchboard *board, struct pollfd *fds, struct source *from)
{
	nfds_t n = 0;

	fds[n] = (struct pollfd){.fd = board->control, .events = POLLIN};
	from[n++] = (struct source){NULL, -1};
	for (size_t g = 0; g < board->n; g++) {
		struct console *console = &board->consoles[g];

		fds[n] = (struct pollfd){.fd = console->lane.fd, .events = POLLIN};
		from[n++] = (struct source){console, -1};
		for (int i = 0; i < (int)LANE_CHANNELS; i++) {
			if (!console->channels[i].used || console->channels[i].fd < 0)
				continue;
			fds[n] = (struct pollfd){.fd = console->channels[i].fd, .events = POLLIN};
			from[n++] = (struct source){console, i};
		}
	}
	return n;
}

/* False: over. */
static bool turn(struct switchboard *board, int timeout_ms)
{
	static struct pollfd fds[1 + GUESTS_MAX * (1 + LANE_CHANNELS)];
	static struct source from[1 + GUESTS_MAX * (1 + LANE_CHANNELS)];
	nfds_t n = sources(board, fds, from);

	if (poll(fds, n, timeout_ms) < 0)
		return errno == EINTR;
	/* The channels first: what the case wrote before it asked for an agent's end. */
	for (nfds_t i = n; i-- > 1;) {
		struct frame_arg arg = {board, from[i].console};

		if (!fds[i].revents)
			continue;
		if (from[i].channel < 0) {
			if (lane_receive(&from[i].console->lane, on_frame, &arg) < 0)
				return false;
		} else if (from[i].console->channels[from[i].channel].used &&
			   from[i].console->channels[from[i].channel].fd == fds[i].fd) {
			on_channel(from[i].console, (uint16_t)from[i].channel);
		}
	}
	return !fds[0].revents || on_control(board);
}

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* An earlier case's switch may be about to end: the lock is its, until it has. */
static int console_open(struct console *console, const char *tty, uint64_t nonce)
{
	console->lane.fd = open(tty, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (console->lane.fd < 0 || flock(console->lane.fd, LOCK_EX) < 0)
		return -errno;
	console->nonce = nonce;
	if (lane_make_raw(console->lane.fd) < 0 || lane_resync(&console->lane) < 0)
		return -EIO;
	return lane_send(&console->lane, LANE_RESET, 0, &nonce, sizeof(nonce));
}

__attribute__((noreturn)) static void switch_main(int control, const char *const *ttys, size_t n)
{
	static struct switchboard board;
	int64_t until = now_ms() + RESET_LIMIT_MS;
	int r = 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)alarm(0);
	board.control = control;
	board.n = n;
	for (size_t i = 0; i < n && r == 0; i++)
		r = console_open(&board.consoles[i], ttys[i], (uint64_t)now_ms() << 20 | i);
	for (size_t i = 0; i < n && r == 0; i++) {
		while (r == 0 && !board.consoles[i].ready) {
			if (!turn(&board, 1000))
				_exit(0);
			r = now_ms() > until ? -ETIMEDOUT : 0;
		}
	}
	answer(&board, r);
	while (r == 0 && turn(&board, -1))
		;
	_exit(0);
}

int switch_start(const char *const *ttys, size_t n, int *ret_fd)
{
	int fds[2], rc = -EIO;
	pid_t pid;

	if (n > GUESTS_MAX)
		return -EINVAL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		(void)close(fds[0]);
		switch_main(fds[1], ttys, n);
	}
	(void)close(fds[1]);
	*ret_fd = fds[0];
	if (pid < 0 || recv(fds[0], &rc, sizeof(rc), 0) != sizeof(rc))
		return -EIO;
	return rc;
}

int switch_call(int fd, const struct switch_request *request, int join_fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} cmsg;
	struct iovec iov = {(void *)(uintptr_t)request, sizeof(*request)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int rc = -EIO;

	if (join_fd >= 0) {
		memset(&cmsg, 0, sizeof(cmsg));
		cmsg.header.cmsg_level = SOL_SOCKET;
		cmsg.header.cmsg_type = SCM_RIGHTS;
		cmsg.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&cmsg.header), &join_fd, sizeof(int));
		msg.msg_control = &cmsg;
		msg.msg_controllen = sizeof(cmsg);
	}
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) != sizeof(*request) ||
		recv(fd, &rc, sizeof(rc), 0) != sizeof(rc))
		return -EPIPE;
	return rc;
}
