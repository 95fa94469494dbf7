// The module `k6/websockets`. Frames, metrics and limits are Rust's (load::js::modules::sockets);
// what stands here is the object that scripts see, after the WebSockets standard as k6 reads it.
import { host as shared } from 'dchat:host';

const host = shared.part('sockets');

const CONNECTING = 0;
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

// First places of the lists that Rust delivers.
const OPENED = 0;
const MESSAGE = 1;
const PING = 2;
const PONG = 3;

const TYPES = ['open', 'message', 'error', 'close', 'ping', 'pong'];

function flatten(url, protocols, params) {
  if (url === undefined || url === null) throw new Error('WebSocket requires a url');
  const wanted =
    protocols === undefined || protocols === null
      ? []
      : Array.isArray(protocols)
        ? protocols.map(String)
        : typeof protocols === 'string' || protocols instanceof String
          ? [String(protocols)]
          : [];
  const headers = [];
  let deflate = false;
  let jar = null;
  let roundTrip;
  for (const key of Object.keys(params ?? {})) {
    const value = params[key];
    if (key === 'headers') {
      for (const name of Object.keys(value ?? {})) headers.push(name, String(value[name]));
    } else if (key === 'jar') {
      jar = value?.__id ?? null;
    } else if (key === 'compression') {
      const algorithm = String(value).trim();
      if (algorithm !== 'deflate')
        throw new Error(`unsupported compression algorithm '${algorithm}', supported algorithm is 'deflate'`);
      deflate = true;
    } else if (key === 'roundTrip') {
      roundTrip = value;
    } else if (key !== 'tags') {
      throw new Error(`unknown WebSocket's option ${key}`);
    }
  }
  return [[String(url), headers, params?.tags ?? null, wanted, deflate, jar], roundTrip];
}

/** What pairs a message with its answer: the value of one key of its JSON, or what a function says. */
function keyOf(roundTrip, data) {
  try {
    const key = typeof roundTrip === 'function' ? roundTrip(data) : JSON.parse(data)[roundTrip];
    return key === undefined || key === null ? undefined : String(key);
  } catch (e) {
    return undefined;
  }
}

export class WebSocket {
  #id;
  #state = CONNECTING;
  #protocol = '';
  #extensions = [];
  #binaryType = 'blob';
  #closeCode = 0;
  #closeReason = '';
  #roundTrip;
  #on = {};
  #listeners = {};

