/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/xen/argo: messages between Xen domains, copied by the hypervisor.
 *
 * An open file is at most one ring. ARGODEV_REGISTER makes it: memory into which Xen copies what
 * one partner domain sends to one Argo port (aport) of ours. ARGODEV_PEER says, once, which aport
 * of the partner's this file sends to, and ARGODEV_SENDV sends there. The source of what is sent is
 * stamped: the domain by Xen, the aport, which is that of this file's ring, by the driver.
 *
 * mmap(2) with MAP_SHARED from offset 0 shows the ring as Xen's public header lays it out: rx_ptr
 * u32, tx_ptr u32, 56 bytes reserved, then the ring's bytes. Xen writes messages and then tx_ptr;
 * the reader reads tx_ptr (acquire), then messages in place, and advances rx_ptr (release). Reading
 * so takes no system call; ARGODEV_CONSUMED is needed only where senders may wait for room.
 *
 * A file that is open for reading only cannot send, and can be mapped for reading only. No mapping
 * can be executed.
 *
 * poll(2): POLLIN while rx_ptr is not tx_ptr; POLLOUT unless the last ARGODEV_SENDV ended in EAGAIN
 * and there is still no room for it; POLLHUP and POLLERR when the ring is dead; nothing before
 * ARGODEV_REGISTER, which wakes those who wait. Xen's interrupt is off while nobody waits in poll.
 * Xen has one wake-up for a domain and a ring: if several files send to one ring, they wait for the
 * longest message's room.
 *
 * Rings and their memory are limited, for the kernel and for each user. The user is the one who
 * opened the file; one with CAP_SYS_RESOURCE has the kernel's limits alone.
 *
 * A ring is dead, for good, once its domain was suspended: it is unregistered before, and not
 * registered again, since the domids that it knew may mean others. So it is where the partner
 * domain died, but that is only noticed when the same {aport, partner} is registered again; before,
 * ARGODEV_SENDV says ESRCH or ECONNREFUSED, and a sleeper in poll is not woken for it. Nor is one
 * that waits for room in a ring when the owner of that ring closes it. Rings are also ended by the
 * kernel's own end (reboot, kexec). The messages that had arrived in a dead ring can still be read.
 *
 * close(2) unregisters the ring and then frees its memory, once no mapping of it is left either.
 *
 * Errors of every call: ENOTTY for unknown requests; EFAULT for arguments that cannot be read or
 * written; EINVAL for flags that are unknown (none is known yet) and padding that is not 0.
 * ENOTCONN: there is no ring yet; ESTALE: it is dead.
 */
#ifndef _UAPI_XEN_ARGODEV_H
#define _UAPI_XEN_ARGODEV_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define ARGODEV_RING_LEN_MIN	48U
#define ARGODEV_RING_LEN_MAX	0xffffc0U
#define ARGODEV_MAX_SEGMENTS	8U

struct argodev_register {
	__u32 aport;	/* 0: a free one; on return the one that it is */
	__u32 len;	/* bytes, ARGODEV_RING_LEN_MIN to _MAX, a multiple of 16 */
	__u32 flags;	/* 0 */
	__u16 partner;	/* domid of the only domain that may send here */
	__u16 pad;
};

/*
 * Registers the ring, zeroed. EBUSY: this file has one, or is just getting it. EINVAL: len. EPERM:
 * partner is not a single domain. EACCES: Xen's security module (FLASK) refuses. ESRCH: no such
 * domain (DOMID_SELF is none). ENODEV: Argo is off for this domain, ECONNREFUSED: for the partner.
 * ENOSPC: the domain has 128 rings. EDQUOT: the user has his share of rings, or of their memory.
 * EEXIST: {aport, partner} is registered. ENOMEM: no memory, or the module's limit. EAGAIN: the
 * domain is being migrated. ESHUTDOWN: the kernel is about to end. EIO: the interrupt was lost when
 * the domain was suspended, and cannot be had again. ENOSYS, EOPNOTSUPP: the hypervisor was built,
 * or started, without Argo. EINTR: killed.
 */
