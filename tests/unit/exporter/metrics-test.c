/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The text of metrics, of answers as msgd gives them, and of answers that it never should. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "exporter/exposition.h"
#include "exporter/limits.h"
#include "exporter/metrics.h"
#include "tests/support/cmocka-all.h"

static struct metrics metrics;
static struct metrics_scrape scrape;
static char *text;

static int begin(void **state)
{
	metrics_init(&metrics, 5000000);
	memset(&scrape, 0, sizeof(scrape));
	return 0;
}

static int end(void **state)
{
	for (unsigned i = 0; i < METRICS_OPS; i++)
		json_decref(scrape.answers[i]);
	metrics_fini(&metrics);
	free(text);
	text = NULL;
	return 0;
}

/* json: with ' for ". */
static void answer(enum metrics_op op, const char *json)
{
	char *copy = strdup(json);
	json_error_t error;

	for (char *c = copy; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	json_decref(scrape.answers[op]);
	scrape.answers[op] = json_loads(copy, 0, &error);
	if (!scrape.answers[op])
		fail_msg("%s: %s", error.text, json);
	free(copy);
}

static void make(bool openmetrics)
{
	size_t len;

	free(text);
	text = NULL;
	assert_true(metrics_write(&metrics, &scrape, openmetrics, &text, &len));
	assert_int_equal(strlen(text), len);
}

/* Whole lines, the first of them at the beginning of one. */
static void assert_has(const char *lines)
{
	const char *at = strstr(text, lines);

	if (!at || (at != text && at[-1] != '\n'))
		fail_msg("not there: %s", lines);
}

static unsigned count(const char *part)
{
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, part)); at++)
		n++;
	return n;
}

#define STATUS                                                                                     \
	"{'op':'status','version':'1.2','since_us':1500000,'recovering':true,'domains':3,"         \
	"'policy_errors':['a','b'],'counts':{'attached':7,'refused':1},'turns':{'count':9,"        \
	"'cpu_us':12,'longest_cpu_us':3000001}}"

static void test_down(void **state)
{
	make(false);
	assert_has(
		"# HELP msgd_up Whether msgd could be asked.\n# TYPE msgd_up gauge\nmsgd_up 0\n");
	assert_has("msg_exporter_scrape_errors_total 1\n");
	assert_int_equal(count("msgd_"), 3);
	make(true);
	assert_has("msg_exporter_scrape_errors_total 2\nmsg_exporter_scrape_errors_created "
		   "5.000000\n");
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
}

static void test_formats(void **state)
{
	answer(METRICS_OP_STATUS, STATUS);
	make(true);
	assert_has("# TYPE msgd_build info\nmsgd_build_info{version=\"1.2\"} 1\n");
	assert_has("# TYPE msgd_start_time_seconds gauge\n# UNIT msgd_start_time_seconds seconds\n"
		   "msgd_start_time_seconds 1.500000\n");
	assert_has("# TYPE msgd_attaches counter\nmsgd_attaches_total 7\n"
		   "msgd_attaches_created 1.500000\n");
	assert_has("msgd_recovering 1\n");
	assert_has("msgd_policy_errors 2\n");
	assert_has("msgd_turn_longest_cpu_seconds 3.000001\n");
	assert_has("# HELP msgd_turn_longest_cpu_seconds Time of the processor that the longest ");
	assert_has("# HELP msgd_turn_cpu_seconds Time of the processor that the turns of ");
	assert_has("msgd_turn_cpu_seconds_total 0.000012\n");
	assert_int_equal(count("# EOF"), 1);
	make(false);
	assert_has("# TYPE msgd_build_info gauge\nmsgd_build_info{version=\"1.2\"} 1\n");
	assert_has("# TYPE msgd_attaches_total counter\nmsgd_attaches_total 7\n# HELP");
	assert_int_equal(count("# EOF") + count("_created") + count("# UNIT"), 0);
}

