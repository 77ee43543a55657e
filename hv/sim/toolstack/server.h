/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xen-sim's listening end. A participant's packets are checked in full before they are believed;
 * what is malformed ends that connection and nothing else. Nothing here waits for a participant:
 * replies that do not fit its socket end the connection, too.
 */
#ifndef MSGD_HV_SIM_TOOLSTACK_SERVER_H
#define MSGD_HV_SIM_TOOLSTACK_SERVER_H

#include "hv/sim/toolstack/authority.h"
#include "hv/sim/wire/protocol.h"

struct event;
struct event_base;
struct sim_server;

/* Takes the listening socket over. stopped_limit_ms: see lock.h; 0: never. */
int sim_server_new(struct event_base *base, int listen_fd, uint32_t stopped_limit_ms,
	struct sim_server **ret_server);
void sim_server_free(struct sim_server *server);
/* The event loop was left because some process has overwritten the emulator's memory. */
bool server_is_corrupt(const struct sim_server *server);

/* ---- between server.c and its parts -------------------------------------------------------- */

#include <sys/queue.h>

/* Tools and processes together: what a user of the same uid could exhaust. */
#define SERVER_CONNECTIONS_MAX 512U
#define SERVER_ADOPTED_MAX     512U

/* A connection, and the process behind it once it has attached. */
struct connection {
	LIST_ENTRY(connection) entries;
	struct sim_server *server; /* borrowed */
	int fd;			   /* owned */
	struct event *readable;
	int32_t pid;
	bool greeted;
	uint32_t slot; /* 0: not attached */
	int pid_fd;    /* owned; -1 */
	struct event *died;
	uint32_t ephemeral; /* index + 1 of a domain that ends with this connection */
	uint64_t ephemeral_generation;
};

/* A process that `xen-sim run` started: of a domain, though it may never attach. */
struct adopted {
	LIST_ENTRY(adopted) entries;
	struct sim_server *server;
	int pid_fd; /* owned */
	int32_t pid;
	struct event *died;
	uint32_t domain;
	uint64_t generation;
};

struct sim_server {
	struct authority authority;
	struct event_base *base;   /* borrowed */
	int listen_fd;		   /* owned */
	struct acceptor *acceptor; /* owned */
	struct event *kicked;	   /* slot 0's eventfd */
	struct event *timer;	   /* the next deadline of a vcpu */
	LIST_HEAD(, connection) connections;
	LIST_HEAD(, adopted) adopted;
	uint32_t n_connections;
	uint32_t n_adopted;
};

/* Gives back what the process holds by this connection, if it has attached. */
void connection_detach(struct connection *c);
/* server-domain.c: what the tools ask for. Returns the reply's status. */
int tool_request(struct connection *c, struct sim_message *m, int fd, struct sim_message *reply);
void server_domain_destroy(struct sim_server *s, uint32_t index);
void adopted_end(struct adopted *p);

#endif
