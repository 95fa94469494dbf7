// Time charts as SVG: lines over one time axis, a cursor that all charts of a page share, and a
// legend that reads the values under it. No animation; arrows move the cursor.

import { el, replace, svg } from "./dom.js";
import { elapsed, timeOfDay } from "./format.js";

const HEIGHT = 190;
const EDGE = { top: 20, right: 12, bottom: 36, left: 56 };
/** Room at the right for the lines' names, where there are several. */
const NAMES_WIDTH = 30;
/** Distance of two names, in pixels. */
const NAMES_GAP = 13;

/** The second that all charts of a page point at. */
export class Cursor {
  constructor() {
    /** @type {Set<(t: number|null) => void>} */
    this.listeners = new Set();
    /** @type {number|null} */
    this.t = null;
  }

  /** @param {number|null} t unix seconds */
  set(t) {
    if (t === this.t) return;
    this.t = t;
    for (const listener of this.listeners) listener(t);
  }
}

/**
 * @typedef {{key: string, label: string}} Line
 * @typedef {{from: number, to: number, start: number, step: number, t: number[],
 *   columns: Record<string, (number|null)[]>, overall: Record<string, string>}} Data
 *   from, to, start, t: unix seconds; the n-th entry of each column belongs to the n-th of t;
 *   overall: what the legend says while nothing is pointed at, where it isn't the newest value.
 */
export class TimeChart {
  /**
   * @param {{title: string, unit: string, lines: Line[], cursor: Cursor,
   *   format: (value: number|null|undefined) => string}} options
   *   format: a value with its unit, for the legend
   */
  constructor(options) {
    this.options = options;
    /** @type {Data|null} */
    this.data = null;
    this.width = 0;
    this.right = EDGE.right + (options.lines.length > 1 ? NAMES_WIDTH : 0);
    this.values = options.lines.map(() => el("output", { class: "value" }, "–"));
    const legend = el(
      "ul",
      { class: "legend" },
      ...options.lines.map((line, index) =>
        el(
          "li",
          {},
          svg(
            "svg",
            { class: "swatch", width: 22, height: 8, "aria-hidden": "true" },
            svg("line", { class: `line l${index}`, x1: 0, x2: 22, y1: 4, y2: 4 }),
          ),
          line.label,
          " ",
          this.values[index],
        ),
      ),
    );
    this.moment = el("span", { class: "moment muted" });
    this.canvas = svg("svg", {
      class: "canvas",
      height: HEIGHT,
      tabindex: "0",
      role: "img",
      "aria-label": `${options.title}, ${options.unit}`,
    });
    this.holder = el("div", { class: "holder" }, this.canvas);
    this.element = el(
      "figure",
      { class: "chart" },
      el("figcaption", {}, el("strong", {}, options.title), this.moment, legend),
      this.holder,
    );
    this.pointer = svg("line", { class: "pointer" });
    this.canvas.addEventListener("pointermove", (event) => this.point(/** @type {PointerEvent} */ (event)));
    this.canvas.addEventListener("pointerleave", () => options.cursor.set(null));
    this.canvas.addEventListener("keydown", (event) => this.key(/** @type {KeyboardEvent} */ (event)));
    this.listener = () => this.read();
    options.cursor.listeners.add(this.listener);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.holder);
  }

  /** Ends what keeps the chart alive. */
  close() {
    this.observer.disconnect();
    this.options.cursor.listeners.delete(this.listener);
  }

  /** @param {Data} data */
  set(data) {
    this.data = data;
    this.draw();
  }

  resize() {
    const width = this.holder.clientWidth;
    if (width === this.width || width === 0) return;
    this.width = width;
    this.draw();
  }

  draw() {
    const { data, width } = this;
    if (!data || width === 0) return;
    const right = width - this.right;
    const bottom = HEIGHT - EDGE.bottom;
    const span = Math.max(data.to - data.from, 1);
    this.x = (t) => EDGE.left + ((t - data.from) / span) * (right - EDGE.left);
    const top = highest(data, this.options.lines);
    const ticks = niceTicks(top);
    const limit = ticks[ticks.length - 1];
    const y = (value) => bottom - (value / limit) * (bottom - EDGE.top);
    this.canvas.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.canvas.setAttribute("width", String(width));
    replace(
      this.canvas,
      svg("text", { class: "axis unit", x: 4, y: 10 }, this.options.unit),
      ...ticks.map((tick) =>
        svg(
          "g",
          {},
          svg("line", { class: "grid", x1: EDGE.left, x2: right, y1: y(tick), y2: y(tick) }),
          svg(
            "text",
            { class: "axis", x: EDGE.left - 6, y: y(tick) + 4, "text-anchor": "end" },
            tickText(tick, limit),
          ),
        ),
      ),
      ...timeTicks(data, right - EDGE.left).map((tick) =>
        svg(
          "g",
          {},
          svg("line", { class: "grid", x1: this.x(tick), x2: this.x(tick), y1: bottom, y2: bottom + 4 }),
          svg(
            "text",
            { class: "axis", x: this.x(tick), y: bottom + 16, "text-anchor": "middle" },
            elapsed(tick - data.start),
          ),
        ),
      ),
      svg(
        "text",
        { class: "axis unit", x: right, y: HEIGHT - 5, "text-anchor": "end" },
        "time since start, m:s",
      ),
      ...this.options.lines.map((line, index) =>
        svg("path", { class: `line l${index}`, d: path(data, data.columns[line.key] ?? [], this.x, y) }),
      ),
      ...(this.options.lines.length > 1 ? names(data, this.options.lines, right, y) : []),
      data.t.length === 0
        ? svg(
            "text",
            {
              class: "axis",
              x: (EDGE.left + right) / 2,
              y: (EDGE.top + bottom) / 2,
              "text-anchor": "middle",
            },
            "nothing measured",
          )
        : null,
      this.pointer,
    );
    this.read();
  }

  /** Shows the values at the cursor, or the newest ones. */
  read() {
    const { data, options } = this;
    if (!data || !this.x) return;
    const pointed = options.cursor.t !== null;
    const index = pointed ? nearest(data.t, /** @type {number} */ (options.cursor.t)) : data.t.length - 1;
    const t = data.t[index];
    options.lines.forEach((line, place) => {
      const overall = pointed ? undefined : data.overall[line.key];
      this.values[place].textContent =
        overall ?? options.format(index < 0 ? null : data.columns[line.key]?.[index]);
    });
    const shown = pointed && t !== undefined;
    this.moment.textContent = shown ? `${elapsed(t - data.start)} · ${timeOfDay(t * 1000)}` : "";
    this.pointer.setAttribute("visibility", shown ? "visible" : "hidden");
    if (shown) {
      const x = this.x(t);
      for (const [name, value] of Object.entries({ x1: x, x2: x, y1: EDGE.top, y2: HEIGHT - EDGE.bottom }))
        this.pointer.setAttribute(name, String(value));
    }
  }

  /** @param {PointerEvent} event */
  point(event) {
    const { data } = this;
    if (!data || data.t.length === 0) return;
    const box = this.canvas.getBoundingClientRect();
    const share = (event.clientX - box.left - EDGE.left) / (this.width - EDGE.left - this.right);
    this.options.cursor.set(data.t[nearest(data.t, data.from + share * (data.to - data.from))]);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { data } = this;
    if (!data || data.t.length === 0) return;
    const last = data.t.length - 1;
    const { t } = this.options.cursor;
    const here = t === null ? last : nearest(data.t, t);
    const stride = event.shiftKey ? 10 : 1;
    /** @type {Record<string, number|null>} */
    const places = { ArrowLeft: here - stride, ArrowRight: here + stride, Home: 0, End: last, Escape: null };
    if (!(event.key in places)) return;
    event.preventDefault();
    const place = places[event.key];
    this.options.cursor.set(place === null ? null : data.t[Math.min(Math.max(place, 0), last)]);
  }
}

