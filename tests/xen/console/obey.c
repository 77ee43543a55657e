/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A domain of the lab does what it is told (tell.c), a line each (line.h):
 *
 *	obey TERMINAL		in a guest, where the terminal is its console
 *	obey FIFO FILE		in dom0; answers are appended to the file
 *	await FILE PATTERN SECONDS
 *
 *	run COMMAND		by a shell, in the background; the answer comes when it ends
 *	await OF SECONDS PATTERN	until the command OF has said so
 *	output OF		what it has said so far
 *	kill OF SIGNAL
 *	reset			ends all that run
 *
 * One process instead of a shell's many: emulated, each costs a twentieth of a second.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/xen/console/line.h"

#define ID_LEN	 64
#define LINE_LEN 65536
#define SAID_LEN 65536 /* of a command's output, its end */

struct command {
	char id[ID_LEN];
	pid_t pid;
};

struct obey {
	const char *path;
	int fd, out; /* the same, on a terminal */
	struct command *commands;
	size_t n_commands;
	char line[LINE_LEN];
	size_t got;
};

static void output_path(char ret_path[ID_LEN + 20], const char *id)
{
	snprintf(ret_path, ID_LEN + 20, OUTPUT_OF, id);
}

static void answer(struct obey *obey, const char *id, int status, const char *text, size_t len)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&line, &size);

	if (!out)
		return;
	/* Whatever is on the line already ends here. */
	fprintf(out, "\n" ANSWER "%s %d ", id, status);
	text_put(out, text, len);
	fputc('\n', out);
	fclose(out);
	(void)write_all(obey->out, line, size);
}

static void answer_text(struct obey *obey, const char *id, int status, const char *text)
{
	answer(obey, id, status, text, strlen(text));
}

static void answer_output(struct obey *obey, const char *id, const char *of, int status)
{
	_cleanup_free_ char *text = malloc(SAID_LEN);
	_cleanup_close_ int fd = -1;
	char path[ID_LEN + 20];
	struct stat st;
	ssize_t n = 0;

	output_path(path, of);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (text && fd >= 0 && fstat(fd, &st) == 0)
		n = pread(fd, text, SAID_LEN, st.st_size > SAID_LEN ? st.st_size - SAID_LEN : 0);
	answer(obey, id, status, text, n > 0 ? (size_t)n : 0);
}

static int await(const char *path, int seconds, const char *pattern)
{
	struct tail tail = {.path = path};
	regex_t wanted;

	if (regcomp(&wanted, pattern, REG_NOSUB) != 0) {
		printf("no pattern: %s\n", pattern);
		return 2;
	}
	if (tail_await(&tail, &wanted, true, seconds * 1000, NULL, NULL) == 0)
		return 0;
	printf("no \"%s\" within %d s, but:\n", pattern, seconds);
	tail_show(stdout, path, 500);
	return 1;
}

/* A process for the command; true in that process. */
static bool command_fork(struct obey *obey, const char *id)
{
	struct command *more =
		reallocarray(obey->commands, obey->n_commands + 1, sizeof(struct command));
	char path[ID_LEN + 20];
	sigset_t none;
	pid_t pid;

	if (!more)
		return false;
	obey->commands = more;
	output_path(path, id);
	pid = fork();
	if (pid == 0) {
		sigemptyset(&none);
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		if (!freopen("/dev/null", "r", stdin) || !freopen(path, "w", stdout) ||
			dup2(1, 2) < 0 || chdir("/tmp") < 0)
			_exit(126);
		return true;
	}
	if (pid < 0) {
		answer_text(obey, id, 126, "no process to be had\n");
		return false;
	}
	more[obey->n_commands].pid = pid;
	strcpy(more[obey->n_commands].id, id);
	obey->n_commands++;
	/* For those who want to look at it. */
	strcpy(strrchr(path, '.'), ".pid");
	FILE *file = fopen(path, "we");
	if (file) {
		fprintf(file, "%d\n", (int)pid);
		fclose(file);
	}
	return false;
}

static pid_t command_pid(const struct obey *obey, const char *id)
{
	for (size_t i = 0; i < obey->n_commands; i++)
		if (strcmp(obey->commands[i].id, id) == 0)
			return obey->commands[i].pid;
	return 0;
}

