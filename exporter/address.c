/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See address.h. No name is looked up: localhost is known, and everything else is a number. */
#include "exporter/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/listen.h"
#include "base/number.h"
#include "exporter/limits.h"

#define UNIX "unix:"

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_storage storage;
};

static bool address_is_loopback(const union address *address)
{
	if (address->any.sa_family == AF_INET)
		return ntohl(address->in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return address->any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&address->in6.sin6_addr);
}

/* host: "localhost", "127.0.0.1", "[::1]". False: it is no address. */
static bool host_parse(const char *host, union address *ret_address)
{
	union address address = {.any.sa_family = AF_UNSPEC};
	char text[INET6_ADDRSTRLEN];
	size_t len = strlen(host);

	if (strcasecmp(host, "localhost") == 0)
		host = "127.0.0.1";
	if (inet_pton(AF_INET, host, &address.in.sin_addr) == 1) {
		address.any.sa_family = AF_INET;
	} else if (len > 2 && len - 2 < sizeof(text) && host[0] == '[' && host[len - 1] == ']') {
		memcpy(text, host + 1, len - 2);
		text[len - 2] = '\0';
		if (inet_pton(AF_INET6, text, &address.in6.sin6_addr) == 1)
			address.any.sa_family = AF_INET6;
	}
	*ret_address = address;
	return address.any.sa_family != AF_UNSPEC;
}

bool host_is_loopback(const char *host)
{
	union address address;

	return host && host_parse(host, &address) && address_is_loopback(&address);
}

static int tcp_listen(const union address *address, int *ret_fd)
{
	_cleanup_close_ int fd =
		socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len =
		address->any.sa_family == AF_INET ? sizeof(address->in) : sizeof(address->in6);
	const int one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
		bind(fd, &address->any, len) < 0 || listen(fd, CLIENTS_QUEUED) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int fail(int r, const char *text, const char *why, char ret_error[ADDRESS_ERROR_SIZE])
{
	(void)snprintf(ret_error, ADDRESS_ERROR_SIZE, "%.150s: %s", text, why);
	return r;
}

static int host_listen(const char *text, int *ret_fd, char ret_error[ADDRESS_ERROR_SIZE])
{
	const char *colon = strrchr(text, ':');
	_cleanup_free_ char *host = colon ? strndup(text, (size_t)(colon - text)) : NULL;
	union address address;
	uint32_t port;
	int r;

	if (!host || !number_from_text(colon + 1, UINT16_MAX, &port) || !host_parse(host, &address))
		return fail(-EINVAL, text,
			"is neither unix:PATH nor HOST:PORT, with localhost or a "
			"number as HOST",
			ret_error);
	if (!address_is_loopback(&address))
		return fail(-EINVAL, text,
			"is not of the loopback: msg-exporter has neither TLS "
			"nor passwords, and leaves other machines to a proxy",
			ret_error);
	if (address.any.sa_family == AF_INET)
		address.in.sin_port = htons((uint16_t)port);
	else
		address.in6.sin6_port = htons((uint16_t)port);
	r = tcp_listen(&address, ret_fd);
	return r < 0 ? fail(r, text, strerror(-r), ret_error) : 0;
}

int address_listen(
	const char *text, int *ret_fd, const char **ret_unix, char ret_error[ADDRESS_ERROR_SIZE])
{
	const char *path = text + strlen(UNIX);
	int r;

	*ret_unix = NULL;
	if (strncmp(text, UNIX, strlen(UNIX)) != 0)
		return host_listen(text, ret_fd, ret_error);
	if (!*path)
		return fail(-EINVAL, text, "has no path", ret_error);
	r = unix_listen(path, SOCK_STREAM, 0660, CLIENTS_QUEUED, ret_fd);
	if (r < 0)
		return fail(r, text, r == -EADDRINUSE ? "a process answers there" : strerror(-r),
			ret_error);
	*ret_unix = path;
	return 0;
}

int address_check(int fd, bool *ret_tcp, char ret_error[ADDRESS_ERROR_SIZE])
{
	union address address = {.any.sa_family = AF_UNSPEC};
	socklen_t len = sizeof(address);
	int type = 0, listens = 0;
	socklen_t size = sizeof(type), listens_size = sizeof(listens);

	(void)getsockname(fd, &address.any, &len);
	(void)getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
	(void)getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size);
	if (type == SOCK_STREAM && listens &&
		(address.any.sa_family == AF_UNIX || address_is_loopback(&address))) {
		*ret_tcp = address.any.sa_family != AF_UNIX;
		return 0;
	}
	return fail(-EINVAL, "the socket that was passed",
		"is neither a listening Unix socket nor one of the loopback", ret_error);
}

void address_describe(int fd, const char *text, char ret_text[ADDRESS_ERROR_SIZE])
{
	union address address = {.any.sa_family = AF_UNSPEC};
	socklen_t len = sizeof(address);

	(void)getsockname(fd, &address.any, &len);
	if (address.any.sa_family == AF_UNIX)
		(void)snprintf(ret_text, ADDRESS_ERROR_SIZE, "%s", text);
	else
		(void)snprintf(ret_text, ADDRESS_ERROR_SIZE, "%.*s:%u",
			(int)(strrchr(text, ':') - text), text,
			ntohs(address.any.sa_family == AF_INET ? address.in.sin_port
							       : address.in6.sin6_port));
}
