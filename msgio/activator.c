/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See activator.h. One connection at a time lies in the socket's queue, and the next follows when
 * the program has accepted it. So the queue, which poll(2) shows, says of this one whether it was
 * accepted, and nothing else could: no event tells of an accept.
 */
#include "msgio/activator.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/allowance.h"
#include "base/cleanup.h"
#include "base/event.h"
#include "base/listen.h"
#include "base/log.h"
#include "msgio/activated-end.h"
#include "msgio/child.h"
#include "msgio/program.h"

/*
 * How often the program is started, whoever connects: a program that ends at once, or a peer that
 * comes whenever it has gone, costs a tenth of a second of a processor in two, as a shell or an
 * interpreter does. As many at once as systemd starts a service in ten seconds
 * (DefaultStartLimitBurst); after that connections wait, two seconds at most.
 */
#define STARTS_BURST   5U
#define STARTS_EACH_NS UINT64_C(2000000000)
/*
 * Programs in a row that have ended without accepting any connection, until those that wait fail:
 * the cause may have been the machine's, and gone with the first. They wait for two seconds for
 * each, and for --start-limit at most until it has ended.
 */
#define VAIN_STARTS_MAX 3U
/*
 * Between two looks whether a connection was accepted: most are within the first. A program that
 * serves one after the other may take hours, and is looked at also when one has ended.
 */
#define LOOK_FIRST_MS 1U
#define LOOK_MAX_MS   250U
/* One connection, and those that their peers have given up. */
#define QUEUE_LEN 16

struct demand {
	STAILQ_ENTRY(demand) entry;
	demand_fn *fn;
	void *arg; /* borrowed */
};

struct activator {
	struct loop *loop;		  /* borrowed */
	const struct io_options *options; /* borrowed */
	activator_fn *fn;
	void *arg;	/* borrowed */
	int listen_fd;	/* owned: the program has it as well; none other has */
	int path_fd;	/* owned: of the socket's file, which has no name any more */
	int offered_fd; /* owned: for the first demand, not accepted yet; -1: none */
	bool ending;	/* it got SIGTERM, and is offered nothing */
	bool shut;	/* it has shut its socket down, and is offered nothing */
	bool offered;	/* a connection was put into the queue, and was not seen to be accepted */
	bool accepted;	/* the program has accepted one since it was started */
	unsigned vain;	/* programs in a row that have accepted none */
	struct activated served; /* the program, and connections of it */
	unsigned look_ms;
	struct allowance starts;
	STAILQ_HEAD(demands, demand) demands; /* owned */
	struct event *child_event;	      /* owned, as those that follow */
	struct event *look_event;	      /* to look again, or to start the program */
	struct event *late_event;	      /* the limit on starting */
	struct event *idle_event;
	struct event *kill_event;
};

