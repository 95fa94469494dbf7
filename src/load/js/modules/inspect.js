// How console shows what is no string: as k6 does, on one line.
const isPlain = (value) => typeof value !== 'object' && typeof value !== 'function';
const describe = (value) => (typeof value === 'string' ? `"${value}"` : String(value));

function binary(value) {
  if (value instanceof ArrayBuffer) {
    const bytes = Array.from(new Uint8Array(value), (byte) => byte.toString(16).padStart(2, '0'));
    return `ArrayBuffer { [Uint8Contents]: <${bytes.join(' ')}>, byteLength: ${bytes.length} }`;
  }
  const name = value instanceof Uint8ClampedArray ? 'Uint8Array' : value.constructor.name;
  return value.length === 0
    ? `${name}(0) []`
    : `${name}(${value.length}) [ ${Array.from(value, String).join(', ')} ]`;
}

// `seen` holds the objects on the way down.
function inside(value, seen) {
  if (value === null || value === undefined) return 'null';
  if (typeof value === 'function') return '[object Function]';
  if (isPlain(value)) return describe(value);
  if (seen.has(value)) return '[Circular]';
  if (value instanceof Error) return String(value);
  if (value instanceof ArrayBuffer || (ArrayBuffer.isView(value) && !(value instanceof DataView)))
    return binary(value);
  seen.add(value);
  let text;
  if (Array.isArray(value)) {
    text = value.length === 0 ? '[]' : `[ ${Array.from(value, (part) => inside(part, seen)).join(', ')} ]`;
  } else {
    const keys = Object.keys(value);
    if (keys.length > 0) text = `{ ${keys.map((key) => `${key}: ${inside(value[key], seen)}`).join(', ')} }`;
    else text = value instanceof Date && !Number.isNaN(value.getTime()) ? `"${value.toISOString()}"` : '{}';
  }
  seen.delete(value);
  return text;
}

export function show(value) {
  if (typeof value === 'function') return '[object Function]';
  return value === null || isPlain(value) ? String(value) : inside(value, new Set());
}
