/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fake applications' side. It must not use anything of the broker but its interface. */
#include "tests/unit/daemon/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "base/report.h"

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static bool on_send(void *arg, void *peer, const struct control_message *message)
{
	struct app *app = peer;

	REQUIRE(app && app->process && !app->dropped);
	if (app->full)
		return false;
	app->queue[app->tail++ % WORLD_QUEUE] = *message;
	if (app->tail - app->head > WORLD_QUEUE)
		app->head = app->tail - WORLD_QUEUE;
	app->world->n_sent++;
	return true;
}

static void on_unsent(void *arg, void *peer, const char *reason)
{
	((struct app *)peer)->unsent = true;
}

static void on_drop(void *arg, void *peer, const char *reason)
{
	struct app *app = peer;

	REQUIRE(app && app->process && !app->dropped);
	app->dropped = true;
	app->process = NULL;
	snprintf(app->reason, sizeof(app->reason), "%s", reason);
}

static void on_resumed(void *arg, uint16_t domid)
{
	((struct world *)arg)->resumed |= 1U << domid;
}

static void on_quiesced(void *arg, uint16_t domid)
{
	((struct world *)arg)->n_reports++;
}

static void on_timer(void *arg, uint64_t at_ns)
{
	((struct world *)arg)->timer_ns = at_ns;
}

static int on_run(void *arg, uint64_t id, const struct broker_program *program)
{
	struct world *world = arg;
	struct world_program *run;

	if (world->run_error)
		return world->run_error;
	/* No more than that run at once: there is a place. */
	do {
		world->last_program = (world->last_program + 1) % WORLD_PROGRAMS;
		run = &world->programs[world->last_program];
	} while (run->runs);
	world->n_programs++;
	*run = (struct world_program){
		.id = id,
		.runs = true,
		.timeout_s = program->timeout_s,
		.from_domid = program->from.domid,
		.to_domid = program->to.domid,
		.to_uuid = program->to.uuid,
	};
	snprintf(run->path, sizeof(run->path), "%s", program->path ? program->path : "");
	snprintf(run->name, sizeof(run->name), "%s", program->name);
	snprintf(run->from, sizeof(run->from), "%s", program->from.name ? program->from.name : "");
	snprintf(run->to, sizeof(run->to), "%s", program->to.name ? program->to.name : "");
	snprintf(run->rule, sizeof(run->rule), "%s", program->rule);
	return 0;
}

static void on_stop(void *arg, uint64_t id)
{
	struct world *world = arg;
	unsigned n = 0;

	for (unsigned i = 0; i < WORLD_PROGRAMS; i++) {
		struct world_program *run = &world->programs[i];

		if (!run->runs || run->id != id)
			continue;
		REQUIRE(!run->stopped && run->path[0]);
		run->stopped = true;
		n++;
	}
	REQUIRE(n == 1);
}

static void on_log(void *arg, int priority, const struct broker_line *line, const char *text)
{
	struct world *world = arg;
	size_t len = strlen(world->log), n = strlen(text) + 1;

	world->n_lines++;
	if (world->on_line)
		world->on_line(priority, line, text);
	if (len + n + 1 > sizeof(world->log))
		len = 0;
	snprintf(world->log + len, sizeof(world->log) - len, "%s\n", text);
}

/* Whatever an application says is heard at once. */
static void on_look(void *arg, void *peer)
{
	((struct app *)peer)->n_looks++;
}

static const struct broker_ops ops = {
	.send = on_send,
	.unsent = on_unsent,
	.drop = on_drop,
	.look = on_look,
	.resumed = on_resumed,
	.quiesced = on_quiesced,
	.run = on_run,
	.stop = on_stop,
	.timer = on_timer,
	.log = on_log,
};

static struct policy *policy_from(const char *rules)
{
	struct policy *policy;
	struct report report = {.n = 0};

	REQUIRE(policy_new(&policy) == 0);
	REQUIRE(policy_parse(policy, "test.policy", rules, strlen(rules), &report) == 0);
	return policy;
}

