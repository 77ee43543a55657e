/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See admin-client.h. */
#include "msgctl/admin-client.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "msgctl/admin-exchange.h"

/* The longest line of an answer that goes on, an event. */
#define LINE_MAX_BYTES 8192U
#define CONNECT_MS     5000U

/* Says on stderr why there is no such answer; false: it is one. r: 0, or a negative errno. */
static bool admin_complain(
	const char *socket_path, const char *from, const json_t *answer, int r, uint32_t limit_ms)
{
	char text[ADMIN_TROUBLE_SIZE];
	bool trouble = admin_trouble(socket_path, from, answer, r, limit_ms, text);

	if (trouble)
		(void)fprintf(stderr, "msgctl: %s\n", text);
	return trouble;
}

json_t *admin_ask(
	const char *socket_path, const char *from, const json_t *request, uint32_t limit_ms)
{
	int r;
	json_t *answer = admin_exchange(socket_path, request, limit_ms, &r);

	if (!admin_complain(socket_path, from, answer, r, limit_ms))
		return answer;
	json_decref(answer);
	return NULL;
}

bool admin_tell(const char *socket_path, const char *from, const json_t *request, uint32_t limit_ms)
{
	int r;
	json_t *answer = admin_exchange(socket_path, request, limit_ms, &r);
	bool told =
		json_is_object(answer) || !admin_complain(socket_path, from, answer, r, limit_ms);

	json_decref(answer);
	return told;
}

/* ---- an answer that goes on ----------------------------------------------------------------- */

/* True: the line is an object, and was handed on. */
static bool follow_line(const char *socket_path, const char *from, const char *line,
	void (*on_object)(const json_t *object))
{
	json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	bool good = !admin_complain(socket_path, from, object, 0, 0);

	if (good)
		on_object(object);
	json_decref(object);
	return good;
}

void admin_follow(const char *socket_path, const char *from, const json_t *request,
	void (*on_object)(const json_t *object))
{
	_cleanup_close_ int fd = -1;
	int r = admin_connect(socket_path, CONNECT_MS, &fd);
	char line[LINE_MAX_BYTES];
	FILE *stream;

	if (r == 0)
		r = admin_send(fd, request);
	stream = r == 0 ? fdopen(fd, "r") : NULL;
	if (!stream) {
		(void)admin_complain(socket_path, from, NULL, r < 0 ? r : -errno, CONNECT_MS);
		return;
	}
	fd = -1; /* the stream's */
	while (fgets(line, sizeof(line), stream) && follow_line(socket_path, from, line, on_object))
		;
	if (feof(stream))
		(void)fprintf(stderr, "msgctl: %s: msgd has closed the connection\n", socket_path);
	(void)fclose(stream);
}
