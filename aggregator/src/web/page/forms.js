// What an operator says: names of causes, false alarms, what is fine, silences, triggers' end, questions about a time, the token.

import { clock, h } from './draw.js';
import { ask, change, load, posting, say, state } from './state.js';
import { whyAnswer } from './why.js';

const dialog = document.getElementById('dialog');

/** Shows something in the dialog, in the place of what it showed. */
function show(children, focus) {
  dialog.replaceChildren(...children);
  if (!dialog.open) dialog.showModal();
  focus?.focus();
}

const closing = (text) => h('button', { type: 'button', click: () => dialog.close() }, text);

/** A form in the dialog; a careful one begins at Cancel. It stays, with what was typed and with the aggregator's line, until the aggregator took it. */
function showForm({ title, about, fields = [], send, done, word, focus, isCareful = false }) {
  const fault = h('p', { class: 'fault', role: 'alert', hidden: true });
  const main = h('button', { class: 'main', type: 'submit' }, word);
  const cancel = closing('Cancel');
  const submit = async (event) => {
    event.preventDefault();
    main.disabled = true;
    try {
      const answer = await send();
      if (done) {
        // Closed meanwhile, another one may be open.
        if (main.isConnected) dialog.close();
        say(done(answer));
        await load();
      }
    } catch (error) {
      if (!main.isConnected || !dialog.open) say(`${title} ${error.message}.`, true);
      fault.textContent = `${error.message}.`;
      fault.hidden = false;
    }
    main.disabled = false;
  };
  show([h('form', { submit }, h('h2', { id: 'dialog-title' }, title), h('p', { class: 'quiet small' }, about), fields.map((field) => (Array.isArray(field) ? h('label', null, ...field) : field)), fault,
    h('div', { class: 'actions' }, main, cancel))], isCareful ? cancel : focus);
}

/** An operator's word on an incident: `{cause}` or `{false_alarm}`. */
export function give(incident, word) {
  return change(`incidents/${incident.id}/feedback`, posting(word), learned(incident, word));
}

function learned(incident, word) {
  return word.false_alarm
    ? `Noted: a false alarm at ${incident.root.shard}. The next that looks like it says so; nothing is hidden. Naming a cause takes it back.`
    : `Noted: ${word.cause} at ${incident.root.shard}. The next incident that looks like it is named so, on any shard.`;
}

export function nameForm(incident) {
  const known = [...new Set((incident.why?.causes ?? []).filter((one) => !one.is_harmless).map((one) => one.cause))];
  const cause = h('input', { name: 'cause', required: true, maxlength: 80, autocomplete: 'off', placeholder: 'backup at noon', list: 'known-causes' });
  showForm({
    title: `What was it at ${incident.root.shard}?`, about: 'The next incident that looks like this one is named so, on any shard.', word: 'Name it', focus: cause,
    fields: [['Cause', cause], h('datalist', { id: 'known-causes' }, known.map((name) => h('option', { value: name })))],
    send: () => ask(`incidents/${incident.id}/feedback`, posting({ cause: cause.value })),
    done: (answer) => learned(incident, answer),
  });
}

/** What an intrusion shows becomes expected: cannot be taken back, so it is asked once more, with names. */
export function acceptForm(incident) {
  const { client, edges } = incident.intrusion;
  showForm({
    title: 'Is this as it should be?', word: 'Yes, this is fine', isCareful: true,
    about: `From now on these ${edges.length === 1 ? 'way is' : `${edges.length} ways are`} expected of ${placeName(client)}, after a restart too, and the incident ends. This cannot be taken back here.`,
    fields: [h('ul', { class: 'reasons' }, edges.map((edge) => h('li', null, `${placeName(edge.from)} → ${placeName(edge.to)}${edge.users.length ? ` as ${edge.users.join(', ')}` : ''}`)))],
    send: () => ask(`incidents/${incident.id}/accept`, posting({})),
    done: () => `Accepted: what ${placeName(client)} does here is expected from now on. The incident ends.`,
  });
}

/** `client:10.0.0.9/pg_dump` as the graph labels it. */
export function placeName(id) {
  const label = state.graph?.vertices.find((vertex) => vertex.id === id)?.label;
  return label ?? id.replace(/^client:([^/]*)\/(.*)$/, '$2 ($1)').replace(/^role:([^/]*)\/(.*)$/, '$2 on $1').replace(/^[a-z]+:/, '');
}

