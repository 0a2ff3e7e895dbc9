'use strict';
// Asks for the status again and again, and shows it. Everything told goes into the page as text.

const EVERY = 3000; // milliseconds between two questions: how often the gateway itself looks
const DENIALS = 25; // shown; the figures hold more
const PATIENCE = 10000; // milliseconds that an answer may take
const find = id => document.getElementById(id);
const missing = '–';

// Units.
const scaled = (value, step, units) => {
  let unit = 0;
  while (value >= step && unit < units.length - 1) { value /= step; unit++; }
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`;
};
const bytes = value => scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']);
const rate = value => `${bytes(value)}/s`;
const perSecond = value => `${value >= 10 ? value.toFixed(0) : value.toFixed(1)} /s`;
const percent = value => value == null ? missing : `${(value * 100).toFixed(value > 0.995 && value < 1 ? 2 : 0)} %`;
const seconds = value => {
  if (value == null) return missing;
  if (value < 1) return `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms`;
  if (value < 120) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  if (value < 7200) return `${Math.floor(value / 60)} min`;
  if (value < 172800) return `${Math.floor(value / 3600)} h ${Math.floor(value % 3600 / 60)} min`;
  return `${Math.floor(value / 86400)} days`;
};
const whole = value => value < 10 ? `${Math.floor(value)} s` : seconds(Math.floor(value));
const ago = (now, at) => at == null ? 'never' : now - at < 1 ? 'just now' : `${whole(now - at)} ago`;
const clock = at => new Date(at).toLocaleTimeString([], { hour12: false });
const count = value => value.toLocaleString();

// What is there already is changed only where it differs: selections, focus and screen readers stay where they are.
function put(node, text, style) {
  if (node.textContent !== text) node.textContent = text;
  if (style !== undefined && node.className !== style) node.className = style;
}
function element(name, parent, style) {
  const made = document.createElement(name);
  if (style) made.className = style;
  parent?.append(made);
  return made;
}
function children(parent, name, wanted) {
  while (parent.children.length > wanted) parent.lastElementChild.remove();
  while (parent.children.length < wanted) element(name, parent);
  return [...parent.children];
}

// A list of [term, value, style].
function terms(list, pairs) {
  children(list, 'div', pairs.length).forEach((pair, index) => {
    if (!pair.firstChild) pair.append(element('dt'), element('dd'));
    put(pair.firstChild, pairs[index][0]);
    put(pair.lastChild, pairs[index][1], pairs[index][2] ?? '');
  });
}

// A table of rows of [text, style]; on a narrow window each row is a card, and stays a row to a screen reader.
function table(place, label, columns, rows, nothing) {
  let shown = place.querySelector('table');
  if (!rows.length) {
    shown?.remove();
    put(place.querySelector('p') ?? element('p', place, 'empty'), nothing);
    return;
  }
  place.querySelector('p')?.remove();
  if (!shown) {
    shown = element('table', place);
    shown.setAttribute('role', 'table');
    shown.setAttribute('aria-label', label);
    const head = element('tr', element('thead', shown));
    for (const [name, style] of columns) {
      const cell = element('th', head, style);
      cell.scope = 'col';
      cell.textContent = name;
    }
    element('tbody', shown);
  }
  children(shown.tBodies[0], 'tr', rows.length).forEach((row, index) => {
    row.setAttribute('role', 'row');
    children(row, 'td', columns.length).forEach((cell, column) => {
      cell.setAttribute('role', 'cell');
      cell.dataset.label = columns[column][0];
      const [text, style] = rows[index][column];
      put(cell, text, style ?? columns[column][1] ?? '');
    });
  });
}

// Plots: lines drawn into a box of 300 by 100, the words around it.
const SVG = 'http://www.w3.org/2000/svg';
function drawn(name, parent, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}
function roundUp(most, step) {
  let unit = 1;
  while (step && unit * step <= most) unit *= step;
  const power = unit * 10 ** Math.floor(Math.log10(most / unit || 1));
  return [1, 2, 5, 10].map(times => times * power).find(it => it >= most) ?? most;
}
class Plot {
  constructor(title, lines, unit, options = {}) {
    Object.assign(this, { title, lines, unit, options, at: null });
    this.figure = element('figure', find('plots'), 'plot');
    this.figure.tabIndex = 0;
    this.figure.setAttribute('role', 'group');
    element('h3', this.figure).textContent = title;
    const top = element('div', this.figure, 'axis');
    [this.most, this.when] = [element('span', top), element('span', top)];
    this.svg = drawn('svg', this.figure, { viewBox: '0 0 300 100', preserveAspectRatio: 'none', 'aria-hidden': true });
    for (const y of [0, 50, 100]) drawn('line', this.svg, { class: 'grid', x1: 0, x2: 300, y1: y, y2: y });
    this.mark = drawn('line', this.svg, { class: 'at', y1: 0, y2: 100, visibility: 'hidden' });
    this.paths = lines.map((_, index) => drawn('path', this.svg, { class: `s${index}` }));
    const axis = element('div', this.figure, 'axis');
    for (const text of ['15 min ago', 'now']) element('span', axis).textContent = text;
    const legend = element('ul', this.figure, 'legend');
    this.values = lines.map(([name], index) => {
      const item = element('li', legend);
      const key = drawn('svg', item, { viewBox: '0 0 24 8', 'aria-hidden': true });
      drawn('line', key, { class: `s${index}`, x1: 0, x2: 24, y1: 4, y2: 4, 'stroke-width': 2 });
      item.append(`${name} `);
      return element('b', item);
    });
    this.svg.addEventListener('pointermove', event => {
      const box = this.svg.getBoundingClientRect();
      this.look(Math.round((event.clientX - box.left) / box.width * 300));
    });
    this.svg.addEventListener('pointerleave', () => this.look(null));
    this.figure.addEventListener('blur', () => this.look(null));
    this.figure.addEventListener('keydown', event => {
      const step = { ArrowLeft: -5, ArrowRight: 5 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.look((this.at ?? 300) + step);
    });
  }
  look(at) {
    this.at = at == null ? null : Math.max(0, Math.min(300, at));
    this.show(this.series);
  }
  show(series) {
    this.series = series;
    if (!series) return;
    const all = this.lines.map(([, pick]) => pick(series) ?? []);
    const most = this.options.most ?? roundUp(Math.max(...all.flat(), this.options.least ?? 0), this.options.step);
    all.forEach((points, index) => {
      const left = 300 - points.length;
      let pen = 'M';
      const path = points.map((value, place) => {
        if (value == null) { pen = 'M'; return ''; }
        const to = `${pen}${left + place + 1} ${(100 - value / most * 100).toFixed(1)}`;
        pen = 'L';
        return to;
      });
      this.paths[index].setAttribute('d', path.join(''));
      const last = points.length - 1 - (this.at == null ? 0 : 300 - this.at);
      put(this.values[index], points[last] == null ? missing : this.unit(points[last]));
      // A tier that nobody asked is none: it is not configured.
      this.values[index].parentElement.hidden = !points.length;
    });
    const back = this.at == null ? 0 : (300 - this.at) * series.every;
    put(this.most, this.unit(most));
    put(this.when, back ? `${whole(back)} ago` : '');
    this.mark.setAttribute('visibility', this.at == null ? 'hidden' : 'visible');
    for (const x of ['x1', 'x2']) this.mark.setAttribute(x, this.at ?? 0);
    const shown = this.lines.map(([name], index) => all[index].length ? `${name} ${this.values[index].textContent}` : '');
    const values = shown.filter(Boolean);
    const when = back ? `${whole(back)} ago` : 'now';
    this.figure.setAttribute('aria-label', `${this.title}, ${when}: ${values.join(', ')}. Arrow keys go back in time.`);
  }
}
const asked = tier => series => series.hits[tier]?.some(it => it != null) ? series.hits[tier] : [];
const plots = [
  new Plot('Throughput', [['to annotators', it => it.sent], ['from storage', it => it.fetched]], rate, { step: 1024, least: 1024 }),
  new Plot('Answered without storage', [['memory', asked('memory')], ['metadata', asked('metadata')], ['disk', asked('disk')]], percent, { most: 1 }),
  new Plot('Requests', [['answered', it => it.requests], ['denied', it => it.denials]], perSecond, { least: 1 }),
  new Plot('Time to the first byte', [['half within', it => it.first_byte_p50], ['99 of 100 within', it => it.first_byte_p99]], seconds, { least: 0.001 }),
];

const HEALTH = {
  ok: ['● answers', 'good'], unused: ['○ not asked yet', 'quiet'], failing: ['▲ failed last', 'warn'],
  refused: ['▲ refuses Lockgate', 'bad'], down: ['✕ down', 'bad'],
};
const STORAGE_COLUMNS = [['Storage'], ['Where', 'wide'], ['Health'], ['Last answer'], ['Last failure', 'wide'], ['First byte, 5 min', 'number'], ['Cached', 'number'], ['Credentials end']];
function storage(now, it) {
  const failure = it.failure ? `${ago(now, it.failure.at)}: ${it.failure.reason} (${it.failure.outcome})` : 'never';
  const latency = it.recent.p50 == null ? missing : `${seconds(it.recent.p50)}, p99 ${seconds(it.recent.p99)}`;
  const end = it.credentials_end;
  return [
    [it.id], [`${it.kind} ${it.place}${it.prefix ? `, below ${it.prefix}` : ''}, ${it.delivery}`],
    HEALTH[it.health] ?? [it.health], [ago(now, it.answered_at)], [failure], [latency],
    [it.cached.entries ? `${bytes(it.cached.bytes)}, ${count(it.cached.entries)} chunks` : 'nothing'],
    end == null ? ['do not end'] : end < now ? ['ended', 'bad'] : [`in ${seconds(end - now)}`, end - now < 300 ? 'warn' : ''],
  ];
}
const DENIAL_COLUMNS = [['When'], ['Who', 'wide'], ['Why'], ['Asked for', 'wide'], ['Status', 'number'], ['Request', 'wide']];
function denial(it) {
  const place = [it.project && `project ${it.project}`, it.task && `task ${it.task}`, it.object].filter(Boolean).join(', ');
  return [[clock(it.time)], [it.subject ?? 'nobody known'], [it.reason.replaceAll('_', ' ')], [place || missing], [String(it.status)], [it.request_id]];
}
function value(it) {
  if (it == null || it === '' || (Array.isArray(it) && !it.length)) return missing;
  if (Array.isArray(it)) return it.join(', ');
  if (it.bytes != null) return bytes(it.bytes);
  if (it.seconds != null) return seconds(it.seconds);
  return typeof it === 'boolean' ? it ? 'yes' : 'no' : typeof it === 'number' ? count(it) : it;
}

function show(status) {
  const { now, recent, series } = status;
  const last = list => list.at(-1) ?? 0;
  put(find('version'), status.version);
  put(find('since'), `running for ${seconds(Math.floor(now - status.started_at))}, since ${new Date(status.started_at * 1000).toLocaleString([], { hour12: false })}`);
  const ready = !status.missing.length;
  put(find('state'), ready ? '● ready' : `✕ not ready: ${status.missing.join(', ')}`, `chip ${ready ? 'good' : 'bad'}`);
  terms(find('figures'), [
    ['bodies running', count(status.streams)], ['requests in flight', count(status.in_flight)],
    ['to annotators', rate(last(series.sent))], ['from storage', rate(last(series.fetched))],
    ['answered from memory', percent(recent.hits.memory)], ['first byte', seconds(recent.first_byte_p50)],
    ['first byte, 99 of 100', seconds(recent.first_byte_p99)], ['requests', count(recent.requests)],
    ['denials', count(recent.denials)], ['failures (5xx)', count(recent.errors), recent.errors ? 'bad' : ''],
  ]);
  for (const plot of plots) plot.show(series);
  table(find('storages'), 'Storages', STORAGE_COLUMNS, status.storages.map(it => storage(now, it)), 'No storage is configured.');
  table(find('denials'), 'Last denials', DENIAL_COLUMNS, status.denials.slice(0, DENIALS).map(denial), 'Nobody was denied anything since the start.');
  const tier = it => [[it.tier], [bytes(it.bytes)], [it.capacity ? bytes(it.capacity) : missing], [it.capacity ? percent(it.bytes / it.capacity) : missing]];
  table(find('cache'), 'Cache', [['Tier'], ['Holds', 'number'], ['Room', 'number'], ['Full', 'number']], status.cache.map(tier), 'No cache.');
  children(find('configuration'), 'section', status.configuration.length).forEach((card, index) => {
    const { section, entries } = status.configuration[index];
    if (!card.firstChild) card.append(element('h3'), element('dl'));
    card.className = 'card';
    put(card.firstChild, section);
    const cells = children(card.lastChild, 'div', entries.length);
    cells.forEach((pair, place) => {
      if (!pair.firstChild) pair.append(element('dt'), element('dd'));
      pair.className = 'pair';
      put(pair.firstChild, entries[place][0]);
      put(pair.lastChild, value(entries[place][1]));
    });
  });
}

let paused = false;
async function ask() {
  if (!paused && !document.hidden) {
    try {
      const answer = await fetch('/status.json', { signal: AbortSignal.timeout(PATIENCE) });
      if (!answer.ok) throw new Error(`it answers ${answer.status}`);
      show(await answer.json());
      put(find('lost'), '');
    } catch (error) {
      put(find('lost'), `No figures: ${error.message}. The last ones are shown.`);
    }
  }
  setTimeout(ask, EVERY);
}
find('pause').addEventListener('click', event => {
  paused = !paused;
  event.target.setAttribute('aria-pressed', paused);
});
ask();
