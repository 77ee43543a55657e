/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests that evhttp takes, and that RFC 9112 or a limit of ours does not. */
#ifndef MSGD_EXPORTER_FAULT_H
#define MSGD_EXPORTER_FAULT_H

struct evhttp_request;

/*
 * 0, or the status of the answer with a sentence, which is static. The connection then ends with
 * the answer. The version of the request is 1.0 or 1.1 afterwards: the answer has the same.
 */
int request_fault(struct evhttp_request *request, const char **ret_text);

#endif
