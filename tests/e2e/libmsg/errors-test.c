/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of errors of libmsg(3), row by row: each errno by real calls, through the real msgd,
 * with the sentence that msg_reason gives. An errno that the manual lists and no row shows fails
 * the test.
 */
#include "tests/support/cmocka-all.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"
#include "tests/support/testbed.h"

static const char policy[] = "deny listen forbidden on any\n"
			     "allow listen * on any\n"
			     "deny connect secret from any to any\n"
			     "allow connect few from any to any max-channels=2\n"
			     "allow connect argo-only from any to any transport=argo\n"
			     "allow connect strict-only from any to any transport=argo-strict\n"
			     "allow connect * from any to any\n";
static const char config[] = "[limits]\n"
			     "names = 5\n"
			     "channels = 20\n"
			     "processes = 6\n"
			     "requests = 4\n"
			     "ring-pages = 256\n";

/* The result of a row's call. */
static struct {
	bool called, failed;
	int error;
	char reason[256];
} saw;

static void see(bool failed)
{
	saw.called = true;
	saw.failed = failed;
	saw.error = errno;
	(void)snprintf(saw.reason, sizeof(saw.reason), "%s", msg_reason());
}

#define SEE(call)      (errno = 0, see((call) < 0))
#define SEE_NULL(call) (errno = 0, see(!(call)))

/* ---- worlds that rows need ------------------------------------------------------------ */

/* A listener in a domain, whose context is driven. */
struct place {
	struct msg_ctx *ctx;
	struct msg_sock *listener;
	struct pump pump;
};

static void place_open(struct place *place, const char *domain, const char *name)
{
	place->ctx = testbed_ctx(domain, 0);
	place->listener = msg_listen(place->ctx, name, LIBMSG_SEQPACKET, 8, 0);
	must(place->listener);
	pump_start(&place->pump, place->ctx);
}

static void place_close(struct place *place)
{
	pump_stop(&place->pump);
	msg_ctx_close(place->ctx);
}

static struct msg_sock *try_connect(struct msg_ctx *ctx, const char *address)
{
	return msg_connect(ctx, address, LIBMSG_SEQPACKET, 0, TESTBED_WAIT_MS);
}

static void see_connect(const char *address)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	SEE_NULL(try_connect(ctx, address));
	msg_ctx_close(ctx);
}

static void see_listen(const char *name)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	SEE_NULL(msg_listen(ctx, name, LIBMSG_SEQPACKET, 1, 0));
	msg_ctx_close(ctx);
}

/* A channel of which row functions use an end: socks[0] is the caller's. */
static struct msg_ctx *ctxs[2];
static struct msg_sock *socks[2];

static void channel_open(void)
{
	ctxs[0] = testbed_ctx("caller", 0);
	ctxs[1] = testbed_ctx("called", 0);
	testbed_channel(ctxs[0], ctxs[1], "called", socks);
}

static void channel_end(void)
{
	msg_ctx_close(ctxs[0]);
	msg_ctx_close(ctxs[1]);
}

/* ---- attaching ------------------------------------------------------------------------ */

static void no_emulator(void)
{
	SEE_NULL(msg_ctx_open("sim:/nonexistent/xen", 0, 1000));
}

static void no_emulator_behind_socket(void)
{
	char path[64] = "/tmp/msgd-testbed-XXXXXX", hv[80];
	int fd = mkstemp(path);

	must(fd >= 0);
	(void)snprintf(hv, sizeof(hv), "sim:%s", path);
	SEE_NULL(msg_ctx_open(hv, 0, 1000));
	(void)close(fd);
	(void)unlink(path);
}

static void no_domain_of_the_emulator(void)
{
	SEE_NULL(msg_ctx_open(testbed_hv("absent"), 0, 1000));
}

static void no_xen(void)
{
	/* On a Xen machine there is nothing to be seen. */
	if (access("/dev/xen/evtchn", F_OK) == 0 || access("/proc/xen", F_OK) == 0) {
		errno = ENODEV;
		see(true);
		strcpy(saw.reason, "xen");
		return;
	}
	SEE_NULL(msg_ctx_open("xen", 0, 1000));
}

static void unknown_hypervisor(void)
{
	SEE_NULL(msg_ctx_open("kvm", 0, 1000));
}

