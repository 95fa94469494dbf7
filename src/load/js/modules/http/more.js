// What few scripts use of `k6/http`: bodies made from objects, cookie jars, batches, fields of a
// Response beyond status, body, headers and timings. Evaluated at the first need.
import { host as shared } from 'dchat:host';

const host = shared.part('http-more');
const requests = shared.part('http');

export const CONSTANTS = Object.freeze({
  TLS_1_0: 'tls1.0',
  TLS_1_1: 'tls1.1',
  TLS_1_2: 'tls1.2',
  TLS_1_3: 'tls1.3',
  OCSP_STATUS_GOOD: 'good',
  OCSP_STATUS_REVOKED: 'revoked',
  OCSP_STATUS_SERVER_FAILED: 'server_failed',
  OCSP_STATUS_UNKNOWN: 'unknown',
  OCSP_REASON_UNSPECIFIED: 'unspecified',
  OCSP_REASON_KEY_COMPROMISE: 'key_compromise',
  OCSP_REASON_CA_COMPROMISE: 'ca_compromise',
  OCSP_REASON_AFFILIATION_CHANGED: 'affiliation_changed',
  OCSP_REASON_SUPERSEDED: 'superseded',
  OCSP_REASON_CESSATION_OF_OPERATION: 'cessation_of_operation',
  OCSP_REASON_CERTIFICATE_HOLD: 'certificate_hold',
  OCSP_REASON_REMOVE_FROM_CRL: 'remove_from_crl',
  OCSP_REASON_PRIVILEGE_WITHDRAWN: 'privilege_withdrawn',
  OCSP_REASON_AA_COMPROMISE: 'aa_compromise',
});

export function url(parts, values) {
  let text = parts[0];
  let name = parts[0];
  for (let index = 0; index < values.length; index += 1) {
    text += values[index] + parts[index + 1];
    name += '${}' + parts[index + 1];
  }
  return { __url: text, __name: name };
}

// --- which statuses are expected ---

class Expected {
  constructor(ranges) {
    // Not to be changed by scripts.
    Object.defineProperty(this, 'ranges', { value: ranges });
  }
}

export function expectedStatuses(given) {
  if (given.length === 0) throw new Error('no arguments');
  const ranges = given.flatMap((one, index) => {
    if (Number.isInteger(one)) return [one, one];
    const place = `argument number ${index + 1}`;
    if (one === null || typeof one !== 'object' || one.min === undefined || one.max === undefined)
      throw new Error(
        `${place} to expectedStatuses was neither an integer nor an object like {min:100, max:329}`,
      );
    if (!Number.isInteger(one.min) || !Number.isInteger(one.max))
      throw new Error(`both min and max need to be integers for ${place}`);
    return [one.min, one.max];
  });
  return new Expected(ranges);
}

/** The ranges of what `expectedStatuses` gave; of a request's wrong callback nothing is thrown. */
export function ranges(given, ofRequest) {
  if (given instanceof Expected) return given.ranges;
  if (ofRequest) return false;
  throw new Error('unsupported argument, expected http.expectedStatuses');
}

// --- bodies ---

class FileData {
  constructor(data, filename, type) {
    this.data = data;
    this.filename = filename;
    this.content_type = type;
  }
}

export function file(data, filename, type) {
  if (typeof data !== 'string' && !(data instanceof ArrayBuffer))
    throw new Error(`invalid type ${host.goType(data)}, expected string or ArrayBuffer`);
  const name = filename === undefined ? `${Date.now()}000000` : String(filename);
  return new FileData(data, name, type === undefined ? 'application/octet-stream' : String(type));
}

/** What is sent for an object, and its content type if it has one of its own. */
export function payload(body) {
  if (ArrayBuffer.isView(body)) {
    const whole = body.byteLength === body.buffer.byteLength;
    const part = () => body.buffer.slice(body.byteOffset, body.byteOffset + body.byteLength);
    return { body: whole ? body.buffer : part(), type: null };
  }
  // Lists, dates and the like are for Rust to refuse.
  if (Array.isArray(body) || body instanceof FileData) return { body, type: null };
  for (const key of Object.keys(body)) if (body[key] instanceof FileData) return multipart(body);
  return { body: form(body), type: 'application/x-www-form-urlencoded' };
}

function formValue(value) {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'object') return String(value);
  host.warnNested(value);
  return '';
}

const escape = (text) =>
  encodeURIComponent(text)
    .replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/%20/g, '+');

