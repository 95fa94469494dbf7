// The global `crypto`, made at the first look; what `crypto.subtle` needs is loaded apart.
import { host as shared } from 'dchat:host';

const host = shared.part('random');

const TYPES = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  BigInt64Array,
  BigUint64Array,
];
const BYTES_MAX = 65536;

export function failure(name, message) {
  return Object.defineProperty(new Error(message), 'name', { value: name, configurable: true });
}

let loaded;

function subtle() {
  if (!host.complete) throw new Error('this build has no crypto.subtle (cargo feature `webcrypto`)');
  loaded ??= shared.load('dchat:subtle');
  return loaded;
}

class Crypto {
  get subtle() {
    return subtle().subtle;
  }

  get CryptoKey() {
    return subtle().CryptoKey;
  }

  getRandomValues(array) {
    if (!TYPES.some((type) => array instanceof type))
      throw failure('TypeMismatchError', "typedArray parameter isn't a TypedArray instance");
    if (array.byteLength > BYTES_MAX)
      throw failure(
        'QuotaExceededError',
        `typedArray parameter is too big; maximum length is ${BYTES_MAX}`,
      );
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(
      new Uint8Array(host.bytes(array.byteLength)),
    );
    return array;
  }

  randomUUID() {
    return host.uuid();
  }
}

export const crypto = new Crypto();
