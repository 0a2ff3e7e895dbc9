// A page of the book in a real browser: what it is said to show is seen.
//
//   node tests/browser/book.mjs URL img video audio
//
// Needs playwright-core in `node` below LOCKGATE_TOOLS, and Chromium (CHROMIUM, else /usr/bin/chromium). An `img` is
// seen when it has a size, a `video` or `audio` when it has played and then sought; any other word is a selector that
// must come up. Exits 0 when all was seen; else 1, with a sentence that says what was not.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const PATIENCE = 60_000; // milliseconds that anything may take on a busy machine

const [url, ...shown] = process.argv.slice(2);
const { chromium } = createRequire(join(process.env.LOCKGATE_TOOLS, 'node/package.json'))('playwright-core');
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--mute-audio',
  ],
});
const said = [];
let doing = `${url} opens`;
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on('pageerror', error => said.push(error.message));
  page.on('console', message => message.type() === 'error' && said.push(message.text()));
  await page.goto(url);
  for (const what of shown) {
    doing = `${what} is looked for`;
    await page.waitForSelector(what, { state: 'attached' });
    if (what === 'img') await picture(page);
    if (what === 'video' || what === 'audio') await played(page, what);
  }
  if (said.length) throw new Error('it went wrong all the same');
} catch (error) {
  console.error(`FAILED while ${doing}: ${error.message.split('\n')[0]}\n${said.join('\n')}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}

function picture(page) {
  return page.waitForFunction(() => {
    const images = [...document.querySelectorAll('img')];
    return images.length > 0 && images.every(image => image.complete && image.naturalWidth > 0);
  });
}

async function played(page, what) {
  await page.waitForFunction(what => document.querySelector(what).readyState >= 2, what);
  await page.evaluate(what => document.querySelector(what).play(), what);
  await page.waitForFunction(what => document.querySelector(what).currentTime > 0.3, what);
  await page.evaluate(what => new Promise((done, failed) => {
    const media = document.querySelector(what);
    media.addEventListener('seeked', done, { once: true });
    media.addEventListener('error', () => failed(new Error(media.error?.message || 'it failed')), { once: true });
    media.pause();
    media.currentTime = media.duration * 0.7;
  }), what);
}
