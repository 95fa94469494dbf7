// Readable streams after the Streams standard, as far as k6 has them: default controllers and
// readers, no byte streams, no pipes.

// Keys that only this module has: the standard's internal slots.
const slots = Symbol('slots');

/** Size function and high-water mark of a strategy. */
export function strategyOf(strategy, mark) {
  const given = strategy ?? {};
  const highWaterMark = given.highWaterMark === undefined ? mark : Number(given.highWaterMark);
  if (Number.isNaN(highWaterMark) || highWaterMark < 0) throw new RangeError('invalid highWaterMark');
  const size = given.size;
  if (size !== undefined && typeof size !== 'function') throw new TypeError('size must be a function');
  return { highWaterMark, size: size === undefined ? () => 1 : (chunk) => size(chunk) };
}

/** A promise with its ends. */
export function deferred() {
  const made = {};
  made.promise = new Promise((resolve, reject) => {
    made.resolve = resolve;
    made.reject = reject;
  });
  return made;
}

/** Nobody has to look at this promise. */
export function quiet(promise) {
  promise.catch(() => {});
  return promise;
}

/** A method of an underlying source or sink; `undefined` where it is absent. */
export function methodOf(object, name) {
  const method = object[name];
  if (method === undefined) return undefined;
  if (typeof method !== 'function') throw new TypeError(`${name} must be a function`);
  return (...args) => Reflect.apply(method, object, args);
}

/** The size that a strategy gives a chunk. */
export function sizeOf(size, chunk) {
  const value = Number(size(chunk));
  if (Number.isNaN(value) || value < 0 || value === Infinity) throw new RangeError('invalid chunk size');
  return value;
}

export class CountQueuingStrategy {
  #mark;
  constructor(init) {
    if (init === null || typeof init !== 'object')
      throw new TypeError('CountQueuingStrategy argument must be an object');
    if (init.highWaterMark === undefined || init.highWaterMark === null)
      throw new TypeError("CountQueuingStrategy argument must have 'highWaterMark' property");
    this.#mark = Number(init.highWaterMark);
  }
  get highWaterMark() {
    return this.#mark;
  }
  get size() {
    return one;
  }
}
const one = function size() {
  return 1;
};

class ReadableStreamDefaultController {
  constructor(state) {
    Object.defineProperty(this, slots, { value: state });
  }

  get desiredSize() {
    const state = this[slots];
    if (state.state === 'errored') return null;
    return state.state === 'closed' ? 0 : state.highWaterMark - state.queued;
  }

  enqueue(chunk) {
    const state = this[slots];
    if (state.state !== 'readable' || state.closing) throw new TypeError('stream is closed or errored');
    if (state.reader !== undefined && state.requests.length > 0) {
      state.requests.shift().resolve({ value: chunk, done: false });
    } else {
      let size;
      try {
        size = sizeOf(state.size, chunk);
      } catch (error) {
        fail(state, error);
        throw error;
      }
      state.queue.push({ chunk, size });
      state.queued += size;
    }
    pull(state);
  }

  close() {
    const state = this[slots];
    if (state.state !== 'readable' || state.closing) throw new TypeError('stream is closed or errored');
    state.closing = true;
    if (state.queue.length === 0) finish(state);
  }

  error(reason) {
    fail(this[slots], reason);
  }
}

function finish(state) {
  if (state.state !== 'readable') return;
  state.state = 'closed';
  forget(state);
  for (const request of state.requests.splice(0)) request.resolve({ value: undefined, done: true });
  state.closed?.resolve(undefined);
}

function fail(state, reason) {
  if (state.state !== 'readable') return;
  state.state = 'errored';
  state.reason = reason;
  state.queue = [];
  state.queued = 0;
  forget(state);
  for (const request of state.requests.splice(0)) request.reject(reason);
  if (state.closed !== undefined) {
    quiet(state.closed.promise);
    state.closed.reject(reason);
  }
}

/** The source is not needed any more. */
function forget(state) {
  state.source = {};
}

function wanted(state) {
  if (state.state !== 'readable' || state.closing || !state.started) return false;
  return (state.reader !== undefined && state.requests.length > 0) || state.highWaterMark - state.queued > 0;
}

