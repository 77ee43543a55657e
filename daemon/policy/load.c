/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finds and reads the policy's files: the part of policy that touches the file system. It must
 * never return a policy that permits more than the whole of it would: one bad file refuses
 * everything from its place on.
 */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/report.h"
#include "base/text.h"
#include "daemon/policy/rule.h"

DEFINE_CLEANUP(struct policy *, policy_free)

_Static_assert(TEXT_ERROR_SIZE <= REPORT_LINE_SIZE, "text_read's reason fits");

static int load_fail(int error, const char *path, struct report *report)
{
	report_add(report, "%.180s: %s", path, strerror(-error));
	return error;
}

/* Only lack of memory is a failure: a file that is bad, or cannot be read, breaks the policy. */
static int load_file(struct policy *policy, const char *path, struct report *report)
{
	_cleanup_free_ char *text = NULL;
	char error[TEXT_ERROR_SIZE];
	size_t len;
	int r = text_read(path, POLICY_TEXT_MAX, &text, &len, error);

	if (r < 0) {
		report_add(report, "%s", error);
		policy_break(policy, path);
		return r == -ENOMEM ? r : 0;
	}
	r = policy_parse(policy, path, text, len, report);
	return r == -ENOMEM ? load_fail(r, path, report) : 0;
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

static int load_directory(struct policy *policy, const char *path, struct report *report)
{
	struct dirent **entries = NULL;
	int n = scandir(path, &entries, is_policy_file, compare_names);
	int r = 0;

	if (n < 0)
		return load_fail(-errno, path, report);
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *name = NULL;

		if (r == 0) {
			if (asprintf(&name, "%s/%s", path, entries[i]->d_name) < 0) {
				name = NULL;
				r = load_fail(-ENOMEM, path, report);
			} else {
				r = load_file(policy, name, report);
			}
		}
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int load_paths(
	struct policy *policy, const char *const *paths, size_t n_paths, struct report *report)
{
	for (size_t i = 0; i < n_paths; i++) {
		int r;
		struct stat st;

		if (stat(paths[i], &st) < 0)
			return load_fail(-errno, paths[i], report);
		if (S_ISDIR(st.st_mode))
			r = load_directory(policy, paths[i], report);
		else
			r = load_file(policy, paths[i], report);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A broken policy lacks rules that are to be warned of too: they are read again, for that alone. */
static void load_warnings(struct policy *policy, const char *const *paths, size_t n_paths)
{
	_cleanup_(policy_free_p) struct policy *all = NULL;
	struct report errors = {.n = 0}; /* which are told already */

	if (policy_is_broken(policy) && policy_new(&all) == 0) {
		all->lenient = true;
		(void)load_paths(all, paths, n_paths, &errors);
	}
	policy_warn(all ? all : policy, &policy->warnings);
}

int policy_load(
	const char *const *paths, size_t n_paths, struct policy **ret_policy, struct report *report)
{
	_cleanup_(policy_free_p) struct policy *policy = NULL;
	int r = policy_new(&policy);

	if (r < 0)
		return load_fail(r, "policy", report);
	r = load_paths(policy, paths, n_paths, report);
	if (r < 0)
		return r;
	load_warnings(policy, paths, n_paths);
	policy->errors = *report;
	r = policy_is_broken(policy) ? POLICY_BROKEN : 0;
	*ret_policy = steal_ptr(policy);
	return r;
}
