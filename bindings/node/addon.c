/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The calls of libmsg for index.js, which has all that is not a call. None of them blocks but the
 * two that run in a thread of the pool, open and linger, and, while msgd does not answer, listen
 * and watch. index.js keeps a socket until it has closed it: nothing here is closed by the
 * collector but a whole context.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <node_api.h>
#include <uv.h>

#include <libmsg.h>

#define ARGS_MAX   4
#define EVENTS_MAX 64
#define TEXT_MAX   256

struct context {
	struct msg_ctx *ctx; /* owned; NULL: closed */
	napi_env env;
	napi_ref on_ready; /* owned: the function that is called when there is something to do */
	napi_async_context async;
	uv_poll_t *poll; /* owned; freed by the loop */
};

struct socket {
	struct msg_sock *sock; /* owned; NULL: closed */
};

/* ---- values and errors ---------------------------------------------------------------------- */

static napi_value make_error(napi_env env, const char *call, int error, const char *reason)
{
	const char *name = strerrorname_np(error);
	napi_value code, message, result, number, syscall;

	if (napi_create_string_utf8(env, name ? name : "EUNKNOWN", NAPI_AUTO_LENGTH, &code) ||
		napi_create_string_utf8(env, reason, NAPI_AUTO_LENGTH, &message) ||
		napi_create_error(env, code, message, &result) ||
		napi_create_int32(env, -error, &number) ||
		napi_create_string_utf8(env, call, NAPI_AUTO_LENGTH, &syscall))
		return NULL;
	/* As the errors of Node's own calls have them. */
	(void)napi_set_named_property(env, result, "errno", number);
	(void)napi_set_named_property(env, result, "syscall", syscall);
	return result;
}

static napi_value throw_error(napi_env env, const char *call, int error, const char *reason)
{
	napi_value made = make_error(env, call, error, reason);

	if (made)
		(void)napi_throw(env, made);
	return NULL;
}

static napi_value throw_reason(napi_env env, const char *call, int error)
{
	return throw_error(env, call, error, msg_reason());
}

static napi_value make_number(napi_env env, double number)
{
	napi_value value = NULL;

	(void)napi_create_double(env, number, &value);
	return value;
}

static napi_value undefined(napi_env env)
{
	napi_value value = NULL;

	(void)napi_get_undefined(env, &value);
	return value;
}

static napi_value null(napi_env env)
{
	napi_value value = NULL;

	(void)napi_get_null(env, &value);
	return value;
}

/* The arguments of a call: an object of this module and up to three numbers or texts. */
struct args {
	napi_env env;
	napi_value values[ARGS_MAX];
	void *object;
};

/* False: thrown. */
static bool args_take(struct args *args, napi_env env, napi_callback_info info)
{
	size_t n = ARGS_MAX;

	*args = (struct args){.env = env};
	if (napi_get_cb_info(env, info, &n, args->values, NULL, NULL) != napi_ok)
		return false;
	if (napi_get_value_external(env, args->values[0], &args->object) == napi_ok)
		return true;
	(void)throw_error(env, "libmsg", EINVAL, "not an object of libmsg");
	return false;
}

static int64_t args_number(const struct args *args, int i)
{
	int64_t number = 0;

	(void)napi_get_value_int64(args->env, args->values[i], &number);
	return number;
}

static const char *args_text(const struct args *args, int i, char text[TEXT_MAX])
{
	text[0] = '\0';
	(void)napi_get_value_string_utf8(args->env, args->values[i], text, TEXT_MAX, NULL);
	return text;
}

static struct msg_ctx *args_ctx(struct args *args, napi_env env, napi_callback_info info)
{
	struct context *context;

	if (!args_take(args, env, info))
		return NULL;
	context = args->object;
	if (!context->ctx)
		(void)throw_error(env, "libmsg", EBADF, "the context is closed");
	return context->ctx;
}

static struct msg_sock *args_sock(struct args *args, napi_env env, napi_callback_info info)
{
	struct socket *socket;

	if (!args_take(args, env, info))
		return NULL;
	socket = args->object;
	if (!socket->sock)
		(void)throw_error(env, "libmsg", EBADF, "the socket is closed");
	return socket->sock;
}

/* ---- the context ---------------------------------------------------------------------------- */

static void poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void context_end(struct context *context)
{
	if (!context->ctx)
		return;
	if (context->poll)
		uv_close((uv_handle_t *)context->poll, poll_closed);
	if (context->on_ready)
		(void)napi_delete_reference(context->env, context->on_ready);
	if (context->async)
		(void)napi_async_destroy(context->env, context->async);
	msg_ctx_close(context->ctx);
	context->ctx = NULL;
}

