// Paths of `response.json(path)` in GJSON's language (github.com/tidwall/gjson, SYNTAX.md), over a
// value that is parsed already: keys with wildcards, indexes, `#`, queries, pipes, modifiers,
// multipaths and literals. Undefined is "does not exist".

export function select(value, path) {
  return evaluate(value, path);
}

function evaluate(value, path) {
  if (path === '') return undefined;
  const first = path[0];
  if (first === '@') return modified(value, path);
  if (first === '!') return literal(value, path);
  if (first === '{' || first === '[') return several(value, path);
  const { key, wild, rest, piped } = head(path);
  if (key === '#' || key.startsWith('#(') || key.startsWith('#[')) return elements(value, key, rest, piped);
  const next = member(value, key, wild);
  if (next === undefined || rest === null) return next;
  return evaluate(next, rest);
}

/** The first part of a path, and what follows its dot or pipe (null: nothing). */
function head(path) {
  if (path.startsWith('#(') || path.startsWith('#[')) {
    let end = closing(path, 1) + 1;
    if (path[end] === '#') end += 1;
    return { key: path.slice(0, end), wild: false, ...tail(path, end) };
  }
  let key = '';
  let wild = false;
  for (let at = 0; at < path.length; at += 1) {
    const char = path[at];
    if (char === '\\') {
      at += 1;
      const next = path[at] ?? '';
      key += next === '*' || next === '?' ? `\\${next}` : next;
    } else if (char === '.' || char === '|') return { key, wild, ...tail(path, at) };
    else {
      if (char === '*' || char === '?') wild = true;
      key += char;
    }
  }
  return { key, wild, rest: null, piped: false };
}

function tail(path, at) {
  if (at >= path.length) return { rest: null, piped: false };
  const rest = path.slice(at + 1);
  // A modifier works on what it stands behind as a whole.
  return { rest, piped: path[at] === '|' || rest[0] === '@' };
}

/** Where the bracket that opens at `from` is closed again. */
function closing(path, from) {
  const pairs = { '(': ')', '[': ']', '{': '}' };
  const open = [];
  for (let at = from; at < path.length; at += 1) {
    const char = path[at];
    if (char === '\\') at += 1;
    else if (char === '"') at = endOfString(path, at);
    else if (pairs[char]) open.push(pairs[char]);
    else if (char === open[open.length - 1]) {
      open.pop();
      if (open.length === 0) return at;
    }
  }
  return path.length;
}

function endOfString(text, from) {
  let at = from + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at;
}

function member(value, key, wild) {
  if (value === null || typeof value !== 'object') return undefined;
  if (Array.isArray(value)) return /^\d+$/.test(key) ? value[Number(key)] : undefined;
  const plain = key.replace(/\\([*?])/g, '$1');
  if (!wild) return Object.hasOwn(value, plain) ? value[plain] : undefined;
  const found = Object.keys(value).find((name) => matches(name, key));
  return found === undefined ? undefined : value[found];
}

/** `*` is any text, `?` any character; escaped ones are themselves. */
function matches(text, pattern) {
  let expression = '';
  for (let at = 0; at < pattern.length; at += 1) {
    let char = pattern[at];
    if (char === '*') expression += '[^]*?';
    else if (char === '?') expression += '[^]';
    else {
      if (char === '\\' && at + 1 < pattern.length) {
        at += 1;
        char = pattern[at];
      }
      expression += char.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
    }
  }
  return new RegExp(`^${expression}$`, 'u').test(text);
}

// --- arrays ---

function elements(value, key, rest, piped) {
  if (!Array.isArray(value)) return undefined;
  if (key === '#') {
    if (rest === null) return value.length;
    return piped ? evaluate(value.length, rest) : each(value, rest);
  }
  const all = key.endsWith('#') && key.length > 1;
  const query = key.slice(2, all ? -2 : -1);
  const fits = condition(query);
  if (!all) {
    const found = value.find(fits);
    return found === undefined || rest === null ? found : evaluate(found, rest);
  }
  const found = value.filter(fits);
  if (rest === null) return found;
  return piped ? evaluate(found, rest) : each(found, rest);
}

/** The path's value in every element that has it; what follows a pipe is for the whole list. */
function each(list, path) {
  const end = pipe(path);
  const values = list.map((one) => evaluate(one, path.slice(0, end))).filter((one) => one !== undefined);
  return end === path.length ? values : evaluate(values, path.slice(end + 1));
}

/** Where the first pipe stands that belongs to no bracket, or the dot before a modifier. */
function pipe(path) {
  for (let at = 0; at < path.length; at += 1) {
    const char = path[at];
    if (char === '\\') at += 1;
    else if (char === '"') at = endOfString(path, at);
    else if (char === '(' || char === '[' || char === '{') at = closing(path, at);
    else if (char === '|') return at;
    else if (char === '.' && path[at + 1] === '@') return at;
  }
  return path.length;
}

const OPERATORS = ['==', '!=', '<=', '>=', '!%', '=', '<', '>', '%'];

/** A query (`age>=40`, `name%"J*"`, `nets.#(=="fb")`, `!=1`) as a test of an element. */
function condition(query) {
  let at = 0;
  let operator;
  for (; at < query.length; at += 1) {
    const char = query[at];
    if (char === '\\') at += 1;
    else if (char === '"') at = endOfString(query, at);
    else if (char === '(' || char === '[' || char === '{') at = closing(query, at);
    else {
      operator = OPERATORS.find((one) => query.startsWith(one, at));
      if (operator !== undefined) break;
    }
  }
  const path = query.slice(0, at).trim();
  const of = (element) => (path === '' ? element : evaluate(element, path));
  if (operator === undefined) return (element) => of(element) !== undefined;
  const wanted = constant(query.slice(at + operator.length).trim());
  return (element) => compare(of(element), operator, wanted);
}

