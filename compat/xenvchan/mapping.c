/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a path in the store to a name. Reads one file; keeps nothing. */
#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compat/xenvchan/mapping.h"

#define HOME "/local/domain/"

/* A longer line of the file is an error: two paths and a word fit. */
#define LINE_SIZE (2 * MAPPING_PATH_MAX + 64)
/* In seconds, about three weeks: msg_connect(3) takes milliseconds as an int. */
#define WAIT_MAX 2000000L

/* A byte that may stand in a name, other than the dot that a slash becomes. */
static bool is_plain(char c)
{
	return isascii((unsigned char)c) && (isalnum((unsigned char)c) || c == '_' || c == '-');
}

static bool is_name(const char *s)
{
	size_t len = strlen(s);

	if (!len || len >= MAPPING_NAME_SIZE || *s == '.' || *s == '-')
		return false;
	for (; *s; s++) {
		if (!is_plain(*s) && *s != '.')
			return false;
	}
	return true;
}

/* A path without the directory of a domain, be it the server's or the client's. */
static const char *path_rest(const char *path)
{
	size_t digits;

	if (*path != '/')
		return path;
	if (strncmp(path, HOME, strlen(HOME)) != 0)
		return path + 1;
	digits = strspn(path + strlen(HOME), "0123456789");
	if (!digits || path[strlen(HOME) + digits] != '/')
		return path + 1;
	return path + strlen(HOME) + digits + 1;
}

/* FNV-1a. It tells apart the paths of one machine; nothing rests on its being hard to forge. */
static uint64_t hash_of(const char *s)
{
	uint64_t hash = 0xcbf29ce484222325U;

	for (; *s; s++)
		hash = (hash ^ (unsigned char)*s) * 0x100000001b3U;
	return hash;
}

/* Slashes become dots. A name that does not say its path whole ends with the path's hash. */
static void name_of(const char *rest, char ret_name[MAPPING_NAME_SIZE])
{
	size_t len = strlen(rest), i;
	bool whole = len < MAPPING_NAME_SIZE;

	for (i = 0; i < len && i < MAPPING_NAME_SIZE - 1; i++) {
		char c = rest[i] == '/' ? '.' : is_plain(rest[i]) ? rest[i] : '_';

		if (i == 0 && (c == '.' || c == '-'))
			c = '_'; /* no name begins so */
		ret_name[i] = c;
		whole &= c == rest[i] || c == '.';
	}
	ret_name[i] = '\0';
	if (whole)
		return;
	if (i > MAPPING_NAME_SIZE - 1 - 17)
		i = MAPPING_NAME_SIZE - 1 - 17;
	(void)snprintf(ret_name + i, MAPPING_NAME_SIZE - i, "-%016" PRIx64, hash_of(rest));
}

/* A pattern that begins with a slash is of whole paths, as programs give them. */
static bool is_of(const char *pattern, const char *path)
{
	return fnmatch(pattern, *pattern == '/' ? path : path_rest(path), 0) == 0;
}

static bool wait_parse(const char *word, int *ret_ms)
{
	char *end;
	long seconds;

	if (strcmp(word, "forever") == 0) {
		*ret_ms = -1;
		return true;
	}
	errno = 0;
	seconds = strtol(word, &end, 10);
	if (errno || end == word || *end || seconds < 0 || seconds > WAIT_MAX)
		return false;
	*ret_ms = (int)(seconds * 1000);
	return true;
}

/* The file's word on one path so far: the first line of a kind counts. */
struct answer {
	const char *path;
	struct mapping *mapping;
	bool named, waits;
};

/* One line, which it cuts to pieces. False: an error. */
static bool line_apply(char *line, struct answer *answer)
{
	const char *key = strtok_r(line, " \t\n", &line), *pattern, *value;
	int wait_ms;

	if (!key || *key == '#')
		return true;
	pattern = strtok_r(NULL, " \t\n", &line);
	value = strtok_r(NULL, " \t\n", &line);
	if (!value || strtok_r(NULL, " \t\n", &line))
		return false;
	if (strcmp(key, "name") == 0 && is_name(value)) {
		if (!answer->named && is_of(pattern, answer->path)) {
			strcpy(answer->mapping->name, value); /* is_name bounds it */
			answer->named = true;
		}
		return true;
	}
	if (strcmp(key, "wait") != 0 || !wait_parse(value, &wait_ms))
		return false;
	if (!answer->waits && is_of(pattern, answer->path)) {
		answer->mapping->wait_ms = wait_ms;
		answer->waits = true;
	}
	return true;
}

static int file_apply(FILE *file, struct answer *answer, unsigned *ret_line)
{
	char line[LINE_SIZE];

	for (unsigned n = 1; fgets(line, sizeof(line), file); n++) {
		bool whole = strchr(line, '\n') || feof(file);

		if (!whole || !line_apply(line, answer)) {
			*ret_line = n;
			return -EINVAL;
		}
	}
	return ferror(file) ? -EIO : 0;
}

int mapping_of(const char *path, const char *file, struct mapping *ret, unsigned *ret_line)
{
	struct mapping mapping = {.wait_ms = MAPPING_WAIT_MS};
	struct answer answer = {.path = path, .mapping = &mapping};
	FILE *stream;
	int r;

	*ret_line = 0;
	if (!*path_rest(path) || strlen(path) > MAPPING_PATH_MAX)
		return -EINVAL;
	name_of(path_rest(path), mapping.name);
	stream = file ? fopen(file, "re") : NULL;
	if (file && !stream && errno != ENOENT)
		return -errno;
	r = stream ? file_apply(stream, &answer, ret_line) : 0;
	if (stream)
		(void)fclose(stream);
	if (r < 0)
		return r;
	*ret = mapping;
	return 0;
}
