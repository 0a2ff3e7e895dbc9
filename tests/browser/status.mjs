// The status page in a real browser: what it shows, light, dark and narrow, by mouse and by keyboard; that it asks
// nobody but its own gateway, and that no other page can ask it.
//
//   node tests/browser/status.mjs http://127.0.0.1:9090 [directory for screenshots]
//
// Needs playwright-core in `node` below LOCKGATE_TOOLS (else target/tools), and Chromium (CHROMIUM, else
// /usr/bin/chromium). Exits 0 when everything was seen; else 1, with a sentence that says what was not.

import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const tools = process.env.LOCKGATE_TOOLS ?? fileURLToPath(new URL('../../target/tools', import.meta.url));
const require = createRequire(join(tools, 'node/package.json'));
const { chromium } = require('playwright-core');

const PATIENCE = 30_000; // milliseconds that anything may take on a busy machine

const [url, screenshots] = process.argv.slice(2);
if (!url) {
  console.error('usage: node tests/browser/status.mjs URL [SCREENSHOTS]');
  process.exit(2);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ],
});
let doing = 'the browser starts';
try {
  if (screenshots) await mkdir(screenshots, { recursive: true });
  await see(await browser.newPage({ viewport: { width: 1200, height: 900 }, colorScheme: 'light' }));
  await strangers();
  console.log('the status page shows what happens, and to nobody else');
} catch (error) {
  console.error(`FAILED while ${doing}: ${error.message.split('\n').slice(0, 3).join(' ')}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}

async function see(page) {
  page.setDefaultTimeout(PATIENCE);
  const said = [];
  const asked = new Set();
  page.on('pageerror', error => said.push(error.message));
  page.on('console', message => ['error', 'warning'].includes(message.type()) && said.push(message.text()));
  page.on('request', request => asked.add(new URL(request.url()).protocol === 'data:' ? 'data:' : new URL(request.url()).origin));

  await step('the figures come', async () => {
    const answer = await page.goto(`${url}/`);
    expect(answer.status() === 200, `the page answers ${answer.status()}`);
    await page.waitForFunction(() => document.querySelector('#state')?.textContent.includes('ready'));
    await figure(page, 'bodies running', /^\d+$/);
    await figure(page, 'answered from memory', /^\d+(\.\d+)? %$/);
    await figure(page, 'first byte', /^[\d.]+ (ms|s)$/);
    await figure(page, 'to annotators', /^[\d.]+ (B|KiB|MiB)\/s$/);
  });
  await step('each storage says how it is', async () => {
    const storages = page.getByRole('table', { name: 'Storages' });
    const recordings = storages.getByRole('row').filter({ hasText: 'recordings' });
    await recordings.getByText('● answers').waitFor();
    const vault = await storages.getByRole('row').filter({ hasText: 'vault' }).innerText();
    expect(/✕ down|▲ failed last/.test(vault) && vault.includes('unavailable'), `the vault is said to be: ${vault}`);
  });
  await step('denials say who and why', async () => {
    const denials = page.getByRole('table', { name: 'Last denials' });
    const eve = await denials.getByRole('row').filter({ hasText: 'eve' }).first().innerText();
    expect(eve.includes('not member') && eve.includes('403'), `eve's denial says: ${eve}`);
    await denials.getByText('nobody known').first().waitFor();
    await denials.getByText('no storage').first().waitFor();
  });
  await step('cache and configuration are there', async () => {
    await page.getByRole('table', { name: 'Cache' }).getByRole('cell', { name: '64 MiB' }).waitFor();
    const configured = await page.locator('#configuration').innerText();
    for (const words of ['requests_per_second (annotator)', '500', 'file', 'projects.toml', '30 s']) {
      expect(configured.includes(words), `the configuration does not say ${words}`);
    }
  });
  await step('the plots are drawn, and go on', async () => {
    const path = page.locator('.plot path.s0').first();
    await page.waitForFunction(() => document.querySelector('.plot path.s0')?.getAttribute('d')?.includes('L'));
    const before = await path.getAttribute('d');
    await page.waitForFunction(before => document.querySelector('.plot path.s0').getAttribute('d') !== before, before);
  });
  await step('a plot can be read by keyboard', async () => {
    const plot = page.getByRole('group', { name: /^Throughput, now: to annotators/ });
    await plot.focus();
    await page.keyboard.press('ArrowLeft');
    await page.getByRole('group', { name: /^Throughput, 15 s ago/ }).waitFor();
    await page.keyboard.press('Tab');
    await plot.waitFor();
  });
  await step('updates pause and go on, by keyboard', async () => {
    const button = page.getByRole('button', { name: 'Pause updates' });
    await button.focus();
    await page.keyboard.press('Space');
    expect(await button.getAttribute('aria-pressed') === 'true', 'the button is not pressed');
    await page.keyboard.press('Space');
    expect(await button.getAttribute('aria-pressed') === 'false', 'the button stays pressed');
  });
  await step('a reload is answered', async () => {
    const answer = await page.reload();
    expect(answer.status() === 200, `it answers ${answer.status()}`);
    await page.getByRole('table', { name: 'Storages' }).waitFor();
  });
  await picture(page, 'status-light');
  await page.emulateMedia({ colorScheme: 'dark' });
  await step('dark is dark', async () => {
    const colour = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = colour.match(/\d+/g).map(Number).reduce((sum, part) => sum + part, 0);
    expect(light < 200, `the dark page is ${colour}`);
  });
  await step('words can be told from what is behind them', async () => {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      const faint = await page.evaluate(faintest);
      expect(faint.ratio >= 4.5, `${colorScheme}: “${faint.text}” has a contrast of ${faint.ratio.toFixed(1)}`);
    }
  });
  await picture(page, 'status-dark');
  await step('nothing overflows a narrow window', async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    expect(content <= window, `the page is ${content} pixels wide in a window of ${window}`);
    await page.getByRole('table', { name: 'Storages' }).getByRole('row').filter({ hasText: 'vault' }).waitFor();
  });
  if (screenshots) await page.screenshot({ path: join(screenshots, '../../target/status-narrow.png'), fullPage: true });
  expect([...asked].every(origin => origin === url || origin === 'data:'), `asked: ${[...asked].join(', ')}`);
  expect(!said.length, `the browser complains: ${said.join('; ')}`);
}

