// k6-utils: small helpers for scripts.
// https://grafana.com/docs/k6/latest/javascript-api/jslib/utils/
import { check as k6Check } from 'k6';
import exec from 'k6/execution';

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export function uuidv4(secure = false) {
  let bytes;
  if (secure) {
    bytes = new Uint8Array(16);
    crypto.getRandomValues(bytes);
  } else {
    bytes = Array.from({ length: 16 }, () => Math.floor(Math.random() * 256));
  }
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => HEX[byte]).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

// Both ends are included.
export function randomIntBetween(min, max) {
  return Math.floor(Math.random() * (max - min + 1) + min);
}

export function randomItem(items) {
  return items[Math.floor(Math.random() * items.length)];
}

export function randomString(length, charset = 'abcdefghijklmnopqrstuvwxyz') {
  let text = '';
  for (let count = 0; count < length; count += 1) text += charset[Math.floor(Math.random() * charset.length)];
  return text;
}

export function findBetween(content, left, right, repeat = false) {
  const found = [];
  let from = 0;
  for (;;) {
    const start = content.indexOf(left, from);
    if (start === -1) break;
    const begin = start + left.length;
    const end = content.indexOf(right, begin);
    if (end === -1) break;
    const text = content.slice(begin, end);
    if (!repeat) return text;
    found.push(text);
    from = end + right.length;
  }
  return repeat ? found : '';
}

// Stages along a bell curve, with a last one down to nothing.
export function normalDistributionStages(maxVus, durationSeconds, numberOfStages = 10) {
  const density = (x) => Math.exp(-(x * x) / 2) / Math.sqrt(2 * Math.PI);
  const width = 4;
  const values = [];
  for (let stage = 0; stage <= numberOfStages + 1; stage += 1)
    values.push(density(-width / 2 + (stage * width) / (numberOfStages + 1)));
  const peak = Math.max(...values);
  const duration = `${Math.ceil(durationSeconds / (numberOfStages + 2))}s`;
  const stages = values.map((value) => ({ duration, target: Math.round((maxVus * value) / peak) }));
  stages.push({ duration, target: 0 });
  return stages;
}

const UNITS = { d: 86400000, h: 3600000, m: 60000, s: 1000, ms: 1, us: 1e-3, µs: 1e-3, ns: 1e-6 };

function milliseconds(duration) {
  if (typeof duration === 'number') return duration;
  const text = String(duration);
  if (/^\d+$/.test(text)) return Number(text);
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/([\d.]+)(d|h|ms|us|µs|ns|m|s)/g))
    total += Number(amount) * UNITS[unit];
  return total;
}

export function parseDuration(text) {
  if (text === undefined || text === null || text === '') throw new Error('str is required');
  return milliseconds(text);
}

function currentStages() {
  const scenario = exec.test.options.scenarios[exec.scenario.name];
  const stages = scenario && scenario.stages;
  if (!Array.isArray(stages) || stages.length === 0)
    throw new Error(
      `only ramping-vus or ramping-arrival-rate support stages, the scenario ${exec.scenario.name} has none`,
    );
  return stages;
}

export function getCurrentStageIndex() {
  const stages = currentStages();
  const elapsed = Date.now() - exec.scenario.startTime;
  let end = 0;
  for (let index = 0; index < stages.length; index += 1) {
    end += milliseconds(stages[index].duration);
    if (elapsed < end) return index;
  }
  return stages.length - 1;
}

export function tagWithCurrentStageIndex() {
  exec.vu.metrics.tags.stage = getCurrentStageIndex();
}

export function tagWithCurrentStageProfile() {
  exec.vu.metrics.tags.stage_profile = getStageProfile();
}

function getStageProfile() {
  const stages = currentStages();
  const index = getCurrentStageIndex();
  const before = index === 0 ? 0 : stages[index - 1].target;
  const { target } = stages[index];
  if (target > before) return 'ramp-up';
  return target < before ? 'ramp-down' : 'steady';
}

// As k6's check; promises are awaited, and then the result is a promise.
export function check(value, sets, tags) {
  const now = {};
  const later = [];
  for (const [name, given] of Object.entries(sets)) {
    const result = typeof given === 'function' ? given(value) : given;
    if (result instanceof Promise) later.push([name, result]);
    else now[name] = result;
  }
  const passed = k6Check(value, now, tags);
  if (later.length === 0) return passed;
  const settled = later.map(([name, promise]) =>
    promise.then((result) => k6Check(value, { [name]: result }, tags)),
  );
  return Promise.all(settled).then((results) => passed && results.every((result) => result));
}

export default {
  uuidv4,
  randomIntBetween,
  randomItem,
  randomString,
  findBetween,
  normalDistributionStages,
  parseDuration,
  getCurrentStageIndex,
  tagWithCurrentStageIndex,
  tagWithCurrentStageProfile,
  check,
};
