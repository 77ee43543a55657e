/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dom0 of the lab tells a domain what to do (obey.c), itself among them; dom0/lab.sh has these as
 * functions:
 *
 *	tell start TAG DOMAIN COMMAND
 *	tell finish TAG SECONDS		its output and status
 *	tell await TAG PATTERN SECONDS
 *	tell output TAG
 *	tell signal TAG SIGNAL
 *	tell stop TAG			whether it still runs or not
 *	tell on DOMAIN SECONDS COMMAND	output and status
 *	tell reset DOMAIN
 *	tell line FILE OFFSET SECONDS PATTERN	the first such line from there on
 *	tell domid NAME
 *	tell go NAME			to a PVH guest that was created paused
 *
 * The status is the command's, or 255 where there is no answer; standard error says why.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xenctrl.h>
#include <xenstore.h>

#include "base/cleanup.h"
#include "tests/xen/console/line.h"

#define NO_ANSWER 255
/* How long kill, output and what else takes no time may take: guests have little of a processor. */
#define SOON_S 60

/* A domain's console, or what dom0 has instead. */
struct console {
	char domain[64];
	char in[PATH_MAX], log[128];
	int64_t gone_since;
};

/* A command that was started. */
struct tag {
	struct console console;
	char id[64];
	long long offset; /* in the console's log, when it was started */
};

__attribute__((format(printf, 1, 2), noreturn)) static void give_up(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("FAIL: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(NO_ANSWER);
}

__attribute__((noreturn)) static void give_up_on(const struct console *console, const char *what)
{
	_cleanup_free_ char *said = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&said, &len);

	if (out) {
		tail_show(out, console->log, 300);
		fclose(out);
	}
	for (size_t i = 0; i < len; i++)
		if (strchr("\r\n", said[i]))
			said[i] = ' ';
	give_up("%s in %s; its console: %s", what, console->domain, said ? said : "");
}

/* The terminal that xenconsoled has made for it: lab.sh has written it down. */
static bool console_known(struct console *console)
{
	char path[128];
	FILE *file;
	bool known;

	if (strcmp(console->domain, "dom0") == 0) {
		strcpy(console->in, "/run/lab/obey.in");
		strcpy(console->log, "/run/lab/obey.log");
		return true;
	}
	snprintf(console->log, sizeof(console->log), "/var/log/xen/console/guest-%s.log",
		console->domain);
	snprintf(path, sizeof(path), "/run/lab/guests/%s.pty", console->domain);
	file = fopen(path, "re");
	if (!file)
		return false;
	known = fscanf(file, "%4095s", console->in) == 1 && access(console->in, F_OK) == 0;
	fclose(file);
	return known;
}

static struct console console_of(const char *domain)
{
	struct console console = {.gone_since = 0};

	snprintf(console.domain, sizeof(console.domain), "%s", domain);
	if (!console_known(&console))
		give_up_on(&console, "nobody");
	return console;
}

static long long log_size(const struct console *console)
{
	struct stat st;

	return stat(console->log, &st) < 0 ? 0 : st.st_size;
}

/* For tail_await. A domain that is restored has another terminal, for a while none. */
static int console_goes_on(void *arg)
{
	struct console *console = arg;

	if (console_known(console))
		console->gone_since = 0;
	else if (console->gone_since == 0)
		console->gone_since = now_ms();
	else if (now_ms() - console->gone_since > 3000)
		return -ESRCH;
	return 0;
}

/* say CONSOLE ID WORDS TEXT: sends a line. */
static void say(const struct console *console, const char *id, const char *words, const char *text)
{
	_cleanup_close_ int fd = open(console->in, O_WRONLY | O_NOCTTY | O_CLOEXEC);
	_cleanup_free_ char *line = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&line, &len);

	if (!out)
		give_up("no memory");
	fprintf(out, "%s %s ", id, words);
	text_put(out, text, strlen(text));
	fputc('\n', out);
	fclose(out);
	if (fd < 0 || write_all(fd, line, len) < 0)
		give_up_on(console, "no console");
}

/* Waits for the answer, and shows it; the status in it. */
static int hear(struct console *console, const char *id, long long offset, int seconds)
{
	struct tail tail = {.path = console->log, .offset = offset};
	char pattern[128];
	regex_t wanted;
	int status, at, r;
	size_t len;

	snprintf(pattern, sizeof(pattern), "^" ANSWER "%s [0-9]* ", id);
	if (regcomp(&wanted, pattern, REG_NOSUB) != 0)
		give_up("no id: %s", id);
	r = tail_await(&tail, &wanted, false, seconds * 1000, console_goes_on, console);
	if (r < 0)
		give_up_on(
			console, r == -ETIMEDOUT ? "a command does not end" : "a command is lost");
	if (sscanf(tail.line, ANSWER "%*s %d%n", &status, &at) != 1)
		give_up("no answer: %s", tail.line);
	len = text_unescape(tail.line + at + 1);
	fwrite(tail.line + at + 1, 1, len, stdout);
	return status;
}

/* Sends a line and waits for what is answered. */
static int ask(struct console *console, const char *words, const char *text, int seconds)
{
	long long offset = log_size(console);
	char id[64];

	snprintf(id, sizeof(id), "ask.%d.%lld", (int)getpid(), (long long)now_ms());
	say(console, id, words, text);
	return hear(console, id, offset, seconds);
}

