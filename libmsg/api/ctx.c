/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The context: what an application holds to talk to msgd, from attaching to detaching. */
#include "libmsg/api/ctx.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/cancel.h"
#include "base/cleanup.h"
#include "libmsg/api/fds.h"
#include "libmsg/control/request.h"

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

int ctx_init(struct msg_ctx *ctx, struct hv *hv, unsigned flags)
{
	ctx->hv = hv;
	pool_init(&ctx->pool);
	links_init(&ctx->links, hv, &ctx->pool);
	socks_init(&ctx->socks, ctx, &ctx->pool);
	control_init(&ctx->control, hv, &ctx->pool, &ctx->links, &ctx->socks);
	return driver_init(&ctx->driver, &ctx->control, flags & LIBMSG_ONE_THREAD);
}

void ctx_clear(struct msg_ctx *ctx)
{
	struct msg_sock *sock;
	struct link *link;

	requests_free(&ctx->control); /* the sockets need not cancel them */
	for (link = ctx->links.by_end; link; link = link->hh.next)
		driver_take(
			&ctx->driver, link, NULL); /* unread data decides how a channel closes */
	driver_pass(&ctx->driver);
	while ((sock = TAILQ_FIRST(&ctx->socks.all))) {
		if (sock->channel)
			sock_close_channel(sock, sock_close_reason(sock));
		sock_free(sock);
	}
	driver_pass(&ctx->driver); /* the last frames go out */
	control_tell_last(&ctx->control);
	driver_pass(&ctx->driver);
	driver_end_links(&ctx->driver, "this application detached");
	control_capture_leave(&ctx->control);
	driver_pass(&ctx->driver);
	requests_free(&ctx->control);
	links_clear(&ctx->links);
}

static void ctx_free(struct msg_ctx *ctx)
{
	int error = errno; /* of the call that failed */

	if (ctx->hv) {
		control_close(&ctx->control);
		driver_fini(&ctx->driver);
		hv_close(ctx->hv);
	}
	if (ctx->same_process)
		(void)munmap((void *)ctx->same_process, HV_PAGE_SIZE);
	free(ctx);
	errno = error;
}
DEFINE_CLEANUP(struct msg_ctx *, ctx_free)

/* ---- attaching -------------------------------------------------------------------------- */

static bool attach_is_over(void *arg, struct focus *ret_focus)
{
	const struct control *control = arg;

	return control->state == CONTROL_ATTACHED || control->state == CONTROL_BROKEN;
}

/* 0; -1: said why. */
static int ctx_attach(struct msg_ctx *ctx, int timeout_ms)
{
	struct control *control = &ctx->control;
	uint64_t deadline_ns;
	int r;

	control->features = control_argo_features(ctx->hv);
	r = control_open(control);
	if (r < 0)
		return failure(r == -ENOSPC ? ENOBUFS : -r,
			"cannot publish this process to msgd: %s", control_open_error(control, r));
	deadline_ns = driver_deadline(&ctx->driver, timeout_ms);
	driver_lock(&ctx->driver);
	r = driver_wait(&ctx->driver, attach_is_over, control, deadline_ns);
	driver_unlock(&ctx->driver);
	if (control->state == CONTROL_BROKEN)
		return failure(control->error, "attaching to msgd: %s", control->reason);
	if (r == -ETIMEDOUT)
		return failure(EHOSTDOWN, "%s within %d ms",
			control->state == CONTROL_PARKED
				? "this domain is quiesced; it did not go on"
			: control->n_drops ? control->reason
					   : "no msgd answered",
			timeout_ms);
	return r < 0 ? failure(-r, "attaching to msgd: %s", strerrordesc_np(-r)) : 0;
}

PUBLIC struct msg_ctx *msg_ctx_open(const char *hv, unsigned flags, int timeout_ms)
{
	WITHOUT_CANCEL;
	_cleanup_(ctx_free_p) struct msg_ctx *ctx = NULL;
	struct hv *opened = NULL;
	const char *reason = NULL;
	char name[HV_NAME_SIZE];
	int before = errno, r;

	if (flags_check(flags, LIBMSG_ONE_THREAD) < 0)
		return NULL;
	ctx = calloc(1, sizeof(*ctx));
	r = ctx ? fork_guard(&ctx->same_process) : -ENOMEM;
	if (r < 0)
		return failure(-r, "no page for a context: %s", strerrordesc_np(-r)), NULL;
	r = hv_open(hv, &opened, &reason);
	if (r < 0)
		return failure(r == -ENOENT ? ENODEV : -r, "hypervisor %s: %s", hv_name(hv, name),
			       reason ? reason : strerrordesc_np(-r)),
		       NULL;
	r = ctx_init(ctx, opened, flags);
	(void)hv_name(hv, ctx->driver.hv_name);
	if (r < 0)
		return failure(-r, "no descriptor for a context: %s", strerrordesc_np(-r)), NULL;
	if (ctx_attach(ctx, timeout_ms) < 0)
		return NULL;
	errno = before;
	return steal_ptr(ctx);
}

PUBLIC void msg_ctx_close(struct msg_ctx *ctx)
{
	WITHOUT_CANCEL;

	/* In a forked child the mappings are the parent's; there is nothing to give back. */
	if (!ctx || ctx_enter(ctx) < 0)
		return;
	misuse_check_ctx_close(&ctx->driver);
	ctx_leave(ctx);
	fds_free(ctx->fds);
	driver_lock(&ctx->driver);
	ctx_clear(ctx);
	ctx_leave(ctx);
	ctx_free(ctx);
}

static int set_log(struct control *control, msg_log_fn *fn, void *arg)
{
	control->log = fn;
	control->log_arg = arg;
	return 0;
}

PUBLIC void msg_ctx_set_log(struct msg_ctx *ctx, msg_log_fn *fn, void *arg)
{
	(void)CTX_CALL(ctx, -1, set_log(&ctx->control, fn, arg));
}

static int set_transport(struct msg_ctx *ctx, int transport)
{
	if (transport < LIBMSG_TRANSPORT_ANY || transport > LIBMSG_TRANSPORT_GRANT)
		return failure(EINVAL, "transport %d is none of enum libmsg_transport", transport);
	ctx->transport = (enum transport_kind)transport;
	return 0;
}

PUBLIC int msg_ctx_set_transport(struct msg_ctx *ctx, int transport)
{
	return CTX_CALL(ctx, -1, set_transport(ctx, transport));
}

PUBLIC int msg_ctx_domid(struct msg_ctx *ctx)
{
	return CTX_CALL(ctx, -1, (int)ctx->hv->ops->domid(ctx->hv));
}

_Static_assert((int)LIBMSG_TRANSPORT_ARGO == (int)TRANSPORT_ARGO, "same numbers");
_Static_assert((int)LIBMSG_TRANSPORT_ARGO_STRICT == (int)TRANSPORT_ARGO_STRICT, "same numbers");
_Static_assert((int)LIBMSG_TRANSPORT_GRANT == (int)TRANSPORT_GRANT, "same numbers");