static void context_finalize(napi_env env, void *data, void *hint)
{
	context_end(data);
	free(data);
}

static napi_status call_ready(struct context *context)
{
	napi_value function, global, result;
	napi_status status = napi_get_reference_value(context->env, context->on_ready, &function);

	if (status == napi_ok)
		status = napi_get_global(context->env, &global);
	if (status == napi_ok)
		status = napi_make_callback(
			context->env, context->async, global, function, 0, NULL, &result);
	return status;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct context *context = poll->data;
	napi_env env = context->env;
	napi_handle_scope scope;
	napi_value exception;

	if (napi_open_handle_scope(env, &scope) != napi_ok)
		return;
	/* An exception of the application's listener is uncaught, as anywhere in the loop. */
	if (call_ready(context) == napi_pending_exception &&
		napi_get_and_clear_last_exception(env, &exception) == napi_ok)
		(void)napi_fatal_exception(env, exception);
	(void)napi_close_handle_scope(env, scope);
}

/* Has the loop watch the context's descriptor, without keeping the process alive for it. */
static int context_watch_fd(struct context *context)
{
	int fd = msg_ctx_fd(context->ctx);
	uv_loop_t *loop;

	if (fd < 0)
		return errno;
	context->poll = calloc(1, sizeof(*context->poll));
	if (!context->poll)
		return ENOMEM;
	context->poll->data = context;
	if (napi_get_uv_event_loop(context->env, &loop) != napi_ok ||
		uv_poll_init(loop, context->poll, fd) < 0) {
		free(context->poll);
		context->poll = NULL;
		return EIO;
	}
	(void)uv_poll_start(context->poll, UV_READABLE, on_readable);
	uv_unref((uv_handle_t *)context->poll);
	return 0;
}

/* start(context, function): from now on the function is called when there is something to do. */
static napi_value context_start(napi_env env, napi_callback_info info)
{
	struct args args;
	struct context *context;
	napi_value name;
	int error;

	if (!args_ctx(&args, env, info))
		return NULL;
	context = args.object;
	context->env = env;
	if (napi_create_reference(env, args.values[1], 1, &context->on_ready) != napi_ok ||
		napi_create_string_utf8(env, "libmsg", NAPI_AUTO_LENGTH, &name) != napi_ok ||
		napi_async_init(env, NULL, name, &context->async) != napi_ok)
		return NULL;
	error = context_watch_fd(context);
	return error ? throw_error(env, "libmsg", error, "no event loop") : undefined(env);
}

/* keep(context, flag): whether the context keeps the process alive. */
static napi_value context_keep(napi_env env, napi_callback_info info)
{
	struct args args;
	struct context *context;

	if (!args_take(&args, env, info))
		return NULL;
	context = args.object;
	if (context->ctx && context->poll && args_number(&args, 1))
		uv_ref((uv_handle_t *)context->poll);
	else if (context->ctx && context->poll)
		uv_unref((uv_handle_t *)context->poll);
	return undefined(env);
}

static napi_value context_close(napi_env env, napi_callback_info info)
{
	struct args args;

	if (args_take(&args, env, info))
		context_end(args.object);
	return undefined(env);
}

/* dispatch(context): the identity and the events of each socket that is ready, in one array. */
static napi_value context_dispatch(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_ctx *ctx = args_ctx(&args, env, info);
	struct msg_event events[EVENTS_MAX];
	napi_value list;
	int n;

	if (!ctx)
		return NULL;
	n = msg_ctx_dispatch(ctx, events, EVENTS_MAX);
	if (n < 0)
		return throw_reason(env, "dispatch", errno);
	if (napi_create_array_with_length(env, (size_t)n * 2, &list) != napi_ok)
		return NULL;
	for (uint32_t i = 0; i < (uint32_t)n; i++) {
		/* A pointer has 47 bits: a number holds it. */
		(void)napi_set_element(
			env, list, 2 * i, make_number(env, (double)(uintptr_t)events[i].sock));
		(void)napi_set_element(env, list, 2 * i + 1, make_number(env, events[i].revents));
	}
	return list;
}

/* ---- opening, in a thread of the pool ------------------------------------------------------- */

struct opening {
	napi_deferred deferred;
	napi_async_work work;
	char hv[TEXT_MAX];
	int timeout_ms, error;
	char reason[TEXT_MAX];
	struct context *context;
};

