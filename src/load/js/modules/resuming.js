// What scripts call around `await` (load::js::resuming): the group that an async function was in
// is its group again when it goes on.
import { host as shared } from 'dchat:host';

const host = shared.part('groups');

const kept = (value) => [value];
const failed = (error) => [undefined, error, true];

Object.defineProperty(globalThis, '__dchat', {
  value: {
    group: host.group,
    // Never rejects, so that the group comes back before the error does.
    settle: (value) => (value instanceof Promise ? value : Promise.resolve(value)).then(kept, failed),
    resume: (group, [value, error, isError]) => {
      host.setGroup(group);
      if (isError === true) throw error;
      return value;
    },
  },
});
