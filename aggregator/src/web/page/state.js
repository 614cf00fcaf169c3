// What the page knows, and its talk with the aggregator. Views read `state`; only this file and its callers' answers change it.

import { h, skew } from './draw.js';
import { hotPath, hotPlace } from './hot.js';

export const state = { shards: null, incidents: [], silences: [], agents: null, graph: null, triggers: null, hot: null, one: null, fault: null, refusal: null, asksToken: false, gaveToken: sessionStorage.getItem('token') !== null };

/** The view's name and what follows it: `#incident/ID`. */
export function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, '').split('/');
  return [name || 'overview', ...rest];
}

export function headers(extra) {
  const token = sessionStorage.getItem('token');
  return token ? { ...extra, Authorization: `Bearer ${token}` } : { ...extra };
}

export const posting = (body) => ({ method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

/** An answer of the API; an error carries the aggregator's line, and `status` where there was an answer. */
export async function ask(path, options) {
  const response = await fetch(`/api/v1/${path}`, { ...options, headers: headers(options?.headers), signal: AbortSignal.timeout(15000) }).catch((error) => {
    throw new Error(error.name === 'TimeoutError' ? 'no answer within 15 s' : 'no connection', { cause: error });
  });
  if (response.status === 401) state.asksToken = true;
  if (response.status === 204) return null;
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(body.error ?? `the aggregator answered ${response.status}`), { status: response.status });
  return body;
}

let isLoading = false;
let isWanted = false;
let drawAll = () => {};

/** What draws when something was read. */
export function whenLoaded(draw) {
  drawAll = draw;
}

/** Reads what the view shows, then draws it. One at a time: a slow aggregator is not asked twice, but once more when something changed meanwhile. */
export async function load() {
  isWanted = true;
  if (isLoading) return;
  isLoading = true;
  while (isWanted) {
    isWanted = false;
    try {
      await readAll();
    } catch (error) {
      state.fault = error;
    }
    drawAll();
  }
  isLoading = false;
}

async function readAll() {
  const [name, id, ...rest] = route();
  let refusal = null;
  // A view that is refused does not hide that the aggregator answers.
  const view = (path) => ask(path).catch((error) => {
    if (!error.status || error.status === 401) throw error;
    if (name !== 'incident' || error.status !== 404) refusal = error.message;
    return null;
  });
  const [shards, incidents, silences, one] = await Promise.all([
    ask('shards'), ask('incidents?limit=100'), ask('silences'), name === 'incident' ? view(`incidents/${encodeURIComponent(id ?? '')}`) : null,
  ]);
  if (name === 'agents') state.agents = (await view('agents'))?.agents ?? state.agents;
  if (name === 'graph' || one?.intrusion) state.graph = (await view('graph')) ?? state.graph;
  if (name === 'hot') state.hot = { path: location.hash, answer: await view(hotPath(hotPlace(id === undefined ? [] : [id, ...rest]))) };
  if (name === 'triggers') state.triggers = (await view('triggers'))?.triggers ?? state.triggers;
  skew.seconds = shards.now > 0 ? shards.now - Date.now() / 1000 : 0;
  Object.assign(state, { shards, incidents: incidents.incidents, silences: silences.silences, one, refusal, fault: null, asksToken: false });
}

/** Changes something, says what that did or why it was refused, and reads anew. */
export async function change(path, options, done) {
  try {
    await ask(path, options);
    say(done);
  } catch (error) {
    say(error.status ? `Nothing was changed: ${error.message}.` : `It is not known whether this was taken: ${error.message}.`, true);
  }
  await load();
}

let saidUntil;

/** A line above everything: what an action did goes after a while, why it failed stays until it is closed. */
export function say(text, isBad = false) {
  clearTimeout(saidUntil);
  const said = document.getElementById('said');
  const close = () => said.replaceChildren();
  said.replaceChildren(h('p', { class: isBad ? 'bad' : null, role: isBad ? 'alert' : null }, text, h('button', { type: 'button', 'aria-label': 'Close this message', click: close }, '×')));
  if (!isBad) saidUntil = setTimeout(close, 12000);
}