// A page of another origin reads nothing, whatever it tries.
async function strangers() {
  const server = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end('<p>elsewhere</p>'));
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  try {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await step('another page can neither read it nor frame it', async () => {
      const statuses = [];
      page.on('response', answer => answer.url().startsWith(url) && statuses.push(answer.status()));
      const read = await page.evaluate(async url => {
        const tries = ['', 'status', 'status.json', 'metrics'].flatMap(path => ['cors', 'no-cors'].map(mode =>
          fetch(`${url}/${path}`, { mode }).then(answer => answer.text(), () => '')));
        const frame = document.body.appendChild(document.createElement('iframe'));
        await new Promise(done => { frame.onload = frame.onerror = done; frame.src = url; });
        return (await Promise.all(tries)).join('');
      }, url);
      expect(read === '', `it read: ${read.slice(0, 100)}`);
      expect(statuses.length && statuses.every(status => status === 403), `it was answered ${statuses}`);
    });
  } finally {
    server.close();
  }
}

function figure(page, name, shape) {
  return page.waitForFunction(([name, shape]) => {
    const pairs = [...document.querySelectorAll('#figures div')];
    const pair = pairs.find(pair => pair.querySelector('dt').textContent === name);
    return new RegExp(shape).test(pair?.querySelector('dd').textContent ?? '');
  }, [name, shape.source]);
}

// The text with the least contrast to its background (WCAG 2.2, relative luminance).
function faintest() {
  const luminance = colour => {
    const [r, g, b] = colour.match(/[\d.]+/g).slice(0, 3).map(part => part / 255)
      .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = node => {
    for (let it = node; it; it = it.parentElement) {
      const { backgroundColor } = getComputedStyle(it);
      if (!/, 0\)$/.test(backgroundColor)) return backgroundColor;
    }
    return 'rgb(255, 255, 255)';
  };
  const texts = [...document.querySelectorAll('body *')].filter(node =>
    node.checkVisibility() && [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim()));
  return texts.filter(node => node.closest('svg, script, style') === null).map(node => {
    const [a, b] = [luminance(getComputedStyle(node).color), luminance(behind(node))];
    return { text: node.textContent.slice(0, 40), ratio: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) };
  }).reduce((least, it) => it.ratio < least.ratio ? it : least);
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

async function picture(page, name) {
  if (screenshots) await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: false });
}
