// One run: verdict, charts, thresholds, checks, details; the same page while it goes on and after.

import { getRun, getSeries, runEvents, storedRun } from "./api.js";
import { Cursor, TimeChart } from "./chart.js";
import { el, replace } from "./dom.js";
import { address, duration, milliseconds, number, percent, when } from "./format.js";
import { badge, failure, table, tagList } from "./parts.js";
import { RunSeries } from "./series.js";

/** Time between two readings of verdict and checks while the run goes on. */
const REREAD_MS = 5000;
/** Checks that are read one by one while the run goes on. */
const LIVE_CHECKS_MAX = 20;

/**
 * @param {HTMLElement} view
 * @param {string} runId
 * @returns {() => void}
 */
export function showRun(view, runId) {
  document.title = "Run – dchat";
  const stop = new AbortController();
  const page = new RunPage(view, runId, stop.signal);
  page.load();
  return () => {
    stop.abort();
    page.close();
  };
}

class RunPage {
  /** @param {HTMLElement} view @param {string} runId @param {AbortSignal} signal */
  constructor(view, runId, signal) {
    this.view = view;
    this.runId = runId;
    this.signal = signal;
    /** @type {EventSource|null} */
    this.events = null;
    this.timer = 0;
    const cursor = new Cursor();
    const chart = (title, unit, lines, format) => new TimeChart({ title, unit, lines, format, cursor });
    this.charts = {
      vus: chart("Virtual users", "VUs", [{ key: "vus", label: "VUs" }], number),
      rate: chart("Requests", "requests/s", [{ key: "rate", label: "requests/s" }], number),
      latency: chart(
        "Response time",
        "ms",
        [
          { key: "p50", label: "p50" },
          { key: "p95", label: "p95" },
          { key: "p99", label: "p99" },
        ],
        milliseconds,
      ),
      failures: chart("Failures", "failures/s", [{ key: "failures", label: "failures/s" }], number),
    };
    this.head = el("div", { class: "run-head" }, el("p", { class: "notice muted" }, "Loading the run…"));
    this.verdict = el("section", { class: "card verdict", "aria-live": "polite" });
    this.thresholds = el("section", { class: "card" });
    this.checks = el("section", { class: "card" });
    this.details = el("section", { class: "details" });
    this.problem = el("div", {});
  }

  async load() {
    this.view.setAttribute("aria-busy", "true");
    replace(this.view, this.head);
    try {
      const run = await getRun(this.runId, this.signal);
      this.series = new RunSeries(this.runId, run, this.signal);
      this.build(run);
      await this.series.loadAll();
      this.draw();
      if (isOpen(run)) this.follow();
    } catch (error) {
      if (!this.signal.aborted)
        replace(
          this.view,
          back(),
          failure(/** @type {Error} */ (error), () => this.load()),
        );
    }
    this.view.setAttribute("aria-busy", "false");
  }

  close() {
    this.events?.close();
    clearInterval(this.timer);
    for (const chart of Object.values(this.charts)) chart.close();
  }

  build(run) {
    replace(
      this.view,
      back(),
      this.head,
      this.problem,
      this.verdict,
      el(
        "section",
        { class: "charts", "aria-label": "Charts" },
        ...Object.values(this.charts).map((chart) => chart.element),
      ),
      el("div", { class: "columns" }, this.thresholds, this.checks),
      this.details,
    );
    this.show(run);
    this.showDetails(run);
  }

  /** Everything that may change while the run goes on. */
  show(run) {
    this.run = run;
    document.title = `${run.name} – dchat`;
    replace(this.head, ...heading(run));
    replace(this.verdict, ...verdictPart(run));
    replace(this.thresholds, ...thresholdPart(run));
    if (run.checks) replace(this.checks, ...checkPart(run.checks));
    else if (!this.checks.hasChildNodes())
      replace(
        this.checks,
        el("h2", {}, "Checks"),
        el("p", { class: "muted" }, isOpen(run) ? "Reading…" : "This run has sent none."),
      );
  }

  showDetails(run) {
    const block = (title, text) =>
      el("details", {}, el("summary", {}, title), el("pre", { tabindex: "0" }, text));
    const json = (value) => JSON.stringify(value, null, 2);
    replace(
      this.details,
      downloads(run),
      run.script?.text ? block(`Script ${run.script.name ?? ""}`, run.script.text) : null,
      run.options ? block("Options", json(run.options)) : null,
      run.host ? block("Load generator", json(run.host)) : null,
      run.summary ? block("End-of-test summary", json(run.summary)) : null,
    );
  }

