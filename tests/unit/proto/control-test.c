/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Control messages: every truncation, every value of every byte, and each rule of section 5 broken
 * by one field alone.
 */
#include "tests/support/cmocka-all.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "tests/unit/proto/samples.h"

/* Decodes an exact-size heap copy, so that ASan sees a read past its end. */
static int decode_copy(uint8_t type, uint32_t request, const uint8_t *body, size_t len,
	struct control_message *ret_message)
{
	uint8_t *copy = malloc(len ? len : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, body, len);
	r = control_decode(type, request, copy, len, ret_message);
	free(copy);
	return r;
}

static const struct control_sample *sample_find(const char *name)
{
	for (size_t i = 0; i < n_control_samples; i++) {
		if (strcmp(control_samples[i].name, name) == 0)
			return &control_samples[i];
	}
	fail_msg("no sample %s", name);
	return NULL;
}

static void test_truncated(void **state)
{
	for (size_t i = 0; i < n_control_samples; i++) {
		const struct control_message *sample = &control_samples[i].message;
		uint8_t body[CONTROL_MESSAGE_MAX] = {};
		struct control_message message, before;
		size_t body_len = control_encode(sample, body);

		memset(&message, 0x5a, sizeof(message));
		memcpy(&before, &message, sizeof(message));
		for (size_t len = 0; len <= sizeof(body); len++) {
			if (len == body_len)
				continue;
			assert_int_equal(
				decode_copy(sample->type, sample->request, body, len, &message),
				-EBADMSG);
		}
		assert_memory_equal(&message, &before, sizeof(message));
	}
}

/* Encoding fills the message's own bytes and none behind it; the longest strings included. */
static void test_stays_inside(void **state)
{
	for (size_t i = 0; i < n_control_samples; i++) {
		uint8_t body[CONTROL_MESSAGE_MAX];
		struct control_message message = control_samples[i].message;
		size_t len;

		if (message.type == CONTROL_LISTEN)
			memset(message.listen.name, 'n', NAME_SIZE - 1);
		if (message.type == CONTROL_CONNECT)
			memset(strchr(message.connect.address, '/') + 1, 'n', NAME_SIZE - 1);
		memset(body, 0xa5, sizeof(body));
		len = control_encode(&message, body);
		for (size_t k = len; k < sizeof(body); k++)
			assert_int_equal(body[k], 0xa5);
	}
}

/* A message that decodes has one form: encoding it gives the same bytes back. */
static void test_canonical(void **state)
{
	for (size_t i = 0; i < n_control_samples; i++) {
		const struct control_message *sample = &control_samples[i].message;
		uint8_t body[CONTROL_MESSAGE_MAX], again[CONTROL_MESSAGE_MAX];
		size_t len = control_encode(sample, body);

		for (size_t c = 0; c < len * 256; c++) {
			uint8_t saved = body[c / 256];
			struct control_message message;

			body[c / 256] = (uint8_t)c;
			if (decode_copy(sample->type, sample->request, body, len, &message) == 0) {
				assert_int_equal(control_encode(&message, again), len);
				assert_memory_equal(body, again, len);
			}
			body[c / 256] = saved;
		}
	}
}

