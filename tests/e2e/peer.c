/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The applications of the end-to-end tests, a role each. Every one prints "pid N" first and what
 * became of it last, errors by their names, so that a script can tell one errno from another.
 *
 *	peer sink NAME COUNTER       takes one channel, checks every message, counts them in COUNTER
 *	peer source ADDRESS [N]      sends N checked messages, or until SIGTERM
 *	peer source ADDRESS N hold   sends N, keeps the channel until SIGTERM
 *	peer long ADDRESS LENGTH     to a sink: a checked message, stops itself, then a long one
 *	peer try ADDRESS [LENGTH]    connects, and sends a message of that length
 *	peer listen NAME [BACKLOG]   listens, never accepts
 *	peer serve NAME              echoes, from an event loop: sleeps, takes a batch, sleeps
 *	peer echo NAME               echoes, one channel after the other, and blocks meanwhile
 *	peer rarely NAME             echoes, by calls that do not block, every fifth of a second
 *	peer flood ADDRESS [half]    sends until nothing fits, half-closes; reads after SIGTERM,
 *				     sends once more; closes after another SIGTERM
 *	peer ask ADDRESS N [end]     asks N times, or until SIGTERM if N is 0, each after the answer
 *				     to the one before; then tells contexts.c to end
 *	peer typed NAME TYPE         listens for channels of that type, connects to itself
 *	peer typed-to ADDRESS TYPE [wait]  connects, perhaps when the name is there
 *	peer stream-sink NAME COUNTER  takes one stream, checks and counts its bytes; listens
 *				     again when NAME is lost; echoes messages on NAME-plain
 *	peer stream-source ADDRESS   sends such bytes until SIGTERM
 *	peer cut NAME                takes one channel, has xen-sim end its connection, and waits
 *	peer many-accept NAME N      N channels: one message each, then waits for ever
 *	peer many-connect ADDRESS N
 *	peer context TIMEOUT         attaches to msgd
 *	peer counted COUNTER N       waits until a sink has counted N, or with +N, N more; how many
 *				     then
 *
 * $PEER_TRANSPORT: what it demands of its links, a number of enum libmsg_transport.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libmsg/libmsg.h"
#include "tests/support/pattern.h"

#define WAIT_MS 60000

static struct msg_ctx *ctx;
static volatile sig_atomic_t stopped;
static unsigned char want[8192], got[8192];

static void on_term(int sig)
{
	(void)sig;
	stopped = 1;
}

static _Noreturn void end_error(const char *what, unsigned long n)
{
	const char *name = strerrorname_np(errno);

	printf("error %s after %lu: %s: %s\n", name ? name : "unknown", n, what, msg_reason());
	exit(3);
}

static void on_log(void *arg, int priority, const char *line)
{
	printf("log %d: %s\n", priority, line);
}

static void context_open(int timeout_ms)
{
	const char *transport = getenv("PEER_TRANSPORT");

	ctx = msg_ctx_open(NULL, 0, timeout_ms);
	if (!ctx)
		end_error("context", 0);
	msg_ctx_set_log(ctx, on_log, NULL);
	if (transport && msg_ctx_set_transport(ctx, atoi(transport)) < 0)
		end_error("transport", 0);
}

static struct msg_sock *listener_open(const char *name, int backlog)
{
	struct msg_sock *listener = msg_listen(ctx, name, LIBMSG_SEQPACKET, backlog, 0);

	if (!listener)
		end_error("listen", 0);
	printf("listening\n");
	return listener;
}

static struct msg_sock *channel_accept(struct msg_sock *listener)
{
	struct msg_sock *sock = msg_accept(listener, 0);

	if (!sock)
		end_error("accept", 0);
	return sock;
}

static struct msg_sock *channel_connect(const char *address)
{
	struct msg_sock *sock =
		msg_connect(ctx, address, LIBMSG_SEQPACKET, LIBMSG_WAIT_NAME, WAIT_MS);