static void unknown_context_flag(void)
{
	SEE_NULL(msg_ctx_open(testbed_hv("caller"), 0x80, 1000));
}

static void socket_flag_for_a_context(void)
{
	SEE_NULL(msg_ctx_open(testbed_hv("caller"), LIBMSG_NONBLOCK, 1000));
}

static void context_flag_for_a_listener(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	SEE_NULL(msg_listen(ctx, "name", LIBMSG_SEQPACKET, 1, LIBMSG_ONE_THREAD));
	msg_ctx_close(ctx);
}

static void context_flag_for_a_connect(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	SEE_NULL(msg_connect(ctx, "called/later", LIBMSG_SEQPACKET, LIBMSG_ONE_THREAD, 0));
	msg_ctx_close(ctx);
}

static void context_flag_for_an_accept(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	SEE_NULL(msg_accept(
		msg_listen(ctx, "name", LIBMSG_SEQPACKET, 1, LIBMSG_NONBLOCK), LIBMSG_ONE_THREAD));
	msg_ctx_close(ctx);
}

static void no_descriptors(void)
{
	const char *hv = testbed_hv("caller");
	struct rlimit limit, few;

	must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	few = limit;
	few.rlim_cur = 3;
	must(setrlimit(RLIMIT_NOFILE, &few) == 0);
	SEE_NULL(msg_ctx_open(hv, 0, 1000));
	must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* Answers the first packet with what it was, but for `version`; or with text. */
static void impostor(bool text)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/msgd-testbed-XXXXXX", hv[120];
	unsigned short version = 77;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	pid_t pid;

	must(mkdtemp(dir) && fd >= 0);
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/xen", dir);
	must(bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 4) == 0);
	pid = fork();
	if (pid == 0) {
		char packet[4096] = "this is not it";
		int c = accept(fd, NULL, NULL);
		ssize_t n = recv(c, text ? NULL : packet, text ? 0 : sizeof(packet), 0);

		if (text)
			n = sizeof(packet);
		else
			memcpy(packet + 4, &version, sizeof(version));
		(void)send(c, packet, (size_t)n, 0);
		_exit(0);
	}
	(void)snprintf(hv, sizeof(hv), "sim:%s", addr.sun_path);
	SEE_NULL(msg_ctx_open(hv, 0, 1000));
	(void)close(fd);
	must(waitpid(pid, NULL, 0) == pid);
	(void)unlink(addr.sun_path);
	(void)rmdir(dir);
}

static void another_version(void)
{
	impostor(false);
}

static void something_else(void)
{
	impostor(true);
}

static void no_msgd(void)
{
	testbed_domain("caller", true);
	testbed_msgd_kill();
	SEE_NULL(msg_ctx_open(testbed_hv("caller"), 0, 50));
	testbed_msgd_start();
}

static void no_msgd_any_more(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	testbed_msgd_kill();
	SEE_NULL(msg_connect(ctx, "called/name", LIBMSG_SEQPACKET, 0, 50));
	testbed_msgd_start();
	msg_ctx_close(ctx);
}

/* ---- names and arguments -------------------------------------------------------------- */

static void bad_name(void)
{
	see_listen(".hidden");
}

static void long_name(void)
{
	char name[65];

	memset(name, 'x', 64);
	name[64] = '\0';
	see_listen(name);
}

static void bad_address(void)
{
	see_connect("a/b/c");
}

static void bad_domain(void)
{
	see_connect("domid:abc/name");
}

static void bad_backlog(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	SEE_NULL(msg_listen(ctx, "name", LIBMSG_SEQPACKET, 0, 0));
	msg_ctx_close(ctx);
}

static void bad_type(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	SEE_NULL(msg_listen(ctx, "name", 99, 1, 0));
	msg_ctx_close(ctx);
}

static void bad_transport(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	SEE(msg_ctx_set_transport(ctx, 99));
	msg_ctx_close(ctx);
}

static void listen_forbidden(void)
{
	see_listen("forbidden");
}

static void connect_forbidden(void)
{
	struct place place;

	place_open(&place, "called", "secret");
	see_connect("called/secret");
	place_close(&place);
}

static void connect_forbidden_and_absent(void)
{
	see_connect("nowhere/secret");
}

