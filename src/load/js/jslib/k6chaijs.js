// k6chaijs: assertions in Chai's expect style; each one is a check, and describe() is a group.
// https://grafana.com/docs/k6/latest/javascript-api/jslib/k6chaijs/ and https://www.chaijs.com/api/bdd/
import { deepEqual, inspect, kindOf, reach } from 'dchat:compare';
import { check, group } from 'k6';

export const config = {
  truncateMsgThreshold: 300,
  truncateVariableThreshold: 100,
  aggregateChecks: true,
  logFailures: false,
};

export class AssertionError extends Error {
  constructor(message, props) {
    super(message);
    this.name = 'AssertionError';
    Object.assign(this, props);
  }
}

const shortened = (text, most) => (text.length > most ? `${text.slice(0, Math.max(most - 3, 0))}...` : text);
const display = (value) => shortened(inspect(value), config.truncateVariableThreshold);

// An assertion is callable, so that properties like `true` and methods like `a('string')` chain.
function make(object, flags, whenCalled) {
  const assertion = (...args) => (whenCalled === undefined ? assertion : whenCalled(...args));
  Object.setPrototypeOf(assertion, Assertion.prototype);
  // `length` is a word of ours; functions have their own.
  delete assertion.length;
  delete assertion.name;
  assertion.flags = flags;
  Object.defineProperty(assertion, '_obj', { value: object, writable: true });
  return assertion;
}

export class Assertion extends Function {
  with(flags) {
    return make(this._obj, { ...this.flags, ...flags });
  }

  // A further assertion about another value of the same chain.
  on(object) {
    return make(object, { ...this.flags });
  }

