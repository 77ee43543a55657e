/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The module libmsg._libmsg: its constants, and how errors and times pass between C and Python. */
#include "bindings/python/binding.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <time.h>

/* ---- errors --------------------------------------------------------------------------------- */

PyObject *raise_error(int error, const char *reason)
{
	/* OSError itself picks the subclass: ConnectionResetError and so on. */
	PyObject *exception = PyObject_CallFunction(PyExc_OSError, "is", error, reason);

	if (exception) {
		PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
		Py_DECREF(exception);
	}
	return NULL;
}

PyObject *raise_reason(int error)
{
	return raise_error(error, msg_reason());
}

/* ---- times ---------------------------------------------------------------------------------- */

static double now(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int to_timeout(PyObject *object, void *ret_seconds)
{
	double seconds = -1;

	if (object != Py_None) {
		seconds = PyFloat_AsDouble(object);
		if (PyErr_Occurred())
			return 0;
		if (isnan(seconds) || seconds < 0) {
			PyErr_SetString(PyExc_ValueError, "a time limit is None, or not negative");
			return 0;
		}
	}
	*(double *)ret_seconds = seconds;
	return 1;
}

int to_ms(double seconds)
{
	if (seconds < 0)
		return -1;
	return seconds >= INT32_MAX / 1000 ? INT32_MAX : (int)ceil(seconds * 1000);
}

double deadline_in(double seconds)
{
	return seconds < 0 ? -1 : now() + seconds;
}

double seconds_left(double deadline)
{
	return deadline < 0 ? -1 : fmax(deadline - now(), 0);
}

/* ---- the module ----------------------------------------------------------------------------- */

static const struct {
	const char *name;
	long value;
} constants[] = {
	{"SEQPACKET", LIBMSG_SEQPACKET},
	{"STREAM", LIBMSG_STREAM},
	{"DGRAM", LIBMSG_DGRAM},
	{"NONBLOCK", LIBMSG_NONBLOCK},
	{"WAIT_NAME", LIBMSG_WAIT_NAME},
	{"LINGER", LIBMSG_LINGER},
	{"RCVBUF", LIBMSG_RCVBUF},
	{"SNDBUF", LIBMSG_SNDBUF},
	{"MAXMSG", LIBMSG_MAXMSG},
	{"CORK", LIBMSG_CORK},
	{"SPIN", LIBMSG_SPIN},
	{"TRANSPORT", LIBMSG_TRANSPORT},
	{"ERROR", LIBMSG_ERROR},
	{"TYPE", LIBMSG_TYPE},
	{"DROPS", LIBMSG_DROPS},
	{"DROP_OLDEST", LIBMSG_DROP_OLDEST},
	{"EVENTS", LIBMSG_EVENTS},
	{"TRANSPORT_ANY", LIBMSG_TRANSPORT_ANY},
	{"TRANSPORT_ARGO", LIBMSG_TRANSPORT_ARGO},
	{"TRANSPORT_ARGO_STRICT", LIBMSG_TRANSPORT_ARGO_STRICT},
	{"TRANSPORT_GRANT", LIBMSG_TRANSPORT_GRANT},
	{"POLLIN", POLLIN},
	{"POLLOUT", POLLOUT},
	{"POLLHUP", POLLHUP},
	{"POLLERR", POLLERR},
	{"POLLRDHUP", POLLRDHUP},
	{"MSG_DONTWAIT", MSG_DONTWAIT},
	{"MSG_EOR", MSG_EOR},
	{"MSG_MORE", MSG_MORE},
	{"MSG_PEEK", MSG_PEEK},
	{"MSG_TRUNC", MSG_TRUNC},
	{"MSG_WAITALL", MSG_WAITALL},
	{"SHUT_RD", SHUT_RD},
	{"SHUT_WR", SHUT_WR},
	{"SHUT_RDWR", SHUT_RDWR},
};

static PyObject *version(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args))
{
	return PyUnicode_FromString(msg_version());
}

static PyMethodDef functions[] = {
	{"version", version, METH_NOARGS, "The version of the library that runs."},
	{0},
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "libmsg._libmsg",
	.m_doc = "The calls of libmsg, for the package libmsg.",
	.m_size = -1,
	.m_methods = functions,
};

static int add_constants(PyObject *module)
{
	for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
		if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value) < 0)
			return -1;
	}
	return 0;
}

PyMODINIT_FUNC PyInit__libmsg(void);
PyMODINIT_FUNC PyInit__libmsg(void)
{
	PyObject *module = PyModule_Create(&definition);

	if (!module)
		return NULL;
	if (add_constants(module) < 0 || PyModule_AddType(module, &context_type) < 0 ||
		PyModule_AddType(module, &sock_type) < 0) {
		Py_DECREF(module);
		return NULL;
	}
	return module;
}
