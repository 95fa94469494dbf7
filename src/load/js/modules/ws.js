// The module `k6/ws`: `connect` blocks until its socket is closed and calls the handlers meanwhile.
import { host as shared } from 'dchat:host';

const host = shared.part('sockets');

// First places of the lists that Rust gives.
const OPENED = 0;
const MESSAGE = 1;
const PING = 2;
const PONG = 3;

const GOING_AWAY = 1001;

/** Errors of sockets have a method `error()`, as Go's have. */
class SocketError extends Error {
  error() {
    return this.message;
  }
}

function flatten(url, params) {
  const headers = [];
  let deflate = false;
  let jar = null;
  for (const key of Object.keys(params ?? {})) {
    const value = params[key];
    if (key === 'headers') {
      for (const name of Object.keys(value ?? {})) headers.push(name, String(value[name]));
    } else if (key === 'jar') {
      jar = value?.__id ?? null;
    } else if (key === 'compression') {
      const algorithm = String(value).trim();
      if (algorithm === '') continue;
      if (algorithm !== 'deflate')
        throw new Error(`unsupported compression algorithm '${algorithm}', supported algorithm is 'deflate'`);
      deflate = true;
    }
  }
  return [String(url), headers, params?.tags ?? null, [], deflate, jar];
}

class Socket {
  #id;
  #handlers = {};
  #timers = [];
  #closed = false;

  constructor(id) {
    this.#id = id;
  }

  on(event, handler) {
    if (typeof handler === 'function') (this.#handlers[event] ??= []).push(handler);
  }

  send(message) {
    this.#tell(host.write(this.#id, String(message)));
  }

  sendBinary(message) {
    if (!(message instanceof ArrayBuffer)) {
      const kind =
        message === null || message === undefined ? String(message) : (message.constructor?.name ?? typeof message);
      throw new Error(`expected ArrayBuffer as argument, received: ${kind}`);
    }
    this.#tell(host.write(this.#id, message));
  }

  ping() {
    host.ping(this.#id);
  }

  setTimeout(callback, ms) {
    this.#timer('setTimeout', callback, ms, false);
  }

  setInterval(callback, ms) {
    this.#timer('setInterval', callback, ms, true);
  }

  close(code) {
    this.#close(code === undefined ? GOING_AWAY : Number(code) | 0);
  }

  #timer(name, callback, ms, repeat) {
    const delay = Number(ms);
    if (!(delay > 0))
      throw new Error(
        `${name} requires a >0 timeout parameter, received ${Number.isNaN(delay) ? 'NaN' : delay.toFixed(2)}`,
      );
    this.#timers.push({ due: host.now() + delay, every: repeat ? delay : 0, callback });
  }

  #tell(error) {
    if (error !== undefined && error !== null) this.#call('error', new SocketError(error));
  }

  #call(event, ...args) {
    for (const handler of this.#handlers[event] ?? []) handler(...args);
  }

  #close(code) {
    if (this.#closed) return;
    this.#closed = true;
    this.#tell(host.hangUp(this.#id, code));
    this.#call('close', code);
  }

  /** Calls the handlers until the socket is closed. */
  __run(setup) {
    try {
      setup(this);
      this.#call('open');
      while (!this.#closed) this.#turn();
    } catch (e) {
      if (!this.#closed) host.hangUp(this.#id, GOING_AWAY);
      this.#closed = true;
      throw e;
    }
  }

  #turn() {
    const first = this.#timers.reduce((least, timer) => Math.min(least, timer.due), Infinity);
    if (first <= host.now()) {
      const timer = this.#timers.find((one) => one.due === first);
      if (timer.every > 0) timer.due = Math.max(first + timer.every, host.now());
      else this.#timers.splice(this.#timers.indexOf(timer), 1);
      timer.callback();
      return;
    }
    const event = host.next(this.#id, first === Infinity ? null : first - host.now());
    if (event === undefined) return;
    if (event === null) {
      this.#closed = true;
      return;
    }
    if (event[0] === MESSAGE)
      this.#call(typeof event[1] === 'string' ? 'message' : 'binaryMessage', event[1]);
    else if (event[0] === PING) this.#call('ping');
    else if (event[0] === PONG) this.#call('pong');
    else {
      this.#closed = true;
      this.#tell(event[3]);
      this.#call('close', event[1] || GOING_AWAY);
    }
  }
}

function response(url, answer, error) {
  return {
    url,
    status: answer ? answer.status : 0,
    headers: answer ? answer.headers : null,
    body: answer ? answer.body : '',
    error,
  };
}

export function connect(url, ...rest) {
  if (rest.length !== 1 && rest.length !== 2) throw new Error('invalid number of arguments to ws.connect');
  const setup = rest[rest.length - 1];
  if (typeof setup !== 'function') throw new Error('last argument to ws.connect must be a function');
  const flat = flatten(url, rest.length === 2 ? rest[0] : null);
  let first;
  const id = shared.listen(
    () => {},
    (begun) => {
      first = host.connect(begun, flat);
    },
  );
  if (!first || first[0] !== OPENED) {
    const error = first ? (first[3] ?? '') : 'malformed ws or wss URL';
    if (host.throws()) throw new SocketError(error);
    return first?.[4] ? response('', first[4], '') : response('', null, error);
  }
  new Socket(id).__run(setup);
  return response(flat[0], first[1], '');
}

export default { connect };
