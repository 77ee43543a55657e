/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *     differential [--sequences=N] [--seed=S] [--type=stream|seqpacket|dgram] [--transport=T]
 *                  [--manual=PAGE]
 *     differential --replay=S --type=TYPE [--transport=T]
 *
 * N sequences of each type, from seeds S, S + 1 and so on. The first one that fails is made
 * smaller, and shown. Exit 1 then.
 */
#include "tests/differential/differential.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/must.h"
#include "tests/support/number.h"
#include "tests/support/testbed.h"

/* For a sequence, on an overloaded machine, with a call that should end and does not. */
#define SEQUENCE_SECONDS 300U
/* In making it smaller no harm is done if a call is given up too early. */
#define SMALLER_MS 500
/* So many sequences of each type show all differences. */
#define MANY 2000U

struct options {
	uint64_t n, seed;
	int type; /* 0: all */
	bool replay;
	const char *manual;
};

static void fail(const struct sequence *sequence, uint64_t n_done, const char *why)
{
	struct sequence small;
	char small_why[256] = "";

	printf("seed %llu, %s, %s%s: failed after %llu sequences: %s\n",
		(unsigned long long)sequence->seed, type_name(sequence->type), testbed_transport(),
		sequence->full ? ", full" : "", (unsigned long long)n_done, why);
	(void)fflush(stdout);
	sides_set_patience(SMALLER_MS);
	testbed_watchdog(0);
	small = sequence_minimise(sequence);
	printf("made smaller:\n");
	sequence_print(stdout, &small);
	printf("which is:\n");
	(void)sequence_run(&small, stdout, small_why);
	printf("differs: %s\n", small_why);
}

static bool run_type(const struct options *options, int type)
{
	for (uint64_t i = 0; i < options->n; i++) {
		struct sequence sequence = sequence_make(options->seed + i, type);
		char why[256];

		testbed_watchdog(SEQUENCE_SECONDS);
		if (sequence_run(&sequence, options->replay ? stdout : NULL, why))
			continue;
		fail(&sequence, i + 1, why);
		return false;
	}
	printf("%s, %s: %llu sequences agree\n", type_name(type), testbed_transport(),
		(unsigned long long)options->n);
	return true;
}

static int type_of(const char *name)
{
	for (int type = LIBMSG_SEQPACKET; type <= LIBMSG_DGRAM; type++) {
		if (strcmp(type_name(type), name) == 0)
			return type;
	}
	(void)fprintf(stderr, "no type: %s\n", name);
	exit(2);
}

static struct options options_parse(int argc, char **argv)
{
	static const struct option known[] = {{"sequences", required_argument, NULL, 'n'},
		{"seed", required_argument, NULL, 's'}, {"type", required_argument, NULL, 't'},
		{"transport", required_argument, NULL, 'r'},
		{"replay", required_argument, NULL, 'p'}, {"manual", required_argument, NULL, 'm'},
		{NULL, 0, NULL, 0}};
	struct options options = {.n = 1000, .seed = 1};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0) {
		if (c == 'n')
			options.n = number(optarg);
		else if (c == 's' || c == 'p')
			options.seed = number(optarg);
		else if (c == 't')
			options.type = type_of(optarg);
		else if (c == 'r')
			must(setenv("TESTBED_TRANSPORT", optarg, 1) == 0);
		else if (c == 'm')
			options.manual = optarg;
		else
			exit(2);
		if (c == 'p') {
			options.replay = true;
			options.n = 1;
		}
	}
	return options;
}

int main(int argc, char **argv)
{
	struct options options = options_parse(argc, argv);
	bool good = true;

	if (options.manual)
		return differences_check_manual(options.manual) ? 0 : 1;
	sides_start();
	run_start();
	for (int type = LIBMSG_SEQPACKET; good && type <= LIBMSG_DGRAM; type++) {
		if (!options.type || options.type == type)
			good = run_type(&options, type);
	}
	if (good && !differences_print_counts(stdout) && !options.type && options.n >= MANY) {
		printf("a difference in the table is none\n");
		good = false;
	}
	(void)fflush(stdout);
	run_stop();
	sides_stop();
	return good ? 0 : 1;
}
