// The module `k6/http`. Requests go out in Rust (load::js::modules::http); what stands here turns
// arguments into one flat call and the flat answer into a Response.
import { host } from 'dchat:host';

let callback = [200, 399];

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
  callback = given === null || given === undefined ? null : given;
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
  const headers = [];
  let typed = false;
  if (params.headers) {
    for (const key of Object.keys(params.headers)) {
      headers.push(key, String(params.headers[key]));
      typed = typed || key.toLowerCase() === 'content-type';
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
      if (!typed) headers.push('Content-Type', made.type);
    } else payload = String(body);
  }
  const cookies = [];
  if (params.cookies) {
    for (const key of Object.keys(params.cookies)) {
      const one = params.cookies[key];
      if (one !== null && typeof one === 'object')
        cookies.push(key, String(one.value), one.replace ? '1' : '');
      else cookies.push(key, String(one), '');
    }
  }
  const expected = params.responseCallback === undefined ? callback : params.responseCallback;
  return [
    method,
    String(target),
    name ?? null,
    payload,
    headers,
    params.tags ?? null,
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

const STATUS = 0,
  REASON = 1,
  BODY = 2,
  HEADERS = 3,
  URL = 4,
  PROTO = 5,
  IP = 6,
  PORT = 7,
  TIMES = 8,
  TLS = 9,
  ERROR = 10,
  CODE = 11,
  COOKIES = 12;

// What a Response keeps for itself: symbols don't show in its keys.
const ANSWER = Symbol('answer');
const PARSED = Symbol('parsed');
const REQUEST = Symbol('request');

export class Response {
  constructor(answer, flat) {
    this.status = answer[STATUS];
    this.status_text = answer[REASON];
    this.body = answer[BODY];
    this.url = answer[URL];
    this.proto = answer[PROTO];
    this.remote_ip = answer[IP];
    this.remote_port = answer[PORT];
    const times = answer[TIMES];
    this.timings = {
      duration: times[0],
      blocked: times[1],
      looking_up: 0,
      connecting: times[2],
      tls_handshaking: times[3],
      sending: times[4],
      waiting: times[5],
      receiving: times[6],
    };
    this.tls_version = answer[TLS];
    this.error = answer[ERROR];
    this.error_code = answer[CODE];
    this[ANSWER] = answer;
    this[REQUEST] = flat;
  }

  get request() {
    const flat = this[REQUEST];
    const headers = {};
    for (let index = 0; index < flat[4].length; index += 2) headers[flat[4][index]] = [flat[4][index + 1]];
    return { method: flat[0], url: flat[1], headers, body: typeof flat[3] === 'string' ? flat[3] : '' };
  }

  get headers() {
    const headers = {};
    const list = this[ANSWER][HEADERS] === '' ? [] : this[ANSWER][HEADERS].split('\n');
    for (let index = 0; index < list.length; index += 2) headers[list[index]] = list[index + 1];
    Object.defineProperty(this, 'headers', { value: headers, writable: true, enumerable: true });
    return headers;
  }

  get cookies() {
    const cookies = {};
    for (const cookie of this[ANSWER][COOKIES] ?? []) (cookies[cookie.name] ??= []).push(cookie);
    Object.defineProperty(this, 'cookies', { value: cookies, writable: true, enumerable: true });
    return cookies;
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

  html() {
    throw new Error('html() is not part of this version');
  }

  toJSON() {
    const { headers, cookies } = this;
    return { ...this, headers, cookies };
  }
}

/** GJSON paths as far as scripts use them: keys, indexes, `#`, `#.key`, escaped dots. */
function select(value, path) {
  // Nearly every path is one key.
  if (!/[.#\\]/.test(path)) return value === null || value === undefined ? undefined : value[path];
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

function settle(answer, flat) {
  return new Response(answer, flat);
}

export function request(method, address, body, params) {
  const flat = flatten(String(method).toUpperCase(), address, body, params);
  return settle(host.request(flat), flat);
}
export const get = (address, params) => request('GET', address, null, params);
export const head = (address, params) => request('HEAD', address, null, params);
export const post = (address, body, params) => request('POST', address, body, params);
export const put = (address, body, params) => request('PUT', address, body, params);
export const patch = (address, body, params) => request('PATCH', address, body, params);
export const del = (address, body, params) => request('DELETE', address, body, params);
export const options = (address, body, params) => request('OPTIONS', address, body, params);

export function asyncRequest(method, address, body, params) {
  try {
    const flat = flatten(String(method).toUpperCase(), address, body, params);
    return host.pending((id) => host.requestAsync(id, flat)).then((answer) => settle(answer, flat));
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
    result[key] = settle(answers[index], flats[index]);
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
