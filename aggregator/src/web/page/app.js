// The page: keeps itself live and draws one of its views. No framework, nothing loaded from elsewhere.

import { ago, amount, h, patch, refreshTimes } from './draw.js';
import { tokenForm } from './forms.js';
import { graphPage } from './graph.js';
import { hotPage, hotPlace } from './hot.js';
import { calm, incidentCard, incidentList, incidentPage, incidentTable, mountCharts } from './incident.js';
import { headers, load, route, state, whenLoaded } from './state.js';
import { LIVENESS, agentsPage, silencesPage, triggersPage } from './tables.js';

const main = document.getElementById('main');
const POLL_MS = 5000;
const DENSE_FROM = 41;

/** Server-sent events by fetch, because EventSource cannot carry a token. Falls back to polling, and tries again. */
async function follow() {
  for (;;) {
    try {
      const response = await fetch('/api/v1/events', { headers: headers() });
      if (!response.ok) throw new Error(String(response.status));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        pace = ['on', 'live'];
        if (value.includes('event: pulse')) await load();
      }
    } catch { /* told by the next reading */ }
    pace = ['', 'every 5 s'];
    await load();
    do await new Promise((resume) => setTimeout(resume, POLL_MS));
    while (state.asksToken);
  }
}

let pace = ['', 'connecting'];

/** Says how fresh the page is, or that it is not. */
function tellPace() {
  const element = document.getElementById('live');
  const [kind, text] = state.asksToken ? ['off', 'token needed'] : state.fault ? ['off', 'not reached'] : pace;
  element.className = `live ${kind}`;
  if (element.textContent !== text) element.textContent = text;
}

// Drawing ---------------------------------------------------------------------------------------------------------

const VIEWS = { overview, incidents: incidentList, incident: incidentPage, hot: hotView, graph: graphPage, agents: agentsPage, triggers: triggersPage, silences: silencesPage };
let drawn = '';

/** Draws when something that is shown has changed, and only that: what one reads, marks or has in hand stays as it is. */
function draw() {
  const [name] = route();
  tellPace();
  const open = state.incidents.filter((incident) => incident.state === 'open');
  const key = JSON.stringify([location.hash, { ...state, fault: state.fault?.message, shards: { ...state.shards, now: 0 } }]);
  if (key === drawn) return;
  drawn = key;
  for (const link of document.querySelectorAll('nav a')) {
    const isHere = link.dataset.view === name || (name === 'incident' && link.dataset.view === 'incidents');
    if (isHere) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    if (link.dataset.view === 'incidents') patch(link, [...h('a', null, 'Incidents', open.length > 0 && h('span', { class: 'count', 'aria-label': `${open.length} open` }, String(open.length))).childNodes]);
  }
  document.getElementById('cluster').textContent = state.shards?.cluster ?? '';
  document.title = `${open.length ? `(${open.length}) ${open[0].root.shard} · ` : ''}HyperShardWatch`;
  const focused = main.contains(document.activeElement) ? document.activeElement : null;
  patch(main, view(name).flat(2).filter(Boolean));
  mountCharts();
  // A button that has done its work is gone; who came by keyboard goes on from here, not from the top.
  if (focused && !focused.isConnected) main.focus({ preventScroll: true });
}

function view(name) {
  if (state.asksToken) return [tokenForm()];
  const { fault, refusal } = state;
  const note = fault ? h('div', { class: 'note bad', role: 'alert', 'data-key': 'fault' }, h('b', null, fault.status ? 'The aggregator could not answer' : 'The aggregator is not reached'), `: ${fault.message}. `, state.shards ? 'Below is what it said last.' : 'Is it running? This page tries again every 5 s.')
    : refusal && h('div', { class: 'note bad', role: 'alert', 'data-key': 'refusal' }, `${refusal}.`);
  if (!state.shards) return [note || h('p', { class: 'empty', 'data-key': 'loading' }, 'Loading the state of the cluster …')];
  return [note, h('div', { 'data-key': `view-${name}` }, (VIEWS[name] ?? overview)())];
}

function overview() {
  const { shards, unready } = state.shards;
  const open = state.incidents.filter((incident) => incident.state === 'open');
  const closed = state.incidents.filter((incident) => incident.state === 'closed');
  return [
    unready.length > 0 && h('div', { class: 'note', role: 'status', 'data-key': 'unready' }, h('b', null, state.shards.is_armed ? 'Needs attention' : 'Warming up: detection does not judge yet'),
      h('ul', null, unready.slice(0, 8).map((reason) => h('li', null, reason)), unready.length > 8 && h('li', null, `and ${unready.length - 8} more`))),
    h('section', { 'aria-label': 'Open incidents', 'data-key': 'open' }, open.length > 0
      ? open.map((incident) => incidentCard(incident, open.length > 2 ? 0 : 4))
      : h('div', { class: 'card calm' }, h('span', { class: state.shards.is_armed ? 'dot' : 'quiet', 'aria-hidden': 'true' }, '●'), h('div', null, h('b', null, 'No open incident. '), h('span', { class: 'quiet' }, calm(closed))))),
    shardSection(shards),
    closed.length > 0 && h('section', { 'data-key': 'closed' }, h('div', { class: 'head' }, h('h2', null, 'Closed lately'), h('a', { class: 'end small', href: '#incidents' }, 'all incidents')), incidentTable(closed.slice(0, 5))),
  ];
}