static void open_execute(napi_env env, void *data)
{
	struct opening *opening = data;

	opening->context->ctx =
		msg_ctx_open(opening->hv[0] ? opening->hv : NULL, 0, opening->timeout_ms);
	if (opening->context->ctx)
		return;
	opening->error = errno;
	strncpy(opening->reason, msg_reason(), TEXT_MAX - 1);
}

static void open_complete(napi_env env, napi_status status, void *data)
{
	struct opening *opening = data;
	napi_value value;

	if (opening->context->ctx && napi_create_external(env, opening->context, context_finalize,
					     NULL, &value) == napi_ok) {
		(void)napi_resolve_deferred(env, opening->deferred, value);
	} else {
		value = make_error(env, "open", opening->error, opening->reason);
		free(opening->context);
		(void)napi_reject_deferred(env, opening->deferred, value);
	}
	(void)napi_delete_async_work(env, opening->work);
	free(opening);
}

/* open(hv, timeout_ms): a promise of a context. */
static napi_value context_open(napi_env env, napi_callback_info info)
{
	struct opening *opening = calloc(1, sizeof(*opening));
	struct args args = {.env = env};
	size_t n = ARGS_MAX;
	napi_value promise, name;

	if (!opening || !(opening->context = calloc(1, sizeof(*opening->context)))) {
		free(opening);
		return throw_error(env, "open", ENOMEM, "out of memory");
	}
	(void)napi_get_cb_info(env, info, &n, args.values, NULL, NULL);
	(void)args_text(&args, 0, opening->hv);
	opening->timeout_ms = (int)args_number(&args, 1);
	opening->context->env = env;
	if (napi_create_promise(env, &opening->deferred, &promise) != napi_ok ||
		napi_create_string_utf8(env, "libmsg", NAPI_AUTO_LENGTH, &name) != napi_ok ||
		napi_create_async_work(env, NULL, name, open_execute, open_complete, opening,
			&opening->work) != napi_ok ||
		napi_queue_async_work(env, opening->work) != napi_ok)
		return NULL;
	return promise;
}

/* ---- sockets -------------------------------------------------------------------------------- */

static void socket_finalize(napi_env env, void *data, void *hint)
{
	free(data);
}

/* [a socket, its identity] */
static napi_value socket_wrap(napi_env env, const char *call, struct msg_sock *sock)
{
	int error = errno;
	struct socket *socket = sock ? malloc(sizeof(*socket)) : NULL;
	napi_value external, pair;

	if (!socket) {
		(void)msg_close(sock);
		return sock ? throw_error(env, call, ENOMEM, "out of memory")
			    : throw_reason(env, call, error);
	}
	socket->sock = sock;
	if (napi_create_external(env, socket, socket_finalize, NULL, &external) != napi_ok ||
		napi_create_array_with_length(env, 2, &pair) != napi_ok)
		return NULL;
	(void)napi_set_element(env, pair, 0, external);
	(void)napi_set_element(env, pair, 1, make_number(env, (double)(uintptr_t)sock));
	return pair;
}

/* listen(context, name, type, backlog) */
static napi_value socket_listen(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_ctx *ctx = args_ctx(&args, env, info);
	char name[TEXT_MAX];

	if (!ctx)
		return NULL;
	return socket_wrap(env, "listen",
		msg_listen(ctx, args_text(&args, 1, name), (int)args_number(&args, 2),
			(int)args_number(&args, 3), LIBMSG_NONBLOCK));
}

/* connect(context, address, type, wait) */
static napi_value socket_connect(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_ctx *ctx = args_ctx(&args, env, info);
	char address[TEXT_MAX];

	if (!ctx)
		return NULL;
	return socket_wrap(env, "connect",
		msg_connect(ctx, args_text(&args, 1, address), (int)args_number(&args, 2),
			LIBMSG_NONBLOCK | (args_number(&args, 3) ? LIBMSG_WAIT_NAME : 0), 0));
}

/* watch(context, pattern) */
static napi_value socket_watch(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_ctx *ctx = args_ctx(&args, env, info);
	char pattern[TEXT_MAX];
	struct msg_sock *sock;

	if (!ctx)
		return NULL;
	sock = msg_watch(ctx, args_text(&args, 1, pattern));
	if (sock)
		(void)msg_setopt(sock, LIBMSG_NONBLOCK_OPT, 1);
	return socket_wrap(env, "watch", sock);
}

