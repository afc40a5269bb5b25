/** Formats dates and numbers in the browser's locale, and does arithmetic with days, in one time zone: that of the event,
 * or the browser's until an event is known. */

const BROWSER_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const OPTIONS = {
  day: { weekday: "short", day: "numeric", month: "short", year: "numeric" },
  fullDay: { weekday: "long", day: "numeric", month: "long", year: "numeric" },
  shortDay: { day: "numeric", month: "short" },
  weekday: { weekday: "long" },
  weekdayLetter: { weekday: "narrow" },
  month: { month: "long", year: "numeric" },
  clock: { hour: "2-digit", minute: "2-digit" },
  exact: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  dayAndClock: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  full: { dateStyle: "medium", timeStyle: "medium" },
};
const FIELDS = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric", hourCycle: "h23" };
const UNITS = [[3600, "hour"], [60, "minute"], [1, "second"]];
const KEPT_FIELDS = 1000;

let zone = BROWSER_ZONE;
const formatters = new Map(); // made when they are needed: each takes a phone some milliseconds
const keptFields = new Map(); // by instant

/** `name`: an IANA time zone. A browser that does not know it keeps its own. */
export function setTimeZone(name) {
  try {
    Intl.DateTimeFormat(undefined, { timeZone: name });
    zone = name;
  } catch {
    zone = BROWSER_ZONE;
  }
  formatters.clear();
  keptFields.clear();
}

export const timeZone = () => zone;

function formatter(name, locale, options = OPTIONS[name]) {
  if (!formatters.has(name)) formatters.set(name, new Intl.DateTimeFormat(locale, { ...options, timeZone: zone }));
  return formatters.get(name);
}

function inUnit(number, unit, maximumFractionDigits = 0) {
  if (!formatters.has(unit)) formatters.set(unit, new Intl.NumberFormat(undefined, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits }));
  return formatters.get(unit).format(number);
}

const formatWith = (name) => (ms) => formatter(name).format(ms);
export const day = formatWith("day");
export const fullDay = formatWith("fullDay");
export const shortDay = formatWith("shortDay");
export const weekday = formatWith("weekday");
export const weekdayLetter = formatWith("weekdayLetter");
export const month = formatWith("month");
export const clock = formatWith("clock");
export const exact = formatWith("exact");
export const dayAndClock = formatWith("dayAndClock");
export const full = formatWith("full");
/** Date and minute for file names. The first ten characters are the date. */
export const stamp = (ms) => isoDay(ms) + `T${clockField(ms, "hour")}${clockField(ms, "minute")}`;
export const count = (number) => number.toLocaleString();
export const metres = (distance) => inUnit(distance, "meter", 2);
export const decimal = (number) => number.toLocaleString(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
export const percent = (part) => part.toLocaleString(undefined, { style: "percent", maximumSignificantDigits: 2 });
export const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

/** Seconds in their two largest units. */
export function duration(seconds) {
  const parts = [];
  let left = Math.round(seconds);
  for (const [size, unit] of UNITS) {
    if (left >= size && parts.length < 2) {
      parts.push(inUnit(Math.floor(left / size), unit));
      left %= size;
    } else if (parts.length) break;
  }
  return parts.join(" ") || inUnit(0, "second");
}

/** A long duration in whole hours, a short one in its two largest units. */
export const hours = (seconds) => (seconds < 36_000 ? duration(seconds) : inUnit(Math.round(seconds / 3600), "hour"));

/** Relative time in one unit, such as "3 minutes ago". */
export function ago(ms, now = Date.now()) {
  const seconds = (ms - now) / 1000;
  if (!formatters.has("relative")) formatters.set("relative", new Intl.RelativeTimeFormat(undefined, { numeric: "auto" }));
  const relative = formatters.get("relative");
  for (const [name, size] of [["year", 31_557_600], ["month", 2_629_800], ["day", 86_400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), name);
  }
  return relative.format(Math.trunc(seconds), "second");
}

/** A time span: dates only if it is whole days, else dates and times. */
export function span({ start, end }) {
  if (startOfDay(start) === start && startOfDay(end) === end) {
    const last = startOfDay(end - 1);
    return last === start ? day(start) : formatter("day").formatRange(start, last);
  }
  return formatter("dayAndClock").formatRange(start, end);
}

// --- days of the time zone, each given by its first instant in ms --------------------------------

export const DAY_MS = 86_400_000;

/** `{year, month, day, hour, minute, second}` of an instant, as numbers. */
function fieldsOf(ms) {
  if (!keptFields.has(ms)) {
    if (keptFields.size >= KEPT_FIELDS) keptFields.clear();
    const parts = formatter("fields", "en-US", FIELDS).formatToParts(ms);
    keptFields.set(ms, Object.fromEntries(parts.map(({ type, value }) => [type, Number(value)])));
  }
  return keptFields.get(ms);
}

/** The difference between local time and UTC in ms. */
function offsetAt(ms) {
  const { year, month: monthNumber, day: dayNumber, hour, minute, second } = fieldsOf(ms);
  return Date.UTC(year, monthNumber - 1, dayNumber, hour, minute, second) - Math.floor(ms / 1000) * 1000;
}

function dateOf(ms) {
  const { year, month: monthNumber, day: dayNumber } = fieldsOf(ms);
  return Date.UTC(year, monthNumber - 1, dayNumber);
}

/** The first instant of a date. `date`: its midnight in UTC. Clocks may skip the local midnight, or show it twice. */
function firstInstant(date) {
  const [before, after] = [date - offsetAt(date - DAY_MS), date - offsetAt(date + DAY_MS)];
  const earlier = Math.min(before, after);
  return dateOf(earlier) === date ? earlier : Math.max(before, after);
}

export const startOfDay = (ms) => firstInstant(dateOf(ms));

export const addDays = (ms, days) => firstInstant(dateOf(ms) + days * DAY_MS);

export function startOfMonth(ms, months = 0) {
  const { year, month: monthNumber } = fieldsOf(ms);
  return firstInstant(Date.UTC(year, monthNumber - 1 + months, 1));
}

export const dayOfMonth = (ms) => fieldsOf(ms).day;

/** 0 for Sunday. */
export const weekdayOf = (ms) => new Date(dateOf(ms)).getUTCDay();

/** The date as the API writes it, such as "2026-05-11". */
export const isoDay = (ms) => new Date(dateOf(ms)).toISOString().slice(0, 10);

/** The first instant of a date of the API. */
export const startOfIsoDay = (text) => firstInstant(Date.parse(text));

const clockField = (ms, name) => String(fieldsOf(ms)[name]).padStart(2, "0");
