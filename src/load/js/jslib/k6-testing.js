// k6-testing: expect() with matchers that read like Playwright's; for protocol tests.
// https://grafana.com/docs/k6/latest/javascript-api/jslib/testing/
import { deepEqual, inspect, reach } from 'dchat:compare';
import exec from 'k6/execution';

const DEFAULTS = { timeout: 5000, interval: 100, colorize: true, display: 'pretty', softMode: 'fail' };

export class AssertionFailedError extends Error {
  constructor(message) {
    super(message);
    this.name = 'AssertionFailedError';
  }
}

const sizeOf = (value) => (value instanceof Map || value instanceof Set ? value.size : value?.length);
const has = (items, wanted, equal) => [...items].some((item) => equal(item, wanted));
const at = (object, path) =>
  reach(object, Array.isArray(path) ? path.map((name) => `[${name}]`).join('') : path);
const along = (object, path) =>
  path.reduce(
    ({ has: still, value }, name) => {
      const inside = still && value !== null && value !== undefined && name in Object(value);
      return { has: inside, value: inside ? value[name] : undefined };
    },
    { has: true, value: object },
  );

// Name to what must hold for the value.
const MATCHERS = {
  toBe: (value, wanted) => Object.is(value, wanted),
  toBeCloseTo: (value, wanted, precision = 2) => Math.abs(value - wanted) < 10 ** -precision / 2,
  toBeDefined: (value) => value !== undefined,
  toBeFalsy: (value) => !value,
  toBeGreaterThan: (value, bound) => value > bound,
  toBeGreaterThanOrEqual: (value, bound) => value >= bound,
  toBeInstanceOf: (value, type) => value instanceof type,
  toBeLessThan: (value, bound) => value < bound,
  toBeLessThanOrEqual: (value, bound) => value <= bound,
  toBeNaN: (value) => Number.isNaN(value),
  toBeNull: (value) => value === null,
  toBeTruthy: (value) => !!value,
  toBeUndefined: (value) => value === undefined,
  toContain: (value, wanted) =>
    typeof value === 'string' ? value.includes(wanted) : has(value, wanted, (a, b) => a === b),
  toContainEqual: (value, wanted) => has(value, wanted, deepEqual),
  toEqual: (value, wanted) => deepEqual(value, wanted),
  toHaveLength: (value, length) => sizeOf(value) === length,
  toHaveProperty: (value, path, ...wanted) => {
    const found = Array.isArray(path) ? along(value, path) : at(value, path);
    return found.has && (wanted.length === 0 || deepEqual(found.value, wanted[0]));
  },
  toMatch: (value, pattern) =>
    pattern instanceof RegExp ? pattern.test(value) : String(value).includes(pattern),
};

function painted(text, colour, config) {
  return config.colorize ? `\x1b[${colour}m${text}\x1b[0m` : text;
}

function complaint(call, value, wanted, message, config) {
  const title = message ?? `${call} failed`;
  const expected = wanted.map((one) => inspect(one)).join(', ');
  if (config.display === 'inline')
    return `${title}: expected ${expected || call}, received ${inspect(value)}`;
  const lines = [`${painted('Error', 31, config)}: ${title}`];
  if (wanted.length > 0) lines.push(`  Expected: ${painted(expected, 32, config)}`);
  lines.push(`  Received: ${painted(inspect(value), 31, config)}`);
  return lines.join('\n');
}

// A failure ends the test, a soft one only marks it as failed (or ends the iteration).
function fail(text, soft, config) {
  if (soft && config.softMode === 'throw') throw new AssertionFailedError(text);
  if (soft) exec.test.fail(text);
  else exec.test.abort(text);
}

function expectation(value, message, { soft, config, negated }) {
  const matchers = {};
  for (const [name, holds] of Object.entries(MATCHERS))
    matchers[name] = (...wanted) => {
      if (holds(value, ...wanted) !== negated) return;
      const call = `expect(received)${negated ? '.not' : ''}.${name}(${wanted.length > 0 ? 'expected' : ''})`;
      fail(complaint(call, value, wanted, message, config), soft, config);
    };
  if (!negated)
    Object.defineProperty(matchers, 'not', {
      get: () => expectation(value, message, { soft, config, negated: true }),
    });
  return matchers;
}

function make(config) {
  const expect = (value, message) => expectation(value, message, { soft: false, config, negated: false });
  expect.soft = (value, message) => expectation(value, message, { soft: true, config, negated: false });
  expect.configure = (options) => make({ ...config, ...options });
  Object.defineProperty(expect, 'config', { get: () => ({ ...config }) });
  return expect;
}

export const expect = make(DEFAULTS);
export default { expect };
