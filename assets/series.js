// The time series of one run as the page holds them: read once, then only what has changed.

import { getSeries } from "./api.js";

/** What the charts need. */
const METRICS = "vus,http_reqs,http_req_failed,http_req_duration";
/** Steps after which a wider step is asked for; the relay's own choice is 1,200. */
const STEPS_MAX = 1500;

export class RunSeries {
  /** @param {string} runId @param {any} run @param {AbortSignal} signal */
  constructor(runId, run, signal) {
    this.runId = runId;
    this.run = run;
    this.signal = signal;
    this.step = 1;
    /** @type {Map<string, Map<number, any>>} rows by metric and second */
    this.metrics = new Map();
    /** @type {Map<string, any>} */
    this.windows = new Map();
    this.last = 0;
  }

  /** Reads the whole run, with a step that fits its length. */
  async loadAll() {
    const answer = await getSeries(this.runId, { metric: METRICS }, this.signal);
    this.step = answer.step;
    this.metrics.clear();
    this.take(answer);
    // Totals come from merged histograms; they hold only while nothing has been added.
    this.windows = new Map(answer.metrics.map((metric) => [metric.metric, metric.window]));
  }

  /** The whole run as one step, if it is over and was read as a whole. @param {string} metric */
  window(metric) {
    return this.run.finished_at ? (this.windows.get(metric) ?? null) : null;
  }

  /** Length of the run in seconds, as far as it is known. */
  length() {
    const end = this.run.finished_at ?? this.run.seen_at;
    return (end - this.run.started_at) / 1000;
  }

  /**
   * Reads what is new; returns whether anything was.
   * @param {number} [from] unix milliseconds from which seconds have changed; missing: since the last one known
   */
  async refresh(from) {
    const first = Math.floor(this.run.started_at / 1000);
    if ((this.last - first) / this.step > STEPS_MAX) {
      await this.loadAll();
      return true;
    }
    const changed = Math.min(from === undefined ? Infinity : Math.floor(from / 1000), this.last);
    const begin = Math.max(Math.floor(changed / this.step) * this.step, 0);
    const answer = await getSeries(
      this.runId,
      { metric: METRICS, from: begin * 1000, step: this.step },
      this.signal,
    );
    return this.take(answer);
  }

  /** The run is over: reads everything once more. @param {any} run */
  async end(run) {
    this.run = run;
    await this.loadAll();
  }

  /**
   * One metric as the columns of a chart.
   * @param {string} metric
   * @param {Record<string, (row: any) => number|null>} columns
   * @param {"gaps"|"zeros"} [missing] what seconds without a point mean
   * @param {Record<string, (highest: number) => string>|null} [overall] what to say of a column as a whole
   */
  chart(metric, columns, missing = "gaps", overall = null) {
    const start = Math.floor(this.run.started_at / 1000);
    const known = this.metrics.get(metric) ?? new Map();
    const rows = [...known.values()].sort((a, b) => a.t - b.t);
    if (missing === "zeros" && rows.length > 0) {
      for (let t = rows[0].t; t <= this.last; t += this.step) {
        if (!known.has(t))
          rows.push({ t, seconds: this.step, count: 0, sum: 0, max: null, p50: null, p95: null, p99: null });
      }
      rows.sort((a, b) => a.t - b.t);
    }
    const end = this.run.finished_at ? Math.ceil(this.run.finished_at / 1000) : this.last;
    const data = {
      from: Math.min(start, rows[0]?.t ?? start),
      to: Math.max(end, this.last, start + 10),
      start,
      step: this.step,
      t: rows.map((row) => row.t),
      columns: {},
      overall: {},
    };
    for (const [name, of] of Object.entries(columns)) {
      data.columns[name] = rows.map(of);
      if (overall?.[name] && rows.length > 0)
        data.overall[name] = overall[name](Math.max(...data.columns[name]));
    }
    return data;
  }

  take(answer) {
    let any = false;
    for (const metric of answer.metrics) {
      const rows = this.metrics.get(metric.metric) ?? new Map();
      this.metrics.set(metric.metric, rows);
      metric.t.forEach((t, index) => {
        any = true;
        this.last = Math.max(this.last, t);
        rows.set(t, {
          t,
          seconds: this.step,
          count: metric.count[index],
          sum: metric.sum[index],
          max: metric.max[index],
          p50: metric.p50?.[index] ?? null,
          p95: metric.p95?.[index] ?? null,
          p99: metric.p99?.[index] ?? null,
        });
      });
    }
    return any;
  }
}