	if (!sock)
		end_error("connect", 0);
	return sock;
}

/* Message n: 8 to 8191 bytes, of which all follow from n. */
static size_t message_make(unsigned long n)
{
	size_t len = 8 + (n * 7919) % 8184;

	pattern_fill(want, len, n);
	return len;
}

static volatile unsigned long *counter_map(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	void *map = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, 8) == 0)
		map = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		end_error(path, 0);
	return map;
}

static int role_sink(char **args)
{
	volatile unsigned long *counter = counter_map(args[1]);
	struct msg_sock *sock;
	unsigned long n = 0;
	size_t len;
	ssize_t r;

	context_open(WAIT_MS);
	sock = channel_accept(listener_open(args[0], 1));
	printf("accepted\n");
	while ((r = msg_recv(sock, got, sizeof(got), MSG_TRUNC)) > 0) {
		len = message_make(n);
		if ((size_t)r != len || memcmp(got, want, len) != 0) {
			printf("wrong: message %lu has %zd bytes, not %zu\n", n, r, len);
			return 4;
		}
		*counter = ++n;
	}
	if (r < 0)
		end_error("receive", n);
	printf("received %lu\n", n);
	(void)msg_close(sock); /* without it, the source would see a reset */
	msg_ctx_close(ctx);
	return 0;
}

/* It looks at it as others do, without msgd. */
static int role_counted(char **args)
{
	unsigned long n = 0, want_n = strtoul(args[1], NULL, 10);
	FILE *file;

	for (int i = 0; i < WAIT_MS / 20; i++) {
		file = fopen(args[0], "re");
		if (!file || fread(&n, sizeof(n), 1, file) != 1)
			n = 0;
		if (file)
			fclose(file);
		if (i == 0 && args[1][0] == '+')
			want_n += n;
		if (n >= want_n) {
			printf("%lu\n", n);
			return 0;
		}
		(void)poll(NULL, 0, 20);
	}
	printf("error: %lu counted, not %lu\n", n, want_n);
	return 3;
}

static int role_source(char **args)
{
	unsigned long n = 0, limit = args[1] ? strtoul(args[1], NULL, 0) : 0;
	struct sigaction action = {.sa_handler = on_term};
	struct msg_sock *sock;

	context_open(WAIT_MS);
	sock = channel_connect(args[0]);
	(void)sigaction(SIGTERM, &action, NULL);
	printf("connected\n");
	while (!stopped && (!limit || n < limit)) {
		size_t len = message_make(n);

		if (msg_send(sock, want, len, 0) == (ssize_t)len)
			n++;
		else if (errno != EINTR)
			end_error("send", n);
	}
	while (limit && args[2] && !stopped)
		(void)poll(NULL, 0, 100);
	/* The sink closes when it has read all. */
	if (msg_shutdown(sock, SHUT_WR) < 0 || msg_recv(sock, got, sizeof(got), 0) != 0)
		end_error("end", n);
	printf("sent %lu\n", n);
	return 0;
}

/* A test that stops the sink meanwhile has this process in the middle of its long message. */
static int role_long(char **args)
{
	size_t len = strtoul(args[1], NULL, 0), first = message_make(0);
	struct msg_sock *sock;
	void *data = calloc(1, len);

	context_open(WAIT_MS);
	sock = channel_connect(args[0]);
	if (!data || msg_send(sock, want, first, 0) < 0)
		end_error("send", 0);
	printf("stopped\n");
	(void)raise(SIGSTOP);
	printf("goes on\n");
	if (msg_send(sock, data, len, 0) < 0)
		end_error("send", 1);
	printf("sent\n");
	free(data);
	return 0;
}

static int role_try(char **args)
{
	size_t len = args[1] ? strtoul(args[1], NULL, 0) : 0;
	struct msg_sock *sock;
	void *data;

	context_open(WAIT_MS);
	sock = msg_connect(ctx, args[0], LIBMSG_SEQPACKET, 0, WAIT_MS);
	if (!sock)
		end_error("connect", 0);
	data = calloc(1, len + 1);
	if (args[1] && msg_send(sock, data, len, 0) < 0)
		end_error("send", 0);
	free(data);
	printf("connected\n");
	return 0;
}

