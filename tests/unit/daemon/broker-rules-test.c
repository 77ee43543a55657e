/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rules that do more than allow or deny: redirects, connects without a domain, conditions, tags,
 * limits of some domains, and how often a domain connects.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/broker/assign.h"
#include "daemon/broker/connects.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/link.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define KNOWS (FEATURE_TERMS | FEATURE_WATCH)
#define S     UINT64_C(1000000000)

enum { DOM0, WEB, DB, APP, WEB2, VAULT };

static struct world *w;
static struct app *caller; /* of app */
static struct app *at[6];  /* a listener on "x", by its domain */
static uint32_t last_id;

static void start(const char *rules)
{
	w = world_new(rules, NULL);
	memset(at, 0, sizeof(at));
	caller = app_new_with(w, 0, APP, KNOWS);
}

static struct app *listens(uint16_t domid)
{
	at[domid] = app_new_with(w, 1U + domid, domid, KNOWS);
	assert_int_equal(app_listen(at[domid], 1, "x", 1000), 0);
	return at[domid];
}

static void link_to(uint16_t domid)
{
	uint32_t ends[2];

	make_link(caller, at[domid], false, ends);
}

static bool is_linked(uint16_t domid)
{
	return broker_link_find(caller->process, at[domid]->process, TRANSPORT_GRANT);
}

/* A connect comes to the domain. Both ends have read all before. */
static void reaches(const char *address, uint16_t domid)
{
	const struct control_message *m;
	bool linked = is_linked(domid);

	app_forget(caller);
	app_forget(at[domid]);
	app_connect(caller, ++last_id, address, 0, 0);
	if (!linked)
		link_to(domid);
	TAKE(m, caller, CONTROL_CONNECTED);
	assert_int_equal(m->request, last_id);
	assert_int_equal(m->connected.peer.domid, domid);
	TAKE(m, at[domid], CONTROL_CHANNEL);
	app_accepted(at[domid], m->channel.end, m->channel.channel);
}

static char reason[REASON_SIZE];

static void fails(const char *address, uint32_t error)
{
	const struct control_message *m;

	app_forget(caller);
	app_connect(caller, ++last_id, address, 0, 0);
	TAKE(m, caller, CONTROL_STATUS);
	if (m->status.error != error)
		fail_msg("%s: error %u (%s) instead of %u", address, m->status.error,
			m->status.reason, error);
	(void)snprintf(reason, sizeof(reason), "%s", m->status.reason);
}

static void goes_on(const char *rules)
{
	world_policy(w, rules);
	world_check(w);
}

static uint32_t n_channels(void)
{
	return w->broker->n_channels;
}

static void tag(uint16_t domid, const char *tags)
{
	for (size_t i = 0; i < w->n_domains; i++) {
		struct broker_domain_info *info = &w->domains[i];

		if (info->domid != domid)
			continue;
		info->tags_unknown = !tags;
		(void)snprintf(info->tags, sizeof(info->tags), "%s", tags ? tags : "");
	}
	world_domains(w);
	world_check(w);
}

#define LISTEN "allow listen * on any\n"

/* ---- redirects ---------------------------------------------------------------------------- */

/* Whichever the caller names, there or not, by each fact. */
static void test_target(void **state)
{
	start(LISTEN "allow connect x from app to time target=db\n"
		     "allow connect x from app to vault target=dom0\n"
		     "allow connect x from app to domid:1 target=domid:2\n"
		     "allow connect x from app to lost target=nobody\n"
		     "allow connect x from app to db\n");
	listens(DB);
	listens(DOM0);
	listens(VAULT);
	reaches("time/x", DB);
	reaches("vault/x", DOM0);
	reaches("domid:1/x", DB);
	reaches("db/x", DB);
	fails("lost/x", EHOSTUNREACH);
	assert_string_equal(reason, "policy says target=nobody, which is not there");
	fails("time/y", EACCES);
	world_check(w);
	world_free(w);
}

