// `crypto.subtle`: the Web Crypto API as far as k6 has it. Algorithms, usages and JSON Web Keys are
// checked here; the arithmetic is in Rust (load::js::modules::webcrypto).
import { host as shared } from 'dchat:host';
import { failure } from 'dchat:crypto';

const host = shared.part('webcrypto');

const AES = ['AES-CBC', 'AES-CTR', 'AES-GCM'];
const RSA = ['RSASSA-PKCS1-v1_5', 'RSA-PSS', 'RSA-OAEP'];
const CURVES = ['P-256', 'P-384', 'P-521'];
const HASHES = ['SHA-1', 'SHA-256', 'SHA-384', 'SHA-512'];
const CIPHERS = [...AES, 'RSA-OAEP'];
const SIGNERS = ['HMAC', 'ECDSA', 'RSA-PSS', 'RSASSA-PKCS1-v1_5'];
const KEYED = [...AES, 'HMAC', 'ECDSA', 'ECDH', ...RSA];
const SUPPORT = {
  digest: HASHES,
  encrypt: CIPHERS,
  decrypt: CIPHERS,
  sign: SIGNERS,
  verify: SIGNERS,
  generateKey: KEYED,
  importKey: [...KEYED, 'PBKDF2'],
  exportKey: KEYED,
  deriveBits: ['PBKDF2', 'ECDH'],
  deriveKey: ['PBKDF2', 'ECDH'],
};
// What keys may be for: those of one kind, or private and public ones.
const USAGES = {
  aes: ['encrypt', 'decrypt', 'wrapKey', 'unwrapKey'],
  HMAC: ['sign', 'verify'],
  PBKDF2: ['deriveKey', 'deriveBits'],
  ECDSA: { private: ['sign'], public: ['verify'] },
  ECDH: { private: ['deriveKey', 'deriveBits'], public: [] },
  'RSA-OAEP': { private: ['decrypt', 'unwrapKey'], public: ['encrypt', 'wrapKey'] },
  'RSA-PSS': { private: ['sign'], public: ['verify'] },
  'RSASSA-PKCS1-v1_5': { private: ['sign'], public: ['verify'] },
};

export class CryptoKey {
  #handle;

  constructor(type, extractable, algorithm, usages, handle) {
    const shown = (value) => ({ value, enumerable: true });
    Object.defineProperties(this, {
      type: shown(type),
      extractable: shown(extractable),
      algorithm: shown(algorithm),
      usages: shown(usages),
    });
    this.#handle = handle;
  }

  static handle(key) {
    return key.#handle;
  }

  static is(value) {
    return value !== null && typeof value === 'object' && #handle in value;
  }
}

function bytesOf(data, what) {
  if (data instanceof ArrayBuffer) return data;
  if (ArrayBuffer.isView(data))
    return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
  throw failure('TypeError', `${what} must be an ArrayBuffer, a typed array or a DataView`);
}

/** Heavy work runs on a thread of its own where there is an event loop to bring the result. */
const away = (begin) => (host.away() ? shared.pending(begin) : begin(undefined));

/** The algorithm as an object with its registered name. */
function normalize(given, operation) {
  const algorithm = typeof given === 'string' ? { name: given } : given;
  if (algorithm === null || typeof algorithm !== 'object' || typeof algorithm.name !== 'string')
    throw failure('SyntaxError', 'algorithm cannot be interpreted as a string or an object');
  const upper = algorithm.name.toUpperCase();
  const name = upper === 'RSASSA-PKCS1-V1_5' ? 'RSASSA-PKCS1-v1_5' : upper;
  if (!SUPPORT[operation].includes(name))
    throw failure('NotSupportedError', `algorithm "${name}" doesn't support operation "${operation}"`);
  return [name, algorithm];
}

function hashOf(algorithm) {
  if (algorithm.hash === undefined)
    throw failure('TypeError', 'could not get hash from algorithm parameter');
  return normalize(algorithm.hash, 'digest')[0];
}

function curveOf(algorithm) {
  const curve = String(algorithm.namedCurve);
  if (!CURVES.includes(curve)) throw failure('NotSupportedError', `elliptic curve ${curve} is not supported`);
  return curve;
}

/** The given usages without repeats, all of which must be allowed. */
function usagesOf(given, allowed) {
  const usages = [...new Set(given ?? [])].map(String);
  for (const usage of usages)
    if (!allowed.includes(usage)) throw failure('SyntaxError', `invalid key usage: ${usage}`);
  return usages;
}

