/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Blocks of pcapng, byte by byte as its specification has them; and packets: docs/CAPTURE.md. */
#include "tests/support/cmocka-all.h"

#include <stdlib.h>
#include <string.h>

#include "msgctl/packet.h"
#include "msgctl/pcapng.h"

static char *bytes;
static size_t len;
static FILE *out;

static int setup(void **state)
{
	out = open_memstream(&bytes, &len);
	return out ? 0 : -1;
}

static int teardown(void **state)
{
	free(bytes);
	return 0;
}

/* Digits in pairs, with blanks. */
static void assert_written(const char *hex)
{
	size_t n = 0;
	unsigned byte;

	assert_int_equal(fclose(out), 0);
	for (; *hex; hex += *hex == ' ' ? 1 : 2) {
		if (*hex == ' ')
			continue;
		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		assert_true(n < len);
		if ((uint8_t)bytes[n] != byte)
			fail_msg("byte %zu is %02x, not %02x", n, (uint8_t)bytes[n], byte);
		n++;
	}
	assert_int_equal(n, len);
}

static void test_section(void **state)
{
	pcapng_section(out, "msg");
	assert_written("0a0d0d0a 28000000 4d3c2b1a 01000000 ffffffff ffffffff"
		       "04000300 6d736700 00000000 28000000");
}

static void test_interface(void **state)
{
	pcapng_interface(out, "web", NULL, 8192);
	assert_written("01000000 28000000 93000000 00200000"
		       "02000300 77656200 09000100 09000000 00000000 28000000");
}

static void test_packet(void **state)
{
	const struct pcapng_packet packet = {.interface = 3,
		.time_ns = UINT64_C(0x1122334455667788),
		.sent = true,
		.bytes = "hello",
		.len = 5,
		.whole_len = 9,
		.n_dropped = 7,
		.comment = "x"};

	pcapng_packet(out, &packet);
	assert_written("06000000 48000000 03000000 44332211 88776655 05000000 09000000"
		       "68656c6c 6f000000 01000100 78000000 02000400 02000000"
		       "04000800 07000000 00000000 00000000 48000000");
}

static void test_packet_that_came(void **state)
{
	const struct pcapng_packet packet = {.bytes = "", .len = 0};

	pcapng_packet(out, &packet);
	assert_written("06000000 2c000000 00000000 00000000 00000000 00000000 00000000"
		       "02000400 01000000 00000000 2c000000");
}

static void test_counts(void **state)
{
	const struct pcapng_counts counts = {.interface = 1,
		.begin_ns = 1,
		.end_ns = UINT64_C(0x200000003),
		.n_packets = 4,
		.n_dropped = 5};

	pcapng_counts(out, &counts);
	assert_written("05000000 4c000000 01000000 02000000 03000000"
		       "02000800 00000000 01000000 03000800 02000000 03000000"
		       "04000800 04000000 00000000 05000800 05000000 00000000"
		       "00000000 4c000000");
}

/* Texts of any length: they come from guests. */
static void test_long_text(void **state)
{
	char text[5000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	pcapng_interface(out, text, text, 0);
	assert_int_equal(fclose(out), 0);
	assert_in_range(len, 1000, 1100);
	assert_int_equal(len % 4, 0);
	assert_memory_equal(bytes + 4, bytes + len - 4, 4);
}

static json_t *row(const char *frame, int frame_len, const char *data)
{
	json_t *json =
		json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:b, s:i, s:s, s:i, s:i, s:i, s:i}",
			"link", "1122334455667788", "name", "echo+x", "type", "stream", "transport",
			"grant", "domid", 2, "peer_domid", 258, "sent", 1, "channel", 33, "frame",
			frame, "flags", 3, "len", frame_len, "arg", frame_len, "credit", 8155);

	if (data)
		(void)json_object_set_new(json, "data", json_string(data));
	return json;
}

static void test_frame(void **state)
{
	static const uint8_t head[] = {1, 1, 2, 3, 2, 0, 2, 1, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33,
		0x22, 0x11, 0xdb, 0x1f, 0, 0, 0, 0, 0, 0, 'e', 'c', 'h', 'o', '+', 'x', 0},
			     frame[] = {33, 0, 0, 0, 5, 0, 0, 0, 1, 3, 0, 0, 5, 0, 0, 0, 'h', 'e'};
	uint8_t packet[200];
	json_t *json = row("data", 5, "6865");
	size_t whole;

	memset(packet, 0xa5, sizeof(packet));
	assert_int_equal(packet_encode(json, packet, sizeof(packet), &whole), 106);
	assert_int_equal(whole, 109);
	assert_memory_equal(packet, head, sizeof(head));
	for (size_t i = sizeof(head); i < PACKET_HEADER_SIZE; i++)
		assert_int_equal(packet[i], 0);
	assert_memory_equal(packet + PACKET_HEADER_SIZE, frame, sizeof(frame));
	assert_int_equal(packet[106], 0xa5);
	/* Of more than there is room for, what fits; of more than the frame has, that. */
	assert_int_equal(packet_encode(json, packet, 105, &whole), 105);
	assert_int_equal(packet_encode(json, packet, 103, &whole), 0);
	json_decref(json);
	json = row("data", 1, "686568");
	assert_int_equal(packet_encode(json, packet, sizeof(packet), &whole), 105);
	json_decref(json);
}

/* msgd, or another program, may say anything. */
static void test_no_frame(void **state)
{
	static const char *const frames[] = {"", "?", "credit", "data2"};
	uint8_t packet[200];
	size_t whole;

	for (size_t i = 0; i < sizeof(frames) / sizeof(*frames); i++) {
		json_t *json = row(frames[i], 5, NULL);

		assert_int_equal(packet_encode(json, packet, sizeof(packet), &whole), 0);
		json_decref(json);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_section),
		TEST(test_interface),
		TEST(test_packet),
		TEST(test_packet_that_came),
		TEST(test_counts),
		TEST(test_long_text),
		cmocka_unit_test(test_frame),
		cmocka_unit_test(test_no_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
