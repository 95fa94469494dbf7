// totp: time-based one-time passwords, RFC 6238 over SHA-1.
// https://grafana.com/docs/k6/latest/javascript-api/jslib/totp/
import crypto from 'k6/crypto';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

function fromBase32(text) {
  const bytes = [];
  let bits = 0;
  let value = 0;
  for (const letter of text.toUpperCase().replace(/[\s=-]/g, '')) {
    const digit = ALPHABET.indexOf(letter);
    if (digit === -1) throw new Error(`the secret is not base32: ${JSON.stringify(letter)}`);
    value = (value << 5) | digit;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((value >>> bits) & 0xff);
    }
  }
  return new Uint8Array(bytes);
}

export class TOTP {
  constructor(secret, digits = 6) {
    this.secret = secret;
    this.digits = digits;
  }

  async gen(timeStep = 30, bias = 0) {
    const counter = Math.floor((Date.now() / 1000 + bias) / timeStep);
    const message = new DataView(new ArrayBuffer(8));
    message.setUint32(0, Math.floor(counter / 2 ** 32));
    message.setUint32(4, counter >>> 0);
    const mac = new Uint8Array(crypto.hmac('sha1', fromBase32(this.secret).buffer, message.buffer, 'binary'));
    // RFC 4226, section 5.3: the last half byte says where the 31 bits are.
    const offset = mac[19] & 0x0f;
    const number = new DataView(mac.buffer, mac.byteOffset).getUint32(offset) & 0x7fffffff;
    return String(number % 10 ** this.digits).padStart(this.digits, '0');
  }

  async verify(code, timeStep = 30) {
    return (await this.gen(timeStep)) === String(code);
  }
}

export default { TOTP };
