/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tries what the sandbox of msgd.service forbids, each in a process of its own, and says what
 * succeeds. For the lab, in which what it does outside of a sandbox can be done: it sets the clock,
 * mounts, and writes where root may.
 *
 *	sandbox-probe [ATTEMPT]		"ATTEMPT: done" or "ATTEMPT: refused (why)", a line each
 *	sandbox-probe --prepare		makes what others' is that attempts look for
 *	sandbox-probe --list		"ATTEMPT LINE", the line of the unit that alone forbids it
 *
 * The status is the number of attempts that succeeded.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"

#define HOME_FILE "/root/sandbox-probe-of-others"
#define TMP_FILE  "/tmp/sandbox-probe-of-others"
#define IPC_KEY	  0x5a4d5347
#define TASKS	  520U /* above TasksMax */

/* Each returns 0 if it could be done, or -1 and errno. */

static int file_make(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return -1;
	(void)unlink(path);
	return close(fd);
}

static int file_keep(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	return fd < 0 ? -1 : close(fd);
}

static int file_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	return fd < 0 ? -1 : close(fd);
}

static int try_etc(void)
{
	return file_make("/etc/sandbox-probe");
}

static int try_usr(void)
{
	return file_make("/usr/sandbox-probe");
}

static int try_var(void)
{
	return file_make("/var/lib/sandbox-probe");
}

static int try_home(void)
{
	return access(HOME_FILE, F_OK);
}

static int try_tmp(void)
{
	return access(TMP_FILE, F_OK);
}

static int try_dev_mem(void)
{
	return file_open("/dev/mem", O_RDONLY);
}

static int try_inet(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -1 : close(fd);
}

static int try_netlink(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);

	return fd < 0 ? -1 : close(fd);
}

static int try_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ? -1 : 0;
}

static int try_mount(void)
{
	if (mount("none", "/mnt", "tmpfs", 0, NULL) < 0)
		return -1;
	return umount("/mnt");
}

static int try_user_namespace(void)
{
	return unshare(CLONE_NEWUSER);
}

static int try_mount_namespace(void)
{
	return unshare(CLONE_NEWNS);
}

static int try_setuid_file(void)
{
	char path[] = "/tmp/sandbox-probe-XXXXXX";
	int fd = mkstemp(path), r;

	if (fd < 0)
		return -1;
	r = fchmod(fd, 04755);
	(void)unlink(path);
	(void)close(fd);
	return r;
}

