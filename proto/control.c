/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The codec of control messages: PROTOCOL.md, section 5. One table describes each message's body,
 * field after field as on the wire; encoding and decoding both walk it, so that they cannot
 * disagree. Wire offsets follow from the order and are never those of the C structs.
 */
#include "proto/control.h"

#include <errno.h>

#include "base/macro.h"
#include "proto/cursor.h"

enum field_kind {
	FIELD_RESERVED, /* zeros */
	FIELD_BYTES,	/* anything */
	FIELD_UINT,	/* of `size` bytes, in [min, max] */
	/* Strings, NUL-terminated, NUL-padded: */
	FIELD_TEXT,    /* for people: printable ASCII */
	FIELD_NAME,    /* name_check */
	FIELD_ADDRESS, /* address_split */
	FIELD_PATTERN, /* pattern_split */
};

struct field {
	enum field_kind kind;
	uint16_t size;
	uint16_t offset; /* in struct control_message */
	uint64_t min, max;
};

enum request_rule {
	REQUEST_NONE, /* the id is 0 */
	REQUEST_SOME, /* a request or the answer to one: the id is not 0 */
	REQUEST_ANY,
};

struct layout {
	const char *name;
	enum request_rule request;
	const struct field *fields;
	size_t n_fields;
	bool (*check)(const struct control_message *message); /* rules about several fields */
};

#define MEMBER_SIZE(member) sizeof(((struct control_message *)NULL)->member)
#define FIELD(k, member, lo, hi)                                                                   \
	{                                                                                          \
		.kind = (k), .size = MEMBER_SIZE(member),                                          \
		.offset = offsetof(struct control_message, member), .min = (lo), .max = (hi)       \
	}
#define UINT(member, lo, hi) FIELD(FIELD_UINT, member, lo, hi)
#define U32(member)	     FIELD(FIELD_UINT, member, 0, UINT32_MAX)
#define U64(member)	     FIELD(FIELD_UINT, member, 0, UINT64_MAX)
#define ID(member)	     FIELD(FIELD_UINT, member, 1, UINT32_MAX)
#define DOMID(member)	     FIELD(FIELD_UINT, member, 0, DOMID_LIMIT - 1)
#define TYPE(member)	     FIELD(FIELD_UINT, member, CHANNEL_SEQPACKET, CHANNEL_TYPE_LIMIT - 1)
#define TRANSPORT(member)    FIELD(FIELD_UINT, member, TRANSPORT_ARGO, TRANSPORT_LIMIT - 1)
#define BYTES(member)	     FIELD(FIELD_BYTES, member, 0, 0)
#define TEXT(member)	     FIELD(FIELD_TEXT, member, 0, 0)
#define NAME(member)	     FIELD(FIELD_NAME, member, 0, 0)
#define ADDRESS(member)	     FIELD(FIELD_ADDRESS, member, 0, 0)
#define PATTERN(member)	     FIELD(FIELD_PATTERN, member, 0, 0)
#define RESERVED(n)                                                                                \
	{                                                                                          \
		.kind = FIELD_RESERVED, .size = (n)                                                \
	}
#define PEER(member) DOMID(member.domid), RESERVED(2), BYTES(member.uuid), TEXT(member.domain)

/* The fields of two messages each. */
#define TERMS                                                                                      \
	U32(terms.end), ID(terms.channel),                                                         \
		UINT(terms.direction, TERMS_BOTH, TERMS_DIRECTION_LIMIT - 1),                      \
		UINT(terms.max_buffer, 0, MESSAGE_MAX), U64(terms.max_rate)
#define CHANNEL_COUNTS                                                                             \
	U32(channel_counts.end), ID(channel_counts.channel),                                       \
		U64(channel_counts.counts.tx_messages), U64(channel_counts.counts.tx_bytes),       \
		U64(channel_counts.counts.rx_messages), U64(channel_counts.counts.rx_bytes),       \
		U64(channel_counts.counts.drops), U32(channel_counts.counts.no_credit),            \
		U32(channel_counts.counts.no_room), U32(channel_counts.counts.unread),             \
		U32(channel_counts.counts.unsent)

