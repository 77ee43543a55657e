/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See address.h. */
#include "msgio/options/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/macro.h"
#include "base/number.h"
#include "proto/control.h"

#define PORT_MAX 65535U

/* "255.255.255.255" and "[::1]" are the longest hosts that may be meant. */
#define HOST_SIZE 64U

__attribute__((format(printf, 2, 3))) static int refuse(char *ret_error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(ret_error, ADDRESS_ERROR_SIZE, format, args);
	va_end(args);
	return -EINVAL;
}

/* ---- channels ----------------------------------------------------------------------------- */

int address_parse_channel(const char *text, bool listens, struct address *ret_address,
	char ret_error[ADDRESS_ERROR_SIZE])
{
	char domain[DOMAIN_NAME_SIZE], name[NAME_SIZE];
	struct address address = {.kind = ADDRESS_CHANNEL, .listens = listens};

	if (listens && strchr(text, '/'))
		return refuse(
			ret_error, "'%s': a name is listened on in this domain: NAME alone", text);
	if (address_split(text, domain, name) < 0)
		return refuse(ret_error,
			"'%s' is no %s: NAME has 1 to 63 of A-Z a-z 0-9 _ . -, and begins with "
			"none "
			"of the last two",
			text, listens ? "NAME" : "[DOMAIN/]NAME");
	strcpy(address.channel, text); /* address_split bounds it */
	*ret_address = address;
	return 0;
}

/* ---- Unix --------------------------------------------------------------------------------- */

static int parse_unix(const char *text, struct address *address, char *ret_error)
{
	struct sockaddr_un *where = (struct sockaddr_un *)&address->where;
	size_t len = strlen(text);

	if (len == 0 || strcmp(text, "@") == 0)
		return refuse(ret_error, "a Unix socket has a path, or @NAME");
	if (len >= sizeof(where->sun_path))
		return refuse(ret_error, "'%s': %zu bytes are too long for a Unix socket: %zu",
			text, len, sizeof(where->sun_path) - 1);
	where->sun_family = AF_UNIX;
	memcpy(where->sun_path, text, len);
	/* An abstract name ends with its length, and a path with a NUL. */
	address->where_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	if (text[0] == '@') {
		where->sun_path[0] = '\0';
		address->where_len--;
	}
	return 0;
}

int address_parse_path(
	const char *text, struct address *ret_address, char ret_error[ADDRESS_ERROR_SIZE])
{
	struct address address = {.kind = ADDRESS_UNIX, .listens = true};
	int r;

	if (*text == '@')
		return refuse(ret_error, "'%s': an abstract socket has no permissions", text);
	r = parse_unix(text, &address, ret_error);
	if (r == 0)
		*ret_address = address;
	return r;
}

const char *address_path(const struct address *address)
{
	const struct sockaddr_un *where = (const struct sockaddr_un *)&address->where;

	return address->kind == ADDRESS_UNIX && where->sun_path[0] ? where->sun_path : NULL;
}

/* ---- TCP ---------------------------------------------------------------------------------- */

