// Storages that deliver by redirect: 303 to a presigned URL, which is looked at and not followed.

import { check } from 'k6';
import { ask, base, duration, players, required, thresholds } from './lib/media.js';

const redirected = required('REDIRECTED');

export const options = { vus: players, duration, thresholds };

export default function () {
  const answer = ask('GET', redirected, 'redirect', [303]);
  const location = answer.headers.Location || '';
  check(answer, {
    'it is 303': (r) => r.status === 303,
    'Location leads to storage': () => /^https?:\/\//.test(location) && !location.startsWith(base),
    'Location is signed': () => /[?&](X-Amz-Signature|X-Goog-Signature|sig)=/.test(location),
    'nobody keeps the URL': (r) => (r.headers['Cache-Control'] || '').includes('no-store'),
    'nobody is told of the URL': (r) => r.headers['Referrer-Policy'] === 'no-referrer',
    'no byte of media comes with it': (r) => !r.body || r.body.byteLength === 0,
  });
}
