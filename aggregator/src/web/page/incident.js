// An incident: its card, its page, the list of all. What it shows is what the engine ranked; nothing is judged here.

import { ago, amount, chart, clock, duration, h } from './draw.js';
import { acceptForm, askWhy, give, nameForm, placeName, silenceForm, timeForm } from './forms.js';
import { WAY, ways } from './graph.js';
import { ask, route, state } from './state.js';
import { whyBlock } from './why.js';

const PATTERN = { unexpected_pair: 'a pair that nothing explains', fan_out: 'newly reaches many shards', bridge: 'connects what never talked', escalation: 'has gained rights', sybils: 'one of many that came at once' };

const count = (n, one, many) => `${amount(n)} ${n === 1 ? one : many}`;

/** A card; `isWhole` on the incident's own page. */
export function incidentCard(incident, nCharts, isWhole = false) {
  const isOpen = incident.state === 'open';
  const silence = state.silences.find((one) => one.id === incident.silenced_by);
  const { intrusion } = incident;
  return h('article', { class: `card incident ${incident.state}`, 'data-key': `card-${incident.id}` },
    h('div', { class: 'kicker' }, h('span', { class: 'state' }, isOpen ? 'Open' : 'Closed'), h('span', null, 'began ', ago(incident.started_at)),
      isOpen ? h('span', null, incident.raised_at - incident.started_at < 1 ? 'noticed at once' : `noticed after ${duration(incident.raised_at - incident.started_at)}`) : h('span', null, `lasted ${duration(incident.ended_at - incident.started_at)}`),
      h('span', { class: incident.severity === 'critical' && isOpen ? 'tag hot' : 'tag' }, incident.severity),
      intrusion?.accepted && h('span', { class: 'tag' }, 'accepted: expected from now on'),
      incident.feedback && h('span', { class: 'tag' }, incident.feedback.false_alarm ? 'called a false alarm' : `named: ${incident.feedback.cause}`),
      silence && h('span', { class: 'tag', title: silence.reason }, 'silenced: ', silence.reason)),
    h('h1', null, h('a', { href: `#incident/${incident.id}`, 'data-key': `title-${incident.id}` }, incident.summary)),
    intrusion ? intrusionFacts(incident) : rootFacts(incident),
    !intrusion && whyBlock(incident, { say: (word) => give(incident, word), name: () => nameForm(incident), time: isWhole && (() => timeForm(incident)) }),
    intrusion && suspicion(incident, isWhole),
    !intrusion && nCharts > 0 && proofs(incident, nCharts),
    h('div', { class: 'actions' },
      !isWhole && h('a', { href: `#incident/${incident.id}`, 'data-key': `all-${incident.id}` }, intrusion ? `Where it goes, drawn (${count(intrusion.edges.length, 'way', 'ways')})` : `All evidence (${incident.evidence.length})`),
      isOpen && intrusion && !intrusion.accepted && h('button', { type: 'button', 'data-key': `accept-${incident.id}`, title: 'what it shows is to be expected from now on; asks once more', click: () => acceptForm(incident) }, 'This is fine …'),
      isOpen && !silence && h('button', { type: 'button', 'data-key': `silence-${incident.id}`, click: () => silenceForm(incident) }, 'Silence …')));
}

const fact = (name, ...said) => h('div', null, h('dt', null, name), h('dd', null, ...said));
const confidence = (incident) => fact('Confidence', amount(incident.confidence, 'ratio'));

function rootFacts(incident) {
  return h('dl', { class: 'facts' }, fact('Root', h('b', null, incident.root.shard), ` (${incident.root.node})`),
    fact('Affects', incident.affected.length ? incident.affected.map((one) => one.shard).join(', ') : 'no other shard'), confidence(incident));
}

/** Who, and all shards he reaches: the root is only the first of them. */
function intrusionFacts(incident) {
  const { client, edges, pattern } = incident.intrusion;
  const users = [...new Set(edges.flatMap((edge) => edge.users))];
  return h('dl', { class: 'facts' }, fact('Who', h('b', null, placeName(client)), ` (${PATTERN[pattern]})`),
    fact('Reaches', [...new Set([incident.root.shard, ...incident.affected.map((one) => one.shard)])].join(', ')),
    users.length > 0 && fact('As', users.join(', ')), confidence(incident));
}

const WAYS_SHOWN = 4;

