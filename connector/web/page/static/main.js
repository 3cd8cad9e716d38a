// The page: what `live` knows, shown by one module for each question, in the order in which they are asked.

import { Actions } from "./actions.js";
import { showCharts } from "./charts.js";
import { showCoverage } from "./coverage.js";
import { h, say, set } from "./dom.js";
import { showEvents } from "./events.js";
import { count, duration, RANGES, time, zone } from "./format.js";
import { Live } from "./live.js";
import { showMoney } from "./money.js";
import { showRules } from "./rules.js";
import { showVerdict } from "./verdict.js";
import { showWork } from "./work.js";

const STALE_SECS = 5; // an age below this is not worth a word
const $ = (id) => document.getElementById(id);

const actions = new Actions();
const live = new Live(() => changed());
let frozen = null; // since when the viewer has frozen the page, and how many updates wait
let waiting = false;

function changed() {
  if (frozen !== null) frozen.updates += 1;
  else if (!waiting) {
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      show();
    });
  }
  showPhase();
}

function show() {
  const known = live.document;
  if (known === null) return;
  const { worker } = known.state;
  say($("group"), worker.group ?? "");
  set($("group"), "title", worker.group);
  say($("version"), `Murmuration ${worker.version} on ${worker.id}.`);
  showVerdict(known, actions);
  showCoverage(known, actions);
  showCharts(known, $("charts"), $("money-chart"));
  showMoney(known);
  showRules(known);
  showWork(known, actions);
  showEvents(known);
  document.title = `${known.state.verdict.level === "error" ? "✕ " : known.state.verdict.level === "warning" ? "! " : ""}Murmuration ${worker.group ?? ""}`;
}

// -- loading, live, frozen, lost

function showPhase() {
  const phase = frozen !== null ? "frozen" : live.phase;
  document.body.dataset.phase = phase;
  const words = { loading: "Loading", live: live.polled ? "Live, every 10 s" : "Live", frozen: "Frozen", lost: "Stream lost" };
  say($("phase"), words[phase]);
  const notice = noticeOf(phase);
  set($("notice"), "hidden", notice === null);
  say($("notice-text"), notice ?? "");
  say($("notice-act"), phase === "frozen" ? "Go on" : "Try now");
  showAge(phase);
}

function noticeOf(phase) {
  if (phase === "frozen") return `You have frozen this page at ${time(new Date(frozen.at).toISOString())}.`;
  if (phase === "lost") return `${live.reason} What you see stays, and is as old as it says.`;
  if (phase === "loading" && live.reason) return live.reason;
  return null;
}

/** Say how old the rows are: beside the state, and in each part of the page once they are old. */
function showAge(phase) {
  const age = live.heardAt === null ? null : ((frozen?.at ?? Date.now()) - live.heardAt) / 1000;
  const old = phase === "lost" || phase === "frozen";
  const since = phase === "frozen" ? (Date.now() - frozen.at) / 1000 + Math.max(0, age) : age;
  say($("age"), old && since !== null ? `${duration(Math.max(1, Math.round(since)))} old` : "");
  const text = old && since >= (phase === "lost" ? 0 : STALE_SECS) ? `as of ${time(new Date(live.heardAt).toISOString())}, ${duration(Math.max(1, Math.round(since)))} ago` : "";
  for (const element of document.querySelectorAll(".as-of")) say(element, text);
  const next = live.nextTryAt === null || phase !== "lost" ? null : Math.max(0, Math.round((live.nextTryAt - Date.now()) / 1000));
  const updates = frozen?.updates ? `${count(frozen.updates)} updates wait.` : "";
  say($("notice-more"), next === null ? updates : next ? `Next try in ${next} s.` : "Trying …");
}

function freeze() {
  if (frozen === null) frozen = { at: Date.now(), updates: 0 };
  else {
    frozen = null;
    show();
  }
  set($("freeze"), "aria-pressed", String(frozen !== null));
  showPhase();
}

// -- the bar

for (const [range, title] of Object.entries(RANGES)) {
  const input = h("input", { type: "radio", name: "range", value: range, checked: range === live.range });
  input.addEventListener("change", () => {
    if (frozen !== null) freeze();
    live.choose(range);
  });
  $("ranges").append(h("label", {}, input, h("span", {}, title)));
}
for (const heading of document.querySelectorAll(".card h2")) heading.append(h("span", { class: "as-of" }));
$("freeze").addEventListener("click", freeze);
$("notice-act").addEventListener("click", () => (frozen === null ? live.open() : freeze()));
say($("zone"), zone);
setInterval(() => document.hidden || showAge(frozen !== null ? "frozen" : live.phase), 1000);
live.open();