  assert(holds, message, negated, expected, actual) {
    const { not, name } = this.flags;
    const passed = not ? !holds : !!holds;
    const given = this.flags.whole ?? (not ? negated : message);
    const hide = config.aggregateChecks;
    const value = actual === undefined ? this._obj : actual;
    const said = (text, open) =>
      text
        .replace(/#\{this\}/g, () => name ?? (open ? '${this}' : display(this._obj)))
        .replace(/#\{act\}/g, () => (open ? '${actual}' : display(value)))
        .replace(/#\{exp\}/g, () => display(expected));
    const title = shortened(said(given, hide), config.truncateMsgThreshold);
    check(null, { [title]: passed }, {});
    if (passed) return this;
    const full = said(given, false);
    if (config.logFailures) console.warn(full);
    throw new AssertionError(full, { actual: value, expected, checked: true });
  }

  get same() {
    return this.flags.deep ? deepEqual : (a, b) => a === b;
  }
}

const property = (name, get) => Object.defineProperty(Assertion.prototype, name, { get, configurable: true });
const method = (name, call) =>
  Object.defineProperty(Assertion.prototype, name, { value: call, writable: true, configurable: true });
const aliases = (names, define, what) => names.forEach((name) => define(name, what));

for (const word of [
  'to',
  'be',
  'been',
  'is',
  'that',
  'which',
  'and',
  'has',
  'have',
  'with',
  'at',
  'of',
  'same',
  'but',
  'does',
  'still',
  'also',
])
  if (!Object.hasOwn(Assertion.prototype, word))
    property(word, function () {
      return this;
    });
// `with` and `same` are chain words too; what they were above is reached by these names.
const having = Assertion.prototype.with;
const sameness = Object.getOwnPropertyDescriptor(Assertion.prototype, 'same').get;
for (const word of ['with', 'same'])
  property(word, function () {
    return this;
  });
const flag = (assertion, flags) => having.call(assertion, flags);
const comparing = (assertion) => sameness.call(assertion);

property('not', function () {
  return flag(this, { not: !this.flags.not });
});
property('deep', function () {
  return flag(this, { deep: true });
});
property('nested', function () {
  return flag(this, { nested: true });
});
property('own', function () {
  return flag(this, { own: true });
});
property('ordered', function () {
  return flag(this, { ordered: true });
});
property('any', function () {
  return flag(this, { any: true, all: false });
});
property('all', function () {
  return flag(this, { all: true, any: false });
});
property('itself', function () {
  return flag(this, { itself: true });
});

// Properties that assert something about the value.
const state = (names, holds, words, expected) =>
  aliases(names, property, function () {
    return this.assert(
      holds(this._obj),
      `expected #{this} to ${words}`,
      `expected #{this} to not ${words}`,
      expected,
    );
  });
property('ok', function () {
  return this.assert(this._obj, 'expected #{this} to be truthy', 'expected #{this} to be falsy');
});
property('true', function () {
  return this.assert(this._obj === true, 'expected #{this} to be true', 'expected #{this} to be false', true);
});
property('false', function () {
  return this.assert(
    this._obj === false,
    'expected #{this} to be false',
    'expected #{this} to be true',
    false,
  );
});
state(['null'], (v) => v === null, 'be null');
state(['undefined'], (v) => v === undefined, 'be undefined');
state(['NaN'], (v) => Number.isNaN(v), 'be NaN');
state(['exist', 'exists'], (v) => v !== null && v !== undefined, 'exist');
state(['arguments', 'Arguments'], (v) => kindOf(v) === 'Arguments', 'be arguments');
state(['finite'], (v) => Number.isFinite(v), 'be a finite number');
state(['extensible'], (v) => v === Object(v) && Object.isExtensible(v), 'be extensible');
state(['sealed'], (v) => v !== Object(v) || Object.isSealed(v), 'be sealed');
state(['frozen'], (v) => v !== Object(v) || Object.isFrozen(v), 'be frozen');
state(
  ['empty'],
  (v) => {
    if (v instanceof Map || v instanceof Set) return v.size === 0;
    if (typeof v === 'string' || Array.isArray(v)) return v.length === 0;
    return v !== null && typeof v === 'object' && Object.keys(v).length === 0;
  },
  'be empty',
);
method('validJsonBody', function () {
  let valid = true;
  try {
    if (this._obj.json() === undefined) valid = false;
  } catch (error) {
    valid = false;
  }
  return this.assert(valid, 'has valid json body', 'has no valid json body');
});

// Chainable methods: a property that can also be called.
const chainable = (names, flags, call) =>
  aliases(names, property, function () {
    const next = flag(this, flags);
    return make(next._obj, next.flags, (...args) => call.apply(next, args) ?? next);
  });
const named = (assertion, message) =>
  message === undefined ? assertion : flag(assertion, { name: message });

chainable(['a', 'an'], {}, function (type, message) {
  const wanted = String(type).toLowerCase();
  const article = 'aeiou'.includes(wanted[0]) ? 'an' : 'a';
  const words = `be ${article} ${wanted}`;
  const found = kindOf(this._obj).toLowerCase();
  return named(this, message).assert(
    found === wanted,
    `expected #{this} to ${words}`,
    `expected #{this} not to ${words}`,
  );
});

chainable(['include', 'includes', 'contain', 'contains'], { contains: true }, function (wanted, message) {
  const object = this._obj;
  const self = named(this, message);
  const equal = comparing(this);
  const deep = this.flags.deep ? 'deep ' : '';
  let holds;
  if (typeof object === 'string') holds = object.includes(wanted);
  else if (Array.isArray(object) || ArrayBuffer.isView(object))
    holds = Array.from(object).some((item) => equal(item, wanted) || Object.is(item, wanted));
  else if (object instanceof Set) holds = [...object].some((item) => equal(item, wanted));
  else if (object instanceof Map) holds = [...object.values()].some((item) => equal(item, wanted));
  else if (object !== null && typeof object === 'object')
    holds = Object.keys(wanted).every((key) => {
      const found = this.flags.nested
        ? reach(object, key)
        : { has: this.flags.own ? Object.hasOwn(object, key) : key in object, value: object[key] };
      return found.has && equal(found.value, wanted[key]);
    });
  else
    throw new AssertionError(
      `the object tested must be an array, a map, an object, a set, or a string, but ${kindOf(object)} given`,
    );
  return self.assert(
    holds,
    `expected #{this} to ${deep}include ${display(wanted)}`,
    `expected #{this} to not ${deep}include ${display(wanted)}`,
    wanted,
  );
});

const sizeOf = (value) => (value instanceof Map || value instanceof Set ? value.size : value?.length);
chainable(['length', 'lengthOf'], { length: true }, function (count, message) {
  const self = named(this, message);
  const size = sizeOf(this._obj);
  return self.assert(
    size === count,
    'expected #{this} to have a length of #{exp} but got #{act}',
    'expected #{this} to not have a length of #{exp}',
    count,
    size,
  );
});

aliases(['equal', 'equals', 'eq'], method, function (wanted, message) {
  if (this.flags.deep) return this.eql(wanted, message);
  return named(this, message).assert(
    this._obj === wanted,
    'expected #{this} to equal #{exp}',
    'expected #{this} to not equal #{exp}',
    wanted,
  );
});
aliases(['eql', 'eqls'], method, function (wanted, message) {
  return named(this, message).assert(
    deepEqual(this._obj, wanted),
    'expected #{this} to deeply equal #{exp}',
    'expected #{this} to not deeply equal #{exp}',
    wanted,
  );
});

// Comparisons, of the value or of its length.
const compare = (names, holds, words, negatedWords) =>
  aliases(names, method, function (bound, message) {
    const self = named(this, message);
    const size = this.flags.length;
    const value = size ? sizeOf(this._obj) : this._obj;
    const rest = size ? ` but got #{act}` : '';
    const to = (text) => (size ? `have a length ${text}` : `be ${text}`);
    return self.assert(
      holds(value, bound),
      `expected #{this} to ${to(words)} #{exp}${rest}`,
      `expected #{this} to ${to(negatedWords)} #{exp}`,
      bound,
      value,
    );
  });
compare(['above', 'gt', 'greaterThan'], (v, bound) => v > bound, 'above', 'at most');
compare(['least', 'gte', 'greaterThanOrEqual'], (v, bound) => v >= bound, 'at least', 'below');
compare(['below', 'lt', 'lessThan'], (v, bound) => v < bound, 'below', 'at least');
compare(['most', 'lte', 'lessThanOrEqual'], (v, bound) => v <= bound, 'at most', 'above');
method('within', function (start, end, message) {
  const size = this.flags.length;
  const value = size ? sizeOf(this._obj) : this._obj;
  const words = `${size ? 'have a length' : 'be'} within ${start}..${end}`;
  return named(this, message).assert(
    value >= start && value <= end,
    `expected #{this} to ${words}`,
    `expected #{this} to not ${words}`,
    undefined,
    value,
  );
});
aliases(['closeTo', 'approximately'], method, function (wanted, delta, message) {
  const words = `be close to ${wanted} +/- ${delta}`;
  return named(this, message).assert(
    Math.abs(this._obj - wanted) <= delta,
    `expected #{this} to ${words}`,
    `expected #{this} not to ${words}`,
    wanted,
  );
});

aliases(['instanceof', 'instanceOf'], method, function (type, message) {
  const words = `be an instance of ${type.name || 'an unnamed constructor'}`;
  return named(this, message).assert(
    this._obj instanceof type,
    `expected #{this} to ${words}`,
    `expected #{this} to not ${words}`,
  );
});
method('property', function (name, ...rest) {
  const [value, message] = rest;
  const object = this._obj;
  const { nested, own } = this.flags;
  const found = nested
    ? reach(object, name)
    : {
        has:
          object !== null &&
          object !== undefined &&
          (own ? Object.hasOwn(Object(object), name) : name in Object(object)),
        value: object?.[name],
      };
  const kind = `${this.flags.deep ? 'deep ' : ''}${nested ? 'nested ' : ''}${own ? 'own ' : ''}property ${inspect(name)}`;
  const self = named(this, message);
  if (rest.length === 0)
    self.assert(found.has, `expected #{this} to have ${kind}`, `expected #{this} to not have ${kind}`);
  else
    self.assert(
      found.has && comparing(this)(found.value, value),
      `expected #{this} to have ${kind} of #{exp}, but got #{act}`,
      `expected #{this} to not have ${kind} of #{exp}`,
      value,
      found.value,
    );
  return this.on(found.value);
});
aliases(['ownProperty', 'haveOwnProperty'], method, function (...args) {
  return this.own.property(...args);
});
aliases(['ownPropertyDescriptor', 'haveOwnPropertyDescriptor'], method, function (name, descriptor, message) {
  const actual = Object.getOwnPropertyDescriptor(Object(this._obj), name);
  const holds = actual !== undefined && (descriptor === undefined || deepEqual(actual, descriptor));
  named(this, message).assert(
    holds,
    `expected #{this} to have an own property descriptor for ${inspect(name)}`,
    `expected #{this} to not have an own property descriptor for ${inspect(name)}`,
  );
  return this.on(actual);
});
aliases(['match', 'matches'], method, function (pattern, message) {
  return named(this, message).assert(
    pattern.test(this._obj),
    `expected #{this} to match ${pattern}`,
    `expected #{this} not to match ${pattern}`,
  );
});
method('string', function (text, message) {
  return named(this, message).assert(
    String(this._obj).includes(text),
    `expected #{this} to contain ${inspect(text)}`,
    `expected #{this} to not contain ${inspect(text)}`,
  );
});
aliases(['keys', 'key'], method, function (...given) {
  let wanted = given.length === 1 ? given[0] : given;
  if (!Array.isArray(wanted))
    wanted = typeof wanted === 'object' && wanted !== null ? Object.keys(wanted) : [wanted];
  const isMap = this._obj instanceof Map || this._obj instanceof Set;
  const actual = isMap ? [...this._obj.keys()] : Object.keys(this._obj);
  const names = isMap ? wanted : wanted.map(String);
  const has = (name) =>
    actual.some((key) => (isMap && this.flags.deep ? deepEqual(key, name) : key === name));
  let holds = this.flags.any ? names.some(has) : names.every(has);
  if (!this.flags.any && !this.flags.contains) holds = holds && names.length === actual.length;
  const shown = names.map((name) => inspect(name));
  const last = shown.length > 1 ? `, ${this.flags.any ? 'or' : 'and'} ${shown.pop()}` : '';
  const words = `${this.flags.contains ? 'contain' : 'have'} key${names.length > 1 ? 's' : ''} ${shown.join(', ')}${last}`;
  return this.assert(holds, `expected #{this} to ${words}`, `expected #{this} to not ${words}`);
});
aliases(['throw', 'throws', 'Throw'], method, function (type, pattern, message) {
  let thrown;
  let caught = false;
  try {
    this._obj();
  } catch (error) {
    thrown = error;
    caught = true;
  }
  let kind = type;
  let text = pattern;
  if (typeof type === 'string' || type instanceof RegExp) [kind, text] = [undefined, type];
  let holds = caught;
  let words = 'throw an error';
  if (typeof kind === 'function') {
    holds = holds && thrown instanceof kind;
    words = `throw ${kind.name}`;
  } else if (kind !== undefined && kind !== null) {
    holds = holds && thrown === kind;
    words = `throw ${inspect(kind)}`;
  }
  if (text !== undefined) {
    const said = typeof thrown === 'string' ? thrown : (thrown?.message ?? '');
    holds = holds && (text instanceof RegExp ? text.test(said) : said.includes(text));
    words =
      typeof kind === 'function'
        ? words
        : `throw error ${text instanceof RegExp ? 'matching' : 'including'} ${inspect(text)}`;
  }
  named(this, message).assert(
    holds,
    `expected #{this} to ${words}`,
    `expected #{this} to not ${words}`,
    undefined,
    thrown,
  );
  return this.on(thrown);
});
aliases(['respondTo', 'respondsTo'], method, function (name, message) {
  const target = typeof this._obj === 'function' && !this.flags.itself ? this._obj.prototype : this._obj;
  return named(this, message).assert(
    typeof target?.[name] === 'function',
    `expected #{this} to respond to ${inspect(name)}`,
    `expected #{this} to not respond to ${inspect(name)}`,
  );
});
aliases(['satisfy', 'satisfies'], method, function (matcher, message) {
  return named(this, message).assert(
    matcher(this._obj),
    `expected #{this} to satisfy ${display(matcher)}`,
    `expected #{this} to not satisfy ${display(matcher)}`,
  );
});
method('members', function (wanted, message) {
  const object = [...this._obj];
  const equal = comparing(this);
  const { contains, ordered } = this.flags;
  const fits = contains ? wanted.length <= object.length : wanted.length === object.length;
  let holds = fits;
  if (fits && ordered) {
    holds = wanted.every((item, index) => equal(object[index], item));
  } else if (fits) {
    const left = [...object];
    holds = wanted.every((item) => {
      const at = left.findIndex((other) => equal(other, item));
      if (at === -1) return false;
      if (!contains) left.splice(at, 1);
      return true;
    });
  }
  const subject = contains
    ? ordered
      ? 'an ordered superset'
      : 'a superset'
    : `the same ${ordered ? 'ordered ' : ''}members`;
  const words = contains ? `be ${subject} of #{exp}` : `have ${subject} as #{exp}`;
  return named(this, message).assert(
    holds,
    `expected #{this} to ${words}`,
    `expected #{this} to not ${words}`,
    wanted,
  );
});
method('oneOf', function (list, message) {
  const equal = comparing(this);
  const holds = this.flags.contains
    ? list.some((item) => this._obj.includes(item))
    : list.some((item) => equal(this._obj, item));
  const words = `${this.flags.contains ? 'contain' : 'be'} one of #{exp}`;
  return named(this, message).assert(
    holds,
    `expected #{this} to ${words}`,
    `expected #{this} to not ${words}`,
    list,
  );
});
// What a call does to a number.
const changing = (names, holds, word) =>
  aliases(names, method, function (subject, name, message) {
    const read = () => (typeof subject === 'function' ? subject() : subject[name]);
    const before = read();
    this._obj();
    const after = read();
    const what = typeof subject === 'function' ? '' : `.${name}`;
    named(this, message).assert(
      holds(before, after),
      `expected ${what || '#{this}'} to ${word}`,
      `expected ${what || '#{this}'} to not ${word}`,
    );
    return flag(this, { delta: after - before, not: false });
  });
changing(['change', 'changes'], (a, b) => a !== b, 'change');
changing(['increase', 'increases'], (a, b) => b > a, 'increase');
changing(['decrease', 'decreases'], (a, b) => b < a, 'decrease');
method('by', function (amount, message) {
  return named(this, message).assert(
    Math.abs(this.flags.delta) === Math.abs(amount),
    `expected #{this} to change by ${amount}`,
    `expected #{this} to not change by ${amount}`,
  );
});

export function expect(value, message) {
  return make(value, message === undefined ? {} : { name: String(message) });
}
expect.fail = (message = 'expect.fail()') => {
  check(null, { [message]: false });
  throw new AssertionError(message, { checked: true });
};

export function describe(name, body) {
  let success = true;
  const failed = (error) => {
    success = false;
    // Failed assertions are checks already.
    if (error instanceof AssertionError && error.checked) return;
    const text = error instanceof Error ? error.message : error;
    check(null, { [shortened(`Exception raised "${text}"`, config.truncateMsgThreshold)]: false });
    console.error(
      error instanceof Error ? (error.stack ? `${error}\n${error.stack}` : String(error)) : error,
    );
  };
  const settled = group(name, () => {
    try {
      const result = body((...args) => expect(...args));
      if (result instanceof Promise) return result.catch(failed);
      return undefined;
    } catch (error) {
      failed(error);
      return undefined;
    }
  });
  return settled instanceof Promise ? settled.then(() => success) : success;
}

const chai = {
  config,
  expect,
  describe,
  Assertion: Object.assign(Assertion, {
    addProperty: (name, get) =>
      property(name, function () {
        return get.call(this) ?? this;
      }),
    addMethod: (name, call) =>
      method(name, function (...args) {
        return call.apply(this, args) ?? this;
      }),
  }),
  AssertionError,
  util: {
    inspect,
    eql: deepEqual,
    flag: (assertion, name, value) =>
      value === undefined ? assertion.flags[name] : (assertion.flags[name] = value),
  },
  use(plugin) {
    plugin(chai, chai.util);
    return chai;
  },
};
export { chai };
export default chai;
