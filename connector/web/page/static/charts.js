// Is it fast?  Rates, post age and delivery time over the range; each plot has a table.

import { fill, h, say, set } from "./dom.js";
import { UNKNOWN, duration, known, rate, RANGES, tick, time, usd } from "./format.js";

const HEIGHT = 150;
const ROWS = 60;
const FEW = 10; // so few points are drawn as such: a single one makes no line
const COLOURS = ["--one", "--two", "--three"];

const perSecond = (column) => (series, range) => series[column].map((value) => (known(value) ? value / range.step_secs : null));
const as = (column) => (series) => series[column];

const SPEED = [
  { title: "Posts a second", area: true, show: rate, lines: [["received", perSecond("received")], ["delivered", perSecond("delivered")], ["repaired", perSecond("repaired")]] },
  { title: "Age of a post when it is in Kafka", show: duration, lines: [["median", as("age_p50")], ["99 % within", as("age_p99")]] },
  { title: "From its arrival to Kafka’s confirmation", show: duration, lines: [["median", as("delivery_p50")], ["99 % within", as("delivery_p99")]] },
];
const MONEY = [{ title: "Dollars an hour", area: true, show: usd, lines: [["spent", (series, range) => series.usd.map((value) => (known(value) ? (value * 3600) / range.step_secs : null))]] }];

const charts = new Map();
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Show the plots of *document* about speed in *speed*, and the one about money in *money*. */
export function showCharts(document_, speed, money) {
  const empty = !document_.range.series.t.length;
  const { complete, reason } = document_.state.history ?? {};
  const lacking = complete === false ? (reason ?? "The worker does not know the whole history yet.") : null;
  const note = document.getElementById("no-points");
  set(note, "hidden", !empty && lacking === null);
  say(note, lacking ?? "Nothing is drawn yet: a point comes with each full minute.");
  set(speed, "hidden", empty);
  set(money, "hidden", empty);
  if (empty) return;
  for (const [place, kinds] of [[speed, SPEED], [money, MONEY]]) {
    for (const kind of kinds) {
      if (!charts.has(kind.title)) charts.set(kind.title, new Chart(kind, place));
      charts.get(kind.title).show(document_);
    }
  }
}

class Chart {
  constructor(kind, place) {
    this.kind = kind;
    this.keys = kind.lines.map((_, at) => h("span", { class: "key", data: { series: at } }));
    this.plot = h("div", { class: "plot", role: "img" });
    this.body = h("tbody");
    const heads = ["Time", ...kind.lines.map(([label]) => label)];
    this.table = h(
      "table",
      {},
      h("caption", {}, `${kind.title}, newest first`),
      h("thead", {}, h("tr", {}, heads.map((head, at) => h("th", { scope: "col", class: at ? "number" : null }, head)))),
      this.body,
    );
    this.details = h("details", {}, h("summary", {}, "As a table"), h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": kind.title }, this.table));
    this.details.addEventListener("toggle", () => this.#rows());
    place.append(h("figure", { class: "chart" }, h("figcaption", {}, h("h3", {}, kind.title), this.keys), this.plot, this.details));
    new ResizeObserver(() => this.uplot?.setSize({ width: this.plot.clientWidth, height: HEIGHT })).observe(this.plot);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  show({ range, at }) {
    const { series } = range;
    const data = [series.t, ...this.kind.lines.map(([, of]) => of(series, range))];
    const last = `${range.name} ${range.to} ${series.t.length} ${series.t.at(-1)}`;
    this.range = range;
    this.at = at;
    this.data = data;
    if (this.last !== last) this.#draw();
    this.last = last;
    this.#say(null);
  }

  #draw() {
    if (this.data === undefined) return;
    const [from, to] = [Date.parse(this.range.from) / 1000, Date.parse(this.range.to) / 1000];
    this.uplot?.destroy();
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const series = this.kind.lines.map((_, at) => ({
      stroke: colour(COLOURS[at]),
      width: 1.75,
      points: { show: this.data[at + 1].filter(known).length < FEW, size: 5, fill: colour(COLOURS[at]) },
      fill: at === 0 && this.kind.area ? `${colour(COLOURS[at])}33` : undefined,
    }));
    const options = {
      width: Math.max(this.plot.clientWidth, 120),
      height: HEIGHT,
      legend: { show: false },
      cursor: { sync: { key: "speed" }, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { range: () => [from, to] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      series: [{}, ...series],
      axes: [
        { ...axis, values: (_, splits) => splits.map((secs) => tick(secs, to - from)), space: 70, size: 26 },
        { ...axis, values: (_, splits) => splits.map((value) => this.kind.show(value)), size: 62, space: 36 },
      ],
      hooks: { setCursor: [(plot) => this.#say(plot.cursor.idx)] },
    };
    this.uplot = new globalThis.uPlot(options, this.data, this.plot);
    this.#rows();
  }

  /** Say the values at *place*, or the last ones. */
  #say(place) {
    this.kind.lines.forEach(([label], line) => {
      const values = this.data[line + 1];
      const value = known(place) ? values[place] : values.findLast(known);
      say(this.keys[line], `${label} ${this.kind.show(value ?? null)}`);
    });
    if (known(place)) return;
    const told = this.kind.lines.map(([label], line) => {
      const values = this.data[line + 1].filter(known);
      return values.length ? `${label} ${this.kind.show(values.at(-1))}, at most ${this.kind.show(Math.max(...values))}` : `${label} ${UNKNOWN}`;
    });
    this.plot.setAttribute("aria-label", `${this.kind.title}, last ${RANGES[this.range.name]}: ${told.join("; ")}`);
  }

  #rows() {
    if (!this.details.open) return;
    const [times] = this.data;
    const step = Math.ceil(times.length / ROWS);
    const places = times.map((_, at) => at).filter((at) => (times.length - 1 - at) % step === 0);
    fill(
      this.body,
      places.reverse().map((at) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, time(new Date(times[at] * 1000).toISOString())),
          this.data.slice(1).map((values) => h("td", { class: "number" }, this.kind.show(values[at]))),
        ),
      ),
    );
  }
}
