/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Addresses: only those of the loopback, whichever way they are written. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macro.h"
#include "exporter/address.h"
#include "tests/support/cmocka-all.h"

static void test_hosts(void **state)
{
	static const char *const good[] = {
		"localhost", "LocalHost", "127.0.0.1", "127.8.9.1", "[::1]", "[0:0:0:0:0:0:0:1]"};
	static const char *const bad[] = {NULL, "", "evil.example", "localhost.evil.example",
		"localhost.", "127.0.0.1.evil.example", "127.1", "2130706433", "0x7f.0.0.1",
		"0.0.0.0", "128.0.0.1", "::1", "[::]", "[::2]", "[::ffff:127.0.0.1]", "[::1", "[]",
		"[", "[::1%lo]", "127.0.0.1 ", "user@localhost"};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(host_is_loopback(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(host_is_loopback(bad[i]));
}

static void assert_refused(const char *text, const char *word)
{
	char error[ADDRESS_ERROR_SIZE];
	const char *path;
	int fd = -1;

	assert_int_equal(address_listen(text, &fd, &path, error), -EINVAL);
	assert_int_equal(fd, -1);
	assert_non_null(strstr(error, word));
}

static void test_refused(void **state)
{
	assert_refused("0.0.0.0:9846", "not of the loopback");
	assert_refused("[::]:9846", "not of the loopback");
	assert_refused("192.168.1.1:9846", "not of the loopback");
	assert_refused("*:9846", "neither");
	assert_refused(":9846", "neither");
	assert_refused("example.org:9846", "neither");
	assert_refused("127.0.0.1", "neither");
	assert_refused("127.0.0.1:", "neither");
	assert_refused("127.0.0.1:65536", "neither");
	assert_refused("127.0.0.1:x", "neither");
	assert_refused("unix:", "no path");
	assert_refused("/run/x", "neither");
}

/* A socket that is bound as an administrator may have said to systemd. */
static int passed(in_addr_t host, int type, bool listens)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(host)};
	int fd = socket(AF_INET, type, 0);

	assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
	if (listens)
		assert_return_code(listen(fd, 1), errno);
	return fd;
}

static void test_passed(void **state)
{
	char error[ADDRESS_ERROR_SIZE];
	const char *path;
	bool tcp = false;
	int fd;

	assert_int_equal(address_listen("127.0.0.1:0", &fd, &path, error), 0);
	assert_null(path);
	assert_int_equal(address_check(fd, &tcp, error), 0);
	assert_true(tcp);
	(void)close(fd);
	fd = passed(INADDR_ANY, SOCK_STREAM, true);
	assert_int_equal(address_check(fd, &tcp, error), -EINVAL);
	assert_non_null(strstr(error, "loopback"));
	(void)close(fd);
	fd = passed(INADDR_LOOPBACK, SOCK_STREAM, false);
	assert_int_equal(address_check(fd, &tcp, error), -EINVAL);
	(void)close(fd);
	fd = passed(INADDR_LOOPBACK, SOCK_DGRAM, false);
	assert_int_equal(address_check(fd, &tcp, error), -EINVAL);
	(void)close(fd);
	assert_int_equal(address_check(-1, &tcp, error), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_passed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
