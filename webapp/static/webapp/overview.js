/** The overview: a day of the event in numbers, on the floor plan, as curves and as lists. */
import { html, useEffect } from "../vendor/htm/standalone.module.js";
import { get, isoTime, LIVE_POLL_S, useLoaded, usePolling } from "./api.js";
import { CompanyMatrix } from "./company_matrix.js";
import { Empty, ErrorNote, Loading, nameOf } from "./components.js";
import { MET_CHOICES_S, useAnswer, useDay, useSums } from "./day.js";
import { DayCurves, QUARTER_MS, quartersOf } from "./day_curves.js";
import { clock, count, day as dayName, duration, hours, percent, plural, span as spanText } from "./format.js";
import { FloorPlan } from "./floor_plan.js";

const SUMS_POLL_S = 60; // while an event is running: a sum costs more than the positions
const MAX_AGE_S = 120; // of a position on the floor plan
const TOP_ZONES = 8;
const TOP_PAIRS = 10;

/** `onMissing` is called if the API has no sums of encounters: before the last stage of the migration. */
export function Overview({ query, onMissing }) {
  const day = useDay(query, "/");
  const { range, event, days, error, reload } = day;
  return html`<main class="overview">
    <header class="title">
      <h1 tabindex="-1">${event?.name || "Overview"}</h1>
      ${range && days?.length ? html`<${Choices} day=${day}/>` : null}
    </header>
    ${error ? html`<${ErrorNote} key=${error} error=${error} reload=${reload}/>` : null}
    ${!error && days?.length === 0 ? html`<${Empty} title="There are no pings yet.">
      The overview of a day appears here when phones send pings, or after <code>manage.py simulate</code>.<//>` : null}
    ${range && days?.length && !day.span ? html`<${Empty} title=${`No pings: ${spanText(range)}.`}>Choose another day.<//>` : null}
    ${!error && !days ? html`<${Loading}>Loading the days with pings…<//>` : null}
    ${day.asked && event ? html`<${Day} key=${range.start} day=${day} query=${query} onMissing=${onMissing}/>` : null}
  </main>`;
}

/** The day and the time that counts as met. */
function Choices({ day: { days, range, least, live, change, link } }) {
  const index = days.findIndex(({ start, end }) => start === range.start && end === range.end);
  const rangeOf = ({ start, end }) => ({ start: isoTime(start), end: isoTime(end) });
  const neighbour = (step, name, sign) => {
    const other = index < 0 ? undefined : days[index + step];
    return other
      ? html`<a class="button" href=${link("/", rangeOf(other))} aria-label=${`${name}: ${dayName(other.start)}`}>${sign}</a>`
      : html`<span class="button off" aria-hidden="true">${sign}</span>`;
  };
  const choices = [...new Set([...MET_CHOICES_S, least])].sort((one, other) => one - other);
  return html`<nav class="day-choice" aria-label="Day">
      ${neighbour(-1, "Previous day", "‹")}
      <select aria-label="Day" value=${index} onChange=${(event) => change({ ...rangeOf(days[event.target.value]), at: undefined })}>
        ${index < 0 ? html`<option value="-1">${spanText(range)}</option>` : null}
        ${days.map(({ start }, each) => html`<option key=${start} value=${each}>${dayName(start)}</option>`)}
      </select>
      ${neighbour(1, "Next day", "›")}
      ${live ? html`<b class="now">Today</b>` : null}
    </nav>
    <label class="met">Met: together for at least <select value=${least} onChange=${(event) => change({ min_duration: event.target.value })}>
      ${choices.map((seconds) => html`<option key=${seconds} value=${seconds}>${duration(seconds)}</option>`)}
    </select></label>`;
}

function Day({ day, query, onMissing }) {
  const { asked, event, live, range, link } = day;
  const quarters = useSums("quarter_hour", asked);
  const companies = useSums("company", asked);
  const pairs = useSums("pair", asked, { limit: TOP_PAIRS });
  const { start_date, end_date } = asked;
  const visits = useAnswer("/api/zones/visits", { start_date, end_date });
  const loads = [quarters, companies, pairs, visits];
  usePolling(loads, SUMS_POLL_S, live);
  const isMissing = quarters.error?.status === 404;
  useEffect(() => void (isMissing && onMissing()), [isMissing]);

  const rows = quarters.value ? quartersOf(quarters.value) : null;
  const busiest = rows && busiestOf(rows);
  const chosen = Date.parse(query.at) || null;
  const follows = live && !chosen;
  const at = chosen ?? (live || !busiest ? null : busiest.ms + QUARTER_MS / 2);
  const people = useLoaded(
    async (signal) => (at || follows ? get("/api/positions", { at: isoTime(at ?? Date.now()), max_age: MAX_AGE_S }, signal) : null),
    [at, follows],
  );
  usePolling([people], LIVE_POLL_S, follows);
  if (isMissing) return null;
  const failed = loads.find((each) => each.error);
  const zones = busiestZones(visits.value);
  // The quarter of an hour that goes on has its middle in the future.
  const choose = (ms) => day.change({ at: ms === null || ms >= Date.now() ? undefined : isoTime(ms) }, { replace: true });
  return html`
    ${failed ? html`<${ErrorNote} key=${failed.error} error=${failed.error} reload=${() => loads.forEach((each) => each.error && each.reload())}/>` : null}
    <${Tiles} rows=${rows} busiest=${busiest} companies=${companies.value} pairs=${pairs.value} zones=${zones} link=${link}/>
    ${companies.value?.length === 0 ? html`<${NobodyMet} day=${day}/>` : null}
    <div class="cards">
      <${FloorPlan} event=${event} people=${people} at=${at} rows=${rows} chosen=${chosen} live=${live} choose=${choose}
        caption=${follows ? "now" : `at ${clock(at)}${chosen ? "" : ", the busiest time"}`}
        crowdLink=${link("/crowd", { min_duration: undefined, at: at ? isoTime(at) : undefined })}/>
      <${DayCurves} rows=${rows} at=${at} choose=${choose}/>
      <${Card} name="zones" title="Busiest zones" more=${zones?.length > TOP_ZONES ? [link("/day/zones"), `All ${plural(visits.value.length, "zone", "zones")}`] : null}>
        <${Zones} zones=${zones} link=${link}/>
      <//>
      <${Card} name="pairs" title="Longest together" more=${pairs.value?.length ? [link("/day/pairs"), "All pairs"] : null}>
        <${Pairs} pairs=${pairs.value} least=${day.least} link=${link}/>
      <//>
      <${CompanyMatrix} cells=${companies.value} link=${link}/>
    </div>`;
}

/** The quarter of an hour with the most people, of several the one with the most encounters; undefined without people. */
const busiestOf = (rows) =>
  rows.filter(({ present }) => present).sort((one, other) => other.present - one.present || other.perPerson - one.perPerson)[0];

/** A tile leads to the list of what it counts. */
function Tiles({ rows, busiest, companies, pairs, zones, link }) {
  const seen = rows?.reduce((sum, each) => sum + each.arrived, 0);
  const sumOf = (name) => companies?.reduce((sum, each) => sum + each[name], 0);
  const [meetings, seconds, met] = ["meetings", "seconds", "pairs"].map(sumOf);
  const possible = (seen * (seen - 1)) / 2;
  const [zone, longest] = [zones?.[0], pairs?.[0]];
  const [one, other] = longest?.persons ?? [];
  const tile = (label, to, value, note) => html`<li><a href=${to}>
    <span class="label">${label}</span> <strong>${value ?? "…"}</strong> <span class="soft small">${note || "\u00a0"}</span></a></li>`;
  return html`<ul class="tiles">
    ${tile("People seen", link("/day/people"), rows && count(seen), busiest && `busiest at ${clock(busiest.ms)}: ${count(busiest.present)}`)}
    ${tile("Time together", link("/day/encounters"), companies && hours(seconds), companies && `in ${plural(meetings, "encounter", "encounters")}`)}
    ${tile("Pairs that met", link("/day/pairs"), companies && count(met), rows && companies && possible > 0 && `${percent(met / possible)} of all pairs of people`)}
    ${tile("Busiest zone", link("/day/zones"), zones && (zone?.zone.name ?? "none"),
      zone ? `${plural(zone.people, "visitor", "visitors")}, ${hours(zone.person_minutes * 60)}` : zones && "no visits to zones")}
    ${longest
      ? tile("Longest together, in sum", link("/day/encounters", { pair: `${one.id}-${other.id}` }), duration(longest.seconds), `${nameOf(one)} and ${nameOf(other)}`)
      : tile("Longest together, in sum", link("/day/pairs"), pairs && "none")}
  </ul>`;
}

function NobodyMet({ day: { span, least } }) {
  const [first, last] = [span.start, span.end - 1].map((ms) => isoTime(ms).slice(0, 10)); // UTC days
  return html`<${Empty} title=${`Nobody was together for ${duration(least)} on this day, as far as encounters are stored.`}>
    They are stored as pings arrive. For pings that were imported or simulated,
    run <code>manage.py find_encounters --from ${first} --to ${last}</code>. Or choose a shorter time above.<//>`;
}