static FILE *tag_open(const char *name, const char *mode)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "/run/lab/tags/%s", name);
	file = fopen(path, mode);
	if (!file)
		give_up("no command with the tag %s", name);
	return file;
}

static struct tag tag_read(const char *name)
{
	FILE *file = tag_open(name, "re");
	struct tag tag;

	memset(&tag, 0, sizeof(tag));
	if (fscanf(file, "%63s %63s %lld", tag.console.domain, tag.id, &tag.offset) != 3)
		give_up("no tag: %s", name);
	fclose(file);
	(void)console_known(&tag.console); /* a guest that is gone may have answered */
	return tag;
}

/* A tag may be used again. */
static int tell_start(char **args)
{
	struct console console = console_of(args[1]);
	FILE *file;
	char id[64];

	snprintf(id, sizeof(id), "%s.%lld", args[0], (long long)now_ms());
	file = tag_open(args[0], "we");
	fprintf(file, "%s %s %lld\n", console.domain, id, log_size(&console));
	fclose(file);
	say(&console, id, "run", args[2]);
	return 0;
}

static int tell_finish(char **args)
{
	struct tag tag = tag_read(args[0]);

	return hear(&tag.console, tag.id, tag.offset, atoi(args[1]));
}

static int tell_await(char **args)
{
	struct tag tag = tag_read(args[0]);
	char words[128];

	snprintf(words, sizeof(words), "await %s %d", tag.id, atoi(args[2]));
	return ask(&tag.console, words, args[1], atoi(args[2]) + SOON_S);
}

static int tell_output(char **args)
{
	struct tag tag = tag_read(args[0]);

	return ask(&tag.console, "output", tag.id, SOON_S);
}

static int tell_signal(char **args)
{
	struct tag tag = tag_read(args[0]);
	char words[128];

	snprintf(words, sizeof(words), "kill %s", tag.id);
	return ask(&tag.console, words, args[1], SOON_S);
}

static int tell_stop(char **args)
{
	struct tag tag = tag_read(args[0]);

	if (!freopen("/dev/null", "w", stdout))
		return NO_ANSWER;
	(void)tell_signal((char *[]){args[0], (char[]){"KILL"}});
	(void)hear(&tag.console, tag.id, tag.offset, SOON_S);
	return 0;
}

static int tell_on(char **args)
{
	struct console console = console_of(args[0]);

	return ask(&console, "run", args[2], atoi(args[1]));
}

static int tell_reset(char **args)
{
	struct console console = console_of(args[0]);

	return ask(&console, "reset", "", SOON_S);
}

static int tell_line(char **args)
{
	struct tail tail = {.path = args[0], .offset = atoll(args[1])};
	regex_t wanted;

	if (regcomp(&wanted, args[3], REG_NOSUB) != 0)
		give_up("no pattern: %s", args[3]);
	if (tail_await(&tail, &wanted, false, atoi(args[2]) * 1000, NULL, NULL) < 0)
		return 1;
	puts(tail.line);
	return 0;
}

/* Or NULL. */
static const char *domid_of(const char *domain)
{
	struct xs_handle *xs = xs_open(0);
	unsigned int n = 0;
	char **domids = xs ? xs_directory(xs, XBT_NULL, "/local/domain", &n) : NULL;

	for (unsigned int i = 0; domids && i < n; i++) {
		char path[64], *name;

		snprintf(path, sizeof(path), "/local/domain/%s/name", domids[i]);
		name = xs_read(xs, XBT_NULL, path, NULL);
		if (name && strcmp(name, domain) == 0)
			return domids[i];
	}
	return NULL;
}

static int tell_domid(char **args)
{
	const char *domid = domid_of(args[0]);

	return domid && puts(domid) >= 0 ? 0 : 1;
}

/*
 * Linux reads a PC's timer first. A PVH guest has none, so each read is all ones, as if the timer
 * stood still, and the kernel gives up after 100,000 of them: a second and a half, emulated. Where
 * it reads something else, it gives up at once: that port is the machine's keyboard controller,
 * then, to which what is written, 255, means nothing.
 */
static int tell_go(char **args)
{
	enum { TIMER = 0x42, KEYBOARD = 0x64 };
	const char *domid = domid_of(args[0]);
	xc_interface *xc = xc_interface_open(NULL, NULL, 0);

	if (!domid || !xc)
		return 1;
	if (xc_domain_ioport_permission(xc, (uint32_t)atoi(domid), KEYBOARD, 1, true) < 0 ||
		xc_domain_ioport_mapping(xc, (uint32_t)atoi(domid), TIMER, KEYBOARD, 1, true) < 0)
		perror("tell go: no port"); /* it goes, slowly */
	return xc_domain_unpause(xc, (uint32_t)atoi(domid)) < 0;
}

static const struct verb {
	const char *name;
	int n_args;
	int (*fn)(char **args);
} verbs[] = {
	{"start", 3, tell_start},
	{"finish", 2, tell_finish},
	{"await", 3, tell_await},
	{"output", 1, tell_output},
	{"signal", 2, tell_signal},
	{"stop", 1, tell_stop},
	{"on", 3, tell_on},
	{"reset", 1, tell_reset},
	{"line", 4, tell_line},
	{"domid", 1, tell_domid},
	{"go", 1, tell_go},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc >= 2 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[1], verbs[i].name) == 0 && argc - 2 == verbs[i].n_args)
			return verbs[i].fn(argv + 2);
	fprintf(stderr, "tell: no such thing: %s\n", argc >= 2 ? argv[1] : "");
	return 2;
}
