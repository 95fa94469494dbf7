// The module `k6/execution`: what the run, the scenario and the VU know about themselves.
import { host as shared } from 'dchat:host';

const host = shared.part('execution');

const getters = (names) =>
  Object.defineProperties(
    {},
    Object.fromEntries(
      Object.entries(names).map(([name, key]) => [
        name,
        { get: () => host.execution(key), enumerable: true },
      ]),
    ),
  );

export const scenario = getters({
  name: 'scenario.name',
  executor: 'scenario.executor',
  startTime: 'scenario.startTime',
  progress: 'scenario.progress',
  iterationInInstance: 'scenario.iterationInInstance',
  iterationInTest: 'scenario.iterationInTest',
});

export const instance = getters({
  currentTestRunDuration: 'instance.currentTestRunDuration',
  iterationsCompleted: 'instance.iterationsCompleted',
  iterationsInterrupted: 'instance.iterationsInterrupted',
  vusActive: 'instance.vusActive',
  vusInitialized: 'instance.vusInitialized',
});

let options;
export const test = {
  abort(reason) {
    host.abort(reason === undefined ? '' : String(reason));
  },
  fail(reason) {
    host.markFailed(reason === undefined ? '' : String(reason));
  },
  get options() {
    return (options ??= JSON.parse(host.execution('test.options')));
  },
};

const tags = new Proxy(
  {},
  {
    get: (_, name) => (typeof name === 'string' ? host.vuTag(name) : undefined),
    set: (_, name, value) => {
      if (!['string', 'number', 'boolean'].includes(typeof value))
        throw new TypeError(`the tag ${String(name)} must be a string, a number or a boolean`);
      host.setVuTag(String(name), String(value));
      return true;
    },
    deleteProperty: (_, name) => {
      host.setVuTag(String(name), undefined);
      return true;
    },
    has: (_, name) => host.vuTag(String(name)) !== undefined,
    ownKeys: () => host.vuTagNames(),
    getOwnPropertyDescriptor: (_, name) => ({
      value: host.vuTag(String(name)),
      writable: true,
      enumerable: true,
      configurable: true,
    }),
  },
);

const metadata = {};
export const vu = Object.defineProperties(
  { tags, metrics: { tags, metadata } },
  {
    idInInstance: { get: () => host.execution('vu.id'), enumerable: true },
    idInTest: { get: () => host.execution('vu.id'), enumerable: true },
    iterationInInstance: { get: () => host.execution('vu.iterationInInstance'), enumerable: true },
    iterationInScenario: { get: () => host.execution('vu.iterationInScenario'), enumerable: true },
  },
);

export default { scenario, instance, test, vu };
