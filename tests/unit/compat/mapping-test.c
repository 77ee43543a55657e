/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of paths, by the rule of libxenvchan-msg(7) and by a file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compat/xenvchan/mapping.h"
#include "tests/support/cmocka-all.h"

static char file[] = "/tmp/xenvchan-mapping.XXXXXX";

static struct mapping map_by(const char *path, const char *conf)
{
	struct mapping mapping = {0};
	unsigned line;

	assert_int_equal(mapping_of(path, conf, &mapping, &line), 0);
	assert_int_equal(line, 0);
	return mapping;
}

static void named(const char *path, const char *name)
{
	assert_string_equal(map_by(path, NULL).name, name);
}

static void slashes_become_dots(void **state)
{
	named("data/vchan/foo", "data.vchan.foo");
	named("data/vchan/3/512", "data.vchan.3.512");
	named("/vchan", "vchan");
	named("_a-b/C", "_a-b.C");
	assert_int_equal(map_by("/vchan", NULL).wait_ms, MAPPING_WAIT_MS);
}

static void a_domains_directory_does_not_count(void **state)
{
	named("/local/domain/0/data/vchan/foo", "data.vchan.foo");
	named("/local/domain/32751/data/vchan/foo", "data.vchan.foo");
	named("/local/domain/x/foo", "local.domain.x.foo");
	named("/local/domain/5x/foo", "local.domain.5x.foo");
	named("/local/domains/5/foo", "local.domains.5.foo");
	named("local/domain/5/foo", "local.domain.5.foo");
}

/* 63 characters as they are; one more, and the end is a hash. */
static void a_long_path_ends_with_its_hash(void **state)
{
	char path[65], other[65], name[MAPPING_NAME_SIZE];

	memset(path, 'a', 64);
	path[64] = '\0';
	path[63] = '\0';
	named(path, path);
	path[63] = 'a';
	(void)snprintf(name, sizeof(name), "%.46s-%s", path, "db007849f35ebbe5");
	strcpy(other, path);
	other[63] = 'b';
	assert_int_equal(strlen(map_by(path, NULL).name), 63);
	assert_string_equal(map_by(path, NULL).name, name);
	assert_string_not_equal(map_by(path, NULL).name, map_by(other, NULL).name);
}

/* Two paths never have one name because of a character that a name cannot have. */
static void another_character_makes_a_hash(void **state)
{
	named("a.b", "a_b-e61d99190466522c");
	named("a@b", "a_b-e6ac991904e00a72");
	named("-a", "_a-07d05b07b498591b");
	named("//a", "_a-07d66707b49cd92d");
	named("\xc3\xa4", "__-0ac21207b7181582");
}

static void refused(const char *path)
{
	struct mapping mapping;
	unsigned line;

	assert_int_equal(mapping_of(path, NULL, &mapping, &line), -EINVAL);
	assert_int_equal(line, 0);
}

static void a_path_must_say_something(void **state)
{
	static char path[MAPPING_PATH_MAX + 2];

	refused("");
	refused("/");
	refused("/local/domain/5/");
	memset(path, 'a', MAPPING_PATH_MAX);
	(void)map_by(path, NULL);
	path[MAPPING_PATH_MAX] = 'a';
	refused(path);
}

static void conf_write(const char *text)
{
	FILE *stream = fopen(file, "w");

	assert_non_null(stream);
	assert_true(fputs(text, stream) >= 0);
	assert_int_equal(fclose(stream), 0);
}

static void a_file_names_paths(void **state)
{
	conf_write("# a comment\n\n"
		   "name data/vchan/foo  web.foo\n"
		   "name /local/domain/7/* seven\n"
		   "name data/vchan/*\tany\n"
		   "wait data/* 7\n"
		   "wait * forever\n");
	/* A pattern without a slash at its beginning is of paths in any domain's directory. */
	assert_string_equal(map_by("data/vchan/foo", file).name, "web.foo");
	assert_string_equal(map_by("/local/domain/7/data/vchan/foo", file).name, "web.foo");
	/* One with a slash is of paths as they are given. */
	assert_string_equal(map_by("/local/domain/7/x", file).name, "seven");
	assert_string_equal(map_by("/local/domain/8/x", file).name, "x");
	assert_string_equal(map_by("/local/domain/8/data/vchan/x", file).name, "any");
	assert_int_equal(map_by("data/x", file).wait_ms, 7000);
	assert_int_equal(map_by("x", file).wait_ms, -1);
	conf_write("wait * 0");
	assert_int_equal(map_by("x", file).wait_ms, 0);
	assert_string_equal(map_by("x", "/nowhere/at/all").name, "x");
}

static void wrong(const char *text, unsigned line_is)
{
	struct mapping mapping = {.name = "as before"};
	unsigned line;

	conf_write(text);
	assert_int_equal(mapping_of("data/vchan/foo", file, &mapping, &line), -EINVAL);
	assert_int_equal(line, line_is);
	assert_string_equal(mapping.name, "as before");
}

static void a_wrong_line_is_an_error(void **state)
{
	static char longest[2 * MAPPING_PATH_MAX + 100];

	wrong("name data/vchan/foo foo\nname x\n", 2);
	wrong("name x bad/name\n", 1);
	wrong("name x .name\n", 1);
	wrong("name x "
	      "a234567890123456789012345678901234567890123456789012345678901234\n",
		1);
	wrong("name x y z\n", 1);
	wrong("nome x y\n", 1);
	wrong("wait x -1\n", 1);
	wrong("wait x 1s\n", 1);
	wrong("wait x 99999999\n", 1);
	wrong("\n\nwait x\n", 3);
	memset(longest, ' ', sizeof(longest) - 1);
	wrong(longest, 1);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
	struct mapping mapping;
	unsigned line;

	assert_int_equal(mapping_of("x", "/dev/null/x", &mapping, &line), -ENOTDIR);
	assert_int_equal(line, 0);
	assert_int_equal(mapping_of("x", "/", &mapping, &line), -EIO);
}

static int setup(void **state)
{
	int fd = mkstemp(file);

	return fd < 0 || close(fd) < 0;
}

static int teardown(void **state)
{
	return unlink(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slashes_become_dots),
		cmocka_unit_test(a_domains_directory_does_not_count),
		cmocka_unit_test(a_long_path_ends_with_its_hash),
		cmocka_unit_test(another_character_makes_a_hash),
		cmocka_unit_test(a_path_must_say_something),
		cmocka_unit_test(a_file_names_paths),
		cmocka_unit_test(a_wrong_line_is_an_error),
		cmocka_unit_test(a_file_that_cannot_be_read_is_an_error),
	};

	return cmocka_run_group_tests_name("mapping", tests, setup, teardown);
}
