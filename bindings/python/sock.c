/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A socket's life, its options and its peer. */
#include "bindings/python/binding.h"

#include <errno.h>
#include <string.h>

/* ---- life ----------------------------------------------------------------------------------- */

/* Has the context know the object of this socket. */
static int sock_register(struct sock *sock)
{
	PyObject *key = PyLong_FromVoidPtr(sock->sock), *value = PyLong_FromVoidPtr(sock);
	int r = key && value ? PyDict_SetItem(sock->context->socks, key, value) : -1;

	Py_XDECREF(key);
	Py_XDECREF(value);
	return r;
}

static void sock_unregister(struct sock *sock)
{
	PyObject *type, *value, *traceback, *key;

	PyErr_Fetch(&type, &value, &traceback);
	key = PyLong_FromVoidPtr(sock->sock);
	if (!key || PyDict_DelItem(sock->context->socks, key) < 0)
		PyErr_Clear();
	Py_XDECREF(key);
	PyErr_Restore(type, value, traceback);
}

/* 0, or the errno of msg_close. */
static int sock_end(struct sock *sock)
{
	struct msg_sock *closed = sock->sock;
	int error = 0;

	if (!closed || sock->users || !sock->closing)
		return 0;
	sock_unregister(sock);
	sock->sock = NULL;
	Py_BEGIN_ALLOW_THREADS;
	if (msg_close(closed) < 0)
		error = errno;
	Py_END_ALLOW_THREADS;
	context_leave(sock->context);
	return error;
}

PyObject *sock_wrap(PyTypeObject *class, struct context *context, struct msg_sock *handle, int type)
{
	struct sock *sock = NULL;

	if (PyType_IsSubtype(class, &sock_type))
		sock = (struct sock *)class->tp_alloc(class, 0);
	else
		PyErr_SetString(PyExc_TypeError, "not a class of sockets");
	if (!sock) {
		(void)msg_close(handle);
		return NULL;
	}
	Py_INCREF(context);
	context->users++;
	sock->context = context;
	sock->sock = handle;
	sock->type = type;
	sock->timeout = -1;
	if (sock_register(sock) == 0)
		return (PyObject *)sock;
	Py_DECREF(sock);
	return NULL;
}

bool sock_enter(struct sock *sock)
{
	if (!sock->sock || sock->closing) {
		(void)raise_error(EBADF, "the socket is closed");
		return false;
	}
	sock->users++;
	return true;
}

int sock_leave(struct sock *sock)
{
	sock->users--;
	return sock_end(sock);
}

int sock_shut(struct sock *sock)
{
	if (!sock->sock || sock->closing)
		return 0;
	sock->closing = true;
	/* Calls of other threads end by this, and one of them closes the socket. */
	if (sock->users)
		(void)msg_shutdown(sock->sock, SHUT_RDWR);
	return sock_end(sock);
}

static void sock_dealloc(PyObject *object)
{
	struct sock *sock = (struct sock *)object;
	PyTypeObject *type = Py_TYPE(object);
	PyObject *raised, *value, *traceback;

	PyErr_Fetch(&raised, &value, &traceback);
	if (sock->context)
		(void)sock_shut(sock);
	Py_CLEAR(sock->context);
	PyErr_Restore(raised, value, traceback);
	type->tp_free(object);
}

static PyObject *sock_close(PyObject *object, PyObject *Py_UNUSED(args))
{
	int error = sock_shut((struct sock *)object);

	if (error)
		return raise_reason(error);
	Py_RETURN_NONE;
}

/* ---- options -------------------------------------------------------------------------------- */