static void no_domain(void)
{
	see_connect("nowhere/name");
}

static void no_domid(void)
{
	see_connect("domid:30000/name");
}

static void no_uuid(void)
{
	see_connect("uuid:00112233-4455-6677-8899-aabbccddeeff/name");
}

static void no_name(void)
{
	testbed_domain("called", true);
	see_connect("called/nobody");
}

static void no_name_anywhere(void)
{
	see_connect("nobody");
}

static void ambiguous(void)
{
	struct place one, other;

	place_open(&one, "called", "twin");
	place_open(&other, "called2", "twin");
	see_connect("twin");
	place_close(&one);
	place_close(&other);
}

static void taken(void)
{
	struct place place;

	place_open(&place, "caller", "taken");
	see_listen("taken");
	place_close(&place);
}

/* ---- used up -------------------------------------------------------------------------- */

static void backlog_full(void)
{
	struct place place;
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	place_open(&place, "called", "full");
	for (int i = 0; i < 8; i++)
		must(try_connect(ctx, "called/full"));
	SEE_NULL(try_connect(ctx, "called/full"));
	place_close(&place);
	msg_ctx_close(ctx);
}

static void no_argo_here(void)
{
	struct msg_ctx *ctx;
	struct place place;

	testbed_domain("no-argo", false);
	place_open(&place, "called", "name");
	ctx = testbed_ctx("no-argo", 0);
	must(msg_ctx_set_transport(ctx, LIBMSG_TRANSPORT_ARGO) == 0);
	SEE_NULL(try_connect(ctx, "called/name"));
	must(msg_ctx_set_transport(ctx, LIBMSG_TRANSPORT_ANY) == 0);
	must(try_connect(ctx, "called/name"));
	msg_ctx_close(ctx);
	place_close(&place);
}

static void no_argo_there(void)
{
	struct place place;

	testbed_domain("no-argo", false);
	place_open(&place, "no-argo", "argo-only"); /* which policy demands */
	see_connect("no-argo/argo-only");
	place_close(&place);
}

static void no_argo_strict(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);
	struct place place;

	testbed_domain("no-argo", false);
	place_open(&place, "no-argo", "name");
	must(msg_ctx_set_transport(ctx, LIBMSG_TRANSPORT_ARGO_STRICT) == 0);
	SEE_NULL(try_connect(ctx, "no-argo/name"));
	place_close(&place);
	place_open(&place, "called", "name");
	must(try_connect(ctx, "called/name"));
	place_close(&place);
	msg_ctx_close(ctx);
}

static void no_argo_strict_by_policy(void)
{
	struct place place;

	testbed_domain("no-argo", false);
	place_open(&place, "no-argo", "strict-only");
	see_connect("no-argo/strict-only");
	place_close(&place);
}

static void against_policy(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);
	struct place place;

	place_open(&place, "called", "argo-only");
	must(msg_ctx_set_transport(ctx, LIBMSG_TRANSPORT_GRANT) == 0);
	SEE_NULL(try_connect(ctx, "called/argo-only"));
	place_close(&place);
	msg_ctx_close(ctx);
}

static void quota_processes(void)
{
	struct msg_ctx *all[6];

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		all[i] = testbed_ctx("caller", 0);
	SEE_NULL(msg_ctx_open(testbed_hv("caller"), 0, TESTBED_WAIT_MS));
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		msg_ctx_close(all[i]);
}

static void quota_names(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);
	char name[16];

	for (int i = 0; i < 5; i++) {
		(void)snprintf(name, sizeof(name), "name-%d", i);
		must(msg_listen(ctx, name, LIBMSG_SEQPACKET, 1, 0));
	}
	SEE_NULL(msg_listen(ctx, "name-5", LIBMSG_SEQPACKET, 1, 0));
	msg_ctx_close(ctx);
}

/* As many channels as the address allows, accepted as they come, then one more. */
static void see_channel_too_many(const char *name, int n)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);
	struct place place;
	char address[32];

	place_open(&place, "called", name);
	(void)snprintf(address, sizeof(address), "called/%s", name);
	for (int i = 0; i < n; i++) {
		must(try_connect(ctx, address));
		must(msg_accept(place.listener, 0));
	}
	SEE_NULL(try_connect(ctx, address));
	place_close(&place);
	msg_ctx_close(ctx);
}