static int try_write_exec(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? -1 : mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static int try_clock(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return clock_settime(CLOCK_REALTIME, &now);
}

static int try_hostname(void)
{
	char name[65] = "";

	(void)gethostname(name, sizeof(name) - 1);
	return sethostname(name, strlen(name));
}

/* No module: what may load one, learns that. */
static int try_module(void)
{
	return syscall(SYS_init_module, "", 0, "") < 0 && errno != ENOEXEC ? -1 : 0;
}

static int try_kernel_log(void)
{
	return klogctl(10, NULL, 0) < 0 ? -1 : 0;
}

static int try_tunable(void)
{
	return file_open("/sys/module/xen_gntalloc/parameters/limit", O_WRONLY);
}

static int try_cgroup(void)
{
	if (mkdir("/sys/fs/cgroup/sandbox-probe", 0755) < 0)
		return -1;
	return rmdir("/sys/fs/cgroup/sandbox-probe");
}

static int try_realtime(void)
{
	return sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
}

static int try_personality(void)
{
	return personality(ADDR_NO_RANDOMIZE) < 0 ? -1 : 0;
}

static int try_key(void)
{
	return syscall(SYS_add_key, "user", "sandbox-probe", "x", 1, KEY_SPEC_PROCESS_KEYRING) < 0
		       ? -1
		       : 0;
}

/* The system call of another architecture. */
static int try_foreign_call(void)
{
#ifdef __x86_64__
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory"); /* getpid of i386 */
	errno = r < 0 ? (int)-r : 0;
	return r > 0 ? 0 : -1;
#else
	return 0;
#endif
}

static int try_others_process(void)
{
	return access("/proc/1/status", R_OK);
}

static int try_proc(void)
{
	return access("/proc/meminfo", R_OK);
}

static int try_tasks(void)
{
	unsigned n = 0;
	pid_t pid = 1;

	while (n < TASKS && (pid = fork()) > 0)
		n++;
	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	return n == TASKS ? 0 : -1; /* the group is killed with this process */
}

static int try_descriptors(void)
{
	struct rlimit limit = {.rlim_cur = 4097, .rlim_max = 4097};

	return setrlimit(RLIMIT_NOFILE, &limit);
}

static int try_core(void)
{
	struct rlimit limit;

	(void)getrlimit(RLIMIT_CORE, &limit);
	errno = EPERM;
	return limit.rlim_max ? 0 : -1;
}

static int try_capability(void)
{
	errno = EPERM;
	return prctl(PR_CAPBSET_READ, 0) == 1 ? 0 : -1; /* CAP_CHOWN */
}

static int try_new_privileges(void)
{
	errno = EPERM;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0 ? 0 : -1;
}

static int try_root(void)
{
	errno = EPERM;
	return getuid() == 0 ? 0 : -1;
}

static int try_ipc(void)
{
	return msgget(IPC_KEY, 0) < 0 ? -1 : 0;
}

static int try_nice(void)
{
	return setpriority(PRIO_PROCESS, 0, 1);
}

static int try_chown(void)
{
	return chown("/dev/null", 0, 0);
}

static int try_umask(void)
{
	errno = EPERM;
	return umask(0) == 0077 ? -1 : 0;
}

static const struct attempt {
	const char *name, *line;
	int (*fn)(void);
} attempts[] = {
	{"root", "User=msgd", try_root},
	{"capability", "CapabilityBoundingSet=", try_capability},
	{"new-privileges", "NoNewPrivileges=yes", try_new_privileges},
	{"dev-mem", "DevicePolicy=closed", try_dev_mem},
	{"etc", "ProtectSystem=strict", try_etc},
	{"usr", "ProtectSystem=strict", try_usr},
	{"var", "ProtectSystem=strict", try_var},
	{"home", "ProtectHome=yes", try_home},
	{"tmp", "PrivateTmp=yes", try_tmp},
	{"ipc", "PrivateIPC=yes", try_ipc},
	{"clock", "ProtectClock=yes", try_clock},
	{"cgroup", "ProtectControlGroups=yes", try_cgroup},
	{"hostname", "ProtectHostname=yes", try_hostname},
	{"kernel-log", "ProtectKernelLogs=yes", try_kernel_log},
	{"module", "ProtectKernelModules=yes", try_module},
	{"tunable", "ProtectKernelTunables=yes", try_tunable},
	{"inet", "RestrictAddressFamilies=AF_UNIX", try_inet},
	{"netlink", "RestrictAddressFamilies=AF_UNIX", try_netlink},
	{"user-namespace", "RestrictNamespaces=yes", try_user_namespace},
	{"mount-namespace", "RestrictNamespaces=yes", try_mount_namespace},
	{"realtime", "RestrictRealtime=yes", try_realtime},
	{"setuid-file", "RestrictSUIDSGID=yes", try_setuid_file},
	{"personality", "LockPersonality=yes", try_personality},
	{"write-exec", "MemoryDenyWriteExecute=yes", try_write_exec},
	{"foreign-call", "SystemCallArchitectures=native", try_foreign_call},
	{"ptrace", "SystemCallFilter=@system-service", try_ptrace},
	{"mount", "SystemCallFilter=@system-service", try_mount},
	{"nice", "SystemCallFilter=~@privileged @resources @keyring", try_nice},
	{"chown", "SystemCallFilter=~@privileged @resources @keyring", try_chown},
	{"key", "SystemCallFilter=~@privileged @resources @keyring", try_key},
	{"tasks", "TasksMax=512", try_tasks},
	{"descriptors", "LimitNOFILE=4096", try_descriptors},
	{"core", "LimitCORE=0", try_core},
	{"umask", "UMask=0077", try_umask},
	/* Root with all capabilities may look: with the user's, not. */
	{"others-process", "ProtectProc=invisible", try_others_process},
	{"proc", "ProcSubset=pid", try_proc},
};

/* In a process group of its own, which is killed afterwards. */
static bool attempt_run(const struct attempt *attempt)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		(void)setpgid(0, 0);
		(void)prctl(PR_SET_DUMPABLE, 0); /* no core where the call is fatal */
		_exit(attempt->fn() == 0 ? 0 : errno ? errno : 255);
	}
	if (pid < 0 || TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)) != pid) {
		(void)printf("%s: %s\n", attempt->name, strerror(errno));
		return true;
	}
	(void)kill(-pid, SIGKILL);
	if (WIFSIGNALED(status))
		(void)printf("%s: refused (%s)\n", attempt->name, strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status))
		(void)printf("%s: refused (%s)\n", attempt->name, strerror(WEXITSTATUS(status)));
	else
		(void)printf("%s: done\n", attempt->name);
	return status == 0;
}

static int prepare(void)
{
	(void)mkdir("/mnt", 0755);
	return file_keep(HOME_FILE) < 0 || file_keep(TMP_FILE) < 0 ||
	       msgget(IPC_KEY, IPC_CREAT | 0666) < 0;
}

int main(int argc, char **argv)
{
	int n_done = 0;

	if (argc > 1 && strcmp(argv[1], "--prepare") == 0)
		return prepare();
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
		if (argc > 1 && strcmp(argv[1], "--list") == 0)
			(void)printf("%s %s\n", attempts[i].name, attempts[i].line);
		else if (argc < 2 || strcmp(argv[1], attempts[i].name) == 0)
			n_done += attempt_run(&attempts[i]);
	}
	return n_done;
}
