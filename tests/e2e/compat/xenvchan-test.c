/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program of Xen's libxenvchan: compiled with its header, linked with it, and run with ours in
 * its place. tests/e2e/compat/meson.build has the loader find ours.
 */
#include <libxenvchan.h>
#include <stdint.h>
#include <string.h>

#include "tests/e2e/compat/both.h"
#include "tests/support/cmocka-all.h"
#include "tests/support/pattern.h"

#define PATH_AT_SERVER "data/vchan/test"
#define PATH_AT_CLIENT "/local/domain/1/data/vchan/test"

static struct libxenvchan *serve(size_t read_min, size_t write_min)
{
	struct libxenvchan *ctrl =
		libxenvchan_server_init(NULL, CLIENT_DOMID, PATH_AT_SERVER, read_min, write_min);

	must(ctrl && ctrl->is_server && libxenvchan_is_open(ctrl));
	return ctrl;
}

static struct libxenvchan *reach(void)
{
	struct libxenvchan *ctrl = libxenvchan_client_init(NULL, SERVER_DOMID, PATH_AT_CLIENT);

	must(ctrl && !ctrl->is_server && libxenvchan_is_open(ctrl) == 1);
	return ctrl;
}

/* Until a client is there, or is not there any more. */
static void await_state(struct libxenvchan *ctrl, int state)
{
	while (libxenvchan_is_open(ctrl) != state)
		must(libxenvchan_wait(ctrl) == 0);
}

static void await_ready(struct libxenvchan *ctrl, int n)
{
	while (libxenvchan_data_ready(ctrl) < n)
		must(libxenvchan_wait(ctrl) == 0);
}

/* ---- streams ---------------------------------------------------------------------------- */

#define TOTAL	  (1 << 19)
#define PIECE_MAX 5000

/* Byte n of a stream. */
static char byte_at(size_t n)
{
	return (char)(n * 31 + n / 4093);
}

static void fill(char *data, size_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = byte_at(at + i);
}

static void check(const char *data, size_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		must(data[i] == byte_at(at + i));
}

static void stream_out(struct libxenvchan *ctrl)
{
	char data[PIECE_MAX];

	for (size_t at = 0, len; at < TOTAL; at += len) {
		len = at % (PIECE_MAX - 1) + 1;
		if (len > TOTAL - at)
			len = TOTAL - at;
		fill(data, at, len);
		must(libxenvchan_write(ctrl, data, len) == (int)len);
	}
}

static void stream_in(struct libxenvchan *ctrl)
{
	char data[PIECE_MAX];

	for (size_t at = 0; at < TOTAL;) {
		int n = libxenvchan_read(ctrl, data, at % PIECE_MAX + 1);

		must(n > 0);
		check(data, at, (size_t)n);
		at += (size_t)n;
	}
}

static void blocking_server(void)
{
	struct libxenvchan *ctrl = serve(0, 0);
	char c;

	ctrl->blocking = 1;
	stream_in(ctrl);
	stream_out(ctrl);
	must(libxenvchan_read(ctrl, &c, 1) == -1);
	must(libxenvchan_is_open(ctrl) == 0);
	must(libxenvchan_write(ctrl, &c, 1) == -1);
	libxenvchan_close(ctrl);
}

static void blocking_client(void)
{
	struct libxenvchan *ctrl = reach();

	ctrl->blocking = 1;
	stream_out(ctrl);
	stream_in(ctrl);
	libxenvchan_close(ctrl);
}

static void a_blocking_stream_goes_either_way(void **state)
{
	both(blocking_server, blocking_client);
}

struct progress {
	size_t out, in;
};

/* One turn of a program that sleeps on the descriptor: does what it can. */
static void turn(struct libxenvchan *ctrl, struct progress *progress)
{
	char data[PIECE_MAX];
	int n;

	while (progress->out < TOTAL) {
		size_t len = TOTAL - progress->out < PIECE_MAX ? TOTAL - progress->out : PIECE_MAX;

		fill(data, progress->out, len);
		n = libxenvchan_write(ctrl, data, len);
		must(n >= 0);
		progress->out += (size_t)n;
		if (n == 0)
			break;
	}
	while (libxenvchan_data_ready(ctrl)) {
		n = libxenvchan_read(ctrl, data, sizeof(data));
		must(n > 0);
		check(data, progress->in, (size_t)n);
		progress->in += (size_t)n;
	}
}

