/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Standard input and output as an end of a connection, whatever they are. */
#ifndef MSGD_MSGIO_STDIO_END_H
#define MSGD_MSGIO_STDIO_END_H

#include "msgio/loop.h"
#include "msgio/relay/end.h"

/* type: of the channel. The loop is one for any descriptors. NULL: out of memory. */
struct end *stdio_end_new(struct loop *loop, int type);

#endif