/* accept(listener): undefined: none waits. */
static napi_value socket_accept(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_sock *listener = args_sock(&args, env, info), *sock;

	if (!listener)
		return NULL;
	sock = msg_accept(listener, LIBMSG_NONBLOCK);
	if (!sock && errno == EAGAIN)
		return undefined(env);
	return socket_wrap(env, "accept", sock);
}

/* send(socket, bytes, offset): how many went; undefined: there is no room. */
static napi_value socket_send(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_sock *sock = args_sock(&args, env, info);
	size_t len, offset;
	void *data;
	ssize_t n;

	if (!sock)
		return NULL;
	offset = (size_t)args_number(&args, 2);
	if (napi_get_buffer_info(env, args.values[1], &data, &len) != napi_ok || offset > len)
		return throw_error(env, "send", EINVAL, "no bytes");
	n = msg_send(sock, (char *)data + offset, len - offset, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? undefined(env) : throw_reason(env, "send", errno);
	return make_number(env, (double)n);
}

/* recv(socket): a message, or bytes; null: the end; undefined: nothing yet. */
static napi_value socket_recv(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_sock *sock = args_sock(&args, env, info);
	struct msg_buf *buf = NULL;
	const void *data;
	napi_value value = NULL;
	ssize_t n;

	if (!sock)
		return NULL;
	n = msg_recv_take(sock, MSG_DONTWAIT, &data, &buf);
	if (n < 0)
		return errno == EAGAIN ? undefined(env) : throw_reason(env, "recv", errno);
	if (!buf)
		return null(env);
	(void)napi_create_buffer_copy(env, (size_t)n, data, NULL, &value);
	msg_buf_free(buf);
	return value;
}

/* shutdown(socket, how) */
static napi_value socket_shutdown(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_sock *sock = args_sock(&args, env, info);

	if (!sock)
		return NULL;
	if (msg_shutdown(sock, (int)args_number(&args, 1)) < 0)
		return throw_reason(env, "shutdown", errno);
	return undefined(env);
}

/* setopt(socket, option, value) */
static napi_value socket_setopt(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_sock *sock = args_sock(&args, env, info);

	if (!sock)
		return NULL;
	if (msg_setopt(sock, (int)args_number(&args, 1), args_number(&args, 2)) < 0)
		return throw_reason(env, "setopt", errno);
	return undefined(env);
}

/* getopt(socket, option) */
static napi_value socket_getopt(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_sock *sock = args_sock(&args, env, info);
	int64_t value;

	if (!sock)
		return NULL;
	if (msg_getopt(sock, (int)args_number(&args, 1), &value) < 0)
		return throw_reason(env, "getopt", errno);
	return make_number(env, (double)value);
}

/* check(socket): throws the error of a listen or a connect. */
static napi_value socket_check(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_sock *sock = args_sock(&args, env, info);
	int64_t error = 0;

	if (!sock)
		return NULL;
	if (msg_getopt(sock, LIBMSG_ERROR, &error) < 0)
		error = errno;
	return error ? throw_reason(env, "connect", (int)error) : undefined(env);
}

/* poll(socket, events): those that hold. */
static napi_value socket_poll(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_sock *sock = args_sock(&args, env, info);
	struct msg_pollfd fd = {.sock = sock};

	if (!sock)
		return NULL;
	fd.events = (short)args_number(&args, 1);
	if (msg_poll(&fd, 1, 0) < 0)
		return throw_reason(env, "poll", errno);
	return make_number(env, fd.revents);
}

static void set_text(napi_env env, napi_value object, const char *name, const char *text)
{
	napi_value value;

	if (napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value) == napi_ok)
		(void)napi_set_named_property(env, object, name, value);
}

static napi_value socket_peer(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_sock *sock = args_sock(&args, env, info);
	struct msg_peer peer = {.size = sizeof(peer)};
	napi_value object, uuid;

	if (!sock)
		return NULL;
	if (msg_getpeer(sock, &peer) < 0)
		return throw_reason(env, "getpeer", errno);
	if (napi_create_object(env, &object) != napi_ok)
		return NULL;
	set_text(env, object, "domain", peer.domain);
	set_text(env, object, "name", peer.name);
	(void)napi_set_named_property(env, object, "domid", make_number(env, peer.domid));
	(void)napi_set_named_property(env, object, "transport", make_number(env, peer.transport));
	if (napi_create_buffer_copy(env, sizeof(peer.uuid), peer.uuid, NULL, &uuid) == napi_ok)
		(void)napi_set_named_property(env, object, "uuid", uuid);
	return object;
}

