// The module `k6/metrics`.
import { host as shared } from 'dchat:host';

const host = shared.part('metrics');

class Metric {
  constructor(kind, name, isTime) {
    Object.defineProperty(this, 'name', { value: String(name), enumerable: true });
    Object.defineProperty(this, 'id', { value: host.declareMetric(kind, String(name), !!isTime) });
  }

  add(value, tags) {
    return host.addSample(this.id, value, tags);
  }
}

export class Counter extends Metric {
  constructor(name, isTime) {
    super('counter', name, isTime);
  }
}
export class Gauge extends Metric {
  constructor(name, isTime) {
    super('gauge', name, isTime);
  }
}
export class Rate extends Metric {
  constructor(name, isTime) {
    super('rate', name, isTime);
  }
}
export class Trend extends Metric {
  constructor(name, isTime) {
    super('trend', name, isTime);
  }
}

export default { Counter, Gauge, Rate, Trend };
