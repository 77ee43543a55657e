/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See top-fetch.h. */
#include "msgctl/top-fetch.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "msgctl/admin-client.h"
#include "msgctl/command.h"
#include "msgctl/show.h"

/* The answer, also a refusal; NULL: there is none. Takes the request over. */
static json_t *ask(
	const char *socket_path, const char *from, json_t *request, struct top_fetched *fetched)
{
	int r;
	json_t *answer = admin_exchange(socket_path, request, ANSWER_MS, &r);
	const char *name;

	json_decref(request);
	fetched->error[0] = '\0';
	if (admin_trouble(socket_path, from, answer, r, ANSWER_MS, fetched->error)) {
		fetched->exit_status = admin_status(answer);
		name = admin_error_name(answer, r);
		(void)snprintf(
			fetched->error_name, sizeof(fetched->error_name), "%s", name ? name : "");
	}
	return answer;
}

/* The same without a refusal. */
static json_t *ask_good(
	const char *socket_path, const char *from, json_t *request, struct top_fetched *fetched)
{
	json_t *answer = ask(socket_path, from, request, fetched);

	if (!fetched->error[0])
		return answer;
	json_decref(answer);
	return NULL;
}

void top_fetch(const char *socket_path, const char *from, const struct top_view *view,
	const char *domain, struct top_fetched *ret_fetched)
{
	struct top_fetched *fetched = ret_fetched;
	json_t *list = json_pack("{s:s}", "op", view->op);
	json_t *asked;

	*fetched = (struct top_fetched){
		.view = view, .error_name = "EINVAL", .exit_status = EXIT_USAGE};
	if (*domain && json_object_set_new(list, "domain", json_string(domain)) < 0) {
		(void)snprintf(fetched->error, sizeof(fetched->error), "a domain is UTF-8");
		json_decref(list);
		return;
	}
	asked = ask(socket_path, from, json_pack("{s:s}", "op", "refresh"), fetched);
	if (!asked) {
		json_decref(list);
		return;
	}
	/* An older msgd does not know that, or not when it asked. */
	fetched->counts_us = (uint64_t)field_number(asked, "asked_us");
	json_decref(asked);
	fetched->list = ask_good(socket_path, from, list, fetched);
	fetched->at_us = monotonic_us();
	if (!fetched->counts_us)
		fetched->counts_us = fetched->at_us;
	if (fetched->list)
		fetched->status =
			ask_good(socket_path, from, json_pack("{s:s}", "op", "status"), fetched);
}

void top_fetched_clear(struct top_fetched *fetched)
{
	json_decref(fetched->list);
	json_decref(fetched->status);
	fetched->list = fetched->status = NULL;
}

void top_data_forget(struct top_data *data)
{
	top_sample_free(data->sample);
	data->sample = NULL;
}

int top_data_take(struct top_data *data, struct top_fetched *fetched)
{
	struct top_sample *sample;
	bool other;

	if (!fetched->list || !fetched->status) {
		top_fetched_clear(fetched);
		return -1;
	}
	other = top_head_take(&data->head, steal_ptr(fetched->status), fetched->at_us);
	if (other || (data->sample && data->sample->view != fetched->view))
		top_data_forget(data);
	sample = top_sample_new(
		fetched->view, steal_ptr(fetched->list), fetched->counts_us, data->sample);
	if (!sample) {
		(void)snprintf(fetched->error, sizeof(fetched->error), "out of memory");
		(void)snprintf(fetched->error_name, sizeof(fetched->error_name), "ENOMEM");
		fetched->exit_status = EXIT_FAILURE;
		return -1;
	}
	top_sample_free(data->sample);
	data->sample = sample;
	return other;
}

void top_data_clear(struct top_data *data)
{
	top_data_forget(data);
	top_head_clear(&data->head);
}
