/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that is not linked with libmsg loads it, uses it and lets go of it, as programs with
 * plugins do. Its status is 0 if all went well.
 *
 *	late LIBRARY HV often|threads|open|asleep
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "tests/support/must.h"

#define WAIT_MS	  30000
#define SEQPACKET 1

static const char *path, *hv;

static struct {
	void *library;
	void *(*ctx_open)(const char *hv, unsigned flags, int timeout_ms);
	void (*ctx_close)(void *ctx);
	void *(*connect)(void *ctx, const char *address, int type, unsigned flags, int timeout_ms);
	ssize_t (*send)(void *sock, const void *data, size_t len, int flags);
	ssize_t (*recv)(void *sock, void *data, size_t len, int flags);
	const char *(*reason)(void);
} msg;

static void load(void)
{
	msg.library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	must(msg.library);
	*(void **)&msg.ctx_open = dlsym(msg.library, "msg_ctx_open");
	*(void **)&msg.ctx_close = dlsym(msg.library, "msg_ctx_close");
	*(void **)&msg.connect = dlsym(msg.library, "msg_connect");
	*(void **)&msg.send = dlsym(msg.library, "msg_send");
	*(void **)&msg.recv = dlsym(msg.library, "msg_recv");
	*(void **)&msg.reason = dlsym(msg.library, "msg_reason");
}

static void unload(void)
{
	must(dlclose(msg.library) == 0);
}

static void *open_context(void)
{
	void *ctx = msg.ctx_open(hv, 0, WAIT_MS);

	must(ctx);
	return ctx;
}

/* Loads and lets go many times: nothing that the loader has is used up. */
static void often(void)
{
	for (int i = 0; i < 1000; i++) {
		load();
		if (i % 50 == 0)
			msg.ctx_close(open_context());
		must(strcmp(msg.reason(), "no failure so far") == 0);
		unload();
	}
}

static pthread_barrier_t failed, unloaded;

static void *fail(void *arg)
{
	const char *reason;

	must(!msg.ctx_open("nonsense", 0, 0));
	reason = msg.reason();
	must(strlen(reason) > 5);
	(void)pthread_barrier_wait(&failed);
	(void)pthread_barrier_wait(&unloaded);
	must(strlen(reason) > 5); /* until the thread's next call of libmsg */
	return NULL;
}

/* Threads that have a reason of their own end when the library is let go. */
static void threads(void)
{
	pthread_t thread[4];

	must(pthread_barrier_init(&failed, NULL, 5) == 0);
	must(pthread_barrier_init(&unloaded, NULL, 5) == 0);
	load();
	for (int i = 0; i < 4; i++)
		must(pthread_create(&thread[i], NULL, fail, NULL) == 0);
	(void)pthread_barrier_wait(&failed);
	unload();
	(void)pthread_barrier_wait(&unloaded);
	for (int i = 0; i < 4; i++)
		must(pthread_join(thread[i], NULL) == 0);
}

static void *connect_and_speak(void)
{
	void *ctx = open_context(), *sock;

	sock = msg.connect(ctx, "far/lives", SEQPACKET, 0, WAIT_MS);
	must(sock && msg.send(sock, "late", 4, 0) == 4);
	return sock;
}

/* A context is left open: it is, until the program ends, and another one can be had. */
static void leave_open(void)
{
	load();
	(void)connect_and_speak();
	unload();
	load();
	msg.ctx_close(open_context());
	unload();
}

static void *receive(void *sock)
{
	char byte;

	must(msg.recv(sock, &byte, 1, 0) == 1 && byte == 'x');
	return NULL;
}

/* A thread is in a call meanwhile; the other end sends then. */
static void asleep(void)
{
	pthread_t thread;
	void *sock;

	load();
	sock = connect_and_speak();
	must(pthread_create(&thread, NULL, receive, sock) == 0);
	unload();
	must(pthread_join(thread, NULL) == 0);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} deeds[] = {
		{"often", often}, {"threads", threads}, {"open", leave_open}, {"asleep", asleep}};

	must(argc == 4);
	path = argv[1];
	hv = argv[2];
	(void)alarm(60);
	for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++) {
		if (strcmp(argv[3], deeds[i].name) == 0) {
			deeds[i].fn();
			_exit(0); /* a context that is left open is no leak */
		}
	}
	return 2;
}
