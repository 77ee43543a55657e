/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See usage.h. */
#include "msgctl/usage.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msgctl/complain.h"

static struct {
	char *text; /* the stream's */
	size_t size;
	FILE *stream, *real; /* stream: NULL, unless words are kept */
} usage;

/* The option, or a beginning of it, as getopt understands it. */
static bool wants_json(char *const *argv)
{
	for (; *argv && strcmp(*argv, "--") != 0; argv++) {
		size_t len = strlen(*argv);

		if (len > 2 && strncmp(*argv, "--json", len) == 0)
			return true;
	}
	return false;
}

static void stream_end(void)
{
	stderr = usage.real;
	(void)fclose(usage.stream);
	usage.stream = NULL;
}

/* The first line has the error, after the program's name. */
static void on_end(int status, void *arg)
{
	const char *text;

	if (!usage.stream)
		return;
	stream_end();
	usage.text[strcspn(usage.text, "\n")] = '\0';
	text = strstr(usage.text, ": ");
	if (status != EXIT_SUCCESS)
		complain_text(status, "EINVAL", "", text ? text + 2 : usage.text);
}

void usage_begin(char *const *argv)
{
	FILE *stream;

	if (!wants_json(argv))
		return;
	complain_as_json();
	stream = on_exit(on_end, NULL) == 0 ? open_memstream(&usage.text, &usage.size) : NULL;
	if (!stream)
		return;
	usage.stream = stream;
	usage.real = stderr;
	stderr = stream;
}

void usage_good(void)
{
	if (!usage.stream)
		return;
	stream_end();
	free(usage.text);
}
