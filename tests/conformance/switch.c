/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between the case, which reads and writes an ordinary descriptor for each of its agents, and the
 * console of the guest that they live in. A process of its own, so that the case may block; it
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
#include <unistd.h>

#include "tests/conformance/agent.h"
#include "tests/conformance/case.h"
#include "tests/conformance/lane.h"

#define RESET_LIMIT_MS 60000
#define RESET_AGAIN_MS 1000

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
	struct console console;
	bool asked; /* the case waits for an answer, of this type, of asked_channel */
	enum lane_type asked_type;
	uint16_t asked_channel;
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

static void on_frame(void *arg, const struct lane_frame *frame)
{
	struct switchboard *board = arg;
	struct console *console = &board->console;
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
		if (!board->asked)
			fprintf(stderr, "# an agent in the guest ended with status 0x%x\n", status);
	}
	if (board->asked && board->asked_channel == channel && board->asked_type == frame->type) {
		answer(board, frame->type == LANE_END ? status : 0);
		board->asked = false;
	}
}

static void on_join(struct switchboard *board, int fd)
{
	struct console *console = &board->console;
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
	struct console *console = &board->console;
	struct switch_request request;
	int fd;

	if (receive_request(board, &request, &fd) < 0)
		return false;
	if (request.op == SWITCH_JOIN) {
		on_join(board, fd);
		return true;
	}
	if (!console->channels[request.channel % LANE_CHANNELS].used) {
		answer(board, -ESRCH); /* it ended by itself */
		return true;
	}
	board->asked = true;
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

/* The case, the console, then channels, whose numbers are in `numbers`. */
static nfds_t sources(struct switchboard *board, struct pollfd *fds, uint16_t *numbers)
{
	struct console *console = &board->console;
	nfds_t n = 0;

	fds[n++] = (struct pollfd){.fd = board->control, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = console->lane.fd, .events = POLLIN};
	for (uint16_t i = 0; i < LANE_CHANNELS; i++) {
		if (!console->channels[i].used || console->channels[i].fd < 0)
			continue;
		numbers[n] = i;
		fds[n++] = (struct pollfd){.fd = console->channels[i].fd, .events = POLLIN};
	}
	return n;
}

/* False: over. */
static bool turn(struct switchboard *board, int timeout_ms)
{
	static struct pollfd fds[2 + LANE_CHANNELS];
	static uint16_t numbers[2 + LANE_CHANNELS];
	struct console *console = &board->console;
	nfds_t n = sources(board, fds, numbers);

	if (poll(fds, n, timeout_ms) < 0)
		return errno == EINTR;
	/* The channels first: what the case wrote before it asked for an agent's end. */
	for (nfds_t i = n; i-- > 2;)
		if (fds[i].revents && console->channels[numbers[i]].used &&
			console->channels[numbers[i]].fd == fds[i].fd)
			on_channel(console, numbers[i]);
	if (fds[1].revents && lane_receive(&console->lane, on_frame, board) < 0)
		return false;
	return !fds[0].revents || on_control(board);
}

/* An earlier case's switch may be about to end: the lock is its, until it has. */
static int console_open(struct console *console, const char *tty)
{
	console->lane.fd = open(tty, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (console->lane.fd < 0 || flock(console->lane.fd, LOCK_EX) < 0)
		return -errno;
	console->nonce = (uint64_t)case_now_ms() << 20 | (uint32_t)getpid();
	return lane_make_raw(console->lane.fd);
}

static int console_reset(struct console *console)
{
	if (lane_resync(&console->lane) < 0)
		return -EIO;
	return lane_send(&console->lane, LANE_RESET, 0, &console->nonce, sizeof(console->nonce));
}

/* A guest that is still coming up may miss it, so it is said again. */
static int console_ready(struct switchboard *board)
{
	struct console *console = &board->console;
	int64_t now = case_now_ms(), until = now + RESET_LIMIT_MS, again = now;

	for (; !console->ready; now = case_now_ms()) {
		int r = now >= again ? console_reset(console) : 0;

		if (r < 0 || now > until)
			return r < 0 ? r : -ETIMEDOUT;
		if (now >= again)
			again = now + RESET_AGAIN_MS;
		if (!turn(board, RESET_AGAIN_MS))
			_exit(0);
	}
	return 0;
}

__attribute__((noreturn)) static void switch_main(int control, const char *tty)
{
	static struct switchboard board;
	int r;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)alarm(0);
	/* Copies of the case's descriptors would keep its agents from seeing their ends. */
	board.control = dup2(control, 3);
	(void)close_range(4, ~0U, 0);
	r = console_open(&board.console, tty);
	if (r == 0)
		r = console_ready(&board);
	answer(&board, r);
	while (r == 0 && turn(&board, -1))
		;
	_exit(0);
}

int switch_start(const char *tty, int *ret_fd)
{
	int fds[2], rc = -EIO;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		(void)close(fds[0]);
		switch_main(fds[1], tty);
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
