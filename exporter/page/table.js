// SPDX-License-Identifier: LGPL-2.1-or-later
// The one table of the page: it sorts, filters, and holds so many rows at most. Rows are used again
// from refresh to refresh, so that selection and scrolling stay.

import { plain, count, NONE } from './text.js';
import { keys } from './rates.js';

const ROWS_MAX = 200; // a browser lays out so many in no time

const collator = new Intl.Collator('en', { numeric: true });

// Rows without a value are last in both orders.
function compare(a, b, down) {
	if (a === b)
		return 0;
	if (a === null || b === null)
		return a === null ? 1 : -1;
	const numbers = typeof a === 'number' && typeof b === 'number';
	const order = numbers ? a - b : collator.compare(a, b);

	return down ? -order : order;
}

function newCell(name, scope, numeric) {
	const cell = document.createElement(name);

	if (scope)
		cell.scope = scope;
	cell.classList.toggle('number', numeric);
	return cell;
}

const rows = (n) => `${count(n)} ${n === 1 ? 'row' : 'rows'}`;

function summary(found, shown, all, leftOut) {
	const parts = [];

	if (all === 0)
		parts.push('None.');
	else if (shown < found)
		parts.push(`The first ${shown} of ${rows(found)}. Filter or sort to see others.`);
	else
		parts.push(found < all ? `${count(found)} of ${rows(all)}.` : `${rows(all)}.`);
	if (leftOut > 0)
		parts.push(`msgd left out ${rows(leftOut)} more.`);
	return parts.join(' ');
}

export class Table {
	#table;
	#rowsNote;
	#sorts = new Map(); // of a table that was sorted by hand: its column and order
	#shown = null;
	#again = () => {};

	constructor(table, rowsNote) {
		this.#table = table;
		this.#rowsNote = rowsNote;
	}

	#head(kind) {
		const row = document.createElement('tr');

		for (const [i, column] of kind.columns.entries()) {
			const cell = newCell('th', 'col', column.numeric);
			const button = document.createElement('button');

			button.type = 'button';
			button.textContent = column.title;
			button.title = column.hint ?? '';
			button.addEventListener('click', () => this.#sortBy(kind, i));
			cell.append(button);
			row.append(cell);
		}
		this.#table.tHead.replaceChildren(row);
		this.#table.tBodies[0].replaceChildren();
		this.#table.caption.textContent = kind.note ?? kind.title;
		this.#table.caption.classList.toggle('seen', kind.note !== undefined);
		this.#shown = kind;
	}

	#sort(kind) {
		return this.#sorts.get(kind) ?? { column: kind.sort, down: kind.down ?? false };
	}

	#sortBy(kind, column) {
		const sort = this.#sort(kind);
		const down = sort.column === column ? !sort.down : kind.columns[column].numeric;

		this.#sorts.set(kind, { column, down });
		this.#again();
	}

	#fill(row, kind, values) {
		if (row.cells.length === 0)
			for (const [i, { numeric }] of kind.columns.entries())
				row.append(newCell(i ? 'td' : 'th', i ? '' : 'row', numeric));
		kind.columns.forEach((column, i) => {
			const cell = row.cells[i];
			const value = values[i];
			const said = value === null ? NONE : column.form(value);

			if (cell.textContent !== said) {
				cell.textContent = said;
				cell.title = column.numeric ? '' : said;
			}
			if (column.mark)
				cell.dataset.mark = plain(value ?? '');
			if (column.bad)
				cell.classList.toggle('bad', value > 0);
		});
	}

	// Its rows are asked for.
	wait(kind) {
		this.#head(kind);
		this.#again = () => {};
		this.#rowsNote.textContent = 'Waits for an answer.';
	}

	// The values of rows of the chosen domains that have all words of the filter.
	#find(kind, rows, rates, filter, chosen) {
		const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
		const found = [];

		for (const row of rows) {
			if (chosen && kind.involved?.(row).every((domid) => !chosen.has(domid)))
				continue;
			const rate = kind.rates && rates[kind.rates].of(keys[kind.rates](row));
			const values = kind.columns.map(({ value }) => value(row, rate) ?? null);
			const texts = values.filter((value, i) => !kind.columns[i].numeric);
			const text = texts.join(' ').toLowerCase();

			if (words.every((word) => text.includes(word)))
				found.push(values);
		}
		return found;
	}

	// chosen: domains by number; or null, for all.
	show(kind, answers, rates, filter, chosen) {
		const all = kind.rows(answers);
		const found = this.#find(kind, all, rates, filter, chosen);
		const { column, down } = this.#sort(kind);
		const body = this.#table.tBodies[0];

		this.#again = () => this.show(kind, answers, rates, filter, chosen);
		if (this.#shown !== kind)
			this.#head(kind);
		if (column !== null)
			found.sort((a, b) => compare(a[column], b[column], down));
		[...this.#table.tHead.rows[0].cells].forEach((cell, i) => {
			const order = down ? 'descending' : 'ascending';

			cell.setAttribute('aria-sort', i === column ? order : 'none');
		});
		const shown = found.slice(0, ROWS_MAX);

		while (body.rows.length > shown.length)
			body.deleteRow(-1);
		for (const [i, values] of shown.entries())
			this.#fill(body.rows[i] ?? body.insertRow(), kind, values);
		const left = answers[kind.lists[0]].left_out;

		this.#rowsNote.textContent = summary(found.length, shown.length, all.length, left);
	}
}