export function silenceForm(incident) {
  const matchers = h('input', { name: 'matchers', required: true, value: incident ? `shard="${incident.root.shard}"` : '', placeholder: 'shard="shard-3", severity!="critical"', autocomplete: 'off' });
  const reason = h('input', { name: 'reason', required: true, maxlength: 256, placeholder: 'planned reindex, ticket 4711' });
  const author = h('input', { name: 'author', maxlength: 80, autocomplete: 'name', value: sessionStorage.getItem('author') ?? '' });
  const minutes = h('select', { name: 'minutes' }, [[30, '30 minutes'], [120, '2 hours'], [480, '8 hours'], [1440, '1 day'], [10080, '1 week']].map(([value, text]) => h('option', { value, selected: value === 120 }, text)));
  const send = () => {
    sessionStorage.setItem('author', author.value);
    const wanted = matchers.value.match(/[A-Za-z_]\w*\s*(?:=~|!~|!=|=)\s*(?:"[^"]*"|[^,"]*)/g) ?? [matchers.value];
    return ask('silences', posting({ matchers: wanted.map((text) => text.trim()), reason: reason.value, author: author.value, minutes: Number(minutes.value) }));
  };
  showForm({
    title: incident ? `Silence ${incident.root.shard}` : 'New silence', about: 'Keeps messages back until it ends; the incident stays visible.', word: 'Silence', focus: incident ? reason : matchers,
    fields: [['Labels that must match', matchers], ['Why', reason], ['For', minutes], ['Your name (may be empty)', author]],
    send, done: () => `Silenced for ${minutes.selectedOptions[0].textContent}: ${matchers.value}.`,
  });
}

/** What it counted is lost, so it is asked once more. */
export function removeTriggerForm(trigger) {
  const number = (n) => n.toLocaleString('en');
  showForm({
    title: `Remove the trigger ${trigger.name}?`, about: `What it counted, ${number(trigger.count)} of ${number(trigger.threshold)}, is forgotten.`, word: 'Remove it', isCareful: true,
    send: () => ask(`triggers/${encodeURIComponent(trigger.name)}`, { method: 'DELETE' }),
    done: () => `The trigger ${trigger.name} is removed.`,
  });
}

let asked = 0;

/** A region was drawn on a chart. */
export async function askWhy(shard, from, to) {
  asked += 1;
  const mine = asked;
  show([h('h2', { id: 'dialog-title' }, `${shard}, ${clock(from)} to ${clock(to)}`), h('p', { class: 'quiet', role: 'status' }, 'Asking why …'), h('div', { class: 'actions' }, closing('Close'))]);
  const isMine = () => dialog.open && mine === asked;
  try {
    const why = await ask('why', posting({ shard, from, to }));
    if (isMine()) show(whyAnswer(why, () => dialog.close()));
  } catch (error) {
    if (isMine()) show([h('h2', { id: 'dialog-title' }, `No answer for ${shard}, ${clock(from)} to ${clock(to)}`), h('p', { role: 'alert' }, `${error.message}.`), h('div', { class: 'actions' }, closing('Close'))]);
  }
}
dialog.addEventListener('close', () => {
  asked += 1;
  // The button that opened it may be gone.
  if (document.activeElement === document.body) document.getElementById('main').focus({ preventScroll: true });
});

const zoned = (unix) => new Date((unix - new Date(unix * 1000).getTimezoneOffset() * 60) * 1000).toISOString().slice(0, 19);

/** The same question without a pointer; begins with the incident's time. */
export function timeForm(incident) {
  const moment = (name, unix) => h('input', { type: 'datetime-local', step: 1, required: true, name, value: zoned(unix) });
  const [from, to] = [moment('from', incident.started_at), moment('to', incident.ended_at ?? Math.floor(state.shards.now))];
  const seconds = (input) => Math.floor(new Date(input.value).getTime() / 1000);
  showForm({
    title: `Why was ${incident.root.shard} bad?`, about: 'Each second is kept for four minutes. A drag over a chart asks the same.', word: 'Ask', focus: from, fields: [['From', from], ['To', to]],
    send: () => {
      if (seconds(to) <= seconds(from)) throw new Error('the end must lie after the beginning');
      return askWhy(incident.root.shard, seconds(from), seconds(to));
    },
  });
}

export function tokenForm() {
  const input = h('input', { type: 'password', name: 'token', required: true, autocomplete: 'current-password' });
  const submit = (event) => {
    event.preventDefault();
    sessionStorage.setItem('token', event.target.elements.token.value.trim());
    Object.assign(state, { asksToken: false, gaveToken: true });
    load();
  };
  return h('form', { class: 'card', 'data-key': 'token', submit }, h('h2', null, 'A token is needed'),
    h('p', { class: 'quiet small' }, 'It is the content of the file that web.token_file names on the aggregator. It is kept until this tab closes.', state.gaveToken && ' The one given before is not accepted.'),
    h('label', null, 'Token', input), h('div', { class: 'actions' }, h('button', { class: 'main', type: 'submit' }, 'Open')));
}
