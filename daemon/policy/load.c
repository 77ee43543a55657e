/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finds and reads the policy's files: the part of policy that touches the file system. It must
 * never return half a policy: one bad file refuses the whole.
 */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "daemon/policy/policy.h"

DEFINE_CLEANUP(struct policy *, policy_free)

_Static_assert(TEXT_ERROR_SIZE <= POLICY_ERROR_SIZE, "text_read fills it");

static int load_fail(int error, const char *path, char ret_error[POLICY_ERROR_SIZE])
{
	(void)snprintf(ret_error, POLICY_ERROR_SIZE, "%.180s: %s", path, strerror(-error));
	return error;
}

static int load_file(struct policy *policy, const char *path, char ret_error[POLICY_ERROR_SIZE])
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = text_read(path, POLICY_TEXT_MAX, &text, &len, ret_error);

	if (r < 0)
		return r;
	ret_error[0] = '\0';
	r = policy_parse(policy, path, text, len, ret_error);
	if (r < 0 && !ret_error[0])
		return load_fail(r, path, ret_error);
	return r;
}

static int is_policy_file(const struct dirent *entry)
{
	return fnmatch("*.policy", entry->d_name, FNM_PERIOD) == 0;
}

/* Byte order, not the locale's: the order of rules must not depend on who starts msgd. */
static int compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_directory(
	struct policy *policy, const char *path, char ret_error[POLICY_ERROR_SIZE])
{
	struct dirent **entries = NULL;
	int n = scandir(path, &entries, is_policy_file, compare_names);
	int r = 0;

	if (n < 0)
		return load_fail(-errno, path, ret_error);
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *name = NULL;

		if (r == 0) {
			if (asprintf(&name, "%s/%s", path, entries[i]->d_name) < 0) {
				name = NULL;
				r = load_fail(-ENOMEM, path, ret_error);
			} else {
				r = load_file(policy, name, ret_error);
			}
		}
		free(entries[i]);
	}
	free(entries);
	return r;
}

int policy_load(const char *const *paths, size_t n_paths, struct policy **ret_policy,
	char ret_error[POLICY_ERROR_SIZE])
{
	_cleanup_(policy_free_p) struct policy *policy = NULL;
	int r = policy_new(&policy);

	if (r < 0)
		return load_fail(r, "policy", ret_error);
	for (size_t i = 0; i < n_paths; i++) {
		struct stat st;

		if (stat(paths[i], &st) < 0)
			return load_fail(-errno, paths[i], ret_error);
		if (S_ISDIR(st.st_mode))
			r = load_directory(policy, paths[i], ret_error);
		else
			r = load_file(policy, paths[i], ret_error);
		if (r < 0)
			return r;
	}
	*ret_policy = steal_ptr(policy);
	return 0;
}
