/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names and addresses: what people type and what CONNECT carries. Form only; who may use a name,
 * and whether a domain exists, is for the broker.
 */
#include "proto/control.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Not <ctype.h>: names must not depend on the locale. */
static bool name_char(char c, bool first)
{
	if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')
		return true;
	return !first && (c == '.' || c == '-' || c == '+');
}

int name_check(const char *name)
{
	size_t len = strnlen(name, NAME_SIZE);

	if (len == 0 || len == NAME_SIZE)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (!name_char(name[i], i == 0))
			return -EINVAL;
	}
	return 0;
}

size_t name_base_len(const char *name)
{
	return strcspn(name, "+");
}

static int glob_check(const char *glob)
{
	size_t len = strnlen(glob, NAME_SIZE);

	if (len == 0 || len == NAME_SIZE)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (glob[i] != '*' && glob[i] != '?' && !name_char(glob[i], i == 0))
			return -EINVAL;
	}
	return 0;
}

static int split(const char *address, int (*check)(const char *name),
	char ret_domain[DOMAIN_NAME_SIZE], char ret_name[NAME_SIZE])
{
	const char *slash = strchr(address, '/');
	const char *name = slash ? slash + 1 : address;
	size_t domain_len = slash ? (size_t)(slash - address) : 0;

	if (slash && (domain_len == 0 || domain_len >= DOMAIN_NAME_SIZE))
		return -EINVAL;
	for (size_t i = 0; i < domain_len; i++) {
		if (address[i] < 0x20 || address[i] > 0x7e)
			return -EINVAL;
	}
	if (check(name) < 0) /* which refuses a second slash, too */
		return -EINVAL;

	memset(ret_domain, 0, DOMAIN_NAME_SIZE);
	memcpy(ret_domain, address, domain_len);
	memset(ret_name, 0, NAME_SIZE);
	memcpy(ret_name, name, strlen(name));
	return 0;
}

int address_split(const char *address, char ret_domain[DOMAIN_NAME_SIZE], char ret_name[NAME_SIZE])
{
	return split(address, name_check, ret_domain, ret_name);
}

int pattern_split(const char *pattern, char ret_domain[DOMAIN_NAME_SIZE], char ret_name[NAME_SIZE])
{
	return split(pattern, glob_check, ret_domain, ret_name);
}
