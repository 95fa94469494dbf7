// formdata: multipart bodies put together by hand.
// https://grafana.com/docs/k6/latest/examples/data-uploads/
function utf8(text) {
  const bytes = [];
  for (const character of String(text)) {
    const code = character.codePointAt(0);
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else
      bytes.push(
        0xf0 | (code >> 18),
        0x80 | ((code >> 12) & 63),
        0x80 | ((code >> 6) & 63),
        0x80 | (code & 63),
      );
  }
  return Uint8Array.from(bytes);
}

function bytesOf(value) {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (Array.isArray(value)) return Uint8Array.from(value);
  return utf8(value);
}

const isFile = (value) =>
  value !== null && typeof value === 'object' && 'data' in value && 'filename' in value;
const quoted = (text) => String(text).replace(/"/g, '%22').replace(/\r/g, '%0D').replace(/\n/g, '%0A');

export class FormData {
  constructor() {
    this.boundary = `------------------------${Math.random().toString(36).slice(2)}${Math.random().toString(36).slice(2)}`;
    this.parts = [];
  }

  append(name, value, filename) {
    let content = value;
    let file = filename;
    let type;
    if (isFile(value)) {
      content = value.data;
      file = filename ?? value.filename;
      type = value.content_type;
    }
    const binary =
      typeof content !== 'string' && (content instanceof ArrayBuffer || ArrayBuffer.isView(content));
    if (binary || file !== undefined) {
      file ??= 'blob';
      type ??= 'application/octet-stream';
    }
    let head = `--${this.boundary}\r\nContent-Disposition: form-data; name="${quoted(name)}"`;
    if (file !== undefined) head += `; filename="${quoted(file)}"`;
    if (type) head += `\r\nContent-Type: ${type}`;
    this.parts.push(utf8(`${head}\r\n\r\n`), bytesOf(content), utf8('\r\n'));
  }

  contentType() {
    return `multipart/form-data; boundary=${this.boundary}`;
  }

  body() {
    const pieces = [...this.parts, utf8(`--${this.boundary}--\r\n`)];
    const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole.buffer;
  }
}

// Scripts that import the file for its effect expect the global.
globalThis.FormData ??= FormData;
export default FormData;
