/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting an emulator: a script in its place says how it was started, and ends as it is told. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/macro.h"
#include "daemon/sim-start.h"
#include "tests/unit/daemon/cmocka-all.h"

static char directory[] = "/tmp/msgd-start-XXXXXX", script[64], path[64], log_path[80];
static char said[2048];

void __wrap_log_write(int priority, const char *format, ...);
void __wrap_log_write(int priority, const char *format, ...)
{
	size_t len = strlen(said);
	va_list args;

	len += (size_t)sprintf(said + len, "<%d>", priority);
	va_start(args, format);
	(void)vsnprintf(said + len, 512, format, args);
	va_end(args);
	strcat(said, "|");
}

static void write_script(const char *text)
{
	FILE *file = fopen(script, "w");

	assert_non_null(file);
	(void)fprintf(file, "#!/bin/sh\n%s\n", text);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(script, 0700), 0);
	said[0] = '\0';
}

static const char *log_text(void)
{
	static char text[2048];
	int fd = open(log_path, O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	assert_true(n >= 0);
	text[n] = '\0';
	(void)close(fd);
	return text;
}

static int setup(void **state)
{
	assert_non_null(mkdtemp(directory));
	(void)snprintf(script, sizeof(script), "%s/sim", directory);
	(void)snprintf(path, sizeof(path), "%s/xen", directory);
	(void)snprintf(log_path, sizeof(log_path), "%s.log", path);
	return setenv("XEN_SIM", script, 1);
}

static int teardown(void **state)
{
	(void)unlink(script);
	(void)unlink(log_path);
	return rmdir(directory);
}

/* Arguments, a session of its own, no descriptor but three; what it says is in a file. */
static void test_starts(void **state)
{
	char want[256];
	struct stat st;
	int low = fcntl(0, F_DUPFD, 3), high = fcntl(0, F_DUPFD, 50); /* without close-on-exec */
	char text[512];

	(void)snprintf(text, sizeof(text),
		"echo \"$# $1 $2\"; echo to-err >&2\n"
		"read -r pid name state parent group session rest < /proc/self/stat\n"
		"[ \"$session\" = \"$$\" ] && echo session\n"
		"[ \"$(readlink /proc/$$/fd/0)\" = /dev/null ] && echo null\n"
		"[ -e /proc/$$/fd/%d ] && echo low\n"
		"[ -e /proc/$$/fd/%d ] && echo high\n"
		"exit 0",
		low, high);
	write_script(text);
	assert_int_equal(sim_start(path), 0);
	(void)snprintf(want, sizeof(want), "2 %s -d\nto-err\nsession\nnull\n", path);
	assert_string_equal(log_text(), want);
	assert_string_equal(said, "");
	assert_int_equal(stat(log_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* The file begins anew each time. */
	write_script("echo again; exit 0");
	assert_int_equal(sim_start(path), 0);
	assert_string_equal(log_text(), "again\n");
	(void)close(low);
	(void)close(high);
}

/* Its last words are msgd's to say, a line each. */
static void test_fails(void **state)
{
	write_script("echo one; echo; echo two >&2; exit 1");
	assert_int_equal(sim_start(path), -EIO);
	assert_string_equal(said, "<3>one|<3>two|");
	write_script("exit 3");
	assert_int_equal(sim_start(path), -EIO);
	assert_string_equal(said, "");
	write_script("kill -9 $$");
	assert_int_equal(sim_start(path), -EIO);
	write_script("exit 127");
	assert_int_equal(sim_start(path), -ENOENT);
	write_script("");
	assert_int_equal(chmod(script, 0600), 0);
	assert_int_equal(sim_start(path), -EIO);
	assert_int_equal(unlink(script), 0);
	assert_int_equal(sim_start(path), -ENOENT);
}

static void test_log_file(void **state)
{
	char long_path[PATH_MAX + 8];

	write_script("exit 0");
	(void)unlink(log_path);
	assert_int_equal(symlink("/dev/null", log_path), 0);
	assert_int_equal(sim_start(path), -ELOOP);
	assert_int_equal(unlink(log_path), 0);
	assert_int_equal(sim_start("/nonexistent/xen"), -ENOENT);
	memset(long_path, 0, sizeof(long_path));
	memset(long_path, '/', PATH_MAX - 4);
	memcpy(long_path, "/nonexistent", 12);
	assert_int_equal(sim_start(long_path), -ENAMETOOLONG);
	long_path[PATH_MAX - 5] = '\0';
	assert_int_equal(sim_start(long_path), -ENOENT);
}

/* Without $XEN_SIM it is beside msgd, or where the build has it, or on $PATH. */
static void test_places(void **state)
{
	char self[PATH_MAX], beside[PATH_MAX + 16], bin[64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(n > 0);
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	(void)snprintf(beside, sizeof(beside), "%s/xen-sim", self);
	(void)snprintf(bin, sizeof(bin), "%s/xen-sim", directory);
	write_script("echo path; exit 0");
	assert_int_equal(rename(script, bin), 0);
	assert_int_equal(setenv("PATH", directory, 1), 0);
	for (int empty = 0; empty < 2; empty++) {
		if (empty)
			assert_int_equal(setenv("XEN_SIM", "", 1), 0);
		else
			assert_int_equal(unsetenv("XEN_SIM"), 0);
		assert_int_equal(sim_start(path), 0);
		assert_string_equal(log_text(), "path\n");
	}
	write_script("echo beside; exit 0");
	if (symlink(script, beside) == 0) {
		assert_int_equal(sim_start(path), 0);
		assert_string_equal(log_text(), "beside\n");
		assert_int_equal(unlink(beside), 0);
	}
	assert_int_equal(unlink(bin), 0);
	assert_int_equal(setenv("XEN_SIM", script, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_starts),
		cmocka_unit_test(test_fails),
		cmocka_unit_test(test_log_file),
		cmocka_unit_test(test_places),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
