// Why: what sets a bad time apart, which known cause it looks like, what to do first; and the operator's word on it.

import { ago, amount, clock, h } from './draw.js';

const percent = (share) => `${Math.round(share * 100)} %`;

/** A bar as long as a probability. */
function bar(value, name) {
  return h('meter', { class: 'weight', min: 0, max: 1, value, 'aria-label': `probability of ${name}` });
}

function causes(why, confirm) {
  if (why.causes.length === 0) return h('p', { class: 'quiet small' }, 'No cause is known yet.');
  const row = (name, p, action) => h('li', null, bar(p, name), h('span', { class: 'share' }, percent(p)), h('span', null, name), action);
  return h('ul', { class: 'causes' },
    why.causes.filter((one) => one.probability >= 0.01).map((one) => row(one.cause, one.probability,
      confirm && !one.is_harmless && one.cause !== why.feedback?.cause && h('button', { type: 'button', 'data-key': `is-${one.cause}`, title: `known from ${one.cases} cases`, click: () => confirm(one.cause) }, 'This is it'))),
    row('none of the known causes', why.none, null));
}

function reasons(why) {
  if (why.predicates.length === 0) return h('p', { class: 'quiet small' }, 'Nothing sets this time apart from what was before and from the siblings.');
  return h('ul', { class: 'reasons' }, why.predicates.map((one) => h('li', { title: `holds in ${percent(one.power)} more of the bad seconds than of all others; ${one.node}` }, one.sentence)));
}

function culprits(why) {
  if (why.culprits.length < 2) return null;
  const said = (one) => `${one.shard} ${percent(one.share)}${one.since === null ? '' : ` (since ${clock(one.since)} ± ${one.since_uncertain_s.toFixed(1)} s)`}`;
  return h('p', { class: 'small' }, h('span', { class: 'quiet' }, 'Who explains the others: '), why.culprits.map(said).join(', '));
}

function similar(why, follow) {
  if (why.similar.length === 0) return null;
  return h('p', { class: 'small' }, h('span', { class: 'quiet' }, 'Looked alike: '), why.similar.map((one, at) => [at > 0 && ', ',
    h('a', { href: `#incident/${one.id}`, click: follow ?? null }, `${one.shard}${one.cause ? ` (${one.cause})` : ''}`), ` ${percent(one.alike)}, `, ago(one.started_at)]));
}

function first(why) {
  const best = why.causes[0];
  return best?.action && best.probability > why.none && h('p', { class: 'first' }, h('b', null, 'First: '), best.action);
}

/** The explanation's parts; `confirm` says that a cause is it, `follow` is told when a link leads away. */
function parts(why, confirm, follow) {
  return [h('p', { class: 'verdict' }, h('b', null, 'Why: '), why.verdict), first(why), reasons(why), causes(why, confirm), culprits(why), similar(why, follow)];
}

/** The explanation within an incident's card; `say` sends the operator's word, `name` asks for a new name, `time` for another time. */
export function whyBlock(incident, { say, name, time }) {
  const { why } = incident;
  if (!why) return incident.cause ? h('p', { class: 'quiet small' }, `Looked like ${incident.cause.cause} (${percent(incident.cause.probability)}).`) : null;
  return h('section', { class: 'why', 'aria-label': 'Why' }, parts(why, (cause) => say({ cause })),
    h('div', { class: 'actions' },
      h('button', { type: 'button', 'data-key': `name-${incident.id}`, click: name }, why.feedback ? 'Another cause …' : 'Name the cause …'),
      !why.feedback?.false_alarm && h('button', { type: 'button', 'data-key': `false-${incident.id}`, title: 'the next that looks like it says so; nothing is hidden', click: () => say({ false_alarm: true }) }, 'False alarm'),
      time && h('button', { type: 'button', 'data-key': `time-${incident.id}`, title: 'asks why of another time; a drag over a chart does too', click: time }, 'Another time …')));
}

/** What was asked of a time: the dialog's content. */
export function whyAnswer(why, close) {
  return [h('h2', { id: 'dialog-title' }, `${why.shard}, ${clock(why.from)} to ${clock(why.to)}`),
    h('div', { class: 'why' }, parts(why, null, close)),
    h('p', { class: 'quiet small' }, `Against ${clock(why.normal_from)} to ${clock(why.normal_to)} and ${amount(why.siblings)} ${why.siblings === 1 ? 'sibling' : 'siblings'}; ${amount(why.attributes)} attributes.`),
    h('div', { class: 'actions' }, h('button', { type: 'button', class: 'main', click: close }, 'Close'))];
}
