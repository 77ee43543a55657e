// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/xen/argo: Argo for user space. uapi/xen/argodev.h says what it does. This file has the
 * device, and the kernel's own ends: suspend, reboot, kexec.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/minmax.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/pm.h>
#include <linux/slab.h>
#include <linux/stddef.h>
#include <linux/uaccess.h>

#include <xen/xen.h>

#include "xen-argo.h"

/* Of struct argodev_info, as it was at first. */
#define INFO_SIZE_MIN offsetofend(struct argodev_info, n_pages)

/* ---- a file ---------------------------------------------------------------------------------- */

static int argo_open(struct inode *inode, struct file *filp)
{
	struct argo_file *file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);

	if (!file)
		return -ENOMEM;
	file->user = argo_user_get(filp->f_cred->uid);
	if (!file->user) {
		kfree(file);
		return -ENOMEM;
	}
	argo_wait_file(file);
	filp->private_data = file;
	return stream_open(inode, filp);
}

/* No call, no poll and no mapping is left. */
static int argo_release(struct inode *inode, struct file *filp)
{
	struct argo_file *file = filp->private_data;

	argo_wait_release(file);
	argo_ring_release(file);
	argo_user_put(file->user);
	kfree(file);
	return 0;
}

static __poll_t argo_poll(struct file *filp, poll_table *table)
{
	return argo_wait_poll(filp->private_data, filp, table);
}

static int argo_mmap(struct file *filp, struct vm_area_struct *vma)
{
	return argo_ring_mmap(filp->private_data, vma);
}

static long ioctl_register(struct argo_file *file, struct argodev_register __user *arg)
{
	struct argodev_register reg;
	int err;

	if (copy_from_user(&reg, arg, sizeof(reg)))
		return -EFAULT;
	err = argo_ring_register(file, &reg);
	if (err)
		return err;
	/* The ring is there, whether its owner can be told or not: ARGODEV_INFO says the same. */
	return put_user(reg.aport, &arg->aport);
}

static long ioctl_peer(struct argo_file *file, const struct argodev_peer __user *arg)
{
	struct argo_ring *ring = argo_ring_alive(file);
	struct argodev_peer peer;

	if (IS_ERR(ring))
		return PTR_ERR(ring);
	if (copy_from_user(&peer, arg, sizeof(peer)))
		return -EFAULT;
	if (peer.flags)
		return -EINVAL;
	return atomic64_cmpxchg(&file->peer, 0, ARGO_PEER_SET | peer.aport) ? -EISCONN : 0;
}

static long ioctl_sendv(struct argo_file *file, const struct argodev_sendv __user *arg)
{
	struct argodev_sendv sendv;

	if (copy_from_user(&sendv, arg, sizeof(sendv)))
		return -EFAULT;
	if (sendv.flags || sendv.pad)
		return -EINVAL;
	return argo_send(file, &sendv);
}

/* size: what the caller knows of the structure. */
static long ioctl_info(struct argo_file *file, struct argodev_info __user *arg, unsigned int size)
{
	struct argo_ring *ring = argo_ring_get(file);
	u64 peer = atomic64_read(&file->peer);
	unsigned int known = min_t(unsigned int, size, sizeof(struct argodev_info));
	struct argodev_info info = {
		.size = sizeof(info),
		.n_sent = atomic64_read(&file->n_sent),
		.n_sent_bytes = atomic64_read(&file->n_sent_bytes),
		.n_hypercalls = atomic64_read(&file->n_hypercalls),
		.n_full = atomic64_read(&file->n_full),
		.n_bounced = atomic64_read(&file->n_bounced),
	};

	if (capable(CAP_SYS_ADMIN))
		info.n_virqs = argo_virq_count();
	argo_limits_tell(file->user, &info);
	if (ring) {
		info.flags = ARGODEV_INFO_REGISTERED;
		if (peer & ARGO_PEER_SET)
			info.flags |= ARGODEV_INFO_PEER;
		if (READ_ONCE(ring->dead))
			info.flags |= ARGODEV_INFO_DEAD;
		info.aport = ring->aport;
		info.peer_aport = lower_32_bits(peer);
		info.len = ring->len;
		info.partner = ring->partner;
	}
	if (copy_to_user(arg, &info, known) || clear_user((u8 __user *)arg + known, size - known))
		return -EFAULT;
	return 0;
}

