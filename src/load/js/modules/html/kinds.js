// What elements of one tag have beside what all have: attributes as methods, by the HTML standard,
// and the methods that need more than an attribute. Classes are made when asked for.
import { HELD, Selection, elementOf, valueOrHtml } from 'dchat:selection';
import { resolve, split } from 'dchat:uri';

// Values that an attribute may have; the first stands for everything else.
const ENUMS = {
  autocomplete: ['on', 'off'],
  referrer: ['', 'no-referrer', 'no-referrer-when-downgrade', 'origin', 'origin-when-cross-origin', 'unsafe-url'],
  preload: ['auto', 'metadata', 'none'],
  button: ['submit', 'button', 'menu', 'reset'],
  enctype: ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain'],
  input:
    'text button checkbox color date datetime-local email file hidden image month number password radio range reset search submit tel time url week'.split(
      ' ',
    ),
  key: ['RSA', 'DSA', 'EC'],
  li: ['', '1', 'a', 'A', 'i', 'I', 'disc', 'square', 'circle'],
  equiv: ['content-type', 'default-style', 'refresh'],
  ol: ['1', 'a', 'A', 'i', 'I'],
  scope: ['', 'row', 'col', 'colgroup', 'rowgroup'],
  capitals: ['sentences', 'none', 'off', 'characters', 'words'],
  wrap: ['soft', 'hard', 'off'],
  track: ['subtitles', 'captions', 'descriptions', 'chapters', 'metadata'],
  // Without a value for everything else.
  cross: [undefined, 'anonymous', 'use-credentials'],
};

// Methods that say an attribute: `method[=attribute][:kind]`. Kinds: none is text; `?` whether it
// is there; a number, with that as default; `url`; `'constant`; a name in ENUMS.
const ATTRIBUTES = {
  link:
    'download referrerPolicy:referrer rel href:url target type accessKey hrefLang toString=href:url',
  media:
    'autoplay:? controls:? loop:? muted:? preload:preload src:url crossOrigin:cross currentSrc=src defaultMuted=muted:? mediaGroup',
  mod: 'cite datetime',
  cell: 'colSpan:1 rowSpan:1 headers',
  base: 'target',
  button: 'accessKey autofocus:? disabled:? tabIndex:0 type:button',
  data: 'value',
  embed: 'height width src type',
  fieldset: 'disabled:? name',
  form:
    'action:url name target enctype:enctype encoding=enctype:enctype acceptCharset=accept-charset autocomplete:autocomplete noValidate:?',
  iframe: 'allowfullscreen:? referrerPolicy:referrer height width name src:url',
  img:
    'currentSrc=src:url sizes srcset alt crossOrigin:cross height:0 width:0 isMap:? name src:url useMap referrerPolicy:referrer',
  input:
    'name tabIndex:0 type:input disabled:? autofocus:? required:? value checked:? defaultChecked=checked:? alt src:url height width accept autocomplete:autocomplete maxLength:-1 size:0 pattern placeholder readonly:? min max defaultValue=value dirName accessKey multiple:? step',
  keygen: "autofocus:? challenge disabled:? keytype:key name type:'keygen",
  label: 'htmlFor=for',
  legend: 'accessKey',
  li: 'value:0 type:li',
  linkTag: 'crossOrigin:cross referrerPolicy:referrer href:url hreflang media rel target type',
  map: 'name',
  meta: 'content name httpEquiv=http-equiv:equiv',
  meter: 'min:0 max:0 high:0 low:0 optimum:0',
  object: 'data:url height name type tabIndex:0 typeMustMatch:? useMap width',
  ol: 'reversed:? start:0 type:ol',
  optgroup: 'disabled:? label',
  option: 'defaultSelected=selected:? selected:?',
  output: "htmlFor=for name type:'output",
  named: 'name value',
  quote: 'cite',
  script: 'crossOrigin type src:url charset async:? defer:? noModule:?',
  select: 'autofocus:? disabled:? multiple:? name required:? tabIndex:0',
  source: 'keySystem media sizes src:url srcset type',
  style: 'media',
  table: 'sortable:?',
  th: 'abbr scope:scope sorted:?',
  textarea:
    "type:'textarea value defaultValue=value placeholder rows:0 cols:0 maxLength:0 tabIndex:0 accessKey readOnly:? required:? autocomplete:autocomplete autocapitalize:capitals wrap:wrap",
  time: 'datetime',
  track: 'kind:track src:url srclang label default:?',
  ul: 'type',
};

