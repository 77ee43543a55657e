/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PROTOCOL.md against the codecs: each golden block decodes to its sample and each sample encodes
 * to its block; no block lacks a sample, and every number in the limits' table is the header's.
 */
#include "tests/support/cmocka-all.h"

#include <stdbool.h>
#include <string.h>

#include "base/macro.h"
#include "proto/doorbell.h"
#include "tests/unit/proto/golden.h"
#include "tests/unit/proto/samples.h"

static void test_record(void **state)
{
	const struct golden *golden = golden_find("RECORD");
	uint8_t bytes[RECORD_SIZE];
	struct record record;

	record_encode(&record_sample, bytes);
	assert_int_equal(golden->len, RECORD_SIZE);
	assert_memory_equal(bytes, golden->bytes, RECORD_SIZE);
	assert_int_equal(record_decode(golden->bytes, golden->len, &record), 0);
	assert_memory_equal(&record, &record_sample, sizeof(record));
}

static void test_record_parked(void **state)
{
	const struct golden *golden = golden_find("RECORD_PARKED");
	uint8_t bytes[RECORD_PARKED_SIZE];
	struct record record;

	record_parked_encode(&record_sample, bytes);
	assert_int_equal(golden->len, RECORD_PARKED_SIZE);
	assert_memory_equal(bytes, golden->bytes, RECORD_PARKED_SIZE);
	assert_int_equal(record_parked_decode(golden->bytes, golden->len, &record), 0);
	assert_int_equal(record.version_min, 1);
	assert_int_equal(record.version_max, 1);
	assert_memory_equal(record.nonce, record_sample.nonce, NONCE_SIZE);
	assert_int_equal(record.port, 0);
}

static void test_link_page(void **state)
{
	const struct golden *golden = golden_find("LINK_PAGE");
	struct doorbell_head head = link_page_head(0x1122334455667788ULL, 17, 65);

	assert_int_equal(golden->len, sizeof(head));
	assert_memory_equal(&head, golden->bytes, sizeof(head));
	assert_true(doorbell_head_is(golden->bytes, &head));
	head.port++;
	assert_false(doorbell_head_is(golden->bytes, &head));
	/* The last page of the largest rings, and a number of four bytes. */
	head = link_page_head(0x1122334455667788ULL, 17, LINK_PAGE_RING + LINK_REFS_MAX - 1);
	assert_memory_equal(head.nonce, "\x88\x77\x66\x55\x44\x33\x22\x11\x01\x02\0\0\0\0\0\0", 16);
	head = link_page_head(0x1122334455667788ULL, 17, 0x01020304);
	assert_memory_equal(head.nonce + 8, "\x04\x03\x02\x01\0\0\0\0", 8);
}

static void frame_assert_equal(const struct frame *a, const struct frame *b)
{
	assert_int_equal(a->channel, b->channel);
	assert_int_equal(a->len, b->len);
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->arg, b->arg);
}

static void test_frames(void **state)
{
	for (size_t i = 0; i < n_frame_samples; i++) {
		const struct golden *golden = golden_find(frame_samples[i].name);
		uint8_t bytes[FRAME_HEADER_SIZE];
		struct frame frame;

		assert_int_equal(golden->len, FRAME_HEADER_SIZE);
		frame_encode(&frame_samples[i].frame, bytes);
		assert_memory_equal(bytes, golden->bytes, FRAME_HEADER_SIZE);
		assert_int_equal(frame_decode(golden->bytes, &frame), 0);
		frame_assert_equal(&frame, &frame_samples[i].frame);
	}
}

static void control_test_one(const struct control_sample *sample)
{
	const struct golden *golden = golden_find(sample->name);
	const uint8_t *body = golden->bytes + FRAME_HEADER_SIZE;
	uint8_t header[FRAME_HEADER_SIZE], bytes[CONTROL_MESSAGE_MAX];
	struct control_message message;
	struct frame frame;
	size_t len;

	assert_true(golden->len >= FRAME_HEADER_SIZE);
	assert_int_equal(control_frame_decode(golden->bytes, &frame), 0);
	assert_int_equal(frame.len, golden->len - FRAME_HEADER_SIZE);
	assert_int_equal(control_decode(frame.type, frame.arg, body, frame.len, &message), 0);
	assert_memory_equal(&message, &sample->message, sizeof(message));

	len = control_encode(&sample->message, bytes);
	assert_int_equal(len, frame.len);
	assert_memory_equal(bytes, body, len);
	frame_encode(&(struct frame){.len = (uint32_t)len,
			     .type = sample->message.type,
			     .arg = sample->message.request},
		header);
	assert_memory_equal(header, golden->bytes, FRAME_HEADER_SIZE);
	/* LINK_BIND_STRICT is a LINK_BIND. */
	assert_memory_equal(control_type_name(sample->message.type), sample->name,
		strlen(control_type_name(sample->message.type)));
}

