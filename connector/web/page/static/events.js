// What happened?  Every event of the range, newest first, to be filtered.

import { fill, h, keyed, say, set } from "./dom.js";
import { count, time } from "./format.js";

const STEP = 50;
const POST_ID = /^[1-9][0-9]{14,19}$/;
const LEVELS = { debug: "notice", info: "notice", notice: "notice", warning: "warning", error: "error", critical: "error" };

const wanted = { words: "", kind: "", level: "" };
let limit = STEP;
let latest = null;

/** Show the events of *document*. */
export function showEvents(document_) {
  latest = document_;
  const kinds = [...new Set(document_.events.map((event) => subject(event)))].sort();
  const select = document.getElementById("event-kind");
  if (select.dataset.shown !== kinds.join()) {
    select.dataset.shown = kinds.join();
    fill(select, h("option", { value: "" }, "all subjects"), kinds.map((kind) => h("option", { value: kind }, kind)));
    select.value = kinds.includes(wanted.kind) ? wanted.kind : (wanted.kind = "");
  }
  const found = document_.events.filter(matches);
  keyed(document.getElementById("event-rows"), found.slice(0, limit), (event) => event.id, makeEvent, () => {});
  set(document.getElementById("no-events"), "hidden", found.length > 0);
  const more = document.getElementById("more-events");
  set(more, "hidden", found.length <= limit);
  say(more, `Show ${count(Math.min(STEP * 2, found.length - limit))} of ${count(found.length - limit)} more`);
}

const subject = (event) => event.kind.split(".")[0];
const level = (event) => LEVELS[event.level] ?? "notice";

function matches(event) {
  if (wanted.kind && subject(event) !== wanted.kind) return false;
  if (wanted.level === "warning" && level(event) === "notice") return false;
  if (wanted.level === "error" && level(event) !== "error") return false;
  const text = `${event.text} ${event.kind} ${event.connector ?? ""} ${event.by ?? ""} ${event.worker_id ?? ""}`;
  return !wanted.words || text.toLowerCase().includes(wanted.words);
}

function makeEvent(event) {
  const from = [event.connector ? h("bdi", { dir: "auto" }, event.connector) : null, event.connector ? " · " : null];
  const by = event.by ? [" · by ", h("bdi", { dir: "auto" }, event.by)] : [];
  const words = { notice: null, warning: h("span", { class: "unseen" }, "Warning: "), error: h("span", { class: "unseen" }, "Error: ") };
  return h(
    "li",
    { class: "event", data: { level: level(event) } },
    h("time", { datetime: event.at, title: event.at }, time(event.at)),
    h("span", { class: "sign", "aria-hidden": "true" }),
    h(
      "div",
      { class: "words" },
      words[level(event)],
      h("b", { dir: "auto" }, event.text),
      post(event),
      h("div", { class: "from small" }, ...from, event.kind, event.worker_id ? ` · ${event.worker_id}` : null, ...by),
    ),
  );
}

/** A post is shown by its id alone, which leads to X. */
function post({ fields }) {
  const id = String(fields?.post_id ?? "");
  if (!POST_ID.test(id)) return null;
  return h("a", { href: `https://x.com/i/web/status/${id}`, rel: "noopener noreferrer", target: "_blank" }, ` post ${id}`);
}

function listen(id, key) {
  document.getElementById(id).addEventListener("input", ({ target }) => {
    wanted[key] = target.value.trim().toLowerCase();
    limit = STEP;
    showEvents(latest);
  });
}
listen("event-words", "words");
listen("event-kind", "kind");
listen("event-level", "level");
document.getElementById("more-events").addEventListener("click", () => {
  limit += 2 * STEP;
  showEvents(latest);
});
