// deploy/grafana's dashboard, drawn from its file with Grafana's component library over a Prometheus that scrapes
// Lockgate: every query is taken, every panel shows something, nothing complains.
//
//   node tests/browser/dashboard.mjs PROMETHEUS SECONDS SCRAPE [directory for the screenshot]
//
// PROMETHEUS is its URL; the last SECONDS are drawn, SCRAPE of them between two scrapes. Needs what dashboard/package.json names in `dashboard` below
// LOCKGATE_TOOLS (else target/tools), beside what status.mjs needs. Exits 0 when everything was seen; else 1, with a
// sentence that says what was not.

import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path => fileURLToPath(new URL(path, import.meta.url));
const tools = process.env.LOCKGATE_TOOLS ?? here('../../target/tools');
const { chromium } = createRequire(join(tools, 'node/package.json'))('playwright-core');
const packages = join(tools, 'dashboard/node_modules');
const { build } = createRequire(join(tools, 'dashboard/package.json'))('esbuild');

const PATIENCE = 60_000; // milliseconds that anything may take on a busy machine
const WINDOW = { width: 1600, height: 900 };
// Where Grafana's components expect what its server has.
const PLACES = {
  '/dashboard.json': () => here('../../deploy/grafana/lockgate.json'),
  '/public/build/img/icons/': icon => join(packages, '@grafana/ui/dist/public/img', icon),
  '/public/fonts/inter/': () => join(packages, '@fontsource-variable/inter/files/inter-latin-wght-normal.woff2'),
};
const PAGE = '<!doctype html><title>Lockgate</title><link rel=icon href=data:,><link rel=stylesheet href=/page.css><div id=root></div><script src=/page.js></script>';
const TYPES = { '.css': 'text/css', '.js': 'text/javascript', '.json': 'application/json', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };

const [prometheus, seconds, scrape, screenshots] = process.argv.slice(2);
if (!scrape) {
  console.error('usage: node tests/browser/dashboard.mjs PROMETHEUS SECONDS SCRAPE [SCREENSHOTS]');
  process.exit(2);
}

const dashboard = await readFile(here('../../deploy/grafana/lockgate.json'), 'utf8');
let doing = 'the page is built';
const directory = await mkdtemp(join(tmpdir(), 'dashboard-'));
const server = createServer(answer);
let browser;
try {
  await step('the page is built', () => bundle(directory));
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  });
  await see(await browser.newPage({ viewport: WINDOW }));
  console.log('every panel of the dashboard shows what happens');
} catch (error) {
  console.error(`FAILED while ${doing}: ${error.message.split('\n').slice(0, 3).join(' ')}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
  server.close();
  await rm(directory, { recursive: true });
}

async function see(page) {
  page.setDefaultTimeout(PATIENCE);
  const said = [];
  page.on('pageerror', error => said.push(error.message));
  page.on('console', message => ['error', 'warning'].includes(message.type()) && said.push(message.text()));
  page.on('response', answer => answer.status() >= 400 && said.push(`${answer.status()} for ${answer.url()}`));

  let seen;
  await step('the panels are drawn', async () => {
    const to = Date.now();
    const query = new URLSearchParams({ prometheus, scrape, from: to - seconds * 1000, to });
    await page.goto(`http://127.0.0.1:${server.address().port}/?${query}`);
    await page.waitForFunction(() => window.seen);
    seen = await page.evaluate(() => window.seen);
    expect(!seen.error, seen.error);
  });
  for (const panel of seen.panels) {
    const series = panel.targets.flatMap(target => target.series);
    console.log(`${panel.title}: ${series.map(it => `${it.name} (${it.points})`).join(', ') || 'no data'}`);
  }
  await step('every query is taken and every panel drawn', () => {
    const { panels } = JSON.parse(dashboard);
    expect(seen.panels.length === panels.length, `${seen.panels.length} of ${panels.length} panels`);
    const failed = seen.panels.filter(panel => panel.error).map(panel => `${panel.title}: ${panel.error}`);
    expect(!failed.length, failed.join('; '));
  });
  await step('every target shows something', () => {
    const empty = seen.panels.flatMap(({ title, targets }) => targets
      .filter(({ series }) => !series.some(({ points }) => points > 0))
      .map(({ refId }) => `${title} ${refId}`));
    expect(!empty.length, `without data: ${empty.join(', ')}`);
  });
  await step('no name in a legend is there twice or empty', () => {
    for (const { title, targets } of seen.panels) {
      const names = targets.flatMap(({ series }) => series.map(({ name }) => name.trim()));
      expect(names.every(Boolean) && new Set(names).size === names.length, `${title} names ${names.join(', ')}`);
    }
  });
  await step('what is drawn is on the page', async () => {
    const panels = JSON.parse(dashboard).panels;
    const plots = await page.locator('.uplot canvas').count();
    const wanted = panels.filter(({ type }) => type === 'timeseries').length;
    expect(plots >= wanted, `${plots} plots of ${wanted}`);
    expect(await page.getByText('No data').count() === 0, 'a panel says that it has no data');
  });
  expect(!said.length, `the browser complains: ${said.join('; ')}`);
  if (screenshots) {
    await mkdir(screenshots, { recursive: true });
    await page.screenshot({ path: join(screenshots, 'dashboard.png'), fullPage: true });
  }
}

// The page and what it imports, in one file. Editors and maps, which Grafana's library brings along, no panel here uses.
function bundle(outdir) {
  const unused = {
    name: 'unused',
    setup({ onLoad, onResolve }) {
      onResolve({ filter: /^(monaco-editor|@monaco-editor\/react|ol)(\/|$)/ }, ({ path }) => ({ path, namespace: 'unused' }));
      onLoad({ filter: /./, namespace: 'unused' }, () => ({ contents: 'module.exports = {}' }));
    },
  };
  return build({
    entryPoints: [here('dashboard/page.jsx')], outdir, bundle: true, jsx: 'automatic', nodePaths: [packages],
    define: { 'process.env.NODE_ENV': '"production"' }, plugins: [unused], logLevel: 'error',
  });
}

async function answer(request, response) {
  const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
  const [, place] = Object.entries(PLACES).find(([prefix]) => path.startsWith(prefix)) ?? [];
  const file = place ? place(path.slice(path.lastIndexOf('/icons/') + 1)) : join(directory, path);
  if (path === '/') return response.setHeader('content-type', 'text/html').end(PAGE);
  const body = await readFile(file).catch(() => null);
  response.writeHead(body ? 200 : 404, { 'content-type': TYPES[extname(path)] ?? 'text/plain' }).end(body ?? '');
}

function expect(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

async function step(what, action) {
  doing = what;
  const start = performance.now();
  await action();
  console.log(`ok: ${what} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
}