const own = (element) => element[HELD].selection;
const attr = (element, name) => own(element).attr(name, '');
const listed = (selection) => selection.get();
const firstOf = (selection) => (selection.size() === 0 ? undefined : elementOf(selection.first()));
const root = (element) => new Selection(Selection.page(own(element)), [0], own(element).url);
const integer = (text, absent) => (/^[+-]?\d+$/.test(text ?? '') ? Number(text) : absent);
const words = (element, name) => (attr(element, name) === '' ? [] : attr(element, name).split(' '));

/** An address as the page means it; as it stands where the page has none of its own. */
function address(element, name) {
  const value = own(element).attr(name);
  const base = own(element).url;
  if (!base) return value ?? '';
  return value === undefined ? '' : resolve(base, value);
}

function formOf(element) {
  const around = own(element).closest('form');
  if (around.size() > 0) return around;
  const id = attr(element, 'form');
  return id === '' ? around : root(element).find(`#${id}`);
}

function labelsOf(element) {
  const around = own(element).closest('label');
  const id = attr(element, 'id');
  return listed(id === '' ? around : around.add(root(element).find(`label[for="${id}"]`)));
}

/** A button's own word on how the form is sent, or the form's. */
function sent(element, name) {
  return own(element).attr(`form${name}`) ?? formOf(element).attr(name);
}

const text = { text: (e) => e.textContent() };
const form = { form: (e) => firstOf(formOf(e)) };
const labels = { labels: labelsOf };

const FORM_FIELD = {
  ...form,
  ...labels,
  name: (e) => attr(e, 'name'),
  formAction(e) {
    const action = sent(e, 'action');
    const base = own(e).url;
    if (!base) return action ?? '';
    return action ? resolve(base, action) : base;
  },
  formEnctype(e) {
    const enctype = sent(e, 'enctype');
    return ENUMS.enctype.includes(enctype) ? enctype : ENUMS.enctype[0];
  },
  formMethod: (e) => (String(sent(e, 'method')).toLowerCase() === 'post' ? 'post' : 'get'),
  formNoValidate: (e) => sent(e, 'novalidate') !== undefined,
  formTarget: (e) => sent(e, 'target') ?? '',
};

const DEFAULT_PORTS = { http: '80', https: '443', ftp: '21' };

/** The parts of a link's address. */
function link(element) {
  const value = own(element).attr('href');
  const base = own(element).url;
  const parts = split(value === undefined ? '' : resolve(base ?? '', value));
  const [, user, password, hostname, port] = /^(?:([^:@]*)(?::([^@]*))?@)?(.*?)(?::(\d*))?$/s.exec(
    parts.authority ?? '',
  );
  return { ...parts, user, password, hostname, port: port ?? '' };
}

const withPort = ({ hostname, port }) => (port === '' ? hostname : `${hostname}:${port}`);

const LINK = {
  ...text,
  relList: (e) => words(e, 'rel'),
  hash: (e) => (link(e).fragment ? `#${link(e).fragment}` : ''),
  host(e) {
    const parts = link(e);
    return DEFAULT_PORTS[parts.scheme] === parts.port ? parts.hostname : withPort(parts);
  },
  hostname: (e) => link(e).hostname,
  port: (e) => link(e).port,
  username: (e) => decodeURIComponent(link(e).user ?? ''),
  password: (e) => decodeURIComponent(link(e).password ?? ''),
  origin(e) {
    const parts = link(e);
    if (parts.scheme === undefined) return '';
    return parts.scheme === 'file' ? e.href() : `${parts.scheme}://${withPort(parts)}`;
  },
  pathname: (e) => link(e).path,
  protocol: (e) => link(e).scheme ?? ':',
  search: (e) => (link(e).query ? `?${link(e).query}` : ''),
};

