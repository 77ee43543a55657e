/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The machine's load meanwhile: a reader must know whether the figures are from a busy machine. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/times.h>

#include "bench/bench.h"

void machine_look(struct machine *ret_machine)
{
	uint64_t field[8] = {0};
	struct tms times_now;
	FILE *f = fopen("/proc/stat", "re");

	*ret_machine = (struct machine){0};
	(void)times(&times_now);
	ret_machine->own = (uint64_t)(times_now.tms_cutime + times_now.tms_cstime);
	if (!f)
		return;
	if (fscanf(f,
		    "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		    " %" SCNu64 " %" SCNu64,
		    &field[0], &field[1], &field[2], &field[3], &field[4], &field[5], &field[6],
		    &field[7]) == 8) {
		for (int i = 0; i < 8; i++)
			ret_machine->total += field[i];
		ret_machine->idle = field[3] + field[4];
		ret_machine->steal = field[7];
	}
	(void)fclose(f);
}

struct machine_share machine_share(const struct machine *since)
{
	struct machine_share share = {0};
	struct machine now;
	double total;

	machine_look(&now);
	total = (double)(now.total - since->total);
	if (total <= 0)
		total = 1;
	(void)getloadavg(&share.load, 1);
	share.own = 100 * (double)(now.own - since->own) / total;
	share.steal = 100 * (double)(now.steal - since->steal) / total;
	share.idle = 100 * (double)(now.idle - since->idle) / total;
	share.others = 100 - share.own - share.steal - share.idle;
	return share;
}

void machine_print(const struct machine *since)
{
	struct machine_share share = machine_share(since);

	printf("the machine meanwhile: the benchmark itself %.0f %%, others %.0f %%, steal %.1f "
	       "%%, "
	       "idle %.0f %% of its CPUs; load %.1f\n",
		share.own, share.others, share.steal, share.idle, share.load);
}