/*
 * Never accepts, but stays inside libmsg, where links are made and offers counted: it waits for
 * somebody at a second name, which nobody knows.
 */
static int role_listen(char **args)
{
	context_open(WAIT_MS);
	(void)listener_open(args[0], args[1] ? atoi(args[1]) : 1);
	(void)channel_accept(listener_open("nobody-knows-it", 1));
	return 0;
}

/* Echoes what is there. False: the channel's end. */
static bool echo_all(struct msg_sock *sock)
{
	ssize_t n;

	while ((n = msg_recv(sock, got, sizeof(got), 0)) > 0) {
		if (msg_send(sock, got, (size_t)n, 0) < 0)
			return errno == EAGAIN;
	}
	return n < 0 && errno == EAGAIN;
}

static void serve_event(struct msg_sock *listener, struct msg_sock *sock)
{
	if (sock != listener) {
		if (!echo_all(sock))
			(void)msg_close(sock);
		return;
	}
	while (msg_accept(listener, LIBMSG_NONBLOCK))
		;
	if (errno != EAGAIN)
		end_error("accept", 0);
}

/* One batch a wake-up: the descriptor alone says that there is more. */
static int role_serve(char **args)
{
	struct msg_event events[16];
	struct msg_sock *listener;
	struct pollfd pollfd = {.events = POLLIN};
	int n;

	context_open(WAIT_MS);
	listener = msg_listen(ctx, args[0], LIBMSG_SEQPACKET, 16, LIBMSG_NONBLOCK);
	if (!listener)
		end_error("listen", 0);
	pollfd.fd = msg_ctx_fd(ctx);
	if (pollfd.fd < 0)
		end_error("event loop", 0);
	printf("listening\n");
	while (poll(&pollfd, 1, -1) >= 0 || errno == EINTR) {
		n = msg_ctx_dispatch(ctx, events, 16);
		for (int i = 0; i < n; i++)
			serve_event(listener, events[i].sock);
	}
	end_error("poll", 0);
}

static void echo_one(struct msg_sock *sock)
{
	ssize_t n;

	printf("accepted\n");
	while ((n = msg_recv(sock, got, sizeof(got), 0)) > 0) {
		if (msg_send(sock, got, (size_t)n, 0) < 0)
			break;
	}
	printf("%s\n", n == 0 ? "closed" : msg_reason());
	(void)msg_close(sock);
}

/* Blocks in accept, then in receive. */
static int role_echo(char **args)
{
	struct msg_sock *listener, *sock;

	context_open(WAIT_MS);
	listener = listener_open(args[0], 16);
	while ((sock = channel_accept(listener)))
		echo_one(sock);
	return 3;
}

/* Calls now and then, whatever happens meanwhile: nothing wakes it. */
static int role_rarely(char **args)
{
	struct msg_sock *listener, *sock, *socks[64] = {NULL};
	size_t n = 0;

	context_open(WAIT_MS);
	listener = msg_listen(ctx, args[0], LIBMSG_SEQPACKET, 16, LIBMSG_NONBLOCK);
	if (!listener)
		end_error("listen", 0);
	printf("listening\n");
	for (;;) {
		(void)poll(NULL, 0, 200);
		sock = msg_accept(listener, LIBMSG_NONBLOCK);
		if (!sock && errno != EAGAIN)
			end_error("accept", 0);
		if (sock)
			socks[n++ % 64] = sock;
		for (size_t i = 0; i < 64; i++) {
			if (!socks[i] || echo_all(socks[i]))
				continue;
			(void)msg_close(socks[i]);
			socks[i] = NULL;
		}
	}
}

