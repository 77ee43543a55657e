/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names and CIDs of addresses, by the rule of libmsg-vsock(7) and by a file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compat/vsock/address.h"
#include "tests/support/cmocka-all.h"

#define OWN 9

static char path[] = "/tmp/vsock-address.XXXXXX";

static struct address_file file_of(const char *text)
{
	FILE *stream = fopen(path, "w");

	assert_non_null(stream);
	assert_true(fputs(text, stream) >= 0 && fclose(stream) == 0);
	return (struct address_file){.path = path};
}

static void targets(const char *conf, uint32_t cid, uint32_t port, const char *target)
{
	struct address_file file = file_of(conf);
	char got[ADDRESS_SIZE] = "as before";

	assert_int_equal(address_target(&file, cid, port, OWN, got), target ? 0 : -ENODEV);
	assert_string_equal(got, target ? target : "as before");
}

static void listens(const char *conf, uint32_t port, const char *name)
{
	struct address_file file = file_of(conf);
	char got[ADDRESS_SIZE];

	assert_int_equal(address_name(&file, port, got), 0);
	assert_string_equal(got, name);
}

static void comes_from(const char *conf, uint32_t domid, const char *domain, uint32_t cid)
{
	struct address_file file = file_of(conf);
	uint32_t got = 0;

	assert_int_equal(address_peer_cid(&file, domid, domain, &got), 0);
	assert_int_equal(got, cid);
}

static void is_cid(const char *conf, int own, uint32_t cid)
{
	struct address_file file = file_of(conf);
	uint32_t got = 0;

	assert_int_equal(address_own_cid(&file, own, &got), 0);
	assert_int_equal(got, cid);
}

static void a_cid_is_a_domid(void **state)
{
	targets("", 3, 0, "domid:3/vsock-0");
	targets("", 32751, 4294967294, "domid:32751/vsock-4294967294");
	targets("", 1, 5, "domid:9/vsock-5");
	targets("", 2, 5, "domid:0/vsock-5");
	targets("", 65536, 5, "domid:0/vsock-5");
	targets("", 65537, 5, "domid:1/vsock-5");
	targets("", 65538, 5, "domid:2/vsock-5");
	targets("", 65536 + 32751, 5, "domid:32751/vsock-5");
	targets("", 0, 5, NULL);
	targets("", 32752, 5, NULL);
	targets("", 65535, 5, NULL);
	targets("", 65536 + 32752, 5, NULL);
	targets("", UINT32_MAX, 5, NULL);
	listens("", 5, "vsock-5");
}

/* Where a domain's number is a CID of its own, the CID that is told can be connected to. */
static void a_peers_cid_leads_back_to_it(void **state)
{
	static const uint32_t domids[] = {0, 1, 2, 3, 32751};

	for (size_t i = 0; i < sizeof(domids) / sizeof(domids[0]); i++) {
		struct address_file file = {.path = "/nonexistent"};
		char got[ADDRESS_SIZE], wanted[ADDRESS_SIZE];
		uint32_t cid, own;

		(void)snprintf(wanted, sizeof(wanted), "domid:%u/vsock-1", domids[i]);
		assert_int_equal(address_peer_cid(&file, domids[i], "web", &cid), 0);
		assert_int_equal(address_target(&file, cid, 1, OWN, got), 0);
		assert_string_equal(got, wanted);
		assert_int_equal(address_own_cid(&file, (int)domids[i], &own), 0);
		assert_int_equal(own, cid);
	}
}

static void the_first_line_that_fits_counts(void **state)
{
	static const char conf[] = "# words\n\n7:22 vault/ssh\n7:*\tvault/p%p\n*:80 web/c%c-p%p\n"
				   "listen:22 ssh\nlisten:* all-%p\nlocal 12\nlocal 13";

	targets(conf, 7, 22, "vault/ssh");
	targets(conf, 7, 80, "vault/p80");
	targets(conf, 8, 80, "web/c8-p80");
	targets(conf, 0, 80, "web/c0-p80");
	targets(conf, 8, 81, "domid:8/vsock-81");
	listens(conf, 22, "ssh");
	listens(conf, 23, "all-23");
	is_cid(conf, 5, 12);
	comes_from(conf, 5, "vault", 7);
	comes_from(conf, 5, "vaul", 5);
	comes_from(conf, 5, "web", 5);
	comes_from("9:* domid:5/x\n", 5, "web", 9);
	comes_from("9:* domid:5/x\n", 55, "web", 55);
}

static void is_wrong(const char *conf, unsigned line)
{
	struct address_file file = file_of(conf);
	char got[ADDRESS_SIZE] = "as before";
	uint32_t cid = 1;

	assert_int_equal(address_target(&file, 7, 22, OWN, got), -EINVAL);
	assert_string_equal(got, "as before");
	assert_int_equal(file.line, line);
	assert_non_null(file.why);
	assert_int_equal(address_name(&file, 22, got), -EINVAL);
	assert_int_equal(address_own_cid(&file, OWN, &cid), -EINVAL);
	assert_int_equal(address_peer_cid(&file, 1, "web", &cid), -EINVAL);
	assert_int_equal(cid, 1);
}

static void a_wrong_line_is_an_error_also_behind_one_that_fits(void **state)
{
	static const char *const lines[] = {"7", "7:22", "7:22 a/b c", "7 a/b", "7:22 b", "7:22 /b",
		"7:22 a/", "x:22 a/b", "7:x a/b", "-1:22 a/b", "7:4294967295 a/b", "7:22 a/%x",
		"7:22 a/%", "listen:22 a/b", "listen:x b", "local x", "local", "local *", ": a/b",
		"7:22x a/b", " 7: a/b"};
	char conf[128], text[600];

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		(void)snprintf(conf, sizeof(conf), "7:22 vault/ssh\nlisten:22 ssh\n%s\n", lines[i]);
		is_wrong(conf, 3);
	}
	/* A target that would be too long with the longest port, and a line that is. */
	memset(text, 'a', sizeof(text));
	(void)snprintf(text + 186, sizeof(text) - 186, "/%%p\n");
	memcpy(text, "7:* ", 4);
	is_wrong(text, 1);
	memset(text, '#', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	is_wrong(text, 1);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
	struct address_file file = {.path = "/dev/null/x"};
	uint32_t cid;

	assert_int_equal(address_own_cid(&file, 1, &cid), -ENOTDIR);
	assert_int_equal(file.line, 0);
	file.path = "/";
	assert_int_equal(address_own_cid(&file, 1, &cid), -EIO);
}

static int setup(void **state)
{
	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cid_is_a_domid),
		cmocka_unit_test(a_peers_cid_leads_back_to_it),
		cmocka_unit_test(the_first_line_that_fits_counts),
		cmocka_unit_test(a_wrong_line_is_an_error_also_behind_one_that_fits),
		cmocka_unit_test(a_file_that_cannot_be_read_is_an_error),
	};

	return cmocka_run_group_tests_name("address", tests, setup, teardown);
}
