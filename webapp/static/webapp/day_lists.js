/** The lists that the numbers of the overview count: people, encounters, pairs and zones of a day. */
import { html, useState } from "../vendor/htm/standalone.module.js";
import { get, getPage, useLoaded } from "./api.js";
import { Empty, ErrorNote, Loading, nameOf } from "./components.js";
import { useAnswer, useDay, useSums } from "./day.js";
import { csv, save } from "./export.js";
import { addDays, clock, count, dayAndClock, duration, metres, plural, span as spanText, stamp } from "./format.js";
import { loadZones } from "./venue.js";

const PAGE_SIZE = 100;
const MOST_ROWS = 10_000; // that the API gives at once

export const LISTS = { "/day/people": "People seen", "/day/encounters": "Encounters", "/day/pairs": "Pairs that met", "/day/zones": "Zones" };

export function DayList({ path, query }) {
  const day = useDay(query, path);
  const { range, days, asked, least, error, reload, link } = day;
  const View = { "/day/people": People, "/day/encounters": Encounters, "/day/pairs": Pairs, "/day/zones": Zones }[path];
  const counts = path === "/day/zones" ? "" : ` · together for at least ${duration(least)}`;
  return html`<main class="day-list">
    <p><a href=${link("/")}>‹ Overview</a></p>
    <h1 tabindex="-1">${LISTS[path]}</h1>
    ${error ? html`<${ErrorNote} key=${error} error=${error} reload=${reload}/>` : null}
    ${range ? html`<p class="lead">${spanText(range)}${counts}</p>` : null}
    ${days && (!days.length || (range && !asked)) ? html`<${Empty} title="There are no pings in this time.">Choose another day in the overview.<//>` : null}
    ${!error && !days ? html`<${Loading}/>` : null}
    ${asked ? html`<${View} key=${JSON.stringify([asked, query.pair, query.company, query.zone])} day=${day} query=${query}/>` : null}
  </main>`;
}

/** `columns`: `{name, cell(row), value(row), number}`: what is shown, what is downloaded, and whether it is a number. */
function Table({ label, columns, rows, load, file, more, empty }) {
  if (load.error) return html`<${ErrorNote} key=${load.error} ...${load}/>`;
  if (!rows) return html`<${Loading}/>`;
  if (!rows.length) return html`<${Empty} title=${empty}>Choose a shorter time or another day in the overview.<//>`;
  const download = () => save(csv(columns.map(({ name }) => name), rows.map((row) => columns.map(({ cell, value }) => (value ?? cell)(row)))), `${file}.csv`);
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label} aria-busy=${Boolean(load.stale)}><table class="figures-table">
      <thead><tr>${columns.map(({ name, number }) => html`<th scope="col" class=${number ? "number" : ""}>${name}</th>`)}</tr></thead>
      <tbody>${rows.map((row, index) => html`<tr key=${index}>${columns.map(({ cell, number }) => html`<td class=${number ? "number" : ""}>${cell(row)}</td>`)}</tr>`)}</tbody>
    </table></div>
    <p class="actions">${more ? html`<button type="button" onClick=${more}>Show more</button>` : null}
      <button type="button" onClick=${download}>CSV of these ${plural(rows.length, "row", "rows")}</button></p>`;
}

const person = (name, of, { link, least }) => ({
  name,
  cell: (row) => html`<a href=${link(`/people/${of(row).id}`, { min_duration: least })}>${nameOf(of(row))}</a> <span class="soft">${of(row).company_name}</span>`,
  value: (row) => `${nameOf(of(row))}, ${of(row).company_name}`,
});
const number = (name, field, format = count) => ({ name, cell: (row) => format(row[field]), value: (row) => row[field], number: true });
const fileName = (what, { range }) => `connect-${what}-${stamp(range.start).slice(0, 10)}`;
const timeIn = ({ range }) => (range.end > addDays(range.start, 1) ? dayAndClock : clock);
const time = (name, field, day) => ({ name, cell: (row) => timeIn(day)(Date.parse(row[field])), value: (row) => row[field], number: true });

function People({ day }) {
  const people = useSums("attendee", day.asked);
  const [shown, setShown] = useState(PAGE_SIZE);
  const columns = [
    person("Person", (row) => row.person, day),
    time("First ping", "first", day),
    time("Last ping", "last", day),
    number("People met", "people"),
    number("Encounters", "meetings"),
    number("Time together", "seconds", duration),
  ];
  const total = people.value?.length ?? 0;
  return html`<p>${people.value ? `${plural(total, "person", "people")} with a ping; those who were together with others the longest come first.` : ""}</p>
    <${Table} label="People seen" columns=${columns} rows=${people.value?.slice(0, shown)} load=${people} file=${fileName("people", day)} empty="Nobody was seen."
      more=${total > shown ? () => setShown(shown * 2) : null}/>`;
}

function Pairs({ day }) {
  const [limit, setLimit] = useState(PAGE_SIZE);
  const pairs = useSums("pair", day.asked, { limit });
  const columns = [
    person("Person", (row) => row.persons[0], day),
    person("and", (row) => row.persons[1], day),
    { name: "Encounters", cell: (row) => html`<a href=${day.link("/day/encounters", { pair: row.persons.map(({ id }) => id).join("-") })}>${count(row.meetings)}</a>`, value: (row) => row.meetings, number: true },
    number("Time together", "seconds", duration),
  ];
  return html`<${Table} label="Pairs that met" columns=${columns} rows=${pairs.value} load=${pairs} file=${fileName("pairs", day)} empty="No pair met."
    more=${pairs.value?.length === limit && limit < MOST_ROWS ? () => setLimit(Math.min(2 * limit, MOST_ROWS)) : null}/>`;
}

function Zones({ day }) {
  const { start_date, end_date } = day.asked;
  const visits = useAnswer("/api/zones/visits", { start_date, end_date });
  const rows = visits.value && [...visits.value].sort((one, other) => other.person_minutes - one.person_minutes);
  const columns = [
    { name: "Zone", cell: ({ zone }) => html`<a href=${day.link("/day/encounters", { zone: zone.id })}>${zone.name}</a>`, value: ({ zone }) => zone.name },
    { name: "Kind", cell: ({ zone }) => zone.kind },
    number("Visitors", "people"),
    number("Visits", "visits"),
    { name: "Time", cell: (row) => duration(row.person_minutes * 60), value: (row) => row.person_minutes * 60, number: true },
    number("Median stay", "median_stay_s", (seconds) => (seconds === null ? "" : duration(seconds))),
    number("Longest stay", "longest_stay_s", (seconds) => (seconds === null ? "" : duration(seconds))),
  ];
  return html`<p>A visit lasts a minute or more. The name of a zone leads to the encounters in it.</p>
    <${Table} label="Zones" columns=${columns} rows=${rows} load=${visits} file=${fileName("zones", day)} empty="There are no zones."/>`;
}

/** All encounters of the day, or those of a `pair` of people, of a `company`, or in a `zone` (an id). */
function Encounters({ day, query }) {
  const { pair, company, zone } = query;
  const ids = /^(\d+)-(\d+)$/.exec(pair ?? "")?.slice(1).map(Number);
  const [pages, setPages] = useState([]); // after the first
  const first = useLoaded(async (signal) => {
    if (!ids) return getPage("/api/encounters", { ...day.asked, company, zone, limit: PAGE_SIZE }, signal);
    const rows = await get("/api/encounters", { ...day.asked, person_id: ids[0] }, signal);
    return { rows: rows.filter(({ persons }) => persons.every(({ id }) => ids.includes(id))) };
  }, []);
  const zones = useLoaded(async () => (zone ? loadZones() : []), []);
  const [more, setMore] = useState({ loading: false });
  const rows = first.value && [...first.value.rows, ...pages.flatMap((page) => page.rows)];
  const { next } = pages.at(-1) ?? first.value ?? {};
  const showMore = async () => {
    setMore({ loading: true });
    try {
      const page = await getPage(next);
      setPages((old) => [...old, page]);
      setMore({ loading: false });
    } catch (error) {
      setMore({ loading: false, error });
    }
  };
  const zoneName = zones.value?.find(({ properties }) => String(properties.id) === zone)?.properties.name;
  const whose = ids && rows?.[0] ? rows[0].persons.map(nameOf).join(" and ") : company ?? (zone && zoneName ? `in ${zoneName}` : null);
  const columns = [
    time("From", "start", day),
    time("To", "end", day),
    number("Duration", "duration_s", duration),
    person("Person", (row) => row.persons[0], day),
    person("with", (row) => row.persons[1], day),
    number("Nearest", "min_distance_m", metres),
  ];
  return html`${whose ? html`<p><strong>${whose}</strong> · <a href=${day.link("/day/encounters")}>all encounters</a></p>` : null}
    <${Table} label="Encounters" columns=${columns} rows=${rows} load=${first} file=${fileName("encounters", day)} empty="There are no encounters."
      more=${next && !more.loading ? showMore : null}/>
    ${more.error ? html`<${ErrorNote} key=${more.error} error=${more.error} reload=${showMore}/>` : null}`;
}
