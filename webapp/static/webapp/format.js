/** Formats dates and numbers in the browser's locale and time zone. */

const formatter = (options) => new Intl.DateTimeFormat(undefined, options);
const DAY = formatter({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
const FULL_DAY = formatter({ weekday: "long", day: "numeric", month: "long", year: "numeric" });
const MONTH = formatter({ month: "long", year: "numeric" });
const TIME = formatter({ hour: "2-digit", minute: "2-digit" });
const EXACT = formatter({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY_TIME = formatter({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const FULL = formatter({ dateStyle: "medium", timeStyle: "medium" });
const ISO = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "short" }); // Swedish uses the ISO format
const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const unit = (name, digits = 0) =>
  new Intl.NumberFormat(undefined, { style: "unit", unit: name, unitDisplay: "short", maximumFractionDigits: digits });
const UNITS = [[3600, unit("hour")], [60, unit("minute")], [1, unit("second")]];
const METRES = unit("meter", 2);

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

export const day = (ms) => DAY.format(ms);
export const fullDay = (ms) => FULL_DAY.format(ms);
export const month = (ms) => MONTH.format(ms);
export const clock = (ms) => TIME.format(ms);
export const exact = (ms) => EXACT.format(ms);
export const dayAndClock = (ms) => DAY_TIME.format(ms);
export const full = (ms) => FULL.format(ms);
/** Date and minute for file names. The first ten characters are the date. */
export const stamp = (ms) => ISO.format(ms).replace(" ", "T").replace(":", "");
export const count = (number) => number.toLocaleString();
export const metres = (distance) => METRES.format(distance);
export const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

/** Seconds in their two largest units. */
export function duration(seconds) {
  const parts = [];
  let left = Math.round(seconds);
  for (const [size, format] of UNITS) {
    if (left >= size && parts.length < 2) {
      parts.push(format.format(Math.floor(left / size)));
      left %= size;
    } else if (parts.length) break;
  }
  return parts.join(" ") || UNITS[2][1].format(0);
}

/** Relative time in one unit, such as "3 minutes ago". */
export function ago(ms, now = Date.now()) {
  const seconds = (ms - now) / 1000;
  for (const [name, size] of [["year", 31_557_600], ["month", 2_629_800], ["day", 86_400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size) return RELATIVE.format(Math.trunc(seconds / size), name);
  }
  return RELATIVE.format(Math.trunc(seconds), "second");
}

/** A time span: dates only if it is whole days, else dates and times. */
export function span({ start, end }) {
  if (startOfDay(start) === start && startOfDay(end) === end) {
    const last = startOfDay(end - 1);
    return last === start ? DAY.format(start) : DAY.formatRange(start, last);
  }
  return DAY_TIME.formatRange(start, end);
}

// --- days in the browser's time zone, each given by its first instant in ms ----------------------

export function startOfDay(ms) {
  return new Date(ms).setHours(0, 0, 0, 0);
}

export function addDays(ms, days) {
  const date = new Date(ms);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + days).getTime();
}

export function startOfMonth(ms, months = 0) {
  const date = new Date(ms);
  return new Date(date.getFullYear(), date.getMonth() + months, 1).getTime();
}
