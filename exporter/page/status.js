// SPDX-License-Identifier: LGPL-2.1-or-later
// The page: it asks the exporter again and again, and shows the last answers. It keeps these and
// the counters of the ones before, for rates, and nothing older. While it is hidden it asks for
// nothing; while it is paused, only for a table that is opened.

import { ask, Away } from './ask.js';
import { Rates, channelCounters, counters, keys } from './rates.js';
import { TABLES, whom, why } from './columns.js';
import { Drawing } from './drawing.js';
import { Table } from './table.js';
import { plain, count, byteRate, rate, age, clock } from './text.js';

const PERIOD_MS = 2000;
const LAST_MAX = 30; // refusals and resets
const BAD = ['refused', 'failed', 'dropped', 'channel-reset', 'link-down'].map(
	(kind) => `history?kind=${kind}&n=${LAST_MAX}`,
);
const ALWAYS = ['status', 'domains', 'links', ...BAD];

const $ = (id) => document.getElementById(id);
const rates = Object.fromEntries(Object.keys(keys).map((which) => [which, new Rates()]));
const table = new Table($('panel').firstElementChild, $('rows'));
const drawing = new Drawing($('map'), onChoose);

let answers = null; // by list, of the last refresh that succeeded
let asOf = 0;
let shown = new Map(Object.entries(TABLES)).get(location.hash.slice(1)) ?? TABLES.domains;
let chosen = null; // a node of the drawing
let paused = false;
let away = null; // {who, since}
let running = null; // the AbortController of the refresh that runs
let timer = 0;
const opened = Date.now();

function say(element, text) {
	if (element.textContent !== text)
		element.textContent = text;
}

// ---- what is so --------------------------------------------------------------------------------

const NAMES = { msgd: 'msgd', exporter: 'the exporter' };

function state(word, text) {
	$('state').dataset.state = word;
	say($('state'), text);
	document.title = word === 'live' ? 'msgd' : `(${word}) msgd`;
}

function wentAway({ who, message }) {
	if (away?.who !== who)
		away = { who, since: Date.now() };
	const since = answers ? clock(away.since) : `this page was opened at ${clock(opened)}`;
	const words = `No answer from ${NAMES[who]} since ${since}`;

	state('away', words);
	const old = answers ? `What is shown is from ${clock(asOf)}. ` : '';

	say($('away'), `${words}: ${plain(message)}. ${old}This page tries again by itself.`);
	$('away').hidden = false;
	document.body.classList.toggle('stale', answers !== null);
}

function isBack(before) {
	const { pid, uptime_s: uptime } = answers.status;
	const gone = away && `${NAMES[away.who]} was away for ${age((asOf - away.since) / 1000)}`;

	if (paused)
		state('paused', `Paused at ${clock(asOf)}`);
	else if (away)
		state('live', `Live again; ${gone}`);
	else if (before && before.status.pid !== pid)
		state('live', `Live; msgd was restarted at ${clock(asOf - uptime * 1000)}`);
	else if ($('state').dataset.state !== 'live')
		state('live', 'Live');
	away = null;
	$('away').hidden = true;
	document.body.classList.remove('empty', 'stale');
}

// ---- the parts ---------------------------------------------------------------------------------

function showSums({ status, domains }) {
	const all = domains.domains.map((row) => rates.domain.of(keys.domain(row)));
	const moved = all.filter(Boolean);
	// Of a message that was sent and received, each end tells.
	const total = (key, ends) => moved.reduce((sum, r) => sum + r[key], 0) / ends;
	const sums = [
		['Domains', count(status.domains)],
		['Applications', count(status.applications)],
		['Names', count(status.names)],
		['Links', count(status.links)],
		['Channels', count(status.channels)],
		['Sent', byteRate(moved.length > 0 ? total('sent', 1) : null)],
		['Messages', rate(moved.length > 0 ? total('messages', 2) : null)],
		['Waiting', count(status.requests_waiting)],
		['Refused', count(status.counts.refused), status.counts.refused > 0],
		['Failed', count(status.counts.failed), status.counts.failed > 0],
		['Reset', count(status.counts.reset), status.counts.reset > 0],
	];

	sums.forEach(([name, value, bad], i) => {
		let tile = $('sums').children[i];

		if (!tile) {
			tile = document.createElement('div');
			tile.append(document.createElement('dt'), document.createElement('dd'));
			$('sums').append(tile);
		}
		say(tile.firstChild, name);
		say(tile.lastChild, value);
		tile.classList.toggle('bad', Boolean(bad));
	});
}

function items(list, texts, fill = (item, text) => say(item, text)) {
	while (list.children.length > texts.length)
		list.lastChild.remove();
	texts.forEach((text, i) => {
		const item = list.children[i] ?? list.appendChild(document.createElement('li'));

		fill(item, text);
	});
}

function showWarnings({ status }) {
	const warnings = status.policy_errors.map((error) => `Policy: ${plain(error)}`);

	if (status.recovering)
		warnings.push('msgd was started again and waits for applications to come back.');
	items($('warnings'), warnings);
	$('warnings').hidden = warnings.length === 0;
}

function showLast(all) {
	// A link that has ended in order has no error.
	const last = BAD.flatMap((list) => all[list].history)
		.filter((event) => event.kind !== 'link-down' || event.error)
		.sort((a, b) => b.serial - a.serial);

	items($('last'), last.slice(0, LAST_MAX), (item, event) => {
		if (item.children.length === 0)
			for (const name of ['time', 'b', 'span', 'i'])
				item.append(document.createElement(name));
		const [time, kind, who, reason] = item.children;

		say(time, clock(event.time_us / 1000));
		say(kind, plain(event.kind));
		kind.dataset.mark = plain(event.kind);
		say(who, plain(whom(event)));
		say(reason, plain(why(event) ?? 'no reason'));
	});
	$('last').classList.toggle('none', last.length === 0);
}

