/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The context: what an application holds to talk to msgd, from attaching to detaching. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include "libmsg/private.h"

void ctx_log(struct msg_ctx *ctx, int priority, const char *format, ...)
{
	char line[256];
	va_list args;

	if (!ctx->log)
		return;
	va_start(args, format);
	(void)vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	ctx->log(ctx->log_arg, priority, line);
}

uint64_t ctx_deadline(struct msg_ctx *ctx, int64_t timeout_ms)
{
	if (timeout_ms < 0)
		return DEADLINE_NEVER;
	if (timeout_ms == 0)
		return DEADLINE_NOW;
	return ctx->hv->ops->now_ns(ctx->hv) + (uint64_t)timeout_ms * 1000000U;
}

/* Registers a ring with its own domain and drops it. */
uint64_t ctx_argo_features(struct hv *hv)
{
	struct hv_ring *ring;
	int r = hv->ops->argo_register(hv, 0, hv->ops->domid(hv), 4096, &ring);

	switch (r) {
	case 0:
		(void)hv->ops->argo_unregister(hv, ring);
		return FEATURE_ARGO | FEATURE_ARGO_STRICT;
	case -ENOSPC: /* all rings are in use now; who makes a link says so, if they still are */
	case -ENOMEM:
	case -EAGAIN: /* a frame that is being migrated */
		return FEATURE_ARGO | FEATURE_ARGO_STRICT;
	case -ENOSYS:
	case -EOPNOTSUPP:
		return FEATURE_NO_HYPERVISOR_ARGO;
	case -ENXIO:
		return FEATURE_NO_ARGO_DRIVER;
	default:
		return 0;
	}
}

static void ctx_free(struct msg_ctx *ctx)
{
	int error = errno; /* of the call that failed */

	if (ctx->hv)
		control_close(ctx);
	hv_close(ctx->hv);
	close_p(&ctx->kick_fd);
	close_p(&ctx->epoll_fd);
	close_p(&ctx->ready_fd);
	close_p(&ctx->timer_fd);
	if (ctx->same_process)
		(void)munmap((void *)ctx->same_process, HV_PAGE_SIZE);
	(void)pthread_mutex_destroy(&ctx->lock);
	free(ctx);
	errno = error;
}
DEFINE_CLEANUP(struct msg_ctx *, ctx_free)

/* A page that the kernel empties in a forked child: the only cheap way to know. */
static int fork_guard(volatile uint8_t **ret_page)
{
	void *page = mmap(
		NULL, HV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return -errno;
	if (madvise(page, HV_PAGE_SIZE, MADV_WIPEONFORK) < 0) {
		int r = -errno;

		(void)munmap(page, HV_PAGE_SIZE);
		return r;
	}
	*ret_page = page;
	**ret_page = 1;
	return 0;
}

static int ctx_new(unsigned flags, struct msg_ctx **ret_ctx)
{
	_cleanup_(ctx_free_p) struct msg_ctx *ctx = calloc(1, sizeof(*ctx));
	int r;

	if (!ctx)
		return -ENOMEM;
	ctx->epoll_fd = ctx->ready_fd = ctx->timer_fd = ctx->kick_fd = -1;
	ctx->one_thread = flags & LIBMSG_ONE_THREAD;
	ctx->spin_us = -1;
	ctx->n_cpus = get_nprocs();
	TAILQ_INIT(&ctx->unarmed);
	TAILQ_INIT(&ctx->graveyard);
	TAILQ_INIT(&ctx->socks);
	TAILQ_INIT(&ctx->ready);
	STAILQ_INIT(&ctx->control.out);
	(void)pthread_mutex_init(&ctx->lock, NULL);
	r = fork_guard(&ctx->same_process);
	if (r < 0)
		return r;
	ctx->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ctx->kick_fd < 0)
		return -errno;
	*ret_ctx = steal_ptr(ctx);
	return 0;
}

/* Waits for WELCOME. */
static int ctx_attach(struct msg_ctx *ctx, uint64_t deadline)
{
	int r = 0;

	ctx_lock(ctx);
	while (!ctx->control.welcome && !ctx->control.error && r == 0)
		r = ctx_wait(ctx, NULL, deadline);
	if (ctx->control.error)
		r = -ctx->control.error;
	else if (ctx->control.welcome)
		r = 0;
	ctx_unlock(ctx);
	return r == -ETIMEDOUT ? -EHOSTDOWN : r;
}

