/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The C library's own calls, where this library has others of these names. Its own code and libmsg
 * need them: all sockets that they make are of other families.
 */
#ifndef COMPAT_VSOCK_REAL_H
#define COMPAT_VSOCK_REAL_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

struct real {
	int (*socket)(int domain, int type, int protocol);
	int (*bind)(int fd, const struct sockaddr *address, socklen_t len);
	int (*listen)(int fd, int backlog);
	int (*accept)(int fd, struct sockaddr *ret_address, socklen_t *len);
	int (*accept4)(int fd, struct sockaddr *ret_address, socklen_t *len, int flags);
	int (*connect)(int fd, const struct sockaddr *address, socklen_t len);
	ssize_t (*recvmsg)(int fd, struct msghdr *message, int flags);
	int (*getsockname)(int fd, struct sockaddr *ret_address, socklen_t *len);
	int (*getpeername)(int fd, struct sockaddr *ret_address, socklen_t *len);
	int (*getsockopt)(int fd, int level, int option, void *ret_value, socklen_t *len);
	int (*setsockopt)(int fd, int level, int option, const void *value, socklen_t len);
	int (*ioctl)(int fd, unsigned long request, void *arg);
	int (*open)(const char *path, int flags, mode_t mode);
	int (*open64)(const char *path, int flags, mode_t mode);
	int (*openat)(int dir, const char *path, int flags, mode_t mode);
	int (*openat64)(int dir, const char *path, int flags, mode_t mode);
};

const struct real *real(void);

/* The number that the kernel gives this socket and no other one. 0: it tells none. */
uint64_t real_cookie(int fd);

#endif
