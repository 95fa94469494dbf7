// The module `k6/http`. Requests go out in Rust (load::js::modules::http); what stands here turns
// arguments into one flat call and the flat answer into a Response. What few scripts use is in
// `dchat:http-more`, loaded at the first need.
import { host as shared } from 'dchat:host';

const host = shared.part('http');
const more = () => shared.load('dchat:http-more');

// Ranges of statuses that count as success; undefined: 200 to 399; null: nothing is counted.
let callback;

// Shared by all requests without headers; never changed.
const NONE = [];

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

/** One request as the flat list that Rust takes. */
function flatten(method, address, body, params) {
  let name = null;
  let target = address;
  if (typeof address !== 'string') {
    target = address?.__url ?? (address === null || address === undefined ? null : String(address));
    name = address?.__name ?? null;
  }
  let payload = null;
  let type = null;
  if (body !== null && body !== undefined) {
    payload = body;
    if (typeof body === 'object' && !(body instanceof ArrayBuffer)) {
      const made = more().payload(body);
      payload = made.body;
      type = made.type;
    }
  }
  if (params === null || params === undefined)
    return [method, target, name, payload, type === null ? NONE : ['Content-Type', type], null, null, null, null, callback, null];
  let headers = NONE;
  if (params.headers) {
    headers = [];
    for (const key of Object.keys(params.headers)) {
      headers.push(key, String(params.headers[key]));
      if (type !== null && key.toLowerCase() === 'content-type') type = null;
    }
  }
  if (type !== null) headers = ['Content-Type', type, ...headers];
  let tags = params.tags ?? null;
  if (tags !== null && tags.name !== undefined) {
    name = String(tags.name);
    // The name alone is the usual case, and then there is no set of tags to make.
    if (Object.keys(tags).length === 1) tags = null;
  }
  let expected = callback;
  if (params.responseCallback !== undefined)
    expected = params.responseCallback === null ? null : more().ranges(params.responseCallback, true);
  let extras = null;
  if (params.cookies || params.auth || params.compression || params.jar || params.throw !== undefined)
    extras = more().extras(params);
  return [
    method,
    target,
    name,
    payload,
    headers,
    tags,
    params.timeout ?? null,
    params.redirects ?? null,
    params.responseType ?? null,
    expected,
    extras,
  ];
}

// Places in the list that Rust gives back. What few scripts look at comes as lines of one text and
// is taken apart only then.
const STATUS = 0;
const BODY = 1;
const DURATION = 2;
const BLOCKED = 3;
const CONNECTING = 4;
const TLS_HANDSHAKING = 5;
const SENDING = 6;
const WAITING = 7;
const RECEIVING = 8;
const ERROR_CODE = 9;
const LINES = 10;

// Lines of the text; from HEADERS on names and values of headers alternate.
const URL = 1;
const ERROR = 8;
const HEADERS = 11;

// What a Response keeps for itself: symbols don't show in its keys.
const ANSWER = Symbol('answer');
const REQUEST = Symbol('request');
const PARSED = Symbol('parsed');

/** The lines of an answer, split at the first look. */
function lines(response) {
  const answer = response[ANSWER];
  if (typeof answer[LINES] === 'string') answer[LINES] = answer[LINES].split('\n');
  return answer[LINES];
}

/** Fixes a property that was made at the first look. */
function keep(response, name, value) {
  Object.defineProperty(response, name, { value, writable: true, enumerable: true, configurable: true });
  return value;
}

export class Response {
  constructor(answer, flat) {
    this.status = answer[STATUS];
    this.body = answer[BODY];
    this[ANSWER] = answer;
    this[REQUEST] = flat;
  }

  get timings() {
    const answer = this[ANSWER];
    return keep(this, 'timings', {
      duration: answer[DURATION],
      blocked: answer[BLOCKED],
      looking_up: 0,
      connecting: answer[CONNECTING],
      tls_handshaking: answer[TLS_HANDSHAKING],
      sending: answer[SENDING],
      waiting: answer[WAITING],
      receiving: answer[RECEIVING],
    });
  }

  get url() {
    return lines(this)[URL];
  }

  get error() {
    return lines(this)[ERROR];
  }

  get error_code() {
    return this[ANSWER][ERROR_CODE];
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
    if (known === undefined) {
      const value = typeof this.body === 'string' ? quick(this.body) : undefined;
      known = value === undefined ? more().parsed(this.body, path) : { value };
      // What is no JSON has no values under any path.
      if (known === undefined) return undefined;
      this[PARSED] = known;
    }
    const { value } = known;
    if (path === undefined) return value;
    // Nearly every path is one key.
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
      return keep(this, name, more().field(name, lines(this), this[REQUEST]));
    },
    configurable: true,
  });
}

function send(method, address, body, params) {
  const flat = flatten(method, address, body, params);
  return new Response(host.request(flat), flat);
}

export function request(method, address, body, params) {
  return send(String(method), address, body, params);
}
export const get = (address, params) => send('GET', address, null, params);
export const head = (address, params) => send('HEAD', address, null, params);
export const post = (address, body, params) => send('POST', address, body, params);
export const put = (address, body, params) => send('PUT', address, body, params);
export const patch = (address, body, params) => send('PATCH', address, body, params);
export const del = (address, body, params) => send('DELETE', address, body, params);
export const options = (address, body, params) => send('OPTIONS', address, body, params);

export function asyncRequest(method, address, body, params) {
  try {
    const flat = flatten(String(method), address, body, params);
    return shared.pending((id) => host.requestAsync(id, flat)).then((answer) => new Response(answer, flat));
  } catch (error) {
    return Promise.reject(error);
  }
}

export function batch(...given) {
  return more().batch(given, flatten, (answer, flat) => new Response(answer, flat));
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
