/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Servers that listen and clients that connect. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "compat/xenvchan/mapping.h"
#include "compat/xenvchan/state.h"

/* The original's rings: 1 KiB and 2 KiB lie in its first page, larger ones are whole pages. */
#define SMALL_ORDER 10
#define LARGE_ORDER 11
#define PAGE_ORDER  12
#define MAX_ORDER   20
/* msgd answers a connect at once, unless it is being started again. */
#define CONNECT_MS 5000
/* So long a server waits for a name of which another process lets go. */
#define NAME_MS	      3000
#define NAME_RETRY_MS 10
#define DOMID_MAX     0x7fef

static __thread char reason[256];

const char *vchan_reason(void)
{
	return reason;
}

struct libxenvchan *vchan_public(struct vchan *vchan)
{
	return vchan ? &vchan->pub : NULL;
}

struct vchan *vchan_of(struct libxenvchan *ctrl)
{
	return (struct vchan *)ctrl;
}

static int fail(int error, const char *why)
{
	(void)snprintf(reason, sizeof(reason), "%s", why);
	errno = error;
	return -1;
}

static int path_map(int domid, const char *path, struct mapping *ret)
{
	const char *file = secure_getenv("MSG_XENVCHAN_CONF");
	unsigned line;
	int r;

	if (domid < 0 || domid > DOMID_MAX)
		return fail(EINVAL, "not a domid");
	r = mapping_of(path, file ? file : XENVCHAN_CONF, ret, &line);
	if (r == 0)
		return 0;
	(void)fail(-r, line ? "error in the file of names" : strerrordesc_np(-r));
	if (line)
		(void)snprintf(reason, sizeof(reason), "%.200s, line %u: an error",
			file ? file : XENVCHAN_CONF, line);
	return -1;
}

static struct vchan *vchan_new(const char *path, int read_order, int write_order, bool is_server)
{
	struct vchan *vchan = calloc(1, sizeof(*vchan));
	char *copy = strdup(path);
	int r = vchan && copy ? stream_init(&vchan->stream, 1UL << read_order, 1UL << write_order)
			      : -ENOMEM;

	if (r < 0) {
		(void)fail(-r, strerrordesc_np(-r));
		free(copy);
		free(vchan);
		return NULL;
	}
	vchan->page.left_order = (uint16_t)(is_server ? read_order : write_order);
	vchan->page.right_order = (uint16_t)(is_server ? write_order : read_order);
	vchan->page.srv_live = vchan->page.cli_live = 1;
	vchan->pub = (struct libxenvchan){.ring = &vchan->page,
		.is_server = is_server ? -1 : 0, /* one bit, with a sign */
		.read = {.order = read_order},
		.write = {.order = write_order},
		.xs_path = copy};
	vchan->pub.read.shr = is_server ? &vchan->page.left : &vchan->page.right;
	vchan->pub.write.shr = is_server ? &vchan->page.right : &vchan->page.left;
	vchan->watcher.fn = vchan_on_events;
	return vchan;
}

static int order_of(size_t size)
{
	int order = PAGE_ORDER;

	while (size > 1UL << order)
		order++;
	return order;
}

/* As the original sizes its rings: only one of the two lies in the first page's small part. */
static void orders_of(size_t read_min, size_t write_min, int *ret_read, int *ret_write)
{
	const size_t small = 1U << SMALL_ORDER, large = 1U << LARGE_ORDER;

	*ret_read = order_of(read_min);
	*ret_write = order_of(write_min);
	if (read_min <= small && write_min <= large) {
		*ret_read = SMALL_ORDER;
		*ret_write = LARGE_ORDER;
	} else if (read_min <= large && write_min <= small) {
		*ret_read = LARGE_ORDER;
		*ret_write = SMALL_ORDER;
	} else if (read_min <= large) {
		*ret_read = LARGE_ORDER;
	} else if (write_min <= large) {
		*ret_write = LARGE_ORDER;
	}
}

/* With the lock held. A msgd that is away answers later: until then no client can come, either. */
static int server_listen(struct vchan *vchan, struct msg_ctx *ctx, const char *name)
{
	int64_t until = process_now_ms() + CONNECT_MS;
	int r = name_join(ctx, name, &vchan->seat);

	(void)snprintf(vchan->why, sizeof(vchan->why), "%s", msg_reason());
	while (r == 0 && !name_is_answered(&vchan->seat) && process_now_ms() < until)
		process_wait(until);
	if (r == 0 && vchan->error) {
		r = -vchan->error;
		(void)snprintf(vchan->why, sizeof(vchan->why), "msgd refuses the name %s", name);
		name_leave(&vchan->seat);
	}
	return r;
}

/*
 * A process whose server has its client lets go of the name, but a little after its client can know
 * of it; and the client may have started this server.
 */
static int server_start(struct vchan *vchan, struct msg_ctx *ctx, const char *name)
{
	const struct timespec pause = {.tv_nsec = NAME_RETRY_MS * 1000000L};
	int64_t until = process_now_ms() + NAME_MS;
	int r;

	for (;;) {
		process_lock();
		vchan_state_set(vchan, VCHAN_WAITING);
		vchan->error = 0;
		r = server_listen(vchan, ctx, name);
		process_unlock();
		if (r != -EADDRINUSE || process_now_ms() >= until)
			return r;
		(void)nanosleep(&pause, NULL);
	}
}