/* Sends until nothing has fitted for a second. How many. */
static unsigned long flood(struct msg_sock *sock)
{
	struct msg_pollfd fd = {.sock = sock, .events = POLLOUT};
	unsigned long n = 0;

	for (;;) {
		size_t len = message_make(n);

		if (msg_send(sock, want, len, MSG_DONTWAIT) == (ssize_t)len)
			n++;
		else if (errno != EAGAIN)
			end_error("send", n);
		else if (msg_poll(&fd, 1, 1000) <= 0)
			return n;
	}
}

static void wait_for_term(void)
{
	while (!stopped)
		(void)poll(NULL, 0, 100);
	stopped = 0;
}

static int role_flood(char **args)
{
	struct sigaction action = {.sa_handler = on_term};
	unsigned long n, n_echoed = 0;
	struct msg_sock *sock;
	ssize_t r;

	context_open(WAIT_MS);
	sock = channel_connect(args[0]);
	(void)sigaction(SIGTERM, &action, NULL);
	n = flood(sock);
	if (args[1] && msg_shutdown(sock, SHUT_WR) < 0)
		end_error("shutdown", n);
	printf("full %lu\n", n);
	wait_for_term();
	for (; n_echoed < n; n_echoed++) {
		size_t len = message_make(n_echoed);

		r = msg_recv(sock, got, sizeof(got), 0);
		if (r < 0)
			end_error("receive", n_echoed);
		if ((size_t)r != len || memcmp(got, want, len) != 0)
			return printf("wrong: answer %lu has %zd bytes\n", n_echoed, r), 4;
	}
	if (args[1] ? msg_recv(sock, got, sizeof(got), 0) != 0
		    : msg_send(sock, want, 8, 0) != 8 || msg_recv(sock, got, 8, 0) != 8)
		end_error("the end, or one more", n);
	printf("echoed\n");
	if (!args[1])
		wait_for_term();
	(void)msg_close(sock);
	msg_ctx_close(ctx);
	return 0;
}

static int role_ask(char **args)
{
	unsigned long n, limit = strtoul(args[1], NULL, 0);
	struct sigaction action = {.sa_handler = on_term};
	struct msg_sock *sock;

	context_open(WAIT_MS);
	sock = channel_connect(args[0]);
	(void)sigaction(SIGTERM, &action, NULL);
	printf("connected\n");
	for (n = 0; limit ? n < limit : !stopped; n++) {
		size_t len = message_make(n);

		while (msg_send(sock, want, len, 0) < 0)
			if (errno != EINTR)
				end_error("send", n);
		while (msg_recv(sock, got, sizeof(got), 0) != (ssize_t)len)
			if (errno != EINTR)
				end_error("receive", n);
		if (memcmp(got, want, len) != 0)
			return printf("wrong: answer %lu\n", n), 4;
	}
	if (args[2] && (msg_send(sock, "end", 3, 0) < 0 || msg_recv(sock, got, 1, 0) > 0))
		end_error("end", n);
	printf("asked %lu\n", n);
	return 0;
}

static int role_typed(char **args)
{
	int type = atoi(args[1]);

	context_open(WAIT_MS);
	if (!msg_listen(ctx, args[0], type, 1, 0))
		end_error("listen", 0);
	if (!msg_connect(ctx, args[0], type, 0, WAIT_MS))
		end_error("connect", 0);
	printf("connected\n");
	return 0;
}

static int role_typed_to(char **args)
{
	unsigned flags = args[2] ? LIBMSG_WAIT_NAME : 0;

	context_open(WAIT_MS);
	printf("asks\n");
	if (!msg_connect(ctx, args[0], atoi(args[1]), flags, WAIT_MS))
		end_error("connect", 0);
	printf("connected\n");
	return 0;
}

/* The byte at that place of a stream. */
static unsigned char stream_byte(unsigned long n)
{
	return (unsigned char)(n * 31 + n / 256);
}