void world_pass(struct world *world, uint64_t ns)
{
	world->now_ns += ns;
	broker_set_now(world->broker, world->now_ns);
}

static void broker_start(struct world *world, const char *rules, const struct broker_limits *limits)
{
	struct broker_limits defaults;

	broker_limits_default(&defaults);
	world->policy = policy_from(rules);
	REQUIRE(broker_new(&ops, world, limits ? limits : &defaults, world->policy,
			0x1122334455667788, &world->broker) == 0);
	world_pass(world, 1000000000);
	world_domains(world);
}

struct world *world_new(const char *rules, const struct broker_limits *limits)
{
	static const char *const names[] = {"Domain-0", "web", "db", "app", "web", "vault"};
	struct world *world = calloc(1, sizeof(*world));

	REQUIRE(world);
	world->apps = calloc(WORLD_APPS, sizeof(*world->apps));
	REQUIRE(world->apps);
	for (unsigned i = 0; i < WORLD_APPS; i++)
		world->apps[i].world = world;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		struct broker_domain_info *info = &world->domains[i];

		info->domid = (uint16_t)i;
		info->state = BROKER_DOMAIN_RUNNING;
		info->generation = 100 + i;
		memset(info->uuid, (int)(0x10 + i), sizeof(info->uuid));
		strcpy(info->name, names[i]);
	}
	world->n_domains = ARRAY_SIZE(names);
	broker_start(world, rules, limits);
	return world;
}

struct world_program *world_program(struct world *world)
{
	return world->n_programs ? &world->programs[world->last_program] : NULL;
}

void program_answers(struct world *world, struct world_program *program,
	enum broker_answer_result result, uint32_t cache_s, const char *reason)
{
	struct broker_answer answer = {.result = result, .cache_s = cache_s};

	snprintf(answer.reason, sizeof(answer.reason), "%s", reason);
	broker_answered(world->broker, program->id, &answer);
	program_ends(world, program);
}

void program_ends(struct world *world, struct world_program *program)
{
	REQUIRE(program->runs);
	program->runs = false;
	broker_program_ended(world->broker, program->id);
}

void world_restart(struct world *world, const char *rules, const struct broker_limits *limits)
{
	broker_free(world->broker);
	policy_free(world->policy);
	for (unsigned i = 0; i < WORLD_APPS; i++)
		world->apps[i].process = NULL;
	memset(world->programs, 0, sizeof(world->programs));
	world->log[0] = '\0';
	world->timer_ns = 0;
	broker_start(world, rules, limits);
}

void world_free(struct world *world)
{
	for (unsigned i = 0; i < WORLD_APPS; i++) {
		if (world->apps[i].process)
			app_die(&world->apps[i]);
	}
	for (unsigned i = 0; i < WORLD_PROGRAMS; i++) {
		if (world->programs[i].runs)
			program_ends(world, &world->programs[i]);
	}
	world_policy(world, "");		       /* no answer counts any more */
	while (broker_work(world->broker, UINT32_MAX)) /* where a test has it left for later */
		;
	world_check(world);
	for (size_t i = 0; i < world->n_domains; i++)
		REQUIRE(world_used(world, world->domains[i].domid) == 0 &&
			world_bytes(world, world->domains[i].domid) == 0);
	broker_free(world->broker);
	policy_free(world->policy);
	free(world->apps);
	free(world);
}

void world_policy(struct world *world, const char *rules)
{
	struct policy *policy = policy_from(rules);

	broker_set_policy(world->broker, policy);
	policy_free(world->policy);
	world->policy = policy;
}

void world_domains(struct world *world)
{
	broker_domains(world->broker, world->domains, world->n_domains);
}

void world_rename(struct world *world, uint16_t domid, const char *name)
{
	for (size_t i = 0; i < world->n_domains; i++) {
		struct broker_domain_info *info = &world->domains[i];

		if (info->domid == domid)
			(void)snprintf(info->name, sizeof(info->name), "%s", name);
	}
	world_domains(world);
}

