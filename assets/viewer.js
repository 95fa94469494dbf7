// The results viewer: picks the view that the URL names and keeps links inside the page.
//
// A saved report is one run. Else the URL is the whole state: `/` is the list (`q`, `tag`, `before`), `/?run=ID` one run. A view is
// a function that fills an element and gives back what ends it (timers, streams, requests).

import { storedRun } from "./api.js";
import { showRun } from "./run.js";
import { showRuns } from "./runs.js";

const view = /** @type {HTMLElement} */ (document.getElementById("view"));
/** @type {(() => void) | null} */
let leave = null;

function show() {
  leave?.();
  const query = new URLSearchParams(location.search);
  const runId = storedRun ?? query.get("run");
  for (const link of document.querySelectorAll("nav a")) {
    if (runId) link.removeAttribute("aria-current");
    else link.setAttribute("aria-current", "page");
  }
  leave = runId ? showRun(view, runId) : showRuns(view, query, go);
}

/**
 * Goes to another URL of this page.
 * @param {string} url
 * @param {{replace?: boolean}} [how] `replace`: no new entry in the history
 */
function go(url, how = {}) {
  if (how.replace) history.replaceState(null, "", url);
  else {
    history.pushState(null, "", url);
    scrollTo(0, 0);
  }
  show();
}

document.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const link = target.closest("a[data-view]");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plain) return;
  event.preventDefault();
  go(/** @type {HTMLAnchorElement} */ (link).href);
  view.focus({ preventScroll: true });
});
addEventListener("popstate", show);
show();
