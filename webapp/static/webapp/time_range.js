/** The time range in the address, and the days that have pings. Without a range, the app opens one of these days. */
import { useEffect, useMemo } from "../vendor/htm/standalone.module.js";
import { get, includesNow, isoTime, LIVE_POLL_S, useLoaded, usePolling } from "./api.js";
import { addDays, isoDay, startOfIsoDay, timeZone } from "./format.js";
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

/** `range`: `{start, end}` in ms, null if the address has none. `event`. `days`, undefined until loaded. `error` and
 * `reload`. `filter` selects the pings; `change(changes, options)` navigates. */
export function useTimeRange(query, filter, change) {
  const range = useMemo(() => {
    const [start, end] = [Date.parse(query.start), Date.parse(query.end)];
    return start < end ? { start, end } : null;
  }, [query.start, query.end]);
  const event = useLoaded(loadEvent, []);
  const days = useLoaded((signal) => loadDays(filter, signal), [JSON.stringify(filter)]);
  usePolling([days], LIVE_POLL_S, Boolean(range && includesNow(range)));
  useEffect(() => {
    if (range || !event.value || !days.value?.length) return;
    const { start, end } = dayToOpen(days.value, event.value);
    change({ start: isoTime(start), end: isoTime(end) }, { replace: true });
  }, [days.value, event.value, !range]);
  const reload = () => [event, days].forEach((each) => each.error && each.reload());
  return { range, event: event.value, days: days.value, error: event.error ?? days.error, reload };
}
