/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See top.h. */
#include "msgctl/top.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msgctl/command.h"
#include "msgctl/complain.h"
#include "msgctl/show.h"

/* The columns of the view, for people. */
static const char *columns_error(const struct top_view *view)
{
	static char text[300];
	size_t len = (size_t)snprintf(text, sizeof(text), "--sort for %s is", view->op);

	for (unsigned i = 0; view->columns[i].head && len < sizeof(text); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %s", i ? "," : "",
			view->columns[i].head);
	return text;
}

const char *top_arguments(json_t *request, char *const *args, unsigned n_args)
{
	const struct top_view *view = n_args ? top_view_find(args[0]) : top_views;
	const char *sort = json_string_value(json_object_get(request, "sort"));

	if (!view)
		return "it is for domains, applications, names, links or channels";
	if (sort && top_column_find(view, sort) < 0)
		return columns_error(view);
	(void)json_object_set_new(request, "view", json_string(view->op));
	return NULL;
}

int top_course_fetch(struct top_course *course)
{
	const struct command_call *call = course->call;
	struct top_fetched fetched;
	int r;

	top_fetch(call->socket, call->from, course->state.view, course->state.domain, &fetched);
	r = top_data_take(&course->data, &fetched);
	if (r < 0)
		complain_text(fetched.exit_status, *fetched.error_name ? fetched.error_name : NULL,
			"msgctl: ", fetched.error);
	if (r < 0)
		course->status = fetched.exit_status;
	return r;
}

int top_run(const struct command_call *call)
{
	const json_t *request = call->request, *interval = json_object_get(request, "interval");
	const char *sort = json_string_value(json_object_get(request, "sort"));
	const char *domain = json_string_value(json_object_get(request, "domain"));
	bool batch = field_true(request, "batch");
	struct top_course course = {.call = call, .n = field_number(request, "n")};
	struct top_state *state = &course.state;
	int status;

	top_state_init(state, top_view_find(field_text(request, "view")));
	if (sort)
		top_state_set_sort(state, (unsigned)top_column_find(state->view, sort));
	if (interval)
		state->interval_s = json_real_value(interval);
	if (call->json && !batch) {
		complain(EXIT_USAGE, -EINVAL, "top: --json is for --batch");
		return EXIT_USAGE;
	}
	if (!batch && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))) {
		complain(EXIT_USAGE, -ENOTTY,
			"top: standard input or output is no terminal: use --batch");
		return EXIT_USAGE;
	}
	if (domain && strlen(domain) >= sizeof(state->domain)) {
		complain(EXIT_USAGE, -EINVAL, "top: the domain is too long");
		return EXIT_USAGE;
	}
	if (domain)
		strcpy(state->domain, domain);
	/* For the characters of names; numbers stay as JSON has them. */
	(void)setlocale(LC_CTYPE, "");
	/* Where msgd cannot be asked at all, the terminal stays as it is. */
	if (top_course_fetch(&course) < 0)
		status = course.status;
	else
		status = batch ? top_batch(&course) : top_screen(&course);
	top_data_clear(&course.data);
	return status;
}
