/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The forms of a command's arguments, as keys of a request: msgctl(8). Each returns NULL, or what
 * is wrong with them; msgd judges the rest. A form that has several operations sets "op" as well.
 *
 * Included by: msgctl, tests.
 */
#ifndef MSGD_MSGCTL_ARGUMENTS_H
#define MSGD_MSGCTL_ARGUMENTS_H

#include <jansson.h>
#include <stdbool.h>

/*
 * Of ping and top. msgd asks an application ten times a second at most whether it is there, and
 * once a second for its counts (PROTOCOL.md 5.8); other parts of a list may change sooner.
 */
#define INTERVAL_MIN_S 0.1
#define INTERVAL_MAX_S 3600.0

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
/* The same but for applications. */
const char *arguments_captured(json_t *request, char *const *args, unsigned n_args);
/* "show" [DOMAIN], "set" DOMAIN KEY=NUMBER */
const char *arguments_quota(json_t *request, char *const *args, unsigned n_args);
/* FROM [TO/]NAME; with --listen FROM NAME */
const char *arguments_question(json_t *request, char *const *args, unsigned n_args);
/* DOMAIN/NAME, or "application" DOMAIN:PID; with a time limit, if none is there. */
const char *arguments_ping(json_t *request, char *const *args, unsigned n_args);
const char *arguments_level(json_t *request, char *const *args, unsigned n_args);

/* "0.5": digits and at most one point, INTERVAL_MIN_S to INTERVAL_MAX_S. */
bool interval_from_text(const char *text, double *ret_seconds);

#endif