/* The redirected caller needs no rule for the target, the listener one for its name. */
static void test_target_is_judged_as_a_holder_alone(void **state)
{
	start("allow listen x on vault\n"
	      "deny connect x from app to db\n"
	      "allow connect x from app to time target=db\n" LISTEN);
	listens(DB);
	fails("db/x", EACCES);
	reaches("time/x", DB);
	goes_on("allow listen x on vault\n"
		"allow connect x from app to time target=db\n");
	fails("time/x", ENOENT);
	world_free(w);
}

/* Two are called web: both are redirected to one, or neither. */
static void test_target_of_several(void **state)
{
	start(LISTEN "allow connect x from app to web target=db\n");
	listens(DB);
	reaches("web/x", DB);
	goes_on(LISTEN "allow connect x from app to domid:4 target=dom0\n"
		       "allow connect x from app to web target=db\n");
	fails("web/x", ENOTUNIQ);
	goes_on(LISTEN "deny connect x from app to domid:4\n"
		       "allow connect x from app to web target=db\n");
	fails("web/x", ENOTUNIQ);
	goes_on(LISTEN "allow connect x from app to time target=web\n");
	fails("time/x", ENOTUNIQ);
	world_free(w);
}

/* A refused caller gets the same whatever is there, by the name or by the target. */
static void test_refused_learns_nothing(void **state)
{
	static const char *const addresses[] = {
		"vault/x", "nobody/x", "domid:5/x", "domid:77/x", "time/x", "db/x", "x"};

	start(LISTEN "allow connect x from db to time target=vault\n"
		     "deny connect x from app to default\n"
		     "allow connect x from app to uuid:00000000-0000-0000-0000-000000000009 "
		     "target=db\n");
	for (unsigned there = 0; there < 2; there++) {
		if (there) {
			listens(VAULT);
			listens(DB);
		}
		for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
			fails(addresses[i], EACCES);
			assert_string_equal(reason, "denied by policy");
		}
	}
	world_free(w);
}

/* A redirected channel stays while an address of its caller leads to its holder, on its terms. */
static void test_channel_of_a_redirect(void **state)
{
	start(LISTEN "allow connect x from app to time target=db\n");
	listens(DB);
	reaches("time/x", DB);
	goes_on(LISTEN "deny connect * from any to db\n"
		       "allow connect x from app to clock target=domid:2\n");
	assert_int_equal(n_channels(), 1);
	goes_on(LISTEN "allow connect x from app to default target=db\n");
	assert_int_equal(n_channels(), 1);
	goes_on(LISTEN "allow connect x from app to vault target=db\n");
	assert_int_equal(n_channels(), 1);
	goes_on(LISTEN "allow connect x from app to time target=db direction=in\n");
	assert_int_equal(n_channels(), 0);
	world_free(w);
}

/* By a fact that only a domain that is there can have. */
static void test_channel_of_a_redirect_by_tag(void **state)
{
	start(LISTEN "allow connect x from app to tag:old target=db\n");
	listens(DB);
	tag(VAULT, "old");
	reaches("vault/x", DB);
	goes_on("# once more\n" LISTEN "allow connect x from app to tag:old target=db\n");
	assert_int_equal(n_channels(), 1);
	tag(VAULT, "");
	assert_int_equal(n_channels(), 0);
	world_free(w);
}

static void test_channel_whose_redirect_ends(void **state)
{
	static const char *const rules[] = {
		LISTEN,
		LISTEN "allow connect x from web to time target=db\n",
		LISTEN "allow connect y from app to time target=db\n",
		LISTEN "allow connect x from app to time target=vault\n",
		LISTEN "deny connect x from app to any\nallow connect x from app to time "
		       "target=db\n",
		LISTEN "allow connect x from app to time target=db transport=argo\n",
		/* Where the holder itself is redirected elsewhere. */
		LISTEN "allow connect x from app to any target=vault\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		start(LISTEN "allow connect x from app to time target=db\n");
		listens(DB);
		reaches("time/x", DB);
		goes_on(rules[i]);
		if (n_channels() != 0)
			fail_msg("rules %zu", i);
		world_free(w);
	}
}

