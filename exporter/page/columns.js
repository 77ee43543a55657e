// SPDX-License-Identifier: LGPL-2.1-or-later
// The tables: of which list each is, and with which columns. A column has a value, which sorts and
// is looked for, and a form, in which the value reads.

import { age, byteRate, bytes, clock, count, micros, plain, rate } from './text.js';

const as = (title, value, form, more = {}) => ({ title, value, form, numeric: true, ...more });
const text = (title, value, more = {}) => as(title, value, plain, { numeric: false, ...more });

const joined = (words, by) => words.filter((word) => word || word === 0).join(by) || null;
const party = (who) => who && joined([who.domain, who.comm, who.pid], ' ');
const user = ({ uid }) => (uid === undefined ? null : `user ${uid}`);
const program = (end) => (end.pid === null ? 'not back yet' : `${end.comm} ${end.pid}`);
const programs = (one, other) => `${program(one)}, ${program(other)}`;
const domainOf = ({ domain, domid }) => domain ?? `domain ${domid}`;
const both = (one, other, what) => (one && other ? one[what] + other[what] : null);

const inLink = (row, what) => both(row.creator_traffic, row.binder_traffic, what);
const inChannel = (row, what) => both(row.from_traffic, row.to_traffic, what);

const RATES = [
	as('Sent', (row, moved) => moved?.sent, byteRate),
	as('Received', (row, moved) => moved?.received, byteRate),
	as('Messages', (row, moved) => moved?.messages, rate, {
		hint: 'A second, sent and received',
	}),
];

const DIRECTIONS = { out: ', to the listener', in: ', to the caller' };

const STAGES = {
	queue: 'held after a start of msgd, or for the turn of its domain',
	name: 'waited for the name, or for the domain to be started',
	lookup: 'policy and lookup, and the answer of a program',
	link: 'the two applications made their link',
	accept: 'until the listener took the channel',
};

function stages(us) {
	const known = Object.keys(STAGES).filter((stage) => us?.[stage] !== undefined);

	return joined(known.map((stage) => `${stage} ${micros(us[stage])}`), ', ');
}

// The reason of an event: of a refusal, with its rule.
export function why({ error, reason, rule }) {
	return joined([error, reason, rule && (rule === 'no rule' ? rule : `by ${rule}`)], ': ');
}

// The domain and application that an event is about, and its target.
export function whom({ who, peer, name }) {
	return joined([party(who), joined([peer?.domain, name], '/')], ' to ');
}

