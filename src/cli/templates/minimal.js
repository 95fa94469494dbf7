import http from 'k6/http';
import { check, sleep } from 'k6';

// Who visits, and for how long. More: scenarios, stages, tags.
export const options = {
  // {{cloud}}
  vus: 10,
  duration: '30s',
  thresholds: {
    // Fewer than one request in a hundred may fail; 19 of 20 must be answered within 500 ms.
    http_req_failed: ['rate<0.01'],
    http_req_duration: ['p(95)<500'],
  },
};

// One visit. Every VU repeats it until the time is over.
export default function () {
  const answer = http.get(__ENV.BASE_URL || 'http://localhost:7071/health');
  check(answer, { 'status is 200': (r) => r.status === 200 });
  sleep(1);
}
