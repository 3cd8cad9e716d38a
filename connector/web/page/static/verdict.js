// Is everything all right?  What, since when, what happens next, what can I do; and the figures beside it.

import { fill, h, keyed, say, set } from "./dom.js";
import { count, duration, known, percent, rate, RANGES, time, usd } from "./format.js";
import { coveredShare } from "./coverage.js";

/** Show the verdict of *document*; *actions* makes the buttons of a connector. */
export function showVerdict(document_, actions) {
  const { state, range } = document_;
  const verdict = state.verdict;
  const section = document.getElementById("verdict");
  section.dataset.level = verdict.level;
  const title = document.getElementById("verdict-title");
  say(title, verdict.text);
  set(title, "title", verdict.text); // a very long one is cut
  say(document.getElementById("verdict-more"), more(verdict));
  say(document.getElementById("verdict-told"), `${verdict.text} ${verdict.cure ?? ""}`);
  const names = Object.keys(state.connectors);
  const about = verdict.connector ?? (names.length === 1 ? names[0] : null);
  showActs(document.getElementById("verdict-acts"), about, state, actions);
  keyed(
    document.getElementById("problems"),
    verdict.others ?? [],
    (problem) => `${problem.level}:${problem.connector}:${problem.text}`,
    makeProblem,
    (item, problem) => showProblem(item, problem, state, actions),
  );
  showFigures(state, range);
}

function more(verdict) {
  const since = verdict.since ? `Since ${time(verdict.since)}.` : null;
  const hidden = (verdict.problems ?? 0) - 1 - (verdict.others ?? []).length;
  const left = hidden > 0 ? `${count(hidden)} more problems are not listed here.` : null;
  return [since, verdict.next, verdict.cure, left].filter(Boolean).join(" ");
}

function showActs(place, about, state, actions) {
  const connector = about === null ? undefined : state.connectors[about];
  const key = connector === undefined ? "" : `${about}\n${connector.state}`;
  if (place.dataset.shown === key) return;
  place.dataset.shown = key;
  fill(place, connector === undefined ? [] : actions.buttons(about, connector));
}

function makeProblem() {
  return h("li", { class: "problem" }, h("p", { class: "what", dir: "auto" }), h("p", { class: "then", dir: "auto" }), h("p", { class: "acts" }));
}

function showProblem(item, problem, state, actions) {
  item.dataset.level = problem.level;
  say(item.querySelector(".what"), problem.text);
  set(item, "title", problem.text);
  say(item.querySelector(".then"), more(problem));
  showActs(item.querySelector(".acts"), problem.connector ?? null, state, actions);
}

function showFigures(state, range) {
  const any = Object.keys(state.connectors).length > 0;
  set(document.getElementById("figures"), "hidden", !any);
  const figures = [covered(state, range), speed(state, range), age(range), today(state), month(state), connections(state)];
  keyed(
    document.getElementById("figures"),
    figures,
    (figure) => figure.title,
    (figure) => h("div", {}, h("dt", {}, figure.title), h("dd"), h("dd", { class: "more" })),
    (item, figure) => {
      say(item.children[1], figure.value);
      say(item.children[2], figure.more);
    },
  );
}

function covered(state, range) {
  const connectors = Object.values(state.connectors);
  const shares = connectors.map((connector) => coveredShare(connector, range)).filter(known);
  const missing = connectors.reduce((sum, connector) => sum + (connector.missing_secs ?? 0), 0);
  const gaps = connectors.reduce((sum, each) => sum + each.gaps_count.open + each.gaps_count.repairing + each.gaps_count.lost, 0);
  return {
    title: "Covered",
    value: shares.length ? percent(Math.min(...shares), 2) : "–",
    more: gaps ? `${count(gaps)} ${gaps === 1 ? "gap" : "gaps"}, ${duration(missing)} missing` : `in the last ${RANGES[range.name]}; no gap is open`,
  };
}

function speed(state, range) {
  const delivered = sum(range.series.delivered);
  const lately = last(range.series.delivered); // in a minute, while the worker does not know what was just now
  const now = state.posts_per_sec ?? (lately === null ? null : lately / range.step_secs);
  return { title: "Posts now", value: rate(now), more: `${count(delivered)} in the last ${RANGES[range.name]}` };
}

function age(range) {
  const p50 = last(range.series.age_p50);
  const p99 = last(range.series.age_p99);
  return { title: "Age of a post in Kafka", value: duration(p50), more: `median; 99 % within ${duration(p99)}` };
}

function today(state) {
  const { today_usd, today_posts, today_projected_usd } = state.spend;
  const projected = known(today_projected_usd) ? `, about ${usd(today_projected_usd)} by midnight UTC` : "";
  return { title: "Spent today", value: usd(today_usd), more: `${count(today_posts)} posts${projected}` };
}

function month(state) {
  const { month_usd, month_projected_usd, budget_usd_per_month } = state.spend;
  const budget = known(budget_usd_per_month) ? `of ${usd(budget_usd_per_month)}` : "no budget is set";
  const projected = known(month_projected_usd) ? `; about ${usd(month_projected_usd)} by its end` : "";
  return { title: "Spent this month", value: usd(month_usd), more: `${budget}${projected}` };
}

function connections(state) {
  const running = Object.values(state.connectors).filter((connector) => connector.state !== "PAUSED" && connector.state !== "STOPPED");
  const connected = running.filter((connector) => connector.connected).length;
  const workers = Object.values(state.workers);
  const away = workers.filter((worker) => worker.state === "gone").length;
  const there = workers.filter((worker) => worker.state === "here" || worker.state === "alive").length;
  return {
    title: "Connected to X",
    value: `${count(connected)} of ${count(running.length)}`,
    more: `${running.length === 1 ? "connector" : "connectors"}; ${count(there)} ${there === 1 ? "worker" : "workers"}${away ? `, ${count(away)} away` : ""}`,
  };
}

const sum = (values) => (values ?? []).reduce((total, value) => total + (value ?? 0), 0);
const last = (values) => (values ?? []).findLast(known) ?? null;
