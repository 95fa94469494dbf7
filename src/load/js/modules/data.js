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
    if (name === undefined || name === '') throw new Error("empty name provided to SharedArray's constructor");
    if (Object.prototype.toString.call(build) === '[object AsyncFunction]')
      throw new Error('SharedArray constructor does not support async functions as second argument');
    if (typeof build !== 'function')
      throw new Error("a function is expected as the second argument of SharedArray's constructor");
    const length = host.sharedArray(String(name), () => {
      const built = build();
      if (!Array.isArray(built)) throw new Error('only arrays can be made into SharedArray');
      return built.map((item) => JSON.stringify(item) ?? 'null');
    });
    const element = (key) =>
      Number(key) < length ? deepFreeze(JSON.parse(host.sharedElement(String(name), Number(key)))) : undefined;
    const refuse = () => {
      throw new TypeError('SharedArray is immutable');
    };
    return new Proxy([], {
      get: (target, key) =>
        key === 'length' ? length : isIndex(key) ? element(key) : Reflect.get(target, key),
      has: (target, key) => (isIndex(key) ? Number(key) < length : Reflect.has(target, key)),
      ownKeys: () => [...Array(length).keys()].map(String).concat('length'),
      getOwnPropertyDescriptor: (target, key) => {
        if (key === 'length') return { value: length, writable: true, enumerable: false, configurable: false };
        if (!isIndex(key) || Number(key) >= length) return undefined;
        return { value: element(key), writable: true, enumerable: true, configurable: true };
      },
      set: refuse,
      deleteProperty: refuse,
      defineProperty: refuse,
    });
  }
}

export default { SharedArray };