function form(values) {
  const pairs = [];
  for (const key of Object.keys(values).sort()) {
    const value = values[key];
    for (const one of Array.isArray(value) ? value : [value])
      pairs.push(`${escape(key)}=${escape(formValue(one))}`);
  }
  return pairs.join('&');
}

const quoted = (text) => text.replace(/\\/g, '\\\\').replace(/"/g, '\\"');
const inHeader = (text) => quoted(text).replace(/\r/g, '%0D').replace(/\n/g, '%0A');

function multipart(values) {
  const random = () => Math.random().toString(16).slice(2).padEnd(12, '0');
  const boundary = random() + random() + random();
  const parts = [];
  for (const key of Object.keys(values)) {
    const value = values[key];
    parts.push(`--${boundary}\r\nContent-Disposition: form-data; name="${inHeader(key)}"`);
    if (value instanceof FileData)
      parts.push(
        `; filename="${inHeader(value.filename)}"\r\nContent-Type: ${value.content_type}\r\n\r\n`,
        value.data,
      );
    else parts.push('\r\n\r\n', formValue(value));
    parts.push('\r\n');
  }
  parts.push(`--${boundary}--\r\n`);
  return { body: host.join(parts), type: `multipart/form-data; boundary=${boundary}` };
}

// --- parameters of a request ---

/** What is unusual about a request, in the order that Rust takes it. */
export function rest(name, type, callback, params) {
  let expected = callback;
  if (params.responseCallback !== undefined)
    expected = params.responseCallback === null ? null : ranges(params.responseCallback, true);
  const { timeout = null, redirects = null, responseType = null } = params;
  const unusual =
    params.cookies || params.auth || params.compression || params.jar || params.throw !== undefined;
  return [name, type, expected, timeout, redirects, responseType, unusual ? extras(params) : null];
}

function extras(params) {
  let cookies = null;
  if (params.cookies) {
    cookies = [];
    for (const key of Object.keys(params.cookies)) {
      const one = params.cookies[key];
      if (one === null || one === undefined) continue;
      if (typeof one === 'object') cookies.push(key, String(one.value ?? ''), one.replace ? '1' : '');
      else cookies.push(key, String(one), '');
    }
  }
  return {
    cookies,
    auth: params.auth === undefined ? null : String(params.auth),
    compression: params.compression === undefined ? null : String(params.compression).trim(),
    jar: params.jar instanceof Jar ? params.jar.__id : null,
    throw: params.throw === undefined ? null : Boolean(params.throw),
  };
}

export function batch(given, ask) {
  if (given.length === 0) throw new Error('no argument was provided to http.batch()');
  if (given.length > 1) throw new Error('http.batch() accepts only an array or an object of requests');
  const [list] = given;
  if (list === null || typeof list !== 'object')
    throw new Error(`invalid http.batch() argument type ${host.goType(list)}`);
  const keys = Object.keys(list);
  const asked = keys.map((key) => {
    const one = list[key];
    if (typeof one === 'string' || one?.__url !== undefined) return ask('GET', one, null, null);
    if (Array.isArray(one)) {
      if (one.length < 2) return `invalid batch request '${JSON.stringify(one)}'`;
      if (typeof one[0] !== 'string') return `invalid method type '${String(one[0])}'`;
      return ask(one[0], one[1], one[2], one[3]);
    }
    if (one === null || typeof one !== 'object') return ask('GET', one, null, null);
    if (one.url === undefined) return `batch request ${key} doesn't have a url key`;
    if (one.method !== undefined && typeof one.method !== 'string')
      return `invalid method type '${String(one.method)}'`;
    const method = (one.method ?? 'GET').toUpperCase();
    const body = method === 'GET' || method === 'HEAD' ? null : one.body;
    return ask(method, one.url, body, one.params);
  });
  const answers = requests.requestBatch(asked);
  const result = Array.isArray(list) ? [] : {};
  keys.forEach((key, index) => {
    result[key] = answers[index];
  });
  return result;
}

// --- fields of a Response ---

// Lines of an answer, as in http.js.
const REASON = 0;
const URL = 1;
const PROTO = 2;
const REMOTE_IP = 3;
const REMOTE_PORT = 4;
const TLS_VERSION = 5;
const TLS_CIPHER_SUITE = 6;
const OCSP = 7;
const SENT_COOKIES = 9;
const SENT_URL = 10;
const HEADERS = 11;

const FIELDS = {
  status_text: (lines) => lines[REASON],
  proto: (lines) => lines[PROTO],
  remote_ip: (lines) => lines[REMOTE_IP],
  remote_port: (lines) => Number(lines[REMOTE_PORT]),
  tls_version: (lines) => lines[TLS_VERSION],
  tls_cipher_suite: (lines) => lines[TLS_CIPHER_SUITE],

  ocsp(lines) {
    const [status, produced, now, next, revoked, revocation_reason] = lines[OCSP].split(' ');
    return {
      produced_at: Number(produced ?? 0),
      this_update: Number(now ?? 0),
      next_update: Number(next ?? 0),
      revoked_at: Number(revoked ?? 0),
      revocation_reason: revocation_reason ?? '',
      status: status ?? '',
    };
  },

  cookies(lines) {
    const cookies = {};
    for (let index = HEADERS; index + 1 < lines.length; index += 2) {
      const cookie = lines[index] === 'Set-Cookie' ? host.parseCookie(lines[index + 1]) : undefined;
      if (cookie !== undefined) (cookies[cookie.name] ??= []).push(cookie);
    }
    return cookies;
  },

  request(lines, response) {
    const [method, body, given, compression] = requests.sent(response);
    const headers = host.sentHeaders(given, lines[SENT_COOKIES], compression);
    const cookies = {};
    for (const pair of lines[SENT_COOKIES] === '' ? [] : lines[SENT_COOKIES].split('; ')) {
      const end = pair.indexOf('=');
      const name = pair.slice(0, end);
      (cookies[name] ??= []).push({ name, value: pair.slice(end + 1), replace: false });
    }
    return { method, url: lines[SENT_URL] || lines[URL], headers, body, cookies };
  },
};

export const field = (name, lines, response) => FIELDS[name](lines, response);

export function plain(response) {
  const { remote_ip, remote_port, url, status, status_text, proto, headers, cookies, body } = response;
  const { timings, tls_version, tls_cipher_suite, ocsp, error, error_code, request } = response;
  return {
    remote_ip,
    remote_port,
    url,
    status,
    status_text,
    proto,
    headers,
    cookies,
    body,
    timings,
    tls_version,
    tls_cipher_suite,
    ocsp,
    error,
    error_code,
    request,
  };
}

/** A body's value for `json`: of a broken one nothing where a path is asked for, else an error. */
export function parsed(body, path) {
  if (body === null || body === undefined)
    throw new Error(
      "the body is null so we can't transform it to JSON - this likely was because of a request error getting the response",
    );
  const text = typeof body === 'string' ? body : host.text(body);
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    if (path !== undefined) return undefined;
    throw new Error(host.jsonError(text) ?? error.message);
  }
}

