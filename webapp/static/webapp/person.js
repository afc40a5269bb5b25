/** One person's view: a calendar, a map, playback and the list of encounters, which mark each other's entries. */
import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm/standalone.module.js";
import { get, getPages, getParameters, isoTime, once, useLoaded, usePolling } from "./api.js";
import { Calendar } from "./calendar.js";
import { useCaller } from "./caller.js";
import { Empty, ErrorNote, Loading, nameOf } from "./components.js";
import { EncounterList, Name } from "./encounters.js";
import { count, dayAndClock, duration } from "./format.js";
import { useLiveEvents, useReloadAfterEvents } from "./live.js";
import { MapView } from "./map.js";
import { NearbyPositions } from "./nearby_positions.js";
import { drawPerson, MAX_NAMES } from "./person_map.js";
import { Player, timeForAddress } from "./player.js";
import { PrivacySettings } from "./privacy_settings.js";
import { buildPath, navigate } from "./router.js";
import { spanOfPings, useTimeRange } from "./time_range.js";

const TRACK_LIMIT = 50_000; // pings
const SHORTEST_SHOWN_MS = 60_000; // an encounter of a single ping is shown for so long
const ONGOING_MS = 75_000; // an encounter that is not asked again yet goes on for so long: the default of max_gap
const AFTER_ENCOUNTER_MS = 3000; // the encounters are asked again at most so often after live encounters,
const AFTER_POSITION_MS = 10_000; // and after positions, which make them longer
/** What counts as an encounter, by parameter of the API: name, step, label, and the words around the number. */
const CRITERIA = [
  ["distance", "any", "Maximum distance in metres", "Count as near within", "metres"],
  ["within", 1, "Maximum time difference in seconds", "and", "seconds."],
  ["max_gap", 1, "Maximum gap in seconds", "A gap of up to", "seconds does not end an encounter."],
  ["min_duration", 1, "Minimum duration in seconds", "Leave out encounters shorter than", "seconds."],
  ["max_accuracy", "any", "Maximum accuracy in metres; empty for any", "Accuracy at most", "metres."],
];
const DEFAULTS = { min_duration: 60 }; // of the app, where they differ from those of the API: no passers-by
const LEAST = 0.1; // where the API takes only numbers above its minimum

/** The criteria with the defaults and bounds that the API has for this caller. */
function criteriaFrom(parameters) {
  return CRITERIA.map(([name, step, label, before, after]) => {
    const { default: fallback, minimum, maximum: max, exclusive_minimum: exclusive } = parameters[name];
    return { name, step, label, before, after, fallback: DEFAULTS[name] ?? fallback ?? "", min: exclusive ? minimum + LEAST : minimum, max };
  });
}

/** A number of the address within its bounds. No number stays none. */
const clamp = (value, { min, max }) => (value === "" ? value : value > max ? max : value < min ? min : value);