/* A connect waits for the name in the domain to which it goes, and for a redirect that comes. */
static void test_waiting(void **state)
{
	const struct control_message *m;

	start(LISTEN "allow connect x from app to time target=db\n"
		     "allow connect x from app to default target=db\n"
		     "allow connect x from app to late while vault target=db\n"
		     "allow connect x from app to late\n");
	app_connect(caller, 10, "time/x", CONNECT_WAIT_NAME, 0);
	app_connect(caller, 11, "x", CONNECT_WAIT_NAME, 0);
	TAKE_NOTHING(caller);
	listens(VAULT);
	TAKE_NOTHING(caller);
	world_remove_domain(w, VAULT);
	app_connect(caller, 12, "late/x", CONNECT_WAIT_NAME, 0);
	listens(DB);
	link_to(DB);
	TAKE(m, caller, CONTROL_CONNECTED);
	TAKE(m, caller, CONTROL_CONNECTED);
	TAKE_NOTHING(caller);
	w->domains[w->n_domains] = (struct broker_domain_info){
		.domid = 9, .state = BROKER_DOMAIN_RUNNING, .name = "vault", .uuid = {9}};
	w->n_domains++;
	world_domains(w);
	TAKE(m, caller, CONTROL_CONNECTED);
	assert_int_equal(m->request, 12);
	world_free(w);
}

/* The domain that the caller names comes, and only then a rule by its uuid redirects to another. */
static void test_waiting_for_a_fact(void **state)
{
	const struct control_message *m;

	start(LISTEN "allow connect x from app to "
		     "uuid:09000000-0000-0000-0000-000000000000 target=db\n"
		     "allow connect x from app to late\n");
	listens(DB);
	app_connect(caller, 10, "late/x", CONNECT_WAIT_NAME, 0);
	TAKE_NOTHING(caller);
	w->domains[w->n_domains] = (struct broker_domain_info){
		.domid = 9, .state = BROKER_DOMAIN_RUNNING, .name = "late", .uuid = {9}};
	w->n_domains++;
	world_domains(w);
	link_to(DB);
	TAKE(m, caller, CONTROL_CONNECTED);
	world_free(w);
}

static void watch(const char *pattern)
{
	const struct control_message *m;
	struct control_message message = {.type = CONTROL_WATCH, .request = 5};

	message.watch.watch = 1;
	(void)snprintf(message.watch.pattern, sizeof(message.watch.pattern), "%s", pattern);
	assert_int_equal(app_send(caller, &message), 0);
	TAKE(m, caller, CONTROL_STATUS);
}

/* A watcher hears of the names that their own address leads to. */
static void test_watch(void **state)
{
	const struct control_message *m;

	start(LISTEN "allow connect x from app to db target=vault\n"
		     "allow connect x from app to vault target=vault\n"
		     "allow connect x from app to default target=dom0\n"
		     "allow connect x from app to time target=dom0\n");
	listens(DB);
	listens(VAULT);
	listens(DOM0);
	watch("*");
	TAKE(m, caller, CONTROL_NAME);
	assert_string_equal(m->name.address, "vault/x");
	TAKE(m, caller, CONTROL_NAMES_DONE);
	goes_on(LISTEN "allow connect x from app to db\n");
	TAKE(m, caller, CONTROL_NAME);
	assert_string_equal(m->name.address, "db/x");
	assert_true(m->name.come);
	TAKE(m, caller, CONTROL_NAME);
	assert_string_equal(m->name.address, "vault/x");
	assert_false(m->name.come);
	world_free(w);
}

/* ---- without a domain --------------------------------------------------------------------- */

