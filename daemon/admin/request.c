/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parses one line of an admin client, by a table of operations and one of keys. Fuzzed:
 * tests/fuzz/admin.c. */
#include "daemon/admin/request.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "daemon/admin/words.h"
#include "daemon/broker/lookup.h"
#include "proto/control.h"

#define KEY(key) ENUM_BIT(ADMIN_KEY_##key)

/* Filters of events. */
#define EVENT_KEYS                                                                                 \
	(KEY(DOMAIN) | KEY(PID) | KEY(NAME) | KEY(LINK) | KEY(CHANNEL) | KEY(KIND) | KEY(N) |      \
		KEY(SINCE))

static const struct {
	const char *name;
	unsigned needs, takes; /* keys, as bits */
	bool steers, lists, goes_on, lasts;
} ops[ADMIN_OP_COUNT] = {
	[ADMIN_STATUS] = {"status"},
	[ADMIN_DOMAINS] = {"domains", .takes = KEY(DOMAIN) | KEY(STATE), .lists = true},
	[ADMIN_APPLICATIONS] = {"applications", .takes = KEY(DOMAIN) | KEY(STATE) | KEY(PID),
		.lists = true},
	[ADMIN_NAMES] = {"names", .takes = KEY(DOMAIN) | KEY(NAME) | KEY(STATE), .lists = true},
	[ADMIN_LINKS] = {"links",
		.takes = KEY(DOMAIN) | KEY(PID) | KEY(TRANSPORT) | KEY(STATE) | KEY(LINK),
		.lists = true},
	[ADMIN_CHANNELS] = {"channels",
		.takes = KEY(DOMAIN) | KEY(PID) | KEY(NAME) | KEY(TRANSPORT) | KEY(STATE) |
			 KEY(LINK) | KEY(CHANNEL),
		.lists = true},
	[ADMIN_HISTORY] = {"history", .takes = EVENT_KEYS, .lists = true},
	[ADMIN_MONITOR] = {"monitor", .takes = EVENT_KEYS, .lists = true, .goes_on = true,
		.lasts = true},
	[ADMIN_COUNTS] = {"counts", .takes = KEY(DOMAIN), .lists = true},
	[ADMIN_REFUSALS] = {"refusals", .lists = true},
	[ADMIN_LATENCY] = {"latency"},
	[ADMIN_LIMITS] = {"limits", .takes = KEY(DOMAIN), .lists = true},
	[ADMIN_BLOCKS] = {"blocks", .lists = true},
	[ADMIN_POLICY_TEST] = {"policy-test", .needs = KEY(DOMAIN) | KEY(NAME),
		.takes = KEY(TO) | KEY(LISTEN), .lists = true},
	[ADMIN_POLICY_LIST] = {"policy-list", .lists = true},
	[ADMIN_WAIT] = {"wait", .needs = KEY(DOMAIN) | KEY(NAME), .takes = KEY(TIMEOUT),
		.lasts = true},
	[ADMIN_REFRESH] = {"refresh"},
	[ADMIN_PING] = {"ping", .needs = KEY(DOMAIN), .takes = KEY(NAME) | KEY(PID) | KEY(TIMEOUT)},
	[ADMIN_CLOSE] = {"close", .needs = KEY(LINK) | KEY(CHANNEL), .steers = true},
	[ADMIN_KICK_APPLICATION] = {"kick-application", .needs = KEY(DOMAIN) | KEY(PID),
		.steers = true},
	[ADMIN_KICK_NAME] = {"kick-name", .needs = KEY(DOMAIN) | KEY(NAME), .steers = true},
	[ADMIN_KICK_DOMAIN] = {"kick-domain", .needs = KEY(DOMAIN), .steers = true},
	[ADMIN_KICK_LINK] = {"kick-link", .needs = KEY(LINK), .steers = true},
	[ADMIN_DRAIN] = {"drain", .needs = KEY(DOMAIN) | KEY(NAME), .steers = true},
	[ADMIN_UNDRAIN] = {"undrain", .needs = KEY(DOMAIN) | KEY(NAME), .steers = true},
	[ADMIN_BLOCK] = {"block", .needs = KEY(DOMAIN), .takes = KEY(NAME), .steers = true},
	[ADMIN_UNBLOCK] = {"unblock", .needs = KEY(DOMAIN), .takes = KEY(NAME), .steers = true},
	[ADMIN_SET_LIMIT] = {"set-limit", .needs = KEY(DOMAIN) | KEY(LIMIT) | KEY(VALUE),
		.steers = true},
	[ADMIN_LOG_LEVEL] = {"log-level", .needs = KEY(LEVEL), .steers = true},
	[ADMIN_RELOAD] = {"reload", .steers = true},
	/* It changes nothing, but takes as long as a reload. */
	[ADMIN_RELOAD_DRY_RUN] = {"reload-dry-run", .steers = true},
	/* It changes nothing either, but shows what only the ends should see. */
	[ADMIN_CAPTURE] = {"capture",
		.takes = KEY(DOMAIN) | KEY(NAME) | KEY(LINK) | KEY(CHANNEL) | KEY(PAYLOAD) |
			 KEY(SNAPLEN),
		.steers = true, .goes_on = true},
	[ADMIN_QUIESCE] = {"quiesce", .needs = KEY(DOMAIN), .takes = KEY(TIMEOUT), .steers = true,
		.lasts = true},
	[ADMIN_RESUME] = {"resume", .needs = KEY(DOMAIN), .steers = true},
};

