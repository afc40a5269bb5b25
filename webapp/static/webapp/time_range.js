/** The time range in the address, and the days that have pings. Without a range, the app opens one of these days. */
import { useEffect, useMemo, useState } from "../vendor/htm/standalone.module.js";
import { get, includesNow, isoTime, useLoaded, usePolling } from "./api.js";
import { addDays, isoDay, startOfDay, startOfIsoDay, timeZone } from "./format.js";
import { useLive, useLiveEvents } from "./live.js";
import { loadEvent } from "./venue.js";

/** Days with pings, oldest first: `{start, end, first, last}` in ms. `filter` selects the pings. */
async function loadDays(filter, signal) {
  await loadEvent(); // it sets the time zone
  const rows = await get("/api/days", { ...filter, time_zone: timeZone() }, signal);
  return rows.map(({ day, first, last }) => {
    const start = startOfIsoDay(day);
    return { start, end: addDays(start, 1), first: Date.parse(first), last: Date.parse(last) };
  });
}

const newestOf = (rows) => rows.reduce((newest, row) => Math.max(newest, Date.parse(row.creation_time)), 0);

/** The newest day of the event that has pings, else the newest day until today, else the newest day. */
function dayToOpen(days, { first_day, last_day }) {
  const newest = (from, to) => days.findLast(({ start }) => from <= isoDay(start) && isoDay(start) <= to);
  return (first_day && newest(first_day, last_day)) ?? newest("", isoDay(Date.now())) ?? days.at(-1);
}

/** From the first to the last ping in a range, as `{start, end}` in ms; null if it has none. */
export function spanOfPings(days, range) {
  const inside = days.filter(({ first, last }) => range.start <= last && first < range.end);
  if (!inside.length) return null;
  return { start: Math.max(range.start, inside[0].first), end: Math.min(range.end, inside.at(-1).last + 1) };
}

/** The days, with a ping that may be newer than what was loaded. */
function withPing(days, ms) {
  if (!days || !ms) return days;
  const start = startOfDay(ms);
  const day = days.find((each) => each.start === start);
  if (ms <= day?.last) return days;
  const others = days.filter((each) => each !== day);
  return [...others, { start, end: addDays(start, 1), first: ms, ...day, last: ms }].sort((one, other) => one.start - other.start);
}

/** `range`: `{start, end}` in ms, null if the address has none. `event`. `days`, undefined until loaded. `error` and
 * `reload`. `live`: of useLive. `filter` selects the pings; `change(changes, options)` navigates. Without `isStreamed` a
 * running event is polled. */
export function useTimeRange(query, filter, change, isStreamed = true) {
  const range = useMemo(() => {
    const [start, end] = [Date.parse(query.start), Date.parse(query.end)];
    return start < end ? { start, end } : null;
  }, [query.start, query.end]);
  const event = useLoaded(loadEvent, []);
  const days = useLoaded((signal) => loadDays(filter, signal), [JSON.stringify(filter)]);
  const live = useLive(filter, Boolean(range && includesNow(range)), isStreamed);
  usePolling([days], live.pollSeconds, live.isToday);
  const [newest, setNewest] = useState(0);
  useLiveEvents(live, { position: (rows) => setNewest((old) => Math.max(old, newestOf(rows))), gap: days.reload });
  const known = useMemo(() => withPing(days.value, newest), [days.value, newest]);
  useEffect(() => {
    if (range || !event.value || !days.value?.length) return;
    const { start, end } = dayToOpen(days.value, event.value);
    change({ start: isoTime(start), end: isoTime(end) }, { replace: true });
  }, [days.value, event.value, !range]);
  const reload = () => [event, days].forEach((each) => each.error && each.reload());
  return { range, event: event.value, days: known, live, error: event.error ?? days.error, reload };
}
