/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listening on names, accepting, and giving clients to seats. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "compat/xenvchan/mapping.h"
#include "compat/xenvchan/names.h"

/* Clients that msgd lets wait until the thread accepts them, which it does at once. */
#define BACKLOG 1024
/* Accepted clients that wait for a seat. Further ones wait in the backlog, and are refused then. */
#define GUESTS_MAX 1024
/* Bytes that it may send meanwhile: LIBMSG_RCVBUF takes no less. */
#define GUEST_RCVBUF 8192

/* A client without a seat. */
struct guest {
	TAILQ_ENTRY(guest) entry;
	struct watcher watcher;
	struct name *name;     /* borrowed: the name owns it */
	struct msg_sock *sock; /* owned */
	int domid;
};

struct name {
	LIST_ENTRY(name) entry;
	struct watcher watcher; /* of the listener */
	struct msg_ctx *ctx;
	struct msg_sock *listener; /* owned; NULL: does not listen */
	struct msg_sock *former;   /* owned; a listener that has given the name back, or NULL */
	TAILQ_HEAD(, seat) seats;  /* freed with the last of them */
	TAILQ_HEAD(, guest) guests;
	int n_guests;
	bool answered; /* msgd has said that the name is the listener's */
	bool armed;    /* the thread hears of clients that come */
	char name[MAPPING_NAME_SIZE];
};

static LIST_HEAD(, name) names = LIST_HEAD_INITIALIZER(names);

/* ---- guests ----------------------------------------------------------------------------- */

static void guest_free(struct guest *guest)
{
	TAILQ_REMOVE(&guest->name->guests, guest, entry);
	guest->name->n_guests--;
	free(guest);
}

static void guest_refuse(struct guest *guest)
{
	(void)msg_close(guest->sock);
	guest_free(guest);
}

/* One that has closed may have sent something before, and gets its seat as any other. */
static void on_guest(struct watcher *watcher, struct msg_sock *sock, short revents)
{
	struct guest *guest = (struct guest *)((char *)watcher - offsetof(struct guest, watcher));

	if (revents & POLLERR)
		guest_refuse(guest);
}

static void guest_new(struct name *name, struct msg_sock *sock)
{
	struct msg_peer peer = {.size = sizeof(peer)};
	struct guest *guest = calloc(1, sizeof(*guest));

	if (!guest || msg_getpeer(sock, &peer) < 0) {
		(void)msg_close(sock);
		free(guest);
		return;
	}
	*guest = (struct guest){
		.watcher.fn = on_guest, .name = name, .sock = sock, .domid = (int)peer.domid};
	(void)msg_setopt(sock, LIBMSG_EVENTS, 0);
	(void)msg_setopt(sock, LIBMSG_RCVBUF, GUEST_RCVBUF);
	msg_set_userdata(sock, &guest->watcher);
	TAILQ_INSERT_TAIL(&name->guests, guest, entry);
	name->n_guests++;
}

/* The first seat that wants the guest. *ret_is_for: there is one for its domain at all. */
static struct seat *guest_seat(const struct guest *guest, bool *ret_is_for)
{
	struct seat *seat;

	*ret_is_for = false;
	TAILQ_FOREACH (seat, &guest->name->seats, entry) {
		if (seat->domid != guest->domid)
			continue;
		*ret_is_for = true;
		if (seat->wants)
			return seat;
	}
	return NULL;
}

/* A domain that no server is for is refused, as the original's grants refuse it. */
static void guests_seat(struct name *name)
{
	struct guest *guest, *next;

	for (guest = TAILQ_FIRST(&name->guests); guest; guest = next) {
		bool is_for;
		struct seat *seat = guest_seat(guest, &is_for);
		struct msg_sock *sock = guest->sock;

		next = TAILQ_NEXT(guest, entry);
		if (seat) {
			guest_free(guest);
			seat->wants = false;
			(void)msg_setopt(sock, LIBMSG_EVENTS, POLLIN);
			seat->take(seat, sock);
		} else if (!is_for) {
			guest_refuse(guest);
		}
	}
}

/* ---- the listener ----------------------------------------------------------------------- */

static void listener_close(struct name *name)
{
	(void)msg_close(name->listener);
	name->listener = NULL;
}

static void listener_lost(struct name *name, int error)
{
	struct seat *seat, *next;

	listener_close(name);
	for (seat = TAILQ_FIRST(&name->seats); seat; seat = next) {
		next = TAILQ_NEXT(seat, entry);
		if (!seat->wants)
			continue;
		seat->wants = false;
		seat->lost(seat, error);
	}
}

/* Accepts what waits. 0, or the errno of a listener that has lost its name. */
static int accept_from(struct name *name, struct msg_sock *listener)
{
	while (listener && name->n_guests < GUESTS_MAX) {
		struct msg_sock *sock = msg_accept(listener, LIBMSG_NONBLOCK);

		if (sock)
			guest_new(name, sock);
		else
			return errno == EAGAIN || errno == EINTR || errno == ENOMEM ? 0 : errno;
	}
	return 0;
}

static void name_accept(struct name *name)
{
	bool armed;
	int error;

	(void)accept_from(name, name->former);
	error = accept_from(name, name->listener);
	if (error)
		listener_lost(name, error);
	armed = name->n_guests < GUESTS_MAX;
	if (name->listener && armed != name->armed)
		(void)msg_setopt(name->listener, LIBMSG_EVENTS, armed ? POLLIN : 0);
	name->armed = armed;
}

