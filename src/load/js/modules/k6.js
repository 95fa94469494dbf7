// The module `k6`.
import { host as shared } from 'dchat:host';

const host = shared.part('k6');

export const check = host.check;

export function group(name, body) {
  if (typeof body !== 'function') throw new Error('group() requires a callback as a second argument');
  const begun = host.enterGroup(String(name));
  let result;
  try {
    result = body();
  } catch (error) {
    host.leaveGroup(begun);
    throw error;
  }
  if (!(result instanceof Promise)) {
    host.leaveGroup(begun);
    return result;
  }
  // An async callback: its group ends with its promise, and whoever called goes on outside.
  const inner = host.pauseGroup();
  const end = () => host.endGroup(inner, begun);
  return result.then(
    (value) => {
      end();
      return value;
    },
    (error) => {
      end();
      throw error;
    },
  );
}

export function fail(message) {
  throw new Error(message === undefined ? 'fail() was called' : String(message));
}

export function sleep(seconds) {
  host.sleep(Number(seconds));
}

export function randomSeed(seed) {
  // Mulberry32: small, and the same sequence on every machine.
  let state = Number(seed) >>> 0;
  Math.random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export default { check, group, fail, sleep, randomSeed };