const MEDIA = { textTracks: (e) => listed(own(e).find('track')) };
const rows = (e) => listed(own(e).find('tr'));

/** Place of the element among `selector` within the nearest `holder`. */
function place(element, holder, selector, absent) {
  const around = own(element).parents(holder);
  return around.size() === 0 ? absent : around.find(selector).index(element);
}

const CELL = { cellIndex: (e) => place(e, 'tr', 'th,td', -1) };
const chosen = (e) => own(e).find('option[selected]');

function progress(element, absent) {
  const value = Number(own(element).attr('value') ?? NaN);
  return value >= 0 ? value / element.max() : absent;
}

// By tag: the names of its attributes' rows, and its own methods.
const TAGS = {
  a: ['link', LINK],
  area: ['link', LINK],
  audio: ['media', MEDIA],
  video: ['media', MEDIA],
  base: ['base', { href: (e) => (own(e).attr('href') === undefined ? own(e).url : address(e, 'href')) }],
  button: ['button', { ...FORM_FIELD, value: (e) => valueOrHtml(own(e)) }],
  canvas: [
    '',
    { width: (e) => integer(own(e).attr('width'), 150), height: (e) => integer(own(e).attr('height'), 150) },
  ],
  col: ['', { span: (e) => Math.max(1, integer(own(e).attr('span'), 1)) }],
  data: ['data', {}],
  datalist: ['', { options: (e) => listed(own(e).find('option')) }],
  del: ['mod', {}],
  ins: ['mod', {}],
  embed: ['embed', {}],
  fieldset: [
    'fieldset',
    {
      ...form,
      type: () => 'fieldset',
      elements: (e) => listed(own(e).find('input,select,button,textarea')),
      validity: () => undefined,
    },
  ],
  form: [
    'form',
    {
      elements: (e) => listed(own(e).find('input,select,button,textarea,fieldset')),
      length: (e) => own(e).find('input,select,button,textarea,fieldset').size(),
      method: (e) => (attr(e, 'method') === 'post' ? 'post' : 'get'),
    },
  ],
  iframe: ['iframe', {}],
  img: ['img', {}],
  input: [
    'input',
    {
      ...FORM_FIELD,
      list(e) {
        const id = attr(e, 'list');
        const without = ['hidden', 'checkbox', 'radio', 'file', 'button'].includes(attr(e, 'type'));
        return id === '' || without ? undefined : firstOf(root(e).find(`datalist[id="${id}"]`));
      },
    },
  ],
  keygen: ['keygen', { ...form, ...labels }],
  label: [
    'label',
    {
      ...form,
      control: (e) =>
        own(e).attr('for') === undefined ? undefined : firstOf(root(e).find(`#${attr(e, 'for')}`)),
    },
  ],
  legend: ['legend', form],
  li: ['li', {}],
  link: ['linkTag', { relList: (e) => words(e, 'rel') }],
  map: [
    'map',
    {
      areas: (e) => listed(own(e).find('area')),
      images(e) {
        const id = own(e).attr('id');
        if (id === undefined) return [];
        return listed(root(e).find(`img[usemap="#${id}"],object[usemap="#${id}"]`));
      },
    },
  ],
  meta: ['meta', {}],
  meter: ['meter', labels],
  object: ['object', form],
  ol: ['ol', {}],
  optgroup: ['optgroup', {}],
  option: [
    'option',
    {
      ...text,
      disabled: (e) =>
        own(e).attr('disabled') !== undefined || own(e).parents('optgroup').attr('disabled') !== undefined,
      form(e) {
        const around = own(e).parents('form');
        if (around.size() > 0) return firstOf(around);
        const id = own(e).parents('select').attr('form');
        return id === undefined ? undefined : firstOf(root(e).find(`form#${id}`));
      },
      index: (e) => place(e, 'select,datalist', 'option', 0),
      label: (e) => own(e).attr('label') ?? e.textContent(),
      value: (e) => valueOrHtml(own(e)),
    },
  ],
  output: [
    'output',
    { ...form, ...labels, value: (e) => e.textContent(), defaultValue: (e) => e.textContent() },
  ],
  param: ['named', {}],
  pre: ['named', {}],
  progress: [
    '',
    {
      ...labels,
      max(e) {
        const max = Number(own(e).attr('max') ?? NaN);
        return max >= 0 ? max : 1;
      },
      value: (e) => progress(e, 0),
      position: (e) => progress(e, -1),
    },
  ],
  quote: ['quote', {}],
  script: ['script', text],
  select: [
    'select',
    {
      ...form,
      ...labels,
      length: (e) => own(e).find('option').size(),
      options: (e) => listed(own(e).find('option')),
      selectedIndex: (e) =>
        chosen(e).size() === 0 ? -1 : own(e).find('option').index(chosen(e)),
      selectedOptions: (e) => listed(chosen(e)),
      size: (e) => (own(e).attr('multiple') === undefined ? 1 : 4),
      type: (e) => (own(e).attr('multiple') === undefined ? 'select' : 'select-multiple'),
      value: (e) => (chosen(e).size() === 0 ? '' : valueOrHtml(chosen(e))),
    },
  ],
  source: ['source', {}],
  style: ['style', { type: (e) => attr(e, 'type') || 'text/css' }],
  table: [
    'table',
    {
      rows,
      caption: (e) => firstOf(own(e).children('caption')),
      tHead: (e) => firstOf(own(e).children('thead')),
      tFoot: (e) => firstOf(own(e).children('tfoot')),
      tBodies: (e) => listed(own(e).find('tbody')),
    },
  ],
  thead: ['', { rows }],
  tbody: ['', { rows }],
  tfoot: ['', { rows }],
  tr: [
    '',
    {
      cells: (e) => listed(own(e).find('th,td')),
      rowIndex: (e) => place(e, 'table', 'tr', -1),
      sectionRowIndex: (e) => place(e, 'thead,tbody,tfoot', 'tr', -1),
    },
  ],
  td: ['cell', CELL],
  th: ['cell th', CELL],
  textarea: ['textarea', { ...form, ...labels, length: (e) => attr(e, 'value').length }],
  time: ['time', {}],
  title: ['', text],
  track: ['track', {}],
  ul: ['ul', {}],
};

