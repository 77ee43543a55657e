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

#define BENCH_MESSAGE_MAX (1U << 20)
#define ROUNDS_MAX	  99
#define BENCH_STUCK_AFTER 60 /* seconds */

/* Made before the two processes are forked, and shared by both. */
struct pair {
	const char *hv;	     /* "sim:PATH": the domains left and right exist there; or "xen" */
	const char *address; /* DOMAIN/NAME to connect to */
	const char *dir;     /* for sockets */
	int transport;	     /* peer->transport */
	int spin_us;	     /* libmsg's LIBMSG_SPIN */
	int rcvbuf;	     /* libmsg's LIBMSG_RCVBUF; 0: its default */
	int socks[2];	     /* a socket pair, or a listener in [0] */
	int writers[2];	     /* of pipes */
	void *shared;	     /* a page */
	/* Between domains of a real Xen. */
	int peer_domid;	  /* the domain of the other end */
	const char *path; /* libxenvchan's */
	size_t len;	  /* of the messages that are measured; a stream's ends agree on it */
};

/* The end of one process. */
struct end {
	struct pair *pair; /* borrowed */
	int role;	   /* 0: starts; 1: answers */
	int sock, writer;  /* writer: of streams */
	uint32_t turn;
	void *ctx, *listener, *channel;
};

enum peer_flag {
	PEER_BASELINE = 1, /* a limit: carries no data */
};

struct mmsghdr;
struct sockaddr_un;
struct loop;

/* Functions end the process, with a message, when they fail. */
struct peer {
	const char *name;
	unsigned flags;
	int transport;
	size_t len_max; /* of a message; 0: BENCH_MESSAGE_MAX */
	/* Why this machine does not have it; NULL: it does. No function: each machine has it. */
	const char *(*missing)(void);
	void (*prepare)(struct pair *pair); /* before the fork; may be NULL */
	void (*open)(struct end *end);
	void (*send)(struct end *end, const void *data, size_t len, bool more);
	size_t (*recv)(struct end *end, void *data, size_t size);
	void (*close)(struct end *end);
	/* For the mmsg case, or NULL: send and recv take their places. Both take n messages. */
	void (*sendmmsg)(struct end *end, struct mmsghdr *messages, unsigned n);
	unsigned (*recvmmsg)(struct end *end, struct mmsghdr *messages, unsigned n);
	const struct loop *loop; /* for cases with many channels, or NULL */
	/* For the connect case, or NULL: one new connection, accepted, closed. */
	void (*listen)(struct end *end);
	void (*connect)(struct end *end);
	void (*accept)(struct end *end);
	void (*disconnect)(struct end *end);
};

extern const struct peer peer_seqpacket, peer_seqpacket_mmsg, peer_stream, peer_pipe, peer_vsock,
	peer_zeromq, peer_nng, peer_argo, peer_strict, peer_grant, peer_argo_fd, peer_grant_fd,
	peer_futex, peer_cache_line, peer_memcpy, peer_vchan;

/* Of any pair of sockets that keep messages apart. */
void seqpacket_open(struct end *end);
void seqpacket_send(struct end *end, const void *data, size_t len, bool more);
size_t seqpacket_recv(struct end *end, void *data, size_t size);
void seqpacket_close(struct end *end);
void seqpacket_address(struct end *end, struct sockaddr_un *ret_address);

/* One of many channels. The array is work-many.c's; the rest is the loop's. */
struct channel {
	void *sock;
	int fd;
	uint64_t n; /* messages sent or received */
};

enum loop_event { LOOP_ACCEPT, LOOP_CONNECTED, LOOP_READABLE };

struct loop_ready {
	enum loop_event event;
	struct channel *channel; /* of LOOP_ACCEPT: NULL */
};

#define LOOP_READY_MAX 64

