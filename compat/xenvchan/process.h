/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one context of libmsg that all vchans of a process share, its lock and its thread.
 *
 * One context, not one a vchan: a context is an attach to msgd, with a record in the store, five
 * pages and a port, and a domain may have 64 of them. A channel takes none of these.
 *
 * A thread, since a program that uses libxenvchan calls it only when it wants something, and sleeps
 * on a descriptor of each vchan otherwise. With the original the other domain writes into shared
 * memory meanwhile, and the kernel makes the descriptor readable. Here somebody has to be in libmsg
 * to accept a client, to take in what came, to send what found no room, and to find out which of
 * the vchans an event is for. The thread does nothing else, and sleeps while nothing happens. It
 * blocks all signals.
 */
#ifndef COMPAT_XENVCHAN_PROCESS_H
#define COMPAT_XENVCHAN_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "libmsg/libmsg.h"

/* A socket's userdata: the thread tells it, with the lock held, of the socket's events. */
struct watcher {
	void (*fn)(struct watcher *watcher, struct msg_sock *sock, short revents);
};

/*
 * The context, which lives as long as the process. NULL with errno: msg_ctx_open(3) failed, or the
 * thread could not be started. Blocks for some seconds if msgd is not there.
 */
struct msg_ctx *process_ctx(void);

/* Everything of this library is under this lock. A thread that holds it is not cancelled. */
void process_lock(void);
void process_unlock(void);
/* False: it could not be had within ms, as where exit(3) is called by a signal handler. */
bool process_lock_within(int ms);

/* Wakes process_wait: something that somebody may wait for has changed. */
void process_changed(void);
int64_t process_now_ms(void);
/* Sleeps, without the lock, until process_changed, until_ms or for no reason. */
void process_wait(int64_t until_ms);

/*
 * fn is called in a child that was forked, which can use no socket of its parent: with the lock
 * held; the next process_ctx opens a context of the child's own.
 */
void process_on_fork(void (*fn)(void));

#endif
