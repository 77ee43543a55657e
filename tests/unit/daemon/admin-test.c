/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The admin protocol: requests, and what the answers say about a broker with something in it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/admin/view.h"
#include "daemon/broker/domain.h"
#include "daemon/broker/state.h"
#include "tests/unit/daemon/cmocka-all.h"
#include "tests/unit/daemon/world.h"

#define ALL "allow listen * on any\nallow connect * from any to any\n"

static json_t *value_of(const char *key)
{
	if (strcmp(key, "channel") == 0 || strcmp(key, "pid") == 0 || strcmp(key, "value") == 0)
		return json_integer(1);
	return json_string(strcmp(key, "link") == 0 ? "1a" : "web");
}

static void test_requests(void **state)
{
	static const struct {
		const char *line, *error;
	} bad[] = {
		{"", "not a JSON object"},
		{"status", "not a JSON object"},
		{"[\"op\"]", "not a JSON object"},
		{"{\"op\":\"status\"", "not a JSON object"},
		{"{\"op\":\"status\",\"op\":\"links\"}", "not a JSON object"},
		/* ADMIN_DEPTH_MAX counts the request itself, and nothing in a string. */
		{"{\"op\":[[[\"[[\\\"[[\"]]],\"to\":[[[{}]]]}",
			"too many objects or arrays in each other"},
		{"[[[[[", "too many objects or arrays in each other"},
		{"{\"op\":[[[\"[[\\\"[[\"]]],\"to\":[[{}]]}", "no op"},
		{"[[[[", "not a JSON object"},
		{"]]]{\"op\":\"status\"}", "not a JSON object"},
		{"{}", "no op"},
		{"{\"op\":3}", "no op"},
		{"{\"op\":\"stat\"}", "unknown op"},
		{"{\"op\":\"status\",\"domain\":\"web\"}", "unknown key"},
		{"{\"op\":\"domains\",\"transport\":\"argo\"}", "unknown key"},
		{"{\"op\":\"links\",\"domain\":\"domid:x\"}",
			"a domain is a name, domid:N or uuid:U"},
		{"{\"op\":\"links\",\"transport\":\"any\"}",
			"a transport is argo, argo-strict or grant, not 'any'"},
		{"{\"op\":\"links\",\"link\":\"11223344556677889\"}",
			"a link is a uid: 1 to 16 hexadecimal digits"},
		{"{\"op\":\"links\",\"link\":\"0x1\"}",
			"a link is a uid: 1 to 16 hexadecimal digits"},
		{"{\"op\":\"links\",\"pid\":-1}", "pid is out of range"},
		{"{\"op\":\"links\",\"pid\":4294967296}", "pid is out of range"},
		{"{\"op\":\"channels\",\"channel\":0}", "channel is out of range"},
		{"{\"op\":\"channels\",\"name\":\"\"}", "a name has 1 to 63 characters"},
		{"{\"op\":\"names\",\"state\":\"up\"}",
			"a state of names is forbidden, blocked, drained, full, open, not 'up'"},
		{"{\"op\":\"domains\",\"state\":\"a word that is far too long\"}",
			"a state of domains is running, suspended, crashed, dying, quiesced, "
			"paused"},
		{"{\"op\":\"quiesce\"}", "no domain"},
		{"{\"op\":\"quiesce\",\"domain\":3}", "no domain"},
		{"{\"op\":\"quiesce\",\"domain\":\"\"}", "no domain"},
		{"{\"op\":\"quiesce\",\"domain\":\"w\",\"x\":1}", "unknown key"},
		{"{\"op\":\"quiesce\",\"domain\":\"w\",\"timeout_ms\":-1}",
			"timeout_ms is out of range"},
		{"{\"op\":\"quiesce\",\"domain\":\"w\",\"timeout_ms\":3600001}",
			"timeout_ms is out of range"},
		{"{\"op\":\"quiesce\",\"domain\":\"w\",\"timeout_ms\":\"1\"}",
			"timeout_ms is out of range"},
		{"{\"op\":\"resume\",\"domain\":\"w\",\"timeout_ms\":1}", "unknown key"},
	};
	struct admin_request request;
	const char *error;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(
			admin_request_parse(bad[i].line, strlen(bad[i].line), &request, &error),
			-EINVAL);
		assert_string_equal(error, bad[i].error);
	}
	for (int i = 0; i < ADMIN_OP_COUNT; i++) {
		json_t *object = json_pack("{s:s}", "op", admin_op_name(i));
		char *line = json_dumps(object, 0);

		/* The keys that it lacks, one after the other. */
		while (admin_request_parse(line, strlen(line), &request, &error) < 0) {
			assert_int_equal(strncmp(error, "no ", 3), 0);
			assert_null(json_object_get(object, error + 3));
			json_object_set_new(object, error + 3, value_of(error + 3));
			free(line);
			line = json_dumps(object, 0);
		}
		assert_int_equal(request.op, i);
		assert_int_equal(
			json_object_size(object), 1 + (size_t)__builtin_popcount(request.has));
		if (json_object_get(object, "domain"))
			assert_string_equal(request.domain, "web");
		if (i == ADMIN_QUIESCE || i == ADMIN_WAIT)
			assert_int_equal(request.timeout_ms, ADMIN_TIMEOUT_MS);
		free(line);
		json_decref(object);
	}
}