void world_rebirth(struct world *world, uint16_t domid)
{
	for (size_t i = 0; i < world->n_domains; i++)
		world->domains[i].generation += world->domains[i].domid == domid;
	world_domains(world);
}

void world_remove_domain(struct world *world, uint16_t domid)
{
	for (size_t i = 0; i < world->n_domains; i++) {
		if (world->domains[i].domid != domid)
			continue;
		world->domains[i] = world->domains[--world->n_domains];
		break;
	}
	world_domains(world);
}

bool world_logged(const struct world *world, const char *text)
{
	return strstr(world->log, text) != NULL;
}

int app_attach(struct app *app, uint16_t domid, bool found)
{
	int r;

	app->domid = domid;
	app->epoch++;
	app->dropped = app->full = app->unsent = false;
	app->head = app->tail = 0;
	app->reason[0] = '\0';
	r = broker_attach(app->world->broker, domid, app->epoch, app, found, &app->process);
	return r;
}

int app_hello(struct app *app, bool argo, bool reattach)
{
	return app_hello_with(app, argo ? FEATURE_ARGO | FEATURE_ARGO_STRICT : 0, reattach);
}

int app_hello_with(struct app *app, uint64_t features, bool reattach)
{
	struct control_message hello = {.type = CONTROL_HELLO, .request = 0xffff0000};

	hello.hello.epoch = app->epoch;
	hello.hello.version_min = hello.hello.version_max = 1;
	hello.hello.features = features;
	hello.hello.pid = 1000 + app->domid;
	strcpy(hello.hello.comm, "test");
	hello.hello.reattach = reattach;
	return app_send(app, &hello);
}

struct app *app_new(struct world *world, unsigned slot, uint16_t domid, bool argo)
{
	return app_new_with(world, slot, domid, argo ? FEATURE_ARGO | FEATURE_ARGO_STRICT : 0);
}

struct app *app_new_with(struct world *world, unsigned slot, uint16_t domid, uint64_t features)
{
	struct app *app = &world->apps[slot];
	const struct control_message *answer;

	REQUIRE(app_attach(app, domid, false) == 0);
	REQUIRE(app_hello_with(app, features, false) == 0);
	answer = app_take(app);
	REQUIRE(answer && answer->type == CONTROL_WELCOME && answer->welcome.domid == domid);
	return app;
}

void app_read(struct app *app)
{
	app->full = false;
	broker_flush(app->process);
}

void app_die(struct app *app)
{
	struct process *process = app->process;

	app->process = NULL; /* on_send refuses from here on */
	broker_gone(process, "its process ended");
}

void app_park(struct app *app)
{
	struct process *process = app->process;

	app->process = NULL;
	broker_parked(process);
}

int app_send(struct app *app, const struct control_message *message)
{
	REQUIRE(app->process);
	return broker_message(app->process, message, 0);
}

const struct control_message *app_take(struct app *app)
{
	if (app->head == app->tail)
		return NULL;
	return &app->queue[app->head++ % WORLD_QUEUE];
}

void app_forget(struct app *app)
{
	app->head = app->tail;
}

/* Sends a request, to which the answer is STATUS. Returns its error; -1: the request is refused. */
static int request_status(struct app *app, const struct control_message *message)
{
	const struct control_message *answer;

	if (app_send(app, message) < 0)
		return -1;
	answer = app_take(app);
	REQUIRE(answer && answer->type == CONTROL_STATUS && answer->request == message->request);
	return (int)answer->status.error;
}

int app_listen(struct app *app, uint32_t handle, const char *name, uint32_t backlog)
{
	struct control_message message = {.type = CONTROL_LISTEN, .request = 0x11110000 + handle};

	message.listen.listener = handle;
	message.listen.type = CHANNEL_SEQPACKET;
	message.listen.backlog = backlog;
	strcpy(message.listen.name, name);
	return request_status(app, &message);
}

