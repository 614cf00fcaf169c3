// Three lists: agents, silences, triggers.

import { ago, amount, duration, h } from './draw.js';
import { removeTriggerForm, silenceForm } from './forms.js';
import { change, state } from './state.js';

export const LIVENESS = { never_seen: 'never heard of', alive: 'alive', database_silent: 'database does not answer', database_down: 'database is down', agent_stopped: 'agent stopped', agent_lost: 'agent not heard', host_lost: 'host not heard' };

export function agentsPage() {
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
  return h('tr', { 'data-key': agent.node }, h('td', { class: 'nowrap' }, agent.node, h('div', { class: 'quiet small' }, agent.version ? `${agent.version} · ${agent.address}` : '')),
    h('td', { class: 'nowrap' }, agent.shard ?? '–'),
    h('td', { class: 'nowrap' }, h('span', { class: agent.is_connected ? null : 'state' }, word), agent.liveness && agent.liveness !== 'alive' && h('div', { class: 'small quiet' }, LIVENESS[agent.liveness]), agent.is_landmark && h('div', { class: 'small quiet' }, 'landmark')),
    h('td', { class: 'num' }, duration(agent.lag_s)),
    h('td', { class: 'num' }, amount(agent.spool_bytes, 'bytes')), h('td', { class: 'num' }, amount(agent.dropped)),
    h('td', { class: 'num' }, duration(agent.clock_offset_s)), h('td', { class: 'num' }, amount(agent.rtt_ms, 'milliseconds')),
    h('td', { class: 'wide small' }, ill.length === 0 ? h('span', { class: 'quiet' }, agent.sources.map((source) => source.state === 'absent' ? `${source.source} (absent)` : source.source).join(', ') || '–')
      : ill.map((source) => h('div', null, h('b', { class: 'state' }, `${source.source}: ${source.state}`), ` ${source.message}`))));
}

export function silencesPage() {
  return [h('div', { class: 'head' }, h('h2', null, 'Silences'), h('button', { class: 'end', type: 'button', 'data-key': 'new-silence', click: () => silenceForm(null) }, 'New silence …')),
    state.silences.length === 0 ? h('p', { class: 'empty' }, 'No silence is in force: every incident is told. A silence keeps messages back for a while; the incident is still shown here.')
      : h('div', { class: 'scroll' }, h('table', null,
        h('thead', null, h('tr', null, ['Where', 'Why', 'Who', 'Ends', ''].map((name) => h('th', { scope: 'col' }, name)))),
        h('tbody', null, state.silences.map((one) => h('tr', { 'data-key': one.id },
          h('td', null, one.matchers.map((m) => h('div', null, h('code', null, `${m.name}${m.op}"${m.value}"`)))), h('td', { class: 'wide' }, one.reason), h('td', null, one.author || '–'), h('td', null, ago(one.expires_at)),
          h('td', { class: 'num' }, h('button', { type: 'button', 'data-key': `end-${one.id}`, 'aria-label': `End silence: ${one.reason}`, click: () => change(`silences/${one.id}`, { method: 'DELETE' }, `The silence has ended: ${one.reason}. Messages are sent again.`) }, 'End it')))))))];
}

export function triggersPage() {
  const rows = state.triggers;
  const head = h('div', { class: 'head' }, h('h2', null, 'Triggers'), h('span', { class: 'legend' }, 'Tell me when so much has hit this.'));
  if (!rows) return [head, h('p', { class: 'empty' }, 'Reading the triggers …')];
  if (rows.length === 0) return [head, h('p', { class: 'empty' }, 'None stands. ', h('code', null, 'hsw trigger add --name slow --on latency_ms --range 100..1000 --count 10000'), ' adds one.')];
  return [head, h('div', { class: 'scroll' }, h('table', { class: 'tight' }, h('thead', null, h('tr', null, ['Trigger', 'Waits for', 'Counted', 'State', ''].map((title) => h('th', { scope: 'col' }, title)))),
    h('tbody', null, rows.map((one) => h('tr', { 'data-key': one.name },
      h('td', null, h('b', null, one.name), h('div', { class: 'quiet small' }, `${one.severity}${one.again ? ', each time' : ''}`)),
      h('td', { class: 'wide' }, one.what, h('div', { class: 'quiet small' }, 'since ', ago(one.since))),
      h('td', { class: 'nowrap' }, h('meter', { class: 'weight far', min: 0, max: one.threshold, value: Math.min(one.count, one.threshold), 'aria-label': `counted by ${one.name}` }), h('div', { class: 'small' }, `${one.count.toLocaleString('en')} of ${one.threshold.toLocaleString('en')}`)),
      h('td', null, h('b', null, one.state), one.state === 'waiting' && h('div', { class: 'quiet small' }, `${one.n_nodes_heard} of ${one.n_nodes} nodes count`), one.fired_at !== null && h('div', { class: 'quiet small' }, 'fired ', ago(one.fired_at))),
      h('td', { class: 'num' }, one.from_config ? h('span', { class: 'quiet small', title: 'it stands in the aggregator\u2019s configuration; removing it there ends it' }, 'configured') : h('button', { type: 'button', 'data-key': `drop-${one.name}`, 'aria-label': `Remove trigger: ${one.name}`, click: () => removeTriggerForm(one) }, 'Remove …')))))))];
}