export function PersonView({ id, query, consent }) {
  const isOwn = useCaller().kind === "person";
  const person = useLoaded((signal) => get(`/api/persons/${id}`, {}, signal), [id]);
  const path = `/people/${id}`;
  const change = (changes, options) => navigate(buildPath(path, { ...query, ...changes }), options);
  const { range, event, days, live, ...time } = useTimeRange(query, { person_id: id }, change);
  const loadCriteria = useMemo(() => once(async () => criteriaFrom(await getParameters(`/api/persons/${id}/encounters`))), [id]);
  // The bounds and defaults of the criteria are needed only for those in the address and for the form.
  const [formOpen, setFormOpen] = useState(CRITERIA.some(([name]) => query[name] !== undefined));
  const criteria = useLoaded(async () => (formOpen ? loadCriteria() : []), [formOpen]);
  useEffect(() => {
    if (person.value) document.title = `${nameOf(person.value)} · Connect`;
  }, [person.value]);

  const name = person.value ? nameOf(person.value) : `Person ${id}`;
  const loads = [person, criteria, ...(days && event ? [] : [time])]; // a failed poll of the days leaves the view as it is
  const failed = loads.find((each) => each.error);
  const reload = () => loads.forEach((each) => each.error && each.reload());
  if (failed) return html`<main><h1 tabindex="-1">${name}</h1><${ErrorNote} key=${failed.error} error=${failed.error} reload=${reload}/></main>`;
  return html`<main class="person">
    <div class="title">
      <h1 tabindex="-1">${name}</h1>
      <p class="soft">${person.value?.company_name}</p>
    </div>
    ${range && event && days && criteria.value
      ? html`<${PersonInRange} key=${id} id=${id} name=${name} range=${range} event=${event} days=${days} live=${live} query=${query} change=${change}
          criteria=${criteria.value} loadCriteria=${loadCriteria} openForm=${() => setFormOpen(true)}/>`
      : days?.length === 0
        ? html`<div class="stage">${isOwn
            ? html`<${Empty} title="You have no positions yet.">They appear here when your device sends them.<//>`
            : html`<${Empty} title="This person has no pings yet.">
                They appear here when they are stored. <code>POST /api/locations</code> sends a ping.<//>`}</div>`
        : html`<${Loading}>Loading ${isOwn ? "your" : "their"} days with pings…<//>`}
    ${isOwn ? html`<${PrivacySettings} id=${id} consent=${consent}/>` : null}
  </main>`;
}

function PersonInRange({ id, name, range, event, days, live, query, change, criteria, loadCriteria, openForm }) {
  const isOwn = useCaller().kind === "person";
  const given = criteria.filter(({ name }) => query[name] !== undefined).map((each) => [each.name, clamp(query[each.name], each)]);
  const parameters = { start_date: isoTime(range.start), end_date: isoTime(range.end), ...DEFAULTS, ...Object.fromEntries(given) };
  const key = JSON.stringify(parameters);
  const pingSpan = spanOfPings(days, range);
  const trackLoad = useRef(null);
  const track = useLoaded((signal) => (trackLoad.current = loadTrack(id, range, pingSpan, live.isToday, signal)), [id, range.start, range.end]);
  const encounters = useLoaded(async (signal) => {
    await trackLoad.current.catch(() => {}); // on a slow network the path is there first
    return loadEncounters(id, parameters, signal);
  }, [id, key]);
  usePolling([track, encounters], live.pollSeconds, live.isToday);
  const reloadEncounters = useReloadAfterEvents(encounters);
  const [livePoints, setLivePoints] = useState([]);
  useLiveEvents(live, {
    position: (rows) => {
      setLivePoints((old) => withNewer(old, rows.map(toPoint)));
      reloadEncounters(AFTER_POSITION_MS);
    },
    encounter: () => reloadEncounters(AFTER_ENCOUNTER_MS),
    gap: () => [track, encounters].forEach((each) => each.reload()),
  });
  // A path that has too many pings does not grow.
  const points = useMemo(() => {
    const { points: loaded = [], truncated, range: trackRange } = track.value ?? {};
    const isInside = ({ ms }) => trackRange.start <= ms && ms < trackRange.end;
    return truncated || !track.value ? loaded : withNewer(loaded, livePoints.filter(isInside));
  }, [track.value, livePoints]);
  const [marked, setMarked] = useState({ index: null, from: null });
  const fittedRange = useRef(null);
  const layer = useRef(null);
  const time = useRef(null);
  const [near, setNear] = useState([]);
  // A person may not see the positions of others.
  const nearby = useMemo(() => (isOwn ? null : new NearbyPositions(id, parameters, loadCriteria)), [id, key]);
  const bars = useMemo(() => (encounters.value ?? []).map(toBar), [encounters.value]);
  useEffect(() => setMarked({ index: null, from: null }), [encounters.value]);
  useEffect(() => () => nearby?.close(), [nearby]);
  useEffect(() => nearby?.refresh(), [encounters.value]);

  const mark = (from) => (index) => setMarked({ index, from });
  const onFrame = (ms) => {
    time.current = ms;
    const isNow = live.isLive && ms >= playRange.end;
    const endOf = (each) => Math.max(each.to + (isNow ? ONGOING_MS : 0), each.from + SHORTEST_SHOWN_MS);
    const current = (encounters.value ?? []).filter((each) => each.from <= ms && ms <= endOf(each));
    setNear((old) => (old.length === current.length && old.every((each, index) => each === current[index]) ? old : current));
    layer.current?.showTime(ms, current.map((each) => [each.person, nearby?.at(each.person.id, ms)]), query.follow);
  };
  const draw = () => {
    const { range: trackRange } = track.value ?? {};
    const keepView = query.map || (trackRange && fittedRange.current === trackRange.start + trackRange.end);
    if (points.length) fittedRange.current = trackRange.start + trackRange.end;
    layer.current?.show(points, encounters.value ?? [], mark("map"), keepView);
    if (time.current !== null) onFrame(time.current);
  };
  useEffect(draw, [track.value, encounters.value]);
  useEffect(() => layer.current?.extend(points), [points]);
  useEffect(() => void (time.current !== null && onFrame(time.current)), [query.follow]);
  useEffect(() => layer.current?.mark(marked.index), [marked.index]);
  if (nearby) nearby.onLoaded = () => time.current !== null && onFrame(time.current);

  const playRange = points.length ? { start: points[0].ms, end: Math.max(points.at(-1).ms, points[0].ms + 1000) } : range;
  const at = Date.parse(query.at) || (live.isToday ? playRange.end : undefined);
  const error = track.error ?? encounters.error;
  return html`
    <div class="side">
      <${Calendar} days=${days} range=${range}
        choose=${({ start, end }) => change({ start: isoTime(start), end: isoTime(end), at: undefined, map: undefined })}/>
      <${Criteria} criteria=${criteria} query=${query} change=${change} open=${openForm}/>
    </div>
    <div class="stage">
      <${MapView} label=${`Map of the path and encounters of ${name}`} view=${query.map} bounds=${event.bounds} onView=${(view) => change({ map: view }, { replace: true })} ready=${(map) => {
        layer.current = drawPerson(map, event.bounds);
        draw();
        return () => {
          layer.current.remove();
          layer.current = null;
        };
      }}/>
      ${points.length
        ? html`<${Player} range=${playRange} at=${at} live=${live} bars=${bars} marked=${marked.index} mark=${mark("bars")}
            speed=${query.speed} onSpeed=${(speed) => change({ speed }, { replace: true })}
            onFrame=${onFrame} onStop=${(ms) => change({ at: timeForAddress(ms, playRange, live.isToday) }, { replace: true })}>
            <label><input type="checkbox" checked=${Boolean(query.follow)}
              onChange=${(event) => change({ follow: event.target.checked ? 1 : undefined }, { replace: true })}/> follow closely</label>
            <${Near} near=${near} query=${query}/>
          <//>`
        : null}
      ${track.value?.truncated ? html`<p class="note">The path ends at ${dayAndClock(points.at(-1).ms)}, after its first ${count(TRACK_LIMIT)} pings. Choose fewer days.</p>` : null}
    </div>
    <section class="list" aria-label="Encounters" aria-busy=${Boolean(encounters.stale || track.stale)}>
      ${error ? html`<${ErrorNote} key=${error} error=${error} reload=${() => [track, encounters].forEach((each) => each.error && each.reload())}/>` : null}
      ${encounters.value && track.value ? html`<${EncounterList} encounters=${encounters.value} track=${points} id=${id} range=${track.value.range} query=${query}
        marked=${marked} mark=${mark("list")} choose=${(each) => change({ at: isoTime(Math.ceil(each.from / 1000) * 1000) }, { replace: true })}/>` : null}
      ${!error && !(encounters.value && track.value) ? html`<${Loading}>Loading encounters…<//>` : null}
    </section>`;
}

function Near({ near, query }) {
  if (!near.length) return html`<p class="near">nobody near</p>`;
  const names = near.slice(0, MAX_NAMES).map((each, index) => html`${index ? ", " : ""}<${Name} person=${each.person} query=${query}/>`);
  return html`<p class="near">${count(near.length)} near: ${names}${near.length > MAX_NAMES ? ` and ${count(near.length - MAX_NAMES)} more` : ""}</p>`;
}

/** `{points, truncated, range}`. The range goes with the points, because they stay on the page until the next are loaded.
 * `pingSpan`: the part of the range that has pings, null if none has; `live`: there may be newer ones. */
async function loadTrack(id, range, pingSpan, live, signal) {
  const points = [];
  if (!pingSpan) return { points, truncated: false, range };
  const query = { person_id: id, start: isoTime(pingSpan.start), end: live ? undefined : isoTime(pingSpan.end) };
  for await (const rows of getPages("/api/locations", query, signal)) {
    for (const row of rows) {
      const point = toPoint(row);
      if (point.ms < range.end) points.push(point);
    }
    if (points.length >= TRACK_LIMIT) return { points: points.slice(0, TRACK_LIMIT), truncated: true, range };
  }
  return { points, truncated: false, range };
}

const toPoint = (row) => ({ ms: Date.parse(row.creation_time), lat: Number(row.latitude), lng: Number(row.longitude) });

/** The points, and those of `more` that are newer; the same array if none is. */
function withNewer(points, more) {
  const newer = more.filter(({ ms }) => !(ms <= points.at(-1)?.ms));
  return newer.length ? [...points, ...newer] : points;
}

/** The encounters of the API, with `from` and `to` in ms. */
async function loadEncounters(id, parameters, signal) {
  const rows = await get(`/api/persons/${id}/encounters`, parameters, signal);
  return rows.map((each) => ({ ...each, from: Date.parse(each.start), to: Date.parse(each.end) }));
}

const toBar = (each) => ({ start: each.from, end: each.to, label: `${nameOf(each.person)}, ${duration(each.duration_s)}` });

function Criteria({ criteria, query, change, open }) {
  return html`<details class="criteria" open=${criteria.length > 0} onToggle=${(event) => event.target.open && open()}>
    <summary>What counts as an encounter</summary>
    <p>${criteria.map(
      ({ name, min, max, step, label, before, after, fallback }) => html`${before} <label class="bare"><span class="hidden">${label}</span>
        <${Criterion} ...${{ name, min, max, step }} required=${fallback !== ""} placeholder=${fallback === "" ? "any" : ""}
          value=${clamp(query[name] ?? fallback, { min, max })} change=${change}/></label> ${after} `,
    )}</p></details>`;
}

/** A number field. Its text is applied when the user leaves the field or presses Enter. */
function Criterion({ value, change, ...attributes }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const apply = (event) => {
    if (event.target.reportValidity()) change({ [attributes.name]: event.target.value, at: undefined });
  };
  return html`<input type="number" ...${attributes} value=${text} onInput=${(event) => setText(event.target.value)} onChange=${apply}/>`;
}
