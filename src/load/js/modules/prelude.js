// Globals of every VM that are easier said in JavaScript: console, timers, the dispatch of what
// completes outside. `host` is the bridge to Rust (load::js::modules).
// Modules of ours import the bridge from here; scripts can't.
export const host = globalThis.__host;

const callbacks = new Map();
let nextId = 1;

const say =
  (level) =>
  (...parts) =>
    host.log(
      level,
      parts.map((part) => (typeof part === 'string' ? part : host.load('dchat:inspect').show(part))).join(' '),
    );
globalThis.console = {
  log: say('info'),
  info: say('info'),
  debug: say('debug'),
  warn: say('warning'),
  error: say('error'),
};

// What k6's engine has not: scripts look for these to decide what they have to bring themselves.
for (const name of [
  'queueMicrotask',
  'SharedArrayBuffer',
  'Atomics',
  'WeakRef',
  'FinalizationRegistry',
  'DisposableStack',
  'AsyncDisposableStack',
  'SuppressedError',
  'performance',
])
  delete globalThis[name];

globalThis.require = (specifier) => host.load('dchat:commonjs').require(specifier);

function timer(repeat) {
  return (callback, delay, ...args) => {
    if (typeof callback !== 'function')
      throw new TypeError(`${repeat ? 'setInterval' : 'setTimeout'}'s callback isn't a callable function`);
    const id = nextId++;
    const ms = Math.max(Number(delay) || 0, repeat ? 1 : 0);
    callbacks.set(id, { run: () => callback(...args), repeat: repeat ? ms : null });
    host.timer(id, ms);
    return id;
  };
}
const cancel = (id) => {
  if (callbacks.delete(id)) host.cancelTimer(id);
};
globalThis.setTimeout = timer(false);
globalThis.setInterval = timer(true);
globalThis.clearTimeout = cancel;
globalThis.clearInterval = cancel;

// A promise that Rust settles by its id.
host.pending = (begin) =>
  new Promise((resolve, reject) => {
    const id = nextId++;
    callbacks.set(id, {
      run: (result) => (result instanceof Error ? reject(result) : resolve(result)),
      repeat: null,
    });
    begin(id);
  });

// Calls `listener` with each event that Rust delivers for its id, until the last one.
host.listen = (listener, begin) => {
  const id = nextId++;
  callbacks.set(id, { run: listener, repeat: null });
  try {
    begin(id);
  } catch (error) {
    callbacks.delete(id);
    throw error;
  }
  return id;
};

// Called by the event loop for each timer that is due and each event of an operation; `last` is
// false where more of them may come.
host.dispatch = (id, result, last) => {
  const entry = callbacks.get(id);
  if (entry === undefined) return;
  if (entry.repeat !== null) host.timer(id, entry.repeat);
  else if (last !== false) callbacks.delete(id);
  entry.run(result, last);
};

// Globals that few scripts use are made at the first look; `load` gives their module's namespace.
host.lazy = (names, module) => {
  for (const name of names) {
    const settle = (value) =>
      Object.defineProperty(globalThis, name, { value, writable: true, enumerable: false, configurable: true });
    Object.defineProperty(globalThis, name, {
      get: () => settle(host.load(module)[name])[name],
      set: settle,
      enumerable: false,
      configurable: true,
    });
  }
};
host.lazy(['TextEncoder', 'TextDecoder'], 'dchat:text');
host.lazy(['crypto'], 'dchat:crypto');

// An iteration that was cut off leaves nothing behind for the next one.
host.forget = () => callbacks.clear();