static PyObject *sock_setopt(PyObject *object, PyObject *args)
{
	struct sock *sock = (struct sock *)object;
	long long value;
	int option, r;

	if (!PyArg_ParseTuple(args, "iL:setopt", &option, &value) || !sock_enter(sock))
		return NULL;
	r = msg_setopt(sock->sock, option, value);
	if (r < 0)
		(void)raise_reason(errno);
	(void)sock_leave(sock);
	if (r < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *sock_getopt(PyObject *object, PyObject *argument)
{
	struct sock *sock = (struct sock *)object;
	long option = PyLong_AsLong(argument);
	PyObject *result = NULL;
	int64_t value;

	if ((option == -1 && PyErr_Occurred()) || !sock_enter(sock))
		return NULL;
	if (msg_getopt(sock->sock, (int)option, &value) < 0)
		(void)raise_reason(errno);
	else
		result = PyLong_FromLongLong(value);
	(void)sock_leave(sock);
	return result;
}

/* Raises the error of a non-blocking connect, or of a listener that has lost its name. */
static PyObject *sock_check(PyObject *object, PyObject *Py_UNUSED(args))
{
	struct sock *sock = (struct sock *)object;
	int64_t error = 0;

	if (!sock_enter(sock))
		return NULL;
	if (msg_getopt(sock->sock, LIBMSG_ERROR, &error) < 0)
		error = errno;
	if (error)
		(void)raise_reason((int)error);
	(void)sock_leave(sock);
	if (error)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *sock_settimeout(PyObject *object, PyObject *argument)
{
	struct sock *sock = (struct sock *)object;
	double timeout;
	int r;

	if (!to_timeout(argument, &timeout) || !sock_enter(sock))
		return NULL;
	/* The option counts for closing. A listener's calls have no flag like MSG_DONTWAIT. */
	r = msg_setopt(sock->sock, LIBMSG_NONBLOCK_OPT, timeout == 0);
	if (r == 0)
		r = msg_setopt(sock->sock, LIBMSG_RCVTIMEO, timeout < 0 ? -1 : 0);
	if (r == 0)
		sock->timeout = timeout;
	else
		(void)raise_reason(errno);
	(void)sock_leave(sock);
	if (r < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *sock_gettimeout(PyObject *object, PyObject *Py_UNUSED(args))
{
	struct sock *sock = (struct sock *)object;

	if (sock->timeout < 0)
		Py_RETURN_NONE;
	return PyFloat_FromDouble(sock->timeout);
}

/* ---- the peer ------------------------------------------------------------------------------- */

static PyObject *sock_peer(PyObject *object, PyObject *Py_UNUSED(args))
{
	struct sock *sock = (struct sock *)object;
	struct msg_peer peer = {.size = sizeof(peer)};
	PyObject *result = NULL;

	if (!sock_enter(sock))
		return NULL;
	if (msg_getpeer(sock->sock, &peer) < 0)
		(void)raise_reason(errno);
	else
		result = Py_BuildValue("(sIsy#I)", peer.domain, peer.domid, peer.name,
			(const char *)peer.uuid, (Py_ssize_t)sizeof(peer.uuid), peer.transport);
	(void)sock_leave(sock);
	return result;
}

/* ---- the type ------------------------------------------------------------------------------- */

static PyObject *get_type(PyObject *object, void *Py_UNUSED(closure))
{
	return PyLong_FromLong(((struct sock *)object)->type);
}

static PyObject *get_context(PyObject *object, void *Py_UNUSED(closure))
{
	const struct sock *sock = (struct sock *)object;

	return Py_NewRef(sock->context ? (PyObject *)sock->context : Py_None);
}

static PyObject *get_closed(PyObject *object, void *Py_UNUSED(closure))
{
	const struct sock *sock = (struct sock *)object;

	return PyBool_FromLong(!sock->sock || sock->closing);
}

static PyGetSetDef properties[] = {
	{"type", get_type, NULL, "SEQPACKET, STREAM or DGRAM.", NULL},
	{"context", get_context, NULL, "The context whose socket it is.", NULL},
	{"closed", get_closed, NULL, "Whether it was closed.", NULL},
	{0},
};

#define CALL(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef methods[] = {
	{"close", sock_close, METH_NOARGS, "Frees the socket. Raises if data was lost."},
	{"setopt", sock_setopt, METH_VARARGS, "Sets an option, such as RCVBUF."},
	{"getopt", sock_getopt, METH_O, "Reads an option."},
	{"check", sock_check, METH_NOARGS,
		"Raises the error of a non-blocking connect, or of a listener that lost its name."},
	{"settimeout", sock_settimeout, METH_O,
		"Seconds for each call; None: for ever, 0: non-blocking."},
	{"gettimeout", sock_gettimeout, METH_NOARGS, "The time limit of settimeout."},
	{"_peer", sock_peer, METH_NOARGS, NULL},
	{"poll", sock_poll, METH_VARARGS,
		"poll(events, timeout=0): those of POLLIN, POLLOUT and so on that hold, or 0."},
	{"_accept", sock_accept, METH_O, NULL},
	{"shutdown", sock_shutdown, METH_O, "shutdown(how): ends one direction, or both."},
	{"flush", sock_flush, METH_NOARGS, "Shows the peer what MSG_MORE or CORK held back."},
	{"send", CALL(sock_send), METH_VARARGS | METH_KEYWORDS,
		"send(data, flags=0): a message, or as much of a stream as one call takes."},
	{"sendall", CALL(sock_sendall), METH_VARARGS | METH_KEYWORDS,
		"sendall(data, flags=0): a message, or all bytes of a stream."},
	{"sendmsg", CALL(sock_sendmsg), METH_VARARGS | METH_KEYWORDS,
		"sendmsg(buffers, ancdata=(), flags=0): one message out of several buffers."},
	{"recv", CALL(sock_recv), METH_VARARGS | METH_KEYWORDS,
		"recv(bufsize=None, flags=0): a message, or bytes; None: a whole message."},
	{"recv_into", CALL(sock_recv_into), METH_VARARGS | METH_KEYWORDS,
		"recv_into(buffer, nbytes=0, flags=0): how many bytes were received."},
	{"recvmsg", CALL(sock_recvmsg), METH_VARARGS | METH_KEYWORDS,
		"recvmsg(bufsize, ancbufsize=0, flags=0): (data, [], msg_flags, None)."},
	{"_take", sock_take, METH_NOARGS, NULL},
	{0},
};

PyTypeObject sock_type = {
	PyVarObject_HEAD_INIT(NULL, 0).tp_name = "libmsg._libmsg.Socket",
	.tp_basicsize = sizeof(struct sock),
	.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.tp_dealloc = sock_dealloc,
	.tp_methods = methods,
	.tp_getset = properties,
};
