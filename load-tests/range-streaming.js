// Players that read on: each opens a video, learns its length, and takes range after range to the end.

import { fail } from 'k6';
import { describe, duration, players, range, required, thresholds } from './lib/media.js';

const video = required('VIDEO');
const step = Number(__ENV.RANGE_BYTES || 1 << 20);

export const options = { vus: players, duration, thresholds };

export default function () {
  const media = describe(video);
  if (!media.length) {
    fail('the video cannot be had at all');
  }
  for (let first = 0; first < media.length; first += step) {
    range(video, media, first, Math.min(first + step, media.length) - 1, 'range');
  }
}
