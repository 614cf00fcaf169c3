// What the page is drawn with: elements, numbers for people, charts. Text only ever becomes text nodes.

/** An element: attributes (a function is a listener), then children; null and false are left out. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

const HEARD = Symbol('heard');

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') listen(element, name, value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** One listener a name, which another drawing may replace. */
function listen(element, name, handler) {
  element[HEARD] ??= {};
  if (!(name in element[HEARD])) element.addEventListener(name, (event) => element[HEARD][name]?.(event));
  element[HEARD][name] = handler;
}

/** Makes `parent` hold what `children` hold and changes only what differs: focus, selection, scrolled tables, open details
 * and what the pointer is over stay. Children are the same by `data-key`, else by place and tag; what an element with
 * `data-own` holds is its own matter. */
export function patch(parent, children) {
  const wanted = new Set(children.map((child) => child.dataset?.key));
  const kept = new Map();
  for (const child of [...parent.children]) {
    const { key } = child.dataset;
    if (key === undefined) continue;
    // First, so that what stays is not moved: moving loses the focus.
    if (wanted.has(key)) kept.set(key, child);
    else child.remove();
  }
  children.forEach((next, at) => {
    const place = parent.childNodes[at] ?? null;
    const key = next.dataset?.key;
    const found = key === undefined ? place : kept.get(key);
    kept.delete(key);
    const now = found && isSame(found, next) ? found : null;
    if (now !== place || !now) parent.insertBefore(now ?? next, place);
    if (now) become(now, next);
  });
  while (parent.childNodes.length > children.length) parent.lastChild.remove();
}

const isSame = (now, next) => now.nodeName === next.nodeName && now.dataset?.key === next.dataset?.key && now.dataset?.own === next.dataset?.own;

function become(now, next) {
  if (now.nodeType === Node.TEXT_NODE) {
    if (now.data !== next.data) now.data = next.data;
    return;
  }
  for (const { name } of [...now.attributes]) if (!next.hasAttribute(name) && name !== 'open') now.removeAttribute(name);
  for (const { name, value } of next.attributes) if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  for (const name of Object.keys(now[HEARD] ?? {})) if (!(name in (next[HEARD] ?? {}))) now[HEARD][name] = null;
  for (const [name, handler] of Object.entries(next[HEARD] ?? {})) listen(now, name, handler);
  if (next.dataset.own === undefined) patch(now, [...next.childNodes]);
  // What somebody is choosing is his, and a password is not drawn.
  const isHis = now === document.activeElement || now.type === 'password';
  if (['INPUT', 'SELECT'].includes(now.tagName) && !isHis && now.value !== next.value) now.value = next.value;
}

// Numbers ---------------------------------------------------------------------------------------------------------

function digits(value) {
  const size = Math.abs(value);
  if (size !== 0 && size < 0.01) return value.toPrecision(1);
  if (size >= 10000) return Math.round(value).toLocaleString('en-GB').replaceAll(',', ' ');
  return String(Number(value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2)));
}

function scaled(value, base, units) {
  let at = 0;
  let size = value;
  while (Math.abs(size) >= base && at < units.length - 1) {
    size /= base;
    at += 1;
  }
  return `${digits(size)} ${units[at]}`;
}

const BYTES = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** A value with its unit: `12.4 MB/s`, `93 %`, `1.2 s`. */
export function amount(value, unit) {
  if (value === null || value === undefined) return '–';
  switch (unit) {
    case 'bytes': return scaled(value, 1000, BYTES);
    case 'bytes_per_second': return `${scaled(value, 1000, BYTES)}/s`;
    case 'milliseconds': return Math.abs(value) >= 1000 ? `${digits(value / 1000)} s` : `${digits(value)} ms`;
    case 'milliseconds_per_second': return Math.abs(value) >= 1000 ? `${digits(value / 1000)} s/s` : `${digits(value)} ms/s`;
    case 'seconds': return duration(value);
    case 'ratio': return `${digits(value * 100)} %`;
    case 'per_second': return Math.abs(value) >= 1e5 ? `${scaled(value, 1000, ['', 'k', 'M', 'G'])}/s` : `${digits(value)}/s`;
    case 'cores': return `${digits(value)} cores`;
    default: return Math.abs(value) >= 1e6 ? scaled(value, 1000, ['', 'k', 'M', 'G']) : digits(value);
  }
}

