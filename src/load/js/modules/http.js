// The module `k6/http`. Requests go out in Rust (load::js::modules::http); what stands here turns
// arguments into one call, and gives the Response that comes back its methods. What few scripts use is in
// `dchat:http-more`, loaded at the first need.
import { host as shared } from 'dchat:host';

const host = shared.part('http');
const more = () => shared.load('dchat:http-more');

// Ranges of statuses that count as success; undefined: 200 to 399; null: nothing is counted.
let callback;

/** `http.url`…``: a URL whose name is the template. */
export function url(parts, ...values) {
  return more().url(parts, values);
}

export function expectedStatuses(...given) {
  return more().expectedStatuses(given);
}

export function setResponseCallback(given) {
  callback = given === undefined || given === null ? null : more().ranges(given);
}

export function file(data, filename, type) {
  return more().file(data, filename, type);
}

// Place in the list of what is unusual.
const RESPONSE_TYPE = 5;

/** Gives `use` one request as Rust takes it: what is unusual is in one list at the end. */
function ask(use, method, address, body, params) {
  let name = null;
  let target = address;
  if (typeof address !== 'string') {
    target = address?.__url ?? (address === null || address === undefined ? null : String(address));
    name = address?.__name ?? null;
  }
  let payload = body;
  let type = null;
  if (typeof body === 'object' && body !== null && !(body instanceof ArrayBuffer)) {
    const made = more().payload(body);
    payload = made.body;
    type = made.type;
  }
  const plain = name === null && type === null && callback === undefined;
  if (params === null || params === undefined) {
    const rest = plain ? undefined : [name, type, callback, null, null, null, null];
    return use(method, target, payload, undefined, undefined, rest);
  }
  if (
    plain &&
    params.timeout === undefined &&
    params.redirects === undefined &&
    params.responseType === undefined &&
    params.responseCallback === undefined &&
    !params.cookies &&
    !params.auth &&
    !params.compression &&
    !params.jar &&
    params.throw === undefined
  )
    return use(method, target, payload, params.headers, params.tags, undefined);
  const rest = more().rest(name, type, callback, params);
  // An extension of ours; in the background and in batches it is no type, as in k6.
  if (params.responseType === 'stream' && use === now) {
    rest[RESPONSE_TYPE] = null;
    return shared.load('dchat:http-stream').open(method, target, payload, params.headers, params.tags, rest);
  }
  return use(method, target, payload, params.headers, params.tags, rest);
}

const now = host.request;
const list = (...parts) => parts;

// What a Response keeps for itself: symbols don't show in its keys.
const LINES = Symbol('lines');
const PARSED = Symbol('parsed');

// What few scripts look at comes from Rust as lines of one text; from HEADERS on names and values
// of headers alternate.
const URL = 1;
const ERROR = 8;
const HEADERS = 11;

function lines(response) {
  return (response[LINES] ??= host.lines(response).split('\n'));
}

/** Fixes a property that was made at the first look. */
function keep(response, name, value) {
  Object.defineProperty(response, name, { value, writable: true, enumerable: true, configurable: true });
  return value;
}

const timings = (duration, blocked, connecting, tls_handshaking, sending, waiting, receiving) => ({
  duration,
  blocked,
  looking_up: 0,
  connecting,
  tls_handshaking,
  sending,
  waiting,
  receiving,
});

// Rust makes them, with `status` and `body`; the rest is found at the first look.
export class Response {
  get timings() {
    return host.timings(this, timings);
  }

  get url() {
    return keep(this, 'url', lines(this)[URL]);
  }

  get error() {
    return keep(this, 'error', lines(this)[ERROR]);
  }

  get error_code() {
    return keep(this, 'error_code', host.errorCode(this));
  }

  get headers() {
    const list = lines(this);
    const headers = {};
    for (let index = HEADERS; index + 1 < list.length; index += 2) {
      const name = list[index];
      headers[name] = name in headers ? `${headers[name]}, ${list[index + 1]}` : list[index + 1];
    }
    return keep(this, 'headers', headers);
  }

  json(path) {
    let known = this[PARSED];
    // Nearly every path is one key, and then there is no need for all the others.
    if (known === undefined && path !== undefined && typeof this.body === 'string') {
      const value = host.pick(this.body, String(path));
      if (value !== undefined) return value;
    }
    if (known === undefined) {
      const value = typeof this.body === 'string' ? quick(this.body) : undefined;
      known = value === undefined ? more().parsed(this.body, path) : { value };
      // What is no JSON has no values under any path.
      if (known === undefined) return undefined;
      this[PARSED] = known;
    }
    const { value } = known;
    if (path === undefined) return value;
    if (value !== null && typeof value === 'object' && !Array.isArray(value) && Object.hasOwn(value, path))
      return value[path];
    return more().select(value, String(path));
  }

  html(selector) {
    return shared.load('dchat:page').html(this, selector);
  }

  submitForm(given) {
    return shared.load('dchat:page').submitForm(this, given, request);
  }

  clickLink(given) {
    return shared.load('dchat:page').clickLink(this, given, request);
  }

  toJSON() {
    return more().plain(this);
  }
}

/** The value of a valid text; undefined lets `more` say what is wrong with it. */
function quick(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// Fields that few scripts look at.
for (const name of [
  'status_text',
  'proto',
  'remote_ip',
  'remote_port',
  'tls_version',
  'tls_cipher_suite',
  'ocsp',
  'cookies',
  'request',
]) {
  Object.defineProperty(Response.prototype, name, {
    get() {
      return keep(this, name, more().field(name, lines(this), this));
    },
    configurable: true,
  });
}

// A Response of Rust's has a prototype of Rust's.
Object.setPrototypeOf(host.prototype(), Response.prototype);

export function request(method, address, body, params) {
  return ask(now, String(method), address, body, params);
}
export const get = (address, params) => ask(now, 'GET', address, null, params);
export const head = (address, params) => ask(now, 'HEAD', address, null, params);
export const post = (address, body, params) => ask(now, 'POST', address, body, params);
export const put = (address, body, params) => ask(now, 'PUT', address, body, params);
export const patch = (address, body, params) => ask(now, 'PATCH', address, body, params);
export const del = (address, body, params) => ask(now, 'DELETE', address, body, params);
export const options = (address, body, params) => ask(now, 'OPTIONS', address, body, params);

export function asyncRequest(method, address, body, params) {
  try {
    const asked = ask(list, String(method), address, body, params);
    return shared.pending((id) => host.requestAsync(id, asked));
  } catch (error) {
    return Promise.reject(error);
  }
}

export function batch(...given) {
  return more().batch(given, (method, address, body, params) => ask(list, method, address, body, params));
}

/** The jar of this VU. */
export function cookieJar() {
  return more().own();
}

export function CookieJar() {
  return more().create();
}

export default {
  url,
  expectedStatuses,
  setResponseCallback,
  file,
  request,
  get,
  head,
  post,
  put,
  patch,
  del,
  options,
  asyncRequest,
  batch,
  CookieJar,
  cookieJar,
  Response,
  // Constants (`http.OCSP_STATUS_GOOD`) are found at the first look.
  __proto__: new Proxy({}, { get: (_, name) => more().CONSTANTS[name] }),
};
