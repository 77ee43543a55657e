/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reload: msgd has reloaded before it answers. After an error, which main.c has printed, the former
 * settings stay in force.
 */
#include <stdio.h>

#include "msgctl/command.h"

void reload_print(const json_t *answer)
{
	(void)puts("configuration and policy reloaded");
}
