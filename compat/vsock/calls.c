/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The C library's calls, as a program with this library before it has them: libmsg-vsock(7). For a
 * socket of another family each costs a look at its arguments or at what the kernel answered; for
 * those that have no address in them (accept, listen, SO_ERROR), once the process has made a socket
 * of AF_VSOCK, also a question to the kernel. None of these waits for anybody: see table.h.
 *
 * They have other names in C: glibc's headers redirect some, and give others unions for arguments.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "compat/vsock/real.h"
#include "compat/vsock/serve.h"

#define CALL(name) __asm__(name) __attribute__((visibility("default")))

int vsock_socket(int domain, int type, int protocol) CALL("socket");
int vsock_bind(int fd, const struct sockaddr *address, socklen_t len) CALL("bind");
int vsock_listen(int fd, int backlog) CALL("listen");
int vsock_accept(int fd, struct sockaddr *ret_address, socklen_t *len) CALL("accept");
int vsock_accept4(int fd, struct sockaddr *ret_address, socklen_t *len, int flags) CALL("accept4");
int vsock_connect(int fd, const struct sockaddr *address, socklen_t len) CALL("connect");
ssize_t vsock_recvmsg(int fd, struct msghdr *message, int flags) CALL("recvmsg");
int vsock_getsockname(int fd, struct sockaddr *ret_address, socklen_t *len) CALL("getsockname");
int vsock_getpeername(int fd, struct sockaddr *ret_address, socklen_t *len) CALL("getpeername");
int vsock_getsockopt(int fd, int level, int option, void *ret_value, socklen_t *len)
	CALL("getsockopt");
int vsock_setsockopt(int fd, int level, int option, const void *value, socklen_t len)
	CALL("setsockopt");
int vsock_ioctl(int fd, unsigned long request, ...) CALL("ioctl");
int vsock_open(const char *path, int flags, ...) CALL("open");
int vsock_open64(const char *path, int flags, ...) CALL("open64");
int vsock_openat(int dir, const char *path, int flags, ...) CALL("openat");
int vsock_openat64(int dir, const char *path, int flags, ...) CALL("openat64");

/* SOL_VSOCK of newer headers; options of either level are the same. */
#define LEVEL_VSOCK 287

static int result(int r)
{
	if (r >= 0)
		return r;
	errno = -r;
	return -1;
}

/* ---- descriptors ----------------------------------------------------------------------- */

/* A socket as it is now. */
struct view {
	bool connected;
	enum vsock_state state;
	struct vsock_address local, remote;
};

/* The table comes first: a socket that is not in it any more has its label. */
static bool view_of(int fd, struct view *ret)
{
	struct vsock *vsock = table_hold(fd);

	if (vsock) {
		ret->state = vsock->state;
		ret->local = vsock->local;
		table_unlock();
	}
	ret->connected = !vsock && label_of(fd, &ret->local, &ret->remote);
	return vsock || ret->connected;
}

static int address_in(const struct sockaddr *address, socklen_t len, struct vsock_address *ret)
{
	struct sockaddr_vm in;

	if (len < sizeof(in))
		return -EINVAL;
	memcpy(&in, address, sizeof(in));
	*ret = (struct vsock_address){in.svm_cid, in.svm_port};
	return 0;
}

/* room: of the caller. */
static void address_out(const struct vsock_address *address, struct sockaddr *ret, socklen_t room,
	socklen_t *ret_len)
{
	struct sockaddr_vm out = {
		.svm_family = AF_VSOCK, .svm_cid = address->cid, .svm_port = address->port};

	if (!ret || !ret_len)
		return;
	memcpy(ret, &out, room < sizeof(out) ? room : sizeof(out));
	*ret_len = sizeof(out);
}

static bool is_family(const struct sockaddr *address, socklen_t len, int family)
{
	return address && len >= sizeof(address->sa_family) && address->sa_family == family;
}

/* ---- making -------------------------------------------------------------------------- */

int vsock_socket(int domain, int type, int protocol)
{
	int flags = type & (SOCK_NONBLOCK | SOCK_CLOEXEC), fd, r;

	if (domain != AF_VSOCK || serve_is_inside())
		return real()->socket(domain, type, protocol);
	type &= ~flags;
	if (type != SOCK_STREAM && type != SOCK_SEQPACKET)
		return result(-ESOCKTNOSUPPORT);
	if (protocol != 0 && protocol != PF_VSOCK)
		return result(-EPROTONOSUPPORT);
	r = serve_socket(type, flags & SOCK_NONBLOCK, flags & SOCK_CLOEXEC, &fd);
	return r < 0 ? result(r) : fd;
}

