// Stress test of a dchat relay: seven minutes up to 100 users who post, read back and pause.
//
//   dchat run relay_stress_test.js            (or: k6 run relay_stress_test.js)
//   dchat run -e RELAY_URL=http://other:7071 relay_stress_test.js
//   dchat run --vus 50 --duration 2m relay_stress_test.js
//
// Only k6's own API is used, so the file runs unchanged on k6. Edit it freely.

import http from 'k6/http';
import { check, fail, sleep } from 'k6';
import { Rate, Trend } from 'k6/metrics';

const RELAY_URL = (__ENV.RELAY_URL || 'http://localhost:7071').replace(/\/+$/, '');

// Share of failed checks of the message path.
const errors = new Rate('errors');
// From sending a message until the relay has it on disk.
const messageLatency = new Trend('message_latency', true);

export const options = {
  stages: [
    { duration: '30s', target: 10 },
    { duration: '1m', target: 50 },
    { duration: '2m', target: 100 },
    { duration: '2m', target: 100 },
    { duration: '1m', target: 50 },
    { duration: '30s', target: 0 },
  ],
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

export default function () {
  const id = postMessage();
  sleep(0.5);
  if (id) {
    readMessage(id);
  }
  // A look at the relay's own figures now and then.
  if (Math.random() < 0.1) {
    const status = http.get(`${RELAY_URL}/api/v1/status`, { tags: { name: '/api/v1/status' } });
    check(status, { 'relay status is 200': (r) => r.status === 200 });
  }
  sleep(1 + Math.random() * 2);
}

// Posts one message and returns its id, or nothing.
function postMessage() {
  const body = JSON.stringify({
    sender: `user-${__VU}`,
    content: `message ${__ITER} of user ${__VU}, ${'x'.repeat(64)}`,
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
  return ok ? answer.json('message_id') : undefined;
}

function readMessage(id) {
  const answer = http.get(`${RELAY_URL}/api/v1/messages/${id}`, {
    tags: { name: '/api/v1/messages/{id}' },
  });
  const ok = check(answer, {
    'message found with 200': (r) => r.status === 200,
    'message is delivered': (r) => r.status === 200 && r.json('status') === 'delivered',
  });
  errors.add(!ok);
}
