// What are we missing?  One strip of time for each connector, and the gaps as a table.

import { h, keyed, name, say, set } from "./dom.js";
import { UNKNOWN, count, duration, interval, known, percent, seconds, tick, time, usd } from "./format.js";

const STRIPS = 12;
const GAPS = 10;
const NEAR_PX = 12; // a gap may be narrower than a finger
const TICKS = 5;
const MORE_TICKS_PX = 640;

const STATES = {
  open: { level: "warning", word: "open" },
  repairing: { level: "notice", word: "being repaired" },
  lost: { level: "error", word: "lost" },
  repaired: { level: "ok", word: "repaired" },
  accepted: { level: "notice", word: "accepted" },
};

let allStrips = false;
let allGaps = false;
let chosen = null; // the key of the gap that the card tells about
let latest = null;
let rows = []; // of `latest`: each connector with its share and its gaps
let asked = null;

/** Return the share of *range* that is covered, of the part since the connector's begin; null before its begin. */
export function coveredShare(connector, range) {
  const [from, to] = [seconds(range.from), seconds(range.to)];
  const begin = Math.max(from, seconds(connector.covered_from) ?? Infinity);
  const end = Math.min(to, seconds(connector.covered_to) ?? -Infinity);
  if (!(end > begin)) return null;
  const missing = [...connector.gaps, ...connector.closed.filter((gap) => gap.state === "accepted")]
    .map((gap) => Math.min(seconds(gap.to), end) - Math.max(seconds(gap.from), begin))
    .filter((secs) => secs > 0);
  const after = Math.max(0, ...connector.gaps.filter((gap) => gap.goes_on).map((gap) => seconds(gap.to) - end));
  const whole = end + after - begin;
  return Math.max(0, 1 - (missing.reduce((sum, secs) => sum + secs, 0) + after) / whole);
}

/** Show the coverage of *document*; *actions* asks about gaps. */
export function showCoverage(document_, actions) {
  latest = document_;
  asked = actions;
  rows = listed();
  showStrips();
  showGaps();
}

function listed() {
  const { state, range } = latest;
  const found = Object.entries(state.connectors).map(([connector, of]) => ({
    connector,
    of,
    share: coveredShare(of, range),
    gaps: gapsOf(connector, of, range),
  }));
  const trouble = ({ of }) => of.gaps_count.lost * 1e6 + (of.gaps_count.open + of.gaps_count.repairing) * 1e3;
  return found.sort((one, other) => trouble(other) - trouble(one) || one.connector.localeCompare(other.connector));
}

function gapsOf(connector, of, range) {
  const from = seconds(range.from);
  return [...of.closed, ...of.gaps]
    .filter((gap) => seconds(gap.to) > from)
    .sort((one, other) => one.from.localeCompare(other.from))
    .map((gap) => ({ ...gap, connector, key: `${connector}\n${gap.partition}\n${gap.from}\n${gap.state}` }));
}

// -- the strips

function showStrips() {
  const strips = document.getElementById("strips");
  const items = rows.length ? [...(allStrips ? rows : rows.slice(0, STRIPS)), { axis: true }] : [];
  keyed(
    strips,
    items,
    (row) => (row.axis ? "axis" : `strip\n${row.connector}`),
    (row) => (row.axis ? makeAxis() : makeStrip(row)),
    (item, row) => (row.axis ? showAxis(item) : showStrip(item, row)),
  );
  const button = document.getElementById("all-strips");
  set(button, "hidden", rows.length <= STRIPS);
  say(button, allStrips ? "Show fewer connectors" : `Show all ${count(rows.length)} connectors`);
}

function makeStrip(row) {
  const track = h("div", { class: "track", onkeydown: move, onpointermove: point, onclick: open, onfocus: enter });
  track.row = row;
  track.addEventListener("pointerleave", () => document.activeElement !== track && choose(track, null));
  track.addEventListener("blur", () => choose(track, null));
  return h("div", { class: "strip" }, h("span", { class: "name" }, name(row.connector, "")), track, h("span", { class: "share" }));
}

