/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From addresses to names, and back to CIDs: see address.h. */
#include "compat/vsock/address.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

/* Beyond all domids, which have 15 bits: CIDs of domains whose number is a CID of its own. */
#define CID_BASE   65536U
#define DOMID_MAX  0x7fefU
#define DOMID_HOST 0U
/* An address, a target and space between them. A longer line is an error. */
#define LINE_SIZE 512

struct rule {
	enum { CONNECT, LISTEN, LOCAL } kind;
	bool any_cid, any_port;
	uint32_t cid, port;
	const char *target; /* borrowed from the line */
};

/* A question, and the answer of the first rule that fits. */
struct query {
	bool (*fits)(const struct rule *rule, const struct query *query);
	uint32_t cid, port, domid;
	const char *domain;
	bool answered;
	uint32_t answer_cid;
	char answer[ADDRESS_SIZE];
};

/* ---- the file ------------------------------------------------------------------------ */

static bool number_of(const char *word, uint32_t *ret)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(word, &end, 10);
	/* The last one is VMADDR_CID_ANY, and VMADDR_PORT_ANY. */
	if (errno || *end || *word < '0' || *word > '9' || n >= UINT32_MAX)
		return false;
	*ret = (uint32_t)n;
	return true;
}

static bool number_or_any(const char *word, bool *ret_any, uint32_t *ret)
{
	*ret_any = strcmp(word, "*") == 0;
	return *ret_any || number_of(word, ret);
}

/* With the CID and the port of a question in it. */
static const char *expand(const char *target, uint32_t cid, uint32_t port, char ret[ADDRESS_SIZE])
{
	size_t n = 0;

	for (; *target; target++) {
		if (*target != '%')
			n += (size_t)snprintf(ret + n, ADDRESS_SIZE - n, "%c", *target);
		else if (target[1] == 'c' || target[1] == 'p')
			n += (size_t)snprintf(
				ret + n, ADDRESS_SIZE - n, "%u", *++target == 'c' ? cid : port);
		else
			return "a % without c or p behind it";
		if (n >= ADDRESS_SIZE)
			return "longer than a domain's name and a name may be";
	}
	return NULL;
}

static const char *target_check(const struct rule *rule)
{
	char longest[ADDRESS_SIZE];
	const char *slash = strchr(rule->target, '/');

	if (rule->kind == LISTEN && slash)
		return "a name of this domain has no slash";
	if (rule->kind == CONNECT && (!slash || slash == rule->target || !slash[1]))
		return "no DOMAIN/NAME";
	return expand(rule->target, rule->any_cid ? UINT32_MAX : rule->cid,
		rule->any_port ? UINT32_MAX : rule->port, longest);
}

/* "CID:PORT" or "listen:PORT". */
static const char *address_parse(char *word, struct rule *ret)
{
	char *colon = strchr(word, ':');

	if (!colon)
		return "neither CID:PORT, listen:PORT nor local";
	*colon = '\0';
	ret->kind = strcmp(word, "listen") == 0 ? LISTEN : CONNECT;
	if (ret->kind == CONNECT && !number_or_any(word, &ret->any_cid, &ret->cid))
		return "the CID is neither a number nor *";
	if (!number_or_any(colon + 1, &ret->any_port, &ret->port))
		return "the port is neither a number nor *";
	return NULL;
}

/* Cuts the line to pieces. *ret_some: there is a rule in it. NULL, or what is wrong. */
static const char *line_parse(char *line, struct rule *ret, bool *ret_some)
{
	char *word = strtok_r(line, " \t\n", &line);
	const char *why;

	*ret_some = word && *word != '#';
	if (!*ret_some)
		return NULL;
	*ret = (struct rule){.kind = LOCAL, .target = strtok_r(NULL, " \t\n", &line)};
	if (!ret->target || strtok_r(NULL, " \t\n", &line))
		return "not two words";
	if (strcmp(word, "local") == 0)
		return number_of(ret->target, &ret->cid) ? NULL : "the CID is no number";
	why = address_parse(word, ret);
	return why ? why : target_check(ret);
}

static void apply(const struct rule *rule, struct query *query)
{
	if (query->answered || !query->fits(rule, query))
		return;
	query->answered = true;
	query->answer_cid = rule->cid;
	if (rule->kind != LOCAL)
		(void)expand(rule->target, query->cid, query->port, query->answer);
}

