/** Which companies met: the time together of each two, the companies with the most time first. */
import { html, useMemo, useState } from "../vendor/htm/standalone.module.js";
import { Loading } from "./components.js";
import { count, decimal, duration, plural } from "./format.js";

const TOP = 12;
const STRONGEST = 45; // percent of the accent in the colour of a cell: text on it stays readable

/** The companies, those with the most time with others first, and the cell of two of them. */
function matrixOf(cells) {
  const byNames = new Map();
  const seconds = new Map();
  for (const cell of cells) {
    const [one, other] = cell.companies;
    byNames.set(JSON.stringify([one, other]), cell).set(JSON.stringify([other, one]), cell);
    for (const name of [one, other]) seconds.set(name, (seconds.get(name) ?? 0) + (one === other ? 0 : cell.seconds));
  }
  const companies = [...seconds.keys()].sort((one, other) => seconds.get(other) - seconds.get(one));
  const most = cells.reduce((most, { companies: [one, other], seconds }) => (one === other ? most : Math.max(most, seconds)), 0);
  return { companies, most, cellOf: (one, other) => byNames.get(JSON.stringify([one, other])) };
}

export function CompanyMatrix({ cells, link }) {
  const [all, setAll] = useState(false);
  const matrix = useMemo(() => (cells?.length ? matrixOf(cells) : null), [cells]);
  const shown = matrix?.companies.slice(0, all ? undefined : TOP) ?? [];
  return html`<section class="card companies" aria-label="Companies that met">
    <header><h2>Companies that met</h2>
      ${matrix ? html`<p class="soft">Hours; colleagues on the diagonal</p>` : null}
      ${matrix?.companies.length > TOP ? html`<button type="button" aria-expanded=${all} onClick=${() => setAll(!all)}>${all ? `Top ${count(TOP)}` : `All ${count(matrix.companies.length)} companies`}</button>` : null}
    </header>
    ${cells ? null : html`<${Loading}/>`}
    ${cells?.length === 0 ? html`<p class="soft">No companies met.</p>` : null}
    ${matrix ? html`<div class="scroll" tabindex="0" role="region" aria-label="Companies that met, as a table"><table class="matrix">
      <thead><tr><td></td>${shown.map((name) => html`<th scope="col" key=${name}><span>${name}</span></th>`)}</tr></thead>
      <tbody>${shown.map((one) => html`<tr key=${one}><th scope="row"><a href=${link("/day/encounters", { company: one })}>${one}</a></th>
        ${shown.map((other) => html`<${Cell} key=${other} cell=${matrix.cellOf(one, other)} own=${one === other} most=${matrix.most}/>`)}</tr>`)}</tbody>
    </table></div>` : null}
  </section>`;
}

function Cell({ cell, own, most }) {
  if (!cell) return html`<td class=${own ? "own" : ""}></td>`;
  const { companies, seconds, meetings, people, pairs } = cell;
  const title = `${[...new Set(companies)].join(" and ")}: ${duration(seconds)}, ${plural(meetings, "encounter", "encounters")}, ${plural(pairs, "pair", "pairs")} of ${plural(people, "person", "people")}`;
  return html`<td title=${title} class=${own ? "own" : ""} style=${own ? "" : `--share: ${Math.round((STRONGEST * seconds) / most)}%`}>${hoursOnly(seconds)}</td>`;
}

/** Hours without a unit, fewer than ten with one decimal. */
const hoursOnly = (seconds) => (seconds < 36_000 ? decimal(seconds / 3600) : count(Math.round(seconds / 3600)));
