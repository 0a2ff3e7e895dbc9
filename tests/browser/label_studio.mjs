// Label Studio's real editor in a real browser: every kind of media is opened, seen, and asked for a second time.
//
//   tests/label-studio --json > instance.json        (and, while that runs)
//   node tests/browser/label_studio.mjs instance.json [directory for screenshots] [kind ...]
//
// The first visit is anna's and the second the administrator's, in a browser without a cache: what the second one gets
// must come from Lockgate's cache, as its access log says. Where the instance has no Lockgate (`--direct`), the log is
// not looked at. Needs playwright-core in `node` below LOCKGATE_TOOLS (else target/tools), and Chromium (CHROMIUM, else
// /usr/bin/chromium). Exits 0 when everything was seen; else 1, with a sentence for each thing that was not.

import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const tools = process.env.LOCKGATE_TOOLS ?? fileURLToPath(new URL('../../target/tools', import.meta.url));
const require = createRequire(join(tools, 'node/package.json'));
const { chromium } = require('playwright-core');

const PATIENCE = 30_000; // milliseconds that anything may take on a busy machine
const SETTLING = 2_000; // milliseconds without a request, at the longest
const MEDIA = /^\/(?:tasks|projects)\/\d+\/(?:resolve|presign)\/?$|^\/data\/local-files\/?$/;

const [file, screenshots, ...only] = process.argv.slice(2);
if (!file) {
  console.error('usage: node tests/browser/label_studio.mjs INSTANCE.json [SCREENSHOTS] [KIND ...]');
  process.exit(2);
}
const instance = JSON.parse(await readFile(file, 'utf8'));

// What is seen of each kind, and what its requests look like: the statuses that may answer them, and the type.
const KINDS = {
  image: { seen: imageIsPainted, statuses: [200], type: 'image/png' },
  audio: { seen: waveformIsDrawn, statuses: [200, 206], type: 'audio/wav' },
  video: { seen: videoSeeks, statuses: [206], type: 'video/mp4' },
  pdf: { seen: pdfIsShown, statuses: [200, 206], type: 'application/pdf' },
  text: { seen: page => frameSays(page, 'Line 40: the quick brown fox'), statuses: [200], type: 'text/plain' },
  html: { seen: htmlIsShown, statuses: [200], type: 'text/html' },
  series: { seen: seriesIsDrawn, statuses: [200], type: 'text/csv' },
  local: { seen: imageIsPainted, statuses: [200], type: 'image/png' },
};
const kinds = Object.keys(KINDS).filter(kind => only.length === 0 || only.includes(kind));
const failures = [];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--mute-audio',
  ],
});
try {
  if (screenshots) await mkdir(screenshots, { recursive: true });
  await visit('first', instance.users.anna);
  await visit('second', instance.users.admin);
} catch (error) {
  failures.push(error.message.split('\n')[0]);
} finally {
  await browser.close();
}
for (const failure of failures) console.error(`FAILED: ${failure}`);
if (failures.length) process.exit(1);
console.log('every kind of media is shown in the editor, and comes from cache the second time');

/// One person, a browser of their own, every kind.
async function visit(name, user) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const heard = [];
  const extensions = [];
  context.on('response', response => {
    const url = new URL(response.url());
    if (url.origin === instance.lockgate && MEDIA.test(url.pathname)) heard.push(answer(response, url));
    if (url.protocol === 'http:' && url.origin !== instance.lockgate) failures.push(`the browser was sent to ${url.host}`);
  });
  context.on('request', request => extensions.push(request.url()));
  await logIn(page, user);
  for (const kind of kinds) {
    const start = performance.now();
    heard.length = 0;
    extensions.length = 0;
    try {
      const since = await logLength();
      const task = instance.tasks[kind][0];
      await page.goto(`${instance.lockgate}/projects/${instance.projects[kind]}/data?task=${task}`);
      await KINDS[kind].seen(page, extensions);
      await settles(page);
      if (screenshots) await page.screenshot({ path: join(screenshots, `${name}-${kind}.png`) });
      await until('the media was asked for', () => heard.some(({ path }) => isOf(kind, task, path)));
      judge(kind, task, heard);
      await judgeLog(kind, task, name, since);
      console.log(`ok: ${name} visit, ${kind} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failures.push(`${name} visit, ${kind}: ${error.message.split('\n')[0]}`);
      if (screenshots) await page.screenshot({ path: join(screenshots, `${name}-${kind}-failed.png`) }).catch(() => {});
    }
  }
  if (instance.access_log) await pageFromStorageIsNoScript(page).catch(error => failures.push(error.message.split('\n')[0]));
  await context.close();
}

/// Opened as a document of its own, with the session's cookie: its script would be one on the editor's origin.
async function pageFromStorageIsNoScript(page) {
  const uri = Buffer.from(instance.objects['page.html'].uri).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
  const answer = await page.goto(`${instance.lockgate}/tasks/${instance.tasks.everything[0]}/resolve/?fileuri=${uri}`);
  if (answer.status() !== 200) throw new Error(`a page from storage was answered ${answer.status()}`);
  const title = await page.title();
  if (title !== 'untouched') throw new Error(`the script of a page from storage ran: the title is ${title}`);
}

async function logIn(page, user) {
  await page.goto(`${instance.lockgate}/user/login/`);
  await page.fill('input[name=email]', user.email);
  await page.fill('input[name=password]', user.password);
  await page.click('button[type=submit]');
  await page.waitForURL(url => !url.pathname.includes('login'));
}

function answer(response, url) {
  return { path: url.pathname, status: response.status(), type: response.headers()['content-type'] };
}

/// Whether a request is the task's own; the list beside the editor asks for other tasks' thumbnails.
function isOf(kind, task, path) {
  return kind === 'local' ? path.startsWith('/data/local-files') : path.startsWith(`/tasks/${task}/`);
}

function judge(kind, task, answers) {
  const { statuses, type } = KINDS[kind];
  for (const { path, status, type: got } of answers.filter(({ path }) => isOf(kind, task, path))) {
    if (!statuses.includes(status)) throw new Error(`${path} was answered ${status}`);
    // The PDF viewer's second look at what it has already has no head.
    if (got && got.split(';')[0] !== type) throw new Error(`${path} is ${got}`);
  }
}

/// What Lockgate says of the same requests: it answered them itself, and the second time without storage.
async function judgeLog(kind, task, name, since) {
  if (!instance.access_log || kind === 'local') return;
  const lines = await until('the access log has the requests', async () => {
    const text = (await readFile(instance.access_log, 'utf8')).slice(since);
    const lines = text.split('\n').filter(line => line.endsWith('}')).map(line => JSON.parse(line));
    const own = lines.filter(line => String(line.task) === String(task));
    return own.length > 0 && own;
  });
  for (const line of lines) {
    if (line.status === 499) continue; // the editor drew itself anew, and the browser left before there was a head
    // A body that the browser gave up (a seek) is not a failure, and what was revalidated was not fetched.
    if (![200, 206, 304].includes(line.status)) throw new Error(`Lockgate's log says ${line.status}`);
    if (name === 'second' && !['hit', 'revalidated'].includes(line.cache)) throw new Error(`the second time was a ${line.cache}`);
  }
}

async function logLength() {
  return instance.access_log ? (await readFile(instance.access_log, 'utf8').catch(() => '')).length : 0;
}

async function until(what, look) {
  const end = performance.now() + PATIENCE;
  while (performance.now() < end) {
    const found = await look();
    if (found) return found;
    await new Promise(done => setTimeout(done, 50));
  }
  throw new Error(`waited in vain: ${what}`);
}

async function imageIsPainted(page) {
  await page.waitForFunction(() => {
    const image = [...document.querySelectorAll('img[src^="blob:"]')].find(one => one.naturalWidth >= 320);
    if (!image || image.getBoundingClientRect().width < 100) return false;
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [32, 32];
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0, 32, 32);
    const { data } = context.getImageData(0, 0, 32, 32);
    const colours = new Set();
    for (let at = 0; at < data.length; at += 4) colours.add((data[at] >> 4) << 8 | (data[at + 1] >> 4) << 4 | data[at + 2] >> 4);
    return colours.size > 20;
  });
}