static void quota_channels(void)
{
	see_channel_too_many("many", 20);
}

static void quota_policy(void)
{
	see_channel_too_many("few", 2);
}

static void quota_requests(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	for (int i = 0; i < 4; i++)
		must(msg_connect(ctx, "called/later", LIBMSG_SEQPACKET,
			LIBMSG_NONBLOCK | LIBMSG_WAIT_NAME, 0));
	SEE_NULL(msg_connect(
		ctx, "called/later", LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, TESTBED_WAIT_MS));
	msg_ctx_close(ctx);
}

/* A kernel shares 1024 pages: two links of 512 each and a little more do not fit. */
static void no_grants(void)
{
	struct place one, other;
	struct msg_ctx *ctx;

	testbed_domain("no-argo", false);
	ctx = testbed_ctx("no-argo", 0);
	place_open(&one, "called", "one");
	place_open(&other, "called", "other");
	must(try_connect(ctx, "called/one"));
	SEE_NULL(try_connect(ctx, "called/other"));
	msg_ctx_close(ctx);
	place_close(&one);
	place_close(&other);
}

/* ---- channels ------------------------------------------------------------------------- */

static void too_long_for_this_end(void)
{
	static char data[(1 << 20) + 1];

	channel_open();
	SEE(msg_send(socks[0], data, sizeof(data), 0));
	channel_end();
}

static void too_long_for_the_peer(void)
{
	static char data[(1 << 20) + 1];

	channel_open();
	must(msg_setopt(socks[0], LIBMSG_SNDBUF, 2 << 20) == 0);
	SEE(msg_send(socks[0], data, sizeof(data), 0));
	channel_end();
}

static void would_block_receiving(void)
{
	char byte;

	channel_open();
	SEE(msg_recv(socks[0], &byte, 1, MSG_DONTWAIT));
	channel_end();
}

static void would_block_sending(void)
{
	static const char data[1000];

	channel_open();
	while (msg_send(socks[0], data, sizeof(data), MSG_DONTWAIT) > 0)
		;
	SEE(msg_send(socks[0], data, sizeof(data), MSG_DONTWAIT));
	channel_end();
}

static void nothing_to_accept(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	SEE_NULL(msg_accept(
		msg_listen(ctx, "name", LIBMSG_SEQPACKET, 1, LIBMSG_NONBLOCK), LIBMSG_NONBLOCK));
	msg_ctx_close(ctx);
}

static void receive_limit(void)
{
	char byte;

	channel_open();
	must(msg_setopt(socks[0], LIBMSG_RCVTIMEO, 10) == 0);
	SEE(msg_recv(socks[0], &byte, 1, 0));
	channel_end();
}

static void connect_limit(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	SEE_NULL(msg_connect(ctx, "called/later", LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, 10));
	msg_ctx_close(ctx);
}

static void linger_limit(void)
{
	static char data[1 << 20];

	channel_open();
	must(msg_setopt(socks[0], LIBMSG_LINGER, 10) == 0);
	must(msg_send(socks[0], data, sizeof(data), MSG_DONTWAIT) > 0);
	SEE(msg_close(socks[0]));
	channel_end();
}

static void peer_closed_sending(void)
{
	char byte;

	channel_open();
	must(msg_close(socks[1]) == 0);
	must(msg_recv(socks[0], &byte, 1, 0) == 0);
	SEE(msg_send(socks[0], "x", 1, 0));
	channel_end();
}

static void shut_down_sending(void)
{
	channel_open();
	must(msg_shutdown(socks[0], SHUT_WR) == 0);
	SEE(msg_send(socks[0], "x", 1, 0));
	channel_end();
}

