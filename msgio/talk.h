/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* connect and listen: one connection with standard input and output. */
#ifndef MSGD_MSGIO_TALK_H
#define MSGD_MSGIO_TALK_H

#include "msgio/options/options.h"

/* An exit status. */
int talk_run(const struct io_options *options);

#endif