static int set_ipv4(struct address *address, const char *host, uint32_t port)
{
	struct sockaddr_in *where = (struct sockaddr_in *)&address->where;

	if (strcmp(host, "localhost") == 0)
		host = "127.0.0.1";
	if (inet_pton(AF_INET, host, &where->sin_addr) != 1 ||
		ntohl(where->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
		return -EINVAL;
	where->sin_family = AF_INET;
	where->sin_port = htons((uint16_t)port);
	address->where_len = sizeof(*where);
	return 0;
}

static int set_ipv6(struct address *address, const char *host, uint32_t port)
{
	struct sockaddr_in6 *where = (struct sockaddr_in6 *)&address->where;

	if (strcmp(host, "[::1]") != 0)
		return -EINVAL;
	where->sin6_family = AF_INET6;
	where->sin6_addr = in6addr_loopback;
	where->sin6_port = htons((uint16_t)port);
	address->where_len = sizeof(*where);
	return 0;
}

/* HOST:PORT. Port 0 has a meaning only to a listener. */
static int parse_tcp(const char *text, struct address *address, char *ret_error)
{
	const char *colon = strrchr(text, ':');
	char host[HOST_SIZE];
	uint32_t port;

	if (!colon || colon == text || (text[0] == '[' && colon[-1] != ']'))
		return refuse(ret_error, "'%s' is no HOST:PORT", text);
	if (!number_from_text(colon + 1, PORT_MAX, &port) || (port == 0 && !address->listens))
		return refuse(ret_error, "'%s': a port is %d to %u, not '%s'", text,
			!address->listens, PORT_MAX, colon + 1);
	(void)snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	if (set_ipv4(address, host, port) < 0 && set_ipv6(address, host, port) < 0)
		return refuse(ret_error,
			"'%s': %s is not this machine's own: localhost, 127.0.0.1 (or another of "
			"127.x.x.x) or [::1]",
			text, host);
	return 0;
}

/* ---- VSOCK -------------------------------------------------------------------------------- */

/* Of the local machine: the other machines that VSOCK reaches are no part of this one. */
static int parse_vsock(const char *text, struct address *address, char *ret_error)
{
	struct sockaddr_vm *where = (struct sockaddr_vm *)&address->where;
	uint32_t port;

	if (!number_from_text(text, UINT32_MAX - 1, &port))
		return refuse(ret_error,
			"'%s' is no PORT, a number (the machine is always the local one)", text);
	where->svm_family = AF_VSOCK;
	where->svm_cid = VMADDR_CID_LOCAL;
	where->svm_port = port;
	address->where_len = sizeof(*where);
	return 0;
}

/* ---- all of them -------------------------------------------------------------------------- */

struct form {
	const char *prefix;
	enum address_kind kind;
	bool listens;
	int (*parse)(const char *text, struct address *address, char *ret_error);
};

static const struct form forms[] = {
	{"listen:", ADDRESS_CHANNEL, true, NULL},
	{"connect:", ADDRESS_CHANNEL, false, NULL},
	{"unix-listen:", ADDRESS_UNIX, true, parse_unix},
	{"unix-connect:", ADDRESS_UNIX, false, parse_unix},
	{"tcp-listen:", ADDRESS_TCP, true, parse_tcp},
	{"tcp-connect:", ADDRESS_TCP, false, parse_tcp},
	{"vsock-listen:", ADDRESS_VSOCK, true, parse_vsock},
	{"vsock-connect:", ADDRESS_VSOCK, false, parse_vsock},
};

static int parse_form(const struct form *form, const char *text, struct address *ret_address,
	char ret_error[ADDRESS_ERROR_SIZE])
{
	struct address address = {.kind = form->kind, .listens = form->listens};
	int r;

	if (!form->parse)
		return address_parse_channel(text, form->listens, ret_address, ret_error);
	r = form->parse(text, &address, ret_error);
	if (r == 0)
		*ret_address = address;
	return r;
}

int address_parse(const char *text, struct address *ret_address, char ret_error[ADDRESS_ERROR_SIZE])
{
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		size_t len = strlen(forms[i].prefix);

		if (strncmp(text, forms[i].prefix, len) == 0)
			return parse_form(&forms[i], text + len, ret_address, ret_error);
	}
	return refuse(ret_error,
		"'%s' begins with none of listen: connect: unix-listen: unix-connect: tcp-listen: "
		"tcp-connect: vsock-listen: vsock-connect:",
		text);
}

/* ---- for people --------------------------------------------------------------------------- */

static void describe_tcp(const struct address *address, char *ret_text)
{
	char host[INET6_ADDRSTRLEN] = "", port[8] = "";

	(void)getnameinfo((const struct sockaddr *)&address->where, address->where_len, host,
		sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	(void)snprintf(ret_text, ADDRESS_TEXT_SIZE, "TCP %s port %s", host, port);
}

void address_describe(const struct address *address, char ret_text[ADDRESS_TEXT_SIZE])
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&address->where;
	const struct sockaddr_vm *vm = (const struct sockaddr_vm *)&address->where;
	bool abstract = !un->sun_path[0];

	if (address->kind == ADDRESS_CHANNEL)
		(void)snprintf(ret_text, ADDRESS_TEXT_SIZE, "%s", address->channel);
	else if (address->kind == ADDRESS_UNIX)
		(void)snprintf(ret_text, ADDRESS_TEXT_SIZE, "%s%s", abstract ? "@" : "",
			un->sun_path + abstract);
	else if (address->kind == ADDRESS_VSOCK)
		(void)snprintf(ret_text, ADDRESS_TEXT_SIZE, "VSOCK port %u", vm->svm_port);
	else
		describe_tcp(address, ret_text);
}
