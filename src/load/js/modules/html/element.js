// Elements of `k6/html`: the DOM's reading half, as methods. What is particular to a tag stands in
// `dchat:element-kinds` and is made at the first element of that tag.
import { HELD, Selection, elementOf, host } from 'dchat:selection';
import { classOf } from 'dchat:element-kinds';

const PARENT = 0;
const PREVIOUS = 1;
const NEXT = 2;
const FIRST = 3;
const LAST = 4;

const NAMESPACES = { svg: 'http://www.w3.org/2000/svg', math: 'http://www.w3.org/1998/Math/MathML' };
const namespace = (prefix) => NAMESPACES[prefix] ?? 'http://www.w3.org/1999/xhtml';

const listed = (selection) => selection.get();
const first = (selection) => (selection.size() === 0 ? undefined : elementOf(selection));

class Attribute {
  constructor(owner, name, value) {
    this.owner_element = owner;
    this.name = name;
    this.value = value;
  }

  prefix() {
    return '';
  }

  namespaceURI() {
    return namespace('');
  }

  localName() {
    return this.name;
  }
}

export class Element {
  constructor(selection) {
    const node = Selection.nodes(selection)[0];
    Object.defineProperty(this, HELD, { value: { selection, node } });
  }

  #kind() {
    const { selection, node } = this[HELD];
    return host.kind(Selection.page(selection), node);
  }

  #around(which) {
    const { selection, node } = this[HELD];
    const page = Selection.page(selection);
    const found = host.around(page, node)[which];
    return found < 0 ? undefined : elementOf(new Selection(page, [found], selection.url));
  }

  #document() {
    const { selection } = this[HELD];
    return new Selection(Selection.page(selection), [0], selection.url);
  }

  selection() {
    return this[HELD].selection;
  }

  getAttribute(name) {
    return this.selection().attr(name);
  }

  getAttributeNode(name) {
    const value = this.selection().attr(name);
    return value === undefined ? undefined : new Attribute(this, String(name), value);
  }

  hasAttribute(name) {
    return this.selection().attr(name) !== undefined;
  }

  hasAttributes() {
    return Object.keys(this.attributes()).length > 0;
  }

  attributes() {
    const { selection, node } = this[HELD];
    const flat = host.attrs(Selection.page(selection), node);
    const attributes = {};
    for (let at = 0; at < flat.length; at += 2)
      attributes[flat[at]] = new Attribute(this, flat[at], flat[at + 1]);
    return attributes;
  }

  toString() {
    return this.nodeType() === 1 ? '[object html.Node]' : `[object ${this.nodeName()}]`;
  }

  hasChildNodes() {
    return this.#around(FIRST) !== undefined;
  }

  textContent() {
    return this.selection().text();
  }

  id() {
    return this.selection().attr('id', '');
  }

  isEqualNode(other) {
    return other instanceof Element && this.innerHTML() === other.innerHTML();
  }

  isSameNode(other) {
    if (!(other instanceof Element)) return false;
    const [mine, theirs] = [this[HELD], other[HELD]];
    return mine.node === theirs.node && Selection.page(mine.selection) === Selection.page(theirs.selection);
  }

  getElementsByClassName(name) {
    return listed(this.selection().find(`.${name}`));
  }

  getElementsByTagName(name) {
    return listed(this.selection().find(String(name)));
  }

  querySelector(selector) {
    return first(this.selection().single(selector));
  }

  querySelectorAll(selector) {
    return listed(this.selection().find(String(selector)));
  }

  matches(selector) {
    return this.selection().is(String(selector));
  }

  contains(other) {
    if (!(other instanceof Element)) return false;
    return this.selection().find(other).size() > 0;
  }

  nodeName() {
    return this.#kind()[1];
  }

  nodeType() {
    return this.#kind()[0];
  }

  nodeValue() {
    const { selection, node } = this[HELD];
    return host.value(Selection.page(selection), node);
  }

  firstChild() {
    return this.#around(FIRST);
  }

  lastChild() {
    return this.#around(LAST);
  }

  previousSibling() {
    return this.#around(PREVIOUS);
  }

  nextSibling() {
    return this.#around(NEXT);
  }

  parentNode() {
    return this.#around(PARENT);
  }

  parentElement() {
    return first(this.selection().parent());
  }

  firstElementChild() {
    return first(this.selection().children().first());
  }

  lastElementChild() {
    return first(this.selection().children().last());
  }

  previousElementSibling() {
    return first(this.selection().prev());
  }

  nextElementSibling() {
    return first(this.selection().next());
  }

  childNodes() {
    return listed(this.selection().contents());
  }

  children() {
    return listed(this.selection().children());
  }

  childElementCount() {
    return this.selection().children().size();
  }

  classList() {
    const names = this.selection().attr('class');
    return names === undefined ? null : names.split(/\s+/).filter((name) => name !== '');
  }

  className() {
    return this.selection().attr('class');
  }

  lang() {
    return this.selection().attr('lang');
  }

  ownerDocument() {
    return elementOf(this.#document());
  }

  namespaceURI() {
    return namespace(this.#kind()[2]);
  }

  isDefaultNamespace() {
    return this.#kind()[2] === '';
  }

  innerHTML() {
    return this.selection().html();
  }
}

const made = new Map();

/** The Element of the selection's first node, of its tag's class. */
export function make(selection) {
  const node = Selection.nodes(selection)[0];
  const [type, name] = host.kind(Selection.page(selection), node);
  if (type !== 1) return new Element(selection);
  let kind = made.get(name);
  if (kind === undefined) {
    kind = classOf(name, Element) ?? Element;
    made.set(name, kind);
  }
  return new kind(selection);
}