function Card({ name, title, more, children }) {
  return html`<section class=${`card ${name}`} aria-label=${title}>
    <header><h2>${title}</h2>${more ? html`<a href=${more[0]}>${more[1]}</a>` : null}</header>
    ${children}
  </section>`;
}

/** The zones by the time of their visitors, the longest first, without those that contain others: a hall is always first. */
function busiestZones(visits) {
  const zones = visits?.filter(({ zone, people }) => people && zone.kind !== "hall");
  return (zones?.length ? zones : visits?.filter(({ people }) => people))?.sort((one, other) => other.person_minutes - one.person_minutes);
}

function Zones({ zones, link }) {
  if (!zones) return html`<${Loading}/>`;
  if (!zones.length) {
    return html`<p class="soft">There are no visits to zones. If the event has no zones yet, draw them in the admin site, or
      import them with <code>manage.py import_venue venue.geojson</code>.</p>`;
  }
  const longest = zones[0].person_minutes;
  return html`<ol class="bars-list">${zones.slice(0, TOP_ZONES).map(({ zone, people, person_minutes: minutes }) => html`<li key=${zone.id}>
    <span><a href=${link("/day/encounters", { zone: zone.id })}>${zone.name}</a> <span class="soft">${zone.company}</span></span>
    <span class="soft">${plural(people, "visitor", "visitors")}</span> <b>${hours(minutes * 60)}</b>
    <i aria-hidden="true" style=${`width: ${(100 * minutes) / longest}%`}></i></li>`)}</ol>`;
}

function Pairs({ pairs, least, link }) {
  if (!pairs) return html`<${Loading}/>`;
  if (!pairs.length) return html`<p class="soft">No pair met.</p>`;
  return html`<ol class="bars-list">${pairs.map(({ persons, seconds, meetings }) => html`<li key=${persons.map(({ id }) => id).join()}>
    <span>${persons.map((person, index) => html`${index ? " and " : ""}<a href=${link(`/people/${person.id}`, { min_duration: least })}>${nameOf(person)}</a>`)}</span>
    <a class="soft" href=${link("/day/encounters", { pair: persons.map(({ id }) => id).join("-") })}>${plural(meetings, "time", "times")}</a> <b>${duration(seconds)}</b>
    <i aria-hidden="true" style=${`width: ${(100 * seconds) / pairs[0].seconds}%`}></i></li>`)}</ol>`;
}
