/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The context, the thread, and the ends that the program does not see: see serve.h. */
#include "compat/vsock/serve.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "compat/vsock/address.h"
#include "compat/vsock/real.h"

/* msgd answers in no time; while it is being started again, a call waits for it so long. */
#define OPEN_MS 5000
/* At the end of the process a peer that takes nothing is waited for so long. */
#define EXIT_MS 5000
/* Events of one round, between which other threads may take the lock. */
#define ROUND 32
/* As many bytes as libmsg lets the other end write: msg_sock_fd(3). */
#define SNDBUF 212992
/* Of what fills the program's end. */
#define FILL 32768
/* The least that the kernel takes: a listener's end has two descriptors in it, then. */
#define LISTENER_SNDBUF 1
#define BACKLOG_MAX	4096
/* Ports that no program asks for by number: numbers that are made up are from here on. */
#define PORT_BASE  0x40000000U
#define RCVBUF_MIN 8192U
#define RCVBUF_MAX (64U << 20)

static struct {
	pthread_mutex_t lock;	     /* before that of the table; nobody waits for msgd with it */
	pthread_cond_t opened;	     /* `opening` has become false */
	bool opening;		     /* a thread opens the context */
	int open_error;		     /* of the last time, or 0 */
	struct msg_ctx *_Atomic ctx; /* changes under the lock */
	int epoll_fd; /* the context's descriptor, and each end that the library has; or -1 */
	uint32_t next_port;
} serve = {.lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER, .epoll_fd = -1};
static __thread unsigned inside;
static __thread int cancel_state;

bool serve_is_inside(void)
{
	return inside > 0;
}

static void serve_lock(void)
{
	int state;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	inside++;
	(void)pthread_mutex_lock(&serve.lock);
	cancel_state = state;
}

static void serve_unlock(void)
{
	int state = cancel_state;

	(void)pthread_mutex_unlock(&serve.lock);
	inside--;
	(void)pthread_setcancelstate(state, NULL);
}

/* ---- addresses ----------------------------------------------------------------------- */

static struct address_file file_begin(void)
{
	const char *path = secure_getenv("MSG_VSOCK_CONF");

	return (struct address_file){.path = path ? path : VSOCK_CONF};
}

/* Says what is wrong with the file. r: of address.h. */
static int file_end(const struct address_file *file, int r)
{
	if (r == 0 || r == -ENODEV)
		return r;
	if (file->line)
		(void)dprintf(STDERR_FILENO, "libmsg-vsock: %s:%u: %s\n", file->path, file->line,
			file->why);
	else
		(void)dprintf(
			STDERR_FILENO, "libmsg-vsock: %s: %s\n", file->path, strerrordesc_np(-r));
	return -EINVAL;
}

/* A number that no other socket of this process has soon. */
static uint32_t port_make_up(void)
{
	if (!serve.next_port && getrandom(&serve.next_port, sizeof(serve.next_port), 0) < 0)
		serve.next_port = (uint32_t)getpid();
	return PORT_BASE | (serve.next_port++ & (PORT_BASE - 1));
}

/* ---- the program's end --------------------------------------------------------------- */

/* Sends the same again until the kernel takes no more, or leave bytes less. */
static size_t fill_with(int fd, int type, size_t len, int leave)
{
	static const char data[FILL];
	int used = 0;
	size_t filled = 0;

	while (leave == 0 ||
		(real()->ioctl(fd, TIOCOUTQ, &used) == 0 && used < 2 * SNDBUF - leave)) {
		ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			break;
		filled += type == SOCK_STREAM ? (size_t)n : 1;
	}
	return filled;
}

/*
 * Fills it. Returns the bytes or messages, of which the last is of one byte, as msg_sock_serve(3)
 * wants it: so much is left for these. (The kernel counts twice as much as SO_SNDBUF.)
 */
static size_t fill(int fd, int type)
{
	size_t filled = fill_with(fd, type, FILL, 3 * FILL);

	return filled + fill_with(fd, type, 1, 0);
}

/* Takes out what fills it, but for so many of the last bytes or messages: it is writable then. */
static void drain(struct vsock *vsock, size_t keep)
{
	char data[FILL];

	while (vsock->filled > keep) {
		size_t left = vsock->filled - keep;
		size_t len =
			vsock->type == SOCK_STREAM && left < sizeof(data) ? left : sizeof(data);
		ssize_t n = recv(vsock->fd, data, len, MSG_DONTWAIT);

		if (n <= 0)
			break;
		vsock->filled -= vsock->type == SOCK_STREAM ? (size_t)n : 1;
	}
}