// lists: to ask for, the rows' own first. rows: of the answers by list. rates: those of its rows.
// involved: a row's domains by number, of which one may be chosen on the drawing. sort, down: the
// column that sorts at first, and its order.
export const TABLES = {
	domains: {
		title: 'Domains',
		lists: ['domains', 'stats'],
		sort: 1,
		rows: ({ domains, stats }) => {
			const of = new Map(stats.counts.map((row) => [row.domid, row]));

			return domains.domains.map((row) => ({ ...row, did: of.get(row.domid) }));
		},
		rates: 'domain',
		involved: ({ domid }) => [domid],
		columns: [
			text('Domain', (row) => row.name),
			as('Id', (row) => row.domid, String),
			text('State', (row) => row.state + (row.blocked ? ', blocked' : '')),
			as('Applications', (row) => row.used.processes, count),
			as('Names', (row) => row.used.names, count),
			as('Links', (row) => row.used.links, count),
			as('Channels', (row) => row.used.channels, count),
			...RATES,
			as('Refused', (row) => row.did?.refused, count, { bad: true }),
			as('Failed', (row) => row.did?.failed, count, { bad: true }),
			as('Reset', (row) => row.did?.reset, count, { bad: true }),
			as('Memory', (row) => row.used.memory, bytes, { hint: 'Of msgd, for it' }),
		],
	},
	names: {
		title: 'Names',
		lists: ['names'],
		sort: 0,
		rows: ({ names }) => names.names,
		rates: 'name',
		involved: ({ holder }) => [holder.domid],
		columns: [
			text('Name', (row) => joined([row.holder.domain, row.name], '/')),
			text('Type', (row) => row.type),
			text('State', (row) => row.state),
			as('Queue', (row) => row.offered, count, { hint: 'Not accepted yet' }),
			as('Backlog', (row) => row.backlog, count, { hint: 'How many may queue' }),
			text('Listener', (row) => program(row.holder)),
			...RATES,
			as('Age', (row) => row.age_s, age),
		],
	},
	links: {
		title: 'Links',
		lists: ['links'],
		sort: 0,
		rows: ({ links }) => links.links,
		rates: 'link',
		involved: ({ creator, binder }) => [creator.domid, binder.domid],
		columns: [
			text('From', (row) => domainOf(row.creator)),
			text('To', (row) => domainOf(row.binder)),
			text('Transport', (row) => row.transport, { mark: true }),
			text('Why', (row) => row.reason),
			text('State', (row) => row.state),
			as('Channels', (row) => row.channels, count),
			...RATES,
			as('No room', (row) => inLink(row, 'no_room'), count, {
				hint: 'How often a send found no room in the ring',
			}),
			text('Applications', (row) => programs(row.creator, row.binder)),
			as('Age', (row) => row.age_s, age),
			text('Link', (row) => row.uid),
		],
	},
	channels: {
		title: 'Channels',
		lists: ['channels'],
		sort: 1,
		rows: ({ channels }) => channels.channels,
		rates: 'channel',
		involved: ({ from, to }) => [from.domid, to.domid],
		columns: [
			text('From', (row) => domainOf(row.from)),
			text('To', (row) => joined([row.to.domain, row.name], '/')),
			text('Type', (row) => row.type + (DIRECTIONS[row.direction] ?? '')),
			text('Transport', (row) => row.transport, { mark: true }),
			text('State', (row) => row.state),
			as('Unread', (row) => inChannel(row, 'unread'), bytes, {
				hint: 'At both ends',
			}),
			as('Unsent', (row) => inChannel(row, 'unsent'), bytes, {
				hint: 'For want of credit or room, at both ends',
			}),
			...RATES,
			as('Dropped', (row) => inChannel(row, 'drops'), count, {
				bad: true,
				hint: 'Datagrams',
			}),
			text('Applications', (row) => programs(row.from, row.to)),
			as('Age', (row) => row.age_s, age),
			text('Channel', (row) => `${row.link}:${row.channel}`),
		],
	},
	applications: {
		title: 'Applications',
		lists: ['applications'],
		sort: 0,
		rows: ({ applications }) => applications.applications,
		involved: ({ domid }) => [domid],
		columns: [
			text('Domain', (row) => row.domain),
			text('Program', (row) => row.comm, { hint: 'In its own words' }),
			as('Pid', (row) => row.pid, String, { hint: 'In its own words' }),
			text('State', (row) => row.state),
			as('Names', (row) => row.names, count),
			as('Links', (row) => row.links, count),
			as('Channels', (row) => row.channels, count),
			as('Requests', (row) => row.requests, count, { hint: 'Not answered yet' }),
			as('Ports', (row) => row.ports, count),
			as('Rings', (row) => row.rings, count),
			as('Granted', (row) => row.granted_pages, count, { hint: 'Pages' }),
			as('Mapped', (row) => row.mapped_pages, count, { hint: 'Pages' }),
			as('Age', (row) => row.age_s, age),
			text('Features', (row) => row.features.join(' ')),
		],
	},
	connects: {
		title: 'Connects',
		lists: ['stats'],
		sort: null,
		note: 'The time that connects took since the start of msgd, stage by stage.',
		rows: ({ stats }) =>
			Object.keys(STAGES).map((stage) => ({ stage, ...stats.latency[stage] })),
		columns: [
			text('Stage', (row) => row.stage),
			as('Connects', (row) => row.n, count),
			as('Median', (row) => row.p50, micros),
			as('90 %', (row) => row.p90, micros, { hint: '90 of 100 took no longer' }),
			as('99 %', (row) => row.p99, micros, { hint: '99 of 100 took no longer' }),
			as('Longest', (row) => row.max, micros),
			text('Meaning', (row) => STAGES[row.stage]),
		],
	},
	rules: {
		title: 'Refusals',
		lists: ['stats'],
		sort: 1,
		down: true,
		note: 'How often each rule of the policy in force has refused.',
		rows: ({ stats }) => stats.refusals,
		columns: [
			text('Rule', (row) => row.rule),
			as('Refused', (row) => row.refused, count, { bad: true }),
		],
	},
	events: {
		title: 'Events',
		lists: ['history'],
		sort: 0,
		down: true,
		rows: ({ history }) => history.history,
		involved: ({ who, peer }) => [who?.domid, peer?.domid],
		columns: [
			as('No.', (row) => row.serial, String),
			text('Time', (row) => clock(row.time_us / 1000)),
			text('Event', (row) => row.kind, { mark: true }),
			text('Who', (row) => party(row.who) ?? user(row)),
			text('With', (row) => party(row.peer)),
			text('Name', (row) => row.name),
			text('Why', why),
			text('Stages', (row) => stages(row.us)),
			text('Channel', (row) => joined([row.link, row.channel], ':')),
		],
	},
};