/* A request of this domain and time limit; NULL: none. */
static int request(const char *op, size_t domain_len, const char *timeout, size_t len,
	struct admin_request *ret_request, const char **ret_error)
{
	char line[ADMIN_LINE_MAX + 2], domain[200] = "", more[64] = "";
	int n;

	memset(domain, 'd', domain_len);
	if (timeout)
		(void)snprintf(more, sizeof(more), ",\"timeout_ms\":%s", timeout);
	n = snprintf(line, sizeof(line), "{\"op\":\"%s\",\"domain\":\"%s\"%s}", op, domain, more);
	assert_true(n > 0 && (size_t)n <= sizeof(line));
	memset(line + n, ' ', sizeof(line) - (size_t)n);
	return admin_request_parse(line, len ? len : (size_t)n, ret_request, ret_error);
}

/* The longest and the largest, and one more. */
static void test_request_bounds(void **state)
{
	static const char nul[] = "{\"op\":\"resume\",\"domain\":\"w\\u0000x\"}";
	struct admin_request got;
	const char *error = "";

	assert_int_equal(request("resume", 127, NULL, 0, &got, &error), 0);
	assert_int_equal(strlen(got.domain), 127);
	assert_int_equal(request("resume", 128, NULL, 0, &got, &error), -EINVAL);
	assert_string_equal(error, "the domain is too long");
	assert_int_equal(request("quiesce", 1, "0", 0, &got, &error), 0);
	assert_int_equal(got.timeout_ms, 0);
	assert_string_equal(got.domain, "d");
	assert_int_equal(request("quiesce", 1, "3600000", 0, &got, &error), 0);
	assert_int_equal(got.timeout_ms, 3600000);
	assert_int_equal(request("quiesce", 1, "3600001", 0, &got, &error), -EINVAL);
	assert_string_equal(error, "timeout_ms is out of range");
	assert_int_equal(request("quiesce", 1, "1.5", 0, &got, &error), -EINVAL);
	assert_int_equal(request("resume", 1, NULL, ADMIN_LINE_MAX, &got, &error), 0);
	assert_int_equal(request("resume", 1, NULL, ADMIN_LINE_MAX + 1, &got, &error), -EINVAL);
	assert_string_equal(error, "the line is too long");
	assert_int_equal(admin_request_parse(nul, sizeof(nul) - 1, &got, &error), -EINVAL);
	assert_string_equal(error, "not a JSON object");
}

