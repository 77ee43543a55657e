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
	if (request->sock)
		request->sock->request = NULL;
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
	request->epoch = control->epoch;
	HASH_ADD(hh, control->requests, id, sizeof(request->id), request);
	if (!hash_added(&request->hh)) {
		free(request);
		return NULL;
	}
	if (sock)
		sock->request = request;
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
	if (error)
		sock_fail(sock, (int)error, reason);
	else
		sock_set_state(sock, SOCK_OPEN);
}

void request_unlisten(struct control *control, uint32_t handle)
{
	struct control_message message = {.type = CONTROL_UNLISTEN,
		.request = request_next_id(control),
		.unlisten = {.listener = handle}};

	control_send(control, &message);
}

void request_abandon(struct control *control, struct request *request)
{
	struct control_message cancel = {.type = CONTROL_CANCEL, .request = request->id};

	if (request->message.type == CONTROL_LISTEN)
		request_unlisten(control, request->message.listen.listener);
	else
		control_send(control, &cancel);
	request_free(control, request);
}

void requests_send_again(struct control *control)
{
	struct request *request, *next;

	HASH_ITER (hh, control->requests, request, next) {
		if (request->epoch == control->epoch)
			continue;
		if (!request->sock && request->message.type == CONTROL_LISTEN) {
			request_free(control, request); /* its name was announced anew */
			continue;
		}
		control_send(control, &request->message);
	}
}

void requests_free(struct control *control)
{
	struct request *request, *next;

	HASH_ITER (hh, control->requests, request, next) {
		request_free(control, request);
	}
}
