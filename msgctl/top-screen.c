/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msgctl top on a terminal, by ncurses. Another thread asks msgd, so keys and signals are served
 * while msgd stands still. Signals come by a descriptor: the terminal is never restored from within
 * a handler.
 */
#include <curses.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/macro.h"
#include "msgctl/colour.h"
#include "msgctl/command.h"
#include "msgctl/complain.h"
#include "msgctl/top-layout.h"
#include "msgctl/top.h"

#define HEAD_LINES 4 /* totals, what is shown, a blank line */
#define LINE_SIZE  2048U
#define TEXT_MAX   32U /* columns of a text's cell */
#define MESSAGE_S  5   /* so long it is said that msgd was started again */
/* Larger than any terminal, and smaller than what ncurses counts with. */
#define CELLS_MAX 4096

enum { PAIR_BAD = 1 };

/* The other thread's: one at a time. */
struct asking {
	const struct command_call *call; /* borrowed */
	const struct top_view *view;	 /* static */
	char domain[TOP_INPUT_SIZE];
	int fd; /* borrowed: where it says that it is done */
	struct top_fetched fetched;
};

struct screen {
	struct top_course *course; /* borrowed */
	struct top_layout layout;  /* of course->data.sample */
	SCREEN *terminal;	   /* owned */
	int signals, done[2];	   /* owned */
	struct asking *asking;	   /* owned by the thread until it is done; NULL: none */
	bool anew;		   /* the answer that is to come is not of what is wanted */
	uint64_t next_us;	   /* when msgd is to be asked again */
	uint64_t again_us;	   /* when msgd was seen to be another; 0: never */
	char error[ADMIN_TROUBLE_SIZE];
	long long n_left; /* lists; 0: without an end */
	int signal;	  /* that ends it; 0: none */
	bool quit;
};

/* ---- asking --------------------------------------------------------------------------------- */

static void *asking_thread(void *arg)
{
	struct asking *asking = arg;

	top_fetch(asking->call->socket, asking->call->from, asking->view, asking->domain,
		&asking->fetched);
	(void)TEMP_FAILURE_RETRY(write(asking->fd, "", 1));
	return NULL;
}