/* The program may have written to a socket that was not connected. */
static void drain_all(const struct vsock *vsock)
{
	char data[FILL];

	while (recv(vsock->fd, data, sizeof(data), MSG_DONTWAIT) > 0)
		;
}

static int set_events(int how, struct vsock *vsock, uint32_t events)
{
	struct epoll_event event = {.events = events | EPOLLET, .data.ptr = vsock};

	return epoll_ctl(serve.epoll_fd, how, vsock->fd, &event) < 0 ? -errno : 0;
}

static void forget(struct vsock *vsock)
{
	table_lock();
	table_remove(vsock);
	table_unlock();
}

/* The set lets go of it first: a child may have a duplicate. */
static void end_close(struct vsock *vsock)
{
	(void)epoll_ctl(serve.epoll_fd, EPOLL_CTL_DEL, vsock->fd, NULL);
	(void)close(vsock->fd);
	vsock->fd = -1;
}

/* msgd gives the name of a listener back before it takes what it is asked later. */
static void sock_close(struct vsock *vsock)
{
	(void)msg_close(vsock->sock);
	vsock->sock = NULL;
}

static void vsock_end(struct vsock *vsock)
{
	forget(vsock);
	sock_close(vsock);
	end_close(vsock);
	free(vsock);
}

static int set_rcvbuf(const struct vsock *vsock, struct msg_sock *sock)
{
	uint64_t size;
	bool sized;

	table_lock();
	size = vsock->sizes[0];
	sized = vsock->sized;
	table_unlock();
	if (!sized)
		return 0;
	size = size < RCVBUF_MIN ? RCVBUF_MIN : size > RCVBUF_MAX ? RCVBUF_MAX : size;
	return msg_setopt(sock, LIBMSG_RCVBUF, (int64_t)size);
}

/* ---- connecting ---------------------------------------------------------------------- */

/* As the kernel says it: a refusal is a reset, and a CID that is not there is no device. */
static int connect_errno(int error)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
	case EPROTOTYPE:
		return ECONNRESET;
	case EHOSTUNREACH:
		return ENODEV;
	case EHOSTDOWN:
		return ETIMEDOUT;
	default:
		return error;
	}
}

static void connect_failed(struct vsock *vsock, int error)
{
	table_lock();
	vsock->state = VSOCK_IDLE;
	vsock->error = error;
	table_unlock();
	sock_close(vsock);
	drain(vsock, 0);
}

/*
 * From now on libmsg serves the end. The label is there before the program's end is writable, and
 * the table has it until then: a program that asks sees one or the other.
 */
static void connect_succeeded(struct vsock *vsock)
{
	int fd = vsock->fd;
	int r = label_set(fd, vsock->cookie, &vsock->local, &vsock->remote);

	if (r < 0) {
		connect_failed(vsock, -r);
		return;
	}
	(void)set_rcvbuf(vsock, vsock->sock);
	forget(vsock);
	drain(vsock, 1);
	(void)epoll_ctl(serve.epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	if (msg_sock_serve(vsock->sock, fd) < 0) {
		(void)msg_close(vsock->sock);
		(void)close(fd);
	}
	free(vsock);
}

static void on_connect(struct vsock *vsock)
{
	struct msg_peer peer = {.size = sizeof(peer)};
	int64_t error = 0;

	(void)msg_getopt(vsock->sock, LIBMSG_ERROR, &error);
	if (error)
		connect_failed(vsock, connect_errno((int)error));
	else if (msg_getpeer(vsock->sock, &peer) == 0)
		connect_succeeded(vsock);
}

/* ---- accepting ----------------------------------------------------------------------- */

static int accepted_address(
	const struct vsock *vsock, struct msg_sock *sock, struct vsock_address ret[2])
{
	struct msg_peer peer = {.size = sizeof(peer)};
	struct address_file file = file_begin();
	int r;

	if (msg_getpeer(sock, &peer) < 0)
		return -errno;
	ret[0] = vsock->local;
	ret[1].port = port_make_up();
	r = address_peer_cid(&file, peer.domid, peer.domain, &ret[1].cid);
	if (r == 0)
		r = address_own_cid(&file, msg_ctx_domid(serve.ctx), &ret[0].cid);
	return file_end(&file, r);
}

/*
 * Each end has a byte, or a message of one, unread. That at libmsg's end msg_sock_serve(3) wants;
 * accept(2) takes the one at the program's. If nobody accepts, the kernel closes the program's end
 * with it: libmsg is told of an error, and the peer of a reset, for an end would say that all was
 * read.
 */
static int begin_pair(const int fds[2])
{
	return send(fds[0], "", 1, 0) == 1 && send(fds[1], "", 1, 0) == 1 ? 0 : -errno;
}

/* A pair of which libmsg serves one end. *ret_fd: the other one. */
static int pair_for(struct vsock *vsock, struct msg_sock *sock, int *ret_fd)
{
	struct vsock_address addresses[2];
	const int size = SNDBUF;
	int fds[2], r = accepted_address(vsock, sock, addresses);

	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, vsock->type | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	(void)real()->setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	(void)set_rcvbuf(vsock, sock);
	r = begin_pair(fds);
	if (r == 0)
		r = label_set(fds[1], real_cookie(fds[0]), &addresses[0], &addresses[1]);
	if (r == 0 && msg_sock_serve(sock, fds[1]) < 0)
		r = -errno;
	if (r < 0) {
		(void)close(fds[0]);
		(void)close(fds[1]);
		return r;
	}
	*ret_fd = fds[0];
	return 0;
}

/* If it does not get through, its peer sees a reset: see begin_pair. */
static void fd_send(int to, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET,
			     .cmsg_type = SCM_RIGHTS,
			     .cmsg_len = CMSG_LEN(sizeof(int))}};
	char byte = 0;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	(void)sendmsg(to, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)close(fd);
}

