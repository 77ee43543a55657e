/* SPDX-License-Identifier: GPL-2.0-only */
/* Differences between the kernels that the driver builds for, 5.18 and later; see Kbuild. */
#ifndef XEN_ARGO_COMPAT_H
#define XEN_ARGO_COMPAT_H

#include <linux/mm.h>

static inline void argo_vm_flags_clear(struct vm_area_struct *vma, unsigned long flags)
{
#ifdef HAVE_VM_FLAGS_CLEAR
	vm_flags_clear(vma, flags);
#else
	vma->vm_flags &= ~flags;
#endif
}

#endif /* XEN_ARGO_COMPAT_H */
