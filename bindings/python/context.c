/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A context: attaching, listening, connecting, watching; and what an event loop asks of it. */
#include "bindings/python/binding.h"

#include <errno.h>

/* As many events as one call of dispatch returns. */
#define EVENTS_MAX 256

/* ---- life ----------------------------------------------------------------------------------- */

static void context_end(struct context *context)
{
	struct msg_ctx *ctx = context->ctx;

	if (!ctx || context->users || !context->closing)
		return;
	context->ctx = NULL;
	Py_BEGIN_ALLOW_THREADS;
	msg_ctx_close(ctx);
	Py_END_ALLOW_THREADS;
}

bool context_enter(struct context *context)
{
	if (!context->ctx || context->closing) {
		(void)raise_error(EBADF, "the context is closed");
		return false;
	}
	context->users++;
	return true;
}

void context_leave(struct context *context)
{
	context->users--;
	context_end(context);
}

static PyObject *context_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *names[] = {"hv", "timeout", NULL};
	const char *hv = NULL;
	double timeout = -1, deadline;
	struct context *context;
	struct msg_ctx *ctx;
	int error = EINTR;

	if (!PyArg_ParseTupleAndKeywords(
		    args, keywords, "|zO&:Context", names, &hv, to_timeout, &timeout))
		return NULL;
	context = (struct context *)type->tp_alloc(type, 0);
	if (!context)
		return NULL;
	context->socks = PyDict_New();
	deadline = deadline_in(timeout);
	while (context->socks && !context->ctx && error == EINTR && !PyErr_CheckSignals()) {
		Py_BEGIN_ALLOW_THREADS;
		ctx = msg_ctx_open(hv, 0, to_ms(seconds_left(deadline)));
		error = errno;
		Py_END_ALLOW_THREADS;
		context->ctx = ctx;
	}
	if (context->ctx)
		return (PyObject *)context;
	if (!PyErr_Occurred())
		(void)raise_reason(error);
	Py_DECREF(context);
	return NULL;
}

/* No socket is left: each has a reference to its context. */
static void context_dealloc(PyObject *object)
{
	struct context *context = (struct context *)object;
	PyTypeObject *type = Py_TYPE(object);

	context->closing = true;
	context_end(context);
	Py_CLEAR(context->socks);
	type->tp_free(object);
}

/* The sockets' objects, each with a reference. NULL: raised. */
static PyObject *context_sockets(struct context *context)
{
	PyObject *list = PyList_New(0), *key, *value;
	Py_ssize_t at = 0;

	while (list && PyDict_Next(context->socks, &at, &key, &value)) {
		if (PyList_Append(list, (PyObject *)PyLong_AsVoidPtr(value)) < 0)
			Py_CLEAR(list);
	}
	return list;
}

/* Without lingering, as msg_ctx_close: a hundred peers that do not read are not waited for. */
static void close_at_once(struct sock *sock)
{
	if (sock->sock)
		(void)msg_setopt(sock->sock, LIBMSG_NONBLOCK_OPT, 1);
	(void)sock_shut(sock);
}

static PyObject *context_close(PyObject *object, PyObject *Py_UNUSED(args))
{
	struct context *context = (struct context *)object;
	PyObject *list;

	if (context->closing)
		Py_RETURN_NONE;
	list = context_sockets(context);
	if (!list)
		return NULL;
	context->closing = true;
	context->users++; /* not to end before the last socket */
	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++)
		close_at_once((struct sock *)PyList_GET_ITEM(list, i));
	Py_DECREF(list);
	context_leave(context);
	Py_RETURN_NONE;
}

/* ---- sockets -------------------------------------------------------------------------------- */

struct opening {
	const char *address; /* or a name, or a pattern */
	int type, backlog;
	unsigned flags;
	double deadline;
};

typedef struct msg_sock *open_call(struct msg_ctx *ctx, const struct opening *opening);

static struct msg_sock *call_listen(struct msg_ctx *ctx, const struct opening *o)
{
	return msg_listen(ctx, o->address, o->type, o->backlog, o->flags);
}

static struct msg_sock *call_connect(struct msg_ctx *ctx, const struct opening *o)
{
	return msg_connect(ctx, o->address, o->type, o->flags, to_ms(seconds_left(o->deadline)));
}

static struct msg_sock *call_watch(struct msg_ctx *ctx, const struct opening *o)
{
	return msg_watch(ctx, o->address);
}

static PyObject *context_open(struct context *context, PyTypeObject *class,
	const struct opening *opening, open_call *call)
{
	struct msg_sock *sock = NULL;
	PyObject *result = NULL;
	int error = EINTR;

	if (!context_enter(context))
		return NULL;
	while (!sock && error == EINTR && !PyErr_CheckSignals()) {
		Py_BEGIN_ALLOW_THREADS;
		sock = call(context->ctx, opening);
		error = errno;
		Py_END_ALLOW_THREADS;
	}
	if (sock)
		result = sock_wrap(class, context, sock, opening->type);
	else if (!PyErr_Occurred())
		(void)raise_reason(error);
	context_leave(context);
	return result;
}