static bool hello_check(const struct control_message *message)
{
	return message->hello.version_min <= message->hello.version_max;
}

/* Only a listener's end has a backlog to leave. */
static bool announce_channel_check(const struct control_message *message)
{
	return message->announce_channel.listener || !message->announce_channel.accepted;
}

/*
 * A ring's size is given in the unit of its transport; the other one is 0. LINK_CREATE is the
 * beginning of LINK_BIND.
 */
static bool ring_check(const struct control_message *message)
{
	uint32_t pages = message->link_bind.ring_pages, len = message->link_bind.ring_len;

	if (message->link_bind.transport == TRANSPORT_GRANT)
		return len == 0 && pages >= LINK_RING_PAGES_MIN && pages <= LINK_RING_PAGES_MAX &&
		       !(pages & (pages - 1));
	return pages == 0 && len >= LINK_ARGO_RING_LEN_MIN && len <= LINK_ARGO_RING_LEN_MAX &&
	       !(len & 15);
}

_Static_assert(offsetof(struct control_link_create, ring_len) ==
		       offsetof(struct control_link_bind, ring_len),
	"LINK_CREATE is the beginning of LINK_BIND");

/* argo-strict shares nothing. Only its offers have no port, and they name a ring. */
static bool strict_check(uint32_t port, uint32_t aport, uint32_t doorbell_ref, uint32_t refs_ref)
{
	return port || (aport && !doorbell_ref && !refs_ref);
}

static bool link_offer_check(const struct control_message *message)
{
	const struct control_link_offer *offer = &message->link_offer;

	return strict_check(offer->port, offer->aport, offer->doorbell_ref, offer->refs_ref);
}

static bool link_bind_check(const struct control_message *message)
{
	const struct control_link_bind *bind = &message->link_bind;

	return ring_check(message) && (bind->aport == 0) == (bind->transport == TRANSPORT_GRANT) &&
	       (bind->port == 0) == (bind->transport == TRANSPORT_ARGO_STRICT) &&
	       strict_check(bind->port, bind->aport, bind->doorbell_ref, bind->refs_ref);
}

/* No end takes in less than the credit that every channel begins with. */
static bool terms_check(const struct control_message *message)
{
	uint32_t max_buffer = message->terms.max_buffer;

	return max_buffer == 0 || max_buffer >= CREDIT_INITIAL;
}

/* Each wish stands on those before it, and there is payload only with all of them. */
static bool capture_check(const struct control_message *message)
{
	uint32_t wants = message->capture.wants;

	return (wants & (wants + 1)) == 0 &&
	       (message->capture.snaplen == 0 || (wants & CAPTURE_AGREED));
}

/* A frame as a link may carry it. */
static bool captured_check(const struct control_message *message)
{
	const struct control_captured *captured = &message->captured;
	const struct frame frame = {.channel = captured->channel,
		.len = captured->len,
		.type = captured->frame_type,
		.flags = captured->flags,
		.arg = captured->arg};

	return frame_check(&frame) && captured->n_payload <= captured->len;
}

/* Bytes behind those that count are zeros. */
static bool captured_bytes_check(const struct control_message *message)
{
	const struct control_captured_bytes *piece = &message->captured_bytes;

	for (uint32_t i = piece->n; i < CAPTURE_PIECE; i++) {
		if (piece->bytes[i])
			return false;
	}
	return true;
}

/* No number is 0. */
static bool ahead_check(const struct control_message *message)
{
	return message->ahead.first <= UINT32_MAX - (message->ahead.n - 1);
}

/* A message's name, the rule for its request id, its check or NULL, and its fields in order. */
#define LAYOUT(n, r, c, ...)                                                                       \
	{                                                                                          \
		.name = (n), .request = (r), .check = (c),                                         \
		.fields = (const struct field[]){__VA_ARGS__},                                     \
		.n_fields = ARRAY_SIZE(((const struct field[]){__VA_ARGS__}))                      \
	}