int vsock_bind(int fd, const struct sockaddr *address, socklen_t len)
{
	struct vsock_address wanted;
	int r;

	if (serve_is_inside() || !is_family(address, len, AF_VSOCK) || !table_has(fd))
		return real()->bind(fd, address, len);
	r = address_in(address, len, &wanted);
	if (r == 0)
		r = serve_bind(fd, &wanted);
	return r == -EBADF ? real()->bind(fd, address, len) : result(r);
}

int vsock_listen(int fd, int backlog)
{
	int r = serve_is_inside() || !table_has(fd) ? -EBADF : serve_listen(fd, backlog);

	return r == -EBADF ? real()->listen(fd, backlog) : result(r);
}

/* ---- connecting ---------------------------------------------------------------------- */

/* 0 or -errno of the connect, which is taken; -EALREADY: it goes on. */
static int connect_outcome(int fd)
{
	struct vsock *vsock = table_hold(fd);
	int r = -EALREADY;

	if (!vsock)
		return 0;
	if (vsock->state != VSOCK_CONNECTING) {
		r = -vsock->error;
		vsock->error = 0;
	}
	table_unlock();
	return r;
}

/* As the kernel's, a connect that a signal interrupts goes on. */
static int connect_wait(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
	int r;

	do {
		if (poll(&poll_fd, 1, -1) < 0)
			return -errno;
		r = connect_outcome(fd);
	} while (r == -EALREADY);
	return r;
}

/* Of a socket that is not in the table. */
static int connect_other(int fd, const struct sockaddr *address, socklen_t len)
{
	struct vsock_address ignored;

	return label_of(fd, &ignored, &ignored) ? result(-EISCONN)
						: real()->connect(fd, address, len);
}

int vsock_connect(int fd, const struct sockaddr *address, socklen_t len)
{
	struct vsock_address wanted;
	int flags, r;

	if (serve_is_inside() || !is_family(address, len, AF_VSOCK))
		return real()->connect(fd, address, len);
	if (!table_has(fd))
		return connect_other(fd, address, len);
	r = address_in(address, len, &wanted);
	if (r == 0 && (wanted.cid == VMADDR_CID_ANY || wanted.port == VMADDR_PORT_ANY))
		r = -EINVAL;
	if (r == 0)
		r = serve_connect(fd, &wanted);
	if (r == -EBADF) /* connected, or closed, meanwhile */
		return connect_other(fd, address, len);
	flags = fcntl(fd, F_GETFL);
	if (r == 0)
		r = flags & O_NONBLOCK ? -EINPROGRESS : connect_wait(fd);
	return result(r);
}

/*
 * A socket of AF_UNIX has no queue of errors and would give, or wait for, what there is to read:
 * socat looks into it when a connect has failed.
 */
ssize_t vsock_recvmsg(int fd, struct msghdr *message, int flags)
{
	struct view view;

	if (flags & MSG_ERRQUEUE && !serve_is_inside() && view_of(fd, &view))
		return result(-EAGAIN);
	return real()->recvmsg(fd, message, flags);
}

/* ---- accepting ----------------------------------------------------------------------- */

static bool is_listening(int fd)
{
	struct vsock *vsock = serve_is_inside() ? NULL : table_hold(fd);
	bool is = vsock && vsock->state == VSOCK_LISTENING;

	if (vsock)
		table_unlock();
	return is;
}

/* The next descriptor, or -errno: EINVAL: none will come. */
static int fd_receive(int fd, int cloexec)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr message = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	ssize_t n = real()->recvmsg(fd, &message, cloexec);
	int got;

	if (n < 0)
		return errno == ECONNRESET ? -EINVAL : -errno;
	if (n == 0)
		return -EINVAL;
	if (message.msg_controllen < sizeof(control.header) ||
		control.header.cmsg_type != SCM_RIGHTS)
		return -EMFILE; /* the kernel could not give it a number */
	memcpy(&got, CMSG_DATA(&control.header), sizeof(got));
	return got;
}

/*
 * Takes what lies in a connection that nobody has accepted. False: it was reset meanwhile. (Of
 * messages, the kernel has told it now, and would not tell the program.)
 */
static bool begin_accepted(int fd)
{
	char byte;

	if (recv(fd, &byte, 1, MSG_DONTWAIT) == 1)
		return true;
	(void)close(fd);
	return false;
}