function needUsages(usages) {
  if (usages.length === 0)
    throw failure('SyntaxError', 'usages cannot be empty for a secret or private CryptoKey');
}

/** The key's handle, after the checks that every use of a key begins with. */
function use(key, name, usage) {
  if (!CryptoKey.is(key)) throw failure('TypeError', 'the key is not a CryptoKey');
  if (key.algorithm.name !== name)
    throw failure('InvalidAccessError', `${usage}'s algorithm name does not match key algorithm name`);
  if (!key.usages.includes(usage))
    throw failure('InvalidAccessError', `key does not contain the '${usage}' usage`);
  return CryptoKey.handle(key);
}

/** Parameters of a cipher as Rust takes them. */
function cipher(name, algorithm, key, data, encrypt) {
  const handle = use(key, name, encrypt ? 'encrypt' : 'decrypt');
  switch (name) {
    case 'AES-CBC':
      return host.aesCbc(handle, bytesOf(algorithm.iv, 'iv'), data, encrypt);
    case 'AES-CTR':
      return host.aesCtr(handle, bytesOf(algorithm.counter, 'counter'), Number(algorithm.length), data);
    case 'AES-GCM': {
      const extra = algorithm.additionalData;
      return host.aesGcm(
        handle,
        bytesOf(algorithm.iv, 'iv'),
        extra === undefined ? new ArrayBuffer(0) : bytesOf(extra, 'additionalData'),
        algorithm.tagLength ?? 128,
        data,
        encrypt,
      );
    }
    default: {
      const label = algorithm.label === undefined ? new ArrayBuffer(0) : bytesOf(algorithm.label, 'label');
      return away((id) => host.rsaOaep(id, key.algorithm.hash.name, handle, label, data, encrypt));
    }
  }
}

async function derive(name, algorithm, key, usage, bits) {
  const handle = use(key, name, usage);
  const given = bits !== null && bits !== undefined;
  if (given && (bits === 0 || bits % 8 !== 0))
    throw failure('OperationError', 'length must be a multiple of 8 and not 0');
  if (name === 'PBKDF2') {
    if (!given) throw failure('OperationError', 'length is required');
    const iterations = Number(algorithm.iterations);
    if (!(iterations > 0)) throw failure('OperationError', "number of iterations can't be 0");
    const salt = bytesOf(algorithm.salt, 'salt');
    return away((id) => host.pbkdf2(id, handle, hashOf(algorithm), salt, iterations, bits / 8));
  }
  const other = algorithm.public;
  if (!CryptoKey.is(other) || other.type !== 'public' || other.algorithm.name !== 'ECDH')
    throw failure('InvalidAccessError', "the algorithm's public key is not a public ECDH key");
  if (other.algorithm.namedCurve !== key.algorithm.namedCurve)
    throw failure('InvalidAccessError', 'the curves of the keys are not the same');
  const secret = host.ecdh(handle, CryptoKey.handle(other));
  if (!given) return secret;
  if (bits / 8 > secret.byteLength) throw failure('OperationError', 'length is too large');
  return secret.slice(0, bits / 8);
}

const BLOCK_BITS = { 'SHA-1': 512, 'SHA-256': 512, 'SHA-384': 1024, 'SHA-512': 1024 };

/** Length of a key of the algorithm, in bits. */
function lengthOf(name, algorithm) {
  if (name === 'HMAC') {
    const length = Number(algorithm.length ?? BLOCK_BITS[hashOf(algorithm)]);
    if (length === 0 || length % 8 !== 0) throw failure('OperationError', 'invalid key length');
    return length;
  }
  const length = Number(algorithm.length);
  if (![128, 192, 256].includes(length)) throw failure('OperationError', 'invalid key length');
  return length;
}

/** A key of AES or HMAC from its bytes. */
function secretKey(name, algorithm, bytes, extractable, given) {
  const usages = usagesOf(given, USAGES[name] ?? USAGES.aes);
  needUsages(usages);
  const length = bytes.byteLength * 8;
  const shown = name === 'HMAC' ? { name, hash: { name: hashOf(algorithm) }, length } : { name, length };
  if (name === 'HMAC' ? length === 0 : ![128, 192, 256].includes(length))
    throw failure('DataError', `invalid key length ${bytes.byteLength} bytes`);
  return new CryptoKey('secret', !!extractable, shown, usages, host.secret(bytes));
}

