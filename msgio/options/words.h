/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Words that stand for numbers, on the command line and in the lines of `msgio serve`. */
#ifndef MSGD_MSGIO_OPTIONS_WORDS_H
#define MSGD_MSGIO_OPTIONS_WORDS_H

/* For msgd and a listener to answer, which takes milliseconds. */
#define ANSWER_MS   10000
#define SECONDS_MAX (INT32_MAX / 1000)

/* LIBMSG_STREAM and so on; 0: unknown. */
int word_type(const char *text);
/* enum libmsg_transport; -1: unknown. */
int word_transport(const char *text);

#endif
