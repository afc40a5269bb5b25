/** One person: a day or several, whom they met, on a list, a map and a scrubber that know of each other. */
import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm/standalone.module.js";
import { get, instant, isNow, LIVE_S, pages, useAgain, useLoaded } from "./api.js";
import { Calendar } from "./calendar.js";
import { useCaller } from "./caller.js";
import { Encounters, Name } from "./encounters.js";
import { count, dayAndClock, duration } from "./format.js";
import { MapView } from "./map.js";
import { Nearby } from "./nearby.js";
import { Own } from "./own.js";
import { Empty, Loading, nameOf, Wrong } from "./parts.js";
import { drawPerson, NAMED } from "./person_map.js";
import { address, go } from "./router.js";
import { Player, rested } from "./player.js";
import { useRange } from "./range.js";

const TRACK_LIMIT = 50_000;
/** What is near, as the API has it: name, default, bounds, and the words around the number. */
const TERMS = [
  ["distance", 5, 0.1, 10_000, "any", "Near is who was within", "metres"],
  ["within", 60, 0, 3600, 1, "and", "seconds."],
  ["max_gap", 75, 0, 86_400, 1, "A silence of up to", "seconds does not end an encounter;"],
  ["min_duration", 60, 0, 86_400, 1, "one shorter than", "seconds is left out."],
];
/** The narrower bounds of a person's own questions: the least and the most. */
const OWN_BOUNDS = { distance: [0.1, 10], within: [0, 60], max_gap: [0, 120], min_duration: [60, 86_400] };

/** As they are for a caller: name, default, bounds, and the words. */
function termsFor({ kind }) {
  if (kind !== "person") return TERMS;
  return TERMS.map(([name, fallback, , , ...words]) => [name, fallback, ...OWN_BOUNDS[name], ...words]);
}

const within = (value, min, max) => (value > max ? max : value < min ? min : value);

