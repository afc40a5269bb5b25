/** The crowd view: where everybody was at one time (snapshot), or how crowded places were over a span (heat map). */
import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm/standalone.module.js";
import { get, isoTime, STREAMED_POLL_S, useLoaded, usePolling } from "./api.js";
import { Calendar } from "./calendar.js";
import { Empty, ErrorNote, Loading, nameOf } from "./components.js";
import { drawHeat, drawPeople, loadHeatLayer } from "./crowd_map.js";
import { CrowdPositions, MAX_AGE_MS } from "./crowd_positions.js";
import { csv, geojson, save } from "./export.js";
import { addDays, DAY_MS, metres, plural, span, stamp, startOfDay } from "./format.js";
import { LiveMark, useLiveEvents } from "./live.js";
import { MapView } from "./map.js";
import { Player, timeForAddress } from "./player.js";
import { buildPath, navigate } from "./router.js";
import { spanOfPings, useTimeRange } from "./time_range.js";

const CELL_M = 5; // of the heat map
const HEAT_POLL_S = 60; // while an event is running: it counts minutes
const MAX_HEAT_DAYS = 31; // as the API allows

export function Crowd({ query }) {
  const change = (changes, options) => navigate(buildPath("/crowd", { ...query, ...changes }), options);
  const { range, event, days, live, error, reload } = useTimeRange(query, {}, change, query.show !== "heat");
  return html`<main class="crowd">
    <div class="title"><h1 tabindex="-1">The crowd</h1> <p class="soft">${event?.name}</p></div>
    ${error ? html`<${ErrorNote} key=${error} error=${error} reload=${reload}/>` : null}
    ${!error && !range && days?.length === 0 ? html`<${Empty} title="There are no pings yet.">
      The crowd appears here when phones send pings, or after <code>manage.py simulate</code>.<//>` : null}
    ${range && event ? html`<${CrowdInRange} range=${range} event=${event} days=${days} live=${live} query=${query} change=${change}/>` : null}
    ${!error && !(range && event) && !days ? html`<${Loading}>Loading the days with pings…<//>` : null}
  </main>`;
}

function CrowdInRange({ range, event, days, live, query, change }) {
  const showHeat = query.show === "heat";
  const [map, setMap] = useState(null);
  // Playback skips a night without pings.
  const { start, end } = (days && spanOfPings(days, range)) ?? {};
  const pingSpan = useMemo(() => (start === undefined ? null : { start, end: Math.max(end, start + 60_000) }), [start, end]);
  const isEmpty = Boolean(days) && !pingSpan;
  return html`
    <div class="side">
      <fieldset class="choice"><legend class="hidden">View</legend>
        ${[["people", "Snapshot"], ["heat", "Heat map"]].map(([value, name]) => html`<label>
          <input type="radio" name="show" checked=${showHeat === (value === "heat")} onChange=${() => change({ show: value })}/> ${name}</label>`)}
      </fieldset>
      <${Calendar} days=${days} range=${range} choose=${({ start, end }) => change({ start: isoTime(start), end: isoTime(end), at: undefined, map: undefined })}/>
    </div>
    <div class="stage">
      <${MapView} label="Map of the crowd" view=${query.map} bounds=${event.bounds} onView=${(view) => change({ map: view }, { replace: true })} ready=${(created) => {
        setMap(created);
        return () => setMap(null);
      }}/>
      ${isEmpty ? html`<${Empty} title=${`No pings: ${span(range)}.`}>Choose a day with a dot in the calendar.<//>` : null}
      ${days ? null : html`<${Loading}/>`}
      ${!pingSpan
        ? null
        : showHeat
          ? html`<${HeatMap} map=${map} range=${range} pingSpan=${pingSpan} live=${live} query=${query} bounds=${event.bounds}/>`
          : html`<${Snapshot} map=${map} pingSpan=${pingSpan} live=${live} query=${query} change=${change} bounds=${event.bounds}/>`}
    </div>`;
}

function Snapshot({ map, pingSpan, live, query, change, bounds }) {
  const [state, setState] = useState({ positions: [], error: null, loading: true, truncated: false });
  const frame = useRef({ ms: null, playing: false });
  const layer = useRef(null);
  const crowd = useMemo(() => new CrowdPositions(pingSpan), [pingSpan.start]);
  const onFrame = (ms, playing) => {
    frame.current = { ms, playing };
    const isNow = live.isLive && !playing && ms >= pingSpan.end;
    const found = isNow ? crowd.now(ms) : crowd.at(ms, playing);
    if (found.positions) layer.current?.show(found.positions);
    setState((old) => ({ ...found, positions: found.positions ?? old.positions }));
    return !found.loading;
  };
  const repeatFrame = () => frame.current.ms !== null && onFrame(frame.current.ms, frame.current.playing);
  crowd.onLoaded = repeatFrame;
  useEffect(() => {
    if (!map) return undefined;
    layer.current = drawPeople(map, popupContent, query.map, bounds);
    repeatFrame();
    return () => {
      layer.current.remove();
      layer.current = null;
    };
  }, [map]);
  useEffect(() => () => crowd.close(), [crowd]);
  useEffect(() => (live.isLive ? crowd.extend(pingSpan) : crowd.refresh(pingSpan)), [pingSpan]);
  useEffect(() => {
    if (!live.isLive) return undefined;
    const timer = setInterval(() => document.hidden || crowd.refreshChunks(), STREAMED_POLL_S * 1000);
    return () => clearInterval(timer);
  }, [crowd, live.isLive]);
  useLiveEvents(live, {
    position: (rows) => {
      crowd.add(rows);
      repeatFrame();
    },
    gap: () => {
      crowd.reload();
      repeatFrame();
    },
  });
  const startAt = Date.parse(query.at) || (live.isToday ? pingSpan.end : (pingSpan.start + pingSpan.end) / 2);
  const name = `connect-crowd-${stamp(frame.current.ms ?? startAt)}`;
  return html`
    <${Player} range=${pingSpan} at=${startAt} live=${live} onFrame=${onFrame}
      speed=${query.speed} onSpeed=${(speed) => change({ speed }, { replace: true })}
      onStop=${(ms) => change({ at: timeForAddress(ms, pingSpan, live.isToday) }, { replace: true })}>
      <p class="near">${state.loading ? html`<span role="status">loading…</span>` : plural(state.positions.length, "person", "people")} <span class="soft">with a ping in the ${MAX_AGE_MS / 60_000} minutes before this time; select a point to see who it is</span></p>
    <//>
    ${state.error ? html`<${ErrorNote} key=${state.error} error=${state.error} reload=${() => { crowd.clear(); repeatFrame(); }}/>` : null}
    ${state.truncated ? html`<p class="note">There are too many pings in these minutes: some people are not shown.</p>` : null}
    <${Download} name=${name} columns=${COLUMNS} rows=${() => state.positions.map(toRow)}/>`;
}

function HeatMap({ map, range, pingSpan, live, query, bounds }) {
  const layer = useRef(null);
  const end = live.isToday ? range.end : pingSpan.end;
  const earliest = end - MAX_HEAT_DAYS * DAY_MS;
  const start = Math.max(pingSpan.start, earliest);
  const heat = useLoaded((signal) => get("/api/heat", { start: isoTime(start), end: isoTime(end), cell_m: CELL_M }, signal), [start, end]);
  const heatLayer = useLoaded(loadHeatLayer, []);
  usePolling([heat], HEAT_POLL_S, live.isToday);
  useEffect(() => {
    if (!map || !heatLayer.value) return undefined;
    layer.current = drawHeat(map, query.map, bounds);
    if (heat.value) layer.current.show(heat.value);
    return () => {
      layer.current.remove();
      layer.current = null;
    };
  }, [map, heatLayer.value]);
  useEffect(() => void (heat.value && layer.current?.show(heat.value)), [heat.value]);
  const rows = heat.value ?? [];
  const error = heat.error ?? heatLayer.error;
  const total = rows.reduce((sum, each) => sum + each.person_minutes, 0);
  return html`
    <p class="legend"><span class="ramp" aria-hidden="true"></span> <span class="soft">fewer to more person-minutes</span></p>
    <${LiveMark} live=${live} pollText="Updated every minute"/>
    <p role="status">${!heat.value && !error ? "Loading…" : heat.value ? `${plural(total, "person-minute", "person-minutes")}, ${span(range)}` : ""}</p>
    ${start === earliest ? html`<p class="note">The heat map shows the last ${MAX_HEAT_DAYS} days of this time.</p>` : null}
    <p class="soft small">A person-minute is a minute in which a person had a ping in a cell of ${metres(CELL_M)}.</p>
    ${error ? html`<${ErrorNote} key=${error} error=${error} reload=${() => [heat, heatLayer].forEach((each) => each.error && each.reload())}/>` : null}
    <${Download} name=${`connect-heat-${stamp(range.start).slice(0, 10)}`} columns=${HEAT_COLUMNS} rows=${() => rows.map(toNumbers)}/>`;
}

const COLUMNS = ["person_id", "creation_time", "latitude", "longitude", "accuracy"];
const HEAT_COLUMNS = ["latitude", "longitude", "person_minutes", "people"];

const toRow = ({ id, lat, lng, ms, accuracy }) => ({ person_id: id, creation_time: isoTime(ms), latitude: lat, longitude: lng, accuracy });
const toNumbers = (cell) => ({ ...cell, latitude: Number(cell.latitude), longitude: Number(cell.longitude) });

/** Buttons that download `rows()`: objects with the columns. */
function Download({ name, columns, rows }) {
  const features = () => rows().map(({ latitude, longitude, ...properties }) => ["Point", [longitude, latitude], properties]);
  return html`<p class="actions">Download:
    <button type="button" onClick=${() => save(csv(columns, rows().map((row) => columns.map((column) => row[column]))), `${name}.csv`)}>CSV</button>
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
