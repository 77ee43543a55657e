/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The forms of a command's arguments, as keys of a request: msgctl(8). Each returns NULL, or what
 * is wrong with them; msgd judges the rest. A form that has several operations sets "op" as well.
 *
 * Included by: msgctl/command.c.
 */
#ifndef MSGD_MSGCTL_ARGUMENTS_H
#define MSGD_MSGCTL_ARGUMENTS_H

#include <jansson.h>

/* DOMAIN, which may be absent. */
const char *arguments_domain(json_t *request, char *const *args, unsigned n_args);
/* DOMAIN/NAME */
const char *arguments_name(json_t *request, char *const *args, unsigned n_args);
/* DOMAIN or DOMAIN/NAME */
const char *arguments_domain_or_name(json_t *request, char *const *args, unsigned n_args);
/* LINK:NUMBER */
const char *arguments_channel(json_t *request, char *const *args, unsigned n_args);
/* "domain" DOMAIN, "name" DOMAIN/NAME, "link" LINK, "application" DOMAIN:PID */
const char *arguments_kick(json_t *request, char *const *args, unsigned n_args);
/* These, and "channel" LINK:NUMBER; without "op". */
const char *arguments_thing(json_t *request, char *const *args, unsigned n_args);
/* "show" [DOMAIN], "set" DOMAIN KEY=NUMBER */
const char *arguments_quota(json_t *request, char *const *args, unsigned n_args);
/* FROM [TO/]NAME; with --listen FROM NAME */
const char *arguments_question(json_t *request, char *const *args, unsigned n_args);
/* DOMAIN/NAME, or "application" DOMAIN:PID; with a time limit, if none is there. */
const char *arguments_ping(json_t *request, char *const *args, unsigned n_args);
const char *arguments_level(json_t *request, char *const *args, unsigned n_args);

#endif
