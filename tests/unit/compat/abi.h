/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The layout of libxenvchan's structures by a header that was included before: Xen's, or ours. */
#ifndef TESTS_UNIT_COMPAT_ABI_H
#define TESTS_UNIT_COMPAT_ABI_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct layout {
	const char *what;
	size_t value;
};

/* Of the original's header and of ours. Each ends with a NULL. */
extern const struct layout layout_original[], layout_ours[];
/* The bytes of a structure in which one bit field is set. */
void bits_original(int field, unsigned char ret[256]);
void bits_ours(int field, unsigned char ret[256]);

#define FIELD(type, field)                                                                         \
	{#type "." #field, offsetof(struct type, field)},                                          \
	{                                                                                          \
		"size of " #type "." #field, sizeof(((struct type *)0)->field)                     \
	}

#define LAYOUT                                                                                     \
	{                                                                                          \
		{"libxenvchan", sizeof(struct libxenvchan)},                                       \
			{"libxenvchan_ring", sizeof(struct libxenvchan_ring)},                     \
			{"vchan_interface", sizeof(struct vchan_interface)},                       \
			FIELD(libxenvchan, gntshr), FIELD(libxenvchan, gnttab),                    \
			FIELD(libxenvchan, ring), FIELD(libxenvchan, event),                       \
			FIELD(libxenvchan, event_port), FIELD(libxenvchan, read),                  \
			FIELD(libxenvchan, write), FIELD(libxenvchan, xs_path),                    \
			FIELD(libxenvchan_ring, shr), FIELD(libxenvchan_ring, buffer),             \
			FIELD(libxenvchan_ring, order), FIELD(vchan_interface, left),              \
			FIELD(vchan_interface, right), FIELD(vchan_interface, left_order),         \
			FIELD(vchan_interface, right_order), FIELD(vchan_interface, cli_live),     \
			FIELD(vchan_interface, srv_live), FIELD(vchan_interface, cli_notify),      \
			FIELD(vchan_interface, srv_notify), FIELD(ring_shared, cons),              \
			FIELD(ring_shared, prod),                                                  \
		{                                                                                  \
			NULL, 0                                                                    \
		}                                                                                  \
	}

#define BITS(field, ret)                                                                           \
	do {                                                                                       \
		struct libxenvchan ctrl;                                                           \
                                                                                                   \
		memset(&ctrl, 0, sizeof(ctrl));                                                    \
		ctrl.is_server = (field) == 0 ? -1 : 0;                                            \
		ctrl.server_persist = (field) == 1 ? -1 : 0;                                       \
		ctrl.blocking = (field) == 2 ? -1 : 0;                                             \
		memcpy(ret, &ctrl, sizeof(ctrl));                                                  \
	} while (0)

#endif