int vsock_accept4(int fd, struct sockaddr *ret_address, socklen_t *len, int flags)
{
	struct vsock_address local, remote;
	int got;

	if (!is_listening(fd))
		return real()->accept4(fd, ret_address, len, flags);
	if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
		return result(-EINVAL);
	do {
		got = fd_receive(fd, flags & SOCK_CLOEXEC ? MSG_CMSG_CLOEXEC : 0);
	} while (got >= 0 && !begin_accepted(got));
	if (got < 0)
		return result(got);
	if (flags & SOCK_NONBLOCK)
		(void)fcntl(got, F_SETFL, fcntl(got, F_GETFL) | O_NONBLOCK);
	if (len && label_of(got, &local, &remote))
		address_out(&remote, ret_address, *len, len);
	return got;
}

int vsock_accept(int fd, struct sockaddr *ret_address, socklen_t *len)
{
	if (!is_listening(fd))
		return real()->accept(fd, ret_address, len);
	return vsock_accept4(fd, ret_address, len, 0);
}

/* ---- names --------------------------------------------------------------------------- */

int vsock_getsockname(int fd, struct sockaddr *ret_address, socklen_t *len)
{
	socklen_t room = len ? *len : 0;
	int r = real()->getsockname(fd, ret_address, len);
	struct view view;

	if (r == 0 && !serve_is_inside() && is_family(ret_address, room, AF_UNIX) &&
		view_of(fd, &view))
		address_out(&view.local, ret_address, room, len);
	return r;
}

int vsock_getpeername(int fd, struct sockaddr *ret_address, socklen_t *len)
{
	socklen_t room = len ? *len : 0;
	int r = real()->getpeername(fd, ret_address, len);
	struct view view;

	if (r < 0 || serve_is_inside() || !is_family(ret_address, room, AF_UNIX) ||
		!view_of(fd, &view))
		return r;
	if (!view.connected)
		return result(-ENOTCONN);
	address_out(&view.remote, ret_address, room, len);
	return 0;
}

/* ---- options ------------------------------------------------------------------------- */

/* Stands for a connected socket, which has no entry: its options are kept no more. */
static const struct vsock connected = {.sizes = VSOCK_SIZES, .timeout_ms = SERVE_CONNECT_MS};

/* Has the table's lock until options_end, if the socket is there. NULL: none of this library. */
static const struct vsock *options_begin(int fd)
{
	struct vsock_address ignored;
	const struct vsock *vsock = table_hold(fd);

	return vsock ? vsock : label_of(fd, &ignored, &ignored) ? &connected : NULL;
}

static void options_end(const struct vsock *vsock)
{
	if (vsock && vsock != &connected)
		table_unlock();
}

static int value_out(const void *value, socklen_t size, void *ret_value, socklen_t *len)
{
	if (!len || *len < size)
		return -EINVAL;
	memcpy(ret_value, value, size);
	*len = size;
	return 0;
}

static int option_get(const struct vsock *vsock, int option, void *ret_value, socklen_t *len)
{
	struct timeval time = {
		.tv_sec = vsock->timeout_ms / 1000, .tv_usec = vsock->timeout_ms % 1000 * 1000L};

	if (option >= 0 && option < VSOCK_N_SIZES)
		return value_out(&vsock->sizes[option], sizeof(uint64_t), ret_value, len);
	if (option == SO_VM_SOCKETS_CONNECT_TIMEOUT || option == SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW)
		return value_out(&time, sizeof(time), ret_value, len);
	return -ENOPROTOOPT;
}

static int time_set(struct vsock *vsock, const void *value, socklen_t len)
{
	struct timeval time;

	if (len < sizeof(time))
		return -EINVAL;
	memcpy(&time, value, sizeof(time));
	if (time.tv_sec < 0 || time.tv_usec < 0 || time.tv_usec > 999999 ||
		time.tv_sec > INT32_MAX / 1000 - 1)
		return -ERANGE;
	if (vsock) {
		/* A part of a millisecond is a whole one: 0 is for ever to libmsg. */
		vsock->timeout_ms = (int)(time.tv_sec * 1000 + (time.tv_usec + 999) / 1000);
		if (!vsock->timeout_ms)
			vsock->timeout_ms = SERVE_CONNECT_MS; /* as the kernel has it */
	}
	return 0;
}

/* vsock NULL: connected. */
static int option_set(struct vsock *vsock, int option, const void *value, socklen_t len)
{
	if (option == SO_VM_SOCKETS_CONNECT_TIMEOUT || option == SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW)
		return time_set(vsock, value, len);
	if (option < 0 || option >= VSOCK_N_SIZES)
		return -ENOPROTOOPT;
	if (len < sizeof(uint64_t))
		return -EINVAL;
	if (vsock) {
		memcpy(&vsock->sizes[option], value, sizeof(uint64_t));
		vsock->sized |= option == SO_VM_SOCKETS_BUFFER_SIZE;
	}
	return 0;
}

static bool is_level(int level)
{
	return level == AF_VSOCK || level == LEVEL_VSOCK;
}

