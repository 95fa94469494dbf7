// Three kinds of users of a dchat relay, mixed 10 : 1 : 0.5.
//
//   dchat run relay_users.js                          (or: k6 run relay_users.js)
//   dchat run -e USERS=115 -e DURATION=5m relay_users.js
//
//   DchatUser   pauses 1–3 s; sends (3), reads its mailbox (2), relay status (1), health (1)
//   HeavyUser   pauses 0.5–1.5 s; sends 5 messages, 100 ms apart
//   BurstUser   pauses 5–10 s; sends 10–20 messages at once
//
// Only k6's own API is used, so the file runs unchanged on k6. Edit it freely.

import http from 'k6/http';
import { check, fail, sleep } from 'k6';
import { Rate, Trend } from 'k6/metrics';

const RELAY_URL = (__ENV.RELAY_URL || 'http://localhost:7071').replace(/\/+$/, '');
const USERS = Math.max(1, parseInt(__ENV.USERS || '23', 10) || 23);
const DURATION = __ENV.DURATION || '5m';

const errors = new Rate('errors');
const messageLatency = new Trend('message_latency', true);

// Shares 10 : 1 : 0.5; the ordinary users get what rounding leaves.
const heavy = Math.round(USERS / 11.5);
const burst = Math.round((USERS * 0.5) / 11.5);
const ordinary = USERS - heavy - burst;

function users(vus, exec) {
  return { executor: 'constant-vus', vus, duration: DURATION, exec, gracefulStop: '15s' };
}

const scenarios = {};
if (ordinary > 0) scenarios.DchatUser = users(ordinary, 'dchatUser');
if (heavy > 0) scenarios.HeavyUser = users(heavy, 'heavyUser');
if (burst > 0) scenarios.BurstUser = users(burst, 'burstUser');

export const options = {
  scenarios,
  thresholds: {
    http_req_duration: ['p(95)<500'],
    http_req_failed: ['rate<0.01'],
    errors: ['rate<0.05'],
  },
};

export function setup() {
  let health;
  try {
    health = http.get(`${RELAY_URL}/health`, { throw: true, tags: { name: '/health' } });
  } catch (e) {
    fail(`no relay answers at ${RELAY_URL}: start one with "dchat relay", or name another with -e RELAY_URL=URL`);
  }
  if (health.status !== 200) {
    fail(`the relay at ${RELAY_URL} is not healthy: /health answered ${health.status} ${health.body}`);
  }
}

export function dchatUser() {
  const dice = Math.random() * 7;
  if (dice < 3) {
    send('hello');
  } else if (dice < 5) {
    readMailbox();
  } else if (dice < 6) {
    look('/api/v1/status');
  } else {
    look('/health');
  }
  pause(1, 3);
}

export function heavyUser() {
  for (let i = 0; i < 5; i++) {
    send(`heavy ${i}`);
    sleep(0.1);
  }
  pause(0.5, 1.5);
}

export function burstUser() {
  const count = 10 + Math.floor(Math.random() * 11);
  for (let i = 0; i < count; i++) {
    send(`burst ${i}`);
  }
  pause(5, 10);
}

function pause(from, to) {
  sleep(from + Math.random() * (to - from));
}

function me() {
  return `user-${__VU}`;
}

// A message to some other user.
function send(text) {
  const body = JSON.stringify({
    sender: me(),
    recipient: `user-${1 + Math.floor(Math.random() * USERS)}`,
    content: `${text}, ${'x'.repeat(64)}`,
    timestamp: Date.now(),
  });
  const answer = http.post(`${RELAY_URL}/api/v1/messages`, body, {
    headers: { 'Content-Type': 'application/json' },
    tags: { name: '/api/v1/messages' },
  });
  messageLatency.add(answer.timings.duration);
  const ok = check(answer, {
    'message accepted with 200': (r) => r.status === 200,
    'answer has a message_id': (r) => r.status === 200 && !!r.json('message_id'),
  });
  errors.add(!ok);
}

function readMailbox() {
  const url = `${RELAY_URL}/api/v1/messages?user=${me()}&limit=20`;
  const answer = http.get(url, { tags: { name: '/api/v1/messages?user={user}' } });
  errors.add(!check(answer, { 'mailbox read with 200': (r) => r.status === 200 }));
}

function look(path) {
  const answer = http.get(`${RELAY_URL}${path}`, { tags: { name: path } });
  errors.add(!check(answer, { [`${path} is 200`]: (r) => r.status === 200 }));
}
