// Writable streams after the Streams standard: default controllers and writers.
import { called, deferred, methodOf, quiet, sizeOf, strategyOf } from 'dchat:readable';

const slots = Symbol('slots');

class WritableStreamDefaultController {
  constructor(state) {
    Object.defineProperty(this, slots, { value: state });
  }

  error(reason) {
    const state = this[slots];
    if (state.state === 'writable') startErroring(state, reason);
  }
}

const closing = (state) => state.closeRequest !== undefined || state.closeInFlight !== undefined;
const room = (state) => state.highWaterMark - state.queued;

/** A new promise `ready`, or the old one resolved, as there is room or not. */
function updateReady(state) {
  const full = !closing(state) && room(state) <= 0;
  if (full === state.full) return;
  state.full = full;
  if (state.writer === undefined) return;
  if (full) state.writer.ready = deferred();
  else state.writer.ready.resolve(undefined);
}

function rejectReady(writer, reason) {
  quiet(writer.ready.promise);
  writer.ready.reject(reason);
  // A promise that was resolved before can't be rejected: it is replaced.
  writer.ready = deferred();
  quiet(writer.ready.promise);
  writer.ready.reject(reason);
}

function startErroring(state, reason) {
  state.state = 'erroring';
  state.reason = reason;
  if (state.writer !== undefined) rejectReady(state.writer, reason);
  if (state.writing === undefined && state.closeInFlight === undefined && state.started) finishErroring(state);
}

function finishErroring(state) {
  state.state = 'errored';
  const reason = state.reason;
  for (const { request } of state.queue) request.reject(reason);
  state.queue = [];
  state.queued = 0;
  const abort = state.abort;
  state.abort = undefined;
  const settle = () => {
    if (state.closeRequest !== undefined) {
      state.closeRequest.reject(reason);
      state.closeRequest = undefined;
    }
    if (state.writer !== undefined) {
      quiet(state.writer.closed.promise);
      state.writer.closed.reject(reason);
    }
  };
  if (abort === undefined) return settle();
  if (abort.wasErroring) {
    abort.reject(reason);
    return settle();
  }
  const method = state.sink.abort;
  state.sink = {};
  called(method, abort.reason).then(
    () => {
      abort.resolve(undefined);
      settle();
    },
    (error) => {
      abort.reject(error);
      settle();
    },
  );
}

function dealWithRejection(state, reason) {
  if (state.state === 'writable') startErroring(state, reason);
  if (state.state === 'erroring' && state.writing === undefined && state.closeInFlight === undefined)
    finishErroring(state);
}

/** Writes what is queued, one chunk at a time, and then closes. */
function advance(state) {
  if (!state.started || state.writing !== undefined || state.closeInFlight !== undefined) return;
  if (state.state === 'erroring') return finishErroring(state);
  if (state.state !== 'writable') return;
  if (state.queue.length > 0) return writeNext(state);
  if (state.closeRequest !== undefined) closeNow(state);
}

function writeNext(state) {
  const { chunk, size, request } = state.queue[0];
  state.writing = request;
  called(state.sink.write, chunk, state.controller).then(
    () => {
      state.writing = undefined;
      request.resolve(undefined);
      if (state.queue[0]?.request === request) {
        state.queue.shift();
        state.queued = Math.max(0, state.queued - size);
      }
      if (state.state === 'writable') updateReady(state);
      advance(state);
    },
    (reason) => {
      state.writing = undefined;
      state.queue.shift();
      state.queued = Math.max(0, state.queued - size);
      request.reject(reason);
      dealWithRejection(state, reason);
    },
  );
}

function closeNow(state) {
  const request = state.closeRequest;
  state.closeRequest = undefined;
  state.closeInFlight = request;
  const method = state.sink.close;
  state.sink = { abort: state.sink.abort };
  called(method).then(
    () => {
      state.closeInFlight = undefined;
      request.resolve(undefined);
      if (state.state === 'erroring') {
        state.reason = undefined;
        state.abort?.resolve(undefined);
        state.abort = undefined;
      }
      state.state = 'closed';
      state.writer?.closed.resolve(undefined);
    },
    (reason) => {
      state.closeInFlight = undefined;
      request.reject(reason);
      state.abort?.reject(reason);
      state.abort = undefined;
      dealWithRejection(state, reason);
    },
  );
}

function write(state, chunk) {
  let size;
  try {
    size = sizeOf(state.size, chunk);
  } catch (error) {
    if (state.state === 'writable') startErroring(state, error);
    return Promise.reject(error);
  }
  if (state.state === 'errored') return Promise.reject(state.reason);
  if (closing(state) || state.state === 'closed') return Promise.reject(new TypeError('stream is closing or closed'));
  if (state.state === 'erroring') return Promise.reject(state.reason);
  const request = deferred();
  state.queue.push({ chunk, size, request });
  state.queued += size;
  updateReady(state);
  advance(state);
  return request.promise;
}

