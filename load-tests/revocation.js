// Access taken away under load: within the stated bound every request is refused, and none gets a byte or a 304 any
// more; given back, it holds again. Who takes it away is another program, which CONTROL_URL names (see README.md).

import http from 'k6/http';
import { check, sleep } from 'k6';
import { Counter } from 'k6/metrics';
import { ask, players, required, thresholds } from './lib/media.js';

const control = required('CONTROL_URL');
const image = required('IMAGE');
const video = required('VIDEO');
/** The lag that is promised: under a second for a changed access list. */
const bound = Number(__ENV.BOUND_MS || 1000);
/** How long each state is held, in seconds. */
const phase = Number(__ENV.PHASE || 4);
/** How old the word of CONTROL_URL may be: well below the bound, so that nobody misses it. */
const LOOK_EVERY = 200;

const served = new Counter('served_while_permitted');
const refused = new Counter('refused_while_revoked');
const back = new Counter('served_after_it_was_given_back');

export const options = {
  scenarios: {
    annotators: { executor: 'constant-vus', vus: players, duration: `${3 * phase}s`, exec: 'annotate' },
    operator: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'operate' },
  },
  thresholds: {
    ...thresholds,
    // What was never asked was never shown to hold.
    served_while_permitted: ['count>0'],
    refused_while_revoked: ['count>0'],
    served_after_it_was_given_back: ['count>0'],
  },
};

/** How often it was taken away before this run. */
export function setup() {
  command('restore');
  return look().revocations;
}

export function teardown() {
  command('restore');
}

/** Takes access away after one phase, and gives it back after another. */
export function operate() {
  sleep(phase);
  command('revoke');
  sleep(phase);
  command('restore');
}

function command(what) {
  const done = http.post(`${control}/${what}`, null, { tags: { name: 'control' } });
  check(done, { 'the access list was changed': (r) => r.status === 200 });
}

let state;
let etag;

export function annotate(revocationsBefore) {
  if (!state || Date.now() - state.at >= LOOK_EVERY) {
    state = look();
  }
  const { permitted, changes, changed_at: changedAt, revocations } = state;
  const settled = Date.now() - changedAt > bound;
  const answer = once();
  const right = answer.status === 403 ? !permitted : permitted && answer.status !== 0;
  if (!settled) {
    return;
  }
  if (!right) {
    // It may have been changed since: then this answer belongs to neither state.
    state = look();
    if (state.changes !== changes) {
      return;
    }
  }
  if (permitted) {
    check(answer, { 'who is permitted is served': (r) => [200, 206, 304].includes(r.status) });
    (revocations > revocationsBefore ? back : served).add(1);
  } else {
    check(answer, {
      'who is revoked is refused': (r) => r.status === 403,
      'who is revoked is told no entity tag': (r) => r.headers.Etag === undefined,
    });
    refused.add(1);
  }
}

/** One of the three things that must not get through: a picture, a range of cached media, a 304. */
function once() {
  const any = [200, 206, 304, 403];
  const kind = Math.floor(Math.random() * 3);
  if (kind === 0) {
    const first = Math.floor(Math.random() * 16) << 16;
    return ask('GET', video, 'range', any, { Range: `bytes=${first}-${first + 65535}` });
  }
  const answer = ask('GET', image, 'picture', any, kind === 1 && etag ? { 'If-None-Match': etag } : {});
  etag = answer.headers.Etag || etag;
  return answer;
}

/** What is in force and since when, by this machine's clock. */
function look() {
  const said = http.get(`${control}/state`, { tags: { name: 'control' } }).json();
  const at = Date.now();
  return { ...said, at, changed_at: at - said.age_ms };
}
