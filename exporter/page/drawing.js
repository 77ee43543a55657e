// SPDX-License-Identifier: LGPL-2.1-or-later
// The drawing in SVG. Its elements stay from refresh to refresh, with what has changed of them.

import { byteRate, count, plain, short } from './text.js';
import { curve, edgesOf, loop, nodesOf, ring } from './layout.js';

const EDGES_MAX = 400; // those that carry most; 48 nodes have 1176 pairs
const LABELLED = 6; // up to so many edges are written on,
const LABELLED_WIDTH = 520; // where there is room
const WIDTH_MIN = 260;
const PADDING = 32; // of the section, in status.css

const SVG = 'http://www.w3.org/2000/svg';

function part(name, parent, attributes = {}) {
	const element = document.createElementNS(SVG, name);

	parent.append(element);
	put(element, attributes);
	return element;
}

function put(element, attributes) {
	for (const [key, value] of Object.entries(attributes))
		if (element.getAttribute(key) !== String(value))
			element.setAttribute(key, value);
}

function say(element, text) {
	if (element.textContent !== text)
		element.textContent = text;
}

// Removes what is not wanted any more.
function keep(map, wanted, remove) {
	for (const [key, value] of map)
		if (!wanted.has(key)) {
			remove(value);
			map.delete(key);
		}
}

const several = (n, thing) => `${count(n)} ${thing}${n === 1 ? '' : 's'}`;

export class Drawing {
	#svg;
	#edgeLayer;
	#labelLayer;
	#nodeLayer;
	#edges = new Map(); // by key: {line, label}
	#nodes = new Map(); // by key: an element, whose node is the one that it shows
	#current = 0; // the node that the tab key comes to
	#onChoose;

