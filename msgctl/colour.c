/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See colour.h. */
#include "msgctl/colour.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool colour_wanted(void)
{
	static int known = -1;

	if (known < 0) {
		const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

		known = isatty(STDOUT_FILENO) && (!no || !*no) && term && strcmp(term, "dumb") != 0;
	}
	return known;
}

const char *colour_begin(enum colour colour)
{
	if (!colour_wanted() || colour == COLOUR_PLAIN)
		return "";
	return colour == COLOUR_BAD ? "\033[31m" : "\033[1m";
}

const char *colour_end(void)
{
	return colour_wanted() ? "\033[0m" : "";
}
