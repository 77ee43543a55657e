/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls that block, in threads of their own. Whether one is still blocked is no question of time: a
 * call on a socketpair that another call has released is runnable when that one returns, so a
 * thread that sleeps, and has not ended its call, was not released.
 */
#include "tests/differential/differential.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/must.h"

struct blocked {
	const struct side *side; /* borrowed */
	pthread_t thread;
	sem_t start, end;
	struct call call;
	struct outcome outcome;
	_Atomic bool begun, done;
	bool stop;
	int stat_fd, syscall_fd; /* owned: the thread's in /proc */
};

/* A file about this thread. */
static int proc_open(const char *name)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/%s", (int)gettid(), name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	must(fd >= 0);
	return fd;
}

static void *blocked_run(void *arg)
{
	struct blocked *blocked = arg;

	blocked->stat_fd = proc_open("stat");
	blocked->syscall_fd = proc_open("syscall");
	must(sem_post(&blocked->end) == 0);
	for (;;) {
		while (sem_wait(&blocked->start) < 0)
			must(errno == EINTR);
		if (blocked->stop)
			return NULL;
		blocked->begun = true;
		blocked->outcome = call_make(blocked->side, &blocked->call);
		blocked->done = true;
		must(sem_post(&blocked->end) == 0);
	}
}

static void await(struct blocked *blocked)
{
	while (sem_wait(&blocked->end) < 0)
		must(errno == EINTR);
}

struct blocked *blocked_new(const struct side *side)
{
	struct blocked *blocked = calloc(1, sizeof(*blocked));

	must(blocked);
	blocked->side = side;
	must(sem_init(&blocked->start, 0, 0) == 0 && sem_init(&blocked->end, 0, 0) == 0);
	must(pthread_create(&blocked->thread, NULL, blocked_run, blocked) == 0);
	await(blocked);
	return blocked;
}

void blocked_free(struct blocked *blocked)
{
	blocked->stop = true;
	must(sem_post(&blocked->start) == 0);
	must(pthread_join(blocked->thread, NULL) == 0);
	(void)close(blocked->stat_fd);
	(void)close(blocked->syscall_fd);
	(void)sem_destroy(&blocked->start);
	(void)sem_destroy(&blocked->end);
	free(blocked);
}

static void proc_read(int fd, char text[512])
{
	ssize_t n = pread(fd, text, 511, 0);

	must(n > 0);
	text[n] = '\0';
}

static bool thread_sleeps(const struct blocked *blocked)
{
	unsigned long arg;
	char text[512], *p;
	long number;

	proc_read(blocked->stat_fd, text);
	p = strrchr(text, ')');
	must(p);
	if (p[2] != 'S')
		return false;
	proc_read(blocked->syscall_fd, text);
	if (sscanf(text, "%ld %lx", &number, &arg) != 2)
		return false; /* it runs by now */
	/* A lock, of the context or of the emulator, is none of the calls that wait in libmsg. */
	return blocked->side != &msg_side || msg_waits(blocked->call.end, number, arg);
}

bool blocked_is_done(struct blocked *blocked)
{
	while (!blocked->done) {
		if (blocked->begun && thread_sleeps(blocked))
			return blocked->done;
		(void)sched_yield();
	}
	return true;
}

void blocked_start(struct blocked *blocked, const struct call *call)
{
	blocked->call = *call;
	blocked->begun = blocked->done = false;
	must(sem_post(&blocked->start) == 0);
	(void)blocked_is_done(blocked);
}

struct outcome blocked_end(struct blocked *blocked)
{
	await(blocked);
	return blocked->outcome;
}