	// onChoose(node): the user's choice.
	constructor(svg, onChoose) {
		this.#svg = svg;
		this.#edgeLayer = part('g', svg);
		this.#labelLayer = part('g', svg, { 'aria-hidden': 'true' });
		this.#nodeLayer = part('g', svg);
		this.#onChoose = onChoose;
		svg.addEventListener('keydown', (event) => this.#key(event));
	}

	#key(event) {
		const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
		const shown = this.#nodeLayer.children;

		if (step && shown.length > 0)
			shown[(this.#current + step + shown.length) % shown.length].focus();
		else if (event.key === 'Enter' || event.key === ' ')
			this.#onChoose(event.target.closest('.node')?.node ?? null);
		else
			return;
		event.preventDefault();
	}

	#makeCurrent(i) {
		this.#current = Math.max(i, 0);
		for (const [j, g] of [...this.#nodeLayer.children].entries())
			put(g, { tabindex: j === this.#current ? 0 : -1 });
	}

	#newNode() {
		const g = part('g', this.#nodeLayer, { class: 'node', role: 'button' });

		part('title', g);
		part('circle', g);
		part('text', g, { class: 'name' });
		part('text', g, { class: 'rate' });
		g.addEventListener('click', () => this.#onChoose(g.node));
		g.addEventListener('focusin', () =>
			this.#makeCurrent([...this.#nodeLayer.children].indexOf(g)));
		return g;
	}

	// Beside the dot, or above or below it.
	#levelNames([, , name, traffic], node, state, moved, { cos, sin }, letters) {
		const anchor = Math.abs(cos) < 0.35 ? 'middle' : cos > 0 ? 'start' : 'end';
		const x = anchor === 'middle' ? 0 : Math.sign(cos) * 16;
		const y = anchor !== 'middle' ? -2 : sin < 0 ? -30 : 26;
		const room = anchor === 'middle' ? 24 : letters;

		put(name, { x, y, 'text-anchor': anchor, transform: '' });
		put(traffic, { x, y: y + 15, 'text-anchor': anchor });
		say(name, short(node.name, Math.max(room - state.length, 4)) + state);
		say(traffic, node.state === 'many' ? '' : moved);
	}

	// Outwards, as the spokes of a wheel.
	#turnedNames([, , name, traffic], node, { angle, cos }, letters) {
		const left = cos < -1e-9;
		const turned = (angle * 180) / Math.PI + (left ? 180 : 0);

		put(name, {
			x: left ? -10 : 10,
			y: 4,
			'text-anchor': left ? 'end' : 'start',
			transform: `rotate(${turned.toFixed(1)})`,
		});
		say(name, short(node.name, letters));
		say(traffic, '');
	}

	#node(node, place, { roomy, letters }, rate, chosen) {
		const g = this.#nodes.get(node.key) ?? this.#newNode();
		const state = ['running', 'many'].includes(node.state) ? '' : ` (${node.state})`;
		const moved = byteRate(rate && rate.sent + rate.received);
		const words = node.name + (node.state === 'many' ? '' : `${state}, ${moved}`);

		g.node = node;
		this.#nodes.set(node.key, g);
		put(g, {
			transform: `translate(${place.x.toFixed(1)} ${place.y.toFixed(1)})`,
			'data-state': node.state,
			'aria-pressed': chosen === node.key,
			'aria-label': words,
		});
		say(g.children[0], words);
		put(g.children[1], { r: roomy ? 9 : 5 });
		if (roomy)
			this.#levelNames(g.children, node, state, moved, place, letters);
		else
			this.#turnedNames(g.children, node, place, letters);
		return g;
	}

	#edge(edge, nodes, size, labelled, chosen) {
		const ends = [nodes[edge.a], nodes[edge.b]];
		const [from, to] = [size.places[edge.a], size.places[edge.b]];
		const { d, x, y } = edge.a === edge.b ? loop(from) : curve(size, from, to);
		const kinds = [...edge.transports].sort().map(plain);
		const moved = byteRate(edge.rate);
		let pair = this.#edges.get(edge.key);

		if (!pair) {
			pair = {
				line: part('path', this.#edgeLayer, { class: 'edge' }),
				label: part('text', this.#labelLayer, { class: 'on-edge' }),
			};
			part('title', pair.line);
			this.#edges.set(edge.key, pair);
		}
		put(pair.line, {
			d,
			'data-transport': kinds.length === 1 ? kinds[0] : 'mixed',
			'data-moving': edge.rate > 0,
			'data-many': ends.some(({ state }) => state === 'many'),
			'data-dim': chosen !== null && ends.every(({ key }) => key !== chosen),
			'stroke-width': (1.5 + 0.7 * Math.log10(1 + edge.rate / 1000)).toFixed(1),
		});
		say(pair.line.firstChild, `${ends[0].name} and ${ends[1].name}: ` +
			`${several(edge.links, 'link')}, ${kinds.join(', ')}, ` +
			`${several(edge.channels, 'channel')}, ${moved}`);
		put(pair.label, { x, y: y + 4 });
		say(pair.label, labelled ? `${kinds.join(', ')} ${moved}` : '');
	}

	// Elements in the order of their nodes, for the keys. One that moves loses the focus.
	#order(wanted) {
		const layer = this.#nodeLayer;
		const focused = layer.contains(document.activeElement);

		wanted.forEach((g, i) => {
			if (layer.children[i] !== g)
				layer.insertBefore(g, layer.children[i] ?? null);
		});
		this.#makeCurrent(Math.min(this.#current, wanted.length - 1));
		if (focused && !layer.contains(document.activeElement))
			wanted[this.#current]?.focus();
	}

	// The node of that key as it is drawn now, or undefined.
	find(key) {
		return this.#nodes.get(key)?.node;
	}

	// Draws it as wide as there is room. A note on what is not drawn one by one, or ''.
	draw(domains, links, rates, chosen) {
		const { nodes, note } = nodesOf(domains, links);
		const edges = edgesOf(nodes, links, rates.link);
		const drawn = edges.slice(0, EDGES_MAX);
		const room = this.#svg.parentElement.clientWidth - PADDING;
		const size = ring(nodes.length, Math.max(room, WIDTH_MIN));
		const { width, height, roomy } = size;
		const labelled = edges.length <= LABELLED && width >= LABELLED_WIDTH;
		const notes = [note];

		put(this.#svg, { width, height, 'data-roomy': roomy });
		put(this.#svg, { viewBox: `0 0 ${width} ${height}` });
		keep(this.#nodes, new Set(nodes.map(({ key }) => key)), (g) => g.remove());
		keep(this.#edges, new Set(drawn.map(({ key }) => key)), ({ line, label }) => {
			line.remove();
			label.remove();
		});
		this.#order(nodes.map((node, i) =>
			this.#node(node, size.places[i], size, rates.domain.of(node.key), chosen)));
		drawn.forEach((edge) => this.#edge(edge, nodes, size, labelled, chosen));
		if (edges.length > drawn.length)
			notes.push(`Of ${count(edges.length)} edges, the ${EDGES_MAX} busiest.`);
		return notes.filter(Boolean).join(' ');
	}
}
