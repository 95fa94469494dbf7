// Small parts that more than one view uses.

import { el } from "./dom.js";
import { WORDS } from "./format.js";

/** A state or verdict as a word with a sign and a colour. @param {string|null} word */
export function badge(word) {
  if (!word) return el("span", { class: "muted" }, "–");
  const [text, sign] = WORDS[word] ?? [word, "·"];
  return el(
    "span",
    { class: `badge ${WORDS[word] ? word : "unknown"}` },
    el("span", { class: "sign", "aria-hidden": "true" }, sign),
    text,
  );
}

/** A run's tags. @param {Record<string, string>} tags */
export function tagList(tags) {
  const pairs = Object.entries(tags ?? {});
  if (pairs.length === 0) return null;
  return el(
    "span",
    { class: "tags" },
    ...pairs.map(([name, value]) =>
      el(
        "a",
        { class: "tag", href: `/?${new URLSearchParams({ tag: `${name}=${value}` })}`, "data-view": true },
        `${name}=${value}`,
      ),
    ),
  );
}

/**
 * What stands in a view's place when it has failed.
 * @param {Error} error
 * @param {() => void} again
 */
export function failure(error, again) {
  return el(
    "div",
    { class: "notice error", role: "alert" },
    el("p", {}, el("strong", {}, "This could not be loaded. "), error.message),
    el("button", { type: "button", onclick: again }, "Try again"),
  );
}

/**
 * A table; columns are `[heading, class]`, cells are nodes or texts.
 * @param {[string, string?][]} columns
 * @param {(Node|string|number|null)[][]} rows
 * @param {string} caption
 */
export function table(columns, rows, caption) {
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      {},
      el(
        "thead",
        {},
        el("tr", {}, ...columns.map(([heading, of]) => el("th", { scope: "col", class: of }, heading))),
      ),
      el(
        "tbody",
        {},
        ...rows.map((cells) =>
          el("tr", {}, ...cells.map((cell, index) => el("td", { class: columns[index][1] }, cell))),
        ),
      ),
    ),
  );
}
