/** A view that follows the live events: its state, its mark, and what it loads again after an event. */
import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm/standalone.module.js";
import { LIVE_POLL_S, STREAMED_POLL_S } from "./api.js";
import { followLive } from "./live_stream.js";

const SOON_MS = 1000; // after an event: the writer stores a ping while its event is sent
const SETTLED_MS = 10_000; // and again after the last one
const BUSY_MS = 500;

/** `{isToday, isLive, polls, pollSeconds, subscribers}`. `isToday`: the view includes now. While it `polls` there is no stream: the
 * view has to ask by itself. `filter`: of `/api/live`. Without `isStreamed` it polls. */
export function useLive(filter, isToday, isStreamed) {
  const [mode, setMode] = useState("connecting");
  const subscribers = useMemo(() => new Set(), []);
  const isOn = isToday && isStreamed;
  useEffect(() => {
    if (!isOn) return undefined;
    return followLive(filter, setMode, (...event) => subscribers.forEach((each) => each(...event)));
  }, [isOn, JSON.stringify(filter)]);
  const polls = isToday && (!isStreamed || mode === "polling");
  return { isToday, isLive: isOn && mode === "live", polls, pollSeconds: polls ? LIVE_POLL_S : STREAMED_POLL_S, subscribers };
}

/** `handlers`: functions by the type of event, which get its data. */
export function useLiveEvents({ subscribers }, handlers) {
  const current = useRef(null);
  current.current = handlers;
  useEffect(() => {
    const handle = (type, data) => current.current[type]?.(data);
    subscribers.add(handle);
    return () => subscribers.delete(handle);
  }, [subscribers]);
}

/** A function that reloads `loaded` after an event: soon, but at most every `everyMs`, which it takes; and once more when
 * there are no more events. */
export function useReloadAfterEvents(loaded) {
  const current = useRef(null);
  current.current = loaded;
  const plan = useRef({ timer: undefined, at: Infinity, lastAt: 0, settles: false });
  useEffect(() => () => clearTimeout(plan.current.timer), []);

  const schedule = (at) => {
    if (at >= plan.current.at) return;
    clearTimeout(plan.current.timer);
    Object.assign(plan.current, { at, timer: setTimeout(run, at - Date.now()) });
  };
  const run = () => {
    const { settles } = plan.current;
    plan.current.at = Infinity;
    if (current.current.loading) return schedule(Date.now() + BUSY_MS);
    Object.assign(plan.current, { lastAt: Date.now(), settles: false });
    current.current.reload();
    if (settles) schedule(Date.now() + SETTLED_MS);
  };
  return (everyMs) => {
    plan.current.settles = true;
    schedule(Math.max(Date.now() + SOON_MS, plan.current.lastAt + everyMs));
  };
}

/** Says whether the view follows by itself. `pollText`: how often it asks without a stream. `goToNow` is given if the view
 * shows another moment. The text changes only when this changes, so that screen readers announce it once. */
export function LiveMark({ live, pollText, goToNow }) {
  if (!live.isToday) return null;
  const state = live.isLive ? html`<b>LIVE</b>` : live.polls ? html`<span class="soft">${pollText}</span>` : null;
  return html`<div class="live" role="status">${goToNow ? html`<button type="button" onClick=${goToNow}>Go to now</button>` : state}</div>`;
}