function showTable() {
	if (shown.lists.every((list) => answers[list]))
		table.show(shown, answers, rates, $('filter').value, chosen?.members ?? null);
	else
		table.wait(shown);
}

function showDrawing() {
	const { domains, links } = answers;
	const note = drawing.draw(domains.domains, links.links, rates, chosen?.key ?? null);

	say($('map-note'), note || 'Choose a domain to narrow the tables to it.');
	if (chosen)
		choose(drawing.find(chosen.key) ?? null);
}

function show() {
	const { status } = answers;

	const { version, hv, uptime_s: uptime } = status;

	say($('about'), `${plain(version)} on ${plain(hv)}, up ${age(uptime)}`);
	say($('as-of'), `as of ${clock(asOf)}`);
	showSums(answers);
	showWarnings(answers);
	showDrawing();
	showLast(answers);
	showTable();
}

// ---- the refresh -------------------------------------------------------------------------------

function takeRates(next) {
	const take = (which, answer, rows, of) => {
		const all = rows?.map((row) => [keys[which](row), of(row)]);

		if (answer)
			rates[which].take(answer.at, new Map(all.filter(([, told]) => told)));
		else
			rates[which].forget();
	};

	if (answers && answers.status.pid !== next.status.pid)
		Object.values(rates).forEach((r) => r.forget());
	take('domain', next.domains, next.domains.domains, (row) => counters(row.traffic));
	take('link', next.links, next.links.links, (row) => counters(row.creator_traffic));
	take('name', next.names, next.names?.names, (row) => counters(row.traffic));
	take('channel', next.channels, next.channels?.channels, channelCounters);
}

async function refresh(signal) {
	const lists = [...new Set([...ALWAYS, ...shown.lists])];
	const all = await Promise.all(lists.map((list) => ask(list, signal)));
	const next = Object.fromEntries(lists.map((list, i) => [list, all[i]]));
	const before = answers;

	takeRates(next);
	answers = next;
	asOf = Date.now();
	isBack(before);
	show();
}

// A refresh that takes long is followed by as long a rest.
async function turn() {
	const mine = new AbortController();
	const start = performance.now();

	running = mine;
	try {
		await refresh(mine.signal);
	} catch (error) {
		if (mine.signal.aborted)
			return;
		mine.abort();
		if (error instanceof Away) {
			wentAway(error);
		} else {
			console.error(error);
			wentAway(new Away('exporter', `not understood: ${error.message}`));
		}
	} finally {
		if (running === mine) {
			const took = performance.now() - start;

			running = null;
			if (!paused)
				timer = setTimeout(turn, Math.max(PERIOD_MS - took, took));
		}
	}
}

function stop() {
	clearTimeout(timer);
	running?.abort();
	running = null;
}

function go() {
	stop();
	if (!document.hidden)
		turn();
}

// ---- what the user does ------------------------------------------------------------------------

// A node, as it is now, or null.
function choose(node) {
	chosen = node;
	$('chosen').hidden = !chosen;
	say($('chosen'), chosen ? `${chosen.name} ×` : '');
	$('chosen').setAttribute('aria-label', chosen ? `Only ${chosen.name}; show all` : '');
}

function onChoose(node) {
	choose(node && node.key !== chosen?.key ? node : null);
	if (answers) {
		showDrawing();
		showTable();
	}
}

function open(kind, tab) {
	shown = kind;
	for (const other of $('tabs').children) {
		other.setAttribute('aria-selected', other === tab);
		other.tabIndex = other === tab ? 0 : -1;
	}
	$('panel').setAttribute('aria-labelledby', tab.id);
	$('panel').scrollTop = 0;
	if (answers)
		showTable();
}

for (const [key, kind] of Object.entries(TABLES)) {
	const tab = document.createElement('button');

	tab.type = 'button';
	tab.id = `tab-${key}`;
	tab.setAttribute('role', 'tab');
	tab.setAttribute('aria-controls', 'panel');
	tab.textContent = kind.title;
	tab.addEventListener('click', () => {
		history.replaceState(null, '', `#${key}`);
		open(kind, tab);
		go();
	});
	$('tabs').append(tab);
	if (kind === shown)
		open(kind, tab);
}

$('tabs').addEventListener('keydown', (event) => {
	const tabs = [...$('tabs').children];
	const at = tabs.indexOf(document.activeElement);
	const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];

	if (to === undefined)
		return;
	event.preventDefault();
	tabs.at(to % tabs.length).focus();
	tabs.at(to % tabs.length).click();
});

$('pause').addEventListener('click', () => {
	paused = !paused;
	$('pause').setAttribute('aria-pressed', paused);
	if (paused) {
		stop();
		state('paused', asOf ? `Paused at ${clock(asOf)}` : 'Paused');
	} else {
		go();
	}
});

$('filter').addEventListener('input', () => answers && showTable());
$('chosen').addEventListener('click', () => onChoose(null));
document.addEventListener('visibilitychange', () => (paused ? stop() : go()));
// In the next frame: else a drawing that changes the page's height makes the observer complain.
new ResizeObserver(() => requestAnimationFrame(() => answers && showDrawing()))
	.observe($('map').parentElement);
go();
