/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sending over xen-argo(4) (hv/xen/argo.c), where the device has no memory; a device of our own. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "hv/xen/backend.h"
#include "kmod/include/uapi/xen/argodev.h"

/* ---- the device ------------------------------------------------------------------------------ */

static int answer;	/* of SENDV: an errno, or 0 */
static const void *bad; /* memory that it does not send: it says `answer` of that alone */
static unsigned int n_sent;
static uint8_t sent[64];

static int device_send(const struct argodev_sendv *request)
{
	const struct argodev_segment *segments = (const void *)(uintptr_t)request->segments;
	uint32_t len = 0;

	for (uint32_t i = 0; i < request->n_segments; i++) {
		const void *from = (const void *)(uintptr_t)segments[i].addr;

		if (answer && (!bad || from == bad)) {
			errno = answer;
			return -1;
		}
		memcpy(sent + len, from, segments[i].len);
		len += segments[i].len;
	}
	n_sent++;
	return (int)len;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == ARGODEV_SENDV)
		return device_send(arg);
	return request == ARGODEV_REGISTER ? 0 : (int)syscall(SYS_ioctl, fd, request, arg);
}

/* Only hv/xen/argo.c opens files here. */
int open(const char *path, int flags, ...)
{
	int fd = memfd_create("argo", MFD_CLOEXEC);

	assert_string_equal(path, "/dev/xen/argo");
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 8192), 0);
	return fd;
}

/* ---- the tests ------------------------------------------------------------------------------- */

struct fixture {
	struct xen_hv h;
	struct hv_ring *ring;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->h.argo_fd = f->h.rings_fd = -1;
	f->h.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	LIST_INIT(&f->h.rings);
	assert_int_equal(op_argo_register(&f->h.hv, 5, 1, 4032, &f->ring), 0);
	answer = 0;
	bad = NULL;
	n_sent = 0;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rings_close(&f->h);
	(void)close(f->h.epoll_fd);
	free(f);
	return 0;
}

static int send_two(struct fixture *f, const char *one, const char *two)
{
	struct iovec iov[2] = {{.iov_base = (void *)one, .iov_len = strlen(one)},
		{.iov_base = (void *)two, .iov_len = strlen(two)}};

	return op_argo_sendv(&f->h.hv, f->ring, iov, 2, 7);
}

/* Sends in vain until it is told that there is no use, or n times; returns how often. */
static unsigned int send_until_end(struct fixture *f, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		int r = send_two(f, "a", "b");

		if (r != -ENOMEM) {
			assert_int_equal(r, -ENOBUFS);
			return i;
		}
	}
	return n;
}

/* Xen's lack of memory is waited for, but not for ever. */
static void test_no_memory_ends(void **state)
{
	struct fixture *f = *state;

	answer = ENOMEM;
	assert_int_equal(send_until_end(f, 1000000), 4096);
}

/* Whatever is not a lack of memory begins the count anew. */
static void test_no_memory_in_a_row(void **state)
{
	static const int others[] = {0, EAGAIN, EBUSY};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		answer = ENOMEM;
		assert_int_equal(send_until_end(f, 4000), 4000);
		answer = others[i];
		assert_int_equal(send_two(f, "a", "b"), answer ? -answer : 2);
	}
}

/* Memory that the driver would have to copy, and has no room for the copy. */
static void test_copies_itself(void **state)
{
	static const int answers[] = {ENOBUFS, EDQUOT};
	struct fixture *f = *state;
	const char *granted = "granted page";

	bad = granted;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		answer = answers[i];
		memset(sent, 0, sizeof(sent));
		assert_int_equal(send_two(f, "header of a ", granted), 24);
		assert_memory_equal(sent, "header of a granted page", 24);
	}
	assert_int_equal(n_sent, 2);
	/* Where that is refused, too, it is for good. */
	bad = NULL;
	assert_int_equal(send_two(f, "header of a ", granted), -ENOBUFS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_memory_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory_in_a_row, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copies_itself, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