/** A length of time: `640 ms`, `12 s`, `3 min`, `2 h 5 min`, `4 d`. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  const t = Math.abs(seconds);
  const sign = seconds < 0 ? '−' : '';
  if (t < 1) return `${sign}${Math.round(t * 1000)} ms`;
  if (t < 10) return `${sign}${Number(t.toFixed(1))} s`;
  if (t < 100) return `${sign}${Math.round(t)} s`;
  if (t < 3600) return `${sign}${Math.round(t / 60)} min`;
  if (t < 48 * 3600) return `${sign}${Math.floor(t / 3600)} h ${Math.floor((t % 3600) / 60)} min`;
  return `${sign}${Math.round(t / 86400)} d`;
}

const two = (n) => String(n).padStart(2, '0');

/** `18:04:09`, in the reader's zone. */
export function clock(unix) {
  const at = new Date(unix * 1000);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

function calendar(unix) {
  const at = new Date(unix * 1000);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(unix)}`;
}

/** The aggregator's clock minus this machine's, seconds: relative times follow the aggregator. */
export const skew = { seconds: 0 };
const now = () => Date.now() / 1000 + skew.seconds;

function relative(unix) {
  const gone = now() - unix;
  if (gone < -1) return `in ${duration(-gone)}`;
  return gone < 2 ? 'just now' : `${duration(Math.round(gone))} ago`;
}

/** A `<time>` that stays true: `3 min ago`, the exact time on hover. */
export function ago(unix) {
  if (unix === null || unix === undefined) return '–';
  return h('time', { class: 'rel nowrap', 'data-unix': unix, title: calendar(unix), datetime: new Date(unix * 1000).toISOString() }, relative(unix));
}

export function refreshTimes() {
  for (const element of document.querySelectorAll('time.rel')) element.textContent = relative(Number(element.dataset.unix));
}

// Charts ----------------------------------------------------------------------------------------------------------

const W = 300;
const H = 104;
const BOX = { left: 4, right: W - 4, top: 16, bottom: H - 16 };

/** A chart of one metric: the node in question in red over its siblings in grey; the incident shaded from its start.
 * Dragging over it asks why of that time. */
export function chart(data, incident, onRegion) {
  const focus = data.series.find((line) => line.focus) ?? data.series[0];
  const values = data.series.flatMap((line) => line.points.map((point) => point[1]));
  if (!focus || values.length === 0) return h('figure', null, h('figcaption', null, 'no values kept for this time'));
  const top = Math.max(...values, focus.usual ?? 0) || 1;
  const low = Math.min(0, ...values);
  const x = (t) => BOX.left + ((t - data.from) / Math.max(1, data.to - data.from)) * (BOX.right - BOX.left);
  const y = (v) => BOX.bottom - ((v - low) / (top - low)) * (BOX.bottom - BOX.top);
  const others = data.series.filter((line) => line !== focus);
  const from = Math.max(x(incident.started_at), BOX.left);
  const until = incident.ended_at === null ? BOX.right : Math.min(x(incident.ended_at), BOX.right);
  const cursor = s('line', { class: 'cursor', y1: BOX.top, y2: BOX.bottom, visibility: 'hidden' });
  const usual = focus.usual !== null && focus.usual >= low && focus.usual <= top ? y(focus.usual) : null;
  const svg = s('svg', { class: 'chart', viewBox: `0 0 ${W} ${H}`, role: 'img', 'aria-label': spoken(data, focus, others) },
    s('rect', { class: 'span', x: from, y: BOX.top, width: Math.max(0, until - from), height: BOX.bottom - BOX.top }),
    s('line', { class: 'grid', x1: BOX.left, x2: BOX.right, y1: BOX.bottom, y2: BOX.bottom }),
    s('line', { class: 'grid', x1: BOX.left, x2: BOX.right, y1: BOX.top, y2: BOX.top }),
    others.map((line) => path(line.points, x, y, 'other')),
    usual === null ? null : s('line', { class: 'usual', x1: BOX.left, x2: BOX.right, y1: usual, y2: usual }),
    path(focus.points, x, y, 'self'),
    s('line', { class: 'start', x1: from, x2: from, y1: BOX.top - 4, y2: BOX.bottom }),
    cursor,
    s('text', { x: BOX.left, y: 10 }, amount(top, data.unit)),
    s('text', { x: BOX.left, y: H - 3 }, clock(data.from)),
    label(from, `start ${clock(incident.started_at)}`),
    s('text', { x: BOX.right, y: H - 3, 'text-anchor': 'end' }, incident.ended_at === null && now() - data.to < 30 ? 'now' : clock(data.to)));
  const rest = h('span', null, caption(focus, others));
  svg.addEventListener('pointermove', (event) => {
    const place = svg.getBoundingClientRect();
    const t = data.from + (((event.clientX - place.left) / place.width) * W - BOX.left) / (BOX.right - BOX.left) * (data.to - data.from);
    const at = nearest(focus.points, t);
    if (!at) return;
    cursor.setAttribute('x1', x(at[0]));
    cursor.setAttribute('x2', x(at[0]));
    cursor.setAttribute('visibility', 'visible');
    const beside = median(others.map((line) => nearest(line.points, at[0])).filter((p) => p && Math.abs(p[0] - at[0]) < 5).map((p) => p[1]));
    rest.textContent = `${clock(at[0])}  ${focus.node} ${amount(at[1], data.unit)}${beside === null ? '' : ` · siblings ${amount(beside, data.unit)}`}`;
  });
  if (onRegion && focus.shard) region(svg, data, (from, to) => onRegion(focus.shard, from, to));
  svg.addEventListener('pointerleave', () => {
    cursor.setAttribute('visibility', 'hidden');
    rest.textContent = caption(focus, others);
  });
  return h('figure', null, svg, h('figcaption', null, rest));
}

/** Lets a region be dragged; one of fewer than three seconds is a click. */
function region(svg, data, done) {
  const mark = s('rect', { class: 'drawn', y: BOX.top, height: BOX.bottom - BOX.top, visibility: 'hidden' });
  svg.append(mark);
  const at = (event) => {
    const place = svg.getBoundingClientRect();
    return Math.min(Math.max(((event.clientX - place.left) / place.width) * W, BOX.left), BOX.right);
  };
  const time = (x) => Math.round(data.from + ((x - BOX.left) / (BOX.right - BOX.left)) * (data.to - data.from));
  let from = null;
  svg.addEventListener('pointerdown', (event) => {
    from = at(event);
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener('pointermove', (event) => {
    if (from === null) return;
    const to = at(event);
    mark.setAttribute('x', Math.min(from, to));
    mark.setAttribute('width', Math.abs(to - from));
    mark.setAttribute('visibility', 'visible');
  });
  svg.addEventListener('pointerup', (event) => {
    if (from === null) return;
    const [first, last] = [time(from), time(at(event))].sort((a, b) => a - b);
    from = null;
    mark.setAttribute('visibility', 'hidden');
    if (last - first >= 3) done(first, last);
  });
  svg.addEventListener('pointercancel', () => {
    from = null;
    mark.setAttribute('visibility', 'hidden');
  });
}

/** The start's label, kept clear of the labels at both ends. */
function label(at, text) {
  const middle = Math.min(Math.max(at, BOX.left + 90), BOX.right - 90);
  return s('text', { x: middle, y: H - 3, 'text-anchor': 'middle' }, text);
}

function caption(focus, others) {
  if (others.length === 0) return focus.node;
  return `${focus.node}, and ${others.length === 1 ? 'its sibling' : `${others.length} siblings`} in grey`;
}

function spoken(data, focus, others) {
  const peak = Math.max(...focus.points.map((point) => point[1]));
  const beside = median(others.flatMap((line) => line.points.slice(-1)).map((point) => point[1]));
  const siblings = beside === null ? '' : `; siblings ${amount(beside, data.unit)}`;
  return `${data.about ?? data.metric} on ${focus.node}: up to ${amount(peak, data.unit)}${siblings}`;
}

/** A line with gaps where more than some seconds are missing: missing is not zero. */
function path(points, x, y, kind) {
  let d = '';
  let before = null;
  const step = points.length > 1 ? (points[points.length - 1][0] - points[0][0]) / (points.length - 1) : 1;
  for (const [t, v] of points) {
    const isGap = before === null || t - before > Math.max(5, 4 * step);
    // A lone point is a dot: `h0` with round caps.
    d += isGap ? `M${x(t).toFixed(1)} ${y(v).toFixed(1)}h0` : `L${x(t).toFixed(1)} ${y(v).toFixed(1)}`;
    before = t;
  }
  return s('path', { class: kind, d });
}

function nearest(points, t) {
  let best = null;
  for (const point of points) if (!best || Math.abs(point[0] - t) < Math.abs(best[0] - t)) best = point;
  return best;
}

function median(values) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const mid = sorted.length >> 1;
  return sorted.length % 2 ? sorted[mid] : (sorted[mid - 1] + sorted[mid]) / 2;
}
