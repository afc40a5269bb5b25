/** Playback controls: a play button, a speed and a slider over a time span. */
import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm/standalone.module.js";
import { isoTime, LIVE_POLL_S } from "./api.js";
import { addDays, clock, dayAndClock, exact, full, shortDay, startOfDay } from "./format.js";
import { LiveMark } from "./live.js";

const SPEEDS = [[60, "1 min"], [300, "5 min"], [900, "15 min"], [3600, "1 h"]]; // of the span per second
const DEFAULT_SPEED = 300;
const MINUTE = 60_000;
const DAY = 86_400_000;
const TICKS = [1, 5, 15, 30, 60, 120, 180, 360, 720].map((minutes) => minutes * MINUTE);
const TICK_PX = 70;
const LANE_PX = 9;
const MAX_LANES = 9;

/** Calls `onFrame(ms, playing)` for each frame; playback waits while it returns false. Calls `onStop(ms)` at a pause, at the end
 * and after a seek. `bars`: `[{start, end, label}]` above the slider; `marked`: the index of one; `mark(index or null)`
 * is called as the pointer moves over them. `live`: of useLive. During a running event a view follows while `at` is the end. */
export function Player({ range, at, live, onFrame, onStop, speed: chosenSpeed, onSpeed, bars = [], marked = null, mark = () => {}, children }) {
  const [time, setTime] = useState(clamp(at ?? range.start, range));
  const [playing, setPlaying] = useState(false);
  const speed = SPEEDS.find(([value]) => value === Number(chosenSpeed))?.[0] ?? DEFAULT_SPEED;
  const lastTime = useRef(time);
  const dragging = useRef(false);
  const callbacks = useRef(null);
  callbacks.current = { onFrame, onStop }; // of the last render: frames and bars outlive a render
  const seek = (ms, isPlaying = false) => {
    lastTime.current = clamp(ms, range);
    setTime(lastTime.current);
    return callbacks.current.onFrame(lastTime.current, isPlaying);
  };
  const pause = () => {
    setPlaying(false);
    callbacks.current.onStop(lastTime.current);
  };
  useEffect(() => {
    // The end of a running event moves on. That must not move a user who is playing, or holds the slider.
    if (!((playing || dragging.current) && at === range.end)) seek(at ?? range.start);
  }, [at, range.start]);
  useEffect(() => {
    if (!playing) return undefined;
    let before = performance.now();
    let waiting = false;
    let frame = requestAnimationFrame(function step(now) {
      waiting = seek(lastTime.current + (waiting ? 0 : (now - before) * speed), true) === false;
      before = now;
      if (lastTime.current >= range.end) pause();
      else frame = requestAnimationFrame(step);
    });
    return () => cancelAnimationFrame(frame);
  }, [playing, speed, range.start, range.end]);
  const goToNow = () => {
    setPlaying(false);
    dragging.current = false;
    seek(range.end);
    callbacks.current.onStop(range.end);
  };
  const follows = at === range.end && !playing && !dragging.current;
  // Not every browser sends a change if a drag ends where it began.
  const release = () => void (dragging.current = false);
  const play = () => {
    if (lastTime.current >= range.end) seek(range.start);
    setPlaying(true);
  };
  // Not rendered with every frame: there may be thousands of bars.
  const renderedBars = useMemo(
    () => bars.length > 0 && html`<${Bars} bars=${bars} range=${range} marked=${marked} mark=${mark} choose=${(ms) => { seek(ms); callbacks.current.onStop(ms); }}/>`,
    [bars, marked, range.start, range.end],
  );
  const withDate = range.end - range.start > DAY;
  const timeText = withDate ? full(time) : exact(time);
  return html`<section class="player" aria-label="Playback">
    <div class="controls">
      <button type="button" class="play" aria-pressed=${playing} onClick=${playing ? pause : play}>${playing ? "Pause" : "Play"}</button>
      <label>Speed: <select value=${speed} onChange=${(event) => onSpeed(event.target.value)}>
        ${SPEEDS.map(([value, name]) => html`<option value=${value}>${name} per second</option>`)}
      </select></label>
      <output aria-live="off">${timeText}</output>
      <${LiveMark} live=${live} pollText=${`Updated every ${LIVE_POLL_S} s`} goToNow=${follows ? null : goToNow}/>
      ${children}
    </div>
    <div class="span">
      ${renderedBars}
      <input type="range" aria-label="Time" aria-valuetext=${timeText}
        min=${range.start} max=${range.end} step="1000" value=${time}
        onInput=${(event) => { dragging.current = true; setPlaying(false); seek(Number(event.target.value)); }}
        onChange=${(event) => { dragging.current = false; onStop(Number(event.target.value)); }}
        onPointerUp=${release} onPointerCancel=${release} onBlur=${release}/>
      <${Axis} range=${range}/>
    </div>
  </section>`;
}

