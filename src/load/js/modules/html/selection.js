// Selections of `k6/html`: jQuery's methods over numbers of nodes of a page that Rust holds
// (load::js::modules::html).
import { host as shared } from 'dchat:host';

export const host = shared.part('html');

/** Where an Element keeps `{ selection, node }`. */
export const HELD = Symbol('element');

/** A selection of the whole page; `url` is what relative addresses in it start from. */
export const parse = (source, url) => new Selection(host.parse(source), [0], url);

let elements;

/** The Element of a selection's first node. */
export function elementOf(selection) {
  elements ??= shared.load('dchat:element');
  return elements.make(selection);
}

/** The nodes that a Selection or an Element stands for; undefined for everything else. */
function nodesOf(given) {
  if (given === null || typeof given !== 'object') return undefined;
  if (Selection.is(given)) return Selection.nodes(given);
  return given[HELD] === undefined ? undefined : [given[HELD].node];
}

function refused(given) {
  const type =
    given === undefined || given === null ? '<nil>' : typeof given === 'number' ? 'int64' : typeof given;
  return new TypeError(`invalid argument, cannot use a '${type}' as a selector`);
}

const distinct = (nodes) => [...new Set(nodes)];

export class Selection {
  #page;
  #nodes;
  #before;

  constructor(page, nodes, url, before) {
    this.#page = page;
    this.#nodes = nodes;
    this.#before = before;
    this.url = url;
  }

  static is = (value) => #nodes in value;
  static nodes = (selection) => selection.#nodes;
  static page = (selection) => selection.#page;

  #push(nodes) {
    return new Selection(this.#page, nodes, this.url, this);
  }

  #all(selector) {
    return host.find(this.#page, [0], selector, false);
  }

  #matching(nodes, selector) {
    return host.filter(this.#page, nodes, selector);
  }