struct vchan *vchan_serve(int domid, const char *path, size_t read_min, size_t write_min)
{
	struct msg_ctx *ctx;
	struct mapping mapping;
	struct vchan *vchan;
	int read_order, write_order, r;

	if (read_min > 1UL << MAX_ORDER || write_min > 1UL << MAX_ORDER)
		return fail(EINVAL, "a ring has 1 MiB at most"), NULL;
	if (path_map(domid, path, &mapping) < 0)
		return NULL;
	ctx = process_ctx();
	if (!ctx)
		return fail(errno, msg_reason()), NULL;
	orders_of(read_min, write_min, &read_order, &write_order);
	vchan = vchan_new(path, read_order, write_order, true);
	if (!vchan)
		return NULL;
	vchan->seat = (struct seat){.domid = domid, .take = vchan_on_take, .lost = vchan_on_lost};
	process_lock();
	vchan_publish(vchan);
	process_unlock();
	r = server_start(vchan, ctx, mapping.name);
	if (r == 0)
		return vchan;
	(void)fail(-r, vchan->why);
	vchan_close(vchan);
	errno = -r;
	return NULL;
}

int vchan_finish(struct vchan *vchan)
{
	struct pollfd fd = {.fd = vchan->stream.fd, .events = POLLIN};
	enum vchan_state state;
	eventfd_t count;

	if (poll(&fd, 1, 0) == 1)
		(void)eventfd_read(fd.fd, &count);
	process_lock();
	state = vchan->state;
	if (state != VCHAN_CONNECTING)
		stream_signal(&vchan->stream); /* bytes may have come already */
	process_unlock();
	if (state == VCHAN_CONNECTING)
		return 1;
	return state == VCHAN_OPEN ? 0 : fail(vchan->error ? vchan->error : ECONNRESET, vchan->why);
}

/*
 * Asks for the channel, and returns at once. Not with a call that blocks: the thread would be told
 * of its socket, too, which is freed by the call if it fails.
 */
static int client_ask(struct vchan *vchan, struct msg_ctx *ctx, const char *address, unsigned flags,
	int timeout_ms)
{
	struct msg_sock *sock;

	process_lock();
	sock = msg_connect(ctx, address, LIBMSG_STREAM, LIBMSG_NONBLOCK | flags, timeout_ms);
	vchan->error = sock ? 0 : errno;
	(void)snprintf(vchan->why, sizeof(vchan->why), "%s", msg_reason());
	vchan->connecting = sock;
	vchan_state_set(vchan, sock ? VCHAN_CONNECTING : VCHAN_ENDED);
	if (sock)
		msg_set_userdata(sock, &vchan->watcher);
	process_unlock();
	return sock ? 0 : -1;
}

/* Until it is answered. -1: a signal handler ran. */
static int client_await(struct vchan *vchan)
{
	while (vchan_finish(vchan) > 0) {
		struct pollfd fd = {.fd = vchan->stream.fd, .events = POLLIN};

		if (poll(&fd, 1, -1) < 0)
			return fail(errno, "interrupted by a signal");
	}
	return vchan->error ? fail(vchan->error, vchan->why) : 0;
}

/* A domain that is not there is an error at once; a name is waited for. */
static int client_reach(struct vchan *vchan, struct msg_ctx *ctx, const char *address, int wait_ms)
{
	if (client_ask(vchan, ctx, address, 0, CONNECT_MS) == 0 && client_await(vchan) == 0)
		return 0;
	if (!wait_ms || (vchan->error != ENOENT && vchan->error != ECONNRESET))
		return fail(errno, vchan->why);
	if (client_ask(vchan, ctx, address, LIBMSG_WAIT_NAME, wait_ms < 0 ? 0 : wait_ms) < 0)
		return fail(vchan->error, vchan->why);
	return client_await(vchan);
}

enum how { AS_THE_FILE_SAYS, FOR_EVER, LATER };

/*
 * The server has told nobody the sizes of its rings, so a client's are the largest: all that the
 * original would send at once finds room.
 */
static struct vchan *client_new(int domid, const char *path, enum how how)
{
	char address[MAPPING_NAME_SIZE + 16];
	struct mapping mapping;
	struct msg_ctx *ctx;
	struct vchan *vchan;
	int r;

	if (path_map(domid, path, &mapping) < 0)
		return NULL;
	ctx = process_ctx();
	if (!ctx)
		return fail(errno, msg_reason()), NULL;
	vchan = vchan_new(path, MAX_ORDER, MAX_ORDER, false);
	if (!vchan)
		return NULL;
	process_lock();
	vchan_publish(vchan);
	process_unlock();
	(void)snprintf(address, sizeof(address), "domid:%d/%s", domid, mapping.name);
	if (how == LATER)
		r = client_ask(vchan, ctx, address, LIBMSG_WAIT_NAME, 0);
	else
		r = client_reach(vchan, ctx, address, how == FOR_EVER ? -1 : mapping.wait_ms);
	if (r == 0)
		return vchan;
	r = errno;
	vchan_close(vchan);
	errno = r;
	return NULL;
}

struct vchan *vchan_connect(int domid, const char *path)
{
	return client_new(domid, path, AS_THE_FILE_SAYS);
}

struct vchan *vchan_connect_sometime(int domid, const char *path)
{
	return client_new(domid, path, FOR_EVER);
}

struct vchan *vchan_connect_later(int domid, const char *path)
{
	return client_new(domid, path, LATER);
}
