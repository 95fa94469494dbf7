// The module `k6/experimental/csv`: rows of a file that `k6/experimental/fs` has opened.
import { host as shared } from 'dchat:host';
import 'k6/experimental/fs';
import { SharedArray } from 'k6/data';

const host = shared.part('files');

function optionsOf(given) {
  const options = [',', false, null, null, false];
  if (given === undefined || given === null) return options;
  if (given.delimiter !== undefined) {
    options[0] = String(given.delimiter);
    if (options[0].length !== 1) throw new Error('delimiter must be a single character');
  }
  if (given.skipFirstLine !== undefined) options[1] = !!given.skipFirstLine;
  if (given.fromLine !== undefined) options[2] = Math.trunc(Number(given.fromLine));
  if (given.toLine !== undefined) options[3] = Math.trunc(Number(given.toLine));
  if (given.asObjects !== undefined) options[4] = !!given.asObjects;
  const [, skip, from, to, asObjects] = options;
  if (from !== null && to !== null && from >= to)
    throw new Error('fromLine must be less than or equal to toLine');
  if (asObjects && skip) throw new Error("the 'header' option cannot be enabled when 'skipFirstLine' is true");
  if (asObjects && from > 0)
    throw new Error("the 'header' option cannot be enabled when 'fromLine' is set to a value greater than 0");
  if (from < 0) throw new Error(`the 'fromLine' option must be greater than or equal to 0; got ${from}`);
  if (to < 0) throw new Error(`the 'toLine' option must be greater than or equal to 0; got ${to}`);
  return options;
}

function positionOf(file) {
  const at = shared.filePosition(file);
  if (at === undefined)
    throw new Error(`first argument expected to be a fs.File instance, got ${typeof file} instead`);
  return at;
}

function within(what, work) {
  try {
    return work();
  } catch (error) {
    throw new Error(`${what}; reason: ${error.message}`);
  }
}

export function parse(file, options) {
  const at = positionOf(file);
  const flat = within('failed to interpret the provided Parser options', () => optionsOf(options));
  const name = `csv.parse.${JSON.stringify([file.path, at, flat])}`;
  try {
    within('failed to create a new parser', () => host.parse(name, file.path, at, flat));
    // The rows are there already: nobody calls the function.
    return Promise.resolve(new SharedArray(name, () => []));
  } catch (error) {
    return Promise.reject(error);
  }
}

export class Parser {
  #next;

  constructor(file, options) {
    if (!host.canOpen()) throw new Error('csv Parser constructor must be called in the init context');
    if (file === undefined || file === null)
      throw new Error('csv Parser constructor takes at least one non-nil source argument');
    const at = positionOf(file);
    const flat = within('encountered an error while interpreting Parser options', () => optionsOf(options));
    this.#next = within('failed to create a new parser', () => host.rows(file.path, at, flat));
  }

  async next() {
    const row = this.#next();
    return row === null || row === undefined ? { done: true, value: [] } : { done: false, value: JSON.parse(row) };
  }
}

export default { parse, Parser };
