// SPDX-License-Identifier: LGPL-2.1-or-later
// One request to the exporter: the answer, or who did not give one.

const OF_MSGD = [502, 504]; // errors of HTTP: msgd cannot be asked, or does not answer
const PATIENCE_MS = 10000; // msgd itself has five seconds

export class Away extends Error {
	constructor(who, reason) {
		super(reason);
		this.who = who; // 'msgd' or 'exporter'
	}
}

// The answer to the list's operation; at: when it was made, in ms of the exporter's clock. Throws
// Away; or AbortError, after the signal.
export async function ask(list, signal) {
	let response, answer;

	try {
		response = await fetch('api/' + list, {
			signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]),
			cache: 'no-store',
		});
		answer = await response.json();
	} catch (error) {
		signal.throwIfAborted();
		if (error.name === 'TimeoutError')
			throw new Away('exporter', 'no answer in time');
		throw new Away('exporter', response ? 'it sent no JSON' : 'unreachable');
	}
	if (!response.ok || typeof answer?.op !== 'string') {
		const who = OF_MSGD.includes(response.status) ? 'msgd' : 'exporter';

		throw new Away(who, answer?.error ?? `status ${response.status}`);
	}
	// An answer may be a second old, and a network take its time.
	return { ...answer, at: Number(response.headers.get('Msgd-Made-Ms')) };
}
