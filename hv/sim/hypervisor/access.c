/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every address that a hypercall's caller hands over goes through here first: one that is not
 * mapped gives EFAULT, never a signal. The backend's own arguments are trusted: they are C objects
 * of this process, and a wrong one is a bug of the caller, as with any library call.
 */
#include "hv/sim/hypervisor/access.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Pages of the pool are always mapped: the fast path of untrusted callers. */
static bool in_pool(const struct xen *xen, const void *p, size_t len)
{
	size_t size = (size_t)SIM_POOL_PAGES * HV_PAGE_SIZE;
	uintptr_t offset = (uintptr_t)p - (uintptr_t)xen->pool;

	return offset < size && len <= size - offset;
}

int guest_read(struct xen *xen, void *dst, const void *src, size_t len, bool trusted)
{
	struct iovec local = {.iov_base = dst, .iov_len = len};
	struct iovec remote = {.iov_base = (void *)(uintptr_t)src, .iov_len = len};

	if (len == 0)
		return 0;
	if (trusted || in_pool(xen, src, len)) {
		memcpy(dst, src, len);
		return 0;
	}
	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)len ? 0 : -EFAULT;
}

int guest_write(struct xen *xen, void *dst, const void *src, size_t len)
{
	struct iovec local = {.iov_base = (void *)(uintptr_t)src, .iov_len = len};
	struct iovec remote = {.iov_base = dst, .iov_len = len};

	if (in_pool(xen, dst, len)) {
		memcpy(dst, src, len);
		return 0;
	}
	return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)len ? 0 : -EFAULT;
}
