/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tasks: several domains in one thread. Each has a stack of its own, and runs until it waits,
 * yields or is preempted in a call; the next one is chosen from the seed. A switch happens outside
 * of every transaction, so that the emulator's lock is never held across one.
 */
#include "hv/sim/testing/deterministic.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"

#ifdef __has_feature
#define HAS_FEATURE(feature) __has_feature(feature)
#else
#define HAS_FEATURE(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#include <sanitizer/common_interface_defs.h>
#else
/* AddressSanitizer wants to know which stack is in use. */
static void __sanitizer_start_switch_fiber(void **fake, const void *bottom, size_t size)
{
}
static void __sanitizer_finish_switch_fiber(void *fake, const void **bottom, size_t *size)
{
}
#endif

#define STACK_SIZE ((size_t)1 << 20)

enum task_state {
	TASK_READY = 1,
	TASK_WAITING, /* for fds, or until_ns */
	TASK_ENDED,
};

struct sim_task {
	TAILQ_ENTRY(sim_task) entry;
	char name[32];
	uint16_t domid;
	bool background;
	enum task_state state;
	ucontext_t context;
	void *stack; /* owned; the lowest page is a guard */
	void *fake_stack;
	void (*fn)(void *arg);
	void *arg;
	struct pollfd *fds; /* borrowed, while waiting */
	size_t n_fds;
	uint64_t until_ns;
	int error;	  /* errno */
	uint8_t locals[]; /* this task's, while it does not run, one behind the other */
};

static uint64_t now_ns(const struct sim *sim)
{
	return atomic_load(&sim->authority.xen.seg->now_ns);
}

const char *det_task_name(const struct sim *sim)
{
	return sim->det->current ? sim->det->current->name : "main";
}

static void task_free(struct deterministic *det, struct sim_task *task)
{
	TAILQ_REMOVE(&det->tasks, task, entry);
	(void)munmap(task->stack, STACK_SIZE);
	free(task);
}

void det_tasks_free(struct sim *sim)
{
	struct sim_task *task;

	while ((task = TAILQ_FIRST(&sim->det->tasks)))
		task_free(sim->det, task);
}

/* The running one's and the others' change places. */
static void locals_swap(struct deterministic *det, struct sim_task *task)
{
	uint8_t *kept = task->locals;
	int error = errno;

	errno = task->error;
	task->error = error;
	for (size_t i = 0; i < det->n_locals; i++) {
		uint8_t *memory = det->locals[i].memory;

		for (size_t k = 0; k < det->locals[i].len; k++, kept++) {
			uint8_t byte = memory[k];

			memory[k] = *kept;
			*kept = byte;
		}
	}
}

static void task_enter(struct deterministic *det, struct sim_task *task)
{
	struct main_context *m = &det->main;

	det->current = task;
	locals_swap(det, task);
	__sanitizer_start_switch_fiber(&m->fake_stack, task->stack, STACK_SIZE);
	(void)swapcontext(&m->context, &task->context);
	__sanitizer_finish_switch_fiber(m->fake_stack, NULL, NULL);
	locals_swap(det, task);
	det->current = NULL;
	if (task->state == TASK_ENDED)
		task_free(det, task);
}

static void task_leave(struct deterministic *det)
{
	struct main_context *m = &det->main;
	struct sim_task *task = det->current;

	__sanitizer_start_switch_fiber(
		task->state == TASK_ENDED ? NULL : &task->fake_stack, m->stack, m->stack_size);
	(void)swapcontext(&task->context, &m->context);
	__sanitizer_finish_switch_fiber(task->fake_stack, &m->stack, &m->stack_size);
}

/* makecontext passes integers only. */
static void task_main(unsigned int high, unsigned int low)
{
	struct deterministic *det =
		(struct deterministic *)((uintptr_t)high << 16 << 16 | (uintptr_t)low);
	struct main_context *m = &det->main;
	struct sim_task *task = det->current;

	__sanitizer_finish_switch_fiber(NULL, &m->stack, &m->stack_size);
	task->fn(task->arg);
	task->state = TASK_ENDED;
	task_leave(det);
}

static int task_stack(struct sim_task *task, struct deterministic *det)
{
	task->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	if (task->stack == MAP_FAILED)
		return -ENOMEM;
	(void)mprotect(task->stack, HV_PAGE_SIZE, PROT_NONE);
	(void)getcontext(&task->context);
	task->context.uc_stack.ss_sp = task->stack;
	task->context.uc_stack.ss_size = STACK_SIZE;
	task->context.uc_link = NULL;
	makecontext(&task->context, (void (*)(void))(uintptr_t)task_main, 2,
		(unsigned int)((uintptr_t)det >> 16 >> 16), (unsigned int)(uintptr_t)det);
	return 0;
}

