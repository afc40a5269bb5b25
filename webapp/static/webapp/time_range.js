/** The time range in the address. Without one, the app opens the last day with pings. */
import { useEffect, useMemo } from "../vendor/htm/standalone.module.js";
import { isoTime, newestPingTime, useLoaded } from "./api.js";
import { addDays, startOfDay } from "./format.js";

/** `range`: `{start, end}` in ms, null if the address has none. `newest`: the search for the newest ping, with the value
 * false if there are no pings. `filter` selects the pings; `change(changes, options)` navigates. */
export function useTimeRange(query, filter, change) {
  const range = useMemo(() => {
    const [start, end] = [Date.parse(query.start), Date.parse(query.end)];
    return start < end ? { start, end } : null;
  }, [query.start, query.end]);
  const newest = useLoaded(
    async (signal) => (range ? null : ((await newestPingTime(filter, signal)) ?? false)),
    [JSON.stringify(filter), !range],
  );
  useEffect(() => {
    if (!range && newest.value) {
      const start = startOfDay(newest.value);
      change({ start: isoTime(start), end: isoTime(addDays(start, 1)) }, { replace: true });
    }
  }, [newest.value, !range]);
  return { range, newest };
}