const char *admin_op_name(enum admin_op op)
{
	return ops[op].name;
}

bool admin_op_steers(enum admin_op op)
{
	return ops[op].steers;
}

bool admin_op_lists(enum admin_op op)
{
	return ops[op].lists;
}

bool admin_op_goes_on(enum admin_op op)
{
	return ops[op].goes_on;
}

bool admin_op_lasts(enum admin_op op)
{
	return ops[op].lasts;
}

void admin_request_again(struct admin_request *request, uint64_t waited_ms)
{
	request->timeout_ms -=
		waited_ms < request->timeout_ms ? (uint32_t)waited_ms : request->timeout_ms;
	if (request->op != ADMIN_MONITOR)
		return;
	request->has &= ~(ENUM_BIT(ADMIN_KEY_SINCE) | ENUM_BIT(ADMIN_KEY_N));
	request->from = 1;
}

bool admin_request_has(const struct admin_request *request, enum admin_key key)
{
	return request->has & ENUM_BIT(key);
}

/* ---- the keys ------------------------------------------------------------------------------- */

/* There is no NUL in a string: json_loadb takes none. False: it is none, or does not fit. */
static bool text_get(const json_t *value, char *ret_text, size_t size)
{
	size_t len = json_string_length(value);

	if (len == 0 || len >= size)
		return false;
	memcpy(ret_text, json_string_value(value), len + 1);
	return true;
}

static bool number_get(const json_t *value, uint32_t min, uint32_t max, uint32_t *ret_number)
{
	json_int_t number = json_integer_value(value);

	if (!json_is_integer(value) || number < min || number > max)
		return false;
	*ret_number = (uint32_t)number;
	return true;
}

/* Each of these: NULL, or the error as a sentence in static storage. */
static const char *address_get(const json_t *value, char ret_domain[DOMAIN_NAME_SIZE])
{
	struct domain_address address;

	if (json_string_length(value) == 0)
		return "no domain";
	if (!text_get(value, ret_domain, DOMAIN_NAME_SIZE))
		return "the domain is too long";
	return domain_address_parse(ret_domain, &address) < 0
		       ? "a domain is a name, domid:N or uuid:U"
		       : NULL;
}

static const char *domain_get(const json_t *value, struct admin_request *request)
{
	return address_get(value, request->domain);
}

static const char *to_get(const json_t *value, struct admin_request *request)
{
	return address_get(value, request->to);
}

static const char *listen_get(const json_t *value, struct admin_request *request)
{
	request->listen = json_is_true(value);
	return json_is_boolean(value) ? NULL : "listen is true or false";
}

static const char *name_get(const json_t *value, struct admin_request *request)
{
	if (!text_get(value, request->name, sizeof(request->name)))
		return "a name has 1 to 63 characters";
	if (admin_op_lists(request->op) && request->op != ADMIN_POLICY_TEST)
		return NULL;
	return name_check(request->name) == 0 ? NULL : "not a valid name";
}

static const char *transport_get(const json_t *value, struct admin_request *request)
{
	static char error[64 + ADMIN_WORD_SIZE];
	char word[ADMIN_WORD_SIZE] = "";

	(void)text_get(value, word, sizeof(word));
	for (uint32_t i = TRANSPORT_ANY + 1; i < TRANSPORT_LIMIT; i++) {
		if (strcmp(word, transport_name(i)) == 0)
			request->transport = i;
	}
	if (request->transport)
		return NULL;
	(void)snprintf(error, sizeof(error), "a transport is argo, argo-strict or grant%s%s%s",
		*word ? ", not '" : "", word, *word ? "'" : "");
	return error;
}

static const char *state_get(const json_t *value, struct admin_request *request)
{
	if (text_get(value, request->state, sizeof(request->state)) &&
		state_word_known(request->op, request->state))
		return NULL;
	return state_words_error(request->op, request->state);
}