static const struct layout layouts[] = {
	[CONTROL_HELLO] = LAYOUT("HELLO", REQUEST_SOME, hello_check, ID(hello.epoch),
		UINT(hello.version_min, 1, UINT16_MAX), UINT(hello.version_max, 1, UINT16_MAX),
		U64(hello.features), U32(hello.pid), TEXT(hello.comm), UINT(hello.reattach, 0, 1)),
	[CONTROL_LISTEN] = LAYOUT("LISTEN", REQUEST_SOME, NULL, ID(listen.listener),
		TYPE(listen.type), UINT(listen.backlog, 1, BACKLOG_MAX), NAME(listen.name)),
	[CONTROL_UNLISTEN] = LAYOUT("UNLISTEN", REQUEST_SOME, NULL, ID(unlisten.listener)),
	[CONTROL_CONNECT] = LAYOUT("CONNECT", REQUEST_SOME, NULL, TYPE(connect.type),
		UINT(connect.flags, 0, CONNECT_WAIT_NAME),
		UINT(connect.transport, TRANSPORT_ANY, TRANSPORT_LIMIT - 1),
		ADDRESS(connect.address)),
	[CONTROL_CANCEL] = LAYOUT("CANCEL", REQUEST_SOME, NULL),
	[CONTROL_ACCEPTED] =
		LAYOUT("ACCEPTED", REQUEST_NONE, NULL, U32(accepted.end), ID(accepted.channel)),
	[CONTROL_CHANNEL_CLOSED] = LAYOUT("CHANNEL_CLOSED", REQUEST_NONE, NULL,
		U32(channel_closed.end), ID(channel_closed.channel)),
	[CONTROL_LINK_OFFER] = LAYOUT("LINK_OFFER", REQUEST_NONE, link_offer_check,
		U32(link_offer.end), U32(link_offer.port), U32(link_offer.aport),
		U32(link_offer.doorbell_ref), U32(link_offer.refs_ref)),
	[CONTROL_LINK_READY] = LAYOUT(
		"LINK_READY", REQUEST_NONE, NULL, U32(link_ready.end), U32(link_ready.aport)),
	[CONTROL_LINK_FAILED] = LAYOUT("LINK_FAILED", REQUEST_NONE, NULL, U32(link_failed.end),
		UINT(link_failed.error, 1, ERROR_LIMIT - 1), TEXT(link_failed.reason)),
	[CONTROL_ANNOUNCE_LINK] = LAYOUT("ANNOUNCE_LINK", REQUEST_NONE, NULL,
		U32(announce_link.end), DOMID(announce_link.peer_domid), RESERVED(2),
		U64(announce_link.uid), TRANSPORT(announce_link.transport),
		UINT(announce_link.role, 0, 1), UINT(announce_link.state, 0, 1)),
	[CONTROL_ANNOUNCE_CHANNEL] = LAYOUT("ANNOUNCE_CHANNEL", REQUEST_NONE,
		announce_channel_check, U32(announce_channel.end), ID(announce_channel.channel),
		TYPE(announce_channel.type), U32(announce_channel.listener),
		UINT(announce_channel.accepted, 0, 1), NAME(announce_channel.name)),
	[CONTROL_ANNOUNCE_DONE] = LAYOUT("ANNOUNCE_DONE", REQUEST_NONE, NULL),
	[CONTROL_ANNOUNCE_TERMS] = LAYOUT("ANNOUNCE_TERMS", REQUEST_NONE, terms_check, TERMS),
	[CONTROL_SYNC] = LAYOUT("SYNC", REQUEST_SOME, NULL),
	[CONTROL_CHANNEL_DONE] = LAYOUT("CHANNEL_DONE", REQUEST_NONE, NULL, CHANNEL_COUNTS),
	[CONTROL_CHANNEL_COUNTS] = LAYOUT("CHANNEL_COUNTS", REQUEST_NONE, NULL, CHANNEL_COUNTS),
	[CONTROL_LINK_COUNTS] = LAYOUT("LINK_COUNTS", REQUEST_NONE, NULL, U32(link_counts.end),
		RESERVED(4), U64(link_counts.notifications), U64(link_counts.hypercalls)),
	[CONTROL_ANSWER] = LAYOUT("ANSWER", REQUEST_NONE, NULL, U32(answer.token), RESERVED(4),
		U64(answer.tx_messages), U64(answer.tx_bytes), U64(answer.rx_messages),
		U64(answer.rx_bytes), U64(answer.drops), U64(answer.no_credit), U64(answer.no_room),
		U64(answer.notifications), U64(answer.hypercalls)),
	[CONTROL_CAPTURING] = LAYOUT("CAPTURING", REQUEST_NONE, NULL, U32(capturing.end),
		ID(capturing.channel), UINT(capturing.agrees, 0, 1)),
	[CONTROL_CAPTURED] = LAYOUT("CAPTURED", REQUEST_NONE, captured_check, U32(captured.end),
		ID(captured.channel), U64(captured.time_ns), U64(captured.told_ns),
		U32(captured.credit), U32(captured.len), U32(captured.arg),
		UINT(captured.frame_type, FRAME_DATA, FRAME_TYPE_LIMIT - 1),
		UINT(captured.flags, 0, FRAME_FIRST | FRAME_LAST), UINT(captured.sent, 0, 1),
		RESERVED(1), UINT(captured.n_payload, 0, CAPTURE_SNAPLEN_MAX)),
	[CONTROL_CAPTURED_BYTES] = LAYOUT("CAPTURED_BYTES", REQUEST_NONE, captured_bytes_check,
		UINT(captured_bytes.n, 1, CAPTURE_PIECE), BYTES(captured_bytes.bytes)),
	[CONTROL_CAPTURE_LOST] = LAYOUT("CAPTURE_LOST", REQUEST_NONE, NULL, ID(capture_lost.n)),
	[CONTROL_AHEAD_REST] = LAYOUT("AHEAD_REST", REQUEST_NONE, NULL, U32(ahead_rest.end),
		ID(ahead_rest.first), U64(ahead_rest.rest)),
	[CONTROL_EXPIRED] = LAYOUT("EXPIRED", REQUEST_SOME, NULL),
	[CONTROL_WELCOME] = LAYOUT("WELCOME", REQUEST_SOME, NULL, ID(welcome.epoch),
		UINT(welcome.version, 1, UINT16_MAX), DOMID(welcome.domid), U64(welcome.features)),
	/* ANY: a message of an unknown type may have had no id to answer under */
	[CONTROL_STATUS] = LAYOUT("STATUS", REQUEST_ANY, NULL,
		UINT(status.error, 0, ERROR_LIMIT - 1), TEXT(status.reason)),
	[CONTROL_CONNECTED] =
		LAYOUT("CONNECTED", REQUEST_SOME, NULL, U32(connected.end), ID(connected.channel),
			TRANSPORT(connected.transport), PEER(connected.peer), NAME(connected.name)),
	[CONTROL_LINK_CREATE] = LAYOUT("LINK_CREATE", REQUEST_NONE, ring_check,
		U32(link_create.end), DOMID(link_create.peer_domid), RESERVED(2),
		U64(link_create.uid), TRANSPORT(link_create.transport), U32(link_create.ring_pages),
		U32(link_create.ring_len)),
	[CONTROL_LINK_BIND] = LAYOUT("LINK_BIND", REQUEST_NONE, link_bind_check, U32(link_bind.end),
		DOMID(link_bind.peer_domid), RESERVED(2), U64(link_bind.uid),
		TRANSPORT(link_bind.transport), U32(link_bind.ring_pages), U32(link_bind.ring_len),
		U32(link_bind.port), U32(link_bind.aport), U32(link_bind.doorbell_ref),
		U32(link_bind.refs_ref)),
	[CONTROL_LINK_UP] =
		LAYOUT("LINK_UP", REQUEST_NONE, NULL, U32(link_up.end), U32(link_up.aport)),
	[CONTROL_LINK_DOWN] = LAYOUT("LINK_DOWN", REQUEST_NONE, NULL, U32(link_down.end),
		UINT(link_down.error, 1, ERROR_LIMIT - 1), TEXT(link_down.reason)),
	[CONTROL_CHANNEL] = LAYOUT("CHANNEL", REQUEST_NONE, NULL, ID(channel.listener),
		U32(channel.end), ID(channel.channel), TYPE(channel.type),
		TRANSPORT(channel.transport), PEER(channel.peer), NAME(channel.name)),
	[CONTROL_CHANNEL_GONE] = LAYOUT("CHANNEL_GONE", REQUEST_NONE, NULL, U32(channel_gone.end),
		ID(channel_gone.channel)),
	[CONTROL_QUIESCE] = LAYOUT("QUIESCE", REQUEST_NONE, NULL, TEXT(quiesce.reason)),
	[CONTROL_WATCH] =
		LAYOUT("WATCH", REQUEST_SOME, NULL, ID(watch.watch), PATTERN(watch.pattern)),
	[CONTROL_UNWATCH] = LAYOUT("UNWATCH", REQUEST_NONE, NULL, ID(unwatch.watch)),
	[CONTROL_NAME] = LAYOUT("NAME", REQUEST_NONE, NULL, ID(name.watch), UINT(name.come, 0, 1),
		ADDRESS(name.address)),
	[CONTROL_NAMES_DONE] = LAYOUT("NAMES_DONE", REQUEST_NONE, NULL, ID(names_done.watch),
		UINT(names_done.error, 0, ERROR_LIMIT - 1), TEXT(names_done.reason)),
	[CONTROL_TERMS] = LAYOUT("TERMS", REQUEST_NONE, terms_check, TERMS),
	[CONTROL_ASK] =
		LAYOUT("ASK", REQUEST_NONE, NULL, ID(ask.token), UINT(ask.wants, 0, ASK_COUNTS)),
	[CONTROL_CAPTURE] = LAYOUT("CAPTURE", REQUEST_NONE, capture_check, U32(capture.end),
		ID(capture.channel),
		UINT(capture.wants, 0, CAPTURE_HEADERS | CAPTURE_PAYLOAD | CAPTURE_AGREED),
		UINT(capture.snaplen, 0, CAPTURE_SNAPLEN_MAX)),
	[CONTROL_AHEAD] = LAYOUT("AHEAD", REQUEST_NONE, ahead_check, U32(ahead.end),
		ID(ahead.channel), ID(ahead.first), UINT(ahead.n, 1, AHEAD_MAX)),
	[CONTROL_AHEAD_END] =
		LAYOUT("AHEAD_END", REQUEST_NONE, NULL, U32(ahead_end.end), ID(ahead_end.first)),
	[CONTROL_AHEAD_GONE] = LAYOUT("AHEAD_GONE", REQUEST_NONE, NULL, U32(ahead_gone.end),
		ID(ahead_gone.first), U64(ahead_gone.rest)),
};

