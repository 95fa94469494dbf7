// The module `k6/experimental/fs`: files that are opened in init code, read once for all VUs, and
// then read piece by piece without copies of the whole.
import { host as shared } from 'dchat:host';

const host = shared.part('files');

export const SeekMode = { Start: 0, Current: 1, End: 2 };

function failure(name, message) {
  const error = new Error(message);
  error.name = name;
  return error;
}

function whole(value, what) {
  if (value === undefined || value === null)
    throw failure('TypeError', `seek() failed; reason: the ${what} argument cannot be null or undefined`);
  if (!Number.isInteger(value))
    throw failure('TypeError', `seek() failed; reason: the ${what} argument must be a number`);
  return value;
}

class File {
  #size;
  #at = 0;

  constructor(path, size) {
    Object.defineProperty(this, 'path', { value: path, enumerable: true });
    this.#size = size;
  }

  async stat() {
    return { name: this.path.slice(this.path.lastIndexOf('/') + 1), size: this.#size };
  }

  async read(into) {
    if (into === undefined || into === null)
      throw failure('TypeError', 'read() failed; reason: into argument cannot be null or undefined');
    if (!(into instanceof Uint8Array))
      throw failure('TypeError', 'read() failed; reason: into argument must be a Uint8Array');
    if (this.#at >= this.#size) return null;
    const part = new Uint8Array(host.read(this.path, this.#at, into.length));
    into.set(part);
    this.#at += part.length;
    return part.length;
  }

  async seek(offset, whence) {
    const distance = whole(offset, 'offset');
    let at;
    switch (whole(whence, 'whence')) {
      case SeekMode.Start:
        if (distance < 0)
          throw failure('TypeError', 'offset cannot be negative when using SeekModeStart');
        at = distance;
        break;
      case SeekMode.Current:
        at = this.#at + distance;
        break;
      case SeekMode.End:
        if (distance > 0) throw failure('TypeError', 'offset cannot be positive when using SeekModeEnd');
        // From the last byte, as in k6.
        at = this.#size - 1 + distance;
        break;
      default:
        throw failure('TypeError', 'seek() failed; reason: the whence argument must be a SeekMode');
    }
    if (at < 0) throw failure('TypeError', 'seeking before start of file');
    if (at > this.#size) throw failure('TypeError', 'seeking beyond end of file');
    this.#at = at;
    return at;
  }

  /** For `k6/experimental/csv`. */
  static position(file) {
    return #at in file ? file.#at : undefined;
  }
}
/** Where a file's next read starts; undefined for what is no file. */
const position = File.position;
shared.filePosition = (value) =>
  value !== null && typeof value === 'object' ? position(value) : undefined;
delete File.position;

export async function open(path) {
  if (!host.canOpen())
    throw failure('ForbiddenError', 'open() failed; reason: opening a file is allowed only in the Init context');
  if (path === undefined || path === null)
    throw failure('TypeError', 'open() failed; reason: path cannot be null or undefined');
  const name = String(path);
  if (name === '') throw failure('TypeError', 'open() failed; reason: path cannot be empty');
  const opened = host.open(name);
  if (opened.error !== undefined) throw failure(opened.error, opened.message);
  return new File(opened.path, opened.size);
}

export default { open, SeekMode };
