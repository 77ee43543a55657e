/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program of libvchan.h, the calls as Qubes spells them. */
#include <libvchan.h>
#include <string.h>

#include "tests/e2e/compat/both.h"
#include "tests/support/cmocka-all.h"

#define PORT 512

static void blocking_server(void)
{
	libvchan_t *ctrl = libvchan_server_init(CLIENT_DOMID, PORT, 4096, 4096);
	char data[6];

	must(ctrl);
	hear('b');
	/* It blocks without being told to. */
	must(libvchan_recv(ctrl, data, 6) == 6 && memcmp(data, "asking", 6) == 0);
	must(libvchan_is_open(ctrl) == VCHAN_CONNECTED);
	must(libvchan_send(ctrl, "answer", 6) == 6);
	must(libvchan_read(ctrl, data, 6) == -1);
	must(libvchan_is_open(ctrl) == VCHAN_DISCONNECTED);
	libvchan_close(ctrl);
	libvchan_close(NULL);
}

static void blocking_client(void)
{
	libvchan_t *ctrl;
	char data[6];

	conf_write("wait * 0\n"); /* which is not for ports */
	say('b');
	ctrl = libvchan_client_init(SERVER_DOMID, PORT);
	must(ctrl && libvchan_is_open(ctrl) == VCHAN_CONNECTED);
	must(libvchan_write(ctrl, "asking", 6) == 6);
	must(libvchan_recv(ctrl, data, 6) == 6 && memcmp(data, "answer", 6) == 0);
	libvchan_set_blocking(ctrl, false);
	must(libvchan_read(ctrl, data, 6) == 0 && libvchan_data_ready(ctrl) == 0);
	must(libvchan_buffer_space(ctrl) >= 4096);
	libvchan_close(ctrl);
	conf_end();
}

static void a_server_and_a_client_block(void **state)
{
	both(blocking_server, blocking_client);
}

static void late_server(void)
{
	libvchan_t *ctrl;
	char c;

	hear('w');
	ctrl = libvchan_server_init(CLIENT_DOMID, PORT, 0, 0);
	must(ctrl);
	must(libvchan_read(ctrl, &c, 1) == 1 && c == 'x');
	must(libvchan_write(ctrl, &c, 1) == 1);
	hear('e');
	libvchan_close(ctrl);
}

static void waiting_client(void)
{
	EVTCHN fd = -1;
	libvchan_t *ctrl = libvchan_client_init_async(SERVER_DOMID, PORT, &fd);
	struct pollfd p = {.events = POLLIN};
	char c;
	int r;

	must(ctrl && libvchan_is_open(ctrl) == VCHAN_WAITING);
	must(libvchan_client_init_async_finish(ctrl, false) == 1);
	p.fd = fd;
	must(poll(&p, 1, 0) == 0);
	say('w');
	do {
		await_fd(fd);
		r = libvchan_client_init_async_finish(ctrl, false);
	} while (r == 1);
	must(r == 0 && libvchan_is_open(ctrl) == VCHAN_CONNECTED);
	must(libvchan_read(ctrl, &c, 1) == 0);
	must(libvchan_write(ctrl, "x", 1) == 1);
	while (libvchan_data_ready(ctrl) < 1) {
		await_fd(libvchan_fd_for_select(ctrl));
		must(libvchan_wait(ctrl) == 0);
	}
	must(libvchan_read(ctrl, &c, 1) == 1 && c == 'x');
	say('e');
	libvchan_close(ctrl);
}

static void a_client_waits_beside_other_work(void **state)
{
	both(late_server, waiting_client);
}

/* Nobody comes to the port of which a client has given up, before one comes to the other. */
static void no_server(void)
{
	libvchan_t *ctrl, *beside;
	char c;

	hear('e');
	ctrl = libvchan_server_init(CLIENT_DOMID, PORT + 1, 0, 0);
	beside = libvchan_server_init(CLIENT_DOMID, PORT, 0, 0);
	must(ctrl && beside);
	must(libvchan_read(beside, &c, 1) == 1);
	must(libvchan_is_open(ctrl) == VCHAN_WAITING);
	libvchan_close(ctrl);
	libvchan_close(beside);
}

static void refused_client(void)
{
	EVTCHN fd;
	libvchan_t *ctrl;

	errno = 0;
	must(!libvchan_client_init(SERVER_DOMID, -1) && errno == EINVAL);
	must(!libvchan_client_init(4000, PORT) && errno == EHOSTUNREACH);
	/* Given up while it waits. */
	ctrl = libvchan_client_init_async(SERVER_DOMID, PORT + 1, &fd);
	must(ctrl && libvchan_client_init_async_finish(ctrl, true) == 1);
	libvchan_close(ctrl);
	say('e');
	ctrl = libvchan_client_init(SERVER_DOMID, PORT);
	must(ctrl && libvchan_write(ctrl, "x", 1) == 1);
	must(libvchan_read(ctrl, &(char){0}, 1) == -1);
	libvchan_close(ctrl);
}

static void a_client_may_give_up(void **state)
{
	both(no_server, refused_client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_and_a_client_block),
		cmocka_unit_test(a_client_waits_beside_other_work),
		cmocka_unit_test(a_client_may_give_up),
	};

	return cmocka_run_group_tests_name("libvchan", tests, both_setup, both_teardown);
}
