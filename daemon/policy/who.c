/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names and domains as rules speak of them: which text names what, and whether a domain is meant.
 * Pure.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/uuid.h"
#include "daemon/policy/rule.h"

int uuid_parse(const char *text, uint8_t ret_uuid[16])
{
	bool dashes = strlen(text) == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' &&
		      text[23] == '-';

	/* Of 36 characters four are dashes, so the rest are all digits. */
	return dashes && uuid_from_text(text, ret_uuid) ? 0 : -EINVAL;
}

#define NAME_ALPHABET "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

static bool text_is_of(const char *text, size_t size, const char *alphabet)
{
	size_t len = strlen(text);

	return len > 0 && len < size && strspn(text, alphabet) == len;
}

bool glob_is_on_names(const char *glob)
{
	const char *plus = strchr(glob, '+');

	return text_is_of(glob, NAME_SIZE, NAME_ALPHABET "*?+") &&
	       (!plus || (plus > glob && plus[1] && !strchr(plus + 1, '+')));
}

bool policy_tag_valid(const char *text)
{
	return text_is_of(text, NAME_SIZE, NAME_ALPHABET) && *text != '.' && *text != '-';
}

/* A glob on printable characters without blanks, as a domain's name has them. */
static bool glob_is_on_domains(const char *glob)
{
	size_t len = strlen(glob);

	for (size_t i = 0; i < len; i++)
		if (glob[i] <= ' ' || glob[i] >= 0x7f)
			return false;
	return len > 0 && len < DOMAIN_NAME_SIZE && !strpbrk(glob, "/:=");
}

/* A word of the grammar is one in every place: "any" is never a domain of this name. */
static bool who_read(const char *text, struct who *who)
{
	*who = (struct who){.kind = WHO_ANY};
	if (strcmp(text, "any") == 0)
		return true;
	who->kind = WHO_SAME;
	if (strcmp(text, "same") == 0)
		return true;
	who->kind = WHO_DEFAULT;
	if (strcmp(text, "default") == 0)
		return true;
	who->kind = WHO_DOMID;
	if (strcmp(text, "dom0") == 0)
		return true;
	if (strncmp(text, "domid:", 6) == 0)
		return number_from_text(text + 6, DOMID_LIMIT - 1, &who->domid);
	who->kind = WHO_UUID;
	if (strncmp(text, "uuid:", 5) == 0)
		return uuid_parse(text + 5, who->uuid) == 0;
	who->kind = WHO_TAG;
	who->text = text + 4;
	if (strncmp(text, "tag:", 4) == 0)
		return policy_tag_valid(who->text);
	who->kind = WHO_NAME;
	who->text = text;
	return glob_is_on_domains(text);
}

bool who_from_text(const char *text, unsigned kinds, struct who *ret_who)
{
	struct who who;

	if (!who_read(text, &who) || !(kinds & ENUM_BIT(who.kind)))
		return false;
	*ret_who = who;
	return true;
}

/* `?` is for any character but `but`, and for each one if that is '\0'. */
static bool glob_matches(const char *glob, const char *text, char but)
{
	const char *star = NULL, *again = NULL;

	while (*text) {
		if (*glob == '*') {
			star = ++glob;
			again = text;
		} else if (*glob == '?' ? *text != but : *glob == *text) {
			glob++;
			text++;
		} else if (star) {
			/* Only the last star needs to give way: an earlier one cannot do better. */
			glob = star;
			text = ++again;
		} else {
			return false;
		}
	}
	while (*glob == '*')
		glob++;
	return !*glob;
}

bool policy_glob(const char *glob, const char *text)
{
	return glob_matches(glob, text, '\0');
}

/* The other glob's wildcards are characters here: of them a star is for any, `?` for no star. */
bool glob_covers(const char *glob, const char *other)
{
	return glob_matches(glob, other, '*');
}

bool glob_is_any(const char *glob)
{
	return !glob[strspn(glob, "*")];
}

