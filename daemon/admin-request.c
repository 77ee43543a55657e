/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parsing one line of an admin client. Pure, and fuzzed: tests/fuzz/fuzz-admin.c. */
#include <errno.h>
#include <string.h>

#include "daemon/admin.h"

const char *admin_op_name(enum admin_op op)
{
	static const char *const names[ADMIN_OP_COUNT] = {
		[ADMIN_STATUS] = "status",
		[ADMIN_DOMAINS] = "domains",
		[ADMIN_NAMES] = "names",
		[ADMIN_LINKS] = "links",
		[ADMIN_CHANNELS] = "channels",
		[ADMIN_RELOAD] = "reload",
	};

	return names[op];
}

int admin_request_parse(const char *line, size_t len, enum admin_op *ret_op, const char **ret_error)
{
	json_t *request;
	const char *op;
	int r = -EINVAL;

	*ret_error = "not a JSON object";
	if (len > ADMIN_LINE_MAX)
		return -EINVAL;
	request = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	if (!request)
		return -EINVAL;
	op = json_string_value(json_object_get(request, "op"));
	if (json_is_object(request)) {
		*ret_error = op ? "unknown op" : "no op";
		/* A key that is not understood might have narrowed what is asked for. */
		if (op && json_object_size(request) != 1) {
			*ret_error = "unknown key";
			op = NULL;
		}
	}
	for (int i = 0; op && i < ADMIN_OP_COUNT; i++) {
		if (strcmp(op, admin_op_name(i)) != 0)
			continue;
		*ret_op = i;
		r = 0;
	}
	json_decref(request);
	return r;
}
