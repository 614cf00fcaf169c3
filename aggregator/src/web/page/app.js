// The page: reads the API, keeps itself live, draws one of its views. No framework, nothing loaded from elsewhere.

import { ago, amount, chart, clock, duration, h, net, refreshTimes, skew, spark } from './draw.js';
import { hotPage, hotPath, hotPlace } from './hot.js';
import { whyBlock, whyDialog } from './why.js';

const state = { shards: null, incidents: [], silences: [], agents: null, graph: null, triggers: null, fault: null, asksToken: false };
const main = document.getElementById('main');
const dialog = document.getElementById('dialog');
const POLL_MS = 5000;
const DENSE_FROM = 41;
const charts = new Map();

// Talking to the aggregator ---------------------------------------------------------------------------------------

function headers(extra) {
  const token = sessionStorage.getItem('token');
  return token ? { ...extra, Authorization: `Bearer ${token}` } : { ...extra };
}

async function ask(path, options) {
  const response = await fetch(`/api/v1/${path}`, { ...options, headers: headers(options?.headers), signal: AbortSignal.timeout(15000) });
  if (response.status === 401) state.asksToken = true;
  if (response.status === 204) return null;
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error ?? `the aggregator answered ${response.status}`);
  return body;
}

let isLoading = false;

/** Reads what the view shows, then draws it. One at a time: a slow aggregator is not asked twice. */
async function load() {
  if (isLoading) return;
  isLoading = true;
  try {
    const [name, id, ...rest] = route();
    const [shards, incidents, silences, one] = await Promise.all([
      ask('shards'), ask('incidents?limit=100'), ask('silences'),
      name === 'incident' ? ask(`incidents/${encodeURIComponent(id ?? '')}`).catch(() => null) : null,
    ]);
    if (name === 'agents') state.agents = (await ask('agents')).agents;
    if (name === 'graph') state.graph = await ask('graph');
    if (name === 'hot') state.hot = { path: location.hash, answer: await ask(hotPath(hotPlace(id === undefined ? [] : [id, ...rest]))) };
    if (name === 'triggers') state.triggers = (await ask('triggers')).triggers;
    skew.seconds = shards.now > 0 ? shards.now - Date.now() / 1000 : 0;
    Object.assign(state, { shards, incidents: incidents.incidents, silences: silences.silences, one, fault: null, asksToken: false });
  } catch (error) {
    state.fault = error.message;
  } finally {
    isLoading = false;
  }
  draw();
}

/** Server-sent events by fetch, because EventSource cannot carry a token. Falls back to polling, and tries again. */
async function follow() {
  for (;;) {
    try {
      const response = await fetch('/api/v1/events', { headers: headers() });
      if (!response.ok) throw new Error(String(response.status));
      live('on', 'live');
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        if (value.includes('event: pulse')) await load();
      }
    } catch { /* told below */ }
    await load();
    if (state.fault) live('off', state.asksToken ? 'token needed' : 'not reached');
    else live('', 'every 5 s');
    await new Promise((resume) => setTimeout(resume, POLL_MS));
  }
}

function live(kind, text) {
  const element = document.getElementById('live');
  element.className = `live ${kind}`;
  if (element.textContent !== text) element.textContent = text;
}

// Views -----------------------------------------------------------------------------------------------------------

function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, '').split('/');
  return [name || 'overview', ...rest];
}

const VIEWS = { overview, incidents: incidentList, incident: incidentPage, hot: hotView, graph: graphPage, agents: agentsPage, triggers: triggersPage, silences: silencesPage };
let drawn = '';

