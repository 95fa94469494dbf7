// The module `k6/http`. Requests go out in Rust (load::js::modules::http); what stands here turns
// arguments into one flat call and the flat answer into a Response.
import { host as shared } from 'dchat:host';

const host = shared.part('http');

// Ranges of statuses that count as success; undefined: 200 to 399; null: nothing is counted.
let callback;

// Shared by all requests without headers or cookies; never changed.
const NONE = [];

/** `http.url`…``: a URL whose name is the template. */
export function url(parts, ...values) {
  let text = parts[0];
  let name = parts[0];
  for (let index = 0; index < values.length; index += 1) {
    text += values[index] + parts[index + 1];
    name += '${}' + parts[index + 1];
  }
  return { __url: text, __name: name };
}

export function expectedStatuses(...given) {
  return given.flatMap((one) => {
    if (Number.isInteger(one)) return [one, one];
    if (one && Number.isInteger(one.min) && Number.isInteger(one.max)) return [one.min, one.max];
    throw new TypeError('expectedStatuses() takes numbers and {min, max}');
  });
}

export function setResponseCallback(given) {
  callback = given ?? null;
}

function encodeForm(form) {
  const pair = (key, value) =>
    `${encodeURIComponent(key)}=${encodeURIComponent(value === null || value === undefined ? '' : value)}`.replace(
      /%20/g,
      '+',
    );
  return Object.keys(form)
    .sort()
    .map((key) =>
      Array.isArray(form[key]) ? form[key].map((value) => pair(key, value)).join('&') : pair(key, form[key]),
    )
    .join('&');
}