function showStrip(item, row) {
  const [, track, share] = item.children;
  track.row = row;
  say(share, row.share === null ? "not yet" : percent(row.share, 2));
  const described = describe(row);
  if (row.gaps.length) {
    set(track, "role", "listbox");
    set(track, "tabindex", "0");
    set(track, "aria-label", `${described} Arrow keys go from gap to gap, Enter opens one.`);
  } else {
    set(track, "role", "img");
    set(track, "tabindex", null);
    set(track, "aria-label", described);
  }
  const covered = span(row.of.covered_from, row.of.covered_to);
  const items = [...(covered ? [{ key: "covered", covered }] : []), ...row.gaps];
  keyed(
    track,
    items,
    (each) => each.key,
    (each) => (each.covered ? h("span", { class: "span" }) : h("span", { class: "gap", role: "option", id: id(each.key) })),
    (element, each) => {
      place(element, each.covered ?? span(each.from, each.to));
      if (each.covered) return;
      element.dataset.state = each.state;
      set(element, "aria-label", sentence(each));
      set(element, "aria-selected", String(each.key === chosen));
    },
  );
  if (row.gaps.some((gap) => gap.key === chosen)) showCard(row.gaps.find((gap) => gap.key === chosen));
}

function describe(row) {
  const gaps = row.gaps.length ? `${count(row.gaps.length)} gaps.` : "no gap.";
  return `${row.connector}: ${row.share === null ? "nothing covered yet" : `${percent(row.share, 2)} covered`}, ${gaps}`;
}

/** Begin and end of the strips: they end now, and a range with the minute that runs. */
function bounds() {
  return [seconds(latest.range.from), Math.min(seconds(latest.range.to), seconds(latest.at))];
}

/** Return begin and width of a time in shares of the range; null where it lies outside. */
function span(fromIso, toIso) {
  const [from, to] = bounds();
  const begin = Math.max(from, seconds(fromIso) ?? Infinity);
  const end = Math.min(to, seconds(toIso) ?? -Infinity);
  return end > begin ? { left: (begin - from) / (to - from), width: (end - begin) / (to - from) } : null;
}

function place(element, at) {
  element.style.left = `${((at?.left ?? 0) * 100).toFixed(3)}%`;
  element.style.width = `${((at?.width ?? 0) * 100).toFixed(3)}%`;
}

const ids = new Map();
function id(key) {
  if (!ids.has(key)) ids.set(key, `gap-${ids.size}`);
  return ids.get(key);
}

function makeAxis() {
  return h("div", { class: "strip", "aria-hidden": "true" }, h("span"), h("div", { class: "axis" }), h("span", { class: "share" }));
}

function showAxis(item) {
  const [from, to] = bounds();
  const axis = item.children[1];
  const steps = innerWidth > MORE_TICKS_PX ? TICKS + 2 : TICKS - 1;
  const ticks = Array.from({ length: steps }, (_, at) => at / (steps - 1));
  keyed(axis, ticks, String, () => h("span"), (element, share) => {
    element.style.left = `${share * 100}%`;
    say(element, tick(from + share * (to - from), to - from));
  });
}

// -- going from gap to gap

function enter({ target }) {
  if (target.matches(":focus-visible")) choose(target, target.row.gaps.at(-1)?.key ?? null);
}

function move(event) {
  const track = event.currentTarget;
  const keys = track.row.gaps.map((gap) => gap.key);
  const at = keys.indexOf(chosen);
  const next = { ArrowRight: at + 1, ArrowLeft: at < 0 ? keys.length - 1 : at - 1, Home: 0, End: keys.length - 1 }[event.key];
  if (next !== undefined) choose(track, keys[Math.max(0, Math.min(keys.length - 1, next))] ?? null);
  else if (event.key === "Enter" || event.key === " ") open({ currentTarget: track });
  else return;
  event.preventDefault();
}

function point({ currentTarget: track, clientX }) {
  const near = [...track.querySelectorAll(".gap")]
    .map((element) => {
      const { left, right } = element.getBoundingClientRect();
      return { element, far: Math.max(left - clientX, clientX - right, 0) };
    })
    .filter(({ far }) => far <= NEAR_PX)
    .sort((one, other) => one.far - other.far)[0];
  choose(track, track.row.gaps.find((gap) => id(gap.key) === near?.element.id)?.key ?? null);
}

function open({ currentTarget: track }) {
  const gap = track.row.gaps.find((each) => each.key === chosen);
  if (gap) asked.gap(gap);
}

function choose(track, key) {
  if (key === chosen) return;
  chosen = key;
  for (const element of track.querySelectorAll(".gap")) set(element, "aria-selected", String(element.id === ids.get(key)));
  set(track, "aria-activedescendant", key === null ? null : id(key));
  showCard(key === null ? null : track.row.gaps.find((gap) => gap.key === key));
}