/* Its peer sees a reset: an end would say that all was read. */
static void refuse(struct msg_sock *sock)
{
	(void)msg_setopt(sock, LIBMSG_RESET, 1);
	(void)msg_close(sock);
}

static bool has_room(const struct vsock *vsock)
{
	struct pollfd poll_fd = {.fd = vsock->fd, .events = POLLOUT};

	return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLOUT);
}

/* The listener has lost its name: accept(2) takes what has come, and then fails. */
static void listener_lost(struct vsock *vsock)
{
	sock_close(vsock);
	(void)shutdown(vsock->fd, SHUT_WR);
}

static void on_listener(struct vsock *vsock)
{
	bool room = false;

	while (vsock->sock && (room = has_room(vsock))) {
		struct msg_sock *sock = msg_accept(vsock->sock, LIBMSG_NONBLOCK);
		int fd = -1;

		if (sock && pair_for(vsock, sock, &fd) == 0)
			fd_send(vsock->fd, fd);
		else if (sock)
			refuse(sock);
		else if (errno == EAGAIN || errno == EINTR || errno == ENOMEM)
			break;
		else
			listener_lost(vsock);
	}
	if (vsock->sock)
		(void)msg_setopt(vsock->sock, LIBMSG_EVENTS, room ? POLLIN : 0);
}

/* ---- the thread ---------------------------------------------------------------------- */

/* One at a time: what is done for one may end another. */
static void take_channel_events(void)
{
	struct msg_event event;

	for (int i = 0; i < ROUND && msg_ctx_dispatch(serve.ctx, &event, 1) == 1; i++) {
		struct vsock *vsock = msg_userdata(event.sock);

		if (vsock && vsock->state == VSOCK_CONNECTING)
			on_connect(vsock);
		else if (vsock && vsock->state == VSOCK_LISTENING)
			on_listener(vsock);
	}
}

/* Also without the thread: before there is one, and for a name that this process has let go of. */
static void take_events(void)
{
	struct epoll_event event;

	for (int i = 0; i < ROUND && epoll_wait(serve.epoll_fd, &event, 1, 0) == 1; i++) {
		struct vsock *vsock = event.data.ptr;

		if (!vsock)
			take_channel_events();
		else if (vsock->state == VSOCK_ASKING)
			; /* set_events tells it again when msgd has answered */
		else if (event.events & EPOLLHUP)
			vsock_end(vsock);
		else if (vsock->state == VSOCK_LISTENING)
			on_listener(vsock);
	}
}

static void *serve_main(void *arg)
{
	struct pollfd fd = {.fd = (int)(intptr_t)arg, .events = POLLIN};

	for (;;) {
		if (poll(&fd, 1, -1) < 0)
			continue; /* lack of the kernel's memory, for signals are blocked */
		serve_lock();
		take_events();
		serve_unlock();
	}
	return NULL;
}

static int set_have(void)
{
	if (serve.epoll_fd < 0)
		serve.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return serve.epoll_fd < 0 ? -errno : 0;
}