static const struct layout *layout_find(uint8_t type)
{
	if (type >= ARRAY_SIZE(layouts) || !layouts[type].name)
		return NULL;
	return &layouts[type];
}

static bool request_check(enum request_rule rule, uint32_t request)
{
	return rule == REQUEST_ANY || (request != 0) == (rule == REQUEST_SOME);
}

static bool char_printable(char c)
{
	return c >= 0x20 && c <= 0x7e;
}

/* Is the string terminated, and nothing but NULs behind it? */
static bool string_padded(const char *string, size_t size)
{
	size_t len = strnlen(string, size);

	for (size_t i = len; i < size; i++) {
		if (string[i])
			return false;
	}
	return len < size;
}

static bool text_check(const char *text)
{
	for (; *text; text++) {
		if (!char_printable(*text))
			return false;
	}
	return true;
}

/* Fields are copied as they are: every machine that runs Xen is little-endian, as the wire. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "all integers of PROTOCOL.md");

/* Whether the value is of its kind. A string is terminated. */
static bool field_check(const struct field *field, const void *value)
{
	char domain[DOMAIN_NAME_SIZE], name[NAME_SIZE];
	uint64_t number = 0;

	switch (field->kind) {
	case FIELD_RESERVED:
	case FIELD_BYTES:
		return true;
	case FIELD_UINT:
		memcpy(&number, value, field->size);
		return number >= field->min && number <= field->max;
	case FIELD_TEXT:
		return text_check(value);
	case FIELD_NAME:
		return name_check(value) == 0;
	case FIELD_ADDRESS:
		return address_split(value, domain, name) == 0;
	case FIELD_PATTERN:
		return pattern_split(value, domain, name) == 0;
	}
	return false;
}