/* -EBADF: an option of which this library does not know. */
static int sock_option_get(const struct vsock *vsock, int option, void *ret_value, socklen_t *len)
{
	int value = AF_VSOCK;

	if (option == SO_ERROR) {
		if (vsock == &connected)
			return -EBADF;
		value = vsock->error;
		((struct vsock *)vsock)->error = 0;
	} else if (option == SO_ACCEPTCONN) {
		value = vsock->state == VSOCK_LISTENING;
	}
	return value_out(&value, sizeof(value), ret_value, len);
}

int vsock_getsockopt(int fd, int level, int option, void *ret_value, socklen_t *len)
{
	bool sock = level == SOL_SOCKET &&
		    (option == SO_DOMAIN || option == SO_ERROR || option == SO_ACCEPTCONN);
	const struct vsock *vsock;
	int r = -EBADF;

	if (!serve_is_inside() && (sock || is_level(level))) {
		vsock = options_begin(fd);
		if (vsock)
			r = sock ? sock_option_get(vsock, option, ret_value, len)
				 : option_get(vsock, option, ret_value, len);
		options_end(vsock);
	}
	return r == -EBADF ? real()->getsockopt(fd, level, option, ret_value, len) : result(r);
}

static bool is_buffer(int level, int option)
{
	return level == SOL_SOCKET && (option == SO_SNDBUF || option == SO_RCVBUF ||
					      option == SO_SNDBUFFORCE || option == SO_RCVBUFFORCE);
}

int vsock_setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
	const struct vsock *vsock;
	int r = -EBADF;

	if (!serve_is_inside() && (is_buffer(level, option) || is_level(level))) {
		vsock = options_begin(fd);
		if (vsock && is_level(level))
			r = option_set(vsock == &connected ? NULL : (struct vsock *)vsock, option,
				value, len);
		else if (vsock)
			r = 0;
		options_end(vsock);
	}
	return r == -EBADF ? real()->setsockopt(fd, level, option, value, len) : result(r);
}

/* ---- /dev/vsock ---------------------------------------------------------------------- */

#define DEVICE	    "/dev/vsock"
#define DEVICE_NAME "msgd-vsock"

/* Stands for the device, which need not be there; the link in /proc tells it. */
static int device_open(int flags)
{
	return memfd_create(DEVICE_NAME, flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
}

static bool is_device(int fd)
{
	static const char wanted[] = "/memfd:" DEVICE_NAME " ";
	char path[64], link[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link));
	return n >= (ssize_t)sizeof(wanted) - 1 && memcmp(link, wanted, sizeof(wanted) - 1) == 0;
}

int vsock_ioctl(int fd, unsigned long request, ...)
{
	struct view view;
	uint32_t cid;
	va_list list;
	void *arg;
	int r;

	va_start(list, request);
	arg = va_arg(list, void *);
	va_end(list);
	if (request != IOCTL_VM_SOCKETS_GET_LOCAL_CID || serve_is_inside() ||
		(!is_device(fd) && !view_of(fd, &view)))
		return real()->ioctl(fd, request, arg);
	r = serve_own_cid(&cid);
	if (r == 0)
		memcpy(arg, &cid, sizeof(cid));
	return result(r);
}

static bool is_device_path(const char *path)
{
	return path && strcmp(path, DEVICE) == 0;
}

/* The mode, which is there where a file may be made. */
#define MODE_OF(flags, last)                                                                       \
	({                                                                                         \
		mode_t mode_ = 0;                                                                  \
                                                                                                   \
		if (((flags)&O_CREAT) || ((flags)&O_TMPFILE) == O_TMPFILE) {                       \
			va_list list_;                                                             \
                                                                                                   \
			va_start(list_, last);                                                     \
			mode_ = va_arg(list_, mode_t);                                             \
			va_end(list_);                                                             \
		}                                                                                  \
		mode_;                                                                             \
	})

int vsock_open(const char *path, int flags, ...)
{
	return is_device_path(path) ? device_open(flags)
				    : real()->open(path, flags, MODE_OF(flags, flags));
}

int vsock_open64(const char *path, int flags, ...)
{
	return is_device_path(path) ? device_open(flags)
				    : real()->open64(path, flags, MODE_OF(flags, flags));
}

int vsock_openat(int dir, const char *path, int flags, ...)
{
	return is_device_path(path) ? device_open(flags)
				    : real()->openat(dir, path, flags, MODE_OF(flags, flags));
}

int vsock_openat64(int dir, const char *path, int flags, ...)
{
	return is_device_path(path) ? device_open(flags)
				    : real()->openat64(dir, path, flags, MODE_OF(flags, flags));
}
