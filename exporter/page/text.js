// SPDX-License-Identifier: LGPL-2.1-or-later
// Strings and numbers of an answer, as they read. Names of domains and programs are words of
// guests: all that is said here becomes textContent, and nothing else.

const TEXT_MAX = 120; // longer than any name; a reason is cut

// Characters that show nothing or turn the text around them.
const UNSEEN = new RegExp('[\\u0000-\\u001f\\u007f-\\u00a0\\u00ad\\u061c\\u180e\\u200b-\\u200f' +
	'\\u2028-\\u202f\\u205f-\\u206f\\ufeff]', 'g');

export function plain(text) {
	const whole = String(text ?? '');
	const cut = whole.length > TEXT_MAX ? whole.slice(0, TEXT_MAX) + '…' : whole;

	return cut.replace(UNSEEN, (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
}

export function short(text, n) {
	const chars = [...plain(text)];

	return chars.length > n ? chars.slice(0, n - 1).join('') + '…' : chars.join('');
}

const THOUSANDS = ['', 'k', 'M', 'G', 'T', 'P'];

// Three digits and a prefix: 0, 7, 999, 1.02 k, 45.6 M.
function scaled(value) {
	let power = 0;
	let rest = value;

	while (rest >= 999.5 && power < THOUSANDS.length - 1) {
		rest /= 1000;
		power++;
	}
	if (power === 0 && Number.isInteger(rest))
		return [String(rest), ''];
	return [rest.toFixed(rest >= 99.95 ? 0 : rest >= 9.995 ? 1 : 2), THOUSANDS[power]];
}

function united(value, unit) {
	const [digits, prefix] = scaled(value);

	return digits + (prefix || unit ? '\u00a0' + prefix + unit : '');
}

export const NONE = '–';
const unless = (form) => (value) => (Number.isFinite(value) ? form(value) : NONE);

export const count = unless((value) => value.toLocaleString('en'));
export const bytes = unless((value) => united(value, 'B'));
export const byteRate = unless((value) => united(value < 1 ? Math.round(value) : value, 'B/s'));
export const rate = unless((value) => united(value < 0.005 ? 0 : value, '/s'));

export const age = unless((s) => {
	const parts = [
		[Math.floor(s / 86400), 'd'],
		[Math.floor(s / 3600) % 24, 'h'],
		[Math.floor(s / 60) % 60, 'min'],
		[Math.floor(s) % 60, 's'],
	];
	const first = parts.findIndex(([n]) => n > 0);
	const two = first < 0 ? [[0, 's']] : parts.slice(first, first + 2);

	const told = two.filter(([n], i) => n > 0 || i === 0);

	return told.map(([n, unit]) => `${n}\u00a0${unit}`).join(' ');
});

export const micros = unless((us) => {
	if (us < 1000)
		return `${us}\u00a0µs`;
	if (us < 1e6)
		return `${(us / 1e3).toPrecision(3)}\u00a0ms`;
	return `${(us / 1e6).toPrecision(3)}\u00a0s`;
});

export function clock(ms) {
	const date = new Date(ms);
	const two = (n) => String(n).padStart(2, '0');
	const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');

	if (date.toDateString() === new Date().toDateString())
		return time;
	const day = [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(two).join('-');

	return `${day} ${time}`;
}