static void test_default(void **state)
{
	start(LISTEN "allow connect x from app to any\n"
		     "allow connect x from app to default target=vault\n"
		     "deny connect y from app to default\n");
	listens(DB);
	listens(VAULT);
	reaches("x", VAULT);
	reaches("db/x", DB);
	fails("y", EACCES);
	/* Others go on as without: two hold it. */
	goes_on(LISTEN "allow connect x from app to any\n"
		       "allow connect x from web to default target=vault\n");
	fails("x", ENOTUNIQ);
	/* A holder that is redirected elsewhere is not one that the caller reaches. */
	goes_on(LISTEN "allow connect x from app to db target=dom0\n"
		       "allow connect x from app to any\n");
	reaches("x", VAULT);
	world_free(w);
}

/* ---- conditions --------------------------------------------------------------------------- */

static void set_state(uint16_t domid, enum broker_domain_state state)
{
	for (size_t i = 0; i < w->n_domains; i++)
		if (w->domains[i].domid == domid)
			w->domains[i].state = state;
	world_domains(w);
	world_check(w);
}

static void test_while(void **state)
{
	start(LISTEN "allow connect x from app to db while vault\n");
	listens(DB);
	reaches("db/x", DB);
	w->domains[VAULT].paused = true;
	world_domains(w);
	assert_int_equal(n_channels(), 1);
	set_state(VAULT, BROKER_DOMAIN_SUSPENDED);
	assert_int_equal(n_channels(), 0);
	fails("db/x", EACCES);
	set_state(VAULT, BROKER_DOMAIN_RUNNING);
	reaches("db/x", DB);
	set_state(VAULT, BROKER_DOMAIN_DYING);
	assert_int_equal(n_channels(), 0);
	world_remove_domain(w, VAULT);
	fails("db/x", EACCES);
	/* Another domain takes the name. */
	world_rename(w, WEB2, "vault");
	goes_on(LISTEN "allow connect x from app to db while vault\n");
	reaches("db/x", DB);
	world_rename(w, WEB2, "web");
	assert_int_equal(n_channels(), 0);
	world_free(w);
}

/* Names are hidden, and found again, with a condition. A state that is no other costs nothing. */
static void test_while_of_names(void **state)
{
	uint64_t generation;

	start("allow listen x on db while domid:5\nallow connect * from any to any\n");
	listens(DB);
	reaches("db/x", DB);
	generation = w->broker->generation;
	world_domains(w);
	set_state(WEB, BROKER_DOMAIN_SUSPENDED);
	assert_int_equal(w->broker->generation, generation);
	world_remove_domain(w, VAULT);
	assert_int_not_equal(w->broker->generation, generation);
	fails("db/x", ENOENT);
	world_free(w);
}

/* ---- tags and limits ---------------------------------------------------------------------- */

static void test_tags(void **state)
{
	start(LISTEN "deny connect x from tag:bad to any\n"
		     "allow connect x from tag:good to tag:kept\n");
	listens(DB);
	fails("db/x", EACCES);
	tag(APP, "other good");
	fails("db/x", EACCES);
	tag(DB, " kept\n");
	reaches("db/x", DB);
	tag(APP, "good bad");
	assert_int_equal(n_channels(), 0);
	fails("db/x", EACCES);
	tag(APP, "good");
	reaches("db/x", DB);
	/* They cannot be read: the deny might match. */
	goes_on(LISTEN "deny connect x from tag:bad to any\nallow connect x from app to any\n");
	reaches("db/x", DB);
	tag(APP, NULL);
	assert_int_equal(n_channels(), 0);
	fails("db/x", EACCES);
	world_free(w);
}

/* Words that are no tags, and more than there can be. */
static void test_tags_are_bounded(void **state)
{
	char many[BROKER_TAGS_SIZE] = "";
	size_t len = 0;

	start(LISTEN "allow connect x from tag:good to any\nallow connect x from tag:t0 to any\n");
	listens(DB);
	tag(APP, "-bad /etc good");
	assert_true(world_logged(w, "tag '-bad' is ignored: it is not spelt as one"));
	reaches("db/x", DB);
	for (unsigned i = 0; i <= POLICY_TAGS_MAX; i++)
		len += (size_t)snprintf(many + len, sizeof(many) - len, "t%u ", i);
	tag(APP, many);
	assert_true(world_logged(w, "tag 't32' is ignored: the domain has too many"));
	reaches("db/x", DB);
	assert_false(w->broker->domains->tags.n > POLICY_TAGS_MAX);
	world_free(w);
}