static enum match tag_match(const char *tag, const struct policy_tags *tags)
{
	if (!tags)
		return MATCH_MAYBE;
	for (unsigned i = 0; i < tags->n; i++)
		if (strcmp(tags->names[i], tag) == 0)
			return MATCH_YES;
	return tags->all_known ? MATCH_NO : MATCH_MAYBE;
}

enum match who_match(const struct who *who, const struct policy_subject *subject,
	const struct policy_subject *other)
{
	switch (who->kind) {
	case WHO_ANY:
		return MATCH_YES;
	case WHO_SAME: /* in rules of connect only: there is another */
		if (subject->domid == POLICY_DOMID_UNKNOWN || other->domid == POLICY_DOMID_UNKNOWN)
			return MATCH_MAYBE;
		return subject->domid == other->domid ? MATCH_YES : MATCH_NO;
	case WHO_DOMID:
		if (subject->domid == POLICY_DOMID_UNKNOWN)
			return MATCH_MAYBE;
		return subject->domid == who->domid ? MATCH_YES : MATCH_NO;
	case WHO_NAME:
		if (!subject->name)
			return glob_is_any(who->text) ? MATCH_YES : MATCH_MAYBE;
		return policy_glob(who->text, subject->name) ? MATCH_YES : MATCH_NO;
	case WHO_UUID:
		if (!subject->uuid)
			return MATCH_MAYBE;
		return memcmp(subject->uuid, who->uuid, sizeof(who->uuid)) == 0 ? MATCH_YES
										: MATCH_NO;
	case WHO_TAG:
		return tag_match(who->text, subject->tags);
	case WHO_DEFAULT: /* of no domain */
		return MATCH_NO;
	}
	return MATCH_NO;
}

void who_to_text(const struct who *who, char ret_text[WHO_TEXT_SIZE])
{
	char uuid[37];

	switch (who->kind) {
	case WHO_ANY:
		strcpy(ret_text, "any");
		return;
	case WHO_SAME:
		strcpy(ret_text, "same");
		return;
	case WHO_DEFAULT:
		strcpy(ret_text, "default");
		return;
	case WHO_NAME:
		(void)snprintf(ret_text, WHO_TEXT_SIZE, "%s", who->text);
		return;
	case WHO_DOMID:
		(void)snprintf(
			ret_text, WHO_TEXT_SIZE, who->domid ? "domid:%u" : "dom0", who->domid);
		return;
	case WHO_UUID:
		uuid_to_text(who->uuid, uuid);
		(void)snprintf(ret_text, WHO_TEXT_SIZE, "uuid:%s", uuid);
		return;
	case WHO_TAG:
		(void)snprintf(ret_text, WHO_TEXT_SIZE, "tag:%s", who->text);
		return;
	}
}

/* ---- for others than rules ------------------------------------------------------------------ */

struct policy_who {
	struct who who;
	char text[]; /* its WHO has this text */
};

int policy_who_new(const char *text, bool tags, struct policy_who **ret_who)
{
	unsigned kinds = tags ? KINDS_NAMING : KINDS_NAMING & ~ENUM_BIT(WHO_TAG);
	size_t size = strlen(text) + 1;
	struct policy_who *who = malloc(sizeof(*who) + size);

	if (!who)
		return -ENOMEM;
	memcpy(who->text, text, size);
	if (!who_from_text(who->text, kinds, &who->who)) {
		free(who);
		return -EINVAL;
	}
	*ret_who = who;
	return 0;
}

enum match policy_who_match(const struct policy_who *who, const struct policy_subject *subject)
{
	return who_match(&who->who, subject, subject);
}

int policy_tags_add(struct policy_tags *tags, const char *tag)
{
	if (!policy_tag_valid(tag))
		return -EINVAL;
	for (unsigned i = 0; i < tags->n; i++)
		if (strcmp(tags->names[i], tag) == 0)
			return 0;
	if (tags->n == POLICY_TAGS_MAX) {
		tags->all_known = false;
		return -E2BIG;
	}
	strcpy(tags->names[tags->n++], tag);
	return 0;
}