/* One field of a good message set to `value`: the offset is that of PROTOCOL.md's table. */
static const struct {
	const char *name;
	size_t offset, size;
	uint64_t value;
	int result;
} field_cases[] = {
	{"HELLO", 0, 4, 0, -EBADMSG},
	{"HELLO", 4, 2, 0, -EBADMSG},
	{"HELLO", 4, 2, 2, -EBADMSG}, /* min over max */
	{"HELLO", 6, 2, 0, -EBADMSG},
	{"HELLO", 6, 2, 9, 0},
	{"HELLO", 8, 8, UINT64_MAX, 0}, /* features of later versions */
	{"HELLO", 20, 1, 0, -EBADMSG},	/* bytes after the NUL */
	{"HELLO", 20, 1, 0x1b, -EBADMSG},
	{"HELLO", 21, 1, 0x80, -EBADMSG},
	{"HELLO", 35, 1, 'x', -EBADMSG},
	{"HELLO", 36, 4, 2, -EBADMSG},
	{"LISTEN", 0, 4, 0, -EBADMSG},
	{"LISTEN", 4, 4, 0, -EBADMSG},
	{"LISTEN", 4, 4, 2, 0},
	{"LISTEN", 4, 4, 3, 0},
	{"LISTEN", 4, 4, 4, -EBADMSG},
	{"LISTEN", 8, 4, 0, -EBADMSG},
	{"LISTEN", 8, 4, BACKLOG_MAX, 0},
	{"LISTEN", 8, 4, BACKLOG_MAX + 1, -EBADMSG},
	{"LISTEN", 12, 4, 0, -EBADMSG},	  /* no name */
	{"LISTEN", 12, 1, '.', -EBADMSG}, /* no name */
	{"LISTEN", 14, 1, '/', -EBADMSG},
	{"LISTEN", 75, 1, 'x', -EBADMSG},
	{"UNLISTEN", 0, 4, 0, -EBADMSG},
	{"CONNECT", 0, 4, 0, -EBADMSG},
	{"CONNECT", 0, 4, 4, -EBADMSG},
	{"CONNECT", 0, 4, 3, 0},
	{"CONNECT", 4, 4, 2, -EBADMSG},
	{"CONNECT", 8, 4, TRANSPORT_ANY, 0},
	{"CONNECT", 8, 4, TRANSPORT_LIMIT, -EBADMSG},
	{"CONNECT", 12, 1, '/', -EBADMSG}, /* no domain before the slash */
	{"CONNECT", 12, 1, 0, -EBADMSG},
	{"CONNECT", 203, 1, 'x', -EBADMSG},
	{"ACCEPTED", 0, 4, 0, 0},
	{"ACCEPTED", 4, 4, 0, -EBADMSG},
	{"CHANNEL_CLOSED", 4, 4, 0, -EBADMSG},
	{"LINK_OFFER", 4, 4, 0, -EBADMSG},
	{"LINK_FAILED", 4, 4, 0, -EBADMSG},
	{"LINK_FAILED", 4, 4, ERROR_LIMIT, -EBADMSG},
	{"LINK_FAILED", 8, 1, '\n', -EBADMSG},
	{"LINK_FAILED", 135, 1, 'x', -EBADMSG},
	{"ANNOUNCE_LINK", 4, 2, DOMID_LIMIT - 1, 0},
	{"ANNOUNCE_LINK", 4, 2, DOMID_LIMIT, -EBADMSG},
	{"ANNOUNCE_LINK", 6, 2, 0x100, -EBADMSG},
	{"ANNOUNCE_LINK", 16, 4, TRANSPORT_ANY, -EBADMSG},
	{"ANNOUNCE_LINK", 16, 4, TRANSPORT_LIMIT, -EBADMSG},
	{"ANNOUNCE_LINK", 20, 4, 2, -EBADMSG},
	{"ANNOUNCE_LINK", 24, 4, 2, -EBADMSG},
	{"ANNOUNCE_CHANNEL", 4, 4, 0, -EBADMSG},
	{"ANNOUNCE_CHANNEL", 8, 4, 0, -EBADMSG},
	{"ANNOUNCE_CHANNEL", 8, 4, CHANNEL_TYPE_LIMIT, -EBADMSG},
	{"ANNOUNCE_CHANNEL", 12, 4, 0, -EBADMSG}, /* accepted by no listener */
	{"ANNOUNCE_CHANNEL", 12, 8, 0, 0},	  /* a connecting end */
	{"ANNOUNCE_CHANNEL", 16, 4, 2, -EBADMSG},
	{"ANNOUNCE_CHANNEL", 20, 1, '-', -EBADMSG},
	{"WATCH", 0, 4, 0, -EBADMSG},
	{"WATCH", 4, 1, '*', 0},
	{"WATCH", 4, 1, '/', -EBADMSG}, /* no domain before the slash */
	{"WATCH", 9, 1, '-', -EBADMSG}, /* no name begins so */
	{"WATCH", 9, 1, '*', 0},
	{"WATCH", 10, 1, '[', -EBADMSG}, /* there are no sets */
	{"WATCH", 195, 1, 'x', -EBADMSG},
	{"UNWATCH", 0, 4, 0, -EBADMSG},
	{"NAME", 0, 4, 0, -EBADMSG},
	{"NAME", 4, 4, 0, 0},
	{"NAME", 4, 4, 2, -EBADMSG},
	{"NAME", 8, 1, '*', 0}, /* a domain may be called so */
	{"NAME", 13, 1, '*', -EBADMSG},
	{"NAME", 199, 1, 'x', -EBADMSG},
	{"NAMES_DONE", 0, 4, 0, -EBADMSG},
	{"NAMES_DONE", 4, 4, 0, 0},
	{"NAMES_DONE", 4, 4, ERROR_LIMIT, -EBADMSG},
	{"NAMES_DONE", 8, 1, '\n', -EBADMSG},
	{"TERMS", 4, 4, 0, -EBADMSG},
	{"TERMS", 8, 4, TERMS_BOTH, 0},
	{"TERMS", 8, 4, TERMS_DIRECTION_LIMIT, -EBADMSG},
	{"TERMS", 12, 4, CREDIT_INITIAL - 1, -EBADMSG},
	{"TERMS", 12, 4, CREDIT_INITIAL, 0},
	{"TERMS", 12, 4, MESSAGE_MAX + 1, -EBADMSG},
	{"ANNOUNCE_TERMS", 4, 4, 0, -EBADMSG},
	{"CHANNEL_DONE", 4, 4, 0, -EBADMSG},
	{"CHANNEL_COUNTS", 4, 4, 0, -EBADMSG},
	{"LINK_COUNTS", 4, 4, 1, -EBADMSG},
	{"CAPTURE", 4, 4, 0, -EBADMSG},
	{"CAPTURE", 8, 4, 8, -EBADMSG},
	{"CAPTURE", 8, 4, 5, -EBADMSG}, /* agreed to what is not wanted */
	{"CAPTURE", 8, 4, 3, -EBADMSG}, /* a length of what is not agreed to */
	{"CAPTURE", 12, 4, CAPTURE_SNAPLEN_MAX, 0},
	{"CAPTURE", 12, 4, CAPTURE_SNAPLEN_MAX + 1, -EBADMSG},
	{"CAPTURING", 4, 4, 0, -EBADMSG},
	{"CAPTURING", 8, 4, 2, -EBADMSG},
	{"CAPTURED", 4, 4, 0, -EBADMSG},
	{"CAPTURED", 28, 4, FRAME_PAYLOAD_MAX + 1, -EBADMSG},
	{"CAPTURED", 32, 4, 6, -EBADMSG}, /* no length of such a frame */
	{"CAPTURED", 36, 1, 0, -EBADMSG},
	{"CAPTURED", 36, 1, FRAME_CREDIT, -EBADMSG}, /* it has no payload */
	{"CAPTURED", 37, 1, 4, -EBADMSG},
	{"CAPTURED", 38, 1, 2, -EBADMSG},
	{"CAPTURED", 39, 1, 1, -EBADMSG},
	{"CAPTURED", 40, 4, 6, -EBADMSG}, /* more than the frame has */
	{"CAPTURED_BYTES", 0, 4, 0, -EBADMSG},
	{"CAPTURED_BYTES", 0, 4, 4, -EBADMSG}, /* a byte behind those that count */
	{"CAPTURED_BYTES", 0, 4, CAPTURE_PIECE + 1, -EBADMSG},
	{"CAPTURE_LOST", 0, 4, 0, -EBADMSG},
	{"AHEAD", 4, 4, 0, -EBADMSG},
	{"AHEAD", 8, 4, 0, -EBADMSG},
	{"AHEAD", 8, 4, UINT32_MAX - 7, 0}, /* the last number is the highest */
	{"AHEAD", 8, 4, UINT32_MAX - 6, -EBADMSG},
	{"AHEAD", 12, 4, 0, -EBADMSG},
	{"AHEAD", 12, 4, AHEAD_MAX, 0},
	{"AHEAD", 12, 4, AHEAD_MAX + 1, -EBADMSG},
	{"AHEAD_END", 4, 4, 0, -EBADMSG},
	{"AHEAD_REST", 4, 4, 0, -EBADMSG},
	{"AHEAD_GONE", 4, 4, 0, -EBADMSG},
	{"ANSWER", 0, 4, 0, 0},
	{"ANSWER", 4, 4, 1, -EBADMSG},
	{"ASK", 0, 4, 0, -EBADMSG},
	{"ASK", 4, 4, ASK_COUNTS + 1, -EBADMSG},
	{"ANNOUNCE_TERMS", 12, 4, 1, -EBADMSG},
	{"WELCOME", 0, 4, 0, -EBADMSG},
	{"WELCOME", 4, 2, 0, -EBADMSG},
	{"WELCOME", 6, 2, DOMID_LIMIT, -EBADMSG},
	{"STATUS", 0, 4, 0, 0},
	{"STATUS", 0, 4, ERROR_LIMIT, -EBADMSG},
	{"STATUS", 4, 1, 0x9b, -EBADMSG},
	{"STATUS", 131, 1, 'x', -EBADMSG},
	{"CONNECTED", 4, 4, 0, -EBADMSG},
	{"CONNECTED", 8, 4, TRANSPORT_ANY, -EBADMSG},
	{"CONNECTED", 8, 4, TRANSPORT_LIMIT, -EBADMSG},
	{"CONNECTED", 12, 2, DOMID_LIMIT, -EBADMSG},
	{"CONNECTED", 14, 2, 1, -EBADMSG},
	{"CONNECTED", 32, 8, 0, 0}, /* a domain without name */
	{"CONNECTED", 33, 1, 0x07, -EBADMSG},
	{"CONNECTED", 159, 1, 'x', -EBADMSG},
	{"CONNECTED", 160, 1, 0, -EBADMSG},
	{"LINK_CREATE", 4, 2, DOMID_LIMIT, -EBADMSG},
	{"LINK_CREATE", 6, 2, 1, -EBADMSG},
	{"LINK_CREATE", 16, 4, TRANSPORT_ANY, -EBADMSG},
	{"LINK_CREATE", 16, 4, TRANSPORT_ARGO, -EBADMSG}, /* whose rings have no pages */
	{"LINK_CREATE", 20, 4, 0, -EBADMSG},
	{"LINK_CREATE", 20, 4, 3, -EBADMSG},
	{"LINK_CREATE", 20, 4, LINK_RING_PAGES_MAX, 0},
	{"LINK_CREATE", 20, 4, LINK_RING_PAGES_MAX * 2, -EBADMSG},
	{"LINK_CREATE", 24, 4, 4096, -EBADMSG},
	{"LINK_BIND", 6, 2, 1, -EBADMSG},
	{"LINK_BIND", 16, 4, TRANSPORT_ARGO_STRICT, -EBADMSG}, /* which has no port */
	{"LINK_BIND_STRICT", 16, 4, TRANSPORT_ARGO, -EBADMSG}, /* which has one */
	{"LINK_BIND_STRICT", 28, 4, 17, -EBADMSG},
	{"LINK_BIND_STRICT", 32, 4, 0, -EBADMSG},
	{"LINK_BIND_STRICT", 36, 4, 0x208, -EBADMSG},
	{"LINK_BIND_STRICT", 40, 4, 0x209, -EBADMSG},
	{"LINK_OFFER_STRICT", 8, 4, 0, -EBADMSG}, /* nothing at all */
	{"LINK_OFFER_STRICT", 12, 4, 0x208, -EBADMSG},
	{"LINK_OFFER_STRICT", 16, 4, 0x209, -EBADMSG},
	{"LINK_BIND", 16, 4, TRANSPORT_GRANT, -EBADMSG},
	{"LINK_BIND", 20, 4, 1, -EBADMSG},
	{"LINK_BIND", 24, 4, 0, -EBADMSG},
	{"LINK_BIND", 24, 4, LINK_ARGO_RING_LEN_MIN, 0},
	{"LINK_BIND", 24, 4, LINK_ARGO_RING_LEN_MIN - 16, -EBADMSG},
	{"LINK_BIND", 24, 4, LINK_ARGO_RING_LEN_MIN + 8, -EBADMSG},
	{"LINK_BIND", 24, 4, LINK_ARGO_RING_LEN_MAX, 0},
	{"LINK_BIND", 24, 4, LINK_ARGO_RING_LEN_MAX + 16, -EBADMSG},
	{"LINK_BIND", 28, 4, 0, -EBADMSG},
	{"LINK_BIND", 32, 4, 0, -EBADMSG},
	{"LINK_DOWN", 4, 4, 0, -EBADMSG},
	{"LINK_DOWN", 4, 4, ERROR_LIMIT, -EBADMSG},
	{"CHANNEL", 0, 4, 0, -EBADMSG},
	{"CHANNEL", 8, 4, 0, -EBADMSG},
	{"CHANNEL", 12, 4, 0, -EBADMSG},
	{"CHANNEL", 16, 4, 0, -EBADMSG},
	{"CHANNEL", 20, 2, 0xffff, -EBADMSG},
	{"CHANNEL", 22, 1, 1, -EBADMSG},
	{"CHANNEL", 168, 1, ' ', -EBADMSG},
	{"CHANNEL_GONE", 4, 4, 0, -EBADMSG},
	{"QUIESCE", 0, 1, '\n', -EBADMSG},
	{"QUIESCE", 127, 1, 'x', -EBADMSG},
};

