// The module `k6/timers`: the global timers under their names.
const { setTimeout, clearTimeout, setInterval, clearInterval } = globalThis;

export { setTimeout, clearTimeout, setInterval, clearInterval };
export default { setTimeout, clearTimeout, setInterval, clearInterval };
