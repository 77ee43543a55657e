/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The forms of a command's arguments, as keys of a request: msgctl(8). Each returns NULL, or what
 * is wrong with them; msgd judges the rest.
 *
 * Included by: msgctl/command.c.
 */
#ifndef MSGD_MSGCTL_ARGUMENTS_H
#define MSGD_MSGCTL_ARGUMENTS_H

#include <jansson.h>

const char *arguments_domain(json_t *request, char *const *args, unsigned n_args);

#endif
