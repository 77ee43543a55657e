/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The news of a watch: see the header. No name is held twice, nor queued if it is no news. */
#include "libmsg/socket/names.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/hash.h"

/* Another msgd may tell of as many others before it says which of the former ones are gone. */
#define NAMES_MAX (2U * WATCH_NAMES_MAX)

struct name {
	UT_hash_handle hh;	 /* names->by_address */
	TAILQ_ENTRY(name) entry; /* names->news, while queued */
	uint32_t n_holders;	 /* of which this msgd has told */
	bool there;		 /* by the last word of a msgd */
	bool told;		 /* by the last message that the application received */
	bool queued;
	char address[];
};

struct names {
	struct name *by_address; /* owned */
	TAILQ_HEAD(, name) news; /* borrowed: there != told; and `end` */
	struct name *end;	 /* owned: the empty message, in its place among the others */
	bool ended;		 /* the empty message is queued, or was received */
};

static struct name *name_new(const char *address)
{
	struct name *name = calloc(1, sizeof(*name) + strlen(address) + 1);

	if (name)
		strcpy(name->address, address);
	return name;
}

struct names *names_new(void)
{
	struct names *names = calloc(1, sizeof(*names));

	if (!names)
		return NULL;
	TAILQ_INIT(&names->news);
	names->end = name_new("");
	if (!names->end) {
		free(names);
		return NULL;
	}
	return names;
}

void names_free(struct names *names)
{
	struct name *name, *next;

	if (!names)
		return;
	HASH_ITER (hh, names->by_address, name, next) {
		HASH_DEL(names->by_address, name);
		free(name);
	}
	free(names->end);
	free(names);
}

static void set_queued(struct names *names, struct name *name, bool queued)
{
	if (queued && !name->queued)
		TAILQ_INSERT_TAIL(&names->news, name, entry);
	else if (!queued && name->queued)
		TAILQ_REMOVE(&names->news, name, entry);
	name->queued = queued;
}

/* It is news, or none; one that nobody knows of is forgotten. */
static void name_changed(struct names *names, struct name *name)
{
	set_queued(names, name, name->there != name->told);
	if (name->there || name->told)
		return;
	HASH_DEL(names->by_address, name);
	free(name);
}

/* NULL: out of memory. */
static struct name *name_add(struct names *names, const char *address)
{
	struct name *name = name_new(address);

	if (!name)
		return NULL;
	HASH_ADD_STR(names->by_address, address, name);
	if (hash_added(&name->hh))
		return name;
	free(name);
	return NULL;
}

int names_change(struct names *names, const char *address, bool come)
{
	struct name *name;

	HASH_FIND_STR(names->by_address, address, name);
	if (!come && (!name || !name->n_holders))
		return 0;
	if (!name && HASH_COUNT(names->by_address) >= NAMES_MAX)
		return -ENOBUFS;
	if (!name)
		name = name_add(names, address);
	if (!name)
		return -ENOMEM;
	name->n_holders += come ? 1 : -1U;
	name->there = name->n_holders;
	name_changed(names, name);
	return 0;
}

void names_done(struct names *names)
{
	struct name *name, *next;

	/* A former msgd's names that this one has not told of are gone. */
	HASH_ITER (hh, names->by_address, name, next) {
		name->there = name->n_holders;
		name_changed(names, name);
	}
	if (!names->ended)
		set_queued(names, names->end, true);
	names->ended = true;
}

void names_again(struct names *names)
{
	struct name *name;

	for (name = names->by_address; name; name = name->hh.next)
		name->n_holders = 0;
}

int names_first(const struct names *names, char ret_text[NAMES_TEXT_SIZE], size_t *ret_len)
{
	const struct name *name = TAILQ_FIRST(&names->news);

	if (!name)
		return -EAGAIN;
	*ret_len = 0;
	if (name != names->end)
		*ret_len = (size_t)snprintf(
			ret_text, NAMES_TEXT_SIZE, "%c%s", name->there ? '+' : '-', name->address);
	return 0;
}

void names_take_first(struct names *names)
{
	struct name *name = TAILQ_FIRST(&names->news);

	if (name == names->end) {
		set_queued(names, name, false);
		return;
	}
	name->told = name->there;
	name_changed(names, name);
}
