/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests to msgd, from the question to the answer (PROTOCOL.md, section 5). */
#include "libmsg/control/request.h"

#include <stdlib.h>

struct request *request_find(const struct control *control, uint32_t id)
{
	struct request *request;

	HASH_FIND(hh, control->requests, &id, sizeof(id), request);
	return request;
}

static uint32_t request_next_id(struct control *control)
{
	do {
		control->last_request =
			control->last_request >= REQUEST_HELLO - 1 ? 1 : control->last_request + 1;
	} while (request_find(control, control->last_request));
	return control->last_request;
}

static void request_free(struct control *control, struct request *request)
{
	if (request->sock) {
		request->sock->request = NULL;
		sock_set_deadline(request->sock, UINT64_MAX);
	}
	HASH_DEL(control->requests, request);
	free(request);
}

struct request *request_new(
	struct control *control, struct msg_sock *sock, const struct control_message *message)
{
	struct request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->id = request_next_id(control);
	request->sock = sock;
	request->message = *message;
	request->message.request = request->id;
	request->epoch = control->state == CONTROL_ATTACHED ? control->epoch : 0;
	HASH_ADD(hh, control->requests, id, sizeof(request->id), request);
	if (!hash_added(&request->hh)) {
		free(request);
		return NULL;
	}
	if (sock)
		sock->request = request;
	/* WATCH waits for WELCOME, which says whether it may be sent: control_watches_again. */
	if (message->type != CONTROL_WATCH || control_can_watch(control))
		control_send(control, &request->message);
	return request;
}

void request_done(
	struct control *control, struct request *request, uint32_t error, const char *reason)
{
	struct msg_sock *sock = request->sock;

	request_free(control, request);
	if (!sock)
		return;
	sock->out_edge = true;
	if (sock->given_up && error == ECANCELED)
		error = ETIMEDOUT;
	if (error)
		sock_fail(sock, (int)error, reason);
	else
		sock_set_state(sock, SOCK_OPEN);
}

uint32_t request_unlisten(struct control *control, uint32_t handle)
{
	struct control_message message = {
		.type = CONTROL_UNLISTEN, .unlisten = {.listener = handle}};
	const struct request *request = request_new(control, NULL, &message);

	if (request)
		return request->id;
	message.request = request_next_id(control); /* without memory nobody waits for it */
	control_send(control, &message);
	return 0;
}

static void send_cancel(struct control *control, const struct request *request)
{
	struct control_message cancel = {.type = CONTROL_CANCEL, .request = request->id};

	if (request->sock && request->sock->given_up && control->broker_features & FEATURE_EXPIRED)
		cancel.type = CONTROL_EXPIRED;
	control_send(control, &cancel);
}

/* ---- time limits ------------------------------------------------------------------------ */

/* A msgd that is there answers CANCEL within this, unless it stands still. */
#define GIVE_UP_NS UINT64_C(100000000)

void request_set_deadline(struct control *control, struct msg_sock *sock, uint64_t deadline_ns)
{
	sock_set_deadline(sock, deadline_ns);
	pool_rearm(control->pool); /* a driver that sleeps must not sleep longer */
}

/* The reason why a connect got no answer at all. */
static void fail_unanswered(struct control *control, struct msg_sock *sock)
{
	struct request *request = sock->request;

	if (control_broker_there(control))
		request_done(control, request, ETIMEDOUT, "msgd does not answer: it stands still");
	else
		request_done(control, request, EHOSTDOWN,
			control->state == CONTROL_PARKED    ? "this domain is quiesced"
			: control->state == CONTROL_WAITING ? control->reason
							    : "msgd is away");
}

void request_give_up(struct control *control, struct request *request)
{
	struct msg_sock *sock = request->sock;

	sock->given_up = true;
	send_cancel(control, request);
	if (!control_broker_there(control)) {
		fail_unanswered(control, sock);
		return;
	}
	request_set_deadline(control, sock, control->hv->ops->now_ns(control->hv) + GIVE_UP_NS);
}

/* Looks at those sockets alone whose time has come: each gets a later deadline, or its end. */
void requests_expire(struct control *control)
{
	uint64_t now_ns = control->hv->ops->now_ns(control->hv);
	struct msg_sock *sock;

	while (socks_deadline(control->socks) <= now_ns) {
		sock = TAILQ_FIRST(&control->socks->timed);
		if (sock->given_up)
			fail_unanswered(control, sock);
		else
			request_give_up(control, sock->request);
	}
}

/* ---- ends ------------------------------------------------------------------------------- */

void request_abandon(struct control *control, struct request *request)
{
	if (request->message.type == CONTROL_LISTEN)
		(void)request_unlisten(control, request->message.listen.listener);
	else if (request->message.type == CONTROL_WATCH)
		control_unwatch(control, request->message.watch.watch);
	else
		send_cancel(control, request);
	request_free(control, request);
}

static const char *request_too_old(const struct control *control, const struct request *request)
{
	const struct control_message *message = &request->message;

	if (message->type == CONTROL_LISTEN)
		return control_too_old(control, message->listen.type, message->listen.name);
	if (message->type == CONTROL_CONNECT)
		return control_too_old(control, message->connect.type, message->connect.address);
	return NULL;
}

static void request_send_again(struct control *control, struct request *request)
{
	const char *too_old = request_too_old(control, request);

	/* Its name was announced anew, or was not, which gives it back. */
	if (!request->sock && (request->message.type == CONTROL_LISTEN ||
				      request->message.type == CONTROL_UNLISTEN ||
				      request->message.type == CONTROL_WATCH)) {
		request_free(control, request);
		return;
	}
	if (too_old) {
		request_done(control, request, EPROTONOSUPPORT, too_old);
		return;
	}
	if (request->message.type != CONTROL_WATCH)
		control_send(control, &request->message);
	/* This msgd must not keep it for longer than the socket waits. */
	if (request->sock && request->sock->given_up)
		send_cancel(control, request);
}

void requests_send_again(struct control *control)
{
	struct request *request, *next;

	HASH_ITER (hh, control->requests, request, next) {
		if (request->epoch != control->epoch)
			request_send_again(control, request);
	}
}

void requests_free(struct control *control)
{
	struct request *request, *next;

	HASH_ITER (hh, control->requests, request, next) {
		request_free(control, request);
	}
}
