/** The day that the overview and its lists are about, and what they ask about it. */
import { get, isoTime, useLoaded } from "./api.js";
import { buildPath, navigate } from "./router.js";
import { spanOfPings, useTimeRange } from "./time_range.js";

const MET_S = 300; // two people have met after so long together
export const MET_CHOICES_S = [60, 300, 900, 1800];

/** The range of the address, as useTimeRange has it. `least`: seconds that two people are together, if they have met.
 * `asked`: the range and this minimum as parameters of the API, null until the days are loaded or without pings.
 * `live`: the range includes now. `link(path, more)`: the address of another view of the same day. */
export function useDay(query, path) {
  const { start, end, min_duration } = query;
  const link = (to, more = {}) => buildPath(to, { start, end, min_duration, ...more });
  const change = (changes, options) => navigate(buildPath(path, { ...query, ...changes }), options);
  const time = useTimeRange(query, {}, change, false); // the sums are polled
  const { range, days } = time;
  const live = time.live.isToday;
  const least = min_duration >= 0 && min_duration !== "" ? Number(min_duration) : MET_S;
  const span = range && days ? spanOfPings(days, range) : null;
  return { ...time, span, live, least, asked: span && parametersOf(live ? range : span, least), change, link };
}

/** As early.js asks, too: in the same order. */
const parametersOf = ({ start, end }, least) => ({ start_date: isoTime(start), end_date: isoTime(end), min_duration: least });

/** The answer to a question about the day, such as the encounters summed `by` something. */
export const useAnswer = (path, parameters) =>
  useLoaded((signal) => get(path, parameters, signal), [JSON.stringify(parameters)]);

/** The encounters of the day, summed. */
export const useSums = (by, asked, more = {}) => useAnswer("/api/encounters/summary", { by, ...asked, ...more });
