/** The span of time that an address names; where it names none, the last day with pings is gone to. */
import { useEffect, useMemo } from "../vendor/htm/standalone.module.js";
import { instant, newestPing, useLoaded } from "./api.js";
import { addDays, startOfDay } from "./format.js";

/** `range` in ms, null while there is none; `newest`: how the search is doing, its value false where there are no pings.
 * `whose` tells whose pings count, `change(changes, options)` goes to an address. */
export function useRange(query, whose, change) {
  const range = useMemo(() => {
    const [start, end] = [Date.parse(query.start), Date.parse(query.end)];
    return start < end ? { start, end } : null;
  }, [query.start, query.end]);
  const newest = useLoaded(
    async (signal) => (range ? null : ((await newestPing(whose, signal)) ?? false)),
    [JSON.stringify(whose), !range],
  );
  useEffect(() => {
    if (!range && newest.value) {
      const start = startOfDay(newest.value);
      change({ start: instant(start), end: instant(addDays(start, 1)) }, { replace: true });
    }
  }, [newest.value, !range]);
  return { range, newest };
}