/* The answer is this object, whatever the order of its keys; ' stands for ". */
static void expect(json_t *answer, const char *want)
{
	char text[2048];
	json_t *object;

	(void)snprintf(text, sizeof(text), "%s", want);
	for (char *at = text; (at = strchr(at, '\'')); at++)
		*at = '"';
	object = json_loads(text, 0, NULL);
	assert_non_null(object);
	if (!json_equal(answer, object))
		fail_msg("got  %s\nwant %s", json_dumps(answer, JSON_SORT_KEYS), text);
	json_decref(object);
	json_decref(answer);
}

#define FROM "{'comm':'test','domain':'app','domid':3,'end':1,'pid':1003}"
#define TO   "{'comm':'test','domain':'db','domid':2,'end':1,'pid':1002}"
#define NO_TRAFFIC                                                                                 \
	"'tx_messages':0,'tx_bytes':0,'rx_messages':0,'rx_bytes':0,'drops':0,'no_credit':0,"       \
	"'no_room':0"
#define NO_LINK_TRAFFIC "{" NO_TRAFFIC ",'notifications':0,'hypercalls':0}"

static json_t *view(const struct world *w, enum admin_op op, uint64_t now_ns, size_t from)
{
	struct admin_request wish = {.op = op, .from = from};

	return admin_view(w->broker, &wish, now_ns);
}

static void expect_name(struct world *w, unsigned offered, bool permitted)
{
	char want[1024];

	(void)snprintf(want, sizeof(want),
		"{'op':'names','next':1,'all':1,'names':[{'name':'db','type':'seqpacket','state':'%"
		"s','backlog':4,'"
		"offered':%u,"
		"'permitted':%s,'age_s':3,'holder':{'comm':'test','domain':'db','domid':2,'end':0,"
		"'pid':1002},'since_us':0,'traffic':{" NO_TRAFFIC "}}]}",
		!permitted     ? "forbidden"
		: offered == 4 ? "full"
			       : "open",
		offered, permitted ? "true" : "false");
	expect(view(w, ADMIN_NAMES, w->now_ns + 3999999999, 0), want);
}

static void expect_link(struct world *w, const char *state, unsigned channels)
{
	char want[1024];

	(void)snprintf(want, sizeof(want),
		"{'op':'links','next':1,'all':1,'links':[{'uid':'1122334455667789','transport':'"
		"grant','"
		"reason':'no "
		"Argo in app','state':'%s','channels':%u,'age_s':3,'creator':" FROM ",'binder':%s,"
		"'creator_traffic':" NO_LINK_TRAFFIC ",'binder_traffic':" NO_LINK_TRAFFIC "}]}",
		state, channels, TO);
	expect(view(w, ADMIN_LINKS, w->now_ns + 3999999999, 0), want);
}

static void expect_channel(struct world *w, const char *state, uint64_t now_ns, unsigned age_s)
{
	char want[1024];

	(void)snprintf(want, sizeof(want),
		"{'op':'channels','next':1,'all':1,'channels':[{'link':'1122334455667789','channel'"
		":1,'name'"
		":'db',"
		"'type':'seqpacket','transport':'grant','state':'%s','age_s':%u,'from':" FROM
		",'to':" TO ",'direction':'both','from_traffic':null,'to_traffic':null}]}",
		state, age_s);
	expect(view(w, ADMIN_CHANNELS, now_ns, 0), want);
}

/* Every word and number of the views, from LISTEN to the channel's end. */
static void test_words(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, true);
	const struct control_message *m;

	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	expect_name(w, 0, true);
	app_connect(caller, 1, "db", 0, 0);
	expect_link(w, "creating", 0);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	app_offer(caller, m->link_create.end, 0);
	expect_link(w, "binding", 0);
	TAKE(m, holder, CONTROL_LINK_BIND);
	app_ready(holder, m->link_bind.end, 0);
	expect_link(w, "up", 1);
	expect_name(w, 1, true);
	expect_channel(w, "offered", w->now_ns + 1999999999, 1);
	TAKE(m, holder, CONTROL_CHANNEL);
	app_accepted(holder, m->channel.end, m->channel.channel);
	expect_channel(w, "open", 0, 0); /* a clock that is behind: no age below none */
	expect(admin_view_status(w->broker),
		"{'op':'status','domains':6,'applications':2,'names':1,'links':1,'channels':1,"
		"'requests_waiting':0,'recovering':false,'since_us':0,'rules':2,'policy_errors':[],"
		"'counts':{'"
		"attached':2,"
		"'connected':1,'refused':0,'failed':0,'reset':0,'dropped':0,'links_made':1,"
		"'lines_left_out':0},'limits':{'processes':64,'names':1024,'channels':65536,"
		"'links':256,'requests':1024,'ends':8192,'announced':65536,'watches':64,'memory':"
		"2097152}}");
	app_closed(holder, m->channel.end, m->channel.channel);
	expect_channel(w, "closing", w->now_ns, 0);
	world_policy(w, "deny listen * on any\n");
	expect_name(w, 0, false);
	world_free(w);
}