/* Its process is killed after a whole message and the start of another, which is never seen. */
static void peer_died_of(bool domain_destroyed)
{
	struct msg_sock *listener, *sock;
	char got[10];
	pid_t pid;

	ctxs[0] = testbed_ctx("caller", 0);
	listener = msg_listen(ctxs[0], "dies", LIBMSG_SEQPACKET, 1, 0);
	testbed_domain("mortal", true);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		static char data[1 << 20];

		testbed_watchdog(30);
		sock = try_connect(testbed_ctx("mortal", 0), "caller/dies");
		must(sock && msg_send(sock, "whole", 5, 0) == 5);
		must(msg_send(sock, data, sizeof(data), MSG_DONTWAIT) > 0);
		must(msg_send(sock, "now", 3, MSG_DONTWAIT) < 0);
		(void)pause();
	}
	sock = msg_accept(listener, 0);
	must(sock && msg_recv(sock, got, sizeof(got), MSG_PEEK) == 5);
	if (domain_destroyed)
		must(testbed_sim("destroy", "mortal"));
	else
		must(kill(pid, SIGKILL) == 0);
	must(waitpid(pid, NULL, 0) == pid);
	/* The message that was whole stays. */
	must(msg_recv(sock, got, sizeof(got), 0) == 5 && memcmp(got, "whole", 5) == 0);
	must_fail(msg_recv(sock, got, sizeof(got), 0), ECONNRESET);
	must_fail(msg_send(sock, "x", 1, 0), ECONNRESET);
	SEE(msg_recv(sock, got, sizeof(got), MSG_DONTWAIT));
	msg_ctx_close(ctxs[0]);
}

static void peer_process_died(void)
{
	peer_died_of(false);
}

static void peer_domain_died(void)
{
	peer_died_of(true);
}

static void peer_left_data_unread(void)
{
	char byte;

	channel_open();
	must(msg_send(socks[0], "unread", 6, 0) == 6);
	must(msg_close(socks[1]) == 0);
	SEE(msg_recv(socks[0], &byte, 1, 0));
	channel_end();
}

static void not_connected(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);
	struct msg_sock *sock = msg_connect(
		ctx, "called/later", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK | LIBMSG_WAIT_NAME, 0);

	must(sock);
	SEE(msg_send(sock, "x", 1, 0));
	msg_ctx_close(ctx);
}

/* The reason of a loss is told again by a call that comes too late. */
static void shutdown_of_a_lost_channel(void)
{
	char byte;

	channel_open();
	must(msg_setopt(socks[1], LIBMSG_RESET, 1) == 0);
	must(msg_close(socks[1]) == 0);
	must_fail(msg_recv(socks[0], &byte, 1, 0), ECONNRESET);
	SEE(msg_shutdown(socks[0], SHUT_WR));
	channel_end();
}

static void shutdown_of_a_refused_connect(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);
	struct msg_sock *sock =
		msg_connect(ctx, "called/nobody", LIBMSG_SEQPACKET, LIBMSG_NONBLOCK, 0);
	struct msg_pollfd fd = {.sock = sock, .events = POLLOUT};

	must(sock && msg_poll(&fd, 1, TESTBED_WAIT_MS) == 1 && fd.revents & POLLERR);
	SEE(msg_shutdown(sock, SHUT_WR));
	msg_ctx_close(ctx);
}

static void option_out_of_range(void)
{
	channel_open();
	SEE(msg_setopt(socks[0], LIBMSG_SNDBUF, 12));
	channel_end();
}

static void flag_for_another_message_call(void)
{
	channel_open();
	SEE(msg_send(socks[0], "x", 1, MSG_PEEK));
	channel_end();
}

static void no_such_message_flag(void)
{
	char byte;

	channel_open();
	SEE(msg_recv(socks[0], &byte, 1, MSG_PEEK | 0x200000));
	channel_end();
}

static void no_name_given(void)
{
	see_listen(NULL);
}

static void no_address_given(void)
{
	see_connect(NULL);
}

static void no_pattern_given(void)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	SEE_NULL(msg_watch(ctx, NULL));
	msg_ctx_close(ctx);
}

static void no_such_option(void)
{
	channel_open();
	SEE(msg_setopt(socks[0], 999, 0));
	channel_end();
}

static void option_not_for_it(void)
{
	channel_open();
	SEE(msg_setopt(socks[0], LIBMSG_TYPE, 0));
	channel_end();
}

static void forked(void)
{
	int fds[2];
	pid_t pid;

	channel_open();
	must(pipe(fds) == 0);
	pid = fork();
	if (pid == 0) {
		SEE(msg_send(socks[0], "x", 1, 0));
		_exit(write(fds[1], &saw, sizeof(saw)) != sizeof(saw));
	}
	must(read(fds[0], &saw, sizeof(saw)) == sizeof(saw));
	must(waitpid(pid, NULL, 0) == pid);
	(void)close(fds[0]);
	(void)close(fds[1]);
	channel_end();
}

