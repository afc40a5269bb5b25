/** Everybody at once: where they were at a moment, or where it was crowded over a span. */
import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm/standalone.module.js";
import { firstPing, get, instant, isNow, lastPing, LIVE_S, useAgain, useLoaded } from "./api.js";
import { Calendar } from "./calendar.js";
import { drawHeat, drawPeople } from "./crowd_map.js";
import { csv, geojson, save } from "./export.js";
import { addDays, clock, count, dayAndClock, plural, span, stamp, startOfDay } from "./format.js";
import { MapView } from "./map.js";
import { Empty, Loading, nameOf, Wrong } from "./parts.js";
import { address, go } from "./router.js";
import { Player, rested } from "./player.js";
import { allPings, HEAT_LIMIT, Moments, SEEN_MS } from "./positions.js";
import { useRange } from "./range.js";

export function Crowd({ query }) {
  const change = (changes, options) => go(address("/crowd", { ...query, ...changes }), options);
  const { range, newest } = useRange(query, {}, change);
  return html`<main class="crowd">
    <div class="title"><h1 tabindex="-1">The crowd</h1></div>
    ${newest.fault ? html`<${Wrong} key=${newest.fault} ...${newest}/>` : null}
    ${!newest.fault && newest.value === false ? html`<${Empty} title="No ping has come in yet.">
      The crowd shows here as soon as phones send pings, or after <code>manage.py simulate</code>.<//>` : null}
    ${range ? html`<${Span} range=${range} query=${query} change=${change}/>` : null}
    ${!range && newest.loading ? html`<${Loading}>Looking for the last day…<//>` : null}
  </main>`;
}

function Span({ range, query, change }) {
  const heat = query.show === "heat";
  const [map, setMap] = useState(null);
  // The span's own beginning and end: a night without pings need not be scrubbed through.
  const ends = useLoaded(async (signal) => {
    const start = await firstPing({}, range.start, range.end, signal);
    return start === undefined ? false : { start, end: Math.max(start + 60_000, 1000 + (await lastPing({}, range.end, signal))) };
  }, [range.start, range.end]);
  const live = isNow(range);
  useAgain([ends], LIVE_S, live);
  return html`
    <div class="side">
      <fieldset class="choice"><legend class="hidden">What to show</legend>
        ${[["people", "At a moment"], ["heat", "Over the time"]].map(([value, name]) => html`<label>
          <input type="radio" name="show" checked=${heat === (value === "heat")} onChange=${() => change({ show: value })}/> ${name}</label>`)}
      </fieldset>
      <${Calendar} query=${{}} range=${range} choose=${({ start, end }) => change({ start: instant(start), end: instant(end), at: undefined, map: undefined })}/>
    </div>
    <div class="stage">
      <${MapView} label="Map of the crowd" view=${query.map} onView=${(view) => change({ map: view }, { replace: true })} ready=${(made) => {
        setMap(made);
        return () => setMap(null);
      }}/>
      ${ends.fault ? html`<${Wrong} key=${ends.fault} ...${ends}/>` : null}
      ${ends.stale ? html`<${Loading}>Looking when it began and ended…<//>` : null}
      ${ends.value === false && !ends.stale ? html`<${Empty} title=${`No pings: ${span(range)}.`}>Choose a day with a dot in the calendar.<//>` : null}
      ${map && ends.value && !ends.stale
        ? heat
          ? html`<${Heat} map=${map} ends=${ends.value} query=${query}/>`
          : html`<${Moment} map=${map} ends=${ends.value} live=${live} query=${query} change=${change}/>`
        : null}
    </div>`;
}

function Moment({ map, ends, live, query, change }) {
  const [state, setState] = useState({ known: [], fault: null, loading: true, cut: false });
  const now = useRef(null);
  const moments = useMemo(() => new Moments(ends), [ends.start]);
  const drawing = useMemo(() => drawPeople(map, popup, query.map), [map]);
  useEffect(() => () => drawing.remove(), [drawing]);
  useEffect(() => () => moments.close(), [moments]);
  useEffect(() => moments.renew(ends), [ends]);
  const onMoment = (ms) => {
    now.current = ms;
    const found = moments.at(ms);
    if (found.known) drawing.show(found.known);
    setState((old) => ({ ...found, known: found.known ?? old.known }));
    return !found.loading;
  };
  moments.arrived = () => onMoment(now.current);
  const begin = Date.parse(query.at) || (live ? ends.end : (ends.start + ends.end) / 2);
  const name = `connect-crowd-${stamp(now.current ?? begin)}`;
  return html`
    <${Player} range=${ends} at=${begin} onMoment=${onMoment}
      speed=${query.speed} onSpeed=${(speed) => change({ speed }, { replace: true })}
      onRest=${(ms) => change({ at: rested(ms, ends, live) }, { replace: true })}>
      <p class="near">${state.loading ? html`<span role="status">loading…</span>` : `${plural(state.known.length, "person", "people")}, `}<span class="soft">each where they were, if seen within ${SEEN_MS / 60_000} minutes; choose one to know who</span></p>
    <//>
    ${state.fault ? html`<${Wrong} key=${state.fault} fault=${state.fault} again=${() => { moments.forget(); onMoment(now.current); }}/>` : null}
    ${state.cut ? html`<p class="note">There are so many pings in these minutes that not everybody is shown.</p>` : null}
    <${Save} name=${name} rows=${() => state.known.map(({ id, lat, lng, ms }) => [id, instant(ms), lat, lng])}/>`;
}

function Heat({ map, ends, query }) {
  const drawing = useMemo(() => drawHeat(map, query.map), [map]);
  const [pings, setPings] = useState([]);
  const [fault, setFault] = useState(null);
  const [loading, setLoading] = useState(true);
  const [turn, setTurn] = useState(0);
  const known = useRef({ start: null, pings: [] });
  useEffect(() => () => drawing.remove(), [drawing]);
  useEffect(() => {
    const abort = new AbortController();
    (async () => {
      if (known.current.start !== ends.start) known.current = { start: ends.start, pings: [] };
      let { pings: found } = known.current;
      const rest = { start: found.length ? found.at(-1).ms + 1 : ends.start, end: ends.end };
      setLoading(!found.length);
      setFault(null);
      try {
        for await (const some of allPings(rest, HEAT_LIMIT - found.length, abort.signal)) {
          found = known.current.pings = found.concat(some);
          drawing.show(found);
          setPings(found);
        }
      } catch (wrong) {
        if (!abort.signal.aborted) setFault(wrong);
      }
      if (!abort.signal.aborted) setLoading(false);
    })();
    return () => abort.abort();
  }, [ends, turn]);
  const last = pings.at(-1);
  return html`
    <p class="legend"><span class="ramp" aria-hidden="true"></span> <span class="soft">fewer to more pings</span></p>
    <p role="status">${loading ? `Loading… ${count(pings.length)} pings, to ${last ? dayAndClock(last.ms) : clock(ends.start)}` : `${plural(pings.length, "ping", "pings")}, ${span({ start: ends.start, end: ends.end })}`}</p>
    ${fault ? html`<${Wrong} key=${fault} fault=${fault} again=${() => setTurn(turn + 1)}/>` : null}
    ${pings.length >= HEAT_LIMIT && !loading ? html`<p class="note">Drawn are the first ${count(pings.length)} pings, to ${dayAndClock(last.ms)}. Choose fewer days to see the rest.</p>` : null}
    <${Save} name=${`connect-pings-${stamp(ends.start).slice(0, 10)}`} rows=${() => pings.map(({ id, lat, lng, ms }) => [id, instant(ms), lat, lng])}/>`;
}

function Save({ name, rows }) {
  const columns = ["person_id", "creation_time", "latitude", "longitude"];
  const features = () => rows().map(([id, moment, lat, lng]) => ["Point", [lng, lat], { person_id: id, creation_time: moment }]);
  return html`<p class="actions">Keep what is shown:
    <button type="button" onClick=${() => save(csv(columns, rows()), `${name}.csv`)}>CSV</button>
    <button type="button" onClick=${() => save(geojson(features()), `${name}.geojson`)}>GeoJSON</button>
  </p>`;
}

/** What a point's popup says: who it is, with the way to them. */
async function popup(id, ms) {
  const person = await get(`/api/persons/${id}`);
  const day = startOfDay(ms);
  const link = document.createElement("a");
  link.href = address(`/people/${id}`, { start: instant(day), end: instant(addDays(day, 1)), at: instant(Math.floor(ms / 1000) * 1000) });
  link.textContent = nameOf(person);
  const made = document.createElement("p");
  made.append(link, document.createElement("br"), person.company_name);
  return made;
}