/** Draws when something that is shown has changed; keeps the focus where it was. */
function draw() {
  const [name] = route();
  const open = state.incidents.filter((incident) => incident.state === 'open');
  const key = JSON.stringify([location.hash, { ...state, shards: { ...state.shards, now: 0 } }]);
  const selection = document.getSelection();
  const isReading = !selection.isCollapsed && main.contains(selection.anchorNode);
  const isChoosing = main.contains(document.activeElement) && ['SELECT', 'INPUT'].includes(document.activeElement.tagName);
  if (key === drawn || ((isReading || isChoosing) && drawn.startsWith(JSON.stringify([location.hash]).slice(0, -1)))) return;
  drawn = key;
  for (const link of document.querySelectorAll('nav a')) {
    const isHere = link.dataset.view === name || (name === 'incident' && link.dataset.view === 'incidents');
    if (isHere) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    if (link.dataset.view === 'incidents') link.replaceChildren('Incidents', ...(open.length ? [h('span', { class: 'count', 'aria-label': `${open.length} open` }, String(open.length))] : []));
  }
  document.getElementById('cluster').textContent = state.shards?.cluster ?? '';
  document.title = `${open.length ? `(${open.length}) ${open[0].root.shard} · ` : ''}HyperShardWatch`;
  const focused = main.contains(document.activeElement) ? document.activeElement.dataset?.key ?? document.activeElement.getAttribute('href') : null;
  main.replaceChildren(...view(name).flat(2).filter(Boolean));
  if (focused) [...main.querySelectorAll('a, button')].find((e) => (e.dataset.key ?? e.getAttribute('href')) === focused)?.focus({ preventScroll: true });
}

function view(name) {
  if (state.asksToken) return [tokenForm()];
  const fault = state.fault && h('div', { class: 'note bad', role: 'alert' }, h('b', null, 'The aggregator is not reached. '), `${state.fault}. `, state.shards ? 'Below is what it said last.' : 'Is it running? This page tries again every 5 s.');
  if (!state.shards) return [fault || h('p', { class: 'empty' }, 'Loading the state of the cluster …')];
  return [fault, ...(VIEWS[name] ?? overview)()];
}

function overview() {
  const { shards, unready } = state.shards;
  const open = state.incidents.filter((incident) => incident.state === 'open');
  const closed = state.incidents.filter((incident) => incident.state === 'closed');
  return [
    unready.length > 0 && h('div', { class: 'note', role: 'status' }, h('b', null, state.shards.is_armed ? 'Needs attention' : 'Warming up: detection does not judge yet'),
      h('ul', null, unready.slice(0, 8).map((reason) => h('li', null, reason)), unready.length > 8 && h('li', null, `and ${unready.length - 8} more`))),
    h('section', { 'aria-label': 'Open incidents' }, open.length > 0
      ? open.map((incident) => incidentCard(incident, open.length > 2 ? 0 : 4))
      : h('div', { class: 'card calm' }, h('span', { class: state.shards.is_armed ? 'dot' : 'quiet', 'aria-hidden': 'true' }, '●'), h('div', null, h('b', null, 'No open incident. '), h('span', { class: 'quiet' }, calm(closed))))),
    shardSection(shards),
    closed.length > 0 && h('section', null, h('div', { class: 'head' }, h('h2', null, 'Closed lately'), h('a', { class: 'end small', href: '#incidents' }, 'all incidents')), incidentTable(closed.slice(0, 5))),
  ];
}

function calm(closed) {
  const last = closed[0];
  if (last) return ['The last one was at ', last.root.shard, ', over ', ago(last.ended_at), '.'];
  return state.shards.is_armed ? 'Every shard is compared with its own past and with its siblings each second.' : 'Nothing can be said yet; see above.';
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
  return h('section', null, h('div', { class: 'head' }, h('h2', null, isDense ? `${shards.length} shards` : 'Shards'), h('span', { class: 'legend' }, counts)),
    h('ul', { class: isDense ? 'tiles dense' : 'tiles' }, ordered.map((shard) => tile(shard, isDense))));
}

function tile(shard, isDense) {
  const primary = shard.nodes.find((node) => node.role === 'primary') ?? shard.nodes[0];
  const ill = shard.nodes.filter((node) => node.liveness !== 'alive');
  const kind = isDense ? '' : shard.is_router ? ' · router' : shard.nodes.length > 1 ? ` · ${shard.nodes.length} nodes` : '';
  return h('li', { class: `tile ${shard.health}`, title: primary ? `${primary.database} at ${primary.address}` : null },
    h('h3', null, h('a', { href: `#hot/${encodeURIComponent(shard.shard)}`, title: 'what is hot here' }, shard.shard)),
    h('p', { class: 'word' }, h('b', null, `${SIGN[shard.health]} ${WORD[shard.health]}`), kind),
    h('dl', null, shard.headline.filter((row) => row.value !== null).map((row) => [h('dt', { title: row.about }, short(row)), h('dd', null, amount(row.value, row.unit))])),
    ill.map((node) => h('p', { class: 'trouble' }, isDense ? node.node : `${node.node}: ${LIVENESS[node.liveness]}`)));
}

