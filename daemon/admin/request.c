/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parses one line of an admin client. Pure, and fuzzed: tests/fuzz/admin.c. */
#include <errno.h>
#include <string.h>

#include "daemon/admin/socket.h"

static const char *const op_names[ADMIN_OP_COUNT] = {
	[ADMIN_STATUS] = "status",
	[ADMIN_DOMAINS] = "domains",
	[ADMIN_NAMES] = "names",
	[ADMIN_LINKS] = "links",
	[ADMIN_CHANNELS] = "channels",
	[ADMIN_RELOAD] = "reload",
	[ADMIN_QUIESCE] = "quiesce",
	[ADMIN_RESUME] = "resume",
};

const char *admin_op_name(enum admin_op op)
{
	return op_names[op];
}

/* NULL, or the error as a sentence. */
static const char *admin_op_parse(const json_t *object, struct admin_request *request)
{
	const char *op = json_string_value(json_object_get(object, "op"));

	if (!op)
		return "no op";
	for (int i = 0; i < ADMIN_OP_COUNT; i++) {
		if (strcmp(op, op_names[i]) != 0)
			continue;
		request->op = i;
		return NULL;
	}
	return "unknown op";
}

static const char *admin_domain_parse(const json_t *object, struct admin_request *request)
{
	const json_t *value = json_object_get(object, "domain");
	size_t len = json_string_length(value);

	if (len == 0)
		return "no domain";
	if (len >= sizeof(request->domain))
		return "the domain is too long";
	/* There is no NUL in it: json_loadb takes none. */
	memcpy(request->domain, json_string_value(value), len);
	return NULL;
}

static const char *admin_timeout_parse(
	const json_t *object, struct admin_request *request, size_t *n_known)
{
	const json_t *value = json_object_get(object, "timeout_ms");

	request->timeout_ms = ADMIN_TIMEOUT_MS;
	if (!value)
		return NULL;
	++*n_known;
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		json_integer_value(value) > ADMIN_TIMEOUT_MAX_MS)
		return "timeout_ms is out of range";
	request->timeout_ms = (uint32_t)json_integer_value(value);
	return NULL;
}

static const char *admin_object_parse(const json_t *object, struct admin_request *request)
{
	const char *error = admin_op_parse(object, request);
	size_t n_known = 1;

	if (!error && (request->op == ADMIN_QUIESCE || request->op == ADMIN_RESUME)) {
		error = admin_domain_parse(object, request);
		n_known++;
	}
	if (!error && request->op == ADMIN_QUIESCE)
		error = admin_timeout_parse(object, request, &n_known);
	/* An unknown key may have been meant to narrow the request. */
	if (!error && json_object_size(object) != n_known)
		error = "unknown key";
	return error;
}

int admin_request_parse(
	const char *line, size_t len, struct admin_request *ret_request, const char **ret_error)
{
	struct admin_request request = {.domain = ""};
	const char *error = "not a JSON object";
	json_t *object =
		len > ADMIN_LINE_MAX ? NULL : json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(object))
		error = admin_object_parse(object, &request);
	json_decref(object);
	if (error) {
		*ret_error = error;
		return -EINVAL;
	}
	*ret_request = request;
	return 0;
}
