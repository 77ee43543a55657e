/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Quiescing (PROTOCOL.md, section 5.5; docs/decisions/0003): before its domain is saved, this
 * process gives back every event channel, grant and ring that it holds, or the guest's kernel
 * crashes afterwards. What it keeps is a watch on one record in the store: when that is gone, it
 * attaches again. Listeners and unanswered requests live through it.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "libmsg/private.h"

void control_quiesce(struct msg_ctx *ctx, const char *reason)
{
	struct control *control = &ctx->control;

	if (control->quiesce || control->parked)
		return;
	control->quiesce = true;
	memcpy(control->reason, reason, sizeof(control->reason));
	control->reason[sizeof(control->reason) - 1] = '\0';
	ctx->kick = true;
}

/* Publishes the record that says so, and asks to be told when it is gone. */
static int park(struct msg_ctx *ctx)
{
	struct control *control = &ctx->control;
	struct record record = {.version_min = CONTROL_VERSION_MIN, .version_max = CONTROL_VERSION};
	uint8_t bytes[RECORD_PARKED_SIZE];
	int r = 0;

	memcpy(record.nonce, control->nonce, NONCE_SIZE);
	record_parked_encode(&record, bytes);
	/* Before the record: whoever deletes it at once is noticed. */
	if (!control->watching)
		r = ctx->hv->ops->store_watch_own(ctx->hv);
	if (r < 0)
		return r;
	control->watching = true;
	return ctx->hv->ops->store_publish(ctx->hv, control->key, bytes, sizeof(bytes));
}

/* It will not come back by itself: whoever waits for a channel is told. */
static void control_lost(struct msg_ctx *ctx, int error, const char *what)
{
	struct control *control = &ctx->control;
	struct msg_sock *sock;

	ctx_log(ctx, LOG_ERR, "%s: %s", what, strerrordesc_np(-error));
	control->error = error == -ENOSPC ? ENOBUFS : -error;
	(void)snprintf(control->reason, sizeof(control->reason), "%s", what);
	for (sock = ctx->listeners; sock; sock = sock->hh.next) {
		sock->error = control->error;
		memcpy(sock->reason, control->reason, sizeof(sock->reason));
		sock_changed(sock);
	}
	ctx->kick = true;
}

void control_settle(struct msg_ctx *ctx)
{
	struct control *control = &ctx->control;
	struct link *link, *next;
	int r;

	if (!control->quiesce)
		return;
	HASH_ITER (hh, ctx->links, link, next)
		link_kill(link, true, control->reason);
	link_bury(ctx);
	/* A thread spins on a link, or takes in frames of one: it comes by here when it is done. */
	if (ctx->links || !TAILQ_EMPTY(&ctx->graveyard))
		return;
	control->quiesce = false;
	control->parked = true;
	control_release(ctx);
	ctx_log(ctx, LOG_NOTICE, "%s", control->reason);
	ctx->kick = true;
	r = park(ctx);
	if (r < 0)
		control_lost(ctx, r, "quiesced, and will not learn of the end of it");
}

static void unpark(struct msg_ctx *ctx)
{
	int r;

	ctx->control.parked = false;
	ctx->control.welcome = false;
	/* Another host's hypervisor, perhaps. */
	ctx->features = ctx_argo_features(ctx->hv);
	r = control_open(ctx);
	if (r < 0) {
		control_release(ctx);
		control_lost(ctx, r, "cannot publish this process to msgd again");
		return;
	}
	ctx_log(ctx, LOG_NOTICE, "the domain goes on: attaching to msgd again");
}

void control_store_changed(struct msg_ctx *ctx)
{
	struct hv_record record;

	if (!ctx->control.watching)
		return;
	while (ctx->hv->ops->store_next(ctx->hv, &record) == 1) {
		if (ctx->control.parked && record.len == 0 &&
			strcmp(record.key, ctx->control.key) == 0)
			unpark(ctx);
	}
}
