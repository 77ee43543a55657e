/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See the header. An unknown fact must never give a domain more than its facts would. */
#include "daemon/broker/assign.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/macro.h"

struct assignment {
	STAILQ_ENTRY(assignment) entry;
	struct policy_who *who; /* owned */
	size_t offset;		/* of the limit */
	uint32_t value;
	char *tag;   /* owned; NULL: it is a limit */
	char text[]; /* the WHO as it was written */
};

STAILQ_HEAD(assignment_list, assignment);

struct assignments {
	struct assignment_list tags, limits; /* owned; in the file's order */
};

int assignments_new(struct assignments **ret_assignments)
{
	struct assignments *assignments = calloc(1, sizeof(*assignments));

	if (!assignments)
		return -ENOMEM;
	STAILQ_INIT(&assignments->tags);
	STAILQ_INIT(&assignments->limits);
	*ret_assignments = assignments;
	return 0;
}

static void assignment_free(struct assignment *assignment)
{
	free(assignment->who);
	free(assignment->tag);
	free(assignment);
}

static void list_free(struct assignment_list *list)
{
	struct assignment *assignment;

	while ((assignment = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, entry);
		assignment_free(assignment);
	}
}

void assignments_free(struct assignments *assignments)
{
	if (!assignments)
		return;
	list_free(&assignments->tags);
	list_free(&assignments->limits);
	free(assignments);
}

static int assignment_new(const char *who, bool tags, struct assignment **ret_assignment)
{
	size_t size = strlen(who) + 1;
	struct assignment *assignment = calloc(1, sizeof(*assignment) + size);
	int r;

	if (!assignment)
		return -ENOMEM;
	memcpy(assignment->text, who, size);
	r = policy_who_new(who, tags, &assignment->who);
	if (r < 0)
		assignment_free(assignment);
	else
		*ret_assignment = assignment;
	return r;
}

int assignments_add_tag(struct assignments *assignments, const char *tag, const char *who)
{
	struct assignment *assignment;
	int r = assignment_new(who, false, &assignment);

	if (r < 0)
		return r;
	assignment->tag = strdup(tag);
	if (!assignment->tag) {
		assignment_free(assignment);
		return -ENOMEM;
	}
	STAILQ_INSERT_TAIL(&assignments->tags, assignment, entry);
	return 0;
}

int assignments_add_limit(
	struct assignments *assignments, const char *who, size_t offset, uint32_t value)
{
	struct assignment *assignment;
	int r;

	STAILQ_FOREACH (assignment, &assignments->limits, entry)
		if (assignment->offset == offset && strcmp(assignment->text, who) == 0)
			return -EEXIST;
	r = assignment_new(who, true, &assignment);
	if (r < 0)
		return r;
	assignment->offset = offset;
	assignment->value = value;
	STAILQ_INSERT_TAIL(&assignments->limits, assignment, entry);
	return 0;
}

void assignments_tags(const struct assignments *assignments, const struct policy_subject *subject,
	struct policy_tags *ret_tags)
{
	struct policy_tags tags = {.all_known = true};
	const struct assignment *assignment;

	STAILQ_FOREACH (assignment, &assignments->tags, entry) {
		enum match match = policy_who_match(assignment->who, subject);

		/* One tag too many is an unknown one from then on. */
		if (match == MATCH_YES)
			(void)policy_tags_add(&tags, assignment->tag);
		else if (match == MATCH_MAYBE)
			tags.all_known = false;
	}
	*ret_tags = tags;
}

/* The first assignment that is the domain's counts, and those before it that might be. */
static uint32_t limit_find(const struct assignments *assignments,
	const struct policy_subject *subject, size_t offset, uint32_t general)
{
	const struct assignment *assignment;
	uint32_t most = UINT32_MAX;

	STAILQ_FOREACH (assignment, &assignments->limits, entry) {
		enum match match;

		if (assignment->offset != offset)
			continue;
		match = policy_who_match(assignment->who, subject);
		if (match == MATCH_MAYBE)
			most = min_u32(most, assignment->value);
		if (match == MATCH_YES)
			return min_u32(most, assignment->value);
	}
	return min_u32(most, general);
}

void assignments_limits(const struct assignments *assignments, const struct policy_subject *subject,
	const struct broker_limits *general, struct broker_limits *ret_limits)
{
	uint32_t limits[sizeof(*general) / sizeof(uint32_t)];

	_Static_assert(sizeof(limits) == sizeof(*general), "each limit is a uint32_t");
	memcpy(limits, general, sizeof(limits));
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		limits[i] = limit_find(assignments, subject, i * sizeof(uint32_t), limits[i]);
	memcpy(ret_limits, limits, sizeof(limits));
}