function pull(state) {
  if (!wanted(state)) return;
  if (state.pulling) {
    state.again = true;
    return;
  }
  state.pulling = true;
  called(state.source.pull, state.controller).then(
    () => {
      state.pulling = false;
      if (state.again) {
        state.again = false;
        pull(state);
      }
    },
    (reason) => fail(state, reason),
  );
}

/** What a method gives, as a promise, also when it throws. */
export function called(method, ...args) {
  if (method === undefined) return Promise.resolve(undefined);
  try {
    return Promise.resolve(method(...args));
  } catch (error) {
    return Promise.reject(error);
  }
}

async function cancel(state, reason) {
  if (state.state === 'closed') return undefined;
  if (state.state === 'errored') throw state.reason;
  const method = state.source.cancel;
  state.queue = [];
  state.queued = 0;
  finish(state);
  await called(method, reason);
  return undefined;
}

export class ReadableStream {
  constructor(source, strategy) {
    if (source !== undefined && (source === null || typeof source !== 'object'))
      throw new TypeError('underlyingSource must be an object');
    const given = source ?? {};
    const { highWaterMark, size } = strategyOf(strategy, 1);
    if (given.type !== undefined)
      throw String(given.type) === 'bytes'
        ? new TypeError("'bytes' stream is not supported yet")
        : new TypeError('type must not be set for non-byte streams');
    const state = {
      state: 'readable',
      reason: undefined,
      source: { pull: methodOf(given, 'pull'), cancel: methodOf(given, 'cancel') },
      highWaterMark,
      size,
      queue: [],
      queued: 0,
      requests: [],
      closing: false,
      started: false,
      pulling: false,
      again: false,
      reader: undefined,
      closed: undefined,
      controller: undefined,
    };
    Object.defineProperty(this, slots, { value: state });
    state.controller = new ReadableStreamDefaultController(state);
    const begin = methodOf(given, 'start');
    const begun = begin === undefined ? undefined : begin(state.controller);
    Promise.resolve(begun).then(
      () => {
        state.started = true;
        pull(state);
      },
      (reason) => fail(state, reason),
    );
  }

  get locked() {
    return this[slots].reader !== undefined;
  }

  cancel(reason) {
    if (this.locked) return Promise.reject(new TypeError('cannot cancel a locked stream'));
    return cancel(this[slots], reason);
  }

  getReader(options) {
    if (options?.mode !== undefined) throw new TypeError('only the default reader is supported');
    return new ReadableStreamDefaultReader(this);
  }
}

export class ReadableStreamDefaultReader {
  #state;
  #closed = deferred();

  constructor(stream) {
    const state = stream?.[slots];
    if (!(stream instanceof ReadableStream) || state === undefined)
      throw new TypeError('ReadableStreamDefaultReader argument must be a ReadableStream');
    if (state.reader !== undefined) throw new TypeError('stream is already locked to a reader');
    this.#state = state;
    state.reader = this;
    state.closed = this.#closed;
    if (state.state === 'closed') this.#closed.resolve(undefined);
    else if (state.state === 'errored') {
      quiet(this.#closed.promise);
      this.#closed.reject(state.reason);
    }
  }

  get closed() {
    return this.#closed.promise;
  }

  read() {
    const state = this.#state;
    if (state === undefined) return Promise.reject(new TypeError('reader is released'));
    if (state.state === 'closed') return Promise.resolve({ value: undefined, done: true });
    if (state.state === 'errored') return Promise.reject(state.reason);
    if (state.queue.length > 0) {
      const { chunk, size } = state.queue.shift();
      state.queued = Math.max(0, state.queued - size);
      if (state.closing && state.queue.length === 0) finish(state);
      else pull(state);
      return Promise.resolve({ value: chunk, done: false });
    }
    const request = deferred();
    state.requests.push(request);
    pull(state);
    return request.promise;
  }

  cancel(reason) {
    if (this.#state === undefined) return Promise.reject(new TypeError('reader is released'));
    return cancel(this.#state, reason);
  }

  releaseLock() {
    const state = this.#state;
    if (state === undefined) return;
    const released = new TypeError('reader is released');
    if (state.state !== 'readable') this.#closed = deferred();
    quiet(this.#closed.promise);
    this.#closed.reject(released);
    for (const request of state.requests.splice(0)) request.reject(released);
    state.reader = undefined;
    state.closed = undefined;
    this.#state = undefined;
  }
}