int sim_task_start(struct sim *sim, uint16_t domid, const char *name, void (*fn)(void *arg),
	void *arg, struct sim_task **ret_task)
{
	struct deterministic *det = sim->det;
	struct sim_task *task;

	if (sim_domain_find(&sim->authority.xen, domid) == DOMAIN_NONE)
		return -ESRCH;
	task = calloc(1, sizeof(*task) + det->locals_len);
	if (!task)
		return -ENOMEM;
	if (task_stack(task, det) < 0) {
		free(task);
		return -ENOMEM;
	}
	(void)snprintf(task->name, sizeof(task->name), "%s", name);
	task->domid = domid;
	task->fn = fn;
	task->arg = arg;
	task->state = TASK_READY;
	TAILQ_INSERT_TAIL(&det->tasks, task, entry);
	sim_trace(sim, "task %s in domain %u", name, domid);
	if (ret_task)
		*ret_task = task;
	return 0;
}

void sim_task_set_background(struct sim_task *task)
{
	task->background = true;
}

void sim_task_kill(struct sim *sim, struct sim_task *task)
{
	assert(task != sim->det->current);
	sim_trace(sim, "task %s is killed", task->name);
	task_free(sim->det, task);
}

void det_tasks_of_domain_end(struct sim *sim, uint16_t domid)
{
	struct sim_task *task, *next;

	for (task = TAILQ_FIRST(&sim->det->tasks); task; task = next) {
		next = TAILQ_NEXT(task, entry);
		if (task->domid == domid && task != sim->det->current)
			sim_task_kill(sim, task);
	}
}

void sim_task_yield(struct sim *sim)
{
	task_leave(sim->det);
}

int sim_task_poll(struct sim *sim, struct pollfd *fds, size_t n, uint64_t until_ns)
{
	struct sim_task *task = sim->det->current;

	task->fds = fds;
	task->n_fds = n;
	task->until_ns = until_ns;
	task->state = TASK_WAITING;
	task_leave(sim->det);
	return poll(fds, (nfds_t)n, 0);
}

static bool domain_runs(const struct sim *sim, uint16_t domid)
{
	const struct xen *xen = &sim->authority.xen;
	uint32_t index = sim_domain_find(xen, domid);

	return index != DOMAIN_NONE && domain_at(xen, index)->state == SIM_DOMAIN_RUNNING &&
	       !domain_at(xen, index)->paused;
}

static bool task_is_ready(struct sim *sim, struct sim_task *task)
{
	if (!domain_runs(sim, task->domid))
		return false;
	if (task->state == TASK_WAITING &&
		(now_ns(sim) >= task->until_ns || poll(task->fds, (nfds_t)task->n_fds, 0) > 0))
		task->state = TASK_READY;
	return task->state == TASK_READY;
}

/* Chooses a task that can run, or NULL. */
static struct sim_task *task_choose(struct sim *sim)
{
	struct sim_task *task, *chosen = NULL;
	uint32_t n = 0, left;

	TAILQ_FOREACH (task, &sim->det->tasks, entry)
		n += task_is_ready(sim, task);
	if (!n)
		return NULL;
	left = (uint32_t)(det_draw(sim->det) % n) + 1;
	TAILQ_FOREACH (task, &sim->det->tasks, entry) {
		if (task->state == TASK_READY && domain_runs(sim, task->domid) && --left == 0) {
			chosen = task;
			break;
		}
	}
	det_trace(sim, "main", "run %s, of %u", chosen->name, n);
	return chosen;
}

static bool tasks_are_left(const struct sim *sim)
{
	const struct sim_task *task;

	TAILQ_FOREACH (task, &sim->det->tasks, entry)
		if (!task->background)
			return true;
	return false;
}

/* To what comes next, if nobody can run. False: nothing will. */
static bool clock_leap(struct sim *sim)
{
	uint64_t next = det_next_event(sim), now = now_ns(sim);
	const struct sim_task *task;

	TAILQ_FOREACH (task, &sim->det->tasks, entry)
		if (task->state == TASK_WAITING && domain_runs(sim, task->domid) &&
			task->until_ns < next)
			next = task->until_ns;
	for (uint32_t i = 0; next == UINT64_MAX && i < SIM_DEATHS_MAX; i++)
		if (sim->det->deaths[i].step)
			return true; /* steps go by */
	if (next == UINT64_MAX)
		return false;
	if (next > now)
		sim_clock_advance(sim, next - now);
	return true;
}

int sim_run(struct sim *sim, uint64_t n_steps)
{
	struct deterministic *det = sim->det;
	struct sim_task *task;

	for (uint64_t i = 0; i < n_steps; i++) {
		if (!tasks_are_left(sim))
			return 0;
		det->stats.steps++;
		if (det->config.step_ns)
			sim_clock_advance(sim, det_draw(det) % (det->config.step_ns + 1));
		det_events(sim);
		task = task_choose(sim);
		if (task)
			task_enter(det, task);
		else if (!clock_leap(sim))
			return tasks_are_left(sim) ? -EDEADLK : 0;
	}
	return tasks_are_left(sim) ? -ETIME : 0;
}
