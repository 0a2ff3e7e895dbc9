// The demo's page in a real browser: signs in, looks, listens, plays, seeks, revokes and restores.
//
//   node tests/browser/demo.mjs http://127.0.0.1:8080/ [directory for screenshots]
//
// Needs playwright-core in `node` below LOCKGATE_TOOLS (else target/tools), and Chromium (CHROMIUM, else
// /usr/bin/chromium). Exits 0 when everything was seen; else 1, with a sentence that says what was not.

import { mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const tools = process.env.LOCKGATE_TOOLS ?? fileURLToPath(new URL('../../target/tools', import.meta.url));
const require = createRequire(join(tools, 'node/package.json'));
const { chromium } = require('playwright-core');

const PATIENCE = 30_000; // milliseconds that anything may take on a busy machine
const FRAMES_PER_SECOND = 15;
const NUMBER_BITS = 9;

const [url, screenshots] = process.argv.slice(2);
if (!url) {
  console.error('usage: node tests/browser/demo.mjs URL [SCREENSHOTS]');
  process.exit(2);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--mute-audio',
  ],
});
let doing = 'the browser starts';
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(PATIENCE);
  const errors = [];
  page.on('pageerror', error => errors.push(error.message));
  if (screenshots) await mkdir(screenshots, { recursive: true });
  await see(page);
  if (errors.length) throw new Error(`the page's script failed: ${errors.join('; ')}`);
  console.log('the demo page plays, seeks, revokes and restores');
} catch (error) {
  console.error(`FAILED while ${doing}: ${error.message.split('\n')[0]}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}

async function see(page) {
  await step('anna signs in', async () => {
    await page.goto(url);
    await page.click('#anna');
    await page.waitForSelector('#status .chip.ok');
  });
  await step('the images load', () => imagesLoad(page));
  await step('the video plays', async () => {
    await page.evaluate(() => document.getElementById('video').play());
    await page.waitForFunction(() => document.getElementById('video').currentTime > 0.5);
    await page.evaluate(() => document.getElementById('video').pause());
  });
  for (const seconds of [20, 5.5, 13]) {
    await step(`the video seeks to ${seconds} s`, () => seek(page, seconds));
  }
  await step('the audio plays', async () => {
    await page.evaluate(() => document.getElementById('audio').play());
    await page.waitForFunction(() => document.getElementById('audio').currentTime > 0.5);
    await page.evaluate(() => document.getElementById('audio').pause());
  });
  await step('the table shows ranges of the video', () => row(page, '[data-media="video"][data-status="206"]'));
  await step('a miss stands in the table', () => row(page, '[data-cache="MISS"]'));
  await step('the same image comes from cache when it is asked for again', async () => {
    await page.click('#anna');
    await row(page, '[data-media="image"][data-cache="HIT"]');
    await page.waitForSelector('#status .chip.ok');
    await imagesLoad(page);
    await seek(page, 10);
  });
  await picture(page, 'playing');

  await step('eve, who is not a member, sees nothing', async () => {
    await page.click('#eve');
    await refused(page);
    await row(page, '[data-status="403"]');
  });
  await picture(page, 'eve');

  await step('anna signs in again and a slow download runs', async () => {
    await page.click('#anna');
    await page.waitForSelector('#status .chip.ok');
    await page.click('#slow');
    await page.waitForFunction(() => document.getElementById('progress').value > 2e6);
  });
  await step('anna is revoked and her next request gets 403', async () => {
    await page.click('#revoke');
    await page.waitForSelector('#status .chip.bad');
    const status = await page.textContent('#status');
    if (!status.includes('403')) throw new Error(`the status line says: ${status}`);
    await refused(page);
  });
  await step('the running body is cut', async () => {
    await page.waitForSelector('#body-status .chip.bad');
    const [value, max] = await page.$eval('#progress', bar => [bar.value, bar.max]);
    if (value >= max) throw new Error(`all ${max} bytes came through`);
    await row(page, '[data-aborted="revoked"]');
  });
  await picture(page, 'revoked');

  await step('anna is restored and sees her images again', async () => {
    await page.click('#restore');
    await page.waitForSelector('#status .chip.ok');
    await imagesLoad(page);
    await seek(page, 8);
  });
  await picture(page, 'restored');
  await step('nothing overflows a narrow window', async () => {
    await page.setViewportSize({ width: 420, height: 800 });
    const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    if (content > window) throw new Error(`the page is ${content} pixels wide in a window of ${window}`);
  });
  await picture(page, 'narrow');
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.setViewportSize({ width: 1280, height: 800 });
  await picture(page, 'dark');
}

/// Seeks, waits for the event, and reads the frame's number from the squares in the picture.
async function seek(page, seconds) {
  await page.evaluate(seconds => new Promise((done, failed) => {
    const video = document.getElementById('video');
    video.addEventListener('seeked', done, { once: true });
    video.addEventListener('error', () => failed(new Error(video.error?.message || 'the video failed')), { once: true });
    video.currentTime = seconds;
  }), seconds + 0.5 / FRAMES_PER_SECOND);
  const frame = await page.evaluate(async bits => {
    const video = document.getElementById('video');
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0);
    let number = 0;
    for (let bit = 0; bit < bits; bit++) {
      const x = canvas.width - (bits - bit) * 16 + 8;
      number = number * 2 + (context.getImageData(x, 264, 1, 1).data[0] > 128 ? 1 : 0);
    }
    return number;
  }, NUMBER_BITS);
  const expected = Math.floor(seconds * FRAMES_PER_SECOND);
  if (Math.abs(frame - expected) > 1) throw new Error(`frame ${frame} is shown instead of ${expected}`);
}

function imagesLoad(page) {
  return page.waitForFunction(() => {
    const images = [...document.querySelectorAll('#gallery img')];
    return images.length >= 4 && images.every(image => image.complete && image.naturalWidth > 0);
  });
}

function row(page, which) {
  return page.waitForSelector(`#requests tbody tr${which}`, { state: 'attached' });
}

function refused(page) {
  return page.waitForFunction(() => {
    const figures = [...document.querySelectorAll('#gallery figure')];
    return figures.length > 0 && figures.every(figure => figure.classList.contains('refused'));
  });
}

async function step(what, action) {
  doing = what;
  const start = performance.now();
  await action();
  console.log(`ok: ${what} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
}

async function picture(page, name) {
  if (screenshots) await page.screenshot({ path: join(screenshots, `${name}.png`) });
}
