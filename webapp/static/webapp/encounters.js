/** The list of a person's encounters, with downloads. */
import { html, useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { isoTime } from "./api.js";
import { useCaller } from "./caller.js";
import { Empty, nameOf } from "./components.js";
import { csv, geojson, save } from "./export.js";
import { addDays, clock, dayAndClock, duration, exact, metres, plural, span, stamp } from "./format.js";
import { buildPath } from "./router.js";

const PAGE_SIZE = 100;

/** A name. If the caller may see that person, it links to them with the same range and criteria. */
export function Name({ person, query }) {
  const { kind } = useCaller();
  if (kind === "person") return html`<b>${nameOf(person)}</b>`;
  return html`<a href=${buildPath(`/people/${person.id}`, { ...query, at: undefined, map: undefined })}>${nameOf(person)}</a>`;
}

/** `mark(index or null)` is called as the pointer or focus moves, `choose(encounter)` when a row is chosen. */
export function EncounterList({ encounters, track, id, range, query, marked, mark, choose }) {
  const [rows, setRows] = useState(PAGE_SIZE);
  const list = useRef(null);
  useEffect(() => {
    if (marked.index !== null && marked.from !== "list") list.current?.children[marked.index]?.scrollIntoView({ block: "nearest" });
  }, [marked]);
  const isOwn = useCaller().kind === "person";
  const severalDays = range.end > addDays(range.start, 1);
  const startTime = severalDays ? dayAndClock : clock;
  if (!track.length) {
    return html`<${Empty} title=${`${isOwn ? "You have no pings" : "No pings of this person"}: ${span(range)}.`}>Choose a day with a dot in the calendar.<//>`;
  }
  const people = new Set(encounters.map((each) => each.person.id)).size;
  const name = `connect-${id}-${stamp(range.start).slice(0, 10)}`;
  return html`
    <header>
      <h2>${plural(encounters.length, "encounter", "encounters")} with ${plural(people, "person", "people")}</h2>
      <p class="actions">
        <button type="button" onClick=${() => save(asCsv(encounters), `${name}.csv`)}>CSV</button>
        <button type="button" onClick=${() => save(asGeoJson(encounters, track, id), `${name}.geojson`)}>GeoJSON</button>
      </p>
    </header>
    ${encounters.length ? null : html`<${Empty} title="Nobody was near by these criteria.">${isOwn
      ? "Allow more metres or seconds. People who do not want to be found are not shown."
      : "Allow more metres or seconds, or set the minimum duration to 0."}<//>`}
    <ol ref=${list} onMouseLeave=${() => mark(null)}>${encounters.slice(0, Math.max(rows, (marked.index ?? 0) + 1)).map(
      (each, index) => html`<li key=${index} class=${index === marked.index ? "marked" : ""} onMouseEnter=${() => mark(index)} onFocusCapture=${() => mark(index)}>
        <button type="button" class="plain" title="Go to this time" onClick=${() => choose(each)}>
          <time datetime=${each.start}>${startTime(each.from)}</time>
          <span class="soft">${each.to > each.from ? `to ${clock(each.to)}` : `at ${exact(each.from)}`}</span>
        </button>
        <span><${Name} person=${each.person} query=${query}/> <span class="soft">${each.person.company_name}</span></span>
        <span class="figures">${duration(each.duration_s)} <span class="soft">nearest ${metres(each.min_distance_m)}</span></span>
      </li>`,
    )}</ol>
    ${encounters.length > rows ? html`<button type="button" onClick=${() => setRows(rows * 2)}>Show more</button>` : null}`;
}

const COLUMNS = ["person_id", "first_name", "last_name", "company_name", "start", "end", "duration_s", "pings", "min_distance_m", "latitude", "longitude"];
const properties = (each) => ({ ...each, ...each.person, person_id: each.person.id, latitude: Number(each.latitude), longitude: Number(each.longitude) });

function asCsv(encounters) {
  return csv(COLUMNS, encounters.map((each) => COLUMNS.map((name) => properties(each)[name])));
}

/** The person's path as the first feature, then one point per encounter. */
function asGeoJson(encounters, track, id) {
  const path = track.map(({ lng, lat }) => [lng, lat]);
  const own = [...(path.length > 1 ? ["LineString", path] : ["Point", path[0]]), { person_id: Number(id), times: track.map(({ ms }) => isoTime(ms)) }];
  const points = encounters.map((each) => [
    "Point",
    [Number(each.longitude), Number(each.latitude)],
    Object.fromEntries(COLUMNS.slice(0, -2).map((name) => [name, properties(each)[name]])),
  ]);
  return geojson([own, ...points]);
}
