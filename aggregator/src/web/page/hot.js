// What is hot: statements, tables, tenants, log lines; now or at a moment, of a shard or of all.

import { amount, clock, h, s } from './draw.js';

const KINDS = { fingerprint: 'Statements', table: 'Tables', tenant: 'Tenants', template: 'Log lines' };

/** Where the view is: `#hot/SHARD/KIND/MINUTE`, `all` and `now` where nothing is chosen. */
export function hotPlace(parts) {
  const [shard = 'all', kind = 'fingerprint', at = 'now'] = parts.map((part) => decodeURIComponent(part));
  return { shard, kind: kind in KINDS ? kind : 'fingerprint', at };
}

const link = ({ shard, kind, at }) => `#hot/${encodeURIComponent(shard)}/${kind}${at === 'now' ? '' : `/${at}`}`;

/** The API's path for a place. */
export function hotPath({ shard, kind, at }) {
  const when = at === 'now' ? '' : `&at=${encodeURIComponent(at)}`;
  return `hot?kind=${kind}&limit=30${shard === 'all' ? '' : `&shard=${encodeURIComponent(shard)}`}${when}`;
}

/** The view; `answer` is null while it is read, and when it was refused. */
export function hotPage(place, shards, answer, isRefused) {
  const choose = (change) => { location.hash = link({ ...place, ...change }); };
  const pick = h('select', { 'aria-label': 'Shard', 'data-key': 'hot-shard', change: (event) => choose({ shard: event.target.value }) },
    ['all', ...shards.map((shard) => shard.shard)].map((name) => h('option', { value: name, selected: name === place.shard }, name === 'all' ? 'all shards' : name)));
  const when = h('input', { type: 'datetime-local', 'aria-label': 'At', 'data-key': 'hot-at', value: place.at === 'now' ? null : local(Number(place.at)),
    change: (event) => choose({ at: event.target.value ? String(Math.floor(new Date(event.target.value).getTime() / 1000)) : 'now' }) });
  return [h('div', { class: 'head' }, h('h2', null, 'What is hot'), h('span', { class: 'legend' }, answer ? told(answer) : isRefused ? 'no answer' : 'reading …')),
    h('div', { class: 'choices' },
      h('div', { class: 'tabs', role: 'group', 'aria-label': 'Of what' }, Object.entries(KINDS).map(([kind, word]) => h('a', { href: link({ ...place, kind }), 'aria-current': kind === place.kind ? 'true' : null }, word))),
      pick, when, place.at !== 'now' && h('a', { href: link({ ...place, at: 'now' }) }, 'back to now')),
    answer && table(answer)];
}

function told(answer) {
  const when = answer.from === null ? 'now' : `${clock(answer.from)} to ${clock(answer.to)}`;
  return `${when}: ${amount(answer.total_rate)} ${answer.counts}/s in all${answer.distinct === null ? '' : `, ${amount(answer.distinct)} different`}`;
}

function table(answer) {
  if (answer.items.length === 0) return h('p', { class: 'empty' }, EMPTY[answer.kind]);
  const hasTrend = answer.items.some((item) => item.trend.length > 0);
  return [h('div', { class: 'scroll' }, h('table', null,
    h('thead', null, h('tr', null, h('th', { scope: 'col', class: 'num' }, `${answer.counts}/s`), h('th', { scope: 'col', class: 'num' }, 'Share'), hasTrend && h('th', { scope: 'col' }, 'Last 30 minutes'), h('th', { scope: 'col' }, 'What'))),
    h('tbody', null, answer.items.map((item) => h('tr', null,
      h('td', { class: 'num' }, amount(item.rate)), h('td', { class: 'num' }, amount(item.share, 'ratio')), hasTrend && h('td', null, spark(item.trend, answer.error * 60)),
      h('td', { class: 'wide' }, h('code', null, item.name ?? item.key))))))),
  h('p', { class: 'quiet small' }, `Counted in sketches of fixed size: a rate is too high by ${amount(answer.error, 'per_second')} at most (98 times in 100), never too low.`)];
}

const EMPTY = {
  fingerprint: 'No statement was counted. Agents count the calls of pg_stat_statements, or else the statements of the log.',
  table: 'No row was read or written in any table the agents can see.',
  tenant: 'No statement was counted for any tenant; hot.tenant_key in an agent\u2019s config says who the tenant is.',
  template: 'No log line was written, or the log cannot be read: see Agents.',
};

const BAR = 4;

/** A bar a minute, the highest as high as the picture, unless it is within the error: then in proportion to that. */
function spark(counts, error) {
  const top = Math.max(...counts, error, 1e-9);
  return s('svg', { class: 'spark', viewBox: `0 0 ${counts.length * BAR} 20`, width: counts.length * BAR, height: 20, role: 'img', 'aria-label': `at most ${amount(Math.max(...counts))} in a minute, ${amount(counts.at(-1))} in the one under way` },
    counts.map((n, at) => n > 0 && s('rect', { x: at * BAR, width: BAR - 1, y: 20 - Math.max(1, (n / top) * 20), height: Math.max(1, (n / top) * 20) })));
}

/** A moment as `datetime-local` wants it, in the reader's zone. */
function local(unix) {
  const at = new Date(unix * 1000 - new Date(unix * 1000).getTimezoneOffset() * 60000);
  return Number.isNaN(at.getTime()) ? null : at.toISOString().slice(0, 16);
}
