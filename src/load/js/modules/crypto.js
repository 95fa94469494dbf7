// The module `k6/crypto`.
import { host as shared } from 'dchat:host';

const host = shared.part('crypto');

class Hasher {
  #state;

  constructor(state) {
    this.#state = state;
  }

  update(input) {
    host.update(this.#state, input);
  }

  digest(encoding) {
    return host.digest(this.#state, String(encoding ?? ''));
  }
}

const hash = (algorithm) => (input, encoding) => host.hash(algorithm, input, String(encoding ?? ''));

export const md4 = hash('md4');
export const md5 = hash('md5');
export const sha1 = hash('sha1');
export const sha256 = hash('sha256');
export const sha384 = hash('sha384');
export const sha512 = hash('sha512');
export const sha512_224 = hash('sha512_224');
export const sha512_256 = hash('sha512_256');
export const ripemd160 = hash('ripemd160');

export const hmac = (algorithm, key, input, encoding) =>
  host.hmac(String(algorithm), key, input, String(encoding ?? ''));
export const createHash = (algorithm) => new Hasher(host.start(String(algorithm)));
export const createHMAC = (algorithm, key) => new Hasher(host.startKeyed(String(algorithm), key));
export const randomBytes = (size) => host.random(Math.trunc(Number(size)) || 0);
// A certificate's fingerprint is a list of bytes.
export const hexEncode = (data) => host.hex(Array.isArray(data) ? new Uint8Array(data) : data);

export default {
  md4,
  md5,
  sha1,
  sha256,
  sha384,
  sha512,
  sha512_224,
  sha512_256,
  ripemd160,
  hmac,
  createHash,
  createHMAC,
  randomBytes,
  hexEncode,
};