PUBLIC struct msg_ctx *msg_ctx_open(const char *hv, unsigned flags, int timeout_ms)
{
	_cleanup_(ctx_free_p) struct msg_ctx *ctx = NULL;
	const char *reason = NULL;
	int before = errno, r;

	if (flags & ~LIBMSG_ONE_THREAD)
		return failure(EINVAL, "unknown flags 0x%x", flags), NULL;
	r = ctx_new(flags, &ctx);
	if (r < 0)
		return failure(-r, "no memory or descriptors for a context"), NULL;
	r = hv_open(hv, &ctx->hv, &reason);
	if (r < 0)
		return failure(r == -ENOENT ? ENODEV : -r, "hypervisor %s: %s",
			       hv ? hv : "(default)", reason ? reason : strerrordesc_np(-r)),
		       NULL;
	ctx->features = ctx_argo_features(ctx->hv);
	r = control_open(ctx);
	if (r < 0)
		return failure(r == -ENOSPC ? ENOBUFS : -r,
			       "cannot publish this process to msgd: %s", strerrordesc_np(-r)),
		       NULL;
	r = ctx_attach(ctx, ctx_deadline(ctx, timeout_ms));
	if (r == -EHOSTDOWN)
		return failure(EHOSTDOWN, "%s within %d ms",
			       ctx->control.parked ? "this domain is quiesced; it did not go on"
						   : "no msgd answered",
			       timeout_ms),
		       NULL;
	if (r < 0)
		return failure(-r, "attaching to msgd: %s",
			       ctx->control.error ? ctx->control.reason : strerrordesc_np(-r)),
		       NULL;
	errno = before;
	return steal_ptr(ctx);
}

static void requests_free(struct msg_ctx *ctx)
{
	struct request *request, *next;

	HASH_ITER (hh, ctx->requests, request, next) {
		request_free(ctx, request);
	}
}

PUBLIC void msg_ctx_close(struct msg_ctx *ctx)
{
	struct link *link, *next;
	struct msg_sock *sock;

	if (!ctx)
		return;
	if (!ctx_same_process(ctx))
		return; /* the mappings are the parent's; there is nothing to give back */
	ctx_lock(ctx);
	requests_free(ctx); /* the sockets need not cancel them */
	while ((sock = TAILQ_FIRST(&ctx->socks))) {
		if (sock->channel)
			channel_close(sock->channel, sock_close_reason(sock));
		sock_free(sock);
	}
	HASH_ITER (hh, ctx->links, link, next) {
		link_push(link);
		link_kill(link, false, "this application detached");
	}
	link_bury(ctx);
	/* A link whose CLOSE was refused took in what lay in its ring, and may have sent a SYNC. */
	requests_free(ctx);
	ctx_unlock(ctx);
	ctx_free(ctx);
}

PUBLIC void msg_ctx_set_log(struct msg_ctx *ctx, msg_log_fn *fn, void *arg)
{
	ctx_lock(ctx);
	ctx->log = fn;
	ctx->log_arg = arg;
	ctx_unlock(ctx);
}

PUBLIC int msg_ctx_set_transport(struct msg_ctx *ctx, int transport)
{
	if (transport < LIBMSG_TRANSPORT_ANY || transport > LIBMSG_TRANSPORT_GRANT)
		return failure(EINVAL, "%d is no transport", transport);
	if (!ctx_same_process(ctx))
		return failure(EBADFD, "the context belongs to the parent process");
	ctx_lock(ctx);
	ctx->transport = (enum transport)transport;
	ctx_unlock(ctx);
	return 0;
}

_Static_assert((int)LIBMSG_TRANSPORT_ARGO == (int)TRANSPORT_ARGO, "same numbers");
_Static_assert((int)LIBMSG_TRANSPORT_ARGO_STRICT == (int)TRANSPORT_ARGO_STRICT, "same numbers");
_Static_assert((int)LIBMSG_TRANSPORT_GRANT == (int)TRANSPORT_GRANT, "same numbers");