/* Each count, and each limit, has its own place. */
static void test_counts(void **state)
{
	struct broker_limits limits;
	struct world *w;

	broker_limits_default(&limits);
	for (uint32_t i = 0; i < QUOTA_COUNT; i++)
		limits.quota[i] = 20 + i;
	limits.bytes = 30 << 20;
	w = world_new(ALL, &limits);

	w->broker->stats = (struct broker_stats){.attached = 1,
		.connected = 2,
		.refused = 3,
		.failed = 4,
		.reset = 5,
		.dropped = 6,
		.links_made = 7};
	w->broker->log.left_out = 8;
	w->broker->n_channels = 9;
	w->broker->recovering = true;
	w->broker->since_us = 13;
	domain_find(w->broker, 1)->used[QUOTA_PROCESSES] = 10;
	domain_find(w->broker, 2)->used[QUOTA_NAMES] = 11;
	domain_find(w->broker, 3)->used[QUOTA_REQUESTS] = 12;
	expect(admin_view_status(w->broker),
		"{'op':'status','domains':6,'applications':10,'names':11,'links':0,'channels':9,"
		"'requests_waiting':12,'recovering':true,'since_us':13,'rules':2,'policy_errors':[]"
		",'counts':{'"
		"attached':1,"
		"'connected':2,'refused':3,'failed':4,'reset':5,'dropped':6,'links_made':7,"
		"'lines_left_out':8},'limits':{'processes':20,'names':21,'channels':22,"
		"'links':23,'requests':24,'ends':25,'announced':26,'watches':27,'memory':31457280}"
		"}");
	domain_find(w->broker, 1)->used[QUOTA_PROCESSES] = 0;
	domain_find(w->broker, 2)->used[QUOTA_NAMES] = 0;
	domain_find(w->broker, 3)->used[QUOTA_REQUESTS] = 0;
	w->broker->n_channels = 0;
	world_free(w);
}

/* A link and a channel that one end has announced. */
static void test_announced(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *caller = &w->apps[0];

	broker_recover(w->broker, 2);
	assert_int_equal(app_attach(caller, 3, true), 0);
	assert_int_equal(app_hello(caller, false, true), 0);
	app_announce_link(caller, 1, 2, 5, TRANSPORT_GRANT, 0, 1);
	app_announce_channel(caller, 1, 1, 0, 0, "db");
	expect(view(w, ADMIN_LINKS, w->now_ns, 0),
		"{'op':'links','next':1,'all':1,'links':[{'uid':'0000000000000002','transport':'"
		"grant','"
		"reason':"
		"'made before msgd\\u0027s restart','state':'announced','channels':1,'age_s':0,"
		"'creator':" FROM
		",'binder':{'domain':null,'domid':5,'pid':null,'comm':null,'end':null},"
		"'creator_traffic':" NO_LINK_TRAFFIC ",'binder_traffic':" NO_LINK_TRAFFIC "}]}");
	expect(view(w, ADMIN_CHANNELS, w->now_ns, 0),
		"{'op':'channels','next':1,'all':1,'channels':[{'link':'0000000000000002','channel'"
		":1,'name'"
		":'db',"
		"'type':'seqpacket','transport':'grant','state':'announced','age_s':0,'from':" FROM
		",'to':{'domain':null,'domid':5,'pid':null,'comm':null,'end':null},'direction':'"
		"both','from_traffic':null,'to_traffic':null}]}");
	world_free(w);
}