/* All lines are looked at, also behind the one that answers. */
static int stream_apply(FILE *stream, struct address_file *file, struct query *query)
{
	char line[LINE_SIZE];

	for (unsigned n = 1; fgets(line, sizeof(line), stream); n++) {
		bool whole = strchr(line, '\n') || feof(stream), some = false;
		struct rule rule;

		file->why = whole ? line_parse(line, &rule, &some) : "a line that is too long";
		if (file->why) {
			file->line = n;
			return -EINVAL;
		}
		if (some)
			apply(&rule, query);
	}
	return ferror(stream) ? -EIO : 0;
}

static int ask(struct address_file *file, struct query *query)
{
	FILE *stream = fopen(file->path, "re");
	int r;

	file->line = 0;
	file->why = NULL;
	if (!stream)
		return errno == ENOENT ? 0 : -errno;
	r = stream_apply(stream, file, query);
	(void)fclose(stream);
	return r;
}

/* ---- the rule ------------------------------------------------------------------------ */

static uint32_t cid_of_domid(uint32_t domid)
{
	if (domid == DOMID_HOST)
		return VMADDR_CID_HOST;
	return domid > VMADDR_CID_HOST ? domid : CID_BASE + domid;
}

/* -1: of none. */
static int domid_of_cid(uint32_t cid, int own)
{
	if (cid == VMADDR_CID_LOCAL)
		return own;
	if (cid == VMADDR_CID_HOST)
		return DOMID_HOST;
	if (cid > VMADDR_CID_HOST && cid <= DOMID_MAX)
		return (int)cid;
	return cid >= CID_BASE && cid - CID_BASE <= DOMID_MAX ? (int)(cid - CID_BASE) : -1;
}

/* ---- questions ----------------------------------------------------------------------- */

static bool fits_address(const struct rule *rule, const struct query *query)
{
	return rule->kind == CONNECT && (rule->any_cid || rule->cid == query->cid) &&
	       (rule->any_port || rule->port == query->port);
}

int address_target(
	struct address_file *file, uint32_t cid, uint32_t port, int own, char ret[ADDRESS_SIZE])
{
	struct query query = {.fits = fits_address, .cid = cid, .port = port};
	int r = ask(file, &query), domid = domid_of_cid(cid, own);

	if (r < 0)
		return r;
	if (query.answered)
		memcpy(ret, query.answer, ADDRESS_SIZE);
	else if (domid < 0)
		return -ENODEV;
	else
		(void)snprintf(ret, ADDRESS_SIZE, "domid:%d/vsock-%u", domid, port);
	return 0;
}

static bool fits_port(const struct rule *rule, const struct query *query)
{
	return rule->kind == LISTEN && (rule->any_port || rule->port == query->port);
}

int address_name(struct address_file *file, uint32_t port, char ret[ADDRESS_SIZE])
{
	struct query query = {.fits = fits_port, .port = port};
	int r = ask(file, &query);

	if (r < 0)
		return r;
	if (query.answered)
		memcpy(ret, query.answer, ADDRESS_SIZE);
	else
		(void)snprintf(ret, ADDRESS_SIZE, "vsock-%u", port);
	return 0;
}

static bool fits_own(const struct rule *rule, const struct query *query)
{
	return rule->kind == LOCAL;
}

int address_own_cid(struct address_file *file, int own, uint32_t *ret_cid)
{
	struct query query = {.fits = fits_own};
	int r = ask(file, &query);

	if (r == 0)
		*ret_cid = query.answered ? query.answer_cid : cid_of_domid((uint32_t)own);
	return r;
}

static bool fits_peer(const struct rule *rule, const struct query *query)
{
	size_t len = strcspn(rule->target, "/");
	char number[32];

	(void)snprintf(number, sizeof(number), "domid:%u", query->domid);
	return rule->kind == CONNECT && !rule->any_cid &&
	       ((len == strlen(query->domain) && memcmp(rule->target, query->domain, len) == 0) ||
		       (len == strlen(number) && memcmp(rule->target, number, len) == 0));
}

int address_peer_cid(
	struct address_file *file, uint32_t domid, const char *domain, uint32_t *ret_cid)
{
	struct query query = {.fits = fits_peer, .domid = domid, .domain = domain};
	int r = ask(file, &query);

	if (r == 0)
		*ret_cid = query.answered ? query.answer_cid : cid_of_domid(domid);
	return r;
}
