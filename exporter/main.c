/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msg-exporter: msgd's counters and lists over HTTP, for those who may look, by a process that can
 * do nothing else. msgctl(8) is how it asks.
 */
#include <argp.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/event.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/number.h"
#include "base/stop.h"
#include "exporter/address.h"
#include "exporter/answer.h"
#include "exporter/body.h"
#include "exporter/http.h"
#include "exporter/limits.h"
#include "exporter/store.h"

#define DEFAULT_LISTEN "unix:/run/msg-exporter/http.sock"

enum { EXIT_USAGE = 2 };

struct exporter {
	const char *listen; /* borrowed */
	const char *path;   /* borrowed: of our own Unix socket, or NULL */
	uint32_t exchange_s;
	struct body_sums sums;	  /* outlives every answer */
	struct answers answers;	  /* the asking thread's, while it runs */
	struct event_base *base;  /* owned */
	struct store *store;	  /* owned */
	struct http *http;	  /* owned */
	struct event *stop_event; /* owned */
};

/* ---- options -------------------------------------------------------------------------------- */

enum { OPTION_SOCKET = 256, OPTION_HV, OPTION_LISTEN, OPTION_TIMEOUT, OPTION_SERIES };

static const struct argp_option options[] = {
	{"socket", OPTION_SOCKET, "PATH", 0,
		"msgd's admin socket (else $MSGD_SOCKET, else " ADMIN_DEFAULT_SOCKET ")"},
	{"hv", OPTION_HV, "SPEC", 0, "the msgd that serves this hypervisor: xen, or sim:PATH"},
	{"listen", OPTION_LISTEN, "ADDRESS", 0,
		"unix:PATH, or HOST:PORT of the loopback (" DEFAULT_LISTEN ")"},
	{"timeout", OPTION_TIMEOUT, "SECONDS", 0,
		"a client may take so long for a request, or for an answer (30)"},
	{"names", OPTION_SERIES + METRICS_NAMES, "N", 0, "names with series of their own (500)"},
	{"links", OPTION_SERIES + METRICS_LINKS, "N", 0, "links with series of their own (0)"},
	{"channels", OPTION_SERIES + METRICS_CHANNELS, "N", 0,
		"channels with series of their own (0)"},
	{0},
};

static error_t on_option(int key, char *arg, struct argp_state *state)
{
	struct exporter *exporter = state->input;
	struct answers *answers = &exporter->answers;

	switch (key) {
	case OPTION_SOCKET:
		(void)snprintf(answers->socket, sizeof(answers->socket), "%s", arg);
		answers->from = "--socket";
		return 0;
	case OPTION_HV:
		if (!admin_socket_of_hv(arg, answers->socket))
			argp_error(state, "--hv is xen or sim:PATH, not '%s'", arg);
		answers->from = "--hv";
		return 0;
	case OPTION_LISTEN:
		exporter->listen = arg;
		return 0;
	case OPTION_TIMEOUT:
		if (!number_from_text(arg, EXCHANGE_MAX_S, &exporter->exchange_s) ||
			!exporter->exchange_s)
			argp_error(state, "--timeout is 1 to %u seconds, not '%s'", EXCHANGE_MAX_S,
				arg);
		return 0;
	case OPTION_SERIES + METRICS_NAMES:
	case OPTION_SERIES + METRICS_LINKS:
	case OPTION_SERIES + METRICS_CHANNELS:
		if (!number_from_text(
			    arg, SERIES_LIMIT, &answers->metrics.max[key - OPTION_SERIES]))
			argp_error(state, "a number of series is 0 to %u, not '%s'", SERIES_LIMIT,
				arg);
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "there is no argument, but '%s'", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- the service ---------------------------------------------------------------------------- */

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
	struct exporter *exporter = arg;

	(void)event_base_loopbreak(exporter->base);
}

static int fail(const char *what, const char *why)
{
	log_error("%s: %s", what, why);
	return EXIT_FAILURE;
}

/* All that systemd passed. 0, or the exit status. */
static int serve_passed(struct exporter *exporter, int n)
{
	char error[ADDRESS_ERROR_SIZE];
	bool tcp;

	for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
		if (address_check(fd, &tcp, error) < 0) {
			log_error("%s", error);
			return EXIT_USAGE;
		}
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		if (http_serve(exporter->http, fd, tcp) < 0)
			return fail("start", "out of memory");
	}
	return 0;
}

static int serve(struct exporter *exporter)
{
	char error[ADDRESS_ERROR_SIZE], where[ADDRESS_ERROR_SIZE];
	_cleanup_close_ int fd = -1;
	int n = sd_listen_fds(1), r;

	if (n > 0)
		return serve_passed(exporter, n);
	r = address_listen(exporter->listen, &fd, &exporter->path, error);
	if (r < 0) {
		log_error("%s", error);
		return r == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
	}
	address_describe(fd, exporter->listen, where);
	if (http_serve(exporter->http, fd, !exporter->path) < 0)
		return fail("start", "out of memory");
	(void)steal_fd(&fd);
	log_notice("serves on %s", where);
	return 0;
}

static int exporter_start(struct exporter *exporter)
{
	int stop_fd, r;

	exporter->base = event_base_new();
	if (!exporter->base)
		return fail("start", "out of memory");
	r = stop_open(&stop_fd);
	if (r < 0)
		return fail("signals", strerror(-r));
	(void)signal(SIGPIPE, SIG_IGN);
	exporter->stop_event = event_watch(exporter->base, stop_fd, on_stop, exporter);
	r = exporter->stop_event ? store_new(exporter->base, answer_make, &exporter->answers,
					   &exporter->sums, &exporter->store)
				 : -ENOMEM;
	if (r == 0)
		r = http_new(exporter->base, exporter->store, &exporter->sums, exporter->exchange_s,
			&exporter->http);
	if (r < 0)
		return fail("start", strerror(-r));
	return serve(exporter);
}

/* Clients that wait are answered before their connections go. */
static void exporter_fini(struct exporter *exporter)
{
	store_free(exporter->store);
	http_free(exporter->http);
	event_drop(exporter->stop_event);
	if (exporter->base)
		event_base_free(exporter->base);
	answers_fini(&exporter->answers);
	if (exporter->path)
		(void)unlink(exporter->path);
	stop_done();
}

int main(int argc, char **argv)
{
	static const struct argp argp = {options, on_option, NULL,
		"Serves msgd's counters for Prometheus, and a status page. See msg-exporter(8)."};
	struct exporter exporter = {.listen = DEFAULT_LISTEN, .exchange_s = EXCHANGE_S};
	int status;

	answers_init(&exporter.answers);
	argp_program_version = "msg-exporter " MSGD_VERSION;
	argp_err_exit_status = EXIT_USAGE;
	(void)argp_parse(&argp, argc, argv, 0, NULL, &exporter);
	log_open("msg-exporter", LOG_NOTICE);
	status = exporter_start(&exporter);
	if (status == EXIT_SUCCESS) {
		(void)notify_send("READY=1");
		(void)event_base_dispatch(exporter.base);
	}
	exporter_fini(&exporter);
	return status;
}
