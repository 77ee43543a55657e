/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers that msgd has given ahead: see link.h. */
#include <stdlib.h>
#include <string.h>

#include "libmsg/link/link.h"

static void key_set(struct ahead_key *key, const struct control_connect *connect)
{
	memset(key, 0, sizeof(*key)); /* it is hashed whole */
	key->type = connect->type;
	key->transport = connect->transport;
	strcpy(key->address, connect->address); /* a checked one */
}

static struct link_ahead *ahead_new(struct link *link, struct link_ahead **slot,
	const struct control_ahead *said, enum channel_type type)
{
	struct link_ahead *ahead = calloc(1, sizeof(*ahead));

	if (!ahead)
		return NULL;
	ahead->link = link;
	ahead->slot = slot;
	ahead->first = said->first;
	ahead->left = UINT64_MAX >> (AHEAD_MAX - said->n);
	ahead->type = type;
	link_ahead_free(*slot); /* msgd gives no others before those are used, or back */
	*slot = ahead;
	link->links->n_ahead++;
	return ahead;
}

int link_ahead_give(struct link *link, const struct control_ahead *said,
	const struct control_connect *connect, const struct control_connected *connected)
{
	struct link_ahead *ahead =
		ahead_new(link, &link->given, said, (enum channel_type)connect->type);

	if (!ahead)
		return -ENOMEM;
	memcpy(ahead->name, connected->name, NAME_SIZE);
	ahead->peer = connected->peer;
	key_set(&ahead->key, connect);
	HASH_ADD(hh, link->links->given, key, sizeof(ahead->key), ahead);
	if (hash_added(&ahead->hh))
		return 0;
	link_ahead_free(ahead);
	return -ENOMEM;
}

int link_ahead_take(
	struct link *link, const struct control_ahead *said, const struct control_channel *channel)
{
	struct link_ahead *ahead =
		ahead_new(link, &link->taken, said, (enum channel_type)channel->type);

	if (!ahead)
		return -ENOMEM;
	memcpy(ahead->name, channel->name, NAME_SIZE);
	ahead->peer = channel->peer;
	ahead->listener = channel->listener;
	return 0;
}

struct link_ahead *link_ahead_find(const struct links *links, const struct control_connect *connect)
{
	struct ahead_key key;
	struct link_ahead *ahead;

	if (!links->given)
		return NULL;
	key_set(&key, connect);
	HASH_FIND(hh, links->given, &key, sizeof(key), ahead);
	return ahead && link_is_up(ahead->link) ? ahead : NULL;
}

bool link_ahead_has(const struct link_ahead *ahead, uint32_t number)
{
	uint32_t i = ahead ? number - ahead->first : AHEAD_MAX;

	return i < AHEAD_MAX && (ahead->left >> i & 1);
}

struct channel *link_ahead_use(struct link_ahead *ahead, uint32_t number)
{
	struct channel *channel =
		channel_new(&ahead->link->channels, number, ahead->type, ahead->listener != 0);

	if (!channel)
		return NULL;
	channel->ahead = true;
	channel->listener_handle = ahead->listener;
	memcpy(channel->name, ahead->name, NAME_SIZE);
	channel->peer = ahead->peer;
	link_ahead_remove(ahead, number);
	return channel;
}

void link_ahead_remove(struct link_ahead *ahead, uint32_t number)
{
	ahead->left &= ~(UINT64_C(1) << (number - ahead->first));
	if (!ahead->left)
		link_ahead_free(ahead);
}

void link_ahead_free(struct link_ahead *ahead)
{
	struct links *links;

	if (!ahead)
		return;
	links = ahead->link->links;
	if (hash_added(&ahead->hh))
		HASH_DELETE(hh, links->given, ahead);
	*ahead->slot = NULL;
	links->n_ahead--;
	free(ahead);
}
