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

struct heads {
	size_t len;
	unsigned n_hosts;
	bool encoding, length, body;
};

static struct heads heads_of(struct evhttp_request *request)
{
	struct heads heads = {0};
	const struct evkeyval *header;

	TAILQ_FOREACH (header, evhttp_request_get_input_headers(request), next) {
		heads.len += strlen(header->key) + strlen(": \r\n") + strlen(header->value);
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
	size_t target_len = strlen(evhttp_request_get_uri(request));

	if (!version_settle(request)) {
		*ret_text = "the version is not HTTP/1.0 or HTTP/1.1";
		return 505;
	}
	if (target_len > REQUEST_BYTES) {
		*ret_text = "the target is too long: see Limits in msg-exporter(8)";
		return 414;
	}
	if (target_len + heads.len > REQUEST_BYTES) {
		*ret_text = "the headers are too long: see Limits in msg-exporter(8)";
		return 431;
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
