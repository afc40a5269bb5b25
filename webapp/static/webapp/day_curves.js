/** The day as curves by quarter of an hour: people present, people in encounters, encounters per person. */
import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm/standalone.module.js";
import { once, useLoaded } from "./api.js";
import { Loading } from "./components.js";
import { clock, count, dayAndClock, decimal, isoDay } from "./format.js";
import { cssColour, onThemeChange } from "./map.js";
import { ticks } from "./player.js";

export const QUARTER_MS = 900_000;
const HEIGHT_PX = 220;
const AXIS_PX = 44;
const LABEL_PX = 60;
const FONT = "12px system-ui, sans-serif";

const loadCharts = once(async () => (await import("../vendor/uplot/uPlot.esm.js")).default);

/** The rows of the API in order, with the time `ms` of the start, and empty ones where it has none. */
export function quartersOf(rows) {
  const byTime = new Map(rows.map((row) => [Date.parse(row.quarter_hour), row]));
  if (!byTime.size) return [];
  const [first, last] = [Math.min(...byTime.keys()), Math.max(...byTime.keys())];
  return Array.from({ length: (last - first) / QUARTER_MS + 1 }, (_, index) => {
    const ms = first + index * QUARTER_MS;
    const { present = 0, arrived = 0, people = 0, meetings = 0 } = byTime.get(ms) ?? {};
    return { ms, present, arrived, together: people, perPerson: present ? (2 * meetings) / present : 0 };
  });
}

const CURVES = [
  { title: "People", series: [["present", "present", "--accent"], ["together", "in an encounter", "--other"]], format: count },
  { title: "Encounters per person", series: [["perPerson", "mean of the people present", "--accent"]], format: decimal },
];

/** `rows` of quartersOf, null until loaded. `at`: the time on the floor plan; `choose(ms)` chooses another. */
export function DayCurves({ rows, at, choose }) {
  const charts = useLoaded(loadCharts, []);
  const [hovered, setHovered] = useState(null); // the index of a row
  const index = hovered ?? (at && rows ? rows.findIndex(({ ms }) => ms <= at && at < ms + QUARTER_MS) : -1);
  const row = rows?.[index];
  return html`<section class="card curves" aria-label="The day">
    <header><h2>The day</h2> <p class="soft">by quarter of an hour${row ? html`: <b>${clock(row.ms)} to ${clock(row.ms + QUARTER_MS)}</b>` : null}</p></header>
    ${rows && charts.value ? null : charts.error ? html`<p class="soft">The curves cannot be loaded. Reload the page.</p>` : html`<${Loading}/>`}
    ${rows?.length && charts.value ? CURVES.map(({ title, series, format }) => html`
      <div class="key"><h3>${title}</h3> ${series.map(([name, label, colour]) => html`<span key=${name}><i aria-hidden="true" style=${`background: var(${colour})`}></i>${label} ${row ? html`<b>${format(row[name])}</b>` : null}</span>`)}</div>
      <${Curve} Chart=${charts.value} rows=${rows} series=${series} format=${format} at=${at} hover=${setHovered} choose=${choose}/>`) : null}
    ${rows?.length ? html`<${CurveTable} rows=${rows}/>` : null}
  </section>`;
}

/** A chart, for eyes only: the table has the same numbers. */
function Curve({ Chart, rows, series, format, at, hover, choose }) {
  const container = useRef(null);
  const chart = useRef(null);
  const latest = useRef(null);
  latest.current = { at, hover, choose };
  const [theme, setTheme] = useState(0);
  useEffect(() => onThemeChange(() => setTheme((old) => old + 1)), []);
  // A poll gives new arrays; the chart is new only if the numbers are.
  const key = JSON.stringify(rows.map((row) => series.map(([name]) => row[name])));
  const data = useMemo(() => [rows.map(({ ms }) => ms + QUARTER_MS / 2), ...series.map(([name]) => rows.map((row) => row[name]))], [key]);
  useEffect(() => {
    const range = { start: rows[0].ms, end: rows.at(-1).ms + QUARTER_MS };
    const created = new Chart(optionsFor(container.current.clientWidth, range, series, format, latest), data, container.current);
    created.over.addEventListener("click", () => created.cursor.idx !== null && latest.current.choose(data[0][created.cursor.idx]));
    chart.current = created;
    const observer = new ResizeObserver(([{ contentRect }]) => created.setSize({ width: contentRect.width, height: HEIGHT_PX }));
    observer.observe(container.current);
    return () => {
      observer.disconnect();
      created.destroy();
    };
  }, [data, theme]);
  useEffect(() => chart.current?.redraw(false), [at]);
  return html`<div class="curve" aria-hidden="true" ref=${container}></div>`;
}

/** Options of uPlot. `latest.current`: `{at, hover}`. */
function optionsFor(width, range, series, format, latest) {
  const [soft, line] = ["--soft", "--line"].map(cssColour);
  const axis = { stroke: soft, font: FONT, ticks: { show: false }, grid: { stroke: line, width: 1 } };
  const marks = (chart) => {
    const margin = ((range.end - range.start) * LABEL_PX) / 2 / chart.width; // a label at the edge would be cut off
    return ticks(range, chart.width - AXIS_PX).filter(([ms]) => ms <= range.end - margin);
  };
  return {
    width,
    height: HEIGHT_PX,
    padding: [8, 12, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 }, sync: { key: "day", setSeries: false } },
    scales: { x: { time: false, range: () => [range.start, range.end] }, y: { range: (_, __, max) => [0, max * 1.1 || 1] } },
    axes: [
      { ...axis, size: 28, grid: { ...axis.grid, show: false }, splits: (chart) => marks(chart).map(([ms]) => ms), values: (chart) => marks(chart).map(([, label]) => label) },
      { ...axis, size: AXIS_PX, values: (_, splits) => splits.map(count) },
    ],
    series: [
      {},
      ...series.map(([, label, colour], index) => ({ label, stroke: cssColour(colour), width: 2, fill: index ? undefined : `${cssColour(colour)}26`, points: { show: false } })),
    ],
    hooks: {
      setCursor: [(chart) => latest.current.hover(chart.cursor.idx ?? null)],
      draw: [
        (chart) => {
          if (!latest.current.at) return;
          const { ctx, bbox } = chart;
          const x = Math.round(chart.valToPos(latest.current.at, "x", true));
          ctx.save();
          ctx.strokeStyle = soft;
          ctx.lineWidth = devicePixelRatio;
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
          ctx.restore();
        },
      ],
    },
  };
}

function CurveTable({ rows }) {
  const [open, setOpen] = useState(false);
  const time = isoDay(rows[0].ms) === isoDay(rows.at(-1).ms) ? clock : dayAndClock;
  return html`<details onToggle=${(event) => setOpen(event.target.open)}><summary>The curves as a table</summary>
    ${open ? html`<div class="scroll" tabindex="0" role="region" aria-label="The curves as a table"><table class="figures-table">
      <thead><tr><th scope="col">From</th><th scope="col">Present</th><th scope="col">In an encounter</th><th scope="col">Encounters per person</th></tr></thead>
      <tbody>${rows.map(({ ms, present, together, perPerson }) => html`<tr key=${ms}><th scope="row">${time(ms)}</th><td>${count(present)}</td><td>${count(together)}</td><td>${decimal(perPerson)}</td></tr>`)}</tbody>
    </table></div>` : null}
  </details>`;
}