/* Takes what is there. False: the stream's end. */
static bool stream_take(struct msg_sock *sock, volatile unsigned long *counter)
{
	ssize_t r;

	while ((r = msg_recv(sock, got, sizeof(got), MSG_DONTWAIT)) > 0) {
		for (ssize_t i = 0; i < r; i++) {
			if (got[i] != stream_byte(*counter + (unsigned long)i)) {
				printf("wrong: byte %lu\n", *counter + (unsigned long)i);
				exit(4);
			}
		}
		*counter += (unsigned long)r;
	}
	if (r < 0 && errno != EAGAIN)
		end_error("receive", *counter);
	return r < 0;
}

/* Its name: lost, where msgd does not know streams, and asked for until another msgd does. */
static struct msg_sock *stream_listener_again(struct msg_sock *listener, const char *name)
{
	if (listener && !msg_accept(listener, 0) && errno != EAGAIN) {
		const char *error = strerrorname_np(errno);

		printf("lost %s: %s\n", error ? error : "unknown", msg_reason());
		(void)msg_close(listener);
		listener = NULL;
	}
	if (!listener) {
		listener = msg_listen(ctx, name, LIBMSG_STREAM, 4, 0);
		if (listener && msg_setopt(listener, LIBMSG_RCVTIMEO, 1) == 0)
			printf("listening again\n");
		else if (errno != EPROTONOSUPPORT)
			end_error("listen again", 0);
	}
	return listener;
}

static void echo_a_message(struct msg_sock *listener)
{
	struct msg_sock *sock = msg_accept(listener, 0);
	ssize_t n;

	if (!sock && errno != EAGAIN)
		end_error("accept", 0);
	if (!sock)
		return;
	n = msg_recv(sock, got, sizeof(got), 0);
	if (n < 0 || msg_send(sock, got, (size_t)n, 0) < 0)
		end_error("echo", 0);
	(void)msg_recv(sock, got, sizeof(got), 0);
	(void)msg_close(sock);
}

static int role_stream_sink(char **args)
{
	volatile unsigned long *counter = counter_map(args[1]);
	struct msg_sock *listener, *plain, *sock;
	char name[128];

	context_open(WAIT_MS);
	(void)snprintf(name, sizeof(name), "%s-plain", args[0]);
	plain = listener_open(name, 4);
	listener = msg_listen(ctx, args[0], LIBMSG_STREAM, 4, 0);
	if (!listener)
		end_error("listen", 0);
	sock = channel_accept(listener);
	printf("accepted\n");
	if (msg_setopt(listener, LIBMSG_RCVTIMEO, 1) < 0 ||
		msg_setopt(plain, LIBMSG_RCVTIMEO, 1) < 0)
		end_error("time limit", 0);
	do {
		struct msg_pollfd fds[] = {
			{.sock = sock, .events = POLLIN}, {.sock = plain, .events = POLLIN}};

		/* The name is looked at each time. */
		if (msg_poll(fds, 2, 100) < 0)
			end_error("poll", *counter);
		listener = stream_listener_again(listener, args[0]);
		echo_a_message(plain);
	} while (stream_take(sock, counter));
	printf("received %lu\n", *counter);
	(void)msg_close(sock);
	msg_ctx_close(ctx);
	return 0;
}

static int role_stream_source(char **args)
{
	struct sigaction action = {.sa_handler = on_term};
	struct msg_sock *sock;
	unsigned long n = 0;
	ssize_t r;

	context_open(WAIT_MS);
	sock = msg_connect(ctx, args[0], LIBMSG_STREAM, LIBMSG_WAIT_NAME, WAIT_MS);
	if (!sock)
		end_error("connect", 0);
	(void)sigaction(SIGTERM, &action, NULL);
	printf("connected\n");
	while (!stopped) {
		for (size_t i = 0; i < sizeof(want); i++)
			want[i] = stream_byte(n + i);
		r = msg_send(sock, want, sizeof(want), 0);
		if (r < 0 && errno != EINTR)
			end_error("send", n);
		n += r > 0 ? (unsigned long)r : 0;
	}
	if (msg_shutdown(sock, SHUT_WR) < 0 || msg_recv(sock, got, sizeof(got), 0) != 0)
		end_error("end", n);
	printf("sent %lu\n", n);
	return 0;
}