#define ARGODEV_REGISTER	_IOWR('A', 0xc0, struct argodev_register)

struct argodev_peer {
	__u32 aport;
	__u32 flags;	/* 0 */
};

/*
 * Sets the aport that ARGODEV_SENDV sends to, at the partner. EISCONN: it is set already. EBADF:
 * the file is not open for writing.
 */
#define ARGODEV_PEER		_IOW('A', 0xc1, struct argodev_peer)

struct argodev_segment {
	__u64 addr;
	__u32 len;	/* bytes; empty segments are dropped */
	__u32 pad;
};

struct argodev_sendv {
	__u64 segments;		/* address of struct argodev_segment[n_segments] */
	__u32 n_segments;	/* 0 to ARGODEV_MAX_SEGMENTS */
	__u32 message_type;	/* the receiver finds it in the message's header */
	__u32 flags;		/* 0 */
	__u32 pad;
};

/*
 * Sends the segments as one message, whole or not at all, and never blocks for room; returns its
 * length. Nothing is kept: the memory is the caller's again. EBADF: the file is not open for
 * writing. ENOTCONN: ARGODEV_PEER was not called. EINVAL: more than 8 segments, or one of more than
 * 16 MiB - 32. EMSGSIZE: more than that in all, or than the partner's ring can ever have. EAGAIN:
 * not now; a wake-up is queued, and poll tells. EBUSY, ENOMEM: not now, and no wake-up will come,
 * for Xen has no place, or no memory, to queue it. ENOBUFS: the message lies in memory that Xen
 * does not read, such as another domain's, and there is none for the copy (EDQUOT: none of the
 * user's); waiting does not help, sending from other memory does. EACCES: Xen's security module
 * (FLASK) refuses. ECONNREFUSED: no such ring, or not for this domain. ESRCH: no such domain.
 * EINTR: killed.
 */
#define ARGODEV_SENDV		_IOW('A', 0xc2, struct argodev_sendv)

/*
 * Says that rx_ptr was advanced: Xen wakes those who wait for room in any ring of this domain, if
 * there is enough now. The file needs no ring, nor a live one. ENOSYS, EOPNOTSUPP, ENODEV: as
 * above.
 */
#define ARGODEV_CONSUMED	_IO('A', 0xc3)

#define ARGODEV_INFO_REGISTERED	0x1U
#define ARGODEV_INFO_PEER	0x2U
#define ARGODEV_INFO_DEAD	0x4U

struct argodev_info {
	__u32 size;	/* of this structure, as the kernel knows it */
	__u32 flags;	/* ARGODEV_INFO_*; without _REGISTERED the next four are 0 */
	__u32 aport;
	__u32 peer_aport;
	__u32 len;
	__u16 partner;
	__u16 pad;
	/* of this file */
	__u64 n_sent;		/* messages */
	__u64 n_sent_bytes;
	__u64 n_hypercalls;	/* sendv, whatever became of them */
	__u64 n_full;		/* ended in EAGAIN */
	__u64 n_bounced;	/* tried by way of a copy in the kernel */
	/* of the user who opened this file, in all of his files; and his share */
	__u64 user_pages;	/* of rings and bounces */
	__u64 user_pages_max;
	__u32 user_rings;
	__u32 user_rings_max;
	/* of the whole kernel: 0 without CAP_SYS_ADMIN */
	__u64 n_virqs;		/* interrupts for Argo */
	__u64 n_pages;		/* of all rings and bounces */
};

/*
 * Says what this file is; works without a ring and with a dead one. The structure may grow at its
 * end. The request's number has the size that the caller knows: the kernel fills in so much, with 0
 * past what it knows itself (size). At least the fields above are there: ENOTTY for less.
 */
#define ARGODEV_INFO		_IOR('A', 0xc4, struct argodev_info)

#endif /* _UAPI_XEN_ARGODEV_H */
