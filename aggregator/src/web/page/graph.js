// Who talks to whom: the graph drawn and told. What open incidents are about is red and leads to them.

import { ago, amount, h, s, skew } from './draw.js';
import { state } from './state.js';

const NET_MAX = 60;
const ROWS_MAX = 500;
const CHANGES_MAX = 50;
const FRESH_S = 600;
export const WAY = { client: 'sessions', foreign_server: 'foreign server', replication: 'replication', membership: 'may act as', refused_login: 'refused logins' };
const keyOf = (edge) => `${edge.from} ${edge.to} ${edge.kind}`;

/** Edges that came within the last ten minutes. */
function freshEdges(graph) {
  const since = Date.now() / 1000 + skew.seconds - FRESH_S;
  return new Set(graph.changes.filter((change) => change.came && change.at >= since).map(keyOf));
}

/** Edges that open incidents are about, each with its incident's id. */
function alarmedEdges() {
  const open = state.incidents.filter((incident) => incident.state === 'open' && incident.intrusion && !incident.intrusion.accepted);
  return open.flatMap((incident) => incident.intrusion.edges.map((edge) => ({ ...edge, id: incident.id })));
}

/** What is drawn: all places but roles that nobody is alarmed about; where these are too many, those around the alarms. */
function places({ vertices, edges }, alarmed) {
  const ends = new Set(alarmed.flatMap((edge) => [edge.from, edge.to]));
  const all = vertices.filter((vertex) => vertex.kind !== 'role' || ends.has(vertex.id));
  if (all.length <= NET_MAX) return all;
  const beside = new Set(edges.filter((edge) => ends.has(edge.from) || ends.has(edge.to)).flatMap((edge) => [edge.from, edge.to]));
  return [...all.filter((vertex) => ends.has(vertex.id)), ...all.filter((vertex) => !ends.has(vertex.id) && beside.has(vertex.id))].slice(0, NET_MAX);
}

function picture(graph, alarmed) {
  const shown = places(graph, alarmed);
  if (shown.length === 0) return null;
  const health = new Map(state.shards.shards.map((shard) => [shard.shard, shard.health]));
  const alarms = new Map(alarmed.map((edge) => [keyOf(edge), edge.id]));
  return h('div', { class: 'card net-card', tabindex: 0, role: 'region', 'aria-label': 'picture' }, net(shown, graph.edges, (shard) => health.get(shard) ?? '', { landmarks: graph.landmarks, fresh: freshEdges(graph), alarms }));
}

const LEGEND = [['client', 'sessions'], ['foreign_server', 'foreign server'], ['replication', 'replication']];

/** `red` says what is red. */
function legend(graph, red) {
  const kinds = new Set(graph.edges.map((edge) => edge.kind));
  return h('p', { class: 'quiet small legends' }, [['alarm', red], ...LEGEND.filter(([kind]) => kinds.has(kind))].map(([kind, word]) => h('span', null,
    s('svg', { class: 'net key', viewBox: '0 0 24 8', width: 24, height: 8, 'aria-hidden': 'true' }, s('path', { class: kind, d: 'M0 4H24', 'stroke-width': 2.5 })), word)),
  h('span', null, h('span', { class: 'landmark-key', 'aria-hidden': 'true' }, '◆'), 'landmark'));
}

/** The picture around some edges, for their incident's page. */
export function ways(alarmed) {
  const { graph } = state;
  if (!graph) return null;
  const ends = new Set(alarmed.flatMap((edge) => [edge.from, edge.to]));
  return graph.vertices.some((vertex) => ends.has(vertex.id)) && [picture(graph, alarmed), legend(graph, 'this incident\u2019s, or new')];
}

