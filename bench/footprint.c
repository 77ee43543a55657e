/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cost of an idle channel: memory and descriptors of both ends and of msgd, and how often one
 * of them wakes up while all lie idle. Channels that stand beforehand have paid for the link.
 */
#include <dirent.h>
#include <err.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "libmsg/libmsg.h"

#define N_BEFORE    1000U
#define IDLE_MS	    500
#define QUIET_MS    100 /* nobody woke up for so long: all is done */
#define QUIET_TRIES 100

enum { MSGD = 2, N_PROCESSES };

struct sample {
	uint64_t bytes, descriptors, wakeups;
};

static uint64_t field_of(int pid, const char *file, const char *format)
{
	char path[64], line[256];
	uint64_t value = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	f = fopen(path, "re");
	if (!f)
		err(1, "%s", path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, format, &value) == 1)
			break;
	}
	(void)fclose(f);
	return value;
}

static uint64_t count_descriptors(int pid)
{
	char path[64];
	uint64_t n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		err(1, "%s", path);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static struct sample take_sample(const int pids[static N_PROCESSES])
{
	struct sample sample = {0};

	for (int i = 0; i < N_PROCESSES; i++) {
		sample.bytes += 1024 * field_of(pids[i], "smaps_rollup", "Pss: %" SCNu64);
		sample.descriptors += count_descriptors(pids[i]);
		sample.wakeups += field_of(pids[i], "status", "voluntary_ctxt_switches: %" SCNu64);
	}
	return sample;
}

static void pause_ms(long ms)
{
	const struct timespec time = {.tv_nsec = ms * 1000000};

	(void)nanosleep(&time, NULL);
}

static struct sample quiet_sample(const int pids[static N_PROCESSES])
{
	struct sample before = take_sample(pids), now;

	for (int i = 0; i < QUIET_TRIES; i++, before = now) {
		pause_ms(QUIET_MS);
		now = take_sample(pids);
		if (now.wakeups == before.wakeups)
			return now;
	}
	return before; /* the count of wake-ups will tell */
}

/* Says that all is set up, and lives as an event loop would until it is told to go on. */
static void idle_until(struct end *end, int said, int told)
{
	struct pollfd fds[2] = {
		{.fd = end->sock, .events = POLLIN}, {.fd = told, .events = POLLIN}};
	struct msg_event events[LOOP_READY_MAX];
	char byte = 0;

	if (write(said, &byte, 1) != 1)
		err(1, "pipe");
	do {
		if (msg_ctx_dispatch(end->ctx, events, LOOP_READY_MAX) < 0)
			bench_fail("dispatch");
		if (poll(fds, 2, -1) < 0)
			err(1, "poll");
	} while (!fds[1].revents);
	if (read(told, &byte, 1) != 1)
		exit(1); /* the parent has ended */
}

static _Noreturn void side(struct end *end, unsigned n, int said, int told)
{
	(void)alarm(BENCH_STUCK_AFTER);
	loop_msg.open(end);
	free(loop_channels_open(&loop_msg, end, N_BEFORE));
	idle_until(end, said, told);
	free(loop_channels_open(&loop_msg, end, n));
	idle_until(end, said, told);
	loop_msg.close(end);
	exit(0);
}

/* Both have come so far. */
static void both_said(int said)
{
	char byte;

	for (int i = 0; i < 2; i++) {
		if (read(said, &byte, 1) != 1)
			errx(1, "idle channels: a side failed");
	}
}

void footprint_measure(struct pair *pair, unsigned n, int msgd, struct footprint *ret_footprint)
{
	int pids[N_PROCESSES] = {0}, said[2], told[2], status;
	struct end end = {.pair = pair};
	struct sample before, after, later;

	pids[MSGD] = msgd;
	if (pipe(said) < 0 || pipe(told) < 0)
		err(1, "pipe");
	for (end.role = 0; end.role < 2; end.role++) {
		pids[end.role] = fork();
		if (pids[end.role] < 0)
			err(1, "fork");
		if (pids[end.role] == 0) {
			(void)close(told[1]);
			(void)close(said[0]);
			side(&end, n, said[1], told[0]);
		}
	}
	(void)close(said[1]);
	both_said(said[0]);
	before = quiet_sample(pids);
	if (write(told[1], "go", 2) != 2)
		err(1, "pipe");
	both_said(said[0]);
	after = quiet_sample(pids);
	pause_ms(IDLE_MS);
	later = take_sample(pids);
	if (write(told[1], "go", 2) != 2)
		err(1, "pipe");
	for (int role = 0; role < 2; role++) {
		if (waitpid(pids[role], &status, 0) < 0 || status != 0)
			errx(1, "idle channels: side %d failed", role);
	}
	(void)close(said[0]);
	(void)close(told[0]);
	(void)close(told[1]);
	*ret_footprint = (struct footprint){
		.bytes = ((double)after.bytes - (double)before.bytes) / n,
		.descriptors = ((double)after.descriptors - (double)before.descriptors) / n,
		.wakeups = (double)(later.wakeups - after.wakeups),
	};
}
