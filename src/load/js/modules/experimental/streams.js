// The module `k6/experimental/streams`.
import { CountQueuingStrategy, ReadableStream, ReadableStreamDefaultReader } from 'dchat:readable';
import { WritableStream, WritableStreamDefaultWriter } from 'dchat:writable';

export {
  CountQueuingStrategy,
  ReadableStream,
  ReadableStreamDefaultReader,
  WritableStream,
  WritableStreamDefaultWriter,
};
export default {
  CountQueuingStrategy,
  ReadableStream,
  ReadableStreamDefaultReader,
  WritableStream,
  WritableStreamDefaultWriter,
};
