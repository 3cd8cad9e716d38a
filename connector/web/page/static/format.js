// Numbers, times and money as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export const RANGES = { "15m": "15 min", "1h": "1 h", "6h": "6 h", "24h": "24 h", "7d": "7 d" };
export const UNKNOWN = "–";
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

export const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

export function count(value) {
  return known(value) ? whole.format(value) : UNKNOWN;
}

/** Posts a second; slow ones as posts a minute or an hour, so that no rate that is not zero is shown as 0. */
export function rate(perSecond) {
  if (!known(perSecond)) return UNKNOWN;
  if (perSecond === 0) return "0/s";
  if (perSecond >= 0.1) return `${perSecond >= 100 ? whole.format(perSecond) : short.format(perSecond)}/s`;
  return perSecond * 60 >= 0.1 ? `${short.format(perSecond * 60)}/min` : `${short.format(perSecond * 3600)}/h`;
}

/** Dollars; below ten cents to the tenth of a cent, as a post costs half a cent. */
export function usd(value) {
  if (!known(value)) return UNKNOWN;
  const digits = value !== 0 && Math.abs(value) < 0.1 ? 3 : Math.abs(value) >= 10000 ? 0 : 2;
  return `$${value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}

/** A share of 1 in per cent; it is 100 % and 0 % only if it is exactly that. */
export function percent(share, digits = 1) {
  if (!known(share)) return UNKNOWN;
  const step = 10 ** -(digits + 2);
  const shown = share > 0 && share < step ? step : share < 1 && share > 1 - step ? 1 - step : share;
  const text = (shown * 100).toFixed(digits);
  return `${Number.isInteger(share * 100) ? Math.round(share * 100) : text} %`;
}

/** Seconds in the two largest units: `1.2 s`, `3 min 5 s`, `2 d 4 h`. */
export function duration(secs) {
  if (!known(secs)) return UNKNOWN;
  if (secs < 1) return `${Math.max(0, Math.round(secs * 1000))} ms`;
  if (secs < 10) return `${short.format(Math.round(secs * 10) / 10)} s`;
  const left = Math.round(secs);
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => left >= size);
  const [unit, size] = units[first];
  const rest = units[first + 1];
  const more = rest === undefined ? 0 : Math.floor((left % size) / rest[1]);
  return more ? `${Math.floor(left / size)} ${unit} ${more} ${rest[0]}` : `${Math.floor(left / size)} ${unit}`;
}

export function bytes(value) {
  if (!known(value)) return UNKNOWN;
  const mega = value / 1e6;
  return mega >= 1000 ? `${short.format(mega / 1000)} GB` : `${short.format(mega)} MB`;
}

export const seconds = (iso) => (iso === null || iso === undefined ? null : Date.parse(iso) / 1000);

/** A time of today as `14:58:03`, of another day as `28 Nov 14:58:03`. */
export function time(iso, now = Date.now()) {
  const at = new Date(iso ?? NaN);
  if (Number.isNaN(at.getTime())) return UNKNOWN;
  return new Date(now).toDateString() === at.toDateString() ? clock.format(at) : `${day.format(at)} ${clock.format(at)}`;
}

/** The label of a time on an axis that spans *secs*. */
export function tick(secs, span) {
  const at = new Date(secs * 1000);
  if (span > 2 * 86400) return day.format(at);
  return minute.format(at);
}

/** `14:58:03 to 15:01:10`, with the day where it is not today's. */
export function interval(from, to) {
  return `${time(from)} to ${time(to)}`;
}
