/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks at another process in /proc. The answer must not be believed for long. */
#ifndef MSGD_HV_SIM_MEMORY_PROC_H
#define MSGD_HV_SIM_MEMORY_PROC_H

#include <stdbool.h>
#include <stdint.h>

struct proc_stat {
	char name[64];	/* prctl(PR_SET_NAME) and execve set it */
	char state;	/* R, S, D, T, t, Z, X */
	int32_t tracer; /* the pid of its debugger; 0: none */
	uint64_t start_time;
};

/* False: there is none. */
bool proc_look(int32_t pid, struct proc_stat *ret_process);
/* 0 if there is no such process, or it is a zombie. */
uint64_t proc_start_time(int32_t pid);
/* The process that a pidfd names; 0: it is gone. */
int32_t proc_pid_of(int pid_fd);

#endif