function hotView() {
  const answer = state.hot?.path === location.hash ? state.hot.answer : null;
  return hotPage(hotPlace(route().slice(1)), state.shards.shards, answer, state.refusal !== null);
}

const SIGN = { bad: '■', troubled: '▲', well: '●', unknown: '○' };
const WORD = { bad: 'incident root', troubled: 'troubled', well: 'well', unknown: 'unknown' };

function shardSection(shards) {
  if (shards.length === 0) return h('section', null, h('h2', null, 'Shards'), h('p', { class: 'empty' }, 'No shard is known yet. A shard appears when its agent connects, or when it is named in the aggregator\u2019s config.'));
  const count = (health) => shards.filter((shard) => shard.health === health).length;
  const counts = ['bad', 'troubled', 'well', 'unknown'].filter(count).map((health) => `${count(health)} ${health === 'bad' ? 'bad' : WORD[health]}`).join(' · ');
  const isDense = shards.length >= DENSE_FROM;
  const weight = (shard) => (isDense ? ['bad', 'troubled', 'unknown', 'well'].indexOf(shard.health) : 0);
  const ordered = [...shards].sort((a, b) => weight(a) - weight(b) || a.shard.localeCompare(b.shard, 'en', { numeric: true }));
  return h('section', { 'data-key': 'shards' }, h('div', { class: 'head' }, h('h2', null, isDense ? `${shards.length} shards` : 'Shards'), h('span', { class: 'legend' }, counts)),
    h('ul', { class: isDense ? 'tiles dense' : 'tiles' }, ordered.map((shard) => tile(shard, isDense))));
}

function tile(shard, isDense) {
  const primary = shard.nodes.find((node) => node.role === 'primary') ?? shard.nodes[0];
  const ill = shard.nodes.filter((node) => node.liveness !== 'alive');
  const kind = isDense ? '' : shard.is_router ? ' · router' : shard.nodes.length > 1 ? ` · ${shard.nodes.length} nodes` : '';
  return h('li', { class: `tile ${shard.health}`, 'data-key': shard.shard, title: primary ? `${primary.database} at ${primary.address}` : null },
    h('h3', null, h('a', { href: `#hot/${encodeURIComponent(shard.shard)}`, title: 'what is hot here' }, shard.shard)),
    h('p', { class: 'word' }, h('b', null, `${SIGN[shard.health]} ${WORD[shard.health]}`), kind),
    h('dl', null, shard.headline.filter((row) => row.value !== null).map((row) => [h('dt', { title: row.about }, short(row)), h('dd', null, amount(row.value, row.unit))])),
    !isDense && grade(shard),
    ill.map((node) => h('p', { class: 'trouble' }, isDense ? node.node : `${node.node}: ${LIVENESS[node.liveness]}`)));
}

/** What the detectors make of a shard, in small: it opens no incident, so it has no colour either. */
function grade(shard) {
  if (!shard.judgement || shard.hyperscore === null) return h('p', { class: 'grade' }, 'HyperScore –');
  const said = `HyperScore grades health: 100 is worst, higher is healthier, below 200 (${shard.hyperscore_mode} form). P(sick) is what ${{ model: 'the model says', liveness: 'it means that a member is not heard, or its database does not answer' }[shard.sick_by] || 'all detectors together say'}; rules, not it, open incidents.`;
  return h('p', { class: 'grade', title: said }, h('span', null, `HyperScore ${shard.hyperscore.toFixed(1)} ${shard.hyperscore_mode}`), h('span', null, `P(sick) ${shard.judgement.probability.toFixed(3)}`));
}

/** The catalogue's words are sentences; a tile has room for two words. */
const SHORT = { 'pg.commits': 'commits', 'pg.sessions_active': 'active', 'pg.sessions': 'sessions', 'pg.probe_ms': 'probe', 'pg.sessions_waiting_lock': 'lock waits', 'instance.cpu_cores': 'CPU', 'pg.statement_mean_ms': 'statement', 'pg.replication_lag_bytes': 'replica behind', 'log.errors': 'errors', 'disk.write_bytes': 'written' };
const short = (row) => SHORT[row.metric] ?? row.metric.replace(/^[a-z]+\./, '').replaceAll('_', ' ');

// Start -----------------------------------------------------------------------------------------------------------

let last = route()[0];
whenLoaded(draw);
window.addEventListener('hashchange', () => {
  const [name] = route();
  state.one = null;
  draw();
  load();
  // Another choice within a view leaves focus and place alone.
  if (name !== last || name === 'incident') {
    window.scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
  last = name;
});
setInterval(refreshTimes, 1000);
// Charts of an open incident move on although nothing else may.
setInterval(() => {
  if (main.querySelector('.chartbox') && !document.hidden) {
    drawn = '';
    draw();
  }
}, 10000);
follow();