static void on_signal(int sig)
{
	(void)sig;
}

static void receive_until_signal(void *arg)
{
	char byte;

	SEE(msg_recv(socks[0], &byte, 1, 0));
}

static void interrupted(void)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct worker worker;

	channel_open();
	must(sigaction(SIGUSR1, &action, NULL) == 0);
	worker_start(&worker, receive_until_signal, NULL);
	worker_await_sleep(&worker);
	must(pthread_kill(worker.thread, SIGUSR1) == 0);
	worker_join(&worker);
	channel_end();
}

/* ---- the table ------------------------------------------------------------------------ */

#define ROW(error, fn, reason)                                                                     \
	{                                                                                          \
		error, #error, #fn, fn, reason                                                     \
	}

static const struct row {
	int error;
	const char *error_name, *name;
	void (*fn)(void);
	const char *reason; /* a part of the sentence */
} rows[] = {
	ROW(ENODEV, no_emulator, "no emulator"),
	ROW(ENODEV, no_emulator_behind_socket, "not a socket"),
	ROW(ENODEV, no_xen, "xen"),
	ROW(EPROTONOSUPPORT, another_version, "version"),
	ROW(EPROTONOSUPPORT, bad_type, "type 99"),
	ROW(EPROTO, something_else, "another program"),
	ROW(EHOSTDOWN, no_msgd, "no msgd"),
	ROW(EHOSTDOWN, no_msgd_any_more, "msgd is away"),
	ROW(EINVAL, unknown_hypervisor, "no such backend"),
	ROW(EINVAL, unknown_context_flag, "flags: 0x80 is unknown"),
	ROW(EINVAL, socket_flag_for_a_context, "flags: LIBMSG_NONBLOCK is not"),
	ROW(EINVAL, context_flag_for_a_listener, "flags: LIBMSG_ONE_THREAD is not"),
	ROW(EINVAL, context_flag_for_a_connect, "flags"),
	ROW(EINVAL, context_flag_for_an_accept, "flags"),
	ROW(EINVAL, flag_for_another_message_call, "flags: MSG_PEEK is not"),
	ROW(EINVAL, no_such_message_flag, "flags: 0x200000 is unknown"),
	ROW(EINVAL, no_name_given, "no name is given"),
	ROW(EINVAL, no_address_given, "no address is given"),
	ROW(EINVAL, no_pattern_given, "no pattern is given"),
	ROW(EINVAL, bad_name, "no name"),
	ROW(EINVAL, long_name, "no name"),
	ROW(EINVAL, bad_address, "no address"),
	ROW(EINVAL, bad_domain, "address"),
	ROW(EINVAL, bad_backlog, "backlog"),
	ROW(EINVAL, bad_transport, "transport"),
	ROW(EINVAL, no_such_option, "option"),
	ROW(EINVAL, option_out_of_range, "LIBMSG_SNDBUF: 12 is not 4096 to 67108864"),
	ROW(ENOPROTOOPT, option_not_for_it, "LIBMSG_TYPE can only be read"),
	ROW(EACCES, listen_forbidden, "policy"),
	ROW(EACCES, connect_forbidden, "policy"),
	ROW(EACCES, connect_forbidden_and_absent, "policy"),
	ROW(EHOSTUNREACH, no_domain_of_the_emulator, "xen-sim PATH create DOMAIN"),
	ROW(EHOSTUNREACH, no_domain, "no such domain"),
	ROW(EHOSTUNREACH, no_domid, "no such domain"),
	ROW(EHOSTUNREACH, no_uuid, "no such domain"),
	ROW(ENOENT, no_name, "nobody"),
	ROW(ENOENT, no_name_anywhere, "nobody"),
	ROW(ENOTUNIQ, ambiguous, "twin"),
	ROW(EADDRINUSE, taken, "taken"),
	ROW(ECONNREFUSED, backlog_full, "backlog of full is full (8)"),
	ROW(EOPNOTSUPP, no_argo_here, "no Argo in no-argo"),
	ROW(EOPNOTSUPP, no_argo_there, "no Argo in no-argo"),
	ROW(EOPNOTSUPP, no_argo_strict, "no Argo in no-argo"),
	ROW(EOPNOTSUPP, no_argo_strict_by_policy, "no Argo in no-argo"),
	ROW(EOPNOTSUPP, against_policy, "policy says argo"),
	ROW(EDQUOT, quota_processes, "limit processes=6"),
	ROW(EDQUOT, quota_names, "names=5"),
	ROW(EDQUOT, quota_channels, "channels=20"),
	ROW(EDQUOT, quota_policy, "max-channels"),
	ROW(EDQUOT, quota_requests, "requests=4"),
	ROW(ENOBUFS, no_grants, ""),
	ROW(EMFILE, no_descriptors, "no socket can be made"),
	ROW(EMSGSIZE, too_long_for_this_end, "LIBMSG_SNDBUF"),
	ROW(EMSGSIZE, too_long_for_the_peer, "the peer takes 1048576"),
	ROW(EAGAIN, would_block_receiving, "no message"),
	ROW(EAGAIN, would_block_sending, "no room"),
	ROW(EAGAIN, nothing_to_accept, "no channel"),
	ROW(EAGAIN, receive_limit, "no message"),
	ROW(ETIMEDOUT, connect_limit, "called/later"),
	ROW(ETIMEDOUT, linger_limit, "did not take"),
	ROW(EPIPE, peer_closed_sending, "the peer closed"),
	ROW(EPIPE, shut_down_sending, "this end"),
	ROW(ECONNRESET, peer_process_died, "process"), /* msgd's sentence or its own */
	/* Its process, record or domain: whatever is heard of first. */
	ROW(ECONNRESET, peer_domain_died, ""),
	ROW(ECONNRESET, peer_left_data_unread, ""),
	ROW(ENOTCONN, not_connected, "not connected yet: wait for POLLOUT"),
	ROW(ENOTCONN, shutdown_of_a_lost_channel, "no channel stands: the peer reset the channel"),
	ROW(ENOTCONN, shutdown_of_a_refused_connect, "no channel stands: nobody listens"),
	ROW(EBADFD, forked, "parent"),
	ROW(EINTR, interrupted, "signal"),
};