static void polled(struct libxenvchan *ctrl)
{
	struct progress progress = {0};

	for (;;) {
		turn(ctrl, &progress);
		if (progress.out == TOTAL && progress.in == TOTAL)
			break;
		await_fd(libxenvchan_fd_for_select(ctrl));
		must(libxenvchan_wait(ctrl) == 0);
		must(libxenvchan_is_open(ctrl));
	}
	say('d');
	hear('d');
	libxenvchan_close(ctrl);
}

static void polled_server(void)
{
	struct libxenvchan *ctrl = serve(4096, 65536);

	must(ctrl->read.order == 12 && ctrl->write.order == 16);
	polled(ctrl);
}

static void polled_client(void)
{
	polled(reach());
}

static void a_program_may_sleep_on_the_descriptor_alone(void **state)
{
	both(polled_server, polled_client);
}

/* ---- sizes ------------------------------------------------------------------------------ */

static void sizes_server(void)
{
	struct libxenvchan *ctrl = serve(5000, 300);
	char data[8192] = {0};
	int space, n;

	must(ctrl->read.order == 13 && ctrl->write.order == 11);
	await_state(ctrl, 1);
	hear('c');
	/* Nobody reads, nor has the library take what came: at last there is no room. */
	while ((space = libxenvchan_buffer_space(ctrl)) > 0) {
		n = libxenvchan_write(ctrl, data, (size_t)space);
		must(n == space);
	}
	must(libxenvchan_write(ctrl, data, 1) == 0 && libxenvchan_send(ctrl, data, 1) == 0);
	say('f');
	while ((space = libxenvchan_buffer_space(ctrl)) < 2048) {
		await_fd(libxenvchan_fd_for_select(ctrl));
		must(libxenvchan_wait(ctrl) == 0);
	}
	must(space == 2048);
	/* A packet is sent whole or not at all. */
	must(libxenvchan_send(ctrl, data, 2049) == 0);
	ctrl->blocking = 1;
	must(libxenvchan_send(ctrl, data, 2049) == -1);
	must(libxenvchan_recv(ctrl, data, sizeof(data) + 1) == -1);
	ctrl->blocking = 0;
	must(libxenvchan_send(ctrl, data, 2048) == 2048);
	say('s');
	await_ready(ctrl, 100);
	must(libxenvchan_recv(ctrl, data, 101) == 0);
	must(libxenvchan_data_ready(ctrl) == 100);
	must(libxenvchan_recv(ctrl, data, 60) == 60);
	must(libxenvchan_data_ready(ctrl) == 40);
	must(libxenvchan_read(ctrl, data, sizeof(data)) == 40);
	must(libxenvchan_read(ctrl, data, sizeof(data)) == 0);
	say('r');
	libxenvchan_close(ctrl);
}

static void sizes_client(void)
{
	struct libxenvchan *ctrl = reach();
	char data[8192] = {0};

	say('c');
	hear('f');
	/* Until the server has seen its room again, and ended the part. */
	for (;;) {
		struct pollfd p = {.fd = other, .events = POLLIN};

		must(libxenvchan_read(ctrl, data, sizeof(data)) >= 0);
		if (poll(&p, 1, 0) == 1)
			break;
	}
	hear('s');
	must(libxenvchan_send(ctrl, data, 100) == 100);
	hear('r');
	libxenvchan_close(ctrl);
}

static void rings_have_the_sizes_that_were_asked_for(void **state)
{
	both(sizes_server, sizes_client);
}

/* As much as there is said to be room for is taken, however the peer reads. */
#define PACKETS 1000

