/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See ask.h. */
#include "msgio/options/ask.h"

#include <errno.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "libmsg/libmsg.h"
#include "msgio/options/words.h"

/* Takes a field's value in. NULL, or what is wrong. */
typedef const char *take_fn(const json_t *value, struct ask *ask);

static const char *take_address(const json_t *value, struct ask *ask)
{
	const char *text = json_string_value(value);

	/* There is no NUL in it: json_loadb takes none. */
	if (!text || !*text || json_string_length(value) >= sizeof(ask->address))
		return "a name is a string, and has 191 bytes at most";
	if (ask->address[0])
		return "connect and listen in one line";
	strcpy(ask->address, text);
	return NULL;
}

static const char *take_connect(const json_t *value, struct ask *ask)
{
	return take_address(value, ask);
}

static const char *take_listen(const json_t *value, struct ask *ask)
{
	ask->listens = true;
	return take_address(value, ask);
}

static const char *take_type(const json_t *value, struct ask *ask)
{
	const char *text = json_string_value(value);

	ask->type = text ? word_type(text) : 0;
	return ask->type == LIBMSG_STREAM || ask->type == LIBMSG_SEQPACKET
		       ? NULL
		       : "type is \"stream\" or \"seqpacket\"";
}

static const char *take_transport(const json_t *value, struct ask *ask)
{
	const char *text = json_string_value(value);

	ask->transport = text ? word_transport(text) : -1;
	return ask->transport >= 0 ? NULL
				   : "transport is \"any\", \"argo\", \"argo-strict\" or \"grant\"";
}

static const char *take_wait(const json_t *value, struct ask *ask)
{
	json_int_t seconds = json_integer_value(value);

	ask->wait = true;
	ask->wait_ms = -1;
	if (json_is_true(value))
		return NULL;
	if (!json_is_integer(value) || seconds < 1 || seconds > SECONDS_MAX)
		return "wait is true, or a number of seconds";
	ask->wait_ms = (int)seconds * 1000;
	return NULL;
}

static const char *take_backlog(const json_t *value, struct ask *ask)
{
	json_int_t backlog = json_integer_value(value);

	if (!json_is_integer(value) || backlog < 1 || backlog > (json_int_t)BACKLOG_MAX)
		return "backlog is a number, 1 to 4096";
	ask->backlog = (int)backlog;
	return NULL;
}

enum { FOR_BOTH, FOR_CONNECT, FOR_LISTEN };

static const struct field {
	const char *name;
	int whose;
	take_fn *take;
} fields[] = {
	{"connect", FOR_BOTH, take_connect},
	{"listen", FOR_BOTH, take_listen},
	{"type", FOR_BOTH, take_type},
	{"transport", FOR_CONNECT, take_transport},
	{"wait", FOR_CONNECT, take_wait},
	{"backlog", FOR_LISTEN, take_backlog},
};

static const char *take_all(const json_t *object, struct ask *ask)
{
	const char *error = NULL;
	size_t known = 0;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const json_t *value = json_object_get(object, fields[i].name);

		if (!value)
			continue;
		known++;
		/* The first two have said which of them it is. */
		if (fields[i].whose == (ask->listens ? FOR_CONNECT : FOR_LISTEN))
			error = ask->listens ? "wait and transport are of a connect"
					     : "backlog is of a listen";
		else
			error = fields[i].take(value, ask);
		if (error)
			return error;
	}
	if (known < json_object_size(object))
		return "a field that is none of connect, listen, type, wait, transport and backlog";
	return ask->address[0] ? NULL : "neither connect nor listen";
}

int ask_parse(const char *line, size_t len, struct ask *ret_ask, char ret_error[ASK_ERROR_SIZE])
{
	struct ask ask = {.type = LIBMSG_STREAM,
		.transport = LIBMSG_TRANSPORT_ANY,
		.wait_ms = ANSWER_MS,
		.backlog = ASK_BACKLOG};
	json_t *object =
		len > ASK_LINE_MAX ? NULL : json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	const char *error = json_is_object(object) ? take_all(object, &ask) : "no object of JSON";

	json_decref(object);
	if (error) {
		(void)snprintf(ret_error, ASK_ERROR_SIZE, "%s", error);
		return -EINVAL;
	}
	*ret_ask = ask;
	return 0;
}