static void screen_ask(struct screen *screen)
{
	const struct top_state *state = &screen->course->state;
	struct asking *asking = calloc(1, sizeof(*asking));
	pthread_attr_t attributes;
	pthread_t thread;
	int r = asking ? pthread_attr_init(&attributes) : ENOMEM;

	screen->next_us = monotonic_us() + (uint64_t)(state->interval_s * 1e6);
	if (r == 0) {
		asking->call = screen->course->call;
		asking->view = state->view;
		strcpy(asking->domain, state->domain);
		asking->fd = screen->done[1];
		(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
		r = pthread_create(&thread, &attributes, asking_thread, asking);
		(void)pthread_attr_destroy(&attributes);
	}
	if (r == 0) {
		screen->asking = asking;
		screen->anew = false;
		return;
	}
	(void)snprintf(screen->error, sizeof(screen->error), "no thread: %s", strerror(r));
	free(asking);
}

static void screen_sort(struct screen *screen)
{
	const struct top_state *state = &screen->course->state;
	struct top_sample *sample = screen->course->data.sample;

	if (sample && sample->view == state->view)
		top_sample_sort(sample, top_state_sort(state), top_state_reverse(state));
}

static void screen_measure(struct screen *screen)
{
	if (screen->course->data.sample)
		top_layout_measure(screen->course->data.sample, TEXT_MAX, &screen->layout);
	screen_sort(screen);
}

static void screen_take(struct screen *screen)
{
	struct asking *asking = steal_ptr(screen->asking);
	char byte;
	int r;

	(void)TEMP_FAILURE_RETRY(read(screen->done[0], &byte, 1));
	if (screen->anew) {
		top_fetched_clear(&asking->fetched);
		free(asking);
		screen_ask(screen);
		return;
	}
	r = top_data_take(&screen->course->data, &asking->fetched);
	screen->error[0] = '\0';
	if (r < 0)
		memcpy(screen->error, asking->fetched.error, sizeof(screen->error));
	if (r > 0)
		screen->again_us = monotonic_us();
	free(asking);
	screen_measure(screen);
	if (r >= 0 && screen->n_left && --screen->n_left == 0)
		screen->quit = true;
}

/* ---- drawing -------------------------------------------------------------------------------- */

static size_t rows_shown(void)
{
	return LINES > HEAD_LINES + 1 ? (size_t)LINES - HEAD_LINES - 1 : 0;
}

static size_t rows_there(const struct screen *screen)
{
	return screen->course->data.sample ? screen->course->data.sample->n : 0;
}

/* A text from x on, as far as the screen goes. */
static void put(int y, int x, const char *text)
{
	char line[LINE_SIZE];

	if (y >= LINES || x >= COLS)
		return;
	top_fit(text, (unsigned)min_u32(top_width(text), (uint32_t)(COLS - x)), false, line,
		sizeof(line));
	(void)mvaddstr(y, x, line);
}

static void draw_message(const struct screen *screen)
{
	const struct top_state *state = &screen->course->state;
	bool bad = screen->error[0] || state->complaint;
	char line[LINE_SIZE];

	if (screen->error[0])
		(void)snprintf(line, sizeof(line), "%s", screen->error);
	else if (state->complaint)
		(void)snprintf(line, sizeof(line), "%s", state->complaint);
	else if (screen->again_us && monotonic_us() - screen->again_us < MESSAGE_S * 1000000ULL)
		(void)snprintf(line, sizeof(line), "msgd was started again");
	else
		(void)snprintf(line, sizeof(line), "%s by %s%s, of %s%s, every %g s: h is help",
			state->view->op, state->view->columns[top_state_sort(state)].head,
			top_state_reverse(state) ? ", reversed" : "",
			state->domain[0] ? "domain " : "all domains", state->domain,
			state->interval_s);
	(void)attrset(bad ? A_BOLD | (has_colors() ? COLOR_PAIR(PAIR_BAD) : 0) : A_NORMAL);
	put(2, 0, line);
	(void)attrset(A_NORMAL);
}

static void draw_prompt(const struct top_state *state)
{
	char line[LINE_SIZE];

	(void)snprintf(line, sizeof(line), "%s: %s",
		state->prompt == TOP_PROMPT_DOMAIN ? "Only what is of domain (none: all)"
						   : "Seconds from one list to the next",
		state->input);
	(void)attrset(A_BOLD);
	put(2, 0, line);
	(void)attrset(A_NORMAL);
	(void)curs_set(1);
	(void)move(2, (int)min_u32(top_width(line), COLS > 0 ? (uint32_t)COLS - 1 : 0));
}

/* row: NULL for the heads. */
static void draw_row(const struct screen *screen, int y, const struct top_row *row)
{
	const struct top_sample *sample = screen->course->data.sample;
	const struct top_column *columns = sample->view->columns;
	unsigned sort = top_state_sort(&screen->course->state);
	char cell[CELL_SIZE], text[CELL_SIZE];
	int x = 0;

	for (unsigned i = 0; columns[i].head && x < COLS; i++) {
		if (row)
			top_cell(row, sample->view, i, cell);
		top_fit(row ? cell : columns[i].head, screen->layout.width[i],
			columns[i].kind != TOP_TEXT, text, sizeof(text));
		if (!row)
			(void)attrset(i == sort ? A_BOLD | A_REVERSE : A_BOLD);
		put(y, x, text);
		x += (int)(screen->layout.width[i] + TOP_GAP);
	}
	(void)attrset(A_NORMAL);
}

static void draw_table(const struct screen *screen)
{
	const struct top_sample *sample = screen->course->data.sample;
	size_t first = screen->course->state.first, n = rows_shown();

	if (!sample || sample->view != screen->course->state.view)
		return;
	draw_row(screen, HEAD_LINES, NULL);
	for (size_t i = 0; i < n && first + i < sample->n; i++)
		draw_row(screen, HEAD_LINES + 1 + (int)i, sample->order[first + i]);
}

/* The whole; ncurses sends the terminal only what differs. */
static void draw(struct screen *screen)
{
	struct top_state *state = &screen->course->state;
	char lines[2][TOP_HEAD_SIZE];

	top_state_scroll(state, 0, rows_there(screen), rows_shown());
	(void)erase();
	(void)curs_set(0);
	if (state->help) {
		for (int i = 0; top_help[i]; i++)
			put(i, 0, top_help[i]);
	} else {
		top_head_lines(&screen->course->data.head, lines);
		put(0, 0, lines[0]);
		put(1, 0, lines[1]);
		draw_table(screen);
		if (state->prompt)
			draw_prompt(state);
		else
			draw_message(screen);
	}
	(void)refresh();
}

/* ---- keys and signals ----------------------------------------------------------------------- */

static int key_of(int curses_key)
{
	static const struct {
		int curses, key;
	} keys[] = {
		{KEY_LEFT, TOP_KEY_LEFT},
		{KEY_RIGHT, TOP_KEY_RIGHT},
		{KEY_UP, TOP_KEY_UP},
		{KEY_DOWN, TOP_KEY_DOWN},
		{KEY_PPAGE, TOP_KEY_PAGE_UP},
		{KEY_NPAGE, TOP_KEY_PAGE_DOWN},
		{KEY_HOME, TOP_KEY_HOME},
		{KEY_END, TOP_KEY_END},
		{KEY_BACKSPACE, TOP_KEY_BACKSPACE},
		{'\b', TOP_KEY_BACKSPACE},
		{0x7f, TOP_KEY_BACKSPACE},
		{KEY_ENTER, TOP_KEY_ENTER},
		{'\r', TOP_KEY_ENTER},
		{'\n', TOP_KEY_ENTER},
		{0x1b, TOP_KEY_ESCAPE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (keys[i].curses == curses_key)
			return keys[i].key;
	}
	return curses_key < KEY_MIN ? curses_key : 0;
}

static void on_key(struct screen *screen, int key)
{
	struct top_state *state = &screen->course->state;

	switch (top_key(state, key, rows_there(screen), rows_shown())) {
	case TOP_WISH_QUIT:
		screen->quit = true;
		return;
	case TOP_WISH_SORT:
		screen_sort(screen);
		return;
	case TOP_WISH_ANEW:
		top_data_forget(&screen->course->data);
		screen->anew = true;
		screen->next_us = 0;
		return;
	case TOP_WISH_ASK:
		screen->next_us = 0;
		return;
	case TOP_WISH_NONE:
		/* The interval may be a shorter one. */
		if (screen->next_us > monotonic_us() + (uint64_t)(state->interval_s * 1e6))
			screen->next_us = 0;
		return;
	}
}

/* The terminal's size, as it is now. */
static void on_resize(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col)
		(void)resizeterm(
			(int)min_u32(size.ws_row, CELLS_MAX), (int)min_u32(size.ws_col, CELLS_MAX));
}

static void on_signal(struct screen *screen)
{
	struct signalfd_siginfo info;

	if (read(screen->signals, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGWINCH:
		on_resize();
		return;
	case SIGTSTP:
		(void)endwin();
		(void)raise(SIGSTOP);
		on_resize();
		(void)clearok(curscr, TRUE);
		return;
	default:
		screen->signal = (int)info.ssi_signo;
	}
}

static int wait_ms(const struct screen *screen)
{
	uint64_t now = monotonic_us();

	if (screen->asking)
		return -1;
	return screen->next_us > now ? (int)((screen->next_us - now + 999) / 1000) : 0;
}

/* For keys, signals, an answer or the time. False: the terminal is gone. */
static bool screen_wait(struct screen *screen)
{
	struct pollfd fds[] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = screen->signals, .events = POLLIN},
		{.fd = screen->done[0], .events = POLLIN},
	};
	int key;

	if (poll(fds, ARRAY_SIZE(fds), wait_ms(screen)) < 0)
		return errno == EINTR;
	if (fds[1].revents)
		on_signal(screen);
	if (fds[2].revents)
		screen_take(screen);
	while (fds[0].revents & POLLIN && !screen->quit && (key = getch()) != ERR)
		on_key(screen, key_of(key));
	return !(fds[0].revents & (POLLHUP | POLLERR));
}