static void promise_server(void)
{
	struct libxenvchan *ctrl = serve(1024, 1024);
	char data[4096];

	await_state(ctrl, 1);
	for (size_t i = 0, at = 0; i < PACKETS;) {
		int space = libxenvchan_buffer_space(ctrl);

		if (!space) {
			must(libxenvchan_wait(ctrl) == 0);
			continue;
		}
		must(space <= (int)sizeof(data));
		fill(data, at, (size_t)space);
		must(libxenvchan_send(ctrl, data, (size_t)space) == space);
		at += (size_t)space;
		i++;
	}
	say('d');
	libxenvchan_close(ctrl);
}

static void promise_client(void)
{
	struct libxenvchan *ctrl = reach();
	char data[700];
	size_t at = 0;
	int n;

	ctrl->blocking = 1;
	while ((n = libxenvchan_read(ctrl, data, at % sizeof(data) + 1)) > 0) {
		check(data, at, (size_t)n);
		at += (size_t)n;
	}
	must(at >= PACKETS);
	hear('d');
	libxenvchan_close(ctrl);
}

static void buffer_space_is_a_promise(void **state)
{
	both(promise_server, promise_client);
}

/* ---- ends ------------------------------------------------------------------------------- */

/* The peer sends five bytes, and is gone as soon as it hears that they were seen. */
static void survive(struct libxenvchan *ctrl)
{
	char data[10];

	await_ready(ctrl, 5);
	say('k');
	while (libxenvchan_is_open(ctrl)) {
		await_fd(libxenvchan_fd_for_select(ctrl));
		must(libxenvchan_wait(ctrl) == 0);
	}
	must(libxenvchan_data_ready(ctrl) == 5);
	must(libxenvchan_read(ctrl, data, sizeof(data)) == 5 && memcmp(data, "whole", 5) == 0);
	must(libxenvchan_read(ctrl, data, sizeof(data)) == -1);
	must(libxenvchan_write(ctrl, data, sizeof(data)) == -1);
	libxenvchan_close(ctrl);
}

static void die(struct libxenvchan *ctrl)
{
	must(libxenvchan_write(ctrl, "whole", 5) == 5);
	hear('k');
	(void)raise(SIGKILL);
}

static void surviving_server(void)
{
	survive(serve(0, 0));
}

static void surviving_client(void)
{
	survive(reach());
}

static void dying_server(void)
{
	die(serve(0, 0)); /* it writes before its client is there */
}

static void dying_client(void)
{
	die(reach());
}

static void a_killed_peer_is_seen_and_its_bytes_stay(void **state)
{
	both_end(surviving_server, 0, dying_client, SIGKILL);
	both_end(dying_server, SIGKILL, surviving_client, 0);
}

/* A reader that sleeps in a blocking call is woken, too. */
static void blocked_server(void)
{
	struct libxenvchan *ctrl = serve(0, 0);
	char c;

	ctrl->blocking = 1;
	must(libxenvchan_read(ctrl, &c, 1) == 1);
	say('k');
	must(libxenvchan_read(ctrl, &c, 1) == 1); /* of "whole" */
	must(libxenvchan_recv(ctrl, &c, 1) == 1);
	must(libxenvchan_recv(ctrl, &c, 1) == 1);
	must(libxenvchan_recv(ctrl, &c, 1) == 1);
	must(libxenvchan_recv(ctrl, &c, 1) == -1);
	libxenvchan_close(ctrl);
}

static void a_killed_peer_wakes_a_blocked_call(void **state)
{
	both_end(blocked_server, 0, dying_client, SIGKILL);
}

/* Its end is seen by one that has not read what it sent, and has no room for it. */
#define UNREAD 8000

static void unread_server(void)
{
	struct libxenvchan *ctrl = serve(0, 0);
	char data[UNREAD + 1];
	int n = 0, got;

	await_state(ctrl, 1);
	say('k');
	while (libxenvchan_is_open(ctrl)) {
		await_fd(libxenvchan_fd_for_select(ctrl));
		must(libxenvchan_wait(ctrl) == 0);
	}
	while ((got = libxenvchan_read(ctrl, data, sizeof(data))) > 0) {
		check(data, (size_t)n, (size_t)got);
		n += got;
	}
	must(got == -1 && n == UNREAD);
	libxenvchan_close(ctrl);
}