/*
 * Errors without a row. EPROTOTYPE: there is one channel type only. ENOMEM: no call takes enough
 * memory for a limit to show it. EUSERS and EXDEV: tests/unit/sim shows them. ECONNABORTED:
 * tests/unit/libmsg/control-test.c does.
 */
static const char *const unseen[] = {"EPROTOTYPE", "ENOMEM", "EUSERS", "EXDEV", "ECONNABORTED"};

static void test_rows(void **state)
{
	unsigned n_wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];

		testbed_watchdog(60);
		saw.called = false;
		row->fn();
		if (saw.called && saw.failed && saw.error == row->error &&
			strstr(saw.reason, row->reason) && strlen(saw.reason) > 5)
			continue;
		n_wrong++;
		print_error("%s: %s, \"...%s...\" expected; %s, \"%s\"\n", row->name,
			row->error_name, row->reason,
			!saw.failed	 ? "success"
			: saw.error == 0 ? "errno 0"
					 : strerrorname_np(saw.error),
			saw.reason);
	}
	testbed_watchdog(0);
	assert_int_equal(n_wrong, 0);
}

/* Cleaning up after a failure does not change errno. */
static void test_errno_is_kept(void **state)
{
	struct msg_ctx *ctx = testbed_ctx("caller", 0);

	testbed_watchdog(60);
	for (int i = 0; i < 100; i++)
		must_fail_null(msg_connect(ctx, "called/later", LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME,
				       1 + i % 3),
			ETIMEDOUT);
	msg_ctx_close(ctx);
	testbed_watchdog(0);
}

/* Succeeds, and leaves errno alone. */
#define must_quietly(call)                                                                         \
	do {                                                                                       \
		errno = ENOTTY;                                                                    \
		must(call);                                                                        \
		must(errno == ENOTTY);                                                             \
	} while (0)