export function select(value, path) {
  if (/^[\w$-]+(\.[\w$-]+)*$/.test(path)) return walk(value, path);
  return shared.load('dchat:gjson').select(value, path);
}

/** Keys and indexes only. */
function walk(value, path) {
  let at = value;
  for (const key of path.split('.')) {
    if (at === null || typeof at !== 'object') return undefined;
    const known = Array.isArray(at) ? /^\d+$/.test(key) && Number(key) < at.length : Object.hasOwn(at, key);
    if (!known) return undefined;
    at = at[key];
  }
  return at;
}

// --- cookie jars ---

class Jar {
  constructor(kept) {
    // What Rust keeps the cookies in; null is the VU's own.
    Object.defineProperty(this, '__id', { value: kept });
  }

  cookiesForURL(address) {
    const cookies = {};
    for (const [name, value] of host.jarCookies(this.__id, String(address)))
      (cookies[name] ??= []).push(value);
    return cookies;
  }

  set(address, name, value, settings) {
    const given = {};
    for (const key of Object.keys(settings ?? {})) given[key.toLowerCase()] = settings[key];
    return host.jarSet(this.__id, String(address), String(name), String(value), given);
  }

  clear(address) {
    host.jarDelete(this.__id, String(address), null);
  }

  delete(address, name) {
    if (name === undefined || name === null || name === '') throw new Error('cookie: is null');
    host.jarDelete(this.__id, String(address), String(name));
  }
}
Object.defineProperty(Jar, 'name', { value: 'CookieJar' });

export function own() {
  host.mustRun('Making cookie jars');
  return new Jar(null);
}

export const create = () => new Jar(host.newJar());