static void unread_client(void)
{
	struct libxenvchan *ctrl = reach();
	char data[UNREAD];

	fill(data, 0, sizeof(data));
	must(libxenvchan_write(ctrl, data, sizeof(data)) == (int)sizeof(data));
	hear('k');
	(void)raise(SIGKILL);
}

static void a_killed_peer_is_seen_over_unread_bytes(void **state)
{
	both_end(unread_server, 0, unread_client, SIGKILL);
}

static long cpu_ms(void)
{
	struct timespec now;

	must(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
	return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void events_clear(struct libxenvchan *ctrl)
{
	struct pollfd p = {.fd = libxenvchan_fd_for_select(ctrl), .events = POLLIN};

	while (poll(&p, 1, 0) == 1)
		must(libxenvchan_wait(ctrl) == 0);
}

/* A ring that nobody reads takes no more, and no processor; read, it fills again by itself. */
static void full_server(void)
{
	struct libxenvchan *ctrl = serve(0, 0);
	char data[1024];
	long before;

	await_ready(ctrl, sizeof(data));
	before = cpu_ms();
	(void)poll(NULL, 0, 200);
	must(cpu_ms() - before < 20);
	for (size_t at = 0; at < UNREAD / sizeof(data) * sizeof(data); at += sizeof(data)) {
		await_ready(ctrl, sizeof(data));
		must(libxenvchan_data_ready(ctrl) == sizeof(data));
		events_clear(ctrl);
		must(libxenvchan_read(ctrl, data, sizeof(data)) == sizeof(data));
		check(data, at, sizeof(data));
		await_fd(libxenvchan_fd_for_select(ctrl));
	}
	say('k');
	await_state(ctrl, 0);
	libxenvchan_close(ctrl);
}

static void a_full_ring_waits_for_its_reader(void **state)
{
	both_end(full_server, 0, unread_client, SIGKILL);
}

/* A client and its first bytes may be one event, but not to a program that waits for two. */
static void two_events_server(void)
{
	struct libxenvchan *first = serve(0, 0), *second;

	second = libxenvchan_server_init(NULL, CLIENT_DOMID, "data/vchan/second", 0, 0);
	must(second);
	say('l');
	await_ready(second, 1); /* by now bytes have come to the first, too */
	must(libxenvchan_wait(first) == 0);
	must(libxenvchan_is_open(first) == 1);
	await_fd(libxenvchan_fd_for_select(first));
	must(libxenvchan_wait(first) == 0);
	must(libxenvchan_data_ready(first) == 1);
	say('d');
	libxenvchan_close(first);
	libxenvchan_close(second);
}

static void two_events_client(void)
{
	struct libxenvchan *first, *second;

	hear('l');
	first = reach();
	must(libxenvchan_write(first, "1", 1) == 1);
	second = libxenvchan_client_init(NULL, SERVER_DOMID, "data/vchan/second");
	must(second && libxenvchan_write(second, "2", 1) == 1);
	hear('d');
	libxenvchan_close(first);
	libxenvchan_close(second);
}

static void bytes_are_an_event_beside_their_client(void **state)
{
	both(two_events_server, two_events_client);
}

/* Much more than a ring, to a server that reads none of it before the client has closed. */
#define LAST (600 * 1000)

static void last_bytes_client(bool close)
{
	static char data[LAST];
	struct libxenvchan *ctrl = reach();

	fill(data, 0, sizeof(data));
	must(libxenvchan_write(ctrl, data, sizeof(data)) == (int)sizeof(data));
	if (close)
		libxenvchan_close(ctrl);
	say('c');
	if (close)
		hear('a');
}

static void closing_client(void)
{
	last_bytes_client(true);
}

static void exiting_client(void)
{
	last_bytes_client(false);
}

static void last_bytes(struct libxenvchan *ctrl)
{
	char data[997];
	size_t at = 0;
	int n;

	ctrl->blocking = 1;
	while ((n = libxenvchan_read(ctrl, data, sizeof(data))) > 0) {
		check(data, at, (size_t)n);
		at += (size_t)n;
	}
	must(at == LAST);
}

static void last_bytes_server(void)
{
	struct libxenvchan *ctrl = serve(0, 0);

	await_state(ctrl, 1);
	hear('c');
	last_bytes(ctrl);
	libxenvchan_close(ctrl);
}

static void closing_client_server(void)
{
	last_bytes_server();
	say('a');
}

static void the_last_bytes_arrive(void **state)
{
	both(closing_client_server, closing_client);
	both(last_bytes_server, exiting_client);
}

/* ---- many ------------------------------------------------------------------------------- */

#define MANY 200

static void many_server(void)
{
	struct libxenvchan *ctrls[MANY];
	uint32_t n;

	for (int i = 0; i < MANY; i++)
		ctrls[i] = serve(0, 0);
	say('l');
	/* Any client may be on any of them; all are there at once. */
	for (int i = 0; i < MANY; i++) {
		ctrls[i]->blocking = 1;
		must(libxenvchan_recv(ctrls[i], &n, sizeof(n)) == sizeof(n));
		n += 1000;
		must(libxenvchan_send(ctrls[i], &n, sizeof(n)) == sizeof(n));
	}
	for (int i = 0; i < MANY; i++)
		must(libxenvchan_is_open(ctrls[i]) == 1);
	say('o');
	for (int i = 0; i < MANY; i++) {
		must(libxenvchan_recv(ctrls[i], &n, sizeof(n)) == -1);
		libxenvchan_close(ctrls[i]);
	}
}

static void many_client(void)
{
	struct libxenvchan *ctrls[MANY];
	uint32_t n;

	hear('l');
	for (uint32_t i = 0; i < MANY; i++) {
		ctrls[i] = reach();
		ctrls[i]->blocking = 1;
		must(libxenvchan_send(ctrls[i], &i, sizeof(i)) == sizeof(i));
	}
	for (uint32_t i = 0; i < MANY; i++) {
		must(libxenvchan_recv(ctrls[i], &n, sizeof(n)) == sizeof(n));
		must(n == i + 1000);
	}
	hear('o');
	for (int i = 0; i < MANY; i++)
		libxenvchan_close(ctrls[i]);
}

static void many_servers_have_many_clients_of_one_path(void **state)
{
	both(many_server, many_client);
}

/* ---- one after the other ---------------------------------------------------------------- */

static void echo_one(struct libxenvchan *ctrl)
{
	char c;

	await_ready(ctrl, 1);
	must(libxenvchan_read(ctrl, &c, 1) == 1);
	must(libxenvchan_write(ctrl, &c, 1) == 1);
}

#define TURNS 100

static void turns_server(void)
{
	struct libxenvchan *ctrl = serve(0, 0);

	for (int i = 0; i < TURNS; i++) {
		await_state(ctrl, 1);
		echo_one(ctrl);
		await_state(ctrl, 0);
	}
	libxenvchan_close(ctrl);
}

static void persistent_server(void)
{
	struct libxenvchan *ctrl = serve(0, 0);

	ctrl->server_persist = 1;
	for (int i = 0; i < TURNS; i++) {
		must(libxenvchan_is_open(ctrl) == 1);
		echo_one(ctrl);
	}
	hear('e');
	libxenvchan_close(ctrl);
}

static void ask_one(struct libxenvchan *ctrl, char c)
{
	char got;

	ctrl->blocking = 1;
	must(libxenvchan_write(ctrl, &c, 1) == 1);
	must(libxenvchan_read(ctrl, &got, 1) == 1 && got == c);
}

/* A byte that the server does not read, if they leave one, is no word of the next client. */
static void clients(bool tidy)
{
	for (int i = 0; i < TURNS; i++) {
		struct libxenvchan *ctrl = reach();

		ask_one(ctrl, (char)('A' + i % 26));
		if (!tidy)
			must(libxenvchan_write(ctrl, "?", 1) == 1);
		libxenvchan_close(ctrl);
	}
}

static void untidy_clients(void)
{
	clients(false);
}

static void tidy_clients(void)
{
	clients(true);
	say('e');
}

static void a_server_has_one_client_after_the_other(void **state)
{
	both(turns_server, untidy_clients);
	both(persistent_server, tidy_clients);
}

/* A server in a process of its own, begun when the client has said the letter. */
static pid_t server_process(char after, char then)
{
	struct libxenvchan *ctrl;
	pid_t pid = fork();

	if (pid)
		return pid;
	if (after)
		hear(after);
	ctrl = serve(0, 0);
	if (then)
		say(then);
	await_state(ctrl, 1);
	echo_one(ctrl);
	await_state(ctrl, 0);
	libxenvchan_close(ctrl);
	exit(0);
}

static void two_processes(void)
{
	pid_t first = server_process(0, 0), second = server_process('1', '2');

	must_end(first, 0);
	must_end(second, 0);
}

static void client_of_two(void)
{
	struct libxenvchan *first = reach(), *second;

	say('1');
	hear('2');
	second = reach();
	ask_one(second, 's');
	ask_one(first, 'f');
	libxenvchan_close(first);
	libxenvchan_close(second);
}

static void another_process_may_serve_when_the_first_has_its_client(void **state)
{
	both(two_processes, client_of_two);
}

static void holding_server(void)
{
	struct libxenvchan *ctrl = serve(0, 0);

	must(libxenvchan_is_open(ctrl) == 2 && ctrl->ring->cli_live == 2);
	say('h');
	hear('d');
	libxenvchan_close(ctrl);
}

static void refused_server(void)
{
	must(setenv("MSG_HV", testbed_hv(SERVER_DOMAIN), 1) == 0);
	hear('h');
	errno = 0;
	must(!libxenvchan_server_init(NULL, CLIENT_DOMID, PATH_AT_SERVER, 0, 0));
	must(errno == EADDRINUSE);
	say('d');
}

static void a_path_that_waits_is_taken(void **state)
{
	both(holding_server, refused_server);
}

/* ---- domains and names ------------------------------------------------------------------ */

static void anothers_server(void)
{
	struct libxenvchan *ctrl =
		libxenvchan_server_init(NULL, CLIENT_DOMID + 1, PATH_AT_SERVER, 0, 0);

	must(ctrl);
	say('l');
	hear('e');
	must(libxenvchan_is_open(ctrl) == 2);
	libxenvchan_close(ctrl);
}

static void refused_client(void)
{
	struct libxenvchan *ctrl;

	hear('l');
	ctrl = libxenvchan_client_init(NULL, SERVER_DOMID, PATH_AT_CLIENT);
	if (ctrl)
		await_state(ctrl, 0);
	libxenvchan_close(ctrl);
	say('e');
}

static void a_server_is_for_one_domain(void **state)
{
	both(anothers_server, refused_client);
}

static void late_server(void)
{
	struct libxenvchan *ctrl;

	hear('l');
	ctrl = serve(0, 0);
	echo_one(ctrl);
	await_state(ctrl, 0);
	libxenvchan_close(ctrl);
}

static void early_client(void)
{
	struct libxenvchan *ctrl;

	/* The server is told to begin before there is one: its name is waited for. */
	say('l');
	ctrl = reach();
	ask_one(ctrl, 'e');
	libxenvchan_close(ctrl);
	/* But a domain that is not there is not. */
	errno = 0;
	must(!libxenvchan_client_init(NULL, 4000, PATH_AT_CLIENT) && errno == EHOSTUNREACH);
	must(!libxenvchan_client_init(NULL, -1, PATH_AT_CLIENT) && errno == EINVAL);
}

static void a_server_is_waited_for(void **state)
{
	both(late_server, early_client);
}

static void conf_server(void)
{
	struct libxenvchan *ctrl;

	conf_write("name data/vchan/test elsewhere\n");
	ctrl = serve(0, 0);
	say('l');
	echo_one(ctrl);
	await_state(ctrl, 0);
	libxenvchan_close(ctrl);
	conf_end();
}

static void conf_client(void)
{
	struct libxenvchan *ctrl;
	long cpu;

	hear('l');
	conf_write("wait * 0\n");
	errno = 0;
	must(!libxenvchan_client_init(NULL, SERVER_DOMID, PATH_AT_CLIENT) && errno == ENOENT);
	/* It waits asleep. */
	conf_write("wait * 1\n");
	cpu = cpu_ms();
	must(!libxenvchan_client_init(NULL, SERVER_DOMID, PATH_AT_CLIENT) && errno == ETIMEDOUT);
	must(cpu_ms() - cpu < 200);
	conf_write("wait * 0\nname *other elsewhere\n");
	ctrl = libxenvchan_client_init(NULL, SERVER_DOMID, "/local/domain/1/some/other");
	must(ctrl);
	ask_one(ctrl, 'c');
	libxenvchan_close(ctrl);
	conf_write("name one\n");
	must(!libxenvchan_client_init(NULL, SERVER_DOMID, PATH_AT_CLIENT) && errno == EINVAL);
	conf_end();
}

static void a_file_overrides_the_rule(void **state)
{
	both(conf_server, conf_client);
}

/* ---- processes -------------------------------------------------------------------------- */

static void forking_server(void)
{
	struct libxenvchan *ctrl = serve(0, 0);
	int status;
	pid_t pid;

	await_ready(ctrl, 1);
	events_clear(ctrl);
	pid = fork();
	if (pid == 0) {
		char c = 'c';

		must(libxenvchan_is_open(ctrl) == 0 && libxenvchan_write(ctrl, &c, 1) == -1);
		await_fd(libxenvchan_fd_for_select(ctrl));
		must(libxenvchan_wait(ctrl) == 0);
		libxenvchan_close(ctrl);
		ctrl = libxenvchan_server_init(NULL, CLIENT_DOMID, "data/vchan/child", 0, 0);
		must(ctrl);
		libxenvchan_close(ctrl);
		_exit(0);
	}
	must(waitpid(pid, &status, 0) == pid && status == 0);
	echo_one(ctrl);
	await_state(ctrl, 0);
	libxenvchan_close(ctrl);
}

static void asking_client(void)
{
	struct libxenvchan *ctrl = reach();

	ask_one(ctrl, 'f');
	libxenvchan_close(ctrl);
}

static void a_child_begins_anew_and_the_parent_goes_on(void **state)
{
	both(forking_server, asking_client);
}

/* The domain is gone after this. */
static void destroyed_client(void)
{
	struct libxenvchan *ctrl = reach();

	must(libxenvchan_write(ctrl, "whole", 5) == 5);
	hear('k');
	(void)testbed_sim("destroy", CLIENT_DOMAIN);
	for (;;)
		(void)pause();
}

static void a_destroyed_domain_is_seen(void **state)
{
	both_end(surviving_server, 0, destroyed_client, SIGKILL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_blocking_stream_goes_either_way),
		cmocka_unit_test(a_program_may_sleep_on_the_descriptor_alone),
		cmocka_unit_test(rings_have_the_sizes_that_were_asked_for),
		cmocka_unit_test(buffer_space_is_a_promise),
		cmocka_unit_test(a_killed_peer_is_seen_and_its_bytes_stay),
		cmocka_unit_test(a_killed_peer_wakes_a_blocked_call),
		cmocka_unit_test(a_killed_peer_is_seen_over_unread_bytes),
		cmocka_unit_test(a_full_ring_waits_for_its_reader),
		cmocka_unit_test(bytes_are_an_event_beside_their_client),
		cmocka_unit_test(the_last_bytes_arrive),
		cmocka_unit_test(many_servers_have_many_clients_of_one_path),
		cmocka_unit_test(a_server_has_one_client_after_the_other),
		cmocka_unit_test(another_process_may_serve_when_the_first_has_its_client),
		cmocka_unit_test(a_path_that_waits_is_taken),
		cmocka_unit_test(a_server_is_for_one_domain),
		cmocka_unit_test(a_server_is_waited_for),
		cmocka_unit_test(a_file_overrides_the_rule),
		cmocka_unit_test(a_child_begins_anew_and_the_parent_goes_on),
		cmocka_unit_test(a_destroyed_domain_is_seen),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("xenvchan", tests, both_setup, both_teardown);
}
