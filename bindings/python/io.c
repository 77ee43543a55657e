/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The calls that carry data, or wait. A socket's time limit is kept here and not by LIBMSG_RCVTIMEO
 * and LIBMSG_SNDTIMEO: a call that a signal interrupts goes on with the time that is left.
 */
#include "bindings/python/binding.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>

/* ---- the one way to call -------------------------------------------------------------------- */

/* A call of libmsg, without the GIL. -1: errno is set. */
typedef ssize_t io_call(struct msg_sock *sock, void *arg, int flags);

struct io {
	io_call *call;
	void *arg;
	int flags;
	short events; /* that it waits for, as of msg_poll */
};

/* 0: try again. -1: raised. */
static int io_poll(struct sock *sock, short events, double deadline)
{
	struct msg_pollfd fd = {.sock = sock->sock, .events = events};
	int r, error;

	Py_BEGIN_ALLOW_THREADS;
	r = msg_poll(&fd, 1, to_ms(seconds_left(deadline)));
	error = errno;
	Py_END_ALLOW_THREADS;
	if (r == 0)
		(void)raise_error(ETIMEDOUT, "timed out");
	else if (r < 0 && error != EINTR)
		(void)raise_reason(error);
	else if (r > 0 || !PyErr_CheckSignals())
		return 0;
	return -1;
}

/* The call has failed. 0: try again. -1: raised. */
static int io_again(struct sock *sock, const struct io *io, double deadline, int error)
{
	bool waits = sock->timeout > 0 && !(io->flags & MSG_DONTWAIT);

	if (error == EINTR)
		return PyErr_CheckSignals();
	if (error == EAGAIN && waits && !sock->closing)
		return io_poll(sock, io->events, deadline);
	(void)raise_reason(error);
	return -1;
}

/*
 * Runs a call until it succeeds, fails, or the time is over. A signal has Python's handlers run,
 * and the call goes on unless one of them raises. -1: raised.
 */
static ssize_t io_run(struct sock *sock, const struct io *io, double deadline)
{
	int own = sock->timeout < 0 ? 0 : MSG_DONTWAIT, error;
	ssize_t r;

	do {
		Py_BEGIN_ALLOW_THREADS;
		r = io->call(sock->sock, io->arg, io->flags | own);
		error = errno;
		Py_END_ALLOW_THREADS;
		if (sock->closing && r <= 0) {
			(void)raise_error(EBADF, "another thread has closed the socket");
			return -1;
		}
	} while (r < 0 && io_again(sock, io, deadline, error) == 0);
	return r;
}

static ssize_t io_once(struct sock *sock, const struct io *io)
{
	ssize_t r;

	if (!sock_enter(sock))
		return -1;
	r = io_run(sock, io, deadline_in(sock->timeout));
	(void)sock_leave(sock);
	return r;
}

/* ---- waiting -------------------------------------------------------------------------------- */

struct polling {
	struct msg_pollfd fd;
	double deadline;
};

static ssize_t call_poll(struct msg_sock *sock, void *arg, int flags)
{
	struct polling *polling = arg;

	return msg_poll(&polling->fd, 1, to_ms(seconds_left(polling->deadline)));
}

PyObject *sock_poll(PyObject *object, PyObject *args)
{
	struct sock *sock = (struct sock *)object;
	struct polling polling = {0};
	struct io io = {.call = call_poll, .arg = &polling};
	double timeout = 0;

	if (!PyArg_ParseTuple(args, "h|O&:poll", &polling.fd.events, to_timeout, &timeout))
		return NULL;
	polling.fd.sock = sock->sock;
	polling.deadline = deadline_in(timeout);
	return io_once(sock, &io) < 0 ? NULL : PyLong_FromLong(polling.fd.revents);
}

/* ---- accepting, ending ---------------------------------------------------------------------- */

/* An accept has no flag by which it does not wait: settimeout has set the listener's options. */
static ssize_t call_accept(struct msg_sock *sock, void *arg, int flags)
{
	struct msg_sock **ret_sock = arg;

	*ret_sock = msg_accept(sock, 0);
	return *ret_sock ? 1 : -1;
}

PyObject *sock_accept(PyObject *object, PyObject *class)
{
	struct sock *listener = (struct sock *)object;
	struct msg_sock *accepted = NULL;
	struct io io = {.call = call_accept, .arg = &accepted, .events = POLLIN};

	if (!PyType_Check(class)) {
		PyErr_SetString(PyExc_TypeError, "not a class");
		return NULL;
	}
	if (io_once(listener, &io) < 0)
		return NULL;
	return sock_wrap((PyTypeObject *)class, listener->context, accepted, listener->type);
}

static ssize_t call_shutdown(struct msg_sock *sock, void *arg, int flags)
{
	return msg_shutdown(sock, *(int *)arg);
}

static ssize_t call_flush(struct msg_sock *sock, void *arg, int flags)
{
	return msg_flush(sock);
}

static PyObject *none_after(PyObject *object, const struct io *io)
{
	if (io_once((struct sock *)object, io) < 0)
		return NULL;
	Py_RETURN_NONE;
}

