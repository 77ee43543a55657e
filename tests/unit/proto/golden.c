/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parses the fenced blocks "```golden NAME" and the limits' table of PROTOCOL.md. */
#include "tests/unit/proto/golden.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define FENCE "```golden "

static struct golden goldens[GOLDEN_MAX];
static size_t n_goldens;

static void __attribute__((noreturn)) die(const char *what, const char *detail)
{
	fprintf(stderr, "%s: %s: %s\n", PROTOCOL_MD, what, detail);
	exit(1);
}

static void hex_append(struct golden *golden, const char *line)
{
	unsigned byte;

	while (*line) {
		if (isspace((unsigned char)*line)) {
			line++;
			continue;
		}
		if (!isxdigit((unsigned char)line[0]) || !isxdigit((unsigned char)line[1]) ||
			sscanf(line, "%2x", &byte) != 1 || golden->len == GOLDEN_BYTES_MAX)
			die("not hex, or too much of it", line);
		golden->bytes[golden->len++] = (uint8_t)byte;
		line += 2;
	}
}

static struct golden *block_open(const char *line)
{
	struct golden *golden = &goldens[n_goldens];

	if (n_goldens == GOLDEN_MAX)
		die("too many blocks", line);
	if (sscanf(line, FENCE "%31[A-Z_]", golden->name) != 1)
		die("a block without name", line);
	n_goldens++;
	return golden;
}

const struct golden *golden_load(size_t *ret_n)
{
	_cleanup_fclose_ FILE *file = n_goldens ? NULL : fopen(PROTOCOL_MD, "re");
	struct golden *golden = NULL;
	char line[1024];

	if (!n_goldens && !file)
		die("cannot open", "fopen");
	while (file && fgets(line, sizeof(line), file)) {
		if (!golden && strncmp(line, FENCE, strlen(FENCE)) == 0)
			golden = block_open(line);
		else if (golden && strncmp(line, "```", 3) == 0)
			golden = NULL;
		else if (golden && line[0] != '#')
			hex_append(golden, line);
	}
	if (golden || !n_goldens)
		die("a block has no end, or there is none", "```");
	*ret_n = n_goldens;
	return goldens;
}

const struct golden *golden_find(const char *name)
{
	size_t n;
	const struct golden *all = golden_load(&n);

	for (size_t i = 0; i < n; i++) {
		if (strcmp(all[i].name, name) == 0)
			return &all[i];
	}
	die("no such block", name);
}

unsigned long golden_limit(const char *name)
{
	_cleanup_fclose_ FILE *file = fopen(PROTOCOL_MD, "re");
	char line[1024], cell[64], value[64];

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "| %63s | %63s |", cell, value) == 2 && strcmp(cell, name) == 0)
			return strtoul(value, NULL, 0);
	}
	die("no such limit", name);
}