/** A method that says an attribute. */
function reader(name, kind) {
  if (kind === undefined) return (e) => attr(e, name);
  if (kind === '?') return (e) => own(e).attr(name) !== undefined;
  if (kind === 'url') return (e) => address(e, name);
  if (kind.startsWith("'")) return () => kind.slice(1);
  if (kind in ENUMS) {
    const [other, ...known] = ENUMS[kind];
    return (e) => (known.includes(attr(e, name)) ? attr(e, name) : other);
  }
  return (e) => integer(own(e).attr(name), Number(kind));
}

/** The class of a tag's elements; undefined where they have nothing of their own. */
export function classOf(tag, Element) {
  if (!Object.hasOwn(TAGS, tag)) return undefined;
  const [lists, methods] = TAGS[tag];
  const kind = class extends Element {};
  const add = (name, method) =>
    Object.defineProperty(kind.prototype, name, {
      value() {
        return method(this);
      },
      writable: true,
      configurable: true,
    });
  for (const list of lists.split(' ').filter((name) => name !== ''))
    for (const one of ATTRIBUTES[list].split(' ')) {
      const [, method, attribute, type] = /^([^=:]+)(?:=([^:]+))?(?::(.+))?$/.exec(one);
      add(method, reader(attribute ?? method.toLowerCase(), type));
    }
  for (const name of Object.keys(methods)) add(name, methods[name]);
  return kind;
}
