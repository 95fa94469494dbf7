// The list of runs: newest first, searched, page by page.

import { listRuns } from "./api.js";
import { el, replace } from "./dom.js";
import { address, duration, when } from "./format.js";
import { badge, failure, table, tagList } from "./parts.js";

/** Time between two looks while the page is visible. */
const REFRESH_MS = 5000;
const PAGE_RUNS = 50;

/**
 * @param {HTMLElement} view
 * @param {URLSearchParams} query `q`, `tag`, `before`
 * @param {(url: string, how?: {replace?: boolean}) => void} go
 * @returns {() => void}
 */
export function showRuns(view, query, go) {
  document.title = "Runs – dchat";
  const stop = new AbortController();
  const body = el(
    "div",
    { class: "list", "aria-busy": "true" },
    el("p", { class: "notice muted" }, "Loading runs…"),
  );
  const search = el("input", {
    type: "search",
    name: "q",
    placeholder: "Name, script, target or id",
    "aria-label": "Search runs",
    value: query.get("q") ?? "",
  });
  const form = el(
    "form",
    { class: "search", role: "search", onsubmit: submit },
    search,
    el("button", {}, "Search"),
  );
  replace(view, el("div", { class: "heading" }, el("h1", {}, "Runs"), form), filterLine(query), body);

  function submit(event) {
    event.preventDefault();
    const next = new URLSearchParams();
    const text = /** @type {HTMLInputElement} */ (search).value.trim();
    if (text) next.set("q", text);
    if (query.get("tag")) next.set("tag", /** @type {string} */ (query.get("tag")));
    go(`/${next.size ? `?${next}` : ""}`);
  }

  async function load() {
    const asked = new URLSearchParams({ limit: String(PAGE_RUNS) });
    for (const name of ["q", "tag", "before"])
      if (query.get(name)) asked.set(name, /** @type {string} */ (query.get(name)));
    try {
      const page = await listRuns(asked, stop.signal);
      replace(body, ...content(page, query));
    } catch (error) {
      if (stop.signal.aborted) return;
      replace(body, failure(/** @type {Error} */ (error), load));
    }
    body.setAttribute("aria-busy", "false");
  }

  load();
  const timer = setInterval(() => {
    // A focused row would lose its focus under a keyboard user's hands.
    if (!document.hidden && !body.contains(document.activeElement)) load();
  }, REFRESH_MS);
  return () => {
    clearInterval(timer);
    stop.abort();
  };
}

function content(page, query) {
  if (page.runs.length === 0) return [empty(query)];
  const rows = page.runs.map((run) => [
    el("a", { href: `/?run=${encodeURIComponent(run.run_id)}`, "data-view": true, class: "name" }, run.name),
    badge(run.state),
    badge(run.verdict),
    when(run.started_at),
    duration((run.finished_at ?? run.seen_at) - run.started_at),
    run.exit_code ?? "–",
    el("span", { class: "target", title: run.target }, address(run.target)),
    tagList(run.tags) ?? "",
  ]);
  const columns = [
    ["Name"],
    ["State"],
    ["Verdict"],
    ["Started"],
    ["Length", "figure"],
    ["Exit code", "figure"],
    ["Target"],
    ["Tags", "long"],
  ];
  const older = new URLSearchParams(query);
  older.set("before", page.next_before);
  return [
    table(/** @type {any} */ (columns), rows, "Runs"),
    page.has_more ? el("p", {}, el("a", { href: `/?${older}`, "data-view": true }, "Older runs →")) : null,
  ];
}

function filterLine(query) {
  const parts = [];
  if (query.get("tag")) parts.push(`tag ${query.get("tag")}`);
  if (query.get("q")) parts.push(`“${query.get("q")}”`);
  if (query.get("before")) parts.push("older runs");
  if (parts.length === 0) return null;
  return el(
    "p",
    { class: "filter" },
    `Showing ${parts.join(", ")} · `,
    el("a", { href: "/", "data-view": true }, "all runs"),
  );
}

function empty(query) {
  if (query.get("q") || query.get("tag") || query.get("before"))
    return el("p", { class: "notice muted" }, "No run fits.");
  return el(
    "div",
    { class: "notice" },
    el("p", {}, el("strong", {}, "No runs yet.")),
    el("p", {}, "Start one beside this relay; it is recorded here while it runs:"),
    el("pre", {}, "dchat run"),
  );
}
