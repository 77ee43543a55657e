/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs of the broker's: see the header. */
#include "daemon/shell/programs.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "base/number.h"
#include "base/uuid.h"
#include "daemon/shell/program.h"

struct programs {
	struct event_base *base;	/* borrowed */
	const struct programs_ops *ops; /* borrowed */
	void *arg;			/* borrowed */
	char *helper;			/* owned, or NULL */
	LIST_HEAD(, errand_run) runs;	/* owned */
};

/* A program that runs. */
struct errand_run {
	LIST_ENTRY(errand_run) entry;
	struct programs *programs; /* borrowed */
	struct program *program;   /* owned */
	uint64_t id;
	uint16_t domid; /* of the caller */
	uint32_t timeout_s;
	bool starts; /* it is the helper */
};

/* ---- questions ------------------------------------------------------------------------------ */

enum {
	ENV_PATH,
	ENV_NAME,
	ENV_ARG,
	ENV_RULE,
	ENV_FROM, /* domain, domid, uuid */
	ENV_TO = ENV_FROM + 3,
	ENV_COUNT = ENV_TO + 3,
};

/* The longest is a domain's name, or a rule's "FILE:LINE". */
struct environment {
	char texts[ENV_COUNT][DOMAIN_NAME_SIZE + 32];
	char *words[ENV_COUNT + 1];
};

/* One or neither of the two texts is unknown, which is "". */
static void environment_subject(struct environment *environment, unsigned first, const char *whose,
	const struct policy_subject *subject)
{
	char domid[16] = "", uuid[37] = "";
	const size_t size = sizeof(environment->texts[0]);

	if (subject->domid != POLICY_DOMID_UNKNOWN)
		(void)snprintf(domid, sizeof(domid), "%u", subject->domid);
	if (subject->uuid)
		uuid_to_text(subject->uuid, uuid);
	(void)snprintf(environment->texts[first], size, "MSG_%s_DOMAIN=%s", whose,
		subject->name ? subject->name : "");
	(void)snprintf(environment->texts[first + 1], size, "MSG_%s_DOMID=%s", whose, domid);
	(void)snprintf(environment->texts[first + 2], size, "MSG_%s_UUID=%s", whose, uuid);
}

/* NULL: it has none. */
static const char *name_argument(const char *name)
{
	const char *argument = name + name_base_len(name);

	return *argument ? argument + 1 : NULL;
}

