// A page that draws a dashboard's file with Grafana's own components, for the test and the picture. It knows the kinds
// of panels that the file uses, and says so where it meets another.
//
// Reads /dashboard.json, and Prometheus at `prometheus` in its query; what it saw is `window.seen`, once it is complete.

import './page.css';
import { Component } from 'react';
import { createRoot } from 'react-dom/client';
import {
  FieldConfigOptionsRegistry, applyFieldOverrides, createTheme, dateTime, getFieldDisplayName,
  getFieldDisplayValues, identityOverrideProcessor,
} from '@grafana/data';
import {
  BigValue, BigValueTextMode, GlobalStyles, PanelChrome, ThemeContext, TimeSeries, VizRepeater,
} from '@grafana/ui';
import { filled, offered, series, steps } from './prometheus.js';

// Grafana's grid: 24 columns, rows of 30 pixels, 8 between them.
const COLUMNS = 24, ROW = 30, GAP = 8, MARGIN = 16, TOP = 56;

const theme = createTheme({ colors: { mode: 'dark' } });
const options = new URLSearchParams(location.search);
const prometheus = options.get('prometheus');
const scrape = Number(options.get('scrape'));

// Each key of a field's configuration is taken as it is written; Grafana's server only adds editors for them.
function registry({ defaults, overrides }) {
  const { custom, ...standard } = defaults;
  const ids = new Set([
    ...Object.keys(standard), ...Object.keys(custom ?? {}).map(key => `custom.${key}`),
    ...overrides.flatMap(({ properties }) => properties.map(({ id }) => id)),
  ]);
  return new FieldConfigOptionsRegistry(() => [...ids].map(id => ({
    id, path: id.replace(/^custom\./, ''), name: id, isCustom: id.startsWith('custom.'), shouldApply: () => true,
    process: identityOverrideProcessor,
  })));
}

// What a panel's kind says where the file says nothing.
const KINDS = {
  timeseries: { color: { mode: 'palette-classic' } },
  stat: { color: { mode: 'thresholds' }, thresholds: { mode: 'absolute', steps: [{ value: -Infinity, color: 'green' }, { value: 80, color: 'red' }] } },
};

function Plot({ panel, frames, range, width, height }) {
  const { legend } = panel.options;
  return <TimeSeries frames={frames} timeRange={range} timeZone="utc" width={width} height={height} structureRev={1}
    legend={{ showLegend: true, calcs: [], ...legend }} options={panel.options} />;
}

function Stat({ panel, frames, width, height }) {
  const values = () => getFieldDisplayValues({
    fieldConfig: panel.fieldConfig, reduceOptions: panel.options.reduceOptions, replaceVariables: text => text, theme,
    data: frames, sparkline: panel.options.graphMode !== 'none', timeZone: 'utc',
  });
  const draw = ({ value, width, height, count }) => <BigValue theme={theme} width={width} height={height} count={count}
    value={value.display} sparkline={value.sparkline} colorMode={panel.options.colorMode} graphMode={panel.options.graphMode}
    justifyMode="auto" textMode={panel.options.textMode ?? BigValueTextMode.Auto} />;
  return <VizRepeater getValues={values} renderValue={draw} width={width} height={height} source={frames} autoGrid
    orientation={panel.options.orientation ?? 'auto'} />;
}

const DRAW = { timeseries: Plot, stat: Stat };

// A panel that cannot be drawn says so in `seen`, and the others are drawn.
class Guard extends Component {
  static getDerivedStateFromError = error => ({ error });
  state = {};
  componentDidCatch(error) { this.props.saw.error = error.message; }
  render() { return this.state.error ? <p>{this.state.error.message}</p> : this.props.children; }
}