static void test_control(void **state)
{
	for (size_t i = 0; i < n_control_samples; i++)
		control_test_one(&control_samples[i]);
}

/* Neither a type without golden bytes nor golden bytes without a sample. */
static void test_complete(void **state)
{
	bool seen[256] = {false};
	size_t n;

	golden_load(&n);
	assert_int_equal(n, 3 + n_frame_samples + n_control_samples);
	for (size_t i = 0; i < n_control_samples; i++)
		seen[control_samples[i].message.type] = true;
	for (unsigned type = 0; type < 256; type++)
		assert_int_equal(seen[type], strcmp(control_type_name((uint8_t)type), "?") != 0);
}

static void test_limits(void **state)
{
	static const struct {
		const char *name;
		unsigned long value;
	} limits[] = {
		{"CONTROL_MESSAGE_MAX", CONTROL_MESSAGE_MAX},
		{"CONTROL_RING_PAGES", CONTROL_RING_PAGES},
		{"FRAME_PAYLOAD_MAX", FRAME_PAYLOAD_MAX},
		{"FRAME_CHARGE", FRAME_CHARGE},
		{"MESSAGE_MAX", MESSAGE_MAX},
		{"CREDIT_INITIAL", CREDIT_INITIAL},
		{"CREDIT_GRANT_MAX", CREDIT_GRANT_MAX},
		{"FREE_FRAMES", FREE_FRAMES},
		{"FRAGMENTS_SPARE", FRAGMENTS_SPARE},
		{"CLOSES_UNANSWERED", CLOSES_UNANSWERED},
		{"CLOSES_UNANSWERED_MAX", CLOSES_UNANSWERED_MAX},
		{"BACKLOG_MAX", BACKLOG_MAX},
		{"LINK_RING_PAGES_MIN", LINK_RING_PAGES_MIN},
		{"LINK_RING_PAGES_MAX", LINK_RING_PAGES_MAX},
		{"LINK_ARGO_RING_LEN_MIN", LINK_ARGO_RING_LEN_MIN},
		{"LINK_ARGO_RING_LEN_MAX", LINK_ARGO_RING_LEN_MAX},
		{"NAME_SIZE", NAME_SIZE},
		{"DOMAIN_NAME_SIZE", DOMAIN_NAME_SIZE},
		{"ADDRESS_SIZE", ADDRESS_SIZE},
		{"COMM_SIZE", COMM_SIZE},
		{"REASON_SIZE", REASON_SIZE},
		{"DOMID_LIMIT", DOMID_LIMIT},
		{"ERROR_LIMIT", ERROR_LIMIT},
	};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		assert_int_equal(golden_limit(limits[i].name), limits[i].value);
}

