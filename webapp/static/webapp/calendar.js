/** A month calendar that marks the days with pings. The user chooses one day or several consecutive days. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { addDays, dayOfMonth, fullDay, month as monthName, span, startOfMonth, timeZone, weekday as weekdayName, weekdayLetter, weekdayOf } from "./format.js";

const KEY_STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 };
const locale = new Intl.Locale(navigator.language);
const FIRST_WEEKDAY = (locale.getWeekInfo?.() ?? locale.weekInfo ?? { firstDay: 1 }).firstDay % 7;

/** Shows the month of `range`. Calls `choose({start, end})` with instants in ms. `days`: those with pings, undefined until
 * loaded. */
export function Calendar({ days, range, choose }) {
  const [month, setMonth] = useState(startOfMonth(range.start));
  const [several, setSeveral] = useState(range.end > addDays(range.start, 1));
  const firstDay = useRef(null); // of several days, until the last one is chosen
  const table = useRef(null);
  const dayToFocus = useRef(null);
  useEffect(() => setMonth(startOfMonth(range.start)), [range.start]);
  useLayoutEffect(() => {
    if (dayToFocus.current === null) return;
    table.current.querySelector(`[data-day="${dayToFocus.current}"]`)?.focus();
    dayToFocus.current = null;
  });
  const nextMonth = startOfMonth(month, 1);
  const marked = new Set(days?.map(({ start }) => start));

  const pick = (day) => {
    const from = several && firstDay.current !== null ? firstDay.current : day;
    firstDay.current = several && firstDay.current === null ? day : null;
    choose({ start: Math.min(from, day), end: addDays(Math.max(from, day), 1) });
  };
  const moveFocus = (event, day) => {
    const step = KEY_STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    dayToFocus.current = addDays(day, step);
    if (dayToFocus.current < month || dayToFocus.current >= nextMonth) setMonth(startOfMonth(dayToFocus.current));
    else table.current.querySelector(`[data-day="${dayToFocus.current}"]`).focus();
  };
  const weeks = weeksOf(month);
  const isChosen = (day) => day < range.end && addDays(day, 1) > range.start;
  const tabStop = weeks.flat().find((day) => day !== null && isChosen(day)) ?? month;

  return html`<section class="calendar" aria-label="Day">
    <header>
      <button type="button" class="plain" aria-label="Previous month" onClick=${() => setMonth(startOfMonth(month, -1))}>‹</button>
      <strong aria-live="polite">${monthName(month)}</strong>
      <button type="button" class="plain" aria-label="Next month" onClick=${() => setMonth(nextMonth)}>›</button>
    </header>
    <table ref=${table} aria-busy=${!days}>
      <thead><tr>${weeks[1].map((day) => html`<th scope="col">${weekday(day)}</th>`)}</tr></thead>
      <tbody>${weeks.map(
        (week) => html`<tr>${week.map((day) =>
          day === null
            ? html`<td></td>`
            : html`<td><button type="button" data-day=${day} tabindex=${day === tabStop ? 0 : -1}
                class=${marked.has(day) ? "marked" : ""} aria-pressed=${isChosen(day)}
                aria-label=${`${fullDay(day)}${marked.has(day) ? ", has pings" : ""}`}
                onClick=${() => pick(day)} onKeyDown=${(event) => moveFocus(event, day)}>${dayOfMonth(day)}</button></td>`,
        )}</tr>`,
      )}</tbody>
    </table>
    <label><input type="checkbox" checked=${several} onChange=${(event) => {
      firstDay.current = null;
      setSeveral(event.target.checked);
    }}/> several days: choose the first, then the last</label>
    <p class="soft"><span class="dot"></span> has pings</p>
    <p class="soft">Showing ${span(range)}, ${timeZone().replaceAll("_", " ")} time.</p>
  </section>`;
}

/** The weeks of a month: rows of seven days, null for days of other months. */
function weeksOf(month) {
  const before = (weekdayOf(month) - FIRST_WEEKDAY + 7) % 7;
  const end = startOfMonth(month, 1);
  return Array.from({ length: 6 }, (_, week) =>
    Array.from({ length: 7 }, (_, weekday) => {
      const day = addDays(month, week * 7 + weekday - before);
      return day >= month && day < end ? day : null;
    }),
  ).filter((week) => week.some((day) => day !== null));
}

function weekday(day) {
  return html`<abbr title=${weekdayName(day)}>${weekdayLetter(day)}</abbr>`;
}
