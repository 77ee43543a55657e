// SPDX-License-Identifier: LGPL-2.1-or-later
// The layout of the drawing, pure: domains on a ring, in the order of their numbers, and an edge
// for each pair that has links. Places follow from the set of domains and the width alone, so that
// nothing moves while nobody comes or goes.

import { keys } from './rates.js';
import { plain } from './text.js';

const NODES_MAX = 48; // names are legible around a ring of so many
const ROOMY = 14; // up to so many, names are level and rates are beside them

function one(domain) {
	return {
		key: keys.domain(domain),
		name: plain(domain.name),
		state: domain.blocked ? 'blocked' : domain.state,
		members: new Set([domain.domid]),
	};
}

function many(key, domains, name) {
	return { key, name, state: 'many', members: new Set(domains.map(({ domid }) => domid)) };
}

// The nodes, and a note if some stand for many domains. Where there are too many, those without a
// link are one node; if the rest is still too many, those with the most links have their own.
export function nodesOf(domains, links) {
	const sorted = [...domains].sort((a, b) => a.domid - b.domid);
	const degree = new Map();

	if (sorted.length <= NODES_MAX)
		return { nodes: sorted.map(one), note: '' };
	for (const { creator, binder } of links)
		for (const { domid } of [creator, binder])
			degree.set(domid, (degree.get(domid) ?? 0) + 1);
	const idle = sorted.filter(({ domid }) => !degree.has(domid));
	const ranked = sorted.filter(({ domid }) => degree.has(domid));

	ranked.sort((a, b) => degree.get(b.domid) - degree.get(a.domid) || a.domid - b.domid);
	const others = ranked.splice(NODES_MAX - 2);
	const nodes = ranked.sort((a, b) => a.domid - b.domid).map(one);
	const notes = [];

	if (others.length > 0) {
		nodes.push(many('others', others, `${others.length} others`));
		notes.push(`${others.length} with fewer links`);
	}
	if (idle.length > 0) {
		nodes.push(many('idle', idle, `${idle.length} unlinked`));
		notes.push(`${idle.length} without links`);
	}
	return {
		nodes,
		note: `${sorted.length} domains: ${notes.join(' and ')} are drawn together.`,
	};
}

// The edges, those that carry most first. a and b are indices of nodes.
export function edgesOf(nodes, links, rates) {
	const at = new Map();
	const edges = new Map();

	nodes.forEach((node, i) => node.members.forEach((domid) => at.set(domid, i)));
	for (const link of links) {
		const ends = [at.get(link.creator.domid), at.get(link.binder.domid)];

		if (ends.includes(undefined))
			continue;
		const [a, b] = ends.sort((x, y) => x - y);
		const key = `${nodes[a].key} ${nodes[b].key}`;
		const none = { key, a, b, links: 0, channels: 0, rate: 0, transports: new Set() };
		const edge = edges.get(key) ?? none;
		const rate = rates.of(keys.link(link));

		edge.links++;
		edge.channels += link.channels;
		edge.rate += rate ? rate.sent + rate.received : 0;
		edge.transports.add(link.transport);
		edges.set(key, edge);
	}
	return [...edges.values()].sort((a, b) => b.rate - a.rate || (a.key < b.key ? -1 : 1));
}

function clamp(value, least, most) {
	return Math.min(Math.max(value, least), most);
}

// The size of a drawing of n nodes, and their places on its ring.
export function ring(n, width) {
	const roomy = n <= ROOMY;
	const height = roomy ? clamp(width * 0.5, 240, 400) : clamp(width * 0.85, 320, 560);
	const beside = roomy ? Math.min(160, width * 0.27) : Math.min(110, width * 0.22);
	const rx = roomy ? width / 2 - beside : Math.min(width, height) / 2 - beside;
	const ry = roomy ? height / 2 - 46 : rx;
	// A letter is 8 wide, or 6.4.
	const letters = Math.floor(roomy ? (beside - 20) / 8 : (beside - 12) / 6.4);
	const start = n === 2 ? Math.PI : Math.PI / 2;
	const places = Array.from({ length: n }, (_, i) => {
		const angle = (i / n) * 2 * Math.PI - start;
		const far = n > 1 ? 1 : 0;

		return {
			angle,
			cos: Math.cos(angle),
			sin: Math.sin(angle),
			x: width / 2 + far * rx * Math.cos(angle),
			y: height / 2 + far * ry * Math.sin(angle),
		};
	});

	return { width, height, roomy, rx, letters, places };
}

// The path of an edge, bent to the middle of the ring, and the place of words on it.
export function curve({ width, height, rx }, from, to) {
	const middle = [(from.x + to.x) / 2, (from.y + to.y) / 2];
	const pull = 0.15 + 0.35 * Math.min(Math.hypot(to.x - from.x, to.y - from.y) / (2 * rx), 1);
	const x = middle[0] + (width / 2 - middle[0]) * pull;
	const y = middle[1] + (height / 2 - middle[1]) * pull;

	return {
		d: `M${from.x} ${from.y} Q${x} ${y} ${to.x} ${to.y}`,
		x: (from.x + 2 * x + to.x) / 4,
		y: (from.y + 2 * y + to.y) / 4,
	};
}

// The same for the links inside a domain: a loop, to the inside of the ring.
export function loop({ x, y, cos, sin }) {
	const out = [x - cos * 46, y - sin * 46];
	const side = [-sin * 26, cos * 26];

	return {
		d: `M${x} ${y} C${out[0] + side[0]} ${out[1] + side[1]} ` +
			`${out[0] - side[0]} ${out[1] - side[1]} ${x} ${y}`,
		x: out[0],
		y: out[1],
	};
}
