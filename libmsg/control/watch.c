/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watches for names (PROTOCOL.md, section 5.6). Each msgd is asked anew once its WELCOME has said
 * that it knows how; a msgd that does not must never be sent WATCH.
 */
#include "libmsg/control/request.h"

#include "libmsg/socket/names.h"

bool control_can_watch(const struct control *control)
{
	return control->state == CONTROL_ATTACHED && control->broker_features & FEATURE_WATCH;
}

struct control_message control_watch_message(const struct msg_sock *sock)
{
	struct control_message message = {.type = CONTROL_WATCH};

	message.watch.watch = sock->handle;
	memcpy(message.watch.pattern, sock->pattern, sizeof(message.watch.pattern));
	return message;
}

void control_unwatch(struct control *control, uint32_t handle)
{
	struct control_message message = {.type = CONTROL_UNWATCH, .unwatch = {.watch = handle}};

	/* Any other msgd does not know it. */
	if (control_can_watch(control))
		control_send(control, &message);
}

static void watch_fail(
	struct control *control, struct msg_sock *sock, int error, const char *reason)
{
	if (sock->request)
		request_done(control, sock->request, (uint32_t)error, reason);
	else
		sock_fail(sock, error, reason);
}

static void watch_again(struct control *control, struct msg_sock *sock)
{
	struct control_message message = control_watch_message(sock);

	names_again(sock->names);
	if (sock->request)
		control_send(control, &sock->request->message);
	else if (!request_new(control, NULL, &message))
		sock_fail(sock, ENOMEM, "out of memory while msgd was asked for names again");
}

void control_watches_again(struct control *control)
{
	struct msg_sock *sock;

	for (sock = control->socks->watches; sock; sock = sock->hh.next) {
		if (sock->state == SOCK_FAILED)
			continue;
		if (control_can_watch(control))
			watch_again(control, sock);
		else
			watch_fail(control, sock, EPROTONOSUPPORT, CONTROL_TOO_OLD_TO_WATCH);
	}
}

void control_watch_refused(
	struct control *control, uint32_t handle, const struct control_status *status)
{
	struct msg_sock *sock = sock_find_watch(control->socks, handle);

	if (sock)
		sock_fail(sock, (int)status->error, status->reason);
}

void control_name(struct control *control, const struct control_name *message)
{
	struct msg_sock *sock = sock_find_watch(control->socks, message->watch);
	int r;

	if (!sock || sock->state != SOCK_OPEN)
		return;
	r = names_change(sock->names, message->address, message->come);
	if (r < 0) {
		control_unwatch(control, sock->handle);
		sock_fail(sock, -r, r == -ENOMEM ? "out of memory for a name" : "too many names");
	}
	sock_changed(sock);
}

void control_names_done(struct control *control, const struct control_names_done *message)
{
	struct msg_sock *sock = sock_find_watch(control->socks, message->watch);

	if (!sock || sock->state != SOCK_OPEN)
		return;
	if (message->error)
		sock_fail(sock, (int)message->error, message->reason);
	else
		names_done(sock->names);
	sock_changed(sock);
}