/* The last tags of a domain that ends stay: its channels end with it, and not before. */
static void test_tags_at_the_end(void **state)
{
	uint64_t generation;

	start(LISTEN "allow connect x from tag:good to any\n");
	tag(APP, "good");
	generation = w->broker->generation;
	set_state(APP, BROKER_DOMAIN_DYING);
	tag(APP, "");
	assert_int_equal(w->broker->generation, generation);
	world_free(w);
}

static void assign(const struct assignments *assignments)
{
	struct broker_limits limits;

	broker_limits_default(&limits);
	broker_set_limits(w->broker, &limits, assignments);
}

static void test_assignments(void **state)
{
	struct assignments *assignments;

	start(LISTEN "allow connect x from tag:good to any\n");
	listens(DB);
	assert_int_equal(assignments_new(&assignments), 0);
	assert_int_equal(assignments_add_tag(assignments, "good", "app"), 0);
	assert_int_equal(assignments_add_limit(assignments, "tag:good",
				 offsetof(struct broker_limits, quota[QUOTA_CHANNELS]), 2),
		0);
	assert_int_equal(assignments_add_limit(assignments, "db",
				 offsetof(struct broker_limits, quota[QUOTA_NAMES]), 1),
		0);
	fails("db/x", EACCES);
	assign(assignments);
	assert_int_equal(broker_limit(w->broker, APP, QUOTA_CHANNELS), 2);
	reaches("db/x", DB);
	reaches("db/x", DB);
	fails("db/x", EDQUOT);
	assert_string_equal(reason, "limit channels=2 of domain app");
	assert_int_equal(app_listen(at[DB], 2, "y", 1), EDQUOT);
	goes_on(LISTEN "allow connect x from app to any while tag:good\n");
	assert_int_equal(n_channels(), 2);
	assign(NULL);
	assert_int_equal(n_channels(), 0);
	assign(assignments);
	reaches("db/x", DB);
	/* The name by which the domain has the tag cannot be read: nothing ends, nothing begins. */
	goes_on(LISTEN "allow connect x from tag:good to any\n");
	reaches("db/x", DB);
	assert_int_equal(n_channels(), 2);
	world_rename(w, APP, "");
	assert_int_equal(n_channels(), 2);
	fails("db/x", EACCES);
	world_rename(w, APP, "app");
	assert_int_equal(n_channels(), 2);
	/* It is another name. */
	world_rename(w, APP, "was-app");
	assert_int_equal(n_channels(), 0);
	assert_int_equal(broker_limit(w->broker, APP, QUOTA_CHANNELS), DOMAIN_CHANNELS_MAX);
	assign(NULL);
	assert_int_equal(broker_limit(w->broker, DB, QUOTA_NAMES), DOMAIN_NAMES_MAX);
	assignments_free(assignments);
	world_free(w);
}

/* ---- how often a domain connects ---------------------------------------------------------- */

static void test_max_connects(void **state)
{
	start(LISTEN "allow connect x from app to db max-connects=2/m:3\n"
		     "allow connect x from app to vault\n");
	listens(DB);
	listens(VAULT);
	for (unsigned i = 0; i < 3; i++)
		reaches("db/x", DB);
	fails("db/x", EDQUOT);
	assert_string_equal(reason, "max-connects=2/m:3 of policy: the next in 30.000 s");
	assert_true(world_logged(w, "app(3): max-connects=2/m:3 of policy is reached"));
	reaches("vault/x", VAULT);
	world_pass(w, 30 * S - 1);
	fails("db/x", EDQUOT);
	world_pass(w, 1);
	reaches("db/x", DB);
	fails("db/x", EDQUOT);
	/* The rule stands elsewhere in another policy: it is the same one. */
	goes_on("# moved\nallow connect y from app to db\n" LISTEN
		"allow  connect x from app to db\tmax-connects=2/m:3\n");
	fails("db/x", EDQUOT);
	goes_on(LISTEN "allow connect x from app to db max-connects=3/m\n");
	reaches("db/x", DB);
	world_check(w);
	world_free(w);
}