static void look_in(struct activator *activator, uint64_t ms)
{
	struct timeval delay = {
		.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	(void)evtimer_add(activator->look_event, &delay);
}

/* ---- demands ------------------------------------------------------------------------------ */

static void offer_drop(struct activator *activator)
{
	close_p(&activator->offered_fd);
	activator->offered_fd = -1;
}

/* The first is over. */
static void demand_over(struct activator *activator, struct end *end, const char *reason)
{
	struct demand *demand = STAILQ_FIRST(&activator->demands);

	STAILQ_REMOVE_HEAD(&activator->demands, entry);
	demand->fn(demand->arg, end, reason);
	free(demand);
}

static void demands_fail(struct activator *activator, const char *reason)
{
	offer_drop(activator);
	while (!STAILQ_EMPTY(&activator->demands))
		demand_over(activator, NULL, reason);
}

/* If there was a connection in it, that was accepted. */
static void queue_emptied(struct activator *activator)
{
	activator->accepted = activator->accepted || activator->offered;
	activator->offered = false;
}

/*
 * The program has shut the socket down: it can always be read, and accept(2) waits for nobody. A
 * connection that it gives back was not accepted. False: it cannot tell.
 */
static bool queue_take_back(struct activator *activator)
{
	int fd = accept4(activator->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0 && errno != EINVAL)
		return false;
	activator->shut = true;
	if (fd >= 0) {
		(void)close(fd);
		offer_drop(activator);
		activator->offered = false;
	}
	queue_emptied(activator);
	return true;
}

static bool queue_is_empty(struct activator *activator)
{
	struct pollfd fd = {.fd = activator->listen_fd, .events = POLLIN | POLLRDHUP};

	if (poll(&fd, 1, 0) != 0)
		return (fd.revents & POLLRDHUP) && queue_take_back(activator);
	queue_emptied(activator);
	return true;
}

/* The queue is empty: the first demand's connection, if it was offered, was accepted. */
static bool offer_was_accepted(struct activator *activator)
{
	bool packets = activator->options->type != LIBMSG_STREAM;
	struct end *end;

	if (activator->offered_fd < 0)
		return false;
	end = activated_end_new(
		activator->loop, steal_fd(&activator->offered_fd), packets, &activator->served);
	demand_over(activator, end, end ? NULL : "out of memory");
	return true;
}

/* ---- the socket --------------------------------------------------------------------------- */

static void drop_socket(struct activator *activator)
{
	close_p(&activator->listen_fd);
	close_p(&activator->path_fd);
	activator->listen_fd = activator->path_fd = -1;
}

/* A name that nobody else can connect to: it is gone when the socket is there. */
static int open_socket(struct activator *activator, char *dir)
{
	const struct io_options *options = activator->options;
	int type = options->type == LIBMSG_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int r;

	if (snprintf(path, sizeof(path), "%s/socket", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	r = unix_listen(path, type, 0600, QUEUE_LEN, &activator->listen_fd);
	if (r < 0)
		return r;
	/* The program has the same flags, and expects that accept(2) waits. */
	(void)fcntl(activator->listen_fd, F_SETFL, 0);
	activator->path_fd = open(path, O_PATH | O_CLOEXEC);
	r = activator->path_fd < 0 ? -errno : 0;
	(void)unlink(path);
	return r;
}

/* A new one for each program: what the former one did with its own is nothing to this one. */
static int make_socket(struct activator *activator)
{
	const char *tmp = secure_getenv("TMPDIR");
	_cleanup_free_ char *dir = NULL;
	int r;

	drop_socket(activator);
	if (asprintf(&dir, "%s/msgio-XXXXXX", tmp ? tmp : "/tmp") < 0)
		return dir = NULL, -ENOMEM;
	if (!mkdtemp(dir))
		return -errno;
	r = open_socket(activator, dir);
	(void)rmdir(dir);
	return r;
}

/* ---- the program -------------------------------------------------------------------------- */

static void program_end(struct activator *activator)
{
	static const struct timeval delay = {.tv_sec = KILL_AFTER_S};

	if (!activator->served.pid || activator->ending)
		return;
	(void)killpg(activator->served.pid, SIGTERM);
	(void)evtimer_add(activator->kill_event, &delay);
	activator->ending = true;
}

static void on_kill(evutil_socket_t fd, short what, void *arg)
{
	struct activator *activator = arg;

	if (activator->served.pid)
		(void)killpg(activator->served.pid, SIGKILL);
}

static void program_start_now(struct activator *activator)
{
	const struct io_options *options = activator->options;
	int r = make_socket(activator);

	allowance_pay(&activator->starts, STARTS_EACH_NS, loop_now_ns());
	if (r == 0)
		r = program_activate(options->program, activator->listen_fd, options->from.channel,
			&activator->served.pid);
	activator->accepted = activator->shut = false;
	(void)event_del(activator->late_event);
	if (r < 0)
		demands_fail(activator, strerror(-r));
}

static void log_status(struct activator *activator, int status)
{
	const char *name = activator->options->program[0];

	if (activator->ending)
		return;
	if (WIFSIGNALED(status))
		loop_log(activator->loop, "%s: killed by signal %d", name, WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		loop_log(activator->loop, "%s: exit status %d", name, WEXITSTATUS(status));
}

/* ---- looking ------------------------------------------------------------------------------ */

/* NULL: there is a connection in the socket's queue, or the socket was shut down. */
static const char *offer(struct activator *activator)
{
	const struct io_options *options = activator->options;
	int type = options->type == LIBMSG_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *reason;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return strerror(errno);
	(void)snprintf(
		address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", activator->path_fd);
	activator->offered_fd = fd;
	activator->look_ms = LOOK_FIRST_MS;
	activator->offered = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
	if (activator->offered)
		return NULL;
	activator->shut = errno == ECONNREFUSED;
	reason = activator->shut ? NULL : strerror(errno);
	offer_drop(activator);
	return reason;
}

/* False: it is to be looked at again. */
static bool look_at_first(struct activator *activator)
{
	const char *reason;

	if (!queue_is_empty(activator))
		return false;
	if (offer_was_accepted(activator) || activator->shut)
		return true;
	reason = offer(activator);
	if (reason)
		demand_over(activator, NULL, reason);
	return true;
}

static void look_at_queue(struct activator *activator)
{
	while (!STAILQ_EMPTY(&activator->demands) && !activator->shut) {
		if (!look_at_first(activator)) {
			look_in(activator, activator->look_ms);
			activator->look_ms *= 2;
			if (activator->look_ms > LOOK_MAX_MS)
				activator->look_ms = LOOK_MAX_MS;
			return;
		}
	}
}

static void look_at_start(struct activator *activator)
{
	static const struct rate rate = {.each_ns = STARTS_EACH_NS, .burst = STARTS_BURST};
	uint64_t wait_ns = allowance_wait(&activator->starts, &rate, loop_now_ns());

	if (wait_ns)
		look_in(activator, wait_ns / 1000000 + 1);
	else
		program_start_now(activator);
}

static void timer_set(struct event *timer, bool wanted, uint32_t seconds)
{
	struct timeval delay = {.tv_sec = seconds};

	if (!wanted)
		(void)event_del(timer);
	else if (!evtimer_pending(timer, NULL))
		(void)evtimer_add(timer, &delay);
}

/* While it serves some, a program may have the next ones wait. */
static void look(struct activator *activator)
{
	const struct io_options *options = activator->options;
	bool waits, runs;

	if (!activator->served.pid && !STAILQ_EMPTY(&activator->demands))
		look_at_start(activator);
	runs = activator->served.pid && !activator->ending;
	if (runs)
		look_at_queue(activator);
	waits = !STAILQ_EMPTY(&activator->demands);
	runs = runs && activator->served.count == 0;
	timer_set(activator->late_event, runs && waits, options->start_limit_s);
	timer_set(activator->idle_event, runs && !waits && options->idle_s, options->idle_s);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	look(arg);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct activator *activator = arg;

	look_at_queue(activator);
	if (activator->served.count == 0 && !STAILQ_EMPTY(&activator->demands)) {
		program_end(activator);
		if (!activator->shut)
			demands_fail(activator, "the program did not take the connection in time");
	}
	look(activator);
}

static void on_idle(evutil_socket_t fd, short what, void *arg)
{
	struct activator *activator = arg;

	program_end(activator);
	look(activator);
}

/* A connection that was not accepted is the next one's, unless a few have accepted none at all. */
static void leave_to_next(struct activator *activator)
{
	offer_drop(activator);
	activator->offered = false;
	if (activator->accepted)
		activator->vain = 0;
	else if (!activator->ending || activator->shut)
		activator->vain++;
	if (activator->vain < VAIN_STARTS_MAX)
		return;
	activator->vain = 0;
	demands_fail(activator, "the program ended before it took the connection");
}

/* Others of its group have the socket and connections, too: they go with it. */
static void program_gone(struct activator *activator)
{
	int status = 0;

	(void)killpg(activator->served.pid, SIGKILL);
	(void)TEMP_FAILURE_RETRY(waitpid(activator->served.pid, &status, 0));
	log_status(activator, status);
	drop_socket(activator);
	leave_to_next(activator);
	activator->served.pid = 0;
	activator->ending = false;
	(void)event_del(activator->kill_event);
}

static void on_child(evutil_socket_t fd, short what, void *arg)
{
	struct activator *activator = arg;
	siginfo_t info = {.si_pid = 0};

	if (!activator->served.pid)
		return;
	(void)waitid(P_PID, (id_t)activator->served.pid, &info, WEXITED | WNOHANG | WNOWAIT);
	if (!info.si_pid)
		return;
	if (queue_is_empty(activator))
		(void)offer_was_accepted(activator);
	activated_settle(&activator->served, info.si_code != CLD_EXITED || info.si_status != 0);
	program_gone(activator);
	activator->fn(activator->arg);
	look(activator);
}

/* ---- all ---------------------------------------------------------------------------------- */

struct demand *activator_demand(struct activator *activator, demand_fn *fn, void *arg)
{
	struct demand *demand = malloc(sizeof(*demand));

	if (!demand)
		return NULL;
	*demand = (struct demand){.fn = fn, .arg = arg};
	if (STAILQ_EMPTY(&activator->demands))
		look_in(activator, 0);
	STAILQ_INSERT_TAIL(&activator->demands, demand, entry);
	return demand;
}

void demand_cancel(struct activator *activator, struct demand *demand)
{
	if (!demand)
		return;
	if (demand == STAILQ_FIRST(&activator->demands))
		offer_drop(activator);
	STAILQ_REMOVE(&activator->demands, demand, demand, entry);
	free(demand);
	look_in(activator, 0);
}

static void on_left(void *arg)
{
	struct activator *activator = arg;

	activator->look_ms = LOOK_FIRST_MS;
	look_in(activator, 0);
}

bool activator_runs(const struct activator *activator)
{
	return activator->served.pid;
}

void activator_stop(struct activator *activator)
{
	program_end(activator);
}

static int make_events(struct activator *activator)
{
	struct event_base *base = activator->loop->base;

	activator->child_event = evsignal_new(base, SIGCHLD, on_child, activator);
	activator->look_event = evtimer_new(base, on_look, activator);
	activator->late_event = evtimer_new(base, on_late, activator);
	activator->idle_event = evtimer_new(base, on_idle, activator);
	activator->kill_event = evtimer_new(base, on_kill, activator);
	return activator->child_event && activator->look_event && activator->late_event &&
			       activator->idle_event && activator->kill_event &&
			       event_add(activator->child_event, NULL) == 0
		       ? 0
		       : -ENOMEM;
}

struct activator *activator_new(
	struct loop *loop, const struct io_options *options, activator_fn *fn, void *arg)
{
	struct activator *activator = malloc(sizeof(*activator));
	int r = -ENOMEM;

	if (activator) {
		*activator = (struct activator){.loop = loop,
			.options = options,
			.fn = fn,
			.arg = arg,
			.listen_fd = -1,
			.path_fd = -1,
			.offered_fd = -1,
			.served = {.left = on_left, .arg = activator}};
		STAILQ_INIT(&activator->demands);
		r = make_events(activator);
	}
	/* Whether there can be one is said before anybody comes. */
	if (r == 0)
		r = make_socket(activator);
	if (r == 0)
		return activator;
	log_error("the program's socket: %s", strerror(-r));
	activator_free(activator);
	return NULL;
}

void activator_free(struct activator *activator)
{
	if (!activator)
		return;
	if (activator->served.pid)
		(void)killpg(activator->served.pid, SIGKILL);
	demands_fail(activator, "stopped");
	event_drop(activator->child_event);
	event_drop(activator->look_event);
	event_drop(activator->late_event);
	event_drop(activator->idle_event);
	event_drop(activator->kill_event);
	drop_socket(activator);
	free(activator);
}