  #only(node) {
    return this.#push([node]);
  }

  /** Selector or nodes: what `bySelector` or `byNodes` makes of it. */
  #pick(given, bySelector, byNodes) {
    if (typeof given === 'string') return this.#push(bySelector(given));
    const nodes = nodesOf(given);
    if (nodes === undefined) throw refused(given);
    return this.#push(byNodes(nodes));
  }

  #walk(way, filter, until) {
    const nodes = host.walk(this.#page, this.#nodes, way, until);
    return this.#push(filter === undefined ? nodes : this.#matching(nodes, String(filter)));
  }

  #walkUntil(way, args) {
    const [until, filter] = args;
    const named = until === undefined || until === null || typeof until === 'string';
    const nodes = named ? undefined : nodesOf(until);
    if (!named && nodes === undefined) throw refused(until);
    return this.#walk(way, args.length > 1 ? filter : undefined, nodes ?? until);
  }

  add(given) {
    const union = (nodes) => distinct([...this.#nodes, ...nodes]);
    return this.#pick(given, (selector) => union(this.#all(selector)), union);
  }

  find(given) {
    return this.#pick(
      given,
      (selector) => host.find(this.#page, this.#nodes, selector, false),
      (nodes) => host.within(this.#page, this.#nodes, nodes),
    );
  }

  single(selector) {
    return this.#push(host.find(this.#page, this.#nodes, String(selector), true));
  }

  closest(given) {
    const first = (test) =>
      distinct(
        this.#nodes.flatMap((node) =>
          test([node, ...host.walk(this.#page, [node], 'parents', undefined)]).slice(0, 1),
        ),
      );
    return this.#pick(
      given,
      (selector) => first((line) => this.#matching(line, selector)),
      (nodes) => first((line) => line.filter((node) => nodes.includes(node))),
    );
  }

  has(given) {
    const holding = (inside) => this.#nodes.filter((node) => inside([node]).length > 0);
    return this.#pick(
      given,
      (selector) => holding((node) => host.find(this.#page, node, selector, true)),
      (nodes) => holding((node) => host.within(this.#page, node, nodes)),
    );
  }

  not(given) {
    if (typeof given === 'function')
      return this.#push(this.#nodes.filter((node, index) => !given(index, this.#only(node))));
    const without = (nodes) => this.#nodes.filter((node) => !nodes.includes(node));
    return this.#pick(given, (selector) => without(this.#matching(this.#nodes, selector)), without);
  }

  #filtered(given, name) {
    if (typeof given === 'string') return this.#matching(this.#nodes, given);
    if (typeof given === 'function')
      return this.#nodes.filter((node, index) => given(index, this.#only(node)));
    if (given !== null && typeof given === 'object' && Selection.is(given))
      return this.#nodes.filter((node) => given.#nodes.includes(node));
    throw new TypeError(`the argument to ${name}() must be a function, a selector or a selection`);
  }

  filter(given) {
    return this.#push(this.#filtered(given, 'filter'));
  }

  is(given) {
    return this.#filtered(given, 'is').length > 0;
  }

  children(filter) {
    return this.#walk('children', filter);
  }

  contents() {
    return this.#walk('contents');
  }

  parent(filter) {
    return this.#walk('parent', filter);
  }

  parents(filter) {
    return this.#walk('parents', filter);
  }

  parentsUntil(...args) {
    return this.#walkUntil('parents', args);
  }

  next(filter) {
    return this.#walk('next', filter);
  }

  nextAll(filter) {
    return this.#walk('nextAll', filter);
  }

  nextUntil(...args) {
    return this.#walkUntil('nextAll', args);
  }

  prev(filter) {
    return this.#walk('prev', filter);
  }

  prevAll(filter) {
    return this.#walk('prevAll', filter);
  }

  prevUntil(...args) {
    return this.#walkUntil('prevAll', args);
  }

  siblings(filter) {
    return this.#walk('siblings', filter);
  }

  size() {
    return this.#nodes.length;
  }

  end() {
    return this.#before ?? this.#push([]);
  }

  eq(index) {
    const at = Math.trunc(Number(index)) || 0;
    return this.#push(this.#nodes.slice(at, at === -1 ? undefined : at + 1));
  }

  first() {
    return this.eq(0);
  }

  last() {
    return this.eq(-1);
  }

  slice(start, end) {
    return this.#push(this.#nodes.slice(start, end));
  }

  get(index) {
    const size = this.#nodes.length;
    if (index === undefined) return this.#nodes.map((node) => elementOf(this.#only(node)));
    const at = Math.trunc(Number(index)) || 0;
    return at < size && at > -size ? elementOf(this.eq(at)) : undefined;
  }

  toArray() {
    return this.#nodes.map((node) => this.#only(node));
  }

  each(callback) {
    if (typeof callback !== 'function') throw new TypeError('the argument to each() must be a function');
    this.#nodes.forEach((node, index) => {
      try {
        callback(index, elementOf(this.#only(node)));
      } catch (error) {
        throw new Error(`the function passed to each() failed: ${error}`, { cause: error });
      }
    });
    return this;
  }

  map(callback) {
    if (typeof callback !== 'function') throw new TypeError('the argument to map() must be a function');
    const values = [];
    this.#nodes.forEach((node, index) => {
      try {
        values.push(callback(index, this.#only(node)));
      } catch {
        // As in k6: one that throws gives no value.
      }
    });
    return values;
  }

  index(given) {
    if (given === undefined) {
      if (this.#nodes.length === 0) return -1;
      return host.walk(this.#page, [this.#nodes[0]], 'prevAll', undefined).length;
    }
    if (typeof given === 'string')
      return this.#nodes.length === 0 ? -1 : this.#all(given).indexOf(this.#nodes[0]);
    const nodes = nodesOf(given);
    return nodes === undefined || nodes.length === 0 ? -1 : this.#nodes.indexOf(nodes[0]);
  }

  text() {
    return host.text(this.#page, this.#nodes);
  }

  html() {
    return this.#nodes.length === 0 ? '' : host.html(this.#page, this.#nodes[0]);
  }

  attr(name, absent) {
    const value =
      this.#nodes.length === 0 ? undefined : host.attr(this.#page, this.#nodes[0], String(name));
    return value ?? absent;
  }

  val() {
    const name = this.#nodes.length === 0 ? '' : host.kind(this.#page, this.#nodes[0])[1];
    switch (name) {
      case 'input':
        return this.attr('value', ['radio', 'checkbox'].includes(this.attr('type')) ? 'on' : '');
      case 'button':
        return this.attr('value', '');
      case 'textarea':
        return this.html();
      case 'option':
        return valueOrHtml(this);
      case 'select': {
        const selected = this.first().find('option[selected]');
        if (this.attr('multiple') === undefined) return valueOrHtml(selected);
        return selected.toArray().map(valueOrHtml);
      }
      default:
        return undefined;
    }
  }

  data(name) {
    if (this.#nodes.length === 0) return undefined;
    if (name !== undefined) {
      const value = this.attr(`data-${attributeName(String(name))}`);
      return value === undefined ? undefined : typed(value);
    }
    const attributes = host.attrs(this.#page, this.#nodes[0]);
    if (attributes.length === 0) return undefined;
    const data = {};
    for (let at = 0; at < attributes.length; at += 2)
      if (attributes[at].startsWith('data-') && attributes[at].length > 5)
        data[propertyName(attributes[at].slice(5))] = typed(attributes[at + 1]);
    return data;
  }

  serializeArray() {
    const fields = this.is('form') ? this.find(FIELDS) : this.filter(FIELDS);
    return fields
      .toArray()
      .filter(isSent)
      .map((field) => ({ name: field.attr('name'), value: field.val() }));
  }

  serializeObject() {
    return Object.fromEntries(this.serializeArray().map(({ name, value }) => [name, value]));
  }

  serialize() {
    return encodeQuery(this.serializeObject());
  }
}

const FIELDS = 'input,select,textarea,keygen';

/** Whether a browser would send the field. */
function isSent(field) {
  const type = field.attr('type', '');
  return (
    field.attr('name', '') !== '' &&
    field.attr('disabled') !== 'disabled' &&
    !['submit', 'button', 'reset', 'image', 'file'].includes(type) &&
    (field.attr('checked') === 'checked' || !['checkbox', 'radio'].includes(type))
  );
}

export const valueOrHtml = (selection) => selection.attr('value') ?? selection.html();

const escape = (text) =>
  encodeURIComponent(text)
    .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/%20/g, '+');

/** A query as Go writes it: keys in order, lists as repeated keys. */
export const encodeQuery = (values) =>
  Object.keys(values)
    .sort()
    .flatMap((key) => [values[key]].flat().map((value) => `${escape(key)}=${escape(String(value))}`))
    .join('&');

const INITIALISMS = new Set(
  'ACL API ASCII CPU CSS DNS EOF GUID HTML HTTP HTTPS ID IP JSON OS QPS RAM RPC SLA SMTP SQL SSH TCP TLS TTL UDP UI UID UUID URI URL UTF8 VM XML'.split(
    ' ',
  ),
);

/** `user-id` as `userID`: k6 writes initialisms in capitals. */
function propertyName(attribute) {
  const [first, ...words] = attribute.split('-');
  const capital = (word) =>
    INITIALISMS.has(word.toUpperCase()) ? word.toUpperCase() : word.charAt(0).toUpperCase() + word.slice(1);
  return first + words.map(capital).join('');
}

const attributeName = (property) => property.replace(/([a-z0-9])([A-Z])/g, '$1-$2').toLowerCase();

/** A data attribute's value: JSON and numbers where the text says no more than the value does. */
function typed(text) {
  if (text === '' || text === 'null' || text === 'undefined') return undefined;
  if (text === 'true') return true;
  if (text === 'false') return false;
  if (text[0] === '{' || text[0] === '[') {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }
  return /^-?\d/.test(text) && String(Number(text)) === text ? Number(text) : text;
}
