/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* exec, activate and forward: a connection for each that comes, until a signal or the loss of the
 * name. */
#ifndef MSGD_MSGIO_SERVICE_H
#define MSGD_MSGIO_SERVICE_H

#include "msgio/options/options.h"

/* An exit status. */
int service_run(const struct io_options *options);

#endif
