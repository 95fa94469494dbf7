import http from 'k6/http';
import { check, group, sleep } from 'k6';
import { Trend } from 'k6/metrics';

const BASE_URL = __ENV.BASE_URL || 'http://localhost:7071';
const roundTrip = new Trend('round_trip', true);

export const options = {
  // {{cloud}}
  scenarios: {
    // A crowd that comes and goes.
    visitors: {
      executor: 'ramping-vus',
      stages: [
        { duration: '30s', target: 20 },
        { duration: '1m', target: 20 },
        { duration: '10s', target: 0 },
      ],
      exec: 'visit',
    },
    // So many a second, whatever the answers take.
    steady: {
      executor: 'constant-arrival-rate',
      rate: 5,
      timeUnit: '1s',
      duration: '1m40s',
      preAllocatedVUs: 10,
      exec: 'probe',
    },
  },
  thresholds: {
    checks: ['rate>0.99'],
    'http_req_duration{scenario:steady}': ['p(95)<300'],
  },
};

// Runs once before the load; what it returns is given to every iteration.
export function setup() {
  const answer = http.get(`${BASE_URL}/health`);
  if (answer.status !== 200) {
    throw new Error(`nothing healthy answers at ${BASE_URL}`);
  }
  return { startedAt: new Date().toISOString() };
}

export function visit(data) {
  group('post and read back', () => {
    const channel = `visitors-${__VU}`;
    const begun = Date.now();
    const message = JSON.stringify({ sender: `user-${__VU}`, channel, content: `hello since ${data.startedAt}` });
    const params = { headers: { 'Content-Type': 'application/json' } };
    const posted = http.post(`${BASE_URL}/api/v1/messages`, message, params);
    check(posted, { 'message is taken': (r) => r.status >= 200 && r.status < 300 });
    roundTrip.add(Date.now() - begun);
  });
  sleep(Math.random() * 2);
}

export function probe() {
  const answer = http.get(`${BASE_URL}/health`, { tags: { name: 'health' } });
  check(answer, { 'status is 200': (r) => r.status === 200 });
}

// Runs once after the load, also when it was cut short.
export function teardown(data) {
  console.log(`the test began at ${data.startedAt}`);
}