static const char *domain_state(struct world *w, size_t domid)
{
	json_t *answer = view(w, ADMIN_DOMAINS, 0, 0);
	const json_t *row = json_array_get(json_object_get(answer, "domains"), domid);
	static char text[32];

	(void)snprintf(text, sizeof(text), "%s", json_string_value(json_object_get(row, "state")));
	json_decref(answer);
	return text;
}

static void test_domains(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct domain *domain = domain_find(w->broker, 0);
	json_t *answer, *first;

	for (int i = 0; i < QUOTA_COUNT; i++)
		domain->used[i] = (uint32_t)i + 1;
	domain->bytes = 99;
	domain->tags.n = 2;
	strcpy(domain->tags.names[0], "first");
	strcpy(domain->tags.names[1], "second");
	domain->traffic = (struct traffic){.tx_messages = 10,
		.tx_bytes = 11,
		.rx_messages = 12,
		.rx_bytes = 13,
		.drops = 14,
		.no_credit = 15,
		.no_room = 16};
	answer = view(w, ADMIN_DOMAINS, 0, 0);
	assert_int_equal(json_array_size(json_object_get(answer, "domains")), 6);
	first = json_incref(json_array_get(json_object_get(answer, "domains"), 0));
	json_decref(answer);
	expect(first, "{'domid':0,'name':'Domain-0','uuid':'10101010-1010-1010-1010-101010101010',"
		      "'state':'running','blocked':false,'used':{'processes':1,'names':2,'channels'"
		      ":3,'links':4,"
		      "'requests':5,'ends':6,'announced':7,'watches':8,'memory':99},'traffic':{"
		      "'tx_messages':10,'tx_bytes':11,'rx_messages':12,'rx_bytes':13,'drops':14,"
		      "'no_credit':15,'no_room':16},'tags':['first','second']}");
	memset(domain->used, 0, sizeof(domain->used));
	domain->bytes = 0;
	w->domains[1].paused = true;
	w->domains[2].state = BROKER_DOMAIN_SUSPENDED;
	w->domains[2].paused = true;
	world_domains(w);
	assert_string_equal(domain_state(w, 1), "paused");
	assert_string_equal(domain_state(w, 2), "suspended");
	assert_string_equal(domain_state(w, 3), "running");
	assert_int_equal(broker_quiesce(w->broker, 1), 0);
	assert_string_equal(domain_state(w, 1), "quiesced");
	domain_find(w->broker, 3)->info.state = BROKER_DOMAIN_CRASHED;
	assert_string_equal(domain_state(w, 3), "crashed");
	domain_find(w->broker, 3)->info.state = BROKER_DOMAIN_DYING;
	assert_string_equal(domain_state(w, 3), "dying");
	domain_find(w->broker, 3)->info.state = BROKER_DOMAIN_RUNNING;
	world_free(w);
}

