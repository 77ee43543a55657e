/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two sides of a forward, as people write them: "listen:NAME", "unix-connect:/run/x",
 * "tcp-listen:127.0.0.1:80". Form only: nothing is opened or looked up.
 */
#ifndef MSGD_MSGIO_OPTIONS_ADDRESS_H
#define MSGD_MSGIO_OPTIONS_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "proto/limits.h"

/* A sentence; a longer one is cut. */
#define ADDRESS_ERROR_SIZE 512U
/* The longest address of a channel, path or abstract name fits. */
#define ADDRESS_TEXT_SIZE 256U

enum address_kind {
	ADDRESS_CHANNEL,
	ADDRESS_UNIX,
	ADDRESS_TCP,
	ADDRESS_VSOCK,
};

struct address {
	enum address_kind kind;
	bool listens;		       /* else it connects */
	char channel[ADDRESS_SIZE];    /* of ADDRESS_CHANNEL: [DOMAIN/]NAME, or NAME */
	struct sockaddr_storage where; /* of the others */
	socklen_t where_len;
};

/* 0; -EINVAL with a sentence that names the cause, and *ret_address untouched. */
int address_parse(
	const char *text, struct address *ret_address, char ret_error[ADDRESS_ERROR_SIZE]);

/* The same of a bare NAME to listen on, and of [DOMAIN/]NAME to connect to. */
int address_parse_channel(const char *text, bool listens, struct address *ret_address,
	char ret_error[ADDRESS_ERROR_SIZE]);

/* The same of a bare PATH, to listen at. */
int address_parse_path(
	const char *text, struct address *ret_address, char ret_error[ADDRESS_ERROR_SIZE]);

/* For people: "web/echo", "/run/x", "@x", "TCP 127.0.0.1 port 80", "VSOCK port 5". */
void address_describe(const struct address *address, char ret_text[ADDRESS_TEXT_SIZE]);

/* The path of a socket file; NULL: there is none. */
const char *address_path(const struct address *address);

#endif
