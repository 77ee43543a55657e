/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See history.h. Each step takes the same time, however many sources there are. */
#include "daemon/broker/history.h"

#include <string.h>

void history_init(struct history *history)
{
	TAILQ_INIT(&history->events);
	history_source_init(&history->clients);
	history_source_init(&history->gone);
	for (unsigned i = 0; i <= HISTORY_EVENTS; i++)
		LIST_INIT(&history->by_count[i]);
}

void history_source_init(struct history_source *source)
{
	TAILQ_INIT(&source->events);
}

/* By one, or to none at the end of a source. */
static void source_set_count(struct history *history, struct history_source *source, unsigned n)
{
	if (source->n)
		LIST_REMOVE(source, entry);
	source->n = n;
	if (n)
		LIST_INSERT_HEAD(&history->by_count[n], source, entry);
	if (n > history->most)
		history->most = n;
	while (history->most && LIST_EMPTY(&history->by_count[history->most]))
		history->most--;
}

/* The place of the oldest event of the source that has most; of two, of the one that asks. */
static struct history_event *place_take(struct history *history, struct history_source *source)
{
	struct history_source *largest = source;
	struct history_event *event;

	if (source->n < history->most)
		largest = LIST_FIRST(&history->by_count[history->most]);
	event = TAILQ_FIRST(&largest->events);
	TAILQ_REMOVE(&largest->events, event, source_entry);
	TAILQ_REMOVE(&history->events, event, entry);
	source_set_count(history, largest, largest->n - 1);
	return event;
}

struct history_event *history_add(struct history *history, struct history_source *source)
{
	struct history_event *event = history->n_used < HISTORY_EVENTS
					      ? &history->places[history->n_used++]
					      : place_take(history, source);

	memset(event, 0, sizeof(*event));
	event->source = source;
	event->serial = ++history->last_serial;
	TAILQ_INSERT_TAIL(&history->events, event, entry);
	TAILQ_INSERT_TAIL(&source->events, event, source_entry);
	source_set_count(history, source, source->n + 1);
	return event;
}

unsigned history_source_end(struct history *history, struct history_source *source)
{
	struct history_event *event;
	unsigned n = source->n;

	TAILQ_FOREACH (event, &source->events, source_entry)
		event->source = &history->gone;
	source_set_count(history, source, 0);
	TAILQ_CONCAT(&history->gone.events, &source->events, source_entry);
	source_set_count(history, &history->gone, history->gone.n + n);
	return n;
}

const struct history_event *history_from(const struct history *history, uint64_t serial)
{
	const struct history_event *event, *found = NULL;

	/* The last ones are asked for most. */
	TAILQ_FOREACH_REVERSE(event, &history->events, history_events, entry)
	{
		if (event->serial < serial)
			break;
		found = event;
	}
	return found;
}