/** The catalogue's words are sentences; a tile has room for two words. */
const SHORT = { 'pg.commits': 'commits', 'pg.sessions_active': 'active', 'pg.sessions': 'sessions', 'pg.probe_ms': 'probe', 'pg.sessions_waiting_lock': 'lock waits', 'instance.cpu_cores': 'CPU', 'pg.statement_mean_ms': 'statement', 'pg.replication_lag_bytes': 'replica behind', 'log.errors': 'errors', 'disk.write_bytes': 'written' };
const short = (row) => SHORT[row.metric] ?? row.metric.replace(/^[a-z]+\./, '').replaceAll('_', ' ');
const LIVENESS = { never_seen: 'never heard of', alive: 'alive', database_silent: 'database does not answer', database_down: 'database is down', agent_stopped: 'agent stopped', agent_lost: 'agent not heard', host_lost: 'host not heard' };

// Incidents -------------------------------------------------------------------------------------------------------

function incidentCard(incident, nCharts) {
  const isOpen = incident.state === 'open';
  const silence = state.silences.find((one) => one.id === incident.silenced_by);
  return h('article', { class: `card incident ${incident.state}` },
    h('div', { class: 'kicker' }, h('span', { class: 'state' }, isOpen ? 'Open' : 'Closed'), h('span', null, 'began ', ago(incident.started_at)),
      isOpen ? h('span', null, incident.raised_at - incident.started_at < 1 ? 'noticed at once' : `noticed after ${duration(incident.raised_at - incident.started_at)}`) : h('span', null, `lasted ${duration(incident.ended_at - incident.started_at)}`),
      h('span', { class: incident.severity === 'critical' && isOpen ? 'tag hot' : 'tag' }, incident.severity),
      silence && h('span', { class: 'tag', title: silence.reason }, 'silenced: ', silence.reason)),
    h('h1', null, h('a', { href: `#incident/${incident.id}` }, incident.summary)),
    h('dl', { class: 'facts' },
      incident.intrusion
        ? h('div', null, h('dt', null, 'Who'), h('dd', null, h('b', null, incident.intrusion.client.replace(/^client:/, '')), ` (${PATTERN[incident.intrusion.pattern]})`))
        : h('div', null, h('dt', null, 'Root'), h('dd', null, h('b', null, incident.root.shard), ` (${incident.root.node})`)),
      h('div', null, h('dt', null, 'Affects'), h('dd', null, incident.affected.length ? incident.affected.map((one) => one.shard).join(', ') : 'no other shard')),
      h('div', null, h('dt', null, 'Confidence'), h('dd', null, amount(incident.confidence, 'ratio')))),
    !incident.intrusion && whyBlock(incident, (word) => change(`incidents/${incident.id}/feedback`, posting(word)), () => nameForm(incident)),
    nCharts > 0 && proofs(incident, nCharts),
    h('div', { class: 'actions' },
      nCharts < incident.evidence.length && h('a', { href: `#incident/${incident.id}`, 'data-key': `all-${incident.id}` }, `All evidence (${incident.evidence.length})`),
      isOpen && incident.intrusion && h('button', { type: 'button', 'data-key': `accept-${incident.id}`, title: 'what it shows is to be expected from now on', click: () => change(`incidents/${incident.id}/accept`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' }) }, 'This is fine'),
      isOpen && !silence && h('button', { type: 'button', 'data-key': `silence-${incident.id}`, click: () => silenceForm(incident) }, 'Silence …')));
}

function proofs(incident, n) {
  return h('ol', { class: 'proofs' }, incident.evidence.slice(0, n).map((one, at) => h('li', { class: 'proof' },
    h('p', null, one.sentence),
    h('div', { class: 'meta' }, h('meter', { class: 'weight', min: 0, max: Math.max(...incident.evidence.map((e) => e.weight), 0.01), value: one.weight, 'aria-label': 'weight' }),
      h('span', null, `weight ${amount(one.weight, 'ratio')}`), h('span', null, one.family), Math.abs(one.since - incident.started_at) > 3 && h('span', null, `since ${clock(one.since)}`)),
    one.symptom === 'hot' ? hotLink(one) : one.symptom === 'interaction' ? h('p', { class: 'small' }, h('a', { href: '#graph' }, 'Who talks to whom')) : chartOf(incident, at))));
}

const PATTERN = { unexpected_pair: 'a pair that nothing explains', fan_out: 'newly reaches many shards', bridge: 'connects what never talked', escalation: 'has gained rights', sybils: 'one of many that came at once' };

/** The edges an incident is about: from whom, to whom, as whom, since when. */
function intrusionEdges(intrusion) {
  return h('section', { class: 'block' }, h('h2', null, 'Along these ways'), h('div', { class: 'scroll' }, h('table', null,
    h('thead', null, h('tr', null, ['From', 'To', 'Way', 'As', 'Since'].map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', null, intrusion.edges.map((edge) => h('tr', null, h('td', null, edge.from), h('td', null, edge.to), h('td', { class: 'quiet' }, WAY[edge.kind]), h('td', null, edge.users.join(', ') || '–'), h('td', null, ago(edge.since))))))),
    intrusion.reasons.length > 0 && h('ul', { class: 'victims' }, intrusion.reasons.map((reason) => h('li', null, reason))),
    h('p', { class: 'quiet small' }, `They changed ${amount(intrusion.n_distances)} distances to landmarks. Honest change looks like this with a chance of about ${intrusion.p.toPrecision(1)}.`));
}

/** What became hot is a list, not a line: its minute in the hot view. */
function hotLink(one) {
  const kind = one.series.metric.replace(/^hot\./, '');
  return h('p', { class: 'small' }, h('a', { href: `#hot/${encodeURIComponent(one.shard)}/${kind}/${one.since}` }, `What was hot on ${one.shard} at ${clock(one.since)}`));
}

/** A chart is drawn once and moved along; an open incident's is read anew every 10 s. */
function chartOf(incident, at) {
  const key = `${incident.id}/${at}/${incident.evidence[at].series.name}`;
  let kept = charts.get(key);
  if (!kept) {
    kept = { element: h('div', { class: 'chartbox' }, h('figure', null, h('figcaption', null, 'reading …'))), read: 0, state: '' };
    charts.set(key, kept);
    if (charts.size > 60) charts.delete(charts.keys().next().value);
  }
  const isDue = kept.state !== incident.state || (incident.state === 'open' && Date.now() - kept.read > 10000);
  if (isDue) {
    kept.read = Date.now();
    kept.state = incident.state;
    ask(`series?incident=${incident.id}&evidence=${at}`)
      .then((data) => kept.element.matches(':hover') || kept.element.replaceChildren(chart(data, incident, askWhy)))
      .catch((error) => kept.element.replaceChildren(h('figure', null, h('figcaption', null, `no chart: ${error.message}`))));
  }
  return kept.element;
}

function incidentPage() {
  const incident = state.one ?? state.incidents.find((one) => one.id === route()[1]);
  if (!incident) return [h('p', { class: 'empty' }, 'No such incident is kept. ', h('a', { href: '#incidents' }, 'See all incidents'))];
  return [
    incidentCard(incident, incident.evidence.length),
    incident.intrusion && intrusionEdges(incident.intrusion),
    incident.affected.length > 0 && h('section', { class: 'block' }, h('h2', null, 'Also shows symptoms'),
      h('ul', { class: 'victims' }, incident.affected.map((one) => h('li', null, h('b', null, one.shard), `  ${one.evidence.sentence}`)))),
    h('section', { class: 'block' }, h('h2', null, 'Log of the root around the start'), incident.log_samples.length > 0
      ? h('ul', { class: 'logs' }, incident.log_samples.map((line) => h('li', null, h('span', { class: 'quiet' }, `${clock(line.at)} `),
        h('b', { class: /ERROR|FATAL|PANIC/.test(line.severity) ? 'hot' : null }, line.severity), line.code && ` ${line.code}`, ` ${line.text}`)))
      : h('p', { class: 'quiet small' }, 'No log line stood out.')),
    h('p', { class: 'quiet small' }, 'Incident ', h('code', null, incident.id), `, revision ${incident.revision}. Values in log lines are masked on the host.`),
  ];
}

function incidentList() {
  if (state.incidents.length === 0) return [h('h2', null, 'Incidents'), h('p', { class: 'empty' }, 'No incident since data is kept. ', calm([]))];
  return [h('section', null, h('div', { class: 'head' }, h('h2', null, 'Incidents'), h('span', { class: 'legend' }, 'newest first')), incidentTable(state.incidents))];
}

function incidentTable(rows) {
  return h('div', { class: 'scroll' }, h('table', null,
    h('thead', null, h('tr', null, ['Began', 'Root', 'What', 'Lasted', 'State'].map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', null, rows.map((one) => h('tr', null,
      h('td', null, ago(one.started_at)), h('td', { class: 'nowrap' }, one.root.shard),
      h('td', { class: 'wide' }, h('a', { href: `#incident/${one.id}` }, one.summary)),
      h('td', { class: 'nowrap' }, one.ended_at === null ? '–' : duration(one.ended_at - one.started_at)),
      h('td', null, one.state === 'open' ? h('span', { class: 'state' }, 'open') : h('span', { class: 'quiet' }, 'closed')))))));
}

// Graph, agents, silences -----------------------------------------------------------------------------------------

const NET_MAX = 60;
const WAY = { client: 'sessions', foreign_server: 'foreign server', replication: 'replication', membership: 'may act as', refused_login: 'refused logins' };

function hotView() {
  const answer = state.hot?.path === location.hash ? state.hot.answer : null;
  return hotPage(hotPlace(route().slice(1)), state.shards.shards, answer);
}

/** Edges that came within the last ten minutes. */
function freshEdges(graph) {
  const since = Date.now() / 1000 + skew.seconds - 600;
  return new Set(graph.changes.filter((change) => change.came && change.at >= since).map((change) => `${change.from} ${change.to} ${change.kind}`));
}

/** Edges that open incidents are about: each with its incident's id. */
function alarmedEdges() {
  const open = state.incidents.filter((incident) => incident.state === 'open' && incident.intrusion);
  return open.flatMap((incident) => incident.intrusion.edges.map((edge) => ({ ...edge, id: incident.id })));
}

function changesOf(labels) {
  const changes = state.graph.changes.slice(0, 50);
  if (changes.length === 0) return null;
  return h('section', null, h('div', { class: 'head' }, h('h2', null, 'What came and went')), h('div', { class: 'scroll' }, h('table', null,
    h('thead', null, h('tr', null, ['When', '', 'From', 'To'].map((name) => h('th', { scope: 'col' }, name)), h('th', { class: 'num', scope: 'col' }, 'Distances changed'))),
    h('tbody', null, changes.map((change) => h('tr', null, h('td', null, ago(change.at)), h('td', { class: change.came ? 'state' : 'quiet' }, change.came ? 'came' : 'went'),
      h('td', null, labels.get(change.from) ?? change.from), h('td', null, labels.get(change.to) ?? change.to), h('td', { class: 'num' }, amount(change.distances))))))));
}

function graphPage() {
  const { vertices, edges } = state.graph ?? { vertices: [], edges: [] };
  if (edges.length === 0) return [h('h2', null, 'Who talks to whom'), h('p', { class: 'empty' }, 'No interaction is known yet. Agents tell who holds sessions on their database, about every ten seconds.')];
  const labels = new Map(vertices.map((vertex) => [vertex.id, vertex.label]));
  const health = new Map(state.shards.shards.map((shard) => [shard.shard, shard.health]));
  const sorted = [...edges].sort((a, b) => b.sessions - a.sessions);
  const alarmed = alarmedEdges();
  const alarms = new Map(alarmed.map((edge) => [`${edge.from} ${edge.to} ${edge.kind}`, edge.id]));
  // Roles would crowd the picture; those that an alarm is about are drawn.
  const ends = new Set(alarmed.flatMap((edge) => [edge.from, edge.to]));
  const shown = vertices.filter((vertex) => vertex.kind !== 'role' || ends.has(vertex.id));
  const drawn = new Set(shown.map((vertex) => vertex.id));
  const unseen = state.graph.landmarks.filter((id) => !drawn.has(id)).length;
  return [h('section', null, h('div', { class: 'head' }, h('h2', null, 'Who talks to whom'), h('span', { class: 'legend' }, `${vertices.length} places, ${edges.length} ways between them`)),
    shown.length <= NET_MAX && h('div', { class: 'card' }, net(shown, edges, (shard) => health.get(shard) ?? '', { landmarks: state.graph.landmarks, fresh: freshEdges(state.graph), alarms })),
    h('p', { class: 'quiet small' }, `${state.graph.landmarks.length} landmarks (blue border${unseen > 0 ? `; ${unseen} are roles, which are not drawn` : ''}): the distances to them tell places of one kind and shard apart; ${state.graph.twins} places that have the same neighbours as another stay together. Their agents look at connections more often: ${state.graph.landmark_nodes.join(', ') || 'none yet'}.${state.graph.waiting > 0 ? ` ${state.graph.waiting} more clients are suspected than incidents can be open: end or accept some.` : ''}${state.graph.left_out > 0 ? ` ${amount(state.graph.left_out)} ways are beyond the limits: nothing is known of them.` : ''}`)),
  changesOf(labels),
  h('div', { class: 'scroll' }, h('table', null,
    h('thead', null, h('tr', null, ['From', 'To', 'Way'].map((name) => h('th', { scope: 'col' }, name)), ['Sessions', 'Active', 'Round trip', 'Sent', 'Received', 'Behind'].map((name) => h('th', { class: 'num', scope: 'col' }, name)), h('th', { scope: 'col' }, 'Last minute'), h('th', { scope: 'col' }, 'First seen'), h('th', { scope: 'col' }, 'Last seen'))),
    h('tbody', null, sorted.slice(0, 500).map((edge) => h('tr', null, h('td', null, labels.get(edge.from) ?? edge.from), h('td', null, labels.get(edge.to) ?? edge.to), h('td', { class: 'quiet' }, WAY[edge.kind]),
      [amount(edge.sessions), amount(edge.active), amount(edge.rtt_ms, 'milliseconds'), amount(edge.tx_bytes_per_s, 'bytes_per_second'), amount(edge.rx_bytes_per_s, 'bytes_per_second'), amount(edge.lag_bytes, 'bytes')].map((text) => h('td', { class: 'num' }, text)),
      h('td', null, spark(edge.history)), h('td', null, ago(edge.first_seen)), h('td', null, ago(edge.last_seen)))))))];
}

function agentsPage() {
  const agents = state.agents ?? [];
  if (agents.length === 0) return [h('h2', null, 'Agents'), h('p', { class: 'empty' }, 'No agent has connected yet. Give each one a certificate (hsw cert issue) and this aggregator\u2019s address.')];
  const n = agents.filter((agent) => agent.is_connected).length;
  return [h('div', { class: 'head' }, h('h2', null, 'Agents'), h('span', { class: 'legend' }, `${n} of ${agents.length} connected`)),
    h('div', { class: 'scroll' }, h('table', null,
      h('thead', null, h('tr', null, ['Node', 'Shard', 'State'].map((name) => h('th', { scope: 'col' }, name)), ['Lag', 'Spool', 'Dropped', 'Clock', 'RTT'].map((name) => h('th', { class: 'num', scope: 'col' }, name)), h('th', { scope: 'col' }, 'Sources'))),
      h('tbody', null, agents.map(agentRow))))];
}

function agentRow(agent) {
  const ill = agent.sources.filter((source) => source.state !== 'ok' && source.state !== 'absent');
  const word = agent.is_connected ? 'connected' : agent.is_stopped ? 'stopped' : agent.address ? 'lost' : 'never connected';
  return h('tr', null, h('td', { class: 'nowrap' }, agent.node, h('div', { class: 'quiet small' }, agent.version ? `${agent.version} · ${agent.address}` : '')),
    h('td', { class: 'nowrap' }, agent.shard ?? '–'),
    h('td', { class: 'nowrap' }, h('span', { class: agent.is_connected ? null : 'state' }, word), agent.liveness && agent.liveness !== 'alive' && h('div', { class: 'small quiet' }, LIVENESS[agent.liveness]), agent.is_landmark && h('div', { class: 'small quiet' }, 'landmark')),
    h('td', { class: 'num' }, duration(agent.lag_s)),
    h('td', { class: 'num' }, amount(agent.spool_bytes, 'bytes')), h('td', { class: 'num' }, amount(agent.dropped)),
    h('td', { class: 'num' }, duration(agent.clock_offset_s)), h('td', { class: 'num' }, amount(agent.rtt_ms, 'milliseconds')),
    h('td', { class: 'wide small' }, ill.length === 0 ? h('span', { class: 'quiet' }, agent.sources.map((source) => source.state === 'absent' ? `${source.source} (absent)` : source.source).join(', ') || '–')
      : ill.map((source) => h('div', null, h('b', { class: 'state' }, `${source.source}: ${source.state}`), ` ${source.message}`))));
}

function silencesPage() {
  return [h('div', { class: 'head' }, h('h2', null, 'Silences'), h('button', { class: 'end', type: 'button', 'data-key': 'new-silence', click: () => silenceForm(null) }, 'New silence …')),
    state.silences.length === 0 ? h('p', { class: 'empty' }, 'No silence is in force: every incident is told. A silence keeps messages back for a while; the incident is still shown here.')
      : h('div', { class: 'scroll' }, h('table', null,
        h('thead', null, h('tr', null, ['Where', 'Why', 'Who', 'Ends', ''].map((name) => h('th', { scope: 'col' }, name)))),
        h('tbody', null, state.silences.map((one) => h('tr', null,
          h('td', null, one.matchers.map((m) => h('div', null, h('code', null, `${m.name}${m.op}"${m.value}"`)))), h('td', { class: 'wide' }, one.reason), h('td', null, one.author || '–'), h('td', null, ago(one.expires_at)),
          h('td', { class: 'num' }, h('button', { type: 'button', 'data-key': `end-${one.id}`, 'aria-label': `End silence: ${one.reason}`, click: () => change(`silences/${one.id}`, { method: 'DELETE' }) }, 'End it')))))))];
}

function triggersPage() {
  const rows = state.triggers;
  const head = h('div', { class: 'head' }, h('h2', null, 'Triggers'), h('span', { class: 'legend' }, 'Tell me when so much has hit this.'));
  if (!rows) return [head, h('p', { class: 'empty' }, 'Reading the triggers …')];
  if (rows.length === 0) return [head, h('p', { class: 'empty' }, 'None stands. ', h('code', null, 'hsw trigger add --name slow --on latency_ms --range 100..1000 --count 10000'), ' adds one.')];
  return [head, h('div', { class: 'scroll' }, h('table', null, h('thead', null, h('tr', null, ['Trigger', 'Waits for', 'Counted', 'State', ''].map((title) => h('th', { scope: 'col' }, title)))),
    h('tbody', null, rows.map((one) => h('tr', null,
      h('td', null, h('b', null, one.name), h('div', { class: 'quiet small' }, `${one.severity}${one.again ? ', each time' : ''}`)),
      h('td', { class: 'wide' }, one.what, h('div', { class: 'quiet small' }, 'since ', ago(one.since))),
      h('td', { class: 'nowrap' }, h('meter', { class: 'weight far', min: 0, max: one.threshold, value: Math.min(one.count, one.threshold), 'aria-label': `counted by ${one.name}` }), h('div', { class: 'small' }, `${one.count.toLocaleString('en')} of ${one.threshold.toLocaleString('en')}`)),
      h('td', null, h('b', null, one.state), one.state === 'waiting' && h('div', { class: 'quiet small' }, `${one.n_nodes_heard} of ${one.n_nodes} nodes count`), one.fired_at !== null && h('div', { class: 'quiet small' }, 'fired ', ago(one.fired_at))),
      h('td', { class: 'num' }, one.from_config ? h('span', { class: 'quiet small' }, 'in the configuration') : h('button', { type: 'button', 'data-key': `drop-${one.name}`, 'aria-label': `Remove trigger: ${one.name}`, click: () => change(`triggers/${one.name}`, { method: 'DELETE' }) }, 'Remove')))))))];
}

async function change(path, options) {
  try {
    await ask(path, options);
  } catch (error) {
    state.fault = error.message;
  }
  await load();
}

const posting = (body) => ({ method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

/** A region was drawn on a chart. */
async function askWhy(shard, from, to) {
  try {
    whyDialog(dialog, await ask('why', posting({ shard, from, to })));
  } catch (error) {
    dialog.replaceChildren(h('h2', { id: 'dialog-title' }, 'No answer'), h('p', null, error.message), h('div', { class: 'actions' }, h('button', { type: 'button', click: () => dialog.close() }, 'Close')));
    dialog.showModal();
  }
}

function nameForm(incident) {
  const cause = h('input', { name: 'cause', required: true, maxlength: 80, autocomplete: 'off', placeholder: 'backup at noon' });
  const submit = async (event) => {
    event.preventDefault();
    dialog.close();
    await change(`incidents/${incident.id}/feedback`, posting({ cause: cause.value }));
  };
  dialog.replaceChildren(h('form', { submit }, h('h2', { id: 'dialog-title' }, `What was it at ${incident.root.shard}?`),
    h('p', { class: 'quiet small' }, 'The next incident that looks like this one is named so, on any shard.'),
    h('label', null, 'Cause', cause),
    h('div', { class: 'actions' }, h('button', { class: 'main', type: 'submit' }, 'Name it'), h('button', { type: 'button', click: () => dialog.close() }, 'Cancel'))));
  dialog.showModal();
  cause.focus();
}

function silenceForm(incident) {
  const matchers = h('input', { name: 'matchers', required: true, value: incident ? `shard="${incident.root.shard}"` : '', placeholder: 'shard="shard-3", severity!="critical"', autocomplete: 'off' });
  const reason = h('input', { name: 'reason', required: true, maxlength: 256, placeholder: 'planned reindex, ticket 4711' });
  const author = h('input', { name: 'author', maxlength: 80, autocomplete: 'name', value: sessionStorage.getItem('author') ?? '' });
  const minutes = h('select', { name: 'minutes' }, [[30, '30 minutes'], [120, '2 hours'], [480, '8 hours'], [1440, '1 day'], [10080, '1 week']].map(([value, text]) => h('option', { value, selected: value === 120 }, text)));
  const fault = h('p', { class: 'fault', role: 'alert', hidden: true });
  const submit = async (event) => {
    event.preventDefault();
    sessionStorage.setItem('author', author.value);
    const wanted = matchers.value.match(/[A-Za-z_]\w*\s*(?:=~|!~|!=|=)\s*(?:"[^"]*"|[^,"]*)/g) ?? [matchers.value];
    const body = { matchers: wanted.map((text) => text.trim()), reason: reason.value, author: author.value, minutes: Number(minutes.value) };
    try {
      await ask('silences', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
      dialog.close();
      await load();
    } catch (error) {
      fault.textContent = error.message;
      fault.hidden = false;
    }
  };
  dialog.replaceChildren(h('form', { submit },
    h('h2', { id: 'dialog-title' }, incident ? `Silence ${incident.root.shard}` : 'New silence'),
    h('p', { class: 'quiet small' }, 'Keeps messages back until it ends; the incident stays visible.'),
    h('label', null, 'Labels that must match', matchers), h('label', null, 'Why', reason), h('label', null, 'For', minutes), h('label', null, 'Your name (may be empty)', author), fault,
    h('div', { class: 'actions' }, h('button', { class: 'main', type: 'submit' }, 'Silence'), h('button', { type: 'button', click: () => dialog.close() }, 'Cancel'))));
  dialog.showModal();
  (incident ? reason : matchers).focus();
}

function tokenForm() {
  const input = h('input', { type: 'password', name: 'token', required: true, autocomplete: 'current-password' });
  const submit = (event) => {
    event.preventDefault();
    sessionStorage.setItem('token', input.value.trim());
    state.asksToken = false;
    load();
  };
  return h('form', { class: 'card', submit }, h('h2', null, 'A token is needed'),
    h('p', { class: 'quiet small' }, 'It is the content of the file that web.token_file names on the aggregator. It is kept until this tab closes.', sessionStorage.getItem('token') && ' The one given before is not accepted.'),
    h('label', null, 'Token', input), h('div', { class: 'actions' }, h('button', { class: 'main', type: 'submit' }, 'Open')));
}

// Start -----------------------------------------------------------------------------------------------------------

window.addEventListener('hashchange', () => {
  state.one = null;
  draw();
  load();
  window.scrollTo(0, 0);
  main.focus({ preventScroll: true });
});
setInterval(refreshTimes, 1000);
setInterval(() => {
  if (main.querySelector('.chartbox') && !document.hidden) {
    drawn = '';
    draw();
  }
}, 10000);
follow();