function close(state) {
  if (state.state === 'closed' || state.state === 'errored')
    return Promise.reject(new TypeError('stream is closed or errored'));
  const request = deferred();
  state.closeRequest = request;
  if (state.state === 'writable') updateReady(state);
  advance(state);
  return request.promise;
}

function abort(state, reason) {
  if (state.state === 'closed' || state.state === 'errored') return Promise.resolve(undefined);
  if (state.abort !== undefined) return state.abort.promise;
  const wasErroring = state.state === 'erroring';
  state.abort = { ...deferred(), reason: wasErroring ? undefined : reason, wasErroring };
  const { promise } = state.abort;
  if (!wasErroring) startErroring(state, reason);
  return promise;
}

export class WritableStream {
  constructor(sink, strategy) {
    if (sink !== undefined && (sink === null || typeof sink !== 'object'))
      throw new TypeError('underlyingSink must be an object');
    const given = sink ?? {};
    const { highWaterMark, size } = strategyOf(strategy, 1);
    if (given.type !== undefined) throw new RangeError("'type' is not supported by WritableStream");
    const state = {
      state: 'writable',
      reason: undefined,
      sink: { write: methodOf(given, 'write'), close: methodOf(given, 'close'), abort: methodOf(given, 'abort') },
      highWaterMark,
      size,
      queue: [],
      queued: 0,
      full: highWaterMark <= 0,
      started: false,
      writing: undefined,
      closeRequest: undefined,
      closeInFlight: undefined,
      abort: undefined,
      writer: undefined,
      controller: undefined,
    };
    Object.defineProperty(this, slots, { value: state });
    state.controller = new WritableStreamDefaultController(state);
    const begin = methodOf(given, 'start');
    const begun = begin === undefined ? undefined : begin(state.controller);
    Promise.resolve(begun).then(
      () => {
        state.started = true;
        advance(state);
      },
      (reason) => {
        state.started = true;
        dealWithRejection(state, reason);
      },
    );
  }

  get locked() {
    return this[slots].writer !== undefined;
  }
  abort(reason) {
    if (this.locked) return Promise.reject(new TypeError('cannot abort a locked stream'));
    return abort(this[slots], reason);
  }
  close() {
    if (this.locked) return Promise.reject(new TypeError('cannot close a locked stream'));
    if (closing(this[slots])) return Promise.reject(new TypeError('stream is already closing'));
    return close(this[slots]);
  }
  getWriter() {
    return new WritableStreamDefaultWriter(this);
  }
}

export class WritableStreamDefaultWriter {
  #state;
  /** `ready` and `closed`, replaced as the stream goes on. */
  #ends = { ready: deferred(), closed: deferred() };

  constructor(stream) {
    const state = stream?.[slots];
    if (!(stream instanceof WritableStream) || state === undefined)
      throw new TypeError('WritableStreamDefaultWriter argument must be a WritableStream');
    if (state.writer !== undefined) throw new TypeError('stream is already locked to a writer');
    this.#state = state;
    state.writer = this.#ends;
    const { ready, closed } = this.#ends;
    if (state.state === 'writable') {
      if (closing(state) || !state.full) ready.resolve(undefined);
    } else if (state.state === 'closed') {
      ready.resolve(undefined);
      closed.resolve(undefined);
    } else {
      quiet(ready.promise);
      ready.reject(state.reason);
      if (state.state === 'errored') {
        quiet(closed.promise);
        closed.reject(state.reason);
      }
    }
  }

  get closed() {
    return this.#ends.closed.promise;
  }
  get ready() {
    return this.#ends.ready.promise;
  }
  get desiredSize() {
    const state = this.#state;
    if (state === undefined) throw new TypeError('writer is released');
    if (state.state === 'errored' || state.state === 'erroring') return null;
    return state.state === 'closed' ? 0 : room(state);
  }
  write(chunk) {
    return this.#with((state) => write(state, chunk));
  }
  close() {
    return this.#with((state) =>
      closing(state) ? Promise.reject(new TypeError('stream is already closing')) : close(state),
    );
  }
  abort(reason) {
    return this.#with((state) => abort(state, reason));
  }
  releaseLock() {
    const state = this.#state;
    if (state === undefined) return;
    const released = new TypeError('writer is released');
    for (const end of ['ready', 'closed']) {
      const replaced = deferred();
      quiet(replaced.promise);
      replaced.reject(released);
      this.#ends[end].reject(released);
      quiet(this.#ends[end].promise);
      this.#ends[end] = replaced;
    }
    state.writer = undefined;
    this.#state = undefined;
  }
  #with(work) {
    return this.#state === undefined ? Promise.reject(new TypeError('writer is released')) : work(this.#state);
  }
}
