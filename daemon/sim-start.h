/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starts xen-sim, the emulator's own process, when nothing answers on its path. xen-sim is
 * detached: no signal to msgd and no death of msgd reaches it.
 */
#ifndef MSGD_DAEMON_SIM_START_H
#define MSGD_DAEMON_SIM_START_H

/*
 * Runs `xen-sim PATH -d` and waits until the emulator listens. The program is looked for in
 * $XEN_SIM, beside msgd's own binary, in the build tree's hv/sim, then in $PATH. Its later messages
 * go to PATH.log. -ENOENT: not found; -EIO: it failed, and its messages were copied to stderr.
 */
int sim_start(const char *path);

#endif