static const char *link_get(const json_t *value, struct admin_request *request)
{
	static const char error[] = "a link is a uid: 1 to 16 hexadecimal digits";
	char text[17];

	if (!text_get(value, text, sizeof(text)) || text[strspn(text, "0123456789abcdefABCDEF")])
		return error;
	request->link = strtoull(text, NULL, 16);
	return NULL;
}

static const char *channel_get(const json_t *value, struct admin_request *request)
{
	return number_get(value, 1, UINT32_MAX, &request->channel) ? NULL
								   : "channel is out of range";
}

static const char *pid_get(const json_t *value, struct admin_request *request)
{
	return number_get(value, 0, UINT32_MAX, &request->pid) ? NULL : "pid is out of range";
}

static const char *kind_get(const json_t *value, struct admin_request *request)
{
	char word[ADMIN_WORD_SIZE] = "";

	if (text_get(value, word, sizeof(word))) {
		for (int i = 0; i < HISTORY_KINDS; i++) {
			if (strcmp(word, history_kind_word(i)) != 0)
				continue;
			request->kind = i;
			return NULL;
		}
	}
	return history_kinds_error(word);
}

static const char *n_get(const json_t *value, struct admin_request *request)
{
	return number_get(value, 0, HISTORY_EVENTS, &request->n) ? NULL : "n is 0 to 1000";
}

static const char *since_get(const json_t *value, struct admin_request *request)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return "since is an event's serial";
	request->since = (uint64_t)json_integer_value(value);
	return NULL;
}

/* Of msgd.conf, whose parser judges it: letters and dashes. */
static const char *word_get(const json_t *value, char ret_word[ADMIN_WORD_SIZE], const char *error)
{
	if (text_get(value, ret_word, ADMIN_WORD_SIZE) &&
		!ret_word[strspn(ret_word, "abcdefghijklmnopqrstuvwxyz-")])
		return NULL;
	return error;
}

static const char *limit_get(const json_t *value, struct admin_request *request)
{
	return word_get(value, request->limit, "a limit is a key of [limits] in msgd.conf");
}

static const char *value_get(const json_t *value, struct admin_request *request)
{
	return number_get(value, 0, UINT32_MAX, &request->value) ? NULL : "value is out of range";
}

static const char *level_get(const json_t *value, struct admin_request *request)
{
	return word_get(value, request->level, "a level is error, warning, notice, info or debug");
}

static const char *payload_get(const json_t *value, struct admin_request *request)
{
	request->payload = json_is_true(value);
	return json_is_boolean(value) ? NULL : "payload is true or false";
}

static const char *snaplen_get(const json_t *value, struct admin_request *request)
{
	return number_get(value, 1, CAPTURE_SNAPLEN_MAX, &request->snaplen)
		       ? NULL
		       : "snaplen is 1 to 4096 bytes";
}

static const char *timeout_get(const json_t *value, struct admin_request *request)
{
	return number_get(value, 0, ADMIN_TIMEOUT_MAX_MS, &request->timeout_ms)
		       ? NULL
		       : "timeout_ms is out of range";
}

static const struct {
	const char *name, *missing;
	const char *(*get)(const json_t *value, struct admin_request *request);
} keys[ADMIN_KEY_COUNT] = {
	[ADMIN_KEY_DOMAIN] = {"domain", "no domain", domain_get},
	[ADMIN_KEY_NAME] = {"name", "no name", name_get},
	[ADMIN_KEY_TO] = {"to", "no to", to_get},
	[ADMIN_KEY_LISTEN] = {"listen", "no listen", listen_get},
	[ADMIN_KEY_TRANSPORT] = {"transport", "no transport", transport_get},
	[ADMIN_KEY_STATE] = {"state", "no state", state_get},
	[ADMIN_KEY_LINK] = {"link", "no link", link_get},
	[ADMIN_KEY_CHANNEL] = {"channel", "no channel", channel_get},
	[ADMIN_KEY_PID] = {"pid", "no pid", pid_get},
	[ADMIN_KEY_KIND] = {"kind", "no kind", kind_get},
	[ADMIN_KEY_N] = {"n", "no n", n_get},
	[ADMIN_KEY_SINCE] = {"since", "no since", since_get},
	[ADMIN_KEY_LIMIT] = {"limit", "no limit", limit_get},
	[ADMIN_KEY_VALUE] = {"value", "no value", value_get},
	[ADMIN_KEY_LEVEL] = {"level", "no level", level_get},
	[ADMIN_KEY_PAYLOAD] = {"payload", "no payload", payload_get},
	[ADMIN_KEY_SNAPLEN] = {"snaplen", "no snaplen", snaplen_get},
	[ADMIN_KEY_TIMEOUT] = {"timeout_ms", "no timeout_ms", timeout_get},
};