function constant(text) {
  if (text.startsWith('~')) return { kind: text.slice(1) };
  try {
    return { value: JSON.parse(text) };
  } catch {
    return { value: text };
  }
}

const TRUTHS = {
  true: (value) => value === true || (typeof value === 'number' && value !== 0) || /^(1|t|true)$/i.test(value),
  false: (value) => value === undefined || value === null || !TRUTHS.true(value),
  null: (value) => value === undefined || value === null,
  '*': (value) => value !== undefined,
};

function compare(value, operator, wanted) {
  if (wanted.kind !== undefined) {
    const is = TRUTHS[wanted.kind]?.(value) ?? false;
    return operator === '!=' ? !is : is;
  }
  if (value === undefined) return false;
  const right = wanted.value;
  if (operator === '%' || operator === '!%')
    return typeof value === 'string' && matches(value, String(right)) === (operator === '%');
  if (operator === '!=') return typeof value !== typeof right || value !== right;
  if (typeof value !== typeof right || value === null || typeof value === 'object') return value === right;
  switch (operator) {
    case '<':
      return value < right;
    case '<=':
      return value <= right;
    case '>':
      return value > right;
    case '>=':
      return value >= right;
    default:
      return value === right;
  }
}

// --- modifiers, multipaths, literals ---

const entries = (value) => (value !== null && typeof value === 'object' ? Object.entries(value) : []);

const MODIFIERS = {
  this: (value) => value,
  valid: (value) => value,
  pretty: (value) => value,
  ugly: (value) => value,
  reverse(value) {
    if (Array.isArray(value)) return [...value].reverse();
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).reverse());
  },
  keys: (value) => (Array.isArray(value) ? value.map(() => null) : entries(value).map(([key]) => key)),
  values: (value) => (Array.isArray(value) ? value : entries(value).map(([, one]) => one)),
  flatten: (value, given) => (Array.isArray(value) ? value.flat(given?.deep ? Infinity : 1) : value),
  join(value) {
    if (!Array.isArray(value)) return value;
    return Object.assign({}, ...value.filter((one) => one !== null && typeof one === 'object'));
  },
  tostr: (value) => JSON.stringify(value),
  fromstr(value) {
    try {
      return JSON.parse(value);
    } catch {
      return undefined;
    }
  },
  group(value) {
    const rows = [];
    for (const [key, list] of entries(value))
      if (Array.isArray(list)) list.forEach((one, index) => ((rows[index] ??= {})[key] = one));
    return rows;
  },
};

/** `@name`, `@name:argument`, and what follows. */
function modified(value, path) {
  let end = 1;
  while (end < path.length && !'.|:'.includes(path[end])) end += 1;
  const modifier = MODIFIERS[path.slice(1, end)];
  let given;
  if (path[end] === ':') {
    const from = end + 1;
    if ('{[('.includes(path[from])) end = closing(path, from) + 1;
    else if (path[from] === '"') end = endOfString(path, from) + 1;
    else for (end = from; end < path.length && !'.|'.includes(path[end]); ) end += 1;
    given = constant(path.slice(from, end)).value;
  }
  if (modifier === undefined) return undefined;
  const result = modifier(value, given);
  return end >= path.length || result === undefined ? result : evaluate(result, path.slice(end + 1));
}

/** `[a,b.c]` and `{a,"name":b.c}`: values of several paths as one. */
function several(value, path) {
  const end = closing(path, 0);
  const isObject = path[0] === '{';
  const result = isObject ? {} : [];
  for (const part of split(path.slice(1, end))) {
    const named = isObject ? /^\s*"((?:[^"\\]|\\.)*)"\s*:/.exec(part) : null;
    const inner = (named ? part.slice(named[0].length) : part).trim();
    const found = evaluate(value, inner);
    if (found === undefined) continue;
    if (isObject) result[named ? JSON.parse(`"${named[1]}"`) : lastKey(inner)] = found;
    else result.push(found);
  }
  return end + 1 >= path.length ? result : evaluate(result, path.slice(end + 2));
}

/** At commas outside of brackets and strings. */
function split(text) {
  const parts = [];
  let from = 0;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (char === '\\') at += 1;
    else if (char === '"') at = endOfString(text, at);
    else if (char === '(' || char === '[' || char === '{') at = closing(text, at);
    else if (char === ',') {
      parts.push(text.slice(from, at));
      from = at + 1;
    }
  }
  parts.push(text.slice(from));
  return parts;
}

function lastKey(path) {
  const name = path.split(/[.|]/).pop();
  return /^[\w-]+$/.test(name) ? name : '_';
}

/** `!"text"`, `!12`, `!{…}`: itself. */
function literal(value, path) {
  let end = 2;
  if ('{['.includes(path[1])) end = closing(path, 1) + 1;
  else if (path[1] === '"') end = endOfString(path, 1) + 1;
  else while (end < path.length && !'.|'.includes(path[end])) end += 1;
  const found = constant(path.slice(1, end)).value;
  return end >= path.length ? found : evaluate(found, path.slice(end + 1));
}
