/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msgctl top where it is built without ncurses: tables only. */
#include <errno.h>

#include "msgctl/command.h"
#include "msgctl/complain.h"
#include "msgctl/top.h"

int top_screen(struct top_course *course)
{
	complain(EXIT_USAGE, -ENOSYS, "top: built without ncurses: use --batch");
	return EXIT_USAGE;
}