/* ARGODEV_INFO of any size that there was; its first is INFO_SIZE_MIN. */
static bool is_info(unsigned int request)
{
	return _IOC_TYPE(request) == _IOC_TYPE(ARGODEV_INFO) &&
	       _IOC_NR(request) == _IOC_NR(ARGODEV_INFO) && _IOC_DIR(request) == _IOC_READ &&
	       _IOC_SIZE(request) >= INFO_SIZE_MIN;
}

static long argo_ioctl(struct file *filp, unsigned int request, unsigned long arg)
{
	struct argo_file *file = filp->private_data;
	void __user *at = (void __user *)arg;

	if (is_info(request))
		return ioctl_info(file, at, _IOC_SIZE(request));
	switch (request) {
	case ARGODEV_REGISTER:
		return ioctl_register(file, at);
	case ARGODEV_PEER:
		return filp->f_mode & FMODE_WRITE ? ioctl_peer(file, at) : -EBADF;
	case ARGODEV_SENDV:
		return filp->f_mode & FMODE_WRITE ? ioctl_sendv(file, at) : -EBADF;
	case ARGODEV_CONSUMED:
		return argo_notify(NULL);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations argo_fops = {
	.owner = THIS_MODULE,
	.open = argo_open,
	.release = argo_release,
	.unlocked_ioctl = argo_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = argo_poll,
	.mmap = argo_mmap,
};

static struct miscdevice argo_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "xen/argo",
	.fops = &argo_fops,
};

/* ---- the kernel's ends ----------------------------------------------------------------------- */

/*
 * Before the domain is saved, migrated or checkpointed (drivers/xen/manage.c), processes are frozen
 * by now. Whether it will go on here or elsewhere is not known: the rings end.
 */
static int argo_freeze(struct device *dev)
{
	argo_rings_end(false);
	argo_wait_suspend();
	return 0;
}

/* It goes on, here or elsewhere, or it did not happen. ring.c tries again if this fails. */
static int argo_thaw(struct device *dev)
{
	return argo_virq_bind();
}

/* Xen must not write to the memory when the next kernel, or another domain, has it. */
static void argo_shutdown(struct platform_device *pdev)
{
	argo_rings_end(true);
}

static const struct dev_pm_ops argo_pm_ops = {
	.freeze = argo_freeze,
	.thaw = argo_thaw,
	.restore = argo_thaw,
};

static struct platform_driver argo_driver = {
	.driver = {
		.name = KBUILD_MODNAME,
		.pm = &argo_pm_ops,
		.suppress_bind_attrs = true,
	},
	.shutdown = argo_shutdown,
};

static struct platform_device *argo_platform;

static int __init argo_init(void)
{
	int err;

	/* Without Argo in the hypervisor it is loaded all the same: ARGODEV_REGISTER says so. */
	if (!xen_domain())
		return -ENODEV;
	argo_limits_init();
	err = argo_wait_init();
	if (err)
		return err;
	err = platform_driver_register(&argo_driver);
	if (err)
		goto no_driver;
	argo_platform =
		platform_device_register_simple(KBUILD_MODNAME, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(argo_platform)) {
		err = PTR_ERR(argo_platform);
		goto no_device;
	}
	err = misc_register(&argo_device);
	if (!err)
		return 0;
	platform_device_unregister(argo_platform);
no_device:
	platform_driver_unregister(&argo_driver);
no_driver:
	argo_wait_exit();
	return err;
}

/* No file is open. */
static void __exit argo_exit(void)
{
	misc_deregister(&argo_device);
	platform_device_unregister(argo_platform);
	platform_driver_unregister(&argo_driver);
	argo_wait_exit();
}

module_init(argo_init);
module_exit(argo_exit);

MODULE_DESCRIPTION("Xen Argo for user space: messages copied by the hypervisor");
MODULE_AUTHOR("The msgd authors");
MODULE_VERSION("0.1.0");
MODULE_LICENSE("GPL");
