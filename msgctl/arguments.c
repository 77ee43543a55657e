/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See arguments.h. */
#include "msgctl/arguments.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "base/number.h"

/* An application that is there, and not busy elsewhere, answers in a thousandth of that. */
#define PING_TIMEOUT_MS 1000

/* The text must be UTF-8. */
static const char *set_text(json_t *request, const char *key, const char *text, size_t len)
{
	return json_object_set_new(request, key, json_stringn(text, len)) == 0
		       ? NULL
		       : "a text that is not UTF-8, or no memory";
}

static const char *set_number(json_t *request, const char *key, const char *text, const char *error)
{
	uint32_t number;

	if (!number_from_text(text, UINT32_MAX, &number))
		return error;
	return json_object_set_new(request, key, json_integer(number)) == 0 ? NULL : "no memory";
}

/* BEFORE, the last such character, and AFTER; *ret_after is NULL where there is none. */
static const char *set_before(
	json_t *request, const char *key, const char *text, char between, const char **ret_after)
{
	const char *at = strrchr(text, between);

	*ret_after = at ? at + 1 : NULL;
	return set_text(request, key, text, at ? (size_t)(at - text) : strlen(text));
}

const char *arguments_domain(json_t *request, char *const *args, unsigned n_args)
{
	return n_args ? set_text(request, "domain", args[0], strlen(args[0])) : NULL;
}

const char *arguments_domain_or_name(json_t *request, char *const *args, unsigned n_args)
{
	const char *name, *error = set_before(request, "domain", args[0], '/', &name);

	return error || !name ? error : set_text(request, "name", name, strlen(name));
}

const char *arguments_name(json_t *request, char *const *args, unsigned n_args)
{
	if (!strchr(args[0], '/'))
		return "a name is said as DOMAIN/NAME";
	return arguments_domain_or_name(request, args, n_args);
}

const char *arguments_channel(json_t *request, char *const *args, unsigned n_args)
{
	static const char form[] = "a channel is said as LINK:NUMBER, as 'msgctl channels' shows";
	const char *number, *error = set_before(request, "link", args[0], ':', &number);

	if (error)
		return error;
	return number ? set_number(request, "channel", number, form) : form;
}

static const char *arguments_link(json_t *request, char *const *args, unsigned n_args)
{
	return set_text(request, "link", args[0], strlen(args[0]));
}

static const char *arguments_application(json_t *request, char *const *args, unsigned n_args)
{
	static const char form[] = "an application is said as DOMAIN:PID";
	const char *pid, *error = set_before(request, "domain", args[0], ':', &pid);

	if (error)
		return error;
	return pid ? set_number(request, "pid", pid, form) : form;
}

static const struct {
	const char *word;
	const char *(*set)(json_t *request, char *const *args, unsigned n_args);
	const char *kick; /* the operation */
} things[] = {
	{"domain", arguments_domain, "kick-domain"},
	{"name", arguments_name, "kick-name"},
	{"link", arguments_link, "kick-link"},
	{"application", arguments_application, "kick-application"},
	{"channel", arguments_channel, NULL},
};

const char *arguments_thing(json_t *request, char *const *args, unsigned n_args)
{
	for (size_t i = 0; i < ARRAY_SIZE(things); i++) {
		if (strcmp(args[0], things[i].word) == 0)
			return things[i].set(request, args + 1, n_args - 1);
	}
	return "a thing is a domain, name, link, application or channel";
}

const char *arguments_ping(json_t *request, char *const *args, unsigned n_args)
{
	if (!json_object_get(request, "timeout_ms"))
		(void)json_object_set_new(request, "timeout_ms", json_integer(PING_TIMEOUT_MS));
	if (n_args == 1)
		return arguments_name(request, args, n_args);
	if (strcmp(args[0], "application") != 0)
		return "it is for a DOMAIN/NAME, or 'application' DOMAIN:PID";
	return arguments_application(request, args + 1, 1);
}

const char *arguments_captured(json_t *request, char *const *args, unsigned n_args)
{
	if (strcmp(args[0], "application") == 0)
		return "it is of a domain, name, link or channel";
	return arguments_thing(request, args, n_args);
}

const char *arguments_kick(json_t *request, char *const *args, unsigned n_args)
{
	for (size_t i = 0; i < ARRAY_SIZE(things); i++) {
		if (strcmp(args[0], things[i].word) != 0 || !things[i].kick)
			continue;
		(void)set_text(request, "op", things[i].kick, strlen(things[i].kick));
		return things[i].set(request, args + 1, n_args - 1);
	}
	return "it is for an application, name, domain or link: 'msgctl close' ends a channel";
}

const char *arguments_quota(json_t *request, char *const *args, unsigned n_args)
{
	const char *value, *error;

	if (strcmp(args[0], "show") == 0 && n_args <= 2) {
		(void)set_text(request, "op", "limits", strlen("limits"));
		return arguments_domain(request, args + 1, n_args - 1);
	}
	if (strcmp(args[0], "set") != 0 || n_args != 3)
		return "it is 'show [DOMAIN]' or 'set DOMAIN KEY=NUMBER'";
	(void)set_text(request, "op", "set-limit", strlen("set-limit"));
	error = arguments_domain(request, args + 1, 1);
	if (!error)
		error = set_before(request, "limit", args[2], '=', &value);
	if (error)
		return error;
	return value ? set_number(request, "value", value, "a limit is a number")
		     : "a limit is said as KEY=NUMBER";
}

const char *arguments_level(json_t *request, char *const *args, unsigned n_args)
{
	return set_text(request, "level", args[0], strlen(args[0]));
}

const char *arguments_question(json_t *request, char *const *args, unsigned n_args)
{
	const char *name = args[1], *error = arguments_domain(request, args, n_args);

	if (strchr(args[0], '/'))
		return "FROM is a domain, which has no '/'";
	if (!error && strchr(name, '/')) {
		if (json_object_get(request, "listen"))
			return "with --listen it is FROM NAME";
		error = set_before(request, "to", args[1], '/', &name);
	}
	return error ? error : set_text(request, "name", name, strlen(name));
}

bool interval_from_text(const char *text, double *ret_seconds)
{
	const char *point = strchr(text, '.');
	double seconds = strtod(text, NULL);

	if (text[strspn(text, "0123456789.")] || (point && strchr(point + 1, '.')) ||
		seconds < INTERVAL_MIN_S || seconds > INTERVAL_MAX_S)
		return false;
	*ret_seconds = seconds;
	return true;
}
