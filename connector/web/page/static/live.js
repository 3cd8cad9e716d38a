// What the page knows: the worker's snapshot, brought up to date by its events.
//
//   loading ─snapshot─▶ live ─the stream ends, or nobody answers─▶ lost ─snapshot or delta─▶ live
//
// Nothing is cleared when the stream is lost.  While the tab is hidden there is no stream.

const QUIET_MS = 20_000; // after so long without a message the worker is asked whether it is there
const ANSWER_MS = 5_000;
const AGAIN_MS = [2_000, 5_000, 10_000, 30_000];
const RETRY_MS = 2_000; // after so long a browser connects a stream again, as the worker tells it to
const GIVE_UP_MS = 15_000; // if it does not, the page begins a new one
const POLL_MS = 10_000; // where the worker has no stream to spare
const EVENTS_MAX = 1_000;

/** Apply a merge patch (RFC 7396): null removes a key, objects are merged, all else is replaced. */
export function merge(target, patch) {
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete target[key];
    else if (typeof value !== "object" || Array.isArray(value)) target[key] = value;
    else target[key] = merge(isObject(target[key]) ? target[key] : {}, value);
  }
  return target;
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Put the columns *points* into *series*: a known time is replaced, a new one appended, what is before *from* dropped. */
export function upsert(series, points, from) {
  const places = new Map(series.t.map((at, place) => [at, place]));
  points.t.forEach((at, place) => {
    const known = places.get(at) ?? series.t.length;
    if (known === series.t.length) places.set(at, known);
    for (const [column, values] of Object.entries(points)) (series[column] ??= [])[known] = values[place];
  });
  const order = series.t.map((_, place) => place).filter((place) => series.t[place] >= from);
  order.sort((one, other) => series.t[one] - series.t[other]);
  for (const column of Object.keys(series)) series[column] = order.map((place) => series[column][place] ?? null);
}

/** Apply a delta to *document*, a snapshot; the first one of a stream that was resumed has all of the state. */
export function apply(document, delta) {
  document.at = delta.at;
  if (delta.state) document.state = delta.state;
  if (delta.patch) merge(document.state, delta.patch);
  if (delta.range) Object.assign(document.range, delta.range);
  if (delta.points) upsert(document.range.series, delta.points, Date.parse(document.range.from) / 1000);
  if (delta.events) {
    const known = new Set(document.events.map((event) => event.id));
    document.events = [...delta.events.filter((event) => !known.has(event.id)), ...document.events].slice(0, EVENTS_MAX);
  }
  return document;
}

export class Live {
  /** *changed* is called whenever `phase` or `document` is another one; it must not throw. */
  constructor(changed) {
    this.document = null;
    this.phase = "loading";
    this.reason = null; // why the stream is lost
    this.polled = false;
    this.range = "1h";
    this.heardAt = null; // of the last message, by this browser's clock
    this.skew = 0; // the worker's clock less this browser's, in ms
    this.nextTryAt = null;
    this.changed = changed;
    this.tries = 0;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close() : this.open()));
    addEventListener("online", () => this.open());
  }

  /** The worker's time now, in ms. */
  now() {
    return Date.now() + this.skew;
  }

  /** Show another range of time. */
  choose(range) {
    this.range = range;
    this.open();
  }

  /** Begin a stream, in the place of the one that there is. */
  open() {
    this.#close();
    if (document.hidden) return;
    this.polled = false;
    const stream = new EventSource(`events?range=${this.range}`);
    this.stream = stream;
    stream.addEventListener("snapshot", (message) => this.#take(message, (_, data) => data));
    stream.addEventListener("delta", (message) => this.#take(message, apply));
    stream.addEventListener("error", () => this.#broken(stream));
    this.#watch();
  }

  #close() {
    this.stream?.close();
    this.stream = null;
    clearTimeout(this.timer);
  }

  #take(message, next) {
    let data;
    try {
      data = JSON.parse(message.data);
      this.document = next(this.document, data);
    } catch (error) {
      this.#lose(`The worker has sent what this page does not understand (${error.message}). Load the page again.`);
      this.#later();
      return;
    }
    this.#heard(data.at);
  }

  #heard(at) {
    this.heardAt = Date.now();
    this.skew = Date.parse(at) - this.heardAt || 0;
    this.phase = "live";
    this.reason = this.nextTryAt = null;
    this.tries = 0;
    if (!this.polled) this.#watch();
    this.changed();
  }

  /** A stream may be silent because nothing happens, or because the worker is frozen: ask it. */
  #watch() {
    clearTimeout(this.timer);
    const { stream } = this;
    this.timer = setTimeout(async () => {
      const failure = await alive();
      if (stream !== this.stream) return;
      if (failure === null) this.#watch();
      else {
        this.#lose(failure);
        this.#later();
      }
    }, QUIET_MS);
  }

  #broken(stream) {
    if (stream !== this.stream) return;
    this.nextTryAt = Date.now() + RETRY_MS;
    this.#lose("The worker does not answer.");
    if (stream.readyState === EventSource.CLOSED) this.#poll();
    else this.#reopen(GIVE_UP_MS);
  }

  #lose(reason) {
    this.phase = this.document === null ? "loading" : "lost";
    this.reason = reason;
    this.changed();
  }

  #later() {
    const wait = AGAIN_MS[Math.min(this.tries++, AGAIN_MS.length - 1)];
    this.nextTryAt = Date.now() + wait;
    this.#reopen(wait);
  }

  #reopen(wait) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), wait);
  }

  /** The worker has refused the stream: ask for one snapshot, which either comes or says why not. */
  async #poll() {
    this.#close();
    try {
      const answer = await fetch(`history?range=${this.range}`, { signal: AbortSignal.timeout(ANSWER_MS) });
      const data = await answer.json();
      if (!answer.ok) throw new Error(data.message ?? `HTTP ${answer.status}`);
      this.document = data;
      this.polled = true;
      this.#heard(data.at);
      this.timer = setTimeout(() => this.open(), POLL_MS);
    } catch (error) {
      this.#lose(error.name === "TypeError" ? "The worker does not answer." : error.message);
      this.#later();
    }
  }
}

/** Return why the worker is not there; null if it is. */
async function alive() {
  try {
    const answer = await fetch("ping", { signal: AbortSignal.timeout(ANSWER_MS), cache: "no-store" });
    return answer.ok ? null : `The worker answers HTTP ${answer.status}.`;
  } catch {
    return "The worker does not answer.";
  }
}