PyObject *sock_shutdown(PyObject *object, PyObject *argument)
{
	int how = (int)PyLong_AsLong(argument);

	if (how == -1 && PyErr_Occurred())
		return NULL;
	return none_after(object, &(struct io){.call = call_shutdown, .arg = &how});
}

PyObject *sock_flush(PyObject *object, PyObject *Py_UNUSED(args))
{
	return none_after(object, &(struct io){.call = call_flush});
}

/* ---- sending -------------------------------------------------------------------------------- */

struct bytes {
	char *data;
	size_t len;
};

static ssize_t call_send(struct msg_sock *sock, void *arg, int flags)
{
	const struct bytes *bytes = arg;

	return msg_send(sock, bytes->data, bytes->len, flags);
}

/* One send, or, of a stream, sends until all is out. -1: raised. */
static ssize_t send_bytes(struct sock *sock, struct bytes bytes, int flags, bool all)
{
	struct io io = {.call = call_send, .arg = &bytes, .flags = flags, .events = POLLOUT};
	double deadline;
	ssize_t r, done = 0;

	if (!sock_enter(sock))
		return -1;
	deadline = deadline_in(sock->timeout);
	do {
		r = io_run(sock, &io, deadline);
		if (r < 0)
			break;
		done += r;
		bytes = (struct bytes){bytes.data + r, bytes.len - (size_t)r};
		if (bytes.len && all && PyErr_CheckSignals())
			r = -1;
	} while (r >= 0 && bytes.len && all);
	(void)sock_leave(sock);
	return r < 0 ? -1 : done;
}

static PyObject *send_object(PyObject *object, PyObject *args, PyObject *keywords, bool all)
{
	static char *names[] = {"data", "flags", NULL};
	Py_buffer data;
	int flags = 0;
	ssize_t r;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "y*|i:send", names, &data, &flags))
		return NULL;
	r = send_bytes(
		(struct sock *)object, (struct bytes){data.buf, (size_t)data.len}, flags, all);
	PyBuffer_Release(&data);
	if (r < 0)
		return NULL;
	if (all)
		Py_RETURN_NONE;
	return PyLong_FromSsize_t(r);
}

PyObject *sock_send(PyObject *object, PyObject *args, PyObject *keywords)
{
	return send_object(object, args, keywords, false);
}

PyObject *sock_sendall(PyObject *object, PyObject *args, PyObject *keywords)
{
	return send_object(object, args, keywords, true);
}

/* The buffers of a sequence. */
struct pieces {
	Py_ssize_t n;
	Py_buffer *buffers; /* owned, the first n of them filled */
	struct iovec *iov;  /* owned */
};

static void pieces_free(struct pieces *pieces)
{
	for (Py_ssize_t i = 0; i < pieces->n; i++)
		PyBuffer_Release(&pieces->buffers[i]);
	PyMem_Free(pieces->buffers);
	PyMem_Free(pieces->iov);
}

/* -1: raised; what was taken is to be freed. */
static int pieces_take(struct pieces *pieces, PyObject *sequence)
{
	Py_ssize_t n = PySequence_Fast_GET_SIZE(sequence);

	*pieces = (struct pieces){.buffers = PyMem_New(Py_buffer, (size_t)n),
		.iov = PyMem_New(struct iovec, (size_t)n)};
	if (!pieces->buffers || !pieces->iov) {
		(void)PyErr_NoMemory();
		return -1;
	}
	for (; pieces->n < n; pieces->n++) {
		Py_buffer *buffer = &pieces->buffers[pieces->n];

		if (PyObject_GetBuffer(PySequence_Fast_GET_ITEM(sequence, pieces->n), buffer,
			    PyBUF_SIMPLE) < 0)
			return -1;
		pieces->iov[pieces->n] =
			(struct iovec){.iov_base = buffer->buf, .iov_len = (size_t)buffer->len};
	}
	return 0;
}

static ssize_t call_sendmsg(struct msg_sock *sock, void *arg, int flags)
{
	return msg_sendmsg(sock, arg, flags);
}

static ssize_t send_pieces(struct sock *sock, PyObject *sequence, int flags)
{
	struct msghdr message = {0};
	struct io io = {.call = call_sendmsg, .arg = &message, .flags = flags, .events = POLLOUT};
	struct pieces pieces;
	ssize_t r = pieces_take(&pieces, sequence);

	message.msg_iov = pieces.iov;
	message.msg_iovlen = (size_t)pieces.n;
	if (r == 0)
		r = io_once(sock, &io);
	pieces_free(&pieces);
	return r;
}

