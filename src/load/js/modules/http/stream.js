// `responseType: 'stream'` of `k6/http`: the Response comes with the head, its body piece by piece.
// An extension of ours; a call blocks its VU until the next piece has come.
import { host as shared } from 'dchat:host';

const host = shared.part('http-stream');

/** The Response of a request whose body is a Body. */
export function open(method, target, payload, headers, tags, rest) {
  const [response, download] = host.open(method, target, payload, headers, tags, rest);
  if (download !== null) response.body = new Body(download);
  return response;
}

class Body {
  #download;

  constructor(download) {
    this.#download = download;
  }

  /** The next bytes as an ArrayBuffer, null at the end. */
  read() {
    return host.read(this.#download);
  }

  /** Lines of text without their ends. */
  *lines() {
    for (;;) {
      const line = host.line(this.#download);
      if (line === undefined) return;
      yield line;
    }
  }

  /**
   * Server-sent events: `{type, data, id}`. With `roundTrip`, the name of a field of JSON data or a
   * function of an event, each key given to `sent` is measured until it comes back.
   */
  *events({ roundTrip } = {}) {
    for (;;) {
      const found = host.event(this.#download);
      if (found === undefined) return;
      const event = { type: found[0], data: found[1], id: found[2] };
      if (roundTrip !== undefined) {
        const key = keyOf(roundTrip, event);
        if (key !== undefined) host.got(this.#download, String(key));
      }
      yield event;
    }
  }

  /** Begins a round trip (`sse_round_trip`) that ends with the first event of the same key. */
  sent(key) {
    host.sent(this.#download, String(key));
  }

  /** Hangs up; what has come until now is the request. */
  close() {
    host.close(this.#download);
  }
}
Object.defineProperty(Body, 'name', { value: 'ResponseStream' });

function keyOf(roundTrip, event) {
  try {
    return typeof roundTrip === 'function' ? roundTrip(event) : JSON.parse(event.data)[roundTrip];
  } catch {
    return undefined;
  }
}