/* ---- closing -------------------------------------------------------------------------------- */

/* close(socket): at once; later calls on the context send the rest. */
static napi_value socket_close(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_sock *sock = args_sock(&args, env, info);

	if (!sock)
		return NULL;
	((struct socket *)args.object)->sock = NULL;
	return msg_close(sock) < 0 ? throw_reason(env, "close", errno) : undefined(env);
}

struct lingering {
	napi_async_work work;
	napi_deferred deferred;
	struct msg_sock *sock;
};

static void linger_execute(napi_env env, void *data)
{
	struct lingering *lingering = data;

	(void)msg_setopt(lingering->sock, LIBMSG_NONBLOCK_OPT, 0);
	(void)msg_close(lingering->sock);
}

static void linger_complete(napi_env env, napi_status status, void *data)
{
	struct lingering *lingering = data;

	(void)napi_resolve_deferred(env, lingering->deferred, undefined(env));
	(void)napi_delete_async_work(env, lingering->work);
	free(lingering);
}

/* linger(socket): a thread closes it, and waits until what was sent has left. A promise. */
static napi_value socket_linger(napi_env env, napi_callback_info info)
{
	struct args args;
	struct msg_sock *sock = args_sock(&args, env, info);
	struct lingering *lingering = calloc(1, sizeof(*lingering));
	napi_value promise, name;

	if (!sock || !lingering) {
		free(lingering);
		return NULL;
	}
	lingering->sock = sock;
	((struct socket *)args.object)->sock = NULL;
	if (napi_create_promise(env, &lingering->deferred, &promise) != napi_ok ||
		napi_create_string_utf8(env, "libmsg", NAPI_AUTO_LENGTH, &name) != napi_ok ||
		napi_create_async_work(env, NULL, name, linger_execute, linger_complete, lingering,
			&lingering->work) != napi_ok ||
		napi_queue_async_work(env, lingering->work) != napi_ok)
		return NULL;
	return promise;
}

/* ---- the module ----------------------------------------------------------------------------- */

static const struct {
	const char *name;
	napi_callback call;
} calls[] = {
	{"open", context_open},
	{"start", context_start},
	{"keep", context_keep},
	{"closeContext", context_close},
	{"dispatch", context_dispatch},
	{"listen", socket_listen},
	{"connect", socket_connect},
	{"watch", socket_watch},
	{"accept", socket_accept},
	{"send", socket_send},
	{"recv", socket_recv},
	{"shutdown", socket_shutdown},
	{"setopt", socket_setopt},
	{"getopt", socket_getopt},
	{"check", socket_check},
	{"poll", socket_poll},
	{"peer", socket_peer},
	{"close", socket_close},
	{"linger", socket_linger},
};

static const struct {
	const char *name;
	int value;
} constants[] = {
	{"SEQPACKET", LIBMSG_SEQPACKET},
	{"STREAM", LIBMSG_STREAM},
	{"DGRAM", LIBMSG_DGRAM},
	{"LINGER", LIBMSG_LINGER},
	{"RCVBUF", LIBMSG_RCVBUF},
	{"SNDBUF", LIBMSG_SNDBUF},
	{"MAXMSG", LIBMSG_MAXMSG},
	{"CORK", LIBMSG_CORK},
	{"DROPS", LIBMSG_DROPS},
	{"DROP_OLDEST", LIBMSG_DROP_OLDEST},
	{"EVENTS", LIBMSG_EVENTS},
	{"POLLIN", POLLIN},
	{"POLLOUT", POLLOUT},
	{"POLLERR", POLLERR},
	{"POLLHUP", POLLHUP},
	{"POLLRDHUP", POLLRDHUP},
	{"SHUT_RD", SHUT_RD},
	{"SHUT_WR", SHUT_WR},
	{"SHUT_RDWR", SHUT_RDWR},
};

NAPI_MODULE_INIT()
{
	napi_value function;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (napi_create_function(env, calls[i].name, NAPI_AUTO_LENGTH, calls[i].call, NULL,
			    &function) != napi_ok ||
			napi_set_named_property(env, exports, calls[i].name, function) != napi_ok)
			return NULL;
	}
	for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++)
		(void)napi_set_named_property(
			env, exports, constants[i].name, make_number(env, constants[i].value));
	set_text(env, exports, "version", msg_version());
	return exports;
}
