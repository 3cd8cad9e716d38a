// Which rule brings what, and is it worth its money?

import { h, keyed, name, say, set } from "./dom.js";
import { count, percent, rate, RANGES, usd } from "./format.js";

const STEP = 20;
const COLUMNS = [
  { key: "label", title: "Rule", of: (rule) => rule.label ?? "" },
  { key: "connector", title: "Connector", of: (rule) => rule.connector },
  { key: "posts", title: "Posts", of: (rule) => rule.posts },
  { key: "posts_per_sec", title: "Rate", of: (rule) => rule.posts_per_sec },
  { key: "share", title: "Share", of: (rule) => rule.share },
  { key: "overlap_share", title: "Also by others", of: (rule) => rule.overlap_share },
  { key: "usd", title: "Cost", of: (rule) => rule.usd },
  { key: "usd_alone", title: "Saved without it", of: (rule) => rule.usd_alone },
];

let sorted = { column: COLUMNS[6], down: true };
let words = "";
let limit = STEP;
let latest = null;

/** Show the rules of *document*. */
export function showRules(document_) {
  latest = document_;
  const { rules, rules_left_out: leftOut, name: range } = document_.range;
  const found = Object.entries(rules).filter(([, rule]) => matches(rule));
  const { of } = sorted.column;
  const sign = sorted.down ? -1 : 1;
  found.sort(([, one], [, other]) => sign * compare(of(one), of(other)) || compare(one.label, other.label));
  const all = Object.keys(rules).length;
  set(document.getElementById("rules-table"), "hidden", !all);
  set(document.getElementById("no-rules"), "hidden", all > 0);
  const left = leftOut ? ` ${count(leftOut)} rules with fewer posts are left out.` : "";
  say(document.getElementById("rules-caption"), `${count(found.length)} rules, last ${RANGES[range]}.${left}`);
  keyed(document.getElementById("rule-rows"), found.slice(0, limit), ([key]) => key, makeRule, showRule);
  const more = document.getElementById("more-rules");
  set(more, "hidden", found.length <= limit);
  say(more, `Show ${count(Math.min(5 * STEP, found.length - limit))} more`);
  for (const head of document.querySelectorAll("#rules-heads th")) {
    const mine = head.dataset.key === sorted.column.key;
    set(head, "aria-sort", mine ? (sorted.down ? "descending" : "ascending") : null);
  }
}

function matches(rule) {
  return !words || [rule.label, rule.value, rule.connector].some((text) => (text ?? "").toLowerCase().includes(words));
}

function compare(one, other) {
  if (typeof one === "string" && typeof other === "string") return one.localeCompare(other);
  return (one ?? -1) - (other ?? -1);
}

function makeRule() {
  const cell = (label, className, ...children) => h("td", { class: className, data: { label } }, ...children);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("bdi", { class: "long", dir: "auto" }), h("bdi", { class: "long soft mono small", dir: "auto" }), h("span", { class: "pill", hidden: true }, "no rule now")),
    cell("Connector", null, h("bdi", { class: "long", dir: "auto" })),
    cell("Posts", "number"),
    cell("Rate", "number"),
    cell("Share", "number", h("span"), h("span", { class: "bar-cell", "aria-hidden": "true" }, h("i"))),
    cell("Also by others", "number"),
    cell("Cost", "number"),
    cell("Saved without it", "number"),
  );
}

function showRule(row, [, rule]) {
  const [head, connector, posts, speed, share, overlap, cost, alone] = row.children;
  const [label, value, gone] = head.children;
  const titled = rule.label || rule.value || "(no tag)";
  show(label, titled);
  show(value, rule.value && rule.value !== titled ? rule.value : "");
  set(gone, "hidden", rule.in_force !== false);
  show(connector.firstChild, rule.connector);
  say(posts, count(rule.posts));
  say(speed, rate(rule.posts_per_sec));
  say(share.firstChild, percent(rule.share));
  share.lastChild.firstChild.style.width = `${Math.min(1, rule.share ?? 0) * 100}%`;
  say(overlap, percent(rule.overlap_share));
  say(cost, usd(rule.usd));
  say(alone, usd(rule.usd_alone));
}

function show(element, text) {
  say(element, text);
  set(element, "title", text || null);
}

for (const column of COLUMNS) {
  const sort = () => {
    sorted = { column, down: sorted.column === column ? !sorted.down : !["label", "connector"].includes(column.key) };
    showRules(latest);
  };
  const className = ["label", "connector"].includes(column.key) ? null : "number";
  const button = h("button", { type: "button", class: "sort", onclick: sort }, column.title);
  document.getElementById("rules-heads").append(h("th", { scope: "col", class: className, data: { key: column.key } }, button));
}
document.getElementById("rule-words").addEventListener("input", ({ target }) => {
  words = target.value.trim().toLowerCase();
  limit = STEP;
  showRules(latest);
});
document.getElementById("more-rules").addEventListener("click", () => {
  limit += 5 * STEP;
  showRules(latest);
});