  draw() {
    const series = /** @type {RunSeries} */ (this.series);
    const total = (metric) => series.window(metric);
    const length = Math.max(series.length(), 1);
    this.charts.vus.set(
      series.chart("vus", { vus: (row) => row.max }, "gaps", { vus: (top) => `max ${number(top)}` }),
    );
    this.charts.rate.set(
      series.chart(
        "http_reqs",
        { rate: (row) => row.sum / row.seconds },
        "zeros",
        total("http_reqs") && { rate: () => `mean ${number(total("http_reqs").sum / length)}` },
      ),
    );
    this.charts.failures.set(
      series.chart(
        "http_req_failed",
        { failures: (row) => row.sum / row.seconds },
        "zeros",
        total("http_req_failed") && { failures: () => `${number(total("http_req_failed").sum)} in all` },
      ),
    );
    const whole = total("http_req_duration");
    this.charts.latency.set(
      series.chart(
        "http_req_duration",
        { p50: (row) => row.p50, p95: (row) => row.p95, p99: (row) => row.p99 },
        "gaps",
        whole && {
          p50: () => milliseconds(whole.p50),
          p95: () => milliseconds(whole.p95),
          p99: () => milliseconds(whole.p99),
        },
      ),
    );
  }

  /** Stays with a run that goes on: new seconds at once, verdict and checks now and then. */
  follow() {
    const events = runEvents(this.runId);
    this.events = events;
    // After a lost connection the stream begins anew; what was missed is read here.
    events.addEventListener("open", () => this.catchUp());
    events.addEventListener("points", (event) =>
      this.catchUp(JSON.parse(/** @type {MessageEvent} */ (event).data)),
    );
    events.addEventListener("run", (event) =>
      this.changed(JSON.parse(/** @type {MessageEvent} */ (event).data)),
    );
    events.addEventListener("deleted", () => {
      this.close();
      replace(this.view, back(), el("p", { class: "notice" }, "This run has been deleted."));
    });
    events.addEventListener("error", () => this.say("The relay does not answer; trying again…"));
    this.timer = setInterval(() => this.reread(), REREAD_MS);
    this.reread();
  }

  async catchUp(window) {
    this.say("");
    await this.guarded(async () => {
      if (await /** @type {RunSeries} */ (this.series).refresh(window?.from)) this.draw();
    });
  }

  /** The head of the run has changed: its state, or its end. */
  async changed(head) {
    if (head.state === this.run.state) return;
    await this.guarded(async () => {
      this.show(await getRun(this.runId, this.signal));
      if (isOpen(this.run)) return;
      this.closeStream();
      this.showDetails(this.run);
      await /** @type {RunSeries} */ (this.series).end(this.run);
      this.draw();
    });
  }

  closeStream() {
    this.events?.close();
    this.events = null;
    clearInterval(this.timer);
  }

  async reread() {
    if (document.hidden) return;
    await this.guarded(async () => {
      const run = await getRun(this.runId, this.signal);
      this.show(run);
      if (!run.checks) replace(this.checks, ...checkPart(await liveChecks(run, this.signal)));
    });
  }

  /** Runs a step of the live view; a failure is shown and the view stays as it is. */
  async guarded(step) {
    try {
      await step();
    } catch (error) {
      if (!this.signal.aborted) this.say(/** @type {Error} */ (error).message);
    }
  }

  say(text) {
    replace(this.problem, text ? el("p", { class: "notice error", role: "status" }, text) : null);
  }
}

/** Whether more may come. */
const isOpen = (run) => !storedRun && (run.state === "running" || run.state === "lost");

const back = () =>
  storedRun ? null : el("p", { class: "back" }, el("a", { href: "/", "data-view": true }, "← Runs"));

/** What a run can be saved as. */
const downloads = (run) =>
  storedRun
    ? null
    : el("p", {}, el("a", { href: `/api/v1/runs/${encodeURIComponent(run.run_id)}/report.html` }, "Download as a page"));

