// Who does the work?  Connectors with their tasks, workers, dead letters.

import { fill, h, keyed, name, say, set } from "./dom.js";
import { bytes, count, duration, known, percent, rate, time, usd } from "./format.js";

const STEP = 15;
export const LEVELS = { RUNNING: "ok", PAUSED: "notice", STOPPED: "notice", UNASSIGNED: "warning", FAILED: "error", RESTARTING: "warning" };
const WORKERS = {
  here: { level: "ok", word: "answers you" },
  alive: { level: "ok", word: "alive" },
  gone: { level: "error", word: "away" },
  stopped: { level: "notice", word: "stopped" },
};
const WORST = ["FAILED", "UNASSIGNED", "RESTARTING", "RUNNING", "PAUSED", "STOPPED"];
const SILENT_SECS = 60; // a connection that says nothing for so long is stalled: X sends a keep-alive each 20 s

let words = "";
let limit = STEP;
let latest = null;
let buttons = null;

/** Show connectors and workers of *document*; *actions* makes the buttons of a connector. */
export function showWork(document_, actions) {
  latest = document_;
  buttons = actions;
  showConnectors();
  showWorkers();
  showDeadLetters();
}

function showConnectors() {
  const { connectors } = latest.state;
  const found = Object.entries(connectors).filter(([connector, of]) => matches(connector, of));
  found.sort(([one, a], [other, b]) => worst(a) - worst(b) || one.localeCompare(other));
  const any = Object.keys(connectors).length > 0;
  set(document.getElementById("connectors-table"), "hidden", !any);
  set(document.getElementById("no-connectors"), "hidden", any);
  set(document.getElementById("connector-tools"), "hidden", Object.keys(connectors).length <= STEP);
  keyed(document.getElementById("connector-rows"), found.slice(0, limit), ([connector]) => connector, makeConnector, showConnector);
  const more = document.getElementById("more-connectors");
  set(more, "hidden", found.length <= limit);
  say(more, `Show ${count(found.length - limit)} more`);
}

const worst = (of) => WORST.indexOf(of.state) * 2 + (of.connected ? 1 : 0);

function matches(connector, of) {
  return !words || `${connector} ${of.state} ${of.topic ?? ""} ${of.stream ?? ""}`.toLowerCase().includes(words);
}

function makeConnector([connector]) {
  const cell = (label, className, ...children) => h("td", { class: className, data: { label } }, ...children);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, name(connector), h("bdi", { class: "long soft small", dir: "auto" })),
    cell("State", null, h("span", { class: "pill" }), h("span", { class: "wrap soft small detail" })),
    cell("Tasks", null, h("span", { class: "wrap tasks" })),
    cell("Posts now", "number"),
    cell("Covered until", "number"),
    cell("Today", "number"),
    cell("Dead letters", "number"),
    h("td", { class: "acts" }),
  );
}

function showConnector(row, [connector, of]) {
  const [head, state, tasks, speed, heard, today, dead, acts] = row.children;
  say(head.lastChild, `${of.stream ?? ""} → ${of.topic ?? ""}`);
  set(head.lastChild, "title", of.topic);
  const [pill, detail] = state.children;
  pill.dataset.level = LEVELS[of.state] ?? "notice";
  say(pill, of.state);
  say(detail, ` ${of.detail ?? flow(of)}`);
  say(tasks.firstChild, Object.entries(of.tasks ?? {}).map(([number, task]) => told(number, task)).join(", ") || "none");
  say(speed, rate(of.posts_per_sec));
  say(heard, known(of.behind_secs) ? (of.behind_secs < 1 ? "now" : `${duration(of.behind_secs)} ago`) : "–");
  say(today, usd(of.spend?.today_usd));
  say(dead, count(of.dead_letters_total));
  const shown = `${of.state} ${of.stream}`;
  if (acts.dataset.shown === shown) return;
  acts.dataset.shown = shown;
  fill(acts, buttons.buttons(connector, of, { edit: true }));
}

/** Idle and stalled look alike in the rate of posts: the one is heard, the other is not. */
function flow(of) {
  if (of.state !== "RUNNING" || of.posts_per_sec !== 0) return "";
  if (!of.connected) return "no connection to X";
  if (!known(of.behind_secs)) return "connected; nothing has come yet";
  return of.behind_secs > SILENT_SECS ? "stalled: X is not heard" : "idle: X is heard, and no post matches";
}

function told(number, task) {
  const again = task.auto_restart;
  const restarts = again ? `, tried again ${count(again.count)} times, next at ${time(again.next)}` : "";
  const state = task.state === "RUNNING" ? "" : ` ${task.state}`;
  return `${number}${state} on ${task.worker_id ?? "no worker"}${restarts}`;
}

function showWorkers() {
  const workers = Object.entries(latest.state.workers);
  const order = ["gone", "here", "alive", "stopped"];
  workers.sort(([, one], [, other]) => order.indexOf(one.state) - order.indexOf(other.state) || one.worker_id.localeCompare(other.worker_id));
  keyed(
    document.getElementById("worker-rows"),
    workers,
    ([process]) => process,
    () => h("tr", {}, h("th", { scope: "row" }, h("bdi", { class: "long", dir: "auto" })), ...["State", "Tasks", "Heard", "CPU", "Memory", "Version"].map((label) => h("td", { data: { label } }, label === "State" ? h("span", { class: "pill" }) : null))),
    (row, [, worker]) => {
      const [head, state, tasks, heard, cpu, memory, version] = row.children;
      say(head.firstChild, worker.worker_id);
      state.firstChild.dataset.level = WORKERS[worker.state]?.level ?? "notice";
      say(state.firstChild, WORKERS[worker.state]?.word ?? worker.state);
      say(tasks, listed(worker.tasks ?? []));
      say(heard, `${time(worker.heard)}, since ${time(worker.started)}`);
      say(cpu, known(worker.cpu_share) ? `${percent(worker.cpu_share)} of a core` : "–");
      say(memory, bytes(worker.memory_bytes));
      say(version, worker.version ?? "–");
    },
  );
}

const TASKS = 5;
const listed = (tasks) => (tasks.length > TASKS ? `${tasks.slice(0, TASKS).join(", ")} and ${tasks.length - TASKS} more` : tasks.join(", ") || "none");

function showDeadLetters() {
  const rows = Object.entries(latest.range.connectors).flatMap(([connector, of]) => [
    ...Object.entries(of.dead_letters ?? {}).map(([reason, posts]) => ({ connector, reason, posts, what: "dead letter" })),
    ...Object.entries(of.dropped ?? {}).map(([reason, posts]) => ({ connector, reason, posts, what: "dropped" })),
  ]).filter(({ posts }) => posts > 0);
  rows.sort((one, other) => one.what.localeCompare(other.what) || other.posts - one.posts);
  set(document.getElementById("drops"), "hidden", !rows.length);
  keyed(
    document.getElementById("drop-rows"),
    rows.slice(0, STEP),
    (row) => `${row.connector}\n${row.what}\n${row.reason}`,
    (row) => h("tr", {}, h("th", { scope: "row" }, name(row.connector)), h("td", {}, row.what), h("td", { class: "wrap" }, row.reason), h("td", { class: "number" })),
    (element, row) => say(element.lastChild, count(row.posts)),
  );
}

document.getElementById("connector-words").addEventListener("input", ({ target }) => {
  words = target.value.trim().toLowerCase();
  limit = STEP;
  showConnectors();
});
document.getElementById("more-connectors").addEventListener("click", () => {
  limit = Infinity;
  showConnectors();
});
