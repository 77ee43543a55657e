/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kinds of transport that there are, and what all of them do alike. */
#include "libmsg/transport/transport.h"

#include <stdlib.h>

#include "base/macro.h"

const struct transport_ops *transport_find(uint32_t kind)
{
	static const struct transport_ops *const table[] = {
		&transport_argo,
		&transport_argo_strict,
		&transport_grant,
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (table[i]->kind == kind)
			return table[i];
	}
	return NULL;
}

struct transport *transport_new(const struct transport_ops *ops, struct hv *hv, uint16_t peer_domid,
	uint8_t role, uint32_t ring_len)
{
	struct transport *transport = calloc(1, ops->size);

	if (transport)
		*transport = (struct transport){.ops = ops,
			.hv = hv,
			.peer_domid = peer_domid,
			.role = role,
			.ring_len = ring_len,
			.ring_fifth = ring_len / 5};
	return transport;
}

void transport_free(struct transport *transport)
{
	transport->ops->close(transport);
	free(transport);
}

int transport_put_bare(
	struct transport *transport, uint32_t channel, enum frame_type type, uint32_t arg)
{
	struct frame frame = {.channel = channel, .type = (uint8_t)type, .arg = arg};
	struct iov_cursor none = {0}; /* nobody takes a piece of nothing */

	return transport_put(transport, &frame, 0, &none, false);
}

void transport_give_back(struct transport *transport, bool all)
{
	if (transport->unreleased >= transport->ring_fifth || (all && transport->unreleased)) {
		transport->ops->release(transport);
		transport->untold += transport->unreleased;
		transport->unreleased = 0;
	}
	if (transport->untold >= 2 * transport->ring_fifth || (all && transport->untold)) {
		transport->untold = 0;
		transport->ops->wake_for_room(transport);
	}
}