static const char *text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void test_views(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *caller = app_new(w, 0, 3, false), *holder = app_new(w, 1, 2, true);
	const struct control_message *m;
	json_t *answer, *row, *party;

	assert_int_equal(app_listen(holder, 1, "db", 4), 0);
	app_connect(caller, 1, "db", 0, 0);
	TAKE(m, caller, CONTROL_LINK_CREATE);
	app_offer(caller, m->link_create.end, 0);
	TAKE(m, holder, CONTROL_LINK_BIND);
	app_ready(holder, m->link_bind.end, 0);

	answer = admin_view_status(w->broker);
	assert_int_equal(json_integer_value(json_object_get(answer, "applications")), 2);
	assert_int_equal(json_integer_value(json_object_get(answer, "channels")), 1);
	json_decref(answer);

	answer = view(w, ADMIN_DOMAINS, w->now_ns, 0);
	assert_int_equal(json_array_size(json_object_get(answer, "domains")), 6);
	json_decref(answer);

	answer = view(w, ADMIN_NAMES, w->now_ns + 5000000000, 0);
	row = json_array_get(json_object_get(answer, "names"), 0);
	assert_string_equal(text_at(row, "name"), "db");
	assert_int_equal(json_integer_value(json_object_get(row, "offered")), 1);
	assert_int_equal(json_integer_value(json_object_get(row, "age_s")), 5);
	json_decref(answer);

	answer = view(w, ADMIN_LINKS, w->now_ns, 0);
	row = json_array_get(json_object_get(answer, "links"), 0);
	assert_string_equal(text_at(row, "transport"), "grant");
	assert_string_equal(text_at(row, "reason"), "no Argo in app");
	assert_string_equal(text_at(row, "state"), "up");
	party = json_object_get(row, "creator");
	assert_string_equal(text_at(party, "domain"), "app");
	assert_string_equal(text_at(party, "comm"), "test");
	assert_int_equal(json_integer_value(json_object_get(party, "pid")), 1003);
	json_decref(answer);

	answer = view(w, ADMIN_CHANNELS, w->now_ns, 0);
	row = json_array_get(json_object_get(answer, "channels"), 0);
	assert_string_equal(text_at(row, "name"), "db");
	assert_string_equal(text_at(row, "type"), "seqpacket");
	assert_string_equal(text_at(row, "state"), "offered");
	assert_string_equal(text_at(json_object_get(row, "from"), "domain"), "app");
	assert_string_equal(text_at(json_object_get(row, "to"), "domain"), "db");
	json_decref(answer);
	world_free(w);

	/* A link that only one end has announced: the other end has no process to show. */
	w = world_new(ALL, NULL);
	caller = &w->apps[0];
	broker_recover(w->broker, 2);
	assert_int_equal(app_attach(caller, 3, true), 0);
	assert_int_equal(app_hello(caller, false, true), 0);
	app_announce_link(caller, 1, 2, 5, TRANSPORT_GRANT, 0, 1);
	app_announce_channel(caller, 1, 1, 0, 0, "db");
	answer = view(w, ADMIN_LINKS, w->now_ns, 0);
	row = json_array_get(json_object_get(answer, "links"), 0);
	assert_true(json_is_null(json_object_get(json_object_get(row, "binder"), "pid")));
	json_decref(answer);
	answer = view(w, ADMIN_CHANNELS, w->now_ns, 0);
	assert_int_equal(json_array_size(json_object_get(answer, "channels")), 1);
	json_decref(answer);
	world_free(w);
}

/* The reason of one that has not confirmed, when its domain has been told to quiesce. */
static void expect_reason(struct world *w, const char *want)
{
	json_t *answer = admin_view_quiesced(w->broker, 2);
	json_t *rows = json_object_get(answer, "applications");

	assert_int_equal(json_array_size(rows), 1);
	assert_string_equal(text_at(json_array_get(rows, 0), "reason"), want);
	json_decref(answer);
}

static void test_reasons(void **state)
{
	static const char unanswered[] =
		"it has not answered: it is in no call of libmsg, or stopped, or busy";
	struct world *w = world_new(ALL, NULL);

	assert_int_equal(app_attach(&w->apps[0], 2, false), 0);
	assert_int_equal(broker_quiesce(w->broker, 2), 0);
	expect_reason(w, "it has attached and said nothing yet");
	w->domains[2].paused = true;
	world_domains(w);
	expect_reason(w, "its domain does not run");
	w->domains[2].paused = false;
	w->domains[2].state = BROKER_DOMAIN_SUSPENDED;
	world_domains(w);
	expect_reason(w, "its domain does not run");
	assert_null(admin_view_quiesced(w->broker, 77));
	assert_null(admin_view_quiesced(w->broker, 1));
	world_free(w);
	w = world_new(ALL, NULL);
	(void)app_new(w, 0, 2, false);
	assert_int_equal(broker_quiesce(w->broker, 2), 0);
	expect_reason(w, unanswered);
	domain_find(w->broker, 2)->info.state = BROKER_DOMAIN_DYING;
	assert_null(admin_view_quiesced(w->broker, 2));
	domain_find(w->broker, 2)->info.state = BROKER_DOMAIN_RUNNING;
	world_free(w);
}