function multipart(form) {
  const boundary = `----dchat${Math.random().toString(16).slice(2)}${Math.random().toString(16).slice(2)}`;
  const parts = [];
  for (const key of Object.keys(form)) {
    const value = form[key];
    const file = value instanceof FileData;
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="${key}"${file ? `; filename="${value.filename}"\r\nContent-Type: ${value.content_type}` : ''}\r\n\r\n`;
    parts.push(head, file ? value.data : String(value ?? ''), '\r\n');
  }
  parts.push(`--${boundary}--\r\n`);
  return { body: host.join(parts), type: `multipart/form-data; boundary=${boundary}` };
}

class FileData {
  constructor(data, filename, type) {
    this.data = data;
    this.filename = filename ?? String(Date.now());
    this.content_type = type ?? 'application/octet-stream';
  }
}
export const file = (data, filename, type) => new FileData(data, filename, type);

/** One request as the flat list that Rust takes. */
function flatten(method, address, body, params) {
  params = params ?? {};
  let name;
  let target = address;
  if (address !== null && typeof address === 'object') {
    name = address.__name;
    target = address.__url ?? address;
  }
  let headers = NONE;
  if (params.headers) {
    headers = [];
    for (const key of Object.keys(params.headers)) {
      headers.push(key, String(params.headers[key]));
    }
  }
  let payload = null;
  if (body !== null && body !== undefined) {
    if (typeof body === 'string' || body instanceof ArrayBuffer) payload = body;
    else if (ArrayBuffer.isView(body))
      payload = body.buffer.slice(body.byteOffset, body.byteOffset + body.byteLength);
    else if (typeof body === 'object') {
      const parts = Object.values(body).some((value) => value instanceof FileData);
      const made = parts
        ? multipart(body)
        : { body: encodeForm(body), type: 'application/x-www-form-urlencoded' };
      payload = made.body;
      const typed = headers.some((name, index) => index % 2 === 0 && name.toLowerCase() === 'content-type');
      if (!typed) headers = [...headers, 'Content-Type', made.type];
    } else payload = String(body);
  }
  let cookies = NONE;
  if (params.cookies) {
    cookies = [];
    for (const key of Object.keys(params.cookies)) {
      const one = params.cookies[key];
      if (one !== null && typeof one === 'object')
        cookies.push(key, String(one.value), one.replace ? '1' : '');
      else cookies.push(key, String(one), '');
    }
  }
  let tags = params.tags ?? null;
  if (tags !== null && tags.name !== undefined) {
    name = String(tags.name);
    // The name alone is the usual case, and then there is no set of tags to make.
    if (Object.keys(tags).length === 1) tags = null;
  }
  const expected = params.responseCallback === undefined ? callback : params.responseCallback;
  return [
    method,
    String(target),
    name ?? null,
    payload,
    headers,
    tags,
    params.timeout ?? null,
    params.redirects ?? null,
    params.responseType ?? null,
    expected,
    cookies,
    params.auth ?? null,
    params.throw ?? null,
    params.jar ? params.jar.__id : 0,
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
const COOKIES = 11;

// Lines of the text; from HEADERS on names and values of headers alternate.
const REASON = 0;
const URL = 1;
const PROTO = 2;
const REMOTE_IP = 3;
const REMOTE_PORT = 4;
const TLS_VERSION = 5;
const ERROR = 6;
const HEADERS = 7;

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

  get status_text() {
    return lines(this)[REASON];
  }

  get url() {
    return lines(this)[URL];
  }

  get proto() {
    return lines(this)[PROTO];
  }

  get remote_ip() {
    return lines(this)[REMOTE_IP];
  }

  get remote_port() {
    return Number(lines(this)[REMOTE_PORT]);
  }

  get tls_version() {
    return lines(this)[TLS_VERSION];
  }

  get error() {
    return lines(this)[ERROR];
  }

  get error_code() {
    return this[ANSWER][ERROR_CODE];
  }

  get request() {
    const flat = this[REQUEST];
    const headers = {};
    for (let index = 0; index < flat[4].length; index += 2) headers[flat[4][index]] = [flat[4][index + 1]];
    return { method: flat[0], url: flat[1], headers, body: typeof flat[3] === 'string' ? flat[3] : '' };
  }

  get headers() {
    const list = lines(this);
    const headers = {};
    for (let index = HEADERS; index + 1 < list.length; index += 2) headers[list[index]] = list[index + 1];
    return keep(this, 'headers', headers);
  }

  get cookies() {
    const cookies = {};
    for (const cookie of this[ANSWER][COOKIES] ?? []) (cookies[cookie.name] ??= []).push(cookie);
    return keep(this, 'cookies', cookies);
  }

  json(path) {
    if (this[PARSED] === undefined) {
      if (this.body === null)
        throw new Error(
          "the body is null so we can't transform it to JSON - this likely was because of a request error getting the response",
        );
      const text = typeof this.body === 'string' ? this.body : host.text(this.body);
      this[PARSED] = { value: JSON.parse(text) };
    }
    return path === undefined ? this[PARSED].value : select(this[PARSED].value, String(path));
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
    const { status, status_text, url, proto, remote_ip, remote_port, timings, tls_version } = this;
    const { body, headers, cookies, error, error_code } = this;
    return {
      status,
      status_text,
      url,
      proto,
      remote_ip,
      remote_port,
      headers,
      cookies,
      body,
      timings,
      tls_version,
      error,
      error_code,
    };
  }
}

/** GJSON paths as far as scripts use them: keys, indexes, `#`, `#.key`, escaped dots. */
function select(value, path) {
  // Nearly every path is one key.
  if (value === null || typeof value !== 'object') return undefined;
  if (path in value) return value[path];
  const keys = path.split(/(?<!\\)\./).map((key) => key.replace(/\\\./g, '.'));
  for (let index = 0; index < keys.length; index += 1) {
    if (value === null || value === undefined) return undefined;
    if (keys[index] === '#' && Array.isArray(value)) {
      if (index === keys.length - 1) return value.length;
      const rest = keys
        .slice(index + 1)
        .map((key) => key.replace(/\./g, '\\.'))
        .join('.');
      return value.map((item) => select(item, rest)).filter((item) => item !== undefined);
    }
    value = value[keys[index]];
  }
  return value;
}

function send(method, address, body, params) {
  const flat = flatten(method, address, body, params);
  return new Response(host.request(flat), flat);
}

export function request(method, address, body, params) {
  return send(String(method).toUpperCase(), address, body, params);
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
    const flat = flatten(String(method).toUpperCase(), address, body, params);
    return shared.pending((id) => host.requestAsync(id, flat)).then((answer) => new Response(answer, flat));
  } catch (error) {
    return Promise.reject(error);
  }
}

export function batch(requests) {
  if (requests === null || typeof requests !== 'object')
    throw new TypeError('batch() needs an array or an object');
  const keys = Object.keys(requests);
  const flats = keys.map((key) => {
    const one = requests[key];
    if (typeof one === 'string' || (one && one.__url)) return flatten('GET', one, null, null);
    if (Array.isArray(one)) return flatten(String(one[0]).toUpperCase(), one[1], one[2], one[3]);
    return flatten(String(one.method ?? 'GET').toUpperCase(), one.url, one.body, one.params);
  });
  const answers = host.requestBatch(flats);
  const result = Array.isArray(requests) ? [] : {};
  keys.forEach((key, index) => {
    result[key] = new Response(answers[index], flats[index]);
  });
  return result;
}

export class CookieJar {
  constructor(id) {
    Object.defineProperty(this, '__id', { value: id ?? host.newJar() });
  }

  cookiesForURL(address) {
    const cookies = {};
    for (const [name, value] of host.jarCookies(this.__id, String(address)))
      (cookies[name] ??= []).push(value);
    return cookies;
  }

  set(address, name, value, settings) {
    let cookie = `${name}=${value}`;
    for (const [key, attribute] of [
      ['domain', 'Domain'],
      ['path', 'Path'],
      ['expires', 'Expires'],
      ['max_age', 'Max-Age'],
    ]) {
      if (settings?.[key] !== undefined) cookie += `; ${attribute}=${settings[key]}`;
    }
    if (settings?.secure) cookie += '; Secure';
    if (settings?.http_only) cookie += '; HttpOnly';
    return host.jarSet(this.__id, String(address), cookie);
  }

  clear(address) {
    host.jarDelete(this.__id, String(address), undefined);
  }

  delete(address, name) {
    host.jarDelete(this.__id, String(address), String(name));
  }
}
export const cookieJar = () => new CookieJar(0);

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
};