async function generatePair(name, algorithm, extractable, given) {
  const { private: forPrivate, public: forPublic } = USAGES[name];
  const usages = usagesOf(given, [...forPrivate, ...forPublic]);
  const mine = usages.filter((usage) => forPrivate.includes(usage));
  needUsages(mine);
  let shown;
  let handles;
  if (RSA.includes(name)) {
    const { publicExponent } = algorithm;
    const modulusLength = Number(algorithm.modulusLength);
    shown = { name, modulusLength, publicExponent, hash: { name: hashOf(algorithm) } };
    const exponent = bytesOf(publicExponent, 'publicExponent');
    handles = await away((id) => host.rsaGenerate(id, modulusLength, exponent));
  } else {
    shown = { name, namedCurve: curveOf(algorithm) };
    handles = host.ecGenerate(shown.namedCurve);
  }
  const theirs = usages.filter((usage) => forPublic.includes(usage));
  return {
    privateKey: new CryptoKey('private', !!extractable, shown, mine, handles[0]),
    publicKey: new CryptoKey('public', true, shown, theirs, handles[1]),
  };
}

/** The members of a JSON Web Key as bytes; undefined where one is absent. */
function jwkParts(jwk, kty, names, required) {
  if (jwk === null || typeof jwk !== 'object') throw failure('DataError', 'keyData is not a JSON Web Key');
  if (jwk.kty !== kty) throw failure('DataError', `invalid key type: ${jwk.kty}`);
  return names.map((name, index) => {
    if (jwk[name] !== undefined && jwk[name] !== '') return host.decode(String(jwk[name]));
    if (index < required) throw failure('DataError', `the member "${name}" is required`);
    return undefined;
  });
}

const RSA_PARTS = ['n', 'e', 'd', 'p', 'q', 'dp', 'dq', 'qi'];

function importPair(format, data, name, algorithm) {
  if (RSA.includes(name)) {
    const handle =
      format === 'jwk'
        ? host.rsaFromParts(jwkParts(data, 'RSA', RSA_PARTS, 2))
        : host.rsaImport(format, bytesOf(data, 'keyData'));
    const [n, e] = host.rsaParts(handle);
    const modulusLength = host.bits(n);
    const hash = { name: hashOf(algorithm) };
    return [handle, { name, modulusLength, publicExponent: new Uint8Array(e), hash }];
  }
  // A JSON Web Key says its curve itself, and k6 believes it.
  const namedCurve = curveOf(format === 'jwk' ? { namedCurve: data?.crv } : algorithm);
  if (format !== 'jwk') return [host.ecImport(format, namedCurve, bytesOf(data, 'keyData')), { name, namedCurve }];
  const [x, y, d] = jwkParts(data, 'EC', ['x', 'y', 'd'], 2);
  return [host.ecFromParts(namedCurve, x, y, d), { name, namedCurve }];
}

function exportJwk(key) {
  const { name } = key.algorithm;
  const handle = CryptoKey.handle(key);
  const jwk = { key_ops: key.usages, ext: key.extractable };
  const put = (names, parts) =>
    names.forEach((member, index) => {
      if (parts[index] !== undefined) jwk[member] = host.encode(parts[index]);
    });
  if (key.type === 'secret') {
    const bytes = host.secretBytes(handle);
    jwk.kty = 'oct';
    jwk.k = host.encode(bytes);
    jwk.alg =
      name === 'HMAC' ? `HS${key.algorithm.hash.name.slice(4)}` : `A${bytes.byteLength * 8}${name.slice(4)}`;
  } else if (RSA.includes(name)) {
    jwk.kty = 'RSA';
    put(RSA_PARTS, host.rsaParts(handle));
  } else {
    jwk.kty = 'EC';
    jwk.crv = key.algorithm.namedCurve;
    put(['x', 'y', 'd'], host.ecParts(handle));
  }
  return jwk;
}

class SubtleCrypto {
  async digest(given, data) {
    return host.digest(normalize(given, 'digest')[0], bytesOf(data, 'data'));
  }

  async encrypt(given, key, data) {
    const [name, algorithm] = normalize(given, 'encrypt');
    return cipher(name, algorithm, key, bytesOf(data, 'data'), true);
  }

  async decrypt(given, key, data) {
    const [name, algorithm] = normalize(given, 'decrypt');
    return cipher(name, algorithm, key, bytesOf(data, 'data'), false);
  }

  async sign(given, key, data) {
    const [name, algorithm] = normalize(given, 'sign');
    const handle = use(key, name, 'sign');
    const bytes = bytesOf(data, 'data');
    if (name === 'HMAC') return host.hmac(key.algorithm.hash.name, handle, bytes);
    if (name === 'ECDSA') return host.ecdsaSign(hashOf(algorithm), handle, bytes);
    const salt = name === 'RSA-PSS' ? Number(algorithm.saltLength) : undefined;
    return away((id) => host.rsaSign(id, key.algorithm.hash.name, salt, handle, bytes));
  }

