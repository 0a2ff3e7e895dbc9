// What all scripts share: where Lockgate is, who asks, and what a right answer to a range looks like.
//
// Never follows a redirect, and never puts a URL into a metric's name: one series for each kind of request.

import http from 'k6/http';
import { check } from 'k6';

export const base = required('BASE_URL').replace(/\/$/, '');
const token = required('TOKEN');

/** How long each script keeps up its load; a script may stretch it for what it has to wait for. */
export const duration = __ENV.DURATION || '12s';
/** How many annotators' players run at once. */
export const players = Number(__ENV.PLAYERS || 8);
/** The 95th percentile that is still taken for good, in ms: generous, for it has to hold on any machine. */
export const p95 = Number(__ENV.P95_MS || 2000);

/** Every check has to hold, no request may fail, and 95 of 100 answers have to be whole in time. */
export const thresholds = {
  checks: ['rate==1'],
  http_req_failed: ['rate==0'],
  http_req_duration: [`p(95)<${p95}`],
};

export function required(name) {
  if (!__ENV[name]) {
    throw new Error(`${name} is missing: k6 run --env ${name}=… (see load-tests/README.md)`);
  }
  return __ENV[name];
}

/** Asks for media; `expected` are the statuses that are no failure. */
export function ask(method, path, name, expected, headers = {}, responseType = 'binary') {
  return http.request(method, base + path, null, {
    headers: { Authorization: `Bearer ${token}`, ...headers },
    redirects: 0,
    responseCallback: http.expectedStatuses(...expected),
    responseType,
    tags: { name },
    timeout: '60s',
  });
}

/** Length and entity tag, as HEAD tells them. */
export function describe(path) {
  const head = ask('HEAD', path, 'head', [200], {}, 'none');
  const described = { length: Number(head.headers['Content-Length']), etag: head.headers.Etag };
  check(head, {
    'HEAD is 200': (r) => r.status === 200,
    'HEAD tells a length': () => described.length > 0,
    'HEAD tells a strong entity tag': () => /^"[^"]*"$/.test(described.etag || ''),
  });
  return described;
}

/** Asks for the bytes from `first` to `last`, both inclusive, and checks every promise about the answer. */
export function range(path, { length, etag }, first, last, name, field = `bytes=${first}-${last}`) {
  const part = ask('GET', path, name, [206], { Range: field });
  const asked = last - first + 1;
  const body = part.body || new ArrayBuffer(0);
  check(part, {
    'a range is 206': (r) => r.status === 206,
    'Content-Range is exact': (r) => r.headers['Content-Range'] === `bytes ${first}-${last}/${length}`,
    'Content-Length is exact': (r) => Number(r.headers['Content-Length']) === asked,
    'the body has that length': () => body.byteLength === asked,
    'it is the same version': (r) => r.headers.Etag === etag,
    'ranges are offered': (r) => r.headers['Accept-Ranges'] === 'bytes',
  });
  if (__ENV.OFFSETS === 'true') {
    check(body, { 'these are the bytes of that place': () => isInPlace(body, first) });
  }
  return part;
}

/** In the media of `load-tests/run` each aligned eight bytes are their own offset: the first and the last are looked at. */
function isInPlace(body, first) {
  const view = new DataView(body);
  const begin = (8 - (first % 8)) % 8;
  const places = [begin, begin + 8 * Math.floor((body.byteLength - begin - 8) / 8)];
  return places.every((at) => at < 0 || at + 8 > body.byteLength || Number(view.getBigUint64(at)) === first + at);
}
