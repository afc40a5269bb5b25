/** Whom somebody met, one after the other, to be read, pointed at and kept. */
import { html, useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { instant } from "./api.js";
import { useCaller } from "./caller.js";
import { csv, geojson, save } from "./export.js";
import { addDays, clock, dayAndClock, duration, exact, metres, plural, span, stamp } from "./format.js";
import { Empty, nameOf } from "./parts.js";
import { address } from "./router.js";

const ROWS_AT_ONCE = 100;

/** A name, which leads whoever may see it to the same days and terms of that person. */
export function Name({ person, query }) {
  const { kind } = useCaller();
  if (kind === "person") return html`<b>${nameOf(person)}</b>`;
  return html`<a href=${address(`/people/${person.id}`, { ...query, at: undefined, map: undefined })}>${nameOf(person)}</a>`;
}

/** `mark(index or null)` is called as the pointer or the focus moves, `choose(encounter)` when one is chosen. */
export function Encounters({ met, track, id, range, query, marked, mark, choose }) {
  const [rows, setRows] = useState(ROWS_AT_ONCE);
  const list = useRef(null);
  useEffect(() => {
    if (marked.index !== null && marked.from !== "list") list.current?.children[marked.index]?.scrollIntoView({ block: "nearest" });
  }, [marked]);
  const isOwn = useCaller().kind === "person";
  const several = range.end > addDays(range.start, 1);
  const moment = several ? dayAndClock : clock;
  if (!track.length) {
    return html`<${Empty} title=${`No pings of ${isOwn ? "yours" : "theirs"}: ${span(range)}.`}>Choose a day with a dot in the calendar.<//>`;
  }
  const people = new Set(met.map((each) => each.person.id)).size;
  const name = `connect-${id}-${stamp(range.start).slice(0, 10)}`;
  return html`
    <header>
      <h2>${plural(met.length, "encounter", "encounters")} with ${plural(people, "person", "people")}</h2>
      <p class="actions">
        <button type="button" onClick=${() => save(asCsv(met), `${name}.csv`)}>CSV</button>
        <button type="button" onClick=${() => save(asGeoJson(met, track, id), `${name}.geojson`)}>GeoJSON</button>
      </p>
    </header>
    ${met.length ? null : html`<${Empty} title="Nobody was near by these terms.">${isOwn
      ? "Allow more metres or seconds. People who do not want to be found are not shown."
      : "Allow more metres or seconds, or leave out no short encounters: put 0 there."}<//>`}
    <ol ref=${list} onMouseLeave=${() => mark(null)}>${met.slice(0, Math.max(rows, (marked.index ?? 0) + 1)).map(
      (each, index) => html`<li key=${index} class=${index === marked.index ? "marked" : ""} onMouseEnter=${() => mark(index)} onFocusCapture=${() => mark(index)}>
        <button type="button" class="plain" title="Show this moment" onClick=${() => choose(each)}>
          <time datetime=${each.start}>${moment(each.from)}</time>
          <span class="soft">${each.to > each.from ? `to ${clock(each.to)}` : `at ${exact(each.from)}`}</span>
        </button>
        <span><${Name} person=${each.person} query=${query}/> <span class="soft">${each.person.company_name}</span></span>
        <span class="figures">${duration(each.duration_s)} <span class="soft">nearest ${metres(each.min_distance_m)}</span></span>
      </li>`,
    )}</ol>
    ${met.length > rows ? html`<button type="button" onClick=${() => setRows(rows * 2)}>Show more of them</button>` : null}`;
}

const COLUMNS = ["person_id", "first_name", "last_name", "company_name", "start", "end", "duration_s", "pings", "min_distance_m", "latitude", "longitude"];
const properties = (each) => ({ ...each, ...each.person, person_id: each.person.id, latitude: Number(each.latitude), longitude: Number(each.longitude) });

function asCsv(met) {
  return csv(COLUMNS, met.map((each) => COLUMNS.map((name) => properties(each)[name])));
}

function asGeoJson(met, track, id) {
  const way = track.map(({ lng, lat }) => [lng, lat]);
  const own = [...(way.length > 1 ? ["LineString", way] : ["Point", way[0]]), { person_id: Number(id), times: track.map(({ ms }) => instant(ms)) }];
  const points = met.map((each) => [
    "Point",
    [Number(each.longitude), Number(each.latitude)],
    Object.fromEntries(COLUMNS.slice(0, -2).map((name) => [name, properties(each)[name]])),
  ]);
  return geojson([own, ...points]);
}
