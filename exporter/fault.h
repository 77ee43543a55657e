/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests that evhttp takes, and that RFC 9112 or a limit of ours does not. Pure. */
#ifndef MSGD_EXPORTER_FAULT_H
#define MSGD_EXPORTER_FAULT_H

#include <stddef.h>

struct evhttp_request;

/* The heads of requests, byte by byte as they come, before evhttp has any of it. */
struct head {
	size_t len;	  /* of the one that is being read */
	unsigned n_lines; /* of it that are whole */
	size_t line_len;  /* of the last line, without its end */
	int status;	  /* not 0: the next one must not be read; then it stays so */
	const char *text; /* static: why */
};

void head_scan(struct head *head, const char *bytes, size_t len);

/*
 * 0, or the status of the answer with a sentence, which is static. The connection then ends with
 * the answer. The version of the request is 1.0 or 1.1 afterwards: the answer has the same.
 */
int request_fault(struct evhttp_request *request, const char **ret_text);

#endif
