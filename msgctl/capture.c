/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See capture.h. Frames go to standard output or into the file; all else is said on stderr. */
#include "msgctl/capture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "msgctl/admin-client.h"
#include "msgctl/complain.h"
#include "msgctl/packet.h"
#include "msgctl/pcapng.h"
#include "msgctl/show.h"
#include "proto/frame.h"

/* An interface of the file: an end of a link. */
struct interface {
	uint64_t link;
	unsigned end;
	struct pcapng_counts counts;
};

/* As the user has said. */
struct options {
	const char *path;  /* borrowed: the file; "-": standard output; NULL: no file */
	uint64_t n_frames; /* 0: any number */
	uint32_t seconds;  /* 0: for ever */
	bool payload, json;
};

struct run {
	struct options options;
	FILE *file;		      /* owned, but for stdout; NULL: none */
	struct interface *interfaces; /* owned */
	uint32_t n_interfaces;
	uint64_t n_frames, n_missed;
	uint64_t n_untold; /* of n_missed: the file does not say so yet */
	bool failed;
};

/* ---- the file -------------------------------------------------------------------------------- */

static struct interface *interface_add(struct run *run, const json_t *row, uint64_t link)
{
	struct interface *all =
		reallocarray(run->interfaces, run->n_interfaces + 1, sizeof(*run->interfaces));
	char text[100];

	if (!all)
		return NULL;
	run->interfaces = all;
	all += run->n_interfaces;
	*all = (struct interface){.link = link,
		.end = (unsigned)field_number(row, "end"),
		.counts = {.interface = run->n_interfaces,
			.begin_ns = (uint64_t)field_number(row, "time_ns")}};
	(void)snprintf(text, sizeof(text), "domain %lld, link %s to domain %lld, over %s",
		field_number(row, "domid"), field_text(row, "link"),
		field_number(row, "peer_domid"), field_text(row, "transport"));
	pcapng_interface(run->file, field_text(row, "domain"), text, PCAPNG_PACKET_MAX);
	run->n_interfaces++;
	return all;
}

/* NULL: no memory. */
static struct interface *interface_of(struct run *run, const json_t *row)
{
	uint64_t link = strtoull(field_text(row, "link"), NULL, 16);
	unsigned end = (unsigned)field_number(row, "end");

	for (uint32_t i = 0; i < run->n_interfaces; i++) {
		if (run->interfaces[i].link == link && run->interfaces[i].end == end)
			return &run->interfaces[i];
	}
	return interface_add(run, row, link);
}

/* Missed frames count for the interface of the frame that comes after it. */
static bool file_frame(struct run *run, const json_t *row)
{
	uint8_t bytes[PCAPNG_PACKET_MAX];
	char comment[80];
	struct pcapng_packet packet = {.bytes = bytes,
		.time_ns = (uint64_t)field_number(row, "time_ns"),
		.sent = field_true(row, "sent"),
		.n_dropped = run->n_untold,
		.comment = run->n_untold ? comment : NULL};
	struct interface *interface = interface_of(run, row);

	packet.len = packet_encode(row, bytes, sizeof(bytes), &packet.whole_len);
	if (!interface || !packet.len)
		return false;
	(void)snprintf(comment, sizeof(comment), "%llu frames before this one were not captured",
		(unsigned long long)run->n_untold);
	packet.interface = interface->counts.interface;
	interface->counts.n_packets++;
	interface->counts.n_dropped += run->n_untold;
	interface->counts.end_ns = packet.time_ns;
	run->n_untold = 0;
	pcapng_packet(run->file, &packet);
	return fflush(run->file) == 0;
}

static int file_open(struct run *run)
{
	const char *path = run->options.path;

	if (!path)
		return 0;
	run->file = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
	if (run->file)
		pcapng_section(run->file, "msgctl " MSGD_VERSION);
	return run->file && fflush(run->file) == 0 ? 0 : -errno;
}

static int file_close(struct run *run)
{
	int r = 0;

	for (uint32_t i = 0; run->file && i < run->n_interfaces; i++)
		pcapng_counts(run->file, &run->interfaces[i].counts);
	if (run->file && run->file != stdout)
		r = fclose(run->file);
	free(run->interfaces);
	return r == 0 && fflush(stdout) == 0 ? 0 : -errno;
}

/* ---- for people ------------------------------------------------------------------------------ */

static void data_print(const json_t *row)
{
	uint8_t bytes[PCAPNG_PACKET_MAX];
	size_t n = packet_data(row, bytes, sizeof(bytes));

	if (!json_is_string(json_object_get(row, "data")))
		return;
	(void)fputs(" \"", stdout);
	for (size_t i = 0; i < n; i++)
		(void)putchar(bytes[i] >= 0x20 && bytes[i] < 0x7f ? bytes[i] : '.');
	(void)putchar('"');
}