static void test_fields(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(field_cases); i++) {
		const struct control_message *sample = &sample_find(field_cases[i].name)->message;
		uint8_t body[CONTROL_MESSAGE_MAX];
		size_t len = control_encode(sample, body);
		struct control_message message;
		int r;

		assert_true(field_cases[i].offset + field_cases[i].size <= len);
		for (size_t b = 0; b < field_cases[i].size; b++)
			body[field_cases[i].offset + b] =
				(uint8_t)(field_cases[i].value >> (8 * b));
		r = decode_copy(sample->type, sample->request, body, len, &message);
		if (r != field_cases[i].result)
			fail_msg("case %zu, %s at %zu: %d", i, field_cases[i].name,
				field_cases[i].offset, r);
	}
}

/* A string that fills its field to the last byte has no NUL. */
static void test_unterminated(void **state)
{
	static const struct {
		const char *name;
		size_t offset, size;
	} strings[] = {
		{"HELLO", 20, 16},
		{"LISTEN", 12, 64},
		{"CONNECT", 12, 192},
		{"LINK_FAILED", 8, 128},
		{"ANNOUNCE_CHANNEL", 20, 64},
		{"STATUS", 4, 128},
		{"CONNECTED", 32, 128},
		{"CONNECTED", 160, 64},
		{"LINK_DOWN", 8, 128},
		{"QUIESCE", 0, 128},
		{"CHANNEL", 40, 128},
		{"CHANNEL", 168, 64},
	};

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		const struct control_message *sample = &sample_find(strings[i].name)->message;
		uint8_t body[CONTROL_MESSAGE_MAX];
		size_t len = control_encode(sample, body);
		struct control_message message;
		bool address = sample->type == CONTROL_CONNECT;

		memset(body + strings[i].offset, 'x', strings[i].size);
		assert_int_equal(
			decode_copy(sample->type, sample->request, body, len, &message), -EBADMSG);
		body[strings[i].offset + strings[i].size - 1] = '\0';
		if (address) /* a slash where the longest domain ends */
			body[strings[i].offset + DOMAIN_NAME_SIZE - 1] = '/';
		assert_int_equal(
			decode_copy(sample->type, sample->request, body, len, &message), 0);
	}
}