int app_unlisten(struct app *app, uint32_t handle)
{
	struct control_message message = {.type = CONTROL_UNLISTEN, .request = 0x22220000 + handle};

	message.unlisten.listener = handle;
	return request_status(app, &message);
}

void app_connect(
	struct app *app, uint32_t id, const char *address, uint32_t flags, uint32_t transport)
{
	struct control_message message = {.type = CONTROL_CONNECT, .request = id};

	message.connect.type = CHANNEL_SEQPACKET;
	message.connect.flags = flags;
	message.connect.transport = transport;
	snprintf(message.connect.address, sizeof(message.connect.address), "%s", address);
	(void)app_send(app, &message);
}

void app_offer(struct app *app, uint32_t end, uint32_t aport)
{
	struct control_message message = {.type = CONTROL_LINK_OFFER};

	message.link_offer.end = end;
	message.link_offer.port = 7;
	message.link_offer.aport = aport;
	message.link_offer.doorbell_ref = 8;
	message.link_offer.refs_ref = aport ? 0 : 9;
	(void)app_send(app, &message);
}

void app_offer_strict(struct app *app, uint32_t end, uint32_t aport)
{
	struct control_message message = {
		.type = CONTROL_LINK_OFFER, .link_offer = {.end = end, .aport = aport}};

	(void)app_send(app, &message);
}

void app_ready(struct app *app, uint32_t end, uint32_t aport)
{
	struct control_message message = {.type = CONTROL_LINK_READY};

	message.link_ready.end = end;
	message.link_ready.aport = aport;
	(void)app_send(app, &message);
}

void app_failed(struct app *app, uint32_t end, uint32_t error, const char *reason)
{
	struct control_message message = {.type = CONTROL_LINK_FAILED};

	message.link_failed.end = end;
	message.link_failed.error = error;
	snprintf(message.link_failed.reason, sizeof(message.link_failed.reason), "%s", reason);
	(void)app_send(app, &message);
}

void app_accepted(struct app *app, uint32_t end, uint32_t channel)
{
	struct control_message message = {.type = CONTROL_ACCEPTED};

	message.accepted.end = end;
	message.accepted.channel = channel;
	(void)app_send(app, &message);
}

void app_closed(struct app *app, uint32_t end, uint32_t channel)
{
	struct control_message message = {.type = CONTROL_CHANNEL_CLOSED};

	message.channel_closed.end = end;
	message.channel_closed.channel = channel;
	(void)app_send(app, &message);
}

void app_cancel(struct app *app, uint32_t id)
{
	struct control_message message = {.type = CONTROL_CANCEL, .request = id};

	(void)app_send(app, &message);
}

void app_expire(struct app *app, uint32_t id)
{
	struct control_message message = {.type = CONTROL_EXPIRED, .request = id};

	(void)app_send(app, &message);
}

int app_announce_link(struct app *app, uint32_t end, uint64_t uid, uint16_t peer,
	uint32_t transport, uint32_t role, uint32_t state)
{
	struct control_message message = {.type = CONTROL_ANNOUNCE_LINK};

	message.announce_link.end = end;
	message.announce_link.uid = uid;
	message.announce_link.peer_domid = peer;
	message.announce_link.transport = transport;
	message.announce_link.role = role;
	message.announce_link.state = state;
	return app_send(app, &message);
}

int app_announce_channel(struct app *app, uint32_t end, uint32_t channel, uint32_t listener,
	uint32_t accepted, const char *name)
{
	struct control_message message = {.type = CONTROL_ANNOUNCE_CHANNEL};

	message.announce_channel.end = end;
	message.announce_channel.channel = channel;
	message.announce_channel.type = CHANNEL_SEQPACKET;
	message.announce_channel.listener = listener;
	message.announce_channel.accepted = accepted;
	strcpy(message.announce_channel.name, name);
	return app_send(app, &message);
}

int app_announce_done(struct app *app)
{
	struct control_message message = {.type = CONTROL_ANNOUNCE_DONE};

	return app_send(app, &message);
}