/** The time to keep in the address, in whole seconds; none at the end of a running event, so that the page follows it. */
export function timeForAddress(ms, range, live) {
  return live && ms >= range.end - 1000 ? undefined : isoTime(Math.floor(ms / 1000) * 1000);
}

const clamp = (ms, range) => Math.min(Math.max(ms, range.start), range.end);
const percent = (ms, range) => (100 * (ms - range.start)) / Math.max(1, range.end - range.start);

/** Puts bars that overlap into different lanes, up to MAX_LANES. */
function Bars({ bars, range, marked, mark, choose }) {
  const laneEnds = [];
  const minWidth = (range.end - range.start) / 200; // wide enough to see and to click
  const laidOut = bars.map(({ start, end, label }, index) => {
    let lane = laneEnds.findIndex((laneEnd) => laneEnd <= start);
    if (lane < 0) lane = laneEnds.length < MAX_LANES ? laneEnds.length : index % MAX_LANES;
    laneEnds[lane] = Math.max(end, start + minWidth);
    return { index, label, start, lane, left: percent(start, range), width: percent(range.start + Math.max(end - start, minWidth), range) };
  });
  return html`<div class="bars" style=${`height: ${laneEnds.length * LANE_PX}px`} aria-hidden="true" onMouseLeave=${() => mark(null)}>
    ${laidOut.map(({ index, label, start, lane, left, width }) => html`<i key=${index} title=${label}
      class=${index === marked ? "marked" : ""} onMouseEnter=${() => mark(index)} onClick=${() => choose(start)}
      style=${`left: ${left}%; width: ${width}%; top: ${lane * LANE_PX}px`}></i>`)}
  </div>`;
}

function Axis({ range }) {
  const container = useRef(null);
  const [width, setWidth] = useState(600);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(entry.contentRect.width));
    observer.observe(container.current);
    return () => observer.disconnect();
  }, []);
  return html`<div class="axis" ref=${container} aria-hidden="true">
    ${ticks(range, width).map(([ms, label]) => html`<span style=${`left: ${percent(ms, range)}%`}>${label}</span>`)}
  </div>`;
}

/** `[ms, label]` of each tick, at least TICK_PX apart. */
export function ticks({ start, end }, width) {
  const minStep = ((end - start) * TICK_PX) / Math.max(width, TICK_PX);
  const found = [];
  const step = TICKS.find((each) => each >= minStep);
  if (step) {
    for (let day = startOfDay(start); day < end; day = addDays(day, 1)) {
      for (let ms = day; ms < addDays(day, 1) && ms <= end; ms += step) {
        if (ms >= start) found.push([ms, ms === day ? dayAndClock(ms) : clock(ms)]);
      }
    }
  } else {
    const days = Math.ceil(minStep / DAY);
    for (let day = startOfDay(start); day < end; day = addDays(day, days)) {
      if (day >= start) found.push([day, shortDay(day)]);
    }
  }
  return found;
}
