/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See hangup.h. The request is a poll whose completion writes an eventfd (IOCB_FLAG_RESFD). */
#include "hv/sim/process/hangup.h"

#include <linux/aio_abi.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The ring of completions, which Linux maps into the process: its head as words of 32 bits. */
enum { AIO_RING_HEAD = 2, AIO_RING_TAIL, AIO_RING_MAGIC_WORD };

#define AIO_RING_MAGIC 0xa10a10a1U

void hangup_watch(struct hangup *hangup, int socket, int event_fd)
{
	struct iocb request = {
		.aio_fildes = (uint32_t)socket,
		.aio_lio_opcode = IOCB_CMD_POLL,
		.aio_buf = POLLRDHUP,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)event_fd,
	};
	struct iocb *requests[] = {&request};
	aio_context_t context = 0;

	if (syscall(SYS_io_setup, 1, &context) < 0)
		return;
	hangup->context = context;
	if (((const uint32_t *)context)[AIO_RING_MAGIC_WORD] != AIO_RING_MAGIC ||
		syscall(SYS_io_submit, context, 1, requests) != 1)
		hangup_unwatch(hangup);
}

bool hangup_seen(const struct hangup *hangup)
{
	const _Atomic uint32_t *ring = (const _Atomic uint32_t *)hangup->context;

	/* Nobody takes the one completion that there is. */
	return ring && atomic_load_explicit(&ring[AIO_RING_TAIL], memory_order_acquire) !=
			       atomic_load_explicit(&ring[AIO_RING_HEAD], memory_order_relaxed);
}

void hangup_unwatch(struct hangup *hangup)
{
	if (hangup->context)
		(void)syscall(SYS_io_destroy, hangup->context);
	hangup->context = 0;
}
