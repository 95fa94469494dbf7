// http-instrumentation-tempo: a trace context in every request.
// https://grafana.com/docs/k6/latest/javascript-api/jslib/http-instrumentation-tempo/
import { instrument, wrapped } from 'dchat:tracing';
import exec from 'k6/execution';

const hex = (digits) => {
  let text = '';
  while (text.length < digits) text += Math.floor(Math.random() * 16).toString(16);
  return text;
};

// 16 bytes: k6's mark, whether it ran in its cloud or locally, the time, and chance.
function traceId() {
  const time = Math.floor(Date.now() / 1000);
  return `dc0718${time.toString(16).padStart(8, '0')}${hex(18)}`;
}

const PROPAGATORS = {
  w3c: (trace, sampled) => ({ Traceparent: `00-${trace}-${hex(16)}-0${sampled ? 1 : 0}` }),
  jaeger: (trace, sampled) => ({ 'Uber-Trace-Id': `${trace}:${hex(8)}:0:${sampled ? 1 : 0}` }),
};

function functionsFor({ propagator = 'w3c', sampling = 1 } = {}) {
  const propagate = PROPAGATORS[propagator];
  if (propagate === undefined) throw new Error(`unknown propagator: ${propagator}`);
  if (typeof sampling !== 'number' || sampling < 0 || sampling > 1)
    throw new Error('sampling must be a number between 0 and 1');
  let trace;
  const headersOf = () => {
    trace = traceId();
    return propagate(trace, Math.random() < sampling);
  };
  // Samples of the request say which trace they belong to.
  const around = (_, call) => {
    const { metadata } = exec.vu.metrics;
    metadata.trace_id = trace;
    try {
      return call();
    } finally {
      delete metadata.trace_id;
    }
  };
  return wrapped(headersOf, around);
}

export class Client {
  constructor(options) {
    this.configure(options);
  }

  configure(options) {
    Object.assign(this, functionsFor(options));
  }
}

export function instrumentHTTP(options) {
  instrument(functionsFor(options));
}

export default { Client, instrumentHTTP };
