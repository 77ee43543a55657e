/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Errors that lead to an exit status: a line on stderr each, for people or for programs. */
#ifndef MSGD_MSGCTL_COMPLAIN_H
#define MSGD_MSGCTL_COMPLAIN_H

/* From now on an error is an object: docs/msgctl.schema.json, "failure". */
void complain_as_json(void);

/* error: an errno's name, or NULL: it has none. before: what people see before the text. */
void complain_text(int status, const char *error, const char *before, const char *text);
/* r: a negative errno. "msgctl: " is before the text. */
__attribute__((format(printf, 3, 4))) void complain(int status, int r, const char *format, ...);

#endif