/* Of one domain together, however many processes; another one has its own. */
static void test_max_connects_by_domain(void **state)
{
	struct app *first, *other;

	start(LISTEN "allow connect x from any to db max-connects=1/h\n");
	listens(DB);
	reaches("db/x", DB);
	first = caller;
	caller = app_new_with(w, 10, APP, KNOWS);
	fails("db/x", EDQUOT);
	other = caller = app_new_with(w, 11, VAULT, KNOWS);
	reaches("db/x", DB);
	fails("db/x", EDQUOT);
	assert_ptr_not_equal(first, other);
	world_free(w);
}

/* A connect that waits, for a link or its name, counts once, when it comes to its listener. */
static void test_max_connects_counts_once(void **state)
{
	const struct control_message *m;

	start(LISTEN "allow connect x from app to db max-connects=2/h\n");
	for (unsigned i = 0; i < 8; i++)
		fails("db/x", ENOENT);
	app_connect(caller, 100, "db/x", CONNECT_WAIT_NAME, 0);
	listens(DB);
	goes_on(LISTEN "allow connect x from app to db max-connects=2/h\n");
	link_to(DB);
	TAKE(m, caller, CONTROL_CONNECTED);
	TAKE(m, at[DB], CONTROL_CHANNEL);
	reaches("db/x", DB);
	fails("db/x", EDQUOT);
	world_free(w);
}

#define MANY 10000U

/* Rules "allow connect nI from app to db", and what is to follow. */
static char *many_rules(const char *keys, unsigned n, const char *rest)
{
	char *text;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	assert_non_null(stream);
	for (unsigned i = 0; i < n; i++)
		(void)fprintf(stream, "allow connect n%u from app to db %s\n", i, keys);
	(void)fprintf(stream, "%s", rest);
	assert_int_equal(fclose(stream), 0);
	return text;
}

/* A guest comes to as many rules as there are: it pays, and only until time has paid. */
static void test_max_connects_memory(void **state)
{
	char *rules = many_rules("max-connects=1000/s", MANY, LISTEN), address[32];
	struct domain *domain;
	uint32_t before;

	start(rules);
	free(rules);
	at[DB] = app_new_with(w, 3, DB, KNOWS);
	domain = domain_find(w->broker, APP);
	before = domain->bytes;
	for (unsigned i = 0; i < MANY; i++) {
		(void)snprintf(address, sizeof(address), "db/n%u", i);
		assert_int_equal(app_listen(at[DB], i + 1, address + 3, 1), 0);
		assert_true(domain->bytes <= domain->limits.bytes);
		app_connect(caller, ++last_id, address, 0, 0);
		if (i == 0)
			link_to(DB);
		app_forget(caller);
		app_forget(at[DB]);
		app_closed(caller, 1, i + 1);
		app_closed(at[DB], 1, i + 1);
		assert_int_equal(app_unlisten(at[DB], i + 1), 0);
		if (i % 10 == 0)
			world_pass(w, 1000000);
	}
	assert_true(HASH_COUNT(domain->connects) < 100);
	assert_true(HASH_COUNT(domain->connects) > 0);
	assert_true(domain->bytes < before + 100 * 1024);
	world_check(w);
	world_free(w);
}