export function PersonView({ id, query }) {
  const isOwn = useCaller().kind === "person";
  const person = useLoaded((signal) => get(`/api/persons/${id}`, {}, signal), [id]);
  const path = `/people/${id}`;
  const change = (changes, options) => go(address(path, { ...query, ...changes }), options);
  const { range, newest } = useRange(query, { person_id: id }, change);
  useEffect(() => {
    if (person.value) document.title = `${nameOf(person.value)} · Connect`;
  }, [person.value]);

  const name = person.value ? nameOf(person.value) : `Person ${id}`;
  const fault = person.fault ?? newest.fault;
  if (fault) return html`<main><h1 tabindex="-1">${name}</h1><${Wrong} key=${fault} fault=${fault} again=${person.fault ? person.again : newest.again}/></main>`;
  return html`<main class="person">
    <div class="title">
      <h1 tabindex="-1">${name}</h1>
      <p class="soft">${person.value?.company_name}</p>
    </div>
    ${range
      ? html`<${Day} key=${id} id=${id} name=${name} range=${range} query=${query} change=${change}/>`
      : newest.value === false
        ? html`<div class="stage">${isOwn
            ? html`<${Empty} title="There are no positions of yours yet.">They show here as soon as your device has sent some.<//>`
            : html`<${Empty} title="No ping of theirs has come in yet.">
                It shows here as soon as it is stored: <code>POST /api/locations</code> sends one.<//>`}</div>`
        : html`<${Loading}>Looking for ${isOwn ? "your" : "their"} last day…<//>`}
    ${isOwn ? html`<${Own} id=${id}/>` : null}
  </main>`;
}

function Day({ id, name, range, query, change }) {
  const caller = useCaller();
  const isOwn = caller.kind === "person";
  const allowed = termsFor(caller);
  const terms = allowed.map(([name, fallback, min, max]) => within(query[name] ?? fallback, min, max));
  const asked = {
    start_date: instant(range.start),
    end_date: instant(range.end),
    ...Object.fromEntries(allowed.map(([name], index) => [name, terms[index]])),
  };
  const key = JSON.stringify(asked);
  const track = useLoaded((signal) => ownTrack(id, range, signal), [id, range.start, range.end]);
  const met = useLoaded((signal) => encounters(id, asked, signal), [id, key]);
  const live = isNow(range);
  useAgain([track, met], LIVE_S, live);
  const [marked, setMarked] = useState({ index: null, from: null });
  const fitted = useRef(null);
  const drawing = useRef(null);
  const here = useRef(null);
  const [near, setNear] = useState([]);
  // Where others were is not a person's to know.
  const nearby = useMemo(() => (isOwn ? null : new Nearby(id, asked)), [id, key]);
  const bars = useMemo(() => (met.value ?? []).map(bar), [met.value]);
  useEffect(() => setMarked({ index: null, from: null }), [met.value]);
  useEffect(() => () => nearby?.close(), [nearby]);
  useEffect(() => nearby?.renew(), [met.value]);

  const mark = (from) => (index) => setMarked({ index, from });
  const onMoment = (ms) => {
    here.current = ms;
    const now = (met.value ?? []).filter((each) => each.from <= ms && ms <= Math.max(each.to, each.from + asked.within * 1000));
    setNear((old) => (old.length === now.length && old.every((each, index) => each === now[index]) ? old : now));
    drawing.current?.moment(ms, now.map((each) => [each.person, nearby?.at(each.person.id, ms)]), query.follow);
  };
  const draw = () => {
    const { points = [], range: of } = track.value ?? {};
    const keep = query.map || (of && fitted.current === of.start + of.end);
    if (points.length) fitted.current = of.start + of.end;
    drawing.current?.show(points, met.value ?? [], mark("map"), keep);
    if (here.current !== null) onMoment(here.current);
  };
  useEffect(draw, [track.value, met.value]);
  useEffect(() => void (here.current !== null && onMoment(here.current)), [query.follow]);
  useEffect(() => drawing.current?.mark(marked.index), [marked.index]);
  if (nearby) nearby.arrived = () => here.current !== null && onMoment(here.current);

  const shown = track.value?.points.length
    ? { start: track.value.points[0].ms, end: Math.max(track.value.points.at(-1).ms, track.value.points[0].ms + 1000) }
    : range;
  const at = Date.parse(query.at) || (live ? shown.end : undefined);
  const fault = track.fault ?? met.fault;
  return html`
    <div class="side">
      <${Calendar} query=${{ person_id: id }} range=${range}
        choose=${({ start, end }) => change({ start: instant(start), end: instant(end), at: undefined, map: undefined })}/>
      <${Terms} allowed=${allowed} terms=${terms} change=${change}/>
    </div>
    <div class="stage">
      <${MapView} label=${`Map of the way and encounters of ${name}`} view=${query.map} onView=${(view) => change({ map: view }, { replace: true })} ready=${(map) => {
        drawing.current = drawPerson(map);
        draw();
        return () => {
          drawing.current.remove();
          drawing.current = null;
        };
      }}/>
      ${track.value?.points.length
        ? html`<${Player} range=${shown} at=${at} bars=${bars} marked=${marked.index} mark=${mark("bars")}
            speed=${query.speed} onSpeed=${(speed) => change({ speed }, { replace: true })}
            onMoment=${onMoment} onRest=${(ms) => change({ at: rested(ms, shown, live) }, { replace: true })}>
            <label><input type="checkbox" checked=${Boolean(query.follow)}
              onChange=${(event) => change({ follow: event.target.checked ? 1 : undefined }, { replace: true })}/> follow closely</label>
            <${Near} near=${near} query=${query}/>
          <//>`
        : null}
      ${track.value?.cut ? html`<p class="note">The way is drawn to ${dayAndClock(track.value.points.at(-1).ms)} only, its first ${count(TRACK_LIMIT)} pings. Choose fewer days.</p>` : null}
    </div>
    <section class="list" aria-label="Encounters" aria-busy=${Boolean(met.stale || track.stale)}>
      ${fault ? html`<${Wrong} key=${fault} fault=${fault} again=${() => [track, met].forEach((each) => each.fault && each.again())}/>` : null}
      ${met.value && track.value ? html`<${Encounters} met=${met.value} track=${track.value.points} id=${id} range=${track.value.range} query=${query}
        marked=${marked} mark=${mark("list")} choose=${(each) => change({ at: instant(Math.ceil(each.from / 1000) * 1000) }, { replace: true })}/>` : null}
      ${!fault && !(met.value && track.value) ? html`<${Loading}>Looking who was near…<//>` : null}
    </section>`;
}

function Near({ near, query }) {
  if (!near.length) return html`<p class="near">nobody near</p>`;
  const named = near.slice(0, NAMED).map((each, index) => html`${index ? ", " : ""}<${Name} person=${each.person} query=${query}/>`);
  return html`<p class="near">${count(near.length)} near: ${named}${near.length > NAMED ? ` and ${count(near.length - NAMED)} more` : ""}</p>`;
}

/** The pings of a span, which is told with them: they are shown until those of another have come. */
async function ownTrack(id, range, signal) {
  const points = [];
  const [start, end] = [instant(range.start), instant(range.end)];
  for await (const rows of pages("/api/locations", { person_id: id, start, end }, signal)) {
    for (const row of rows) points.push({ ms: Date.parse(row.creation_time), lat: Number(row.latitude), lng: Number(row.longitude) });
    if (points.length >= TRACK_LIMIT) return { points: points.slice(0, TRACK_LIMIT), cut: true, range };
  }
  return { points, cut: false, range };
}

async function encounters(id, asked, signal) {
  const found = await get(`/api/persons/${id}/encounters`, asked, signal);
  return found.map((each) => ({ ...each, from: Date.parse(each.start), to: Date.parse(each.end) }));
}

const bar = (each) => ({ start: each.from, end: each.to, label: `${nameOf(each.person)}, ${duration(each.duration_s)}` });

function Terms({ allowed, terms, change }) {
  return html`<section class="terms" aria-label="What counts as near"><p>${allowed.map(
    ([name, , min, max, step, before, after], index) => html`${before} <label class="bare"><span class="hidden">${before} so many ${after}</span>
      <${Term} ...${{ name, min, max, step }} term=${terms[index]} change=${change}/></label> ${after} `,
  )}</p></section>`;
}

/** Holds what is being typed, which counts when the field is left or Enter pressed. */
function Term({ term, change, ...field }) {
  const [text, setText] = useState(term);
  useEffect(() => setText(term), [term]);
  const commit = (event) => {
    if (event.target.reportValidity()) change({ [field.name]: event.target.value, at: undefined });
  };
  return html`<input type="number" required ...${field} value=${text} onInput=${(event) => setText(event.target.value)} onChange=${commit}/>`;
}