static PyObject *context_listen(PyObject *object, PyObject *args)
{
	struct opening opening = {0};
	PyTypeObject *class;

	if (!PyArg_ParseTuple(args, "O!siiI:_listen", &PyType_Type, &class, &opening.address,
		    &opening.type, &opening.backlog, &opening.flags))
		return NULL;
	return context_open((struct context *)object, class, &opening, call_listen);
}

static PyObject *context_connect(PyObject *object, PyObject *args)
{
	struct opening opening = {0};
	PyTypeObject *class;
	double timeout;

	if (!PyArg_ParseTuple(args, "O!siIO&:_connect", &PyType_Type, &class, &opening.address,
		    &opening.type, &opening.flags, to_timeout, &timeout))
		return NULL;
	opening.deadline = deadline_in(timeout);
	return context_open((struct context *)object, class, &opening, call_connect);
}

static PyObject *context_watch(PyObject *object, PyObject *args)
{
	struct opening opening = {.type = LIBMSG_SEQPACKET};
	PyTypeObject *class;

	if (!PyArg_ParseTuple(args, "O!s:_watch", &PyType_Type, &class, &opening.address))
		return NULL;
	return context_open((struct context *)object, class, &opening, call_watch);
}

static PyObject *context_set_transport(PyObject *object, PyObject *argument)
{
	struct context *context = (struct context *)object;
	long transport = PyLong_AsLong(argument);
	int r;

	if ((transport == -1 && PyErr_Occurred()) || !context_enter(context))
		return NULL;
	r = msg_ctx_set_transport(context->ctx, (int)transport);
	if (r < 0)
		(void)raise_reason(errno);
	context_leave(context);
	if (r < 0)
		return NULL;
	Py_RETURN_NONE;
}

/* ---- event loops ---------------------------------------------------------------------------- */

static PyObject *context_fileno(PyObject *object, PyObject *Py_UNUSED(args))
{
	struct context *context = (struct context *)object;
	int fd;

	if (!context_enter(context))
		return NULL;
	fd = msg_ctx_fd(context->ctx);
	if (fd < 0)
		(void)raise_reason(errno);
	context_leave(context);
	return fd < 0 ? NULL : PyLong_FromLong(fd);
}

/* Adds (socket, events) to the list. A socket that another thread closes just now is left out. */
static int add_event(struct context *context, PyObject *list, const struct msg_event *event)
{
	PyObject *key = PyLong_FromVoidPtr(event->sock), *value, *pair = NULL;
	int r = -1;

	value = key ? PyDict_GetItemWithError(context->socks, key) : NULL;
	if (value) {
		pair = Py_BuildValue("(Oi)", (PyObject *)PyLong_AsVoidPtr(value), event->revents);
		r = pair ? PyList_Append(list, pair) : -1;
	} else if (key && !PyErr_Occurred()) {
		r = 0;
	}
	Py_XDECREF(pair);
	Py_XDECREF(key);
	return r;
}

static PyObject *dispatch(struct context *context, int n)
{
	struct msg_event events[EVENTS_MAX];
	PyObject *list;

	/* With the GIL: no socket is freed between the event and its object. */
	n = msg_ctx_dispatch(context->ctx, events, n < EVENTS_MAX ? n : EVENTS_MAX);
	if (n < 0)
		return raise_reason(errno);
	list = PyList_New(0);
	for (int i = 0; list && i < n; i++) {
		if (add_event(context, list, &events[i]) < 0)
			Py_CLEAR(list);
	}
	return list;
}

static PyObject *context_dispatch(PyObject *object, PyObject *args)
{
	struct context *context = (struct context *)object;
	PyObject *list;
	int n = EVENTS_MAX;

	if (!PyArg_ParseTuple(args, "|i:dispatch", &n) || !context_enter(context))
		return NULL;
	list = dispatch(context, n);
	context_leave(context);
	return list;
}

/* ---- the type ------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
	{"close", context_close, METH_NOARGS,
		"Closes every socket of the context, without lingering, and detaches."},
	{"_listen", context_listen, METH_VARARGS, NULL},
	{"_connect", context_connect, METH_VARARGS, NULL},
	{"_watch", context_watch, METH_VARARGS, NULL},
	{"set_transport", context_set_transport, METH_O,
		"Demands a transport for later connects: TRANSPORT_ANY and so on."},
	{"fileno", context_fileno, METH_NOARGS,
		"The descriptor for event loops: readable while dispatch() has something to do."},
	{"dispatch", context_dispatch, METH_VARARGS,
		"Does the work that waits. Returns a list of (socket, events), n at most."},
	{0},
};

static PyObject *get_closed(PyObject *object, void *Py_UNUSED(closure))
{
	return PyBool_FromLong(((struct context *)object)->closing);
}

static PyGetSetDef properties[] = {
	{"closed", get_closed, NULL, "Whether it was closed.", NULL},
	{0},
};

PyTypeObject context_type = {
	PyVarObject_HEAD_INIT(NULL, 0).tp_name = "libmsg._libmsg.Context",
	.tp_basicsize = sizeof(struct context),
	.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.tp_new = context_new,
	.tp_dealloc = context_dealloc,
	.tp_methods = methods,
	.tp_getset = properties,
};