/** What was seen, in words, and why it is suspicious; the whole page has the ways in a table. */
function suspicion(incident, isWhole) {
  const [seen, { reasons }] = [incident.evidence, incident.intrusion];
  const more = seen.length - WAYS_SHOWN;
  return h('section', { class: 'why', 'aria-label': 'Why' },
    !isWhole && h('ul', { class: 'reasons' }, seen.slice(0, WAYS_SHOWN).map((one) => h('li', null, one.sentence)), more > 0 && h('li', null, `and ${more} more`)),
    reasons.length > 0 && h('p', { class: 'verdict' }, h('b', null, 'Why suspicious')), reasons.length > 0 && h('ul', { class: 'reasons' }, reasons.map((reason) => h('li', null, reason))));
}

function proofs(incident, n) {
  const heaviest = Math.max(...incident.evidence.map((one) => one.weight), 0.01);
  return [h('ol', { class: 'proofs' }, incident.evidence.slice(0, n).map((one, at) => h('li', { class: 'proof', 'data-key': `proof-${one.node}-${one.series.name}-${one.symptom}` },
    h('p', null, one.sentence),
    h('div', { class: 'meta' }, h('meter', { class: 'weight', min: 0, max: heaviest, value: one.weight, 'aria-label': 'weight' }),
      h('span', null, `weight ${amount(one.weight, 'ratio')}`), h('span', null, one.family), Math.abs(one.since - incident.started_at) > 3 && h('span', null, `since ${clock(one.since)}`)),
    one.symptom === 'hot' ? hotLink(one) : one.symptom === 'interaction' ? h('p', { class: 'small' }, h('a', { href: '#graph' }, 'Who talks to whom')) : chartOf(incident, at)))),
  h('p', { class: 'quiet small' }, 'Drag over a chart to ask why of that time.')];
}