export function graphPage() {
  const { graph } = state;
  if (!graph) return [h('h2', null, 'Who talks to whom'), h('p', { class: 'empty' }, 'Reading who talks to whom …')];
  const { vertices, edges, landmarks } = graph;
  if (edges.length === 0) return [h('h2', null, 'Who talks to whom'), h('p', { class: 'empty' }, 'No interaction is known yet. Agents tell who holds sessions on their database, about every ten seconds.')];
  const labels = new Map(vertices.map((vertex) => [vertex.id, vertex.label]));
  const alarmed = alarmedEdges();
  const alarms = new Map(alarmed.map((edge) => [keyOf(edge), edge.id]));
  const fresh = freshEdges(graph);
  const rank = (edge) => (alarms.has(keyOf(edge)) ? 2 : fresh.has(keyOf(edge)) ? 1 : 0);
  const sorted = [...edges].sort((a, b) => rank(b) - rank(a) || b.sessions - a.sessions);
  const [roles, sessions] = [sorted.filter((edge) => edge.kind === 'membership'), sorted.filter((edge) => edge.kind !== 'membership')];
  const nRoles = landmarks.filter((id) => id.startsWith('role:')).length;
  const isPartial = places(graph, alarmed).length < vertices.filter((vertex) => vertex.kind !== 'role').length;
  return [h('section', null, h('div', { class: 'head' }, h('h2', null, 'Who talks to whom'), h('span', { class: 'legend' }, `${vertices.length} places, ${edges.length} ways between them`)),
    picture(graph, alarmed), legend(graph, 'new, or an open incident\u2019s (leads to it)'),
    isPartial && h('p', { class: 'quiet small' }, alarmed.length > 0 ? `Too many to draw: the picture shows what is around open incidents, ${NET_MAX} places at most.` : 'Too many to draw; the tables tell all.'),
    h('p', { class: 'quiet small' }, `${landmarks.length} landmarks${nRoles > 0 ? ` (${nRoles} are roles, which are not drawn)` : ''}: the distances to them tell places of one kind and shard apart; ${graph.twins} places that have the same neighbours as another stay together. Their agents look at connections more often: ${graph.landmark_nodes.join(', ') || 'none yet'}.${graph.waiting > 0 ? ` ${graph.waiting} more clients are suspected than incidents can be open: end or accept some.` : ''}${graph.left_out > 0 ? ` ${amount(graph.left_out)} ways are beyond the limits: nothing is known of them.` : ''}`)),
  changesOf(graph, labels),
  sessionTable(sessions, labels, alarms), roleTable(roles, labels, alarms)];
}

function changesOf(graph, labels) {
  const changes = graph.changes.slice(0, CHANGES_MAX);
  if (changes.length === 0) return null;
  return h('section', null, h('div', { class: 'head' }, h('h2', null, 'What came and went')), h('div', { class: 'scroll' }, h('table', null,
    h('thead', null, h('tr', null, ['When', '', 'From', 'To', 'Way'].map((name) => h('th', { scope: 'col' }, name)), h('th', { class: 'num', scope: 'col' }, 'Distances changed'))),
    h('tbody', null, changes.map((change) => h('tr', null, h('td', null, ago(change.at)), h('td', { class: change.came ? 'state' : 'quiet' }, change.came ? 'came' : 'went'),
      h('td', null, labels.get(change.from) ?? change.from), h('td', null, labels.get(change.to) ?? change.to), h('td', { class: 'quiet' }, WAY[change.kind]), h('td', { class: 'num' }, amount(change.distances))))))));
}

/** A way's ends; one that an incident is about leads to it. */
function ends(edge, labels, alarms) {
  const id = alarms.get(keyOf(edge));
  const from = labels.get(edge.from) ?? edge.from;
  return [h('td', { class: 'nowrap' }, id ? h('a', { class: 'state', href: `#incident/${id}` }, from) : from), h('td', { class: 'nowrap' }, labels.get(edge.to) ?? edge.to)];
}

function cut(rows) {
  return rows.length > ROWS_MAX && h('p', { class: 'quiet small' }, `and ${amount(rows.length - ROWS_MAX)} more; hsw graph show --json tells all.`);
}

function sessionTable(rows, labels, alarms) {
  const tells = (field) => rows.some((edge) => edge[field] !== null);
  const columns = [['Sessions', 'sessions'], ['Active', 'active'], ['Round trip', 'rtt_ms', 'milliseconds'], ['Sent', 'tx_bytes_per_s', 'bytes_per_second'], ['Received', 'rx_bytes_per_s', 'bytes_per_second'], ['Behind', 'lag_bytes', 'bytes']].filter(([, field]) => tells(field));
  return h('section', null, h('div', { class: 'scroll' }, h('table', { class: 'tight' },
    h('thead', null, h('tr', null, ['From', 'To', 'Way'].map((name) => h('th', { scope: 'col' }, name)), columns.map(([name]) => h('th', { class: 'num', scope: 'col' }, name)), ['Last minute', 'First seen', 'Last seen'].map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', null, rows.slice(0, ROWS_MAX).map((edge) => h('tr', { 'data-key': keyOf(edge) }, ends(edge, labels, alarms), h('td', { class: 'quiet nowrap' }, WAY[edge.kind]),
      columns.map(([, field, unit]) => h('td', { class: 'num' }, amount(edge[field], unit))),
      h('td', null, spark(edge.history)), h('td', null, ago(edge.first_seen)), h('td', null, ago(edge.last_seen))))))), cut(rows));
}