/* The calls of an event loop. Functions end the process, with a message, when they fail. */
struct loop {
	void (*open)(struct end *end);				   /* role 1 listens from then on */
	void (*connect)(struct end *end, struct channel *channel); /* LOOP_CONNECTED follows */
	bool (*accept)(struct end *end, struct channel *channel);  /* false: none waits */
	unsigned (*wait)(struct end *end, struct loop_ready ready[static LOOP_READY_MAX]);
	void (*send)(struct channel *channel, const void *data, size_t len); /* blocks */
	/* 0: nothing is there. */
	size_t (*recv)(struct channel *channel, void *data, size_t size);
	/* Whether a recv that finds nothing costs next to nothing. */
	bool drains;
	void (*close_channel)(struct end *end, struct channel *channel);
	void (*close)(struct end *end);
	unsigned connects_max; /* that may lie between connect and LOOP_CONNECTED */
};

extern const struct loop loop_epoll, loop_msg;

/* Counts of times, by their logarithm: each bin is 1/32 wider than the one before, at most. */
#define HISTOGRAM_BINS 1280U

struct histogram {
	uint64_t n, max_ns;
	uint32_t bins[HISTOGRAM_BINS];
};

void histogram_add(struct histogram *histogram, uint64_t ns);
void histogram_merge(struct histogram *histogram, const struct histogram *other);
/* The time that `part` of all are not over; negative: too few lie beyond it for that. */
double histogram_ns(const struct histogram *histogram, double part);

enum load { LOAD_NONE, LOAD_STREAM, LOAD_IDLE, LOAD_RESTARTS, LOAD_CHURN };

enum pinning { PIN_NONE, PIN_ONE_CPU, PIN_TWO_CPUS };

struct work {
	size_t len;	     /* bytes of a message */
	int batch;	     /* messages of which all but the last are sent with `more`; 1: none */
	unsigned n_channels; /* of many: connections in flight, idle or busy channels */
	enum load load;	     /* beside the round trips */
	const char *msgd_file;	/* has msgd's pid */
	struct histogram *each; /* each round trip's time is taken down here; NULL: it is not */
	uint64_t run_ns;
};

/* Written by the process with role 0; cpu_ns is both processes' by the end. */
struct result {
	uint64_t n; /* messages, round trips or connections */
	uint64_t ns;
	uint64_t cpu_ns;
	uint64_t n_load; /* done by the load meanwhile: messages, restarts or channels */
};

/* The cost of one more idle channel, for both ends and msgd together. */
struct footprint {
	double bytes, descriptors, wakeups; /* the last: of all processes, for as long as it lay */
};

/* The work of each side, for work->run_ns. Role 0 fills *ret_result; contents are checked. */
typedef void work_fn(const struct peer *peer, struct end *end, const struct work *work,
	struct result *ret_result);

work_fn work_one_way, work_mmsg, work_round_trip, work_connect, work_memcpy, work_channels,
	work_connects, work_loaded;

/* Sets up n channels between both ends, in an array that the caller frees. */
struct channel *loop_channels_open(const struct loop *loop, struct end *end, unsigned n);
/* Of n channels, between two processes of its own; msgd: its pid. */
void footprint_measure(struct pair *pair, unsigned n, int msgd, struct footprint *ret_footprint);
/* 0: the file has none. */
int msgd_pid(const char *file);

/* Of messages by their number: n_words words of it. */
void message_init(void);
uint64_t *message_fill(uint64_t number, size_t n_words);
void message_check(const uint64_t *got, uint64_t number, size_t n_words);
/*
 * Over streams all messages have pair->len bytes, which spares them a header: the two short ones of
 * every case are padded, and marked in their second word, where data never has this value. The
 * padded one is good until the next call.
 */
const void *message_padded(const struct end *end, const void *data, size_t len);
size_t message_padded_len(const struct end *end, const void *data);

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

/* In percent of all CPUs' time; load is the system's. */
struct machine_share {
	double own, others, steal, idle, load;
};

void machine_look(struct machine *ret_machine);
struct machine_share machine_share(const struct machine *since);
void machine_print(const struct machine *since);

#endif