function heading(run) {
  const end = run.finished_at ?? run.seen_at;
  const facts = [
    ["Started", when(run.started_at)],
    [run.state === "running" ? "Running for" : "Length", duration(end - run.started_at)],
    ["Target", run.target && address(run.target)],
    ["Script", run.script_name],
    ["Exit code", run.exit_code],
    ["Ended because", run.abort ?? run.failure],
  ].filter(([, value]) => value !== null && value !== undefined);
  return [
    el("div", { class: "heading" }, el("h1", {}, run.name), badge(run.state), tagList(run.tags)),
    el(
      "dl",
      { class: "facts" },
      ...facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
    ),
    run.state === "lost"
      ? el(
          "p",
          { class: "notice" },
          "Nothing has come from this run for 60 s or more. It goes on as soon as it sends again.",
        )
      : null,
    run.report?.series_folded > 0
      ? el(
          "p",
          { class: "notice" },
          `Too many series: ${run.report.series_folded} tag sets were folded into one series per metric.`,
        )
      : null,
  ];
}

function verdictPart(run) {
  const rows = run.judgement.rows.map((row) => [
    el("strong", {}, row.name),
    el("span", { class: "big" }, row.figure),
    row.limit,
    badge(row.status),
    row.text === "good" ? "" : row.text,
  ]);
  const columns = /** @type {any} */ ([
    ["Figure"],
    ["Measured", "figure"],
    ["Good", "figure"],
    ["Judged"],
    ["Why", "long"],
  ]);
  const title = isOpen(run) ? "Verdict so far" : "Verdict";
  return [el("h2", {}, `${title} `, badge(run.judgement.overall)), table(columns, rows, "Verdict")];
}

function thresholdPart(run) {
  const title = el("h2", {}, "Thresholds");
  if (run.threshold_verdicts?.length > 0) {
    const rows = run.threshold_verdicts.map((one) => [
      badge(one.ok ? "passed" : "crossed"),
      el("code", {}, one.metric),
      el("code", {}, one.source),
    ]);
    return [
      title,
      table(/** @type {any} */ ([["Result"], ["Metric", "long"], ["Threshold", "long"]]), rows, "Thresholds"),
    ];
  }
  const pending = Object.entries(run.thresholds ?? {}).flatMap(([metric, list]) =>
    [list]
      .flat()
      .map((source) => [
        el("code", {}, metric),
        el("code", {}, typeof source === "string" ? source : (source.threshold ?? JSON.stringify(source))),
      ]),
  );
  if (pending.length === 0) return [title, el("p", { class: "muted" }, "This run has none.")];
  return [
    title,
    table(
      /** @type {any} */ ([
        ["Metric", "long"],
        ["Threshold", "long"],
      ]),
      pending,
      "Thresholds",
    ),
    el(
      "p",
      { class: "muted" },
      isOpen(run) ? "Evaluated at the end of the run." : "The run ended without an evaluation.",
    ),
  ];
}

function checkPart(checks) {
  const title = el("h2", {}, "Checks");
  if (checks.length === 0) return [title, el("p", { class: "muted" }, "This run has none.")];
  const rows = checks.map((check) => {
    const all = check.passes + check.fails;
    return [
      badge(check.fails === 0 ? "passed" : "failing"),
      check.name,
      (check.group ?? "").split("::").filter(Boolean).join(" › "),
      number(check.passes),
      number(check.fails),
      all === 0 ? "–" : percent(check.passes / all),
    ];
  });
  const columns = /** @type {any} */ ([
    ["Result"],
    ["Check", "long"],
    ["Group"],
    ["Passed", "figure"],
    ["Failed", "figure"],
    ["Passed, %", "figure"],
  ]);
  return [title, table(columns, rows, "Checks")];
}

/** Checks so far, from the series of a run that has not sent its end. */
async function liveChecks(run, signal) {
  const series = run.series
    .filter((one) => one.metric === "checks" && one.tags.check)
    .slice(0, LIVE_CHECKS_MAX);
  const windows = await Promise.all(
    series.map((one) => getSeries(run.run_id, { metric: "checks", tags: one.tags, step: 86400 }, signal)),
  );
  return windows.map((answer, index) => {
    const window = answer.metrics[0]?.window ?? { count: 0, sum: 0 };
    return {
      name: series[index].tags.check,
      group: series[index].tags.group,
      passes: window.sum,
      fails: window.count - window.sum,
    };
  });
}