static int thread_start(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int fd = msg_ctx_fd(serve.ctx), r;
	pthread_t thread;

	if (fd < 0 || epoll_ctl(serve.epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	r = pthread_create(&thread, NULL, serve_main, (void *)(intptr_t)serve.epoll_fd);
	if (r == 0)
		(void)pthread_detach(thread);
	return -r;
}

/*
 * Signals wait meanwhile: a connect that one interrupts goes on, which cannot be without a context.
 * The thread takes none.
 */
static int context_open(void)
{
	sigset_t all, before;
	struct msg_ctx *ctx;
	int r = 0;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	serve.opening = true;
	(void)pthread_mutex_unlock(&serve.lock);
	ctx = msg_ctx_open(NULL, 0, OPEN_MS);
	if (!ctx)
		r = errno == EHOSTDOWN ? -ENODEV : -errno;
	(void)pthread_mutex_lock(&serve.lock);
	serve.opening = false;
	serve.ctx = ctx;
	if (r == 0)
		r = thread_start();
	if (r < 0) {
		msg_ctx_close(ctx);
		serve.ctx = NULL;
	}
	serve.open_error = r;
	(void)pthread_cond_broadcast(&serve.opened);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

/*
 * Has a context and a thread. Waits without the lock: what the caller has found in the table may be
 * gone then, unless the context was there.
 */
static int serve_start(void)
{
	int r = set_have();

	if (serve.ctx || r < 0)
		return r;
	if (!serve.opening)
		return context_open();
	while (serve.opening)
		(void)pthread_cond_wait(&serve.opened, &serve.lock);
	return serve.open_error;
}

/* ---- fork, and the end of the process ------------------------------------------------ */

static void before_fork(void)
{
	if (!table_fork_begins())
		return;
	serve_lock();
	table_lock();
}

static void locks_free(void)
{
	table_unlock();
	serve_unlock();
}

static void after_fork_parent(void)
{
	if (table_fork_ends(false))
		locks_free();
}

/* The parent would not hear of a close if a child had duplicates of its ends. */
static bool leave_to_parent(struct vsock *vsock, const void *arg)
{
	if (vsock->fd >= 0)
		(void)close(vsock->fd);
	vsock->fd = -1;
	vsock->sock = NULL;
	return false; /* and so does each */
}

static void after_fork_child(void)
{
	if (!table_fork_ends(true))
		return;
	(void)table_search(leave_to_parent, NULL);
	if (serve.epoll_fd >= 0)
		(void)close(serve.epoll_fd);
	serve.epoll_fd = -1;
	serve.opening = false;
	serve.opened = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	serve.ctx = NULL; /* the parent's: libmsg frees nothing of it in a child */
	locks_free();
}

__attribute__((constructor)) static void watch_forks(void)
{
	(void)real();
	(void)pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

/* Only an end that is closed is told to the peer: the kernel would close them after this. */
static void close_connected(void)
{
	struct vsock_address local, remote;
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *item;

	while (dir && (item = readdir(dir))) {
		int fd = atoi(item->d_name);

		if (fd != dirfd(dir) && *item->d_name != '.' && label_of(fd, &local, &remote))
			(void)close(fd);
	}
	if (dir)
		(void)closedir(dir);
}

/* exit(3) calls this before it writes what stdio has. */
__attribute__((destructor)) static void drain_at_exit(void)
{
	if (!serve.ctx)
		return;
	(void)fflush(NULL);
	close_connected();
	(void)msg_ctx_drain(serve.ctx, EXIT_MS);
}

/* ---- calls --------------------------------------------------------------------------- */

/* Under the lock. NULL: it is none of this process's. */
static struct vsock *vsock_of(int fd)
{
	struct vsock *vsock;

	table_lock();
	vsock = table_find(fd);
	table_unlock();
	return vsock;
}

static struct vsock *vsock_new(int type, int fd, int program_fd)
{
	struct vsock *vsock = calloc(1, sizeof(*vsock));

	if (!vsock)
		return NULL;
	*vsock = (struct vsock){.cookie = real_cookie(program_fd),
		.type = type,
		.local = {VMADDR_CID_ANY, VMADDR_PORT_ANY},
		.sizes = VSOCK_SIZES,
		.timeout_ms = SERVE_CONNECT_MS,
		.fd = fd};
	return vsock;
}

/* Also closes the ends of sockets that the program has closed meanwhile. */
static int socket_add(int type, const int fds[2])
{
	struct vsock *vsock;
	int r;

	r = set_have();
	if (r < 0)
		return r;
	take_events();
	vsock = vsock_new(type, fds[1], fds[0]);
	if (!vsock)
		return -ENOMEM;
	r = set_events(EPOLL_CTL_ADD, vsock, 0);
	if (r < 0) {
		free(vsock);
		return r;
	}
	table_lock();
	r = table_add(vsock);
	table_unlock();
	if (r < 0)
		free(vsock); /* the caller closes what the set has */
	return r;
}

int serve_socket(int type, bool nonblock, bool cloexec, int *ret_fd)
{
	const int size = SNDBUF;
	int fds[2], r;

	table_use();
	serve_lock();
	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0) {
		r = -errno;
		serve_unlock();
		return r;
	}
	r = socket_add(type, fds);
	serve_unlock();
	if (r < 0) {
		(void)close(fds[0]);
		(void)close(fds[1]);
		return r;
	}
	(void)real()->setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (nonblock)
		(void)fcntl(fds[0], F_SETFL, fcntl(fds[0], F_GETFL) | O_NONBLOCK);
	if (!cloexec)
		(void)fcntl(fds[0], F_SETFD, 0);
	*ret_fd = fds[0];
	return 0;
}

static int own_cid_locked(uint32_t *ret_cid)
{
	struct address_file file = file_begin();
	int r = serve_start();

	return r < 0 ? r
		     : file_end(&file, address_own_cid(&file, msg_ctx_domid(serve.ctx), ret_cid));
}

int serve_own_cid(uint32_t *ret_cid)
{
	int r;

	table_use();
	serve_lock();
	r = own_cid_locked(ret_cid);
	serve_unlock();
	return r;
}

/* ---- bind ------------------------------------------------------------------------------ */

static int may_bind(const struct vsock *vsock)
{
	return !vsock ? -EBADF : vsock->bound || vsock->state != VSOCK_IDLE ? -EINVAL : 0;
}

static bool has_port(struct vsock *vsock, const void *arg)
{
	const uint32_t *port = arg;

	return vsock->fd >= 0 && vsock->bound && vsock->local.port == *port;
}

/* The program has closed its end, of which the thread has not heard yet. */
static bool is_closed(const struct vsock *vsock)
{
	struct pollfd poll_fd = {.fd = vsock->fd};

	return vsock->state != VSOCK_ASKING && poll(&poll_fd, 1, 0) == 1 &&
	       (poll_fd.revents & POLLHUP);
}

/* Another socket of this process has the port. Of other processes' ones msgd tells at listen(2). */
static bool port_is_taken(uint32_t port)
{
	struct vsock *vsock;

	while ((vsock = table_search(has_port, &port)) && is_closed(vsock))
		vsock_end(vsock);
	return vsock;
}

static int bind_locked(int fd, const struct vsock_address *address)
{
	struct vsock *vsock;
	uint32_t own;
	int r = may_bind(vsock_of(fd));

	if (r == 0 && address->cid != VMADDR_CID_ANY && address->cid != VMADDR_CID_LOCAL) {
		r = own_cid_locked(&own);
		if (r == 0 && address->cid != own)
			r = -EADDRNOTAVAIL;
	}
	if (r == 0 && address->port != VMADDR_PORT_ANY && port_is_taken(address->port))
		r = -EADDRINUSE;
	if (r < 0)
		return r;
	vsock = vsock_of(fd);
	r = may_bind(vsock);
	if (r < 0)
		return r;
	table_lock();
	vsock->bound = true;
	vsock->local = *address;
	if (address->port == VMADDR_PORT_ANY)
		vsock->local.port = port_make_up();
	table_unlock();
	return 0;
}

int serve_bind(int fd, const struct vsock_address *address)
{
	int r;

	serve_lock();
	r = bind_locked(fd, address);
	serve_unlock();
	return r;
}

/* ---- connect --------------------------------------------------------------------------- */

static int may_begin(const struct vsock *vsock)
{
	if (!vsock)
		return -EBADF;
	return vsock->fd < 0			  ? -EINVAL
	       : vsock->state == VSOCK_IDLE	  ? 0
	       : vsock->state == VSOCK_CONNECTING ? -EALREADY
						  : -EINVAL;
}

/* Has a context, and a socket that may begin. */
static int begin(int fd, struct vsock **ret_vsock)
{
	struct vsock *vsock;
	int r = may_begin(vsock_of(fd));

	if (r == 0)
		r = serve_start();
	if (r < 0)
		return r;
	vsock = vsock_of(fd);
	r = may_begin(vsock);
	if (r == 0)
		*ret_vsock = vsock;
	return r;
}

static int libmsg_type(const struct vsock *vsock)
{
	return vsock->type == SOCK_STREAM ? LIBMSG_STREAM : LIBMSG_SEQPACKET;
}

static void connecting(struct vsock *vsock, const struct vsock_address *remote, uint32_t own_cid)
{
	msg_set_userdata(vsock->sock, vsock);
	table_lock();
	vsock->state = VSOCK_CONNECTING;
	vsock->error = 0;
	vsock->remote = *remote;
	vsock->local.cid = own_cid;
	if (!vsock->bound)
		vsock->local.port = port_make_up();
	vsock->bound = true;
	table_unlock();
}

static int connect_locked(int fd, const struct vsock_address *remote)
{
	struct address_file file = file_begin();
	char target[ADDRESS_SIZE];
	struct vsock *vsock;
	uint32_t own_cid;
	int timeout_ms, r = begin(fd, &vsock);

	if (r == 0)
		r = own_cid_locked(&own_cid);
	if (r < 0)
		return r;
	r = file_end(&file,
		address_target(&file, remote->cid, remote->port, msg_ctx_domid(serve.ctx), target));
	if (r < 0)
		return r;
	table_lock();
	timeout_ms = vsock->timeout_ms;
	table_unlock();
	vsock->sock =
		msg_connect(serve.ctx, target, libmsg_type(vsock), LIBMSG_NONBLOCK, timeout_ms);
	if (!vsock->sock)
		return -connect_errno(errno);
	drain_all(vsock);
	vsock->filled = fill(fd, vsock->type);
	connecting(vsock, remote, own_cid);
	return 0;
}

int serve_connect(int fd, const struct vsock_address *address)
{
	int r;

	serve_lock();
	r = connect_locked(fd, address);
	serve_unlock();
	return r;
}

/* ---- listen ---------------------------------------------------------------------------- */

static void set_state(struct vsock *vsock, enum vsock_state state)
{
	table_lock();
	vsock->state = state;
	table_unlock();
}

/* The listener, with msgd's answer, which is waited for without the lock. */
static int listener_open(struct vsock *vsock, const char *name, int backlog)
{
	struct msg_pollfd answer = {.events = POLLOUT};
	int64_t error = ENODEV;

	backlog = backlog < 1 ? 1 : backlog > BACKLOG_MAX ? BACKLOG_MAX : backlog;
	set_state(vsock, VSOCK_ASKING);
	(void)pthread_mutex_unlock(&serve.lock);
	answer.sock = msg_listen(serve.ctx, name, libmsg_type(vsock), backlog, LIBMSG_NONBLOCK);
	if (!answer.sock)
		error = errno;
	else if (msg_poll(&answer, 1, OPEN_MS) == 1)
		(void)msg_getopt(answer.sock, LIBMSG_ERROR, &error);
	(void)pthread_mutex_lock(&serve.lock);
	vsock->sock = answer.sock;
	if (error)
		sock_close(vsock);
	return -(int)error;
}

static int listen_locked(int fd, int backlog)
{
	struct address_file file = file_begin();
	const int size = LISTENER_SNDBUF;
	char name[ADDRESS_SIZE];
	struct vsock *vsock = vsock_of(fd);
	int r;

	if (vsock && vsock->fd >= 0 && vsock->state == VSOCK_LISTENING)
		return 0;
	if (vsock && !vsock->bound)
		return -EINVAL; /* as the kernel has it */
	take_events();		/* one that the program has closed may have had the name */
	r = begin(fd, &vsock);
	if (r == 0)
		r = file_end(&file, address_name(&file, vsock->local.port, name));
	if (r < 0)
		return r;
	r = listener_open(vsock, name, backlog);
	set_state(vsock, r < 0 ? VSOCK_IDLE : VSOCK_LISTENING);
	(void)set_events(EPOLL_CTL_MOD, vsock, r < 0 ? 0 : EPOLLOUT);
	if (r < 0)
		return r;
	drain_all(vsock);
	(void)real()->setsockopt(vsock->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	msg_set_userdata(vsock->sock, vsock);
	on_listener(vsock);
	return 0;
}

int serve_listen(int fd, int backlog)
{
	int r;

	serve_lock();
	r = listen_locked(fd, backlog);
	serve_unlock();
	return r;
}
