/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Starts the emulator's authority when nothing answers on its path, as design.md 3.2 says:
 * detached, so that no signal to msgd and no death of it ever reaches it.
 */
#ifndef MSGD_DAEMON_SIM_START_H
#define MSGD_DAEMON_SIM_START_H

/*
 * Runs `xen-sim PATH -d` and waits until it says that it listens. It is looked for in $XEN_SIM,
 * beside msgd's own binary, in the build tree's hv/sim, then in $PATH. What it says later goes to
 * PATH.log. -ENOENT: not found; -EIO: it failed, and what it said of that was copied to stderr.
 */
int sim_start(const char *path);

#endif