static const char *key_parse(
	enum admin_key key, const json_t *object, struct admin_request *request)
{
	const json_t *value = json_object_get(object, keys[key].name);
	unsigned bit = ENUM_BIT(key);

	if (!value)
		return ops[request->op].needs & bit ? keys[key].missing : NULL;
	if (!((ops[request->op].needs | ops[request->op].takes) & bit))
		return NULL; /* counted as unknown */
	request->has |= bit;
	return keys[key].get(value, request);
}

/* ---- the request ---------------------------------------------------------------------------- */

static const char *op_parse(const json_t *object, struct admin_request *request)
{
	const char *op = json_string_value(json_object_get(object, "op"));

	if (!op)
		return "no op";
	for (int i = 0; i < ADMIN_OP_COUNT; i++) {
		if (strcmp(op, ops[i].name) != 0)
			continue;
		request->op = i;
		return NULL;
	}
	return "unknown op";
}

static const char *object_parse(const json_t *object, struct admin_request *request)
{
	const char *error = op_parse(object, request);

	for (int i = 0; i < ADMIN_KEY_COUNT && !error; i++)
		error = key_parse(i, object, request);
	/* An unknown key may have been meant to narrow the request. */
	if (!error && json_object_size(object) != 1 + (size_t)__builtin_popcount(request->has))
		error = "unknown key";
	return error;
}

/* A line that is no JSON is the parser's to refuse: it stops where the two could differ. */
static bool depth_fits(const char *line, size_t len)
{
	unsigned depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < len; i++) {
		char c = line[i];

		if (c == '\\' && quoted)
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '{' || c == '['))
			depth++;
		else if (!quoted && (c == '}' || c == ']') && depth)
			depth--;
		if (depth > ADMIN_DEPTH_MAX)
			return false;
	}
	return true;
}

static const char *line_check(const char *line, size_t len)
{
	if (len > ADMIN_LINE_MAX)
		return "the line is too long";
	return depth_fits(line, len) ? NULL : "too many objects or arrays in each other";
}

int admin_request_parse(
	const char *line, size_t len, struct admin_request *ret_request, const char **ret_error)
{
	struct admin_request request = {.timeout_ms = ADMIN_TIMEOUT_MS, .snaplen = ADMIN_SNAPLEN};
	const char *error = line_check(line, len);
	json_t *object = error ? NULL : json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);

	if (!error)
		error = json_is_object(object) ? object_parse(object, &request)
					       : "not a JSON object";
	json_decref(object);
	if (error) {
		*ret_error = error;
		return -EINVAL;
	}
	*ret_request = request;
	return 0;
}

void admin_request_describe(const struct admin_request *request, char *ret_text, size_t size)
{
	char uid[17];
	const char *const texts[ADMIN_KEY_COUNT] = {
		[ADMIN_KEY_DOMAIN] = request->domain,
		[ADMIN_KEY_NAME] = request->name,
		[ADMIN_KEY_TO] = request->to,
		[ADMIN_KEY_LINK] = uid,
		[ADMIN_KEY_LIMIT] = request->limit,
		[ADMIN_KEY_LEVEL] = request->level,
	};
	const uint32_t numbers[ADMIN_KEY_COUNT] = {
		[ADMIN_KEY_LISTEN] = request->listen,
		[ADMIN_KEY_CHANNEL] = request->channel,
		[ADMIN_KEY_PID] = request->pid,
		[ADMIN_KEY_VALUE] = request->value,
		[ADMIN_KEY_PAYLOAD] = request->payload,
		[ADMIN_KEY_SNAPLEN] = request->snaplen,
		[ADMIN_KEY_TIMEOUT] = request->timeout_ms,
	};
	FILE *out = fmemopen(ret_text, size, "w");

	(void)snprintf(ret_text, size, "%s", ops[request->op].name);
	(void)snprintf(uid, sizeof(uid), "%016llx", (unsigned long long)request->link);
	if (!out)
		return;
	(void)fputs(ops[request->op].name, out);
	for (int i = 0; i < ADMIN_KEY_COUNT; i++) {
		if (!admin_request_has(request, i))
			continue;
		if (texts[i])
			(void)fprintf(out, " %s=%s", keys[i].name, texts[i]);
		else
			(void)fprintf(out, " %s=%u", keys[i].name, numbers[i]);
	}
	(void)fclose(out);
	ret_text[size - 1] = '\0';
}
