// What does it cost?  Today and this month, against the budgets, with what it will come to.

import { h, keyed, name, say, set } from "./dom.js";
import { count, known, percent, time, usd } from "./format.js";

const NEARLY = 0.8;

/** Show the spending of *document*. */
export function showMoney(document_) {
  const { connectors, spend } = document_.state;
  const meters = [
    { key: "today", title: "Today (UTC)", sum: usd(spend.today_usd), more: today(spend, connectors), ...dayGauge(connectors) },
    { key: "month", title: "This month (UTC)", sum: usd(spend.month_usd), more: month(spend), ...monthGauge(spend) },
  ];
  keyed(document.getElementById("meters"), meters, (meter) => meter.key, makeMeter, showMeter);
  showSpenders(connectors);
}

function today(spend, connectors) {
  const parts = [`${count(spend.today_posts)} posts`];
  if (known(spend.today_projected_usd)) parts.push(`at this pace ${usd(spend.today_projected_usd)} by midnight`);
  const ends = Object.entries(connectors).filter(([, of]) => of.spend?.day_used_up_at);
  for (const [connector, of] of ends.slice(0, 3)) parts.push(`the day’s budget of ${connector} is used up ${at(of.spend.day_used_up_at)}`);
  return parts.join("; ");
}

function month(spend) {
  const parts = [];
  if (known(spend.budget_usd_per_month)) parts.push(`${percent(spend.month_share)} of ${usd(spend.budget_usd_per_month)}`);
  else parts.push("no budget: set budget.usd.per.month, so that a mistake cannot cost more than that");
  if (known(spend.month_projected_usd)) parts.push(`at this pace ${usd(spend.month_projected_usd)} by its end`);
  return parts.join("; ");
}

const at = (iso) => `at ${time(iso)}`;

/** The day's gauge is that of the connector that is nearest to its budget of posts. */
function dayGauge(connectors) {
  const shares = Object.values(connectors).map((of) => of.spend?.day_share).filter(known);
  return shares.length ? { share: Math.max(...shares), projected: null } : { share: null, projected: null };
}

function monthGauge(spend) {
  if (!known(spend.month_share)) return { share: null, projected: null };
  const projected = known(spend.month_projected_usd) ? spend.month_projected_usd / spend.budget_usd_per_month : null;
  return { share: spend.month_share, projected };
}

function makeMeter(meter) {
  return h(
    "div",
    { class: "meter" },
    h("p", { class: "line" }, h("span", { class: "soft" }, meter.title), h("span", { class: "sum" })),
    h("div", { class: "gauge", role: "img" }, h("i"), h("b")),
    h("p", { class: "small soft more" }),
  );
}

function showMeter(element, meter) {
  const [, gauge] = element.children;
  const [filled, mark] = gauge.children;
  say(element.querySelector(".sum"), meter.sum);
  say(element.querySelector(".more"), meter.more);
  set(gauge, "hidden", !known(meter.share));
  element.dataset.level = meter.share >= 1 ? "error" : meter.share >= NEARLY || meter.projected > 1 ? "warning" : "ok";
  filled.style.width = `${Math.min(1, meter.share ?? 0) * 100}%`;
  set(mark, "hidden", !known(meter.projected));
  mark.style.left = `${Math.min(0.995, meter.projected ?? 0) * 100}%`;
  const projected = known(meter.projected) ? `, by the end about ${percent(meter.projected)}` : "";
  set(gauge, "aria-label", known(meter.share) ? `${percent(meter.share)} of the budget${projected}` : null);
}

const SPENDERS = 8;

function showSpenders(connectors) {
  const spenders = Object.entries(connectors)
    .filter(([, of]) => of.spend)
    .sort(([, one], [, other]) => (other.spend.month_usd ?? 0) - (one.spend.month_usd ?? 0));
  set(document.getElementById("spenders"), "hidden", spenders.length < 2);
  keyed(
    document.getElementById("spender-rows"),
    spenders.slice(0, SPENDERS),
    ([connector]) => connector,
    ([connector]) => h("tr", {}, h("th", { scope: "row" }, name(connector)), h("td", { class: "number" }), h("td", { class: "number" }), h("td", { class: "number" })),
    (row, [, { spend }]) => {
      say(row.children[1], usd(spend.today_usd));
      say(row.children[2], usd(spend.month_usd));
      say(row.children[3], known(spend.month_share) ? percent(spend.month_share, 0) : "none");
      set(row.children[3], "title", known(spend.budget_usd_per_month) ? `of ${usd(spend.budget_usd_per_month)}` : null);
    },
  );
}
