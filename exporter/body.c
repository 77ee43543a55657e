/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See body.h. */
#include "exporter/body.h"

#include <errno.h>
#include <event2/buffer.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct body *body_new(int status, const char *type, char *bytes, size_t len)
{
	struct body *body = bytes ? calloc(1, sizeof(*body)) : NULL;

	if (!body) {
		free(bytes);
		return NULL;
	}
	*body = (struct body){.n_refs = 1,
		.status = status,
		.made_ms = monotonic_ms(),
		.type = type,
		.len = len,
		.bytes = bytes};
	return body;
}

struct body *body_new_error(int status, const char *text)
{
	json_t *error = json_pack("{s:s}", "error", text);
	char *bytes = json_dumps(error, JSON_COMPACT);

	json_decref(error);
	return body_new(status, "application/json", bytes, bytes ? strlen(bytes) : 0);
}

struct body *body_ref(struct body *body)
{
	body->n_refs++;
	return body;
}

void body_unref(struct body *body)
{
	if (!body || --body->n_refs > 0)
		return;
	if (body->sum)
		*body->sum -= body->len;
	free(body->bytes);
	free(body);
}

void body_count(struct body *body, size_t *sum)
{
	body->sum = sum;
	*sum += body->len;
}

uint64_t body_age_ms(const struct body *body)
{
	return monotonic_ms() - body->made_ms;
}

static void on_sent(const void *bytes, size_t len, void *arg)
{
	body_unref(arg);
}

int body_add_to(struct body *body, struct evbuffer *buffer)
{
	if (evbuffer_add_reference(buffer, body->bytes, body->len, on_sent, body_ref(body)) == 0)
		return 0;
	body_unref(body);
	return -ENOMEM;
}