static void environment_make(struct environment *environment, const struct broker_program *program)
{
	const char *argument = name_argument(program->name);
	const size_t size = sizeof(environment->texts[0]);

	(void)snprintf(environment->texts[ENV_PATH], size,
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	(void)snprintf(environment->texts[ENV_NAME], size, "MSG_NAME=%s", program->name);
	(void)snprintf(environment->texts[ENV_ARG], size, "MSG_ARG=%s", argument ? argument : "");
	(void)snprintf(environment->texts[ENV_RULE], size, "MSG_RULE=%s", program->rule);
	environment_subject(environment, ENV_FROM, "FROM", &program->from);
	environment_subject(environment, ENV_TO, "TO", &program->to);
	for (unsigned i = 0; i < ENV_COUNT; i++)
		environment->words[i] = environment->texts[i];
	environment->words[ENV_COUNT] = NULL;
}

/* NULL: out of memory. A name that is not UTF-8 is null, as an unknown one. */
static json_t *subject_json(const struct policy_subject *subject)
{
	bool known = subject->domid != POLICY_DOMID_UNKNOWN;
	json_t *name = subject->name ? json_string(subject->name) : NULL;
	char uuid[37];

	if (subject->uuid)
		uuid_to_text(subject->uuid, uuid);
	return json_pack("{s:o, s:o, s:s?}", "domain", name ? name : json_null(), "domid",
		known ? json_integer((json_int_t)subject->domid) : json_null(), "uuid",
		subject->uuid ? uuid : NULL);
}

/* To be freed with free(). NULL: out of memory. */
static char *question_text(const struct broker_program *program)
{
	json_t *json = json_pack("{s:s, s:s?, s:o, s:o, s:s?}", "name", program->name, "arg",
		name_argument(program->name), "from", subject_json(&program->from), "to",
		subject_json(&program->to), "rule", program->rule);
	char *line = json ? json_dumps(json, JSON_COMPACT) : NULL, *text = NULL;

	json_decref(json);
	if (line && asprintf(&text, "%s\n", line) < 0)
		text = NULL;
	free(line);
	return text;
}

/* ---- answers -------------------------------------------------------------------------------- */

static void answer_none(struct broker_answer *answer, const char *why, const char *output)
{
	char text[64];

	*answer = (struct broker_answer){.result = BROKER_ANSWER_NONE};
	(void)snprintf(text, sizeof(text), "%s", output);
	program_make_printable(text);
	(void)snprintf(answer->reason, sizeof(answer->reason), "%s%s", why, text);
}

/* Takes cache=N, which must be the last word, off the line. False: there is one that is none. */
static bool cache_take(char *line, uint32_t *ret_cache_s)
{
	char *blank = strrchr(line, ' ');

	*ret_cache_s = 0;
	if (!blank || strncmp(blank + 1, "cache=", 6) != 0)
		return true;
	*blank = '\0';
	return number_from_text(blank + 7, UINT32_MAX, ret_cache_s);
}

void programs_answer_parse(const char *output, size_t len, struct broker_answer *ret_answer)
{
	char line[PROGRAM_OUTPUT_MAX + 1];
	uint32_t cache_s;
	bool good = len < sizeof(line);

	if (good && len && output[len - 1] == '\n')
		len--;
	good = good && !memchr(output, '\n', len) && !memchr(output, '\0', len);
	if (good) {
		memcpy(line, output, len);
		line[len] = '\0';
		good = cache_take(line, &cache_s);
	}
	*ret_answer = (struct broker_answer){.result = BROKER_ANSWER_DENY};
	if (good && strcmp(line, "allow") == 0) {
		ret_answer->result = BROKER_ANSWER_ALLOW;
	} else if (good && strncmp(line, "deny ", 5) == 0) {
		program_make_printable(line);
		(void)snprintf(ret_answer->reason, sizeof(ret_answer->reason), "%.100s", line + 5);
	} else if (!good || strcmp(line, "deny") != 0) {
		answer_none(ret_answer, "neither allow nor deny: ", len ? output : "(nothing)");
		return;
	}
	ret_answer->cache_s = cache_s;
}

static bool end_is_bad(
	const struct errand_run *run, const struct program_end *end, struct broker_answer *answer)
{
	char why[64] = "";

	if (end->late)
		(void)snprintf(why, sizeof(why), "no answer in %u s", run->timeout_s);
	else if (end->flooded && !run->starts)
		(void)snprintf(
			why, sizeof(why), "more than %u bytes of output", PROGRAM_OUTPUT_MAX);
	else if (WIFSIGNALED(end->status))
		(void)snprintf(why, sizeof(why), "ended by signal %d", WTERMSIG(end->status));
	else if (WEXITSTATUS(end->status) != 0)
		(void)snprintf(why, sizeof(why), "exit status %d", WEXITSTATUS(end->status));
	if (why[0])
		answer_none(answer, why, "");
	return why[0];
}

/* A helper that fails says why in its first line. */
static void helper_reason(const struct program_end *end, struct broker_answer *answer)
{
	size_t len = strcspn(end->output, "\n");

	if (len == 0)
		return;
	(void)snprintf(answer->reason, sizeof(answer->reason), "%.*s", (int)min_u64(len, 100),
		end->output);
	program_make_printable(answer->reason);
}

/* ---- programs that run ---------------------------------------------------------------------- */

static void on_line(void *arg, const char *text)
{
	struct errand_run *run = arg;

	run->programs->ops->line(run->programs->arg, run->domid, text);
}

static void on_end(void *arg, const struct program_end *end)
{
	struct errand_run *run = arg;
	struct broker_answer answer = {.result = BROKER_ANSWER_ALLOW};

	if (end_is_bad(run, end, &answer)) {
		if (run->starts)
			helper_reason(end, &answer);
	} else if (!run->starts) {
		programs_answer_parse(end->output, end->len, &answer);
	}
	run->programs->ops->answered(run->programs->arg, run->id, &answer);
}

static void on_gone(void *arg)
{
	struct errand_run *run = arg;
	struct programs *programs = run->programs;
	uint64_t id = run->id;

	LIST_REMOVE(run, entry);
	free(run);
	programs->ops->ended(programs->arg, id);
}

static const struct program_ops program_ops = {.line = on_line, .end = on_end, .gone = on_gone};

int programs_run(struct programs *programs, uint64_t id, const struct broker_program *program)
{
	const char *path = program->path ? program->path : programs->helper;
	struct environment environment;
	char *argv[] = {(char *)path, (char *)program->to.name, NULL};
	_cleanup_free_ char *text = question_text(program);
	_cleanup_free_ struct errand_run *run = calloc(1, sizeof(*run));
	struct program_plan plan = {.argv = argv,
		.environ = environment.words,
		.input = text,
		.timeout_s = program->timeout_s};
	int r;

	if (!path)
		return -EDESTADDRREQ;
	if (!text || !run)
		return -ENOMEM;
	environment_make(&environment, program);
	if (program->path)
		argv[1] = NULL;
	run->programs = programs;
	run->id = id;
	run->domid = (uint16_t)program->from.domid;
	run->timeout_s = program->timeout_s;
	run->starts = !program->path;
	plan.strict = !run->starts;
	r = program_new(programs->base, &plan, &program_ops, run, &run->program);
	if (r < 0)
		return r;
	LIST_INSERT_HEAD(&programs->runs, run, entry);
	run = NULL;
	return 0;
}

void programs_stop(struct programs *programs, uint64_t id)
{
	struct errand_run *run;

	LIST_FOREACH (run, &programs->runs, entry) {
		if (run->id == id)
			program_stop(run->program);
	}
}

int programs_new(struct event_base *base, const struct programs_ops *ops, void *arg,
	struct programs **ret_programs)
{
	struct programs *programs = calloc(1, sizeof(*programs));

	if (!programs)
		return -ENOMEM;
	programs->base = base;
	programs->ops = ops;
	programs->arg = arg;
	LIST_INIT(&programs->runs);
	*ret_programs = programs;
	return 0;
}

int programs_set_helper(struct programs *programs, const char *path)
{
	char *copy = path ? strdup(path) : NULL;

	if (path && !copy)
		return -ENOMEM;
	free(programs->helper);
	programs->helper = copy;
	return 0;
}

void programs_free(struct programs *programs)
{
	struct errand_run *run;

	if (!programs)
		return;
	while ((run = LIST_FIRST(&programs->runs))) {
		LIST_REMOVE(run, entry);
		program_free(run->program, !run->starts);
		free(run);
	}
	free(programs->helper);
	free(programs);
}
