/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two sides of a forward as text. */
#include "msgio/options/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/macro.h"
#include "tests/support/cmocka-all.h"

#define X10  "xxxxxxxxxx"
#define X60  X10 X10 X10 X10 X10 X10
#define X100 X60 X10 X10 X10 X10

static char error[ADDRESS_ERROR_SIZE];

static struct address parsed(const char *text)
{
	struct address address;

	memset(&address, 0xff, sizeof(address));
	assert_int_equal(address_parse(text, &address, error), 0);
	return address;
}

static void test_channel(void **state)
{
	struct address address = parsed("listen:my.name-1");

	assert_int_equal(address.kind, ADDRESS_CHANNEL);
	assert_true(address.listens);
	assert_string_equal(address.channel, "my.name-1");
	assert_null(address_path(&address));
	address = parsed("connect:uuid:41a91b36/" X60 "123");
	assert_int_equal(address.kind, ADDRESS_CHANNEL);
	assert_false(address.listens);
	assert_string_equal(address.channel, "uuid:41a91b36/" X60 "123");
}

static void test_unix(void **state)
{
	struct address address = parsed("unix-listen:/run/x");
	const struct sockaddr_un *where = (const struct sockaddr_un *)&address.where;

	assert_int_equal(address.kind, ADDRESS_UNIX);
	assert_true(address.listens);
	assert_int_equal(where->sun_family, AF_UNIX);
	assert_string_equal(address_path(&address), "/run/x");
	assert_int_equal(address.where_len, offsetof(struct sockaddr_un, sun_path) + 7);
	address = parsed("unix-connect:@abstract");
	assert_false(address.listens);
	assert_null(address_path(&address));
	assert_int_equal(address.where_len, offsetof(struct sockaddr_un, sun_path) + 9);
	assert_memory_equal(where->sun_path, "\0abstract", 9);
	/* The longest: a path has a NUL. */
	address = parsed("unix-connect:" X100 "1234567");
	assert_int_equal(strlen(address_path(&address)), 107);
}

static void test_tcp(void **state)
{
	static const struct {
		const char *text;
		uint32_t host;
		uint16_t port;
	} cases[] = {
		{"tcp-connect:127.0.0.1:80", 0x7f000001, 80},
		{"tcp-listen:127.255.255.254:65535", 0x7ffffffe, 65535},
		{"tcp-connect:localhost:1", 0x7f000001, 1},
		{"tcp-listen:localhost:0", 0x7f000001, 0},
	};
	struct address address;
	const struct sockaddr_in *in = (const struct sockaddr_in *)&address.where;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address.where;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		address = parsed(cases[i].text);
		assert_int_equal(address.kind, ADDRESS_TCP);
		assert_int_equal(address.listens, cases[i].text[4] == 'l');
		assert_int_equal(address.where_len, sizeof(*in));
		assert_int_equal(in->sin_family, AF_INET);
		assert_int_equal(ntohl(in->sin_addr.s_addr), cases[i].host);
		assert_int_equal(ntohs(in->sin_port), cases[i].port);
	}
	address = parsed("tcp-connect:[::1]:22");
	assert_int_equal(address.where_len, sizeof(*in6));
	assert_int_equal(in6->sin6_family, AF_INET6);
	assert_memory_equal(&in6->sin6_addr, &in6addr_loopback, sizeof(in6addr_loopback));
	assert_int_equal(ntohs(in6->sin6_port), 22);
}

static void test_vsock(void **state)
{
	struct address address = parsed("vsock-listen:4294967294");
	const struct sockaddr_vm *where = (const struct sockaddr_vm *)&address.where;

	assert_int_equal(address.kind, ADDRESS_VSOCK);
	assert_true(address.listens);
	assert_int_equal(where->svm_family, AF_VSOCK);
	assert_int_equal(where->svm_cid, VMADDR_CID_LOCAL);
	assert_int_equal(where->svm_port, UINT32_MAX - 1);
	assert_false(parsed("vsock-connect:1").listens);
}

/* Each names its cause, and changes nothing. */
static void test_refused(void **state)
{
	static const struct {
		const char *text, *cause;
	} cases[] = {
		{"", "begins with none of"},
		{"web/echo", "'web/echo' begins with none of"},
		{"/run/x", "begins with none of"},
		{"unix:/run/x", "begins with none of"},
		{"listen:", "'' is no NAME"},
		{"listen:web/echo", "listened on in this domain"},
		{"listen:.hidden", "'.hidden' is no NAME"},
		{"listen:" X60 "1234", "has 1 to 63"},
		{"connect:web/", "is no [DOMAIN/]NAME"},
		{"connect:web/a b", "'web/a b' is no [DOMAIN/]NAME"},
		{"connect:/echo", "is no [DOMAIN/]NAME"},
		{"unix-listen:", "has a path, or @NAME"},
		{"unix-connect:@", "has a path, or @NAME"},
		{"unix-connect:" X100 "12345678", "108 bytes are too long for a Unix socket: 107"},
		{"tcp-listen:80", "'80' is no HOST:PORT"},
		{"tcp-listen::80", "':80' is no HOST:PORT"},
		{"tcp-listen:[::1]", "'[::1]' is no HOST:PORT"},
		{"tcp-listen:0.0.0.0:80", "0.0.0.0 is not this machine's own"},
		{"tcp-connect:10.0.0.1:80", "10.0.0.1 is not this machine's own"},
		{"tcp-connect:128.0.0.1:80", "128.0.0.1 is not this machine's own"},
		{"tcp-connect:126.255.255.255:80", "is not this machine's own"},
		{"tcp-connect:example.org:80", "example.org is not this machine's own"},
		{"tcp-connect:[::]:80", "[::] is not this machine's own"},
		{"tcp-connect:::1:80", "::1 is not this machine's own"},
		{"tcp-connect:[::ffff:127.0.0.1]:80", "is not this machine's own"},
		{"tcp-connect:" X100 ":80", "is not this machine's own"},
		{"tcp-connect:127.0.0.1:0", "a port is 1 to 65535, not '0'"},
		{"tcp-listen:127.0.0.1:65536", "a port is 0 to 65535, not '65536'"},
		{"tcp-listen:127.0.0.1:", "a port is 0 to 65535, not ''"},
		{"tcp-listen:127.0.0.1:http", "not 'http'"},
		{"vsock-listen:4294967295", "is no PORT"},
		{"vsock-connect:3:80", "the machine is always the local one"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address address = {.where_len = 4711};

		assert_int_equal(address_parse(cases[i].text, &address, error), -EINVAL);
		if (!strstr(error, cases[i].cause))
			fail_msg("%s: %s", cases[i].text, error);
		assert_int_equal(address.where_len, 4711);
	}
}

/* The log says where a connection was to go. */
static void test_described(void **state)
{
	static const char *const cases[][2] = {
		{"connect:web/echo", "web/echo"},
		{"unix-connect:/run/x", "/run/x"},
		{"unix-connect:@x", "@x"},
		{"tcp-connect:localhost:80", "TCP 127.0.0.1 port 80"},
		{"tcp-connect:[::1]:80", "TCP ::1 port 80"},
		{"vsock-connect:5", "VSOCK port 5"},
	};
	char text[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address address = parsed(cases[i][0]);

		address_describe(&address, text);
		assert_string_equal(text, cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_channel),
		cmocka_unit_test(test_unix),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_vsock),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_described),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
