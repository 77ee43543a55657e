/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fault.h. */
#include "exporter/fault.h"

#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "exporter/limits.h"

static void head_refuse(struct head *head, int status, const char *text)
{
	head->status = status;
	head->text = text;
}

static void line_end(struct head *head)
{
	if (!head->line_len)
		*head = (struct head){0};
	head->n_lines += head->line_len != 0;
	head->line_len = 0;
	if (head->n_lines > HEADERS_MAX + 1)
		head_refuse(head, 431, "too many headers: see Limits in msg-exporter(8)");
}

void head_scan(struct head *head, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len && !head->status; i++) {
		head->len++;
		if (!bytes[i])
			head_refuse(head, HTTP_BADREQUEST, "a request has no NUL");
		else if (head->len > REQUEST_BYTES && !head->n_lines)
			head_refuse(
				head, 414, "the target is too long: see Limits in msg-exporter(8)");
		else if (head->len > REQUEST_BYTES)
			head_refuse(head, 431,
				"the headers are too long: see Limits in msg-exporter(8)");
		else if (bytes[i] == '\n')
			line_end(head);
		else
			head->line_len += bytes[i] != '\r';
	}
}

struct heads {
	unsigned n_hosts;
	bool encoding, length, body;
};

static struct heads heads_of(struct evhttp_request *request)
{
	struct heads heads = {0};
	const struct evkeyval *header;

	TAILQ_FOREACH (header, evhttp_request_get_input_headers(request), next) {
		if (strcasecmp(header->key, "Host") == 0) {
			heads.n_hosts++;
		} else if (strcasecmp(header->key, "Transfer-Encoding") == 0) {
			heads.encoding = true;
		} else if (strcasecmp(header->key, "Content-Length") == 0) {
			heads.length = true;
			heads.body |= strcmp(header->value, "0") != 0;
		}
	}
	return heads;
}

/* False: neither 1.0 nor a later minor version. */
static bool version_settle(struct evhttp_request *request)
{
	bool good = request->major == 1 && request->minor >= 0;

	request->major = 1;
	if (!good || request->minor > 1)
		request->minor = 1;
	return good;
}

int request_fault(struct evhttp_request *request, const char **ret_text)
{
	struct heads heads = heads_of(request);

	if (!version_settle(request)) {
		*ret_text = "the version is not HTTP/1.0 or HTTP/1.1";
		return 505;
	}
	if (heads.n_hosts > 1 || (heads.n_hosts == 0 && request->minor >= 1)) {
		*ret_text = heads.n_hosts ? "Host is there twice" : "Host is missing";
		return HTTP_BADREQUEST;
	}
	if (heads.encoding && heads.length) {
		*ret_text = "a request has Content-Length or Transfer-Encoding, not both";
		return HTTP_BADREQUEST;
	}
	if (heads.encoding || heads.body) {
		*ret_text = "a request has no body here";
		return HTTP_ENTITYTOOLARGE;
	}
	return 0;
}
