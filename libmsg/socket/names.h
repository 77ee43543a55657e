/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The names of a watch: which are there, by msgd's word, and of which the application has been
 * told. Only the difference is kept for it, so a name that came and went is no news. It is also the
 * difference to what a former msgd said. Nothing here talks to msgd.
 *
 * Included by: libmsg/socket, libmsg/control, libmsg/api, tests.
 */
#ifndef LIBMSG_SOCKET_NAMES_H
#define LIBMSG_SOCKET_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/limits.h"

struct names;

/* "+DOMAIN/NAME", with its final NUL. */
#define NAMES_TEXT_SIZE (ADDRESS_SIZE + 1U)

/* NULL: out of memory. */
struct names *names_new(void);
void names_free(struct names *names);
/*
 * msgd says that an address has one holder more, or less. -ENOMEM; -ENOBUFS: more names than any
 * msgd tells of.
 */
int names_change(struct names *names, const char *address, bool come);
/* msgd has told of all that are there. The first time, the application is told so. */
void names_done(struct names *names);
/* From now on another msgd tells of all that are there. */
void names_again(struct names *names);
/* 0: the next message to the application, and its length, which may be 0. -EAGAIN: none. */
int names_first(const struct names *names, char ret_text[NAMES_TEXT_SIZE], size_t *ret_len);
/* The application has received it. */
void names_take_first(struct names *names);

#endif
