// CommonJS: `require`, and the exports of files that use it, each evaluated once per VM.
import { host as shared } from 'dchat:host';

const host = shared.part('commonjs');
const modules = new Map();

// The exports of a CommonJS file.
export function run(file) {
  let module = modules.get(file);
  if (module !== undefined) return module.exports;
  module = { exports: {} };
  // Before it runs: files that require each other see what is there so far.
  modules.set(file, module);
  host.enter(file);
  try {
    host.body(file).call(module.exports, module, module.exports);
  } catch (error) {
    modules.delete(file);
    throw error;
  } finally {
    host.leave();
  }
  if (module.exports === null) throw new TypeError("CommonJS's exports must not be null");
  return module.exports;
}

export function require(specifier) {
  if (specifier === undefined || specifier === '')
    throw new TypeError("require() can't be used with an empty specifier");
  const file = host.locate(String(specifier));
  return host.isCommonJs(file) ? run(file) : host.namespace(file);
}