static void test_success_leaves_errno(void **state)
{
	static char data[200000], got[200000];
	struct msg_sock *listener, *sock, *accepted;
	struct msg_ctx *ctx;
	struct place place;

	testbed_watchdog(60);
	testbed_domain("caller", true);
	place_open(&place, "called", "echo");
	must_quietly((ctx = msg_ctx_open(testbed_hv("caller"), 0, TESTBED_WAIT_MS)));
	must_quietly((listener = msg_listen(ctx, "name", LIBMSG_SEQPACKET, 1, 0)));
	must_quietly((sock = try_connect(ctx, "called/echo")));
	must_quietly((accepted = msg_accept(place.listener, 0)));
	for (int i = 0; i < 20; i++) {
		must_quietly(msg_send(sock, data, sizeof(data), 0) == sizeof(data));
		must_quietly(msg_recv(accepted, got, sizeof(got), 0) == sizeof(got));
		must_quietly(
			msg_poll(&(struct msg_pollfd){.sock = sock, .events = POLLIN}, 1, i) == 0);
	}
	must_quietly(msg_ctx_fd(ctx) >= 0);
	must_quietly(msg_ctx_dispatch(ctx, &(struct msg_event){.sock = NULL}, 1) >= 0);
	must_quietly(msg_shutdown(sock, SHUT_WR) == 0);
	must_quietly(msg_recv(accepted, got, 1, 0) == 0);
	must_quietly(msg_close(accepted) == 0);
	must_quietly(msg_close(sock) == 0);
	must_quietly(msg_close(listener) == 0);
	must_quietly((msg_ctx_close(ctx), true));
	place_close(&place);
	testbed_watchdog(0);
}

static bool is_shown(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (strcmp(rows[i].error_name, name) == 0)
			return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(unseen); i++) {
		if (strcmp(unseen[i], name) == 0)
			return true;
	}
	return false;
}

/* The errors that a file names in lines of this form, each once, as " ENODEV EPROTO ". */
static unsigned errors_read(const char *path, const char *form, char *ret_names, size_t size)
{
	char line[256], name[32], found[40];
	FILE *file = fopen(path, "r");
	unsigned n = 0;

	assert_non_null(file);
	(void)snprintf(ret_names, size, " ");
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, form, name) != 1 || name[0] != 'E' || !name[1])
			continue;
		(void)snprintf(found, sizeof(found), " %s ", name);
		if (strstr(ret_names, found))
			continue;
		n++;
		assert_true(strlen(ret_names) + strlen(found) < size);
		strcat(ret_names, found + 1);
	}
	(void)fclose(file);
	return n;
}

/* The manual and the rows name the same errors, and so does libmsg.h, but for one. */
static void test_manual(void **state)
{
	char manual[1000], header[1000], copy[1000], found[40];
	char *name, *rest = copy;

	assert_in_range(errors_read(LIBMSG_3, ".It Bq Er %31s", manual, sizeof(manual)), 20, 100);
	(void)errors_read(LIBMSG_HEADER, " *   %31[A-Z_]", header, sizeof(header));
	strcpy(copy, manual);
	while ((name = strtok_r(NULL, " ", &rest))) {
		if (!is_shown(name))
			fail_msg("libmsg(3) lists %s; no row shows it", name);
		(void)snprintf(found, sizeof(found), " %s ", name);
		/* The head of libmsg.h says it of all functions. */
		if (!strstr(header, found) && strcmp(name, "EBADFD") != 0)
			fail_msg("libmsg(3) lists %s; libmsg.h does not", name);
	}
	strcpy(copy, header);
	rest = copy;
	while ((name = strtok_r(NULL, " ", &rest))) {
		(void)snprintf(found, sizeof(found), " %s ", name);
		if (!strstr(manual, found))
			fail_msg("libmsg.h lists %s; libmsg(3) does not", name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		(void)snprintf(found, sizeof(found), " %s ", rows[i].error_name);
		if (!strstr(manual, found))
			fail_msg("libmsg(3) does not list %s", rows[i].error_name);
	}
}

static int setup(void **state)
{
	testbed_start(policy, config);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_errno_is_kept),
		cmocka_unit_test(test_success_leaves_errno),
		cmocka_unit_test(test_manual),
	};

	return cmocka_run_group_tests_name("errors", tests, setup, testbed_teardown);
}
