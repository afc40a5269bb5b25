/** The crowd view: where everybody was at one time (snapshot), or how crowded places were over a span (heat map). */
import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm/standalone.module.js";
import { firstPingTime, get, includesNow, isoTime, lastPingTime, LIVE_POLL_S, useLoaded, usePolling } from "./api.js";
import { Calendar } from "./calendar.js";
import { Empty, ErrorNote, Loading, nameOf } from "./components.js";
import { drawHeat, drawPeople } from "./crowd_map.js";
import { allPings, CrowdPositions, HEAT_LIMIT, MAX_AGE_MS } from "./crowd_positions.js";
import { csv, geojson, save } from "./export.js";
import { addDays, clock, count, dayAndClock, metres, plural, span, stamp, startOfDay } from "./format.js";
import { MapView } from "./map.js";
import { Player, timeForAddress } from "./player.js";
import { buildPath, navigate } from "./router.js";
import { useTimeRange } from "./time_range.js";

export function Crowd({ query }) {
  const change = (changes, options) => navigate(buildPath("/crowd", { ...query, ...changes }), options);
  const { range, newest } = useTimeRange(query, {}, change);
  return html`<main class="crowd">
    <div class="title"><h1 tabindex="-1">The crowd</h1></div>
    ${newest.error ? html`<${ErrorNote} key=${newest.error} ...${newest}/>` : null}
    ${!newest.error && newest.value === false ? html`<${Empty} title="There are no pings yet.">
      The crowd appears here when phones send pings, or after <code>manage.py simulate</code>.<//>` : null}
    ${range ? html`<${CrowdInRange} range=${range} query=${query} change=${change}/>` : null}
    ${!range && newest.loading ? html`<${Loading}>Finding the last day with pings…<//>` : null}
  </main>`;
}

function CrowdInRange({ range, query, change }) {
  const showHeat = query.show === "heat";
  const [map, setMap] = useState(null);
  // From the first to the last ping, so that playback skips a night without pings. False if there are none.
  const pingSpan = useLoaded(async (signal) => {
    const start = await firstPingTime({}, range.start, range.end, signal);
    return start === undefined ? false : { start, end: Math.max(start + 60_000, 1000 + (await lastPingTime({}, range.end, signal))) };
  }, [range.start, range.end]);
  const live = includesNow(range);
  usePolling([pingSpan], LIVE_POLL_S, live);
  return html`
    <div class="side">
      <fieldset class="choice"><legend class="hidden">View</legend>
        ${[["people", "Snapshot"], ["heat", "Heat map"]].map(([value, name]) => html`<label>
          <input type="radio" name="show" checked=${showHeat === (value === "heat")} onChange=${() => change({ show: value })}/> ${name}</label>`)}
      </fieldset>
      <${Calendar} filter=${{}} range=${range} choose=${({ start, end }) => change({ start: isoTime(start), end: isoTime(end), at: undefined, map: undefined })}/>
    </div>
    <div class="stage">
      <${MapView} label="Map of the crowd" view=${query.map} onView=${(view) => change({ map: view }, { replace: true })} ready=${(created) => {
        setMap(created);
        return () => setMap(null);
      }}/>
      ${pingSpan.error ? html`<${ErrorNote} key=${pingSpan.error} ...${pingSpan}/>` : null}
      ${pingSpan.stale ? html`<${Loading}>Finding the first and last ping…<//>` : null}
      ${pingSpan.value === false && !pingSpan.stale ? html`<${Empty} title=${`No pings: ${span(range)}.`}>Choose a day with a dot in the calendar.<//>` : null}
      ${map && pingSpan.value && !pingSpan.stale
        ? showHeat
          ? html`<${HeatMap} map=${map} pingSpan=${pingSpan.value} query=${query}/>`
          : html`<${Snapshot} map=${map} pingSpan=${pingSpan.value} live=${live} query=${query} change=${change}/>`
        : null}
    </div>`;
}

function Snapshot({ map, pingSpan, live, query, change }) {
  const [state, setState] = useState({ positions: [], error: null, loading: true, truncated: false });
  const time = useRef(null);
  const crowd = useMemo(() => new CrowdPositions(pingSpan), [pingSpan.start]);
  const layer = useMemo(() => drawPeople(map, popupContent, query.map), [map]);
  useEffect(() => () => layer.remove(), [layer]);
  useEffect(() => () => crowd.close(), [crowd]);
  useEffect(() => crowd.refresh(pingSpan), [pingSpan]);
  const onFrame = (ms) => {
    time.current = ms;
    const found = crowd.at(ms);
    if (found.positions) layer.show(found.positions);
    setState((old) => ({ ...found, positions: found.positions ?? old.positions }));
    return !found.loading;
  };
  crowd.onLoaded = () => onFrame(time.current);
  const startAt = Date.parse(query.at) || (live ? pingSpan.end : (pingSpan.start + pingSpan.end) / 2);
  const name = `connect-crowd-${stamp(time.current ?? startAt)}`;
  return html`
    <${Player} range=${pingSpan} at=${startAt} onFrame=${onFrame}
      speed=${query.speed} onSpeed=${(speed) => change({ speed }, { replace: true })}
      onStop=${(ms) => change({ at: timeForAddress(ms, pingSpan, live) }, { replace: true })}>
      <p class="near">${state.loading ? html`<span role="status">loading…</span>` : plural(state.positions.length, "person", "people")} <span class="soft">with a ping in the ${MAX_AGE_MS / 60_000} minutes before this time; select a point to see who it is</span></p>
    <//>
    ${state.error ? html`<${ErrorNote} key=${state.error} error=${state.error} reload=${() => { crowd.clear(); onFrame(time.current); }}/>` : null}
    ${state.truncated ? html`<p class="note">There are too many pings in these minutes: some people are not shown.</p>` : null}
    <${Download} name=${name} rows=${() => state.positions.map(toRow)}/>`;
}

function HeatMap({ map, pingSpan, query }) {
  const layer = useMemo(() => drawHeat(map, query.map), [map]);
  const [pings, setPings] = useState([]);
  const [error, setError] = useState(null);
  const [loading, setLoading] = useState(true);
  const [retries, setRetries] = useState(0);
  const loaded = useRef({ start: null, pings: [] });
  useEffect(() => () => layer.remove(), [layer]);
  useEffect(() => {
    const abort = new AbortController();
    (async () => {
      if (loaded.current.start !== pingSpan.start) loaded.current = { start: pingSpan.start, pings: [] };
      let { pings: found } = loaded.current;
      const rest = { start: found.length ? found.at(-1).ms + 1 : pingSpan.start, end: pingSpan.end };
      setLoading(!found.length);
      setError(null);
      try {
        for await (const batch of allPings(rest, HEAT_LIMIT - found.length, abort.signal)) {
          found = loaded.current.pings = found.concat(batch);
          layer.show(found);
          setPings(found);
        }
      } catch (failure) {
        if (!abort.signal.aborted) setError(failure);
      }
      if (!abort.signal.aborted) setLoading(false);
    })();
    return () => abort.abort();
  }, [pingSpan, retries]);
  const last = pings.at(-1);
  return html`
    <p class="legend"><span class="ramp" aria-hidden="true"></span> <span class="soft">fewer to more pings</span></p>
    <p role="status">${loading ? `Loading… ${count(pings.length)} pings, up to ${last ? dayAndClock(last.ms) : clock(pingSpan.start)}` : `${plural(pings.length, "ping", "pings")}, ${span({ start: pingSpan.start, end: pingSpan.end })}`}</p>
    ${error ? html`<${ErrorNote} key=${error} error=${error} reload=${() => setRetries(retries + 1)}/>` : null}
    ${pings.length >= HEAT_LIMIT && !loading ? html`<p class="note">The map shows the first ${count(pings.length)} pings, up to ${dayAndClock(last.ms)}. Choose fewer days to see the rest.</p>` : null}
    <${Download} name=${`connect-pings-${stamp(pingSpan.start).slice(0, 10)}`} rows=${() => pings.map(toRow)}/>`;
}

const toRow = ({ id, lat, lng, ms, accuracy }) => [id, isoTime(ms), lat, lng, accuracy];

function Download({ name, rows }) {
  const columns = ["person_id", "creation_time", "latitude", "longitude", "accuracy"];
  const features = () => rows().map(([id, time, lat, lng, accuracy]) => ["Point", [lng, lat], { person_id: id, creation_time: time, accuracy }]);
  return html`<p class="actions">Download:
    <button type="button" onClick=${() => save(csv(columns, rows()), `${name}.csv`)}>CSV</button>
    <button type="button" onClick=${() => save(geojson(features()), `${name}.geojson`)}>GeoJSON</button>
  </p>`;
}

/** The content of a point's popup: the person's name, with a link to their day, the company, and the accuracy if known. */
async function popupContent(id, ms, accuracy) {
  const person = await get(`/api/persons/${id}`);
  const day = startOfDay(ms);
  const link = document.createElement("a");
  link.href = buildPath(`/people/${id}`, { start: isoTime(day), end: isoTime(addDays(day, 1)), at: isoTime(Math.floor(ms / 1000) * 1000) });
  link.textContent = nameOf(person);
  const content = document.createElement("p");
  content.append(link, document.createElement("br"), person.company_name);
  if (accuracy !== null) content.append(document.createElement("br"), `Accuracy: ${metres(accuracy)}`);
  return content;
}