/* Requests and answers carry an id; what is neither carries 0; STATUS may go either way. */
static void test_request_ids(void **state)
{
	for (size_t i = 0; i < n_control_samples; i++) {
		const struct control_message *sample = &control_samples[i].message;
		uint8_t body[CONTROL_MESSAGE_MAX];
		size_t len = control_encode(sample, body);
		struct control_message message;
		int want = sample->type == CONTROL_STATUS ? 0 : -EBADMSG;

		assert_int_equal(
			decode_copy(sample->type, sample->request ? 0 : 1, body, len, &message),
			want);
	}
}

static void test_unknown_type(void **state)
{
	struct control_message message = {};

	assert_int_equal(control_decode(200, 99, (const uint8_t *)"x", 1, &message), -EOPNOTSUPP);
	assert_int_equal(message.type, 200);
	assert_int_equal(message.request, 99);
	assert_int_equal(control_decode(0, 1, (const uint8_t *)"", 0, &message), -EOPNOTSUPP);
	assert_int_equal(control_decode(CONTROL_EXPIRED + 1, 1, (const uint8_t *)"", 0, &message),
		-EOPNOTSUPP);
	assert_int_equal(
		control_decode(CONTROL_AHEAD_GONE + 1, 1, (const uint8_t *)"", 0, &message),
		-EOPNOTSUPP);
	assert_string_equal(control_type_name(200), "?");
	assert_string_equal(control_type_name(0), "?");
}

