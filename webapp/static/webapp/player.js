/** A scrubber over a span of time that can be played. */
import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm/standalone.module.js";
import { instant } from "./api.js";
import { addDays, clock, dayAndClock, exact, full, startOfDay } from "./format.js";

const SPEEDS = [[60, "1 min"], [300, "5 min"], [900, "15 min"], [3600, "1 h"]]; // of the span in a second
const SPEED = 300;
const MINUTE = 60_000;
const DAY = 86_400_000;
const TICKS = [1, 5, 15, 30, 60, 120, 180, 360, 720].map((minutes) => minutes * MINUTE);
const TICK_PX = 70;
const LANE_PX = 9;
const MAX_LANES = 9;

/** Calls `onMoment(ms)` for each frame, and time waits where that returns false; `onRest(ms)` where it comes to
 * rest. `bars`: `{start, end, label}` to show above it; `marked` is the index of one, `mark(index or null)` follows
 * the pointer. */
export function Player({ range, at, onMoment, onRest, speed: chosen, onSpeed, bars = [], marked = null, mark = () => {}, children }) {
  const [moment, setMoment] = useState(within(at ?? range.start, range));
  const [playing, setPlaying] = useState(false);
  const speed = SPEEDS.find(([value]) => value === Number(chosen))?.[0] ?? SPEED;
  const last = useRef(moment);
  const told = useRef(null);
  told.current = { onMoment, onRest }; // as last rendered: frames and bars outlive a rendering
  const move = (ms) => {
    last.current = within(ms, range);
    setMoment(last.current);
    return told.current.onMoment(last.current);
  };
  const rest = () => {
    setPlaying(false);
    told.current.onRest(last.current);
  };
  useEffect(() => {
    // Where an event is still running its end moves on, but takes nobody along who plays.
    if (!(playing && at === range.end)) move(at ?? range.start);
  }, [at, range.start]);
  useEffect(() => {
    if (!playing) return undefined;
    let before = performance.now();
    let waiting = false;
    let frame = requestAnimationFrame(function step(now) {
      waiting = move(last.current + (waiting ? 0 : (now - before) * speed)) === false;
      before = now;
      if (last.current >= range.end) rest();
      else frame = requestAnimationFrame(step);
    });
    return () => cancelAnimationFrame(frame);
  }, [playing, speed, range.start, range.end]);
  const play = () => {
    if (last.current >= range.end) move(range.start);
    setPlaying(true);
  };
  // Kept from frame to frame: there may be thousands of bars.
  const above = useMemo(
    () => bars.length > 0 && html`<${Bars} bars=${bars} range=${range} marked=${marked} mark=${mark} choose=${(ms) => { move(ms); told.current.onRest(ms); }}/>`,
    [bars, marked, range.start, range.end],
  );
  const long = range.end - range.start > DAY;
  return html`<section class="player" aria-label="Time">
    <div class="controls">
      <button type="button" class="play" aria-pressed=${playing} onClick=${playing ? rest : play}>${playing ? "Pause" : "Play"}</button>
      <label>a second is <select value=${speed} onChange=${(event) => onSpeed(event.target.value)}>
        ${SPEEDS.map(([value, name]) => html`<option value=${value}>${name}</option>`)}
      </select></label>
      <output aria-live="off">${long ? full(moment) : exact(moment)}</output>
      ${children}
    </div>
    <div class="span">
      ${above}
      <input type="range" aria-label="Moment" aria-valuetext=${long ? full(moment) : exact(moment)}
        min=${range.start} max=${range.end} step="1000" value=${moment}
        onInput=${(event) => { setPlaying(false); move(Number(event.target.value)); }}
        onChange=${(event) => onRest(Number(event.target.value))}/>
      <${Axis} range=${range}/>
    </div>
  </section>`;
}

/** The moment that the address is to keep; none at the end of what is still running, so that it is followed. */
export function rested(ms, range, live) {
  return live && ms >= range.end - 1000 ? undefined : instant(Math.floor(ms / 1000) * 1000);
}

const within = (ms, range) => Math.min(Math.max(ms, range.start), range.end);
const percent = (ms, range) => (100 * (ms - range.start)) / Math.max(1, range.end - range.start);

/** One bar each, in as many lanes as are needed for none to cover another. */
function Bars({ bars, range, marked, mark, choose }) {
  const ends = [];
  const minimum = (range.end - range.start) / 200; // so wide that it can be seen and hit
  const laid = bars.map(({ start, end, label }, index) => {
    let lane = ends.findIndex((free) => free <= start);
    if (lane < 0) lane = ends.length < MAX_LANES ? ends.length : index % MAX_LANES;
    ends[lane] = Math.max(end, start + minimum);
    return { index, label, start, lane, left: percent(start, range), width: percent(range.start + Math.max(end - start, minimum), range) };
  });
  return html`<div class="bars" style=${`height: ${ends.length * LANE_PX}px`} aria-hidden="true" onMouseLeave=${() => mark(null)}>
    ${laid.map(({ index, label, start, lane, left, width }) => html`<i key=${index} title=${label}
      class=${index === marked ? "marked" : ""} onMouseEnter=${() => mark(index)} onClick=${() => choose(start)}
      style=${`left: ${left}%; width: ${width}%; top: ${lane * LANE_PX}px`}></i>`)}
  </div>`;
}

function Axis({ range }) {
  const place = useRef(null);
  const [width, setWidth] = useState(600);
  useEffect(() => {
    const watched = new ResizeObserver(([entry]) => setWidth(entry.contentRect.width));
    watched.observe(place.current);
    return () => watched.disconnect();
  }, []);
  return html`<div class="axis" ref=${place} aria-hidden="true">
    ${ticks(range, width).map(([ms, label]) => html`<span style=${`left: ${percent(ms, range)}%`}>${label}</span>`)}
  </div>`;
}

function ticks({ start, end }, width) {
  const room = ((end - start) * TICK_PX) / Math.max(width, TICK_PX);
  const found = [];
  const step = TICKS.find((each) => each >= room);
  if (step) {
    for (let day = startOfDay(start); day < end; day = addDays(day, 1)) {
      for (let ms = day; ms < addDays(day, 1) && ms <= end; ms += step) {
        if (ms >= start) found.push([ms, ms === day ? dayAndClock(ms) : clock(ms)]);
      }
    }
  } else {
    const days = Math.ceil(room / DAY);
    for (let day = startOfDay(start); day < end; day = addDays(day, days)) {
      if (day >= start) found.push([day, new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" }).format(day)]);
    }
  }
  return found;
}
