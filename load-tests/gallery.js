// Screens of thumbnails: all of them at once as a browser does, then again with the entity tags that it kept.

import http from 'k6/http';
import { check, group } from 'k6';
import { ask, base, duration, players, required, thresholds } from './lib/media.js';

// One path a line.
const images = open(required('IMAGES')).split('\n').filter((line) => line !== '');
const screen = Number(__ENV.SCREEN || 30);

export const options = {
  vus: players,
  duration,
  // A browser opens six connections to a host; its pictures share them.
  batchPerHost: 6,
  thresholds: { ...thresholds, 'http_req_duration{name:not modified}': [`p(95)<${__ENV.P95_MS || 2000}`] },
};

export default function () {
  const first = Math.floor(Math.random() * images.length);
  const shown = Array.from({ length: Math.min(screen, images.length) }, (_, n) => images[(first + n) % images.length]);

  let pictures;
  group('first look', () => {
    pictures = together(shown, 'picture', () => ({}));
    pictures.forEach((picture) => check(picture, {
      'a picture is 200': (r) => r.status === 200,
      'all of it came': (r) => r.body !== null && r.body.byteLength === Number(r.headers['Content-Length']),
      'it has a strong entity tag': (r) => /^"[^"]*"$/.test(r.headers.Etag || ''),
      'a browser may keep it, and has to ask again': (r) => (r.headers['Cache-Control'] || '').includes('private'),
    }));
  });

  group('second look', () => {
    const again = together(shown, 'not modified', (n) => ({ 'If-None-Match': pictures[n].headers.Etag || '"none"' }));
    again.forEach((answer, n) => check(answer, {
      'what did not change is 304': (r) => r.status === 304,
      '304 has no body': (r) => !r.body || r.body.byteLength === 0,
      '304 tells the same entity tag': (r) => r.headers.Etag === pictures[n].headers.Etag,
    }));
  });

  const other = ask('GET', shown[0], 'picture', [200], { 'If-None-Match': '"of another version"' });
  check(other, { 'another entity tag gets the picture': (r) => r.status === 200 });
}

function together(paths, name, headers) {
  return http.batch(paths.map((path, n) => ({
    method: 'GET',
    url: base + path,
    params: {
      headers: { Authorization: `Bearer ${required('TOKEN')}`, ...headers(n) },
      redirects: 0,
      responseCallback: http.expectedStatuses(name === 'picture' ? 200 : 304),
      responseType: 'binary',
      tags: { name },
      timeout: '60s',
    },
  })));
}