/// The wave is drawn where a canvas has both painted and unpainted columns of different heights.
async function waveformIsDrawn(page) {
  await page.waitForFunction(() => [...document.querySelectorAll('canvas')].some(canvas => {
    if (canvas.width < 200 || canvas.height < 40) return false;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const heights = new Set();
    for (let x = 0; x < canvas.width; x += 4) {
      let painted = 0;
      for (let y = 0; y < canvas.height; y++) {
        const at = (y * canvas.width + x) * 4;
        if (data[at + 3] > 128 && data[at] < 200) painted++;
      }
      heights.add(painted);
    }
    return heights.size > 10;
  }));
}

async function videoSeeks(page) {
  await page.waitForFunction(() => document.querySelector('video')?.readyState >= 2);
  const pictures = [];
  for (const fraction of [0.1, 0.8, 0.4]) {
    pictures.push(await page.evaluate(async fraction => {
      const video = document.querySelector('video');
      await new Promise((done, failed) => {
        video.addEventListener('seeked', done, { once: true });
        video.addEventListener('error', () => failed(new Error(video.error?.message || 'the video failed')), { once: true });
        video.currentTime = video.duration * fraction;
      });
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [64, 36];
      const context = canvas.getContext('2d');
      context.drawImage(video, 0, 0, 64, 36);
      return [...context.getImageData(0, 0, 64, 36).data].join();
    }, fraction));
  }
  if (new Set(pictures).size < pictures.length) throw new Error('the picture is the same after a seek');
  await page.waitForFunction(() => [...document.querySelectorAll('canvas')].some(canvas => canvas.width > 200));
}

/// Chromium's own viewer is an extension: it starts only for bytes that it takes for a PDF.
async function pdfIsShown(page, requests) {
  await page.waitForSelector('embed[type="application/pdf"]');
  await until('the PDF viewer starts', () => requests.some(url => /^chrome-extension:.*\/index\.html/.test(url)));
  // The viewer paints after its scripts have come, of which it says nothing: screenshots are the better for it.
  await settles(page);
}

/// What comes late is waited for, but a paused video keeps its connection, and is never idle.
async function settles(page) {
  await page.waitForLoadState('networkidle', { timeout: SETTLING }).catch(() => {});
}

async function htmlIsShown(page) {
  await frameSays(page, 'A page from storage');
  for (const frame of page.frames()) {
    if ((await frame.title()).includes('script ran')) throw new Error("the page's script ran in the editor");
  }
}

async function frameSays(page, text) {
  await until(`the text "${text}"`, async () => {
    for (const frame of page.frames()) {
      const said = await frame.evaluate(() => document.body?.innerText ?? '').catch(() => '');
      if (said.includes(text)) return true;
    }
    return false;
  });
}

/// Both channels, each in the colour that its configuration gives it.
async function seriesIsDrawn(page) {
  await page.waitForFunction(() => ['#1f77b4', '#ff7f0e'].every(colour =>
    [...document.querySelectorAll(`svg path[stroke="${colour}"]`)].some(path => path.getAttribute('d').length > 1000)));
}