/** The ways an incident is about: from whom, to whom, as whom, since when; drawn, then told. */
function intrusionWays(incident) {
  const { edges, n_distances: nDistances, p } = incident.intrusion;
  return h('section', { class: 'block' }, h('div', { class: 'head' }, h('h2', null, 'Along these ways'), h('a', { class: 'end small', href: '#graph' }, 'who talks to whom')),
    ways(edges.map((edge) => ({ ...edge, id: incident.id }))),
    h('div', { class: 'scroll' }, h('table', null,
      h('thead', null, h('tr', null, ['From', 'To', 'Way', 'As', 'Since'].map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', null, edges.map((edge) => h('tr', null, h('td', { title: edge.from }, placeName(edge.from)), h('td', { title: edge.to }, placeName(edge.to)), h('td', { class: 'quiet' }, WAY[edge.kind]), h('td', null, edge.users.join(', ') || '–'), h('td', null, ago(edge.since))))))),
    h('p', { class: 'quiet small below' }, `${nDistances > 0 ? `They changed ${count(nDistances, 'distance', 'distances')} to landmarks. ` : ''}Honest change looks like this with a chance of about ${p.toPrecision(1)}.`));
}

/** What became hot is a list, not a line: its minute in the hot view. */
function hotLink(one) {
  const kind = one.series.metric.replace(/^hot\./, '');
  return h('p', { class: 'small' }, h('a', { href: `#hot/${encodeURIComponent(one.shard)}/${kind}/${one.since}` }, `What was hot on ${one.shard} at ${clock(one.since)}`));
}

const charts = new Map();
const CHARTS_MAX = 60;

/** A chart's place. The chart in it is drawn once; an open incident's is read anew every 10 s. */
function chartOf(incident, at) {
  const { node, series } = incident.evidence[at];
  const key = `${incident.id}/${node}/${series.name}`;
  let kept = charts.get(key);
  if (!kept) {
    kept = { figure: h('figure', null, h('figcaption', null, 'reading …')), read: 0, state: '', isEmpty: true };
    charts.set(key, kept);
    if (charts.size > CHARTS_MAX) charts.delete(charts.keys().next().value);
  }
  const isDue = kept.state !== incident.state || (incident.state === 'open' && Date.now() - kept.read > 10000);
  if (isDue) {
    kept.read = Date.now();
    kept.state = incident.state;
    const put = (figure) => {
      kept.figure = figure;
      mountCharts();
    };
    ask(`series?incident=${incident.id}&evidence=${at}`)
      .then((data) => {
        // Not under the pointer: somebody reads it, or draws a region.
        if (!kept.isEmpty && kept.figure.matches(':hover')) return;
        kept.isEmpty = false;
        put(chart(data, incident, askWhy));
      })
      .catch((error) => kept.isEmpty && put(h('figure', null, h('figcaption', null, `no chart: ${error.message}`))));
  }
  return h('div', { class: 'chartbox', 'data-own': key });
}

/** Puts each chart into its place, if it is not there. */
export function mountCharts() {
  for (const box of document.querySelectorAll('.chartbox')) {
    const figure = charts.get(box.dataset.own)?.figure;
    if (figure && box.firstChild !== figure) box.replaceChildren(figure);
  }
}

export function incidentPage() {
  const id = route()[1];
  const incident = state.one?.id === id ? state.one : state.incidents.find((one) => one.id === id);
  if (!incident) return [!state.refusal && h('p', { class: 'empty' }, 'No such incident is kept. ', h('a', { href: '#incidents' }, 'See all incidents'))];
  return [
    incidentCard(incident, incident.evidence.length, true),
    incident.intrusion && intrusionWays(incident),
    !incident.intrusion && incident.affected.length > 0 && h('section', { class: 'block' }, h('h2', null, 'Also shows symptoms'),
      h('ul', { class: 'victims' }, incident.affected.map((one) => h('li', null, h('b', null, one.shard), `  ${one.evidence.sentence}`)))),
    h('section', { class: 'block' }, h('h2', null, 'Log of the root around the start'), incident.log_samples.length > 0
      ? h('ul', { class: 'logs' }, runs(incident.log_samples).map(({ line, n }) => h('li', null, h('span', { class: 'quiet' }, `${clock(line.at)} `),
        h('b', { class: /ERROR|FATAL|PANIC/.test(line.severity) ? 'hot' : null }, line.severity), line.code && ` ${line.code}`, ` ${line.text}`, n > 1 && h('span', { class: 'quiet' }, ` × ${n}`))))
      : h('p', { class: 'quiet small' }, 'No log line stood out.')),
    incident.judgement && detectors(incident.judgement),
    h('p', { class: 'quiet small' }, 'Incident ', h('code', null, incident.id), `, revision ${incident.revision}. Values in log lines are masked on the host.`),
  ];
}

/** Lines that repeat the one before are told once. */
function runs(lines) {
  const told = [];
  for (const line of lines) {
    const before = told.at(-1);
    if (before && before.line.text === line.text && before.line.severity === line.severity && before.line.code === line.code) before.n += 1;
    else told.push({ line, n: 1 });
  }
  return told;
}

/** What the detectors said of the root when they said most, rarest first. */
function detectors(judgement) {
  const said = [...judgement.detectors].sort((a, b) => (a.p ?? 2) - (b.p ?? 2));
  return h('details', { class: 'block' }, h('summary', null, `What the detectors said: P(sick) ${judgement.probability.toFixed(3)} `, h('span', { class: 'quiet small' }, 'beside the rules that opened the incident')),
    h('div', { class: 'scroll' }, h('table', null, h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'Detector'), ['p', 'Weight'].map((name) => h('th', { class: 'num', scope: 'col' }, name)))),
      h('tbody', null, said.map((one) => h('tr', null, h('td', null, one.detector.replaceAll('_', ' ')), h('td', { class: 'num' }, one.p === null ? 'not known' : one.p.toPrecision(2)), h('td', { class: 'num' }, amount(one.weight, 'ratio'))))))));
}

/** When nothing is open. */
export function calm(closed) {
  const last = closed[0];
  if (last) return ['The last one, at ', last.root.shard, ', was over ', ago(last.ended_at), '.'];
  return state.shards.is_armed ? 'Every shard is compared with its own past and with its siblings each second.' : 'Nothing can be said yet; see above.';
}

export function incidentList() {
  if (state.incidents.length === 0) return [h('h2', null, 'Incidents'), h('p', { class: 'empty' }, 'No incident since data is kept. ', calm([]))];
  return [h('section', null, h('div', { class: 'head' }, h('h2', null, 'Incidents'), h('span', { class: 'legend' }, 'newest first')), incidentTable(state.incidents))];
}

export function incidentTable(rows) {
  return h('div', { class: 'scroll' }, h('table', null,
    h('thead', null, h('tr', null, ['Began', 'Root', 'What', 'Lasted', 'State'].map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', null, rows.map((one) => h('tr', { 'data-key': one.id },
      h('td', null, ago(one.started_at)), h('td', { class: 'nowrap' }, one.root.shard),
      h('td', { class: 'wide' }, h('a', { href: `#incident/${one.id}` }, one.summary), said(one)),
      h('td', { class: 'nowrap' }, one.ended_at === null ? '–' : duration(one.ended_at - one.started_at)),
      h('td', null, one.state === 'open' ? h('span', { class: 'state' }, 'open') : h('span', { class: 'quiet' }, 'closed')))))));
}

/** What somebody said of an incident, or else what it looked like. */
function said(one) {
  const word = one.intrusion?.accepted ? 'accepted' : one.feedback?.false_alarm ? 'called a false alarm' : one.feedback ? `named: ${one.feedback.cause}` : null;
  return word && h('div', { class: 'quiet small' }, word);
}