static void frame_print(const json_t *row)
{
	long long flags = field_number(row, "flags"), arg = field_number(row, "arg");
	long long time_ns = field_number(row, "time_ns");
	bool data = strcmp(field_text(row, "frame"), "data") == 0;

	time_print("%T", time_ns / 1000000000, 9, time_ns % 1000000000);
	text_print(field_text(row, "domain"));
	(void)printf("(%lld) %s (%lld) ", field_number(row, "domid"),
		field_true(row, "sent") ? "to" : "from", field_number(row, "peer_domid"));
	text_print(field_text(row, "name"));
	(void)printf(" %s:%lld %s", field_text(row, "link"), field_number(row, "channel"),
		field_text(row, "frame"));
	if (data)
		(void)printf("%s%s len %lld", flags & FRAME_FIRST ? " first" : "",
			flags & FRAME_LAST ? " last" : "", field_number(row, "len"));
	if (arg && (!data || arg != field_number(row, "len")))
		(void)printf(data ? " of %lld" : " %lld", arg);
	(void)printf(" credit %lld", field_number(row, "credit"));
	data_print(row);
	(void)putchar('\n');
}

/* ---- rows beside frames ---------------------------------------------------------------------- */

/* Why an end is missing, or its payload is. */
static void say_end(const json_t *row, const json_t *party, bool payload)
{
	bool silent = !field_true(party, "captured");

	if (!silent && !payload)
		return;
	(void)fprintf(stderr, "msgctl: channel %s:%lld: %s(%lld) %lld %s %s\n",
		field_text(row, "link"), field_number(row, "channel"), field_text(party, "domain"),
		field_number(party, "domid"), field_number(party, "pid"), field_text(party, "comm"),
		silent ? "tells of no frames: its libmsg is older, or it has closed"
		       : "has not agreed to show payload (LIBMSG_CAPTURE)");
}

static void say_channel(const json_t *row, bool wants_payload)
{
	const char *capture = field_text(row, "capture");
	const json_t *party;
	size_t i;

	if (!field_true(row, "headers") || (wants_payload && strcmp(capture, "payload") != 0)) {
		(void)fprintf(stderr,
			"msgctl: channel %s:%lld, %s: policy does not permit %s: "
			"capture=%s (%s)\n",
			field_text(row, "link"), field_number(row, "channel"),
			field_text(row, "name"),
			field_true(row, "headers") ? "payload" : "captures", capture,
			field_text(row, "rule"));
		return;
	}
	json_array_foreach(json_object_get(row, "ends"), i, party)
		say_end(row, party, wants_payload && !field_true(party, "agrees"));
}

/* ---- the rows -------------------------------------------------------------------------------- */

static bool on_frame(struct run *run, const json_t *row)
{
	if (run->file)
		run->failed = !file_frame(run, row);
	else if (!run->options.json)
		frame_print(row);
	run->n_frames++;
	return !run->failed && !ferror(stdout) && run->n_frames != run->options.n_frames;
}

static bool on_row(void *arg, const json_t *row)
{
	struct run *run = arg;
	uint64_t missed = (uint64_t)field_number(row, "missed");

	if (run->options.json && !run->file)
		object_print(row);
	run->n_missed += missed;
	run->n_untold += missed;
	if (json_object_get(row, "frame"))
		return on_frame(run, row);
	if (missed)
		(void)fprintf(
			stderr, "msgctl: %llu frames not captured\n", (unsigned long long)missed);
	else if (json_object_get(row, "ends"))
		say_channel(row, run->options.payload);
	else if (json_object_get(row, "ended"))
		(void)fprintf(stderr, "msgctl: the capture ends: %s\n", field_text(row, "ended"));
	return !json_object_get(row, "ended");
}

/* The rest of the request is msgd's. */
static json_t *take_options(const struct command_call *call, struct options *ret_options)
{
	static const char *const own[] = {"write", "count", "seconds"};
	json_t *request = json_deep_copy(call->request);

	*ret_options =
		(struct options){.path = json_string_value(json_object_get(call->request, "write")),
			.n_frames = (uint64_t)field_number(call->request, "count"),
			.seconds = (uint32_t)field_number(call->request, "seconds"),
			.payload = field_true(call->request, "payload"),
			.json = call->json};
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		(void)json_object_del(request, own[i]);
	return request;
}

static enum admin_end capture(struct run *run, const struct command_call *call, int *ret_status)
{
	json_t *request = take_options(call, &run->options);
	enum admin_end end = ADMIN_END_FAILED;
	int r = file_open(run);

	(void)setvbuf(stdout, NULL, run->file == stdout ? _IOFBF : _IOLBF, BUFSIZ);
	if (r == 0)
		end = admin_stream(call->socket, call->from, request,
			(uint64_t)run->options.seconds * 1000, on_row, run, ret_status);
	json_decref(request);
	if (r == 0)
		r = file_close(run);
	if (r == 0 && !run->failed)
		return end;
	*ret_status = EXIT_FAILURE;
	complain(EXIT_FAILURE, r < 0 ? r : -EIO, "%s: %s",
		run->options.path ? run->options.path : "stdout",
		r < 0 ? strerror(-r) : "cannot be written, or a frame makes no sense");
	return ADMIN_END_FAILED;
}

int capture_run(const struct command_call *call)
{
	struct run run = {.file = NULL};
	int status;
	enum admin_end end = capture(&run, call, &status);

	if (run.n_frames || end != ADMIN_END_FAILED)
		(void)fprintf(stderr, "msgctl: %llu frames, %llu not captured\n",
			(unsigned long long)run.n_frames, (unsigned long long)run.n_missed);
	return end == ADMIN_END_FAILED ? status : EXIT_SUCCESS;
}
