// Players that seek: short ranges anywhere, the end of the file as an MP4's index is read, and places past the end.

import { check, fail } from 'k6';
import { ask, describe, duration, players, range, required, thresholds } from './lib/media.js';

const video = required('VIDEO');
const most = Number(__ENV.SEEK_BYTES || 512 << 10);

export const options = { vus: players, duration, thresholds };

export default function () {
  const media = describe(video);
  if (!media.length) {
    fail('the video cannot be had at all');
  }
  for (let seek = 0; seek < 20; seek += 1) {
    const first = Math.floor(Math.random() * media.length);
    const last = Math.min(media.length, first + 1 + Math.floor(Math.random() * most)) - 1;
    range(video, media, first, last, 'seek');
  }
  const tail = Math.min(64 << 10, media.length);
  range(video, media, media.length - tail, media.length - 1, 'suffix', `bytes=-${tail}`);

  const past = ask('GET', video, 'past the end', [416], { Range: `bytes=${media.length}-` });
  check(past, {
    'past the end is 416': (r) => r.status === 416,
    '416 tells the length': (r) => r.headers['Content-Range'] === `bytes */${media.length}`,
  });
}
