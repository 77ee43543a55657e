/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The words of the admin protocol for the broker's enums. Pure.
 *
 * Included by: daemon/admin.
 */
#ifndef MSGD_DAEMON_ADMIN_WORDS_H
#define MSGD_DAEMON_ADMIN_WORDS_H

#include "daemon/admin/request.h"

struct broker_channel;
struct broker_link;
struct domain;
struct listener;
struct process;

const char *domain_state_word(const struct domain *domain);
const char *process_state_word(const struct process *process);
const char *listener_state_word(const struct listener *listener);
const char *link_state_word(const struct broker_link *link);
const char *channel_state_word(const struct broker_channel *channel);
/* "out": the end that connected alone sends data. */
const char *channel_direction_word(const struct broker_channel *channel);
const char *channel_type_word(uint32_t type);
const char *history_kind_word(enum history_kind kind);
const char *connect_stage_word(enum connect_stage stage);

/* Whether a row of the operation can have this state. */
bool state_word_known(enum admin_op op, const char *word);
/* A sentence with those that it can have, in static storage until the next call. */
const char *state_words_error(enum admin_op op, const char *wrong);
const char *history_kinds_error(const char *wrong);

#endif