  constructor(url, protocols, params) {
    const [flat, roundTrip] = flatten(url, protocols, params);
    Object.defineProperty(this, 'url', { value: flat[0], enumerable: true });
    this.#roundTrip = roundTrip;
    this.#id = shared.listen(
      (event) => this.#happened(event),
      (id) => host.open(id, flat),
    );
  }

  get readyState() {
    return this.#state;
  }
  get bufferedAmount() {
    return host.buffered(this.#id);
  }
  get extensions() {
    return this.#extensions;
  }
  get protocol() {
    return this.#protocol;
  }
  get binaryType() {
    return this.#binaryType;
  }
  set binaryType(type) {
    if (type !== 'blob' && type !== 'arraybuffer')
      throw new Error(`unknown binaryType ${type}, the supported ones are "blob" and "arraybuffer"`);
    this.#binaryType = type;
  }

  addEventListener(type, handler) {
    if (typeof handler !== 'function')
      throw new Error(`handler for event type "${type}" isn't a callable function`);
    if (!TYPES.includes(type)) {
      shared.log('warning', `can't add event handler: unknown event type: ${type}`);
      return;
    }
    (this.#listeners[type] ??= []).push(handler);
  }

  send(data) {
    this.#mustBeOpen();
    let payload = data;
    if (data instanceof Blob) payload = data.__bytes();
    else if (ArrayBuffer.isView(data))
      payload = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
    else if (typeof data !== 'string' && !(data instanceof ArrayBuffer))
      throw new Error(`unsupported send type ${data === null ? 'null' : typeof data}`);
    if (this.#roundTrip !== undefined && typeof payload === 'string') {
      const key = keyOf(this.#roundTrip, payload);
      if (key !== undefined) host.asked(this.#id, key);
    }
    host.send(this.#id, payload);
  }

  ping() {
    this.#mustBeOpen();
    host.ping(this.#id);
  }

  close(code, reason) {
    if (this.#state === CLOSED || this.#state === CLOSING) return;
    const number = Number(code ?? 0) || 0;
    if (number !== 0 && number !== 1000 && !(number >= 3000 && number <= 4999))
      throw new Error(
        "InvalidAccessError: Failed to execute 'close' on 'WebSocket': " +
          `The close code must be either 1000, or between 3000 and 4999. ${number} is neither`,
      );
    const text = reason === undefined ? '' : String(reason);
    if (encodeURIComponent(text).replace(/%../g, '.').length > 123)
      throw new Error(
        "SyntaxError: Failed to execute 'close' on 'WebSocket': The message must not be greater than 123 bytes",
      );
    this.#state = CLOSING;
    this.#closeCode = number || 1000;
    host.close(this.#id, number || 1000, text);
  }

  #mustBeOpen() {
    if (this.#state !== OPEN) throw new Error('InvalidStateError');
  }

  #happened(event) {
    switch (event[0]) {
      case OPENED: {
        // Closed by the script before it was open.
        if (this.#state !== CONNECTING) return;
        this.#state = OPEN;
        const headers = event[1].headers;
        this.#protocol = headers['Sec-Websocket-Protocol'] ?? '';
        if (headers['Sec-Websocket-Extensions'] !== undefined)
          this.#extensions = [headers['Sec-Websocket-Extensions']];
        this.#orEnd(() => this.#call(this.#event('open')));
        break;
      }
      case MESSAGE: {
        if (this.#state !== OPEN) return;
        let data = event[1];
        if (typeof data !== 'string' && this.#binaryType === 'blob') data = new Blob([data]);
        if (this.#roundTrip !== undefined && typeof data === 'string') {
          const key = keyOf(this.#roundTrip, data);
          if (key !== undefined) host.answered(this.#id, key);
        }
        this.#orEnd(() => this.#call(this.#event('message', { data, origin: this.url })));
        break;
      }
      case PING:
        this.#call(this.#event('ping'));
        break;
      case PONG:
        this.#call(this.#event('pong'));
        break;
      default:
        if (event[1] !== 0) {
          this.#closeCode = event[1];
          this.#closeReason = event[2];
        }
        this.#ended(event[1] === 1000 ? undefined : event[3]);
    }
  }

  #ended(error) {
    if (this.#state === CLOSED) return;
    this.#state = CLOSED;
    if (error !== undefined && error !== null) this.#call(this.#event('error', { error }));
    const close = this.#event('close', { reason: this.#closeReason });
    if (this.#closeCode !== 0) close.code = this.#closeCode;
    this.#call(close);
  }

  /** An exception of a handler ends the socket, and then the iteration. */
  #orEnd(work) {
    try {
      work();
    } catch (e) {
      host.close(this.#id, 1000, '');
      this.#ended(String(e));
      throw e;
    }
  }

  #event(type, more) {
    return { type, target: this, timestamp: Date.now(), ...more };
  }

  #call(event) {
    const on = this.#on[event.type];
    const listeners = this.#listeners[event.type];
    if (on) on(event);
    if (listeners) for (const listener of [...listeners]) listener(event);
  }

  #setOn(type, handler) {
    if (handler === undefined || handler === null) delete this.#on[type];
    else if (typeof handler !== 'function') throw new Error(`a value for 'on${type}' should be callable`);
    else this.#on[type] = handler;
  }

  static {
    for (const type of TYPES)
      Object.defineProperty(this.prototype, `on${type}`, {
        get() {
          return this.#on[type];
        },
        set(handler) {
          this.#setOn(type, handler);
        },
        enumerable: true,
      });
  }
}

function join(parts) {
  const chunks = parts.map((part) => {
    if (part instanceof Blob) return part.__bytes();
    if (part instanceof ArrayBuffer) return part;
    if (ArrayBuffer.isView(part)) return part.buffer.slice(part.byteOffset, part.byteOffset + part.byteLength);
    if (typeof part === 'string') return host.bytes(part);
    throw new Error(`failed to process [blobParts]: unsupported type: ${part === null ? 'null' : typeof part}`);
  });
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(new Uint8Array(chunk), at);
    at += chunk.byteLength;
  }
  return whole.buffer;
}

export class Blob {
  #bytes;
  #type = '';

  constructor(parts, options) {
    this.#bytes = join(parts === undefined || parts === null ? [] : [...parts]);
    if (options !== undefined) {
      if (options === null || typeof options !== 'object') throw new Error('[options] must be an object');
      if (options.type !== undefined) this.#type = String(options.type);
    }
    Object.defineProperty(this, '__bytes', { value: () => this.#bytes });
  }

  get size() {
    return this.#bytes.byteLength;
  }
  get type() {
    return this.#type;
  }
  async arrayBuffer() {
    return this.#bytes.slice(0);
  }
  async bytes() {
    return new Uint8Array(this.#bytes.slice(0));
  }
  async text() {
    return host.text(this.#bytes);
  }
  slice(from, to, type) {
    return new Blob([this.#bytes.slice(from ?? 0, to)], { type: type === undefined ? '' : String(type) });
  }
  stream() {
    const { ReadableStream } = shared.load('k6/experimental/streams');
    let chunk = new Uint8Array(this.#bytes.slice(0));
    return new ReadableStream({
      pull(controller) {
        if (chunk && chunk.length > 0) controller.enqueue(chunk);
        chunk = undefined;
        controller.close();
      },
    });
  }
  toString() {
    return '[object Blob]';
  }
}

export default { WebSocket, Blob };