static void commands_reap(struct obey *obey)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < obey->n_commands; i++) {
			struct command command = obey->commands[i];

			if (command.pid != pid)
				continue;
			obey->commands[i] = obey->commands[--obey->n_commands];
			answer_output(obey, command.id, command.id,
				WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
			break;
		}
}

static int signal_named(const char *name)
{
	for (int sig = 1; sig < NSIG; sig++)
		if (sigabbrev_np(sig) && strcmp(sigabbrev_np(sig), name) == 0)
			return sig;
	return 0;
}

static void on_kill(struct obey *obey, const char *id, const char *of, const char *name)
{
	pid_t pid = command_pid(obey, of);
	int sig = signal_named(name);

	if (!pid || !sig || kill(pid, sig) < 0)
		answer_text(obey, id, 1, !sig ? "no such signal\n" : "it has ended\n");
	else
		answer_text(obey, id, 0, "");
}

static void on_line(struct obey *obey, char *line)
{
	char id[ID_LEN], verb[16], of[ID_LEN], signal[16], path[ID_LEN + 20];
	int at = 0, seconds;

	if (sscanf(line, "%63[a-z0-9.-] %15[a-z]%n", id, verb, &at) != 2)
		return;
	line += at;
	if (strcmp(verb, "run") == 0 && *line == ' ') {
		text_unescape(++line);
		if (command_fork(obey, id)) {
			execl("/bin/bash", "bash", "-c", line, NULL);
			_exit(127);
		}
	} else if (strcmp(verb, "await") == 0 &&
		   sscanf(line, " %63s %d %n", of, &seconds, &at) == 2) {
		text_unescape(line += at);
		output_path(path, of);
		if (command_fork(obey, id))
			exit(await(path, seconds, line));
	} else if (strcmp(verb, "output") == 0 && sscanf(line, " %63s", of) == 1) {
		answer_output(obey, id, of, 0);
	} else if (strcmp(verb, "kill") == 0 && sscanf(line, " %63s %15s", of, signal) == 2) {
		on_kill(obey, id, of, signal);
	} else if (strcmp(verb, "reset") == 0) {
		for (size_t i = 0; i < obey->n_commands; i++)
			(void)kill(obey->commands[i].pid, SIGKILL);
		answer_text(obey, id, 0, "");
	}
}

static int console_open(struct obey *obey)
{
	struct termios t;

	obey->fd = open(obey->path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (obey->fd < 0)
		return -errno;
	if (tcgetattr(obey->fd, &t) == 0) {
		cfmakeraw(&t);
		(void)tcsetattr(obey->fd, TCSANOW, &t);
	}
	return 0;
}

/* A terminal that was hung up is opened again. */
static void console_read(struct obey *obey)
{
	ssize_t n = read(obey->fd, obey->line + obey->got, sizeof(obey->line) - obey->got - 1);
	char *end;

	if (n <= 0) {
		(void)close(obey->fd);
		while (console_open(obey) < 0)
			(void)usleep(100000);
		obey->out = obey->fd;
		return;
	}
	obey->got += (size_t)n;
	obey->line[obey->got] = 0;
	while ((end = strchr(obey->line, '\n'))) {
		*end++ = 0;
		on_line(obey, obey->line);
		obey->got -= (size_t)(end - obey->line);
		memmove(obey->line, end, obey->got + 1);
	}
	if (obey->got == sizeof(obey->line) - 1)
		obey->got = 0; /* no line of ours */
}

int main(int argc, char **argv)
{
	static struct obey obey;
	struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};
	struct signalfd_siginfo info;
	sigset_t child;

	if (argc == 4 && strcmp(basename(argv[0]), "await") == 0)
		return await(argv[1], atoi(argv[3]), argv[2]);
	if (argc != 2 && argc != 3) {
		fprintf(stderr,
			"usage: obey TERMINAL, obey FIFO FILE, await FILE PATTERN SECONDS\n");
		return 2;
	}
	obey.path = argv[1];
	if (console_open(&obey) < 0) {
		perror(argv[1]);
		return 1;
	}
	obey.out = argc == 2 ? obey.fd
			     : open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &child, NULL);
	fds[1].fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	answer_text(&obey, "up", 0, "");
	for (;;) {
		fds[0].fd = obey.fd;
		if (poll(fds, 2, -1) < 0)
			continue;
		while (read(fds[1].fd, &info, sizeof(info)) > 0)
			;
		commands_reap(&obey);
		if (fds[0].revents)
			console_read(&obey);
	}
}