/* The arithmetic by which proto/limits.h explains its defaults. */
static void test_defaults(void **state)
{
	const uint32_t frame_header = 16, page = 4096;

	/* a message of 64 KiB fits whole; a stock guest's 1024 shared pages hold fifteen links */
	assert_true(LINK_RING_PAGES_DEFAULT * page >
		    65536U / FRAME_PAYLOAD_GRANT * (FRAME_PAYLOAD_GRANT + frame_header));
	assert_int_equal(1024U / (2 + 2 * LINK_RING_PAGES_DEFAULT), 15);
	/* four links with the largest rings or thirty-one; held ones are half of a stock guest's */
	assert_int_equal(LINK_PEER_PAGES_MAX, 4 * (2 + 2 * LINK_RING_PAGES_MAX));
	assert_int_equal(LINK_PEER_PAGES_MAX / (2 + 2 * LINK_RING_PAGES_DEFAULT), 31);
	assert_in_range(LINK_HELD_MAX * (2 + 2 * LINK_RING_PAGES_DEFAULT), 500, 550);
	assert_int_equal(FRAME_PAYLOAD_GRANT, LINK_RING_PAGES_DEFAULT * page / 8);
	/* four messages of 64 KiB, and a page for headers */
	assert_int_equal(LINK_ARGO_RING_PAGES_DEFAULT, 4 * FRAME_PAYLOAD_MAX / page + 1);
	assert_int_equal(LINK_ARGO_RING_LEN(LINK_ARGO_RING_PAGES_MAX), LINK_ARGO_RING_LEN_MAX);
	assert_int_equal(LINK_ARGO_RING_PAGES_MIN, 1);
	/* a batch of 32 messages of 64 KiB, one being read, and as much not given back */
	assert_in_range(CREDIT_MAX, 2U * 33 * 65536, 4U * 33 * 65536);
	assert_true(CONTROL_PAGES == 1 + 2 * CONTROL_RING_PAGES && LINK_REFS_MAX * 4 == page / 2);
}

/* The same of limits that no wire shows: what msgd allows a domain, and what libmsg keeps to. */
static void test_own_limits(void **state)
{
	uint64_t price = 0;
	uint32_t n = 0;

	assert_int_equal(MESSAGE_MAX_DEFAULT, 1048576);
	/* so few that CREDIT never lacks a place */
	assert_int_equal(LIMIT_FRAMES, FREE_FRAMES / 8);
	assert_int_equal(LINK_CHANNELS_MAX, DOMAIN_CHANNELS_MAX);
	/* CLOSES_UNANSWERED is their quotient */
	assert_int_equal(DOMAIN_CHANNELS_MAX, 65536);
	assert_int_equal(DOMAIN_PROCESSES_MAX, 64);
	assert_int_equal(DOMAIN_NAMES_MAX, 1024);
	assert_int_equal(DOMAIN_LINKS_MAX, 256);
	assert_int_equal(DOMAIN_REQUESTS_MAX, 1024);
	assert_int_equal(ARGO_RINGS_MAX, 128);
	assert_int_equal(CLOSES_UNANSWERED_NS, 500000000);
	/* some 5,000 channels of 400 bytes; four applications' answers */
	assert_in_range(DOMAIN_BYTES_MAX / 400, 5000, 5500);
	assert_int_equal(OUTBOX_OWN_MAX, 65536);
	assert_int_equal(DOMAIN_OUTBOX_OWN_MAX, 4 * OUTBOX_OWN_MAX);
	/* the pages that a domain is believed about, and those that it may hold: as many */
	assert_int_equal(LINK_WITHDRAWN_MAX, LINK_HELD_MAX);
	/* from a few round trips to a second, which doubles seven times */
	assert_int_equal(LINK_FAILURES_FREE, 8);
	assert_int_equal(LINK_BACKOFF_FIRST_NS, 10000000);
	assert_int_equal(LINK_BACKOFF_MAX_NS, 1000000000);
	/* the price of a link doubles to one in a second; the first fifty that fail are free */
	assert_in_range(LINK_MAKE_NS << LINK_MAKE_DOUBLED_MAX, 1000000000, 1100000000);
	for (; price <= LINK_MAKE_BURST; n++)
		price += UINT64_C(1) << n / LINK_MAKE_FAILURES;
	assert_in_range(n, 50, 57);
	/* a turn and the half of it, in units of 10 ns: 75 microseconds; and 10 ms */
	assert_int_equal(TURN_COST * 3 / 2 * 10, 75000);
	assert_int_equal(TURN_COST_SAVED * 10, 10000000);
	assert_int_equal(TURN_COST_DOMAIN, TURN_COST / 10);
	/* 2,600 lines in 30 seconds; ten in a second of a domain, once it has had ten seconds' */
	assert_int_equal(LOG_BURST + 30000000000 / LOG_LINE_NS, 2600);
	assert_int_equal(LOG_BURST, 2000);
	assert_int_equal(DOMAIN_LOG_BURST, 10000000000 / DOMAIN_LOG_LINE_NS);
	assert_int_equal(DOMAIN_LOG_LINE_NS, 100000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_record_parked),
		cmocka_unit_test(test_link_page),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_control),
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_own_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
