// Values compared and shown, as assertion libraries do.
export const kindOf = (value) => {
  if (value === null) return 'null';
  if (value !== undefined && typeof value === 'object' && value[Symbol.toStringTag])
    return String(value[Symbol.toStringTag]);
  return Object.prototype.toString.call(value).slice(8, -1);
};

export function inspect(value, depth = 0) {
  if (typeof value === 'string') return `'${value.replace(/\n/g, '\\n')}'`;
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return value.name ? `[Function ${value.name}]` : '[Function]';
  if (value === null || typeof value !== 'object') return Object.is(value, -0) ? '-0' : String(value);
  if (value instanceof Date || value instanceof RegExp)
    return value instanceof Date ? value.toISOString() : String(value);
  if (value instanceof Error) return String(value);
  if (depth > 2) return Array.isArray(value) ? '[ Array ]' : '{ Object }';
  const inner = (part) => inspect(part, depth + 1);
  if (Array.isArray(value)) return value.length === 0 ? '[]' : `[ ${value.map(inner).join(', ')} ]`;
  if (value instanceof Set) return `Set{ ${[...value].map(inner).join(', ')} }`;
  if (value instanceof Map)
    return `Map{ ${[...value].map(([k, v]) => `${inner(k)} => ${inner(v)}`).join(', ')} }`;
  const pairs = Object.keys(value).map(
    (key) => `${/^[A-Za-z_$][\w$]*$/.test(key) ? key : inspect(key)}: ${inner(value[key])}`,
  );
  return pairs.length === 0 ? '{}' : `{ ${pairs.join(', ')} }`;
}

export function deepEqual(a, b, seen = []) {
  if (Object.is(a, b) || a === b) return true;
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return false;
  if (kindOf(a) !== kindOf(b)) return false;
  if (seen.some(([x, y]) => x === a && y === b)) return true;
  const inside = [...seen, [a, b]];
  if (a instanceof Date) return Object.is(a.getTime(), b.getTime());
  if (a instanceof RegExp) return String(a) === String(b);
  if (a instanceof Error) return a === b;
  if (a instanceof ArrayBuffer) return deepEqual(new Uint8Array(a), new Uint8Array(b));
  if (ArrayBuffer.isView(a) || Array.isArray(a)) {
    if (a.length !== b.length) return false;
    for (let index = 0; index < a.length; index += 1)
      if (!deepEqual(a[index], b[index], inside)) return false;
    return true;
  }
  if (a instanceof Set)
    return a.size === b.size && [...a].every((x) => b.has(x) || [...b].some((y) => deepEqual(x, y, inside)));
  if (a instanceof Map)
    return (
      a.size === b.size && [...a].every(([key, value]) => b.has(key) && deepEqual(value, b.get(key), inside))
    );
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && deepEqual(a[key], b[key], inside))
  );
}

// 'a.b[1]' and 'a\\.b' as names on the way down.
function path(text) {
  const names = [];
  const pattern = /\[(\d+)\]|((?:\\.|[^.[\]])+)/g;
  for (const [, index, name] of String(text).matchAll(pattern))
    names.push(index ?? name.replace(/\\(.)/g, '$1'));
  return names;
}

export function reach(object, text) {
  const names = path(text);
  const last = names.pop();
  const owner = names.reduce((value, name) => value?.[name], object);
  const has = owner !== null && owner !== undefined && last in Object(owner);
  return { has, value: has ? owner[last] : undefined };
}
