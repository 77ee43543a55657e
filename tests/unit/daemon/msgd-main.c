/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* msgd's main program under another name: for main-test.c. */
int msgd_main(int argc, char **argv);

#define main msgd_main
#include "daemon/main.c"
