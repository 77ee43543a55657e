/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs a harness over its corpus without libFuzzer, for every machine and every run of the tests:
 * each case, and each case cut short at every length. A corpus is text: NAME.hex holds hex digits
 * and '#' comment lines, NAME.txt is the input itself. A corpus without cases fails.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "tests/fuzz/fuzz.h"

/* Longer cases are cut short at every 61st length only: a test should take no minute. */
#define CUT_ALL_MAX 4096

static const char *current = "nothing yet";

/* abort() does not say which case it was; nor does ASan, which meson.build makes abort. */
static void case_name_write(int signal_number)
{
	(void)!write(STDERR_FILENO, "in case: ", 9);
	(void)!write(STDERR_FILENO, current, strlen(current));
	(void)!write(STDERR_FILENO, "\n", 1);
}

/* An exact-size copy, so that ASan sees a read past the input's end. */
static void case_run(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	FUZZ_CHECK(copy);
	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

/* Turns hex text into bytes, in place. Returns how many, or -1. */
static ssize_t hex_decode(uint8_t *text, size_t len)
{
	size_t n_digits = 0;
	uint8_t digit;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '#') {
			while (i < len && text[i] != '\n')
				i++;
			continue;
		}
		if (isspace(text[i]))
			continue;
		if (!isxdigit(text[i]))
			return -1;
		digit = isdigit(text[i]) ? text[i] - '0' : (uint8_t)(tolower(text[i]) - 'a' + 10);
		text[n_digits / 2] = n_digits % 2 ? text[n_digits / 2] | digit : digit << 4;
		n_digits++;
	}
	return n_digits % 2 ? -1 : (ssize_t)(n_digits / 2);
}

/* The whole file; the caller frees it. */
static uint8_t *file_read(int dir, const char *name, size_t *ret_len)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ uint8_t *data = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return NULL;
	data = malloc((size_t)st.st_size + 1);
	if (!data || read(fd, data, (size_t)st.st_size) != st.st_size)
		return NULL;
	*ret_len = (size_t)st.st_size;
	return steal_ptr(data);
}

/* 1: run; 0: not a case; -1: unreadable. */
static int file_replay(int dir, const char *name)
{
	const char *dot = strrchr(name, '.');
	_cleanup_free_ uint8_t *data = NULL;
	size_t len;
	ssize_t n;

	if (!dot || (strcmp(dot, ".hex") != 0 && strcmp(dot, ".txt") != 0))
		return 0;
	data = file_read(dir, name, &len);
	if (!data) {
		fprintf(stderr, "%s: %s\n", name, strerror(errno));
		return -1;
	}
	n = strcmp(dot, ".hex") == 0 ? hex_decode(data, len) : (ssize_t)len;
	if (n < 0) {
		fprintf(stderr, "%s: not hex\n", name);
		return -1;
	}
	current = name;
	for (size_t cut = 0; cut <= (size_t)n; cut += n > CUT_ALL_MAX ? 61 : 1)
		case_run(data, cut);
	case_run(data, (size_t)n);
	return 1;
}

int main(int argc, char **argv)
{
	_cleanup_closedir_ DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
	unsigned n_cases = 0, n_bad = 0;
	struct dirent *entry;
	int r;

	if (!dir) {
		fprintf(stderr, "usage: %s CORPUS-DIRECTORY\n", argv[0]);
		return 2;
	}
	signal(SIGABRT, case_name_write); /* returning from it, abort() ends us all the same */
	while ((entry = readdir(dir))) {
		r = file_replay(dirfd(dir), entry->d_name);
		n_cases += r > 0;
		n_bad += r < 0;
	}
	printf("%s: %u cases\n", argv[1], n_cases);
	return n_cases && !n_bad ? 0 : 1;
}