static void field_decode(
	const struct field *field, struct byte_reader *reader, struct control_message *message)
{
	void *dst = (char *)message + field->offset;

	if (field->kind == FIELD_RESERVED) {
		reader_zeros(reader, field->size);
		return;
	}
	reader_bytes(reader, dst, field->size);
	if ((field->kind >= FIELD_TEXT && !string_padded(dst, field->size)) ||
		!field_check(field, dst))
		reader->bad = true;
}

int control_decode(uint8_t type, uint32_t request, const uint8_t *body, size_t len,
	struct control_message *ret_message)
{
	const struct layout *layout = layout_find(type);
	struct byte_reader reader = {.bytes = body, .len = len};
	struct control_message message;

	memset(&message, 0, sizeof(message)); /* the union whole: callers may compare */
	message.type = type;
	message.request = request;
	if (!layout) {
		ret_message->type = type;
		ret_message->request = request;
		return -EOPNOTSUPP;
	}
	for (size_t i = 0; i < layout->n_fields; i++)
		field_decode(&layout->fields[i], &reader, &message);
	if (!reader_done(&reader) || !request_check(layout->request, request) ||
		(layout->check && !layout->check(&message)))
		return -EBADMSG;
	*ret_message = message;
	return 0;
}

static void text_encode(const char *text, uint8_t *dst, size_t size)
{
	size_t len = strnlen(text, size - 1);

	for (size_t i = 0; i < len; i++)
		dst[i] = char_printable(text[i]) ? (uint8_t)text[i] : '?';
	memset(dst + len, 0, size - len);
}