/* Rows come in portions, each of which is bounded; all are there once. */
static void test_portions(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *holders[] = {app_new(w, 0, 2, false), app_new(w, 1, 3, false)};
	bool seen[2][700] = {{false}};
	json_t *answer = NULL, *row;
	size_t from = 0, n = 1, i;
	unsigned k, place;
	char name[NAME_SIZE];

	for (unsigned h = 0; h < 2; h++) {
		for (unsigned p = 0; p < 700; p++) {
			snprintf(name, sizeof(name), "h%u-%u", h, p);
			assert_int_equal(app_listen(holders[h], 1 + p, name, 4), 0);
		}
	}
	while (n) {
		answer = view(w, ADMIN_NAMES, w->now_ns, from);
		assert_int_equal(json_integer_value(json_object_get(answer, "all")), 1400);
		n = json_array_size(json_object_get(answer, "names"));
		assert_true(n <= ADMIN_ROWS_A_TURN);
		json_array_foreach(json_object_get(answer, "names"), i, row)
		{
			assert_int_equal(sscanf(text_at(row, "name"), "h%u-%u", &k, &place), 2);
			assert_false(seen[k][place]);
			seen[k][place] = true;
		}
		from += n;
		json_decref(answer);
	}
	assert_int_equal(from, 1400);
	world_free(w);
}

/* The report of quiescing: which applications have confirmed, which have not, and why. */
static void test_quiesced(void **state)
{
	struct world *w = world_new(ALL, NULL);
	struct app *parks = app_new(w, 0, 2, false), *dies = app_new(w, 1, 2, false);
	struct app *stays = app_new(w, 2, 2, false);
	json_t *answer, *rows;

	assert_null(admin_view_quiesced(w->broker, 2));
	assert_int_equal(broker_quiesce(w->broker, 2), 0);
	assert_true(broker_quiesce_pending(w->broker, 2));
	app_park(parks);
	app_die(dies);
	answer = admin_view_quiesced(w->broker, 2);
	assert_string_equal(text_at(answer, "domain"), "db");
	assert_true(json_is_false(json_object_get(answer, "quiesced")));
	rows = json_object_get(answer, "applications");
	assert_int_equal(json_array_size(rows), 3);
	assert_true(json_is_false(json_object_get(json_array_get(rows, 0), "confirmed")));
	assert_non_null(strstr(text_at(json_array_get(rows, 0), "reason"), "has not answered"));
	assert_true(json_is_true(json_object_get(json_array_get(rows, 1), "confirmed")));
	assert_true(json_is_false(json_object_get(json_array_get(rows, 2), "confirmed")));
	assert_string_equal(text_at(json_array_get(rows, 2), "reason"), "it has ended");
	assert_int_equal(json_integer_value(json_object_get(answer, "domid")), 2);
	assert_string_equal(text_at(answer, "op"), "quiesce");
	assert_string_equal(text_at(json_array_get(rows, 1), "reason"), "");
	assert_string_equal(text_at(json_array_get(rows, 1), "comm"), "test");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(rows, 1), "pid")), 1002);
	json_decref(answer);
	app_park(stays);
	assert_false(broker_quiesce_pending(w->broker, 2));
	answer = admin_view_quiesced(w->broker, 2);
	assert_true(json_is_true(json_object_get(answer, "quiesced")));
	json_decref(answer);
	answer = view(w, ADMIN_DOMAINS, w->now_ns, 0);
	assert_string_equal(text_at(json_array_get(json_object_get(answer, "domains"), 2), "state"),
		"quiesced");
	json_decref(answer);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_request_bounds),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_announced),
		cmocka_unit_test(test_domains),
		cmocka_unit_test(test_views),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_portions),
		cmocka_unit_test(test_quiesced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
