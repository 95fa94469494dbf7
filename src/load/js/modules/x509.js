// The module `k6/crypto/x509`.
import { host as shared } from 'dchat:host';

const host = shared.part('x509');

/** Large numbers come as hexadecimal digits. */
function keyOf({ algorithm, key }) {
  const shown = {};
  for (const name of Object.keys(key)) shown[name] = name === 'curve' ? key[name] : BigInt(`0x${key[name]}`);
  if (algorithm === 'RSA') shown.e = Number(shown.e);
  return { algorithm, key: shown };
}

const read = (encoded) => JSON.parse(host.read(encoded));

export function parse(encoded) {
  const certificate = read(encoded);
  if (certificate.publicKey === null) throw new Error('unsupported public key algorithm');
  return { ...certificate, publicKey: keyOf(certificate.publicKey) };
}

export const getAltNames = (encoded) => read(encoded).altNames;
export const getIssuer = (encoded) => read(encoded).issuer;
export const getSubject = (encoded) => read(encoded).subject;

export default { parse, getAltNames, getIssuer, getSubject };
