// The module `k6/execution`: what the run, the scenario and the VU know about themselves.
import { host as shared } from 'dchat:host';

const host = shared.part('execution');

const getters = (part, names) =>
  Object.defineProperties(
    {},
    Object.fromEntries(
      names.map((name) => [name, { get: () => host.execution(`${part}.${name}`), enumerable: true }]),
    ),
  );

export const scenario = getters('scenario', [
  'name',
  'executor',
  'startTime',
  'progress',
  'iterationInInstance',
  'iterationInTest',
]);

export const instance = getters('instance', [
  'currentTestRunDuration',
  'iterationsCompleted',
  'iterationsInterrupted',
  'vusActive',
  'vusInitialized',
]);

function freeze(value) {
  if (value !== null && typeof value === 'object') Object.values(Object.freeze(value)).forEach(freeze);
  return value;
}

const reason = (given) => (given === undefined || given === null ? '' : String(given));

let options;
export const test = {
  abort(given) {
    host.abort(reason(given));
  },
  fail(given) {
    host.markFailed(reason(given));
  },
  get options() {
    return (options ??= freeze(JSON.parse(host.execution('test.options'))));
  },
};

// An object whose properties live outside of JavaScript.
const dynamic = (get, set, names, refused) =>
  new Proxy(
    {},
    {
      get: (target, name) => (typeof name === 'string' ? get(name) : undefined) ?? Reflect.get(target, name),
      set: (_, name, value) => {
        if (!['string', 'number', 'boolean'].includes(typeof value))
          throw new TypeError(refused(String(name)));
        set(String(name), String(value));
        return true;
      },
      deleteProperty: (_, name) => {
        set(String(name), undefined);
        return true;
      },
      has: (_, name) => typeof name === 'string' && get(name) !== undefined,
      ownKeys: () => names(),
      getOwnPropertyDescriptor: (_, name) => {
        const value = typeof name === 'string' ? get(name) : undefined;
        return value === undefined
          ? undefined
          : { value, writable: true, enumerable: true, configurable: true };
      },
    },
  );

const tags = dynamic(
  host.vuTag,
  host.setVuTag,
  host.vuTagNames,
  (name) =>
    `invalid value for metric tag '${name}': only String, Boolean and Number types are accepted as a metric tag values`,
);
const metadata = dynamic(
  host.metadata,
  host.setMetadata,
  host.metadataNames,
  (name) =>
    `invalid value for metric metadata '${name}': only String, Boolean and Number types are accepted as a metric metadata value`,
);

export const vu = getters('vu', ['idInInstance', 'idInTest', 'iterationInInstance', 'iterationInScenario']);
Object.assign(vu, { tags, metrics: { tags, metadata } });

// Each part is looked at through the default export, which refuses what is not known yet.
const parts = { scenario, instance, test, vu };
export default Object.defineProperties(
  {},
  Object.fromEntries(
    Object.keys(parts).map((name) => [
      name,
      {
        get: () => {
          host.allow(name);
          return parts[name];
        },
        enumerable: true,
      },
    ]),
  ),
);