  async verify(given, key, signature, data) {
    const [name, algorithm] = normalize(given, 'verify');
    const handle = use(key, name, 'verify');
    const [mark, bytes] = [bytesOf(signature, 'signature'), bytesOf(data, 'data')];
    if (name === 'HMAC') return host.hmacVerify(key.algorithm.hash.name, handle, mark, bytes);
    if (name === 'ECDSA') return host.ecdsaVerify(hashOf(algorithm), handle, mark, bytes);
    const salt = name === 'RSA-PSS' ? Number(algorithm.saltLength) : undefined;
    return host.rsaVerify(key.algorithm.hash.name, salt, handle, mark, bytes);
  }

  async generateKey(given, extractable, usages) {
    const [name, algorithm] = normalize(given, 'generateKey');
    if (name in USAGES && name !== 'HMAC') return generatePair(name, algorithm, extractable, usages);
    const bytes = host.random(lengthOf(name, algorithm) / 8);
    return secretKey(name, algorithm, bytes, extractable, usages);
  }

  async importKey(format, data, given, extractable, usages) {
    if (!['raw', 'jwk', 'spki', 'pkcs8'].includes(format))
      throw failure('NotSupportedError', `unsupported format ${format}`);
    const [name, algorithm] = normalize(given, 'importKey');
    if (name === 'PBKDF2') {
      if (format !== 'raw') throw failure('NotSupportedError', `invalid format: ${format}`);
      if (extractable) throw failure('SyntaxError', 'keys of PBKDF2 are not extractable');
      const wanted = usagesOf(usages, USAGES.PBKDF2);
      needUsages(wanted);
      return new CryptoKey('secret', false, { name }, wanted, host.secret(bytesOf(data, 'keyData')));
    }
    if (AES.includes(name) || name === 'HMAC') {
      if (format !== 'raw' && format !== 'jwk')
        throw failure('NotSupportedError', `unsupported key format ${format}`);
      const bytes = format === 'raw' ? bytesOf(data, 'keyData') : jwkParts(data, 'oct', ['k'], 1)[0];
      return secretKey(name, algorithm, bytes, extractable, usages);
    }
    if (format === 'raw' && RSA.includes(name))
      throw failure('NotSupportedError', `unsupported key format ${format}`);
    const [handle, shown] = importPair(format, data, name, algorithm);
    const type = host.isPrivate(handle) ? 'private' : 'public';
    const wanted = usagesOf(usages, USAGES[name][type]);
    if (type === 'private') needUsages(wanted);
    return new CryptoKey(type, !!extractable, shown, wanted, handle);
  }

  async exportKey(format, key) {
    if (!CryptoKey.is(key)) throw failure('TypeError', 'the key is not a CryptoKey');
    const [name] = normalize(key.algorithm, 'exportKey');
    if (!key.extractable) throw failure('InvalidAccessError', 'the key is not extractable');
    if (format === 'jwk') return exportJwk(key);
    const handle = CryptoKey.handle(key);
    if (key.type === 'secret' && format === 'raw') return host.secretBytes(handle);
    const fitting =
      (format === 'spki' && key.type === 'public') ||
      (format === 'pkcs8' && key.type === 'private') ||
      (format === 'raw' && key.type === 'public' && !RSA.includes(name));
    if (fitting) return RSA.includes(name) ? host.rsaExport(format, handle) : host.ecExport(format, handle);
    const known = ['raw', 'spki', 'pkcs8'].includes(format);
    throw failure(
      known && key.type !== 'secret' ? 'InvalidAccessError' : 'NotSupportedError',
      `unsupported format ${format} for a ${key.type} key`,
    );
  }

  async deriveBits(given, key, bits) {
    const [name, algorithm] = normalize(given, 'deriveBits');
    return derive(name, algorithm, key, 'deriveBits', bits);
  }

  async deriveKey(given, key, target, extractable, usages) {
    const [name, algorithm] = normalize(given, 'deriveKey');
    const [kind, wanted] = normalize(target, 'importKey');
    if (!AES.includes(kind) && kind !== 'HMAC')
      throw failure('NotSupportedError', `derive key function doesn't support algorithm ${kind}`);
    const bytes = await derive(name, algorithm, key, 'deriveKey', lengthOf(kind, wanted));
    return secretKey(kind, wanted, bytes, extractable, usages);
  }
}

export const subtle = new SubtleCrypto();
