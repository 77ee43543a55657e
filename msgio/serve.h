/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* serve: descriptors of channels for programs that ask at a Unix socket, until a signal. */
#ifndef MSGD_MSGIO_SERVE_H
#define MSGD_MSGIO_SERVE_H

#include "msgio/options/options.h"

/* An exit status. */
int serve_run(const struct io_options *options);

#endif