/** A path through the values; it breaks where seconds or values are missing. */
function path(data, values, x, y) {
  const parts = [];
  let previous = null;
  for (let index = 0; index < data.t.length; index += 1) {
    const value = values[index];
    if (value == null) {
      previous = null;
      continue;
    }
    const t = data.t[index];
    const joined = previous !== null && t - previous <= data.step * 2;
    const place = `${x(t).toFixed(1)} ${y(value).toFixed(1)}`;
    // A lone point would have no length: a short stroke makes it visible.
    parts.push(joined ? `L${place}` : `M${place}h1`);
    previous = t;
  }
  return parts.join("");
}

/** The lines' names at their ends, apart from each other, so that colour is not the only sign. */
function names(data, lines, right, y) {
  const ends = lines
    .map((line, index) => {
      const values = data.columns[line.key] ?? [];
      const value = values.findLast((one) => one != null);
      return { index, label: line.label, at: value === undefined ? null : y(value) };
    })
    .filter((end) => end.at !== null)
    .sort((a, b) => b.at - a.at);
  let lowest = Infinity;
  return ends.map((end) => {
    lowest = Math.min(end.at, lowest - NAMES_GAP);
    return svg("text", { class: `axis name n${end.index}`, x: right + 5, y: lowest + 4 }, end.label);
  });
}

function highest(data, lines) {
  let top = 0;
  for (const line of lines)
    for (const value of data.columns[line.key] ?? []) if (value != null && value > top) top = value;
  return top;
}

/** Ticks from 0 to at least `top`, at 1, 2, 2.5 or 5 times a power of ten. */
function niceTicks(top) {
  if (!(top > 0)) return [0, 1];
  const rough = top / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? 10 * power;
  const count = Math.ceil(top / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, index) => index * step);
}

function tickText(value, limit) {
  if (value === 0) return "0";
  if (limit >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
  if (limit >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
  return String(+value.toPrecision(3));
}

/** Unix seconds at round times since the start, about one every 70 pixels. */
function timeTicks(data, width) {
  const span = Math.max(data.to - data.from, 1);
  const wanted = Math.max(Math.floor(width / 70), 2);
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
  const step = steps.find((size) => span / size <= wanted) ?? 86400 * Math.ceil(span / wanted / 86400);
  const ticks = [];
  for (let at = Math.ceil((data.from - data.start) / step) * step; at <= data.to - data.start; at += step)
    ticks.push(data.start + at);
  return ticks;
}

/** Index of the entry of an ascending list that is nearest to `t`; −1 if it is empty. */
function nearest(list, t) {
  let low = 0;
  let high = list.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < t) low = middle + 1;
    else high = middle;
  }
  if (low > 0 && t - list[low - 1] < list[low] - t) return low - 1;
  return list.length === 0 ? -1 : low;
}
