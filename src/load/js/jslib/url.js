// url: URL and URLSearchParams by the WHATWG standard, parsed in Rust.
// https://grafana.com/docs/k6/latest/examples/url-query-parameters/
import { host as shared } from 'dchat:host';

const host = shared.part('url');

const encode = (text) => host.encodeForm(String(text));

export class URLSearchParams {
  #pairs = [];
  #changed = () => {};

  constructor(init = '', changed = undefined) {
    if (changed !== undefined) this.#changed = changed;
    if (typeof init === 'string') {
      this.#pairs = host.decodeForm(init.replace(/^\?/, ''));
    } else if (init !== null && typeof init === 'object') {
      const pairs = typeof init[Symbol.iterator] === 'function' ? [...init] : Object.entries(init);
      for (const pair of pairs) {
        const [name, value, ...more] = [...pair];
        if (value === undefined || more.length > 0)
          throw new TypeError('a pair must have a name and a value');
        this.#pairs.push([String(name), String(value)]);
      }
    }
  }

  get size() {
    return this.#pairs.length;
  }

  append(name, value) {
    this.#pairs.push([String(name), String(value)]);
    this.#changed();
  }

  delete(name, value) {
    this.#pairs = this.#pairs.filter(
      ([n, v]) => n !== String(name) || (value !== undefined && v !== String(value)),
    );
    this.#changed();
  }

  get(name) {
    const found = this.#pairs.find(([n]) => n === String(name));
    return found === undefined ? null : found[1];
  }

  getAll(name) {
    return this.#pairs.filter(([n]) => n === String(name)).map(([, value]) => value);
  }

  has(name, value) {
    return this.#pairs.some(([n, v]) => n === String(name) && (value === undefined || v === String(value)));
  }

  set(name, value) {
    const first = this.#pairs.findIndex(([n]) => n === String(name));
    if (first === -1) {
      this.#pairs.push([String(name), String(value)]);
    } else {
      this.#pairs[first][1] = String(value);
      this.#pairs = this.#pairs.filter(([n], index) => n !== String(name) || index === first);
    }
    this.#changed();
  }

  sort() {
    this.#pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    this.#changed();
  }

  forEach(callback, self) {
    for (const [name, value] of this) callback.call(self, value, name, this);
  }

  *entries() {
    for (const [name, value] of this.#pairs) yield [name, value];
  }

  *keys() {
    for (const [name] of this.#pairs) yield name;
  }

  *values() {
    for (const [, value] of this.#pairs) yield value;
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  toString() {
    return this.#pairs.map(([name, value]) => `${encode(name)}=${encode(value)}`).join('&');
  }

  // For URL only: what a new query means, without telling it back.
  static refresh(params, query) {
    params.#pairs = host.decodeForm(query.replace(/^\?/, ''));
  }
}

export class URL {
  #parts;
  #params;

  constructor(url, base) {
    const parts = host.parse(String(url), base === undefined ? null : String(base));
    if (parts === null) throw new TypeError(`Invalid URL: ${url}`);
    this.#parts = parts;
    this.#params = new URLSearchParams(parts.search, () => this.#set('search', this.#params.toString()));
  }

  static canParse(url, base) {
    return host.parse(String(url), base === undefined ? null : String(base)) !== null;
  }

  #set(name, value) {
    this.#parts = host.change(this.#parts.href, name, String(value)) ?? this.#parts;
  }

  get href() {
    return this.#parts.href;
  }

  set href(value) {
    const parts = host.parse(String(value), null);
    if (parts === null) throw new TypeError(`Invalid URL: ${value}`);
    this.#parts = parts;
    URLSearchParams.refresh(this.#params, parts.search);
  }

  get origin() {
    return this.#parts.origin;
  }

  get searchParams() {
    return this.#params;
  }

  get search() {
    return this.#parts.search;
  }

  set search(value) {
    this.#set('search', value);
    URLSearchParams.refresh(this.#params, this.#parts.search);
  }

  toString() {
    return this.#parts.href;
  }

  toJSON() {
    return this.#parts.href;
  }

  static {
    for (const name of ['protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'hash']) {
      Object.defineProperty(URL.prototype, name, {
        get() {
          return this.#parts[name];
        },
        set(value) {
          this.#set(name, value);
        },
        enumerable: true,
        configurable: true,
      });
    }
  }
}

export default { URL, URLSearchParams };
