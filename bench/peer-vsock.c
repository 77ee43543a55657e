/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * AF_VSOCK from this machine to itself, where the kernel has vsock_loopback: SOCK_SEQPACKET over
 * the same calls as a Unix socket's.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* After <sys/socket.h>: it needs its types. */
#include <linux/vm_sockets.h>

#include "bench/bench.h"

/* Returns the name of the step that failed, with errno; NULL: none. */
static const char *pair_make(int ret_socks[static 2])
{
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL, .svm_port = VMADDR_PORT_ANY};
	socklen_t len = sizeof(address);
	int listener = socket(AF_VSOCK, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int socks[2] = {-1, -1}, error;
	const char *step = NULL;

	if (listener < 0)
		step = "socket";
	else if (bind(listener, (struct sockaddr *)&address, len) < 0 || listen(listener, 1) < 0)
		step = "bind to the loopback CID";
	else if (getsockname(listener, (struct sockaddr *)&address, &len) < 0)
		step = "getsockname";
	else if ((socks[0] = socket(AF_VSOCK, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) < 0 ||
		 connect(socks[0], (struct sockaddr *)&address, sizeof(address)) < 0)
		step = "connect";
	else if ((socks[1] = accept(listener, NULL, NULL)) < 0)
		step = "accept";
	error = errno;
	if (listener >= 0)
		(void)close(listener);
	for (int i = 0; i < 2 && step; i++) {
		if (socks[i] >= 0)
			(void)close(socks[i]);
	}
	if (!step)
		memcpy(ret_socks, socks, sizeof(socks));
	errno = error;
	return step;
}

static const char *missing(void)
{
	static char reason[128];
	int socks[2];
	const char *step = pair_make(socks);

	if (step) {
		(void)snprintf(reason, sizeof(reason), "no vsock_loopback in this kernel: %s: %s",
			step, strerror(errno));
		return reason;
	}
	(void)close(socks[0]);
	(void)close(socks[1]);
	return NULL;
}

static void pair_prepare(struct pair *pair)
{
	const char *step = pair_make(pair->socks);

	if (step)
		err(1, "AF_VSOCK, %s", step);
}

const struct peer peer_vsock = {
	.name = "AF_VSOCK",
	.len_max = 65536, /* its credit, by default 256 KiB, is for whole messages */
	.missing = missing,
	.prepare = pair_prepare,
	.open = seqpacket_open,
	.send = seqpacket_send,
	.recv = seqpacket_recv,
	.close = seqpacket_close,
};
