/** A month of days, those with pings marked, of which one or several in a row can be chosen. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { firstPing, useLoaded } from "./api.js";
import { addDays, fullDay, month as monthName, span, startOfDay, startOfMonth, ZONE } from "./format.js";

const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 };
const locale = new Intl.Locale(navigator.language);
const FIRST_WEEKDAY = (locale.getWeekInfo?.() ?? locale.weekInfo ?? { firstDay: 1 }).firstDay % 7;
const WEEKDAY = { short: "narrow", long: "long" };

/** The days of a month that have pings: from each the next is asked for, so that no row is read but one a day. */
async function daysWithPings(query, from, to, signal) {
  const days = new Set();
  for (let next = from; next < to; ) {
    const found = await firstPing(query, next, to, signal);
    if (found === undefined) break;
    days.add(startOfDay(found));
    next = addDays(startOfDay(found), 1);
  }
  return days;
}

/** Shows the month of `range`; calls `choose({start, end})` with instants in ms. `query` tells whose pings count. */
export function Calendar({ query, range, choose }) {
  const [shown, show] = useState(startOfMonth(range.start));
  const [several, setSeveral] = useState(range.end > addDays(range.start, 1));
  const anchor = useRef(null);
  const table = useRef(null);
  const focus = useRef(null);
  useEffect(() => show(startOfMonth(range.start)), [range.start]);
  useLayoutEffect(() => {
    if (focus.current === null) return;
    table.current.querySelector(`[data-day="${focus.current}"]`)?.focus();
    focus.current = null;
  });
  const next = startOfMonth(shown, 1);
  const marked = useLoaded((signal) => daysWithPings(query, shown, next, signal), [shown, JSON.stringify(query)]);

  const pick = (day) => {
    const from = several && anchor.current !== null ? anchor.current : day;
    anchor.current = several && anchor.current === null ? day : null;
    choose({ start: Math.min(from, day), end: addDays(Math.max(from, day), 1) });
  };
  const move = (event, day) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    focus.current = addDays(day, step);
    if (focus.current < shown || focus.current >= next) show(startOfMonth(focus.current));
    else table.current.querySelector(`[data-day="${focus.current}"]`).focus();
  };
  const weeks = weeksOf(shown);
  const chosen = (day) => day < range.end && addDays(day, 1) > range.start;
  const stop = weeks.flat().find((day) => day !== null && chosen(day)) ?? shown; // where the tabulator key stops

  return html`<section class="calendar" aria-label="Day">
    <header>
      <button type="button" class="plain" aria-label="Month before" onClick=${() => show(startOfMonth(shown, -1))}>‹</button>
      <strong aria-live="polite">${monthName(shown)}</strong>
      <button type="button" class="plain" aria-label="Month after" onClick=${() => show(next)}>›</button>
    </header>
    <table ref=${table} aria-busy=${Boolean(marked.stale)}>
      <thead><tr>${weeks[1].map((day) => html`<th scope="col">${weekday(day)}</th>`)}</tr></thead>
      <tbody>${weeks.map(
        (week) => html`<tr>${week.map((day) =>
          day === null
            ? html`<td></td>`
            : html`<td><button type="button" data-day=${day} tabindex=${day === stop ? 0 : -1}
                class=${marked.value?.has(day) ? "marked" : ""} aria-pressed=${chosen(day)}
                aria-label=${`${fullDay(day)}${marked.value?.has(day) ? ", has pings" : ""}`}
                onClick=${() => pick(day)} onKeyDown=${(event) => move(event, day)}>${new Date(day).getDate()}</button></td>`,
        )}</tr>`,
      )}</tbody>
    </table>
    <label><input type="checkbox" checked=${several} onChange=${(event) => {
      anchor.current = null;
      setSeveral(event.target.checked);
    }}/> several days: choose the first, then the last</label>
    <p class="soft">${marked.fault ? "Which days have pings is not known: the API cannot be asked." : html`<span class="dot"></span> has pings`}</p>
    <p class="soft">Shown is ${span(range)}, in ${ZONE.replaceAll("_", " ")} time.</p>
  </section>`;
}

function weeksOf(first) {
  const before = (new Date(first).getDay() - FIRST_WEEKDAY + 7) % 7;
  const end = startOfMonth(first, 1);
  return Array.from({ length: 6 }, (_, week) =>
    Array.from({ length: 7 }, (_, weekday) => {
      const day = addDays(first, week * 7 + weekday - before);
      return day >= first && day < end ? day : null;
    }),
  ).filter((week) => week.some((day) => day !== null));
}

function weekday(day) {
  const style = (width) => new Intl.DateTimeFormat(undefined, { weekday: width }).format(day);
  return html`<abbr title=${style(WEEKDAY.long)}>${style(WEEKDAY.short)}</abbr>`;
}