/* ---- from the beginning to the end ---------------------------------------------------------- */

static const int signals[] = {
	SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP, SIGWINCH};

static int screen_open(struct screen *screen)
{
	const char *term = getenv("TERM");
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		(void)sigaddset(&set, signals[i]);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	screen->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (screen->signals < 0 || pipe(screen->done) < 0) {
		complain(EXIT_FAILURE, -errno, "top: %s", strerror(errno));
		return -1;
	}
	(void)set_escdelay(50);
	screen->terminal = newterm(NULL, stdout, stdin);
	if (!screen->terminal) {
		complain(EXIT_FAILURE, -ENOTTY, "top: the terminal '%s' (TERM) is not known",
			term ? term : "");
		return -1;
	}
	(void)cbreak();
	(void)noecho();
	(void)nonl();
	(void)keypad(stdscr, TRUE);
	(void)nodelay(stdscr, TRUE);
	if (colour_wanted() && has_colors() && start_color() == OK) {
		(void)use_default_colors();
		(void)init_pair(PAIR_BAD, COLOR_RED, -1);
	}
	return 0;
}

static void screen_close(struct screen *screen)
{
	if (screen->terminal) {
		(void)endwin();
		delscreen(screen->terminal);
	}
	close_p(&screen->signals);
	/* The pipe stays: a thread that still waits for msgd may write into it. */
}

/* As the signal would have ended it, had the terminal not to be restored. */
static void end_by(int number)
{
	sigset_t set;

	(void)signal(number, SIG_DFL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, number);
	(void)raise(number);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int top_screen(struct top_course *course)
{
	struct screen screen = {
		.course = course, .signals = -1, .done = {-1, -1}, .n_left = course->n};
	bool there = screen_open(&screen) == 0, opened = there;

	if (opened) {
		screen.next_us = monotonic_us() + (uint64_t)(course->state.interval_s * 1e6);
		screen_measure(&screen);
	}
	while (there && !screen.quit && !screen.signal) {
		draw(&screen);
		there = screen_wait(&screen);
		if (!screen.asking && monotonic_us() >= screen.next_us)
			screen_ask(&screen);
	}
	screen_close(&screen);
	if (screen.signal)
		end_by(screen.signal);
	return opened && there ? EXIT_SUCCESS : EXIT_FAILURE;
}