static void on_listener(struct watcher *watcher, struct msg_sock *sock, short revents);

/*
 * msgd may have granted clients the name before it hears that this process gives it back. They come
 * to the listener, which therefore stays until it is certain that there are no more.
 */
static void name_give_back(struct name *name)
{
	name->former = name->listener;
	name->listener = NULL;
	(void)msg_shutdown(name->former, SHUT_RDWR);
	msg_set_userdata(name->former, NULL);
	(void)accept_from(name, name->former); /* the thread is told of its end no more */
}

/* After msgd's answer to anything that was asked later: all clients of the former have come. */
static void former_close(struct name *name)
{
	(void)accept_from(name, name->former);
	(void)msg_close(name->former);
	name->former = NULL;
}

/* 0 or a negative errno. A msgd that is away answers later. */
static int name_listen(struct name *name)
{
	struct msg_pollfd answer = {.events = POLLOUT};
	int error;

	if (name->listener)
		return 0;
	name->listener = msg_listen(name->ctx, name->name, LIBMSG_STREAM, BACKLOG, LIBMSG_NONBLOCK);
	error = errno;
	former_close(name);
	if (!name->listener)
		return -error;
	answer.sock = name->listener;
	name->armed = true;
	name->answered = msg_poll(&answer, 1, 0) == 1 && !(answer.revents & POLLERR);
	name->watcher.fn = on_listener;
	msg_set_userdata(name->listener, &name->watcher);
	return 0;
}

static bool name_is_held(const struct name *name)
{
	const struct seat *seat;

	TAILQ_FOREACH (seat, &name->seats, entry) {
		if (seat->wants || seat->holds)
			return true;
	}
	return false;
}

/* After anything has happened: clients get seats, the name is given back. */
static void name_settle(struct name *name)
{
	name_accept(name);
	guests_seat(name);
	if (name->listener && !name_is_held(name))
		name_give_back(name);
}

static void on_listener(struct watcher *watcher, struct msg_sock *sock, short revents)
{
	struct name *name = (struct name *)((char *)watcher - offsetof(struct name, watcher));

	name->answered |= (revents & POLLOUT) && !(revents & POLLERR);
	name_settle(name);
	process_changed();
}

/* ---- seats ------------------------------------------------------------------------------ */

static struct name *name_find(struct msg_ctx *ctx, const char *text)
{
	struct name *name;

	LIST_FOREACH (name, &names, entry) {
		if (strcmp(name->name, text) == 0)
			return name;
	}
	name = calloc(1, sizeof(*name));
	if (!name)
		return NULL;
	name->ctx = ctx;
	strcpy(name->name, text); /* mapping_of bounds it */
	TAILQ_INIT(&name->seats);
	TAILQ_INIT(&name->guests);
	LIST_INSERT_HEAD(&names, name, entry);
	return name;
}

int name_join(struct msg_ctx *ctx, const char *text, struct seat *seat)
{
	struct name *name = name_find(ctx, text);
	int r;

	if (!name)
		return -ENOMEM;
	TAILQ_INSERT_TAIL(&name->seats, seat, entry);
	seat->name = name;
	seat->wants = true;
	r = name_listen(name);
	if (r < 0)
		name_leave(seat);
	else
		name_settle(name);
	return r;
}

bool name_is_answered(const struct seat *seat)
{
	return !seat->name || !seat->name->listener || seat->name->answered;
}

void name_leave(struct seat *seat)
{
	struct name *name = seat->name;

	if (!name)
		return;
	seat->wants = seat->holds = false;
	seat->name = NULL;
	TAILQ_REMOVE(&name->seats, seat, entry);
	name_settle(name);
	if (!TAILQ_EMPTY(&name->seats))
		return;
	/* Without a seat it has no listener, and no guest is for anybody. */
	(void)msg_close(name->former);
	LIST_REMOVE(name, entry);
	free(name);
}

int name_want(struct seat *seat)
{
	struct name *name = seat->name;
	int r;

	if (!name)
		return -EBADFD;
	seat->wants = true;
	TAILQ_REMOVE(&name->seats, seat, entry);
	TAILQ_INSERT_TAIL(&name->seats, seat, entry);
	name_accept(name);
	guests_seat(name);
	r = seat->wants ? name_listen(name) : 0;
	if (r < 0)
		seat->wants = false;
	name_settle(name);
	return r;
}

void name_update(struct seat *seat)
{
	if (seat->name && seat->holds)
		(void)name_listen(seat->name);
	if (seat->name)
		name_settle(seat->name);
}

static void name_forget(struct name *name)
{
	struct guest *guest;
	struct seat *seat;

	while ((guest = TAILQ_FIRST(&name->guests)))
		guest_free(guest);
	while ((seat = TAILQ_FIRST(&name->seats))) {
		TAILQ_REMOVE(&name->seats, seat, entry);
		seat->wants = seat->holds = false;
		seat->name = NULL;
	}
	LIST_REMOVE(name, entry);
	free(name);
}

void names_forget(void)
{
	struct name *name;

	while ((name = LIST_FIRST(&names)))
		name_forget(name);
}
