/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Argo's hypercall, which the kernel's own headers do not know: number, operations, structures
 * (xen/include/public/argo.h says what they mean), and a function for each operation.
 */
#ifndef XEN_ARGO_HYPERCALL_H
#define XEN_ARGO_HYPERCALL_H

#include <linux/build_bug.h>
#include <linux/types.h>

#include <xen/interface/xen.h>

#include <asm/xen/hypercall.h>

#define ARGO_HYPERCALL		39 /* __HYPERVISOR_argo_op */
#define ARGO_VIRQ		11 /* VIRQ_ARGO */
#define ARGO_DOMID_ANY		0x7ff4

#define ARGO_OP_REGISTER	1
#define ARGO_OP_UNREGISTER	2
#define ARGO_OP_SENDV		3
#define ARGO_OP_NOTIFY		4

#define ARGO_MAX_IOV		8
#define ARGO_MAX_MESSAGE	((16U << 20) - 32)
#define ARGO_MAX_NOTIFY		256

#define ARGO_FAIL_EXIST		0x1 /* of ARGO_OP_REGISTER */

struct argo_ring_header {
	u32 rx_ptr;
	u32 tx_ptr;
	u8 reserved[56];
};

struct argo_addr {
	u32 aport;
	u16 domid;
	u16 pad;
};

struct argo_send_addr {
	struct argo_addr src;
	struct argo_addr dst;
};

struct argo_iov {
	u64 addr; /* a guest handle: 64-bit domains only */
	u32 len;
	u32 pad;
};

struct argo_register {
	u32 aport;
	u16 partner;
	u16 pad;
	u32 len;
};

struct argo_unregister {
	u32 aport;
	u16 partner;
	u16 pad;
};

struct argo_space {
	struct argo_addr ring;
	u16 flags;
	u16 pad;
	u32 space_required;
	u32 max_message_size;
};

struct argo_notify {
	u32 n;
	u32 pad;
	struct argo_space space[];
};

static_assert(sizeof(unsigned long) == 8);
static_assert(sizeof(struct argo_ring_header) == 64);
static_assert(sizeof(struct argo_iov) == 16);
static_assert(sizeof(struct argo_register) == 12);
static_assert(sizeof(struct argo_space) == 20);

/*
 * By the call that privcmd makes for user space: it is the only one that takes any number, and it
 * lets the hypervisor read user memory where the processor would not (SMAP, PAN). Some errors of
 * sendv come as 32 bits, zero-extended: only the lower half counts.
 */
static inline int argo_hypercall(unsigned int op, const void *arg1, const void *arg2,
				 unsigned long arg3, unsigned long arg4)
{
	return (int)privcmd_call(ARGO_HYPERCALL, op, (unsigned long)arg1, (unsigned long)arg2, arg3,
				 arg4);
}

static inline int argo_register_ring(const struct argo_register *reg, const u64 *gfns,
				     unsigned int n_gfns)
{
	return argo_hypercall(ARGO_OP_REGISTER, reg, gfns, n_gfns, ARGO_FAIL_EXIST);
}

static inline int argo_unregister_ring(const struct argo_unregister *unreg)
{
	return argo_hypercall(ARGO_OP_UNREGISTER, unreg, NULL, 0, 0);
}

static inline int argo_sendv(const struct argo_send_addr *addr, const struct argo_iov *iov,
			     unsigned int n_iov, u32 message_type)
{
	return argo_hypercall(ARGO_OP_SENDV, addr, iov, n_iov, message_type);
}

/* notify may be NULL: then it only tells those who wait for room in this domain's rings. */
static inline int argo_notify(struct argo_notify *notify)
{
	return argo_hypercall(ARGO_OP_NOTIFY, notify, NULL, 0, 0);
}

#endif /* XEN_ARGO_HYPERCALL_H */
