/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The states of a vchan, the events that change them, and the ends: close, exit and fork. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "compat/xenvchan/state.h"

/* So long a process that exits waits for a peer that takes none of its last bytes. */
#define EXIT_MS 5000

static LIST_HEAD(, vchan) vchans = LIST_HEAD_INITIALIZER(vchans);

/* ---- states ----------------------------------------------------------------------------- */

void vchan_state_set(struct vchan *vchan, enum vchan_state state)
{
	static const uint8_t live[] = {
		[VCHAN_CONNECTING] = 2, [VCHAN_WAITING] = 2, [VCHAN_OPEN] = 1, [VCHAN_ENDED] = 0};

	vchan->state = state;
	if (vchan->pub.is_server)
		vchan->page.cli_live = live[state];
	else
		vchan->page.srv_live = live[state];
}

/* Has a server look for its next client. With server_persist what lies in the rings stays. */
static void vchan_next(struct vchan *vchan)
{
	if (vchan->seat.wants || !vchan->seat.name)
		return;
	if (!vchan->seat.holds) {
		bytes_clear(&vchan->stream.in);
		bytes_clear(&vchan->stream.out);
	}
	(void)name_want(&vchan->seat); /* another process may have the name now */
}

void vchan_end_check(struct vchan *vchan)
{
	if (vchan->state != VCHAN_OPEN || !vchan->stream.over)
		return;
	stream_detach(&vchan->stream);
	vchan_state_set(vchan, VCHAN_ENDED);
	if (vchan->seat.holds)
		vchan_next(vchan);
}

void vchan_persist_check(struct vchan *vchan)
{
	bool persist = vchan->pub.is_server && vchan->pub.server_persist;

	if (persist == vchan->seat.holds)
		return;
	vchan->seat.holds = persist;
	name_update(&vchan->seat);
	if (persist && vchan->state == VCHAN_ENDED)
		vchan_next(vchan);
}

int vchan_open(struct vchan *vchan)
{
	vchan_end_check(vchan);
	if (vchan->seat.holds || vchan->state == VCHAN_OPEN)
		return 1;
	return vchan->state == VCHAN_ENDED ? 0 : 2;
}

void vchan_next_check(struct vchan *vchan)
{
	if (vchan->state == VCHAN_ENDED && vchan->end_seen)
		vchan_next(vchan);
}

/* ---- the thread ------------------------------------------------------------------------- */

void vchan_on_take(struct seat *seat, struct msg_sock *sock)
{
	struct vchan *vchan = (struct vchan *)((char *)seat - offsetof(struct vchan, seat));

	stream_attach(&vchan->stream, sock, &vchan->watcher);
	vchan->end_seen = false;
	vchan_state_set(vchan, VCHAN_OPEN);
}

void vchan_on_lost(struct seat *seat, int error)
{
	struct vchan *vchan = (struct vchan *)((char *)seat - offsetof(struct vchan, seat));

	vchan->error = error;
	vchan_state_set(vchan, VCHAN_ENDED);
	stream_signal(&vchan->stream);
}

static void vchan_free(struct vchan *vchan)
{
	LIST_REMOVE(vchan, entry);
	(void)msg_close(vchan->connecting);
	stream_destroy(&vchan->stream);
	free(vchan->pub.xs_path);
	free(vchan);
	process_changed();
}

static bool vchan_is_flushed(const struct vchan *vchan)
{
	return !vchan->stream.sock || vchan->stream.over || !vchan->stream.out.len;
}

static void on_connected(struct vchan *vchan)
{
	struct msg_sock *sock = vchan->connecting;
	int64_t error = 0;
	char c;

	if (msg_getopt(sock, LIBMSG_ERROR, &error) < 0)
		error = errno;
	vchan->connecting = NULL;
	vchan->error = (int)error;
	if (error) {
		(void)msg_recv(sock, &c, 1, MSG_DONTWAIT); /* fails, and says why */
		(void)snprintf(vchan->why, sizeof(vchan->why), "%s", msg_reason());
		(void)msg_close(sock);
		stream_signal(&vchan->stream);
	} else {
		stream_attach(&vchan->stream, sock, &vchan->watcher);
	}
	vchan_state_set(vchan, error ? VCHAN_ENDED : VCHAN_OPEN);
}

void vchan_on_events(struct watcher *watcher, struct msg_sock *sock, short revents)
{
	struct vchan *vchan = (struct vchan *)((char *)watcher - offsetof(struct vchan, watcher));

	if (vchan->state == VCHAN_CONNECTING) {
		on_connected(vchan);
		return;
	}
	stream_events(&vchan->stream, revents);
	process_changed();
	if (!vchan->closing) {
		vchan_end_check(vchan);
		return;
	}
	bytes_clear(&vchan->stream.in);
	if (vchan_is_flushed(vchan))
		vchan_free(vchan);
}

/* ---- fork and exit ---------------------------------------------------------------------- */

/* To a child the vchans of its parent have ended. Its descriptors are no longer the parent's. */
static void on_fork(void)
{
	struct vchan *vchan;

	names_forget();
	LIST_FOREACH (vchan, &vchans, entry) {
		int fd = eventfd(1, EFD_CLOEXEC);

		vchan->stream.sock = vchan->connecting = NULL;
		vchan_state_set(vchan, VCHAN_ENDED);
		if (fd >= 0 && vchan->stream.fd >= 0)
			(void)dup3(fd, vchan->stream.fd, O_CLOEXEC);
		if (fd >= 0)
			(void)close(fd);
	}
}

static size_t unflushed(void)
{
	const struct vchan *vchan;
	size_t n = 0;

	LIST_FOREACH (vchan, &vchans, entry) {
		if (!vchan_is_flushed(vchan))
			n += vchan->stream.out.len;
	}
	return n;
}

/*
 * Bytes in the original's rings outlive their writer, those in our queue do not: so its exit waits
 * for as long as the peers take some.
 */
__attribute__((destructor)) static void on_exit_flush(void)
{
	int64_t until = process_now_ms() + EXIT_MS;
	size_t before = SIZE_MAX, n;

	if (!process_lock_within(EXIT_MS))
		return;
	while ((n = unflushed()) && process_now_ms() < until) {
		if (n < before)
			until = process_now_ms() + EXIT_MS;
		before = n;
		process_wait(until);
	}
	process_unlock();
}

void vchan_publish(struct vchan *vchan)
{
	process_on_fork(on_fork);
	LIST_INSERT_HEAD(&vchans, vchan, entry);
}

void vchan_close(struct vchan *vchan)
{
	if (!vchan)
		return;
	process_lock();
	name_leave(&vchan->seat);
	if (vchan_is_flushed(vchan) || vchan->state != VCHAN_OPEN) {
		vchan_free(vchan);
	} else {
		vchan->closing = true;
		(void)close(vchan->stream.fd);
		vchan->stream.fd = -1;
		bytes_clear(&vchan->stream.in);
	}
	process_unlock();
}