static void test_domains(void **state)
{
	answer(METRICS_OP_STATUS, STATUS);
	answer(METRICS_OP_COUNTS,
		"{'op':'counts','counts':[{'domain':'web','domid':3,'since_us':2000000,'refused':4,"
		"'links_made':5,'memory':99,'notifications':6,'hypercalls':7,'traffic':{"
		"'tx_messages':1,'tx_bytes':10,'rx_messages':2,'rx_bytes':20,'drops':3,"
		"'no_credit':30,'no_room':40}}]}");
	answer(METRICS_OP_LIMITS,
		"{'op':'limits','limits':[{'domain':'web','domid':3,'used':{'names':1,'memory':2},"
		"'limits':{'names':10,'memory':20}},{'domain':'gone','domid':4,'used':{'names':1}}]"
		"}");
	make(true);
	assert_has(
		"# UNIT msgd_domain_transmit_bytes bytes\n"
		"msgd_domain_transmit_bytes_total{domain=\"web\",domid=\"3\"} 10\n"
		"msgd_domain_transmit_bytes_created{domain=\"web\",domid=\"3\"} 2.000000\n"
		"msgd_domain_transmit_bytes_total{domain=\"other\",domid=\"other\"} 0\n"
		"msgd_domain_transmit_bytes_created{domain=\"other\",domid=\"other\"} 5.000000\n");
	assert_has("msgd_domain_stalls_total{domain=\"web\",domid=\"3\",reason=\"credit\"} 30\n"
		   "msgd_domain_stalls_created{domain=\"web\",domid=\"3\",reason=\"credit\"} "
		   "2.000000\n"
		   "msgd_domain_stalls_total{domain=\"web\",domid=\"3\",reason=\"room\"} 40\n");
	assert_has("msgd_domain_hypercalls_total{domain=\"web\",domid=\"3\"} 7\n");
	assert_has("msgd_domain_refusals_total{domain=\"web\",domid=\"3\"} 4\n");
	assert_has("msgd_domain_memory_bytes{domain=\"web\",domid=\"3\"} 2\n");
	assert_has("msgd_domain_memory_limit_bytes{domain=\"web\",domid=\"3\"} 20\n");
	assert_has("msgd_domain_used{domain=\"web\",domid=\"3\",limit=\"names\"} 1\n");
	assert_has("# HELP msgd_domain_limit How much of each limit other than memory the domain "
		   "may ");
	assert_has(
		"# HELP msgd_domain_memory_limit_bytes Memory that msgd spends on the domain at ");
	assert_has("msgd_domain_limit{domain=\"web\",domid=\"3\",limit=\"names\"} 10\n");
	assert_int_equal(count("gone"), 0);
}

static void test_rules(void **state)
{
	answer(METRICS_OP_STATUS, STATUS);
	answer(METRICS_OP_REFUSALS,
		"{'op':'refusals','refusals':[{'rule':'/etc/a.policy:7','refused':3}]}");
	make(false);
	assert_has("msgd_rule_refusals_total{rule=\"/etc/a.policy:7\"} 3\n");
}

/* Two ends of each, one of which may not be known; links and channels are asked for alone. */
static void test_ends(void **state)
{
	answer(METRICS_OP_STATUS, STATUS);
	assert_false(metrics_wants(&metrics, METRICS_OP_LINKS));
	assert_true(metrics_wants(&metrics, METRICS_OP_NAMES));
	assert_true(metrics_wants(&metrics, METRICS_OP_LATENCY));
	make(false);
	assert_int_equal(count("msgd_link_transmit_bytes_total{"), 0);
	metrics.max[METRICS_LINKS] = metrics.max[METRICS_CHANNELS] = 1;
	assert_true(metrics_wants(&metrics, METRICS_OP_LINKS));
	answer(METRICS_OP_LINKS,
		"{'op':'links','links':[{'uid':'00ff','transport':'argo','age_s':3,'creator':{"
		"'domain':'web','domid':3},'binder':{'domain':null,'domid':4},'creator_traffic':{"
		"'tx_bytes':5,'hypercalls':6},'binder_traffic':{'rx_bytes':5}}]}");
	answer(METRICS_OP_CHANNELS,
		"{'op':'channels','channels':[{'link':'00ff','channel':9,'name':'db','transport':"
		"'argo','age_s':0,'from':{'domain':'web','domid':3},'to':{'domain':'db','domid':4},"
		"'from_traffic':{'tx_messages':8},'to_traffic':null}]}");
	make(false);
	assert_has(
		"msgd_link_transmit_bytes_total{link=\"00ff\",transport=\"argo\",end=\"creator\","
		"domain=\"web\",domid=\"3\"} 5\n");
	assert_has("msgd_link_hypercalls_total{link=\"00ff\",transport=\"argo\",end=\"creator\","
		   "domain=\"web\",domid=\"3\"} 6\n");
	assert_has("msgd_link_receive_bytes_total{link=\"00ff\",transport=\"argo\",end=\"binder\","
		   "domain=\"\",domid=\"4\"} 5\n");
	assert_has("msgd_channel_transmit_messages_total{link=\"00ff\",channel=\"9\",name=\"db\","
		   "transport=\"argo\",end=\"from\",domain=\"web\",domid=\"3\"} 8\n");
}