static int many(struct msg_sock *listener, const char *address, long n)
{
	struct msg_sock **socks = calloc((size_t)n, sizeof(struct msg_sock *));
	long number;

	for (long i = 0; i < n; i++) {
		socks[i] = listener ? channel_accept(listener) : channel_connect(address);
		if (!listener && msg_send(socks[i], &i, sizeof(i), 0) < 0)
			end_error("send", (unsigned long)i);
	}
	for (long i = 0; i < n; i++) {
		if (listener && (msg_recv(socks[i], &number, sizeof(number), 0) != 8 ||
					msg_send(socks[i], &number, sizeof(number), 0) != 8))
			end_error("echo", (unsigned long)i);
		if (!listener && (msg_recv(socks[i], &number, 8, 0) != 8 || number != i))
			end_error("answer", (unsigned long)i);
	}
	/* A message that nobody waits for there must not keep the peer awake. */
	if (!listener && n > 1 && msg_send(socks[n - 1], &n, sizeof(n), 0) < 0)
		end_error("send", (unsigned long)n);
	printf("open %ld\n", n);
	if (msg_recv(socks[0], &number, sizeof(number), 0) < 0)
		end_error("receive", (unsigned long)n);
	free(socks);
	return 0;
}

static int role_many_accept(char **args)
{
	context_open(WAIT_MS);
	return many(listener_open(args[0], 4096), NULL, atol(args[1]));
}

static int role_many_connect(char **args)
{
	context_open(WAIT_MS);
	return many(NULL, args[0], atol(args[1]));
}

/* A packet that is no request ends this process's connection with the emulator. */
static void emulator_offend(void)
{
	for (int fd = 0; fd < 256; fd++) {
		struct sockaddr_un peer = {.sun_family = AF_UNSPEC};
		socklen_t len = sizeof(peer);

		if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 &&
			peer.sun_family == AF_UNIX && strstr(peer.sun_path, "/xen"))
			(void)send(fd, "x", 1, MSG_NOSIGNAL);
	}
}

static int role_cut(char **args)
{
	struct msg_sock *listener;

	context_open(WAIT_MS);
	listener = listener_open(args[0], 8);
	(void)channel_accept(listener);
	emulator_offend();
	if (!msg_accept(listener, 0))
		end_error("accept", 1);
	return 1;
}

static int role_context(char **args)
{
	context_open(atoi(args[0]));
	printf("attached\n");
	return 0;
}

static const struct role {
	const char *name;
	int args_min;
	int (*fn)(char **args);
} roles[] = {
	{"sink", 2, role_sink},
	{"source", 1, role_source},
	{"long", 2, role_long},
	{"try", 1, role_try},
	{"listen", 1, role_listen},
	{"serve", 1, role_serve},
	{"echo", 1, role_echo},
	{"rarely", 1, role_rarely},
	{"flood", 1, role_flood},
	{"ask", 2, role_ask},
	{"typed", 2, role_typed},
	{"typed-to", 2, role_typed_to},
	{"stream-sink", 2, role_stream_sink},
	{"stream-source", 1, role_stream_source},
	{"cut", 1, role_cut},
	{"many-accept", 2, role_many_accept},
	{"many-connect", 2, role_many_connect},
	{"context", 1, role_context},
	{"counted", 2, role_counted},
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("pid %d\n", (int)getpid());
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (argc >= 2 && strcmp(roles[i].name, argv[1]) == 0 &&
			argc >= 2 + roles[i].args_min)
			return roles[i].fn(argv + 2);
	}
	fprintf(stderr, "peer: see the head of peer.c for its roles\n");
	return 2;
}
