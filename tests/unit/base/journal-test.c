/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records for the journal: the bytes of each, that values are no fields, that nothing waits, and
 * that standard error has the text where the journal cannot be reached.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/macro.h"
#include "tests/support/cmocka-all.h"

#define JOURNAL "/run/systemd/journal/socket"

static struct sockaddr_un journal = {.sun_family = AF_UNIX}; /* in the place of the real one */
static int journal_fd = -1, stderr_fd = -1, saved_stderr = -1;

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct msghdr here = *message;

	assert_string_equal(((const struct sockaddr_un *)message->msg_name)->sun_path, JOURNAL);
	here.msg_name = &journal;
	here.msg_namelen = sizeof(journal);
	return __real_sendmsg(fd, &here, flags);
}

/* ---- the records that it reads -------------------------------------------------------------- */

static char record[4096];
static size_t record_len;

static bool record_read(void)
{
	ssize_t n = recv(journal_fd, record, sizeof(record), MSG_DONTWAIT);

	record_len = n > 0 ? (size_t)n : 0;
	return n > 0;
}

/*
 * The record's only field of this name, as the protocol has it: with the length of its value.
 * Returns how many fields there are.
 */
static unsigned record_field(const char *name, const char **ret_value, size_t *ret_len)
{
	unsigned n = 0, n_found = 0;

	for (size_t at = 0; at < record_len; n++) {
		const char *line = record + at, *end = memchr(line, '\n', record_len - at);
		uint64_t len;

		assert_non_null(end);
		assert_null(memchr(line, '=', (size_t)(end - line)));
		memcpy(&len, end + 1, sizeof(len));
		len = le64toh(len);
		at = (size_t)(end - record) + 1 + sizeof(len);
		assert_true(len < record_len - at);
		assert_int_equal(record[at + len], '\n');
		if (strlen(name) == (size_t)(end - line) && memcmp(line, name, strlen(name)) == 0) {
			n_found++;
			*ret_value = record + at;
			*ret_len = len;
		}
		at += len + 1;
	}
	assert_true(n_found <= 1);
	if (n_found == 0)
		*ret_value = NULL;
	return n;
}

static void record_is(const char *name, const char *value)
{
	const char *found;
	size_t len;

	(void)record_field(name, &found, &len);
	assert_non_null(found);
	assert_int_equal(len, strlen(value));
	assert_memory_equal(found, value, len);
}

static unsigned record_fields(void)
{
	const char *value;
	size_t len;

	return record_field("", &value, &len);
}

/* ---- standard error is the journal ---------------------------------------------------------- */

