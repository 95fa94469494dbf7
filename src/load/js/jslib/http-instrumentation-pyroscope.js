// http-instrumentation-pyroscope: a baggage header that profiles are tagged from.
// https://grafana.com/docs/k6/latest/javascript-api/jslib/http-instrumentation-pyroscope/
import { instrument, wrapped } from 'dchat:tracing';
import exec from 'k6/execution';

function headersOf(url, params) {
  const entries = [`k6.scenario=${encodeURIComponent(exec.scenario.name)}`];
  entries.push(`k6.name=${encodeURIComponent(params?.tags?.name ?? url)}`);
  const run = __ENV.K6_CLOUDRUN_TEST_RUN_ID;
  if (run) entries.push(`k6.test_run_id=${encodeURIComponent(run)}`);
  const given = params?.headers?.Baggage;
  if (given) entries.unshift(given);
  return { Baggage: entries.join(',') };
}

export class Client {
  constructor() {
    Object.assign(this, wrapped(headersOf));
  }
}

export function instrumentHTTP() {
  instrument(wrapped(headersOf));
}

export default { Client, instrumentHTTP };