static void test_latency(void **state)
{
	answer(METRICS_OP_STATUS, STATUS);
	answer(METRICS_OP_LATENCY,
		"{'op':'latency','us':{'link':{'n':6,'sum':2000001,'below':[1,1,1,1,4,6]},'name':{"
		"'n':0,'sum':0,'below':[]}}}");
	make(true);
	assert_has("# TYPE msgd_connect_stage_seconds histogram\n"
		   "# UNIT msgd_connect_stage_seconds seconds\n"
		   "msgd_connect_stage_seconds_bucket{stage=\"link\",le=\"0.000008\"} 1\n"
		   "msgd_connect_stage_seconds_bucket{stage=\"link\",le=\"0.000016\"} 4\n"
		   "msgd_connect_stage_seconds_bucket{stage=\"link\",le=\"0.000032\"} 6\n"
		   "msgd_connect_stage_seconds_bucket{stage=\"link\",le=\"0.000064\"} 6\n");
	assert_has("msgd_connect_stage_seconds_bucket{stage=\"link\",le=\"67.108864\"} 6\n"
		   "msgd_connect_stage_seconds_bucket{stage=\"link\",le=\"+Inf\"} 6\n"
		   "msgd_connect_stage_seconds_count{stage=\"link\"} 6\n"
		   "msgd_connect_stage_seconds_sum{stage=\"link\"} 2.000001\n"
		   "msgd_connect_stage_seconds_created{stage=\"link\"} 1.500000\n");
	assert_has("msgd_connect_stage_seconds_count{stage=\"name\"} 0\n");
}

/* A guest chooses names, and how many. */
static void test_hostile(void **state)
{
	json_t *names = json_array();
	size_t len;

	answer(METRICS_OP_STATUS, STATUS);
	for (unsigned i = 0; i < 16385; i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "n%u\"\\\n}\xc3\xa4", i);
		json_array_append_new(
			names, json_pack("{s:s, s:{s:s, s:i}, s:I, s:{s:I}}", "name", name,
				       "holder", "domain", "evil", "domid", 9, "since_us",
				       (json_int_t)i, "traffic", "tx_bytes", INT64_MAX));
	}
	json_array_append_new(names, json_pack("{s:s, s:{s:s, s:i}}", "name", "small", "holder",
					     "domain", "good", "domid", 10));
	scrape.answers[METRICS_OP_NAMES] = json_pack("{s:o}", "names", names);
	make(true);
	len = strlen(text);
	assert_true(len < 2U << 20);
	assert_int_equal(count("msgd_name_transmit_bytes_total{"), SERIES_NAMES + 1);
	assert_has(
		"msgd_name_transmit_bytes_total{name=\"small\",domain=\"good\",domid=\"10\"} 0\n");
	/* Each line is one: none begins with what a name has after its newline. */
	assert_int_equal(count("\n}"), 0);
	assert_true(count("n0\\\"\\\\\\n}\xc3\xa4\",domain=\"evil\"") > 0);
}

/* All that a label may have; one that does not fit is left out whole. */
static void test_labels(void **state)
{
	char labels[LABELS_SIZE] = "", value[LABELS_SIZE];

	assert_true(labels_add(labels, "a", "x\\y\"z\nw\t"));
	assert_string_equal(labels, "a=\"x\\\\y\\\"z\\nw\t\"");
	assert_true(labels_add(labels, "b", ""));
	assert_string_equal(labels, "a=\"x\\\\y\\\"z\\nw\t\",b=\"\"");
	for (size_t len = LABELS_SIZE / 2 - 20; len < LABELS_SIZE; len++) {
		char before[LABELS_SIZE];
		bool fits;

		memset(value, '"', len);
		value[len] = '\0';
		strcpy(before, labels);
		fits = labels_add(labels, "c", value);
		assert_true(strlen(labels) < LABELS_SIZE);
		if (fits)
			assert_int_equal(strlen(labels), strlen(before) + 5 + 2 * len);
		else
			assert_string_equal(labels, before);
		strcpy(labels, before);
	}
}

/* Answers that are not as they should be. */
static void test_nonsense(void **state)
{
	static const char *const answers[] = {"{}", "[]", "{'counts':3}", "{'counts':[[],3,{}]}",
		"{'counts':[{'domain':3,'domid':'x','traffic':[],'since_us':-5}]}",
		"{'us':{'link':{'below':[1,'x',-3]},'x\\ny':[]}}", "{'us':[]}",
		"{'limits':[{'domain':'web','used':[]}]}"};

	answer(METRICS_OP_STATUS, "{'version':3,'counts':[],'turns':null,'since_us':'x'}");
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		for (unsigned op = METRICS_OP_COUNTS; op < METRICS_OPS; op++)
			answer(op, answers[i]);
		make(true);
		assert_has("msgd_up 1\n");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_down, begin, end),
		cmocka_unit_test_setup_teardown(test_formats, begin, end),
		cmocka_unit_test_setup_teardown(test_domains, begin, end),
		cmocka_unit_test_setup_teardown(test_rules, begin, end),
		cmocka_unit_test_setup_teardown(test_ends, begin, end),
		cmocka_unit_test_setup_teardown(test_latency, begin, end),
		cmocka_unit_test_setup_teardown(test_hostile, begin, end),
		cmocka_unit_test_setup_teardown(test_labels, begin, end),
		cmocka_unit_test_setup_teardown(test_nonsense, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