/* Policies, msgctl and the log name transports so. */
static void test_transport_names(void **state)
{
	assert_string_equal(transport_name(TRANSPORT_ANY), "any");
	assert_string_equal(transport_name(TRANSPORT_ARGO), "argo");
	assert_string_equal(transport_name(TRANSPORT_ARGO_STRICT), "argo-strict");
	assert_string_equal(transport_name(TRANSPORT_GRANT), "grant");
	assert_string_equal(transport_name(TRANSPORT_LIMIT), "?");
	assert_string_equal(transport_name(UINT32_MAX), "?");
}

/* The encoder makes texts fit; what follows a NUL in the struct stays here. */
static void test_texts(void **state)
{
	struct control_message status = {.type = CONTROL_STATUS, .request = 1}, message;
	uint8_t body[CONTROL_MESSAGE_MAX];
	size_t len;

	memset(status.status.reason, 'y', REASON_SIZE);
	status.status.reason[0] = '\x1b';
	status.status.reason[1] = '\xe4';
	len = control_encode(&status, body);
	assert_int_equal(control_decode(CONTROL_STATUS, 1, body, len, &message), 0);
	assert_int_equal(strlen(message.status.reason), REASON_SIZE - 1);
	assert_memory_equal(message.status.reason, "??yy", 4);

	status.status.reason[2] = '\0';
	len = control_encode(&status, body);
	assert_int_equal(control_decode(CONTROL_STATUS, 1, body, len, &message), 0);
	assert_string_equal(message.status.reason, "??");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_stays_inside),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_unterminated),
		cmocka_unit_test(test_request_ids),
		cmocka_unit_test(test_unknown_type),
		cmocka_unit_test(test_transport_names),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
