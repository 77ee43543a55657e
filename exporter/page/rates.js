// SPDX-License-Identifier: LGPL-2.1-or-later
// Rates, from the counters of two answers. The one before is all that is kept.

const OLDEST_MS = 60000; // an average over longer than that is no rate

export class Rates {
	#before = new Map();
	#at = 0;
	#now = new Map();

	forget() {
		this.#before = new Map();
		this.#now = new Map();
		this.#at = 0;
	}

	// Counters by key, as they were then.
	take(at, counters) {
		const ms = at - this.#at;

		if (ms === 0)
			return; // the same answer again
		this.#now = new Map();
		if (ms > 0 && ms <= OLDEST_MS)
			for (const [key, after] of counters)
				this.#set(key, this.#before.get(key), after, ms / 1000);
		this.#before = counters;
		this.#at = at;
	}

	// A counter that has gone down is another thing's of the same key.
	#set(key, before, after, seconds) {
		if (!before || Object.keys(after).some((what) => after[what] < before[what]))
			return;
		this.#now.set(key, {
			sent: (after.sent - before.sent) / seconds,
			received: (after.received - before.received) / seconds,
			messages: (after.messages - before.messages) / seconds,
		});
	}

	// {sent, received} in bytes and {messages} in both directions, a second; or undefined.
	of(key) {
		return this.#now.get(key);
	}
}

export function counters(traffic) {
	return {
		sent: traffic.tx_bytes,
		received: traffic.rx_bytes,
		messages: traffic.tx_messages + traffic.rx_messages,
	};
}

// A row's key, from one answer to the next.
export const keys = {
	domain: ({ domid, uuid }) => `${domid} ${uuid}`,
	name: ({ name, holder }) => `${holder.domid} ${name} ${holder.pid}`,
	link: ({ uid }) => uid,
	channel: ({ link, channel }) => `${link}:${channel}`,
};

// Of the end that connected the channel; of the other, if that one alone has told; or null.
export function channelCounters({ from_traffic: from, to_traffic: to }) {
	if (from)
		return counters(from);
	if (!to)
		return null;
	const { sent, received, messages } = counters(to);

	return { sent: received, received: sent, messages };
}
