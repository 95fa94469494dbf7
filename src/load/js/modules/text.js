// The globals TextEncoder and TextDecoder, by the WHATWG Encoding Standard; made at the first look.
import { host as shared } from 'dchat:host';

const host = shared.part('text');

export class TextEncoder {
  get encoding() {
    return 'utf-8';
  }

  encode(text) {
    return new Uint8Array(host.encode(text === undefined || text === null ? '' : String(text)));
  }

  encodeInto(text, into) {
    let read = 0;
    let written = 0;
    for (const character of String(text)) {
      const bytes = this.encode(character);
      if (written + bytes.length > into.length) break;
      into.set(bytes, written);
      read += character.length;
      written += bytes.length;
    }
    return { read, written };
  }
}

const LABELS = {
  'utf-8': ['', 'unicode-1-1-utf-8', 'unicode11utf8', 'unicode20utf8', 'utf-8', 'utf8', 'x-unicode20utf8'],
  'utf-16le': ['csunicode', 'iso-10646-ucs-2', 'ucs-2', 'unicode', 'unicodefeff', 'utf-16', 'utf-16le'],
  'utf-16be': ['unicodefffe', 'utf-16be'],
};

function encodingOf(label) {
  const wanted = label.toLowerCase().replace(/^[\t\n\f\r ]+|[\t\n\f\r ]+$/g, '');
  const found = Object.keys(LABELS).find((encoding) => LABELS[encoding].includes(wanted));
  if (found === undefined) throw new RangeError(`unsupported encoding: ${label}`);
  return found;
}

function bytesOf(input) {
  if (input === undefined || input === null) return new Uint8Array(0);
  if (input instanceof ArrayBuffer) return new Uint8Array(input);
  if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  throw new TypeError('decode() takes an ArrayBuffer, a typed array or a DataView');
}

export class TextDecoder {
  // What a stream has left that is not a whole character.
  #left = new Uint8Array(0);
  // Whether the stream is at its beginning, where a byte order mark may stand.
  #fresh = true;

  constructor(label, options) {
    const encoding = encodingOf(label === undefined || label === null ? 'utf-8' : `${label}`);
    const shown = (value) => ({ value, enumerable: true });
    Object.defineProperties(this, {
      encoding: shown(encoding),
      fatal: shown(!!options?.fatal),
      ignoreBOM: shown(!!options?.ignoreBOM),
    });
  }

  decode(input, options) {
    const stream = !!options?.stream;
    const given = bytesOf(input);
    const bytes = new Uint8Array(this.#left.length + given.length);
    bytes.set(this.#left);
    bytes.set(given, this.#left.length);
    let [text, left, broken] = host.decode(this.encoding, bytes.buffer, stream);
    this.#left = bytes.slice(bytes.length - left);
    if (this.#fresh && !this.ignoreBOM && text.startsWith('\ufeff')) text = text.slice(1);
    this.#fresh = !stream || (this.#fresh && text === '' && left === bytes.length);
    if (broken && this.fatal) {
      this.#left = new Uint8Array(0);
      this.#fresh = true;
      throw new TypeError('decoding text: invalid byte sequence');
    }
    return text;
  }
}
