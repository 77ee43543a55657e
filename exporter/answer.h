/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Makes the answers to questions, of what msgd says: as asker_make_fn. It blocks. */
#ifndef MSGD_EXPORTER_ANSWER_H
#define MSGD_EXPORTER_ANSWER_H

#include "exporter/metrics.h"
#include "msgctl/admin-exchange.h"

struct body;
struct question;

struct answers {
	char socket[ADMIN_PATH_SIZE];
	const char *from; /* static: by whose word it is that socket */
	struct metrics metrics;
};

void answers_init(struct answers *answers);
void answers_fini(struct answers *answers);
/* arg: struct answers. */
struct body *answer_make(void *arg, const struct question *question);

#endif