function showCard(gap) {
  const card = document.getElementById("gap-card");
  set(card, "hidden", !gap);
  if (!gap) return;
  const facts = [
    `${STATES[gap.state]?.word ?? gap.state}: ${interval(gap.from, gap.to)}`,
    duration(gap.seconds),
    gap.reason,
    doing(gap),
    cost(gap),
  ];
  keyed(card, [gap.connector, ...facts].entries(), ([at]) => at, ([at]) => h(at ? "span" : "strong"), (element, [, text]) => say(element, text ?? ""));
}

function sentence(gap) {
  const facts = [`${STATES[gap.state]?.word ?? gap.state}, ${interval(gap.from, gap.to)}`, duration(gap.seconds), gap.reason, doing(gap), cost(gap)];
  return facts.filter(Boolean).join("; ");
}

function doing(gap) {
  if (gap.doing) return gap.doing;
  if (gap.state === "repaired") return `repaired${gap.way ? ` by ${gap.way}` : ""} at ${time(gap.closed_at)}`;
  return gap.state === "accepted" ? `accepted at ${time(gap.closed_at)}: it stays missing` : "";
}

function cost(gap) {
  if (gap.state === "repaired" || gap.posts) return `${count(gap.posts)} posts for ${usd(gap.cost_usd)}`;
  return known(gap.estimate_usd) ? `about ${usd(gap.estimate_usd)} for ${count(gap.estimate_posts)} posts` : UNKNOWN;
}

// -- the table

const weight = { lost: 0, open: 1, repairing: 1, repaired: 2, accepted: 2 };

function showGaps() {
  const gaps = rows.flatMap((row) => row.gaps);
  gaps.sort((one, other) => weight[one.state] - weight[other.state] || other.from.localeCompare(one.from));
  const shown = allGaps ? gaps : gaps.slice(0, GAPS);
  set(document.getElementById("gap-table"), "hidden", !gaps.length);
  const none = document.getElementById("no-gaps");
  set(none, "hidden", gaps.length > 0);
  say(none, rows.length ? "There is no gap in this range." : "Nothing can be missing: there is no connector.");
  keyed(document.getElementById("gap-rows"), shown, (gap) => gap.key.replace(/\n[a-z]*$/, ""), makeGap, showGap);
  const button = document.getElementById("all-gaps");
  set(button, "hidden", gaps.length <= GAPS);
  say(button, allGaps ? "Show fewer gaps" : `Show all ${count(gaps.length)} gaps`);
}

function makeGap(gap) {
  const cell = (label, ...children) => h("td", { data: { label } }, ...children);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("span", { class: "when" }), " ", h("span", { class: "soft length" })),
    cell("Connector", name(gap.connector)),
    cell("State", h("span", { class: "pill" })),
    cell("Reason", h("span", { class: "wrap reason", dir: "auto" })),
    cell("What is done", h("span", { class: "wrap doing", dir: "auto" })),
    cell("Cost", h("span", { class: "cost" })),
    h("td", { class: "acts" }),
  );
}

function showGap(row, gap) {
  const pill = row.querySelector(".pill");
  pill.dataset.level = STATES[gap.state]?.level ?? "notice";
  say(pill, STATES[gap.state]?.word ?? gap.state);
  say(row.querySelector(".when"), gap.goes_on ? `${time(gap.from)} until now` : interval(gap.from, gap.to));
  say(row.querySelector(".length"), duration(gap.seconds));
  say(row.querySelector(".reason"), gap.partition === null ? gap.reason : `${gap.reason} (partition ${gap.partition})`);
  say(row.querySelector(".doing"), doing(gap) || UNKNOWN);
  say(row.querySelector(".cost"), cost(gap));
  const acts = row.querySelector(".acts");
  row.gap = gap;
  const wanted = `${Boolean(gap.can_retry)} ${Boolean(gap.can_accept)}`;
  if (acts.dataset.shown === wanted) return;
  acts.dataset.shown = wanted;
  acts.replaceChildren(
    ...(gap.can_retry ? [h("button", { type: "button", onclick: () => asked.retry(row.gap) }, "Retry")] : []),
    ...(gap.can_accept ? [h("button", { type: "button", onclick: () => asked.accept(row.gap) }, "Accept")] : []),
  );
}

document.getElementById("all-strips").addEventListener("click", () => {
  allStrips = !allStrips;
  showStrips();
});
document.getElementById("all-gaps").addEventListener("click", () => {
  allGaps = !allGaps;
  showGaps();
});