/* Until time has paid, a guest comes to so many rules as its memory allows. */
static void test_max_connects_memory_limit(void **state)
{
	char *rules = many_rules("max-connects=1/h", 200, LISTEN), address[32];
	struct broker_limits limits;
	struct domain *domain;
	unsigned n = 0;

	start(rules);
	free(rules);
	at[DB] = app_new_with(w, 3, DB, KNOWS);
	domain = domain_find(w->broker, APP);
	broker_limits_default(&limits);
	limits.bytes = domain->bytes + quota_bytes(QUOTA_REQUESTS) + 10 * CONNECTS_BYTES;
	broker_set_limits(w->broker, &limits, NULL);
	/* Whatever else is wrong with the connect, such as its type, comes later. */
	for (; n < 200; n++) {
		(void)snprintf(address, sizeof(address), "db/n%u", n);
		assert_int_equal(app_listen(at[DB], 1, address + 3, 1), 0);
		app_connect(caller, ++last_id, address, 0, 0);
		app_forget(caller);
		app_cancel(caller, last_id);
		app_forget(at[DB]);
		assert_int_equal(app_unlisten(at[DB], 1), 0);
	}
	assert_true(world_logged(w, "limit memory="));
	assert_int_equal(HASH_COUNT(domain->connects), 10);
	assert_true(domain->bytes <= limits.bytes);
	world_check(w);
	world_free(w);
}

/* ---- costs -------------------------------------------------------------------------------- */

static uint64_t cost_of(const char *address, uint32_t error)
{
	uint64_t before = broker_cost(w->broker);

	fails(address, error);
	return broker_cost(w->broker) - before;
}

/* Thousands of rules and redirects make a connect a small part of them dearer. */
static void test_costs(void **state)
{
	char *rules = many_rules("target=vault", MANY, LISTEN);
	uint64_t cost;

	start(rules);
	free(rules);
	listens(VAULT);
	cost = cost_of("db/n1", ENOENT);
	assert_true(cost < MANY / 10);
	cost = cost_of("nobody/n2", EACCES);
	assert_true(cost < MANY / 10);
	cost = cost_of("n3", ENOENT);
	assert_true(cost < MANY / 10);
	world_free(w);
}

/* A thousand redirects of one name: what is judged again stays within a turn or so. */
static void test_costs_of_redirects(void **state)
{
	uint64_t before;
	char *rules, *text;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	(void)fputs(LISTEN, stream);
	for (unsigned i = 0; i < 1000; i++)
		(void)fprintf(stream, "allow connect x from app to t%u target=db\n", i);
	assert_int_equal(fclose(stream), 0);
	start(text);
	listens(DB);
	reaches("t999/x", DB);
	before = broker_cost(w->broker);
	goes_on(text);
	assert_int_equal(n_channels(), 1);
	/* Beside the memos of six domains. */
	assert_true(broker_cost(w->broker) - before < 6U * 2U * 1100U + 20000U);
	rules = strstr(text, "allow connect x from app to t999");
	assert_non_null(rules);
	/* None of them leads there: each is tried. */
	for (char *to = text; (to = strstr(to, "target=db"));)
		memcpy(to, "target=w2", 9);
	before = broker_cost(w->broker);
	goes_on(text);
	assert_int_equal(n_channels(), 0);
	assert_true(broker_cost(w->broker) - before < 6U * 2U * 1100U + 20000U);
	free(text);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_target),
		cmocka_unit_test(test_target_is_judged_as_a_holder_alone),
		cmocka_unit_test(test_target_of_several),
		cmocka_unit_test(test_refused_learns_nothing),
		cmocka_unit_test(test_channel_of_a_redirect),
		cmocka_unit_test(test_channel_of_a_redirect_by_tag),
		cmocka_unit_test(test_channel_whose_redirect_ends),
		cmocka_unit_test(test_waiting),
		cmocka_unit_test(test_waiting_for_a_fact),
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_default),
		cmocka_unit_test(test_while),
		cmocka_unit_test(test_while_of_names),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_tags_are_bounded),
		cmocka_unit_test(test_tags_at_the_end),
		cmocka_unit_test(test_assignments),
		cmocka_unit_test(test_max_connects),
		cmocka_unit_test(test_max_connects_by_domain),
		cmocka_unit_test(test_max_connects_counts_once),
		cmocka_unit_test(test_max_connects_memory),
		cmocka_unit_test(test_max_connects_memory_limit),
		cmocka_unit_test(test_costs),
		cmocka_unit_test(test_costs_of_redirects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