async function load(panel, width, range, variables) {
  const saw = { id: panel.id, title: panel.title, type: panel.type, targets: [] };
  let frames = [];
  try {
    if (!DRAW[panel.type]) throw new Error(`no way to draw a panel of type ${panel.type}`);
    const when = steps(range, width, scrape);
    for (const target of panel.targets) {
      const got = await series(prometheus, target, range, { ...when, variables: { ...variables, ...when.variables } });
      frames.push(...got);
      saw.targets.push({ refId: target.refId, series: got.map(frame => ({
        name: getFieldDisplayName(frame.fields[1], frame),
        points: frame.fields[1].values.filter(value => value !== null).length,
      })) });
    }
    const kind = KINDS[panel.type];
    panel.fieldConfig.defaults = { ...kind, ...panel.fieldConfig.defaults };
    // JSON has no infinity: the lowest threshold is written as null.
    const [lowest] = panel.fieldConfig.defaults.thresholds?.steps ?? [];
    if (lowest) lowest.value = -Infinity;
    frames = applyFieldOverrides({
      data: frames, fieldConfig: panel.fieldConfig, replaceVariables: text => filled(text, variables), theme,
      timeZone: 'utc', fieldConfigRegistry: registry(panel.fieldConfig),
    });
  } catch (error) {
    saw.error = error.message;
  }
  return { panel, frames, saw };
}

function place({ x, y, w, h }) {
  const column = (innerWidth - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS;
  return {
    left: MARGIN + x * (column + GAP), top: TOP + y * (ROW + GAP),
    width: Math.floor(w * column + (w - 1) * GAP), height: h * ROW + (h - 1) * GAP,
  };
}

function Panel({ panel, frames, saw, range }) {
  const { width, height } = place(panel.gridPos);
  const Draw = DRAW[panel.type];
  const empty = !frames.length;
  return <PanelChrome title={panel.title} description={panel.description} width={width} height={height}
    statusMessage={saw.error} titleItems={[]}>
    {(width, height) => saw.error || empty ? <p className="empty">{saw.error ?? 'No data'}</p>
      : <Guard saw={saw}><Draw {...{ panel, frames, range, width, height }} /></Guard>}
  </PanelChrome>;
}

function Dashboard({ dashboard, loaded, range, variables }) {
  const clock = time => time.utc().format('HH:mm:ss');
  return <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <header><h1>{dashboard.title}</h1>
      {dashboard.templating.list.filter(it => it.type === 'query').map(it =>
        <span key={it.name}>{it.label} <b>{variables[it.name]}</b></span>)}
      <time>{clock(range.from)} – {clock(range.to)}</time></header>
    <main>{loaded.map(it => <section key={it.panel.id} style={{ position: 'absolute', ...place(it.panel.gridPos) }}>
      <Panel {...it} range={range} /></section>)}</main>
  </ThemeContext.Provider>;
}

// Until the browser has drawn what was asked for.
const frame = () => new Promise(done => setTimeout(() => requestAnimationFrame(done), 300));

async function begin() {
  const dashboard = await (await fetch('/dashboard.json')).json();
  const to = dateTime(Number(options.get('to')));
  const from = dateTime(Number(options.get('from')));
  const range = { from, to, raw: { from, to } };
  const variables = {};
  for (const it of dashboard.templating.list) {
    variables[it.name] = it.current.value;
    if (it.type !== 'query') continue;
    const values = await offered(prometheus, it.query.query);
    if (!values.includes(it.current.value)) throw new Error(`${it.name}: ${it.current.value} is not in ${values}`);
  }
  const loaded = await Promise.all(dashboard.panels.map(panel =>
    load(panel, place(panel.gridPos).width, range, variables)));
  const rows = dashboard.panels.map(({ gridPos }) => place(gridPos)).map(({ top, height }) => top + height);
  document.body.style.height = `${Math.max(...rows) + MARGIN}px`;
  // The axes are as wide as their words, and are measured once: the font has to be there first.
  const root = createRoot(document.getElementById('root'));
  root.render(<Dashboard {...{ dashboard, loaded: [], range, variables }} />);
  while (!(await document.fonts.load(`12px ${theme.typography.fontFamily}`)).length) await frame();
  root.render(<Dashboard {...{ dashboard, loaded, range, variables }} />);
  // uPlot draws after React's effects.
  await frame();
  await document.fonts.ready;
  window.seen = { panels: loaded.map(({ saw }) => saw) };
}

begin().catch(error => { window.seen = { error: error.message, panels: [] }; });