static void field_encode(const struct field *field, const struct control_message *message,
	struct byte_writer *writer)
{
	const void *src = (const char *)message + field->offset;
	uint8_t *dst = writer_take(writer, field->size);

	assert(field->kind == FIELD_TEXT || field_check(field, src));
	if (field->kind == FIELD_RESERVED)
		memset(dst, 0, field->size);
	else if (field->kind < FIELD_TEXT)
		memcpy(dst, src, field->size);
	else
		text_encode(src, dst, field->size);
}

size_t control_encode(const struct control_message *message, uint8_t ret_bytes[CONTROL_MESSAGE_MAX])
{
	const struct layout *layout = layout_find(message->type);
	struct byte_writer writer = {.bytes = ret_bytes, .size = CONTROL_MESSAGE_MAX};

	assert(layout && request_check(layout->request, message->request));
	assert(!layout->check || layout->check(message));
	for (size_t i = 0; i < layout->n_fields; i++)
		field_encode(&layout->fields[i], message, &writer);
	return writer.pos;
}

int control_frame_decode(const uint8_t bytes[FRAME_HEADER_SIZE], struct frame *ret_frame)
{
	struct frame frame;
	int r = frame_decode_raw(bytes, &frame);

	if (r < 0)
		return r;
	if (frame.channel || frame.flags || frame.len > CONTROL_MESSAGE_MAX)
		return -EBADMSG;
	*ret_frame = frame;
	return 0;
}

const char *control_type_name(uint8_t type)
{
	const struct layout *layout = layout_find(type);

	return layout ? layout->name : "?";
}

const char *transport_name(uint32_t transport)
{
	static const char *const names[TRANSPORT_LIMIT] = {
		[TRANSPORT_ANY] = "any",
		[TRANSPORT_ARGO] = "argo",
		[TRANSPORT_ARGO_STRICT] = "argo-strict",
		[TRANSPORT_GRANT] = "grant",
	};

	return transport < TRANSPORT_LIMIT ? names[transport] : "?";
}
