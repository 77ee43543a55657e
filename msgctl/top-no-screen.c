/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msgctl top where it is built without ncurses: tables only. */
#include <stdio.h>

#include "msgctl/command.h"
#include "msgctl/top.h"

int top_screen(struct top_course *course)
{
	(void)fprintf(stderr, "msgctl: top: built without ncurses: use --batch\n");
	return EXIT_USAGE;
}
