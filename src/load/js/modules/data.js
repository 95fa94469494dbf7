// The module `k6/data`: arrays that all VUs share, element by element as JSON.
import { host as shared } from 'dchat:host';

const host = shared.part('data');

function deepFreeze(value) {
  if (value !== null && typeof value === 'object') {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value;
}

const isIndex = (key) => typeof key === 'string' && /^(0|[1-9]\d*)$/.test(key);

export class SharedArray {
  constructor(name, build) {
    if (typeof name !== 'string' || name === '') throw new TypeError('a SharedArray needs a name');
    if (typeof build !== 'function')
      throw new TypeError('a SharedArray needs a function that returns an array');
    const length = host.sharedArray(name, () => {
      const built = build();
      if (!Array.isArray(built)) throw new TypeError('the function of a SharedArray must return an array');
      return built.map((item) => JSON.stringify(item) ?? 'null');
    });
    const element = (key) =>
      Number(key) < length ? deepFreeze(JSON.parse(host.sharedElement(name, Number(key)))) : undefined;
    const refuse = () => {
      throw new TypeError('SharedArray is immutable');
    };
    return new Proxy([], {
      get: (target, key) =>
        key === 'length' ? length : isIndex(key) ? element(key) : Reflect.get(target, key),
      has: (target, key) => (isIndex(key) ? Number(key) < length : Reflect.has(target, key)),
      set: refuse,
      deleteProperty: refuse,
      defineProperty: refuse,
    });
  }
}

export default { SharedArray };
