/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A benchmark consists of a peer (a way to carry messages between two processes), a case (the work
 * to be done) and a result. Every round runs each case over each peer in turn, each time in two new
 * processes, so that only figures of one round are compared.
 */
#ifndef MSGD_BENCH_H
#define MSGD_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_MESSAGE_MAX 65536U
#define ROUNDS_MAX	  99

/* Made before the two processes are forked, and shared by both. */
struct pair {
	const char *hv;	     /* "sim:PATH": the domains left and right exist there; or "xen" */
	const char *address; /* DOMAIN/NAME to connect to */
	const char *dir;     /* for sockets */
	int transport;	     /* peer->transport */
	int spin_us;	     /* libmsg's LIBMSG_SPIN */
	int rcvbuf;	     /* libmsg's LIBMSG_RCVBUF; 0: its default */
	int socks[2];	     /* a socket pair, or a listener in [0] */
	void *shared;	     /* a page */
	/* Between domains of a real Xen. */
	int peer_domid;	  /* the domain of the other end */
	const char *path; /* libxenvchan's */
	size_t len;	  /* of the messages that are measured */
};

/* The end of one process. */
struct end {
	struct pair *pair; /* borrowed */
	int role;	   /* 0: starts; 1: answers */
	int sock;
	uint32_t turn;
	void *ctx, *listener, *channel;
};

enum peer_flag {
	PEER_BASELINE =
		1,	  /* carries no data: shown, and measured in round trips of 64 bytes only */
	PEER_BATCHES = 2, /* knows `more` */
};

/* Functions end the process, with a message, when they fail. */
struct peer {
	const char *name;
	unsigned flags;
	int transport;
	void (*prepare)(struct pair *pair); /* before the fork; may be NULL */
	void (*open)(struct end *end);
	void (*send)(struct end *end, const void *data, size_t len, bool more);
	size_t (*recv)(struct end *end, void *data, size_t size);
	void (*close)(struct end *end);
	/* For the connect case, or NULL: one new connection, accepted, closed. */
	void (*listen)(struct end *end);
	void (*connect)(struct end *end);
	void (*accept)(struct end *end);
	void (*disconnect)(struct end *end);
};

extern const struct peer peer_seqpacket, peer_argo, peer_strict, peer_grant, peer_argo_fd,
	peer_grant_fd, peer_futex, peer_cache_line, peer_vchan;

enum pinning { PIN_NONE, PIN_ONE_CPU, PIN_TWO_CPUS };

struct work {
	size_t len; /* bytes of a message */
	int batch;  /* messages of which all but the last are sent with `more`; 1: none */
	uint64_t run_ns;
};

/* Written by the process with role 0; cpu_ns is both processes' by the end. */
struct result {
	uint64_t n; /* messages, round trips or connections */
	uint64_t ns;
	uint64_t cpu_ns;
};

/* The work of each side, for work->run_ns. Role 0 fills *ret_result; contents are checked. */
typedef void work_fn(const struct peer *peer, struct end *end, const struct work *work,
	struct result *ret_result);

work_fn work_one_way, work_round_trip, work_connect;

uint64_t now_ns(void);
uint64_t thread_cpu_ns(void);

struct msg_ctx;

/* Ends the process, and says what libmsg says of it. */
_Noreturn void bench_fail(const char *what);
/* A context in a domain of the emulator, or in this one of a real Xen. */
struct msg_ctx *bench_context(
	const char *hv, const char *domain, unsigned flags, int transport, int timeout_ms);

/* Of n values, 1 to ROUNDS_MAX. */
double median(const double *values, int n);
double least(const double *values, int n);
double most(const double *values, int n);

/* The machine's load between two looks. */
struct machine {
	uint64_t total, idle, steal; /* ticks, all CPUs */
	uint64_t own;		     /* ticks of this process' children */
};

void machine_look(struct machine *ret_machine);
void machine_print(const struct machine *since);

#endif
