/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The requests' structures are the same for 32-bit processes, to which the driver gives no
 * treatment of their own: for tests/kmod/lint to compile, for either kind.
 */
#include <stddef.h>

#include <xen/argodev.h>

_Static_assert(sizeof(struct argodev_register) == 16, "no padding that has no name");
_Static_assert(sizeof(struct argodev_peer) == 8, "");
_Static_assert(sizeof(struct argodev_segment) == 16, "");
_Static_assert(offsetof(struct argodev_segment, len) == 8, "");
_Static_assert(sizeof(struct argodev_sendv) == 24, "");
_Static_assert(offsetof(struct argodev_sendv, n_segments) == 8, "");
_Static_assert(offsetof(struct argodev_sendv, flags) == 16, "");
_Static_assert(offsetof(struct argodev_register, flags) == 8, "");
/* It may grow; these stay where they are, and 104 is the least that a caller may know. */
_Static_assert(sizeof(struct argodev_info) >= 104, "");
_Static_assert(offsetof(struct argodev_info, n_sent) == 24, "");
_Static_assert(offsetof(struct argodev_info, user_pages) == 64, "");
_Static_assert(offsetof(struct argodev_info, n_virqs) == 88, "");
_Static_assert(offsetof(struct argodev_info, n_pages) == 96, "");
_Static_assert(ARGODEV_SENDV == 0x401841c2, "");
_Static_assert(ARGODEV_REGISTER == 0xc01041c0, "the number says the size");
_Static_assert(ARGODEV_INFO == 0x806841c4, "");