function roleTable(rows, labels, alarms) {
  return rows.length > 0 && h('section', null, h('div', { class: 'head' }, h('h2', null, 'Who may act as whom')), h('div', { class: 'scroll' }, h('table', { class: 'tight' },
    h('thead', null, h('tr', null, ['Role', 'May act as', 'First seen', 'Last seen'].map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', null, rows.slice(0, ROWS_MAX).map((edge) => h('tr', { 'data-key': keyOf(edge) }, ends(edge, labels, alarms), h('td', null, ago(edge.first_seen)), h('td', null, ago(edge.last_seen))))))), cut(rows));
}

/** What an edge carries, in words. */
function carries(edge) {
  const parts = [[edge.sessions, '', 'sessions'], [edge.active, '', 'active'], [edge.rtt_ms, 'milliseconds', 'round trip'], [edge.tx_bytes_per_s, 'bytes_per_second', 'sent'], [edge.rx_bytes_per_s, 'bytes_per_second', 'received'], [edge.lag_bytes, 'bytes', 'behind']];
  return parts.filter(([value]) => value !== null && value !== undefined).map(([value, unit, word]) => `${amount(value, unit)} ${word}`).join(', ');
}

/** The last minute of an edge's sessions, a bar a step; what nobody said is a gap. */
function spark(history) {
  const steps = history?.sessions ?? [];
  const most = Math.max(1e-9, ...steps.filter((step) => step !== null));
  const bars = steps.map((step, n) => step !== null && s('rect', { x: n * 5, y: (14 - 13 * (step / most)).toFixed(1), width: 4, height: (1 + 13 * (step / most)).toFixed(1) }));
  const said = steps.map((step) => amount(step)).join(', ');
  return s('svg', { class: 'spark', viewBox: '0 0 60 15', width: 60, height: 15, role: 'img', 'aria-label': `sessions each five seconds: ${said}` }, s('title', null, said), bars);
}

const COLUMNS = [['client', 'service', 'role'], ['router'], ['shard'], ['replica']];
const ROW = 40;
const CHARACTER = 7.2;

/** Left to right: clients, routers, primaries, replicas; what is new above what is not. */
function net(vertices, edges, healthOf, { landmarks, fresh, alarms }) {
  const width = window.innerWidth < 900 ? 760 : 1100;
  const box = width < 1000 ? 180 : 215;
  const columns = COLUMNS.map((kinds) => vertices.filter((vertex) => kinds.includes(vertex.kind))).filter((column) => column.length > 0);
  const gap = columns.length > 1 ? (width - box) / (columns.length - 1) : 0;
  const height = Math.max(...columns.map((column) => column.length)) * ROW + 10;
  const at = new Map();
  columns.forEach((column, c) => column.forEach((vertex, r) => {
    at.set(vertex.id, { x: c * gap, y: ((r + 0.5) * height) / column.length, column: c, box, label: vertex.label });
  }));
  const rank = (edge) => (alarms.has(keyOf(edge)) ? 2 : fresh.has(keyOf(edge)) ? 1 : 0);
  const drawn = edges.filter((edge) => at.has(edge.from) && at.has(edge.to)).sort((a, b) => rank(a) - rank(b));
  const lines = drawn.map((edge) => way(edge, at, alarms.get(keyOf(edge)), fresh.has(keyOf(edge))));
  const boxes = vertices.filter((vertex) => at.has(vertex.id)).map((vertex) => {
    const { x, y } = at.get(vertex.id);
    const isLandmark = landmarks.includes(vertex.id);
    const room = Math.floor((box - (isLandmark ? 30 : 14)) / CHARACTER);
    const text = vertex.label.length > room ? `${vertex.label.slice(0, room - 1)}…` : vertex.label;
    return s('g', { class: healthOf(vertex.shard) },
      s('rect', { x: x + 0.5, y: y - 15, width: box - 1, height: 30, rx: 6 }),
      s('text', { x: x + 10, y: y + 4 }, text), isLandmark && s('text', { class: 'mark', x: x + box - 18, y: y + 4 }, '◆'), s('title', null, `${vertex.kind} ${vertex.label}${isLandmark ? ', a landmark' : ''}`));
  });
  return s('svg', { class: 'net', viewBox: `-1 0 ${width + 2} ${height}`, role: 'group', 'aria-label': 'who talks to whom; the tables say the same' }, lines, boxes);
}

function way(edge, at, incident, isFresh) {
  const [a, b] = [at.get(edge.from), at.get(edge.to)];
  const isBackwards = b.column < a.column;
  const x1 = isBackwards ? a.x : a.x + a.box;
  const x2 = b.column > a.column ? b.x : b.x + b.box;
  const bend = b.column === a.column ? 60 : (x2 - x1) / 2;
  const d = `M${x1} ${a.y}C${x1 + bend} ${a.y} ${b.column === a.column ? x2 + bend : x2 - bend} ${b.y} ${x2} ${b.y}`;
  const said = `${a.label} → ${b.label}: ${carries(edge)}`;
  const line = s('path', { class: `${edge.kind}${incident ? ' alarm' : isFresh ? ' fresh' : ''}`, 'stroke-width': (1 + Math.min(4, Math.log2(1 + edge.sessions))).toFixed(1), d }, s('title', null, said));
  if (!incident) return line;
  // A line is thin for a finger or a mouse: what is hit is wider than what is seen.
  return s('a', { href: `#incident/${incident}`, 'aria-label': `${said}; to its incident` }, s('path', { class: 'target', d }, s('title', null, said)), line);
}
