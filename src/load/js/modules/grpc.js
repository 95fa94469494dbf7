// The module `k6/net/grpc`. Schemas, channels and calls are Rust's (load::js::modules::grpc).
import { host as shared } from 'dchat:host';

const host = shared.part('grpc');

export const StatusOK = 0;
export const StatusCanceled = 1;
export const StatusUnknown = 2;
export const StatusInvalidArgument = 3;
export const StatusDeadlineExceeded = 4;
export const StatusNotFound = 5;
export const StatusAlreadyExists = 6;
export const StatusPermissionDenied = 7;
export const StatusResourceExhausted = 8;
export const StatusFailedPrecondition = 9;
export const StatusAborted = 10;
export const StatusOutOfRange = 11;
export const StatusUnimplemented = 12;
export const StatusInternal = 13;
export const StatusUnavailable = 14;
export const StatusDataLoss = 15;
export const StatusUnauthenticated = 16;
export const HealthCheckUnknown = 0;
export const HealthCheckServing = 1;
export const HealthCheckNotServing = 2;
// As k6 spells it.
export const HealthCheckServiceUnkown = 3;

// First places of the lists that a stream gets.
const DATA = 0;
const ERROR = 1;

/** JSON of a message; numbers that JSON has no word for become the words of protobuf's. */
function stringify(message) {
  return JSON.stringify(message, (key, value) =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value,
  );
}

function requestOf(given, rest) {
  if (rest.length === 0) throw new Error('request cannot be nil');
  if (given === null || given === undefined) throw new TypeError('Cannot convert undefined or null to object');
  return stringify(given);
}

export class Client {
  #client = host.client();

  load(importPaths, ...files) {
    return this.#client.load((importPaths ?? []).map(String), ...files.map(String));
  }

  loadProtoset(path) {
    return this.#client.loadProtoset(String(path));
  }

  connect(address, params) {
    return this.#client.connect(String(address), params ?? null);
  }

  invoke(method, ...rest) {
    const [request, params] = rest;
    if (!this.#client.isConnected()) return this.#client.invoke(String(method), '{}', null);
    return this.#client.invoke(String(method), requestOf(request, rest), params ?? null);
  }

  asyncInvoke(method, ...rest) {
    const [request, params] = rest;
    try {
      const json = requestOf(request, rest);
      return shared.pending((id) => this.#client.invokeAsync(id, String(method), json, params ?? null));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  healthCheck(service) {
    return { status: this.#client.health(service === undefined || service === null ? '' : String(service)) };
  }

  close() {
    this.#client.close();
  }

  /** For `Stream`: private to this module. */
  static open(client, id, method, params) {
    return client.#client.stream(id, method, params);
  }
  static connected(client) {
    return #client in client && client.#client.isConnected();
  }
}
const open = Client.open;
const connected = Client.connected;
delete Client.open;
delete Client.connected;

export class Stream {
  #write;
  #writing = true;
  #handlers = { data: [], error: [], end: [] };

  constructor(client, method, params) {
    if (client === null || client === undefined) throw new Error("invalid GRPC Stream's client: empty gRPC client");
    if (!(client instanceof Client)) throw new Error("invalid GRPC Stream's client: not a gRPC client");
    if (!connected(client))
      throw new Error("invalid GRPC Stream's client: no gRPC connection, you must call connect first");
    shared.listen(
      (event) => this.#happened(event),
      (id) => {
        this.#write = open(client, id, String(method), params ?? null);
      },
    );
  }

  on(event, handler) {
    if (typeof handler !== 'function') throw new Error(`handler for "${event}" event isn't a callable function`);
    if (!Object.hasOwn(this.#handlers, event)) {
      shared.log('warning', `can't register ${event} event handler: unknown GRPC stream's event type: ${event}`);
      return;
    }
    this.#handlers[event].push(handler);
  }

  write(message) {
    if (!this.#writing) return;
    if (message === null || message === undefined) {
      shared.log('warning', "can't send empty message");
      return;
    }
    this.#write(stringify(message));
  }

  end() {
    if (!this.#writing) return;
    this.#writing = false;
    this.#write(null);
  }

  #happened(event) {
    const metadata = { ts: Math.floor(Date.now() / 1000) };
    if (event[0] === DATA) {
      for (const handler of this.#handlers.data) handler(event[1], metadata);
    } else if (event[0] === ERROR) {
      if (this.#handlers.error.length === 0)
        shared.log('warning', `no handlers for error registered, but an error happened: ${event[1].message}`);
      for (const handler of this.#handlers.error) handler(event[1], metadata);
    } else {
      for (const handler of this.#handlers.end) handler({}, metadata);
    }
  }
}

export default {
  Client,
  Stream,
  StatusOK,
  StatusCanceled,
  StatusUnknown,
  StatusInvalidArgument,
  StatusDeadlineExceeded,
  StatusNotFound,
  StatusAlreadyExists,
  StatusPermissionDenied,
  StatusResourceExhausted,
  StatusFailedPrecondition,
  StatusAborted,
  StatusOutOfRange,
  StatusUnimplemented,
  StatusInternal,
  StatusUnavailable,
  StatusDataLoss,
  StatusUnauthenticated,
  HealthCheckUnknown,
  HealthCheckServing,
  HealthCheckNotServing,
  HealthCheckServiceUnkown,
};