PyObject *sock_sendmsg(PyObject *object, PyObject *args, PyObject *keywords)
{
	static char *names[] = {"buffers", "ancdata", "flags", NULL};
	PyObject *buffers, *ancillary = NULL, *sequence;
	int flags = 0;
	ssize_t r;

	if (!PyArg_ParseTupleAndKeywords(
		    args, keywords, "O|Oi:sendmsg", names, &buffers, &ancillary, &flags))
		return NULL;
	if (ancillary && PyObject_IsTrue(ancillary))
		return raise_error(EINVAL, "domains share no descriptors: no ancillary data");
	sequence = PySequence_Fast(buffers, "buffers must be iterable");
	if (!sequence)
		return NULL;
	r = send_pieces((struct sock *)object, sequence, flags);
	Py_DECREF(sequence);
	return r < 0 ? NULL : PyLong_FromSsize_t(r);
}

/* ---- receiving ------------------------------------------------------------------------------ */

static ssize_t call_recv(struct msg_sock *sock, void *arg, int flags)
{
	const struct bytes *bytes = arg;

	return msg_recv(sock, bytes->data, bytes->len, flags);
}

PyObject *sock_recv_into(PyObject *object, PyObject *args, PyObject *keywords)
{
	static char *names[] = {"buffer", "nbytes", "flags", NULL};
	struct bytes bytes;
	struct io io = {.call = call_recv, .arg = &bytes, .events = POLLIN};
	Py_ssize_t n = 0;
	Py_buffer buffer;
	ssize_t r = -1;

	if (!PyArg_ParseTupleAndKeywords(
		    args, keywords, "w*|ni:recv_into", names, &buffer, &n, &io.flags))
		return NULL;
	bytes = (struct bytes){buffer.buf, (size_t)(n ? n : buffer.len)};
	if (n < 0 || n > buffer.len)
		PyErr_SetString(PyExc_ValueError, "nbytes is negative, or more than the buffer");
	else
		r = io_once((struct sock *)object, &io);
	PyBuffer_Release(&buffer);
	return r < 0 ? NULL : PyLong_FromSsize_t(r);
}

static ssize_t call_recvmsg(struct msg_sock *sock, void *arg, int flags)
{
	return msg_recvmsg(sock, arg, flags);
}

/* A bytes object, and the message's flags. NULL: raised. */
static PyObject *recv_bytes(struct sock *sock, Py_ssize_t size, int flags, int *ret_flags)
{
	struct iovec iov = {.iov_len = (size_t)size};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	struct io io = {.call = call_recvmsg, .arg = &message, .flags = flags, .events = POLLIN};
	PyObject *data;
	ssize_t r;

	if (size < 0) {
		PyErr_SetString(PyExc_ValueError, "a negative number of bytes");
		return NULL;
	}
	data = PyBytes_FromStringAndSize(NULL, size);
	if (!data)
		return NULL;
	iov.iov_base = PyBytes_AS_STRING(data);
	r = io_once(sock, &io);
	*ret_flags = message.msg_flags;
	if (r < 0)
		Py_CLEAR(data);
	else if (r < size) /* with MSG_TRUNC it may be more */
		(void)_PyBytes_Resize(&data, r);
	return data;
}

PyObject *sock_recvmsg(PyObject *object, PyObject *args, PyObject *keywords)
{
	static char *names[] = {"bufsize", "ancbufsize", "flags", NULL};
	Py_ssize_t size, ancillary = 0;
	int flags = 0, got_flags = 0;
	PyObject *data;

	if (!PyArg_ParseTupleAndKeywords(
		    args, keywords, "n|ni:recvmsg", names, &size, &ancillary, &flags))
		return NULL;
	data = recv_bytes((struct sock *)object, size, flags, &got_flags);
	return data ? Py_BuildValue("(N[]iO)", data, got_flags, Py_None) : NULL;
}

struct taken {
	const void *data;
	struct msg_buf *buf;
};

static ssize_t call_take(struct msg_sock *sock, void *arg, int flags)
{
	struct taken *taken = arg;

	return msg_recv_take(sock, flags, &taken->data, &taken->buf);
}

PyObject *sock_take(PyObject *object, PyObject *Py_UNUSED(args))
{
	struct taken taken = {0};
	struct io io = {.call = call_take, .arg = &taken, .events = POLLIN};
	ssize_t r = io_once((struct sock *)object, &io);
	PyObject *data;

	if (r < 0)
		return NULL;
	if (!taken.buf)
		Py_RETURN_NONE;
	data = PyBytes_FromStringAndSize(taken.data, r);
	msg_buf_free(taken.buf);
	return data;
}

static PyObject *take_or_empty(PyObject *object)
{
	PyObject *data = sock_take(object, NULL);

	if (data != Py_None)
		return data;
	Py_DECREF(data);
	return PyBytes_FromStringAndSize(NULL, 0);
}

PyObject *sock_recv(PyObject *object, PyObject *args, PyObject *keywords)
{
	static char *names[] = {"bufsize", "flags", NULL};
	PyObject *size = Py_None;
	int flags = 0, got_flags;
	Py_ssize_t n;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "|Oi:recv", names, &size, &flags))
		return NULL;
	if (size == Py_None && flags == 0)
		return take_or_empty(object);
	n = PyNumber_AsSsize_t(size, PyExc_OverflowError);
	if (n == -1 && PyErr_Occurred())
		return NULL;
	return recv_bytes((struct sock *)object, n, flags, &got_flags);
}
