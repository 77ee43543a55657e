/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two objects of the Python binding, and the rules that keep them safe between threads.
 *
 * All fields are under Python's global lock (GIL). A call of libmsg that may block, or copies,
 * drops the lock; meanwhile another thread may close the same object. Therefore each such call
 * counts among the users of its object, and an object that is closed while it has users ends when
 * the last of them leaves. No thread that is inside libmsg wants the GIL, so a call with the GIL
 * held cannot hang on the library's own lock.
 *
 * Included by: bindings/python.
 */
#ifndef BINDINGS_PYTHON_BINDING_H
#define BINDINGS_PYTHON_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

#include <libmsg.h>

struct context {
	PyObject_HEAD

		struct msg_ctx *ctx; /* owned; NULL: closed */
	PyObject *socks; /* owned: the address of each msg_sock, and of its struct sock */
	unsigned users;	 /* calls that run without the GIL, and open sockets */
	bool closing;	 /* by the application, though users may be left */
};

struct sock {
	PyObject_HEAD

		struct context *context; /* ref */
	struct msg_sock *sock;		 /* owned; NULL: closed */
	unsigned users;			 /* calls that run without the GIL */
	bool closing;
	int type;
	double timeout; /* seconds; negative: for ever, 0: non-blocking */
};

extern PyTypeObject context_type, sock_type;

/* ---- module.c: errors and times ------------------------------------------------------------ */

/* OSError, or its subclass, of this errno and msg_reason(). Returns NULL. */
PyObject *raise_reason(int error);
PyObject *raise_error(int error, const char *reason);
/* Seconds, or None for ever, as a number. False: raised. An argument converter. */
int to_timeout(PyObject *object, void *ret_seconds);
/* Milliseconds, rounded up; -1: for ever. */
int to_ms(double seconds);
/* The moment that is so many seconds away; negative: never. */
double deadline_in(double seconds);
/* The seconds that are left, at least 0; negative: for ever. */
double seconds_left(double deadline);

/* ---- context.c ------------------------------------------------------------------------------ */

/* False: it is closed; raised. */
bool context_enter(struct context *context);
/* Ends a closed context if this was its last user. */
void context_leave(struct context *context);

/* ---- sock.c --------------------------------------------------------------------------------- */

/* An object of a class, which takes the socket over. NULL: raised, and the socket is closed. */
PyObject *sock_wrap(PyTypeObject *class, struct context *context, struct msg_sock *sock, int type);
bool sock_enter(struct sock *sock);
/* Returns the errno of msg_close, if this was the last user of a closed socket, or 0. */
int sock_leave(struct sock *sock);
/* Ends the calls that use it, and closes it with the last of them. As sock_leave. */
int sock_shut(struct sock *sock);

/* ---- io.c: the methods that carry data, or wait --------------------------------------------- */

PyObject *sock_poll(PyObject *object, PyObject *args);
PyObject *sock_accept(PyObject *object, PyObject *class);
PyObject *sock_shutdown(PyObject *object, PyObject *how);
PyObject *sock_flush(PyObject *object, PyObject *args);
PyObject *sock_send(PyObject *object, PyObject *args, PyObject *keywords);
PyObject *sock_sendall(PyObject *object, PyObject *args, PyObject *keywords);
PyObject *sock_sendmsg(PyObject *object, PyObject *args, PyObject *keywords);
PyObject *sock_recv(PyObject *object, PyObject *args, PyObject *keywords);
PyObject *sock_recv_into(PyObject *object, PyObject *args, PyObject *keywords);
PyObject *sock_recvmsg(PyObject *object, PyObject *args, PyObject *keywords);
/* A whole message, or what is there of a stream, as bytes; None: the end. */
PyObject *sock_take(PyObject *object, PyObject *args);

#endif
