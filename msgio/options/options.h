/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line of msgio. Nothing is opened: a word that is wrong is refused before that. */
#ifndef MSGD_MSGIO_OPTIONS_OPTIONS_H
#define MSGD_MSGIO_OPTIONS_OPTIONS_H

#include <stdint.h>
#include <sys/types.h>

#include "msgio/options/address.h"

enum command {
	COMMAND_NONE,
	COMMAND_CONNECT,
	COMMAND_LISTEN,
	COMMAND_EXEC,
	COMMAND_ACTIVATE,
	COMMAND_FORWARD,
	COMMAND_SERVE,
};

/* Of the program: see EXIT STATUS in msgio(1). */
enum exit_status {
	STATUS_WHOLE = 0,
	STATUS_FAILURE = 1,
	STATUS_USAGE = 2,
	STATUS_NO_CONNECTION = 3,
	STATUS_BROKEN = 4,
	STATUS_CLOSED = 5,
};

struct io_options {
	enum command command;
	const char *hv; /* borrowed from argv, or NULL */
	int type;	/* LIBMSG_STREAM and so on */
	int transport;	/* enum libmsg_transport */
	bool wait;	/* for what is not there yet */
	int wait_ms;	/* for an answer; -1: for ever */
	uint32_t max_connections;
	uint32_t time_limit_s;	/* of a program; 0: none */
	uint32_t start_limit_s; /* of a program that is to take a connection */
	uint32_t idle_s;	/* of a program without connections; 0: it stays */
	uint32_t mode;		/* of a socket file */
	struct address from;	/* of all commands but connect */
	struct address to;	/* of connect and forward */
	char **program;		/* of exec and activate: borrowed from argv */
};

/* --help, --version and wrong usage end the program. */
void io_options_parse(int argc, char **argv, struct io_options *ret_options);

#endif