static const char *read_stderr(void)
{
	static char text[65536];
	ssize_t n = recv(stderr_fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void journal_open(void)
{
	journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	(void)snprintf(
		journal.sun_path, sizeof(journal.sun_path), "/tmp/msgd-journal-%d", (int)getpid());
	(void)unlink(journal.sun_path);
	assert_int_equal(bind(journal_fd, (struct sockaddr *)&journal, sizeof(journal)), 0);
}

static void journal_close(void)
{
	(void)close(journal_fd);
	(void)unlink(journal.sun_path);
}

static int begin(void **state)
{
	char stream[64];
	struct stat st;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	saved_stderr = dup(STDERR_FILENO);
	(void)dup2(fds[1], STDERR_FILENO);
	(void)close(fds[1]);
	stderr_fd = fds[0];
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	(void)snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		(unsigned long long)st.st_ino);
	(void)setenv("JOURNAL_STREAM", stream, 1);
	journal_open();
	log_open("msgd", LOG_INFO);
	return 0;
}

static int end(void **state)
{
	(void)dup2(saved_stderr, STDERR_FILENO);
	(void)close(saved_stderr);
	(void)close(stderr_fd);
	journal_close();
	return 0;
}

static void test_plain(void **state)
{
	log_notice("policy %u:\t%s", 7, "x\ny");
	assert_true(record_read());
	record_is("MESSAGE", "policy 7:?x?y");
	record_is("PRIORITY", "5");
	record_is("SYSLOG_IDENTIFIER", "msgd");
	assert_int_equal(record_fields(), 3);
	assert_false(record_read());
	assert_string_equal(read_stderr(), "");
}

static void test_values_are_no_fields(void **state)
{
	static const struct log_field fields[] = {
		{"MSG_NAME", "a\nPRIORITY=0\nMSG_RULE=x:1\n"},
		{"MSG_REASON", "MSG_RULE\n\x05\1\1\1\1\1\1\1x:1\n"},
		{"MSG_DOMAIN", "\xff\n\n="},
		{"MSG_EMPTY", ""},
	};

	log_record(LOG_WARNING, false, fields, ARRAY_SIZE(fields), "m\nPRIORITY=0");
	assert_true(record_read());
	assert_int_equal(record_fields(), 3 + ARRAY_SIZE(fields));
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		record_is(fields[i].name, fields[i].value);
	record_is("MESSAGE", "m?PRIORITY=0");
	record_is("PRIORITY", "4");
}

static void test_most_fields(void **state)
{
	struct log_field fields[LOG_FIELDS_MAX];
	char names[LOG_FIELDS_MAX][8];

	for (unsigned i = 0; i < LOG_FIELDS_MAX; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "F%u", i);
		fields[i] = (struct log_field){names[i], names[i]};
	}
	log_record(LOG_ERR, false, fields, LOG_FIELDS_MAX, "all");
	assert_true(record_read());
	assert_int_equal(record_fields(), 3 + LOG_FIELDS_MAX);
	record_is("F15", "F15");
}

static void test_level(void **state)
{
	log_open("msgd", LOG_WARNING);
	log_notice("no");
	log_record(LOG_INFO, false, NULL, 0, "no");
	assert_false(record_read());
	log_record(LOG_INFO, true, NULL, 0, "audit");
	assert_true(record_read());
	record_is("MESSAGE", "audit");
	record_is("PRIORITY", "6");
}

/* A journal that stands still: the records are lost, and the next one comes behind their number. */
static void test_unread(void **state)
{
	unsigned n = 0, said;
	const char *value;
	size_t len;

	(void)alarm(10);
	for (unsigned i = 0; i < 10000; i++)
		log_notice("record %u", i);
	while (record_read())
		n++;
	assert_in_range(n, 1, 9999);
	log_notice("the last");
	assert_true(record_read());
	(void)record_field("MESSAGE", &value, &len);
	assert_int_equal(sscanf(value, "%u lines are lost: the log was not read", &said), 1);
	assert_int_equal(said, 10000 - n);
	record_is("PRIORITY", "4");
	assert_true(record_read());
	record_is("MESSAGE", "the last");
	assert_string_equal(read_stderr(), "");
	(void)alarm(0);
}

/* The stream has the text; when the journal is back, so is the record. */
static void test_no_socket(void **state)
{
	static const struct log_field field = {"MSG_NAME", "echo"};

	journal_close();
	log_record(LOG_NOTICE, false, &field, 1, "one");
	assert_string_equal(read_stderr(), "<5>one\n");
	journal_open();
	log_record(LOG_NOTICE, false, &field, 1, "two");
	assert_string_equal(read_stderr(), "");
	assert_true(record_read());
	record_is("MSG_NAME", "echo");
}

/* Another standard error than the one that JOURNAL_STREAM names: it is no journal. */
static void test_not_the_journal(void **state)
{
	(void)setenv("JOURNAL_STREAM", "1:2", 1);
	log_open("msgd", LOG_INFO);
	log_notice("a line");
	assert_false(record_read());
	assert_string_equal(read_stderr(), "msgd: a line\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_plain, begin, end),
		cmocka_unit_test_setup_teardown(test_values_are_no_fields, begin, end),
		cmocka_unit_test_setup_teardown(test_most_fields, begin, end),
		cmocka_unit_test_setup_teardown(test_level, begin, end),
		cmocka_unit_test_setup_teardown(test_unread, begin, end),
		cmocka_unit_test_setup_teardown(test_no_socket, begin, end),
		cmocka_unit_test_setup_teardown(test_not_the_journal, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
