// Numbers and times as people read them. Every figure carries its unit; times carry their zone.

const moment = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
  timeZoneName: "short",
});
const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
  timeZoneName: "short",
});

/** Date and time of unix milliseconds, with the zone. @param {number|null} ms */
export const when = (ms) => (ms == null ? "–" : moment.format(ms));

/** Time of day of unix milliseconds, with the zone. @param {number} ms */
export const timeOfDay = (ms) => clock.format(ms);

/**
 * A length of time: `7 m 03 s`, `1 h 05 m`, `800 ms`.
 * @param {number|null} ms
 */
export function duration(ms) {
  if (ms == null || !Number.isFinite(ms)) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1000);
  const two = (value) => String(value).padStart(2, "0");
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${two(Math.floor(seconds / 60) % 60)} m`;
}

/** Time since the start as `m:ss` or `h:mm:ss`. @param {number} seconds */
export function elapsed(seconds) {
  const sign = seconds < 0 ? "−" : "";
  const whole = Math.round(Math.abs(seconds));
  const two = (value) => String(value).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${sign}${minutes}:${two(whole % 60)}`;
  return `${sign}${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

/**
 * Three significant digits, thousands kept whole: 0.412, 8.04, 21.3, 1,204.
 * @param {number|null|undefined} value
 */
export function number(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const digits =
    size === 0 || Number.isInteger(value) || size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Milliseconds with the unit that fits. @param {number|null|undefined} ms */
export function milliseconds(ms) {
  if (ms == null || !Number.isFinite(ms)) return "–";
  return ms >= 10000 ? `${number(ms / 1000)} s` : `${number(ms)} ms`;
}

/** A share of one as a percentage. @param {number} share */
export const percent = (share) => `${(share * 100).toFixed(2)} %`;

/** Words for states, verdicts and outcomes, and the sign that stands beside their colour. */
export const WORDS = {
  running: ["running", "●"],
  finished: ["finished", "■"],
  aborted: ["aborted", "▲"],
  lost: ["lost", "?"],
  passed: ["passed", "✓"],
  crossed: ["crossed", "✗"],
  failing: ["some failed", "✗"],
  good: ["good", "✓"],
  warning: ["warning", "!"],
  not_reached: ["not reached", "○"],
  unknown: ["no data", "–"],
};

/** A target as short as it is unambiguous. @param {string|null} target */
export const address = (target) => (target == null ? "–" : target.replace(/\/$/, ""));
